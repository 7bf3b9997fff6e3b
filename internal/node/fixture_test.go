package node_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/keyreeve/keyreeve/internal/archive"
	"github.com/keyreeve/keyreeve/internal/audit"
	"github.com/keyreeve/keyreeve/internal/identity"
	"github.com/keyreeve/keyreeve/internal/node"
	"github.com/keyreeve/keyreeve/internal/operator"
	"github.com/keyreeve/keyreeve/internal/seal"
	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/internal/sigv4"
)

// No test may leave a goroutine behind.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// cheap is a cost of passphrases that tests can pay.
var cheap = seal.Cost{Memory: 8 << 10, Time: 1, Threads: 1}

// phrase returns a passphrase; Open wipes it.
func phrase() secret.Bytes { return secret.New([]byte("correct horse battery staple")) }

// configure returns the configuration of a node whose data is in dir/data.
func configure(dir string, change ...func(*node.Config)) node.Config {
	c := node.Config{PassphraseCost: cheap, DestroyEvery: 5 * time.Millisecond, Version: "test"}
	c.Data, c.Listen = filepath.Join(dir, "data"), "127.0.0.1:0"
	for _, f := range change {
		f(&c)
	}
	c.SetDefaults()
	return c
}

// A running is a node that serves.
type running struct {
	*node.Node
	c      node.Config
	cancel context.CancelFunc
	served chan error
	client *http.Client
	creds  sigv4.Credentials // absent while the node has always been sealed
}

// run opens a node and has it serve until the test ends, or stop is called.
func run(t testing.TB, c node.Config) *running {
	t.Helper()
	if err := c.Check(); err != nil {
		t.Fatal(err)
	}
	n, err := node.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	r := &running{Node: n, c: c, cancel: cancel, served: make(chan error, 1)}
	go func() { r.served <- n.Serve(ctx) }()
	t.Cleanup(func() { r.stop(t) })
	transport := &http.Transport{MaxIdleConnsPerHost: 16}
	if file := n.AuthorityFile(); file != "" {
		pem, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(pem)
		transport.TLSClientConfig = &tls.Config{RootCAs: roots, Time: r.now}
	}
	r.client = &http.Client{Transport: transport, Timeout: patience}
	if !n.Sealed() {
		r.learn(t)
	}
	return r
}

// learn learns the administrator's credentials.
func (r *running) learn(t testing.TB) identity.AccessKey {
	t.Helper()
	key, err := r.Administrator(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r.creds = sigv4.Credentials{AccessKeyID: key.ID, Key: sigv4.NewKey(key.Secret)}
	return key
}

// stop stops the node, which must end well. It may be called again.
func (r *running) stop(t testing.TB) {
	t.Helper()
	if r.cancel == nil {
		return
	}
	r.client.CloseIdleConnections()
	r.cancel()
	r.cancel = nil
	if err := errors.Join(<-r.served, r.Close()); err != nil {
		t.Errorf("stopping: %v", err)
	}
}

func (r *running) now() time.Time {
	if r.c.Now != nil {
		return r.c.Now()
	}
	return time.Now()
}

// control returns a client of the control socket.
func (r *running) control() operator.Client { return operator.NewClient(r.c.Data) }

// object is a JSON object.
type object = map[string]any

// ask makes a signed call, with an empty body of JSON if in is nil.
func (r *running) ask(operation string, in object) (status int, answer object, requestID string, err error) {
	if in == nil {
		in = object{}
	}
	body, err := json.Marshal(in)
	if err != nil {
		return 0, nil, "", err
	}
	req, err := http.NewRequest(http.MethodPost, r.Endpoint()+"/", bytes.NewReader(body))
	if err != nil {
		return 0, nil, "", err
	}
	req.Header.Set("Content-Type", "application/x-amz-json-1.1")
	req.Header.Set("X-Amz-Target", "TrentService."+operation)
	r.creds.Sign(req, body, r.c.Region, "kms", r.now())
	res, err := r.client.Do(req)
	if err != nil {
		return 0, nil, "", err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, nil, "", err
	}
	if len(text) > 0 {
		err = json.Unmarshal(text, &answer)
	}
	return res.StatusCode, answer, res.Header.Get("X-Amzn-Requestid"), err
}

// must makes a call that must succeed.
func (r *running) must(t testing.TB, operation string, in object) object {
	t.Helper()
	status, answer, _, err := r.ask(operation, in)
	if err != nil || status != http.StatusOK {
		t.Fatalf("%s: %d %v %v", operation, status, answer, err)
	}
	return answer
}

// refused makes a call that must be answered with an error of this code.
func (r *running) refused(t testing.TB, operation string, in object, code string) {
	t.Helper()
	status, answer, _, err := r.ask(operation, in)
	if err != nil || status == http.StatusOK || answer["__type"] != code {
		t.Errorf("%s: %d %v %v, want %s", operation, status, answer, err, code)
	}
}

// create makes a key and returns its id.
func (r *running) create(t testing.TB, in object) string {
	t.Helper()
	return str(r.must(t, "CreateKey", in)["KeyMetadata"].(object), "KeyId")
}

func str(o object, name string) string {
	s, ok := o[name].(string)
	if !ok {
		panic(fmt.Sprintf("no string %s in %v", name, o))
	}
	return s
}

// metric returns the value of a metric, or "".
func (r *running) metric(t testing.TB, name string) string {
	t.Helper()
	for line := range strings.Lines(r.private(t, "/metrics", http.StatusOK)) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// private asks the private listener, and returns its answer.
func (r *running) private(t testing.TB, path string, want int) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+r.PrivateAddress()+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept-Encoding", "identity") // to compress it takes most of the time
	res, err := r.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != want {
		t.Errorf("%s: %s, want %d", path, res.Status, want)
	}
	return string(text)
}

// recorded returns the records of the node that has a data directory, wherever
// they are by now: in the journal, or in the archive. One that is in both is
// there once.
func recorded(t testing.TB, data string) (lines []string) {
	t.Helper()
	id := func(line []byte) string {
		var record struct{ EventID string }
		if err := json.Unmarshal(line, &record); err != nil || record.EventID == "" {
			t.Fatalf("%v: %s", err, line)
		}
		return record.EventID
	}
	// The journal first: what goes to the archive meanwhile is found there.
	dir, seen := filepath.Join(data, "audit"), map[string]bool{}
	for line, err := range audit.Read(dir) {
		if err != nil {
			t.Fatal(err)
		}
		seen[id(line)] = true
		lines = append(lines, string(line))
	}
	err := filepath.WalkDir(filepath.Join(dir, "archive", "AWSLogs"), func(path string, _ fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // nothing was delivered yet
		}
		if err != nil || !strings.HasSuffix(path, ".json.gz") || strings.Contains(path, "CloudTrail-Digest") {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		for line, err := range archive.Records(f) {
			if err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
			if !seen[id(line)] {
				lines = append(lines, string(line))
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

// patience is how long anything may take.
const patience = 2 * time.Minute

// eventually waits until a condition holds.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

// clock is a clock that stands still until it is set.
type clock struct{ at atomic.Int64 }

func newClock() *clock {
	c := new(clock)
	c.at.Store(time.Now().UnixNano())
	return c
}

func (c *clock) Now() time.Time          { return time.Unix(0, c.at.Load()).UTC() }
func (c *clock) advance(d time.Duration) { c.at.Add(int64(d)) }
