package wire_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/keyreeve/keyreeve/internal/wire"
)

// FuzzJSON holds the reader against encoding/json: what the reader takes is
// JSON, and its strings are the same; what is JSON, the reader takes, unless it
// is beyond a limit or not Unicode.
func FuzzJSON(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"a":null,"b":[true,false,{"c":-1.5e+9}],"d":"\ud83d\ude00\n"}`, `{"a":"\ud800"}`, "{\"a\":\"\xff\"}",
		strings.Repeat(`{"a":[`, 70), `{"a":1,"a":"2"}`, `{"a":"YQ=="}`, `{"a":{"b":"c","b":"d"}}`, `{"a":01}`, `[1]`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		r := wire.NewReader(body)
		strs := map[string]string{}
		if r.Root() {
			for r.Member() {
				name := string(r.Name())
				if s, ok := peekString(&r); ok {
					strs[name] = s
				} else {
					delete(strs, name)
				}
			}
		}
		err := r.Close()
		if err == nil {
			var want map[string]any
			if jsonErr := json.Unmarshal(body, &want); jsonErr != nil {
				t.Fatalf("reader took what encoding/json refuses: %v", jsonErr)
			}
			for name, v := range want {
				if s, ok := v.(string); ok && strs[name] != s {
					t.Fatalf("%q: read %q, want %q", name, strs[name], s)
				}
			}
			for name := range strs {
				if _, ok := want[name].(string); !ok {
					t.Fatalf("%q: read a string, want %v", name, want[name])
				}
			}
			return
		}
		if wire.AsError(err).Code != "SerializationException" {
			t.Fatalf("error is %v", err)
		}
		if trimmed := bytes.TrimLeft(body, " \t\r\n"); !json.Valid(body) || len(trimmed) == 0 || trimmed[0] != '{' {
			return
		}
		surrogate := bytes.Contains(bytes.ToLower(body), []byte(`\ud`))
		if !utf8.Valid(body) || surrogate || bytes.Count(body, []byte{'{'})+bytes.Count(body, []byte{'['}) > wire.MaxDepth || len(body) > wire.MaxString {
			return
		}
		t.Fatalf("reader refused valid JSON: %v", err)
	})
}

// peekString reads a string, or skips anything else.
func peekString(r *wire.Reader) (string, bool) {
	probe := *r
	if s, ok := probe.String(); ok {
		r.Skip()
		return s, true
	}
	r.Skip()
	return "", false
}

func FuzzString(f *testing.F) {
	f.Add("abc")
	f.Add("\xff\"\\\n\u2028😀\x00")
	f.Fuzz(func(t *testing.T, s string) {
		if len(s) > wire.MaxString/6 {
			return
		}
		b := wire.AppendString([]byte(`{"v":`), s)
		b = append(b, '}')
		want := s
		if !utf8.ValidString(s) {
			want = string([]rune(s)) // each bad byte becomes U+FFFD
		}
		var got string
		if err := member(t, string(b), func(r *wire.Reader) { got, _ = r.String() }); err != nil || got != want {
			t.Fatalf("%q came back as %q, %v", s, got, err)
		}
		if !json.Valid(b) {
			t.Fatalf("%s is not JSON", b)
		}
	})
}

func FuzzBlob(f *testing.F) {
	f.Add("YQ==")
	f.Add("YQ==\n")
	f.Fuzz(func(t *testing.T, s string) {
		b := append(wire.AppendString([]byte(`{"v":`), s), '}')
		var blob []byte
		err := member(t, string(b), func(r *wire.Reader) { blob = r.Blob() })
		if err != nil {
			return
		}
		if again := string(wire.AppendBase64(nil, blob)); again != `"`+s+`"` {
			t.Fatalf("%q is not canonical: %s", s, again)
		}
	})
}
