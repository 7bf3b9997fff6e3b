package policy_test

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/policy"
)

// ask evaluates a document of one statement.
func ask(t *testing.T, typ policy.Type, text string, r *policy.Request) policy.Outcome {
	t.Helper()
	p := parse(t, text, typ)
	result := p.Evaluate(r, nil)
	if len(result.Statements) != 1 {
		t.Fatalf("%d outcomes", len(result.Statements))
	}
	if v := p.Verdict(r); v.Allow != result.Allow || v.Deny != result.Deny || v.AllowedBy != result.AllowedBy {
		t.Errorf("the verdict is %+v, the evaluation %+v\n%s", v, result, text)
	}
	return result.Statements[0]
}

func TestAction(t *testing.T) {
	tests := []struct {
		pattern string
		means   []string
		not     []string
	}{
		{"*", []string{"kms:Decrypt", "iam:GetUser"}, nil},
		{"kms:*", []string{"kms:Decrypt", "KMS:decrypt"}, []string{"iam:GetUser", "kmsx:Decrypt"}},
		{"kms:Decrypt", []string{"kms:Decrypt", "kms:DECRYPT"}, []string{"kms:Encrypt", "kms:DecryptX", "kms:Decryp", "Decrypt", ""}},
		{"KMS:decrypt", []string{"kms:Decrypt"}, []string{"kms:Encrypt"}},
		{"kms:ReEncrypt*", []string{"kms:ReEncryptFrom", "kms:ReEncryptTo"}, []string{"kms:Encrypt"}},
		{"kms:Re*Encrypt", nil, []string{"kms:ReEncryptFrom"}},
		{"kms:*Key*", []string{"kms:CreateKey", "kms:GenerateDataKeyPair"}, []string{"kms:Decrypt"}},
		{"kms:?ecrypt", []string{"kms:Decrypt"}, []string{"kms:Encrypt", "kms:ecrypt"}},
		{"kms:Delete*", []string{"kms:DeleteAlias"}, []string{"kms:ScheduleKeyDeletion"}},
		{"kms:Decrypt", nil, []string{"\u212Ams:Decrypt"}}, // Kelvin's sign is no k
		{"*:Decrypt", []string{"kms:Decrypt"}, []string{"kms:Encrypt"}},
	}
	for _, tt := range tests {
		for i, action := range append(tt.means, tt.not...) {
			want := i < len(tt.means)
			r := app()
			r.Action = action
			o := ask(t, policy.Identity, document(fmt.Sprintf(`{"Effect":"Allow","Action":%q,"Resource":"*"}`, tt.pattern)), r)
			if o.Matched != want || !want && o.Mismatch != policy.OfAction {
				t.Errorf("Action %s on %s: %+v, want %v", tt.pattern, action, o, want)
			}
			o = ask(t, policy.Identity, document(fmt.Sprintf(`{"Effect":"Allow","NotAction":["iam:Other",%q],"Resource":"*"}`, tt.pattern)), r)
			if o.Matched == want || want && o.Mismatch != policy.OfAction {
				t.Errorf("NotAction %s on %s: %+v, want %v", tt.pattern, action, o, !want)
			}
		}
	}
}

func TestResource(t *testing.T) {
	const alias = "arn:aws:kms:us-west-2:111122223333:alias/app/a:b"
	tests := []struct {
		pattern  string
		resource string
		want     bool
	}{
		{"*", keyA, true},
		{"*", "*", true},
		{keyA, keyA, true},
		{keyA, strings.ToUpper(keyA), false},
		{"arn:aws:kms:us-west-2:111122223333:key/*", keyA, true},
		{"arn:aws:kms:us-west-2:111122223333:key/*", "*", false},
		{"arn:aws:kms:us-west-2:111122223333:*", keyA, true},
		{"arn:aws:kms:*:111122223333:key/*", keyA, true},
		{"arn:aws:kms:us-*:1111????3333:key/*-1234567890ab", keyA, true},
		{"arn:aws:kms:us-west-1:111122223333:key/*", keyA, false},
		{"arn:aws:kms:*:*:*", keyA, true},
		{"arn:*:kms:*:111122223333:key/*", keyA, true},
		{"arn:aws:kms:*:444455556666:key/*", keyA, false},
		// A wildcard stays in its part, but the last part is free text.
		{"arn:aws:kms:*:key/1234abcd-12ab-34cd-56ef-1234567890ab:", keyA, false},
		{"arn:aws:kms:*:111122223333:alias/*", alias, true},
		{"arn:aws:kms:us-west-2:111122223333:alias/*:b", alias, true},
		{"arn:aws:kms:us-west-2:111122223333:alias/app/*", alias, true},
		{"arn:aws:kms:*:*:alias/?pp*", alias, true},
		{"arn:aws:kms:us-west-2:111122223333:key/*", alias, false},
		{"arn:aws:s3:::bucket/${aws:username}/*", "arn:aws:s3:::bucket/bob/x/y", true},
		{"arn:aws:s3:::bucket/${aws:username}/*", "arn:aws:s3:::bucket/eve/x/y", false},
		{"arn:aws:s3:::bucket/${aws:PrincipalTag/team, 'none'}", "arn:aws:s3:::bucket/none", true},
		{"arn:aws:s3:::bucket/${aws:PrincipalTag/team}", "arn:aws:s3:::bucket/", false},
		{"arn:aws:s3:::bucket/*${*}", "arn:aws:s3:::bucket/a*", true},
		{"arn:aws:s3:::bucket/a${*}", "arn:aws:s3:::bucket/a*", true},
		{"arn:aws:s3:::bucket/a${*}", "arn:aws:s3:::bucket/ab", false},
		{"arn:aws:s3:::bucket/a${*}/*", "arn:aws:s3:::bucket/a*/b", true},
		{"arn:aws:s3:*:*:bucket/a${?}", "arn:aws:s3:::bucket/a?", true},
		{"arn:*:kms:*:*:*", keyA, true},
		{"arn:*:kms:*:*:*", "arn:aws:iam::111122223333:user/Bob", false},
		{"arn:aws:kms:*:*:key/1*", keyA, true},
		{"arn:aws:kms:*:*:key/2*", keyA, false},
		{"arn:aws:kms:*:*:key/1*b", keyA, true},
		{"arn:aws:kms:**:111122223333:key/1*b", keyA, true},
		{"arn:aws:kms:*:111122223333:key/1*c", keyA, false},
		{"arn:aws:s3:::bucket/*${*}", "arn:aws:s3:::bucket/ab", false},
		{"arn:aws:s3:::*/${aws:username}?${aws:username}/*", "arn:aws:s3:::a/b/bob-bob/c", true},
		{"arn:aws:s3:::*/${aws:username}?${aws:username}/*", "arn:aws:s3:::a/b/bobbob/c", false},
	}
	for _, tt := range tests {
		r := app()
		r.Resource, r.Context = tt.resource, policy.Values{"aws:username": policy.String("bob")}
		o := ask(t, policy.Identity, document(fmt.Sprintf(`{"Effect":"Allow","Action":"*","Resource":[%q]}`, tt.pattern)), r)
		if o.Matched != tt.want || !tt.want && o.Mismatch != policy.OfResource {
			t.Errorf("Resource %s on %s: %+v, want %v", tt.pattern, tt.resource, o, tt.want)
		}
		o = ask(t, policy.Identity, document(fmt.Sprintf(`{"Effect":"Deny","Action":"*","NotResource":%q}`, tt.pattern)), r)
		if o.Matched == tt.want || tt.want && o.Mismatch != policy.OfResource {
			t.Errorf("NotResource %s on %s: %+v, want %v", tt.pattern, tt.resource, o, !tt.want)
		}
	}
}

