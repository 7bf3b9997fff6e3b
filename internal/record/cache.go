package record

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"math"
	"strings"
	"sync"
	"sync/atomic"
)

// Cache is a coherent cache of decoded records of one kind. Its methods may be
// called concurrently.
//
// A value that it returns is at most [Store.Staleness] behind the store, which
// is about a second in health; changes made through the same Store are seen at
// once. That there is no record is never cached: it is asked of the store each
// time. Tampering is refused as by [Store.Get], unless the value that is still
// cached is the right one.
//
// Values are shared by all who get them: what a V points to must not be
// changed.
type Cache[V any] struct {
	s      *Store
	kind   Kind
	prefix string
	decode func(Record) (V, error)
	evict  func(V)
	cost   func(V) int // nil: twice the record's length
	seed   maphash.Seed
	shards []cacheShard[V] // a power of two of them
}

type cacheShard[V any] struct {
	mu      sync.RWMutex
	size    int   // entries at most
	budget  int64 // bytes at most
	bytes   int64 // the cost of all entries
	entries map[string]*cacheEntry[V]
	ring    []*cacheEntry[V] // the same ones, for the hand of the clock to go round
	hand    int
	flights map[string]*flight[V] // reads of the store under way that others may share
	_       [64]byte              // keeps shards off each other's cache lines
}

type cacheEntry[V any] struct {
	val  V
	key  string
	rev  int64
	cost int64
	at   int         // index in ring
	used atomic.Bool // since the hand last passed
}

// flight is a read of the store that several wait for.
type flight[V any] struct {
	done chan struct{} // closed when val and err are there
	val  V
	err  error
}

// Limit is how much a cache keeps: whatever is reached first.
type Limit[V any] struct {
	// Count is the most values.
	Count int
	// Bytes is the most memory that values, their keys and what the cache needs
	// for itself may take, by Cost; no limit if 0. A value that would take more
	// than its part of it (of 2 MiB at least, if that is not more than Bytes) is
	// not kept.
	Bytes int64
	// Cost returns how many bytes a value holds, at most. What several values
	// share counts for each, since none of them is known to be the last. It is
	// called once when the value comes, and by [Cache.Weigh], with a lock of the
	// cache held: it must be quick and not use the cache. If it is nil, a value
	// is taken to hold twice the length of its record.
	Cost func(V) int
}

// entryCost is what an entry takes besides its value and its key, in bytes: the
// entry itself, its place in the ring, and that in a map that is half full.
const entryCost = 160

// leastShard is the least number of bytes in a shard, unless there is one alone:
// room for any key with its policy.
const leastShard = 2 << 20

// NewCache returns a cache of records of a kind, under keys that begin with
// prefix. Decode makes the value of a record; an error of it is returned by Get
// and not cached. Evict, if not nil, is called once for each value that leaves
// the cache, for whatever reason, without a lock held; the value may still be in
// use by those who got it before. A value that is not kept at all, because a
// change overtook its being read or because it is too large, is evicted before
// anybody gets it.
//
// A cache lives as long as its Store.
func NewCache[V any](s *Store, kind Kind, prefix string, limit Limit[V], decode func(Record) (V, error), evict func(V)) *Cache[V] {
	if limit.Bytes <= 0 {
		limit.Bytes = math.MaxInt64
	}
	n := 64
	for n > 1 && (limit.Count/n < 16 || limit.Bytes/int64(n) < leastShard) {
		n /= 2
	}
	c := &Cache[V]{s: s, kind: kind, prefix: prefix, decode: decode, evict: evict, cost: limit.Cost, seed: s.seed, shards: make([]cacheShard[V], n)}
	for i := range c.shards {
		sh := &c.shards[i]
		sh.size = max(1, (limit.Count+n-1)/n)
		sh.budget = limit.Bytes / int64(n)
		sh.entries = make(map[string]*cacheEntry[V])
		sh.flights = make(map[string]*flight[V])
	}
	s.add(c)
	return c
}

