package loadgen_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/loadgen"
	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/internal/sigv4"
)

// child makes the test binary one of the servers that Compare starts.
const child = "LOADGEN_TEST_CHILD"

func TestMain(m *testing.M) {
	switch os.Getenv(child) {
	case "bare":
		if err := loadgen.ServeBare(context.Background(), os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	case "kms":
		srv := httptest.NewServer(&fakeKMS{key: sigv4.NewKey(secret.New([]byte("key")))})
		fmt.Println(srv.URL)
		_, _ = io.Copy(io.Discard, os.Stdin)
	case "broken":
		fmt.Fprintln(os.Stderr, "out of order")
		os.Exit(1)
	default:
		os.Exit(m.Run())
	}
}

// fakeKMS answers like a KMS and counts what it was asked.
type fakeKMS struct {
	key                        *sigv4.Key
	created, decrypted, signed atomic.Int64
	fail                       atomic.Bool
	chunked                    bool
	closes                     bool
}

func (f *fakeKMS) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	var in map[string]any
	if json.Unmarshal(body, &in) != nil || r.ContentLength != int64(len(body)) {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	if a, err := sigv4.Parse(r); err == nil && f.key.Verify(&a, r, body) == nil && a.Service == "kms" {
		f.signed.Add(1)
	}
	if f.closes {
		w.Header().Set("Connection", "close")
	}
	if f.chunked {
		_ = http.NewResponseController(w).Flush()
	}
	answer := map[string]any{}
	switch strings.TrimPrefix(r.Header.Get("X-Amz-Target"), "TrentService.") {
	case "CreateKey":
		answer["KeyMetadata"] = map[string]any{"KeyId": fmt.Sprintf("key-%d", f.created.Add(1))}
	case "Encrypt":
		answer["CiphertextBlob"] = []byte("blob")
	case "Decrypt":
		if in["CiphertextBlob"] != "YmxvYg==" || f.fail.Load() {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		f.decrypted.Add(1)
	}
	_ = json.NewEncoder(w).Encode(answer)
}

func credentials() sigv4.Credentials {
	return sigv4.Credentials{AccessKeyID: "AKIA1", Key: sigv4.NewKey(secret.New([]byte("key")))}
}

func start(t *testing.T, f *fakeKMS) loadgen.Target {
	t.Helper()
	f.key = sigv4.NewKey(secret.New([]byte("key")))
	srv := httptest.NewServer(f)
	t.Cleanup(srv.Close)
	return loadgen.Target{URL: srv.URL, Credentials: credentials()}
}

// run returns the results of a run as JSON objects.
func run(t *testing.T, c loadgen.Config) ([]loadgen.Result, error) {
	t.Helper()
	c.JSON = true
	var out bytes.Buffer
	err := loadgen.Run(context.Background(), c, &out)
	var results []loadgen.Result
	for d := json.NewDecoder(&out); d.More(); {
		var r loadgen.Result
		if err := d.Decode(&r); err != nil {
			t.Fatal(err)
		}
		results = append(results, r)
	}
	return results, err
}

func TestArguments(t *testing.T) {
	target := loadgen.Target{URL: "http://127.0.0.1:1", Credentials: credentials()}
	tests := []struct {
		name   string
		change func(c *loadgen.Config)
		want   string
	}{
		{"operation", func(c *loadgen.Config) { c.Requests.Operation = "Frobnicate" }, `unknown operation "Frobnicate"`},
		{"concurrency", func(c *loadgen.Config) { c.Load.Concurrency = -1 }, "at least 1"},
		{"keys", func(c *loadgen.Config) { c.Requests.Keys = -1 }, "at least 1"},
		{"duration", func(c *loadgen.Config) { c.Load.Duration = -1 }, "must not be negative"},
		{"rate", func(c *loadgen.Config) { c.Load.Rate = -1 }, "must not be negative"},
		{"count", func(c *loadgen.Config) { c.Load.Count = 3 }, "at least the concurrency"},
		{"sign", func(c *loadgen.Config) { c.Load.Sign = "twice" }, `unknown way to sign "twice"`},
		{"order", func(c *loadgen.Config) { c.Load.Order = "upwards" }, `unknown order "upwards"`},
		{"credentials", func(c *loadgen.Config) { c.Target.Credentials = sigv4.Credentials{} }, "no credentials"},
		{"key and keys", func(c *loadgen.Config) { c.Requests.KeyID, c.Requests.Keys = "k", 2 }, "cannot be spread"},
		{"keys out", func(c *loadgen.Config) { c.Requests.KeysOut = "f" }, "only CreateKey"},
		{"URL", func(c *loadgen.Config) { c.Target.URL = "ftp://x" }, "not an http or https URL"},
		{"CA", func(c *loadgen.Config) { c.Target.URL, c.Target.CA = "https://x", []byte("no") }, "no certificate"},
		{"keys file", func(c *loadgen.Config) { c.Requests.KeysFile = "/nonexistent" }, "no such file"},
		{"header", func(c *loadgen.Config) {
			c.Requests.Operation, c.Requests.Raw.Headers = "Raw", []string{"no colon"}
		}, "is not 'Name: value'"},
		{"no server", func(*loadgen.Config) {}, "connection refused"},
		{"no process", func(c *loadgen.Config) {
			c.Requests.Operation, c.Load.Count, c.Target.PIDs = "Raw", 8, []int{1 << 30}
		}, "server process 1073741824"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := loadgen.Config{Target: target}
			tt.change(&c)
			if _, err := run(t, c); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
		})
	}
}

func TestCountedRun(t *testing.T) {
	for _, sign := range []string{"each", "once", "none"} {
		t.Run(sign, func(t *testing.T) {
			f := &fakeKMS{}
			results, err := run(t, loadgen.Config{
				Target:   start(t, f),
				Load:     loadgen.Load{Count: 50, Concurrency: 4, Order: "sequence", Sign: sign},
				Requests: loadgen.Requests{Operation: "Decrypt", Keys: 3, Size: 32, Context: map[string]string{"a": "b"}},
			})
			if err != nil || len(results) != 1 || results[0].Operations != 50 || results[0].Errors != 0 {
				t.Fatalf("%+v, %v", results, err)
			}
			signed := int64(3 + 3 + 51) // keys, ciphertexts, and a trial
			if sign == "none" {
				signed = 0
			}
			if f.created.Load() != 3 || f.decrypted.Load() != 51 || f.signed.Load() != signed {
				t.Errorf("created %d, decrypted %d, signed %d, want 3, 51, %d", f.created.Load(), f.decrypted.Load(), f.signed.Load(), signed)
			}
		})
	}
}

// Answers of unknown length, and connections that the server closes.
func TestOtherAnswers(t *testing.T) {
	for name, f := range map[string]*fakeKMS{"chunked": {chunked: true}, "closing": {closes: true}} {
		t.Run(name, func(t *testing.T) {
			results, err := run(t, loadgen.Config{
				Target: start(t, f), Load: loadgen.Load{Count: 20, Concurrency: 2}, Requests: loadgen.Requests{Operation: "Decrypt"},
			})
			if err != nil || results[0].Operations != 20 {
				t.Fatalf("%+v, %v", results, err)
			}
			if reconnects := results[0].Reconnects; f.closes != (reconnects > 0) {
				t.Errorf("%d reconnects", reconnects)
			}
		})
	}
}

func TestEveryOperationIsSent(t *testing.T) {
	for _, o := range loadgen.Operations() {
		f := &fakeKMS{}
		target := start(t, f)
		c := loadgen.Config{Target: target, Load: loadgen.Load{Count: 4, Concurrency: 2, NewConnections: true}, Requests: loadgen.Requests{Operation: o, Size: 16}}
		c.Requests.Raw = loadgen.Raw{Path: "/{i}", Body: `{"a":"{payload}"}`, Headers: []string{"X-A: b"}}
		if results, err := run(t, c); err != nil || results[0].Operations != 4 {
			t.Errorf("%s: %+v, %v", o, results, err)
		}
	}
}

func TestRawRequest(t *testing.T) {
	var got []string
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = append(got, fmt.Sprintf("%s %s %s %s", r.Method, r.URL.Path, r.Header["X-A"], body))
	}))
	defer srv.Close()
	c := loadgen.Config{Target: loadgen.Target{URL: srv.URL + "/base"}, Load: loadgen.Load{Count: 2, Concurrency: 1, Order: "sequence"}}
	c.Requests = loadgen.Requests{Operation: "Raw", Keys: 2, Size: 3, Raw: loadgen.Raw{Method: "PUT", Path: "/k{i}", Body: "{i}{payload}", Headers: []string{"X-A: b", "X-A: c"}}}
	if _, err := run(t, c); err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || !strings.HasPrefix(got[0], "PUT /base/k0 [b c] 0") || !strings.HasPrefix(got[1], "PUT /base/k1 [b c] 1") || len(got[0]) != len("PUT /base/k0 [b c] 0")+4 {
		t.Errorf("requests %q", got)
	}
}

