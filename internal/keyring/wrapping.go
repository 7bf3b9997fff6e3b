package keyring

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/asn1"
	"encoding/binary"
	"fmt"
	"math/big"
	"time"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	"github.com/tink-crypto/tink-go/v2/kwp/subtle"
	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/keyreeve/keyreeve/internal/arn"
)

// Material that is imported comes wrapped: encrypted to the public half of a
// wrapping key pair, which is made for one key and one day. The private half is
// kept nowhere. It is in the import token, sealed, that the caller is handed and
// brings back; so any node can open it, and nothing is left of one that is never
// used.

// WrappingAlgorithm is how material is encrypted for its import, spelled as the
// API's AlgorithmSpec.
type WrappingAlgorithm string

// The wrapping algorithms. The two of AES key wrap are RSAES-OAEP of an AES-256
// key, followed by the material under that key in AES-KWP (RFC 5649).
const (
	WrapOAEPSHA1      WrappingAlgorithm = "RSAES_OAEP_SHA_1"
	WrapOAEPSHA256    WrappingAlgorithm = "RSAES_OAEP_SHA_256"
	WrapRSAAESKWPSHA1 WrappingAlgorithm = "RSA_AES_KEY_WRAP_SHA_1"
	WrapRSAAESKWP256  WrappingAlgorithm = "RSA_AES_KEY_WRAP_SHA_256"
	WrapSM2PKE        WrappingAlgorithm = "SM2PKE"
)

// WrappingError says that there is no wrapping of a key's material by an
// algorithm and a wrapping key.
type WrappingError struct {
	Algorithm WrappingAlgorithm
	Wrapping  Spec // of the wrapping key
	Spec      Spec // of the key whose material it would be
}

func (e *WrappingError) Error() string {
	return fmt.Sprintf("keyring: %s with a wrapping key of %s does not wrap material of %s", e.Algorithm, e.Wrapping, e.Spec)
}

// hybrid reports whether the algorithm wraps an AES key, and the material by that.
func (a WrappingAlgorithm) hybrid() bool { return a == WrapRSAAESKWPSHA1 || a == WrapRSAAESKWP256 }

// oaep returns the hash of an algorithm's RSAES-OAEP, 0 if it is none with RSA.
func (a WrappingAlgorithm) oaep() crypto.Hash {
	switch a {
	case WrapOAEPSHA1, WrapRSAAESKWPSHA1:
		return crypto.SHA1
	case WrapOAEPSHA256, WrapRSAAESKWP256:
		return crypto.SHA256
	}
	return 0
}

// Importable reports whether material of the spec can be imported: all but the
// post-quantum ones'.
func (s Spec) Importable() bool { return s.Known() && !s.lattice() }

// checkWrapping returns nil or a *WrappingError: not everything that fits is
// there. Symmetric keys and HMAC keys are wrapped by RSAES-OAEP alone, and RSA
// keys, for which that has no room, by the hybrid algorithms alone; those are
// not there in AWS's China Regions, which have SM2PKE for all private keys.
// Source: "Select a wrapping algorithm" in the AWS KMS Developer Guide.
func checkWrapping(region string, s Spec, a WrappingAlgorithm, w Spec) error {
	china := arn.Partition(region) == "aws-cn"
	ok := s.Importable() && w.rsaBits() > 0 && a.oaep() != 0
	switch {
	case a == WrapSM2PKE:
		ok = china && s.Importable() && s.asymmetric() && w == SM2
	case a.hybrid():
		ok = ok && s.asymmetric() && s != SM2 && !china
	case s.rsaBits() > 0:
		ok = false
	case s == ECCNISTP521, s == ECCEdwards25519: // the one has no room, the other AWS refuses
		ok = ok && w != RSA2048
	}
	if !ok {
		return &WrappingError{Algorithm: a, Wrapping: w, Spec: s}
	}
	return nil
}

// wrappedKeyLen is the length of the AES key of the hybrid algorithms.
const wrappedKeyLen = 32

// maxWrapped is how long wrapped material can be: the API reference of
// ImportKeyMaterial.
const maxWrapped = 6144

