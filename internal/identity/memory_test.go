package identity_test

import (
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"testing"

	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/identity"
)

// heap returns how many bytes are in use.
func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // what finalizers and weak pointers let go of
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestMemory: users, roles and sessions whose policies compile to much take no
// more memory than the directory may, and are still found.
func TestMemory(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	hostile := func(i, size int) string {
		begin := fmt.Sprintf(`{"Version":"2012-10-17","Statement":{"Sid":"S%d","Effect":"Allow","Action":"kms:*","Resource":"*","Condition":{"StringLike":{"a:b":[`, i)
		const end = `]}}}}`
		return begin + strings.TrimSuffix(strings.Repeat(`"${a}",`, (size-len(begin)-len(end))/7), ",") + end
	}
	const users, memory, slack = 100, 8 << 20, 4 << 20
	var keys []string
	var sessions []identity.Session
	worker := h.role("worker", trusting(ours))
	for i := range users {
		name := fmt.Sprint("u", i)
		h.user(name)
		h.ok(h.AttachPolicy(ctx, aUser(name), h.policy(fmt.Sprint("p", i), hostile(i, identity.MaxManagedSize))))
		h.ok(h.PutInlinePolicy(ctx, aUser(name), "p", hostile(i, identity.MaxUserInline)))
		keys = append(keys, h.accessKey(name))
		sessions = append(sessions, h.session(h.assume(worker, func(p *identity.SessionParams) { p.Policy = hostile(i, identity.MaxSessionPolicy) })))
	}
	for name, tt := range map[string]struct{ memory, least, most int64 }{
		"bounded":   {memory, memory / 16, memory + slack},
		"unbounded": {1 << 40, 3 * memory, 1 << 40},
	} {
		before := heap()
		d := identity.Open(h.rs, identity.Options{Memory: tt.memory, Now: h.clock.now, Log: slog.New(slog.DiscardHandler)})
		for range 2 {
			for i, key := range keys {
				if p, _, err := d.Credential(ctx, key, ""); err != nil || p.Name != fmt.Sprint("u", i) || len(p.Policies.Identity) != 2 {
					t.Fatalf("Credential = %+v, %v", p, err)
				}
				if p, _, err := d.Credential(ctx, sessions[i].AccessKeyID, sessions[i].Token); err != nil || len(p.Policies.Session) != 1 {
					t.Fatalf("Credential = %+v, %v", p, err)
				}
			}
		}
		n := heap() - before
		runtime.KeepAlive(d)
		t.Logf("%s: %d users and sessions take %d KiB", name, users, n>>10)
		if n < tt.least || n > tt.most {
			t.Errorf("%s: %d users and sessions take %d bytes, want %d to %d", name, users, n, tt.least, tt.most)
		}
	}
}

// TestShared: policies of the same text are one, and forgotten when nobody has
// them.
func TestShared(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	var first *call.Principal
	for i := range 5 {
		name := fmt.Sprint("u", i)
		h.user(name)
		h.ok(h.PutInlinePolicy(ctx, aUser(name), fmt.Sprint("p", i), allow("kms:*")))
		p := h.caller(h.accessKey(name), "")
		if first == nil {
			first = p
		}
		if p.Policies.Identity[0].Policy != first.Policies.Identity[0].Policy {
			t.Error("the same text was compiled twice")
		}
	}
	before := h.Compiled()
	for i := range 5 {
		h.ok(h.DeleteInlinePolicy(ctx, aUser(fmt.Sprint("u", i)), fmt.Sprint("p", i)))
	}
	first = nil
	h.rs.Flush()
	eventually(t, "forgotten", func() bool {
		runtime.GC()
		return h.Compiled() == before-1
	})
}
