package policy_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/keyreeve/keyreeve/policy"
)

var (
	referenceSeed  = flag.Uint64("reference.seed", 1, "seed of the random cases")
	referenceCases = flag.Uint64("reference.cases", defaultCases, "number of random cases")
)

// compare evaluates a document, bound to these unique ids, in both ways. It
// returns what they say, or why the document is none.
func compare(text string, o policy.Options, ids map[string]string, r *slowRequest) (f policy.Result, fast, slow string, err error) {
	p, err := policy.Parse(text, o)
	if err != nil {
		return f, "", "", err
	}
	if ids != nil {
		p = p.Bind(ids)
	}
	f = p.Evaluate(r.fast(), nil)
	s, err := slowly(text, o, ids, r)
	if err != nil {
		return f, "", "", err
	}
	fast = describe(f.Allow, f.Deny, f.AllowedBy, f.Statements)
	if v := p.Verdict(r.fast()); v.Allow != f.Allow || v.Deny != f.Deny || v.AllowedBy != f.AllowedBy {
		fast += fmt.Sprintf("; Verdict: %+v", v)
	}
	return f, fast, describe(s.allow, s.deny, s.by, s.statements), nil
}

// TestReferenceAgrees has random documents and requests decided by the evaluator
// and by the slow one.
func TestReferenceAgrees(t *testing.T) {
	t.Parallel()
	const shards = 4
	cases := *referenceCases
	if testing.Short() {
		cases = min(cases, 10_000)
	}
	counts := make(chan map[string]int, shards)
	t.Run("cases", func(t *testing.T) {
		for shard := range uint64(shards) {
			t.Run(fmt.Sprint(shard), func(t *testing.T) {
				t.Parallel()
				count := make(map[string]int)
				for i := shard; i < cases; i += shards {
					agree(t, i, count)
				}
				counts <- count
			})
		}
	})
	if t.Failed() {
		return
	}
	total := make(map[string]int)
	for range shards {
		for what, n := range <-counts {
			total[what] += n
		}
	}
	// Cases that are all decided alike would say little.
	for what, n := range total {
		if float64(n) < 0.005*float64(cases) {
			t.Errorf("only %d of %d cases: %s", n, cases, what)
		}
	}
	if len(total) != 8 {
		t.Errorf("the cases end in %d ways, want 8: %v", len(total), total)
	}
	t.Log(total)
}

// agree makes one case up, and counts how it ends.
func agree(t *testing.T, i uint64, count map[string]int) {
	s, r := dice{rand.New(rand.NewPCG(*referenceSeed, i))}.cases()
	result, fast, slow, err := compare(s.String(), s.options, s.ids, r)
	if err != nil {
		t.Fatalf("case %d of -reference.seed %d: %v\n%s", i, *referenceSeed, err, s)
	}
	if fast != slow {
		s, r := shrink(s, r, func(s *sketch, r *slowRequest) bool {
			_, fast, slow, err := compare(s.String(), s.options, s.ids, r)
			return err == nil && fast != slow
		})
		_, fast, slow, _ := compare(s.String(), s.options, s.ids, r)
		t.Fatalf("case %d of -reference.seed %d:\n%s\n%+v, bound to %v\n%vevaluator: %s\nreference: %s", i, *referenceSeed, s, s.options, s.ids, r, fast, slow)
	}
	switch {
	case result.Deny:
		count["denied"]++
	case result.Allow:
		count["allowed"]++
	default:
		count["neither"]++
	}
	for _, o := range result.Statements {
		if !o.Matched {
			count[describe(false, false, 0, []policy.Outcome{{Mismatch: o.Mismatch}})]++
		}
	}
}