// TestVersions holds that variables are text in the older version.
func TestVersions(t *testing.T) {
	const statement = `"Statement":{"Effect":"Allow","Action":"*","Resource":"arn:aws:s3:::b/${aws:username}","Condition":{"StringEquals":{"aws:username":"${aws:username}"}}}}`
	for head, want := range map[string]string{
		`{"Version":"2012-10-17",`: "bob",
		`{"Version":"2008-10-17",`: "${aws:username}",
		`{`:                        "${aws:username}",
	} {
		for _, name := range []string{"bob", "${aws:username}"} {
			r := app()
			r.Resource, r.Context = "arn:aws:s3:::b/"+want, policy.Values{"aws:username": policy.String(name)}
			if o := ask(t, policy.Identity, head+statement, r); o.Matched != (name == want) {
				t.Errorf("%s for %s: %+v", head, name, o)
			}
		}
	}
	p := parse(t, "{"+statement, policy.Identity)
	if p.Version() != "2008-10-17" {
		t.Errorf("without a version it is of %s", p.Version())
	}
}

// requestKeys are the condition keys of TestConditions.
var requestKeys = policy.Values{
	"x:s":                       policy.String("alpha"),
	"x:upper":                   policy.String("ALPHA"),
	"x:empty":                   policy.String(""),
	"x:stars":                   policy.String("a*b"),
	"x:dollar":                  policy.String("${x:s}"),
	"x:list":                    policy.Strings([]string{"alpha", "beta"}),
	"x:none":                    policy.Strings(nil),
	"x:blank":                   policy.Strings([]string{""}),
	"x:n":                       policy.Number(90),
	"x:pi":                      policy.Number(3.25),
	"x:ntext":                   policy.String("90.0"),
	"x:t":                       policy.Time(time.Date(2026, 6, 1, 10, 30, 0, 0, time.UTC)),
	"x:ttext":                   policy.String("2026-06-01T12:30:00+02:00"),
	"x:epoch":                   policy.Number(1780309800), // the same
	"x:yes":                     policy.Bool(true),
	"x:no":                      policy.Bool(false),
	"x:ip":                      policy.Addr(netip.MustParseAddr("192.0.2.10")),
	"x:mapped":                  policy.Addr(netip.MustParseAddr("::ffff:192.0.2.10")),
	"x:ip6":                     policy.Addr(netip.MustParseAddr("2001:db8::1")),
	"x:iptext":                  policy.String("192.0.2.10"),
	"x:role":                    policy.String("arn:aws:iam::111122223333:role/app/Reader"),
	"x:huge":                    policy.Number(1e300),
	"x:half":                    policy.Number(1780309800.5),
	"x:never":                   policy.String("2026-13-32T25:61Z and a good deal more than that"),
	"x:open":                    policy.String("arn:aws:iam::${x:${open"),
	"x:odd":                     policy.String("arn:aws:iam:*:$:x"),
	"x:bytes":                   policy.String("aGVsbG8="),
	"kms:encryptioncontext:app": policy.String("One"),
	"aws:principaltag/team":     policy.String("alpha"),
	"x:tag/alpha":               policy.String("yes"),
}

