package identity

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/record"
	"github.com/keyreeve/keyreeve/policy"
)

// Limits. Source: "IAM and AWS STS quotas" in the IAM User Guide; those that
// can be raised there have their default here.
const (
	MaxUsers       = 5000 // of an account
	MaxGroups      = 300  // of an account
	MaxRoles       = 1000 // of an account
	MaxPolicies    = 1500 // customer managed, of an account
	MaxVersions    = 5    // of a managed policy
	MaxAccessKeys  = 2    // of a user
	MaxAttached    = 10   // managed policies of an entity
	MaxMemberships = 10   // groups of a user
	MaxTags        = 50   // of an entity or policy, or of a session

	// Sizes of documents in characters, white space not counted.
	MaxUserInline    = 2048  // all of a user's inline policies together
	MaxGroupInline   = 5120  // likewise
	MaxRoleInline    = 10240 // likewise
	MaxManagedSize   = 6144
	MaxTrustSize     = 2048
	MaxSessionPolicy = 2048 // white space counted

	// maxInlineBytes bounds an entity's inline policies with their white space.
	maxInlineBytes = 512 << 10
)

// reference is a name and what it stands for, such as an ARN and a unique id.
type reference = call.Pair

// entity is the record of a user, group or role. One that was read is shared
// and not changed: change works on a copy.
type entity struct {
	kind     EntityKind
	account  string
	name     string
	path     string
	id       string
	created  time.Time
	tags     []Tag
	inline   []reference // name and text, ordered by name
	attached []reference // ARN and unique id of managed policies
	boundary reference   // likewise; no ARN for none

	accessKeys []string  // of a user: their ids
	groups     []string  // of a user: their unique ids
	notBefore  time.Time // of a user or role

	members int // of a group

	description string // of a role
	maxSession  time.Duration
	trust       string
	trusted     []reference // ARN and unique id of principals that trust names
}

// kinds describes each kind of entity.
var kinds = [...]struct {
	record    record.Kind
	prefix    string // of storage keys
	noun      string // in ARNs and texts
	letters   string // what its unique ids begin with
	longest   int    // name
	most      int    // in an account
	quota     string // as texts name the limit of an account
	policies  string // as texts name the limit of attached policies
	inline    int    // characters in inline policies
	protected bool   // may have a boundary and tags
}{
	UserEntity:  {record.KindUser, userPrefix, "user", "AIDA", 64, MaxUsers, "UsersPerAccount", "PoliciesPerUser", MaxUserInline, true},
	GroupEntity: {record.KindGroup, groupPrefix, "group", "AGPA", 128, MaxGroups, "GroupsPerAccount", "PoliciesPerGroup", MaxGroupInline, false},
	RoleEntity:  {record.KindRole, rolePrefix, "role", "AROA", 64, MaxRoles, "RolesPerAccount", "PoliciesPerRole", MaxRoleInline, true},
}

func (e *entity) key() string { return named(kinds[e.kind].prefix, e.account, e.name) }

func (e *entity) arn() string {
	return "arn:" + partition + ":iam::" + e.account + ":" + kinds[e.kind].noun + e.path + e.name
}

// partition is that of all ARNs of IAM and STS here.
const partition = "aws"

func (e *entity) ref() EntityRef {
	return EntityRef{Entity: Entity{e.kind, e.account, e.name}, ID: e.id, Path: e.path}
}

// clone returns a copy that can be changed.
func (e *entity) clone() *entity {
	c := *e
	c.tags = slices.Clone(e.tags)
	c.inline = slices.Clone(e.inline)
	c.attached = slices.Clone(e.attached)
	c.accessKeys = slices.Clone(e.accessKeys)
	c.groups = slices.Clone(e.groups)
	c.trusted = slices.Clone(e.trusted)
	return &c
}

// names returns the names of references.
func names(list []reference) []string {
	var all []string
	for _, r := range list {
		all = append(all, r.Name)
	}
	return all
}

