package iam

import (
	"context"
	"strings"

	"github.com/keyreeve/keyreeve/internal/api/iamapi"
	"github.com/keyreeve/keyreeve/internal/call"
)

// attach attaches a managed policy to a user, group or role.
func (s *Service) attach(ctx context.Context, c *call.Call, k kind, name, policyARN string) error {
	if _, err := parsePolicyARN(policyARN); err != nil {
		return err
	}
	f, err := s.useToChange(ctx, c, k, name, conditions{policy: policyARN})
	if err != nil {
		return err
	}
	return instead(s.dir.AttachPolicy(ctx, f.Entity, policyARN), errNotAttachable(policyARN))
}

// detach detaches a managed policy.
func (s *Service) detach(ctx context.Context, c *call.Call, k kind, name, policyARN string) error {
	if _, err := parsePolicyARN(policyARN); err != nil {
		return err
	}
	f, err := s.useToChange(ctx, c, k, name, conditions{policy: policyARN})
	if err != nil {
		return err
	}
	return instead(s.dir.DetachPolicy(ctx, f.Entity, policyARN), errNoSuchPolicy(policyARN))
}

// listAttached returns a page of the managed policies of a user, group or role,
// by name.
func (s *Service) listAttached(ctx context.Context, c *call.Call, k kind, name, prefix, marker string, maxItems *int32) (list []iamapi.AttachedPolicy, truncated bool, next string, err error) {
	f, err := s.use(ctx, c, k, name, conditions{})
	if err != nil {
		return nil, false, "", err
	}
	attached, err := s.dir.AttachedPolicies(ctx, f.Entity)
	if err != nil {
		return nil, false, "", err
	}
	for _, a := range attached {
		if strings.HasPrefix(policyPath(a.ARN), pathOr(prefix)) {
			list = append(list, iamapi.AttachedPolicy{PolicyName: a.Name, PolicyARN: a.ARN})
		}
	}
	key := func(a iamapi.AttachedPolicy) string { return a.PolicyName + " " + a.PolicyARN }
	return page(s, c, f.id+"\x00"+prefix, marker, maxItems, list, key, byName)
}

// AttachUserPolicy implements [iamapi.Handler].
func (s *Service) AttachUserPolicy(ctx context.Context, c *call.Call, in *iamapi.AttachUserPolicyInput, out *iamapi.AttachUserPolicyOutput) error {
	return serve(ctx, s, c, in, out, (*Service).attachUserPolicy)
}

func (s *Service) attachUserPolicy(ctx context.Context, c *call.Call, in *iamapi.AttachUserPolicyInput, _ *iamapi.AttachUserPolicyOutput) error {
	return s.attach(ctx, c, aUser, in.UserName, in.PolicyARN)
}

// DetachUserPolicy implements [iamapi.Handler].
func (s *Service) DetachUserPolicy(ctx context.Context, c *call.Call, in *iamapi.DetachUserPolicyInput, out *iamapi.DetachUserPolicyOutput) error {
	return serve(ctx, s, c, in, out, (*Service).detachUserPolicy)
}

func (s *Service) detachUserPolicy(ctx context.Context, c *call.Call, in *iamapi.DetachUserPolicyInput, _ *iamapi.DetachUserPolicyOutput) error {
	return s.detach(ctx, c, aUser, in.UserName, in.PolicyARN)
}

// ListAttachedUserPolicies implements [iamapi.Handler].
func (s *Service) ListAttachedUserPolicies(ctx context.Context, c *call.Call, in *iamapi.ListAttachedUserPoliciesInput, out *iamapi.ListAttachedUserPoliciesOutput) error {
	return serve(ctx, s, c, in, out, (*Service).listAttachedUserPolicies)
}

func (s *Service) listAttachedUserPolicies(ctx context.Context, c *call.Call, in *iamapi.ListAttachedUserPoliciesInput, out *iamapi.ListAttachedUserPoliciesOutput) error {
	var err error
	out.AttachedPolicies, out.IsTruncated, out.Marker, err = s.listAttached(ctx, c, aUser, in.UserName, in.PathPrefix, in.Marker, in.MaxItems)
	return err
}

