package keyring_test

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/keyreeve/keyreeve/internal/authz"
	"github.com/keyreeve/keyreeve/internal/keyring"
)

// agreementSpecs are the specs of keys that agree on secrets.
var agreementSpecs = []struct {
	spec  keyring.Spec
	curve elliptic.Curve
	oid   asn1.ObjectIdentifier
	size  int // of a secret
}{
	{keyring.ECCNISTP256, elliptic.P256(), asn1.ObjectIdentifier{1, 2, 840, 10045, 3, 1, 7}, 32},
	{keyring.ECCNISTP384, elliptic.P384(), asn1.ObjectIdentifier{1, 3, 132, 0, 34}, 48},
	{keyring.ECCNISTP521, elliptic.P521(), asn1.ObjectIdentifier{1, 3, 132, 0, 35}, 66},
}

// spkiOf is the SubjectPublicKeyInfo of what is said to be a point of a curve.
func spkiOf(algorithm asn1.ObjectIdentifier, curve func(*cryptobyte.Builder), point []byte) []byte {
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1ObjectIdentifier(algorithm)
			curve(b)
		})
		b.AddASN1BitString(point)
	})
	return b.BytesOrPanic()
}

func named(oid asn1.ObjectIdentifier) func(*cryptobyte.Builder) {
	return func(b *cryptobyte.Builder) { b.AddASN1ObjectIdentifier(oid) }
}

// explicitP256 describes P-256 by its parameters, with a generator of the
// attacker's choice, as CVE-2020-0601 does.
func explicitP256(b *cryptobyte.Builder) {
	p := elliptic.P256().Params()
	field := func(n *big.Int) []byte { return n.FillBytes(make([]byte, 32)) }
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1Int64(1)
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1ObjectIdentifier(asn1.ObjectIdentifier{1, 2, 840, 10045, 1, 1})
			b.AddASN1BigInt(p.P)
		})
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1OctetString(field(new(big.Int).Sub(p.P, big.NewInt(3))))
			b.AddASN1OctetString(field(p.B))
		})
		b.AddASN1OctetString(append(append([]byte{4}, field(p.Gx)...), field(p.Gy)...))
		b.AddASN1BigInt(p.N)
		b.AddASN1Int64(1)
	})
}

var ecPublicKey = asn1.ObjectIdentifier{1, 2, 840, 10045, 2, 1}

