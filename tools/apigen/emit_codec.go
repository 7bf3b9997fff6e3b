package main

import "strings"

// hasSecret reports whether a value of this shape holds anything sensitive.
func (s *shape) hasSecret() bool {
	if s.sensitive {
		return true
	}
	for _, mem := range s.members {
		if mem.target != nil && mem.target.hasSecret() {
			return true
		}
	}
	return false
}

// emitDecoders emits DecodeJSON for inputs and outputs, and decode for every
// message, which reads the members once the object is open.
func (m *model) emitDecoders(p *printer) {
	for _, msg := range m.messages() {
		self := msg.receiver()
		if msg.op != nil {
			p.print("\n// DecodeJSON reads ", self, " from an awsJson1_1 body. The error is a SerializationException.\n")
			p.print("func (", self, " *", msg.name, ") DecodeJSON(b []byte) error {\n*", self, " = ", msg.name, "{}\n")
			if msg.shape == nil {
				p.print("if len(b) == 0 {\nreturn nil\n}\n")
			}
			p.print("r := wire.NewReader(b)\nif r.Root() {\n", self, ".decode(&r)\n}\nreturn r.Close()\n}\n")
		} else {
			p.print("\nfunc read", msg.name, "(r *wire.Reader) *", msg.name, " {\nif !r.Object() {\nreturn nil\n}\n",
				"s := new(", msg.name, ")\ns.decode(r)\nreturn s\n}\n")
		}
		p.print("\nfunc (", self, " *", msg.name, ") decode(r *wire.Reader) {\n")
		if len(msg.members()) == 0 {
			p.print("for r.Member() {\nr.Skip()\n}\n}\n")
			continue
		}
		if mask := requiredMask(msg); mask != "" {
			p.print(self, ".presence = ", mask, "\n")
		}
		p.print("for r.Member() {\nswitch string(r.Name()) {\n")
		for _, mem := range msg.members() {
			p.printf("case %q:\n", mem.name)
			emitRead(p, self+"."+goName(mem.name), self, mem)
		}
		p.print("default:\nr.Skip()\n}\n}\n}\n")
	}
	for _, s := range m.sorted(func(s *shape) bool { return s.kind == kindList && s.item().kind == kindStructure }) {
		item := s.item().name
		p.print("\nfunc read", s.name, "(r *wire.Reader) []", item, " {\nif !r.List() {\nreturn nil\n}\nlist := []", item, "{}\n",
			"for r.Item() && r.Room(len(list)) {\nif r.Object() {\nlist = append(list, ", item, "{})\nlist[len(list)-1].decode(r)\n}")
		if s.inInput {
			p.print(" else {\nlist = append(list, ", item, "{presence: wire.NullItem})\n}")
		}
		p.print("\n}\nreturn list\n}\n")
	}
}

// requiredMask is the presence of a message in which nothing was seen yet.
func requiredMask(msg message) string {
	mask := ""
	for _, mem := range msg.members() {
		if mem.bit >= 0 && mem.required {
			if mask != "" {
				mask += " | "
			}
			mask += bitName(mem)
		}
	}
	return mask
}

func bitName(mem *member) string { return "1 << " + itoa(mem.bit) }

func emitRead(p *printer, field, self string, mem *member) {
	s := mem.target
	rule := "Optional"
	if mem.required {
		rule = "Required"
	}
	switch s.kind {
	case kindString:
		switch {
		case s.sensitive:
			p.print(field, ".Wipe()\n", field, " = r.Secret()\n")
		case mem.bit >= 0:
			p.printf("%s = %s.presence.%s(r, %d)\n", field, self, rule, mem.bit)
		default:
			p.print(field, ", _ = r.String()\n")
		}
	case kindEnum:
		if mem.bit >= 0 {
			p.printf("%s = wire.%sEnum(r, &%s.presence, %d, intern%s)\n", field, rule, self, mem.bit, s.name)
		} else {
			p.printf("%s = wire.ReadEnum(r, intern%s)\n", field, s.name)
		}
	case kindBlob:
		if s.sensitive {
			p.print(field, ".Wipe()\n", field, " = r.SecretBlob()\n")
		} else {
			p.print(field, " = r.Blob()\n")
		}
	case kindBoolean:
		p.print(field, " = r.Bool()\n")
	case kindFlag:
		p.print(field, " = r.OptionalBool()\n")
	case kindInteger:
		p.print(field, " = r.Int()\n")
	case kindTimestamp:
		p.print(field, " = r.Time()\n")
	case kindMap:
		p.print(field, " = r.StringMap()\n")
	case kindStructure:
		if s.hasSecret() {
			p.print(field, ".wipe()\n")
		}
		p.print(field, " = read", s.name, "(r)\n")
	case kindList:
		switch item := s.item(); item.kind {
		case kindString:
			p.print(field, " = wire.ReadStrings(r)\n")
		case kindEnum:
			p.print(field, " = wire.ReadEnums(r, intern", item.name, ")\n")
		case kindStructure:
			p.print(field, " = read", s.name, "(r)\n")
		default:
			panic("no reader for lists of " + item.name)
		}
	default:
		panic("no reader for " + s.name)
	}
}

