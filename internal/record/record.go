// Package record keeps sealed records over a store, and coherent caches of
// decoded ones.
//
// A [Store] seals every value with its storage key, kind and generation as
// associated data, so that whoever owns the raw store can neither read a
// record, nor change it, nor put one in another's place: all of that is
// [ErrTampered]. Deleting a record underneath makes it [ErrNotFound]; so what
// grants something is a record, and its absence grants nothing.
//
// Records are read with [Store.Get] and [Store.List], which are linearizable,
// and changed in a transaction: [Store.Begin], then [Tx.Commit]. What is read
// often is read through a [Cache].
//
// # Putting old records back
//
// Each change of a record raises its generation. A Store remembers the newest
// generation of the records it has lately read or written, of deleted ones too,
// and refuses an older one: ErrTampered. An old store as a whole is refused at
// [Open], by the mark (see [Options.Mark]). What is not noticed: a single
// record put back while the node was down, or long after it last had to do
// with that record.
//
// A generation is the time in microseconds, or one more than the newest seen
// if that is later (a hybrid logical clock). Nodes that share a store should
// therefore keep their clocks together: a record made anew by a node whose
// clock is behind, and which never saw the record that stood there before,
// can look like the old one put back.
//
// # At rest
//
//	byte  0       schema version, 1
//	byte  1       kind
//	bytes 2-9     generation, big-endian
//	then          the box's output for the value
//
// The associated data is bytes 0 to 9, the size of the storage key in two
// bytes, big-endian, and the storage key.
package record

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/keyreeve/keyreeve/internal/seal"
	"github.com/keyreeve/keyreeve/internal/store"
)

// Kind says what a record is. It is part of the associated data: kinds are
// never renumbered.
type Kind byte

// The kinds of record, each with its place in the keyspace.
const (
	KindAccount   Kind = 1 // v1/acct/<account>
	KindUser      Kind = 2 // v1/user/<account>/<userName>
	KindAccessKey Kind = 3 // v1/akid/<AccessKeyId>
	KindKey       Kind = 4 // v1/key/<account>/<region>/<keyId>
	KindMaterial  Kind = 5 // v1/mat/<account>/<region>/<keyId>/<materialId>
	KindAlias     Kind = 6 // v1/alias/<account>/<region>/<name>
	KindAliasOf   Kind = 7 // v1/aliasof/<account>/<region>/<keyId>/<name>
	KindDue       Kind = 8 // v1/due/<time>/<job>/<account>/<region>/<keyId>
	KindGrant     Kind = 9 // v1/grant/<account>/<region>/<keyId>/<grantId>
	// KindGrantee is a page of the grants of one grantee.
	KindGrantee Kind = 10 // v1/grantee/<account>/<region>/<keyId>/<hash of the grantee>/<page>
	KindSystem  Kind = 11 // v1/sys/…, but for v1/sys/seal, which is no record
	// KindRetiring lists a grant under its retiring principal.
	KindRetiring Kind = 12 // v1/retiring/<region>/<hash of the principal>/<account>/<keyId>/<grantId>
	// KindGrantName finds a grant by its name and parameters.
	KindGrantName Kind = 13 // v1/grantname/<account>/<region>/<keyId>/<hash of name and parameters>
	// KindKeyUse is when a key was last used.
	KindKeyUse Kind = 14 // v1/use/<account>/<region>/<keyId>

	KindGroup  Kind = 20 // v1/group/<account>/<groupName>
	KindRole   Kind = 21 // v1/role/<account>/<roleName>
	KindPolicy Kind = 22 // v1/policy/<account>/<policyName>
	// KindUnique finds a user, group or role by its unique id.
	KindUnique       Kind = 23 // v1/uid/<uniqueId>
	KindOrganization Kind = 24 // v1/org/<organizationId>
	KindUnit         Kind = 25 // v1/ou/<organizationId>/<unitId>
	KindOrgPolicy    Kind = 26 // v1/orgpolicy/<organizationId>/<policyId>
	// KindAccountRequest is an account that an organization is to get, or got.
	KindAccountRequest Kind = 27 // v1/newacct/<organizationId>/<requestId>
	// KindAccountDue lists the requests that are still to be done.
	KindAccountDue Kind = 28 // v1/newacctdue/<organizationId>/<requestId>
	// KindEmail finds an account by its e-mail address.
	KindEmail Kind = 29 // v1/email/<hash of the address>

	KindOIDCProvider Kind = 40 // v1/oidc/<account>/<host and path>
	KindMFADevice    Kind = 41 // v1/mfa/<account>/<path and name, shortened>
	// KindMFAOwner lists the devices of a user.
	KindMFAOwner Kind = 42 // v1/mfaof/<uniqueId>

	// KindLastUse is when an access key or role was last used.
	KindLastUse Kind = 50 // v1/used/<account>/<AccessKeyId or uniqueId>

	// KindIntent is a note of a change, stored together with it.
	KindIntent Kind = 60 // v1/audit/intent/<slot>
	// KindJournal is how far the audit journal has come.
	KindJournal Kind = 61 // v1/sys/journal

	KindTrail Kind = 70 // v1/trail/<account>/<region>/<name>
	// KindTrailIndex lists the trails of an account.
	KindTrailIndex Kind = 71 // v1/trails/<account>
	// KindTrailSink is how far a trail has been copied.
	KindTrailSink Kind = 72 // v1/trailsink/<trail's id>/<sink>
	// KindTrailChain is the head of a chain of a trail's digests.
	KindTrailChain Kind = 73 // v1/trailchain/<trail's id>/<account>/<region>

	// KindArchive is what of the audit archive has been delivered.
	KindArchive Kind = 80 // v1/archive/head
	// KindChain is the head of a chain of digests.
	KindChain Kind = 81 // v1/archive/chain/<account>/<region>
	// KindDigestKey is a key that signs digests.
	KindDigestKey Kind = 82 // v1/archive/key/<region>/<fingerprint>
)