// Get returns the value of the record at key: its errors are those of
// [Store.Get] and of decode. When the record is cached, nothing is read and
// nothing allocated.
func (c *Cache[V]) Get(ctx context.Context, key []byte) (V, error) {
	sh := &c.shards[maphash.Bytes(c.seed, key)&uint64(len(c.shards)-1)]
	sh.mu.RLock()
	e := sh.entries[string(key)]
	sh.mu.RUnlock()
	if e != nil && c.s.usable() {
		if !e.used.Load() {
			e.used.Store(true)
		}
		return e.val, nil
	}
	return c.miss(ctx, sh, string(key))
}

// miss reads the record, or waits for somebody who does.
//
// A read that began before we came may have missed what was acknowledged
// since. Our own node's changes take such a read out of flights; for others',
// being a moment behind is as good as cached. But that there is no record must
// be true now: so its error is not ours, while that of a later read is.
func (c *Cache[V]) miss(ctx context.Context, sh *cacheShard[V], key string) (V, error) {
	var zero V
	if !strings.HasPrefix(key, c.prefix) {
		return zero, fmt.Errorf("record: %q is not of the cache of %q", key, c.prefix)
	}
	for waited := false; ; waited = true {
		sh.mu.Lock()
		if e := sh.entries[key]; e != nil && c.s.usable() {
			sh.mu.Unlock()
			return e.val, nil
		}
		f := sh.flights[key]
		if f == nil {
			f = &flight[V]{done: make(chan struct{}), err: errAborted}
			sh.flights[key] = f
			sh.mu.Unlock()
			c.fly(ctx, sh, key, f)
			return f.val, f.err
		}
		sh.mu.Unlock()
		select {
		case <-f.done:
		case <-ctx.Done():
			return zero, fmt.Errorf("reading %s: %w", key, ctx.Err())
		}
		if f.err == nil || waited && !aborted(f.err) {
			return f.val, f.err
		}
	}
}

// errAborted is the outcome of a flight whose decode panicked.
var errAborted = errors.New("record: read aborted")

