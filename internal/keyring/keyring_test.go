package keyring_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"testing"

	"github.com/keyreeve/keyreeve/internal/authz"
	"github.com/keyreeve/keyreeve/internal/call"
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

// decryptWarm goes the way of a Decrypt in a server, but for the wire.
func decryptWarm(t testing.TB, g *rig, blob []byte, c *call.Call) []byte {
	h, err := keyring.Inspect(blob)
	if err != nil {
		t.Fatal(err)
	}
	s, err := g.ring.Find(background, h.Account, region, h.KeyID)
	if err != nil {
		t.Fatal(err)
	}
	resource := s.Resource()
	p, err := authorizer.Decide(background, c, "kms:Decrypt", &resource, nil)
	if err != nil {
		t.Fatal(err)
	}
	k, err := g.ring.Open(background, c, p)
	if err != nil {
		t.Fatal(err)
	}
	plaintext, _, err := k.Decrypt(background, keyring.AlgorithmSymmetricDefault, blob, nil)
	if err != nil {
		t.Fatal(err)
	}
	return plaintext.Reveal()
}

var (
	background = context.Background()
	authorizer = authz.New(nil)
)

// BenchmarkDecrypt is Inspect, Find, Decide, Open and Decrypt of 32 bytes.
func BenchmarkDecrypt(b *testing.B) {
	g, _, blob := sealed(b, nil)
	c := newCall()
	b.ReportAllocs()
	for b.Loop() {
		decryptWarm(b, g, blob, c)
	}
}

// BenchmarkUse is each use of a key that is open already.
func BenchmarkUse(b *testing.B) {
	g := newRig(b, nil, keyring.Options{})
	symmetric := g.create(b, keyring.SymmetricDefault, keyring.EncryptDecrypt).ID
	mac := g.create(b, keyring.HMAC256, keyring.GenerateVerifyMAC).ID
	p256 := g.create(b, keyring.ECCNISTP256, keyring.SignVerify).ID
	k1 := g.create(b, keyring.ECCSECGP256K1, keyring.SignVerify).ID
	rsa := g.create(b, keyring.RSA2048, keyring.SignVerify).ID
	run := func(name, id, action string, f func(k keyring.Key) error) {
		b.Run(name, func(b *testing.B) {
			k := g.mustOpen(b, id, action)
			b.ReportAllocs()
			for b.Loop() {
				if err := f(k); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	message := make([]byte, 32)
	run("Encrypt", symmetric, "kms:Encrypt", func(k keyring.Key) error {
		_, err := k.Encrypt(background, keyring.AlgorithmSymmetricDefault, message, nil)
		return err
	})
	run("Encrypt4096", symmetric, "kms:Encrypt", func(k keyring.Key) error {
		_, err := k.Encrypt(background, keyring.AlgorithmSymmetricDefault, page, nil)
		return err
	})
	run("GenerateDataKey", symmetric, "kms:GenerateDataKey", func(k keyring.Key) error {
		_, err := k.GenerateDataKey(background, 32, nil)
		return err
	})
	run("GenerateMAC", mac, "kms:GenerateMac", func(k keyring.Key) error {
		_, err := k.GenerateMAC(background, keyring.HMACSHA256, message)
		return err
	})
	run("SignP256", p256, "kms:Sign", func(k keyring.Key) error {
		_, err := k.Sign(background, keyring.ECDSASHA256, message, true)
		return err
	})
	run("SignP256K1", k1, "kms:Sign", func(k keyring.Key) error {
		_, err := k.Sign(background, keyring.ECDSASHA256, message, true)
		return err
	})
	run("SignRSA2048", rsa, "kms:Sign", func(k keyring.Key) error {
		_, err := k.Sign(background, keyring.RSASSAPKCS1V15SHA256, message, true)
		return err
	})
}

var page = make([]byte, 4096)

// BenchmarkRaw is the cryptography of BenchmarkUse alone.
func BenchmarkRaw(b *testing.B) {
	message := make([]byte, 32)
	b.Run("AES-256-GCM", func(b *testing.B) {
		b.ReportAllocs()
		key, out, aad := make([]byte, 32), make([]byte, 0, 256), make([]byte, 81)
		for b.Loop() {
			block, err := aes.NewCipher(key)
			if err != nil {
				b.Fatal(err)
			}
			aead, err := cipher.NewGCMWithRandomNonce(block)
			if err != nil {
				b.Fatal(err)
			}
			aead.Seal(out, nil, message, aad)
		}
	})
	b.Run("SignP256", func(b *testing.B) {
		b.ReportAllocs()
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			if _, err := ecdsa.SignASN1(rand.Reader, k, message); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("SignRSA2048", func(b *testing.B) {
		b.ReportAllocs()
		k, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			if _, err := rsa.SignPKCS1v15(nil, k, crypto.SHA256, message); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkCreate is a key made in a store in memory.
func BenchmarkCreate(b *testing.B) {
	g := newRig(b, nil, keyring.Options{})
	b.ReportAllocs()
	for b.Loop() {
		g.create(b, keyring.SymmetricDefault, keyring.EncryptDecrypt)
	}
}

// BenchmarkKeys is a page of 100 keys of a list.
func BenchmarkKeys(b *testing.B) {
	g := newRig(b, nil, keyring.Options{})
	for range 150 {
		g.create(b, keyring.SymmetricDefault, keyring.EncryptDecrypt)
	}
	b.ReportAllocs()
	for b.Loop() {
		if n := len(g.keys(b, "", 100)); n != 101 {
			b.Fatalf("%d keys and …, want 100", n)
		}
	}
}
