package audit

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// ErrNeeded is returned by [Log.Remove] for a segment that cannot be spared
// yet. It is to be tried again later.
var ErrNeeded = errors.New("audit: segment is still needed")

// A Segment is one file of a log.
type Segment struct {
	Name string // such as 2026-11-21-000001.jsonl, in [Log.Dir]
	// Number is larger for a later segment, and never changes: the day, as days
	// since 1970, in the high bits, and its sequence within the day in the low 31.
	Number uint64
	Size   int64 // bytes
	Open   bool  // it still grows
	// First is the time of its first record, to the second: none in it is much
	// older. Zero if it has none.
	First time.Time
}

// An Entry is a record in a segment.
type Entry struct {
	Record []byte // JSON, without the newline; valid until the next entry
	Offset int64  // where it begins in the segment
	Next   int64  // where to go on after it
}

// Dir returns the directory of the log; "" for one in memory.
func (l *Log) Dir() string { return l.dir }

// Segments returns the segments of the log, oldest first; none for a log in
// memory. The first time, the beginnings of those of earlier runs are read.
func (l *Log) Segments() ([]Segment, error) {
	if l.memory != nil {
		return nil, nil
	}
	names, err := segments(l.dir)
	if err != nil {
		return nil, fmt.Errorf("listing audit segments: %w", err)
	}
	list := make([]Segment, 0, len(names))
	for _, name := range names {
		s := Segment{Name: name, Number: segmentNumber(name)}
		l.mu.Lock()
		if name == l.beginning {
			// It is none yet, and not a closed one: whoever delivers those
			// would take it for one without records.
			l.mu.Unlock()
			continue
		}
		s.Open = l.file != nil && l.at.Segment == name
		first, known := l.firsts[name]
		if s.Open {
			first, known, s.Size = l.first, true, l.at.Size
		}
		l.mu.Unlock()
		path := filepath.Join(l.dir, name)
		if !s.Open {
			info, err := os.Stat(path)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return nil, fmt.Errorf("listing audit segments: %w", err)
			}
			s.Size = info.Size()
		}
		if !known {
			first = firstTime(path)
			l.mu.Lock()
			l.firsts[name] = first
			l.mu.Unlock()
		}
		if first != 0 {
			s.First = time.Unix(first, 0).UTC()
		}
		list = append(list, s)
	}
	return list, nil
}

// maxBeginning is how much of a segment is read for the time of its first record,
// in bytes: more than one record, in case that there is something else.
const maxBeginning = 4 * maxLine

// firstTime reads the beginning of a segment for the time of its first record, in
// Unix seconds; 0 if there is none.
func firstTime(path string) int64 {
	for e, err := range Entries(path, 0) {
		if e.Offset > maxBeginning {
			break
		}
		if err != nil {
			continue // damage is for Verify to tell
		}
		if at, ok := eventTime(e.Record); ok {
			return at.Unix()
		}
	}
	return 0
}

// eventTime returns the time of a record. It is looked for as text: inside of
// what a record quotes, its quotes are escaped.
func eventTime(record []byte) (time.Time, bool) {
	const member, size = `"eventTime":"`, len("2006-01-02T15:04:05Z")
	i := bytes.Index(record, []byte(member))
	if i < 0 || len(record) < i+len(member)+size {
		return time.Time{}, false
	}
	at, err := time.Parse(time.RFC3339, string(record[i+len(member):][:size]))
	return at, err == nil
}

// eventID returns the id of a record. It is the last member of its name:
// requestParameters, which may have any, come before it.
func eventID(record []byte) string {
	const member, size = `"eventID":"`, len("00000000-0000-0000-0000-000000000000")
	i := bytes.LastIndex(record, []byte(member))
	if i < 0 || len(record) < i+len(member)+size {
		return ""
	}
	return string(record[i+len(member):][:size])
}