// unwrap returns what was wrapped to a wrapping key, which is the caller's to
// wipe, or ErrInvalidCiphertext.
func (k *privateKey) unwrap(a WrappingAlgorithm, wrapped []byte) ([]byte, error) {
	switch {
	case a == WrapSM2PKE && k.sm2 != nil:
		return k.sm2.decrypt(wrapped, maxWrapped)
	case a != WrapSM2PKE && k.rsa != nil:
		return unwrap(a, k.rsa, wrapped)
	}
	return nil, ErrInvalidCiphertext
}

// unwrap is privateKey.unwrap for the algorithms of RSA.
func unwrap(a WrappingAlgorithm, k *rsa.PrivateKey, wrapped []byte) ([]byte, error) {
	h := a.oaep()
	size := k.Size()
	if h == 0 || len(wrapped) < size || !a.hybrid() && len(wrapped) != size {
		return nil, ErrInvalidCiphertext
	}
	opened, err := rsa.DecryptOAEP(h.New(), nil, k, wrapped[:size], nil)
	if err != nil {
		return nil, ErrInvalidCiphertext
	}
	if !a.hybrid() {
		return opened, nil
	}
	defer clear(opened)
	return unwrapKWP(opened, wrapped[size:])
}

// unwrapKWP is the inverse of AES-KWP (RFC 5649, NIST SP 800-38F) with a key of
// 256 bits, for what is 16 to 8192 bytes long, or returns ErrInvalidCiphertext.
func unwrapKWP(key, wrapped []byte) ([]byte, error) {
	if len(key) != wrappedKeyLen {
		return nil, ErrInvalidCiphertext
	}
	kwp, err := subtle.NewKWP(key)
	if err != nil {
		return nil, ErrInvalidCiphertext
	}
	material, err := kwp.Unwrap(wrapped)
	if err != nil {
		return nil, ErrInvalidCiphertext
	}
	return material, nil
}

// maxMAC is the length of the longest key of an HMAC that can be imported.
const maxMAC = 128

// validRaw reports whether material of a symmetric or HMAC key can be n bytes
// long. What is made here has the length of the hash; what is imported may be
// longer, up to a block of the hash.
func (s Spec) validRaw(n int) bool {
	if s == SymmetricDefault {
		return n == s.rawLen()
	}
	return s.rawLen() > 0 && n >= s.rawLen() && n <= macBlock(s.mac())
}

// mac returns the algorithm of an HMAC spec.
func (s Spec) mac() Algorithm {
	if a := Algorithms(s, GenerateVerifyMAC); len(a) > 0 {
		return a[0]
	}
	return ""
}

// importedMaterial returns the material and public key (nil unless asymmetric)
// that were imported for a key of spec s: the material in the one form that it
// is kept in, so that a key has one material id in whatever encoding it comes.
// ErrKeyMaterial if it is none of the spec's. The material is the caller's to
// wipe, and raw stays so.
//
// The key of an HMAC may be as long as AWS lets it be, 1024 bits; if it is
// longer than a block of the hash, then its hash is the key (RFC 2104, 2).
func importedMaterial(s Spec, raw []byte) (material, public []byte, err error) {
	switch {
	case s == SymmetricDefault:
		if len(raw) != s.rawLen() {
			return nil, nil, fmt.Errorf("%w: not %d bytes", ErrKeyMaterial, s.rawLen())
		}
		return bytes.Clone(raw), nil, nil
	case s.rawLen() > 0:
		if len(raw) < s.rawLen() || len(raw) > maxMAC {
			return nil, nil, fmt.Errorf("%w: not %d to %d bytes", ErrKeyMaterial, s.rawLen(), maxMAC)
		}
		if len(raw) > macBlock(s.mac()) {
			var sum [sha512.Size]byte
			defer clear(sum[:])
			return bytes.Clone(macSum(s.mac(), raw, &sum)), nil, nil
		}
		return bytes.Clone(raw), nil, nil
	}
	k, err := parseImported(s, raw)
	if err != nil {
		// Its text could hold a piece of the key.
		return nil, nil, fmt.Errorf("%w: no PKCS#8 private key of %s in DER", ErrKeyMaterial, s)
	}
	defer k.wipe()
	if k.rsa != nil {
		same, err := canonicalRSA(k.rsa)
		if err != nil {
			return nil, nil, fmt.Errorf("%w: no key pair of %s", ErrKeyMaterial, s)
		}
		k = &privateKey{rsa: same}
		defer k.wipe()
	}
	p := k.public()
	if public, err = p.marshal(); err != nil {
		return nil, nil, fmt.Errorf("encoding a public key of %s: %w", s, err)
	}
	if material, err = k.marshal(); err != nil {
		return nil, nil, fmt.Errorf("encoding a private key of %s: %w", s, err)
	}
	return material, public, nil
}

