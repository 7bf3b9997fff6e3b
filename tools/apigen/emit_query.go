package main

import (
	"net/http"
	"slices"
	"strings"
)

// emit returns the generated files of a service of the query protocol.
func (m *queryModel) emit() (map[string][]byte, error) {
	return emitFiles(m.pkg, []part{
		{"types_gen.go", []string{"time", "", secretPath, wirePath}, m.emitTypes},
		{"enums_gen.go", nil, m.emitEnums},
		{"decode_gen.go", []string{wirePath}, m.emitDecoders},
		{"encode_gen.go", []string{wirePath}, m.emitEncoders},
		{"validate_gen.go", []string{wirePath}, m.emitValidators},
		{"audit_gen.go", []string{wirePath}, m.emitAudit},
		{"wipe_gen.go", nil, m.emitWipers},
		{"errors_gen.go", []string{"net/http", "", wirePath}, m.emitErrors},
		{"operations_gen.go", []string{"context", "", callPath, wirePath}, m.emitOperations},
	})
}

func (m *queryModel) emitTypes(p *printer) {
	for _, msg := range m.messages() {
		doc := strings.ReplaceAll(msg.doc, "has none: the answer's body is empty", "has none")
		p.print("\n// ", msg.name, " ", doc, "\ntype ", msg.name, " struct {\n")
		for _, mem := range msg.members() {
			p.print(goName(mem.name), " ", queryType(mem.target))
			if text := limitText(mem); text != "" && (msg.input || msg.op == nil && msg.shape.inInput) {
				p.print(" // ", text)
			} else if mem.document {
				p.print(" // in clear; the answer escapes it")
			}
			p.print("\n")
		}
		if msg.presence() {
			p.print("\npresence wire.Presence\n")
		}
		p.print("}\n")
		if msg.input && m.given[msg.op.name] != "" {
			mem := msg.shape.member(m.given[msg.op.name])
			field := "in." + goName(mem.name)
			p.printf("\n// Has%s reports whether %s is there, be it empty.\n", goName(mem.name), goName(mem.name))
			p.printf("func (in *%s) Has%s() bool { return %s || in.presence.Has(%d) }\n",
				msg.name, goName(mem.name), present(field, mem.target), mem.bit)
		}
	}
}

// queryType is goType for the query protocol, some of whose maps hold integers.
func queryType(s *shape) string {
	if s.kind == kindMap && s.member("value").target.kind == kindInteger {
		return "[]wire.Entry"
	}
	return goType(s)
}

func (m *queryModel) emitEnums(p *printer) {
	for _, s := range m.enums() {
		p.print("\n// ", s.name, " is an enum of the API.\ntype ", s.name, " string\n")
		p.print("\n// The values of [", s.name, "].\nconst (\n")
		for _, v := range s.values {
			p.printf("%s %s = %q\n", v.constant, s.name, v.value)
		}
		p.print(")\n")
		if !s.inInput {
			continue
		}
		p.print("\n// Valid reports whether v is one of the enum's values.\nfunc (v ", s.name, ") Valid() bool {\nswitch v {\ncase ")
		for i, v := range s.values {
			if i > 0 {
				p.print(",\n")
			}
			p.print(v.constant)
		}
		p.print(":\nreturn true\n}\nreturn false\n}\n")
	}
}

// emitDecoders emits DecodeQuery for inputs, and decode for the structures in
// them.
func (m *queryModel) emitDecoders(p *printer) {
	for _, msg := range m.messages() {
		switch {
		case msg.input:
			p.print("\n// DecodeQuery reads in from a form. The error is of a form that does not hold it.\n")
			p.print("func (in *", msg.name, ") DecodeQuery(q *wire.Query) error {\n*in = ", msg.name, "{}\n")
		case msg.op == nil && msg.shape.inInput:
			p.print("\nfunc (s *", msg.name, ") decode(q *wire.Query) {\n")
		default:
			continue
		}
		for _, mem := range msg.members() {
			emitQueryRead(p, msg.receiver(), mem)
		}
		if msg.input {
			p.print("return q.Err()\n")
		}
		p.print("}\n")
	}
	for _, s := range m.sorted(func(s *shape) bool {
		return s.kind == kindList && s.inInput && s.item().kind == kindStructure
	}) {
		item := s.item().name
		p.print("\nfunc read", s.name, "(q *wire.Query, name string) []", item, " {\nn, ok := q.List(name)\nif !ok {\nreturn nil\n}\n",
			"list := make([]", item, ", n)\nfor i := range list {\nouter := q.EnterItem(name, i)\nlist[i].decode(q)\nq.Leave(outer)\n}\nreturn list\n}\n")
	}
}

