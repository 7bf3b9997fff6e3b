// Package keyring keeps keys sealed and uses them only under a permit.
//
// A [Ring] finds a key by its id, alias or ciphertext ([Ring.Find],
// [Ring.FindAlias], [Inspect]): enough to ask package authz for a decision on
// its [Subject.Resource]. [Ring.Open] then wants the permit: for this call,
// this key at this revision, and an action that stands in the table of
// actions.go, which also says in what states of the key the action may be done
// and what may be done with the [Key] that comes back. A method that the
// permit's action does not stand for returns [authz.ErrNoPermit].
//
// A key that changes between decision and use, or under a change of its own,
// gives [ErrStale]: find it and decide again. [Attempt] is the loop for that.
//
// A key has a policy (policy.go), compiled once for all keys with the same text,
// and grants (grant.go), which are records of their own. Subject.Resource brings
// both along, so that a decision about a key that is cached reads no store.
//
// What is stored is sealed by package record; key material is sealed once more,
// as a token bound to the key's ARN and the id of the material. In memory,
// material of symmetric and HMAC keys lies in locked memory (package seal) and
// is wiped when it has not been used for a while, and at once when the key is
// disabled, scheduled for deletion, or the ring is closed. Parsed private keys
// of asymmetric keys lie on Go's heap, where they can be dropped but not
// reliably wiped.
package keyring

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/keyreeve/keyreeve/internal/arn"
	"github.com/keyreeve/keyreeve/internal/authz"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/record"
	"github.com/keyreeve/keyreeve/internal/seal"
	"github.com/keyreeve/keyreeve/internal/store"
	"github.com/keyreeve/keyreeve/policy"
)

// MaxTags is the largest number of tags of a key.
const MaxTags = 50

// MaxAliases is the largest number of aliases of a key.
const MaxAliases = 50

// Metadata is everything about a key but its material. A Metadata that the ring
// hands out is shared and never changed.
type Metadata struct {
	Account     string // owner, 12 digits
	Region      string
	ID          string // UUID in lower case
	ARN         string
	Spec        Spec
	Usage       Usage
	State       State
	Description string
	Tags        []Tag     // in the order in which they were first set
	Policy      string    // the key policy's text; its name is PolicyName
	Bindings    []Binding // who the policy names, sorted by ARN
	Created     time.Time // UTC, as all times here, to the millisecond
	Deletion    time.Time // when the key will be destroyed; zero unless PendingDeletion
	Origin      Origin
	MaterialID  string       // of the current material, 64 hex digits; AWS shows that of symmetric keys only; empty if none was imported yet
	Materials   []Material   // all of the key, the oldest first; nil if there is one, and it was made here
	Rotation    Rotation     // of the material
	MultiRegion *MultiRegion // nil for a single-Region key
	PublicKey   []byte       // SubjectPublicKeyInfo in DER; nil unless asymmetric
	Aliases     int          // number of aliases
	aliasNames  []string     // of all of them, sorted; nil in a record from before it had them
	grantees    grantees     // the kinds of grantee that the key's grants have had
	Revision    int64        // of the record, as in authz.Resource
}

// Tag is a tag of a key.
type Tag struct{ Key, Value string }

// Subject is a key that was found, before anybody was allowed anything: it
// says who it is, so that authorization can be decided, and no more.
//
// It stands for one revision of the key's record, and is what the record cache
// holds; opened material hangs on it (material.go).
type Subject struct {
	m          Metadata
	generation uint64 // of the record
	id         identity
	ring       *Ring
	policy     *policy.Policy // nil if it does not compile, which denies

	names   atomic.Pointer[[]string] // of the key's aliases; nil: there are none, or not known yet
	gone    atomic.Bool              // the cache has let go of it
	current cell                     // for the current material
	old     []cell                   // for all other material
	public  atomic.Pointer[publicKey]
}

// ARN returns the key's ARN.
func (s *Subject) ARN() string { return s.m.ARN }

// ID returns the key id.
func (s *Subject) ID() string { return s.m.ID }

// Account returns the account that owns the key.
func (s *Subject) Account() string { return s.m.Account }

