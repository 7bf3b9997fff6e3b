package node_test

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/keyreeve/keyreeve/internal/node"
	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/internal/sigv4"
)

const regionsSeed = `
accounts:
  - {id: "111122223333", management: true}
  - {id: "444455556666"}
users:
  - account: "444455556666"
    name: builder
    policies: [AdministratorAccess]
    access_keys: [{id: AKIAIOSFODNN7BUILDER, secret: "the-builders-secret"}]
keys:
  - account: "111122223333"
    region: me-south-1
    id: 1234abcd-12ab-34cd-56ef-1234567890ab
    policy:
      Version: "2012-10-17"
      Statement: {Effect: Allow, Principal: {AWS: ["arn:aws:iam::111122223333:root", "arn:aws:iam::444455556666:root"]}, Action: "kms:*", Resource: "*"}
`

// account makes a call of Account Management as the caller, and returns the body
// of the answer.
func (r *running) account(t *testing.T, path, body string) string {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, r.Endpoint()+path, bytes.NewReader([]byte(body)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	r.creds.Sign(req, []byte(body), "us-east-1", "account", r.now())
	res, err := r.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%s: %d %s %v", path, res.StatusCode, text, err)
	}
	return string(text)
}

// TestRegionNotEnabled: who has not enabled the key's Region cannot use the key,
// although the policies of both accounts allow it; not before a restart, nor
// after.
func TestRegionNotEnabled(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "seed.yaml")
	if err := os.WriteFile(file, []byte(regionsSeed), 0o600); err != nil {
		t.Fatal(err)
	}
	seeded := func(c *node.Config) { c.Seed, c.Region = file, "me-south-1" }
	r := run(t, configure(dir, seeded))
	administrator := r.creds
	builder := sigv4.Credentials{AccessKeyID: "AKIAIOSFODNN7BUILDER", Key: sigv4.NewKey(secret.New([]byte("the-builders-secret")))}
	in := object{"KeyId": "arn:aws:kms:me-south-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab", "Plaintext": "YQ=="}

	// The operator's account has the node's own Region in any case.
	r.must(t, "Encrypt", in)
	const enabled, disabled = `{"RegionName":"me-south-1","RegionOptStatus":"ENABLED"}`, `{"RegionName":"me-south-1","RegionOptStatus":"DISABLED"}`
	if got := r.account(t, "/getRegionOptStatus", `{"RegionName":"me-south-1"}`); got != `{"RegionName":"me-south-1","RegionOptStatus":"ENABLED_BY_DEFAULT"}` {
		t.Errorf("of the operator's account: %s", got)
	}

	r.creds = builder
	r.refused(t, "Encrypt", in, "UnrecognizedClientException")
	if got := r.account(t, "/getRegionOptStatus", `{"RegionName":"me-south-1"}`); got != disabled {
		t.Errorf("at first: %s", got)
	}
	r.account(t, "/enableRegion", `{"RegionName":"me-south-1"}`)
	r.must(t, "Encrypt", in)

	r.stop(t)
	r = run(t, configure(dir, seeded))
	r.creds = builder
	r.must(t, "Encrypt", in)
	if got := r.account(t, "/getRegionOptStatus", `{"RegionName":"me-south-1"}`); got != enabled {
		t.Errorf("after a restart: %s", got)
	}
	r.account(t, "/disableRegion", `{"RegionName":"me-south-1"}`)
	r.refused(t, "Encrypt", in, "UnrecognizedClientException")
	r.creds = administrator
	r.must(t, "Encrypt", in)

	r.stop(t)
	r = run(t, configure(dir, seeded, func(c *node.Config) { c.OptInRegions = []string{} }))
	r.creds = builder
	r.must(t, "Encrypt", in) // where no Region needs it
}