func emitQueryRead(p *printer, self string, mem *member) {
	s := mem.target
	p.print(self, ".", goName(mem.name), " = ")
	rule := "Optional"
	if mem.required {
		rule = "Required"
	}
	switch {
	case s.kind == kindString && s.sensitive:
		p.printf("q.Secret(%q)\n", mem.name)
	case s.kind == kindString:
		p.printf("q.%s(&%s.presence, %d, %q)\n", rule, self, mem.bit, mem.name)
	case s.kind == kindEnum:
		p.printf("%s(q.%s(&%s.presence, %d, %q))\n", s.name, rule, self, mem.bit, mem.name)
	case s.kind == kindBoolean:
		p.printf("q.Bool(%q)\n", mem.name)
	case s.kind == kindInteger:
		p.printf("q.Int(%q)\n", mem.name)
	case s.kind == kindList && s.item().kind == kindEnum:
		p.printf("wire.Strings[%s](q, %q)\n", s.item().name, mem.name)
	case s.kind == kindList && s.item().kind == kindString:
		p.printf("wire.Strings[string](q, %q)\n", mem.name)
	case s.kind == kindList && s.item().kind == kindStructure:
		p.printf("read%s(q, %q)\n", s.name, mem.name)
	default:
		panic("no reader for " + s.name)
	}
}

// emitEncoders emits AppendXML for outputs and the structures in them.
func (m *queryModel) emitEncoders(p *printer) {
	for _, msg := range m.messages() {
		if msg.input || msg.op == nil && !msg.shape.inAnswer {
			continue
		}
		self := msg.receiver()
		p.print("\n// AppendXML appends the members of ", self, ".\n")
		if len(msg.members()) == 0 {
			p.print("func (*", msg.name, ") AppendXML(b []byte) []byte { return b }\n")
			continue
		}
		p.print("func (", self, " *", msg.name, ") AppendXML(b []byte) []byte {\n")
		for _, mem := range msg.members() {
			field := self + "." + goName(mem.name)
			cond := present(field, mem.target)
			if mem.always || msg.op == nil && msg.shape.inInput && mem.required {
				cond = ""
			}
			if cond != "" {
				p.print("if ", cond, " {\n")
			}
			emitXML(p, field, mem)
			if cond != "" {
				p.print("}\n")
			}
		}
		p.print("return b\n}\n")
	}
}

func emitXML(p *printer, field string, mem *member) {
	s := mem.target
	simple := func(fn, value string) { p.printf("b = wire.AppendXML%s(b, %q, %s)\n", fn, mem.name, value) }
	switch s.kind {
	case kindString, kindEnum:
		switch {
		case s.sensitive:
			simple("String", field+".Reveal()")
		case mem.document:
			simple("Document", field)
		default:
			simple("String", field)
		}
	case kindBoolean:
		simple("Bool", field)
	case kindInteger:
		simple("Int", "*"+field)
	case kindTimestamp:
		simple("Time", field)
	case kindMap:
		if queryType(s) == "wire.StringMap" {
			simple("Map", field)
		} else {
			simple("Entries", field)
		}
	case kindBlob:
		if s.sensitive {
			field += ".Reveal()"
		}
		simple("Base64", field)
	case kindStructure:
		p.printf("b = wire.AppendXMLClose(%s.AppendXML(wire.AppendXMLOpen(b, %q)), %q)\n", field, mem.name, mem.name)
	case kindList:
		if s.item().kind != kindStructure {
			simple("Strings", field)
			break
		}
		p.printf("b = wire.AppendXMLOpen(b, %q)\nfor i := range %s {\n", mem.name, field)
		p.printf("b = wire.AppendXMLClose(%s[i].AppendXML(wire.AppendXMLOpen(b, \"member\")), \"member\")\n}\n", field)
		p.printf("b = wire.AppendXMLClose(b, %q)\n", mem.name)
	default:
		panic("no encoder for " + s.name)
	}
}

