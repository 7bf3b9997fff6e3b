package organizations

import (
	"context"
	"errors"
	"strings"

	api "github.com/keyreeve/keyreeve/internal/api/organizationsapi"
	"github.com/keyreeve/keyreeve/internal/arn"
	"github.com/keyreeve/keyreeve/internal/authz"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/identity"
	"github.com/keyreeve/keyreeve/internal/tag"
	"github.com/keyreeve/keyreeve/policy"
)

// partition is that of every account of an installation.
const partition = "aws"

// A visit is a call on behalf of an account, in its organization.
type visit struct {
	s *Service
	c *call.Call
	o *identity.Organization // nil if the account is in none
}

// enter finds the organization of the caller's account.
func (s *Service) enter(ctx context.Context, c *call.Call) (*visit, error) {
	v := &visit{s: s, c: c}
	a, err := s.dir.Account(ctx, c.Caller.Account)
	if err != nil || a.Organization == "" {
		return v, err
	}
	o, err := s.dir.OrganizationByID(ctx, a.Organization)
	if err != nil {
		return nil, err
	}
	v.o = &o
	return v, nil
}

// manages reports whether the caller's account is the management account.
func (v *visit) manages() bool { return v.o != nil && v.o.Master == v.c.Caller.Account }

// arn returns the ARN of something in the organization. Rest comes after its id.
func (v *visit) arn(what, rest string) string {
	if rest != "" {
		rest = "/" + rest
	}
	return arn.ARN{Partition: partition, Service: "organizations", Account: v.o.Master, Resource: what + "/" + v.o.ID + rest}.String()
}

// A target is what an action would be done to. What is there has one of the
// last set, but for the root.
type target struct {
	arn  string
	tags []identity.Tag

	found   bool
	root    bool
	unit    *identity.Unit
	account *identity.Account
	policy  *identity.OrganizationPolicy
}

// Value implements [policy.Context]: the condition keys of the resource. Package
// authz knows which actions have them.
func (t *target) Value(k *policy.Key) policy.Value {
	if k.Name == "aws:resourcetag/" {
		return tag.Value(t.tags, k.Sub)
	}
	return policy.Value{}
}

// conditions are the condition keys of a request. The zero value has none.
type conditions struct {
	kind    string         // organizations:PolicyType
	service string         // organizations:ServicePrincipal
	tags    []identity.Tag // aws:RequestTag/…
	tagKeys []string       // aws:TagKeys
}

// Value implements [policy.Context].
func (q *conditions) Value(k *policy.Key) policy.Value {
	switch k.Name {
	case "organizations:policytype":
		if q.kind != "" {
			return policy.String(q.kind)
		}
	case "organizations:serviceprincipal":
		if q.service != "" {
			return policy.String(q.service)
		}
	case "aws:requesttag/":
		return tag.Value(q.tags, k.Sub)
	case "aws:tagkeys":
		if len(q.tagKeys) > 0 {
			return policy.Strings(q.tagKeys)
		}
	}
	return policy.Value{}
}

// nothing is the target of an action on no one resource, and of all actions in
// an account that is in no organization.
func nothing() *target { return &target{arn: "*", found: true} }

// allow returns an error if the caller may not do the call's action on the
// targets, or if its account is not the management account.
func (v *visit) allow(ctx context.Context, q conditions, on ...*target) error {
	if err := v.allowMember(ctx, q, on...); err != nil {
		return err
	}
	if !v.manages() {
		v.c.DecisionText = "denied: the management account's alone"
		return errNotYours()
	}
	return nil
}

// allowMember is allow for what every account of an organization may do.
func (v *visit) allowMember(ctx context.Context, q conditions, on ...*target) error {
	if err := v.decide(ctx, q, on...); err != nil {
		return err
	}
	if v.o == nil {
		return errNotInUse()
	}
	return nil
}

