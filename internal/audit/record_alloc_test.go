//go:build !race

package audit_test

import (
	"testing"

	"github.com/keyreeve/keyreeve/internal/audit"
	"github.com/keyreeve/keyreeve/internal/call"
)

// A record is made without allocating, also those of two accounts, and so is a
// line of the security log.
func TestRecordAllocations(t *testing.T) {
	l, err := audit.Open("", audit.Options{Memory: 4})
	if err != nil {
		t.Fatal(err)
	}
	own, both, through := newCall(), newCall(), newCall()
	both.AddKey("arn:aws:kms:eu-central-1:444455556666:key/2", "444455556666")
	through.Endpoint = &call.Endpoint{ID: "vpce-1", Account: "111122223333"}
	through.Delegation = &call.Delegation{Via: []string{"s3.amazonaws.com"}}
	for name, c := range map[string]*call.Call{"own": own, "of both accounts": both, "through an endpoint": through} {
		again := func() {
			c.EventID = [16]byte{}
			if err := l.Append(c); err != nil {
				t.Fatal(err)
			}
		}
		for range 8 {
			again() // the slots of the ring grow
		}
		if n := testing.AllocsPerRun(100, again); n > 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}

	security := openSecurity(t, t.TempDir(), audit.SecurityOptions{})
	c := stranger("192.0.2.7", noon)
	for range 2000 {
		security.Note(c, "AKIAIOSFODNN7EXAMPLE")
	}
	// From here on it has no more to give to this source.
	if n := testing.AllocsPerRun(100, func() { security.Note(c, "AKIAIOSFODNN7EXAMPLE") }); n > 0 {
		t.Errorf("security log: %v allocations", n)
	}
	if err := security.Close(); err != nil {
		t.Error(err)
	}
}
