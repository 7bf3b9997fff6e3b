package policy

// Evaluate evaluates the whole policy, and appends to buf what became of each
// statement. It allocates nothing if buf has room and the request's Context
// allocates nothing.
func (p *Policy) Evaluate(r *Request, buf []Outcome) Result { return Result{Statements: buf} }

// Verdict is Evaluate without what became of the statements, and faster.
func (p *Policy) Verdict(r *Request) Result { return Result{} }
