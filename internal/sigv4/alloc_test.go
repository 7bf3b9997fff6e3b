//go:build !race

// The race detector makes pools forget, so ceilings hold without it.

package sigv4_test

import (
	"testing"

	"github.com/keyreeve/keyreeve/internal/sigv4"
)

// TestAllocations holds the ceiling for verifying what an SDK sends.
func TestAllocations(t *testing.T) {
	c := sigv4.Credentials{AccessKeyID: "AKIDEXAMPLE", Key: exampleKey()}
	r, body := sdkRequest(t, c, exampleTime)
	s := scope("kms")
	n := testing.AllocsPerRun(200, func() {
		if _, err := authenticate(r, body, c.Key, exampleTime, s); err != nil {
			t.Fatal(err)
		}
	})
	if n > 2 {
		t.Errorf("%v allocations, want at most 2", n)
	}
}
