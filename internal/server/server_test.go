package server_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/server"
)

var uuid4 = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)

func TestSuccess(t *testing.T) {
	p := newServer(t, nil)
	ts := p.listen(t)
	body := `{"a":"` + strings.Repeat("x", 5000) + `"}`
	for _, tt := range []struct{ operation, in, out string }{
		{"Echo", `{"a":1}`, `{"a":1}`},
		{"Echo", body, body},
		{"Empty", `{}`, ``},
		{"Empty", ``, ``},
	} {
		a := send(t, ts.Client(), newRequest(t, ts.URL, tt.operation, tt.in))
		if a.status != 200 || a.body != tt.out {
			t.Fatalf("%s: %d %q", tt.operation, a.status, a.body)
		}
		for name, want := range map[string]string{
			"Content-Type":   "application/x-amz-json-1.1",
			"Cache-Control":  "no-cache, no-store, must-revalidate, private",
			"Expires":        "0",
			"Pragma":         "no-cache",
			"Content-Length": fmt.Sprint(len(tt.out)),
		} {
			if got := a.header.Get(name); got != want {
				t.Errorf("%s: %s: %q, want %q", tt.operation, name, got, want)
			}
		}
		if a.header.Get("Date") == "" {
			t.Error("no Date")
		}
		c, _ := p.journal.last()
		if id := a.header.Get("x-amzn-RequestId"); !uuid4.MatchString(id) || id != c.ID {
			t.Errorf("request id %q, recorded %q", id, c.ID)
		}
		if c.Operation.Name != tt.operation || c.Caller != alice || c.Region != region || c.Service != "kms" ||
			!c.Time.Equal(start) || c.Time.Location() != time.UTC || c.UserAgent != "test/1" || c.Host != strings.TrimPrefix(ts.URL, "http://") ||
			!c.Source.Addr().IsLoopback() || c.Source.Port() == 0 || c.TLS != (call.TLS{}) || c.Failure != (call.Failure{}) {
			t.Errorf("recorded %+v", c)
		}
	}
	if _, n := p.journal.last(); n != 4 {
		t.Errorf("%d records, want 4", n)
	}
}

// TestHeaderSpelling looks at the bytes: some clients compare x-amzn-RequestId
// as it is spelled.
func TestHeaderSpelling(t *testing.T) {
	p := newServer(t, nil)
	ts := p.listen(t)
	a := raw(t, ts.Listener.Addr().String(), newRequest(t, ts.URL, "Empty", "{}"))
	if !strings.Contains(a, "\r\nx-amzn-RequestId: ") {
		t.Errorf("answer:\n%s", a)
	}
}

// raw sends a request and returns the bytes of the answer.
func raw(t *testing.T, address string, r *http.Request) string {
	t.Helper()
	var b bytes.Buffer
	r.Close = true
	if err := r.Write(&b); err != nil {
		t.Fatal(err)
	}
	return exchange(t, address, b.String())
}

