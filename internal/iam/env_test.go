package iam_test

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/api/iamapi"
	"github.com/keyreeve/keyreeve/internal/arn"
	"github.com/keyreeve/keyreeve/internal/authz"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/iam"
	"github.com/keyreeve/keyreeve/internal/identity"
	"github.com/keyreeve/keyreeve/internal/record"
	"github.com/keyreeve/keyreeve/internal/seal"
	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/internal/store"
	"github.com/keyreeve/keyreeve/internal/wire"
	"github.com/keyreeve/keyreeve/policy"
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
	store   *meddled
	dir     *identity.Directory
	box     *seal.Box
	service *iam.Service
	ops     map[string]*call.Operation
	log     bytes.Buffer

	keys map[string]string // access key ids of users, by account/name

	mu  sync.Mutex
	now time.Time
}

func newEnv(t testing.TB) *env {
	t.Helper()
	ctx := context.Background()
	e := &env{t: t, keys: make(map[string]string), now: time.Date(2026, 11, 21, 9, 30, 0, 123e6, time.UTC)}
	log := slog.New(slog.NewTextHandler(&e.log, nil))
	st := &meddled{Store: store.NewMem()}
	e.store = st
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
	e.box = box
	e.dir = identity.Open(records, identity.Options{Now: e.clock, Log: log})
	for account, name := range map[string]string{ours: "alice", theirs: "bob"} {
		if _, err := e.dir.CreateAccount(ctx, identity.Account{ID: account, Name: name + "'s"}); err != nil {
			t.Fatalf("CreateAccount: %v", err)
		}
		if _, err := e.dir.CreateUser(ctx, identity.User{Account: account, Name: name, Policies: []string{call.AdministratorAccess}}); err != nil {
			t.Fatalf("CreateUser: %v", err)
		}
	}
	e.service = iam.New(e.dir, authz.New(e.dir), iam.Options{Box: box})
	e.ops = iamapi.Operations(e.service)
	return e
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

// who returns the principal of a caller: "root" and "bob's root" are root users,
// "session" is a session of a role, and "mfa NAME" a session of a user. Anybody
// else is a user of ours, except for bob.
func (e *env) who(name string) *call.Principal {
	e.t.Helper()
	account := ours
	switch kind, rest, _ := strings.Cut(name, " "); {
	case name == "root":
		return rootOf(ours)
	case name == "bob's root":
		return rootOf(theirs)
	case name == "session":
		return administratorSession("arn:aws:sts::"+ours+":assumed-role/Admin/s", "AROAEXAMPLE:s")
	case kind == "mfa":
		p := *e.who(rest)
		p.Session = &call.Session{MFA: true, Issued: e.clock(), Expires: e.clock().Add(time.Hour)}
		return &p
	case name == "bob":
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

func rootOf(account string) *call.Principal {
	root := arn.Root("aws", account)
	return &call.Principal{
		Kind: call.Root, Account: account, ARN: root, EntityARN: root, ID: account, AccessKeyID: "AKIAROOT",
		Names: policy.Principal{Account: account, Root: true, ARN: root},
	}
}

func administratorSession(arn, id string) *call.Principal {
	return &call.Principal{
		Kind: call.RoleSession, Account: ours, ARN: arn, ID: id, AccessKeyID: "ASIAEXAMPLE",
		EntityARN: "arn:aws:iam::" + ours + ":role/Admin", EntityID: "AROAEXAMPLE",
		Session:  &call.Session{Name: "s"},
		Policies: call.Policies{Identity: []call.Attached{{ARN: call.AdministratorAccess, Name: "AdministratorAccess", Policy: everything}}},
		Names:    policy.Principal{Account: ours, ARN: arn, Role: "arn:aws:iam::" + ours + ":role/Admin", ID: "AROAEXAMPLE"},
	}
}

var everything = func() *policy.Policy {
	p, err := policy.Parse(allowAll, policy.Options{Type: policy.Identity})
	if err != nil {
		panic(err)
	}
	return p
}()

// Documents that are used again and again.
const (
	allowAll  = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`
	trustOurs = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":"sts:AssumeRole"}]}`
)

// answer is how a call ended.
type answer struct {
	call *call.Call
	body []byte      // of a success
	err  *wire.Error // of a failure
}

// text returns an error as in "NoSuchEntity 404: The user …", and "" for a
// success.
func (a answer) text() string {
	if a.err == nil {
		return ""
	}
	return fmt.Sprintf("%s %d: %s", a.err.Code, a.err.Status, a.err.Message)
}

// call sends one request, which is a JSON object.
func (e *env) call(who *call.Principal, operation, request string) answer {
	e.t.Helper()
	return e.callIn("us-east-1", who, operation, request)
}

func (e *env) callIn(region string, who *call.Principal, operation, request string) answer {
	e.t.Helper()
	op := e.ops[operation]
	if op == nil {
		e.t.Fatalf("operation %s is not routed", operation)
	}
	c := e.callOf(who, op)
	c.Region = region
	out, err := op.Invoke(context.Background(), c, []byte(e.form(operation, request)), nil)
	a := answer{call: c, body: out, err: wire.AsError(err)}
	if a.err != nil && a.err.Status >= 500 {
		e.t.Errorf("%s(%.300s): %v", operation, request, a.err)
	}
	return a
}

func (e *env) callOf(who *call.Principal, op *call.Operation) *call.Call {
	return &call.Call{
		ID: "4d2b7e56-3c1f-4f4e-9a51-0e9a3f1c2b7d", Time: e.clock(), Region: "us-east-1", Service: "iam",
		Source: netip.MustParseAddrPort("192.0.2.7:50000"), Operation: op, Caller: who,
	}
}

// must sends a request that has to succeed and returns its result.
func (e *env) must(who *call.Principal, operation, request string) object {
	e.t.Helper()
	a := e.call(who, operation, request)
	if a.err != nil {
		e.t.Fatalf("%s(%.300s) = %v", operation, request, a.err)
	}
	result, _ := e.result(a.body).(map[string]any)
	return result
}

// fails sends a request that has to fail with this text.
func (e *env) fails(who *call.Principal, operation, request, want string) {
	e.t.Helper()
	if got := e.call(who, operation, request).text(); got != want {
		e.t.Errorf("%s(%.300s)\n got %s\nwant %s", operation, request, or(got, "success"), want)
	}
}

// dump returns everything in the store, sealed as it is.
func (e *env) dump() string {
	e.t.Helper()
	var b strings.Builder
	for from := "v1/"; ; {
		kvs, _, err := e.store.Range(context.Background(), from, "v2", 0)
		if err != nil {
			e.t.Fatalf("Range: %v", err)
		}
		if len(kvs) == 0 {
			return b.String()
		}
		for _, kv := range kvs {
			fmt.Fprintf(&b, "%s %q\n", kv.Key, kv.Val)
		}
		from = kvs[len(kvs)-1].Key + "\x00"
	}
}

// form writes a JSON object as a request of the query protocol.
func (e *env) form(operation, request string) string {
	e.t.Helper()
	var v any
	if err := json.Unmarshal([]byte(or(request, "{}")), &v); err != nil {
		e.t.Fatalf("the request of %s is no JSON: %v: %s", operation, err, request)
	}
	form := url.Values{"Action": {operation}, "Version": {iamapi.Version}}
	var put func(name string, v any)
	put = func(name string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for member, v := range v {
				put(strings.TrimPrefix(name+"."+member, "."), v)
			}
		case []any:
			if len(v) == 0 {
				form.Set(name, "")
			}
			for i, v := range v {
				put(name+".member."+strconv.Itoa(i+1), v)
			}
		default:
			form.Set(name, fmt.Sprint(v))
		}
	}
	put("", v)
	return form.Encode()
}

// object is what an element with children stands for.
type object map[string]any

func (o object) object(name string) object {
	m, _ := o[name].(map[string]any)
	return m
}

func (o object) str(name string) string {
	s, _ := o[name].(string)
	return s
}

func (o object) list(name string) []any {
	l, _ := o[name].([]any)
	return l
}

// result takes an answer apart: elements are objects, those with a list inside
// are lists, and those without children strings, with policy documents in clear.
// It returns nil for an answer that has no result.
func (e *env) result(body []byte) any {
	e.t.Helper()
	d := xml.NewDecoder(bytes.NewReader(body))
	var read func(end string) any
	read = func(end string) any {
		members := make(map[string]any)
		var list []any
		var text strings.Builder
		for {
			token, err := d.Token()
			if errors.Is(err, io.EOF) && end == "" {
				return members
			}
			if err != nil {
				e.t.Fatalf("the answer is no XML: %v: %s", err, body)
			}
			switch token := token.(type) {
			case xml.StartElement:
				name := token.Name.Local
				v := read(name)
				if name == "member" || name == "entry" {
					list = append(list, v)
					continue
				}
				if strings.HasSuffix(name, "Document") {
					v = e.clear(v)
				}
				if _, twice := members[name]; twice {
					e.t.Errorf("%s stands twice: %s", name, body)
				}
				members[name] = v
			case xml.CharData:
				text.Write(token)
			case xml.EndElement:
				switch {
				case list != nil:
					return list
				case len(members) > 0:
					return members
				}
				return text.String()
			}
		}
	}
	root, _ := read("").(map[string]any)
	for name, v := range root {
		operation := strings.TrimSuffix(name, "Response")
		members, _ := v.(map[string]any)
		if id := object(members).object("ResponseMetadata").str("RequestId"); id == "" {
			e.t.Errorf("the answer has no request id: %s", body)
		}
		return members[operation+"Result"]
	}
	e.t.Fatalf("an empty answer: %s", body)
	return nil
}

// clear undoes the escapes of a policy document.
func (e *env) clear(v any) any {
	e.t.Helper()
	s, ok := v.(string)
	if !ok {
		e.t.Fatalf("a document that is no text: %v", v)
	}
	if strings.ContainsAny(s, "{} \"+") {
		e.t.Errorf("a document that is not escaped: %s", s)
	}
	text, err := url.PathUnescape(s)
	if err != nil {
		e.t.Fatalf("a document that is escaped wrongly: %v: %s", err, s)
	}
	return text
}

func or(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// quote writes a string as JSON.
func quote(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return string(b)
}
