package keyring_test

import (
	"bytes"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/emmansun/gmsm/sm2"
	"github.com/emmansun/gmsm/sm3"
	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/keyreeve/keyreeve/internal/keyring"
)

var oidSM2 = asn1.ObjectIdentifier{1, 2, 156, 10197, 1, 301}

// unspaced decodes hexadecimal digits, between which there may be spaces.
func unspaced(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The key of the examples in GB/T 32918.5-2017, annex A.
const (
	sm2Scalar = "3945208F 7B2144B1 3F36E38A C6D39F95 88939369 2860B51A 42FB81EF 4DF7C5B8"
	sm2Point  = "04" +
		"09F9DF31 1E5421A1 50DD7D16 1E4BC5C6 72179FAD 1833FC07 6BB08FF3 56F35020" +
		"CCEA490C E26775A5 2DC6EA71 8CC1AA60 0AED05FB F35E084A 6632F607 2DA9AD13"
)

// pkcs8Of is the PKCS#8 encoding of what is said to be a scalar of a curve, with
// the curve inside as well and a point, unless they are nil.
func pkcs8Of(curve asn1.ObjectIdentifier, scalar []byte, inside asn1.ObjectIdentifier, point []byte) []byte {
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1Int64(0)
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1ObjectIdentifier(ecPublicKey)
			b.AddASN1ObjectIdentifier(curve)
		})
		b.AddASN1(cbasn1.OCTET_STRING, func(b *cryptobyte.Builder) {
			b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1Int64(1)
				b.AddASN1OctetString(scalar)
				if inside != nil {
					b.AddASN1(cbasn1.Tag(0).Constructed().ContextSpecific(), func(b *cryptobyte.Builder) { b.AddASN1ObjectIdentifier(inside) })
				}
				if point != nil {
					b.AddASN1(cbasn1.Tag(1).Constructed().ContextSpecific(), func(b *cryptobyte.Builder) { b.AddASN1BitString(point) })
				}
			})
		})
	})
	return b.BytesOrPanic()
}

// sm2Example is the key of the examples in PKCS#8.
func sm2Example(t testing.TB) []byte {
	return pkcs8Of(oidSM2, unspaced(t, sm2Scalar), nil, unspaced(t, sm2Point))
}

// sequence is a DER SEQUENCE of integers, as *big.Int, and octet strings, as []byte.
func sequence(of ...any) []byte {
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		for _, x := range of {
			switch x := x.(type) {
			case *big.Int:
				b.AddASN1BigInt(x)
			case []byte:
				b.AddASN1OctetString(x)
			}
		}
	})
	return b.BytesOrPanic()
}

func integer(b []byte) *big.Int { return new(big.Int).SetBytes(b) }

// The examples of GB/T 32918.5-2017, A.2 and A.4.
func TestSM2Examples(t *testing.T) {
	t.Parallel()
	g := newRig(t, nil, keyring.Options{})
	signing := g.seed(t, "11111111-1111-4111-8111-111111111111", keyring.SM2, keyring.SignVerify, sm2Example(t))
	r := integer(unspaced(t, "F5A03B06 48D2C463 0EEAC513 E1BB81A1 5944DA38 27D5B741 43AC7EAC EEE720B3"))
	s := integer(unspaced(t, "B1B6AA29 DF212FD8 763182BC 0D421CA1 BB9038FD 1F7F42D4 840B69C4 85BBC1AA"))
	e := unspaced(t, "F0B43E94 BA45ACCA ACE692ED 534382EB 17E6AB5A 19CE7B31 F4486FDF C0D28640")
	verify := g.mustOpen(t, signing.ID, "kms:Verify")
	for _, tt := range []struct {
		name    string
		message []byte
		digest  bool
	}{
		{"message", []byte("message digest"), false},
		{"digest", e, true},
	} {
		if ok, err := verify.Verify(t.Context(), keyring.SM2DSA, tt.message, tt.digest, sequence(r, s)); !ok || err != nil {
			t.Errorf("the signature of the %s: %t, %v", tt.name, ok, err)
		}
	}
	if want := spkiOf(ecPublicKey, named(oidSM2), unspaced(t, sm2Point)); !bytes.Equal(signing.PublicKey, want) {
		t.Errorf("public key %x, want %x", signing.PublicKey, want)
	}

	ciphertext := sequence(
		integer(unspaced(t, "04EBFC71 8E8D1798 62043226 8E77FEB6 415E2EDE 0E073C0F 4F640ECD 2E149A73")),
		integer(unspaced(t, "E858F9D8 1E5430A5 7B36DAAB 8F950A3C 64E6EE6A 63094D99 283AFF76 7E124DF0")),
		unspaced(t, "59983C18 F809E262 923C53AE C295D303 83B54E39 D609D160 AFCB1908 D0BD8766"),
		unspaced(t, "21886CA9 89CA9C7D 58087307 CA93092D 651EFA"))
	encrypting := g.seed(t, "22222222-2222-4222-8222-222222222222", keyring.SM2, keyring.EncryptDecrypt, sm2Example(t))
	plaintext, material, err := g.mustOpen(t, encrypting.ID, "kms:Decrypt").Decrypt(t.Context(), keyring.SM2PKE, ciphertext, nil)
	if err != nil || string(plaintext.Reveal()) != "encryption standard" || material != "" {
		t.Errorf("Decrypt = %q, %q, %v", plaintext.Reveal(), material, err)
	}
}

