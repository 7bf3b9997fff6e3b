package keyring_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/authz"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/keyring"
	"github.com/keyreeve/keyreeve/internal/record"
	"github.com/keyreeve/keyreeve/internal/store"
)

const (
	replicaRegion = "eu-west-1"
	otherRegion   = "us-east-1"
)

// createMRK makes a multi-Region primary key.
func (g *rig) createMRK(t testing.TB, s keyring.Spec, u keyring.Usage) *keyring.Metadata {
	t.Helper()
	c := newCall()
	m, err := g.ring.Create(t.Context(), c, permit(t, c, "kms:CreateKey", anyResource()),
		keyring.CreateParams{Account: account, Region: region, Spec: s, Usage: u, MultiRegion: true})
	if err != nil {
		t.Fatalf("Create(%s, %s): %v", s, u, err)
	}
	return m
}

// openThere opens a key of a Region, in a call there.
func (g *rig) openThere(t testing.TB, region, id, action string) (keyring.Key, error) {
	t.Helper()
	s, err := g.ring.Find(t.Context(), account, region, id)
	if err != nil {
		return keyring.Key{}, err
	}
	c := newCall()
	c.Region = region
	return g.ring.Open(t.Context(), c, permit(t, c, action, s.Resource()))
}

func (g *rig) mustOpenThere(t testing.TB, region, id, action string) keyring.Key {
	t.Helper()
	k, err := g.openThere(t, region, id, action)
	if err != nil {
		t.Fatalf("Open(%s in %s for %s): %v", id, region, action, err)
	}
	return k
}

// replicate makes a replica in a Region, and tries again if the key changes
// meanwhile.
func (g *rig) replicate(t testing.TB, from, id string, params keyring.ReplicaParams) (m *keyring.Metadata, err error) {
	t.Helper()
	err = keyring.Attempt(t.Context(), func() error {
		k, err := g.openThere(t, from, id, "kms:ReplicateKey")
		if err != nil {
			return err
		}
		there := newCall()
		there.Region = params.Region
		m, err = k.Replicate(t.Context(), there, permit(t, there, "kms:CreateKey", anyResource()), params)
		return err
	})
	return m, err
}

func (g *rig) mustReplicate(t testing.TB, from, id, to string) *keyring.Metadata {
	t.Helper()
	m, err := g.replicate(t, from, id, keyring.ReplicaParams{Region: to})
	if err != nil {
		t.Fatalf("Replicate(%s to %s): %v", id, to, err)
	}
	return m
}

// in returns what a key of a Region is now.
func (g *rig) in(t testing.TB, region, id string) *keyring.Metadata {
	t.Helper()
	var k keyring.Key
	err := keyring.Attempt(t.Context(), func() (err error) {
		k, err = g.openThere(t, region, id, "kms:DescribeKey")
		return err
	})
	if err != nil {
		t.Fatalf("Open(%s in %s): %v", id, region, err)
	}
	return k.Metadata()
}

// becomes waits until a key of a Region is in a state.
func (g *rig) becomes(t testing.TB, region, id string, want keyring.State) *keyring.Metadata {
	t.Helper()
	for range 30_000 {
		if m := g.in(t, region, id); m.State == want {
			return m
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatalf("%s is not %s", id, want)
	return nil
}

// gate is a Record that lets nothing through before it is open.
type gate struct {
	mu     sync.Mutex
	events []keyring.Event
	opened chan struct{}
}

func newGate() *gate { return &gate{opened: make(chan struct{})} }

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	close(g.opened)
}

func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.opened = make(chan struct{})
}

func (g *gate) record(ctx context.Context, e keyring.Event, commit func(context.Context) error) error {
	g.mu.Lock()
	opened := g.opened
	g.mu.Unlock()
	select {
	case <-opened:
	case <-ctx.Done():
		return ctx.Err()
	}
	err := commit(ctx)
	if err == nil {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.events = append(g.events, e)
	}
	return err
}

func (g *gate) told() []keyring.Event {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.events)
}

