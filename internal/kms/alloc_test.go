//go:build !race

// The race detector makes pools forget, so ceilings hold without it.

package kms_test

import (
	"testing"

	"github.com/keyreeve/keyreeve/internal/call"
)

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

// Nor to be counted against a request quota.
func TestCountedAllocations(t *testing.T) {
	e := newEnv(t)
	id := e.createKey("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT")
	body := []byte(encode(t, object{"CiphertextBlob": ciphertext(e, id)}))
	decrypt := func() {
		op := e.ops["Decrypt"]
		c := call.Call{Time: e.now, Region: testRegion, Caller: alice, Operation: op}
		if _, err := op.Invoke(t.Context(), &c, body, nil); err != nil {
			t.Fatal(err)
		}
	}
	decrypt()
	before := testing.AllocsPerRun(200, decrypt)
	e.limit(map[string]float64{"symmetric": 1e6})
	decrypt()
	if after := testing.AllocsPerRun(200, decrypt); after > before+1 {
		t.Errorf("a Decrypt that is counted makes %.0f allocations, one that is not %.0f", after, before)
	}
}