// mayBeNullItem reports whether structures of this shape are items of a list in
// an input, where a null is kept until validation refuses it.
func (m *model) mayBeNullItem(s *shape) bool {
	for _, list := range m.shapes {
		if list.kind == kindList && list.inInput && list.item() == s {
			return true
		}
	}
	return false
}

// emitEncoders emits AppendJSON for every message.
func (m *model) emitEncoders(p *printer) {
	for _, msg := range m.messages() {
		self := msg.receiver()
		what := "as JSON"
		if msg.op != nil {
			what = "as an awsJson1_1 body"
		}
		p.print("\n// AppendJSON appends ", self, " ", what, ".\n")
		p.print("func (", self, " *", msg.name, ") AppendJSON(b []byte) []byte {\n")
		switch {
		case msg.shape == nil:
			p.print("return b\n}\n")
			continue
		case len(msg.members()) == 0:
			p.print("return append(b, '{', '}')\n}\n")
			continue
		}
		if msg.op == nil && m.mayBeNullItem(msg.shape) {
			p.print("if ", self, ".presence == wire.NullItem {\nreturn append(b, \"null\"...)\n}\n")
		}
		p.print("b = append(b, '{')\n")
		for _, mem := range msg.members() {
			field := self + "." + goName(mem.name)
			cond := present(field, mem.target)
			switch {
			case mem.always || mem.required && mem.bit < 0 && mem.target.kind == kindString && !mem.target.sensitive:
				cond = ""
			case mem.bit >= 0 && mem.required:
				cond = "!" + self + ".presence.Has(" + itoa(mem.bit) + ")"
			case mem.bit >= 0:
				cond += " || " + self + ".presence.Has(" + itoa(mem.bit) + ")"
			}
			if cond != "" {
				p.print("if ", cond, " {\n")
			}
			emitAppend(p, field, mem.name, mem.target, false)
			if cond != "" {
				p.print("}\n")
			}
		}
		p.print("return append(b, '}')\n}\n")
	}
}

// present is the condition that a member is not zero.
func present(field string, s *shape) string {
	switch s.kind {
	case kindString, kindEnum, kindBlob:
		switch {
		case s.sensitive:
			return "!" + field + ".IsNil()"
		case s.kind == kindBlob:
			return field + " != nil"
		}
		return field + ` != ""`
	case kindBoolean:
		return field
	case kindTimestamp:
		return "!" + field + ".IsZero()"
	}
	return field + " != nil"
}

// absent is the opposite of present.
func absent(field string, s *shape) string {
	is := present(field, s)
	if positive, ok := strings.CutPrefix(is, "!"); ok {
		return positive
	}
	if strings.Contains(is, " != ") {
		return strings.Replace(is, " != ", " == ", 1)
	}
	return "!" + is
}

// emitAppend emits the appending of one member, for an answer or for audit.
func emitAppend(p *printer, field, name string, s *shape, audit bool) {
	method, timeFunc := "AppendJSON", "AppendTime"
	if audit {
		method, timeFunc = "appendAudit", "AppendTimeText"
	}
	simple := func(fn, value string) { p.printf("b = wire.%s(wire.AppendName(b, %q), %s)\n", fn, name, value) }
	switch s.kind {
	case kindString, kindEnum:
		if s.sensitive {
			field += ".Reveal()"
		}
		simple("AppendString", field)
	case kindBlob:
		if s.sensitive {
			field += ".Reveal()"
		}
		simple("AppendBase64", field)
	case kindBoolean:
		simple("AppendBool", field)
	case kindFlag:
		simple("AppendBool", field+" != nil && *"+field)
	case kindInteger:
		simple("AppendInt", "*"+field)
	case kindTimestamp:
		simple(timeFunc, field)
	case kindMap:
		p.printf("b = %s.AppendJSON(wire.AppendName(b, %q))\n", field, name)
	case kindStructure:
		p.printf("b = %s.%s(wire.AppendName(b, %q))\n", field, method, name)
	case kindList:
		if s.item().kind != kindStructure {
			simple("AppendStrings", field)
			break
		}
		p.printf("b = append(wire.AppendName(b, %q), '[')\n", name)
		p.printf("for i := range %s {\nif i > 0 {\nb = append(b, ',')\n}\nb = %s[i].%s(b)\n}\nb = append(b, ']')\n", field, field, method)
	default:
		panic("no encoder for " + s.name)
	}
}

// emitWipers emits wipe for every message.
func (m *model) emitWipers(p *printer) {
	for _, msg := range m.messages() {
		secret := msg.shape != nil && msg.shape.hasSecret()
		switch {
		case !secret && msg.op == nil:
			continue
		case !secret:
			p.print("\nfunc (*", msg.name, ") wipe() {}\n")
			continue
		}
		self := msg.receiver()
		p.print("\nfunc (", self, " *", msg.name, ") wipe() {\n")
		if msg.op == nil {
			p.print("if ", self, " == nil {\nreturn\n}\n")
		}
		for _, mem := range msg.members() {
			field := self + "." + goName(mem.name)
			switch s := mem.target; {
			case s.sensitive:
				p.print(field, ".Wipe()\n")
			case s.kind == kindStructure && s.hasSecret():
				p.print(field, ".wipe()\n")
			case s.hasSecret():
				p.print("for i := range ", field, " {\n", field, "[i].wipe()\n}\n")
			}
		}
		p.print("}\n")
	}
}
