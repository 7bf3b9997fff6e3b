package boltstore_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/keyreeve/keyreeve/internal/store"
	"github.com/keyreeve/keyreeve/internal/store/boltstore"
	"github.com/keyreeve/keyreeve/internal/store/storetest"
)

func open(t testing.TB, path string) *boltstore.Store {
	t.Helper()
	return openWith(t, path, boltstore.Options{})
}

func openWith(t testing.TB, path string, o boltstore.Options) *boltstore.Store {
	t.Helper()
	s, err := boltstore.Open(path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func newPath(t testing.TB) string { return filepath.Join(t.TempDir(), "store.db") }

func put(t testing.TB, s store.Store, key, val string) store.Rev {
	t.Helper()
	rev, ok, err := s.Commit(t.Context(), nil, []store.Op{{Key: key, Val: []byte(val)}})
	if err != nil || !ok {
		t.Fatalf("Commit of %s = %d, %v, %v", key, rev, ok, err)
	}
	return rev
}

func get(t testing.TB, s store.Store, key string) store.KV {
	t.Helper()
	kv, _, err := s.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	return kv
}

func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) store.Store { return open(t, newPath(t)) })
}

func TestDurable(t *testing.T) {
	storetest.RunDurable(t, newPath(t), func(t *testing.T, path string) store.Store { return open(t, path) })
}

func TestMode(t *testing.T) {
	path := newPath(t)
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for range 2 { // an empty file, and then one of ours
		s := open(t, path)
		put(t, s, "a", "1")
		s.Close()
		fi, err := os.Stat(path)
		if err != nil || fi.Mode().Perm() != 0o600 {
			t.Errorf("mode %v, %v, want 0600", fi.Mode(), err)
		}
		if err := os.Chmod(path, 0o664); err != nil {
			t.Fatal(err)
		}
	}
}

func TestLocked(t *testing.T) {
	path := newPath(t)
	s := open(t, path)
	_, err := boltstore.Open(path, boltstore.Options{LockTimeout: 20 * time.Millisecond})
	if !errors.Is(err, boltstore.ErrLocked) || !strings.Contains(err.Error(), path) {
		t.Errorf("Open of a file in use: %v", err)
	}
	put(t, s, "a", "1")
	s.Close()
	if kv := get(t, open(t, path), "a"); string(kv.Val) != "1" {
		t.Errorf("after a failed Open of another: %q", kv.Val)
	}
}

