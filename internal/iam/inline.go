package iam

import (
	"context"
	"strings"

	"github.com/keyreeve/keyreeve/internal/api/iamapi"
	"github.com/keyreeve/keyreeve/internal/call"
)

// putInline gives a user, group or role an inline policy.
func (s *Service) putInline(ctx context.Context, c *call.Call, k kind, name, policyName, document string) error {
	f, err := s.useToChange(ctx, c, k, name, conditions{})
	if err != nil {
		return err
	}
	return s.dir.PutInlinePolicy(ctx, f.Entity, policyName, document)
}

// getInline returns the text of an inline policy, and the name of whose it is.
func (s *Service) getInline(ctx context.Context, c *call.Call, k kind, name, policyName string) (owner, document string, err error) {
	f, err := s.use(ctx, c, k, name, conditions{})
	if err != nil {
		return "", "", err
	}
	document, err = s.dir.InlinePolicy(ctx, f.Entity, policyName)
	return f.name, document, instead(err, errNoSuchInline(k, policyName))
}

// deleteInline takes an inline policy away.
func (s *Service) deleteInline(ctx context.Context, c *call.Call, k kind, name, policyName string) error {
	f, err := s.useToChange(ctx, c, k, name, conditions{})
	if err != nil {
		return err
	}
	return instead(s.dir.DeleteInlinePolicy(ctx, f.Entity, policyName), errNoSuchInline(k, policyName))
}

// listInline returns a page of the names of inline policies.
func (s *Service) listInline(ctx context.Context, c *call.Call, k kind, name, marker string, maxItems *int32) (names []string, truncated bool, next string, err error) {
	f, err := s.use(ctx, c, k, name, conditions{})
	if err != nil {
		return nil, false, "", err
	}
	names, err = s.dir.InlinePolicies(ctx, f.Entity)
	if err != nil {
		return nil, false, "", err
	}
	return page(s, c, f.id, marker, maxItems, names, strings.Clone, byName)
}

// PutUserPolicy implements [iamapi.Handler].
func (s *Service) PutUserPolicy(ctx context.Context, c *call.Call, in *iamapi.PutUserPolicyInput, out *iamapi.PutUserPolicyOutput) error {
	return serve(ctx, s, c, in, out, (*Service).putUserPolicy)
}

func (s *Service) putUserPolicy(ctx context.Context, c *call.Call, in *iamapi.PutUserPolicyInput, _ *iamapi.PutUserPolicyOutput) error {
	return s.putInline(ctx, c, aUser, in.UserName, in.PolicyName, in.PolicyDocument)
}

// GetUserPolicy implements [iamapi.Handler].
func (s *Service) GetUserPolicy(ctx context.Context, c *call.Call, in *iamapi.GetUserPolicyInput, out *iamapi.GetUserPolicyOutput) error {
	return serve(ctx, s, c, in, out, (*Service).getUserPolicy)
}

func (s *Service) getUserPolicy(ctx context.Context, c *call.Call, in *iamapi.GetUserPolicyInput, out *iamapi.GetUserPolicyOutput) error {
	name, document, err := s.getInline(ctx, c, aUser, in.UserName, in.PolicyName)
	out.UserName, out.PolicyName, out.PolicyDocument = name, in.PolicyName, document
	return err
}

// DeleteUserPolicy implements [iamapi.Handler].
func (s *Service) DeleteUserPolicy(ctx context.Context, c *call.Call, in *iamapi.DeleteUserPolicyInput, out *iamapi.DeleteUserPolicyOutput) error {
	return serve(ctx, s, c, in, out, (*Service).deleteUserPolicy)
}

func (s *Service) deleteUserPolicy(ctx context.Context, c *call.Call, in *iamapi.DeleteUserPolicyInput, _ *iamapi.DeleteUserPolicyOutput) error {
	return s.deleteInline(ctx, c, aUser, in.UserName, in.PolicyName)
}

// ListUserPolicies implements [iamapi.Handler].
func (s *Service) ListUserPolicies(ctx context.Context, c *call.Call, in *iamapi.ListUserPoliciesInput, out *iamapi.ListUserPoliciesOutput) error {
	return serve(ctx, s, c, in, out, (*Service).listUserPolicies)
}

func (s *Service) listUserPolicies(ctx context.Context, c *call.Call, in *iamapi.ListUserPoliciesInput, out *iamapi.ListUserPoliciesOutput) error {
	var err error
	out.PolicyNames, out.IsTruncated, out.Marker, err = s.listInline(ctx, c, aUser, in.UserName, in.Marker, in.MaxItems)
	return err
}

// PutGroupPolicy implements [iamapi.Handler].
func (s *Service) PutGroupPolicy(ctx context.Context, c *call.Call, in *iamapi.PutGroupPolicyInput, out *iamapi.PutGroupPolicyOutput) error {
	return serve(ctx, s, c, in, out, (*Service).putGroupPolicy)
}

