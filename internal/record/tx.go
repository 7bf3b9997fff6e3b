package record

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/keyreeve/keyreeve/internal/store"
)

// Tx is a transaction: conditions and changes that happen all or not at all. It
// is made by [Store.Begin], used by one goroutine, and committed once.
type Tx struct {
	s     *Store
	conds []store.Cond
	steps []step
	err   error // what was wrong with a step
}

// step is a change of a transaction.
type step struct {
	kind     Kind
	key      string
	val      []byte // nil if the record is deleted
	previous uint64 // generation of the record that it replaces
	rev      store.Rev
}

// Begin begins a transaction. One that is not committed has done nothing.
func (s *Store) Begin() *Tx { return &Tx{s: s} }

// Create makes a record, on condition that there is none at key. The value is
// sealed by Commit and must stay as it is until then.
func (tx *Tx) Create(kind Kind, key string, val []byte) {
	tx.Absent(key)
	tx.change(step{kind: kind, key: key, val: notNil(val)})
}

// Put gives a record another value, on condition that it has not changed since
// it was read. The value is sealed by Commit and must stay as it is until then.
func (tx *Tx) Put(rec Record, val []byte) {
	tx.Check(rec)
	tx.change(step{kind: rec.Kind, key: rec.Key, val: notNil(val), previous: rec.Generation, rev: rec.Rev})
}

// Delete deletes a record, on condition that it has not changed since it was read.
func (tx *Tx) Delete(rec Record) {
	tx.Check(rec)
	tx.change(step{kind: rec.Kind, key: rec.Key, previous: rec.Generation, rev: rec.Rev})
}

// Check makes it a condition that the record has not changed since it was read.
func (tx *Tx) Check(rec Record) {
	if rec.Rev <= 0 {
		tx.err = fmt.Errorf("record: transaction with a record that was not read: %q", rec.Key)
		return
	}
	tx.conds = append(tx.conds, store.Cond{Key: rec.Key, Rev: rec.Rev})
}

// Absent makes it a condition that there is nothing at key.
func (tx *Tx) Absent(key string) {
	tx.conds = append(tx.conds, store.Cond{Key: key})
}

func (tx *Tx) change(st step) {
	if st.kind == 0 {
		tx.err = fmt.Errorf("record: transaction with a record of no kind: %q", st.key)
		return
	}
	tx.steps = append(tx.steps, st)
}

func notNil(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// Commit does the transaction and returns its revision, or ErrConflict if a
// condition did not hold. When it returns, the change is durable, and the
// caches of this Store show it. If the store leaves it open whether the
// transaction happened, Commit finds out, and returns [ErrUnsettled] only if
// it cannot; any other error means that it did not happen.
//
// Under [WithIntent], the note of each intent is one more change of the
// transaction.
func (tx *Tx) Commit(ctx context.Context) (store.Rev, error) {
	s := tx.s
	if tx.err != nil {
		return 0, tx.err
	}
	steps := tx.steps
	var intents []Intent
	if len(steps) > 0 {
		intents, _ = ctx.Value(intentKey{}).([]Intent)
	}
	for _, intent := range intents {
		if slot, note := intent.Note(); slot != "" {
			steps = append(steps[:len(steps):len(steps)], step{kind: KindIntent, key: IntentPrefix + slot, val: notNil(note)})
		}
	}
	ops := make([]store.Op, len(steps))
	generations := make([]uint64, len(steps))
	for i, st := range steps {
		ops[i].Key = st.key
		if st.val == nil {
			// Not a new generation: one that comes before that of any record
			// made anew at this key.
			generations[i] = st.previous + 1
			continue
		}
		generations[i] = s.issue(st.previous)
		sealed, err := s.seal(st.kind, st.key, generations[i], st.val)
		if err != nil {
			return 0, err
		}
		ops[i].Val = sealed
	}
	rev, ok, err := s.st.Commit(ctx, tx.conds, ops)
	if err != nil {
		if errors.Is(err, store.ErrTooLarge) || errors.Is(err, store.ErrClosed) {
			return 0, fmt.Errorf("committing: %w", err)
		}
		rev, err = tx.settle(ctx, ops, err)
		if err != nil {
			tx.forget()
			return 0, err
		}
		ok = true
	}
	if !ok {
		tx.forget()
		return 0, ErrConflict
	}
	for i, op := range ops {
		s.remembered.committed(op.Key, generations[i], rev)
		s.apply(op.Key, rev)
	}
	for _, intent := range intents {
		intent.Stood(rev)
	}
	return rev, nil
}

// forget drops what the caches hold of the keys that the transaction was
// about: they may not be what they were taken for.
func (tx *Tx) forget() {
	for _, c := range tx.conds {
		tx.s.drop(c.Key)
	}
}

// settleTimeout bounds how long an unknown outcome is looked into. The caller's
// own deadline is over by then, as a rule.
const settleTimeout = 2 * time.Second

// settle finds out whether a commit that ended with cause happened, and at what
// revision. A sealed value is like no other, so finding it in place is proof.
func (tx *Tx) settle(ctx context.Context, ops []store.Op, cause error) (store.Rev, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
	defer cancel()
	unsettled := func(err error) (store.Rev, error) {
		return 0, fmt.Errorf("%w: %w", ErrUnsettled, errors.Join(cause, err))
	}
	// Whatever is still under way is decided once this has gone through.
	if _, _, err := tx.s.st.Commit(ctx, nil, nil); err != nil {
		return unsettled(err)
	}
	untouched := true
	for i, op := range ops {
		kv, _, err := tx.s.st.Get(ctx, op.Key)
		if err != nil {
			return unsettled(err)
		}
		if op.Val != nil && bytes.Equal(kv.Val, op.Val) {
			return kv.Rev, nil
		}
		if i < len(tx.steps) { // of an intent's note it is not known what was there
			untouched = untouched && kv.Rev == tx.steps[i].rev
		}
	}
	if untouched {
		return 0, fmt.Errorf("committing: %w", cause)
	}
	return unsettled(nil)
}
