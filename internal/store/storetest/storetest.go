// Package storetest is the suite that every engine of package store passes.
package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/store"
)

// Run tests an engine. Open returns a new, empty store; it is closed by the
// suite, and may be closed once more by a cleanup of open's.
func Run(t *testing.T, open func(t *testing.T) store.Store) {
	for _, c := range []struct {
		name string
		test func(*testing.T, store.Store)
	}{
		{"Get", testGet},
		{"Range", testRange},
		{"RangeAgainstModel", testModel},
		{"Conditions", testConditions},
		{"OneRevision", testOneRevision},
		{"NothingChanges", testNothingChanges},
		{"Limits", testLimits},
		{"Ownership", testOwnership},
		{"Cancelled", testCancelled},
		{"Barrier", testBarrier},
		{"AliasRace", testAliasRace},
		{"CounterRace", testCounterRace},
		{"RangeIsOneMoment", testRangeIsOneMoment},
		{"Watch", testWatch},
		{"WatchPrefix", testWatchPrefix},
		{"WatchResume", testWatchResume},
		{"WatchAhead", testWatchAhead},
		{"WatchCancel", testWatchCancel},
		{"WatchSlow", testWatchSlow},
		{"WatchUnderLoad", testWatchUnderLoad},
		{"Snapshot", testSnapshot},
		{"SnapshotWhileWriting", testSnapshotWhileWriting},
		{"SnapshotFails", testSnapshotFails},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := open(t)
			t.Cleanup(func() { s.Close() })
			c.test(t, s)
		})
	}
	t.Run("RestoreInto", func(t *testing.T) { testRestore(t, open) })
	t.Run("Close", func(t *testing.T) { testClose(t, open(t)) })
	t.Run("CloseUnderLoad", func(t *testing.T) { testCloseUnderLoad(t, open(t)) })
}

// RunDurable tests that an engine keeps what it acknowledged. Open opens the
// store at path, which is a new one in an existing directory.
func RunDurable(t *testing.T, path string, open func(t *testing.T, path string) store.Store) {
	s := open(t, path)
	want := map[string]store.KV{}
	for i := range 300 {
		key := fmt.Sprintf("k%03d", rand.IntN(120))
		kv := store.KV{Key: key, Val: []byte(strconv.Itoa(i))}
		if i%5 == 4 {
			commit(t, s, nil, store.Op{Key: key})
			delete(want, key)
			continue
		}
		kv.Rev = commit(t, s, nil, store.Op{Key: key, Val: kv.Val})
		want[key] = kv
		if i%100 == 99 {
			head := headOf(t, s)
			closeStore(t, s)
			s = open(t, path)
			if got := headOf(t, s); got != head {
				t.Fatalf("head after reopening = %d, want %d", got, head)
			}
		}
	}
	closeStore(t, s)
	s = open(t, path)
	defer s.Close()
	got := all(t, s)
	if len(got) != len(want) {
		t.Errorf("%d pairs after reopening, want %d", len(got), len(want))
	}
	for _, kv := range got {
		if w := want[kv.Key]; !bytes.Equal(kv.Val, w.Val) || kv.Rev != w.Rev {
			t.Errorf("after reopening %s = %q at %d, want %q at %d", kv.Key, kv.Val, kv.Rev, w.Val, w.Rev)
		}
	}
	head := headOf(t, s)
	if rev := commit(t, s, nil, store.Op{Key: "next", Val: []byte("x")}); rev != head+1 {
		t.Errorf("first revision after reopening = %d, want %d", rev, head+1)
	}
	// What was before the store was opened can be missing from a watch, but
	// then the watch must say so.
	ch := watch(t, s, "", 1)
	if b := next(t, ch); b.Err == nil && b.Rev != 1 {
		t.Errorf("watch from 1 after reopening began with %+v", b)
	}
}

func testGet(t *testing.T, s store.Store) {
	ctx := t.Context()
	kv, head, err := s.Get(ctx, "a")
	if err != nil || kv.Rev != 0 || kv.Val != nil || kv.Key != "a" || head != 0 {
		t.Fatalf("Get of an absent key = %+v, %d, %v", kv, head, err)
	}
	r1 := commit(t, s, nil, store.Op{Key: "a", Val: []byte("1")})
	r2 := commit(t, s, nil, store.Op{Key: "b", Val: []byte{}})
	wantGet(t, s, "a", "1", r1)
	kv, head, err = s.Get(ctx, "b")
	if err != nil || kv.Rev != r2 || kv.Val == nil || len(kv.Val) != 0 || head != r2 {
		t.Errorf("Get of an empty value = %+v, %d, %v", kv, head, err)
	}
	r3 := commit(t, s, nil, store.Op{Key: "a", Val: []byte("2")})
	wantGet(t, s, "a", "2", r3)
	commit(t, s, nil, store.Op{Key: "a"})
	wantGet(t, s, "a", "", 0)
	// Any bytes make a key.
	odd := "\x00\xff/\x80"
	r5 := commit(t, s, nil, store.Op{Key: odd, Val: []byte("odd")})
	wantGet(t, s, odd, "odd", r5)
}

