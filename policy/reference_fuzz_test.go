package policy_test

import (
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/keyreeve/keyreeve/policy"
)

// typeOf makes a type of document of any number.
func typeOf(n uint8) policy.Type {
	const all = uint8(policy.Session) // the last one
	return policy.Type((n+all-1)%all + 1)
}

// seedDocuments adds random documents of all types to a corpus.
func seedDocuments(add func(text string, o policy.Options, seed uint64)) {
	for i := range uint64(40) {
		s, _ := dice{rand.New(rand.NewPCG(2, i))}.cases()
		add(s.String(), s.options, i)
	}
	for _, text := range []string{
		"", "{}", "[]", "null", "{", `{"Statement":[]}`, `{"Statement":{}}`, "\ufeff{}", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`,
		`{"Statement":[{"Effect":"Allow","Action":"*","Resource":"*"},]}`, `{"Statement":[{"Effect":"Allow","Effect":"Deny","Action":"*","Resource":"*"}]}`,
		`{"Version":"2012-10-17","Statement":{"Effect":"Deny","Principal":{"AWS":["AIDAX","111122223333"]},"Action":"kms:*","Resource":"*","Condition":{"StringLike":{"a:b":"${a:c, '}'}${"}}}}`,
		strings.Repeat(`{"Statement":`, 20), `{"Statement":"\ud800"}`, "{\"Statement\":\"\xff\"}",
	} {
		add(text, policy.Options{Type: policy.Identity}, 0)
	}
}

// FuzzParse holds that nothing a parser is given makes it panic, that what it
// accepts is JSON, and that a document prints as itself.
func FuzzParse(f *testing.F) {
	seedDocuments(func(text string, o policy.Options, _ uint64) { f.Add(text, uint8(o.Type), o.Stored) })
	f.Fuzz(func(t *testing.T, text string, kind uint8, stored bool) {
		o := policy.Options{Type: typeOf(kind), Stored: stored}
		p, err := policy.Parse(text, o)
		if err != nil {
			if p != nil {
				t.Error("a policy came with the error")
			}
			e, ok := err.(*policy.Error)
			switch {
			case !ok || e.Message == "":
				t.Errorf("the error is %T %v", err, err)
			case e.Line < 0 || e.Line > 1+strings.Count(text, "\n") || e.Column < 0 || e.Column > 1+len(text):
				t.Errorf("the error is at %d:%d", e.Line, e.Column)
			}
			return
		}
		if len(text) > policy.MaxBytes {
			t.Errorf("a document of %d bytes", len(text))
		}
		if !json.Valid([]byte(text)) {
			t.Error("what is not JSON was accepted")
		}
		if p.Text() != text {
			t.Errorf("the text became %q", p.Text())
		}
		same := func(s string) string { return s }
		again, err := policy.Parse(p.TextWith(same), o)
		if err != nil {
			t.Fatalf("the text of a policy is none: %v", err)
		}
		if again.Len() != p.Len() || len(again.Principals()) != len(p.Principals()) || again.TextWith(same) != p.TextWith(same) {
			t.Error("the text of a policy means another")
		}
		if len(p.Statements()) != p.Len() {
			t.Errorf("%d statements of %d", len(p.Statements()), p.Len())
		}
		names := p.Principals()
		for i, n := range names {
			if n.Offset < 0 || n.Offset >= len(text) || text[n.Offset] != '"' {
				t.Fatalf("principal %q does not begin at %d", n.Name, n.Offset)
			}
			if i > 0 && names[i-1].Offset >= n.Offset {
				t.Errorf("principal %q comes before the one before", n.Name)
			}
			var written string
			if err := json.NewDecoder(strings.NewReader(text[n.Offset:])).Decode(&written); err != nil || written != n.Name {
				t.Errorf("principal %q is written as %q (%v)", n.Name, written, err)
			}
		}
		// A document whose names are replaced by awkward ones is still JSON.
		if renamed := p.TextWith(func(s string) string { return s + "\"\\\n\u2028<" }); !json.Valid([]byte(renamed)) {
			t.Errorf("with other names it is not JSON: %s", renamed)
		}
	})
}

// FuzzWildcard holds the matcher against a table of dynamic programming.
func FuzzWildcard(f *testing.F) {
	for _, s := range [][2]string{
		{"", ""},
		{"*", ""},
		{"?", ""},
		{"a*b?c", "axxbyc"},
		{"***", "a"},
		{"*?*", ""},
		{"a*a*a*b", "aaaaaaaaaa"},
		{"?", "ü"},
		{"*ü?", "aüé"},
		{"**a", "ba"},
		{"*aab", "aaab"},
		{"a?*", "ab"},
		{"\xff", "\xfe"},
		{"?", "\xff\xff"},
	} {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, pattern, s string) {
		if len(pattern) > 200 || len(s) > 1000 || !utf8.ValidString(pattern) || !utf8.ValidString(s) {
			// Documents and requests are valid UTF-8; others must not panic.
			policy.Wildcard(pattern, s)
			return
		}
		if got, want := policy.Wildcard(pattern, s), wild(plain(pattern), plainOf(s)); got != want {
			t.Errorf("Wildcard(%q, %q) = %v", pattern, s, got)
		}
	})
}

// FuzzEvaluate holds the evaluator against the slow one, for documents of the
// fuzzer's and requests of the dice's.
func FuzzEvaluate(f *testing.F) {
	seedDocuments(func(text string, o policy.Options, seed uint64) { f.Add(text, uint8(o.Type), o.Stored, seed) })
	f.Fuzz(func(t *testing.T, text string, kind uint8, stored bool, seed uint64) {
		o := policy.Options{Type: typeOf(kind), Stored: stored}
		if len(text) > 4096 || !utf8.ValidString(text) {
			return
		}
		r := dice{rand.New(rand.NewPCG(2, seed))}.request(o.Type)
		_, fast, slow, err := compare(text, o, nil, r)
		if err == nil && fast != slow {
			t.Errorf("%s\n%+v\n%vevaluator: %s\nreference: %s", text, o, r, fast, slow)
		}
	})
}
