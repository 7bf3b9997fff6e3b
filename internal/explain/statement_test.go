package explain_test

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/keyreeve/keyreeve/internal/explain"
	"github.com/keyreeve/keyreeve/policy"
)

const (
	alice = "arn:aws:iam::111122223333:user/alice"
	bob   = "arn:aws:iam::111122223333:user/bob"
	one   = "arn:aws:kms:us-east-1:111122223333:key/1"
	other = "arn:aws:kms:us-east-1:111122223333:key/2"
)

// compiled is a policy of statements; nil for none.
func compiled(t *testing.T, statements []string) *policy.Policy {
	t.Helper()
	if len(statements) == 0 {
		return nil
	}
	text := `{"Version":"2012-10-17","Statement":[` + strings.Join(statements, ",") + `]}`
	p, err := policy.Parse(text, policy.Options{Type: policy.Identity})
	if err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return p
}

// denies reports whether a policy denies.
func denies(p *policy.Policy, who, action, resource, context string) bool {
	if p == nil {
		return false
	}
	values := policy.Values{"aws:principalarn": policy.String(who)}
	if context != "" {
		values["kms:encryptioncontext:app"] = policy.String(context)
	}
	return p.Verdict(&policy.Request{Action: action, Resource: resource, Context: values}).Deny
}

// What takes the place of a Deny statement denies all that it denied but one
// call, and nothing else; or it says that it denies less.
func TestExempt(t *testing.T) {
	pick := func(r *rand.Rand, list ...string) string { return list[r.IntN(len(list))] }
	actions := []string{"kms:Encrypt", "kms:Decrypt", "kms:DescribeKey", "kms:Verify", "s3:GetObject", "kms:DeleteAlias"}
	r := rand.New(rand.NewPCG(1, 2))
	exact := 0
	for range 1000 {
		action := pick(r, `"Action":"kms:Decrypt"`, `"Action":["kms:Decrypt","kms:Encrypt"]`, `"Action":"kms:*"`, `"Action":"kms:De*"`, `"Action":"*"`, `"Action":["s3:*","kms:*crypt"]`,
			`"NotAction":"kms:Encrypt"`, `"NotAction":["s3:*","kms:Verify"]`, `"Action":"kms:?ecrypt"`, `"Action":"KMS:decrypt"`)
		resource := pick(r, `"Resource":"*"`, `"Resource":"`+one+`"`, `"Resource":["`+one+`","`+other+`"]`, `"NotResource":"`+other+`"`, `"Resource":"arn:aws:kms:*:111122223333:key/*"`, `"Resource":["`+other+`","*"]`)
		condition := pick(r, ``, `,"Condition":{"StringNotEquals":{"kms:EncryptionContext:app":"x"}}`, `,"Condition":{"ArnNotEquals":{"aws:PrincipalArn":"`+bob+`"}}`,
			`,"Condition":{"ArnLike":{"aws:PrincipalArn":["arn:aws:iam::111122223333:user/*"]},"Null":{"kms:EncryptionContext:app":"true"}}`, `,"Condition":{"ArnEquals":{"aws:principalarn":["`+alice+`","`+bob+`"]}}`)
		text := `{"Sid":"S","Effect":"Deny",` + action + `,` + resource + condition + `}`
		was := compiled(t, []string{text})
		if !denies(was, alice, "kms:Decrypt", one, "") {
			continue
		}
		list, wider, err := explain.Exempt(text, alice, "kms:Decrypt", one, false, false)
		if err != nil {
			t.Fatal(err)
		}
		if wider == "" {
			exact++
		}
		now := compiled(t, list)
		for _, who := range []string{alice, bob} {
			for _, a := range actions {
				for _, res := range []string{one, other, "*"} {
					for _, context := range []string{"", "x", "y"} {
						before, after := denies(was, who, a, res, context), denies(now, who, a, res, context)
						want := before && (who != alice || a != "kms:Decrypt" || res != one)
						if after != want && (wider == "" || after && !before || who != alice || after) {
							t.Fatalf("%s\nbecame %s\n%s %s %s %q: denied %v, want %v; wider %q", text, list, who, a, res, context, after, want, wider)
						}
					}
				}
			}
		}
	}
	if exact < 200 {
		t.Errorf("%d were exempt exactly", exact)
	}
}

// In the policy of a principal alone, nothing is said of others.
func TestExemptAlone(t *testing.T) {
	for text, want := range map[string]string{
		`{"Effect":"Deny","Action":"kms:Decrypt","Resource":"` + one + `"}`:                    `[]`,
		`{"Effect":"Deny","Action":"kms:Decrypt","Resource":"*"}`:                              `[{"Effect":"Deny","Action":"kms:Decrypt","NotResource":"` + one + `"}]`,
		`{"Sid":"A","Effect":"Deny","Action":["kms:Decrypt","s3:*"],"Resource":"` + one + `"}`: `[{"Sid":"A","Effect":"Deny","Action":"s3:*","Resource":"` + one + `"}]`,
	} {
		list, wider, err := explain.Exempt(text, alice, "kms:Decrypt", one, true, false)
		if got := "[" + strings.Join(list, ",") + "]"; err != nil || wider != "" || got != want {
			t.Errorf("%s: %s %q %v, want %s", text, got, wider, err, want)
		}
	}
}

func TestLike(t *testing.T) {
	for _, tt := range []struct {
		pattern, text string
		want          bool
	}{
		{"", "", true}, {"*", "", true}, {"a", "", false}, {"a*c", "ABC", true}, {"a?c", "ac", false}, {"*b*", "abc", true}, {"a*b*c", "a-b-b-d", false}, {"**c", "abc", true},
	} {
		if got := explain.Like(tt.pattern, tt.text); got != tt.want {
			t.Errorf("Like(%q, %q) = %v", tt.pattern, tt.text, got)
		}
	}
	if !explain.Like(strings.Repeat("*a", 50), strings.Repeat("ba", 1000)) {
		t.Error("a long one")
	}
}
