package keyring_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/keyring"
	"github.com/keyreeve/keyreeve/internal/store"
)

// TestImportsAtRandom does whatever can be done to a key whose material is
// imported, in any order, while time goes by and jobs run or don't, and looks
// after each step that the key works just if all is there that it needs, that what
// it says of itself is so, and that nothing is left of what is gone.
func TestImportsAtRandom(t *testing.T) {
	t.Parallel()
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			(&importWalk{t: t, r: rand.New(rand.NewPCG(seed, 6)), at: start}).walk(120)
		})
	}
}

type importWalk struct {
	t     *testing.T
	r     *rand.Rand
	g     *rig
	st    store.Store
	id    string
	at    time.Time
	raw   [4][]byte // material
	ids   map[string]bool
	blobs map[string][]byte // by the material that made it
}

func (w *importWalk) walk(steps int) {
	t := w.t
	w.st = store.NewMem()
	w.g = newRig(t, w.st, keyring.Options{Now: func() time.Time { return w.at }})
	m := w.g.createExternal(t, keyring.SymmetricDefault, keyring.EncryptDecrypt)
	w.id, w.blobs, w.ids = m.ID, map[string][]byte{}, map[string]bool{}
	for i := range w.raw {
		w.raw[i] = random(t, 32)
	}
	var log []string
	for range steps {
		what, err := w.step()
		log = append(log, what)
		if err != nil && !expected(err) {
			t.Fatalf("%s: %v", strings.Join(log, ", "), err)
		}
		if problem := w.look(); problem != "" {
			t.Fatalf("%s: %s", strings.Join(log, ", "), problem)
		}
	}
}

// expected reports whether an error is one that a step may end with.
func expected(err error) bool {
	var state *keyring.StateError
	var pending *keyring.PendingMaterialError
	return errors.As(err, &state) || errors.As(err, &pending) || errors.Is(err, keyring.ErrKeyMaterial) ||
		errors.Is(err, keyring.ErrNotFound) || errors.Is(err, keyring.ErrNothingPending) || errors.Is(err, keyring.ErrLimit)
}

// do opens the key for an action, now.
func (w *importWalk) do(action string, f func(k keyring.Key) error) error {
	k, err := w.g.openIn(w.t, w.id, action, w.at)
	if err != nil {
		return err
	}
	return f(k)
}

func (w *importWalk) step() (string, error) {
	ctx := w.t.Context()
	switch n := w.r.IntN(20); {
	case n < 8:
		i, kind := w.r.IntN(len(w.raw)), []keyring.ImportType{"", keyring.NewMaterial, keyring.ExistingMaterial}[w.r.IntN(3)]
		var until time.Time
		if w.r.IntN(2) == 0 {
			until = w.at.Add(time.Duration(1+w.r.IntN(4)) * time.Hour)
		}
		err := w.do("kms:ImportKeyMaterial", func(k keyring.Key) error {
			in := w.g.wrapped(w.t, k.Metadata().ARN, w.raw[i])
			in.Type, in.Expires = kind, until
			id, err := k.Import(ctx, in)
			if err == nil {
				w.ids[id] = true
			}
			return err
		})
		return fmt.Sprintf("import %d %s until %v", i, kind, until.Sub(start)), err
	case n < 10:
		id := ""
		for known := range w.ids {
			if w.r.IntN(2) == 0 {
				id = known
			}
		}
		return "delete " + short(id), w.do("kms:DeleteImportedKeyMaterial", func(k keyring.Key) error { _, err := k.DeleteMaterial(ctx, id); return err })
	case n < 13:
		return "rotate", w.do("kms:RotateKeyOnDemand", func(k keyring.Key) error { return k.RotateOnDemand(ctx) })
	case n < 14:
		return "disable", w.do("kms:DisableKey", func(k keyring.Key) error { return k.Disable(ctx) })
	case n < 15:
		return "enable", w.do("kms:EnableKey", func(k keyring.Key) error { return k.Enable(ctx) })
	case n < 16:
		return "schedule", w.do("kms:ScheduleKeyDeletion", func(k keyring.Key) error { _, err := k.ScheduleDeletion(ctx, 10000*time.Hour); return err })
	case n < 17:
		return "cancel", w.do("kms:CancelKeyDeletion", func(k keyring.Key) error { return k.CancelDeletion(ctx) })
	case n < 19:
		d := time.Duration(w.r.IntN(120)) * time.Minute
		w.at = w.at.Add(d)
		return fmt.Sprintf("wait %v", d), nil
	}
	return "jobs", w.g.ring.RunDue(ctx, w.at)
}

func short(id string) string { return id[:min(len(id), 6)] }

