package outbound_test

import (
	"context"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/outbound"
)

func TestPublic(t *testing.T) {
	for text, want := range map[string]bool{
		"140.82.121.4": true, "1.1.1.1": true, "2606:50c0:8000::153": true, "::ffff:1.1.1.1": true,
		"0.0.0.0": false, "10.1.2.3": false, "100.64.0.1": false, "127.0.0.1": false, "127.255.0.1": false,
		"169.254.169.254": false, "172.16.0.1": false, "172.31.255.255": false, "192.168.1.1": false, "192.0.0.8": false,
		"198.18.0.1": false, "203.0.113.5": false, "224.0.0.1": false, "240.0.0.1": false, "255.255.255.255": false,
		"::": false, "::1": false, "::ffff:127.0.0.1": false, "::ffff:10.0.0.1": false, "::127.0.0.1": false,
		"fe80::1": false, "fc00::1": false, "fd12::1": false, "fec0::1": false, "ff02::1": false,
		"64:ff9b::7f00:1": false, "64:ff9b:1::1": false, "2002:7f00:1::": false, "2001::1": false, "2001:db8::1": false, "fd00:ec2::254": false,
	} {
		if got := outbound.Public(netip.MustParseAddr(text)); got != want {
			t.Errorf("%s is public: %t", text, got)
		}
	}
	if outbound.Public(netip.Addr{}) {
		t.Error("no address is public")
	}
}

// away is a name that nobody has, and its addresses.
func lookup(addresses ...string) func(context.Context, string) ([]netip.Addr, error) {
	return func(context.Context, string) ([]netip.Addr, error) {
		var list []netip.Addr
		for _, a := range addresses {
			list = append(list, netip.MustParseAddr(a))
		}
		return list, nil
	}
}

