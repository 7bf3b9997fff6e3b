package keyring_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/keyring"
	"github.com/keyreeve/keyreeve/internal/store"
)

// faulty is a store whose commits can be made to fail.
type faulty struct {
	store.Store
	commits atomic.Int64
	fail    atomic.Int64 // the commit to fail, counted from 1; 0: none
	kept    bool         // the failing commit is done all the same
	gets    atomic.Int64
	ranges  atomic.Int64
}

var errFault = errors.New("the disk is on fire")

func (f *faulty) Commit(ctx context.Context, conds []store.Cond, ops []store.Op) (store.Rev, bool, error) {
	if len(ops) > 0 && f.commits.Add(1) == f.fail.Load() {
		if f.kept {
			if _, _, err := f.Store.Commit(ctx, conds, ops); err != nil {
				return 0, false, err
			}
		}
		return 0, false, errFault
	}
	return f.Store.Commit(ctx, conds, ops)
}

func (f *faulty) Get(ctx context.Context, key string) (store.KV, store.Rev, error) {
	f.gets.Add(1)
	return f.Store.Get(ctx, key)
}

func (f *faulty) Range(ctx context.Context, from, to string, limit int) ([]store.KV, store.Rev, error) {
	f.ranges.Add(1)
	return f.Store.Range(ctx, from, to, limit)
}

// raw returns what the store has below prefix.
func raw(t testing.TB, st store.Store, prefix string) []store.KV {
	t.Helper()
	kvs, _, err := st.Range(t.Context(), prefix, store.PrefixEnd(prefix), 1000)
	if err != nil {
		t.Fatal(err)
	}
	return kvs
}

func (g *rig) schedule(t testing.TB, id string, window time.Duration) time.Time {
	t.Helper()
	due, err := g.mustOpen(t, id, "kms:ScheduleKeyDeletion").ScheduleDeletion(t.Context(), window)
	if err != nil {
		t.Fatal(err)
	}
	return due
}

