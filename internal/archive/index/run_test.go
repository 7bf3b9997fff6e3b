package index_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/archive/index"
)

// The vectors are those of the reference implementation of SipHash-2-4, for
// messages 00, 00 01, 00 01 02, … and the key 00 01 … 0f.
func TestHash(t *testing.T) {
	var key [16]byte
	for i := range key {
		key[i] = byte(i)
	}
	want := map[int]uint64{1: 0x74f839c593dc67fd, 2: 0x0d6c8009d9a94f5a, 8: 0x93f5f5799a932462, 15: 0xa129ca6149be45e5}
	for length, want := range want {
		var value []byte
		for i := 1; i < length; i++ {
			value = append(value, byte(i))
		}
		if got := index.Hash(key, 0, string(value)); got != want {
			t.Errorf("%d bytes: %x, want %x", length, got, want)
		}
	}
}

// path returns the path of the only run of a world.
func (w *world) path() string {
	w.t.Helper()
	paths, err := filepath.Glob(filepath.Join(w.options.Dir, "*.run"))
	if err != nil || len(paths) != 1 {
		w.t.Fatalf("runs %q, %v", paths, err)
	}
	return paths[0]
}

// What a crash can leave behind is removed when the index is opened.
func TestRecovery(t *testing.T) {
	w := newWorld(t, 4, index.Options{FanOut: 3})
	defer func() { w.close() }()
	for range 7 {
		w.cut()
		for range 4 {
			w.add()
		}
	}
	w.deliver(1)
	w.deliver(1)
	w.deliver(1)
	dir := w.options.Dir
	kept := map[string][]byte{}
	for _, name := range names(t, dir) {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		kept[name] = text
	}
	w.merge()
	merged := names(t, dir)
	if len(merged) != 1 || len(kept) != 3 {
		t.Fatalf("runs %q from %d", merged, len(kept))
	}
	w.close()
	// The merged runs were not removed; something was being written.
	for name, text := range kept {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{".new-123", "README"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	w.open()
	if got, want := names(t, dir), append(merged, "README"); !slices.Equal(got, want) {
		t.Errorf("after Open: %q, want %q", got, want)
	}
	w.check(index.Query{Limit: 5}, func() {})
	w.deliver(2)
	w.check(index.Query{Limit: 5}, func() {})

	// Runs that overlap are no outcome of a crash.
	w.close()
	if err := os.WriteFile(filepath.Join(dir, "0000000002-0000000009.run"), kept["0000000002-0000000002.run"], 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := index.Open(w.options); !errors.Is(err, index.ErrDamaged) {
		t.Errorf("overlapping runs: %v", err)
	}
	if err := os.Remove(filepath.Join(dir, "0000000002-0000000009.run")); err != nil {
		t.Fatal(err)
	}
	w.open()
}

func names(t *testing.T, dir string) (list []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

func TestCommitRefuses(t *testing.T) {
	x, err := index.Open(index.Options{Dir: t.TempDir(), Box: newBox(t)})
	if err != nil {
		t.Fatal(err)
	}
	record := []byte(`{"eventTime":"2026-11-21T20:50:07Z"}`)
	if got, err := x.NewBuilder().Commit(5); err != nil || len(got) != 0 || x.Through() != 5 {
		t.Fatalf("an empty delivery: %v, %v, through %d", got, err, x.Through())
	}
	for _, through := range []uint64{0, 4, 5} {
		if _, err := x.NewBuilder().Commit(through); !errors.Is(err, index.ErrOrder) {
			t.Errorf("Commit through %d after 5: %v", through, err)
		}
	}
	for name, path := range map[string]string{
		"no path": "", "absolute": "/a", "above": "a/../../b", "too long": strings.Repeat("a", 5000), "backslash": `a\b`,
	} {
		b := x.NewBuilder()
		b.File(6, "1", "r").Close(path, 1, [32]byte{})
		if _, err := b.Commit(6); err == nil {
			t.Errorf("%s: committed", name)
		}
	}
	b := x.NewBuilder()
	f := b.File(6, "1", "r")
	for name, add := range map[string]struct {
		at     index.Place
		record string
		want   error
	}{
		"no JSON":       {index.Place{}, "x", index.ErrNotRecord},
		"no time":       {index.Place{}, "{}", index.ErrNotRecord},
		"offset":        {index.Place{Offset: 1 << 32}, string(record), index.ErrTooLarge},
		"block":         {index.Place{Block: 1 << 32}, string(record), index.ErrTooLarge},
		"negative":      {index.Place{Start: -1}, string(record), index.ErrTooLarge},
		"what is right": {index.Place{Offset: 1<<32 - 1}, string(record), nil},
	} {
		if err := f.Add(add.at, []byte(add.record)); !errors.Is(err, add.want) {
			t.Errorf("%s: %v, want %v", name, err, add.want)
		}
	}
	if _, err := b.Commit(6); err == nil {
		t.Error("committed a file that is not closed")
	}
	f.Close("a", 1, [32]byte{})
	if _, err := b.Commit(5); !errors.Is(err, index.ErrOrder) {
		t.Errorf("Commit of a file of a later segment: %v", err)
	}
	if files, err := b.Commit(6); err != nil || len(files) != 1 || files[0].Number != 1 || files[0].Events != 1 {
		t.Errorf("Commit: %+v, %v", files, err)
	}
	if _, err := b.Commit(7); err == nil {
		t.Error("committed twice")
	}
	if s := x.Stats(); s.Runs != 2 || s.Events != 1 || s.Files != 1 {
		t.Errorf("%+v", s)
	}
	if err := x.Close(); err != nil {
		t.Error(err)
	}
	if err := x.Close(); !errors.Is(err, index.ErrClosed) {
		t.Errorf("second Close: %v", err)
	}
	if _, err := x.NewBuilder().Commit(9); !errors.Is(err, index.ErrClosed) {
		t.Errorf("Commit after Close: %v", err)
	}
	if _, err := x.Merge(context.Background()); !errors.Is(err, index.ErrClosed) {
		t.Errorf("Merge after Close: %v", err)
	}
	for _, err := range x.Files(0) {
		if !errors.Is(err, index.ErrClosed) {
			t.Errorf("Files after Close: %v", err)
		}
	}
}

// Events are placed in files after they were scanned, each once.
func TestScanThenPlace(t *testing.T) {
	w := newWorld(t, 1, index.Options{})
	defer w.close()
	b := w.index.NewBuilder()
	record := []byte(`{"eventTime":"2026-11-21T20:50:07Z","recipientAccountId":"111122223333","awsRegion":"eu-central-1"}`)
	scanned, err := b.Scan(record)
	if at := time.Date(2026, 11, 21, 20, 50, 7, 0, time.UTC); err != nil || scanned != (index.Scanned{Time: at, Account: "111122223333", Region: "eu-central-1"}) {
		t.Fatalf("%+v, %v", scanned, err)
	}
	for _, no := range []string{"", "{}", "[]", `{"eventTime":"soon"}`} {
		if _, err := b.Scan([]byte(no)); !errors.Is(err, index.ErrNotRecord) {
			t.Errorf("%q: %v", no, err)
		}
	}
	if _, err := b.Commit(7); err == nil {
		t.Error("committed an event without a place")
	}
	f := b.File(7, "111122223333", "eu-central-1")
	if err := f.Place(index.Place{Offset: -1}, scanned.Event); !errors.Is(err, index.ErrTooLarge) {
		t.Errorf("a place before the beginning: %v", err)
	}
	for _, ok := range []bool{true, false} {
		if err := f.Place(index.Place{Offset: 1, Block: 2, Start: 3}, scanned.Event); (err == nil) != ok {
			t.Errorf("placed: %v, want %t", err, ok)
		}
	}
	f.Close("a", 1, [32]byte{})
	if files, err := b.Commit(7); err != nil || len(files) != 1 || files[0].Events != 1 || !files[0].Oldest.Equal(scanned.Time) || !files[0].Newest.Equal(scanned.Time) {
		t.Errorf("Commit: %+v, %v", files, err)
	}
}

func TestFirstFile(t *testing.T) {
	x, err := index.Open(index.Options{Dir: t.TempDir(), Box: newBox(t), FirstFile: 7})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = x.Close() }()
	for i := range uint64(2) {
		b := x.NewBuilder()
		b.File(i+1, "1", "r").Close("a", 1, [32]byte{})
		if files, err := b.Commit(i + 1); err != nil || len(files) != 1 || files[0].Number != 7+i || x.NewestFile() != 7+i {
			t.Errorf("file %d: %+v, %v; the newest is %d", 7+i, files, err, x.NewestFile())
		}
	}
}

// A disk that is full leaves the index as it was, and nothing behind.
func TestFailedCommit(t *testing.T) {
	w := newWorld(t, 4, index.Options{FanOut: 2})
	defer func() { w.close() }()
	for range 4 {
		w.cut()
		w.add()
	}
	w.deliver(1)
	w.deliver(1)
	// Another that can't be replaced stands where the run will be.
	blocked := filepath.Join(w.options.Dir, "0000000003-0000000003.run")
	if err := os.MkdirAll(filepath.Join(blocked, "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	b := w.index.NewBuilder()
	if _, err := b.Commit(1000); err == nil {
		t.Fatal("committed")
	}
	if s := w.index.Stats(); s.Runs != 2 {
		t.Errorf("%+v", s)
	}
	if got := names(t, w.options.Dir); len(got) != 3 {
		t.Errorf("left behind: %q", got)
	}
	if err := os.RemoveAll(blocked); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Commit(1000); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := w.index.Merge(ctx)
	if err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// FuzzRun opens, searches, lists and merges runs with anything in them, whose
// tags are right.
func FuzzRun(f *testing.F) {
	w := newWorld(f, 6, index.Options{})
	w.cut()
	for range 40 {
		w.add()
	}
	w.cut()
	w.deliver(1)
	w.close()
	text, footer, err := index.ReadRun(w.path(), w.options.Box)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text, footer, uint16(0), byte(0))
	f.Add(text, footer, uint16(100), byte(1))
	f.Add([]byte{}, binary.LittleEndian.AppendUint64(nil, 1), uint16(0), byte(0))
	box := w.options.Box
	f.Fuzz(func(t *testing.T, text, footer []byte, at uint16, by byte) {
		dir := t.TempDir()
		text = bytes.Clone(text)
		if int(at) < len(text) {
			text[at] ^= by
		}
		name := "0000000001-0000000001.run"
		if err := index.WriteRun(filepath.Join(dir, name), box, text, footer); err != nil {
			t.Fatal(err)
		}
		x, err := index.Open(index.Options{Dir: dir, Box: box, FanOut: 2})
		if err != nil {
			if !errors.Is(err, index.ErrDamaged) {
				t.Fatal(err)
			}
			return
		}
		defer func() { _ = x.Close() }()
		s, err := index.NewSearcher(x, filepath.Join(dir, "archive"), nothing{})
		if err != nil {
			t.Fatal(err)
		}
		for _, q := range []index.Query{
			{Limit: 3},
			{Before: index.Position{Unix: 1795000003, Segment: 100, Offset: 900}},
			{Terms: []index.Term{{Attribute: index.EventName, Value: "Encrypt"}, {Attribute: index.Username, Value: "alice"}}},
			{Terms: []index.Term{{Attribute: index.EventID, Value: "x"}}},
		} {
			page, err := s.Search(t.Context(), q)
			if err != nil && !errors.Is(err, index.ErrDamaged) {
				t.Errorf("Search: %v", err)
			}
			if len(page.Events) > 0 {
				t.Errorf("found %d events where no file is", len(page.Events))
			}
		}
		for file, err := range x.Files(0) {
			if err != nil && !errors.Is(err, index.ErrDamaged) {
				t.Error(err)
			}
			if err == nil && !fs.ValidPath(strings.ReplaceAll(file.Path, "//", "/")) && !filepath.IsLocal(file.Path) {
				t.Errorf("path %q", file.Path)
			}
		}
		spool, err := os.Create(filepath.Join(dir, "spool"))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = spool.Close() }()
		if err := x.MergeAll(t.Context(), io.Discard, spool); err != nil && !errors.Is(err, index.ErrDamaged) && !errors.Is(err, index.ErrTooLarge) {
			t.Errorf("Merge: %v", err)
		}
	})
}

// nothing is a journal with nothing in it.
type nothing struct{}

func (nothing) Segments() ([]index.Segment, error) { return nil, nil }

// A box that does not open now makes no damage of what is whole.
func TestSealedBox(t *testing.T) {
	box := newBox(t)
	o := index.Options{Dir: t.TempDir(), Box: box}
	x, err := index.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := x.NewBuilder().Commit(1); err != nil {
		t.Fatal(err)
	}
	box.Lock()
	if _, err := x.NewBuilder().Commit(2); err == nil || x.Through() != 1 {
		t.Errorf("committed without a key: %v, through %d", err, x.Through())
	}
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := index.Open(o); err == nil || errors.Is(err, index.ErrDamaged) {
		t.Errorf("opened while sealed: %v", err)
	}
	if got := names(t, o.Dir); !slices.Equal(got, []string{"0000000001-0000000001.run"}) {
		t.Errorf("there are %q", got)
	}
	if _, err := index.Open(index.Options{Dir: o.Dir}); err == nil {
		t.Error("opened without a box")
	}
}
