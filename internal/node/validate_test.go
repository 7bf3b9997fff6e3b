//go:build interop

package node_test

import (
	"cmp"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/config"
	"github.com/keyreeve/keyreeve/internal/node"
	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/internal/sigv4"
	"github.com/keyreeve/keyreeve/internal/trail/s3test"
)

const auditorSeed = `
accounts:
  - {id: "111122223333", management: true}
users:
  - account: "111122223333"
    name: auditor
    policies: [AdministratorAccess]
    access_keys: [{id: AKIAIOSFODNN7AUDITOR, secret: "the-auditors-secret"}]
`

// TestValidateLogs: the AWS CLI finds the files of a trail valid by the digests
// and public keys, and finds what was changed. Digests are of whole hours, so
// that the calls are made two hours ago. INTEROP_AWS is the program, default
// aws; it must know AWS_ENDPOINT_URL_S3, as it does since 2023.
func TestValidateLogs(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	seed := write("seed.yaml", auditorSeed)
	credentials := write("credentials", "[default]\naws_access_key_id = AKIAIOSFODNN7AUDITOR\naws_secret_access_key = the-auditors-secret\n")
	s3 := &s3test.Server{AccessKeyID: "AKIAIOSFODNN7AUDITOR", Secret: "the-auditors-secret", Region: "us-east-1", Buckets: []string{"logs"}}
	elsewhere := httptest.NewServer(s3)
	t.Cleanup(elsewhere.Close)

	var behind atomic.Int64
	behind.Store(int64(2*time.Hour + 10*time.Minute))
	r := run(t, configure(dir, func(c *node.Config) {
		c.Now = func() time.Time { return time.Now().Add(-time.Duration(behind.Load())) }
		c.Seed = seed
		c.Audit.Buckets = []config.Bucket{{Name: "logs", Endpoint: elsewhere.URL, CredentialsFile: credentials, Accounts: []string{"*"}}}
	}))
	r.creds = sigv4.Credentials{AccessKeyID: "AKIAIOSFODNN7AUDITOR", Key: sigv4.NewKey(secret.New([]byte("the-auditors-secret")))}
	arn := str(r.trails(t, "CreateTrail", object{"Name": "kept", "S3BucketName": "logs", "EnableLogFileValidation": true}), "TrailARN")
	r.trails(t, "StartLogging", object{"Name": "kept"})
	r.create(t, nil)
	deliver := func() {
		t.Helper()
		if err := r.Deliver(t.Context()); err != nil {
			t.Fatalf("delivering: %v", err)
		}
	}
	deliver()
	there := func(kind string) (names []string) {
		for name := range s3.Objects("logs") {
			if strings.Contains(name, "/"+kind+"/") {
				names = append(names, name)
			}
		}
		return names
	}
	eventually(t, "a log file is in the bucket", func() bool { return len(there("CloudTrail")) > 0 })
	behind.Store(0)
	r.trails(t, "GetTrail", object{"Name": "kept"})
	deliver()
	eventually(t, "its digest is in the bucket", func() bool { return len(there("CloudTrail-Digest")) > 0 })

	validate := func() (string, error) {
		t.Helper()
		c := exec.CommandContext(t.Context(), cmp.Or(os.Getenv("INTEROP_AWS"), "aws"), "--endpoint-url", r.Endpoint(), "--region", r.c.Region,
			"cloudtrail", "validate-logs", "--trail-arn", arn, "--start-time", time.Now().UTC().Add(-3*time.Hour).Format(time.RFC3339), "--verbose")
		c.Env = []string{
			"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "AWS_ENDPOINT_URL_S3=" + elsewhere.URL, "AWS_CA_BUNDLE=" + r.AuthorityFile(),
			"AWS_SHARED_CREDENTIALS_FILE=" + credentials, "AWS_CONFIG_FILE=/dev/null", "AWS_EC2_METADATA_DISABLED=true", "NO_PROXY=127.0.0.1",
		}
		out, err := c.CombinedOutput()
		return string(out), err
	}
	out, err := validate()
	if err != nil || !strings.Contains(out, "digest files valid") || strings.Contains(out, "INVALID") || !strings.Contains(out, "1/1 log files valid") {
		t.Errorf("validate-logs: %v\n%s", err, out)
	}

	name := there("CloudTrail")[0]
	for _, n := range there("CloudTrail") {
		name = min(name, n)
	}
	good := s3.Objects("logs")[name]
	changed := good
	changed.Body = s3.Objects("logs")[there("CloudTrail-Digest")[0]].Body
	s3.Put("logs", name, changed)
	if out, _ := validate(); !strings.Contains(out, "INVALID: hash value doesn't match") {
		t.Errorf("validate-logs of a changed file:\n%s", out)
	}
	s3.Remove("logs", name)
	if out, _ := validate(); !strings.Contains(out, "INVALID: not found") {
		t.Errorf("validate-logs of a file that is gone:\n%s", out)
	}
}
