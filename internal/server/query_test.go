package server_test

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/authz"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/server"
	"github.com/keyreeve/keyreeve/internal/sigv4"
	"github.com/keyreeve/keyreeve/internal/wire"
)

const (
	stsSpace   = "https://sts.amazonaws.com/doc/2011-06-15/"
	stsVersion = "2011-06-15"
)

// newQueryServer is a server with two services of the query protocol besides.
func newQueryServer(t *testing.T, change func(*server.Config)) *parts {
	p := newServer(t, change)
	b := p.backend()
	operations := map[string]*call.Operation{}
	for name, fail := range map[string]error{
		"Echo":    nil,
		"Missing": fmt.Errorf("doing it: %w", &wire.Error{Code: "NoSuchEntity", Message: "a < b", Status: 404}),
		"Denied":  fmt.Errorf("deciding: %w", &authz.Denied{Text: "User: x is not authorized"}),
		"Broken":  errors.New("cause-for-the-log"),
		"Invalid": wire.Validation("1 validation error detected: x"),
		"Panic":   errors.New("panic"),
	} {
		operations[name] = &call.Operation{
			Name: name, Service: "sts", EventSource: "sts.amazonaws.com",
			Invoke: func(_ context.Context, c *call.Call, body, out []byte) ([]byte, error) {
				if name == "Panic" {
					panic("with " + string(body))
				}
				if fail != nil {
					return out, fail
				}
				out = wire.AppendXMLStart(out, name, stsSpace, true)
				out = wire.AppendXMLString(out, "Body", body)
				return wire.AppendXMLEnd(out, name, c.ID, true), nil
			},
		}
	}
	readOnly := func(name string) bool { return strings.HasPrefix(name, "Get") }
	admit := func(caller *call.Principal) error {
		if caller != alice {
			t.Errorf("asked whether to admit %+v", caller)
		}
		if p.shut.Load() {
			return &wire.Error{Code: "InvalidClientTokenId", Message: "invalid", Status: 403}
		}
		return nil
	}
	b.Services = append(b.Services,
		server.Service{
			Name: "sts", Protocol: server.Query, Version: stsVersion, Namespace: stsSpace, Operations: operations,
			Skew: 15 * time.Minute, ReadOnly: readOnly,
		},
		server.Service{
			Name: "iam", Protocol: server.Query, Version: "2010-05-08", Namespace: "https://iam.amazonaws.com/doc/2010-05-08/",
			Operations: operations, Global: true, MaxBody: 200, Admit: admit,
		})
	if err := p.Unseal(b); err != nil {
		t.Fatal(err)
	}
	return p
}

