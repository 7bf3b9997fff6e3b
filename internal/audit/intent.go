package audit

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/store"
)

// An Intent is the record of a change before there is one: a note, with the
// event ids of the record that is to come, which the store makes durable in the
// same commit as the change. Once the record is on the disk nobody needs the
// note. If that never happens, because the process or the machine ends, or the
// disk is full, the note is what [Log.Attach] or [Log.Sweep] makes the record
// from. So no change that stands is without its record.
//
// It is used by one goroutine at a time.
type Intent struct {
	log  *Log
	call *call.Call // what it is about; nil for an event
	id   [16]byte   // of an event
	line []byte     // the record of an event
	slot *slot      // nil before there is a note
	at   string     // the segment that was open when the note was made
	note []byte     // the newest one
	open bool       // a commit has asked for it, and was not said to have happened
}

// maxNote bounds a note, so that the commit that it goes with has room for the
// change: a longer one is made without the call's parameters.
const maxNote = 384 << 10

// Intend returns an intent for a call that may change something. It is put in
// Call.Intent, and given to the commit by record.WithIntent; [Log.Append] ends
// it. It is nil while the log has no vault: then there is nothing to change
// either.
func (l *Log) Intend(c *call.Call) call.Intent {
	if !l.slots.isOpen() {
		return nil
	}
	return &Intent{log: l, call: c}
}

// IntendEvent returns an intent for a change that is no call. After the change,
// [Intent.Append] ends it; if it cannot be told whether there was a change,
// [Intent.Leave] does.
func (l *Log) IntendEvent(e *Event) *Intent {
	i := &Intent{log: l, id: newEventID()}
	i.Tell(e)
	return i
}

// Tell makes e the event that an intent of [Log.IntendEvent] is of, instead of
// the one before: when more is known of it. It is the same event, and has the
// same id. Notes that are stored already do not change.
func (i *Intent) Tell(e *Event) {
	i.line, i.call = appendServiceEvent(nil, e, i.id), &call.Call{Time: e.Time}
}

// Note implements [call.Intent].
func (i *Intent) Note() (slot string, note []byte) {
	l := i.log
	if i.slot == nil {
		if i.slot = l.slots.take(); i.slot == nil {
			return "", nil
		}
	}
	l.mu.Lock()
	at := l.at
	l.mu.Unlock()
	i.at, i.open = at.Segment, true
	l.slots.noted(i.slot, i.at)
	i.note = appendSince(i.note[:0], at)
	if i.line != nil {
		i.note = append(i.note, i.line...)
		return i.slot.name, i.note
	}
	i.note = appendUnfinished(i.note, i.call)
	if len(i.note) > maxNote {
		brief := *i.call
		brief.Parameters, brief.Additional, brief.Recipient = nil, nil, nil
		i.note = appendUnfinished(appendSince(i.note[:0], at), &brief)
	}
	return i.slot.name, i.note
}

// A note begins with a line that tells where the log had come to when the note
// was made: {"since":"2026-11-21-000001.jsonl","at":4096,"tag":"…"}. The record that
// follows it comes later in the log than that, so nothing before it has to be
// looked through. A note without such a line was made when nobody knew.
const sinceSet = `{"since":"`

// appendSince appends the first line of a note; nothing if the log has no
// segment yet.
func appendSince(b []byte, at Head) []byte {
	if at.Segment == "" {
		return b
	}
	b = append(b, sinceSet...)
	b = append(b, at.Segment...)
	b = append(b, `","at":`...)
	b = strconv.AppendInt(b, at.Size, 10)
	b = append(b, `,"tag":"`...)
	b = tagEncoding.AppendEncode(b, at.Tag[:])
	return append(b, closingEnd...)
}

// sinceOf returns what the first line of a note tells; the beginning of the log
// if it tells nothing.
func sinceOf(note []byte) (at Head) {
	line, _, _ := bytes.Cut(note, []byte{'\n'})
	rest, ok := strings.CutPrefix(string(line), sinceSet)
	name, rest, isName := strings.Cut(rest, `","at":`)
	size, tag, isSize := strings.Cut(rest, ",")
	n, err := strconv.ParseInt(size, 10, 64)
	at = Head{Segment: name, Size: n}
	var isTag bool
	at.Tag, isTag = parseClosing([]byte("{" + tag + "\n"))
	if _, _, is := parseSegment(name); !ok || !isName || !isSize || !isTag || !is || err != nil || n < 0 {
		return Head{}
	}
	return at
}

// Stood implements [call.Intent].
func (i *Intent) Stood(store.Rev) {
	i.open = false
	if i.slot != nil {
		i.log.slots.stood(i.slot, i.at)
	}
}

// Append appends the record of an event that happened. When it returns nil, the
// record is on the disk; after an error, it is written once that is possible.
func (i *Intent) Append() error {
	l := i.log
	if l.memory != nil {
		return l.memory.add(i.line)
	}
	err := l.add(slices.Grow(slices.Clone(i.line), closingSize), i.call.Time.Unix(), true)
	i.ended(err)
	if err != nil {
		return fmt.Errorf("audit: recording an event: %w", err)
	}
	return nil
}

// Leave leaves it to the log to find out whether there was a change: if the
// store has the note, there was.
func (i *Intent) Leave() {
	if i.slot != nil {
		i.log.slots.park(i.slot)
		i.slot = nil
	}
}

