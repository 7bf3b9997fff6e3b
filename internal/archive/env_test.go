package archive_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/archive"
	"github.com/keyreeve/keyreeve/internal/archive/index"
	"github.com/keyreeve/keyreeve/internal/audit"
	"github.com/keyreeve/keyreeve/internal/record"
	"github.com/keyreeve/keyreeve/internal/seal"
	"github.com/keyreeve/keyreeve/internal/store"
)

const (
	accountA = "111122223333"
	accountB = "444455556666"
	region   = "eu-central-1"
	other    = "us-east-1"
)

// env is an archive with what it stands on.
type env struct {
	t       *testing.T
	dir     string // what a node has as DATA/audit
	store   *faulty
	box     *seal.Box
	records *record.Store
	log     *audit.Log
	index   *index.Index
	archive *archive.Archive
	options archive.Options

	mu  sync.Mutex
	now time.Time
}

// faulty is a store whose commits a test can make fail.
type faulty struct {
	store.Store
	mu   sync.Mutex
	fail func(ops []store.Op) error
	lost bool // what was committed last is not to be found out
}

// errLost is of a commit that happened all the same.
var errLost = errors.New("the connection was lost")

func (f *faulty) Commit(ctx context.Context, conds []store.Cond, ops []store.Op) (store.Rev, bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(ops) == 0 && f.lost {
		f.lost = false
		return 0, false, errLost
	}
	if f.fail != nil && len(ops) > 0 {
		if err := f.fail(ops); err != nil {
			if f.lost = errors.Is(err, errLost); f.lost {
				if _, ok, err := f.Store.Commit(ctx, conds, ops); !ok || err != nil {
					return 0, ok, err
				}
			}
			return 0, false, err
		}
	}
	return f.Store.Commit(ctx, conds, ops)
}

func (f *faulty) failing(fail func(ops []store.Op) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fail = fail
}

var start = time.Date(2026, 11, 22, 10, 20, 0, 0, time.UTC)

func newEnv(t *testing.T, change ...func(*archive.Options)) *env {
	t.Helper()
	e := &env{t: t, dir: t.TempDir(), now: start, store: &faulty{Store: store.NewMem()}}
	var err error
	if e.box, err = seal.Open(t.Context(), e.store, seal.Options{Provider: seal.Memory()}); err != nil {
		t.Fatal(err)
	}
	e.options = archive.Options{
		Dir: filepath.Join(e.dir, "archive"), Region: region, Now: e.clock, Pause: func(context.Context, int) {},
		Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
	made := 0
	e.options.KeysFrom(func() (*rsa.PrivateKey, error) {
		made++
		return keys.of(made)
	})
	for _, c := range change {
		c(&e.options)
	}
	e.open()
	t.Cleanup(e.close)
	return e
}

// keys are those of all archives of the tests: the first key that each of them
// makes is the same. To make one takes longer than all else that most tests do.
var keys ring

type ring struct {
	mu   sync.Mutex
	made []*rsa.PrivateKey
}

// of returns the nth key, from 1 on.
func (r *ring) of(n int) (*rsa.PrivateKey, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.made) < n {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			return nil, err
		}
		r.made = append(r.made, key)
	}
	return r.made[n-1], nil
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

func (e *env) open() {
	e.t.Helper()
	var err error
	if e.records, err = record.Open(e.t.Context(), e.store, e.box, record.Options{Now: e.clock, Log: slog.New(slog.DiscardHandler)}); err != nil {
		e.t.Fatal(err)
	}
	if e.log, err = audit.Open(e.dir, audit.Options{Reserve: -1, SegmentAge: -1, Now: e.clock}); err != nil {
		e.t.Fatal(err)
	}
	e.log.Protect(e.box)
	e.options.Journal, e.options.Records = e.log, e.records
	if e.index, err = archive.OpenIndex(e.t.Context(), e.options, index.Options{Dir: filepath.Join(e.dir, "index"), Box: e.box}); err != nil {
		e.t.Fatal(err)
	}
	e.options.Index = e.index
	if e.archive, err = archive.Open(e.t.Context(), e.options); err != nil {
		e.t.Fatal(err)
	}
}

// close leaves the env as it is on the disk, and may be called again.
func (e *env) close() {
	if e.log == nil {
		return
	}
	if err := errors.Join(e.index.Close(), e.log.Close(), e.records.Close()); err != nil {
		e.t.Error(err)
	}
	e.log = nil
}

// reopen is a restart of the node.
func (e *env) reopen() {
	e.t.Helper()
	e.close()
	e.open()
}

// write appends n records of an account and Region to the journal.
func (e *env) write(account, region string, n int) {
	e.t.Helper()
	for range n {
		err := e.log.AppendEvent(&audit.Event{
			Time: e.clock(), Source: "kms.amazonaws.com", Name: "DeleteKey", Region: region, Account: account, InvokedBy: audit.Node,
		})
		if err != nil {
			e.t.Fatal(err)
		}
	}
}

