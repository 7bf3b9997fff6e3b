package seal_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/seal"
	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/internal/store"
)

// cheap is the smallest cost that is allowed.
var cheap = seal.Cost{Memory: 8 << 10, Time: 1, Threads: 1}

const phrase = "correct horse battery staple"

func passphrase(s string) seal.Provider { return seal.Passphrase(secret.New([]byte(s)), cheap) }

func open(t *testing.T, st store.Store, p seal.Provider) *seal.Box {
	t.Helper()
	b, err := seal.Open(t.Context(), st, seal.Options{Provider: p})
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	return b
}

func sealed(t *testing.T, b *seal.Box, p seal.Purpose, aad, text string) []byte {
	t.Helper()
	v, err := b.Seal(p, []byte(aad), []byte(text))
	if err != nil {
		t.Fatalf("Seal: %v", err)
	}
	return v
}

func mustOpen(t *testing.T, b *seal.Box, p seal.Purpose, aad string, v []byte, want string) {
	t.Helper()
	got, err := b.Open(p, []byte(aad), v)
	if err != nil || string(got) != want {
		t.Fatalf("Open = %q, %v, want %q", got, err, want)
	}
}

func stateOf(t *testing.T, st store.Store) store.KV {
	t.Helper()
	kv, _, err := st.Get(t.Context(), seal.StateKey)
	if err != nil || kv.Rev == 0 {
		t.Fatalf("no seal state: %v", err)
	}
	return kv
}

func putState(t *testing.T, st store.Store, val []byte) {
	t.Helper()
	if _, ok, err := st.Commit(t.Context(), nil, []store.Op{{Key: seal.StateKey, Val: val}}); err != nil || !ok {
		t.Fatalf("Commit: %v, %v", ok, err)
	}
}

func TestProviders(t *testing.T) {
	memory := seal.Memory()
	file := filepath.Join(t.TempDir(), "root.key")
	for name, provider := range map[string]func() seal.Provider{
		"memory":     func() seal.Provider { return memory },
		"file":       func() seal.Provider { return seal.KeyFile(file) },
		"passphrase": func() seal.Provider { return passphrase(phrase) },
	} {
		t.Run(name, func(t *testing.T) {
			st := store.NewMem()
			b := open(t, st, provider())
			v := sealed(t, b, seal.Records, "aad", "text")
			if len(v) != len("text")+seal.Overhead {
				t.Errorf("sealed value has %d bytes, want %d", len(v), len("text")+seal.Overhead)
			}
			mustOpen(t, b, seal.Records, "aad", v, "text")
			again := open(t, st, provider())
			mustOpen(t, again, seal.Records, "aad", v, "text")
			s := again.Status()
			if s.Sealed || s.Provider != name || s.Generation != 1 || s.Active != 1 || len(s.DomainKeys) != 1 {
				t.Errorf("Status = %+v", s)
			}
		})
	}
}

func TestBoxRefuses(t *testing.T) {
	b := open(t, store.NewMem(), seal.Memory())
	v := sealed(t, b, seal.Records, "aad", "text")
	if _, err := b.Open(seal.Materials, []byte("aad"), v); !errors.Is(err, seal.ErrNotOpened) {
		t.Errorf("another purpose: %v, want ErrNotOpened", err)
	}
	if _, err := b.Open(seal.Records, []byte("aae"), v); !errors.Is(err, seal.ErrNotOpened) {
		t.Errorf("other associated data: %v, want ErrNotOpened", err)
	}
	for bit := range len(v) * 8 {
		bad := bytes.Clone(v)
		bad[bit/8] ^= 1 << (bit % 8)
		if _, err := b.Open(seal.Records, []byte("aad"), bad); !errors.Is(err, seal.ErrNotOpened) && !errors.Is(err, seal.ErrUnknownDomainKey) {
			t.Errorf("bit %d flipped: %v, want an error", bit, err)
		}
	}
	for n := range len(v) {
		if _, err := b.Open(seal.Records, []byte("aad"), v[:n]); !errors.Is(err, seal.ErrNotOpened) {
			t.Errorf("cut to %d bytes: %v, want ErrNotOpened", n, err)
		}
	}
	other := open(t, store.NewMem(), seal.Memory())
	if _, err := other.Open(seal.Records, []byte("aad"), v); !errors.Is(err, seal.ErrNotOpened) {
		t.Errorf("another store's value: %v, want ErrNotOpened", err)
	}
}