func TestConditions(t *testing.T) {
	tests := []struct {
		condition string
		want      bool
	}{
		// String
		{`"StringEquals":{"x:s":"alpha"}`, true},
		{`"StringEquals":{"x:s":"Alpha"}`, false},
		{`"StringEquals":{"X:S":"alpha"}`, true},
		{`"stringequals":{"x:s":"alpha"}`, true},
		{`"StringEquals":{"x:s":["beta","alpha"]}`, true},
		{`"StringEquals":{"x:s":"al*"}`, false},
		{`"StringEquals":{"x:stars":"a*b"}`, true},
		{`"StringEquals":{"x:empty":""}`, true},
		{`"StringEquals":{"x:missing":"alpha"}`, false},
		{`"StringEqualsIfExists":{"x:missing":"alpha"}`, true},
		{`"StringEqualsIfExists":{"x:s":"beta"}`, false},
		{`"StringNotEquals":{"x:s":"alpha"}`, false},
		{`"StringNotEquals":{"x:s":["beta","alpha"]}`, false},
		{`"StringNotEquals":{"x:s":["beta","gamma"]}`, true},
		{`"StringNotEquals":{"x:missing":"alpha"}`, true},
		{`"StringNotEqualsIfExists":{"x:missing":"alpha"}`, true},
		{`"StringEqualsIgnoreCase":{"x:s":"ALPHA"}`, true},
		{`"StringEqualsIgnoreCase":{"x:upper":"alpha"}`, true},
		{`"StringEqualsIgnoreCase":{"x:s":"alphabet"}`, false},
		{`"StringNotEqualsIgnoreCase":{"x:s":"ALPHA"}`, false},
		{`"StringNotEqualsIgnoreCase":{"x:missing":"ALPHA"}`, true},
		{`"StringLike":{"x:s":"al*"}`, true},
		{`"StringLike":{"x:s":"?l?h?"}`, true},
		{`"StringLike":{"x:s":"AL*"}`, false},
		{`"StringLike":{"x:s":"l*"}`, false},
		{`"StringLike":{"x:empty":"*"}`, true},
		{`"StringLike":{"x:missing":"*"}`, false},
		{`"StringNotLike":{"x:s":"al*"}`, false},
		{`"StringNotLike":{"x:s":"be*"}`, true},
		{`"StringNotLike":{"x:missing":"*"}`, true},
		{`"StringEquals":{"x:n":"90"}`, true},
		{`"StringEquals":{"x:n":90}`, true},
		{`"StringEquals":{"x:pi":"3.25"}`, true},
		{`"StringEquals":{"x:t":"2026-06-01T10:30:00Z"}`, true},
		{`"StringLike":{"x:ip":"192.0.*"}`, true},
		{`"StringEquals":{"x:ip6":"2001:db8::1"}`, true},
		{`"StringEquals":{"x:yes":true}`, true},
		{`"StringEquals":{"kms:EncryptionContext:App":"One"}`, true},
		{`"StringEquals":{"kms:EncryptionContext:app":"One"}`, true},
		{`"StringEquals":{"KMS:encryptioncontext:APP":"one"}`, false},
		{`"StringEquals":{"kms:EncryptionContext:Ap":"One"}`, false},

		// Many values are looked up instead of compared.
		{`"StringEquals":{"x:s":["a","b","c","d","e","f","g","h","i","alpha"]}`, true},
		{`"StringEquals":{"x:s":["a","b","c","d","e","f","g","h","i","beta"]}`, false},
		{`"StringNotEquals":{"x:s":["a","b","c","d","e","f","g","h","i","alpha"]}`, false},
		{`"StringLike":{"x:s":["a","b","c","d","e","f","g","h","i","alpha"]}`, true},
		{`"StringLike":{"x:s":["a","b","c","d","e","f","g","h","i","al*"]}`, true},
		{`"StringEqualsIgnoreCase":{"x:s":["a","b","c","d","e","f","g","h","i","ALPHA"]}`, true},
		{`"StringEquals":{"x:s":["a","b","c","d","e","f","g","h","i","${aws:PrincipalTag/team}"]}`, true},

		// Variables
		{`"StringEquals":{"x:s":"${aws:PrincipalTag/team}"}`, true},
		{`"StringEquals":{"x:s":"${AWS:principaltag/TEAM}"}`, true},
		{`"StringEquals":{"x:s":"${x:upper}"}`, false},
		{`"StringEqualsIgnoreCase":{"x:s":"${x:upper}"}`, true},
		{`"StringLike":{"x:s":"${aws:PrincipalTag/team}*"}`, true},
		{`"StringEquals":{"x:s":"${x:missing}"}`, false},
		{`"StringNotEquals":{"x:s":"${x:missing}"}`, true},
		{`"StringLike":{"x:s":"*${x:missing}"}`, false},
		{`"StringEquals":{"x:s":"${x:missing, 'alpha'}"}`, true},
		{`"StringEquals":{"x:s":"${ x:missing ,'alpha' }"}`, true},
		{`"StringEquals":{"x:s":"al${x:missing, ''}pha"}`, true},
		{`"StringEquals":{"x:s":"${x:missing, alpha}"}`, false},
		{`"StringEquals":{"x:s":"${x:list}"}`, false},
		{`"StringEquals":{"x:s":"${x:list, 'alpha'}"}`, true},
		{`"StringEquals":{"x:n":"${x:n}"}`, true},
		{`"StringEquals":{"x:iptext":"${x:ip}"}`, true},
		{`"StringEquals":{"x:stars":"a${*}b"}`, true},
		{`"StringLike":{"x:s":"a${*}"}`, false},
		{`"StringLike":{"x:stars":"a${*}b"}`, true},
		{`"StringLike":{"x:s":"${x:stars}"}`, false}, // its star is no wildcard
		{`"StringEquals":{"x:dollar":"${$}{x:s}"}`, true},
		{`"StringEquals":{"x:dollar":"$${*}"}`, false},
		{`"StringEquals":{"x:s":"${x:s"}`, false},
		{`"StringEquals":{"x:dollar":"${x:dollar}"}`, true},
		{`"StringLike":{"x:s":"*${x:empty}?${x:empty}*"}`, true},

		// Numeric
		{`"NumericEquals":{"x:n":"90"}`, true},
		{`"NumericEquals":{"x:n":90}`, true},
		{`"NumericEquals":{"x:n":"9e1"}`, true},
		{`"NumericEquals":{"x:ntext":"90"}`, true},
		{`"NumericEquals":{"x:n":["1","90"]}`, true},
		{`"NumericNotEquals":{"x:n":"90"}`, false},
		{`"NumericNotEquals":{"x:n":"91"}`, true},
		{`"NumericNotEquals":{"x:missing":"91"}`, true},
		{`"NumericLessThan":{"x:n":"90"}`, false},
		{`"NumericLessThan":{"x:n":"90.5"}`, true},
		{`"NumericLessThanEquals":{"x:n":"90"}`, true},
		{`"NumericGreaterThan":{"x:n":"90"}`, false},
		{`"NumericGreaterThan":{"x:n":"-90"}`, true},
		{`"NumericGreaterThanEquals":{"x:n":"90"}`, true},
		{`"NumericLessThan":{"x:missing":"90"}`, false},
		{`"NumericLessThanIfExists":{"x:missing":"90"}`, true},
		{`"NumericLessThan":{"x:s":"90"}`, false},
		{`"NumericNotEquals":{"x:s":"90"}`, true},
		{`"NumericLessThanEquals":{"x:t":"1780309800"}`, true},
		{`"NumericLessThan":{"x:t":"1780309800.0"}`, false},

		// Date
		{`"DateEquals":{"x:t":"2026-06-01T10:30:00Z"}`, true},
		{`"DateEquals":{"x:t":"2026-06-01T12:30:00+02:00"}`, true},
		{`"DateEquals":{"x:t":"2026-06-01T10:30Z"}`, true},
		{`"DateEquals":{"x:t":"2026-06-01T10:30:00.000Z"}`, true},
		{`"DateEquals":{"x:t":"2026-06-01T10:30:00"}`, true},
		{`"DateEquals":{"x:t":"1780309800"}`, true},
		{`"DateEquals":{"x:t":1780309800}`, true},
		{`"DateEquals":{"x:ttext":"2026-06-01T10:30:00Z"}`, true},
		{`"DateEquals":{"x:epoch":"2026-06-01T10:30:00Z"}`, true},
		{`"DateNotEquals":{"x:t":"2026-06-01"}`, true},
		{`"DateLessThan":{"x:t":"2026-06-02"}`, true},
		{`"DateLessThan":{"x:t":"2026-06"}`, false},
		{`"DateGreaterThan":{"x:t":"2026"}`, true},
		{`"DateLessThanEquals":{"x:t":"2026-06-01T10:30:00Z"}`, true},
		{`"DateGreaterThanEquals":{"x:t":"2026-06-01T10:30:00.001Z"}`, false},
		{`"DateLessThan":{"x:missing":"2026-06-02"}`, false},
		{`"DateNotEquals":{"x:missing":"2026-06-02"}`, true},
		{`"DateLessThanIfExists":{"x:missing":"2026-06-02"}`, true},
		{`"DateEquals":{"x:ip":"2026-06-02"}`, false},
		{`"DateNotEquals":{"x:huge":"2026-06-02"}`, true},
		{`"DateGreaterThan":{"x:huge":"2026-06-02"}`, false},
		{`"DateEquals":{"x:half":"2026-06-01T10:30:00.5Z"}`, true},
		{`"DateEquals":{"x:half":"1780309800.5"}`, true},
		{`"DateLessThan":{"x:half":"2026-06-01T10:30:00.25Z"}`, false},
		{`"DateLessThan":{"x:s":"2026"}`, false},
		{`"DateEquals":{"x:never":"2026"}`, false},
		{`"NumericEquals":{"x:ip":"1"}`, false},
		{`"NumericNotEquals":{"x:ip":"1"}`, true},

		// Bool
		{`"Bool":{"x:yes":"true"}`, true},
		{`"Bool":{"x:yes":true}`, true},
		{`"Bool":{"x:yes":"TRUE"}`, true},
		{`"Bool":{"x:yes":"false"}`, false},
		{`"Bool":{"x:no":false}`, true},
		{`"Bool":{"x:no":["false","true"]}`, true},
		{`"Bool":{"x:missing":"false"}`, false},
		{`"BoolIfExists":{"x:missing":"false"}`, true},
		{`"Bool":{"x:s":"true"}`, false},

		// Binary
		{`"BinaryEquals":{"x:bytes":"aGVsbG8="}`, true},
		{`"BinaryEquals":{"x:bytes":"aGVsbG9v"}`, false},
		{`"BinaryEquals":{"x:s":"aGVsbG8="}`, false},
		{`"BinaryEquals":{"x:missing":"aGVsbG8="}`, false},
		{`"BinaryEqualsIfExists":{"x:missing":"aGVsbG8="}`, true},

		// IP address
		{`"IpAddress":{"x:ip":"192.0.2.0/24"}`, true},
		{`"IpAddress":{"x:ip":"192.0.2.99/24"}`, true},
		{`"IpAddress":{"x:ip":"192.0.2.10"}`, true},
		{`"IpAddress":{"x:mapped":"192.0.2.10/32"}`, true},
		{`"IpAddress":{"x:ip":"192.0.2.11/32"}`, false},
		{`"IpAddress":{"x:ip":"0.0.0.0/0"}`, true},
		{`"IpAddress":{"x:ip":"::/0"}`, false},
		{`"IpAddress":{"x:ip":"::ffff:192.0.2.0/120"}`, true},
		{`"IpAddress":{"x:ip6":"0.0.0.0/0"}`, false},
		{`"IpAddress":{"x:ip6":"2001:db8::/32"}`, true},
		{`"IpAddress":{"x:ip6":"2001:DB8:0::1"}`, true},
		{`"IpAddress":{"x:ip6":"2001:db8:8000::/33"}`, false},
		{`"IpAddress":{"x:iptext":["203.0.113.0/24","192.0.2.0/24"]}`, true},
		{`"IpAddress":{"x:s":"0.0.0.0/0"}`, false},
		{`"IpAddress":{"x:missing":"0.0.0.0/0"}`, false},
		{`"NotIpAddress":{"x:ip":["192.0.2.0/24","203.0.113.0/24"]}`, false},
		{`"NotIpAddress":{"x:ip":"203.0.113.0/24"}`, true},
		{`"NotIpAddress":{"x:missing":"203.0.113.0/24"}`, true},
		{`"NotIpAddressIfExists":{"x:ip":"192.0.2.0/24"}`, false},

		// ARN
		{`"ArnEquals":{"x:role":"arn:aws:iam::111122223333:role/app/Reader"}`, true},
		{`"ArnEquals":{"x:role":"arn:aws:iam::111122223333:role/*"}`, true},
		{`"ArnLike":{"x:role":"arn:aws:iam::*:role/*/Reader"}`, true},
		{`"ArnLike":{"x:role":"arn:*:*:*:*:*"}`, true},
		{`"ArnLike":{"x:role":"arn:aws:iam::*"}`, false},
		{`"ArnLike":{"x:role":"*"}`, false},
		{`"ArnLike":{"x:role":"arn:aws:iam::111122223333:*reader"}`, false},
		{`"ArnLike":{"x:role":"arn:aws:iam::${x:missing, '111122223333'}:role/app/${x:missing, 'Reader'}"}`, true},
		{`"ArnLike":{"x:role":"arn:aws:iam::${x:missing}:role/app/Reader"}`, false},
		{`"ArnLike":{"x:odd":"arn:aws:iam:${*}:${$}:*"}`, true},
		{`"ArnLike":{"x:open":"arn:aws:${x:none, 'iam'}::${x:${open"}`, true},
		{`"ArnLike":{"x:role":"arn:aws:iam:${*}:*:*"}`, false},
		{`"ArnLike":{"x:role":"*:*:*:*:*:*"}`, true},
		{`"ArnLike":{"x:role":"a*n:*:*:*:*:*"}`, true},
		{`"ArnNotLike":{"x:role":"arn:aws:iam::111122223333:role/*"}`, false},
		{`"ArnNotEquals":{"x:role":"arn:aws:iam::444455556666:role/*"}`, true},
		{`"ArnNotEquals":{"x:missing":"arn:aws:iam::444455556666:role/*"}`, true},
		{`"ArnLike":{"x:missing":"arn:*:*:*:*:*"}`, false},
		{`"ArnLikeIfExists":{"x:missing":"arn:*:*:*:*:*"}`, true},
		{`"ArnLike":{"x:s":"arn:*:*:*:*:*"}`, false},
		{`"StringLike":{"x:role":"arn:aws:iam::*:role/*"}`, true},

		// Null
		{`"Null":{"x:s":"false"}`, true},
		{`"Null":{"x:s":"true"}`, false},
		{`"Null":{"x:missing":"true"}`, true},
		{`"Null":{"x:missing":true}`, true},
		{`"Null":{"x:missing":"false"}`, false},
		{`"Null":{"x:missing":["true","false"]}`, true},
		{`"Null":{"x:empty":"true"}`, true},
		{`"Null":{"x:none":"true"}`, true},
		{`"Null":{"x:blank":"true"}`, true},
		{`"Null":{"x:list":"false"}`, true},
		{`"Null":{"x:n":"false","x:t":"false","x:ip":"false"}`, true},

		// Set operators
		{`"ForAllValues:StringEquals":{"x:list":["alpha","beta","gamma"]}`, true},
		{`"ForAllValues:StringEquals":{"x:list":["alpha"]}`, false},
		{`"ForAllValues:StringEquals":{"x:missing":["alpha"]}`, true},
		{`"ForAllValues:StringEquals":{"x:none":["alpha"]}`, true},
		{`"ForAllValues:StringEquals":{"x:s":["alpha"]}`, true},
		{`"ForAllValues:StringLike":{"x:list":["*a"]}`, true},
		{`"ForAllValues:StringNotEquals":{"x:list":["gamma"]}`, true},
		{`"ForAllValues:StringNotEquals":{"x:list":["alpha"]}`, false},
		{`"ForAllValues:StringNotEquals":{"x:missing":["alpha"]}`, true},
		{`"ForAnyValue:StringEquals":{"x:list":["beta","gamma"]}`, true},
		{`"ForAnyValue:StringEquals":{"x:list":["gamma"]}`, false},
		{`"ForAnyValue:StringEquals":{"x:missing":["alpha"]}`, false},
		{`"ForAnyValue:StringEqualsIfExists":{"x:missing":["alpha"]}`, true},
		{`"ForAnyValue:StringNotEquals":{"x:list":["alpha"]}`, true},
		{`"ForAnyValue:StringNotEquals":{"x:list":["alpha","beta"]}`, false},
		{`"ForAnyValue:StringNotEquals":{"x:missing":["alpha"]}`, false},
		{`"foranyvalue:stringlike":{"x:list":"b*"}`, true},

		// A multivalued key without a set operator
		{`"StringEquals":{"x:list":"beta"}`, true},
		{`"StringEquals":{"x:list":"gamma"}`, false},
		{`"StringNotEquals":{"x:list":"beta"}`, false},
		{`"StringNotEquals":{"x:list":"gamma"}`, true},

		// All operators and all keys have to hold.
		{`"StringEquals":{"x:s":"alpha","x:upper":"ALPHA"},"Bool":{"x:yes":"true"}`, true},
		{`"StringEquals":{"x:s":"alpha","x:upper":"alpha"},"Bool":{"x:yes":"true"}`, false},
		{`"StringEquals":{"x:s":"alpha","x:upper":"ALPHA"},"Bool":{"x:yes":"false"}`, false},
		{`"StringEquals":{}`, true},
	}
	for _, tt := range tests {
		r := app()
		r.Context = requestKeys
		o := ask(t, policy.Identity, document(`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{`+tt.condition+`}}`), r)
		if o.Matched != tt.want || !tt.want && o.Mismatch != policy.OfCondition {
			t.Errorf("%s: %+v, want %v", tt.condition, o, tt.want)
		}
	}
}