func TestKeyFiles(t *testing.T) {
	file := filepath.Join(t.TempDir(), "keys")
	f := &fakeKMS{}
	c := loadgen.Config{Target: start(t, f), Load: loadgen.Load{Count: 20, Concurrency: 3}, Requests: loadgen.Requests{Operation: "CreateKey", KeysOut: file}}
	if _, err := run(t, c); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil || strings.Count(string(text), "key-") != 20 || f.created.Load() != 20 {
		t.Errorf("%q, %d keys, %v", text, f.created.Load(), err)
	}
	c.Requests = loadgen.Requests{Operation: "DescribeKey", KeysFile: file}
	if results, err := run(t, c); err != nil || results[0].Operations != 20 || f.created.Load() != 20 {
		t.Errorf("with the keys of a file: %+v, %v, %d keys", results, err, f.created.Load())
	}
}

func TestErrorsAreCounted(t *testing.T) {
	f := &fakeKMS{}
	c := loadgen.Config{Target: start(t, f), Load: loadgen.Load{Count: 10, Concurrency: 1}, Requests: loadgen.Requests{Operation: "Decrypt"}}
	// It fails after the trial.
	c.Show = writerFunc(func([]byte) { f.fail.Store(true) })
	results, err := run(t, c)
	if !errors.Is(err, loadgen.ErrFailed) || len(results) != 1 || results[0].Errors != 10 || results[0].Operations != 0 || !strings.Contains(results[0].FirstError, "400") {
		t.Errorf("%+v, %v", results, err)
	}
}

