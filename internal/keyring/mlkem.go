package keyring

import (
	"context"
	"crypto/mlkem"
	"crypto/rand"
	"encoding/asn1"
	"fmt"

	"github.com/cloudflare/circl/kem/mlkem/mlkem512"

	"github.com/keyreeve/keyreeve/internal/secret"
)

// mlkemSeedLen is the length of the seed (d ‖ z) of an ML-KEM key: FIPS 203, 7.1.
const mlkemSeedLen = 64

// mlkemOID returns the object identifier of an ML-KEM spec (RFC 9935, 3), nil
// for others.
func (s Spec) mlkemOID() asn1.ObjectIdentifier {
	switch s {
	case MLKEM512:
		return asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 4, 1}
	case MLKEM768:
		return asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 4, 2}
	case MLKEM1024:
		return asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 4, 3}
	}
	return nil
}

// decapsulationKey is an ML-KEM private key. The standard library has the two
// larger parameter sets.
type decapsulationKey struct {
	spec  Spec
	seed  []byte
	k512  *mlkem512.PrivateKey
	k768  *mlkem.DecapsulationKey768
	k1024 *mlkem.DecapsulationKey1024
}

// encapsulationKey is an ML-KEM public key.
type encapsulationKey struct {
	spec  Spec
	k512  *mlkem512.PublicKey
	k768  *mlkem.EncapsulationKey768
	k1024 *mlkem.EncapsulationKey1024
}

// generateMLKEM makes an ML-KEM key.
func generateMLKEM(s Spec) (*decapsulationKey, error) {
	seed := make([]byte, mlkemSeedLen)
	defer clear(seed)
	_, _ = rand.Read(seed) // it does not fail: it ends the program
	return newDecapsulationKey(s, seed)
}

// newDecapsulationKey makes an ML-KEM key of a seed of mlkemSeedLen bytes, which
// it copies.
func newDecapsulationKey(s Spec, seed []byte) (k *decapsulationKey, err error) {
	if len(seed) != mlkemSeedLen {
		return nil, errSeedKey
	}
	k = &decapsulationKey{spec: s, seed: append([]byte(nil), seed...)}
	switch s {
	case MLKEM512:
		_, k.k512 = mlkem512.NewKeyFromSeed(seed)
	case MLKEM768:
		k.k768, err = mlkem.NewDecapsulationKey768(seed)
	case MLKEM1024:
		k.k1024, err = mlkem.NewDecapsulationKey1024(seed)
	default:
		err = errSeedKey
	}
	return k, err
}

// parseMLKEMPrivate parses a PKCS#8 encoding with the seed alone.
func parseMLKEMPrivate(s Spec, pkcs8 []byte) (*decapsulationKey, error) {
	seed, err := parseSeed(s.mlkemOID(), pkcs8, mlkemSeedLen)
	if err != nil {
		return nil, err
	}
	return newDecapsulationKey(s, seed)
}

// marshal is the inverse of parseMLKEMPrivate.
func (k *decapsulationKey) marshal() ([]byte, error) { return marshalSeed(k.spec.mlkemOID(), k.seed) }

// wipe overwrites what can be reached of the key.
func (k *decapsulationKey) wipe() {
	clear(k.seed)
	if k.k512 != nil {
		*k.k512 = mlkem512.PrivateKey{}
	}
}

// public returns the public half.
func (k *decapsulationKey) public() *encapsulationKey {
	p := &encapsulationKey{spec: k.spec}
	switch {
	case k.k512 != nil:
		p.k512 = k.k512.Public().(*mlkem512.PublicKey)
	case k.k768 != nil:
		p.k768 = k.k768.EncapsulationKey()
	default:
		p.k1024 = k.k1024.EncapsulationKey()
	}
	return p
}

