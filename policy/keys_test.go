package policy_test

import (
	"slices"
	"testing"

	"github.com/keyreeve/keyreeve/policy"
)

func TestKeys(t *testing.T) {
	for _, tt := range []struct {
		name, document string
		want           []string
	}{
		{"none", `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`, nil},
		{
			"variables and conditions, in the document's order",
			`{"Version":"2012-10-17","Statement":[
				{"Effect":"Allow","Action":"s3:*","Resource":["arn:aws:s3:::b/${aws:username}/*","arn:aws:s3:::${aws:PrincipalTag/team, 'none'}/${*}"],
				 "Condition":{"DateGreaterThan":{"aws:CurrentTime":"2026-01-01T00:00:00Z"},"StringLike":{"AWS:UserName":["${ aws:userid }","x"]}}},
				{"Effect":"Deny","NotAction":"kms:*","NotResource":"*","Condition":{"Null":{"kms:EncryptionContext:a:b":"true"},"BoolIfExists":{"aws:SecureTransport":"false"}}}]}`,
			[]string{"aws:username", "aws:PrincipalTag/team", "aws:CurrentTime", "aws:userid", "kms:EncryptionContext:a:b", "aws:SecureTransport"},
		},
		{
			"what an escape stands for", `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"arn:aws:s3:::\u0024{aws:username}"}}`,
			[]string{"aws:username"},
		},
		{
			"no variables before 2012",
			`{"Version":"2008-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringEquals":{"aws:userid":"${aws:username}"}}}}`,
			[]string{"aws:userid"},
		},
		{
			"one that does not end", `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringEquals":{"aws:userid":"${aws:username"}}}}`,
			[]string{"aws:userid"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, err := policy.Parse(tt.document, policy.Options{Type: policy.Identity, Stored: true})
			if err != nil {
				t.Fatal(err)
			}
			if got := p.Keys(); !slices.Equal(got, tt.want) {
				t.Errorf("Keys() = %q, want %q", got, tt.want)
			}
		})
	}
}

func TestSpan(t *testing.T) {
	const one, two = `{"Sid":"a","Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringEquals":{"aws:userid":"}\"}\\"}}}`, `{ "Effect" : "Deny", "Action": "*", "Resource": "*"}`
	const document = `{"Version":"2012-10-17","Statement":[` + one + ` ,` + "\n" + two + `]}`
	p, err := policy.Parse(document, policy.Options{Type: policy.Identity})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{one, two} {
		start, end := p.Span(i)
		if got := document[start:end]; got != want {
			t.Errorf("statement %d is\n%s\nwant\n%s", i, got, want)
		}
	}
}

func TestDenies(t *testing.T) {
	p, err := policy.Parse(`{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"*","Resource":"*"},{"Effect":"Allow","Action":"*","Resource":"*"}]}`,
		policy.Options{Type: policy.Identity})
	if err != nil {
		t.Fatal(err)
	}
	if !p.Denies(0) || p.Denies(1) {
		t.Errorf("Denies(0), Denies(1) = %t, %t", p.Denies(0), p.Denies(1))
	}
}