// canonicalRSA returns the key with the greater prime first and the least private
// exponent (RFC 8017, 3.2: modulo λ, where other encoders have φ), or an error for
// numbers that are no key: a pair whose halves do not agree, since what are said to
// be its primes are none (NIST SP 800-56B, 6.4.1.1: pairwise consistency).
//
// The primes must be of one size (FIPS 186-5, A.1.1): whoever makes a modulus with a
// small one has no secret, and no tool does.
func canonicalRSA(k *rsa.PrivateKey) (*rsa.PrivateKey, error) {
	p, q := k.Primes[0], k.Primes[1]
	if half := k.N.BitLen() / 2; p.BitLen() != half || q.BitLen() != half {
		return nil, ErrKeyMaterial
	}
	switch p.Cmp(q) {
	case 0:
		return nil, ErrKeyMaterial
	case -1:
		p, q = q, p
	}
	one := big.NewInt(1)
	p1, q1 := new(big.Int).Sub(p, one), new(big.Int).Sub(q, one)
	lambda := new(big.Int).Mul(p1, q1)
	lambda.Div(lambda, new(big.Int).GCD(nil, nil, p1, q1))
	d := new(big.Int).ModInverse(big.NewInt(int64(k.E)), lambda)
	for _, x := range []*big.Int{p1, q1, lambda} {
		clear(x.Bits())
	}
	if d == nil {
		return nil, ErrKeyMaterial
	}
	same := &rsa.PrivateKey{PublicKey: k.PublicKey, D: d, Primes: []*big.Int{p, q}}
	same.Precompute()
	if !consistent(same) {
		clear(d.Bits())
		return nil, ErrKeyMaterial
	}
	return same, nil
}

// consistent reports whether the halves of a key pair agree: in their numbers, and
// in what they do.
func consistent(k *rsa.PrivateKey) bool {
	if k.Validate() != nil {
		return false
	}
	digest := sha256.Sum256([]byte("keyreeve imports a key pair"))
	signature, err := rsa.SignPKCS1v15(nil, k, crypto.SHA256, digest[:])
	return err == nil && rsa.VerifyPKCS1v15(&k.PublicKey, crypto.SHA256, digest[:], signature) == nil
}

// parseImported parses the PKCS#8 encoding of a private key of spec s as others
// make it: in contrast to parsePrivate, nothing may follow it, and what an
// elliptic curve's key says of its public half must be right.
func parseImported(s Spec, der []byte) (*privateKey, error) {
	whole := cryptobyte.String(der)
	var inner cryptobyte.String
	if !s.Importable() || !whole.ReadASN1(&inner, cbasn1.SEQUENCE) || !whole.Empty() {
		return nil, ErrKeyMaterial
	}
	curve, named := importCurves[s]
	switch {
	case s == ECCEdwards25519:
		return parseEdwards(inner)
	case !named:
		return parsePrivate(s, der)
	}
	scalar, point, ok := readECPrivate(inner, curve)
	if !ok {
		return nil, ErrKeyMaterial
	}
	defer clear(scalar)
	var k privateKey
	var public []byte
	switch s {
	case ECCSECGP256K1:
		k.k1 = new(secp256k1.PrivateKey)
		if overflow := k.k1.Key.SetByteSlice(scalar); overflow || k.k1.Key.IsZero() {
			return nil, ErrKeyMaterial
		}
		public = publicSECP256K1(k.k1).SerializeUncompressed()
	case SM2:
		var err error
		if k.sm2, err = newSM2(scalar); err != nil {
			return nil, ErrKeyMaterial
		}
		public = k.sm2.p.point
	default:
		var err error
		if k.ec, err = ecdsa.ParseRawPrivateKey(s.curve(), scalar); err != nil {
			return nil, ErrKeyMaterial
		}
		if public, err = k.ec.PublicKey.Bytes(); err != nil {
			return nil, ErrKeyMaterial
		}
	}
	if point != nil && !samePoint(point, public) {
		k.wipe()
		return nil, ErrKeyMaterial
	}
	return &k, nil
}

