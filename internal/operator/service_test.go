package operator_test

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/api/keyreeveapi"
	"github.com/keyreeve/keyreeve/internal/authz"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/operator"
	"github.com/keyreeve/keyreeve/internal/seal"
	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/internal/server"
	"github.com/keyreeve/keyreeve/internal/sigv4"
	"github.com/keyreeve/keyreeve/internal/store"
	"github.com/keyreeve/keyreeve/internal/wire"
	"github.com/keyreeve/keyreeve/policy"
)

const (
	management = "111122223333"
	newPhrase  = "correct horse battery staple"
)

var cheap = seal.Cost{Memory: 8 << 10, Time: 1, Threads: 1}

type plane struct {
	st      store.Store
	box     *seal.Box
	ops     map[string]*call.Operation
	keyFile string

	sessions sessions
}

func newPlane(t *testing.T) plane {
	t.Helper()
	p := plane{st: &brokenStore{Store: store.NewMem()}, keyFile: filepath.Join(t.TempDir(), "root.key"), sessions: make(sessions)}
	var err error
	if p.box, err = seal.Open(t.Context(), p.st, seal.Options{Provider: seal.KeyFile(p.keyFile)}); err != nil {
		t.Fatal(err)
	}
	p.ops = keyreeveapi.Operations(operator.NewService(authz.New(nil), operator.Options{
		Account: management, Box: p.box, Store: p.st, Engine: "memory", KeyFile: p.keyFile, Cost: cheap, Sessions: p.sessions,
		Version: "1.2.3", Started: time.Unix(1e9, 0), Region: "us-east-1", Regions: []string{"us-east-1", "eu-central-1"},
	}))
	return p
}

// brokenStore forgets to say how commits end, once it is broken.
type brokenStore struct {
	store.Store
	broken bool
}

func (b *brokenStore) Commit(ctx context.Context, conds []store.Cond, ops []store.Op) (store.Rev, bool, error) {
	rev, ok, err := b.Store.Commit(ctx, conds, ops)
	if b.broken {
		return 0, false, errors.New("no answer")
	}
	return rev, ok, err
}

// Whoever does not know which root key is the store's must keep both.
func TestOutcomeUnknown(t *testing.T) {
	p := newPlane(t)
	p.st.(*brokenStore).broken = true
	got, _ := p.invoke(t, admin, "RotateDomainKey", "{}")
	if !strings.HasPrefix(got, "OutcomeUnknownException: ") || !strings.Contains(got, "keep both") {
		t.Errorf("RotateDomainKey = %s", got)
	}
}

// user returns a user with these policies.
func user(account string, policies ...string) *call.Principal {
	p := &call.Principal{Kind: call.User, Account: account, ARN: "arn:aws:iam::" + account + ":user/x"}
	p.Names = policy.Principal{Account: account, ARN: p.ARN}
	for _, text := range policies {
		compiled, err := policy.Parse(text, policy.Options{Type: policy.Identity})
		if err != nil {
			panic(err)
		}
		p.Policies.Identity = append(p.Policies.Identity, call.Attached{Name: "test", Policy: compiled})
	}
	return p
}

func rootUser(account string) *call.Principal {
	p := &call.Principal{Kind: call.Root, Account: account, ARN: "arn:aws:iam::" + account + ":root"}
	p.Names = policy.Principal{Account: account, Root: true, ARN: p.ARN}
	return p
}

const (
	everything = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`
	operating  = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"keyreeve:*","Resource":"*"}}`
	reading    = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":["kms:*","keyreeve:Nothing"],"Resource":"*"}}`
)

var admin = user(management, operating)

// invoke calls an operation and returns its answer or "code: message".
func (p plane) invoke(t *testing.T, who *call.Principal, operation, body string) (string, *call.Call) {
	t.Helper()
	c := &call.Call{Caller: who, Operation: p.ops[operation], Time: time.Unix(1e9, 0)}
	out, err := c.Operation.Invoke(t.Context(), c, []byte(body), nil)
	if err != nil {
		var e *wire.Error
		if !errors.As(err, &e) {
			t.Fatalf("%s: %v, not an error of the wire", operation, err)
		}
		if len(out) != 0 {
			t.Errorf("%s: an error and an answer, %q", operation, out)
		}
		return e.Code + ": " + e.Message, c
	}
	return string(out), c
}

