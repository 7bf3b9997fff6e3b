package audit_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/audit"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/seal"
	"github.com/keyreeve/keyreeve/internal/store"
)

// newBox returns an open box of its own.
func newBox(t testing.TB) *seal.Box {
	t.Helper()
	arena, err := seal.NewArena(seal.ArenaOptions{Size: 1 << 16})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(arena.Close)
	box, err := seal.Open(t.Context(), store.NewMem(), seal.Options{Provider: seal.Memory(), Arena: arena})
	if err != nil {
		t.Fatal(err)
	}
	return box
}

// safe is a vault in memory.
type safe struct {
	mu    sync.Mutex
	head  *audit.Head
	notes map[string]string
	err   error // of all its methods
	kept  int   // how often a head was
}

func newSafe() *safe { return &safe{notes: map[string]string{}} }

func (s *safe) Head(context.Context) (audit.Head, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.head == nil {
		return audit.Head{}, false, s.err
	}
	return *s.head, true, s.err
}

func (s *safe) KeepHead(_ context.Context, h audit.Head) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.head = &h
		s.kept++
	}
	return s.err
}

func (s *safe) Notes(context.Context) ([]audit.Note, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var notes []audit.Note
	for _, slot := range slices.Sorted(maps.Keys(s.notes)) {
		notes = append(notes, audit.Note{Slot: slot, Text: []byte(s.notes[slot])})
	}
	return notes, s.err
}

func (s *safe) Empty(_ context.Context, slots []string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	if len(slots) > 100 {
		return fmt.Errorf("%d slots at once", len(slots))
	}
	for _, slot := range slots {
		delete(s.notes, slot)
	}
	return nil
}

func (s *safe) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.notes)
}

// commit is a change that takes place, with the note of an intent.
func (s *safe) commit(i call.Intent) {
	slot, note := i.Note()
	s.mu.Lock()
	s.notes[slot] = string(note)
	s.mu.Unlock()
	i.Stood(1)
}

// attach opens the log in dir with a box and a vault.
func attach(t testing.TB, dir string, box *seal.Box, s *safe, d *audit.Faults) *audit.Log {
	t.Helper()
	l := openLog(t, dir, audit.Options{}, d)
	l.Protect(box)
	if err := l.Attach(t.Context(), s, s.head == nil); err != nil {
		t.Fatal(err)
	}
	return l
}

