package cloudtrail_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	api "github.com/keyreeve/keyreeve/internal/api/cloudtrailapi"
	"github.com/keyreeve/keyreeve/internal/archive"
	"github.com/keyreeve/keyreeve/internal/archive/index"
	"github.com/keyreeve/keyreeve/internal/authz"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/cloudtrail"
	"github.com/keyreeve/keyreeve/internal/config"
	"github.com/keyreeve/keyreeve/internal/identity"
	"github.com/keyreeve/keyreeve/internal/record"
	"github.com/keyreeve/keyreeve/internal/seal"
	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/internal/store"
	"github.com/keyreeve/keyreeve/internal/trail"
	"github.com/keyreeve/keyreeve/internal/wire"
)

const (
	ours   = "111122223333"
	theirs = "444455556666"
	home   = "eu-central-1"
	away   = "us-east-1"
)

// env is the operations over real trails on a store in memory. There are the
// account ours with its administrator alice, and the account theirs with its
// administrator bob; the bucket logs is open to both, closed to nobody, and the
// log group audit to ours.
type env struct {
	t      testing.TB
	dir    *identity.Directory
	trails *trail.Set
	ops    map[string]*call.Operation
	users  map[string]*call.Principal
	events events
	keys   keys
	now    time.Time
	region string // that requests are signed for

	options cloudtrail.Options
}

func newEnv(t testing.TB) *env {
	t.Helper()
	ctx := context.Background()
	e := &env{t: t, users: make(map[string]*call.Principal), now: time.Date(2026, 11, 22, 9, 30, 0, 123e6, time.UTC), region: home}
	log := slog.New(slog.DiscardHandler)
	st := store.NewMem()
	clock := func() time.Time { return e.now }
	box, err := seal.Open(ctx, st, seal.Options{Provider: seal.Memory(), Now: clock})
	if err != nil {
		t.Fatalf("seal.Open: %v", err)
	}
	records, err := record.Open(ctx, st, box, record.Options{Now: clock, Log: log})
	if err != nil {
		t.Fatalf("record.Open: %v", err)
	}
	t.Cleanup(func() {
		_ = records.Close()
		_ = st.Close()
	})
	e.dir = identity.Open(records, identity.Options{Now: clock, Log: log})
	for account, name := range map[string]string{ours: "alice", theirs: "bob"} {
		if _, err := e.dir.CreateAccount(ctx, identity.Account{ID: account, Name: name + "'s", Management: account == ours}); err != nil {
			t.Fatalf("CreateAccount: %v", err)
		}
		if _, err := e.dir.CreateUser(ctx, identity.User{Account: account, Name: name, Policies: []string{call.AdministratorAccess}}); err != nil {
			t.Fatalf("CreateUser: %v", err)
		}
		e.users[name] = e.principal(account, name)
	}
	credentials := filepath.Join(t.TempDir(), "credentials")
	if err := os.WriteFile(credentials, []byte("[default]\naws_access_key_id = AKIAIOSFODNN7EXAMPLE\naws_secret_access_key = x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	e.trails, err = trail.New(records, trail.Options{
		Source: noFiles{},
		Buckets: []config.Bucket{
			{Name: "logs", Endpoint: "https://s3.example.com", Region: away, CredentialsFile: credentials, Style: "path", Accounts: []string{"*"}},
			{Name: "bobs-logs", Endpoint: "https://s3.example.com", Region: away, CredentialsFile: credentials, Style: "path", Accounts: []string{theirs}},
		},
		LogGroups:    []config.LogGroup{{Name: "audit", Address: "tls://syslog.example.com:6514", Accounts: []string{ours}}},
		Organization: func(context.Context, string) (*call.Organization, error) { return nil, nil },
		Now:          clock, Log: log,
	})
	if err != nil {
		t.Fatalf("trail.New: %v", err)
	}
	e.serve(cloudtrail.Options{Trails: e.trails, Events: &e.events, Keys: &e.keys, Box: box, Log: log})
	return e
}

// serve makes the operations with these options.
func (e *env) serve(o cloudtrail.Options) {
	e.options = o
	e.ops = api.Operations(cloudtrail.New(authz.New(e.dir), o))
}

// principal returns that of a user.
func (e *env) principal(account, name string) *call.Principal {
	e.t.Helper()
	k, err := e.dir.CreateAccessKey(context.Background(), account, name, "", secret.Bytes{})
	if err != nil {
		e.t.Fatalf("an access key for %s: %v", name, err)
	}
	k.Secret.Wipe()
	p, _, err := e.dir.Credential(context.Background(), k.ID, "")
	if err != nil {
		e.t.Fatalf("the principal of %s: %v", name, err)
	}
	return p
}

// user makes a user of ours with a policy.
func (e *env) user(name, statements string) {
	e.t.Helper()
	ctx := context.Background()
	if _, err := e.dir.CreateUser(ctx, identity.User{Account: ours, Name: name}); err != nil {
		e.t.Fatalf("CreateUser: %v", err)
	}
	document := `{"Version":"2012-10-17","Statement":[` + statements + `]}`
	if err := e.dir.PutInlinePolicy(ctx, identity.Entity{Kind: identity.UserEntity, Account: ours, Name: name}, "p", document); err != nil {
		e.t.Fatalf("PutInlinePolicy: %v", err)
	}
	e.users[name] = e.principal(ours, name)
}