func TestSM2Signatures(t *testing.T) {
	t.Parallel()
	g := newRig(t, nil, keyring.Options{})
	m := g.create(t, keyring.SM2, keyring.SignVerify)
	sign, verify := g.mustOpen(t, m.ID, "kms:Sign"), g.mustOpen(t, m.ID, "kms:Verify")
	other := g.mustOpen(t, g.create(t, keyring.SM2, keyring.SignVerify).ID, "kms:Verify")
	message := []byte("to whom it may concern")
	// The digest, from its definition: GB/T 32918.2, 5.5 and 6.1.
	point := m.PublicKey[len(m.PublicKey)-64:]
	p := sm2.P256().Params()
	za := sm3.Sum(slices.Concat([]byte{0, 128}, []byte("1234567812345678"),
		new(big.Int).Sub(p.P, big.NewInt(3)).Bytes(), p.B.Bytes(), p.Gx.Bytes(), p.Gy.Bytes(), point))
	digest := sm3.Sum(append(za[:], message...))
	foreign := sm3.Sum(append([]byte("the id of somebody else"), message...)) // is signed all the same

	raw, err := sign.Sign(t.Context(), keyring.SM2DSA, message, false)
	if err != nil {
		t.Fatal(err)
	}
	again, err := sign.Sign(t.Context(), keyring.SM2DSA, message, false)
	if err != nil || bytes.Equal(raw, again) {
		t.Errorf("two signatures of a message are the same: %t, %v", bytes.Equal(raw, again), err)
	}
	given, err := sign.Sign(t.Context(), keyring.SM2DSA, digest[:], true)
	if err != nil {
		t.Fatal(err)
	}
	strange, err := sign.Sign(t.Context(), keyring.SM2DSA, foreign[:], true)
	if err != nil {
		t.Fatal(err)
	}
	r, s := new(big.Int), new(big.Int)
	inner := cryptobyte.String(raw)
	if !inner.ReadASN1(&inner, cbasn1.SEQUENCE) || !inner.ReadASN1Integer(r) || !inner.ReadASN1Integer(s) {
		t.Fatalf("no DER: %x", raw)
	}
	n := p.N
	zero := new(big.Int)
	for _, tt := range []struct {
		name      string
		key       keyring.Key
		message   []byte
		digest    bool
		signature []byte
		want      bool
	}{
		{"message", verify, message, false, raw, true},
		{"of the message, with the digest", verify, digest[:], true, raw, true},
		{"digest", verify, digest[:], true, given, true},
		{"of the digest, with the message", verify, message, false, given, true},
		{"of another id", verify, foreign[:], true, strange, true},
		{"made anew", verify, message, false, sequence(r, s), true},
		{"of another id, with the message", verify, message, false, strange, false},
		{"another message", verify, []byte("to whom it may concern!"), false, raw, false},
		{"another digest", verify, za[:], true, raw, false},
		{"another key", other, message, false, raw, false},
		{"exchanged", verify, message, false, sequence(s, r), false},
		{"the other s", verify, message, false, sequence(r, new(big.Int).Sub(n, s)), false},
		{"the other r and s", verify, message, false, sequence(new(big.Int).Sub(n, r), new(big.Int).Sub(n, s)), false},
		{"s = n - r", verify, message, false, sequence(r, new(big.Int).Sub(n, r)), false},
		{"r + n", verify, message, false, sequence(new(big.Int).Add(r, n), s), false},
		{"s + n", verify, message, false, sequence(r, new(big.Int).Add(s, n)), false},
		{"r - n", verify, message, false, sequence(new(big.Int).Sub(r, n), s), false},
		{"r = 0", verify, message, false, sequence(zero, s), false},
		{"s = 0", verify, message, false, sequence(r, zero), false},
		{"both 0", verify, message, false, sequence(zero, zero), false},
		{"both n", verify, message, false, sequence(n, n), false},
		{"three", verify, message, false, sequence(r, s, s), false},
		{"one", verify, message, false, sequence(r), false},
		{"more", verify, message, false, append(slices.Clone(raw), 0), false},
		{"less", verify, message, false, raw[:len(raw)-1], false},
		{"64 bytes", verify, message, false, append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...), false},
		{"a long length", verify, message, false, append([]byte{0x30, 0x81}, raw[1:]...), false},
		{"nothing", verify, message, false, nil, false},
	} {
		if ok, err := tt.key.Verify(t.Context(), keyring.SM2DSA, tt.message, tt.digest, tt.signature); ok != tt.want || err != nil {
			t.Errorf("%s: %t, %v", tt.name, ok, err)
		}
	}
	for _, n := range []int{0, 20, 31, 33, 64} {
		if _, err := sign.Sign(t.Context(), keyring.SM2DSA, make([]byte, n), true); !errors.Is(err, keyring.ErrDigestLength) {
			t.Errorf("Sign of a digest of %d bytes: %v", n, err)
		}
		if _, err := verify.Verify(t.Context(), keyring.SM2DSA, make([]byte, n), true, raw); !errors.Is(err, keyring.ErrDigestLength) {
			t.Errorf("Verify of a digest of %d bytes: %v", n, err)
		}
	}
	var algorithm *keyring.AlgorithmError
	for _, a := range []keyring.Algorithm{keyring.ECDSASHA256, keyring.SM2PKE, keyring.ECDH} {
		if _, err := sign.Sign(t.Context(), a, message, false); !errors.As(err, &algorithm) {
			t.Errorf("Sign with %s: %v", a, err)
		}
	}
}

