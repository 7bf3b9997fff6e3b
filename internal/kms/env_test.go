package kms_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/api/kmsapi"
	"github.com/keyreeve/keyreeve/internal/arn"
	"github.com/keyreeve/keyreeve/internal/authz"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/keyring"
	"github.com/keyreeve/keyreeve/internal/kms"
	"github.com/keyreeve/keyreeve/internal/record"
	"github.com/keyreeve/keyreeve/internal/seal"
	"github.com/keyreeve/keyreeve/internal/store"
	"github.com/keyreeve/keyreeve/internal/wire"
	"github.com/keyreeve/keyreeve/policy"
)

const (
	testRegion = "eu-central-1"
	ours       = "111122223333"
	theirs     = "444455556666"
)

// Those who call in these tests.
var (
	alice = principal(ours, "alice", everything) // of the account whose keys these are
	bob   = principal(theirs, "bob", everything) // of another account
	carol = principal(ours, "carol")             // of the account, without any policy
	dave  = principal(theirs, "dave")            // of another account, without any policy
	erin  = roleSession(ours, "app", "erin")     // in a role without any policy
	frank = roleSession(theirs, "app", "frank")  // in a role of another account, without any policy
	root  = rootUser(ours)
	cast  = map[string]*call.Principal{"alice": alice, "bob": bob, "carol": carol, "dave": dave, "erin": erin, "frank": frank, "root": root}
)

const everything = `{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}`

// principal returns a user with these policies.
func principal(account, name string, policies ...string) *call.Principal {
	p := &call.Principal{
		Kind: call.User, Account: account, ARN: arn.User("aws", account, "/", name),
		ID: "AIDA" + strings.ToUpper(name), Name: name, AccessKeyID: "AKIA" + strings.ToUpper(name), Policies: attached(policies),
	}
	p.EntityARN, p.EntityID = p.ARN, p.ID
	p.Names = policy.Principal{Account: account, ARN: p.ARN, ID: p.ID}
	return p
}

// roleSession returns somebody in a role with these policies.
func roleSession(account, role, name string, policies ...string) *call.Principal {
	p := &call.Principal{
		Kind: call.RoleSession, Account: account, ARN: "arn:aws:sts::" + account + ":assumed-role/" + role + "/" + name,
		EntityARN: "arn:aws:iam::" + account + ":role/" + role, EntityID: "AROA" + strings.ToUpper(role) + account[:1],
		AccessKeyID: "ASIA" + strings.ToUpper(name), Session: &call.Session{Name: name}, Policies: attached(policies),
	}
	p.ID = p.EntityID + ":" + name
	p.Names = policy.Principal{Account: account, ARN: p.ARN, Role: p.EntityARN, ID: p.EntityID}
	return p
}

func rootUser(account string) *call.Principal {
	p := &call.Principal{Kind: call.Root, Account: account, ARN: arn.Root("aws", account), ID: account, AccessKeyID: "AKIAROOT"}
	p.EntityARN = p.ARN
	p.Names = policy.Principal{Account: account, Root: true, ARN: p.ARN}
	return p
}

func attached(policies []string) (p call.Policies) {
	for i, text := range policies {
		compiled, err := policy.Parse(text, policy.Options{Type: policy.Identity})
		if err != nil {
			panic(err)
		}
		p.Identity = append(p.Identity, call.Attached{Name: "policy" + strconv.Itoa(i), Policy: compiled})
	}
	return p
}

// directory is those who exist.
type directory struct {
	mu  sync.Mutex
	ids map[string]string // by ARN
}

func newDirectory() *directory {
	d := &directory{ids: make(map[string]string)}
	for _, p := range cast {
		d.ids[p.EntityARN] = p.EntityID
	}
	return d
}

// remove deletes a user or role.
func (d *directory) remove(name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.ids, name)
}

// put makes a user or role.
func (d *directory) put(name, id string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ids[name] = id
}

func (d *directory) Resolve(_ context.Context, principal string) (string, bool, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch principal {
	case ours, theirs, arn.Root("aws", ours), arn.Root("aws", theirs):
		return "", true, nil
	}
	for name, id := range d.ids {
		if principal == name || principal == id {
			return id, true, nil
		}
	}
	if account, rest, ok := strings.Cut(strings.TrimPrefix(principal, "arn:aws:sts::"), ":assumed-role/"); ok {
		role, session, _ := strings.Cut(rest, "/")
		if id, ok := d.ids["arn:aws:iam::"+account+":role/"+role]; ok {
			return id + ":" + session, true, nil
		}
		return "", false, nil
	}
	session := strings.HasPrefix(principal, "arn:aws:sts::"+ours+":") || strings.HasPrefix(principal, "arn:aws:sts::"+theirs+":")
	return "", session, nil
}

