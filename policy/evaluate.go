package policy

import "math/bits"

// A statement is one statement, compiled.
type statement struct {
	sid string
	at  int // offset in the text

	deny, inert                          bool
	named                                bool // the type of policy has principals
	notPrincipal, notAction, notResource bool

	principals []principal
	actions    []action
	resources  []arnPattern // none in a trust policy
	conditions []condition
}

// maxWork bounds what takes the product of what a document and what a request
// has: the values of multivalued keys under many patterns, and long values
// under many patterns with wildcards that are not at an end. Its unit is
// some nanoseconds. Texts without wildcards are looked up and do not count, so
// that no policy that is meant well comes near.
const maxWork = 200_000

// Units of work.
const (
	workComparison = 2 // a value of a multivalued key is held against one of the policy
	workVariable   = 5 // a policy variable is looked up
	bytesSearched  = 6 // so many bytes are searched for a text in one unit
)

// An evaluation is one policy being asked.
type evaluation struct {
	context Context
	work    int // that was needed
}

// excessive reports whether it was too much. What is found from then on does
// not matter.
func (e *evaluation) excessive() bool { return e.work > maxWork }

// Evaluate evaluates the whole policy, and appends to buf what became of each
// statement. It allocates nothing if buf has room and the request's Context
// allocates nothing, but for variables in floating parts of patterns and values
// of numbers, dates and addresses in string operators.
func (p *Policy) Evaluate(r *Request, buf []Outcome) Result {
	result := Result{Statements: buf}
	hits := p.actions.hits(p, r.Action)
	resource := arn{text: r.Resource}
	e := evaluation{context: r.Context}
	for i := range p.statements {
		s := &p.statements[i]
		o := Outcome{}
		by := Match(0)
		switch {
		case s.inert:
			o.Mismatch = Inert
		default:
			if by = s.matchPrincipal(r.Principal); by == 0 {
				o.Mismatch = OfPrincipal
			} else if !hits.has(i) {
				o.Mismatch = OfAction
			} else if !s.matchResource(&resource, &e) {
				o.Mismatch = OfResource
			} else if failed := s.failed(&e); failed >= 0 {
				o.Mismatch, o.Condition = OfCondition, failed
			} else {
				o.Matched = true
				result.count(s, by)
			}
		}
		result.Statements = append(result.Statements, o)
	}
	result.bound(&e)
	return result
}

// Verdict is Evaluate without what became of the statements, and faster: it
// looks at the statements about the action alone.
func (p *Policy) Verdict(r *Request) Result {
	var result Result
	hits := p.actions.hits(p, r.Action)
	resource := arn{text: r.Resource}
	e := evaluation{context: r.Context}
	for word, set := range hits.set {
		for ; set != 0; set &= set - 1 {
			s := &p.statements[word*64+bits.TrailingZeros64(set)]
			if s.inert {
				continue
			}
			if by := s.matchPrincipal(r.Principal); by != 0 && s.matchResource(&resource, &e) && s.failed(&e) < 0 {
				result.count(s, by)
			}
		}
	}
	result.bound(&e)
	return result
}

// count counts a statement that matches.
func (r *Result) count(s *statement, by Match) {
	if s.deny {
		r.Deny = true
		return
	}
	r.Allow = true
	if s.named {
		r.AllowedBy |= by
	}
}

// bound denies what was too much to find out.
func (r *Result) bound(e *evaluation) {
	if e.excessive() {
		r.Deny, r.Excessive = true, true
	}
}

// matchAction reports whether the statement is about an action.
func (s *statement) matchAction(name string) bool {
	for i := range s.actions {
		if s.actions[i].match(name) {
			return !s.notAction
		}
	}
	return s.notAction
}

// matchResource reports whether the statement is about a resource.
func (s *statement) matchResource(a *arn, e *evaluation) bool {
	if s.resources == nil {
		return true
	}
	for i := range s.resources {
		if s.resources[i].match(a, e) {
			return !s.notResource
		}
		if e.excessive() {
			break
		}
	}
	return s.notResource
}

// failed returns the index of the first condition that does not hold; -1 if all
// do.
func (s *statement) failed(e *evaluation) int {
	for i := range s.conditions {
		if !s.conditions[i].holds(e) {
			return i
		}
	}
	return -1
}
