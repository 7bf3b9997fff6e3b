package explain_test

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/keyreeve/keyreeve/internal/api/keyreeveapi"
	"github.com/keyreeve/keyreeve/internal/explain"
)

func example() *keyreeveapi.ExplainOutput {
	return &keyreeveapi.ExplainOutput{
		Denial: &keyreeveapi.ExplainedDenial{
			RequestID: "350c42dd-2e35-4472-babe-6dfbe5ba02da", Time: keyreeveapi.Time{Time: time.Unix(1e9, 0)}, Text: "then\x1b[31m it was so", Changed: []string{"identity"},
		},
		Principal: "arn:aws:iam::111122223333:user/alice", Action: "kms:Encrypt", Resource: "arn:aws:kms:us-east-1:111122223333:key/1", Decision: keyreeveapi.Denied, Layer: "identity",
		Text: "User: arn:aws:iam::111122223333:user/alice is not authorized to perform: kms:Encrypt on resource: …",
		Layers: []keyreeveapi.ExplainedLayer{
			{Layer: "scp", Hidden: "it is for the organization's management account to see"},
			{Layer: "rcp", Level: 2, Allows: true, Policies: []keyreeveapi.ExplainedPolicy{{Name: "x", ARN: "arn:aws:organizations::1:policy/x", Allows: true}}},
			{Layer: "resource", Allows: true, AllowedBy: []string{"the account"}, Policies: []keyreeveapi.ExplainedPolicy{{Allows: true, Statements: []keyreeveapi.ExplainedStatement{{Index: 1, SID: "IAM", Effect: "Allow", Line: 3, Column: 5, Matches: true}}}}},
			{Layer: "boundary", Broken: "it is missing"},
			{Layer: "session"},
			{Layer: "identity", Denies: true, Policies: []keyreeveapi.ExplainedPolicy{{Name: "inline", Of: "arn:aws:iam::111122223333:user/alice", Denies: true, Statements: []keyreeveapi.ExplainedStatement{
				{Index: 1, Effect: "Allow", Mismatch: "Action"},
				{Index: 2, SID: "\x1b[2J", Effect: "Deny", Line: 9, Column: 7, Matches: true},
				{Index: 3, Effect: "Allow", Line: 10, Column: 7, Mismatch: "Condition", Condition: `StringEquals aws:username "bob"`, Seen: []string{"alice", "\x1b[0m"}},
				{Index: 4, Effect: "Allow", Line: 11, Column: 7, Mismatch: "Condition", Condition: `Bool aws:MultiFactorAuthPresent "true"`},
				{Index: 5, Effect: "Allow", Mismatch: "Action"},
				{Index: 6, Effect: "Allow", Mismatch: "inert"},
			}}}},
		},
		Grants: []keyreeveapi.ExplainedGrant{{ID: "abc", Why: "it is not for this operation"}},
		Changes: []keyreeveapi.ExplainedChange{
			{Layer: "identity", Do: keyreeveapi.ReplaceStatement, Target: "arn:aws:iam::111122223333:user/alice", Policy: "inline", Index: 2, Line: 9, Column: 7, Wider: "It exempts too much.", Or: "Try again."},
			{Layer: "boundary", Do: keyreeveapi.AddStatement, Target: "arn:aws:iam::111122223333:user/alice", Policy: "arn:aws:iam::111122223333:policy/b", Statements: []json.RawMessage{json.RawMessage(`{"Effect":"Allow","Action":"kms:Encrypt"}`)}},
		},
		Notes: []string{"There is more to say."},
	}
}

// What is printed for people stands in testdata; nothing that was asked about
// reaches their terminal as it is.
func TestReport(t *testing.T) {
	got := string(explain.AppendReport(nil, example(), explain.Style{}))
	want, err := os.ReadFile("testdata/report.txt")
	if err != nil || got != string(want) {
		t.Errorf("%v, printed:\n%s", err, got)
	}
	if strings.Contains(got, "\x1b") {
		t.Error("it has control characters")
	}
}

// Lines are broken at spaces, and colours change nothing else.
func TestReportStyle(t *testing.T) {
	plain := string(explain.AppendReport(nil, example(), explain.Style{Width: 60}))
	colours := string(explain.AppendReport(nil, example(), explain.Style{Width: 60, Colour: true}))
	if !strings.Contains(colours, "\x1b[31mdenied\x1b[0m") {
		t.Errorf("no colours:\n%s", colours)
	}
	if got := regexp.MustCompile(`\x1b\[[0-9]*m`).ReplaceAllString(colours, ""); strings.Join(strings.Fields(got), " ") != strings.Join(strings.Fields(plain), " ") || strings.Contains(got, "\x1b") {
		t.Errorf("with colours:\n%s", got)
	}
	for line := range strings.Lines(plain) {
		if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > 60 && len(strings.Fields(line)) > 1 {
			t.Errorf("%d characters: %s", n, line)
		}
	}
}
