package keyring

import (
	"crypto/rand"
	"encoding/asn1"
	"errors"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	k1ecdsa "github.com/decred/dcrd/dcrec/secp256k1/v4/ecdsa"
)

// oidSECP256K1 names the curve: SEC 2, A.2.1.
var oidSECP256K1 = asn1.ObjectIdentifier{1, 3, 132, 0, 10}

var errSECP256K1 = errors.New("keyring: not a secp256k1 key")

// marshalSECP256K1Public returns the SubjectPublicKeyInfo of p.
func marshalSECP256K1Public(p *secp256k1.PublicKey) ([]byte, error) {
	return marshalCurvePublic(oidSECP256K1, p.SerializeUncompressed())
}

// parseSECP256K1Public is the inverse of marshalSECP256K1Public.
func parseSECP256K1Public(der []byte) (*secp256k1.PublicKey, error) {
	point, err := parseCurvePublic(oidSECP256K1, der)
	if err != nil {
		return nil, errSECP256K1
	}
	return parsePoint(point)
}

// parsePoint parses an uncompressed point and checks that it is on the curve.
func parsePoint(b []byte) (*secp256k1.PublicKey, error) {
	p, err := secp256k1.ParsePubKey(b)
	if err != nil {
		return nil, errSECP256K1
	}
	return p, nil
}

// marshalSECP256K1Private returns the PKCS#8 encoding of k.
func marshalSECP256K1Private(k *secp256k1.PrivateKey) ([]byte, error) {
	scalar := k.Key.Bytes()
	defer clear(scalar[:])
	return marshalCurvePrivate(oidSECP256K1, scalar[:], publicSECP256K1(k).SerializeUncompressed())
}

// parseSECP256K1Private is the inverse of marshalSECP256K1Private. The public key
// may be missing, but one that is there must be right.
func parseSECP256K1Private(der []byte) (*secp256k1.PrivateKey, error) {
	scalar, point, err := parseCurvePrivate(oidSECP256K1, der)
	if err != nil {
		return nil, errSECP256K1
	}
	var k secp256k1.PrivateKey
	if overflow := k.Key.SetByteSlice(scalar); overflow || k.Key.IsZero() {
		return nil, errSECP256K1
	}
	if point != nil {
		p, err := parsePoint(point)
		if err != nil || !p.IsEqual(publicSECP256K1(&k)) {
			return nil, errSECP256K1
		}
	}
	return &k, nil
}

// The library's arithmetic on points, and its inverse of a scalar, take a time
// that depends on the scalar; its other arithmetic on scalars does not. So what
// is secret never goes into the former as it is, but split or multiplied by a
// random number that is made for this one use: whoever measures the same
// signature, or the loading of the same key, again and again averages over
// different numbers each time.

// signSECP256K1 signs a digest of 32 bytes: ECDSA (SEC 1, 4.1.3), in DER, with
// the lower of the two values of s that are right. The nonce is that of RFC
// 6979 with 32 random bytes as additional data (3.6 there), so that it is a
// different one each time, and still none to be guessed should the random bytes
// be bad.
func signSECP256K1(k *secp256k1.PrivateKey, digest []byte) []byte {
	d := k.Key.Bytes()
	defer clear(d[:])
	var e secp256k1.ModNScalar
	e.SetByteSlice(digest)
	for {
		var extra [scalarLen]byte
		_, _ = rand.Read(extra[:]) // it does not fail: it ends the program
		nonce := secp256k1.NonceRFC6979(d[:], digest, extra[:], nil, 0)
		var point secp256k1.JacobianPoint
		multiplyBase(nonce, &point)
		point.ToAffine()
		var r secp256k1.ModNScalar
		r.SetBytes(point.X.Bytes())

		// s = (b·nonce)⁻¹ · (b·e + r·(b·d)), with b random.
		b := randomScalar()
		var inverse, masked, s secp256k1.ModNScalar
		inverse.InverseValNonConst(nonce.Mul(&b))
		masked.Mul2(&b, &k.Key).Mul(&r)
		s.Mul2(&b, &e).Add(&masked).Mul(&inverse)
		for _, x := range []*secp256k1.ModNScalar{nonce, &b, &inverse, &masked} {
			x.Zero()
		}
		if r.IsZero() || s.IsZero() {
			continue // as good as never
		}
		if s.IsOverHalfOrder() {
			s.Negate()
		}
		return k1ecdsa.NewSignature(&r, &s).Serialize()
	}
}

// publicSECP256K1 returns the public half of k.
func publicSECP256K1(k *secp256k1.PrivateKey) *secp256k1.PublicKey {
	var point secp256k1.JacobianPoint
	multiplyBase(&k.Key, &point)
	point.ToAffine()
	return secp256k1.NewPublicKey(&point.X, &point.Y)
}

// multiplyBase multiplies the base point by a scalar, in two parts that are
// random each by itself.
func multiplyBase(scalar *secp256k1.ModNScalar, result *secp256k1.JacobianPoint) {
	a := randomScalar()
	var b secp256k1.ModNScalar
	b.NegateVal(&a).Add(scalar)
	var p, q secp256k1.JacobianPoint
	secp256k1.ScalarBaseMultNonConst(&a, &p)
	secp256k1.ScalarBaseMultNonConst(&b, &q)
	secp256k1.AddNonConst(&p, &q, result)
	a.Zero()
	b.Zero()
}

// randomScalar returns a random scalar that is not zero.
func randomScalar() (s secp256k1.ModNScalar) {
	var b [scalarLen]byte
	defer clear(b[:])
	for {
		_, _ = rand.Read(b[:]) // it does not fail: it ends the program
		if overflow := s.SetBytes(&b); overflow == 0 && !s.IsZero() {
			return s
		}
	}
}
