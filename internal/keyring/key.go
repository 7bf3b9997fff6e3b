package keyring

import (
	"context"
	"time"

	"github.com/keyreeve/keyreeve/internal/authz"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/secret"
)

// Context is an encryption context: sorted by name, names unique. An empty
// context is the same as none.
type Context = []call.Pair

// Key is a key opened under a permit, for the one call that the permit is for.
// The zero Key can do nothing.
type Key struct{ s *Subject }

// Metadata returns everything about the key but its material, as it was when
// the key was opened. The caller must not change it.
func (k Key) Metadata() *Metadata { return &k.s.m }

// Check reports whether the key's usage goes with the permit's action, and the
// algorithm with both: nil, *UsageError or *AlgorithmError. Every method that
// uses the key's material checks this itself; Check is for a dry run. The
// algorithm of GenerateDataKey and GenerateDataKeyPair is
// AlgorithmSymmetricDefault.
func (k Key) Check(a Algorithm) error { return authz.ErrNoPermit }

// Encrypt encrypts plaintext: with AlgorithmSymmetricDefault into a ciphertext
// blob (docs/ciphertext-format.md), 1 to 4096 bytes, bound to the context; with
// RSAES-OAEP without any context. Actions: kms:Encrypt, kms:ReEncryptTo.
// Errors: as Check; *LengthError for RSAES-OAEP; ErrParameter for a context
// with RSAES-OAEP or a length that no validated request has.
func (k Key) Encrypt(ctx context.Context, a Algorithm, plaintext []byte, ec Context) ([]byte, error) {
	return nil, authz.ErrNoPermit
}

// Decrypt is the inverse of Encrypt. It also returns the id of the material
// that the ciphertext was made with, empty for RSAES-OAEP. Actions: kms:Decrypt,
// kms:ReEncryptFrom. Errors: as Check, ErrIncorrectKey, ErrInvalidCiphertext.
func (k Key) Decrypt(ctx context.Context, a Algorithm, ciphertext []byte, ec Context) (plaintext secret.Bytes, materialID string, err error) {
	return secret.Bytes{}, "", authz.ErrNoPermit
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
	return DataKey{}, authz.ErrNoPermit
}

// DataKeyPair is a data key pair; the private key is also encrypted under the
// key that made it.
type DataKeyPair struct {
	PublicKey         []byte       // SubjectPublicKeyInfo in DER
	PrivateKey        secret.Bytes // PKCS#8 in DER
	PrivateCiphertext []byte
}

// GenerateDataKeyPair makes a data key pair of an RSA or ECC spec. Actions:
// kms:GenerateDataKeyPair, kms:GenerateDataKeyPairWithoutPlaintext (PrivateKey
// is then absent). Errors: as Check, ErrParameter.
func (k Key) GenerateDataKeyPair(ctx context.Context, s Spec, ec Context) (DataKeyPair, error) {
	return DataKeyPair{}, authz.ErrNoPermit
}

// Sign signs a message, or its digest if digest is true: ECDSA in DER (X9.62),
// RSASSA-PSS with a salt as long as the hash. Action: kms:Sign. Errors: as
// Check, ErrDigestLength.
func (k Key) Sign(ctx context.Context, a Algorithm, message []byte, digest bool) ([]byte, error) {
	return nil, authz.ErrNoPermit
}

// Verify reports whether signature is one of the message, or of the digest if
// digest is true. Action: kms:Verify. Errors: as Check, ErrDigestLength.
func (k Key) Verify(ctx context.Context, a Algorithm, message []byte, digest bool, signature []byte) (bool, error) {
	return false, authz.ErrNoPermit
}

// GenerateMAC returns the HMAC of a message. Action: kms:GenerateMac. Errors:
// as Check.
func (k Key) GenerateMAC(ctx context.Context, a Algorithm, message []byte) ([]byte, error) {
	return nil, authz.ErrNoPermit
}

// VerifyMAC reports whether mac is the HMAC of the message, in constant time.
// Action: kms:VerifyMac. Errors: as Check.
func (k Key) VerifyMAC(ctx context.Context, a Algorithm, message, mac []byte) (bool, error) {
	return false, authz.ErrNoPermit
}

// PublicKey returns the SubjectPublicKeyInfo in DER. The caller must not change
// it. Action: kms:GetPublicKey. Error: ErrNoPublicKey.
func (k Key) PublicKey() ([]byte, error) { return nil, authz.ErrNoPermit }

// Enable enables the key; nothing is written if it is. Action: kms:EnableKey.
// Error: ErrStale, as of all methods that change the key.
func (k Key) Enable(ctx context.Context) error { return authz.ErrNoPermit }

// Disable disables the key and wipes its material from memory; nothing is
// written if it is disabled. Action: kms:DisableKey.
func (k Key) Disable(ctx context.Context) error { return authz.ErrNoPermit }

// SetDescription sets the description. Action: kms:UpdateKeyDescription.
func (k Key) SetDescription(ctx context.Context, text string) error { return authz.ErrNoPermit }

// Tag sets tags, replacing those of the same key. Action: kms:TagResource.
// Errors: ErrTooManyTags, ErrStale.
func (k Key) Tag(ctx context.Context, tags []Tag) error { return authz.ErrNoPermit }

// Untag removes the tags with these keys; unknown ones are ignored. Action:
// kms:UntagResource.
func (k Key) Untag(ctx context.Context, keys []string) error { return authz.ErrNoPermit }

// ScheduleDeletion puts the key into PendingDeletion, wipes its material from
// memory, and returns when it will be destroyed: window after the call's time.
// Action: kms:ScheduleKeyDeletion.
func (k Key) ScheduleDeletion(ctx context.Context, window time.Duration) (time.Time, error) {
	return time.Time{}, authz.ErrNoPermit
}

// CancelDeletion takes the key out of PendingDeletion; it is Disabled then.
// Action: kms:CancelKeyDeletion.
func (k Key) CancelDeletion(ctx context.Context) error { return authz.ErrNoPermit }

// CreateAlias makes an alias of the key. Both permits are for kms:CreateAlias:
// the key's, and alias on the alias's ARN. Errors: ErrExists, ErrLimit, ErrStale.
func (k Key) CreateAlias(ctx context.Context, alias authz.Permit, name string) error {
	return authz.ErrNoPermit
}

// UpdateAlias points an alias of the key at another key, which may be the same.
// All three permits are for kms:UpdateAlias. Errors: ErrNotFound (no such
// alias), ErrIncompatible, ErrLimit, a *StateError for to, ErrStale (also if
// the alias is not of k any more).
func (k Key) UpdateAlias(ctx context.Context, alias authz.Permit, name string, to Key) error {
	return authz.ErrNoPermit
}

// DeleteAlias removes an alias of the key. Both permits are for
// kms:DeleteAlias. Errors: ErrNotFound (no such alias), ErrStale (also if the
// alias is not of k any more).
func (k Key) DeleteAlias(ctx context.Context, alias authz.Permit, name string) error {
	return authz.ErrNoPermit
}
