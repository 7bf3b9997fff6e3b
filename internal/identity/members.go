package identity

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"

	"github.com/keyreeve/keyreeve/internal/arn"
	"github.com/keyreeve/keyreeve/internal/record"
)

// hold puts something under a root or unit as far as that is concerned: its
// record is put as it is. So is the organization's, if wide, for what is
// to be one of its kind in all of it; else it must only stay as it was read.
func (d *Directory) hold(ctx context.Context, tx *record.Tx, o *Organization, rec record.Record, parent string, wide bool) error {
	if wide || parent == o.Root {
		tx.Put(rec, o.encode())
	} else {
		tx.Check(rec)
	}
	if parent == o.Root {
		return nil
	}
	u, at, err := d.loadUnit(ctx, o.ID, parent)
	if err != nil {
		return err
	}
	tx.Put(at, u.encode())
	return nil
}

// walk returns all records under a prefix that keep approves. What cannot be
// read is logged and left out.
func walk[V any](ctx context.Context, d *Directory, kind record.Kind, prefix string, decode func(record.Record) (V, error), keep func(V) bool) ([]V, error) {
	var all []V
	marker := ""
	for {
		list, next, err := page(ctx, d, kind, prefix, Page{Marker: marker, Limit: 500}, func(rec record.Record) (V, bool, error) {
			v, err := decode(rec)
			return v, err == nil && keep(v), err
		})
		if err != nil {
			return nil, err
		}
		all = append(all, list...)
		if marker = next; marker == "" {
			return all, nil
		}
	}
}

func (d *Directory) unitsIn(ctx context.Context, organization string, keep func(*Unit) bool) ([]*Unit, error) {
	return walk(ctx, d, record.KindUnit, unitPrefix+organization+"/", decodeUnit, keep)
}

func (d *Directory) membersIn(ctx context.Context, organization string, keep func(*account) bool) ([]*account, error) {
	return walk(ctx, d, record.KindAccount, accountPrefix, decodeAccount, func(a *account) bool {
		return a.Organization == organization && keep(a)
	})
}

func (d *Directory) controlsIn(ctx context.Context, organization string, keep func(*OrganizationPolicy) bool) ([]*OrganizationPolicy, error) {
	return walk(ctx, d, record.KindOrgPolicy, orgPolicyPrefix+organization+"/", decodeOrganizationPolicy, keep)
}

// roomForMember returns ErrLimit if an organization has as many accounts as it
// may have.
func (d *Directory) roomForMember(ctx context.Context, o *Organization) error {
	members, err := d.membersIn(ctx, o.ID, func(*account) bool { return true })
	if err == nil && len(members) >= MaxMembers {
		err = &Error{ErrLimit, "You have exceeded the allowed number of AWS accounts."}
	}
	return err
}

// Units returns a page of the units of an organization that are right under a
// root or unit, ordered by id, and the marker of the next page, empty if there
// is none.
func (d *Directory) Units(ctx context.Context, organization, parent string, p Page) ([]Unit, string, error) {
	if !organizationID.MatchString(organization) {
		return nil, "", nil
	}
	return page(ctx, d, record.KindUnit, unitPrefix+organization+"/", p, func(rec record.Record) (Unit, bool, error) {
		u, err := decodeUnit(rec)
		if err != nil {
			return Unit{}, false, err
		}
		return *u, u.Parent == parent, nil
	})
}

// Members returns a page of the accounts of an organization, or of those right
// under a root or unit if parent is not empty; ordered by id, with the marker of
// the next page, empty if there is none.
func (d *Directory) Members(ctx context.Context, organization, parent string, p Page) ([]Account, string, error) {
	return page(ctx, d, record.KindAccount, accountPrefix, p, func(rec record.Record) (Account, bool, error) {
		a, err := decodeAccount(rec)
		if err != nil {
			return Account{}, false, err
		}
		return a.Account, organization != "" && a.Organization == organization && (parent == "" || a.Parent == parent), nil
	})
}

// OrganizationPolicies returns the policies of a type that an organization has,
// ordered by id, AWS's first.
func (d *Directory) OrganizationPolicies(ctx context.Context, organization string, t OrganizationPolicyType) ([]OrganizationPolicy, error) {
	var all []OrganizationPolicy
	for _, p := range awsControl {
		if p.Type == t {
			all = append(all, *p)
		}
	}
	if !organizationID.MatchString(organization) {
		return all, nil
	}
	own, err := d.controlsIn(ctx, organization, func(p *OrganizationPolicy) bool { return p.Type == t })
	for _, p := range own {
		all = append(all, *p)
	}
	return all, err
}

