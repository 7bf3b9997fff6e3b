package policy_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/keyreeve/keyreeve/policy"
)

// adversarial are patterns that a matcher which backtracks never ends with.
var adversarial = []struct{ name, pattern, text string }{
	{"stars", strings.Repeat("*a", 190) + "*b*", strings.Repeat("a", 2000)},
	{"stars and marks", strings.Repeat("*a?", 120) + "b*", strings.Repeat("a", 2000)},
	{"nearly", strings.Repeat("*"+strings.Repeat("a", 20)+"b", 17) + "*", strings.Repeat("a", 2000)},
	{"long part", "*" + strings.Repeat("a", 380) + "b*", strings.Repeat("a", 2000)},
	{"long part with marks", "*" + strings.Repeat("a?", 190) + "b*", strings.Repeat("a", 2000)},
	{"end", "*" + strings.Repeat("a", 380) + "b", strings.Repeat("a", 2000)},
	{"one star", "kms:*", "kms:GenerateDataKeyWithoutPlaintext"},
}

func BenchmarkWildcard(b *testing.B) {
	for _, tt := range adversarial {
		b.Run(tt.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(tt.text)))
			for b.Loop() {
				policy.Wildcard(tt.pattern, tt.text)
			}
		})
	}
}

// BenchmarkAdversarial evaluates documents as large as they may be, made to take
// long: every statement is about the call until its very end.
func BenchmarkAdversarial(b *testing.B) {
	const limit = 32_768 // of a key policy
	for _, tt := range adversarial[:5] {
		text, pattern := tt.text[:384], tt.pattern
		var statements []string
		for size := 0; size < limit; {
			s := fmt.Sprintf(`{"Effect":"Allow","Principal":"*","Action":"kms:*e*r*t","Resource":"*","Condition":{"ForAllValues:StringLike":{"aws:TagKeys":[%q,%q]},"StringLike":{"kms:EncryptionContext:a":[%q,%q]}}}`,
				"*", pattern, pattern, pattern)
			statements = append(statements, s)
			size += len(s) + 1
		}
		p, err := policy.Parse(`{"Version":"2012-10-17","Statement":[`+strings.Join(statements, ",")+`]}`, policy.Options{Type: policy.KeyPolicy})
		if err != nil {
			b.Fatal(err)
		}
		r := policy.Request{
			Principal: &policy.Principal{Account: accountA, ARN: "arn:aws:iam::111122223333:user/Bob"}, Action: "kms:Encrypt", Resource: keyA,
			Context: policy.Values{"aws:tagkeys": policy.Strings([]string{text, text, text, text}), "kms:encryptioncontext:a": policy.String(text)},
		}
		buf := make([]policy.Outcome, 0, len(statements))
		b.Run(tt.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if p.Evaluate(&r, buf).Allow {
					b.Fatal("allowed")
				}
			}
		})
	}
}
