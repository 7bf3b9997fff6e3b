package keyring

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/maphash"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/keyreeve/keyreeve/internal/arn"
	"github.com/keyreeve/keyreeve/internal/record"
)

// When a key was last used is for people who look for keys that nobody needs,
// and for policies that keep a key from being disabled or deleted while somebody
// does. Every cryptographic operation is noted, in memory; what was noted is
// stored about once a minute. So the store has one write a minute for a key that
// is in use, however much it is used, and who kills a node loses no more than
// what was noted since. Nodes that share a store each note what they see, and
// the latest counts.
//
// Of the uses of a key in one second, by one operation, the first is kept: all
// others cost two loads from memory, and write nothing that others read.

// Use is a use of a key. The zero Use is none.
type Use struct {
	Operation string    // as in the API, such as "Decrypt"
	Time      time.Time // UTC, to the second
	EventID   [16]byte  // a UUID: of the audit record that the key's owner got
	RequestID string    // of the call
}

// IsZero reports whether u is no use at all.
func (u Use) IsZero() bool { return u.Operation == "" }

// Event returns the id of the audit record, as it stands there.
func (u Use) Event() string {
	b := make([]byte, 0, 36)
	for i, n := range []int{4, 2, 2, 2, 6} {
		if i > 0 {
			b = append(b, '-')
		}
		from := hex.DecodedLen(len(b) - i)
		b = hex.AppendEncode(b, u.EventID[from:from+n])
	}
	return string(b)
}

// useOperations are the operations that use a key, with the numbers that stand
// for them in records. Source: KeyLastUsageTrackingOperation in the AWS KMS API
// Reference.
var useOperations = []string{
	1: "Decrypt", 2: "DeriveSharedSecret", 3: "Encrypt", 4: "GenerateDataKey", 5: "GenerateDataKeyPair",
	6: "GenerateDataKeyPairWithoutPlaintext", 7: "GenerateDataKeyWithoutPlaintext", 8: "GenerateMac", 9: "ReEncrypt",
	10: "Sign", 11: "Verify", 12: "VerifyMac", 13: "Encapsulate", 14: "Decapsulate",
}

// IsUse reports whether an operation uses a key for cryptography.
func IsUse(operation string) bool { return number(useOperations, operation) != 0 }

const (
	// StoreUses is how often it is good to store what was noted.
	StoreUses = time.Minute
	// useShards is the number of parts in which uses are noted, each with a
	// lock of its own.
	useShards = 64
	// maxUses is how many keys each part knows at once; one takes some 300
	// bytes. Where there is no room, what was noted is stored at once to make
	// some.
	maxUses = 1024
	// recentUses is how many keys are found without a lock.
	recentUses = 1024
	// useBatch is how many uses go in one transaction, with two conditions each.
	useBatch = 45
	// useTries is how often a use is stored anew when its key changes meanwhile.
	useTries = 4
	// maxFailedUses is how often storing may fail until the rest is left for the
	// next time.
	maxFailedUses = 8
	// lateness is how much later than others a use may be noted that began
	// before them: longer than a call lives. What was noted of a time that is
	// further ahead was noted by a clock that has been put back since.
	lateness = time.Minute
	// maxRequestID bounds what is kept of a request id, which is a UUID.
	maxRequestID = 64
)

// Uses knows when the keys of a ring were last used. Its methods may be called
// concurrently.
type Uses struct {
	ring    *Ring
	certain func() time.Time
	since   atomic.Int64 // milliseconds since 1970, of when uses began to be kept; 0: with each key

	seed   maphash.Seed
	recent [recentUses]atomic.Pointer[noted]
	shards [useShards]useShard
	limit  int           // keys in each part
	missed atomic.Int64  // uses that there was no room for
	full   chan struct{} // has one when there was no room

	storing sync.Mutex // held while uses are stored
}

type useShard struct {
	mu    sync.RWMutex
	noted map[string]*noted // by ARN
}

// noted is the last use of one key.
type noted struct {
	arn  string
	last atomic.Pointer[Use] // nil until there is one
}

// forgotten stands in noted.last once it is stored, and n is gone from its part:
// nothing is to be noted there any more.
var forgotten = new(Use)

// UsesOptions are the options of Uses. The zero value is usable.
type UsesOptions struct {
	// Certain returns the time that has passed for certain, which is before
	// that of the clock if the clock has jumped ahead: no key counts as unused
	// until later than that. Nil: the clock is believed.
	Certain func() time.Time
}