// TestNoContext holds that a request without a context has no keys.
func TestNoContext(t *testing.T) {
	for condition, want := range map[string]bool{
		`"StringEquals":{"a:b":"c"}`:      false,
		`"StringNotEquals":{"a:b":"c"}`:   true,
		`"StringEquals":{"a:b":"${a:b}"}`: false,
		`"Null":{"a:b":"true"}`:           true,
	} {
		r := app()
		r.Context = nil
		if o := ask(t, policy.Identity, document(`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{`+condition+`}}`), r); o.Matched != want {
			t.Errorf("%s: %+v, want %v", condition, o, want)
		}
	}
}

// Callers of TestPrincipal.
var (
	theRoot    = policy.Principal{Account: accountA, Root: true, ARN: "arn:aws:iam::111122223333:root"}
	theUser    = policy.Principal{Account: accountA, ARN: "arn:aws:iam::111122223333:user/div/Bob", ID: "AIDABOB"}
	theSession = policy.Principal{
		Account: accountA, ARN: "arn:aws:sts::111122223333:assumed-role/Reader/s", Role: "arn:aws:iam::111122223333:role/app/Reader", ID: "AROAREADER",
	}
	theStranger  = policy.Principal{Federated: "arn:aws:iam::111122223333:oidc-provider/idp.example.com"}
	theFederated = policy.Principal{
		Account: accountA, ARN: "arn:aws:sts::111122223333:federated-user/fed", Issuer: "arn:aws:iam::111122223333:user/div/Bob", ID: "AIDABOB",
	}
	theService = policy.Principal{Services: []string{"cloudtrail.amazonaws.com", "cloudtrail.us-west-2.amazonaws.com"}}
)

