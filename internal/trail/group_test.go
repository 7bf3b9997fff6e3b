package trail_test

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/config"
	"github.com/keyreeve/keyreeve/internal/trail"
)

// syslog is a syslog server.
type syslog struct {
	t       *testing.T
	address string // as in the configuration

	mu       sync.Mutex
	messages []string              // guarded by mu
	serve    func(net.Conn) bool   // in the place of reading; guarded by mu
	conns    map[net.Conn]struct{} // guarded by mu
	listener net.Listener
}

// listen begins to serve on a free port.
func listen(t *testing.T, scheme string, secure *tls.Config) *syslog {
	t.Helper()
	s := &syslog{t: t, conns: make(map[net.Conn]struct{})}
	if scheme == "udp" {
		c, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		go func() {
			buf := make([]byte, 1<<16)
			for {
				n, _, err := c.ReadFrom(buf)
				if err != nil {
					return
				}
				s.add(string(buf[:n]))
			}
		}()
		s.address = "udp://" + c.LocalAddr().String()
		return s
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.address = scheme + "://" + l.Addr().String()
	if secure != nil {
		l = tls.NewListener(l, secure)
	}
	s.listener = l
	t.Cleanup(s.end)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.conns[c] = struct{}{}
			serve := s.serve
			s.mu.Unlock()
			go func() {
				if serve == nil || !serve(c) {
					s.read(c)
				}
			}()
		}
	}()
	return s
}

// end ends all connections.
func (s *syslog) end() {
	s.listener.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		c.Close()
	}
}

func (s *syslog) add(message string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.messages = append(s.messages, message)
}

func (s *syslog) set(serve func(net.Conn) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.serve = serve
}

// read takes messages with counted octets, up to the end of the connection.
func (s *syslog) read(c net.Conn) {
	defer c.Close()
	r := bufio.NewReader(c)
	for {
		count, err := r.ReadString(' ')
		if errors.Is(err, io.EOF) && count == "" {
			return
		}
		n, bad := strconv.Atoi(strings.TrimSuffix(count, " "))
		if err != nil || bad != nil || n < 1 || n > 1<<20 {
			return
		}
		b := make([]byte, n)
		if _, err := io.ReadFull(r, b); err != nil {
			return
		}
		s.add(string(b))
	}
}

var message = regexp.MustCompile(`^<(\d+)>1 (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z) node-1 keyreeve - (event|digest) - (\{.*\})$`)

// got returns the texts of the messages of a kind.
func (s *syslog) got(kind string) []string {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	var texts []string
	for _, m := range s.messages {
		parts := message.FindStringSubmatch(m)
		switch {
		case parts == nil:
			s.t.Errorf("a message is %q", m)
		case parts[3] == kind:
			texts = append(texts, parts[4])
			if want := map[string]string{"event": "110", "digest": "109"}[kind]; parts[1] != want {
				s.t.Errorf("a message has the priority %s, want %s", parts[1], want)
			}
		}
	}
	return texts
}

