package operator

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/keyreeve/keyreeve/internal/api/keyreeveapi"
	"github.com/keyreeve/keyreeve/internal/arn"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/identity"
	"github.com/keyreeve/keyreeve/internal/wire"
)

// Sessions ends temporary credentials. Package identity's directory does.
type Sessions interface {
	// Account returns an account, or identity.ErrNotFound.
	Account(ctx context.Context, id string) (identity.Account, error)
	// Resolve finds the unique id of the user or role with an ARN or unique id.
	Resolve(ctx context.Context, principal string) (id string, ok bool, err error)
	// ARNOf returns the ARN of the user or role with a unique id.
	ARNOf(ctx context.Context, id string) (string, error)
	// RevokeSessions refuses the sessions of a user or role that were made
	// before t; RevokeAccountSessions those of all in an account. What was
	// refused already stays so.
	RevokeSessions(ctx context.Context, e identity.Entity, t time.Time) error
	RevokeAccountSessions(ctx context.Context, id string, t time.Time) error
}

// RevokeSessions refuses temporary credentials that were made before a moment.
func (s *Service) RevokeSessions(ctx context.Context, c *call.Call, in *keyreeveapi.RevokeSessionsInput, out *keyreeveapi.RevokeSessionsOutput) error {
	if err := s.allow(ctx, c); err != nil {
		return err
	}
	before := in.Before
	switch {
	case (in.Principal == "") == (in.Account == ""):
		return wire.Validation("Specify either a principal or an account.")
	case before.IsZero():
		before = c.Time
	case before.After(c.Time):
		return wire.Validation("Sessions of the future can't be revoked.")
	}
	out.Before = keyreeveapi.Time{Time: before}
	if in.Account != "" {
		if !arn.IsAccount(in.Account) {
			return wire.Validation("An account is 12 digits.")
		}
		out.Account = in.Account
		a, err := s.o.Sessions.Account(ctx, in.Account)
		if err == nil {
			c.AddResource(call.Resource{ARN: arn.Root("aws", a.ID), Account: a.ID, Type: "AWS::Organizations::Account"})
			err = s.o.Sessions.RevokeAccountSessions(ctx, in.Account, before)
		}
		return revoked(err, "There is no account "+in.Account+".")
	}
	e, name, err := s.entity(ctx, in.Principal)
	if err != nil {
		return revoked(err, "There is no user or role "+in.Principal+".")
	}
	out.Principal, out.Account = name, e.Account
	kind := "AWS::IAM::User"
	if e.Kind == identity.RoleEntity {
		kind = "AWS::IAM::Role"
	}
	c.AddResource(call.Resource{ARN: name, Account: e.Account, Type: kind})
	return revoked(s.o.Sessions.RevokeSessions(ctx, e, before), "There is no user or role "+in.Principal+".")
}

// entity finds a user or role by its ARN or unique id.
func (s *Service) entity(ctx context.Context, principal string) (identity.Entity, string, error) {
	id, ok, err := s.o.Sessions.Resolve(ctx, principal)
	if err != nil {
		return identity.Entity{}, "", err
	}
	if strings.Contains(id, ":") {
		return identity.Entity{}, "", wire.Validation("A session can't be revoked by itself. Name the user or role that it is of.")
	}
	if !ok || id == "" {
		return identity.Entity{}, "", identity.ErrNotFound
	}
	name, err := s.o.Sessions.ARNOf(ctx, id)
	if err != nil {
		return identity.Entity{}, "", err
	}
	a, err := arn.Parse(name)
	if err != nil {
		return identity.Entity{}, "", err
	}
	kind, rest, _ := strings.Cut(a.Resource, "/")
	e := identity.Entity{Kind: identity.UserEntity, Account: a.Account, Name: rest[strings.LastIndexByte(rest, '/')+1:]}
	if kind == "role" {
		e.Kind = identity.RoleEntity
	}
	return e, name, nil
}

// revoked puts an error of revoking into the API's terms.
func revoked(err error, notFound string) error {
	var known *wire.Error
	switch {
	case errors.As(err, &known):
		return known
	case errors.Is(err, identity.ErrNotFound):
		return wire.NewError("NotFoundException", notFound).WithCause(err)
	case errors.Is(err, identity.ErrConcurrent):
		return wire.NewError("ConflictException", "Another change came first. Try again.").WithCause(err)
	}
	return answer(err)
}