// Cut closes the segment that is open, if any: the next record begins a new one.
func (l *Log) Cut() error {
	if l.memory != nil {
		return nil
	}
	l.mu.Lock()
	if l.file == nil || l.closed {
		l.mu.Unlock()
		return nil
	}
	l.cut.Store(true)
	for l.cut.Load() && l.writing {
		l.idle.Wait() // until a writer has begun a new one, or nobody writes
	}
	if !l.cut.Load() || l.closed || l.file == nil || l.failure.Load() != nil {
		l.mu.Unlock()
		return nil // a log that fails begins a new one once it works again
	}
	l.writing = true
	l.mu.Unlock()
	err := l.finish(nil, Head{})
	l.chain = newChain(nil, l.chain.tag) // without its key
	l.mu.Lock()
	l.passOn(nil, 0, nil)
	l.mu.Unlock()
	if err != nil {
		return fmt.Errorf("closing an audit segment: %w", err)
	}
	return nil
}

// Remove removes a segment, which must be closed and the oldest: [ErrNeeded] if
// it is not, or if it must stay for a while, because a change may still have to
// be looked for in it. The newest of all stays, closed or not, since the next is
// named after it, also after a restart: no name is used twice. What is kept in
// the vault tells from then on that it was removed, and was not lost. What is wrong
// with its place between those before and after it is in [Log.Damage] then.
func (l *Log) Remove(name string) error {
	if l.memory != nil {
		return ErrNeeded
	}
	l.keeping.Lock()
	defer l.keeping.Unlock()
	names, err := segments(l.dir)
	if err != nil {
		return fmt.Errorf("removing an audit segment: %w", err)
	}
	l.mu.Lock()
	open := l.file != nil && l.at.Segment == name
	l.mu.Unlock()
	if len(names) < 2 || names[0] != name || open {
		return ErrNeeded
	}
	if l.vault != nil {
		some := l.withNext(names)
		if some == nil {
			return ErrNeeded
		}
		// The last moment to see whether the one before it, or its end, is gone:
		// nobody else looks while the log is open.
		for _, p := range l.links(some, l.removed) {
			l.damaged(p)
		}
	}
	if l.slots.mayNeed(name) {
		ctx, cancel := context.WithTimeout(context.Background(), vaultTimeout)
		defer cancel()
		if err := l.sweep(ctx); err != nil {
			return fmt.Errorf("removing an audit segment: %w", err)
		}
		if l.slots.mayNeed(name) {
			return ErrNeeded
		}
	}
	if err := l.keepRemoved(name); errors.Is(err, ErrNeeded) {
		return err
	} else if err != nil {
		return fmt.Errorf("removing an audit segment: %w", err)
	}
	if err := l.disk.remove(filepath.Join(l.dir, name)); err != nil {
		return fmt.Errorf("removing an audit segment: %w", err)
	}
	l.mu.Lock()
	delete(l.firsts, name)
	l.mu.Unlock()
	return nil
}

// withNext returns the first of the names, and those that follow up to the first
// one that tells what it goes on from; nil if none does yet.
func (l *Log) withNext(names []string) []string {
	for i, name := range names[1:] {
		if _, err := readHeader(l.path(name)); !errors.Is(err, errEmpty) {
			return names[:i+2]
		}
	}
	return nil
}

// maxLine bounds a line of a segment; longer ones are none of ours.
const maxLine = maxRecord + 1<<10

// Entries iterates over the records of the segment at path, from offset from
// on, which is 0 or an Entry's Next. It may be used while a [Log] appends:
// records that are not acknowledged are not yielded, so it ends where the log
// has come to, and can be called again with the last Next. What is not a record
// is yielded as an error that says where it is, with an Entry that has its
// place, and the iteration goes on. It does not look at the tags: that is for
// [Log.Verify].
func Entries(path string, from int64) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		f, err := os.Open(path)
		if err != nil {
			yield(Entry{}, fmt.Errorf("reading audit segment: %w", err))
			return
		}
		defer func() { _ = f.Close() }() // it was only read
		info, err := f.Stat()
		if err != nil {
			yield(Entry{}, fmt.Errorf("reading audit segment: %w", err))
			return
		}
		end, _, err := covered(f, info.Size())
		if err != nil {
			yield(Entry{}, fmt.Errorf("reading audit segment: %w", err))
			return
		}
		if end == 0 && info.Size() > 0 {
			if first, err := firstLine(f); err != nil || len(first) > 0 && !bytes.HasPrefix(first, []byte(headerSet)) {
				yield(Entry{Next: info.Size()}, fmt.Errorf("reading audit segment: %s: %w", path, errors.Join(err, errHeader)))
				return
			}
		}
		lines := newLines(f, from, end)
		for {
			line, offset, err := lines.next()
			if errors.Is(err, io.EOF) {
				return
			}
			e := Entry{Offset: offset, Next: lines.offset}
			switch {
			case err != nil && !errors.Is(err, errLine):
				yield(e, fmt.Errorf("reading audit segment: %w", err))
				return
			case err == nil && isMark(line, offset):
				continue
			case err != nil || line[0] != '{' || !json.Valid(line):
				if !yield(e, fmt.Errorf("audit segment %s: at %d there is no record", path, offset)) {
					return
				}
				continue
			}
			e.Record = line[:len(line)-1]
			if !yield(e, nil) {
				return
			}
		}
	}
}

