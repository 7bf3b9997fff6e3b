package keyring_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"hash"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	k1ecdsa "github.com/decred/dcrd/dcrec/secp256k1/v4/ecdsa"
	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/keyreeve/keyreeve/internal/authz"
	"github.com/keyreeve/keyreeve/internal/keyring"
	"github.com/keyreeve/keyreeve/internal/wire"
)

var p256 = elliptic.P256()

var hashes = map[string]crypto.Hash{"_1": crypto.SHA1, "_224": crypto.SHA224, "_256": crypto.SHA256, "_384": crypto.SHA384, "_512": crypto.SHA512}

// hashOf goes by the algorithm's name.
func hashOf(a keyring.Algorithm) crypto.Hash {
	return hashes[string(a[strings.LastIndexByte(string(a), '_'):])]
}

func sum(h crypto.Hash, b []byte) []byte {
	d := h.New()
	d.Write(b)
	return d.Sum(nil)
}

func TestAlgorithms(t *testing.T) {
	for _, tt := range []struct {
		spec  keyring.Spec
		usage keyring.Usage
		want  string
	}{
		{"SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT", "SYMMETRIC_DEFAULT"},
		{"RSA_2048", "ENCRYPT_DECRYPT", "RSAES_OAEP_SHA_1 RSAES_OAEP_SHA_256"},
		{"RSA_4096", "SIGN_VERIFY", "RSASSA_PKCS1_V1_5_SHA_256 RSASSA_PKCS1_V1_5_SHA_384 RSASSA_PKCS1_V1_5_SHA_512 RSASSA_PSS_SHA_256 RSASSA_PSS_SHA_384 RSASSA_PSS_SHA_512"},
		{"ECC_NIST_P256", "SIGN_VERIFY", "ECDSA_SHA_256"},
		{"ECC_NIST_P384", "SIGN_VERIFY", "ECDSA_SHA_384"},
		{"ECC_NIST_P521", "SIGN_VERIFY", "ECDSA_SHA_512"},
		{"ECC_SECG_P256K1", "SIGN_VERIFY", "ECDSA_SHA_256"},
		{"ECC_NIST_EDWARDS25519", "SIGN_VERIFY", "ED25519_PH_SHA_512 ED25519_SHA_512"},
		{"ECC_NIST_EDWARDS25519", "KEY_AGREEMENT", ""},
		{"ECC_NIST_P256", "KEY_AGREEMENT", "ECDH"},
		{"ECC_NIST_P384", "KEY_AGREEMENT", "ECDH"},
		{"ECC_NIST_P521", "KEY_AGREEMENT", "ECDH"},
		{"ECC_SECG_P256K1", "KEY_AGREEMENT", ""},
		{"ML_KEM_512", "ENCAPSULATE_DECAPSULATE", "ML_KEM"},
		{"ML_DSA_44", "SIGN_VERIFY", "ML_DSA_SHAKE_256"},
		{"ML_DSA_87", "ENCAPSULATE_DECAPSULATE", ""},
		{"ML_KEM_1024", "KEY_AGREEMENT", ""},
		{"HMAC_224", "GENERATE_VERIFY_MAC", "HMAC_SHA_224"},
		{"HMAC_512", "GENERATE_VERIFY_MAC", "HMAC_SHA_512"},
		{"SYMMETRIC_DEFAULT", "SIGN_VERIFY", ""},
		{"RSA_2048", "GENERATE_VERIFY_MAC", ""},
		{"ECC_NIST_P256", "ENCRYPT_DECRYPT", ""},
		{"HMAC_256", "ENCRYPT_DECRYPT", ""},
		{"SM2", "SIGN_VERIFY", "SM2DSA"},
		{"SM2", "ENCRYPT_DECRYPT", "SM2PKE"},
		{"SM2", "KEY_AGREEMENT", "ECDH"},
		{"SM2", "GENERATE_VERIFY_MAC", ""},
		{"SM4", "ENCRYPT_DECRYPT", ""},
		{"", "", ""},
	} {
		var got []string
		for _, a := range keyring.Algorithms(tt.spec, tt.usage) {
			got = append(got, string(a))
		}
		if s := strings.Join(got, " "); s != tt.want {
			t.Errorf("Algorithms(%s, %s) = %s, want %s", tt.spec, tt.usage, s, tt.want)
		}
		if keyring.Compatible(tt.spec, tt.usage) != (tt.want != "") {
			t.Errorf("Compatible(%s, %s) = %t", tt.spec, tt.usage, tt.want == "")
		}
	}
}