func audited(a call.Auditable) string {
	if a == nil {
		return ""
	}
	return string(a.AppendAudit(nil))
}

func TestServiceAuthorizes(t *testing.T) {
	p := newPlane(t)
	for name, who := range map[string]*call.Principal{
		"nobody":                               nil,
		"a user without policies":              user(management),
		"another account's administrator":      user("999988887777", everything),
		"the root user of another account":     rootUser("999988887777"),
		"a user with policies on other things": user(management, reading),
	} {
		for op := range p.ops {
			body := "{}"
			switch op {
			case "RekeyRoot":
				body = `{"Provider":"file"}`
			case "RevokeSessions":
				body = `{"Account":"111122223333"}`
			case "Explain":
				continue // it is of the caller's own account
			}
			got, _ := p.invoke(t, who, op, body)
			if !strings.HasPrefix(got, "AccessDeniedException: ") || !strings.Contains(got, "keyreeve:"+op) {
				t.Errorf("%s: %s = %s, want AccessDeniedException", name, op, got)
			}
		}
	}
	if s := p.box.Status(); s.Generation != 1 {
		t.Errorf("the seal was changed: %+v", s)
	}
	if got, _ := p.invoke(t, rootUser(management), "RotateDomainKey", "{}"); got != `{"ActiveDomainKey":2}` {
		t.Errorf("the management account's root user: %s", got)
	}
}

func TestServiceDescribe(t *testing.T) {
	p := newPlane(t)
	got, c := p.invoke(t, admin, "DescribeNode", "{}")
	st := p.box.Status()
	want := fmt.Sprintf(`{"Version":"1.2.3","StartTime":1000000000,"AccountId":"111122223333","Region":"us-east-1","Regions":["us-east-1","eu-central-1"],`+
		`"Seal":{"Provider":"file","Generation":1,"RootKeyTime":%d,"ActiveDomainKey":1,"DomainKeys":[{"Id":1,"CreationTime":%d}]},`+
		`"StoreEngine":"memory","StoreRevision":1,"MemoryLocked":false}`, st.Rekeyed.Unix(), st.DomainKeys[0].Created.Unix())
	if got != want {
		t.Errorf("DescribeNode = %s\nwant %s", got, want)
	}
	if !c.Operation.ReadOnly || audited(c.Parameters) != "null" || c.Elements != nil {
		t.Errorf("audited as %s, %s", audited(c.Parameters), audited(c.Elements))
	}
}

func TestServiceRekey(t *testing.T) {
	p := newPlane(t)
	v, err := p.box.Seal(seal.Records, nil, []byte("text"))
	if err != nil {
		t.Fatal(err)
	}
	got, c := p.invoke(t, admin, "RekeyRoot", `{"Provider":"passphrase","Passphrase":"`+newPhrase+`"}`)
	if !strings.HasPrefix(got, `{"Provider":"passphrase","RootKeyTime":`) {
		t.Fatalf("RekeyRoot = %s", got)
	}
	if a := audited(c.Parameters); a != `{"provider":"passphrase"}` || audited(c.Elements) != a || c.Operation.ReadOnly {
		t.Errorf("audited as %s, %s", a, audited(c.Elements))
	}
	if in := c.Parameters.(*keyreeveapi.RekeyRootInput); strings.Contains(string(in.Passphrase.Reveal()), "horse") {
		t.Error("the passphrase was not wiped")
	}
	if _, err := os.Stat(p.keyFile); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the old key file is still there: %v", err)
	}
	b, err := seal.Open(t.Context(), p.st, seal.Options{Provider: seal.Passphrase(secret.New([]byte(newPhrase)), cheap)})
	if err != nil {
		t.Fatal(err)
	}
	if text, err := b.Open(seal.Records, nil, v); err != nil || string(text) != "text" {
		t.Errorf("Open with the new passphrase: %q, %v", text, err)
	}
	if got, _ := p.invoke(t, admin, "RekeyRoot", `{"Provider":"file"}`); !strings.HasPrefix(got, `{"Provider":"file"`) {
		t.Errorf("RekeyRoot = %s", got)
	}
	if _, err := seal.Open(t.Context(), p.st, seal.Options{Provider: seal.KeyFile(p.keyFile)}); err != nil {
		t.Errorf("Open with the new key file: %v", err)
	}
	// Another store's key file is in the way.
	if err := os.Remove(p.keyFile); err != nil {
		t.Fatal(err)
	}
	if _, err := seal.Open(t.Context(), store.NewMem(), seal.Options{Provider: seal.KeyFile(p.keyFile)}); err != nil {
		t.Fatal(err)
	}
	if got, _ := p.invoke(t, admin, "RekeyRoot", `{"Provider":"file"}`); !strings.HasPrefix(got, "ConflictException: ") {
		t.Errorf("RekeyRoot over another store's key = %s", got)
	}
}

