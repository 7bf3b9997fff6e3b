package explain

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/keyreeve/keyreeve/internal/api/keyreeveapi"
	"github.com/keyreeve/keyreeve/internal/arn"
	"github.com/keyreeve/keyreeve/internal/authz"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/identity"
	"github.com/keyreeve/keyreeve/internal/keyring"
	"github.com/keyreeve/keyreeve/internal/seal"
	"github.com/keyreeve/keyreeve/internal/wire"
	"github.com/keyreeve/keyreeve/policy"
)

// Options are what a [Service] explains from.
type Options struct {
	Directory *identity.Directory
	Ring      *keyring.Ring
	Uses      *keyring.Uses // of the ring's keys
	Denials   *Denials
	Trails    Trails // nil if there are none
}

// Trails knows the trails of a node.
type Trails interface {
	// Conditions returns the condition keys that a decision on the trail with
	// an ARN has from it, for the caller of c; none if the caller has no such
	// trail.
	Conditions(ctx context.Context, c *call.Call, name string) (policy.Context, error)
}

// Service explains the decisions of a running node. Its methods may be called
// concurrently.
//
// What an account's principals may do, and what was denied them, is explained
// to callers of that account, and of the one that manages its organization, who
// are allowed keyreeve:Explain. Of the decision
// they learn what AWS's message says. A layer of policies they are shown if
// they may read all of its documents themselves, by the action that reads them;
// a change of a policy likewise. What is another account's is not looked at.
type Service struct {
	az *authz.Authorizer
	o  Options
}

// NewService returns a service that asks az.
func NewService(az *authz.Authorizer, o Options) *Service { return &Service{az, o} }

// Explain says why a call was denied, or how one would be decided.
func (s *Service) Explain(ctx context.Context, c *call.Call, in *keyreeveapi.ExplainInput, out *keyreeveapi.ExplainOutput) error {
	if err := s.explain(ctx, c, in, out); err != nil {
		return answer(err)
	}
	return nil
}

// answer puts an error into the API's terms.
func answer(err error) error {
	var mistake caseError
	var denied *authz.Denied
	var known *wire.Error
	switch {
	case errors.As(err, &known):
		return known
	case errors.As(err, &denied):
		return wire.AccessDenied(denied.Text)
	case errors.As(err, &mistake):
		return wire.Validation(sentence(mistake.Error()))
	case errors.Is(err, authz.ErrGrantToken):
		return wire.Validation("A grant token of the case is none.")
	case errors.Is(err, seal.ErrSealed):
		return wire.Sealed().WithCause(err)
	case errors.Is(err, errNoDenial):
		return wire.NewError("NotFoundException", "No denial of this request of your account is kept. The last ones are, as long as the node runs; of calls that were allowed or failed otherwise, nothing is.")
	case errors.Is(err, errGone):
		return wire.NewError("NotFoundException", "The principal or the resource of the request is not there any more.").WithCause(err)
	}
	return wire.NewFault("InternalException", "").WithCause(err)
}

// sentence makes a message of an error's text.
func sentence(s string) string {
	return strings.ToUpper(s[:min(1, len(s))]) + s[min(1, len(s)):] + "."
}

func (s *Service) explain(ctx context.Context, c *call.Call, in *keyreeveapi.ExplainInput, out *keyreeveapi.ExplainOutput) error {
	account := ""
	if c.Caller != nil {
		account = c.Caller.Account
	}
	if _, err := s.az.Decide(ctx, c, "keyreeve:Explain", &authz.Resource{ARN: "*", Account: account}, nil); err != nil {
		return err
	}
	if (in.RequestID == "") == (in.Case == "") {
		return wire.Validation("Specify either a request id or a case.")
	}
	*out = keyreeveapi.ExplainOutput{Layers: []keyreeveapi.ExplainedLayer{}, Grants: []keyreeveapi.ExplainedGrant{}, Changes: []keyreeveapi.ExplainedChange{}}
	if in.Case != "" {
		q, err := s.hypothetical(ctx, c, in.Case)
		if err != nil {
			return err
		}
		return s.report(ctx, c, q, nil, out)
	}
	of, e, err := s.o.Denials.find(in.RequestID)
	if err != nil {
		return err
	}
	switch ok, err := s.mayAsk(ctx, account, of); {
	case err != nil:
		return err
	case !ok:
		return errNoDenial
	}
	out.Denial = &keyreeveapi.ExplainedDenial{RequestID: in.RequestID, Time: keyreeveapi.Time{Time: e.Time}, Text: e.Text}
	if e.Asked.Hidden {
		s.hidden(e, out)
		return nil
	}
	q, err := s.again(ctx, in.RequestID, of, e)
	if err != nil {
		return err
	}
	return s.report(ctx, c, q, e, out)
}

