package kms

import (
	"fmt"
	"strings"
	"testing"

	"github.com/keyreeve/keyreeve/internal/wire"
	"github.com/keyreeve/keyreeve/policy"
)

// TestPairOfMany holds that the pair of an encryption context that a condition
// key means is the same whether there are few pairs or many, which are not
// looked through one by one.
func TestPairOfMany(t *testing.T) {
	odd := []wire.Pair{
		{Name: "Dept", Value: "1"},
		{Name: "dEPT", Value: "2"},
		{Name: "\u212aey", Value: "3"},
		{Name: "kEY", Value: "4"},
		{Name: "ſize", Value: "5"},
		{Name: "ΣΊΣΥΦΟΣ", Value: "6"},
		{Name: "", Value: "7"},
		{Name: "ab", Value: ""},
	}
	looked := []string{"dept", "DEPT", "Dept", "dEPT", "key", "KEY", "\u212aEY", "size", "SIZE", "σίσυφος", "", "AB", "abc", "x7", "X7", "X40", "none"}
	for n := range fewPairs + 20 {
		pairs := odd
		for i := range n {
			pairs = append(pairs[:len(pairs):len(pairs)], wire.Pair{Name: fmt.Sprintf("x%d", i), Value: fmt.Sprint(i)})
		}
		a := asked{context: wire.NewStringMap(pairs...)}
		for _, name := range looked {
			var want policy.Value
			if v, ok := a.context.Get(name); ok {
				want = policy.String(v)
			} else {
				for _, p := range a.context {
					if strings.EqualFold(p.Name, name) {
						want = policy.String(p.Value)
						break
					}
				}
			}
			got := a.pair(name)
			if got.Exists() != want.Exists() || got.String() != want.String() {
				t.Errorf("%d pairs, %q: %q, want %q", len(pairs), name, got, want)
			}
		}
		if (a.folded != nil) != (len(pairs) > fewPairs) {
			t.Errorf("%d pairs: folded is %v", len(pairs), a.folded != nil)
		}
	}
}
