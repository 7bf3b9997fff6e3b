package keyring_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/authz"
	"github.com/keyreeve/keyreeve/internal/keyring"
	"github.com/keyreeve/keyreeve/internal/record"
	"github.com/keyreeve/keyreeve/internal/store"
	"github.com/keyreeve/keyreeve/internal/wire"
)

const (
	grantee     = "AIDAGRANTEE0000000001"
	granteeName = "arn:aws:iam::" + account + ":user/grantee"
	retiree     = "AROARETIRE00000000001"
	retireeName = "arn:aws:iam::" + account + ":role/retiree"
)

func someGrant() authz.Grant {
	return authz.Grant{Grantee: grantee, GranteeARN: granteeName, Issuer: account, Operations: []string{"Encrypt", "Decrypt"}}
}

// grant makes a grant, as the administrator.
func (g *rig) grant(t testing.TB, id string, with authz.Grant) (made *authz.Grant, token string) {
	t.Helper()
	err := keyring.Attempt(t.Context(), func() (err error) {
		k, _, err := g.open(t, id, "kms:CreateGrant")
		if err != nil {
			return err
		}
		made, token, err = k.CreateGrant(t.Context(), with)
		return err
	})
	if err != nil {
		t.Fatalf("CreateGrant: %v", err)
	}
	return made, token
}

// of returns the ids of a grantee's grants on a key, as decisions see them.
func (g *rig) of(t testing.TB, id, grantee string) []string {
	t.Helper()
	s, err := g.ring.Find(t.Context(), account, region, id)
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	r := s.Resource()
	if r.Grants == nil {
		return nil
	}
	if err := r.Grants.Of(t.Context(), grantee, "", func(g *authz.Grant) bool { ids = append(ids, g.ID); return true }); err != nil {
		t.Fatalf("Of(%s): %v", grantee, err)
	}
	slices.Sort(ids)
	return ids
}

func (g *rig) list(t testing.TB, id string, f keyring.GrantFilter, size int) []string {
	t.Helper()
	k := g.mustOpen(t, id, "kms:ListGrants")
	var ids []string
	after := ""
	for {
		page, more, err := k.ListGrants(t.Context(), f, after, size)
		if err != nil {
			t.Fatalf("ListGrants: %v", err)
		}
		for _, x := range page {
			if x.ID <= after {
				t.Fatalf("%s comes after %s", x.ID, after)
			}
			after = x.ID
			ids = append(ids, x.ID)
		}
		if !more {
			return ids
		}
		if len(page) != size {
			t.Fatalf("a page of %d, want %d", len(page), size)
		}
	}
}

func (g *rig) revoke(t testing.TB, id, grantID string) {
	t.Helper()
	err := keyring.Attempt(t.Context(), func() error {
		k, _, err := g.open(t, id, "kms:RevokeGrant")
		if err != nil {
			return err
		}
		return k.RevokeGrant(t.Context(), grantID)
	})
	if err != nil {
		t.Fatalf("RevokeGrant: %v", err)
	}
}

