package authz_test

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/keyreeve/keyreeve/internal/authz"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/policy"
)

// This file decides once more: slowly, obviously, and from AWS's description of
// how a call is decided alone. Single policies are decided by package policy,
// which has a reference of its own.

// slowCase is a call and all that it is decided by.
type slowCase struct {
	now        time.Time
	caller     *call.Principal
	source     netip.Addr
	endpoint   *call.Endpoint
	delegation *call.Delegation

	action         string
	arn            string // of the resource, or "*"
	account        string // that owns it
	fromCiphertext bool
	policy         *policy.Policy // of the key
	organization   *call.Organization

	// What the owner of the key and the operation say of their own, by keys in
	// lower case; not all of it is for every action.
	keyValues, requestValues policy.Values

	retired *authz.Grant // by kms:RetireGrant
	grants  []*authz.Grant
	tokens  map[string]*authz.Grant // that the request brings
	context map[string]string       // encryption context
	child   *authz.Grant

	seen map[bool]policy.Values // by the key's own policy, and by others
}

// verdict is how a call ends: the text of the denial, or that it is allowed.
type verdict struct {
	allowed bool
	text    string
}

// The parts of messages.
const (
	slowID     = "because no identity-based policy allows the ACTION action"
	slowRES    = "because no resource-based policy allows the ACTION action"
	slowNPB    = "because no permissions boundary allows the ACTION action"
	slowNSESS  = "because no session policy allows the ACTION action"
	slowNSCP   = "because no service control policy allows the ACTION action"
	slowNRCP   = "because no resource control policy allows the ACTION action"
	slowNVPCE  = "because no VPC endpoint policy allows the ACTION action"
	slowXSCP   = "with an explicit deny in a service control policy"
	slowXRCP   = "with an explicit deny in a resource control policy"
	slowXVPCE  = "with an explicit deny in a VPC endpoint policy"
	slowXRES   = "with an explicit deny in a resource-based policy"
	slowXPB    = "with an explicit deny in a permissions boundary"
	slowXSESS  = "with an explicit deny in a session policy"
	slowXID    = "with an explicit deny in an identity-based policy"
	slowTrust  = "because no role trust policy allows the ACTION action"
	slowXTrust = "with an explicit deny in the role trust policy"
	slowRoot   = "Roles may not be assumed by root accounts."
	slowHidden = "because the resource does not exist in this Region, no resource-based policies allow access, or a resource-based policy explicitly denies access"
)

// acrossAccounts are the actions, among those of the cases, that work on another
// account's key.
var acrossAccounts = []string{
	"kms:Encrypt", "kms:Decrypt", "kms:DescribeKey", "kms:CreateGrant", "kms:GenerateDataKey", "kms:ReEncryptFrom", "sts:AssumeRole",
}

func (c *slowCase) deny(reason string) verdict {
	where := "on resource: " + c.arn
	if instead, ok := (map[string]string{slowHidden: "", slowRES: slowTrust, slowXRES: slowXTrust})[reason]; ok && c.isRole() {
		reason = instead
	}
	switch {
	case reason == slowRoot:
		return verdict{text: reason}
	case c.caller.Account == c.account, c.isRole():
	case c.fromCiphertext:
		where = "on the resource associated with this ciphertext"
	default:
		where = "on this resource"
	}
	who := c.caller.ARN
	if who == "" {
		who = c.caller.Services[0]
	}
	text := "User: " + who + " is not authorized to perform: " + c.action + " " + where + " " + strings.ReplaceAll(reason, "ACTION", c.action)
	return verdict{text: strings.TrimSuffix(text, " ")}
}

func (c *slowCase) isRole() bool { return strings.Contains(c.arn, ":role/") }