// Check returns ErrInvalid if e does not name an entity.
func (e Entity) Check() error {
	if e.Kind < UserEntity || e.Kind > RoleEntity {
		return fmt.Errorf("%w: an entity of no kind", ErrInvalid)
	}
	return checkName(kinds[e.Kind].noun, e.Account, e.Name, kinds[e.Kind].longest)
}

func (e Entity) String() string {
	return kinds[e.Kind].noun + " " + e.Name + " of account " + e.Account
}

func (e Entity) notFound() error {
	return &Error{ErrNotFound, "The " + kinds[e.Kind].noun + " with name " + e.Name + " cannot be found."}
}

// entity reads an entity from the store. One of a name that cannot be is not
// found.
func (d *Directory) entity(ctx context.Context, e Entity) (*entity, record.Record, error) {
	if err := e.Check(); err != nil {
		if e.Kind < UserEntity || e.Kind > RoleEntity {
			return nil, record.Record{}, err
		}
		return nil, record.Record{}, e.notFound()
	}
	k := &kinds[e.Kind]
	found, rec, err := read(ctx, d, k.record, named(k.prefix, e.Account, e.Name), e.String(), decodeEntity(e.Kind))
	if errors.Is(err, ErrNotFound) {
		err = e.notFound()
	}
	return found, rec, err
}

// change changes an entity in a transaction, in which f can take more along. If
// f reports that there is nothing to change, nothing is.
func (d *Directory) change(ctx context.Context, e Entity, f func(tx *record.Tx, e *entity) (changed bool, err error)) error {
	return d.retry(ctx, func() error {
		found, rec, err := d.entity(ctx, e)
		if err != nil {
			return err
		}
		tx := d.rs.Begin()
		next := found.clone()
		changed, err := f(tx, next)
		if err != nil || !changed {
			return err
		}
		tx.Put(rec, next.encode())
		return d.commit(ctx, tx, "changing "+e.String())
	})
}

// commit commits; what a failure was about is added.
func (d *Directory) commit(ctx context.Context, tx *record.Tx, what string) error {
	if _, err := tx.Commit(ctx); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// attempts is how often a change is tried while others change the same records.
const attempts = 12

// retry does a change again while others change the same records.
func (d *Directory) retry(ctx context.Context, change func() error) error {
	for try := 1; ; try++ {
		err := change()
		if !errors.Is(err, record.ErrConflict) {
			return err
		}
		if try == attempts {
			return fmt.Errorf("%w: %w", ErrConcurrent, err)
		}
		// For a random time, so that they do not meet again.
		var b [1]byte
		rand.Read(b[:])
		select {
		case <-time.After(time.Duration(b[0]) * (time.Millisecond << min(try, 6)) >> 8):
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ctx.Err(), err)
		}
	}
}

// create makes an entity: its unique id, ARN and time are made. Of e it takes
// all that its kind has but access keys and groups; what it refers to must be
// there.
func (d *Directory) create(ctx context.Context, e *entity) error {
	k := &kinds[e.kind]
	what := Entity{e.kind, e.account, e.name}
	if e.path == "" {
		e.path = "/"
	}
	if err := errors.Join(what.Check(), checkPath(e.path)); err != nil {
		return err
	}
	var err error
	if e.tags, err = addTags(nil, e.tags); err != nil {
		return err
	}
	e.id = newUniqueID(k.letters)
	e.created = d.stamp()
	attach := names(e.attached)
	boundary := e.boundary.Name
	return d.retry(ctx, func() error {
		_, owner, err := d.loadAccount(ctx, e.account)
		if err != nil {
			return err
		}
		if _, _, err := d.entity(ctx, what); err == nil {
			return &Error{ErrExists, strings.ToUpper(k.noun[:1]) + k.noun[1:] + " with name " + e.name + " already exists."}
		} else if !errors.Is(err, ErrNotFound) {
			return err
		}
		if err := d.room(ctx, k.prefix+e.account+"/", k.most, k.quota); err != nil {
			return err
		}
		tx := d.rs.Begin()
		tx.Check(owner)
		refs := d.references(tx)
		e.attached, e.boundary = nil, reference{}
		for _, arn := range attach {
			if err := refs.attach(ctx, e, arn); err != nil {
				return err
			}
		}
		if boundary != "" {
			if err := refs.bound(ctx, e, boundary); err != nil {
				return err
			}
		}
		refs.done()
		tx.Create(k.record, e.key(), e.encode())
		tx.Create(record.KindUnique, uniqueKey(e.id), unique{e.kind, e.account, strings.ToLower(e.name)}.encode())
		return d.commit(ctx, tx, "making "+what.String())
	})
}

