//go:build !race

package keyring_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/authz"
	"github.com/keyreeve/keyreeve/internal/keyring"
	"github.com/keyreeve/keyreeve/internal/wire"
)

// heap returns how many bytes are in use.
func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // what finalizers and weak pointers let go of
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// hostilePolicy is a key policy of 32 KiB that compiles to as much as it can,
// and to something else for each i.
func hostilePolicy(i int) string {
	begin := fmt.Sprintf(`{"Version":"2012-10-17","Id":"%d","Statement":[{"Effect":"Allow","Principal":{"AWS":"%s"},"Action":"kms:*","Resource":"*"},`+
		`{"Effect":"Deny","Principal":"*","Action":"a:b","Resource":"*","Condition":{"StringLike":{"a:b":[`, i, account)
	const end = `]}}}]}`
	n := (keyring.MaxPolicy - len(begin) - len(end)) / len(`"${a}",`)
	return begin + strings.TrimSuffix(strings.Repeat(`"${a}",`, n), ",") + end
}

// TestMemory: keys with policies that compile to much, and grants of many
// constraints, take no more memory than the ring may, and still work.
func TestMemory(t *testing.T) {
	const keys, memory, slack = 60, 16 << 20, 4 << 20
	g := newRig(t, nil, keyring.Options{Memory: memory})
	var ids []string
	for i := range keys {
		c := newCall()
		m, err := g.ring.Create(t.Context(), c, permit(t, c, "kms:CreateKey", anyResource()), keyring.CreateParams{
			Account: account, Region: region, Spec: keyring.SymmetricDefault, Usage: keyring.EncryptDecrypt, Policy: hostilePolicy(i),
		})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, m.ID)
		with := someGrant()
		for j := range 500 { // a grant of 8 KiB
			with.Subset = append(with.Subset, wire.Pair{Name: fmt.Sprintf("%03d-%02d", j, i), Value: strings.Repeat("v", 4)})
		}
		for j := range 3 {
			with.Grantee = fmt.Sprintf("AIDA%d", j)
			g.grant(t, m.ID, with)
		}
	}
	use := func(ring *keyring.Ring) {
		t.Helper()
		for _, id := range ids {
			s, err := ring.Find(t.Context(), account, region, id)
			if err != nil {
				t.Fatal(err)
			}
			permit(t, newCall(), "kms:Decrypt", s.Resource())
			for j := range 3 {
				found := 0
				if err := s.Grants().Of(t.Context(), fmt.Sprintf("AIDA%d", j), "Decrypt", func(*authz.Grant) bool { found++; return true }); err != nil || found != 1 {
					t.Fatalf("found %d grants, %v", found, err)
				}
			}
		}
	}
	for name, tt := range map[string]struct{ memory, least, most int64 }{
		"bounded":   {memory, memory / 16, memory + slack},
		"unbounded": {1 << 40, 3 * memory, 1 << 40},
	} {
		o := keyring.Options{Memory: tt.memory, Now: func() time.Time { return start }}
		before := heap()
		other := newRig(t, g.store, o)
		use(other.ring)
		use(other.ring)
		n := heap() - before
		runtime.KeepAlive(other)
		t.Logf("%s: %d keys with their grants take %d KiB", name, keys, n>>10)
		if n < tt.least || n > tt.most {
			t.Errorf("%s: %d keys with their grants take %d bytes, want %d to %d", name, keys, n, tt.least, tt.most)
		}
	}
	runtime.KeepAlive(g)
}

// TestGrantsForOthers: of a page of grants none of which has an operation,
// decisions on it see none.
func TestGrantsForOthers(t *testing.T) {
	g := newRig(t, nil, keyring.Options{})
	id := g.create(t, keyring.SymmetricDefault, keyring.EncryptDecrypt).ID
	for i := range 40 { // two pages
		with := someGrant()
		with.Operations = []string{"Encrypt"}
		if i == 39 {
			with.Operations = []string{"Decrypt", "DescribeKey"}
		}
		g.grant(t, id, with)
	}
	s, err := g.ring.Find(t.Context(), account, region, id)
	if err != nil {
		t.Fatal(err)
	}
	for operation, want := range map[string]int{"": 40, "Encrypt": 40, "Decrypt": 8, "DescribeKey": 8, "Sign": 0, "ListGrants": 0} {
		seen, has := 0, false
		err := s.Grants().Of(t.Context(), grantee, operation, func(g *authz.Grant) bool {
			seen++
			for _, o := range g.Operations {
				has = has || o == operation
			}
			return true
		})
		if err != nil || seen != want || has != (want > 0 && operation != "") {
			t.Errorf("%q: %d grants are seen, want %d, %v", operation, seen, want, err)
		}
	}
}
