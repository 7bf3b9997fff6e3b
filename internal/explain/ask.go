package explain

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/keyreeve/keyreeve/internal/arn"
	"github.com/keyreeve/keyreeve/internal/authz"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/identity"
	"github.com/keyreeve/keyreeve/internal/keyring"
	"github.com/keyreeve/keyreeve/internal/wire"
	"github.com/keyreeve/keyreeve/policy"
)

// A question is a call that is to be decided: one that was made, or that could
// be.
type question struct {
	call     *call.Call // with its caller as it is now
	action   string
	resource *authz.Resource
	request  *authz.Request
	retired  *authz.Grant
	key      *keyring.Subject // that the resource is; nil if it is none of the account's

	// foreign: the resource is another account's. Nothing of it is looked at.
	foreign bool
}

// decide has it decided, with the reasons.
func (q *question) decide(ctx context.Context, a *authz.Authorizer) (*authz.Decision, error) {
	if q.foreign {
		a = authz.New(nil) // nor at what organization its account is in
	}
	if q.action == retire {
		return a.ExplainRetire(ctx, q.call, q.retired, q.resource, q.request)
	}
	return a.Explain(ctx, q.call, q.action, q.resource, q.request)
}

const retire = "kms:RetireGrant"

// again asks what was asked in a call that was denied, of the policies that
// there are now. A principal or resource that is gone is errGone.
func (s *Service) again(ctx context.Context, id, account string, e *entry) (*question, error) {
	n := &e.Asked
	b := e.Caller.bearer(account)
	p, err := s.o.Directory.Principal(ctx, b)
	if err != nil {
		return nil, gone(err)
	}
	q := &question{
		call: &call.Call{
			ID: id, Time: e.Time, Region: e.Region, Service: e.Service, Source: e.Source, UserAgent: e.UserAgent, TLS: e.TLS, MFA: e.MFA, Caller: p,
		},
		action:  n.Action,
		request: &authz.Request{Context: stringPairs(n.Context), GrantTokens: n.Grants},
	}
	asked := &values{set: n.Values, context: q.request.Context}
	for _, t := range n.Tags {
		asked.tags = append(asked.tags, pair{t.Name, t.Value})
	}
	if asked.set == nil {
		asked.set = make(policy.Values)
	}
	// The encryption context is known by its names, too.
	if _, ok := asked.set["kms:encryptioncontextkeys"]; !ok && len(n.Context) > 0 {
		var names []string
		for _, c := range n.Context {
			names = append(names, c.Name)
		}
		asked.set["kms:encryptioncontextkeys"] = policy.Strings(names)
	}
	q.request.Values = asked
	if c := n.Child; c != nil {
		q.request.Child = &authz.Grant{Operations: c.Operations, Equals: stringPairs(c.Equals), Subset: stringPairs(c.Subset), SourceARN: c.SourceARN}
	}
	if err := s.find(ctx, q, n.Resource, n.Account, n.Retired); err != nil {
		return nil, gone(err)
	}
	q.resource.FromCiphertext = n.FromCiphertext
	if g, ok := q.resource.Grants.(liveGrants); ok {
		q.resource.Grants = grantsByID(g)
	}
	return q, nil
}

// errGone: the principal or resource of a denied call is not there any more.
var errGone = errors.New("explain: gone")

func gone(err error) error {
	if errors.Is(err, identity.ErrNotFound) || errors.Is(err, keyring.ErrNotFound) {
		return fmt.Errorf("%w: %w", errGone, err)
	}
	return err
}

func stringPairs(list []call.Pair) wire.StringMap {
	pairs := make([]wire.Pair, len(list))
	for i, p := range list {
		pairs[i] = wire.Pair{Name: p.Name, Value: p.Value}
	}
	return wire.NewStringMap(pairs...)
}