// room returns ErrLimit if there are most records under a prefix already. Those
// who make something at the same moment are not counted.
func (d *Directory) room(ctx context.Context, prefix string, most int, quota string) error {
	n, err := d.count(ctx, prefix, most)
	if err != nil {
		return err
	}
	if n >= most {
		return overQuota(quota, most)
	}
	return nil
}

// count counts the records under a prefix, up to most.
func (d *Directory) count(ctx context.Context, prefix string, most int) (int, error) {
	n, after := 0, ""
	for n < most {
		keys, err := d.rs.Keys(ctx, prefix, after, min(1000, most-n))
		if err != nil {
			return 0, err
		}
		n += len(keys)
		if len(keys) < 1000 {
			break
		}
		after = keys[len(keys)-1]
	}
	return n, nil
}

func overQuota(quota string, most int) error {
	return &Error{ErrLimit, fmt.Sprintf("Cannot exceed quota for %s: %d", quota, most)}
}

// rename gives a user or group another name or path. More takes what refers to
// it by its name along.
func (d *Directory) rename(ctx context.Context, e Entity, newName, newPath string, more func(tx *record.Tx, e *entity) error) error {
	target := e
	if newName != "" {
		target.Name = newName
	}
	if err := target.Check(); err != nil {
		return err
	}
	if newPath != "" {
		if err := checkPath(newPath); err != nil {
			return err
		}
	}
	k := &kinds[e.Kind]
	return d.retry(ctx, func() error {
		found, rec, err := d.entity(ctx, e)
		if err != nil {
			return err
		}
		next := found.clone()
		if newName != "" {
			next.name = newName
		}
		if newPath != "" {
			next.path = newPath
		}
		if next.name == found.name && next.path == found.path {
			return nil
		}
		tx := d.rs.Begin()
		if next.key() == found.key() {
			tx.Put(rec, next.encode())
		} else {
			if _, _, err := d.entity(ctx, target); err == nil {
				return &Error{ErrExists, strings.ToUpper(k.noun[:1]) + k.noun[1:] + " with name " + newName + " already exists."}
			} else if !errors.Is(err, ErrNotFound) {
				return err
			}
			_, at, err := read(ctx, d, record.KindUnique, uniqueKey(found.id), "unique id "+found.id, decodeUnique)
			if errors.Is(err, ErrNotFound) {
				// It may have been deleted meanwhile, with the entity.
				if _, now, err := d.entity(ctx, e); err != nil || now.Rev != rec.Rev {
					return record.ErrConflict
				}
			}
			if err != nil {
				return takenAway(err)
			}
			tx.Delete(rec)
			tx.Create(k.record, next.key(), next.encode())
			tx.Put(at, unique{e.Kind, e.Account, strings.ToLower(newName)}.encode())
		}
		if next.name != found.name && more != nil {
			if err := more(tx, next); err != nil {
				return err
			}
		}
		return d.commit(ctx, tx, "renaming "+e.String())
	})
}