func TestOpenRefuses(t *testing.T) {
	edit := func(f func(tx *bolt.Tx) error) func(*testing.T, string) {
		return func(t *testing.T, path string) {
			db, err := bolt.Open(path, 0o600, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			if err := db.Update(f); err != nil {
				t.Fatal(err)
			}
		}
	}
	state := func(change func(b []byte) []byte) func(*testing.T, string) {
		return edit(func(tx *bolt.Tx) error {
			b := tx.Bucket([]byte("meta"))
			return b.Put([]byte("state"), change(append([]byte(nil), b.Get([]byte("state"))...)))
		})
	}
	for _, c := range []struct {
		name  string
		spoil func(t *testing.T, path string)
		want  string
	}{
		{"newer layout", state(func(b []byte) []byte { b[0] = 2; return b }), "layout version 2, this program knows 1"},
		{"short state", state(func(b []byte) []byte { return b[:5] }), "damaged"},
		{"another revision", state(func(b []byte) []byte { b[8]++; return b }), "revisions disagree"},
		{"no state", edit(func(tx *bolt.Tx) error { return tx.Bucket([]byte("meta")).Delete([]byte("state")) }), "missing"},
		{"no data", edit(func(tx *bolt.Tx) error { return tx.DeleteBucket([]byte("data")) }), "missing"},
		{"another program's", func(t *testing.T, path string) {
			os.Remove(path)
			edit(func(tx *bolt.Tx) error { _, err := tx.CreateBucket([]byte("other")); return err })(t, path)
		}, "other things"},
		{"another format", func(t *testing.T, path string) {
			if err := os.WriteFile(path, []byte(strings.Repeat("SQLite format 3\x00", 4096)), 0o600); err != nil {
				t.Fatal(err)
			}
		}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := newPath(t)
			s := open(t, path)
			put(t, s, "a", "1")
			s.Close()
			c.spoil(t, path)
			for range 2 { // the first one must have let go of the file
				_, err := boltstore.Open(path, boltstore.Options{LockTimeout: 100 * time.Millisecond})
				if !errors.Is(err, boltstore.ErrFormat) || !strings.Contains(err.Error(), c.want) {
					t.Errorf("Open: %v, want ErrFormat with %q", err, c.want)
				}
			}
		})
	}
	if _, err := boltstore.Open(filepath.Join(t.TempDir(), "none", "store.db"), boltstore.Options{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Open in a directory that is not there: %v", err)
	}
}

// gate is a commit of batches that waits, and fails as told.
type gate struct {
	enter chan struct{} // a batch has come
	leave chan error    // how it is to end: errStored commits it first
}

var (
	errLost   = errors.New("lost")
	errStored = errors.New("stored, but")
)

func newGate() *gate { return &gate{make(chan struct{}), make(chan error)} }

func (g *gate) commit(tx *bolt.Tx) error {
	g.enter <- struct{}{}
	err := <-g.leave
	switch err {
	case nil:
		return tx.Commit()
	case errStored:
		if err := tx.Commit(); err != nil {
			return err
		}
	default:
		tx.Rollback()
	}
	return err
}

// verdict is what a commit returned.
type verdict struct {
	rev store.Rev
	ok  bool
	err error
}

func commitAsync(ctx context.Context, s store.Store, conds []store.Cond, ops ...store.Op) <-chan verdict {
	ch := make(chan verdict, 1)
	go func() {
		rev, ok, err := s.Commit(ctx, conds, ops)
		ch <- verdict{rev, ok, err}
	}()
	return ch
}

// settleIn waits until n commits are in the queue.
func settleIn(s *boltstore.Store, n int) {
	for s.Queued() != n {
		time.Sleep(time.Millisecond)
	}
}

// TestBatch: commits that arrive during another make one batch, in which each
// sees those before it and has a verdict and a revision of its own.
func TestBatch(t *testing.T) {
	g := newGate()
	s := openWith(t, newPath(t), boltstore.WithCommit(boltstore.Options{}, g.commit))
	ctx := t.Context()
	val := []byte("v")
	first := commitAsync(ctx, s, nil, store.Op{Key: "first", Val: val})
	<-g.enter
	var vs []<-chan verdict
	for _, c := range []struct {
		conds []store.Cond
		op    store.Op
	}{
		{[]store.Cond{{Key: "a"}}, store.Op{Key: "a", Val: val}},         // 2
		{[]store.Cond{{Key: "a"}}, store.Op{Key: "a", Val: val}},         // there now
		{[]store.Cond{{Key: "a", Rev: 2}}, store.Op{Key: "b", Val: val}}, // 3
		{[]store.Cond{{Key: "a", Rev: 2}}, store.Op{Key: "a"}},           // 4
		{[]store.Cond{{Key: "a", Rev: 2}}, store.Op{Key: "c", Val: val}}, // gone again
		{[]store.Cond{{Key: "a"}}, store.Op{Key: "absent"}},              // changes nothing, still 4
		{nil, store.Op{Key: "d", Val: val}},                              // 5
	} {
		vs = append(vs, commitAsync(ctx, s, c.conds, c.op))
		settleIn(s, len(vs))
	}
	g.leave <- nil
	<-g.enter // one batch of seven
	for i, v := range vs {
		select {
		case got := <-v:
			t.Errorf("verdict %d = %+v before its batch was written", i, got)
		default:
		}
	}
	if kv := get(t, s, "b"); kv.Rev != 0 {
		t.Error("a commit is to be seen before it is written")
	}
	g.leave <- nil
	if got := <-first; got != (verdict{1, true, nil}) {
		t.Errorf("first = %+v", got)
	}
	for i, want := range []verdict{{2, true, nil}, {2, false, nil}, {3, true, nil}, {4, true, nil}, {4, false, nil}, {4, true, nil}, {5, true, nil}} {
		if got := <-vs[i]; got != want {
			t.Errorf("verdict %d = %+v, want %+v", i, got, want)
		}
	}
}

// TestBatchFails: a batch that cannot be written fails as a whole, with those
// of its commits whose conditions did not hold: they rested on it. The store
// goes on.
func TestBatchFails(t *testing.T) {
	g := newGate()
	path := newPath(t)
	s := openWith(t, path, boltstore.WithCommit(boltstore.Options{}, g.commit))
	ctx := t.Context()
	val := []byte("v")
	ch, err := s.Watch(ctx, "", 1)
	if err != nil {
		t.Fatal(err)
	}
	first := commitAsync(ctx, s, nil, store.Op{Key: "first", Val: val})
	<-g.enter
	var vs []<-chan verdict
	for range 3 {
		vs = append(vs, commitAsync(ctx, s, []store.Cond{{Key: "a"}}, store.Op{Key: "a", Val: val}))
	}
	settleIn(s, len(vs))
	g.leave <- nil
	<-g.enter
	g.leave <- errLost
	if got := <-first; got.err != nil {
		t.Fatal(got.err)
	}
	for _, v := range vs {
		if got := <-v; !errors.Is(got.err, errLost) || got.ok || got.rev != 0 {
			t.Errorf("verdict in a failed batch = %+v", got)
		}
	}
	if kv := get(t, s, "a"); kv.Rev != 0 {
		t.Errorf("a failed commit left %+v", kv)
	}
	next := commitAsync(ctx, s, []store.Cond{{Key: "a"}}, store.Op{Key: "a", Val: val})
	<-g.enter
	g.leave <- nil
	if got := <-next; got != (verdict{2, true, nil}) {
		t.Errorf("the next commit = %+v, want revision 2", got)
	}
	for rev := store.Rev(1); rev <= 2; rev++ {
		if b := <-ch; b.Rev != rev {
			t.Errorf("batch %+v, want %d", b, rev)
		}
	}
	s.Close()
	if kv := get(t, open(t, path), "a"); kv.Rev != 2 {
		t.Errorf("after reopening: %+v", kv)
	}
}

// TestBatchStoredButFails: when it cannot be told whether the disk has a
// batch, commits stop; reads and watches show what there is.
func TestBatchStoredButFails(t *testing.T) {
	g := newGate()
	path := newPath(t)
	s := openWith(t, path, boltstore.WithCommit(boltstore.Options{}, g.commit))
	ctx := t.Context()
	ch, err := s.Watch(ctx, "", 1)
	if err != nil {
		t.Fatal(err)
	}
	v := commitAsync(ctx, s, nil, store.Op{Key: "a", Val: []byte("v")})
	<-g.enter
	g.leave <- errStored
	if got := <-v; !errors.Is(got.err, errStored) {
		t.Errorf("verdict %+v", got)
	}
	if kv := get(t, s, "a"); kv.Rev != 1 {
		t.Errorf("Get shows %+v", kv)
	}
	if b := <-ch; b.Rev != 1 || b.Err != nil {
		t.Errorf("watch shows %+v", b)
	}
	if _, _, err := s.Commit(ctx, nil, []store.Op{{Key: "b", Val: []byte("v")}}); !errors.Is(err, boltstore.ErrFailed) {
		t.Errorf("the next commit: %v", err)
	}
	if err := s.Err(); !errors.Is(err, boltstore.ErrFailed) {
		t.Errorf("Err: %v, want ErrFailed", err)
	}
	s.Close()
	s = open(t, path)
	if err := s.Err(); err != nil {
		t.Errorf("Err after reopening: %v", err)
	}
	if kv := get(t, s, "a"); kv.Rev != 1 {
		t.Errorf("after reopening: %+v", kv)
	}
	put(t, s, "b", "v")
}

// TestCancel: a commit that is given up while it waits does not happen; one
// that is being written may.
func TestCancel(t *testing.T) {
	g := newGate()
	s := openWith(t, newPath(t), boltstore.WithCommit(boltstore.Options{}, g.commit))
	taken, cancelTaken := context.WithCancel(t.Context())
	waiting, cancelWaiting := context.WithCancel(t.Context())
	val := []byte("v")
	first := commitAsync(taken, s, nil, store.Op{Key: "taken", Val: val})
	<-g.enter
	second := commitAsync(waiting, s, nil, store.Op{Key: "waiting", Val: val})
	third := commitAsync(t.Context(), s, nil, store.Op{Key: "other", Val: []byte("v")})
	settleIn(s, 2)
	cancelTaken()
	cancelWaiting()
	for _, v := range []<-chan verdict{first, second} {
		if got := <-v; !errors.Is(got.err, context.Canceled) {
			t.Errorf("verdict %+v, want Canceled", got)
		}
	}
	copy(val, "x") // ours again, even though one is still being written
	g.leave <- nil
	<-g.enter
	g.leave <- nil
	if got := <-third; got != (verdict{2, true, nil}) {
		t.Errorf("the commit that was not cancelled = %+v", got)
	}
	if kv := get(t, s, "taken"); string(kv.Val) != "v" {
		t.Errorf("the commit that was being written = %q", kv.Val)
	}
	if kv := get(t, s, "waiting"); kv.Rev != 0 {
		t.Errorf("the commit that waited = %+v", kv)
	}
}

// TestCloseMeanwhile: a batch under way is finished, what waits gets ErrClosed.
func TestCloseMeanwhile(t *testing.T) {
	g := newGate()
	path := newPath(t)
	s := openWith(t, path, boltstore.WithCommit(boltstore.Options{}, g.commit))
	first := commitAsync(t.Context(), s, nil, store.Op{Key: "a", Val: []byte("v")})
	<-g.enter
	closed := make(chan error)
	go func() { closed <- s.Close() }()
	<-s.Closing()
	if _, _, err := s.Commit(t.Context(), nil, []store.Op{{Key: "b", Val: []byte("v")}}); !errors.Is(err, store.ErrClosed) {
		t.Errorf("Commit while closing: %v", err)
	}
	g.leave <- nil
	if got := <-first; got != (verdict{1, true, nil}) {
		t.Errorf("verdict %+v", got)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
	if kv := get(t, open(t, path), "a"); kv.Rev != 1 {
		t.Errorf("after reopening: %+v", kv)
	}
}

func TestFastCommit(t *testing.T) {
	const mounts = `/dev/vda1 / ext4 rw,relatime 0 0
proc /proc proc rw 0 0
/dev/vdb /data ext4 rw,relatime,fast_commit 0 0
/dev/vdc /data/xfs xfs rw 0 0
/dev/vdd /with\040space ext4 rw,fast_commit 0 0
short line
`
	for _, c := range []struct {
		path, device, mount string
		fast                bool
	}{
		{"/home/x/store.db", "/dev/vda1", "/", false},
		{"/data/store.db", "/dev/vdb", "/data", true},
		{"/database/store.db", "/dev/vda1", "/", false},
		{"/data/xfs/store.db", "", "", false},
		{"/with space/store.db", "/dev/vdd", "/with space", true},
	} {
		device, mount, fast := boltstore.FastCommit(strings.NewReader(mounts), c.path)
		if device != c.device || mount != c.mount || fast != c.fast {
			t.Errorf("%s lies on %q at %q, %v; want %q at %q, %v", c.path, device, mount, fast, c.device, c.mount, c.fast)
		}
	}
	_ = boltstore.Warning(newPath(t)) // whatever it says here
}

func key(i int) string { return fmt.Sprintf("v1/key/111122223333/us-east-1/%036d", i) }

// BenchmarkCreate is the commit of a CreateKey: two new records of 700 bytes,
// durable when it returns. Commits per second are 1e9 by ns/op.
func BenchmarkCreate(b *testing.B) {
	for _, committers := range []int{1, 8, 64} {
		b.Run(fmt.Sprintf("committers=%d", committers), func(b *testing.B) {
			s := open(b, newPath(b))
			val := make([]byte, 700)
			var n atomic.Int64
			var wg sync.WaitGroup
			b.ResetTimer()
			for range committers {
				wg.Go(func() {
					for {
						i := int(n.Add(1))
						if i > b.N {
							return
						}
						k, m := key(i), "v1/mat/"+key(i)
						_, ok, err := s.Commit(b.Context(), []store.Cond{{Key: k}}, []store.Op{{Key: k, Val: val}, {Key: m, Val: val}})
						if err != nil || !ok {
							b.Errorf("Commit: %v, %v", ok, err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commits/s")
		})
	}
}

func BenchmarkGet(b *testing.B) {
	s := open(b, newPath(b))
	const keys = 100_000
	val := make([]byte, 700)
	for i := 0; i < keys; i += store.MaxOps {
		var ops []store.Op
		for j := range store.MaxOps {
			ops = append(ops, store.Op{Key: key(i + j), Val: val})
		}
		if _, _, err := s.Commit(b.Context(), nil, ops); err != nil {
			b.Fatal(err)
		}
	}
	k := key(77777)
	b.ReportAllocs()
	b.ResetTimer()
	for b.Loop() {
		if _, _, err := s.Get(b.Context(), k); err != nil {
			b.Fatal(err)
		}
	}
}
