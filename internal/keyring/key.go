package keyring

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha512"
	"errors"
	"fmt"
	"time"

	"github.com/keyreeve/keyreeve/internal/authz"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/internal/wire"
)

// Context is an encryption context: sorted by name, names unique. An empty
// context is the same as none.
type Context = wire.StringMap

// Key is a key opened under a permit, for the one call that the permit is for.
// The zero Key can do nothing.
type Key struct {
	r   *Ring
	s   *Subject
	m   *Metadata // of s, as it is at the instant of the call
	act *action
	c   *call.Call
	at  time.Time // of a job, by the time that has passed for certain; zero: by the clock
}

// may returns authz.ErrNoPermit unless the permit's action stands for m.
func (k Key) may(m methods) error {
	if k.act == nil || k.act.may&m == 0 {
		return authz.ErrNoPermit
	}
	return nil
}

// Metadata returns everything about the key but its material, as it was when
// the key was opened. The caller must not change it. It is nil for the zero Key.
func (k Key) Metadata() *Metadata {
	if k.s == nil {
		return nil
	}
	return k.m
}

// Check reports whether the key's usage goes with the permit's action, and the
// algorithm with both: nil, *UsageError or *AlgorithmError. Every method that
// uses the key's material checks this itself; Check is for a dry run. The
// algorithm of GenerateDataKey and GenerateDataKeyPair is
// AlgorithmSymmetricDefault.
func (k Key) Check(a Algorithm) error {
	if k.act == nil || k.act.usage == "" {
		return authz.ErrNoPermit
	}
	m := &k.s.m
	if m.Usage != k.act.usage {
		return &UsageError{ARN: m.ARN, Usage: m.Usage}
	}
	for _, have := range Algorithms(m.Spec, m.Usage) {
		if have == a {
			return nil
		}
	}
	return &AlgorithmError{Algorithm: a, Spec: m.Spec}
}

// check is may and Check.
func (k Key) check(m methods, a Algorithm) error {
	if err := k.may(m); err != nil {
		return err
	}
	return k.Check(a)
}

// Encrypt encrypts plaintext: with AlgorithmSymmetricDefault into a ciphertext
// blob (docs/ciphertext-format.md), 1 to 4096 bytes, bound to the context; with
// RSAES-OAEP, or SM2PKE in DER (GM/T 0009, 7.2), without any context. Actions:
// kms:Encrypt, kms:ReEncryptTo. Errors: as Check; *LengthError for what is too long
// for an asymmetric algorithm; ErrParameter for a context with one or a length
// that no validated request has.
func (k Key) Encrypt(ctx context.Context, a Algorithm, plaintext []byte, ec Context) ([]byte, error) {
	if err := k.check(mayEncrypt, a); err != nil {
		return nil, err
	}
	if a == AlgorithmSymmetricDefault {
		return k.encrypt(ctx, plaintext, ec)
	}
	if len(ec) > 0 || len(plaintext) == 0 {
		return nil, ErrParameter
	}
	m := &k.s.m
	if most := maxPlaintextOf(m.Spec, a); len(plaintext) > most {
		return nil, &LengthError{Algorithm: a, Spec: m.Spec, Max: most}
	}
	p, err := k.publicKey(ctx)
	if err != nil {
		return nil, err
	}
	ciphertext, err := p.encrypt(a, plaintext)
	if err != nil {
		return nil, fmt.Errorf("encrypting with %s: %w", m.ARN, err)
	}
	return ciphertext, nil
}

// encrypt makes a ciphertext blob.
func (k Key) encrypt(ctx context.Context, plaintext []byte, ec Context) ([]byte, error) {
	if len(plaintext) == 0 || len(plaintext) > maxPlaintext {
		return nil, ErrParameter
	}
	l, err := k.r.lease(ctx, k.s)
	if err != nil {
		return nil, err
	}
	defer l.end()
	return sealBlob(l.raw(), &k.s.id, ec, plaintext)
}

// Decrypt is the inverse of Encrypt. It also returns the id of the material
// that the ciphertext was made with, empty for asymmetric algorithms. Actions:
// kms:Decrypt, kms:ReEncryptFrom. Errors: as Check, ErrIncorrectKey,
// ErrInvalidCiphertext; ErrParameter for a context with an asymmetric algorithm.
func (k Key) Decrypt(ctx context.Context, a Algorithm, ciphertext []byte, ec Context) (plaintext secret.Bytes, materialID string, err error) {
	if err := k.check(mayDecrypt, a); err != nil {
		return secret.Bytes{}, "", err
	}
	if a == AlgorithmSymmetricDefault {
		return k.decryptBlob(ctx, ciphertext, ec)
	}
	if len(ec) > 0 {
		return secret.Bytes{}, "", ErrParameter
	}
	l, err := k.r.lease(ctx, k.s)
	if err != nil {
		return secret.Bytes{}, "", err
	}
	defer l.end()
	b, err := l.key().decrypt(a, ciphertext)
	switch {
	case errors.Is(err, ErrInvalidCiphertext):
		return secret.Bytes{}, "", err
	case err != nil:
		return secret.Bytes{}, "", fmt.Errorf("decrypting with %s: %w", k.s.m.ARN, err)
	}
	return secret.New(b), "", nil
}