// ids returns the request ids of the events, each once, in their order.
func (s *syslog) ids() []string {
	s.t.Helper()
	var ids []string
	for _, text := range s.got("event") {
		ids = append(ids, requestID(s.t, []byte(text)))
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// grouped makes a log group of a server that is open to our account.
func grouped(s *syslog, change ...func(*config.LogGroup)) func(*env) {
	return func(e *env) {
		g := config.LogGroup{Name: "audit/trail", Address: s.address, Accounts: []string{ours}}
		for _, c := range change {
			c(&g)
		}
		e.options.LogGroups = []config.LogGroup{g}
	}
}

// toGroup has a trail send to the log group.
func toGroup(t *trail.Trail) {
	t.LogGroup = "arn:aws:logs:" + region + ":" + ours + ":log-group:audit/trail:*"
	t.LogRole = "arn:aws:iam::" + ours + ":role/logs"
}

// sends waits until the server has those events.
func (e *env) sends(s *syslog, want []string) {
	e.t.Helper()
	e.until(strconv.Itoa(len(want))+" events are sent", func() bool { return len(s.ids()) >= len(want) })
	if got := s.ids(); !slices.Equal(got, want) {
		e.t.Errorf("sent: %v, want %v", got, want)
	}
}

func TestSyslog(t *testing.T) {
	ca := newAuthority(t)
	tests := []struct {
		name   string
		scheme string
		secure *tls.Config
		change func(*config.LogGroup)
	}{
		{"TCP", "tcp", nil, func(*config.LogGroup) {}},
		{"UDP", "udp", nil, func(*config.LogGroup) {}},
		{"TLS", "tls", ca.server(t), func(g *config.LogGroup) { g.CA = ca.file }},
		{"both certificates", "tls", func() *tls.Config {
			c := ca.server(t)
			c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, ca.pool
			return c
		}(), func(g *config.LogGroup) { g.CA, g.Certificate, g.Key = ca.file, ca.client, ca.clientKey }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := listen(t, tt.scheme, tt.secure)
			e := newEnv(t, grouped(s, tt.change))
			tr := e.trail("mine", toGroup)
			count := 100 // more than a buffer has room for
			if tt.scheme == "udp" {
				count = 20 // what is certain to find room in the server's buffer
			}
			want := e.some(count)
			e.write(event{Account: theirs})
			e.deliver()
			e.run()
			e.sends(s, want)
			want = append(want, e.some(1)...)
			e.deliver()
			e.sends(s, want)
			e.until("it is noted", func() bool { return e.status(tr).LogGroup.Through == e.archive.Newest() })
			if st := e.status(tr).LogGroup; st.Failure != "" || !st.Delivered.Equal(e.clock()) {
				t.Errorf("status: %+v", st)
			}
			if n := len(s.got("event")); n != len(want) {
				t.Errorf("%d messages of %d events, and nothing went wrong", n, len(want))
			}
			k := e.set.Sinks()[1]
			if k.Kind != "syslog" || k.Delivered != uint64(len(want)) || k.Trails != 1 || k.Failures != 0 {
				t.Errorf("measured: %+v", k)
			}
		})
	}
}

// TestBadSyslog: what a server has not confirmed comes again.
func TestBadSyslog(t *testing.T) {
	ca, foreign := newAuthority(t), newAuthority(t)
	short := func(e *env) { e.options.Patience = 300 * time.Millisecond }
	tests := []struct {
		name    string
		secure  *tls.Config
		change  func(*config.LogGroup)
		serve   func(s *syslog, c net.Conn) bool
		failure string // empty for any
		stays   bool   // it is never well
	}{
		{name: "never reads", serve: func(*syslog, net.Conn) bool { return true }, failure: "RequestTimeout"},
		{name: "closes at once", serve: func(_ *syslog, c net.Conn) bool { c.Close(); return true }},
		{name: "reads a little, and dies", serve: func(_ *syslog, c net.Conn) bool {
			_, _ = io.ReadFull(c, make([]byte, 10_000))
			_ = c.(*net.TCPConn).SetLinger(0)
			c.Close()
			return true
		}},
		{name: "reads all, and never closes", serve: func(s *syslog, c net.Conn) bool {
			_, _ = io.Copy(io.Discard, c)
			return true
		}, failure: "RequestTimeout"},
		{name: "talks", serve: func(_ *syslog, c net.Conn) bool {
			go func() { _, _ = io.Copy(io.Discard, c) }()
			for {
				if _, err := c.Write([]byte(strings.Repeat("x", 1024))); err != nil {
					return true
				}
			}
		}},
		{name: "TLS: does not say that it ends", secure: ca.server(t), change: func(g *config.LogGroup) { g.CA = ca.file }, serve: func(_ *syslog, c net.Conn) bool {
			_, _ = io.Copy(io.Discard, c)
			c.(*tls.Conn).NetConn().Close()
			return true
		}},
		{name: "TLS: no handshake", secure: ca.server(t), change: func(g *config.LogGroup) { g.CA = ca.file }, serve: func(*syslog, net.Conn) bool { return true }, failure: "RequestTimeout"},
		{name: "TLS: another authority", secure: foreign.server(t), change: func(g *config.LogGroup) { g.CA = ca.file }, failure: "TLSFailed", stays: true},
		{name: "TLS: another name", secure: ca.server(t), change: func(g *config.LogGroup) {
			g.CA = ca.file
			g.Address = strings.Replace(g.Address, "127.0.0.1", "localhost", 1)
		}, failure: "TLSFailed", stays: true},
		{name: "no TLS there", change: func(g *config.LogGroup) { g.Address = strings.Replace(g.Address, "tcp", "tls", 1) }, stays: true},
		{name: "nobody there", change: func(g *config.LogGroup) { g.Address = "tcp://127.0.0.1:1" }, failure: "ConnectionFailed", stays: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			scheme := "tcp"
			if tt.secure != nil {
				scheme = "tls"
			}
			s := listen(t, scheme, tt.secure)
			if tt.serve != nil {
				s.set(func(c net.Conn) bool { return tt.serve(s, c) })
			}
			if tt.change == nil {
				tt.change = func(*config.LogGroup) {}
			}
			e := newEnv(t, short, grouped(s, tt.change), func(e *env) { e.options.Outbound.Networks = loopback })
			tr := e.trail("mine", toGroup)
			want := e.some(300)
			e.deliver()
			e.run()
			e.until("the failure is told", func() bool { return e.status(tr).LogGroup.Failure != "" })
			st := e.status(tr).LogGroup
			if tt.failure != "" && st.Failure != tt.failure {
				t.Errorf("the failure is %q, want %q", st.Failure, tt.failure)
			}
			if !st.Delivered.IsZero() || st.Through != 0 {
				t.Errorf("status: %+v", st)
			}
			e.gets("", want) // the bucket is not held up
			if tt.stays {
				return
			}
			s.set(nil)
			e.sends(s, want)
			e.until("all is well", func() bool {
				st := e.status(tr).LogGroup
				return st.Failure == "" && st.Through == e.archive.Newest()
			})
		})
	}
}

