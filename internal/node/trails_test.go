package node_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/api/cloudtrailapi"
	"github.com/keyreeve/keyreeve/internal/config"
	"github.com/keyreeve/keyreeve/internal/node"
	"github.com/keyreeve/keyreeve/internal/trail/s3test"
)

// cloudtrail makes a call of CloudTrail.
func (r *running) cloudtrail(t testing.TB, operation string, in object) (status int, answer object) {
	t.Helper()
	return r.json(t, cloudtrailapi.SigningName, cloudtrailapi.TargetPrefix+"."+operation, in)
}

// json makes a call in JSON of a service.
func (r *running) json(t testing.TB, service, target string, in object) (status int, answer object) {
	t.Helper()
	body, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequest(http.MethodPost, r.Endpoint()+"/", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-amz-json-1.1")
	req.Header.Set("X-Amz-Target", target)
	r.creds.Sign(req, body, r.c.Region, service, r.now())
	res, err := r.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
		t.Fatalf("%s: %v", target, err)
	}
	return res.StatusCode, answer
}

// trails makes a call of CloudTrail that must succeed.
func (r *running) trails(t testing.TB, operation string, in object) object {
	t.Helper()
	status, answer := r.cloudtrail(t, operation, in)
	if status != http.StatusOK {
		t.Fatalf("%s: %d %v", operation, status, answer)
	}
	return answer
}

// lookup returns the ids of the requests of the events that have an attribute,
// the newest first.
func (r *running) lookup(t testing.TB, attribute, value string) []string {
	t.Helper()
	answer := r.trails(t, "LookupEvents", object{"LookupAttributes": []object{{"AttributeKey": attribute, "AttributeValue": value}}})
	var ids []string
	for _, e := range answer["Events"].([]any) {
		var record struct{ RequestID string }
		if err := json.Unmarshal([]byte(str(e.(object), "CloudTrailEvent")), &record); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, record.RequestID)
	}
	return ids
}