func TestPrincipal(t *testing.T) {
	tests := []struct {
		caller  *policy.Principal
		element string
		want    policy.Match
	}{
		{&theUser, `"*"`, policy.ByAnyone},
		{&theUser, `{"AWS":"*"}`, policy.ByAnyone},
		{&theService, `{"AWS":"*"}`, policy.ByAnyone},
		{nil, `"*"`, policy.ByAnyone},
		{nil, `{"AWS":"111122223333"}`, 0},
		{&policy.Principal{}, `{"AWS":"111122223333"}`, 0},
		{&theRoot, `{"AWS":"111122223333"}`, policy.ByAccount},
		{&theRoot, `{"AWS":"arn:aws:iam::111122223333:root"}`, policy.ByAccount},
		{&theRoot, `{"AWS":"444455556666"}`, 0},
		{&theUser, `{"AWS":"111122223333"}`, policy.ByAccount},
		{&theUser, `{"AWS":"arn:aws:iam::111122223333:user/div/Bob"}`, policy.ByUser},
		{&theUser, `{"AWS":"arn:aws:iam::111122223333:user/Bob"}`, 0},
		{&theUser, `{"AWS":"arn:aws:iam::111122223333:user/div/bob"}`, 0},
		{&theUser, `{"AWS":"arn:aws:iam::111122223333:role/div/Bob"}`, 0},
		{&theUser, `{"AWS":"AIDABOB"}`, policy.ByUser},
		{&theUser, `{"AWS":"AIDAALICE"}`, 0},
		{&theUser, `{"AWS":["*","111122223333","arn:aws:iam::111122223333:user/div/Bob"]}`, policy.ByAnyone | policy.ByAccount | policy.ByUser},
		{&theSession, `{"AWS":"111122223333"}`, policy.ByAccount},
		{&theSession, `{"AWS":"arn:aws:iam::111122223333:role/app/Reader"}`, policy.ByRole},
		{&theSession, `{"AWS":"arn:aws:iam::111122223333:role/Reader"}`, 0},
		{&theSession, `{"AWS":"AROAREADER"}`, policy.ByRole},
		{&theSession, `{"AWS":"arn:aws:sts::111122223333:assumed-role/Reader/s"}`, policy.BySession},
		{&theSession, `{"AWS":"arn:aws:sts::111122223333:assumed-role/Reader/t"}`, 0},
		{&theFederated, `{"AWS":"arn:aws:sts::111122223333:federated-user/fed"}`, policy.ByFederatedUser},
		{&theFederated, `{"AWS":"arn:aws:iam::111122223333:user/div/Bob"}`, policy.ByIssuer},
		{&theFederated, `{"AWS":"AIDABOB"}`, policy.ByIssuer},
		{&theService, `{"Service":"cloudtrail.amazonaws.com"}`, policy.ByService},
		{&theService, `{"Service":["s3.amazonaws.com","cloudtrail.us-west-2.amazonaws.com"]}`, policy.ByService},
		{&theService, `{"Service":"s3.amazonaws.com"}`, 0},
		{&theService, `{"AWS":"111122223333"}`, 0},
		{&theUser, `{"Service":"cloudtrail.amazonaws.com"}`, 0},
		{&theUser, `{"Federated":"arn:aws:iam::111122223333:user/div/Bob","CanonicalUser":"AIDABOB"}`, 0},
		{&theStranger, `{"Federated":["accounts.google.com","arn:aws:iam::111122223333:oidc-provider/idp.example.com"]}`, policy.ByProvider},
		{&theStranger, `{"Federated":"arn:aws:iam::111122223333:oidc-provider/idp.example.com/x"}`, 0},
		{&theStranger, `{"Federated":"*"}`, 0},
		{&theStranger, `{"AWS":"111122223333"}`, 0},
		{&theStranger, `"*"`, policy.ByAnyone},
	}
	for _, tt := range tests {
		r := app()
		r.Principal, r.Context = tt.caller, nil
		p := parse(t, document(`{"Effect":"Allow","Principal":`+tt.element+`,"Action":"*","Resource":"*"}`), policy.Resource)
		result := p.Evaluate(r, nil)
		if result.Allow != (tt.want != 0) || result.AllowedBy != tt.want {
			t.Errorf("Principal %s for %+v: %+v, want %b", tt.element, tt.caller, result, tt.want)
		}
		if tt.want == 0 && result.Statements[0].Mismatch != policy.OfPrincipal {
			t.Errorf("Principal %s for %+v: %+v", tt.element, tt.caller, result.Statements[0])
		}
	}
}

