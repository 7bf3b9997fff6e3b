package keyring

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/subtle"
	"encoding/asn1"
	"errors"
	"math/big"

	"github.com/emmansun/gmsm/ecdh"
	"github.com/emmansun/gmsm/sm2"
	"github.com/emmansun/gmsm/sm3"
	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// SM2 is an elliptic curve of 256 bits (GB/T 32918.5) and three things to do
// with keys on it: sign (GB/T 32918.2), encrypt (GB/T 32918.4), and agree on a
// secret, which AWS KMS does by plain ECDH and not by SM2's own protocol. The
// forms of what is made are those of GM/T 0009.

// oidSM2 names the curve: GM/T 0006.
var oidSM2 = asn1.ObjectIdentifier{1, 2, 156, 10197, 1, 301}

var errSM2 = errors.New("keyring: not an SM2 key")

// sm2UserID is the distinguishing identifier that goes into the digest of a
// message: the default one of GM/T 0009. Whoever wants another calculates the
// digest himself. Source: "Offline verification with SM2 key pairs" in the AWS
// KMS Developer Guide.
const sm2UserID = "1234567812345678"

// sm2MaxPlaintext is how many bytes SM2PKE encrypts: the API reference of
// Encrypt.
const sm2MaxPlaintext = 1024

// sm2Key is an SM2 private key.
type sm2Key struct {
	scalar []byte // 32 bytes, 1 to n-2
	signer *sm2.PrivateKey
	agreer *ecdh.PrivateKey
	p      *sm2Public
}

// sm2Public is an SM2 public key.
type sm2Public struct {
	point    []byte // uncompressed
	verifier *ecdsa.PublicKey
	agreer   *ecdh.PublicKey
	za       []byte // SM3 of the user's id, the curve and the point
}

// generateSM2 makes an SM2 key.
func generateSM2() (*sm2Key, error) {
	k, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	scalar := k.Bytes()
	defer clear(scalar)
	return newSM2(scalar)
}

// newSM2 makes an SM2 key of its scalar, which it copies. One that is not from 1
// to n-2 is none: with n-1 there are no signatures.
func newSM2(scalar []byte) (*sm2Key, error) {
	signer, err := sm2.NewPrivateKey(scalar)
	if err != nil {
		return nil, errSM2
	}
	agreer, err := ecdh.P256().NewPrivateKey(scalar)
	if err != nil {
		return nil, errSM2
	}
	p, err := newSM2Public(agreer.PublicKey().Bytes())
	if err != nil {
		return nil, err
	}
	return &sm2Key{scalar: append([]byte(nil), scalar...), signer: signer, agreer: agreer, p: p}, nil
}

// parseSM2Private parses a PKCS#8 encoding. The public key may be missing, but
// one that is there must be right.
func parseSM2Private(pkcs8 []byte) (*sm2Key, error) {
	scalar, point, err := parseCurvePrivate(oidSM2, pkcs8)
	if err != nil {
		return nil, errSM2
	}
	k, err := newSM2(scalar)
	if err != nil {
		return nil, err
	}
	if point != nil && subtle.ConstantTimeCompare(point, k.p.point) != 1 {
		k.wipe()
		return nil, errSM2
	}
	return k, nil
}

// marshal is the inverse of parseSM2Private.
func (k *sm2Key) marshal() ([]byte, error) { return marshalCurvePrivate(oidSM2, k.scalar, k.p.point) }

// wipe overwrites what can be reached of the key: the library has another copy
// of its scalar to agree with, and a number that follows from it to sign with.
func (k *sm2Key) wipe() {
	clear(k.scalar)
	clear(k.signer.D.Bits())
}

// newSM2Public makes a public key of an uncompressed point.
func newSM2Public(point []byte) (*sm2Public, error) {
	verifier, err := sm2.NewPublicKey(point)
	if err != nil {
		return nil, errSM2
	}
	agreer, err := ecdh.P256().NewPublicKey(point)
	if err != nil {
		return nil, errSM2
	}
	za, err := sm2.CalculateZA(verifier, []byte(sm2UserID))
	if err != nil {
		return nil, err
	}
	return &sm2Public{point: append([]byte(nil), point...), verifier: verifier, agreer: agreer, za: za}, nil
}

// parseSM2Public parses a SubjectPublicKeyInfo.
func parseSM2Public(spki []byte) (*sm2Public, error) {
	point, err := parseCurvePublic(oidSM2, spki)
	if err != nil {
		return nil, errSM2
	}
	return newSM2Public(point)
}

// marshal is the inverse of parseSM2Public.
func (p *sm2Public) marshal() ([]byte, error) { return marshalCurvePublic(oidSM2, p.point) }

// digest returns what SM2DSA signs: the SM3 of za and a message, or that if it
// is given in place of a message.
func (p *sm2Public) digest(message []byte, given bool) []byte {
	if given {
		return message
	}
	h := sm3.New()
	h.Write(p.za)
	h.Write(message)
	return h.Sum(nil)
}

// sign signs a message or its digest: SM2DSA, in DER.
func (k *sm2Key) sign(message []byte, digest bool) ([]byte, error) {
	return sm2.SignASN1(rand.Reader, k.signer, k.p.digest(message, digest), nil)
}

// verify reports whether signature is one of a message or its digest.
func (p *sm2Public) verify(message []byte, digest bool, signature []byte) bool {
	return sm2.VerifyASN1(p.verifier, p.digest(message, digest), signature)
}