// TestTrails: a call is found at once by whatever it is looked for; delivered,
// it is found as before, stands in the trail's bucket, and in a digest that the
// listed keys are for; so it is after a restart.
func TestTrails(t *testing.T) {
	dir := t.TempDir()
	s3 := &s3test.Server{AccessKeyID: "AKIAIOSFODNN7EXAMPLE", Secret: "the-buckets-secret", Region: "us-east-1", Buckets: []string{"logs"}}
	elsewhere := httptest.NewServer(s3)
	t.Cleanup(elsewhere.Close)
	credentials := filepath.Join(dir, "credentials")
	if err := os.WriteFile(credentials, []byte("[default]\naws_access_key_id = AKIAIOSFODNN7EXAMPLE\naws_secret_access_key = the-buckets-secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	clock := newClock()
	setting := func(c *node.Config) {
		c.Now = clock.Now
		c.Audit.Buckets = []config.Bucket{{Name: "logs", Endpoint: elsewhere.URL, CredentialsFile: credentials, Accounts: []string{"*"}}}
	}
	r := run(t, configure(dir, setting))
	account := r.learn(t).Account

	if status, answer := r.cloudtrail(t, "CreateTrail", object{"Name": "kept", "S3BucketName": "others"}); status != http.StatusBadRequest ||
		answer["__type"] != "S3BucketDoesNotExistException" || answer["Message"] != "S3 bucket others does not exist!" {
		t.Errorf("a bucket that is not there: %d %v", status, answer)
	}
	r.trails(t, "CreateTrail", object{"Name": "kept", "S3BucketName": "logs", "S3KeyPrefix": "a", "EnableLogFileValidation": true, "IsMultiRegionTrail": true})
	r.trails(t, "StartLogging", object{"Name": "kept"})
	key := r.create(t, nil)
	status, answer, id, err := r.ask("Encrypt", object{"KeyId": key, "Plaintext": "aGVsbG8="})
	if err != nil || status != http.StatusOK {
		t.Fatalf("Encrypt: %d %v %v", status, answer, err)
	}
	arn := "arn:aws:kms:" + r.c.Region + ":" + account + ":key/" + key
	found := func(when string) {
		t.Helper()
		for attribute, value := range map[string]string{"EventName": "Encrypt", "ResourceName": arn, "Username": "administrator", "AccessKeyId": r.creds.AccessKeyID} {
			if got := fmt.Sprint(r.lookup(t, attribute, value)); !strings.Contains(got, id) {
				t.Errorf("%s, by %s %s: %s, want %s", when, attribute, value, got, id)
			}
		}
		if got := r.lookup(t, "EventName", "Encrypt"); len(got) != 1 {
			t.Errorf("%s, the call is found %d times", when, len(got))
		}
	}
	found("at once")

	clock.advance(6 * time.Minute)
	if err := r.Deliver(t.Context()); err != nil {
		t.Fatalf("delivering: %v", err)
	}
	found("delivered")
	prefix := "a/AWSLogs/" + account + "/CloudTrail/" + r.c.Region + "/" + clock.Now().Format("2006/01/02/")
	eventually(t, "the event is in the bucket", func() bool {
		for name, o := range s3.Objects("logs") {
			if strings.HasPrefix(name, prefix) && strings.Contains(unpacked(t, o.Body), id) {
				return true
			}
		}
		return false
	})
	eventually(t, "the trail's status tells of the delivery", func() bool {
		return r.trails(t, "GetTrailStatus", object{"Name": "kept"})["LatestDeliveryTime"] != nil
	})

	clock.advance(2 * time.Hour)
	r.trails(t, "ListTrails", object{}) // so that there is something to deliver
	if err := r.Deliver(t.Context()); err != nil {
		t.Fatalf("delivering: %v", err)
	}
	if left := contents(t, filepath.Join(r.c.Data, "audit")); strings.Contains(left, id) {
		t.Error("what is delivered is still in the journal, and not in its newest segment")
	}
	fingerprint := ""
	eventually(t, "a digest of the file is in the bucket", func() bool {
		for name, o := range s3.Objects("logs") {
			var digest struct {
				DigestPublicKeyFingerprint string
				LogFiles                   []struct{ S3Object string }
			}
			if !strings.HasPrefix(name, "a/AWSLogs/"+account+"/CloudTrail-Digest/"+r.c.Region+"/") {
				continue
			}
			if err := json.Unmarshal([]byte(unpacked(t, o.Body)), &digest); err != nil {
				t.Fatal(err)
			}
			if len(digest.LogFiles) > 0 && strings.HasPrefix(digest.LogFiles[0].S3Object, prefix) && o.Metadata["signature"] != "" {
				fingerprint = digest.DigestPublicKeyFingerprint
				return true
			}
		}
		return false
	})
	keys := r.trails(t, "ListPublicKeys", object{"StartTime": clock.Now().Add(-24 * time.Hour).Unix()})
	if got := fmt.Sprint(keys); fingerprint == "" || !strings.Contains(got, fingerprint) {
		t.Errorf("the public keys are %s; the digest's is %q", got, fingerprint)
	}

	r.stop(t)
	r = run(t, configure(dir, setting))
	found("after a restart")
	if got := r.trails(t, "GetTrailStatus", object{"Name": "kept"}); got["IsLogging"] != true {
		t.Errorf("after a restart, the trail's status is %v", got)
	}
}

// unpacked returns what is compressed in b.
func unpacked(t testing.TB, b []byte) string {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestTrailsInMemory: a node that keeps nothing finds its events, and has no
// bucket for trails, whatever is configured.
func TestTrailsInMemory(t *testing.T) {
	c := node.Config{Dev: true}
	c.Listen = "127.0.0.1:0"
	c.Audit.Buckets = []config.Bucket{{Name: "logs", Endpoint: "https://s3.example.com", CredentialsFile: "/nowhere", Accounts: []string{"*"}}}
	c.SetDefaults()
	r := run(t, c)
	_, _, id, err := r.ask("ListKeys", nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		r.create(t, nil)
	}
	if got := r.lookup(t, "EventName", "ListKeys"); len(got) != 1 || got[0] != id {
		t.Errorf("found %v, want %s", got, id)
	}
	// Page by page.
	var names []string
	in := object{"MaxResults": 2, "LookupAttributes": []object{{"AttributeKey": "EventSource", "AttributeValue": "kms.amazonaws.com"}}}
	for {
		answer := r.trails(t, "LookupEvents", in)
		for _, e := range answer["Events"].([]any) {
			names = append(names, str(e.(object), "EventName"))
		}
		if answer["NextToken"] == nil {
			break
		}
		in["NextToken"] = answer["NextToken"]
	}
	if got := fmt.Sprint(names); got != "[CreateKey CreateKey CreateKey ListKeys]" {
		t.Errorf("page by page: %s", got)
	}
	if status, answer := r.cloudtrail(t, "CreateTrail", object{"Name": "kept", "S3BucketName": "logs"}); status != http.StatusBadRequest || answer["__type"] != "S3BucketDoesNotExistException" {
		t.Errorf("CreateTrail: %d %v", status, answer)
	}
	if got := r.trails(t, "ListPublicKeys", object{}); fmt.Sprint(got) != "map[PublicKeyList:[]]" {
		t.Errorf("ListPublicKeys: %v", got)
	}
}
