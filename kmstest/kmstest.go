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
// The package needs no AWS SDK; the server is the same to all clients.
package kmstest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net/http"
	"os"
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

// Log sends the server's log to l; it is dropped otherwise.
func Log(l *slog.Logger) Option { return func(c *node.Config) { c.Log = l } }

// Now sets the server's clock. Requests signed more than five minutes off it
// are refused.
func Now(now func() time.Time) Option { return func(c *node.Config) { c.Now = now } }

// NewServer starts a server, which ends with the test. It fails the test if
// that is not possible.
func NewServer(t testing.TB, options ...Option) *Server {
	t.Helper()
	s, stop, err := start(options)
	if err != nil {
		t.Fatalf("kmstest: %v", err)
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Errorf("kmstest: stopping the server: %v", err)
		}
	})
	return s
}

func start(options []Option) (_ *Server, stop func() error, err error) {
	c := node.Config{Ephemeral: true, Version: "kmstest"}
	c.Listen, c.Private = "127.0.0.1:0", "off"
	for _, o := range options {
		o(&c)
	}
	c.SetDefaults()
	if err := c.Check(); err != nil {
		return nil, nil, err
	}
	return run(c)
}

func run(c node.Config) (_ *Server, stop func() error, err error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer func() {
		if err != nil {
			cancel()
		}
	}()
	n, err := node.Open(ctx, c)
	if err != nil {
		return nil, nil, err
	}
	served := make(chan error, 1)
	go func() { served <- n.Serve(ctx) }()
	stop = func() error {
		cancel()
		err := <-served
		if e := n.Close(); err == nil {
			err = e
		}
		return err
	}
	s, err := describe(ctx, n, c)
	if err != nil {
		_ = stop()
		return nil, nil, err
	}
	return s, stop, nil
}

func describe(ctx context.Context, n *node.Node, c node.Config) (*Server, error) {
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
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{RootCAs: roots}
	transport.Proxy = nil
	s.client = &http.Client{Transport: transport}
	return s, nil
}

// Client returns a client that trusts the server's certificate.
func (s *Server) Client() *http.Client { return s.client }
