package keyring

import (
	"context"
	"slices"
	"sync"
)

// maxWaiting is how many callers of an account may wait for an RSA key pair to be
// made.
const maxWaiting = 64

// turns are who may do what takes long, a few at a time. Those who wait are let
// go on one of each account in turn, so that an account that wants many key
// pairs is in nobody's way but its own.
type turns struct {
	mu      sync.Mutex // guards what follows
	free    int        // how many more may go on; 0 if anybody waits
	waiting int
	queues  map[string][]chan struct{} // by account; none is empty
	order   []string                   // of the accounts in queues: whose turn is next
}

func newTurns(n int) *turns { return &turns{free: n, queues: make(map[string][]chan struct{})} }

// take waits for a turn, which is to be given back. ErrBusy means that too many
// of the account wait already.
func (t *turns) take(ctx context.Context, account string) error {
	t.mu.Lock()
	if t.free > 0 {
		t.free--
		t.mu.Unlock()
		return nil
	}
	queue := t.queues[account]
	if len(queue) >= maxWaiting {
		t.mu.Unlock()
		return ErrBusy
	}
	if len(queue) == 0 {
		t.order = append(t.order, account)
	}
	turn := make(chan struct{})
	t.queues[account] = append(queue, turn)
	t.waiting++
	t.mu.Unlock()
	select {
	case <-turn:
		return nil
	case <-ctx.Done():
		t.leave(account, turn)
		return ctx.Err()
	}
}

// leave takes who has given up out of the queue, or gives back the turn that has
// come meanwhile.
func (t *turns) leave(account string, turn chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	i := slices.Index(t.queues[account], turn)
	if i < 0 {
		t.giveLocked()
		return
	}
	t.waiting--
	t.queues[account] = slices.Delete(t.queues[account], i, i+1)
	if len(t.queues[account]) == 0 {
		delete(t.queues, account)
		t.order = slices.DeleteFunc(t.order, func(a string) bool { return a == account })
	}
}

// give gives a turn back.
func (t *turns) give() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.giveLocked()
}

func (t *turns) giveLocked() {
	if len(t.order) == 0 {
		t.free++
		return
	}
	account := t.order[0]
	t.order = slices.Delete(t.order, 0, 1)
	queue := t.queues[account]
	close(queue[0])
	t.waiting--
	if queue = slices.Delete(queue, 0, 1); len(queue) == 0 {
		delete(t.queues, account)
		return
	}
	t.queues[account] = queue
	t.order = append(t.order, account)
}