// leave closes a log in good order.
func leave(t testing.TB, l *audit.Log) {
	t.Helper()
	l.Detach()
	l.Unprotect()
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

// intended returns a call of CreateKey with an intent.
func intended(t testing.TB, l *audit.Log, n int) *call.Call {
	t.Helper()
	c := numbered(n, createKey)
	if c.Intent = l.Intend(c); c.Intent == nil {
		t.Fatal("no intent")
	}
	return c
}

// problems returns what Verify says of the segments in dir, and checks that it
// can recompute their tags.
func problems(t testing.TB, dir string, o audit.Opener) (found []string) {
	t.Helper()
	for r, err := range audit.Verify(dir, o) {
		if err != nil {
			t.Error(err)
		}
		if !r.Checked && len(r.Problems) == 0 && r.Size > 0 {
			t.Errorf("%s was not checked", r.Segment)
		}
		for _, p := range r.Problems {
			found = append(found, p.String())
		}
	}
	return found
}

// write makes a journal of four segments: without a key, with one, without, and
// with one, which is what the vault has.
func write(t testing.TB, dir string, box *seal.Box, s *safe) {
	t.Helper()
	l := openLog(t, dir, audit.Options{}, nil)
	three := func(from int) {
		for n := range 3 {
			if err := l.Append(numbered(from+n, decrypt)); err != nil {
				t.Fatal(err)
			}
		}
	}
	three(0)
	l.Protect(box)
	if err := l.Attach(t.Context(), s, true); err != nil {
		t.Fatal(err)
	}
	three(3)
	l.Detach()
	l.Unprotect()
	three(6)
	l.Protect(box)
	if err := l.Attach(t.Context(), s, false); err != nil {
		t.Fatal(err)
	}
	three(9)
	leave(t, l)
	if found := l.Damage(); len(found) > 0 {
		t.Fatalf("damaged from the start: %v", found)
	}
}

// Whatever is changed in a journal, Verify tells where; and what can be taken
// from its end, the vault's head tells.
func TestTampering(t *testing.T) {
	box, kept := newBox(t), newSafe()
	original := t.TempDir()
	write(t, original, box, kept)
	if found := problems(t, original, box); len(found) > 0 {
		t.Fatalf("before anything was changed: %v", found)
	}
	names := segments(t, original)
	if len(names) != 4 {
		t.Fatalf("%d segments, want 4", len(names))
	}
	keyless, keyed, last := names[0], names[1], names[3]
	edit := func(name string, f func(lines []string) []string) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			text, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			text = []byte(strings.Join(f(strings.SplitAfter(strings.TrimSuffix(string(text), "\n"), "\n")), ""))
			if err := os.WriteFile(filepath.Join(dir, name), append(bytes.TrimSuffix(text, []byte("\n")), '\n'), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	// A segment is its header and three records, each with its closing line.
	again := func(name string, tag func([]byte) audit.Tag) func(t *testing.T, dir string) {
		return edit(name, func(lines []string) []string {
			lines[4] = strings.Replace(lines[4], "Decrypt", "Encrypt", 1)
			for i := 0; i < len(lines); i += 2 {
				lines[i+1] = fmt.Sprintf("{\"tag\":\"%s\"}\n", tag([]byte(lines[i])))
			}
			return lines
		})
	}
	tests := []struct {
		name   string
		tamper func(t *testing.T, dir string)
		want   string // part of what Verify says, or the vault
	}{
		{"a byte of a record", edit(keyed, func(l []string) []string { l[4] = strings.Replace(l[4], "Decrypt", "Encrypt", 1); return l }), keyed + " at "},
		{"a byte of a record without a key", edit(keyless, func(l []string) []string { l[4] = strings.Replace(l[4], "Decrypt", "Encrypt", 1); return l }), keyless + " at "},
		{"and its tags made anew", again(keyless, audit.TagOf(nil)), keyless + " at "},
		{"tags made anew with another key", again(keyed, audit.TagOf(make([]byte, 32))), keyed + " at "},
		{"a record is gone", edit(keyed, func(l []string) []string { return slices.Delete(l, 4, 5) }), keyed + " at "},
		{"a write is gone", edit(keyed, func(l []string) []string { return slices.Delete(l, 4, 6) }), keyed + " at "},
		{"the last write is gone", edit(keyed, func(l []string) []string { return l[:6] }), "goes on from a write that is not here"},
		{"a record came in", edit(keyed, func(l []string) []string { return slices.Insert(l, 4, l[2]) }), keyed + " at "},
		{"a write came in", edit(keyed, func(l []string) []string { return slices.Insert(l, 4, l[2], l[3]) }), keyed + " at "},
		{"two writes changed places", edit(keyed, func(l []string) []string {
			return slices.Concat(l[:2], l[4:6], l[2:4], l[6:])
		}), keyed + " at "},
		{"two records changed places", edit(keyed, func(l []string) []string { l[2], l[4] = l[4], l[2]; return l }), keyed + " at "},
		{"a write came after the end", edit(keyed, func(l []string) []string { return append(l, "\n"+l[2], l[3]) }), keyed + " at "},
		{"the key is gone", edit(keyed, func(l []string) []string {
			l[0] = l[0][:strings.Index(l[0], `,"key":`)] + `,"key":null}` + "\n"
			return l
		}), keyed + " at 0"},
		{"the header is gone", edit(keyed, func(l []string) []string { return l[2:] }), keyed + " at 0: its first line is not"},
		{"a segment is gone", func(t *testing.T, dir string) { must(t, os.Remove(filepath.Join(dir, keyed))) }, "it goes on from " + keyed},
		{"the first segment is gone", func(t *testing.T, dir string) { must(t, os.Remove(filepath.Join(dir, keyless))) }, "the segment before it is missing"},
		{"two segments changed places", func(t *testing.T, dir string) {
			a, b := filepath.Join(dir, keyed), filepath.Join(dir, last)
			must(t, errors.Join(os.Rename(a, a+"x"), os.Rename(b, a), os.Rename(a+"x", b)))
		}, "it is the segment " + last},
		{"the last segment is gone", func(t *testing.T, dir string) { must(t, os.Remove(filepath.Join(dir, last))) }, last + " at 0: the segment is missing"},
		{"the end is gone", edit(last, func(l []string) []string { return l[:6] }), "the journal does not have the records that it had"},
		{"everything is gone", func(t *testing.T, dir string) {
			for _, name := range names {
				must(t, os.Remove(filepath.Join(dir, name)))
			}
		}, last + " at 0: the segment is missing"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "journal")
			must(t, os.CopyFS(dir, os.DirFS(original)))
			tt.tamper(t, dir)
			found := problems(t, dir, box)
			l := attach(t, dir, box, &safe{head: kept.head, notes: map[string]string{}}, nil)
			for _, p := range l.Damage() {
				found = append(found, p.String())
			}
			if !slices.ContainsFunc(found, func(p string) bool { return strings.Contains(p, tt.want) }) {
				t.Errorf("found %q, want one with %q", found, tt.want)
			}
			must(t, l.Examine(t.Context()))
			if !slices.ContainsFunc(l.Damage(), func(p audit.Problem) bool { return strings.Contains(p.String(), tt.want) }) {
				t.Errorf("Examine found %v, want one with %q", l.Damage(), tt.want)
			}
			// It goes on all the same, and what it writes then is whole.
			must(t, l.Append(numbered(99, createKey)))
			name := segments(t, dir)
			leave(t, l)
			r, err := l.VerifySegment(name[len(name)-1])
			if err != nil || len(r.Problems) > 0 || r.Records != 1 {
				t.Errorf("the segment that was begun after it: %+v, %v", r, err)
			}
		})
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Without the keys, what has them is not checked, and is not said to be wrong.
func TestVerifyWithoutKeys(t *testing.T) {
	box, dir := newBox(t), t.TempDir()
	write(t, dir, box, newSafe())
	for _, o := range []audit.Opener{nil, newBox(t)} {
		var keyed, checked, wrong, records int
		for r, err := range audit.Verify(dir, o) {
			must(t, err)
			records += r.Records
			if r.Keyed {
				keyed++
			}
			if r.Checked {
				checked++
			}
			wrong += len(r.Problems)
		}
		want := 0
		if o != nil {
			want = 2 // another's box cannot open them
		}
		if keyed != 2 || checked != 2 || wrong != want || records != 12 {
			t.Errorf("%d keyed, %d checked, %d problems, %d records", keyed, checked, wrong, records)
		}
	}
	for _, err := range audit.Verify(filepath.Join(dir, "missing"), nil) {
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("missing directory: %v", err)
		}
	}
}

// The vault is told when it is asked for the head that it does not have.
func TestUnknownHead(t *testing.T) {
	dir, box := t.TempDir(), newBox(t)
	l := attach(t, dir, box, newSafe(), nil) // the first time
	must(t, l.Append(numbered(1, createKey)))
	leave(t, l)
	l = openLog(t, dir, audit.Options{}, nil)
	l.Protect(box)
	must(t, l.Attach(t.Context(), newSafe(), false))
	if found := l.Damage(); len(found) != 1 || !strings.Contains(found[0].String(), "does not know how far") {
		t.Errorf("damage: %v", found)
	}
	leave(t, l)

	broken := &safe{err: errors.New("broken")}
	l = openLog(t, dir, audit.Options{}, nil)
	if err := l.Attach(t.Context(), broken, false); !errors.Is(err, broken.err) {
		t.Errorf("Attach to a broken vault: %v", err)
	}
	if l.Intend(numbered(1, createKey)) != nil {
		t.Error("an intent without a vault")
	}
	must(t, l.Close())
}

// Of a machine that fails, what nobody was promised may be missing: the head is
// kept of what is on the disk, and of no more.
func TestHeadIsOnTheDisk(t *testing.T) {
	dir, box, s, d := t.TempDir(), newBox(t), newSafe(), &audit.Faults{}
	l := attach(t, dir, box, s, d)
	must(t, l.Append(numbered(1, createKey))) // waits for the disk
	size := func() int64 {
		list, err := l.Segments()
		must(t, err)
		return list[len(list)-1].Size
	}
	durable := size()
	must(t, l.Append(numbered(2, decrypt))) // does not
	s.kept = 0
	must(t, l.KeepHead(t.Context()))
	if s.head.Size != durable {
		t.Errorf("the head is at %d, want %d", s.head.Size, durable)
	}
	l.Flush()
	must(t, l.KeepHead(t.Context()))
	if s.head.Size != size() || s.kept != 2 {
		t.Errorf("after a flush the head is at %d, want %d", s.head.Size, size())
	}
	must(t, l.KeepHead(t.Context()))
	if s.kept != 2 {
		t.Error("the same head was kept again")
	}
	leave(t, l)
}

// What is delivered is known by the numbers of segments: they must stay as they
// are.
func TestSegmentNumbers(t *testing.T) {
	dir := t.TempDir()
	l := openLog(t, dir, audit.Options{}, nil)
	day := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	for i, at := range []time.Time{day, day, day.AddDate(0, 0, 1), day.AddDate(1, 0, 0)} {
		c := numbered(i, decrypt)
		c.Time = at
		must(t, l.Append(c))
		must(t, l.Cut())
	}
	// Of a time before 1970 there is none.
	must(t, os.WriteFile(filepath.Join(dir, "1950-11-21-000001.jsonl"), nil, 0o600))
	list, err := l.Segments()
	must(t, err)
	var got []string
	for _, s := range list {
		got = append(got, fmt.Sprintf("%s %d", s.Name, s.Number))
	}
	want := []string{
		"2026-11-21-000001.jsonl 44620415238145", "2026-11-21-000002.jsonl 44620415238146",
		"2026-11-22-000001.jsonl 44622562721793", "2027-11-21-000001.jsonl 45404246769665",
	}
	if !slices.Equal(got, want) {
		t.Errorf("segments %q, want %q", got, want)
	}
	must(t, l.Close())
}

func TestCut(t *testing.T) {
	clock := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	var passed atomic.Int64
	dir := t.TempDir()
	l := openLog(t, dir, audit.Options{SegmentAge: time.Minute, Now: func() time.Time { return clock.Add(time.Duration(passed.Load())) }}, nil)
	state := func() (s []string) {
		list, err := l.Segments()
		must(t, err)
		for _, one := range list {
			s = append(s, fmt.Sprintf("%t %s", one.Open, one.First.Format(time.TimeOnly)))
		}
		return s
	}
	at := func(n, second int) {
		c := numbered(n, decrypt)
		c.Time = clock.Add(time.Duration(second) * time.Second)
		must(t, l.Append(c))
	}
	must(t, l.Cut()) // of nothing
	at(1, 20)
	at(2, 10)
	at(3, 30)
	passed.Store(int64(59 * time.Second))
	l.Flush()
	want := []string{"true 12:00:20"}
	if got := state(); !slices.Equal(got, want) {
		t.Errorf("before its time: %q", got)
	}
	passed.Store(int64(60 * time.Second))
	l.Flush()
	want[0] = "false 12:00:20"
	if got := state(); !slices.Equal(got, want) {
		t.Errorf("in its time: %q", got)
	}
	passed.Store(int64(time.Hour))
	l.Flush() // there is nothing to close
	at(4, 3600)
	must(t, l.Cut())
	must(t, l.Cut())
	want = append(want, "false 13:00:00")
	if got := state(); !slices.Equal(got, want) {
		t.Errorf("cut: %q", got)
	}
	must(t, l.Close())
	l = openLog(t, dir, audit.Options{}, nil)
	if got := state(); !slices.Equal(got, want) {
		t.Errorf("read anew: %q", got)
	}
	must(t, l.Close())
	wantIDs(t, dir, "1", "2", "3", "4")
	if found := problems(t, dir, nil); len(found) > 0 {
		t.Error(found)
	}
}

// Segments are cut while others append, also on a disk that fails now and then.
func TestCutUnderLoad(t *testing.T) {
	dir, d := t.TempDir(), &audit.Faults{}
	var step atomic.Int64
	d.Sync = func() error {
		if step.Add(1)%7 == 0 {
			return syscall.EIO
		}
		return nil
	}
	l := openLog(t, dir, audit.Options{FlushEvery: time.Millisecond}, d)
	l.Protect(newBox(t))
	var done atomic.Bool
	var cutter sync.WaitGroup
	cutter.Go(func() {
		for !done.Load() {
			_ = l.Cut() // may meet the disk's failure
		}
	})
	var mu sync.Mutex
	acknowledged := map[string]bool{}
	concurrently(8, func(worker int) {
		for i := range 100 {
			operation := decrypt
			if i%4 == 0 {
				operation = createKey
			}
			c := numbered(worker*1000+i, operation)
			if l.Append(c) == nil {
				mu.Lock()
				acknowledged[c.ID] = true
				mu.Unlock()
			}
		}
	})
	done.Store(true)
	cutter.Wait()
	d.Set(func(d *audit.Faults) { d.Sync = nil })
	l.Flush()
	must(t, l.Close())
	there := map[string]bool{}
	for _, id := range ids(t, dir) {
		there[id] = true
	}
	for id := range acknowledged {
		if !there[id] {
			t.Errorf("record %s was acknowledged and is missing", id)
		}
	}
	if len(acknowledged) == 0 {
		t.Error("nothing was acknowledged")
	}
}

func TestEntries(t *testing.T) {
	dir := t.TempDir()
	l := openLog(t, dir, audit.Options{}, nil)
	var path string
	next, seen := int64(0), 0
	for n := range 5 {
		must(t, l.Append(numbered(n, decrypt)))
		list, err := l.Segments()
		must(t, err)
		path = filepath.Join(l.Dir(), list[0].Name)
		for e, err := range audit.Entries(path, next) {
			must(t, err)
			if want := fmt.Sprintf(`"requestID":"%d"`, seen); !strings.Contains(string(e.Record), want) || e.Offset < next || e.Next <= e.Offset {
				t.Errorf("entry %d at %d is %s", seen, e.Offset, e.Record)
			}
			text, err := os.ReadFile(path)
			must(t, err)
			if string(text[e.Offset:e.Next]) != string(e.Record)+"\n" {
				t.Errorf("entry %d is not at %d", seen, e.Offset)
			}
			next = e.Next
			seen++
		}
		if seen != n+1 {
			t.Errorf("%d entries, want %d", seen, n+1)
		}
	}
	must(t, l.Close())
	for _, err := range audit.Entries(path+"x", 0) {
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Entries of a missing segment: %v", err)
		}
	}
}

