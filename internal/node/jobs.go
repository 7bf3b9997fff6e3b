package node

import (
	"context"
	"time"

	"github.com/keyreeve/keyreeve/internal/keyring"
	"github.com/keyreeve/keyreeve/internal/record"
)

// destroyEvery is the default of Config.DestroyEvery.
const destroyEvery = 15 * time.Second

// work does what is to be done while the node is unsealed, until ctx ends.
func (n *Node) work(ctx context.Context, ring *keyring.Ring, rs *record.Store) {
	rotation := &rotator{node: n, records: rs}
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
		rotation.look(ctx)
		n.reportDamage()
		if u := n.open.Load(); u != nil && u.archive != nil {
			altered = n.reportAltered(u.archive.Damage(), altered)
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