// AttachedOrganizationPolicies returns the policies of a type that are attached
// to a root, unit or account itself, in the order in which they were. There are
// none of a type that is not enabled. Errors: ErrNotFound (the target).
func (d *Directory) AttachedOrganizationPolicies(ctx context.Context, organization, to string, t OrganizationPolicyType) ([]OrganizationPolicy, error) {
	on, _, err := d.target(ctx, organization, to, nil)
	if err != nil || !slices.Contains(on.organization.Types, t) {
		return nil, err
	}
	var list []OrganizationPolicy
	if t == ResourceControlPolicy {
		list = append(list, *awsControl[RCPFullAWSAccess])
	}
	for _, id := range *on.policies() {
		p, _, err := d.loadControl(ctx, organization, id)
		if errors.Is(err, ErrNotFound) || errors.Is(err, record.ErrTampered) {
			continue // and everything is denied
		}
		if err != nil {
			return nil, err
		}
		if p.Type == t {
			list = append(list, *p)
		}
	}
	return list, nil
}

// OrganizationTarget is what a policy is attached to: one of them is set, but
// for the root, for which none is.
type OrganizationTarget struct {
	ID      string
	Unit    *Unit
	Account *Account
}

// OrganizationTargets returns what a policy is attached to: the root, then
// units, then accounts, ordered by id. Errors: ErrNotFound (the policy).
func (d *Directory) OrganizationTargets(ctx context.Context, organization, id string) ([]OrganizationTarget, error) {
	o, _, err := d.loadOrganization(ctx, organization)
	if err != nil {
		return nil, err
	}
	p, _, err := d.loadControl(ctx, organization, id)
	if err != nil || !slices.Contains(o.Types, p.Type) {
		return nil, err
	}
	has := func(list []string) bool { return id == RCPFullAWSAccess || slices.Contains(list, id) }
	var targets []OrganizationTarget
	if has(o.Policies) {
		targets = append(targets, OrganizationTarget{ID: o.Root})
	}
	units, err := d.unitsIn(ctx, organization, func(u *Unit) bool { return has(u.Policies) })
	if err != nil {
		return nil, err
	}
	for _, u := range units {
		targets = append(targets, OrganizationTarget{ID: u.ID, Unit: u})
	}
	members, err := d.membersIn(ctx, organization, func(a *account) bool { return has(a.policies) })
	if err != nil {
		return nil, err
	}
	for _, a := range members {
		targets = append(targets, OrganizationTarget{ID: a.ID, Account: &a.Account})
	}
	return targets, nil
}

func checkUnitName(name string) error {
	if n := utf8.RuneCountInString(name); n < 1 || n > 128 || !utf8.ValidString(name) {
		return fmt.Errorf("%w: name of an organizational unit %q; it has 1 to 128 characters", ErrInvalid, name)
	}
	return nil
}

// uniqueUnit returns ErrExists if another unit under the same parent has u's
// name, and ErrLimit if there are too many already. Whoever makes one under
// that parent meanwhile changes the parent's record.
func (d *Directory) uniqueUnit(ctx context.Context, u *Unit) error {
	all, err := d.unitsIn(ctx, u.Organization, func(other *Unit) bool { return other.ID != u.ID })
	if err != nil {
		return err
	}
	if slices.ContainsFunc(all, func(other *Unit) bool { return other.Parent == u.Parent && other.Name == u.Name }) {
		return &Error{ErrExists, "An OU with the same name already exists."}
	}
	if len(all) >= MaxUnits {
		return &Error{ErrLimit, "You have exceeded the allowed number of organizational units."}
	}
	return nil
}

