package explain

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keyreeve/keyreeve/internal/api/keyreeveapi"
	"github.com/keyreeve/keyreeve/internal/authz"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/policy"
)

// The changes that would allow a call are looked for by making them: what
// denies is changed in a copy of the policies, the call is decided anew, and so
// on until it is allowed. Then each of them is left out once, to see that it is
// needed.

// maxSteps bounds the changes that are looked for. There are seven layers, and
// in an organization seven levels.
const maxSteps = 16

// A place is where a policy is in the caller's policies.
type place struct {
	layer  authz.LayerType
	level  int // of the organization, from 0
	policy int // in the list of the layer, from 0; newPolicy for one more
}

const newPolicy = -1

// A change adds a statement to a policy, or replaces one.
type change struct {
	place
	statement int // that is replaced, from 0; added for none
	list      []*plainStatement
	wider, or string
}

const added = -1

// propose fills in the changes that would allow what d denies, all of whose layers
// the caller may see.
func (s *Service) propose(eyes *sight, q *question, d *authz.Decision, out *keyreeveapi.ExplainOutput) error {
	ctx := eyes.ctx
	first := d
	var made []change
	var origins map[place][]int
	for !d.Allowed {
		if len(made) == maxSteps {
			out.Notes = append(out.Notes, "It takes more changes than are told here.")
			break
		}
		step, note, err := s.step(ctx, eyes.c.Time, q, made, d, origins)
		if err != nil {
			return err
		}
		if note != "" {
			out.Notes = append(out.Notes, note)
			break
		}
		made = append(made, *step)
		next, indices, err := s.try(ctx, q, made)
		var bad *policy.Error
		if errors.As(err, &bad) {
			out.Notes = append(out.Notes, "Its policies cannot be changed by a statement alone.")
			made = made[:len(made)-1]
			break
		}
		if err != nil {
			return err
		}
		d, origins = next, indices
	}
	out.Complete = d.Allowed && !eyes.q.foreign
	if d.Allowed {
		for i := len(made) - 1; i >= 0 && len(made) > 1; i-- {
			fewer := slices.Delete(slices.Clone(made), i, i+1)
			if without, _, err := s.try(ctx, q, fewer); err == nil && without.Allowed {
				made = fewer
			}
		}
	}
	for i := range made {
		out.Changes = append(out.Changes, made[i].told(q, first))
	}
	return nil
}

// try decides the question with changes. Origins tell for each policy that is
// changed which statements were there before: their indices, or added.
func (s *Service) try(ctx context.Context, q *question, made []change) (*authz.Decision, map[place][]int, error) {
	other, origins, err := q.with(made)
	if err != nil {
		return nil, nil, err
	}
	other.foreign = q.foreign
	d, err := other.decide(ctx, s.az)
	return d, origins, err
}

// step is the next change that is needed, or a note why there is none.
func (s *Service) step(ctx context.Context, now time.Time, q *question, made []change, d *authz.Decision, origins map[place][]int) (*change, string, error) {
	for i := range d.Layers {
		l := &d.Layers[i]
		if l.Type != d.Layer {
			continue
		}
		if l.Broken != "" {
			return nil, "No policy can allow it: " + l.Broken + ".", nil
		}
		for j := range l.Policies {
			p := &l.Policies[j]
			if !p.Result.Deny {
				continue
			}
			if p.Result.Excessive {
				return nil, "The policy " + p.Name + " is too much work for this request, and denies it.", nil
			}
			at := place{l.Type, l.Level, j}
			for k, o := range p.Result.Statements {
				if !o.Matched || !p.Policy.Statements()[k].Deny {
					continue
				}
				return s.exempt(q, at, k, p, origins[at])
			}
		}
	}
	for i := range d.Layers {
		l := &d.Layers[i]
		if l.Type == d.Layer && !l.Allowed {
			return s.allow(ctx, now, q, made, l)
		}
	}
	if d.Text == "Roles may not be assumed by root accounts." {
		return nil, "A root user assumes no roles, whatever policies say.", nil
	}
	return s.allow(ctx, now, q, made, &authz.Layer{Type: d.Layer})
}

