package main

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// heapFloor is what the heap may grow to before it is collected, and laziest
// the highest GOGC that is set for it. While few keys are in use little lives,
// and at Go's default the collector would run dozens of times a second under
// load, for a tenth of the processor's time. Much higher values lose what they
// gain: the heap does not fit into the processor's caches any more.
const (
	heapFloor = 32 << 20
	laziest   = 400
)

// tuneGC keeps the garbage collector's pace to heapFloor until ctx ends: Go's
// default from half of it on. Whoever sets GOGC knows better.
func tuneGC(ctx context.Context) {
	if os.Getenv("GOGC") != "" {
		return
	}
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	tick := time.NewTicker(5 * time.Second)
	defer tick.Stop()
	now := 100
	for {
		metrics.Read(live)
		if p := gcPercent(live[0].Value.Uint64()); p != now {
			now = p
			debug.SetGCPercent(p)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// gcPercent returns GOGC for so many living bytes, in steps of 100.
func gcPercent(live uint64) int {
	times := int(heapFloor / max(live, 1))
	return min(max(times*100-100, 100), laziest)
}
