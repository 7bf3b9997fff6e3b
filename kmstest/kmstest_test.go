package kmstest_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/internal/sigv4"
	"github.com/keyreeve/keyreeve/kmstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type object = map[string]any

// call makes a signed call with a client, at a time by the server's clock.
func call(client *http.Client, s *kmstest.Server, region, operation string, in object, at time.Time) (status int, answer object, err error) {
	body, err := json.Marshal(in)
	if err != nil {
		return 0, nil, err
	}
	req, err := http.NewRequest(http.MethodPost, s.Endpoint, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Content-Type", "application/x-amz-json-1.1")
	req.Header.Set("X-Amz-Target", "TrentService."+operation)
	credentials := sigv4.Credentials{AccessKeyID: s.AccessKeyID, Key: sigv4.NewKey(secret.New([]byte(s.SecretAccessKey)))}
	credentials.Sign(req, body, region, "kms", at)
	res, err := client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil || len(text) == 0 {
		return res.StatusCode, nil, err
	}
	return res.StatusCode, answer, errors.Join(err, json.Unmarshal(text, &answer))
}

// must is call for what must succeed.
func must(t *testing.T, s *kmstest.Server, operation string, in object) object {
	t.Helper()
	status, answer, err := call(s.Client(), s, s.Region, operation, in, time.Now())
	if err != nil || status != http.StatusOK {
		t.Fatalf("%s: %d %v %v", operation, status, answer, err)
	}
	return answer
}

func TestNewServer(t *testing.T) {
	t.Parallel()
	s := kmstest.NewServer(t)
	if s.Region != "us-east-1" || len(s.Account) != 12 {
		t.Errorf("Region %s, account %s", s.Region, s.Account)
	}
	key := must(t, s, "CreateKey", object{})["KeyMetadata"].(object)
	if want := fmt.Sprintf("arn:aws:kms:us-east-1:%s:key/%s", s.Account, key["KeyId"]); key["Arn"] != want {
		t.Errorf("the key is %s, want %s", key["Arn"], want)
	}
	blob := must(t, s, "Encrypt", object{"KeyId": key["KeyId"], "Plaintext": "aGVsbG8="})["CiphertextBlob"]
	if got := must(t, s, "Decrypt", object{"CiphertextBlob": blob})["Plaintext"]; got != "aGVsbG8=" {
		t.Errorf("Decrypt: %v", got)
	}

	// As strict as the real one: a signature is a signature.
	wrong := *s
	wrong.SecretAccessKey = strings.Repeat("x", 40)
	if status, answer, err := call(s.Client(), &wrong, s.Region, "ListKeys", object{}, time.Now()); err != nil || status != 400 || answer["__type"] != "InvalidSignatureException" {
		t.Errorf("a wrong secret: %d %v %v", status, answer, err)
	}
	if status, _, err := call(s.Client(), s, "eu-west-3", "ListKeys", object{}, time.Now()); err != nil || status != http.StatusOK {
		t.Errorf("another Region: %d %v", status, err)
	}
}

// TestTrust has clients of other making trust the server's certificate, and
// those that were told nothing refuse it.
func TestTrust(t *testing.T) {
	t.Parallel()
	s := kmstest.NewServer(t)
	file, err := os.ReadFile(s.CAFile)
	if err != nil || !bytes.Equal(file, s.CA) {
		t.Errorf("CAFile and CA differ (%v)", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(s.CA) {
		t.Fatal("CA has no certificate")
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	defer transport.CloseIdleConnections()
	if status, answer, err := call(&http.Client{Transport: transport}, s, s.Region, "ListKeys", object{}, time.Now()); err != nil || status != http.StatusOK {
		t.Errorf("%d %v %v", status, answer, err)
	}
	stranger := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: x509.NewCertPool()}}
	defer stranger.CloseIdleConnections()
	var unknown x509.UnknownAuthorityError
	if _, _, err := call(&http.Client{Transport: stranger}, s, s.Region, "ListKeys", object{}, time.Now()); !errors.As(err, &unknown) {
		t.Errorf("a client that was told nothing: %v", err)
	}
}

func TestOptions(t *testing.T) {
	t.Parallel()
	seed := filepath.Join(t.TempDir(), "seed.yaml")
	const text = `keys:
  - {account: "111122223333", region: eu-north-1, id: 1234abcd-12ab-34cd-56ef-1234567890ab, description: seeded}
`
	if err := os.WriteFile(seed, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var log synced
	s := kmstest.NewServer(t, kmstest.Region("eu-north-1"), kmstest.Account("111122223333"), kmstest.Seed(seed),
		kmstest.Log(slog.New(slog.NewTextHandler(&log, nil))))
	if s.Region != "eu-north-1" || s.Account != "111122223333" {
		t.Errorf("Region %s, account %s", s.Region, s.Account)
	}
	key := must(t, s, "DescribeKey", object{"KeyId": "1234abcd-12ab-34cd-56ef-1234567890ab"})["KeyMetadata"].(object)
	if want := "arn:aws:kms:eu-north-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"; key["Arn"] != want || key["Description"] != "seeded" {
		t.Errorf("the seeded key is %v", key)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if !strings.Contains(log.String(), "applied the seed") || !strings.Contains(log.String(), "msg=stopping") {
		t.Errorf("the log is %q", log.String())
	}
}

// synced is a buffer that may be written and read at once.
type synced struct {
	mu sync.Mutex
	b  strings.Builder
}

func (s *synced) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *synced) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// TestNow lets the waiting period of a key's deletion pass.
func TestNow(t *testing.T) {
	t.Parallel()
	var ahead atomic.Int64
	now := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	s := kmstest.NewServer(t, kmstest.Now(now))
	key := must(t, s, "CreateKey", object{})["KeyMetadata"].(object)["KeyId"]
	must(t, s, "ScheduleKeyDeletion", object{"KeyId": key, "PendingWindowInDays": 7})

	ahead.Store(int64(7*24*time.Hour + time.Minute))
	if status, answer, err := call(s.Client(), s, s.Region, "ListKeys", object{}, time.Now()); err != nil || status != 400 || answer["__type"] != "InvalidSignatureException" {
		t.Errorf("a request from a week ago: %d %v %v", status, answer, err)
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		status, answer, err := call(s.Client(), s, s.Region, "DescribeKey", object{"KeyId": key}, now())
		if err != nil {
			t.Fatal(err)
		}
		if status == 400 && answer["__type"] == "NotFoundException" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the key is still there: %d %v", status, answer)
		}
	}
}

// TestNowLongAgo has a clock that stands still, at a time when no certificate
// of today was good.
func TestNowLongAgo(t *testing.T) {
	t.Parallel()
	then := time.Date(2001, 9, 9, 1, 46, 40, 0, time.UTC)
	s := kmstest.NewServer(t, kmstest.Now(func() time.Time { return then }))
	status, answer, err := call(s.Client(), s, s.Region, "CreateKey", object{}, then)
	if err != nil || status != http.StatusOK {
		t.Fatalf("CreateKey: %d %v %v", status, answer, err)
	}
	if got := answer["KeyMetadata"].(object)["CreationDate"]; got != 1e9 {
		t.Errorf("the key was made at %v, want 1e9", got)
	}
}

// TestMany runs many servers at once, none of which knows the others' keys.
func TestMany(t *testing.T) {
	t.Parallel()
	const servers = 12
	keys := make([]string, servers)
	all := make([]*kmstest.Server, servers)
	var wg sync.WaitGroup
	for i := range servers {
		wg.Go(func() {
			s, err := kmstest.Start()
			if err != nil {
				t.Error(err)
				return
			}
			all[i] = s
			if status, answer, err := call(s.Client(), s, s.Region, "CreateKey", object{}, time.Now()); err != nil || status != http.StatusOK {
				t.Errorf("CreateKey: %d %v %v", status, answer, err)
			} else {
				keys[i], _ = answer["KeyMetadata"].(object)["KeyId"].(string)
			}
		})
	}
	wg.Wait()
	seen := make(map[string]bool)
	for i, s := range all {
		if s == nil || keys[i] == "" {
			continue
		}
		if seen[s.Endpoint] || seen[s.Account] || seen[s.AccessKeyID] || seen[keys[i]] {
			t.Errorf("server %d has something of another: %s %s %s %s", i, s.Endpoint, s.Account, s.AccessKeyID, keys[i])
		}
		seen[s.Endpoint], seen[s.Account], seen[s.AccessKeyID], seen[keys[i]] = true, true, true, true
		other := keys[(i+1)%servers]
		if status, answer, err := call(s.Client(), s, s.Region, "DescribeKey", object{"KeyId": other}, time.Now()); err != nil || answer["__type"] != "NotFoundException" {
			t.Errorf("another server's key: %d %v %v", status, answer, err)
		}
	}
	for _, s := range all {
		if s == nil {
			continue
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Errorf("closed again: %v", err)
		}
		if _, err := os.Stat(s.CAFile); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is left (%v)", s.CAFile, err)
		}
		if _, _, err := call(s.Client(), s, s.Region, "ListKeys", object{}, time.Now()); err == nil {
			t.Error("it answers after the end")
		}
	}
}

// recorder is a test that notes how it went.
type recorder struct {
	testing.TB
	cleanups []func()
	fatal    string
	errors   []string
}

func (r *recorder) Helper()          {}
func (r *recorder) Cleanup(f func()) { r.cleanups = append(r.cleanups, f) }
func (r *recorder) Errorf(format string, args ...any) {
	r.errors = append(r.errors, fmt.Sprintf(format, args...))
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.fatal = fmt.Sprintf(format, args...)
	panic(r)
}

// TestFailure fails the test that wants a server which can't be.
func TestFailure(t *testing.T) {
	t.Parallel()
	for want, option := range map[string]kmstest.Option{
		`account: "12" is not 12 digits`:      kmstest.Account("12"),
		`"Frankfurt" is not the name of`:      kmstest.Region("Frankfurt"),
		`reading the seed: open missing.yaml`: kmstest.Seed("missing.yaml"),
	} {
		r := &recorder{TB: t}
		func() {
			defer func() {
				if p := recover(); p != nil && p != any(r) {
					panic(p)
				}
			}()
			kmstest.NewServer(r, option)
		}()
		if !strings.HasPrefix(r.fatal, "kmstest: ") || !strings.Contains(r.fatal, want) {
			t.Errorf("the test failed with %q, want %q", r.fatal, want)
		}
		if len(r.cleanups) > 0 {
			t.Error("something is left to be cleaned up")
		}
	}
}

// TestCleanup ends the server with its test.
func TestCleanup(t *testing.T) {
	t.Parallel()
	var s *kmstest.Server
	t.Run("with a server", func(t *testing.T) {
		s = kmstest.NewServer(t)
		must(t, s, "ListKeys", object{})
	})
	if _, _, err := call(s.Client(), s, s.Region, "ListKeys", object{}, time.Now()); err == nil {
		t.Error("it answers after its test")
	}
}

func TestRequestQuotas(t *testing.T) {
	t.Parallel()
	s := kmstest.NewServer(t, kmstest.RequestQuotas(map[string]float64{"CreateKey": 0.001}))
	must(t, s, "CreateKey", object{})
	must(t, s, "ListKeys", object{})
	must(t, s, "ListKeys", object{})
	status, answer, err := call(s.Client(), s, s.Region, "CreateKey", object{}, time.Now())
	if err != nil || status != http.StatusBadRequest || answer["__type"] != "ThrottlingException" {
		t.Errorf("the second key: %d %v %v, want a ThrottlingException", status, answer, err)
	}
	if _, err := kmstest.Start(kmstest.RequestQuotas(map[string]float64{"Encrypt": 1})); err == nil {
		t.Error("a server starts with a quota that there is not")
	}
}
