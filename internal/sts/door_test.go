package sts_test

import (
	"context"
	"encoding/xml"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/api/stsapi"
	"github.com/keyreeve/keyreeve/internal/authz"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/identity"
	"github.com/keyreeve/keyreeve/internal/record"
	"github.com/keyreeve/keyreeve/internal/seal"
	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/internal/server"
	"github.com/keyreeve/keyreeve/internal/sigv4"
	"github.com/keyreeve/keyreeve/internal/store"
	"github.com/keyreeve/keyreeve/internal/sts"
)

// door is STS over HTTP, on a real directory.
type door struct {
	t   *testing.T
	dir *identity.Directory
	url string

	mu      sync.Mutex
	now     time.Time
	records strings.Builder // what audit would have of each call
}

func (d *door) clock() time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.now
}

func (d *door) advance(by time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.now = d.now.Add(by)
}

// Err implements [server.Recorder].
func (d *door) Err() error { return nil }

// Append implements [server.Recorder].
func (d *door) Append(c *call.Call) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, a := range []call.Auditable{c.Parameters, c.Elements} {
		if a != nil {
			d.records.Write(a.AppendAudit(nil))
		}
	}
	return nil
}

// newDoor has the account ours with the user alice, and theirs with the user
// bob, both administrators.
func newDoor(t *testing.T) (d *door, alice, bob sigv4.Credentials) {
	t.Helper()
	ctx := context.Background()
	d = &door{t: t, now: time.Date(2026, 11, 21, 9, 30, 0, 123e6, time.UTC)}
	st := store.NewMem()
	box, err := seal.Open(ctx, st, seal.Options{Provider: seal.Memory(), Now: d.clock})
	if err != nil {
		t.Fatal(err)
	}
	records, err := record.Open(ctx, st, box, record.Options{Now: d.clock})
	if err != nil {
		t.Fatal(err)
	}
	d.dir = identity.Open(records, identity.Options{Now: d.clock})
	s, err := server.New(server.Config{Regions: []string{"eu-central-1"}, Now: d.clock})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Unseal(server.Backend{
		Services: []server.Service{{
			Name: stsapi.SigningName, Protocol: server.Query, Version: stsapi.Version, Namespace: stsapi.Namespace,
			Operations: stsapi.Operations(sts.New(d.dir, authz.New(d.dir), sts.Options{})), Skew: sts.Skew, ReadOnly: stsapi.ReadOnly,
		}},
		Credentials: d.dir, Audit: d,
	}); err != nil {
		t.Fatal(err)
	}
	listener := httptest.NewServer(s)
	d.url = listener.URL
	t.Cleanup(func() {
		listener.Close()
		_ = records.Close()
		_ = st.Close()
	})
	user := func(account, name string) sigv4.Credentials {
		if _, err := d.dir.CreateAccount(ctx, identity.Account{ID: account, Name: name + "'s"}); err != nil {
			t.Fatal(err)
		}
		if _, err := d.dir.CreateUser(ctx, identity.User{Account: account, Name: name, Policies: []string{call.AdministratorAccess}}); err != nil {
			t.Fatal(err)
		}
		k, err := d.dir.CreateAccessKey(ctx, account, name, "", secret.Bytes{})
		if err != nil {
			t.Fatal(err)
		}
		return sigv4.Credentials{AccessKeyID: k.ID, Key: sigv4.NewKey(k.Secret)}
	}
	return d, user(ours, "alice"), user(theirs, "bob")
}

// role makes a role of ours that trusts a principal, and may do everything.
func (d *door) role(name, principal string) string {
	d.t.Helper()
	r, err := d.dir.CreateRole(context.Background(), identity.Role{
		Account: ours, Name: name, Trust: allow(principal, ""), Policies: []string{call.AdministratorAccess},
	})
	if err != nil {
		d.t.Fatal(err)
	}
	return r.ARN
}