// Region returns the key's Region.
func (s *Subject) Region() string { return s.m.Region }

// Revision returns the revision of the key's record.
func (s *Subject) Revision() int64 { return s.m.Revision }

// Resource returns what authorization is asked about.
func (s *Subject) Resource() authz.Resource {
	r := authz.Resource{ARN: s.m.ARN, Account: s.m.Account, Revision: s.m.Revision, Policy: s.policy, Values: (*values)(s)}
	if s.m.grantees != 0 {
		r.Grants = (*grants)(s)
	}
	return r
}

// record returns the key's record without its value, as a transaction needs it.
func (s *Subject) record() record.Record {
	return record.Record{
		Kind:       record.KindKey,
		Key:        keyKey(s.m.Account, s.m.Region, s.m.ID),
		Rev:        store.Rev(s.m.Revision),
		Generation: s.generation,
	}
}

// newSubject decodes the record of a key.
func (r *Ring) newSubject(rec record.Record) (*Subject, error) {
	s := &Subject{generation: rec.Generation, ring: r}
	if err := decodeKey(&s.m, rec.Key, rec.Value); err != nil {
		return nil, err
	}
	s.m.Revision = int64(rec.Rev)
	var ok bool
	if s.id, ok = newIdentity(s.m.Account, s.m.ID, cmp.Or(s.m.MaterialID, zeroMaterialID)); !ok {
		return nil, fmt.Errorf("%w: key", errRecord)
	}
	s.current.id = s.m.MaterialID
	if n := len(s.m.Materials); n > 1 {
		s.old = make([]cell, 0, n-1)
		for _, mat := range s.m.Materials {
			if mat.ID != s.m.MaterialID {
				s.old = append(s.old, cell{id: mat.ID})
			}
		}
	}
	if s.m.aliasNames != nil {
		s.names.Store(&s.m.aliasNames)
	}
	var err error
	if s.policy, err = policyOf(&s.m); err != nil {
		// It compiled when it was put. Without a policy the key is nobody's.
		r.log.Error("a key policy does not compile, and denies", "arn", s.m.ARN, "error", err)
	} else {
		s.m.Policy = s.policy.Text() // one copy of what many keys have
	}
	return s, nil
}

// Of a key that is cached, in bytes: the Subject itself with the texts that
// every key has and the sealed token of its material, and what hangs on it when
// it is an asymmetric one, beside the public key in DER.
const (
	subjectCost = 1400
	publicCost  = 4096
	mlkemCost   = 12 << 10 // more for the matrix of an ML-KEM key
	mldsaCost   = 72 << 10 // and of an ML-DSA key
)

// cost is how many bytes the key takes, at most. The default policy is that of
// all keys of an account, and does not count.
func (s *Subject) cost() int {
	m := &s.m
	n := subjectCost + len(m.Description) + len(m.PublicKey)
	if m.Spec.asymmetric() {
		n += publicCost
		switch {
		case m.Spec.mlkemOID() != nil:
			n += mlkemCost
		case m.Spec.mldsaOID() != nil:
			n += mldsaCost
		}
	}
	for _, t := range m.Tags {
		n += 2*16 + 16 + len(t.Key) + len(t.Value)
	}
	for _, b := range m.Bindings {
		n += 2*16 + 16 + len(b.ARN) + len(b.ID)
	}
	for _, name := range m.aliasNames {
		n += 16 + 8 + len(name)
	}
	if m.aliasNames == nil {
		n += m.Aliases * 256 // which are not known yet
	}
	for _, mat := range m.Materials {
		n += 352 + len(mat.ID) + len(mat.Description) // with the token, and what it is opened in
	}
	if m.MultiRegion != nil {
		n += 64 + 2*32*len(m.MultiRegion.Regions)
	}
	switch {
	case s.policy == nil:
		n += len(m.Policy)
	case !s.defaultPolicy():
		n += s.policy.Cost()
	}
	return n
}

// defaultPolicy reports whether the key has the policy that every key of its
// account has if nothing else is said.
func (s *Subject) defaultPolicy() bool {
	return len(s.m.Bindings) == 0 && s.m.Policy == DefaultPolicy(s.m.Region, s.m.Account)
}

