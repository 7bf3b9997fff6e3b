package record_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyreeve/keyreeve/internal/record"
	"github.com/keyreeve/keyreeve/internal/seal"
	"github.com/keyreeve/keyreeve/internal/store"
	"github.com/keyreeve/keyreeve/internal/store/boltstore"
)

// house is a data directory with its mark and the key of its box beside it.
type house struct{ dir string }

func (h house) db() string   { return filepath.Join(h.dir, "data", "store.db") }
func (h house) mark() string { return filepath.Join(h.dir, "data.mark") }
func (h house) key() string  { return filepath.Join(h.dir, "data.key") }

func newHouse(t *testing.T) house {
	t.Helper()
	h := house{t.TempDir()}
	if err := os.Mkdir(filepath.Dir(h.db()), 0o700); err != nil {
		t.Fatal(err)
	}
	return h
}

// run opens everything, calls f, and closes everything.
func (h house) run(t *testing.T, accept bool, f func(s *record.Store, st store.Store)) error {
	t.Helper()
	st, err := boltstore.Open(h.db(), boltstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	box, err := seal.Open(t.Context(), st, seal.Options{Provider: seal.KeyFile(h.key())})
	if err != nil {
		t.Fatal(err)
	}
	s, err := record.Open(t.Context(), st, box, record.Options{Mark: h.mark(), AcceptRollback: accept, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	if f != nil {
		f(s, st)
	}
	return s.Close()
}

func (h house) mustRun(t *testing.T, f func(s *record.Store, st store.Store)) {
	t.Helper()
	if err := h.run(t, false, f); err != nil {
		t.Fatalf("Open: %v", err)
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func write(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestMark spoils a store, its mark, or both, between two starts.
func TestMark(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(t *testing.T, h house, oldDB, oldMark []byte)
		want  string // in the refusal; empty: it starts
	}{
		{"nothing", func(*testing.T, house, []byte, []byte) {}, ""},
		{"older store", func(t *testing.T, h house, db, _ []byte) { write(t, h.db(), db) }, "revision"},
		{"older mark", func(t *testing.T, h house, _, mark []byte) { write(t, h.mark(), mark) }, ""},
		{"no mark", func(t *testing.T, h house, _, _ []byte) { os.Remove(h.mark()) }, "missing"},
		{"older store without mark", func(t *testing.T, h house, db, _ []byte) { write(t, h.db(), db); os.Remove(h.mark()) }, "missing"},
		{"no store", func(t *testing.T, h house, _, _ []byte) { os.Remove(h.db()) }, "does not open"},
		{"damaged mark", func(t *testing.T, h house, _, _ []byte) {
			b := read(t, h.mark())
			b[len(b)-1] ^= 1
			write(t, h.mark(), b)
		}, "mark"},
		{"empty mark", func(t *testing.T, h house, _, _ []byte) { write(t, h.mark(), nil) }, "damaged"},
		{"mark of another version", func(t *testing.T, h house, _, _ []byte) {
			b := read(t, h.mark())
			b[0]++
			write(t, h.mark(), b)
		}, "version"},
		{"store forgets its mark", func(t *testing.T, h house, _, _ []byte) { h.raw(t, "v1/sys/mark", nil) }, "does not say"},
		{"both forgotten", func(t *testing.T, h house, _, _ []byte) { h.raw(t, "v1/sys/mark", nil); os.Remove(h.mark()) }, "never had a mark"},
		{"store forgets everything", func(t *testing.T, h house, _, _ []byte) { h.raw(t, keyA, nil) }, "was not before"},
		{"store forgets everything and its mark", func(t *testing.T, h house, _, _ []byte) {
			h.raw(t, keyA, nil)
			h.raw(t, "v1/sys/mark", nil)
		}, "does not say"},
		{"another id in the store", func(t *testing.T, h house, _, _ []byte) { h.raw(t, "v1/sys/mark", []byte("short")) }, "too short"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHouse(t)
			h.mustRun(t, func(s *record.Store, _ store.Store) { create(t, s, keyA, "enabled") })
			oldDB, oldMark := read(t, h.db()), read(t, h.mark())
			h.mustRun(t, func(s *record.Store, _ store.Store) { put(t, s, keyA, "disabled") })
			c.spoil(t, h, oldDB, oldMark)
			err := h.run(t, false, nil)
			if c.want == "" {
				if err != nil {
					t.Fatalf("Open: %v", err)
				}
				return
			}
			if !errors.Is(err, record.ErrRolledBack) || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("Open: %v, want ErrRolledBack with %q", err, c.want)
			}
			var hinted interface{ Hint() string }
			if !errors.As(err, &hinted) || !strings.Contains(hinted.Hint(), "--accept-rollback") {
				t.Errorf("no hint in %v", err)
			}
			if err := h.run(t, false, nil); !errors.Is(err, record.ErrRolledBack) {
				t.Errorf("Open once more: %v", err)
			}
			if err := h.run(t, true, func(s *record.Store, _ store.Store) {
				if err := s.Accepted(); !errors.Is(err, record.ErrRolledBack) || !strings.Contains(err.Error(), c.want) {
					t.Errorf("Accepted = %v", err)
				}
			}); err != nil {
				t.Fatalf("Open with AcceptRollback: %v", err)
			}
			h.mustRun(t, func(s *record.Store, _ store.Store) {
				if err := s.Accepted(); err != nil {
					t.Errorf("Accepted without having been asked to = %v", err)
				}
			})
		})
	}
}

// raw changes the store while no node runs.
func (h house) raw(t *testing.T, key string, val []byte) {
	t.Helper()
	st, err := boltstore.Open(h.db(), boltstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	rawPut(t, st, key, val)
}

// TestMarkOfAnother: the mark of one store does not stand for another's, even
// if the same root key seals both.
func TestMarkOfAnother(t *testing.T) {
	h := newHouse(t)
	h.mustRun(t, func(s *record.Store, _ store.Store) { create(t, s, keyA, "a") })
	db := read(t, h.db())
	if err := h.run(t, true, nil); err != nil { // nothing to accept, so nothing new
		t.Fatal(err)
	}
	mark := read(t, h.mark())
	os.Remove(h.mark())
	if err := h.run(t, true, func(s *record.Store, _ store.Store) { create(t, s, keyB, "b") }); err != nil {
		t.Fatal(err)
	}
	write(t, h.mark(), mark)
	if err := h.run(t, false, nil); !errors.Is(err, record.ErrRolledBack) || !strings.Contains(err.Error(), "another store") {
		t.Errorf("a mark from before a rollback was accepted: %v", err)
	}
	write(t, h.db(), db)
	h.mustRun(t, nil) // store and mark of one time: that is not to be told
}

// TestInterruptedFirstStart: a first start that ended before the store said
// that it has a mark is no rollback.
func TestInterruptedFirstStart(t *testing.T) {
	h := newHouse(t)
	st, err := boltstore.Open(h.db(), boltstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	box, err := seal.Open(t.Context(), st, seal.Options{Provider: seal.KeyFile(h.key())})
	if err != nil {
		t.Fatal(err)
	}
	failing := &hooked{Store: st}
	failing.commit = func(context.Context, []store.Cond, []store.Op) (store.Rev, bool, error) {
		return 0, false, errors.New("no power")
	}
	if _, err := record.Open(t.Context(), failing, box, record.Options{Mark: h.mark()}); err == nil {
		t.Fatal("it started")
	}
	read(t, h.mark())
	st.Close()
	h.mustRun(t, func(s *record.Store, _ store.Store) { create(t, s, keyA, "a") })
	h.mustRun(t, nil)
}

func TestMarkFile(t *testing.T) {
	h := newHouse(t)
	h.mustRun(t, func(s *record.Store, _ store.Store) {
		fi, err := os.Stat(h.mark())
		if err != nil || fi.Mode().Perm() != 0o600 {
			t.Errorf("mark of mode %v, %v", fi.Mode(), err)
		}
		if d := time.Since(s.Newest()); d < 0 || d > time.Minute {
			t.Errorf("Newest is %v ago", d)
		}
	})
	names, err := os.ReadDir(h.dir)
	if err != nil || len(names) != 3 { // data, data.key, data.mark
		t.Errorf("%v stand there, %v", names, err)
	}
	missing := house{filepath.Join(h.dir, "none")}
	st := store.NewMem()
	if _, err := record.Open(t.Context(), st, newBox(t, st), record.Options{Mark: missing.mark()}); !errors.Is(err, os.ErrNotExist) || errors.Is(err, record.ErrRolledBack) {
		t.Errorf("a mark in a directory that is not there: %v", err)
	}
}

// TestMarkIsWritten: once a second if the store went on, once a minute if only
// the time did, and at the end.
func TestMarkIsWritten(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(dir, "data.mark")
		st := store.NewMem()
		defer st.Close()
		box := newBox(t, st)
		o := record.Options{Mark: path, Log: slog.New(slog.DiscardHandler)}
		s, err := record.Open(t.Context(), st, box, o)
		if err != nil {
			t.Fatal(err)
		}
		last := read(t, path)
		changed := func() bool {
			t.Helper()
			b := read(t, path)
			was := bytes.Equal(b, last)
			last = b
			return !was
		}
		time.Sleep(1500 * time.Millisecond)
		changed() // the record of its id
		time.Sleep(10 * time.Second)
		if changed() {
			t.Error("written though nothing happened")
		}
		create(t, s, keyA, "a")
		create(t, s, keyB, "b")
		if changed() {
			t.Error("written with each commit")
		}
		time.Sleep(1100 * time.Millisecond)
		if !changed() {
			t.Error("not written a second after a commit")
		}
		time.Sleep(61 * time.Second)
		if !changed() {
			t.Error("not written for a minute")
		}
		newest := s.Newest()
		put(t, s, keyA, "c")
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if !changed() {
			t.Error("not written at the end")
		}
		// A clock that was put back does not put the mark back, nor generations.
		behind := o
		behind.Now = func() time.Time { return time.Now().Add(-24 * time.Hour) }
		if s, err = record.Open(t.Context(), st, box, behind); err != nil {
			t.Fatal(err)
		}
		if s.Newest().Before(newest) {
			t.Errorf("Newest went back from %v to %v", newest, s.Newest())
		}
		tx := s.Begin()
		tx.Create(record.KindKey, "v1/key/late", nil)
		commit(t, tx)
		if g := mustGet(t, s, "v1/key/late").Generation; g <= uint64(newest.UnixMicro()) {
			t.Errorf("generation %d, from before %v", g, newest)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestMarkCannotBeWritten: the store goes on, and says so once.
func TestMarkCannotBeWritten(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "beside")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		st := store.NewMem()
		defer st.Close()
		s, err := record.Open(t.Context(), st, newBox(t, st), record.Options{
			Mark: filepath.Join(dir, "data.mark"), Log: slog.New(slog.NewTextHandler(&log, nil)),
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		for _, key := range []string{keyA, keyB} {
			create(t, s, key, "x")
			time.Sleep(5 * time.Second)
		}
		if err := s.Close(); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("Close: %v", err)
		}
		if n := strings.Count(log.String(), "cannot be written"); n != 1 {
			t.Errorf("said %d times:\n%s", n, log.String())
		}
	})
}