// decide returns an error if the caller may not do the call's action on the
// targets.
func (v *visit) decide(ctx context.Context, q conditions, on ...*target) error {
	if len(on) == 0 {
		on = append(on, nothing())
	}
	for _, t := range on {
		// Of whatever account the organization is: nothing here can be shared,
		// and who is not of the management account is refused by that.
		_, err := v.s.az.Decide(ctx, v.c, "organizations:"+v.c.Operation.Name,
			&authz.Resource{ARN: t.arn, Account: v.c.Caller.Account, Values: t}, &authz.Request{Values: &q})
		if err != nil {
			return err
		}
	}
	return nil
}

// look finishes a target. Only the management account learns what there is.
func (v *visit) look(t *target, read func() error) (*target, error) {
	if !v.manages() {
		return t, nil
	}
	err := read()
	if errors.Is(err, identity.ErrNotFound) {
		return t, nil
	}
	t.found = err == nil
	return t, err
}

func (v *visit) rootTarget(_ context.Context, id string) (*target, error) {
	if v.o == nil {
		return nothing(), nil
	}
	t := &target{arn: v.arn("root", id)}
	return v.look(t, func() error {
		if id != v.o.Root {
			return identity.ErrNotFound
		}
		t.root, t.tags = true, v.o.Tags
		return nil
	})
}

func (v *visit) unitTarget(ctx context.Context, id string) (*target, error) {
	if v.o == nil {
		return nothing(), nil
	}
	t := &target{arn: v.arn("ou", id)}
	return v.look(t, func() error {
		u, err := v.s.dir.Unit(ctx, v.o.ID, id)
		if err == nil {
			t.unit, t.tags = &u, u.Tags
		}
		return err
	})
}

func (v *visit) accountTarget(ctx context.Context, id string) (*target, error) {
	if v.o == nil {
		return nothing(), nil
	}
	t := &target{arn: v.arn("account", id)}
	return v.look(t, func() error {
		a, err := v.s.dir.Account(ctx, id)
		if err == nil && a.Organization != v.o.ID {
			err = identity.ErrNotFound
		}
		if err == nil {
			t.account, t.tags = &a, a.Tags
		}
		return err
	})
}

// anyTarget is the root, a unit or an account, as the form of the id is.
func (v *visit) anyTarget(ctx context.Context, id string) (*target, error) {
	switch {
	case strings.HasPrefix(id, "r-"):
		return v.rootTarget(ctx, id)
	case strings.HasPrefix(id, "ou-"):
		return v.unitTarget(ctx, id)
	}
	return v.accountTarget(ctx, id)
}

// id returns that of what is there.
func (t *target) id(v *visit) string {
	switch {
	case t.unit != nil:
		return t.unit.ID
	case t.account != nil:
		return t.account.ID
	case t.policy != nil:
		return t.policy.ID
	}
	return v.o.Root
}

// policyTarget is a policy. The ARN of one that is not there is that of an SCP.
func (v *visit) policyTarget(ctx context.Context, id string) (*target, error) {
	if v.o == nil {
		return nothing(), nil
	}
	t := &target{arn: v.arn("policy", strings.ToLower(string(identity.ServiceControlPolicy))+"/"+id)}
	return v.look(t, func() error {
		p, err := v.s.dir.OrganizationPolicy(ctx, v.o.ID, id)
		if err == nil {
			t.policy, t.tags, t.arn = &p, p.Tags, p.ARN
		}
		return err
	})
}

// ofPolicy are the condition keys of a request for a policy.
func ofPolicy(t *target) conditions {
	if t.policy == nil {
		return conditions{}
	}
	return conditions{kind: string(t.policy.Type)}
}

// known returns a type of policy that there is here. Others of AWS's are not
// available.
func known(t api.PolicyType) (identity.OrganizationPolicyType, bool) {
	k := identity.OrganizationPolicyType(t)
	return k, k == identity.ServiceControlPolicy || k == identity.ResourceControlPolicy
}
