// Package identity knows accounts, users, groups, roles, their policies, access
// keys and sessions, and organizations.
//
// A [Directory] keeps them as sealed records and answers who signs with an
// access key and session token ([Directory.Credential]), with all policies that
// go with the caller compiled. [Directory.Bootstrap] makes the first account,
// its administrator and an access key, once.
//
// # What is missing takes away
//
// Users, groups and roles have unique ids that are never given again. What
// refers to one (an access key, a session, a membership, a principal bound in a
// trust policy) holds its unique id: who is deleted and made anew under the same
// name gets nothing of the namesake's. An access key must be listed by the user
// whose it is.
//
// What restricts somebody is listed in the record that it restricts: inline
// policies stand in the record itself; managed policies, boundaries and
// memberships as references by unique id; service and resource control policies
// in the records of account, units and root. If what is referred to is missing,
// cannot be opened, or is another thing of the same name, everything is denied
// ([call.Policies].Broken). So whoever deletes records underneath can take
// access away, never give it.
//
// # Changes
//
// Every change is one transaction on condition that nothing it was decided on
// has changed: a policy is not deleted while it is being attached, nor a group
// while somebody joins it. What many change at once is tried again, and is
// [ErrConcurrent] in the end.
package identity

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"math/big"
	"strconv"
	"strings"
	"time"

	"github.com/keyreeve/keyreeve/internal/arn"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/record"
	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/policy"
)

// Options are the options of a Directory. The zero value is usable.
type Options struct {
	// Cache is the number of access keys, of users, of roles, … and of sessions
	// that are kept decoded; 10,000 if 0.
	Cache int
	// Memory is how many bytes all of these take together, at most, with their
	// policies compiled: a quarter is for access keys with all that their
	// principals have, a quarter for sessions, a quarter for users, groups and
	// roles, and a quarter for the rest. If it is 0, 2 KiB for each of Cache, and
	// 64 MiB at least.
	Memory int64
	// Now is the clock; time.Now if nil.
	Now func() time.Time
	// Behind reports whether the clock is known to be behind the time that has
	// passed: sessions are refused then, for they could outlive their end. Nil
	// if it never is.
	Behind func() bool
	// OptIn are the Regions that an account must enable before somebody in it
	// can call a service there.
	OptIn []string
	// Home is the Region that the management account can call whether or not it
	// is one of those; none if empty.
	Home string
	// Settled puts on record what has become of a request for an account: it
	// calls commit, which stores that, and the account if there is one, once. The
	// error is that of commit. Nil if there is no record.
	Settled func(ctx context.Context, s AccountSettlement, commit func(context.Context) error) error
	// Log gets what is wrong with records; slog.Default() if nil.
	Log *slog.Logger
}

// Directory is the accounts of an installation and what is in them. Its methods
// may be called concurrently, unless it is a [Directory.View].
type Directory struct {
	*shared
	seen seen // nil if it is no view
}

// shared is what a directory and its views have in common.
type shared struct {
	rs      *record.Store
	now     func() time.Time
	behind  func() bool
	optIn   []string
	home    string
	settled func(context.Context, AccountSettlement, func(context.Context) error) error // nil if nobody is told
	log     *slog.Logger

	accounts *record.Cache[*cachedAccount]
	entities [len(kinds)]*record.Cache[*cachedEntity] // by kind
	policies *record.Cache[*cachedPolicy]
	uniques  *record.Cache[unique]
	keys     *record.Cache[*accessKey]

	organizations *record.Cache[*Organization]
	units         *record.Cache[*Unit]
	controls      *record.Cache[*cachedControl]

	aws      map[string]call.Attached  // AWS's managed policies by ARN
	full     map[string]*cachedControl // those of every organization by id
	compiled compiled
	sessions sessions
	uses     *uses
	moments
}