// TestNotPrincipal holds that all the names of a caller have to be listed.
func TestNotPrincipal(t *testing.T) {
	const (
		user    = `"arn:aws:iam::111122223333:user/div/Bob"`
		role    = `"arn:aws:iam::111122223333:role/app/Reader"`
		session = `"arn:aws:sts::111122223333:assumed-role/Reader/s"`
		fed     = `"arn:aws:sts::111122223333:federated-user/fed"`
		account = `"111122223333"`
	)
	tests := []struct {
		caller *policy.Principal
		names  string
		denied bool
	}{
		{&theUser, user, true},
		{&theUser, account, true},
		{&theUser, user + "," + account, false},
		{&theUser, `"AIDABOB","arn:aws:iam::111122223333:root"`, false},
		{&theUser, `"*"`, false},
		{&theRoot, account, false},
		{&theRoot, user, true},
		{&theSession, account + "," + role, true},
		{&theSession, account + "," + session, true},
		{&theSession, role + "," + session, true},
		{&theSession, account + "," + role + "," + session, false},
		{&theFederated, account + "," + fed, true},
		{&theFederated, account + "," + fed + "," + user, false},
		{&theService, account, true},
		{nil, account, true},
		{nil, `"*"`, false},
	}
	for _, tt := range tests {
		r := app()
		r.Principal = tt.caller
		p := parse(t, document(`{"Effect":"Deny","NotPrincipal":{"AWS":[`+tt.names+`]},"Action":"*","Resource":"*"}`), policy.Resource)
		if got := p.Verdict(r).Deny; got != tt.denied {
			t.Errorf("NotPrincipal [%s] for %+v: denied %v", tt.names, tt.caller, got)
		}
	}
	p := parse(t, document(`{"Effect":"Deny","NotPrincipal":{"Service":"cloudtrail.amazonaws.com"},"Action":"*","Resource":"*"}`), policy.Resource)
	r := app()
	if r.Principal = &theService; p.Verdict(r).Deny {
		t.Error("a service that is listed is denied")
	}
}

// TestStatements holds that all statements count, and in which order they are
// told.
func TestStatements(t *testing.T) {
	p := parse(t, document(`[
		{"Sid":"One","Effect":"Allow","Principal":{"AWS":"111122223333"},"Action":"kms:*","Resource":"*"},
		{"Sid":"Two","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:role/app/Reader"},"Action":"kms:Decrypt","Resource":"*"},
		{"Effect":"Deny","Principal":"*","Action":"kms:Decrypt","Resource":"*",
			"Condition":{"StringEquals":{"kms:EncryptionContext:App":"two","kms:ViaService":["a","b"]},"Bool":{"aws:SecureTransport":false}}},
		{"Effect":"Allow","Principal":"*","Action":"kms:Encrypt","Resource":"*"}]`), policy.KeyPolicy)
	if p.Len() != 4 {
		t.Errorf("%d statements", p.Len())
	}
	had := policy.Outcome{Mismatch: policy.Inert}
	result := p.Evaluate(app(), []policy.Outcome{had})
	want := []policy.Outcome{had, {Matched: true}, {Matched: true}, {Mismatch: policy.OfCondition, Condition: 1}, {Mismatch: policy.OfAction}}
	if fmt.Sprint(result.Statements) != fmt.Sprint(want) {
		t.Errorf("outcomes %v, want %v", result.Statements, want)
	}
	if !result.Allow || result.Deny || result.AllowedBy != policy.ByAccount|policy.ByRole {
		t.Errorf("%+v", result)
	}

	all := p.Statements()
	if len(all) != 4 || all[0].SID != "One" || all[0].Deny || all[0].Line != 2 || all[0].Column != 3 || all[2].SID != "" || !all[2].Deny || all[2].Line != 4 {
		t.Errorf("statements %+v", all)
	}
	if c := all[2].Conditions; len(c) != 3 ||
		c[1].String() != `StringEquals kms:ViaService "a", "b"` || c[2].String() != `Bool aws:SecureTransport "false"` {
		t.Errorf("conditions %v", all[2].Conditions)
	}

	// A statement that denies wins, and is told beside those that allow.
	r := app()
	r.Context = policy.Values{
		"kms:encryptioncontext:app": policy.String("two"), "kms:viaservice": policy.String("b"), "aws:securetransport": policy.Bool(false),
	}
	if v := p.Verdict(r); !v.Allow || !v.Deny {
		t.Errorf("verdict %+v", v)
	}
}

func TestBind(t *testing.T) {
	text := document(`[
		{"Effect":"Allow","Principal":{"AWS":["arn:aws:iam::111122223333:user/div/Bob","arn:aws:iam::111122223333:user/Eve"]},"Action":"kms:*","Resource":"*"},
		{"Effect":"Deny","NotPrincipal":{"AWS":["arn:aws:iam::111122223333:role/app/Reader","444455556666"]},"Action":"kms:Encrypt","Resource":"*"}]`)
	p := parse(t, text, policy.KeyPolicy)
	bound := p.Bind(map[string]string{
		"arn:aws:iam::111122223333:user/div/Bob":    "AIDABOB",
		"arn:aws:iam::111122223333:role/app/Reader": "AROAREADER",
		"444455556666": "AIDAALICE", // no user or role
	})
	if bound.Text() != text {
		t.Error("the text changed")
	}
	namesake, renamed := theUser, theUser
	namesake.ID = "AIDANEW"
	renamed.ARN = "arn:aws:iam::111122223333:user/Robert"
	eve := policy.Principal{Account: accountA, ARN: "arn:aws:iam::111122223333:user/Eve", ID: "AIDAEVE"}
	for name, tt := range map[string]struct {
		caller                 policy.Principal
		unbound, afterwards    bool
		byUnbound, byAfterward policy.Match
	}{
		"Bob":           {theUser, true, true, policy.ByUser, policy.ByUser},
		"a namesake":    {namesake, true, false, policy.ByUser, 0},
		"Bob, renamed":  {renamed, false, true, 0, policy.ByUser},
		"who was not":   {eve, true, true, policy.ByUser, policy.ByUser},
		"Bob's session": {theFederated, true, true, policy.ByIssuer, policy.ByIssuer},
	} {
		r := app()
		r.Principal = &tt.caller
		if v := p.Verdict(r); v.Allow != tt.unbound || v.AllowedBy != tt.byUnbound {
			t.Errorf("%s: %+v before", name, v)
		}
		if v := bound.Verdict(r); v.Allow != tt.afterwards || v.AllowedBy != tt.byAfterward {
			t.Errorf("%s: %+v when bound", name, v)
		}
	}
	// A session is bound to its role and keeps its name.
	session := theSession
	session.ID = "AROANEW"
	q := parse(t, document(`{"Effect":"Allow","Principal":{"AWS":"`+theSession.ARN+`"},"Action":"kms:*","Resource":"*"}`), policy.KeyPolicy).
		Bind(map[string]string{theSession.ARN: theSession.ID + ":s"})
	other := theSession
	other.ARN += "s"
	for name, tt := range map[string]struct {
		caller policy.Principal
		by     policy.Match
	}{
		"the session":               {theSession, policy.BySession},
		"another session":           {other, 0},
		"the session of a namesake": {session, 0},
		"the user":                  {theUser, 0},
	} {
		r := app()
		r.Principal = &tt.caller
		if v := q.Verdict(r); v.AllowedBy != tt.by {
			t.Errorf("%s: %+v when bound to a session", name, v)
		}
	}
	if p.Bind(nil) != p || p.Bind(map[string]string{"arn:aws:iam::111122223333:user/Nobody": "AIDAX"}) != p {
		t.Error("a policy without such names was copied")
	}
	// An empty id is nobody's, not even of those who have none.
	r := app()
	r.Principal = &policy.Principal{Account: accountA, ARN: "arn:aws:iam::111122223333:user/div/Bob"}
	if p.Bind(map[string]string{"arn:aws:iam::111122223333:user/div/Bob": ""}).Verdict(r).Allow {
		t.Error("an empty id matches")
	}
}

