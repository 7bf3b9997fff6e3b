package organizations

import (
	"context"
	"slices"
	"unicode/utf8"

	api "github.com/keyreeve/keyreeve/internal/api/organizationsapi"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/identity"
	"github.com/keyreeve/keyreeve/internal/wire"
)

func errSamePolicy() *wire.Error {
	return api.DuplicatePolicyException("A policy with the same name already exists.")
}

// tooMuch is the error for an ErrLimit of a policy: of its text, or else of how
// many there are.
func tooMuch(content string) *wire.Error {
	if utf8.RuneCountInString(content) > identity.MaxControlSize {
		return violates("POLICY_CONTENT_LIMIT_EXCEEDED", "The provided policy document exceeds the maximum size.")
	}
	return violates("POLICY_NUMBER_LIMIT_EXCEEDED", "You have exceeded the allowed number of policies.")
}

// CreatePolicy implements [api.Handler].
func (s *Service) CreatePolicy(ctx context.Context, c *call.Call, in *api.CreatePolicyInput, out *api.CreatePolicyOutput) error {
	return serve(ctx, s, c, in, out, (*visit).createPolicy)
}

func (v *visit) createPolicy(ctx context.Context, in *api.CreatePolicyInput, out *api.CreatePolicyOutput) error {
	q, err := checkTags(in.Tags)
	if err != nil {
		return err
	}
	q.kind = string(in.Type)
	if err := v.allow(ctx, q); err != nil {
		return err
	}
	kind, ok := known(in.Type)
	if !ok {
		return errTypeNotAvailable()
	}
	p, err := v.s.dir.CreateOrganizationPolicy(ctx, identity.OrganizationPolicy{
		Organization: v.o.ID, Type: kind, Name: in.Name, Description: in.Description, Content: in.Content, Tags: q.tags,
	})
	err = instead(err, identity.ErrLimit, tooMuch(in.Content))
	if err := instead(err, identity.ErrExists, errSamePolicy()); err != nil {
		return err
	}
	out.Policy = apiPolicy(&p)
	return nil
}

func summary(p *identity.OrganizationPolicy) *api.PolicySummary {
	return &api.PolicySummary{ID: p.ID, ARN: p.ARN, Name: p.Name, Description: p.Description, Type: api.PolicyType(p.Type), AwsManaged: p.AWSManaged}
}

func summaries(list []identity.OrganizationPolicy) []api.PolicySummary {
	all := make([]api.PolicySummary, len(list))
	for i := range list {
		all[i] = *summary(&list[i])
	}
	return all
}

func apiPolicy(p *identity.OrganizationPolicy) *api.Policy {
	return &api.Policy{PolicySummary: summary(p), Content: p.Content}
}

// usePolicy decides the call's action on a policy, which is there if there is no
// error.
func (v *visit) usePolicy(ctx context.Context, id string) (*identity.OrganizationPolicy, error) {
	t, err := v.policyTarget(ctx, id)
	if err != nil {
		return nil, err
	}
	if err := v.allow(ctx, ofPolicy(t), t); err != nil {
		return nil, err
	}
	if !t.found {
		return nil, errNoPolicy()
	}
	return t.policy, nil
}

// DescribePolicy implements [api.Handler].
func (s *Service) DescribePolicy(ctx context.Context, c *call.Call, in *api.DescribePolicyInput, out *api.DescribePolicyOutput) error {
	return serve(ctx, s, c, in, out, (*visit).describePolicy)
}

func (v *visit) describePolicy(ctx context.Context, in *api.DescribePolicyInput, out *api.DescribePolicyOutput) error {
	p, err := v.usePolicy(ctx, in.PolicyID)
	if err != nil {
		return err
	}
	out.Policy = apiPolicy(p)
	return nil
}

// UpdatePolicy implements [api.Handler]. What is not given, or empty, stays.
func (s *Service) UpdatePolicy(ctx context.Context, c *call.Call, in *api.UpdatePolicyInput, out *api.UpdatePolicyOutput) error {
	return serve(ctx, s, c, in, out, (*visit).updatePolicy)
}

func (v *visit) updatePolicy(ctx context.Context, in *api.UpdatePolicyInput, out *api.UpdatePolicyOutput) error {
	p, err := v.usePolicy(ctx, in.PolicyID)
	if err != nil {
		return err
	}
	var u identity.OrganizationPolicyUpdate
	for _, f := range []struct {
		to   **string
		from *string
	}{{&u.Name, &in.Name}, {&u.Description, &in.Description}, {&u.Content, &in.Content}} {
		if *f.from != "" {
			*f.to = f.from
		}
	}
	err = v.s.dir.UpdateOrganizationPolicy(ctx, v.o.ID, p.ID, u)
	err = instead(err, identity.ErrNotFound, errNoPolicy())
	err = instead(err, identity.ErrLimit, tooMuch(in.Content))
	if err := instead(err, identity.ErrExists, errSamePolicy()); err != nil {
		return err
	}
	after, err := v.s.dir.OrganizationPolicy(ctx, v.o.ID, p.ID)
	out.Policy = apiPolicy(&after)
	return err
}

