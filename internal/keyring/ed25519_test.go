package keyring_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	independent "github.com/cloudflare/circl/sign/ed25519"

	"github.com/keyreeve/keyreeve/internal/keyring"
)

// rawEd25519 returns the 32 bytes of a public key in DER: RFC 8410, 4.
func rawEd25519(t *testing.T, spki []byte) []byte {
	t.Helper()
	raw, ok := bytes.CutPrefix(spki, unhex("302a300506032b6570032100"))
	if !ok || len(raw) != 32 {
		t.Fatalf("no SubjectPublicKeyInfo of Ed25519: %x", spki)
	}
	return raw
}

func TestEd25519(t *testing.T) {
	t.Parallel()
	g := newRig(t, nil, keyring.Options{})
	m := g.create(t, keyring.ECCEdwards25519, keyring.SignVerify)
	sign, verify := g.mustOpen(t, m.ID, "kms:Sign"), g.mustOpen(t, m.ID, "kms:Verify")
	public := independent.PublicKey(rawEd25519(t, m.PublicKey))
	for _, message := range [][]byte{{0}, []byte("a message"), bytes.Repeat([]byte{7}, 4096)} {
		s, err := sign.Sign(t.Context(), keyring.ED25519SHA512, message, false)
		if err != nil || len(s) != ed25519.SignatureSize {
			t.Fatalf("%d bytes, %v", len(s), err)
		}
		if !independent.Verify(public, message, s) {
			t.Errorf("another implementation does not verify %x", s)
		}
		verifyEd25519OpenSSL(t, m.PublicKey, message, s)
		if ok, err := verify.Verify(t.Context(), keyring.ED25519SHA512, message, false, s); !ok || err != nil {
			t.Errorf("Verify = %t, %v", ok, err)
		}
		for name, bad := range map[string][]byte{
			"none": nil, "empty": {}, "cut short": s[:63], "longer": append(slices.Clone(s), 0), "zeros": make([]byte, 64), "ones": bytes.Repeat([]byte{0xff}, 64),
			"s + L": malleable(s), "halves swapped": append(slices.Clone(s[32:]), s[:32]...), "of 6144 bytes": make([]byte, 6144),
		} {
			if ok, err := verify.Verify(t.Context(), keyring.ED25519SHA512, message, false, bad); ok || err != nil {
				t.Errorf("%s: Verify = %t, %v", name, ok, err)
			}
		}
		if ok, err := verify.Verify(t.Context(), keyring.ED25519SHA512, []byte("another"), false, s); ok || err != nil {
			t.Errorf("of another message: Verify = %t, %v", ok, err)
		}
	}

	// Ed25519ph takes 64 bytes, and hashes them.
	digest := bytes.Repeat([]byte{9}, 64)
	s, err := sign.Sign(t.Context(), keyring.ED25519PHSHA512, digest, true)
	if err != nil || !independent.VerifyPh(public, digest, s, "") {
		t.Errorf("another implementation does not verify the Ed25519ph signature %x: %v", s, err)
	}
	if ok, err := verify.Verify(t.Context(), keyring.ED25519PHSHA512, digest, true, s); !ok || err != nil {
		t.Errorf("Ed25519ph: Verify = %t, %v", ok, err)
	}
	if ok, _ := verify.Verify(t.Context(), keyring.ED25519SHA512, digest, false, s); ok {
		t.Error("an Ed25519ph signature passes as one of Ed25519")
	}
	if ok, _ := verify.Verify(t.Context(), keyring.ED25519PHSHA512, digest, true, malleable(s)); ok {
		t.Error("Ed25519ph: s + L passes")
	}
	for _, n := range []int{0, 32, 63, 65} {
		if _, err := sign.Sign(t.Context(), keyring.ED25519PHSHA512, make([]byte, n), true); !errors.Is(err, keyring.ErrDigestLength) {
			t.Errorf("a digest of %d bytes: %v, want ErrDigestLength", n, err)
		}
	}
	if _, err := sign.Sign(t.Context(), keyring.ED25519SHA512, digest, true); !errors.Is(err, keyring.ErrParameter) {
		t.Errorf("Ed25519 of a digest: %v", err)
	}
	if _, err := verify.Verify(t.Context(), keyring.ED25519PHSHA512, digest, false, s); !errors.Is(err, keyring.ErrParameter) {
		t.Errorf("Ed25519ph of a message: %v", err)
	}

	// The other way round: what another implementation signs is taken.
	theirPublic, theirs, err := independent.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(ed25519.NewKeyFromSeed(theirs.Seed()))
	if err != nil {
		t.Fatal(err)
	}
	their := g.seed(t, "11111111-1111-4111-8111-111111111111", keyring.ECCEdwards25519, keyring.SignVerify, der)
	if !bytes.Equal(rawEd25519(t, their.PublicKey), theirPublic) {
		t.Errorf("public key %x, want %x", their.PublicKey, theirPublic)
	}
	verify = g.mustOpen(t, their.ID, "kms:Verify")
	if ok, err := verify.Verify(t.Context(), keyring.ED25519SHA512, digest, false, independent.Sign(theirs, digest)); !ok || err != nil {
		t.Errorf("theirs: Verify = %t, %v", ok, err)
	}
	if ok, err := verify.Verify(t.Context(), keyring.ED25519PHSHA512, digest, true, independent.SignPh(theirs, digest, "")); !ok || err != nil {
		t.Errorf("theirs, Ed25519ph: Verify = %t, %v", ok, err)
	}
	if ok, _ := verify.Verify(t.Context(), keyring.ED25519PHSHA512, digest, true, independent.SignPh(theirs, digest, "context")); ok {
		t.Error("an Ed25519ph signature with a context passes")
	}
}