// NewUses returns the uses of the ring's keys. Nothing is stored but by
// [Uses.Begin] and [Uses.Keep].
func NewUses(r *Ring, o UsesOptions) *Uses {
	u := &Uses{ring: r, certain: o.Certain, limit: maxUses, seed: maphash.MakeSeed(), full: make(chan struct{}, 1)}
	for i := range u.shards {
		u.shards[i].noted = make(map[string]*noted)
	}
	return u
}

// Note notes that a key was used by an operation that succeeded. Operations that
// use no key are ignored. It writes nothing to the store.
func (u *Uses) Note(keyARN string, use Use) {
	if number(useOperations, use.Operation) == 0 || len(use.RequestID) > maxRequestID {
		return
	}
	use.Time = use.Time.UTC().Truncate(time.Second)
	hash := maphash.String(u.seed, keyARN)
	recent := &u.recent[hash%recentUses]
	if n := recent.Load(); n != nil && n.arn == keyARN && n.note(use) {
		return
	}
	for {
		n := u.enter(hash, keyARN)
		if n == nil {
			u.missed.Add(1)
			select {
			case u.full <- struct{}{}:
			default:
			}
			return
		}
		if n.note(use) {
			recent.Store(n)
			return
		}
	}
}

func (u *Uses) shard(hash uint64) *useShard { return &u.shards[hash/recentUses%useShards] }

// enter finds what is noted of a key, or makes room for it; nil if there is
// none.
func (u *Uses) enter(hash uint64, keyARN string) *noted {
	s := u.shard(hash)
	s.mu.RLock()
	n := s.noted[keyARN]
	s.mu.RUnlock()
	if n != nil {
		return n
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if n = s.noted[keyARN]; n == nil && len(s.noted) < u.limit {
		n = &noted{arn: keyARN}
		s.noted[keyARN] = n
	}
	return n
}

// note makes a use the last one, unless it is not. It reports false if n was
// forgotten.
func (n *noted) note(use Use) bool {
	for {
		last := n.last.Load()
		switch {
		case last == forgotten:
			return false
		case last == nil:
		case !use.follows(last, use.Time), use.Time.Equal(last.Time) && use.Operation == last.Operation:
			return true
		}
		kept := use
		if n.last.CompareAndSwap(last, &kept) {
			return true
		}
	}
}

// follows reports whether u takes the place of what was noted before, at a time.
func (u *Use) follows(before *Use, now time.Time) bool {
	return !u.Time.Before(before.Time) || before.Time.After(now.Add(lateness))
}

// noticed returns what is noted of a key; the zero Use if nothing is.
func (u *Uses) noticed(keyARN string) Use {
	s := u.shard(maphash.String(u.seed, keyARN))
	s.mu.RLock()
	n := s.noted[keyARN]
	s.mu.RUnlock()
	if n != nil {
		if last := n.last.Load(); last != nil && last != forgotten {
			return *last
		}
	}
	return Use{}
}

// Last returns the last use of a key, the zero Use if it is not known to have
// been used. Action: kms:GetKeyLastUsage. Error: record.ErrTampered, wrapped, if
// what was stored was altered and the key has not been used since then.
func (u *Uses) Last(ctx context.Context, k Key) (Use, error) {
	if err := k.may(mayLastUse); err != nil {
		return Use{}, err
	}
	return u.last(ctx, &k.s.m, k.now())
}

func (u *Uses) last(ctx context.Context, m *Metadata, now time.Time) (Use, error) {
	// What is noted is looked at first: it is forgotten once it is stored.
	here := u.noticed(m.ARN)
	_, stored, err := u.ring.storedUse(ctx, m)
	switch {
	case errors.Is(err, record.ErrTampered) && !here.IsZero():
		return here, nil // and it will be stored
	case err != nil:
		return Use{}, err
	case here.IsZero() || !stored.IsZero() && !here.follows(&stored, now):
		return stored, nil
	}
	return here, nil
}

// Since returns since when the uses of a key are kept: since it was made, or
// since this store has kept uses, whichever is later.
func (u *Uses) Since(m *Metadata) time.Time {
	if began := time.UnixMilli(u.since.Load()).UTC(); began.After(m.Created) {
		return began
	}
	return m.Created
}

// Unused returns for how many whole days a key has not been used at a time: since
// its last use, or since its uses are kept. It is never negative, and 0 if it
// cannot be told because what was stored was altered.
func (u *Uses) Unused(ctx context.Context, s *Subject, now time.Time) (days int, err error) {
	last, err := u.last(ctx, &s.m, now)
	if errors.Is(err, record.ErrTampered) {
		u.ring.log.Error("when a key was last used is not known: the record was altered; it counts as used now", "arn", s.m.ARN, "error", err)
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	from := u.Since(&s.m)
	if !last.IsZero() {
		from = last.Time
	}
	if u.certain != nil {
		if t := u.certain(); t.Before(now) {
			now = t
		}
	}
	return int(max(0, now.Sub(from)) / (24 * time.Hour)), nil
}

// Begin notes in the store, unless that was done before, that uses are kept from
// now on. It is called before keys are used.
func (u *Uses) Begin(ctx context.Context) error {
	rs := u.ring.records
	for {
		rec, err := rs.Get(ctx, record.KindSystem, usesKey)
		switch {
		case errors.Is(err, record.ErrNotFound):
			now := u.ring.instant(nil)
			tx := rs.Begin()
			tx.Create(record.KindSystem, usesKey, appendTime([]byte{recordVersion}, now))
			if _, err = tx.Commit(ctx); errors.Is(err, record.ErrConflict) {
				continue // another node was first
			}
			if err != nil {
				return fmt.Errorf("storing since when uses of keys are kept: %w", err)
			}
			u.since.Store(now.UnixMilli())
			return nil
		case err == nil:
			r := recordReader{b: rec.Value}
			if r.byte() != recordVersion {
				r.bad = true
			}
			began := r.time()
			if !r.bad && len(r.b) == 0 && !began.IsZero() {
				u.since.Store(began.UnixMilli())
				return nil
			}
			err = fmt.Errorf("%w: since when uses are kept", errRecord)
		case !errors.Is(err, record.ErrTampered):
			return fmt.Errorf("reading since when uses of keys are kept: %w", err)
		}
		// A later time can only make keys count as used more recently.
		u.ring.log.Error("since when uses of keys are kept is not known; it counts as now", "error", err)
		u.since.Store(u.ring.instant(nil).UnixMilli())
		return nil
	}
}

// Keep stores what was noted every so often, until ctx ends; and then once more,
// for which it takes up to grace.
func (u *Uses) Keep(ctx context.Context, every, grace time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-u.full:
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
			defer cancel()
			u.store(last)
			return
		}
		u.store(ctx)
	}
}