// createTest is create, with keys from testdata of the specs that take long to make.
func (g *rig) createTest(t *testing.T, s keyring.Spec, u keyring.Usage) *keyring.Metadata {
	t.Helper()
	file, id := "testdata/rsa3072.pem", "33333333-3333-4333-8333-333333333333"
	switch s {
	case keyring.RSA3072:
	case keyring.RSA4096:
		file, id = "testdata/rsa4096.pem", "44444444-4444-4444-8444-444444444444"
	default:
		return g.create(t, s, u)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	return g.seed(t, id, s, u, block.Bytes)
}

// verifyStd verifies a signature with the standard library alone.
func verifyStd(t *testing.T, spki []byte, a keyring.Algorithm, digest, signature []byte) bool {
	t.Helper()
	p, err := x509.ParsePKIXPublicKey(spki)
	if err != nil {
		t.Fatal(err)
	}
	switch p := p.(type) {
	case *rsa.PublicKey:
		if strings.Contains(string(a), "PSS") {
			return rsa.VerifyPSS(p, hashOf(a), digest, signature, &rsa.PSSOptions{SaltLength: hashOf(a).Size()}) == nil
		}
		return rsa.VerifyPKCS1v15(p, hashOf(a), digest, signature) == nil
	case *ecdsa.PublicKey:
		return ecdsa.VerifyASN1(p, digest, signature)
	}
	return false
}

func TestSignVerify(t *testing.T) {
	t.Parallel()
	g := newRig(t, nil, keyring.Options{})
	message := []byte("a message")
	for _, spec := range []keyring.Spec{keyring.RSA2048, keyring.RSA3072, keyring.RSA4096, keyring.ECCNISTP256, keyring.ECCNISTP384, keyring.ECCNISTP521, keyring.ECCSECGP256K1} {
		m := g.createTest(t, spec, keyring.SignVerify)
		sign, verify := g.mustOpen(t, m.ID, "kms:Sign"), g.mustOpen(t, m.ID, "kms:Verify")
		spki, err := g.mustOpen(t, m.ID, "kms:GetPublicKey").PublicKey()
		if err != nil || !bytes.Equal(spki, m.PublicKey) {
			t.Fatalf("%s: PublicKey = %x, %v", spec, spki, err)
		}
		for _, a := range keyring.Algorithms(spec, keyring.SignVerify) {
			name := string(spec) + " " + string(a)
			digest := sum(hashOf(a), message)
			raw, err := sign.Sign(t.Context(), a, message, false)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			ofDigest, err := sign.Sign(t.Context(), a, digest, true)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			for i, s := range [][]byte{raw, ofDigest} {
				if ok, err := verify.Verify(t.Context(), a, message, false, s); !ok || err != nil {
					t.Errorf("%s: Verify(raw) of signature %d = %t, %v", name, i, ok, err)
				}
				if ok, err := verify.Verify(t.Context(), a, digest, true, s); !ok || err != nil {
					t.Errorf("%s: Verify(digest) of signature %d = %t, %v", name, i, ok, err)
				}
				if spec != keyring.ECCSECGP256K1 && !verifyStd(t, spki, a, digest, s) {
					t.Errorf("%s: the standard library does not verify signature %d", name, i)
				}
			}
			if ok, _ := verify.Verify(t.Context(), a, []byte("another"), false, raw); ok {
				t.Errorf("%s: verified for another message", name)
			}
			for _, bad := range [][]byte{nil, {}, {0}, raw[:len(raw)-1], append(slices.Clone(raw), 0), bytes.Repeat([]byte{0xff}, len(raw)), make([]byte, len(raw)), make([]byte, 6144)} {
				if ok, err := verify.Verify(t.Context(), a, message, false, bad); ok || err != nil {
					t.Errorf("%s: Verify of %d bytes that are no signature = %t, %v", name, len(bad), ok, err)
				}
			}
			for _, n := range []int{0, 1, 20, 31, 33, 47, 49, 63, 65} {
				if _, err := sign.Sign(t.Context(), a, make([]byte, n), true); !errors.Is(err, keyring.ErrDigestLength) {
					t.Errorf("%s: Sign of a digest of %d bytes: %v, want ErrDigestLength", name, n, err)
				}
				if _, err := verify.Verify(t.Context(), a, make([]byte, n), true, raw); !errors.Is(err, keyring.ErrDigestLength) {
					t.Errorf("%s: Verify of a digest of %d bytes: %v, want ErrDigestLength", name, n, err)
				}
			}
		}
		var bad *keyring.AlgorithmError
		for _, a := range []keyring.Algorithm{keyring.RSAESOAEPSHA1, keyring.HMACSHA256, keyring.AlgorithmSymmetricDefault, "", "ED25519_SHA_512"} {
			if _, err := sign.Sign(t.Context(), a, message, false); !errors.As(err, &bad) || *bad != (keyring.AlgorithmError{Algorithm: a, Spec: spec}) {
				t.Errorf("%s: Sign with %q: %v, want an AlgorithmError", spec, a, err)
			}
		}
	}
}

// rs encodes an ECDSA signature in DER.
func rs(r, s *big.Int) []byte {
	var b cryptobyte.Builder
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1BigInt(r)
		b.AddASN1BigInt(s)
	})
	return b.BytesOrPanic()
}

func bigHex(s string) *big.Int {
	n, ok := new(big.Int).SetString(s, 16)
	if !ok {
		panic(s)
	}
	return n
}

