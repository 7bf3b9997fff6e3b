package keyring

import (
	"crypto/rand"
	"encoding/asn1"

	"filippo.io/mldsa"
	"filippo.io/mldsa/mldsacrypto"
)

// mldsaMuLen is the length of μ, what ML-DSA signs in the end: FIPS 204, 6.2.
const mldsaMuLen = 64

// mldsaOID returns the object identifier of an ML-DSA spec (RFC 9881, 2), nil
// for others.
func (s Spec) mldsaOID() asn1.ObjectIdentifier {
	switch s {
	case MLDSA44:
		return asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 3, 17}
	case MLDSA65:
		return asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 3, 18}
	case MLDSA87:
		return asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 3, 19}
	}
	return nil
}

// mldsaParameters returns the parameter set of an ML-DSA spec.
func (s Spec) mldsaParameters() mldsa.Parameters {
	switch s {
	case MLDSA44:
		return mldsa.MLDSA44()
	case MLDSA65:
		return mldsa.MLDSA65()
	}
	return mldsa.MLDSA87()
}

// mldsaKey is an ML-DSA private key.
type mldsaKey struct {
	spec Spec
	seed []byte
	key  *mldsa.PrivateKey
}

// mldsaPublic is an ML-DSA public key.
type mldsaPublic struct {
	spec Spec
	key  *mldsa.PublicKey
}

// generateMLDSA makes an ML-DSA key.
func generateMLDSA(s Spec) (*mldsaKey, error) {
	seed := make([]byte, mldsa.PrivateKeySize)
	defer clear(seed)
	_, _ = rand.Read(seed) // it does not fail: it ends the program
	return newMLDSA(s, seed)
}

// newMLDSA makes an ML-DSA key of a seed, which it copies.
func newMLDSA(s Spec, seed []byte) (*mldsaKey, error) {
	key, err := mldsa.NewPrivateKey(s.mldsaParameters(), seed)
	if err != nil {
		return nil, errSeedKey
	}
	return &mldsaKey{spec: s, seed: append([]byte(nil), seed...), key: key}, nil
}

// parseMLDSAPrivate parses a PKCS#8 encoding with the seed alone.
func parseMLDSAPrivate(s Spec, pkcs8 []byte) (*mldsaKey, error) {
	seed, err := parseSeed(s.mldsaOID(), pkcs8, mldsa.PrivateKeySize)
	if err != nil {
		return nil, err
	}
	return newMLDSA(s, seed)
}

// marshal is the inverse of parseMLDSAPrivate.
func (k *mldsaKey) marshal() ([]byte, error) { return marshalSeed(k.spec.mldsaOID(), k.seed) }

// wipe overwrites what can be reached of the key.
func (k *mldsaKey) wipe() {
	clear(k.seed)
	*k.key = mldsa.PrivateKey{}
}

// public returns the public half.
func (k *mldsaKey) public() *mldsaPublic { return &mldsaPublic{spec: k.spec, key: k.key.PublicKey()} }

// sign signs a message with an empty context, or μ; hedged.
func (k *mldsaKey) sign(message []byte, mu bool) ([]byte, error) {
	if mu {
		return k.key.Sign(nil, message, mldsacrypto.MLDSAMu)
	}
	return k.key.Sign(nil, message, nil)
}

// parseMLDSAPublic parses a SubjectPublicKeyInfo.
func parseMLDSAPublic(s Spec, spki []byte) (*mldsaPublic, error) {
	raw, err := parseRawPublic(s.mldsaOID(), spki)
	if err != nil {
		return nil, err
	}
	key, err := mldsa.NewPublicKey(s.mldsaParameters(), raw)
	if err != nil {
		return nil, err
	}
	return &mldsaPublic{spec: s, key: key}, nil
}

// marshal is the inverse of parseMLDSAPublic.
func (p *mldsaPublic) marshal() ([]byte, error) {
	return marshalRawPublic(p.spec.mldsaOID(), p.key.Bytes())
}

// verify reports whether signature is one of a message with an empty context,
// or of μ.
func (p *mldsaPublic) verify(message []byte, mu bool, signature []byte) bool {
	if mu {
		return verifyMu(p.spec, p.key.Bytes(), message, signature)
	}
	return mldsa.Verify(p.key, message, signature, nil) == nil
}