func testRange(t *testing.T, s store.Store) {
	for _, k := range []string{"b/2", "a", "b/1", "b/10", "b", "b0", "c", "b/", "\xff\xff", "\x00"} {
		commit(t, s, nil, store.Op{Key: k, Val: []byte("v" + k)})
	}
	for _, c := range []struct {
		name, from, to string
		limit          int
		want           []string
	}{
		{"all", "", "", 0, []string{"\x00", "a", "b", "b/", "b/1", "b/10", "b/2", "b0", "c", "\xff\xff"}},
		{"prefix", "b/", store.PrefixEnd("b/"), 0, []string{"b/", "b/1", "b/10", "b/2"}},
		{"prefix of ff", "\xff", store.PrefixEnd("\xff"), 0, []string{"\xff\xff"}},
		{"from is included", "b/1", "b/2", 0, []string{"b/1", "b/10"}},
		{"after", "b/1\x00", "b/2", 0, []string{"b/10"}},
		{"limit", "b", "c", 2, []string{"b", "b/"}},
		{"negative limit", "b0", "", -1, []string{"b0", "c", "\xff\xff"}},
		{"empty", "d", "e", 0, nil},
		{"reversed", "c", "b", 0, nil},
		{"same", "b", "b", 0, nil},
	} {
		kvs, head, err := s.Range(t.Context(), c.from, c.to, c.limit)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		var got []string
		for _, kv := range kvs {
			got = append(got, kv.Key)
			if string(kv.Val) != "v"+kv.Key || kv.Rev == 0 {
				t.Errorf("%s: pair %+v", c.name, kv)
			}
		}
		if !slices.Equal(got, c.want) || head != 10 {
			t.Errorf("%s: Range(%q, %q, %d) = %q at %d, want %q at 10", c.name, c.from, c.to, c.limit, got, head, c.want)
		}
	}
	// More than the default limit, page by page.
	for i := 0; i < store.DefaultLimit+500; i += store.MaxOps {
		var ops []store.Op
		for j := range store.MaxOps {
			ops = append(ops, store.Op{Key: fmt.Sprintf("p/%05d", i+j), Val: []byte("x")})
		}
		commit(t, s, nil, ops...)
	}
	from, pages, n := "p/", []int{}, 0
	for {
		kvs, _, err := s.Range(t.Context(), from, store.PrefixEnd("p/"), 0)
		if err != nil {
			t.Fatal(err)
		}
		if len(kvs) == 0 {
			break
		}
		for _, kv := range kvs {
			if want := fmt.Sprintf("p/%05d", n); kv.Key != want {
				t.Fatalf("key %d = %q, want %q", n, kv.Key, want)
			}
			n++
		}
		pages = append(pages, len(kvs))
		from = kvs[len(kvs)-1].Key + "\x00"
	}
	if !slices.Equal(pages, []int{store.DefaultLimit, 500}) {
		t.Errorf("pages of %v", pages)
	}
}

// testModel compares the store with a map under random commits.
func testModel(t *testing.T, s store.Store) {
	rnd := rand.New(rand.NewPCG(1, 2))
	model := map[string]store.KV{}
	var head store.Rev
	key := func() string { return fmt.Sprintf("%c%c", 'a'+rnd.IntN(8), 'a'+rnd.IntN(8)) }
	for i := range 400 {
		var conds []store.Cond
		var ops []store.Op
		holds := true
		for range rnd.IntN(3) {
			k := key()
			c := store.Cond{Key: k, Rev: model[k].Rev}
			if rnd.IntN(8) == 0 {
				c.Rev++
				holds = false
			}
			conds = append(conds, c)
		}
		seen := map[string]bool{}
		for range rnd.IntN(12) {
			k := key()
			if seen[k] {
				continue
			}
			seen[k] = true
			op := store.Op{Key: k}
			if rnd.IntN(3) > 0 {
				op.Val = fmt.Appendf(nil, "%d", i)
			}
			ops = append(ops, op)
		}
		rev, ok, err := s.Commit(t.Context(), conds, ops)
		if err != nil || ok != holds {
			t.Fatalf("Commit(%v, %v) = %d, %v, %v; want ok %v", conds, ops, rev, ok, err, holds)
		}
		if holds {
			changed := false
			for _, op := range ops {
				_, there := model[op.Key]
				changed = changed || there || op.Val != nil
			}
			if changed {
				head++
			}
			for _, op := range ops {
				if op.Val == nil {
					delete(model, op.Key)
				} else {
					model[op.Key] = store.KV{Key: op.Key, Val: op.Val, Rev: head}
				}
			}
			if rev != head {
				t.Fatalf("commit %d at revision %d, want %d", i, rev, head)
			}
		}
		from, to := key(), key()
		kvs, at, err := s.Range(t.Context(), from, to, 0)
		if err != nil || at != head {
			t.Fatalf("Range at %d, %v, want %d", at, err, head)
		}
		n := 0
		for k := range model {
			if from <= k && k < to {
				n++
			}
		}
		if len(kvs) != n {
			t.Fatalf("Range(%s, %s) has %d pairs, want %d", from, to, len(kvs), n)
		}
		last := ""
		for _, kv := range kvs {
			if w := model[kv.Key]; kv.Key <= last || !bytes.Equal(kv.Val, w.Val) || kv.Rev != w.Rev {
				t.Fatalf("Range has %+v after %q, want %+v", kv, last, w)
			}
			last = kv.Key
		}
	}
}