func (c *slowCase) decide() verdict {
	p := c.caller
	isService := p.Kind == call.Service
	c.seen = map[bool]policy.Values{true: c.values(true), false: c.values(false)}
	retires := c.retired != nil
	// What has a policy of its own that has a say in it.
	owned := (strings.Contains(c.arn, ":key/") || c.isRole()) && !retires
	foreign := p.Account != c.account
	isRoot := p.Kind == call.Root

	// What applies.
	var scp, rcp [][]call.Attached
	if o := p.Organization; o != nil && !o.Management && !isService {
		scp = o.ServiceControl
	}
	if o := c.organization; o != nil && !o.Management && c.arn != "*" && !retires {
		rcp = o.ResourceControl
	}
	var boundary, vpce, own []call.Attached
	if p.Policies.Boundary != nil {
		boundary = []call.Attached{*p.Policies.Boundary}
	}
	if c.endpoint != nil {
		vpce = []call.Attached{c.endpoint.Policy}
	}
	if owned {
		own = []call.Attached{{Policy: c.policy}}
	}

	allows := func(policies []call.Attached) bool {
		return c.any(policies, func(r policy.Result) bool { return r.Allow }, false)
	}
	// The root user may do in its account all that nothing denies it.
	identityAllows := isRoot || !isService && allows(p.Policies.Identity)
	boundaryAllows := p.Policies.Boundary == nil || allows(boundary)
	sessionAllows := !p.Policies.Limited || allows(p.Policies.Session)
	if p.Kind == call.FederatedUser && c.isRole() {
		sessionAllows = false // such sessions are not for STS and IAM
	}
	limits := func() string { // the first of the limits that keeps the call out
		switch {
		case !boundaryAllows:
			return slowNPB
		case !sessionAllows:
			return slowNSESS
		}
		return ""
	}

	// What the key's policy and grants give.
	var by policy.Match
	if owned {
		by = c.evaluate(c.policy, true).AllowedBy
	}
	names := func(ways policy.Match) bool { return by&ways != 0 }
	granted := c.granted(identityAllows && limits() == "")
	byGrant := granted&(policy.ByUser|policy.BySession|policy.ByFederatedUser|policy.ByService|policy.ByAccount) != 0 ||
		granted&(policy.ByRole|policy.ByIssuer) != 0 && limits() == ""
	if retires {
		byGrant = c.mayRetire(identityAllows && limits() == "", limits() == "")
		if c.mayRetire(true, false) == c.mayRetire(false, false) && c.mayRetire(false, true) {
			identityAllows = true // there is nothing for it to allow: the limits are in the way
		}
	}

	// What is not shared is like what is not there, whatever else stands in the
	// way; what the owner's policies say is not told.
	if foreign {
		shared := owned && (isService || slices.Contains(acrossAccounts, c.action)) && !c.evaluate(c.policy, true).Deny
		if retires {
			// Whoever has to do with the grant may know of it.
			shared = c.mayRetire(true, true)
		}
		if !shared || by == 0 && !byGrant && !retires {
			return c.deny(slowHidden)
		}
	}

	// An explicit deny anywhere ends it.
	for _, layer := range []struct {
		policies []call.Attached
		reason   string
	}{
		{slices.Concat(scp...), slowXSCP},
		{slices.Concat(rcp...), slowXRCP},
		{vpce, slowXVPCE},
		{own, slowXRES},
		{boundary, slowXPB},
		{p.Policies.Session, slowXSESS},
		{p.Policies.Identity, slowXID},
	} {
		if c.any(layer.policies, func(r policy.Result) bool { return r.Deny }, layer.reason == slowXRES) {
			if foreign && by == 0 && !retires {
				return c.deny(slowHidden) // a grant alone shares the key
			}
			return c.deny(layer.reason)
		}
	}

	// Every level of an organization must allow.
	for _, level := range rcp {
		if !allows(level) {
			return c.deny(slowNRCP)
		}
	}
	for _, level := range scp {
		if !allows(level) {
			return c.deny(slowNSCP)
		}
	}
	if c.endpoint != nil && !allows(vpce) {
		return c.deny(slowNVPCE)
	}

	if retires && byGrant {
		return verdict{allowed: true}
	}
	if !owned { // identity alone
		switch {
		case !identityAllows:
			return c.deny(slowID)
		case limits() != "":
			return c.deny(limits())
		}
		return verdict{allowed: true}
	}

	if byGrant {
		return verdict{allowed: true}
	}
	switch {
	case c.isRole() && isRoot:
		return c.deny(slowRoot)
	case isService:
		if names(policy.ByService | policy.ByAnyone) {
			return verdict{allowed: true}
		}
		return c.deny(slowHidden)

	case foreign:
		switch {
		case by == 0:
			return c.deny(slowHidden)
		case !identityAllows:
			return c.deny(slowID)
		case limits() != "":
			return c.deny(limits())
		}
		return verdict{allowed: true}

	case names(policy.ByAnyone | policy.ByUser | policy.BySession | policy.ByFederatedUser), names(policy.ByAccount) && isRoot:
		return verdict{allowed: true}

	case names(policy.ByRole | policy.ByIssuer):
		if limits() != "" {
			return c.deny(limits())
		}
		return verdict{allowed: true}

	case names(policy.ByAccount): // delegation
		switch {
		case !identityAllows:
			return c.deny(slowID)
		case limits() != "":
			return c.deny(limits())
		}
		return verdict{allowed: true}
	}
	return c.deny(slowRES)
}