// In the manner of Wycheproof: encodings and values that a lax verifier takes.
func TestVerifyMalformedECDSA(t *testing.T) {
	g := newRig(t, nil, keyring.Options{})
	orders := map[keyring.Spec]*big.Int{
		keyring.ECCNISTP256:   bigHex("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551"),
		keyring.ECCSECGP256K1: bigHex("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141"),
	}
	for spec, n := range orders {
		m := g.create(t, spec, keyring.SignVerify)
		good, err := g.mustOpen(t, m.ID, "kms:Sign").Sign(t.Context(), keyring.ECDSASHA256, []byte("m"), false)
		if err != nil {
			t.Fatal(err)
		}
		var inner cryptobyte.String
		in := cryptobyte.String(good)
		r, s := new(big.Int), new(big.Int)
		if !in.ReadASN1(&inner, asn1.SEQUENCE) || !inner.ReadASN1Integer(r) || !inner.ReadASN1Integer(s) {
			t.Fatalf("not DER: %x", good)
		}
		add := func(a, b *big.Int) *big.Int { return new(big.Int).Add(a, b) }
		neg := func(a *big.Int) *big.Int { return new(big.Int).Neg(a) }
		zero, one := new(big.Int), big.NewInt(1)
		verify := g.mustOpen(t, m.ID, "kms:Verify")
		for name, sig := range map[string][]byte{
			"r = 0":                rs(zero, s),
			"s = 0":                rs(r, zero),
			"both 0":               rs(zero, zero),
			"both 1":               rs(one, one),
			"r = n":                rs(n, s),
			"s = n":                rs(r, n),
			"r + n":                rs(add(r, n), s),
			"s + n":                rs(r, add(s, n)),
			"-r":                   rs(neg(r), s),
			"-s":                   rs(r, neg(s)),
			"swapped":              rs(s, r),
			"a byte after":         append(slices.Clone(good), 0),
			"long form of length":  append([]byte{0x30, 0x81, good[1]}, good[2:]...),
			"indefinite length":    append(append([]byte{0x30, 0x80}, good[2:]...), 0, 0),
			"set for sequence":     append([]byte{0x31}, good[1:]...),
			"length too long":      append([]byte{0x30, good[1] + 1}, good[2:]...),
			"length too short":     append([]byte{0x30, good[1] - 1}, good[2:]...),
			"length of 2^32":       append([]byte{0x30, 0x85, 1, 0, 0, 0, good[1]}, good[2:]...),
			"r ‖ s without DER":    append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...),
			"an integer too many":  nil,
			"padded with zeros":    nil,
			"r of 0 bytes":         {0x30, 0x05, 0x02, 0x00, 0x02, 0x01, 0x01},
			"only a sequence":      {0x30, 0x00},
			"one integer":          {0x30, 0x03, 0x02, 0x01, 0x01},
			"huge length, no data": {0x30, 0x84, 0xff, 0xff, 0xff, 0xff},
		} {
			switch name {
			case "an integer too many":
				sig = append([]byte{0x30, good[1] + 3}, append(slices.Clone(good[2:]), 2, 1, 1)...)
			case "padded with zeros":
				sig = append([]byte{0x30, good[1] + 1, 2, good[3] + 1, 0}, good[4:]...)
			}
			if ok, err := verify.Verify(t.Context(), keyring.ECDSASHA256, []byte("m"), false, sig); ok || err != nil {
				t.Errorf("%s, %s: Verify = %t, %v; want false", spec, name, ok, err)
			}
		}
		// Either of s and n-s is right; AWS takes both.
		if ok, err := verify.Verify(t.Context(), keyring.ECDSASHA256, []byte("m"), false, rs(r, new(big.Int).Sub(n, s))); !ok || err != nil {
			t.Errorf("%s, n-s: Verify = %t, %v; want true", spec, ok, err)
		}
	}
}

func unhex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

func TestKnownSignatures(t *testing.T) {
	g := newRig(t, nil, keyring.Options{})
	t.Run("RFC 6979 A.2.5", func(t *testing.T) {
		k, err := ecdsa.ParseRawPrivateKey(p256, unhex("c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721"))
		if err != nil {
			t.Fatal(err)
		}
		der, err := x509.MarshalPKCS8PrivateKey(k)
		if err != nil {
			t.Fatal(err)
		}
		m := g.seed(t, "11111111-1111-4111-8111-111111111111", keyring.ECCNISTP256, keyring.SignVerify, der)
		sig := rs(bigHex("efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716"), bigHex("f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8"))
		if ok, err := g.mustOpen(t, m.ID, "kms:Verify").Verify(t.Context(), keyring.ECDSASHA256, []byte("sample"), false, sig); !ok || err != nil {
			t.Errorf("Verify = %t, %v", ok, err)
		}
	})
	t.Run("secp256k1, key 1", func(t *testing.T) {
		m := g.seed(t, "22222222-2222-4222-8222-222222222222", keyring.ECCSECGP256K1, keyring.SignVerify, secp256k1One)
		sig := rs(bigHex("934b1ea10a4b3c1757e2b0c017d0b6143ce3c9a7e6a4a49860d7a6ab210ee3d8"), bigHex("2442ce9d2b916064108014783e923ec36b49743e2ffa1c4496f01a512aafd9e5"))
		if ok, err := g.mustOpen(t, m.ID, "kms:Verify").Verify(t.Context(), keyring.ECDSASHA256, []byte("Satoshi Nakamoto"), false, sig); !ok || err != nil {
			t.Errorf("Verify = %t, %v", ok, err)
		}
	})
}