// exchange sends bytes and returns what comes back until the end.
func exchange(t *testing.T, address, text string) string {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestOperationErrors checks the table of what a caller is answered.
func TestOperationErrors(t *testing.T) {
	p := newServer(t, nil)
	ts := p.listen(t)
	for _, tt := range []struct {
		operation string
		status    int
		body      string
		log       string
	}{
		{"Invalid", 400, `{"__type":"ValidationException","message":"1 validation error detected: \"` + "\u00e9" + `\""}`, ""},
		{"Wrapped", 400, `{"__type":"NotFoundException"}`, ""},
		{"Denied", 400, `{"__type":"AccessDeniedException","Message":"User: x is not authorized"}`, ""},
		{"Broken", 500, `{"__type":"KMSInternalException"}`, "cause-for-the-log"},
		{"Sealed", 503, `{"__type":"ServiceUnavailableException","message":"This node is sealed. It serves requests once an operator has unsealed it."}`, ""},
		{"InternalSealed", 503, `{"__type":"ServiceUnavailableException","message":"This node is sealed. It serves requests once an operator has unsealed it."}`, ""},
		{"Late", 500, `{"__type":"KMSInternalException"}`, "late failure"},
		{"Panic", 500, `{"__type":"KMSInternalException"}`, "panic with a string"},
		{"Index", 500, `{"__type":"KMSInternalException"}`, "out of range"},
		{"Nonsense", 400, `{"__type":"UnknownOperationException"}`, ""},
		{"", 400, `{"__type":"UnknownOperationException"}`, ""},
	} {
		t.Run(tt.operation, func(t *testing.T) {
			a := send(t, ts.Client(), newRequest(t, ts.URL, tt.operation, `{"planted":"do-not-log"}`))
			if a.status != tt.status || a.body != tt.body {
				t.Errorf("got  %d %s\nwant %d %s", a.status, a.body, tt.status, tt.body)
			}
			if !uuid4.MatchString(a.header.Get("X-Amzn-Requestid")) || a.header.Get("Content-Type") != "application/x-amz-json-1.1" {
				t.Errorf("headers %v", a.header)
			}
			c, _ := p.journal.last()
			if c.ID != a.header.Get("X-Amzn-Requestid") || c.Failure.Code != a.code || c.Failure.Message != a.message || c.Target != tt.operation {
				t.Errorf("recorded %+v", c)
			}
			if !strings.Contains(p.log.String(), tt.log) {
				t.Errorf("no %q in the log:\n%s", tt.log, p.log.String())
			}
		})
	}
	if strings.Contains(p.log.String(), "do-not-log") {
		t.Errorf("a request's body is in the log:\n%s", p.log.String())
	}
	if got := strings.Count(p.log.String(), "handle.go"); got == 0 {
		t.Error("no stack in the log")
	}
}

// TestDoor sends what must not reach an operation, and is no call.
func TestDoor(t *testing.T) {
	unsigned := func(r *http.Request) { r.Header.Del("Authorization") }
	resigned := func(c func(r *http.Request)) func(r *http.Request) {
		return func(r *http.Request) { c(r); sign(r, "{}") }
	}
	at := func(d time.Duration) func(r *http.Request) {
		return func(r *http.Request) { signer().Sign(r, []byte("{}"), region, "kms", start.Add(d)) }
	}
	scoped := func(region, service string) func(r *http.Request) {
		return func(r *http.Request) { signer().Sign(r, []byte("{}"), region, service, start) }
	}
	by := func(id string) func(r *http.Request) {
		return func(r *http.Request) {
			c := signer()
			c.AccessKeyID = id
			c.Sign(r, []byte("{}"), region, "kms", start)
		}
	}
	const mismatch = "The request signature we calculated does not match"
	tests := []struct {
		name    string
		change  func(r *http.Request)
		status  int
		code    string
		message string // its beginning
	}{
		{"GET", func(r *http.Request) { r.Method = "GET" }, 404, "UnknownOperationException", ""},
		{"PUT", func(r *http.Request) { r.Method = "PUT" }, 404, "UnknownOperationException", ""},
		{"OPTIONS", func(r *http.Request) { r.Method = "OPTIONS" }, 404, "UnknownOperationException", ""},
		{"another path", func(r *http.Request) { r.URL.Path = "/keys" }, 404, "UnknownOperationException", ""},
		{"two slashes", func(r *http.Request) { r.URL.Opaque = "//" + r.URL.Host + "//" }, 404, "UnknownOperationException", ""},
		{"no content type", func(r *http.Request) { r.Header.Del("Content-Type") }, 404, "UnknownOperationException", ""},
		{"another content type", func(r *http.Request) { r.Header.Set("Content-Type", "application/json") }, 404, "UnknownOperationException", ""},
		{"two content types", func(r *http.Request) { r.Header.Add("Content-Type", "application/x-amz-json-1.1") }, 404, "UnknownOperationException", ""},

		{"unsigned", unsigned, 400, "MissingAuthenticationTokenException", "Missing Authentication Token"},
		{"unsigned, unknown target", func(r *http.Request) { unsigned(r); r.Header.Set("X-Amz-Target", "a") }, 400, "MissingAuthenticationTokenException", "Missing"},
		{"presigned", func(r *http.Request) {
			unsigned(r)
			r.URL.RawQuery = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=a&X-Amz-Signature=b"
		}, 400, "MissingAuthenticationTokenException", "Missing Authentication Token"},
		{"two Authorization headers", func(r *http.Request) { r.Header.Add("Authorization", r.Header.Get("Authorization")) }, 400, "IncompleteSignatureException", "The request has more than one"},
		{"no date", func(r *http.Request) { r.Header.Del("X-Amz-Date") }, 400, "IncompleteSignatureException", "Authorization header requires existence of either"},
		{"a header missing", func(r *http.Request) { r.Header.Del("X-Amz-Target") }, 400, "IncompleteSignatureException", "'x-amz-target' is named as a SignedHeader"},
		{"asymmetric", func(r *http.Request) { r.Header.Set("Authorization", "AWS4-ECDSA-P256-SHA256 Credential=a") }, 400, "IncompleteSignatureException", "Unsupported AWS 'algorithm'"},

		{"an old signature", at(-5*time.Minute - time.Second), 400, "InvalidSignatureException", "Signature expired: 20260301T115459Z is now earlier than 20260301T115500Z (20260301T120000Z - 5 min.)"},
		{"a future signature", at(5*time.Minute + time.Second), 400, "InvalidSignatureException", "Signature not yet current: 20260301T120501Z is still later than 20260301T120500Z (20260301T120000Z + 5 min.)"},
		{"another Region", scoped("nowhere-1", "kms"), 400, "InvalidSignatureException", "Credential should be scoped to a valid region."},
		{"another service", scoped(region, "s3"), 400, "InvalidSignatureException", "Credential should be scoped to correct service: 'kms'."},
		{"the other service", scoped(region, "keyreeve"), 400, "InvalidSignatureException", "Credential should be scoped to correct service: 'kms'."},
		{"the other service's target", resigned(func(r *http.Request) { r.Header.Set("X-Amz-Target", "Keyreeve.Echo") }), 400, "InvalidSignatureException", "Credential should be scoped to correct service: 'keyreeve'."},
		{"no target, no service", func(r *http.Request) { r.Header.Del("X-Amz-Target"); scoped(region, "s3")(r) }, 400, "InvalidSignatureException", "Credential should be scoped to correct service: 'kms'."},

		{"an unknown access key", by("AKIAUNKNOWN"), 400, "UnrecognizedClientException", "The security token included in the request is invalid."},
		{"an unwanted token", resigned(func(r *http.Request) { r.Header.Set("X-Amz-Security-Token", "t") }), 400, "UnrecognizedClientException", "The security token included in the request is invalid."},
		{"an expired session", by("ASIAEXPIRED"), 400, "ExpiredTokenException", "The security token included in the request is expired"},
		{"a broken directory", by("AKIABROKEN"), 500, "KMSInternalException", ""},
		{"a directory that is sealed meanwhile", by("AKIASEALED"), 503, "ServiceUnavailableException", "This node is sealed."},
		{"a panicking directory", by("AKIAPANIC"), 500, "KMSInternalException", ""},

		{"another body", func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader("[]")) }, 400, "InvalidSignatureException", mismatch},
		{"another target", func(r *http.Request) { r.Header.Set("X-Amz-Target", "TrentService.Echo") }, 400, "InvalidSignatureException", mismatch},
		{"another host", func(r *http.Request) { r.Host = "kms.example.com" }, 400, "InvalidSignatureException", mismatch},
		{"another secret", func(r *http.Request) {
			r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), "Signature=", "Signature="+strings.Repeat("0", 64)+" Rest=", 1))
		}, 400, "IncompleteSignatureException", "Unknown or repeated parameter 'Rest'"},
		{"unsigned payload", func(r *http.Request) {
			r.Header.Set("X-Amz-Content-Sha256", "x")
			sign(r, "{}")
			r.Header.Set("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD")
		}, 400, "InvalidSignatureException", mismatch},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := newServer(t, nil)
			ts := p.listen(t)
			r := newRequest(t, ts.URL, "Empty", "{}")
			tt.change(r)
			a := send(t, ts.Client(), r)
			if a.status != tt.status || a.code != tt.code || !strings.HasPrefix(a.message, tt.message) || (tt.message == "") != (a.message == "") {
				t.Errorf("got  %d %s %q\nwant %d %s %q", a.status, a.code, a.message, tt.status, tt.code, tt.message)
			}
			if !uuid4.MatchString(a.header.Get("X-Amzn-Requestid")) {
				t.Errorf("request id %q", a.header.Get("X-Amzn-Requestid"))
			}
			if c, n := p.journal.last(); n != 0 {
				t.Errorf("recorded %+v", c)
			}
			// Counted once, as one or the other.
			auth := p.count(t, "keyreeve_auth_failures_total")
			refused := p.count(t, "keyreeve_refused_requests_total")
			if auth+refused != 1 {
				t.Errorf("counted %v authentication failures and %v refused requests", auth, refused)
			}
			if logged := strings.Contains(p.log.String(), "authentication failed"); logged != (auth == 1) {
				t.Errorf("logged: %v\n%s", logged, p.log.String())
			}
			if notes := p.watch.take(); len(notes) != int(auth) || len(notes) == 1 && notes[0].Code != tt.code {
				t.Errorf("the security log was told %+v", notes)
			}
		})
	}
}

