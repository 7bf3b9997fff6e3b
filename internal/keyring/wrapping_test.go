package keyring_test

import (
	"bytes"
	"crypto/aes"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash"
	"math/big"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/keyring"
)

// wrapKWP is AES-KWP as NIST SP 800-38F has it (algorithm 5), by itself: the
// other side of what the package takes from a library.
func wrapKWP(t testing.TB, key, material []byte) []byte {
	t.Helper()
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	b := binary.BigEndian.AppendUint32([]byte{0xa6, 0x59, 0x59, 0xa6}, uint32(len(material)))
	b = append(b, material...)
	for len(b)%8 != 0 {
		b = append(b, 0)
	}
	n := len(b)/8 - 1
	if n == 1 {
		block.Encrypt(b, b)
		return b
	}
	var x [16]byte
	for step := uint64(1); step <= uint64(6*n); step++ {
		r := b[8*((int(step)-1)%n+1):][:8]
		copy(x[:8], b)
		copy(x[8:], r)
		block.Encrypt(x[:], x[:])
		copy(r, x[8:])
		binary.BigEndian.PutUint64(b, binary.BigEndian.Uint64(x[:8])^step)
	}
	return b
}

// wrap wraps material as a client does it.
func wrap(t testing.TB, a keyring.WrappingAlgorithm, p *rsa.PublicKey, material []byte) []byte {
	t.Helper()
	newHash := map[keyring.WrappingAlgorithm]func() hash.Hash{
		keyring.WrapOAEPSHA1: sha1.New, keyring.WrapRSAAESKWPSHA1: sha1.New,
		keyring.WrapOAEPSHA256: sha256.New, keyring.WrapRSAAESKWP256: sha256.New,
	}[a]
	direct := material
	var rest []byte
	if a == keyring.WrapRSAAESKWPSHA1 || a == keyring.WrapRSAAESKWP256 {
		direct = make([]byte, 32)
		_, _ = rand.Read(direct)
		rest = wrapKWP(t, direct, material)
	}
	b, err := rsa.EncryptOAEP(newHash(), rand.Reader, p, direct, nil)
	if err != nil {
		t.Fatal(err)
	}
	return append(b, rest...)
}

// The vectors of RFC 5649, section 6, are of a key of 192 bits; this one of 256
// bits was made by OpenSSL 3.0: openssl enc -id-aes256-wrap-pad.
func TestWrapKWPIsOpenSSLs(t *testing.T) {
	key, _ := hex.DecodeString("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f")
	material, _ := hex.DecodeString("c37b7e6492584340bed12207808941155068f738")
	want, _ := hex.DecodeString("29b7fa191c2165684374eee9f74595e2a42bace75c425b3053efa26ffe1bb32f")
	if got := wrapKWP(t, key, material); !bytes.Equal(got, want) {
		t.Errorf("wrapped as %x, want %x", got, want)
	}
	got, err := keyring.UnwrapKWP(key, want)
	if err != nil || !bytes.Equal(got, material) {
		t.Errorf("unwrapped %x, %v", got, err)
	}
}

