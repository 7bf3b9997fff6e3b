package node_test

import (
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/internal/sigv4"
)

// iam makes a signed call to IAM, and returns its answer.
func (r *running) iam(t testing.TB, operation string, parameters ...string) string {
	t.Helper()
	form := url.Values{"Action": {operation}, "Version": {"2010-05-08"}}
	for i := 0; i < len(parameters); i += 2 {
		form.Set(parameters[i], parameters[i+1])
	}
	body := form.Encode()
	req, err := http.NewRequest(http.MethodPost, r.Endpoint()+"/", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.creds.Sign(req, []byte(body), "us-east-1", "iam", r.now())
	res, err := r.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%s: %d %s %v", operation, res.StatusCode, text, err)
	}
	return string(text)
}

// element returns the text of an element of an answer.
func element(t testing.TB, answer, name string) string {
	t.Helper()
	m := regexp.MustCompile("<" + name + ">([^<]*)</" + name + ">").FindStringSubmatch(answer)
	if m == nil {
		t.Fatalf("no %s in %s", name, answer)
	}
	return m[1]
}

// TestLastUsed: when an access key was last used is known after a restart, too.
// A call that was refused for want of permissions is a use; one whose signature
// was wrong is not.
func TestLastUsed(t *testing.T) {
	dir := t.TempDir()
	r := run(t, configure(dir))
	administrator := r.creds
	r.iam(t, "CreateUser", "UserName", "carol")
	made := r.iam(t, "CreateAccessKey", "UserName", "carol")
	id, secretKey := element(t, made, "AccessKeyId"), element(t, made, "SecretAccessKey")
	last := func() string {
		t.Helper()
		answer := r.iam(t, "GetAccessKeyLastUsed", "AccessKeyId", id)
		return element(t, answer, "UserName") + " " + element(t, answer, "ServiceName") + " " + element(t, answer, "Region")
	}
	r.creds = sigv4.Credentials{AccessKeyID: id, Key: sigv4.NewKey(secret.New([]byte("another")))}
	r.refused(t, "ListKeys", nil, "InvalidSignatureException")
	r.creds = administrator
	if got := last(); got != "carol N/A N/A" {
		t.Errorf("before it was used: %s", got)
	}
	r.creds = sigv4.Credentials{AccessKeyID: id, Key: sigv4.NewKey(secret.New([]byte(secretKey)))}
	r.refused(t, "ListKeys", nil, "AccessDeniedException")
	r.creds = administrator
	want := "carol kms " + r.c.Region
	if got := last(); got != want {
		t.Errorf("last used %s, want %s", got, want)
	}
	r.stop(t)
	r = run(t, configure(dir))
	r.creds = administrator
	if got := last(); got != want {
		t.Errorf("after a restart, last used %s, want %s", got, want)
	}
}