func TestServiceRefuses(t *testing.T) {
	p := newPlane(t)
	const missing = "ValidationException: 1 validation error detected: Value null at 'provider' failed to satisfy constraint: Member must not be null"
	for _, test := range []struct{ operation, body, want string }{
		{"DescribeNode", "", "SerializationException: "},
		{"DescribeNode", "null", "SerializationException: "},
		{"DescribeNode", `{"x":1}`, "SerializationException: A member of the request body is not known."},
		{"DescribeNode", "{}{}", "SerializationException: "},
		{"RotateDomainKey", `{"DomainKey":{"a":[1]}}`, "SerializationException: A member of the request body is not known."},
		{"RekeyRoot", "{}", missing},
		{"RekeyRoot", `{"Provider":null}`, missing},
		{"RekeyRoot", `{"Provider":1}`, "SerializationException: "},
		{"RekeyRoot", `{"Provider":"tpm"}`, "ValidationException: 1 validation error detected: Value 'tpm' at 'provider' failed to satisfy constraint: Member must satisfy enum value set: [file, passphrase]"},
		{"RekeyRoot", `{"Provider":"passphrase"}`, "ValidationException: 1 validation error detected: Value null at 'passphrase'"},
		{"RekeyRoot", `{"Provider":"passphrase","Passphrase":"short"}`, "ValidationException: seal: the passphrase cannot be used: it has fewer than 12 characters"},
		{"RekeyRoot", `{"Provider":"passphrase","Passphrase":"` + strings.Repeat("planted", 200) + `"}`, "ValidationException: "},
		{"RekeyRoot", `{"Provider":"passphrase","Passphrase":"` + strings.Repeat("\u00fc", 600) + `"}`, "ValidationException: seal: the passphrase cannot be used: it has more than 1024 bytes"},
		{"RekeyRoot", `{"Provider":"file","Passphrase":"` + newPhrase + `"}`, "ValidationException: A passphrase is for the provider passphrase alone."},
	} {
		got, _ := p.invoke(t, admin, test.operation, test.body)
		if !strings.HasPrefix(got, test.want) || strings.Contains(got, "planted") {
			t.Errorf("%s %.60s = %s, want %s", test.operation, test.body, got, test.want)
		}
	}
	if s := p.box.Status(); s.Generation != 1 {
		t.Errorf("the seal was changed: %+v", s)
	}
	p.box.Lock()
	if got, _ := p.invoke(t, admin, "RotateDomainKey", "{}"); !strings.HasPrefix(got, "ServiceUnavailableException: ") {
		t.Errorf("RotateDomainKey of a sealed box = %s", got)
	}
}

// door is who may come in, and what was recorded.
type door struct {
	mu    sync.Mutex
	calls []string
}

const doorSecret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"

var doorKey = sigv4.NewKey(secret.New([]byte(doorSecret)))

func (d *door) Credential(_ context.Context, id, _ string) (*call.Principal, *sigv4.Key, error) {
	if id != "AKIAIOSFODNN7EXAMPLE" {
		return nil, nil, sigv4.ErrUnrecognizedClient
	}
	return admin, doorKey, nil
}

