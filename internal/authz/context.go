package authz

import (
	"strings"
	"time"

	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/policy"
)

// Value implements [policy.Context]: a condition key of the decided request, as
// the policy that is being evaluated may see it. Sources: "AWS global condition
// context keys" in the IAM User Guide; the tables behind actions.
func (d *decider) Value(k *policy.Key) policy.Value {
	if d.simulated != nil {
		return d.simulatedValue(k)
	}
	bit, global := keyOf(k.Name)
	if global {
		return d.global(k)
	}
	if bit == 0 {
		return d.claim(k)
	}
	if d.keys&bit == 0 {
		return policy.Value{}
	}
	return d.value(k, bit)
}

// claim returns what the caller's identity provider has answered for. Its names
// are no others' keys, whatever the provider is called: those have a bit.
func (d *decider) claim(k *policy.Key) policy.Value {
	if d.p.Session == nil || len(d.p.Session.Claims) == 0 {
		return policy.Value{}
	}
	var first string
	var all []string
	n := 0
	for i := range d.p.Session.Claims {
		c := &d.p.Session.Claims[i]
		if c.Name != k.String() {
			continue
		}
		switch n++; n {
		case 1:
			first = c.Value
		case 2:
			all = []string{first, c.Value}
		default:
			all = append(all, c.Value)
		}
	}
	switch n {
	case 0:
		return policy.Value{}
	case 1:
		return policy.String(first)
	}
	return policy.Strings(all)
}

// value returns the value of a condition key that the action populates.
func (d *decider) value(k *policy.Key, bit keyset) policy.Value {
	switch bit {
	case keyCallerAccount:
		return text(d.p.Account)
	case keyViaService:
		return text(d.viaService())
	case keyGrantIsForAWSResource:
		return policy.Bool(d.viaUser())
	case keyKeySpec, keyKeyUsage:
		// The names with CustomerMaster are what these were called before.
		k = d.renamed(k.Name, "kms:customermaster", "kms:", k)
	}
	switch {
	case bit&d.resourceKeys == 0:
		if d.q != nil && d.q.Values != nil {
			return d.q.Values.Value(k)
		}
	case d.r.Values == nil:
	case bit == keyIAMResourceTag:
		// Another name of aws:ResourceTag.
		return d.r.Values.Value(d.renamed(k.Name, "iam:", "aws:", k))
	default:
		return d.r.Values.Value(k)
	}
	return policy.Value{}
}

// renamed returns the key with another beginning of its name, good until the
// next.
func (d *decider) renamed(name, from, to string, k *policy.Key) *policy.Key {
	rest, ok := strings.CutPrefix(name, from)
	if !ok {
		return k
	}
	switch to + rest {
	case "kms:keyspec":
		d.key.Name = "kms:keyspec"
	case "kms:keyusage":
		d.key.Name = "kms:keyusage"
	default:
		d.key.Name = "aws:resourcetag/"
	}
	d.key.Sub = k.Sub
	return &d.key
}

