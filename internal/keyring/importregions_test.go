package keyring_test

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/keyring"
	"github.com/keyreeve/keyreeve/internal/store"
)

// importsThere imports material into a key of a Region.
func (g *rig) importsThere(t testing.TB, region, id string, material []byte, edit func(*keyring.Import)) (string, error) {
	t.Helper()
	var materialID string
	err := keyring.Attempt(t.Context(), func() error {
		k, err := g.openThere(t, region, id, "kms:ImportKeyMaterial")
		if err != nil {
			return err
		}
		in := g.wrapped(t, k.Metadata().ARN, material)
		if edit != nil {
			edit(&in)
		}
		materialID, err = k.Import(t.Context(), in)
		return err
	})
	return materialID, err
}

func (g *rig) mustImportThere(t testing.TB, region, id string, material []byte, edit func(*keyring.Import)) string {
	t.Helper()
	materialID, err := g.importsThere(t, region, id, material, edit)
	if err != nil {
		t.Fatal(err)
	}
	return materialID
}

func (g *rig) deletesThere(t testing.TB, region, id, material string) {
	t.Helper()
	err := keyring.Attempt(t.Context(), func() error {
		k, err := g.openThere(t, region, id, "kms:DeleteImportedKeyMaterial")
		if err != nil {
			return err
		}
		_, err = k.DeleteMaterial(t.Context(), material)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Each of related keys wants the same material, and has it for itself. The
// primary is where a new one comes first, and what is rotated.
func TestImportAcrossRegions(t *testing.T) {
	st := store.NewMem()
	g := newRig(t, st, keyring.Options{})
	ctx := t.Context()
	c := newCall()
	m, err := g.ring.Create(ctx, c, permit(t, c, "kms:CreateKey", anyResource()), keyring.CreateParams{
		Account: account, Region: region, Spec: keyring.SymmetricDefault, Usage: keyring.EncryptDecrypt, Origin: keyring.External, MultiRegion: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	first, second := random(t, 32), random(t, 32)
	one := g.mustImportThere(t, region, m.ID, first, until(start.Add(1000*time.Hour)))
	g.mustReplicate(t, region, m.ID, replicaRegion)
	g.becomes(t, replicaRegion, m.ID, keyring.PendingImport)
	if now := g.in(t, replicaRegion, m.ID); now.State != keyring.PendingImport || now.MaterialID != one || len(now.Materials) != 1 || now.Materials[0].Imported {
		t.Errorf("a replica of a key that has material: %+v", now)
	}
	if _, err := g.importsThere(t, replicaRegion, m.ID, second, nil); !errors.Is(err, keyring.ErrKeyMaterial) {
		t.Errorf("other material than the primary's: %v", err)
	}
	if same := g.mustImportThere(t, replicaRegion, m.ID, first, until(start.Add(time.Hour))); same != one {
		t.Errorf("the material is %s here and %s there", one, same)
	}
	if now := g.in(t, replicaRegion, m.ID); now.State != keyring.Enabled {
		t.Errorf("the replica with the material is %s", now.State)
	}
	blob, err := g.mustOpenThere(t, region, m.ID, "kms:Encrypt").Encrypt(ctx, keyring.AlgorithmSymmetricDefault, []byte("x"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if plaintext, _, err := g.mustOpenThere(t, replicaRegion, m.ID, "kms:Decrypt").Decrypt(ctx, keyring.AlgorithmSymmetricDefault, blob, nil); err != nil || string(plaintext.Reveal()) != "x" {
		t.Errorf("Decrypt in the other Region: %v", err)
	}

	// A new one waits until it is in all Regions.
	states := func(want ...keyring.MaterialState) {
		t.Helper()
		for _, r := range []string{region, replicaRegion} {
			var got []keyring.MaterialState
			for _, mat := range g.in(t, r, m.ID).Materials {
				got = append(got, mat.State)
			}
			if !slices.Equal(got, want) {
				t.Errorf("in %s the materials are %v, want %v", r, got, want)
			}
		}
	}
	two := g.mustImportThere(t, region, m.ID, second, asNew)
	states(keyring.Current, keyring.PendingMultiRegionImportAndRotation)
	if err := g.mustOpenThere(t, region, m.ID, "kms:RotateKeyOnDemand").RotateOnDemand(ctx); !errors.Is(err, keyring.ErrNothingPending) {
		t.Errorf("a rotation before it is everywhere: %v", err)
	}
	if _, err := g.importsThere(t, replicaRegion, m.ID, second, asNew); !errors.Is(err, keyring.ErrKeyMaterial) {
		t.Errorf("what the primary has, as new to the replica: %v", err)
	}
	var primary *keyring.NotPrimaryError
	if _, err := g.importsThere(t, replicaRegion, m.ID, random(t, 32), asNew); !errors.As(err, &primary) {
		t.Errorf("what the primary has not, as new to the replica: %v", err)
	}
	g.mustImportThere(t, replicaRegion, m.ID, second, func(in *keyring.Import) { in.Type, in.MaterialID = keyring.ExistingMaterial, two })
	states(keyring.Current, keyring.PendingRotation)

	// The primary's goes from all; a replica's from itself alone.
	g.deletesThere(t, region, m.ID, two)
	states(keyring.Current)
	if n := len(raw(t, st, "v1/mat/")); n != 2 {
		t.Errorf("%d materials are stored, want 2", n)
	}
	g.mustImportThere(t, region, m.ID, second, asNew)
	g.mustImportThere(t, replicaRegion, m.ID, second, withID(two))
	g.deletesThere(t, replicaRegion, m.ID, two)
	if now := g.in(t, region, m.ID); now.State != keyring.Enabled || !now.Materials[1].Imported {
		t.Errorf("the primary after its replica's was deleted: %+v", now)
	}
	if now := g.in(t, replicaRegion, m.ID); now.State != keyring.Enabled || now.Materials[1].Imported {
		t.Errorf("the replica after its was deleted: %+v", now)
	}
	if err := g.mustOpenThere(t, region, m.ID, "kms:RotateKeyOnDemand").RotateOnDemand(ctx); !errors.Is(err, keyring.ErrNothingPending) {
		t.Errorf("a rotation while a replica has it not: %v", err)
	}
	g.mustImportThere(t, replicaRegion, m.ID, second, withID(two))
	states(keyring.Current, keyring.PendingRotation)
	if err := g.mustOpenThere(t, region, m.ID, "kms:RotateKeyOnDemand").RotateOnDemand(ctx); err != nil {
		t.Fatal(err)
	}
	states(keyring.NonCurrent, keyring.Current)
	for _, r := range []string{region, replicaRegion} {
		if now := g.in(t, r, m.ID); now.MaterialID != two || now.State != keyring.Enabled {
			t.Errorf("in %s after the rotation: %+v", r, now)
		}
	}

	// What expires in one Region is there in the other.
	if err := g.ring.RunDue(ctx, start.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if now := g.in(t, replicaRegion, m.ID); now.State != keyring.PendingImport || now.Materials[0].Imported {
		t.Errorf("the replica after its material has expired: %+v", now)
	}
	if now := g.in(t, region, m.ID); now.State != keyring.Enabled {
		t.Errorf("the primary after a replica's material has expired is %s", now.State)
	}
}

// withID imports material that has an id.
func withID(id string) func(*keyring.Import) {
	return func(in *keyring.Import) { in.MaterialID = id }
}

// A key whose material goes while its primary Region is being changed is pending
// import all the same, and comes out of the change as it is then.
func TestMaterialGoesWhileUpdating(t *testing.T) {
	for _, again := range []bool{false, true} {
		var held atomic.Bool
		g := newRig(t, nil, keyring.Options{Record: func(ctx context.Context, e keyring.Event, commit func(context.Context) error) error {
			if e.Name == keyring.SynchronizeMultiRegionKey && held.Load() {
				return errFault
			}
			return commit(ctx)
		}})
		ctx := t.Context()
		c := newCall()
		m, err := g.ring.Create(ctx, c, permit(t, c, "kms:CreateKey", anyResource()), keyring.CreateParams{
			Account: account, Region: region, Spec: keyring.SymmetricDefault, Usage: keyring.EncryptDecrypt, Origin: keyring.External, MultiRegion: true,
		})
		if err != nil {
			t.Fatal(err)
		}
		material, at := random(t, 32), start.Add(time.Hour)
		g.mustImportThere(t, region, m.ID, material, until(at))
		g.mustReplicate(t, region, m.ID, replicaRegion)
		g.becomes(t, replicaRegion, m.ID, keyring.PendingImport)
		held.Store(true)
		g.mustImportThere(t, replicaRegion, m.ID, material, nil)
		err = keyring.Attempt(ctx, func() error {
			return g.mustOpenThere(t, region, m.ID, "kms:UpdatePrimaryRegion").MakePrimary(ctx, g.mustOpenThere(t, replicaRegion, m.ID, "kms:UpdatePrimaryRegion"))
		})
		if err != nil {
			t.Fatal(err)
		}
		state := func(when string, at time.Time, want keyring.State) {
			t.Helper()
			if got := g.stateAt(t, m.ID, at).State; got != want {
				t.Errorf("%s the key is %s, want %s", when, got, want)
			}
		}
		state("before its material has expired", at.Add(-time.Millisecond), keyring.Updating)
		state("before the job has run", at, keyring.PendingImport)
		if err := g.ring.RunDue(ctx, at); err != nil && !errors.Is(err, errFault) {
			t.Fatal(err)
		}
		state("after the job has run", at, keyring.PendingImport)
		want := keyring.PendingImport
		if again {
			g.mustImport(t, m.ID, material, at, nil)
			state("with its material again", at, keyring.Updating)
			want = keyring.Enabled
		}
		held.Store(false)
		if err := g.ring.RunDue(ctx, at); err != nil {
			t.Fatal(err)
		}
		state("after the change", at, want)
	}
}

// What a material is described as, the primary key says, and all related keys know:
// those that are made later, and those that there are.
func TestDescriptionAcrossRegions(t *testing.T) {
	t.Parallel()
	g := newRig(t, store.NewMem(), keyring.Options{})
	described := func(text string) func(*keyring.Import) {
		return func(in *keyring.Import) { in.Description = &text }
	}
	c := newCall()
	m, err := g.ring.Create(t.Context(), c, permit(t, c, "kms:CreateKey", anyResource()), keyring.CreateParams{
		Account: account, Region: region, Spec: keyring.SymmetricDefault, Usage: keyring.EncryptDecrypt, Origin: keyring.External, MultiRegion: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	material := random(t, 32)
	g.mustImportThere(t, region, m.ID, material, described("one"))
	g.mustReplicate(t, region, m.ID, replicaRegion)
	g.becomes(t, replicaRegion, m.ID, keyring.PendingImport)
	for _, want := range []string{"one", "two"} {
		if got := g.in(t, replicaRegion, m.ID).Materials[0]; got.Description != want {
			t.Errorf("the replica says %q, want %q", got.Description, want)
		}
		g.mustImportThere(t, region, m.ID, material, described("two"))
	}
}
