package identity_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/identity"
	"github.com/keyreeve/keyreeve/internal/secret"
)

// store has a directory store what it noted.
func storeUses(ctx context.Context, d *identity.Directory) {
	over, cancel := context.WithCancel(ctx)
	cancel()
	d.KeepUses(over, time.Hour, time.Minute)
}

func TestLastUse(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	used := func(d *identity.Directory, p *call.Principal, region string) {
		d.NoteUse(&call.Call{Caller: p, Time: h.clock.now(), Region: region, Service: "kms"})
	}
	last := func(d *identity.Directory, id string) identity.Use {
		t.Helper()
		u, err := d.LastUse(ctx, ours, id)
		h.ok(err)
		return u
	}
	alice, _, err := h.Credential(ctx, h.key, "")
	h.ok(err)
	session := h.caller2(h.session(h.assume(h.role("worker", trusting(ours)), func(*identity.SessionParams) {})))
	role := session.EntityID

	if u := last(h.Directory, h.key); u != (identity.Use{}) {
		t.Errorf("used before it was: %+v", u)
	}
	at := h.clock.now()
	used(h.Directory, alice, "eu-west-1")
	used(h.Directory, session, "eu-west-2")
	h.clock.advance(time.Second)
	used(h.Directory, alice, "eu-west-3") // in the same minute
	h.Directory.NoteUse(&call.Call{Time: at})
	temporary := *alice
	temporary.Session, temporary.AccessKeyID = &call.Session{}, "ASIAOFALICE000000000"
	used(h.Directory, &temporary, "eu-west-1")
	want := identity.Use{Time: at, Region: "eu-west-1", Service: "kms"}
	if u := last(h.Directory, h.key); u != want {
		t.Errorf("last use is %+v, want %+v", u, want)
	}
	if u := last(h.Directory, role); u.Region != "eu-west-2" || !u.Time.Equal(at) {
		t.Errorf("last use of the role is %+v", u)
	}
	if u := last(h.Directory, temporary.AccessKeyID); u != (identity.Use{}) {
		t.Errorf("a temporary access key has a last use: %+v", u)
	}
	if u, err := h.LastUse(ctx, theirs, h.key); err != nil || u != (identity.Use{}) {
		t.Errorf("in another account it is %+v, %v", u, err)
	}

	// Another node knows once it is stored.
	if u := last(h.other, h.key); u != (identity.Use{}) {
		t.Errorf("another node knows already: %+v", u)
	}
	storeUses(ctx, h.Directory)
	if u := last(h.other, h.key); u != want {
		t.Errorf("on another node last use is %+v, want %+v", u, want)
	}
	// What it saw later counts, whoever stores last.
	h.clock.advance(time.Hour)
	used(h.other, alice, "us-east-1")
	h.clock.advance(-time.Minute)
	used(h.Directory, alice, "us-west-1")
	storeUses(ctx, h.other)
	storeUses(ctx, h.Directory)
	storeUses(ctx, h.Directory) // forgets what was not used since
	for _, d := range []*identity.Directory{h.Directory, h.other} {
		if u := last(d, h.key); u.Region != "us-east-1" {
			t.Errorf("last use is %+v", u)
		}
	}

	// It goes with what was used, and does not come back.
	used(h.Directory, session, "eu-west-1")
	h.clock.advance(time.Hour)
	used(h.Directory, alice, "eu-west-1")
	h.ok(h.DeleteAccessKey(ctx, h.key))
	h.ok(h.DeleteRole(ctx, ours, "worker"))
	storeUses(ctx, h.Directory)
	storeUses(ctx, h.other) // forgets it
	for _, id := range []string{h.key, role} {
		if u := last(h.other, id); u != (identity.Use{}) {
			t.Errorf("%s is gone and was last used %+v", id, u)
		}
	}
}

// TestLastUseTampered: a record that was altered is no last use, and no error.
func TestLastUseTampered(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	alice, _, err := h.Credential(ctx, h.key, "")
	h.ok(err)
	h.NoteUse(&call.Call{Caller: alice, Time: h.clock.now(), Region: "eu-west-1", Service: "kms"})
	storeUses(ctx, h.Directory)
	k, err := h.CreateAccessKey(ctx, ours, "alice", "", secret.Bytes{})
	h.ok(err)
	h.damage(t, "v1/used/"+ours+"/"+h.key)
	for _, id := range []string{h.key, k.ID} {
		if u, err := h.other.LastUse(ctx, ours, id); err != nil || u != (identity.Use{}) {
			t.Errorf("last use is %+v, %v", u, err)
		}
	}
	h.ok(h.DeleteAccessKey(ctx, h.key))
}

