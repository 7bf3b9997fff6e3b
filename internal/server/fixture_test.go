package server_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/keyreeve/keyreeve/internal/authz"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/seal"
	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/internal/server"
	"github.com/keyreeve/keyreeve/internal/sigv4"
	"github.com/keyreeve/keyreeve/internal/wire"
)

const (
	accessKey = "AKIAIOSFODNN7EXAMPLE"
	secretKey = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
	region    = "eu-central-1"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func signer() sigv4.Credentials {
	return sigv4.Credentials{AccessKeyID: accessKey, Key: sigv4.NewKey(secret.New([]byte(secretKey)))}
}

var alice = &call.Principal{Kind: call.User, Account: "111122223333", ARN: "arn:aws:iam::111122223333:user/alice", AccessKeyID: accessKey}

// directory knows one access key.
type directory struct{ key *sigv4.Key }

func newDirectory() directory { return directory{sigv4.NewKey(secret.New([]byte(secretKey)))} }

func (d directory) Credential(_ context.Context, id, token string) (*call.Principal, *sigv4.Key, error) {
	switch {
	case id == "AKIABROKEN":
		return nil, nil, errors.New("the store is on fire")
	case id == "AKIASEALED":
		return nil, nil, fmt.Errorf("reading: %w", seal.ErrSealed)
	case id == "AKIAPANIC":
		panic("with " + id)
	case id == "ASIAEXPIRED":
		return nil, nil, sigv4.ErrExpiredToken
	case id != accessKey || token != "":
		return nil, nil, sigv4.ErrUnrecognizedClient
	}
	return alice, d.key, nil
}

// journal keeps what was recorded.
type journal struct {
	mu    sync.Mutex
	calls []call.Call
	err   error // of Append
	down  error // of Err
	panic any
}

func (j *journal) Err() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.down
}

func (j *journal) Append(c *call.Call) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.panic != nil {
		panic(j.panic)
	}
	if j.err == nil {
		j.calls = append(j.calls, *c)
	}
	return j.err
}

// last returns the last record, and how many there are.
func (j *journal) last() (call.Call, int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.calls) == 0 {
		return call.Call{}, 0
	}
	return j.calls[len(j.calls)-1], len(j.calls)
}

// watch keeps what the security log was told of.
type watch struct {
	mu    sync.Mutex
	notes []note
}

type note struct{ Code, AccessKeyID, Service, Region, Target string }

func (w *watch) Note(c *call.Call, accessKeyID string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := note{c.Failure.Code, accessKeyID, c.Service, c.Region, c.Target}
	if c.Caller != nil {
		n.Code = "somebody is known"
	}
	w.notes = append(w.notes, n)
}

// take returns what was noted since it was last asked.
func (w *watch) take() []note {
	w.mu.Lock()
	defer w.mu.Unlock()
	notes := w.notes
	w.notes = nil
	return notes
}

// parts are a server and what it stands on.
type parts struct {
	*server.Server
	journal  *journal
	watch    watch
	log      *syncBuffer
	registry *prometheus.Registry

	mu  sync.Mutex
	now time.Time

	seen struct { // by the operation Echo
		in, out []byte
	}
	release chan struct{} // lets Wait go on
	waiting chan struct{} // told when Wait has begun
	shut    atomic.Bool   // a service admits nobody
}

func (p *parts) clock() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.now
}