func TestRemove(t *testing.T) {
	dir, box, s := t.TempDir(), newBox(t), newSafe()
	l := attach(t, dir, box, s, nil)
	for n := range 3 {
		c := intended(t, l, n)
		s.commit(c.Intent)
		must(t, l.Append(c))
		if n < 2 {
			must(t, l.Cut())
		}
	}
	names := segments(t, dir)
	if len(names) != 3 || s.count() != 1 {
		t.Fatalf("%d segments, %d notes", len(names), s.count())
	}
	if err := l.Remove(names[1]); !errors.Is(err, audit.ErrNeeded) {
		t.Errorf("removing the second before the first: %v", err)
	}
	s.err = errors.New("broken")
	if err := l.Remove(names[0]); !errors.Is(err, s.err) {
		t.Errorf("removing while the vault is broken: %v", err)
	}
	s.err = nil
	must(t, l.Remove(names[0]))
	if s.head.Removed != names[0] || s.count() != 1 {
		t.Errorf("the head is %+v", s.head)
	}
	// A change is under way since then: its record can't be in what is there.
	pending := intended(t, l, 3)
	s.commit(pending.Intent)
	must(t, l.Remove(names[1]))
	if err := l.Remove(names[2]); !errors.Is(err, audit.ErrNeeded) {
		t.Errorf("removing the one that is open: %v", err)
	}
	must(t, l.Cut())
	if err := l.Remove(names[2]); !errors.Is(err, audit.ErrNeeded) {
		t.Errorf("removing one that a change under way may have its record in: %v", err)
	}
	must(t, l.Append(pending))
	must(t, l.Remove(names[2]))
	if s.count() != 0 {
		t.Errorf("%d notes are left whose records are gone", s.count())
	}
	names = segments(t, dir)
	leave(t, l)
	if err := l.Remove(names[0]); !errors.Is(err, audit.ErrNeeded) {
		t.Errorf("removing without a vault: %v", err)
	}
	l = attach(t, dir, box, s, nil)
	if found := l.Damage(); len(found) > 0 {
		t.Errorf("after removing: %v", found)
	}
	if err := l.Remove(names[0]); !errors.Is(err, audit.ErrNeeded) {
		t.Errorf("removing the newest, whose name would be given again: %v", err)
	}
	later := intended(t, l, 4)
	s.commit(later.Intent)
	must(t, l.Append(later))
	must(t, l.Remove(names[0]))
	if now := segments(t, dir); len(now) != 1 || now[0] <= names[0] {
		t.Errorf("segments %v after %v", now, names)
	}
	leave(t, l)
	l = attach(t, dir, box, s, nil)
	if found := l.Damage(); len(found) > 0 {
		t.Errorf("after removing all before it: %v", found)
	}
	leave(t, l)
}