// look returns what is wrong with the key now.
func (w *importWalk) look() string {
	t, ctx := w.t, w.t.Context()
	m := w.g.stateAt(t, w.id, w.at)
	complete, waiting, current := m.MaterialID != "", 0, 0
	here := map[string]bool{}
	for _, mat := range m.Materials {
		switch mat.State {
		case keyring.Current, keyring.NonCurrent:
			complete = complete && mat.Imported
			if mat.State == keyring.Current {
				current++
				if mat.ID != m.MaterialID {
					return "the current material is another one"
				}
			}
		default:
			waiting++
		}
		if mat.Imported {
			here[mat.ID] = true
			if !mat.Expires.IsZero() && !mat.Expires.After(w.at) {
				return "an expired material is here"
			}
		}
	}
	switch {
	case waiting > 1:
		return "two materials are pending rotation"
	case m.MaterialID != "" && current != 1:
		return fmt.Sprintf("%d materials are current", current)
	case (m.State == keyring.Enabled || m.State == keyring.Disabled) && !complete:
		return fmt.Sprintf("the key is %s without all of its material", m.State)
	case m.State == keyring.PendingImport && complete:
		return "the key is pending import, with all of its material"
	}
	stored := map[string]bool{}
	for _, kv := range raw(t, w.st, "v1/mat/") {
		stored[kv.Key[strings.LastIndexByte(kv.Key, '/')+1:]] = true
	}
	for id := range here {
		if !stored[id] {
			return "material " + short(id) + " is not stored"
		}
	}
	err := w.do("kms:Encrypt", func(k keyring.Key) error {
		blob, err := k.Encrypt(ctx, keyring.AlgorithmSymmetricDefault, []byte(m.MaterialID), nil)
		w.blobs[m.MaterialID] = blob
		return err
	})
	if (err == nil) != (m.State == keyring.Enabled) {
		return fmt.Sprintf("Encrypt with a key that is %s: %v", m.State, err)
	}
	for id, blob := range w.blobs {
		err := w.do("kms:Decrypt", func(k keyring.Key) error {
			plaintext, by, err := k.Decrypt(ctx, keyring.AlgorithmSymmetricDefault, blob, nil)
			if err == nil && (by != id || string(plaintext.Reveal()) != id) {
				return errors.New("not what was encrypted")
			}
			return err
		})
		if (err == nil) != (m.State == keyring.Enabled) {
			return fmt.Sprintf("Decrypt of %s with a key that is %s: %v", short(id), m.State, err)
		}
	}
	// Once the jobs have run, nothing is stored but what is here, and nothing is
	// due but what is said.
	if w.r.IntN(3) > 0 {
		return ""
	}
	if err := w.g.ring.RunDue(ctx, w.at); err != nil {
		return err.Error()
	}
	if after := w.g.stateAt(t, w.id, w.at); after.State != m.State || !slices.Equal(after.Materials, m.Materials) {
		return fmt.Sprintf("the jobs made %+v of %+v", after, m)
	}
	if n := len(raw(t, w.st, "v1/mat/")); n != len(here) {
		return fmt.Sprintf("%d materials are stored, and %d here", n, len(here))
	}
	due := map[time.Time]bool{}
	for _, mat := range m.Materials {
		if mat.Imported && !mat.Expires.IsZero() {
			due[mat.Expires] = true
		}
	}
	if m.State == keyring.PendingDeletion {
		due[m.Deletion] = true
	}
	if n := len(raw(t, w.st, "v1/due/")); n != len(due) {
		return fmt.Sprintf("%d due records, want %d", n, len(due))
	}
	return ""
}

// TestRelatedImportsAtRandom is the same for related keys in three Regions: what
// they share is the same everywhere, and each works just if it has all for itself.
func TestRelatedImportsAtRandom(t *testing.T) {
	t.Parallel()
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			g := newRig(t, nil, keyring.Options{})
			c := newCall()
			m, err := g.ring.Create(t.Context(), c, permit(t, c, "kms:CreateKey", anyResource()), keyring.CreateParams{
				Account: account, Region: region, Spec: keyring.SymmetricDefault, Usage: keyring.EncryptDecrypt, Origin: keyring.External, MultiRegion: true,
			})
			if err != nil {
				t.Fatal(err)
			}
			w := &relatedWalk{t: t, r: rand.New(rand.NewPCG(seed, 7)), g: g, id: m.ID, regions: []string{region}}
			for i := range w.raw {
				w.raw[i] = random(t, 32)
			}
			for range 60 {
				what, err := w.step()
				w.log = append(w.log, what)
				if err != nil && !expected(err) {
					t.Fatalf("%s: %v", strings.Join(w.log, ", "), err)
				}
				if problem := w.look(); problem != "" {
					t.Fatalf("%s: %s", strings.Join(w.log, ", "), problem)
				}
			}
		})
	}
}

type relatedWalk struct {
	t       *testing.T
	r       *rand.Rand
	g       *rig
	id      string
	regions []string
	raw     [4][]byte
	log     []string
}

// in does something to the key of a Region.
func (w *relatedWalk) in(region, action string, f func(k keyring.Key) error) error {
	return keyring.Attempt(w.t.Context(), func() error {
		k, err := w.g.openThere(w.t, region, w.id, action)
		if err != nil {
			return err
		}
		return f(k)
	})
}

