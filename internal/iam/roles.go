package iam

import (
	"context"
	"time"

	"github.com/keyreeve/keyreeve/internal/api/iamapi"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/identity"
)

// CreateRole implements [iamapi.Handler].
func (s *Service) CreateRole(ctx context.Context, c *call.Call, in *iamapi.CreateRoleInput, out *iamapi.CreateRoleOutput) error {
	return serve(ctx, s, c, in, out, (*Service).createRole)
}

func (s *Service) createRole(ctx context.Context, c *call.Call, in *iamapi.CreateRoleInput, out *iamapi.CreateRoleOutput) error {
	q, err := checkTags(in.Tags, textDuplicateTags)
	if err != nil {
		return err
	}
	if err := checkBoundary(in.PermissionsBoundary); err != nil {
		return err
	}
	path, err := checkPath("path", in.Path)
	if err != nil {
		return err
	}
	if ofAWS(path) {
		return iamapi.InvalidInput("The path " + path + " is reserved for roles of AWS.")
	}
	q.boundary = in.PermissionsBoundary
	t := &target{arn: arnOf("role", c.Caller.Account, path, in.RoleName), account: c.Caller.Account}
	if err := s.decideNew(ctx, c, "TagRole", t, &q); err != nil {
		return err
	}
	r, err := s.dir.CreateRole(ctx, identity.Role{
		Account:     c.Caller.Account,
		Name:        in.RoleName,
		Path:        path,
		Description: in.Description,
		MaxSession:  maxSession(in.MaxSessionDuration),
		Trust:       in.AssumeRolePolicyDocument,
		Tags:        q.tags,
		Boundary:    in.PermissionsBoundary,
	})
	if err != nil {
		return newError(err, in.PermissionsBoundary)
	}
	out.Role = apiRole(&r)
	out.Role.Description, out.Role.MaxSessionDuration = "", nil // as AWS answers
	return nil
}

// maxSession is the longest session of a new role: an hour, if the request does
// not say.
func maxSession(seconds *int32) time.Duration {
	if seconds == nil {
		return time.Hour
	}
	return time.Duration(*seconds) * time.Second
}

// GetRole implements [iamapi.Handler].
func (s *Service) GetRole(ctx context.Context, c *call.Call, in *iamapi.GetRoleInput, out *iamapi.GetRoleOutput) error {
	return serve(ctx, s, c, in, out, (*Service).getRole)
}

func (s *Service) getRole(ctx context.Context, c *call.Call, in *iamapi.GetRoleInput, out *iamapi.GetRoleOutput) error {
	f, err := s.use(ctx, c, aRole, in.RoleName, conditions{})
	if err != nil {
		return err
	}
	out.Role = apiRole(&f.role)
	out.Role.RoleLastUsed, err = s.roleLastUsed(ctx, &f.role)
	return err
}

// ListRoles implements [iamapi.Handler].
func (s *Service) ListRoles(ctx context.Context, c *call.Call, in *iamapi.ListRolesInput, out *iamapi.ListRolesOutput) error {
	return serve(ctx, s, c, in, out, (*Service).listRoles)
}

func (s *Service) listRoles(ctx context.Context, c *call.Call, in *iamapi.ListRolesInput, out *iamapi.ListRolesOutput) error {
	prefix := pathOr(in.PathPrefix)
	if err := s.decideAll(ctx, c, arnOf("role", c.Caller.Account, prefix, "")); err != nil {
		return err
	}
	roles, truncated, marker, err := stored(s, c, "", prefix, in.Marker, in.MaxItems, func(p identity.Page) ([]identity.Role, string, error) {
		return s.dir.Roles(ctx, c.Caller.Account, p)
	})
	if err != nil {
		return err
	}
	out.Roles = make([]iamapi.Role, len(roles))
	for i := range roles {
		out.Roles[i] = *apiRole(&roles[i])
		out.Roles[i].Tags, out.Roles[i].PermissionsBoundary = nil, nil
	}
	out.IsTruncated, out.Marker = truncated, marker
	return nil
}

// UpdateRole implements [iamapi.Handler].
func (s *Service) UpdateRole(ctx context.Context, c *call.Call, in *iamapi.UpdateRoleInput, out *iamapi.UpdateRoleOutput) error {
	return serve(ctx, s, c, in, out, (*Service).updateRole)
}

