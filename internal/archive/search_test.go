package archive_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/archive"
	"github.com/keyreeve/keyreeve/internal/archive/index"
	"github.com/keyreeve/keyreeve/internal/audit"
)

// found returns the times and names of all events that a query is about, by
// pages of two.
func found(t *testing.T, s *index.Searcher, q index.Query) (events []string) {
	t.Helper()
	q.Limit = 2
	for {
		page, err := s.Search(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range page.Events {
			events = append(events, fmt.Sprintf("%s %s", e.Attributes.Time.Format("15:04:05"), e.EventName))
		}
		if page.Unreadable > 0 {
			t.Errorf("%d events can't be read", page.Unreadable)
		}
		if !page.More {
			return events
		}
		q.Before = page.Next
	}
}

// Events are found as soon as they are recorded, and the same ones, in the same
// order, when they are delivered, when segments are removed, when the node has
// been started again, and when the index was made anew.
func TestSearch(t *testing.T) {
	e := newEnv(t)
	searcher := func() *index.Searcher {
		t.Helper()
		s, err := archive.NewSearcher(e.index, e.options.Dir, e.log)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	event := func(account, name string) {
		t.Helper()
		if err := e.log.AppendEvent(&audit.Event{
			Time: e.clock(), Source: "kms.amazonaws.com", Name: name, Region: region, Account: account, InvokedBy: audit.Node,
		}); err != nil {
			t.Fatal(err)
		}
	}
	a := index.Query{Terms: []index.Term{{Attribute: index.Account, Value: accountA}}}
	rotations := index.Query{Terms: append(slices.Clone(a.Terms), index.Term{Attribute: index.EventName, Value: "RotateKey"})}
	check := func(when string, s *index.Searcher, wantA, wantRotations []string) {
		t.Helper()
		if got := found(t, s, a); !slices.Equal(got, wantA) {
			t.Errorf("%s: %q, want %q", when, got, wantA)
		}
		if got := found(t, s, rotations); !slices.Equal(got, wantRotations) {
			t.Errorf("%s: %q, want %q", when, got, wantRotations)
		}
	}
	s := searcher()
	check("nothing", s, nil, nil)
	event(accountA, "RotateKey")
	event(accountB, "RotateKey")
	event(accountA, "DeleteKey")
	e.pass(time.Second)
	event(accountA, "RotateKey")
	all := []string{"10:20:01 RotateKey", "10:20:00 DeleteKey", "10:20:00 RotateKey"}
	some := []string{"10:20:01 RotateKey", "10:20:00 RotateKey"}
	check("in the journal", s, all, some)
	e.deliver()
	check("delivered", s, all, some)
	e.pass(time.Second)
	event(accountA, "RotateKey")
	all, some = append([]string{"10:20:02 RotateKey"}, all...), append([]string{"10:20:02 RotateKey"}, some...)
	check("delivered but for one", s, all, some)
	e.deliver()
	event(accountB, "RotateKey")
	e.deliver()
	check("delivered again", s, all, some)
	e.reopen()
	check("started again", searcher(), all, some)
}

// What is searched is whole while calls are recorded, delivered and removed.
func TestSearchDuringDelivery(t *testing.T) {
	e := newEnv(t)
	s, err := archive.NewSearcher(e.index, e.options.Dir, e.log)
	if err != nil {
		t.Fatal(err)
	}
	const rounds, each = 12, 5
	var wg sync.WaitGroup
	done := make(chan struct{})
	wg.Go(func() {
		before := 0
		for over := false; !over; {
			select {
			case <-done:
				over = true
			default:
			}
			// All that was recorded before the first page is found.
			n := len(found(t, s, index.Query{Terms: []index.Term{{Attribute: index.Account, Value: accountA}}}))
			if n < before || over && n != rounds*each {
				t.Errorf("%d events are found after %d", n, before)
				return
			}
			before = n
		}
	})
	for range rounds {
		e.write(accountA, region, each)
		e.write(accountB, other, 1)
		e.deliver()
		e.pass(time.Minute)
	}
	close(done)
	wg.Wait()
}

// A log in memory is searched, too, as far as it reaches back.
func TestSearchInMemory(t *testing.T) {
	log, err := audit.Open("", audit.Options{Memory: 5})
	if err != nil {
		t.Fatal(err)
	}
	s, err := archive.NewSearcher(nil, "", log)
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for i := range 9 {
		name := fmt.Sprintf("Event%d", i)
		if err := log.AppendEvent(&audit.Event{Time: start, Source: audit.Internal, Name: name, InvokedBy: audit.Node}); err != nil {
			t.Fatal(err)
		}
		want = append([]string{"10:20:00 " + name}, want...)
		want = want[:min(len(want), 5)]
		if got := found(t, s, index.Query{}); !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	}
	q := index.Query{Terms: []index.Term{{Attribute: index.EventName, Value: "Event6"}}}
	if got := found(t, s, q); len(got) != 1 {
		t.Errorf("%q", got)
	}
}
