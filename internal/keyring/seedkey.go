package keyring

import (
	"encoding/asn1"
	"errors"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// The private keys of the post-quantum algorithms are kept as the seeds that
// they are made of, and so are those of data key pairs: PKCS#8 with the seed
// alone, [0] IMPLICIT OCTET STRING (RFC 9881, 6, and RFC 9935, 6), and a
// SubjectPublicKeyInfo of the public key's bytes; the algorithm has no
// parameters.

var errSeedKey = errors.New("keyring: not a key of this algorithm")

// seedTag is the tag of a seed, of less than 128 bytes.
const seedTag = 0x80

// marshalSeed returns the PKCS#8 encoding of a seed.
func marshalSeed(oid asn1.ObjectIdentifier, seed []byte) ([]byte, error) {
	// The size is given so that the builder never grows and leaves copies.
	b := cryptobyte.NewBuilder(make([]byte, 0, 128))
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1Int64(0) // version
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) { b.AddASN1ObjectIdentifier(oid) })
		b.AddASN1(cbasn1.OCTET_STRING, func(b *cryptobyte.Builder) {
			b.AddUint8(seedTag)
			b.AddUint8(byte(len(seed)))
			b.AddBytes(seed)
		})
	})
	return b.Bytes()
}

// parseSeed is the inverse of marshalSeed, for a seed of size bytes, which it
// does not copy.
func parseSeed(oid asn1.ObjectIdentifier, der []byte, size int) ([]byte, error) {
	s := cryptobyte.String(der)
	var inner, private cryptobyte.String
	var version int
	if !s.ReadASN1(&inner, cbasn1.SEQUENCE) || !s.Empty() || !inner.ReadASN1Integer(&version) || version != 0 ||
		!readBareAlgorithm(&inner, oid) || !inner.ReadASN1(&private, cbasn1.OCTET_STRING) || !inner.Empty() ||
		len(private) != 2+size || private[0] != seedTag || int(private[1]) != size {
		return nil, errSeedKey
	}
	return private[2:], nil
}

// marshalRawPublic returns the SubjectPublicKeyInfo of a public key's bytes.
func marshalRawPublic(oid asn1.ObjectIdentifier, public []byte) ([]byte, error) {
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) { b.AddASN1ObjectIdentifier(oid) })
		b.AddASN1BitString(public)
	})
	return b.Bytes()
}

// parseRawPublic is the inverse of marshalRawPublic.
func parseRawPublic(oid asn1.ObjectIdentifier, der []byte) ([]byte, error) {
	s := cryptobyte.String(der)
	var inner cryptobyte.String
	var public []byte
	if !s.ReadASN1(&inner, cbasn1.SEQUENCE) || !s.Empty() || !readBareAlgorithm(&inner, oid) ||
		!inner.ReadASN1BitStringAsBytes(&public) || !inner.Empty() {
		return nil, errSeedKey
	}
	return public, nil
}

// readBareAlgorithm reads an AlgorithmIdentifier without parameters.
func readBareAlgorithm(s *cryptobyte.String, oid asn1.ObjectIdentifier) bool {
	var inner cryptobyte.String
	var have asn1.ObjectIdentifier
	return s.ReadASN1(&inner, cbasn1.SEQUENCE) && inner.ReadASN1ObjectIdentifier(&have) && have.Equal(oid) && inner.Empty()
}
