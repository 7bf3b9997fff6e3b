package record_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyreeve/keyreeve/internal/record"
	"github.com/keyreeve/keyreeve/internal/store"
)

func stringOf(r record.Record) (string, error) { return string(r.Value), nil }

func newCache(s *record.Store, size int, evict func(string)) *record.Cache[string] {
	return record.NewCache(s, record.KindKey, "v1/key/", record.Limit[string]{Count: size}, stringOf, evict)
}

func wantCached(t testing.TB, c *record.Cache[string], key, want string) {
	t.Helper()
	if v, err := c.Get(t.Context(), []byte(key)); v != want || err != nil {
		t.Errorf("cached Get(%s) = %q, %v, want %q", key, v, err, want)
	}
}

// evictions collects what a cache evicts.
type evictions struct {
	mu   sync.Mutex
	vals []string
}

func (e *evictions) add(v string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.vals = append(e.vals, v)
}

func (e *evictions) take() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	vals := e.vals
	e.vals = nil
	slices.Sort(vals)
	return vals
}

func TestCacheReadsOnce(t *testing.T) {
	s, st := newStore(t)
	create(t, s, keyA, "a")
	c := newCache(s, 100, nil)
	before := st.gets.Load()
	for range 10 {
		wantCached(t, c, keyA, "a")
	}
	if n := st.gets.Load() - before; n != 1 || c.Len() != 1 {
		t.Errorf("%d reads of the store, %d entries, want 1 of each", n, c.Len())
	}
	c.Drop(keyA)
	c.Drop(keyB)
	wantCached(t, c, keyA, "a")
	if n := st.gets.Load() - before; n != 2 {
		t.Errorf("%d reads of the store after Drop, want 2", n)
	}
	if _, err := c.Get(t.Context(), []byte("v1/alias/x")); err == nil {
		t.Error("a key of another prefix is no error")
	}
}

func TestWarmGetAllocatesNothing(t *testing.T) {
	s, _ := newStore(t)
	create(t, s, keyA, "a")
	c := newCache(s, 100, nil)
	key := []byte(keyA)
	ctx := t.Context()
	if n := testing.AllocsPerRun(1000, func() {
		if _, err := c.Get(ctx, key); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations for a warm Get", n)
	}
}

func TestCacheReadsOwnWrites(t *testing.T) {
	s, _ := newStore(t)
	var gone evictions
	c := newCache(s, 100, gone.add)
	rec := create(t, s, keyA, "0")
	for i := range 50 {
		wantCached(t, c, keyA, strconv.Itoa(i))
		tx := s.Begin()
		tx.Put(rec, []byte(strconv.Itoa(i+1)))
		commit(t, tx)
		wantCached(t, c, keyA, strconv.Itoa(i+1))
		rec = mustGet(t, s, keyA)
	}
	remove(t, s, keyA)
	if v, err := c.Get(t.Context(), []byte(keyA)); !errors.Is(err, record.ErrNotFound) {
		t.Errorf("cached Get after Delete = %q, %v", v, err)
	}
	create(t, s, keyA, "anew")
	wantCached(t, c, keyA, "anew")
	if got := gone.take(); len(got) != 51 {
		t.Errorf("%d values evicted, want the 51 that were replaced or deleted", len(got))
	}
}

// TestWatchOfOwnChange: the watch tells a node of its own changes, too, and
// that does not cost it what it has read since.
func TestWatchOfOwnChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := store.NewMem()
		defer mem.Close()
		late := make(chan store.Batch)
		st := &hooked{Store: mem}
		st.watch = func(context.Context, string, store.Rev) (<-chan store.Batch, error) { return late, nil }
		s, err := record.Open(t.Context(), st, newBox(t, mem), record.Options{Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		c := newCache(s, 100, nil)
		rec := create(t, s, keyA, "a")
		wantCached(t, c, keyA, "a")
		late <- store.Batch{Rev: rec.Rev, Keys: []string{keyA}}
		synctest.Wait()
		if c.Len() != 1 {
			t.Error("a change that was already seen emptied the cache")
		}
		late <- store.Batch{Rev: rec.Rev + 1, Keys: []string{keyA}}
		synctest.Wait()
		if c.Len() != 0 {
			t.Error("a change that was not seen left the cache as it was")
		}
		close(late)
		s.Close()
	})
}