// TestUsesBesideDamage: what cannot be stored because of a damaged record keeps
// nothing else from being stored.
func TestUsesBesideDamage(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	var log logged
	d := identity.Open(h.rs, identity.Options{Now: h.clock.now, Log: slog.New(slog.NewTextHandler(&log, nil))})
	var ids []string
	note := func() {
		for _, id := range ids {
			p := &call.Principal{Kind: call.User, Account: ours, AccessKeyID: id}
			d.NoteUse(&call.Call{Caller: p, Time: h.clock.now(), Region: "eu-west-1", Service: "kms"})
		}
	}
	for i := range 20 {
		name := fmt.Sprint("u", i)
		h.user(name)
		ids = append(ids, h.accessKey(name))
	}
	note()
	storeUses(ctx, d)
	h.damage(t, "v1/akid/"+ids[3])
	h.damage(t, "v1/used/"+ours+"/"+ids[12])
	h.clock.advance(time.Hour)
	note()
	storeUses(ctx, d)
	for i, id := range ids {
		if i == 12 {
			continue
		}
		want := h.clock.now()
		if i == 3 {
			want = want.Add(-time.Hour)
		}
		if u, err := h.other.LastUse(ctx, ours, id); err != nil || !u.Time.Equal(want) {
			t.Errorf("%d: last use is %+v, %v, want %v", i, u, err, want)
		}
	}
	for _, i := range []int{3, 12} {
		if n := strings.Count(log.String(), "id="+ids[i]); n != 1 {
			t.Errorf("%d lines of the log tell of %s:\n%s", n, ids[i], log.String())
		}
	}
	storeUses(ctx, d) // nothing is new: nothing is told again
	if n := strings.Count(log.String(), "level="); n != 2 {
		t.Errorf("%d lines:\n%s", n, log.String())
	}
}

// logged is a log as text.
type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestHolder(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	h.role("worker", trusting(ours))
	_, err := h.CreateGroup(ctx, identity.Group{Account: ours, Name: "staff"})
	h.ok(err)
	h.ok(h.AddUserToGroup(ctx, ours, "staff", "alice"))
	p := h.policy("p", allow("kms:*"))
	h.ok(h.AttachPolicy(ctx, aGroup("staff"), p))
	h.ok(h.PutInlinePolicy(ctx, aGroup("staff"), "in", allow("kms:*")))
	h.ok(h.PutInlinePolicy(ctx, aUser("alice"), "own", allow("kms:*")))
	h.ok(h.SetBoundary(ctx, aUser("alice"), p))
	for _, tt := range []struct {
		of       identity.Entity
		arn      string
		kind     call.PrincipalKind
		policies []string
	}{
		{aUser("alice"), "arn:aws:iam::" + ours + ":user/alice", call.User, []string{
			"own of arn:aws:iam::" + ours + ":user/alice", "in of arn:aws:iam::" + ours + ":group/staff", "p of ",
		}},
		{aGroup("staff"), "", call.User, []string{"in of arn:aws:iam::" + ours + ":group/staff", "p of "}},
		{identity.Entity{Kind: identity.RoleEntity, Account: ours, Name: "worker"}, "arn:aws:iam::" + ours + ":role/worker", call.RoleSession, nil},
	} {
		p, err := h.Holder(ctx, tt.of)
		if err != nil {
			t.Errorf("%s: %v", tt.of, err)
			continue
		}
		var policies []string
		for _, a := range p.Policies.Identity {
			policies = append(policies, a.Name+" of "+a.Of)
		}
		if p.ARN != tt.arn || p.EntityARN != tt.arn || p.Kind != tt.kind || p.Account != ours || len(policies) != len(tt.policies) {
			t.Errorf("%s: %+v with %q", tt.of, p, policies)
			continue
		}
		for i := range policies {
			if policies[i] != tt.policies[i] {
				t.Errorf("%s has %q, want %q", tt.of, policies, tt.policies)
			}
		}
		if bounded := p.Policies.Boundary != nil; bounded != (tt.kind == call.User && tt.arn != "") {
			t.Errorf("%s: boundary %t", tt.of, bounded)
		}
	}
	_, err = h.Holder(ctx, aUser("nobody"))
	h.wants("nobody", err, identity.ErrNotFound)
	_, err = h.Holder(ctx, aUser("no/body"))
	h.wants("no name", err, identity.ErrNotFound)
	list, err := h.InlineDocuments(ctx, aUser("alice"))
	if err != nil || len(list) != 1 || list[0] != (identity.InlinePolicy{Name: "own", Document: allow("kms:*")}) {
		t.Errorf("inline policies: %v, %v", list, err)
	}
	_, err = h.InlineDocuments(ctx, aUser("nobody"))
	h.wants("nobody's inline policies", err, identity.ErrNotFound)
}
