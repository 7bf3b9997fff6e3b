package node_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/keyreeve/keyreeve/internal/node"
	"github.com/keyreeve/keyreeve/internal/record"
	"github.com/keyreeve/keyreeve/internal/seal"
	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/internal/sigv4"
	"github.com/keyreeve/keyreeve/internal/store"
)

func TestRestart(t *testing.T) {
	dir := t.TempDir()
	r := run(t, configure(dir))
	first := r.learn(t)
	message := base64.StdEncoding.EncodeToString([]byte("a message"))

	symmetric := r.create(t, object{"Description": "kept", "Tags": []object{{"TagKey": "a", "TagValue": "b"}}})
	r.must(t, "CreateAlias", object{"AliasName": "alias/kept", "TargetKeyId": symmetric})
	blob := r.must(t, "Encrypt", object{"KeyId": symmetric, "Plaintext": message, "EncryptionContext": object{"k": "v"}})["CiphertextBlob"]
	curve := r.create(t, object{"KeySpec": "ECC_NIST_P256", "KeyUsage": "SIGN_VERIFY"})
	signature := r.must(t, "Sign", object{"KeyId": curve, "Message": message, "SigningAlgorithm": "ECDSA_SHA_256"})["Signature"]
	mac := r.create(t, object{"KeySpec": "HMAC_256", "KeyUsage": "GENERATE_VERIFY_MAC"})
	tag := r.must(t, "GenerateMac", object{"KeyId": mac, "Message": message, "MacAlgorithm": "HMAC_SHA_256"})["Mac"]
	disabled := r.create(t, nil)
	r.must(t, "DisableKey", object{"KeyId": disabled})
	r.stop(t)

	r = run(t, configure(dir))
	if again := r.learn(t); again.ID != first.ID || !again.Secret.Equal(first.Secret) || again.Account != first.Account {
		t.Errorf("the administrator is %s of %s, and was %s of %s", again.ID, again.Account, first.ID, first.Account)
	}
	if got := r.must(t, "Decrypt", object{"KeyId": "alias/kept", "CiphertextBlob": blob, "EncryptionContext": object{"k": "v"}})["Plaintext"]; got != message {
		t.Errorf("Decrypt: %v", got)
	}
	r.must(t, "Verify", object{"KeyId": curve, "Message": message, "Signature": signature, "SigningAlgorithm": "ECDSA_SHA_256"})
	r.must(t, "VerifyMac", object{"KeyId": mac, "Message": message, "Mac": tag, "MacAlgorithm": "HMAC_SHA_256"})
	r.refused(t, "Encrypt", object{"KeyId": disabled, "Plaintext": message}, "DisabledException")
	if got := r.must(t, "DescribeKey", object{"KeyId": symmetric})["KeyMetadata"].(object)["Description"]; got != "kept" {
		t.Errorf("the description is %v", got)
	}
	if got := fmt.Sprint(r.must(t, "ListResourceTags", object{"KeyId": symmetric})["Tags"]); got != "[map[TagKey:a TagValue:b]]" {
		t.Errorf("the tags are %v", got)
	}
}

func TestCloseWithoutServe(t *testing.T) {
	c := configure(t.TempDir(), func(c *node.Config) { c.Plain = "127.0.0.1:0" })
	// Twice, for what the first left open would be in the way.
	for range 2 {
		open := files()
		n, err := node.Open(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		if err := n.Close(); err != nil {
			t.Error(err)
		}
		if left := files(); left > open {
			t.Errorf("%d files are open, and were %d", left, open)
		}
	}
}

// files returns how many files and sockets are open, where that can be told.
func files() int {
	open, _ := os.ReadDir("/proc/self/fd")
	return len(open)
}

// taken listens at an address and returns it.
func taken(t *testing.T) (address string, free func()) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l.Addr().String(), func() { l.Close() }
}

