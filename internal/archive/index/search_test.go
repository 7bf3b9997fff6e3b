package index_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/archive/index"
)

func quote(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// walk follows the pages of a query to their end, and calls between between
// them.
func (w *world) walk(q index.Query, between func()) []index.Event {
	w.t.Helper()
	var found []index.Event
	for {
		page, err := w.searcher.Search(context.Background(), q)
		if err != nil {
			w.t.Fatal(err)
		}
		if page.Unreadable > 0 {
			w.t.Errorf("%d unreadable events", page.Unreadable)
		}
		if len(page.Events) > q.Limit {
			w.t.Errorf("%d events on a page of %d", len(page.Events), q.Limit)
		}
		found = append(found, page.Events...)
		if !page.More {
			return found
		}
		if q.Before != (index.Position{}) && page.Next.Compare(q.Before) >= 0 {
			w.t.Fatalf("the page goes on at %v after %v", page.Next, q.Before)
		}
		q.Before = page.Next
		between()
	}
}

// check compares a search with a naive one, while the world changes.
func (w *world) check(q index.Query, between func()) {
	w.t.Helper()
	before := w.want(q)
	found := w.walk(q, between)
	after := w.want(q)
	text := func(e *event) string { return fmt.Sprintf("%v %s", e.Position, e.record) }
	may, must := map[string]bool{}, map[string]bool{}
	for _, e := range after {
		may[text(e)] = true
	}
	for _, e := range before {
		if may[text(e)] {
			must[text(e)] = true
		}
	}
	var last index.Position
	for i, e := range found {
		got := fmt.Sprintf("%v %s", e.Position, e.Record)
		switch {
		case i > 0 && e.Compare(last) >= 0:
			w.t.Errorf("%v comes after %v", e.Position, last)
		case !may[got]:
			w.t.Errorf("found %s, which is not meant by %v", got, q)
		}
		last = e.Position
		delete(must, got)
		if !index.Scan(e.Record, new(index.Attributes)) || e.EventID == "" {
			w.t.Errorf("found %q", e.Record)
		}
	}
	for missed := range must {
		w.t.Errorf("missed %s of %v", missed, q)
	}
	if w.t.Failed() {
		w.t.FailNow()
	}
}

// A search finds what a scan of all events finds, whatever of them stands in
// the journal and in runs, and whatever is delivered, merged, removed and
// expired between its pages.
func TestSearchEqualsScan(t *testing.T) {
	for seed := range uint64(5) { // as many as there are kinds of worlds
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, seed, index.Options{FanOut: 2 + int(seed%3), MaxRows: 40 << (seed % 4)})
			defer func() { w.close() }()
			for range 3 {
				w.cut()
				for range 10 {
					w.add()
				}
			}
			w.deliver(1)
			w.volatile = seed%5 == 4
			r := w.random
			if seed%3 == 1 {
				w.searcher.RememberAtMost(r.IntN(60))
			}
			change := func() {
				for range r.IntN(4) {
					switch r.IntN(10) {
					case 0, 1, 2:
						for range r.IntN(12) {
							w.add()
						}
					case 3, 4:
						w.cut()
					case 5, 6:
						w.deliver(1 + r.IntN(3))
					case 7:
						w.merge()
					case 8:
						w.remove()
					case 9:
						if r.IntN(4) == 0 {
							w.close()
							w.open()
							w.expire(0)
						}
					}
				}
			}
			for range 30 {
				change()
				left := 8 // or there would be more and more events
				w.check(w.query(), func() {
					if left--; left >= 0 {
						change()
					}
				})
				if r.IntN(20) == 0 {
					w.expire(int64(r.IntN(30)))
				}
			}
		})
	}
}

// expire expires events that are that much newer than what is expired already,
// but not the newest.
func (w *world) expire(seconds int64) {
	w.mu.Lock()
	w.horizon = max(w.horizon, min(max(w.horizon, w.start)+seconds, w.clock-10))
	horizon := w.horizon
	w.mu.Unlock()
	w.index.Expire(time.Unix(horizon, 0))
}

