package policy

import "slices"

// Policy is a parsed and compiled document. It is never changed, and may be
// used by many at once.
type Policy struct {
	typ        Type
	text       string
	id         string
	variables  bool // the version has policy variables
	statements []statement
	names      []Named
	cost       int          // see Cost
	actions    *actionCache // shared with what is made of it by Bind
}

// Type returns what the document is for.
func (p *Policy) Type() Type { return p.typ }

// Text returns the document as it was parsed.
func (p *Policy) Text() string { return p.text }

// TextWith returns the document with the names of its principals (see
// [Policy.Principals]) replaced: for each string in a Principal or NotPrincipal
// element replace is called with its value, and what it returns stands there
// instead. All else stays as it is, byte for byte. It tells what became of
// users and roles that the policy was bound to.
func (p *Policy) TextWith(replace func(name string) string) string {
	var b []byte
	from := 0
	for _, n := range p.names {
		name := replace(n.Name)
		if name == n.Name {
			continue
		}
		b = append(b, p.text[from:n.Offset]...)
		b = appendJSONString(b, name)
		from = n.Offset + 1
		for p.text[from] != '"' {
			if p.text[from] == '\\' {
				from++
			}
			from++
		}
		from++
	}
	if b == nil {
		return p.text
	}
	return string(append(b, p.text[from:]...))
}

// ID returns the document's Id; empty for none.
func (p *Policy) ID() string { return p.id }

// Version returns the version of the policy language, "2008-10-17" or
// "2012-10-17". A document without a Version is of the former.
func (p *Policy) Version() string {
	if p.variables {
		return latest
	}
	return "2008-10-17"
}

// Len returns the number of statements.
func (p *Policy) Len() int { return len(p.statements) }

// Statements describes the statements, in the document's order. It reads the
// text anew at each call: for explanations, not for decisions.
func (p *Policy) Statements() []Statement {
	all := make([]Statement, len(p.statements))
	nodes := p.statementNodes()
	for i := range p.statements {
		s := &p.statements[i]
		all[i] = Statement{SID: s.sid, Deny: s.deny}
		all[i].Line, all[i].Column = place(p.text, s.at)
		if i < len(nodes) {
			all[i].Conditions = nodes[i].conditions()
		}
	}
	return all
}

// statementNodes returns the statements as JSON.
func (p *Policy) statementNodes() []node {
	root, f := readJSON(p.text)
	if f != nil {
		return nil // not of a text that was parsed
	}
	for i := range root.members {
		if root.members[i].name != "Statement" {
			continue
		}
		switch n := root.members[i].value; n.kind {
		case jsonObject:
			return []node{n}
		case jsonArray:
			return n.items
		}
	}
	return nil
}

// conditions describes the conditions of a statement.
func (n *node) conditions() []Condition {
	var all []Condition
	for i := range n.members {
		if n.members[i].name != "Condition" {
			continue
		}
		operators := n.members[i].value.members
		for j := range operators {
			keys := operators[j].value.members
			for k := range keys {
				c := Condition{Operator: operators[j].name, Key: keys[k].name}
				v := &keys[k].value
				if v.kind != jsonArray {
					c.Values = []string{v.text}
				}
				for l := range v.items {
					c.Values = append(c.Values, v.items[l].text)
				}
				all = append(all, c)
			}
		}
	}
	return all
}

// Principals returns the principals that the document names, in its order.
func (p *Policy) Principals() []Named { return slices.Clone(p.names) }

// Bind returns the policy in which each of these names (ARNs of users and roles,
// as the document writes them) stands for whoever has the unique id, whatever
// its ARN is by now; the ARN alone does not match any more. Names that are not
// in ids mean what they meant. The policy itself is not changed.
func (p *Policy) Bind(ids map[string]string) *Policy {
	bound := *p
	changed := false
	for i := range p.statements {
		for j, q := range p.statements[i].principals {
			if q.kind != ofUser && q.kind != ofRole && q.kind != ofSession {
				continue
			}
			id, ok := ids[q.name]
			if !ok {
				continue
			}
			if !changed {
				bound.statements = slices.Clone(p.statements)
				changed = true
			}
			s := &bound.statements[i]
			if &s.principals[0] == &p.statements[i].principals[0] {
				s.principals = slices.Clone(s.principals)
			}
			s.principals[j] = principal{ofUniqueID, id}
			if q.kind == ofSession {
				s.principals[j].kind = ofSessionID
			}
		}
	}
	if !changed {
		return p
	}
	bound.cost = p.cost + bound.weighBound(p)
	return &bound
}