func (d *door) Append(c *call.Call) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.calls = append(d.calls, c.Operation.EventSource+" "+c.Operation.Name+" "+audited(c.Parameters)+" "+c.Failure.Code)
	return nil
}

func (d *door) Err() error { return nil }

// TestRemote goes the whole way, through the server.
func TestRemote(t *testing.T) {
	p, d := newPlane(t), new(door)
	s, err := server.New(server.Config{Regions: []string{"us-east-1"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Unseal(server.Backend{
		Services:    []server.Service{{Name: keyreeveapi.SigningName, TargetPrefix: keyreeveapi.TargetPrefix, Operations: p.ops}},
		Credentials: d, Audit: d,
	}); err != nil {
		t.Fatal(err)
	}
	hs := httptest.NewTLSServer(s)
	defer hs.Close()
	authority := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(authority, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: hs.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	e := operator.Environment{
		Endpoint: hs.URL, Authority: authority, Region: "us-east-1",
		AccessKeyID: "AKIAIOSFODNN7EXAMPLE", SecretAccessKey: secret.New([]byte(doorSecret)),
	}
	r, err := operator.NewRemote(e, nil)
	if err != nil {
		t.Fatal(err)
	}
	n, err := r.DescribeNode(t.Context())
	if err != nil || n.AccountID != management || !n.StartTime.Equal(time.Unix(1e9, 0)) || len(n.Seal.DomainKeys) != 1 || n.Seal.DomainKeys[0].ID != 1 ||
		n.Seal.DomainKeys[0].CreationTime.Unix() != p.box.Status().DomainKeys[0].Created.Unix() {
		t.Errorf("DescribeNode = %+v, %v", n, err)
	}
	if out, err := r.RotateDomainKey(t.Context()); err != nil || out.ActiveDomainKey != 2 {
		t.Errorf("RotateDomainKey = %+v, %v", out, err)
	}
	const odd = "a \"phrase\" with \\ and \u00fc\n"
	if out, err := r.RekeyRoot(t.Context(), &keyreeveapi.RekeyRootInput{Provider: "passphrase", Passphrase: secret.New([]byte(odd))}); err != nil || out.Provider != "passphrase" {
		t.Errorf("RekeyRoot = %+v, %v", out, err)
	}
	if _, err := seal.Open(t.Context(), p.st, seal.Options{Provider: seal.Passphrase(secret.New([]byte(odd)), cheap)}); err != nil {
		t.Errorf("Open with the new passphrase: %v", err)
	}
	_, err = r.RekeyRoot(t.Context(), &keyreeveapi.RekeyRootInput{Provider: "passphrase", Passphrase: secret.New([]byte("short"))})
	var no *operator.RemoteError
	if !errors.As(err, &no) || no.Code != "ValidationException" || no.Message == "" {
		t.Errorf("RekeyRoot with a short passphrase: %v", err)
	}
	want := []string{
		"keyreeve.internal DescribeNode null ",
		"keyreeve.internal RotateDomainKey null ",
		`keyreeve.internal RekeyRoot {"provider":"passphrase"} `,
		`keyreeve.internal RekeyRoot {"provider":"passphrase"} ValidationException`,
	}
	if fmt.Sprintf("%q", d.calls) != fmt.Sprintf("%q", want) {
		t.Errorf("recorded %q, want %q", d.calls, want)
	}

	e.SecretAccessKey = secret.New([]byte("another"))
	if r, err = operator.NewRemote(e, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := r.DescribeNode(t.Context()); !errors.As(err, &no) || no.Code != "InvalidSignatureException" {
		t.Errorf("with a wrong secret: %v", err)
	}
	e.Authority = ""
	if r, err = operator.NewRemote(e, nil); err != nil {
		t.Fatal(err)
	}
	var other *operator.RemoteError
	if _, err := r.DescribeNode(t.Context()); err == nil || errors.As(err, &other) {
		t.Errorf("an unknown authority: %v", err)
	}
}
