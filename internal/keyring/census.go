package keyring

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/keyreeve/keyreeve/internal/record"
)

// census counts the records below prefixes, for a limit on them: the keys of an
// account and Region, the grants of a key. It counts the records once, and then
// what this node makes and destroys. At the limit it counts again from time to
// time, since other nodes may have destroyed some.
type census struct {
	records *record.Store
	limit   int

	mu     sync.Mutex // guards counts
	counts map[string]*count
}

// A count is what is known of one prefix. It is locked while records are
// counted: who waits for that would be a caller of the same account.
type count struct {
	users int // that have it, for the census's lock

	mu      sync.Mutex // guards what follows
	there   int        // records
	pending int        // those that are being made
	counted time.Time  // when records were counted last; zero if they were not
}

// maxCounts is how many prefixes a census knows about at once. One that it has
// forgotten is counted anew.
const maxCounts = 1 << 14

// recount is how long the census goes by what it knows before it counts again
// at the limit.
const recount = 30 * time.Second

func newCensus(records *record.Store, limit int) *census {
	return &census{records: records, limit: limit, counts: make(map[string]*count)}
}

// enter makes room for a record that is about to be made, or returns ErrLimit.
// After nil, made must be called.
func (c *census) enter(ctx context.Context, prefix string, now time.Time) error {
	n := c.use(prefix)
	err := c.room(ctx, prefix, n, now)
	if err != nil {
		c.leave(n)
	}
	return err
}

// room makes room for a record in n.
func (c *census) room(ctx context.Context, prefix string, n *count, now time.Time) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.counted.IsZero() || n.there+n.pending >= c.limit && now.Sub(n.counted) >= recount {
		there, err := c.count(ctx, prefix)
		if err != nil {
			return err
		}
		n.there, n.counted = there, now
	}
	if n.there+n.pending >= c.limit {
		return ErrLimit
	}
	n.pending++
	return nil
}

// use returns what is known of a prefix, which is not forgotten before leave.
func (c *census) use(prefix string) *count {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.counts[prefix]
	if n == nil {
		c.forget()
		n = new(count)
		c.counts[prefix] = n
	}
	n.users++
	return n
}

func (c *census) leave(n *count) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n.users--
}

// forget makes room for another count.
func (c *census) forget() {
	if len(c.counts) < maxCounts {
		return
	}
	for prefix, n := range c.counts {
		if n.users == 0 {
			delete(c.counts, prefix)
		}
	}
}

// made notes how the making of a record ended.
func (c *census) made(prefix string, ok bool) {
	c.mu.Lock()
	n := c.counts[prefix] // there since enter
	c.mu.Unlock()
	n.mu.Lock()
	n.pending--
	if ok {
		n.there++
	}
	n.mu.Unlock()
	c.leave(n)
}

// destroyed notes that a record is gone.
func (c *census) destroyed(prefix string) {
	c.mu.Lock()
	n := c.counts[prefix]
	c.mu.Unlock()
	if n == nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.there > 0 {
		n.there--
	}
}

// count counts the records, up to the limit. What they say is of no account.
func (c *census) count(ctx context.Context, prefix string) (int, error) {
	n, after := 0, ""
	for n < c.limit {
		keys, err := c.records.Keys(ctx, prefix, after, 1000)
		if err != nil {
			return 0, fmt.Errorf("counting %s: %w", prefix, err)
		}
		n += len(keys)
		if len(keys) < 1000 {
			break
		}
		after = keys[len(keys)-1]
	}
	return n, nil
}