// TestSECP256K1Signatures: signatures of one message differ each time, and are
// right by three others: the library, the textbook (SEC 1, 4.1.4, in math/big),
// and OpenSSL if it is there.
func TestSECP256K1Signatures(t *testing.T) {
	g := newRig(t, nil, keyring.Options{})
	n := bigHex("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141")
	// Private keys at the ends of what there is, and one in between.
	scalars := []*big.Int{big.NewInt(1), big.NewInt(2), new(big.Int).Sub(n, big.NewInt(1)), bigHex("c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721")}
	for i, d := range scalars {
		var b cryptobyte.Builder
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1Int64(0)
			b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1ObjectIdentifier([]int{1, 2, 840, 10045, 2, 1})
				b.AddASN1ObjectIdentifier([]int{1, 3, 132, 0, 10})
			})
			b.AddASN1(asn1.OCTET_STRING, func(b *cryptobyte.Builder) {
				b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
					b.AddASN1Int64(1)
					b.AddASN1OctetString(d.FillBytes(make([]byte, 32)))
				})
			})
		})
		m := g.seed(t, fmt.Sprintf("%08d-1111-4111-8111-111111111111", i), keyring.ECCSECGP256K1, keyring.SignVerify, b.BytesOrPanic())
		sign := g.mustOpen(t, m.ID, "kms:Sign")
		public := secp256k1.PrivKeyFromBytes(d.Bytes()).PubKey()
		if !bytes.HasSuffix(m.PublicKey, public.SerializeUncompressed()) {
			t.Errorf("key %x: public key %x, want %x", d, m.PublicKey, public.SerializeUncompressed())
		}
		message := []byte("the same each time")
		digest := sha256.Sum256(message)
		seen := make(map[string]bool)
		for range 50 {
			sig, err := sign.Sign(t.Context(), keyring.ECDSASHA256, message, false)
			if err != nil {
				t.Fatal(err)
			}
			r, s := parseRS(t, sig)
			if seen[r.String()] {
				t.Fatalf("key %x: a nonce was used twice for one message", d)
			}
			seen[r.String()] = true
			if s.Cmp(new(big.Int).Rsh(n, 1)) > 0 {
				t.Errorf("key %x: s = %x is the higher of two", d, s)
			}
			if parsed, err := k1ecdsa.ParseDERSignature(sig); err != nil || !parsed.Verify(digest[:], public) {
				t.Errorf("key %x: the library does not verify %x: %v", d, sig, err)
			}
			if len(seen) <= 5 && !verifyTextbook(point{public.X(), public.Y()}, n, digest[:], r, s) {
				t.Errorf("key %x: by the textbook, %x is wrong", d, sig)
			}
			if len(seen) == 1 {
				verifyOpenSSL(t, m.PublicKey, message, sig)
			}
		}
	}
}

// parseRS takes an ECDSA signature in DER apart.
func parseRS(t *testing.T, der []byte) (r, s *big.Int) {
	t.Helper()
	in := cryptobyte.String(der)
	var inner cryptobyte.String
	r, s = new(big.Int), new(big.Int)
	if !in.ReadASN1(&inner, asn1.SEQUENCE) || !in.Empty() || !inner.ReadASN1Integer(r) || !inner.ReadASN1Integer(s) || !inner.Empty() {
		t.Fatalf("not in DER: %x", der)
	}
	return r, s
}

// verifyTextbook is SEC 1, 4.1.4, on secp256k1.
func verifyTextbook(public point, n *big.Int, digest []byte, r, s *big.Int) bool {
	if r.Sign() <= 0 || s.Sign() <= 0 || r.Cmp(n) >= 0 || s.Cmp(n) >= 0 {
		return false
	}
	base := point{
		bigHex("79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"),
		bigHex("483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8"),
	}
	w := new(big.Int).ModInverse(s, n)
	times := func(x *big.Int) *big.Int { x = new(big.Int).Mul(x, w); return x.Mod(x, n) }
	sum := base.multiply(times(new(big.Int).SetBytes(digest))).add(public.multiply(times(r)))
	return sum.x != nil && new(big.Int).Mod(sum.x, n).Cmp(r) == 0
}

// point is a point of secp256k1: y² = x³ + 7 modulo fieldPrime. The zero point
// is the one at infinity.
type point struct{ x, y *big.Int }

var fieldPrime = bigHex("fffffffffffffffffffffffffffffffffffffffffffffffffffffffefffffc2f")

func (p point) add(q point) point {
	switch {
	case p.x == nil:
		return q
	case q.x == nil:
		return p
	}
	rise, run := new(big.Int).Sub(q.y, p.y), new(big.Int).Sub(q.x, p.x)
	if run.Sign() == 0 {
		if rise.Sign() != 0 {
			return point{}
		}
		rise.Mul(p.x, p.x)
		rise.Mul(rise, big.NewInt(3))
		run.Lsh(p.y, 1)
	}
	slope := rise.Mul(rise, run.ModInverse(run.Mod(run, fieldPrime), fieldPrime))
	x := new(big.Int).Mul(slope, slope)
	x.Sub(x, p.x).Sub(x, q.x).Mod(x, fieldPrime)
	y := new(big.Int).Sub(p.x, x)
	y.Mul(y, slope).Sub(y, p.y).Mod(y, fieldPrime)
	return point{x, y}
}

func (p point) multiply(k *big.Int) point {
	var sum point
	for i := k.BitLen() - 1; i >= 0; i-- {
		sum = sum.add(sum)
		if k.Bit(i) == 1 {
			sum = sum.add(p)
		}
	}
	return sum
}