// exempt changes a Deny statement so that it does not mean the call.
func (s *Service) exempt(q *question, at place, k int, p *authz.Evaluated, origin []int) (*change, string, error) {
	list, _, ok := statementTexts(p.Policy.Text())
	if !ok || k >= len(list) || origin != nil && origin[k] == added {
		return nil, "The policy " + p.Name + " denies it by a statement that cannot be told more narrowly.", nil
	}
	st, err := readStatement(list[k])
	if err != nil {
		return nil, "", fmt.Errorf("reading a statement: %w", err)
	}
	caller := q.call.Caller
	who := caller.EntityARN
	alone := at.layer == authz.Session || at.layer == authz.Identity && p.Of != "" && p.Of == who
	c := &change{place: at, statement: k}
	if origin != nil {
		c.statement = origin[k]
	}
	c.list, c.wider = st.exempt(who, q.action, q.resource.ARN, alone, at.layer == authz.ResourceBased)
	for _, one := range c.list {
		if _, err := policy.Parse(documentOf(one), policy.Options{Type: p.Policy.Type()}); err != nil {
			c.list = []*plainStatement{st.with("ArnNotEquals", "aws:PrincipalArn", who)}
			c.wider = "It exempts " + who + " from the whole statement."
			break
		}
	}
	for _, cond := range p.Policy.Statements()[k].Conditions {
		c.or = "The statement denies only while this holds: " + cond.String() + "."
	}
	return c, "", nil
}

// maxPinned is how many conditions a statement may have for a proposal to be
// made from it: each takes a decision of its own.
const maxPinned = 32

// allow adds a statement to a layer that does not allow the call. If a statement
// of it is only kept from allowing it by its conditions, those that hold are the
// new one's, too, and the others are pinned to what the call has.
func (s *Service) allow(ctx context.Context, now time.Time, q *question, made []change, l *authz.Layer) (*change, string, error) {
	c := &change{place: place{l.Type, l.Level, newPolicy}, statement: added}
	switch l.Type {
	case authz.ResourceControl:
		return nil, "No resource control policy allows it.", nil
	case authz.ResourceBased, authz.Boundary, authz.Endpoint:
		c.policy = 0
	case authz.Session:
		if len(q.call.Caller.Policies.Session) > 0 {
			c.policy = 0
		}
	}
	st := newStatement(l.Type, q.call.Caller, q.action, q.resource.ARN, strings.HasPrefix(q.action, "sts:"))
	c.list = []*plainStatement{st}
	near, why := nearest(l)
	if near == nil {
		return c, "", nil
	}
	if len(near.Conditions) > maxPinned {
		return nil, "A statement would allow it but for its conditions, which are too many to propose others.", nil
	}
	c.or = why
	st.Condition = make(conditions)
	for _, cond := range near.Conditions {
		st.Condition.set(cond.Operator, cond.Key, cond.Values...)
	}
	until := now.Add(time.Hour).UTC().Format(time.RFC3339)
	for range len(near.Conditions) + 1 {
		d, _, err := s.try(ctx, q, append(slices.Clone(made), *c))
		if err != nil {
			break
		}
		failed, have := failure(d, c)
		if failed == nil {
			if _, err := policy.Parse(documentOf(st), policy.Options{Type: typeOf(l.Type, q)}); err != nil {
				break // it would be refused
			}
			return c, "", nil
		}
		st.Condition.pin(*failed, have, until)
	}
	st.Condition = nil
	c.wider = "It allows the call without conditions."
	return c, "", nil
}

// nearest returns the statement of a layer that allows the call but for a
// condition, and says what would have to hold; of several the one with the
// fewest conditions.
func nearest(l *authz.Layer) (near *policy.Statement, why string) {
	for i := range l.Policies {
		p := &l.Policies[i]
		for _, st := range statementsOf(p) {
			if c := st.condition(); c != nil && !st.Deny && (near == nil || len(st.Conditions) < len(near.Conditions)) {
				near, why = &st.Statement, "It is allowed as it is if the call has "+c.String()+"."
			}
		}
	}
	return near, why
}