// Errors. Those of the store below come through, wrapped.
var (
	// ErrNotFound: there is no such record.
	ErrNotFound = errors.New("record: not found")
	// ErrTampered: what stands at the key is not the record that was put
	// there last: it was changed, moved or put back underneath.
	ErrTampered = errors.New("record: tampered with")
	// ErrConflict: a condition of the transaction does not hold.
	ErrConflict = errors.New("record: changed meanwhile")
	// ErrUnsettled: the store did not say whether the transaction happened,
	// and it could not be found out.
	ErrUnsettled = errors.New("record: outcome unknown")
)

// Box seals and opens. A [seal.Box] is one.
type Box interface {
	Seal(p seal.Purpose, aad, plaintext []byte) ([]byte, error)
	Open(p seal.Purpose, aad, sealed []byte) ([]byte, error)
	SealedUntil(domainKey uint32) (time.Time, bool)
}

// Options are the options of a Store. The zero value is usable.
type Options struct {
	// Mark is the path of the file with the store's high-water mark: its
	// newest revision and time, sealed. It stands beside the data directory,
	// so that a copy of the data put back does not bring its mark with it.
	// Open refuses a store that is older than its mark, that has lost it, or
	// that belongs to another: [ErrRolledBack]. Empty: no mark.
	Mark string
	// AcceptRollback takes the store as it is, whatever the mark says, and
	// begins a new mark. [Store.Accepted] tells what was overridden.
	AcceptRollback bool
	// Now is the clock; time.Now if nil.
	Now func() time.Time
	// Log gets what goes wrong in the background; slog.Default() if nil.
	Log *slog.Logger
	// Heartbeat is how often the caches' freshness is established; 1 s if 0.
	Heartbeat time.Duration
	// StaleLimit is the age of that freshness up to which caches answer by
	// themselves; beyond it every Get reads the store. 5 min if 0; if it is
	// negative, caches never answer by themselves.
	StaleLimit time.Duration
	// Remember is the number of records whose generation is remembered;
	// 65,536 if 0.
	Remember int
}

// Record is one record. Value is opened, and the receiver's own.
type Record struct {
	Kind       Kind
	Key        string
	Value      []byte
	Rev        store.Rev // of the last change
	Generation uint64
}

// Store is the records of a store. Its methods may be called concurrently.
type Store struct {
	st         store.Store
	box        Box
	now        func() time.Time
	log        *slog.Logger
	heartbeat  time.Duration
	staleLimit time.Duration
	remembered *memory
	clock      atomic.Uint64 // the newest generation issued or seen

	coherence
	mark *mark // nil if there is none

	stop func()         // ends the background work
	work sync.WaitGroup // counts it
	once sync.Once      // guards Close
}

