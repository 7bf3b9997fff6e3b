package server_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/keyreeve/keyreeve/internal/authz"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/server"
	"github.com/keyreeve/keyreeve/internal/sigv4"
	"github.com/keyreeve/keyreeve/internal/wire"
)

// newRESTServer is a server with a service of restJson1 besides, and one whose
// errors are those of Organizations.
func newRESTServer(t *testing.T) *parts {
	p := newServer(t, nil)
	b := p.backend()
	operations := map[string]*call.Operation{}
	for name, fail := range map[string]error{
		"Echo":   nil,
		"Denied": &authz.Denied{Text: "User: x is not authorized"},
		"Broken": errors.New("cause-for-the-log"),
		"Wrong":  &wire.Error{Code: "ValidationException", Message: "m", Reason: "r", Status: 400},
	} {
		operations[name] = &call.Operation{
			Name: name, Service: "account", EventSource: "account.amazonaws.com",
			Invoke: func(_ context.Context, c *call.Call, body, out []byte) ([]byte, error) {
				if c.Region != "us-east-1" {
					t.Errorf("a call of a global service is in %s", c.Region)
				}
				return append(out, body...), fail
			},
		}
	}
	b.Services = append(b.Services,
		server.Service{
			Name: "account", Protocol: server.REST, Operations: operations, Global: true, Fault: "InternalServerException",
			Paths: map[string]string{"/echo": "Echo", "/denied": "Denied", "/broken": "Broken", "/wrong": "Wrong", "/gone": "Gone"},
		},
		server.Service{
			Name: "organizations", TargetPrefix: "Org", Operations: operations, Global: true, CapitalErrors: true, Fault: "ServiceException",
		})
	if err := p.Unseal(b); err != nil {
		t.Fatal(err)
	}
	return p
}

