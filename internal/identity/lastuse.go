package identity

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/record"
)

// When access keys and roles were last used is for people who look for those
// that nobody needs any more. It decides nothing, so it is kept cheaply: a call
// notes it in memory, to the minute, and what was noted is stored from time to
// time. Who kills a node loses up to that time of it. Nodes that share a store
// each note what they see, and the latest counts.

// Use is when, where and with which service something was last used.
type Use struct {
	Time    time.Time // to the minute or so; the zero time for never
	Region  string    // such as "eu-central-1"
	Service string    // such as "kms"
}

const (
	// StoreUses is how often it is good to store what was noted.
	StoreUses = 15 * time.Minute
	// useShards is the number of parts in which uses are noted, each with a
	// lock of its own.
	useShards = 64
	// maxUses is how many each part remembers at once. What there is no room
	// for until something has been stored is not noted.
	maxUses = 4096
	// maxFailedUses is how often storing may fail until the rest is left for the
	// next time.
	maxFailedUses = 8
)

// uses are the last uses that calls noted, by access key id or unique id of a
// role.
type uses struct {
	seed   maphash.Seed
	shards [useShards]useShard
}

type useShard struct {
	mu    sync.RWMutex
	noted map[string]*noted
}

// noted is the last use of one thing.
type noted struct {
	account string
	minute  atomic.Int64 // since 1970, of the last use
	last    atomic.Pointer[Use]
	stored  atomic.Int64 // the minute that was stored
}

func newUses() *uses {
	u := &uses{seed: maphash.MakeSeed()}
	for i := range u.shards {
		u.shards[i].noted = make(map[string]*noted)
	}
	return u
}

func (u *uses) shard(id string) *useShard {
	return &u.shards[maphash.String(u.seed, id)%useShards]
}

func (u *uses) find(id string) *noted {
	s := u.shard(id)
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.noted[id]
}

// usedAs returns what is used by a call of p: the access key of a user or of the
// root user, or the role of a session. Empty for nothing.
func usedAs(p *call.Principal) string {
	switch p.Kind {
	case call.User, call.Root:
		if p.Session == nil {
			return p.AccessKeyID
		}
	case call.RoleSession:
		return p.EntityID
	}
	return ""
}

// NoteUse notes that a call was made: of its caller the access key or role is in
// use. It writes nothing, and of several calls in a minute all but the first
// cost a look-up in memory.
func (d *Directory) NoteUse(c *call.Call) {
	if c.Caller == nil {
		return
	}
	id := usedAs(c.Caller)
	if id == "" {
		return
	}
	minute := c.Time.Unix() / 60
	n := d.uses.find(id)
	if n == nil {
		if n = d.uses.enter(id, c.Caller.Account); n == nil {
			return
		}
	}
	for {
		last := n.minute.Load()
		if last >= minute {
			return
		}
		if n.minute.CompareAndSwap(last, minute) {
			n.last.Store(&Use{Time: c.Time.UTC().Truncate(time.Second), Region: c.Region, Service: c.Service})
			return
		}
	}
}

// enter makes room for one more; nil if there is none.
func (u *uses) enter(id, account string) *noted {
	s := u.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.noted[id]
	if n == nil && len(s.noted) < maxUses {
		n = &noted{account: account}
		s.noted[id] = n
	}
	return n
}

// LastUse returns when an access key, or the role with a unique id (AROA…), of
// an account was last used.
func (d *Directory) LastUse(ctx context.Context, account, id string) (Use, error) {
	var here Use
	if n := d.uses.find(id); n != nil && n.account == account {
		if last := n.last.Load(); last != nil {
			here = *last
		}
	}
	u, _, err := load(ctx, d.rs, record.KindLastUse, lastUseKey(account, id), "last use of "+id, decodeUse)
	switch {
	case errors.Is(err, record.ErrTampered):
		d.log.Error("when something was last used is not known: the record was altered", "id", id, "cause", err)
	case err != nil && !errors.Is(err, ErrNotFound):
		return Use{}, err
	case err == nil && u.Time.After(here.Time):
		return u, nil
	}
	return here, nil
}