// verifyOpenSSL has OpenSSL verify a signature with SHA-256.
func verifyOpenSSL(t *testing.T, spki, message, signature []byte) {
	t.Helper()
	program, err := exec.LookPath("openssl")
	if err != nil {
		return
	}
	dir := t.TempDir()
	for name, b := range map[string][]byte{"public": spki, "message": message, "signature": signature} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), program, "dgst", "-sha256", "-verify", "public", "-keyform", "DER", "-signature", "signature", "message")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("OpenSSL does not verify %x: %v: %s", signature, err, out)
	}
}

func TestOAEP(t *testing.T) {
	t.Parallel()
	g := newRig(t, nil, keyring.Options{})
	for _, tt := range []struct {
		spec         keyring.Spec
		sha1, sha256 int
	}{{keyring.RSA2048, 214, 190}, {keyring.RSA3072, 342, 318}, {keyring.RSA4096, 470, 446}} {
		m := g.createTest(t, tt.spec, keyring.EncryptDecrypt)
		encrypt, decrypt := g.mustOpen(t, m.ID, "kms:Encrypt"), g.mustOpen(t, m.ID, "kms:Decrypt")
		for a, most := range map[keyring.Algorithm]int{keyring.RSAESOAEPSHA1: tt.sha1, keyring.RSAESOAEPSHA256: tt.sha256} {
			for _, n := range []int{1, most} {
				plaintext := bytes.Repeat([]byte{5}, n)
				ciphertext, err := encrypt.Encrypt(t.Context(), a, plaintext, nil)
				if err != nil {
					t.Fatalf("%s %s: %v", tt.spec, a, err)
				}
				got, id, err := decrypt.Decrypt(t.Context(), a, ciphertext, nil)
				if err != nil || id != "" || !bytes.Equal(got.Reveal(), plaintext) {
					t.Errorf("%s %s: Decrypt = %x, %q, %v", tt.spec, a, got.Reveal(), id, err)
				}
				if n == most {
					other := keyring.RSAESOAEPSHA1
					if a == other {
						other = keyring.RSAESOAEPSHA256
					}
					for name, bad := range map[string][]byte{
						"short": ciphertext[1:], "long": append([]byte{0}, ciphertext...), "none": nil, "zeros": make([]byte, len(ciphertext)),
						"ones": bytes.Repeat([]byte{0xff}, len(ciphertext)), "changed": append(slices.Clone(ciphertext[:len(ciphertext)-1]), ciphertext[len(ciphertext)-1]^1),
					} {
						if _, _, err := decrypt.Decrypt(t.Context(), a, bad, nil); !errors.Is(err, keyring.ErrInvalidCiphertext) {
							t.Errorf("%s %s, %s: %v, want ErrInvalidCiphertext", tt.spec, a, name, err)
						}
					}
					if _, _, err := decrypt.Decrypt(t.Context(), other, ciphertext, nil); !errors.Is(err, keyring.ErrInvalidCiphertext) {
						t.Errorf("%s: %s ciphertext by %s: %v, want ErrInvalidCiphertext", tt.spec, a, other, err)
					}
				}
			}
			var long *keyring.LengthError
			if _, err := encrypt.Encrypt(t.Context(), a, make([]byte, most+1), nil); !errors.As(err, &long) || long.Max != most {
				t.Errorf("%s %s: %d bytes: %v, want a LengthError", tt.spec, a, most+1, err)
			}
			// What others encrypt to the public key opens here.
			p, err := x509.ParsePKIXPublicKey(m.PublicKey)
			if err != nil {
				t.Fatal(err)
			}
			h := map[keyring.Algorithm]func() hash.Hash{keyring.RSAESOAEPSHA1: sha1.New, keyring.RSAESOAEPSHA256: sha256.New}[a]
			ciphertext, err := rsa.EncryptOAEP(h(), rand.Reader, p.(*rsa.PublicKey), []byte("hi"), nil)
			if err != nil {
				t.Fatal(err)
			}
			if got, _, err := decrypt.Decrypt(t.Context(), a, ciphertext, nil); err != nil || string(got.Reveal()) != "hi" {
				t.Errorf("%s %s: Decrypt of a stranger's = %q, %v", tt.spec, a, got.Reveal(), err)
			}
		}
	}
}

