package policy_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/policy"
)

// defaultKeyPolicy is the key policy of a key that was made without one.
const defaultKeyPolicy = `{
  "Version" : "2012-10-17",
  "Id" : "key-default-1",
  "Statement" : [ {
    "Sid" : "Enable IAM User Permissions",
    "Effect" : "Allow",
    "Principal" : {
      "AWS" : "arn:aws:iam::111122223333:root"
    },
    "Action" : "kms:*",
    "Resource" : "*"
  } ]
}`

// tenStatements returns a policy of ten statements, of which two are about
// Decrypt, with conditions.
func tenStatements(t policy.Type) string {
	element, resource := "", "arn:aws:kms:*:111122223333:key/*"
	if t == policy.KeyPolicy {
		element, resource = `"Principal":{"AWS":["arn:aws:iam::444455556666:user/Mallory","arn:aws:iam::111122223333:role/app/Reader","111122223333"]},`, "*"
	}
	var statements []string
	for i, action := range []string{"Create*", "Put*", "Decrypt", "Tag*", "ListGrants", "ScheduleKeyDeletion", "GenerateDataKey*", "ReEncrypt*", "Dec*", "GetKeyPolicy"} {
		statements = append(statements, fmt.Sprintf(`{"Sid":"S%d","Effect":"Allow",%s"Action":["kms:%s","kms:Enable*","kms:UpdateAlias"],"Resource":"%s",`+
			`"Condition":{"StringEquals":{"kms:EncryptionContext:App":["one","two"]},"StringLike":{"aws:PrincipalArn":"arn:aws:iam::111122223333:role/*"}}}`, i, element, action, resource))
	}
	return `{"Version":"2012-10-17","Statement":[` + strings.Join(statements, ",") + `]}`
}

// app is a request of a role session, with an encryption context.
func app() *policy.Request {
	return &policy.Request{
		Principal: &policy.Principal{
			Account: "111122223333", Role: "arn:aws:iam::111122223333:role/app/Reader", ID: "AROAREADER",
			ARN: "arn:aws:sts::111122223333:assumed-role/Reader/s",
		},
		Action:   "kms:Decrypt",
		Resource: "arn:aws:kms:us-west-2:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab",
		Context:  appContext{},
	}
}

// appContext is a Context as programs write them: without a map.
type appContext struct{}

var ab = []string{"a", "b"}

func (appContext) Value(k *policy.Key) policy.Value {
	switch k.Name {
	case "aws:principalarn":
		return policy.String("arn:aws:iam::111122223333:role/app/Reader")
	case "kms:encryptioncontext:":
		if strings.EqualFold(k.Sub, "App") {
			return policy.String("two")
		}
	case "x:account":
		return policy.String("111122223333")
	case "x:list":
		return policy.Strings(ab)
	case "x:yes":
		return policy.Bool(true)
	case "x:number":
		return policy.Number(90)
	case "x:time":
		return policy.Time(time.Unix(1700000000, 0))
	case "x:address":
		return policy.Addr(netip.AddrFrom4([4]byte{192, 0, 2, 10}))
	case "x:bytes":
		return policy.String("aGVsbG8=")
	}
	return policy.Value{}
}

func parse(tb testing.TB, text string, t policy.Type) *policy.Policy {
	tb.Helper()
	p, err := policy.Parse(text, policy.Options{Type: t})
	if err != nil {
		tb.Fatalf("%v\n%s", err, text)
	}
	return p
}

func BenchmarkVerdict(b *testing.B) {
	for name, p := range map[string]*policy.Policy{
		"default":      parse(b, defaultKeyPolicy, policy.KeyPolicy),
		"ten key":      parse(b, tenStatements(policy.KeyPolicy), policy.KeyPolicy),
		"ten identity": parse(b, tenStatements(policy.Identity), policy.Identity),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			r := app()
			for b.Loop() {
				if !p.Verdict(r).Allow {
					b.Fatal("not allowed")
				}
			}
		})
	}
}

func BenchmarkEvaluate(b *testing.B) {
	for name, p := range map[string]*policy.Policy{
		"default":      parse(b, defaultKeyPolicy, policy.KeyPolicy),
		"ten key":      parse(b, tenStatements(policy.KeyPolicy), policy.KeyPolicy),
		"ten identity": parse(b, tenStatements(policy.Identity), policy.Identity),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			r := app()
			buf := make([]policy.Outcome, 0, 16)
			for b.Loop() {
				if !p.Evaluate(r, buf).Allow {
					b.Fatal("not allowed")
				}
			}
		})
	}
}

func BenchmarkParse(b *testing.B) {
	for name, text := range map[string]string{"default": defaultKeyPolicy, "ten": tenStatements(policy.KeyPolicy)} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				parse(b, text, policy.KeyPolicy)
			}
		})
	}
}
