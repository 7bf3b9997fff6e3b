package rolesanywhere_test

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/keyreeve/keyreeve/internal/audit"
)

// The record of CreateSession is that of a call of the service, for the account
// of the trust anchor, with who stands in the certificate, and without secrets.
func TestRecord(t *testing.T) {
	w := newWorld(t)
	a := w.request().send(w.url)
	calls := w.recorded()
	if len(calls) != 1 || len(a.CredentialSet) != 1 {
		t.Fatalf("%d calls are on record; answer %+v", len(calls), a)
	}
	l, err := audit.Open("", audit.Options{Memory: 2})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Append(calls[0]); err != nil {
		t.Fatal(err)
	}
	var lines []string
	for line, err := range l.Records() {
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, string(line))
	}
	if len(lines) != 1 {
		t.Fatalf("%d records", len(lines))
	}
	var record map[string]json.RawMessage
	if err := json.Unmarshal([]byte(lines[0]), &record); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"eventTime", "requestID", "eventID", "sourceIPAddress", "userAgent", "eventVersion", "tlsDetails"} {
		delete(record, name) // as in any other
	}
	got := a.CredentialSet[0]
	const hidden = `"HIDDEN_DUE_TO_SECURITY_REASONS"`
	want := map[string]string{
		"userIdentity":       `{"type":"AWSService","invokedBy":"rolesanywhere.amazonaws.com"}`,
		"eventSource":        `"rolesanywhere.amazonaws.com"`,
		"eventName":          `"CreateSession"`,
		"awsRegion":          `"eu-central-1"`,
		"readOnly":           `false`,
		"eventType":          `"AwsApiCall"`,
		"managementEvent":    `true`,
		"eventCategory":      `"Management"`,
		"recipientAccountId": `"111122223333"`,
		"requestParameters":  `{"durationSeconds":900,"profileArn":"` + profile + `","roleArn":"` + roleARN + `","trustAnchorArn":"` + anchorARN + `"}`,
		"responseElements": `{"credentialSet":[{"assumedRoleUser":{"arn":"` + got.AssumedRoleUser.ARN + `","assumedRoleId":"` + got.AssumedRoleUser.AssumedRoleID + `"},` +
			`"credentials":{"accessKeyId":"` + got.Credentials.AccessKeyID + `","expiration":"` + got.Credentials.Expiration + `",` +
			`"secretAccessKey":` + hidden + `,"sessionToken":` + hidden + `},"packedPolicySize":PACKED,"roleArn":"` + roleARN + `","sourceIdentity":"billing.example"}],` +
			`"subjectArn":"` + a.SubjectARN + `"}`,
		"additionalEventData": `{"x509SerialNumber":"0abc","x509Subject":"CN=billing.example,OU=Payments,O=Example"}`,
		"resources":           `[{"accountId":"111122223333","type":"AWS::IAM::Role","ARN":"` + roleARN + `"}]`,
	}
	packed, err := json.Marshal(got.PackedPolicySize)
	if err != nil {
		t.Fatal(err)
	}
	want["responseElements"] = strings.Replace(want["responseElements"], "PACKED", string(packed), 1)
	names := slices.Concat(slices.Collect(maps.Keys(record)), slices.Collect(maps.Keys(want)))
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		if string(record[name]) != want[name] {
			t.Errorf("%s is\n%s\nwant\n%s", name, record[name], want[name])
		}
	}
}
