package node_test

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/keyreeve/keyreeve/internal/api/keyreeveapi"
	"github.com/keyreeve/keyreeve/internal/config"
	"github.com/keyreeve/keyreeve/internal/node"
)

// TestExplainTrails: what is explained of a call to a trail is decided with the
// trail's tags, as the call is.
func TestExplainTrails(t *testing.T) {
	dir := t.TempDir()
	credentials := filepath.Join(dir, "credentials")
	if err := os.WriteFile(credentials, []byte("[default]\naws_access_key_id = AKIAIOSFODNN7EXAMPLE\naws_secret_access_key = the-buckets-secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := run(t, configure(dir, func(c *node.Config) {
		c.Audit.Buckets = []config.Bucket{{Name: "logs", Endpoint: "http://127.0.0.1:1", CredentialsFile: credentials, Accounts: []string{"*"}}}
	}))
	account := r.learn(t).Account
	for name, team := range map[string]string{"red-trail": "red", "blue-trail": "blue"} {
		r.trails(t, "CreateTrail", object{"Name": name, "S3BucketName": "logs", "TagsList": []object{{"Key": "team", "Value": team}}})
	}
	r.iam(t, "CreateUser", "UserName", "carol")
	r.iam(t, "PutUserPolicy", "UserName", "carol", "PolicyName", "p", "PolicyDocument",
		`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"cloudtrail:*","Resource":"*","Condition":{"StringEquals":{"aws:ResourceTag/team":"red"}}}}`)
	for name, want := range map[string]string{"red-trail": keyreeveapi.Allowed, "blue-trail": keyreeveapi.Denied, "no-trail": keyreeveapi.Denied} {
		question, err := json.Marshal(object{
			"principal": "arn:aws:iam::" + account + ":user/carol", "action": "cloudtrail:GetTrail", "region": r.c.Region,
			"resource": "arn:aws:cloudtrail:" + r.c.Region + ":" + account + ":trail/" + name,
		})
		if err != nil {
			t.Fatal(err)
		}
		status, answer := r.explain(t, object{"Case": string(question)})
		if status != http.StatusOK || str(answer, "Decision") != want {
			t.Errorf("%s: %d %v, want %s", name, status, answer, want)
		}
	}
}

func (r *running) explain(t testing.TB, in object) (status int, answer object) {
	t.Helper()
	return r.json(t, keyreeveapi.SigningName, keyreeveapi.TargetPrefix+".Explain", in)
}