func (d *directory) ARNOf(_ context.Context, id string) (string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for name, have := range d.ids {
		if id == have {
			return name, nil
		}
	}
	return "", errors.New("nobody has this id")
}

// env is the operations over a real keyring on a store in memory.
type env struct {
	t       testing.TB
	store   store.Store
	box     *seal.Box
	ring    *keyring.Ring
	people  *directory
	service *kms.Service
	records kms.Recorder
	held    atomic.Bool // the ring's own events cannot be recorded, and so do not happen
	ops     map[string]*call.Operation

	mu  sync.Mutex
	now time.Time
}

func newEnv(t testing.TB) *env { return newEnvOn(t, store.NewMem()) }

// newEnvOn starts on a given store, which it closes.
func newEnvOn(t testing.TB, st store.Store) *env { return newEnvWith(t, st, 0) }

// newEnvWith is newEnvOn with a delay of new grants.
func newEnvWith(t testing.TB, st store.Store, delay time.Duration) *env {
	t.Helper()
	ctx := context.Background()
	e := &env{t: t, store: st, now: time.Date(2026, 11, 21, 9, 30, 0, 123e6, time.UTC)}
	box, err := seal.Open(ctx, st, seal.Options{Provider: seal.Memory(), Now: e.clock})
	if err != nil {
		t.Fatalf("seal.Open: %v", err)
	}
	e.box = box
	records, err := record.Open(ctx, st, box, record.Options{Now: e.clock, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatalf("record.Open: %v", err)
	}
	e.ring, err = keyring.New(records, box, keyring.Options{Now: e.clock, Log: slog.New(slog.DiscardHandler), Keys: 256, Aliases: 256, SpareRSA: -1, GrantDelay: delay, Record: e.record})
	if err != nil {
		t.Fatalf("keyring.New: %v", err)
	}
	t.Cleanup(func() {
		_ = e.ring.Close()
		_ = records.Close()
		_ = st.Close()
	})
	e.people = newDirectory()
	e.service = kms.New(e.ring, authz.New(nil), kms.Options{Box: box, Principals: e.people, Attestation: enclaves().roots})
	e.records = e.service.Recording(recorder{})
	e.ops = kmsapi.Operations(e.service)
	return e
}

func (e *env) record(ctx context.Context, event keyring.Event, commit func(context.Context) error) error {
	if e.held.Load() {
		return fmt.Errorf("%s of %s is held", event.Name, event.ARN)
	}
	return commit(ctx)
}

func (e *env) clock() time.Time {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.now
}

func (e *env) advance(d time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.now = e.now.Add(d)
}

// answer is how a call ended.
type answer struct {
	call *call.Call
	body []byte      // of a success
	err  *wire.Error // of a failure
}

// code returns the error code, or "" for a success.
func (a answer) code() string {
	if a.err == nil {
		return ""
	}
	return a.err.Code
}

// text returns code and message of an error, as in "Code: message".
func (a answer) text() string {
	switch {
	case a.err == nil:
		return ""
	case a.err.Message == "":
		return a.err.Code
	}
	return a.err.Code + ": " + a.err.Message
}

// call sends one request, as who, in the Region that all tests are in.
func (e *env) call(who *call.Principal, operation, body string) answer {
	e.t.Helper()
	return e.callIn(testRegion, who, operation, body)
}

func (e *env) callIn(region string, who *call.Principal, operation, body string) answer {
	e.t.Helper()
	op := e.ops[operation]
	if op == nil {
		e.t.Fatalf("operation %s is not routed", operation)
	}
	c := &call.Call{
		ID: "4d2b7e56-3c1f-4f4e-9a51-0e9a3f1c2b7d", Time: e.clock(), Region: region, Service: "kms",
		Source: netip.MustParseAddrPort("192.0.2.7:50000"), Operation: op, Caller: who,
	}
	out, err := op.Invoke(context.Background(), c, []byte(body), nil)
	a := answer{call: c, body: out, err: wire.AsError(err)}
	checkModelled(e.t, operation, a.code())
	if a.err != nil {
		c.Failure = call.Failure{Code: a.err.Code, Message: a.err.Message}
	}
	if err := e.records.Append(c); err != nil {
		e.t.Fatalf("recording %s: %v", operation, err)
	}
	return a
}

// recorder has made the records of all calls, which have the same event id.
type recorder struct{}

func (recorder) Append(c *call.Call) error {
	c.EventID = [16]byte{0x2c, 0xfd, 0x58, 0x92, 0xea, 0x8c, 0x43, 0x42, 0xad, 0x49, 0x4b, 0x95, 0x94, 0xb0, 0x6a, 0x80}
	return nil
}

func (recorder) Err() error { return nil }

// must sends a request that has to succeed and returns the decoded answer.
func (e *env) must(who *call.Principal, operation string, request any) object {
	e.t.Helper()
	a := e.call(who, operation, encode(e.t, request))
	if a.err != nil {
		e.t.Fatalf("%s(%s) = %v", operation, encode(e.t, request), a.err)
	}
	return decode(e.t, a.body)
}

// fails sends a request that has to fail with this "Code: message".
func (e *env) fails(who *call.Principal, operation string, request any, want string) {
	e.t.Helper()
	a := e.call(who, operation, encode(e.t, request))
	if got := a.text(); got != want {
		e.t.Errorf("%s(%.200s)\n got %s\nwant %s", operation, encode(e.t, request), or(got, "success"), or(want, "success"))
	}
	if a.err != nil && a.err.Status != 400 {
		e.t.Errorf("%s: HTTP status %d: %v", operation, a.err.Status, a.err)
	}
}

// createKey makes a key as alice and returns its id.
func (e *env) createKey(spec, usage string) string {
	e.t.Helper()
	if spec == imported {
		return e.createImported()
	}
	return e.createKeyAs(alice, spec, usage)
}

func (e *env) createKeyAs(who *call.Principal, spec, usage string) string {
	e.t.Helper()
	out := e.must(who, "CreateKey", object{"KeySpec": spec, "KeyUsage": usage})
	return out.object("KeyMetadata").str("KeyId")
}

// dump returns everything in the store, sealed as it is.
func (e *env) dump() string {
	e.t.Helper()
	var b bytes.Buffer
	from := "v1/"
	for {
		kvs, _, err := e.store.Range(context.Background(), from, "v2", 0)
		if err != nil {
			e.t.Fatalf("Range: %v", err)
		}
		if len(kvs) == 0 {
			return b.String()
		}
		for _, kv := range kvs {
			b.WriteString(kv.Key)
			b.WriteByte(' ')
			b.Write(kv.Val)
			b.WriteByte('\n')
		}
		from = kvs[len(kvs)-1].Key + "\x00"
	}
}

// object is a JSON object.
type object map[string]any

func (o object) str(name string) string {
	s, _ := o[name].(string)
	return s
}

func (o object) object(name string) object {
	m, _ := o[name].(map[string]any)
	return m
}

func (o object) list(name string) []any {
	l, _ := o[name].([]any)
	return l
}

// with returns a copy of o with more members; a nil value removes one.
func (o object) with(more object) object {
	merged := make(object, len(o)+len(more))
	for k, v := range o {
		merged[k] = v
	}
	for k, v := range more {
		if v == nil {
			delete(merged, k)
			continue
		}
		merged[k] = v
	}
	return merged
}

func encode(t testing.TB, v any) string {
	t.Helper()
	if s, ok := v.(string); ok {
		return s
	}
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatalf("encoding a request: %v", err)
	}
	return string(b)
}

