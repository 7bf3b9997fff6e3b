package cases_test

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"github.com/keyreeve/keyreeve/internal/api/keyreeveapi"
	"github.com/keyreeve/keyreeve/kmstest"
)

// unlike takes out of an explanation what is each request's own.
var unlike = regexp.MustCompile(`"RequestId":"[^"]*","Time":[0-9.]+`)

// An explanation tells nothing of another account's key: not even whether it is
// there.
func TestExplainHidesForeignKeys(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "", kmstest.Region(region))
	w.key("closed", keyOptions{aliases: []string{"alias/closed"}}, rootOf(accountA))
	w.key("B:own", keyOptions{})
	w.user("B:Bob", allow("kms:* keyreeve:*", "*"))
	w.user("B:Eve", allow("kms:* keyreeve:*", "*"), deny("kms:Decrypt", "*"))
	missing := "arn:aws:kms:" + region + ":" + accountA + ":key/" + unknown
	aliases := []string{"arn:aws:kms:" + region + ":" + accountA + ":alias/closed", "arn:aws:kms:" + region + ":" + accountA + ":alias/none"}
	for _, as := range []string{"B:Bob", "B:Eve"} {
		for _, pair := range [][2]typical{
			{{do: "Encrypt", in: encrypt("{closed}")}, {do: "Encrypt", in: encrypt(missing)}},
			{{do: "DescribeKey", in: onKey("{closed}")}, {do: "DescribeKey", in: onKey(missing)}},
			{{do: "DescribeKey", in: onKey(aliases[0])}, {do: "DescribeKey", in: onKey(aliases[1])}},
			{{do: "DisableKey", in: onKey("{closed}")}, {do: "DisableKey", in: onKey(missing)}},
		} {
			var told [2]string
			for i := range pair {
				pair[i].as = as
				_, id := w.do(&pair[i])
				out, text := w.explain(as, keyreeveapi.ExplainInput{RequestID: id})
				if out == nil || out.Decision != keyreeveapi.Denied || !strings.Contains(text, "Either there is no such resource") {
					t.Fatalf("%s: %s", pair[i].do, text)
				}
				told[i] = unlike.ReplaceAllString(text, "")
			}
			if told[0] != told[1] {
				t.Errorf("%s of %s: told %s\nand of a key that is not there %s", pair[0].do, as, told[0], told[1])
			}
		}
		// A call that nobody makes.
		for _, action := range []string{"kms:Encrypt", "kms:Decrypt", "kms:DisableKey"} {
			var told [2]string
			for i, resource := range []string{w.fill("{closed}"), missing} {
				text, err := json.Marshal(object{"principal": w.fill("{" + as + "}"), "action": action, "resource": resource})
				if err != nil {
					t.Fatal(err)
				}
				_, answer := w.explain(as, keyreeveapi.ExplainInput{Case: string(text)})
				told[i] = strings.ReplaceAll(answer, resource, "KEY")
			}
			if told[0] != told[1] || strings.Contains(told[0], accountA+":root") {
				t.Errorf("%s for %s: told %s\nand of a key that is not there %s", action, as, told[0], told[1])
			}
		}
	}
	// One account is told nothing of another's requests.
	c := typical{as: "B:Eve", do: "Decrypt", in: decrypt("{B:own.blob}")}
	_, id := w.do(&c)
	for _, as := range []string{"admin", "manager"} {
		if _, text := w.explain(as, keyreeveapi.ExplainInput{RequestID: id}); !strings.Contains(text, "NotFoundException") {
			t.Errorf("%s is told %s", as, text)
		}
		if _, text := w.explain(as, keyreeveapi.ExplainInput{Case: w.fill(`{"principal":"{B:Eve}","action":"kms:Decrypt","resource":"*"}`)}); !strings.Contains(text, "ValidationException") {
			t.Errorf("%s is told %s", as, text)
		}
	}
	if out, text := w.explain("B:admin", keyreeveapi.ExplainInput{RequestID: id}); out == nil || len(out.Changes) != 1 {
		t.Errorf("the own account's administrator is told %s", text)
	}
}