func TestSM2Encryption(t *testing.T) {
	t.Parallel()
	g := newRig(t, nil, keyring.Options{})
	m := g.create(t, keyring.SM2, keyring.EncryptDecrypt)
	encrypt, decrypt := g.mustOpen(t, m.ID, "kms:Encrypt"), g.mustOpen(t, m.ID, "kms:Decrypt")
	other := g.mustOpen(t, g.create(t, keyring.SM2, keyring.EncryptDecrypt).ID, "kms:Decrypt")
	plaintext := make([]byte, 1025)
	_, _ = rand.Read(plaintext)
	// The lengths around those at which the library goes from one way to derive
	// the key stream to another, with SM3 a block, four or eight at a time.
	for _, n := range []int{1, 2, 31, 32, 33, 95, 96, 97, 127, 128, 129, 159, 160, 255, 256, 257, 288, 511, 512, 513, 1000, 1023, 1024} {
		ciphertext, err := encrypt.Encrypt(t.Context(), keyring.SM2PKE, plaintext[:n], nil)
		if err != nil {
			t.Fatalf("%d bytes: %v", n, err)
		}
		if back, _, err := decrypt.Decrypt(t.Context(), keyring.SM2PKE, ciphertext, nil); err != nil || !bytes.Equal(back.Reveal(), plaintext[:n]) {
			t.Errorf("%d bytes: not what was encrypted, %v", n, err)
		}
		if _, _, err := other.Decrypt(t.Context(), keyring.SM2PKE, ciphertext, nil); !errors.Is(err, keyring.ErrInvalidCiphertext) {
			t.Errorf("%d bytes: another key: %v", n, err)
		}
		defined, _ := sm2Encrypt(9, unspaced(t, sm2Point), plaintext[:n])
		if back, err := keyring.DecryptSM2(sm2Example(t), defined); err != nil || !bytes.Equal(back, plaintext[:n]) {
			t.Errorf("%d bytes by the definition: %v", n, err)
		}
	}
	// One byte: every 256th time, what encrypts it is zero and another is taken.
	for range 400 {
		ciphertext, err := encrypt.Encrypt(t.Context(), keyring.SM2PKE, plaintext[:1], nil)
		if err != nil {
			t.Fatal(err)
		}
		if back, _, err := decrypt.Decrypt(t.Context(), keyring.SM2PKE, ciphertext, nil); err != nil || !bytes.Equal(back.Reveal(), plaintext[:1]) {
			t.Fatalf("%x: %v", ciphertext, err)
		}
	}
	var long *keyring.LengthError
	if _, err := encrypt.Encrypt(t.Context(), keyring.SM2PKE, plaintext, nil); !errors.As(err, &long) || *long != (keyring.LengthError{Algorithm: keyring.SM2PKE, Spec: keyring.SM2, Max: 1024}) {
		t.Errorf("1025 bytes: %v", err)
	}
	if _, err := encrypt.Encrypt(t.Context(), keyring.SM2PKE, nil, nil); !errors.Is(err, keyring.ErrParameter) {
		t.Errorf("nothing: %v", err)
	}
}

// sm2Encrypt is SM2PKE by its definition (GB/T 32918.4, 6.1), with a k of the
// caller's choice; it does not care whether the key stream is zero.
func sm2Encrypt(k int64, point, plaintext []byte) (ciphertext, stream []byte) {
	curve := sm2.P256()
	scalar := big.NewInt(k).Bytes()
	x1, y1 := curve.ScalarBaseMult(scalar)                                        //lint:ignore SA1019 the definition is in these terms
	x2, y2 := curve.ScalarMult(integer(point[1:33]), integer(point[33:]), scalar) //lint:ignore SA1019 likewise
	xb, yb := x2.FillBytes(make([]byte, 32)), y2.FillBytes(make([]byte, 32))
	for counter := byte(1); len(stream) < len(plaintext); counter++ {
		block := sm3.Sum(slices.Concat(xb, yb, []byte{0, 0, 0, counter}))
		stream = append(stream, block[:]...)
	}
	stream = stream[:len(plaintext)]
	c2 := slices.Clone(plaintext)
	for i := range c2 {
		c2[i] ^= stream[i]
	}
	c3 := sm3.Sum(slices.Concat(xb, plaintext, yb))
	return sequence(x1, y1, c3[:], c2), stream
}

