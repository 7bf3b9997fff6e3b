package identity

import (
	"context"
	"errors"
	"strings"

	"github.com/keyreeve/keyreeve/internal/arn"
	"github.com/keyreeve/keyreeve/internal/record"
)

// Resolve finds whom a principal of a policy, or of a grant, means.
//
//   - The ARN of a user or role: its unique id. The ARN must be exact, as it
//     is matched: with the path, and in the case of the name.
//   - A unique id (AIDA…, AROA…): itself, if its bearer exists.
//   - The ARN of a session of a role that exists: the role's unique id with the
//     session's name, as aws:userid has it, AROA…:name; and that itself.
//   - What is valid and has no unique id: ok with an empty id. That is an account
//     (12 digits or its root ARN) that exists here, and the ARN of a federated
//     user of such an account.
//
// Everything else is not ok.
func (d *Directory) Resolve(ctx context.Context, principal string) (id string, ok bool, err error) {
	if kind := uniqueKind(principal); kind == UserEntity || kind == RoleEntity {
		_, err := d.entityByID(ctx, principal)
		return found(principal, err)
	}
	if id, session, ok := strings.Cut(principal, ":"); ok && uniqueKind(id) == RoleEntity && isSessionName(session) {
		_, err := d.entityByID(ctx, id)
		return found(principal, err)
	}
	if arn.IsAccount(principal) {
		_, _, err := d.loadAccount(ctx, principal)
		return found("", err)
	}
	if kind, account, _, name := entityARN(principal); kind != 0 {
		e, _, err := d.entity(ctx, Entity{kind, account, name})
		if err == nil && e.arn() != principal {
			return "", false, nil
		}
		if err != nil {
			return found("", err)
		}
		return e.id, true, nil
	}
	a, err := arn.Parse(principal)
	if err != nil || a.Partition != partition || a.Region != "" || a.Account == "" {
		return "", false, nil
	}
	switch {
	case a.Service == "iam" && a.Resource == "root":
		_, _, err := d.loadAccount(ctx, a.Account)
		return found("", err)
	case a.Service != "sts":
		return "", false, nil
	}
	if rest, ok := strings.CutPrefix(a.Resource, "assumed-role/"); ok {
		role, session, ok := strings.Cut(rest, "/")
		if !ok || !isName(role, 64) || !isSessionName(session) {
			return "", false, nil
		}
		e, _, err := d.entity(ctx, Entity{RoleEntity, a.Account, role})
		switch {
		case err != nil:
			return found("", err)
		case e.name != role: // matched in its case
			return "", false, nil
		}
		return e.id + ":" + session, true, nil
	}
	if name, ok := strings.CutPrefix(a.Resource, "federated-user/"); ok && isSessionName(name) && len(name) <= 32 {
		_, _, err := d.loadAccount(ctx, a.Account)
		return found("", err)
	}
	return "", false, nil
}

// found turns the outcome of a look-up into one of Resolve.
func found(id string, err error) (string, bool, error) {
	switch {
	case err == nil:
		return id, true, nil
	case errors.Is(err, ErrNotFound):
		return "", false, nil
	}
	return "", false, err
}

// isSessionName reports whether s can be the name of a session.
func isSessionName(s string) bool { return len(s) >= 2 && isName(s, 64) }

// uniqueKind returns the kind of entity that a unique id stands for, 0 if it has
// not the form of one.
func uniqueKind(id string) EntityKind {
	if len(id) < 16 || len(id) > 128 || !isAccessKeyID(id) {
		return 0
	}
	for kind := UserEntity; kind <= RoleEntity; kind++ {
		if strings.HasPrefix(id, kinds[kind].letters) {
			return kind
		}
	}
	return 0
}

// ARNOf returns the ARN that the user or role with a unique id has now, or the
// session whose id Resolve returned; ErrNotFound if the user or role is gone.
func (d *Directory) ARNOf(ctx context.Context, id string) (string, error) {
	if id, session, ok := strings.Cut(id, ":"); ok {
		e, err := d.entityByID(ctx, id)
		if err != nil {
			return "", err
		}
		return sessionARN(e.account, e.name, session), nil
	}
	e, err := d.entityByID(ctx, id)
	if err != nil {
		return "", err
	}
	return e.arn(), nil
}

// entityByID returns the user, group or role with a unique id, as the store has
// it; ErrNotFound.
func (d *Directory) entityByID(ctx context.Context, id string) (*entity, error) {
	u, err := d.unique(ctx, id)
	if err != nil {
		return nil, err
	}
	e, _, err := d.entity(ctx, Entity{u.kind, u.account, u.name})
	if err == nil && e.id != id {
		err = ErrNotFound
	}
	if errors.Is(err, ErrNotFound) {
		err = idNotFound(id)
	}
	return e, err
}

func idNotFound(id string) error {
	return &Error{ErrNotFound, "The entity with id " + id + " cannot be found."}
}

// unique returns what a unique id stands for.
func (d *Directory) unique(ctx context.Context, id string) (unique, error) {
	if uniqueKind(id) == 0 {
		return unique{}, idNotFound(id)
	}
	u, _, err := read(ctx, d, record.KindUnique, uniqueKey(id), "unique id "+id, decodeUnique)
	if errors.Is(err, ErrNotFound) {
		err = idNotFound(id)
	}
	return u, err
}