// decryptBlob opens a ciphertext blob.
func (k Key) decryptBlob(ctx context.Context, blob []byte, ec Context) (secret.Bytes, string, error) {
	if !validHeader(blob) {
		return secret.Bytes{}, "", ErrInvalidCiphertext
	}
	s := k.s
	if !bytes.Equal(blob[:offMaterial], s.id[:offMaterial]) {
		return secret.Bytes{}, "", ErrIncorrectKey
	}
	var l lease
	var err error
	materialID := s.m.MaterialID
	if bytes.Equal(blob[offMaterial:offSalt], s.id[offMaterial:]) {
		l, err = k.r.lease(ctx, s)
	} else {
		l, materialID, err = k.r.leaseOld(ctx, s, blob[offMaterial:offSalt])
	}
	if err != nil {
		return secret.Bytes{}, "", err
	}
	defer l.end()
	plaintext, err := openBlob(l.raw(), blob, ec)
	if err != nil {
		return secret.Bytes{}, "", err
	}
	return secret.New(plaintext), materialID, nil
}

// DataKey is a data key and its ciphertext under the key that made it.
type DataKey struct {
	Plaintext  secret.Bytes
	Ciphertext []byte
}

// GenerateDataKey makes a data key of n bytes, 1 to 1024. Actions:
// kms:GenerateDataKey, kms:GenerateDataKeyWithoutPlaintext (Plaintext is then
// absent). Errors: as Check, ErrParameter.
func (k Key) GenerateDataKey(ctx context.Context, n int, ec Context) (DataKey, error) {
	if err := k.check(mayDataKey, AlgorithmSymmetricDefault); err != nil {
		return DataKey{}, err
	}
	if n < 1 || n > 1024 {
		return DataKey{}, ErrParameter
	}
	plaintext := make([]byte, n)
	if _, err := rand.Read(plaintext); err != nil {
		return DataKey{}, fmt.Errorf("reading randomness: %w", err)
	}
	ciphertext, err := k.encrypt(ctx, plaintext, ec)
	if err != nil || k.act.may&mayPlaintext == 0 {
		clear(plaintext)
		return DataKey{Ciphertext: ciphertext}, err
	}
	return DataKey{Plaintext: secret.New(plaintext), Ciphertext: ciphertext}, nil
}

// DataKeyPair is a data key pair; the private key is also encrypted under the
// key that made it.
type DataKeyPair struct {
	PublicKey         []byte       // SubjectPublicKeyInfo in DER
	PrivateKey        secret.Bytes // PKCS#8 in DER
	PrivateCiphertext []byte
}

// GenerateDataKeyPair makes a data key pair of an asymmetric spec. Actions:
// kms:GenerateDataKeyPair, kms:GenerateDataKeyPairWithoutPlaintext (PrivateKey
// is then absent). Errors: as Check, ErrParameter, ErrBusy.
func (k Key) GenerateDataKeyPair(ctx context.Context, s Spec, ec Context) (DataKeyPair, error) {
	if err := k.check(mayDataKeyPair, AlgorithmSymmetricDefault); err != nil {
		return DataKeyPair{}, err
	}
	if !s.asymmetric() {
		return DataKeyPair{}, ErrParameter
	}
	pkcs8, spki, err := k.r.spare.take(ctx, k.caller(), s)
	if err != nil {
		return DataKeyPair{}, err
	}
	ciphertext, err := k.encrypt(ctx, pkcs8, ec)
	if err != nil {
		clear(pkcs8)
		return DataKeyPair{}, err
	}
	pair := DataKeyPair{PublicKey: spki, PrivateCiphertext: ciphertext}
	if k.act.may&mayPlaintext == 0 {
		clear(pkcs8)
	} else {
		pair.PrivateKey = secret.New(pkcs8)
	}
	return pair, nil
}

