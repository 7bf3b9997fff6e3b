package identity

import (
	"context"
	"errors"

	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/record"
	"github.com/keyreeve/keyreeve/policy"
)

// Holder returns a user, group or role as a caller with all policies that go
// with it, for questions about what it may do: nobody signed as it. A role has
// no session, and a group is nobody in particular: it has an account and
// policies alone. The inline policies say whose they are. The principal is the
// caller's. Errors: ErrNotFound.
func (d *Directory) Holder(ctx context.Context, of Entity) (*call.Principal, error) {
	p, err := d.holder(ctx, of)
	if errors.Is(err, record.ErrNotFound) {
		return nil, of.notFound()
	}
	return p, err
}

func (d *Directory) holder(ctx context.Context, of Entity) (*call.Principal, error) {
	if err := of.Check(); err != nil {
		return nil, record.ErrNotFound
	}
	a, err := d.cachedAccount(ctx, of.Account)
	if err != nil {
		return nil, err
	}
	e, err := d.cached(ctx, of.Kind, of.Account, of.Name)
	if err != nil {
		return nil, err
	}
	switch of.Kind {
	case UserEntity:
		return d.composeUser(ctx, a, e)
	case RoleEntity:
		role := e.arn()
		p := &call.Principal{
			Kind: call.RoleSession, Account: e.account, ARN: role, EntityARN: role, EntityID: e.id, Tags: e.tags,
			Names: policy.Principal{Account: e.account, Role: role, ID: e.id},
		}
		return p, d.inherit(ctx, p, a, e)
	}
	p := &call.Principal{Kind: call.User, Account: e.account, Names: policy.Principal{Account: e.account}}
	return p, d.inherit(ctx, p, a, e)
}

// InlinePolicy is an inline policy of a user, group or role.
type InlinePolicy struct{ Name, Document string }

// InlineDocuments returns the inline policies of an entity, ordered by name.
// Errors: ErrNotFound.
func (d *Directory) InlineDocuments(ctx context.Context, e Entity) ([]InlinePolicy, error) {
	found, _, err := d.entity(ctx, e)
	if err != nil {
		return nil, err
	}
	var list []InlinePolicy
	for _, p := range found.inline {
		list = append(list, InlinePolicy{Name: p.Name, Document: p.Value})
	}
	return list, nil
}
