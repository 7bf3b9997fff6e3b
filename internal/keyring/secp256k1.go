package keyring

import (
	"crypto/rand"
	"encoding/asn1"
	"errors"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	k1ecdsa "github.com/decred/dcrd/dcrec/secp256k1/v4/ecdsa"
	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// crypto/x509 does not know the curve secp256k1, so its keys are encoded here:
// PKCS#8 (RFC 5208, with the ECPrivateKey of RFC 5915) and SubjectPublicKeyInfo
// (RFC 5480), the curve by name (SEC 2: 1.3.132.0.10), points uncompressed.

var (
	oidECPublicKey = asn1.ObjectIdentifier{1, 2, 840, 10045, 2, 1}
	oidSECP256K1   = asn1.ObjectIdentifier{1, 3, 132, 0, 10}
)

var errSECP256K1 = errors.New("keyring: not a secp256k1 key")

const (
	scalarLen = 32
	pointLen  = 65 // 0x04 ‖ x ‖ y
)

// addAlgorithm adds the AlgorithmIdentifier of a secp256k1 key.
func addAlgorithm(b *cryptobyte.Builder) {
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(oidECPublicKey)
		b.AddASN1ObjectIdentifier(oidSECP256K1)
	})
}

// readAlgorithm reads the AlgorithmIdentifier of a secp256k1 key.
func readAlgorithm(s *cryptobyte.String) bool {
	var inner cryptobyte.String
	var algorithm, curve asn1.ObjectIdentifier
	return s.ReadASN1(&inner, cbasn1.SEQUENCE) &&
		inner.ReadASN1ObjectIdentifier(&algorithm) && algorithm.Equal(oidECPublicKey) &&
		inner.ReadASN1ObjectIdentifier(&curve) && curve.Equal(oidSECP256K1) && inner.Empty()
}

// marshalSECP256K1Public returns the SubjectPublicKeyInfo of p.
func marshalSECP256K1Public(p *secp256k1.PublicKey) ([]byte, error) {
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		addAlgorithm(b)
		b.AddASN1BitString(p.SerializeUncompressed())
	})
	return b.Bytes()
}

// parseSECP256K1Public is the inverse of marshalSECP256K1Public.
func parseSECP256K1Public(der []byte) (*secp256k1.PublicKey, error) {
	s := cryptobyte.String(der)
	var inner cryptobyte.String
	var point []byte
	if !s.ReadASN1(&inner, cbasn1.SEQUENCE) || !s.Empty() || !readAlgorithm(&inner) ||
		!inner.ReadASN1BitStringAsBytes(&point) || !inner.Empty() {
		return nil, errSECP256K1
	}
	return parsePoint(point)
}

// parsePoint parses an uncompressed point and checks that it is on the curve.
func parsePoint(b []byte) (*secp256k1.PublicKey, error) {
	// ParsePubKey also takes compressed and hybrid points.
	if len(b) != pointLen || b[0] != 0x04 {
		return nil, errSECP256K1
	}
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
	// The size is given so that the builder never grows and leaves copies.
	b := cryptobyte.NewBuilder(make([]byte, 0, 256))
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1Int64(0) // version
		addAlgorithm(b)
		b.AddASN1(cbasn1.OCTET_STRING, func(b *cryptobyte.Builder) {
			b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1Int64(1) // version of ECPrivateKey
				b.AddASN1OctetString(scalar[:])
				b.AddASN1(cbasn1.Tag(1).Constructed().ContextSpecific(), func(b *cryptobyte.Builder) {
					b.AddASN1BitString(publicSECP256K1(k).SerializeUncompressed())
				})
			})
		})
	})
	return b.Bytes()
}

// parseSECP256K1Private parses a PKCS#8 encoding. The curve may be named a
// second time inside and the public key may be missing, but what is there must
// be right, and nothing may follow.
func parseSECP256K1Private(der []byte) (*secp256k1.PrivateKey, error) {
	s := cryptobyte.String(der)
	var outer, octets, inner cryptobyte.String
	var version int
	if !s.ReadASN1(&outer, cbasn1.SEQUENCE) || !s.Empty() ||
		!outer.ReadASN1Integer(&version) || version != 0 || !readAlgorithm(&outer) ||
		!outer.ReadASN1(&octets, cbasn1.OCTET_STRING) || !outer.Empty() ||
		!octets.ReadASN1(&inner, cbasn1.SEQUENCE) || !octets.Empty() {
		return nil, errSECP256K1
	}
	var scalar cryptobyte.String
	if !inner.ReadASN1Integer(&version) || version != 1 ||
		!inner.ReadASN1(&scalar, cbasn1.OCTET_STRING) || len(scalar) != scalarLen {
		return nil, errSECP256K1
	}
	var params, public cryptobyte.String
	var hasParams, hasPublic bool
	if !inner.ReadOptionalASN1(&params, &hasParams, cbasn1.Tag(0).Constructed().ContextSpecific()) ||
		!inner.ReadOptionalASN1(&public, &hasPublic, cbasn1.Tag(1).Constructed().ContextSpecific()) || !inner.Empty() {
		return nil, errSECP256K1
	}
	var curve asn1.ObjectIdentifier
	if hasParams && (!params.ReadASN1ObjectIdentifier(&curve) || !curve.Equal(oidSECP256K1) || !params.Empty()) {
		return nil, errSECP256K1
	}
	var k secp256k1.PrivateKey
	if overflow := k.Key.SetByteSlice(scalar); overflow || k.Key.IsZero() {
		return nil, errSECP256K1
	}
	if hasPublic {
		var point []byte
		if !public.ReadASN1BitStringAsBytes(&point) || !public.Empty() {
			return nil, errSECP256K1
		}
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