// aborted reports whether an error is that of the flight's own caller rather
// than of the record.
func aborted(err error) bool {
	return errors.Is(err, errAborted) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// fly reads and decodes the record, keeps it if it may be kept, and lands f.
// What leaves the cache for it is evicted first: whoever gets a value that was
// not kept knows by that that it may be out of date.
func (c *Cache[V]) fly(ctx context.Context, sh *cacheShard[V], key string, f *flight[V]) {
	var left []V
	defer func() {
		sh.mu.Lock()
		if sh.flights[key] == f {
			delete(sh.flights, key)
		}
		sh.mu.Unlock()
		defer close(f.done)
		c.evictAll(left)
	}()
	rec, head, err := c.s.load(ctx, c.kind, key)
	if err != nil {
		f.err = err
		return
	}
	val, err := c.decode(rec)
	if err != nil {
		f.err = fmt.Errorf("decoding %s: %w", key, err)
		return
	}
	f.val, f.err = val, nil
	e := &cacheEntry[V]{val: val, key: key, rev: int64(rec.Rev), cost: entryCost + int64(len(key))}
	if c.cost != nil {
		e.cost += int64(c.cost(val))
	} else {
		e.cost += 2 * int64(len(rec.Value))
	}
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if c.s.keepable(key, head) {
		left = sh.insert(e)
	} else {
		left = []V{val}
	}
}

// insert adds e, and returns what had to leave: e itself, if it is too large.
func (sh *cacheShard[V]) insert(e *cacheEntry[V]) []V {
	var left []V
	if old := sh.entries[e.key]; old != nil {
		sh.remove(old)
		left = append(left, old.val)
	}
	if e.cost > sh.budget {
		return append(left, e.val)
	}
	left = sh.makeRoom(left, sh.size-1, sh.budget-e.cost)
	e.at = len(sh.ring)
	sh.ring = append(sh.ring, e)
	sh.entries[e.key] = e
	sh.bytes += e.cost
	return left
}

// makeRoom removes entries until there are no more than so many, of no more
// than so many bytes, and appends their values to left.
func (sh *cacheShard[V]) makeRoom(left []V, count int, bytes int64) []V {
	for len(sh.ring) > max(count, 0) || sh.bytes > bytes && len(sh.ring) > 0 {
		if sh.hand >= len(sh.ring) {
			sh.hand = 0
		}
		// Second chance: what was used since the hand passed stays this time.
		if old := sh.ring[sh.hand]; !old.used.Swap(false) {
			sh.remove(old)
			left = append(left, old.val)
		} else {
			sh.hand++
		}
	}
	return left
}

// Weigh asks again what the value at key costs, after it has come to hold more,
// and makes room for that: the value itself may leave the cache for it, too.
func (c *Cache[V]) Weigh(key string) {
	if c.cost == nil {
		return
	}
	sh := &c.shards[maphash.String(c.seed, key)&uint64(len(c.shards)-1)]
	var left []V
	sh.mu.Lock()
	if e := sh.entries[key]; e != nil {
		cost := entryCost + int64(len(key)) + int64(c.cost(e.val))
		sh.bytes += cost - e.cost
		e.cost = cost
		if cost > sh.budget {
			sh.remove(e)
			left = append(left, e.val)
		}
		left = sh.makeRoom(left, sh.size, sh.budget)
	}
	sh.mu.Unlock()
	c.evictAll(left)
}

func (sh *cacheShard[V]) remove(e *cacheEntry[V]) {
	sh.bytes -= e.cost
	delete(sh.entries, e.key)
	last := len(sh.ring) - 1
	sh.ring[e.at] = sh.ring[last]
	sh.ring[e.at].at = e.at
	sh.ring[last] = nil
	sh.ring = sh.ring[:last]
}

func (c *Cache[V]) evictAll(vals []V) {
	if c.evict != nil {
		for _, v := range vals {
			c.evict(v)
		}
	}
}

// invalidate drops what is cached of key from before rev. A read under way
// began before, so nobody may join it any more.
func (c *Cache[V]) invalidate(key string, rev int64) {
	if !strings.HasPrefix(key, c.prefix) {
		return
	}
	sh := &c.shards[maphash.String(c.seed, key)&uint64(len(c.shards)-1)]
	sh.mu.Lock()
	delete(sh.flights, key)
	e := sh.entries[key]
	gone := e != nil && e.rev < rev
	if gone {
		sh.remove(e)
	}
	sh.mu.Unlock()
	if gone && c.evict != nil {
		c.evict(e.val)
	}
}

// flush drops everything.
func (c *Cache[V]) flush() { c.Sweep(func(V) bool { return false }) }

// Drop drops the value at key from the cache, if there is one: the next Get
// reads the store.
func (c *Cache[V]) Drop(key string) { c.invalidate(key, 1<<63-1) }

// Sweep drops all values for which keep returns false. Keep is called with a
// lock of the cache held: it must be quick and not use the cache.
func (c *Cache[V]) Sweep(keep func(V) bool) {
	for i := range c.shards {
		sh := &c.shards[i]
		var left []V
		sh.mu.Lock()
		clear(sh.flights)
		for j := 0; j < len(sh.ring); {
			if e := sh.ring[j]; keep(e.val) {
				j++
			} else {
				sh.remove(e)
				left = append(left, e.val)
			}
		}
		sh.mu.Unlock()
		c.evictAll(left)
	}
}

// Bytes returns the cost of all cached values.
func (c *Cache[V]) Bytes() int64 {
	n := int64(0)
	for i := range c.shards {
		sh := &c.shards[i]
		sh.mu.RLock()
		n += sh.bytes
		sh.mu.RUnlock()
	}
	return n
}

// Len returns the number of cached values.
func (c *Cache[V]) Len() int {
	n := 0
	for i := range c.shards {
		sh := &c.shards[i]
		sh.mu.RLock()
		n += len(sh.ring)
		sh.mu.RUnlock()
	}
	return n
}
