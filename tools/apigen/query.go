package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A queryService is a service of the query protocol, of which only the routed
// operations are generated.
type queryService struct {
	name  string // such as "IAM"
	pkg   string // of the generated code, such as "iamapi"
	model string // in the module of constraints
	queryOverlay
}

var queryServices = []queryService{
	{name: "IAM", pkg: "iamapi", model: "models/apis/iam/2010-05-08/api-2.json", queryOverlay: iamOverlay},
	{name: "STS", pkg: "stsapi", model: "models/apis/sts/2011-06-15/api-2.json", queryOverlay: stsOverlay},
}

// ordered is a JSON object with its names in order, which is the order of
// validation messages and of answers.
type ordered[T any] struct {
	names  []string
	values map[string]T
}

func (o *ordered[T]) UnmarshalJSON(b []byte) error {
	if err := json.Unmarshal(b, &o.values); err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(b))
	if _, err := d.Token(); err != nil { // {
		return err
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return err
		}
		var skipped json.RawMessage
		if err := d.Decode(&skipped); err != nil {
			return err
		}
		o.names = append(o.names, name.(string))
	}
	return nil
}

type (
	sdkModel struct {
		Metadata struct {
			APIVersion   string
			Protocol     string
			XMLNamespace string
		}
		Operations map[string]sdkOperation
		Shapes     map[string]*sdkShape
	}
	sdkOperation struct {
		Name   string
		HTTP   struct{ Method, RequestURI string }
		Input  *sdkReference
		Output *sdkReference
		Errors []sdkReference
	}
	sdkReference struct {
		Shape        string
		Location     string
		LocationName string
		Flattened    bool
	}
	sdkShape struct {
		Type               string
		Members            ordered[sdkReference]
		Required           []string
		Member, Key, Value *sdkReference
		Min, Max           *int
		Pattern            string
		Enum               []string
		Sensitive          bool
		Flattened          bool
		Fault              bool
		Error              struct {
			Code           string
			HTTPStatusCode int
		}
	}
)

// queryModel is a service's model, with the operations that are routed.
type queryModel struct {
	*model
	queryService
	version, namespace string
	exceptions         []queryException
	readOnly           []string // names of all operations that change nothing
}

type queryException struct {
	code   string
	status int
}

// readQuery reads a service's model.
func readQuery(dir string, svc queryService) (*queryModel, error) {
	sdk, err := readModel(dir, svc.model, "query")
	if err != nil {
		return nil, err
	}
	m := &queryModel{
		model: &model{shapes: map[string]*shape{}}, queryService: svc,
		version: sdk.Metadata.APIVersion, namespace: sdk.Metadata.XMLNamespace,
	}
	m.readOnly = sdk.named(svc.readOnlyPrefixes)
	for name, o := range sdk.ordered(svc.routed) {
		op, err := m.addOperation(sdk, name, o)
		if err != nil {
			return nil, err
		}
		op.readOnly = slices.Contains(m.readOnly, name)
		for _, e := range o.Errors {
			s := sdk.Shapes[e.Shape]
			if s == nil || s.Error.Code == "" || s.Error.HTTPStatusCode == 0 {
				return nil, fmt.Errorf("error %s has no code or status", e.Shape)
			}
			one := queryException{s.Error.Code, s.Error.HTTPStatusCode}
			if !slices.Contains(m.exceptions, one) {
				m.exceptions = append(m.exceptions, one)
			}
		}
	}
	slices.SortFunc(m.exceptions, func(a, b queryException) int { return strings.Compare(a.code, b.code) })
	return m, m.apply()
}

// readModel reads a service's model, which must be of the protocol.
func readModel(dir, name, protocol string) (*sdkModel, error) {
	text, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return nil, err
	}
	var sdk sdkModel
	if err := json.Unmarshal(text, &sdk); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if sdk.Metadata.Protocol != protocol {
		return nil, fmt.Errorf("%s: protocol is %s", name, sdk.Metadata.Protocol)
	}
	return &sdk, nil
}

// named returns the operations whose names begin with one of the prefixes.
func (sdk *sdkModel) named(prefixes []string) []string {
	var names []string
	for name := range sdk.Operations {
		if slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(name, p) }) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// ordered returns the operations of these names, by name. One that does not exist
// is empty.
func (sdk *sdkModel) ordered(names []string) iter.Seq2[string, sdkOperation] {
	return func(yield func(string, sdkOperation) bool) {
		for _, name := range slices.Sorted(slices.Values(names)) {
			if !yield(name, sdk.Operations[name]) {
				return
			}
		}
	}
}

// addOperation adds a routed operation with all that it is made of.
func (m *model) addOperation(sdk *sdkModel, name string, o sdkOperation) (*operation, error) {
	if o.Name != name {
		return nil, fmt.Errorf("overlay: operation %s does not exist", name)
	}
	op := &operation{name: name}
	op.routed = true
	var err error
	if o.Input != nil {
		if op.input, err = m.addShape(sdk, o.Input.Shape); err != nil {
			return nil, err
		}
		m.mark(op.input, func(s *shape) *bool { return &s.inInput })
	}
	if o.Output != nil {
		if op.output, err = m.addShape(sdk, o.Output.Shape); err != nil {
			return nil, err
		}
		m.mark(op.output, func(s *shape) *bool { return &s.inAnswer })
	}
	m.operations = append(m.operations, op)
	return op, nil
}

