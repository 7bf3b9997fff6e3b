package record_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyreeve/keyreeve/internal/record"
	"github.com/keyreeve/keyreeve/internal/seal"
	"github.com/keyreeve/keyreeve/internal/store"
	"github.com/keyreeve/keyreeve/internal/store/boltstore"
)

// hooked is a store whose calls a test can count, hold up and spoil.
type hooked struct {
	store.Store
	gets   atomic.Int64
	get    func(ctx context.Context, key string) (store.KV, store.Rev, error)
	commit func(ctx context.Context, conds []store.Cond, ops []store.Op) (store.Rev, bool, error)
	watch  func(ctx context.Context, prefix string, from store.Rev) (<-chan store.Batch, error)
	head   func(ctx context.Context) (store.Rev, error)
}

func (h *hooked) Get(ctx context.Context, key string) (store.KV, store.Rev, error) {
	h.gets.Add(1)
	if h.get != nil {
		return h.get(ctx, key)
	}
	return h.Store.Get(ctx, key)
}

func (h *hooked) Commit(ctx context.Context, conds []store.Cond, ops []store.Op) (store.Rev, bool, error) {
	if h.commit != nil {
		return h.commit(ctx, conds, ops)
	}
	return h.Store.Commit(ctx, conds, ops)
}

func (h *hooked) Watch(ctx context.Context, prefix string, from store.Rev) (<-chan store.Batch, error) {
	if h.watch != nil {
		return h.watch(ctx, prefix, from)
	}
	return h.Store.Watch(ctx, prefix, from)
}

func (h *hooked) Head(ctx context.Context) (store.Rev, error) {
	if h.head != nil {
		return h.head(ctx)
	}
	return h.Store.Head(ctx)
}

func newBox(t testing.TB, st store.Store) *seal.Box {
	t.Helper()
	box, err := seal.Open(t.Context(), st, seal.Options{Provider: seal.Memory()})
	if err != nil {
		t.Fatal(err)
	}
	return box
}

