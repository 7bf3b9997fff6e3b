package server

import (
	"context"
	"sync/atomic"
	"time"
)

// A gate lets in so many at once; more wait. While there is room it takes no
// lock.
type gate struct {
	max     int64
	most    int64 // waiting at once
	inside  atomic.Int64
	waiting atomic.Int64
	wake    chan struct{} // holds a token if somebody should look again
}

func (g *gate) init(inside, waiting int) {
	g.max, g.most = int64(inside), int64(waiting)
	g.wake = make(chan struct{}, 1)
}

// enter waits for room. It returns false if ctx ends first, or if too many wait
// already.
func (g *gate) enter(ctx context.Context) bool {
	if g.try() {
		return true
	}
	// Announced before looking again: who leaves after that look sees it.
	defer g.waiting.Add(-1)
	if g.waiting.Add(1) > g.most {
		return false
	}
	for !g.try() {
		select {
		case <-g.wake:
		case <-ctx.Done():
			return false
		}
	}
	// One token may stand for several who left.
	if g.inside.Load() < g.max {
		g.signal()
	}
	return true
}

// leave makes room again.
func (g *gate) leave() {
	g.inside.Add(-1)
	if g.waiting.Load() > 0 {
		g.signal()
	}
}

func (g *gate) try() bool {
	for {
		n := g.inside.Load()
		if n >= g.max {
			return false
		}
		if g.inside.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

func (g *gate) signal() {
	select {
	case g.wake <- struct{}{}:
	default:
	}
}

// drained waits until nobody is inside, or ctx ends.
func (g *gate) drained(ctx context.Context) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for g.inside.Load() > 0 {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// An alarm rings at most alarmRate times a second, and counts what it missed.
type alarm struct {
	second atomic.Int64 // Unix time
	rung   atomic.Int64 // in that second
	missed atomic.Int64 // since it last rang
}

const alarmRate = 10

// ring reports whether to log what happened now, and how much went unlogged
// since the last time. Around the end of a second it may ring once too often.
func (a *alarm) ring(now time.Time) (missed int64, ok bool) {
	second, last := now.Unix(), a.second.Load()
	// Not for the second before, which others may still be in; further back,
	// the clock was set.
	if (second > last || second < last-1) && a.second.CompareAndSwap(last, second) {
		a.rung.Store(0)
	}
	if a.rung.Add(1) > alarmRate {
		a.missed.Add(1)
		return 0, false
	}
	return a.missed.Swap(0), true
}