// What is encrypted may happen to be zero, and what it is encrypted with must
// not. With a single byte, either is the case in one of 256.
func TestSM2Zeros(t *testing.T) {
	t.Parallel()
	key, point := sm2Example(t), unspaced(t, sm2Point)
	zero := 0
	for k := int64(465); k < 475; k++ { // with 470 it is zero
		_, stream := sm2Encrypt(k, point, []byte{0})
		ciphertext, _ := sm2Encrypt(k, point, stream) // encrypted into a zero
		plaintext, err := keyring.DecryptSM2(key, ciphertext)
		if stream[0] == 0 {
			zero++
			ciphertext, _ = sm2Encrypt(k, point, []byte("x"))
			if _, again := keyring.DecryptSM2(key, ciphertext); !errors.Is(err, keyring.ErrInvalidCiphertext) || !errors.Is(again, keyring.ErrInvalidCiphertext) {
				t.Errorf("k = %d: with a key stream of zero: %v, %v", k, err, again)
			}
		} else if err != nil || !bytes.Equal(plaintext, stream) {
			t.Errorf("k = %d: %x, %v, want %x", k, plaintext, err, stream)
		}
	}
	if zero == 0 {
		t.Error("no key stream is zero")
	}
}

func TestSM2BadCiphertexts(t *testing.T) {
	t.Parallel()
	key, point := sm2Example(t), unspaced(t, sm2Point)
	good, _ := sm2Encrypt(77, point, []byte("attack at dawn"))
	if b, err := keyring.DecryptSM2(key, good); err != nil || string(b) != "attack at dawn" {
		t.Fatalf("%q, %v", b, err)
	}
	var c struct {
		X, Y   *big.Int
		C3, C2 []byte
	}
	if _, err := asn1.Unmarshal(good, &c); err != nil {
		t.Fatal(err)
	}
	flip := func(b []byte, i int) []byte {
		b = slices.Clone(b)
		b[i] ^= 1
		return b
	}
	field := func(n *big.Int) []byte { return n.FillBytes(make([]byte, 32)) }
	p := sm2.P256().Params()
	onP256x, onP256y := elliptic.P256().Params().Gx, elliptic.P256().Params().Gy
	long, _ := sm2Encrypt(5, point, make([]byte, 1025))
	longest, _ := sm2Encrypt(5, point, make([]byte, 1024))
	if _, err := keyring.DecryptSM2(key, longest); err != nil {
		t.Errorf("1024 bytes: %v", err)
	}
	for name, bad := range map[string][]byte{
		"nothing":            nil,
		"no DER":             []byte("attack at dawn"),
		"truncated":          good[:len(good)-1],
		"more":               append(slices.Clone(good), 0),
		"a long length":      append([]byte{0x30, 0x81}, good[1:]...),
		"C1 C3 C2":           slices.Concat([]byte{4}, field(c.X), field(c.Y), c.C3, c.C2),
		"C1 C2 C3":           slices.Concat([]byte{4}, field(c.X), field(c.Y), c.C2, c.C3),
		"compressed":         slices.Concat([]byte{byte(2 + c.Y.Bit(0))}, field(c.X), c.C3, c.C2),
		"the other order":    sequence(c.X, c.Y, c.C2, c.C3),
		"hash":               sequence(c.X, c.Y, flip(c.C3, 31), c.C2),
		"a short hash":       sequence(c.X, c.Y, c.C3[:31], c.C2),
		"a long hash":        sequence(c.X, c.Y, append(slices.Clone(c.C3), 0), c.C2),
		"no hash":            sequence(c.X, c.Y, []byte{}, c.C2),
		"text":               sequence(c.X, c.Y, c.C3, flip(c.C2, 3)),
		"less text":          sequence(c.X, c.Y, c.C3, c.C2[:13]),
		"no text":            sequence(c.X, c.Y, c.C3, []byte{}),
		"a member less":      sequence(c.X, c.Y, c.C3),
		"a member more":      sequence(c.X, c.Y, c.C3, c.C2, c.C2),
		"the negative":       sequence(c.X, new(big.Int).Sub(p.P, c.Y), c.C3, c.C2),
		"a negative integer": sequence(c.X, new(big.Int).Neg(c.Y), c.C3, c.C2),
		"off the curve":      sequence(c.X, new(big.Int).Xor(c.Y, big.NewInt(1)), c.C3, c.C2),
		"on another curve":   sequence(onP256x, onP256y, c.C3, c.C2),
		"zeros":              sequence(new(big.Int), new(big.Int), c.C3, c.C2),
		"x + p":              sequence(new(big.Int).Add(c.X, p.P), c.Y, c.C3, c.C2),
		"x = p":              sequence(p.P, c.Y, c.C3, c.C2),
		"a huge x":           sequence(new(big.Int).Lsh(c.X, 4096), c.Y, c.C3, c.C2),
		"too long":           long,
	} {
		if b, err := keyring.DecryptSM2(key, bad); !errors.Is(err, keyring.ErrInvalidCiphertext) || b != nil {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
}

func TestSM2Agreement(t *testing.T) {
	t.Parallel()
	g := newRig(t, nil, keyring.Options{})
	one, two := g.create(t, keyring.SM2, keyring.KeyAgreement), g.create(t, keyring.SM2, keyring.KeyAgreement)
	derive := g.mustOpen(t, one.ID, "kms:DeriveSharedSecret")
	a, err := derive.DeriveSharedSecret(t.Context(), keyring.ECDH, two.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	b, err := g.mustOpen(t, two.ID, "kms:DeriveSharedSecret").DeriveSharedSecret(t.Context(), keyring.ECDH, one.PublicKey)
	if err != nil || a.Len() != 32 || !bytes.Equal(a.Reveal(), b.Reveal()) {
		t.Errorf("%d bytes, the same on both sides: %t, %v", a.Len(), bytes.Equal(a.Reveal(), b.Reveal()), err)
	}
	// By the standard library's arithmetic on curves y² = x³ - 3x + b.
	g.seed(t, "55555555-5555-4555-8555-555555555555", keyring.SM2, keyring.KeyAgreement, sm2Example(t))
	c, err := g.mustOpen(t, "55555555-5555-4555-8555-555555555555", "kms:DeriveSharedSecret").DeriveSharedSecret(t.Context(), keyring.ECDH, one.PublicKey)
	at := one.PublicKey[len(one.PublicKey)-64:]
	x, _ := sm2.P256().Params().ScalarMult(integer(at[:32]), integer(at[32:]), unspaced(t, sm2Scalar)) //lint:ignore SA1019 it is another implementation
	if err != nil || !bytes.Equal(c.Reveal(), x.FillBytes(make([]byte, 32))) {
		t.Errorf("%x, %v, want %x", c.Reveal(), err, x)
	}

	nist := g.create(t, keyring.ECCNISTP256, keyring.KeyAgreement)
	point := unspaced(t, sm2Point)
	off := slices.Clone(point)
	off[64] ^= 1
	tooLarge := slices.Clone(point)
	copy(tooLarge[1:], sm2.P256().Params().P.Bytes())
	p256 := nist.PublicKey[len(nist.PublicKey)-65:]
	spki := spkiOf(ecPublicKey, named(oidSM2), point)
	for name, bad := range map[string][]byte{
		"nothing":             {},
		"more":                append(slices.Clone(spki), 0),
		"truncated":           spki[:len(spki)-1],
		"on P-256":            nist.PublicKey,
		"a point of P-256":    spkiOf(ecPublicKey, named(oidSM2), p256),
		"called P-256":        spkiOf(ecPublicKey, named(asn1.ObjectIdentifier{1, 2, 840, 10045, 3, 1, 7}), point),
		"another algorithm":   spkiOf(asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 1}, named(oidSM2), point),
		"explicit parameters": spkiOf(ecPublicKey, explicitP256, point),
		"no curve":            spkiOf(ecPublicKey, func(*cryptobyte.Builder) {}, point),
		"off the curve":       spkiOf(ecPublicKey, named(oidSM2), off),
		"too large":           spkiOf(ecPublicKey, named(oidSM2), tooLarge),
		"zeros":               spkiOf(ecPublicKey, named(oidSM2), append([]byte{4}, make([]byte, 64)...)),
		"infinity":            spkiOf(ecPublicKey, named(oidSM2), []byte{0}),
		"compressed":          spkiOf(ecPublicKey, named(oidSM2), append([]byte{2 + point[64]&1}, point[1:33]...)),
		"hybrid":              spkiOf(ecPublicKey, named(oidSM2), append([]byte{6 + point[64]&1}, point[1:]...)),
	} {
		if _, err := derive.DeriveSharedSecret(t.Context(), keyring.ECDH, bad); !errors.Is(err, keyring.ErrPeerKey) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := g.mustOpen(t, nist.ID, "kms:DeriveSharedSecret").DeriveSharedSecret(t.Context(), keyring.ECDH, spki); !errors.Is(err, keyring.ErrPeerKey) {
		t.Errorf("a key on P-256 agrees with one of SM2: %v", err)
	}
}

func TestSM2PrivateKeys(t *testing.T) {
	t.Parallel()
	scalar, point := unspaced(t, sm2Scalar), unspaced(t, sm2Point)
	want := sm2Example(t)
	p256, p256Point := asn1.ObjectIdentifier{1, 2, 840, 10045, 3, 1, 7}, unspaced(t, sm2Point)
	p256Point[64] ^= 1
	for name, good := range map[string][]byte{
		"without a public key": pkcs8Of(oidSM2, scalar, nil, nil),
		"with the curve twice": pkcs8Of(oidSM2, scalar, oidSM2, point),
		"as it is kept":        want,
	} {
		if got, err := keyring.ParsePrivate(keyring.SM2, good); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %x, %v", name, got, err)
		}
	}
	n := sm2.P256().Params().N
	near := func(d int64) []byte { return new(big.Int).Add(n, big.NewInt(d)).Bytes() }
	if _, err := keyring.ParsePrivate(keyring.SM2, pkcs8Of(oidSM2, near(-2), nil, nil)); err != nil {
		t.Errorf("n - 2: %v", err)
	}
	for name, bad := range map[string][]byte{
		"nothing":               nil,
		"0":                     pkcs8Of(oidSM2, make([]byte, 32), nil, nil),
		"n - 1":                 pkcs8Of(oidSM2, near(-1), nil, nil),
		"n":                     pkcs8Of(oidSM2, near(0), nil, nil),
		"n + 1":                 pkcs8Of(oidSM2, near(1), nil, nil),
		"short":                 pkcs8Of(oidSM2, scalar[1:], nil, point),
		"long":                  pkcs8Of(oidSM2, append([]byte{0}, scalar...), nil, point),
		"another's public key":  pkcs8Of(oidSM2, near(-2), nil, point),
		"a point that is none":  pkcs8Of(oidSM2, scalar, nil, p256Point),
		"a compressed point":    pkcs8Of(oidSM2, scalar, nil, append([]byte{2 + point[64]&1}, point[1:33]...)),
		"another curve":         pkcs8Of(p256, scalar, nil, nil),
		"another curve inside":  pkcs8Of(oidSM2, scalar, p256, nil),
		"more":                  append(slices.Clone(want), 0),
		"truncated":             want[:len(want)-1],
		"SubjectPublicKeyInfo":  spkiOf(ecPublicKey, named(oidSM2), point),
		"another version":       bytes.Replace(want, []byte{2, 1, 0}, []byte{2, 1, 1}, 1),
		"another inner version": bytes.Replace(want, []byte{2, 1, 1, 4, 32}, []byte{2, 1, 2, 4, 32}, 1),
	} {
		if got, err := keyring.ParsePrivate(keyring.SM2, bad); err == nil {
			t.Errorf("%s: %x", name, got)
		}
	}
	for _, s := range []keyring.Spec{keyring.ECCNISTP256, keyring.ECCSECGP256K1, keyring.RSA2048} {
		if _, err := keyring.ParsePrivate(s, want); err == nil {
			t.Errorf("%s takes a key of SM2", s)
		}
	}
	pkcs8, spki, err := keyring.GeneratePair(keyring.SM2)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := keyring.ParsePrivate(keyring.SM2, pkcs8); err != nil || !bytes.Equal(again, pkcs8) {
		t.Errorf("%x, %v", again, err)
	}
	if again, err := keyring.ParsePublic(keyring.SM2, spki); err != nil || !bytes.Equal(again, spki) {
		t.Errorf("%x, %v", again, err)
	}
}

// OpenSSL and the keyring take each other's keys, signatures and ciphertexts.
// Secrets it does not derive with keys of SM2.
func TestSM2OpenSSL(t *testing.T) {
	t.Parallel()
	program, err := exec.LookPath("openssl")
	if err != nil {
		return
	}
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	run := func(args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), program, args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("openssl %v: %v: %s", args, err, out)
		}
	}
	read := func(name string) []byte {
		t.Helper()
		b, err := os.ReadFile(path(name))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	write := func(name string, b []byte) {
		t.Helper()
		if err := os.WriteFile(path(name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	writePublic := func(name string, spki []byte) {
		write(name, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: spki}))
	}
	g := newRig(t, nil, keyring.Options{})
	message := []byte("what OpenSSL and we have to say to each other")
	write("message", message)
	const distinguishing = "distid:1234567812345678"

	// A key of OpenSSL's, as it is.
	run("genpkey", "-algorithm", "SM2", "-out", "theirs")
	run("pkcs8", "-topk8", "-nocrypt", "-in", "theirs", "-outform", "DER", "-out", "theirs.der")
	run("pkey", "-in", "theirs", "-pubout", "-outform", "DER", "-out", "theirs.public")
	theirs, public := read("theirs.der"), read("theirs.public")
	imported := g.seed(t, "33333333-3333-4333-8333-333333333333", keyring.SM2, keyring.EncryptDecrypt, theirs)
	if !bytes.Equal(imported.PublicKey, public) {
		t.Errorf("the public key of theirs is %x, want %x", imported.PublicKey, public)
	}
	// One of ours, as a data key pair has it.
	pkcs8, spki, err := keyring.GeneratePair(keyring.SM2)
	if err != nil {
		t.Fatal(err)
	}
	write("pair.der", pkcs8)
	run("pkey", "-inform", "DER", "-in", "pair.der", "-pubout", "-outform", "DER", "-out", "pair.public")
	if !bytes.Equal(read("pair.public"), spki) {
		t.Error("OpenSSL finds another public key in a pair of ours")
	}

	// Signatures.
	signing := g.create(t, keyring.SM2, keyring.SignVerify)
	writePublic("signing", signing.PublicKey)
	signature, err := g.mustOpen(t, signing.ID, "kms:Sign").Sign(t.Context(), keyring.SM2DSA, message, false)
	if err != nil {
		t.Fatal(err)
	}
	write("signature", signature)
	run("pkeyutl", "-verify", "-rawin", "-digest", "sm3", "-pkeyopt", distinguishing, "-pubin", "-inkey", "signing", "-in", "message", "-sigfile", "signature")
	verifying := g.seed(t, "44444444-4444-4444-8444-444444444444", keyring.SM2, keyring.SignVerify, theirs)
	run("pkeyutl", "-sign", "-rawin", "-digest", "sm3", "-pkeyopt", distinguishing, "-inkey", "theirs", "-in", "message", "-out", "theirs.signature")
	if ok, err := g.mustOpen(t, verifying.ID, "kms:Verify").Verify(t.Context(), keyring.SM2DSA, message, false, read("theirs.signature")); !ok || err != nil {
		t.Errorf("OpenSSL's signature: %t, %v", ok, err)
	}

	// Ciphertexts, with a key stream of many blocks.
	encrypting := g.create(t, keyring.SM2, keyring.EncryptDecrypt)
	writePublic("encrypting", encrypting.PublicKey)
	long := make([]byte, 1024)
	_, _ = rand.Read(long)
	for _, plaintext := range [][]byte{message, long} {
		write("plaintext", plaintext)
		run("pkeyutl", "-encrypt", "-pubin", "-inkey", "encrypting", "-in", "plaintext", "-out", "theirs.ciphertext")
		back, _, err := g.mustOpen(t, encrypting.ID, "kms:Decrypt").Decrypt(t.Context(), keyring.SM2PKE, read("theirs.ciphertext"), nil)
		if err != nil || !bytes.Equal(back.Reveal(), plaintext) {
			t.Errorf("OpenSSL's ciphertext of %d bytes: %v", len(plaintext), err)
		}
		ciphertext, err := g.mustOpen(t, imported.ID, "kms:Encrypt").Encrypt(t.Context(), keyring.SM2PKE, plaintext, nil)
		if err != nil {
			t.Fatal(err)
		}
		write("ciphertext", ciphertext)
		run("pkeyutl", "-decrypt", "-inkey", "theirs", "-in", "ciphertext", "-out", "back")
		if !bytes.Equal(read("back"), plaintext) {
			t.Errorf("OpenSSL decrypts %d bytes into others", len(plaintext))
		}
	}
}

func FuzzSM2(f *testing.F) {
	key := sm2Example(f)
	point := unspaced(f, sm2Point)
	ciphertext, _ := sm2Encrypt(3, point, []byte("seed"))
	f.Add(key)
	f.Add(spkiOf(ecPublicKey, named(oidSM2), point))
	f.Add(ciphertext)
	f.Add([]byte{0x30, 0x84, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		if out, err := keyring.ParsePrivate(keyring.SM2, b); err == nil {
			if again, err := keyring.ParsePrivate(keyring.SM2, out); err != nil || !bytes.Equal(again, out) {
				t.Fatalf("%x: %x, %v", b, again, err)
			}
		}
		if out, err := keyring.ParsePublic(keyring.SM2, b); err == nil && !bytes.Equal(out, b) {
			t.Fatalf("%x: %x", b, out)
		}
		if out, err := keyring.DecryptSM2(key, b); err != nil && !errors.Is(err, keyring.ErrInvalidCiphertext) || err == nil && len(out) == 0 {
			t.Fatalf("%x: %x, %v", b, out, err)
		}
	})
}

// externalInChina makes a key of a Region of China whose material is to be imported.
func (g *rig) externalInChina(t testing.TB, s keyring.Spec, u keyring.Usage) *keyring.Metadata {
	t.Helper()
	c := newCall()
	m, err := g.ring.Create(t.Context(), c, permit(t, c, "kms:CreateKey", anyResource()),
		keyring.CreateParams{Account: account, Region: china, Spec: s, Usage: u, Origin: keyring.External})
	if err != nil {
		t.Fatalf("Create(%s, %s): %v", s, u, err)
	}
	return m
}

const china = "cn-north-1"

// openInChina is mustOpen for a key of a Region of China.
func (g *rig) openInChina(t testing.TB, id, action string) keyring.Key {
	t.Helper()
	s, err := g.ring.Find(t.Context(), account, china, id)
	if err != nil {
		t.Fatal(err)
	}
	c := newCall()
	c.Region = china
	k, err := g.ring.Open(t.Context(), c, permit(t, c, action, s.Resource()))
	if err != nil {
		t.Fatalf("Open(%s for %s): %v", id, action, err)
	}
	return k
}

// Private keys are imported with SM2PKE, and those of SM2 with RSAES-OAEP, too.
func TestSM2Import(t *testing.T) {
	t.Parallel()
	g := newRig(t, nil, keyring.Options{})
	rsa4096, err := os.ReadFile("testdata/rsa4096.pem")
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(rsa4096)
	p521, _, err := keyring.GeneratePair(keyring.ECCNISTP521)
	if err != nil {
		t.Fatal(err)
	}

	for _, tt := range []struct {
		name     string
		spec     keyring.Spec
		usage    keyring.Usage
		material []byte
	}{
		{"RSA", keyring.RSA4096, keyring.SignVerify, block.Bytes},
		{"P-521", keyring.ECCNISTP521, keyring.KeyAgreement, p521},
		{"SM2", keyring.SM2, keyring.EncryptDecrypt, sm2Example(t)},
		{"SM2 without its public key", keyring.SM2, keyring.SignVerify, pkcs8Of(oidSM2, unspaced(t, sm2Scalar), oidSM2, nil)},
	} {
		m := g.externalInChina(t, tt.spec, tt.usage)
		p, err := g.openInChina(t, m.ID, "kms:GetParametersForImport").ImportParameters(t.Context(), keyring.WrapSM2PKE, keyring.SM2)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		wrapped, _ := sm2Encrypt(11, p.PublicKey[len(p.PublicKey)-65:], tt.material)
		importing := func(edit func(b []byte)) error {
			b := slices.Clone(wrapped)
			edit(b)
			_, err := g.openInChina(t, m.ID, "kms:ImportKeyMaterial").Import(t.Context(), keyring.Import{Token: p.Token, Wrapped: b})
			return err
		}
		if err := importing(func(b []byte) { b[len(b)-1] ^= 1 }); !errors.Is(err, keyring.ErrInvalidCiphertext) {
			t.Errorf("%s: changed on its way: %v", tt.name, err)
		}
		if err := importing(func([]byte) {}); err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		public, err := g.openInChina(t, m.ID, "kms:GetPublicKey").PublicKey()
		want, err2 := keyring.PublicOf(tt.spec, tt.material)
		if err != nil || err2 != nil || !bytes.Equal(public, want) {
			t.Errorf("%s: public key %x, %v, %v, want %x", tt.name, public, err, err2, want)
		}
		if _, err := g.openInChina(t, m.ID, "kms:GetParametersForImport").ImportParameters(t.Context(), keyring.WrapSM2PKE, keyring.RSA2048); err == nil {
			t.Errorf("%s: SM2PKE with a wrapping key of RSA", tt.name)
		}
	}
	// A token of one algorithm, with what is wrapped by the other.
	m := g.externalInChina(t, keyring.SM2, keyring.SignVerify)
	token, err := g.box.Seal(keyring.ImportTokens, keyring.ImportAAD(m.ARN), keyring.EncodeImportToken(keyring.WrapOAEPSHA256, keyring.SM2, start.Add(1e12), sm2Example(t)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g.openInChina(t, m.ID, "kms:ImportKeyMaterial").Import(t.Context(), keyring.Import{Token: token, Wrapped: make([]byte, 256)}); !errors.Is(err, keyring.ErrInvalidCiphertext) {
		t.Errorf("RSAES-OAEP with a wrapping key of SM2: %v", err)
	}
	p, err := g.openInChina(t, m.ID, "kms:GetParametersForImport").ImportParameters(t.Context(), keyring.WrapOAEPSHA256, keyring.RSA2048)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.ParsePKIXPublicKey(p.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	_, err = g.openInChina(t, m.ID, "kms:ImportKeyMaterial").Import(t.Context(), keyring.Import{
		Token: p.Token, Wrapped: wrap(t, keyring.WrapOAEPSHA256, public.(*rsa.PublicKey), sm2Example(t)),
	})
	if err != nil {
		t.Error(err)
	}
	signature, err := g.openInChina(t, m.ID, "kms:Sign").Sign(t.Context(), keyring.SM2DSA, []byte("message"), false)
	if err != nil {
		t.Fatal(err)
	}
	key, err := sm2.NewPublicKey(unspaced(t, sm2Point))
	if err != nil || !sm2.VerifyASN1WithSM2(key, nil, []byte("message"), signature) {
		t.Errorf("the library does not verify a signature of an imported key: %v", err)
	}
}