func testConditions(t *testing.T, s store.Store) {
	ctx := t.Context()
	put := func(k, v string) store.Op { return store.Op{Key: k, Val: []byte(v)} }
	r1 := commit(t, s, []store.Cond{{Key: "a"}}, put("a", "1"))
	for _, c := range []struct {
		name  string
		conds []store.Cond
	}{
		{"absent, but is there", []store.Cond{{Key: "a"}}},
		{"at a revision, but is absent", []store.Cond{{Key: "b", Rev: r1}}},
		{"at a later revision", []store.Cond{{Key: "a", Rev: r1 + 1}}},
		{"one of two", []store.Cond{{Key: "a", Rev: r1}, {Key: "b", Rev: r1}}},
		{"two on one key", []store.Cond{{Key: "a", Rev: r1}, {Key: "a"}}},
	} {
		rev, ok, err := s.Commit(ctx, c.conds, []store.Op{put("a", "x"), put("z", "x")})
		if ok || err != nil {
			t.Errorf("%s: Commit = %d, %v, %v, want it to fail", c.name, rev, ok, err)
		}
	}
	wantGet(t, s, "a", "1", r1)
	wantGet(t, s, "z", "", 0)
	if h := headOf(t, s); h != r1 {
		t.Errorf("failed conditions moved head to %d", h)
	}
	r2 := commit(t, s, []store.Cond{{Key: "a", Rev: r1}, {Key: "a", Rev: r1}, {Key: "b"}}, put("a", "2"), put("b", "2"))
	if _, ok, _ := s.Commit(ctx, []store.Cond{{Key: "a", Rev: r1}}, []store.Op{put("a", "3")}); ok {
		t.Error("a condition on an old revision holds")
	}
	commit(t, s, []store.Cond{{Key: "a", Rev: r2}}, store.Op{Key: "a"})
	if _, ok, _ := s.Commit(ctx, []store.Cond{{Key: "a", Rev: r2}}, []store.Op{put("a", "3")}); ok {
		t.Error("a condition on a deleted key's revision holds")
	}
	commit(t, s, []store.Cond{{Key: "a"}}, put("a", "4"))
	// A key made anew is not what it was.
	if _, ok, _ := s.Commit(ctx, []store.Cond{{Key: "a", Rev: r2}}, nil); ok {
		t.Error("a condition on the revision from before a delete holds")
	}
}

func testOneRevision(t *testing.T, s store.Store) {
	commit(t, s, nil, store.Op{Key: "gone", Val: []byte("x")})
	var ops []store.Op
	for i := range store.MaxOps - 1 {
		ops = append(ops, store.Op{Key: fmt.Sprintf("k%d", i), Val: []byte("v")})
	}
	ops = append(ops, store.Op{Key: "gone"})
	rev := commit(t, s, nil, ops...)
	if rev != 2 {
		t.Errorf("revision %d, want 2", rev)
	}
	kvs := all(t, s)
	if len(kvs) != store.MaxOps-1 {
		t.Errorf("%d pairs, want %d", len(kvs), store.MaxOps-1)
	}
	for _, kv := range kvs {
		if kv.Rev != rev {
			t.Errorf("%s is at %d, want %d", kv.Key, kv.Rev, rev)
		}
	}
}

func testNothingChanges(t *testing.T, s store.Store) {
	r1 := commit(t, s, nil, store.Op{Key: "a", Val: []byte("1")})
	if rev := commit(t, s, nil, store.Op{Key: "absent"}); rev != r1 {
		t.Errorf("deleting an absent key made revision %d", rev)
	}
	if rev := commit(t, s, []store.Cond{{Key: "a", Rev: r1}}); rev != r1 {
		t.Errorf("a commit without operations made revision %d", rev)
	}
	if _, ok, err := s.Commit(t.Context(), []store.Cond{{Key: "a"}}, nil); ok || err != nil {
		t.Errorf("a commit without operations, whose condition does not hold: %v, %v", ok, err)
	}
	// The same value again is a change.
	if rev := commit(t, s, nil, store.Op{Key: "a", Val: []byte("1")}); rev != r1+1 {
		t.Errorf("putting the same value made revision %d, want %d", rev, r1+1)
	}
	ch := watch(t, s, "", 1)
	if b := next(t, ch); b.Rev != r1 {
		t.Errorf("first batch at %d", b.Rev)
	}
	r3 := commit(t, s, nil, store.Op{Key: "absent"}, store.Op{Key: "b", Val: []byte("1")})
	if b := next(t, ch); b.Rev != r1+1 {
		t.Errorf("second batch at %d", b.Rev)
	}
	if b := next(t, ch); b.Rev != r3 || !slices.Equal(b.Keys, []string{"b"}) {
		t.Errorf("third batch = %+v, want b alone at %d", b, r3)
	}
}

