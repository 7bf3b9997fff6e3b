package audit

import (
	"bytes"
	"iter"
	"slices"
	"sync"
)

// A ring keeps the newest records in memory.
type ring struct {
	mu     sync.Mutex
	closed bool
	slots  [][]byte // used again when their turn comes round
	added  int      // so the next one's slot is added % len(slots)
}

func newRing(size int) *ring { return &ring{slots: make([][]byte, max(size, 1))} }

// add adds whole lines.
func (r *ring) add(lines []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return ErrClosed
	}
	for line := range bytes.Lines(lines) {
		slot := &r.slots[r.added%len(r.slots)]
		*slot = append((*slot)[:0], line[:len(line)-1]...)
		r.added++
	}
	return nil
}

func (r *ring) close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return ErrClosed
	}
	r.closed = true
	return nil
}

// entries iterates over a copy, so that the one who iterates may append.
func (r *ring) entries(from int64) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		r.mu.Lock()
		have := min(r.added, len(r.slots))
		first := max(from, int64(r.added-have))
		var lines [][]byte
		for i := first; i < int64(r.added); i++ {
			lines = append(lines, slices.Clone(r.slots[i%int64(len(r.slots))]))
		}
		r.mu.Unlock()
		for i, line := range lines {
			at := first + int64(i)
			if !yield(Entry{Record: line, Offset: at, Next: at + 1}, nil) {
				return
			}
		}
	}
}

// records iterates over a copy, too.
func (r *ring) records() iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for e := range r.entries(0) {
			if !yield(e.Record, nil) {
				return
			}
		}
	}
}

// Recent iterates over the records of a log in memory, oldest first, from the
// one with a number on: what stands in an [Entry] as its Offset counts all
// records that were ever appended. Those that the log has forgotten are left
// out. A log in a directory has none.
func (l *Log) Recent(from int64) iter.Seq2[Entry, error] {
	if l.memory == nil {
		return func(func(Entry, error) bool) {}
	}
	return l.memory.entries(from)
}
