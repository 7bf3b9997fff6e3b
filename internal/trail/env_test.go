package trail_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/archive"
	"github.com/keyreeve/keyreeve/internal/archive/index"
	"github.com/keyreeve/keyreeve/internal/audit"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/config"
	"github.com/keyreeve/keyreeve/internal/record"
	"github.com/keyreeve/keyreeve/internal/seal"
	"github.com/keyreeve/keyreeve/internal/store"
	"github.com/keyreeve/keyreeve/internal/trail"
	"github.com/keyreeve/keyreeve/internal/trail/s3test"
)

const (
	ours   = "111122223333"
	theirs = "444455556666"
	region = "eu-central-1"
	other  = "eu-west-1"
	bucket = "our-trail"
)

var start = time.Date(2026, 11, 22, 10, 20, 0, 0, time.UTC)

// env is trails with an archive, an S3 server and what else they stand on.
type env struct {
	t       *testing.T
	dir     string
	store   store.Store
	box     *seal.Box
	records *record.Store
	log     *audit.Log
	index   *index.Index
	archive *archive.Archive
	options trail.Options
	set     *trail.Set
	s3      *s3test.Server
	web     *httptest.Server
	output  *output

	stop func() // ends Run; nil while it does not run

	mu      sync.Mutex
	now     time.Time // guarded by mu
	calls   int
	members map[string]*call.Organization // guarded by mu
}

// output is what was logged.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) has(part string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return strings.Contains(o.text.String(), part)
}

