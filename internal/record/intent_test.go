package record_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/keyreeve/keyreeve/internal/record"
	"github.com/keyreeve/keyreeve/internal/store"
)

// purpose is an intent.
type purpose struct {
	slot, note string
	asked      int
	stood      []store.Rev
}

func (p *purpose) Note() (string, []byte) {
	p.asked++
	if p.note == "" {
		return p.slot, nil
	}
	return p.slot, []byte(p.note)
}

func (p *purpose) Stood(rev store.Rev) { p.stood = append(p.stood, rev) }

// note returns the note in a slot; "" if there is none.
func note(t testing.TB, s *record.Store, slot string) string {
	t.Helper()
	rec, err := s.Get(t.Context(), record.KindIntent, record.IntentPrefix+slot)
	if err != nil && !errors.Is(err, record.ErrNotFound) {
		t.Fatal(err)
	}
	return string(rec.Value)
}

func TestIntent(t *testing.T) {
	s, st := newStore(t)
	p := &purpose{slot: "1", note: "a is made"}
	ctx := record.WithIntent(t.Context(), p)
	commits := 0
	st.commit = func(ctx context.Context, conds []store.Cond, ops []store.Op) (store.Rev, bool, error) {
		commits++
		return st.Store.Commit(ctx, conds, ops)
	}
	tx := s.Begin()
	tx.Create(record.KindKey, keyA, []byte("a"))
	rev, err := tx.Commit(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if got := note(t, s, "1"); got != p.note || commits != 1 || !slices.Equal(p.stood, []store.Rev{rev}) {
		t.Errorf("the note is %q after %d commits, stood at %v, want %d", got, commits, p.stood, rev)
	}

	// Another takes its place, whatever was there.
	p.note = "a is changed"
	tx = s.Begin()
	tx.Put(mustGet(t, s, keyA), []byte("b"))
	if _, err := tx.Commit(ctx); err != nil || note(t, s, "1") != p.note {
		t.Errorf("a second commit: %v, the note is %q", err, note(t, s, "1"))
	}

	// What does not happen leaves none.
	p.note, p.stood = "a is made again", nil
	tx = s.Begin()
	tx.Create(record.KindKey, keyA, []byte("c"))
	if _, err := tx.Commit(ctx); !errors.Is(err, record.ErrConflict) || note(t, s, "1") != "a is changed" || p.stood != nil {
		t.Errorf("a conflict: %v, the note is %q, stood at %v", err, note(t, s, "1"), p.stood)
	}

	// What changes nothing has none, nor what has no slot.
	p.asked = 0
	tx = s.Begin()
	tx.Check(mustGet(t, s, keyA))
	if _, err := tx.Commit(ctx); err != nil || p.asked != 0 || p.stood != nil {
		t.Errorf("a commit without changes: %v, asked %d times", err, p.asked)
	}
	tx = s.Begin()
	tx.Create(record.KindKey, keyB, []byte("b"))
	if _, err := tx.Commit(record.WithIntent(t.Context(), &purpose{})); err != nil {
		t.Error(err)
	}
	tx = s.Begin()
	tx.Delete(mustGet(t, s, keyB))
	if _, err := tx.Commit(t.Context()); err != nil {
		t.Error(err)
	}
	keys, err := s.Keys(t.Context(), record.IntentPrefix, "", 10)
	if err != nil || len(keys) != 1 {
		t.Errorf("notes: %v, %v", keys, err)
	}
}

// Who is asked for a change has an intent, and so may whoever makes it.
func TestIntents(t *testing.T) {
	s, _ := newStore(t)
	asked, made, alone := &purpose{slot: "1", note: "asked for"}, &purpose{slot: "2", note: "made"}, &purpose{slot: "3", note: "alone"}
	outer := record.WithIntent(t.Context(), asked)
	inner := record.WithIntent(outer, made)
	_ = record.WithIntent(outer, alone) // beside it, and not of it
	tx := s.Begin()
	tx.Create(record.KindKey, keyA, []byte("a"))
	rev, err := tx.Commit(inner)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []*purpose{asked, made} {
		if got := note(t, s, p.slot); got != p.note || !slices.Equal(p.stood, []store.Rev{rev}) {
			t.Errorf("the note is %q, stood at %v; want %q, %d", got, p.stood, p.note, rev)
		}
	}
	if got := note(t, s, alone.slot); got != "" || alone.asked != 0 {
		t.Errorf("the note of another context is %q, asked %d times", got, alone.asked)
	}
	tx = s.Begin()
	tx.Delete(mustGet(t, s, keyA))
	if _, err := tx.Commit(outer); err != nil || asked.asked != 2 || made.asked != 1 {
		t.Errorf("a commit of the outer: %v, asked %d and %d times", err, asked.asked, made.asked)
	}
}

// A commit of which the store does not say whether it happened is found out
// about with its note.
func TestIntentSettles(t *testing.T) {
	lost := errors.New("connection lost")
	for _, happened := range []bool{true, false} {
		s, st := newStore(t)
		p := &purpose{slot: "1", note: "old"}
		ctx := record.WithIntent(t.Context(), p)
		a := create(t, s, keyA, "old")
		tx := s.Begin()
		tx.Put(a, []byte("new"))
		if _, err := tx.Commit(ctx); err != nil {
			t.Fatal(err)
		}
		p.note, p.stood = "new", nil
		st.commit = func(ctx context.Context, conds []store.Cond, ops []store.Op) (store.Rev, bool, error) {
			st.commit = nil
			if happened {
				if _, ok, err := st.Store.Commit(ctx, conds, ops); !ok || err != nil {
					t.Error(ok, err)
				}
			}
			return 0, false, lost
		}
		tx = s.Begin()
		tx.Delete(mustGet(t, s, keyA)) // leaves no value to know it by
		_, err := tx.Commit(ctx)
		if happened && (err != nil || len(p.stood) != 1 || note(t, s, "1") != "new") {
			t.Errorf("it happened: %v, stood at %v, the note is %q", err, p.stood, note(t, s, "1"))
		}
		if !happened && (!errors.Is(err, lost) || errors.Is(err, record.ErrUnsettled) || p.stood != nil || note(t, s, "1") != "old") {
			t.Errorf("it did not: %v, stood at %v, the note is %q", err, p.stood, note(t, s, "1"))
		}
	}
}