func sameSet(t *testing.T, g *rig, id, primary string, regions ...string) {
	t.Helper()
	for _, r := range regions {
		m := g.in(t, r, id)
		if m.MultiRegion == nil || m.MultiRegion.Primary != primary || !slices.Equal(m.MultiRegion.Regions, regions) {
			t.Errorf("%s knows %+v, want the primary in %s, all in %s", m.ARN, m.MultiRegion, primary, regions)
		}
		if m.IsPrimary() != (r == primary) || m.IsReplica() == (r == primary) {
			t.Errorf("%s: primary %v, replica %v", m.ARN, m.IsPrimary(), m.IsReplica())
		}
	}
}

func TestReplicate(t *testing.T) {
	hook := newGate()
	g := newRig(t, nil, keyring.Options{Record: hook.record})
	primary := g.createMRK(t, keyring.SymmetricDefault, keyring.EncryptDecrypt)
	if !strings.HasPrefix(primary.ID, "mrk-") || len(primary.ID) != 36 || !primary.IsPrimary() || primary.HasReplicas() {
		t.Fatalf("%s: %+v", primary.ID, primary.MultiRegion)
	}
	tags := []keyring.Tag{{Key: "a", Value: "b"}}
	m, err := g.replicate(t, region, primary.ID, keyring.ReplicaParams{Region: replicaRegion, Description: "other", Tags: tags})
	if err != nil {
		t.Fatal(err)
	}
	if m.State != keyring.Creating || m.ID != primary.ID || m.Region != replicaRegion || m.Description != "other" || !slices.Equal(m.Tags, tags) ||
		m.MaterialID != primary.MaterialID || m.Policy != keyring.DefaultPolicy(replicaRegion, account) {
		t.Errorf("%+v", m)
	}
	sameSet(t, g, primary.ID, region, region, replicaRegion)
	var state *keyring.StateError
	for _, action := range []string{"kms:Encrypt", "kms:Decrypt", "kms:EnableKey", "kms:DisableKey", "kms:CreateGrant", "kms:CancelKeyDeletion", "kms:ReplicateKey", "kms:UpdatePrimaryRegion"} {
		if _, err := g.openThere(t, replicaRegion, m.ID, action); !errors.As(err, &state) || state.State != keyring.Creating {
			t.Errorf("%s of a key that is being made: %v", action, err)
		}
	}
	// What belongs to the replica alone can be changed already.
	if err := g.mustOpenThere(t, replicaRegion, m.ID, "kms:UpdateKeyDescription").SetDescription(t.Context(), "early"); err != nil {
		t.Error(err)
	}
	hook.open()
	if m = g.becomes(t, replicaRegion, primary.ID, keyring.Enabled); m.Description != "early" || m.MaterialID != primary.MaterialID {
		t.Errorf("%+v", m)
	}
	told := hook.told()
	if len(told) != 1 || told[0].Name != keyring.SynchronizeMultiRegionKey || told[0].ARN != primary.ARN || told[0].Region != region || !keyring.IsKeyID(told[0].RequestID) {
		t.Errorf("told %+v", told)
	}
	if left := raw(t, g.store, "v1/due/"); len(left) != 0 {
		t.Errorf("still due: %v", left)
	}
	// The one opens what the other has sealed.
	blobs := map[string][]byte{}
	for _, r := range []string{region, replicaRegion} {
		if blobs[r], err = g.mustOpenThere(t, r, m.ID, "kms:Encrypt").Encrypt(t.Context(), keyring.AlgorithmSymmetricDefault, []byte(r), nil); err != nil {
			t.Fatal(err)
		}
	}
	for from, blob := range blobs {
		for _, to := range []string{region, replicaRegion} {
			plain, id, err := g.mustOpenThere(t, to, m.ID, "kms:Decrypt").Decrypt(t.Context(), keyring.AlgorithmSymmetricDefault, blob, nil)
			if err != nil || string(plain.Reveal()) != from || id != primary.MaterialID {
				t.Errorf("%s opens what %s sealed: %q, %v", to, from, plain.Reveal(), err)
			}
		}
	}
	// Their sealed tokens are bound to their own ARNs, and differ.
	tokens := raw(t, g.store, "v1/mat/")
	if len(tokens) != 2 || bytes.Equal(tokens[0].Val, tokens[1].Val) {
		t.Errorf("%d tokens", len(tokens))
	}
}

