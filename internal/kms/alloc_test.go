//go:build !race

// The race detector makes pools forget, so ceilings hold without it.

package kms_test

import "testing"

// What this package adds to a warm Decrypt is nothing; the test allows for what
// pools lose to a collection of garbage.
func TestDecryptAllocations(t *testing.T) {
	through, below := warmDecrypt(t)
	through()
	below()
	added := testing.AllocsPerRun(200, through) - testing.AllocsPerRun(200, below)
	t.Logf("%.0f allocations added", added)
	if added > 2 {
		t.Errorf("a warm Decrypt makes %.0f allocations of its own, want at most 2", added)
	}
}
