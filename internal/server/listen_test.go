package server_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/fips140"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/server"
)

// certificate returns a certificate for 127.0.0.1, and who trusts it.
func certificate(tb testing.TB, useRSA bool) (*tls.Certificate, *x509.CertPool) {
	tb.Helper()
	var public, private any
	if useRSA {
		k, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			tb.Fatal(err)
		}
		public, private = &k.PublicKey, k
	} else {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			tb.Fatal(err)
		}
		public, private = &k.PublicKey, k
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	if err != nil {
		tb.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private, Leaf: leaf}, pool
}

// serve listens as a node does, with TLS unless c is nil, until the test ends.
func (p *parts) serve(tb testing.TB, c *tls.Certificate) (address string) {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	var config *tls.Config
	if c != nil {
		config = server.TLSConfig(func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c, nil })
	}
	done := make(chan error, 1)
	go func() { done <- p.Serve(l, config) }()
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := p.Shutdown(ctx); err != nil && !tb.Failed() {
			tb.Log(err)
		}
		if err := <-done; err != nil {
			tb.Errorf("Serve: %v", err)
		}
	})
	return l.Addr().String()
}

func client(tb testing.TB, config *tls.Config, h2 bool) *http.Client {
	tb.Helper()
	tr := &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: h2}
	tb.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: time.Minute}
}

func TestTLS(t *testing.T) {
	if fips140.Enabled() {
		t.Skip("with FIPS 140, Go leaves X25519 and TLS 1.1 out by itself")
	}
	ec, ecPool := certificate(t, false)
	rs, rsPool := certificate(t, true)
	tests := map[string]struct {
		client  *tls.Config
		useRSA  bool
		version uint16 // 0 means refused
		group   tls.CurveID
	}{
		"default":    {&tls.Config{}, false, tls.VersionTLS13, tls.X25519MLKEM768},
		"of RSA":     {&tls.Config{}, true, tls.VersionTLS13, tls.X25519MLKEM768},
		"no hybrid":  {&tls.Config{CurvePreferences: []tls.CurveID{tls.X25519, tls.CurveP256}}, false, tls.VersionTLS13, tls.X25519},
		"P-256":      {&tls.Config{CurvePreferences: []tls.CurveID{tls.CurveP256}}, false, tls.VersionTLS13, tls.CurveP256},
		"P-384":      {&tls.Config{CurvePreferences: []tls.CurveID{tls.CurveP384}}, false, tls.VersionTLS13, tls.CurveP384},
		"P-521 only": {&tls.Config{CurvePreferences: []tls.CurveID{tls.CurveP521}}, false, 0, 0},
		"TLS 1.2":    {&tls.Config{MaxVersion: tls.VersionTLS12}, false, tls.VersionTLS12, tls.X25519},
		"TLS 1.1":    {&tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, false, 0, 0},
		"RSA key exchange": {&tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{
			tls.TLS_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_RSA_WITH_AES_256_GCM_SHA384, tls.TLS_RSA_WITH_AES_128_CBC_SHA,
		}}, true, 0, 0},
		"CBC": {&tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256, tls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA,
		}}, false, 0, 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p := newServer(t, nil)
			cert, pool := ec, ecPool
			if tt.useRSA {
				cert, pool = rs, rsPool
			}
			address := p.serve(t, cert)
			tt.client.RootCAs = pool
			resp, err := client(t, tt.client, true).Do(newRequest(t, "https://"+address, "Echo", "{}"))
			if tt.version == 0 {
				var alert tls.AlertError
				if err == nil || !errors.As(err, &alert) && !strings.Contains(err.Error(), "remote error: tls: ") {
					t.Errorf("got %v, want the server's alert", err)
				}
				if log := p.log.String(); strings.Contains(log, "level=WARN") {
					t.Errorf("a client's handshake is logged as a warning: %s", log)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if a := read(t, resp); a.status != 200 || a.body != "{}" {
				t.Errorf("%d %s", a.status, a.body)
			}
			c, _ := p.journal.last()
			if resp.TLS.Version != tt.version || resp.TLS.CurveID != tt.group {
				t.Errorf("negotiated %s, %v", tls.VersionName(resp.TLS.Version), resp.TLS.CurveID)
			}
			want := call.TLS{Version: resp.TLS.Version, CipherSuite: resp.TLS.CipherSuite, Group: uint16(resp.TLS.CurveID)}
			if c.TLS != want {
				t.Errorf("recorded %+v, want %+v", c.TLS, want)
			}
		})
	}
}

