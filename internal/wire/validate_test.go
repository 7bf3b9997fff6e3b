package wire_test

import (
	"strings"
	"testing"

	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/internal/wire"
)

func TestViolations(t *testing.T) {
	pattern := wire.NewPattern(`[\u0020-\u00FF]*|cluster`)
	for _, c := range []struct {
		name  string
		check func(v *wire.Violations)
		want  string
	}{
		{"none", func(v *wire.Violations) {
			v.Length("a", "x", 1, 1)
			v.Length("a", "äöü", 3, 3)
			v.Range("a", 1, 1, 1)
			v.Pattern("a", "cluster", pattern)
			v.BlobLength("a", nil, 0, 1)
			wire.ListLength(v, "a", []string{}, 0, 1)
			wire.ItemLengths(v, "a", []string{"x"}, 1, 1, pattern)
			v.SecretString("a", secret.New([]byte("x")), 1, 1, pattern)
		}, ""},
		{
			"missing", func(v *wire.Violations) { v.Missing("keyId") },
			"1 validation error detected: Value null at 'keyId' failed to satisfy constraint: Member must not be null",
		},
		{
			"short", func(v *wire.Violations) { v.Length("keyId", "", 1, 2048) },
			"1 validation error detected: Value '' at 'keyId' failed to satisfy constraint: Member must have length greater than or equal to 1",
		},
		{
			"characters, not bytes", func(v *wire.Violations) { v.Length("a", "äö", 3, 9) },
			"1 validation error detected: Value 'äö' at 'a' failed to satisfy constraint: Member must have length greater than or equal to 3",
		},
		{"two", func(v *wire.Violations) {
			v.Range("limit", 0, 1, 1000)
			v.Range("limit", 1001, 1, 1000)
		}, "2 validation errors detected: Value '0' at 'limit' failed to satisfy constraint: Member must have value greater than or equal to 1; " +
			"Value '1001' at 'limit' failed to satisfy constraint: Member must have value less than or equal to 1000"},
		{
			"pattern", func(v *wire.Violations) { v.Pattern("marker", "x\u0100", pattern) },
			"1 validation error detected: Value 'x\u0100' at 'marker' failed to satisfy constraint: Member must satisfy regular expression pattern: " +
				`[\u0020-\u00FF]*|cluster`,
		},
		{
			"blob", func(v *wire.Violations) { v.BlobLength("mac", make([]byte, 3), 1, 2) },
			"1 validation error detected: Value at 'mac' failed to satisfy constraint: Member must have length less than or equal to 2",
		},
		{
			"secret string", func(v *wire.Violations) { v.SecretString("p", secret.New([]byte("hunter2\u0100")), 9, 9, pattern) },
			"2 validation errors detected: Value at 'p' failed to satisfy constraint: Member must have length greater than or equal to 9; " +
				"Value at 'p' failed to satisfy constraint: Member must satisfy regular expression pattern: " + `[\u0020-\u00FF]*|cluster`,
		},
		{
			"list", func(v *wire.Violations) { wire.ListLength(v, "l", []string{"a", "b"}, 0, 1) },
			"1 validation error detected: Value '[a, b]' at 'l' failed to satisfy constraint: Member must have length less than or equal to 1",
		},
		{
			"items", func(v *wire.Violations) { wire.ItemLengths(v, "l", []string{"a", ""}, 1, 8, nil) },
			"1 validation error detected: Value '[a, ]' at 'l' failed to satisfy constraint: Member must satisfy constraint: " +
				"[Member must have length less than or equal to 8, Member must have length greater than or equal to 1]",
		},
		{
			"a null in a list", func(v *wire.Violations) { wire.NullItems(v, "l", []string{"a", wire.Null}) },
			"1 validation error detected: Value '[a, null]' at 'l' failed to satisfy constraint: Member must satisfy constraint: [Member must not be null]",
		},
		{
			"a null in a map", func(v *wire.Violations) {
				v.NoNulls("m", wire.StringMap{{Name: "a", Value: "b"}, {Name: "c", Value: wire.Null}})
				v.NoNulls("m", wire.StringMap{{Name: "a", Value: ""}})
			},
			"1 validation error detected: Value '{a=b, c=null}' at 'm' failed to satisfy constraint: Map value must satisfy constraint: [Member must not be null]",
		},
		{"nested", func(v *wire.Violations) {
			outer := v.EnterItem("tags", 0)
			v.Missing("tagKey")
			v.Leave(outer)
			outer = v.Enter("recipient")
			v.Enum("a", "x", "A, B")
			v.Leave(outer)
			v.Missing("b")
		}, "3 validation errors detected: Value null at 'tags.1.member.tagKey' failed to satisfy constraint: Member must not be null; " +
			"Value 'x' at 'recipient.a' failed to satisfy constraint: Member must satisfy enum value set: [A, B]; " +
			"Value null at 'b' failed to satisfy constraint: Member must not be null"},
	} {
		var v wire.Violations
		c.check(&v)
		e := wire.AsError(v.Err())
		switch {
		case c.want == "" && e != nil:
			t.Errorf("%s: %v", c.name, e)
		case c.want != "" && (e == nil || e.Message != c.want || e.Code != "ValidationException"):
			t.Errorf("%s:\n got %v\nwant %s", c.name, e, c.want)
		}
	}
}