// FuzzHeader: what is taken for a header is what is written for it.
func FuzzHeader(f *testing.F) {
	first, _, _ := bytes.Cut(audit.Header("2026-11-21-000001.jsonl"), []byte("\n"))
	f.Add(append(first, '\n'))
	f.Add([]byte(`{"journal":1,"segment":"a","previous":"b","previousSize":-1,"previousTag":"AA==","key":"AA=="}` + "\n"))
	f.Add([]byte(`{"journal":2,"segment":"a","previous":"","previousSize":0,"previousTag":null,"key":null}` + "\n"))
	f.Fuzz(func(t *testing.T, line []byte) {
		if again, err := audit.ParseHeader(line); err == nil && !bytes.Equal(again, line) {
			t.Errorf("%q became %q", line, again)
		}
	})
}

// TestSegmentsWhileOneBegins: a segment that is being begun is not told of as a
// closed one, which would be delivered as it is, and then removed with all that
// comes into it later.
func TestSegmentsWhileOneBegins(t *testing.T) {
	dir := t.TempDir()
	var log *audit.Log
	closed := map[string]int64{}
	looks := 0
	look := func() {
		if log == nil {
			return
		}
		looks++
		list, err := log.Segments()
		if err != nil {
			t.Error(err)
		}
		for _, s := range list {
			if _, known := closed[s.Name]; !s.Open && !known {
				closed[s.Name] = s.Size
			}
		}
	}
	faults := &audit.Faults{
		Write: func(p []byte) (int, error) { look(); return len(p), nil },
		Sync:  func() error { look(); return nil },
	}
	log, err := audit.OpenOn(dir, audit.Options{Reserve: -1}, faults)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		for range 2 {
			if err := log.Append(newCall()); err != nil {
				t.Fatal(err)
			}
		}
		if err := log.Cut(); err != nil {
			t.Fatal(err)
		}
		look()
	}
	open := log
	log = nil // what is written now is the end
	if err := open.Close(); err != nil {
		t.Fatal(err)
	}
	if looks < 9 || len(closed) != 3 {
		t.Fatalf("looked %d times, and saw %v closed", looks, closed)
	}
	for name, size := range closed {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if info.Size() != size {
			t.Errorf("%s was told of as closed with %d bytes; it has %d", name, size, info.Size())
		}
	}
}

