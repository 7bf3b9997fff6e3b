package node

import (
	"context"
	"strconv"
	"time"

	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/keyring"
	"github.com/keyreeve/keyreeve/internal/record"
)

// destroyEvery is the default of Config.DestroyEvery.
const destroyEvery = 15 * time.Second

// rotateAfter is how old a domain key becomes. Its random nonces are good for
// 2³² values of each purpose: at 500 a second, day and night, for 99 days.
const rotateAfter = 90 * 24 * time.Hour

// rotatePause is how long to wait after a rotation that failed.
const rotatePause = time.Hour

// work does what is to be done while the node is unsealed, until ctx ends.
func (n *Node) work(ctx context.Context, ring *keyring.Ring, rs *record.Store) {
	altered := 0 // of what the archive has found altered since it was opened, what is on record
	tick := time.NewTicker(n.c.DestroyEvery)
	defer tick.Stop()
	if n.watch.jumped() == 0 {
		// Now, and not only in a while: a node that never lives that long
		// would come to disbelieve its clock.
		n.saveTime(ctx, rs)
	}
	for {
		if err := ring.RunDue(ctx, n.watch.certain()); err != nil && ctx.Err() == nil {
			n.log.Error("doing what is due for keys: destroying, rotating and the like", "error", err)
		}
		n.rotate(ctx)
		n.reportDamage()
		if u := n.open.Load(); u != nil && u.archive != nil {
			altered = n.reportAltered(u.archive.Damages(), altered)
		}
		if n.watch.due() {
			n.saveTime(ctx, rs)
		}
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), sealGrace)
			defer cancel()
			n.saveTime(last, rs)
			return
		case <-tick.C:
		}
	}
}

func (n *Node) saveTime(ctx context.Context, rs *record.Store) {
	if err := n.watch.save(ctx, rs); err != nil {
		n.log.Warn("the time could not be stored; if the node is away for long, it will ask whether the clock is right", "error", err)
	}
}

// rotate makes a new domain key if the one that seals has become too old.
func (n *Node) rotate(ctx context.Context) {
	if n.c.Monotonic() < n.rotateNext {
		return
	}
	if err := n.rotateNow(ctx); err != nil && ctx.Err() == nil {
		n.rotateNext = n.c.Monotonic() + rotatePause
		n.log.Error("rotating the domain key, which is old; it will be tried again", "error", err)
	}
}

func (n *Node) rotateNow(ctx context.Context) error {
	if n.unrecorded == 0 && n.sealsTooLong() {
		if err := n.audit.Err(); err != nil {
			return err
		}
		if err := n.box.Rotate(ctx); err != nil {
			return err
		}
		n.unrecorded = n.box.Status().Active
	}
	if n.unrecorded == 0 {
		return nil
	}
	err := n.happened(eventRotate, call.Pair{Name: "domainKey", Value: strconv.FormatUint(uint64(n.unrecorded), 10)})
	if err == nil {
		n.unrecorded = 0
	}
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