// alias is where an alias points.
type alias struct {
	rec      record.Record // without its value
	targetID string
	created  time.Time
	updated  time.Time
}

func newAlias(rec record.Record) (*alias, error) {
	a := &alias{rec: rec}
	a.rec.Value = nil
	var err error
	a.targetID, a.created, a.updated, err = decodeAlias(rec.Value)
	return a, err
}

func (a *alias) cost() int { return 192 + len(a.rec.Key) + len(a.targetID) }

// Options are the options of a Ring. The zero value is usable.
type Options struct {
	// Now is the clock of work that no call asked for; time.Now if nil.
	Now func() time.Time
	// Log gets what goes wrong in the background; slog.Default() if nil.
	Log *slog.Logger
	// Arena is the locked memory for the material of symmetric and HMAC keys.
	// It stays the caller's: to be closed after the Ring. What has no room in
	// it is opened anew for each call; with nil, that is everything.
	Arena *seal.Arena
	// Idle is how long material may be unused before it is wiped; 10 min if
	// 0. It may stay up to a quarter longer.
	Idle time.Duration
	// Keys and Aliases are how many of each are cached, at most; 65,536 if 0. A
	// cached key takes about 800 bytes, and 1.4 KiB with its material, beside its
	// policy.
	Keys, Aliases int
	// Grants is how many pages of grants are cached, each of up to 32 grants
	// of one grantee on one key, and how many grants; 65,536 if 0.
	Grants int
	// Memory is how many bytes all of these take together, at most: 9/16 of it
	// are for keys with their policies, 3/16 for aliases, and 1/8 each for pages
	// of grants and for grants. If it is 0, 3 KiB for each of Keys, and 64 MiB at
	// least. Key material is not counted: it is in the Arena, or has a limit of
	// its own.
	Memory int64
	// GrantDelay is how long a new grant works only for calls that bring its
	// grant token.
	GrantDelay time.Duration
	// PrivateKeys is how many parsed private keys are kept on Go's heap; 1,024
	// if 0. An RSA key takes 5 to 7 KiB.
	PrivateKeys int
	// PrivateMemory is how many bytes those take together, by an estimate; 16
	// MiB if 0: room for some 160 keys of ML-DSA, which take the most.
	PrivateMemory int
	// SpareRSA is how many key pairs of each RSA spec are made in advance, in
	// the background, from the first use of the spec on; 4 if 0, none if
	// negative.
	SpareRSA int
	// KeysPerRegion is the most keys that an account may have in a Region; no
	// limit if 0. It is exact on one node.
	KeysPerRegion int
	// Record, if not nil, is given each event of the ring's own work (such as a
	// key whose material, aliases and grants have been destroyed), and calls
	// commit, which does what the event tells of in one commit: so it can put the
	// event on record in that very commit, by the context. If commit is not
	// called, or fails, nothing has happened and the next RunDue does it again. An
	// error of commit is to be returned.
	Record func(ctx context.Context, e Event, commit func(context.Context) error) error
}

// Ring is the keys of an installation: of all its accounts and Regions. Its
// methods may be called concurrently.
type Ring struct {
	records  *record.Store
	box      *seal.Box
	arena    *seal.Arena
	now      func() time.Time
	log      *slog.Logger
	keys     *record.Cache[*Subject]
	aliases  *record.Cache[*alias]
	pages    *record.Cache[*grantPage] // of grants
	grants   *record.Cache[struct{}]   // that are there
	delay    time.Duration             // of new grants
	spare    *sparePairs
	census   *census // of keys; nil without a limit
	granted  *census // of the grants of each key
	onRecord func(ctx context.Context, e Event, commit func(context.Context) error) error

	slots    registry // material in the arena
	privates registry // parsed private keys

	closed atomic.Bool
	unhook func()         // undoes the box's OnLock
	done   chan struct{}  // closed by Close
	work   sync.WaitGroup // background work
	runDue sync.Mutex     // held by RunDue, and guards reminder

	hurried chan errand // done by errands

	reminder reminder
}

