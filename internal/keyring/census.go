package keyring

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/keyreeve/keyreeve/internal/record"
)

// census counts the keys of each account and Region, for a limit on them. It
// counts the records once, and then what this node makes and destroys. At the
// limit it counts again from time to time, since other nodes may have destroyed
// some.
type census struct {
	records *record.Store
	limit   int

	mu     sync.Mutex // guards counts, and is held while records are counted
	counts map[scope]*count
}

type scope struct{ account, region string }

type count struct {
	there   int       // records
	pending int       // keys that are being made
	counted time.Time // when records were counted last
}

// recount is how long the census goes by what it knows before it counts again
// at the limit.
const recount = 30 * time.Second

func newCensus(records *record.Store, limit int) *census {
	return &census{records: records, limit: limit, counts: make(map[scope]*count)}
}

// enter makes room for a key that is about to be made, or returns ErrLimit.
// After nil, made must be called.
func (c *census) enter(ctx context.Context, account, region string, now time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.counts[scope{account, region}]
	if n == nil || n.there+n.pending >= c.limit && now.Sub(n.counted) >= recount {
		there, err := c.count(ctx, account, region)
		if err != nil {
			return err
		}
		if n == nil {
			n = new(count)
			c.counts[scope{account, region}] = n
		}
		n.there, n.counted = there, now
	}
	if n.there+n.pending >= c.limit {
		return ErrLimit
	}
	n.pending++
	return nil
}

// made notes how the making of a key ended.
func (c *census) made(account, region string, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.counts[scope{account, region}]
	n.pending--
	if ok {
		n.there++
	}
}

// destroyed notes that a key is gone.
func (c *census) destroyed(account, region string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := c.counts[scope{account, region}]; n != nil && n.there > 0 {
		n.there--
	}
}

// count counts the records, up to the limit. What they say is of no account.
func (c *census) count(ctx context.Context, account, region string) (int, error) {
	prefix := keyPrefix + account + "/" + region + "/"
	n, after := 0, ""
	for n < c.limit {
		keys, err := c.records.Keys(ctx, prefix, after, 1000)
		if err != nil {
			return 0, fmt.Errorf("counting keys: %w", err)
		}
		n += len(keys)
		if len(keys) < 1000 {
			break
		}
		after = keys[len(keys)-1]
	}
	return n, nil
}
