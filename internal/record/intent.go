package record

import (
	"context"

	"github.com/keyreeve/keyreeve/internal/store"
)

// An Intent is what is to be known of a change, whatever happens after it: a
// note that is stored by the very commit that makes the change, so that neither
// can be without the other.
type Intent interface {
	// Note returns a note that tells of the change that is about to be
	// committed, and the slot that it is to be put in, where it takes the place of
	// the note before it. Two intents have different slots while both are in use.
	// It is asked by each commit that changes something; an empty slot means no
	// note. The note must stay as it is until the commit has ended.
	Note() (slot string, note []byte)

	// Stood is told of a commit that happened. One of which that is not known
	// ([ErrUnsettled]) may have happened without it.
	Stood(rev store.Rev)
}

type intentKey struct{}

// WithIntent returns a context under which each [Tx.Commit] that changes
// something stores the intent's note, too, beside those of the intents that ctx
// has: so it may have as many changes less than [store.MaxOps]. An intent is used
// by one goroutine at a time.
func WithIntent(ctx context.Context, i Intent) context.Context {
	all, _ := ctx.Value(intentKey{}).([]Intent)
	return context.WithValue(ctx, intentKey{}, append(all[:len(all):len(all)], i))
}

// IntentPrefix is what the storage keys of notes begin with; the slot follows.
// Their records are of [KindIntent].
const IntentPrefix = "v1/audit/intent/"