func (s *Service) updateRole(ctx context.Context, c *call.Call, in *iamapi.UpdateRoleInput, _ *iamapi.UpdateRoleOutput) error {
	f, err := s.use(ctx, c, aRole, in.RoleName, conditions{})
	if err != nil {
		return err
	}
	var u identity.RoleUpdate
	if in.HasDescription() {
		u.Description = &in.Description
	}
	if in.MaxSessionDuration != nil {
		if ofAWS(f.path) { // people may describe it
			return errUnmodifiable(f.name)
		}
		d := maxSession(in.MaxSessionDuration)
		u.MaxSession = &d
	}
	return s.dir.UpdateRole(ctx, f.Account, in.RoleName, u)
}

// UpdateRoleDescription implements [iamapi.Handler].
func (s *Service) UpdateRoleDescription(ctx context.Context, c *call.Call, in *iamapi.UpdateRoleDescriptionInput, out *iamapi.UpdateRoleDescriptionOutput) error {
	return serve(ctx, s, c, in, out, (*Service).updateRoleDescription)
}

func (s *Service) updateRoleDescription(ctx context.Context, c *call.Call, in *iamapi.UpdateRoleDescriptionInput, out *iamapi.UpdateRoleDescriptionOutput) error {
	f, err := s.use(ctx, c, aRole, in.RoleName, conditions{})
	if err != nil {
		return err
	}
	if err := s.dir.UpdateRole(ctx, f.Account, in.RoleName, identity.RoleUpdate{Description: &in.Description}); err != nil {
		return err
	}
	out.Role = apiRole(&f.role)
	out.Role.Description, out.Role.MaxSessionDuration = in.Description, nil // as AWS answers
	return nil
}

// UpdateAssumeRolePolicy implements [iamapi.Handler].
func (s *Service) UpdateAssumeRolePolicy(ctx context.Context, c *call.Call, in *iamapi.UpdateAssumeRolePolicyInput, out *iamapi.UpdateAssumeRolePolicyOutput) error {
	return serve(ctx, s, c, in, out, (*Service).updateAssumeRolePolicy)
}

func (s *Service) updateAssumeRolePolicy(ctx context.Context, c *call.Call, in *iamapi.UpdateAssumeRolePolicyInput, _ *iamapi.UpdateAssumeRolePolicyOutput) error {
	f, err := s.useToChange(ctx, c, aRole, in.RoleName, conditions{})
	if err != nil {
		return err
	}
	return s.dir.SetTrust(ctx, f.Account, in.RoleName, in.PolicyDocument)
}

// DeleteRole implements [iamapi.Handler].
func (s *Service) DeleteRole(ctx context.Context, c *call.Call, in *iamapi.DeleteRoleInput, out *iamapi.DeleteRoleOutput) error {
	return serve(ctx, s, c, in, out, (*Service).deleteRole)
}

func (s *Service) deleteRole(ctx context.Context, c *call.Call, in *iamapi.DeleteRoleInput, _ *iamapi.DeleteRoleOutput) error {
	f, err := s.useToChange(ctx, c, aRole, in.RoleName, conditions{})
	if err != nil {
		return err
	}
	return s.dir.DeleteRole(ctx, f.Account, in.RoleName)
}

// ListInstanceProfilesForRole implements [iamapi.Handler]. There are no instance
// profiles; tools ask before they delete a role.
func (s *Service) ListInstanceProfilesForRole(ctx context.Context, c *call.Call, in *iamapi.ListInstanceProfilesForRoleInput, out *iamapi.ListInstanceProfilesForRoleOutput) error {
	return serve(ctx, s, c, in, out, (*Service).listInstanceProfilesForRole)
}

func (s *Service) listInstanceProfilesForRole(ctx context.Context, c *call.Call, in *iamapi.ListInstanceProfilesForRoleInput, _ *iamapi.ListInstanceProfilesForRoleOutput) error {
	f, err := s.use(ctx, c, aRole, in.RoleName, conditions{})
	if err != nil {
		return err
	}
	_, err = s.open(c, f.id, in.Marker)
	return err
}

// apiRole returns a role in the API's terms.
func apiRole(r *identity.Role) *iamapi.Role {
	longest := r.MaxSession
	if longest == 0 {
		longest = time.Hour
	}
	seconds := int32(longest / time.Second)
	return &iamapi.Role{
		Path:                     r.Path,
		RoleName:                 r.Name,
		RoleID:                   r.ID,
		ARN:                      r.ARN,
		CreateDate:               r.Created,
		AssumeRolePolicyDocument: r.Trust,
		Description:              r.Description,
		MaxSessionDuration:       &seconds,
		PermissionsBoundary:      apiBoundary(r.Boundary),
		Tags:                     apiTags(r.Tags),
	}
}
