package main

import (
	"strconv"
	"strings"
)

// article is the name with its article.
func article(name string) string {
	if strings.ContainsAny(name[:1], "AEIO") {
		return "an " + name
	}
	return "a " + name
}

func itoa(n int) string { return strconv.Itoa(n) }

// checked reports whether anything about a value of this shape is checked.
func (s *shape) checked() bool {
	switch s.kind {
	case kindEnum, kindList, kindMap:
		return true
	case kindStructure:
		for _, mem := range s.members {
			if mem.required || mem.target.checked() {
				return true
			}
		}
		return false
	}
	return s.max != nil || s.pattern != ""
}

// emitValidators emits Validate for inputs, and validate for the structures in
// them.
func (m *model) emitValidators(p *printer) {
	patterns := m.sorted(func(s *shape) bool { return s.inInput && s.pattern != "" })
	p.print("\n// The patterns of the API, as its model writes them.\nvar (\n")
	for _, s := range patterns {
		p.printf("%s = wire.NewPattern(`%s`)\n", patternName(s), s.pattern)
	}
	p.print(")\n\n// The enums of inputs, in the order in which they are printed.\nconst (\n")
	for _, s := range m.enums() {
		if s.inInput {
			p.printf("%s = %q\n", setName(s), strings.Join(s.printed, ", "))
		}
	}
	p.print(")\n")
	for _, msg := range m.messages() {
		if !(msg.input || msg.op == nil && msg.shape.inInput && msg.shape.checked()) {
			continue
		}
		self := msg.receiver()
		target := "v"
		switch {
		case msg.op == nil:
			p.print("\nfunc (", self, " *", msg.name, ") validate(v *wire.Violations) {\n")
		case msg.shape == nil || !msg.shape.checked():
			p.print("\n// Validate checks ", self, " against the API's constraints, of which it has none.\n",
				"func (*", msg.name, ") Validate() error { return nil }\n")
			continue
		default:
			target = "&v"
			p.print("\n// Validate checks ", self, " against the API's constraints. The error is "+article(m.invalid)+".\n")
			p.print("func (", self, " *", msg.name, ") Validate() error {\nvar v wire.Violations\n")
		}
		for _, mem := range msg.members() {
			emitCheck(p, self, target, mem)
		}
		if msg.op != nil {
			p.print("return ", m.violated, "\n")
		}
		p.print("}\n")
	}
}

func patternName(s *shape) string { return "pattern" + goName(strings.TrimSuffix(s.name, "Type")) }
func setName(s *shape) string     { return "set" + s.name }

// emitSecretCheck emits the check of a sensitive string.
func emitSecretCheck(p *printer, name, field string, s *shape) {
	pattern := "nil"
	if s.pattern != "" {
		pattern = patternName(s)
	}
	p.printf("v.SecretString(%q, %s, %d, %d, %s)\n", name, field, *s.min, *s.max, pattern)
}

func emitCheck(p *printer, self, target string, mem *member) {
	s := mem.target
	if !mem.required && !s.checked() {
		return
	}
	field := self + "." + goName(mem.name)
	name := lowerFirst(mem.name)
	open := false
	switch there := present(field, s); {
	case mem.required, mem.requiredWhen != "":
		absent := field + " == nil"
		switch {
		case mem.bit >= 0:
			absent = self + ".presence.Has(" + itoa(mem.bit) + ")"
		case s.sensitive:
			absent = field + ".IsNil()"
		}
		if mem.requiredWhen != "" {
			p.printf("if %s {\nif %s {\nv.Missing(%q)\n}\n}", absent, mem.requiredWhen, name)
		} else {
			p.printf("if %s {\nv.Missing(%q)\n}", absent, name)
		}
		if open = s.checked(); open {
			p.print(" else {\n")
		} else {
			p.print("\n")
		}
	case mem.bit >= 0:
		p.printf("if %s || %s.presence.Has(%d) {\n", there, self, mem.bit)
		open = true
	default:
		p.printf("if %s {\n", there)
		open = true
	}
	if !open {
		return
	}
	switch s.kind {
	case kindString:
		if s.sensitive {
			emitSecretCheck(p, name, field, s)
			break
		}
		if s.max != nil {
			p.printf("v.Length(%q, %s, %d, %d)\n", name, field, *s.min, *s.max)
		}
		if s.pattern != "" {
			p.printf("v.Pattern(%q, %s, %s)\n", name, field, patternName(s))
		}
	case kindEnum:
		p.printf("if !%s.Valid() {\nv.Enum(%q, string(%s), %s)\n}\n", field, name, field, setName(s))
	case kindInteger:
		p.printf("v.Range(%q, *%s, %d, %d)\n", name, field, *s.min, *s.max)
	case kindBlob:
		check := "BlobLength"
		if s.sensitive {
			check = "SecretLength"
		}
		p.printf("v.%s(%q, %s, %d, %d)\n", check, name, field, *s.min, *s.max)
	case kindStructure:
		p.printf("outer := v.Enter(%q)\n%s.validate(%s)\nv.Leave(outer)\n", name, field, target)
	case kindList:
		item := s.item()
		if item.kind == kindStructure {
			if s.max != nil {
				p.printf("v.Items(%q, len(%s), %d, %d)\n", name, field, *s.min, *s.max)
			}
			p.printf("for i := range %s {\nif v.Full() {\nbreak\n}\n", field)
			p.printf("if %s[i].presence == wire.NullItem {\nv.NullItem(%q)\nbreak\n}\n", field, name)
			p.printf("outer := v.EnterItem(%q, i)\n%s[i].validate(%s)\nv.Leave(outer)\n}\n", name, field, target)
			break
		}
		if s.max != nil {
			p.printf("wire.ListLength(%s, %q, %s, %d, %d)\n", target, name, field, *s.min, *s.max)
		}
		if item.kind == kindString && item.max == nil {
			p.printf("wire.NullItems(%s, %q, %s)\n", target, name, field)
			break
		}
		p.printf("if !wire.NullItems(%s, %q, %s) {\n", target, name, field)
		if item.kind == kindEnum {
			p.printf("for _, item := range %s {\nif !item.Valid() {\nwire.ItemEnums(%s, %q, %s, %s)\nbreak\n}\n}\n}\n", field, target, name, field, setName(item))
			break
		}
		pattern := "nil"
		if item.pattern != "" {
			pattern = patternName(item)
		}
		p.printf("wire.ItemLengths(%s, %q, %s, %d, %d, %s)\n}\n", target, name, field, *item.min, *item.max, pattern)
	case kindMap:
		p.printf("v.NoNulls(%q, %s)\n", name, field)
	default:
		panic("no check for " + s.name)
	}
	p.print("}\n")
}