// New returns the ring of the keys in records, whose material box seals.
func New(records *record.Store, box *seal.Box, o Options) (*Ring, error) {
	if records == nil || box == nil {
		return nil, errors.New("keyring: no records or no box")
	}
	r := &Ring{
		records:  records,
		box:      box,
		arena:    o.Arena,
		now:      o.Now,
		log:      o.Log,
		onRecord: o.Record,
		done:     make(chan struct{}),
		hurried:  make(chan errand, 100),
	}
	if r.now == nil {
		r.now = time.Now
	}
	if r.log == nil {
		r.log = slog.Default()
	}
	r.privates.limit = cmp.Or(max(o.PrivateKeys, 0), 1024)
	r.privates.room = cmp.Or(max(o.PrivateMemory, 0), 16<<20)
	keys, grants := cmp.Or(max(o.Keys, 0), 1<<16), cmp.Or(max(o.Grants, 0), 1<<16)
	memory := cmp.Or(max(o.Memory, 0), max(int64(keys)*(3<<10), 64<<20))
	r.keys = record.NewCache(records, record.KindKey, keyPrefix,
		record.Limit[*Subject]{Count: keys, Bytes: memory / 16 * 9, Cost: (*Subject).cost}, r.newSubject, (*Subject).end)
	r.pages = record.NewCache(records, record.KindGrantee, granteePrefix,
		record.Limit[*grantPage]{Count: grants, Bytes: memory / 8, Cost: (*grantPage).cost}, newGrantPage, nil)
	r.aliases = record.NewCache(records, record.KindAlias, aliasPrefix,
		record.Limit[*alias]{Count: cmp.Or(max(o.Aliases, 0), 1<<16), Bytes: memory / 16 * 3, Cost: (*alias).cost}, newAlias, nil)
	r.grants = record.NewCache(records, record.KindGrant, grantPrefix,
		record.Limit[struct{}]{Count: grants, Bytes: memory / 8, Cost: func(struct{}) int { return 0 }}, newGrantRecord, nil)
	r.delay = max(o.GrantDelay, 0)
	r.granted = newCensus(records, MaxGrants)
	r.spare = newSparePairs(max(cmp.Or(o.SpareRSA, 4), 0), box.Sealed, r.log)
	if o.KeysPerRegion > 0 {
		r.census = newCensus(records, o.KeysPerRegion)
	}
	// A sealed box must leave nothing open.
	r.unhook = box.OnLock(r.forget)
	idle := o.Idle
	if idle <= 0 {
		idle = 10 * time.Minute
	}
	r.work.Go(func() { r.sweeps(idle / idleSweeps) })
	r.work.Go(r.errands)
	return r, nil
}

// forget wipes all material from memory; it is opened again when it is wanted.
// Key pairs that no key has yet are wiped, too.
func (r *Ring) forget() {
	r.slots.dropAll()
	r.privates.dropAll()
	r.spare.drop()
}

// Close wipes all material that is held in memory, waiting for uses of it under
// way. What had no room and was opened for one use is wiped at the end of that
// use, which Close does not wait for. Keys opened before can no longer be used:
// they return ErrClosed.
func (r *Ring) Close() error {
	if r.closed.Swap(true) {
		return nil
	}
	close(r.done)
	r.unhook()
	r.slots.close()
	r.privates.close()
	r.spare.close()
	r.work.Wait()
	return nil
}

