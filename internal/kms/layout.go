package kms

import (
	"bytes"
	"encoding/json"
	"slices"

	"github.com/keyreeve/keyreeve/internal/wire"
)

// layOut prints a policy document in AWS's layout: a space on both sides of each
// colon, objects on lines of their own, arrays on one line, the elements in the
// order in which AWS has them. Numbers stay as they are written. A text that is
// no JSON stays as it is.
func layOut(text string) string {
	d := json.NewDecoder(bytes.NewReader([]byte(text)))
	d.UseNumber()
	root, err := readValue(d)
	if err != nil {
		return text
	}
	order(root, documentOrder)
	for _, m := range root.members {
		if m.name == "Statement" {
			order(m.value, statementOrder)
			for _, s := range m.value.items {
				order(s, statementOrder)
			}
		}
	}
	return string(root.append(nil, 0))
}

// The order of elements as AWS prints them; others come after, as written.
var (
	documentOrder  = []string{"Version", "Id", "Statement"}
	statementOrder = []string{"Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource", "Condition"}
)

// value is a JSON value: scalar, array or object.
type value struct {
	scalar  []byte
	items   []*value
	members []member
	kind    json.Delim // 0 for a scalar
}

type member struct {
	name  string
	value *value
}

func readValue(d *json.Decoder) (*value, error) {
	t, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch t := t.(type) {
	case json.Delim:
		v := &value{kind: t}
		for d.More() {
			name := ""
			if t == '{' {
				key, err := d.Token()
				if err != nil {
					return nil, err
				}
				name, _ = key.(string)
			}
			item, err := readValue(d)
			if err != nil {
				return nil, err
			}
			if t == '{' {
				v.members = append(v.members, member{name, item})
			} else {
				v.items = append(v.items, item)
			}
		}
		_, err := d.Token() // the end
		return v, err
	case string:
		return &value{scalar: wire.AppendString(nil, t)}, nil
	case json.Number:
		return &value{scalar: []byte(t.String())}, nil
	case bool:
		return &value{scalar: wire.AppendBool(nil, t)}, nil
	}
	return &value{scalar: []byte("null")}, nil
}

// order puts an object's members into an order.
func order(v *value, names []string) {
	place := func(m member) int {
		if i := slices.Index(names, m.name); i >= 0 {
			return i
		}
		return len(names)
	}
	slices.SortStableFunc(v.members, func(a, b member) int { return place(a) - place(b) })
}

func (v *value) append(b []byte, depth int) []byte {
	switch v.kind {
	case '{':
		b = append(b, '{')
		for i, m := range v.members {
			if i > 0 {
				b = append(b, ',')
			}
			b = indent(append(b, '\n'), depth+1)
			b = append(wire.AppendString(b, m.name), " : "...)
			b = m.value.append(b, depth+1)
		}
		if len(v.members) > 0 {
			b = indent(append(b, '\n'), depth)
		} else {
			b = append(b, ' ')
		}
		return append(b, '}')
	case '[':
		b = append(b, '[')
		for i, item := range v.items {
			if i > 0 {
				b = append(b, ',')
			}
			b = item.append(append(b, ' '), depth)
		}
		return append(b, " ]"...)
	}
	return append(b, v.scalar...)
}

func indent(b []byte, depth int) []byte {
	for range depth {
		b = append(b, "  "...)
	}
	return b
}