func TestTextWith(t *testing.T) {
	text := `{ "Version":"2012-10-17", "Statement" : [ {"Sid":"arn:aws:iam::111122223333:user/Bob","Effect":"Allow",
		"Principal" : {"AWS" : [ "arn:aws:iam::111122223333:user/\u0042ob" ,"111122223333"], "Service":"s3.amazonaws.com"},
		"Action":"kms:*","Resource":"*"},
		{"Effect":"Deny","NotPrincipal":{"AWS":"arn:aws:iam::111122223333:user/Bob"},"Action":"kms:*","Resource":"*"} ] }`
	p := parse(t, text, policy.KeyPolicy)
	var seen []string
	got := p.TextWith(func(name string) string {
		seen = append(seen, name)
		if strings.HasSuffix(name, "/Bob") {
			return "AIDA\"BOB"
		}
		return name
	})
	want := strings.Replace(text, `"arn:aws:iam::111122223333:user/\u0042ob"`, `"AIDA\"BOB"`, 1)
	want = strings.Replace(want, `"AWS":"arn:aws:iam::111122223333:user/Bob"`, `"AWS":"AIDA\"BOB"`, 1)
	if got != want {
		t.Errorf("text\n%s\nwant\n%s", got, want)
	}
	if fmt.Sprint(seen) != "[arn:aws:iam::111122223333:user/Bob 111122223333 s3.amazonaws.com arn:aws:iam::111122223333:user/Bob]" {
		t.Errorf("names %v", seen)
	}
	names := p.Principals()
	if len(names) != 4 || names[0].Kind != "AWS" || names[0].Not || names[2].Kind != "Service" || !names[3].Not {
		t.Errorf("principals %+v", names)
	}
	for _, n := range names {
		if text[n.Offset] != '"' {
			t.Errorf("%s is not at %d", n.Name, n.Offset)
		}
	}
}

func TestWildcard(t *testing.T) {
	tests := []struct {
		pattern, s string
		want       bool
	}{
		{"", "", true},
		{"", "a", false},
		{"*", "", true},
		{"**", "abc", true},
		{"?", "", false},
		{"*?*", "", false},
		{"*?*", "a", true},
		{"?", "é", true},
		{"??", "é", false},
		{"a*", "a", true},
		{"*a", "ba", true},
		{"*a", "ab", false},
		{"a*a", "a", false},
		{"a*b*c", "aXbXc", true},
		{"a*b*c", "aXcXb", false},
		{"*ab?d*", "xxabcabcd", true},
		{"*ab?d*", "xxabcabc", false},
		{"*aab", "aaab", true},
		{"a?c*", "abc", true},
		{"*?b", "éb", true},
		{"?*?", "a", false},
		{"?*?", "ab", true},
		{"*" + long(70) + "?*", long(69) + "y" + long(70) + "z", true},
		{"*" + long(70) + "?" + long(70) + "*", long(139) + "y" + long(70), true},
		{"*" + long(70) + "?" + long(70) + "*", long(139) + "y" + long(69), false},
		{"*" + strings.Repeat("é?", 600) + "*", strings.Repeat("éa", 600), true},
		{"*" + strings.Repeat("é?", 600) + "*", "x" + strings.Repeat("éa", 599) + "é", false},
		{"*" + long(70) + "?*", long(70) + "\xff", true},
		{"*" + long(70) + "?\ufffd*", long(70) + "a\xff", false},
	}
	for _, tt := range tests {
		if got := policy.Wildcard(tt.pattern, tt.s); got != tt.want {
			t.Errorf("Wildcard(%.40q, %.40q) = %v", tt.pattern, tt.s, got)
		}
	}
}

func TestARNLike(t *testing.T) {
	const trail = "arn:aws:cloudtrail:us-west-2:111122223333:trail/finance:x"
	for pattern, want := range map[string]bool{
		trail: true,
		"arn:aws:cloudtrail:*:111122223333:trail/*": true,
		"arn:aws:cloudtrail:*:trail/*":              false,
		"arn:aws:cloudtrail:us-west-2:*":            false,
		"arn:*:*:*:*:*":                             true,
		"*":                                         false,
		"":                                          false,
		"arn:aws:cloudtrail:us-west-2:111122223333:trail/${aws:username}": false,
	} {
		if got := policy.ARNLike(pattern, trail); got != want {
			t.Errorf("ARNLike(%q) = %v", pattern, got)
		}
		if policy.ARNLike(pattern, "trail/finance") {
			t.Errorf("ARNLike(%q) matches what is no ARN", pattern)
		}
	}
}

func TestParseKey(t *testing.T) {
	for name, want := range map[string][2]string{
		"aws:SourceIp":                         {"aws:sourceip", ""},
		"aws:PrincipalTag/Team":                {"aws:principaltag/", "Team"},
		"aws:PrincipalTag/a:b/c":               {"aws:principaltag/", "a:b/c"},
		"kms:EncryptionContext:aws:geo:arn":    {"kms:encryptioncontext:", "aws:geo:arn"},
		"kms:EncryptionContext:":               {"kms:encryptioncontext:", ""},
		"kms:RecipientAttestation:PCR0":        {"kms:recipientattestation:", "PCR0"},
		"oidc.eks.example.com/id/X:sub":        {"oidc.eks.example.com/id/x:sub", ""},
		"nothing":                              {"nothing", ""},
		"no/prefix":                            {"no/prefix", ""},
		"":                                     {"", ""},
		":":                                    {":", ""},
		"aws:RequestTag/\u212Aelvin":           {"aws:requesttag/", "\u212Aelvin"},
		"\u212Ams:ViaService":                  {"\u212Ams:viaservice", ""},
		"aws:PrincipalTag/" + long(300) + ":x": {"aws:principaltag/", long(300) + ":x"},
	} {
		k := policy.ParseKey(name)
		if k.Name != want[0] || k.Sub != want[1] {
			t.Errorf("ParseKey(%q) = %q, %q", name, k.Name, k.Sub)
		}
		if by := (&policy.Key{Name: k.Name, Sub: k.Sub}); by.String() != k.String() {
			t.Errorf("%q prints as %q and %q", name, k.String(), by.String())
		}
	}
}

func TestValues(t *testing.T) {
	for want, v := range map[string]policy.Value{
		"":                     {},
		"alpha":                policy.String("alpha"),
		`"a", "b"`:             policy.Strings([]string{"a", "b"}),
		"90":                   policy.Number(90),
		"1546257599":           policy.Number(1546257599.0),
		"2026-06-01T10:30:00Z": policy.Time(time.Date(2026, 6, 1, 12, 30, 0, 0, time.FixedZone("", 7200))),
		"192.0.2.10":           policy.Addr(netip.MustParseAddr("::ffff:192.0.2.10")),
		"fe80::1":              policy.Addr(netip.MustParseAddr("fe80::1%eth0")),
		"true":                 policy.Bool(true),
		"false":                policy.Bool(false),
	} {
		if v.String() != want || v.Exists() != (want != "") {
			t.Errorf("%q, exists %v; want %q", v.String(), v.Exists(), want)
		}
	}
	nan := 0.0
	for _, v := range []policy.Value{policy.Strings(nil), policy.Number(nan / nan), policy.Addr(netip.Addr{})} {
		if v.Exists() {
			t.Errorf("%q exists", v)
		}
	}
}

