package seed

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/keyreeve/keyreeve/internal/arn"
	"github.com/keyreeve/keyreeve/internal/identity"
	"github.com/keyreeve/keyreeve/internal/keyring"
	"github.com/keyreeve/keyreeve/policy"
)

// This file makes organizations, policies, groups, users and roles. Each takes
// several steps, and the order is such that who is half-made can do nothing:
// access keys come last, and a role trusts nobody before it is complete.

// unfinished is the name under which it is noted that something is being made.
// Noted, and not noted as made: it is to be finished.
func unfinished(name string) string { return "unfinished " + name }

// begun returns the names of what is being made now and takes several steps.
func (a *applier) begun() []string {
	var names []string
	add := func(name string) {
		if !a.seeded.Has(unfinished(name)) {
			names = append(names, unfinished(name))
		}
	}
	for i := range a.organizations {
		add(a.organizations[i].seedName())
	}
	for i := range a.groups {
		add(a.groups[i].seedName())
	}
	for i := range a.users {
		add(a.users[i].seedName())
	}
	for i := range a.roles {
		add(a.roles[i].seedName())
	}
	return names
}

// missing reports whether something is to be made: err is the outcome of looking
// for it.
func (a *applier) missing(name string, err error) (bool, error) {
	switch {
	case err == nil && a.seeded.Has(unfinished(name)) && !a.seeded.Has(name):
		return true, nil
	case err == nil:
		a.there = append(a.there, name)
		return false, nil
	case !errors.Is(err, identity.ErrNotFound):
		return false, err
	}
	return !a.seeded.Gone(name), nil
}

func (a *applier) planOrganizations(ctx context.Context) (wrong []error, err error) {
	in, err := a.d.Installation(ctx)
	if err != nil {
		return nil, err
	}
	for _, o := range a.File.organizations {
		_, err := a.d.OrganizationByID(ctx, o.id)
		missing, err := a.missing(o.seedName(), err)
		if err != nil {
			return nil, err
		}
		if !missing {
			continue
		}
		a.organizations = append(a.organizations, o)
		for _, m := range o.accounts {
			if m.id == in.Account {
				wrong = append(wrong, at(m.line, "account %s is the operator's: as a member, the policies of an organization could deny it everything", m.id))
			}
		}
		for _, id := range append([]string{o.master}, memberIDs(o.accounts)...) {
			acct, err := a.d.Account(ctx, id)
			if err != nil && !errors.Is(err, identity.ErrNotFound) {
				return nil, err
			}
			if err == nil && acct.Organization != "" && acct.Organization != o.id {
				wrong = append(wrong, at(o.line, "account %s is in organization %s", id, acct.Organization))
			}
		}
	}
	return wrong, nil
}

func memberIDs(members []member) []string {
	ids := make([]string, len(members))
	for i, m := range members {
		ids[i] = m.id
	}
	return ids
}

func (a *applier) planIdentities(ctx context.Context) (wrong []error, err error) {
	f := a.File
	for _, m := range f.policies {
		_, err := a.d.Policy(ctx, m.account, m.arn())
		missing, err := a.missing(m.seedName(), err)
		if err != nil {
			return nil, err
		}
		if missing {
			a.policies = append(a.policies, m)
		}
	}
	for _, g := range f.groups {
		_, err := a.d.Group(ctx, g.account, g.name)
		missing, err := a.missing(g.seedName(), err)
		if err != nil {
			return nil, err
		}
		if missing {
			a.groups = append(a.groups, g)
			wrong = append(wrong, a.checkPolicies(ctx, &g.entity)...)
		}
	}
	for _, u := range f.users {
		_, err := a.d.User(ctx, u.account, u.name)
		missing, err := a.missing(u.seedName(), err)
		if err != nil {
			return nil, err
		}
		if !missing {
			continue
		}
		a.users = append(a.users, u)
		wrong = append(wrong, a.checkPolicies(ctx, &u.entity)...)
		for _, name := range u.groups {
			inFile := slices.ContainsFunc(f.groups, func(g group) bool {
				return g.account == u.account && strings.EqualFold(g.name, name)
			})
			if inFile {
				continue
			}
			if _, err := a.d.Group(ctx, u.account, name); errors.Is(err, identity.ErrNotFound) {
				wrong = append(wrong, at(u.line, "account %s has no group %s", u.account, quote(name)))
			} else if err != nil {
				return nil, err
			}
		}
	}
	for _, r := range f.roles {
		_, err := a.d.Role(ctx, r.account, r.name)
		missing, err := a.missing(r.seedName(), err)
		if err != nil {
			return nil, err
		}
		if !missing {
			continue
		}
		a.roles = append(a.roles, r)
		wrong = append(wrong, a.checkPolicies(ctx, &r.entity)...)
		errs, err := a.checkPrincipals(ctx, r.trust)
		if err != nil {
			return nil, err
		}
		wrong = append(wrong, errs...)
	}
	return wrong, nil
}

