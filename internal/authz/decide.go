package authz

import (
	"context"
	"strings"
	"sync"

	"github.com/keyreeve/keyreeve/internal/arn"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/policy"
)

// A decider makes one decision. Deciders are pooled, so that a decision does
// not allocate.
type decider struct {
	a      *Authorizer
	c      *call.Call
	p      *call.Principal
	action string
	act    action
	r      *Resource
	kind   kind
	q      *Request // nil for none
	owner  *call.Organization

	// retire: whether a grant may be retired is what is decided. The grant is
	// retired, which is nil if there is none that the caller could name.
	retire  bool
	retired *Grant

	verdicts [layers]verdict
	// forbidden: a layer denies, or is broken, which nothing makes good.
	forbidden bool
	record    *Decision // nil: the reasons are not wanted

	simulated *Simulation // nil for a call that is made

	// What the policy that is being evaluated may see.
	layer        LayerType
	keys         keyset
	resourceKeys keyset // of keys, those whose value the resource has

	// Grants.
	row                  row      // the grantee that is being looked up
	usable               *Grant   // the first that allows the call
	byToken              []*Grant // those that grant tokens stand for
	tokensRead, badToken bool
	visit                func(*Grant) bool
	hasGrant             bool // the caller is the grantee of some grant
	anyGrant             func(*Grant) bool

	// Room that is used again.
	request policy.Request
	key     policy.Key
	paths   [4][1]string
}

var deciders = sync.Pool{New: func() any {
	d := new(decider)
	d.visit = d.try
	d.anyGrant = func(*Grant) bool {
		d.hasGrant = true
		return true // stopping at a grant says that it is relied on
	}
	return d
}}

// newDecider prepares a decision. The caller releases it.
func (a *Authorizer) newDecider(c *call.Call, name string, r *Resource, q *Request) *decider {
	d := deciders.Get().(*decider)
	d.a, d.c, d.p, d.action, d.r, d.q = a, c, c.Caller, name, r, q
	d.kind = kindOf(r.ARN)
	d.retire = name == actionRetire
	var ok bool
	if d.act, ok = actions[name]; !ok {
		d.act.on = tagged
	}
	switch d.kind & d.act.on {
	case key:
		d.resourceKeys = ofKey
	case user, role:
		d.resourceKeys = ofEntity
	case iamPolicy, organizational, mfaDevice, oidcProvider, trail:
		d.resourceKeys = keyResourceTag
	}
	d.request.Action, d.request.Resource, d.request.Context = name, r.ARN, d
	return d
}

func (d *decider) release() {
	visit, anyGrant, byToken := d.visit, d.anyGrant, d.byToken
	clear(byToken)
	*d = decider{visit: visit, anyGrant: anyGrant, byToken: byToken[:0]}
	deciders.Put(d)
}

// kindOf tells what the resource with an ARN is.
func kindOf(s string) kind {
	if s == "*" {
		return anything
	}
	if !arn.Is(s) {
		return other
	}
	// arn:partition:service:region:account:resource
	_, rest, _ := strings.Cut(s[len("arn:"):], ":")
	service, rest, _ := strings.Cut(rest, ":")
	if service != "kms" && service != "iam" && service != "organizations" && service != "cloudtrail" {
		return other
	}
	_, rest, _ = strings.Cut(rest, ":")
	_, rest, _ = strings.Cut(rest, ":")
	if service == "cloudtrail" {
		if strings.HasPrefix(rest, "trail/") {
			return trail
		}
		return other
	}
	if service == "organizations" {
		for _, prefix := range [...]string{"account/", "ou/", "root/", "policy/"} {
			if strings.HasPrefix(rest, prefix) {
				return organizational
			}
		}
		return other
	}
	if service == "kms" {
		switch {
		case rest == "key/*":
			return newKey
		case strings.HasPrefix(rest, "key/"):
			return key
		case strings.HasPrefix(rest, "alias/"):
			return alias
		}
		return other
	}
	switch {
	case strings.HasPrefix(rest, "role/"):
		return role
	case strings.HasPrefix(rest, "user/"):
		return user
	case strings.HasPrefix(rest, "policy/"):
		return iamPolicy
	case strings.HasPrefix(rest, "mfa/"):
		return mfaDevice
	case strings.HasPrefix(rest, "oidc-provider/"):
		return oidcProvider
	}
	return other
}