// cut closes the open segment.
func (e *env) cut() {
	e.t.Helper()
	if err := e.log.Cut(); err != nil {
		e.t.Fatal(err)
	}
}

// deliver cuts the journal and delivers.
func (e *env) deliver() {
	e.t.Helper()
	e.cut()
	if err := e.archive.Deliver(e.t.Context()); err != nil {
		e.t.Fatalf("Deliver: %v", err)
	}
}

// hour writes some records, delivers them, and makes their digest.
func (e *env) hour(accounts ...string) {
	e.t.Helper()
	for _, a := range accounts {
		e.write(a, region, 3)
	}
	e.deliver()
	e.pass(time.Hour)
	e.deliver()
}

// verify verifies the archive with all that the node knows, and returns what it
// finds, notes left out.
func (e *env) verify(change ...func(*archive.VerifyOptions)) []string {
	e.t.Helper()
	findings, _ := e.verifyAll(change...)
	return findings
}

func (e *env) verifyAll(change ...func(*archive.VerifyOptions)) (findings, notes []string) {
	e.t.Helper()
	o := archive.VerifyOptions{
		Dir: e.options.Dir, Keys: e.archive.PublicKeys("", time.Time{}, time.Time{}), Heads: e.archive.Heads(), Pending: e.archive.Pending(),
		Found: func(f archive.Finding) {
			if f.Note {
				notes = append(notes, f.String())
			} else {
				findings = append(findings, f.String())
			}
		},
	}
	for _, c := range change {
		c(&o)
	}
	report, err := archive.Verify(e.t.Context(), o)
	if err != nil {
		e.t.Fatalf("Verify: %v", err)
	}
	if report.Findings != len(findings) {
		e.t.Errorf("Verify counts %d findings, and told of %d", report.Findings, len(findings))
	}
	return findings, notes
}

// offline is what is known without the node: the public keys.
func offline(o *archive.VerifyOptions) { o.Heads, o.Pending = nil, nil }

// tree returns the names of the files below AWSLogs.
func (e *env) tree() []string {
	e.t.Helper()
	var names []string
	err := filepath.WalkDir(filepath.Join(e.options.Dir, "AWSLogs"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			rel, _ := filepath.Rel(e.options.Dir, path)
			names = append(names, filepath.ToSlash(rel))
		}
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		e.t.Fatal(err)
	}
	return names
}

// logs and digests return the names of those files, in their order.
func (e *env) logs() []string {
	return slices.DeleteFunc(e.tree(), func(n string) bool { return !strings.Contains(n, "/CloudTrail/") })
}

func (e *env) digests() []string {
	return slices.DeleteFunc(e.tree(), func(n string) bool {
		return !strings.Contains(n, "/CloudTrail-Digest/") || strings.HasSuffix(n, ".sig")
	})
}

func (e *env) read(object string) []byte {
	e.t.Helper()
	text, err := os.ReadFile(e.archive.Path(object))
	if err != nil {
		e.t.Fatal(err)
	}
	return text
}

func (e *env) put(object string, body []byte) {
	e.t.Helper()
	path := e.archive.Path(object)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, body, 0o600)); err != nil {
		e.t.Fatal(err)
	}
}

func (e *env) remove(object string) {
	e.t.Helper()
	if err := os.Remove(e.archive.Path(object)); err != nil {
		e.t.Fatal(err)
	}
}

// unzip returns what a gzip file of one member holds.
func unzip(t *testing.T, body []byte) []byte {
	t.Helper()
	r := bytes.NewReader(body)
	z, err := gzip.NewReader(r)
	if err != nil {
		t.Fatal(err)
	}
	z.Multistream(false)
	text, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	if r.Len() > 0 {
		t.Errorf("%d bytes after the first gzip member, which many readers skip", r.Len())
	}
	return text
}

func zip(t *testing.T, text []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write(text); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// eventsOf returns the ids of the events of a log file, and checks whose they
// are.
func (e *env) eventsOf(object string) []string {
	e.t.Helper()
	var file struct{ Records []map[string]any }
	if err := json.Unmarshal(unzip(e.t, e.read(object)), &file); err != nil {
		e.t.Fatal(err)
	}
	var ids []string
	for _, r := range file.Records {
		if !strings.Contains(object, fmt.Sprintf("/%v/CloudTrail/%v/", r["recipientAccountId"], r["awsRegion"])) {
			e.t.Errorf("%s has an event of %v in %v", object, r["recipientAccountId"], r["awsRegion"])
		}
		ids = append(ids, r["eventID"].(string))
	}
	return ids
}