func TestUnwrap(t *testing.T) {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	material := make([]byte, 32)
	_, _ = rand.Read(material)
	long := bytes.Repeat(material, 70) // as a private RSA key is
	algorithms := []keyring.WrappingAlgorithm{
		keyring.WrapOAEPSHA1, keyring.WrapOAEPSHA256, keyring.WrapRSAAESKWPSHA1, keyring.WrapRSAAESKWP256,
	}
	for _, a := range algorithms {
		m := material
		if a == keyring.WrapRSAAESKWPSHA1 || a == keyring.WrapRSAAESKWP256 {
			m = long
		}
		wrapped := wrap(t, a, &k.PublicKey, m)
		got, err := keyring.Unwrap(a, k, wrapped)
		if err != nil || !bytes.Equal(got, m) {
			t.Errorf("%s: %x, %v", a, got, err)
		}
		for _, other := range algorithms {
			if _, err := keyring.Unwrap(other, k, wrapped); other != a && !errors.Is(err, keyring.ErrInvalidCiphertext) {
				t.Errorf("%s as %s: %v, want ErrInvalidCiphertext", a, other, err)
			}
		}
		bad := map[string][]byte{
			"nothing": nil, "one byte less": wrapped[:len(wrapped)-1], "one byte more": append(bytes.Clone(wrapped), 0),
			"eight bytes more": append(bytes.Clone(wrapped), make([]byte, 8)...), "only the first": wrapped[:1],
		}
		for name, at := range map[string]int{"the first byte": 1, "the last byte": len(wrapped) - 1} {
			bad[name+" changed"] = bytes.Clone(wrapped)
			bad[name+" changed"][at] ^= 1
		}
		for name, b := range bad {
			if _, err := keyring.Unwrap(a, k, b); !errors.Is(err, keyring.ErrInvalidCiphertext) {
				t.Errorf("%s: %s: %v, want ErrInvalidCiphertext", a, name, err)
			}
		}
	}
	// A key of 128 bits is none of the algorithm.
	short, err := rsa.EncryptOAEP(sha256.New(), rand.Reader, &k.PublicKey, material[:16], nil)
	if err != nil {
		t.Fatal(err)
	}
	short = append(short, wrapKWP(t, material[:16], material)...)
	if _, err := keyring.Unwrap(keyring.WrapRSAAESKWP256, k, short); !errors.Is(err, keyring.ErrInvalidCiphertext) {
		t.Errorf("an AES key of 128 bits: %v, want ErrInvalidCiphertext", err)
	}
	if _, err := keyring.Unwrap("RSAES_PKCS1_V1_5", k, short[:256]); !errors.Is(err, keyring.ErrInvalidCiphertext) {
		t.Errorf("another algorithm: %v, want ErrInvalidCiphertext", err)
	}
}

// "Select a wrapping algorithm" in the AWS KMS Developer Guide, whole.
func TestWrappings(t *testing.T) {
	const oaep, hybrid, sm2 = 1, 2, 8
	rules := map[keyring.Spec]int{
		keyring.SymmetricDefault: oaep, keyring.HMAC224: oaep, keyring.HMAC256: oaep, keyring.HMAC384: oaep, keyring.HMAC512: oaep,
		keyring.RSA2048: hybrid | sm2, keyring.RSA3072: hybrid | sm2, keyring.RSA4096: hybrid | sm2,
		keyring.ECCNISTP256: oaep | hybrid | sm2, keyring.ECCNISTP384: oaep | hybrid | sm2, keyring.ECCNISTP521: oaep | hybrid | sm2,
		keyring.ECCSECGP256K1: oaep | hybrid | sm2, keyring.ECCEdwards25519: oaep | hybrid | sm2, keyring.SM2: oaep | sm2,
		keyring.MLKEM512: 0, keyring.MLKEM768: 0, keyring.MLKEM1024: 0, keyring.MLDSA44: 0, keyring.MLDSA65: 0, keyring.MLDSA87: 0,
	}
	kinds := map[keyring.WrappingAlgorithm]int{
		keyring.WrapOAEPSHA1: oaep, keyring.WrapOAEPSHA256: oaep, keyring.WrapRSAAESKWPSHA1: hybrid, keyring.WrapRSAAESKWP256: hybrid,
		"RSAES_PKCS1_V1_5": 4, keyring.WrapSM2PKE: sm2,
	}
	for s, rule := range rules {
		if s.Importable() != (rule != 0) {
			t.Errorf("Importable of %s is %t", s, s.Importable())
		}
		for a, kind := range kinds {
			for _, w := range []keyring.Spec{keyring.RSA2048, keyring.RSA3072, keyring.RSA4096, keyring.SM2, keyring.ECCNISTP256, keyring.SymmetricDefault} {
				if kind == sm2 || w == keyring.SM2 {
					check(t, "eu-central-1", s, a, w, false)
					check(t, "cn-north-1", s, a, w, rule&sm2 != 0 && kind == sm2 && w == keyring.SM2)
					continue
				}
				want := rule&kind != 0 && (w == keyring.RSA2048 || w == keyring.RSA3072 || w == keyring.RSA4096) &&
					!((s == keyring.ECCNISTP521 || s == keyring.ECCEdwards25519) && w == keyring.RSA2048 && kind == oaep)
				check(t, "eu-central-1", s, a, w, want)
				check(t, "cn-north-1", s, a, w, want && kind != hybrid)
			}
		}
	}
}

