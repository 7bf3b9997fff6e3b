package keyring

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"errors"
	"fmt"
	"hash"
	"math/big"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	k1ecdsa "github.com/decred/dcrd/dcrec/secp256k1/v4/ecdsa"
	"github.com/emmansun/gmsm/sm3"
)

// privateKey is a parsed private key; one of its members is set.
type privateKey struct {
	rsa *rsa.PrivateKey
	ec  *ecdsa.PrivateKey
	k1  *secp256k1.PrivateKey
	ed  ed25519.PrivateKey
	kem *decapsulationKey
	dsa *mldsaKey
	sm2 *sm2Key
}

// publicKey is a parsed public key; one of its members is set.
type publicKey struct {
	rsa *rsa.PublicKey
	ec  *ecdsa.PublicKey
	k1  *secp256k1.PublicKey
	ed  ed25519.PublicKey
	kem *encapsulationKey
	dsa *mldsaPublic
	sm2 *sm2Public
}

// rsaBits returns the size of an RSA spec, 0 for others.
func (s Spec) rsaBits() int {
	switch s {
	case RSA2048:
		return 2048
	case RSA3072:
		return 3072
	case RSA4096:
		return 4096
	}
	return 0
}

// curve returns the curve of a NIST ECC spec, nil for others.
func (s Spec) curve() elliptic.Curve {
	switch s {
	case ECCNISTP256:
		return elliptic.P256()
	case ECCNISTP384:
		return elliptic.P384()
	case ECCNISTP521:
		return elliptic.P521()
	}
	return nil
}

// asymmetric reports whether keys of the spec are key pairs.
func (s Spec) asymmetric() bool {
	return s.rsaBits() > 0 || s.curve() != nil || s == ECCSECGP256K1 || s == ECCEdwards25519 || s == SM2 || s.lattice()
}

// lattice reports whether the algorithm of a spec is one of the post-quantum
// ones, whose keys are seeds.
func (s Spec) lattice() bool { return s.mlkemOID() != nil || s.mldsaOID() != nil }

// rawLen returns how many bytes the material of a symmetric or HMAC key has,
// 0 for other specs.
func (s Spec) rawLen() int {
	switch s {
	case SymmetricDefault, HMAC256:
		return 32
	case HMAC224:
		return 28
	case HMAC384:
		return 48
	case HMAC512:
		return 64
	}
	return 0
}

// generatePair makes a key pair: PKCS#8 and SubjectPublicKeyInfo, both in DER.
// RSA takes long: see sparePairs.
func generatePair(s Spec) (pkcs8, spki []byte, err error) {
	var k privateKey
	switch {
	case s.rsaBits() > 0:
		k.rsa, err = rsa.GenerateKey(rand.Reader, s.rsaBits())
	case s.curve() != nil:
		k.ec, err = ecdsa.GenerateKey(s.curve(), rand.Reader)
	case s == ECCSECGP256K1:
		k.k1, err = secp256k1.GeneratePrivateKey()
	case s == ECCEdwards25519:
		_, k.ed, err = ed25519.GenerateKey(rand.Reader)
	case s == SM2:
		k.sm2, err = generateSM2()
	case s.mlkemOID() != nil:
		k.kem, err = generateMLKEM(s)
	case s.mldsaOID() != nil:
		k.dsa, err = generateMLDSA(s)
	default:
		err = ErrParameter
	}
	if err != nil {
		return nil, nil, fmt.Errorf("generating a key pair of %s: %w", s, err)
	}
	defer k.wipe()
	if pkcs8, err = k.marshal(); err != nil {
		return nil, nil, fmt.Errorf("encoding a private key of %s: %w", s, err)
	}
	p := k.public()
	if spki, err = p.marshal(); err != nil {
		clear(pkcs8)
		return nil, nil, fmt.Errorf("encoding a public key of %s: %w", s, err)
	}
	return pkcs8, spki, nil
}