// decapsulate returns the shared secret in a ciphertext: 32 random-looking bytes
// if it is none of this key (FIPS 203's implicit rejection), and
// ErrInvalidCiphertext only for a wrong length.
func (k *decapsulationKey) decapsulate(ciphertext []byte) (shared []byte, err error) {
	switch {
	case k.k512 != nil:
		if len(ciphertext) != mlkem512.CiphertextSize {
			return nil, ErrInvalidCiphertext
		}
		shared = make([]byte, mlkem512.SharedKeySize)
		k.k512.DecapsulateTo(shared, ciphertext)
		return shared, nil
	case k.k768 != nil:
		shared, err = k.k768.Decapsulate(ciphertext)
	default:
		shared, err = k.k1024.Decapsulate(ciphertext)
	}
	if err != nil {
		return nil, ErrInvalidCiphertext
	}
	return shared, nil
}

// parseMLKEMPublic parses a SubjectPublicKeyInfo, and checks that all
// coefficients of the key are reduced (FIPS 203, 7.2).
func parseMLKEMPublic(s Spec, spki []byte) (*encapsulationKey, error) {
	raw, err := parseRawPublic(s.mlkemOID(), spki)
	if err != nil {
		return nil, err
	}
	p := &encapsulationKey{spec: s}
	switch s {
	case MLKEM512:
		p.k512 = new(mlkem512.PublicKey)
		err = p.k512.Unpack(raw)
	case MLKEM768:
		p.k768, err = mlkem.NewEncapsulationKey768(raw)
	default:
		p.k1024, err = mlkem.NewEncapsulationKey1024(raw)
	}
	return p, err
}

// marshal is the inverse of parseMLKEMPublic.
func (p *encapsulationKey) marshal() ([]byte, error) {
	var raw []byte
	switch {
	case p.k512 != nil:
		raw = make([]byte, mlkem512.PublicKeySize)
		p.k512.Pack(raw)
	case p.k768 != nil:
		raw = p.k768.Bytes()
	default:
		raw = p.k1024.Bytes()
	}
	return marshalRawPublic(p.spec.mlkemOID(), raw)
}

// encapsulate makes a shared secret and its ciphertext.
func (p *encapsulationKey) encapsulate() (shared, ciphertext []byte) {
	switch {
	case p.k512 != nil:
		shared, ciphertext = make([]byte, mlkem512.SharedKeySize), make([]byte, mlkem512.CiphertextSize)
		p.k512.EncapsulateTo(ciphertext, shared, nil)
		return shared, ciphertext
	case p.k768 != nil:
		return p.k768.Encapsulate()
	}
	return p.k1024.Encapsulate()
}

// Encapsulate makes a shared secret of 32 bytes, and the ciphertext that
// Decapsulate gets it back from: 768, 1088 or 1568 bytes. Action:
// kms:Encapsulate. Errors: as Check.
func (k Key) Encapsulate(ctx context.Context, a Algorithm) (shared secret.Bytes, ciphertext []byte, err error) {
	if err := k.check(mayEncapsulate, a); err != nil {
		return secret.Bytes{}, nil, err
	}
	p, err := k.publicKey(ctx)
	if err != nil {
		return secret.Bytes{}, nil, err
	}
	raw, ciphertext := p.kem.encapsulate()
	return secret.New(raw), ciphertext, nil
}

// Decapsulate returns the shared secret in a ciphertext. One that was made for
// another key, or was changed, gives 32 bytes that nobody else has. Action:
// kms:Decapsulate. Errors: as Check, ErrInvalidCiphertext for a ciphertext whose
// length is not that of the key's spec.
func (k Key) Decapsulate(ctx context.Context, a Algorithm, ciphertext []byte) (secret.Bytes, error) {
	if err := k.check(mayDecapsulate, a); err != nil {
		return secret.Bytes{}, err
	}
	l, err := k.r.lease(ctx, k.s)
	if err != nil {
		return secret.Bytes{}, err
	}
	defer l.end()
	raw, err := l.key().kem.decapsulate(ciphertext)
	if err != nil {
		return secret.Bytes{}, fmt.Errorf("decapsulating with %s: %w", k.s.m.ARN, err)
	}
	return secret.New(raw), nil
}
