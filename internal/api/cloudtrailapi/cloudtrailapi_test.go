package cloudtrailapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/api/cloudtrailapi"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/wire"
)

// handler answers with what is typed here.
type handler struct {
	cloudtrailapi.Handler
}

func (handler) CreateTrail(_ context.Context, _ *call.Call, in *cloudtrailapi.CreateTrailInput, out *cloudtrailapi.CreateTrailOutput) error {
	out.Name, out.S3BucketName = in.Name, in.S3BucketName
	out.IncludeGlobalServiceEvents = in.IncludeGlobalServiceEvents == nil || *in.IncludeGlobalServiceEvents
	return nil
}

func (handler) GetTrailStatus(_ context.Context, _ *call.Call, _ *cloudtrailapi.GetTrailStatusInput, out *cloudtrailapi.GetTrailStatusOutput) error {
	out.StartLoggingTime = time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)
	out.TimeLoggingStarted = "2026-11-22T03:00:00Z"
	return nil
}

func (handler) GetEventSelectors(_ context.Context, _ *call.Call, _ *cloudtrailapi.GetEventSelectorsInput, out *cloudtrailapi.GetEventSelectorsOutput) error {
	yes := true
	out.EventSelectors = []cloudtrailapi.EventSelector{{
		ReadWriteType: cloudtrailapi.ReadWriteTypeAll, IncludeManagementEvents: &yes,
		DataResources: []cloudtrailapi.DataResource{}, ExcludeManagementEventSources: []string{},
	}}
	return nil
}

func (handler) LookupEvents(_ context.Context, _ *call.Call, _ *cloudtrailapi.LookupEventsInput, out *cloudtrailapi.LookupEventsOutput) error {
	out.Events = []cloudtrailapi.Event{{EventID: "1", ReadOnly: "true", EventTime: time.Unix(1600291250, 0)}}
	return nil
}

func (handler) ListTags(_ context.Context, _ *call.Call, in *cloudtrailapi.ListTagsInput, out *cloudtrailapi.ListTagsOutput) error {
	out.ResourceTagList = []cloudtrailapi.ResourceTag{{ResourceID: in.ResourceIDList[0]}}
	return nil
}

func (handler) DeleteTrail(_ context.Context, _ *call.Call, _ *cloudtrailapi.DeleteTrailInput, _ *cloudtrailapi.DeleteTrailOutput) error {
	return nil
}

func audit(a call.Auditable) string {
	if a == nil {
		return "null"
	}
	return string(a.AppendAudit(nil))
}

// TestOperations: what is answered, and what CloudTrail shows of it.
func TestOperations(t *testing.T) {
	operations := cloudtrailapi.Operations(handler{})
	for _, test := range []struct {
		operation, body, answer, parameters, elements string
	}{
		{
			"CreateTrail", `{"Name":"t-1","S3BucketName":"logs","IncludeGlobalServiceEvents":false}`,
			`{"Name":"t-1","S3BucketName":"logs","IncludeGlobalServiceEvents":false,"IsMultiRegionTrail":false,"LogFileValidationEnabled":false,"IsOrganizationTrail":false}`,
			`{"name":"t-1","s3BucketName":"logs","includeGlobalServiceEvents":false}`,
			`{"name":"t-1","s3BucketName":"logs","includeGlobalServiceEvents":false,"isMultiRegionTrail":false,"logFileValidationEnabled":false,"isOrganizationTrail":false}`,
		},
		{
			"GetTrailStatus", `{"Name":"t-1"}`,
			`{"IsLogging":false,"StartLoggingTime":1795316400,"LatestDeliveryAttemptTime":"","LatestNotificationAttemptTime":"",` +
				`"LatestNotificationAttemptSucceeded":"","LatestDeliveryAttemptSucceeded":"","TimeLoggingStarted":"2026-11-22T03:00:00Z","TimeLoggingStopped":""}`,
			`{"name":"t-1"}`, "null",
		},
		{
			"GetEventSelectors", `{"TrailName":"t-1"}`,
			`{"EventSelectors":[{"ReadWriteType":"All","IncludeManagementEvents":true,"DataResources":[],"ExcludeManagementEventSources":[]}]}`,
			`{"trailName":"t-1"}`, "null",
		},
		{
			"LookupEvents", `{"LookupAttributes":[{"AttributeKey":"EventName","AttributeValue":"Decrypt"}],"StartTime":1600291250,"MaxResults":1}`,
			`{"Events":[{"EventId":"1","ReadOnly":"true","EventTime":1600291250,"Resources":[]}]}`,
			`{"lookupAttributes":[{"attributeKey":"EventName","attributeValue":"Decrypt"}],"startTime":"Sep 16, 2020, 9:20:50 PM","maxResults":1}`, "null",
		},
		{
			"ListTags", `{"ResourceIdList":["arn"]}`, `{"ResourceTagList":[{"ResourceId":"arn","TagsList":[]}]}`,
			`{"resourceIdList":["arn"]}`, "null",
		},
		{"DeleteTrail", `{"Name":"t-1"}`, `{}`, `{"name":"t-1"}`, "null"},
	} {
		op := operations[test.operation]
		c := &call.Call{Operation: op}
		out, err := op.Invoke(t.Context(), c, []byte(test.body), nil)
		if err != nil || string(out) != test.answer {
			t.Errorf("%s: %s, %v, want %s", test.operation, out, err, test.answer)
		}
		if got := audit(c.Parameters); got != test.parameters {
			t.Errorf("%s: parameters %s, want %s", test.operation, got, test.parameters)
		}
		if got := audit(c.Elements); got != test.elements {
			t.Errorf("%s: elements %s, want %s", test.operation, got, test.elements)
		}
		if op.ReadOnly != cloudtrailapi.ReadOnly(test.operation) {
			t.Errorf("%s: read-only is %t", test.operation, op.ReadOnly)
		}
	}
}

