package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"slices"
	"time"

	"github.com/keyreeve/keyreeve/internal/seal"
)

// A Head is how far a log has come.
type Head struct {
	Segment string // the newest that has a write
	Size    int64  // of the segment's writes
	Tag     Tag    // of the newest write
	Removed string // the newest segment that was removed; empty if none was
}

// A Note is what a [Vault] has of an intent.
type Note struct {
	Slot string
	Text []byte // where the log had come to, and lines as the log has them, one record each
	Err  error  // why it could not be read; it has no text then
}

// A Vault is where a log keeps what must not be lost together with it, nor be
// changed by whoever can change it: sealed, in the store that also has what the
// records tell of.
type Vault interface {
	// Head returns what was kept last; false if nothing was.
	Head(ctx context.Context) (Head, bool, error)
	// KeepHead keeps h instead.
	KeepHead(ctx context.Context, h Head) error
	// Notes returns the notes of all intents.
	Notes(ctx context.Context) ([]Note, error)
	// Empty removes the notes of these slots. Nobody uses them meanwhile.
	Empty(ctx context.Context, slots []string) error
}

// A Problem is something that is wrong with a log.
type Problem struct {
	Segment string // where; empty if it is in none
	Offset  int64  // in the segment
	Text    string
}

func (p Problem) String() string {
	if p.Segment == "" {
		return p.Text
	}
	return fmt.Sprintf("%s at %d: %s", p.Segment, p.Offset, p.Text)
}

// maxProblems bounds what a log remembers of what is wrong with it.
const maxProblems = 100

// Damage returns what was found to be wrong with the log, at most a hundred of
// it, oldest first.
func (l *Log) Damage() []Problem {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.problems)
}

// damaged remembers and logs a problem, once.
func (l *Log) damaged(p Problem) {
	l.mu.Lock()
	known := slices.Contains(l.problems, p) || len(l.problems) >= maxProblems
	if !known {
		l.problems = append(l.problems, p)
	}
	l.mu.Unlock()
	if !known {
		l.logger.Error("the audit journal is damaged", "segment", p.Segment, "offset", p.Offset, "problem", p.Text)
	}
}

// Protect gives the log what seals the keys of its segments. The next record
// begins a segment with a key.
func (l *Log) Protect(box Box) {
	l.box.Store(&box)
	if err := l.Cut(); err != nil {
		l.logger.Warn("closing a segment of the audit log", "error", err) // Err says it, too
	}
}

// Attach gives the log its vault, and finds out what happened since it was last
// attached: whether the vault's head is still in the log, and whether there are
// changes whose records are not, which it then appends; or leaves to [Log.Keep] if
// it can't yet, or if there is much to look through.
// From there on [Log.Intend] makes intents. First says that there has never been a vault.
//
// What is wrong with the log is in [Log.Damage] then, and is no error: the log
// goes on. After an error it is not attached.
func (l *Log) Attach(ctx context.Context, v Vault, first bool) error {
	if l.memory != nil {
		return nil
	}
	l.keeping.Lock()
	defer l.keeping.Unlock()
	head, known, err := v.Head(ctx)
	if err != nil {
		return fmt.Errorf("audit: reading the log's head: %w", err)
	}
	found, err := l.compare(head, known, first)
	if err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	for _, p := range found {
		l.damaged(p)
	}
	if !known && first {
		head = l.headWith("")
		if err := v.KeepHead(ctx, head); err != nil {
			return fmt.Errorf("audit: keeping the log's head: %w", err)
		}
	}
	notes, err := v.Notes(ctx)
	if err != nil {
		return fmt.Errorf("audit: reading the notes of changes: %w", err)
	}
	l.removed, l.kept, l.vault, l.attached = head.Removed, head, v, true
	l.slots.open()
	switch _, size, err := l.following(l.before(notes)); {
	case len(notes) == 0:
	case err == nil && size > l.awaited:
		l.logger.Info("the records of changes are looked for while the node serves", "bytes", size)
		l.slots.adopt(notes)
	default:
		if err := l.settleNotes(ctx, v, notes); err != nil {
			l.logger.Error("the records of changes that stand cannot be written yet", "error", err)
			l.slots.adopt(notes)
		}
	}
	return nil
}

// maxAwaited is how many bytes of the log [Log.Attach] looks through for records
// of changes, a few milliseconds of work; through more of them goes [Log.Keep],
// so that no log makes a start take long.
const maxAwaited = 4 << 20

