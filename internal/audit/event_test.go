package audit_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/audit"
	"github.com/keyreeve/keyreeve/internal/call"
)

var noon = time.Date(2026, 11, 21, 20, 50, 7, 999, time.UTC)

func TestEvent(t *testing.T) {
	const head = `{"eventVersion":"1.11","userIdentity":`
	for name, test := range map[string]struct {
		event audit.Event
		want  string
	}{
		"service event": {
			audit.Event{
				Time: noon, Source: "kms.amazonaws.com", Name: "DeleteKey", Region: "eu-central-1", Account: "111122223333", InvokedBy: audit.Node,
				Resources: []call.Resource{{ARN: keyARN, Account: "111122223333", Type: "AWS::KMS::Key"}},
				Elements:  []call.Pair{{Name: "keyId", Value: keyARN}},
			},
			head + `{"accountId":"111122223333","invokedBy":"AWS Internal"},"eventTime":"2026-11-21T20:50:07Z","eventSource":"kms.amazonaws.com",` +
				`"eventName":"DeleteKey","awsRegion":"eu-central-1","sourceIPAddress":"AWS Internal","userAgent":"AWS Internal",` +
				`"requestParameters":null,"responseElements":{"keyId":"` + keyARN + `"},"eventID":"EVENT","readOnly":false,` +
				`"resources":[{"accountId":"111122223333","type":"AWS::KMS::Key","ARN":"` + keyARN + `"}],` +
				`"eventType":"AwsServiceEvent","managementEvent":true,"recipientAccountId":"111122223333","eventCategory":"Management"}`,
		},
		"service event with details": {
			audit.Event{
				Time: noon, Source: "kms.amazonaws.com", Name: "RotateKey", Region: "eu-central-1", Account: "111122223333", InvokedBy: audit.Node,
				Resources: []call.Resource{{ARN: keyARN, Account: "111122223333", Type: "AWS::KMS::Key"}},
				Details:   []call.Pair{{Name: "rotationType", Value: "AUTOMATIC"}, {Name: "keyOrigin", Value: "AWS_KMS"}},
			},
			head + `{"accountId":"111122223333","invokedBy":"AWS Internal"},"eventTime":"2026-11-21T20:50:07Z","eventSource":"kms.amazonaws.com",` +
				`"eventName":"RotateKey","awsRegion":"eu-central-1","sourceIPAddress":"AWS Internal","userAgent":"AWS Internal",` +
				`"requestParameters":null,"responseElements":null,"eventID":"EVENT","readOnly":false,` +
				`"resources":[{"accountId":"111122223333","type":"AWS::KMS::Key","ARN":"` + keyARN + `"}],` +
				`"eventType":"AwsServiceEvent","managementEvent":true,"recipientAccountId":"111122223333",` +
				`"serviceEventDetails":{"rotationType":"AUTOMATIC","keyOrigin":"AWS_KMS"},"eventCategory":"Management"}`,
		},
		"service event with details of one thing": {
			audit.Event{
				Time: noon, Source: "organizations.amazonaws.com", Name: "CreateAccountResult", Region: "us-east-1", Account: "111122223333", InvokedBy: audit.Node,
				Within: "createAccountStatus", Details: []call.Pair{{Name: "state", Value: "SUCCEEDED"}, {Name: "accountName", Value: "****"}},
			},
			head + `{"accountId":"111122223333","invokedBy":"AWS Internal"},"eventTime":"2026-11-21T20:50:07Z","eventSource":"organizations.amazonaws.com",` +
				`"eventName":"CreateAccountResult","awsRegion":"us-east-1","sourceIPAddress":"AWS Internal","userAgent":"AWS Internal",` +
				`"requestParameters":null,"responseElements":null,"eventID":"EVENT","readOnly":false,"resources":[],` +
				`"eventType":"AwsServiceEvent","managementEvent":true,"recipientAccountId":"111122223333",` +
				`"serviceEventDetails":{"createAccountStatus":{"state":"SUCCEEDED","accountName":"****"}},"eventCategory":"Management"}`,
		},
		"call of the service to itself": {
			audit.Event{
				Time: noon, Source: "kms.amazonaws.com", Name: "SynchronizeMultiRegionKey", Region: "eu-central-1", Account: "111122223333", InvokedBy: audit.Node,
				Resources: []call.Resource{{ARN: keyARN, Account: "111122223333", Type: "AWS::KMS::Key"}}, RequestID: "5ba8ba61-a85c-4dd4-8d1f-8b5e5a6a7f10",
			},
			head + `{"accountId":"111122223333","invokedBy":"AWS Internal"},"eventTime":"2026-11-21T20:50:07Z","eventSource":"kms.amazonaws.com",` +
				`"eventName":"SynchronizeMultiRegionKey","awsRegion":"eu-central-1","sourceIPAddress":"AWS Internal","userAgent":"AWS Internal",` +
				`"requestParameters":null,"responseElements":null,"requestID":"5ba8ba61-a85c-4dd4-8d1f-8b5e5a6a7f10","eventID":"EVENT","readOnly":false,` +
				`"resources":[{"accountId":"111122223333","type":"AWS::KMS::Key","ARN":"` + keyARN + `"}],` +
				`"eventType":"AwsApiCall","managementEvent":true,"recipientAccountId":"111122223333","eventCategory":"Management"}`,
		},
		"failure of somebody who is in no account yet": {
			audit.Event{
				Time: noon, Source: audit.Internal, Name: "UnsealNode", Region: "us-east-1", InvokedBy: "control\nsocket",
				Additional: []call.Pair{{Name: "uid", Value: "0"}, {Name: "pid", Value: "17"}},
				Failure:    call.Failure{Code: "Failed", Message: "no \"such\" phrase"},
			},
			head + `{"invokedBy":"control\nsocket"},"eventTime":"2026-11-21T20:50:07Z","eventSource":"keyreeve.internal",` +
				`"eventName":"UnsealNode","awsRegion":"us-east-1","sourceIPAddress":"control\nsocket","userAgent":"control\nsocket",` +
				`"errorCode":"Failed","errorMessage":"no \"such\" phrase","requestParameters":null,"responseElements":null,` +
				`"additionalEventData":{"uid":"0","pid":"17"},"eventID":"EVENT","readOnly":false,"resources":[],` +
				`"eventType":"AwsServiceEvent","managementEvent":true,"eventCategory":"Management"}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := audit.Open("", audit.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if err := l.AppendEvent(&test.event); err != nil {
				t.Fatal(err)
			}
			for line, err := range l.Records() {
				if err != nil || !json.Valid(line) || !eventID.Match(line) {
					t.Fatalf("not a record: %s, %v", line, err)
				}
				if got := eventID.ReplaceAllString(string(line), `"eventID":"EVENT"`); got != test.want {
					t.Errorf("got\n%s\nwant\n%s", got, test.want)
				}
			}
		})
	}
}

// Events are on the disk when AppendEvent returns, and it says if they are not.
func TestEventIsDurable(t *testing.T) {
	dir, faults, synced := t.TempDir(), new(audit.Faults), 0
	l := openLog(t, dir, audit.Options{}, faults)
	faults.Set(func(f *audit.Faults) { f.Sync = func() error { synced++; return nil } })
	e := audit.Event{Time: noon, Source: audit.Internal, Name: "SealNode", InvokedBy: audit.Node}
	if err := l.AppendEvent(&e); err != nil || synced == 0 {
		t.Errorf("AppendEvent: %v, %d syncs", err, synced)
	}
	broken := errors.New("broken")
	faults.Set(func(f *audit.Faults) { f.Sync = func() error { return broken } })
	if err := l.AppendEvent(&e); !errors.Is(err, broken) || !strings.Contains(err.Error(), "SealNode") {
		t.Errorf("AppendEvent on a broken disk: %v", err)
	}
	faults.Set(func(f *audit.Faults) { f.Sync = nil })
	l.Flush()
	if err := l.AppendEvent(&e); err != nil {
		t.Errorf("AppendEvent once it works again: %v", err)
	}
}

// FuzzSegment has a log opened over a segment with anything in it after its
// header: what is complete in it is read and kept, the torn rest is removed, and
// what is appended then stands after it. Without a header it is left as it is.
func FuzzSegment(f *testing.F) {
	end := audit.Closing()
	f.Add(true, []byte(`{"a":1}`+"\n"+`{"b":2}`+"\n"+end+`{"c":3}`+"\n"+`{"d`))
	f.Add(true, []byte("\n\n{}\nx\n[]\n"+end+end[:20]))
	f.Add(true, []byte{})
	f.Add(true, append(bytes.Repeat([]byte("x"), 70<<10), "\n{}\n"+end+"\xff"...))
	f.Add(true, []byte(`{"s":"`+strings.Repeat("y", 130<<10)+`"}`+"\n"+end+strings.Repeat("z", 65536-30)))
	f.Add(true, []byte(strings.Repeat("w", 300<<10)+"\n"+end))
	f.Add(false, []byte(`{"a":1}`+"\n"+end))
	f.Add(false, []byte(`{"journal":1,"segment`))
	f.Add(false, []byte{})
	f.Fuzz(func(t *testing.T, headed bool, text []byte) {
		dir := t.TempDir()
		const name = "2026-11-21-000001.jsonl"
		path := filepath.Join(dir, name)
		found := text
		if headed {
			found = append(audit.Header(name), text...)
		}
		if err := os.WriteFile(path, found, 0o600); err != nil {
			t.Fatal(err)
		}
		l, err := audit.Open(dir, audit.Options{FlushEvery: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		if kept, _ := os.ReadFile(path); !bytes.HasPrefix(found, kept) {
			t.Fatalf("%q became %q", found, kept)
		}
		var want []string // "" is a line that is no record
		if headed {
			var write []string
			for line := range bytes.Lines(text) {
				switch {
				case audit.IsClosing(line):
					want, write = append(want, write...), nil
				case len(line) > 257<<10 || line[0] != '{' || !json.Valid(line):
					write = append(write, "")
				default:
					write = append(write, string(line[:len(line)-1]))
				}
			}
		}
		check := func(when string) {
			t.Helper()
			i := 0
			for line, err := range audit.Read(dir) {
				switch {
				case !headed && err != nil:
					continue
				case i >= len(want):
					t.Fatalf("%s, there is one more: %q, %v", when, line, err)
				case (err != nil) != (want[i] == "") || err == nil && string(line) != want[i]:
					t.Fatalf("%s, line %d is %q, %v, want %q", when, i+1, line, err, want[i])
				}
				i++
			}
			if i != len(want) && headed {
				t.Fatalf("%s, there are %d lines, want %d", when, i, len(want))
			}
		}
		if headed {
			check("opened")
		}
		if err := l.AppendEvent(&audit.Event{Time: noon, Source: audit.Internal, Name: "SealNode"}); err != nil {
			t.Fatal(err)
		}
		var last string
		for line := range l.Records() {
			last = string(line)
		}
		if want = append(want, last); !strings.Contains(last, "SealNode") {
			t.Errorf("the last record is %q", last)
		}
		if headed {
			check("appended to")
		}
		for _, err := range audit.Verify(dir, nil) {
			if err != nil {
				t.Error(err)
			}
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
}