// Every spec: what is made with the one key is good with the other.
func TestReplicaHasTheMaterial(t *testing.T) {
	g := newRig(t, nil, keyring.Options{})
	message := []byte("message")
	for _, test := range []struct {
		spec      keyring.Spec
		algorithm keyring.Algorithm
	}{
		{keyring.ECCNISTP256, keyring.ECDSASHA256},
		{keyring.ECCSECGP256K1, keyring.ECDSASHA256},
		{keyring.ECCEdwards25519, keyring.ED25519SHA512},
		{keyring.RSA2048, keyring.RSASSAPSSSHA256},
		{keyring.MLDSA44, keyring.MLDSASHAKE256},
	} {
		m := g.createMRK(t, test.spec, keyring.SignVerify)
		g.mustReplicate(t, region, m.ID, replicaRegion)
		g.becomes(t, replicaRegion, m.ID, keyring.Enabled)
		for from, to := range map[string]string{region: replicaRegion, replicaRegion: region} {
			signature, err := g.mustOpenThere(t, from, m.ID, "kms:Sign").Sign(t.Context(), test.algorithm, message, false)
			if err != nil {
				t.Fatal(test.spec, err)
			}
			if ok, err := g.mustOpenThere(t, to, m.ID, "kms:Verify").Verify(t.Context(), test.algorithm, message, false, signature); err != nil || !ok {
				t.Errorf("%s: %s verifies what %s signed: %v, %v", test.spec, to, from, ok, err)
			}
		}
	}
	m := g.createMRK(t, keyring.HMAC384, keyring.GenerateVerifyMAC)
	g.mustReplicate(t, region, m.ID, replicaRegion)
	g.becomes(t, replicaRegion, m.ID, keyring.Enabled)
	mac, err := g.mustOpenThere(t, replicaRegion, m.ID, "kms:GenerateMac").GenerateMAC(t.Context(), keyring.HMACSHA384, message)
	if err != nil {
		t.Fatal(err)
	}
	if ok, err := g.mustOpenThere(t, region, m.ID, "kms:VerifyMac").VerifyMAC(t.Context(), keyring.HMACSHA384, message, mac); err != nil || !ok {
		t.Errorf("HMAC: %v, %v", ok, err)
	}
}

