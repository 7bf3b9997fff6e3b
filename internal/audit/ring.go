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

// records iterates over a copy, so that the one who iterates may append.
func (r *ring) records() iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		r.mu.Lock()
		have := min(r.added, len(r.slots))
		lines := make([][]byte, 0, have)
		for i := r.added - have; i < r.added; i++ {
			lines = append(lines, slices.Clone(r.slots[i%len(r.slots)]))
		}
		r.mu.Unlock()
		for _, line := range lines {
			if !yield(line, nil) {
				return
			}
		}
	}
}