func testLimits(t *testing.T, s store.Store) {
	long := strings.Repeat("k", store.MaxKey)
	many := func(n int) (ops []store.Op) {
		for i := range n {
			ops = append(ops, store.Op{Key: strconv.Itoa(i), Val: []byte("v")})
		}
		return ops
	}
	val := func(n int) []byte { return bytes.Repeat([]byte("v"), n) }
	for _, c := range []struct {
		name  string
		conds []store.Cond
		ops   []store.Op
		want  error
	}{
		{"longest key", nil, []store.Op{{Key: long, Val: val(1)}}, nil},
		{"key too long", nil, []store.Op{{Key: long + "k", Val: val(1)}}, store.ErrTooLarge},
		{"no key", nil, []store.Op{{Key: "", Val: val(1)}}, store.ErrTooLarge},
		{"no key to delete", nil, []store.Op{{Key: ""}}, store.ErrTooLarge},
		{"condition without key", []store.Cond{{}}, []store.Op{{Key: "a", Val: val(1)}}, store.ErrTooLarge},
		{"condition on a key too long", []store.Cond{{Key: long + "k"}}, nil, store.ErrTooLarge},
		{"largest value", nil, []store.Op{{Key: "a", Val: val(store.MaxValue)}}, nil},
		{"value too large", nil, []store.Op{{Key: "a", Val: val(store.MaxValue + 1)}}, store.ErrTooLarge},
		{"commit too large", nil, []store.Op{{Key: "a", Val: val(store.MaxValue)}, {Key: "b", Val: val(store.MaxCommit - store.MaxValue)}}, store.ErrTooLarge},
		{"most operations", nil, many(store.MaxOps), nil},
		{"too many operations", nil, many(store.MaxOps + 1), store.ErrTooLarge},
		{"too many conditions", slices.Repeat([]store.Cond{{Key: "none"}}, store.MaxOps+1), nil, store.ErrTooLarge},
		{"a key twice", nil, []store.Op{{Key: "a", Val: val(1)}, {Key: "a"}}, store.ErrTooLarge},
		{"a key twice among many", nil, append(many(50), store.Op{Key: "7"}), store.ErrTooLarge},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := headOf(t, s)
			_, ok, err := s.Commit(t.Context(), c.conds, c.ops)
			if !errors.Is(err, c.want) || ok != (c.want == nil) {
				t.Fatalf("Commit = %v, %v, want %v", ok, err, c.want)
			}
			if c.want != nil && headOf(t, s) != before {
				t.Error("a refused commit made a revision")
			}
			if c.want == nil {
				for _, op := range c.ops {
					if kv, _, err := s.Get(t.Context(), op.Key); err != nil || !bytes.Equal(kv.Val, op.Val) {
						t.Errorf("Get of a key of %d bytes = %d bytes, %v, want %d", len(op.Key), len(kv.Val), err, len(op.Val))
					}
				}
			}
		})
	}
	for _, key := range []string{"", long + "k"} {
		if _, _, err := s.Get(t.Context(), key); !errors.Is(err, store.ErrTooLarge) {
			t.Errorf("Get of a key of %d bytes: %v, want ErrTooLarge", len(key), err)
		}
	}
}

func testOwnership(t *testing.T, s store.Store) {
	ctx := t.Context()
	val := []byte("right")
	conds := []store.Cond{{Key: "a"}}
	ops := []store.Op{{Key: "a", Val: val}}
	rev, ok, err := s.Commit(ctx, conds, ops)
	if !ok || err != nil {
		t.Fatal(ok, err)
	}
	copy(val, "wrong")
	ops[0].Key = "z"
	conds[0].Key = "z"
	wantGet(t, s, "a", "right", rev)
	kv, _, _ := s.Get(ctx, "a")
	copy(kv.Val, "wrong")
	_ = append(kv.Val[:0], "wrong and much longer"...)
	wantGet(t, s, "a", "right", rev)
	kvs, _, _ := s.Range(ctx, "", "", 0)
	copy(kvs[0].Val, "wrong")
	wantGet(t, s, "a", "right", rev)

	one, two := watch(t, s, "", 1), watch(t, s, "", 1)
	b := next(t, one)
	b.Keys[0] = "wrong"
	if b := next(t, two); b.Keys[0] != "a" {
		t.Errorf("a watcher changed the keys of another: %q", b.Keys)
	}
	if b := next(t, watch(t, s, "", 1)); b.Keys[0] != "a" {
		t.Errorf("a watcher changed the keys of a later one: %q", b.Keys)
	}
}

func testCancelled(t *testing.T, s store.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := s.Get(ctx, "a"); !errors.Is(err, context.Canceled) {
		t.Errorf("Get: %v", err)
	}
	if _, _, err := s.Range(ctx, "a", "b", 0); !errors.Is(err, context.Canceled) {
		t.Errorf("Range: %v", err)
	}
	if _, _, err := s.Commit(ctx, nil, []store.Op{{Key: "a", Val: []byte("1")}}); !errors.Is(err, context.Canceled) {
		t.Errorf("Commit: %v", err)
	}
	if _, err := s.Head(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Head: %v", err)
	}
	if err := s.Snapshot(ctx, io.Discard); !errors.Is(err, context.Canceled) {
		t.Errorf("Snapshot: %v", err)
	}
	if _, err := s.Watch(ctx, "", 1); !errors.Is(err, context.Canceled) {
		t.Errorf("Watch: %v", err)
	}
	wantGet(t, s, "a", "", 0)
}