// AttachGroupPolicy implements [iamapi.Handler].
func (s *Service) AttachGroupPolicy(ctx context.Context, c *call.Call, in *iamapi.AttachGroupPolicyInput, out *iamapi.AttachGroupPolicyOutput) error {
	return serve(ctx, s, c, in, out, (*Service).attachGroupPolicy)
}

func (s *Service) attachGroupPolicy(ctx context.Context, c *call.Call, in *iamapi.AttachGroupPolicyInput, _ *iamapi.AttachGroupPolicyOutput) error {
	return s.attach(ctx, c, aGroup, in.GroupName, in.PolicyARN)
}

// DetachGroupPolicy implements [iamapi.Handler].
func (s *Service) DetachGroupPolicy(ctx context.Context, c *call.Call, in *iamapi.DetachGroupPolicyInput, out *iamapi.DetachGroupPolicyOutput) error {
	return serve(ctx, s, c, in, out, (*Service).detachGroupPolicy)
}

func (s *Service) detachGroupPolicy(ctx context.Context, c *call.Call, in *iamapi.DetachGroupPolicyInput, _ *iamapi.DetachGroupPolicyOutput) error {
	return s.detach(ctx, c, aGroup, in.GroupName, in.PolicyARN)
}

// ListAttachedGroupPolicies implements [iamapi.Handler].
func (s *Service) ListAttachedGroupPolicies(ctx context.Context, c *call.Call, in *iamapi.ListAttachedGroupPoliciesInput, out *iamapi.ListAttachedGroupPoliciesOutput) error {
	return serve(ctx, s, c, in, out, (*Service).listAttachedGroupPolicies)
}

func (s *Service) listAttachedGroupPolicies(ctx context.Context, c *call.Call, in *iamapi.ListAttachedGroupPoliciesInput, out *iamapi.ListAttachedGroupPoliciesOutput) error {
	var err error
	out.AttachedPolicies, out.IsTruncated, out.Marker, err = s.listAttached(ctx, c, aGroup, in.GroupName, in.PathPrefix, in.Marker, in.MaxItems)
	return err
}

// AttachRolePolicy implements [iamapi.Handler].
func (s *Service) AttachRolePolicy(ctx context.Context, c *call.Call, in *iamapi.AttachRolePolicyInput, out *iamapi.AttachRolePolicyOutput) error {
	return serve(ctx, s, c, in, out, (*Service).attachRolePolicy)
}

func (s *Service) attachRolePolicy(ctx context.Context, c *call.Call, in *iamapi.AttachRolePolicyInput, _ *iamapi.AttachRolePolicyOutput) error {
	return s.attach(ctx, c, aRole, in.RoleName, in.PolicyARN)
}

// DetachRolePolicy implements [iamapi.Handler].
func (s *Service) DetachRolePolicy(ctx context.Context, c *call.Call, in *iamapi.DetachRolePolicyInput, out *iamapi.DetachRolePolicyOutput) error {
	return serve(ctx, s, c, in, out, (*Service).detachRolePolicy)
}

func (s *Service) detachRolePolicy(ctx context.Context, c *call.Call, in *iamapi.DetachRolePolicyInput, _ *iamapi.DetachRolePolicyOutput) error {
	return s.detach(ctx, c, aRole, in.RoleName, in.PolicyARN)
}

// ListAttachedRolePolicies implements [iamapi.Handler].
func (s *Service) ListAttachedRolePolicies(ctx context.Context, c *call.Call, in *iamapi.ListAttachedRolePoliciesInput, out *iamapi.ListAttachedRolePoliciesOutput) error {
	return serve(ctx, s, c, in, out, (*Service).listAttachedRolePolicies)
}

func (s *Service) listAttachedRolePolicies(ctx context.Context, c *call.Call, in *iamapi.ListAttachedRolePoliciesInput, out *iamapi.ListAttachedRolePoliciesOutput) error {
	var err error
	out.AttachedPolicies, out.IsTruncated, out.Marker, err = s.listAttached(ctx, c, aRole, in.RoleName, in.PathPrefix, in.Marker, in.MaxItems)
	return err
}
