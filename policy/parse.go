package policy

import "errors"

// Policy is a parsed and compiled document. It is never changed, and may be
// used by many at once.
type Policy struct{ text string }

// Parse parses and compiles a document. Errors are *[Error].
func Parse(text string, o Options) (*Policy, error) { return nil, errors.New("not written yet") }

// Size counts a document's characters without white space, as IAM's quotas do.
func Size(text string) int { return len(text) }

// Text returns the document as it was parsed.
func (p *Policy) Text() string { return p.text }

// TextWith returns the document with the names of its principals (see
// [Policy.Principals]) replaced: for each string in a Principal or NotPrincipal
// element replace is called with its value, and what it returns stands there
// instead. All else stays as it is, byte for byte. It tells what became of
// users and roles that the policy was bound to.
func (p *Policy) TextWith(replace func(name string) string) string { return p.text }

// ID returns the document's Id; empty for none.
func (p *Policy) ID() string { return "" }

// Version returns the version of the policy language, "2008-10-17" or
// "2012-10-17". A document without a Version is of the former.
func (p *Policy) Version() string { return "" }

// Len returns the number of statements.
func (p *Policy) Len() int { return 0 }

// Statements describes the statements, in the document's order. It is made anew
// at each call: for explanations, not for decisions.
func (p *Policy) Statements() []Statement { return nil }

// Principals returns the principals that the document names, in its order.
func (p *Policy) Principals() []Named { return nil }

// Bind returns the policy in which each of these names (ARNs of users and roles,
// as the document writes them) stands for whoever has the unique id, whatever
// its ARN is by now; the ARN alone does not match any more. Names that are not
// in ids mean what they meant. The policy itself is not changed.
func (p *Policy) Bind(ids map[string]string) *Policy { return p }
