package keyring_test

import (
	"fmt"
	"testing"

	"github.com/keyreeve/keyreeve/internal/authz"
	"github.com/keyreeve/keyreeve/internal/keyring"
)

// What it costs to find a grantee's grant on a key, as others have grants on it.
func BenchmarkGrants(b *testing.B) {
	for _, others := range []int{0, 100, 10_000} {
		b.Run(fmt.Sprint(others), func(b *testing.B) {
			g := newRig(b, nil, keyring.Options{})
			m := g.create(b, keyring.SymmetricDefault, keyring.EncryptDecrypt)
			for i := range others {
				with := someGrant()
				with.Grantee = fmt.Sprintf("AIDAOTHER%d", i)
				g.grant(b, m.ID, with)
			}
			g.grant(b, m.ID, someGrant())
			s, err := g.ring.Find(b.Context(), account, region, m.ID)
			if err != nil {
				b.Fatal(err)
			}
			found := 0
			visit := func(*authz.Grant) bool { found++; return false }
			b.ReportAllocs()
			for b.Loop() {
				if err := s.Grants().Of(b.Context(), grantee, "Decrypt", visit); err != nil {
					b.Fatal(err)
				}
			}
			if found == 0 {
				b.Error("it was not found")
			}
		})
	}
}

func BenchmarkCreateGrant(b *testing.B) {
	for name, grantee := range map[string]func(int) string{
		"one grantee":   func(int) string { return grantee },
		"many grantees": func(i int) string { return fmt.Sprintf("AIDAOTHER%d", i) },
	} {
		b.Run(name, func(b *testing.B) {
			g := newRig(b, nil, keyring.Options{})
			m := g.create(b, keyring.SymmetricDefault, keyring.EncryptDecrypt)
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				with := someGrant()
				with.Grantee = grantee(i)
				if i++; i%(keyring.MaxGrants-1) == 0 {
					m = g.create(b, keyring.SymmetricDefault, keyring.EncryptDecrypt)
				}
				g.grant(b, m.ID, with)
			}
		})
	}
}

// What it costs that one grantee has many grants on a key: those of the
// operation are all looked at, and pages without it are not.
func BenchmarkGrantsOfOne(b *testing.B) {
	const grants = 10_000
	g := newRig(b, nil, keyring.Options{})
	m := g.create(b, keyring.SymmetricDefault, keyring.EncryptDecrypt)
	for range grants {
		with := someGrant()
		with.Operations = []string{"Encrypt"}
		g.grant(b, m.ID, with)
	}
	s, err := g.ring.Find(b.Context(), account, region, m.ID)
	if err != nil {
		b.Fatal(err)
	}
	for _, operation := range []string{"Encrypt", "Decrypt"} {
		b.Run(operation, func(b *testing.B) {
			found := 0
			visit := func(*authz.Grant) bool { found++; return true }
			b.ReportAllocs()
			for b.Loop() {
				if err := s.Grants().Of(b.Context(), grantee, operation, visit); err != nil {
					b.Fatal(err)
				}
			}
			if (found == 0) != (operation == "Decrypt") {
				b.Errorf("%d were found", found)
			}
		})
	}
}

// BenchmarkNote notes uses of one key, by many at once.
func BenchmarkNote(b *testing.B) {
	g := newRig(b, nil, keyring.Options{})
	m := g.create(b, keyring.HMAC256, keyring.GenerateVerifyMAC)
	u := keyring.NewUses(g.ring, keyring.UsesOptions{})
	use := useOf("VerifyMac", 0, 1)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			u.Note(m.ARN, use)
		}
	})
}