func check(t *testing.T, region string, s keyring.Spec, a keyring.WrappingAlgorithm, w keyring.Spec, want bool) {
	t.Helper()
	err := keyring.CheckWrapping(region, s, a, w)
	var wrapping *keyring.WrappingError
	if (err == nil) != want || err != nil && (!errors.As(err, &wrapping) || *wrapping != keyring.WrappingError{Algorithm: a, Wrapping: w, Spec: s}) {
		t.Errorf("%s: %s with %s by %s: %v, want %t", region, a, w, s, err, want)
	}
}

// What others encode as PKCS#8: each is the same key.
func TestImportedCurveKeys(t *testing.T) {
	for spec, curve := range map[keyring.Spec]elliptic.Curve{
		keyring.ECCNISTP256: elliptic.P256(), keyring.ECCNISTP384: elliptic.P384(), keyring.ECCNISTP521: elliptic.P521(),
	} {
		k, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		oid := map[keyring.Spec]asn1.ObjectIdentifier{
			keyring.ECCNISTP256: {1, 2, 840, 10045, 3, 1, 7}, keyring.ECCNISTP384: {1, 3, 132, 0, 34}, keyring.ECCNISTP521: {1, 3, 132, 0, 35},
		}[spec]
		want, err := x509.MarshalPKCS8PrivateKey(k)
		if err != nil {
			t.Fatal(err)
		}
		scalar, err := k.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		point, err := k.PublicKey.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		testCurveKey(t, spec, oid, scalar, point, want)
		generated, err := x509.MarshalPKIXPublicKey(&k.PublicKey)
		if err != nil {
			t.Fatal(err)
		}
		if _, public, err := keyring.ImportedMaterial(spec, want); err != nil || !bytes.Equal(public, generated) {
			t.Errorf("%s: public key %x, %v", spec, public, err)
		}
		other := map[keyring.Spec]keyring.Spec{
			keyring.ECCNISTP256: keyring.ECCSECGP256K1, keyring.ECCNISTP384: keyring.ECCNISTP256, keyring.ECCNISTP521: keyring.RSA2048,
		}[spec]
		refused(t, other, "a key of "+string(spec), want)
	}
	// secp256k1: key 1 has the base point.
	scalar := make([]byte, 32)
	scalar[31] = 1
	point, _ := hex.DecodeString("0479be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798" +
		"483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8")
	oid := asn1.ObjectIdentifier{1, 3, 132, 0, 10}
	testCurveKey(t, keyring.ECCSECGP256K1, oid, scalar, point, curveKey{oid: oid, scalar: scalar, point: point}.marshal(t))
}

// curveKey is a PrivateKeyInfo with an ECPrivateKey in it.
type curveKey struct {
	version      int
	oid, inner   asn1.ObjectIdentifier
	innerVersion int
	scalar       []byte
	point        []byte
	attributes   bool
}

