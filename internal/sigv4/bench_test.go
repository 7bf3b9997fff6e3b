package sigv4_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/internal/sigv4"
)

// sdkRequest is a Decrypt as the AWS SDK for Go sends it, and its body.
func sdkRequest(tb testing.TB, c sigv4.Credentials, now time.Time) (*http.Request, []byte) {
	tb.Helper()
	body := []byte(`{"CiphertextBlob":"` + strings.Repeat("QUJD", 60) + `","KeyId":"1234abcd-12ab-34cd-56ef-1234567890ab"}`)
	r, err := http.NewRequest("POST", "https://127.0.0.1:4599/", nil)
	if err != nil {
		tb.Fatal(err)
	}
	r.Header.Set("User-Agent", "aws-sdk-go-v2/1.41.0 ua/2.1 os/linux lang/go#1.26.8 md/GOOS#linux md/GOARCH#amd64 api/kms#1.62.4")
	r.Header.Set("Amz-Sdk-Invocation-Id", "c4a6d3e1-97ba-4d4b-8f2a-6f2f7b8f9f10")
	r.Header.Set("Amz-Sdk-Request", "attempt=1; max=3")
	r.Header.Set("Content-Type", "application/x-amz-json-1.1")
	r.Header.Set("X-Amz-Target", "TrentService.Decrypt")
	r.Header.Set("Accept-Encoding", "gzip")
	c.Sign(r, body, "eu-central-1", "kms", now)
	r.ContentLength = int64(len(body))
	return r, body
}

func exampleKey() *sigv4.Key {
	return sigv4.NewKey(secret.New([]byte("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")))
}

func BenchmarkVerify(b *testing.B) {
	now := time.Date(2015, 8, 30, 12, 36, 0, 0, time.UTC)
	c := sigv4.Credentials{AccessKeyID: "AKIDEXAMPLE", Key: exampleKey()}
	r, body := sdkRequest(b, c, now)
	scope := sigv4.Scope{Service: "kms", Region: func(s string) bool { return s == "eu-central-1" }, Skew: 5 * time.Minute}
	b.ReportAllocs()
	for b.Loop() {
		a, err := sigv4.Parse(r)
		if err == nil {
			err = a.Check(now, scope)
		}
		if err == nil {
			err = c.Key.Verify(&a, r, body)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}
