//go:build !race

// The race detector makes pools forget, so ceilings hold without it.

package keyring_test

import (
	"crypto/fips140"
	"testing"
)

// With what package record's Get costs, the whole of Inspect, Find, Decide,
// Open and Decrypt.
func TestAllocations(t *testing.T) {
	g, _, blob := sealed(t, nil)
	c := newCall()
	_ = decryptWarm(t, g, blob, c)
	most := 6.0
	if fips140.Enabled() {
		most = 10 // the module's HMAC
	}
	if n := testing.AllocsPerRun(200, func() { decryptWarm(t, g, blob, c) }); n > most {
		t.Errorf("a warm Decrypt allocates %.0f times, want at most %.0f", n, most)
	}
}