func TestDeriveSharedSecret(t *testing.T) {
	t.Parallel()
	g := newRig(t, nil, keyring.Options{})
	for _, tt := range agreementSpecs {
		one, two := g.create(t, tt.spec, keyring.KeyAgreement), g.create(t, tt.spec, keyring.KeyAgreement)
		derive := g.mustOpen(t, one.ID, "kms:DeriveSharedSecret")
		a, err := derive.DeriveSharedSecret(t.Context(), keyring.ECDH, two.PublicKey)
		if err != nil {
			t.Fatalf("%s: %v", tt.spec, err)
		}
		b, err := g.mustOpen(t, two.ID, "kms:DeriveSharedSecret").DeriveSharedSecret(t.Context(), keyring.ECDH, one.PublicKey)
		if err != nil || !bytes.Equal(a.Reveal(), b.Reveal()) || a.Len() != tt.size {
			t.Errorf("%s: %d bytes, the same on both sides: %t, %v", tt.spec, a.Len(), bytes.Equal(a.Reveal(), b.Reveal()), err)
		}
		deriveOpenSSL(t, tt.curve, one.PublicKey, func(peer []byte) []byte {
			shared, err := derive.DeriveSharedSecret(t.Context(), keyring.ECDH, peer)
			if err != nil {
				t.Fatalf("%s: the key of OpenSSL is refused: %v", tt.spec, err)
			}
			return shared.Reveal()
		})

		// What is no key to agree with.
		other, err := ecdsa.GenerateKey(tt.curve, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		spki, err := x509.MarshalPKIXPublicKey(&other.PublicKey)
		if err != nil {
			t.Fatal(err)
		}
		size := (tt.curve.Params().BitSize + 7) / 8
		point := spki[len(spki)-1-2*size:]
		off := slices.Clone(point)
		off[len(off)-1] ^= 1
		zeros := append([]byte{4}, make([]byte, 2*size)...)
		tooLarge := append(append([]byte{4}, tt.curve.Params().P.FillBytes(make([]byte, size))...), point[1+size:]...)
		compressed := append([]byte{2 + point[len(point)-1]&1}, point[1:1+size]...)
		hybrid := append([]byte{6 + point[len(point)-1]&1}, point[1:]...)
		for name, bad := range map[string][]byte{
			"nothing":             {},
			"no DER":              []byte("no DER"),
			"the point alone":     point,
			"a byte after":        append(slices.Clone(spki), 0),
			"cut short":           spki[:len(spki)-1],
			"not on the curve":    spkiOf(ecPublicKey, named(tt.oid), off),
			"(0, 0)":              spkiOf(ecPublicKey, named(tt.oid), zeros),
			"infinity":            spkiOf(ecPublicKey, named(tt.oid), []byte{0}),
			"x = p":               spkiOf(ecPublicKey, named(tt.oid), tooLarge),
			"no point":            spkiOf(ecPublicKey, named(tt.oid), nil),
			"x alone":             spkiOf(ecPublicKey, named(tt.oid), point[:1+size]),
			"compressed":          spkiOf(ecPublicKey, named(tt.oid), compressed),
			"hybrid":              spkiOf(ecPublicKey, named(tt.oid), hybrid),
			"another curve":       g.create(t, keyring.ECCSECGP256K1, keyring.SignVerify).PublicKey,
			"another family":      g.create(t, keyring.ECCEdwards25519, keyring.SignVerify).PublicKey,
			"explicit parameters": spkiOf(ecPublicKey, explicitP256, point),
			"no curve":            spkiOf(ecPublicKey, func(*cryptobyte.Builder) {}, point),
			"NULL for a curve":    spkiOf(ecPublicKey, func(b *cryptobyte.Builder) { b.AddASN1NULL() }, point),
		} {
			if _, err := derive.DeriveSharedSecret(t.Context(), keyring.ECDH, bad); !errors.Is(err, keyring.ErrPeerKey) {
				t.Errorf("%s, %s: %v, want ErrPeerKey", tt.spec, name, err)
			}
		}
		for _, wrong := range agreementSpecs {
			if wrong.spec != tt.spec {
				peer := g.create(t, wrong.spec, keyring.KeyAgreement).PublicKey
				if _, err := derive.DeriveSharedSecret(t.Context(), keyring.ECDH, peer); !errors.Is(err, keyring.ErrPeerKey) {
					t.Errorf("%s with a peer of %s: %v, want ErrPeerKey", tt.spec, wrong.spec, err)
				}
			}
		}

		var algorithm *keyring.AlgorithmError
		if _, err := derive.DeriveSharedSecret(t.Context(), keyring.ECDSASHA256, two.PublicKey); !errors.As(err, &algorithm) {
			t.Errorf("%s with ECDSA: %v, want an AlgorithmError", tt.spec, err)
		}
		var usage *keyring.UsageError
		if _, err := g.mustOpen(t, one.ID, "kms:Sign").Sign(t.Context(), keyring.ECDSASHA256, []byte("m"), false); !errors.As(err, &usage) {
			t.Errorf("%s signs: %v, want a UsageError", tt.spec, err)
		}
		signs := g.create(t, tt.spec, keyring.SignVerify)
		if _, err := g.mustOpen(t, signs.ID, "kms:DeriveSharedSecret").DeriveSharedSecret(t.Context(), keyring.ECDH, two.PublicKey); !errors.As(err, &usage) {
			t.Errorf("%s for signing agrees: %v, want a UsageError", tt.spec, err)
		}
		if _, err := g.mustOpen(t, one.ID, "kms:GetPublicKey").DeriveSharedSecret(t.Context(), keyring.ECDH, two.PublicKey); !errors.Is(err, authz.ErrNoPermit) {
			t.Errorf("%s without a permit: %v", tt.spec, err)
		}
	}
}

// deriveOpenSSL has OpenSSL, if it is there, make a key pair, agree with the
// public key ours, and compares what derive returns for its public key.
func deriveOpenSSL(t *testing.T, curve elliptic.Curve, ours []byte, derive func(peer []byte) []byte) {
	t.Helper()
	program, err := exec.LookPath("openssl")
	if err != nil {
		return
	}
	dir := t.TempDir()
	run := func(args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), program, args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("openssl %v: %v: %s", args, err, out)
		}
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: ours})
	if err := os.WriteFile(filepath.Join(dir, "ours"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	run("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:"+curve.Params().Name, "-out", "key")
	run("pkey", "-in", "key", "-pubout", "-outform", "DER", "-out", "public")
	run("pkeyutl", "-derive", "-inkey", "key", "-peerkey", "ours", "-out", "shared")
	public, err := os.ReadFile(filepath.Join(dir, "public"))
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(filepath.Join(dir, "shared"))
	if err != nil {
		t.Fatal(err)
	}
	if got := derive(public); !bytes.Equal(got, want) {
		t.Errorf("%s: not what OpenSSL has derived", curve.Params().Name)
	}
}

// RFC 5903, 8.1: the 256-bit random ECP group.
func TestKnownSharedSecret(t *testing.T) {
	g := newRig(t, nil, keyring.Options{})
	private, err := ecdh.P256().NewPrivateKey(unhex("c88f01f510d9ac3f70a292daa2316de544e9aab8afe84049c62a9c57862d1433"))
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	m := g.seed(t, "11111111-1111-4111-8111-111111111111", keyring.ECCNISTP256, keyring.KeyAgreement, der)
	peer := spkiOf(ecPublicKey, named(agreementSpecs[0].oid), unhex("04"+
		"d12dfb5289c8d4f81208b70270398c342296970a0bccb74c736fc7554494bf63"+"56fbf3ca366cc23e8157854c13c58d6aac23f046ada30f8353e74f33039872ab"))
	got, err := g.mustOpen(t, m.ID, "kms:DeriveSharedSecret").DeriveSharedSecret(t.Context(), keyring.ECDH, peer)
	want := unhex("d6840f6b42f6edafd13116e0e12565202fef8e9ece7dce03812464d04b9442de")
	if err != nil || !bytes.Equal(got.Reveal(), want) {
		t.Errorf("got %x, %v; want %x", got.Reveal(), err, want)
	}
}

func FuzzPeerKey(f *testing.F) {
	for _, tt := range agreementSpecs {
		_, public, err := keyring.GeneratePair(tt.spec)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(public)
	}
	f.Add([]byte{0x30, 0x84, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, tt := range agreementSpecs {
			out, err := keyring.ParsePublic(tt.spec, b)
			if err != nil {
				continue
			}
			if again, err := keyring.ParsePublic(tt.spec, out); err != nil || !bytes.Equal(again, out) {
				t.Fatalf("%s: %x: %x, %v", tt.spec, b, again, err)
			}
		}
	})
}
