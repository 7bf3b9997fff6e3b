package keyring_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/arn"
	"github.com/keyreeve/keyreeve/internal/authz"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/keyring"
	"github.com/keyreeve/keyreeve/internal/record"
	"github.com/keyreeve/keyreeve/internal/seal"
	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/internal/store"
	"github.com/keyreeve/keyreeve/policy"
)

const (
	account = "111122223333"
	region  = "eu-central-1"
)

var start = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// admin is the administrator of an account.
func admin(account string) *call.Principal {
	name := arn.Root("aws", account)
	return &call.Principal{
		Kind: call.Root, Account: account, ARN: name, EntityARN: name,
		Names: policy.Principal{Account: account, Root: true, ARN: name},
	}
}

// rig is a ring over an in-memory store.
type rig struct {
	store   store.Store
	box     *seal.Box
	records *record.Store
	arena   *seal.Arena
	ring    *keyring.Ring
}

// newRig returns a rig; o.Arena is filled in unless st is given one by edit.
func newRig(t testing.TB, st store.Store, o keyring.Options) *rig {
	t.Helper()
	if st == nil {
		st = store.NewMem()
	}
	g := &rig{store: st}
	var err error
	if g.box, err = seal.Open(t.Context(), st, seal.Options{Provider: provider}); err != nil {
		t.Fatal(err)
	}
	if g.records, err = record.Open(t.Context(), st, g.box, recordOptions); err != nil {
		t.Fatal(err)
	}
	if o.Arena == nil {
		if g.arena, err = seal.NewArena(seal.ArenaOptions{Size: 1 << 16}); err != nil {
			t.Fatal(err)
		}
		o.Arena = g.arena
	}
	if o.Now == nil {
		o.Now = func() time.Time { return start }
	}
	if o.SpareRSA == 0 {
		o.SpareRSA = -1
	}
	if g.ring, err = keyring.New(g.records, g.box, o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		g.ring.Close()
		g.records.Close()
	})
	return g
}

// watched waits until the watch has brought whatever was changed in the store
// before, and not by way of the rig's records.
func (g *rig) watched(t testing.TB) {
	t.Helper()
	const last = "v1/watched"
	told := make(chan struct{})
	tell := sync.OnceFunc(func() { close(told) })
	g.records.OnChange(func(key string) {
		if key == last {
			tell()
		}
	})
	if _, ok, err := g.store.Commit(t.Context(), nil, []store.Op{{Key: last, Val: []byte("x")}}); !ok || err != nil {
		t.Fatal(ok, err)
	}
	<-told
}

// recordOptions are those of a rig's records.
var recordOptions record.Options

// provider is shared, so that a second rig opens the store of the first. Its
// root key is there before tests run beside each other.
var provider = func() seal.Provider {
	p := seal.Memory()
	if _, _, err := p.Create(context.Background()); err != nil {
		panic(err)
	}
	return p
}()

// newCall returns a call of the account's administrator.
func newCall() *call.Call {
	return &call.Call{Caller: admin(account), Time: start, Region: region}
}

// permit decides, as the administrator.
func permit(t testing.TB, c *call.Call, action string, r authz.Resource) authz.Permit {
	t.Helper()
	p, err := authz.New(nil).Decide(t.Context(), c, action, &r, nil)
	if err != nil {
		t.Fatalf("Decide(%s on %s): %v", action, r.ARN, err)
	}
	return p
}

func anyResource() authz.Resource { return authz.Resource{ARN: "*", Account: account} }

// create makes a key.
func (g *rig) create(t testing.TB, s keyring.Spec, u keyring.Usage) *keyring.Metadata {
	t.Helper()
	c := newCall()
	m, err := g.ring.Create(t.Context(), c, permit(t, c, "kms:CreateKey", anyResource()),
		keyring.CreateParams{Account: account, Region: region, Spec: s, Usage: u})
	if err != nil {
		t.Fatalf("Create(%s, %s): %v", s, u, err)
	}
	return m
}

// seed makes a key with a fixed id and material.
func (g *rig) seed(t testing.TB, id string, s keyring.Spec, u keyring.Usage, material []byte) *keyring.Metadata {
	t.Helper()
	m, err := g.ring.Create(t.Context(), nil, authz.System("seed").Permit("kms:CreateKey", anyResource()),
		keyring.CreateParams{Account: account, Region: region, Spec: s, Usage: u, ID: id, Material: secret.New(material)})
	if err != nil {
		t.Fatalf("Create(%s): %v", id, err)
	}
	return m
}

// open finds a key, decides and opens it, in a call of its own.
func (g *rig) open(t testing.TB, id, action string) (keyring.Key, *call.Call, error) {
	t.Helper()
	s, err := g.ring.Find(t.Context(), account, region, id)
	if err != nil {
		return keyring.Key{}, nil, err
	}
	c := newCall()
	k, err := g.ring.Open(t.Context(), c, permit(t, c, action, s.Resource()))
	return k, c, err
}

// mustOpen is open without an error.
func (g *rig) mustOpen(t testing.TB, id, action string) keyring.Key {
	t.Helper()
	k, _, err := g.open(t, id, action)
	if err != nil {
		t.Fatalf("Open(%s for %s): %v", id, action, err)
	}
	return k
}

func (g *rig) aliasPermit(t testing.TB, c *call.Call, action, name string) authz.Permit {
	t.Helper()
	return permit(t, c, action, authz.Resource{ARN: arn.Alias(region, account, name), Account: account})
}

func (g *rig) createAlias(t testing.TB, id, name string) error {
	t.Helper()
	return keyring.Attempt(context.Background(), func() error {
		k, c, err := g.open(t, id, "kms:CreateAlias")
		if err != nil {
			return err
		}
		return k.CreateAlias(t.Context(), g.aliasPermit(t, c, "kms:CreateAlias", name), name)
	})
}