// RFC 4231, the cases with keys no longer than a block, and every size of key and message
// around a block against crypto/hmac.
func TestMAC(t *testing.T) {
	for _, tt := range []struct{ key, message, sha224, sha256, sha384, sha512 string }{
		{
			"0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "4869205468657265",
			"896fb1128abbdf196832107cd49df33f47b4b1169912ba4f53684b22",
			"b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
			"afd03944d84895626b0825f4ab46907f15f9dadbe4101ec682aa034c7cebc59cfaea9ea9076ede7f4af152e8b2fa9cb6",
			"87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cdedaa833b7d6b8a702038b274eaea3f4e4be9d914eeb61f1702e696c203a126854",
		},
		{
			"4a656665", "7768617420646f2079612077616e7420666f72206e6f7468696e673f",
			"a30e01098bc6dbbf45690f3a7e9e6d0f8bbea2a39e6148008fd05e44",
			"5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
			"af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e8e2240ca5e69e2c78b3239ecfab21649",
			"164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737",
		},
	} {
		for a, want := range map[keyring.Algorithm]string{keyring.HMACSHA224: tt.sha224, keyring.HMACSHA256: tt.sha256, keyring.HMACSHA384: tt.sha384, keyring.HMACSHA512: tt.sha512} {
			if got := hex.EncodeToString(keyring.AppendMAC(nil, a, unhex(tt.key), unhex(tt.message))); got != want {
				t.Errorf("%s of %s = %s, want %s", a, tt.message, got, want)
			}
		}
	}
	for a, h := range map[keyring.Algorithm]func() hash.Hash{keyring.HMACSHA224: sha256.New224, keyring.HMACSHA256: sha256.New, keyring.HMACSHA384: sha512.New384, keyring.HMACSHA512: sha512.New} {
		for _, k := range []int{0, 1, 28, 32, 48, 64} {
			for _, n := range []int{0, 1, 55, 56, 63, 64, 65, 111, 112, 127, 128, 129, 1000, 4096, 20000} {
				key, message := bytes.Repeat([]byte{byte(k)}, k), bytes.Repeat([]byte{byte(n)}, n)
				mac := hmac.New(h, key)
				mac.Write(message)
				want := mac.Sum([]byte("x"))
				if got := keyring.AppendMAC([]byte("x"), a, key, message); !bytes.Equal(got, want) {
					t.Errorf("%s, key of %d, message of %d bytes: %x, want %x", a, k, n, got, want)
				}
				if got := keyring.AppendModuleMAC([]byte("x"), a, key, message); !bytes.Equal(got, want) {
					t.Errorf("%s by the module, key of %d, message of %d bytes: %x, want %x", a, k, n, got, want)
				}
			}
		}
	}
}

func TestGenerateVerifyMAC(t *testing.T) {
	g := newRig(t, nil, keyring.Options{})
	for i, tt := range []struct {
		spec keyring.Spec
		a    keyring.Algorithm
		n    int
		new  func() hash.Hash
	}{
		{keyring.HMAC224, keyring.HMACSHA224, 28, sha256.New224},
		{keyring.HMAC256, keyring.HMACSHA256, 32, sha256.New},
		{keyring.HMAC384, keyring.HMACSHA384, 48, sha512.New384},
		{keyring.HMAC512, keyring.HMACSHA512, 64, sha512.New},
	} {
		material := bytes.Repeat([]byte{0xa5}, tt.n)
		m := g.seed(t, "11111111-1111-4111-8111-11111111111"+string(rune('0'+i)), tt.spec, keyring.GenerateVerifyMAC, material)
		mac, err := g.mustOpen(t, m.ID, "kms:GenerateMac").GenerateMAC(t.Context(), tt.a, []byte("m"))
		h := hmac.New(tt.new, material)
		h.Write([]byte("m"))
		if want := h.Sum(nil); err != nil || !bytes.Equal(mac, want) {
			t.Errorf("%s: GenerateMAC = %x, %v; want %x", tt.spec, mac, err, want)
		}
		verify := g.mustOpen(t, m.ID, "kms:VerifyMac")
		for _, v := range []struct {
			message string
			mac     []byte
			want    bool
		}{
			{"m", mac, true},
			{"n", mac, false},
			{"m", nil, false},
			{"m", mac[1:], false},
			{"m", append(slices.Clone(mac), 0), false},
			{"m", make([]byte, len(mac)), false},
		} {
			if ok, err := verify.VerifyMAC(t.Context(), tt.a, []byte(v.message), v.mac); ok != v.want || err != nil {
				t.Errorf("%s: VerifyMAC(%q, %d bytes) = %t, %v; want %t", tt.spec, v.message, len(v.mac), ok, err, v.want)
			}
		}
		var bad *keyring.AlgorithmError
		if _, err := verify.VerifyMAC(t.Context(), "HMAC_SHA_1", nil, nil); !errors.As(err, &bad) {
			t.Errorf("%s: with another algorithm: %v", tt.spec, err)
		}
	}
}

