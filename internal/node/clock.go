package node

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/keyreeve/keyreeve/internal/record"
)

// maxJump is how far a clock may be ahead of the time that has demonstrably
// passed.
const maxJump = time.Hour

// A watch keeps a clock that was set wrong from destroying keys: a waiting
// period that ends because somebody set the year cannot be taken back.
// (A clock that is put back is believed: it destroys later. It may return to where
// it was.)
//
// It carries the time on from a moment at which it was believed, by a monotonic
// clock. Where the wall clock is more than maxJump ahead of that, it isn't
// believed, and keys are destroyed by the time that was carried on: late, never
// early. It is believed again once it is put right, or accepted by the
// operator. Steps that are smaller do not add up: not while the node runs.
//
// The time that is believed is stored (see [watch.save]), so that neither a
// restart nor a jump while the node is down goes unnoticed. A node that was
// down, or sealed before it was first unsealed, for longer than maxJump cannot
// tell that from a jump.
type watch struct {
	wall      func() time.Time
	monotonic func() time.Duration
	log       *slog.Logger

	mu     sync.Mutex
	begun  bool
	anchor time.Time     // what was believed
	at     time.Duration // on the monotonic clock
	before line          // what was believed before the clock was put back; begins at zero if it wasn't
	ahead  time.Duration // of what is believed; 0 unless that is too much
	saved  time.Duration // when save was last called, on the monotonic clock

	behind atomic.Bool // the clock is not yet where it was before it was put back
}

// A line is a time that is carried on by a monotonic clock.
type line struct {
	anchor time.Time
	at     time.Duration // on the monotonic clock
}

// begin begins with the time that was believed when the node last ran, the zero
// time if none is known, and with the one that was believed before the clock was
// put back, if it was. Later calls do nothing.
func (w *watch) begin(known, before time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.begun {
		return
	}
	w.begun = true
	now := w.wall().Round(0)
	w.anchor, w.at = now, w.monotonic()
	if !known.IsZero() && (known.After(now) || now.Sub(known) > maxJump) {
		w.anchor = known // read says what to make of it
	}
	if !before.IsZero() {
		w.before = line{before, w.at}
	}
	w.saved = w.at
	w.read()
}

// isBehind reports whether the clock was put back and has not returned: what
// ends at a certain time would live on for as long. It waits for nobody.
func (w *watch) isBehind() bool { return w.behind.Load() }

// read looks at the clock and returns the time that has passed for certain, and
// the one that is believed, which is later if the clock was put back. It is
// called with mu held.
func (w *watch) read() (certain, believed time.Time) {
	now := w.wall().Round(0) // without Go's own monotonic reading
	defer func() { w.behind.Store(now.Before(w.formerly())) }()
	carried := w.anchor.Add(w.monotonic() - w.at)
	ahead := now.Sub(carried)
	if was := w.before; ahead > maxJump && !was.anchor.IsZero() &&
		now.Sub(w.formerly()).Abs() <= maxJump {
		// It is where it was before it was put back.
		w.anchor, w.at, w.before = now, w.monotonic(), line{}
		carried, ahead = now, 0
	}
	switch {
	case ahead > maxJump:
		if w.ahead == 0 {
			w.log.Error("the clock is ahead of the time that has passed since this node last ran, or has jumped ahead; keys are destroyed later by as much",
				"ahead", ahead.Round(time.Second), "clock", now.UTC(), "believed", carried.UTC(),
				"hint", "put the clock right; or, if it is right, run: keyreeve clock accept")
		}
		w.ahead = ahead
		return carried, carried
	case w.ahead > 0:
		w.log.Info("the clock is right again")
		w.ahead = 0
	}
	if ahead < -maxJump {
		// What was believed was wrong, or this is. A time to come, carried on,
		// would let the clock jump to any time up to it unnoticed: so the earlier
		// one counts from here on, which can only put off what is to be destroyed.
		w.log.Warn("the clock was put back; keys are destroyed by what it shows now, and temporary credentials are refused",
			"by", (-ahead).Round(time.Second), "clock", now.UTC(),
			"hint", "put the clock right; or, if it is right, run: keyreeve clock accept")
		if w.before.anchor.IsZero() {
			w.before = line{w.anchor, w.at}
		}
		w.anchor, w.at = now, w.monotonic()
		return now, now
	}
	if ahead < 0 {
		return now, carried
	}
	return now, now
}