// verdict is what a layer says.
type verdict struct {
	allow, deny bool
	by          policy.Match // how allowing statements name the caller
	broken      bool         // something of it is missing or was altered
}

// foreign reports whether the resource is another account's than the caller's.
// A service is of no account. A resource of which a simulation does not know the
// policy counts as the caller's own, if it can be shared at all.
func (d *decider) foreign() bool {
	if d.simulated != nil && d.act.shared && !d.simulatesPolicy() {
		return false
	}
	return d.elsewhere()
}

// elsewhere is foreign by the accounts alone.
func (d *decider) elsewhere() bool { return d.p.Account == "" || d.p.Account != d.r.Account }

// hasPolicy reports whether the resource has a policy that is asked: a key its
// key policy, except about the retiring of grants; a role its trust policy, but
// only about who may take the role on.
func (d *decider) hasPolicy() bool {
	if d.simulated != nil {
		return d.simulatesPolicy()
	}
	switch d.kind {
	case key:
		return !d.retire
	case role:
		return strings.HasPrefix(d.action, "sts:")
	}
	return false
}

// ownPolicy reports whether a key policy is being evaluated.
func (d *decider) ownPolicy() bool { return d.layer == ResourceBased && d.kind == key }

// An outcome is how a decision ended.
type outcome struct {
	why   why
	layer LayerType // that decided, of denied and refused
	grant *Grant    // of byGrant
}

// why is why a decision ended so.
type why uint8

const (
	hidden  why = iota // not shared with the caller's account: nobody learns whether it exists
	refused            // the layer does not allow it
	denied             // the layer denies it
	rootAssumes
	// From here on it is allowed.
	byIdentity  // by identity-based policies, as the resource has none
	byRoot      // likewise, to the root user
	byResource  // by the resource-based policy alone
	byBoth      // by resource-based and identity-based policies
	byGrant     // by a grant
	byRetiring  // to the retiring principal or grantee of the grant
	byAccountOf // of the grant or key, by identity-based policies
)

func (o outcome) allowed() bool { return o.why >= byIdentity }

// decide decides. Every layer is asked, whatever the others say, unless the
// resource is another account's and kept from the caller.
func (d *decider) decide(ctx context.Context) (outcome, error) {
	if d.p == nil || d.p.Kind == call.Nobody {
		return outcome{why: hidden}, nil
	}
	if err := d.findOwner(ctx); err != nil {
		return outcome{}, err
	}
	first := d.foreign() && d.record == nil
	if first {
		d.askResource()
		if kept, err := d.kept(ctx); err != nil || kept {
			return outcome{why: hidden}, err
		}
	}
	d.askOrganizations()
	d.askEndpoint()
	if !first {
		d.askResource()
	}
	d.askPrincipal()
	o, err := d.combine(ctx)
	if err == nil && o.why != hidden {
		// A text that is no token is an error whatever the policies say; but
		// nobody learns by it that a key exists.
		err = d.checkTokens(ctx)
	}
	return o, err
}

// findOwner finds the organization of the resource's account.
func (d *decider) findOwner(ctx context.Context) error {
	switch {
	case d.simulated != nil && d.elsewhere():
	case !d.foreign():
		d.owner = d.p.Organization
	case d.a.organizations != nil && d.r.Account != "":
		var err error
		d.owner, err = d.a.organizations.Organization(ctx, d.r.Account)
		return err
	}
	return nil
}

// askOrganizations asks service control policies of the caller's account, and
// resource control policies of the resource's. Neither holds for a management
// account. Sources: "Service control policies" and "Resource control policies"
// in the AWS Organizations User Guide.
func (d *decider) askOrganizations() {
	scp, rcp := &d.verdicts[ServiceControl], &d.verdicts[ResourceControl]
	scp.allow, rcp.allow = true, true
	if o := d.p.Organization; o != nil && !o.Management && d.p.Kind != call.Service {
		d.askLevels(ServiceControl, o.ServiceControl, o.Broken)
	}
	// Only what has a resource is filtered: keys, aliases, roles to assume.
	// Retiring a grant is exempt.
	if o := d.owner; o != nil && !o.Management && !d.retire && (d.kind&(key|newKey|alias) != 0 || d.hasPolicy()) {
		d.askLevels(ResourceControl, o.ResourceControl, o.Broken)
	}
}

