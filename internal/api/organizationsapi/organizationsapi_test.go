package organizationsapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/api/organizationsapi"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/wire"
)

// handler makes an account.
type handler struct {
	organizationsapi.Handler
}

func (handler) CreateAccount(_ context.Context, _ *call.Call, in *organizationsapi.CreateAccountInput, out *organizationsapi.CreateAccountOutput) error {
	out.CreateAccountStatus = &organizationsapi.CreateAccountStatus{
		ID: "car-examplecreateaccountrequestid111", AccountName: in.AccountName, State: organizationsapi.CreateAccountStateInProgress,
		RequestedTimestamp: time.Date(2020, 9, 16, 21, 20, 50, 0, time.UTC),
	}
	return nil
}

func (handler) ListParents(_ context.Context, _ *call.Call, _ *organizationsapi.ListParentsInput, _ *organizationsapi.ListParentsOutput) error {
	return nil
}

func (handler) DescribeOrganization(_ context.Context, _ *call.Call, _ *organizationsapi.DescribeOrganizationInput, out *organizationsapi.DescribeOrganizationOutput) error {
	out.Organization = &organizationsapi.Organization{ID: "o-exampleorgid", FeatureSet: organizationsapi.OrganizationFeatureSetAll}
	return nil
}

func (handler) MoveAccount(_ context.Context, _ *call.Call, _ *organizationsapi.MoveAccountInput, _ *organizationsapi.MoveAccountOutput) error {
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
	operations := organizationsapi.Operations(handler{})
	for _, test := range []struct {
		operation, body, answer, parameters, elements string
	}{
		{
			"CreateAccount", `{"Email":"a@example.com","AccountName":"Production","Tags":[]}`,
			`{"CreateAccountStatus":{"Id":"car-examplecreateaccountrequestid111","AccountName":"Production","State":"IN_PROGRESS","RequestedTimestamp":1600291250}}`,
			`{"email":"****","accountName":"****","tags":[]}`,
			`{"createAccountStatus":{"id":"car-examplecreateaccountrequestid111","accountName":"****","state":"IN_PROGRESS","requestedTimestamp":"Sep 16, 2020, 9:20:50 PM"}}`,
		},
		{"ListParents", `{"ChildId":"123456789012"}`, `{"Parents":[]}`, `{"childId":"123456789012"}`, "null"},
		{"DescribeOrganization", ``, `{"Organization":{"Id":"o-exampleorgid","FeatureSet":"ALL","AvailablePolicyTypes":[]}}`, "null", "null"},
		{"DescribeOrganization", `{}`, `{"Organization":{"Id":"o-exampleorgid","FeatureSet":"ALL","AvailablePolicyTypes":[]}}`, "null", "null"},
		{
			"MoveAccount", `{"AccountId":"123456789012","SourceParentId":"r-abcd","DestinationParentId":"ou-abcd-12345678"}`, ``,
			`{"accountId":"123456789012","sourceParentId":"r-abcd","destinationParentId":"ou-abcd-12345678"}`, "null",
		},
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
		if op.ReadOnly != organizationsapi.ReadOnly(test.operation) || op.ReadOnly != (test.elements == "null" && test.answer != "") {
			t.Errorf("%s: read-only is %t", test.operation, op.ReadOnly)
		}
	}
}

func TestValidate(t *testing.T) {
	operations := organizationsapi.Operations(handler{})
	for _, test := range []struct{ operation, body, code, reason string }{
		{"CreateAccount", `{"Email":"a@example.com"}`, "InvalidInputException", "INPUT_REQUIRED"},
		{"CreateAccount", `{"Email":"nobody","AccountName":"x"}`, "InvalidInputException", "INVALID_PATTERN"},
		{"CreateAccount", `{"Email":"a@example.com","AccountName":""}`, "InvalidInputException", "MIN_LENGTH_EXCEEDED"},
		{"CreateAccount", `{"Email":"a@example.com","AccountName":"x","Tags":[{"Key":"k"}]}`, "InvalidInputException", "INPUT_REQUIRED"},
		{"CreateAccount", `{"Email":"a@example.com","AccountName":"x","Tags":[null]}`, "InvalidInputException", "INVALID_LIST_MEMBER"},
		{"ListParents", `{"ChildId":"1"}`, "InvalidInputException", "INVALID_PATTERN"},
		{"ListParents", `{"ChildId":"123456789012","MaxResults":21}`, "InvalidInputException", "MAX_VALUE_EXCEEDED"},
		{"ListParents", `{"ChildId":1}`, "SerializationException", ""},
		{"EnablePolicyType", `{"RootId":"r-abcd","PolicyType":"X"}`, "InvalidInputException", "INVALID_ENUM"},
	} {
		c := &call.Call{}
		_, err := operations[test.operation].Invoke(t.Context(), c, []byte(test.body), nil)
		if err == nil {
			t.Errorf("%s %s: accepted", test.operation, test.body)
			continue
		}
		if e := wire.AsError(err); e.Code != test.code || e.Reason != test.reason {
			t.Errorf("%s %s: %v %s, want %s %s", test.operation, test.body, e, e.Reason, test.code, test.reason)
		}
	}
}

// FuzzDecode decodes a body as the input and the output of every operation. What
// was decoded encodes to a body that means the same, and can be recorded.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"Email":"a@example.com","AccountName":"","Tags":[{"Key":"k","Value":""},null,{}],"RoleName":"r"}`))
	f.Add([]byte(`{"Filter":"RESOURCE_CONTROL_POLICY","TargetId":"123456789012","NextToken":"","MaxResults":20}`))
	f.Add([]byte(`{"States":["SUCCEEDED",null,"x"],"Policy":{"PolicySummary":{"AwsManaged":true},"Content":"{}"}}`))
	f.Add([]byte(`{"Accounts":[{"Id":"1","Paths":["o-x/r-y/"],"JoinedTimestamp":1.5e9}],"Roots":[{"PolicyTypes":[{"Type":"A"}]}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, op := range organizationsapi.Messages() {
			for _, make := range []func() organizationsapi.Message{
				func() organizationsapi.Message { return op.Input() },
				func() organizationsapi.Message { return op.Output() },
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
				if in, ok := m.(organizationsapi.Input); ok {
					if err := in.Validate(); err != nil && wire.AsError(err).Code != "InvalidInputException" {
						t.Fatalf("%s: %v", op.Name, err)
					}
				}
			}
		}
	})
}
