package trail

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/keyreeve/keyreeve/internal/record"
)

// longestPause is how long to wait at most before a sink that failed is tried
// again: twice as long each time, beginning with Options.Pause.
const longestPause = 5 * time.Minute

// worker copies a trail to one sink.
type worker struct {
	sink string // bucketSink or groupSink
	ref  Ref
	id   string
	kick chan struct{} // of capacity 1: there may be something to do
	turn chan struct{} // of capacity 1: the trail copies to another place
	stop context.CancelFunc
	to   string // where the trail copies to; guarded by Set.mu

	mu      sync.Mutex
	oldest  time.Time // of what waits to be copied; zero for nothing. Guarded by mu
	failing bool      // the newest attempt failed. Guarded by mu
}

// Run copies until ctx ends. A trail that is made, changed or deleted counts at
// once.
func (s *Set) Run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	var work sync.WaitGroup
	defer work.Wait()
	defer cancel()
	tick := time.NewTicker(s.o.Every)
	defer tick.Stop()
	swept := false // what is left of trails that are gone has been removed
	for {
		// First, so that what changes meanwhile is looked at again.
		more := s.source.Changed()
		trails, err := s.list(ctx, trailPrefix)
		if err != nil {
			if ctx.Err() == nil {
				s.log.Error("reading the trails; it will be tried again", "error", err)
			}
		} else {
			if gone := s.employ(ctx, &work, trails); gone || !swept {
				err := s.forget(ctx, trails)
				if swept = err == nil; !swept && ctx.Err() == nil {
					s.log.Error("forgetting the digests of trails that were deleted; it will be tried again", "error", err)
				}
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-s.changed:
		case <-more:
		case <-tick.C:
		}
	}
}

// employ has a worker for each sink of each trail, and has them look for what
// there is to do. It reports whether trails are gone.
func (s *Set) employ(ctx context.Context, work *sync.WaitGroup, trails []Trail) (gone bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	keep := make(map[string]bool)
	for i := range trails {
		t := &trails[i]
		sinks := []string{bucketSink}
		if t.LogGroup != "" {
			sinks = append(sinks, groupSink)
		}
		for _, sink := range sinks {
			key := sinkKey(t.ID, sink)
			keep[key] = true
			w := s.workers[key]
			if w == nil {
				w = &worker{sink: sink, ref: t.Ref, id: t.ID, kick: make(chan struct{}, 1), turn: make(chan struct{}, 1)}
				var mine context.Context
				mine, w.stop = context.WithCancel(ctx)
				s.workers[key] = w
				work.Go(func() { s.work(mine, w) })
			}
			if to := t.Bucket + "\n" + t.LogGroup; w.to != to {
				w.to = to
				signal(w.turn)
			}
			signal(w.kick)
		}
	}
	for key, w := range s.workers {
		if !keep[key] {
			w.stop()
			delete(s.workers, key)
			gone = true
		}
	}
	return gone
}

// signal leaves a signal in a channel of capacity 1.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// forget removes what is left of trails that are gone.
func (s *Set) forget(ctx context.Context, trails []Trail) error {
	there := make(map[string]bool, len(trails))
	for i := range trails {
		there[trails[i].ID] = true
	}
	return s.sweep(ctx, chainPrefix, func(id string) bool { return !there[id] })
}

// work copies a trail to a sink until ctx ends.
func (s *Set) work(ctx context.Context, w *worker) {
	// Whoever finds its trail gone may be wrong by the time it says so.
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if key := sinkKey(w.id, w.sink); s.workers[key] == w {
			delete(s.workers, key)
			s.wake()
		}
	}()
	pause := time.Duration(0)
	for {
		if pause == 0 {
			select {
			case <-ctx.Done():
				return
			case <-w.kick:
			}
		} else {
			// That there is more to copy does not make a sink answer sooner; that
			// the trail copies to another one may.
			wait := time.NewTimer(pause)
			select {
			case <-ctx.Done():
				wait.Stop()
				return
			case <-wait.C:
			case <-w.turn:
				wait.Stop()
			}
		}
		err := s.pass(ctx, w)
		switch {
		case ctx.Err() != nil || errors.Is(err, errGone):
			return
		case err == nil:
			if w.failed(false) {
				s.log.Info("a trail is copied again", "trail", w.ref.ARN(), "to", w.sink)
			}
			pause = 0
		default:
			if !w.failed(true) {
				s.log.Warn("a trail can't be copied; it will be tried again", "trail", w.ref.ARN(), "to", w.sink, "error", err)
			}
			s.count(w.sink, func(k *Sink) { k.Failures++ })
			pause = min(max(2*pause, s.o.Pause), longestPause)
		}
	}
}

// failed notes how an attempt ended, and returns whether the one before failed.
func (w *worker) failed(now bool) (before bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	before, w.failing = w.failing, now
	return before
}

// waits notes what waits to be copied.
func (s *Set) waits(w *worker, files []wanted) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.oldest = time.Time{}
	if len(files) > 0 {
		w.oldest = files[0].time
	}
}

// pass copies all there is for a sink.
func (s *Set) pass(ctx context.Context, w *worker) error {
	var failed error // of digests, which do not hold up files
	for {
		t, err := s.Get(ctx, w.ref)
		if errors.Is(err, ErrNotFound) || err == nil && (t.ID != w.id || w.sink == groupSink && t.LogGroup == "") {
			return errGone
		}
		if err != nil {
			return err
		}
		var more bool
		if w.sink == groupSink {
			if more, err = s.copyEvents(ctx, w, &t); err != nil {
				return s.noteFailure(ctx, &t, w.sink, err, false)
			}
		} else {
			// First, since a chain that is full takes no more files.
			if failed = s.makeDigests(ctx, &t); failed != nil {
				if failed = s.noteFailure(ctx, &t, w.sink, failed, true); errors.Is(failed, errGone) {
					return failed
				}
			}
			if more, err = s.copyFiles(ctx, w, &t); err != nil {
				return s.noteFailure(ctx, &t, w.sink, err, false)
			}
		}
		if !more {
			return failed
		}
	}
}

// noteFailure notes an error for the trail's status, and returns it.
func (s *Set) noteFailure(ctx context.Context, t *Trail, sink string, cause error, digest bool) error {
	if ctx.Err() != nil || errors.Is(cause, errGone) {
		return cause
	}
	now := s.now().UTC()
	err := s.change(ctx, func(tx *record.Tx) error {
		return s.changeProgress(ctx, tx, t.ID, sink, func(p *progress) {
			d := &p.Files
			if digest {
				d = &p.Digests
			}
			d.Attempted, d.Failure = now, failureOf(cause)
		})
	})
	switch {
	case errors.Is(err, errGone):
		return err
	case err != nil:
		return fmt.Errorf("%w; and it could not be noted: %w", cause, err)
	}
	return cause
}

// count changes what is measured of a kind of sink.
func (s *Set) count(sink string, change func(*Sink)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s.meter[sink])
}

// Sinks returns what there is to measure, one for each kind of sink.
func (s *Set) Sinks() []Sink {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []Sink
	now := s.now()
	for _, sink := range []string{bucketSink, groupSink} {
		k := *s.meter[sink]
		for _, w := range s.workers {
			if w.sink != sink {
				continue
			}
			k.Trails++
			w.mu.Lock()
			if w.failing {
				k.Failing++
			}
			if !w.oldest.IsZero() {
				k.Lag = max(k.Lag, now.Sub(w.oldest))
			}
			w.mu.Unlock()
		}
		list = append(list, k)
	}
	return list
}
