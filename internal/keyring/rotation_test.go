package keyring_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/keyring"
	"github.com/keyreeve/keyreeve/internal/store"
)

const day = 24 * time.Hour

// enableRotation has a key rotated, from an instant on.
func (g *rig) enableRotation(t testing.TB, id string, days int, at time.Time) {
	t.Helper()
	k, err := g.openIn(t, id, "kms:EnableKeyRotation", at)
	if err == nil {
		err = k.EnableRotation(t.Context(), days)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func (g *rig) rotateOnDemand(t testing.TB, id string, at time.Time) error {
	t.Helper()
	k, err := g.openIn(t, id, "kms:RotateKeyOnDemand", at)
	if err != nil {
		t.Fatal(err)
	}
	return k.RotateOnDemand(t.Context())
}

// makes encrypts text with a key.
func (g *rig) makes(t testing.TB, id, text string) []byte {
	t.Helper()
	blob, err := g.mustOpen(t, id, "kms:Encrypt").Encrypt(t.Context(), keyring.AlgorithmSymmetricDefault, []byte(text), nil)
	if err != nil {
		t.Fatal(err)
	}
	return blob
}

// opens fails if a blob does not give text, by the material.
func (g *rig) opens(t testing.TB, id string, blob []byte, text, material string) {
	t.Helper()
	plaintext, by, err := g.mustOpen(t, id, "kms:Decrypt").Decrypt(t.Context(), keyring.AlgorithmSymmetricDefault, blob, nil)
	if err != nil || string(plaintext.Reveal()) != text || by != material {
		t.Errorf("decrypted %q with %s: %v; want %q with %s", plaintext.Reveal(), by, err, text, material)
	}
}

// runDue does what is due at an instant.
func (g *rig) runDue(t testing.TB, at time.Time) {
	t.Helper()
	if err := g.ring.RunDue(t.Context(), at); err != nil {
		t.Fatal(err)
	}
}

// A key rotates on its day, and not a millisecond before.
func TestAutomaticRotation(t *testing.T) {
	var told []keyring.Event
	st := store.NewMem()
	g := newRig(t, st, keyring.Options{Record: func(ctx context.Context, e keyring.Event, commit func(context.Context) error) error {
		err := commit(ctx)
		if err == nil {
			told = append(told, e)
		}
		return err
	}})
	m := g.create(t, keyring.SymmetricDefault, keyring.EncryptDecrypt)
	materials := []keyring.Material{{ID: m.MaterialID, State: keyring.Current}}
	blobs := [][]byte{g.makes(t, m.ID, "0")}
	g.enableRotation(t, m.ID, 90, start)
	next := start.Add(90 * day)
	for i := 1; i <= 3; i++ {
		if due, err := g.ring.NextDue(t.Context()); err != nil || !due.Equal(next) {
			t.Fatalf("due next: %v, %v; want %v", due, err, next)
		}
		g.runDue(t, next.Add(-time.Millisecond))
		if got := g.stateAt(t, m.ID, next); got.MaterialID != materials[i-1].ID || len(told) != i-1 {
			t.Fatalf("rotated early: %+v, %v", got, told)
		}
		g.runDue(t, next)
		g.runDue(t, next)
		is := g.stateAt(t, m.ID, next)
		materials[i-1].State = keyring.NonCurrent
		materials = append(materials, keyring.Material{ID: is.MaterialID, State: keyring.Current, RotatedBy: keyring.Automatic, Rotated: next})
		want := keyring.Event{
			Name: keyring.RotateKey, Account: account, Region: region, ID: m.ID, ARN: m.ARN,
			Details: []call.Pair{
				{Name: "rotationType", Value: "AUTOMATIC"},
				{Name: "keyOrigin", Value: "AWS_KMS"},
				{Name: "previousKeyMaterialId", Value: materials[i-1].ID},
				{Name: "currentKeyMaterialId", Value: is.MaterialID},
			},
		}
		next = next.Add(90 * day)
		if !slices.Equal(is.Materials, materials) || is.Rotation != (keyring.Rotation{PeriodDays: 90, Next: next}) || is.MaterialID == materials[i-1].ID {
			t.Fatalf("rotation %d: %+v, %+v", i, is.Materials, is.Rotation)
		}
		if len(told) != i || fmt.Sprint(told[i-1]) != fmt.Sprint(want) {
			t.Errorf("told %v, want %v", told, want)
		}
		blobs = append(blobs, g.makes(t, m.ID, fmt.Sprint(i)))
		for j, blob := range blobs {
			g.opens(t, m.ID, blob, fmt.Sprint(j), materials[j].ID)
		}
	}
	if n := len(raw(t, st, "v1/due/")); n != 1 {
		t.Errorf("%d due records", n)
	}
	if n := len(raw(t, st, "v1/mat/")); n != 4 {
		t.Errorf("%d materials are stored", n)
	}
	// Another node opens them all.
	other := newRig(t, st, keyring.Options{})
	for j, blob := range blobs {
		other.opens(t, m.ID, blob, fmt.Sprint(j), materials[j].ID)
	}
	// With the key, all of them go.
	g.runDue(t, g.schedule(t, m.ID, 7*day))
	if left := raw(t, st, "v1/mat/"); len(left) != 0 {
		t.Errorf("%d materials are left of a key that was deleted", len(left))
	}
	if left := raw(t, st, "v1/due/"); len(left) != 0 {
		t.Errorf("due still: %v", left[0].Key)
	}
}

// What was missed is made up for once, and the next rotation is a period later;
// but never while the key isn't enabled.
func TestMissedRotations(t *testing.T) {
	for _, tt := range []struct {
		name         string
		stop, resume func(t *testing.T, g *rig, id string)
	}{
		{"nobody was there", func(*testing.T, *rig, string) {}, func(*testing.T, *rig, string) {}},
		{"disabled", func(t *testing.T, g *rig, id string) {
			if err := g.mustOpen(t, id, "kms:DisableKey").Disable(t.Context()); err != nil {
				t.Fatal(err)
			}
		}, func(t *testing.T, g *rig, id string) {
			if err := g.mustOpen(t, id, "kms:EnableKey").Enable(t.Context()); err != nil {
				t.Fatal(err)
			}
		}},
		{"pending deletion", func(t *testing.T, g *rig, id string) { g.schedule(t, id, 1000*day) }, func(t *testing.T, g *rig, id string) {
			if err := g.mustOpen(t, id, "kms:CancelKeyDeletion").CancelDeletion(t.Context()); err != nil {
				t.Fatal(err)
			}
			g.runDue(t, start.Add(400*day))
			if got := g.stateAt(t, id, start); len(got.Materials) != 0 {
				t.Errorf("a disabled key was rotated: %+v", got.Materials)
			}
			if err := g.mustOpen(t, id, "kms:EnableKey").Enable(t.Context()); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := newRig(t, nil, keyring.Options{})
			id := g.create(t, keyring.SymmetricDefault, keyring.EncryptDecrypt).ID
			g.enableRotation(t, id, 100, start)
			tt.stop(t, g, id)
			if tt.name != "nobody was there" {
				g.runDue(t, start.Add(400*day))
				if got := g.stateAt(t, id, start); len(got.Materials) != 0 || got.Rotation != (keyring.Rotation{PeriodDays: 100, Next: start.Add(100 * day)}) {
					t.Errorf("rotated: %+v", got)
				}
			}
			tt.resume(t, g, id)
			at := start.Add(401 * day)
			for range 3 {
				g.runDue(t, at)
			}
			got := g.stateAt(t, id, at)
			if len(got.Materials) != 2 || !got.Materials[1].Rotated.Equal(at) || !got.Rotation.Next.Equal(at.Add(100*day)) {
				t.Errorf("after the spell: %+v", got)
			}
			g.runDue(t, at.Add(100*day-time.Millisecond))
			g.runDue(t, at.Add(100*day))
			if got := g.stateAt(t, id, at); len(got.Materials) != 3 {
				t.Errorf("a period later: %+v", got.Materials)
			}
		})
	}
}

// A clock that is put back, and time that has not passed for certain, rotate
// nothing; what is due is a matter of the time that RunDue is given.
func TestRotationAndTheClock(t *testing.T) {
	now := start
	g := newRig(t, nil, keyring.Options{Now: func() time.Time { return now }})
	id := g.create(t, keyring.SymmetricDefault, keyring.EncryptDecrypt).ID
	g.enableRotation(t, id, 90, start)
	now = start.Add(5000 * day) // a clock that nobody believes
	g.runDue(t, start.Add(day))
	if got := g.stateAt(t, id, start); len(got.Materials) != 0 {
		t.Fatalf("rotated: %+v", got.Materials)
	}
	at := start.Add(91 * day)
	g.runDue(t, at)
	if got := g.stateAt(t, id, start); len(got.Materials) != 2 || !got.Materials[1].Rotated.Equal(at) || !got.Rotation.Next.Equal(at.Add(90*day)) {
		t.Errorf("rotated by the wrong clock: %+v", got)
	}
	now = start
	g.runDue(t, start)
	if got := g.stateAt(t, id, start); len(got.Materials) != 2 {
		t.Errorf("rotated by a clock that was put back: %+v", got.Materials)
	}
}

func TestRotationSettings(t *testing.T) {
	st := store.NewMem()
	g := newRig(t, st, keyring.Options{})
	id := g.create(t, keyring.SymmetricDefault, keyring.EncryptDecrypt).ID
	check := func(what string, want keyring.Rotation) {
		t.Helper()
		if got := g.stateAt(t, id, start).Rotation; got != want {
			t.Errorf("%s: %+v, want %+v", what, got, want)
		}
		if due, want := len(raw(t, st, "v1/due/")), min(want.PeriodDays, 1); due != want {
			t.Errorf("%s: %d due records, want %d", what, due, want)
		}
	}
	disable := func() {
		t.Helper()
		if err := g.mustOpen(t, id, "kms:DisableKeyRotation").DisableRotation(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	disable()
	check("never enabled", keyring.Rotation{})
	g.enableRotation(t, id, 365, start)
	check("enabled", keyring.Rotation{PeriodDays: 365, Next: start.Add(365 * day)})
	g.enableRotation(t, id, 365, start.Add(300*day))
	check("enabled again", keyring.Rotation{PeriodDays: 365, Next: start.Add(365 * day)})
	g.enableRotation(t, id, 90, start.Add(300*day))
	check("another period", keyring.Rotation{PeriodDays: 90, Next: start.Add(390 * day)})
	disable()
	check("disabled", keyring.Rotation{})
	g.enableRotation(t, id, 2560, start.Add(400*day))
	check("anew", keyring.Rotation{PeriodDays: 2560, Next: start.Add(2960 * day)})
	for _, days := range []int{-1, 0, 89, 2561, 1 << 40} {
		if err := g.mustOpen(t, id, "kms:EnableKeyRotation").EnableRotation(t.Context(), days); !errors.Is(err, keyring.ErrParameter) {
			t.Errorf("every %d days: %v", days, err)
		}
	}
}

// Which keys are rotated, and which are not.
func TestNotRotated(t *testing.T) {
	g := newRig(t, nil, keyring.Options{})
	var origin *keyring.OriginError
	for _, tt := range []struct {
		name           string
		id             string
		is             error
		automatic      func(error) bool
		onDemandWanted error
	}{
		{name: "HMAC", id: g.create(t, keyring.HMAC256, keyring.GenerateVerifyMAC).ID, is: keyring.ErrNotRotatable, onDemandWanted: keyring.ErrNotRotatable},
		{name: "asymmetric", id: g.create(t, keyring.ECCNISTP256, keyring.SignVerify).ID, is: keyring.ErrNotRotatable, onDemandWanted: keyring.ErrNotRotatable},
		{name: "imported", id: imported(t, g), automatic: func(err error) bool { return errors.As(err, &origin) && origin.Origin == keyring.External }, onDemandWanted: keyring.ErrNothingPending},
	} {
		refused := tt.automatic
		if refused == nil {
			refused = func(err error) bool { return errors.Is(err, tt.is) }
		}
		if err := g.mustOpen(t, tt.id, "kms:EnableKeyRotation").EnableRotation(t.Context(), 365); !refused(err) {
			t.Errorf("%s: EnableRotation: %v", tt.name, err)
		}
		if err := g.mustOpen(t, tt.id, "kms:DisableKeyRotation").DisableRotation(t.Context()); !refused(err) {
			t.Errorf("%s: DisableRotation: %v", tt.name, err)
		}
		if err := g.rotateOnDemand(t, tt.id, start); !errors.Is(err, tt.onDemandWanted) {
			t.Errorf("%s: RotateOnDemand: %v, want %v", tt.name, err, tt.onDemandWanted)
		}
	}
}

// imported makes a key and imports its material.
func imported(t *testing.T, g *rig) string {
	m := g.createExternal(t, keyring.SymmetricDefault, keyring.EncryptDecrypt)
	g.mustImport(t, m.ID, random(t, 32), start, nil)
	return m.ID
}

// Imported material that is pending rotation becomes the current one, if it is
// still there.
func TestRotationOfImportedMaterial(t *testing.T) {
	g := newRig(t, nil, keyring.Options{})
	id := imported(t, g)
	first := g.stateAt(t, id, start).MaterialID
	old := g.makes(t, id, "old")
	expires := start.Add(day)
	second := g.mustImport(t, id, random(t, 32), start, func(in *keyring.Import) { asNew(in); in.Expires = expires })
	if err := g.rotateOnDemand(t, id, expires); !errors.Is(err, keyring.ErrNothingPending) {
		t.Errorf("when it has expired: %v", err)
	}
	if err := g.rotateOnDemand(t, id, expires.Add(-time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	got := g.stateAt(t, id, start)
	if got.MaterialID != second || got.Rotation.OnDemand != 1 || len(got.Materials) != 2 {
		t.Errorf("rotated: %+v", got)
	}
	g.opens(t, id, old, "old", first)
	g.opens(t, id, g.makes(t, id, "new"), "new", second)
	if err := g.rotateOnDemand(t, id, start); !errors.Is(err, keyring.ErrNothingPending) {
		t.Errorf("once more: %v", err)
	}
}

func TestRotationOnDemand(t *testing.T) {
	g := newRig(t, nil, keyring.Options{})
	id := g.create(t, keyring.SymmetricDefault, keyring.EncryptDecrypt).ID
	g.enableRotation(t, id, 90, start)
	next := start.Add(90 * day)
	for _, tt := range []struct {
		before time.Duration
		want   error
	}{
		{20*time.Minute + time.Millisecond, nil},
		{20 * time.Minute, keyring.ErrRotationDue},
		{0, keyring.ErrRotationDue},
		{-day, keyring.ErrRotationDue},
	} {
		if err := g.rotateOnDemand(t, id, next.Add(-tt.before)); !errors.Is(err, tt.want) {
			t.Errorf("%v before the automatic one: %v, want %v", tt.before, err, tt.want)
		}
	}
	g.runDue(t, next)
	blobs := map[string][]byte{}
	for i := 1; i < keyring.MaxOnDemandRotations; i++ {
		m := g.stateAt(t, id, start)
		blobs[m.MaterialID] = g.makes(t, id, m.MaterialID)
		if err := g.rotateOnDemand(t, id, next); err != nil {
			t.Fatalf("rotation %d: %v", i+1, err)
		}
	}
	if err := g.rotateOnDemand(t, id, next); !errors.Is(err, keyring.ErrLimit) {
		t.Errorf("one rotation too many: %v", err)
	}
	// Automatic ones do not count, and go on.
	m := g.stateAt(t, id, start)
	if want := (keyring.Rotation{PeriodDays: 90, Next: next.Add(90 * day), OnDemand: keyring.MaxOnDemandRotations}); m.Rotation != want {
		t.Errorf("%+v, want %+v", m.Rotation, want)
	}
	g.runDue(t, next.Add(90*day))
	if got := g.stateAt(t, id, start); len(got.Materials) != 1+keyring.MaxOnDemandRotations+2 {
		t.Errorf("%d materials", len(got.Materials))
	}
	for material, blob := range blobs {
		g.opens(t, id, blob, material, material)
	}
	// Material that the key never had.
	some := m.Materials[3].ID
	rawID, err := hex.DecodeString(some)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(blobs[some], rawID) {
		t.Fatal("a blob is without its material's id")
	}
	bad := bytes.Replace(blobs[some], rawID, bytes.Repeat([]byte{7}, len(rawID)), 1)
	if _, err := g.decrypt(t, bad, nil); !errors.Is(err, keyring.ErrInvalidCiphertext) {
		t.Errorf("of no material: %v", err)
	}
}

// A rotation that fails at any commit is done by the next run, and once.
func TestRotationGoesOn(t *testing.T) {
	for _, kept := range []bool{false, true} {
		f := &faulty{Store: store.NewMem(), kept: kept}
		var told atomic.Int64
		o := keyring.Options{Record: func(ctx context.Context, _ keyring.Event, commit func(context.Context) error) error {
			told.Add(1)
			return commit(ctx)
		}}
		g := newRig(t, f, o)
		id := g.create(t, keyring.SymmetricDefault, keyring.EncryptDecrypt).ID
		g.enableRotation(t, id, 90, start)
		due := start.Add(90 * day)
		f.commits.Store(0)
		f.fail.Store(1)
		if err := g.ring.RunDue(t.Context(), due); (err == nil) != kept {
			t.Errorf("kept %t: %v", kept, err)
		}
		if n := f.commits.Load(); n != 1 {
			t.Errorf("a rotation is %d commits", n)
		}
		other := newRig(t, f, o)
		other.runDue(t, due)
		m := other.stateAt(t, id, due)
		if len(m.Materials) != 2 || len(raw(t, f, "v1/mat/")) != 2 {
			t.Errorf("kept %t: %+v, %d stored", kept, m.Materials, len(raw(t, f, "v1/mat/")))
		}
		if want := int64(2); kept {
			if told.Load() != 1 {
				t.Errorf("begun %d times", told.Load())
			}
		} else if told.Load() != want {
			t.Errorf("begun %d times, want %d", told.Load(), want)
		}
		other.opens(t, id, other.makes(t, id, "x"), "x", m.MaterialID)
	}
}

// Old material is kept like the current one: found without the store while it is
// warm, and wiped with it.
func TestOldMaterialIsCached(t *testing.T) {
	f := &faulty{Store: store.NewMem()}
	g := newRig(t, f, keyring.Options{})
	id := g.create(t, keyring.SymmetricDefault, keyring.EncryptDecrypt).ID
	var blobs [][]byte
	var materials []string
	for range 3 {
		blobs, materials = append(blobs, g.makes(t, id, "text")), append(materials, g.stateAt(t, id, start).MaterialID)
		if err := g.rotateOnDemand(t, id, start); err != nil {
			t.Fatal(err)
		}
	}
	all := func() {
		t.Helper()
		for i, blob := range blobs {
			g.opens(t, id, blob, "text", materials[i])
		}
	}
	all()
	if s := g.ring.Stats(); s.Materials != 3 || g.arena.Stats().Used != 3 {
		t.Errorf("held: %+v, %d slots", s, g.arena.Stats().Used)
	}
	reads := f.gets.Load() + f.ranges.Load()
	for range 10 {
		all()
	}
	if n := f.gets.Load() + f.ranges.Load() - reads; n != 0 {
		t.Errorf("%d reads of the store in 30 warm calls", n)
	}
	for range keyring.IdleSweeps + 1 {
		g.ring.Sweep()
	}
	if n := g.arena.Stats().Used; n != 0 {
		t.Errorf("%d slots when all are idle", n)
	}
	all()
	g.box.Lock()
	if n := g.arena.Stats().Used; n != 0 {
		t.Errorf("%d slots when the box is locked", n)
	}
	if err := g.box.Unlock(t.Context(), provider); err != nil {
		t.Fatal(err)
	}
	all()
	if err := g.mustOpen(t, id, "kms:DisableKey").Disable(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := g.arena.Stats().Used; n != 0 {
		t.Errorf("%d slots when the key is disabled", n)
	}
}

// Related keys are rotated by the one that is the primary when it is due, and
// all of them, whatever state they are in.
func TestAutomaticRotationOfRelatedKeys(t *testing.T) {
	var told []keyring.Event
	var mu sync.Mutex
	st := store.NewMem()
	g := newRig(t, st, keyring.Options{Record: func(ctx context.Context, e keyring.Event, commit func(context.Context) error) error {
		err := commit(ctx)
		if mu.Lock(); err == nil && e.Name == keyring.RotateKey {
			told = append(told, e)
		}
		mu.Unlock()
		return err
	}})
	id := g.createMRK(t, keyring.SymmetricDefault, keyring.EncryptDecrypt).ID
	g.enableRotation(t, id, 90, start)
	regions := []string{region, replicaRegion, otherRegion}
	for _, r := range regions[1:] {
		g.mustReplicate(t, region, id, r)
		if got := g.becomes(t, r, id, keyring.Enabled).Rotation; got != (keyring.Rotation{PeriodDays: 90, Next: start.Add(90 * day)}) {
			t.Errorf("%s: %+v", r, got)
		}
	}
	blobs := [][]byte{g.makes(t, id, "text")}
	rotated := func(by string, at time.Time, n int) {
		t.Helper()
		g.runDue(t, at)
		mu.Lock()
		if len(told) != n || told[n-1].Region != by {
			t.Errorf("told %v, want %d, the last in %s", told, n, by)
		}
		mu.Unlock()
		blobs = append(blobs, g.makes(t, id, "text"))
		first := g.in(t, region, id)
		for _, r := range regions {
			m := g.in(t, r, id)
			if len(m.Materials) != n+1 || !slices.Equal(m.Materials, first.Materials) || m.Rotation != (keyring.Rotation{PeriodDays: 90, Next: at.Add(90 * day)}) {
				t.Errorf("%s: %+v, %+v", r, m.Materials, m.Rotation)
			}
			if stored := len(raw(t, st, "v1/mat/"+account+"/"+r+"/")); stored != n+1 {
				t.Errorf("%s: %d materials are stored", r, stored)
			}
			if m.State != keyring.Enabled {
				continue
			}
			for _, blob := range blobs {
				if _, _, err := g.mustOpenThere(t, r, id, "kms:Decrypt").Decrypt(t.Context(), keyring.AlgorithmSymmetricDefault, blob, nil); err != nil {
					t.Errorf("%s: %v", r, err)
				}
			}
		}
	}
	if err := g.mustOpenThere(t, otherRegion, id, "kms:DisableKey").Disable(t.Context()); err != nil {
		t.Fatal(err)
	}
	rotated(region, start.Add(90*day), 1)
	var replica *keyring.NotPrimaryError
	if err := g.mustOpenThere(t, replicaRegion, id, "kms:EnableKeyRotation").EnableRotation(t.Context(), 100); !errors.As(err, &replica) {
		t.Errorf("enabled for a replica: %v", err)
	}
	if err := g.mustOpenThere(t, replicaRegion, id, "kms:DisableKeyRotation").DisableRotation(t.Context()); !errors.As(err, &replica) {
		t.Errorf("disabled for a replica: %v", err)
	}
	to := g.mustOpenThere(t, replicaRegion, id, "kms:UpdatePrimaryRegion")
	if err := g.mustOpen(t, id, "kms:UpdatePrimaryRegion").MakePrimary(t.Context(), to); err != nil {
		t.Fatal(err)
	}
	for _, r := range regions[:2] {
		g.becomes(t, r, id, keyring.Enabled)
	}
	if due := raw(t, st, "v1/due/"); len(due) != 1 || !strings.Contains(due[0].Key, "/rotate/"+account+"/"+replicaRegion+"/") {
		t.Errorf("due: %v", due)
	}
	rotated(replicaRegion, start.Add(180*day), 2)
}

// Old material that is lost is not taken for a bad ciphertext: who has the
// ciphertext would throw it away.
func TestLostMaterial(t *testing.T) {
	st := store.NewMem()
	g := newRig(t, st, keyring.Options{})
	m := g.create(t, keyring.SymmetricDefault, keyring.EncryptDecrypt)
	blob := g.makes(t, m.ID, "text")
	if err := g.rotateOnDemand(t, m.ID, start); err != nil {
		t.Fatal(err)
	}
	for _, kv := range raw(t, st, "v1/mat/") {
		if strings.HasSuffix(kv.Key, m.MaterialID) {
			if _, ok, err := st.Commit(t.Context(), nil, []store.Op{{Key: kv.Key}}); !ok || err != nil {
				t.Fatal(ok, err)
			}
		}
	}
	if _, err := g.decrypt(t, blob, nil); err == nil || errors.Is(err, keyring.ErrInvalidCiphertext) {
		t.Errorf("Decrypt: %v", err)
	}
}

// A key is rotated while others use it: everything that was ever encrypted
// opens, and nobody sees an error but that the key has changed.
func TestRotationWhileInUse(t *testing.T) {
	g := newRig(t, nil, keyring.Options{})
	id := g.create(t, keyring.SymmetricDefault, keyring.EncryptDecrypt).ID
	var mu sync.Mutex
	var blobs [][]byte
	done := make(chan struct{})
	var users sync.WaitGroup
	use := func() error {
		return keyring.Attempt(t.Context(), func() error {
			k, _, err := g.open(t, id, "kms:Encrypt")
			if err != nil {
				return err
			}
			blob, err := k.Encrypt(t.Context(), keyring.AlgorithmSymmetricDefault, []byte("text"), nil)
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			blobs = append(blobs, blob)
			return nil
		})
	}
	for i := range 4 {
		users.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-done:
					return
				default:
				}
				if err := use(); err != nil {
					t.Errorf("Encrypt: %v", err)
					return
				}
				mu.Lock()
				blob := blobs[(n*7+i)%len(blobs)]
				mu.Unlock()
				err := keyring.Attempt(t.Context(), func() error {
					_, err := g.decrypt(t, blob, nil)
					return err
				})
				if err != nil {
					t.Errorf("Decrypt: %v", err)
					return
				}
			}
		})
	}
	for range 20 {
		if err := keyring.Attempt(t.Context(), func() error { return g.rotateOnDemand(t, id, start) }); err != nil {
			t.Error(err)
		}
	}
	close(done)
	users.Wait()
	for _, blob := range blobs {
		if text, err := g.decrypt(t, blob, nil); err != nil || string(text) != "text" {
			t.Fatalf("%q, %v", text, err)
		}
	}
	if m := g.stateAt(t, id, start); len(m.Materials) != 21 {
		t.Errorf("%d materials", len(m.Materials))
	}
}

// The event of a rotation is of the commit that rotates: without it, nothing is
// rotated.
func TestNoRotationWithoutItsEvent(t *testing.T) {
	g := newRig(t, nil, keyring.Options{Record: func(_ context.Context, e keyring.Event, _ func(context.Context) error) error {
		if e.Name != keyring.RotateKey {
			t.Errorf("the event %s", e.Name)
		}
		return errFault
	}})
	id := g.create(t, keyring.SymmetricDefault, keyring.EncryptDecrypt).ID
	g.enableRotation(t, id, 90, start)
	if err := g.rotateOnDemand(t, id, start); !errors.Is(err, errFault) {
		t.Errorf("on demand: %v", err)
	}
	if err := g.ring.RunDue(t.Context(), start.Add(90*day)); !errors.Is(err, errFault) || !strings.Contains(err.Error(), "rotate") {
		t.Errorf("automatic: %v", err)
	}
	if m := g.stateAt(t, id, start); len(m.Materials) != 0 || m.Rotation.OnDemand != 0 {
		t.Errorf("rotated: %+v", m)
	}
}
