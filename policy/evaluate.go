package policy

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

// Evaluate evaluates the whole policy, and appends to buf what became of each
// statement. It allocates nothing if buf has room and the request's Context
// allocates nothing, but for variables in floating parts of patterns and values
// of numbers, dates and addresses in string operators.
func (p *Policy) Evaluate(r *Request, buf []Outcome) Result {
	result := Result{Statements: buf}
	hits := p.actions.hits(p, r.Action)
	resource := arn{text: r.Resource}
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
			} else if !s.matchResource(&resource, r.Context) {
				o.Mismatch = OfResource
			} else if failed := s.failed(r.Context); failed >= 0 {
				o.Mismatch, o.Condition = OfCondition, failed
			} else {
				o.Matched = true
				result.count(s, by)
			}
		}
		result.Statements = append(result.Statements, o)
	}
	return result
}

// Verdict is Evaluate without what became of the statements, and faster: it
// looks at the statements about the action alone.
func (p *Policy) Verdict(r *Request) Result {
	var result Result
	hits := p.actions.hits(p, r.Action)
	resource := arn{text: r.Resource}
	for _, i := range hits.list {
		s := &p.statements[i]
		if s.inert {
			continue
		}
		if by := s.matchPrincipal(r.Principal); by != 0 && s.matchResource(&resource, r.Context) && s.failed(r.Context) < 0 {
			result.count(s, by)
		}
	}
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
func (s *statement) matchResource(a *arn, c Context) bool {
	if s.resources == nil {
		return true
	}
	for i := range s.resources {
		if s.resources[i].match(a, c) {
			return !s.notResource
		}
	}
	return s.notResource
}

// failed returns the index of the first condition that does not hold; -1 if all
// do.
func (s *statement) failed(c Context) int {
	for i := range s.conditions {
		if !s.conditions[i].holds(c) {
			return i
		}
	}
	return -1
}