func decode(t testing.TB, b []byte) object {
	t.Helper()
	if len(b) == 0 {
		return nil
	}
	var o object
	if err := json.Unmarshal(b, &o); err != nil {
		t.Fatalf("decoding %q: %v", b, err)
	}
	return o
}

func b64(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

func unb64(t testing.TB, s string) []byte {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		t.Fatalf("decoding base64: %v", err)
	}
	return b
}

func blob(n int) string { return b64(bytes.Repeat([]byte{'a'}, n)) }

func or(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

func keyARN(id string) string     { return arn.Key(testRegion, ours, id) }
func aliasARN(name string) string { return arn.Alias(testRegion, ours, name) }

// The texts of a denial.
func denied(who *call.Principal, action, resource string) string {
	return "AccessDeniedException: User: " + who.ARN + " is not authorized to perform: " + action +
		" on resource: " + resource + " because no identity-based policy allows the " + action + " action"
}

const crossAccount = " because the resource does not exist in this Region, no resource-based policies allow access, or a resource-based policy explicitly denies access"

func deniedAbroad(who *call.Principal, action string) string {
	return "AccessDeniedException: User: " + who.ARN + " is not authorized to perform: " + action + " on this resource" + crossAccount
}

func deniedByCiphertext(who *call.Principal, action string) string {
	return "AccessDeniedException: User: " + who.ARN + " is not authorized to perform: " + action +
		" on the resource associated with this ciphertext" + crossAccount
}

const (
	invalidToken = "InvalidGrantTokenException: The grant token is not valid."

	dryRun    = "DryRunOperationException: The request would have succeeded, but the DryRun option is set."
	noSuchID  = "0e9a3f1c-4d2b-4f4e-9a51-3c1f7e562b7d"
	digest32  = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
	anyToken  = "AQpAM2RhZTk1MGMyNTk2ZmZmMzEyYWVhOWViN2I1MWM4Mzc0MWFiYjc0ZDE1ODkyNGFlNTIzODZhMzgyZjBlNGY3NiKIAgEBAgB4Pa6VDCWW"
	malformed = "arn:aws:kms:" + testRegion
)
