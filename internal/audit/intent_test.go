package audit_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/audit"
	"github.com/keyreeve/keyreeve/internal/call"
)

// found is what a test looks at of a record.
type found struct {
	RequestID, EventID, EventName, RecipientAccountID string
	Addendum                                          *struct{ Reason string }
	ResponseElements, RequestParameters               json.RawMessage
}

func recorded(t testing.TB, dir string) (all []found) {
	t.Helper()
	for line, err := range audit.Read(dir) {
		must(t, err)
		var one found
		must(t, json.Unmarshal(line, &one))
		all = append(all, one)
	}
	return all
}

// A change whose process dies before its record is written gets it at the next
// start, once; one that has its record gets no other.
func TestSettlement(t *testing.T) {
	dir, box, s := t.TempDir(), newBox(t), newSafe()
	l := attach(t, dir, box, s, nil)
	answered := intended(t, l, 1)
	s.commit(answered.Intent)
	must(t, l.Append(answered))

	lost := intended(t, l, 2)
	lost.AddResource(call.Resource{ARN: "arn:aws:kms:eu-central-1:444455556666:key/b", Account: "444455556666", Type: "AWS::KMS::Key"})
	s.commit(lost.Intent)
	event := l.IntendEvent(&audit.Event{Time: noon, Source: "kms.amazonaws.com", Name: "DeleteKey", InvokedBy: audit.Node})
	s.commit(event)
	idle := intended(t, l, 3) // its commit never happened
	idle.Intent.Note()
	must(t, l.Close()) // and not Detach: the process is gone

	for start := range 3 {
		l = openLog(t, dir, audit.Options{}, nil)
		l.Protect(box)
		must(t, l.Attach(t.Context(), s, false))
		if s.count() != 0 {
			t.Errorf("start %d: %d notes are left", start, s.count())
		}
		if found := l.Damage(); len(found) > 0 {
			t.Errorf("start %d: %v", start, found)
		}
		all := recorded(t, dir)
		if len(all) != 4 {
			t.Fatalf("start %d: %d records, want 4: %+v", start, len(all), all)
		}
		if r := all[0]; r.RequestID != "1" || r.Addendum != nil {
			t.Errorf("the call that was answered: %+v", r)
		}
		for _, r := range all[1:3] {
			if r.RequestID != "2" || r.Addendum == nil || r.Addendum.Reason != "SERVICE_OUTAGE" || string(r.ResponseElements) != "null" || string(r.RequestParameters) == "null" {
				t.Errorf("the call that was cut off: %+v", r)
			}
		}
		if all[1].EventID == all[2].EventID || all[1].RecipientAccountID == all[2].RecipientAccountID {
			t.Errorf("the records of both accounts: %+v", all[1:3])
		}
		if r := all[3]; r.EventName != "DeleteKey" || r.Addendum != nil {
			t.Errorf("the event: %+v", r)
		}
		must(t, l.Close())
	}
	if found := problems(t, dir, box); len(found) > 0 {
		t.Error(found)
	}
}

// An event of which more becomes known is the same one: whichever of its notes is
// stored, it is on record once.
func TestTell(t *testing.T) {
	for _, cutOff := range []bool{false, true} {
		dir, box, s := t.TempDir(), newBox(t), newSafe()
		l := attach(t, dir, box, s, nil)
		i := l.IntendEvent(&audit.Event{Time: noon, Source: audit.Internal, Name: "Early", InvokedBy: audit.Node})
		s.commit(i)
		want := "Early"
		if !cutOff {
			i.Tell(&audit.Event{Time: noon, Source: audit.Internal, Name: "Late", InvokedBy: audit.Node})
			must(t, i.Append())
			want = "Late"
		}
		must(t, l.Close()) // and not Detach: the process is gone
		l = attach(t, dir, box, s, nil)
		if all := recorded(t, dir); len(all) != 1 || all[0].EventName != want {
			t.Errorf("recorded %+v, want %s", all, want)
		}
		leave(t, l)
	}
}

