package iam

import (
	"context"
	"errors"

	"github.com/keyreeve/keyreeve/internal/api/iamapi"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/identity"
)

// CreateGroup implements [iamapi.Handler].
func (s *Service) CreateGroup(ctx context.Context, c *call.Call, in *iamapi.CreateGroupInput, out *iamapi.CreateGroupOutput) error {
	return serve(ctx, s, c, in, out, (*Service).createGroup)
}

func (s *Service) createGroup(ctx context.Context, c *call.Call, in *iamapi.CreateGroupInput, out *iamapi.CreateGroupOutput) error {
	path, err := checkPath("path", in.Path)
	if err != nil {
		return err
	}
	t := &target{arn: arnOf("group", c.Caller.Account, path, in.GroupName), account: c.Caller.Account}
	if err := s.decide(ctx, c, c.Operation.Name, t, &conditions{}); err != nil {
		return err
	}
	g, err := s.dir.CreateGroup(ctx, identity.Group{Account: c.Caller.Account, Name: in.GroupName, Path: path})
	if err != nil {
		return err
	}
	out.Group = apiGroup(&g)
	return nil
}

// GetGroup implements [iamapi.Handler].
func (s *Service) GetGroup(ctx context.Context, c *call.Call, in *iamapi.GetGroupInput, out *iamapi.GetGroupOutput) error {
	return serve(ctx, s, c, in, out, (*Service).getGroup)
}

func (s *Service) getGroup(ctx context.Context, c *call.Call, in *iamapi.GetGroupInput, out *iamapi.GetGroupOutput) error {
	f, err := s.use(ctx, c, aGroup, in.GroupName, conditions{})
	if err != nil {
		return err
	}
	users, truncated, marker, err := stored(s, c, f.id, "", in.Marker, in.MaxItems, func(p identity.Page) ([]identity.User, string, error) {
		return s.dir.GroupMembers(ctx, f.Account, in.GroupName, p)
	})
	if err != nil {
		return err
	}
	out.Group, out.Users, out.IsTruncated, out.Marker = apiGroup(&f.group), listedUsers(users), truncated, marker
	return nil
}

// ListGroups implements [iamapi.Handler].
func (s *Service) ListGroups(ctx context.Context, c *call.Call, in *iamapi.ListGroupsInput, out *iamapi.ListGroupsOutput) error {
	return serve(ctx, s, c, in, out, (*Service).listGroups)
}

func (s *Service) listGroups(ctx context.Context, c *call.Call, in *iamapi.ListGroupsInput, out *iamapi.ListGroupsOutput) error {
	prefix := pathOr(in.PathPrefix)
	if err := s.decideAll(ctx, c, arnOf("group", c.Caller.Account, prefix, "")); err != nil {
		return err
	}
	groups, truncated, marker, err := stored(s, c, "", prefix, in.Marker, in.MaxItems, func(p identity.Page) ([]identity.Group, string, error) {
		return s.dir.Groups(ctx, c.Caller.Account, p)
	})
	if err != nil {
		return err
	}
	out.Groups, out.IsTruncated, out.Marker = apiGroups(groups), truncated, marker
	return nil
}

// UpdateGroup implements [iamapi.Handler].
func (s *Service) UpdateGroup(ctx context.Context, c *call.Call, in *iamapi.UpdateGroupInput, out *iamapi.UpdateGroupOutput) error {
	return serve(ctx, s, c, in, out, (*Service).updateGroup)
}

func (s *Service) updateGroup(ctx context.Context, c *call.Call, in *iamapi.UpdateGroupInput, _ *iamapi.UpdateGroupOutput) error {
	f, err := s.useToMove(ctx, c, aGroup, in.GroupName, in.NewPath, in.NewGroupName)
	if err != nil {
		return err
	}
	return s.dir.UpdateGroup(ctx, f.Account, in.GroupName, in.NewGroupName, in.NewPath)
}

// DeleteGroup implements [iamapi.Handler].
func (s *Service) DeleteGroup(ctx context.Context, c *call.Call, in *iamapi.DeleteGroupInput, out *iamapi.DeleteGroupOutput) error {
	return serve(ctx, s, c, in, out, (*Service).deleteGroup)
}

