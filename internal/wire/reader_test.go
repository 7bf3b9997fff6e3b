package wire_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/wire"
)

// member reads {"v": …} with read and returns how reading ended.
func member(t *testing.T, body string, read func(r *wire.Reader)) error {
	t.Helper()
	r := wire.NewReader([]byte(body))
	if r.Root() {
		for r.Member() {
			if string(r.Name()) == "v" {
				read(&r)
			} else {
				r.Skip()
			}
		}
	}
	return r.Close()
}

func TestReaderAccepts(t *testing.T) {
	for _, body := range []string{
		`{}`,
		` { } `,
		"\t{\n\"a\" :\r1 }",
		`{"a":null,"b":true,"c":false,"d":"x","e":{},"f":[]}`,
		`{"a":[1,-1,0,-0,1.5,1e9,1E+9,1e-9,0.1]}`,
		`{"a":{"b":{"c":[[],[{}],{"d":[null]}]}}}`,
		`{"a":1,"a":2}`,
		`{"":""}`,
		`{"a":"\"\\\/\b\f\n\r\t\u0041\ud83d\ude00"}`,
		`{"😀":"€"}`,
		`{"a":` + strings.Repeat("[", wire.MaxDepth-1) + strings.Repeat("]", wire.MaxDepth-1) + `}`,
	} {
		if err := member(t, body, func(r *wire.Reader) { r.Skip() }); err != nil {
			t.Errorf("%s: %v", body, err)
		}
	}
}