// global returns the value of a condition key that does not depend on the
// action.
func (d *decider) global(k *policy.Key) policy.Value {
	c, p := d.c, d.p
	switch k.Name {
	// The request.
	case "aws:currenttime", "aws:epochtime":
		return policy.Time(c.Time)
	case "aws:securetransport":
		return policy.Bool(c.TLS.Version != 0)
	case "aws:useragent":
		return text(c.UserAgent)
	case "aws:requestedregion":
		return text(c.Region)

	// The network.
	case "aws:sourceip":
		if c.Endpoint == nil && !d.viaUser() && p.Kind != call.Service {
			return policy.Addr(c.Source.Addr())
		}
	case "aws:sourcevpce":
		if c.Endpoint != nil {
			return text(c.Endpoint.ID)
		}
	case "aws:sourcevpc":
		if c.Endpoint != nil {
			return text(c.Endpoint.VPC)
		}
	case "aws:sourcevpcarn":
		if c.Endpoint != nil {
			return text(c.Endpoint.VPCARN)
		}
	case "aws:vpcsourceip":
		if c.Endpoint != nil {
			return policy.Addr(c.Endpoint.Source)
		}
	case "aws:vpceaccount":
		if c.Endpoint != nil {
			return text(c.Endpoint.Account)
		}
	case "aws:vpceorgid":
		if c.Endpoint != nil {
			return organizationID(c.Endpoint.Organization)
		}
	case "aws:vpceorgpaths":
		if c.Endpoint != nil {
			return organizationPath(c.Endpoint.Organization, &d.paths[0])
		}

	// The caller.
	case "aws:principalarn":
		if p.Kind != call.Service {
			return text(p.EntityARN)
		}
	case "aws:principalaccount":
		return text(p.Account)
	case "aws:principaltype":
		return text(principalType(p.Kind))
	case "aws:principalorgid":
		return organizationID(p.Organization)
	case "aws:principalorgpaths":
		return organizationPath(p.Organization, &d.paths[1])
	case "aws:principaltag/":
		for i := range p.Tags {
			if strings.EqualFold(p.Tags[i].Name, k.Sub) {
				return policy.String(p.Tags[i].Value)
			}
		}
	case "aws:principalisawsservice":
		return policy.Bool(p.Kind == call.Service)
	case "aws:principalservicename":
		if p.Kind == call.Service && len(p.Services) > 0 {
			return text(p.Services[0])
		}
	case "aws:principalservicenameslist":
		if p.Kind == call.Service {
			return policy.Strings(p.Services)
		}
	case "aws:userid":
		if p.Kind != call.Service && p.Kind != call.WebIdentity {
			return text(p.ID)
		}
	case "aws:username":
		if p.Kind == call.User {
			return text(p.Name)
		}

	// The session.
	case "aws:tokenissuetime":
		if p.Session != nil && p.Kind != call.WebIdentity {
			return policy.Time(p.Session.Issued)
		}
	case "aws:multifactorauthpresent":
		if !c.MFA.IsZero() {
			return policy.Bool(true)
		}
		if p.Session != nil && p.Kind != call.WebIdentity {
			return policy.Bool(p.Session.MFA)
		}
	case "aws:multifactorauthage":
		if !c.MFA.IsZero() {
			return policy.Number(float64(c.Time.Sub(c.MFA) / time.Second))
		}
		if p.Session != nil && p.Session.MFA && !p.Session.MFATime.IsZero() {
			return policy.Number(float64(c.Time.Sub(p.Session.MFATime) / time.Second))
		}
	case "aws:federatedprovider":
		if p.Session != nil {
			return text(p.Session.Provider)
		}
	case "aws:sourceidentity":
		if p.Session != nil {
			return text(p.Session.SourceIdentity)
		}

	// The service that makes the call.
	case "aws:viaawsservice":
		return policy.Bool(d.viaUser())
	case "aws:calledvia":
		if d.viaUser() {
			return policy.Strings(c.Delegation.Via)
		}
	case "aws:calledviafirst":
		if d.viaUser() {
			return text(c.Delegation.Via[0])
		}
	case "aws:calledvialast":
		if d.viaUser() {
			return text(c.Delegation.Via[len(c.Delegation.Via)-1])
		}
	case "aws:sourcearn":
		return text(d.sourceARN())
	case "aws:sourceaccount":
		if d.forResource() {
			return text(c.Delegation.SourceAccount)
		}
	case "aws:sourceorgid":
		if d.forResource() {
			return organizationID(c.Delegation.SourceOrganization)
		}
	case "aws:sourceorgpaths":
		if d.forResource() {
			return organizationPath(c.Delegation.SourceOrganization, &d.paths[2])
		}

	// The resource.
	case "aws:resourceaccount":
		if !d.ownPolicy() {
			return text(d.r.Account)
		}
	case "aws:resourceorgid":
		return organizationID(d.owner)
	case "aws:resourceorgpaths":
		return organizationPath(d.owner, &d.paths[3])
	}
	return policy.Value{}
}

// text returns the value of a key that is not there if it is empty.
func text(s string) policy.Value {
	if s == "" {
		return policy.Value{}
	}
	return policy.String(s)
}

func organizationID(o *call.Organization) policy.Value {
	if o == nil {
		return policy.Value{}
	}
	return text(o.ID)
}

// organizationPath returns the one path of an account. The value shares room.
func organizationPath(o *call.Organization, room *[1]string) policy.Value {
	if o == nil || o.Path == "" {
		return policy.Value{}
	}
	room[0] = o.Path
	return policy.Strings(room[:])
}

// principalType returns aws:PrincipalType; empty for a service.
func principalType(k call.PrincipalKind) string {
	switch k {
	case call.Root:
		return "Account"
	case call.User:
		return "User"
	case call.RoleSession:
		return "AssumedRole"
	case call.FederatedUser:
		return "FederatedUser"
	}
	return ""
}

// viaUser reports whether a service makes the call with the session of a user
// (forward access session).
func (d *decider) viaUser() bool {
	return d.c.Delegation != nil && len(d.c.Delegation.Via) > 0 && d.p.Kind != call.Service
}

// forResource reports whether a service makes the call for a resource.
func (d *decider) forResource() bool { return d.c.Delegation != nil && d.p.Kind == call.Service }

func (d *decider) sourceARN() string {
	if d.forResource() {
		return d.c.Delegation.SourceARN
	}
	return ""
}

// viaService returns kms:ViaService, such as "s3.eu-central-1.amazonaws.com":
// the service that calls, in the Region of the call. The suffix is that of the
// standard partition in all of them.
func (d *decider) viaService() string {
	if !d.viaUser() {
		return ""
	}
	name, _, _ := strings.Cut(d.c.Delegation.Via[len(d.c.Delegation.Via)-1], ".")
	return name + "." + d.c.Region + ".amazonaws.com"
}