func TestConflictRefreshes(t *testing.T) {
	st := &hooked{Store: store.NewMem()}
	st.watch = func(ctx context.Context, _ string, _ store.Rev) (<-chan store.Batch, error) {
		ch := make(chan store.Batch) // says nothing
		context.AfterFunc(ctx, func() { close(ch) })
		return ch, nil
	}
	deaf := openStore(t, st, newBox(t, st), record.Options{})
	c := newCache(deaf, 100, nil)
	rec := create(t, deaf, keyA, "old")
	wantCached(t, c, keyA, "old")
	rawPut(t, st, keyA, raw(t, st, keyA)) // a new revision that deaf does not hear of
	tx := deaf.Begin()
	tx.Put(rec, []byte("new"))
	if _, err := tx.Commit(t.Context()); !errors.Is(err, record.ErrConflict) {
		t.Fatal(err)
	}
	if c.Len() != 0 {
		t.Error("a conflict leaves what it was about in the cache")
	}
}

func TestDecodeFails(t *testing.T) {
	s, _ := newStore(t)
	create(t, s, keyA, "a")
	bad := errors.New("bad")
	fail := true
	c := record.NewCache(s, record.KindKey, "v1/key/", record.Limit[string]{Count: 100}, func(r record.Record) (string, error) {
		if fail {
			return "", bad
		}
		return string(r.Value), nil
	}, nil)
	if _, err := c.Get(t.Context(), []byte(keyA)); !errors.Is(err, bad) {
		t.Errorf("Get: %v", err)
	}
	fail = false
	wantCached(t, c, keyA, "a")

	panics := record.NewCache(s, record.KindKey, "v1/key/", record.Limit[string]{Count: 100}, func(r record.Record) (string, error) {
		if !fail {
			fail = true
			panic("decode")
		}
		return string(r.Value), nil
	}, nil)
	func() {
		defer func() { _ = recover() }()
		_, _ = panics.Get(t.Context(), []byte(keyA))
	}()
	wantCached(t, panics, keyA, "a") // and does not hang
}

func TestSecondChance(t *testing.T) {
	s, st := newStore(t)
	var gone evictions
	c := newCache(s, 8, gone.add)
	key := func(i int) string { return fmt.Sprintf("v1/key/%03d", i) }
	for i := range 100 {
		create(t, s, key(i), strconv.Itoa(i))
	}
	wantCached(t, c, key(0), "0")
	for i := 1; i < 100; i++ {
		wantCached(t, c, key(i), strconv.Itoa(i))
		wantCached(t, c, key(0), "0") // used all the time
	}
	if n := c.Len(); n != 8 {
		t.Errorf("%d entries, want 8", n)
	}
	got := gone.take()
	if len(got) != 92 || slices.Contains(got, "0") {
		t.Errorf("%d evicted, want 92 and not 0: %v", len(got), got)
	}
	before := st.gets.Load()
	wantCached(t, c, key(0), "0")
	if st.gets.Load() != before {
		t.Error("what is used all the time was evicted")
	}
	c.Sweep(func(v string) bool { return v == "0" })
	if got := gone.take(); len(got) != 7 || c.Len() != 1 {
		t.Errorf("Sweep evicted %v and left %d", got, c.Len())
	}
	s.Flush()
	if got := gone.take(); !slices.Equal(got, []string{"0"}) || c.Len() != 0 {
		t.Errorf("Flush evicted %v and left %d", got, c.Len())
	}
	wantCached(t, c, key(0), "0")
	s.Close()
	if got := gone.take(); !slices.Equal(got, []string{"0"}) {
		t.Errorf("Close evicted %v", got)
	}
}