func openStore(t testing.TB, st store.Store, box record.Box, o record.Options) *record.Store {
	t.Helper()
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s, err := record.Open(t.Context(), st, box, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// newStore returns records over a new store in memory, and that store.
func newStore(t testing.TB) (*record.Store, *hooked) {
	t.Helper()
	st := &hooked{Store: store.NewMem()}
	t.Cleanup(func() { st.Close() })
	return openStore(t, st, newBox(t, st), record.Options{}), st
}

const (
	keyA = "v1/key/111122223333/us-east-1/a"
	keyB = "v1/key/111122223333/us-east-1/b"
)

func create(t testing.TB, s *record.Store, key, val string) record.Record {
	t.Helper()
	tx := s.Begin()
	tx.Create(record.KindKey, key, []byte(val))
	commit(t, tx)
	return mustGet(t, s, key)
}

func put(t testing.TB, s *record.Store, key, val string) record.Record {
	t.Helper()
	tx := s.Begin()
	tx.Put(mustGet(t, s, key), []byte(val))
	commit(t, tx)
	return mustGet(t, s, key)
}

func remove(t testing.TB, s *record.Store, key string) {
	t.Helper()
	tx := s.Begin()
	tx.Delete(mustGet(t, s, key))
	commit(t, tx)
}

func commit(t testing.TB, tx *record.Tx) store.Rev {
	t.Helper()
	rev, err := tx.Commit(t.Context())
	if err != nil {
		t.Fatalf("Commit: %v", err)
	}
	return rev
}

func mustGet(t testing.TB, s *record.Store, key string) record.Record {
	t.Helper()
	rec, err := s.Get(t.Context(), record.KindKey, key)
	if err != nil {
		t.Fatalf("Get(%s): %v", key, err)
	}
	return rec
}

// raw returns what stands in the store itself.
func raw(t testing.TB, st store.Store, key string) []byte {
	t.Helper()
	kv, _, err := st.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	return kv.Val
}

// rawPut changes the store underneath; a nil val deletes.
func rawPut(t testing.TB, st store.Store, key string, val []byte) {
	t.Helper()
	if _, ok, err := st.Commit(t.Context(), nil, []store.Op{{Key: key, Val: val}}); !ok || err != nil {
		t.Fatal(ok, err)
	}
}

func TestRecord(t *testing.T) {
	s, _ := newStore(t)
	ctx := t.Context()
	if _, err := s.Get(ctx, record.KindKey, keyA); !errors.Is(err, record.ErrNotFound) {
		t.Errorf("Get of nothing: %v", err)
	}
	first := create(t, s, keyA, "one")
	if string(first.Value) != "one" || first.Key != keyA || first.Kind != record.KindKey || first.Rev == 0 {
		t.Errorf("Get = %+v", first)
	}
	if d := time.Since(time.UnixMicro(int64(first.Generation))); d < 0 || d > time.Minute {
		t.Errorf("generation %d is not now", first.Generation)
	}
	second := put(t, s, keyA, "two")
	if string(second.Value) != "two" || second.Generation <= first.Generation || second.Rev <= first.Rev {
		t.Errorf("Get after Put = %+v, before %+v", second, first)
	}
	empty := put(t, s, keyA, "")
	if len(empty.Value) != 0 || empty.Generation <= second.Generation {
		t.Errorf("Get of an empty record = %+v", empty)
	}
	remove(t, s, keyA)
	if _, err := s.Get(ctx, record.KindKey, keyA); !errors.Is(err, record.ErrNotFound) {
		t.Errorf("Get after Delete: %v", err)
	}
	if again := create(t, s, keyA, "again"); again.Generation <= empty.Generation {
		t.Errorf("made anew with generation %d, deleted with %d", again.Generation, empty.Generation)
	}
}

func TestNothingInTheClear(t *testing.T) {
	s, st := newStore(t)
	create(t, s, keyA, "a value to look for")
	var b bytes.Buffer
	if err := st.Snapshot(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(b.Bytes(), []byte("look for")) {
		t.Error("the value stands in the store in the clear")
	}
}

func TestConflicts(t *testing.T) {
	s, _ := newStore(t)
	a := create(t, s, keyA, "one")
	newer := put(t, s, keyA, "two")
	for name, f := range map[string]func(tx *record.Tx){
		"Create of what is there": func(tx *record.Tx) { tx.Create(record.KindKey, keyA, nil) },
		"Put on an old one":       func(tx *record.Tx) { tx.Put(a, []byte("x")) },
		"Delete of an old one":    func(tx *record.Tx) { tx.Delete(a) },
		"Check of an old one":     func(tx *record.Tx) { tx.Check(a); tx.Create(record.KindKey, keyB, nil) },
		"Absent, but there":       func(tx *record.Tx) { tx.Absent(keyA); tx.Create(record.KindKey, keyB, nil) },
		"one of two":              func(tx *record.Tx) { tx.Create(record.KindKey, keyB, nil); tx.Put(a, nil) },
	} {
		tx := s.Begin()
		f(tx)
		if _, err := tx.Commit(t.Context()); !errors.Is(err, record.ErrConflict) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := mustGet(t, s, keyA); got.Rev != newer.Rev {
		t.Errorf("after conflicts: %+v", got)
	}
	tx := s.Begin()
	tx.Check(newer)
	tx.Absent(keyB)
	tx.Create(record.KindKey, keyB, []byte("b"))
	commit(t, tx)
	if got := mustGet(t, s, keyB); string(got.Value) != "b" {
		t.Errorf("Get = %+v", got)
	}

	tx = s.Begin()
	tx.Put(record.Record{Kind: record.KindKey, Key: keyA}, nil)
	if _, err := tx.Commit(t.Context()); err == nil || errors.Is(err, record.ErrConflict) {
		t.Errorf("Put of a record that was never read: %v", err)
	}
	tx = s.Begin()
	tx.Create(0, "v1/key/x", nil)
	if _, err := tx.Commit(t.Context()); err == nil {
		t.Error("Create of no kind is no error")
	}
	tx = s.Begin()
	tx.Create(record.KindKey, "v1/key/x", make([]byte, store.MaxValue))
	if _, err := tx.Commit(t.Context()); !errors.Is(err, store.ErrTooLarge) {
		t.Errorf("Create of too much: %v", err)
	}
}

func TestList(t *testing.T) {
	s, _ := newStore(t)
	for i := range 25 {
		create(t, s, fmt.Sprintf("v1/key/1/r/%02d", i), strconv.Itoa(i))
	}
	create(t, s, "v1/key/1/r2/00", "other region")
	tx := s.Begin()
	tx.Create(record.KindAlias, "v1/key/1/ra/alias", nil)
	commit(t, tx)
	var got []string
	after, pages := "", 0
	for {
		recs, err := s.List(t.Context(), record.KindKey, "v1/key/1/r/", after, 10)
		if err != nil {
			t.Fatal(err)
		}
		if len(recs) == 0 {
			break
		}
		pages++
		for i, r := range recs {
			if r.Err != nil {
				t.Error(r.Err)
			}
			got = append(got, string(r.Value))
			after = recs[i].Key
		}
	}
	var want []string
	for i := range 25 {
		want = append(want, strconv.Itoa(i))
	}
	if !slices.Equal(got, want) || pages != 3 {
		t.Errorf("List = %v in %d pages", got, pages)
	}
	if recs, err := s.List(t.Context(), record.KindKey, "v1/key/2/", "", 10); err != nil || len(recs) != 0 {
		t.Errorf("List of nothing = %v, %v", recs, err)
	}
	if recs, err := s.List(t.Context(), record.KindKey, "v1/key/1/ra/", "", 10); err != nil || len(recs) != 1 || !errors.Is(recs[0].Err, record.ErrTampered) {
		t.Errorf("List of another kind: %v, %v", recs, err)
	}
	keys, err := s.Keys(t.Context(), "v1/key/1/r/", "v1/key/1/r/22", 10)
	if want := []string{"v1/key/1/r/23", "v1/key/1/r/24"}; err != nil || !slices.Equal(keys, want) {
		t.Errorf("Keys = %v, %v; want %v", keys, err, want)
	}
}

// TestListDamaged: what does not open is listed as that, and can be deleted for
// good; the others are listed as they are.
func TestListDamaged(t *testing.T) {
	// What was put back is looked at again and again.
	synctest.Test(t, func(t *testing.T) {
		s, st := newStore(t)
		for i := range 5 {
			create(t, s, fmt.Sprintf("v1/key/%d", i), strconv.Itoa(i))
		}
		old := raw(t, st, "v1/key/1")
		put(t, s, "v1/key/1", "newer")
		rawPut(t, st, "v1/key/1", old) // put back
		rawPut(t, st, "v1/key/2", raw(t, st, "v1/key/0"))
		rawPut(t, st, "v1/key/3", []byte{1})
		recs, err := s.List(t.Context(), record.KindKey, "v1/key/", "", 0)
		if err != nil || len(recs) != 5 {
			t.Fatalf("List: %d records, %v", len(recs), err)
		}
		for i, r := range recs {
			damaged := i >= 1 && i <= 3
			if errors.Is(r.Err, record.ErrTampered) != damaged || r.Key != fmt.Sprintf("v1/key/%d", i) || r.Rev == 0 || (r.Value == nil) != damaged {
				t.Errorf("record %d: %+v", i, r)
			}
			if damaged {
				tx := s.Begin()
				tx.Delete(r.Record)
				commit(t, tx)
				if _, err := s.Get(t.Context(), record.KindKey, r.Key); !errors.Is(err, record.ErrNotFound) {
					t.Errorf("record %d, deleted: %v", i, err)
				}
			}
		}
		rawPut(t, st, "v1/key/1", old)
		if _, err := s.Get(t.Context(), record.KindKey, "v1/key/1"); !errors.Is(err, record.ErrTampered) {
			t.Errorf("put back once more, after it was deleted: %v", err)
		}
	})
}

// TestListSealed: that the box is sealed is no record's own error.
func TestListSealed(t *testing.T) {
	st := store.NewMem()
	defer st.Close()
	box := newBox(t, st)
	s := openStore(t, st, box, record.Options{})
	create(t, s, keyA, "a")
	box.Lock()
	if recs, err := s.List(t.Context(), record.KindKey, "v1/key/", "", 0); !errors.Is(err, seal.ErrSealed) {
		t.Errorf("List: %v, %v", recs, err)
	}
}

// TestTampering changes the store underneath in every way that a thief of it
// could. Each is refused or takes something away, and none gives anything.
func TestTampering(t *testing.T) {
	type env struct {
		s   *record.Store
		st  store.Store
		box *seal.Box
	}
	for _, c := range []struct {
		name string
		do   func(t *testing.T, e env) // A is at its second generation, "new"
		want error
	}{
		{"deleted", func(t *testing.T, e env) { rawPut(t, e.st, keyA, nil) }, record.ErrNotFound},
		{"another's value", func(t *testing.T, e env) { rawPut(t, e.st, keyA, raw(t, e.st, keyB)) }, record.ErrTampered},
		{"another's newer value", func(t *testing.T, e env) {
			put(t, e.s, keyB, "b")
			rawPut(t, e.st, keyA, raw(t, e.st, keyB))
		}, record.ErrTampered},
		{"another kind's byte", func(t *testing.T, e env) {
			b := raw(t, e.st, keyA)
			b[1] = byte(record.KindMaterial)
			rawPut(t, e.st, keyA, b)
		}, record.ErrTampered},
		{"a later generation claimed", func(t *testing.T, e env) {
			b := raw(t, e.st, keyA)
			b[9]++
			rawPut(t, e.st, keyA, b)
		}, record.ErrTampered},
		{"another schema", func(t *testing.T, e env) {
			b := raw(t, e.st, keyA)
			b[0] = 2
			rawPut(t, e.st, keyA, b)
		}, record.ErrTampered},
		{"emptied", func(t *testing.T, e env) { rawPut(t, e.st, keyA, []byte{}) }, record.ErrTampered},
		{"header alone", func(t *testing.T, e env) { rawPut(t, e.st, keyA, raw(t, e.st, keyA)[:10]) }, record.ErrTampered},
		{"cut", func(t *testing.T, e env) {
			b := raw(t, e.st, keyA)
			rawPut(t, e.st, keyA, b[:len(b)-1])
		}, record.ErrTampered},
		{"put back from before a change", func(t *testing.T, e env) {
			old := raw(t, e.st, keyA)
			put(t, e.s, keyA, "newer")
			rawPut(t, e.st, keyA, old)
		}, record.ErrTampered},
		{"put back from before a change that was only read", func(t *testing.T, e env) {
			old := raw(t, e.st, keyA)
			other := openStore(t, e.st, e.box, record.Options{})
			put(t, other, keyA, "newer")
			mustGet(t, e.s, keyA)
			rawPut(t, e.st, keyA, old)
		}, record.ErrTampered},
		{"put back after it was deleted", func(t *testing.T, e env) {
			old := raw(t, e.st, keyA)
			remove(t, e.s, keyA)
			rawPut(t, e.st, keyA, old)
		}, record.ErrTampered},
		{"put back after it was deleted and made anew", func(t *testing.T, e env) {
			old := raw(t, e.st, keyA)
			remove(t, e.s, keyA)
			create(t, e.s, keyA, "anew")
			rawPut(t, e.st, keyA, old)
		}, record.ErrTampered},
		{"put back after another node deleted it", func(t *testing.T, e env) {
			old := raw(t, e.st, keyA)
			rawPut(t, e.st, keyA, nil)
			if _, err := e.s.Get(t.Context(), record.KindKey, keyA); !errors.Is(err, record.ErrNotFound) {
				t.Fatal(err)
			}
			rawPut(t, e.st, keyA, old)
		}, record.ErrTampered},
	} {
		t.Run(c.name, func(t *testing.T) {
			// What was put back is looked at again and again.
			synctest.Test(t, func(t *testing.T) {
				st := store.NewMem()
				box := newBox(t, st)
				s := openStore(t, st, box, record.Options{})
				cache := record.NewCache(s, record.KindKey, "v1/key/", record.Limit[string]{Count: 100}, func(r record.Record) (string, error) { return string(r.Value), nil }, nil)
				create(t, s, keyA, "old")
				create(t, s, keyB, "b")
				put(t, s, keyA, "new")
				if v, err := cache.Get(t.Context(), []byte(keyA)); v != "new" || err != nil {
					t.Fatalf("cached Get = %q, %v", v, err)
				}
				c.do(t, env{s, st, box})
				if rec, err := s.Get(t.Context(), record.KindKey, keyA); !errors.Is(err, c.want) {
					t.Errorf("Get = %q, %v, want %v", rec.Value, err, c.want)
				}
				recs, err := s.List(t.Context(), record.KindKey, "v1/key/", "", 0)
				if c.want == record.ErrTampered && (err != nil || len(recs) != 2 || !errors.Is(recs[0].Err, c.want) || recs[0].Value != nil || recs[1].Err != nil) {
					t.Errorf("List = %v, %v, want %v of the first, and the other", recs, err, c.want)
				}
				if c.want == record.ErrNotFound && (err != nil || len(recs) != 1) {
					t.Errorf("List = %v, %v, want one record", recs, err)
				}
				// The watch takes what was cached away.
				eventually(t, func() bool {
					v, err := cache.Get(t.Context(), []byte(keyA))
					if err == nil && v != "new" && v != "newer" && v != "anew" {
						t.Errorf("cached Get = %q", v)
					}
					return errors.Is(err, c.want)
				})
				if rec, err := s.Get(t.Context(), record.KindKey, keyB); err != nil || string(rec.Value) != "b" {
					t.Errorf("the record beside it = %q, %v", rec.Value, err)
				}
			})
		})
	}
}

// TestSwapped: what stands at a key opens there alone, also for one who has
// never seen it, and whatever the lengths of the keys.
func TestSwapped(t *testing.T) {
	st := store.NewMem()
	box := newBox(t, st)
	s := openStore(t, st, box, record.Options{})
	keys := []string{"v1/key/a", "v1/key/b", "v1/key/ab", "v1/key/a/"}
	stored := map[string][]byte{}
	for _, key := range keys {
		create(t, s, key, "same")
		stored[key] = raw(t, st, key)
	}
	for _, key := range keys {
		for _, from := range keys {
			rawPut(t, st, key, stored[from])
			rec, err := openStore(t, st, box, record.Options{}).Get(t.Context(), record.KindKey, key)
			if from == key && (err != nil || string(rec.Value) != "same") {
				t.Errorf("%s: %q, %v", key, rec.Value, err)
			}
			if from != key && !errors.Is(err, record.ErrTampered) {
				t.Errorf("what stood at %s, at %s: %q, %v", from, key, rec.Value, err)
			}
		}
	}
}

// TestEveryBit: no bit of a stored record can be changed.
func TestEveryBit(t *testing.T) {
	s, st := newStore(t)
	create(t, s, keyA, "value")
	whole := raw(t, st, keyA)
	for i := range whole {
		for bit := range 8 {
			b := bytes.Clone(whole)
			b[i] ^= 1 << bit
			rawPut(t, st, keyA, b)
			if _, err := s.Get(t.Context(), record.KindKey, keyA); !errors.Is(err, record.ErrTampered) {
				t.Fatalf("bit %d of byte %d changed: %v", bit, i, err)
			}
		}
	}
	rawPut(t, st, keyA, whole)
	mustGet(t, s, keyA)
}

// TestKindOfKey: a record is not taken for one of another kind, whoever asks.
func TestKindOfKey(t *testing.T) {
	s, _ := newStore(t)
	create(t, s, keyA, "value")
	if _, err := s.Get(t.Context(), record.KindMaterial, keyA); !errors.Is(err, record.ErrTampered) {
		t.Errorf("Get as another kind: %v", err)
	}
}

// TestSealed: a locked box is not tampering.
func TestSealed(t *testing.T) {
	st := store.NewMem()
	box := newBox(t, st)
	s := openStore(t, st, box, record.Options{})
	create(t, s, keyA, "value")
	box.Lock()
	if _, err := s.Get(t.Context(), record.KindKey, keyA); !errors.Is(err, seal.ErrSealed) || errors.Is(err, record.ErrTampered) {
		t.Errorf("Get: %v", err)
	}
	tx := s.Begin()
	tx.Create(record.KindKey, keyB, nil)
	if _, err := tx.Commit(t.Context()); !errors.Is(err, seal.ErrSealed) {
		t.Errorf("Commit: %v", err)
	}
}

// TestGenerationsWithoutClock: generations rise even if the clock stands or
// goes back, and each node goes on from what it has seen.
func TestGenerationsWithoutClock(t *testing.T) {
	st := store.NewMem()
	box := newBox(t, st)
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	s := openStore(t, st, box, record.Options{Now: func() time.Time { now = now.Add(-time.Millisecond); return now }})
	last := create(t, s, keyA, "0").Generation
	for i := range 20 {
		g := put(t, s, keyA, strconv.Itoa(i)).Generation
		if g <= last {
			t.Fatalf("generation %d after %d", g, last)
		}
		last = g
	}
	behind := openStore(t, st, box, record.Options{Now: func() time.Time { return now.Add(-time.Hour) }})
	if g := put(t, behind, keyA, "x").Generation; g <= last {
		t.Errorf("a node behind made generation %d after %d", g, last)
	}
	mustGet(t, s, keyA)
}

// TestMemoryIsBounded: only so many generations are remembered; those used last
// are.
func TestMemoryIsBounded(t *testing.T) {
	st := store.NewMem()
	s := openStore(t, st, newBox(t, st), record.Options{Remember: 640})
	create(t, s, keyA, "old")
	old := raw(t, st, keyA)
	put(t, s, keyA, "new")
	for i := range 5000 {
		create(t, s, fmt.Sprintf("v1/key/%05d", i), "x")
		if i%4 == 0 {
			mustGet(t, s, keyA)
		}
	}
	rawPut(t, st, keyA, old)
	if _, err := s.Get(t.Context(), record.KindKey, keyA); !errors.Is(err, record.ErrTampered) {
		t.Errorf("Get of a record in use: %v", err)
	}
}

// TestCommitSettles: whatever the store says or does not say, Commit finds out
// what happened.
func TestCommitSettles(t *testing.T) {
	lost := errors.New("connection lost")
	for _, c := range []struct {
		name   string
		commit func(st *hooked) func(context.Context, []store.Cond, []store.Op) (store.Rev, bool, error)
		want   error
	}{
		{"failed", func(st *hooked) func(context.Context, []store.Cond, []store.Op) (store.Rev, bool, error) {
			return func(context.Context, []store.Cond, []store.Op) (store.Rev, bool, error) { return 0, false, lost }
		}, lost},
		{"failed but stored", func(st *hooked) func(context.Context, []store.Cond, []store.Op) (store.Rev, bool, error) {
			return func(ctx context.Context, conds []store.Cond, ops []store.Op) (store.Rev, bool, error) {
				if _, ok, err := st.Store.Commit(ctx, conds, ops); !ok || err != nil {
					return 0, ok, err
				}
				return 0, false, lost
			}
		}, nil},
		{"failed and somebody else's is there", func(st *hooked) func(context.Context, []store.Cond, []store.Op) (store.Rev, bool, error) {
			return func(ctx context.Context, conds []store.Cond, ops []store.Op) (store.Rev, bool, error) {
				if _, _, err := st.Store.Commit(ctx, nil, []store.Op{{Key: ops[0].Key, Val: []byte("theirs")}}); err != nil {
					return 0, false, err
				}
				return 0, false, lost
			}
		}, record.ErrUnsettled},
		{"store gone", func(st *hooked) func(context.Context, []store.Cond, []store.Op) (store.Rev, bool, error) {
			return func(context.Context, []store.Cond, []store.Op) (store.Rev, bool, error) {
				st.commit = func(context.Context, []store.Cond, []store.Op) (store.Rev, bool, error) { return 0, false, lost }
				return 0, false, lost
			}
		}, record.ErrUnsettled},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, st := newStore(t)
			cache := record.NewCache(s, record.KindKey, "v1/key/", record.Limit[string]{Count: 100}, func(r record.Record) (string, error) { return string(r.Value), nil }, nil)
			a := create(t, s, keyA, "old")
			if _, err := cache.Get(t.Context(), []byte(keyA)); err != nil {
				t.Fatal(err)
			}
			once := c.commit(st)
			st.commit = func(ctx context.Context, conds []store.Cond, ops []store.Op) (store.Rev, bool, error) {
				st.commit = nil
				return once(ctx, conds, ops)
			}
			tx := s.Begin()
			tx.Put(a, []byte("new"))
			tx.Create(record.KindKey, keyB, []byte("b"))
			rev, err := tx.Commit(t.Context())
			if !errors.Is(err, c.want) {
				t.Fatalf("Commit = %d, %v, want %v", rev, err, c.want)
			}
			if err != nil && c.want == lost && errors.Is(err, record.ErrUnsettled) {
				t.Errorf("Commit left open what it could know: %v", err)
			}
			if err != nil && !errors.Is(err, lost) {
				t.Errorf("the cause is lost: %v", err)
			}
			if c.want == nil {
				if rec := mustGet(t, s, keyB); rec.Rev != rev || rev == 0 {
					t.Errorf("Commit at %d, record at %d", rev, rec.Rev)
				}
				if v, err := cache.Get(t.Context(), []byte(keyA)); v != "new" || err != nil {
					t.Errorf("cached Get = %q, %v", v, err)
				}
			}
		})
	}
}

// TestCommitSettlesWhatIsUnderWay: a commit whose caller gave up while it was
// being written is decided, and known, when Commit returns.
func TestCommitSettlesWhatIsUnderWay(t *testing.T) {
	st, err := boltstore.Open(filepath.Join(t.TempDir(), "store.db"), boltstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	s := openStore(t, st, newBox(t, st), record.Options{})
	happened := 0
	for i := range 200 {
		key := fmt.Sprintf("v1/key/%d", i)
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*5*time.Microsecond)
		tx := s.Begin()
		tx.Create(record.KindKey, key, []byte("x"))
		rev, err := tx.Commit(ctx)
		cancel()
		rec, getErr := s.Get(t.Context(), record.KindKey, key)
		switch {
		case err == nil && getErr == nil && rec.Rev == rev:
			happened++
		case errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, record.ErrUnsettled) && errors.Is(getErr, record.ErrNotFound):
		default:
			t.Errorf("%s: Commit = %d, %v, then Get = %d, %v", key, rev, err, rec.Rev, getErr)
		}
	}
	t.Logf("%d of 200 happened", happened)
}

func eventually(t testing.TB, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if f() {
			return
		}
	}
	t.Error("it never came to be")
}

