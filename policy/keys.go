package policy

import "strings"

// Span returns where a statement stands in the text: the offset of its opening
// brace, and that after its closing brace. i counts from 0.
func (p *Policy) Span(i int) (start, end int) {
	start = p.statements[i].at
	depth := 0
	for end = start; end < len(p.text); end++ {
		switch p.text[end] {
		case '"':
			for end++; end < len(p.text) && p.text[end] != '"'; end++ {
				if p.text[end] == '\\' {
					end++
				}
			}
		case '{':
			depth++
		case '}':
			if depth--; depth == 0 {
				return start, end + 1
			}
		}
	}
	return start, end // not in a text that was parsed
}

// Denies reports whether the effect of a statement is Deny. i counts from 0.
func (p *Policy) Denies(i int) bool { return p.statements[i].deny }

// Keys returns the names of the condition keys that the document refers to, in
// its order and as it writes them: those of its conditions, and those of policy
// variables, where there are some. A name in another case is the same. The list
// is made anew at each call.
func (p *Policy) Keys() []string {
	l := keyList{seen: make(map[string]struct{}), variables: p.variables}
	nodes := p.statementNodes()
	for i := range nodes {
		l.statement(&nodes[i])
	}
	return l.names
}

// A keyList is a list of names of condition keys, each once.
type keyList struct {
	names     []string
	seen      map[string]struct{}
	variables bool // the document has policy variables
}

func (l *keyList) add(name string) {
	key := strings.ToLower(name)
	if _, ok := l.seen[key]; !ok {
		l.seen[key] = struct{}{}
		l.names = append(l.names, name)
	}
}

func (l *keyList) statement(n *node) {
	for i := range n.members {
		switch m := &n.members[i]; m.name {
		case "Resource", "NotResource":
			l.texts(&m.value)
		case "Condition":
			for j := range m.value.members {
				operator := &m.value.members[j]
				c, _ := parseOperator(operator.name)
				for k := range operator.value.members {
					key := &operator.value.members[k]
					l.add(key.name)
					switch c.test {
					case stringEquals, stringEqualsIgnoreCase, stringLike, arnLike:
						l.texts(&key.value)
					}
				}
			}
		}
	}
}

// texts adds the variables in a text, or in a list of texts.
func (l *keyList) texts(n *node) {
	if !l.variables {
		return
	}
	for i := range n.items {
		l.texts(&n.items[i])
	}
	for s := n.text; n.kind == jsonString; {
		i := strings.Index(s, "${")
		if i < 0 {
			return
		}
		v, length := readVariable(s[i:])
		if length == 0 {
			return // it does not end, and neither does any after it
		}
		if v != nil {
			name := strings.TrimSpace(s[i+2 : i+length-1])
			if v.hasDefault {
				name = strings.TrimSpace(name[:strings.IndexByte(name, ',')])
			}
			l.add(name)
		}
		s = s[i+length:]
	}
}