// emitValidators emits Validate for inputs, and validate for the structures in
// them.
func (m *queryModel) emitValidators(p *printer) {
	p.print("\n// The patterns of the API, as its model writes them.\nvar (\n")
	for _, s := range m.sorted(func(s *shape) bool { return s.inInput && s.pattern != "" }) {
		p.printf("%s = wire.NewPattern(`%s`)\n", patternName(s), s.pattern)
	}
	p.print(")\n")
	if enums := m.sorted(func(s *shape) bool { return s.inInput && s.kind == kindEnum }); len(enums) > 0 {
		p.print("\n// The enums of inputs, in the order in which they are printed.\nconst (\n")
		for _, s := range enums {
			p.printf("%s = %q\n", setName(s), strings.Join(s.printed, ", "))
		}
		p.print(")\n")
	}
	for _, msg := range m.messages() {
		self := msg.receiver()
		target := "v"
		switch {
		case !msg.input && (msg.op != nil || !msg.shape.inInput):
			continue
		case msg.op == nil:
			p.print("\nfunc (", self, " *", msg.name, ") validate(v *wire.Violations) {\n")
		case msg.shape == nil || !msg.shape.checked():
			p.print("\n// Validate checks ", self, " against the API's constraints, of which it has none.\n",
				"func (*", msg.name, ") Validate() error { return nil }\n")
			continue
		default:
			target = "&v"
			p.print("\n// Validate checks ", self, " against the API's constraints. The error is a ValidationError.\n")
			p.print("func (", self, " *", msg.name, ") Validate() error {\nvar v wire.Violations\n")
			if m.mute {
				p.print("v.HideValues()\n")
			}
		}
		for _, mem := range msg.members() {
			m.emitQueryCheck(p, self, target, mem)
		}
		if msg.op != nil {
			p.print("return v.QueryErr()\n")
		}
		p.print("}\n")
	}
}

func (m *queryModel) emitQueryCheck(p *printer, self, target string, mem *member) {
	s := mem.target
	if !mem.required && !s.checked() {
		return
	}
	if !mem.required && s.kind == kindList && s.max == nil && !s.item().checked() {
		return
	}
	field := self + "." + goName(mem.name)
	name := lowerFirst(mem.name)
	there := present(field, s)
	switch {
	case mem.required:
		absent := field + " == nil"
		switch {
		case s.sensitive:
			absent = field + ".IsNil()"
		case mem.bit >= 0:
			absent = self + ".presence.Has(" + itoa(mem.bit) + ")"
		}
		p.printf("if %s {\nv.Missing(%q)\n}", absent, name)
		if !s.checked() {
			p.print("\n")
			return
		}
		p.print(" else {\n")
	case mem.bit >= 0:
		p.printf("if %s || %s.presence.Has(%d) {\n", there, self, mem.bit)
	default:
		p.printf("if %s {\n", there)
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
		check := "Pattern"
		switch {
		case slices.Contains(m.names, s.name):
			check = "Name"
		case slices.Contains(m.paths, s.name):
			check = "Path"
		}
		if s.pattern != "" {
			p.printf("v.%s(%q, %s, %s)\n", check, name, field, patternName(s))
		}
	case kindEnum:
		p.printf("if !%s.Valid() {\nv.Enum(%q, string(%s), %s)\n}\n", field, name, field, setName(s))
	case kindInteger:
		p.printf("v.Range(%q, *%s, %d, %d)\n", name, field, *s.min, *s.max)
	case kindList:
		item := s.item()
		if item.kind == kindStructure {
			if s.max != nil {
				p.printf("v.Items(%q, len(%s), %d, %d)\n", name, field, *s.min, *s.max)
			}
			p.printf("for i := range %s {\nif v.Full() {\nbreak\n}\n", field)
			p.printf("outer := v.EnterItem(%q, i)\n%s[i].validate(%s)\nv.Leave(outer)\n}\n", name, field, target)
			break
		}
		if s.max != nil {
			p.printf("wire.ListLength(%s, %q, %s, %d, %d)\n", target, name, field, *s.min, *s.max)
		}
		switch {
		case item.kind == kindEnum:
			p.printf("for _, item := range %s {\nif !item.Valid() {\nwire.ItemEnums(%s, %q, %s, %s)\nbreak\n}\n}\n", field, target, name, field, setName(item))
		case item.max != nil:
			pattern := "nil"
			if item.pattern != "" {
				pattern = patternName(item)
			}
			p.printf("wire.ItemLengths(%s, %q, %s, %d, %d, %s)\n", target, name, field, *item.min, *item.max, pattern)
		}
	default:
		panic("no check for " + s.name)
	}
	p.print("}\n")
}

var statusNames = map[int]string{
	http.StatusBadRequest: "StatusBadRequest", http.StatusForbidden: "StatusForbidden", http.StatusNotFound: "StatusNotFound",
	http.StatusConflict: "StatusConflict", http.StatusGone: "StatusGone", http.StatusTooManyRequests: "StatusTooManyRequests", http.StatusInternalServerError: "StatusInternalServerError",
}