// uniqueControl returns ErrExists if another policy of the type has p's name,
// and ErrLimit if there are too many already.
func (d *Directory) uniqueControl(ctx context.Context, p *OrganizationPolicy) error {
	all, err := d.controlsIn(ctx, p.Organization, func(other *OrganizationPolicy) bool { return other.Type == p.Type && other.ID != p.ID })
	if err != nil {
		return err
	}
	aws := func() bool {
		for _, other := range awsControl {
			if other.Type == p.Type && other.Name == p.Name {
				return true
			}
		}
		return false
	}
	if aws() || slices.ContainsFunc(all, func(other *OrganizationPolicy) bool { return other.Name == p.Name }) {
		return &Error{ErrExists, "A policy with the same name already exists."}
	}
	most := MaxServiceControlPolicies
	if p.Type == ResourceControlPolicy {
		most = MaxResourceControlPolicies
	}
	if len(all) >= most {
		return &Error{ErrLimit, "You have exceeded the allowed number of policies."}
	}
	return nil
}

// RenameUnit gives a unit another name. Errors: ErrNotFound, ErrExists (another
// under its parent has the name), ErrInvalid.
func (d *Directory) RenameUnit(ctx context.Context, organization, id, name string) error {
	if err := checkUnitName(name); err != nil {
		return err
	}
	return d.retry(ctx, func() error {
		o, orgRec, err := d.loadOrganization(ctx, organization)
		if err != nil {
			return err
		}
		u, rec, err := d.loadUnit(ctx, organization, id)
		if err != nil || u.Name == name {
			return err
		}
		next := *u
		next.Name = name
		if err := d.uniqueUnit(ctx, &next); err != nil {
			return err
		}
		tx := d.rs.Begin()
		if err := d.hold(ctx, tx, o, orgRec, u.Parent, false); err != nil {
			return err
		}
		tx.Put(rec, next.encode())
		return d.commit(ctx, tx, "renaming organizational unit "+id)
	})
}

// DeleteUnit deletes an organizational unit in which there is nothing. Errors:
// ErrNotFound, ErrConflict.
func (d *Directory) DeleteUnit(ctx context.Context, organization, id string) error {
	return d.retry(ctx, func() error {
		_, rec, err := d.loadUnit(ctx, organization, id)
		if err != nil {
			return err
		}
		units, err := d.unitsIn(ctx, organization, func(u *Unit) bool { return u.Parent == id })
		if err != nil {
			return err
		}
		members, err := d.membersIn(ctx, organization, func(a *account) bool { return a.Parent == id })
		if err != nil {
			return err
		}
		if len(units) > 0 || len(members) > 0 {
			return &Error{ErrConflict, "The organizational unit is not empty."}
		}
		tx := d.rs.Begin()
		tx.Delete(rec)
		return d.commit(ctx, tx, "deleting organizational unit "+id)
	})
}

// DeleteOrganizationPolicy deletes a policy that is attached to nothing. Errors:
// ErrNotFound, ErrConflict, ErrUnmodifiable.
func (d *Directory) DeleteOrganizationPolicy(ctx context.Context, organization, id string) error {
	return d.retry(ctx, func() error {
		p, rec, err := d.loadControl(ctx, organization, id)
		if err != nil {
			return err
		}
		if p.AWSManaged {
			return &Error{ErrUnmodifiable, "Policy " + id + " is AWS's and cannot be deleted."}
		}
		o, _, err := d.loadOrganization(ctx, organization)
		if err != nil {
			return err
		}
		// Of a type that is not enabled, too: nothing may refer to what is gone.
		used := slices.Contains(o.Policies, id)
		if !used {
			units, err := d.unitsIn(ctx, organization, func(u *Unit) bool { return slices.Contains(u.Policies, id) })
			if err != nil {
				return err
			}
			members, err := d.membersIn(ctx, organization, func(a *account) bool { return slices.Contains(a.policies, id) })
			if err != nil {
				return err
			}
			used = len(units) > 0 || len(members) > 0
		}
		if used {
			return &Error{ErrConflict, "The policy is attached to one or more entities. You must detach it from all roots, OUs, and accounts before performing this operation."}
		}
		tx := d.rs.Begin()
		tx.Delete(rec)
		return d.commit(ctx, tx, "deleting policy "+id)
	})
}

