package policy_test

import (
	"flag"
	"math/rand/v2"
	"testing"

	"github.com/keyreeve/keyreeve/policy"
)

var (
	referenceSeed  = flag.Uint64("reference.seed", 1, "seed of the random cases")
	referenceCases = flag.Uint64("reference.cases", 100_000, "number of random cases")
)

// compare evaluates a document in both ways. It returns what they say, or why
// the document is none.
func compare(text string, o policy.Options, r *slowRequest) (fast, slow string, err error) {
	p, err := policy.Parse(text, o)
	if err != nil {
		return "", "", err
	}
	f := p.Evaluate(r.fast(), nil)
	s, err := slowly(text, o, r)
	if err != nil {
		return "", "", err
	}
	return describe(f.Allow, f.Deny, f.AllowedBy, f.Statements), describe(s.allow, s.deny, s.by, s.statements), nil
}

// TestReferenceAgrees has random documents and requests decided by the evaluator
// and by the slow one.
func TestReferenceAgrees(t *testing.T) {
	t.Parallel()
	counts := make(map[string]int)
	cases := *referenceCases
	if testing.Short() {
		cases = min(cases, 10_000)
	}
	for i := range cases {
		d := dice{rand.New(rand.NewPCG(*referenceSeed, i))}
		s, r := d.cases()
		fast, slow, err := compare(s.String(), s.options, r)
		if err != nil {
			t.Fatalf("case %d of seed %d: %v\n%s", i, *referenceSeed, err, s)
		}
		if fast != slow {
			s, r := shrink(s, r, func(s *sketch, r *slowRequest) bool {
				fast, slow, err := compare(s.String(), s.options, r)
				return err == nil && fast != slow
			})
			fast, slow, _ := compare(s.String(), s.options, r)
			t.Fatalf("case %d of seed %d:\n%s\n%+v\n%vevaluator: %s\nreference: %s", i, *referenceSeed, s, s.options, r, fast, slow)
		}
		result, err := slowly(s.String(), s.options, r)
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case result.deny:
			counts["denied"]++
		case result.allow:
			counts["allowed"]++
		default:
			counts["neither"]++
		}
		for _, o := range result.statements {
			if o.Mismatch != 0 {
				counts[describe(false, false, 0, []policy.Outcome{{Mismatch: o.Mismatch}})]++
			}
		}
	}
	// Cases that are decided alike say little.
	for what, n := range counts {
		if float64(n) < 0.005*float64(cases) {
			t.Errorf("only %d of %d cases: %s", n, cases, what)
		}
	}
	if len(counts) < 8 {
		t.Errorf("the cases end in %d ways, want 8: %v", len(counts), counts)
	}
	t.Log(counts)
}