// call calls an operation and returns its answer, or the error's code and text.
func (d *door) call(who sigv4.Credentials, operation string, form ...string) (answer, string) {
	d.t.Helper()
	values := url.Values{"Action": {operation}, "Version": {stsapi.Version}}
	for i := 0; i < len(form); i += 2 {
		values.Set(form[i], form[i+1])
	}
	body := values.Encode()
	r, err := http.NewRequest("POST", d.url+"/", strings.NewReader(body))
	if err != nil {
		d.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	who.Sign(r, []byte(body), "eu-central-1", "sts", d.clock())
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		d.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		d.t.Fatal(err)
	}
	var got struct {
		Result answer `xml:",any"`
		Error  struct{ Code, Message string }
	}
	if err := xml.Unmarshal(text, &got); err != nil {
		d.t.Fatalf("%v in %s", err, text)
	}
	if resp.StatusCode != http.StatusOK {
		return answer{}, got.Error.Code + ": " + got.Error.Message
	}
	return got.Result, ""
}

func (a answer) credentials() sigv4.Credentials {
	return sigv4.Credentials{
		AccessKeyID: a.Credentials.AccessKeyId, Token: a.Credentials.SessionToken,
		Key: sigv4.NewKey(secret.New([]byte(a.Credentials.SecretAccessKey))),
	}
}

func (d *door) must(who sigv4.Credentials, operation string, form ...string) answer {
	d.t.Helper()
	a, problem := d.call(who, operation, form...)
	if problem != "" {
		d.t.Fatalf("%s: %s", operation, problem)
	}
	return a
}

// principal is whom the directory takes the credentials for.
func (d *door) principal(c sigv4.Credentials) *call.Principal {
	d.t.Helper()
	p, _, err := d.dir.Credential(context.Background(), c.AccessKeyID, c.Token)
	if err != nil {
		d.t.Fatal(err)
	}
	return p
}

func assuming(role, session string, more ...string) []string {
	return append([]string{"RoleArn", role, "RoleSessionName", session}, more...)
}