// TestMissesShareARead: any number of misses of a key at once read it once.
func TestMissesShareARead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := &hooked{Store: store.NewMem()}
		s, err := record.Open(t.Context(), st, newBox(t, st), record.Options{Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		defer st.Close()
		defer s.Close()
		create(t, s, keyA, "a")
		c := newCache(s, 100, nil)
		synctest.Wait() // the watch has told of its making
		release := make(chan struct{})
		st.get = func(ctx context.Context, key string) (store.KV, store.Rev, error) {
			kv, head, err := st.Store.Get(ctx, key)
			<-release
			return kv, head, err
		}
		before := st.gets.Load()
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() { wantCached(t, c, keyA, "a") })
		}
		synctest.Wait()
		release <- struct{}{}
		wg.Wait()
		if n := st.gets.Load() - before; n != 1 {
			t.Errorf("%d reads for 100 misses at once", n)
		}

		// That there is nothing is believed only of a read begun later.
		before = st.gets.Load()
		for range 100 {
			wg.Go(func() {
				if _, err := c.Get(t.Context(), []byte(keyB)); !errors.Is(err, record.ErrNotFound) {
					t.Errorf("Get of nothing: %v", err)
				}
			})
		}
		synctest.Wait()
		release <- struct{}{}
		synctest.Wait()
		release <- struct{}{}
		wg.Wait()
		if n := st.gets.Load() - before; n != 2 {
			t.Errorf("%d reads for 100 misses of nothing at once, want 2", n)
		}
	})
}

// TestNegativesAreConfirmed: one who asks after a record was made is not told
// what a read from before found, not even by another node's making.
func TestNegativesAreConfirmed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := store.NewMem()
		defer mem.Close()
		box := newBox(t, mem)
		st := &hooked{Store: mem}
		st.watch = func(ctx context.Context, _ string, _ store.Rev) (<-chan store.Batch, error) {
			ch := make(chan store.Batch) // a watch that lags for ever
			context.AfterFunc(ctx, func() { close(ch) })
			return ch, nil
		}
		s, err := record.Open(t.Context(), st, box, record.Options{Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		other, err := record.Open(t.Context(), mem, box, record.Options{Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		defer other.Close()
		c := newCache(s, 100, nil)
		release := make(chan struct{})
		st.get = func(ctx context.Context, key string) (store.KV, store.Rev, error) {
			kv, head, err := mem.Get(ctx, key)
			<-release
			return kv, head, err
		}
		var wg sync.WaitGroup
		wg.Go(func() { _, _ = c.Get(t.Context(), []byte(keyA)) })
		synctest.Wait() // it has read that there is nothing
		create(t, other, keyA, "a")
		wg.Go(func() { wantCached(t, c, keyA, "a") }) // joins it
		synctest.Wait()
		close(release)
		wg.Wait()
	})
}

// TestLeaderGivesUp: those who wait for another's read are not stopped by its
// being cancelled.
func TestLeaderGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := &hooked{Store: store.NewMem()}
		defer st.Close()
		s, err := record.Open(t.Context(), st, newBox(t, st), record.Options{Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		create(t, s, keyA, "a")
		c := newCache(s, 100, nil)
		st.get = func(ctx context.Context, key string) (store.KV, store.Rev, error) {
			select {
			case <-ctx.Done():
				return store.KV{}, 0, ctx.Err()
			case <-time.After(time.Second):
				return st.Store.Get(ctx, key)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := c.Get(ctx, []byte(keyA)); !errors.Is(err, context.Canceled) {
				t.Errorf("cancelled Get: %v", err)
			}
		})
		synctest.Wait()
		wg.Go(func() { wantCached(t, c, keyA, "a") })
		impatient, cancel2 := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel2()
		wg.Go(func() {
			if _, err := c.Get(impatient, []byte(keyA)); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Get with a deadline: %v", err)
			}
		})
		synctest.Wait()
		time.Sleep(2 * time.Millisecond)
		cancel()
		wg.Wait()
	})
}