// parseEdwards reads a OneAsymmetricKey (RFC 5958) of Ed25519 (RFC 8410): unlike
// the standard library it looks at the public key, which encoders add to the
// seed, and takes nothing else.
func parseEdwards(s cryptobyte.String) (*privateKey, error) {
	var algorithm, octets, seed, public cryptobyte.String
	var id asn1.ObjectIdentifier
	var version int
	var has bool
	if !s.ReadASN1Integer(&version) || version != 0 && version != 1 ||
		!s.ReadASN1(&algorithm, cbasn1.SEQUENCE) ||
		!algorithm.ReadASN1ObjectIdentifier(&id) || !id.Equal(oidEd25519) || !algorithm.Empty() ||
		!s.ReadASN1(&octets, cbasn1.OCTET_STRING) ||
		!octets.ReadASN1(&seed, cbasn1.OCTET_STRING) || !octets.Empty() || len(seed) != ed25519.SeedSize ||
		!s.SkipOptionalASN1(cbasn1.Tag(0).Constructed().ContextSpecific()) || // attributes
		!s.ReadOptionalASN1(&public, &has, cbasn1.Tag(1).ContextSpecific()) || !s.Empty() || has && version != 1 {
		return nil, ErrKeyMaterial
	}
	k := &privateKey{ed: ed25519.NewKeyFromSeed(seed)}
	// A BIT STRING, of which the first byte says how many bits are not used.
	if has && (len(public) == 0 || public[0] != 0 || !bytes.Equal(public[1:], k.ed[ed25519.SeedSize:])) {
		k.wipe()
		return nil, ErrKeyMaterial
	}
	return k, nil
}

// oidEd25519 is of RFC 8410.
var oidEd25519 = asn1.ObjectIdentifier{1, 3, 101, 112}

// importCurve is how a curve is named in PKCS#8, and how long its scalars are.
type importCurve struct {
	oid asn1.ObjectIdentifier
	len int // bytes
}

var importCurves = map[Spec]importCurve{
	ECCNISTP256:   {asn1.ObjectIdentifier{1, 2, 840, 10045, 3, 1, 7}, 32},
	ECCNISTP384:   {asn1.ObjectIdentifier{1, 3, 132, 0, 34}, 48},
	ECCNISTP521:   {asn1.ObjectIdentifier{1, 3, 132, 0, 35}, 66},
	ECCSECGP256K1: {oidSECP256K1, 32},
	SM2:           {oidSM2, 32},
}

