package keyring

import (
	"encoding/asn1"
	"errors"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// crypto/x509 knows the NIST curves alone, so keys on secp256k1 and SM2's curve
// are encoded here: PKCS#8 (RFC 5208, with the ECPrivateKey of RFC 5915) and
// SubjectPublicKeyInfo (RFC 5480), the curve by name, points uncompressed. Both
// curves are of 256 bits.

// oidECPublicKey says that a key is one on a curve, which its parameters name.
var oidECPublicKey = asn1.ObjectIdentifier{1, 2, 840, 10045, 2, 1}

var errCurveKey = errors.New("keyring: not a key on this curve")

const (
	scalarLen = 32
	pointLen  = 65 // 0x04 ‖ x ‖ y
)

// addAlgorithm adds the AlgorithmIdentifier of a key on a curve.
func addAlgorithm(b *cryptobyte.Builder, curve asn1.ObjectIdentifier) {
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(oidECPublicKey)
		b.AddASN1ObjectIdentifier(curve)
	})
}

// readAlgorithm reads the AlgorithmIdentifier of a key on a curve.
func readAlgorithm(s *cryptobyte.String, curve asn1.ObjectIdentifier) bool {
	var inner cryptobyte.String
	var algorithm, named asn1.ObjectIdentifier
	return s.ReadASN1(&inner, cbasn1.SEQUENCE) &&
		inner.ReadASN1ObjectIdentifier(&algorithm) && algorithm.Equal(oidECPublicKey) &&
		inner.ReadASN1ObjectIdentifier(&named) && named.Equal(curve) && inner.Empty()
}

// marshalCurvePublic returns the SubjectPublicKeyInfo of an uncompressed point.
func marshalCurvePublic(curve asn1.ObjectIdentifier, point []byte) ([]byte, error) {
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		addAlgorithm(b, curve)
		b.AddASN1BitString(point)
	})
	return b.Bytes()
}

// parseCurvePublic is the inverse of marshalCurvePublic. What it returns has the
// form of an uncompressed point; whether it is on the curve, the caller looks.
func parseCurvePublic(curve asn1.ObjectIdentifier, der []byte) (point []byte, err error) {
	s := cryptobyte.String(der)
	var inner cryptobyte.String
	if !s.ReadASN1(&inner, cbasn1.SEQUENCE) || !s.Empty() || !readAlgorithm(&inner, curve) ||
		!inner.ReadASN1BitStringAsBytes(&point) || !inner.Empty() || !isUncompressed(point) {
		return nil, errCurveKey
	}
	return point, nil
}

// isUncompressed reports whether a point is in the one form that is taken, and
// not compressed, hybrid or at infinity.
func isUncompressed(point []byte) bool { return len(point) == pointLen && point[0] == 0x04 }

// marshalCurvePrivate returns the PKCS#8 encoding of a scalar and its point.
func marshalCurvePrivate(curve asn1.ObjectIdentifier, scalar, point []byte) ([]byte, error) {
	// The size is given so that the builder never grows and leaves copies.
	b := cryptobyte.NewBuilder(make([]byte, 0, 256))
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1Int64(0) // version
		addAlgorithm(b, curve)
		b.AddASN1(cbasn1.OCTET_STRING, func(b *cryptobyte.Builder) {
			b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1Int64(1) // version of ECPrivateKey
				b.AddASN1OctetString(scalar)
				b.AddASN1(cbasn1.Tag(1).Constructed().ContextSpecific(), func(b *cryptobyte.Builder) {
					b.AddASN1BitString(point)
				})
			})
		})
	})
	return b.Bytes()
}

// parseCurvePrivate parses a PKCS#8 encoding into a scalar of 32 bytes, which it
// does not copy, and the point that is said to belong to it, nil if none is. The
// curve may be named a second time inside, but then it must be the same, and
// nothing may follow. The caller looks whether the scalar is in its range, and
// the point the right one.
func parseCurvePrivate(curve asn1.ObjectIdentifier, der []byte) (scalar, point []byte, err error) {
	s := cryptobyte.String(der)
	var outer, octets, inner cryptobyte.String
	var version int
	if !s.ReadASN1(&outer, cbasn1.SEQUENCE) || !s.Empty() ||
		!outer.ReadASN1Integer(&version) || version != 0 || !readAlgorithm(&outer, curve) ||
		!outer.ReadASN1(&octets, cbasn1.OCTET_STRING) || !outer.Empty() ||
		!octets.ReadASN1(&inner, cbasn1.SEQUENCE) || !octets.Empty() {
		return nil, nil, errCurveKey
	}
	var d, params, public cryptobyte.String
	if !inner.ReadASN1Integer(&version) || version != 1 ||
		!inner.ReadASN1(&d, cbasn1.OCTET_STRING) || len(d) != scalarLen {
		return nil, nil, errCurveKey
	}
	var hasParams, hasPublic bool
	if !inner.ReadOptionalASN1(&params, &hasParams, cbasn1.Tag(0).Constructed().ContextSpecific()) ||
		!inner.ReadOptionalASN1(&public, &hasPublic, cbasn1.Tag(1).Constructed().ContextSpecific()) || !inner.Empty() {
		return nil, nil, errCurveKey
	}
	var named asn1.ObjectIdentifier
	if hasParams && (!params.ReadASN1ObjectIdentifier(&named) || !named.Equal(curve) || !params.Empty()) {
		return nil, nil, errCurveKey
	}
	if hasPublic && (!public.ReadASN1BitStringAsBytes(&point) || !public.Empty() || !isUncompressed(point)) {
		return nil, nil, errCurveKey
	}
	return d, point, nil
}
