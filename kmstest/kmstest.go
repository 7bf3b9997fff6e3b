// Package kmstest starts a Keyreeve server inside a Go test: the whole
// service, in memory, over TLS, as strict as the real one.
//
//	srv := kmstest.NewServer(t)
//	client := kms.New(kms.Options{
//		BaseEndpoint: aws.String(srv.Endpoint),
//		Region:       srv.Region,
//		Credentials:  credentials.NewStaticCredentialsProvider(srv.AccessKeyID, srv.SecretAccessKey, ""),
//		HTTPClient:   srv.Client(),
//	})
//
// The package needs no AWS SDK; the server is the same to all clients. The
// folder example has a whole test with the SDK, in a module of its own.
package kmstest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/node"
)

// Server is a running server.
type Server struct {
	Endpoint string // URL, such as "https://127.0.0.1:34567"
	Region   string // that clients should sign for; others work too
	Account  string // 12 digits

	// The administrator's credentials.
	AccessKeyID     string
	SecretAccessKey string

	// CA is the certificate that clients must trust, in PEM. CAFile is a file
	// with it, for AWS_CA_BUNDLE.
	CA     []byte
	CAFile string

	client *http.Client
	stop   func() error // once
}

// Option changes how a server is made.
type Option func(*node.Config)

// Region sets the Region that clients should sign for; it is us-east-1
// otherwise.
func Region(name string) Option { return func(c *node.Config) { c.Region = name } }

// Account sets the id of the account; it is random otherwise.
func Account(id string) Option { return func(c *node.Config) { c.Account = id } }

// Seed makes the accounts, users and keys of a seed file (docs/seed.md).
func Seed(file string) Option { return func(c *node.Config) { c.Seed = file } }

// RequestQuotas has the server throttle calls, as AWS does: with AWS's quotas for
// its Regions but for those given, in calls per second by their names in
// docs/quotas.md. Nobody is throttled otherwise. With {"CreateKey": 0.001}, say,
// a test sees what happens when the second key is asked for too soon.
func RequestQuotas(rates map[string]float64) Option {
	return func(c *node.Config) { c.Quotas.Requests, c.Quotas.Rates = true, rates }
}

// Log sends the server's log to l; it is dropped otherwise.
func Log(l *slog.Logger) Option { return func(c *node.Config) { c.Log = l } }

// Now sets the server's clock, for a test that lets time pass, such as the
// waiting period of a key's deletion. Requests signed more than five minutes
// off it are refused.
func Now(now func() time.Time) Option { return func(c *node.Config) { c.Now = now } }

// NewServer starts a server, which ends with the test. It fails the test if
// that is not possible.
func NewServer(t testing.TB, options ...Option) *Server {
	t.Helper()
	s, err := Start(options...)
	if err != nil {
		t.Fatalf("kmstest: %v", err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("kmstest: stopping the server: %v", err)
		}
	})
	return s
}

// Start starts a server where there is no test that it could end with, as in
// TestMain or in an example. The caller closes it.
func Start(options ...Option) (*Server, error) {
	c := node.Config{Ephemeral: true, Version: "kmstest", DestroyEvery: destroyEvery}
	c.Listen, c.Private = "127.0.0.1:0", "off"
	for _, o := range options {
		o(&c)
	}
	c.SetDefaults()
	if err := c.Check(); err != nil {
		return nil, err
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	ctx, cancel := context.WithCancel(context.Background())
	n, err := node.Open(ctx, c)
	if err != nil {
		cancel()
		return nil, err
	}
	served := make(chan error, 1)
	go func() { served <- n.Serve(ctx) }()
	stop := func() error {
		cancel()
		return errors.Join(<-served, n.Close())
	}
	s, err := describe(ctx, n, &c)
	if err != nil {
		return nil, errors.Join(err, stop())
	}
	s.stop = sync.OnceValue(func() error {
		s.client.CloseIdleConnections()
		return stop()
	})
	return s, nil
}

// destroyEvery is short, for a test that has let the waiting period of a key's
// deletion pass would not wait long.
const destroyEvery = 50 * time.Millisecond

// Close stops the server: calls that have begun end first. What it kept is
// gone.
func (s *Server) Close() error { return s.stop() }

func describe(ctx context.Context, n *node.Node, c *node.Config) (*Server, error) {
	key, err := n.Administrator(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the administrator's access key: %w", err)
	}
	s := &Server{
		Endpoint: n.Endpoint(), Region: c.Region, Account: key.Account,
		AccessKeyID: key.ID, SecretAccessKey: string(key.Secret.Reveal()),
		CAFile: n.AuthorityFile(),
	}
	if s.CA, err = os.ReadFile(s.CAFile); err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(s.CA) {
		return nil, fmt.Errorf("%s has no certificate", s.CAFile)
	}
	s.client = &http.Client{Transport: &http.Transport{
		// By the server's clock, which may be a test's own.
		TLSClientConfig:     &tls.Config{RootCAs: roots, Time: c.Now, MinVersion: tls.VersionTLS12},
		ForceAttemptHTTP2:   true,
		MaxIdleConnsPerHost: 16,
	}}
	return s, nil
}

// Client returns a client that trusts the server's certificate, and goes
// through no proxy. It is the same one each time.
func (s *Server) Client() *http.Client { return s.client }
