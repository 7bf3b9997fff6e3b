package node_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/api/keyreeveapi"
)

// usage returns what GetKeyLastUsage says of a key's last use.
func (r *running) usage(t testing.TB, id string) (operation, request, event string) {
	t.Helper()
	last := r.must(t, "GetKeyLastUsage", object{"KeyId": id})["KeyLastUsage"].(object)
	if len(last) == 0 {
		return "", "", ""
	}
	return str(last, "Operation"), str(last, "KmsRequestId"), str(last, "CloudTrailEventId")
}

// TestKeyLastUsage: when a key was last used is known at once, and after a
// restart, with the event and the request; a policy can keep a key that is in
// use from being disabled; and a clock that has jumped ahead makes no key look
// unused.
func TestKeyLastUsage(t *testing.T) {
	c, dir := newClocks(), t.TempDir()
	r := run(t, configure(dir, c.use))
	account := r.learn(t).Account
	r.iam(t, "CreateUser", "UserName", "carol")
	r.iam(t, "PutUserPolicy", "UserName", "carol", "PolicyName", "p", "PolicyDocument",
		`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"kms:*","Resource":"*"}}`)
	id := r.create(t, object{"BypassPolicyLockoutSafetyCheck": true, "Policy": `{"Version":"2012-10-17","Statement":[
		{"Effect":"Allow","Principal":{"AWS":"` + account + `"},"Action":"kms:*","Resource":"*"},
		{"Effect":"Deny","Principal":"*","Action":["kms:DisableKey","kms:ScheduleKeyDeletion"],"Resource":"*",
		 "Condition":{"NumericLessThanEquals":{"kms:TrailingDaysWithoutKeyUsage":"30"}}}]}`})
	if operation, _, _ := r.usage(t, id); operation != "" {
		t.Errorf("before it was used, last used by %s", operation)
	}
	c.pass(40 * aDay) // made long ago, but not unused
	status, made, requestID, err := r.ask("Encrypt", object{"KeyId": id, "Plaintext": "YQ=="})
	if err != nil || status != http.StatusOK {
		t.Fatal(status, made, err)
	}
	known := func(when string) {
		t.Helper()
		operation, request, event := r.usage(t, id)
		if operation != "Encrypt" || request != requestID {
			t.Errorf("%s: last used by %s in %s, want Encrypt in %s", when, operation, request, requestID)
		}
		if found := r.lookup(t, "EventId", event); len(found) != 1 || found[0] != requestID {
			t.Errorf("%s: the event %s is of the requests %v, want %s", when, event, found, requestID)
		}
	}
	known("at once")
	r.stop(t)
	r = run(t, configure(dir, c.use))
	known("after a restart")

	decision := func() string {
		t.Helper()
		question, err := json.Marshal(object{
			"principal": "arn:aws:iam::" + account + ":user/carol", "action": "kms:DisableKey", "region": r.c.Region,
			"resource": "arn:aws:kms:" + r.c.Region + ":" + account + ":key/" + id,
		})
		if err != nil {
			t.Fatal(err)
		}
		status, answer := r.explain(t, object{"Case": string(question)})
		if status != http.StatusOK {
			t.Fatal(status, answer)
		}
		return str(answer, "Decision")
	}
	guarded := func(when string) {
		t.Helper()
		for _, operation := range []string{"DisableKey", "ScheduleKeyDeletion"} {
			status, answer, _, err := r.ask(operation, object{"KeyId": id})
			if err != nil || status != http.StatusBadRequest || !strings.Contains(str(answer, "Message"), "explicit deny in a resource-based policy") {
				t.Errorf("%s: %s: %d %v, %v", when, operation, status, answer, err)
			}
		}
		if got := decision(); got != keyreeveapi.Denied {
			t.Errorf("%s: explained as %s", when, got)
		}
	}
	guarded("just used")
	c.pass(31*aDay - time.Second)
	guarded("after 30 days")
	c.advance(1000 * aDay)
	guarded("after a jump of the clock")
	c.advance(-1000 * aDay)
	c.pass(time.Second)
	if got := decision(); got != keyreeveapi.Allowed {
		t.Errorf("after 31 days it is explained as %s", got)
	}
	r.must(t, "DisableKey", object{"KeyId": id})
	known("disabled")
}
