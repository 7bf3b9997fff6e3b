package identity

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/keyreeve/keyreeve/internal/arn"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/record"
	"github.com/keyreeve/keyreeve/internal/sigv4"
	"github.com/keyreeve/keyreeve/policy"
)

// A principal is composed of many records: of a user, its groups, the policies
// attached to them, the account and its organization. It is composed once, and
// again when one of those records may have changed, which moments tell: each
// account has a counter that rises with every change of its records (it shares
// it with other accounts, at worst), and all accounts have another.

// slots is the number of counters of accounts.
const slots = 1024

// moments count changes of records.
type moments struct {
	whole    atomic.Uint64
	accounts [slots]atomic.Uint64
}

// moment is a state of an account's records.
type moment struct {
	slot    *atomic.Uint64
	account uint64
	whole   uint64
}

func (m *moments) slot(account string) *atomic.Uint64 {
	h := uint32(2166136261) // FNV-1a
	for i := range len(account) {
		h = (h ^ uint32(account[i])) * 16777619
	}
	return &m.accounts[h%slots]
}

// moment returns the state that an account's records have now, for what is
// read of them after.
func (m *moments) moment(account string) moment {
	slot := m.slot(account)
	return moment{slot, slot.Load(), m.whole.Load()}
}

// changed notes that the record at a storage key has changed, or any record if
// it is empty. The caches have let go of it.
func (d *Directory) changed(key string) {
	for _, prefix := range [...]string{accountPrefix, userPrefix, groupPrefix, rolePrefix, policyPrefix} {
		if rest, ok := strings.CutPrefix(key, prefix); ok {
			d.slot(rest[:min(len(rest), 12)]).Add(1)
			return
		}
	}
	switch {
	case key == "":
		d.whole.Add(1)
		d.sessions.clear()
	case strings.HasPrefix(key, orgPrefix), strings.HasPrefix(key, unitPrefix), strings.HasPrefix(key, orgPolicyPrefix):
		d.whole.Add(1)
	}
}

// lasts reports whether a state is still that of the account's records, as far
// as is known, which is known well enough.
func (d *Directory) lasts(m moment) bool {
	return m.account == m.slot.Load() && m.whole == d.whole.Load() && d.rs.Fresh()
}

// bound is the principal of an access key or session, at a moment.
type bound struct {
	at        moment
	principal *call.Principal
}

// accessKey is an access key as it is cached.
type accessKey struct {
	AccessKey
	signs *sigv4.Key
	bound atomic.Pointer[bound]
}

func cacheAccessKey(rec record.Record) (*accessKey, error) {
	k, err := decodeAccessKey(rec)
	if err != nil {
		return nil, err
	}
	return &accessKey{AccessKey: *k, signs: sigv4.NewKey(k.Secret)}, nil
}

// cachedAccount, cachedEntity and cachedPolicy are records as they are cached:
// with their policies compiled.
type (
	cachedAccount struct {
		*account
		closed []string // Regions that it has not enabled
		place  atomic.Pointer[placed]
	}
	cachedEntity struct {
		*entity
		inline []call.Attached
	}
	cachedPolicy struct {
		*managed
		call.Attached // the default version
	}
)

// placed is the place of an account in its organization, at a moment.
type placed struct {
	at           moment
	organization *call.Organization
}

func (d *Directory) cacheAccount(rec record.Record) (*cachedAccount, error) {
	a, err := decodeAccount(rec)
	if err != nil {
		return nil, err
	}
	return &cachedAccount{account: a, closed: d.closed(&a.Account)}, nil
}

func (d *Directory) cacheEntity(kind EntityKind) func(record.Record) (*cachedEntity, error) {
	decode := decodeEntity(kind)
	return func(rec record.Record) (*cachedEntity, error) {
		e, err := decode(rec)
		if err != nil {
			return nil, err
		}
		c := &cachedEntity{entity: e}
		for _, p := range e.inline {
			inline := d.attached("", p.Name, p.Value, policy.Identity)
			inline.Of = e.arn()
			c.inline = append(c.inline, inline)
		}
		return c, nil
	}
}

func (d *Directory) cachePolicy(rec record.Record) (*cachedPolicy, error) {
	p, err := decodeManaged(rec)
	if err != nil {
		return nil, err
	}
	return &cachedPolicy{p, d.attached(p.arn(), p.name, p.document(), policy.Identity)}, nil
}

