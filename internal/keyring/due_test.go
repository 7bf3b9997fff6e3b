package keyring_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/keyring"
	"github.com/keyreeve/keyreeve/internal/record"
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
	var told []keyring.Event
	g := newRig(t, st, keyring.Options{Record: func(ctx context.Context, d keyring.Event, remove func(context.Context) error) error {
		told = append(told, d)
		return remove(ctx)
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
	want := keyring.Event{Name: keyring.DeleteKey, Account: account, Region: region, ID: doomed.ID, ARN: doomed.ARN}
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
			count := func(ctx context.Context, _ keyring.Event, remove func(context.Context) error) error {
				err := remove(ctx)
				if err == nil {
					told.Add(1)
				}
				return err
			}
			g := newRig(t, f, keyring.Options{Record: count})
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
			second := newRig(t, f, keyring.Options{Record: count})
			if err := second.ring.RunDue(t.Context(), due); err != nil {
				t.Errorf("second run after commit %d: %v", n, err)
			}
			for _, kv := range raw(t, f, "v1/") {
				if !strings.Contains(kv.Key, other.ID) && kv.Key != "v1/sys/seal" {
					t.Errorf("after commit %d (kept: %t), left: %s", n, kept, kv.Key)
				}
			}
			// If nobody could tell whether the removal happened, and it did, nobody
			// knows: but what stands in the same commit does.
			if k := told.Load(); k > 1 || k == 0 && !kept {
				t.Errorf("after commit %d (kept: %t), removed %d times", n, kept, k)
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

func TestRecordStaysUntilItIsRemoved(t *testing.T) {
	g := newRig(t, nil, keyring.Options{Record: func(context.Context, keyring.Event, func(context.Context) error) error { return errFault }})
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
	g := newRig(t, nil, keyring.Options{Record: func(ctx context.Context, d keyring.Event, remove func(context.Context) error) error {
		if d.ID == broken {
			return errFault
		}
		return remove(ctx)
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

// spoil changes what the store has at a key, so that it does not open.
func spoil(t testing.TB, st store.Store, key string) {
	t.Helper()
	kv, _, err := st.Get(t.Context(), key)
	if err != nil || kv.Rev == 0 {
		t.Fatalf("%s: %v", key, err)
	}
	kv.Val[len(kv.Val)-1] ^= 1
	if _, _, err := st.Commit(t.Context(), nil, []store.Op{{Key: key, Val: kv.Val}}); err != nil {
		t.Fatal(err)
	}
}

func discard(t testing.TB, st store.Store, key string) {
	t.Helper()
	if _, _, err := st.Commit(t.Context(), nil, []store.Op{{Key: key}}); err != nil {
		t.Fatal(err)
	}
}

// Damage of any record stops no other key's destruction, nor that of its own
// key as long as the key's record is right.
func TestRunDueGoesByTheKeysRecord(t *testing.T) {
	g := newRig(t, nil, keyring.Options{Log: slog.New(slog.DiscardHandler)})
	broken := g.create(t, keyring.SymmetricDefault, keyring.EncryptDecrypt)
	canceled := g.create(t, keyring.SymmetricDefault, keyring.EncryptDecrypt)
	damaged := g.create(t, keyring.SymmetricDefault, keyring.EncryptDecrypt)
	sound := g.create(t, keyring.SymmetricDefault, keyring.EncryptDecrypt)
	if err := g.createAlias(t, damaged.ID, "alias/damaged"); err != nil {
		t.Fatal(err)
	}
	g.schedule(t, broken.ID, time.Hour)
	g.schedule(t, canceled.ID, time.Hour)
	g.schedule(t, damaged.ID, time.Hour)
	due := g.schedule(t, sound.ID, 2*time.Hour)
	for _, kv := range raw(t, g.store, "v1/due/") {
		if !strings.HasSuffix(kv.Key, sound.ID) {
			spoil(t, g.store, kv.Key)
		}
	}
	if next, err := g.ring.NextDue(t.Context()); err != nil || !next.Equal(start.Add(time.Hour)) {
		t.Errorf("NextDue = %v, %v", next, err)
	}
	if err := g.mustOpen(t, canceled.ID, "kms:CancelKeyDeletion").CancelDeletion(t.Context()); err != nil {
		t.Errorf("CancelDeletion: %v", err)
	}
	spoil(t, g.store, "v1/key/"+account+"/"+region+"/"+broken.ID)
	for _, prefix := range []string{"v1/mat/", "v1/aliasof/"} {
		for _, kv := range raw(t, g.store, prefix+account+"/"+region+"/"+damaged.ID) {
			spoil(t, g.store, kv.Key)
		}
	}
	if err := g.ring.RunDue(t.Context(), due); !errors.Is(err, record.ErrTampered) {
		t.Errorf("RunDue: %v, want that one could not be destroyed", err)
	}
	for _, kv := range raw(t, g.store, "v1/") {
		if strings.Contains(kv.Key, damaged.ID) || strings.Contains(kv.Key, "damaged") || strings.Contains(kv.Key, sound.ID) {
			t.Errorf("still there: %s", kv.Key)
		}
	}
	// That of the key that can't be read stays, for when it is restored.
	if left := raw(t, g.store, "v1/due/"); len(left) != 1 || !strings.HasSuffix(left[0].Key, broken.ID) {
		t.Errorf("due records left: %v", left)
	}
	if _, err := g.ring.Find(t.Context(), account, region, canceled.ID); err != nil {
		t.Errorf("the key that was spared: %v", err)
	}
}

// A key whose due record is lost is destroyed all the same, if later; also one
// that was half destroyed. The first run, at the start of a node, looks for none.
func TestLostDueRecords(t *testing.T) {
	fail := true
	f := &faulty{Store: store.NewMem()}
	g := newRig(t, f, keyring.Options{Log: slog.New(slog.DiscardHandler), Record: func(ctx context.Context, _ keyring.Event, remove func(context.Context) error) error {
		if fail {
			return errFault
		}
		return remove(ctx)
	}})
	half := g.create(t, keyring.SymmetricDefault, keyring.EncryptDecrypt)
	due := g.schedule(t, half.ID, time.Hour)
	if err := g.ring.RunDue(t.Context(), due); !errors.Is(err, errFault) {
		t.Fatal(err)
	}
	fail = false
	whole := g.create(t, keyring.SymmetricDefault, keyring.EncryptDecrypt)
	spared := g.create(t, keyring.SymmetricDefault, keyring.EncryptDecrypt)
	broken := g.create(t, keyring.SymmetricDefault, keyring.EncryptDecrypt)
	due = g.schedule(t, whole.ID, 2*time.Hour)
	for _, kv := range raw(t, f, "v1/due/") {
		discard(t, f, kv.Key)
	}
	spoil(t, f, "v1/key/"+account+"/"+region+"/"+broken.ID)

	second := newRig(t, f, keyring.Options{Log: slog.New(slog.DiscardHandler)})
	ranges := f.ranges.Load()
	if err := second.ring.RunDue(t.Context(), due); err != nil {
		t.Fatal(err)
	}
	if n := f.ranges.Load() - ranges; n != 1 || len(raw(t, f, "v1/due/")) != 0 {
		t.Errorf("the first run did %d lists, want 1", n)
	}
	if err := second.ring.RunDue(t.Context(), due); err != nil {
		t.Fatal(err)
	}
	if left := raw(t, f, "v1/due/"); len(left) != 2 {
		t.Errorf("due records: %v, want those of two keys", left)
	}
	if err := second.ring.RunDue(t.Context(), due); err != nil {
		t.Fatal(err)
	}
	for _, kv := range raw(t, f, "v1/") {
		if strings.Contains(kv.Key, half.ID) || strings.Contains(kv.Key, whole.ID) {
			t.Errorf("still there: %s", kv.Key)
		}
	}
	if _, err := second.ring.Find(t.Context(), account, region, spared.ID); err != nil {
		t.Errorf("the key that was spared: %v", err)
	}

	// Not again before the next day.
	lost := g.create(t, keyring.SymmetricDefault, keyring.EncryptDecrypt)
	g.schedule(t, lost.ID, time.Hour)
	for _, kv := range raw(t, f, "v1/due/") {
		discard(t, f, kv.Key)
	}
	for _, tt := range []struct {
		after time.Duration
		want  int
	}{{24*time.Hour - 1, 0}, {24 * time.Hour, 1}} {
		if err := second.ring.RunDue(t.Context(), due.Add(tt.after)); err != nil {
			t.Fatal(err)
		}
		if n := len(raw(t, f, "v1/due/")); n != tt.want {
			t.Errorf("%v later, %d due records, want %d", tt.after, n, tt.want)
		}
	}
}

// All keys are looked through, however many: a part in each run.
func TestLostDueRecordsAmongMany(t *testing.T) {
	g := newRig(t, nil, keyring.Options{})
	var last string
	for i := range keyring.RemindKeys + 1 {
		last = g.seed(t, fmt.Sprintf("%08d-1111-4111-8111-111111111111", i), keyring.SymmetricDefault, keyring.EncryptDecrypt, make([]byte, 32)).ID
	}
	due := g.schedule(t, last, time.Hour)
	for _, kv := range raw(t, g.store, "v1/due/") {
		discard(t, g.store, kv.Key)
	}
	for run, want := range []int{0, 0, 1} {
		if err := g.ring.RunDue(t.Context(), due.Add(-time.Minute)); err != nil {
			t.Fatal(err)
		}
		if n := len(raw(t, g.store, "v1/due/")); n != want {
			t.Errorf("after run %d: %d due records, want %d", run+1, n, want)
		}
	}
}

// A damaged record is missing from a list, and nothing else is.
func TestListsPassOverDamage(t *testing.T) {
	var log bytes.Buffer
	g := newRig(t, nil, keyring.Options{Log: slog.New(slog.NewTextHandler(&log, nil)), KeysPerRegion: 6})
	var ids []string
	for i := range 5 {
		ids = append(ids, g.seed(t, fmt.Sprintf("%08d-1111-4111-8111-111111111111", i), keyring.SymmetricDefault, keyring.EncryptDecrypt, make([]byte, 32)).ID)
		for _, name := range []string{"a", "b"} {
			if err := g.createAlias(t, ids[i], fmt.Sprintf("alias/%s%d", name, i)); err != nil {
				t.Fatal(err)
			}
		}
	}
	spoil(t, g.store, "v1/key/"+account+"/"+region+"/"+ids[1])
	spoil(t, g.store, "v1/alias/"+account+"/"+region+"/alias/a2")
	spoil(t, g.store, "v1/aliasof/"+account+"/"+region+"/"+ids[3]+"/alias/a3")
	for _, limit := range []int{1, 2, 3, 4, 5, 100} {
		var got []string
		for after := ""; ; {
			page := g.keys(t, after, limit)
			got = append(got, page...)
			if n := len(got); n == 0 || got[n-1] != "…" {
				break
			}
			got = got[:len(got)-1]
			after = got[len(got)-1]
		}
		if want := []string{ids[0], ids[2], ids[3], ids[4]}; !slices.Equal(got, want) {
			t.Errorf("in pages of %d: %v, want %v", limit, got, want)
		}
	}
	if got, want := g.aliases(t, "", "", 100), "a00 a10 a30 a40 b00 b10 b20 b30 b40"; got != want {
		t.Errorf("aliases: %s, want %s", got, want)
	}
	if got, want := g.aliases(t, ids[3], "", 100), "b30"; got != want {
		t.Errorf("aliases of a key: %s, want %s", got, want)
	}
	for _, key := range []string{"v1/key/" + account + "/" + region + "/" + ids[1], "alias/a2", "alias/a3"} {
		if !strings.Contains(log.String(), key) {
			t.Errorf("the log does not name %s:\n%s", key, &log)
		}
	}
	// The limit on keys counts it, and is not stopped by it.
	again := newRig(t, g.store, keyring.Options{KeysPerRegion: 6})
	again.create(t, keyring.SymmetricDefault, keyring.EncryptDecrypt)
	c := newCall()
	_, err := again.ring.Create(t.Context(), c, permit(t, c, "kms:CreateKey", anyResource()),
		keyring.CreateParams{Account: account, Region: region, Spec: keyring.SymmetricDefault, Usage: keyring.EncryptDecrypt})
	if !errors.Is(err, keyring.ErrLimit) {
		t.Errorf("one key too many: %v", err)
	}
}