// malleable returns the signature with the order of the group added to s, which
// is right but for its range: RFC 8032, 8.4.
func malleable(signature []byte) []byte {
	order, _ := new(big.Int).SetString("7237005577332262213973186563042994240857116359379907606001950938285454250989", 10)
	reversed := slices.Clone(signature[32:])
	slices.Reverse(reversed)
	s := new(big.Int).SetBytes(reversed)
	s.Add(s, order)
	b := s.FillBytes(make([]byte, 32))
	slices.Reverse(b)
	return append(slices.Clone(signature[:32]), b...)
}

// RFC 8032, 7.1, TEST 2.
func TestKnownEd25519(t *testing.T) {
	g := newRig(t, nil, keyring.Options{})
	der, err := x509.MarshalPKCS8PrivateKey(ed25519.NewKeyFromSeed(unhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")))
	if err != nil {
		t.Fatal(err)
	}
	m := g.seed(t, "11111111-1111-4111-8111-111111111111", keyring.ECCEdwards25519, keyring.SignVerify, der)
	if want := unhex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"); !bytes.Equal(rawEd25519(t, m.PublicKey), want) {
		t.Errorf("public key %x", m.PublicKey)
	}
	got, err := g.mustOpen(t, m.ID, "kms:Sign").Sign(t.Context(), keyring.ED25519SHA512, []byte{0x72}, false)
	want := unhex("92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00")
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("signature %x, %v", got, err)
	}
}

// verifyEd25519OpenSSL verifies a signature with OpenSSL, if it is there.
func verifyEd25519OpenSSL(t *testing.T, spki, message, signature []byte) {
	t.Helper()
	program, err := exec.LookPath("openssl")
	if err != nil {
		return
	}
	dir := t.TempDir()
	text := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: spki})
	for name, b := range map[string][]byte{"public": text, "message": message, "signature": signature} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), program, "pkeyutl", "-verify", "-pubin", "-inkey", "public", "-rawin", "-in", "message", "-sigfile", "signature")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("OpenSSL does not verify %x: %v: %s", signature, err, out)
	}
}
