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

	mu     sync.Mutex // guards counts, and is held while records are counted
	counts map[string]*count
}

type count struct {
	there   int       // records
	pending int       // those that are being made
	counted time.Time // when records were counted last
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
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.counts[prefix]
	if n == nil || n.there+n.pending >= c.limit && now.Sub(n.counted) >= recount {
		there, err := c.count(ctx, prefix)
		if err != nil {
			return err
		}
		if n == nil {
			c.forget()
			n = new(count)
			c.counts[prefix] = n
		}
		n.there, n.counted = there, now
	}
	if n.there+n.pending >= c.limit {
		return ErrLimit
	}
	n.pending++
	return nil
}

// forget makes room for another count.
func (c *census) forget() {
	if len(c.counts) < maxCounts {
		return
	}
	for prefix, n := range c.counts {
		if n.pending == 0 {
			delete(c.counts, prefix)
		}
	}
}

// made notes how the making of a record ended.
func (c *census) made(prefix string, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.counts[prefix]
	n.pending--
	if ok {
		n.there++
	}
}

// destroyed notes that a record is gone.
func (c *census) destroyed(prefix string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := c.counts[prefix]; n != nil && n.there > 0 {
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