// parsePrivate parses the PKCS#8 encoding of a private key that must be of spec s.
func parsePrivate(s Spec, pkcs8 []byte) (*privateKey, error) {
	if s == ECCSECGP256K1 {
		k, err := parseSECP256K1Private(pkcs8)
		if err != nil {
			return nil, err
		}
		return &privateKey{k1: k}, nil
	}
	if s == SM2 {
		k, err := parseSM2Private(pkcs8)
		if err != nil {
			return nil, err
		}
		return &privateKey{sm2: k}, nil
	}
	if s.lattice() {
		var k privateKey
		var err error
		if s.mlkemOID() != nil {
			k.kem, err = parseMLKEMPrivate(s, pkcs8)
		} else {
			k.dsa, err = parseMLDSAPrivate(s, pkcs8)
		}
		if err != nil {
			return nil, fmt.Errorf("%w: not a PKCS#8 private key of %s", ErrParameter, s)
		}
		return &k, nil
	}
	parsed, err := x509.ParsePKCS8PrivateKey(pkcs8)
	if err != nil {
		// The text of x509's error could hold a piece of the key.
		return nil, fmt.Errorf("%w: not a PKCS#8 private key of %s", ErrParameter, s)
	}
	switch k := parsed.(type) {
	case *rsa.PrivateKey:
		if k.N.BitLen() == s.rsaBits() && len(k.Primes) == 2 {
			return &privateKey{rsa: k}, nil
		}
	case *ecdsa.PrivateKey:
		if k.Curve == s.curve() {
			return &privateKey{ec: k}, nil
		}
	case ed25519.PrivateKey:
		if s == ECCEdwards25519 {
			return &privateKey{ed: k}, nil
		}
	}
	return nil, fmt.Errorf("%w: the private key is not of %s", ErrParameter, s)
}

// parsePublic parses the SubjectPublicKeyInfo of a key of spec s.
func parsePublic(s Spec, spki []byte) (*publicKey, error) {
	if s == ECCSECGP256K1 {
		p, err := parseSECP256K1Public(spki)
		if err != nil {
			return nil, err
		}
		return &publicKey{k1: p}, nil
	}
	if s == SM2 {
		p, err := parseSM2Public(spki)
		if err != nil {
			return nil, err
		}
		return &publicKey{sm2: p}, nil
	}
	if s.lattice() {
		var p publicKey
		var err error
		if s.mlkemOID() != nil {
			p.kem, err = parseMLKEMPublic(s, spki)
		} else {
			p.dsa, err = parseMLDSAPublic(s, spki)
		}
		if err != nil {
			return nil, fmt.Errorf("parsing a public key of %s: %w", s, err)
		}
		return &p, nil
	}
	parsed, err := x509.ParsePKIXPublicKey(spki)
	if err != nil {
		return nil, fmt.Errorf("parsing a public key of %s: %w", s, err)
	}
	// x509 passes over what a SEQUENCE has too much. A key has one encoding.
	if der, err := x509.MarshalPKIXPublicKey(parsed); err != nil || !bytes.Equal(der, spki) {
		return nil, fmt.Errorf("parsing a public key of %s: it is not in DER", s)
	}
	switch p := parsed.(type) {
	case *rsa.PublicKey:
		if p.N.BitLen() == s.rsaBits() {
			return &publicKey{rsa: p}, nil
		}
	case *ecdsa.PublicKey:
		if p.Curve == s.curve() {
			return &publicKey{ec: p}, nil
		}
	case ed25519.PublicKey:
		if s == ECCEdwards25519 {
			return &publicKey{ed: p}, nil
		}
	}
	return nil, fmt.Errorf("parsing a public key of %s: it is of another spec", s)
}

// marshal returns the PKCS#8 encoding.
func (k *privateKey) marshal() ([]byte, error) {
	switch {
	case k.rsa != nil:
		return x509.MarshalPKCS8PrivateKey(k.rsa)
	case k.ec != nil:
		return x509.MarshalPKCS8PrivateKey(k.ec)
	case k.ed != nil:
		return x509.MarshalPKCS8PrivateKey(k.ed)
	case k.kem != nil:
		return k.kem.marshal()
	case k.dsa != nil:
		return k.dsa.marshal()
	case k.sm2 != nil:
		return k.sm2.marshal()
	}
	return marshalSECP256K1Private(k.k1)
}

// public returns the public half.
func (k *privateKey) public() publicKey {
	switch {
	case k.rsa != nil:
		return publicKey{rsa: &k.rsa.PublicKey}
	case k.ec != nil:
		return publicKey{ec: &k.ec.PublicKey}
	case k.ed != nil:
		return publicKey{ed: k.ed.Public().(ed25519.PublicKey)}
	case k.kem != nil:
		return publicKey{kem: k.kem.public()}
	case k.dsa != nil:
		return publicKey{dsa: k.dsa.public()}
	case k.sm2 != nil:
		return publicKey{sm2: k.sm2.p}
	}
	return publicKey{k1: publicSECP256K1(k.k1)}
}

