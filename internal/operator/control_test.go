package operator_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/operator"
	"github.com/keyreeve/keyreeve/internal/secret"
)

// fake is a node that is steered.
type fake struct {
	mu      sync.Mutex
	sealed  bool
	phrases []string
	peers   []operator.Peer
	ahead   time.Duration
	fail    error
}

const plantedSecret = "planted/\"secret\\+\u00fc"

func (f *fake) Status() operator.Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	return operator.Status{Version: "1.2.3", Started: time.Unix(1e9, 5e8), Sealed: f.sealed, Provider: "file", ActiveDomainKey: 7, ClockAhead: f.ahead}
}

func (f *fake) Seal(_ context.Context, by operator.Peer) error {
	f.by(by)
	return f.set(true, "")
}

func (f *fake) AcceptClock(_ context.Context, by operator.Peer) error {
	f.by(by)
	return f.set(false, "the clock")
}

// by notes who asks.
func (f *fake) by(p operator.Peer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.peers = append(f.peers, p)
}

func (f *fake) Unseal(_ context.Context, by operator.Peer, phrase secret.Bytes) error {
	f.by(by)
	return f.set(false, fmt.Sprint(phrase.IsNil())+" "+string(phrase.Reveal()))
}

func (f *fake) set(sealed bool, phrase string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fail != nil {
		return f.fail
	}
	f.sealed = sealed
	f.phrases = append(f.phrases, phrase)
	return nil
}

func (f *fake) Environment(_ context.Context, by operator.Peer) (operator.Environment, error) {
	f.by(by)
	f.mu.Lock()
	defer f.mu.Unlock()
	return operator.Environment{
		Endpoint: "https://127.0.0.1:4599", Authority: "/x/ca.pem", Region: "us-east-1",
		AccessKeyID: "AKIAIOSFODNN7EXAMPLE", SecretAccessKey: secret.New([]byte(plantedSecret)),
	}, f.fail
}

// hinted is an error with a hint.
type hinted struct{ error }

func (hinted) Hint() string { return "do it better" }

