package seal

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"fmt"

	"github.com/keyreeve/keyreeve/internal/secret"
)

// Kinds of provider, as the seal state and [Status] name them.
const (
	KindFile       = "file"
	KindPassphrase = "passphrase"
	KindMemory     = "memory"
)

// rootSize is the size of a root key, and of every other key here, in bytes.
const rootSize = 32

// Provider knows where a root key is. A root key is 32 bytes; the caller that
// gets one wipes it. Parameters are public, at most 255 bytes, and are kept in
// the seal state, where only the holder of the root key can change them
// unnoticed; Open must nevertheless not trust them, since they are needed to
// find that key.
type Provider interface {
	// Kind names the provider.
	Kind() string

	// Create returns the root key for a store that has none yet. When it
	// returns, the key can be opened again with the parameters.
	Create(ctx context.Context) (root secret.Bytes, params []byte, err error)

	// Renew is Create for a store that changes its root key. The key that is
	// in use stays as it is. Its parameters are given if it is of this kind,
	// else nil.
	Renew(ctx context.Context, current []byte) (root secret.Bytes, params []byte, err error)

	// Open returns the root key that the parameters belong to, or
	// ErrWrongRoot if it can tell that it does not have it, or
	// ErrNoPassphrase if it needs to be told more.
	Open(ctx context.Context, params []byte) (root secret.Bytes, err error)
}

// settler is a provider whose root keys have a place of their own, which can
// hold a new one and an old one while the store goes from one to the other.
type settler interface {
	// Settle makes the key with these parameters, which the store now names,
	// the only one that is kept.
	Settle(params []byte) error
	// Retire forgets the key with these parameters, which the store no longer
	// names, if it is still kept.
	Retire(params []byte) error
}

// Memory returns a provider whose root key exists only as long as the value:
// for stores in memory, and for tests.
func Memory() Provider { return new(memory) }

type memory struct{ root, next secret.Bytes }

func (m *memory) Kind() string { return KindMemory }

func (m *memory) Create(context.Context) (secret.Bytes, []byte, error) {
	if m.root.IsNil() {
		m.root = randomKey()
	}
	return copyOf(m.root), rootID(m.root), nil
}

func (m *memory) Renew(context.Context, []byte) (secret.Bytes, []byte, error) {
	m.next = randomKey()
	return copyOf(m.next), rootID(m.next), nil
}

func (m *memory) Open(_ context.Context, params []byte) (secret.Bytes, error) {
	for _, root := range []secret.Bytes{m.root, m.next} {
		if !root.IsNil() && subtle.ConstantTimeCompare(rootID(root), params) == 1 {
			return copyOf(root), nil
		}
	}
	return secret.Bytes{}, ErrWrongRoot
}

func (m *memory) Settle(params []byte) error {
	if !m.next.IsNil() && subtle.ConstantTimeCompare(rootID(m.next), params) == 1 {
		m.root.Wipe()
		m.root, m.next = m.next, secret.Bytes{}
	}
	return nil
}

func (m *memory) Retire(params []byte) error {
	if !m.root.IsNil() && subtle.ConstantTimeCompare(rootID(m.root), params) == 1 {
		m.root.Wipe()
		m.root = secret.Bytes{}
	}
	return nil
}

func randomKey() secret.Bytes {
	b := make([]byte, rootSize)
	rand.Read(b) // never fails: it ends the program instead
	return secret.New(b)
}

func copyOf(s secret.Bytes) secret.Bytes {
	b := make([]byte, s.Len())
	copy(b, s.Reveal())
	return secret.New(b)
}

// rootID names a root key without telling about it. Only keys that are
// uniformly random have one: for a passphrase it would be one more thing to
// guess against.
func rootID(root secret.Bytes) []byte { return derive(root.Reveal(), "root id", 16) }

func checkRoot(root secret.Bytes) error {
	if root.Len() != rootSize {
		return fmt.Errorf("seal: a root key of %d bytes", root.Len())
	}
	return nil
}