func TestGrant(t *testing.T) {
	g := newRig(t, nil, keyring.Options{GrantDelay: time.Minute})
	m := g.create(t, keyring.SymmetricDefault, keyring.EncryptDecrypt)
	s, _ := g.ring.Find(t.Context(), account, region, m.ID)
	if s.Resource().Grants != nil {
		t.Error("a key that never had a grant has grants to look at")
	}
	want := someGrant()
	want.Name, want.Retiring, want.RetiringARN, want.SourceARN = "n", retiree, retireeName, "arn:aws:s3:::b"
	want.Equals = wire.NewStringMap(wire.Pair{Name: "a", Value: "1"}, wire.Pair{Name: "b", Value: ""})
	want.Subset = wire.NewStringMap(wire.Pair{Name: "é", Value: "2"})
	made, token := g.grant(t, m.ID, want)
	if !keyring.IsGrantID(made.ID) || !made.Created.Equal(start) || !made.Effective.Equal(start.Add(time.Minute)) {
		t.Errorf("made %+v", made)
	}
	s, _ = g.ring.Find(t.Context(), account, region, m.ID)
	byToken, err := s.Grants().ByToken(t.Context(), token)
	if err != nil || fmt.Sprint(*byToken) != fmt.Sprint(*made) {
		t.Errorf("by token: %+v, %v; want %+v", byToken, err, made)
	}
	byID, err := s.Grant(t.Context(), made.ID)
	if err != nil || fmt.Sprint(*byID) != fmt.Sprint(*made) {
		t.Errorf("by id: %+v, %v; want %+v", byID, err, made)
	}
	if got := g.of(t, m.ID, grantee); !slices.Equal(got, []string{made.ID}) {
		t.Errorf("of the grantee: %v", got)
	}
	for _, other := range []string{granteeName, "AIDAOTHER", "arn:aws:iam::" + account + ":root", "s3.amazonaws.com"} {
		if got := g.of(t, m.ID, other); len(got) != 0 {
			t.Errorf("of %s: %v", other, got)
		}
	}
	// The same again is the same; anything else is another.
	again, token2 := g.grant(t, m.ID, want)
	if again.ID != made.ID || token2 == token {
		t.Errorf("made again: %s, token the same: %t", again.ID, token2 == token)
	}
	shuffled := want
	shuffled.Operations = []string{"Decrypt", "Encrypt", "Decrypt"}
	if again, _ := g.grant(t, m.ID, shuffled); again.ID != made.ID {
		t.Error("the order of operations makes another grant")
	}
	for name, edit := range map[string]func(*authz.Grant){
		"name":       func(g *authz.Grant) { g.Name = "m" },
		"no name":    func(g *authz.Grant) { g.Name = "" },
		"operations": func(g *authz.Grant) { g.Operations = []string{"Encrypt"} },
		"grantee":    func(g *authz.Grant) { g.Grantee = "AIDAOTHER" },
		"retiring":   func(g *authz.Grant) { g.Retiring, g.RetiringARN = "", "" },
		"constraint": func(g *authz.Grant) { g.Equals, g.Subset = g.Subset, g.Equals },
		"source":     func(g *authz.Grant) { g.SourceARN = "" },
	} {
		other := want
		edit(&other)
		if made2, _ := g.grant(t, m.ID, other); made2.ID == made.ID {
			t.Errorf("another %s makes the same grant", name)
		}
	}
	// Gone, it is found in no way, and can be made again.
	retire := func() error { return g.mustOpen(t, m.ID, "kms:RetireGrant").RetireGrant(t.Context(), made.ID) }
	if err := retire(); err != nil {
		t.Fatal(err)
	}
	if err := retire(); !errors.Is(err, keyring.ErrNotFound) {
		t.Errorf("retired twice: %v", err)
	}
	s, _ = g.ring.Find(t.Context(), account, region, m.ID)
	if byToken, err := s.Grants().ByToken(t.Context(), token); byToken != nil || err != nil {
		t.Errorf("by token: %+v, %v", byToken, err)
	}
	if _, err := s.Grant(t.Context(), made.ID); !errors.Is(err, keyring.ErrNotFound) {
		t.Errorf("by id: %v", err)
	}
	if slices.Contains(g.of(t, m.ID, grantee), made.ID) || slices.Contains(g.list(t, m.ID, keyring.GrantFilter{}, 10), made.ID) {
		t.Error("a retired grant is found")
	}
	if again, _ := g.grant(t, m.ID, want); again.ID == made.ID {
		t.Error("a retired grant came back")
	}
}

func TestGrantTokens(t *testing.T) {
	g := newRig(t, nil, keyring.Options{})
	m := g.create(t, keyring.SymmetricDefault, keyring.EncryptDecrypt)
	other := g.create(t, keyring.SymmetricDefault, keyring.EncryptDecrypt)
	made, token := g.grant(t, m.ID, someGrant())
	parsed, err := g.ring.ParseGrantToken(token)
	if want := (keyring.GrantToken{Account: account, Region: region, KeyID: m.ID, GrantID: made.ID}); err != nil || parsed != want {
		t.Errorf("ParseGrantToken = %+v, %v", parsed, err)
	}
	s, _ := g.ring.Find(t.Context(), account, region, other.ID)
	if found, err := s.Grants().ByToken(t.Context(), token); found != nil || err != nil {
		t.Errorf("on another key: %+v, %v", found, err)
	}
	flipped := []byte(token)
	flipped[len(flipped)/2] ^= 1
	for _, bad := range []string{"", "junk", string(flipped), token[:len(token)-4], token + "AAAA", strings.Repeat("A", 4096), made.ID} {
		if _, err := g.ring.ParseGrantToken(bad); !errors.Is(err, authz.ErrGrantToken) {
			t.Errorf("%.40q: %v", bad, err)
		}
		if _, err := s.Grants().ByToken(t.Context(), bad); !errors.Is(err, authz.ErrGrantToken) {
			t.Errorf("%.40q: %v", bad, err)
		}
	}
}

