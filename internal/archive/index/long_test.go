//go:build !race

package index_test

import (
	"context"
	"strings"
	"testing"

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