// ended ends an intent whose record is on the disk, unless err says that it is not.
// A commit that is not known to have happened may still come, and would put its
// note where another's is by then: so nobody gets the slot before the vault has
// been asked, after which nothing comes any more.
func (i *Intent) ended(err error) {
	switch {
	case i.slot == nil:
	case err != nil || i.open:
		i.Leave()
	default:
		i.log.slots.free(i.slot)
		i.slot = nil
	}
}

// A slot is a place for a note. One that is given back keeps its note until it
// is taken again, or swept.
type slot struct {
	name string
	// full says that there may be a note in it, of a record that is not in a
	// segment before since.
	full  bool
	since string
}

// slots are the slots of a log.
type slots struct {
	mu      sync.Mutex
	opened  bool
	prefix  string  // of names; of nobody before us
	made    int     // since they were opened
	all     []*slot // those, and others that were adopted
	unused  []*slot // the one given back last is taken first
	waiting []*slot // of intents that nobody ended
}

func (s *slots) open() {
	var b [8]byte
	rand.Read(b[:])
	s.mu.Lock()
	defer s.mu.Unlock()
	s.opened, s.prefix, s.made = true, hex.EncodeToString(b[:]), 0
}

// adopt takes over slots of another process, which are to be settled by a sweep.
func (s *slots) adopt(notes []Note) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range notes {
		t := &slot{name: n.Slot, full: true}
		s.all, s.waiting = append(s.all, t), append(s.waiting, t)
	}
}

func (s *slots) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.opened, s.all, s.unused, s.waiting = false, nil, nil, nil
}

func (s *slots) isOpen() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.opened
}

func (s *slots) take() *slot {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.opened {
		return nil
	}
	if n := len(s.unused); n > 0 {
		t := s.unused[n-1]
		s.unused = s.unused[:n-1]
		return t
	}
	s.made++
	t := &slot{name: fmt.Sprintf("%s-%06d", s.prefix, s.made)}
	s.all = append(s.all, t)
	return t
}

// has reports whether t was made since the slots were opened. The caller holds mu.
func (s *slots) has(t *slot) bool { return s.opened && strings.HasPrefix(t.name, s.prefix) }

// noted notes that t may soon have a note; or still has the one before.
func (s *slots) noted(t *slot, segment string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !t.full {
		t.full, t.since = true, segment
	}
}

// stood notes that t has the new note, and no other.
func (s *slots) stood(t *slot, segment string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t.since = segment
}

func (s *slots) free(t *slot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.has(t) {
		s.unused = append(s.unused, t)
	}
}

func (s *slots) park(t *slot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.has(t) {
		s.waiting = append(s.waiting, t)
	}
}

// mayNeed reports whether there may be a note whose record is in the segment, or
// in one before it.
func (s *slots) mayNeed(segment string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.all, func(t *slot) bool { return t.full && compareSegments(t.since, segment) <= 0 })
}

// toSweep takes the slots out that are to be emptied, and those that nobody ended.
func (s *slots) toSweep() (full, waiting []*slot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	empty := make([]*slot, 0, len(s.unused))
	for _, t := range s.unused {
		if t.full {
			full = append(full, t)
		} else {
			empty = append(empty, t)
		}
	}
	s.unused = empty
	waiting, s.waiting = s.waiting, nil
	return full, waiting
}

// swept gives slots back: emptied, or as they were.
func (s *slots) swept(full, waiting []*slot, emptied bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.opened {
		return
	}
	if !emptied {
		s.unused = append(s.unused, full...)
		s.waiting = append(s.waiting, waiting...)
		return
	}
	for _, t := range slices.Concat(full, waiting) {
		t.full, t.since = false, ""
		if s.has(t) {
			s.unused = append(s.unused, t)
		} else {
			s.all = slices.DeleteFunc(s.all, func(other *slot) bool { return other == t })
		}
	}
}

// Unsettled returns how many intents nobody ended: changes whose records could
// not be written when they were made, and are not written yet.
func (l *Log) Unsettled() int {
	l.slots.mu.Lock()
	defer l.slots.mu.Unlock()
	return len(l.slots.waiting)
}

// Sweep appends the records of changes that could not be written when they were
// made, or before the process began, once that is possible, and removes the notes
// that nobody needs any more.
func (l *Log) Sweep(ctx context.Context) error {
	l.keeping.Lock()
	defer l.keeping.Unlock()
	return l.sweep(ctx)
}

// sweep is Sweep. The caller holds keeping.
func (l *Log) sweep(ctx context.Context) (err error) {
	if l.vault == nil || l.failure.Load() != nil {
		return nil
	}
	full, waiting := l.slots.toSweep()
	if len(full)+len(waiting) == 0 {
		return nil
	}
	defer func() { l.slots.swept(full, waiting, err == nil) }()
	if len(waiting) > 0 {
		notes, err := l.vault.Notes(ctx)
		if err != nil {
			return fmt.Errorf("audit: reading the notes of changes: %w", err)
		}
		notes = slices.DeleteFunc(notes, func(n Note) bool {
			return !slices.ContainsFunc(waiting, func(t *slot) bool { return t.name == n.Slot })
		})
		if err := l.settleNotes(ctx, l.vault, notes); err != nil {
			return err
		}
	}
	names := make([]string, len(full))
	for i, t := range full {
		names[i] = t.name
	}
	for part := range slices.Chunk(names, maxEmpty) {
		if err := l.vault.Empty(ctx, part); err != nil {
			return fmt.Errorf("audit: removing the notes of changes: %w", err)
		}
	}
	return nil
}

func (l *Log) path(segment string) string { return filepath.Join(l.dir, segment) }
