package loadgen

import (
	"math"
	"math/bits"
	"time"
)

// A histogram counts durations in buckets whose width is at most 1/64 of
// their values, so that a run of any length needs 30 KiB.
//
//	value     bucket    width
//	0…63      one each  1
//	64…127    64 more   1
//	128…255   64 more   2
//	256…511   64 more   4   and so on
type histogram struct {
	counts [subBuckets * (64 - subBits + 1)]uint64
	n      uint64
	max    time.Duration
}

const (
	subBits    = 6
	subBuckets = 1 << subBits
)

func bucket(v uint64) int {
	if v < subBuckets {
		return int(v)
	}
	shift := bits.Len64(v) - subBits - 1
	return (shift+1)*subBuckets + int(v>>shift) - subBuckets
}

// upper returns the highest value that falls into bucket i.
func upper(i int) uint64 {
	if i < subBuckets {
		return uint64(i)
	}
	shift := i/subBuckets - 1
	return (uint64(i%subBuckets+subBuckets)+1)<<shift - 1
}

func (h *histogram) add(d time.Duration) {
	h.counts[bucket(uint64(max(0, d)))]++
	h.n++
	h.max = max(h.max, d)
}

func (h *histogram) merge(o *histogram) {
	for i, n := range o.counts {
		h.counts[i] += n
	}
	h.n += o.n
	h.max = max(h.max, o.max)
}

// quantile returns the smallest value with at least the part q of all values
// at or below it, or up to 1/64 more.
func (h *histogram) quantile(q float64) time.Duration {
	rank := uint64(math.Ceil(q * float64(h.n)))
	var seen uint64
	for i, n := range h.counts {
		if seen += n; n > 0 && seen >= rank {
			return min(time.Duration(min(upper(i), math.MaxInt64)), h.max)
		}
	}
	return h.max
}
