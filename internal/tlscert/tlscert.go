// Package tlscert makes, renews and reloads the server's certificate.
//
// [Local] keeps a certificate authority of the installation's own, for clients
// that are told to trust it, in four files, of which the private keys may have
// a directory of their own:
//
//	ca.pem           the authority's certificate, for clients; ten years
//	server.pem       the server's certificate; 90 days, renewed after 60
//	ca-key.pem       the authority's private key, 0600
//	server-key.pem   the server's, 0600
//
// The authority's key stays on the disk so that the server's certificate can
// be renewed without anybody's doing: who can read it can pose as a server to
// those who trust ca.pem. It can only issue certificates for TLS servers, and
// no further authority. Renewing the server's certificate does not change
// ca.pem. All keys are ECDSA P-256.
//
// [Files] uses a certificate that was given.
//
// Either way the files are read again when they change; [Source.Run] looks
// once a minute.
package tlscert

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/keyreeve/keyreeve/internal/durable"
	"github.com/keyreeve/keyreeve/internal/hint"
)

const (
	authorityLife = 10 * 365 * 24 * time.Hour
	serverLife    = 90 * 24 * time.Hour
	renewBefore   = 30 * 24 * time.Hour
	// backdate is for clients whose clocks are behind.
	backdate = time.Hour
	// lookEvery is how often Run looks.
	lookEvery = time.Minute

	authorityFile    = "ca.pem"
	authorityKeyFile = "ca-key.pem"
	serverFile       = "server.pem"
	serverKeyFile    = "server-key.pem"
)

// Options are the settings of a [Source]. The zero value is good.
type Options struct {
	// Keys is the directory of the private keys, for Local only; empty means
	// that of the certificates. Whoever has a copy of it can pose as the
	// server.
	Keys string
	// Names are further DNS names and IP addresses of the server, beside
	// localhost, 127.0.0.1, ::1 and the host's name. For Local only.
	Names []string
	Now   func() time.Time // nil means time.Now
	Log   *slog.Logger     // nil means none
}

func (o Options) withDefaults() Options {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

// A Source has the server's certificate at hand.
type Source struct {
	log       *slog.Logger
	authority string // file
	load      func() (*tls.Certificate, error)

	mu      sync.Mutex // held while refreshing
	current atomic.Pointer[tls.Certificate]
}

// Local returns the certificate kept in dir, which it makes if it is not
// there, with its authority. The directories must be there. Files of keys that
// others can read, and symbolic links in their place, are refused. Only one
// process may use dir at a time.
func Local(dir string, o Options) (*Source, error) {
	o = o.withDefaults()
	names, err := serverNames(o.Names)
	if err != nil {
		return nil, err
	}
	if o.Keys == "" {
		o.Keys = dir
	}
	l := &local{dir: dir, keys: o.Keys, names: names, now: o.Now, log: o.Log}
	s := &Source{log: o.Log, authority: filepath.Join(dir, authorityFile), load: l.load}
	return s, s.Refresh()
}

// Files returns the certificate of two PEM files. The first has the server's
// certificate and then those between it and the root.
func Files(certificate, key string, o Options) (*Source, error) {
	o = o.withDefaults()
	s := &Source{log: o.Log, load: func() (*tls.Certificate, error) {
		if info, err := os.Stat(key); err == nil && info.Mode().Perm()&0o007 != 0 {
			o.Log.Warn("everybody can read the private key of the server's certificate", "file", key)
		}
		c, err := tls.LoadX509KeyPair(certificate, key)
		if err != nil {
			return nil, err
		}
		if now := o.Now(); now.After(c.Leaf.NotAfter) {
			o.Log.Warn("the server's certificate has expired", "file", certificate, "not_after", c.Leaf.NotAfter)
		}
		return &c, nil
	}}
	return s, s.Refresh()
}

// GetCertificate is for [tls.Config.GetCertificate].
func (s *Source) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return s.current.Load(), nil
}

// NotAfter returns when the certificate in use expires.
func (s *Source) NotAfter() time.Time { return s.current.Load().Leaf.NotAfter }

// AuthorityFile returns the file with the certificate that clients must trust,
// or "" if the certificate was given.
func (s *Source) AuthorityFile() string { return s.authority }

