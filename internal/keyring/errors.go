package keyring

import (
	"errors"
	"fmt"
)

// Errors about what is not there, or is already.
var (
	// ErrNotFound: no such key; or no such alias, or the key behind it is gone.
	ErrNotFound = errors.New("keyring: not found")
	// ErrExists: a key with this id, or an alias with this name, is there.
	ErrExists = errors.New("keyring: already exists")
	// ErrLimit: one more alias of a key, key of a Region, or rotation on demand
	// of a key, than allowed.
	ErrLimit = errors.New("keyring: limit exceeded")
	// ErrTooManyTags: a key would have more than MaxTags tags.
	ErrTooManyTags = errors.New("keyring: too many tags")
)

// Errors about the order of things.
var (
	// ErrStale: the key was changed since the permit was decided. The caller
	// finds the key and decides again; see [Attempt].
	ErrStale = errors.New("keyring: the key has changed since it was decided on")
	// ErrConflict: a key changed again and again under an operation.
	ErrConflict = errors.New("keyring: too many concurrent changes of the key")
	// ErrBusy: too many callers wait for key pairs that take long to make.
	ErrBusy = errors.New("keyring: too many key pairs are being made")
	// ErrClosed: the ring is closed.
	ErrClosed = errors.New("keyring: closed")
)

// Errors about what a caller handed in.
var (
	// ErrInvalidCiphertext: not a ciphertext of this key, damaged, or under
	// another encryption context. Which of these is never said.
	ErrInvalidCiphertext = errors.New("keyring: invalid ciphertext")
	// ErrIncorrectKey: a well-formed ciphertext that names another key.
	ErrIncorrectKey = errors.New("keyring: the ciphertext is of another key")
	// ErrDigestLength: a digest whose length is not that of the algorithm's hash.
	ErrDigestLength = errors.New("keyring: invalid digest length")
	// ErrReservedMessage: the message has the form of what keys of messages are
	// derived from, of which there are no MACs.
	ErrReservedMessage = errors.New("keyring: reserved message")
	// ErrPeerKey: no public key that a secret can be agreed on with: no
	// SubjectPublicKeyInfo, on another curve, or no point of the curve.
	ErrPeerKey = errors.New("keyring: invalid public key of the peer")
	// ErrKeyMaterial: no material of the key's spec, or not the material that is
	// to be imported: not the same as before, or the same where another is wanted.
	ErrKeyMaterial = errors.New("keyring: incorrect key material")
	// ErrImportToken: no import token of this key.
	ErrImportToken = errors.New("keyring: invalid import token")
	// ErrImportTokenExpired: an import token of this key that is no longer good.
	ErrImportTokenExpired = errors.New("keyring: expired import token")
	// ErrParameter: a combination or size that no API call can ask for once it
	// is validated, such as a spec that does not go with a usage.
	ErrParameter = errors.New("keyring: invalid parameter")
	// ErrNoPublicKey: the key is symmetric.
	ErrNoPublicKey = errors.New("keyring: the key has no public key")
	// ErrNotRotatable: the key is no symmetric encryption key, and others are not
	// rotated.
	ErrNotRotatable = errors.New("keyring: keys of this spec are not rotated")
	// ErrRotationDue: the key is about to be rotated automatically.
	ErrRotationDue = errors.New("keyring: an automatic rotation is due")
	// ErrNothingPending: no imported material is pending rotation.
	ErrNothingPending = errors.New("keyring: no material is pending rotation")
	// ErrIncompatible: an alias cannot move between keys of different type or usage.
	ErrIncompatible = errors.New("keyring: keys of different type or usage")
)

// StateError says that a key's state does not allow an action.
type StateError struct {
	ARN   string
	State State // the state that the key is in
	// Want is the only state that would do, if there is one: PendingDeletion
	// for CancelKeyDeletion, else empty.
	Want State
}

func (e *StateError) Error() string {
	if e.Want != "" {
		return fmt.Sprintf("keyring: %s is %s, not %s", e.ARN, e.State, e.Want)
	}
	return fmt.Sprintf("keyring: %s is %s", e.ARN, e.State)
}

// UsageError says that a key's usage does not go with an action.
type UsageError struct {
	ARN   string
	Usage Usage // the usage that the key has
}

func (e *UsageError) Error() string {
	return fmt.Sprintf("keyring: key usage of %s is %s", e.ARN, e.Usage)
}

// AlgorithmError says that an algorithm does not go with a key's spec.
type AlgorithmError struct {
	Algorithm Algorithm
	Spec      Spec
}

func (e *AlgorithmError) Error() string {
	return fmt.Sprintf("keyring: algorithm %s is incompatible with key spec %s", e.Algorithm, e.Spec)
}

// LengthError says that a plaintext is too long for an asymmetric algorithm.
type LengthError struct {
	Algorithm Algorithm
	Spec      Spec
	Max       int // bytes
}

func (e *LengthError) Error() string {
	return fmt.Sprintf("keyring: %s with a key of %s cannot encrypt more than %d bytes", e.Algorithm, e.Spec, e.Max)
}

// OriginError says that the origin of a key's material does not go with an action.
type OriginError struct {
	ARN    string
	Origin Origin // the origin that the key has
}

func (e *OriginError) Error() string {
	return fmt.Sprintf("keyring: origin of %s is %s", e.ARN, e.Origin)
}

// NotPrimaryError says that something can be done to the primary of related
// multi-Region keys alone.
type NotPrimaryError struct{ ARN string }

func (e *NotPrimaryError) Error() string { return "keyring: not a primary key: " + e.ARN }
