package organizations_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	api "github.com/keyreeve/keyreeve/internal/api/organizationsapi"
	"github.com/keyreeve/keyreeve/internal/authz"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/identity"
	"github.com/keyreeve/keyreeve/internal/organizations"
	"github.com/keyreeve/keyreeve/internal/record"
	"github.com/keyreeve/keyreeve/internal/seal"
	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/internal/store"
	"github.com/keyreeve/keyreeve/internal/wire"
)

const (
	ours   = "111122223333"
	theirs = "444455556666"
)

// env is the operations over a real directory on a store in memory. There are
// the account ours with its administrator alice, and the account theirs with
// its administrator bob.
type env struct {
	t       testing.TB
	dir     *identity.Directory
	service *organizations.Service
	ops     map[string]*call.Operation
	keys    map[string]string // access key ids of users, by account/name
}

func (e *env) clock() time.Time { return time.Date(2026, 11, 21, 9, 30, 0, 123e6, time.UTC) }

func newEnv(t testing.TB) *env {
	t.Helper()
	ctx := context.Background()
	e := &env{t: t, keys: make(map[string]string)}
	log := slog.New(slog.DiscardHandler)
	st := store.NewMem()
	box, err := seal.Open(ctx, st, seal.Options{Provider: seal.Memory(), Now: e.clock})
	if err != nil {
		t.Fatalf("seal.Open: %v", err)
	}
	records, err := record.Open(ctx, st, box, record.Options{Now: e.clock, Log: log})
	if err != nil {
		t.Fatalf("record.Open: %v", err)
	}
	t.Cleanup(func() {
		_ = records.Close()
		_ = st.Close()
	})
	e.dir = identity.Open(records, identity.Options{Now: e.clock, Log: log})
	for account, name := range map[string]string{ours: "alice", theirs: "bob"} {
		if _, err := e.dir.CreateAccount(ctx, identity.Account{ID: account, Name: name + "'s", Management: account == theirs}); err != nil {
			t.Fatalf("CreateAccount: %v", err)
		}
		if _, err := e.dir.CreateUser(ctx, identity.User{Account: account, Name: name, Policies: []string{call.AdministratorAccess}}); err != nil {
			t.Fatalf("CreateUser: %v", err)
		}
	}
	e.service = organizations.New(e.dir, authz.New(e.dir), organizations.Options{Box: box, Log: log})
	e.ops = api.Operations(e.service)
	return e
}

// user makes a user of ours, or gives one another policy.
func (e *env) user(name, document string) {
	e.t.Helper()
	ctx := context.Background()
	if _, err := e.dir.User(ctx, ours, name); err != nil {
		if _, err := e.dir.CreateUser(ctx, identity.User{Account: ours, Name: name}); err != nil {
			e.t.Fatalf("CreateUser: %v", err)
		}
	}
	if err := e.dir.PutInlinePolicy(ctx, identity.Entity{Kind: identity.UserEntity, Account: ours, Name: name}, "p", document); err != nil {
		e.t.Fatalf("PutInlinePolicy: %v", err)
	}
}

// who returns the principal of a user: of ours, except for bob.
func (e *env) who(name string) *call.Principal {
	e.t.Helper()
	account := ours
	if name == "bob" {
		account = theirs
	}
	id, ok := e.keys[account+"/"+name]
	if !ok {
		k, err := e.dir.CreateAccessKey(context.Background(), account, name, "", secret.Bytes{})
		if err != nil {
			e.t.Fatalf("an access key for %s: %v", name, err)
		}
		id = k.ID
		k.Secret.Wipe()
		e.keys[account+"/"+name] = id
	}
	p, _, err := e.dir.Credential(context.Background(), id, "")
	if err != nil {
		e.t.Fatalf("the principal of %s: %v", name, err)
	}
	return p
}

// answer is how a call ended.
type answer struct {
	body []byte      // of a success
	err  *wire.Error // of a failure
}

func (a answer) text() string {
	if a.err == nil {
		return ""
	}
	return fmt.Sprintf("%s %d: %s", a.err.Code, a.err.Status, a.err.Message)
}

// call sends one request.
func (e *env) call(who *call.Principal, operation, request string) answer {
	e.t.Helper()
	op := e.ops[operation]
	if op == nil {
		e.t.Fatalf("operation %s is not routed", operation)
	}
	c := &call.Call{
		ID: "4d2b7e56-3c1f-4f4e-9a51-0e9a3f1c2b7d", Time: e.clock(), Region: "us-east-1", Service: api.SigningName,
		Source: netip.MustParseAddrPort("192.0.2.7:50000"), Operation: op, Caller: who,
	}
	out, err := op.Invoke(context.Background(), c, []byte(request), nil)
	a := answer{body: bytes.Clone(out), err: wire.AsError(err)}
	if a.err != nil && a.err.Status >= 500 {
		e.t.Errorf("%s(%.300s): %v", operation, request, a.err)
	}
	return a
}

func or(s, other string) string {
	if s == "" {
		return other
	}
	return s
}