// organize puts both accounts into an organization, of which ours is the
// management account.
func (e *env) organize() {
	for name, management := range map[string]bool{"alice": true, "bob": false} {
		p := *e.users[name]
		p.Organization = &call.Organization{ID: "o-exampleorgid", Path: "o-exampleorgid/r-abcd/", Master: ours, Management: management}
		e.users[name] = &p
	}
}

// in returns the env with requests signed for another Region.
func (e *env) in(region string) *env {
	other := *e
	other.region = region
	return &other
}

// answer is how a call ended.
type answer struct {
	call *call.Call
	body []byte      // of a success
	err  *wire.Error // of a failure
}

// text is the error, or empty.
func (a answer) text() string {
	if a.err == nil {
		return ""
	}
	return fmt.Sprintf("%s %d: %s", a.err.Code, a.err.Status, a.err.Message)
}

// call sends one request.
func (e *env) call(who, operation, request string) answer {
	e.t.Helper()
	op := e.ops[operation]
	if op == nil {
		e.t.Fatalf("operation %s is not routed", operation)
	}
	c := &call.Call{
		ID: "4d2b7e56-3c1f-4f4e-9a51-0e9a3f1c2b7d", Time: e.now.UTC(), Region: e.region, Service: api.SigningName,
		Source: netip.MustParseAddrPort("192.0.2.7:50000"), Operation: op, Caller: e.users[who],
	}
	out, err := op.Invoke(context.Background(), c, []byte(request), nil)
	a := answer{call: c, body: bytes.Clone(out), err: wire.AsError(err)}
	if a.err != nil && a.err.Status >= 500 {
		e.t.Errorf("%s(%.300s): %v", operation, request, a.err)
	}
	return a
}

// must sends one request that succeeds, and returns its answer.
func (e *env) must(who, operation, request string) string {
	e.t.Helper()
	a := e.call(who, operation, request)
	if a.err != nil {
		e.t.Fatalf("%s(%.300s): %s", operation, request, a.text())
	}
	return string(a.body)
}

// refused sends one request that fails.
func (e *env) refused(who, operation, request, want string) {
	e.t.Helper()
	if got := e.call(who, operation, request).text(); got != want {
		e.t.Errorf("%s in %s, %s(%.300s):\n got %s\nwant %s", who, e.region, operation, request, got, want)
	}
}

// is compares an answer.
func (e *env) is(got, want string) {
	e.t.Helper()
	if got != want {
		e.t.Errorf("\n got %s\nwant %s", got, want)
	}
}

func arnOf(account, region, name string) string {
	return "arn:aws:cloudtrail:" + region + ":" + account + ":trail/" + name
}

// noFiles is an archive without files.
type noFiles struct{}

func (noFiles) Newest() uint64 { return 7 }

func (noFiles) Files(uint64, int) ([]index.File, error) { return nil, nil }

func (noFiles) Path(object string) string { return object }

func (noFiles) Key(context.Context, string, time.Time) (archive.Key, error) {
	return archive.Key{}, errors.New("no digests are made here")
}

func (noFiles) Changed() <-chan struct{} { return nil }

// events is recorded events, the oldest first.
type events struct {
	records []string
	asked   index.Query // the newest
}

// add records an event. More are members of its JSON, such as `,"a":"b"`.
func (e *events) add(id, name string, at time.Time, account, region, more string) {
	e.records = append(e.records, `{"eventVersion":"1.11","eventTime":"`+at.UTC().Format(time.RFC3339)+`","eventSource":"kms.amazonaws.com","eventName":"`+name+
		`","awsRegion":"`+region+`","eventID":"`+id+`","readOnly":true`+more+`,"recipientAccountId":"`+account+`"}`)
}

// Search implements [cloudtrail.Events]. An event's offset is its place.
func (e *events) Search(_ context.Context, q index.Query) (index.Page, error) {
	e.asked = q
	var p index.Page
	for i, r := range slices.Backward(e.records) {
		found := index.Event{Record: []byte(r)}
		if !index.Scan(found.Record, &found.Attributes) {
			return p, fmt.Errorf("no record: %s", r)
		}
		found.Position = index.Position{Unix: found.Time.Unix(), Segment: 1, Offset: int64(i)}
		if q.Before != (index.Position{}) && found.Compare(q.Before) >= 0 || !q.Start.IsZero() && found.Time.Before(q.Start.Truncate(time.Second)) ||
			!q.End.IsZero() && found.Time.After(q.End) ||
			slices.ContainsFunc(q.Terms, func(t index.Term) bool { return !found.Has(t.Attribute, t.Value) }) {
			continue
		}
		if len(p.Events) == q.Limit {
			p.More = true
			break
		}
		p.Events, p.Next = append(p.Events, found), found.Position
	}
	return p, nil
}

// keys is public keys.
type keys struct {
	list       []archive.PublicKey
	start, end time.Time // that were asked for last
}

// PublicKeys implements [cloudtrail.Keys].
func (k *keys) PublicKeys(region string, start, end time.Time) []archive.PublicKey {
	k.start, k.end = start, end
	return slices.DeleteFunc(slices.Clone(k.list), func(p archive.PublicKey) bool {
		return p.Region != region || p.End.Before(start) || p.Start.After(end)
	})
}