// testBarrier: commits whose caller went away are decided by the time that an
// empty commit returns.
func testBarrier(t *testing.T, s store.Store) {
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for w := range 8 {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				_, _, _ = s.Commit(t.Context(), nil, []store.Op{{Key: fmt.Sprintf("noise/%d", w), Val: make([]byte, 100)}})
			}
		})
	}
	for i := range 100 {
		key := fmt.Sprintf("k%d", i)
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rand.IntN(300))*time.Microsecond)
		_, _, err := s.Commit(ctx, nil, []store.Op{{Key: key, Val: []byte("v")}})
		cancel()
		commit(t, s, nil)
		kv, _, getErr := s.Get(t.Context(), key)
		if getErr != nil {
			t.Fatal(getErr)
		}
		if err == nil && kv.Rev == 0 {
			t.Errorf("%s was acknowledged and is not there", key)
		}
		time.Sleep(time.Duration(rand.IntN(300)) * time.Microsecond)
		if later, _, _ := s.Get(t.Context(), key); later.Rev != kv.Rev {
			t.Errorf("%s was at %d when it was decided, and then at %d", key, kv.Rev, later.Rev)
		}
	}
	close(stop)
	wg.Wait()
}

func testAliasRace(t *testing.T, s store.Store) {
	const goroutines, names = 200, 20
	ch := watch(t, s, "alias/", 1)
	var winners [names]atomic.Int32
	var owner [names]atomic.Int32
	var wg sync.WaitGroup
	for g := range goroutines {
		wg.Go(func() {
			n := g % names
			key := fmt.Sprintf("alias/%02d", n)
			_, ok, err := s.Commit(t.Context(), []store.Cond{{Key: key}}, []store.Op{
				{Key: key, Val: []byte(strconv.Itoa(g))},
				{Key: fmt.Sprintf("owner/%d", g), Val: []byte(key)},
			})
			if err != nil {
				t.Errorf("Commit: %v", err)
			}
			if ok {
				winners[n].Add(1)
				owner[n].Store(int32(g))
			}
		})
	}
	wg.Wait()
	for n := range names {
		if w := winners[n].Load(); w != 1 {
			t.Errorf("alias %d has %d winners", n, w)
		}
		kv, _, _ := s.Get(t.Context(), fmt.Sprintf("alias/%02d", n))
		if string(kv.Val) != strconv.Itoa(int(owner[n].Load())) {
			t.Errorf("alias %d belongs to %s, but %d was told so", n, kv.Val, owner[n].Load())
		}
	}
	if kvs, _, _ := s.Range(t.Context(), "owner/", store.PrefixEnd("owner/"), 0); len(kvs) != names {
		t.Errorf("%d commits had an effect, want %d", len(kvs), names)
	}
	if h := headOf(t, s); h != names {
		t.Errorf("head = %d, want %d", h, names)
	}
	for i := range names {
		if b := next(t, ch); b.Rev != store.Rev(i+1) || len(b.Keys) != 1 {
			t.Errorf("batch %d of the watch = %+v", i, b)
		}
	}
}

func testCounterRace(t *testing.T, s store.Store) {
	const goroutines, each = 16, 25
	var wg sync.WaitGroup
	for range goroutines {
		wg.Go(func() {
			for range each {
				for {
					kv, _, err := s.Get(t.Context(), "counter")
					if err != nil {
						t.Errorf("Get: %v", err)
						return
					}
					n, _ := strconv.Atoi(string(kv.Val))
					rev, ok, err := s.Commit(t.Context(), []store.Cond{{Key: "counter", Rev: kv.Rev}},
						[]store.Op{{Key: "counter", Val: []byte(strconv.Itoa(n + 1))}})
					if err != nil {
						t.Errorf("Commit: %v", err)
						return
					}
					if ok {
						if after, _, _ := s.Get(t.Context(), "counter"); after.Rev < rev {
							t.Errorf("own commit %d not seen, counter at %d", rev, after.Rev)
						}
						break
					}
				}
			}
		})
	}
	wg.Wait()
	wantGet(t, s, "counter", strconv.Itoa(goroutines*each), goroutines*each)
}

// testRangeIsOneMoment: two keys that always change together are always seen together.
func testRangeIsOneMoment(t *testing.T, s store.Store) {
	var wg sync.WaitGroup
	done := make(chan struct{})
	wg.Go(func() {
		defer close(done)
		for i := range 300 {
			v := []byte(strconv.Itoa(i))
			if _, _, err := s.Commit(t.Context(), nil, []store.Op{{Key: "a", Val: v}, {Key: "z", Val: v}}); err != nil {
				t.Errorf("Commit: %v", err)
				return
			}
		}
	})
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		kvs, head, err := s.Range(t.Context(), "", "", 0)
		if err != nil {
			t.Fatal(err)
		}
		if len(kvs) == 0 && head == 0 {
			continue
		}
		if len(kvs) != 2 || !bytes.Equal(kvs[0].Val, kvs[1].Val) || kvs[0].Rev != kvs[1].Rev || kvs[0].Rev != head {
			t.Fatalf("Range = %+v at %d", kvs, head)
		}
	}
	wg.Wait()
}

func testWatch(t *testing.T, s store.Store) {
	ch := watch(t, s, "", 1)
	r1 := commit(t, s, nil, store.Op{Key: "b", Val: []byte("1")}, store.Op{Key: "a", Val: []byte("1")})
	r2 := commit(t, s, nil, store.Op{Key: "a"})
	for _, want := range []store.Batch{{Rev: r1, Keys: []string{"b", "a"}}, {Rev: r2, Keys: []string{"a"}}} {
		if b := next(t, ch); b.Rev != want.Rev || !slices.Equal(b.Keys, want.Keys) || b.Err != nil {
			t.Errorf("batch %+v, want %+v", b, want)
		}
	}
	select {
	case b, ok := <-ch:
		t.Errorf("one batch too many: %+v, %v", b, ok)
	case <-time.After(20 * time.Millisecond):
	}
}