func (m *queryModel) emitErrors(p *printer) {
	for _, e := range m.exceptions {
		p.print("\n// ", e.code, " returns the API's error of that name, with HTTP status ", itoa(e.status), ".\n")
		p.printf("func %s(message string) *wire.Error {\nreturn &wire.Error{Code: %q, Message: message, Status: http.%s}\n}\n",
			e.code, e.code, statusNames[e.status])
	}
}

func (m *queryModel) emitOperations(p *printer) {
	p.print("\n// Of the API.\nconst (\n")
	p.printf("Version = %q // of a request\nNamespace = %q // of an answer\n)\n", m.version, m.namespace)
	p.print("\n// Handler runs the operations that are routed. The input was decoded and is\n",
		"// valid. Secret members of in and out are wiped after the call, so a handler\n// keeps none of them.\ntype Handler interface {\n")
	for _, op := range m.operations {
		p.printf("%[1]s(ctx context.Context, c *call.Call, in *%[1]sInput, out *%[1]sOutput) error\n", op.name)
	}
	p.print("}\n")
	p.print("\n// Operations returns the routed operations by name, run by h.\n",
		"func Operations(h Handler) map[string]*call.Operation {\nreturn map[string]*call.Operation{\n")
	for _, op := range m.operations {
		p.printf("%q: operation(traits{%q, %t, %t, %t}, h.%s),\n", op.name, op.name, op.readOnly, op.output != nil, len(op.elements) > 0, op.name)
	}
	p.print("}\n}\n")
	p.print("\n// ReadOnly reports whether the API has an operation of this name, routed or\n",
		"// not, that changes nothing, as CloudTrail has it.\n",
		"func ReadOnly(operation string) bool {\nswitch operation {\ncase ")
	for i, name := range m.readOnly {
		if i > 0 {
			p.print(",\n")
		}
		p.printf("%q", name)
	}
	p.print(":\nreturn true\n}\nreturn false\n}\n")
	p.print("\n// Messages returns the messages of every routed operation, by name.\n",
		"func Messages() []OperationMessages {\nreturn []OperationMessages{\n")
	for _, op := range m.operations {
		p.printf("{%[1]q, func() Input { return new(%[1]sInput) }, func() Output { return new(%[1]sOutput) }},\n", op.name)
	}
	p.print("}\n}\n")
	p.print(queryRuntime)
}

// queryRuntime is the same in each package.
const queryRuntime = `
// An Input is an operation's input.
type Input interface {
	// DecodeQuery reads the input from a form; the error is MalformedInput or
	// MalformedQueryString.
	DecodeQuery(q *wire.Query) error
	// Validate checks the input against the API's constraints; the error is a
	// ValidationError.
	Validate() error
	// AppendAudit appends what CloudTrail shows of the input.
	AppendAudit(b []byte) []byte
}

// An Output is an operation's output.
type Output interface {
	// AppendXML appends the members.
	AppendXML(b []byte) []byte
	// AppendAudit appends what CloudTrail shows of the output.
	AppendAudit(b []byte) []byte
}

// OperationMessages makes the messages of one operation, for code that treats
// all operations alike.
type OperationMessages struct {
	Name   string
	Input  func() Input
	Output func() Output
}

type traits struct {
	name     string
	readOnly bool
	result   bool // the answer has one, be it empty
	shown    bool // CloudTrail shows the output
}

type input[T any] interface {
	*T
	Input
	wipe()
}

type output[T any] interface {
	*T
	Output
	wipe()
}

// operation makes the operation that run runs: it decodes, validates, runs and
// encodes, keeps what audit will want, and wipes the secrets however it ends.
func operation[I, O any, PI input[I], PO output[O]](
	t traits, run func(ctx context.Context, c *call.Call, in PI, out PO) error,
) *call.Operation {
	invoke := func(ctx context.Context, c *call.Call, body, b []byte) ([]byte, error) {
		var message struct {
			in  I
			out O
		}
		in, out := PI(&message.in), PO(&message.out)
		defer in.wipe()
		defer out.wipe()
		q := wire.NewQuery(body)
		if err := in.DecodeQuery(&q); err != nil {
			return b, err
		}
		c.Parameters = in
		if err := in.Validate(); err != nil {
			return b, err
		}
		if err := run(ctx, c, in, out); err != nil {
			return b, err
		}
		if t.shown && c.Elements == nil {
			c.Elements = out
		}
		b = wire.AppendXMLStart(b, t.name, Namespace, t.result)
		return wire.AppendXMLEnd(out.AppendXML(b), t.name, c.ID, t.result), nil
	}
	return &call.Operation{Name: t.name, Service: SigningName, EventSource: EventSource, ReadOnly: t.readOnly, Invoke: invoke}
}
`
