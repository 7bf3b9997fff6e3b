// Package quota limits how often an account calls.
//
// A quota is a rate, in calls per second, for a [Class] of calls. Every account
// has one in every Region, and none knows of another's calls. It is a bucket of
// tokens that is refilled at the rate and holds what comes within one second, or
// one token if that is less: who has been quiet may make a second's calls at
// once. A call for which there is no token is refused, and takes none.
//
// [Limits.Take] takes tokens. It locks nothing and allocates nothing for an
// account that has called lately: a bucket is one number, the moment at which it
// will be full, which is moved by compare-and-swap (the generic cell rate
// algorithm of ITU-T I.371, annex A). Accounts that have not called for a while
// are forgotten; their buckets would be full.
//
// What is counted is in the memory of one node: each counts by itself, and a
// restart begins with full buckets.
package quota

import (
	"hash/maphash"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Options are the options of [New].
type Options struct {
	// Regions are those in which calls are counted: each account can have a set
	// of buckets in each of them, and in no other.
	Regions []string
	// Rates replace AWS's default quotas, in all Regions: calls per second, by
	// the name of the quota. [Check] says what is wrong with them.
	Rates map[string]float64
	// Now is the clock; time.Now if nil. Setting it back refills no bucket.
	Now func() time.Time
}

// Limits is the quotas of an installation, and who has used them up. Its methods
// may be called concurrently.
type Limits struct {
	now     func() time.Time
	begun   time.Time
	seed    maphash.Seed
	regions map[string]*region // never changed
	refused []atomic.Uint64    // by class: how often there was no token
}

// region is what is counted in a Region.
type region struct {
	limits []limit // by class; never changed
	shards [64]shard
}

// A limit is a quota, in time.
type limit struct {
	interval time.Duration // in which a token comes
	depth    time.Duration // in which an empty bucket is filled
	debt     time.Duration // in which it is filled if as much as can be was taken from it
}

// A shard is some of the accounts. They are looked up without a lock: the map is
// replaced, never changed.
type shard struct {
	accounts atomic.Pointer[map[string]buckets]
	mu       sync.Mutex // held while it is replaced
}

// buckets are those of an account in a Region: by class, when the bucket will be
// full, or has been, in nanoseconds since the Limits were made.
type buckets []atomic.Int64

// idle is for how long an account's buckets have been full when they are
// forgotten. Whoever takes a token at that very moment may take it from buckets
// that are forgotten already: one that is not counted, of the calls of a minute.
const idle = time.Minute

// back is how far the clock must have been set back before what was counted by
// it is given up. Less than that may be one goroutine that looked at the clock
// before another and comes after it.
const back = time.Second

// New returns quotas, none of which has been used.
func New(o Options) (*Limits, error) {
	if err := Check(o.Rates); err != nil {
		return nil, err
	}
	l := &Limits{
		now: o.Now, seed: maphash.MakeSeed(), regions: make(map[string]*region, len(o.Regions)),
		refused: make([]atomic.Uint64, len(rates)),
	}
	if l.now == nil {
		l.now = time.Now
	}
	l.begun = l.now()
	for _, name := range o.Regions {
		r := &region{limits: make([]limit, len(rates))}
		for c := Symmetric; int(c) < len(rates); c++ {
			perSecond, ok := o.Rates[c.String()]
			if !ok {
				perSecond = rates[c].of(name)
			}
			r.limits[c] = newLimit(perSecond)
		}
		l.regions[name] = r
	}
	return l, nil
}

func newLimit(perSecond float64) limit {
	interval := time.Duration(float64(time.Second) / perSecond)
	depth := max(time.Second, interval)
	return limit{interval: interval, depth: depth, debt: max(depth, MaxTokens*interval)}
}

// MaxTokens is the most tokens that are taken at once.
const MaxTokens = 2

// Take takes n tokens, 1 to MaxTokens, of an account's bucket, or none if there
// are too few: then it returns false, and the call is to be refused. A full
// bucket always has enough. Calls of class None, and in a Region that the Limits
// were not made for, are not counted.
func (l *Limits) Take(account, in string, c Class, n int) bool {
	r := l.regions[in]
	if r == nil || c == None || int(c) >= len(rates) {
		return true
	}
	now := l.now().Sub(l.begun)
	if r.buckets(l.hash(account), account, now).take(&r.limits[c], c, min(max(n, 1), MaxTokens), now) {
		return true
	}
	l.refused[c].Add(1)
	return false
}

func (b buckets) take(l *limit, c Class, n int, now time.Duration) bool {
	wanted := time.Duration(n) * l.interval
	depth := max(l.depth, wanted)
	for {
		full := b[c].Load()
		at := max(time.Duration(full), now)
		if at > now+l.debt+back {
			at = now + l.debt // as empty as it can be
			b[c].CompareAndSwap(full, int64(at))
		}
		at += wanted
		if at > now+depth {
			return false
		}
		if b[c].CompareAndSwap(full, int64(at)) {
			return true
		}
	}
}

func (l *Limits) hash(account string) uint64 { return maphash.String(l.seed, account) }

// buckets returns an account's, which it makes if they are not there.
func (r *region) buckets(hash uint64, account string, now time.Duration) buckets {
	s := &r.shards[hash%uint64(len(r.shards))]
	if have := s.accounts.Load(); have != nil {
		if b := (*have)[account]; b != nil {
			return b
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	next := make(map[string]buckets)
	if have := s.accounts.Load(); have != nil {
		if b := (*have)[account]; b != nil {
			return b
		}
		maps.Copy(next, *have)
		maps.DeleteFunc(next, func(_ string, b buckets) bool { return b.idle(now) })
	}
	b := make(buckets, len(rates))
	for i := range b {
		b[i].Store(int64(now)) // not idle before it is used
	}
	next[account] = b
	s.accounts.Store(&next)
	return b
}

// idle reports whether all buckets have been full for a while.
func (b buckets) idle(now time.Duration) bool {
	for i := range b {
		if time.Duration(b[i].Load()) > now-idle {
			return false
		}
	}
	return true
}

// A Refused is how many calls of a class were refused.
type Refused struct {
	Quota string // its name
	Calls uint64
}

// Refused returns how many calls were refused since the Limits were made, by
// quota, in the order of their names.
func (l *Limits) Refused() []Refused {
	list := make([]Refused, 0, len(rates))
	for c := Symmetric; int(c) < len(rates); c++ {
		list = append(list, Refused{c.String(), l.refused[c].Load()})
	}
	slices.SortFunc(list, func(a, b Refused) int { return strings.Compare(a.Quota, b.Quota) })
	return list
}
