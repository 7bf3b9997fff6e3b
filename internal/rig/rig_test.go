//go:build rig

// Package rig_test drives a real keyreeve binary and pulls the plug: it kills
// the server while it writes, and searches everything that it leaves behind.
// `make rig` runs it; it is too slow, and too rough, for `make test`.
package rig_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/internal/sigv4"
)

// patience is how long a server may take to start or to stop.
const patience = 2 * time.Minute

// binary returns the path of the binary under test.
func binary(t testing.TB) string {
	t.Helper()
	path := os.Getenv("KEYREEVE_BIN")
	if path == "" {
		t.Fatal("KEYREEVE_BIN is not set; run make rig")
	}
	return path
}

// An installation is a folder with a configuration, a data directory, the root
// key beside it and the log: all that a server leaves behind.
type installation struct {
	dir  string
	data string
	log  string
	args []string // further arguments of serve
	env  []string // further environment of serve
}

// install makes an installation that logs everything.
func install(t testing.TB, args ...string) *installation {
	t.Helper()
	dir := t.TempDir()
	in := &installation{dir: dir, data: filepath.Join(dir, "data"), log: filepath.Join(dir, "log"), args: args}
	in.configure(t, "")
	return in
}

// configure writes the configuration, with more than what every installation has.
func (in *installation) configure(t testing.TB, more string) {
	t.Helper()
	const config = "private: 127.0.0.1:0\nlog:\n  level: debug\n"
	if err := os.WriteFile(filepath.Join(in.dir, "keyreeve.yaml"), []byte(config+more), 0o600); err != nil {
		t.Fatal(err)
	}
}

// A server is a running keyreeve.
type server struct {
	cmd      *exec.Cmd
	exited   chan struct{} // closed when the process is gone; then err is set
	err      error
	told     struct{ Endpoint, Private, CA string } // by the ready file
	endpoint string
	env      map[string]string // what `keyreeve env` prints
	creds    sigv4.Credentials
	http     *http.Client

	mu       sync.Mutex
	answered []answered // all calls whose answers were read whole
}

// start starts a server and waits until it is ready.
func (in *installation) start(t testing.TB) *server {
	t.Helper()
	ready := filepath.Join(in.dir, "ready.json")
	if err := os.Remove(ready); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	log, err := os.OpenFile(in.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	args := append([]string{
		"serve", "--config", filepath.Join(in.dir, "keyreeve.yaml"), "--data", in.data, "--listen", "127.0.0.1:0", "--ready-file", ready,
	}, in.args...)
	cmd := exec.Command(binary(t), args...)
	cmd.Dir = in.dir // where a core would be dumped
	cmd.Stdout, cmd.Stderr = log, log
	for _, setting := range os.Environ() {
		if !strings.HasPrefix(setting, "KEYREEVE_") { // which are flags of serve
			cmd.Env = append(cmd.Env, setting)
		}
	}
	cmd.Env = append(cmd.Env, in.env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s := &server{cmd: cmd, exited: make(chan struct{})}
	go func() {
		s.err = cmd.Wait()
		close(s.exited)
	}()
	t.Cleanup(func() { s.kill() })

	told := &s.told
	for deadline := time.Now().Add(patience); ; {
		text, err := os.ReadFile(ready)
		if err == nil && json.Unmarshal(text, told) == nil {
			break
		}
		select {
		case <-s.exited:
			t.Fatalf("the server did not start: %v\n%s", s.err, in.tail())
		case <-time.After(2 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Fatalf("the server is not ready after %v\n%s", patience, in.tail())
		}
	}
	s.endpoint = told.Endpoint

	out, err := exec.Command(binary(t), "env", "--data", in.data, "--format", "json").Output()
	if err != nil {
		t.Fatalf("keyreeve env: %v", err)
	}
	if err := json.Unmarshal(out, &s.env); err != nil {
		t.Fatalf("keyreeve env prints no JSON object of strings: %v", err)
	}
	s.creds = sigv4.Credentials{
		AccessKeyID: s.env["AWS_ACCESS_KEY_ID"],
		Key:         sigv4.NewKey(secret.New([]byte(s.env["AWS_SECRET_ACCESS_KEY"]))),
	}
	pem, err := os.ReadFile(told.CA)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		t.Fatalf("%s holds no certificate", told.CA)
	}
	s.http = &http.Client{Timeout: patience, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: pool}, MaxIdleConnsPerHost: 64,
	}}
	return s
}

// tail returns the end of the log.
func (in *installation) tail() string {
	text, err := os.ReadFile(in.log)
	if err != nil {
		return err.Error()
	}
	if len(text) > 4096 {
		text = text[len(text)-4096:]
	}
	return string(text)
}

// kill ends the server as a power failure would end the process.
func (s *server) kill() {
	_ = s.cmd.Process.Kill()
	<-s.exited
	if s.http != nil {
		s.http.CloseIdleConnections()
	}
}