// TestManyActions asks one policy for more actions than it remembers, from many
// goroutines.
func TestManyActions(t *testing.T) {
	p := parse(t, document(`[{"Effect":"Allow","Action":"kms:*7","Resource":"*"},{"Effect":"Deny","Action":"kms:Op1*","Resource":"*"}]`), policy.Identity)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range 300 {
				r := policy.Request{Action: fmt.Sprintf("kms:Op%d", i), Resource: "*"}
				allow, deny := i%10 == 7, strings.HasPrefix(r.Action, "kms:Op1")
				if v := p.Verdict(&r); v.Allow != allow || v.Deny != deny {
					t.Errorf("%s: %+v", r.Action, v)
				}
				if e := p.Evaluate(&r, nil); e.Allow != allow || e.Deny != deny {
					t.Errorf("%s: %+v", r.Action, e)
				}
			}
		})
	}
	wg.Wait()
	r := policy.Request{Action: "kms:" + long(1000) + "7", Resource: "*"}
	if !p.Verdict(&r).Allow {
		t.Error("an action of great length is not allowed")
	}
}

// TestExcessive holds that a policy that takes the product of what it and the
// request have denies, and soon.
func TestExcessive(t *testing.T) {
	patterns := func(n int, form string) string {
		var all []string
		for i := range n {
			all = append(all, fmt.Sprintf(form, i))
		}
		return strings.Join(all, ",")
	}
	keys := func(n int) policy.Context {
		var all []string
		for i := range n {
			all = append(all, fmt.Sprintf("q%dz", i))
		}
		return policy.Values{"x:list": policy.Strings(all)}
	}
	statement := func(n int, form string) string {
		return `{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"ForAllValues:StringNotLike":{"x:list":[` + patterns(n, form) + `]}}}`
	}
	tests := map[string]struct {
		text      string
		keys      int
		excessive bool
	}{
		"within":          {document(statement(1000, `"*a%d*"`)), 100, false},
		"beyond":          {document(statement(1000, `"*a%d*"`)), 101, true},
		"in two":          {document("[" + statement(600, `"*a%d*"`) + "," + statement(600, `"b%d*"`) + "]"), 100, true},
		"looked up":       {document(statement(4000, `"a%d"`)), 1000, false},
		"of another call": {document(strings.Replace(statement(1000, `"*a%d*"`), `"Action":"*"`, `"Action":"x:y"`, 1)), 1000, false},
	}
	for name, tt := range tests {
		p := parse(t, tt.text, policy.Identity)
		r := app()
		r.Context = keys(tt.keys)
		v, e := p.Verdict(r), p.Evaluate(r, nil)
		if v.Excessive != tt.excessive || v.Deny != tt.excessive || e.Excessive != tt.excessive || e.Deny != tt.excessive {
			t.Errorf("%s: verdict %+v, evaluation denies %v", name, v, e.Deny)
		}
		if allow := !tt.excessive && name != "of another call"; name != "in two" && v.Allow != allow {
			t.Errorf("%s: verdict %+v", name, v)
		}
	}
}

// TestExcessiveValue holds that one long value under many patterns does not take
// their product either, whatever the patterns are made of.
func TestExcessiveValue(t *testing.T) {
	const size = 32 << 10
	repeat := strings.Repeat
	long := map[string]string{"a": repeat("a", 8100)}
	two := map[string]string{"a": repeat("a", 4050), "b": repeat("a", 3990)}
	var runes []rune
	for i := range 1000 {
		runes = append(runes, rune(0x4e00+i))
	}
	others := map[string]string{"a": string(runes) + string(runes[:800]), "b": string(runes)}
	inARN := map[string]string{"a": "arn:" + repeat("a", 8000) + ":a:a:a:" + repeat("a", 50)}
	tests := map[string]struct {
		operator, form string
		context        map[string]string
	}{
		"short":             {"StringLike", "*a?b*", long},
		"one and a letter":  {"StringLike", "*?b*", long},
		"to be tried":       {"StringLike", "*" + repeat("a?", 7) + "b*", long},
		"many ones":         {"StringLike", "*" + repeat("?", 62) + "b*", long},
		"by bits":           {"StringLike", "*" + repeat("a?", 33) + "b*", long},
		"all in one":        {"StringLike", "*" + repeat("a?", 4000) + "b*", long},
		"literal":           {"StringLike", "*" + repeat("a", 62) + "b*", long},
		"variable":          {"StringLike", "*${x:b}b*", two},
		"variable and one":  {"StringLike", "*${x:b}?b*", two},
		"of many letters":   {"StringLike", "*${x:b}?b*", others},
		"part of an ARN":    {"ArnLike", "arn:*a?b*:::*:*", inARN},
		"many of a context": {"StringNotLike", "*${x:b}${x:b}${x:b}*", map[string]string{"a": repeat("a", 8000), "b": repeat("a", 10)}},
	}
	for name, tt := range tests {
		var patterns []string
		for n := 0; n+len(tt.form)+3 < size || n == 0; n += len(tt.form) + 3 {
			patterns = append(patterns, strconv.Quote(tt.form))
		}
		p := parse(t, document(`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"`+tt.operator+`":{"x:a":[`+strings.Join(patterns, ",")+`]}}}`), policy.Identity)
		values := policy.Values{}
		for k, v := range tt.context {
			values["x:"+k] = policy.String(v)
		}
		r := app()
		r.Context = values
		// It is a few milliseconds; without a bound it would be seconds. One
		// quick verdict of many is enough: the machine may have other work.
		const limit = 250 * time.Millisecond
		best := time.Hour
		for try := 0; try < 5 || !raced && try < 100 && best > limit; try++ {
			start := time.Now()
			v := p.Verdict(r)
			best = min(best, time.Since(start))
			if name != "many of a context" && (!v.Excessive || !v.Deny) {
				t.Errorf("%s: verdict %+v", name, v)
				break
			}
		}
		if best > limit && !raced {
			t.Errorf("%s: a verdict takes %v", name, best)
		}
		// One such pattern is no matter.
		p = parse(t, document(`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"`+tt.operator+`":{"x:a":[`+patterns[0]+`]}}}`), policy.Identity)
		if v := p.Verdict(r); v.Excessive && name != "all in one" {
			t.Errorf("%s: one pattern is too much: %+v", name, v)
		}
	}
}

func TestNames(t *testing.T) {
	for m, want := range map[policy.Mismatch]string{
		policy.None: "none", policy.Inert: "inert", policy.OfPrincipal: "Principal", policy.OfAction: "Action",
		policy.OfResource: "Resource", policy.OfCondition: "Condition", 99: "unknown",
	} {
		if m.String() != want {
			t.Errorf("Mismatch(%d) = %s", m, m)
		}
	}
	for _, tt := range allTypes {
		if !strings.HasSuffix(tt.t.String(), " policy") {
			t.Errorf("Type(%d) = %s", tt.t, tt.t)
		}
	}
}
