package wire_test

import (
	"encoding/xml"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/keyreeve/keyreeve/internal/wire"
)

// item is a structure of a list.
type item struct {
	key, value string
	presence   wire.Presence
}

// form is what the tests read from a query.
type form struct {
	name     string
	optional string
	number   *int32
	flag     bool
	keys     []string
	items    []item
	presence wire.Presence
}

func read(body string) (form, error) {
	var f form
	q := wire.NewQuery([]byte(body))
	f.name = q.Required(&f.presence, 0, "Name")
	f.optional = q.Optional(&f.presence, 1, "Optional")
	f.number = q.Int("Number")
	f.flag = q.Bool("Flag")
	f.keys = wire.Strings[string](&q, "Keys")
	if n, ok := q.List("Items"); ok {
		f.items = make([]item, n)
		for i := range f.items {
			it := &f.items[i]
			outer := q.EnterItem("Items", i)
			it.key = q.Required(&it.presence, 0, "Key")
			it.value = q.Optional(&it.presence, 1, "Value")
			q.Leave(outer)
		}
	}
	return f, q.Err()
}

func TestQuery(t *testing.T) {
	f, err := read("&Action=X&Name=a%20b%2bc+d%C3%A9&Optional=&Number=-17&Flag=true&&Unknown.member.7.X=1" +
		"&Items.member.2.Key=second&Items.member.2.Value=&Items.member.1.Key=first&Items.member.1.Value=v" +
		"&Keys.member.1=one&Keys.member.3=three&Keys.member.2=")
	if err != nil {
		t.Fatal(err)
	}
	if f.name != "a b+c d\u00e9" || f.presence.Has(0) || f.optional != "" || !f.presence.Has(1) || *f.number != -17 || !f.flag {
		t.Errorf("read %+v", f)
	}
	if !slices.Equal(f.keys, []string{"one", "", "three"}) {
		t.Errorf("keys are %q", f.keys)
	}
	if len(f.items) != 2 || f.items[0] != (item{key: "first", value: "v"}) || f.items[1].key != "second" || !f.items[1].presence.Has(1) {
		t.Errorf("items are %+v", f.items)
	}

	f, err = read("Items=&Keys=")
	if err != nil || f.items == nil || len(f.items) != 0 || f.keys == nil || len(f.keys) != 0 || !f.presence.Has(0) || f.presence.Has(1) {
		t.Errorf("empty lists are read as %+v, %v", f, err)
	}
	f, err = read("")
	if err != nil || f.items != nil || f.keys != nil || f.number != nil || f.flag {
		t.Errorf("nothing is read as %+v, %v", f, err)
	}
	f, err = read("Items.member.1=")
	if err != nil || len(f.items) != 1 || !f.items[0].presence.Has(0) {
		t.Errorf("an empty item is read as %+v, %v", f, err)
	}
	// Ten and more items are not in the order of their names.
	var body strings.Builder
	for i := range 12 {
		body.WriteString("&Keys.member." + strconv.Itoa(i+1) + "=" + strconv.Itoa(i+1))
	}
	f, err = read(body.String())
	if err != nil || len(f.keys) != 12 || f.keys[1] != "2" || f.keys[9] != "10" || f.keys[11] != "12" {
		t.Errorf("twelve keys are read as %q, %v", f.keys, err)
	}
}