// agree returns the x-coordinate that the key and a peer have in common.
func (k *sm2Key) agree(peer *sm2Public) ([]byte, error) { return k.agreer.ECDH(peer.agreer) }

// multiplier is what encryption needs of the curve: both coordinates of a
// multiple of a point, which package ecdh does not give. The point must be on
// the curve.
type multiplier interface {
	ScalarMult(x, y *big.Int, scalar []byte) (*big.Int, *big.Int)
}

var sm2Curve multiplier = sm2.P256()

// The library's own encryption and decryption lose short plaintexts, of a single
// byte in one case of 128: when the key stream happens to be zero, the former
// tries again with a wrong public key, and the latter refuses what is encrypted
// into zero. So what follows is GB/T 32918.4 on the library's curve and SM3.

// sm2Pad is what encrypts a message: the point that both sides know, x ‖ y, and
// the key stream of it.
type sm2Pad struct {
	shared [2 * scalarLen]byte
	stream []byte
}

// newSM2Pad returns the pad of n bytes for a multiple of a point, which must be
// on the curve. It is not ok if the key stream is zero: the message would stand
// there as it is.
func newSM2Pad(point, scalar []byte, n int) (pad sm2Pad, ok bool) {
	x, y := new(big.Int).SetBytes(point[1:1+scalarLen]), new(big.Int).SetBytes(point[1+scalarLen:])
	x, y = sm2Curve.ScalarMult(x, y, scalar)
	defer clear(x.Bits())
	defer clear(y.Bits())
	x.FillBytes(pad.shared[:scalarLen])
	y.FillBytes(pad.shared[scalarLen:])
	pad.stream = sm3.Kdf(pad.shared[:], n)
	var bits byte
	for _, b := range pad.stream {
		bits |= b
	}
	return pad, bits != 0
}

// hash returns the hash of a plaintext that goes with its ciphertext.
func (pad *sm2Pad) hash(plaintext []byte) []byte {
	h := sm3.New()
	h.Write(pad.shared[:scalarLen])
	h.Write(plaintext)
	h.Write(pad.shared[scalarLen:])
	return h.Sum(nil)
}

func (pad *sm2Pad) wipe() {
	clear(pad.shared[:])
	clear(pad.stream)
}

// encrypt encrypts one byte at least: SM2PKE, in DER.
//
//	SEQUENCE { INTEGER x, INTEGER y, OCTET STRING hash (32 bytes), OCTET STRING ciphertext }
func (p *sm2Public) encrypt(plaintext []byte) ([]byte, error) {
	for {
		k, err := ecdh.P256().GenerateKey(rand.Reader)
		if err != nil {
			return nil, err
		}
		scalar := k.Bytes()
		pad, ok := newSM2Pad(p.point, scalar, len(plaintext))
		clear(scalar)
		if !ok {
			continue // in one of 256 cases with one byte, and as good as never with more
		}
		point := k.PublicKey().Bytes()
		hash := pad.hash(plaintext)
		encrypted := make([]byte, len(plaintext))
		subtle.XORBytes(encrypted, plaintext, pad.stream)
		pad.wipe()
		var b cryptobyte.Builder
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1BigInt(new(big.Int).SetBytes(point[1 : 1+scalarLen]))
			b.AddASN1BigInt(new(big.Int).SetBytes(point[1+scalarLen:]))
			b.AddASN1OctetString(hash)
			b.AddASN1OctetString(encrypted)
		})
		return b.Bytes()
	}
}

// decrypt is the inverse of encrypt, for plaintexts of up to most bytes. It
// returns ErrInvalidCiphertext for whatever is wrong, so that nobody learns what
// it was.
func (k *sm2Key) decrypt(ciphertext []byte, most int) ([]byte, error) {
	point, hash, encrypted := parseSM2Ciphertext(ciphertext)
	if point == nil || len(encrypted) > most {
		return nil, ErrInvalidCiphertext
	}
	if _, err := ecdh.P256().NewPublicKey(point); err != nil {
		return nil, ErrInvalidCiphertext // not on the curve
	}
	pad, ok := newSM2Pad(point, k.scalar, len(encrypted))
	defer pad.wipe()
	plaintext := make([]byte, len(encrypted))
	subtle.XORBytes(plaintext, encrypted, pad.stream)
	if subtle.ConstantTimeCompare(pad.hash(plaintext), hash) != 1 || !ok {
		clear(plaintext)
		return nil, ErrInvalidCiphertext
	}
	return plaintext, nil
}

// parseSM2Ciphertext takes a ciphertext of SM2PKE apart into an uncompressed
// point, which need not be on the curve, the hash and what is encrypted, of one
// byte at least. The point is nil if it is no ciphertext.
func parseSM2Ciphertext(der []byte) (point, hash, encrypted []byte) {
	s := cryptobyte.String(der)
	var inner, c3, c2 cryptobyte.String
	var x, y []byte
	if !s.ReadASN1(&inner, cbasn1.SEQUENCE) || !s.Empty() ||
		!inner.ReadASN1Integer(&x) || !inner.ReadASN1Integer(&y) ||
		!inner.ReadASN1(&c3, cbasn1.OCTET_STRING) || !inner.ReadASN1(&c2, cbasn1.OCTET_STRING) || !inner.Empty() ||
		len(x) > scalarLen || len(y) > scalarLen || len(c3) != sm3.Size || len(c2) == 0 {
		return nil, nil, nil
	}
	point = make([]byte, pointLen)
	point[0] = 0x04
	copy(point[1+scalarLen-len(x):], x)
	copy(point[pointLen-len(y):], y)
	return point, c3, c2
}