// TestAnchors: the log group is told of each digest, also of those that were
// made while it was away.
func TestAnchors(t *testing.T) {
	s := listen(t, "tcp", nil)
	s.set(func(c net.Conn) bool { c.Close(); return true })
	e := newEnv(t, quick, grouped(s))
	tr := e.trail("mine", toGroup, validated)
	want := e.some(1)
	e.deliver()
	e.run()
	e.settled(tr)
	for n := range 3 {
		e.pass(time.Hour)
		e.digested(n + 1)
	}
	s.set(nil)
	e.sends(s, want)
	e.until("three digests are told of", func() bool { return len(s.got("digest")) >= 3 })
	chain, wrong := e.check(bucket, "")
	if len(wrong) > 0 {
		t.Error(wrong)
	}
	objects := e.s3.Objects(bucket)
	for i, text := range s.got("digest")[:3] {
		var a map[string]string
		e.ok(json.Unmarshal([]byte(text), &a))
		name := chain[i].Object
		for field, want := range map[string]string{
			"trailARN": tr.ARN(), "awsAccountId": ours, "awsRegion": region, "digestStartTime": chain[i].Start, "digestEndTime": chain[i].End,
			"digestS3Bucket": bucket, "digestS3Object": name, "digestHashValue": hash(inflate(t, objects[name].Body)), "digestHashAlgorithm": "SHA-256",
			"digestSignature": objects[name].Metadata["signature"],
		} {
			if a[field] != want {
				t.Errorf("anchor %d: %s is %q, want %q", i, field, a[field], want)
			}
		}
	}
}

// TestGroupLater: a log group that a trail gets later gets what comes then.
func TestGroupLater(t *testing.T) {
	s := listen(t, "tcp", nil)
	e := newEnv(t, grouped(s))
	tr := e.trail("mine")
	e.some(2)
	e.deliver()
	e.run()
	e.settled(tr)
	_, err := e.set.Update(t.Context(), tr.Ref, func(t *trail.Trail) error { toGroup(t); return nil })
	e.ok(err)
	want := e.some(1)
	e.deliver()
	e.sends(s, want)
	// And none after it is taken away.
	_, err = e.set.Update(t.Context(), tr.Ref, func(t *trail.Trail) error { t.LogGroup = ""; return nil })
	e.ok(err)
	e.until("nobody sends", func() bool { return e.set.Sinks()[1].Trails == 0 })
}

// authority is a certificate authority, with what it has certified.
type authority struct {
	file, client, clientKey string // paths
	pool                    *x509.CertPool
	certificate             *x509.Certificate
	key                     *ecdsa.PrivateKey
	dir                     string
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{dir: t.TempDir(), pool: x509.NewCertPool()}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ca"}, NotBefore: start.Add(-time.Hour), NotAfter: start.AddDate(1, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	var der []byte
	a.key, der = a.sign(t, template, nil)
	var err error
	if a.certificate, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.pool.AddCert(a.certificate)
	a.file = a.write(t, "ca.pem", "CERTIFICATE", der, 0o644)
	key, der := a.sign(t, &x509.Certificate{
		SerialNumber: big.NewInt(3), Subject: pkix.Name{CommonName: "keyreeve"}, NotBefore: start.Add(-time.Hour), NotAfter: start.AddDate(1, 0, 0),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, a)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	a.client, a.clientKey = a.write(t, "client.pem", "CERTIFICATE", der, 0o644), a.write(t, "client.key", "PRIVATE KEY", private, 0o600)
	return a
}

func (a *authority) sign(t *testing.T, template *x509.Certificate, by *authority) (*ecdsa.PrivateKey, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	parent, signer := template, key
	if by != nil {
		parent, signer = by.certificate, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	return key, der
}

func (a *authority) write(t *testing.T, name, kind string, der []byte, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(a.dir, name)
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), mode); err != nil {
		t.Fatal(err)
	}
	return path
}

// server returns the configuration of a server at the loopback address.
func (a *authority) server(t *testing.T) *tls.Config {
	t.Helper()
	key, der := a.sign(t, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "syslog"}, NotBefore: start.Add(-time.Hour), NotAfter: start.AddDate(1, 0, 0),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, a)
	return &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MinVersion: tls.VersionTLS12,
		Time: func() time.Time { return start },
	}
}
