package main

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// A jsonService is a service of one of the JSON protocols, of which only the
// routed operations are generated.
type jsonService struct {
	name     string // such as "Organizations"
	pkg      string // of the generated code, such as "organizationsapi"
	protocol string // "json", or "rest-json" with all members in the body
	model    string // in the module of constraints
	jsonOverlay
}

// jsonModel is a service's model, with the operations that are routed.
type jsonModel struct {
	*model
	jsonService
	exceptions []jsonException
	readOnly   []string          // names of all operations that change nothing
	paths      map[string]string // by operation; of rest-json
}

type jsonException struct {
	name   string
	status int
	reason bool // it has the member Reason
}

// addValues adds values to an enum, unless the model has them.
func (sdk *sdkModel) addValues(enum string, values ...string) {
	for _, v := range values {
		if !slices.Contains(sdk.Shapes[enum].Enum, v) {
			sdk.Shapes[enum].Enum = append(sdk.Shapes[enum].Enum, v)
		}
	}
}

// addMember adds a member to a structure, unless the model has it.
func (sdk *sdkModel) addMember(structure, name, shape string) {
	members := &sdk.Shapes[structure].Members
	if !slices.Contains(members.names, name) {
		members.names = append(members.names, name)
		members.values[name] = sdkReference{Shape: shape}
	}
}

// readJSON reads a service's model.
func readJSON(dir string, svc jsonService) (*jsonModel, error) {
	sdk, err := readModel(dir, svc.model, svc.protocol)
	if err != nil {
		return nil, err
	}
	if svc.newer != nil {
		svc.newer(sdk)
	}
	m := &jsonModel{
		model: &model{
			shapes: map[string]*shape{}, invalid: svc.invalid, violated: svc.violated,
		},
		jsonService: svc, readOnly: sdk.named(svc.readOnlyPrefixes), paths: map[string]string{},
	}
	for name, o := range sdk.ordered(svc.routed) {
		op, err := m.addOperation(sdk, name, o)
		if err != nil {
			return nil, err
		}
		op.readOnly = slices.Contains(m.readOnly, name)
		if svc.protocol == "rest-json" {
			if o.HTTP.Method != http.MethodPost || strings.ContainsAny(o.HTTP.RequestURI, "{?") {
				return nil, fmt.Errorf("operation %s is %s %s", name, o.HTTP.Method, o.HTTP.RequestURI)
			}
			m.paths[name] = o.HTTP.RequestURI
		}
		for _, e := range o.Errors {
			one, err := newJSONException(e.Shape, sdk.Shapes[e.Shape])
			if err != nil {
				return nil, err
			}
			if !slices.Contains(m.exceptions, one) {
				m.exceptions = append(m.exceptions, one)
			}
		}
	}
	slices.SortFunc(m.exceptions, func(a, b jsonException) int { return strings.Compare(a.name, b.name) })
	return m, m.apply()
}

func newJSONException(name string, s *sdkShape) (jsonException, error) {
	if s == nil {
		return jsonException{}, fmt.Errorf("error %s does not exist", name)
	}
	e := jsonException{name: name, status: s.Error.HTTPStatusCode}
	for _, member := range s.Members.names {
		e.reason = e.reason || strings.EqualFold(member, "reason")
	}
	switch {
	case e.status != 0:
	case s.Fault:
		e.status = http.StatusInternalServerError
	default:
		e.status = http.StatusBadRequest
	}
	return e, nil
}

// apply adds the overlay.
func (m *jsonModel) apply() error {
	for _, name := range m.masked {
		if m.shapes[name] == nil {
			return fmt.Errorf("overlay: shape %s does not exist", name)
		}
		m.shapes[name].masked, m.shapes[name].sensitive = true, false
	}
	for name, members := range m.always {
		for _, mem := range members {
			if s := m.shapes[name]; s == nil || s.member(mem) == nil {
				return fmt.Errorf("overlay: %s has no member %s", name, mem)
			}
		}
	}
	for name, members := range m.sometimes {
		for _, mem := range members {
			if s := m.shapes[name]; s == nil || s.member(mem) == nil {
				return fmt.Errorf("overlay: %s has no member %s", name, mem)
			}
		}
	}
	for name, members := range m.flags {
		for _, mem := range members {
			if s := m.shapes[name]; s == nil || s.member(mem) == nil || s.member(mem).target.kind != kindBoolean {
				return fmt.Errorf("overlay: %s has no boolean %s", name, mem)
			}
			flag := *m.shapes[name].member(mem).target
			flag.kind = kindFlag
			m.shapes[name].member(mem).target = &flag
		}
	}
	for _, op := range m.operations {
		if op.input != nil {
			for _, mem := range op.input.members {
				op.parameters = append(op.parameters, mem.name)
			}
		}
		if op.output != nil && !op.readOnly {
			for _, mem := range op.output.members {
				rule := mem.name
				if mem.target.kind == kindBoolean {
					rule += "!" // as in the answer
				}
				op.elements = append(op.elements, rule)
			}
		}
	}
	m.closeLimits()
	for _, s := range m.shapes {
		if s.kind != kindStructure {
			continue
		}
		bit := 0
		for _, mem := range s.members {
			if s.inInput && (mem.target.kind == kindEnum || mem.target.kind == kindString && !mem.target.sensitive) {
				mem.bit = bit
				bit++
			}
			mem.always = !s.inInput && (mem.target.kind == kindBoolean || slices.Contains(m.always[s.name], mem.name) ||
				mem.target.kind == kindList && m.isOutput(s) && !slices.Contains(m.sometimes[s.name], mem.name))
		}
		if bit > 15 { // the last is wire.NullItem's
			return fmt.Errorf("%s has more strings than presence has bits", s.name)
		}
	}
	return nil
}

