package keyring_test

import (
	"bytes"
	"testing"

	"github.com/keyreeve/keyreeve/internal/keyring"
	"github.com/keyreeve/keyreeve/internal/wire"
)

func TestSymmetricRoundTrip(t *testing.T) {
	g := newRig(t, nil, keyring.Options{})
	m := g.create(t, keyring.SymmetricDefault, keyring.EncryptDecrypt)
	for _, n := range []int{1, 32, 4096} {
		plaintext := bytes.Repeat([]byte{7}, n)
		ec := wire.NewStringMap(wire.Pair{Name: "a", Value: "b"})
		blob, err := g.mustOpen(t, m.ID, "kms:Encrypt").Encrypt(t.Context(), keyring.AlgorithmSymmetricDefault, plaintext, ec)
		if err != nil {
			t.Fatal(err)
		}
		if len(blob) != n+105 {
			t.Errorf("ciphertext of %d bytes has %d, want %d", n, len(blob), n+105)
		}
		h, err := keyring.Inspect(blob)
		if err != nil || h != (keyring.Header{Account: account, KeyID: m.ID, MaterialID: m.MaterialID}) {
			t.Errorf("Inspect = %+v, %v", h, err)
		}
		got, id, err := g.mustOpen(t, m.ID, "kms:Decrypt").Decrypt(t.Context(), keyring.AlgorithmSymmetricDefault, blob, ec)
		if err != nil || id != m.MaterialID || !bytes.Equal(got.Reveal(), plaintext) {
			t.Errorf("Decrypt = %d bytes, %q, %v", got.Len(), id, err)
		}
	}
}

func BenchmarkEncrypt(b *testing.B) {
	g := newRig(b, nil, keyring.Options{})
	m := g.create(b, keyring.SymmetricDefault, keyring.EncryptDecrypt)
	plaintext := make([]byte, 32)
	ec := wire.NewStringMap(wire.Pair{Name: "purpose", Value: "benchmark"})
	b.ReportAllocs()
	for b.Loop() {
		k := g.mustOpen(b, m.ID, "kms:Encrypt")
		if _, err := k.Encrypt(b.Context(), keyring.AlgorithmSymmetricDefault, plaintext, ec); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecrypt(b *testing.B) {
	g := newRig(b, nil, keyring.Options{})
	m := g.create(b, keyring.SymmetricDefault, keyring.EncryptDecrypt)
	ec := wire.NewStringMap(wire.Pair{Name: "purpose", Value: "benchmark"})
	blob, err := g.mustOpen(b, m.ID, "kms:Encrypt").Encrypt(b.Context(), keyring.AlgorithmSymmetricDefault, make([]byte, 32), ec)
	if err != nil {
		b.Fatal(err)
	}
	c := newCall()
	b.ReportAllocs()
	for b.Loop() {
		h, err := keyring.Inspect(blob)
		if err != nil {
			b.Fatal(err)
		}
		s, err := g.ring.Find(b.Context(), h.Account, region, h.KeyID)
		if err != nil {
			b.Fatal(err)
		}
		k, err := g.ring.Open(b.Context(), c, permit(b, c, "kms:Decrypt", s.Resource()))
		if err != nil {
			b.Fatal(err)
		}
		if _, _, err := k.Decrypt(b.Context(), keyring.AlgorithmSymmetricDefault, blob, ec); err != nil {
			b.Fatal(err)
		}
	}
}