func TestGrantRefuses(t *testing.T) {
	g := newRig(t, nil, keyring.Options{})
	m := g.create(t, keyring.HMAC256, keyring.GenerateVerifyMAC)
	fits := someGrant()
	fits.Operations = []string{"GenerateMac"}
	g.grant(t, m.ID, fits)
	k := g.mustOpen(t, m.ID, "kms:CreateGrant")
	for name, edit := range map[string]func(*authz.Grant){
		"no operation":        func(g *authz.Grant) { g.Operations = nil },
		"unknown operation":   func(g *authz.Grant) { g.Operations = []string{"Everything"} },
		"operation of others": func(g *authz.Grant) { g.Operations = []string{"Encrypt"} },
		"no grantee":          func(g *authz.Grant) { g.Grantee = "" },
		"no issuer":           func(g *authz.Grant) { g.Issuer = "" },
		"half retiring":       func(g *authz.Grant) { g.Retiring = retiree },
		"much": func(g *authz.Grant) {
			g.Equals = wire.NewStringMap(wire.Pair{Name: "a", Value: strings.Repeat("x", 1<<16)})
		},
	} {
		bad := fits
		edit(&bad)
		if _, _, err := k.CreateGrant(t.Context(), bad); !errors.Is(err, keyring.ErrParameter) {
			t.Errorf("%s: %v, want ErrParameter", name, err)
		}
	}
	for _, id := range []string{"", "x", strings.Repeat("0", 64), strings.Repeat("Z", 64), "../" + strings.Repeat("0", 61)} {
		if err := g.mustOpen(t, m.ID, "kms:RevokeGrant").RevokeGrant(t.Context(), id); !errors.Is(err, keyring.ErrNotFound) {
			t.Errorf("RevokeGrant(%q): %v", id, err)
		}
	}
}

// Pages fill, empty, and are filled again; lists and decisions see the same.
func TestGrantPages(t *testing.T) {
	g := newRig(t, nil, keyring.Options{})
	m := g.create(t, keyring.SymmetricDefault, keyring.EncryptDecrypt)
	large := someGrant()
	large.Equals = wire.NewStringMap(wire.Pair{Name: "a", Value: strings.Repeat("x", 9000)})
	var ids []string
	check := func() {
		t.Helper()
		slices.Sort(ids)
		if got := g.of(t, m.ID, grantee); !slices.Equal(got, ids) {
			t.Fatalf("decisions see %d grants, want %d", len(got), len(ids))
		}
		for _, f := range []keyring.GrantFilter{{}, {Grantee: grantee}} {
			if got := g.list(t, m.ID, f, 7); !slices.Equal(got, ids) {
				t.Fatalf("a list with %+v has %d grants, want %d", f, len(got), len(ids))
			}
		}
	}
	for i := range 100 {
		with := someGrant()
		if i%10 == 3 {
			with = large
		}
		made, _ := g.grant(t, m.ID, with)
		ids = append(ids, made.ID)
	}
	check()
	gone := ids[20:90]
	ids = slices.Concat(ids[:20], ids[90:])
	for _, id := range gone {
		g.revoke(t, m.ID, id)
	}
	check()
	for range 40 {
		made, _ := g.grant(t, m.ID, large)
		ids = append(ids, made.ID)
	}
	check()
	for _, id := range ids {
		g.revoke(t, m.ID, id)
	}
	ids = nil
	check()
	// Nothing is left of them.
	kvs, _, err := g.store.Range(t.Context(), "v1/grant", "v1/grantz", 0)
	if err != nil || len(kvs) != 0 {
		t.Errorf("%d records are left, %v", len(kvs), err)
	}
	made, _ := g.grant(t, m.ID, someGrant())
	ids = append(ids, made.ID)
	check()
	if got := g.list(t, m.ID, keyring.GrantFilter{ID: made.ID}, 1); !slices.Equal(got, ids) {
		t.Errorf("a list of one: %v", got)
	}
	if got := g.list(t, m.ID, keyring.GrantFilter{ID: made.ID, Grantee: "AIDAOTHER"}, 1); len(got) != 0 {
		t.Errorf("a list of another grantee's: %v", got)
	}
}