// checkPolicies returns which managed policies of an entity are neither there
// nor in the file.
func (a *applier) checkPolicies(ctx context.Context, e *entity) (wrong []error) {
	names := e.policies
	if e.boundary != "" {
		names = append(slices.Clone(names), e.boundary)
	}
	for _, name := range names {
		inFile := slices.ContainsFunc(a.File.policies, func(m managed) bool { return m.account == e.account && m.arn() == name })
		if inFile {
			continue
		}
		if _, err := a.d.Policy(ctx, e.account, name); errors.Is(err, identity.ErrNotFound) || errors.Is(err, identity.ErrInvalid) {
			wrong = append(wrong, at(e.line, "there is no policy %s", quote(name)))
		} else if err != nil {
			wrong = append(wrong, err)
		}
	}
	return wrong
}

// checkPrincipals returns which principals of a document are neither there nor
// in the file.
func (a *applier) checkPrincipals(ctx context.Context, d document) (wrong []error, err error) {
	if d.text == "" {
		return nil, nil
	}
	names, err := d.principals()
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		_, ok, err := a.d.Resolve(ctx, name)
		if err != nil {
			return nil, err
		}
		if !ok && !a.File.makes(name) {
			wrong = append(wrong, at(d.line, "there is no principal %s", quote(name)))
		}
	}
	return wrong, nil
}

// makes reports whether the file has the account, user or role that a policy
// names so.
func (f *File) makes(principal string) bool {
	for i := range f.accounts {
		id := f.accounts[i].id
		if principal == id || principal == arn.Root("aws", id) || strings.HasPrefix(principal, "arn:aws:sts::"+id+":federated-user/") {
			return true
		}
	}
	for i := range f.users {
		if u := &f.users[i]; arn.User("aws", u.account, u.path, u.name) == principal {
			return true
		}
	}
	for i := range f.roles {
		r := &f.roles[i]
		if principal == arn.Role("aws", r.account, r.path, r.name) ||
			strings.HasPrefix(principal, "arn:aws:sts::"+r.account+":assumed-role/"+r.name+"/") {
			return true
		}
	}
	return false
}

// principals returns the AWS principals that a document names, each once.
func (d document) principals() ([]string, error) {
	p, err := policy.Parse(d.text, policy.Options{Type: policy.Resource, Stored: true})
	if err != nil {
		return nil, err
	}
	var names []string
	for _, n := range p.Principals() {
		if n.Kind == "AWS" && n.Name != "*" && !slices.Contains(names, n.Name) {
			names = append(names, n.Name)
		}
	}
	return names, nil
}

// bindings returns the unique ids of those whom a key policy names.
func (a *applier) bindings(ctx context.Context, d document) ([]keyring.Binding, error) {
	if d.text == "" {
		return nil, nil
	}
	names, err := d.principals()
	if err != nil {
		return nil, err
	}
	var bound []keyring.Binding
	for _, name := range names {
		id, ok, err := a.d.Resolve(ctx, name)
		switch {
		case err != nil:
			return nil, err
		case !ok:
			return nil, fmt.Errorf("there is no principal %s", quote(name))
		case id != "":
			bound = append(bound, keyring.Binding{ARN: name, ID: id})
		}
	}
	return bound, nil
}

// ownedKeys returns the access keys of the file.
func (f *File) ownedKeys() []ownedKey {
	var keys []ownedKey
	for _, acct := range f.accounts {
		for _, k := range acct.accessKeys {
			keys = append(keys, ownedKey{k, acct.id, ""})
		}
	}
	for _, u := range f.users {
		for _, k := range u.accessKeys {
			keys = append(keys, ownedKey{k, u.account, u.name})
		}
	}
	return keys
}