func (k curveKey) marshal(t *testing.T) []byte {
	t.Helper()
	type ecPrivateKey struct {
		Version int
		Key     []byte
		Curve   asn1.ObjectIdentifier `asn1:"optional,explicit,tag:0"`
		Point   asn1.BitString        `asn1:"optional,explicit,tag:1"`
	}
	type algorithm struct{ ID, Curve asn1.ObjectIdentifier }
	type info struct {
		Version    int
		Algorithm  algorithm
		Key        []byte
		Attributes asn1.RawValue `asn1:"optional"`
	}
	if k.innerVersion == 0 {
		k.innerVersion = 1
	}
	inner, err := asn1.Marshal(ecPrivateKey{k.innerVersion, k.scalar, k.inner, asn1.BitString{Bytes: k.point, BitLength: 8 * len(k.point)}})
	if err != nil {
		t.Fatal(err)
	}
	outer := info{Version: k.version, Algorithm: algorithm{asn1.ObjectIdentifier{1, 2, 840, 10045, 2, 1}, k.oid}, Key: inner}
	if k.attributes {
		outer.Attributes = asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0, IsCompound: true, Bytes: []byte{0x30, 0}}
	}
	der, err := asn1.Marshal(outer)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func testCurveKey(t *testing.T, spec keyring.Spec, oid asn1.ObjectIdentifier, scalar, point, want []byte) {
	t.Helper()
	base := curveKey{oid: oid, scalar: scalar, point: point}
	with := func(change func(*curveKey)) []byte {
		k := base
		change(&k)
		return k.marshal(t)
	}
	n := (len(point) - 1) / 2
	odd := point[len(point)-1] & 1
	compressed := append([]byte{2 | odd}, point[1:1+n]...)
	hybrid := append([]byte{6 | odd}, point[1:]...)
	good := map[string][]byte{
		"as it is":            base.marshal(t),
		"no public key":       with(func(k *curveKey) { k.point = nil }),
		"compressed":          with(func(k *curveKey) { k.point = compressed }),
		"hybrid":              with(func(k *curveKey) { k.point = hybrid }),
		"the curve twice":     with(func(k *curveKey) { k.inner = oid }),
		"a zero first":        with(func(k *curveKey) { k.scalar = append([]byte{0}, scalar...) }),
		"zeros left out":      with(func(k *curveKey) { k.scalar = new(big.Int).SetBytes(scalar).Bytes() }),
		"attributes":          with(func(k *curveKey) { k.attributes = true }),
		"as it is kept":       want,
		"as it is made again": bytes.Clone(want),
	}
	for name, der := range good {
		got, _, err := keyring.ImportedMaterial(spec, der)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %s: %x, %v; want %x", spec, name, got, err, want)
		}
	}
	flipped := bytes.Clone(point)
	flipped[len(flipped)-1] ^= 1
	otherOdd := bytes.Clone(compressed)
	otherOdd[0] ^= 1
	order := bytes.Repeat([]byte{0xff}, len(scalar))
	bad := map[string][]byte{
		"another public key":     with(func(k *curveKey) { k.point = flipped }),
		"the other point":        with(func(k *curveKey) { k.point = otherOdd }),
		"the point at infinity":  with(func(k *curveKey) { k.point = []byte{0} }),
		"a piece of a point":     with(func(k *curveKey) { k.point = point[:n] }),
		"zero":                   with(func(k *curveKey) { k.scalar = make([]byte, len(scalar)); k.point = nil }),
		"no scalar":              with(func(k *curveKey) { k.scalar = nil; k.point = nil }),
		"over the order":         with(func(k *curveKey) { k.scalar = order; k.point = nil }),
		"a long scalar":          with(func(k *curveKey) { k.scalar = append([]byte{1}, scalar...); k.point = nil }),
		"another curve inside":   with(func(k *curveKey) { k.inner = asn1.ObjectIdentifier{1, 3, 132, 0, 33} }),
		"another curve":          with(func(k *curveKey) { k.oid = asn1.ObjectIdentifier{1, 3, 132, 0, 33} }),
		"another version":        with(func(k *curveKey) { k.version = 7 }),
		"another version inside": with(func(k *curveKey) { k.innerVersion = 2 }),
		"something after it":     append(bytes.Clone(want), 0),
		"truncated":              want[:len(want)-1],
		"only the scalar":        scalar,
		"nothing":                nil,
	}
	for name, der := range bad {
		refused(t, spec, name, der)
	}
}

func refused(t *testing.T, spec keyring.Spec, name string, raw []byte) {
	t.Helper()
	if got, _, err := keyring.ImportedMaterial(spec, raw); !errors.Is(err, keyring.ErrKeyMaterial) {
		t.Errorf("%s: %s: %d bytes, %v; want ErrKeyMaterial", spec, name, len(got), err)
	}
}

