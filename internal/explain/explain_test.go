package explain_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/explain"
)

// now is when the calls of all cases are made.
var now = time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)

// load reads a file of cases.
func load(t *testing.T, path string) []*explain.Case {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	cases, err := explain.Load(f, explain.Beside(filepath.Dir(path)), now)
	if err != nil {
		t.Fatalf("%s:\n%v", path, err)
	}
	return cases
}

// check decides cases, each as a test.
func check(t *testing.T, path string, cases []*explain.Case) {
	for _, c := range cases {
		t.Run(c.ID, func(t *testing.T) {
			r, err := c.Decide(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if len(r.Differences) > 0 {
				t.Errorf("%s", strings.TrimSpace(string(r.AppendText(nil, path))))
			}
		})
	}
}

// elsewhere are the worked cases that are about something else than a decision,
// with what they are about, and where they are tested.
var elsewhere = map[int]string{
	31:  "which key a bare id means: package kms",
	32:  "which key an alias means: package kms",
	57:  "what is a policy: TestMistakes, package policy",
	86:  "what is a policy: TestMistakes, package policy",
	120: "what is a grant token: packages authz and kms",
	121: "what a grant can be for: package kms",
	145: "whether named principals exist: package kms",
	146: "the state of a key: package kms",
}

// TestWorkedCases decides the worked cases of KMS authorization, 1 to 146:
// examples of the AWS KMS Developer Guide and the IAM User Guide, with AWS's
// messages. A letter after the number is a variant.
func TestWorkedCases(t *testing.T) {
	const path, last = "testdata/cases.jsonl", 146
	cases := load(t, path)
	there := make(map[int]bool)
	for _, c := range cases {
		n, err := strconv.Atoi(strings.TrimRight(c.ID, "abcdefghijklmnopqrstuvwxyz"))
		if err != nil || n < 1 || n > last {
			t.Errorf("line %d: case %q has no number", c.Line, c.ID)
		}
		there[n] = true
	}
	for n := 1; n <= last; n++ {
		if there[n] == (elsewhere[n] != "") {
			t.Errorf("case %d: in the file %v, elsewhere %q", n, there[n], elsewhere[n])
		}
	}
	check(t, path, cases)
}

// TestForms decides cases in every form in which their parts can be written.
func TestForms(t *testing.T) {
	const path = "testdata/forms.jsonl"
	check(t, path, load(t, path))
}

// TestDocs decides the cases of the documentation: the example, and what stands
// on the page.
func TestDocs(t *testing.T) {
	const page, example = "../../docs/explain-cases.md", "../../docs/explain-cases/example.jsonl"
	check(t, example, load(t, example))
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, rest := range strings.Split(string(text), "```json\n")[1:] {
		block, _, ok := strings.Cut(rest, "```")
		if !ok {
			t.Fatal("a block of JSON does not end")
		}
		block = strings.ReplaceAll(block, "\n ", " ") // lines that are broken for the page
		cases, err := explain.Load(strings.NewReader(block), explain.Beside("../../docs"), now)
		if err != nil {
			t.Errorf("%s\n%v", block, err)
		}
		check(t, page, cases)
		n += len(cases)
	}
	if n < 8 {
		t.Errorf("only %d cases were found", n)
	}
}