// A call that is still under way when the node is sealed has a note with what it
// changes, as long as it can change anything.
func TestChangeWhileDetached(t *testing.T) {
	dir, box, s := t.TempDir(), newBox(t), newSafe()
	l := attach(t, dir, box, s, nil)
	c := intended(t, l, 1)
	l.Detach()
	s.commit(c.Intent)
	l.Unprotect()
	if l.Intend(numbered(2, createKey)) != nil {
		t.Error("there are intents when nothing can be changed")
	}
	must(t, l.Close())
	if err := l.Append(c); !errors.Is(err, audit.ErrClosed) {
		t.Error(err)
	}
	l = attach(t, dir, box, s, nil)
	if all := recorded(t, dir); len(all) != 1 || all[0].RequestID != "1" || all[0].Addendum == nil {
		t.Errorf("recorded %+v", all)
	}
	leave(t, l)
}

// A note that is damaged is reported, and is gone after that.
func TestDamagedNote(t *testing.T) {
	dir, box, s := t.TempDir(), newBox(t), newSafe()
	l := attach(t, dir, box, s, nil)
	leave(t, l)
	s.notes["x"] = "nonsense"
	l = attach(t, dir, box, s, nil)
	if found := l.Damage(); len(found) != 1 || !strings.Contains(found[0].String(), "no record in it") || s.count() != 0 {
		t.Errorf("%v, %d notes", found, s.count())
	}
	leave(t, l)
}

// An intent has one slot, that it gives back; a slot keeps its note until it is
// used again, or swept.
func TestSlots(t *testing.T) {
	dir, box, s := t.TempDir(), newBox(t), newSafe()
	l := attach(t, dir, box, s, nil)
	for n := range 10 {
		c := intended(t, l, n)
		first, _ := c.Intent.Note()
		again, _ := c.Intent.Note()
		if first != again {
			t.Errorf("an intent has the slots %s and %s", first, again)
		}
		s.commit(c.Intent)
		must(t, l.Append(c))
		c.Intent.Leave() // as the door does; it has ended
	}
	if s.count() != 1 {
		t.Errorf("%d notes of calls one after the other, want 1", s.count())
	}
	var under []*call.Call
	for n := range 250 {
		c := intended(t, l, n)
		s.commit(c.Intent)
		under = append(under, c)
	}
	if s.count() != 250 {
		t.Errorf("%d notes of 250 calls at once", s.count())
	}
	must(t, l.Sweep(t.Context()))
	if s.count() != 250 {
		t.Errorf("the notes of calls under way were swept: %d are left", s.count())
	}
	for _, c := range under {
		must(t, l.Append(c))
	}
	must(t, l.Sweep(t.Context()))
	if s.count() != 0 {
		t.Errorf("%d notes are left after a sweep", s.count())
	}
	nothing := intended(t, l, 1) // changes nothing
	must(t, l.Append(nothing))
	leave(t, l)
	if l.Intend(nothing) != nil {
		t.Error("an intent after Detach")
	}
	under[0].Intent.Note() // of the time before
}