func TestGrantLimit(t *testing.T) {
	g := newRig(t, nil, keyring.Options{})
	g.ring.LimitGrants(3)
	m := g.create(t, keyring.SymmetricDefault, keyring.EncryptDecrypt)
	other := g.create(t, keyring.SymmetricDefault, keyring.EncryptDecrypt)
	var ids []string
	for range 3 {
		made, _ := g.grant(t, m.ID, someGrant())
		ids = append(ids, made.ID)
	}
	if err := third2(g.mustOpen(t, m.ID, "kms:CreateGrant").CreateGrant(t.Context(), someGrant())); !errors.Is(err, keyring.ErrLimit) {
		t.Errorf("one more: %v, want ErrLimit", err)
	}
	g.grant(t, other.ID, someGrant())
	g.revoke(t, m.ID, ids[0])
	g.grant(t, m.ID, someGrant())
}

// A grantee whose pages somebody has damaged or deleted has nothing by them;
// what was in them can be revoked, and does not come back with them.
func TestDamagedGrantPages(t *testing.T) {
	for name, page := range map[string]int{"first": 0, "second": 1} {
		for _, deleted := range []bool{false, true} {
			t.Run(fmt.Sprint(name, deleted), func(t *testing.T) {
				g := newRig(t, nil, keyring.Options{})
				m := g.create(t, keyring.SymmetricDefault, keyring.EncryptDecrypt)
				var ids []string
				for range keyring.GrantPage + 3 {
					made, _ := g.grant(t, m.ID, someGrant())
					ids = append(ids, made.ID)
				}
				gone := ids[0]
				if page == 1 {
					gone = ids[len(ids)-1]
				}
				kvs, _, err := g.store.Range(t.Context(), "v1/grantee/", "v1/grantee0", 0)
				if err != nil || len(kvs) != 2 {
					t.Fatal(len(kvs), err)
				}
				// The page of the grant, and always the first, which has them all.
				var hurt, back []store.Op
				for _, kv := range kvs[:page+1] {
					op := store.Op{Key: kv.Key}
					if !deleted {
						op.Val = slices.Clone(kv.Val)
						op.Val[len(op.Val)-1] ^= 1
					}
					hurt, back = append(hurt, op), append(back, store.Op{Key: kv.Key, Val: kv.Val})
				}
				commit := func(ops []store.Op) {
					t.Helper()
					if _, ok, err := g.store.Commit(t.Context(), nil, ops); !ok || err != nil {
						t.Fatal(ok, err)
					}
				}
				commit(hurt)
				g.revoke(t, m.ID, gone)
				commit(back)
				g.watched(t)
				s, err := g.ring.Find(t.Context(), account, region, m.ID)
				if err != nil {
					t.Fatal(err)
				}
				seen := func() (there bool) {
					err := s.Resource().Grants.Of(t.Context(), grantee, "", func(g *authz.Grant) bool { there = there || g.ID == gone; return true })
					if err != nil && !errors.Is(err, record.ErrTampered) {
						t.Errorf("Of: %v", err)
					}
					return there
				}
				if seen() {
					t.Error("a revoked grant came back with its page")
				}
				if ids := g.list(t, m.ID, keyring.GrantFilter{}, 100); slices.Contains(ids, gone) {
					t.Error("it is still listed")
				}
			})
		}
	}
}