// Open opens the records of st, which box seals. The store stays the caller's:
// to be closed after the Store.
func Open(ctx context.Context, st store.Store, box Box, o Options) (*Store, error) {
	s := &Store{
		st:         st,
		box:        box,
		now:        o.Now,
		log:        o.Log,
		heartbeat:  o.Heartbeat,
		staleLimit: o.StaleLimit,
	}
	if s.now == nil {
		s.now = time.Now
	}
	if s.log == nil {
		s.log = slog.Default()
	}
	if s.heartbeat <= 0 {
		s.heartbeat = time.Second
	}
	if s.staleLimit == 0 {
		s.staleLimit = 5 * time.Minute
	}
	if o.Remember <= 0 {
		o.Remember = 1 << 16
	}
	s.coherence.seed = maphash.MakeSeed()
	s.coherence.epoch = s.now()
	s.remembered = newMemory(s.coherence.seed, o.Remember)
	if o.Mark != "" {
		m, err := s.openMark(ctx, o.Mark, o.AcceptRollback)
		if err != nil {
			return nil, err
		}
		s.mark = m
		s.observe(uint64(max(0, m.newest.UnixMicro())))
	}
	if err := s.start(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

// Close ends the background work and writes the mark. The Store and its caches
// must not be used any more.
func (s *Store) Close() error {
	var err error
	s.once.Do(func() {
		s.stop()
		s.work.Wait()
		s.flushCaches(0)
		if s.mark != nil {
			err = s.writeMark(context.Background())
		}
	})
	return err
}

// Flush empties the caches, as when the box has been locked: what they held is
// evicted, and read again only if it can be opened.
func (s *Store) Flush() { s.flushCaches(0) }

// Get returns the record of that kind at key: ErrNotFound, or ErrTampered if it
// does not open there or is older than it should be. It sees every change that
// was acknowledged before, by whatever node.
func (s *Store) Get(ctx context.Context, kind Kind, key string) (Record, error) {
	rec, _, err := s.load(ctx, kind, key)
	return rec, err
}

// load is Get, and also returns the head revision at which it was true.
func (s *Store) load(ctx context.Context, kind Kind, key string) (Record, store.Rev, error) {
	for try := 0; ; try++ {
		// The floor is asked for first: what was known before the read began,
		// the read must show.
		floor := s.remembered.get(key)
		kv, head, err := s.st.Get(ctx, key)
		if err != nil {
			return Record{}, 0, fmt.Errorf("reading %s: %w", key, err)
		}
		if kv.Rev == 0 {
			s.remembered.absent(key, floor, head)
			return Record{}, head, fmt.Errorf("%w: %s", ErrNotFound, key)
		}
		rec, err := s.open(kind, kv)
		if err != nil {
			return Record{}, head, err
		}
		if rec.Generation >= floor.generation {
			s.remembered.saw(key, rec.Generation, rec.Rev)
			s.observe(rec.Generation)
			return rec, head, nil
		}
		// A record made while the one before it was being deleted can have the
		// older generation, until its Commit returns and says so.
		if try == patience {
			return Record{}, head, fmt.Errorf("%w: %s is of an older generation", ErrTampered, key)
		}
		select {
		case <-time.After(time.Millisecond << try):
		case <-ctx.Done():
			return Record{}, 0, fmt.Errorf("reading %s: %w", key, ctx.Err())
		}
	}
}

// patience is how often load looks again: for half a second in all, since
// whoever made the record may be kept waiting by a busy machine.
const patience = 9

// Found is a record in a list.
type Found struct {
	Record
	// Err is ErrTampered if Get would say so. The record then has no value,
	// and all that is sure is that something stands at its key: that can be
	// deleted, and not be put.
	Err error
}

// List returns up to limit records whose key begins with prefix and comes after
// the key after, or from the first if that is empty; in order of their keys.
// Fewer than limit means that there are no more. They must be of that kind. A
// limit of 0 means [store.DefaultLimit]. A record that is not what it should be
// keeps nobody from the others: it is listed with its own error.
func (s *Store) List(ctx context.Context, kind Kind, prefix, after string, limit int) ([]Found, error) {
	if limit <= 0 {
		limit = store.DefaultLimit
	}
	found := make([]Found, 0, min(limit, store.DefaultLimit))
	// Once, but for records that vanish while they are looked at.
	for len(found) < limit {
		want := min(limit-len(found), store.DefaultLimit)
		kvs, err := s.scan(ctx, prefix, after, want)
		if err != nil {
			return nil, err
		}
		for _, kv := range kvs {
			f, err := s.listed(ctx, kind, kv)
			if errors.Is(err, ErrNotFound) {
				continue
			}
			if err != nil {
				return nil, err
			}
			found = append(found, f)
		}
		if len(kvs) < want {
			break
		}
		after = kvs[len(kvs)-1].Key
	}
	return found, nil
}

// listed opens a record of a list; ErrNotFound if it has been deleted since.
func (s *Store) listed(ctx context.Context, kind Kind, kv store.KV) (Found, error) {
	known := s.remembered.get(kv.Key).generation
	rec, err := s.open(kind, kv)
	switch {
	case err == nil && rec.Generation < known:
		// Changed since the range was read, or put back: a second look tells.
		rec, _, err = s.load(ctx, kind, kv.Key)
	case err == nil:
		s.remembered.saw(rec.Key, rec.Generation, rec.Rev)
		s.observe(rec.Generation)
	}
	if errors.Is(err, ErrTampered) {
		return Found{Record: Record{Kind: kind, Key: kv.Key, Rev: kv.Rev, Generation: known}, Err: err}, nil
	}
	return Found{Record: rec}, err
}

// Keys is List of nothing but storage keys, which are as the store has them:
// what stands there is not looked at.
func (s *Store) Keys(ctx context.Context, prefix, after string, limit int) ([]string, error) {
	kvs, err := s.scan(ctx, prefix, after, limit)
	if err != nil {
		return nil, err
	}
	keys := make([]string, len(kvs))
	for i, kv := range kvs {
		keys[i] = kv.Key
	}
	return keys, nil
}

func (s *Store) scan(ctx context.Context, prefix, after string, limit int) ([]store.KV, error) {
	from := prefix
	if after >= from {
		from = after + "\x00"
	}
	kvs, _, err := s.st.Range(ctx, from, store.PrefixEnd(prefix), limit)
	if err != nil {
		return nil, fmt.Errorf("listing %s: %w", prefix, err)
	}
	return kvs, nil
}

const (
	schemaVersion = 1
	headerSize    = 1 + 1 + 8
)

// seal returns what is stored for a record.
func (s *Store) seal(kind Kind, key string, generation uint64, val []byte) ([]byte, error) {
	aad := associated(kind, key, generation)
	sealed, err := s.box.Seal(seal.Records, aad, val)
	if err != nil {
		return nil, fmt.Errorf("sealing %s: %w", key, err)
	}
	b := make([]byte, 0, headerSize+len(sealed))
	b = append(b, aad[:headerSize]...)
	return append(b, sealed...), nil
}

// open is the reverse of seal.
func (s *Store) open(kind Kind, kv store.KV) (Record, error) {
	if len(kv.Val) < headerSize {
		return Record{}, fmt.Errorf("%w: %s is too short", ErrTampered, kv.Key)
	}
	if v := kv.Val[0]; v != schemaVersion {
		return Record{}, fmt.Errorf("%w: %s has schema version %d, this program knows %d", ErrTampered, kv.Key, v, schemaVersion)
	}
	if k := Kind(kv.Val[1]); k != kind {
		return Record{}, fmt.Errorf("%w: %s is of kind %d, not %d", ErrTampered, kv.Key, k, kind)
	}
	generation := binary.BigEndian.Uint64(kv.Val[2:])
	val, err := s.box.Open(seal.Records, associated(kind, kv.Key, generation), kv.Val[headerSize:])
	switch {
	case err == nil:
	case errors.Is(err, seal.ErrNotOpened), errors.Is(err, seal.ErrUnknownDomainKey):
		return Record{}, fmt.Errorf("%w: opening %s: %w", ErrTampered, kv.Key, err)
	default:
		return Record{}, fmt.Errorf("opening %s: %w", kv.Key, err)
	}
	return Record{Kind: kind, Key: kv.Key, Value: val, Rev: kv.Rev, Generation: generation}, nil
}

// associated returns the associated data of a record, which begins with the
// header of the stored value.
func associated(kind Kind, key string, generation uint64) []byte {
	b := make([]byte, 0, headerSize+2+len(key))
	b = append(b, schemaVersion, byte(kind))
	b = binary.BigEndian.AppendUint64(b, generation)
	b = binary.BigEndian.AppendUint16(b, uint16(len(key)))
	return append(b, key...)
}

// issue returns a generation newer than previous and than all that were issued
// or seen.
func (s *Store) issue(previous uint64) uint64 {
	wall := uint64(max(0, s.now().UnixMicro()))
	for {
		last := s.clock.Load()
		g := max(wall, last+1, previous+1)
		if s.clock.CompareAndSwap(last, g) {
			return g
		}
	}
}

// observe notes a generation that was seen.
func (s *Store) observe(generation uint64) {
	for {
		last := s.clock.Load()
		if generation <= last || s.clock.CompareAndSwap(last, generation) {
			return
		}
	}
}