// TestOvertakenReadIsNotKept: a change while a record is being read keeps the
// old one out of the cache, and off later callers.
func TestOvertakenReadIsNotKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := &hooked{Store: store.NewMem()}
		defer st.Close()
		s, err := record.Open(t.Context(), st, newBox(t, st), record.Options{Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		rec := create(t, s, keyA, "old")
		var gone evictions
		c := newCache(s, 100, gone.add)
		release := make(chan struct{})
		var held atomic.Bool
		st.get = func(ctx context.Context, key string) (store.KV, store.Rev, error) {
			kv, head, err := st.Store.Get(ctx, key)
			if held.CompareAndSwap(false, true) {
				<-release
			}
			return kv, head, err
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			// It began before the change, so either is right.
			if v, err := c.Get(t.Context(), []byte(keyA)); v != "old" && v != "new" {
				t.Errorf("overtaken Get = %q, %v", v, err)
			}
		})
		synctest.Wait()
		tx := s.Begin()
		tx.Put(rec, []byte("new"))
		commit(t, tx)
		wantCached(t, c, keyA, "new") // does not wait for the read under way
		close(release)
		wg.Wait()
		if got := gone.take(); !slices.Equal(got, []string{"old"}) {
			t.Errorf("evicted %v, want what was not kept", got)
		}
		wantCached(t, c, keyA, "new")
		s.Flush()
		if got := gone.take(); !slices.Equal(got, []string{"new"}) {
			t.Errorf("evicted %v, want what was kept, once", got)
		}
	})
}

// TestWatchBreaks: when changes may have been missed, caches are flushed and
// the watch begins again.
func TestWatchBreaks(t *testing.T) {
	mem := store.NewMem()
	defer mem.Close()
	box := newBox(t, mem)
	st := &hooked{Store: mem}
	var watches atomic.Int64
	broken := make(chan store.Batch)
	st.watch = func(ctx context.Context, prefix string, from store.Rev) (<-chan store.Batch, error) {
		switch watches.Add(1) {
		case 1:
			return broken, nil
		case 2:
			return nil, errors.New("not now")
		default:
			return mem.Watch(ctx, prefix, from)
		}
	}
	s := openStore(t, st, box, record.Options{})
	other := openStore(t, mem, box, record.Options{})
	c := newCache(s, 100, nil)
	create(t, other, keyA, "old")
	wantCached(t, c, keyA, "old")
	put(t, other, keyA, "new")
	wantCached(t, c, keyA, "old") // nothing was heard
	broken <- store.Batch{Err: store.ErrCompacted}
	eventually(t, func() bool { v, _ := c.Get(t.Context(), []byte(keyA)); return v == "new" })
	put(t, other, keyA, "newer")
	eventually(t, func() bool { v, _ := c.Get(t.Context(), []byte(keyA)); return v == "newer" })
}

// TestStaleness: freshness is known to a heartbeat; when the store is silent,
// caches answer up to the limit and no longer.
func TestStaleness(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		away := errors.New("away")
		mem := store.NewMem()
		defer mem.Close()
		st := &hooked{Store: mem}
		var gone atomic.Bool
		st.head = func(ctx context.Context) (store.Rev, error) {
			if gone.Load() {
				<-ctx.Done() // as a store does that is cut off
				return 0, away
			}
			return mem.Head(ctx)
		}
		st.get = func(ctx context.Context, key string) (store.KV, store.Rev, error) {
			if gone.Load() {
				return store.KV{}, 0, away
			}
			return mem.Get(ctx, key)
		}
		s, err := record.Open(t.Context(), st, newBox(t, mem), record.Options{StaleLimit: time.Minute, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		create(t, s, keyA, "a")
		c := newCache(s, 100, nil)
		for range 10 {
			wantCached(t, c, keyA, "a")
			time.Sleep(777 * time.Millisecond)
			if d := s.Staleness(); d > 1100*time.Millisecond {
				t.Errorf("stale by %v in health", d)
			}
		}
		gone.Store(true)
		time.Sleep(55 * time.Second)
		wantCached(t, c, keyA, "a")
		if d := s.Staleness(); d < 54*time.Second || d > 57*time.Second {
			t.Errorf("stale by %v after 55 s", d)
		}
		time.Sleep(6 * time.Second)
		if v, err := c.Get(t.Context(), []byte(keyA)); !errors.Is(err, away) {
			t.Errorf("beyond the limit: %q, %v", v, err)
		}
		gone.Store(false)
		wantCached(t, c, keyA, "a") // the store answers again
		time.Sleep(3 * time.Second)
		if d := s.Staleness(); d > 1100*time.Millisecond {
			t.Errorf("stale by %v after the store came back", d)
		}
		before := st.gets.Load()
		wantCached(t, c, keyA, "a")
		if st.gets.Load() != before {
			t.Error("the cache does not answer again")
		}
	})
}