type writerFunc func([]byte)

func (f writerFunc) Write(p []byte) (int, error) {
	f(p)
	return len(p), nil
}

func TestOpenLoopKeepsTheRate(t *testing.T) {
	target := start(t, &fakeKMS{})
	// A busy machine may let a worker oversleep the end of a run: then fewer are
	// sent, but not every time; and never more.
	for try := 1; ; try++ {
		results, err := run(t, loadgen.Config{
			Target: target, Load: loadgen.Load{Duration: 500 * time.Millisecond, Rate: 200, Concurrency: 4, Runs: 3},
			Requests: loadgen.Requests{Operation: "Decrypt"},
		})
		if err != nil || len(results) != 4 || !results[3].Median {
			t.Fatalf("%d results, %v", len(results), err)
		}
		few := false
		for _, r := range results {
			if r.Operations > 105 {
				t.Fatalf("%d operations at 200/s in 500 ms", r.Operations)
			}
			few = few || r.Operations < 80
		}
		if !few {
			return
		}
		if try == 20 {
			t.Fatalf("too few operations at 200/s in 500 ms: %+v", results)
		}
	}
}

func TestCancelledRun(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	begin := time.Now()
	_ = loadgen.Run(ctx, loadgen.Config{Target: start(t, &fakeKMS{}), Load: loadgen.Load{Duration: time.Hour}}, io.Discard)
	if d := time.Since(begin); d > 10*time.Minute {
		t.Errorf("took %v to end", d)
	}
}