// newEnv returns an environment with a bucket that is open to our account.
func newEnv(t *testing.T, change ...func(*env)) *env {
	t.Helper()
	e := &env{t: t, dir: t.TempDir(), store: store.NewMem(), now: start, output: new(output)}
	e.s3 = &s3test.Server{AccessKeyID: "AKIAIOSFODNN7EXAMPLE", Secret: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", Region: "us-east-1", Buckets: []string{bucket}}
	e.web = httptest.NewServer(e.s3)
	t.Cleanup(e.web.Close)
	var err error
	if e.box, err = seal.Open(t.Context(), e.store, seal.Options{Provider: seal.Memory()}); err != nil {
		t.Fatal(err)
	}
	e.options = trail.Options{
		Buckets: []config.Bucket{{
			Name: bucket, Endpoint: e.web.URL, Region: "us-east-1", Style: "path", Accounts: []string{ours}, CredentialsFile: e.credentials("s3", e.s3.AccessKeyID, e.s3.Secret),
		}},
		Organization: e.organization, Now: e.clock, Host: "node-1",
		// Short, so that what fails at first does not keep the tests waiting.
		Pause: 10 * time.Millisecond, Rest: 10 * time.Millisecond,
		Log: slog.New(slog.NewTextHandler(e.output, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	for _, c := range change {
		c(e)
	}
	e.open()
	t.Cleanup(e.close)
	return e
}

// credentials writes a file of credentials, and returns its path.
func (e *env) credentials(name, id, secret string) string {
	e.t.Helper()
	path := filepath.Join(e.dir, name+".credentials")
	if err := os.WriteFile(path, []byte("[default]\naws_access_key_id = "+id+"\naws_secret_access_key="+secret+"\n"), 0o600); err != nil {
		e.t.Fatal(err)
	}
	return path
}

func (e *env) clock() time.Time {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.now
}

// pass lets time go by.
func (e *env) pass(d time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.now = e.now.Add(d)
}

func (e *env) organization(_ context.Context, account string) (*call.Organization, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.members[account], nil
}

// open opens what a node opens when it is unsealed.
func (e *env) open() {
	e.t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	var err error
	e.records, err = record.Open(e.t.Context(), e.store, e.box, record.Options{Now: e.clock, Log: quiet})
	e.ok(err)
	e.log, err = audit.Open(e.dir, audit.Options{Reserve: -1, SegmentAge: -1, Now: e.clock})
	e.ok(err)
	e.index, err = index.Open(index.Options{Dir: filepath.Join(e.dir, "index"), Box: e.box})
	e.ok(err)
	e.archive, err = archive.Open(e.t.Context(), archive.Options{
		Dir: filepath.Join(e.dir, "archive"), Journal: e.log, Records: e.records, Index: e.index, Region: region, Now: e.clock,
		Pause: func(context.Context, int) {}, Logger: quiet,
	})
	e.ok(err)
	e.options.Source = e.archive
	e.set, err = trail.New(e.records, e.options)
	e.ok(err)
}

// close closes it, and may be called again.
func (e *env) close() {
	if e.records == nil {
		return
	}
	e.halt()
	if err := errors.Join(e.index.Close(), e.log.Close(), e.records.Close()); err != nil {
		e.t.Error(err)
	}
	e.records = nil
}

// reopen is a restart of the node.
func (e *env) reopen() {
	e.t.Helper()
	e.close()
	e.pass(time.Second)
	e.open()
}

// run begins to copy.
func (e *env) run() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	set := e.set
	go func() {
		defer close(done)
		set.Run(ctx)
	}()
	e.stop = func() {
		cancel()
		<-done
	}
}

// halt ends it.
func (e *env) halt() {
	if e.stop != nil {
		e.stop()
		e.stop = nil
	}
}

func (e *env) ok(err error) {
	e.t.Helper()
	if err != nil {
		e.t.Fatal(err)
	}
}

// wants checks that err is of a kind.
func (e *env) wants(what string, err, kind error) {
	e.t.Helper()
	if !errors.Is(err, kind) {
		e.t.Errorf("%s: %v, want %v", what, err, kind)
	}
}

// patience is how long tests wait for what must come: not a limit of speed.
const patience = time.Minute

// until waits until a condition holds.
func (e *env) until(what string, holds func() bool) {
	e.t.Helper()
	for limit := time.Now().Add(patience); !holds(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(limit) {
			e.output.mu.Lock()
			defer e.output.mu.Unlock()
			e.t.Fatalf("waited in vain until %s; the log:\n%s", what, e.output.text.String())
		}
	}
}

// event is what a test records, and finds again.
type event struct {
	Account  string
	Region   string
	Source   string
	Name     string
	ReadOnly bool
}

// write has calls recorded, and returns their request ids.
func (e *env) write(events ...event) []string {
	e.t.Helper()
	var ids []string
	for _, v := range events {
		e.calls++
		id := fmt.Sprintf("00000000-0000-4000-8000-%012d", e.calls)
		source := cmp.Or(v.Source, "kms.amazonaws.com")
		account := cmp.Or(v.Account, ours)
		c := &call.Call{
			ID: id, Time: e.clock(), Region: cmp.Or(v.Region, region), Service: strings.TrimSuffix(source, ".amazonaws.com"),
			Source:    netip.MustParseAddrPort("192.0.2.1:1234"),
			Operation: &call.Operation{Name: cmp.Or(v.Name, "Decrypt"), Service: strings.TrimSuffix(source, ".amazonaws.com"), EventSource: source, ReadOnly: v.ReadOnly},
			Caller:    &call.Principal{Kind: call.User, Account: account, ARN: "arn:aws:iam::" + account + ":user/alice", ID: "AIDAEXAMPLE", Name: "alice", AccessKeyID: "AKIAEXAMPLE"},
		}
		e.ok(e.log.Append(c))
		ids = append(ids, id)
	}
	return ids
}

// some writes a number of plain calls of our account.
func (e *env) some(n int) []string { return e.write(make([]event, n)...) }

// deliver has what was written delivered to the archive.
func (e *env) deliver() {
	e.t.Helper()
	e.ok(e.log.Cut())
	e.ok(e.archive.Deliver(e.t.Context()))
}

// trail makes a trail that is logging.
func (e *env) trail(name string, change ...func(*trail.Trail)) trail.Trail {
	e.t.Helper()
	t := trail.Trail{Ref: trail.Ref{Account: ours, Region: region, Name: name}, Bucket: bucket, GlobalServices: true}
	for _, c := range change {
		c(&t)
	}
	t, err := e.set.Create(e.t.Context(), t)
	e.ok(err)
	e.ok(e.set.Start(e.t.Context(), t.Ref))
	return t
}

func (e *env) status(t trail.Trail) trail.Status {
	e.t.Helper()
	s, err := e.set.Status(e.t.Context(), t.Ref)
	e.ok(err)
	return s
}

// logs returns the names of the log files in a bucket, in their order.
func (e *env) logs(in string) []string { return logsOf(e.s3.Objects(in)) }

func logsOf(objects map[string]s3test.Object) []string {
	names := slices.Sorted(maps.Keys(objects))
	return slices.DeleteFunc(names, func(n string) bool { return !strings.Contains(n, "/CloudTrail/") })
}

func (e *env) digests(in string) []string { return digestsOf(e.s3.Objects(in)) }

func digestsOf(objects map[string]s3test.Object) []string {
	names := slices.Sorted(maps.Keys(objects))
	return slices.DeleteFunc(names, func(n string) bool { return !strings.Contains(n, "/CloudTrail-Digest/") })
}

// in returns the request ids of the events in a bucket, below a prefix, in
// their order.
func (e *env) in(name, prefix string) []string {
	e.t.Helper()
	var ids []string
	objects := e.s3.Objects(name)
	for _, n := range logsOf(objects) { // not asked for again: it grows
		if !strings.HasPrefix(n, prefix) {
			continue
		}
		for line, err := range archive.Records(bytes.NewReader(objects[n].Body)) {
			e.ok(err)
			ids = append(ids, requestID(e.t, line))
		}
	}
	slices.Sort(ids)
	return ids
}

func requestID(t *testing.T, line []byte) string {
	t.Helper()
	var r struct {
		RequestID string `json:"requestID"`
	}
	if err := json.Unmarshal(line, &r); err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	return r.RequestID
}

// gets waits until the events in the bucket are those.
func (e *env) gets(prefix string, want []string) {
	e.t.Helper()
	want = slices.Sorted(slices.Values(want))
	e.until(strconv.Itoa(len(want))+" events are in the bucket", func() bool { return len(e.in(bucket, prefix)) >= len(want) })
	if got := e.in(bucket, prefix); !slices.Equal(got, want) {
		e.t.Errorf("in the bucket are %v, want %v", got, want)
	}
}

// settled waits until a trail has been copied as far as the archive goes.
func (e *env) settled(t trail.Trail, more ...func(trail.Status) bool) trail.Status {
	e.t.Helper()
	var s trail.Status
	e.until("the trail "+t.Name+" has been copied", func() bool {
		s = e.status(t)
		return s.Bucket.Through >= e.archive.Newest() && !slices.ContainsFunc(more, func(holds func(trail.Status) bool) bool { return !holds(s) })
	})
	return s
}

// fail has the S3 server answer requests otherwise while the returned function
// has not been called.
func (e *env) fault(f func(w http.ResponseWriter, r *http.Request) bool) (mend func()) {
	var mu sync.Mutex
	broken := true
	e.s3.SetFault(func(w http.ResponseWriter, r *http.Request) bool {
		mu.Lock()
		now := broken
		mu.Unlock()
		return now && f(w, r)
	})
	return func() {
		mu.Lock()
		defer mu.Unlock()
		broken = false
	}
}

// loopback is where tests have their servers.
var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