// bearer is who called, as the directory composes it.
func (b *bearer) bearer(account string) *identity.Bearer {
	who := &identity.Bearer{
		Kind: b.Kind, Account: account, ID: b.EntityID, Session: b.Session, Policies: b.Policies, Managed: b.Managed, Limited: b.Limited,
	}
	name := b.EntityARN
	if b.Kind == call.FederatedUser {
		name = b.Issuer
	}
	if !strings.HasSuffix(name, ":root") {
		who.Name = name[strings.LastIndexByte(name, '/')+1:]
	}
	return who
}

// liveGrants are the grants of a key of the node.
type liveGrants struct {
	authz.Grants
	key *keyring.Subject
}

// grantsByID takes the ids of grants in the place of tokens, which are not kept.
type grantsByID liveGrants

func (g grantsByID) ByToken(ctx context.Context, id string) (*authz.Grant, error) {
	grant, err := g.key.Grant(ctx, id)
	if errors.Is(err, keyring.ErrNotFound) {
		return nil, nil
	}
	return grant, err
}

// tagged are the condition keys of an IAM resource.
type tagged []identity.Tag

func (t tagged) Value(k *policy.Key) policy.Value {
	if k.Name == "aws:resourcetag/" || k.Name == "iam:resourcetag/" {
		for _, tag := range t {
			if strings.EqualFold(tag.Name, k.Sub) {
				return policy.String(tag.Value)
			}
		}
	}
	return policy.Value{}
}

// find finds the resource, unless it is another account's. Errors:
// keyring.ErrNotFound, identity.ErrNotFound.
func (s *Service) find(ctx context.Context, q *question, name, account, grant string) error {
	q.resource = &authz.Resource{ARN: name, Account: account}
	if q.foreign = account != q.call.Caller.Account; q.foreign || name == "*" {
		return nil
	}
	a, err := arn.Parse(name)
	if err != nil {
		return nil // of some other service
	}
	kind, rest, _ := strings.Cut(a.Resource, "/")
	last := rest[strings.LastIndexByte(rest, '/')+1:]
	switch a.Service + " " + kind {
	case "kms key":
		if rest == "*" {
			return nil
		}
		key, err := s.o.Ring.Find(ctx, account, a.Region, rest)
		if err != nil {
			return err
		}
		q.key = key
		*q.resource = key.Resource()
		q.resource.Grants = liveGrants{key.Grants(), key}
		if grant != "" {
			q.retired, err = key.Grant(ctx, grant)
		}
		return err
	case "iam role":
		if strings.HasPrefix(q.action, "sts:") {
			role, trust, err := s.o.Directory.RoleByARN(ctx, name)
			q.resource.Policy, q.resource.Values = trust, tagged(role.Tags)
			return err
		}
		role, err := s.o.Directory.Role(ctx, account, last)
		if err == nil {
			q.resource.Values = tagged(role.Tags)
		}
		return unlessMissing(err)
	case "iam user":
		user, err := s.o.Directory.User(ctx, account, last)
		if err == nil {
			q.resource.Values = tagged(user.Tags)
		}
		return unlessMissing(err)
	case "cloudtrail trail":
		if s.o.Trails == nil {
			return nil
		}
		q.resource.Values, err = s.o.Trails.Conditions(ctx, q.call, name)
		return err
	case "iam policy":
		p, err := s.o.Directory.Policy(ctx, account, name)
		if err == nil {
			q.resource.Values = tagged(p.Tags)
		}
		return unlessMissing(err)
	}
	return nil
}

// unlessMissing drops the error of what is not there: IAM decides on names, and
// tells whether there is one after that.
func unlessMissing(err error) error {
	if errors.Is(err, identity.ErrNotFound) {
		return nil
	}
	return err
}

// liveMembers are the members of a case that is asked of a node.
var liveMembers = map[string]bool{
	"id": true, "about": true, "region": true, "principal": true, "session": true, "action": true, "resource": true, "request": true, "via": true, "context": true,
}

// A caseError is what is wrong with a case, for whoever sent it.
type caseError struct{ error }