// mayAsk reports whether an account's callers may ask about principals of
// another: of their own account, or of one of the organization that theirs
// manages, whose policies they may see.
func (s *Service) mayAsk(ctx context.Context, account, of string) (bool, error) {
	if account == of {
		return account != "", nil
	}
	o, err := s.o.Directory.Organization(ctx, of)
	if errors.Is(err, identity.ErrNotFound) {
		return false, nil
	}
	return err == nil && o != nil && o.Master == account, err
}

// hidden reports a denial on something that is not there or that another
// account does not share, which must not differ.
func (s *Service) hidden(e *entry, out *keyreeveapi.ExplainOutput) {
	out.Principal, out.Action, out.Text = e.Caller.ARN, e.Asked.Action, e.Text
	out.Decision, out.Layer = keyreeveapi.Denied, layerName(authz.ResourceBased)
	out.Notes = append(out.Notes, "Either there is no such resource, or it is another account's, which does not share it with you. Which of the two, only that account may know.")
	if !strings.HasPrefix(e.Asked.Action, "kms:") {
		out.Notes = append(out.Notes, "If it is there, its own policy must allow the action to "+e.Caller.EntityARN+".")
		return
	}
	if !authz.Shared(e.Asked.Action) {
		out.Notes = append(out.Notes, e.Asked.Action+" cannot be done to a key of another account.")
		return
	}
	out.Notes = append(out.Notes, "If it is there, its owner can add a statement such as the one below to the key policy; your own policies must allow the call as well.")
	p := &call.Principal{Kind: e.Caller.Kind, ARN: e.Caller.ARN, EntityARN: e.Caller.EntityARN}
	out.Changes = append(out.Changes, keyreeveapi.ExplainedChange{
		Layer: layerName(authz.ResourceBased), Do: keyreeveapi.AddStatement, Target: "the key, if there is one", Statements: raw(newStatement(authz.ResourceBased, p, e.Asked.Action, "*", false)),
	})
}