func (s *Service) putGroupPolicy(ctx context.Context, c *call.Call, in *iamapi.PutGroupPolicyInput, _ *iamapi.PutGroupPolicyOutput) error {
	return s.putInline(ctx, c, aGroup, in.GroupName, in.PolicyName, in.PolicyDocument)
}

// GetGroupPolicy implements [iamapi.Handler].
func (s *Service) GetGroupPolicy(ctx context.Context, c *call.Call, in *iamapi.GetGroupPolicyInput, out *iamapi.GetGroupPolicyOutput) error {
	return serve(ctx, s, c, in, out, (*Service).getGroupPolicy)
}

func (s *Service) getGroupPolicy(ctx context.Context, c *call.Call, in *iamapi.GetGroupPolicyInput, out *iamapi.GetGroupPolicyOutput) error {
	name, document, err := s.getInline(ctx, c, aGroup, in.GroupName, in.PolicyName)
	out.GroupName, out.PolicyName, out.PolicyDocument = name, in.PolicyName, document
	return err
}

// DeleteGroupPolicy implements [iamapi.Handler].
func (s *Service) DeleteGroupPolicy(ctx context.Context, c *call.Call, in *iamapi.DeleteGroupPolicyInput, out *iamapi.DeleteGroupPolicyOutput) error {
	return serve(ctx, s, c, in, out, (*Service).deleteGroupPolicy)
}

func (s *Service) deleteGroupPolicy(ctx context.Context, c *call.Call, in *iamapi.DeleteGroupPolicyInput, _ *iamapi.DeleteGroupPolicyOutput) error {
	return s.deleteInline(ctx, c, aGroup, in.GroupName, in.PolicyName)
}

// ListGroupPolicies implements [iamapi.Handler].
func (s *Service) ListGroupPolicies(ctx context.Context, c *call.Call, in *iamapi.ListGroupPoliciesInput, out *iamapi.ListGroupPoliciesOutput) error {
	return serve(ctx, s, c, in, out, (*Service).listGroupPolicies)
}

func (s *Service) listGroupPolicies(ctx context.Context, c *call.Call, in *iamapi.ListGroupPoliciesInput, out *iamapi.ListGroupPoliciesOutput) error {
	var err error
	out.PolicyNames, out.IsTruncated, out.Marker, err = s.listInline(ctx, c, aGroup, in.GroupName, in.Marker, in.MaxItems)
	return err
}

// PutRolePolicy implements [iamapi.Handler].
func (s *Service) PutRolePolicy(ctx context.Context, c *call.Call, in *iamapi.PutRolePolicyInput, out *iamapi.PutRolePolicyOutput) error {
	return serve(ctx, s, c, in, out, (*Service).putRolePolicy)
}

func (s *Service) putRolePolicy(ctx context.Context, c *call.Call, in *iamapi.PutRolePolicyInput, _ *iamapi.PutRolePolicyOutput) error {
	return s.putInline(ctx, c, aRole, in.RoleName, in.PolicyName, in.PolicyDocument)
}

// GetRolePolicy implements [iamapi.Handler].
func (s *Service) GetRolePolicy(ctx context.Context, c *call.Call, in *iamapi.GetRolePolicyInput, out *iamapi.GetRolePolicyOutput) error {
	return serve(ctx, s, c, in, out, (*Service).getRolePolicy)
}

func (s *Service) getRolePolicy(ctx context.Context, c *call.Call, in *iamapi.GetRolePolicyInput, out *iamapi.GetRolePolicyOutput) error {
	name, document, err := s.getInline(ctx, c, aRole, in.RoleName, in.PolicyName)
	out.RoleName, out.PolicyName, out.PolicyDocument = name, in.PolicyName, document
	return err
}

// DeleteRolePolicy implements [iamapi.Handler].
func (s *Service) DeleteRolePolicy(ctx context.Context, c *call.Call, in *iamapi.DeleteRolePolicyInput, out *iamapi.DeleteRolePolicyOutput) error {
	return serve(ctx, s, c, in, out, (*Service).deleteRolePolicy)
}

func (s *Service) deleteRolePolicy(ctx context.Context, c *call.Call, in *iamapi.DeleteRolePolicyInput, _ *iamapi.DeleteRolePolicyOutput) error {
	return s.deleteInline(ctx, c, aRole, in.RoleName, in.PolicyName)
}

// ListRolePolicies implements [iamapi.Handler].
func (s *Service) ListRolePolicies(ctx context.Context, c *call.Call, in *iamapi.ListRolePoliciesInput, out *iamapi.ListRolePoliciesOutput) error {
	return serve(ctx, s, c, in, out, (*Service).listRolePolicies)
}

func (s *Service) listRolePolicies(ctx context.Context, c *call.Call, in *iamapi.ListRolePoliciesInput, out *iamapi.ListRolePoliciesOutput) error {
	var err error
	out.PolicyNames, out.IsTruncated, out.Marker, err = s.listInline(ctx, c, aRole, in.RoleName, in.Marker, in.MaxItems)
	return err
}