// store stores what was noted since the time before, and forgets it.
func (u *Uses) store(ctx context.Context) {
	u.storing.Lock()
	defer u.storing.Unlock()
	if n := u.missed.Swap(0); n > 0 {
		u.ring.log.Warn("more keys were used at once than can be noted; when they were last used is known of the others only", "not_noted", n)
	}
	failed := 0
	batch := make([]*noted, 0, useBatch)
	for i := range u.shards {
		for _, n := range u.shards[i].all() {
			if batch = append(batch, n); len(batch) == useBatch {
				failed += u.storeAll(ctx, batch)
				batch = batch[:0]
			}
			if failed >= maxFailedUses || ctx.Err() != nil {
				u.ring.log.Warn("when keys were last used was not stored of all of them; it will be tried again", "cause", ctx.Err())
				return
			}
		}
	}
	u.storeAll(ctx, batch)
}

// all returns what is noted in a part.
func (s *useShard) all() []*noted {
	s.mu.RLock()
	defer s.mu.RUnlock()
	all := make([]*noted, 0, len(s.noted))
	for _, n := range s.noted {
		if n.last.Load() != nil {
			all = append(all, n)
		}
	}
	return all
}

// forget forgets a use, unless there was a later one.
func (u *Uses) forget(n *noted, use *Use) {
	s := u.shard(maphash.String(u.seed, n.arn))
	s.mu.Lock()
	defer s.mu.Unlock()
	if n.last.CompareAndSwap(use, forgotten) {
		delete(s.noted, n.arn)
	}
}

// storeAll stores some uses together, or if that fails one by one. It returns
// how many could not be stored.
func (u *Uses) storeAll(ctx context.Context, batch []*noted) (failed int) {
	if len(batch) == 0 {
		return 0
	}
	err := u.storeOnce(ctx, batch)
	for tries := 1; len(batch) == 1 && errors.Is(err, record.ErrConflict) && tries < useTries; tries++ {
		err = u.storeOnce(ctx, batch)
	}
	switch {
	case err == nil || ctx.Err() != nil:
		return 0
	case len(batch) == 1:
		u.ring.log.Warn("when a key was last used could not be stored; it will be tried again", "arn", batch[0].arn, "error", err)
		return 1
	}
	for i := range batch {
		if failed += u.storeAll(ctx, batch[i:i+1]); failed >= maxFailedUses {
			break // the store has other worries
		}
	}
	return failed
}