// TestNotes: the security log is told as much as is known of who could not show who he
// is, and nothing of who could.
func TestNotes(t *testing.T) {
	p := newServer(t, nil)
	ts := p.listen(t)
	for _, tt := range []struct {
		name   string
		change func(r *http.Request)
		want   []note
	}{
		{"a call", func(*http.Request) {}, nil},
		{
			"another target", func(r *http.Request) { r.Header.Set("X-Amz-Target", "TrentService.Echo") },
			[]note{{"InvalidSignatureException", accessKey, "kms", region, "Echo"}},
		},
		{
			"unsigned", func(r *http.Request) { r.Header.Del("Authorization") },
			[]note{{"MissingAuthenticationTokenException", "", "", "", "Empty"}},
		},
		{"a secret in the place of the access key", func(r *http.Request) {
			c := signer()
			c.AccessKeyID = "wJalrXUtnFEMI"
			c.Sign(r, []byte("{}"), region, "kms", start)
		}, []note{{"UnrecognizedClientException", "malformed", "kms", region, "Empty"}}},
		{"no API", func(r *http.Request) { r.Method = "PUT" }, nil},
	} {
		r := newRequest(t, ts.URL, "Empty", "{}")
		tt.change(r)
		send(t, ts.Client(), r)
		if got := p.watch.take(); !slices.Equal(got, tt.want) {
			t.Errorf("%s: told %+v, want %+v", tt.name, got, tt.want)
		}
	}
}

