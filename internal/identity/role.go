package identity

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/keyreeve/keyreeve/internal/arn"
	"github.com/keyreeve/keyreeve/internal/record"
	"github.com/keyreeve/keyreeve/policy"
)

// How long the sessions of a role may last at most: what a role may say.
const (
	minMaxSession = time.Hour
	maxMaxSession = 12 * time.Hour
)

// role returns the role of an entity, with the principals of its trust policy as
// they are called now.
func (d *Directory) role(ctx context.Context, e *entity) (Role, error) {
	trust, err := d.printTrust(ctx, e)
	return Role{
		Account: e.account, Name: e.name, Path: e.path, ID: e.id, ARN: e.arn(), Created: e.created,
		Description: e.description, MaxSession: e.maxSession, Trust: trust,
		Tags: e.tags, Boundary: e.boundary.Name, Policies: names(e.attached), NotBefore: e.notBefore,
	}, err
}

// CreateRole makes a role of r's account, name, path, description, longest
// session, trust policy, tags, boundary and policies. Errors: ErrExists,
// ErrInvalid, ErrMalformed, ErrLimit, ErrNotFound (account, boundary or policy).
func (d *Directory) CreateRole(ctx context.Context, r Role) (Role, error) {
	if r.MaxSession == 0 {
		r.MaxSession = minMaxSession
	}
	if err := errors.Join(checkMaxSession(r.MaxSession), checkDescription(r.Description), checkPolicies(r.Account, r.Policies)); err != nil {
		return Role{}, err
	}
	trusted, err := d.bindTrust(ctx, r.Trust)
	if err != nil {
		return Role{}, err
	}
	e := &entity{
		kind: RoleEntity, account: r.Account, name: r.Name, path: r.Path, tags: r.Tags, boundary: reference{Name: r.Boundary},
		description: r.Description, maxSession: r.MaxSession, trust: r.Trust, trusted: trusted,
	}
	for _, arn := range r.Policies {
		e.attached = append(e.attached, reference{Name: arn})
	}
	if err := d.create(ctx, e); err != nil {
		return Role{}, err
	}
	return d.role(ctx, e)
}

func checkMaxSession(t time.Duration) error {
	if t < minMaxSession || t > maxMaxSession || t%time.Second != 0 {
		return fmt.Errorf("%w: a role's longest session is from 3600 to 43200 seconds", ErrInvalid)
	}
	return nil
}

// Role returns a role, or ErrNotFound.
func (d *Directory) Role(ctx context.Context, account, name string) (Role, error) {
	e, _, err := d.entity(ctx, Entity{RoleEntity, account, name})
	if err != nil {
		return Role{}, err
	}
	return d.role(ctx, e)
}

// RoleByARN returns the role with this very ARN, and its trust policy, in which
// principals are bound to their unique ids. The policy is shared; it is nil if
// it cannot be read any more. Errors: ErrNotFound, also if the role's account is
// closed.
func (d *Directory) RoleByARN(ctx context.Context, text string) (Role, *policy.Policy, error) {
	account, name, ok := roleARN(text)
	if !ok {
		return Role{}, nil, &Error{ErrNotFound, "The role " + text + " cannot be found."}
	}
	e, rec, err := d.entity(ctx, Entity{RoleEntity, account, name})
	var a *cachedAccount
	if err == nil {
		// Sessions of it would be refused.
		a, err = d.cachedAccount(ctx, account)
	}
	if errors.Is(err, record.ErrNotFound) || err == nil && e.arn() != text {
		err = &Error{ErrNotFound, "The role " + text + " cannot be found."}
	}
	if err != nil {
		return Role{}, nil, err
	}
	r, err := d.role(ctx, e)
	if err != nil {
		return Role{}, nil, err
	}
	r.Closed = a.closed
	return r, d.compileTrust(e, rec.Key), nil
}

// roleARN takes the ARN of a role apart.
func roleARN(text string) (account, name string, ok bool) {
	kind, account, _, name := entityARN(text)
	return account, name, kind == RoleEntity
}

// entityARN takes the ARN of a user or role apart. The kind is 0 for what is
// none.
func entityARN(text string) (kind EntityKind, account, path, name string) {
	a, err := arn.Parse(text)
	if err != nil || a.Partition != partition || a.Service != "iam" || a.Region != "" || a.Account == "" {
		return 0, "", "", ""
	}
	noun, rest, ok := strings.Cut(a.Resource, "/")
	at := strings.LastIndexByte(rest, '/')
	path, name = "/"+rest[:at+1], rest[at+1:]
	if !ok || checkPath(path) != nil {
		return 0, "", "", ""
	}
	for _, kind := range []EntityKind{UserEntity, RoleEntity} {
		if noun == kinds[kind].noun && isName(name, kinds[kind].longest) {
			return kind, a.Account, path, name
		}
	}
	return 0, "", "", ""
}

