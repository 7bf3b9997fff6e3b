package node_test

import (
	"strings"
	"testing"

	"github.com/keyreeve/keyreeve/internal/api/organizationsapi"
)

// An account that is made in the background is on record, once, in the management
// account of its organization; so is one that is not made.
func TestCreateAccountResult(t *testing.T) {
	r := run(t, configure(t.TempDir()))
	organizations := func(operation string, in object) object {
		t.Helper()
		status, answer := r.json(t, organizationsapi.SigningName, organizationsapi.TargetPrefix+"."+operation, in)
		if status != 200 {
			t.Fatalf("%s: %d %v", operation, status, answer)
		}
		return answer
	}
	made, _ := organizations("CreateOrganization", object{})["Organization"].(map[string]any)
	master, _ := made["MasterAccountId"].(string)
	for _, details := range []string{`"state":"SUCCEEDED","accountName":"****","accountId":"`, `"state":"FAILED","accountName":"****","failureReason":"EMAIL_ALREADY_EXISTS"`} {
		asked, _ := organizations("CreateAccount", object{"Email": "new@example.com", "AccountName": "hush"})["CreateAccountStatus"].(map[string]any)
		id, _ := asked["Id"].(string)
		event := `"serviceEventDetails":{"createAccountStatus":{"id":"` + id + `",` + details
		var found []string
		eventually(t, "it is recorded", func() bool {
			found = nil
			for _, line := range recorded(t, r.c.Data) {
				if strings.Contains(line, event) {
					found = append(found, line)
				}
			}
			return len(found) > 0
		})
		for _, want := range []string{
			`"eventName":"CreateAccountResult","awsRegion":"us-east-1"`, `"eventType":"AwsServiceEvent"`, `"recipientAccountId":"` + master + `"`, `"completedTimestamp":"`,
		} {
			if len(found) != 1 || !strings.Contains(found[0], want) {
				t.Errorf("%q: want one with %s", found, want)
			}
		}
		if strings.Contains(strings.Join(found, ""), "hush") {
			t.Errorf("the account's name is on record: %s", found)
		}
	}
}