// hypothetical makes the question of a case.
func (s *Service) hypothetical(ctx context.Context, asker *call.Call, text string) (*question, error) {
	r := &reader{files: &files{open: noFiles, now: asker.Time, texts: make(map[string]string), compiled: make(map[content]*policy.Policy)}}
	if err := syntax([]byte(text)); err != nil {
		return nil, caseError{err}
	}
	b := &builder{reader: r, draft: &draft{account: asker.Caller.Account, region: asker.Region}, live: true}
	members := r.members(json.RawMessage(strings.TrimSpace(text)), "a case")
	for _, m := range members {
		if !liveMembers[m.name] {
			r.mistake("of a call to a running node a case has no %s: policies, keys and organizations are the node's", quote(m.name))
		}
	}
	b.read(r, "a case", members)
	switch {
	case r.err != nil:
	case b.principal.arn == "":
		r.mistake("a case has a principal")
	case isService(b.principal.arn):
		r.mistake("a service has no account, whose policies could be looked at")
	case b.action == "":
		r.mistake("a case has an action")
	case !regionName.MatchString(b.region):
		r.mistake("region is none: %s", quote(b.region))
	}
	if r.err != nil {
		return nil, caseError{r.err}
	}
	q, err := s.build(ctx, b)
	switch {
	case r.err != nil:
		return nil, caseError{r.err}
	case errors.Is(err, identity.ErrNotFound):
		return nil, caseError{errors.New("there is no such principal or role in the account")}
	case errors.Is(err, identity.ErrMalformed), errors.Is(err, identity.ErrInvalid):
		return nil, caseError{err}
	case errors.Is(err, keyring.ErrNotFound):
		return nil, caseError{errors.New("there is no such key or grant in the account and Region")}
	}
	return q, err
}

func noFiles(string) (io.ReadCloser, error) {
	return nil, errors.New("a node reads no files of its callers")
}

// build makes the question of a case that was read.
func (s *Service) build(ctx context.Context, b *builder) (*question, error) {
	if a, err := arn.Parse(b.resource); err == nil && a.Region != "" {
		b.region = a.Region
	}
	b.partition = arn.Partition(b.region)
	b.asked, b.facts, b.grants = &values{set: make(policy.Values)}, &values{set: make(policy.Values)}, new(grants)
	b.call = &call.Call{
		ID: "00000000-0000-0000-0000-000000000000", Time: b.files.now, Region: b.region, Source: defaultSourcePort, UserAgent: defaultAgent, TLS: defaultTLS,
	}
	b.call.Service, _, _ = strings.Cut(b.action, ":")
	b.ask = &authz.Request{Values: b.asked}
	b.buildCaller()
	if b.err != nil {
		return nil, nil
	}
	account := b.caller.Account
	switch ok, err := s.mayAsk(ctx, b.draft.account, account); {
	case err != nil:
		return nil, err
	case !ok:
		b.mistake("the principal is of account %s, and only those of your own, %s, can be asked for", account, b.draft.account)
		return nil, nil
	}
	b.draft.account = account
	alias, err := s.name(ctx, b)
	if err != nil || b.err != nil {
		return nil, err
	}
	b.buildDelegation()
	b.buildRequest()
	b.buildContext()
	if b.err != nil {
		return nil, nil
	}
	if alias != "" {
		if _, set := b.asked.set["kms:requestalias"]; !set {
			b.asked.set["kms:requestalias"] = policy.String(alias)
		}
	}
	c := b.caller
	who := bearer{Kind: c.Kind, EntityARN: c.EntityARN, Issuer: c.Issuer, Session: c.Session, Limited: b.limited}
	for _, p := range b.session {
		if p.Policy != nil {
			who.Policies = append(who.Policies, p.Policy.Text())
		}
	}
	if c.Session != nil {
		for _, t := range b.principal.tags {
			c.Session.Tags = append(c.Session.Tags, call.Pair{Name: t.name, Value: t.value})
		}
	}
	p, err := s.o.Directory.Principal(ctx, who.bearer(account))
	if err != nil {
		return nil, err
	}
	p.Tags = withTags(p.Tags, c.Tags)
	q := &question{call: b.call, action: b.action, request: b.ask}
	q.call.Caller = p
	fromCiphertext := b.target.FromCiphertext
	if err := s.find(ctx, q, b.target.ARN, b.target.Account, b.grantID); err != nil {
		return nil, err
	}
	q.resource.FromCiphertext = fromCiphertext
	if err := s.unused(ctx, b, q); err != nil {
		return nil, err
	}
	if q.retired != nil {
		b.setGrant(q.retired)
	}
	return q, nil
}