// newREST returns a request of restJson1 that is signed for the Region.
func newREST(t *testing.T, url, path, body, region string) *http.Request {
	t.Helper()
	r, err := http.NewRequest("POST", url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	signer().Sign(r, []byte(body), region, "account", start)
	return r
}

func TestREST(t *testing.T) {
	p := newRESTServer(t)
	ts := p.listen(t)
	for _, c := range []struct {
		name, path, region string
		change             func(r *http.Request)
		status             int
		code, body         string
		recorded           bool
	}{
		{"served", "/echo", region, nil, 200, "", `{"A":1}`, true},
		{"global", "/echo", "us-east-1", nil, 200, "", `{"A":1}`, true},
		{"denied", "/denied", region, nil, 403, "AccessDeniedException", `{"__type":"AccessDeniedException","Message":"User: x is not authorized"}`, true},
		{"our fault", "/broken", region, nil, 500, "InternalServerException", `{"__type":"InternalServerException"}`, true},
		{"with a reason", "/wrong", region, nil, 400, "ValidationException", `{"__type":"ValidationException","message":"m","reason":"r"}`, true},
		{"a path without its operation", "/gone", region, nil, 400, "UnknownOperationException", "", true},
		{"a path of nobody", "/echo/", region, nil, 404, "", "", false},
		{"no path", "/", region, nil, 404, "", "", false},
		{"GET", "/echo", region, func(r *http.Request) { r.Method = "GET" }, 404, "UnknownOperationException", "", false},
		{"JSON of another protocol", "/echo", region, func(r *http.Request) { r.Header.Set("Content-Type", "application/x-amz-json-1.1") }, 404, "", "", false},
		{"another Region", "/echo", "eu-west-9", nil, 403, "InvalidSignatureException", "", false},
		{"another path than was signed", "/echo", region, func(r *http.Request) { r.URL.Path = "/wrong" }, 403, "InvalidSignatureException", "", false},
		{"another service", "/echo", region, func(r *http.Request) {
			signer().Sign(r, []byte(`{"A":1}`), region, "kms", start)
		}, 403, "InvalidSignatureException", "", false},
	} {
		r := newREST(t, ts.URL, c.path, `{"A":1}`, c.region)
		if c.change != nil {
			c.change(r)
		}
		_, before := p.journal.last()
		a := send(t, ts.Client(), r)
		if a.status != c.status || a.header.Get("X-Amzn-Errortype") != c.code || c.body != "" && a.body != c.body {
			t.Errorf("%s: %d %s %s, want %d %s %s", c.name, a.status, a.header.Get("X-Amzn-Errortype"), a.body, c.status, c.code, c.body)
		}
		if got := a.header.Get("Content-Type"); got != "application/json" && (c.code != "" || c.status == 200) {
			t.Errorf("%s: content type %s", c.name, got)
		}
		if _, n := p.journal.last(); (n > before) != c.recorded {
			t.Errorf("%s: %d records", c.name, n-before)
		}
	}
	last, _ := p.journal.last()
	if last.Failure.Code != "UnknownOperationException" || last.Target != "Gone" {
		t.Errorf("recorded %+v of %s", last.Failure, last.Target)
	}
	p.Seal()
	if a := send(t, ts.Client(), newREST(t, ts.URL, "/echo", "{}", region)); a.status != 503 || a.code != "ServiceUnavailableException" {
		t.Errorf("sealed: %+v", a)
	}
}

func TestPathsCollide(t *testing.T) {
	p := newServer(t, nil)
	b := p.backend()
	for _, name := range []string{"one", "two"} {
		b.Services = append(b.Services, server.Service{Name: name, Protocol: server.REST, Paths: map[string]string{"/x": "X"}})
	}
	if err := p.Unseal(b); err == nil {
		t.Error("two services have one path")
	}
}

func TestCapitalErrors(t *testing.T) {
	p := newRESTServer(t)
	ts := p.listen(t)
	for operation, want := range map[string]string{
		"Wrong":  `{"__type":"ValidationException","Message":"m","Reason":"r"}`,
		"Broken": `{"__type":"ServiceException"}`,
	} {
		r := newRequest(t, ts.URL, operation, "{}")
		r.Header.Set("X-Amz-Target", "Org."+operation)
		signer().Sign(r, []byte("{}"), "us-east-1", "organizations", start)
		if a := send(t, ts.Client(), r); a.body != want {
			t.Errorf("%s: %s, want %s", operation, a.body, want)
		}
	}
}

// TestClosedRegion calls with a principal whose account has not enabled the
// Region.
func TestClosedRegion(t *testing.T) {
	p := newRESTServer(t)
	ts := p.listen(t)
	closed := *alice
	closed.Closed = []string{"us-west-9", region}
	b := p.backend()
	b.Credentials = knows{newDirectory(), &closed}
	b.Services = append(b.Services,
		server.Service{Name: "account", Protocol: server.REST, Global: true, Paths: map[string]string{"/echo": "Echo"}, Operations: map[string]*call.Operation{
			"Echo": {Name: "Echo", Invoke: func(_ context.Context, _ *call.Call, _, out []byte) ([]byte, error) { return append(out, "{}"...), nil }},
		}},
		server.Service{Name: "sts", Protocol: server.Query, Version: stsVersion, Namespace: stsSpace})
	if err := p.Unseal(b); err != nil {
		t.Fatal(err)
	}
	const text = "The security token included in the request is invalid."
	if a := send(t, ts.Client(), newRequest(t, ts.URL, "Echo", "{}")); a.status != 400 || a.code != "UnrecognizedClientException" || a.message != text {
		t.Errorf("KMS there: %+v", a)
	}
	if a := sendForm(t, ts.Client(), newForm(t, ts.URL, "Action=Echo")); a.status != 403 || a.Code != "InvalidClientTokenId" || a.Message != text {
		t.Errorf("STS there: %+v", a)
	}
	if _, n := p.journal.last(); n != 0 {
		t.Errorf("%d calls on record", n)
	}
	elsewhere := newRequest(t, ts.URL, "Echo", "{}")
	signer().Sign(elsewhere, []byte("{}"), "us-east-1", "kms", start)
	if a := send(t, ts.Client(), elsewhere); a.status != 200 {
		t.Errorf("KMS elsewhere: %+v", a)
	}
	if a := send(t, ts.Client(), newREST(t, ts.URL, "/echo", "{}", region)); a.status != 200 {
		t.Errorf("a global service: %+v", a)
	}
}

// knows is a directory in which the access key is somebody else's.
type knows struct {
	directory
	caller *call.Principal
}

func (k knows) Credential(ctx context.Context, id, token string) (*call.Principal, *sigv4.Key, error) {
	_, key, err := k.directory.Credential(ctx, id, token)
	return k.caller, key, err
}