// wipe overwrites what can be reached of a key that nobody else uses. The
// standard library keeps copies of its own, which only the garbage collector
// ends.
func (k *privateKey) wipe() {
	switch {
	case k.rsa != nil:
		clear(k.rsa.D.Bits())
		for _, p := range k.rsa.Primes {
			clear(p.Bits())
		}
		for _, n := range []*big.Int{k.rsa.Precomputed.Dp, k.rsa.Precomputed.Dq, k.rsa.Precomputed.Qinv} {
			if n != nil {
				clear(n.Bits())
			}
		}
	case k.k1 != nil:
		k.k1.Zero()
	case k.ed != nil:
		clear(k.ed)
	case k.kem != nil:
		k.kem.wipe()
	case k.dsa != nil:
		k.dsa.wipe()
	case k.sm2 != nil:
		k.sm2.wipe()
	}
	// The D of an ecdsa.PrivateKey must not be touched (it is deprecated to).
}

// marshal returns the SubjectPublicKeyInfo.
func (p *publicKey) marshal() ([]byte, error) {
	switch {
	case p.rsa != nil:
		return x509.MarshalPKIXPublicKey(p.rsa)
	case p.ec != nil:
		return x509.MarshalPKIXPublicKey(p.ec)
	case p.ed != nil:
		return x509.MarshalPKIXPublicKey(p.ed)
	case p.kem != nil:
		return p.kem.marshal()
	case p.dsa != nil:
		return p.dsa.marshal()
	case p.sm2 != nil:
		return p.sm2.marshal()
	}
	return marshalSECP256K1Public(p.k1)
}

// hashOf returns the hash of an asymmetric algorithm: that of a digest that it
// takes for a message.
func hashOf(a Algorithm) crypto.Hash {
	switch a {
	case RSAESOAEPSHA1:
		return crypto.SHA1
	case RSAESOAEPSHA256, RSASSAPKCS1V15SHA256, RSASSAPSSSHA256, ECDSASHA256:
		return crypto.SHA256
	case RSASSAPKCS1V15SHA384, RSASSAPSSSHA384, ECDSASHA384:
		return crypto.SHA384
	case RSASSAPKCS1V15SHA512, RSASSAPSSSHA512, ECDSASHA512, ED25519PHSHA512:
		return crypto.SHA512
	}
	return 0
}

// digestOf returns what an algorithm signs: the digest of the message, or the
// message itself if it is said to be one, and must then be as long as one. It is
// put into buf.
//
// Ed25519 signs messages only. Ed25519ph takes digests only, and hashes them
// once more: AWS KMS does the prehash of RFC 8032 itself, on whatever it is
// given ("the input is hashed twice", API reference of Sign). What takes the
// place of a digest with ML-DSA is μ. SM2DSA's digest begins with the public key,
// so that sign and verify make it of the message.
func digestOf(a Algorithm, message []byte, digest bool, buf *[sha512.Size]byte) ([]byte, error) {
	h := hashOf(a)
	switch a {
	case ED25519SHA512:
		if digest {
			return nil, ErrParameter
		}
		return message, nil
	case ED25519PHSHA512:
		switch {
		case !digest:
			return nil, ErrParameter
		case len(message) != h.Size():
			return nil, ErrDigestLength
		}
		*buf = sha512.Sum512(message)
		return buf[:], nil
	case MLDSASHAKE256:
		if digest && len(message) != mldsaMuLen {
			return nil, ErrDigestLength
		}
		return message, nil
	case SM2DSA:
		if digest && len(message) != sm3.Size {
			return nil, ErrDigestLength
		}
		return message, nil
	}
	if digest {
		if len(message) != h.Size() {
			return nil, ErrDigestLength
		}
		return message, nil
	}
	switch h {
	case crypto.SHA256:
		d := sha256.Sum256(message)
		return append(buf[:0], d[:]...), nil
	case crypto.SHA384:
		d := sha512.Sum384(message)
		return append(buf[:0], d[:]...), nil
	default:
		d := sha512.Sum512(message)
		return append(buf[:0], d[:]...), nil
	}
}

// isPSS reports whether a is one of the RSASSA_PSS algorithms.
func isPSS(a Algorithm) bool {
	return a == RSASSAPSSSHA256 || a == RSASSAPSSSHA384 || a == RSASSAPSSSHA512
}

