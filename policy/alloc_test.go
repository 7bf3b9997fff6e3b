//go:build !race

package policy_test

import (
	"testing"

	"github.com/keyreeve/keyreeve/policy"
)

// TestAllocations holds that a decision allocates nothing.
func TestAllocations(t *testing.T) {
	for name, tt := range map[string]struct {
		text string
		t    policy.Type
	}{
		"default key policy":       {defaultKeyPolicy, policy.KeyPolicy},
		"ten statements, key":      {tenStatements(policy.KeyPolicy), policy.KeyPolicy},
		"ten statements, identity": {tenStatements(policy.Identity), policy.Identity},
		"all operators": {document(`{"Effect":"Allow","Action":"kms:*","Resource":"*","Condition":{
			"StringEquals":{"kms:EncryptionContext:App":"${kms:EncryptionContext:App}"},
			"StringNotEqualsIgnoreCase":{"kms:EncryptionContext:App":"TWO!"},
			"StringLike":{"aws:PrincipalArn":"arn:*:role/?pp/*${aws:PrincipalTag/none, 'er'}"},
			"ArnLike":{"aws:PrincipalArn":"arn:aws:iam::${x:account}:role/*/Reader"},
			"ForAllValues:StringEquals":{"x:list":["a","b"]},
			"ForAnyValue:StringLike":{"x:list":["x*","b*"]},
			"Bool":{"x:yes":"true"},"NumericLessThan":{"x:number":"91"},"Null":{"x:missing":"true"},
			"DateLessThan":{"x:time":"2026-01-01"},"IpAddress":{"x:address":"192.0.2.0/24"},"BinaryEquals":{"x:bytes":"aGVsbG8="}}}`), policy.Identity},
	} {
		p := parse(t, tt.text, tt.t)
		r := app()
		if !p.Verdict(r).Allow {
			t.Errorf("%s: not allowed: %+v", name, p.Evaluate(r, nil).Statements)
		}
		buf := make([]policy.Outcome, 0, 16)
		if n := testing.AllocsPerRun(100, func() { p.Evaluate(r, buf) }); n != 0 {
			t.Errorf("%s: Evaluate allocates %v times", name, n)
		}
		if n := testing.AllocsPerRun(100, func() { p.Verdict(r) }); n != 0 {
			t.Errorf("%s: Verdict allocates %v times", name, n)
		}
	}
	if n := testing.AllocsPerRun(10, func() {
		if _, err := policy.Parse(defaultKeyPolicy, policy.Options{Type: policy.KeyPolicy}); err != nil {
			t.Fatal(err)
		}
	}); n > 25 {
		t.Errorf("parsing the default key policy allocates %v times", n)
	}
}