func TestDataKeys(t *testing.T) {
	t.Parallel()
	g := newRig(t, nil, keyring.Options{})
	m := g.create(t, keyring.SymmetricDefault, keyring.EncryptDecrypt)
	ec := wire.NewStringMap(wire.Pair{Name: "a", Value: "b"})
	for _, n := range []int{1, 16, 32, 1024} {
		d, err := g.mustOpen(t, m.ID, "kms:GenerateDataKey").GenerateDataKey(t.Context(), n, ec)
		if err != nil || d.Plaintext.Len() != n {
			t.Fatalf("GenerateDataKey(%d) = %d bytes, %v", n, d.Plaintext.Len(), err)
		}
		if got, err := g.decrypt(t, d.Ciphertext, ec); err != nil || !bytes.Equal(got, d.Plaintext.Reveal()) {
			t.Errorf("decrypting a data key: %v", err)
		}
		if d, err = g.mustOpen(t, m.ID, "kms:GenerateDataKeyWithoutPlaintext").GenerateDataKey(t.Context(), n, ec); err != nil || !d.Plaintext.IsNil() {
			t.Errorf("without plaintext: %d bytes, %v", d.Plaintext.Len(), err)
		}
		if got, err := g.decrypt(t, d.Ciphertext, ec); err != nil || len(got) != n {
			t.Errorf("decrypting a data key made without plaintext: %v", err)
		}
	}
	for _, n := range []int{-1, 0, 1025} {
		if _, err := g.mustOpen(t, m.ID, "kms:GenerateDataKey").GenerateDataKey(t.Context(), n, ec); !errors.Is(err, keyring.ErrParameter) {
			t.Errorf("GenerateDataKey(%d): %v", n, err)
		}
	}
	for _, s := range []keyring.Spec{keyring.RSA2048, keyring.ECCNISTP256, keyring.ECCNISTP384, keyring.ECCNISTP521, keyring.ECCSECGP256K1, keyring.SM2} {
		d, err := g.mustOpen(t, m.ID, "kms:GenerateDataKeyPair").GenerateDataKeyPair(t.Context(), s, ec)
		if err != nil {
			t.Fatalf("GenerateDataKeyPair(%s): %v", s, err)
		}
		if got, err := g.decrypt(t, d.PrivateCiphertext, ec); err != nil || !bytes.Equal(got, d.PrivateKey.Reveal()) {
			t.Errorf("%s: decrypting a private data key: %v", s, err)
		}
		// A key made of the pair has its public key.
		id := "mrk-" + hex.EncodeToString(sum(crypto.SHA256, []byte(s))[:16])
		if made := g.seed(t, id, s, keyring.SignVerify, d.PrivateKey.Reveal()); !bytes.Equal(made.PublicKey, d.PublicKey) {
			t.Errorf("%s: the public key is not that of the private key", s)
		}
		if d, err = g.mustOpen(t, m.ID, "kms:GenerateDataKeyPairWithoutPlaintext").GenerateDataKeyPair(t.Context(), s, ec); err != nil || !d.PrivateKey.IsNil() || len(d.PublicKey) == 0 {
			t.Errorf("%s without plaintext: %v", s, err)
		}
	}
	for _, s := range []keyring.Spec{"", keyring.SymmetricDefault, keyring.HMAC256, "RSA_1024"} {
		if _, err := g.mustOpen(t, m.ID, "kms:GenerateDataKeyPair").GenerateDataKeyPair(t.Context(), s, ec); !errors.Is(err, keyring.ErrParameter) {
			t.Errorf("GenerateDataKeyPair(%s): %v", s, err)
		}
	}
}

func TestUsage(t *testing.T) {
	g := newRig(t, nil, keyring.Options{})
	symmetric := g.create(t, keyring.SymmetricDefault, keyring.EncryptDecrypt).ID
	signing := g.create(t, keyring.ECCNISTP256, keyring.SignVerify).ID
	mac := g.create(t, keyring.HMAC256, keyring.GenerateVerifyMAC).ID
	wrapping := g.create(t, keyring.RSA2048, keyring.EncryptDecrypt).ID
	for _, tt := range []struct {
		id, action string
		a          keyring.Algorithm
		usage      bool // else an AlgorithmError
	}{
		{signing, "kms:Encrypt", keyring.AlgorithmSymmetricDefault, true},
		{mac, "kms:Decrypt", keyring.AlgorithmSymmetricDefault, true},
		{symmetric, "kms:Sign", keyring.ECDSASHA256, true},
		{mac, "kms:Verify", keyring.ECDSASHA256, true},
		{symmetric, "kms:GenerateMac", keyring.HMACSHA256, true},
		{signing, "kms:VerifyMac", keyring.HMACSHA256, true},
		{mac, "kms:GenerateDataKey", keyring.AlgorithmSymmetricDefault, true},
		{wrapping, "kms:GenerateDataKey", keyring.AlgorithmSymmetricDefault, false},
		{wrapping, "kms:GenerateDataKeyPairWithoutPlaintext", keyring.AlgorithmSymmetricDefault, false},
		{wrapping, "kms:ReEncryptTo", keyring.AlgorithmSymmetricDefault, false},
		{symmetric, "kms:ReEncryptFrom", keyring.RSAESOAEPSHA256, false},
	} {
		err := g.mustOpen(t, tt.id, tt.action).Check(tt.a)
		var usage *keyring.UsageError
		var algorithm *keyring.AlgorithmError
		if tt.usage && !errors.As(err, &usage) || !tt.usage && !errors.As(err, &algorithm) {
			t.Errorf("Check(%s) for %s: %v", tt.a, tt.action, err)
		}
	}
	if err := g.mustOpen(t, symmetric, "kms:DescribeKey").Check(keyring.AlgorithmSymmetricDefault); !errors.Is(err, authz.ErrNoPermit) {
		t.Errorf("Check for DescribeKey: %v, want ErrNoPermit", err)
	}
	if _, err := g.mustOpen(t, symmetric, "kms:GetPublicKey").PublicKey(); !errors.Is(err, keyring.ErrNoPublicKey) {
		t.Errorf("PublicKey of a symmetric key: %v, want ErrNoPublicKey", err)
	}
}

func TestKeyEncodings(t *testing.T) {
	t.Parallel()
	for _, s := range []keyring.Spec{keyring.RSA2048, keyring.ECCNISTP256, keyring.ECCNISTP384, keyring.ECCNISTP521, keyring.ECCSECGP256K1, keyring.SM2} {
		private, public, err := keyring.GeneratePair(s)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := keyring.ParsePrivate(s, private); err != nil || !bytes.Equal(again, private) {
			t.Errorf("%s: private key does not come back: %v", s, err)
		}
		if again, err := keyring.ParsePublic(s, public); err != nil || !bytes.Equal(again, public) {
			t.Errorf("%s: public key does not come back: %v", s, err)
		}
		for _, other := range []keyring.Spec{keyring.RSA2048, keyring.RSA3072, keyring.ECCNISTP256, keyring.ECCNISTP384, keyring.ECCSECGP256K1, keyring.SM2, keyring.SymmetricDefault} {
			if other == s {
				continue
			}
			if _, err := keyring.ParsePrivate(other, private); err == nil {
				t.Errorf("private key of %s parsed as %s", s, other)
			}
			if _, err := keyring.ParsePublic(other, public); err == nil {
				t.Errorf("public key of %s parsed as %s", s, other)
			}
		}
	}
}