// remove deletes an entity that has nothing left which check finds.
func (d *Directory) remove(ctx context.Context, e Entity, check func(*entity) error) error {
	return d.retry(ctx, func() error {
		found, rec, err := d.entity(ctx, e)
		if err != nil {
			return err
		}
		switch {
		case len(found.attached) > 0:
			return &Error{ErrConflict, "Cannot delete entity, must detach all policies first."}
		case len(found.inline) > 0:
			return &Error{ErrConflict, "Cannot delete entity, must delete policies first."}
		}
		if err := check(found); err != nil {
			return err
		}
		tx := d.rs.Begin()
		if e.Kind == UserEntity {
			if list, _, err := d.mfaOwner(ctx, found.id); err != nil {
				return err
			} else if len(list) > 0 {
				return &Error{ErrConflict, "Cannot delete entity, must delete MFA device first."}
			}
			tx.Absent(mfaOwnerKey(found.id))
		}
		if found.boundary.Name != "" {
			refs := d.references(tx)
			if err := refs.unbound(ctx, found.clone()); err != nil {
				return err
			}
			refs.done()
		}
		tx.Delete(rec)
		if found.kind == RoleEntity {
			if err := d.dropUse(ctx, tx, found.account, found.id); err != nil {
				return err
			}
		}
		// Nothing but finding by unique id depends on it: it may be missing.
		at, err := d.rs.Get(ctx, record.KindUnique, uniqueKey(found.id))
		switch {
		case err == nil:
			tx.Delete(at)
		case !errors.Is(err, record.ErrNotFound) && !errors.Is(err, record.ErrTampered):
			return err
		}
		return d.commit(ctx, tx, "deleting "+e.String())
	})
}

// list returns a page of the entities of one kind that keep approves.
func (d *Directory) list(ctx context.Context, kind EntityKind, account string, p Page, keep func(*entity) bool) ([]*entity, string, error) {
	k := &kinds[kind]
	decode := decodeEntity(kind)
	return page(ctx, d, k.record, k.prefix+account+"/", p, func(rec record.Record) (*entity, bool, error) {
		e, err := decode(rec)
		if err != nil {
			return nil, false, err
		}
		return e, strings.HasPrefix(e.path, p.PathPrefix) && (keep == nil || keep(e)), nil
	})
}

// page returns a page of what is under a prefix and the marker of the next
// page. The marker is the last storage key's end. What cannot be read is logged
// and left out.
func page[V any](ctx context.Context, d *Directory, kind record.Kind, prefix string, p Page, use func(record.Record) (V, bool, error)) ([]V, string, error) {
	if p.Limit <= 0 {
		p.Limit = 100
	}
	if len(p.Marker) > 256 {
		return nil, "", &Error{ErrInvalid, "Invalid Marker."}
	}
	after := ""
	if p.Marker != "" {
		after = prefix + p.Marker
	}
	var list []V
	last := ""
	for {
		// One more than wanted tells whether there is more; and some more, for
		// not all may be wanted.
		want := min(max(p.Limit-len(list)+1, 100), 500)
		found, err := d.rs.List(ctx, kind, prefix, after, want)
		if err != nil {
			return nil, "", err
		}
		for _, f := range found {
			after = f.Key
			if f.Err != nil {
				d.log.Error("a record was left out of a list", "key", f.Key, "cause", f.Err)
				continue
			}
			v, ok, err := use(f.Record)
			clear(f.Value)
			if err != nil {
				d.log.Error("a record was left out of a list", "key", f.Key, "cause", err)
				continue
			}
			if !ok {
				continue
			}
			if len(list) == p.Limit {
				return list, last, nil
			}
			list = append(list, v)
			last = strings.TrimPrefix(f.Key, prefix)
		}
		if len(found) < want {
			return list, "", nil
		}
	}
}

// all calls use with every entity of an account.
func (d *Directory) all(ctx context.Context, account string, use func(*entity)) error {
	for kind := UserEntity; kind <= RoleEntity; kind++ {
		marker := ""
		for {
			list, next, err := d.list(ctx, kind, account, Page{Marker: marker, Limit: 1000}, nil)
			if err != nil {
				return err
			}
			for _, e := range list {
				use(e)
			}
			if marker = next; marker == "" {
				break
			}
		}
	}
	return nil
}

