package node

import (
	"context"
	"time"
)

// compactEvery is the default of Config.CompactEvery.
const compactEvery = 24 * time.Hour

// compactPause is how long to wait after a compaction that failed.
const compactPause = time.Hour

// compactions makes the store's file anew once a day, until ctx ends: so the
// sealed material of destroyed keys stays in it for a day at most.
func (n *Node) compactions(ctx context.Context) {
	if n.file == nil {
		return
	}
	tick := time.NewTicker(n.c.DestroyEvery)
	defer tick.Stop()
	var failed time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := n.c.Now()
		at, err := n.file.CompactedAt(ctx)
		// One in the future was made by a clock that was wrong.
		if err == nil && !now.Before(at) && now.Sub(at) < n.c.CompactEvery || !failed.IsZero() && time.Since(failed) < compactPause {
			continue
		}
		began := time.Now()
		if err == nil {
			err = n.file.Compact(ctx, now)
		}
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			failed = time.Now()
			n.log.Error("the store's file could not be compacted: it still holds the sealed material of keys destroyed since the last time",
				"error", err, "last", at, "again", compactPause)
		default:
			failed = time.Time{}
			n.log.Info("compacted the store's file", "took", time.Since(began).Round(time.Millisecond))
		}
	}
}