// formerly returns what the clock would show if it had not been put back; the
// zero time if it wasn't. It is called with mu held.
func (w *watch) formerly() time.Time {
	if w.before.anchor.IsZero() {
		return time.Time{}
	}
	return w.before.anchor.Add(w.monotonic() - w.before.at)
}

// certain returns the time that has passed for certain.
func (w *watch) certain() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	t, _ := w.read()
	return t
}

// jumped returns how far the clock is ahead; 0 if it is believed.
func (w *watch) jumped() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.begun {
		w.read()
	}
	return w.ahead
}

// accept believes the clock.
func (w *watch) accept() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.anchor, w.at, w.before = w.wall().Round(0), w.monotonic(), line{}
	w.read()
}

// The time that is believed stands in the store, in a record of kind System:
//
//	byte  0     version, 2
//	bytes 1-8   Unix microseconds, big-endian
//	bytes 9-16  likewise, what the clock would show if it had not been put back; 0 if it wasn't
//
// Version 1 has no more than the first nine.
const (
	clockKey      = "v1/sys/clock"
	clockVersion  = 2
	clockSize     = 1 + 8 + 8
	clockVersion1 = 1
	clockSize1    = 1 + 8
)

// saveEvery is how often the time is stored. It must be well below maxJump.
const saveEvery = 10 * time.Minute

// load begins with the time that is stored; if there is none, this is a new
// store.
func (w *watch) load(ctx context.Context, rs *record.Store) error {
	rec, err := rs.Get(ctx, record.KindSystem, clockKey)
	if errors.Is(err, record.ErrNotFound) {
		w.begin(time.Time{}, time.Time{})
		return w.save(ctx, rs)
	}
	if err != nil {
		return fmt.Errorf("reading the last time: %w", err)
	}
	known, before, err := decodeClock(rec.Value)
	if err != nil {
		return fmt.Errorf("reading the last time: %w", err)
	}
	w.begin(known, before)
	return nil
}

func decodeClock(b []byte) (known, before time.Time, err error) {
	switch {
	case len(b) == clockSize && b[0] == clockVersion:
		if at := int64(binary.BigEndian.Uint64(b[clockSize1:])); at != 0 {
			before = time.UnixMicro(at)
		}
	case len(b) == clockSize1 && b[0] == clockVersion1:
	default:
		return known, before, errors.New("the record is of an unknown version")
	}
	return time.UnixMicro(int64(binary.BigEndian.Uint64(b[1:]))), before, nil
}

// due reports whether it is time to save.
func (w *watch) due() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.monotonic()-w.saved >= saveEvery
}

// save stores the time that is believed.
func (w *watch) save(ctx context.Context, rs *record.Store) error {
	w.mu.Lock()
	_, believed := w.read()
	w.saved = w.monotonic()
	before := w.formerly()
	w.mu.Unlock()
	value := binary.BigEndian.AppendUint64([]byte{clockVersion}, uint64(max(0, believed.UnixMicro())))
	if before.IsZero() {
		before = time.UnixMicro(0)
	}
	value = binary.BigEndian.AppendUint64(value, uint64(max(0, before.UnixMicro())))
	tx := rs.Begin()
	rec, err := rs.Get(ctx, record.KindSystem, clockKey)
	switch {
	case errors.Is(err, record.ErrNotFound):
		tx.Create(record.KindSystem, clockKey, value)
	case err != nil:
		return fmt.Errorf("storing the time: %w", err)
	default:
		tx.Put(rec, value)
	}
	// Another node that stores its time meanwhile does as well.
	if _, err := tx.Commit(ctx); err != nil && !errors.Is(err, record.ErrConflict) {
		return fmt.Errorf("storing the time: %w", err)
	}
	return nil
}