// Pages that have lost their first page are not found again by a new one.
func TestOrphanedGrantPages(t *testing.T) {
	g := newRig(t, nil, keyring.Options{})
	m := g.create(t, keyring.SymmetricDefault, keyring.EncryptDecrypt)
	var last string
	for range keyring.GrantPage + 3 {
		made, _ := g.grant(t, m.ID, someGrant())
		last = made.ID
	}
	kvs, _, err := g.store.Range(t.Context(), "v1/grantee/", "v1/grantee0", 0)
	if err != nil || len(kvs) != 2 {
		t.Fatal(len(kvs), err)
	}
	if _, ok, err := g.store.Commit(t.Context(), nil, []store.Op{{Key: kvs[0].Key}}); !ok || err != nil {
		t.Fatal(ok, err)
	}
	g.watched(t)
	var want []string
	for range keyring.GrantPage + 3 {
		made, _ := g.grant(t, m.ID, someGrant())
		want = append(want, made.ID)
	}
	slices.Sort(want)
	if got := g.of(t, m.ID, grantee); !slices.Equal(got, want) {
		t.Errorf("decisions see %d grants, want the %d new ones; %t", len(got), len(want), slices.Contains(got, last))
	}
	g.revoke(t, m.ID, last)
	if got := g.of(t, m.ID, grantee); !slices.Equal(got, want) {
		t.Errorf("afterwards decisions see %d grants, want %d", len(got), len(want))
	}
}