// edOptions are the options of an algorithm with an Ed25519 key.
func edOptions(a Algorithm) *ed25519.Options { return &ed25519.Options{Hash: hashOf(a)} }

// sign signs what digestOf returned; given says that the caller gave it in place
// of a message: ML-DSA's μ, or the digest of SM2DSA.
func (k *privateKey) sign(a Algorithm, digest []byte, given bool) ([]byte, error) {
	switch {
	case k.dsa != nil:
		return k.dsa.sign(digest, given)
	case k.sm2 != nil:
		return k.sm2.sign(digest, given)
	case k.rsa != nil && isPSS(a):
		return rsa.SignPSS(rand.Reader, k.rsa, hashOf(a), digest, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
	case k.rsa != nil:
		return rsa.SignPKCS1v15(nil, k.rsa, hashOf(a), digest)
	case k.ec != nil:
		return ecdsa.SignASN1(rand.Reader, k.ec, digest)
	case k.ed != nil:
		return k.ed.Sign(nil, digest, edOptions(a))
	}
	return signSECP256K1(k.k1, digest), nil
}

// verify reports whether signature is one of what digestOf returned; given is as
// in sign.
func (p *publicKey) verify(a Algorithm, digest []byte, given bool, signature []byte) bool {
	switch {
	case p.dsa != nil:
		return p.dsa.verify(digest, given, signature)
	case p.sm2 != nil:
		return p.sm2.verify(digest, given, signature)
	case p.rsa != nil && isPSS(a):
		return rsa.VerifyPSS(p.rsa, hashOf(a), digest, signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}) == nil
	case p.rsa != nil:
		return rsa.VerifyPKCS1v15(p.rsa, hashOf(a), digest, signature) == nil
	case p.ec != nil:
		return ecdsa.VerifyASN1(p.ec, digest, signature)
	case p.ed != nil:
		return ed25519.VerifyWithOptions(p.ed, digest, signature, edOptions(a)) == nil
	}
	s, err := k1ecdsa.ParseDERSignature(signature)
	return err == nil && s.Verify(digest, p.k1)
}

// newHash returns the hash of an RSAES-OAEP algorithm, also used by its MGF1.
func newHash(a Algorithm) hash.Hash {
	if a == RSAESOAEPSHA1 {
		return sha1.New()
	}
	return sha256.New()
}

// maxPlaintextOf returns how many bytes an asymmetric algorithm can encrypt with
// a key of spec s: of RSAES-OAEP see RFC 8017, 7.1.1.
func maxPlaintextOf(s Spec, a Algorithm) int {
	if a == SM2PKE {
		return sm2MaxPlaintext
	}
	return s.rsaBits()/8 - 2*hashOf(a).Size() - 2
}

// encrypt encrypts what is not longer than maxPlaintextOf.
func (p *publicKey) encrypt(a Algorithm, plaintext []byte) ([]byte, error) {
	if p.sm2 != nil {
		return p.sm2.encrypt(plaintext)
	}
	return rsa.EncryptOAEP(newHash(a), rand.Reader, p.rsa, plaintext, nil)
}

// decrypt is the inverse of encrypt. A ciphertext that is none, or another
// key's, is ErrInvalidCiphertext.
func (k *privateKey) decrypt(a Algorithm, ciphertext []byte) ([]byte, error) {
	if k.sm2 != nil {
		return k.sm2.decrypt(ciphertext, sm2MaxPlaintext)
	}
	if len(ciphertext) != k.rsa.Size() {
		return nil, ErrInvalidCiphertext
	}
	b, err := rsa.DecryptOAEP(newHash(a), nil, k.rsa, ciphertext, nil)
	// Whoever has the public key can encrypt nothing at all, and no plaintext of
	// the API is empty.
	if errors.Is(err, rsa.ErrDecryption) || err == nil && len(b) == 0 {
		return nil, ErrInvalidCiphertext
	}
	return b, err
}

// agree returns what the key and a peer of the same spec have in common by ECDH.
// ErrPeerKey is for a peer with which there is no such thing.
func (k *privateKey) agree(peer *publicKey) ([]byte, error) {
	if k.sm2 != nil {
		return k.sm2.agree(peer.sm2)
	}
	public, err := peer.ec.ECDH()
	if err != nil {
		return nil, ErrPeerKey
	}
	private, err := k.ec.ECDH()
	if err != nil {
		return nil, err
	}
	shared, err := private.ECDH(public)
	if err != nil {
		return nil, ErrPeerKey
	}
	return shared, nil
}
