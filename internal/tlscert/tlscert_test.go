package tlscert_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/hint"
	"github.com/keyreeve/keyreeve/internal/tlscert"
)

var epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func local(t *testing.T, dir string, now time.Time, names ...string) *tlscert.Source {
	t.Helper()
	s, err := tlscert.Local(dir, tlscert.Options{Names: names, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatalf("Local: %v", err)
	}
	return s
}

func leaf(t *testing.T, s *tlscert.Source) *x509.Certificate {
	t.Helper()
	c, err := s.GetCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	return c.Leaf
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// verify checks the certificate as a client does that trusts ca.pem.
func verify(t *testing.T, s *tlscert.Source, name string, now time.Time) error {
	t.Helper()
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(read(t, s.AuthorityFile())) {
		t.Fatal("no certificate in the authority's file")
	}
	_, err := leaf(t, s).Verify(x509.VerifyOptions{DNSName: name, Roots: roots, CurrentTime: now})
	return err
}

func TestLocal(t *testing.T) {
	dir := t.TempDir()
	s := local(t, dir, epoch, "kms.example.com", "192.0.2.7", "*.vpce.example.com")
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{
		"localhost", "127.0.0.1", "::1", host, "kms.example.com", "192.0.2.7", "a.vpce.example.com",
	} {
		if err := verify(t, s, name, epoch); err != nil {
			t.Errorf("for %s: %v", name, err)
		}
	}
	if verify(t, s, "kms.example.org", epoch) == nil {
		t.Error("the certificate is for a name that it should not be for")
	}
	for file, want := range map[string]os.FileMode{
		"ca.pem": 0o644, "ca-key.pem": 0o600, "server.pem": 0o644, "server-key.pem": 0o600,
	} {
		info, err := os.Stat(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("mode of %s = %v, want %v", file, got, want)
		}
	}
	if files, _ := os.ReadDir(dir); len(files) != 4 {
		t.Errorf("%d files in the directory, want 4: %v", len(files), files)
	}

	again := local(t, dir, epoch.Add(24*time.Hour), "kms.example.com", "192.0.2.7", "*.vpce.example.com")
	if !leaf(t, again).Equal(leaf(t, s)) {
		t.Error("a second start made another certificate")
	}
}

// TestAuthority checks that the authority is good for nothing but servers.
func TestAuthority(t *testing.T) {
	dir := t.TempDir()
	s := local(t, dir, epoch)
	block, _ := pem.Decode(read(t, s.AuthorityFile()))
	authority, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	if !authority.IsCA || authority.MaxPathLen != 0 || !authority.MaxPathLenZero {
		t.Errorf("authority: CA %v, path length %d", authority.IsCA, authority.MaxPathLen)
	}
	if len(authority.ExtKeyUsage) != 1 || authority.ExtKeyUsage[0] != x509.ExtKeyUsageServerAuth {
		t.Errorf("authority: extended key usage %v", authority.ExtKeyUsage)
	}
	if leaf(t, s).IsCA {
		t.Error("the server's certificate is an authority")
	}
}

func TestRenewal(t *testing.T) {
	dir := t.TempDir()
	now := epoch
	s, err := tlscert.Local(dir, tlscert.Options{Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	first, authority := leaf(t, s), read(t, s.AuthorityFile())

	now = epoch.Add(59 * 24 * time.Hour)
	if err := s.Refresh(); err != nil {
		t.Fatal(err)
	}
	if !leaf(t, s).Equal(first) {
		t.Error("the certificate was renewed after 59 days")
	}
	now = epoch.Add(61 * 24 * time.Hour)
	if err := s.Refresh(); err != nil {
		t.Fatal(err)
	}
	if leaf(t, s).Equal(first) {
		t.Error("the certificate was not renewed after 61 days")
	}
	if got := s.NotAfter(); got.Before(now.Add(89 * 24 * time.Hour)) {
		t.Errorf("the new certificate is good until %v only", got)
	}
	if !bytes.Equal(read(t, s.AuthorityFile()), authority) {
		t.Error("renewing the certificate changed the authority")
	}
	if err := verify(t, s, "localhost", now); err != nil {
		t.Error(err)
	}
}

func TestRemade(t *testing.T) {
	tests := map[string]func(t *testing.T, dir string){
		"server.pem is missing":     func(t *testing.T, dir string) { remove(t, dir, "server.pem") },
		"server-key.pem is missing": func(t *testing.T, dir string) { remove(t, dir, "server-key.pem") },
		"server.pem is garbage":     func(t *testing.T, dir string) { write(t, dir, "server.pem", "garbage") },
		"server.pem is the authority": func(t *testing.T, dir string) {
			write(t, dir, "server.pem", string(read(t, filepath.Join(dir, "ca.pem"))))
		},
		"the authority is gone": func(t *testing.T, dir string) {
			remove(t, dir, "ca.pem")
			remove(t, dir, "ca-key.pem")
		},
		"the authority's certificate was never written": func(t *testing.T, dir string) { remove(t, dir, "ca.pem") },
	}
	for name, damage := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			first := leaf(t, local(t, dir, epoch))
			damage(t, dir)
			s := local(t, dir, epoch)
			if leaf(t, s).Equal(first) {
				t.Error("the certificate is the old one")
			}
			if err := verify(t, s, "localhost", epoch); err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("another name", func(t *testing.T) {
		dir := t.TempDir()
		first := local(t, dir, epoch)
		authority := read(t, first.AuthorityFile())
		s := local(t, dir, epoch, "kms.example.com")
		if err := verify(t, s, "kms.example.com", epoch); err != nil {
			t.Error(err)
		}
		if !bytes.Equal(read(t, s.AuthorityFile()), authority) {
			t.Error("another name changed the authority")
		}
	})
}

// A copy of the directory of the certificates is no copy of the keys.
func TestKeysElsewhere(t *testing.T) {
	dir, keys := t.TempDir(), t.TempDir()
	var log bytes.Buffer
	start := func() *tlscert.Source {
		t.Helper()
		s, err := tlscert.Local(dir, tlscert.Options{
			Keys: keys, Now: func() time.Time { return epoch }, Log: slog.New(slog.NewTextHandler(&log, nil)),
		})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	first := start()
	if text := log.String(); !strings.Contains(text, `reason="none yet"`) || strings.Contains(text, "no such file") {
		t.Errorf("the log of a first start says %s", text)
	}
	if second := start(); !leaf(t, second).Equal(leaf(t, first)) {
		t.Error("the second start made another certificate")
	}
	for where, want := range map[string]string{dir: "ca.pem server.pem", keys: "ca-key.pem server-key.pem"} {
		entries, err := os.ReadDir(where)
		if err != nil {
			t.Fatal(err)
		}
		var have []string
		for _, e := range entries {
			have = append(have, e.Name())
		}
		if got := strings.Join(have, " "); got != want {
			t.Errorf("there is %s, want %s", got, want)
		}
	}
	// Without them there is another authority only if somebody wants it.
	_, err := tlscert.Local(dir, tlscert.Options{Keys: t.TempDir(), Now: func() time.Time { return epoch }})
	if err == nil || !strings.Contains(hint.Of(err), "remove the certificate") {
		t.Errorf("without the keys: %v, want an error with a hint", err)
	}
}

func TestRefused(t *testing.T) {
	tests := map[string]struct {
		damage func(t *testing.T, dir string)
		want   string
	}{
		"the authority's key is missing": {func(t *testing.T, dir string) { remove(t, dir, "ca-key.pem") }, "ca-key.pem is not"},
		"others can read the authority's key": {func(t *testing.T, dir string) {
			if err := os.Chmod(filepath.Join(dir, "ca-key.pem"), 0o640); err != nil {
				t.Fatal(err)
			}
		}, "mode 0600"},
		"the authority's key is a link": {func(t *testing.T, dir string) {
			key := filepath.Join(dir, "ca-key.pem")
			if err := os.Rename(key, key+".moved"); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(key+".moved", key); err != nil {
				t.Fatal(err)
			}
		}, "plain file"},
		"the authority's key is another's": {func(t *testing.T, dir string) {
			other := t.TempDir()
			local(t, other, epoch)
			write(t, dir, "ca-key.pem", string(read(t, filepath.Join(other, "ca-key.pem"))))
		}, "do not belong together"},
		"the authority is garbage": {func(t *testing.T, dir string) { write(t, dir, "ca.pem", "garbage") }, "no PEM certificate"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			local(t, dir, epoch)
			tt.damage(t, dir)
			_, err := tlscert.Local(dir, tlscert.Options{Now: func() time.Time { return epoch }})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Local = %v, want an error with %q", err, tt.want)
			}
		})
	}
	for _, name := range []string{"", "a..b", "-a", "a b", "é.example", "*", "https://a"} {
		if _, err := tlscert.Local(t.TempDir(), tlscert.Options{Names: []string{name}}); err == nil {
			t.Errorf("Local with the name %q succeeded", name)
		}
	}
}

func TestFiles(t *testing.T) {
	dir := t.TempDir()
	certificate, key := filepath.Join(dir, "c.pem"), filepath.Join(dir, "k.pem")
	writePair(t, certificate, key, 1)
	var log bytes.Buffer
	s, err := tlscert.Files(certificate, key, tlscert.Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	if got := leaf(t, s).SerialNumber.Int64(); got != 1 {
		t.Errorf("serial = %d, want 1", got)
	}
	if s.AuthorityFile() != "" {
		t.Errorf("AuthorityFile = %q, want none", s.AuthorityFile())
	}

	writePair(t, certificate, key, 2)
	if err := s.Refresh(); err != nil {
		t.Fatal(err)
	}
	if got := leaf(t, s).SerialNumber.Int64(); got != 2 {
		t.Errorf("serial after a change = %d, want 2", got)
	}
	if !strings.Contains(log.String(), "using a new server certificate") {
		t.Errorf("log: %s", log.String())
	}

	write(t, dir, "c.pem", "garbage")
	if err := s.Refresh(); err == nil {
		t.Error("Refresh with a broken certificate succeeded")
	}
	if got := leaf(t, s).SerialNumber.Int64(); got != 2 {
		t.Errorf("serial after a broken change = %d, want 2", got)
	}
	if _, err := tlscert.Files(filepath.Join(dir, "nothing"), key, tlscert.Options{}); err == nil {
		t.Error("Files without a certificate succeeded")
	}
}

// TestHandshake checks that the certificate works in TLS.
func TestHandshake(t *testing.T) {
	s := local(t, t.TempDir(), time.Now())
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(read(t, s.AuthorityFile()))
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{GetCertificate: s.GetCertificate})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		if c, err := l.Accept(); err == nil {
			_ = c.(*tls.Conn).Handshake()
			_ = c.Close()
		}
	}()
	c, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{RootCAs: roots})
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
}

func remove(t *testing.T, dir, file string) {
	t.Helper()
	if err := os.Remove(filepath.Join(dir, file)); err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, dir, file, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func writePair(t *testing.T, certificate, key string, serial int64) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "given"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Dir(certificate), filepath.Base(certificate), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	write(t, filepath.Dir(key), filepath.Base(key), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})))
}
