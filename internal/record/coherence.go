package record

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"github.com/keyreeve/keyreeve/internal/store"
)

// slotCount is the number of slots. Keys that share one only make a cache read
// once more than it must.
const slotCount = 1 << 16

// coherence is what keeps the caches of a Store right.
//
// A slot holds the newest revision at which a key of that slot is known to have
// changed. A change raises the slot first and drops the cached entry then; a
// cache that has read a record at head H inserts it, under the same lock under
// which entries are dropped, only if the slot is not above H. So a read that a
// change overtakes is never kept.
//
// Changes are applied by Commit before it returns (a node reads its own
// writes) and by the watch (those of other nodes, and what is done to the
// store underneath). All that was applied up to a revision is known to be all
// there was when the heartbeat finds the store's head at that revision: then
// the caches were as fresh as the store when the heartbeat began.
type coherence struct {
	seed  maphash.Seed
	slots [slotCount]atomic.Int64

	// floor is the revision up to which changes may have been missed: what was
	// read below it is not kept.
	floor atomic.Int64

	mu     sync.Mutex // guards adding to caches
	caches atomic.Pointer[[]cached]

	epoch   time.Time    // freshness is counted from here
	applied atomic.Int64 // the revision that the watch has reached
	fresh   atomic.Int64 // when the caches were last known to be fresh, in ns since epoch

	beat struct {
		sync.Mutex
		head store.Rev // fresh becomes at when applied reaches head; 0: nothing to wait for
		at   int64
	}
}

// cached is what coherence needs of a Cache.
type cached interface {
	invalidate(key string, rev int64)
	Drop(key string)
	flush()
}

func (s *Store) add(c cached) {
	s.coherence.mu.Lock()
	defer s.coherence.mu.Unlock()
	var all []cached
	if p := s.caches.Load(); p != nil {
		all = append(all, *p...)
	}
	all = append(all, c)
	s.caches.Store(&all)
}

// OnChange has f called with the storage key of every record that changes: of
// this Store's own changes before Commit returns, and of those that the watch
// brings; of some more than once. An empty key says that any record may have
// changed. The caches that were made before no longer hold the old value then.
// Calls may come at the same time; f must be quick, and not use the Store.
func (s *Store) OnChange(f func(key string)) { s.add(listener(f)) }

// listener is a cache that holds nothing.
type listener func(key string)

func (l listener) invalidate(key string, _ int64) { l(key) }
func (l listener) Drop(key string)                { l(key) }
func (l listener) flush()                         { l("") }

// Fresh reports whether what is cached may be answered without asking the
// store: the caches were known to be fresh lately enough.
func (s *Store) Fresh() bool { return s.usable() }

// Box returns the box that seals the records.
func (s *Store) Box() Box { return s.box }

func (s *Store) allCaches() []cached {
	if p := s.caches.Load(); p != nil {
		return *p
	}
	return nil
}

func (s *Store) slot(key string) *atomic.Int64 {
	return &s.slots[maphash.String(s.seed, key)%slotCount]
}

// apply notes that key changed at rev.
func (s *Store) apply(key string, rev store.Rev) {
	raise(s.slot(key), int64(rev))
	for _, c := range s.allCaches() {
		c.invalidate(key, int64(rev))
	}
}

// drop makes the caches read key again.
func (s *Store) drop(key string) {
	for _, c := range s.allCaches() {
		c.Drop(key)
	}
}

// flushCaches empties the caches, and what was read before head is not kept.
func (s *Store) flushCaches(head store.Rev) {
	raise(&s.floor, int64(head))
	for _, c := range s.allCaches() {
		c.flush()
	}
}

// keepable reports whether a record read at head may be kept.
func (s *Store) keepable(key string, head store.Rev) bool {
	return s.slot(key).Load() <= int64(head) && s.floor.Load() <= int64(head)
}

func raise(a *atomic.Int64, to int64) {
	for {
		v := a.Load()
		if v >= to || a.CompareAndSwap(v, to) {
			return
		}
	}
}

// start begins the watch and the heartbeat.
func (s *Store) start(ctx context.Context) error {
	background, cancel := context.WithCancel(context.Background())
	began := s.sinceEpoch()
	watch, err := s.watch(ctx, background)
	if err != nil {
		cancel()
		return fmt.Errorf("watching the store: %w", err)
	}
	s.fresh.Store(began)
	s.stop = cancel
	s.work.Go(func() { s.follow(background, watch) })
	s.work.Go(func() { s.beats(background) })
	if s.mark != nil {
		s.work.Go(func() { s.marks(background) })
	}
	return nil
}

// watch begins to watch from the store's head on. What was cached before is
// flushed, since changes may have been missed.
func (s *Store) watch(ctx, background context.Context) (<-chan store.Batch, error) {
	head, err := s.st.Head(ctx)
	if err != nil {
		return nil, err
	}
	// All of the store: a watch of less would not tell how far it has come.
	ch, err := s.st.Watch(background, "", head+1)
	if err != nil {
		return nil, err
	}
	s.flushCaches(head)
	s.reached(head)
	return ch, nil
}

// follow applies what the watch says, and begins it again when it breaks.
func (s *Store) follow(ctx context.Context, ch <-chan store.Batch) {
	for {
		var why error
		for b := range ch {
			if b.Err != nil {
				why = b.Err
				break
			}
			for _, key := range b.Keys {
				s.apply(key, b.Rev)
			}
			s.reached(b.Rev)
		}
		for wait := 10 * time.Millisecond; ; wait = min(2*wait, time.Second) {
			if ctx.Err() != nil {
				return
			}
			var err error
			if ch, err = s.watch(ctx, ctx); err == nil {
				s.log.Warn("watch of the store broke and was begun again, caches were flushed", "cause", why)
				break
			}
			if errors.Is(err, store.ErrClosed) {
				return
			}
			select {
			case <-time.After(wait):
			case <-ctx.Done():
			}
		}
	}
}

// reached notes that all changes up to rev are applied.
func (s *Store) reached(rev store.Rev) {
	raise(&s.applied, int64(rev))
	s.beat.Lock()
	defer s.beat.Unlock()
	if s.beat.head != 0 && rev >= s.beat.head {
		raise(&s.fresh, s.beat.at)
		s.beat.head = 0
	}
}

// beats establishes freshness, with each heartbeat.
func (s *Store) beats(ctx context.Context) {
	t := time.NewTicker(s.heartbeat)
	defer t.Stop()
	failing := false
	for {
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
		at := s.sinceEpoch()
		limited, cancel := context.WithTimeout(ctx, 2*s.heartbeat)
		head, err := s.st.Head(limited)
		cancel()
		if err != nil {
			if !failing && ctx.Err() == nil && !errors.Is(err, store.ErrClosed) {
				s.log.Error("the store does not answer, caches grow stale", "cause", err)
			}
			failing = true
			continue
		}
		failing = false
		s.beat.Lock()
		if store.Rev(s.applied.Load()) >= head {
			raise(&s.fresh, at)
		} else if s.beat.head == 0 {
			s.beat.head, s.beat.at = head, at
		}
		s.beat.Unlock()
	}
}

func (s *Store) sinceEpoch() int64 { return int64(s.now().Sub(s.epoch)) }

// Staleness returns the bound on how far the caches are behind the store.
func (s *Store) Staleness() time.Duration {
	return time.Duration(max(0, s.sinceEpoch()-s.fresh.Load()))
}

// usable reports whether the caches may answer by themselves.
func (s *Store) usable() bool {
	return s.sinceEpoch()-s.fresh.Load() <= int64(s.staleLimit)
}