func TestHistogram(t *testing.T) {
	var a, b loadgen.Histogram
	for i := 1; i <= 1000; i++ {
		h := &a
		if i%2 == 0 {
			h = &b
		}
		h.Add(time.Duration(i) * time.Microsecond)
	}
	a.Merge(&b)
	for q, want := range map[float64]time.Duration{0: 1, 0.001: 1, 0.5: 500, 0.95: 950, 0.99: 990, 0.999: 999, 1: 1000} {
		want *= time.Microsecond
		if got := a.Quantile(q); got < want || got > want+want/64 {
			t.Errorf("quantile %v = %v, want %v to 1/64 more", q, got, want)
		}
	}
	var none loadgen.Histogram
	if got := none.Quantile(0.5); got != 0 {
		t.Errorf("quantile of nothing = %v", got)
	}
}

func TestBuckets(t *testing.T) {
	last := -1
	for shift := range 63 {
		for _, v := range []uint64{1 << shift, 1<<shift + 1, 3 << shift / 2, 1<<(shift+1) - 1} {
			b := loadgen.Bucket(v)
			if v > 2 && b < last {
				t.Errorf("bucket of %d is %d, below that of a lower value", v, b)
			}
			last = b
			if u := loadgen.Upper(b); u < v || u > v+v/64 || loadgen.Bucket(u) != b || u < math.MaxInt64 && loadgen.Bucket(u+1) != b+1 {
				t.Errorf("%d is in bucket %d, which ends at %d", v, b, u)
			}
		}
	}
}

func TestMedian(t *testing.T) {
	for _, tt := range []struct {
		values []float64
		want   float64
	}{{nil, 0}, {[]float64{3}, 3}, {[]float64{3, 1}, 2}, {[]float64{9, 1, 2}, 2}} {
		if got := loadgen.Median(tt.values); got != tt.want {
			t.Errorf("median of %v = %v, want %v", tt.values, got, tt.want)
		}
	}
}

// startChild starts this test binary as a server.
func startChild(t *testing.T, kind string, start func(*exec.Cmd) error) (cmd *exec.Cmd, firstLine string, stop func() error) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd = exec.Command(self)
	cmd.Env = append(os.Environ(), child+"="+kind)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := start(cmd); err != nil {
		t.Fatal(err)
	}
	firstLine, err = bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return cmd, firstLine, func() error { return errors.Join(in.Close(), cmd.Wait()) }
}

func TestBareServer(t *testing.T) {
	cmd, line, stop := startChild(t, "bare", (*exec.Cmd).Start)
	var a loadgen.Announcement
	if err := json.Unmarshal([]byte(line), &a); err != nil {
		t.Fatal(err)
	}
	var shown bytes.Buffer
	c := loadgen.Config{
		Target: loadgen.Target{URL: a.URL, CA: []byte(a.CA)}, Load: loadgen.Load{Duration: 500 * time.Millisecond, Concurrency: 4},
		Requests: loadgen.Requests{Operation: "Raw", Size: 32, Raw: loadgen.Raw{Body: "{payload}"}}, Show: &shown,
	}
	if runtime.GOOS == "linux" {
		c.Target.PIDs = []int{cmd.Process.Pid}
	}
	results, err := run(t, c)
	if err != nil || results[0].Operations < 1 || runtime.GOOS == "linux" && results[0].ServerRSS < 1 {
		t.Errorf("%+v, %v", results, err)
	}
	description, body, _ := strings.Cut(shown.String(), "\n")
	if description != "TLS 1.3, TLS_AES_128_GCM_SHA256, X25519MLKEM768" || len(body) != 301 {
		t.Errorf("%s and an answer of %d bytes", description, len(body)-1)
	}
	c.Target.CA = nil
	if _, err := run(t, c); err == nil {
		t.Error("a certificate that nobody vouches for was accepted")
	}
	if err := stop(); err != nil {
		t.Errorf("after the end of its input: %v", err)
	}
}