func TestStaleLimitNegative(t *testing.T) {
	st := &hooked{Store: store.NewMem()}
	s := openStore(t, st, newBox(t, st), record.Options{StaleLimit: -1})
	create(t, s, keyA, "a")
	c := newCache(s, 100, nil)
	before := st.gets.Load()
	for range 5 {
		wantCached(t, c, keyA, "a")
	}
	if n := st.gets.Load() - before; n != 5 {
		t.Errorf("%d reads of the store for 5 Gets", n)
	}
}

// TestLaggingWatchIsStale: a store that answers is not enough; the watch must
// have come as far.
func TestLaggingWatchIsStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := store.NewMem()
		defer mem.Close()
		st := &hooked{Store: mem}
		lag := make(chan store.Batch)
		st.watch = func(ctx context.Context, prefix string, from store.Rev) (<-chan store.Batch, error) { return lag, nil }
		s, err := record.Open(t.Context(), st, newBox(t, mem), record.Options{Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		create(t, s, keyA, "a")
		head, _ := mem.Head(t.Context())
		time.Sleep(30 * time.Second)
		if d := s.Staleness(); d < 29*time.Second {
			t.Errorf("stale by %v though the watch is behind", d)
		}
		lag <- store.Batch{Rev: head, Keys: []string{keyA}}
		synctest.Wait()
		if d := s.Staleness(); d > 30*time.Second {
			t.Errorf("stale by %v when the watch has come up", d)
		}
		time.Sleep(2 * time.Second)
		if d := s.Staleness(); d > 1100*time.Millisecond {
			t.Errorf("stale by %v a while after", d)
		}
		close(lag)
		s.Close()
	})
}

// TestCoherence lets two nodes change and read the same records. A node always
// sees its own changes, never goes back, and comes to see all.
func TestCoherence(t *testing.T) {
	mem := store.NewMem()
	defer mem.Close()
	box := newBox(t, mem)
	const keys = 8
	key := func(i int) string { return fmt.Sprintf("v1/key/%d", i) }
	type node struct {
		s *record.Store
		c *record.Cache[int]
	}
	var nodes []node
	for range 2 {
		s := openStore(t, mem, box, record.Options{})
		nodes = append(nodes, node{s, record.NewCache(s, record.KindKey, "v1/key/", record.Limit[int]{Count: 6}, func(r record.Record) (int, error) {
			return strconv.Atoi(string(r.Value))
		}, nil)})
	}
	for i := range keys {
		create(t, nodes[0].s, key(i), "0")
	}
	var wg sync.WaitGroup
	stop := make(chan struct{})
	var changes [keys]atomic.Int64
	for _, n := range nodes {
		for range 3 {
			wg.Go(func() { // a writer: counts records up, and checks its own writes
				for range 150 {
					i := rand.IntN(keys)
					rec, err := n.s.Get(t.Context(), record.KindKey, key(i))
					if err != nil {
						t.Errorf("Get: %v", err)
						return
					}
					v, _ := strconv.Atoi(string(rec.Value))
					tx := n.s.Begin()
					tx.Put(rec, []byte(strconv.Itoa(v+1)))
					if _, err := tx.Commit(t.Context()); errors.Is(err, record.ErrConflict) {
						continue
					} else if err != nil {
						t.Errorf("Commit: %v", err)
						return
					}
					changes[i].Add(1)
					if got, err := n.c.Get(t.Context(), []byte(key(i))); err != nil || got < v+1 {
						t.Errorf("own write of %d not seen: %d, %v", v+1, got, err)
					}
				}
			})
		}
		for range 3 {
			wg.Go(func() { // a reader: never sees a record go back
				var last [keys]int
				for {
					select {
					case <-stop:
						return
					default:
					}
					i := rand.IntN(keys)
					got, err := n.c.Get(t.Context(), []byte(key(i)))
					if err != nil || got < last[i] {
						t.Errorf("record %d went from %d to %d, %v", i, last[i], got, err)
						return
					}
					last[i] = got
				}
			})
		}
	}
	time.AfterFunc(300*time.Millisecond, func() { close(stop) })
	wg.Wait()
	for _, n := range nodes {
		for i := range keys {
			want := int(changes[i].Load())
			eventually(t, func() bool {
				got, err := n.c.Get(t.Context(), []byte(key(i)))
				return err == nil && got == want
			})
		}
	}
}