// Find returns a key by its id, or ErrNotFound.
func (r *Ring) Find(ctx context.Context, account, region, id string) (*Subject, error) {
	s, err := r.find(ctx, account, region, id)
	if err == nil && s.m.State == destroying {
		return nil, ErrNotFound
	}
	if err == nil && s.m.Aliases > 0 && s.names.Load() == nil {
		err = r.nameAliases(ctx, s)
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

// find is Find, and also finds a key that is being destroyed.
func (r *Ring) find(ctx context.Context, account, region, id string) (*Subject, error) {
	if !validName(account, region, id) {
		return nil, ErrNotFound
	}
	var buf [160]byte
	key := append(buf[:0], keyPrefix...)
	key = append(append(key, account...), '/')
	key = append(append(key, region...), '/')
	key = append(key, id...)
	s, err := r.keys.Get(ctx, key)
	if err != nil {
		return nil, notFound(err)
	}
	return s, nil
}

// FindAlias returns the key that an alias points to, or ErrNotFound. The name
// begins with "alias/".
func (r *Ring) FindAlias(ctx context.Context, account, region, name string) (*Subject, error) {
	a, err := r.findAlias(ctx, account, region, name)
	if err != nil {
		return nil, err
	}
	return r.Find(ctx, account, region, a.targetID)
}

func (r *Ring) findAlias(ctx context.Context, account, region, name string) (*alias, error) {
	if !validScope(account, region) || !validAlias(name) {
		return nil, ErrNotFound
	}
	var buf [360]byte
	key := append(buf[:0], aliasPrefix...)
	key = append(append(key, account...), '/')
	key = append(append(key, region...), '/')
	key = append(key, name...)
	a, err := r.aliases.Get(ctx, key)
	if err != nil {
		return nil, notFound(err)
	}
	return a, nil
}

// notFound makes package record's ErrNotFound ours.
func notFound(err error) error {
	if errors.Is(err, record.ErrNotFound) {
		return ErrNotFound
	}
	return err
}

// Open opens the key that the permit names, for call c (nil for the system's
// own work). Errors: authz.ErrNoPermit for a permit of another call or for an
// action that is not done to a key, ErrNotFound, ErrStale if the key has
// changed since the decision, *StateError.
func (r *Ring) Open(ctx context.Context, c *call.Call, p authz.Permit) (Key, error) {
	act := actions[p.Action()]
	if act == nil || p.Check(c, p.Resource()) != nil {
		return Key{}, authz.ErrNoPermit
	}
	a, err := arn.Parse(p.Resource())
	if err != nil || a.Account != p.Account() {
		return Key{}, authz.ErrNoPermit
	}
	id, ok := strings.CutPrefix(a.Resource, "key/")
	if !ok {
		return Key{}, authz.ErrNoPermit
	}
	s, err := r.find(ctx, a.Account, a.Region, id)
	if err != nil {
		return Key{}, err
	}
	if err := p.Check(c, s.m.ARN); err != nil {
		return Key{}, err
	}
	if s.m.Revision != p.Revision() {
		return Key{}, ErrStale
	}
	m := s.m.at(r.instant(c))
	if err := act.allows(m); err != nil {
		return Key{}, err
	}
	return Key{r: r, s: s, m: m, act: act, c: c}, nil
}

// patience is how long Attempt goes on, and longestPause the longest it waits
// between two tries. Of those who change one key at once, each commit lets one
// through, so that many have to come back many times.
const (
	patience     = 10 * time.Second
	longestPause = 32 * time.Millisecond
)

// Attempt runs f, and again while it returns ErrStale, for ten seconds with a
// short pause before each repetition; then it returns ErrConflict. A change of
// a key is an Attempt of: find it, decide, open it, change it.
func Attempt(ctx context.Context, f func() error) error {
	enough := time.Now().Add(patience)
	for pause := time.Millisecond; ; pause = min(2*pause, longestPause) {
		if err := f(); !errors.Is(err, ErrStale) {
			return err
		}
		if time.Now().After(enough) {
			return ErrConflict
		}
		// Random, so that those who got in each other's way part.
		wait := time.NewTimer(rand.N(pause))
		select {
		case <-wait.C:
		case <-ctx.Done():
			wait.Stop()
			return ctx.Err()
		}
	}
}

// Stats is what a ring holds in memory now.
type Stats struct {
	Keys        int // cached records of keys
	Aliases     int // cached aliases
	Materials   int // symmetric and HMAC material in locked memory
	PrivateKeys int // parsed private keys on Go's heap
}

// Stats returns what the ring holds in memory now.
func (r *Ring) Stats() Stats {
	return Stats{Keys: r.keys.Len(), Aliases: r.aliases.Len(), Materials: r.slots.len(), PrivateKeys: r.privates.len()}
}
