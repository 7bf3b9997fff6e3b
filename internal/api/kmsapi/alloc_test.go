//go:build !race

// The race detector makes pools forget, so ceilings hold without it.

package kmsapi_test

import (
	"testing"

	"github.com/keyreeve/keyreeve/internal/call"
)

// TestDecryptAllocations holds the allocations of a call's codec down: the
// input with the output, the blob, the key id, the map with its two strings.
func TestDecryptAllocations(t *testing.T) {
	invoke := decryptOperation().Invoke
	buffer := make([]byte, 0, 1024)
	var c call.Call
	got := testing.AllocsPerRun(100, func() {
		if _, err := invoke(t.Context(), &c, decryptBody, buffer); err != nil {
			t.Fatal(err)
		}
	})
	if got > 7 {
		t.Errorf("decoding and encoding a Decrypt allocates %v times", got)
	}
}
