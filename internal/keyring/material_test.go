package keyring_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/keyring"
	"github.com/keyreeve/keyreeve/internal/record"
	"github.com/keyreeve/keyreeve/internal/seal"
	"github.com/keyreeve/keyreeve/internal/store"
)

func (g *rig) encrypt(t testing.TB, id string) error {
	k, _, err := g.open(t, id, "kms:Encrypt")
	if err != nil {
		return err
	}
	_, err = k.Encrypt(context.Background(), keyring.AlgorithmSymmetricDefault, []byte("x"), nil)
	return err
}

func TestMaterialIsWiped(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(t *testing.T, g *rig, id string) error
	}{
		{"disable", func(t *testing.T, g *rig, id string) error {
			return g.mustOpen(t, id, "kms:DisableKey").Disable(t.Context())
		}},
		{"schedule deletion", func(t *testing.T, g *rig, id string) error {
			g.schedule(t, id, time.Hour)
			return nil
		}},
		{"idle", func(_ *testing.T, g *rig, _ string) error {
			for range keyring.IdleSweeps + 1 {
				g.ring.Sweep()
			}
			return nil
		}},
		{"seal", func(_ *testing.T, g *rig, _ string) error {
			g.box.Lock()
			return nil
		}},
		{"close", func(_ *testing.T, g *rig, _ string) error { return g.ring.Close() }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := newRig(t, nil, keyring.Options{})
			symmetric := g.create(t, keyring.SymmetricDefault, keyring.EncryptDecrypt).ID
			signing := g.create(t, keyring.ECCNISTP256, keyring.SignVerify).ID
			if err := g.encrypt(t, symmetric); err != nil {
				t.Fatal(err)
			}
			if _, err := g.mustOpen(t, signing, "kms:Sign").Sign(t.Context(), keyring.ECDSASHA256, []byte("x"), false); err != nil {
				t.Fatal(err)
			}
			if s := g.ring.Stats(); s.Materials != 1 || s.PrivateKeys != 1 || g.arena.Stats().Used != 1 {
				t.Fatalf("in use: %+v, %d slots", s, g.arena.Stats().Used)
			}
			if err := tt.do(t, g, symmetric); err != nil {
				t.Fatal(err)
			}
			if s := g.ring.Stats(); s.Materials != 0 || g.arena.Stats().Used != 0 {
				t.Errorf("after it: %+v, %d slots", s, g.arena.Stats().Used)
			}
		})
	}
	t.Run("not while it is used", func(t *testing.T) {
		g := newRig(t, nil, keyring.Options{})
		id := g.create(t, keyring.SymmetricDefault, keyring.EncryptDecrypt).ID
		for range 3 * keyring.IdleSweeps {
			if err := g.encrypt(t, id); err != nil {
				t.Fatal(err)
			}
			g.ring.Sweep()
		}
		if s := g.ring.Stats(); s.Materials != 1 {
			t.Errorf("in use: %+v", s)
		}
	})
	t.Run("by itself", func(t *testing.T) {
		g := newRig(t, nil, keyring.Options{Idle: 20 * time.Millisecond})
		id := g.create(t, keyring.SymmetricDefault, keyring.EncryptDecrypt).ID
		if err := g.encrypt(t, id); err != nil {
			t.Fatal(err)
		}
		for end := time.Now().Add(time.Minute); g.ring.Stats().Materials != 0; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("it is still there")
			}
		}
	})
}

func TestClosed(t *testing.T) {
	g := newRig(t, nil, keyring.Options{})
	id := g.create(t, keyring.SymmetricDefault, keyring.EncryptDecrypt).ID
	if err := g.encrypt(t, id); err != nil {
		t.Fatal(err)
	}
	k := g.mustOpen(t, id, "kms:Encrypt")
	g.ring.Close()
	g.ring.Close()
	if _, err := k.Encrypt(t.Context(), keyring.AlgorithmSymmetricDefault, []byte("x"), nil); !errors.Is(err, keyring.ErrClosed) {
		t.Errorf("Encrypt: %v, want ErrClosed", err)
	}
	c := newCall()
	_, err := g.ring.Create(t.Context(), c, permit(t, c, "kms:CreateKey", anyResource()),
		keyring.CreateParams{Account: account, Region: region, Spec: keyring.SymmetricDefault, Usage: keyring.EncryptDecrypt})
	if !errors.Is(err, keyring.ErrClosed) {
		t.Errorf("Create: %v, want ErrClosed", err)
	}
}