// TestCreateDeleteRace: names made and deleted by many at once never look
// tampered with.
func TestCreateDeleteRace(t *testing.T) {
	s, _ := newStore(t)
	c := newCache(s, 4, nil)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 200 {
				key := fmt.Sprintf("v1/key/%d", rand.IntN(3))
				rec, err := s.Get(t.Context(), record.KindKey, key)
				tx := s.Begin()
				switch {
				case errors.Is(err, record.ErrNotFound):
					tx.Create(record.KindKey, key, []byte("x"))
				case err != nil:
					t.Errorf("Get: %v", err)
					return
				default:
					tx.Delete(rec)
				}
				if _, err := tx.Commit(t.Context()); err != nil && !errors.Is(err, record.ErrConflict) {
					t.Errorf("Commit: %v", err)
				}
				if _, err := c.Get(t.Context(), []byte(key)); err != nil && !errors.Is(err, record.ErrNotFound) {
					t.Errorf("cached Get: %v", err)
				}
			}
		})
	}
	wg.Wait()
}

func BenchmarkCacheGet(b *testing.B) {
	s, _ := newStore(b)
	c := newCache(s, 10_000, nil)
	var keys [][]byte
	for i := range 1000 {
		key := fmt.Sprintf("v1/key/111122223333/us-east-1/%036d", i)
		create(b, s, key, "x")
		keys = append(keys, []byte(key))
		wantCached(b, c, key, "x")
	}
	b.Run("one key", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				_, _ = c.Get(b.Context(), keys[0])
			}
		})
	})
	b.Run("many keys", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for i := rand.IntN(len(keys)); pb.Next(); i++ {
				_, _ = c.Get(b.Context(), keys[i%len(keys)])
			}
		})
	})
	b.Run("miss", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			c.Drop(string(keys[0]))
			_, _ = c.Get(b.Context(), keys[0])
		}
	})
}

