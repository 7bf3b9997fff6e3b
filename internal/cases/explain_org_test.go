package cases_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/keyreeve/keyreeve/internal/api/keyreeveapi"
	"github.com/keyreeve/keyreeve/kmstest"
)

// explainedOrganization has account A in a unit that denies, and B in one that
// allows too little.
const explainedOrganization = `
organizations:
  - id: o-exampleorg1
    management: "999988887777"
    root: r-exam
    policies:
      - {id: p-nodecrypt1, name: no-decrypt, type: SERVICE_CONTROL_POLICY, document: '{"Version":"2012-10-17","Statement":[{"Sid":"No","Effect":"Deny","Action":["kms:Decrypt","kms:ReEncrypt*"],"Resource":"*"}]}'}
      - {id: p-storage12, name: storage, type: SERVICE_CONTROL_POLICY, document: '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:*","sts:*","iam:*","kms:Create*","kms:DescribeKey","keyreeve:*"],"Resource":"*"}]}'}
      - {id: p-nomacs123, name: no-macs, type: RESOURCE_CONTROL_POLICY, document: '{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*","Action":"kms:DescribeKey","Resource":"*"}]}'}
    units:
      - {id: ou-exam-12345678, name: denies, parent: r-exam, attached: [no-decrypt]}
      - {id: ou-exam-87654321, name: storage, parent: r-exam, attached: [storage], full_access: false}
    accounts:
      - {id: "111122223333", parent: ou-exam-12345678, attached: [no-macs]}
      - {id: "444455556666", parent: ou-exam-87654321}
`

// organizations calls Organizations as the management account.
func (w *world) organizations(t *testing.T, operation string, in object) object {
	t.Helper()
	body, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	status, text := w.send(w.principal("manager"), "organizations", "us-east-1", "application/x-amz-json-1.1", "AWSOrganizationsV20161128."+operation, body)
	var out object
	if err := json.Unmarshal(text, &out); len(text) > 0 && err != nil || status != http.StatusOK {
		t.Fatalf("%s: %d %s", operation, status, text)
	}
	return out
}

// Who manages an organization is told which control policy it takes to change,
// and nobody else is.
func TestExplainControlPolicies(t *testing.T) {
	t.Parallel()
	w := newWorld(t, explainedOrganization, kmstest.Region(region))
	w.key("K", keyOptions{})
	w.key("B:L", keyOptions{input: object{"KeySpec": "HMAC_256", "KeyUsage": "GENERATE_VERIFY_MAC"}})
	mac := object{"KeyId": "{B:L}", "Message": data, "MacAlgorithm": "HMAC_SHA_256"}
	w.user("alice", allow("kms:*", "*"))
	w.user("carol", allow("kms:*", "*"))
	w.user("B:bob", allow("kms:*", "*"))
	blob := w.must("alice", region, "Encrypt", object{"KeyId": "{K}", "Plaintext": data})["CiphertextBlob"]
	for _, tt := range []struct {
		c             typical
		own, as       string // who may not see it; in whose place it must stay denied
		layer, target string
		level         int
		still         *typical // must stay denied to the same caller
	}{
		{
			typical{as: "alice", do: "Decrypt", in: object{"CiphertextBlob": blob}},
			"admin", "carol",
			"scp", "ou-exam-12345678", 2, &typical{as: "alice", do: "ReEncrypt", in: object{"CiphertextBlob": blob, "DestinationKeyId": "{K}"}},
		},
		{
			typical{as: "B:bob", do: "GenerateMac", in: mac},
			"B:admin", "B:admin",
			"scp", "ou-exam-87654321", 2, &typical{as: "B:bob", do: "VerifyMac", in: with(mac, "Mac", data)},
		},
		{typical{as: "alice", do: "DescribeKey", in: onKey("{K}")}, "admin", "carol", "rcp", accountA, 3, nil},
	} {
		status, id := w.do(&tt.c)
		if status == http.StatusOK {
			t.Fatalf("%s: allowed", tt.c.do)
		}
		out, text := w.explain(tt.own, keyreeveapi.ExplainInput{RequestID: id})
		if out == nil || out.Decision != keyreeveapi.Denied || out.Layer != tt.layer || len(out.Changes) > 0 || out.Complete ||
			!strings.Contains(text, "management account") || strings.Contains(text, "p-n") || strings.Contains(text, "p-storage") {
			t.Errorf("%s: the own account is told %s", tt.c.do, text)
		}
		out, text = w.explain("manager", keyreeveapi.ExplainInput{RequestID: id})
		if out == nil || len(out.Changes) != 1 || out.Changes[0].Layer != tt.layer || out.Changes[0].Target != tt.target || out.Changes[0].Level != tt.level || out.Changes[0].Wider != "" ||
			strings.Contains(text, "GetUserPolicy") || strings.Contains(text, `"Name":"inline"`) {
			t.Errorf("%s: the management account is told %s", tt.c.do, text)
			continue
		}
		change := &out.Changes[0]
		var statements []string
		for _, s := range change.Statements {
			statements = append(statements, string(s))
		}
		if change.Do == keyreeveapi.ReplaceStatement {
			policy := change.Policy[strings.LastIndexByte(change.Policy, '/')+1:]
			w.organizations(t, "UpdatePolicy", object{"PolicyId": policy, "Content": document(statements...)})
		} else {
			made := w.organizations(t, "CreatePolicy", object{"Content": document(statements...), "Description": "", "Name": "fix", "Type": "SERVICE_CONTROL_POLICY"})
			summary, _ := made["Policy"].(object)["PolicySummary"].(object)
			w.organizations(t, "AttachPolicy", object{"PolicyId": summary["Id"], "TargetId": change.Target})
		}
		if status, _ := w.do(&tt.c); status != http.StatusOK {
			t.Errorf("%s: still denied after %s", tt.c.do, text)
		}
		if tt.as != "B:admin" {
			other := tt.c
			other.as = tt.as
			if status, _ := w.do(&other); status == http.StatusOK {
				t.Errorf("%s: allowed to %s, too, by %s", tt.c.do, tt.as, text)
			}
		}
		if tt.still != nil {
			if status, _ := w.do(tt.still); status == http.StatusOK {
				t.Errorf("%s: allowed, too, by %s", tt.still.do, text)
			}
		}
	}
}
