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

// Nor does it cost more to be allowed by a grant.
func TestGrantedDecryptAllocations(t *testing.T) {
	through, _ := warmDecrypt(t)
	granted := warmGrant(t)
	through()
	granted()
	added := testing.AllocsPerRun(200, granted) - testing.AllocsPerRun(200, through)
	t.Logf("%.0f allocations more by a grant", added)
	if added > 2 {
		t.Errorf("a warm Decrypt by a grant makes %.0f allocations more, want at most 2", added)
	}
}