// Credential returns who signs with an access key, and the key it signs with.
// Both are shared and not changed. [sigv4.ErrUnrecognizedClient]: there is no
// such access key, it is inactive, its user, role or account has gone, the
// session token is not one or not that of the access key, or a long-term key
// comes with a token or a temporary one without. [sigv4.ErrExpiredToken]: the
// session is over, or was made before all sessions were revoked. Other errors
// are those of the store.
//
// A credential in use costs no read of the store, no lock that others wait for,
// and no allocation. An unknown access key costs a read of the store, if it has
// the form of an id at all; an unknown token costs none.
func (d *Directory) Credential(ctx context.Context, accessKeyID, token string) (*call.Principal, *sigv4.Key, error) {
	if token != "" {
		return d.sessionCredential(ctx, accessKeyID, token)
	}
	if !isAccessKeyID(accessKeyID) {
		return nil, nil, sigv4.ErrUnrecognizedClient
	}
	var buf [len(accessKeyPrefix) + 128]byte
	k, err := d.keys.Get(ctx, append(append(buf[:0], accessKeyPrefix...), accessKeyID...))
	if err != nil {
		return nil, nil, unrecognized(err)
	}
	if !k.Active {
		return nil, nil, sigv4.ErrUnrecognizedClient
	}
	if b := k.bound.Load(); b != nil && d.lasts(b.at) {
		return b.principal, k.signs, nil
	}
	at := d.moment(k.Account)
	p, err := d.composeLongTerm(ctx, k)
	if err != nil {
		return nil, nil, unrecognized(err)
	}
	k.bound.Store(&bound{at, p})
	d.keys.Weigh(accessKeyPrefix + k.ID)
	return p, k.signs, nil
}

// unrecognized turns the absence of a record into the one answer for all that
// is wrong with an access key.
func unrecognized(err error) error {
	if errors.Is(err, record.ErrNotFound) {
		return sigv4.ErrUnrecognizedClient
	}
	return err
}

// composeLongTerm composes the principal of a long-term access key.
func (d *Directory) composeLongTerm(ctx context.Context, k *accessKey) (*call.Principal, error) {
	a, err := d.cachedAccount(ctx, k.Account)
	if err != nil {
		return nil, err
	}
	if k.User == "" {
		if !k.ofRoot(a.account) {
			d.log.Warn("an access key was refused: the root user does not have it", "accessKeyId", k.ID, "account", k.Account)
			return nil, sigv4.ErrUnrecognizedClient
		}
		p, err := d.composeRoot(ctx, a)
		if err != nil {
			return nil, err
		}
		p.AccessKeyID = k.ID
		return p, nil
	}
	u, err := d.cached(ctx, UserEntity, k.Account, k.User)
	if err != nil {
		return nil, err
	}
	if !k.belongsTo(u.entity) {
		d.log.Warn("an access key was refused: its user is gone, and another has the name", "accessKeyId", k.ID, "user", u.arn())
		return nil, sigv4.ErrUnrecognizedClient
	}
	p, err := d.composeUser(ctx, a, u)
	if err != nil {
		return nil, err
	}
	p.AccessKeyID = k.ID
	return p, nil
}

// cachedAccount returns an account in which somebody can do something. Errors:
// record.ErrNotFound, for one that was closed, too.
func (d *Directory) cachedAccount(ctx context.Context, id string) (*cachedAccount, error) {
	a, err := d.accounts.Get(ctx, []byte(accountKey(id)))
	if err == nil && !a.Closed.IsZero() {
		return nil, fmt.Errorf("account %s is closed: %w", id, record.ErrNotFound)
	}
	return a, err
}

func (d *Directory) cached(ctx context.Context, kind EntityKind, account, name string) (*cachedEntity, error) {
	return d.entities[kind].Get(ctx, []byte(named(kinds[kind].prefix, account, name)))
}