// askLevels asks the policies at each level of an organization. Every level
// must allow. No levels at all means that policies of that type are not in use.
func (d *decider) askLevels(t LayerType, levels [][]call.Attached, broken string) {
	v := &d.verdicts[t]
	if broken != "" {
		v.broken, d.forbidden = true, true
		d.note(Layer{Type: t, Broken: broken})
	}
	if levels == nil {
		return
	}
	v.allow = len(levels) > 0
	for i := range levels {
		at := d.ask(t, i, levels[i])
		v.allow = v.allow && at.allow
		v.deny = v.deny || at.deny
		v.broken = v.broken || at.broken
	}
}

// askEndpoint asks the policy of the VPC endpoint through which the call came.
func (d *decider) askEndpoint() {
	v := &d.verdicts[Endpoint]
	if d.c.Endpoint == nil {
		v.allow = true
		return
	}
	*v = d.askOne(Endpoint, &d.c.Endpoint.Policy)
}

// askResource asks the key policy or role trust policy.
func (d *decider) askResource() {
	if !d.hasPolicy() {
		return
	}
	v := &d.verdicts[ResourceBased]
	own := call.Attached{Policy: d.r.Policy}
	*v = d.askOne(ResourceBased, &own)
}

// askPrincipal asks what goes with the caller. A service has no policies, nor
// has somebody who comes from an identity provider.
func (d *decider) askPrincipal() {
	boundary, session, identity := &d.verdicts[Boundary], &d.verdicts[Session], &d.verdicts[Identity]
	if d.p.Kind == call.Service || d.p.Kind == call.WebIdentity {
		boundary.allow, session.allow = true, true
		return
	}
	own := &d.p.Policies
	boundary.allow = true
	if own.Boundary != nil {
		*boundary = d.askOne(Boundary, own.Boundary)
	}
	session.allow = true
	if own.Limited || len(own.Session) > 0 {
		*session = d.ask(Session, 0, own.Session)
	}
	if what := sessionForbids(d.p, d.action); what != "" {
		session.allow = false
		d.note(Layer{Type: Session, Broken: what})
	}
	*identity = d.ask(Identity, 0, own.Identity)
	if own.Broken != "" {
		identity.broken, d.forbidden = true, true
		d.note(Layer{Type: Identity, Broken: own.Broken})
	}
}

// sessionForbids says what a session of the caller's kind may not do, whatever
// its policies say: with the credentials of GetSessionToken, IAM without MFA,
// and of STS only to assume a role; with those of GetFederationToken, neither.
// Source: "Comparing AWS STS credentials" in the IAM User Guide.
func sessionForbids(p *call.Principal, action string) string {
	if p.Session == nil || !strings.HasPrefix(action, "iam:") && !strings.HasPrefix(action, "sts:") {
		return ""
	}
	switch p.Kind {
	case call.FederatedUser:
		return "sessions of GetFederationToken may not call IAM or STS"
	case call.User, call.Root:
		switch action {
		case "sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity", "sts:GetCallerIdentity":
			return ""
		}
		if action[:4] == "sts:" {
			return "sessions of GetSessionToken may do nothing in STS but assume a role"
		}
		if !p.Session.MFA {
			return "sessions of GetSessionToken may not call IAM without MFA"
		}
	}
	return ""
}

func (d *decider) askOne(t LayerType, at *call.Attached) verdict {
	d.look(t)
	var v verdict
	var seen *Layer
	if d.record != nil {
		seen = new(Layer{Type: t})
	}
	d.evaluate(at, &v, seen)
	d.finish(seen, &v)
	return v
}

// ask asks a set of policies, any of which may allow.
func (d *decider) ask(t LayerType, level int, set []call.Attached) verdict {
	d.look(t)
	var v verdict
	var seen *Layer
	if d.record != nil {
		seen = new(Layer{Type: t, Level: level})
	}
	for i := range set {
		d.evaluate(&set[i], &v, seen)
	}
	if t == Identity && d.p.Kind == call.Root {
		v.allow = true // the root user needs no policy
	}
	d.finish(seen, &v)
	return v
}

