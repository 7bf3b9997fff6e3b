package boltstore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/keyreeve/keyreeve/internal/store"
	"github.com/keyreeve/keyreeve/internal/store/boltstore"
)

var compactedAt = time.Date(2026, 11, 22, 7, 0, 0, int(time.Millisecond), time.UTC)

// TestCompactForgets looks for what was deleted and replaced in the bytes of the
// file.
func TestCompactForgets(t *testing.T) {
	path := newPath(t)
	made := compactedAt.Add(-time.Hour)
	s := openWith(t, path, boltstore.Options{Now: func() time.Time { return made }})
	secret := func(i int) string { return fmt.Sprintf("destroyed-%03d-%s", i, strings.Repeat("x", 100)) }
	for i := range 200 {
		put(t, s, fmt.Sprintf("mat/%03d", i), secret(i))
	}
	put(t, s, "kept", "before")
	put(t, s, "kept", "after")
	var ops []store.Op
	for i := range 200 {
		if i != 77 {
			ops = append(ops, store.Op{Key: fmt.Sprintf("mat/%03d", i)})
		}
	}
	for half := range slices.Chunk(ops, store.MaxOps) {
		if _, ok, err := s.Commit(t.Context(), nil, half); err != nil || !ok {
			t.Fatal(ok, err)
		}
	}
	count := func() int {
		t.Helper()
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for i := range 200 {
			if bytes.Contains(b, []byte(secret(i))) {
				n++
			}
		}
		return n
	}
	if n := count(); n < 100 {
		t.Fatalf("only %d values are still in the file: this test looks for nothing", n)
	}
	head, err := s.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if at, err := s.CompactedAt(t.Context()); err != nil || !at.Equal(made) {
		t.Errorf("before: CompactedAt = %v, %v", at, err)
	}
	if err := s.Compact(t.Context(), compactedAt); err != nil {
		t.Fatal(err)
	}
	if n := count(); n != 1 {
		t.Errorf("%d values are in the file, want the 1 that was not deleted", n)
	}
	check := func(s *boltstore.Store) {
		t.Helper()
		if kv := get(t, s, "kept"); string(kv.Val) != "after" || kv.Rev != 202 {
			t.Errorf("kept = %q at %d", kv.Val, kv.Rev)
		}
		if now, err := s.Head(t.Context()); err != nil || now != head {
			t.Errorf("Head = %d, %v, and was %d", now, err, head)
		}
		if at, err := s.CompactedAt(t.Context()); err != nil || !at.Equal(compactedAt) {
			t.Errorf("CompactedAt = %v, %v", at, err)
		}
	}
	check(s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, path)
	check(s)
	if rev := put(t, s, "more", "x"); rev != head+1 {
		t.Errorf("the next revision is %d, want %d", rev, head+1)
	}
}

// TestCompactMeanwhile commits, reads and watches while the file is compacted
// again and again: nothing is lost, and nothing comes back.
func TestCompactMeanwhile(t *testing.T) {
	path := newPath(t)
	s := open(t, path)
	watch, err := s.Watch(t.Context(), "", 1)
	if err != nil {
		t.Fatal(err)
	}
	const writers, steps = 4, 60
	var work, done sync.WaitGroup
	for w := range writers {
		work.Go(func() {
			counter := fmt.Sprintf("counter/%d", w)
			for i := range steps {
				kv := get(t, s, counter)
				if n := len(kv.Val); n != i {
					t.Errorf("%s is %d at step %d", counter, n, i)
					return
				}
				ops := []store.Op{{Key: counter, Val: append(kv.Val, 'x')}, {Key: fmt.Sprintf("step/%d/%d", w, i), Val: []byte("v")}}
				if i > 0 {
					ops = append(ops, store.Op{Key: fmt.Sprintf("step/%d/%d", w, i-1)})
				}
				if _, ok, err := s.Commit(t.Context(), []store.Cond{{Key: counter, Rev: kv.Rev}}, ops); err != nil || !ok {
					t.Errorf("%s, step %d: %v, %v", counter, i, ok, err)
					return
				}
			}
		})
	}
	stop := make(chan struct{})
	compactions := 0
	done.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if err := s.Compact(t.Context(), compactedAt); err != nil {
				t.Error(err)
				return
			}
			compactions++
		}
	})
	work.Wait()
	close(stop)
	done.Wait()
	if compactions < 2 {
		t.Errorf("%d compactions while %d commits were made", compactions, writers*steps)
	}
	for rev := store.Rev(1); rev <= writers*steps; rev++ {
		if b := <-watch; b.Err != nil || b.Rev != rev {
			t.Fatalf("the watch has %d, %v, want %d", b.Rev, b.Err, rev)
		}
	}
	for range 2 {
		kvs, head, err := s.Range(t.Context(), "", "", 0)
		if err != nil || head != writers*steps || len(kvs) != 2*writers {
			t.Fatalf("%d pairs at %d, %v: want %d at %d", len(kvs), head, err, 2*writers, writers*steps)
		}
		var snapshot bytes.Buffer
		if err := s.Snapshot(t.Context(), &snapshot); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = open(t, path)
	}
}

