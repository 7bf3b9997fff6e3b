//go:build !race

// The race detector makes pools forget, so ceilings hold without it.

package node_test

import "testing"

// maxAllocations is the ceiling of a warm Decrypt, door to door, beyond what
// net/http does for a connection.
const maxAllocations = 25

func TestAllocationsOfDecrypt(t *testing.T) {
	once := door(t, newBed(t))
	once()
	if n := testing.AllocsPerRun(500, once); n > maxAllocations {
		t.Errorf("a warm Decrypt allocates %v times, want at most %d", n, maxAllocations)
	} else {
		t.Logf("a warm Decrypt allocates %v times", n)
	}
}