// ranged does something after a range was read, once.
type ranged struct {
	store.Store
	after func()
}

func (r *ranged) Range(ctx context.Context, from, to string, limit int) ([]store.KV, store.Rev, error) {
	kvs, rev, err := r.Store.Range(ctx, from, to, limit)
	if f := r.after; f != nil {
		r.after = nil
		f()
	}
	return kvs, rev, err
}

// A record that vanishes while a list is made does not make it look like the
// last one.
func TestListIsNotCutShort(t *testing.T) {
	st := &ranged{Store: store.NewMem()}
	s := openStore(t, st, newBox(t, st), record.Options{})
	key := func(i int) string { return fmt.Sprintf("v1/key/111122223333/us-east-1/%02d", i) }
	for i := range 20 {
		create(t, s, key(i), "x")
	}
	st.after = func() {
		put(t, s, key(3), "y")
		remove(t, s, key(3))
	}
	found, err := s.List(t.Context(), record.KindKey, "v1/key/", "", 11)
	if err != nil || len(found) != 11 || found[10].Key != key(11) {
		t.Errorf("List(11) of 20 = %d records, %v", len(found), err)
	}
	if found, err = s.List(t.Context(), record.KindKey, "v1/key/", key(11), 11); err != nil || len(found) != 8 {
		t.Errorf("the next page = %d records, %v; want the last 8", len(found), err)
	}
}