// More keys than there is locked memory for, and than parsed keys are kept.
func TestMoreKeysThanRoom(t *testing.T) {
	arena, err := seal.NewArena(seal.ArenaOptions{Size: 1})
	if err != nil {
		t.Fatal(err)
	}
	room := arena.Stats().Capacity
	g := newRig(t, nil, keyring.Options{Arena: arena, PrivateKeys: 3})
	var ids, signing []string
	for i := range room + 50 {
		ids = append(ids, g.seed(t, fmt.Sprintf("%08d-1111-4111-8111-111111111111", i), keyring.SymmetricDefault, keyring.EncryptDecrypt, bytes.Repeat([]byte{byte(i)}, 32)).ID)
	}
	for range 6 {
		signing = append(signing, g.create(t, keyring.ECCNISTP256, keyring.SignVerify).ID)
	}
	for round := range 2 {
		for _, id := range ids {
			k := g.mustOpen(t, id, "kms:Encrypt")
			blob, err := k.Encrypt(t.Context(), keyring.AlgorithmSymmetricDefault, []byte(id), nil)
			if err != nil {
				t.Fatalf("round %d: %v", round, err)
			}
			if got, err := g.decrypt(t, blob, nil); err != nil || string(got) != id {
				t.Fatalf("round %d: %q, %v", round, got, err)
			}
		}
		for _, id := range signing {
			if _, err := g.mustOpen(t, id, "kms:Sign").Sign(t.Context(), keyring.ECDSASHA256, []byte("x"), false); err != nil {
				t.Fatal(err)
			}
		}
	}
	if s := g.ring.Stats(); s.Materials > room || s.Materials < room/2 || s.PrivateKeys > 3 {
		t.Errorf("room for %d and 3, held: %+v", room, s)
	}
}

// Large parsed keys are kept as long as all of them take no more memory than they
// may: of many small ones there is room for more. One that there is no room for
// at all works, too.
func TestPrivateMemory(t *testing.T) {
	for _, c := range []struct {
		spec      keyring.Spec
		algorithm keyring.Algorithm
		room      int
		want      int
	}{
		{keyring.MLDSA87, keyring.MLDSASHAKE256, 300 << 10, 3},
		{keyring.MLDSA44, keyring.MLDSASHAKE256, 100 << 10, 1},
		{keyring.ECCNISTP256, keyring.ECDSASHA256, 300 << 10, 5},
		{keyring.MLDSA87, keyring.MLDSASHAKE256, 1 << 10, 0},
	} {
		g := newRig(t, nil, keyring.Options{PrivateMemory: c.room})
		for range 5 {
			id := g.create(t, c.spec, keyring.SignVerify).ID
			for range 2 {
				if _, err := g.mustOpen(t, id, "kms:Sign").Sign(t.Context(), c.algorithm, []byte("x"), false); err != nil {
					t.Fatal(err)
				}
			}
		}
		if s := g.ring.Stats(); s.PrivateKeys != c.want {
			t.Errorf("%s in %d bytes: %d are kept, want %d", c.spec, c.room, s.PrivateKeys, c.want)
		}
	}
}

