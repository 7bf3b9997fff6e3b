package explain

import (
	"slices"
	"strings"
	"time"

	"github.com/keyreeve/keyreeve/internal/arn"
	"github.com/keyreeve/keyreeve/internal/authz"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/keyring"
	"github.com/keyreeve/keyreeve/policy"
)

// A builder makes a call from a draft.
type builder struct {
	*reader
	*draft

	partition string
	asked     *values // of the request
	facts     *values // of the resource
	call      *call.Call
	caller    *call.Principal
	target    *authz.Resource
	ask       *authz.Request
	grants    *grants
	tree      organizations
	live      bool // the resource, its grants and all policies are a running node's

	// Parameters that more than one condition key depends on.
	named, otherKey              string // KeyIds
	grantID, grantToken          string // of RetireGrant
	retired                      *authz.Grant
	newSpec, newUsage, newOrigin string // of CreateKey
	newMultiRegion               bool
}

func (b *builder) build() *Case {
	c := &Case{
		ID: b.id, About: b.about, Action: b.action, Allow: b.expect == "allow", Layer: b.layer, Message: b.message,
	}
	switch {
	case b.id == "" || len(b.id) > maxID:
		b.mistake("a case has an id of up to %d bytes", maxID)
	case b.expect != "allow" && b.expect != "deny":
		b.mistake("expect is allow or deny")
	case c.Allow && (b.layer != "" || b.message != ""):
		b.mistake("layer and message are for what is denied")
	case b.layer != "" && !slices.Contains(LayerNames, b.layer):
		b.mistake("layer is none of %s: %s", strings.Join(LayerNames, ", "), quote(b.layer))
	case b.principal.arn == "":
		b.mistake("a case has a principal")
	case b.action == "":
		b.mistake("a case has an action")
	}
	if b.account == "" {
		b.account = defaultAccount
	}
	if b.region == "" {
		b.region = defaultRegion
	}
	if !arn.IsAccount(b.account) {
		b.mistake("account is 12 digits, in quotation marks")
	}
	if !regionName.MatchString(b.region) {
		b.mistake("region is none: %s", quote(b.region))
	}
	if b.err != nil {
		return nil
	}
	b.partition = arn.Partition(b.region)
	// Apart, so that a case does not keep all that it was made of.
	b.asked, b.facts, b.grants = &values{set: make(policy.Values)}, &values{set: make(policy.Values)}, new(grants)
	b.call = &call.Call{
		ID: "00000000-0000-0000-0000-000000000000", Time: b.files.now, Region: b.region,
		Source: defaultSourcePort, UserAgent: defaultAgent, TLS: defaultTLS,
	}
	b.call.Service, _, _ = strings.Cut(b.action, ":")
	b.ask = &authz.Request{Values: b.asked}
	b.tree = make(organizations)

	b.buildCaller()
	b.buildTarget()
	b.buildEndpoint()
	b.buildDelegation()
	b.buildRequest()
	b.buildContext()
	b.buildOrganizations()
	if b.err != nil {
		return nil
	}
	c.call, c.resource, c.request, c.organizations = b.call, b.target, b.ask, b.tree
	c.Resource, c.Caller = b.target.ARN, b.caller.ARN
	if c.Caller == "" {
		c.Caller = b.principal.arn
	}
	c.retired = b.retired
	return c
}

// full returns the ARN that a short name of a principal stands for.
func (b *builder) full(name string) string {
	switch {
	case name == "root":
		return arn.Root(b.partition, b.account)
	case strings.HasPrefix(name, "user/"), strings.HasPrefix(name, "role/"):
		return "arn:" + b.partition + ":iam::" + b.account + ":" + name
	case strings.HasPrefix(name, "assumed-role/"), strings.HasPrefix(name, "federated-user/"):
		return "arn:" + b.partition + ":sts::" + b.account + ":" + name
	}
	return name
}

// isService reports whether a principal is named as services are.
func isService(name string) bool {
	return !arn.Is(name) && (strings.HasSuffix(name, ".amazonaws.com") || strings.HasSuffix(name, ".amazonaws.com.cn"))
}

