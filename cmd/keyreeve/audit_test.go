package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/keyreeve/keyreeve/internal/archive"
)

func TestAuditPrinter(t *testing.T) {
	const user = `{"eventTime":"2026-11-22T03:04:05Z","eventSource":"kms.amazonaws.com","eventName":"Decrypt","awsRegion":"us-east-1","recipientAccountId":"111122223333",` +
		`"sourceIPAddress":"192.0.2.7","readOnly":true,`
	const alice = `"userIdentity":{"type":"IAMUser","principalId":"AIDAALICE","arn":"arn:aws:iam::111122223333:user/alice","accountId":"111122223333","userName":"alice"}`
	who := func(identity string) string { return user + `"userIdentity":{` + identity + `}}` }
	const before = "2026-11-22T03:04:05Z  111122223333 us-east-1  kms:Decrypt             "
	for name, c := range map[string]struct{ record, want string }{
		"a user and a key of the account": {
			user + alice + `,"resources":[{"ARN":"arn:aws:kms:us-east-1:111122223333:key/1234","accountId":"111122223333"}]}`,
			before + "alice         192.0.2.7  key/1234",
		},
		"resources that are elsewhere": {
			user + alice + `,"resources":[{"ARN":"arn:aws:kms:us-east-1:444455556666:key/1"},{"ARN":"arn:aws:kms:eu-west-1:111122223333:key/2"},{"ARN":"arn:aws:iam::111122223333:user/bob"}]}`,
			before + "alice         192.0.2.7  arn:aws:kms:us-east-1:444455556666:key/1, arn:aws:kms:eu-west-1:111122223333:key/2, user/bob",
		},
		"a failure": {
			user + alice + `,"errorCode":"AccessDenied","errorMessage":"User: alice is not authorized"}`,
			before + "alice         192.0.2.7  AccessDenied: User: alice is not authorized",
		},
		"a session of a role": {
			who(`"type":"AssumedRole","principalId":"AROAWORKER:i-0123","accountId":"111122223333","sessionContext":{"sessionIssuer":{"userName":"worker"}}`),
			before + "worker/i-0123  192.0.2.7",
		},
		"root": {who(`"type":"Root","principalId":"111122223333","accountId":"111122223333"`), before + "root          192.0.2.7"},
		"a federated user": {
			who(`"type":"FederatedUser","principalId":"111122223333:bob","accountId":"111122223333"`), before + "federated/bob  192.0.2.7",
		},
		"somebody of another account, as the owner sees him": {
			who(`"type":"AWSAccount","principalId":"AIDABOB","accountId":"444455556666"`), before + "444455556666:AIDABOB  192.0.2.7",
		},
		"a service for a user": {
			who(`"type":"IAMUser","userName":"alice","accountId":"111122223333","invokedBy":"geo.amazonaws.com"`),
			before + "alice via geo.amazonaws.com  192.0.2.7",
		},
		"the node": {who(`"accountId":"111122223333","invokedBy":"AWS Internal"`), before + "AWS Internal  192.0.2.7"},
		"nobody":   {who(``), before + "?             192.0.2.7"},
		"what would move the cursor": {
			user + `"userIdentity":{"type":"IAMUser","userName":"\u001b[2J\u202e"},"errorCode":"X","errorMessage":"a\nb\r"}`,
			before + `\u001b[2J\u202e  192.0.2.7  X: a\u000ab\u000d`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			if err := newAuditPrinter(&out, false).print([]json.RawMessage{json.RawMessage(c.record)}); err != nil {
				t.Fatal(err)
			}
			if got := strings.TrimSuffix(out.String(), "\n"); got != c.want {
				t.Errorf("printed\n%s\nwant\n%s", got, c.want)
			}
			out.Reset()
			if err := newAuditPrinter(&out, true).print([]json.RawMessage{json.RawMessage(c.record)}); err != nil {
				t.Fatal(err)
			}
			if got := out.String(); got != c.record+"\n" {
				t.Errorf("as JSON: %s", got)
			}
		})
	}
	if err := newAuditPrinter(new(bytes.Buffer), false).print([]json.RawMessage{json.RawMessage(`{"eventTime":1}`)}); err == nil {
		t.Error("what is no record is printed")
	}
}