const secp256k1OneBase64 = "MIGEAgEAMBAGByqGSM49AgEGBSuBBAAKBG0wawIBAQQgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAGhRANCAAR5vmZ++dy7rFWgYpXOhwsHApv82y3OKNlZ8oFbFvgXmEg62ncmo8RlXaT7/A4RCKj9F7RIpoVUGZxH0I/7ENS4"

// secp256k1One is the secp256k1 key with the scalar 1, made by OpenSSL 3.
var secp256k1One = func() []byte {
	b, err := base64.StdEncoding.DecodeString(secp256k1OneBase64)
	if err != nil {
		panic(err)
	}
	return b
}()

func TestSECP256K1Encoding(t *testing.T) {
	again, err := keyring.ParsePrivate(keyring.ECCSECGP256K1, secp256k1One)
	if err != nil || !bytes.Equal(again, secp256k1One) {
		t.Fatalf("OpenSSL's encoding does not come back: %x, %v", again, err)
	}
	// Each byte changed: refused, or the very same key.
	for i := range secp256k1One {
		for _, x := range []byte{1, 0x80, 0xff} {
			b := bytes.Clone(secp256k1One)
			b[i] ^= x
			if got, err := keyring.ParsePrivate(keyring.ECCSECGP256K1, b); err == nil {
				t.Errorf("byte %d changed by %#x is a key: %x", i, x, got)
			}
		}
	}
	for n := range secp256k1One {
		if _, err := keyring.ParsePrivate(keyring.ECCSECGP256K1, secp256k1One[:n]); err == nil {
			t.Errorf("the first %d bytes are a key", n)
		}
	}
	if _, err := keyring.ParsePrivate(keyring.ECCSECGP256K1, append(bytes.Clone(secp256k1One), 0)); err == nil {
		t.Error("a byte after it is taken")
	}
	// build encodes with some of it other than it should be.
	build := func(scalar, params, public []byte) []byte {
		var b cryptobyte.Builder
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1Int64(0)
			b.AddBytes(unhex("301006072a8648ce3d020106052b8104000a"))
			b.AddASN1(asn1.OCTET_STRING, func(b *cryptobyte.Builder) {
				b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
					b.AddASN1Int64(1)
					b.AddASN1OctetString(scalar)
					if params != nil {
						b.AddASN1(asn1.Tag(0).Constructed().ContextSpecific(), func(b *cryptobyte.Builder) { b.AddBytes(params) })
					}
					if public != nil {
						b.AddASN1(asn1.Tag(1).Constructed().ContextSpecific(), func(b *cryptobyte.Builder) { b.AddASN1BitString(public) })
					}
				})
			})
		})
		return b.BytesOrPanic()
	}
	one := append(make([]byte, 31), 1)
	p := secp256k1.PrivKeyFromBytes(one).PubKey()
	other := secp256k1.PrivKeyFromBytes([]byte{2}).PubKey()
	order := unhex("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141")
	for _, tt := range []struct {
		name string
		der  []byte
		ok   bool
	}{
		{"whole", build(one, nil, p.SerializeUncompressed()), true},
		{"no public key", build(one, nil, nil), true},
		{"curve named twice", build(one, unhex("06052b8104000a"), nil), true},
		{"another curve inside", build(one, unhex("06082a8648ce3d030107"), nil), false},
		{"another public key", build(one, nil, other.SerializeUncompressed()), false},
		{"compressed public key", build(one, nil, p.SerializeCompressed()), false},
		{"point not on the curve", build(one, nil, append(append([]byte{4}, make([]byte, 63)...), 1)), false},
		{"scalar 0", build(make([]byte, 32), nil, nil), false},
		{"scalar n", build(order, nil, nil), false},
		{"scalar all ones", build(bytes.Repeat([]byte{0xff}, 32), nil, nil), false},
		{"short scalar", build([]byte{1}, nil, nil), false},
		{"long scalar", build(append([]byte{0}, one...), nil, nil), false},
	} {
		if _, err := keyring.ParsePrivate(keyring.ECCSECGP256K1, tt.der); (err == nil) != tt.ok {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

func FuzzSECP256K1(f *testing.F) {
	f.Add(secp256k1One)
	_, public, err := keyring.GeneratePair(keyring.ECCSECGP256K1)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(public)
	f.Fuzz(func(t *testing.T, b []byte) {
		if out, err := keyring.ParsePrivate(keyring.ECCSECGP256K1, b); err == nil {
			if again, err := keyring.ParsePrivate(keyring.ECCSECGP256K1, out); err != nil || !bytes.Equal(again, out) {
				t.Fatalf("%x: %x, %v", b, again, err)
			}
		}
		if out, err := keyring.ParsePublic(keyring.ECCSECGP256K1, b); err == nil && !bytes.Equal(out, b) {
			t.Fatalf("%x comes back as %x", b, out)
		}
	})
}