func TestValidate(t *testing.T) {
	operations := cloudtrailapi.Operations(handler{})
	for _, test := range []struct{ operation, body, code, message string }{
		{
			"CreateTrail", `{"Name":"t-1"}`, "ValidationException",
			"1 validation error detected: Value null at 's3BucketName' failed to satisfy constraint: Member must not be null",
		},
		{
			"LookupEvents", `{"LookupAttributes":[{"AttributeKey":"Color","AttributeValue":"red"}]}`, "ValidationException",
			"1 validation error detected: Value 'Color' at 'lookupAttributes.1.member.attributeKey' failed to satisfy constraint: " +
				"Member must satisfy enum value set: [EventId, EventName, ReadOnly, Username, ResourceType, ResourceName, EventSource, AccessKeyId]",
		},
		{
			"PutEventSelectors", `{"TrailName":"t-1","AdvancedEventSelectors":[{"FieldSelectors":[]}]}`, "ValidationException",
			"1 validation error detected: Value at 'advancedEventSelectors.1.member.fieldSelectors' failed to satisfy constraint: Member must have length greater than or equal to 1",
		},
		{"ListTags", `{"ResourceIdList":"arn"}`, "SerializationException", ""},
	} {
		c := &call.Call{}
		_, err := operations[test.operation].Invoke(t.Context(), c, []byte(test.body), nil)
		if err == nil {
			t.Errorf("%s %s: accepted", test.operation, test.body)
			continue
		}
		if e := wire.AsError(err); e.Code != test.code || test.message != "" && e.Message != test.message {
			t.Errorf("%s %s: %v, want %s: %s", test.operation, test.body, e, test.code, test.message)
		}
	}
}

// TestGiven: what is sent empty is told from what is not sent.
func TestGiven(t *testing.T) {
	for _, test := range []struct {
		member string
		given  func(*cloudtrailapi.UpdateTrailInput) bool
	}{
		{"S3KeyPrefix", (*cloudtrailapi.UpdateTrailInput).GivenS3KeyPrefix},
		{"SnsTopicName", (*cloudtrailapi.UpdateTrailInput).GivenSnsTopicName},
		{"CloudWatchLogsLogGroupArn", (*cloudtrailapi.UpdateTrailInput).GivenCloudWatchLogsLogGroupARN},
		{"CloudWatchLogsRoleArn", (*cloudtrailapi.UpdateTrailInput).GivenCloudWatchLogsRoleARN},
		{"KmsKeyId", (*cloudtrailapi.UpdateTrailInput).GivenKmsKeyID},
	} {
		for body, want := range map[string]bool{
			`{"Name":"t-1","` + test.member + `":""}`:  true,
			`{"Name":"t-1","` + test.member + `":"x"}`: true,
			`{"Name":"t-1","S3BucketName":""}`:         false,
			`{"Name":"t-1"}`:                           false,
		} {
			var in cloudtrailapi.UpdateTrailInput
			if err := in.DecodeJSON([]byte(body)); err != nil {
				t.Fatal(err)
			}
			if got := test.given(&in); got != want {
				t.Errorf("%s: %s is given: %t, want %t", body, test.member, got, want)
			}
		}
	}
}

// FuzzDecode decodes a body as the input and the output of every operation. What
// was decoded encodes to a body that means the same, and can be recorded.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"Name":"t-1","S3BucketName":"","IncludeGlobalServiceEvents":false,"TagsList":[{"Key":"k","Value":""},null,{}]}`))
	f.Add([]byte(`{"LookupAttributes":[{"AttributeKey":"x"}],"StartTime":1.5e9,"EventCategory":"insight","MaxResults":50}`))
	f.Add([]byte(`{"TrailName":"t","EventSelectors":[{"IncludeManagementEvents":true,"DataResources":[{"Type":"a","Values":[null]}]}],"AdvancedEventSelectors":[{"FieldSelectors":[{"Equals":[""]}]}]}`))
	f.Add([]byte(`{"trailNameList":["a"],"includeShadowTrails":false,"PublicKeyList":[{"Value":"AA=="}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, op := range cloudtrailapi.Messages() {
			for _, make := range []func() cloudtrailapi.Message{
				func() cloudtrailapi.Message { return op.Input() },
				func() cloudtrailapi.Message { return op.Output() },
			} {
				m := make()
				if err := m.DecodeJSON(body); err != nil {
					if wire.AsError(err).Code != "SerializationException" {
						t.Fatalf("%s: %v", op.Name, err)
					}
					continue
				}
				once := m.AppendJSON(nil)
				again := make()
				if err := again.DecodeJSON(once); err != nil {
					t.Fatalf("%s: %s: %v", op.Name, once, err)
				}
				if twice := again.AppendJSON(nil); !bytes.Equal(once, twice) {
					t.Fatalf("%s: %s became %s", op.Name, once, twice)
				}
				if b := m.AppendAudit(nil); !json.Valid(b) {
					t.Fatalf("%s: recorded as %q", op.Name, b)
				}
				if in, ok := m.(cloudtrailapi.Input); ok {
					if err := in.Validate(); err != nil && wire.AsError(err).Code != "ValidationException" {
						t.Fatalf("%s: %v", op.Name, err)
					}
				}
			}
		}
	})
}
