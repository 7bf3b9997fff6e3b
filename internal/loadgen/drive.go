package loadgen

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// A worker is what one connection saw in one run.
type worker struct {
	latencies histogram
	errors    int64
	firstErr  string
	fatal     error
}

// drive does one run: workers send until the duration is over or, with a
// count, until that many requests were sent.
func drive(ctx context.Context, c *Config, ep *endpoint, reqs []*request, sink *keySink) (*Result, error) {
	workers := make([]*worker, c.Load.Concurrency)
	conns := make([]*conn, c.Load.Concurrency)
	for i := range conns {
		workers[i] = &worker{}
		conns[i] = newConn(ep, &c.Load)
		// Connect before the clock starts; a server that is gone shows up as
		// errors in the run.
		_ = conns[i].dial()
		defer conns[i].close()
	}
	before, err := readUsage(&c.Target)
	if err != nil {
		return nil, err
	}
	start := time.Now()
	deadline := start.Add(c.Load.Duration)
	if c.Load.Count > 0 {
		deadline = start.Add(1000 * time.Hour)
	}
	var issued atomic.Int64 // requests begun, by all workers
	var wg sync.WaitGroup
	for i, w := range workers {
		wg.Go(func() { w.loop(ctx, &c.Load, conns[i], reqs, sink, i, start, deadline, &issued) })
	}
	wg.Wait()
	elapsed := time.Since(start)
	after, err := readUsage(&c.Target)
	if err != nil {
		return nil, err
	}
	r := &Result{
		Label: c.Label, Operation: c.Requests.Operation, Concurrency: c.Load.Concurrency, Keys: c.Requests.Keys,
		Seconds: elapsed.Seconds(), hasServer: len(c.Target.PIDs) > 0,
	}
	all := &histogram{}
	for i, w := range workers {
		if w.fatal != nil {
			return nil, w.fatal
		}
		all.merge(&w.latencies)
		r.Errors += w.errors
		r.Reconnects += max(0, conns[i].dials-1)
		if r.FirstError == "" {
			r.FirstError = w.firstErr
		}
	}
	r.fill(all, before, after)
	return r, nil
}

func (w *worker) loop(ctx context.Context, l *Load, cn *conn, reqs []*request, sink *keySink,
	index int, start, deadline time.Time, issued *atomic.Int64,
) {
	rng := rand.New(rand.NewPCG(uint64(index), uint64(start.UnixNano())))
	var interval time.Duration
	next := start
	if l.Rate > 0 {
		interval = time.Duration(float64(time.Second) * float64(l.Concurrency) / l.Rate)
		next = start.Add(interval * time.Duration(index) / time.Duration(l.Concurrency))
	}
	for ctx.Err() == nil {
		number := issued.Add(1) - 1
		if l.Count > 0 && number >= l.Count {
			return
		}
		begin := time.Now()
		if interval > 0 {
			if wait := next.Sub(begin); wait > 0 {
				if !sleep(ctx, wait) {
					return
				}
				// The timer may be a millisecond late; that is the client's
				// doing, so it does not count.
				begin = time.Now()
			} else {
				// The answer before this one came late: the wait counts.
				begin = next
			}
			next = next.Add(interval)
		}
		if begin.After(deadline) {
			return
		}
		r := reqs[0]
		switch {
		case len(reqs) == 1:
		case l.Order == "sequence":
			r = reqs[number%int64(len(reqs))]
		default:
			r = reqs[rng.IntN(len(reqs))]
		}
		answer, err := cn.call(r)
		if err != nil {
			w.errors++
			if w.firstErr == "" {
				w.firstErr = err.Error()
			}
			if status := (*statusError)(nil); !errors.As(err, &status) {
				sleep(ctx, time.Millisecond) // do not spin on a server that is gone
			}
			continue
		}
		w.latencies.add(time.Since(begin))
		if err := sink.add(answer); err != nil {
			w.fatal = err
			return
		}
	}
}

// sleep waits for d and reports whether ctx lasted as long.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
