package index_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/archive/index"
)

func TestScan(t *testing.T) {
	at := time.Date(2026, 11, 21, 20, 50, 7, 0, time.UTC)
	const head = `"eventTime":"2026-11-21T20:50:07Z"`
	const iam, sts = `"eventSource":"iam.amazonaws.com"`, `"eventSource":"sts.amazonaws.com"`
	tests := []struct {
		name, record string
		want         index.Attributes
	}{
		{
			"whole",
			`{"eventVersion":"1.11","userIdentity":{"type":"IAMUser","principalId":"AIDA1","arn":"arn:aws:iam::111122223333:user/alice","accountId":"111122223333",` +
				`"accessKeyId":"AKIA1","userName":"alice"},` + head + `,"eventSource":"kms.amazonaws.com","eventName":"Decrypt","awsRegion":"eu-central-1",` +
				`"sourceIPAddress":"192.0.2.7","userAgent":"x \"eventName\":\"no\" \\","errorCode":"AccessDenied","requestParameters":{"eventName":"no","encryptionContext":{"a":["}"]}},` +
				`"responseElements":null,"requestID":"r","eventID":"e1","readOnly":true,"resources":[{"accountId":"111122223333","type":"AWS::KMS::Key","ARN":"arn:k1"},` +
				`{"ARN":"arn:k2"},{"type":"no name"},7],"eventType":"AwsApiCall","managementEvent":true,"recipientAccountId":"111122223333","eventCategory":"Management"}`,
			index.Attributes{
				Time: at, EventID: "e1", EventName: "Decrypt", EventSource: "kms.amazonaws.com", ReadOnly: "true", Username: "alice", AccessKeyID: "AKIA1",
				Account: "111122223333", Region: "eu-central-1", ErrorCode: "AccessDenied",
				Resources: []index.Resource{{Type: "AWS::KMS::Key", Name: "arn:k1"}, {Name: "arn:k2"}},
			},
		},
		{
			"role", `{"userIdentity":{"type":"AssumedRole","principalId":"AROA1:bob:x","sessionContext":{"sessionIssuer":{"userName":"ops"}}},` + head + `}`,
			index.Attributes{Time: at, Username: "bob:x"},
		},
		{
			"federated user", `{"userIdentity":{"type":"FederatedUser","principalId":"111122223333:carol"},` + head + `}`,
			index.Attributes{Time: at, Username: "carol"},
		},
		{"root", `{"userIdentity":{"type":"Root","principalId":"111122223333"},` + head + `}`, index.Attributes{Time: at, Username: "root"}},
		{"web identity", `{"userIdentity":{"type":"WebIdentityUser","userName":"sub"},` + head + `}`, index.Attributes{Time: at, Username: "sub"}},
		{"service", `{"userIdentity":{"accountId":"1","invokedBy":"AWS Internal"},` + head + `}`, index.Attributes{Time: at}},
		{"another account's", `{"userIdentity":{"type":"AWSAccount","principalId":"AIDA1","accountId":"1"},` + head + `}`, index.Attributes{Time: at}},
		{
			"of IAM", `{` + head + `,"requestParameters":{"userName":"bo\u0062","groupName":7,"policyArn":"arn:p"},` + iam + `}`,
			index.Attributes{
				Time: at, EventSource: "iam.amazonaws.com",
				Resources: []index.Resource{{Type: "AWS::IAM::User", Name: "bob"}, {Type: "AWS::IAM::Policy", Name: "arn:p"}},
			},
		},
		{
			"of STS", `{` + head + `,"requestParameters":{"roleArn":"arn:r","userName":"no"},` + sts + `}`,
			index.Attributes{Time: at, EventSource: "sts.amazonaws.com", Resources: []index.Resource{{Type: "AWS::IAM::Role", Name: "arn:r"}}},
		},
		{"of STS, with none", `{` + head + `,"requestParameters":null,` + sts + `}`, index.Attributes{Time: at, EventSource: "sts.amazonaws.com"}},
		{"spaces", " {\n \"eventName\" :\t\"a\\\"b\" , \"readOnly\" : false } ", index.Attributes{EventName: `a"b`, ReadOnly: "false"}},
		{"escapes", `{"eventName":"a\\nb"}`, index.Attributes{EventName: `a\nb`}},
		{"twice", `{"eventName":"a","eventName":"b","readOnly":true,"readOnly":1}`, index.Attributes{EventName: "b"}},
		{"other types", `{"eventName":1,"readOnly":"true","resources":{},"userIdentity":[],"eventTime":"soon","eventID":{"a":"]"}}`, index.Attributes{}},
		{"before 1970", `{"eventTime":"1969-12-31T23:59:59Z"}`, index.Attributes{}},
		{"with a fraction and a zone", `{"eventTime":"2026-11-21T22:50:07.999+02:00"}`, index.Attributes{Time: at}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := index.Attributes{EventID: "old", Resources: []index.Resource{{Name: "old"}}}
			if !index.Scan([]byte(tt.record), &got) {
				t.Fatalf("Scan says that it is no record")
			}
			if len(got.Resources) == 0 {
				got.Resources = nil
			}
			if !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
	var again index.Attributes
	for range 2 {
		for _, tt := range [][2]string{{`{"eventName":"a\\nb"}`, `a\nb`}, {`{"eventName":"a\nb"}`, "a\nb"}} {
			if !index.Scan([]byte(tt[0]), &again) || again.EventName != tt[1] {
				t.Errorf("%s after another: %q", tt[0], again.EventName)
			}
		}
	}
	for _, no := range []string{"", " ", "x", "[]", `"a"`, "{", `{"a"`, `{"a":`, `{"a":1`, `{"a":1,}`, `{"a":"}`, `{"a":"\"}`, `{"a":[1}`, `{} {}`, `{"a":1}x`, `{a:1}`, `{"resources":[`, `{"resources":[{}`, `{"userIdentity":{"type"`, "null"} {
		if index.Scan([]byte(no), new(index.Attributes)) {
			t.Errorf("Scan takes %q for a record", no)
		}
	}
}

func TestAttributes(t *testing.T) {
	for a := index.EventID; a <= index.ResourceEnd; a++ {
		if got, ok := index.ParseAttribute(a.String()); !ok || got != a {
			t.Errorf("ParseAttribute(%q) = %v, %t", a, got, ok)
		}
	}
	for _, name := range []string{"", "eventid", "unknown attribute", index.Attribute(0).String(), index.Attribute(200).String()} {
		if a, ok := index.ParseAttribute(name); ok {
			t.Errorf("ParseAttribute(%q) = %v", name, a)
		}
	}
}

// FuzzScan compares Scan with encoding/json.
func FuzzScan(f *testing.F) {
	f.Add([]byte(`{"eventTime":"2026-11-21T20:50:07Z","userIdentity":{"type":"Root","accessKeyId":"A"},"resources":[{"type":"t","ARN":"a"},null],"readOnly":true}`))
	f.Add([]byte(`{"eventSource":"iam.amazonaws.com","requestParameters":{"userName":"\ud800\\","a":[{}],"roleName":"r"},"\u0065ventID":"x","eventName":"\"}`))
	f.Add([]byte(` {"userIdentity":{"type":"AssumedRole","principalId":"a:b:c"},"eventName":"é` + "\xff" + `"} `))
	f.Add([]byte(`{"eventName":"a\\nb","awsRegion":"\\"}`))
	f.Add([]byte(`{"a":-1.5e+3,"b":[[],{}],"c":"[","eventID":null}`))
	f.Fuzz(func(t *testing.T, record []byte) {
		var got index.Attributes
		index.Scan(record, &got)
		ok := index.Scan(record, &got) // what it knows already changes nothing
		if !json.Valid(record) {
			return // it is enough that nothing panics
		}
		want, isObject := slowScan(t, record)
		if want.Resources == nil && len(got.Resources) > 0 && strings.HasSuffix(want.EventSource, ".amazonaws.com") {
			got.Resources = nil // TestScan has them
		}
		if ok != isObject {
			t.Fatalf("Scan says %t", ok)
		}
		if len(got.Resources) == 0 {
			got.Resources = nil
		}
		if isObject && !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, want %+v", got, want)
		}
	})
}

// slowScan does with encoding/json what Scan does.
func slowScan(t *testing.T, record []byte) (a index.Attributes, isObject bool) {
	t.Helper()
	if !strings.HasPrefix(strings.TrimLeft(string(record), " \t\r\n"), "{") {
		return a, false
	}
	members := func(text json.RawMessage) map[string]json.RawMessage {
		var m map[string]json.RawMessage
		if json.Unmarshal(text, &m) != nil {
			return nil
		}
		return m
	}
	text := func(m map[string]json.RawMessage, name string) (s string) {
		if v := m[name]; len(v) > 0 && v[0] == '"' {
			if err := json.Unmarshal(v, &s); err != nil {
				t.Fatal(err)
			}
		}
		return s
	}
	m := members(record)
	a = index.Attributes{
		EventID: text(m, "eventID"), EventName: text(m, "eventName"), EventSource: text(m, "eventSource"),
		Account: text(m, "recipientAccountId"), Region: text(m, "awsRegion"), ErrorCode: text(m, "errorCode"),
	}
	if at, err := time.Parse(time.RFC3339, text(m, "eventTime")); err == nil && at.Unix() >= 0 {
		a.Time = at.Truncate(time.Second).UTC()
	}
	if v := string(m["readOnly"]); v == "true" || v == "false" {
		a.ReadOnly = v
	}
	id := members(m["userIdentity"])
	a.AccessKeyID = text(id, "accessKeyId")
	switch text(id, "type") {
	case "Root":
		a.Username = "root"
	case "AssumedRole", "FederatedUser":
		_, a.Username, _ = strings.Cut(text(id, "principalId"), ":")
	default:
		a.Username = text(id, "userName")
	}
	var list []json.RawMessage
	_ = json.Unmarshal(m["resources"], &list)
	for _, r := range list {
		if r := members(r); text(r, "ARN") != "" {
			a.Resources = append(a.Resources, index.Resource{Type: text(r, "type"), Name: text(r, "ARN")})
		}
	}
	return a, true
}
