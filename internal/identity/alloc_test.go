//go:build !race

package identity_test

import (
	"fmt"
	"testing"

	"github.com/keyreeve/keyreeve/internal/identity"
)

// TestWarm: credentials in use, and the place of an account, cost no read of the
// store and no allocation.
func TestWarm(t *testing.T) {
	h := organized(t)
	ctx := t.Context()
	p := h.policy("p", allow("kms:*"))
	for i := range 3 {
		name := fmt.Sprint("g", i)
		_, err := h.CreateGroup(ctx, identity.Group{Account: ours, Name: name})
		h.ok(err)
		h.ok(h.AttachPolicy(ctx, aGroup(name), p))
		h.ok(h.AddUserToGroup(ctx, ours, name, "alice"))
	}
	h.ok(h.SetBoundary(ctx, aUser("alice"), p))
	s := h.session(h.assume(h.role("worker", trusting(ours)), func(s *identity.SessionParams) {
		s.Policy, s.PolicyARNs, s.Tags = allow("kms:*"), []string{p}, []identity.Tag{{Name: "k", Value: "v"}}
	}))
	for what, use := range map[string]func() (any, error){
		"an access key": func() (any, error) {
			p, _, err := h.Credential(ctx, h.key, "")
			return p, err
		},
		"a session": func() (any, error) {
			p, _, err := h.Credential(ctx, s.AccessKeyID, s.Token)
			return p, err
		},
		"an organization": func() (any, error) { return h.Organization(ctx, ours) },
	} {
		// What was changed a moment ago may still come by the watch, and is
		// looked at once more then.
		var other bool
		var reads int64
		var allocations float64
		for range 5 {
			first, err := use()
			h.ok(err)
			other = false
			gets := h.st.gets.Load()
			allocations = testing.AllocsPerRun(100, func() {
				again, err := use()
				h.ok(err)
				other = other || again != first
			})
			if reads = h.st.gets.Load() - gets; !other && reads == 0 && allocations == 0 {
				break
			}
		}
		if other || reads != 0 || allocations != 0 {
			t.Errorf("%s, each time: another answer %t, %d reads of the store, %v allocations", what, other, reads, allocations)
		}
	}
}