func TestAppend(t *testing.T) {
	b := open(t, store.NewMem(), seal.Memory())
	v, err := b.AppendSeal([]byte("before"), seal.Marks, nil, []byte("text"))
	if err != nil || !bytes.HasPrefix(v, []byte("before")) {
		t.Fatalf("AppendSeal = %q, %v", v, err)
	}
	v = v[len("before"):]
	if id, ok := seal.DomainKey(v); !ok || id != 1 {
		t.Errorf("DomainKey = %d, %v, want 1", id, ok)
	}
	buf := make([]byte, 64)
	got, err := b.AppendOpen(buf[:0], seal.Marks, nil, v)
	if err != nil || string(got) != "text" || &got[0] != &buf[0] {
		t.Errorf("AppendOpen = %q, %v, not in the buffer it was given", got, err)
	}
	if n := testing.AllocsPerRun(100, func() {
		if _, err := b.AppendOpen(buf[:0], seal.Marks, nil, v); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("AppendOpen allocates %v times, want 0", n)
	}
}

func TestFlippedState(t *testing.T) {
	file := filepath.Join(t.TempDir(), "root.key")
	for name, provider := range map[string]func() seal.Provider{
		"file":       func() seal.Provider { return seal.KeyFile(file) },
		"passphrase": func() seal.Provider { return passphrase(phrase) },
	} {
		t.Run(name, func(t *testing.T) {
			st := store.NewMem()
			if err := open(t, st, provider()).Rotate(t.Context()); err != nil {
				t.Fatal(err)
			}
			good := stateOf(t, st).Val
			for i := range good {
				if name == "passphrase" && i >= 60 && i%16 != 0 {
					continue // what is not parameters is the same as for a file
				}
				for _, mask := range []byte{0x01, 0x80} {
					bad := bytes.Clone(good)
					bad[i] ^= mask
					putState(t, st, bad)
					b, err := seal.Open(t.Context(), st, seal.Options{Provider: provider()})
					if err == nil {
						t.Errorf("byte %d ^ %#x: opens, sealed %v", i, mask, b.Sealed())
					} else if !errors.Is(err, seal.ErrTampered) && !errors.Is(err, seal.ErrWrongRoot) && !errors.Is(err, seal.ErrWrongProvider) {
						t.Errorf("byte %d ^ %#x: %v", i, mask, err)
					}
				}
			}
			for n := 0; n < len(good); n += 7 {
				putState(t, st, good[:n:n])
				if _, err := seal.Open(t.Context(), st, seal.Options{Provider: provider()}); err == nil {
					t.Errorf("cut to %d bytes: opens", n)
				}
			}
			putState(t, st, append(bytes.Clone(good), 0))
			if _, err := seal.Open(t.Context(), st, seal.Options{Provider: provider()}); !errors.Is(err, seal.ErrTampered) {
				t.Errorf("a byte more: %v, want ErrTampered", err)
			}
		})
	}
}

// TestSwappedDomainKeys exchanges the wrapped keys of two domain keys.
func TestSwappedDomainKeys(t *testing.T) {
	st, p := store.NewMem(), seal.Memory()
	if err := open(t, st, p).Rotate(t.Context()); err != nil {
		t.Fatal(err)
	}
	const tag, entry, wrapped = 28, 72, 60
	s := bytes.Clone(stateOf(t, st).Val)
	first := s[len(s)-tag-2*entry+12:][:wrapped]
	second := s[len(s)-tag-entry+12:][:wrapped]
	keep := bytes.Clone(first)
	copy(first, second)
	copy(second, keep)
	putState(t, st, s)
	if _, err := seal.Open(t.Context(), st, seal.Options{Provider: p}); !errors.Is(err, seal.ErrTampered) {
		t.Errorf("Open = %v, want ErrTampered", err)
	}
}

func TestOtherStoresState(t *testing.T) {
	one, two := store.NewMem(), store.NewMem()
	open(t, one, passphrase(phrase))
	open(t, two, passphrase("another long passphrase"))
	putState(t, one, stateOf(t, two).Val)
	if _, err := seal.Open(t.Context(), one, seal.Options{Provider: passphrase(phrase)}); !errors.Is(err, seal.ErrWrongRoot) {
		t.Errorf("Open = %v, want ErrWrongRoot", err)
	}
}

func TestPassphrase(t *testing.T) {
	st := store.NewMem()
	for _, bad := range []string{"", "short", "elf signs", "not \xff utf-8 at all", strings.Repeat("x", 1025)} {
		if _, err := seal.Open(t.Context(), st, seal.Options{Provider: passphrase(bad)}); err == nil {
			t.Errorf("a new store took the passphrase %q", bad)
		}
	}
	given := secret.New([]byte(phrase))
	b, err := seal.Open(t.Context(), st, seal.Options{Provider: seal.Passphrase(given, cheap)})
	if err != nil {
		t.Fatal(err)
	}
	given.Wipe() // the Box has no need of it any more
	v := sealed(t, b, seal.Records, "", "text")

	_, err = seal.Open(t.Context(), st, seal.Options{Provider: passphrase("wrong horse battery staple")})
	if !errors.Is(err, seal.ErrWrongRoot) {
		t.Errorf("wrong passphrase: %v, want ErrWrongRoot", err)
	}
	_, err = seal.Open(t.Context(), st, seal.Options{Provider: seal.KeyFile(filepath.Join(t.TempDir(), "k"))})
	if !errors.Is(err, seal.ErrWrongProvider) {
		t.Errorf("key file: %v, want ErrWrongProvider", err)
	}

	// Without the passphrase: sealed, until it comes.
	b = open(t, st, seal.Passphrase(secret.Bytes{}, cheap))
	if !b.Sealed() || !b.Status().Sealed || b.Status().Provider != seal.KindPassphrase {
		t.Errorf("Status = %+v, want sealed", b.Status())
	}
	if _, err := b.Open(seal.Records, nil, v); !errors.Is(err, seal.ErrSealed) {
		t.Errorf("Open while sealed: %v", err)
	}
	if _, err := b.Seal(seal.Records, nil, nil); !errors.Is(err, seal.ErrSealed) {
		t.Errorf("Seal while sealed: %v", err)
	}
	for what, err := range map[string]error{
		"Rotate": b.Rotate(t.Context()), "Rekey": b.Rekey(t.Context(), seal.Memory()), "Reload": b.Reload(t.Context()),
	} {
		if !errors.Is(err, seal.ErrSealed) {
			t.Errorf("%s while sealed: %v", what, err)
		}
	}
	if err := b.Unlock(t.Context(), nil); !errors.Is(err, seal.ErrNoPassphrase) {
		t.Errorf("Unlock without a passphrase: %v", err)
	}
	if err := b.Unlock(t.Context(), passphrase("wrong horse battery staple")); !errors.Is(err, seal.ErrWrongRoot) || !b.Sealed() {
		t.Errorf("Unlock with a wrong one: %v, sealed %v", err, b.Sealed())
	}
	if err := b.Unlock(t.Context(), passphrase(phrase)); err != nil {
		t.Fatal(err)
	}
	mustOpen(t, b, seal.Records, "", v, "text")

	forgot := 0
	b.OnLock(func() { forgot++ })
	b.OnLock(func() { t.Error("a hook that was removed was run") })()
	b.Lock()
	b.Lock()
	if forgot != 1 || !b.Sealed() {
		t.Errorf("after Lock: hooks run %d times, sealed %v", forgot, b.Sealed())
	}
	if err := b.Unlock(t.Context(), nil); !errors.Is(err, seal.ErrNoPassphrase) {
		t.Errorf("the Box kept its passphrase: %v", err)
	}
}

// TestHostileParameters makes the store ask for more memory than there is.
func TestHostileParameters(t *testing.T) {
	for name, set := range map[string]func(params []byte){
		"memory":  func(p []byte) { p[1] = 0xff },
		"time":    func(p []byte) { p[5] = 0xff },
		"threads": func(p []byte) { p[9] = 0xff },
		"zero":    func(p []byte) { clear(p[1:10]) },
		"version": func(p []byte) { p[0] = 9 },
	} {
		st := store.NewMem()
		open(t, st, passphrase(phrase))
		s := stateOf(t, st).Val
		at := bytes.Index(s, []byte(seal.KindPassphrase)) + len(seal.KindPassphrase) + 1
		set(s[at:])
		putState(t, st, s)
		_, err := seal.Open(t.Context(), st, seal.Options{Provider: passphrase(phrase)})
		if !errors.Is(err, seal.ErrTampered) {
			t.Errorf("%s: %v, want ErrTampered", name, err)
		}
	}
}

func TestRotate(t *testing.T) {
	st, p := store.NewMem(), seal.Memory()
	b := open(t, st, p)
	var values [][]byte
	for i := range 5 {
		values = append(values, sealed(t, b, seal.Records, "aad", fmt.Sprint("text ", i)))
		if id, _ := seal.DomainKey(values[i]); id != uint32(i+1) {
			t.Errorf("value %d is sealed with domain key %d", i, id)
		}
		if err := b.Rotate(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for _, b := range []*seal.Box{b, open(t, st, p)} {
		for i, v := range values {
			mustOpen(t, b, seal.Records, "aad", v, fmt.Sprint("text ", i))
		}
		if s := b.Status(); s.Active != 6 || len(s.DomainKeys) != 6 || s.Generation != 6 {
			t.Errorf("Status = %+v", s)
		}
	}
}

// TestOtherNode has two Boxes on one store.
func TestOtherNode(t *testing.T) {
	st, p := store.NewMem(), seal.Memory()
	clock := time.Unix(1e9, 0)
	var mu sync.Mutex
	now := func() time.Time { mu.Lock(); defer mu.Unlock(); return clock }
	pass := func(d time.Duration) { mu.Lock(); defer mu.Unlock(); clock = clock.Add(d) }
	one := open(t, st, p)
	counted := &countingStore{Store: st}
	two, err := seal.Open(t.Context(), counted, seal.Options{Provider: p, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	if err := one.Rotate(t.Context()); err != nil {
		t.Fatal(err)
	}
	mustOpen(t, two, seal.Records, "", sealed(t, one, seal.Records, "", "text"), "text")
	if two.Status().Active != 2 {
		t.Errorf("the other node still seals with domain key %d", two.Status().Active)
	}

	// A forged id must not make every Open a store read.
	forged := sealed(t, one, seal.Records, "", "text")
	forged[1] = 0xff
	pass(time.Minute)
	before := counted.gets
	for range 100 {
		if _, err := two.Open(seal.Records, nil, forged); !errors.Is(err, seal.ErrUnknownDomainKey) {
			t.Fatalf("forged id: %v", err)
		}
	}
	if n := counted.gets - before; n != 1 {
		t.Errorf("100 unknown ids in a moment read the store %d times, want 1", n)
	}

	// Both rotate: each builds on what the other did.
	if err := errors.Join(two.Rotate(t.Context()), one.Rotate(t.Context())); err != nil {
		t.Fatal(err)
	}
	if one.Status().Active != 4 {
		t.Errorf("active is %d after three rotations, want 4", one.Status().Active)
	}
}

// TestOlderState puts a former seal state back under a running node.
func TestOlderState(t *testing.T) {
	st, p := store.NewMem(), seal.Memory()
	b := open(t, st, p)
	old := stateOf(t, st).Val
	if err := b.Rotate(t.Context()); err != nil {
		t.Fatal(err)
	}
	putState(t, st, old)
	for what, err := range map[string]error{"Reload": b.Reload(t.Context()), "Rotate": b.Rotate(t.Context()), "Unlock": b.Unlock(t.Context(), nil)} {
		if !errors.Is(err, seal.ErrTampered) {
			t.Errorf("%s on an older state: %v, want ErrTampered", what, err)
		}
	}
	if _, ok, err := st.Commit(t.Context(), nil, []store.Op{{Key: seal.StateKey}}); !ok || err != nil {
		t.Fatal(ok, err)
	}
	if err := b.Reload(t.Context()); !errors.Is(err, seal.ErrTampered) {
		t.Errorf("Reload with the state gone: %v, want ErrTampered", err)
	}
}

func TestRekeyPassphrase(t *testing.T) {
	st := store.NewMem()
	b := open(t, st, passphrase(phrase))
	other := open(t, st, passphrase(phrase)) // another node
	v := sealed(t, b, seal.Records, "", "text")
	if err := b.Rekey(t.Context(), passphrase("too short")); !errors.Is(err, seal.ErrWeakPassphrase) {
		t.Fatalf("Rekey with a short passphrase: %v, want ErrWeakPassphrase", err)
	}
	if err := b.Rekey(t.Context(), passphrase("a quite different phrase")); err != nil {
		t.Fatal(err)
	}
	if err := b.Rotate(t.Context()); err != nil {
		t.Fatal(err)
	}
	w := sealed(t, b, seal.Records, "", "more")
	if _, err := seal.Open(t.Context(), st, seal.Options{Provider: passphrase(phrase)}); !errors.Is(err, seal.ErrWrongRoot) {
		t.Errorf("the old passphrase: %v, want ErrWrongRoot", err)
	}
	again := open(t, st, passphrase("a quite different phrase"))
	mustOpen(t, again, seal.Records, "", v, "text")
	mustOpen(t, again, seal.Records, "", w, "more")

	// The other node goes on with what it has, and can be told the new phrase.
	mustOpen(t, other, seal.Records, "", v, "text")
	if _, err := other.Open(seal.Records, nil, w); !errors.Is(err, seal.ErrUnknownDomainKey) {
		t.Errorf("the other node: %v, want ErrUnknownDomainKey", err)
	}
	if err := other.Reload(t.Context()); !errors.Is(err, seal.ErrNoPassphrase) {
		t.Errorf("Reload of the other node: %v, want ErrNoPassphrase", err)
	}
	if err := other.Unlock(t.Context(), passphrase("a quite different phrase")); err != nil {
		t.Fatal(err)
	}
	mustOpen(t, other, seal.Records, "", w, "more")
}

func TestRekeyFile(t *testing.T) {
	st, dir := store.NewMem(), t.TempDir()
	path := filepath.Join(dir, "root.key")
	b := open(t, st, seal.KeyFile(path))
	v := sealed(t, b, seal.Records, "", "text")
	before, _ := os.ReadFile(path)

	if err := b.Rekey(t.Context(), seal.KeyFile(path)); err != nil {
		t.Fatal(err)
	}
	after, _ := os.ReadFile(path)
	if bytes.Equal(before, after) {
		t.Error("the key file did not change")
	}
	wantFiles(t, dir, "root.key")
	mustOpen(t, open(t, st, seal.KeyFile(path)), seal.Records, "", v, "text")

	// To another place: the old file goes.
	moved := filepath.Join(dir, "moved.key")
	if err := b.Rekey(t.Context(), seal.KeyFile(moved)); err != nil {
		t.Fatal(err)
	}
	wantFiles(t, dir, "moved.key")
	// Another store's key file is not overwritten.
	foreign := filepath.Join(dir, "foreign.key")
	open(t, store.NewMem(), seal.KeyFile(foreign))
	if err := b.Rekey(t.Context(), seal.KeyFile(foreign)); !errors.Is(err, seal.ErrKeyFileTaken) {
		t.Errorf("Rekey over another store's key file: %v, want ErrKeyFileTaken", err)
	}
	// To a passphrase and back.
	if err := b.Rekey(t.Context(), passphrase(phrase)); err != nil {
		t.Fatal(err)
	}
	wantFiles(t, dir, "foreign.key")
	mustOpen(t, open(t, st, passphrase(phrase)), seal.Records, "", v, "text")
	if err := b.Rekey(t.Context(), seal.KeyFile(path)); err != nil {
		t.Fatal(err)
	}
	wantFiles(t, dir, "foreign.key", "root.key")
	mustOpen(t, open(t, st, seal.KeyFile(path)), seal.Records, "", v, "text")
}

func wantFiles(t *testing.T, dir string, want ...string) {
	t.Helper()
	var got []string
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("files are %q, want %q", got, want)
	}
}

// TestRekeyCrash stops a change of the key file at every commit, before and
// after it is stored, with and without the error being told. The store must
// open each time, also by a second change after the crash.
func TestRekeyCrash(t *testing.T) {
	for failAt := 1; failAt <= 2; failAt++ { // the fence, then the new state
		for _, stored := range []bool{false, true} {
			for _, blind := range []bool{false, true} {
				t.Run(fmt.Sprintf("commit %d stored=%v blind=%v", failAt, stored, blind), func(t *testing.T) {
					path := filepath.Join(t.TempDir(), "root.key")
					st := &faultyStore{Store: store.NewMem()}
					b := open(t, st, seal.KeyFile(path))
					v := sealed(t, b, seal.Records, "", "text")
					st.failAt, st.stored, st.blind = failAt, stored, blind
					err := b.Rekey(t.Context(), seal.KeyFile(path))
					if (err == nil) != (stored && !blind) {
						t.Errorf("Rekey = %v", err)
					}
					st.failAt, st.blind, st.failed = 0, false, false
					mustOpen(t, b, seal.Records, "", v, "text")
					// The process is gone; the next one finds its key.
					b = open(t, st, seal.KeyFile(path))
					mustOpen(t, b, seal.Records, "", v, "text")
					if err := b.Rekey(t.Context(), seal.KeyFile(path)); err != nil {
						t.Fatalf("Rekey after the crash: %v", err)
					}
					mustOpen(t, open(t, st, seal.KeyFile(path)), seal.Records, "", v, "text")
					wantFiles(t, filepath.Dir(path), "root.key")
				})
			}
		}
	}
}

// TestRekeyLateCommit has a commit, whose outcome was not told, happen later: when
// the next one is tried.
func TestRekeyLateCommit(t *testing.T) {
	for failAt := 1; failAt <= 2; failAt++ {
		path := filepath.Join(t.TempDir(), "root.key")
		st := &faultyStore{Store: store.NewMem()}
		b := open(t, st, seal.KeyFile(path))
		v := sealed(t, b, seal.Records, "", "text")
		st.failAt, st.late = failAt, true
		if err := b.Rekey(t.Context(), seal.KeyFile(path)); err == nil || errors.Is(err, seal.ErrUnsettled) != (failAt == 2) {
			t.Fatalf("Rekey on a store that failed at %d: %v", failAt, err)
		}
		// Whatever is in the store by now, a key for it must be in a file.
		if err := b.Rekey(t.Context(), seal.KeyFile(path)); !errors.Is(err, seal.ErrConflict) {
			t.Errorf("Rekey against the late commit: %v, want ErrConflict", err)
		}
		mustOpen(t, open(t, st, seal.KeyFile(path)), seal.Records, "", v, "text")
		if err := b.Rekey(t.Context(), seal.KeyFile(path)); err != nil {
			t.Errorf("Rekey after it: %v", err)
		}
		mustOpen(t, b, seal.Records, "", v, "text")
		mustOpen(t, open(t, st, seal.KeyFile(path)), seal.Records, "", v, "text")
		wantFiles(t, filepath.Dir(path), "root.key")
	}
}

// TestRekeyNotPromoted is a crash after the commit and before the new key file
// is in its place.
func TestRekeyNotPromoted(t *testing.T) {
	st, dir := store.NewMem(), t.TempDir()
	path := filepath.Join(dir, "root.key")
	b := open(t, st, seal.KeyFile(path))
	v := sealed(t, b, seal.Records, "", "text")
	old, _ := os.ReadFile(path)
	if err := b.Rekey(t.Context(), seal.KeyFile(path)); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path, path+".next"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, old, 0o600); err != nil {
		t.Fatal(err)
	}
	mustOpen(t, open(t, st, seal.KeyFile(path)), seal.Records, "", v, "text")
	wantFiles(t, dir, "root.key")
}

func TestFirstStartInterrupted(t *testing.T) {
	// The key file was written, the store was not.
	path := filepath.Join(t.TempDir(), "root.key")
	st := &faultyStore{Store: store.NewMem(), failAt: 1, blind: true}
	if _, err := seal.Open(t.Context(), st, seal.Options{Provider: seal.KeyFile(path)}); err == nil {
		t.Fatal("Open succeeded on a store that failed")
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	st.failAt, st.blind, st.failed = 0, false, false
	open(t, st, seal.KeyFile(path))
	if after, _ := os.ReadFile(path); !bytes.Equal(before, after) {
		t.Error("the second start made another root key")
	}
	// The key file was cut short while it was written.
	path = filepath.Join(t.TempDir(), "root.key")
	if err := os.WriteFile(path+".next", []byte("keyreeve root"), 0o600); err != nil {
		t.Fatal(err)
	}
	open(t, store.NewMem(), seal.KeyFile(path))
	// Another node was faster.
	st2 := store.NewMem()
	race := &faultyStore{Store: st2, before: func() { open(t, st2, passphrase(phrase)) }}
	b := open(t, race, passphrase(phrase))
	if b.Sealed() || b.Status().Generation != 1 {
		t.Errorf("Status = %+v", b.Status())
	}
}

func TestConcurrent(t *testing.T) {
	st, p := store.NewMem(), seal.Memory()
	b := open(t, st, p)
	done := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				v, err := b.Seal(seal.Records, []byte("aad"), []byte("text"))
				if errors.Is(err, seal.ErrSealed) {
					continue
				}
				got, err := b.Open(seal.Records, []byte("aad"), v)
				if errors.Is(err, seal.ErrSealed) {
					continue
				}
				if err != nil || string(got) != "text" {
					t.Errorf("Open = %q, %v", got, err)
					return
				}
			}
		})
	}
	for i := range 20 {
		var err error
		switch i % 4 {
		case 0:
			err = b.Rotate(t.Context())
		case 1:
			err = b.Rekey(t.Context(), p)
		case 2:
			b.Lock()
			err = b.Unlock(t.Context(), nil)
		default:
			err = b.Reload(t.Context())
			b.Status()
		}
		if err != nil {
			t.Errorf("step %d: %v", i, err)
		}
	}
	close(done)
	wg.Wait()
}