// mayRetire reports whether the caller may retire the grant: as its retiring
// principal, as its grantee if it says so, or by the identity-based policies of
// the account that made it or that owns the key. Roles are limited as always.
func (c *slowCase) mayRetire(identityAllows, unlimited bool) bool {
	p, g := c.caller, c.retired
	if p.Account != "" && (p.Account == g.Issuer || p.Account == c.account) && identityAllows {
		return true
	}
	is := func(name string) bool {
		switch {
		case name == "":
			return false
		case p.Kind == call.Service:
			return slices.Contains(p.Services, name)
		case name == p.EntityID:
			return p.Kind == call.User || unlimited
		case name == "arn:aws:iam::"+p.Account+":root":
			return p.Kind == call.Root || identityAllows
		}
		return name == p.ID && p.Kind == call.RoleSession || name == p.ARN && p.Kind == call.FederatedUser
	}
	return is(g.Retiring) || slices.Contains(g.Operations, "RetireGrant") && is(g.Grantee)
}

// granted returns the ways in which usable grants name the caller.
func (c *slowCase) granted(identityAllows bool) policy.Match {
	p := c.caller
	var by policy.Match
	for _, g := range c.grants {
		if !c.usable(g) {
			continue
		}
		switch {
		case p.Kind == call.Service && slices.Contains(p.Services, g.Grantee):
			by |= policy.ByService
		case p.Kind == call.Service:
		case p.EntityID != "" && g.Grantee == p.EntityID:
			by |= map[call.PrincipalKind]policy.Match{call.User: policy.ByUser, call.RoleSession: policy.ByRole, call.FederatedUser: policy.ByIssuer}[p.Kind]
		case g.Grantee == p.ID && p.Kind == call.RoleSession:
			by |= policy.BySession
		case g.Grantee == p.ARN && p.Kind == call.FederatedUser:
			by |= policy.ByFederatedUser
		case g.Grantee == "arn:aws:iam::"+p.Account+":root" && (identityAllows || p.Kind == call.Root):
			by |= policy.ByAccount
		}
	}
	return by
}

// usable reports whether a grant is about the call.
func (c *slowCase) usable(g *authz.Grant) bool {
	if !slices.Contains(g.Operations, strings.TrimPrefix(c.action, "kms:")) {
		return false
	}
	if g.Effective.After(c.now) && !slices.ContainsFunc(slices.Collect(maps.Values(c.tokens)), func(t *authz.Grant) bool { return t != nil && t.ID == g.ID }) {
		return false
	}
	if g.SourceARN != "" && (c.delegation == nil || !policy.ARNLike(g.SourceARN, c.delegation.SourceARN)) {
		return false
	}
	if c.action == "kms:DescribeKey" {
		return true // has no context to hold constraints against
	}
	equals, subset := pairs(g.Equals), pairs(g.Subset)
	if c.action != "kms:CreateGrant" {
		return (len(equals) == 0 || maps.Equal(equals, c.context)) && contains(c.context, subset)
	}
	// A grant that is made by a grant is no wider than that.
	if c.child == nil {
		return false
	}
	for _, o := range c.child.Operations {
		if !slices.Contains(g.Operations, o) {
			return false
		}
	}
	childEquals, childSubset := pairs(c.child.Equals), pairs(c.child.Subset)
	if len(equals) > 0 && !maps.Equal(childEquals, equals) {
		return false
	}
	if g.SourceARN != "" && c.child.SourceARN != g.SourceARN {
		return false
	}
	return len(subset) == 0 || contains(childSubset, subset) || contains(childEquals, subset)
}

// contains reports whether all has every pair of some.
func contains(all, some map[string]string) bool {
	for k, v := range some {
		if have, ok := all[k]; !ok || have != v {
			return false
		}
	}
	return true
}

// any reports whether a policy of a layer has a verdict. One that is missing
// allows nothing.
func (c *slowCase) any(policies []call.Attached, has func(policy.Result) bool, resource bool) bool {
	return slices.ContainsFunc(policies, func(a call.Attached) bool {
		return a.Policy != nil && has(c.evaluate(a.Policy, resource))
	})
}

func (c *slowCase) evaluate(p *policy.Policy, resource bool) policy.Result {
	return p.Evaluate(&policy.Request{Principal: &c.caller.Names, Action: c.action, Resource: c.arn, Context: c.seen[resource]}, nil)
}