func (w *relatedWalk) step() (string, error) {
	ctx := w.t.Context()
	where := w.regions[w.r.IntN(len(w.regions))]
	primary := w.g.in(w.t, where, w.id).MultiRegion.Primary
	switch n := w.r.IntN(18); {
	case n < 4:
		for _, material := range w.raw { // whatever it lacks
			err := w.in(where, "kms:ImportKeyMaterial", func(k keyring.Key) error {
				in := w.g.wrapped(w.t, k.Metadata().ARN, material)
				in.Type = keyring.ExistingMaterial
				_, err := k.Import(ctx, in)
				return err
			})
			if err != nil && !errors.Is(err, keyring.ErrKeyMaterial) {
				return "import all into " + where, err
			}
		}
		return "import all into " + where, nil
	case n < 8:
		i, kind := w.r.IntN(len(w.raw)), []keyring.ImportType{"", keyring.NewMaterial, keyring.ExistingMaterial}[w.r.IntN(3)]
		return fmt.Sprintf("import %d %s into %s", i, kind, where), w.in(where, "kms:ImportKeyMaterial", func(k keyring.Key) error {
			in := w.g.wrapped(w.t, k.Metadata().ARN, w.raw[i])
			in.Type = kind
			_, err := k.Import(ctx, in)
			var replica *keyring.NotPrimaryError
			if errors.As(err, &replica) && where != primary {
				return nil
			}
			return err
		})
	case n < 9:
		id := ""
		if all := w.g.in(w.t, where, w.id).Materials; len(all) > 0 {
			id = all[w.r.IntN(len(all))].ID
		}
		return "delete " + short(id) + " of " + where, w.in(where, "kms:DeleteImportedKeyMaterial", func(k keyring.Key) error { _, err := k.DeleteMaterial(ctx, id); return err })
	case n < 11:
		return "rotate", w.in(primary, "kms:RotateKeyOnDemand", func(k keyring.Key) error { return k.RotateOnDemand(ctx) })
	case n < 12:
		return "disable " + where, w.in(where, "kms:DisableKey", func(k keyring.Key) error { return k.Disable(ctx) })
	case n < 14:
		return "enable " + where, w.in(where, "kms:EnableKey", func(k keyring.Key) error { return k.Enable(ctx) })
	case n < 16 && len(w.regions) < 3:
		to := []string{replicaRegion, otherRegion}[len(w.regions)-1]
		_, err := w.g.replicate(w.t, primary, w.id, keyring.ReplicaParams{Region: to})
		if err == nil {
			w.regions = append(w.regions, to)
		}
		return "replicate to " + to, err
	}
	if where == primary {
		return "nothing", nil
	}
	return "make " + where + " the primary", w.in(primary, "kms:UpdatePrimaryRegion", func(k keyring.Key) error {
		replica, err := w.g.openThere(w.t, where, w.id, "kms:UpdatePrimaryRegion")
		if err != nil {
			return err
		}
		return k.MakePrimary(ctx, replica)
	})
}

func (w *relatedWalk) look() string {
	var all []*keyring.Metadata
	for _, region := range w.regions {
		m := w.g.in(w.t, region, w.id)
		for m.State == keyring.Creating || m.State == keyring.Updating {
			if w.t.Context().Err() != nil {
				return "the key stays " + string(m.State)
			}
			time.Sleep(time.Millisecond)
			m = w.g.in(w.t, region, w.id)
		}
		all = append(all, m)
	}
	for _, m := range all {
		complete := m.MaterialID != ""
		for i, mat := range m.Materials {
			permanent := mat.State == keyring.Current || mat.State == keyring.NonCurrent
			complete = complete && (!permanent || mat.Imported)
			if len(all[0].Materials) != len(m.Materials) || all[0].Materials[i].ID != mat.ID || all[0].Materials[i].State != mat.State {
				return fmt.Sprintf("the materials differ: %+v and %+v", all[0].Materials, m.Materials)
			}
		}
		switch {
		case m.MaterialID != all[0].MaterialID || m.MultiRegion.Primary != all[0].MultiRegion.Primary:
			return fmt.Sprintf("related keys differ: %+v and %+v", all[0], m)
		case (m.State == keyring.Enabled || m.State == keyring.Disabled) && !complete:
			return fmt.Sprintf("the key of %s is %s without all of its material", m.Region, m.State)
		case m.State == keyring.PendingImport && complete:
			return "the key of " + m.Region + " is pending import, with all of its material"
		}
		if _, err := w.g.openThere(w.t, m.Region, w.id, "kms:Encrypt"); (err == nil) != (m.State == keyring.Enabled) {
			return fmt.Sprintf("the key of %s is %s: %v", m.Region, m.State, err)
		}
	}
	stored := len(raw(w.t, w.g.store, "v1/mat/"))
	for _, m := range all {
		for _, mat := range m.Materials {
			if mat.Imported {
				stored--
			}
		}
	}
	if stored != 0 {
		return fmt.Sprintf("%d materials too many are stored", stored)
	}
	return ""
}