// EnablePolicyType enables a type of policy in an organization's root: policies
// of the type count from now on. What was attached before it was last disabled
// is not any more; FullAWSAccess is, to everything, if the type is that of SCPs.
// Errors: ErrNotFound, ErrInvalid, ErrExists if it is enabled.
func (d *Directory) EnablePolicyType(ctx context.Context, organization string, t OrganizationPolicyType) error {
	if err := t.check(); err != nil {
		return err
	}
	return d.retry(ctx, func() error {
		o, rec, err := d.loadOrganization(ctx, organization)
		if err != nil {
			return err
		}
		if slices.Contains(o.Types, t) {
			return &Error{ErrExists, "The specified policy type is already enabled."}
		}
		// While nothing of it counts. Whoever enables the type meanwhile changes
		// the organization's record.
		if err := d.clearAttached(ctx, o, &rec, t); err != nil {
			return err
		}
		next := *o
		next.Types = append(slices.Clone(o.Types), t)
		slices.Sort(next.Types)
		tx := d.rs.Begin()
		tx.Put(rec, next.encode())
		return d.commit(ctx, tx, "enabling a type of policy in organization "+o.ID)
	})
}

// DisablePolicyType disables a type of policy in an organization's root, and
// detaches what is attached of it. Errors: ErrNotFound, ErrInvalid, ErrConflict
// if it is not enabled.
func (d *Directory) DisablePolicyType(ctx context.Context, organization string, t OrganizationPolicyType) error {
	if err := t.check(); err != nil {
		return err
	}
	err := d.retry(ctx, func() error {
		o, rec, err := d.loadOrganization(ctx, organization)
		if err != nil {
			return err
		}
		at := slices.Index(o.Types, t)
		if at < 0 {
			return &Error{ErrConflict, "This operation can be performed only for enabled policy types."}
		}
		next := *o
		next.Types = slices.Delete(slices.Clone(o.Types), at, at+1)
		tx := d.rs.Begin()
		tx.Put(rec, next.encode())
		return d.commit(ctx, tx, "disabling a type of policy in organization "+o.ID)
	})
	if err != nil {
		return err
	}
	// What this does not come to, enabling the type again does.
	return d.retry(ctx, func() error {
		o, rec, err := d.loadOrganization(ctx, organization)
		if errors.Is(err, ErrNotFound) || err == nil && slices.Contains(o.Types, t) {
			return nil
		}
		if err != nil {
			return err
		}
		return d.clearAttached(ctx, o, &rec, t)
	})
}

// clearAttached detaches all policies of a type that is not enabled, but for
// FullAWSAccess. Rec is the organization's record, and what it becomes.
func (d *Directory) clearAttached(ctx context.Context, o *Organization, rec *record.Record, t OrganizationPolicyType) error {
	own, err := d.controlsIn(ctx, o.ID, func(p *OrganizationPolicy) bool { return p.Type == t })
	if err != nil {
		return err
	}
	of := make(map[string]bool, len(own))
	for _, p := range own {
		of[p.ID] = true
	}
	cleared := func(list []string) ([]string, bool) {
		next := slices.DeleteFunc(slices.Clone(list), func(id string) bool { return of[id] })
		if t == ServiceControlPolicy && !slices.Contains(next, FullAWSAccess) {
			next = slices.Insert(next, 0, FullAWSAccess)
		}
		return next, !slices.Equal(next, list)
	}
	units, err := d.unitsIn(ctx, o.ID, func(u *Unit) bool { _, stale := cleared(u.Policies); return stale })
	if err != nil {
		return err
	}
	for _, u := range units {
		if err := d.clearTarget(ctx, o.ID, u.ID, *rec, cleared); err != nil {
			return err
		}
	}
	members, err := d.membersIn(ctx, o.ID, func(a *account) bool { _, stale := cleared(a.policies); return stale })
	if err != nil {
		return err
	}
	for _, a := range members {
		if err := d.clearTarget(ctx, o.ID, a.ID, *rec, cleared); err != nil {
			return err
		}
	}
	next, stale := cleared(o.Policies)
	if !stale {
		return nil
	}
	o.Policies = next
	tx := d.rs.Begin()
	tx.Put(*rec, o.encode())
	if err := d.commit(ctx, tx, "detaching policies in organization "+o.ID); err != nil {
		return err
	}
	now, after, err := d.loadOrganization(ctx, o.ID)
	if err != nil {
		return err
	}
	*o, *rec = *now, after
	if slices.Contains(o.Types, t) {
		return fmt.Errorf("detaching policies in organization %s: %w", o.ID, record.ErrConflict)
	}
	return nil
}