func TestRunDue(t *testing.T) {
	st := store.NewMem()
	var told []keyring.Deletion
	g := newRig(t, st, keyring.Options{Deleted: func(_ context.Context, d keyring.Deletion) error {
		told = append(told, d)
		return nil
	}})
	doomed := g.create(t, keyring.SymmetricDefault, keyring.EncryptDecrypt)
	spared := g.create(t, keyring.SymmetricDefault, keyring.EncryptDecrypt)
	later := g.create(t, keyring.SymmetricDefault, keyring.EncryptDecrypt)
	for i := range 50 {
		if err := g.createAlias(t, doomed.ID, fmt.Sprint("alias/doomed", i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := g.createAlias(t, spared.ID, "alias/spared"); err != nil {
		t.Fatal(err)
	}
	blob, err := g.mustOpen(t, doomed.ID, "kms:Encrypt").Encrypt(t.Context(), keyring.AlgorithmSymmetricDefault, []byte("x"), nil)
	if err != nil {
		t.Fatal(err)
	}
	due := g.schedule(t, doomed.ID, 7*24*time.Hour)
	g.schedule(t, spared.ID, 7*24*time.Hour)
	if err := g.mustOpen(t, spared.ID, "kms:CancelKeyDeletion").CancelDeletion(t.Context()); err != nil {
		t.Fatal(err)
	}
	g.schedule(t, later.ID, 8*24*time.Hour)
	if next, err := g.ring.NextDue(t.Context()); err != nil || !next.Equal(due) {
		t.Errorf("NextDue = %v, %v; want %v", next, err, due)
	}

	before := len(raw(t, st, "v1/"))
	if err := g.ring.RunDue(t.Context(), due.Add(-time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if n := len(raw(t, st, "v1/")); n != before || len(told) != 0 {
		t.Fatalf("a millisecond early, %d records became %d, told %v", before, n, told)
	}
	if err := g.ring.RunDue(t.Context(), due); err != nil {
		t.Fatal(err)
	}
	for _, kv := range raw(t, st, "v1/") {
		if strings.Contains(kv.Key, doomed.ID) || strings.Contains(kv.Key, "doomed") {
			t.Errorf("still there: %s", kv.Key)
		}
	}
	want := keyring.Deletion{Account: account, Region: region, ID: doomed.ID, ARN: doomed.ARN, Due: due, MaterialIDs: []string{doomed.MaterialID}}
	if len(told) != 1 || fmt.Sprint(told[0]) != fmt.Sprint(want) {
		t.Errorf("told %v, want %v", told, want)
	}
	if _, err := g.ring.Find(t.Context(), account, region, doomed.ID); !errors.Is(err, keyring.ErrNotFound) {
		t.Errorf("Find: %v", err)
	}
	if _, err := g.decrypt(t, blob, nil); !errors.Is(err, keyring.ErrNotFound) {
		t.Errorf("decrypting: %v", err)
	}
	if _, err := g.ring.FindAlias(t.Context(), account, region, "alias/doomed7"); !errors.Is(err, keyring.ErrNotFound) {
		t.Errorf("FindAlias: %v", err)
	}
	if s, err := g.ring.FindAlias(t.Context(), account, region, "alias/spared"); err != nil || s.ID() != spared.ID {
		t.Errorf("the key that was spared: %v", err)
	}
	if next, err := g.ring.NextDue(t.Context()); err != nil || !next.Equal(due.Add(24*time.Hour)) {
		t.Errorf("NextDue = %v, %v", next, err)
	}
	// The name is free again.
	if err := g.createAlias(t, spared.ID, "alias/doomed7"); err != nil {
		t.Error(err)
	}
}

// A run is killed at each of its commits, once before and once after it took
// effect, and another node goes on.
func TestRunDueGoesOn(t *testing.T) {
	for _, kept := range []bool{false, true} {
		for n := int64(1); ; n++ {
			f := &faulty{Store: store.NewMem(), kept: kept}
			var told atomic.Int64
			count := func(context.Context, keyring.Deletion) error { told.Add(1); return nil }
			g := newRig(t, f, keyring.Options{Deleted: count})
			m := g.create(t, keyring.SymmetricDefault, keyring.EncryptDecrypt)
			other := g.create(t, keyring.SymmetricDefault, keyring.EncryptDecrypt)
			for i := range 50 {
				if err := g.createAlias(t, m.ID, fmt.Sprint("alias/", i)); err != nil {
					t.Fatal(err)
				}
			}
			due := g.schedule(t, m.ID, time.Hour)
			f.commits.Store(0)
			f.fail.Store(n)
			err := g.ring.RunDue(t.Context(), due)
			made := f.commits.Load()
			f.fail.Store(0)
			if !kept && made >= n && err == nil {
				t.Errorf("commit %d failed and RunDue did not say so", n)
			}
			if made >= 1 && err != nil && n > 1 {
				// Half destroyed, it is gone for everybody.
				if _, err := g.ring.Find(t.Context(), account, region, m.ID); !errors.Is(err, keyring.ErrNotFound) {
					t.Errorf("after failing at commit %d, Find: %v", n, err)
				}
				if ids := g.keys(t, "", 10); len(ids) != 1 || ids[0] != other.ID {
					t.Errorf("after failing at commit %d, keys: %v", n, ids)
				}
			}
			second := newRig(t, f, keyring.Options{Deleted: count})
			if err := second.ring.RunDue(t.Context(), due); err != nil {
				t.Errorf("second run after commit %d: %v", n, err)
			}
			for _, kv := range raw(t, f, "v1/") {
				if !strings.Contains(kv.Key, other.ID) && kv.Key != "v1/sys/seal" {
					t.Errorf("after commit %d (kept: %t), left: %s", n, kept, kv.Key)
				}
			}
			if k := told.Load(); k < 1 || k > 2 {
				t.Errorf("after commit %d, told %d times", n, k)
			}
			if made < n {
				if n < 5 {
					t.Errorf("a deletion is %d commits, fewer than this test is about", n-1)
				}
				break
			}
		}
	}
}

func TestDeletionIsToldBeforeTheRecordGoes(t *testing.T) {
	g := newRig(t, nil, keyring.Options{Deleted: func(context.Context, keyring.Deletion) error { return errFault }})
	m := g.create(t, keyring.SymmetricDefault, keyring.EncryptDecrypt)
	due := g.schedule(t, m.ID, time.Hour)
	for range 2 {
		if err := g.ring.RunDue(t.Context(), due); !errors.Is(err, errFault) {
			t.Errorf("RunDue: %v, want the error of Deleted", err)
		}
	}
	if n := len(raw(t, g.store, "v1/key/")); n != 1 {
		t.Errorf("%d key records, want 1", n)
	}
	if n := len(raw(t, g.store, "v1/mat/")); n != 0 {
		t.Errorf("%d materials, want none", n)
	}
	var bad *keyring.StateError
	if _, _, err := g.open(t, m.ID, "kms:CancelKeyDeletion"); !errors.Is(err, keyring.ErrNotFound) || errors.As(err, &bad) {
		t.Errorf("canceling it: %v, want ErrNotFound", err)
	}
}

// A key that fails does not keep others from being destroyed.
func TestRunDueLeavesWhatFails(t *testing.T) {
	var broken string
	g := newRig(t, nil, keyring.Options{Deleted: func(_ context.Context, d keyring.Deletion) error {
		if d.ID == broken {
			return errFault
		}
		return nil
	}})
	broken = g.create(t, keyring.SymmetricDefault, keyring.EncryptDecrypt).ID
	due := g.schedule(t, broken, time.Hour)
	for range 3 {
		g.schedule(t, g.create(t, keyring.SymmetricDefault, keyring.EncryptDecrypt).ID, 2*time.Hour)
	}
	if err := g.ring.RunDue(t.Context(), due.Add(time.Hour)); !errors.Is(err, errFault) {
		t.Errorf("RunDue: %v", err)
	}
	if n := len(raw(t, g.store, "v1/key/")); n != 1 {
		t.Errorf("%d keys left, want 1", n)
	}
}