func TestImportedRSAAndEdwards(t *testing.T) {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	if k.Primes[0].Cmp(k.Primes[1]) < 0 {
		k = &rsa.PrivateKey{PublicKey: k.PublicKey, D: k.D, Primes: []*big.Int{k.Primes[1], k.Primes[0]}}
		k.Precompute()
	}
	der, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	material, public, err := keyring.ImportedMaterial(keyring.RSA2048, der)
	if err != nil || !bytes.Equal(material, der) {
		t.Errorf("RSA_2048: %d bytes, %v", len(material), err)
	}
	if want, _ := x509.MarshalPKIXPublicKey(&k.PublicKey); !bytes.Equal(public, want) {
		t.Errorf("RSA_2048: public key %x", public)
	}
	refused(t, keyring.RSA3072, "a key of 2048 bits", der)
	refused(t, keyring.ECCNISTP256, "an RSA key", der)
	refused(t, keyring.RSA2048, "something after it", append(bytes.Clone(der), 0))
	refused(t, keyring.RSA2048, "truncated", der[:len(der)-1])
	refused(t, keyring.RSA2048, "PKCS#1", x509.MarshalPKCS1PrivateKey(k))
	refused(t, keyring.RSA2048, "the public key", public)
	inconsistent := bytes.Clone(der)
	inconsistent[len(inconsistent)-1] ^= 2 // of the coefficient
	refused(t, keyring.RSA2048, "another coefficient", inconsistent)

	testRSAForms(t, k, material)

	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if der, err = x509.MarshalPKCS8PrivateKey(ed); err != nil {
		t.Fatal(err)
	}
	if material, _, err = keyring.ImportedMaterial(keyring.ECCEdwards25519, der); err != nil || !bytes.Equal(material, der) {
		t.Errorf("Ed25519: %x, %v", material, err)
	}
	testEdwardsForms(t, ed, der)
	x, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if der, err = x509.MarshalPKCS8PrivateKey(x); err != nil {
		t.Fatal(err)
	}
	refused(t, keyring.ECCEdwards25519, "an X25519 key", der)
	refused(t, keyring.MLDSA44, "a seed", der)
}

// testEdwardsForms imports a key as others encode it (RFC 5958): with attributes,
// and with its public key.
func testEdwardsForms(t *testing.T, k ed25519.PrivateKey, want []byte) {
	t.Helper()
	public := []byte(k.Public().(ed25519.PublicKey))
	other := bytes.Clone(public)
	other[0] ^= 1
	// The first version and the length are to be replaced.
	form := func(version byte, more ...byte) []byte {
		der := append(bytes.Clone(want), more...)
		der[1], der[4] = byte(len(der)-2), version
		return der
	}
	withPublic := func(b []byte) []byte { return append([]byte{0x81, byte(len(b) + 1), 0}, b...) }
	attributes := []byte{0xa0, 2, 0x30, 0}
	for name, der := range map[string][]byte{
		"attributes": form(0, attributes...), "version 2": form(1), "a public key": form(1, withPublic(public)...),
		"both": form(1, append(attributes, withPublic(public)...)...),
	} {
		if got, _, err := keyring.ImportedMaterial(keyring.ECCEdwards25519, der); err != nil || !bytes.Equal(got, want) {
			t.Errorf("Ed25519: %s: %x, %v", name, got, err)
		}
	}
	for name, der := range map[string][]byte{
		"another public key": form(1, withPublic(other)...), "a piece of a public key": form(1, withPublic(public[:31])...),
		"an empty public key": form(1, 0x81, 0), "the public key of version 1": form(0, withPublic(public)...), "version 3": form(2),
		"something inside": form(0, 5, 0),
	} {
		refused(t, keyring.ECCEdwards25519, name, der)
	}
}