func TestHTTP2(t *testing.T) {
	p := newServer(t, nil)
	cert, pool := certificate(t, false)
	address := p.serve(t, cert)
	h2 := client(t, &tls.Config{RootCAs: pool}, true)
	for _, body := range []string{"{}", "", `{"a":"` + strings.Repeat("x", 100_000) + `"}`} {
		a := send(t, h2, newRequest(t, "https://"+address, "Echo", body))
		if a.status != 200 || a.body != body || a.proto != "HTTP/2.0" {
			t.Errorf("%s %d, %d bytes", a.proto, a.status, len(a.body))
		}
	}
	// The :authority is the host that is signed.
	r := newRequest(t, "https://"+address, "Echo", "{}")
	r.Host = "kms.eu-central-1.example.com"
	if a := send(t, h2, r); a.code != "InvalidSignatureException" {
		t.Errorf("another :authority: %d %s", a.status, a.body)
	}
	r = newRequest(t, "https://"+address, "Echo", "{}")
	r.Host = "kms.eu-central-1.example.com"
	sign(r, "{}")
	if a := send(t, h2, r); a.status != 200 {
		t.Errorf("another :authority, signed: %d %s", a.status, a.body)
	}
	if c, _ := p.journal.last(); c.Host != r.Host {
		t.Errorf("recorded host %q", c.Host)
	}
	// Too much, in a stream.
	r = newRequest(t, "https://"+address, "Echo", "{}")
	r.Body, r.ContentLength = io.NopCloser(io.LimitReader(&endless{}, 10<<20)), -1
	if resp, err := h2.Do(r); err == nil {
		if a := read(t, resp); a.status != 413 || a.code != "RequestEntityTooLargeException" {
			t.Errorf("10 MB: %d %s", a.status, a.body)
		}
	}
	h1 := client(t, &tls.Config{RootCAs: pool, NextProtos: []string{"http/1.1"}}, false)
	if a := send(t, h1, newRequest(t, "https://"+address, "Echo", "{}")); a.status != 200 || a.proto != "HTTP/1.1" {
		t.Errorf("%s %d", a.proto, a.status)
	}
}

func TestHeaderLimit(t *testing.T) {
	p := newServer(t, nil)
	cert, pool := certificate(t, false)
	address := p.serve(t, cert)
	for _, h2 := range []bool{false, true} {
		c := client(t, &tls.Config{RootCAs: pool}, h2)
		r := newRequest(t, "https://"+address, "Echo", "{}")
		r.Header.Set("X-Large", strings.Repeat("x", 100<<10))
		resp, err := c.Do(r)
		if err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
				t.Errorf("100 KiB of headers, HTTP/2 %v: %d", h2, resp.StatusCode)
			}
		}
		r = newRequest(t, "https://"+address, "Echo", "{}")
		r.Header.Set("X-Large", strings.Repeat("x", 8<<10))
		if a := send(t, c, r); a.status != 200 {
			t.Errorf("8 KiB of headers, HTTP/2 %v: %d %s", h2, a.status, a.body)
		}
	}
	if _, n := p.journal.last(); n != 2 {
		t.Errorf("%d records, want 2", n)
	}
	// To the byte, in HTTP/1.
	for length, want := range map[int]string{server.DefaultHeaderBytes: "HTTP/1.1 400 ", server.DefaultHeaderBytes + 1: "HTTP/1.1 431 "} {
		text := "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Type: application/x-amz-json-1.1\r\nX-Large: "
		text += strings.Repeat("x", length-len(text)-len("\r\n\r\n")) + "\r\n\r\n"
		c, err := tls.Dial("tcp", address, &tls.Config{RootCAs: pool})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(c, text); err != nil {
			t.Fatal(err)
		}
		if got, err := bufio.NewReader(c).ReadString('\n'); err != nil || !strings.HasPrefix(got, want) {
			t.Errorf("a header of %d bytes: %q, %v, want %s", length, got, err, want)
		}
		_ = c.Close()
	}
}

// TestSlowClients sends a header, and a body, a byte at a time.
func TestSlowClients(t *testing.T) {
	for name, tt := range map[string]struct {
		limits server.Limits
		text   func(t *testing.T, address string) string
		want   string
	}{
		"header": {
			server.Limits{ReadHeader: 100 * time.Millisecond, Read: time.Minute},
			func(*testing.T, string) string { return "POST / HTTP/1.1\r\nHost: a\r\nX-Slow: " }, "",
		},
		"body": {
			server.Limits{ReadHeader: time.Minute, Read: 200 * time.Millisecond},
			func(t *testing.T, address string) string { return head(t, address) + "\r\n{" }, "HTTP/1.1 408 Request Timeout\r\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := newServer(t, func(c *server.Config) { c.Limits = tt.limits })
			address := p.serve(t, nil)
			c, err := net.Dial("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if _, err := io.WriteString(c, tt.text(t, address)); err != nil {
				t.Fatal(err)
			}
			go func() {
				for {
					if _, err := io.WriteString(c, "x"); err != nil {
						return
					}
					time.Sleep(20 * time.Millisecond)
				}
			}()
			if err := c.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(c)
			if err != nil && errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatal("the connection is still open")
			}
			if !strings.HasPrefix(string(got), tt.want) {
				t.Errorf("answer %q, want %q", got, tt.want)
			}
			if tt.want != "" && !strings.Contains(string(got), `{"__type":"RequestTimeoutException"`) {
				t.Errorf("answer %q", got)
			}
		})
	}
}

