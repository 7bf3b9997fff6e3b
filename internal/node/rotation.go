package node

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/record"
)

// rotateAfter is how old a domain key becomes. Its random nonces are good for
// 2³² values of each purpose: at 500 a second, day and night, for 99 days.
const rotateAfter = 90 * 24 * time.Hour

// rotatePause is how long to wait after a rotation that failed.
const rotatePause = time.Hour

// While the node makes a new domain key, a record of kind System says so:
//
//	byte  0     version, 1
//	bytes 1-4   id of the domain key that sealed before, big-endian
//
// It is gone with the commit that puts the new key on record. So one that was
// made just before a crash is on record after it.
const (
	rotationKey     = "v1/sys/rotation"
	rotationVersion = 1
	rotationSize    = 1 + 4
)

// A rotator makes a new domain key when the one that seals has become too old. It
// is of the job.
type rotator struct {
	node    *Node
	records *record.Store
	idle    bool          // there is no record of a rotation
	next    time.Duration // when to try again, on the monotonic clock
}

// look rotates the domain key if that is to be done now.
func (r *rotator) look(ctx context.Context) {
	n := r.node
	if n.c.Monotonic() < r.next {
		return
	}
	if err := r.rotate(ctx); err != nil && ctx.Err() == nil {
		r.next = n.c.Monotonic() + rotatePause
		n.log.Error("rotating the domain key, which is old; it will be tried again", "error", err)
	}
}

func (r *rotator) rotate(ctx context.Context) error {
	n := r.node
	if !r.idle { // there may be one that was interrupted
		if err := r.finish(ctx); err != nil {
			return err
		}
	}
	if !n.sealsTooLong() {
		return nil
	}
	if err := n.audit.Err(); err != nil {
		return err
	}
	if err := r.begin(ctx); err != nil {
		return err
	}
	if err := n.box.Rotate(ctx); err != nil {
		return err
	}
	return r.finish(ctx)
}

// begin notes that a domain key is about to be made.
func (r *rotator) begin(ctx context.Context) error {
	r.idle = false
	tx := r.records.Begin()
	tx.Create(record.KindSystem, rotationKey, binary.BigEndian.AppendUint32([]byte{rotationVersion}, r.node.box.Status().Active))
	if _, err := tx.Commit(ctx); err != nil {
		return fmt.Errorf("noting that a domain key is made: %w", err)
	}
	return nil
}

// finish puts the domain key on record that was made since begin, if one was.
func (r *rotator) finish(ctx context.Context) error {
	n := r.node
	rec, err := r.records.Get(ctx, record.KindSystem, rotationKey)
	if errors.Is(err, record.ErrNotFound) {
		r.idle = true
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading which domain key is made: %w", err)
	}
	if len(rec.Value) != rotationSize || rec.Value[0] != rotationVersion {
		return errors.New("the record of the domain key that is made is of an unknown version")
	}
	forget := func(ctx context.Context) error {
		tx := r.records.Begin()
		tx.Delete(rec)
		if _, err := tx.Commit(ctx); err != nil {
			return fmt.Errorf("noting that a domain key was made: %w", err)
		}
		return nil
	}
	if id := n.box.Status().Active; id != binary.BigEndian.Uint32(rec.Value[1:]) {
		err = n.withEvent(ctx, n.event(eventRotate, call.Pair{Name: "domainKey", Value: strconv.FormatUint(uint64(id), 10)}), forget)
	} else {
		err = forget(ctx)
	}
	r.idle = err == nil
	return err
}

// sealsTooLong reports whether the domain key that seals is older than it
// should become. One that was made in a time to come was made by a clock that
// was wrong, nobody knows when.
func (n *Node) sealsTooLong() bool {
	if n.watch.jumped() > 0 {
		return false
	}
	s := n.box.Status()
	for _, k := range s.DomainKeys {
		if age := n.c.Now().Sub(k.Created); k.ID == s.Active && (age >= rotateAfter || age < -maxJump) {
			return true
		}
	}
	return false
}
