package iam

import (
	"context"
	"errors"

	"github.com/keyreeve/keyreeve/internal/api/iamapi"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/identity"
)

// checkBoundary checks the ARN of a permissions boundary; empty is none.
func checkBoundary(policyARN string) error {
	if policyARN == "" {
		return nil
	}
	_, err := parsePolicyARN(policyARN)
	return err
}

// newError is the error of the making of a user or role that is to have a
// boundary. What is not there then is the boundary.
func newError(err error, boundary string) error {
	if boundary != "" && errors.Is(err, identity.ErrNotFound) {
		return errNoSuchBoundary(boundary)
	}
	return err
}

// apiBoundary returns a permissions boundary in the API's terms.
func apiBoundary(policyARN string) *iamapi.AttachedPermissionsBoundary {
	if policyARN == "" {
		return nil
	}
	return &iamapi.AttachedPermissionsBoundary{
		PermissionsBoundaryType: "Policy", // not as in the model, but as AWS answers
		PermissionsBoundaryARN:  policyARN,
	}
}

func (s *Service) putBoundary(ctx context.Context, c *call.Call, k kind, name, policyARN string) error {
	if err := checkBoundary(policyARN); err != nil {
		return err
	}
	f, err := s.useToChange(ctx, c, k, name, conditions{boundary: policyARN})
	if err != nil {
		return err
	}
	return instead(s.dir.SetBoundary(ctx, f.Entity, policyARN), errNoSuchBoundary(policyARN))
}

func (s *Service) deleteBoundary(ctx context.Context, c *call.Call, k kind, name string) error {
	f, err := s.useToChange(ctx, c, k, name, conditions{})
	if err != nil {
		return err
	}
	return s.dir.DeleteBoundary(ctx, f.Entity)
}

// PutUserPermissionsBoundary implements [iamapi.Handler].
func (s *Service) PutUserPermissionsBoundary(ctx context.Context, c *call.Call, in *iamapi.PutUserPermissionsBoundaryInput, out *iamapi.PutUserPermissionsBoundaryOutput) error {
	return serve(ctx, s, c, in, out, (*Service).putUserPermissionsBoundary)
}

func (s *Service) putUserPermissionsBoundary(ctx context.Context, c *call.Call, in *iamapi.PutUserPermissionsBoundaryInput, _ *iamapi.PutUserPermissionsBoundaryOutput) error {
	return s.putBoundary(ctx, c, aUser, in.UserName, in.PermissionsBoundary)
}

// DeleteUserPermissionsBoundary implements [iamapi.Handler].
func (s *Service) DeleteUserPermissionsBoundary(ctx context.Context, c *call.Call, in *iamapi.DeleteUserPermissionsBoundaryInput, out *iamapi.DeleteUserPermissionsBoundaryOutput) error {
	return serve(ctx, s, c, in, out, (*Service).deleteUserPermissionsBoundary)
}

func (s *Service) deleteUserPermissionsBoundary(ctx context.Context, c *call.Call, in *iamapi.DeleteUserPermissionsBoundaryInput, _ *iamapi.DeleteUserPermissionsBoundaryOutput) error {
	return s.deleteBoundary(ctx, c, aUser, in.UserName)
}

// PutRolePermissionsBoundary implements [iamapi.Handler].
func (s *Service) PutRolePermissionsBoundary(ctx context.Context, c *call.Call, in *iamapi.PutRolePermissionsBoundaryInput, out *iamapi.PutRolePermissionsBoundaryOutput) error {
	return serve(ctx, s, c, in, out, (*Service).putRolePermissionsBoundary)
}

func (s *Service) putRolePermissionsBoundary(ctx context.Context, c *call.Call, in *iamapi.PutRolePermissionsBoundaryInput, _ *iamapi.PutRolePermissionsBoundaryOutput) error {
	return s.putBoundary(ctx, c, aRole, in.RoleName, in.PermissionsBoundary)
}

// DeleteRolePermissionsBoundary implements [iamapi.Handler].
func (s *Service) DeleteRolePermissionsBoundary(ctx context.Context, c *call.Call, in *iamapi.DeleteRolePermissionsBoundaryInput, out *iamapi.DeleteRolePermissionsBoundaryOutput) error {
	return serve(ctx, s, c, in, out, (*Service).deleteRolePermissionsBoundary)
}

func (s *Service) deleteRolePermissionsBoundary(ctx context.Context, c *call.Call, in *iamapi.DeleteRolePermissionsBoundaryInput, _ *iamapi.DeleteRolePermissionsBoundaryOutput) error {
	return s.deleteBoundary(ctx, c, aRole, in.RoleName)
}