// Searches go on while events are added, delivered, merged and removed.
func TestConcurrentSearches(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 99, index.Options{FanOut: 2})
	defer w.close()
	w.cut()
	for range 200 {
		w.add()
	}
	queries := make([]index.Query, 8)
	for i := range queries {
		queries[i] = w.query()
		queries[i].Filter = nil
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for _, q := range queries {
		wg.Go(func() {
			for {
				w.check(q, func() {})
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	for range 20 {
		for range 5 {
			w.add()
		}
		w.cut()
		w.deliver(2)
		w.remove()
		w.merge()
	}
	close(stop)
	wg.Wait()
}

func TestPages(t *testing.T) {
	w := newWorld(t, 3, index.Options{})
	defer w.close()
	w.cut()
	for range 120 {
		w.add()
	}
	w.cut()
	w.deliver(1)
	search := func(q index.Query) index.Page {
		t.Helper()
		page, err := w.searcher.Search(context.Background(), q)
		if err != nil {
			t.Fatal(err)
		}
		return page
	}
	if p := search(index.Query{}); len(p.Events) != 50 || !p.More || p.Events[0].Path == "" {
		t.Errorf("%d events, more: %t", len(p.Events), p.More)
	}
	// No page is empty that need not be.
	if p := search(index.Query{Limit: 120}); len(p.Events) != 120 || p.More {
		t.Errorf("%d events, more: %t", len(p.Events), p.More)
	}
	// A filter that lets nothing pass ends.
	if p := search(index.Query{Filter: func(*index.Event) bool { return false }}); len(p.Events) != 0 || p.More {
		t.Errorf("%d events, more: %t", len(p.Events), p.More)
	}
	for _, q := range []index.Query{
		{Limit: -1},
		{Limit: index.MaxLimit + 1},
		{Terms: []index.Term{{Attribute: index.EventName}}},
		{Terms: []index.Term{{Attribute: 200, Value: "x"}}},
		{Terms: []index.Term{{Value: "x"}}},
		{Terms: make([]index.Term, 17)},
	} {
		if _, err := w.searcher.Search(context.Background(), q); !errors.Is(err, index.ErrQuery) {
			t.Errorf("Search(%v): %v", q, err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := w.searcher.Search(ctx, index.Query{}); !errors.Is(err, context.Canceled) {
		t.Errorf("Search without time: %v", err)
	}
}

// What can't be read is counted, and keeps nothing else from being found.
func TestMissingFile(t *testing.T) {
	w := newWorld(t, 8, index.Options{})
	defer w.close()
	w.cut()
	for range 50 {
		w.add()
	}
	w.cut()
	w.deliver(1)
	for f, err := range w.index.Files(0) {
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(w.dir, "archive", f.Path)
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for what, broken := range map[string][]byte{"removed": nil, "cut": text[:len(text)/2], "empty": {}, "other": []byte(strings.Repeat("{", 9999))} {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			if broken != nil {
				if err := os.WriteFile(path, broken, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			page, err := w.searcher.Search(context.Background(), index.Query{Limit: 100})
			if err != nil || page.Unreadable == 0 || page.Unreadable > f.Events || len(page.Events)+page.Unreadable != 50 {
				t.Errorf("%s: %d events and %d unreadable, of %d in the file; %v", what, len(page.Events), page.Unreadable, f.Events, err)
			}
			if err := os.WriteFile(path, text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	w.check(index.Query{Limit: 9}, func() {})
}

// TestAnotherRecord: what stands where an event was is counted as unreadable, if
// it is not that event.
func TestAnotherRecord(t *testing.T) {
	w := newWorld(t, 8, index.Options{})
	defer w.close()
	for _, user := range []string{"alice", "mallo"} {
		w.cut()
		e := &event{Attributes: index.Attributes{
			Time: time.Unix(w.clock, 0).UTC(), EventID: "e-1", EventName: "Decrypt", EventSource: "kms.amazonaws.com", ReadOnly: "true",
			Username: user, Account: "111122223333", Region: "eu-central-1",
		}}
		e.record = record(&e.Attributes)
		w.put(e)
	}
	w.cut()
	w.deliver(1)
	w.deliver(1)
	var paths []string
	for f, err := range w.index.Files(0) {
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, filepath.Join(w.dir, "archive", f.Path))
	}
	if len(paths) != 2 {
		t.Fatalf("%d files", len(paths))
	}
	q := index.Query{Terms: []index.Term{{Attribute: index.Username, Value: "alice"}}}
	if page, err := w.searcher.Search(t.Context(), q); err != nil || len(page.Events) != 1 || page.Unreadable != 0 {
		t.Fatalf("before: %d events, %d unreadable, %v", len(page.Events), page.Unreadable, err)
	}
	text, err := os.ReadFile(paths[1])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(paths[0], text, 0o600); err != nil {
		t.Fatal(err)
	}
	if page, err := w.searcher.Search(t.Context(), q); err != nil || len(page.Events) != 0 || page.Unreadable != 1 {
		t.Errorf("%d events, %d unreadable, %v", len(page.Events), page.Unreadable, err)
	}
}

func TestPosition(t *testing.T) {
	for _, p := range []index.Position{{}, {Unix: 1795000000, Segment: 1<<63 + 5, Offset: 1 << 40}} {
		if got, err := index.ParsePosition(p.String()); err != nil || got != p {
			t.Errorf("ParsePosition(%q) = %v, %v", p, got, err)
		}
	}
	for _, s := range []string{"", "1", "1-2", "1-2-3-4", "-1-2-3", "01-2-3", "1-2-9223372036854775808", "a-b-c", "1-+2-3"} {
		if got, err := index.ParsePosition(s); err == nil {
			t.Errorf("ParsePosition(%q) = %v", s, got)
		}
	}
}
