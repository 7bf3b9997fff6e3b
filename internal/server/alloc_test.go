//go:build !race

// The race detector makes pools forget, so ceilings hold without it.

package server_test

import "testing"

// TestAllocations holds the ceiling of what the door adds to net/http.
func TestAllocations(t *testing.T) {
	once := serveOnce(t, newQuiet(t))
	if n := testing.AllocsPerRun(200, once); n > 10 {
		t.Errorf("%v allocations, want at most 10", n)
	}
}
