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
	"fmt"
	"io"
)

// MaxOps is the largest number of conditions, and of operations, in a commit.
const MaxOps = 100

// MaxKey and MaxValue are the largest sizes of a key and a value, in bytes;
// MaxCommit is that of the keys and values of a commit's operations together.
const (
	MaxKey    = 1024
	MaxValue  = 1 << 20
	MaxCommit = MaxValue + 256<<10
)

// DefaultLimit is the number of pairs that a Range without a limit returns at most.
const DefaultLimit = 1000

// Errors that engines return, wrapped or not.
var (
	// ErrCompacted: the changes from the wanted revision on are no longer
	// kept. The watcher must forget what it knows and start from Head.
	ErrCompacted = errors.New("store: revision compacted")
	// ErrClosed: the store is closed.
	ErrClosed = errors.New("store: closed")
	// ErrTooLarge: a key, value or commit is over the limits above, or a key
	// is empty or stands twice in the operations of a commit.
	ErrTooLarge = errors.New("store: key, value or commit too large")
)

// Rev is a revision: 0 before the first change, then 1, 2, ….
type Rev int64

// KV is a key, its value, and the revision of its last change.
type KV struct {
	Key string
	Val []byte // nil only if the key is absent; the caller owns it
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
	Val []byte // not kept: the caller may change it once Commit has returned
}

// Batch is the changes of one commit, as a watcher sees them.
type Batch struct {
	Rev  Rev
	Keys []string // those that changed, in the order of the commit's operations; the receiver owns it
	Err  error    // the watch has ended; ErrCompacted or another reason
}

// Store is the contract. All methods may be called concurrently.
type Store interface {
	// Get returns the key's value, and the head revision that it was read at.
	// It sees every commit acknowledged before it was called.
	Get(ctx context.Context, key string) (kv KV, head Rev, err error)

	// Range returns up to limit pairs with from <= key < to, ordered by key,
	// read at one revision, the head that is returned. An empty to is no
	// bound; PrefixEnd gives the bound of a prefix. A limit of 0 or less means
	// DefaultLimit. To go on, pass the last key with a zero byte appended.
	Range(ctx context.Context, from, to string, limit int) (kvs []KV, head Rev, err error)

	// Commit does all ops at one new revision if all conds hold; otherwise it
	// changes nothing and ok is false. When it returns without an error, the
	// outcome is durable. No key stands twice in ops. A commit that changes
	// nothing (no ops, or deletes of absent keys alone) makes no revision and
	// returns the one at which its conds held.
	//
	// After an error other than ErrTooLarge and ErrClosed it is unknown whether
	// the commit happened, or still will: it may be under way. A commit without
	// conds and ops settles that: once it has returned without an error, every
	// commit whose call had returned before is decided, and a Get shows how.
	Commit(ctx context.Context, conds []Cond, ops []Op) (rev Rev, ok bool, err error)

	// Watch sends every commit at revision from or later that changed a key
	// beginning with prefix (only those keys): complete, in order, exactly
	// once. From may lie ahead of head; 0 is the same as 1. The channel is
	// closed when ctx ends or the store is closed; a watcher that is too slow,
	// or from before what is kept, gets a last batch with Err set to
	// ErrCompacted and no keys. A watch never holds up a commit.
	Watch(ctx context.Context, prefix string, from Rev) (<-chan Batch, error)

	// Head returns the newest revision: a barrier, linearizable.
	Head(ctx context.Context) (Rev, error)

	// Snapshot writes every pair, at one revision, in the format of
	// [SnapshotReader], while the store goes on serving. Restore reads it.
	Snapshot(ctx context.Context, w io.Writer) error

	// Close ends all watches and frees the store, once the reads under way
	// are done. Every other call from then on gives ErrClosed; a commit under
	// way gives its outcome, or ErrClosed if it did not happen. Closing again
	// does nothing.
	Close() error
}

// PrefixEnd returns the end of the interval of keys that begin with prefix, for
// Range: the least string above them all. It is empty, no bound, if there is none.
func PrefixEnd(prefix string) string {
	for i := len(prefix) - 1; i >= 0; i-- {
		if c := prefix[i]; c < 0xff {
			return prefix[:i] + string([]byte{c + 1})
		}
	}
	return ""
}

// CheckCommit returns ErrTooLarge, with what is wrong, if a commit is over the
// limits or changes a key twice. It is for engines.
func CheckCommit(conds []Cond, ops []Op) error {
	if len(conds) > MaxOps || len(ops) > MaxOps {
		return fmt.Errorf("%w: %d conditions and %d operations, at most %d each", ErrTooLarge, len(conds), len(ops), MaxOps)
	}
	for i := range conds {
		if err := CheckKey(conds[i].Key); err != nil {
			return err
		}
	}
	size := 0
	for i := range ops {
		op := &ops[i]
		if err := CheckKey(op.Key); err != nil {
			return err
		}
		if len(op.Val) > MaxValue {
			return fmt.Errorf("%w: a value of %d bytes, at most %d", ErrTooLarge, len(op.Val), MaxValue)
		}
		size += len(op.Key) + len(op.Val)
	}
	if size > MaxCommit {
		return fmt.Errorf("%w: %d bytes in a commit, at most %d", ErrTooLarge, size, MaxCommit)
	}
	if twice(ops) {
		return fmt.Errorf("%w: a key stands twice in the operations", ErrTooLarge)
	}
	return nil
}

// CheckKey returns ErrTooLarge if key is empty or too long. It is for engines.
func CheckKey(key string) error {
	if key == "" || len(key) > MaxKey {
		return fmt.Errorf("%w: a key of %d bytes, from 1 to %d", ErrTooLarge, len(key), MaxKey)
	}
	return nil
}

func twice(ops []Op) bool {
	if len(ops) <= 8 {
		for i := range ops {
			for j := range i {
				if ops[i].Key == ops[j].Key {
					return true
				}
			}
		}
		return false
	}
	seen := make(map[string]struct{}, len(ops))
	for i := range ops {
		seen[ops[i].Key] = struct{}{}
	}
	return len(seen) < len(ops)
}
