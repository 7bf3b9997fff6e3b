//go:build !race

package authz_test

import (
	"testing"

	"github.com/keyreeve/keyreeve/internal/authz"
	"github.com/keyreeve/keyreeve/internal/call"
)

// What is allowed is allowed without allocating.
func TestDecideDoesNotAllocate(t *testing.T) {
	a := authz.New(nil)
	for name, prepare := range map[string]func(testing.TB) (*call.Call, *authz.Resource){"the default policy": ordinary, "six layers": sixLayers} {
		c, r := prepare(t)
		n := testing.AllocsPerRun(1000, func() {
			if _, err := a.Decide(t.Context(), c, decrypt, r, nil); err != nil {
				t.Fatal(err)
			}
		})
		if n > 0 {
			t.Errorf("%s: %v allocations, want none", name, n)
		}
	}
}
