package server_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/server"
)

// half is the beginning of a request whose rest never comes: a header that is
// right but for its signature, with an announced length, and a few bytes.
func half(tb testing.TB, address string, length int, begin string) string {
	tb.Helper()
	r := newRequest(tb, "http://"+address, "Echo", "{}")
	text := fmt.Sprintf("POST / HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n", r.Host, length)
	for name, values := range r.Header {
		text += name + ": " + values[0] + "\r\n"
	}
	return text + "\r\n" + begin
}

// hang opens n connections that each send the text and wait.
func hang(tb testing.TB, n int, address, text string) []net.Conn {
	tb.Helper()
	conns := make([]net.Conn, n)
	for i := range conns {
		c, err := net.Dial("tcp", address)
		if err != nil {
			tb.Fatal(err)
		}
		tb.Cleanup(func() { _ = c.Close() })
		if _, err := io.WriteString(c, text); err != nil {
			tb.Fatal(err)
		}
		conns[i] = c
	}
	return conns
}

// gauge returns the value of a gauge.
func (p *parts) gauge(tb testing.TB, name string) float64 {
	tb.Helper()
	families, err := p.registry.Gather()
	if err != nil {
		tb.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	tb.Fatalf("no metric %s", name)
	return 0
}

func eventually(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			tb.Fatal("in vain: " + what)
		}
	}
}

// prompt makes calls that must be answered although others hang: those do so for
// as long as the test, or for a limit of ten minutes.
func prompt(t *testing.T, c *http.Client, url, body string) {
	t.Helper()
	for range 5 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		a := send(t, c, newRequest(t, url, "Echo", body).WithContext(ctx))
		cancel()
		if a.status != 200 || a.body != body {
			t.Fatalf("a call meanwhile: %d %.200s", a.status, a.body)
		}
	}
}

// TestHalfRequests holds far more halves of requests than are read at once, and
// than are served at once. They cost no more than what came of them, and keep
// nobody out.
func TestHalfRequests(t *testing.T) {
	const reading, halves = 32, 400
	p := newServer(t, func(c *server.Config) {
		c.Limits = server.Limits{Requests: 2, Reading: reading, Read: 10 * time.Minute}
	})
	address := p.serve(t, nil)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	conns := hang(t, halves, address, half(t, address, 1<<20, "{"))
	eventually(t, "all but some are cut", func() bool {
		return p.count(t, "keyreeve_refused_requests_total") >= halves-reading
	})
	runtime.ReadMemStats(&after)
	if spent := (after.TotalAlloc - before.TotalAlloc) >> 20; spent > halves/4 {
		t.Errorf("%d announced MiB have cost %d MiB", halves, spent)
	}
	if n := p.gauge(t, "keyreeve_requests_reading"); n > reading {
		t.Errorf("%v requests are read at once, want at most %d", n, reading)
	}
	prompt(t, http.DefaultClient, "http://"+address, benchBody)

	// Those that were cut, the first ones, are told to come again.
	if err := conns[0].SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conns[0]), nil)
	if err != nil {
		t.Fatal(err)
	}
	if a := read(t, resp); a.status != 503 || a.code != "ServiceUnavailableException" || !resp.Close {
		t.Errorf("the first: %d %s", a.status, a.body)
	}
	if log := p.log.String(); !strings.Contains(log, "a request was cut") {
		t.Errorf("log: %s", log)
	}
	if _, n := p.journal.last(); n != 5 {
		t.Errorf("%d records, want 5", n)
	}
}

// slowBody is a body of which a part comes at once, and the rest never.
type slowBody struct {
	begin io.Reader
	stop  <-chan struct{}
}

func (b *slowBody) Read(p []byte) (int, error) {
	if n, err := b.begin.Read(p); err == nil {
		return n, nil
	}
	<-b.stop
	return 0, io.ErrUnexpectedEOF
}

func (*slowBody) Close() error { return nil }

// arrived returns how many halves of requests have come: those that were cut,
// and those that are being read, while no other is.
func (p *parts) arrived(tb testing.TB) int {
	tb.Helper()
	return int(p.count(tb, "keyreeve_refused_requests_total") + p.gauge(tb, "keyreeve_requests_reading"))
}

// TestHalfStreams is TestHalfRequests with HTTP/2, over few connections.
func TestHalfStreams(t *testing.T) {
	const reading, streams, conns = 16, 20, 5
	p := newServer(t, func(c *server.Config) {
		c.Limits = server.Limits{Requests: 2, Reading: reading, Streams: streams, Read: 10 * time.Minute}
	})
	cert, pool := certificate(t, false)
	url := "https://" + p.serve(t, cert)
	ctx, stop := context.WithCancel(context.Background())
	t.Cleanup(stop)
	for i := range conns {
		c := client(t, &tls.Config{RootCAs: pool}, true)
		prompt(t, c, url, "{}") // so that the connection is shared
		for range streams {
			r := newRequest(t, url, "Echo", "{}").WithContext(ctx)
			r.Body, r.ContentLength = &slowBody{strings.NewReader("{"), ctx.Done()}, 1<<20
			go func() {
				if resp, err := c.Do(r); err == nil {
					_ = resp.Body.Close()
				}
			}()
		}
		// Those that are still on their way are newer than the next call, and so
		// many of them may rightly have it cut.
		eventually(t, "all halves are there", func() bool { return p.arrived(t) == i*streams+streams })
	}
	if n := p.gauge(t, "keyreeve_requests_reading"); n > reading {
		t.Errorf("%v requests are read at once, want at most %d", n, reading)
	}
	prompt(t, client(t, &tls.Config{RootCAs: pool}, true), url, benchBody)
	stop()
}

