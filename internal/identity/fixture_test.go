package identity_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/identity"
	"github.com/keyreeve/keyreeve/internal/record"
	"github.com/keyreeve/keyreeve/internal/seal"
	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/internal/store"
	"github.com/keyreeve/keyreeve/policy"
)

const (
	ours   = "111122223333"
	theirs = "444455556666"
)

// clock is a clock that tests set.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// house is an installation with two accounts, ours with a user alice and an
// access key of hers, and a second node on the same store.
type house struct {
	fixture
	t     *testing.T
	clock *clock
	box   *seal.Box
	other *identity.Directory // of the second node
	key   string              // access key id of alice
}

func newHouse(t *testing.T) *house {
	t.Helper()
	h := &house{t: t, clock: &clock{t: time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)}}
	st := &counting{Store: store.NewMem()}
	quiet := slog.New(slog.DiscardHandler)
	var err error
	if h.box, err = seal.Open(t.Context(), st, seal.Options{Provider: seal.Memory()}); err != nil {
		t.Fatal(err)
	}
	node := func() (*record.Store, *identity.Directory) {
		rs, err := record.Open(t.Context(), st, h.box, record.Options{Heartbeat: time.Hour, Log: quiet})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { rs.Close() })
		return rs, identity.Open(rs, identity.Options{Now: h.clock.now, Log: quiet})
	}
	rs, d := node()
	h.fixture = fixture{d, st, rs}
	_, h.other = node()
	for _, id := range []string{ours, theirs} {
		_, err := d.CreateAccount(t.Context(), identity.Account{ID: id})
		h.ok(err)
	}
	h.user("alice")
	h.key = h.accessKey("alice")
	return h
}

func (h *house) ok(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

// wants checks that err is of a kind.
func (h *house) wants(what string, err, kind error) {
	h.t.Helper()
	if !errors.Is(err, kind) {
		h.t.Errorf("%s: %v, want %v", what, err, kind)
	}
}

func (h *house) user(name string) identity.User {
	h.t.Helper()
	u, err := h.CreateUser(h.t.Context(), identity.User{Account: ours, Name: name})
	h.ok(err)
	return u
}

func (h *house) accessKey(user string) string {
	h.t.Helper()
	k, err := h.CreateAccessKey(h.t.Context(), ours, user, "", secret.Bytes{})
	h.ok(err)
	return k.ID
}

func (h *house) role(name, trust string) identity.Role {
	h.t.Helper()
	r, err := h.CreateRole(h.t.Context(), identity.Role{Account: ours, Name: name, Trust: trust})
	h.ok(err)
	return r
}

func (h *house) policy(name, document string) string {
	h.t.Helper()
	p, err := h.CreatePolicy(h.t.Context(), identity.ManagedPolicy{Account: ours, Name: name}, document)
	h.ok(err)
	return p.ARN
}

// caller returns the principal of an access key.
func (h *house) caller(id, token string) *call.Principal {
	h.t.Helper()
	p, _, err := h.Credential(h.t.Context(), id, token)
	h.ok(err)
	return p
}

// alice returns the principal of alice's access key.
func (h *house) alice() *call.Principal {
	h.t.Helper()
	return h.caller(h.key, "")
}

func aUser(name string) identity.Entity {
	return identity.Entity{Kind: identity.UserEntity, Account: ours, Name: name}
}

func aGroup(name string) identity.Entity {
	return identity.Entity{Kind: identity.GroupEntity, Account: ours, Name: name}
}

func aRole(name string) identity.Entity {
	return identity.Entity{Kind: identity.RoleEntity, Account: ours, Name: name}
}

// allow and deny return documents.
func allow(actions ...string) string { return document("Allow", actions) }
func deny(actions ...string) string  { return document("Deny", actions) }

func document(effect string, actions []string) string {
	return `{"Version":"2012-10-17","Statement":[{"Effect":"` + effect + `","Action":["` + strings.Join(actions, `","`) + `"],"Resource":"*"}]}`
}

func trusting(principal string) string {
	return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"` + principal + `"},"Action":"sts:AssumeRole"}]}`
}

// may says what the policies that go with a principal say to an action.
func may(p *call.Principal, action string) string {
	if p.Policies.Broken != "" || p.Organization != nil && p.Organization.Broken != "" {
		return "broken"
	}
	ask := func(list []call.Attached) (r policy.Result) {
		for _, a := range list {
			one := a.Policy.Evaluate(&policy.Request{Principal: &p.Names, Action: action, Resource: "*"}, nil)
			r.Allow, r.Deny = r.Allow || one.Allow, r.Deny || one.Deny
		}
		return r
	}
	layers := []policy.Result{ask(p.Policies.Identity)}
	if p.Policies.Boundary != nil {
		layers = append(layers, ask([]call.Attached{*p.Policies.Boundary}))
	}
	if p.Policies.Limited {
		layers = append(layers, ask(p.Policies.Session))
	}
	if p.Organization != nil {
		for _, level := range p.Organization.ServiceControl {
			layers = append(layers, ask(level))
		}
	}
	allowed := true
	for _, r := range layers {
		if r.Deny {
			return "denied"
		}
		allowed = allowed && r.Allow
	}
	if !allowed {
		return "nothing"
	}
	return "allowed"
}

// asked evaluates a policy for a caller.
func asked(p *policy.Policy, c *call.Principal, action string) policy.Result {
	return p.Evaluate(&policy.Request{Principal: &c.Names, Action: action, Resource: "*"}, nil)
}

// damage changes a record underneath.
func (h *house) damage(t *testing.T, key string) {
	t.Helper()
	kv, _, err := h.st.Get(t.Context(), key)
	if err != nil || kv.Rev == 0 {
		t.Fatalf("no record at %s: %v", key, err)
	}
	kv.Val[len(kv.Val)-1] ^= 1
	if _, ok, err := h.st.Commit(t.Context(), nil, []store.Op{{Key: key, Val: kv.Val}}); err != nil || !ok {
		t.Fatal(ok, err)
	}
}

// says checks what the policies of alice say to an action, on both nodes.
func (h *house) says(what, action, want string) {
	h.t.Helper()
	if got := may(h.alice(), action); got != want {
		h.t.Errorf("%s: %s to %s, want %s", what, got, action, want)
	}
	h.elsewhere(what, h.key, "", func(p *call.Principal) string { return may(p, action) }, want)
}

// elsewhere waits for the second node to see what it must.
func (h *house) elsewhere(what, id, token string, see func(*call.Principal) string, want string) {
	h.t.Helper()
	var got string
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(time.Millisecond) {
		p, _, err := h.other.Credential(context.Background(), id, token)
		if err != nil {
			got = fmt.Sprint(err)
		} else if got = see(p); got == want {
			return
		}
		if got == want {
			return
		}
	}
	h.t.Errorf("%s: on another node %s, want %s", what, got, want)
}
