package iam

import (
	"context"
	"strings"

	"github.com/keyreeve/keyreeve/internal/api/iamapi"
	"github.com/keyreeve/keyreeve/internal/arn"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/identity"
)

// CreateUser implements [iamapi.Handler].
func (s *Service) CreateUser(ctx context.Context, c *call.Call, in *iamapi.CreateUserInput, out *iamapi.CreateUserOutput) error {
	return serve(ctx, s, c, in, out, (*Service).createUser)
}

func (s *Service) createUser(ctx context.Context, c *call.Call, in *iamapi.CreateUserInput, out *iamapi.CreateUserOutput) error {
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
	q.boundary = in.PermissionsBoundary
	t := &target{arn: arnOf("user", c.Caller.Account, path, in.UserName), account: c.Caller.Account}
	if err := s.decideNew(ctx, c, "TagUser", t, &q); err != nil {
		return err
	}
	u, err := s.dir.CreateUser(ctx, identity.User{
		Account:  c.Caller.Account,
		Name:     in.UserName,
		Path:     path,
		Tags:     q.tags,
		Boundary: in.PermissionsBoundary,
	})
	if err != nil {
		return newError(err, in.PermissionsBoundary)
	}
	out.User = apiUser(&u)
	return nil
}

// GetUser implements [iamapi.Handler].
func (s *Service) GetUser(ctx context.Context, c *call.Call, in *iamapi.GetUserInput, out *iamapi.GetUserOutput) error {
	return serve(ctx, s, c, in, out, (*Service).getUser)
}

func (s *Service) getUser(ctx context.Context, c *call.Call, in *iamapi.GetUserInput, out *iamapi.GetUserOutput) error {
	name, err := ownName(c, in.UserName)
	if err != nil {
		return err
	}
	if name == "" {
		return s.getRoot(ctx, c, out)
	}
	f, err := s.use(ctx, c, aUser, name, conditions{})
	if err != nil {
		return err
	}
	out.User = apiUser(&f.user)
	return nil
}

// getRoot answers the root user who asks about himself.
func (s *Service) getRoot(ctx context.Context, c *call.Call, out *iamapi.GetUserOutput) error {
	if err := s.decide(ctx, c, c.Operation.Name, rootTarget(c), &conditions{}); err != nil {
		return err
	}
	a, err := s.dir.Account(ctx, c.Caller.Account)
	if err != nil {
		return err
	}
	out.User = &iamapi.User{UserID: a.ID, ARN: arn.Root(partition, a.ID), CreateDate: a.Created}
	return nil
}

// ListUsers implements [iamapi.Handler].
func (s *Service) ListUsers(ctx context.Context, c *call.Call, in *iamapi.ListUsersInput, out *iamapi.ListUsersOutput) error {
	return serve(ctx, s, c, in, out, (*Service).listUsers)
}

func (s *Service) listUsers(ctx context.Context, c *call.Call, in *iamapi.ListUsersInput, out *iamapi.ListUsersOutput) error {
	prefix := pathOr(in.PathPrefix)
	if err := s.decideAll(ctx, c, arnOf("user", c.Caller.Account, prefix, "")); err != nil {
		return err
	}
	users, truncated, marker, err := stored(s, c, "", prefix, in.Marker, in.MaxItems, func(p identity.Page) ([]identity.User, string, error) {
		return s.dir.Users(ctx, c.Caller.Account, p)
	})
	if err != nil {
		return err
	}
	out.Users, out.IsTruncated, out.Marker = listedUsers(users), truncated, marker
	return nil
}

// listedUsers are users as lists have them: without tags and boundaries.
func listedUsers(users []identity.User) []iamapi.User {
	list := make([]iamapi.User, len(users))
	for i := range users {
		list[i] = *apiUser(&users[i])
		list[i].Tags, list[i].PermissionsBoundary = nil, nil
	}
	return list
}

// UpdateUser implements [iamapi.Handler].
func (s *Service) UpdateUser(ctx context.Context, c *call.Call, in *iamapi.UpdateUserInput, out *iamapi.UpdateUserOutput) error {
	return serve(ctx, s, c, in, out, (*Service).updateUser)
}

func (s *Service) updateUser(ctx context.Context, c *call.Call, in *iamapi.UpdateUserInput, _ *iamapi.UpdateUserOutput) error {
	f, err := s.useToMove(ctx, c, aUser, in.UserName, in.NewPath, in.NewUserName)
	if err != nil {
		return err
	}
	return s.dir.UpdateUser(ctx, f.Account, in.UserName, in.NewUserName, in.NewPath)
}

// useToMove is use for an operation that gives a user or group another name or
// path: that is decided on it as it is, and as it will be. Source: UpdateUser
// and UpdateGroup in the IAM API Reference.
func (s *Service) useToMove(ctx context.Context, c *call.Call, k kind, name, newPath, newName string) (*subject, error) {
	if _, err := checkPath("newPath", newPath); err != nil {
		return nil, err
	}
	f, err := s.use(ctx, c, k, name, conditions{})
	if err != nil || newPath == "" && newName == "" {
		return f, err
	}
	to := f.target
	if newPath == "" {
		newPath = f.path
	}
	if newName == "" {
		newName = f.name
	}
	to.arn, to.shown = arnOf(k.String(), f.Account, newPath, newName), k.String()+" "+newName
	return f, s.decide(ctx, c, c.Operation.Name, &to, &conditions{boundary: f.boundary})
}

// DeleteUser implements [iamapi.Handler].
func (s *Service) DeleteUser(ctx context.Context, c *call.Call, in *iamapi.DeleteUserInput, out *iamapi.DeleteUserOutput) error {
	return serve(ctx, s, c, in, out, (*Service).deleteUser)
}

func (s *Service) deleteUser(ctx context.Context, c *call.Call, in *iamapi.DeleteUserInput, _ *iamapi.DeleteUserOutput) error {
	f, err := s.use(ctx, c, aUser, in.UserName, conditions{})
	if err != nil {
		return err
	}
	return s.dir.DeleteUser(ctx, f.Account, in.UserName)
}

// pathOr returns a path, "/" if there is none.
func pathOr(path string) string {
	if path == "" {
		return "/"
	}
	return path
}

// checkPath is pathOr for the path of something new, in the request's member
// name. It refuses what the pattern of the API's model lets pass: empty parts.
func checkPath(name, path string) (string, error) {
	if strings.Contains(path, "//") {
		return "", errInvalidPath(name)
	}
	return pathOr(path), nil
}

// apiUser returns a user in the API's terms.
func apiUser(u *identity.User) *iamapi.User {
	return &iamapi.User{
		Path:                u.Path,
		UserName:            u.Name,
		UserID:              u.ID,
		ARN:                 u.ARN,
		CreateDate:          u.Created,
		PermissionsBoundary: apiBoundary(u.Boundary),
		Tags:                apiTags(u.Tags),
	}
}