// A change whose record cannot be written, since the disk is full, has it when it
// can, be it from memory or from the note.
func TestFullDiskAfterTheChange(t *testing.T) {
	for _, name := range []string{"kept in memory", "too many for memory", "the process ends"} {
		t.Run(name, func(t *testing.T) {
			dir, box, s, d := t.TempDir(), newBox(t), newSafe(), &audit.Faults{}
			l := attach(t, dir, box, s, d)
			must(t, l.Append(numbered(0, createKey)))
			full := func(p []byte) (int, error) { return len(p) / 2, syscall.ENOSPC }
			d.Set(func(d *audit.Faults) { d.Write = full })
			changes := 3
			if name == "too many for memory" {
				changes = 1200
			}
			for n := 1; n <= changes; n++ {
				c := intended(t, l, n)
				s.commit(c.Intent)
				if err := l.Append(c); !errors.Is(err, syscall.ENOSPC) {
					t.Fatalf("Append on a full disk: %v", err)
				}
			}
			if l.Unsettled() != changes || s.count() != changes {
				t.Errorf("%d unsettled, %d notes, want %d", l.Unsettled(), s.count(), changes)
			}
			l.Flush()
			must(t, l.Sweep(t.Context())) // cannot do anything
			if name == "the process ends" {
				_ = l.Close()
				d.Set(func(d *audit.Faults) { d.Write = nil })
				l = attach(t, dir, box, s, d)
			} else {
				d.Set(func(d *audit.Faults) { d.Write = nil })
				l.Flush()
				must(t, l.Err())
				must(t, l.Sweep(t.Context()))
			}
			if l.Unsettled() != 0 || s.count() != 0 {
				t.Errorf("afterwards: %d unsettled, %d notes", l.Unsettled(), s.count())
			}
			leave(t, l)
			there := map[string]int{}
			for _, r := range recorded(t, dir) {
				there[r.EventID+r.RequestID]++
			}
			if len(there) != changes+1 {
				t.Errorf("%d records, want %d", len(there), changes+1)
			}
			for id, n := range there {
				if n != 1 {
					t.Errorf("the record of %s is there %d times", id, n)
				}
			}
			if found := problems(t, dir, box); len(found) > 0 {
				t.Error(found)
			}
		})
	}
}

// A log that starts on a full disk starts, and settles what it must later.
func TestStartOnAFullDisk(t *testing.T) {
	dir, box, s, d := t.TempDir(), newBox(t), newSafe(), &audit.Faults{}
	l := attach(t, dir, box, s, nil)
	c := intended(t, l, 1)
	s.commit(c.Intent)
	must(t, l.Close())
	d.Create = func() error { return syscall.ENOSPC }
	l = attach(t, dir, box, s, d)
	if err := l.Err(); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("Err on a full disk: %v", err)
	}
	if l.Unsettled() != 1 || s.count() != 1 {
		t.Errorf("%d unsettled, %d notes", l.Unsettled(), s.count())
	}
	d.Set(func(d *audit.Faults) { d.Create = nil })
	l.Flush()
	must(t, l.Err())
	must(t, l.Sweep(t.Context()))
	if l.Unsettled() != 0 || s.count() != 0 {
		t.Errorf("afterwards: %d unsettled, %d notes", l.Unsettled(), s.count())
	}
	other := intended(t, l, 2)
	s.commit(other.Intent)
	must(t, l.Append(other))
	leave(t, l)
	wantIDs(t, dir, "1", "2")
}

// A note has room in the commit that it goes with.
func TestLongNote(t *testing.T) {
	l := attach(t, t.TempDir(), newBox(t), newSafe(), nil)
	c := intended(t, l, 1)
	c.Parameters = long(90 << 10)
	for account := range 8 {
		c.AddResource(call.Resource{ARN: fmt.Sprint("arn:aws:kms:eu-central-1:11112222444", account, ":key/x"), Account: fmt.Sprint("11112222444", account), Type: "AWS::KMS::Key"})
	}
	_, note := c.Intent.Note()
	if n := strings.Count(string(note), "\n"); n != 9 || len(note) > 400<<10 {
		t.Errorf("a note of %d records and %d bytes", n, len(note))
	}
	c.Intent.Leave()
	leave(t, l)
}

// long is the parameters of a call, so many bytes of them.
type long int

func (n long) AppendAudit(b []byte) []byte {
	return append(append(append(b, `{"x":"`...), strings.Repeat("x", int(n))...), `"}`...)
}

// ledger is a vault whose notes are in a file, a line for each commit, as a store
// of changes that another process may go on with.
type ledger struct {
	*safe
	file *os.File
}

// line is a commit in a ledger.
type line struct{ ID, Slot, Note string }

func openLedger(path string) (*ledger, []line, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return nil, nil, err
	}
	g := &ledger{safe: newSafe(), file: f}
	var commits []line
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var one line
		if json.Unmarshal(lines.Bytes(), &one) != nil {
			continue // torn: it did not happen
		}
		commits = append(commits, one)
		g.notes[one.Slot] = one.Note
	}
	if len(commits) > 0 {
		_, err = f.WriteString("\n") // after what may be torn
	}
	return g, commits, err
}