// unused fills for how long the case's key was not used, if policies may ask for
// that and the case does not say it.
func (s *Service) unused(ctx context.Context, b *builder, q *question) error {
	_, told := b.asked.set[trailingDays]
	if told || q.key == nil || b.action != "kms:DisableKey" && b.action != "kms:ScheduleKeyDeletion" {
		return nil
	}
	days, err := s.o.Uses.Unused(ctx, q.key, b.call.Time)
	if err == nil {
		b.asked.set[trailingDays] = policy.Number(float64(days))
	}
	return err
}

// withTags returns tags with others in the place of those with the same keys.
func withTags(tags, others []call.Pair) []call.Pair {
	list := append([]call.Pair(nil), others...)
	for _, t := range tags {
		if !containsFold(others, t.Name) {
			list = append(list, t)
		}
	}
	return list
}

func containsFold(tags []call.Pair, name string) bool {
	for _, t := range tags {
		if strings.EqualFold(t.Name, name) {
			return true
		}
	}
	return false
}

// name makes the target of what the case names: "*", a key's ARN or id, an
// alias, or the ARN of something else. An alias stands for its key, unless the
// action is on aliases; it is returned then.
func (s *Service) name(ctx context.Context, b *builder) (alias string, err error) {
	name := b.resource
	own := b.draft.account
	service, _, ok := strings.Cut(b.action, ":")
	if !ok || service == "" || service == "kms" && !authz.Known(b.action) {
		b.mistake("there is no action %s; names of actions are written as AWS writes them, such as kms:Decrypt", quote(b.action))
		return "", nil
	}
	switch {
	case name == "*", name == "" && resourceless[b.action]:
		b.target = &authz.Resource{ARN: "*", Account: own}
		return "", nil
	case name == "":
		b.mistake("a case of %s has a resource", quote(b.action))
		return "", nil
	case service == "kms" && keyring.IsKeyID(name):
		name = arn.Key(b.region, own, name)
	case strings.HasPrefix(name, "key/"):
		name = arn.Key(b.region, own, strings.TrimPrefix(name, "key/"))
	case strings.HasPrefix(name, "alias/"):
		name = arn.Alias(b.region, own, name)
	case strings.HasPrefix(name, "role/"), strings.HasPrefix(name, "user/"), strings.HasPrefix(name, "policy/"):
		name = b.full(name)
		if strings.HasPrefix(name, "policy/") {
			name = "arn:" + b.partition + ":iam::" + own + ":" + name
		}
	}
	a, err := arn.Parse(name)
	if err != nil {
		b.mistake(`resource %s is neither "*", the id or ARN of a key, an alias, role/… nor an ARN`, quote(b.resource))
		return "", nil
	}
	b.target = &authz.Resource{ARN: name, Account: a.Account}
	if a.Account == "" {
		b.target.Account = own
	}
	onAliases := b.action == "kms:CreateAlias" || b.action == "kms:UpdateAlias" || b.action == "kms:DeleteAlias"
	if a.Service != "kms" || !strings.HasPrefix(a.Resource, "alias/") || onAliases || service != "kms" {
		return "", nil
	}
	if a.Account != own {
		b.mistake("what another account's alias stands for is not told: give the ARN of the key")
		return "", nil
	}
	key, err := s.o.Ring.FindAlias(ctx, own, a.Region, a.Resource)
	if err != nil {
		return "", err
	}
	b.target.ARN = key.ARN()
	return a.Resource, nil
}