// TestOpenFails has Open fail at every stage: nothing may stay open, and once
// the reason is gone the same data opens.
func TestOpenFails(t *testing.T) {
	write := func(t *testing.T, path string, mode fs.FileMode) {
		t.Helper()
		if err := os.WriteFile(path, []byte("whatever\n"), mode); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		name string
		want string
		// spoil makes Open fail, and returns what undoes it.
		spoil func(t *testing.T, c *node.Config) (mend func())
	}{
		{"seed file missing", "reading the seed", func(_ *testing.T, c *node.Config) func() {
			c.Seed = filepath.Join(c.Data, "missing")
			return func() { c.Seed = "" }
		}},
		{"data directory open to others", "chmod 700", func(t *testing.T, c *node.Config) func() {
			if err := os.MkdirAll(c.Data, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(c.Data, 0o710); err != nil {
				t.Fatal(err)
			}
			return func() { os.Chmod(c.Data, 0o700) }
		}},
		{"no store", "opening the store", func(t *testing.T, c *node.Config) func() {
			path := filepath.Join(c.Data, "store.db")
			if err := os.Rename(path, path+".kept"); err != nil {
				t.Fatal(err)
			}
			write(t, path, 0o600)
			return func() { os.Rename(path+".kept", path) }
		}},
		{"no audit directory", "opening the audit log", func(t *testing.T, c *node.Config) func() {
			path := filepath.Join(c.Data, "audit")
			if err := os.Rename(path, path+".kept"); err != nil {
				t.Fatal(err)
			}
			write(t, path, 0o600)
			return func() { os.Remove(path); os.Rename(path+".kept", path) }
		}},
		{"key file", "mode 0644", func(_ *testing.T, c *node.Config) func() {
			os.Chmod(c.Seal.File, 0o644)
			return func() { os.Chmod(c.Seal.File, 0o600) }
		}},
		{"certificate", "opening the certificate", func(_ *testing.T, c *node.Config) func() {
			c.TLS.Names = []string{"not a name"}
			return func() { c.TLS.Names = nil }
		}},
		{"address in use", "address already in use", func(t *testing.T, c *node.Config) func() {
			address, free := taken(t)
			c.Listen = address
			return func() { free(); c.Listen = "127.0.0.1:0" }
		}},
		{"plain address in use", "listening without TLS", func(t *testing.T, c *node.Config) func() {
			address, free := taken(t)
			c.Plain = address
			return func() { free(); c.Plain = "" }
		}},
		{"private address in use", "listening privately", func(t *testing.T, c *node.Config) func() {
			address, free := taken(t)
			c.Private = address
			return func() { free(); c.Private = "127.0.0.1:0" }
		}},
		{"ready file", "removing the ready file", func(t *testing.T, c *node.Config) func() {
			c.ReadyFile = filepath.Join(c.Data, "full")
			if err := os.MkdirAll(filepath.Join(c.ReadyFile, "of", "folders"), 0o700); err != nil {
				t.Fatal(err)
			}
			return func() { c.ReadyFile = "" }
		}},
		{"mark", "rolled back", func(t *testing.T, c *node.Config) func() {
			if err := os.Rename(c.Seal.Mark, c.Seal.Mark+".kept"); err != nil {
				t.Fatal(err)
			}
			return func() { os.Rename(c.Seal.Mark+".kept", c.Seal.Mark) }
		}},
		{"another account", "the management account is", func(_ *testing.T, c *node.Config) func() {
			c.Account = "999988887777"
			return func() { c.Account = "" }
		}},
		{"control socket", "control.sock is there and is no socket", func(t *testing.T, c *node.Config) func() {
			path := filepath.Join(c.Data, "control.sock")
			write(t, path, 0o600)
			return func() { os.Remove(path) }
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := configure(t.TempDir(), func(c *node.Config) { c.Account = "111122223333" })
			n, err := node.Open(t.Context(), c)
			if err != nil {
				t.Fatal(err)
			}
			if err := n.Close(); err != nil {
				t.Fatal(err)
			}
			mend := test.spoil(t, &c)
			before, open := goleak.IgnoreCurrent(), files()
			n, err = node.Open(t.Context(), c)
			if err == nil {
				n.Close()
				t.Fatal("it opened")
			}
			if n != nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want %q", err, test.want)
			}
			if err := goleak.Find(before); err != nil {
				t.Error(err)
			}
			if left := files(); left > open {
				t.Errorf("%d files are open, and were %d", left, open)
			}
			mend()
			if n, err = node.Open(t.Context(), c); err != nil {
				t.Fatalf("afterwards: %v", err)
			}
			if err := n.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestServeFails has Serve end although nobody asked it to: it says why, and
// all that it began ends.
func TestServeFails(t *testing.T) {
	c := configure(t.TempDir(), func(c *node.Config) { c.ReadyFile = "/nowhere/ready" })
	n, err := node.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Serve(t.Context()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Serve: %v, want that the ready file can't be written", err)
	}
	if err := n.Close(); err != nil {
		t.Error(err)
	}
}

func TestReadyFile(t *testing.T) {
	dir := t.TempDir()
	ready := filepath.Join(dir, "ready")
	c := configure(dir, func(c *node.Config) { c.ReadyFile, c.Plain = ready, "127.0.0.1:0" })
	r := run(t, c)
	var told struct {
		Endpoint, Plain, Private, CA string
		Sealed                       bool
		PID                          int
	}
	eventually(t, "a ready file", func() bool {
		text, err := os.ReadFile(ready)
		return err == nil && json.Unmarshal(text, &told) == nil
	})
	if told.Endpoint != r.Endpoint() || told.Plain != r.PlainEndpoint() || told.Private != r.PrivateAddress() ||
		told.CA != filepath.Join(c.Data, "ca.pem") || told.Sealed || told.PID != os.Getpid() {
		t.Errorf("the ready file says %+v", told)
	}

	// A node that does not come up leaves the file of the one that runs alone.
	other := configure(t.TempDir(), func(o *node.Config) { o.ReadyFile, o.Listen = ready, strings.TrimPrefix(r.Endpoint(), "https://") })
	if _, err := node.Open(t.Context(), other); err == nil {
		t.Fatal("two nodes at one address")
	}
	if _, err := os.Stat(ready); err != nil {
		t.Error(err)
	}
	r.stop(t)
	if _, err := os.Stat(ready); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after the end: %v, want that it is gone", err)
	}

	// That of a node that was killed is gone before the next one answers.
	if err := os.WriteFile(ready, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	n, err := node.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(ready); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("before it answers: %v, want that it is gone", err)
	}
	if err := n.Close(); err != nil {
		t.Error(err)
	}
}

// counting is a store that counts reads.
type counting struct {
	store.Store
	reads atomic.Int64
}

func (s *counting) Get(ctx context.Context, key string) (store.KV, store.Rev, error) {
	s.reads.Add(1)
	return s.Store.Get(ctx, key)
}

func (s *counting) Range(ctx context.Context, from, to string, limit int) ([]store.KV, store.Rev, error) {
	s.reads.Add(1)
	return s.Store.Range(ctx, from, to, limit)
}

// counted has a node count the reads of its store.
func counted(into *counting) func(*node.Config) {
	return func(c *node.Config) {
		c.DestroyEvery = time.Hour // which reads the store, too
		c.WrapStore(func(s store.Store) store.Store {
			into.Store = s
			return into
		})
	}
}

func TestWarmCallsReadNoStore(t *testing.T) {
	var reads counting
	dir := t.TempDir()
	r := run(t, configure(dir, counted(&reads)))
	message := base64.StdEncoding.EncodeToString([]byte("a message"))
	key := r.create(t, nil)
	r.must(t, "CreateAlias", object{"AliasName": "alias/warm", "TargetKeyId": key})
	curve := r.create(t, object{"KeySpec": "ECC_NIST_P256", "KeyUsage": "SIGN_VERIFY"})
	blob := r.must(t, "Encrypt", object{"KeyId": key, "Plaintext": message})["CiphertextBlob"]

	calls := []struct {
		operation string
		in        object
	}{
		{"Decrypt", object{"CiphertextBlob": blob}},
		{"Decrypt", object{"CiphertextBlob": blob, "KeyId": "alias/warm"}},
		{"Encrypt", object{"KeyId": key, "Plaintext": message}},
		{"GenerateDataKey", object{"KeyId": "alias/warm", "KeySpec": "AES_256"}},
		{"ReEncrypt", object{"CiphertextBlob": blob, "DestinationKeyId": key}},
		{"Sign", object{"KeyId": curve, "Message": message, "SigningAlgorithm": "ECDSA_SHA_256"}},
		{"GenerateRandom", object{"NumberOfBytes": 16}},
	}
	warm := func(r *running, want string) {
		t.Helper()
		for _, call := range calls {
			r.must(t, call.operation, call.in)
		}
		for _, call := range calls {
			// A job of the node may read in between; it does not each time.
			var n int64
			for range 5 {
				before := reads.reads.Load()
				for range 10 {
					r.must(t, call.operation, call.in)
				}
				if n = reads.reads.Load() - before; n == 0 {
					break
				}
			}
			if n != 0 {
				t.Errorf("%s: ten warm calls of %s read the store %d times, each time", want, call.operation, n)
			}
		}
	}
	warm(r, "as it was made")
	r.stop(t)

	r = run(t, configure(dir, counted(&reads)))
	before := reads.reads.Load()
	r.must(t, calls[0].operation, calls[0].in)
	if reads.reads.Load() == before {
		t.Error("the first call reads no store: the count is broken")
	}
	warm(r, "restarted")
}

// materials returns how many materials are in the store.
func (s *counting) materials(t testing.TB) int {
	t.Helper()
	kvs, _, err := s.Range(t.Context(), "v1/mat/", store.PrefixEnd("v1/mat/"), 100)
	if err != nil {
		t.Fatal(err)
	}
	return len(kvs)
}

// TestDeletion lets waiting periods end: while the node runs, and while it is
// down.
func TestDeletion(t *testing.T) {
	const day = 24 * time.Hour
	dir := t.TempDir()
	now := newClock()
	var data counting
	set := func(c *node.Config) {
		c.Now = now.Now
		c.WrapStore(func(s store.Store) store.Store { data.Store = s; return &data })
	}
	r := run(t, configure(dir, set))
	account := r.learn(t).Account
	message := base64.StdEncoding.EncodeToString([]byte("a message"))
	kept, early, late := r.create(t, nil), r.create(t, nil), r.create(t, object{"KeySpec": "HMAC_256", "KeyUsage": "GENERATE_VERIFY_MAC"})
	r.must(t, "CreateAlias", object{"AliasName": "alias/early", "TargetKeyId": early})
	blob := r.must(t, "Encrypt", object{"KeyId": early, "Plaintext": message})["CiphertextBlob"]
	r.must(t, "ScheduleKeyDeletion", object{"KeyId": kept, "PendingWindowInDays": 7})
	r.must(t, "ScheduleKeyDeletion", object{"KeyId": early, "PendingWindowInDays": 7})
	r.must(t, "ScheduleKeyDeletion", object{"KeyId": late, "PendingWindowInDays": 30})
	r.must(t, "CancelKeyDeletion", object{"KeyId": kept})

	state := func(r *running, key string) string {
		t.Helper()
		status, answer, _, err := r.ask("DescribeKey", object{"KeyId": key})
		if err != nil {
			t.Fatal(err)
		}
		if status != http.StatusOK {
			return str(answer, "__type")
		}
		return str(answer["KeyMetadata"].(object), "KeyState")
	}

	now.advance(7*day - time.Minute)
	time.Sleep(50 * time.Millisecond) // in which the job runs a few times
	if got := state(r, early); got != "PendingDeletion" {
		t.Errorf("a minute before: %s", got)
	}
	r.refused(t, "Decrypt", object{"CiphertextBlob": blob}, "KMSInvalidStateException")
	if n := data.materials(t); n != 3 {
		t.Errorf("a minute before: %d materials, want 3", n)
	}

	now.advance(2 * time.Minute)
	eventually(t, "the key is gone", func() bool { return state(r, early) == "NotFoundException" })
	eventually(t, "its material is gone", func() bool { return data.materials(t) == 2 })
	r.refused(t, "Decrypt", object{"CiphertextBlob": blob}, "AccessDeniedException") // as of any key that is not there
	r.refused(t, "CancelKeyDeletion", object{"KeyId": early}, "NotFoundException")
	r.refused(t, "DescribeKey", object{"KeyId": "alias/early"}, "NotFoundException")
	// A day later there is nothing of it left in the file either.
	now.advance(day)
	eventually(t, "its bytes are gone", func() bool {
		b, err := os.ReadFile(filepath.Join(r.c.Data, "store.db"))
		return err == nil && bytes.Contains(b, []byte(late)) && !bytes.Contains(b, []byte(early))
	})
	// Recorded as AWS records it, once.
	event := `"eventName":"DeleteKey","awsRegion":"us-east-1","sourceIPAddress":"AWS Internal","userAgent":"AWS Internal",` +
		`"requestParameters":null,"responseElements":{"keyId":"arn:aws:kms:us-east-1:` + account + `:key/` + early + `"}`
	eventually(t, "it is recorded", func() bool { return strings.Contains(strings.Join(recorded(t, r.c.Data), "\n"), event) })
	r.stop(t)
	if n := strings.Count(strings.Join(recorded(t, r.c.Data), "\n"), event); n != 1 {
		t.Errorf("%d records of the deletion, want 1", n)
	}

	// The other one becomes due while nobody is there to see it.
	r = run(t, configure(dir, set))
	if got := state(r, late); got != "PendingDeletion" {
		t.Errorf("after a restart: %s", got)
	}
	r.stop(t)
	now.advance(24 * day)
	r = run(t, configure(dir, set))
	// Whether that time has passed, or the clock was set, a node that was down
	// cannot tell.
	time.Sleep(50 * time.Millisecond)
	if got := state(r, late); got != "PendingDeletion" {
		t.Errorf("after a jump of the clock: %s", got)
	}
	if err := r.control().AcceptClock(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the other key is gone", func() bool { return state(r, late) == "NotFoundException" })
	eventually(t, "its material is gone", func() bool { return data.materials(t) == 1 })
	if got := state(r, kept); got != "Disabled" {
		t.Errorf("the key whose deletion was canceled: %s", got)
	}
	r.must(t, "EnableKey", object{"KeyId": kept})
	r.must(t, "Encrypt", object{"KeyId": kept, "Plaintext": message})
}

// lines is a log that can be read while it is written.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// TestSealed closes and opens the seal of a running node.
func TestSealed(t *testing.T) {
	r := run(t, configure(t.TempDir()))
	key := r.create(t, nil)
	blob := r.must(t, "Encrypt", object{"KeyId": key, "Plaintext": "aGVsbG8="})["CiphertextBlob"]
	for range 2 {
		if r.Sealed() || r.metric(t, "keyreeve_sealed") != "0" {
			t.Error("sealed from the beginning")
		}
		if used := r.metric(t, "keyreeve_memory_slots_used"); used != "2" { // the root key, the key
			t.Errorf("%s slots are in use, want 2", used)
		}
		if got := r.metric(t, "keyreeve_dev_mode"); got != "0" {
			t.Errorf("keyreeve_dev_mode %s", got)
		}
		r.private(t, "/readyz", http.StatusOK)

		if err := r.control().Seal(t.Context()); err != nil {
			t.Fatal(err)
		}
		if !r.Sealed() || r.metric(t, "keyreeve_sealed") != "1" {
			t.Error("not sealed")
		}
		if used := r.metric(t, "keyreeve_memory_slots_used"); used != "0" {
			t.Errorf("sealed, and %s slots are in use", used)
		}
		if got := r.metric(t, "keyreeve_staleness_seconds"); got != "0" {
			t.Errorf("sealed, and keyreeve_staleness_seconds %s", got)
		}
		r.private(t, "/healthz", http.StatusOK)
		r.private(t, "/readyz", http.StatusServiceUnavailable)
		if status, answer, _, err := r.ask("Decrypt", object{"CiphertextBlob": blob}); err != nil || status != http.StatusServiceUnavailable || answer["__type"] != "ServiceUnavailableException" {
			t.Errorf("Decrypt: %d %v %v", status, answer, err)
		}
		if _, err := r.Administrator(t.Context()); !errors.Is(err, seal.ErrSealed) {
			t.Errorf("Administrator: %v", err)
		}
		if _, err := r.control().Environment(t.Context()); err == nil || err.Error() != "the node is sealed" {
			t.Errorf("Environment: %v", err)
		}
		status, err := r.control().Status(t.Context())
		if err != nil || !status.Sealed || status.Provider != seal.KindFile || status.Version != "test" {
			t.Errorf("Status: %+v, %v", status, err)
		}

		if err := r.control().Unseal(t.Context(), secret.Bytes{}); err != nil {
			t.Fatal(err)
		}
		if got := r.must(t, "Decrypt", object{"CiphertextBlob": blob})["Plaintext"]; got != "aGVsbG8=" {
			t.Errorf("Decrypt: %v", got)
		}
	}
}

// TestSealedUnderLoad closes and opens the seal while calls come in: each ends
// with an answer, or is told that there is no service now.
func TestSealedUnderLoad(t *testing.T) {
	r := run(t, configure(t.TempDir()))
	key := r.create(t, nil)
	blob := r.must(t, "Encrypt", object{"KeyId": key, "Plaintext": "aGVsbG8="})["CiphertextBlob"]
	ctx, cancel := context.WithCancel(t.Context())
	var callers sync.WaitGroup
	var good, unavailable atomic.Int64
	for range 4 {
		callers.Go(func() {
			for ctx.Err() == nil {
				status, answer, _, err := r.ask("Decrypt", object{"CiphertextBlob": blob})
				switch {
				case err == nil && status == http.StatusOK && answer["Plaintext"] == "aGVsbG8=":
					good.Add(1)
				case err == nil && status == http.StatusServiceUnavailable && answer["__type"] == "ServiceUnavailableException":
					unavailable.Add(1)
				default:
					t.Errorf("Decrypt: %d %v %v", status, answer, err)
				}
			}
		})
	}
	for range 6 {
		time.Sleep(5 * time.Millisecond)
		if err := r.control().Seal(t.Context()); err != nil {
			t.Error(err)
		}
		if used := r.metric(t, "keyreeve_memory_slots_used"); used != "0" {
			t.Errorf("sealed, and %s slots are in use", used)
		}
		if err := r.control().Unseal(t.Context(), secret.Bytes{}); err != nil {
			t.Error(err)
		}
	}
	eventually(t, "calls are answered", func() bool { return good.Load() > 0 })
	cancel()
	callers.Wait()
	if used := r.metric(t, "keyreeve_memory_slots_used"); used != "2" && used != "1" {
		t.Errorf("%s slots are in use, want no more than the root key's and the key's", used)
	}
	t.Logf("%d calls answered, %d refused", good.Load(), unavailable.Load())
}

func withPassphrase(c *node.Config) { c.Seal.Provider = seal.KindPassphrase }

// TestPassphrase starts with a passphrase, and without.
func TestPassphrase(t *testing.T) {
	dir := t.TempDir()
	if _, err := node.Open(t.Context(), configure(dir, withPassphrase)); !errors.Is(err, seal.ErrNoPassphrase) {
		t.Fatalf("a first start without a passphrase: %v", err)
	}
	given := phrase()
	r := run(t, configure(dir, withPassphrase, func(c *node.Config) { c.Passphrase = given }))
	if !given.Equal(secret.New(make([]byte, given.Len()))) {
		t.Error("Open has not wiped the passphrase")
	}
	first := r.learn(t)
	r.stop(t)

	r = run(t, configure(dir, withPassphrase))
	if !r.Sealed() {
		t.Fatal("open without a passphrase")
	}
	r.creds = sigv4.Credentials{AccessKeyID: first.ID, Key: sigv4.NewKey(first.Secret)}
	r.refused(t, "ListKeys", nil, "ServiceUnavailableException")
	wrong := secret.New([]byte("wrong horse battery staple"))
	if err := r.control().Unseal(t.Context(), wrong); err == nil || !strings.Contains(err.Error(), seal.ErrWrongRoot.Error()) {
		t.Errorf("a wrong passphrase: %v", err)
	}
	if err := r.control().Unseal(t.Context(), secret.Bytes{}); err == nil || !strings.Contains(err.Error(), seal.ErrNoPassphrase.Error()) {
		t.Errorf("no passphrase: %v", err)
	}
	if !r.Sealed() {
		t.Error("open without the passphrase")
	}
	if err := r.control().Unseal(t.Context(), phrase()); err != nil {
		t.Fatal(err)
	}
	r.must(t, "ListKeys", nil)
	// Once open, a wrong one is still told from the right one, and locks nobody out.
	if err := r.control().Unseal(t.Context(), secret.New([]byte("wrong horse battery staple"))); err == nil {
		t.Error("a wrong passphrase is right on an open node")
	}
	r.must(t, "ListKeys", nil)
}

// TestUnsealRefused opens the seal of a store that was rolled back: the node
// stays as sealed as it was.
func TestUnsealRefused(t *testing.T) {
	dir := t.TempDir()
	r := run(t, configure(dir, withPassphrase, func(c *node.Config) { c.Passphrase = phrase() }))
	r.stop(t)
	if err := os.Remove(r.c.Seal.Mark); err != nil {
		t.Fatal(err)
	}
	r = run(t, configure(dir, withPassphrase))
	for range 2 {
		err := r.control().Unseal(t.Context(), phrase())
		if err == nil || !strings.Contains(err.Error(), record.ErrRolledBack.Error()) {
			t.Errorf("Unseal: %v, want %v", err, record.ErrRolledBack)
		}
		var hint interface{ Hint() string }
		if !errors.As(err, &hint) || !strings.Contains(hint.Hint(), "--accept-rollback") {
			t.Errorf("%v comes without its hint", err)
		}
		if !r.Sealed() || r.metric(t, "keyreeve_memory_slots_used") != "0" {
			t.Error("not sealed afterwards")
		}
	}
	r.stop(t)

	r = run(t, configure(dir, withPassphrase, func(c *node.Config) { c.AcceptRollback = true }))
	if err := r.control().Unseal(t.Context(), phrase()); err != nil {
		t.Error(err)
	}
	// Recorded when it is done, and not each time the seal is opened.
	if err := errors.Join(r.control().Seal(t.Context()), r.control().Unseal(t.Context(), phrase())); err != nil {
		t.Error(err)
	}
	if n := strings.Count(strings.Join(recorded(t, r.c.Data), "\n"), `"eventName":"AcceptRollback"`); n != 1 {
		t.Errorf("%d records that the rollback was accepted, want 1", n)
	}
}

// TestStopWhileSealed ends a node that never had anything open.
func TestStopWhileSealed(t *testing.T) {
	dir := t.TempDir()
	r := run(t, configure(dir, withPassphrase, func(c *node.Config) { c.Passphrase = phrase() }))
	r.stop(t)
	r = run(t, configure(dir, withPassphrase))
	r.private(t, "/readyz", http.StatusServiceUnavailable)
	r.stop(t)
	if err := r.control().Seal(t.Context()); err == nil {
		t.Error("the control socket answers after the end")
	}
}

// TestAddresses tells clients an address that the certificate is for.
func TestAddresses(t *testing.T) {
	for listen, want := range map[string]string{
		"127.0.0.1:0": "https://127.0.0.1:",
		"localhost:0": "https://localhost:",
		"0.0.0.0:0":   "https://127.0.0.1:",
		":0":          "https://127.0.0.1:",
	} {
		t.Run(listen, func(t *testing.T) {
			r := run(t, configure(t.TempDir(), func(c *node.Config) {
				c.Listen, c.Plain, c.Private = listen, "localhost:0", "off"
			}))
			if !strings.HasPrefix(r.Endpoint(), want) {
				t.Errorf("the endpoint is %s, want %s…", r.Endpoint(), want)
			}
			r.must(t, "ListKeys", nil)
			if r.PrivateAddress() != "" {
				t.Errorf("the private address is %s, want none", r.PrivateAddress())
			}
			res, err := r.client.Get(r.PlainEndpoint() + "/")
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			if res.StatusCode != http.StatusNotFound {
				t.Errorf("without TLS: %s", res.Status)
			}
		})
	}
}

// TestCertificate uses a certificate that was given.
func TestCertificate(t *testing.T) {
	maker := run(t, configure(t.TempDir()))
	roots := maker.client.Transport.(*http.Transport).TLSClientConfig.RootCAs
	r := run(t, configure(t.TempDir(), func(c *node.Config) {
		c.TLS.Certificate = filepath.Join(maker.c.Data, "server.pem")
		c.TLS.Key = filepath.Join(maker.c.TLS.Keys, "server-key.pem")
	}))
	if r.AuthorityFile() != "" {
		t.Errorf("clients are told to trust %s", r.AuthorityFile())
	}
	r.client.Transport.(*http.Transport).TLSClientConfig = &tls.Config{RootCAs: roots}
	r.must(t, "ListKeys", nil)

	// Clients are sent to a name that it is for.
	for _, test := range []struct {
		names []string
		want  string
	}{
		{[]string{"*.example.com", "kms.example.com", "other.example.com"}, "https://kms.example.com:"},
		{[]string{"localhost", "127.0.0.1"}, "https://127.0.0.1:"},
		{[]string{"*.example.com"}, "https://127.0.0.1:"},
	} {
		dir := t.TempDir()
		certify(t, dir, test.names)
		n, err := node.Open(t.Context(), configure(t.TempDir(), func(c *node.Config) {
			c.TLS.Certificate, c.TLS.Key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
		}))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(n.Endpoint(), test.want) {
			t.Errorf("a certificate for %v: the endpoint is %s, want %s…", test.names, n.Endpoint(), test.want)
		}
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	}
}

// certify writes a certificate for these names, with its key, to dir.
func certify(t *testing.T, dir string, names []string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{
		"cert.pem": {Type: "CERTIFICATE", Bytes: der},
		"key.pem":  {Type: "PRIVATE KEY", Bytes: pkcs8},
	} {
		if err := os.WriteFile(filepath.Join(dir, file), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestRecorded finds the record of every call on the disk when it is answered.
func TestRecorded(t *testing.T) {
	r := run(t, configure(t.TempDir()))
	key := r.create(t, nil)
	for _, call := range []struct {
		operation string
		in        object
	}{
		{"DescribeKey", object{"KeyId": key}},
		{"Encrypt", object{"KeyId": key, "Plaintext": "aGVsbG8="}},
		{"Decrypt", object{"CiphertextBlob": "AAAA"}},
		{"ScheduleKeyDeletion", object{"KeyId": key}},
		{"PutKeyPolicy", object{}},
	} {
		_, _, id, err := r.ask(call.operation, call.in)
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(strings.Join(recorded(t, r.c.Data), "\n"), `"requestID":"`+id+`"`); n != 1 {
			t.Errorf("%s: %d records", call.operation, n)
		}
	}
}

// contents returns all files in dir.
func contents(t testing.TB, dir string) string {
	t.Helper()
	var all strings.Builder
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		all.Write(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all.String()
}

// TestEphemeral leaves nothing behind.
func TestEphemeral(t *testing.T) {
	tmp, wd := t.TempDir(), t.TempDir()
	t.Setenv("TMPDIR", tmp)
	t.Chdir(wd)
	for _, dev := range []bool{false, true} {
		c := node.Config{Ephemeral: !dev, Dev: dev}
		c.Listen = "127.0.0.1:0"
		c.SetDefaults()
		r := run(t, c)
		if key := r.learn(t); dev != (key.ID == node.DevAccessKeyID) || dev != (key.Account == node.DevAccount) {
			t.Errorf("dev %v: the administrator is %s of %s", dev, key.ID, key.Account)
		}
		if tls := strings.HasPrefix(r.Endpoint(), "https://"); tls == dev {
			t.Errorf("dev %v: the endpoint is %s", dev, r.Endpoint())
		}
		r.create(t, nil)
		if want := map[bool]string{false: "0", true: "1"}[dev]; r.metric(t, "keyreeve_dev_mode") != want {
			t.Errorf("dev %v: keyreeve_dev_mode is not %s", dev, want)
		}
		r.stop(t)
		for _, dir := range []string{tmp, wd} {
			if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
				t.Errorf("dev %v: it leaves %v in %s (%v)", dev, left, dir, err)
			}
		}
	}
}