// report fills in what is decided, with what of it the caller may see.
func (s *Service) report(ctx context.Context, c *call.Call, q *question, e *entry, out *keyreeveapi.ExplainOutput) error {
	out.Principal, out.Action, out.Resource = q.call.Caller.ARN, q.action, q.resource.ARN
	eyes := &sight{s: s, ctx: ctx, c: c, q: q, may: make(map[string]string)}
	asked := q
	if q.foreign {
		// What its owner says is taken to be yes, to see what remains.
		shared, err := q.shared()
		if err != nil {
			return err
		}
		asked = shared
	}
	d, err := asked.decide(ctx, s.az)
	if err != nil {
		return err
	}
	out.Text = d.Text
	out.Decision = keyreeveapi.Allowed
	if !d.Allowed {
		out.Decision, out.Layer = keyreeveapi.Denied, layerName(d.Layer)
	}
	if q.foreign {
		s.foreign(q, d, e, out)
	}
	hidden := make(map[authz.LayerType]string)
	for i := range d.Layers {
		l := &d.Layers[i]
		if q.foreign && (l.Type == authz.ResourceBased || l.Type == authz.ResourceControl) {
			continue
		}
		why, err := eyes.of(l)
		if err != nil {
			return err
		}
		if hidden[l.Type] != "" {
			continue // told already
		}
		if why != "" {
			hidden[l.Type] = why
			out.Layers = slices.DeleteFunc(out.Layers, func(told keyreeveapi.ExplainedLayer) bool { return told.Layer == layerName(l.Type) })
		}
		out.Layers = append(out.Layers, explained(l, why))
	}
	if q.foreign {
		out.Layers = append(out.Layers, keyreeveapi.ExplainedLayer{
			Layer: layerName(authz.ResourceBased), Hidden: "the resource is of account " + q.resource.Account, Policies: []keyreeveapi.ExplainedPolicy{},
		})
	}
	if err := s.grants(eyes, d, out); err != nil {
		return err
	}
	if e != nil {
		if err := eyes.changed(e, d, out); err != nil {
			return err
		}
	}
	if d.Allowed || q.foreign && !authz.Shared(q.action) {
		return nil
	}
	if len(hidden) == 0 {
		return s.propose(eyes, asked, d, out)
	}
	// What is not shown is taken to allow: what remains tells nothing of it.
	blind, err := asked.blind(hidden)
	if err != nil {
		return err
	}
	rest, err := blind.decide(ctx, s.az)
	if err != nil {
		return err
	}
	if err := s.propose(eyes, blind, rest, out); err != nil {
		return err
	}
	out.Complete = false
	if why := hidden[d.Layer]; why != "" {
		out.Notes = append(out.Notes, "What it takes to change in the "+layerTitles[layerName(d.Layer)]+" is not shown: "+why+".")
	} else {
		out.Notes = append(out.Notes, "It may take more, in policies that are not shown.")
	}
	return nil
}

// foreign says what is decided on another account's resource, without looking
// at it.
func (s *Service) foreign(q *question, d *authz.Decision, e *entry, out *keyreeveapi.ExplainOutput) {
	if e != nil {
		out.Text = e.Text
	}
	switch {
	case !authz.Shared(q.action):
		out.Decision, out.Layer = keyreeveapi.Denied, layerName(authz.ResourceBased)
		out.Notes = append(out.Notes, q.action+" cannot be done to a resource of another account.")
	case d.Allowed:
		out.Decision, out.Layer = keyreeveapi.Undecided, ""
		out.Text = "allowed by your account's policies; what account " + q.resource.Account + " says of its resource is not shown"
	default:
		out.Notes = append(out.Notes, "What account "+q.resource.Account+" says of its resource is not shown: it must allow the call as well.")
	}
}

func (s *Service) grants(eyes *sight, d *authz.Decision, out *keyreeveapi.ExplainOutput) error {
	if eyes.q.foreign || eyes.q.resource.Grants == nil {
		return nil
	}
	why, err := eyes.allowed("kms:ListGrants", eyes.q.resource)
	if err != nil {
		return err
	}
	if why != "" {
		out.Notes = append(out.Notes, "Grants are not shown: "+why+".")
		return nil
	}
	for _, g := range d.Grants {
		out.Grants = append(out.Grants, keyreeveapi.ExplainedGrant{ID: g.Grant.ID, Usable: g.Usable, Why: g.Why})
	}
	return nil
}

// explained is a layer for a caller; all but that there is one is left out if
// it is hidden.
func explained(l *authz.Layer, hidden string) keyreeveapi.ExplainedLayer {
	out := keyreeveapi.ExplainedLayer{Layer: layerName(l.Type), Hidden: hidden, Policies: []keyreeveapi.ExplainedPolicy{}}
	if hidden != "" {
		return out
	}
	if l.Type == authz.ServiceControl || l.Type == authz.ResourceControl {
		out.Level = l.Level + 1
	}
	out.Allows, out.Denies, out.Broken = l.Allowed, l.Denied, l.Broken
	if l.Allowed {
		out.AllowedBy = allowedBy(l.AllowedBy)
	}
	for i := range l.Policies {
		p := &l.Policies[i]
		one := keyreeveapi.ExplainedPolicy{Name: p.Name, ARN: p.ARN, Of: p.Of, Allows: p.Result.Allow, Denies: p.Result.Deny, Statements: []keyreeveapi.ExplainedStatement{}}
		for j, st := range statementsOf(p) {
			told := keyreeveapi.ExplainedStatement{Index: st.index, SID: st.SID, Effect: st.effect(), Line: st.Line, Column: st.Column, Matches: st.outcome.Matched}
			if !told.Matches {
				told.Mismatch = st.outcome.Mismatch.String()
			}
			if c := st.condition(); c != nil {
				told.Condition, told.Seen = c.String(), p.Values[j]
			}
			one.Statements = append(one.Statements, told)
		}
		out.Policies = append(out.Policies, one)
	}
	return out
}

