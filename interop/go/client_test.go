package interop

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"
)

// routed are the operations that the server answers.
var routed = []string{
	"CancelKeyDeletion", "CreateAlias", "CreateGrant", "CreateKey", "Decapsulate", "Decrypt", "DeleteAlias", "DeleteImportedKeyMaterial", "DeriveSharedSecret", "DescribeKey",
	"DisableKey", "DisableKeyRotation", "EnableKey", "EnableKeyRotation", "Encapsulate", "Encrypt", "GenerateDataKey", "GenerateDataKeyPair",
	"GenerateDataKeyPairWithoutPlaintext", "GenerateDataKeyWithoutPlaintext", "GenerateMac", "GenerateRandom", "GetKeyLastUsage", "GetKeyPolicy",
	"GetKeyRotationStatus", "GetParametersForImport", "GetPublicKey", "ImportKeyMaterial", "ListAliases", "ListGrants", "ListKeyPolicies", "ListKeyRotations", "ListKeys", "ListResourceTags",
	"ListRetirableGrants", "PutKeyPolicy", "ReEncrypt", "ReplicateKey", "RetireGrant", "RevokeGrant", "RotateKeyOnDemand", "ScheduleKeyDeletion", "Sign", "TagResource",
	"UntagResource", "UpdateAlias", "UpdateKeyDescription", "UpdatePrimaryRegion", "Verify", "VerifyMac",
}

// operations returns the names of all operations that the SDK knows: the
// methods of its client that take a context and options.
func operations() []string {
	var names []string
	for m := range reflect.TypeFor[*kms.Client]().Methods() {
		if m.Type.NumIn() == 4 && m.Type.NumOut() == 2 {
			names = append(names, m.Name)
		}
	}
	return names
}

// environment returns a variable that interop/with-server sets.
func environment(t testing.TB, name string) string {
	t.Helper()
	value := os.Getenv(name)
	if value == "" {
		t.Fatalf("%s is not set: run these tests by interop/with-server", name)
	}
	return value
}

// endpoint returns the server's address, and makes sure that it is on this
// machine: no test here may ever talk to AWS.
func endpoint(t testing.TB) *url.URL {
	t.Helper()
	u, err := url.Parse(environment(t, "AWS_ENDPOINT_URL"))
	if err != nil {
		t.Fatal(err)
	}
	if host := u.Hostname(); host != "127.0.0.1" && host != "localhost" {
		t.Fatalf("the endpoint %s is not on this machine", u)
	}
	return u
}

// succeeded are the operations that some test called with success.
var (
	succeeded   = make(map[string]bool)
	succeededMu sync.Mutex
)

// settings returns the SDK's configuration made from the environment alone, as
// a user's program would make it.
func settings(t testing.TB) aws.Config {
	t.Helper()
	endpoint(t)
	cfg, err := config.LoadDefaultConfig(t.Context(), config.WithRetryMaxAttempts(1))
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// client returns a KMS client with the credentials of the environment.
func client(t testing.TB) *kms.Client {
	t.Helper()
	return clientOf(settings(t))
}

// clientOf returns a KMS client that notes what it calls with success.
func clientOf(cfg aws.Config) *kms.Client {
	note := middleware.InitializeMiddlewareFunc("note", func(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (
		middleware.InitializeOutput, middleware.Metadata, error,
	) {
		out, metadata, err := next.HandleInitialize(ctx, in)
		if err == nil {
			succeededMu.Lock()
			succeeded[middleware.GetOperationName(ctx)] = true
			succeededMu.Unlock()
		}
		return out, metadata, err
	})
	return kms.NewFromConfig(cfg, func(o *kms.Options) {
		o.APIOptions = append(o.APIOptions, func(s *middleware.Stack) error { return s.Initialize.Add(note, middleware.After) })
	})
}

// wantCode fails the test unless err is an answer of the server with a code.
func wantCode(t testing.TB, what string, err error, code string) smithy.APIError {
	t.Helper()
	var answer smithy.APIError
	if !errors.As(err, &answer) {
		t.Errorf("%s: error = %v, want %s", what, err, code)
		return nil
	}
	if answer.ErrorCode() != code {
		t.Errorf("%s: error = %s %q, want %s", what, answer.ErrorCode(), answer.ErrorMessage(), code)
	}
	return answer
}

// caller sends requests that the SDK would not make.
type caller struct {
	url         *url.URL
	region      string
	credentials aws.Credentials
	http        *http.Client
}

func newCaller(t testing.TB) *caller {
	t.Helper()
	return &caller{
		url:    endpoint(t),
		region: environment(t, "AWS_REGION"),
		credentials: aws.Credentials{
			AccessKeyID: environment(t, "AWS_ACCESS_KEY_ID"), SecretAccessKey: environment(t, "AWS_SECRET_ACCESS_KEY"),
		},
		http: &http.Client{Timeout: time.Minute, Transport: &http.Transport{TLSClientConfig: tlsConfig(t), ForceAttemptHTTP2: true}},
	}
}

func tlsConfig(t testing.TB) *tls.Config {
	t.Helper()
	pem, err := os.ReadFile(environment(t, "AWS_CA_BUNDLE"))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		t.Fatal("the CA bundle holds no certificate")
	}
	return &tls.Config{RootCAs: pool}
}

// request makes an unsigned request for an operation.
func (c *caller) request(t testing.TB, operation string, body []byte) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, c.url.String()+"/", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-amz-json-1.1")
	req.Header.Set("X-Amz-Target", "TrentService."+operation)
	return req
}