// isMark reports whether a line of a segment is its header, or a closing line.
func isMark(line []byte, offset int64) bool {
	if offset == 0 && bytes.HasPrefix(line, []byte(headerSet)) {
		return true
	}
	_, ok := parseClosing(line)
	return ok
}

var errLine = errors.New("line is too long")

// lines reads a part of a segment line by line.
type lines struct {
	r      *bufio.Reader
	offset int64  // of the next line
	long   []byte // a line that the reader's buffer does not hold
}

func newLines(r io.ReaderAt, from, end int64) *lines {
	return &lines{r: bufio.NewReaderSize(io.NewSectionReader(r, from, max(0, end-from)), 64<<10), offset: from}
}

// next returns the next line with its newline, valid until the next one, and
// where it begins. errLine is a line that is too long, and was skipped; io.EOF
// is the end, before which there is nothing but whole lines.
func (s *lines) next() (line []byte, offset int64, err error) {
	offset = s.offset
	s.long = s.long[:0]
	tooLong := false
	for {
		part, err := s.r.ReadSlice('\n')
		s.offset += int64(len(part))
		full := errors.Is(err, bufio.ErrBufferFull)
		if err != nil && !full {
			return nil, offset, err
		}
		if len(s.long)+len(part) > maxLine {
			tooLong, s.long = true, s.long[:0]
		}
		switch {
		case full && tooLong:
		case full:
			s.long = append(s.long, part...)
		case tooLong:
			return nil, offset, errLine
		case len(s.long) > 0:
			return append(s.long, part...), offset, nil
		default:
			return part, offset, nil
		}
	}
}

// Read iterates over the records in directory dir in the order in which they
// were appended, as JSON without the newline. What is yielded is valid until
// the next one. What is not a record is yielded as an error, and the iteration
// goes on; the torn rest of a failed write is skipped. It may be used while a
// [Log] appends.
func Read(dir string) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		names, err := segments(dir)
		if err != nil {
			yield(nil, fmt.Errorf("reading audit log: %w", err))
			return
		}
		for _, name := range names {
			for e, err := range Entries(filepath.Join(dir, name), 0) {
				if errors.Is(err, fs.ErrNotExist) {
					break // removed since it was listed
				}
				if !yield(e.Record, err) {
					return
				}
			}
		}
	}
}

// following returns the segments from a place in the log on, and how many bytes
// they have after it.
func (l *Log) following(from Head) (names []string, size int64, err error) {
	if names, err = segments(l.dir); err != nil {
		return nil, 0, err
	}
	names = slices.DeleteFunc(names, func(name string) bool { return compareSegments(name, from.Segment) < 0 })
	for _, name := range names {
		info, err := os.Stat(l.path(name))
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed since it was listed
		}
		if err != nil {
			return nil, 0, err
		}
		size += info.Size()
		if name == from.Segment {
			size -= min(from.Size, info.Size())
		}
	}
	return names, size, nil
}

// missing takes those of the records out of want, by event id, that are in the
// log after from. It looks at the newest segments first, and at no more than it
// takes.
func (l *Log) missing(want map[string][]byte, from Head) error {
	names, _, err := l.following(from)
	if err != nil {
		return err
	}
	for _, name := range slices.Backward(names) {
		if len(want) == 0 {
			break
		}
		at := int64(0)
		if name == from.Segment {
			at = from.Size
		}
		for e, err := range Entries(l.path(name), at) {
			if errors.Is(err, fs.ErrNotExist) {
				break
			}
			if err != nil {
				continue // damage is for Verify to tell
			}
			delete(want, eventID(e.Record))
		}
	}
	return nil
}