// TestCompactFails looks at a store whose file cannot be exchanged.
func TestCompactFails(t *testing.T) {
	path := newPath(t)
	s := open(t, path)
	put(t, s, "k", "v")
	if err := os.MkdirAll(path+".compact/in the way", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := s.Compact(t.Context(), compactedAt); err == nil {
		t.Fatal("it compacts into a directory")
	}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	if err := os.RemoveAll(path + ".compact"); err != nil {
		t.Fatal(err)
	}
	if err := s.Compact(canceled, compactedAt); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
	if _, err := os.Stat(path + ".compact"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a copy is left: %v", err)
	}
	put(t, s, "k", "w")
	if kv := get(t, s, "k"); string(kv.Val) != "w" || s.Err() != nil {
		t.Errorf("afterwards: %q, %v", kv.Val, s.Err())
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Compact(t.Context(), compactedAt); !errors.Is(err, store.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}

// TestCompactNeedsRoom: a compaction must not fill the disk, on which others write.
func TestCompactNeedsRoom(t *testing.T) {
	path := newPath(t)
	var free int64
	known := true
	s := openWith(t, path, boltstore.WithFree(boltstore.Options{}, func(string) (int64, bool) { return free, known }))
	put(t, s, "k", "v")
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	enough := info.Size() + 256<<20
	for _, tt := range []struct {
		free  int64
		known bool
		want  error
	}{{enough - 1, true, boltstore.ErrNoRoom}, {enough, true, nil}, {0, false, nil}} {
		free, known = tt.free, tt.known
		if err := s.Compact(t.Context(), compactedAt); !errors.Is(err, tt.want) {
			t.Errorf("with %d bytes free (known: %v): %v, want %v", tt.free, tt.known, err, tt.want)
		}
	}
	put(t, s, "k", "w")
}

// TestCompactAfterFailure: a store of which it is not known what the disk has is
// not copied.
func TestCompactAfterFailure(t *testing.T) {
	g := errors.New("sync failed")
	s := openWith(t, newPath(t), boltstore.WithCommit(boltstore.Options{}, func(tx *bolt.Tx) error {
		if err := tx.Commit(); err != nil {
			return err
		}
		return g
	}))
	if _, _, err := s.Commit(t.Context(), nil, []store.Op{{Key: "k", Val: []byte("v")}}); !errors.Is(err, g) {
		t.Fatal(err)
	}
	if err := s.Compact(t.Context(), compactedAt); !errors.Is(err, boltstore.ErrFailed) {
		t.Errorf("Compact = %v", err)
	}
}

// TestLeftOver: a copy that was cut off is removed, and the file is what counts.
func TestLeftOver(t *testing.T) {
	path := newPath(t)
	s := open(t, path)
	put(t, s, "k", "v")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path+".compact", []byte("half a copy"), 0o600); err != nil {
		t.Fatal(err)
	}
	s = open(t, path)
	if kv := get(t, s, "k"); string(kv.Val) != "v" {
		t.Errorf("k = %q", kv.Val)
	}
	if _, err := os.Stat(path + ".compact"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the copy is still there: %v", err)
	}
}