// Uses, wipes of every sort and changes at the same time: each use gives the
// right answer or says that the key is not to be used. Run with -race.
func TestUseAndWipeAtOnce(t *testing.T) {
	g := newRig(t, nil, keyring.Options{PrivateKeys: 1})
	material := bytes.Repeat([]byte{3}, 32)
	id := g.seed(t, "11111111-1111-4111-8111-111111111111", keyring.SymmetricDefault, keyring.EncryptDecrypt, material).ID
	mac := g.create(t, keyring.HMAC512, keyring.GenerateVerifyMAC).ID
	signing := []string{g.create(t, keyring.ECCNISTP256, keyring.SignVerify).ID, g.create(t, keyring.ECCSECGP256K1, keyring.SignVerify).ID}
	blob, err := g.mustOpen(t, id, "kms:Encrypt").Encrypt(t.Context(), keyring.AlgorithmSymmetricDefault, []byte("right"), nil)
	if err != nil {
		t.Fatal(err)
	}
	want, err := g.mustOpen(t, mac, "kms:GenerateMac").GenerateMAC(t.Context(), keyring.HMACSHA512, []byte("m"))
	if err != nil {
		t.Fatal(err)
	}
	refused := func(err error) bool {
		var state *keyring.StateError
		return errors.Is(err, keyring.ErrStale) || errors.Is(err, keyring.ErrConflict) || errors.As(err, &state)
	}
	var done atomic.Bool
	var uses atomic.Int64
	var wg sync.WaitGroup
	loop := func(f func()) {
		wg.Go(func() {
			for !done.Load() {
				f()
			}
		})
	}
	for range 2 {
		loop(func() {
			got, err := g.decrypt(t, blob, nil)
			if err == nil && string(got) == "right" {
				uses.Add(1)
			} else if !refused(err) {
				t.Errorf("decrypting: %q, %v", got, err)
			}
		})
		loop(func() {
			k, _, err := g.open(t, mac, "kms:GenerateMac")
			if err == nil {
				var got []byte
				if got, err = k.GenerateMAC(context.Background(), keyring.HMACSHA512, []byte("m")); err == nil && !bytes.Equal(got, want) {
					t.Errorf("a wrong MAC: %x", got)
				}
			}
			if err != nil && !refused(err) {
				t.Error(err)
			}
		})
	}
	for _, s := range signing {
		loop(func() {
			k, _, err := g.open(t, s, "kms:Sign")
			if err == nil {
				_, err = k.Sign(context.Background(), keyring.ECDSASHA256, []byte("m"), false)
			}
			if err != nil && !refused(err) {
				t.Error(err)
			}
		})
	}
	loop(g.ring.Sweep)
	loop(func() {
		for _, action := range []string{"kms:DisableKey", "kms:EnableKey"} {
			k, _, err := g.open(t, id, action)
			if err == nil && action == "kms:DisableKey" {
				err = k.Disable(context.Background())
			} else if err == nil {
				err = k.Enable(context.Background())
			}
			if err != nil && !refused(err) {
				t.Error(err)
			}
		}
		time.Sleep(100 * time.Microsecond)
	})
	for end := time.Now().Add(time.Minute); uses.Load() < 50; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Errorf("decrypted %d times in a minute", uses.Load())
			break
		}
	}
	done.Store(true)
	wg.Wait()

	// And the same against Close, after which nothing is left.
	done.Store(false)
	var closed atomic.Bool
	for range 4 {
		wg.Go(func() {
			for {
				k, _, err := g.open(t, mac, "kms:GenerateMac")
				if err != nil {
					t.Error(err)
					return
				}
				after := closed.Load()
				got, err := k.GenerateMAC(context.Background(), keyring.HMACSHA512, []byte("m"))
				switch {
				case errors.Is(err, keyring.ErrClosed):
					return
				case err == nil && !bytes.Equal(got, want):
					t.Errorf("a wrong MAC: %x", got)
				case err != nil:
					t.Error(err)
				case after:
					t.Error("used after Close")
				}
			}
		})
	}
	time.Sleep(20 * time.Millisecond)
	g.ring.Close()
	closed.Store(true)
	if n := g.arena.Stats().Used; n != 0 {
		t.Errorf("%d slots used after Close", n)
	}
	wg.Wait()
}

