package store_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/keyreeve/keyreeve/internal/store"
)

func snapshot(t testing.TB, pairs, size int) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := store.NewSnapshotWriter(&b, 42, pairs)
	if err != nil {
		t.Fatal(err)
	}
	for i := range pairs {
		if err := w.Add(fmt.Sprintf("key%06d", i), bytes.Repeat([]byte{byte(i)}, size)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestSnapshotRoundTrip(t *testing.T) {
	for _, n := range []int{0, 1, 5000} {
		r, err := store.NewSnapshotReader(bytes.NewReader(snapshot(t, n, 100)))
		if err != nil {
			t.Fatal(err)
		}
		if r.Head() != 42 || r.Count() != n {
			t.Errorf("head %d, count %d", r.Head(), r.Count())
		}
		for i := range n {
			kv, err := r.Next()
			if err != nil || kv.Key != fmt.Sprintf("key%06d", i) || !bytes.Equal(kv.Val, bytes.Repeat([]byte{byte(i)}, 100)) || kv.Val == nil {
				t.Fatalf("pair %d = %+v, %v", i, kv, err)
			}
		}
		for range 2 {
			if _, err := r.Next(); err != io.EOF {
				t.Errorf("after the last pair: %v", err)
			}
		}
	}
}

// TestSnapshotDamage: no cut and no changed bit goes unnoticed.
func TestSnapshotDamage(t *testing.T) {
	whole := snapshot(t, 4, 10)
	for i := range whole {
		if _, _, err := store.CheckSnapshot(bytes.NewReader(whole[:i])); !errors.Is(err, store.ErrSnapshot) {
			t.Errorf("cut at %d: %v", i, err)
		}
		for bit := range 8 {
			b := bytes.Clone(whole)
			b[i] ^= 1 << bit
			if _, _, err := store.CheckSnapshot(bytes.NewReader(b)); !errors.Is(err, store.ErrSnapshot) {
				t.Errorf("bit %d of byte %d changed: %v", bit, i, err)
			}
		}
	}
	// Whole chunks left out, repeated, exchanged: 63 header bytes, then chunks.
	large := snapshot(t, 3, 300<<10)
	chunk := 4 + 2 + 9 + 4 + 300<<10 + 32
	head, one, two, rest := large[:63], large[63:63+chunk], large[63+chunk:63+2*chunk], large[63+2*chunk:]
	for name, parts := range map[string][][]byte{
		"left out":  {head, one, rest},
		"repeated":  {head, one, one, two, rest},
		"exchanged": {head, two, one, rest},
		"no end":    {head, one, two, rest[:chunk]},
	} {
		if _, _, err := store.CheckSnapshot(bytes.NewReader(bytes.Join(parts, nil))); !errors.Is(err, store.ErrSnapshot) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, n, err := store.CheckSnapshot(bytes.NewReader(bytes.Join([][]byte{head, one, two, rest}, nil))); n != 3 || err != nil {
		t.Errorf("put together again: %d, %v", n, err)
	}
}

func TestSnapshotWriterRefuses(t *testing.T) {
	for _, c := range []struct {
		name  string
		count int
		keys  []string
	}{
		{"too few", 2, []string{"a"}},
		{"too many", 1, []string{"a", "b"}},
		{"out of order", 2, []string{"b", "a"}},
		{"twice", 2, []string{"a", "a"}},
		{"no key", 1, []string{""}},
	} {
		w, err := store.NewSnapshotWriter(io.Discard, 1, c.count)
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range c.keys {
			if err == nil {
				err = w.Add(k, nil)
			}
		}
		if err == nil {
			err = w.Close()
		}
		if err == nil {
			t.Errorf("%s: no error", c.name)
		}
	}
}

func TestRestoreDamaged(t *testing.T) {
	b := snapshot(t, 5000, 100)
	b[len(b)-200] ^= 1
	if err := store.Restore(t.Context(), store.NewMem(), bytes.NewReader(b)); !errors.Is(err, store.ErrSnapshot) {
		t.Errorf("Restore: %v", err)
	}
	if err := store.Restore(t.Context(), store.NewMem(), bytes.NewReader([]byte("SQLite format 3\x00"))); !errors.Is(err, store.ErrSnapshot) {
		t.Errorf("Restore of something else: %v", err)
	}
}

func FuzzSnapshot(f *testing.F) {
	f.Add(snapshot(f, 3, 10))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		head, n, err := store.CheckSnapshot(bytes.NewReader(b))
		if err != nil {
			if !errors.Is(err, store.ErrSnapshot) {
				t.Errorf("error of another kind: %v", err)
			}
			return
		}
		if head < 0 || n < 0 {
			t.Errorf("head %d, %d pairs", head, n)
		}
	})
}

func TestPrefixEnd(t *testing.T) {
	for _, c := range []struct{ prefix, want string }{
		{"", ""},
		{"a", "b"},
		{"a/", "a0"},
		{"a\xff", "b"},
		{"a\xfe", "a\xff"},
		{"\xff\xff", ""},
	} {
		if got := store.PrefixEnd(c.prefix); got != c.want {
			t.Errorf("PrefixEnd(%q) = %q, want %q", c.prefix, got, c.want)
		}
	}
}