func TestRetirableGrants(t *testing.T) {
	g := newRig(t, nil, keyring.Options{})
	with := someGrant()
	with.Retiring, with.RetiringARN = retiree, retireeName
	want := make(map[string]string)
	for range 3 {
		m := g.create(t, keyring.SymmetricDefault, keyring.EncryptDecrypt)
		for range 3 {
			made, _ := g.grant(t, m.ID, with)
			want[made.ID] = m.ARN
		}
		g.grant(t, m.ID, someGrant())
	}
	c := newCall()
	p := permit(t, c, "kms:ListRetirableGrants", anyResource())
	got := make(map[string]string)
	after := ""
	for {
		page, more, err := g.ring.RetirableGrants(t.Context(), c, p, region, retiree, after, 2)
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range page {
			got[x.Grant.ID], after = x.KeyARN, x.After
		}
		if !more {
			break
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", got, want)
	}
	for _, other := range []struct{ region, retiring string }{{"us-east-1", retiree}, {region, grantee}} {
		if page, more, err := g.ring.RetirableGrants(t.Context(), c, p, other.region, other.retiring, "", 2); len(page) != 0 || more || err != nil {
			t.Errorf("%+v: %v, %t, %v", other, page, more, err)
		}
	}
}

// Those who make and revoke grants of one grantee at once get in each other's
// way, and none is lost.
func TestGrantsAtOnce(t *testing.T) {
	g := newRig(t, nil, keyring.Options{})
	m := g.create(t, keyring.SymmetricDefault, keyring.EncryptDecrypt)
	named := someGrant()
	named.Name = "once"
	var (
		mu    sync.Mutex
		stay  []string
		names []string
		work  sync.WaitGroup
	)
	for range 4 {
		work.Go(func() {
			for range 5 {
				a, _ := g.grant(t, m.ID, someGrant())
				b, _ := g.grant(t, m.ID, someGrant())
				n, _ := g.grant(t, m.ID, named)
				g.revoke(t, m.ID, b.ID)
				mu.Lock()
				stay, names = append(stay, a.ID), append(names, n.ID)
				mu.Unlock()
			}
		})
	}
	work.Wait()
	slices.Sort(names)
	if names = slices.Compact(names); len(names) != 1 {
		t.Errorf("one name has %d grants", len(names))
	}
	stay = append(stay, names...)
	slices.Sort(stay)
	if got := g.of(t, m.ID, grantee); !slices.Equal(got, stay) {
		t.Errorf("decisions see %d grants, want %d", len(got), len(stay))
	}
	if got := g.list(t, m.ID, keyring.GrantFilter{}, 100); !slices.Equal(got, stay) {
		t.Errorf("the list has %d grants, want %d", len(got), len(stay))
	}
}

// A change of the key between decision and commit makes the permit stale.
func TestGrantsOfAKeyThatChanged(t *testing.T) {
	g := newRig(t, nil, keyring.Options{})
	m := g.create(t, keyring.SymmetricDefault, keyring.EncryptDecrypt)
	made, _ := g.grant(t, m.ID, someGrant())
	create, revoke, retire := g.mustOpen(t, m.ID, "kms:CreateGrant"), g.mustOpen(t, m.ID, "kms:RevokeGrant"), g.mustOpen(t, m.ID, "kms:RetireGrant")
	if err := g.mustOpen(t, m.ID, "kms:UpdateKeyDescription").SetDescription(t.Context(), "new"); err != nil {
		t.Fatal(err)
	}
	if err := third2(create.CreateGrant(t.Context(), someGrant())); !errors.Is(err, keyring.ErrStale) {
		t.Errorf("CreateGrant: %v, want ErrStale", err)
	}
	if err := revoke.RevokeGrant(t.Context(), made.ID); !errors.Is(err, keyring.ErrStale) {
		t.Errorf("RevokeGrant: %v, want ErrStale", err)
	}
	if err := retire.RetireGrant(t.Context(), made.ID); !errors.Is(err, keyring.ErrStale) {
		t.Errorf("RetireGrant: %v, want ErrStale", err)
	}
	if got := g.of(t, m.ID, grantee); !slices.Equal(got, []string{made.ID}) {
		t.Errorf("decisions see %v", got)
	}
}

func TestGrantsGoWithTheirKey(t *testing.T) {
	g := newRig(t, nil, keyring.Options{})
	m := g.create(t, keyring.SymmetricDefault, keyring.EncryptDecrypt)
	with := someGrant()
	with.Retiring, with.RetiringARN = retiree, retireeName
	for i := range 60 {
		with.Name = fmt.Sprint(i)
		g.grant(t, m.ID, with)
	}
	stays := g.create(t, keyring.SymmetricDefault, keyring.EncryptDecrypt)
	kept, _ := g.grant(t, stays.ID, with)
	due, err := g.mustOpen(t, m.ID, "kms:ScheduleKeyDeletion").ScheduleDeletion(t.Context(), 7*24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	// They can be listed and revoked while the key waits.
	if ids := g.list(t, m.ID, keyring.GrantFilter{}, 50); len(ids) != 60 {
		t.Errorf("%d grants are listed", len(ids))
	} else {
		g.revoke(t, m.ID, ids[0])
	}
	if err := g.ring.RunDue(t.Context(), due); err != nil {
		t.Fatal(err)
	}
	for _, prefix := range []string{"v1/grant/", "v1/grantee/", "v1/retiring/", "v1/grantname/"} {
		kvs, _, err := g.store.Range(t.Context(), prefix, store.PrefixEnd(prefix), 0)
		if err != nil || len(kvs) != 1 || strings.Contains(kvs[0].Key, m.ID) {
			t.Errorf("%s: %d records are left, %v", prefix, len(kvs), err)
		}
	}
	if got := g.of(t, stays.ID, grantee); !slices.Equal(got, []string{kept.ID}) {
		t.Errorf("the other key's: %v", got)
	}
}

// What somebody puts into the store gives nothing.
func TestTamperedGrants(t *testing.T) {
	g := newRig(t, nil, keyring.Options{})
	m := g.create(t, keyring.SymmetricDefault, keyring.EncryptDecrypt)
	other := g.create(t, keyring.SymmetricDefault, keyring.EncryptDecrypt)
	g.grant(t, m.ID, someGrant())
	with := someGrant()
	with.Grantee = "AIDAOTHER"
	g.grant(t, other.ID, with)
	move := func(prefix string) {
		t.Helper()
		from, _, err := g.store.Range(t.Context(), prefix+account+"/"+region+"/"+m.ID, prefix+account+"/"+region+"/"+m.ID+"z", 0)
		if err != nil || len(from) != 1 {
			t.Fatalf("%d records, %v", len(from), err)
		}
		to := strings.Replace(from[0].Key, m.ID, other.ID, 1)
		if _, ok, err := g.store.Commit(t.Context(), nil, []store.Op{{Key: to, Val: from[0].Val}}); !ok || err != nil {
			t.Fatal(ok, err)
		}
	}
	move("v1/grantee/")
	move("v1/grant/")
	s, _ := g.ring.Find(t.Context(), account, region, other.ID)
	err := s.Resource().Grants.Of(t.Context(), grantee, "", func(g *authz.Grant) bool {
		t.Errorf("a grant of another key: %+v", g)
		return true
	})
	if !errors.Is(err, record.ErrTampered) {
		t.Errorf("Of: %v, want ErrTampered", err)
	}
	if ids := g.list(t, other.ID, keyring.GrantFilter{}, 10); len(ids) != 1 {
		t.Errorf("%d grants are listed, want the one that is whole", len(ids))
	}
}

// A grant whose record is gone, or that came back with an old page, gives
// nothing.
func TestGrantWithoutItsRecord(t *testing.T) {
	st := store.NewMem()
	g := newRig(t, st, keyring.Options{})
	m := g.create(t, keyring.SymmetricDefault, keyring.EncryptDecrypt)
	with := someGrant()
	with.Name = "x"
	made, _ := g.grant(t, m.ID, with)
	use := func(g *rig) (found bool, err error) {
		s, err := g.ring.Find(t.Context(), account, region, m.ID)
		if err != nil {
			t.Fatal(err)
		}
		err = s.Grants().Of(t.Context(), grantee, "", func(*authz.Grant) bool { found = true; return false })
		return found, err
	}
	if found, err := use(g); !found || err != nil {
		t.Fatal(found, err)
	}
	if _, ok, err := st.Commit(t.Context(), nil, []store.Op{{Key: "v1/grant/" + account + "/" + region + "/" + m.ID + "/" + made.ID}}); !ok || err != nil {
		t.Fatal(ok, err)
	}
	// As soon as the watch has told.
	for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		_, err := use(g)
		if errors.Is(err, keyring.ErrStale) {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("without its record: %v, want ErrStale", err)
		}
	}
	// Its name is free again.
	again, _ := g.grant(t, m.ID, with)
	if again.ID == made.ID {
		t.Error("the grant that is gone was found by name")
	}
	if third, _ := g.grant(t, m.ID, with); third.ID != again.ID {
		t.Error("the new grant was not found by name")
	}
}

func TestGrantOperations(t *testing.T) {
	for _, tt := range []struct {
		spec  keyring.Spec
		usage keyring.Usage
		yes   string
		no    string
	}{
		{keyring.SymmetricDefault, keyring.EncryptDecrypt, "Encrypt Decrypt GenerateDataKey GenerateDataKeyWithoutPlaintext GenerateDataKeyPair GenerateDataKeyPairWithoutPlaintext ReEncryptFrom ReEncryptTo", "Sign GetPublicKey GenerateMac DeriveSharedSecret"},
		{keyring.RSA2048, keyring.EncryptDecrypt, "Encrypt Decrypt ReEncryptFrom ReEncryptTo GetPublicKey", "GenerateDataKey GenerateDataKeyPair Sign"},
		{keyring.RSA2048, keyring.SignVerify, "Sign Verify GetPublicKey", "Encrypt GenerateMac"},
		{keyring.ECCNISTP256, keyring.SignVerify, "Sign Verify GetPublicKey", "Decrypt DeriveSharedSecret"},
		{keyring.ECCEdwards25519, keyring.SignVerify, "Sign Verify GetPublicKey", "DeriveSharedSecret"},
		{keyring.ECCNISTP521, keyring.KeyAgreement, "DeriveSharedSecret GetPublicKey", "Sign Verify Decrypt"},
		{keyring.MLDSA44, keyring.SignVerify, "Sign Verify GetPublicKey", "Encapsulate"},
		{keyring.MLKEM768, keyring.EncapsulateDecapsulate, "Encapsulate Decapsulate GetPublicKey", "Decrypt DeriveSharedSecret"},
		{keyring.HMAC512, keyring.GenerateVerifyMAC, "GenerateMac VerifyMac", "GetPublicKey Sign"},
	} {
		for _, o := range strings.Fields(tt.yes + " CreateGrant RetireGrant DescribeKey") {
			if !keyring.GrantOperation(tt.spec, tt.usage, o) {
				t.Errorf("%s is not for %s %s", o, tt.spec, tt.usage)
			}
		}
		for _, o := range strings.Fields(tt.no + " ListGrants decrypt") {
			if keyring.GrantOperation(tt.spec, tt.usage, o) {
				t.Errorf("%s is for %s %s", o, tt.spec, tt.usage)
			}
		}
	}
}