func TestReplicateIsRefused(t *testing.T) {
	g := newRig(t, nil, keyring.Options{KeysPerRegion: 1})
	single := g.create(t, keyring.SymmetricDefault, keyring.EncryptDecrypt)
	g.ring.LimitKeys(2)
	m := g.createMRK(t, keyring.HMAC256, keyring.GenerateVerifyMAC)
	g.ring.LimitKeys(1)
	g.mustReplicate(t, region, m.ID, replicaRegion)
	g.becomes(t, replicaRegion, m.ID, keyring.Enabled)

	var none *keyring.NotPrimaryError
	for _, test := range []struct {
		name   string
		from   string
		id     string
		params keyring.ReplicaParams
		want   any
	}{
		{"single-Region", region, single.ID, keyring.ReplicaParams{Region: otherRegion}, &none},
		{"replica", replicaRegion, m.ID, keyring.ReplicaParams{Region: otherRegion}, &none},
		{"there", region, m.ID, keyring.ReplicaParams{Region: replicaRegion}, keyring.ErrExists},
		{"itself", region, m.ID, keyring.ReplicaParams{Region: region}, keyring.ErrExists},
		{"another partition", region, m.ID, keyring.ReplicaParams{Region: "cn-north-1"}, keyring.ErrParameter},
		{"no Region", region, m.ID, keyring.ReplicaParams{Region: "a/b"}, keyring.ErrParameter},
		{"tags", region, m.ID, keyring.ReplicaParams{Region: otherRegion, Tags: make([]keyring.Tag, keyring.MaxTags+1)}, keyring.ErrTooManyTags},
		{"policy", region, m.ID, keyring.ReplicaParams{Region: otherRegion, Policy: strings.Repeat(" ", keyring.MaxPolicy+1)}, keyring.ErrParameter},
	} {
		_, err := g.replicate(t, test.from, test.id, test.params)
		switch want := test.want.(type) {
		case error:
			if !errors.Is(err, want) {
				t.Errorf("%s: %v, want %v", test.name, err, want)
			}
		default:
			if !errors.As(err, want) {
				t.Errorf("%s: %v, want %T", test.name, err, want)
			}
		}
	}
	// As many keys as the Region may have.
	other := newCall()
	other.Region = otherRegion
	if _, err := g.ring.Create(t.Context(), other, permit(t, other, "kms:CreateKey", anyResource()), keyring.CreateParams{
		Account: account, Region: otherRegion, Spec: keyring.HMAC256, Usage: keyring.GenerateVerifyMAC,
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := g.replicate(t, region, m.ID, keyring.ReplicaParams{Region: otherRegion}); !errors.Is(err, keyring.ErrLimit) {
		t.Errorf("one key too many: %v", err)
	}
	// A permit for the key's creation in another Region, by another call, or for
	// something else.
	k := g.mustOpen(t, m.ID, "kms:ReplicateKey")
	here, there := newCall(), newCall()
	there.Region = "ap-south-1"
	create := permit(t, there, "kms:CreateKey", anyResource())
	for name, try := range map[string]func() error{
		"another Region": func() error {
			return second(k.Replicate(t.Context(), there, create, keyring.ReplicaParams{Region: "sa-east-1"}))
		},
		"another call": func() error {
			return second(k.Replicate(t.Context(), here, create, keyring.ReplicaParams{Region: region}))
		},
		"no permit": func() error {
			return second(k.Replicate(t.Context(), there, authz.Permit{}, keyring.ReplicaParams{Region: "ap-south-1"}))
		},
		"the system's permit": func() error {
			return second(k.Replicate(t.Context(), nil, authz.System("seed").Permit("kms:CreateKey", anyResource()), keyring.ReplicaParams{Region: "ap-south-1"}))
		},
		"another action": func() error {
			return second(k.Replicate(t.Context(), there, permit(t, there, "kms:ListKeys", anyResource()), keyring.ReplicaParams{Region: "ap-south-1"}))
		},
		"another account": func() error {
			return second(k.Replicate(t.Context(), there, foreign(t, there), keyring.ReplicaParams{Region: "ap-south-1"}))
		},
	} {
		if err := try(); !errors.Is(err, authz.ErrNoPermit) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if len(g.in(t, region, m.ID).MultiRegion.Regions) != 2 {
		t.Error("something was made")
	}
}

// foreign is a permit to make keys in another account.
func foreign(t testing.TB, c *call.Call) authz.Permit {
	t.Helper()
	other := *c
	other.Caller = admin("444455556666")
	return permit(t, &other, "kms:CreateKey", authz.Resource{ARN: "*", Account: "444455556666"})
}

// A process that ends at any commit of the job leaves a replica that the next
// RunDue makes whole.
func TestReplicaIsMadeGood(t *testing.T) {
	for _, test := range []struct {
		lost int64 // of the first process: the commit that fails; 0: it ends before the second
		fail int64 // of the second process
	}{{1, 0}, {1, 1}, {1, 2}, {0, 1}} {
		t.Run(fmt.Sprint(test), func(t *testing.T) {
			st := &faulty{Store: store.NewMem()}
			hook := newGate()
			g := newRig(t, st, keyring.Options{Record: hook.record})
			m := g.createMRK(t, keyring.SymmetricDefault, keyring.EncryptDecrypt)
			hook.open()
			for range 2 {
				if err := g.mustOpen(t, m.ID, "kms:RotateKeyOnDemand").RotateOnDemand(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			hook.shut()
			before := st.commits.Load() + 1 // that of Replicate
			if test.lost > 0 {
				st.fail.Store(before + test.lost)
			}
			g.mustReplicate(t, region, m.ID, replicaRegion)
			for range 30_000 {
				if st.commits.Load() > before {
					break // the material was stored, or not
				}
				time.Sleep(time.Millisecond)
			}
			g.ring.Close()
			if got := decodedState(t, g, replicaRegion, m.ID); got != keyring.Creating {
				t.Fatalf("the replica is %s", got)
			}
			after := newRig(t, st, keyring.Options{})
			if test.fail > 0 {
				st.fail.Store(st.commits.Load() + test.fail)
				if err := after.ring.RunDue(t.Context(), start); !errors.Is(err, errFault) {
					t.Errorf("RunDue: %v", err)
				}
			}
			if err := after.ring.RunDue(t.Context(), start); err != nil {
				t.Error(err)
			}
			if got := after.in(t, replicaRegion, m.ID); got.State != keyring.Enabled || len(got.Materials) != 3 {
				t.Errorf("%+v", got)
			}
			if left := raw(t, st, "v1/due/"); len(left) != 0 {
				t.Errorf("still due: %v", left)
			}
			if n := len(raw(t, st, "v1/mat/"+account+"/"+replicaRegion)); n != 3 {
				t.Errorf("%d materials", n)
			}
		})
	}
}

// decodedState is the state that the record of a key says.
func decodedState(t *testing.T, g *rig, region, id string) keyring.State {
	t.Helper()
	key := "v1/key/" + account + "/" + region + "/" + id
	rec, err := g.records.Get(t.Context(), record.KindKey, key)
	if err != nil {
		t.Fatal(err)
	}
	m, err := keyring.DecodeKeyRecord(key, rec.Value)
	if err != nil {
		t.Fatal(err)
	}
	return m.State
}

func TestMakePrimary(t *testing.T) {
	hook := newGate()
	g := newRig(t, nil, keyring.Options{Record: hook.record})
	m := g.createMRK(t, keyring.SymmetricDefault, keyring.EncryptDecrypt)
	if err := g.mustOpen(t, m.ID, "kms:EnableKeyRotation").EnableRotation(t.Context(), 90); err != nil {
		t.Fatal(err)
	}
	hook.open()
	for _, r := range []string{replicaRegion, otherRegion} {
		g.mustReplicate(t, region, m.ID, r)
		g.becomes(t, r, m.ID, keyring.Enabled)
	}
	hook.shut()
	move := func(from, to string) error {
		return keyring.Attempt(t.Context(), func() error {
			a, err := g.openThere(t, from, m.ID, "kms:UpdatePrimaryRegion")
			if err != nil {
				return err
			}
			b, err := g.openThere(t, to, m.ID, "kms:UpdatePrimaryRegion")
			if err != nil {
				return err
			}
			return a.MakePrimary(t.Context(), b)
		})
	}
	if err := move(region, replicaRegion); err != nil {
		t.Fatal(err)
	}
	sameSet(t, g, m.ID, replicaRegion, region, replicaRegion, otherRegion)
	// The former primary waits for the gate.
	if got := g.in(t, region, m.ID); got.State != keyring.Updating || got.MultiRegion.Resume != keyring.Enabled {
		t.Errorf("%+v", got)
	}
	g.becomes(t, replicaRegion, m.ID, keyring.Enabled) // which is no event of its own
	if got := g.in(t, otherRegion, m.ID); got.State != keyring.Enabled {
		t.Errorf("%+v", got)
	}
	// It goes on working, and some things can't be done with it.
	if _, err := g.mustOpen(t, m.ID, "kms:Encrypt").Encrypt(t.Context(), keyring.AlgorithmSymmetricDefault, []byte("x"), nil); err != nil {
		t.Error(err)
	}
	var state *keyring.StateError
	for _, action := range []string{"kms:DisableKey", "kms:EnableKey", "kms:ScheduleKeyDeletion", "kms:ReplicateKey"} {
		if _, err := g.openThere(t, region, m.ID, action); !errors.As(err, &state) || state.State != keyring.Updating {
			t.Errorf("%s: %v", action, err)
		}
	}
	var none *keyring.NotPrimaryError
	if err := move(region, otherRegion); !errors.As(err, &none) {
		t.Errorf("from what is a replica now: %v", err)
	}
	hook.open()
	if got := g.becomes(t, region, m.ID, keyring.Enabled); got.MultiRegion.Resume != "" {
		t.Errorf("%+v", got.MultiRegion)
	}
	last := hook.told()[len(hook.told())-1]
	if last.Name != keyring.SynchronizeMultiRegionKey || last.Region != replicaRegion {
		t.Errorf("told %+v", last)
	}
	// The primary's are the rotation, and new replicas.
	due := raw(t, g.store, "v1/due/")
	if len(due) != 1 || !strings.Contains(due[0].Key, "/rotate/"+account+"/"+replicaRegion+"/") {
		t.Errorf("due: %v", due)
	}
	if _, err := g.replicate(t, region, m.ID, keyring.ReplicaParams{Region: "ap-south-1"}); !errors.As(err, &none) {
		t.Errorf("replicating a replica: %v", err)
	}
	g.mustReplicate(t, replicaRegion, m.ID, "ap-south-1")
	g.becomes(t, "ap-south-1", m.ID, keyring.Enabled)
	// Not with a key of another set, or with itself.
	other := g.createMRK(t, keyring.SymmetricDefault, keyring.EncryptDecrypt)
	a, b := g.mustOpenThere(t, replicaRegion, m.ID, "kms:UpdatePrimaryRegion"), g.mustOpen(t, other.ID, "kms:UpdatePrimaryRegion")
	if err := errors.Join(a.MakePrimary(t.Context(), b), a.MakePrimary(t.Context(), a)); !errors.Is(err, keyring.ErrParameter) {
		t.Error(err)
	}
	// Nor if it has changed since it was opened.
	b = g.mustOpen(t, m.ID, "kms:UpdatePrimaryRegion")
	if err := g.mustOpen(t, m.ID, "kms:UpdateKeyDescription").SetDescription(t.Context(), "changed"); err != nil {
		t.Fatal(err)
	}
	if err := a.MakePrimary(t.Context(), b); !errors.Is(err, keyring.ErrStale) {
		t.Error(err)
	}
}

func TestPrimaryWaitsForItsReplicas(t *testing.T) {
	now := start
	g := newRig(t, nil, keyring.Options{Now: func() time.Time { return now }})
	m := g.createMRK(t, keyring.SymmetricDefault, keyring.EncryptDecrypt)
	for _, r := range []string{replicaRegion, otherRegion} {
		g.mustReplicate(t, region, m.ID, r)
		g.becomes(t, r, m.ID, keyring.Enabled)
	}
	const day = 24 * time.Hour
	schedule := func(region string, days time.Duration) time.Time {
		t.Helper()
		due, err := g.mustOpenThere(t, region, m.ID, "kms:ScheduleKeyDeletion").ScheduleDeletion(t.Context(), days*day)
		if err != nil {
			t.Fatal(err)
		}
		return due
	}
	if due := schedule(region, 9); !due.IsZero() {
		t.Errorf("due %v", due)
	}
	if got := g.in(t, region, m.ID); got.State != keyring.PendingReplicaDeletion || got.MultiRegion.Window != 9 || !got.Deletion.IsZero() {
		t.Errorf("%+v %+v", got, got.MultiRegion)
	}
	// Taken back, and again.
	if err := g.mustOpen(t, m.ID, "kms:CancelKeyDeletion").CancelDeletion(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := g.in(t, region, m.ID); got.State != keyring.Disabled || got.MultiRegion.Window != 0 {
		t.Errorf("%+v %+v", got, got.MultiRegion)
	}
	schedule(region, 8)
	if _, err := g.mustOpenThere(t, replicaRegion, m.ID, "kms:Encrypt").Encrypt(t.Context(), keyring.AlgorithmSymmetricDefault, []byte("x"), nil); err != nil {
		t.Errorf("a replica of it: %v", err)
	}
	var state *keyring.StateError
	if _, err := g.openThere(t, region, m.ID, "kms:Encrypt"); !errors.As(err, &state) || state.State != keyring.PendingReplicaDeletion {
		t.Error(err)
	}
	runDue := func() {
		t.Helper()
		if err := g.ring.RunDue(t.Context(), now); err != nil {
			t.Fatal(err)
		}
	}
	now = start.Add(400 * day)
	runDue()
	sameSet(t, g, m.ID, region, region, replicaRegion, otherRegion)
	// The calls of this test are of its start.
	schedule(replicaRegion, 7)
	runDue()
	sameSet(t, g, m.ID, region, region, otherRegion)
	if got := g.in(t, region, m.ID); got.State != keyring.PendingReplicaDeletion || got.MultiRegion.Window != 8 {
		t.Errorf("%+v", got)
	}
	// What was there can be made anew, and goes with the others.
	if err := g.mustOpen(t, m.ID, "kms:CancelKeyDeletion").CancelDeletion(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := g.mustOpen(t, m.ID, "kms:EnableKey").Enable(t.Context()); err != nil {
		t.Fatal(err)
	}
	g.mustReplicate(t, region, m.ID, replicaRegion)
	g.becomes(t, replicaRegion, m.ID, keyring.Enabled)
	schedule(region, 7)
	schedule(replicaRegion, 7)
	schedule(otherRegion, 7)
	runDue()
	got := g.in(t, region, m.ID)
	if want := now.Add(7 * day); got.State != keyring.PendingDeletion || !got.Deletion.Equal(want) || got.MultiRegion.Window != 0 {
		t.Errorf("%+v %+v, want it deleted at %v", got, got.MultiRegion, want)
	}
	sameSet(t, g, m.ID, region, region)
	now = got.Deletion.Add(-time.Millisecond)
	runDue()
	g.in(t, region, m.ID)
	now = got.Deletion
	runDue()
	for _, kv := range raw(t, g.store, "v1/") {
		if strings.Contains(kv.Key, m.ID) {
			t.Errorf("still there: %s", kv.Key)
		}
	}
}

// A replica is not scheduled for deletion before it has its material: else it
// would come back without it.
func TestReplicaIsWholeBeforeItGoes(t *testing.T) {
	hook := newGate()
	g := newRig(t, nil, keyring.Options{Record: hook.record})
	m := g.createMRK(t, keyring.SymmetricDefault, keyring.EncryptDecrypt)
	g.mustReplicate(t, region, m.ID, replicaRegion)
	k := g.mustOpenThere(t, replicaRegion, m.ID, "kms:ScheduleKeyDeletion")
	if k.Metadata().State != keyring.Creating {
		t.Fatal(k.Metadata().State)
	}
	early, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := k.ScheduleDeletion(early, 7*24*time.Hour); !errors.Is(err, context.Canceled) {
		t.Errorf("without waiting: %v", err)
	}
	hook.open()
	if _, err := k.ScheduleDeletion(t.Context(), 7*24*time.Hour); !errors.Is(err, keyring.ErrStale) {
		t.Errorf("after it was made: %v", err)
	}
	if _, err := g.mustOpenThere(t, replicaRegion, m.ID, "kms:ScheduleKeyDeletion").ScheduleDeletion(t.Context(), 7*24*time.Hour); err != nil {
		t.Fatal(err)
	}
	if err := g.mustOpenThere(t, replicaRegion, m.ID, "kms:CancelKeyDeletion").CancelDeletion(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := g.mustOpenThere(t, replicaRegion, m.ID, "kms:EnableKey").Enable(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := g.mustOpenThere(t, replicaRegion, m.ID, "kms:Encrypt").Encrypt(t.Context(), keyring.AlgorithmSymmetricDefault, []byte("x"), nil); err != nil {
		t.Error(err)
	}
}

// Rotation reaches all related keys at once, and replicas that are made later
// have all material.
func TestRotationOfRelatedKeys(t *testing.T) {
	g := newRig(t, nil, keyring.Options{})
	m := g.createMRK(t, keyring.SymmetricDefault, keyring.EncryptDecrypt)
	encrypt := func(region string) []byte {
		t.Helper()
		blob, err := g.mustOpenThere(t, region, m.ID, "kms:Encrypt").Encrypt(t.Context(), keyring.AlgorithmSymmetricDefault, []byte("x"), nil)
		if err != nil {
			t.Fatal(err)
		}
		return blob
	}
	blobs := [][]byte{encrypt(region)}
	g.mustReplicate(t, region, m.ID, replicaRegion)
	g.becomes(t, replicaRegion, m.ID, keyring.Enabled)
	for range 2 {
		if err := g.mustOpen(t, m.ID, "kms:RotateKeyOnDemand").RotateOnDemand(t.Context()); err != nil {
			t.Fatal(err)
		}
		blobs = append(blobs, encrypt(region), encrypt(replicaRegion))
	}
	g.mustReplicate(t, region, m.ID, otherRegion)
	g.becomes(t, otherRegion, m.ID, keyring.Enabled)
	blobs = append(blobs, encrypt(otherRegion))
	for _, r := range []string{region, replicaRegion, otherRegion} {
		if got := g.in(t, r, m.ID); len(got.Materials) != 3 || got.MaterialID != g.in(t, region, m.ID).MaterialID || got.Rotation.OnDemand != 2 {
			t.Errorf("%s: %+v", r, got)
		}
		for i, blob := range blobs {
			if _, _, err := g.mustOpenThere(t, r, m.ID, "kms:Decrypt").Decrypt(t.Context(), keyring.AlgorithmSymmetricDefault, blob, nil); err != nil {
				t.Errorf("%s, blob %d: %v", r, i, err)
			}
		}
	}
	var none *keyring.NotPrimaryError
	if err := g.mustOpenThere(t, replicaRegion, m.ID, "kms:RotateKeyOnDemand").RotateOnDemand(t.Context()); !errors.As(err, &none) {
		t.Errorf("rotating a replica: %v", err)
	}
}

// Whoever comes at once, all related keys agree in the end.
func TestRelatedKeysAgree(t *testing.T) {
	g := newRig(t, nil, keyring.Options{})
	m := g.createMRK(t, keyring.SymmetricDefault, keyring.EncryptDecrypt)
	regions := []string{"ap-south-1", "ca-central-1", replicaRegion, "sa-east-1", otherRegion}
	var work sync.WaitGroup
	for _, r := range regions {
		work.Go(func() {
			if _, err := g.replicate(t, region, m.ID, keyring.ReplicaParams{Region: r}); err != nil {
				t.Errorf("%s: %v", r, err)
			}
		})
	}
	work.Go(func() {
		err := keyring.Attempt(t.Context(), func() error {
			k, err := g.openThere(t, region, m.ID, "kms:RotateKeyOnDemand")
			if err != nil {
				return err
			}
			return k.RotateOnDemand(t.Context())
		})
		if err != nil {
			t.Error(err)
		}
	})
	work.Wait()
	all := slices.Sorted(slices.Values(append(slices.Clone(regions), region)))
	for _, r := range all {
		g.becomes(t, r, m.ID, keyring.Enabled)
	}
	sameSet(t, g, m.ID, region, all...)
	blob, err := g.mustOpen(t, m.ID, "kms:Encrypt").Encrypt(t.Context(), keyring.AlgorithmSymmetricDefault, []byte("x"), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range all {
		if _, _, err := g.mustOpenThere(t, r, m.ID, "kms:Decrypt").Decrypt(t.Context(), keyring.AlgorithmSymmetricDefault, blob, nil); err != nil {
			t.Errorf("%s: %v", r, err)
		}
		if n := len(raw(t, g.store, "v1/mat/"+account+"/"+r+"/")); n != 2 {
			t.Errorf("%s has %d materials", r, n)
		}
	}
}

// As many related keys as there can be are changed by one transaction.
func TestMaxRegions(t *testing.T) {
	hook := newGate()
	g := newRig(t, nil, keyring.Options{Record: hook.record})
	m := g.createMRK(t, keyring.HMAC256, keyring.GenerateVerifyMAC)
	hook.open()
	for i := range keyring.MaxRegions - 1 {
		g.mustReplicate(t, region, m.ID, fmt.Sprintf("us-nowhere-%d", i+1))
	}
	if _, err := g.replicate(t, region, m.ID, keyring.ReplicaParams{Region: otherRegion}); !errors.Is(err, keyring.ErrLimit) {
		t.Errorf("one more: %v", err)
	}
	if keyring.MaxRegions != 32 {
		t.Errorf("the limit that is documented is another than %d", keyring.MaxRegions)
	}
}