// look lets the next policies see what policies of their layer may.
func (d *decider) look(t LayerType) {
	d.layer = t
	d.keys = d.act.keys | d.resourceKeys
	if d.kind == alias {
		d.keys = 0 // an alias has no condition keys but the global ones
	}
	if d.ownPolicy() {
		d.keys &^= keyResourceAliases | keyResourceTag
	}
	d.request.Principal = nil
	if t == ResourceBased || t == ResourceControl || t == Endpoint {
		d.request.Principal = &d.p.Names
	}
}

// evaluate adds what a policy says to v, and how it came to it to seen, which
// may be nil. A policy that could not be read breaks the layer.
func (d *decider) evaluate(at *call.Attached, v *verdict, seen *Layer) {
	var res policy.Result
	switch {
	case at.Policy == nil:
		v.broken = true
		if seen != nil {
			seen.Broken = "a policy is missing"
		}
	case seen != nil:
		res = at.Policy.Evaluate(&d.request, nil)
	default:
		res = at.Policy.Verdict(&d.request)
	}
	d.forbidden = d.forbidden || res.Deny || at.Policy == nil
	v.deny = v.deny || res.Deny
	v.allow = v.allow || res.Allow
	v.by |= res.AllowedBy
	if seen != nil {
		e := Evaluated{Name: at.Name, ARN: at.ARN, Of: at.Of, Policy: at.Policy, Result: res}
		e.Seen, e.Values = d.seen(at.Policy, &res)
		seen.Policies = append(seen.Policies, e)
	}
}

// seen returns what the request has of the condition that keeps each statement
// from matching.
func (d *decider) seen(p *policy.Policy, res *policy.Result) (printed []string, values [][]string) {
	if p == nil || d.simulated != nil { // who simulates is not told
		return nil, nil
	}
	printed, values = make([]string, len(res.Statements)), make([][]string, len(res.Statements))
	for i, s := range p.Statements() {
		if o := res.Statements[i]; o.Mismatch == policy.OfCondition {
			k := policy.ParseKey(s.Conditions[o.Condition].Key)
			v := d.Value(&k)
			printed[i], values[i] = v.String(), v.Texts()
		}
	}
	return printed, values
}

func (d *decider) finish(seen *Layer, v *verdict) {
	if seen != nil {
		seen.Allowed, seen.Denied, seen.AllowedBy = v.allow, v.deny, v.by
		d.note(*seen)
	}
}

// note adds a layer to the reasons.
func (d *decider) note(l Layer) {
	if d.record != nil {
		d.record.Layers = append(d.record.Layers, l)
	}
}

// kept reports whether another account's resource is kept from the caller,
// whatever his own policies say. They are not asked then: he chooses how long
// they take, and could find out by the time of an answer what exists.
func (d *decider) kept(ctx context.Context) (bool, error) {
	switch v := &d.verdicts[ResourceBased]; {
	case !d.act.shared && d.p.Kind != call.Service:
		return true, nil
	case d.retire:
		return !d.mayKnow(), nil
	case v.deny || v.broken || !d.hasPolicy():
		return true, nil
	case v.allow:
		return false, nil
	}
	is, err := d.isGrantee(ctx)
	return !is, err
}

// combine makes one decision of what the layers say. Source: "Policy evaluation
// logic" in the IAM User Guide, and "Policy evaluation" in the KMS Developer
// Guide.
func (d *decider) combine(ctx context.Context) (outcome, error) {
	// Of another account's resource nothing is told, not even what the caller's
	// own policies say about it, unless its owner shares it: else somebody
	// could find out what exists.
	shares := true
	if d.foreign() {
		if !d.act.shared && d.p.Kind != call.Service {
			return outcome{why: hidden}, nil
		}
		v := &d.verdicts[ResourceBased]
		if v.deny || v.broken || !d.hasPolicy() && !d.retire {
			return outcome{why: hidden}, nil
		}
		shares = v.allow
	}
	ways, err := d.ways(ctx, shares)
	if err != nil {
		return outcome{}, err
	}
	if d.foreign() && ways.why == hidden {
		return ways, nil
	}
	// What every call must pass.
	if d.forbidden {
		return d.forbids(), nil
	}
	for _, t := range [...]LayerType{ServiceControl, ResourceControl, Endpoint} {
		if !d.verdicts[t].allow {
			return outcome{why: refused, layer: t}, nil
		}
	}
	if d.kind == role && d.p.Kind == call.Root && d.hasPolicy() {
		return outcome{why: rootAssumes}, nil
	}
	return ways, nil
}

