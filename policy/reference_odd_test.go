package policy_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// oddTexts are what documents have where they should have something else.
var oddTexts = []string{
	"", "*", "?", "**", "a", "Allow", "deny", "kms:*", "KMS:Encrypt", "kms", "kms:", ":", "kms:Enc rypt", "*:*", "k*:Encrypt",
	"${aws:username}", "${", "${}", "${aws:username", "x${aws:username}y", "${aws:username,'x'}", "${aws:username , 'x' }", "${ aws:username }", "${aws:username, x}", "${aws:Nothing, 'a,b'}",
	"${*}${?}${$}", "$", "$$", "${aws:PrincipalTag/team}", "${aws:username}*${aws:userid}", "}", "${aws:username}}", "${${aws:username}}",
	"\x00", "é", "\u212A", "\U0001F511", "\u2028",
	"arn:aws:kms:us-west-2:111122223333:key/*", "arn:aws:kms", "arn:::::", "arn:aws:kms:*:*:*", "arn:aws:iam::111122223333:user/*", "arn:aws:iam::111122223333:user/Bob", "arn:*:*:*:*:*",
	"arn:aws:kms:us-west-2:111122223333:key/${aws:username}", "arn:aws:kms:${aws:username}:111122223333:key/*", "arn:aws:s3:::${aws:userid}", "ARN:aws:s3:::b",
	"111122223333", "1111222233334", "AIDABOB", "AROAREADER", "cloudtrail.amazonaws.com", "arn:aws:iam::111122223333:root", "arn:aws-cn:iam::111122223333:root",
	"true", "TRUE", "False", "yes", "0", "1", "1.0", "1.", ".5", "1e3", "1E+3", "0x10", "-0", "+1", " 1", "1 ", "1_000", "Infinity", "NaN", "1e400",
	"2026", "2026-01", "2026-01-01", "2026-01-01T00:00Z", "2026-01-01T00:00:00.5Z", "2026-01-01T00:00:00", "2026-01-01t00:00:00z", "2026-13-01", "2026-06-01T12:30:00+02:00", "1767225600", "1767225600.0",
	"192.0.2.10", "192.0.2.10/33", "192.0.2.10/24", "192.0.2.0/024", "192.0.2", "::ffff:192.0.2.10", "::ffff:192.0.2.0/120", "fe80::1%eth0", "2001:db8::/32", "/8", "0.0.0.0/0",
	"aGVsbG8=", "aGVsbG8", "aGVsbG9=", "AAEC",
}

// oddNames are names of operators, keys and elements.
var oddNames = []string{
	"Action", "NotAction", "Resource", "NotResource", "Principal", "NotPrincipal", "Condition", "Effect", "Sid", "Id", "Version", "Statement", "action",
	"AWS", "Service", "Federated", "CanonicalUser", "aws",
	"stringequals", "STRINGLIKE", "StringEqualsIfExists", "ForAnyValue:StringLike", "forallvalues:stringnotequals", "ForAnyValue:StringNotLikeIfExists", "ForAllValues:Null", "NullIfExists", "Null", "null",
	"BoolIfExists", "NumericLessThan", "DateGreaterThan", "NotIpAddress", "ArnNotLike", "BinaryEquals", "BinaryNotEquals", "StringMatches", "IfExists", "ForAnyValue:", "StringEqualsIfExistsIfExists",
	"aws:username", "AWS:USERNAME", "aws:tagkeys", "kms:EncryptionContext:app", "aws:PrincipalTag/team", "aws:SourceIp", "aws:CurrentTime", "kms:ValidTo", "nocolon", ":", "a:", "", "aws:principaltag/Team:x",
}

// odd returns a value with one thing in it changed.
func (d dice) odd(v any) any {
	if d.chance(2) {
		return d.oddValue(v)
	}
	switch v := v.(type) {
	case []member:
		if len(v) == 0 {
			break
		}
		all := append([]member(nil), v...)
		i := len(all) - 1 // where conditions and resources are
		if d.chance(40) {
			i = d.IntN(len(all))
		}
		switch {
		case d.chance(6):
			all[i].name = pick(d, oddNames...)
		case d.chance(4):
			return append(all[:i:i], all[i+1:]...)
		case d.chance(3):
			all = append(all, member{pick(d, oddNames...), d.oddValue(nil)})
		default:
			all[i].value = d.odd(all[i].value)
		}
		return all
	case []any:
		if len(v) == 0 {
			break
		}
		all := append([]any(nil), v...)
		i := d.IntN(len(all))
		switch {
		case d.chance(6):
			return append(all[:i:i], all[i+1:]...)
		case d.chance(6):
			return all[i]
		default:
			all[i] = d.odd(all[i])
		}
		return all
	}
	return d.oddValue(v)
}

func (d dice) oddValue(v any) any {
	switch d.IntN(14) {
	case 0:
		return pick[any](d, nil, true, false, json.Number("1"), json.Number("-0"), json.Number("1.50"), json.Number("1e3"), json.Number("1e400"), []any{}, []member{})
	case 1:
		return []any{v}
	case 2:
		return []any{v, pick(d, oddTexts...)}
	case 3:
		if s, ok := v.(string); ok {
			return s + pick(d, oddTexts...)
		}
	}
	return pick(d, oddTexts...)
}

func encode(v any) string {
	switch v := v.(type) {
	case []member:
		var parts []string
		for _, m := range v {
			parts = append(parts, quote(m.name)+":"+encode(m.value))
		}
		return "{" + strings.Join(parts, ",") + "}"
	case []any:
		var parts []string
		for _, one := range v {
			parts = append(parts, encode(one))
		}
		return "[" + strings.Join(parts, ",") + "]"
	case string:
		return quote(v)
	case json.Number:
		return v.String()
	case nil:
		return "null"
	}
	return fmt.Sprint(v)
}

// TestReferenceOfOddDocuments changes random documents here and there: what the
// parser still takes means the same to both evaluators.
func TestReferenceOfOddDocuments(t *testing.T) {
	t.Parallel()
	cases := *referenceCases / 8
	if testing.Short() {
		cases = min(cases, 10_000)
	}
	taken := 0
	for i := range cases {
		d := dice{rand.New(rand.NewPCG(*referenceSeed, ^i))}
		s, r := d.cases()
		document, err := decode(s.String())
		if err != nil {
			t.Fatal(err)
		}
		for range 1 + d.IntN(4)/3 {
			document = d.odd(document)
		}
		text := encode(document)
		_, fast, slow, err := compare(text, s.options, s.ids, r)
		if err != nil {
			continue
		}
		taken++
		if fast != slow {
			t.Fatalf("case %d of -reference.seed %d:\n%s\n%+v, bound to %v\n%vevaluator: %s\nreference: %s", i, *referenceSeed, text, s.options, s.ids, r, fast, slow)
		}
	}
	t.Logf("%d of %d documents were taken", taken, cases)
	if taken < int(cases/10) {
		t.Errorf("only %d of %d documents were taken", taken, cases)
	}
}