// Open returns the directory that is kept in rs, whose box seals the session
// tokens, too.
func Open(rs *record.Store, o Options) *Directory {
	if o.Cache <= 0 {
		o.Cache = 10000
	}
	if o.Memory <= 0 {
		o.Memory = max(int64(o.Cache)<<11, 64<<20)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Behind == nil {
		o.Behind = func() bool { return false }
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	d := &Directory{shared: &shared{
		rs: rs, now: o.Now, behind: o.Behind, optIn: o.OptIn, home: o.Home, settled: o.Settled, log: o.Log,
		sessions: sessions{seed: maphash.MakeSeed(), room: (o.Cache + sessionShards - 1) / sessionShards, bytes: int(o.Memory / 4 / sessionShards)},
		uses:     newUses(),
		aws:      make(map[string]call.Attached),
		full:     make(map[string]*cachedControl),
	}}
	for arn, p := range awsManaged {
		d.aws[arn] = d.attached(arn, p.name, p.document(), policy.Identity)
	}
	for id, p := range awsControl {
		d.full[id] = d.control(p)
	}
	part := o.Memory / 16
	d.accounts = record.NewCache(rs, record.KindAccount, accountPrefix, limit(o.Cache, part, (*cachedAccount).cost), d.cacheAccount, nil)
	for kind := UserEntity; kind <= RoleEntity; kind++ {
		d.entities[kind] = record.NewCache(rs, kinds[kind].record, kinds[kind].prefix, limit(o.Cache, o.Memory/12, (*cachedEntity).cost), d.cacheEntity(kind), nil)
	}
	d.policies = record.NewCache(rs, record.KindPolicy, policyPrefix, limit(o.Cache, part, (*cachedPolicy).cost), d.cachePolicy, nil)
	d.uniques = record.NewCache(rs, record.KindUnique, uniquePrefix, limit(o.Cache, part/4, unique.cost), decodeUnique, nil)
	d.keys = record.NewCache(rs, record.KindAccessKey, accessKeyPrefix, limit(o.Cache, o.Memory/4, (*accessKey).cost), cacheAccessKey, nil)
	d.organizations = record.NewCache(rs, record.KindOrganization, orgPrefix, limit(o.Cache, part/4, (*Organization).cost), decodeOrganization, nil)
	d.units = record.NewCache(rs, record.KindUnit, unitPrefix, limit(o.Cache, part/2, (*Unit).cost), decodeUnit, nil)
	d.controls = record.NewCache(rs, record.KindOrgPolicy, orgPolicyPrefix, limit(o.Cache, part, (*cachedControl).cost), d.cacheControl, nil)
	// After the caches, which are to have let go of a record before it is said
	// to have changed.
	rs.OnChange(d.changed)
	return d
}

// account is the record of an account.
type account struct {
	Account
	policies []string // ids of the organization's policies attached to it
}

// Check returns what is wrong with the account's fields, an ErrInvalid.
func (a *Account) Check() error {
	if !arn.IsAccount(a.ID) {
		return fmt.Errorf("%w: account id %q is not 12 digits", ErrInvalid, a.ID)
	}
	if n := len([]rune(a.Name)); n > 50 || strings.IndexFunc(a.Name, func(r rune) bool { return !strconv.IsPrint(r) }) >= 0 {
		return fmt.Errorf("%w: an account's name has up to 50 printable characters", ErrInvalid)
	}
	return nil
}

// CreateAccount makes an account of a's id, name and whether it is the
// management account. Its id is random if it is not given, and the time is now.
// Errors: ErrExists, ErrInvalid.
func (d *Directory) CreateAccount(ctx context.Context, a Account) (Account, error) {
	a = Account{ID: a.ID, Name: a.Name, Management: a.Management, Created: d.stamp()}
	if a.ID == "" {
		a.ID = NewAccountID()
	}
	if err := a.Check(); err != nil {
		return Account{}, err
	}
	tx := d.rs.Begin()
	tx.Create(record.KindAccount, accountKey(a.ID), (&account{Account: a}).encode())
	_, err := tx.Commit(ctx)
	if errors.Is(err, record.ErrConflict) {
		return Account{}, fmt.Errorf("%w: account %s", ErrExists, a.ID)
	}
	if err != nil {
		return Account{}, fmt.Errorf("making account %s: %w", a.ID, err)
	}
	return a, nil
}

// Account returns an account, or ErrNotFound.
func (d *Directory) Account(ctx context.Context, id string) (Account, error) {
	a, _, err := d.loadAccount(ctx, id)
	if err != nil {
		return Account{}, err
	}
	return a.Account, nil
}

func (d *Directory) loadAccount(ctx context.Context, id string) (*account, record.Record, error) {
	if !arn.IsAccount(id) {
		return nil, record.Record{}, fmt.Errorf("%w: account %q", ErrNotFound, id)
	}
	return read(ctx, d, record.KindAccount, accountKey(id), "account "+id, decodeAccount)
}

// RevokeAccountSessions refuses the sessions of an account's users, roles and
// root user that were made before t, from now on. It does not bring back what
// was refused already.
func (d *Directory) RevokeAccountSessions(ctx context.Context, id string, t time.Time) error {
	return d.retry(ctx, func() error {
		a, rec, err := d.loadAccount(ctx, id)
		if err != nil {
			return err
		}
		t = t.UTC().Truncate(time.Millisecond)
		if !t.After(a.NotBefore) {
			return nil
		}
		next := *a
		next.NotBefore = t
		tx := d.rs.Begin()
		tx.Put(rec, next.encode())
		return d.commit(ctx, tx, "changing account "+id)
	})
}

// load reads and decodes a record, and wipes the bytes it was decoded from: the
// record that it returns has no value.
func load[V any](ctx context.Context, rs *record.Store, kind record.Kind, key, what string, decode func(record.Record) (V, error)) (V, record.Record, error) {
	var zero V
	rec, err := rs.Get(ctx, kind, key)
	if errors.Is(err, record.ErrNotFound) {
		return zero, record.Record{}, fmt.Errorf("%w: %s", ErrNotFound, what)
	}
	if err != nil {
		return zero, record.Record{}, fmt.Errorf("reading %s: %w", what, err)
	}
	v, err := decode(rec)
	clear(rec.Value)
	rec.Value = nil
	if err != nil {
		return zero, record.Record{}, fmt.Errorf("reading %s: %w", what, err)
	}
	return v, rec, nil
}

// stamp returns the time as records keep it.
func (d *Directory) stamp() time.Time { return d.now().UTC().Truncate(time.Millisecond) }

// NewAccountID returns a random account id. It does not begin with a zero, so
// that nothing takes it for another number.
func NewAccountID() string {
	n, err := rand.Int(rand.Reader, big.NewInt(9e11))
	if err != nil {
		panic(err) // crypto/rand does not fail
	}
	return strconv.FormatInt(1e11+n.Int64(), 10)
}

// newUniqueID returns a unique id: four letters that say of what, and 17
// characters.
func newUniqueID(letters string) string {
	b := make([]byte, 11)
	rand.Read(b)
	return letters + base32.StdEncoding.EncodeToString(b)[:17]
}

// newAccessKeyID returns an access key id: AKIA or ASIA and 16 characters, which
// are 80 bits: a one, 40 bits with the account, and what is random, as in AWS's.
func newAccessKeyID(letters, account string) string {
	n, _ := strconv.ParseUint(account, 10, 64) // 12 digits
	b := make([]byte, 10)
	rand.Read(b)
	random := uint64(b[5] & 0x7f)
	var head [8]byte
	binary.BigEndian.PutUint64(head[:], 1<<47|n<<7|random)
	copy(b, head[2:])
	return letters + base32.StdEncoding.EncodeToString(b)
}

// newSecretAccessKey returns 40 characters with 240 random bits.
func newSecretAccessKey() secret.Bytes {
	b := make([]byte, 30)
	rand.Read(b)
	defer clear(b)
	return secret.New(base64.StdEncoding.AppendEncode(nil, b))
}
