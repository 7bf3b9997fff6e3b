package node_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/node"
	"github.com/keyreeve/keyreeve/internal/secret"
)

// TestRequestQuotas: where calls are counted, one that is too many is answered
// with a ThrottlingException, is on record, and does nothing; what is counted
// comes back with time, and not by sealing the node.
func TestRequestQuotas(t *testing.T) {
	at := newClock()
	r := run(t, configure(t.TempDir(), func(c *node.Config) {
		c.Quotas.Requests, c.Quotas.Rates = true, map[string]float64{"CreateKey": 2, "symmetric": 3}
		c.Now = at.Now
	}))
	metric := func(quota, want string) {
		t.Helper()
		if got := r.metric(t, `keyreeve_throttled_calls_total{quota="`+quota+`"}`); got != want {
			t.Errorf("%s: %s calls were refused, want %s", quota, got, want)
		}
	}
	metric("CreateKey", "0")
	id := r.create(t, nil)
	r.create(t, nil)
	r.refused(t, "CreateKey", nil, "ThrottlingException")
	_, answer, _, err := r.ask("CreateKey", nil)
	const text = "You have exceeded the rate at which you may call KMS. Reduce the frequency of your calls."
	if err != nil || answer["message"] != text {
		t.Errorf("the answer is %v, %v", answer, err)
	}
	metric("CreateKey", "2")
	if keys := r.must(t, "ListKeys", nil)["Keys"].([]any); len(keys) != 2 {
		t.Errorf("there are %d keys, want 2", len(keys))
	}

	// All that uses keys of a kind is counted together, failures too.
	encrypt := object{"KeyId": id, "Plaintext": "YQ=="}
	r.must(t, "Encrypt", encrypt)
	r.must(t, "GenerateRandom", object{"NumberOfBytes": 1})
	r.refused(t, "Decrypt", object{"CiphertextBlob": "YQ=="}, "InvalidCiphertextException")
	r.refused(t, "Encrypt", encrypt, "ThrottlingException")
	r.must(t, "DescribeKey", object{"KeyId": id})
	metric("symmetric", "1")

	if err := errors.Join(r.control().Seal(t.Context()), r.control().Unseal(t.Context(), secret.Bytes{})); err != nil {
		t.Fatal(err)
	}
	r.refused(t, "Encrypt", encrypt, "ThrottlingException")
	at.advance(time.Second)
	for range 3 {
		r.must(t, "Encrypt", encrypt)
	}
	r.refused(t, "Encrypt", encrypt, "ThrottlingException")

	r.stop(t)
	n := 0
	for _, line := range recorded(t, r.c.Data) {
		if strings.Contains(line, `"errorCode":"ThrottlingException"`) && strings.Contains(line, `"errorMessage":"`+text+`"`) {
			n++
		}
	}
	if n != 5 {
		t.Errorf("%d calls are on record as throttled, want 5", n)
	}
}

// TestNoRequestQuotas: nobody is throttled where nothing is counted, and there is
// a limit on keys all the same.
func TestNoRequestQuotas(t *testing.T) {
	const keys = 12 // more than a second's calls
	r := run(t, configure(t.TempDir(), func(c *node.Config) { c.Ephemeral, c.Quotas.Keys = true, keys }))
	for range keys {
		r.create(t, nil)
	}
	status, answer, _, err := r.ask("CreateKey", nil)
	if err != nil || status != http.StatusBadRequest || answer["__type"] != "LimitExceededException" {
		t.Errorf("one key too many: %d %v %v, want a LimitExceededException", status, answer, err)
	}
	if got := r.private(t, "/metrics", http.StatusOK); strings.Contains(got, "keyreeve_throttled_calls_total") {
		t.Error("there are metrics of what is not counted")
	}
}