func testWatchPrefix(t *testing.T, s store.Store) {
	ch := watch(t, s, "a/", 1)
	commit(t, s, nil, store.Op{Key: "b", Val: []byte("1")})
	r2 := commit(t, s, nil, store.Op{Key: "a/2", Val: []byte("1")}, store.Op{Key: "a", Val: []byte("1")}, store.Op{Key: "a/1", Val: []byte("1")})
	commit(t, s, nil, store.Op{Key: "a0", Val: []byte("1")})
	r4 := commit(t, s, nil, store.Op{Key: "a/", Val: []byte("1")})
	if b := next(t, ch); b.Rev != r2 || !slices.Equal(b.Keys, []string{"a/2", "a/1"}) {
		t.Errorf("first batch = %+v", b)
	}
	if b := next(t, ch); b.Rev != r4 || !slices.Equal(b.Keys, []string{"a/"}) {
		t.Errorf("second batch = %+v", b)
	}
}

func testWatchResume(t *testing.T, s store.Store) {
	for i := range 20 {
		commit(t, s, nil, store.Op{Key: strconv.Itoa(i), Val: []byte("1")})
	}
	for _, from := range []store.Rev{0, 1, 10, 20} {
		ch := watch(t, s, "", from)
		for rev := max(from, 1); rev <= 20; rev++ {
			if b := next(t, ch); b.Rev != rev || !slices.Equal(b.Keys, []string{strconv.Itoa(int(rev - 1))}) {
				t.Fatalf("watch from %d: %+v, want revision %d", from, b, rev)
			}
		}
	}
}

func testWatchAhead(t *testing.T, s store.Store) {
	ch := watch(t, s, "", 3)
	for i := range 4 {
		commit(t, s, nil, store.Op{Key: strconv.Itoa(i), Val: []byte("1")})
	}
	for rev := store.Rev(3); rev <= 4; rev++ {
		if b := next(t, ch); b.Rev != rev {
			t.Errorf("watch from 3: %+v, want revision %d", b, rev)
		}
	}
}

func testWatchCancel(t *testing.T, s store.Store) {
	for i := range 100 {
		commit(t, s, nil, store.Op{Key: strconv.Itoa(i), Val: []byte("1")})
	}
	for _, read := range []int{0, 1, 100} {
		ctx, cancel := context.WithCancel(t.Context())
		ch, err := s.Watch(ctx, "", 1)
		if err != nil {
			t.Fatal(err)
		}
		for range read {
			next(t, ch)
		}
		cancel()
		drain(t, ch)
	}
}

// testWatchSlow: a watcher that does not read holds nothing up, and when it
// reads again gets everything, or as much as it did plus ErrCompacted.
func testWatchSlow(t *testing.T, s store.Store) {
	slow := watch(t, s, "", 1)
	long := strings.Repeat("k", store.MaxKey-8)
	const commits = 300 // of 100 KB of keys
	for range commits {
		var ops []store.Op
		for j := range store.MaxOps {
			ops = append(ops, store.Op{Key: fmt.Sprintf("%s%d", long, j), Val: []byte("v")})
		}
		commit(t, s, nil, ops...)
	}
	want := store.Rev(1)
	for {
		b := next(t, slow)
		if b.Err != nil {
			if !errors.Is(b.Err, store.ErrCompacted) || len(b.Keys) > 0 {
				t.Fatalf("last batch of a slow watch: %+v", b)
			}
			if b, ok := <-slow; ok {
				t.Fatalf("a batch after the last: %+v", b)
			}
			break
		}
		if b.Rev != want || len(b.Keys) != store.MaxOps {
			t.Fatalf("batch %d with %d keys, want %d", b.Rev, len(b.Keys), want)
		}
		if want++; want > commits {
			break
		}
	}
	// One that starts from there goes on.
	fresh := watch(t, s, "", headOf(t, s)+1)
	rev := commit(t, s, nil, store.Op{Key: "a", Val: []byte("v")})
	if b := next(t, fresh); b.Rev != rev || b.Err != nil {
		t.Errorf("a new watch begins with %+v, want %d", b, rev)
	}
}

func testWatchUnderLoad(t *testing.T, s store.Store) {
	const writers, each = 16, 50
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	type seen struct {
		n    int
		last store.Rev
	}
	var watching, writing sync.WaitGroup
	results := make([]seen, 6)
	for w := range results {
		prefix := []string{"", "k/", "k/1/"}[w%3]
		ch, err := s.Watch(ctx, prefix, 1)
		if err != nil {
			t.Fatal(err)
		}
		want := writers * each
		if w%3 == 2 {
			want = each
		}
		watching.Go(func() {
			for b := range ch {
				if b.Err != nil || b.Rev <= results[w].last {
					t.Errorf("watch of %q: %+v after %d", prefix, b, results[w].last)
					return
				}
				results[w].last = b.Rev
				if results[w].n += len(b.Keys); results[w].n == want {
					return
				}
			}
		})
	}
	for w := range writers {
		writing.Go(func() {
			for i := range each {
				rev, ok, err := s.Commit(ctx, nil, []store.Op{{Key: fmt.Sprintf("k/%d/%d", w, i), Val: []byte("v")}})
				if err != nil || !ok {
					t.Errorf("Commit = %d, %v, %v", rev, ok, err)
				}
			}
		})
	}
	writing.Wait()
	done := make(chan struct{})
	go func() { watching.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		cancel()
		<-done
		t.Errorf("watchers saw %+v of %d commits", results, writers*each)
	}
}