// before returns a place in the log that the records of all of the notes come
// after: the beginning, if what some note tells is not there any more, as after a
// failure of the machine.
func (l *Log) before(notes []Note) (from Head) {
	first := true
	for _, n := range notes {
		if n.Err != nil {
			continue
		}
		at := sinceOf(n.Text)
		if c := compareSegments(at.Segment, from.Segment); first || c < 0 || c == 0 && at.Size < from.Size {
			from, first = at, false
		}
	}
	if tag, ok := tagAt(l.path(from.Segment), from.Size); !ok || tag != from.Tag {
		return Head{}
	}
	return from
}

// Examine verifies the segments that were there when it was called, one after
// the other, as [Log.VerifySegment] does, until ctx ends.
func (l *Log) Examine(ctx context.Context) error {
	if l.memory != nil {
		return nil
	}
	list, err := segments(l.dir)
	if err != nil {
		return fmt.Errorf("verifying the audit journal: %w", err)
	}
	for _, name := range list {
		if ctx.Err() != nil {
			return nil
		}
		if _, err := l.VerifySegment(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// compare returns how the log differs from what the vault says of it.
func (l *Log) compare(head Head, known, first bool) (found []Problem, err error) {
	names, err := segments(l.dir)
	if err != nil {
		return nil, err
	}
	wrong := func(segment string, at int64, text string) {
		found = append(found, Problem{Segment: segment, Offset: at, Text: text})
	}
	switch {
	case !known && first:
	case !known:
		wrong("", 0, "the store does not know how far the journal had come")
	case head.Segment == "" || compareSegments(head.Segment, head.Removed) <= 0:
	case !slices.Contains(names, head.Segment):
		wrong(head.Segment, 0, "the segment is missing")
	default:
		if tag, ok := tagAt(l.path(head.Segment), head.Size); !ok || tag != head.Tag {
			wrong(head.Segment, head.Size, "the journal does not have the records that it had")
		}
	}
	return append(found, l.links(names, head.Removed)...), nil
}

// links returns where the headers of segments do not follow each other. The one
// that was removed last may be there or not.
func (l *Log) links(names []string, removed string) (found []Problem) {
	previous := ""
	for i, name := range names {
		h, err := readHeader(l.path(name))
		if errors.Is(err, errEmpty) {
			continue // its first write failed, and what was left could not be removed
		}
		if compareSegments(name, removed) < 0 {
			found = append(found, Problem{Segment: name, Text: "it was removed, and is here again"})
			continue
		}
		switch {
		case err != nil:
			found = append(found, Problem{Segment: name, Text: err.Error()})
		case h.Segment != name:
			found = append(found, Problem{Segment: name, Text: "it is the segment " + h.Segment})
		case previous == "" && (h.Previous == removed || h.Previous == "" && removed == "" || name == removed):
		case i == 0 || previous == "":
			found = append(found, Problem{Segment: name, Text: "the segment before it is missing: " + h.Previous})
		case h.Previous != previous:
			found = append(found, Problem{Segment: name, Text: "it goes on from " + h.Previous + ", not from " + previous})
		default:
			if tag, ok := tagAt(l.path(previous), h.PreviousSize); h.PreviousTag != nil && (!ok || tag != h.previousTag()) {
				found = append(found, Problem{Segment: previous, Offset: h.PreviousSize, Text: "the segment after it goes on from a write that is not here"})
			}
		}
		previous = name
	}
	return found
}

// settleNotes appends the records of notes that the log does not have, waits for
// the disk, and empties the slots of the notes.
func (l *Log) settleNotes(ctx context.Context, v Vault, notes []Note) error {
	if len(notes) == 0 {
		return nil
	}
	want := map[string][]byte{}
	emptied := make([]string, 0, len(notes))
	for _, n := range notes {
		emptied = append(emptied, n.Slot)
		if n.Err != nil {
			l.damaged(Problem{Text: fmt.Sprintf("the note of a change cannot be read, so its record may be missing: %v", n.Err)})
			continue
		}
		before := len(want)
		maps.Insert(want, recordsOf(n.Text))
		if len(want) == before {
			l.damaged(Problem{Text: "the note of a change has no record in it, so that may be missing"})
		}
	}
	if err := l.missing(want, l.before(notes)); err != nil {
		return fmt.Errorf("audit: looking for the records of changes: %w", err)
	}
	// In the order of the notes, and not of the map.
	for _, n := range notes {
		for id, record := range recordsOf(n.Text) {
			if _, ok := want[id]; !ok {
				continue
			}
			at, ok := eventTime(record)
			if !ok {
				at = l.now()
			}
			if err := l.add(slices.Grow(slices.Clone(record), closingSize), at.Unix(), true); err != nil {
				return fmt.Errorf("audit: recording a change that stands: %w", err)
			}
			delete(want, id)
			l.logger.Warn("a change was made whose record was missing; it is on record now", "event_id", id)
		}
	}
	if err := l.sync(); err != nil {
		return err
	}
	for part := range slices.Chunk(emptied, maxEmpty) {
		if err := v.Empty(ctx, part); err != nil {
			return fmt.Errorf("audit: removing the notes of changes: %w", err)
		}
	}
	return nil
}

// maxEmpty is how many notes are removed at once.
const maxEmpty = 100

// recordsOf iterates over the lines of a note, with their newlines, by event id.
func recordsOf(text []byte) iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		for line := range bytes.Lines(text) {
			if id := eventID(line); id != "" && !yield(id, line) {
				return
			}
		}
	}
}

// sync waits until all that is written is on the disk.
func (l *Log) sync() error {
	l.mu.Lock()
	pos, epoch := l.written, l.epoch
	l.mu.Unlock()
	if err := l.failure.Load(); err != nil {
		return *err
	}
	return l.settle(pos, epoch)
}

// keepRemoved keeps in the vault that a segment was removed. The caller holds
// keeping.
func (l *Log) keepRemoved(name string) error {
	switch {
	case l.vault == nil && l.attached:
		return ErrNeeded // nobody would know that it was not lost
	case l.vault == nil:
		return nil
	}
	if err := l.sync(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), vaultTimeout)
	defer cancel()
	if compareSegments(name, l.removed) < 0 {
		name = l.removed // somebody has put an old one in
	}
	h := l.headWith(name)
	if err := l.vault.KeepHead(ctx, h); err != nil {
		return err
	}
	l.removed, l.kept = name, h
	return nil
}