func BenchmarkCommit(b *testing.B) {
	s, _ := newStore(b)
	val := make([]byte, 700)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		i++
		tx := s.Begin()
		tx.Create(record.KindKey, fmt.Sprintf("v1/key/%d", i), val)
		tx.Create(record.KindMaterial, fmt.Sprintf("v1/mat/%d", i), val)
		if _, err := tx.Commit(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}

// TestCacheBytes: a cache holds no more bytes than it may, lets go of what was
// not used first, tells of all that leaves it, and does not keep what is larger
// than a shard.
func TestCacheBytes(t *testing.T) {
	s, st := newStore(t)
	var gone evictions
	grown := map[string]int{}
	var mu sync.Mutex
	cost := func(v string) int {
		mu.Lock()
		defer mu.Unlock()
		return len(v) + grown[v]
	}
	const budget = 100_000
	c := record.NewCache(s, record.KindKey, "v1/key/", record.Limit[string]{Count: 1000, Bytes: budget, Cost: cost}, stringOf, gone.add)
	value := func(i int) string { return fmt.Sprintf("%02d", i) + strings.Repeat("x", 10_000) }
	key := func(i int) string { return fmt.Sprintf("v1/key/%02d", i) }
	for i := range 50 {
		create(t, s, key(i), value(i))
		wantCached(t, c, key(i), value(i))
		wantCached(t, c, key(0), value(0)) // which is in use
		if c.Bytes() > budget {
			t.Fatalf("%d bytes are cached of %d", c.Bytes(), budget)
		}
	}
	left := gone.take()
	if c.Len() != 9 || len(left) != 41 || slices.Contains(left, value(0)) || !slices.Contains(left, value(1)) {
		t.Errorf("%d values are cached, %d have left", c.Len(), len(left))
	}
	reads := st.gets.Load()
	wantCached(t, c, key(0), value(0))
	if st.gets.Load() != reads {
		t.Error("what was in use has left")
	}

	// One that is too large: nothing goes for it, and it is read each time.
	create(t, s, "v1/key/large", strings.Repeat("y", budget))
	for range 2 {
		wantCached(t, c, "v1/key/large", strings.Repeat("y", budget))
		if left := gone.take(); c.Len() != 9 || len(left) != 1 || left[0][0] != 'y' {
			t.Errorf("%d values are cached, %d have left", c.Len(), len(left))
		}
	}

	// One that has come to hold more makes room for it, or leaves.
	mu.Lock()
	grown[value(0)] = budget / 2
	mu.Unlock()
	c.Weigh(key(0))
	c.Weigh("v1/key/unknown")
	if left := gone.take(); c.Bytes() > budget || c.Bytes() < budget/2 || len(left) != 5 || slices.Contains(left, value(0)) {
		t.Errorf("%d bytes are cached, and %d values have left", c.Bytes(), len(left))
	}
	mu.Lock()
	grown[value(0)] = budget
	mu.Unlock()
	before := c.Len()
	c.Weigh(key(0))
	if left := gone.take(); c.Len() != before-1 || len(left) != 1 || left[0] != value(0) {
		t.Errorf("%d values are cached of %d, and %d have left", c.Len(), before, len(left))
	}

	// What goes otherwise takes its bytes along.
	c.Sweep(func(string) bool { return false })
	if c.Bytes() != 0 || c.Len() != 0 || len(gone.take()) != before-1 {
		t.Errorf("%d values of %d bytes are left", c.Len(), c.Bytes())
	}
}

// TestCacheCost: without a function, a value costs twice its record; a cache of
// many shards keeps what has room in one of them.
func TestCacheCost(t *testing.T) {
	s, _ := newStore(t)
	const budget = 64 << 20
	c := record.NewCache(s, record.KindKey, "v1/key/", record.Limit[string]{Count: 1 << 16, Bytes: budget}, stringOf, nil)
	create(t, s, "v1/key/fits", strings.Repeat("x", 1_000_000))
	create(t, s, "v1/key/not", strings.Repeat("x", 1_048_500))
	for _, key := range []string{"v1/key/fits", "v1/key/not"} {
		if _, err := c.Get(t.Context(), []byte(key)); err != nil {
			t.Fatal(err)
		}
	}
	if n := c.Bytes(); c.Len() != 1 || n < 2_000_000 || n > 2_001_000 {
		t.Errorf("%d values are cached, of %d bytes", c.Len(), n)
	}
}

// TestCacheBytesConcurrently: values of many sizes come, grow and go at once; in
// the end the bytes are those of what is there.
func TestCacheBytesConcurrently(t *testing.T) {
	s, _ := newStore(t)
	const keys, budget = 64, 3 << 20
	var came, left atomic.Int64
	decode := func(r record.Record) (string, error) { came.Add(1); return string(r.Value), nil }
	var extra atomic.Int64
	c := record.NewCache(s, record.KindKey, "v1/key/", record.Limit[string]{
		Count: 1 << 10, Bytes: budget,
		Cost: func(v string) int { return len(v) + int(extra.Load()) },
	}, decode, func(string) { left.Add(1) })
	key := func(i int) string { return fmt.Sprintf("v1/key/%d", i) }
	for i := range keys {
		create(t, s, key(i), strings.Repeat("x", 1000*i))
	}
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for n := range 400 {
				i := (w*97 + n*31) % keys
				if v, err := c.Get(t.Context(), []byte(key(i))); err != nil || len(v) != 1000*i {
					t.Errorf("Get(%s) = %d bytes, %v", key(i), len(v), err)
				}
				switch n % 20 {
				case 5:
					extra.Store(int64(rand.IntN(100_000)))
					c.Weigh(key(i))
				case 10:
					c.Drop(key(i))
				}
				if n := c.Bytes(); n > budget || n < 0 {
					t.Errorf("%d bytes are cached of %d", n, budget)
				}
			}
		})
	}
	wg.Wait()
	if n := came.Load() - left.Load(); n != int64(c.Len()) {
		t.Errorf("%d values have come and %d left, and %d are there", came.Load(), left.Load(), c.Len())
	}
	c.Sweep(func(string) bool { return false })
	if c.Bytes() != 0 {
		t.Errorf("nothing is cached, and takes %d bytes", c.Bytes())
	}
}
