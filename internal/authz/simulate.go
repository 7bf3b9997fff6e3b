package authz

import (
	"context"
	"strings"

	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/policy"
)

// A Simulation is a call that nobody makes, to be decided by the code that
// decides calls. Of the condition keys it has those that follow from who would
// call and from the resource's ARN, and those that it is given; the others are
// not there. Grants and VPC endpoints are no part of it.
type Simulation struct {
	// Caller is who would call, with the policies that are to be asked. One
	// without an ARN is nobody in particular: no condition key follows from it.
	Caller   *call.Principal
	Action   string // in any case
	Resource string // ARN, or "*"
	Account  string // that owns the resource, 12 digits
	// Policy is the resource's own. Nil: none is simulated, so it has no say
	// either, and the caller's policies decide.
	Policy *policy.Policy
	// Given are condition keys that the call would have, which go before those
	// that follow from the caller; nil for none. Of the keys that are not global,
	// an action of a service that is here has those that it populates, whatever
	// is given.
	Given policy.Context
}

// Simulate decides as Explain does. It tells nothing of organizations but of
// that of the caller's account, which has its say only in what is of the
// account: another's could be found out by it.
func (a *Authorizer) Simulate(ctx context.Context, s *Simulation) (*Decision, error) {
	d := a.simulate(s)
	defer d.release()
	return d.explain(ctx)
}

// Lacks reports whether neither what is given nor what follows from the caller
// and the resource has a condition key.
func (a *Authorizer) Lacks(s *Simulation, k *policy.Key) bool {
	d := a.simulate(s)
	defer d.release()
	return !d.supposed(k).Exists()
}

func (a *Authorizer) simulate(s *Simulation) *decider {
	d := a.newDecider(&call.Call{Caller: s.Caller}, knownAs(s.Action), &Resource{ARN: s.Resource, Account: s.Account, Policy: s.Policy}, nil)
	d.simulated = s
	if !ofThese(d.action) {
		d.act.shared = true // whether it is, its own service knows
	}
	if d.kind == anything {
		// No resource was named: it may be any.
		if d.act.on&key != 0 {
			d.resourceKeys |= ofKey
		}
		if d.act.on&(user|role) != 0 {
			d.resourceKeys |= ofEntity
		}
		if d.act.on&(iamPolicy|mfaDevice|oidcProvider|trail) != 0 {
			d.resourceKeys |= keyResourceTag
		}
	}
	return d
}

// knownAs returns an action as it is written in the table of actions, if it
// stands there; the case of names does not matter to policies.
func knownAs(name string) string {
	if _, ok := actions[name]; ok {
		return name
	}
	for known := range actions {
		if strings.EqualFold(known, name) {
			return known
		}
	}
	return name
}

// ofThese reports whether an action is one of the services that are here, of
// which the table of actions tells all.
func ofThese(action string) bool {
	service, _, _ := strings.Cut(action, ":")
	switch strings.ToLower(service) {
	case "account", "iam", "keyreeve", "kms", "organizations", "rolesanywhere", "sts":
		return true
	}
	return false
}

// simulatesPolicy reports whether the resource has a policy that is asked in a
// simulation.
func (d *decider) simulatesPolicy() bool {
	if d.simulated.Policy == nil {
		return false
	}
	switch d.kind {
	case key:
		return !d.retire
	case role:
		return strings.HasPrefix(d.action, "sts:")
	case other:
		return true // such as a bucket
	}
	return false
}

// simulatedValue returns a condition key as the policy that is being evaluated
// sees it in a simulation.
func (d *decider) simulatedValue(k *policy.Key) policy.Value {
	bit, global := keyOf(k.Name)
	if ofThese(d.action) && !global && d.keys&bit == 0 {
		return policy.Value{}
	}
	if k.Name == "aws:resourceaccount" && d.ownPolicy() {
		return policy.Value{}
	}
	return d.supposed(k)
}

// supposed returns a condition key that is given, or else follows from the
// caller or the resource.
func (d *decider) supposed(k *policy.Key) policy.Value {
	s := d.simulated
	if s.Given != nil {
		if v := s.Given.Value(k); v.Exists() {
			return v
		}
		// What has two names.
		switch k.Name {
		case "kms:customermasterkeyspec", "kms:customermasterkeyusage":
			if v := s.Given.Value(d.renamed(k.Name, "kms:customermaster", "kms:", k)); v.Exists() {
				return v
			}
		case "iam:resourcetag/":
			if v := s.Given.Value(d.renamed(k.Name, "iam:", "aws:", k)); v.Exists() {
				return v
			}
		}
	}
	switch k.Name {
	case "aws:resourceaccount":
		return d.global(k)
	case "aws:resourceorgid", "aws:resourceorgpaths":
		// The owner is known only if it is the caller's account.
		return d.global(k)
	}
	if d.p.ARN == "" {
		return policy.Value{}
	}
	switch k.Name {
	case "aws:principalarn", "aws:principalaccount", "aws:principaltype", "aws:principaltag/", "aws:principalorgid",
		"aws:principalorgpaths", "aws:principalisawsservice", "aws:userid", "aws:username", "aws:viaawsservice":
		return d.global(k)
	case "kms:calleraccount":
		return text(d.p.Account)
	case "kms:grantisforawsresource":
		return policy.Bool(false)
	}
	return policy.Value{}
}