// Each layer is shown to those alone who may read its documents, and nothing is
// proposed for one that is not.
func TestExplainShowsWhatMayBeRead(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "", kmstest.Region(region))
	w.key("K", keyOptions{}, rootOf(accountA), denyTo("*", "kms:Decrypt", when("StringNotEquals", "kms:EncryptionContext:secretname", "hush")))
	w.user("victim", allow("kms:Encrypt", "*", when("StringEquals", "kms:EncryptionContext:othername", "hush")), deny("kms:Decrypt", "*", when("Null", "kms:EncryptionContext:othername", "true")))
	w.boundary("User", "victim", allow("kms:*", "*", when("Null", "kms:EncryptionContext:thirdname", "false")))
	c := typical{as: "victim", do: "Decrypt", in: decrypt("{K.blob}")}
	_, id := w.do(&c)
	names := map[string]string{"resource": "secretname", "identity": "othername", "boundary": "thirdname"}
	for name, tt := range map[string]struct {
		may   string
		shown string
	}{
		"none":     {"keyreeve:Explain", ""},
		"key":      {"keyreeve:Explain kms:GetKeyPolicy", "resource"},
		"identity": {"keyreeve:Explain iam:GetUserPolicy", "identity"},
		"boundary": {"keyreeve:Explain iam:GetPolicyVersion", "boundary"},
		"both":     {"keyreeve:Explain iam:GetUserPolicy kms:GetKeyPolicy", "identity resource"},
		"all":      {"keyreeve:Explain iam:Get* kms:GetKeyPolicy", "identity resource boundary"},
	} {
		w.user(name, allow(tt.may, "*"))
		out, text := w.explain(name, keyreeveapi.ExplainInput{RequestID: id})
		if out == nil {
			t.Errorf("%s: %s", name, text)
			continue
		}
		for layer, word := range names {
			shown := strings.Contains(tt.shown, layer)
			if strings.Contains(text, word) != shown {
				t.Errorf("%s: of %s %v is shown: %s", name, layer, !shown, text)
			}
		}
		if out.Complete != (name == "all") || out.Decision != keyreeveapi.Denied || out.Layer != "resource" {
			t.Errorf("%s: %s by %s, complete %v: %s", name, out.Decision, out.Layer, out.Complete, text)
		}
	}
	w.user("nobody")
	if _, text := w.explain("nobody", keyreeveapi.ExplainInput{RequestID: id}); !strings.Contains(text, "keyreeve:Explain") {
		t.Errorf("without a permission: %s", text)
	}
}

// What cannot be a case is refused as the caller's mistake, whatever it is.
func TestExplainOddCases(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "", kmstest.Region(region))
	w.key("K", keyOptions{})
	for _, text := range []string{
		`{}`, `[]`, `null`, `{"principal":1}`, `{"principal":"user/admin"}`, `{"principal":"user/admin","action":"kms:Decrypt"}`,
		`{"principal":"user/admin","action":"kms:Decrypt","resource":"{K}","identity":"AdministratorAccess"}`,
		`{"principal":"user/admin","action":"kms:Decrypt","resource":"{K}","session":{"file":"/etc/passwd"}}`,
		`{"principal":"user/admin","action":"kms:Decrypt","resource":"{K}","key":{"policy":{}}}`,
		`{"principal":"user/admin","action":"kms:Decrypt","resource":"alias/none"}`,
		`{"principal":"user/admin","action":"kms:Decrypt","resource":"key/*","region":"us west"}`,
		`{"principal":"user/admin","action":"kms:RetireGrant","resource":"{K}","request":{"GrantId":"x"}}`,
		`{"principal":"user/admin","action":"kms:Decrypt","resource":"{K}","request":{"GrantTokens":["x"]}}`,
		`{"principal":"user/admin","action":"kms:Decrypt","resource":"{K}","context":{"aws:PrincipalArn":"x"}}`,
		`{"principal":"cloudtrail.amazonaws.com","action":"kms:Decrypt","resource":"{K}"}`,
		`{"principal":"federated-user/x","action":"kms:Decrypt","resource":"{K}"}`,
		`{"principal":{"arn":"federated-user/x","issuer":"user/none"},"action":"kms:Decrypt","resource":"{K}"}`,
		`{"principal":"assumed-role/none/s1","action":"sts:AssumeRole","resource":"role/none"}`,
		`{"principal":"user/admin","action":"sts:AssumeRole","resource":"role/none"}`,
		`{"principal":"user/admin","action":"kms:Decrypt","resource":"` + strings.Repeat("[", 5000) + `"}`,
		strings.Repeat(`{"a":`, 2000),
	} {
		out, answer := w.explain("admin", keyreeveapi.ExplainInput{Case: w.fill(text)})
		if out != nil || !strings.Contains(answer, "ValidationException") {
			t.Errorf("%.120s: %.300s", text, answer)
		}
	}
	for _, text := range []string{
		`{"principal":"root","action":"kms:Decrypt","resource":"{K}"}`,
		`{"principal":{"arn":"root","temporary":true},"action":"iam:ListUsers","resource":"*"}`,
		`{"principal":{"arn":"federated-user/x1","issuer":"user/admin"},"session":{"Effect":"Allow","Action":"*","Resource":"*"},"action":"kms:Decrypt","resource":"{K.id}"}`,
		`{"principal":"user/admin","action":"kms:CreateAlias","resource":"alias/new"}`,
		`{"principal":"user/admin","action":"s3:GetObject","resource":"arn:aws:s3:::bucket/object"}`,
		`{"principal":"user/admin","action":"kms:Decrypt","resource":"{K}","via":"s3"}`,
	} {
		if out, answer := w.explain("admin", keyreeveapi.ExplainInput{Case: w.fill(text)}); out == nil {
			t.Errorf("%s: %s", text, answer)
		}
	}
}
