package kms_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var quoted = regexp.MustCompile("`([A-Za-z]+)`")

// TestCompatibility compares the errors in docs/aws-compatibility.md with those
// of the API's model. What else stands there is held to be true by the client
// tests.
func TestCompatibility(t *testing.T) {
	text, err := os.ReadFile("../../docs/aws-compatibility.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(line, "|")
		if len(cells) != 7 {
			continue
		}
		name := quoted.FindStringSubmatch(cells[1])
		if name == nil {
			continue
		}
		rows++
		want := strings.Fields(modelled[name[1]])
		var got []string
		for _, m := range quoted.FindAllStringSubmatch(cells[4]+cells[5], -1) {
			got = append(got, m[1])
		}
		slices.Sort(want)
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%s: the table has %v, the model %v", name[1], got, want)
		}
	}
	if rows != 56 {
		t.Errorf("the table has %d operations, the API 56", rows)
	}
}