func (a *applier) planAccessKeys(ctx context.Context) (wrong []error, err error) {
	more := make(map[string]int) // access keys of each user that are to be made
	for _, k := range a.File.ownedKeys() {
		owner := &user{entity: entity{account: k.account, name: k.user}}
		var have []identity.AccessKey
		if k.user == "" || !a.seeded.Has(owner.seedName()) || a.ownerThere(ctx, owner) {
			have, err = a.d.AccessKeys(ctx, k.account, k.user)
			if err != nil && !errors.Is(err, identity.ErrNotFound) {
				return nil, err
			}
		} else {
			continue // the user is gone, and is not made again
		}
		if slices.ContainsFunc(have, func(h identity.AccessKey) bool { return h.ID == k.id }) {
			a.there = append(a.there, k.seedName())
			continue
		}
		other, err := a.d.AccessKey(ctx, k.id)
		switch {
		case err == nil:
			other.Secret.Wipe()
			whose := "the root user"
			if other.User != "" {
				whose = "user " + other.User
			}
			wrong = append(wrong, at(k.line, "access key %s is that of %s of account %s", k.id, whose, other.Account))
			continue
		case !errors.Is(err, identity.ErrNotFound):
			return nil, err
		case a.seeded.Gone(k.seedName()):
			continue
		}
		a.accessKeys = append(a.accessKeys, k)
		more[owner.seedName()]++
		if len(have)+more[owner.seedName()] > identity.MaxAccessKeys {
			wrong = append(wrong, at(k.line, "user %s of account %s has other access keys already, and may have %d", k.user, k.account, identity.MaxAccessKeys))
		}
	}
	return wrong, nil
}

// ownerThere reports whether a user that a seed file made is still there.
func (a *applier) ownerThere(ctx context.Context, u *user) bool {
	_, err := a.d.User(ctx, u.account, u.name)
	return err == nil
}

// ignoring returns err unless it is one of these.
func ignoring(err error, these ...error) error {
	for _, e := range these {
		if errors.Is(err, e) {
			return nil
		}
	}
	return err
}

func (a *applier) makeIdentities(ctx context.Context) error {
	for _, m := range a.policies {
		_, err := a.d.CreatePolicy(ctx, identity.ManagedPolicy{
			Account: m.account, Name: m.name, Path: m.path, Description: m.description, Tags: m.tags,
		}, m.document.text)
		if err := a.note(&a.made.Policies, m.line, m.seedName(), err, identity.ErrExists); err != nil {
			return err
		}
	}
	for i := range a.groups {
		g := &a.groups[i]
		_, err := a.d.CreateGroup(ctx, identity.Group{Account: g.account, Name: g.name, Path: g.path})
		if err = ignoring(err, identity.ErrExists); err == nil {
			err = a.furnish(ctx, identity.GroupEntity, &g.entity)
		}
		if err := a.note(&a.made.Groups, g.line, g.seedName(), err, nil); err != nil {
			return err
		}
	}
	for i := range a.users {
		if err := a.note(&a.made.Users, a.users[i].line, a.users[i].seedName(), a.makeUser(ctx, &a.users[i]), nil); err != nil {
			return err
		}
	}
	if err := a.makeRoles(ctx); err != nil {
		return err
	}
	for i := range a.organizations {
		o := &a.organizations[i]
		if err := a.note(&a.made.Organizations, o.line, o.seedName(), a.makeOrganization(ctx, o), nil); err != nil {
			return err
		}
	}
	for _, k := range a.accessKeys {
		made, err := a.d.CreateAccessKey(ctx, k.account, k.user, k.id, k.secret)
		made.Secret.Wipe()
		if err := a.note(&a.made.AccessKeys, k.line, k.seedName(), err, identity.ErrExists); err != nil {
			return err
		}
	}
	return nil
}

