package identity

import (
	"context"
	"fmt"

	"github.com/keyreeve/keyreeve/internal/record"
	"github.com/keyreeve/keyreeve/internal/store"
)

// ErrStale: a record was changed by others since the same view read it. It is an
// [ErrConcurrent]; who decided by what it read before decides again.
var ErrStale = fmt.Errorf("%w, since it was read", ErrConcurrent)

// seen are the revisions of the records that a view has read, by storage key.
type seen map[string]store.Rev

// View returns the directory for one operation of one goroutine, in which every
// account, user, group, role, policy and access key that is read has one
// revision: that of the first time. What is decided
// in it is thereby done to what it was decided on, or not at all ([ErrStale]):
// by then a name may be another user's, and a user have another path or other
// tags.
func (d *Directory) View() *Directory { return &Directory{d.shared, make(seen)} }

// look returns ErrStale if another revision of the record was read before.
func (s seen) look(rec record.Record) error {
	if s == nil {
		return nil
	}
	if rev, ok := s[rec.Key]; ok && rev != rec.Rev {
		return ErrStale
	}
	s[rec.Key] = rec.Rev
	return nil
}

// read is load of what is decided on, and changed: a view sees one revision.
func read[V any](ctx context.Context, d *Directory, kind record.Kind, key, what string, decode func(record.Record) (V, error)) (V, record.Record, error) {
	v, rec, err := load(ctx, d.rs, kind, key, what, decode)
	if err == nil {
		err = d.seen.look(rec)
	}
	return v, rec, err
}
