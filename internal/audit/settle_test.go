package audit_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/keyreeve/keyreeve/internal/audit"
)

// count returns how often the log has the record of a request.
func count(t testing.TB, dir, request string) (n int) {
	t.Helper()
	for _, r := range recorded(t, dir) {
		if r.RequestID == request {
			n++
		}
	}
	return n
}

// eventIDOf returns the event id of the record that a note is about.
func eventIDOf(t testing.TB, note string) string {
	t.Helper()
	_, record, ok := strings.Cut(note, "\n")
	if !ok {
		t.Fatalf("a note of one line: %s", note)
	}
	return audit.EventID([]byte(record))
}

// What a start looks through is not what was there before the notes: a record
// there that looks like the one that is missing is not even found.
func TestNothingBeforeTheNotesIsLookedThrough(t *testing.T) {
	for name, cut := range map[string]bool{"in the same segment": false, "in a segment of its own": true} {
		t.Run(name, func(t *testing.T) {
			dir, box, s := t.TempDir(), newBox(t), newSafe()
			l := attach(t, dir, box, s, nil)
			must(t, l.Append(numbered(1, createKey)))
			before := recorded(t, dir)[0].EventID
			if cut {
				must(t, l.Cut())
				must(t, l.Append(numbered(2, createKey)))
			}
			lost := intended(t, l, 3)
			s.commit(lost.Intent)
			must(t, l.Append(numbered(4, createKey)))
			must(t, l.Close())
			for slot, note := range s.notes {
				s.notes[slot] = strings.Replace(note, eventIDOf(t, note), before, 1)
			}
			for range 2 {
				l = attach(t, dir, box, s, nil)
				if n := count(t, dir, "3"); n != 1 || s.count() != 0 {
					t.Errorf("the missing record is there %d times, with %d notes", n, s.count())
				}
				must(t, l.Close())
			}
		})
	}
}

// A note that says something of a write that is not there any more, or nothing,
// says nothing: then all is looked through.
func TestNotesOfAnotherLog(t *testing.T) {
	for name, first := range map[string]string{
		"nothing":           "",
		"another segment":   string(audit.AppendSince(nil, audit.Head{Segment: "2026-11-21-000009.jsonl", Size: 100})),
		"another write":     string(audit.AppendSince(nil, audit.Head{Segment: "2026-11-21-000001.jsonl", Size: 1 << 20})),
		"no segment at all": `{"since":"../x","at":1,"tag":"AAAAAAAAAAAAAAAAAAAAAA"}` + "\n",
	} {
		t.Run(name, func(t *testing.T) {
			dir, box, s := t.TempDir(), newBox(t), newSafe()
			l := attach(t, dir, box, s, nil)
			c := intended(t, l, 1)
			s.commit(c.Intent)
			must(t, l.Append(c))
			must(t, l.Append(numbered(2, createKey)))
			must(t, l.Close())
			for slot, note := range s.notes {
				_, record, _ := strings.Cut(note, "\n")
				s.notes[slot] = first + record
			}
			l = attach(t, dir, box, s, nil)
			if n := count(t, dir, "1"); n != 1 || s.count() != 0 {
				t.Errorf("the record is there %d times, with %d notes", n, s.count())
			}
			leave(t, l)
		})
	}
}

// Where much was written since a note was made, the log is attached at once, and
// Keep looks through it: each record is there once, also if the process ends
// between the two.
func TestMuchToLookThrough(t *testing.T) {
	dir, box, s := t.TempDir(), newBox(t), newSafe()
	l := attach(t, dir, box, s, nil)
	lost, answered := intended(t, l, 1), intended(t, l, 2)
	s.commit(lost.Intent)
	s.commit(answered.Intent)
	must(t, l.Append(answered))
	for n := range 20 {
		must(t, l.Append(numbered(1000+n, decrypt)))
	}
	must(t, l.Close())
	for range 2 { // the first one ends before anything was looked for
		l = openLog(t, dir, audit.Options{}, nil)
		l.SetAwaited(8 << 10)
		l.Protect(box)
		must(t, l.Attach(t.Context(), s, false))
		if l.Unsettled() != 2 || s.count() != 2 || count(t, dir, "1") != 0 {
			t.Fatalf("after Attach: %d unsettled, %d notes, %d records", l.Unsettled(), s.count(), count(t, dir, "1"))
		}
		must(t, l.Close())
	}
	l = openLog(t, dir, audit.Options{}, nil)
	l.SetAwaited(8 << 10)
	l.Protect(box)
	must(t, l.Attach(t.Context(), s, false))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.Keep(ctx)
	}()
	for s.count() > 0 || l.Unsettled() > 0 {
		runtime.Gosched() // the test's own time limit ends this
	}
	cancel()
	<-done
	leave(t, l)
	for _, request := range []string{"1", "2"} {
		if n := count(t, dir, request); n != 1 {
			t.Errorf("the record of %s is there %d times", request, n)
		}
	}
	if found := problems(t, dir, box); len(found) > 0 {
		t.Error(found)
	}
}

