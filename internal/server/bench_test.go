package server_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/server"
)

// ledger records nothing, so that the door alone is measured.
type ledger struct{}

func (ledger) Append(*call.Call) error { return nil }
func (ledger) Err() error              { return nil }

// newQuiet returns a server that logs at info level, as in production.
func newQuiet(tb testing.TB) *parts {
	tb.Helper()
	p := newServer(tb, func(c *server.Config) {
		c.Log = slog.New(slog.NewTextHandler(io.Discard, nil))
	})
	b := p.backend()
	b.Audit = ledger{}
	if err := p.Unseal(b); err != nil {
		tb.Fatal(err)
	}
	return p
}

// bare is what a handler costs that checks nothing: it reads the body and
// answers 300 bytes.
func bare(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	_, _ = w.Write(bareAnswer)
}

var (
	bareAnswer = bytes.Repeat([]byte("x"), 300)
	benchBody  = `{"KeyId":"1234abcd-12ab-34cd-56ef-1234567890ab","CiphertextBlob":"` + strings.Repeat("QUJD", 50) + `"}`
)

// discard is a ResponseWriter that costs nothing.
type discard struct{ h http.Header }

func (d *discard) Header() http.Header         { return d.h }
func (d *discard) Write(b []byte) (int, error) { return len(b), nil }
func (d *discard) WriteHeader(int)             {}

// body is a request body that can be read again.
type body struct {
	strings.Reader
}

func (*body) Close() error { return nil }

// serveOnce returns a function that has h serve one Echo.
func serveOnce(tb testing.TB, h http.Handler) func() {
	r := newRequest(tb, "https://127.0.0.1:4599", "Echo", benchBody)
	r.RemoteAddr = "127.0.0.1:54321"
	r.TLS = &tls.ConnectionState{Version: tls.VersionTLS13}
	b := &body{}
	r.Body = b
	w := &discard{h: make(http.Header, 8)}
	return func() {
		b.Reset(benchBody)
		clear(w.h)
		h.ServeHTTP(w, r)
	}
}

func BenchmarkHandler(b *testing.B) {
	for name, h := range map[string]http.Handler{"call": newQuiet(b), "bare": http.HandlerFunc(bare)} {
		b.Run(name, func(b *testing.B) {
			once := serveOnce(b, h)
			b.ReportAllocs()
			for b.Loop() {
				once()
			}
		})
	}
}

// BenchmarkTLS is one client on one TLS 1.3 connection, which costs the same
// in both.
func BenchmarkTLS(b *testing.B) {
	cert, pool := certificate(b, false)
	run := func(b *testing.B, address string) {
		c, err := tls.Dial("tcp", address, &tls.Config{RootCAs: pool, NextProtos: []string{"http/1.1"}})
		if err != nil {
			b.Fatal(err)
		}
		defer c.Close()
		var request bytes.Buffer
		if err := newRequest(b, "https://"+address, "Echo", benchBody).Write(&request); err != nil {
			b.Fatal(err)
		}
		answers := bufio.NewReader(c)
		b.ReportAllocs()
		for b.Loop() {
			if _, err := c.Write(request.Bytes()); err != nil {
				b.Fatal(err)
			}
			resp, err := http.ReadResponse(answers, nil)
			if err != nil || resp.StatusCode != http.StatusOK {
				b.Fatal(resp, err)
			}
			if _, err := io.Copy(io.Discard, resp.Body); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.Run("call", func(b *testing.B) { run(b, newQuiet(b).serve(b, cert)) })
	b.Run("bare", func(b *testing.B) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		h := &http.Server{
			Handler:   http.HandlerFunc(bare),
			TLSConfig: server.TLSConfig(func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return cert, nil }),
		}
		go func() { _ = h.ServeTLS(l, "", "") }()
		defer h.Close()
		run(b, l.Addr().String())
	})
}