// storeOnce stores some uses in one transaction, but those of keys that are gone
// and those that are before what is stored.
func (u *Uses) storeOnce(ctx context.Context, batch []*noted) error {
	r := u.ring
	now := r.instant(nil)
	tx, any := r.records.Begin(), false
	uses := make([]*Use, len(batch))
	for i, n := range batch {
		uses[i] = n.last.Load()
		s, err := r.findARN(ctx, n.arn)
		switch {
		case errors.Is(err, ErrNotFound):
			continue
		case errors.Is(err, record.ErrTampered), errors.Is(err, errRecord):
			// Another attempt would end like this one.
			r.log.Error("when a key was last used is not stored: the key's record was altered", "arn", n.arn, "error", err)
			continue
		case err != nil:
			return err
		}
		rec, before, err := r.storedUse(ctx, &s.m)
		switch {
		case errors.Is(err, record.ErrTampered):
			r.log.Error("the record of when a key was last used was altered; it is made anew", "arn", n.arn, "error", err)
			gone := r.records.Begin()
			gone.Delete(rec)
			if _, err := gone.Commit(ctx); err != nil {
				return err
			}
			rec = record.Record{}
		case err != nil:
			return err
		case !before.IsZero() && !uses[i].follows(&before, now):
			continue
		}
		tx.Check(s.record()) // a key that is destroyed takes its last use along
		any = true
		if value := appendUse(nil, uses[i]); rec.Rev > 0 {
			tx.Put(rec, value)
		} else {
			tx.Create(record.KindKeyUse, useKey(s.m.Account, s.m.Region, s.m.ID), value)
		}
	}
	if any {
		if _, err := tx.Commit(ctx); err != nil {
			return err
		}
	}
	for i, n := range batch {
		u.forget(n, uses[i])
	}
	return nil
}

// findARN is Find of a key's ARN.
func (r *Ring) findARN(ctx context.Context, keyARN string) (*Subject, error) {
	name, err := arn.Parse(keyARN)
	id, ok := strings.CutPrefix(name.Resource, "key/")
	if err != nil || !ok {
		return nil, ErrNotFound
	}
	return r.Find(ctx, name.Account, name.Region, id)
}

// storedUse reads the stored last use of a key. If there is none, the record and
// the use are zero. With record.ErrTampered the record is there, to be
// deleted.
func (r *Ring) storedUse(ctx context.Context, m *Metadata) (record.Record, Use, error) {
	key := useKey(m.Account, m.Region, m.ID)
	// Unlike Get, List shows what was altered. No other key begins like this
	// one: ids have one length.
	found, err := r.records.List(ctx, record.KindKeyUse, key, "", 1)
	if err != nil {
		return record.Record{}, Use{}, fmt.Errorf("last use of %s: %w", m.ARN, err)
	}
	if len(found) == 0 || found[0].Key != key {
		return record.Record{}, Use{}, nil
	}
	f := found[0]
	var use Use
	if f.Err == nil {
		if use, f.Err = decodeUse(f.Value); f.Err != nil {
			f.Err = fmt.Errorf("%w: %w", record.ErrTampered, f.Err)
		}
	}
	f.Value = nil
	if f.Err != nil {
		return f.Record, Use{}, fmt.Errorf("last use of %s: %w", m.ARN, f.Err)
	}
	return f.Record, use, nil
}

// dropUse deletes the last use of a key in the transaction that deletes the key.
func (r *Ring) dropUse(ctx context.Context, tx *record.Tx, m *Metadata) error {
	rec, _, err := r.storedUse(ctx, m)
	if err != nil && !errors.Is(err, record.ErrTampered) {
		return err
	}
	if rec.Rev > 0 {
		tx.Delete(rec)
	}
	return nil
}

const (
	usePrefix = "v1/use/"
	// usesKey says since when uses are kept: 0x01, time.
	usesKey = "v1/sys/uses"
)

func useKey(account, region, id string) string { return usePrefix + account + "/" + region + "/" + id }

// appendUse appends the record of a key's last use:
//
//	1      version: 0x01
//	1      operation, by its number in useOperations
//	time   of the use
//	16     event id
//	text   request id
func appendUse(b []byte, u *Use) []byte {
	b = append(b, recordVersion, number(useOperations, u.Operation))
	b = append(appendTime(b, u.Time), u.EventID[:]...)
	return appendText(b, u.RequestID)
}

func decodeUse(b []byte) (Use, error) {
	r := recordReader{b: b}
	if r.byte() != recordVersion {
		r.bad = true
	}
	u := Use{Operation: entry(&r, useOperations), Time: r.time()}
	copy(u.EventID[:], r.take(len(u.EventID)))
	u.RequestID = r.text()
	if r.bad || len(r.b) != 0 || len(u.RequestID) > maxRequestID || u.Time.IsZero() || u.Time.Nanosecond() != 0 {
		return Use{}, fmt.Errorf("%w: last use", errRecord)
	}
	return u, nil
}