func (s *Service) deleteGroup(ctx context.Context, c *call.Call, in *iamapi.DeleteGroupInput, _ *iamapi.DeleteGroupOutput) error {
	f, err := s.use(ctx, c, aGroup, in.GroupName, conditions{})
	if err != nil {
		return err
	}
	return s.dir.DeleteGroup(ctx, f.Account, in.GroupName)
}

// AddUserToGroup implements [iamapi.Handler].
func (s *Service) AddUserToGroup(ctx context.Context, c *call.Call, in *iamapi.AddUserToGroupInput, out *iamapi.AddUserToGroupOutput) error {
	return serve(ctx, s, c, in, out, (*Service).addUserToGroup)
}

func (s *Service) addUserToGroup(ctx context.Context, c *call.Call, in *iamapi.AddUserToGroupInput, _ *iamapi.AddUserToGroupOutput) error {
	if err := s.useMembership(ctx, c, in.GroupName, in.UserName); err != nil {
		return err
	}
	return s.dir.AddUserToGroup(ctx, c.Caller.Account, in.GroupName, in.UserName)
}

// RemoveUserFromGroup implements [iamapi.Handler]. That a user is no member is
// no error.
func (s *Service) RemoveUserFromGroup(ctx context.Context, c *call.Call, in *iamapi.RemoveUserFromGroupInput, out *iamapi.RemoveUserFromGroupOutput) error {
	return serve(ctx, s, c, in, out, (*Service).removeUserFromGroup)
}

func (s *Service) removeUserFromGroup(ctx context.Context, c *call.Call, in *iamapi.RemoveUserFromGroupInput, _ *iamapi.RemoveUserFromGroupOutput) error {
	if err := s.useMembership(ctx, c, in.GroupName, in.UserName); err != nil {
		return err
	}
	err := s.dir.RemoveUserFromGroup(ctx, c.Caller.Account, in.GroupName, in.UserName)
	if errors.Is(err, identity.ErrNotFound) {
		return nil
	}
	return err
}

// useMembership decides on the group. If neither group nor user is there, it is
// the user that is missed.
func (s *Service) useMembership(ctx context.Context, c *call.Call, group, user string) error {
	f, err := s.find(ctx, c, aGroup, group)
	if err != nil {
		return err
	}
	if err := s.decide(ctx, c, c.Operation.Name, &f.target, &conditions{}); err != nil {
		return err
	}
	u, err := s.find(ctx, c, aUser, user)
	switch {
	case err != nil:
		return err
	case u.missing:
		return errNoSuch(aUser, user)
	case f.missing:
		return errNoSuch(aGroup, group)
	}
	return nil
}

// ListGroupsForUser implements [iamapi.Handler].
func (s *Service) ListGroupsForUser(ctx context.Context, c *call.Call, in *iamapi.ListGroupsForUserInput, out *iamapi.ListGroupsForUserOutput) error {
	return serve(ctx, s, c, in, out, (*Service).listGroupsForUser)
}

func (s *Service) listGroupsForUser(ctx context.Context, c *call.Call, in *iamapi.ListGroupsForUserInput, out *iamapi.ListGroupsForUserOutput) error {
	f, err := s.use(ctx, c, aUser, in.UserName, conditions{})
	if err != nil {
		return err
	}
	groups, err := s.dir.UserGroups(ctx, f.Account, in.UserName)
	if err != nil {
		return err
	}
	name := func(g identity.Group) string { return g.Name }
	groups, out.IsTruncated, out.Marker, err = page(s, c, f.id, in.Marker, in.MaxItems, groups, name, byName)
	out.Groups = apiGroups(groups)
	return err
}

func apiGroup(g *identity.Group) *iamapi.Group {
	return &iamapi.Group{Path: g.Path, GroupName: g.Name, GroupID: g.ID, ARN: g.ARN, CreateDate: g.Created}
}

func apiGroups(groups []identity.Group) []iamapi.Group {
	list := make([]iamapi.Group, len(groups))
	for i := range groups {
		list[i] = *apiGroup(&groups[i])
	}
	return list
}