// Nothing that is planted can be read in the store, in whatever encoding.
func TestNothingInTheClear(t *testing.T) {
	st := store.NewMem()
	g := newRig(t, st, keyring.Options{})
	material := []byte("a-planted-secret-of-32-bytes!!..")
	m := g.seed(t, "11111111-1111-4111-8111-111111111111", keyring.SymmetricDefault, keyring.EncryptDecrypt, material)
	g.seed(t, "22222222-2222-4222-8222-222222222222", keyring.ECCSECGP256K1, keyring.SignVerify, secp256k1One)
	if err := g.mustOpen(t, m.ID, "kms:UpdateKeyDescription").SetDescription(t.Context(), "planted-description"); err != nil {
		t.Fatal(err)
	}
	if err := g.mustOpen(t, m.ID, "kms:TagResource").Tag(t.Context(), []keyring.Tag{{Key: "planted-tag", Value: "planted-value"}}); err != nil {
		t.Fatal(err)
	}
	var all bytes.Buffer
	if err := st.Snapshot(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	for _, kv := range raw(t, st, "") {
		all.WriteString(kv.Key)
		all.Write(kv.Val)
	}
	if !bytes.Contains(all.Bytes(), []byte(m.ID)) {
		t.Fatal("the key is not in the store at all")
	}
	for _, planted := range [][]byte{material, secp256k1One, secp256k1One[24:64], []byte("planted-"), []byte("kms:*"), []byte("Enable IAM")} {
		for name, b := range map[string][]byte{
			"raw": planted, "hex": []byte(hex.EncodeToString(planted)),
			"base64": []byte(base64.RawStdEncoding.EncodeToString(planted[:len(planted)/3*3])),
		} {
			if bytes.Contains(all.Bytes(), b) {
				t.Errorf("%q is in the store, %s", planted, name)
			}
		}
	}
}

// A token is good for its own key and material only, although all are sealed by the same box.
func TestTokensAreBound(t *testing.T) {
	st := store.NewMem()
	g := newRig(t, st, keyring.Options{})
	one := g.create(t, keyring.SymmetricDefault, keyring.EncryptDecrypt)
	two := g.create(t, keyring.SymmetricDefault, keyring.EncryptDecrypt)
	mats := raw(t, st, "v1/mat/")
	if len(mats) != 2 {
		t.Fatalf("%d materials", len(mats))
	}
	_, ok, err := st.Commit(t.Context(), nil, []store.Op{{Key: mats[0].Key, Val: mats[1].Val}, {Key: mats[1].Key, Val: mats[0].Val}})
	if err != nil || !ok {
		t.Fatal(err)
	}
	for _, m := range []*keyring.Metadata{one, two} {
		if err := g.encrypt(t, m.ID); err == nil {
			t.Error("encrypted with swapped material")
		}
	}
}

func TestWarmCallsReadNoStore(t *testing.T) {
	f := &faulty{Store: store.NewMem()}
	g := newRig(t, f, keyring.Options{})
	id := g.create(t, keyring.SymmetricDefault, keyring.EncryptDecrypt).ID
	if err := g.createAlias(t, id, "alias/a"); err != nil {
		t.Fatal(err)
	}
	use := func() {
		s, err := g.ring.FindAlias(t.Context(), account, region, "alias/a")
		if err != nil {
			t.Fatal(err)
		}
		c := newCall()
		k, err := g.ring.Open(t.Context(), c, permit(t, c, "kms:GenerateDataKey", s.Resource()))
		if err != nil {
			t.Fatal(err)
		}
		d, err := k.GenerateDataKey(t.Context(), 32, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := g.decrypt(t, d.Ciphertext, nil); err != nil {
			t.Fatal(err)
		}
	}
	use()
	gets, ranges := f.gets.Load(), f.ranges.Load()
	for range 100 {
		use()
	}
	if n := f.gets.Load() - gets + f.ranges.Load() - ranges; n != 0 {
		t.Errorf("%d reads of the store in 200 warm calls", n)
	}
}

func TestSpareKeyPairs(t *testing.T) {
	g := newRig(t, nil, keyring.Options{SpareRSA: 2})
	if n := g.ring.Spares(keyring.RSA2048); n != 0 {
		t.Errorf("%d before the first use", n)
	}
	first := g.create(t, keyring.RSA2048, keyring.SignVerify)
	g.ring.WaitSpares()
	if n, other := g.ring.Spares(keyring.RSA2048), g.ring.Spares(keyring.RSA3072); n != 2 || other != 0 {
		t.Errorf("%d of the spec in use, %d of another; want 2 and none", n, other)
	}
	seen := map[string]bool{string(first.PublicKey): true}
	for range 4 {
		m := g.create(t, keyring.RSA2048, keyring.SignVerify)
		if seen[string(m.PublicKey)] {
			t.Fatal("a key pair was given out twice")
		}
		seen[string(m.PublicKey)] = true
		sig, err := g.mustOpen(t, m.ID, "kms:Sign").Sign(t.Context(), keyring.RSASSAPSSSHA256, []byte("x"), false)
		if err != nil {
			t.Fatal(err)
		}
		if ok, err := g.mustOpen(t, m.ID, "kms:Verify").Verify(t.Context(), keyring.RSASSAPSSSHA256, []byte("x"), false, sig); !ok || err != nil {
			t.Errorf("Verify = %t, %v", ok, err)
		}
	}
	g.ring.Close()
	if n := g.ring.Spares(keyring.RSA2048); n != 0 {
		t.Errorf("%d after Close", n)
	}
}

// Key pairs that take long to make don't pile up behind one another, nor take
// all processors.
func TestKeyPairsTakeTurns(t *testing.T) {
	g := newRig(t, nil, keyring.Options{})
	m := g.create(t, keyring.SymmetricDefault, keyring.EncryptDecrypt)
	k := g.mustOpen(t, m.ID, "kms:GenerateDataKeyPair")
	release := g.ring.HoldTurns()
	ctx, giveUp := context.WithCancel(t.Context())
	var waiting sync.WaitGroup
	for range keyring.MaxWaiting {
		waiting.Go(func() {
			if _, err := k.GenerateDataKeyPair(ctx, keyring.RSA2048, nil); !errors.Is(err, context.Canceled) {
				t.Errorf("one that gave up waiting: %v", err)
			}
		})
	}
	for g.ring.Waiting() < keyring.MaxWaiting {
		time.Sleep(time.Millisecond)
	}
	if _, err := k.GenerateDataKeyPair(t.Context(), keyring.RSA2048, nil); !errors.Is(err, keyring.ErrBusy) {
		t.Errorf("one too many: %v, want ErrBusy", err)
	}
	if _, err := k.GenerateDataKeyPair(t.Context(), keyring.ECCNISTP256, nil); err != nil {
		t.Errorf("a key pair that takes no time: %v", err)
	}
	giveUp()
	waiting.Wait()
	release()
	if _, err := k.GenerateDataKeyPair(t.Context(), keyring.RSA2048, nil); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// No private key made in advance is kept behind a sealed box; also none that
// was being made when it was sealed.
func TestSpareKeyPairsAreWipedBySealing(t *testing.T) {
	g := newRig(t, nil, keyring.Options{SpareRSA: 2})
	for _, wait := range []bool{true, false} {
		g.create(t, keyring.RSA2048, keyring.SignVerify)
		if wait {
			g.ring.WaitSpares()
			if n := g.ring.Spares(keyring.RSA2048); n != 2 {
				t.Errorf("%d, want 2", n)
			}
		}
		g.box.Lock()
		g.ring.WaitSpares()
		if n := g.ring.Spares(keyring.RSA2048); n != 0 {
			t.Errorf("%d after the box was sealed (when all were made: %t)", n, wait)
		}
		if err := g.box.Unlock(t.Context(), provider); err != nil {
			t.Fatal(err)
		}
	}
	g.create(t, keyring.RSA2048, keyring.SignVerify)
	g.ring.WaitSpares()
	if n := g.ring.Spares(keyring.RSA2048); n != 2 {
		t.Errorf("%d after it was unsealed and the spec used again, want 2", n)
	}
}

// Caches that may not answer by themselves let go of a Subject at each call,
// and caches that are too small nearly so: keys can be used all the same.
func TestUseWithoutACache(t *testing.T) {
	for name, o := range map[string]record.Options{"strict": {StaleLimit: -1}, "small": {}} {
		t.Run(name, func(t *testing.T) {
			recordOptions = o
			defer func() { recordOptions = record.Options{} }()
			g := newRig(t, nil, keyring.Options{Keys: 1, PrivateKeys: 1})
			var wg sync.WaitGroup
			for range 2 {
				symmetric := g.create(t, keyring.SymmetricDefault, keyring.EncryptDecrypt).ID
				signing := g.create(t, keyring.ECCNISTP256, keyring.SignVerify).ID
				for range 4 {
					wg.Go(func() {
						for range 100 {
							if err := g.encrypt(t, symmetric); err != nil {
								t.Error(err)
							}
							sig, err := g.mustOpen(t, signing, "kms:Sign").Sign(context.Background(), keyring.ECDSASHA256, []byte("m"), false)
							if err != nil {
								t.Error(err)
							}
							if ok, err := g.mustOpen(t, signing, "kms:Verify").Verify(context.Background(), keyring.ECDSASHA256, []byte("m"), false, sig); !ok || err != nil {
								t.Errorf("Verify = %t, %v", ok, err)
							}
						}
					})
				}
			}
			wg.Wait()
		})
	}
}

// gated is a store that holds up one read, after it has been done.
type gated struct {
	store.Store
	key  atomic.Pointer[string]
	read chan struct{}
	goOn chan struct{}
}

func (s *gated) Get(ctx context.Context, key string) (store.KV, store.Rev, error) {
	kv, rev, err := s.Store.Get(ctx, key)
	if p := s.key.Load(); p != nil && *p == key && s.key.CompareAndSwap(p, nil) {
		s.read <- struct{}{}
		<-s.goOn
	}
	return kv, rev, err
}

// A key whose record was being read while it was disabled can't be used from
// then on, and none of its material stays in memory: be it the current one, or
// one from before.
func TestOvertakenByDisable(t *testing.T) {
	for _, old := range []bool{false, true} {
		st := &gated{Store: store.NewMem(), read: make(chan struct{}), goOn: make(chan struct{})}
		g := newRig(t, st, keyring.Options{})
		m := g.create(t, keyring.SymmetricDefault, keyring.EncryptDecrypt)
		blob, err := g.mustOpen(t, m.ID, "kms:Encrypt").Encrypt(t.Context(), keyring.AlgorithmSymmetricDefault, []byte("x"), nil)
		if err != nil {
			t.Fatal(err)
		}
		if old {
			// As if it were of a material that is not the current one.
			blob[30] ^= 1
			blob = withCRC(blob)
		}
		s, err := g.ring.Find(t.Context(), account, region, m.ID)
		if err != nil {
			t.Fatal(err)
		}
		c := newCall()
		p := permit(t, c, "kms:Decrypt", s.Resource())
		disabling := g.mustOpen(t, m.ID, "kms:DisableKey")
		g.records.Flush()
		key := "v1/key/" + account + "/" + region + "/" + m.ID
		st.key.Store(&key)
		var k keyring.Key
		var wg sync.WaitGroup
		wg.Go(func() {
			var err error
			if k, err = g.ring.Open(context.Background(), c, p); err != nil {
				t.Errorf("Open, begun before the key was disabled: %v", err)
			}
		})
		<-st.read
		if err := disabling.Disable(t.Context()); err != nil {
			t.Fatal(err)
		}
		close(st.goOn)
		wg.Wait()
		for range 2 {
			if _, _, err := k.Decrypt(t.Context(), keyring.AlgorithmSymmetricDefault, blob, nil); !errors.Is(err, keyring.ErrStale) {
				t.Errorf("Decrypt after Disable has returned (old: %t): %v, want ErrStale", old, err)
			}
		}
		if n := g.ring.Stats().Materials; n != 0 {
			t.Errorf("%d materials in memory", n)
		}
	}
}