// TestNothingPrints prints everything that holds a key in every way.
func TestNothingPrints(t *testing.T) {
	path := filepath.Join(t.TempDir(), "root.key")
	arena, err := seal.NewArena(seal.ArenaOptions{Size: 1 << 16})
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	b, err := seal.Open(t.Context(), store.NewMem(), seal.Options{Provider: seal.KeyFile(path), Arena: arena, Log: logger})
	if err != nil {
		t.Fatal(err)
	}
	slot, err := arena.Get()
	if err != nil {
		t.Fatal(err)
	}
	const planted = "planted-secret-planted-secret"
	copy(slot.Bytes(), planted)
	words := seal.Passphrase(secret.New([]byte(planted)), cheap)
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	key := strings.Split(string(file), "\n")[1]
	err = b.Rekey(t.Context(), words)
	for _, v := range []any{b, slot, arena, words, seal.Memory(), b.Status(), struct{ B, S any }{b, slot}, err} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			fmt.Fprintf(&log, verb, v)
		}
		j, _ := json.Marshal(v)
		log.Write(j)
		logger.Info("x", "v", v)
	}
	text := log.String()
	for _, bad := range []string{planted, fmt.Sprintf("%x", planted), fmt.Sprint([]byte(planted)), key} {
		if strings.Contains(text, bad) {
			t.Errorf("printed %q", bad)
		}
	}
}