// newForm returns a request of the query protocol that is signed for sts.
func newForm(t *testing.T, url, body string) *http.Request {
	t.Helper()
	r, err := http.NewRequest("POST", url+"/", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	signer().Sign(r, []byte(body), region, "sts", start)
	return r
}

// xmlAnswer is an answer of the query protocol.
type xmlAnswer struct {
	status int
	header http.Header

	XMLName   xml.Name
	Type      string `xml:"Error>Type"`
	Code      string `xml:"Error>Code"`
	Message   string `xml:"Error>Message"`
	RequestID string `xml:"RequestId"`
	Body      string `xml:"EchoResult>Body"`
	Metadata  string `xml:"ResponseMetadata>RequestId"`
}

func sendForm(t *testing.T, client *http.Client, r *http.Request) xmlAnswer {
	t.Helper()
	resp, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var a xmlAnswer
	if err := xml.Unmarshal(text, &a); err != nil {
		t.Fatalf("answer %d %q: %v", resp.StatusCode, text, err)
	}
	a.status, a.header = resp.StatusCode, resp.Header
	if resp.Header.Get("Content-Type") != "text/xml" {
		t.Errorf("content type is %s", resp.Header.Get("Content-Type"))
	}
	return a
}

func TestQueryAnswers(t *testing.T) {
	p := newQueryServer(t, nil)
	ts := p.listen(t)
	for _, c := range []struct {
		body                string
		status              int
		kind, code, message string
	}{
		{"Action=Echo&Version=" + stsVersion + "&X=<1>", 200, "", "", ""},
		{"Action=Missing&Version=" + stsVersion, 404, "Sender", "NoSuchEntity", "a < b"},
		{"Action=Denied&Version=" + stsVersion, 403, "Sender", "AccessDenied", "User: x is not authorized"},
		{"Action=Invalid&Version=" + stsVersion, 400, "Sender", "ValidationError", "1 validation error detected: x"},
		{"Action=Broken&Version=" + stsVersion, 500, "Receiver", "InternalFailure", "The request processing has failed because of an unknown error."},
		{"Action=Panic&Version=" + stsVersion, 500, "Receiver", "InternalFailure", "The request processing has failed because of an unknown error."},
		{"Action=GetNothing&Version=" + stsVersion, 400, "Sender", "InvalidAction", "Could not find operation GetNothing for version 2011-06-15"},
		{"Action=Echo&Version=2010-05-08", 400, "Sender", "InvalidAction", "Could not find operation Echo for version 2010-05-08"},
		{"Action=Echo", 400, "Sender", "InvalidAction", "Could not find operation Echo for version NO_VERSION_SPECIFIED"},
		{"Version=" + stsVersion, 400, "Sender", "MissingAction", "The request must contain the parameter Action."},
		{"", 400, "Sender", "MissingAction", "The request must contain the parameter Action."},
	} {
		_, before := p.journal.last()
		a := sendForm(t, ts.Client(), newForm(t, ts.URL, c.body))
		if a.status != c.status || a.Type != c.kind || a.Code != c.code || a.Message != c.message {
			t.Errorf("%s: %+v, want %+v", c.body, a, c)
		}
		recorded, n := p.journal.last()
		id := a.header.Get("x-amzn-RequestId")
		if c.status == 200 && (a.Body != c.body || a.Metadata != id) || c.status != 200 && a.RequestID != id || recorded.ID != id {
			t.Errorf("%s: request id %s, %+v", c.body, id, a)
		}
		if a.XMLName.Space != stsSpace {
			t.Errorf("%s: namespace %s", c.body, a.XMLName.Space)
		}
		if n != before+1 || recorded.Failure.Code != c.code || recorded.Service != "sts" || recorded.Region != region {
			t.Errorf("%s: recorded %+v", c.body, recorded)
		}
		if c.code == "InvalidAction" && recorded.TargetReadOnly != strings.Contains(c.body, "GetNothing") {
			t.Errorf("%s: recorded as read-only: %t", c.body, recorded.TargetReadOnly)
		}
	}
	if strings.Contains(p.log.String(), "with Action") {
		t.Errorf("the log shows the request:\n%s", p.log.String())
	}
}

func TestQueryDoor(t *testing.T) {
	p := newQueryServer(t, nil)
	ts := p.listen(t)
	const body = "Action=Echo&Version=" + stsVersion
	as := func(region, service string, at time.Time) func(*http.Request) {
		return func(r *http.Request) { signer().Sign(r, []byte(body), region, service, at) }
	}
	header := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	for _, c := range []struct {
		name          string
		change        func(*http.Request)
		status        int
		code, message string // message: how it begins
	}{
		{"not signed", func(r *http.Request) { r.Header.Del("Authorization") }, 403, "MissingAuthenticationToken", "Request is missing Authentication Token"},
		{"half signed", header("Authorization", "AWS4-HMAC-SHA256 Credential=x"), 400, "IncompleteSignature", "Authorization header requires 'Signature'"},
		{"another body", func(r *http.Request) { signer().Sign(r, []byte("x"), region, "sts", start) }, 403, "SignatureDoesNotMatch", "The request signature we calculated"},
		{"unknown key", func(r *http.Request) {
			sigv4.Credentials{AccessKeyID: "AKIAUNKNOWN", Key: signer().Key}.Sign(r, []byte(body), region, "sts", start)
		}, 403, "InvalidClientTokenId", "The security token included in the request is invalid."},
		{"expired token", func(r *http.Request) {
			sigv4.Credentials{AccessKeyID: "ASIAEXPIRED", Key: signer().Key}.Sign(r, []byte(body), region, "sts", start)
		}, 403, "ExpiredToken", "The security token included in the request is expired"},
		{"the store fails", func(r *http.Request) {
			sigv4.Credentials{AccessKeyID: "AKIABROKEN", Key: signer().Key}.Sign(r, []byte(body), region, "sts", start)
		}, 500, "InternalFailure", "The request processing"},
		{"15 minutes early", as(region, "sts", start.Add(-15*time.Minute)), 200, "", ""},
		{"15 minutes late", as(region, "sts", start.Add(15*time.Minute)), 200, "", ""},
		{
			"earlier", as(region, "sts", start.Add(-15*time.Minute-time.Second)), 403, "SignatureDoesNotMatch",
			"Signature expired: 20260301T114459Z is now earlier than 20260301T114500Z (20260301T120000Z - 15 min.)",
		},
		{"iam allows 5", as(region, "iam", start.Add(-6*time.Minute)), 403, "SignatureDoesNotMatch", "Signature expired: "},
		{"another Region", as("eu-west-9", "sts", start), 403, "SignatureDoesNotMatch", "Credential should be scoped to a valid region."},
		{"another service", as(region, "ec2", start), 403, "SignatureDoesNotMatch", "Credential should be scoped to correct service: 'sts'."},
		{"KMS speaks JSON", as(region, "kms", start), 403, "SignatureDoesNotMatch", "Credential should be scoped to correct service: 'sts'."},
		{"another path", func(r *http.Request) { r.URL.Path = "/x"; as(region, "sts", start)(r) }, 404, "InvalidAction", ""},
		{"too long for iam", as(region, "iam", start), 413, "RequestEntityTooLarge", ""},
	} {
		text := body
		if c.status == 413 {
			text += strings.Repeat("&", 200)
		}
		r := newForm(t, ts.URL, text)
		c.change(r)
		_, before := p.journal.last()
		a := sendForm(t, ts.Client(), r)
		if a.status != c.status || a.Code != c.code || !strings.HasPrefix(a.Message, c.message) {
			t.Errorf("%s: %+v, want %d %s %s", c.name, a, c.status, c.code, c.message)
		}
		if _, n := p.journal.last(); (n > before) != (c.status == 200) {
			t.Errorf("%s: %d records", c.name, n-before)
		}
		if a.status != 200 && a.RequestID != a.header.Get("x-amzn-RequestId") {
			t.Errorf("%s: request id %q", c.name, a.RequestID)
		}
	}
}

// TestGlobalRegion: SDKs sign for us-east-1 whatever Region they are set to.
func TestGlobalRegion(t *testing.T) {
	p := newQueryServer(t, func(c *server.Config) { c.Regions = []string{region} })
	ts := p.listen(t)
	for _, c := range []struct{ service, version, signed, recorded string }{
		{"sts", stsVersion, region, region},
		{"sts", stsVersion, "us-east-1", "us-east-1"},
		{"iam", "2010-05-08", "us-east-1", "us-east-1"},
		{"iam", "2010-05-08", region, "us-east-1"},
	} {
		body := "Action=Echo&Version=" + c.version
		r := newForm(t, ts.URL, body)
		signer().Sign(r, []byte(body), c.signed, c.service, start)
		if a := sendForm(t, ts.Client(), r); a.status != 200 {
			t.Errorf("%s for %s: %+v", c.service, c.signed, a)
		}
		if recorded, _ := p.journal.last(); recorded.Region != c.recorded || recorded.Service != c.service {
			t.Errorf("%s for %s is recorded in %s, %s", c.service, c.signed, recorded.Region, recorded.Service)
		}
	}
	r := newRequest(t, ts.URL, "Empty", "{}")
	signer().Sign(r, []byte("{}"), "us-east-1", "kms", start)
	if a := send(t, ts.Client(), r); a.code != "InvalidSignatureException" {
		t.Errorf("KMS in us-east-1: %+v", a)
	}
}

// TestAdmit: a caller who may not call a service at all is told so, on record.
func TestAdmit(t *testing.T) {
	p := newQueryServer(t, nil)
	ts := p.listen(t)
	p.shut.Store(true)
	for _, c := range []struct{ action, code string }{{"Echo", "InvalidClientTokenId"}, {"Nothing", "InvalidClientTokenId"}} {
		body := "Action=" + c.action + "&Version=2010-05-08"
		r := newForm(t, ts.URL, body)
		signer().Sign(r, []byte(body), region, "iam", start)
		if a := sendForm(t, ts.Client(), r); a.status != 403 || a.Code != c.code {
			t.Errorf("%s: %+v", c.action, a)
		}
		if recorded, _ := p.journal.last(); recorded.Failure.Code != c.code || recorded.Target != c.action {
			t.Errorf("%s: recorded %+v", c.action, recorded)
		}
	}
	if a := sendForm(t, ts.Client(), newForm(t, ts.URL, "Action=Echo&Version="+stsVersion)); a.status != 200 {
		t.Errorf("the other service: %+v", a)
	}
}

// TestProtocolsApart: JSON is not answered by a service of the query protocol,
// nor a form where there is none, and GET is no call of either.
func TestProtocolsApart(t *testing.T) {
	p := newQueryServer(t, nil)
	ts := p.listen(t)

	r := newRequest(t, ts.URL, "Echo", "{}")
	r.Header.Set("X-Amz-Target", stsVersion+".Echo")
	signer().Sign(r, []byte("{}"), region, "sts", start)
	if a := send(t, ts.Client(), r); a.code != "InvalidSignatureException" {
		t.Errorf("JSON for sts: %+v", a)
	}
	if a := send(t, ts.Client(), newRequest(t, ts.URL, "Echo", "{}")); a.status != 200 {
		t.Errorf("JSON for kms: %+v", a)
	}
	get, err := http.NewRequest("GET", ts.URL+"/?Action=Echo&Version="+stsVersion, nil)
	if err != nil {
		t.Fatal(err)
	}
	signer().Sign(get, nil, region, "sts", start)
	if a := send(t, ts.Client(), get); a.status != 404 || a.code != "UnknownOperationException" {
		t.Errorf("GET: %+v", a)
	}

	p.Seal()
	if a := sendForm(t, ts.Client(), newForm(t, ts.URL, "Action=Echo")); a.status != 503 || a.Code != "ServiceUnavailable" || a.Type != "Receiver" {
		t.Errorf("sealed: %+v", a)
	}
	b := p.backend()
	if err := p.Unseal(b); err != nil {
		t.Fatal(err)
	}
	if a := send(t, ts.Client(), newForm(t, ts.URL, "Action=Echo")); a.status != 404 || a.code != "UnknownOperationException" {
		t.Errorf("a form where nobody speaks it: %+v", a)
	}
	b.Services = []server.Service{{Name: "sts", Protocol: server.Query, Version: stsVersion}}
	if err := p.Unseal(b); err != nil {
		t.Fatal(err)
	}
	if a := send(t, ts.Client(), newRequest(t, ts.URL, "Echo", "{}")); a.status != 404 || a.code != "UnknownOperationException" {
		t.Errorf("JSON where nobody speaks it: %+v", a)
	}
}