func (g *ledger) commit(id string, i call.Intent) error {
	slot, note := i.Note()
	text, err := json.Marshal(line{id, slot, string(note)})
	if err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.notes[slot] = string(note)
	if _, err := g.file.Write(append(text, '\n')); err != nil {
		return err
	}
	i.Stood(1)
	return nil
}

// changeForEver makes changes with 8 goroutines, each with its record.
func changeForEver(dir string) {
	fail := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	g, _, err := openLedger(filepath.Join(dir, "ledger"))
	fail(err)
	l, err := audit.Open(filepath.Join(dir, "journal"), audit.Options{SegmentSize: 100_000})
	fail(err)
	fail(l.Attach(context.Background(), g, true))
	fmt.Println("ready")
	var stdout sync.Mutex
	concurrently(8, func(worker int) {
		for i := 0; ; i++ {
			c := newCall()
			c.ID, c.Operation = fmt.Sprintf("%d-%d-%d", os.Getpid(), worker, i), createKey
			c.Intent = l.Intend(c)
			fail(g.commit(c.ID, c.Intent))
			fail(l.Append(c))
			stdout.Lock()
			fmt.Println(c.ID)
			stdout.Unlock()
		}
	})
}

// After SIGKILL every change that stands has its record, once, whether it was
// acknowledged or not; and each tag is right.
func TestKillDuringChanges(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	dir := t.TempDir()
	journal := filepath.Join(dir, "journal")
	settled := 0
	for round := range 4 {
		runUntilKilled(t, childChanges, dir, round, func(string) {})
		g, commits, err := openLedger(filepath.Join(dir, "ledger"))
		must(t, err)
		l := openLog(t, journal, audit.Options{}, nil)
		must(t, l.Attach(t.Context(), g, true))
		must(t, l.Close())
		must(t, g.file.Close())
		there := map[string]int{}
		for _, r := range recorded(t, journal) {
			there[r.RequestID]++
			if r.Addendum != nil {
				settled++
			}
		}
		stood := map[string]bool{}
		for _, c := range commits {
			stood[c.ID] = true
			if there[c.ID] != 1 {
				t.Errorf("round %d: change %s stands, and its record is there %d times", round, c.ID, there[c.ID])
			}
		}
		for id := range there {
			if !stood[id] {
				t.Errorf("round %d: there is a record of %s, which did not happen", round, id)
			}
		}
		if found := problems(t, journal, nil); len(found) > 0 {
			t.Error(found)
		}
		if len(commits) < 20 {
			t.Errorf("round %d: %d changes: too few to show anything", round, len(commits))
		}
	}
	t.Logf("%d records were made from notes", settled)
}

// raw is parameters as they are.
type raw string

func (r raw) AppendAudit(b []byte) []byte { return append(b, r...) }

// FuzzEventID: whatever clients send, the id and the time of a record that are
// found as text are those that it has.
func FuzzEventID(f *testing.F) {
	f.Add("aws-cli", "host", "key", "value")
	f.Add(`","eventTime":"2001-01-01T00:00:00Z`, `"eventID":"00000000-0000-0000-0000-000000000000"`, "eventID", "11111111-1111-1111-1111-111111111111")
	f.Add(`\`, `","eventID":"`, "eventTime", "2001-01-01T00:00:00Z")
	f.Fuzz(func(t *testing.T, agent, host, name, value string) {
		c := newCall()
		c.UserAgent, c.Host = agent, host
		context, err := json.Marshal(map[string]map[string]string{"encryptionContext": {name: value}})
		must(t, err)
		c.Parameters = raw(context)
		line := []byte(record(t, c))
		var want struct{ EventID, EventTime string }
		must(t, json.Unmarshal(line, &want))
		if got := audit.EventID(line); got != want.EventID {
			t.Errorf("the id %q of %s", got, line)
		}
		if at, ok := audit.EventTime(line); !ok || at.Format(time.RFC3339) != want.EventTime {
			t.Errorf("the time %v of %s", at, line)
		}
	})
}