// gated is a store whose next Commit, and the answer of whose next Get, wait.
type gated struct {
	store.Store
	commit, get atomic.Pointer[gate]
}

type gate struct{ reached, open chan struct{} }

func newGate() *gate { return &gate{make(chan struct{}), make(chan struct{})} }

func (g *gate) pass() {
	if g != nil {
		close(g.reached)
		<-g.open
	}
}

func (g *gated) Commit(ctx context.Context, conds []store.Cond, ops []store.Op) (store.Rev, bool, error) {
	g.commit.Swap(nil).pass()
	return g.Store.Commit(ctx, conds, ops)
}

func (g *gated) Get(ctx context.Context, key string) (store.KV, store.Rev, error) {
	kv, head, err := g.Store.Get(ctx, key)
	g.get.Swap(nil).pass()
	return kv, head, err
}

// A record that is made anew with an older generation, since its making began
// before that of the one it follows, is right: also if somebody who read the
// earlier one only now says so.
func TestMadeAnewWhileReadBefore(t *testing.T) {
	st := &gated{Store: store.NewMem()}
	s := openStore(t, st, newBox(t, st), record.Options{})
	const key = "v1/key/111122223333/us-east-1/anew"

	slow := newGate()
	st.commit.Store(slow)
	made := make(chan error)
	go func() {
		tx := s.Begin()
		tx.Create(record.KindKey, key, []byte("second"))
		_, err := tx.Commit(t.Context())
		made <- err
	}()
	<-slow.reached
	create(t, s, key, "first")

	late := newGate()
	st.get.Store(late)
	read := make(chan string)
	go func() {
		rec, err := s.Get(t.Context(), record.KindKey, key)
		read <- fmt.Sprint(string(rec.Value), err)
	}()
	<-late.reached
	remove(t, s, key)
	close(slow.open)
	if err := <-made; err != nil {
		t.Fatal(err)
	}
	close(late.open)
	if got := <-read; got != "first<nil>" {
		t.Errorf("the earlier read = %s", got)
	}
	rec, err := s.Get(t.Context(), record.KindKey, key)
	if err != nil || string(rec.Value) != "second" {
		t.Errorf("Get = %q, %v", rec.Value, err)
	}
}