func (b *builder) buildCaller() {
	p := &b.principal
	c := &call.Principal{}
	b.caller, b.call.Caller = c, c
	for _, t := range p.tags {
		c.Tags = append(c.Tags, call.Pair{Name: t.name, Value: t.value})
	}
	c.Policies = call.Policies{Identity: b.identity, Boundary: b.boundary, Session: b.session, Limited: b.limited}
	if isService(p.arn) {
		c.Kind, c.Services = call.Service, []string{p.arn}
		c.Names = policy.Principal{Services: c.Services}
		if len(b.identity) > 0 || b.boundary != nil || b.limited {
			b.mistake("a service principal has no policies of its own")
		}
		return
	}
	name := b.full(p.arn)
	a, err := arn.Parse(name)
	if err != nil || a.Account == "" {
		b.mistake("principal %s is neither root, user/…, role/…, assumed-role/…, federated-user/…, the ARN of one, nor a service", quote(p.arn))
		return
	}
	kind, rest, _ := strings.Cut(a.Resource, "/")
	if (a.Service != "iam" && a.Service != "sts") || kind != "root" && rest == "" {
		b.mistake("principal %s is neither a root user, user, role session nor federated user", quote(p.arn))
		return
	}
	c.Account, c.ARN, c.EntityARN = a.Account, name, name
	issued := b.call.Time.Add(-time.Minute)
	session := &call.Session{
		Issued: issued, Expires: issued.Add(time.Hour), SourceIdentity: p.identity, MFA: p.mfa, Chained: p.chained, Provider: p.provider,
	}
	if p.mfa {
		session.MFATime = issued
	}
	last := name[strings.LastIndexByte(name, '/')+1:]
	switch a.Service + " " + kind {
	case "iam root":
		c.Kind, c.ID = call.Root, a.Account
	case "iam user":
		c.Kind, c.Name, c.EntityID = call.User, last, b.uniqueID(name)
		c.ID = c.EntityID
	case "iam role", "sts assumed-role":
		c.Kind = call.RoleSession
		role := name
		session.Name = "session"
		roleName := last
		if a.Service == "sts" {
			var ok bool
			if roleName, session.Name, ok = strings.Cut(rest, "/"); !ok || session.Name == "" || strings.Contains(session.Name, "/") {
				b.mistake("the session of a role is assumed-role/NAME/SESSION, without the role's path")
				return
			}
			role = "arn:" + a.Partition + ":iam::" + a.Account + ":role/" + roleName
		}
		if p.role != "" {
			if role = b.full(p.role); !strings.HasPrefix(role, "arn:"+a.Partition+":iam::"+a.Account+":role/") || !strings.HasSuffix(role, "/"+roleName) {
				b.mistake("role %s is not the ARN of role %s with its path", quote(p.role), quote(roleName))
				return
			}
		}
		c.ARN = "arn:" + a.Partition + ":sts::" + a.Account + ":assumed-role/" + roleName + "/" + session.Name
		c.EntityARN, c.Session = role, session
		c.EntityID = b.uniqueID(role)
		c.ID = c.EntityID + ":" + session.Name
		c.Names.Role = role
	case "sts federated-user":
		c.Kind, c.Session, session.Name = call.FederatedUser, session, rest
		c.ID = a.Account + ":" + rest
		c.Policies.Limited = true
		c.Issuer = b.full(p.issuer)
		c.Names.Issuer = c.Issuer
		switch {
		case strings.HasPrefix(c.Issuer, "arn:"+a.Partition+":iam::"+a.Account+":user/"):
			c.EntityID = b.uniqueID(c.Issuer)
		case c.Issuer == arn.Root(a.Partition, a.Account):
			if len(b.identity) > 0 || b.boundary != nil {
				b.mistake("the root user has no policies of its own")
			}
			c.Policies.Identity = []call.Attached{*b.managed("AdministratorAccess", policy.Identity, "identity")}
		default:
			b.mistake("a federated user has an issuer: the user of the account who made the session, or its root user")
			return
		}
	default:
		b.mistake("principal %s is neither a root user, user, role session nor federated user", quote(p.arn))
		return
	}
	if c.Session == nil && (p.session || p.mfa) {
		c.Session = session // of GetSessionToken
	}
	switch {
	case b.limited && c.Kind != call.RoleSession && c.Kind != call.FederatedUser:
		b.mistake("session policies are for sessions of roles and federated users")
	case c.Kind == call.Root && (len(b.identity) > 0 || b.boundary != nil):
		b.mistake("the root user has no policies of its own")
	case p.issuer != "" && c.Kind != call.FederatedUser, p.role != "" && c.Kind != call.RoleSession:
		b.mistake("issuer is for federated users, role for sessions of roles")
	}
	c.Names.Account, c.Names.Root, c.Names.ARN, c.Names.ID = c.Account, c.Kind == call.Root, c.ARN, c.EntityID
}