func TestForbidden(t *testing.T) {
	for _, c := range []struct {
		name    string
		o       outbound.Options
		address string
	}{
		{"nothing is allowed", outbound.Options{}, "idp.example.com:443"},
		{"another host", outbound.Options{Allow: []string{"other.example.com"}}, "idp.example.com:443"},
		{"another port", outbound.Options{Allow: []string{"idp.example.com"}}, "idp.example.com:22"},
		{"the usual port", outbound.Options{Allow: []string{"idp.example.com:8443"}}, "idp.example.com:443"},
		{"a domain itself", outbound.Options{Allow: []string{"*.example.com"}}, "example.com:443"},
		{"the end of another domain", outbound.Options{Allow: []string{"*.example.com"}}, "badexample.com:443"},
		{"a loopback address", outbound.Options{Allow: []string{"idp.example.com"}, Lookup: lookup("127.0.0.1", "::1")}, "idp.example.com:443"},
		{"metadata of a cloud", outbound.Options{Allow: []string{"*.example.com"}, Lookup: lookup("169.254.169.254")}, "idp.example.com:443"},
		{"a mapped address", outbound.Options{Allow: []string{"idp.example.com"}, Lookup: lookup("::ffff:10.0.0.1")}, "idp.example.com:443"},
		{"a private address by itself", outbound.Options{Allow: []string{"10.0.0.1"}}, "10.0.0.1:443"},
		{"another network", outbound.Options{Allow: []string{"idp.example.com"}, Networks: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")}, Lookup: lookup("10.2.0.1")}, "idp.example.com:443"},
		{"no port", outbound.Options{Allow: []string{"idp.example.com"}}, "idp.example.com"},
	} {
		conn, err := outbound.New(c.o).DialContext(t.Context(), "tcp", c.address)
		if !errors.Is(err, outbound.ErrForbidden) || conn != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// serve starts a server of TLS, as which idp.example.com answers.
func serve(t *testing.T, f http.HandlerFunc) outbound.Options {
	t.Helper()
	s := httptest.NewTLSServer(f)
	t.Cleanup(s.Close)
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	at := netip.MustParseAddrPort(s.Listener.Addr().String())
	return outbound.Options{
		// Patient, for a machine may be slow: what is too late is tested by itself.
		Connect: time.Minute, Request: time.Minute,
		Allow: []string{"example.com"}, Roots: roots,
		Resolve: map[string]netip.AddrPort{"example.com:443": at},
	}
}

func TestGetJSON(t *testing.T) {
	var asked atomic.Int32
	o := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		switch r.URL.Path {
		case "/good":
			w.Header().Set("Content-Type", "application/json; charset=utf-8")
			_, _ = w.Write([]byte(`{"a":1}`))
		case "/redirect":
			http.Redirect(w, r, "/good", http.StatusFound)
		case "/missing":
			http.NotFound(w, r)
		case "/page":
			w.Header().Set("Content-Type", "text/html")
		case "/large":
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(strings.Repeat(" ", 1001)))
		case "/endless":
			w.Header().Set("Content-Type", "application/json")
			for r.Context().Err() == nil {
				if _, err := w.Write(make([]byte, 4096)); err != nil {
					return
				}
			}
		case "/header":
			for range 1000 {
				w.Header().Add("X", strings.Repeat("x", 100))
			}
		}
	})
	d := outbound.New(o)
	if got, err := d.GetJSON(t.Context(), "https://example.com/good", 1000); err != nil || string(got) != `{"a":1}` {
		t.Fatalf("%q, %v", got, err)
	}
	for path, want := range map[string]error{
		"/redirect": outbound.ErrAnswer, "/missing": outbound.ErrAnswer, "/page": outbound.ErrAnswer,
		"/large": outbound.ErrTooLarge, "/endless": outbound.ErrTooLarge,
		"/header": nil,
	} {
		asked.Store(0)
		got, err := d.GetJSON(t.Context(), "https://example.com"+path, 1000)
		if err == nil || got != nil || want != nil && !errors.Is(err, want) {
			t.Errorf("%s: %q, %v", path, got, err)
		}
		if n := asked.Load(); n != 1 {
			t.Errorf("%s: asked %d times", path, n)
		}
	}
	for _, from := range []string{
		"http://example.com/good", "https:///good", "https://a:b@example.com/good", "file:///etc/passwd", "https://example.com:22/good",
		"https://other.example.com/good", "://",
	} {
		if _, err := d.GetJSON(t.Context(), from, 1000); !errors.Is(err, outbound.ErrForbidden) {
			t.Errorf("%s: %v", from, err)
		}
	}
	o.Roots = x509.NewCertPool()
	if _, err := outbound.New(o).GetJSON(t.Context(), "https://example.com/good", 1000); err == nil {
		t.Error("a certificate of nobody is trusted")
	}
	o.Now = func() time.Time { return time.Now().AddDate(200, 0, 0) }
	if _, err := outbound.New(o).GetJSON(t.Context(), "https://example.com/good", 1000); err == nil {
		t.Error("a certificate of long ago is trusted")
	}
}

// TestLate: whoever does not answer in time, or never ends, is not waited for;
// and what is said on seeing that nobody waits is no answer.
func TestLate(t *testing.T) {
	for name, handler := range map[string]http.HandlerFunc{
		"hangs":             func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done(); panic(http.ErrAbortHandler) },
		"answers when late": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"drips": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			for r.Context().Err() == nil {
				_, _ = w.Write([]byte(" "))
				_ = http.NewResponseController(w).Flush()
				time.Sleep(time.Millisecond)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := serve(t, handler)
			o.Request = 100 * time.Millisecond
			for range 5 {
				got, err := outbound.New(o).GetJSON(t.Context(), "https://example.com/", 1<<20)
				if !errors.Is(err, context.DeadlineExceeded) || got != nil {
					t.Errorf("%q, %v", got, err)
				}
			}
		})
	}
}

// TestProxy: a proxy of the environment would connect where it likes.
func TestProxy(t *testing.T) {
	var used atomic.Bool
	proxy := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { used.Store(true) }))
	defer proxy.Close()
	t.Setenv("HTTPS_PROXY", proxy.URL)
	t.Setenv("ALL_PROXY", proxy.URL)
	o := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("{}")) })
	if _, err := outbound.New(o).GetJSON(t.Context(), "https://example.com/", 10); err != nil || used.Load() {
		t.Errorf("%v; through the proxy: %t", err, used.Load())
	}
}

// TestLookedUpOnce: what was looked at is what is connected to.
func TestLookedUpOnce(t *testing.T) {
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("{}")) }))
	defer s.Close()
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	var looked atomic.Int32
	d := outbound.New(outbound.Options{
		Allow: []string{net.JoinHostPort("example.com", u.Port())}, Roots: roots,
		Networks: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")},
		Lookup: func(context.Context, string) ([]netip.Addr, error) {
			if looked.Add(1) > 1 {
				return []netip.Addr{netip.MustParseAddr("127.0.0.2")}, nil
			}
			return []netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("127.0.0.1")}, nil
		},
	})
	if _, err := d.GetJSON(t.Context(), "https://EXAMPLE.com:"+u.Port()+"/", 10); err != nil || looked.Load() != 1 {
		t.Errorf("%v; looked up %d times", err, looked.Load())
	}
}