func testSnapshot(t *testing.T, s store.Store) {
	var b bytes.Buffer
	if err := s.Snapshot(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	if head, n, err := store.CheckSnapshot(&b); head != 0 || n != 0 || err != nil {
		t.Errorf("snapshot of an empty store: %d, %d, %v", head, n, err)
	}
	for i := range 1000 {
		commit(t, s, nil, store.Op{Key: fmt.Sprintf("k%04d", i), Val: bytes.Repeat([]byte{byte(i)}, i)})
	}
	commit(t, s, nil, store.Op{Key: "k0007"}, store.Op{Key: "empty", Val: []byte{}}, store.Op{Key: "big", Val: make([]byte, store.MaxValue)})
	b.Reset()
	if err := s.Snapshot(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	sameAfterRestore(t, &b, 1001, all(t, s))
}

func testSnapshotWhileWriting(t *testing.T, s store.Store) {
	for i := range 200 {
		commit(t, s, nil, store.Op{Key: fmt.Sprintf("k%04d", i), Val: make([]byte, 4000)})
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				v := []byte(strconv.Itoa(i))
				ops := []store.Op{{Key: fmt.Sprintf("a/%d", w), Val: v}, {Key: fmt.Sprintf("z/%d", w), Val: v}, {Key: fmt.Sprintf("k%04d", rand.IntN(200))}}
				if _, _, err := s.Commit(t.Context(), nil, ops); err != nil {
					t.Errorf("Commit: %v", err)
					return
				}
			}
		})
	}
	for range 5 {
		// The pipe makes it slow: the store must not wait for it.
		r, w := io.Pipe()
		go func() { w.CloseWithError(s.Snapshot(t.Context(), w)) }()
		before := headOf(t, s)
		time.Sleep(5 * time.Millisecond)
		commit(t, s, nil, store.Op{Key: "meanwhile", Val: []byte("x")})
		restored := store.NewMem()
		if err := store.Restore(t.Context(), restored, r); err != nil {
			t.Fatalf("Restore: %v", err)
		}
		if headOf(t, s) <= before {
			t.Error("no commit happened during the snapshot")
		}
		for w := range 4 {
			a, _, _ := restored.Get(t.Context(), fmt.Sprintf("a/%d", w))
			z, _, _ := restored.Get(t.Context(), fmt.Sprintf("z/%d", w))
			if !bytes.Equal(a.Val, z.Val) {
				t.Errorf("the snapshot tore a commit: %q, %q", a.Val, z.Val)
			}
		}
		restored.Close()
	}
	close(stop)
	wg.Wait()
}

func testSnapshotFails(t *testing.T, s store.Store) {
	for i := range 20 {
		commit(t, s, nil, store.Op{Key: strconv.Itoa(i), Val: make([]byte, 50000)})
	}
	full := errors.New("full")
	if err := s.Snapshot(t.Context(), &limitedWriter{100000, full}); !errors.Is(err, full) {
		t.Errorf("Snapshot to a full disk: %v", err)
	}
	commit(t, s, nil, store.Op{Key: "a", Val: []byte("x")})
}

type limitedWriter struct {
	left int
	err  error
}

func (w *limitedWriter) Write(b []byte) (int, error) {
	if len(b) > w.left {
		return 0, w.err
	}
	w.left -= len(b)
	return len(b), nil
}