// A sight is what a caller may see of a question.
type sight struct {
	s   *Service
	ctx context.Context
	c   *call.Call // of the caller
	q   *question
	may map[string]string // why not, by action and ARN; empty if they may
}

// allowed says why the caller may not do an action that reads a document; empty
// if they may.
func (e *sight) allowed(action string, r *authz.Resource) (why string, err error) {
	name := action + " " + r.ARN
	if why, known := e.may[name]; known {
		return why, nil
	}
	ok, err := e.s.az.Would(e.ctx, e.c, action, r, nil)
	if err != nil {
		return "", err
	}
	if !ok {
		why = "it takes " + action
		if r.ARN != "*" {
			why += " on " + r.ARN
		}
	}
	e.may[name] = why
	return why, nil
}

// of says why a layer is not shown to the caller; empty if it is.
func (e *sight) of(l *authz.Layer) (why string, err error) {
	own, account := e.q.call.Caller, e.c.Caller.Account
	switch l.Type {
	case authz.ServiceControl, authz.ResourceControl:
		o := own.Organization
		if o == nil || o.Master != account {
			return "it is for the organization's management account to see", nil
		}
	case authz.ResourceBased:
		if e.q.foreign || e.q.resource.Account != account {
			return "the resource is of account " + e.q.resource.Account, nil
		}
		if strings.Contains(e.q.resource.ARN, ":role/") {
			return e.allowed("iam:GetRole", e.q.resource)
		}
		return e.allowed("kms:GetKeyPolicy", e.q.resource)
	case authz.Boundary, authz.Session, authz.Identity:
		if own.Account != account {
			return "they are of account " + own.Account, nil
		}
	}
	for i := range l.Policies {
		if why, err = e.policy(l.Type, &l.Policies[i]); why != "" || err != nil {
			return why, err
		}
	}
	return "", nil
}

// policy is of for one policy.
func (e *sight) policy(t authz.LayerType, p *authz.Evaluated) (why string, err error) {
	all := &authz.Resource{ARN: "*", Account: e.c.Caller.Account}
	switch {
	case t == authz.ServiceControl, t == authz.ResourceControl:
		return e.allowed("organizations:DescribePolicy", &authz.Resource{ARN: p.ARN, Account: e.c.Caller.Account})
	case t == authz.Endpoint:
		if e.q.call.Endpoint.Account != e.c.Caller.Account {
			return "the endpoint is of account " + e.q.call.Endpoint.Account, nil
		}
		return e.allowed("ec2:DescribeVpcEndpoints", all)
	case p.ARN != "":
		a, err := arn.Parse(p.ARN)
		if err != nil || a.Account == "" {
			return "", nil // AWS's own, which everybody knows
		}
		return e.allowed("iam:GetPolicyVersion", &authz.Resource{ARN: p.ARN, Account: a.Account})
	case t == authz.Session:
		// No API reads it again; but it stands in the trail.
		if e.c.Caller.Session != nil && e.c.Caller.ARN == e.q.call.Caller.ARN {
			return "", nil
		}
		return e.allowed("cloudtrail:LookupEvents", all)
	case p.Of == "":
		return "", nil
	}
	action := "iam:GetUserPolicy"
	r := &authz.Resource{ARN: p.Of, Account: own(p.Of)}
	switch {
	case strings.Contains(p.Of, ":group/"):
		action = "iam:GetGroupPolicy"
	case strings.Contains(p.Of, ":role/"):
		action = "iam:GetRolePolicy"
	}
	last := p.Of[strings.LastIndexByte(p.Of, '/')+1:]
	switch action {
	case "iam:GetUserPolicy":
		u, err := e.s.o.Directory.User(e.ctx, r.Account, last)
		if err != nil {
			return "", err
		}
		r.Values = tagged(u.Tags)
	case "iam:GetRolePolicy":
		role, err := e.s.o.Directory.Role(e.ctx, r.Account, last)
		if err != nil {
			return "", err
		}
		r.Values = tagged(role.Tags)
	}
	return e.allowed(action, r)
}