// PutInlinePolicy gives an entity an inline policy, or another text for one.
// Names that differ only in case are one. Errors: ErrNotFound, ErrMalformed,
// ErrLimit, ErrInvalid (the name).
func (d *Directory) PutInlinePolicy(ctx context.Context, e Entity, name, document string) error {
	if !isName(name, 128) {
		return &Error{ErrInvalid, "The specified value for policyName is invalid. It must contain only alphanumeric characters and/or the following: +=,.@_-"}
	}
	if _, err := d.parse(document, policy.Identity); err != nil {
		return err
	}
	return d.change(ctx, e, func(_ *record.Tx, e *entity) (bool, error) {
		k := &kinds[e.kind]
		at, found := find(e.inline, name)
		if found && e.inline[at].Value == document {
			return false, nil
		}
		if found {
			e.inline[at].Value = document
		} else {
			e.inline = append(e.inline, reference{Name: name, Value: document})
			slices.SortFunc(e.inline, func(x, y reference) int { return strings.Compare(strings.ToLower(x.Name), strings.ToLower(y.Name)) })
		}
		size, raw := 0, 0
		for _, p := range e.inline {
			size += policy.Size(p.Value)
			raw += len(p.Name) + len(p.Value)
		}
		if size > k.inline || raw > maxInlineBytes {
			return false, &Error{ErrLimit, fmt.Sprintf("Maximum policy size of %d bytes exceeded for %s %s", k.inline, k.noun, e.name)}
		}
		return true, nil
	})
}

// find returns the index of the reference with a name, in whatever case.
func find(list []reference, name string) (int, bool) {
	i := slices.IndexFunc(list, func(r reference) bool { return strings.EqualFold(r.Name, name) })
	return i, i >= 0
}

// InlinePolicy returns the text of an inline policy. Errors: ErrNotFound.
func (d *Directory) InlinePolicy(ctx context.Context, e Entity, name string) (string, error) {
	found, _, err := d.entity(ctx, e)
	if err != nil {
		return "", err
	}
	at, ok := find(found.inline, name)
	if !ok {
		return "", noInline(e, name)
	}
	return found.inline[at].Value, nil
}

func noInline(e Entity, name string) error {
	return &Error{ErrNotFound, "The " + kinds[e.Kind].noun + " policy with name " + name + " cannot be found."}
}

// InlinePolicies returns the names of an entity's inline policies, in order.
func (d *Directory) InlinePolicies(ctx context.Context, e Entity) ([]string, error) {
	found, _, err := d.entity(ctx, e)
	if err != nil {
		return nil, err
	}
	return names(found.inline), nil
}

// DeleteInlinePolicy deletes an inline policy. Errors: ErrNotFound.
func (d *Directory) DeleteInlinePolicy(ctx context.Context, e Entity, name string) error {
	return d.change(ctx, e, func(_ *record.Tx, found *entity) (bool, error) {
		at, ok := find(found.inline, name)
		if !ok {
			return false, noInline(e, name)
		}
		found.inline = slices.Delete(found.inline, at, at+1)
		return true, nil
	})
}

// AttachPolicy attaches a managed policy to an entity of its account, if it is
// not yet. Errors: ErrNotFound, ErrLimit, ErrInvalid (no ARN of a policy).
func (d *Directory) AttachPolicy(ctx context.Context, e Entity, arn string) error {
	return d.change(ctx, e, func(tx *record.Tx, e *entity) (bool, error) {
		before := len(e.attached)
		refs := d.references(tx)
		if err := refs.attach(ctx, e, arn); err != nil {
			return false, err
		}
		refs.done()
		return len(e.attached) > before, nil
	})
}

// DetachPolicy detaches a managed policy; ErrNotFound if it is not attached.
func (d *Directory) DetachPolicy(ctx context.Context, e Entity, arn string) error {
	return d.change(ctx, e, func(tx *record.Tx, e *entity) (bool, error) {
		refs := d.references(tx)
		if err := refs.detach(ctx, e, arn); err != nil {
			return false, err
		}
		refs.done()
		return true, nil
	})
}

// AttachedPolicies returns the managed policies of an entity, in order of their
// attachment.
func (d *Directory) AttachedPolicies(ctx context.Context, e Entity) ([]AttachedPolicy, error) {
	found, _, err := d.entity(ctx, e)
	if err != nil {
		return nil, err
	}
	var list []AttachedPolicy
	for _, p := range found.attached {
		list = append(list, AttachedPolicy{ARN: p.Name, Name: p.Name[strings.LastIndexByte(p.Name, '/')+1:]})
	}
	return list, nil
}

