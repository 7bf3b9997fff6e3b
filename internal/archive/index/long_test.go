//go:build !race

package index_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/archive/index"
)

// What is long here is one goroutine's work, in which the race detector finds
// nothing and takes its time.

// The first row of a page is found in runs of many rows, too, also where many
// events have the same time.
func TestSearchInLongRuns(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 31, index.Options{})
	defer w.close()
	w.blocks = 100
	for _, step := range []int64{0, 1, 100} {
		w.cut()
		for i := range 1400 {
			w.add()
			if i%700 == 0 {
				w.clock += step
			}
		}
	}
	w.cut()
	w.deliver(3)
	w.remove()
	r := w.random
	for range 8 {
		q := w.query()
		q.Filter, q.Limit = nil, 100
		if at := w.events[r.IntN(len(w.events))]; r.IntN(2) == 0 {
			q.Before = at.Position
		}
		w.check(q, func() {})
	}
	// One event at a time, from everywhere.
	for range 80 {
		q := index.Query{Limit: 1, Before: w.events[r.IntN(len(w.events))].Position}
		page, err := w.searcher.Search(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		want := w.want(q)
		if len(want) != len(page.Events) && len(page.Events) != 1 || len(want) > 0 && page.Events[0].Position != want[0].Position {
			t.Fatalf("before %v there is %v, want %v", q.Before, page.Events, want[0])
		}
	}
}

// A page is bounded in what is read for it, too.
func TestLongPages(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3, index.Options{})
	defer w.close()
	w.cut()
	for range 6000 {
		w.add()
	}
	page, err := w.searcher.Search(context.Background(), index.Query{Filter: func(*index.Event) bool { return false }})
	if err != nil || !page.More || len(page.Events) != 0 {
		t.Fatalf("%d events, more: %t, %v", len(page.Events), page.More, err)
	}
	w.check(index.Query{Limit: 1, Filter: func(e *index.Event) bool { return e.EventID == w.events[0].EventID }}, func() {})

	// And in its text.
	for range 20 {
		e := *w.add()
		e.ErrorCode = strings.Repeat("x", 1<<20)
		e.record = record(&e.Attributes)
		w.put(&e)
	}
	if page, err = w.searcher.Search(context.Background(), index.Query{}); err != nil || !page.More || len(page.Events) > 40 {
		t.Errorf("%d events, more: %t, %v", len(page.Events), page.More, err)
	}
}

// A run that was changed, wherever, gives an error or what it would have given;
// never fewer events.
func TestDamagedRun(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 21, index.Options{})
	w.cut()
	for range 700 {
		w.add()
	}
	w.cut()
	w.deliver(1)
	w.remove()
	w.close()
	path := w.path()
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(whole) < 8*4096 {
		t.Fatalf("%d bytes are too few to show anything", len(whole))
	}
	q := index.Query{Terms: []index.Term{{Attribute: index.EventName, Value: "Encrypt"}}, Limit: 1000}
	want := len(w.want(q))
	try := func(name string, text []byte, mustFail bool) {
		t.Helper()
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		x, err := index.Open(w.options)
		if err == nil {
			defer func() { _ = x.Close() }()
			s, e := index.NewSearcher(x, filepath.Join(w.dir, "archive"), w)
			if e != nil {
				t.Fatal(e)
			}
			var page index.Page
			if page, err = s.Search(context.Background(), q); err == nil && len(page.Events) != want {
				t.Fatalf("%s: found %d of %d events", name, len(page.Events), want)
			}
			if x.Stats().Damaged != (err != nil) {
				t.Fatalf("%s: %+v after %v", name, x.Stats(), err)
			}
			if err != nil {
				// It is not opened again as it is.
				if _, err := index.Open(w.options); !errors.Is(err, index.ErrDamaged) {
					t.Fatalf("%s: opened again: %v", name, err)
				}
				if err := os.Remove(filepath.Join(w.options.Dir, "damaged")); err != nil {
					t.Fatal(err)
				}
			}
		}
		if mustFail && err == nil || err != nil && !errors.Is(err, index.ErrDamaged) {
			t.Fatalf("%s: %v", name, err)
		}
	}
	try("whole", whole, false)
	for at := 0; at < len(whole); at += 1021 {
		text := bytes.Clone(whole)
		text[at] ^= 0x40
		try(fmt.Sprint("byte ", at), text, at >= len(whole)-4096)
	}
	for page := 4096; page < len(whole)-4096; page += 4096 {
		text := bytes.Clone(whole)
		copy(text[page:], whole[page-4096:page])
		try(fmt.Sprint("page ", page/4096), text, false)
	}
	for _, length := range []int{0, 1, 4095, 4096, len(whole) - 4096, len(whole) - 1} {
		try(fmt.Sprint("cut to ", length), whole[:length], true)
	}
	try("longer", append(bytes.Clone(whole), 0), true)
	try("a page longer", append(bytes.Clone(whole), make([]byte, 4096)...), true)
	other := filepath.Join(filepath.Dir(path), "0000000002-0000000002.run")
	if err := errors.Join(os.WriteFile(other, whole, 0o600), os.Remove(path)); err != nil {
		t.Fatal(err)
	}
	if _, err := index.Open(w.options); !errors.Is(err, index.ErrDamaged) {
		t.Errorf("a run of another name: %v", err)
	}
}