// TestAccepted sends what is unusual and right.
func TestAccepted(t *testing.T) {
	p := newServer(t, nil)
	ts := p.listen(t)
	for name, change := range map[string]func(r *http.Request){
		"five minutes old":   func(r *http.Request) { signer().Sign(r, []byte("{}"), region, "kms", start.Add(-5*time.Minute)) },
		"five minutes ahead": func(r *http.Request) { signer().Sign(r, []byte("{}"), region, "kms", start.Add(5*time.Minute)) },
		"another Region":     func(r *http.Request) { signer().Sign(r, []byte("{}"), "us-east-1", "kms", start) },
		"the other service": func(r *http.Request) {
			r.Header.Set("X-Amz-Target", "Keyreeve.Echo")
			signer().Sign(r, []byte("{}"), region, "keyreeve", start)
		},
		"a character set": func(r *http.Request) {
			r.Header.Set("Content-Type", "Application/X-Amz-Json-1.1; charset=utf-8")
			sign(r, "{}")
		},
		"a query":   func(r *http.Request) { r.URL.RawQuery = "a=b"; sign(r, "{}") },
		"chunked":   func(r *http.Request) { r.ContentLength = -1 },
		"its hash":  func(r *http.Request) { r.Header.Set("X-Amz-Content-Sha256", ""); sign(r, "{}") },
		"as signed": func(*http.Request) {},
	} {
		r := newRequest(t, ts.URL, "Echo", "{}")
		change(r)
		if a := send(t, ts.Client(), r); a.status != 200 || a.body != "{}" {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	r := newRequest(t, ts.URL, "Echo", "{}")
	text := "POST / HTTP/1.0\r\nHost: " + r.Host + "\r\nContent-Length: 2\r\n"
	for name, values := range r.Header {
		text += name + ": " + values[0] + "\r\n"
	}
	if a := exchange(t, ts.Listener.Addr().String(), text+"\r\n{}"); !strings.HasPrefix(a, "HTTP/1.0 200 OK\r\n") || !strings.HasSuffix(a, "\r\n\r\n{}") {
		t.Errorf("HTTP/1.0: %s", a)
	}
}

// endless is a body that counts what is read of it.
type endless struct{ read int }

func (e *endless) Read(p []byte) (int, error) {
	clear(p)
	e.read += len(p)
	return len(p), nil
}

func TestLargeBody(t *testing.T) {
	p := newServer(t, nil)
	ts := p.listen(t)
	for length, most := range map[int64]int{
		10 << 20:               10 << 20,                                                // announced: read, and thrown away
		server.DefaultDrop + 1: 0,                                                       // not even begun
		-1:                     server.DefaultMaxBody + 1 + server.DefaultDrop + 16<<10, // chunked, without an end
	} {
		body := &endless{}
		r := newRequest(t, ts.URL, "Echo", "{}")
		r.Body, r.ContentLength = io.NopCloser(body), length
		if length > 0 {
			r.Body = io.NopCloser(io.LimitReader(body, length))
		}
		w := httptest.NewRecorder()
		// Through the handler, to see how much it reads.
		in := r.Clone(t.Context())
		in.RemoteAddr = "127.0.0.1:1"
		p.ServeHTTP(w, in)
		a := read(t, w.Result())
		if a.status != 413 || a.code != "RequestEntityTooLargeException" || (a.header.Get("Connection") == "close") != (length != 10<<20) {
			t.Errorf("length %d: %d %s %v", length, a.status, a.body, a.header)
		}
		if body.read > most {
			t.Errorf("length %d: %d bytes were read", length, body.read)
		}
	}
	// And through a connection, with a client that sends all of it.
	r := newRequest(t, ts.URL, "Echo", "{}")
	r.Body, r.ContentLength = io.NopCloser(io.LimitReader(&endless{}, 10<<20)), 10<<20
	if resp, err := ts.Client().Do(r); err == nil {
		if a := read(t, resp); a.status != 413 {
			t.Errorf("through a connection: %d %s", a.status, a.body)
		}
	}
	// What just fits is served.
	body := `{"a":"` + strings.Repeat("x", server.DefaultMaxBody-8) + `"}`
	if a := send(t, ts.Client(), newRequest(t, ts.URL, "Echo", body)); a.status != 200 || a.body != body {
		t.Errorf("%d bytes: %d", len(body), a.status)
	}
	// A service can have a limit of its own.
	small := strings.Repeat(" ", 101)
	r = newRequest(t, ts.URL, "Echo", small)
	r.Header.Set("X-Amz-Target", "Keyreeve.Echo")
	signer().Sign(r, []byte(small), region, "keyreeve", start)
	if a := send(t, ts.Client(), r); a.status != 413 {
		t.Errorf("101 bytes to the other service: %d %s", a.status, a.body)
	}
}

// TestWiped checks that nothing is left of a call in the memory it used.
func TestWiped(t *testing.T) {
	for _, operation := range []string{"Echo", "Late", "Panic"} {
		t.Run(operation, func(t *testing.T) {
			p := newServer(t, nil)
			ts := p.listen(t)
			send(t, ts.Client(), newRequest(t, ts.URL, operation, `{"planted":"secret"}`))
			if err := p.Shutdown(t.Context()); err != nil {
				t.Fatal(err)
			}
			ts.Close() // after this the handler has returned
			for _, b := range [][]byte{p.seen.in, p.seen.out} {
				if len(bytes.Trim(b, "\x00")) > 0 {
					t.Errorf("left in memory: %q", b)
				}
			}
			if p.seen.out == nil {
				t.Error("the operation was not run")
			}
		})
	}
}

func TestUnrecorded(t *testing.T) {
	for name, j := range map[string]*journal{"error": {err: errors.New("disk full")}, "panic": {panic: "at the disco"}} {
		t.Run(name, func(t *testing.T) {
			p := newServer(t, nil)
			p.journal.err, p.journal.panic = j.err, j.panic
			ts := p.listen(t)
			for _, operation := range []string{"Echo", "Invalid", "Nonsense"} {
				a := send(t, ts.Client(), newRequest(t, ts.URL, operation, `{"planted":"secret"}`))
				if a.status != 500 || a.body != `{"__type":"KMSInternalException"}` {
					t.Errorf("%s: %d %s", operation, a.status, a.body)
				}
			}
			ts.Close()
			if len(bytes.Trim(p.seen.out, "\x00")) > 0 {
				t.Errorf("left in memory: %q", p.seen.out)
			}
			if got := p.count(t, "keyreeve_audit_failures_total"); got != 3 {
				t.Errorf("keyreeve_audit_failures_total = %v, want 3", got)
			}
			if !strings.Contains(p.log.String(), "could not be recorded") {
				t.Errorf("log: %s", p.log.String())
			}
		})
	}
}

// A call that certainly can't be recorded is not even run.
func TestLogIsDown(t *testing.T) {
	p := newServer(t, nil)
	p.journal.down = errors.New("disk full")
	ts := p.listen(t)
	a := send(t, ts.Client(), newRequest(t, ts.URL, "Echo", `{"planted":"secret"}`))
	if a.status != 500 || a.body != `{"__type":"KMSInternalException"}` {
		t.Errorf("%d %s", a.status, a.body)
	}
	if _, n := p.journal.last(); n != 0 || p.seen.out != nil {
		t.Errorf("the operation was run: %d records", n)
	}
}

func TestSealed(t *testing.T) {
	p := newServer(t, nil)
	ts := p.listen(t)
	p.Seal()
	a := send(t, ts.Client(), newRequest(t, ts.URL, "Echo", "{}"))
	if a.status != 503 || a.code != "ServiceUnavailableException" || !strings.Contains(a.message, "sealed") {
		t.Errorf("sealed: %d %s", a.status, a.body)
	}
	private := httptest.NewServer(p.Private())
	defer private.Close()
	probe := func(path string) (int, string) {
		resp, err := private.Client().Get(private.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(b)
	}
	if status, body := probe("/healthz"); status != 200 || body != "ok\n" {
		t.Errorf("/healthz of a sealed node: %d %q", status, body)
	}
	if status, body := probe("/readyz"); status != 503 || body != "sealed\n" {
		t.Errorf("/readyz of a sealed node: %d %q", status, body)
	}
	if err := p.Unseal(p.backend()); err != nil {
		t.Fatal(err)
	}
	if status, _ := probe("/readyz"); status != 200 {
		t.Errorf("/readyz of an unsealed node: %d", status)
	}
	if a := send(t, ts.Client(), newRequest(t, ts.URL, "Echo", "{}")); a.status != 200 {
		t.Errorf("unsealed: %d %s", a.status, a.body)
	}
	send(t, ts.Client(), newRequest(t, ts.URL, "Nonsense", "{}"))
	status, body := probe("/metrics")
	if status != 200 {
		t.Fatalf("/metrics: %d", status)
	}
	for _, line := range []string{
		`keyreeve_calls_total{code="Success",operation="Echo",service="kms"} 1`,
		`keyreeve_calls_total{code="UnknownOperationException",operation="unknown",service="kms"} 1`,
		`keyreeve_call_duration_seconds_count{operation="Echo",service="kms"} 1`,
		`keyreeve_refused_requests_total{code="ServiceUnavailableException"} 1`,
		`keyreeve_requests_in_flight 0`,
		`keyreeve_sealed 0`,
	} {
		if !strings.Contains(body, line+"\n") {
			t.Errorf("no %s in\n%s", line, body)
		}
	}
	if strings.Contains(body, "arn:") || strings.Contains(body, alice.Account) {
		t.Errorf("metrics name callers:\n%s", body)
	}
	for _, path := range []string{"/", "/metrics/", "/debug/pprof/"} {
		if status, _ := probe(path); status != 404 {
			t.Errorf("%s: %d", path, status)
		}
	}
}

// TestSealWaits seals while a call is under way: it ends first, if it does so
// soon.
func TestSealWaits(t *testing.T) {
	p := newServer(t, nil)
	ts := p.listen(t)
	answered := make(chan answer, 1)
	r := newRequest(t, ts.URL, "Wait", "{}")
	go func() { answered <- send(t, ts.Client(), r) }()
	<-p.waiting
	sealed := make(chan struct{})
	go func() {
		p.Seal()
		close(sealed)
	}()
	for !p.Sealed() {
		time.Sleep(time.Millisecond)
	}
	if a := send(t, ts.Client(), newRequest(t, ts.URL, "Echo", "{}")); a.status != 503 {
		t.Errorf("another call meanwhile: %d %s", a.status, a.body)
	}
	select {
	case <-sealed:
		t.Error("Seal did not wait")
	default:
	}
	close(p.release)
	<-sealed
	if c, n := p.journal.last(); n != 1 || c.Failure.Code != "" {
		t.Errorf("Seal returned before the call was on record: %d records, %+v", n, c)
	}
	if a := <-answered; a.status != 200 {
		t.Errorf("the call that had begun: %d %s", a.status, a.body)
	}
}

// TestSealDoesNotWaitForever has a call that never ends.
func TestSealDoesNotWaitForever(t *testing.T) {
	p := newServer(t, nil)
	ts := p.listen(t)
	answered := make(chan answer, 1)
	r := newRequest(t, ts.URL, "Wait", "{}")
	go func() { answered <- send(t, ts.Client(), r) }()
	<-p.waiting
	begun := time.Now()
	p.Seal()
	if took := time.Since(begun); took < 900*time.Millisecond || took > time.Minute {
		t.Errorf("Seal took %v", took)
	}
	p.Seal() // again: there is nothing to wait for
	close(p.release)
	<-answered
}

func TestReady(t *testing.T) {
	problem := errors.New("the store is not there")
	p := newServer(t, func(c *server.Config) { c.Ready = func() error { return problem } })
	w := httptest.NewRecorder()
	p.Private().ServeHTTP(w, httptest.NewRequest("GET", "/readyz", nil))
	if w.Code != 503 || w.Body.String() != problem.Error()+"\n" {
		t.Errorf("/readyz: %d %q", w.Code, w.Body.String())
	}
}

func TestSecurityLog(t *testing.T) {
	p := newServer(t, nil)
	ts := p.listen(t)
	fail := func(n int, id string) {
		for range n {
			r := newRequest(t, ts.URL, "Empty", "{}")
			r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), accessKey, id, 1))
			if a := send(t, ts.Client(), r); a.code != "UnrecognizedClientException" {
				t.Fatalf("%d %s", a.status, a.body)
			}
		}
	}
	fail(25, "AKIASOMEBODYELSE")
	if got := strings.Count(p.log.String(), "authentication failed"); got != 10 {
		t.Errorf("%d lines for 25 failures in a second, want 10", got)
	}
	p.mu.Lock()
	p.now = start.Add(time.Second)
	p.mu.Unlock()
	fail(1, "wJalrXUtnFEMI+aSecretInItsPlace")
	log := p.log.String()
	if !strings.Contains(log, "not_logged_before=15") {
		t.Errorf("the log does not say how much it left out:\n%s", log)
	}
	if !strings.Contains(log, "access_key=AKIASOMEBODYELSE") || !strings.Contains(log, "code=UnrecognizedClientException") {
		t.Errorf("log:\n%s", log)
	}
	if strings.Contains(log, "aSecretInItsPlace") || strings.Contains(log, "Signature=") {
		t.Errorf("the log shows what was sent:\n%s", log)
	}
	if _, n := p.journal.last(); n != 0 {
		t.Errorf("%d records", n)
	}
}