func TestSessions(t *testing.T) {
	d, alice, bob := newDoor(t)
	reader := d.role("reader", "arn:aws:iam::111122223333:user/alice")
	next := d.role("next", reader)
	shared := d.role("shared", theirs)

	first := d.must(alice, "AssumeRole", assuming(reader, "s1", "SourceIdentity", "alice",
		"Tags.member.1.Key", "Team", "Tags.member.1.Value", "red", "Tags.member.2.Key", "Cost", "Tags.member.2.Value", "7",
		"TransitiveTagKeys.member.1", "Team")...)
	session := first.credentials()
	if a := d.must(session, "GetCallerIdentity"); a.ARN != "arn:aws:sts::111122223333:assumed-role/reader/s1" || a.ARN != first.Role.Arn || a.UserID != first.Role.AssumedRoleId {
		t.Errorf("the session is %+v", a)
	}

	second := d.must(session, "AssumeRole", assuming(next, "s2")...)
	if second.Source != "alice" {
		t.Errorf("the source identity is %q", second.Source)
	}
	p := d.principal(second.credentials())
	if p.EntityARN != next || !p.Session.Chained || p.Session.SourceIdentity != "alice" || len(p.Tags) != 1 || p.Tags[0] != (call.Pair{Name: "Team", Value: "red"}) {
		t.Errorf("the chained session is %+v, %+v", p, p.Session)
	}
	if _, problem := d.call(session, "AssumeRole", assuming(next, "s2", "DurationSeconds", "3601")...); !strings.HasPrefix(problem, "ValidationError: The requested DurationSeconds exceeds the 1 hour") {
		t.Errorf("a long chained session: %s", problem)
	}

	limited := d.must(alice, "AssumeRole", assuming(reader, "s3", "Policy", identityAllow("kms:*", "*"))...)
	if _, problem := d.call(limited.credentials(), "AssumeRole", assuming(next, "s2")...); !strings.HasSuffix(problem, "because no session policy allows the sts:AssumeRole action") {
		t.Errorf("a session that may not assume: %s", problem)
	}

	if a := d.must(bob, "AssumeRole", assuming(shared, "b1")...); a.Role.Arn != "arn:aws:sts::111122223333:assumed-role/shared/b1" {
		t.Errorf("a session for another account: %+v", a)
	}
	if _, problem := d.call(bob, "AssumeRole", assuming(reader, "b1")...); problem != "AccessDenied: User: arn:aws:iam::444455556666:user/bob is not authorized to perform: sts:AssumeRole on resource: "+reader {
		t.Errorf("a role that does not trust: %s", problem)
	}

	user := d.must(alice, "GetSessionToken", "DurationSeconds", "900").credentials()
	if a := d.must(user, "GetCallerIdentity"); a.ARN != "arn:aws:iam::111122223333:user/alice" {
		t.Errorf("the user's session is %+v", a)
	}
	d.must(user, "AssumeRole", assuming(reader, "s4")...)
	if _, problem := d.call(user, "GetAccessKeyInfo", "AccessKeyId", user.AccessKeyID); !strings.HasPrefix(problem, "AccessDenied: ") {
		t.Errorf("what a user's session may not: %s", problem)
	}
	if a := d.must(alice, "GetAccessKeyInfo", "AccessKeyId", bob.AccessKeyID); a.Account != theirs {
		t.Errorf("bob's access key is of %s", a.Account)
	}
	federated := d.must(alice, "GetFederationToken", "Name", "carol").credentials()
	if a := d.must(federated, "GetCallerIdentity"); a.ARN != "arn:aws:sts::111122223333:federated-user/carol" {
		t.Errorf("the federated user is %+v", a)
	}

	// Sessions end.
	d.advance(16 * time.Minute)
	if _, problem := d.call(user, "GetCallerIdentity"); problem != "ExpiredToken: The security token included in the request is expired" {
		t.Errorf("a session that is over: %s", problem)
	}
	altered := session
	altered.Token = altered.Token[:len(altered.Token)-1]
	if _, problem := d.call(altered, "GetCallerIdentity"); problem != "InvalidClientTokenId: The security token included in the request is invalid." {
		t.Errorf("an altered token: %s", problem)
	}
	other := session
	other.Token = second.Credentials.SessionToken
	if _, problem := d.call(other, "GetCallerIdentity"); !strings.HasPrefix(problem, "InvalidClientTokenId: ") {
		t.Errorf("another session's token: %s", problem)
	}
	if err := d.dir.DetachPolicy(context.Background(), identity.Entity{Kind: identity.RoleEntity, Account: ours, Name: "next"}, call.AdministratorAccess); err != nil {
		t.Fatal(err)
	}
	if err := d.dir.DeleteRole(context.Background(), ours, "next"); err != nil {
		t.Fatal(err)
	}
	if _, problem := d.call(second.credentials(), "GetCallerIdentity"); !strings.HasPrefix(problem, "InvalidClientTokenId: ") {
		t.Errorf("the session of a role that is gone: %s", problem)
	}
	// A namesake of what a trust policy names gets nothing.
	if _, problem := d.call(session, "AssumeRole", assuming(next, "s2")...); !strings.HasPrefix(problem, "AccessDenied: ") {
		t.Errorf("a role that is gone: %s", problem)
	}

	// Nothing that a session is used with is on record.
	records := d.records.String()
	for _, a := range []answer{first, second, limited} {
		if !strings.Contains(records, a.Credentials.AccessKeyId) {
			t.Errorf("no record of %s", a.Credentials.AccessKeyId)
		}
		if strings.Contains(records, a.Credentials.SecretAccessKey) || strings.Contains(records, a.Credentials.SessionToken) {
			t.Errorf("the records show the credentials of %s", a.Role.Arn)
		}
	}
}

// TestNamesake: a role that trusts a user trusts no other who has the name
// later.
func TestNamesake(t *testing.T) {
	d, _, _ := newDoor(t)
	ctx := context.Background()
	newCarol := func() sigv4.Credentials {
		if _, err := d.dir.CreateUser(ctx, identity.User{Account: ours, Name: "carol"}); err != nil {
			t.Fatal(err)
		}
		k, err := d.dir.CreateAccessKey(ctx, ours, "carol", "", secret.Bytes{})
		if err != nil {
			t.Fatal(err)
		}
		return sigv4.Credentials{AccessKeyID: k.ID, Key: sigv4.NewKey(k.Secret)}
	}
	carol := newCarol()
	role := d.role("of-carol", "arn:aws:iam::111122223333:user/carol")
	d.must(carol, "AssumeRole", assuming(role, "s1")...)
	if err := d.dir.DeleteAccessKey(ctx, carol.AccessKeyID); err != nil {
		t.Fatal(err)
	}
	if err := d.dir.DeleteUser(ctx, ours, "carol"); err != nil {
		t.Fatal(err)
	}
	if _, problem := d.call(newCarol(), "AssumeRole", assuming(role, "s1")...); !strings.HasSuffix(problem, "because no role trust policy allows the sts:AssumeRole action") {
		t.Errorf("her namesake: %q", problem)
	}
}