func TestRunsAreMerged(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 5, index.Options{FanOut: 3})
	defer func() { w.close() }()
	for range 100 {
		w.cut()
		for range 3 {
			w.add()
		}
		w.deliver(1)
		for {
			more, err := w.index.Merge(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			if !more {
				break
			}
		}
		w.remove()
	}
	// 99 deliveries, in units of 27, 9, 3 and 1.
	if got, want := w.index.Runs(), []int{3, 3, 3, 2, 2}; !slices.Equal(got, want) {
		t.Errorf("runs of levels %v, want %v", got, want)
	}
	files := 0
	for f, err := range w.index.Files(0) {
		if err != nil {
			t.Fatal(err)
		}
		if files++; f.Number != uint64(files) || f.Events == 0 || f.Newest.Before(f.Oldest) || f.Hash != [32]byte{1, 2, 3} {
			t.Errorf("file %+v, want number %d", f, files)
		}
		if info, err := os.Stat(filepath.Join(w.dir, "archive", f.Path)); err != nil || info.Size() != f.Size {
			t.Errorf("%+v: %v, %v", f, info, err)
		}
	}
	after := 0
	for f, err := range w.index.Files(uint64(files - 5)) {
		if after++; err != nil || f.Number != uint64(files-5+after) {
			t.Errorf("file %d, %v after %d", f.Number, err, files-5)
		}
	}
	if s := w.index.Stats(); after != 5 || s.Files != files || s.Events != len(w.events)-3 {
		t.Errorf("%d files after those before the last 5 of %d; %+v", after, files, s)
	}
	w.check(index.Query{Limit: 7}, func() {})

	// What expires takes its runs along, but for the newest.
	newest := w.events[len(w.events)-1].Attributes.Time
	through := w.index.Through()
	w.index.Expire(newest.Add(time.Hour))
	if s := w.index.Stats(); s.Runs != 1 || !s.Oldest.IsZero() || w.index.Through() != through {
		t.Errorf("after everything has expired: %+v", s)
	}
	for f := range w.index.Files(0) {
		t.Errorf("file %s is still there", f.Path)
	}
	page, err := w.searcher.Search(context.Background(), index.Query{})
	if err != nil || len(page.Events) != 0 {
		t.Errorf("%d events are found, %v", len(page.Events), err)
	}
	b := w.index.NewBuilder()
	b.File(through+9, "1", "r").Close("a/b", 1, [32]byte{})
	if got, err := b.Commit(through + 9); err != nil || got[0].Number != uint64(files+1) {
		t.Errorf("the next file is %+v, %v, want number %d", got, err, files+1)
	}
}