// rsaKey is a PrivateKeyInfo with an RSAPrivateKey in it.
func rsaKey(t *testing.T, e int, d, p, q *big.Int) []byte {
	t.Helper()
	type rsaPrivateKey struct {
		Version               int
		N                     *big.Int
		E                     int
		D, P, Q, Dp, Dq, Qinv *big.Int
	}
	type algorithm struct {
		ID   asn1.ObjectIdentifier
		None asn1.RawValue
	}
	type info struct {
		Version   int
		Algorithm algorithm
		Key       []byte
	}
	one := big.NewInt(1)
	less := func(x *big.Int) *big.Int { return new(big.Int).Sub(x, one) }
	mod := func(x, m *big.Int) *big.Int { return new(big.Int).Mod(x, m) }
	key, err := asn1.Marshal(rsaPrivateKey{0, new(big.Int).Mul(p, q), e, d, p, q, mod(d, less(p)), mod(d, less(q)), new(big.Int).ModInverse(q, p)})
	if err != nil {
		t.Fatal(err)
	}
	der, err := asn1.Marshal(info{0, algorithm{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 1}, asn1.NullRawValue}, key})
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// testRSAForms imports a key in the forms that others give it, and what only
// looks like a key.
func testRSAForms(t *testing.T, k *rsa.PrivateKey, want []byte) {
	t.Helper()
	p, q := k.Primes[0], k.Primes[1]
	one := big.NewInt(1)
	phi := new(big.Int).Mul(new(big.Int).Sub(p, one), new(big.Int).Sub(q, one))
	d := new(big.Int).ModInverse(big.NewInt(int64(k.E)), phi)
	for name, der := range map[string][]byte{
		"modulo φ": rsaKey(t, k.E, d, p, q), "the other prime first": rsaKey(t, k.E, k.D, q, p), "both": rsaKey(t, k.E, d, q, p),
	} {
		if got, _, err := keyring.ImportedMaterial(keyring.RSA2048, der); err != nil || !bytes.Equal(got, want) {
			t.Errorf("RSA_2048: %s: another material, %v", name, err)
		}
	}
	// What has no primes passes for a key in the standard library.
	e, composite := big.NewInt(int64(k.E)), new(big.Int).Add(p, big.NewInt(2))
	for composite.ProbablyPrime(8) || new(big.Int).GCD(nil, nil, e, new(big.Int).Sub(composite, one)).Cmp(one) != 0 {
		composite.Add(composite, big.NewInt(2))
	}
	phi.Mul(new(big.Int).Sub(composite, one), new(big.Int).Sub(q, one))
	der := rsaKey(t, k.E, new(big.Int).ModInverse(e, phi), composite, q)
	if _, err := x509.ParsePKCS8PrivateKey(der); err != nil {
		t.Logf("the standard library: %v", err)
	}
	refused(t, keyring.RSA2048, "a composite for a prime", der)
	small := big.NewInt(65521)
	for {
		large, err := rand.Prime(rand.Reader, 2048-16)
		if err != nil {
			t.Fatal(err)
		}
		phi.Mul(new(big.Int).Sub(large, one), new(big.Int).Sub(small, one))
		if d := new(big.Int).ModInverse(e, phi); d != nil {
			refused(t, keyring.RSA2048, "a small prime", rsaKey(t, k.E, d, large, small))
			break
		}
	}
}

// "Requirements for imported key material" in the AWS KMS Developer Guide.
func TestImportedRawMaterial(t *testing.T) {
	for spec, lens := range map[keyring.Spec][2]int{
		keyring.SymmetricDefault: {32, 32},
		keyring.HMAC224:          {28, 128}, keyring.HMAC256: {32, 128}, keyring.HMAC384: {48, 128}, keyring.HMAC512: {64, 128},
	} {
		raw := make([]byte, 130)
		_, _ = rand.Read(raw)
		for n := range len(raw) {
			if n < lens[0] || n > lens[1] {
				refused(t, spec, "length", raw[:n])
				continue
			}
			got, public, err := keyring.ImportedMaterial(spec, raw[:n])
			if err != nil || public != nil {
				t.Errorf("%s: %d bytes: %v", spec, n, err)
			}
			if want := raw[:n]; (spec == keyring.HMAC384 || spec == keyring.HMAC512 || n <= 64) && !bytes.Equal(got, want) {
				t.Errorf("%s: %d bytes: %x, want %x", spec, n, got, want)
			}
		}
	}
	// RFC 2104: what is longer than a block of the hash is hashed.
	long := bytes.Repeat([]byte{7}, 65)
	got, _, err := keyring.ImportedMaterial(keyring.HMAC256, long)
	if want := sha256.Sum256(long); err != nil || !bytes.Equal(got, want[:]) {
		t.Errorf("HMAC_256: 65 bytes: %x, %v", got, err)
	}
}