// cachedByID returns the entity with a unique id, which may have had this name
// once. Errors: record.ErrNotFound, which is said only once the store says so,
// too.
func (d *Directory) cachedByID(ctx context.Context, kind EntityKind, account, name, id string) (*cachedEntity, error) {
	try := func(name string) (*cachedEntity, error) {
		e, err := d.cached(ctx, kind, account, name)
		if err == nil && e.id != id {
			return nil, record.ErrNotFound
		}
		return e, err
	}
	if name != "" {
		if e, err := try(name); !errors.Is(err, record.ErrNotFound) {
			return e, err
		}
	}
	u, err := d.uniques.Get(ctx, []byte(uniqueKey(id)))
	if err == nil && u.kind == kind && u.account == account {
		if e, err := try(u.name); !errors.Is(err, record.ErrNotFound) {
			return e, err
		}
	}
	if err != nil && !errors.Is(err, record.ErrNotFound) {
		return nil, err
	}
	// What is cached may be from before it was renamed.
	u, err = d.unique(ctx, id)
	if errors.Is(err, ErrNotFound) || err == nil && (u.kind != kind || u.account != account) {
		return nil, record.ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	return try(u.name)
}

func (d *Directory) composeRoot(ctx context.Context, a *cachedAccount) (*call.Principal, error) {
	root := arn.Root(partition, a.ID)
	org, err := d.place(ctx, a)
	return &call.Principal{
		Kind: call.Root, Account: a.ID, ARN: root, ID: a.ID, EntityARN: root, Organization: org, Closed: a.closed,
		Names: policy.Principal{Account: a.ID, Root: true, ARN: root},
	}, err
}

func (d *Directory) composeUser(ctx context.Context, a *cachedAccount, u *cachedEntity) (*call.Principal, error) {
	user := u.arn()
	p := &call.Principal{
		Kind: call.User, Account: u.account, ARN: user, ID: u.id, Name: u.name, EntityARN: user, EntityID: u.id, Tags: u.tags, Closed: a.closed,
		Names: policy.Principal{Account: u.account, ARN: user, ID: u.id},
	}
	return p, d.inherit(ctx, p, a, u)
}

// inherit gives p what it has of a user or role and the account: policies,
// boundary and organization. What restricts it and is missing, or is not what
// it was, leaves it without any permission.
func (d *Directory) inherit(ctx context.Context, p *call.Principal, a *cachedAccount, e *cachedEntity) (err error) {
	if p.Organization, err = d.place(ctx, a); err != nil {
		return err
	}
	in := &p.Policies
	if err := d.collect(ctx, in, e); err != nil {
		return err
	}
	for _, id := range e.groups {
		g, err := d.cachedByID(ctx, GroupEntity, e.account, "", id)
		if d.broken(in, err, "group "+id, e) {
			continue
		}
		if err != nil {
			return err
		}
		if err := d.collect(ctx, in, g); err != nil {
			return err
		}
	}
	if e.boundary.Name != "" {
		b, err := d.managed(ctx, e.boundary)
		if d.broken(in, err, "permissions boundary "+e.boundary.Name, e) {
			return nil
		}
		if err != nil {
			return err
		}
		in.Boundary = &b
		if b.Policy == nil {
			d.broken(in, record.ErrTampered, "permissions boundary "+e.boundary.Name, e)
		}
	}
	return nil
}

// collect adds the inline and attached policies of an entity.
func (d *Directory) collect(ctx context.Context, in *call.Policies, e *cachedEntity) error {
	in.Identity = append(in.Identity, e.inline...)
	for _, ref := range e.attached {
		p, err := d.managed(ctx, ref)
		if d.broken(in, err, "managed policy "+ref.Name, e) {
			continue
		}
		if err != nil {
			return err
		}
		in.Identity = append(in.Identity, p)
	}
	for _, p := range in.Identity {
		if p.Policy == nil {
			d.broken(in, record.ErrTampered, "policy "+p.Name, e)
		}
	}
	return nil
}

// managed returns a managed policy that something refers to. Errors:
// record.ErrNotFound if it is gone, or another has its name.
func (d *Directory) managed(ctx context.Context, ref reference) (call.Attached, error) {
	account, _, name, err := parsePolicyARN(ref.Name)
	if err != nil {
		return call.Attached{}, record.ErrNotFound
	}
	if account == "" {
		if p, ok := d.aws[ref.Name]; ok && awsPolicyID(ref.Name) == ref.Value {
			return p, nil
		}
		return call.Attached{}, record.ErrNotFound
	}
	p, err := d.policies.Get(ctx, []byte(named(policyPrefix, account, name)))
	if err != nil {
		return call.Attached{}, err
	}
	if p.id != ref.Value {
		return call.Attached{}, record.ErrNotFound
	}
	return p.Attached, nil
}

// broken notes that something that e refers to is missing or was altered, if
// err says so.
func (d *Directory) broken(in *call.Policies, err error, what string, e *cachedEntity) bool {
	if !errors.Is(err, record.ErrNotFound) && !errors.Is(err, record.ErrTampered) {
		return false
	}
	if in.Broken == "" {
		in.Broken = what + " of " + e.arn() + " is missing or was altered"
		d.log.Error("everything is denied to a principal: what restricts it is missing or was altered", "principal", e.arn(), "what", what, "cause", err)
	}
	return true
}

// mergeTags returns the tags of an entity, with those of a session in the place
// of the ones with the same key.
func mergeTags(entity, session []Tag) []Tag {
	if len(session) == 0 {
		return entity
	}
	tags := slices.Clone(entity)
	for _, t := range session {
		if i, ok := find(tags, t.Name); ok {
			tags[i] = t
		} else {
			tags = append(tags, t)
		}
	}
	return tags
}