// SetBoundary makes a managed policy the permissions boundary of a user or
// role. Errors: as of AttachPolicy; ErrInvalid for a group.
func (d *Directory) SetBoundary(ctx context.Context, e Entity, arn string) error {
	return d.change(ctx, e, func(tx *record.Tx, e *entity) (bool, error) {
		if !kinds[e.kind].protected {
			return false, fmt.Errorf("%w: a group has no permissions boundary", ErrInvalid)
		}
		if e.boundary.Name == arn {
			return false, nil
		}
		refs := d.references(tx)
		if err := refs.unbound(ctx, e); err != nil {
			return false, err
		}
		if err := refs.bound(ctx, e, arn); err != nil {
			return false, err
		}
		refs.done()
		return true, nil
	})
}

// DeleteBoundary takes the permissions boundary away; no error if there is none.
func (d *Directory) DeleteBoundary(ctx context.Context, e Entity) error {
	return d.change(ctx, e, func(tx *record.Tx, e *entity) (bool, error) {
		if e.boundary.Name == "" {
			return false, nil
		}
		refs := d.references(tx)
		if err := refs.unbound(ctx, e); err != nil {
			return false, err
		}
		refs.done()
		return true, nil
	})
}

// TagEntity gives a user or role tags; keys that differ only in case are one.
// Errors: ErrNotFound, ErrInvalid, ErrLimit.
func (d *Directory) TagEntity(ctx context.Context, e Entity, tags []Tag) error {
	return d.change(ctx, e, func(_ *record.Tx, e *entity) (bool, error) {
		if !kinds[e.kind].protected {
			return false, fmt.Errorf("%w: a group has no tags", ErrInvalid)
		}
		next, err := addTags(e.tags, tags)
		e.tags = next
		return len(tags) > 0, err
	})
}

// UntagEntity takes tags from a user or role; unknown keys are no error.
func (d *Directory) UntagEntity(ctx context.Context, e Entity, keys []string) error {
	return d.change(ctx, e, func(_ *record.Tx, e *entity) (bool, error) {
		before := len(e.tags)
		e.tags = removeTags(e.tags, keys)
		return len(e.tags) < before, nil
	})
}

// RevokeSessions refuses the sessions of a user or role that were made before
// t, from now on. It does not bring back what was refused already.
func (d *Directory) RevokeSessions(ctx context.Context, e Entity, t time.Time) error {
	return d.change(ctx, e, func(_ *record.Tx, e *entity) (bool, error) {
		if e.kind == GroupEntity {
			return false, fmt.Errorf("%w: a group has no sessions", ErrInvalid)
		}
		t = t.UTC().Truncate(time.Millisecond)
		if !t.After(e.notBefore) {
			return false, nil
		}
		e.notBefore = t
		return true, nil
	})
}

// Summary counts what an account has.
func (d *Directory) Summary(ctx context.Context, account string) (Summary, error) {
	a, _, err := d.loadAccount(ctx, account)
	if err != nil {
		return Summary{}, err
	}
	s := Summary{RootAccessKeys: len(a.AccessKeys)}
	counts := map[EntityKind]*int{UserEntity: &s.Users, GroupEntity: &s.Groups, RoleEntity: &s.Roles}
	for kind := range maps.Keys(counts) {
		if *counts[kind], err = d.count(ctx, kinds[kind].prefix+account+"/", 1<<20); err != nil {
			return Summary{}, err
		}
	}
	marker := ""
	for {
		list, next, err := d.customerPolicies(ctx, account, Page{Marker: marker, Limit: 1000})
		if err != nil {
			return Summary{}, err
		}
		s.Policies += len(list)
		for _, p := range list {
			s.PolicyVersions += len(p.versions)
		}
		if marker = next; marker == "" {
			return s, nil
		}
	}
}