// Only of a segment with a key that is as it was written are the records that
// ReadSegment passes on to be believed.
func TestReadSegment(t *testing.T) {
	box, dir := newBox(t), t.TempDir()
	write(t, dir, box, newSafe())
	l := openLog(t, dir, audit.Options{}, nil)
	defer leave(t, l)
	for i, name := range segments(t, dir) {
		for _, given := range []bool{false, true} {
			if given {
				l.Protect(box)
			} else {
				l.Unprotect()
			}
			var want, got []string
			for e, err := range audit.Entries(filepath.Join(dir, name), 0) {
				must(t, err)
				want = append(want, fmt.Sprint(e.Offset, e.Next, string(e.Record)))
			}
			r, err := l.ReadSegment(name, func(e audit.Entry) error {
				got = append(got, fmt.Sprint(e.Offset, e.Next, string(e.Record)))
				return nil
			})
			if err != nil || len(got) != 3 || !slices.Equal(got, want) {
				t.Errorf("%s: read %q, want %q; %v", name, got, want, err)
			}
			if keyed := i%2 == 1; r.Genuine() != (keyed && given) || r.Checked != (!keyed || given) {
				t.Errorf("%s, with the box: %t: %+v", name, given, r)
			}
		}
		enough := errors.New("enough")
		if _, err := l.ReadSegment(name, func(audit.Entry) error { return enough }); !errors.Is(err, enough) {
			t.Errorf("an error of who reads is %v", err)
		}
		path := filepath.Join(dir, name)
		text, err := os.ReadFile(path)
		must(t, err)
		must(t, os.WriteFile(path, bytes.Replace(text, []byte("Decrypt"), []byte("decrypt"), 1), 0o600))
		if r, err := l.ReadSegment(name, func(audit.Entry) error { return nil }); err != nil || r.Genuine() || len(r.Problems) != 1 {
			t.Errorf("%s, after it was changed: %+v, %v", name, r, err)
		}
	}
	if _, err := l.ReadSegment("2026-11-21-000099.jsonl", nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a segment that is not there: %v", err)
	}
}