func testRestore(t *testing.T, open func(t *testing.T) store.Store) {
	from := store.NewMem()
	defer from.Close()
	for i := range 777 {
		commit(t, from, nil, store.Op{Key: fmt.Sprintf("k%d", i), Val: bytes.Repeat([]byte("v"), i*7)})
	}
	var b bytes.Buffer
	if err := from.Snapshot(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	to := open(t)
	defer to.Close()
	if err := store.Restore(t.Context(), to, bytes.NewReader(b.Bytes())); err != nil {
		t.Fatal(err)
	}
	samePairs(t, all(t, to), all(t, from))
	if err := store.Restore(t.Context(), to, bytes.NewReader(b.Bytes())); !errors.Is(err, store.ErrNotEmpty) {
		t.Errorf("Restore into a store that is not empty: %v", err)
	}
}

func testClose(t *testing.T, s store.Store) {
	ctx := t.Context()
	commit(t, s, nil, store.Op{Key: "a", Val: []byte("1")})
	idle, unread := watch(t, s, "", 2), watch(t, s, "", 1)
	closeStore(t, s)
	closeStore(t, s)
	if b, ok := <-idle; ok {
		t.Errorf("a batch after Close: %+v", b)
	}
	drain(t, unread)
	if _, _, err := s.Get(ctx, "a"); !errors.Is(err, store.ErrClosed) {
		t.Errorf("Get: %v", err)
	}
	if _, _, err := s.Range(ctx, "", "", 0); !errors.Is(err, store.ErrClosed) {
		t.Errorf("Range: %v", err)
	}
	if _, _, err := s.Commit(ctx, nil, []store.Op{{Key: "a", Val: []byte("1")}}); !errors.Is(err, store.ErrClosed) {
		t.Errorf("Commit: %v", err)
	}
	if _, err := s.Head(ctx); !errors.Is(err, store.ErrClosed) {
		t.Errorf("Head: %v", err)
	}
	if _, err := s.Watch(ctx, "", 1); !errors.Is(err, store.ErrClosed) {
		t.Errorf("Watch: %v", err)
	}
	if err := s.Snapshot(ctx, io.Discard); !errors.Is(err, store.ErrClosed) {
		t.Errorf("Snapshot: %v", err)
	}
}

// testCloseUnderLoad: every commit gets an answer, and none but ErrClosed is an error.
func testCloseUnderLoad(t *testing.T, s store.Store) {
	var wg sync.WaitGroup
	for w := range 16 {
		wg.Go(func() {
			for i := 0; ; i++ {
				_, _, err := s.Commit(t.Context(), nil, []store.Op{{Key: fmt.Sprintf("k%d", w), Val: []byte("v")}})
				if errors.Is(err, store.ErrClosed) {
					return
				}
				if err != nil {
					t.Errorf("Commit: %v", err)
					return
				}
				if _, _, err := s.Get(t.Context(), "k1"); err != nil && !errors.Is(err, store.ErrClosed) {
					t.Errorf("Get: %v", err)
				}
			}
		})
	}
	time.Sleep(20 * time.Millisecond)
	closeStore(t, s)
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal("a commit got no answer")
	}
}

func commit(t *testing.T, s store.Store, conds []store.Cond, ops ...store.Op) store.Rev {
	t.Helper()
	rev, ok, err := s.Commit(t.Context(), conds, ops)
	if err != nil || !ok {
		t.Fatalf("Commit(%v) = %d, %v, %v", conds, rev, ok, err)
	}
	return rev
}

func headOf(t *testing.T, s store.Store) store.Rev {
	t.Helper()
	head, err := s.Head(t.Context())
	if err != nil {
		t.Fatalf("Head: %v", err)
	}
	return head
}

func closeStore(t *testing.T, s store.Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
}

// wantGet checks a key: rev 0 means that it must be absent.
func wantGet(t *testing.T, s store.Store, key, val string, rev store.Rev) {
	t.Helper()
	kv, head, err := s.Get(t.Context(), key)
	if err != nil || kv.Key != key || string(kv.Val) != val || kv.Rev != rev || head < rev || (kv.Val == nil) != (rev == 0) {
		t.Errorf("Get(%q) = %+v at %d, %v; want %q at %d", key, kv, head, err, val, rev)
	}
}

// all returns all pairs.
func all(t *testing.T, s store.Store) (kvs []store.KV) {
	t.Helper()
	from := ""
	for {
		page, _, err := s.Range(t.Context(), from, "", 0)
		if err != nil {
			t.Fatalf("Range: %v", err)
		}
		kvs = append(kvs, page...)
		if len(page) < store.DefaultLimit {
			return kvs
		}
		from = page[len(page)-1].Key + "\x00"
	}
}

func sameAfterRestore(t *testing.T, snapshot *bytes.Buffer, head store.Rev, want []store.KV) {
	t.Helper()
	gotHead, n, err := store.CheckSnapshot(bytes.NewReader(snapshot.Bytes()))
	if err != nil || gotHead != head || n != len(want) {
		t.Errorf("CheckSnapshot = %d, %d, %v, want %d, %d", gotHead, n, err, head, len(want))
	}
	m := store.NewMem()
	defer m.Close()
	if err := store.Restore(t.Context(), m, snapshot); err != nil {
		t.Fatalf("Restore: %v", err)
	}
	samePairs(t, all(t, m), want)
}

// samePairs compares keys and values; revisions are each store's own.
func samePairs(t *testing.T, got, want []store.KV) {
	t.Helper()
	if !slices.EqualFunc(got, want, func(a, b store.KV) bool { return a.Key == b.Key && bytes.Equal(a.Val, b.Val) }) {
		t.Errorf("%d pairs, not the same as the %d wanted", len(got), len(want))
	}
}

func watch(t *testing.T, s store.Store, prefix string, from store.Rev) <-chan store.Batch {
	t.Helper()
	ch, err := s.Watch(t.Context(), prefix, from)
	if err != nil {
		t.Fatalf("Watch: %v", err)
	}
	return ch
}

func next(t *testing.T, ch <-chan store.Batch) store.Batch {
	t.Helper()
	select {
	case b, ok := <-ch:
		if !ok {
			t.Fatal("the watch ended")
		}
		return b
	case <-time.After(10 * time.Second):
		t.Fatal("the watch says nothing")
	}
	panic("unreachable")
}

// drain reads a watch that has ended to its end.
func drain(t *testing.T, ch <-chan store.Batch) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	for {
		select {
		case b, ok := <-ch:
			if !ok {
				return
			}
			if b.Err != nil {
				t.Errorf("an ended watch says %v", b.Err)
			}
		case <-deadline:
			t.Fatal("the watch does not end")
		}
	}
}
