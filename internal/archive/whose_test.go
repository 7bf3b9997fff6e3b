package archive_test

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/keyreeve/keyreeve/internal/archive"
	"github.com/keyreeve/keyreeve/internal/archive/index"
)

// What a caller writes into a record is not taken for what it says of itself.
func FuzzWhose(f *testing.F) {
	for _, record := range []string{
		`{"eventTime":"2026-11-22T10:00:00Z","awsRegion":"eu-central-1","recipientAccountId":"111122223333"}`,
		`{ "eventTime" : "2026-11-22T10:00:00Z" , "n" : [1, {"a":"]"}] , "requestParameters":{"awsRegion":"x","recipientAccountId":"y\\\""},"readOnly":true}`,
		`{"eventTime":"2026-11-22T10:00:00Z","userAgent":"\",\"recipientAccountId\":\"444455556666","errorMessage":null}`,
		`{"eventTime":1}`, `{"a":`, `{}`, ``, `[]`,
	} {
		f.Add([]byte(record))
	}
	f.Fuzz(func(t *testing.T, record []byte) {
		members, ok := membersOf(record)
		if !ok {
			return // what is no object, or has a name twice, is never written
		}
		account, region, at, ok := archive.Whose(record)
		text := func(name string) (s string) {
			_ = json.Unmarshal(members[name], &s)
			return s
		}
		if account != "" && account != text("recipientAccountId") || region != "" && region != text("awsRegion") {
			t.Errorf("%q is of %q in %q", record, account, region)
		}
		// What a delivery takes, the index can take.
		var attributes index.Attributes
		if ok && at.Format("2006-01-02T15:04:05Z") == text("eventTime") && (!index.Scan(record, &attributes) || !attributes.Time.Equal(at)) {
			t.Errorf("%q has the time %v, and in the index %v", record, at, attributes.Time)
		}
	})
}

// membersOf returns the members of an object; false for what is none, or has
// one twice.
func membersOf(record []byte) (map[string]json.RawMessage, bool) {
	d := json.NewDecoder(bytes.NewReader(record))
	if first, err := d.Token(); err != nil || first != json.Delim('{') || !json.Valid(record) || !utf8.Valid(record) {
		return nil, false
	}
	members := make(map[string]json.RawMessage)
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, false
		}
		if _, twice := members[name.(string)]; twice {
			return nil, false
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, false
		}
		members[name.(string)] = value
	}
	return members, true
}

func TestWhose(t *testing.T) {
	at := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		record, account, region string
		ok                      bool
	}{
		{`{"eventTime":"2026-11-22T10:00:00Z","awsRegion":"eu-central-1","recipientAccountId":"111122223333"}`, accountA, region, true},
		{`{"requestParameters":{"recipientAccountId":"444455556666","awsRegion":"x"},"eventTime":"2026-11-22T10:00:00Z","awsRegion":"eu-central-1","recipientAccountId":"111122223333"}`, accountA, region, true},
		{`{"eventTime":"2026-11-22T10:00:00Z","awsRegion":"eu-central-1","requestParameters":{"encryptionContext":{"recipientAccountId":"444455556666"}}}`, "", region, true},
		{`{"eventTime":"2026-11-22T10:00:00Z","userAgent":"\\\",\"recipientAccountId\":\"444455556666\\","awsRegion":"eu-central-1"}`, "", region, true},
		{`{"eventTime":"2026-11-22T10:00:00Z","readOnly":true,"responseElements":null,"list":[[],{"a":[{}]},"]}"]}`, "", "", true},
		{`{"recipientAccountId":"111122223333"}`, accountA, "", false},
		{`{"eventTime":"yesterday"}`, "", "", false},
		{`{"eventTime":"2026-11-22T10:00:00Z"`, "", "", false},
		{`{"eventTime":"2026-11-22T10:00:00Z","a":[}`, "", "", false},
		{`{"eventTime" "2026-11-22T10:00:00Z"}`, "", "", false},
		{`[]`, "", "", false},
		{``, "", "", false},
	} {
		account, region, when, ok := archive.Whose([]byte(tt.record))
		if ok != tt.ok || ok && (account != tt.account || region != tt.region || !when.Equal(at)) {
			t.Errorf("Whose(%s) = %q, %q, %v, %v", tt.record, account, region, when, ok)
		}
	}
}
