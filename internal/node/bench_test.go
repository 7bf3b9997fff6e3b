package node_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/node"
	"github.com/keyreeve/keyreeve/internal/server"
	"github.com/keyreeve/keyreeve/internal/sigv4"
)

// A bed is a node on a real store with one key, and requests for it.
type bed struct {
	n      *node.Node
	creds  sigv4.Credentials
	client *http.Client
	region string
	url    string
}

func newBed(t testing.TB, change ...func(*node.Config)) *bed {
	t.Helper()
	dir := t.TempDir()
	var c node.Config
	for _, f := range change {
		f(&c)
	}
	c.Data, c.Listen, c.Private = dir+"/data", "127.0.0.1:0", "off"
	c.SetDefaults()
	ctx, cancel := context.WithCancel(t.Context())
	n, err := node.Open(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- n.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	key, err := n.Administrator(ctx)
	if err != nil {
		t.Fatal(err)
	}
	pem, err := os.ReadFile(n.AuthorityFile())
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, MaxIdleConnsPerHost: 256}
	t.Cleanup(transport.CloseIdleConnections)
	return &bed{
		n: n, creds: sigv4.Credentials{AccessKeyID: key.ID, Key: sigv4.NewKey(key.Secret)},
		client: &http.Client{Transport: transport}, region: c.Region, url: n.Endpoint() + "/",
	}
}

// request returns a signed request, whose body can be sent again.
func (b *bed) request(t testing.TB, operation, body string) *http.Request {
	t.Helper()
	r, err := http.NewRequest(http.MethodPost, b.url, bytes.NewReader([]byte(body)))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-amz-json-1.1")
	r.Header.Set("X-Amz-Target", "TrentService."+operation)
	b.creds.Sign(r, []byte(body), b.region, "kms", time.Now())
	return r
}

// call calls an operation and decodes its answer into out.
func (b *bed) call(t testing.TB, operation, body string, out any) {
	t.Helper()
	answer, err := b.client.Do(b.request(t, operation, body))
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	if answer.StatusCode != http.StatusOK {
		t.Fatalf("%s: %d %s", operation, answer.StatusCode, text)
	}
	if err := json.Unmarshal(text, out); err != nil {
		t.Fatalf("%s: %v in %s", operation, err, text)
	}
}

// decrypt makes a key and a ciphertext and returns the body of a Decrypt.
func (b *bed) decrypt(t testing.TB) string {
	t.Helper()
	var made struct{ KeyMetadata struct{ KeyId string } }
	b.call(t, "CreateKey", `{}`, &made)
	var encrypted struct{ CiphertextBlob []byte }
	plaintext := base64.StdEncoding.EncodeToString(make([]byte, 32))
	b.call(t, "Encrypt", `{"KeyId":"`+made.KeyMetadata.KeyId+`","Plaintext":"`+plaintext+`","EncryptionContext":{"purpose":"bench"}}`, &encrypted)
	return `{"CiphertextBlob":"` + base64.StdEncoding.EncodeToString(encrypted.CiphertextBlob) + `","EncryptionContext":{"purpose":"bench"}}`
}

// BenchmarkDecrypt is a warm Decrypt over TLS from end to end, the client's
// work included, beside BenchmarkBare, which is the same without Keyreeve.
// What a server's CPU costs alone, `keyreeve bench compare` tells.
func BenchmarkDecrypt(b *testing.B) {
	d := newBed(b)
	r := d.request(b, "Decrypt", d.decrypt(b))
	roundTrips(b, d.client, r)
}

// BenchmarkBare is a net/http server with the same TLS settings that reads the
// body and answers 300 bytes.
func BenchmarkBare(b *testing.B) {
	d := newBed(b)
	answer := make([]byte, 300)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = w.Write(answer)
	}))
	s.TLS = server.TLSConfig(nil)
	s.StartTLS()
	defer s.Close()
	r := d.request(b, "Decrypt", d.decrypt(b))
	bare, err := http.NewRequest(http.MethodPost, s.URL, nil)
	if err != nil {
		b.Fatal(err)
	}
	bare.Header, bare.GetBody, bare.ContentLength = r.Header, r.GetBody, r.ContentLength
	roundTrips(b, s.Client(), bare)
}

func roundTrips(b *testing.B, client *http.Client, r *http.Request) {
	b.Helper()
	b.ReportAllocs()
	for b.Loop() {
		r := r.Clone(b.Context())
		r.Body, _ = r.GetBody()
		answer, err := client.Do(r)
		if err != nil {
			b.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, answer.Body)
		_ = answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			b.Fatal(answer.Status)
		}
	}
}

// A discard is an answer that nobody reads.
type discard struct {
	header http.Header
	status int
}

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) Write(b []byte) (int, error) { return len(b), nil }
func (d *discard) WriteHeader(status int)      { d.status = status }

// door returns a function that puts a warm Decrypt through the node's handler,
// without a connection.
func door(t testing.TB, d *bed) func() {
	t.Helper()
	r := d.request(t, "Decrypt", d.decrypt(t))
	r.RemoteAddr, r.RequestURI = "127.0.0.1:40000", "/"
	r.Host = r.URL.Host
	r.URL.Scheme, r.URL.Host = "", ""
	handler := d.n.Handler()
	body := bytes.NewReader(nil)
	text, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	w := &discard{header: http.Header{}}
	r.Body = io.NopCloser(body)
	return func() {
		body.Reset(text)
		clear(w.header)
		w.status = http.StatusOK
		handler.ServeHTTP(w, r)
		if w.status != http.StatusOK {
			t.Fatalf("status %d", w.status)
		}
	}
}

// BenchmarkDoor is what Keyreeve adds to net/http in a warm Decrypt, from the
// request to the answer: the audit record is written to a file.
func BenchmarkDoor(b *testing.B) {
	once := door(b, newBed(b))
	b.ReportAllocs()
	for b.Loop() {
		once()
	}
}

// unrecording is a recorder that records nothing.
type unrecording struct{ server.Recorder }

func (unrecording) Append(*call.Call) error { return nil }

// BenchmarkDoorUnrecorded is BenchmarkDoor without the record: the difference is
// what the audit adds to a Decrypt.
func BenchmarkDoorUnrecorded(b *testing.B) {
	once := door(b, newBed(b, func(c *node.Config) {
		c.WrapRecorder(func(r server.Recorder) server.Recorder { return unrecording{r} })
	}))
	b.ReportAllocs()
	for b.Loop() {
		once()
	}
}