// Columns grow with what is in them, and stay.
func TestAuditPrinterAligns(t *testing.T) {
	var out bytes.Buffer
	p := newAuditPrinter(&out, false)
	line := func(user string) json.RawMessage {
		return json.RawMessage(`{"eventTime":"2026-11-22T03:04:05Z","eventSource":"kms.amazonaws.com","eventName":"Sign","userIdentity":{"userName":"` + user + `"},"sourceIPAddress":"::1"}`)
	}
	if err := p.print([]json.RawMessage{line("alice"), line("a-user-with-a-long-name"), line("bob"), line(strings.Repeat("x", 100)), line("carol")}); err != nil {
		t.Fatal(err)
	}
	var columns []int
	for text := range strings.Lines(out.String()) {
		columns = append(columns, strings.Index(text, "::1"))
	}
	if !(columns[0] < columns[1] && columns[1] == columns[2] && columns[3] > columns[4] && columns[4]-columns[2] == 32-len("a-user-with-a-long-name")) {
		t.Errorf("addresses are in columns %v:\n%s", columns, out.String())
	}
}

// On a terminal lines have colours and end where it does.
func TestAuditPrinterTerminal(t *testing.T) {
	var out bytes.Buffer
	p := newAuditPrinter(&out, false)
	p.colour, p.width = true, 140
	record := `{"eventTime":"2026-11-22T03:04:05Z","eventSource":"kms.amazonaws.com","eventName":"CreateKey","recipientAccountId":"111122223333","awsRegion":"us-east-1",` +
		`"userIdentity":{"userName":"alice"},"sourceIPAddress":"::1","errorCode":"AccessDenied","errorMessage":"` + strings.Repeat("very ", 100) + `"}`
	if err := p.print([]json.RawMessage{json.RawMessage(record)}); err != nil {
		t.Fatal(err)
	}
	got := out.String()
	plain := strings.NewReplacer(ansiDim, "", ansiBold, "", ansiRed, "", ansiReset, "").Replace(got)
	if n := len([]rune(strings.TrimSuffix(plain, "\n"))); n != 140 || !strings.HasSuffix(plain, "…\n") {
		t.Errorf("%d characters: %q", n, plain)
	}
	for _, want := range []string{ansiBold + "kms:CreateKey" + ansiReset, ansiRed + "AccessDenied: very"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in %q", want, got)
		}
	}
}

func TestMoment(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]string{
		"2026-11-21":                "2026-11-21T00:00:00Z",
		"2026-11-21T03:04":          "2026-11-21T03:04:00Z",
		"2026-11-21 03:04:05":       "2026-11-21T03:04:05Z",
		"2026-11-21T03:04:05Z":      "2026-11-21T03:04:05Z",
		"2026-11-21T03:04:05+01:00": "2026-11-21T02:04:05Z",
		"1h":                        "2026-11-22T11:00:00Z",
		"-90m":                      "2026-11-22T10:30:00Z",
		"7d":                        "2026-11-15T12:00:00Z",
		"-1d":                       "2026-11-21T12:00:00Z",
		"yesterday":                 "",
		"":                          "",
		"0h":                        "",
		"--1h":                      "",
		"1.5d":                      "",
		"d":                         "",
		"99999d":                    "",
	} {
		var m moment
		err := m.UnmarshalText([]byte(text))
		if got := m.at(now).UTC().Format(time.RFC3339); (err != nil) != (want == "") || err == nil && got != want {
			t.Errorf("%q is %s (%v), want %q", text, got, err, want)
		}
	}
}