// logged is a log that can be read while it is written.
type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// listen serves a fake node's socket until the test ends, and returns its log.
func listen(t *testing.T, dir string, node operator.Node) *logged {
	t.Helper()
	if runtime.GOOS != "linux" && runtime.GOOS != "darwin" {
		t.Skip("no control socket on this system")
	}
	log := new(logged)
	c, err := operator.Listen(dir, node, slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() { done <- c.Serve() }()
	t.Cleanup(func() {
		if err := errors.Join(c.Close(), c.Close()); err != nil {
			t.Errorf("Close: %v", err)
		}
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
		if _, err := os.Lstat(filepath.Join(dir, operator.SocketName)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the socket is still there: %v", err)
		}
	})
	return log
}

func TestControl(t *testing.T) {
	dir, node := t.TempDir(), &fake{sealed: true}
	log := listen(t, dir, node)
	c := operator.NewClient(dir)
	want := operator.Status{Version: "1.2.3", Started: time.Unix(1e9, 5e8).UTC(), Sealed: true, Provider: "file", ActiveDomainKey: 7}
	if s, err := c.Status(t.Context()); err != nil || s != want {
		t.Errorf("Status = %+v, %v, want %+v", s, err, want)
	}
	const phrase = "a \"phrase\" \\ with\n\x00 \u00fc and more"
	if err := errors.Join(c.Unseal(t.Context(), secret.New([]byte(phrase))), c.Unseal(t.Context(), secret.Bytes{}), c.Seal(t.Context()), c.AcceptClock(t.Context())); err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprintf("%q", node.phrases), fmt.Sprintf("%q", []string{"false " + phrase, "true ", "", "the clock"}); got != want {
		t.Errorf("the node was told %s, want %s", got, want)
	}
	node.ahead = 90*time.Minute + time.Second/2
	if s, err := c.Status(t.Context()); err != nil || s.ClockAhead != 90*time.Minute {
		t.Errorf("Status = %+v, %v, want a clock that is ahead", s, err)
	}
	node.ahead = 1000000 * time.Hour
	if s, err := c.Status(t.Context()); err != nil || s.ClockAhead < 500000*time.Hour {
		t.Errorf("Status = %+v, %v, want a clock that is far ahead", s, err)
	}
	e, err := c.Environment(t.Context())
	if err != nil || string(e.SecretAccessKey.Reveal()) != plantedSecret || e.Endpoint != "https://127.0.0.1:4599" ||
		e.Authority != "/x/ca.pem" || e.Region != "us-east-1" || e.AccessKeyID != "AKIAIOSFODNN7EXAMPLE" {
		t.Errorf("Environment = %+v, %v", e, err)
	}

	if len(node.peers) != 5 || node.peers[0] != (operator.Peer{UID: os.Geteuid(), PID: os.Getpid()}) && runtime.GOOS == "linux" {
		t.Errorf("the node was told of %+v", node.peers)
	}

	node.fail = hinted{errors.New("it is broken")}
	var h interface{ Hint() string }
	for what, err := range map[string]error{
		"AcceptClock": c.AcceptClock(t.Context()), "Seal": c.Seal(t.Context()), "Unseal": c.Unseal(t.Context(), secret.New([]byte(phrase))),
		"Environment": func() error { _, err := c.Environment(t.Context()); return err }(),
	} {
		if err == nil || err.Error() != "it is broken" || !errors.As(err, &h) || h.Hint() != "do it better" {
			t.Errorf("%s of a broken node: %v", what, err)
		}
	}
	if text := log.String(); strings.Contains(text, "planted") || strings.Contains(text, "phrase\\") || !strings.Contains(text, "command=unseal") {
		t.Errorf("the log is %s", text)
	}
	if info, err := os.Stat(filepath.Join(dir, operator.SocketName)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket's mode is %v, %v, want 0600", info.Mode(), err)
	}
}

// TestControlRefuses sends what no client of ours would.
func TestControlRefuses(t *testing.T) {
	dir := t.TempDir()
	listen(t, dir, &fake{})
	for name, line := range map[string]string{
		"not JSON":          "status\n",
		"null":              "null\n",
		"list":              "[]\n",
		"unknown command":   `{"command":"shutdown"}` + "\n",
		"no command":        "{}\n",
		"unknown member":    `{"command":"status","x":1}` + "\n",
		"wrong type":        `{"command":1}` + "\n",
		"passphrase":        `{"command":"status","passphrase":"x"}` + "\n",
		"two lines":         `{"command":"status"}` + "\n" + `{"command":"status"}` + "\n",
		"two values":        `{"command":"status"}{}` + "\n",
		"cut":               `{"command":`,
		"nothing":           "",
		"too long":          `{"command":"` + strings.Repeat("x", 20<<10) + `"}` + "\n",
		"deep":              strings.Repeat("[", 10000) + "\n",
		"not UTF-8":         "{\"command\":\"\xff\"}\n",
		"unpaired":          `{"command":"\ud800"}` + "\n",
		"a long passphrase": `{"command":"unseal","passphrase":"` + strings.Repeat("x", 20<<10) + `"}` + "\n",
	} {
		conn, err := net.Dial("unix", filepath.Join(dir, operator.SocketName))
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(time.Minute))
		_, _ = io.WriteString(conn, line) // the other side may stop reading
		_ = conn.(*net.UnixConn).CloseWrite()
		answer, _ := io.ReadAll(conn)
		conn.Close()
		if len(answer) > 0 && !strings.HasPrefix(string(answer), `{"error":"`) || len(answer) == 0 && !strings.Contains(line, "xxx") {
			t.Errorf("%s: answered %q, want an error", name, answer)
		}
	}
	if _, err := operator.NewClient(dir).Status(t.Context()); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

func TestControlConcurrent(t *testing.T) {
	dir := t.TempDir()
	listen(t, dir, &fake{})
	// Those who connect and say nothing don't lock the others out for good.
	idle, err := net.Dial("unix", filepath.Join(dir, operator.SocketName))
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if _, err := operator.NewClient(dir).Status(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func TestNotRunning(t *testing.T) {
	dir := t.TempDir()
	_, err := operator.NewClient(dir).Status(t.Context())
	var h interface{ Hint() string }
	if !errors.Is(err, operator.ErrNotRunning) || !errors.As(err, &h) {
		t.Errorf("Status = %v, want ErrNotRunning with a hint", err)
	}
	_, err = operator.NewClient(filepath.Join(dir, strings.Repeat("x", 200))).Status(t.Context())
	if !errors.As(err, &h) {
		t.Errorf("a long path: %v, want an error with a hint", err)
	}
	if _, err := operator.Listen(filepath.Join(dir, strings.Repeat("x", 200)), &fake{}, nil); err == nil {
		t.Error("Listen at a long path: no error")
	}
}

func TestStaleSocket(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, operator.SocketName)
	// A node that was killed leaves its socket.
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	if _, err := operator.NewClient(dir).Status(t.Context()); !errors.Is(err, operator.ErrNotRunning) {
		t.Errorf("Status at a stale socket: %v", err)
	}
	listen(t, dir, &fake{})
	if _, err := operator.NewClient(dir).Status(t.Context()); err != nil {
		t.Errorf("Status: %v", err)
	}
	if _, err := operator.Listen(dir, &fake{}, nil); err == nil || !strings.Contains(err.Error(), "another node listens") {
		t.Errorf("a second node: %v", err)
	}
	if _, err := operator.NewClient(dir).Status(t.Context()); err != nil {
		t.Errorf("Status after the second: %v", err)
	}

	other := t.TempDir()
	if err := os.WriteFile(filepath.Join(other, operator.SocketName), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := operator.Listen(other, &fake{}, nil); err == nil || !strings.Contains(err.Error(), "is no socket") {
		t.Errorf("a file in the place of the socket: %v", err)
	}
}

func TestClientContext(t *testing.T) {
	dir := t.TempDir()
	// Somebody who accepts and never answers.
	l, err := net.Listen("unix", filepath.Join(dir, operator.SocketName))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := operator.NewClient(dir).Status(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Status = %v, want DeadlineExceeded", err)
	}
}