// Refresh reads the files again, and renews what must be. If that fails, the
// certificate in use stays.
func (s *Source) Refresh() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, err := s.load()
	if err != nil {
		return fmt.Errorf("server certificate: %w", err)
	}
	before := s.current.Load()
	if before != nil && slices.EqualFunc(before.Certificate, c.Certificate, bytes.Equal) {
		return nil // and sessions go on
	}
	s.current.Store(c)
	if before != nil {
		s.log.Info("using a new server certificate", "not_after", c.Leaf.NotAfter)
	}
	return nil
}

// Run refreshes once a minute until ctx ends, and logs what goes wrong.
func (s *Source) Run(ctx context.Context) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	last := ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		problem := ""
		if err := s.Refresh(); err != nil {
			problem = err.Error()
		}
		if problem != "" && problem != last {
			s.log.Error("the server certificate could not be refreshed; the old one stays", "error", problem)
		}
		last = problem
	}
}

// names are what the server's certificate is for.
type names struct {
	dns []string
	ips []net.IP
}

func serverNames(extra []string) (names, error) {
	all := []string{"localhost", "127.0.0.1", "::1"}
	if host, err := os.Hostname(); err == nil && isDNSName(host) {
		all = append(all, host)
	}
	for _, name := range extra {
		if net.ParseIP(name) == nil && !isDNSName(strings.TrimPrefix(name, "*.")) {
			return names{}, fmt.Errorf("server certificate: %q is neither a DNS name nor an IP address", name)
		}
		all = append(all, name)
	}
	var n names
	for _, name := range all {
		switch ip := net.ParseIP(name); {
		case ip == nil:
			if name = strings.ToLower(name); !slices.Contains(n.dns, name) {
				n.dns = append(n.dns, name)
			}
		case !slices.ContainsFunc(n.ips, ip.Equal):
			n.ips = append(n.ips, ip)
		}
	}
	return n, nil
}

// isDNSName reports whether name may stand in a certificate.
func isDNSName(name string) bool {
	if name == "" || len(name) > 253 {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, c := range label {
			if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' {
				return false
			}
		}
	}
	return true
}

// covers reports whether c is for exactly these names.
func (n names) covers(c *x509.Certificate) bool {
	return slices.Equal(c.DNSNames, n.dns) && slices.EqualFunc(c.IPAddresses, n.ips, net.IP.Equal)
}

// local is the authority and the certificate in a directory.
type local struct {
	dir   string
	keys  string // directory of the private keys
	names names
	now   func() time.Time
	log   *slog.Logger
}

func (l *local) path(file string) string    { return filepath.Join(l.dir, file) }
func (l *local) keyPath(file string) string { return filepath.Join(l.keys, file) }

// load returns the server's certificate, a new one if that on disk won't do.
func (l *local) load() (*tls.Certificate, error) {
	authority, authorityKey, err := l.loadAuthority()
	if err != nil {
		return nil, err
	}
	c, err := l.loadServer(authority)
	if err == nil {
		return c, nil
	}
	reason := err.Error()
	if errors.Is(err, fs.ErrNotExist) {
		reason = "none yet"
	}
	l.log.Info("making a server certificate", "reason", reason, "file", l.path(serverFile))
	if err := l.makeServer(authority, authorityKey); err != nil {
		return nil, err
	}
	return l.loadServer(authority)
}

// loadAuthority returns the authority, a new one if there is none.
func (l *local) loadAuthority() (*x509.Certificate, crypto.Signer, error) {
	certificate, err := os.ReadFile(l.path(authorityFile))
	made := errors.Is(err, fs.ErrNotExist)
	if err != nil && !made {
		return nil, nil, err
	}
	key, err := readKey(l.keyPath(authorityKeyFile))
	switch {
	case errors.Is(err, fs.ErrNotExist) && made:
		if key, err = makeKey(l.keyPath(authorityKeyFile)); err != nil {
			return nil, nil, err
		}
	case errors.Is(err, fs.ErrNotExist):
		// Making another would silently break who trusts the one that is there.
		return nil, nil, hint.Add(fmt.Errorf("%s is there, but its key %s is not", l.path(authorityFile), l.keyPath(authorityKeyFile)),
			"bring the key back, or remove the certificate: a new authority is made, whose file clients must be given")
	case err != nil:
		return nil, nil, err
	}
	if made {
		// Also when the key was there: its certificate never was, so nobody
		// trusts it.
		if certificate, err = l.makeAuthority(key); err != nil {
			return nil, nil, err
		}
	}
	c, err := parse(certificate)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", l.path(authorityFile), err)
	}
	if !publicEqual(key, c) {
		return nil, nil, fmt.Errorf("%s and %s do not belong together", l.path(authorityFile), l.keyPath(authorityKeyFile))
	}
	if now := l.now(); now.Add(renewBefore).After(c.NotAfter) {
		l.log.Warn("the local certificate authority expires soon: remove it to make a new one, and give the new file to clients",
			"file", l.path(authorityFile), "not_after", c.NotAfter)
	}
	return c, key, nil
}

