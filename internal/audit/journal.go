package audit

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"time"
)

// ErrNeeded is returned by [Log.Remove] for a segment that cannot be spared
// yet. It is to be tried again later.
var ErrNeeded = errors.New("audit: segment is still needed")

// A Segment is one file of a log.
type Segment struct {
	Name string // such as 2026-11-21-000001.jsonl, in [Log.Dir]
	Size int64  // bytes of it that are acknowledged
	Open bool   // it still grows
	// First and Last are the times of its earliest and its latest record, to
	// the second; zero if it has none.
	First, Last time.Time
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
// memory.
func (l *Log) Segments() ([]Segment, error) {
	if l.memory != nil {
		return nil, nil
	}
	names, err := segments(l.dir)
	if err != nil {
		return nil, fmt.Errorf("listing audit segments: %w", err)
	}
	list := make([]Segment, 0, len(names))
	for i, name := range names {
		s := Segment{Name: name, Open: i == len(names)-1}
		path := filepath.Join(l.dir, name)
		info, err := os.Stat(path)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("listing audit segments: %w", err)
		}
		s.Size = info.Size()
		for e, err := range Entries(path, 0) {
			if err != nil {
				continue
			}
			at, ok := eventTime(e.Record)
			if !ok {
				continue
			}
			if s.First.IsZero() || at.Before(s.First) {
				s.First = at
			}
			if at.After(s.Last) {
				s.Last = at
			}
		}
		list = append(list, s)
	}
	return list, nil
}

// eventTime returns the time of a record. It is looked for as text: what a
// record says elsewhere is escaped, and comes after it.
func eventTime(record []byte) (time.Time, bool) {
	const member = `"eventTime":"`
	i := bytes.Index(record, []byte(member))
	if i < 0 || len(record) < i+len(member)+len("2006-01-02T15:04:05Z") {
		return time.Time{}, false
	}
	at, err := time.Parse(time.RFC3339, string(record[i+len(member):][:len("2006-01-02T15:04:05Z")]))
	return at, err == nil
}

// Remove removes a segment, which must be closed, and the oldest: [ErrNeeded] if
// it is not, or if it must stay for another while.
func (l *Log) Remove(name string) error {
	names, err := segments(l.dir)
	if err != nil {
		return fmt.Errorf("removing an audit segment: %w", err)
	}
	if len(names) < 2 || names[0] != name {
		return ErrNeeded
	}
	if err := os.Remove(filepath.Join(l.dir, name)); err != nil {
		return fmt.Errorf("removing an audit segment: %w", err)
	}
	return nil
}

// Entries iterates over the records of the segment at path, from offset from
// on, which is 0 or an Entry's Next. It may be used while a [Log] appends:
// records that are not acknowledged are not yielded, so it ends where the log
// has come to, and can be called again with the last Next. What is not a record
// is yielded as an error that says where it is, and the iteration goes on.
func Entries(path string, from int64) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		f, err := os.Open(path)
		if err != nil {
			yield(Entry{}, fmt.Errorf("reading audit segment: %w", err))
			return
		}
		defer func() { _ = f.Close() }() // it was only read
		if _, err := f.Seek(from, io.SeekStart); err != nil {
			yield(Entry{}, fmt.Errorf("reading audit segment: %w", err))
			return
		}
		r := bufio.NewReaderSize(f, 64<<10)
		for offset := from; ; {
			line, err := r.ReadBytes('\n')
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				yield(Entry{}, fmt.Errorf("reading audit segment: %w", err))
				return
			}
			next := offset + int64(len(line))
			if !yield(Entry{Record: line[:len(line)-1], Offset: offset, Next: next}, nil) {
				return
			}
			offset = next
		}
	}
}