func TestQueryRefuses(t *testing.T) {
	const query, input = "MalformedQueryString", "MalformedInput"
	many := strings.Repeat("a=&", 1)
	for i := range wire.MaxParameters {
		many += "p" + strconv.Itoa(i) + "=1&"
	}
	for _, c := range []struct{ name, body, code string }{
		{"half an escape", "Name=%4", query},
		{"half an escape at the end", "Name=%", query},
		{"no escape", "Name=%zz", query},
		{"escape in a name", "Na%me=1", query},
		{"not UTF-8", "Name=%ff", query},
		{"not UTF-8, raw", "Name=\xff", query},
		{"a surrogate", "Name=%ed%a0%80", query},
		{"NUL", "Name=a%00b", query},
		{"twice", "Name=a&Name=a", query},
		{"twice, escaped", "Name=a&N%61me=b", query},
		{"a long name", strings.Repeat("n", wire.MaxName+1) + "=1", query},
		{"too many", many, query},
		{"flag", "Flag=TRUE", input},
		{"empty flag", "Flag=", input},
		{"number", "Number=1.0", input},
		{"number with a sign", "Number=%2b1", input},
		{"empty number", "Number=", input},
		{"large number", "Number=2147483648", input},
		{"gap", "Keys.member.1=a&Keys.member.3=b", input},
		{"far index", "Keys.member.1000000000=a", input},
		{"index that overflows", "Keys.member.99999999999999999999=a", input},
		{"index 0", "Keys.member.0=a", input},
		{"negative index", "Keys.member.-1=a", input},
		{"index with a zero in front", "Keys.member.01=a", input},
		{"index with a sign", "Keys.member.%2b1=a", input},
		{"no index", "Keys.member.=a", input},
		{"word for index", "Keys.member.x=a", input},
		{"list with a value", "Keys=a", input},
		{"empty list with items", "Keys=&Keys.member.1=a", input},
		{"structure for string", "Keys.member.1.Key=a", input},
		{"gap in structures", "Items.member.2.Key=a", input},
	} {
		if _, err := read(c.body); err == nil || wire.AsError(err).Code != c.code {
			t.Errorf("%s: %v, want %s", c.name, err, c.code)
		}
	}
	if _, err := read(strings.TrimPrefix(many, "a=&")); err != nil {
		t.Errorf("as many parameters as are let in: %v", err)
	}
}

func TestQueryAction(t *testing.T) {
	for _, c := range []struct{ body, action, version string }{
		{"Action=GetUser&Version=2010-05-08", "GetUser", "2010-05-08"},
		{"Version=2010-05-08&UserName=Action=x&Action=Get%55ser", "GetUser", "2010-05-08"},
		{"action=GetUser&XAction=y", "", ""},
		{"", "", ""},
		{"&&Action=", "", ""},
		{"Action=%4&Version=%ff", "", ""},
		{"Action=" + strings.Repeat("a", 1000), strings.Repeat("a", wire.MaxName), ""},
		{"Action=<b>&Version", "<b>", ""},
	} {
		if action, version := wire.QueryAction([]byte(c.body)); action != c.action || version != c.version {
			t.Errorf("QueryAction(%.40q) = %q, %q", c.body, action, version)
		}
	}
}

// FuzzQuery reads a form, and holds it against net/url.
func FuzzQuery(f *testing.F) {
	f.Add("Name=a&Items.member.1.Key=b&Items.member.1.Value=&Keys.member.1=x&Keys.member.2=y&Number=1&Flag=true")
	f.Add("Items=&Keys.member.10=1&%4e=%41+&=")
	f.Add("Keys.member.1000000000=a&Number=99999999999")
	f.Fuzz(func(t *testing.T, body string) {
		action, version := wire.QueryAction([]byte(body))
		if !utf8.ValidString(action + version) {
			t.Fatalf("action %q, version %q", action, version)
		}
		got, err := read(body)
		if err != nil {
			if code := wire.AsError(err).Code; code != "MalformedInput" && code != "MalformedQueryString" {
				t.Fatal(err)
			}
			return
		}
		if strings.Contains(body, ";") {
			return // which net/url refuses
		}
		want, err := url.ParseQuery(body)
		if err != nil {
			t.Fatalf("net/url says %v", err)
		}
		if want.Get("Name") != got.name || want.Has("Name") == got.presence.Has(0) || want.Get("Optional") != got.optional ||
			want.Has("Number") != (got.number != nil) || (want.Get("Flag") == "true") != got.flag {
			t.Fatalf("read %+v of %q", got, want)
		}
		for i, key := range got.keys {
			if want.Get("Keys.member."+strconv.Itoa(i+1)) != key {
				t.Fatalf("keys %q of %q", got.keys, want)
			}
		}
		for i, it := range got.items {
			prefix := "Items.member." + strconv.Itoa(i+1) + "."
			if want.Get(prefix+"Key") != it.key || want.Get(prefix+"Value") != it.value {
				t.Fatalf("items %+v of %q", got.items, want)
			}
		}
		if len(want["Action"]) == 1 && len(want.Get("Action")) <= wire.MaxName/3 && want.Get("Action") != action &&
			!strings.Contains(body, "%41ction") && !strings.Contains(body, "%") {
			t.Fatalf("action %q of %q", action, want)
		}
	})
}