// KeepUses stores what was noted every so often, until ctx ends; and then once
// more, for which it takes up to grace.
func (d *Directory) KeepUses(ctx context.Context, every, grace time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			d.storeUses(ctx)
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
			defer cancel()
			d.storeUses(last)
			return
		}
	}
}

// storeUses stores what was noted since the time before, and forgets what was
// not used in between.
func (d *Directory) storeUses(ctx context.Context) {
	failed := 0
	for i := range d.uses.shards {
		s := &d.uses.shards[i]
		changed := make(map[string]*noted)
		s.mu.Lock()
		for id, n := range s.noted {
			if n.stored.Load() == n.minute.Load() {
				delete(s.noted, id)
			} else {
				changed[id] = n
			}
		}
		s.mu.Unlock()
		for id, n := range changed {
			minute := n.minute.Load()
			use := n.last.Load()
			if use == nil {
				continue // it is just being noted
			}
			switch err := d.storeUse(ctx, n.account, id, use); {
			case err == nil:
				n.stored.Store(minute)
			case ctx.Err() != nil:
				return
			case errors.Is(err, record.ErrTampered):
				// Another attempt would end like this one, and the others are
				// not to suffer from it.
				d.log.Error("when something was last used was not stored: a record was altered", "id", id, "cause", err)
				n.stored.Store(minute)
			default:
				d.log.Warn("when something was last used could not be stored; it will be tried again", "id", id, "cause", err)
				if failed++; failed >= maxFailedUses {
					return // the store has other worries
				}
			}
		}
	}
}

// storeUse stores a use, unless a later one is stored or what was used is gone.
func (d *Directory) storeUse(ctx context.Context, account, id string, use *Use) error {
	err := d.retry(ctx, func() error {
		tx := d.rs.Begin()
		// An access key or role that is being deleted takes its last use along.
		var of record.Record
		var err error
		if uniqueKind(id) == RoleEntity {
			of, err = d.rs.Get(ctx, record.KindUnique, uniqueKey(id))
		} else {
			of, err = d.rs.Get(ctx, record.KindAccessKey, accessKeyKey(id))
		}
		clear(of.Value)
		of.Value = nil
		if errors.Is(err, record.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		tx.Check(of)
		old, rec, err := load(ctx, d.rs, record.KindLastUse, lastUseKey(account, id), "last use of "+id, decodeUse)
		switch {
		case errors.Is(err, ErrNotFound):
			tx.Create(record.KindLastUse, lastUseKey(account, id), use.encode())
		case err != nil:
			return err
		case !use.Time.After(old.Time):
			return nil
		default:
			tx.Put(rec, use.encode())
		}
		return d.commit(ctx, tx, "storing the last use of "+id)
	})
	if err != nil {
		return fmt.Errorf("last use of %s: %w", id, err)
	}
	return nil
}

// dropUse deletes the last use of an access key or role in the transaction that
// deletes it. One that cannot be read is left behind, where nothing looks for it.
func (d *Directory) dropUse(ctx context.Context, tx *record.Tx, account, id string) error {
	rec, err := d.rs.Get(ctx, record.KindLastUse, lastUseKey(account, id))
	switch {
	case err == nil:
		tx.Delete(rec)
	case !errors.Is(err, record.ErrNotFound) && !errors.Is(err, record.ErrTampered):
		return err
	}
	return nil
}

const lastUsePrefix = "v1/used/"

func lastUseKey(account, id string) string { return lastUsePrefix + account + "/" + id }

// encode returns the record's value: time, Region, service.
func (u *Use) encode() []byte {
	b := appendTime([]byte{1}, u.Time)
	b = appendString(b, u.Region)
	return appendString(b, u.Service)
}

func decodeUse(rec record.Record) (Use, error) {
	r := newReader(rec.Value, 1)
	u := Use{Time: r.time(), Region: r.string(), Service: r.string()}
	return u, r.end()
}