// own returns the account of an ARN.
func own(name string) string {
	a, _ := arn.Parse(name)
	return a.Account
}

// changed tells which policies are others than when the call was denied, of
// those that the caller may see.
func (e *sight) changed(was *entry, d *authz.Decision, out *keyreeveapi.ExplainOutput) error {
	var names []string
	for t := range authz.LayerType(len(d.Marks)) {
		if was.Asked.Marks[t] == d.Marks[t] || e.q.foreign && (t == authz.ResourceBased || t == authz.ResourceControl) {
			continue
		}
		shown := true
		for i := range d.Layers {
			if l := &d.Layers[i]; l.Type == t {
				hidden, err := e.of(l)
				if err != nil {
					return err
				}
				shown = shown && hidden == ""
			}
		}
		if name := layerName(t); shown && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	out.Denial.Changed = names
	return nil
}

// shared is the question with another account's resource that its owner lets
// the caller use.
func (q *question) shared() (*question, error) {
	other := *q
	r := authz.Resource{ARN: q.resource.ARN, Account: q.resource.Account, FromCiphertext: q.resource.FromCiphertext}
	t := policy.KeyPolicy
	if strings.Contains(r.ARN, ":role/") {
		t = policy.Trust
	}
	isKey := strings.Contains(r.ARN, ":key/")
	if t == policy.Trust || isKey {
		p, err := policy.Parse(documentOf(newStatement(authz.ResourceBased, q.call.Caller, q.action, "*", t == policy.Trust)), policy.Options{Type: t})
		if err != nil {
			return nil, fmt.Errorf("making a policy that shares: %w", err)
		}
		r.Policy = p
	}
	other.resource = &r
	return &other, nil
}

// blind is the question with layers that allow everything in the place of those
// that the caller may not see.
func (q *question) blind(hidden map[authz.LayerType]string) (*question, error) {
	other, _, err := q.with(nil)
	if err != nil {
		return nil, err
	}
	other.foreign = q.foreign
	all := func(t policy.Type) (call.Attached, error) {
		who := ""
		if t == policy.Endpoint {
			who = `"Principal":"*",`
		}
		p, err := policy.Parse(`{"Version":"2012-10-17","Statement":{"Effect":"Allow",`+who+`"Action":"*","Resource":"*"}}`, policy.Options{Type: t})
		return call.Attached{Policy: p}, err
	}
	p := other.call.Caller
	for t := range hidden {
		switch t {
		case authz.ServiceControl:
			p.Organization.ServiceControl, p.Organization.Broken = nil, ""
		case authz.ResourceControl:
			p.Organization.ResourceControl, p.Organization.Broken = nil, ""
		case authz.Endpoint:
			other.call.Endpoint.Policy, err = all(policy.Endpoint)
		case authz.ResourceBased:
			var shares *question
			if shares, err = other.shared(); err == nil {
				other.resource.Policy = shares.resource.Policy
			}
		case authz.Boundary:
			p.Policies.Boundary = nil
		case authz.Session:
			p.Policies.Session, p.Policies.Limited = nil, false
		case authz.Identity:
			p.Policies.Identity = make([]call.Attached, 1)
			p.Policies.Identity[0], err = all(policy.Identity)
			p.Policies.Broken = ""
		}
		if err != nil {
			return nil, fmt.Errorf("leaving out what is not shown: %w", err)
		}
	}
	return other, nil
}