// onlyEndpoint reports whether a call that ended with o would have been allowed
// but for the policy of its VPC endpoint. The owner of the endpoint is not told
// of such a call. Source: "Logging AWS KMS requests that use a VPC endpoint" in the
// KMS Developer Guide.
func (d *decider) onlyEndpoint(ctx context.Context, o outcome) (bool, error) {
	if d.c.Endpoint == nil || o.layer != Endpoint || o.why != refused && o.why != denied {
		return false, nil
	}
	for t := range layers {
		if v := &d.verdicts[t]; v.deny && t != Endpoint || v.broken {
			return false, nil
		}
	}
	d.verdicts[Endpoint], d.forbidden = verdict{allow: true}, false
	without, err := d.combine(ctx)
	return without.allowed(), err
}

// ways looks for a way in which the call is allowed, if nothing forbids it. The
// resource-based policy comes first, then grants. If there is none, it says
// what was missing on the first.
func (d *decider) ways(ctx context.Context, shares bool) (outcome, error) {
	var o outcome
	switch {
	case d.retire && d.simulated == nil:
		o = d.retireWays()
	case !d.hasPolicy():
		if o = d.limited(true, byIdentity); o.why == byIdentity && d.p.Kind == call.Root {
			o.why = byRoot
		}
	case !shares:
		o = outcome{why: hidden}
	default:
		o = d.policyWays()
		if d.kind == other && !d.foreign() && !o.allowed() {
			// In a simulation: unlike keys and roles, other resources of one's own
			// account need not let anybody in themselves.
			if own := d.limited(true, byIdentity); own.allowed() {
				o = own
			}
		}
	}
	if o.allowed() || d.forbidden && d.record == nil {
		return o, nil
	}
	g, err := d.findGrant(ctx)
	if g != nil && !d.forbidden {
		o = outcome{why: byGrant, grant: g}
	}
	return o, err
}

// forbids says which layer forbids the call: one that denies it goes before one
// of which something is missing.
func (d *decider) forbids() outcome {
	for t := range layers {
		if d.verdicts[t].deny {
			return outcome{why: denied, layer: t}
		}
	}
	for t := range layers {
		if d.verdicts[t].broken {
			return outcome{why: refused, layer: t}
		}
	}
	return outcome{why: refused, layer: Identity}
}

// policyWays says what the resource-based policy gives. Source: the table of
// "Determining whether a request is allowed or denied within an account" in the
// IAM User Guide.
func (d *decider) policyWays() outcome {
	v := &d.verdicts[ResourceBased]
	by := v.by
	switch {
	case !v.allow:
		return outcome{why: refused, layer: ResourceBased}
	case d.p.Kind == call.Service, d.p.Kind == call.WebIdentity:
		return outcome{why: byResource}
	case d.foreign():
		// Both accounts must allow.
		return d.limited(true, byBoth)
	case by&(policy.ByAnyone|policy.BySession|policy.ByFederatedUser) != 0,
		by&policy.ByUser != 0 && d.p.Kind == call.User:
		// Named directly: only an explicit deny limits that.
		return outcome{why: byResource}
	case by&(policy.ByUser|policy.ByRole|policy.ByIssuer) != 0, d.p.Kind == call.Root:
		return d.limited(false, byResource)
	}
	// The account is named: its own policies decide.
	return d.limited(true, byBoth)
}

// limited says whether the permissions boundary and the session allow the call
// and, if identity is set, identity-based policies; then it is allowed by how.
func (d *decider) limited(identity bool, how why) outcome {
	switch {
	case identity && !d.verdicts[Identity].allow:
		return outcome{why: refused, layer: Identity}
	case !d.verdicts[Boundary].allow:
		return outcome{why: refused, layer: Boundary}
	case !d.verdicts[Session].allow:
		return outcome{why: refused, layer: Session}
	}
	return outcome{why: how}
}