func TestImportTokenCodec(t *testing.T) {
	at := time.Date(2026, 11, 22, 7, 0, 0, 5e6, time.UTC)
	b := keyring.EncodeImportToken(keyring.WrapRSAAESKWP256, keyring.RSA3072, at, []byte("key"))
	a, w, until, pkcs8, ok := keyring.DecodeImportToken(b)
	if !ok || a != keyring.WrapRSAAESKWP256 || w != keyring.RSA3072 || !until.Equal(at) || string(pkcs8) != "key" {
		t.Errorf("%s, %s, %s, %q, %t", a, w, until, pkcs8, ok)
	}
	for n := range b {
		if _, _, _, _, ok := keyring.DecodeImportToken(b[:n]); ok {
			t.Errorf("%d bytes of %d are a token", n, len(b))
		}
	}
	if _, _, _, _, ok := keyring.DecodeImportToken(append(b, 0)); ok {
		t.Error("a token with something after it is one")
	}
}

func FuzzImportedMaterial(f *testing.F) {
	specs := []keyring.Spec{keyring.SymmetricDefault, keyring.HMAC224, keyring.ECCNISTP256, keyring.ECCNISTP521, keyring.ECCSECGP256K1, keyring.ECCEdwards25519, keyring.SM2, keyring.RSA2048}
	for i, s := range specs {
		if raw, _, err := keyring.GenerateMaterial(s); err == nil {
			f.Add(byte(i), raw)
		}
	}
	f.Fuzz(func(t *testing.T, which byte, raw []byte) {
		s := specs[int(which)%len(specs)]
		material, public, err := keyring.ImportedMaterial(s, raw)
		if err != nil {
			if !errors.Is(err, keyring.ErrKeyMaterial) {
				t.Fatal(err)
			}
			return
		}
		// What is kept is the same key, and its only form.
		again, same, err := keyring.ImportedMaterial(s, material)
		if err != nil || !bytes.Equal(again, material) || !bytes.Equal(same, public) {
			t.Fatalf("%x was kept as %x, and that as %x: %v", raw, material, again, err)
		}
	})
}

func FuzzUnwrap(f *testing.F) {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		f.Fatal(err)
	}
	algorithms := []keyring.WrappingAlgorithm{keyring.WrapOAEPSHA256, keyring.WrapRSAAESKWPSHA1}
	for i, a := range algorithms {
		f.Add(byte(i), wrap(f, a, &k.PublicKey, make([]byte, 48)))
	}
	f.Fuzz(func(t *testing.T, which byte, wrapped []byte) {
		_, err := keyring.Unwrap(algorithms[int(which)%len(algorithms)], k, wrapped)
		if err != nil && !errors.Is(err, keyring.ErrInvalidCiphertext) {
			t.Fatal(err)
		}
	})
}

func FuzzImportToken(f *testing.F) {
	f.Add(keyring.EncodeImportToken(keyring.WrapOAEPSHA1, keyring.RSA2048, time.UnixMilli(1), []byte("key")))
	f.Fuzz(func(t *testing.T, b []byte) {
		a, w, until, pkcs8, ok := keyring.DecodeImportToken(b)
		if ok && !bytes.Equal(keyring.EncodeImportToken(a, w, until, pkcs8), b) {
			t.Fatalf("%x is not the only form of a token", b)
		}
	})
}