// sign signs a request with the SDK's own signer.
func (c *caller) sign(t testing.TB, req *http.Request, body []byte, at time.Time) {
	t.Helper()
	sum := sha256.Sum256(body)
	if err := v4.NewSigner().SignHTTP(t.Context(), c.credentials, req, hex.EncodeToString(sum[:]), "kms", c.region, at); err != nil {
		t.Fatal(err)
	}
}

// answer is what the server said: Type is empty for a success.
type answer struct {
	Status  int
	Type    string
	Message string
	Body    []byte
	Header  http.Header
}

// send sends a request and reads the answer.
func (c *caller) send(t testing.TB, req *http.Request) answer {
	t.Helper()
	resp, err := c.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	a := answer{Status: resp.StatusCode, Body: body, Header: resp.Header}
	if resp.StatusCode != http.StatusOK {
		var fault struct {
			Type         string `json:"__type"`
			Message      string `json:"message"`
			MessageUpper string `json:"Message"`
		}
		if err := json.Unmarshal(body, &fault); err != nil {
			t.Fatalf("status %d with a body that is no error: %q", resp.StatusCode, body)
		}
		a.Type = fault.Type
		a.Message = fault.Message
		if a.Message == "" {
			a.Message = fault.MessageUpper
		}
	}
	if resp.Header.Get("X-Amzn-Requestid") == "" {
		t.Errorf("answer %d %q has no request id", a.Status, a.Body)
	}
	return a
}

// call signs and sends a body to an operation.
func (c *caller) call(t testing.TB, operation, body string) answer {
	t.Helper()
	req := c.request(t, operation, []byte(body))
	c.sign(t, req, []byte(body), time.Now())
	return c.send(t, req)
}

func TestUnrouted(t *testing.T) {
	c := newCaller(t)
	all := operations()
	if len(all) != 56 {
		t.Errorf("the SDK has %d operations, want 56: %v", len(all), all)
	}
	for _, operation := range routed {
		if !slices.Contains(all, operation) {
			t.Errorf("the SDK does not know %s", operation)
		}
	}
	for _, operation := range all {
		a := c.call(t, operation, "{}")
		isRouted := a.Type != "UnknownOperationException"
		if want := slices.Contains(routed, operation); isRouted != want {
			t.Errorf("%s: answer %d %s, routed = %v, want %v", operation, a.Status, a.Type, isRouted, want)
		}
		if !isRouted && a.Status != http.StatusBadRequest {
			t.Errorf("%s: status %d, want 400", operation, a.Status)
		}
	}
}