// DeletePolicy implements [api.Handler].
func (s *Service) DeletePolicy(ctx context.Context, c *call.Call, in *api.DeletePolicyInput, out *api.DeletePolicyOutput) error {
	return serve(ctx, s, c, in, out, (*visit).deletePolicy)
}

func (v *visit) deletePolicy(ctx context.Context, in *api.DeletePolicyInput, _ *api.DeletePolicyOutput) error {
	p, err := v.usePolicy(ctx, in.PolicyID)
	if err != nil {
		return err
	}
	err = v.s.dir.DeleteOrganizationPolicy(ctx, v.o.ID, p.ID)
	err = instead(err, identity.ErrNotFound, errNoPolicy())
	return instead(err, identity.ErrConflict, api.PolicyInUseException(
		"The policy is attached to one or more entities. You must detach it from all roots, OUs, and accounts before performing this operation."))
}

// ListPolicies implements [api.Handler].
func (s *Service) ListPolicies(ctx context.Context, c *call.Call, in *api.ListPoliciesInput, out *api.ListPoliciesOutput) error {
	return serve(ctx, s, c, in, out, (*visit).listPolicies)
}

func (v *visit) listPolicies(ctx context.Context, in *api.ListPoliciesInput, out *api.ListPoliciesOutput) error {
	if err := v.allow(ctx, conditions{kind: string(in.Filter)}); err != nil {
		return err
	}
	var list []identity.OrganizationPolicy
	if kind, ok := known(in.Filter); ok {
		var err error
		if list, err = v.s.dir.OrganizationPolicies(ctx, v.o.ID, kind); err != nil {
			return err
		}
	}
	list, next, err := page(v, string(in.Filter), in.NextToken, in.MaxResults, list, policyPlace)
	out.Policies, out.NextToken = summaries(list), next
	return err
}

// policyPlace is where a policy stands in a list: by its id, AWS's first.
func policyPlace(p identity.OrganizationPolicy) string {
	if p.AWSManaged {
		return "aws " + p.ID
	}
	return "own " + p.ID
}

// useAttachment decides the call's action on a policy and what it is attached
// to, or to be; both are there if there is no error.
func (v *visit) useAttachment(ctx context.Context, id, on string) (*identity.OrganizationPolicy, error) {
	p, err := v.policyTarget(ctx, id)
	if err != nil {
		return nil, err
	}
	t, err := v.anyTarget(ctx, on)
	if err != nil {
		return nil, err
	}
	if err := v.allow(ctx, ofPolicy(p), p, t); err != nil {
		return nil, err
	}
	switch {
	case !t.found:
		return nil, errNoTarget()
	case !p.found:
		return nil, errNoPolicy()
	}
	return p.policy, nil
}

// AttachPolicy implements [api.Handler].
func (s *Service) AttachPolicy(ctx context.Context, c *call.Call, in *api.AttachPolicyInput, out *api.AttachPolicyOutput) error {
	return serve(ctx, s, c, in, out, (*visit).attachPolicy)
}

func (v *visit) attachPolicy(ctx context.Context, in *api.AttachPolicyInput, _ *api.AttachPolicyOutput) error {
	p, err := v.useAttachment(ctx, in.PolicyID, in.TargetID)
	if err != nil {
		return err
	}
	if !slices.Contains(v.o.Types, p.Type) {
		return errTypeNotEnabled()
	}
	err = v.s.dir.AttachOrganizationPolicy(ctx, v.o.ID, p.ID, in.TargetID)
	err = instead(err, identity.ErrExists, api.DuplicatePolicyAttachmentException("The selected policy is already attached to the specified target."))
	err = instead(err, identity.ErrInvalid, errTypeNotEnabled())
	return instead(err, identity.ErrLimit, violates("MAX_POLICY_TYPE_ATTACHMENT_LIMIT_EXCEEDED",
		"You have attached the maximum number of policies to the specified target."))
}

// DetachPolicy implements [api.Handler].
func (s *Service) DetachPolicy(ctx context.Context, c *call.Call, in *api.DetachPolicyInput, out *api.DetachPolicyOutput) error {
	return serve(ctx, s, c, in, out, (*visit).detachPolicy)
}