func (l *local) makeAuthority(key crypto.Signer) ([]byte, error) {
	var id [4]byte
	_, _ = rand.Read(id[:]) // never fails
	now := l.now()
	template := &x509.Certificate{
		// A name of its own, so that two installations can be told apart.
		Subject:               pkix.Name{CommonName: "Keyreeve local CA " + hex.EncodeToString(id[:])},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(authorityLife),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
	return l.issue(authorityFile, template, template, key.Public(), key)
}

// loadServer returns the server's certificate, or why it won't do.
func (l *local) loadServer(authority *x509.Certificate) (*tls.Certificate, error) {
	key, err := readKey(l.keyPath(serverKeyFile))
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(l.path(serverFile))
	if err != nil {
		return nil, err
	}
	c, err := parse(text)
	if err != nil {
		return nil, err
	}
	now := l.now()
	switch {
	case !publicEqual(key, c):
		return nil, errors.New("its key does not belong to it")
	case !bytes.Equal(c.RawIssuer, authority.RawSubject), c.CheckSignatureFrom(authority) != nil:
		return nil, errors.New("it is not of the local authority")
	case !l.names.covers(c):
		return nil, errors.New("it is for other names")
	case now.Before(c.NotBefore), now.Add(renewBefore).After(c.NotAfter):
		return nil, errors.New("it expires soon")
	}
	return &tls.Certificate{Certificate: [][]byte{c.Raw}, PrivateKey: key, Leaf: c}, nil
}

func (l *local) makeServer(authority *x509.Certificate, authorityKey crypto.Signer) error {
	// The key first: a certificate without its key would be of no use.
	key, err := makeKey(l.keyPath(serverKeyFile))
	if err != nil {
		return err
	}
	now := l.now()
	_, err = l.issue(serverFile, &x509.Certificate{
		Subject:               pkix.Name{CommonName: "Keyreeve"},
		DNSNames:              l.names.dns,
		IPAddresses:           l.names.ips,
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(serverLife),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}, authority, key.Public(), authorityKey)
	return err
}

// issue signs a certificate and writes it to a file, whose text it returns.
func (l *local) issue(file string, template, parent *x509.Certificate, public crypto.PublicKey, signer crypto.Signer) ([]byte, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, signer)
	if err != nil {
		return nil, fmt.Errorf("making %s: %w", l.path(file), err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	if err := durable.Replace(l.path(file), text, 0o644); err != nil {
		return nil, fmt.Errorf("writing %s: %w", l.path(file), err)
	}
	return text, nil
}

func parse(text []byte) (*x509.Certificate, error) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, errors.New("no PEM certificate")
	}
	return x509.ParseCertificate(block.Bytes)
}

func publicEqual(key crypto.Signer, c *x509.Certificate) bool {
	public, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	return ok && public.Equal(c.PublicKey)
}

func makeKey(path string) (crypto.Signer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making %s: %w", path, err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("making %s: %w", path, err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	defer clear(text)
	defer clear(der)
	if err := durable.Replace(path, text, 0o600); err != nil {
		return nil, fmt.Errorf("writing %s: %w", path, err)
	}
	return key, nil
}

// readKey reads a private key that nobody else can read.
func readKey(path string) (crypto.Signer, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s must be a plain file with mode 0600, not %v", path, info.Mode())
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	defer clear(text)
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("%s: no PEM key", path)
	}
	defer clear(block.Bytes)
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("%s: a %T can't sign", path, key)
	}
	return signer, nil
}