func (p *parts) backend() server.Backend {
	operation := func(name string, invoke func(context.Context, *call.Call, []byte, []byte) ([]byte, error)) *call.Operation {
		return &call.Operation{Name: name, Service: "kms", EventSource: "kms.amazonaws.com", Invoke: invoke}
	}
	fail := func(err error) func(context.Context, *call.Call, []byte, []byte) ([]byte, error) {
		return func(_ context.Context, _ *call.Call, _, out []byte) ([]byte, error) { return out, err }
	}
	operations := map[string]*call.Operation{}
	for _, op := range []*call.Operation{
		operation("Echo", func(_ context.Context, _ *call.Call, body, out []byte) ([]byte, error) {
			out = append(out, body...)
			p.seen.in, p.seen.out = body, out
			return out, nil
		}),
		operation("Empty", fail(nil)),
		operation("Invalid", fail(wire.Validation("1 validation error detected: \"\u00e9\""))),
		operation("Wrapped", fail(fmt.Errorf("doing it: %w", wire.NewError("NotFoundException", "")))),
		operation("Denied", fail(fmt.Errorf("deciding: %w", &authz.Denied{Text: "User: x is not authorized"}))),
		operation("Broken", fail(errors.New("cause-for-the-log"))),
		operation("Sealed", fail(fmt.Errorf("opening: %w", seal.ErrSealed))),
		operation("InternalSealed", fail(wire.Internal(seal.ErrSealed))),
		operation("Late", func(_ context.Context, _ *call.Call, _, out []byte) ([]byte, error) {
			out = append(out, "half an answer"...)
			p.seen.out = out
			return nil, errors.New("late failure")
		}),
		operation("Panic", func(_ context.Context, _ *call.Call, body, out []byte) ([]byte, error) {
			p.seen.out = append(out, body...)
			panic("with " + string(body))
		}),
		operation("Index", func(_ context.Context, _ *call.Call, body, _ []byte) ([]byte, error) {
			return body[len(body)+1:], nil
		}),
		operation("Wait", func(ctx context.Context, _ *call.Call, _, out []byte) ([]byte, error) {
			p.waiting <- struct{}{}
			select {
			case <-p.release:
				return append(out, "{}"...), nil
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}),
	} {
		operations[op.Name] = op
	}
	return server.Backend{
		Services: []server.Service{
			{Name: "kms", TargetPrefix: "TrentService", Operations: operations},
			{Name: "keyreeve", TargetPrefix: "Keyreeve", Operations: operations, MaxBody: 100},
		},
		Credentials: newDirectory(),
		Audit:       p.journal,
	}
}

// newServer returns an unsealed server.
func newServer(tb testing.TB, change func(*server.Config)) *parts {
	tb.Helper()
	p := &parts{
		journal: &journal{}, log: &syncBuffer{}, registry: prometheus.NewRegistry(), now: start,
		release: make(chan struct{}), waiting: make(chan struct{}, 100),
	}
	c := server.Config{
		Regions: []string{region, "us-east-1"},
		Now:     p.clock,
		Log:     slog.New(slog.NewTextHandler(p.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Metrics: p.registry, Security: &p.watch,
	}
	if change != nil {
		change(&c)
	}
	s, err := server.New(c)
	if err != nil {
		tb.Fatal(err)
	}
	if err := s.Unseal(p.backend()); err != nil {
		tb.Fatal(err)
	}
	p.Server = s
	return p
}

// newRequest returns a signed request for a KMS operation.
func newRequest(tb testing.TB, url, operation, body string) *http.Request {
	tb.Helper()
	r, err := http.NewRequest("POST", url+"/", strings.NewReader(body))
	if err != nil {
		tb.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-amz-json-1.1")
	r.Header.Set("X-Amz-Target", "TrentService."+operation)
	r.Header.Set("User-Agent", "test/1")
	sign(r, body)
	return r
}

func sign(r *http.Request, body string) {
	signer().Sign(r, []byte(body), region, "kms", start)
}

// answer is what a client got.
type answer struct {
	status  int
	header  http.Header
	body    string
	code    string // __type
	message string // message, or Message
	proto   string
}

func read(tb testing.TB, resp *http.Response) answer {
	tb.Helper()
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		tb.Fatal(err)
	}
	a := answer{status: resp.StatusCode, header: resp.Header, body: string(body), proto: resp.Proto}
	if resp.StatusCode != http.StatusOK {
		var e struct {
			Type    string `json:"__type"`
			Message string `json:"message"`
			Capital string `json:"Message"`
		}
		if err := json.Unmarshal(body, &e); err != nil {
			tb.Fatalf("answer %d %q: %v", resp.StatusCode, body, err)
		}
		a.code, a.message = e.Type, e.Message+e.Capital
	}
	return a
}

func send(tb testing.TB, client *http.Client, r *http.Request) answer {
	tb.Helper()
	resp, err := client.Do(r)
	if err != nil {
		tb.Fatal(err)
	}
	return read(tb, resp)
}

// count returns the sum of a counter over its labels.
func (p *parts) count(tb testing.TB, name string) (sum float64) {
	tb.Helper()
	families, err := p.registry.Gather()
	if err != nil {
		tb.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			for _, m := range f.GetMetric() {
				sum += m.GetCounter().GetValue()
			}
		}
	}
	return sum
}

// listen serves over plain HTTP until the test ends.
func (p *parts) listen(tb testing.TB) *httptest.Server {
	tb.Helper()
	ts := httptest.NewServer(p)
	tb.Cleanup(ts.Close)
	return ts
}

// syncBuffer is a buffer for many writers.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