// head returns the lines of a signed request with a body of 1,000 bytes.
func head(t *testing.T, address string) string {
	t.Helper()
	r := newRequest(t, "http://"+address, "Echo", strings.Repeat("x", 1000))
	var b strings.Builder
	b.WriteString("POST / HTTP/1.1\r\nHost: " + address + "\r\nContent-Length: 1000\r\n")
	for name, values := range r.Header {
		b.WriteString(name + ": " + values[0] + "\r\n")
	}
	return b.String()
}

// TestBrokenBody closes the connection in the middle of a body.
func TestBrokenBody(t *testing.T) {
	p := newServer(t, nil)
	address := p.serve(t, nil)
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, head(t, address)+"\r\n{"); err != nil {
		t.Fatal(err)
	}
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	if a := read(t, resp); a.status != 400 || a.code != "SerializationException" {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// TestClientGone checks that a call that was begun ends and is recorded though
// its client went away.
func TestClientGone(t *testing.T) {
	p := newServer(t, nil)
	address := p.serve(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		resp, err := http.DefaultClient.Do(newRequest(t, "http://"+address, "Wait", "{}").WithContext(ctx))
		if err == nil {
			_ = resp.Body.Close()
			t.Error("an answer came")
		}
	}()
	<-p.waiting
	cancel()
	<-gone
	close(p.release)
	deadline := time.Now().Add(time.Minute)
	for {
		if c, n := p.journal.last(); n == 1 {
			if c.Failure.Code != "" {
				t.Errorf("recorded %+v", c.Failure)
			}
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the call was not recorded")
		}
		time.Sleep(time.Millisecond)
	}
}

func TestShutdown(t *testing.T) {
	t.Run("drained", func(t *testing.T) {
		p := newServer(t, nil)
		address := p.serve(t, nil)
		got := begin(t, p, address)
		stopped := make(chan error, 1)
		go func() { stopped <- p.Shutdown(t.Context()) }()
		for { // the listener is closed first
			c, err := net.Dial("tcp", address)
			if err != nil {
				break
			}
			_ = c.Close()
			time.Sleep(time.Millisecond)
		}
		select {
		case err := <-stopped:
			t.Fatalf("Shutdown returned during a call: %v", err)
		case <-time.After(20 * time.Millisecond):
		}
		close(p.release)
		if a := <-got; a.status != 200 {
			t.Errorf("the call: %d %s", a.status, a.body)
		}
		if err := <-stopped; err != nil {
			t.Errorf("Shutdown: %v", err)
		}
	})
	t.Run("deadline", func(t *testing.T) {
		p := newServer(t, nil)
		address := p.serve(t, nil)
		got := begin(t, p, address)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		if err := p.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Shutdown: %v", err)
		}
		if a := <-got; a.status != 500 || a.code != "KMSInternalException" {
			t.Errorf("the call: %d %s", a.status, a.body)
		}
		if c, n := p.journal.last(); n != 1 || c.Failure.Code != "KMSInternalException" {
			t.Errorf("%d records, the last %+v", n, c)
		}
	})
	t.Run("before", func(t *testing.T) {
		p := newServer(t, nil)
		if err := p.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		p.serve(t, nil) // closes it and returns
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		if err := p.ServePrivate(l); err != nil {
			t.Error(err)
		}
	})
}

// begin makes a call that waits, and returns once it does.
func begin(t *testing.T, p *parts, address string) <-chan answer {
	t.Helper()
	got := make(chan answer, 1)
	r := newRequest(t, "http://"+address, "Wait", "{}")
	go func() {
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			got <- answer{body: err.Error()}
			return
		}
		got <- read(t, resp)
	}()
	<-p.waiting
	return got
}

func TestPrivate(t *testing.T) {
	p := newServer(t, nil)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- p.ServePrivate(l) }()
	resp, err := http.Get("http://" + l.Addr().String() + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != 200 {
		t.Errorf("/readyz: %d", resp.StatusCode)
	}
	if err := p.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestRequestsLimit makes more calls at once than are served at once.
func TestRequestsLimit(t *testing.T) {
	const limit, more = 2, 5
	p := newServer(t, func(c *server.Config) { c.Limits.Requests = limit })
	address := p.serve(t, nil)
	got := make(chan answer, limit+more)
	for range limit + more {
		r := newRequest(t, "http://"+address, "Wait", "{}")
		go func() {
			resp, err := http.DefaultClient.Do(r)
			if err != nil {
				got <- answer{body: err.Error()}
				return
			}
			got <- read(t, resp)
		}()
	}
	for range limit {
		<-p.waiting
	}
	select {
	case <-p.waiting:
		t.Error("more calls than the limit are served")
	case <-time.After(50 * time.Millisecond):
	}
	close(p.release)
	for range limit + more {
		if a := <-got; a.status != 200 {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
	if _, n := p.journal.last(); n != limit+more {
		t.Errorf("%d records, want %d", n, limit+more)
	}
}