// TestViolationsAreBounded holds that a message does not grow with what is
// wrong, in number or in length.
func TestViolationsAreBounded(t *testing.T) {
	var many, long wire.Violations
	for range 100 {
		many.Missing("a")
		long.Length("a", strings.Repeat("x", 10_000), 1, 10)
	}
	if text := wire.AsError(many.Err()).Message; !strings.HasPrefix(text, "10 validation errors detected: ") || strings.Count(text, "; ") != 9 {
		t.Errorf("100 short violations: %s", text)
	}
	if text := wire.AsError(long.Err()).Message; len(text) > 6<<10 || !strings.HasPrefix(text, "4 validation errors detected: ") || strings.Count(text, "; ") != 3 {
		t.Errorf("100 long violations: %d bytes, %.40s", len(text), text)
	}
	if !many.Full() || !long.Full() {
		t.Error("room is left")
	}
}

func TestViolationsEchoIsBounded(t *testing.T) {
	long := strings.Repeat("ä", 100_000)
	var v wire.Violations
	v.Length("a", long, 1, 10)
	wire.ListLength(&v, "b", []string{long, long}, 0, 1)
	message := wire.AsError(v.Err()).Message
	if len(message) > 4*wire.MaxEcho || strings.ContainsRune(message, '\ufffd') || !strings.Contains(message, "ä…'") {
		t.Errorf("message has %d bytes", len(message))
	}
}

// TestViolationsHideValues holds that nothing of a request is repeated where
// that is asked for, nor that a value is null.
func TestViolationsHideValues(t *testing.T) {
	const value = "hunter2"
	var v wire.Violations
	v.HideValues()
	v.Missing("a")
	v.Length("b", value, 9, 9)
	v.Pattern("c", value, wire.NewPattern("[A-Z]+"))
	v.Enum("d", value, "A, B")
	v.Range("e", 4711, 1, 2)
	wire.ListLength(&v, "f", []string{value, value}, 0, 1)
	wire.ItemLengths(&v, "g", []string{value}, 1, 2, nil)
	wire.ItemEnums(&v, "h", []string{value}, "A, B")
	v.NoNulls("i", wire.StringMap{{Name: value, Value: wire.Null}})
	text := wire.AsError(v.Err()).Message
	if strings.Contains(text, value) || strings.Contains(text, "4711") || strings.Contains(text, "Value null") {
		t.Errorf("repeats a value: %s", text)
	}
	if n := strings.Count(text, "Value at '"); n != 9 {
		t.Errorf("%d violations of 9: %s", n, text)
	}
}