// headWith returns how far the log has come on the disk.
func (l *Log) headWith(removed string) Head {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := l.durable
	h.Removed = removed
	return h
}

const (
	vaultTimeout = 10 * time.Second
	// keepEvery is how often the vault is told how far the log has come: what is
	// cut off from the end of the log after that is not missed.
	keepEvery = 2 * time.Second
	// sweepEvery is how often notes are removed that have their records.
	sweepEvery = 30 * time.Second
)

// Keep tells the vault how far the log has come, and removes notes that have
// their records, until ctx ends.
func (l *Log) Keep(ctx context.Context) {
	if l.memory != nil {
		return
	}
	head, notes := time.NewTicker(keepEvery), time.NewTicker(sweepEvery)
	defer head.Stop()
	defer notes.Stop()
	failed := false
	for first := true; ; first = false {
		var err error
		if first {
			err = l.Sweep(ctx) // what Attach has left
		} else {
			select {
			case <-ctx.Done():
				return
			case <-head.C:
				err = l.keepHead(ctx)
			case <-notes.C:
				err = l.Sweep(ctx)
			}
		}
		if err != nil && !failed && ctx.Err() == nil {
			l.logger.Error("the store does not know how far the audit journal has come; what is missing from its end would not be noticed", "error", err)
		}
		failed = err != nil
	}
}

// keepHead is a turn of Keep.
func (l *Log) keepHead(ctx context.Context) error {
	l.keeping.Lock()
	defer l.keeping.Unlock()
	h := l.headWith(l.removed)
	if l.vault == nil || h == l.kept {
		return nil
	}
	if err := l.vault.KeepHead(ctx, h); err != nil {
		return err
	}
	l.kept = h
	return nil
}

// Detach tells the vault once more how far the log has come, if there is one, and
// forgets it. Keep must have returned. Calls that are still under way go on making
// notes, as long as there is somewhere to put them: until Unprotect.
func (l *Log) Detach() {
	if l.memory != nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), vaultTimeout)
	defer cancel()
	err := errors.Join(l.sync(), l.Sweep(ctx), l.keepHead(ctx))
	l.keeping.Lock()
	l.vault = nil
	l.keeping.Unlock()
	if err != nil && !errors.Is(err, seal.ErrSealed) {
		l.logger.Warn("the audit journal could not be left in order; it is looked through at the next start", "error", err)
	}
}

// Unprotect makes the log forget what Protect gave it, and the key of the segment
// that is open, which it closes. From there on there are no intents, since nothing
// can be changed: what the vault was in must be closed.
func (l *Log) Unprotect() {
	l.slots.close()
	l.box.Store(nil)
	if err := l.Cut(); err != nil {
		l.logger.Warn("closing a segment of the audit log", "error", err) // Err says it, too
	}
}