// furnish gives an entity its policies.
func (a *applier) furnish(ctx context.Context, kind identity.EntityKind, e *entity) error {
	who := identity.Entity{Kind: kind, Account: e.account, Name: e.name}
	for _, name := range e.policies {
		if err := a.d.AttachPolicy(ctx, who, name); err != nil {
			return err
		}
	}
	for _, in := range e.inline {
		if err := a.d.PutInlinePolicy(ctx, who, in.name, in.document.text); err != nil {
			return at(in.document.line, "%w", err)
		}
	}
	return nil
}

func (a *applier) makeUser(ctx context.Context, u *user) error {
	_, err := a.d.CreateUser(ctx, identity.User{Account: u.account, Name: u.name, Path: u.path, Boundary: u.boundary, Tags: u.tags})
	if err := ignoring(err, identity.ErrExists); err != nil {
		return err
	}
	if err := a.furnish(ctx, identity.UserEntity, &u.entity); err != nil {
		return err
	}
	for _, name := range u.groups {
		if err := a.d.AddUserToGroup(ctx, u.account, name, u.name); err != nil {
			return err
		}
	}
	return nil
}

// trustsNobody is the trust policy of a role that is not complete: those whom
// its own names may not be there yet.
const trustsNobody = `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*","Action":"sts:AssumeRole"}]}`

func (a *applier) makeRoles(ctx context.Context) error {
	for i := range a.roles {
		r := &a.roles[i]
		_, err := a.d.CreateRole(ctx, identity.Role{
			Account: r.account, Name: r.name, Path: r.path, Description: r.description, MaxSession: r.maxSession,
			Trust: trustsNobody, Tags: r.tags, Boundary: r.boundary,
		})
		if err := ignoring(err, identity.ErrExists); err != nil {
			return at(r.line, "%w", err)
		}
		if err := a.furnish(ctx, identity.RoleEntity, &r.entity); err != nil {
			return at(r.line, "%w", err)
		}
	}
	for i := range a.roles {
		r := &a.roles[i]
		err := a.d.SetTrust(ctx, r.account, r.name, r.trust.text)
		if err := a.note(&a.made.Roles, r.line, r.seedName(), err, nil); err != nil {
			return err
		}
	}
	return nil
}

func (a *applier) makeOrganization(ctx context.Context, o *organization) error {
	types := []identity.OrganizationPolicyType{identity.ServiceControlPolicy, identity.ResourceControlPolicy}
	_, err := a.d.CreateOrganization(ctx, identity.Organization{ID: o.id, Root: o.root, Master: o.master, Types: types})
	if err := ignoring(err, identity.ErrExists); err != nil {
		return err
	}
	ids := make(map[string]string)
	for _, c := range o.policies {
		ids[c.name] = c.id
		_, err := a.d.CreateOrganizationPolicy(ctx, identity.OrganizationPolicy{
			Organization: o.id, ID: c.id, Type: c.kind, Name: c.name, Description: c.description, Content: c.document.text,
		})
		if err := ignoring(err, identity.ErrExists); err != nil {
			return at(c.line, "%w", err)
		}
	}
	attach := func(line int, t target, id string) error {
		for _, name := range t.attached {
			err := a.d.AttachOrganizationPolicy(ctx, o.id, ids[name], id)
			if err := ignoring(err, identity.ErrExists); err != nil {
				return at(line, "%w", err)
			}
		}
		if !t.limited {
			return nil
		}
		err := a.d.DetachOrganizationPolicy(ctx, o.id, identity.FullAWSAccess, id)
		if err := ignoring(err, identity.ErrNotFound); err != nil {
			return at(line, "%w", err)
		}
		return nil
	}
	if err := attach(o.line, o.at, o.root); err != nil {
		return err
	}
	for _, u := range o.units {
		_, err := a.d.CreateUnit(ctx, identity.Unit{Organization: o.id, ID: u.id, Name: u.name, Parent: u.parent})
		if err := ignoring(err, identity.ErrExists); err != nil {
			return at(u.line, "%w", err)
		}
		if err := attach(u.line, u.at, u.id); err != nil {
			return err
		}
	}
	for _, m := range o.accounts {
		if err := a.d.PlaceAccount(ctx, m.id, o.id, m.parent); err != nil {
			return at(m.line, "%w", err)
		}
		if err := attach(m.line, m.at, m.id); err != nil {
			return err
		}
	}
	return nil
}
