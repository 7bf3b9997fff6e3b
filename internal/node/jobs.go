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
	tick := time.NewTicker(n.c.DestroyEvery)
	defer tick.Stop()
	for {
		if err := ring.RunDue(ctx, n.watch.certain()); err != nil && ctx.Err() == nil {
			n.log.Error("destroying keys whose waiting period has ended", "error", err)
		}
		n.rotate(ctx)
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
	if n.watch.jumped() > 0 || n.c.Monotonic() < n.rotateNext {
		return
	}
	s := n.box.Status()
	for _, k := range s.DomainKeys {
		if k.ID != s.Active || n.c.Now().Sub(k.Created) < rotateAfter {
			continue
		}
		err := n.box.Rotate(ctx)
		if err == nil {
			err = n.happened(eventRotate, call.Pair{Name: "domainKey", Value: strconv.FormatUint(uint64(n.box.Status().Active), 10)})
		}
		if err != nil && ctx.Err() == nil {
			n.rotateNext = n.c.Monotonic() + rotatePause
			n.log.Error("rotating the domain key, which is old; it will be tried again", "created", k.Created, "error", err)
		}
	}
}