func TestTimestamp(t *testing.T) {
	for text, want := range map[string]string{
		`"2026-11-01T00:00:00+01:00"`: "2026-10-31T23:00:00Z",
		`"2026-11-01T00:00:00.5Z"`:    "2026-11-01T00:00:00Z",
		`1793491200`:                  "2026-11-01T00:00:00Z",
		`1793491200.0`:                "2026-11-01T00:00:00Z",
		`"soon"`:                      "", `{}`: "", `true`: "",
	} {
		var at timestamp
		err := json.Unmarshal([]byte(text), &at)
		if got := at.UTC().Format(time.RFC3339); (err != nil) != (want == "") || err == nil && got != want {
			t.Errorf("%s is %s (%v), want %q", text, got, err, want)
		}
	}
}

// FuzzAuditPrinter prints what records say: each on one line, with nothing that
// a terminal obeys.
func FuzzAuditPrinter(f *testing.F) {
	f.Add([]byte(`{"eventTime":"2026-11-22T03:04:05Z","eventName":"\u001b[31m\nx","userIdentity":{"type":"AssumedRole","principalId":"A:\u009b"},"resources":[{"ARN":"a:b:c:d:e:\u0007"}]}`))
	f.Add([]byte(`{"errorCode":"X","errorMessage":"\u2028\ud800","userIdentity":{"invokedBy":"\u202e"},"recipientAccountId":"1"}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, record []byte) {
		for _, width := range []int{0, 80} {
			var out bytes.Buffer
			p := newAuditPrinter(&out, false)
			p.width = width
			if err := p.print([]json.RawMessage{record}); err != nil {
				return // no record
			}
			line, rest, ok := strings.Cut(out.String(), "\n")
			if !ok || rest != "" || strings.ContainsFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }) {
				t.Errorf("%q is printed as %q", record, out.String())
			}
		}
	})
}

func TestAuditSearchTimes(t *testing.T) {
	for _, tt := range []struct{ since, until string }{
		{"1h", "2h"},
		{"2026-11-22", "2026-11-21"},
		{"2026-11-22", "2026-11-22"},
	} {
		var c auditSearchCommand
		if err := errors.Join(c.Since.UnmarshalText([]byte(tt.since)), c.Until.UnmarshalText([]byte(tt.until))); err != nil {
			t.Fatal(err)
		}
		var f *failure
		if err := c.Run(&env{program: "keyreeve"}); !errors.As(err, &f) || f.status != 2 {
			t.Errorf("--since %s --until %s: %v, want a wrong usage", tt.since, tt.until, err)
		}
	}
}

// The hashes that are kept with the keys are of the archive's digests, and would
// never be found in a bucket.
func TestAuditVerifyReadKeys(t *testing.T) {
	file := filepath.Join(t.TempDir(), "audit-keys.json")
	text := `{"PublicKeyList": [{"Value": "AAAA", "Fingerprint": "f", "Region": "eu-central-1"}],
		"Heads": [{"Account": "111122223333", "Region": "eu-central-1", "Hash": "aa"},
			{"Account": "444455556666", "Region": "eu-central-1", "Hash": "bb"}]}`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name    string
		command auditVerifyCommand
		want    []string
	}{
		{"an archive", auditVerifyCommand{}, []string{"aa", "bb"}},
		{"one account of it", auditVerifyCommand{Account: "444455556666"}, []string{"bb"}},
		{"a bucket", auditVerifyCommand{Bucket: true}, nil},
		{"a bucket, and a hash", auditVerifyCommand{Bucket: true, Anchor: []string{"cc"}}, []string{"cc"}},
	} {
		tt.command.PublicKeys = file
		o := archive.VerifyOptions{Anchors: tt.command.Anchor}
		if err := tt.command.readKeys(&o); err != nil {
			t.Fatal(err)
		}
		if len(o.Keys) != 1 || !slices.Equal(o.Anchors, tt.want) {
			t.Errorf("%s: %d keys, hashes %q, want %q", tt.name, len(o.Keys), o.Anchors, tt.want)
		}
	}
}
