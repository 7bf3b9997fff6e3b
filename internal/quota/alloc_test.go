//go:build !race

package quota_test

import (
	"testing"

	"github.com/keyreeve/keyreeve/internal/quota"
)

// TestAllocs: counting a call of an account that has called before allocates
// nothing, whether there is a token or not.
func TestAllocs(t *testing.T) {
	l := limits(t, quota.Options{Now: newClock().now})
	for _, c := range []quota.Class{quota.Symmetric, quota.Operation("CreateKey")} {
		if n := testing.AllocsPerRun(100, func() { l.Take(ours, home, c, 1) }); n != 0 {
			t.Errorf("%v: %v allocations", c, n)
		}
	}
}

func BenchmarkTake(b *testing.B) {
	l := limits(b, quota.Options{Rates: map[string]float64{"symmetric": 1e6}})
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			l.Take(ours, home, quota.Symmetric, 1)
		}
	})
}