func TestCompare(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs /proc")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(child, "bare") // for the bare server
	stopped := false
	c := loadgen.CompareConfig{
		Bare: []string{self},
		Start: func(_ context.Context, start func(*exec.Cmd) error) (*loadgen.Target, func() error, error) {
			cmd, line, stop := startChild(t, "kms", start)
			return &loadgen.Target{URL: strings.TrimSpace(line), Credentials: credentials(), PIDs: []int{cmd.Process.Pid}},
				func() error { stopped = true; return stop() }, nil
		},
		Operations: []string{"GenerateDataKey", "Sign-P256", "ListKeys", "CreateKey"}, Keys: 20,
		Duration: 100 * time.Millisecond, Rounds: 2, Concurrency: 4, JSON: true,
	}
	procs := runtime.GOMAXPROCS(0)
	var out bytes.Buffer
	compare := func() (all []loadgen.Comparison, tooShort bool) {
		out.Reset()
		if err := loadgen.Compare(context.Background(), c, &out); err != nil {
			t.Fatal(err)
		}
		for d := json.NewDecoder(&out); d.More(); {
			var r loadgen.Comparison
			if err := d.Decode(&r); err != nil {
				t.Fatal(err)
			}
			all = append(all, r)
			tooShort = tooShort || r.Server == 0 || r.Bare == 0 || r.OpsPerSecond == 0 || r.Operation == "Sign-P256" && r.Signature == 0
		}
		return all, tooShort
	}
	// The system counts the time of other processes in hundredths of a second,
	// of which a busy machine may give them none in a short run.
	all, tooShort := compare()
	for tooShort && c.Duration < 10*time.Second {
		c.Duration *= 4
		all, tooShort = compare()
	}
	var got []string
	for _, r := range all {
		got = append(got, r.Operation+" "+strconv.Itoa(r.Keys))
		if r.Server <= 0 || r.Bare <= 0 || r.Ratio <= 0 || r.RatioMin > r.Ratio || r.RatioMax < r.Ratio || r.OpsPerSecond <= 0 || r.P50 <= 0 || r.Errors != 0 {
			t.Errorf("implausible: %+v", r)
		}
		if (r.Operation == "Sign-P256") != (r.Signature > 0) {
			t.Errorf("%s: signature of %v µs", r.Operation, r.Signature)
		}
	}
	if want := "GenerateDataKey 0, Sign-P256 0, ListKeys 0, CreateKey 0, GenerateDataKey 20, ListKeys 0"; strings.Join(got, ", ") != want {
		t.Errorf("compared %s, want %s", got, want)
	}
	if !stopped || runtime.GOMAXPROCS(0) != procs {
		t.Errorf("stopped %v, GOMAXPROCS %d, before %d", stopped, runtime.GOMAXPROCS(0), procs)
	}

	// As text, and with a server that is there.
	cmd, line, stop := startChild(t, "kms", (*exec.Cmd).Start)
	c.Start, c.JSON, c.Operations, c.Rounds = nil, false, []string{"DescribeKey"}, 1
	c.Target = loadgen.Target{URL: strings.TrimSpace(line), Credentials: credentials(), PIDs: []int{cmd.Process.Pid}}
	out.Reset()
	if err := loadgen.Compare(context.Background(), c, &out); err != nil || !strings.Contains(out.String(), "\nDescribeKey ") {
		t.Errorf("%v\n%s", err, out.String())
	}
	t.Logf("\n%s", out.String())
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestCompareRefuses(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(child, "broken")
	target := loadgen.Target{URL: "http://127.0.0.1:1", Credentials: credentials(), PIDs: []int{os.Getpid()}}
	for want, c := range map[string]loadgen.CompareConfig{
		"no command for the bare server": {Target: target},
		"process id is needed":           {Bare: []string{self}},
		"unknown operation":              {Bare: []string{self}, Target: target, Operations: []string{"x"}},
		"must be at least 1":             {Bare: []string{self}, Target: target, Rounds: -1},
		"out of order":                   {Bare: []string{self}, Target: target, NoPin: true},
	} {
		if err := loadgen.Compare(context.Background(), c, io.Discard); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
}