// failure returns the condition that does not hold of the statement that a
// change added last, and what the request has; nil if it is not that.
func failure(d *authz.Decision, c *change) (*policy.Condition, []string) {
	for i := range d.Layers {
		l := &d.Layers[i]
		if l.Type != c.layer || l.Level != c.level || len(l.Policies) == 0 {
			continue
		}
		p := &l.Policies[len(l.Policies)-1]
		if c.policy != newPolicy {
			p = &l.Policies[c.policy]
		}
		list := statementsOf(p)
		if len(list) == 0 {
			return nil, nil
		}
		last := &list[len(list)-1]
		if failed := last.condition(); failed != nil {
			return failed, p.Values[len(list)-1]
		}
		return nil, nil
	}
	return nil, nil
}

// typeOf returns what kind of document the policies of a layer are.
func typeOf(t authz.LayerType, q *question) policy.Type {
	switch t {
	case authz.ServiceControl:
		return policy.ServiceControl
	case authz.ResourceControl:
		return policy.ResourceControl
	case authz.Endpoint:
		return policy.Endpoint
	case authz.ResourceBased:
		if strings.HasPrefix(q.action, "sts:") {
			return policy.Trust
		}
		return policy.KeyPolicy
	}
	return policy.Identity
}

// with returns the question with policies changed.
func (q *question) with(made []change) (*question, map[place][]int, error) {
	other := *q
	c := *q.call
	p := *q.call.Caller
	c.Caller, other.call = &p, &c
	resource := *q.resource
	other.resource = &resource
	own := &p.Policies
	own.Identity, own.Session = slices.Clone(own.Identity), slices.Clone(own.Session)
	if own.Boundary != nil {
		boundary := *own.Boundary
		own.Boundary = &boundary
	}
	if p.Organization != nil {
		o := *p.Organization
		o.ServiceControl, o.ResourceControl = cloneLevels(o.ServiceControl), cloneLevels(o.ResourceControl)
		p.Organization = &o
	}
	if c.Endpoint != nil {
		endpoint := *c.Endpoint
		c.Endpoint = &endpoint
	}
	set := map[place][]change{}
	var places []place
	for _, one := range made {
		if set[one.place] == nil {
			places = append(places, one.place)
		}
		set[one.place] = append(set[one.place], one)
	}
	origins := make(map[place][]int)
	for _, at := range places {
		changes := set[at]
		if at.policy == newPolicy {
			var list []*plainStatement
			for _, one := range changes {
				list = append(list, one.list...)
			}
			compiled, err := policy.Parse(documentOf(list...), policy.Options{Type: typeOf(at.layer, q), Stored: true})
			if err != nil {
				return nil, nil, fmt.Errorf("trying a new policy: %w", err)
			}
			if to := other.list(at); to != nil {
				*to = append(*to, call.Attached{Name: "new", Policy: compiled})
			}
			continue
		}
		to := other.policy(at)
		if to == nil || *to == nil {
			continue
		}
		text, origin, ok := edit((*to).Text(), changes)
		if !ok {
			continue
		}
		compiled, err := policy.Parse(text, policy.Options{Type: (*to).Type(), Stored: true})
		if err != nil {
			return nil, nil, fmt.Errorf("trying a change: %w", err)
		}
		*to, origins[at] = compiled, origin
	}
	return &other, origins, nil
}

func cloneLevels(levels [][]call.Attached) [][]call.Attached {
	if levels == nil {
		return nil
	}
	all := make([][]call.Attached, len(levels))
	for i := range levels {
		all[i] = slices.Clone(levels[i])
	}
	return all
}