func TestAppendXML(t *testing.T) {
	at := time.Date(2025, 4, 10, 10, 53, 12, 999_999_999, time.FixedZone("", 2*60*60))
	b := wire.AppendXMLStart(nil, "Op", "https://example.org/", true)
	b = wire.AppendXMLString(b, "S", "<a b=\"1\">&amp;]]>\r\n\t\x00\x1f\xff\ufffe\u00e9\U0001f600")
	b = wire.AppendXMLBool(b, "B", true)
	b = wire.AppendXMLInt(b, "I", -1)
	b = wire.AppendXMLTime(b, "T", at)
	b = wire.AppendXMLStrings(b, "L", []string{"x", ""})
	b = wire.AppendXMLEntries(b, "M", []wire.Entry{{Name: "Users", Value: 2}})
	b = wire.AppendXMLDocument(b, "D", `{"a": "*~/é"}`)
	b = wire.AppendXMLEnd(b, "Op", "id", true)
	var got struct {
		XMLName xml.Name `xml:"https://example.org/ OpResponse"`
		Result  struct {
			S, T, D string
			B       bool
			I       int
			L       []string `xml:"L>member"`
			M       []struct {
				Key   string `xml:"key"`
				Value int    `xml:"value"`
			} `xml:"M>entry"`
		} `xml:"OpResult"`
		ID string `xml:"ResponseMetadata>RequestId"`
	}
	if err := xml.Unmarshal(b, &got); err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	r := got.Result
	if want := "<a b=\"1\">&amp;]]>\r\n\t\ufffd\ufffd\ufffd\ufffd\u00e9\U0001f600"; r.S != want {
		t.Errorf("S = %q, want %q", r.S, want)
	}
	if !r.B || r.I != -1 || r.T != "2025-04-10T08:53:12Z" || !slices.Equal(r.L, []string{"x", ""}) || got.ID != "id" {
		t.Errorf("read %+v of %s", got, b)
	}
	if len(r.M) != 1 || r.M[0].Key != "Users" || r.M[0].Value != 2 {
		t.Errorf("M = %+v", r.M)
	}
	if want := "%7B%22a%22%3A%20%22%2A~%2F%C3%A9%22%7D"; r.D != want {
		t.Errorf("D = %s, want %s", r.D, want)
	}
	if got, want := string(wire.AppendXMLEnd(wire.AppendXMLStart(nil, "Op", "n", false), "Op", "id", false)),
		`<OpResponse xmlns="n"><ResponseMetadata><RequestId>id</RequestId></ResponseMetadata></OpResponse>`; got != want {
		t.Errorf("without a result: %s", got)
	}
}

func TestAppendXMLError(t *testing.T) {
	for _, c := range []struct {
		err       *wire.Error
		namespace string
		want      string
	}{
		{
			&wire.Error{Code: "NoSuchEntity", Message: "a < b", Status: http.StatusNotFound}, "n",
			`<ErrorResponse xmlns="n"><Error><Type>Sender</Type><Code>NoSuchEntity</Code><Message>a &lt; b</Message></Error><RequestId>id</RequestId></ErrorResponse>`,
		},
		{
			wire.NewFault("InternalFailure", ""), "",
			`<ErrorResponse><Error><Type>Receiver</Type><Code>InternalFailure</Code></Error><RequestId>id</RequestId></ErrorResponse>`,
		},
	} {
		if got := string(wire.AppendXMLError(nil, c.err, c.namespace, "id")); got != c.want {
			t.Errorf("%v: %s, want %s", c.err, got, c.want)
		}
	}
}

// FuzzXML escapes text so that a reader finds it again.
func FuzzXML(f *testing.F) {
	f.Add("a<b>&\r\n\x00\xff\uffff")
	f.Fuzz(func(t *testing.T, s string) {
		b := wire.AppendXMLString(nil, "S", s)
		var got string
		if err := xml.Unmarshal(b, &got); err != nil {
			t.Fatalf("%q: %v", b, err)
		}
		want := strings.Map(func(r rune) rune {
			if r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == 0xfffe || r == 0xffff {
				return utf8.RuneError
			}
			return r
		}, s)
		if got != want {
			t.Fatalf("%q is read as %q", s, got)
		}
	})
}