func (b *builder) buildEndpoint() {
	e := b.endpoint
	if e == nil {
		return
	}
	if e.id == "" {
		e.id = "vpce-0123456789abcdef0"
	}
	if e.vpc == "" {
		e.vpc = "vpc-0123456789abcdef0"
	}
	if e.account == "" {
		e.account = b.account
	}
	if !arn.IsAccount(e.account) {
		b.mistake("the endpoint's account is 12 digits, in quotation marks")
		return
	}
	b.call.Endpoint = &call.Endpoint{
		ID: e.id, VPC: e.vpc, VPCARN: "arn:" + b.partition + ":ec2:" + b.region + ":" + e.account + ":vpc/" + e.vpc,
		Account: e.account, Source: defaultVPCSource, Policy: call.Attached{Policy: b.allowAll(policy.Endpoint)},
	}
	if e.policy != nil {
		b.call.Endpoint.Policy = *e.policy
	}
}

// buildDelegation reads through which services the call comes: "s3",
// "s3.amazonaws.com" or "s3.REGION.amazonaws.com".
func (b *builder) buildDelegation() {
	for _, name := range b.via {
		service := strings.TrimSuffix(name, ".amazonaws.com")
		service = strings.TrimSuffix(service, "."+b.region)
		if service == "" || strings.ContainsAny(service, ". /:") {
			b.mistake("via names services such as s3, s3.amazonaws.com or s3.%s.amazonaws.com, the call's Region; %s is none", b.region, quote(name))
			return
		}
		if b.caller.Kind == call.Service {
			b.mistake("a service calls for itself or for a user: via goes with a user, role or root user")
			return
		}
		if b.call.Delegation == nil {
			b.call.Delegation = new(call.Delegation)
		}
		b.call.Delegation.Via = append(b.call.Delegation.Via, service+".amazonaws.com")
	}
	if b.caller.Kind == call.Service {
		b.call.Delegation = new(call.Delegation)
	}
}

// buildOrganizations puts the accounts that have a say into their places.
func (b *builder) buildOrganizations() {
	for account, o := range b.organizations {
		if o.management == "" {
			o.management = defaultMaster
		}
		if o.path == "" {
			o.path = o.id + "/r-root/"
		}
		b.tree[account] = &call.Organization{ID: o.id, Path: o.path, Master: o.management, Management: o.management == account}
	}
	place := func(account string) *call.Organization {
		if b.tree[account] == nil {
			b.tree[account] = &call.Organization{ID: defaultOrganization, Path: defaultOrganization + "/r-root/", Master: defaultMaster}
		}
		return b.tree[account]
	}
	if b.serviceControl != nil {
		if b.caller.Account == "" {
			b.mistake("SCPs do not apply to services")
			return
		}
		place(b.caller.Account).ServiceControl = b.serviceControl
	}
	if b.resourceControl != nil {
		place(b.target.Account).ResourceControl = b.resourceControl
	}
	b.caller.Organization = b.tree[b.caller.Account]
	if e := b.call.Endpoint; e != nil {
		e.Organization = b.tree[e.Account]
	}
	if d := b.call.Delegation; d != nil && d.SourceAccount != "" {
		d.SourceOrganization = b.tree[d.SourceAccount]
	}
}