// Roles returns a page of an account's roles, ordered by lower-cased name, and
// the marker of the next page, empty if there is none.
func (d *Directory) Roles(ctx context.Context, account string, p Page) ([]Role, string, error) {
	list, next, err := d.list(ctx, RoleEntity, account, p, nil)
	if err != nil {
		return nil, "", err
	}
	var roles []Role
	for _, e := range list {
		r, err := d.role(ctx, e)
		if err != nil {
			return nil, "", err
		}
		roles = append(roles, r)
	}
	return roles, next, nil
}

// RoleUpdate is what of a role is changed: what is nil stays.
type RoleUpdate struct {
	Description *string
	MaxSession  *time.Duration
}

// UpdateRole changes a role. Errors: ErrNotFound, ErrInvalid.
func (d *Directory) UpdateRole(ctx context.Context, account, name string, u RoleUpdate) error {
	if u.Description != nil {
		if err := checkDescription(*u.Description); err != nil {
			return err
		}
	}
	if u.MaxSession != nil {
		if err := checkMaxSession(*u.MaxSession); err != nil {
			return err
		}
	}
	return d.change(ctx, Entity{RoleEntity, account, name}, func(_ *record.Tx, e *entity) (bool, error) {
		if u.Description != nil {
			e.description = *u.Description
		}
		if u.MaxSession != nil {
			e.maxSession = *u.MaxSession
		}
		return true, nil
	})
}

// SetTrust gives a role another trust policy. Errors: ErrNotFound, ErrLimit,
// ErrMalformed (also for principals that do not exist).
func (d *Directory) SetTrust(ctx context.Context, account, name, document string) error {
	if _, _, err := d.entity(ctx, Entity{RoleEntity, account, name}); err != nil {
		return err
	}
	trusted, err := d.bindTrust(ctx, document)
	if err != nil {
		return err
	}
	return d.change(ctx, Entity{RoleEntity, account, name}, func(_ *record.Tx, e *entity) (bool, error) {
		e.trust, e.trusted = document, trusted
		return true, nil
	})
}

// DeleteRole deletes a role without policies. Errors: ErrNotFound, ErrConflict.
func (d *Directory) DeleteRole(ctx context.Context, account, name string) error {
	return d.remove(ctx, Entity{RoleEntity, account, name}, func(*entity) error { return nil })
}

// service is what a service principal looks like.
var service = regexp.MustCompile(`^[a-z0-9-]+(\.[a-z0-9-]+)+$`)

// bindTrust checks a trust policy and returns whom its principals are bound to:
// pairs of the ARN as written and the unique id.
func (d *Directory) bindTrust(ctx context.Context, document string) ([]reference, error) {
	p, err := d.parse(document, policy.Trust)
	if err != nil {
		return nil, err
	}
	if policy.Size(document) > MaxTrustSize {
		return nil, overQuota("ACLSizePerRole", MaxTrustSize)
	}
	var bound []reference
	for _, n := range p.Principals() {
		ok := n.Name == "*"
		switch n.Kind {
		case "AWS", "":
			if ok {
				break
			}
			var id string
			if id, ok, err = d.Resolve(ctx, n.Name); err != nil {
				return nil, err
			}
			if _, twice := find(bound, n.Name); id != "" && id != n.Name && !twice {
				bound = append(bound, reference{Name: n.Name, Value: id})
			}
		case "Service":
			ok = ok || service.MatchString(n.Name)
		case "Federated":
			ok = true
		}
		if !ok {
			kind := n.Kind
			if kind == "" {
				kind = "AWS"
			}
			return nil, &Error{ErrMalformed, `Invalid principal in policy: "` + strings.ToUpper(kind) + `":"` + n.Name + `"`}
		}
	}
	return bound, nil
}

// compileTrust returns the trust policy of a role, bound; nil if it cannot be
// read, which is logged.
func (d *Directory) compileTrust(e *entity, key string) *policy.Policy {
	p, err := d.compile(e.trust, policy.Trust)
	if err != nil {
		d.log.Error("the trust policy of a role cannot be read, nobody can assume it", "key", key, "cause", err)
		return nil
	}
	if p == nil || len(e.trusted) == 0 {
		return p
	}
	ids := make(map[string]string, len(e.trusted))
	for _, b := range e.trusted {
		ids[b.Name] = b.Value
	}
	return p.Bind(ids)
}

// printTrust returns a role's trust policy with the users and roles in it as
// they are called now, those that are gone by their unique ids.
func (d *Directory) printTrust(ctx context.Context, e *entity) (string, error) {
	var changed map[string]string
	for _, b := range e.trusted {
		now, err := d.ARNOf(ctx, b.Value)
		if errors.Is(err, ErrNotFound) {
			now = b.Value
		} else if err != nil {
			return "", err
		}
		if now != b.Name {
			if changed == nil {
				changed = make(map[string]string)
			}
			changed[b.Name] = now
		}
	}
	if changed == nil {
		return e.trust, nil
	}
	p, err := d.compile(e.trust, policy.Trust)
	if err != nil || p == nil {
		return e.trust, nil // as it is, and it allows nothing
	}
	return p.TextWith(func(name string) string {
		if now, ok := changed[name]; ok {
			return now
		}
		return name
	}), nil
}