// list returns the list that the policies of a place are in; nil if they are in
// none.
func (q *question) list(at place) *[]call.Attached {
	p := q.call.Caller
	switch at.layer {
	case authz.ServiceControl:
		return &p.Organization.ServiceControl[at.level]
	case authz.ResourceControl:
		return &p.Organization.ResourceControl[at.level]
	case authz.Session:
		return &p.Policies.Session
	case authz.Identity:
		return &p.Policies.Identity
	}
	return nil
}

// policy returns where the policy at a place is; nil if there is none.
func (q *question) policy(at place) **policy.Policy {
	switch at.layer {
	case authz.ResourceBased:
		return &q.resource.Policy
	case authz.Boundary:
		if b := q.call.Caller.Policies.Boundary; b != nil {
			return &b.Policy
		}
		return nil
	case authz.Endpoint:
		if e := q.call.Endpoint; e != nil {
			return &e.Policy.Policy
		}
		return nil
	}
	if list := q.list(at); list != nil && at.policy < len(*list) {
		return &(*list)[at.policy].Policy
	}
	return nil
}

// edit makes changes in a document. The statements that were there keep their
// order; origin has their former indices, and added for new ones.
func edit(text string, changes []change) (edited string, origin []int, ok bool) {
	list, around, ok := statementTexts(text)
	if !ok {
		return "", nil, false
	}
	var now []string
	for i, st := range list {
		kept := true
		for _, c := range changes {
			if c.statement != i {
				continue
			}
			kept = false
			for _, one := range c.list {
				now, origin = append(now, one.text()), append(origin, added)
			}
		}
		if kept {
			now, origin = append(now, st), append(origin, i)
		}
	}
	for _, c := range changes {
		if c.statement == added {
			for _, one := range c.list {
				now, origin = append(now, one.text()), append(origin, added)
			}
		}
	}
	if len(now) == 0 {
		// A policy has a statement: this one means nothing.
		nothing := plainStatement{Effect: "Deny", Action: texts{"keyreeve:Nothing"}, Resource: texts{"*"}}
		now, origin = append(now, nothing.text()), append(origin, added)
	}
	return around(now), origin, true
}

// told is a change for the caller. First is the decision that it was looked for
// in.
func (c *change) told(q *question, first *authz.Decision) keyreeveapi.ExplainedChange {
	out := keyreeveapi.ExplainedChange{
		Layer: layerName(c.layer), Do: keyreeveapi.AddStatement, Target: c.target(q), Statements: raw(c.list...), Wider: c.wider, Or: c.or,
	}
	if out.Statements == nil {
		out.Statements = []json.RawMessage{}
	}
	if c.layer == authz.ServiceControl || c.layer == authz.ResourceControl {
		out.Level = c.level + 1
	}
	for i := range first.Layers {
		l := &first.Layers[i]
		if l.Type != c.layer || l.Level != c.level || c.policy < 0 || c.policy >= len(l.Policies) {
			continue
		}
		p := &l.Policies[c.policy]
		out.Policy = p.ARN
		if p.ARN == "" {
			out.Policy = p.Name
			if p.Of != "" {
				out.Target = p.Of
			}
		}
		if c.statement >= 0 && p.Policy != nil {
			st := p.Policy.Statements()[c.statement]
			out.Do, out.Index, out.SID, out.Line, out.Column = keyreeveapi.ReplaceStatement, c.statement+1, st.SID, st.Line, st.Column
		}
	}
	return out
}

// target is what the policy of a change is of.
func (c *change) target(q *question) string {
	p := q.call.Caller
	switch c.layer {
	case authz.ServiceControl, authz.ResourceControl:
		steps := strings.Split(strings.Trim(p.Organization.Path, "/"), "/")
		if i := c.level + 1; i < len(steps) {
			return steps[i]
		}
		return p.Account
	case authz.ResourceBased:
		return q.resource.ARN
	case authz.Session:
		return p.ARN
	case authz.Endpoint:
		return q.call.Endpoint.ID
	}
	if p.Kind == call.FederatedUser {
		return p.Issuer
	}
	return p.EntityARN
}
