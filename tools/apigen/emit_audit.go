package main

import (
	"fmt"
	"strings"
)

// emitAudit emits AppendAudit for inputs and outputs, and appendAudit for the
// structures that it shows.
func (m *model) emitAudit(p *printer) {
	shown := map[*shape]bool{}
	for _, msg := range m.messages() {
		if msg.op == nil {
			continue
		}
		rules, part := msg.op.elements, "responseElements"
		if msg.input {
			rules, part = msg.op.parameters, "requestParameters"
		}
		self := msg.receiver()
		p.print("\n// AppendAudit appends what CloudTrail's ", part, " shows.\n")
		if len(rules) == 0 {
			p.print("func (*", msg.name, ") AppendAudit(b []byte) []byte { return append(b, \"null\"...) }\n")
			continue
		}
		p.print("func (", self, " *", msg.name, ") AppendAudit(b []byte) []byte {\nstart := len(b)\nb = append(b, '{')\n")
		for _, text := range rules {
			r, err := parseRule(msg.shape, text)
			if err != nil {
				panic(fmt.Sprintf("overlay: %s: %v", msg.name, err))
			}
			r.emit(p, self)
			markShown(shown, r.member.target)
		}
		p.print("return wire.CloseAudit(b, start)\n}\n")
	}
	for _, s := range m.structures() {
		if !shown[s] {
			continue
		}
		p.print("\nfunc (s *", s.name, ") appendAudit(b []byte) []byte {\nb = append(b, '{')\n")
		for _, mem := range s.members {
			if mem.veiled {
				p.printf("b = append(wire.AppendName(b, %q), wire.Hidden...)\n", lowerFirst(mem.name))
				continue
			}
			if mem.target.hidden() {
				continue
			}
			r := rule{member: mem, always: mem.always || mem.required}
			r.emit(p, "s")
		}
		p.print("return append(b, '}')\n}\n")
	}
}

// hidden reports whether a value of this shape is nothing to show. Of a structure
// that only holds such, the rest is shown.
func (s *shape) hidden() bool {
	return s.sensitive || s.kind == kindBlob || s.kind == kindList && s.item().hidden()
}

func markShown(shown map[*shape]bool, s *shape) {
	if s == nil || shown[s] {
		return
	}
	shown[s] = true
	for _, mem := range s.members {
		markShown(shown, mem.target)
	}
}

// A rule says how one member is shown; see [overlay].
type rule struct {
	member   *member
	stand    *member // is shown in the member's place
	fallback string  // is shown in the place of both
	always   bool
	unless   *member
}

func parseRule(s *shape, text string) (rule, error) {
	var r rule
	name, fallback, _ := strings.Cut(text, "=")
	r.fallback = fallback
	name, r.always = strings.CutSuffix(name, "!")
	name, stand, hasStand := strings.Cut(name, "|")
	name, unless, hasUnless := strings.Cut(name, "-")
	r.member = s.member(name)
	if hasStand {
		r.stand = s.member(stand)
	}
	if hasUnless {
		r.unless = s.member(unless)
	}
	switch {
	case r.member == nil, hasStand && r.stand == nil, hasUnless && r.unless == nil:
		return r, fmt.Errorf("rule %q names an unknown member", text)
	case r.member.target.hidden():
		return r, fmt.Errorf("rule %q shows what must not be shown", text)
	}
	return r, nil
}

func (r rule) emit(p *printer, self string) {
	s := r.member.target
	field := self + "." + goName(r.member.name)
	name := lowerFirst(r.member.name)
	cond := present(field, s)
	if r.unless != nil {
		cond += " && " + absent(self+"."+goName(r.unless.name), r.unless.target)
	}
	switch {
	case s.masked:
		p.printf("if %s {\nb = wire.AppendString(wire.AppendName(b, %q), \"****\")\n}\n", cond, name)
	case r.member.document:
		p.printf("if %s {\nb = wire.AppendEscapedString(wire.AppendName(b, %q), %s)\n}\n", cond, name, field)
	case r.always:
		emitAppend(p, field, name, s, true)
	case r.fallback != "":
		args := "string(" + field + ")"
		if r.stand != nil {
			args += ", string(" + self + "." + goName(r.stand.name) + ")"
		}
		p.printf("b = wire.AppendString(wire.AppendName(b, %q), cmp.Or(%s, %q))\n", name, args, r.fallback)
	default:
		p.print("if ", cond, " {\n")
		emitAppend(p, field, name, s, true)
		p.print("}\n")
	}
}