func (v *visit) detachPolicy(ctx context.Context, in *api.DetachPolicyInput, _ *api.DetachPolicyOutput) error {
	p, err := v.useAttachment(ctx, in.PolicyID, in.TargetID)
	if err != nil {
		return err
	}
	notAttached := api.PolicyNotAttachedException("The policy isn't attached to the specified target in the specified root.")
	if !slices.Contains(v.o.Types, p.Type) {
		return notAttached
	}
	err = v.s.dir.DetachOrganizationPolicy(ctx, v.o.ID, p.ID, in.TargetID)
	err = instead(err, identity.ErrNotFound, notAttached)
	return instead(err, identity.ErrConflict, violates("MIN_POLICY_TYPE_ATTACHMENT_LIMIT_EXCEEDED",
		"You cannot remove the last policy attached to the specified target. You should have at least one at any time."))
}

// ListPoliciesForTarget implements [api.Handler]: those attached to the target
// itself.
func (s *Service) ListPoliciesForTarget(ctx context.Context, c *call.Call, in *api.ListPoliciesForTargetInput, out *api.ListPoliciesForTargetOutput) error {
	return serve(ctx, s, c, in, out, (*visit).listPoliciesForTarget)
}

func (v *visit) listPoliciesForTarget(ctx context.Context, in *api.ListPoliciesForTargetInput, out *api.ListPoliciesForTargetOutput) error {
	t, err := v.anyTarget(ctx, in.TargetID)
	if err != nil {
		return err
	}
	if err := v.allow(ctx, conditions{kind: string(in.Filter)}, t); err != nil {
		return err
	}
	if !t.found {
		return errNoTarget()
	}
	var list []identity.OrganizationPolicy
	if kind, ok := known(in.Filter); ok {
		list, err = v.s.dir.AttachedOrganizationPolicies(ctx, v.o.ID, in.TargetID, kind)
		if err != nil {
			return instead(err, identity.ErrNotFound, errNoTarget())
		}
	}
	list, next, err := page(v, string(in.Filter)+" "+in.TargetID, in.NextToken, in.MaxResults, list, policyPlace)
	out.Policies, out.NextToken = summaries(list), next
	return err
}

// ListTargetsForPolicy implements [api.Handler].
func (s *Service) ListTargetsForPolicy(ctx context.Context, c *call.Call, in *api.ListTargetsForPolicyInput, out *api.ListTargetsForPolicyOutput) error {
	return serve(ctx, s, c, in, out, (*visit).listTargetsForPolicy)
}

func (v *visit) listTargetsForPolicy(ctx context.Context, in *api.ListTargetsForPolicyInput, out *api.ListTargetsForPolicyOutput) error {
	p, err := v.usePolicy(ctx, in.PolicyID)
	if err != nil {
		return err
	}
	targets, err := v.s.dir.OrganizationTargets(ctx, v.o.ID, p.ID)
	if err != nil {
		return instead(err, identity.ErrNotFound, errNoPolicy())
	}
	targets, out.NextToken, err = page(v, p.ID, in.NextToken, in.MaxResults, targets, func(t identity.OrganizationTarget) string { return t.ID })
	out.Targets = make([]api.PolicyTargetSummary, len(targets))
	for i, t := range targets {
		one := api.PolicyTargetSummary{TargetID: t.ID, ARN: v.arn("root", t.ID), Name: rootName, Type: api.TargetTypeRoot}
		switch {
		case t.Unit != nil:
			one.ARN, one.Name, one.Type = v.arn("ou", t.ID), t.Unit.Name, api.TargetTypeOrganizationalUnit
		case t.Account != nil:
			one.ARN, one.Name, one.Type = v.arn("account", t.ID), t.Account.Name, api.TargetTypeAccount
		}
		out.Targets[i] = one
	}
	return err
}

// DescribeEffectivePolicy implements [api.Handler]. The types of policy that it
// is for are not available here, and neither SCPs nor RCPs have one: there is
// never any.
func (s *Service) DescribeEffectivePolicy(ctx context.Context, c *call.Call, in *api.DescribeEffectivePolicyInput, out *api.DescribeEffectivePolicyOutput) error {
	return serve(ctx, s, c, in, out, (*visit).describeEffectivePolicy)
}

func (v *visit) describeEffectivePolicy(ctx context.Context, in *api.DescribeEffectivePolicyInput, _ *api.DescribeEffectivePolicyOutput) error {
	own := v.c.Caller.Account
	id := in.TargetID
	if id == "" {
		id = own
	}
	t, err := v.anyTarget(ctx, id)
	if err != nil {
		return err
	}
	q := conditions{kind: string(in.PolicyType)}
	if id == own {
		err = v.allowMember(ctx, q, t)
	} else {
		err = v.allow(ctx, q, t)
	}
	switch {
	case err != nil:
		return err
	case id != own && t.account == nil:
		return errNoTarget()
	}
	return api.EffectivePolicyNotFoundException("There is no effective policy of the specified type for the target.")
}
