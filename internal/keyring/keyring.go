// Package keyring keeps keys sealed and uses them only under a permit.
//
// A [Ring] finds a key by its id, alias or ciphertext ([Ring.Find],
// [Ring.FindAlias], [Inspect]): enough to ask package authz for a decision on
// its [Subject.Resource]. [Ring.Open] then wants the permit: for this call,
// this key at this revision, and an action that stands in the table of
// actions.go, which also says in what states of the key the action may be done
// and what may be done with the [Key] that comes back. A method that the
// permit's action does not stand for returns [authz.ErrNoPermit].
//
// A key that changes between decision and use, or under a change of its own,
// gives [ErrStale]: find it and decide again. [Attempt] is the loop for that.
//
// What is stored is sealed by package record; key material is sealed once more,
// as a token bound to the key's ARN and the id of the material. In memory,
// material of symmetric and HMAC keys lies in locked memory (package seal) and
// is wiped when it has not been used for a while, and at once when the key is
// disabled, scheduled for deletion, or the ring is closed. Parsed private keys
// of asymmetric keys lie on Go's heap, where they can be dropped but not
// reliably wiped.
package keyring

import (
	"context"
	"time"

	"github.com/keyreeve/keyreeve/internal/authz"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/secret"
)

// MaxTags is the largest number of tags of a key.
const MaxTags = 50

// MaxAliases is the largest number of aliases of a key.
const MaxAliases = 50

// Metadata is everything about a key but its material. A Metadata that the ring
// hands out is shared and never changed.
type Metadata struct {
	Account     string // owner, 12 digits
	Region      string
	ID          string // UUID in lower case
	ARN         string
	Spec        Spec
	Usage       Usage
	State       State
	Description string
	Tags        []Tag     // in the order in which they were first set
	Policy      string    // the key policy's text; its name is "default"
	Created     time.Time // UTC, as all times here, to the millisecond
	Deletion    time.Time // when the key will be destroyed; zero unless PendingDeletion
	MaterialID  string    // of the current material, 64 hex digits; every spec has one, AWS shows that of symmetric keys
	PublicKey   []byte    // SubjectPublicKeyInfo in DER; nil unless asymmetric
	Aliases     int       // number of aliases
	Revision    int64     // of the record, as in authz.Resource
}

// Tag is a tag of a key.
type Tag struct{ Key, Value string }

// Subject is a key that was found, before anybody was allowed anything: it
// says who it is, so that authorization can be decided, and no more.
type Subject struct{ m Metadata }

// ARN returns the key's ARN.
func (s *Subject) ARN() string { return s.m.ARN }

// ID returns the key id.
func (s *Subject) ID() string { return s.m.ID }

// Account returns the account that owns the key.
func (s *Subject) Account() string { return s.m.Account }

// Region returns the key's Region.
func (s *Subject) Region() string { return s.m.Region }

// Revision returns the revision of the key's record.
func (s *Subject) Revision() int64 { return s.m.Revision }

// Resource returns what authorization is asked about.
func (s *Subject) Resource() authz.Resource {
	return authz.Resource{ARN: s.m.ARN, Account: s.m.Account, Revision: s.m.Revision}
}

// Ring is the keys of an installation: of all its accounts and Regions. Its
// methods may be called concurrently.
type Ring struct{}

// Find returns a key by its id, or ErrNotFound.
func (r *Ring) Find(ctx context.Context, account, region, id string) (*Subject, error) {
	return nil, ErrNotFound
}

// FindAlias returns the key that an alias points to, or ErrNotFound. The name
// begins with "alias/".
func (r *Ring) FindAlias(ctx context.Context, account, region, name string) (*Subject, error) {
	return nil, ErrNotFound
}

// Open opens the key that the permit names, for call c (nil for the system's
// own work). Errors: authz.ErrNoPermit for a permit of another call or for an
// action that is not done to a key, ErrNotFound, ErrStale if the key has
// changed since the decision, *StateError.
func (r *Ring) Open(ctx context.Context, c *call.Call, p authz.Permit) (Key, error) {
	return Key{}, ErrNotFound
}

// CreateParams is a key to be made.
type CreateParams struct {
	Account     string
	Region      string
	Spec        Spec
	Usage       Usage
	Description string
	Tags        []Tag  // names unique
	Policy      string // empty for the default key policy

	// ID and Material fix the key's id and material instead of random ones;
	// for the system's own work only (a seed). Material is 32 bytes for
	// SymmetricDefault, as long as the hash for HMAC, PKCS#8 DER for others.
	ID       string
	Material secret.Bytes
}

// Create makes a key, durably. The permit is for kms:CreateKey on "*". Errors:
// ErrExists (only with a fixed ID), ErrLimit, ErrTooManyTags, ErrParameter.
func (r *Ring) Create(ctx context.Context, c *call.Call, p authz.Permit, params CreateParams) (*Metadata, error) {
	return nil, ErrParameter
}

// KeyEntry is a key in a list.
type KeyEntry struct{ ID, ARN string }

// Keys lists the keys of an account and Region by id: up to limit (1 to 1000)
// that come after the id after, or from the first if after is empty; more says
// that there are others. The permit is for kms:ListKeys on "*".
func (r *Ring) Keys(ctx context.Context, c *call.Call, p authz.Permit, account, region, after string, limit int) (keys []KeyEntry, more bool, err error) {
	return nil, false, nil
}

// Alias is an alias in a list.
type Alias struct {
	Name     string // begins with "alias/"
	ARN      string
	TargetID string // key id
	Created  time.Time
	Updated  time.Time
}

// Aliases lists the aliases of an account and Region by name, only those of
// one key if keyID is not empty: up to limit (1 to 100) that come after the
// name after, or from the first if after is empty; more says that there are
// others. The permit is for kms:ListAliases on "*".
func (r *Ring) Aliases(ctx context.Context, c *call.Call, p authz.Permit, account, region, keyID, after string, limit int) (aliases []Alias, more bool, err error) {
	return nil, false, nil
}

// Attempt runs f, and again while it returns ErrStale, up to five times with a
// short pause before each repetition; then it returns ErrConflict. A change of
// a key is an Attempt of: find it, decide, open it, change it.
func Attempt(ctx context.Context, f func() error) error { return f() }

// Deletion is a key that is being destroyed.
type Deletion struct {
	Account, Region, ID, ARN string
	Due                      time.Time // when its waiting period ended
	MaterialIDs              []string  // destroyed material
}

// RunDue destroys every key whose waiting period ended at or before now: its
// material first, then its aliases, then the record of the key. It goes on
// where an earlier run was stopped, and leaves what fails for the next run.
func (r *Ring) RunDue(ctx context.Context, now time.Time) error { return nil }

// NextDue returns when the next key is to be destroyed; zero if none is.
func (r *Ring) NextDue(ctx context.Context) (time.Time, error) { return time.Time{}, nil }

// Close wipes all material from memory. Keys opened before can no longer be
// used; they return ErrClosed.
func (r *Ring) Close() error { return nil }
