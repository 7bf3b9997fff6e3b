package store

import (
	"context"
	"strings"
	"sync"
)

// What a hub keeps of the past, whichever is reached first.
const (
	historyBatches = 1 << 14
	historyBytes   = 8 << 20
)

// Hub fans the commits of an engine out to watchers within the process. It
// keeps the last commits in a ring; a watcher is a place in it, so that any
// number of watchers, however slow, cost one copy of the history and never
// hold up a commit. A watcher that falls out of the ring gets ErrCompacted.
//
// The zero value is not usable; see [NewHub].
type Hub struct {
	mu     sync.Mutex
	ring   []Batch       // the batches from first on, oldest first, from ring[start], wrapping
	start  int           // index of the oldest in ring
	n      int           // number of batches in ring
	bytes  int           // size of the keys in ring
	head   Rev           // of the newest batch published; the revisions in ring are head-n+1 … head
	closed bool          // no more will be published
	wake   chan struct{} // closed and replaced when something is published or the hub is closed
}

// NewHub returns the hub of an engine whose newest revision is head. Changes
// up to head are not kept.
func NewHub(head Rev) *Hub {
	return &Hub{head: head, wake: make(chan struct{})}
}

// Publish announces the commit of the next revision, which changed keys; the
// hub takes keys over. The engine calls it in the order of revisions, after the
// commit can be read and before it is acknowledged.
func (h *Hub) Publish(keys []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return
	}
	h.head++
	h.push(Batch{Rev: h.head, Keys: keys})
	close(h.wake)
	h.wake = make(chan struct{})
}

// push appends b to the ring, making room for it.
func (h *Hub) push(b Batch) {
	for h.n > 0 && (h.n == historyBatches || h.bytes > historyBytes) {
		old := &h.ring[h.start]
		h.bytes -= weight(old.Keys)
		*old = Batch{}
		h.start = (h.start + 1) % len(h.ring)
		h.n--
	}
	if h.n == len(h.ring) {
		grown := make([]Batch, max(64, 2*len(h.ring)))
		for i := range h.n {
			grown[i] = h.ring[(h.start+i)%len(h.ring)]
		}
		h.ring, h.start = grown, 0
	}
	h.ring[(h.start+h.n)%len(h.ring)] = b
	h.n++
	h.bytes += weight(b.Keys)
}

func weight(keys []string) int {
	w := 0
	for _, k := range keys {
		w += 16 + len(k)
	}
	return w
}

// Close ends all watches.
func (h *Hub) Close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return
	}
	h.closed = true
	h.ring, h.n, h.bytes = nil, 0, 0
	close(h.wake)
}

// Watch is [Store.Watch].
func (h *Hub) Watch(ctx context.Context, prefix string, from Rev) (<-chan Batch, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	h.mu.Lock()
	closed := h.closed
	h.mu.Unlock()
	if closed {
		return nil, ErrClosed
	}
	ch := make(chan Batch, 16)
	go h.follow(ctx, ch, prefix, max(from, 1))
	return ch, nil
}

// follow sends to ch what is published from revision next on, until the watch ends.
func (h *Hub) follow(ctx context.Context, ch chan<- Batch, prefix string, next Rev) {
	defer close(ch)
	var batches []Batch
	for {
		var wake <-chan struct{}
		var err error
		batches, wake, err = h.take(batches[:0], next)
		if err != nil {
			if err == ErrCompacted {
				send(ctx, ch, Batch{Rev: next, Err: err})
			}
			return
		}
		for _, b := range batches {
			next = b.Rev + 1
			keys := matching(b.Keys, prefix)
			if keys == nil {
				continue
			}
			if !send(ctx, ch, Batch{Rev: b.Rev, Keys: keys}) {
				return
			}
		}
		if len(batches) > 0 {
			continue
		}
		select {
		case <-wake:
		case <-ctx.Done():
			return
		}
	}
}

// take appends the batches from revision next on, at most 64, to dst. If there
// are none yet, wake is closed when it is time to look again.
func (h *Hub) take(dst []Batch, next Rev) (batches []Batch, wake <-chan struct{}, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return dst, nil, ErrClosed
	}
	first := h.head - Rev(h.n) + 1
	if next < first {
		return dst, nil, ErrCompacted
	}
	for r := next; r <= h.head && len(dst) < 64; r++ {
		dst = append(dst, h.ring[(h.start+int(r-first))%len(h.ring)])
	}
	return dst, h.wake, nil
}

func send(ctx context.Context, ch chan<- Batch, b Batch) bool {
	select {
	case ch <- b:
		return true
	case <-ctx.Done():
		return false
	}
}

// matching returns a copy of the keys that begin with prefix, nil if none does.
func matching(keys []string, prefix string) []string {
	n := 0
	for _, k := range keys {
		if strings.HasPrefix(k, prefix) {
			n++
		}
	}
	if n == 0 {
		return nil
	}
	out := make([]string, 0, n)
	for _, k := range keys {
		if strings.HasPrefix(k, prefix) {
			out = append(out, k)
		}
	}
	return out
}