var sdkKinds = map[string]kind{
	"blob":      kindBlob,
	"boolean":   kindBoolean,
	"integer":   kindInteger,
	"list":      kindList,
	"map":       kindMap,
	"string":    kindString,
	"structure": kindStructure,
	"timestamp": kindTimestamp,
}

// addShape adds a shape with all that it is made of.
func (m *model) addShape(sdk *sdkModel, sdkName string) (*shape, error) {
	name := upperFirst(sdkName)
	if s := m.shapes[name]; s != nil {
		return s, nil
	}
	old := sdk.Shapes[sdkName]
	if old == nil {
		return nil, fmt.Errorf("shape %s does not exist", sdkName)
	}
	s := &shape{name: name, sensitive: old.Sensitive, limited: true, min: old.Min, max: old.Max, pattern: old.Pattern}
	m.shapes[name] = s
	if s.kind = sdkKinds[old.Type]; s.kind == 0 || old.Flattened {
		return nil, fmt.Errorf("shape %s is of type %s, flattened %t", sdkName, old.Type, old.Flattened)
	}
	if len(old.Enum) > 0 {
		s.kind = kindEnum
		for _, v := range old.Enum {
			s.values = append(s.values, enumValue{constant: name + constantName(v), value: v})
			s.printed = append(s.printed, v)
		}
	}
	add := func(name string, ref sdkReference) error {
		if ref.Flattened || ref.Location != "" || ref.LocationName != "" && ref.LocationName != name {
			return fmt.Errorf("member %s of %s has another name in messages", name, sdkName)
		}
		target, err := m.addShape(sdk, ref.Shape)
		if err != nil {
			return err
		}
		s.members = append(s.members, &member{name: name, target: target, required: slices.Contains(old.Required, name), bit: -1})
		return nil
	}
	for _, name := range old.Members.names {
		if err := add(name, old.Members.values[name]); err != nil {
			return nil, err
		}
	}
	if old.Member != nil {
		if err := add("member", *old.Member); err != nil {
			return nil, err
		}
	}
	for name, ref := range map[string]*sdkReference{"key": old.Key, "value": old.Value} {
		if ref != nil {
			if err := add(name, *ref); err != nil {
				return nil, err
			}
		}
	}
	return s, nil
}

// apply adds the overlay.
func (m *queryModel) apply() error {
	for name, members := range m.always {
		for _, mem := range members {
			if s := m.shapes[name]; s != nil && s.member(mem) == nil {
				return fmt.Errorf("overlay: %s has no member %s", name, mem)
			}
		}
	}
	for _, name := range m.sensitive {
		if m.shapes[name] == nil {
			return fmt.Errorf("overlay: shape %s does not exist", name)
		}
		m.shapes[name].sensitive = true
	}
	for name, members := range m.veiled {
		for _, mem := range members {
			if s := m.shapes[name]; s == nil || s.member(mem) == nil {
				return fmt.Errorf("overlay: %s has no member %s", name, mem)
			}
			m.shapes[name].member(mem).veiled = true
		}
	}
	for _, op := range m.operations {
		if op.input != nil {
			for _, mem := range op.input.members {
				if !slices.Contains(m.hidden, mem.name) {
					op.parameters = append(op.parameters, mem.name)
				}
			}
		}
		if op.output != nil && (!op.readOnly || slices.Contains(m.shown, op.name)) {
			for _, mem := range op.output.members {
				op.elements = append(op.elements, mem.name)
			}
		}
	}
	m.closeLimits()
	for _, s := range m.shapes {
		bit := 0
		for _, mem := range s.members {
			if s.kind != kindStructure {
				continue
			}
			if s.inInput && (mem.target.kind == kindEnum || mem.target.kind == kindString && !mem.target.sensitive) {
				mem.bit = bit
				bit++
			}
			// What an answer always has: lists of their own, and booleans. A time
			// that never was is left out whatever the model says.
			switch mem.target.kind {
			case kindBoolean:
				mem.always = !s.inInput
			case kindList:
				mem.always = !s.inInput && (mem.required || m.isOutput(s) || slices.Contains(m.always[s.name], mem.name))
			case kindStructure, kindTimestamp:
			default:
				mem.always = !s.inInput && mem.required
			}
			mem.document = !s.inInput && mem.target.name == m.documents
		}
		if bit > 16 {
			return fmt.Errorf("%s has more strings than presence has bits", s.name)
		}
	}
	return nil
}

// closeLimits gives each shape with one limit the other, too.
func (m *model) closeLimits() {
	zero, most := 0, maxString
	for _, s := range m.shapes {
		if s.kind == kindString || s.kind == kindList {
			switch {
			case s.min != nil && s.max == nil:
				s.max = &most
			case s.max != nil && s.min == nil:
				s.min = &zero
			}
		}
	}
}

// maxString stands for no limit: wire.MaxString, which no request exceeds.
const maxString = 1 << 20

// upperFirst is a name as Go exports it.
func upperFirst(name string) string { return strings.ToUpper(name[:1]) + name[1:] }

// constantName is an enum's value as a part of a constant's name, as the SDK for
// Go has it: TextCsv for text/csv, EnabledByDefault for ENABLED_BY_DEFAULT.
func constantName(value string) string {
	separator := func(r rune) bool { return strings.ContainsRune("/-._", r) }
	var name strings.Builder
	for _, word := range strings.FieldsFunc(value, separator) {
		if strings.ToUpper(value) == value {
			word = strings.ToLower(word)
		}
		name.WriteString(upperFirst(word))
	}
	return name.String()
}
