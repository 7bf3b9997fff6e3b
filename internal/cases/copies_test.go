package cases_test

import (
	"net/http"
	"testing"
)

// A role that another account assumes, and sessions that the operator revokes,
// are on record with both accounts.
func TestRecordsOfOtherServices(t *testing.T) {
	t.Parallel()
	w, r := newRecordedWorld(t, "")
	w.user("B:bob", allow("sts:*", "*"))
	w.mustQuery("admin", "iam", "CreateRole", "RoleName", "shared", "AssumeRolePolicyDocument",
		document(`{"Effect":"Allow","Principal":{"AWS":"{B:bob}"},"Action":"sts:AssumeRole"}`))
	w.names["shared"] = "arn:aws:iam::" + accountA + ":role/shared"
	stranger := func(name string) object {
		who := w.identity(name)
		return object{"type": "AWSAccount", "principalId": who["principalId"], "accountId": who["accountId"]}
	}
	for _, tt := range []struct {
		name   string
		call   func() bool
		caller string
		owner  string // of the resource
		kind   string
		arn    string
	}{
		{"AssumeRole", func() bool {
			return w.query("B:bob", "sts", "AssumeRole", "RoleArn", "{shared}", "RoleSessionName", "session").ok()
		}, "B:bob", accountA, "AWS::IAM::Role", "{shared}"},
		{"RevokeSessions", func() bool {
			status, _ := w.send(w.principal("manager"), "keyreeve", region, "application/x-amz-json-1.1", "Keyreeve.RevokeSessions", []byte(w.fill(`{"Principal":"{shared}"}`)))
			return status == http.StatusOK
		}, "manager", accountA, "AWS::IAM::Role", "{shared}"},
	} {
		r.next(t)
		if !tt.call() {
			t.Fatalf("%s failed", tt.name)
		}
		records := r.next(t)
		if len(records) != 2 {
			t.Fatalf("%s: %d records, want 2: %v", tt.name, len(records), records)
		}
		caller := w.identity(tt.caller)
		for i, want := range []object{
			{"recipientAccountId": caller["accountId"], "userIdentity": caller},
			{"recipientAccountId": tt.owner, "userIdentity": stranger(tt.caller)},
		} {
			want["eventName"] = tt.name
			want["resources"] = []any{object{"accountId": tt.owner, "type": tt.kind, "ARN": w.fill(tt.arn)}}
			want["sharedEventID"], want["requestID"] = records[0]["sharedEventID"], records[0]["requestID"]
			for name, value := range want {
				for _, difference := range differences(name, records[i][name], value) {
					t.Errorf("%s, record %d: %s", tt.name, i, difference)
				}
			}
		}
		if records[0]["eventID"] == records[1]["eventID"] || records[0]["sharedEventID"] == nil {
			t.Errorf("%s: event ids of %v", tt.name, records)
		}
	}
	// Who may not is on record with his own account alone.
	w.user("B:eve", allow("sts:*", "*"))
	r.next(t)
	if w.query("B:eve", "sts", "AssumeRole", "RoleArn", "{shared}", "RoleSessionName", "session").ok() {
		t.Fatal("she may")
	}
	if records := r.next(t); len(records) != 1 || records[0]["recipientAccountId"] != accountB || records[0]["errorCode"] != "AccessDenied" {
		t.Errorf("on record: %v", records)
	}
}