// values returns the condition keys of the call, for the key's own policy or for
// the others.
func (c *slowCase) values(resource bool) policy.Values {
	p, v := c.caller, make(policy.Values, 32)
	isKey, isAlias := strings.Contains(c.arn, ":key/"), strings.Contains(c.arn, ":alias/")
	is := func(actions ...string) bool { return slices.Contains(actions, strings.TrimPrefix(c.action, "kms:")) }

	// The caller.
	isService := p.Kind == call.Service
	v["aws:principalisawsservice"] = policy.Bool(isService)
	if isService {
		v["aws:principalservicename"] = policy.String(p.Services[0])
		v["aws:principalservicenameslist"] = policy.Strings(p.Services)
	} else {
		v["aws:principalarn"] = policy.String(p.EntityARN)
		v["aws:principalaccount"] = policy.String(p.Account)
		v["aws:userid"] = policy.String(p.ID)
		v["aws:principaltype"] = policy.String(map[call.PrincipalKind]string{
			call.Root: "Account", call.User: "User", call.RoleSession: "AssumedRole", call.FederatedUser: "FederatedUser",
		}[p.Kind])
	}
	if p.Kind == call.User {
		v["aws:username"] = policy.String(p.Name)
	}
	for _, t := range p.Tags {
		v["aws:principaltag/"+strings.ToLower(t.Name)] = policy.String(t.Value)
	}
	if o := p.Organization; o != nil {
		v["aws:principalorgid"] = policy.String(o.ID)
		v["aws:principalorgpaths"] = policy.Strings([]string{o.Path})
	}
	if s := p.Session; s != nil {
		v["aws:tokenissuetime"] = policy.Time(s.Issued)
		v["aws:multifactorauthpresent"] = policy.Bool(s.MFA)
	}

	// The network.
	v["aws:currenttime"] = policy.Time(c.now)
	v["aws:securetransport"] = policy.Bool(true)
	v["aws:requestedregion"] = policy.String("us-west-2")
	v["aws:useragent"] = policy.String("test")
	if e := c.endpoint; e != nil {
		v["aws:sourcevpce"] = policy.String(e.ID)
		v["aws:sourcevpc"] = policy.String(e.VPC)
		v["aws:vpcsourceip"] = policy.Addr(e.Source)
		v["aws:vpceaccount"] = policy.String(e.Account)
	} else if !isService && c.delegation == nil {
		v["aws:sourceip"] = policy.Addr(c.source)
	}

	// Services.
	via := c.delegation != nil && len(c.delegation.Via) > 0
	v["aws:viaawsservice"] = policy.Bool(via)
	if via {
		v["aws:calledvia"] = policy.Strings(c.delegation.Via)
		v["aws:calledviafirst"] = policy.String(c.delegation.Via[0])
		v["aws:calledvialast"] = policy.String(c.delegation.Via[len(c.delegation.Via)-1])
	}
	if isService && c.delegation != nil && c.delegation.SourceARN != "" {
		v["aws:sourcearn"] = policy.String(c.delegation.SourceARN)
		v["aws:sourceaccount"] = policy.String(c.delegation.SourceAccount)
	}

	// The resource's owner.
	if !resource || c.isRole() {
		v["aws:resourceaccount"] = policy.String(c.account)
	}
	if o := c.organization; o != nil {
		v["aws:resourceorgid"] = policy.String(o.ID)
	}

	// KMS, on keys and for making them; aliases have no keys of KMS.
	if isAlias {
		return v
	}
	if !isService && (isKey || is("CreateKey")) {
		v["kms:calleraccount"] = policy.String(p.Account)
	}
	if via && (isKey || is("CreateKey")) {
		v["kms:viaservice"] = policy.String(strings.TrimSuffix(c.delegation.Via[len(c.delegation.Via)-1], ".amazonaws.com") + ".us-west-2.amazonaws.com")
	}
	if via && is("CreateGrant") {
		v["kms:grantisforawsresource"] = policy.Bool(true)
	}
	for name, value := range c.keyValues {
		// Tags and aliases of a key do not count in its own policy.
		if isKey && (!resource || !strings.HasPrefix(name, "aws:resourcetag/") && name != "kms:resourcealiases") {
			v[name] = value
		}
	}
	for name, value := range c.requestValues {
		group, _, _ := strings.Cut(strings.TrimPrefix(name, "kms:"), ":")
		switch group {
		case "encryptioncontext", "encryptioncontextkeys":
			if is("Encrypt", "Decrypt", "GenerateDataKey", "ReEncryptFrom", "CreateGrant") {
				v[name] = value
			}
		case "requestalias":
			if is("Encrypt", "Decrypt", "GenerateDataKey", "DescribeKey", "ReEncryptFrom") {
				v[name] = value
			}
		case "grantoperations":
			if is("CreateGrant") {
				v[name] = value
			}
		case "keyspec":
			if is("CreateKey") {
				v[name] = value
			}
		default:
			panic("a key that the reference does not know: " + name)
		}
	}
	return v
}
