// Package store is the transactional key-value contract the house stands on.
//
// Every engine (the in-memory one here, boltstore) passes the suite in
// storetest. Keys are ordered bytewise. Each commit that changes something
// gets the next revision; revisions order all changes of a store, but are not
// kept by a restore into another store, so nothing persistent may hold one.
package store

import (
	"context"
	"errors"
	"io"
)

// MaxOps is the largest number of conditions, and of operations, in a commit.
const MaxOps = 100

// MaxKey and MaxValue are the largest sizes of a key and a value, in bytes.
const (
	MaxKey   = 1024
	MaxValue = 1 << 20
)

// Errors that engines return, wrapped or not.
var (
	// ErrCompacted: the changes from the wanted revision on are no longer
	// kept. The watcher must forget what it knows and start from Head.
	ErrCompacted = errors.New("store: revision compacted")
	// ErrClosed: the store is closed.
	ErrClosed = errors.New("store: closed")
	// ErrTooLarge: a key, value or commit is over the limits above, or a key
	// is empty.
	ErrTooLarge = errors.New("store: key, value or commit too large")
)

// Rev is a revision: 0 before the first change, then 1, 2, ….
type Rev int64

// KV is a key, its value, and the revision of its last change.
type KV struct {
	Key string
	Val []byte // not nil; the caller owns it
	Rev Rev    // 0: the key is absent
}

// Cond is a condition of a commit: the key was last changed at Rev, or is
// absent if Rev is 0.
type Cond struct {
	Key string
	Rev Rev
}

// Op is a change of a commit: put Val, or delete the key if Val is nil.
// Deleting an absent key changes nothing and is no error.
type Op struct {
	Key string
	Val []byte
}

// Batch is the changes of one commit, as a watcher sees them.
type Batch struct {
	Rev  Rev
	Keys []string // in the order of the commit's operations
	Err  error    // the watch has ended; ErrCompacted or another reason
}

// Store is the contract. All methods may be called concurrently.
type Store interface {
	// Get returns the key's value, and the head revision that it was read at.
	// It sees every commit acknowledged before it was called.
	Get(ctx context.Context, key string) (kv KV, head Rev, err error)

	// Range returns up to limit pairs with from <= key < to, ordered by key,
	// read at one revision, the head that is returned. A limit of 0 or less
	// means 1000. To go on, pass the last key with a zero byte appended.
	Range(ctx context.Context, from, to string, limit int) (kvs []KV, head Rev, err error)

	// Commit does all ops at one new revision if all conds hold; otherwise it
	// changes nothing and ok is false. When it returns without an error, the
	// outcome is durable. No key stands twice in ops. After an error other
	// than ErrTooLarge and ErrClosed it is unknown whether the commit happened.
	Commit(ctx context.Context, conds []Cond, ops []Op) (rev Rev, ok bool, err error)

	// Watch sends every commit at revision from or later that changed a key
	// beginning with prefix (only those keys): complete, in order, exactly
	// once. The channel is closed when ctx ends or the store is closed; a
	// watcher that is too slow, or from before what is kept, gets a last batch
	// with Err set to ErrCompacted.
	Watch(ctx context.Context, prefix string, from Rev) (<-chan Batch, error)

	// Head returns the newest revision: a barrier, linearizable.
	Head(ctx context.Context) (Rev, error)

	// Snapshot writes every pair, at one revision, in the format of
	// [SnapshotReader], while the store goes on serving.
	Snapshot(ctx context.Context, w io.Writer) error

	// Close ends all watches and frees the store.
	Close() error
}
