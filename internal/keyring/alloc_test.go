//go:build !race

// The race detector makes pools forget, so ceilings hold without it.

package keyring_test

import (
	"crypto/fips140"
	"testing"

	"github.com/keyreeve/keyreeve/internal/authz"
	"github.com/keyreeve/keyreeve/internal/keyring"
	"github.com/keyreeve/keyreeve/policy"
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

// What a decision asks of a key that is cached: its resource, its values, and a
// grantee's grants.
func TestResourceAllocations(t *testing.T) {
	g := newRig(t, nil, keyring.Options{})
	m := g.create(t, keyring.SymmetricDefault, keyring.EncryptDecrypt)
	if err := g.createAlias(t, m.ID, "alias/a"); err != nil {
		t.Fatal(err)
	}
	for range keyring.GrantPage + 1 {
		g.grant(t, m.ID, someGrant())
	}
	s, err := g.ring.Find(t.Context(), account, region, m.ID)
	if err != nil {
		t.Fatal(err)
	}
	keys := make([]policy.Key, 0, 4)
	for _, name := range []string{"kms:KeySpec", "kms:ResourceAliases", "aws:ResourceTag/a", "kms:MultiRegion"} {
		keys = append(keys, policy.ParseKey(name))
	}
	seen := 0
	visit := func(*authz.Grant) bool { seen++; return true }
	for name, f := range map[string]func(){
		"Values": func() {
			r := s.Resource()
			for i := range keys {
				r.Values.Value(&keys[i])
			}
		},
		"Grants.Of": func() {
			if err := s.Resource().Grants.Of(t.Context(), grantee, "Decrypt", visit); err != nil {
				t.Fatal(err)
			}
		},
		"Grants.Of another kind": func() {
			if err := s.Resource().Grants.Of(t.Context(), "arn:aws:iam::111122223333:root", "Decrypt", visit); err != nil {
				t.Fatal(err)
			}
		},
	} {
		f()
		if n := testing.AllocsPerRun(200, f); n > 1 {
			t.Errorf("%s allocates %.0f times, want at most once", name, n)
		}
	}
	if seen == 0 {
		t.Error("no grant was seen")
	}
}

// To note the use of a key that was noted in the same second costs nothing.
func TestNoteAllocations(t *testing.T) {
	g := newRig(t, nil, keyring.Options{})
	m := g.create(t, keyring.HMAC256, keyring.GenerateVerifyMAC)
	u := keyring.NewUses(g.ring, keyring.UsesOptions{})
	use := useOf("VerifyMac", 0, 1)
	u.Note(m.ARN, use)
	if n := testing.AllocsPerRun(200, func() { u.Note(m.ARN, use) }); n > 0 {
		t.Errorf("noting a use allocates %.0f times", n)
	}
}

// What was encrypted before a rotation costs no more than what was after it.
func TestOldMaterialAllocations(t *testing.T) {
	g, m, blob := sealed(t, nil)
	for range 3 {
		if err := g.rotateOnDemand(t, m.ID, start); err != nil {
			t.Fatal(err)
		}
	}
	k := g.mustOpen(t, m.ID, "kms:Decrypt")
	current, err := g.mustOpen(t, m.ID, "kms:Encrypt").Encrypt(t.Context(), keyring.AlgorithmSymmetricDefault, []byte("sixteen byte key"), nil)
	if err != nil {
		t.Fatal(err)
	}
	allocations := func(blob []byte) float64 {
		decrypt := func() {
			if _, _, err := k.Decrypt(t.Context(), keyring.AlgorithmSymmetricDefault, blob, nil); err != nil {
				t.Fatal(err)
			}
		}
		decrypt()
		return testing.AllocsPerRun(200, decrypt)
	}
	if old, now := allocations(blob), allocations(current); old > now {
		t.Errorf("a warm Decrypt with old material allocates %.0f times, with the current one %.0f", old, now)
	}
}