// TestHalfLargeRequests sends so much of each request that it takes more than
// the usual memory, of which there is less.
func TestHalfLargeRequests(t *testing.T) {
	const large, halves = 4, 40
	p := newServer(t, func(c *server.Config) {
		c.Limits = server.Limits{Large: large, Read: 10 * time.Minute}
	})
	address := p.serve(t, nil)
	hang(t, halves, address, half(t, address, 1<<20, strings.Repeat("x", 100<<10)))
	eventually(t, "all but some are cut", func() bool {
		return p.count(t, "keyreeve_refused_requests_total") >= halves-large
	})
	prompt(t, http.DefaultClient, "http://"+address, strings.Repeat("x", 300<<10))
	prompt(t, http.DefaultClient, "http://"+address, benchBody)
}

// TestLargeRequestsAtOnce has as many large calls under way as there may be.
func TestLargeRequestsAtOnce(t *testing.T) {
	p := newServer(t, func(c *server.Config) { c.Limits.Large = 1 })
	address := p.serve(t, nil)
	body := strings.Repeat("x", 100<<10)
	got := make(chan answer, 1)
	r := newRequest(t, "http://"+address, "Wait", body)
	go func() { got <- send(t, http.DefaultClient, r) }()
	<-p.waiting
	if a := send(t, http.DefaultClient, newRequest(t, "http://"+address, "Echo", body)); a.status != 503 || a.code != "ServiceUnavailableException" {
		t.Errorf("a second one: %d %.100s", a.status, a.body)
	}
	prompt(t, http.DefaultClient, "http://"+address, "{}")
	close(p.release)
	if a := <-got; a.status != 200 {
		t.Errorf("the first one: %d %s", a.status, a.body)
	}
	prompt(t, http.DefaultClient, "http://"+address, body)
}

// TestWaitingLimit makes more calls than are served and may wait.
func TestWaitingLimit(t *testing.T) {
	p := newServer(t, func(c *server.Config) { c.Limits.Requests, c.Limits.Waiting = 1, 1 })
	address := p.serve(t, nil)
	got := make(chan answer, 2)
	for i := range 2 {
		r := newRequest(t, "http://"+address, "Wait", "{}")
		go func() { got <- send(t, http.DefaultClient, r) }()
		if i == 0 {
			<-p.waiting
		}
	}
	eventually(t, "one waits", func() bool { return p.gauge(t, "keyreeve_requests_waiting") == 1 })
	if a := send(t, http.DefaultClient, newRequest(t, "http://"+address, "Echo", "{}")); a.status != 503 || a.code != "ServiceUnavailableException" {
		t.Errorf("a third: %d %s", a.status, a.body)
	}
	close(p.release)
	for range 2 {
		if a := <-got; a.status != 200 {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
}

// stuck is the writer of a client that reads nothing.
type stuck struct {
	discard
	writing, release chan struct{}
}

func (s *stuck) Write(b []byte) (int, error) {
	s.writing <- struct{}{}
	<-s.release
	return len(b), nil
}

// TestSlowReader has a client that does not read its answer: it takes nobody's
// turn.
func TestSlowReader(t *testing.T) {
	p := newServer(t, func(c *server.Config) { c.Limits.Requests = 1 })
	w := &stuck{discard{make(http.Header)}, make(chan struct{}), make(chan struct{})}
	done := make(chan struct{})
	r := newRequest(t, "http://127.0.0.1", "Echo", "{}")
	go func() {
		defer close(done)
		p.ServeHTTP(w, r)
	}()
	<-w.writing
	prompt(t, http.DefaultClient, p.listen(t).URL, "{}")
	close(w.release)
	<-done
}

// TestShutdownDoesNotWaitForHalves shuts down while requests are being read.
func TestShutdownDoesNotWaitForHalves(t *testing.T) {
	p := newServer(t, func(c *server.Config) { c.Limits.Read = 10 * time.Minute })
	address := p.serve(t, nil)
	hang(t, 20, address, half(t, address, 1000, "{"))
	hang(t, 5, address, half(t, address, 1<<20, strings.Repeat("x", 100<<10)))
	eventually(t, "all are read", func() bool { return p.gauge(t, "keyreeve_requests_reading") == 25 })
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := p.Shutdown(ctx); err != nil {
		t.Error(err)
	}
}

// TestLargeBodyIsAnswered sends all of a body that is too long before it looks
// for an answer, as most clients do; what is refused for other reasons too.
func TestLargeBodyIsAnswered(t *testing.T) {
	p := newServer(t, nil)
	cert, pool := certificate(t, false)
	address := p.serve(t, cert)
	body := bytes.Repeat([]byte("x"), 10<<20)
	for code, change := range map[string]func(*http.Request){
		"RequestEntityTooLargeException": func(*http.Request) {},
		"UnrecognizedClientException": func(r *http.Request) {
			r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), accessKey, "AKIASOMEBODYELSE", 1))
		},
		"UnknownOperationException": func(r *http.Request) { r.URL.Path = "/other" },
	} {
		for range 3 {
			c, err := tls.Dial("tcp", address, &tls.Config{RootCAs: pool, NextProtos: []string{"http/1.1"}})
			if err != nil {
				t.Fatal(err)
			}
			r := newRequest(t, "https://"+address, "Echo", "{}")
			r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
			change(r)
			if err := r.Write(c); err != nil {
				t.Fatalf("%s: sending: %v", code, err)
			}
			resp, err := http.ReadResponse(bufio.NewReader(c), r)
			if err != nil {
				t.Fatalf("%s: %v", code, err)
			}
			if a := read(t, resp); a.code != code || resp.Close {
				t.Errorf("%d %s, close: %v, want %s", a.status, a.body, resp.Close, code)
			}
			_ = c.Close()
		}
	}
	h2 := client(t, &tls.Config{RootCAs: pool}, true)
	for _, announced := range []bool{true, false} {
		r := newRequest(t, "https://"+address, "Echo", "{}")
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		if !announced {
			r.ContentLength = -1
		}
		if a := send(t, h2, r); a.status != 413 || a.proto != "HTTP/2.0" {
			t.Errorf("%s: %d %s", a.proto, a.status, a.body)
		}
	}
}