// emit returns the generated files of a service of the JSON protocols.
func (m *jsonModel) emit() (map[string][]byte, error) {
	parts := []part{
		{"types_gen.go", []string{"time", "", secretPath, wirePath}, m.emitTypes},
		{"enums_gen.go", nil, m.emitEnums},
		{"decode_gen.go", []string{wirePath}, m.emitDecoders},
		{"encode_gen.go", []string{wirePath}, m.emitEncoders},
		{"validate_gen.go", []string{wirePath}, m.emitValidators},
		{"audit_gen.go", []string{wirePath}, m.emitAudit},
		{"errors_gen.go", []string{"net/http", "", wirePath}, m.emitErrors},
		{"operations_gen.go", []string{"context", "", callPath}, m.emitOperations},
	}
	for _, s := range m.shapes {
		if s.sensitive {
			return nil, fmt.Errorf("%s is a secret", s.name)
		}
	}
	return emitFiles(m.pkg, parts)
}

func (m *jsonModel) emitErrors(p *printer) {
	for _, e := range m.exceptions {
		p.print("\n// ", e.name, " returns the API's error of that name, with HTTP status ", itoa(e.status), ".\n")
		parameters, reason := "message", ""
		if e.reason {
			parameters, reason = "reason, message", ", Reason: reason"
		}
		p.printf("func %s(%s string) *wire.Error {\nreturn &wire.Error{Code: %q, Message: message, Status: http.%s%s}\n}\n",
			e.name, parameters, e.name, statusNames[e.status], reason)
	}
}

func (m *jsonModel) emitOperations(p *printer) {
	p.print("\n// Handler runs the operations that are routed. The input was decoded and is\n// valid.\ntype Handler interface {\n")
	for _, op := range m.operations {
		p.printf("%[1]s(ctx context.Context, c *call.Call, in *%[1]sInput, out *%[1]sOutput) error\n", op.name)
	}
	p.print("}\n")
	p.print("\n// Operations returns the routed operations by name, run by h.\n",
		"func Operations(h Handler) map[string]*call.Operation {\nreturn map[string]*call.Operation{\n")
	for _, op := range m.operations {
		p.printf("%q: operation(%q, %t, h.%s),\n", op.name, op.name, op.readOnly, op.name)
	}
	p.print("}\n}\n")
	if m.protocol == "rest-json" {
		p.print("\n// Paths returns the operations that are routed by the path of a request.\n",
			"func Paths() map[string]string {\nreturn map[string]string{\n")
		for _, op := range m.operations {
			p.printf("%q: %q,\n", m.paths[op.name], op.name)
		}
		p.print("}\n}\n")
	}
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
	p.print(strings.ReplaceAll(jsonRuntime, "INVALID", article(m.model.invalid)))
}

// jsonRuntime is the same in each package.
const jsonRuntime = `
// A Message is the input or output of an operation.
type Message interface {
	// DecodeJSON reads the message from a JSON body; the error is a
	// SerializationException. It keeps nothing of b.
	DecodeJSON(b []byte) error
	// AppendJSON appends the message as a JSON body.
	AppendJSON(b []byte) []byte
	// AppendAudit appends what CloudTrail shows of the message.
	AppendAudit(b []byte) []byte
}

// An Input is an operation's input.
type Input interface {
	Message
	// Validate checks the input against the API's constraints; the error is
	// INVALID.
	Validate() error
}

// An Output is an operation's output.
type Output = Message

// OperationMessages makes the messages of one operation, for code that treats
// all operations alike.
type OperationMessages struct {
	Name   string
	Input  func() Input
	Output func() Output
}

type input[T any] interface {
	*T
	Input
}

type output[T any] interface {
	*T
	Output
}

// operation makes the operation that run runs: it decodes, validates, runs and
// encodes, and keeps what audit will want.
func operation[I, O any, PI input[I], PO output[O]](
	name string, readOnly bool, run func(ctx context.Context, c *call.Call, in PI, out PO) error,
) *call.Operation {
	invoke := func(ctx context.Context, c *call.Call, body, b []byte) ([]byte, error) {
		in, out := PI(new(I)), PO(new(O))
		if err := in.DecodeJSON(body); err != nil {
			return b, err
		}
		c.Parameters = in
		if err := in.Validate(); err != nil {
			return b, err
		}
		if err := run(ctx, c, in, out); err != nil {
			return b, err
		}
		if !readOnly && c.Elements == nil {
			c.Elements = out
		}
		return out.AppendJSON(b), nil
	}
	return &call.Operation{Name: name, Service: SigningName, EventSource: EventSource, ReadOnly: readOnly, Invoke: invoke}
}
`
