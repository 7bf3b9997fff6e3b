package wire_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/keyreeve/keyreeve/internal/wire"
)

// TestInvalidInput: Organizations tells the kind of the first violation.
func TestInvalidInput(t *testing.T) {
	digits := wire.NewPattern(`[0-9]+`)
	for name, test := range map[string]struct {
		check  func(v *wire.Violations)
		reason string
		text   string
	}{
		"nothing":   {func(*wire.Violations) {}, "", ""},
		"missing":   {func(v *wire.Violations) { v.Missing("name") }, "INPUT_REQUIRED", ""},
		"a pattern": {func(v *wire.Violations) { v.Pattern("name", "a", digits) }, "INVALID_PATTERN", "You provided a value that does not match the required pattern."},
		"an enum":   {func(v *wire.Violations) { v.Enum("name", "a", "B, C") }, "INVALID_ENUM", "You specified an invalid value."},
		"too short": {func(v *wire.Violations) { v.Length("name", "", 1, 2) }, "MIN_LENGTH_EXCEEDED", ""},
		"too long":  {func(v *wire.Violations) { v.Length("name", "abc", 1, 2) }, "MAX_LENGTH_EXCEEDED", ""},
		"too small": {func(v *wire.Violations) { v.Range("name", 0, 1, 2) }, "MIN_VALUE_EXCEEDED", ""},
		"too great": {func(v *wire.Violations) { v.Range("name", 3, 1, 2) }, "MAX_VALUE_EXCEEDED", ""},
		"an item":   {func(v *wire.Violations) { wire.ItemEnums(v, "list", []string{"a"}, "B, C") }, "INVALID_LIST_MEMBER", ""},
		"items":     {func(v *wire.Violations) { wire.ItemLengths(v, "list", []string{"a"}, 1, 2, digits) }, "INVALID_LIST_MEMBER", ""},
		"of many": {func(v *wire.Violations) {
			v.Pattern("name", "a", digits)
			v.Missing("other")
		}, "INVALID_PATTERN", ""},
	} {
		var v wire.Violations
		test.check(&v)
		err := v.InvalidInput()
		if test.reason == "" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		var e *wire.Error
		if !errors.As(err, &e) || e.Code != "InvalidInputException" || e.Reason != test.reason || e.Status != 400 || e.Message == "" || test.text != "" && e.Message != test.text {
			t.Errorf("%s: %+v, want %s", name, err, test.reason)
		}
	}
}

func TestInvalidField(t *testing.T) {
	var v wire.Violations
	if err := v.InvalidField(); err != nil {
		t.Error(err)
	}
	v.Missing("regionName")
	e := wire.AsError(v.InvalidField())
	const want = "1 validation error detected: Value null at 'regionName' failed to satisfy constraint: Member must not be null"
	if e.Code != "ValidationException" || e.Reason != "fieldValidationFailed" || e.Message != want {
		t.Errorf("%+v", e)
	}
}

func TestAppendErrorCapital(t *testing.T) {
	for want, e := range map[string]*wire.Error{
		`{"__type":"A","Message":"m","Reason":"R"}`: {Code: "A", Message: "m", Reason: "R"},
		`{"__type":"A","Message":"m"}`:              {Code: "A", Message: "m"},
		`{"__type":"A"}`:                            {Code: "A"},
	} {
		if got := string(wire.AppendErrorCapital(nil, e)); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	if got, want := string(wire.AppendError(nil, &wire.Error{Code: "A", Message: "m", Reason: "R"})), `{"__type":"A","message":"m","reason":"R"}`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestPresence(t *testing.T) {
	type enum string
	intern := func(b []byte) enum { return enum(b) }
	read := func(text string) (p wire.Presence) {
		r := wire.NewReader([]byte(text))
		if r.Root() {
			p = 3 // of what is required, nothing was seen
			for r.Member() {
				switch string(r.Name()) {
				case "a":
					p.Required(&r, 0)
				case "b":
					wire.RequiredEnum(&r, &p, 1, intern)
				case "c":
					p.Optional(&r, 2)
				case "d":
					wire.OptionalEnum(&r, &p, 3, intern)
				}
			}
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		return p
	}
	for text, want := range map[string]wire.Presence{
		`{}`:                                  0b0011,
		`{"a":"","b":"","c":"","d":""}`:       0b1100,
		`{"a":"x","b":"y","c":"z","d":"w"}`:   0,
		`{"a":null,"b":null,"c":null}`:        0b0011,
		`{"a":"","a":null,"c":"","c":"full"}`: 0b0011,
	} {
		if got := read(text); got != want {
			t.Errorf("%s: %04b, want %04b", text, got, want)
		}
	}
	r := wire.NewReader([]byte(`{"a":["x",null,"y"],"b":["z",null]}`))
	var list []string
	var enums []enum
	if r.Root() {
		for r.Member() {
			if string(r.Name()) == "a" {
				list = wire.ReadStrings(&r)
			} else {
				enums = wire.ReadEnums(&r, intern)
			}
		}
	}
	if err := r.Close(); err != nil || strings.Join(list, " ") != "x "+wire.Null+" y" || len(enums) != 2 || enums[0] != "z" || enums[1] != wire.Null {
		t.Errorf("%q %q %v", list, enums, err)
	}
}

func TestCloseAudit(t *testing.T) {
	for in, want := range map[string]string{`x{`: `xnull`, `x{"a":1`: `x{"a":1}`} {
		got := string(wire.CloseAudit([]byte(in), 1))
		if got != want || !json.Valid([]byte(got[1:])) {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

func TestQuerySecret(t *testing.T) {
	q := wire.NewQuery([]byte("Token=a%20b&Empty="))
	if got := q.Secret("Token"); string(got.Reveal()) != "a b" {
		t.Errorf("%q", got.Reveal())
	}
	if got := q.Secret("Empty"); got.IsNil() || got.Len() != 0 {
		t.Errorf("an empty one: %q", got.Reveal())
	}
	if got := q.Secret("Other"); !got.IsNil() {
		t.Errorf("none: %q", got.Reveal())
	}
}

func TestAppendXMLOthers(t *testing.T) {
	b := wire.AppendXMLMap(nil, "M", wire.StringMap{{Name: "a", Value: "<b>"}, {Name: "c", Value: ""}})
	b = wire.AppendXMLBase64(b, "B", []byte{1, 2, 3})
	want := "<M><entry><key>a</key><value>&lt;b&gt;</value></entry><entry><key>c</key><value></value></entry></M><B>AQID</B>"
	if string(b) != want {
		t.Errorf("%s, want %s", b, want)
	}
}