// resourceless are the actions of KMS that are on no key: their resource is
// "*". Source: "Actions, resources, and condition keys for AWS Key Management
// Service" in the Service Authorization Reference.
var resourceless = map[string]bool{
	"kms:ConnectCustomKeyStore":    true,
	"kms:CreateCustomKeyStore":     true,
	"kms:CreateKey":                true,
	"kms:DeleteCustomKeyStore":     true,
	"kms:DescribeCustomKeyStores":  true,
	"kms:DisconnectCustomKeyStore": true,
	"kms:GenerateRandom":           true,
	"kms:ListAliases":              true,
	"kms:ListKeys":                 true,
	"kms:ListRetirableGrants":      true,
	"kms:UpdateCustomKeyStore":     true,
}

// buildTarget makes the resource.
func (b *builder) buildTarget() {
	service, _, ok := strings.Cut(b.action, ":")
	if !ok || service == "" {
		b.mistake("an action is a service and a name, such as kms:Decrypt; %s is none", quote(b.action))
		return
	}
	switch {
	case (service == "kms" || service == "sts") && !authz.Known(b.action):
		b.mistake("there is no action %s; names of actions are written as AWS writes them", quote(b.action))
	case b.resource == "*", b.resource == "" && resourceless[b.action]:
		b.target = &authz.Resource{ARN: "*", Account: b.caller.Account}
		if b.target.Account == "" {
			b.target.Account = b.account
		}
	case b.resource == "" && service == "kms":
		b.target = b.buildKey()
	case b.resource == "" && service == "sts" && b.role.arn != "":
		b.target = b.buildRole()
	case b.resource == "":
		b.mistake("a case of %s has a resource", quote(b.action))
	default:
		name := b.resource
		switch {
		case strings.HasPrefix(name, "alias/"):
			name = arn.Alias(b.region, b.account, name)
		case name == "key/*":
			name = arn.Key(b.region, b.account, "*")
		}
		a, err := arn.Parse(name)
		if err != nil {
			b.mistake(`resource %s is neither "*", alias/…, key/* nor an ARN`, quote(b.resource))
			return
		}
		if a.Service == "kms" && strings.HasPrefix(a.Resource, "key/") && a.Resource != "key/*" {
			b.mistake("a key is described by the member key, and not by resource")
			return
		}
		b.target = &authz.Resource{ARN: name, Account: a.Account}
		if a.Account == "" {
			b.target.Account = b.caller.Account
		}
	}
	if b.err == nil {
		b.target.Values = b.facts
	}
}

func (b *builder) buildRole() *authz.Resource {
	name := b.full(b.role.arn)
	a, err := arn.Parse(name)
	if err != nil || a.Service != "iam" || !strings.HasPrefix(a.Resource, "role/") {
		b.mistake("role %s is neither role/… nor the ARN of a role", quote(b.role.arn))
		return nil
	}
	if b.role.policy == nil {
		b.mistake("a role has a policy: the one that says who may assume it")
		return nil
	}
	b.facts.tags = b.role.tags
	return &authz.Resource{ARN: name, Account: a.Account, Policy: b.role.policy.Policy}
}

func (b *builder) buildKey() *authz.Resource {
	k := &b.key
	name := k.arn
	switch {
	case name == "":
		name = arn.Key(b.region, b.account, defaultKeyID)
	case !arn.Is(name):
		name = arn.Key(b.region, b.account, strings.TrimPrefix(name, "key/"))
	}
	a, err := arn.Parse(name)
	id, ok := strings.CutPrefix(a.Resource, "key/")
	if err != nil || a.Service != "kms" || a.Account == "" || !ok {
		b.mistake("key %s is neither the ARN nor the id of a key", quote(k.arn))
		return nil
	}
	if a.Region != b.region {
		b.mistake("the key is in Region %s and the call in %s", quote(a.Region), quote(b.region))
		return nil
	}
	r := &authz.Resource{ARN: name, Account: a.Account, Revision: 1}
	if k.policy != nil {
		r.Policy = k.policy.Policy
	} else {
		r.Policy = b.compile(keyring.DefaultPolicy(b.region, a.Account), policy.KeyPolicy, false, "the default key policy")
	}
	b.keyFacts(k, id)
	if len(k.grants) > 0 {
		b.buildGrants(a.Account)
		r.Grants = b.grants
	}
	return r
}