func TestReaderRefuses(t *testing.T) {
	deep := strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000)
	for _, body := range []string{
		``, ` `, `x`, `null`, `nul`, `[]`, `"a"`, `1`, `true`,
		`{`, `{"a"`, `{"a":`, `{"a":1`, `{"a":1,`, `{"a":1,}`, `{,}`, `{,"a":1}`, `{"a" 1}`, `{"a":,}`, `{a:1}`, `{'a':1}`,
		`{"a":1 "b":2}`, `{"a":1}}`, `{"a":1}{}`, `{} x`, `{"a":1]`,
		`{"a":[}`, `{"a":[1,]}`, `{"a":[,1]}`, `{"a":[1 2]}`, `{"a":[1}}`,
		`{"a":01}`, `{"a":+1}`, `{"a":1.}`, `{"a":.1}`, `{"a":1e}`, `{"a":-}`, `{"a":1e+}`, `{"a":NaN}`, `{"a":0x1}`,
		`{"a":tru}`, `{"a":nulL}`, `{"a":falsey}`,
		`{"a":"`, `{"a":"\`, `{"a":"\"}`, `{"a":"\x"}`, `{"a":"\u12"}`, `{"a":"\u12g4"}`, "{\"a\":\"\n\"}", "{\"a\":\"\x00\"}",
		`{"a":"\ud800"}`, `{"a":"\udc00"}`, `{"a":"\ud800\u0041"}`, `{"a":"\ud800\ud800"}`, `{"a":"\ud800x"}`, `{"\ud800":1}`,
		"{\"a\":\"\xff\"}", "{\"a\":\"\xc0\xaf\"}", "{\"a\":\"\xed\xa0\x80\"}", "{\"\xff\":1}",
		`{"a":` + deep + `}`, deep,
		strings.Repeat(`{"a":`, 10_000) + `1` + strings.Repeat(`}`, 10_000),
		`{"a":` + strings.Repeat("[", wire.MaxDepth) + strings.Repeat("]", wire.MaxDepth) + `}`,
		strings.Repeat("[", 10_000),
		`{"a":"` + strings.Repeat("x", wire.MaxString+1) + `"}`,
	} {
		err := member(t, body, func(r *wire.Reader) { r.Skip() })
		if e := wire.AsError(err); e == nil || e.Code != "SerializationException" || e.Status != 400 {
			t.Errorf("%.60q: %v, want a SerializationException", body, err)
		}
	}
}

func TestReaderTooManyItems(t *testing.T) {
	var b bytes.Buffer
	b.WriteString(`{"v":{`)
	for i := range wire.MaxItems + 1 {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(`"a":""`)
	}
	b.WriteString(`}}`)
	if err := member(t, b.String(), func(r *wire.Reader) { r.StringMap() }); err == nil {
		t.Errorf("a map of %d members was read", wire.MaxItems+1)
	}
}

func TestReaderString(t *testing.T) {
	for _, c := range []struct {
		json, want string
		there      bool
	}{
		{`""`, "", true},
		{`"abc"`, "abc", true},
		{`null`, "", false},
		{`"a\"\\\/\b\f\n\r\tz"`, "a\"\\/\b\f\n\r\tz", true},
		{`"\u0041\u00e9\u20ac\ud83d\uDE00"`, "Aé€😀", true},
		{`"\u0000"`, "\x00", true},
		{`"😀"`, "😀", true},
		{`"` + strings.Repeat(`\n`, 1000) + `"`, strings.Repeat("\n", 1000), true},
	} {
		var s, text string
		var ok bool
		err := member(t, `{"v":`+c.json+`}`, func(r *wire.Reader) { s, ok = r.String() })
		if err != nil || s != c.want || ok != c.there {
			t.Errorf("String(%.40s) = %q, %t, %v, want %q, %t", c.json, s, ok, err, c.want, c.there)
		}
		err = member(t, `{"v":`+c.json+`}`, func(r *wire.Reader) {
			var b []byte
			b, ok = r.Text()
			text = string(b)
		})
		if err != nil || text != c.want || ok != c.there {
			t.Errorf("Text(%.40s) = %q, %t, %v, want %q, %t", c.json, text, ok, err, c.want, c.there)
		}
		err = member(t, `{"v":`+c.json+`}`, func(r *wire.Reader) {
			got := r.Secret()
			if string(got.Reveal()) != c.want || got.IsNil() == c.there {
				t.Errorf("Secret(%.40s) = %q", c.json, got.Reveal())
			}
		})
		if err != nil {
			t.Errorf("Secret(%.40s): %v", c.json, err)
		}
	}
}

func TestReaderKeepsNothingOfTheMessage(t *testing.T) {
	body := []byte(`{"v":"abc","w":"YWJj","x":{"n":"v"}}`)
	r := wire.NewReader(body)
	var s string
	var blob []byte
	var m wire.StringMap
	for ok := r.Root(); ok && r.Member(); {
		switch string(r.Name()) {
		case "v":
			s, _ = r.String()
		case "w":
			blob = r.Blob()
		case "x":
			m = r.StringMap()
		}
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	clear(body)
	if s != "abc" || string(blob) != "abc" || m[0] != (wire.Pair{Name: "n", Value: "v"}) {
		t.Errorf("after the body was reused: %q, %q, %q", s, blob, m)
	}
}

func TestReaderBlob(t *testing.T) {
	for _, c := range []struct {
		json, want string
		ok         bool
	}{
		{`""`, "", true},
		{`"YQ=="`, "a", true},
		{`"YWI="`, "ab", true},
		{`"YWJj"`, "abc", true},
		{`"\/\/\/\/"`, "\xff\xff\xff", true},
		{`"++//"`, "\xfb\xef\xff", true},
		{`"\u0059Q=="`, "a", true},
		{`"YQ"`, "", false},
		{`"YQ="`, "", false},
		{`"YQ==="`, "", false},
		{`"===="`, "", false},
		{`"Y==="`, "", false},
		{`"YR=="`, "", false}, // bits beyond the last byte
		{`"YQ==YQ=="`, "", false},
		{`"--__"`, "", false},
		{`"YW Jj"`, "", false},
		{`"YWJj\n"`, "", false},
		{`"YWJ\n"`, "", false},
		{`"YWJjYW\r\n"`, "", false},
		{`"é==="`, "", false},
		{`1`, "", false},
		{`["YQ=="]`, "", false},
	} {
		err := member(t, `{"v":`+c.json+`}`, func(r *wire.Reader) {
			got := r.Blob()
			if c.ok && (string(got) != c.want || got == nil) {
				t.Errorf("Blob(%s) = %q, want %q", c.json, got, c.want)
			}
			if !c.ok && got != nil {
				t.Errorf("Blob(%s) = %q, want nil", c.json, got)
			}
		})
		if (err == nil) != c.ok {
			t.Errorf("Blob(%s): %v", c.json, err)
		}
	}
	if err := member(t, `{"v":null}`, func(r *wire.Reader) {
		if b := r.SecretBlob(); !b.IsNil() {
			t.Errorf("SecretBlob(null) = %q", b.Reveal())
		}
	}); err != nil {
		t.Error(err)
	}
}

func TestReaderInt(t *testing.T) {
	for _, c := range []struct {
		json string
		want int32
		ok   bool
	}{
		{"0", 0, true},
		{"-0", 0, true},
		{"2147483647", 1<<31 - 1, true},
		{"-2147483648", -1 << 31, true},
		{"2147483648", 0, false},
		{"-2147483649", 0, false},
		{"99999999999999999999999999", 0, false},
		{"1.0", 0, false},
		{"1e2", 0, false},
		{`"1"`, 0, false},
		{"true", 0, false},
		{"[1]", 0, false},
		{"{}", 0, false},
	} {
		var n *int32
		err := member(t, `{"v":`+c.json+`}`, func(r *wire.Reader) { n = r.Int() })
		switch {
		case (err == nil) != c.ok:
			t.Errorf("Int(%s): %v", c.json, err)
		case c.ok && (n == nil || *n != c.want):
			t.Errorf("Int(%s) = %v, want %d", c.json, n, c.want)
		}
	}
}

func TestReaderTime(t *testing.T) {
	for _, c := range []struct {
		json string
		want time.Time
		ok   bool
	}{
		{"0", time.Unix(0, 0), true},
		{"1449187262", time.Unix(1449187262, 0), true},
		{"1449187262.123", time.UnixMilli(1449187262123), true},
		{"1449187262.1239", time.UnixMilli(1449187262124), true},
		{"1.449187262123E9", time.UnixMilli(1449187262123), true},
		{"-1.5", time.UnixMilli(-1500), true},
		{"253402300798", time.Unix(253402300798, 0), true},
		{"253402300800", time.Time{}, false},
		{"-62135596800", time.Time{}, false},
		{"1e400", time.Time{}, false},
		{`"2020-01-01T00:00:00Z"`, time.Time{}, false},
	} {
		var got time.Time
		err := member(t, `{"v":`+c.json+`}`, func(r *wire.Reader) { got = r.Time() })
		if (err == nil) != c.ok || !got.Equal(c.want) {
			t.Errorf("Time(%s) = %v, %v, want %v", c.json, got, err, c.want)
		}
	}
}

func TestReaderWrongTypes(t *testing.T) {
	for _, c := range []struct {
		json string
		read func(r *wire.Reader)
		want string
	}{
		{`1`, func(r *wire.Reader) { r.String() }, "NUMBER_VALUE can not be converted to a String"},
		{`{}`, func(r *wire.Reader) { r.String() }, "START_OBJECT can not be converted to a String"},
		{`"1"`, func(r *wire.Reader) { r.Int() }, "STRING_VALUE can not be converted to an Integer"},
		{`"true"`, func(r *wire.Reader) { r.Bool() }, "STRING_VALUE can not be converted to a Boolean"},
		{`0`, func(r *wire.Reader) { r.OptionalBool() }, "NUMBER_VALUE can not be converted to a Boolean"},
		{`true`, func(r *wire.Reader) { r.Object() }, "TRUE_VALUE can not be converted to a structure or map"},
		{`false`, func(r *wire.Reader) { r.List() }, "FALSE_VALUE can not be converted to a list"},
		{`[]`, func(r *wire.Reader) { r.StringMap() }, "START_ARRAY can not be converted to a structure or map"},
		{`{"a":1}`, func(r *wire.Reader) { r.StringMap() }, "NUMBER_VALUE can not be converted to a String"},
	} {
		e := wire.AsError(member(t, `{"v":`+c.json+`}`, c.read))
		if e == nil || e.Code != "SerializationException" || e.Message != c.want {
			t.Errorf("%s: %v, want %q", c.json, e, c.want)
		}
	}
}

func TestReaderNullIsAbsent(t *testing.T) {
	for name, read := range map[string]func(r *wire.Reader) bool{
		"String":    func(r *wire.Reader) bool { _, ok := r.String(); return ok },
		"Text":      func(r *wire.Reader) bool { _, ok := r.Text(); return ok },
		"Int":       func(r *wire.Reader) bool { return r.Int() != nil },
		"Bool":      func(r *wire.Reader) bool { return r.Bool() },
		"Optional":  func(r *wire.Reader) bool { return r.OptionalBool() != nil },
		"Time":      func(r *wire.Reader) bool { return !r.Time().IsZero() },
		"Blob":      func(r *wire.Reader) bool { return r.Blob() != nil },
		"List":      func(r *wire.Reader) bool { return r.List() },
		"Object":    func(r *wire.Reader) bool { return r.Object() },
		"StringMap": func(r *wire.Reader) bool { return r.StringMap() != nil },
	} {
		err := member(t, `{"v":null}`, func(r *wire.Reader) {
			if read(r) {
				t.Errorf("%s: null is a value", name)
			}
		})
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestReaderOptionalBool(t *testing.T) {
	for text, want := range map[string]bool{"true": true, "false": false} {
		var got *bool
		if err := member(t, `{"v":`+text+`}`, func(r *wire.Reader) { got = r.OptionalBool() }); err != nil || got == nil || *got != want {
			t.Errorf("OptionalBool(%s) = %v, %v", text, got, err)
		}
	}
}

func TestReaderStringMap(t *testing.T) {
	for _, c := range []struct {
		json string
		want wire.StringMap
	}{
		{`{}`, wire.StringMap{}},
		{`{"a":"1"}`, wire.StringMap{{Name: "a", Value: "1"}}},
		{`{"b":"2","a":"1"}`, wire.StringMap{{Name: "a", Value: "1"}, {Name: "b", Value: "2"}}},
		{`{"a":"1","b":"2","a":"3"}`, wire.StringMap{{Name: "a", Value: "3"}, {Name: "b", Value: "2"}}},
		{`{"\u0061":"1","a":"2"}`, wire.StringMap{{Name: "a", Value: "2"}}},
		{`{"a":"1","b":null}`, wire.StringMap{{Name: "a", Value: "1"}, {Name: "b", Value: wire.Null}}},
		{`{"b":null,"b":"1"}`, wire.StringMap{{Name: "b", Value: "1"}}},
		{`{"b":""}`, wire.StringMap{{Name: "b"}}},
		{`{"a":"bc"}`, wire.StringMap{{Name: "a", Value: "bc"}}},
		{`{"ab":"c"}`, wire.StringMap{{Name: "ab", Value: "c"}}},
	} {
		var got wire.StringMap
		err := member(t, `{"v":`+c.json+`}`, func(r *wire.Reader) { got = r.StringMap() })
		if err != nil || got == nil || !got.Equal(c.want) {
			t.Errorf("StringMap(%s) = %v, %v, want %v", c.json, got, err, c.want)
		}
	}
}
