package explain_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/explain"
)

var now = time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)

func TestCases(t *testing.T) {
	f, err := os.Open("testdata/cases.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	cases, err := explain.Load(f, explain.Beside("testdata"), now)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		t.Run(c.ID, func(t *testing.T) {
			r, err := c.Decide(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if len(r.Differences) > 0 {
				t.Errorf("%s", strings.TrimSpace(string(r.AppendText(nil, f.Name()))))
			}
		})
	}
}