type countingStore struct {
	store.Store
	gets int
}

func (c *countingStore) Get(ctx context.Context, key string) (store.KV, store.Rev, error) {
	c.gets++
	return c.Store.Get(ctx, key)
}

// faultyStore fails its failAt'th commit from when it is set, stored or not,
// and with blind everything after it.
type faultyStore struct {
	store.Store
	failAt  int
	stored  bool
	blind   bool
	failed  bool
	before  func() // is run before the first commit
	late    bool   // the failed commit happens before the next one
	pending func()
}

var errFault = errors.New("fault")

func (f *faultyStore) Get(ctx context.Context, key string) (store.KV, store.Rev, error) {
	if f.failed && f.blind {
		return store.KV{}, 0, errFault
	}
	return f.Store.Get(ctx, key)
}

func (f *faultyStore) Commit(ctx context.Context, conds []store.Cond, ops []store.Op) (store.Rev, bool, error) {
	if f.before != nil {
		f.before()
		f.before = nil
	}
	if f.failed && f.blind {
		return 0, false, errFault
	}
	if f.pending != nil {
		if len(ops) == 0 { // nor can it be settled
			return 0, false, errFault
		}
		f.pending()
		f.pending = nil
	}
	if f.failAt > 0 {
		f.failAt--
		if f.failAt == 0 {
			f.failed = true
			if f.late {
				f.pending = func() { _, _, _ = f.Store.Commit(context.Background(), conds, ops) }
			}
			if f.stored {
				if _, ok, err := f.Store.Commit(ctx, conds, ops); err != nil || !ok {
					return 0, ok, err
				}
			}
			return 0, false, errFault
		}
	}
	return f.Store.Commit(ctx, conds, ops)
}

func FuzzState(f *testing.F) {
	p := seal.Memory()
	st := store.NewMem()
	b, err := seal.Open(context.Background(), st, seal.Options{Provider: p})
	if err != nil {
		f.Fatal(err)
	}
	if err := b.Rotate(context.Background()); err != nil {
		f.Fatal(err)
	}
	good, _, err := st.Get(context.Background(), seal.StateKey)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good.Val)
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, text []byte) {
		st := store.NewMem()
		if len(text) > 0 {
			putState(t, st, text)
		} else {
			putState(t, st, []byte{})
		}
		if _, err := seal.Open(t.Context(), st, seal.Options{Provider: p}); err == nil && !bytes.Equal(text, good.Val) {
			t.Errorf("a state that was not sealed by us opens: %x", text)
		}
	})
}