// stop ends the server as an operator would, and fails unless it ends well.
func (s *server) stop(t testing.TB) {
	t.Helper()
	s.http.CloseIdleConnections()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-s.exited:
		if s.err != nil {
			t.Errorf("the server stopped with %v", s.err)
		}
	case <-time.After(patience):
		t.Errorf("the server does not stop")
	}
}

// keyreeve runs a command about the server's data directory, and returns what it
// prints.
func (s *server) keyreeve(t testing.TB, in *installation, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary(t), append(args, "--data", in.data)...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// verified fails if somebody seems to have changed the audit trail.
func (s *server) verified(t testing.TB, in *installation) {
	t.Helper()
	if out, err := s.keyreeve(t, in, "audit", "verify"); err != nil || strings.Contains(out, "not verified") {
		t.Errorf("keyreeve audit verify: %v\n%s", err, out)
	}
}

// ask asks the private listener.
func (s *server) ask(t testing.TB, path string) *http.Response {
	t.Helper()
	res, err := http.Get("http://" + s.told.Private + path)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// until calls f until it says that it is as it should be.
func until(t testing.TB, in *installation, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(4 * patience); !f(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s\n%s", what, in.tail())
		}
	}
}

// refused reports whether a call was refused since it could not be recorded.
func refused(err error) bool {
	var f *fault
	return errors.As(err, &f) && f.Status == http.StatusInternalServerError && f.Code == "KMSInternalException"
}

// A fault is an error that the server answered.
type fault struct {
	Status  int
	Code    string `json:"__type"`
	Message string `json:"message"`
}

func (f *fault) Error() string { return fmt.Sprintf("%d %s: %s", f.Status, f.Code, f.Message) }

// object is a JSON object of the API.
type object map[string]any

// call makes one signed call. The error is a *fault if the server answered
// one; any other error means that it is unknown what became of the call.
func (s *server) call(ctx context.Context, operation string, in object) (object, error) {
	out, id, err := s.callID(ctx, operation, in)
	if id != "" && !refused(err) {
		s.mu.Lock()
		s.answered = append(s.answered, answered{id: id, name: operation})
		s.mu.Unlock()
	}
	return out, err
}

// callID is call, which returns the request's id as well, and notes nothing. It
// is empty if no answer was read whole.
func (s *server) callID(ctx context.Context, operation string, in object) (_ object, id string, _ error) {
	return s.callService(ctx, "kms", "TrentService."+operation, in)
}

// callService is callID of any service, by its signing name and target.
func (s *server) callService(ctx context.Context, service, target string, in object) (_ object, id string, _ error) {
	body, err := json.Marshal(in)
	if err != nil {
		return nil, "", err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.endpoint+"/", bytes.NewReader(body))
	if err != nil {
		return nil, "", err
	}
	req.Header.Set("Content-Type", "application/x-amz-json-1.1")
	req.Header.Set("X-Amz-Target", target)
	s.creds.Sign(req, body, s.env["AWS_REGION"], service, time.Now())
	resp, err := s.http.Do(req)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, "", err
	}
	id = resp.Header.Get("X-Amzn-Requestid")
	if resp.StatusCode != http.StatusOK {
		f := &fault{Status: resp.StatusCode}
		_ = json.Unmarshal(text, f)
		return nil, id, f
	}
	out := object{}
	if len(text) > 0 {
		if err := json.Unmarshal(text, &out); err != nil {
			return nil, id, fmt.Errorf("%s answers %q: %w", target, text, err)
		}
	}
	return out, id, nil
}

// must is call for what has to succeed.
func (s *server) must(t testing.TB, operation string, in object) object {
	t.Helper()
	out, err := s.call(t.Context(), operation, in)
	if err != nil {
		t.Fatalf("%s: %v", operation, err)
	}
	return out
}

// str returns a string member, or "".
func (o object) str(name string) string { v, _ := o[name].(string); return v }

// obj returns an object member, or an empty one.
func (o object) obj(name string) object { v, _ := o[name].(map[string]any); return v }

// list returns the objects of a list member.
func (o object) list(name string) []object {
	var all []object
	list, _ := o[name].([]any)
	for _, v := range list {
		if m, ok := v.(map[string]any); ok {
			all = append(all, m)
		}
	}
	return all
}

// pages calls a listing operation until its end and returns all its objects.
func (s *server) pages(t testing.TB, operation, member string, in object) []object {
	t.Helper()
	var all []object
	for {
		out := s.must(t, operation, in)
		all = append(all, out.list(member)...)
		if truncated, _ := out["Truncated"].(bool); !truncated {
			return all
		}
		in["Marker"] = out.str("NextMarker")
	}
}

// files returns the paths of all plain files of an installation.
func (in *installation) files(t testing.TB, suffix string) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(in.dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && strings.HasSuffix(path, suffix) {
			found = append(found, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