func TestCallLog(t *testing.T) {
	p := newServer(t, nil)
	ts := p.listen(t)
	send(t, ts.Client(), newRequest(t, ts.URL, "Echo", `{"planted":"do-not-log"}`))
	ts.Close()
	log := p.log.String()
	if !strings.Contains(log, "level=DEBUG msg=call") || !strings.Contains(log, "operation=Echo") || !strings.Contains(log, alice.ARN) {
		t.Errorf("log: %s", log)
	}
	if strings.Contains(log, "do-not-log") {
		t.Errorf("a request's body is in the log:\n%s", log)
	}
}

func TestConfig(t *testing.T) {
	if _, err := server.New(server.Config{}); err == nil {
		t.Error("a server without Regions was made")
	}
	s, err := server.New(server.Config{Regions: []string{region}})
	if err != nil {
		t.Fatal(err)
	}
	if !s.Sealed() {
		t.Error("a new server is not sealed")
	}
	good := newServer(t, nil).backend()
	for name, change := range map[string]func(b *server.Backend){
		"no services":    func(b *server.Backend) { b.Services = nil },
		"no credentials": func(b *server.Backend) { b.Credentials = nil },
		"no audit":       func(b *server.Backend) { b.Audit = nil },
		"one name twice": func(b *server.Backend) {
			b.Services = []server.Service{{Name: "a", TargetPrefix: "b"}, {Name: "a", TargetPrefix: "c"}}
		},
		"one prefix twice": func(b *server.Backend) {
			b.Services = []server.Service{{Name: "a", TargetPrefix: "c"}, {Name: "b", TargetPrefix: "c"}}
		},
	} {
		b := good
		change(&b)
		if err := s.Unseal(b); err == nil {
			t.Errorf("%s: Unseal succeeded", name)
		}
	}
	if !s.Sealed() {
		t.Error("a server that could not be unsealed is not sealed")
	}
}