// clearTarget is clearAttached of a unit or account.
func (d *Directory) clearTarget(ctx context.Context, organization, id string, orgRec record.Record, cleared func([]string) ([]string, bool)) error {
	tx := d.rs.Begin()
	tx.Check(orgRec)
	if arn.IsAccount(id) {
		a, rec, err := d.loadAccount(ctx, id)
		if err != nil {
			return err
		}
		next := *a
		next.policies, _ = cleared(a.policies)
		if a.Organization != organization {
			return nil
		}
		tx.Put(rec, next.encode())
	} else {
		u, rec, err := d.loadUnit(ctx, organization, id)
		if errors.Is(err, ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		next := *u
		next.Policies, _ = cleared(u.Policies)
		tx.Put(rec, next.encode())
	}
	return d.commit(ctx, tx, "detaching policies from "+id)
}

// DeleteOrganization deletes an organization in which there is no account but
// the management account, with its units and policies. Errors: ErrNotFound,
// ErrConflict.
func (d *Directory) DeleteOrganization(ctx context.Context, id string) error {
	err := d.retry(ctx, func() error {
		o, rec, err := d.loadOrganization(ctx, id)
		if err != nil {
			return err
		}
		members, err := d.membersIn(ctx, id, func(a *account) bool { return a.ID != o.Master })
		if err != nil {
			return err
		}
		if len(members) > 0 {
			return &Error{ErrConflict, "To delete an organization you must first remove all member accounts (except the master)."}
		}
		tx := d.rs.Begin()
		tx.Delete(rec)
		master, at, err := d.loadAccount(ctx, o.Master)
		if err != nil {
			return err
		}
		if master.Organization == id {
			next := *master
			next.leave()
			tx.Put(at, next.encode())
		}
		return d.commit(ctx, tx, "deleting organization "+id)
	})
	if err != nil {
		return err
	}
	// Nothing refers to the rest any more.
	for _, rest := range []struct {
		kind   record.Kind
		prefix string
	}{{record.KindUnit, unitPrefix}, {record.KindOrgPolicy, orgPolicyPrefix}, {record.KindAccountRequest, requestPrefix}, {record.KindAccountDue, duePrefix}} {
		if err := d.sweep(ctx, rest.kind, rest.prefix+id+"/"); err != nil {
			d.log.Warn("a part of an organization that was deleted stays in the store", "organization", id, "cause", err)
		}
	}
	return nil
}

// leave takes an account out of its organization.
func (a *account) leave() {
	a.Organization, a.Parent, a.policies, a.Made, a.Tags = "", "", nil, false, nil
	a.Joined = Account{}.Joined
}

// sweep deletes all records under a prefix.
func (d *Directory) sweep(ctx context.Context, kind record.Kind, prefix string) error {
	after := ""
	for {
		found, err := d.rs.List(ctx, kind, prefix, after, 100)
		if err != nil || len(found) == 0 {
			return err
		}
		tx := d.rs.Begin()
		for _, f := range found {
			after = f.Key
			clear(f.Value)
			tx.Delete(f.Record)
		}
		if _, err := tx.Commit(ctx); err != nil {
			return err
		}
	}
}

// MoveAccount puts an account of an organization from one root or unit under
// another. What is attached to it stays. Errors: ErrNotFound, ErrConflict if it
// is not where it is to be moved from.
func (d *Directory) MoveAccount(ctx context.Context, organization, id, from, to string) error {
	return d.retry(ctx, func() error {
		o, orgRec, err := d.loadOrganization(ctx, organization)
		if err != nil {
			return err
		}
		a, rec, err := d.member(ctx, organization, id)
		if err != nil {
			return err
		}
		if a.Parent != from {
			return &Error{ErrConflict, "Account " + id + " is not in " + from + "."}
		}
		tx := d.rs.Begin()
		if err := d.hold(ctx, tx, o, orgRec, to, false); err != nil {
			return err
		}
		next := *a
		next.Parent = to
		tx.Put(rec, next.encode())
		return d.commit(ctx, tx, "moving account "+id)
	})
}

// member reads an account of an organization.
func (d *Directory) member(ctx context.Context, organization, id string) (*account, record.Record, error) {
	a, rec, err := d.loadAccount(ctx, id)
	if err == nil && (organization == "" || a.Organization != organization) {
		err = fmt.Errorf("%w: account %s in organization %s", ErrNotFound, id, organization)
	}
	return a, rec, err
}

// RemoveAccount takes an account out of an organization, with all that is
// attached to it there; it goes on alone. Errors: ErrNotFound, ErrConflict for
// the management account.
func (d *Directory) RemoveAccount(ctx context.Context, organization, id string) error {
	return d.changeMember(ctx, organization, id, func(a *account) error {
		a.leave()
		return nil
	})
}

// CloseAccount closes an account of an organization: nobody in it can do
// anything from then on, and it stays a member. Errors: ErrNotFound, ErrExists
// if it is closed, ErrConflict for the management account, and for the
// operator's.
func (d *Directory) CloseAccount(ctx context.Context, organization, id string) error {
	return d.changeMember(ctx, organization, id, func(a *account) error {
		switch {
		case a.Management:
			return &Error{ErrConflict, "The operator's account cannot be closed."}
		case !a.Closed.IsZero():
			return &Error{ErrExists, "The provided account is already closed."}
		}
		a.Closed = d.stamp()
		return nil
	})
}

// changeMember changes an account of an organization that is not its management
// account.
func (d *Directory) changeMember(ctx context.Context, organization, id string, change func(*account) error) error {
	return d.retry(ctx, func() error {
		o, orgRec, err := d.loadOrganization(ctx, organization)
		if err != nil {
			return err
		}
		a, rec, err := d.member(ctx, organization, id)
		if err != nil {
			return err
		}
		if id == o.Master {
			return &Error{ErrConflict, "The management account stays in its organization."}
		}
		next := *a
		if err := change(&next); err != nil {
			return err
		}
		tx := d.rs.Begin()
		tx.Check(orgRec)
		tx.Put(rec, next.encode())
		return d.commit(ctx, tx, "changing account "+id)
	})
}

// OrganizationTags returns the tags of a root, unit, account or policy of an
// organization. Errors: ErrNotFound.
func (d *Directory) OrganizationTags(ctx context.Context, organization, id string) ([]Tag, error) {
	if organizationPolicyID.MatchString(id) || awsControl[id] != nil {
		p, _, err := d.loadControl(ctx, organization, id)
		if err != nil {
			return nil, err
		}
		return p.Tags, nil
	}
	t, _, err := d.target(ctx, organization, id, nil)
	if err != nil {
		return nil, err
	}
	return *t.tags(), nil
}

// TagOrganization gives a root, unit, account or policy of an organization tags.
// Errors: ErrNotFound, ErrInvalid, ErrLimit, ErrUnmodifiable (a policy of AWS).
func (d *Directory) TagOrganization(ctx context.Context, organization, id string, tags []Tag) error {
	if err := CheckTags(tags); err != nil {
		return err
	}
	return d.changeTags(ctx, organization, id, func(have []Tag) ([]Tag, error) { return addTags(have, tags) })
}

// UntagOrganization takes tags away, as far as they are there. Errors:
// ErrNotFound, ErrUnmodifiable.
func (d *Directory) UntagOrganization(ctx context.Context, organization, id string, keys []string) error {
	return d.changeTags(ctx, organization, id, func(have []Tag) ([]Tag, error) { return removeTags(have, keys), nil })
}

func (d *Directory) changeTags(ctx context.Context, organization, id string, change func([]Tag) ([]Tag, error)) error {
	if !organizationPolicyID.MatchString(id) && awsControl[id] == nil {
		return d.changeTarget(ctx, organization, id, func(_ *record.Tx, t *target) (bool, error) {
			next, err := change(*t.tags())
			*t.tags() = next
			return err == nil, err
		})
	}
	return d.retry(ctx, func() error {
		o, _, err := d.loadOrganization(ctx, organization)
		if err != nil {
			return err
		}
		p, rec, err := d.loadControl(ctx, organization, id)
		if err != nil {
			return err
		}
		if p.AWSManaged {
			return &Error{ErrUnmodifiable, "Policy " + id + " is AWS's and cannot be changed."}
		}
		next := *p
		if next.Tags, err = change(p.Tags); err != nil {
			return err
		}
		tx := d.rs.Begin()
		tx.Put(rec, next.encode(o.Master))
		return d.commit(ctx, tx, "changing the tags of policy "+id)
	})
}