// TestExpectContinue checks that a client that asks first is not told to send
// what is not wanted.
func TestExpectContinue(t *testing.T) {
	p := newServer(t, nil)
	address := p.serve(t, nil)
	text := strings.Replace(half(t, address, 2<<20, ""), "\r\nContent-Length", "\r\nExpect: 100-continue\r\nContent-Length", 1)
	if a := exchange(t, address, text); !strings.HasPrefix(a, "HTTP/1.1 413 ") {
		t.Errorf("answer:\n%s", a)
	}
}

// TestDate sets the clock: the answer says what time it is there.
func TestDate(t *testing.T) {
	p := newServer(t, nil)
	cert, pool := certificate(t, false)
	address := p.serve(t, cert)
	for _, h2 := range []bool{false, true} {
		c := client(t, &tls.Config{RootCAs: pool}, h2)
		for _, now := range []time.Time{start, start.Add(time.Second), start.Add(-time.Hour)} {
			p.mu.Lock()
			p.now = now
			p.mu.Unlock()
			for range 2 {
				a := send(t, c, newRequest(t, "https://"+address, "Echo", "{}"))
				if got := a.header.Values("Date"); len(got) != 1 || got[0] != now.Format(http.TimeFormat) {
					t.Errorf("Date: %q at %v", got, now)
				}
			}
		}
	}
}

// TestTwoHosts names another host than the :authority that is signed.
func TestTwoHosts(t *testing.T) {
	p := newServer(t, nil)
	for host, want := range map[string]int{"127.0.0.1": 200, "kms.example.com": 400} {
		r := newRequest(t, "https://127.0.0.1", "Echo", "{}")
		r.Proto, r.ProtoMajor, r.ProtoMinor = "HTTP/2.0", 2, 0
		r.Header["Host"] = []string{host}
		w := httptest.NewRecorder()
		p.ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("%s: %d %s", host, w.Code, w.Body)
		}
	}
}

// TestUnroutedReadOnly looks at what is recorded of calls that are not routed.
func TestUnroutedReadOnly(t *testing.T) {
	p := newServer(t, nil)
	b := p.backend()
	b.Services[0].ReadOnly = func(operation string) bool { return operation == "ListGrants" }
	if err := p.Unseal(b); err != nil {
		t.Fatal(err)
	}
	ts := p.listen(t)
	for target, want := range map[string]bool{
		"TrentService.ListGrants": true, "TrentService.PutKeyPolicy": false, "TrentService.Nonsense": false, "Other.ListGrants": false, "ListGrants": false,
	} {
		r := newRequest(t, ts.URL, "Echo", "{}")
		r.Header.Set("X-Amz-Target", target)
		sign(r, "{}")
		if a := send(t, ts.Client(), r); a.code != "UnknownOperationException" {
			t.Errorf("%s: %d %s", target, a.status, a.body)
		}
		if c, _ := p.journal.last(); c.TargetReadOnly != want || c.Operation != nil {
			t.Errorf("%s: recorded %v", target, c.TargetReadOnly)
		}
	}
}