// The slot of a commit that may still happen, though its call has failed and is on
// record, is nobody else's until the store can tell.
func TestLateCommit(t *testing.T) {
	dir, box, s := t.TempDir(), newBox(t), newSafe()
	l := attach(t, dir, box, s, nil)
	doubtful := intended(t, l, 1)
	slot, note := doubtful.Intent.Note()
	note = append([]byte(nil), note...)
	must(t, l.Append(doubtful))
	if l.Unsettled() != 1 {
		t.Errorf("%d unsettled, want 1", l.Unsettled())
	}
	next := intended(t, l, 2)
	if other, _ := next.Intent.Note(); other == slot {
		t.Errorf("two calls have the slot %s", slot)
	}
	s.commit(next.Intent)
	s.mu.Lock()
	s.notes[slot] = string(note) // now it happens
	s.mu.Unlock()
	must(t, l.Append(next))
	must(t, l.Sweep(t.Context()))
	if l.Unsettled() != 0 || s.count() != 0 {
		t.Errorf("after a sweep: %d unsettled, %d notes", l.Unsettled(), s.count())
	}
	for _, request := range []string{"1", "2"} {
		if n := count(t, dir, request); n != 1 {
			t.Errorf("the record of %s is there %d times", request, n)
		}
	}
	leave(t, l)
}

func TestSince(t *testing.T) {
	for _, at := range []audit.Head{
		{Segment: "2026-11-21-000001.jsonl", Size: 1, Tag: audit.Tag{1, 2, 3}},
		{Segment: "2026-11-21-1000000.jsonl", Size: 1 << 40},
	} {
		note := audit.AppendSince(nil, at)
		if got := audit.SinceOf(append(note, `{"eventID":"x"}`+"\n"...)); got != at {
			t.Errorf("%s: %+v, want %+v", note, got, at)
		}
		if audit.EventID(note) != "" {
			t.Errorf("%s looks like a record", note)
		}
	}
	if note := audit.AppendSince(nil, audit.Head{}); len(note) > 0 {
		t.Errorf("of a log without segments: %s", note)
	}
}

// FuzzSince: what is read from a note is what makes the same line, or nothing.
func FuzzSince(f *testing.F) {
	f.Add(audit.AppendSince(nil, audit.Head{Segment: "2026-11-21-000001.jsonl", Size: 77, Tag: audit.Tag{9}}))
	f.Add([]byte(`{"since":"2026-11-21-000001.jsonl","at":-1,"tag":"AAAAAAAAAAAAAAAAAAAAAA"}`))
	f.Add([]byte(`{"eventVersion":"1.11"}` + "\n"))
	f.Fuzz(func(t *testing.T, note []byte) {
		at := audit.SinceOf(note)
		if at == (audit.Head{}) {
			return
		}
		line, _, _ := bytes.Cut(note, []byte("\n"))
		if again := audit.AppendSince(nil, at); audit.SinceOf(again) != at || !bytes.HasPrefix(line, []byte(`{"since":"`+at.Segment+`"`)) || at.Size < 0 {
			t.Errorf("%q: %+v, %q", note, at, again)
		}
		if filepath.Base(at.Segment) != at.Segment || strings.ContainsRune(at.Segment, os.PathSeparator) {
			t.Errorf("%q names a path", at.Segment)
		}
	})
}