func TestBadInput(t *testing.T) {
	c := newCaller(t)
	key, err := client(t).CreateKey(t.Context(), &kms.CreateKeyInput{})
	if err != nil {
		t.Fatal(err)
	}
	id := *key.KeyMetadata.KeyId
	for name, tt := range map[string]struct {
		operation, body, code, text string
	}{
		"not JSON":               {"ListKeys", "Limit=1", "SerializationException", ""},
		"half JSON":              {"ListKeys", `{"Limit":1`, "SerializationException", ""},
		"more than one":          {"ListKeys", `{}{}`, "SerializationException", ""},
		"a list":                 {"ListKeys", `[]`, "SerializationException", ""},
		"wrong type":             {"ListKeys", `{"Limit":"one"}`, "SerializationException", ""},
		"wrong type of a blob":   {"Encrypt", `{"KeyId":"` + id + `","Plaintext":1}`, "SerializationException", ""},
		"not base64":             {"Encrypt", `{"KeyId":"` + id + `","Plaintext":"***"}`, "SerializationException", ""},
		"nested arrays":          {"ListKeys", `{"Limit":` + strings.Repeat("[", 10000) + strings.Repeat("]", 10000) + `}`, "SerializationException", ""},
		"nested unknown":         {"ListKeys", `{"Other":` + strings.Repeat("[", 10000) + strings.Repeat("]", 10000) + `}`, "SerializationException", ""},
		"unknown target":         {"Nothing", `{}`, "UnknownOperationException", ""},
		"empty target":           {"", `{}`, "UnknownOperationException", ""},
		"missing member":         {"Decrypt", `{}`, "ValidationException", ""},
		"null member":            {"DescribeKey", `{"KeyId":null}`, "ValidationException", "1 validation error detected: Value null at 'keyId' failed to satisfy constraint: Member must not be null"},
		"too small":              {"ListKeys", `{"Limit":0}`, "ValidationException", "1 validation error detected: Value '0' at 'limit' failed to satisfy constraint: Member must have value greater than or equal to 1"},
		"two errors":             {"ListKeys", `{"Limit":0,"Marker":""}`, "ValidationException", "2 validation errors detected: "},
		"one byte of ciphertext": {"Decrypt", `{"CiphertextBlob":"+g=="}`, "InvalidCiphertextException", ""},
		"no ciphertext":          {"Decrypt", `{"CiphertextBlob":""}`, "ValidationException", ""},
	} {
		a := c.call(t, tt.operation, tt.body)
		if a.Status != http.StatusBadRequest || a.Type != tt.code || !strings.HasPrefix(a.Message, tt.text) {
			t.Errorf("%s: answer %d %s %q, want 400 %s %q", name, a.Status, a.Type, a.Message, tt.code, tt.text)
		}
	}
}

func TestLargeBody(t *testing.T) {
	c := newCaller(t)
	body := []byte(`{"Marker":"` + strings.Repeat("x", 10<<20) + `"}`)
	req := c.request(t, "ListKeys", body)
	c.sign(t, req, body, time.Now())
	resp, err := c.http.Do(req)
	if err != nil {
		// The server may answer and close before it has read ten megabytes.
		t.Logf("the server hung up: %v", err)
	} else {
		defer resp.Body.Close()
		if resp.StatusCode/100 != 4 {
			t.Errorf("status %d, want 4xx", resp.StatusCode)
		}
	}
	if a := c.call(t, "ListKeys", "{}"); a.Status != http.StatusOK {
		t.Errorf("after a large body: %d %s", a.Status, a.Type)
	}
}

func TestTLS(t *testing.T) {
	cfg := tlsConfig(t)
	for name, curves := range map[string][]tls.CurveID{
		"by default":   nil,
		"if offered":   {tls.X25519, tls.X25519MLKEM768},
		"if demanded":  {tls.X25519MLKEM768},
		"only classic": {tls.X25519},
	} {
		cfg := cfg.Clone()
		cfg.CurvePreferences = curves
		conn, err := tls.Dial("tcp", endpoint(t).Host, cfg)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		state := conn.ConnectionState()
		_ = conn.Close()
		want := tls.X25519MLKEM768
		if name == "only classic" {
			want = tls.X25519
		}
		if state.CurveID != want {
			t.Errorf("%s: key exchange %v, want %v", name, state.CurveID, want)
		}
		if state.Version != tls.VersionTLS13 {
			t.Errorf("%s: version %s, want TLS 1.3", name, tls.VersionName(state.Version))
		}
	}
}
