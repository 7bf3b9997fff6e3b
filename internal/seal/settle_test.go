package seal_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/hint"
	"github.com/keyreeve/keyreeve/internal/seal"
	"github.com/keyreeve/keyreeve/internal/store"
)

const newPhrase = "a quite different phrase"

// fill takes every slot of an arena that is left.
func fill(t *testing.T, a *seal.Arena) {
	t.Helper()
	for {
		if _, err := a.Get(); errors.Is(err, seal.ErrArenaFull) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

// Keys that wait for a slot must not take that of the root key: a change of the
// root key would fail after it has happened, and its new passphrase be lost.
func TestRekeyFullArena(t *testing.T) {
	a, err := seal.NewArena(seal.ArenaOptions{Size: 1})
	if err != nil {
		t.Fatal(err)
	}
	st := store.NewMem()
	b, err := seal.Open(t.Context(), st, seal.Options{Provider: passphrase(phrase), Arena: a})
	if err != nil {
		t.Fatal(err)
	}
	v := sealed(t, b, seal.Records, "", "text")
	fill(t, a)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() { // it would get whatever is free for a moment
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				_, _ = a.Get()
			}
		}
	}()
	for range 20 {
		if err := b.Rekey(t.Context(), passphrase(newPhrase)); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	<-stopped
	if err := b.Rotate(t.Context()); err != nil {
		t.Error(err)
	}
	mustOpen(t, open(t, st, passphrase(newPhrase)), seal.Records, "", v, "text")
	// The slot goes back with the root key, and once only.
	used := a.Stats().Used
	b.Lock()
	b.Lock()
	if now := a.Stats().Used; now != used-1 {
		t.Errorf("%d slots in use after Lock, %d before", now, used)
	}
}

// A root key for which there is no slot is on the heap: without it nothing could
// be read.
func TestUnlockFullArena(t *testing.T) {
	a, err := seal.NewArena(seal.ArenaOptions{Size: 1})
	if err != nil {
		t.Fatal(err)
	}
	fill(t, a)
	st := store.NewMem()
	b, err := seal.Open(t.Context(), st, seal.Options{Provider: passphrase(phrase), Arena: a})
	if err != nil {
		t.Fatal(err)
	}
	v := sealed(t, b, seal.Records, "", "text")
	if err := errors.Join(b.Rotate(t.Context()), b.Rekey(t.Context(), passphrase(newPhrase))); err != nil {
		t.Fatal(err)
	}
	mustOpen(t, open(t, st, passphrase(newPhrase)), seal.Records, "", v, "text")
}

// hookedStore calls commit in the place of its own Commit, if that is set.
type hookedStore struct {
	store.Store
	commit func(ctx context.Context, conds []store.Cond, ops []store.Op) (store.Rev, bool, error)
}

func (h *hookedStore) Commit(ctx context.Context, conds []store.Cond, ops []store.Op) (store.Rev, bool, error) {
	if h.commit != nil {
		return h.commit(ctx, conds, ops)
	}
	return h.Store.Commit(ctx, conds, ops)
}

// TestContextEnds has the caller's patience end while a change is being written.
// What the Box then says must be true.
func TestContextEnds(t *testing.T) {
	for _, happens := range []bool{true, false} {
		for _, barrier := range []bool{true, false} {
			st := &hookedStore{Store: store.NewMem()}
			b := open(t, st, passphrase(phrase))
			v := sealed(t, b, seal.Records, "", "text")
			ctx, cancel := context.WithCancel(t.Context())
			fences := 1
			st.commit = func(c context.Context, conds []store.Cond, ops []store.Op) (store.Rev, bool, error) {
				switch {
				case len(ops) == 0 && !barrier:
					return 0, false, errFault
				case len(ops) == 0 || fences > 0:
					fences--
					return st.Store.Commit(c, conds, ops)
				}
				cancel()
				if happens {
					if _, ok, err := st.Store.Commit(t.Context(), conds, ops); !ok || err != nil {
						t.Errorf("Commit: %v, %v", ok, err)
					}
				}
				return 0, false, ctx.Err()
			}
			err := b.Rekey(ctx, passphrase(newPhrase))
			st.commit = nil
			switch {
			case !barrier:
				if !errors.Is(err, seal.ErrUnsettled) || !strings.Contains(hint.Of(err), "keep both root keys") {
					t.Errorf("happens %v, unsettled: %v, hint %q", happens, err, hint.Of(err))
				}
			case happens:
				if err != nil {
					t.Errorf("it happened: %v", err)
				}
			default:
				if !errors.Is(err, context.Canceled) || errors.Is(err, seal.ErrUnsettled) {
					t.Errorf("it did not happen: %v, want Canceled", err)
				}
			}
			now := phrase
			if happens {
				now = newPhrase
			}
			mustOpen(t, open(t, st, passphrase(now)), seal.Records, "", v, "text")
			mustOpen(t, b, seal.Records, "", v, "text")
		}
	}
}

// Another node's change in between leaves it unknown whether ours was before it.
func TestUnsettledByAnotherNode(t *testing.T) {
	st := &hookedStore{Store: store.NewMem()}
	b := open(t, st, passphrase(phrase))
	other := open(t, st.Store, passphrase(phrase))
	st.commit = func(ctx context.Context, conds []store.Cond, ops []store.Op) (store.Rev, bool, error) {
		if len(ops) == 0 {
			return st.Store.Commit(ctx, conds, ops)
		}
		if err := other.Rotate(t.Context()); err != nil {
			t.Error(err)
		}
		return 0, false, errFault
	}
	if err := b.Rotate(t.Context()); !errors.Is(err, seal.ErrUnsettled) {
		t.Errorf("Rotate: %v, want ErrUnsettled", err)
	}
	st.commit = nil
	if err := b.Rotate(t.Context()); err != nil || b.Status().Active != 3 {
		t.Errorf("Rotate again: %v, the domain key %d, want 3", err, b.Status().Active)
	}
}

// TestLockDoesNotWait locks a Box whose change hangs on a dead disk.
func TestLockDoesNotWait(t *testing.T) {
	for name, change := range map[string]func(b *seal.Box) error{
		"Rotate":                func(b *seal.Box) error { return b.Rotate(context.Background()) },
		"Rekey":                 func(b *seal.Box) error { return b.Rekey(context.Background(), passphrase(newPhrase)) },
		"Rekey after the fence": func(b *seal.Box) error { return b.Rekey(context.Background(), passphrase(newPhrase)) },
		"Unlock":                func(b *seal.Box) error { return b.Unlock(context.Background(), passphrase(phrase)) },
	} {
		t.Run(name, func(t *testing.T) {
			hangs, goOn := make(chan struct{}), make(chan struct{})
			mem := store.NewMem()
			inCommit, inGet := &hangingStore{Store: mem}, &hangingGets{hangingStore{Store: mem}}
			var st store.Store = inCommit
			if name == "Unlock" {
				st = inGet
			}
			b := open(t, st, passphrase(phrase))
			v := sealed(t, b, seal.Records, "", "text")
			if name == "Rekey after the fence" {
				inCommit.skip = 1
			}
			inCommit.hang = func() {
				close(hangs)
				<-goOn
			}
			inGet.hang = inCommit.hang
			changed := make(chan error)
			go func() { changed <- change(b) }()
			<-hangs
			locked := make(chan struct{})
			go func() {
				b.Lock()
				b.Status()
				close(locked)
			}()
			select {
			case <-locked:
			case <-time.After(time.Minute):
				t.Error("Lock waits")
			}
			if _, err := b.Open(seal.Records, nil, v); !errors.Is(err, seal.ErrSealed) {
				t.Errorf("Open after Lock: %v, want ErrSealed", err)
			}
			// Others who want to change the seal wait as long as they like.
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
			if err := b.Unlock(ctx, passphrase(phrase)); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Unlock meanwhile: %v, want DeadlineExceeded", err)
			}
			cancel()
			close(goOn)
			err := <-changed
			if !b.Sealed() {
				t.Error("what hung has unlocked the Box")
			}
			// What was said is true.
			now := phrase
			if name == "Rekey after the fence" {
				if now = newPhrase; err != nil {
					t.Errorf("it happened: %v", err)
				}
			}
			if name == "Unlock" && !errors.Is(err, seal.ErrSealed) {
				t.Errorf("Unlock: %v, want ErrSealed", err)
			}
			if err := b.Unlock(t.Context(), passphrase(now)); err != nil {
				t.Fatalf("Unlock after %s (%v): %v", name, err, err)
			}
			mustOpen(t, b, seal.Records, "", v, "text")
		})
	}
}

// hangingStore hangs once, at a commit.
type hangingStore struct {
	store.Store
	hang func()
	skip int // commits before
}

func (h *hangingStore) wait() {
	if f := h.hang; f != nil {
		if h.skip > 0 {
			h.skip--
			return
		}
		h.hang = nil
		f()
	}
}

func (h *hangingStore) Commit(ctx context.Context, conds []store.Cond, ops []store.Op) (store.Rev, bool, error) {
	h.wait()
	return h.Store.Commit(ctx, conds, ops)
}

// hangingGets hangs at its first Get.
type hangingGets struct{ hangingStore }

func (h *hangingGets) Get(ctx context.Context, key string) (store.KV, store.Rev, error) {
	h.wait()
	return h.Store.Get(ctx, key)
}