// Sign signs a message, or its digest if digest is true: ECDSA in DER (X9.62),
// RSASSA-PSS with a salt as long as the hash, Ed25519 in 64 bytes, ML-DSA with an
// empty context, SM2DSA in DER (GM/T 0009, 7.3) and with the user id
// "1234567812345678". In place of a digest ML-DSA takes μ, of 64 bytes; the digest
// of SM2DSA, of 32, is that of a user id and the public key, too. Action: kms:Sign.
// Errors: as Check, ErrDigestLength; ErrParameter for a digest with Ed25519, or no
// digest with Ed25519ph.
func (k Key) Sign(ctx context.Context, a Algorithm, message []byte, digest bool) ([]byte, error) {
	if err := k.check(maySign, a); err != nil {
		return nil, err
	}
	var buf [sha512.Size]byte
	d, err := digestOf(a, message, digest, &buf)
	if err != nil {
		return nil, err
	}
	l, err := k.r.lease(ctx, k.s)
	if err != nil {
		return nil, err
	}
	defer l.end()
	signature, err := l.key().sign(a, d, digest)
	if err != nil {
		return nil, fmt.Errorf("signing with %s: %w", k.s.m.ARN, err)
	}
	return signature, nil
}

// Verify reports whether signature is one of the message, or of the digest if
// digest is true. Action: kms:Verify. Errors: as Sign.
func (k Key) Verify(ctx context.Context, a Algorithm, message []byte, digest bool, signature []byte) (bool, error) {
	if err := k.check(mayVerify, a); err != nil {
		return false, err
	}
	var buf [sha512.Size]byte
	d, err := digestOf(a, message, digest, &buf)
	if err != nil {
		return false, err
	}
	p, err := k.publicKey(ctx)
	if err != nil {
		return false, err
	}
	return p.verify(a, d, digest, signature), nil
}

// publicKey returns the parsed public key, which hangs on the Subject from then
// on.
func (k Key) publicKey(ctx context.Context) (*publicKey, error) {
	if k.r.closed.Load() {
		return nil, ErrClosed
	}
	if k.s.gone.Load() {
		if err := k.r.still(ctx, k.s); err != nil {
			return nil, err
		}
	}
	if p := k.s.public.Load(); p != nil {
		return p, nil
	}
	p, err := parsePublic(k.s.m.Spec, k.s.m.PublicKey)
	if err != nil {
		return nil, fmt.Errorf("public key of %s: %w", k.s.m.ARN, err)
	}
	k.s.public.Store(p)
	return p, nil
}

// GenerateMAC returns the HMAC of a message. Action: kms:GenerateMac. Errors:
// as Check; ErrReservedMessage.
//
// The KDF of ciphertext blobs is an HMAC, too. Nothing keeps who imports material
// from giving the same to a symmetric key and to an HMAC key; but the one's
// messages must not be opened by who may use the other.
func (k Key) GenerateMAC(ctx context.Context, a Algorithm, message []byte) ([]byte, error) {
	if err := k.check(mayGenerateMAC, a); err != nil {
		return nil, err
	}
	if isKDFInput(message) {
		return nil, ErrReservedMessage
	}
	return k.mac(ctx, a, message)
}

func (k Key) mac(ctx context.Context, a Algorithm, message []byte) ([]byte, error) {
	l, err := k.r.lease(ctx, k.s)
	if err != nil {
		return nil, err
	}
	defer l.end()
	return appendMAC(make([]byte, 0, sha512.Size), a, l.raw(), message), nil
}

// VerifyMAC reports whether mac is the HMAC of the message, in constant time.
// Action: kms:VerifyMac. Errors: as Check.
func (k Key) VerifyMAC(ctx context.Context, a Algorithm, message, mac []byte) (bool, error) {
	if err := k.check(mayVerifyMAC, a); err != nil {
		return false, err
	}
	want, err := k.mac(ctx, a, message)
	if err != nil {
		return false, err
	}
	defer clear(want)
	return hmac.Equal(mac, want), nil
}

// PublicKey returns the SubjectPublicKeyInfo in DER. The caller must not change
// it. Action: kms:GetPublicKey. Error: ErrNoPublicKey.
func (k Key) PublicKey() ([]byte, error) {
	if err := k.may(mayPublicKey); err != nil {
		return nil, err
	}
	if k.s.m.PublicKey == nil {
		return nil, ErrNoPublicKey
	}
	return k.s.m.PublicKey, nil
}

// caller returns the account that makes the call; none for the system's own work.
func (k Key) caller() string {
	if k.c == nil {
		return ""
	}
	return k.c.Caller.Account
}

// now returns the instant of the call, or of the system's own work.
func (k Key) now() time.Time {
	if !k.at.IsZero() {
		return k.at
	}
	return k.r.instant(k.c)
}

// instant returns the instant of a call (nil for the system's own work), to the
// millisecond that records keep.
func (r *Ring) instant(c *call.Call) time.Time {
	t := r.now()
	if c != nil {
		t = c.Time
	}
	return t.UTC().Truncate(time.Millisecond)
}