// readECPrivate reads a PrivateKeyInfo (RFC 5208) whose content is an
// ECPrivateKey (RFC 5915) on a curve given by its name: the scalar, as long as
// the curve's are, which is the caller's to wipe, and the public point, nil if
// it is not there. Encoders who leave zeros out of the scalar, or put one before
// it, are many.
func readECPrivate(s cryptobyte.String, curve importCurve) (scalar, point []byte, ok bool) {
	var algorithm, octets, key, digits cryptobyte.String
	var id, name asn1.ObjectIdentifier
	var version int
	if !s.ReadASN1Integer(&version) || version != 0 ||
		!s.ReadASN1(&algorithm, cbasn1.SEQUENCE) ||
		!algorithm.ReadASN1ObjectIdentifier(&id) || !id.Equal(oidECPublicKey) ||
		!algorithm.ReadASN1ObjectIdentifier(&name) || !name.Equal(curve.oid) || !algorithm.Empty() ||
		!s.ReadASN1(&octets, cbasn1.OCTET_STRING) ||
		!s.SkipOptionalASN1(cbasn1.Tag(0).Constructed().ContextSpecific()) || !s.Empty() || // attributes
		!octets.ReadASN1(&key, cbasn1.SEQUENCE) || !octets.Empty() ||
		!key.ReadASN1Integer(&version) || version != 1 ||
		!key.ReadASN1(&digits, cbasn1.OCTET_STRING) {
		return nil, nil, false
	}
	var parameters, public cryptobyte.String
	var hasParameters, hasPublic bool
	if !key.ReadOptionalASN1(&parameters, &hasParameters, cbasn1.Tag(0).Constructed().ContextSpecific()) ||
		!key.ReadOptionalASN1(&public, &hasPublic, cbasn1.Tag(1).Constructed().ContextSpecific()) || !key.Empty() {
		return nil, nil, false
	}
	if hasParameters && (!parameters.ReadASN1ObjectIdentifier(&name) || !name.Equal(curve.oid) || !parameters.Empty()) {
		return nil, nil, false
	}
	if hasPublic && (!public.ReadASN1BitStringAsBytes(&point) || !public.Empty() || len(point) == 0) {
		return nil, nil, false
	}
	value := bytes.TrimLeft(digits, "\x00")
	if len(value) > curve.len {
		return nil, nil, false
	}
	scalar = make([]byte, curve.len)
	copy(scalar[curve.len-len(value):], value)
	return scalar, point, true
}

// samePoint reports whether point is an encoding (SEC 1, 2.3.3) of the point
// that is given uncompressed: compressed, uncompressed or hybrid.
func samePoint(point, uncompressed []byte) bool {
	n := (len(uncompressed) - 1) / 2
	odd := uncompressed[len(uncompressed)-1] & 1
	switch point[0] {
	case 4:
		return bytes.Equal(point, uncompressed)
	case 2 | odd:
		return bytes.Equal(point[1:], uncompressed[1:1+n])
	case 6 | odd:
		return bytes.Equal(point[1:], uncompressed[1:])
	}
	return false
}

// importTokenLabel begins the associated data of import tokens.
const importTokenLabel = "keyreeve import token v1"

// ImportTokenLife is how long a wrapping key and its import token can be used.
const ImportTokenLife = 24 * time.Hour

// wrappingNumbers are the wrapping algorithms in import tokens.
var wrappingNumbers = []WrappingAlgorithm{1: WrapOAEPSHA1, 2: WrapOAEPSHA256, 3: WrapRSAAESKWPSHA1, 4: WrapRSAAESKWP256, 5: WrapSM2PKE}

// importToken is what an import token says. Sealed, with the ARN of the key that
// it is for in the associated data:
//
//	1      version: 0x01
//	1      wrapping algorithm } numbers, never renumbered
//	1      wrapping key spec  }
//	time   until when it is good
//	bytes  PKCS#8 of the private wrapping key
type importToken struct {
	algorithm WrappingAlgorithm
	wrapping  Spec
	until     time.Time
	pkcs8     []byte // a piece of what was decoded
}

func (t *importToken) append(b []byte) []byte {
	b = append(b, recordVersion, number(wrappingNumbers, t.algorithm), number(specNumbers, t.wrapping))
	b = appendTime(b, t.until)
	return append(binary.AppendUvarint(b, uint64(len(t.pkcs8))), t.pkcs8...)
}

// decodeImportToken decodes a token that was sealed here.
func decodeImportToken(b []byte) (t importToken, ok bool) {
	r := recordReader{b: b}
	if r.byte() != recordVersion {
		r.bad = true
	}
	t.algorithm = entry(&r, wrappingNumbers)
	t.wrapping = entry(&r, specNumbers)
	t.until = r.time()
	t.pkcs8 = r.take(r.count(len(r.b)))
	return t, !r.bad && len(r.b) == 0 && !t.until.IsZero()
}

func appendImportAAD(b []byte, keyARN string) []byte {
	return append(append(append(b, importTokenLabel...), 0), keyARN...)
}
