package main

import (
	"fmt"
	"slices"
)

type kind int

const (
	kindBlob kind = iota + 1
	kindBoolean
	kindFlag // a boolean whose absence is told from false
	kindEnum
	kindInteger
	kindList
	kindMap
	kindOperation
	kindService
	kindString
	kindStructure
	kindTimestamp
)

// A model is the API as merged from all sources.
type model struct {
	shapes     map[string]*shape
	operations []*operation // by name

	invalid  string // the code of the error for a broken constraint
	violated string // what returns it, in Go
}

type operation struct {
	name   string
	input  *shape
	output *shape // nil if the API has none
	overlay
}

type shape struct {
	name      string
	kind      kind
	members   []*member // of a structure, in the model's order; "member" of a list; "key" and "value" of a map
	values    []enumValue
	sensitive bool
	masked    bool // CloudTrail shows that it is there, not what it is
	exception bool
	fault     bool // the exception is the service's fault

	limited  bool // constraints are known, even if there are none
	min, max *int
	pattern  string
	printed  []string // enum values in the order of KMS's messages

	inInput  bool // reachable from an operation's input
	inAnswer bool // reachable from an operation's output
}

type member struct {
	name     string
	target   *shape
	required bool
	// requiredWhen is the condition, in Go, under which an optional member is
	// required after all; "" is never.
	requiredWhen string
	always       bool // is encoded even if it is zero
	veiled       bool // CloudTrail shows that it is there, though it is secret
	document     bool // is a policy document of an answer, which IAM escapes
	bit          int  // in the structure's presence; -1 for none
}

type enumValue struct{ constant, value string }

func (s *shape) member(name string) *member {
	for _, m := range s.members {
		if m.name == name {
			return m
		}
	}
	return nil
}

// item is the shape of a list's items.
func (s *shape) item() *shape { return s.member("member").target }

func (m *model) isInput(s *shape) bool {
	return slices.ContainsFunc(m.operations, func(op *operation) bool { return op.input == s })
}

func (m *model) isOutput(s *shape) bool {
	return slices.ContainsFunc(m.operations, func(op *operation) bool { return op.output == s })
}

// apply adds the overlay and checks that nothing is left unsaid.
func (m *model) apply() error {
	for name, c := range constraints {
		s := m.shapes[name]
		if s == nil || s.limited {
			return fmt.Errorf("overlay: shape %s does not exist, or has constraints already", name)
		}
		s.limited, s.pattern = true, c.pattern
		if c.max > 0 {
			s.min, s.max = &c.min, &c.max
		}
	}
	for name, first := range printedFirst {
		s := m.shapes[name]
		if s == nil || s.kind != kindEnum {
			return fmt.Errorf("overlay: enum %s does not exist", name)
		}
		for _, v := range first {
			if !slices.ContainsFunc(s.values, func(e enumValue) bool { return e.value == v }) {
				return fmt.Errorf("overlay: enum %s has no value %s", name, v)
			}
		}
		s.printed = slices.Clone(first)
	}
	for owner, names := range alwaysEncoded {
		for _, name := range names {
			s := m.shapes[owner]
			if s == nil || s.member(name) == nil {
				return fmt.Errorf("overlay: %s has no member %s", owner, name)
			}
			s.member(name).always = true
		}
	}
	for owner, names := range flags {
		for _, name := range names {
			s := m.shapes[owner]
			if s == nil || s.member(name) == nil || s.member(name).target.kind != kindBoolean {
				return fmt.Errorf("overlay: %s has no boolean %s", owner, name)
			}
			one := *s.member(name).target
			one.kind = kindFlag
			s.member(name).target = &one
		}
	}
	for owner, when := range requiredWhen {
		s := m.shapes[owner]
		for name, condition := range when {
			if s == nil || s.member(name) == nil {
				return fmt.Errorf("overlay: %s has no member %s", owner, name)
			}
			s.member(name).requiredWhen = condition
		}
	}
	for _, op := range m.operations {
		o, ok := overlays[op.name]
		if !ok {
			return fmt.Errorf("overlay: operation %s is missing", op.name)
		}
		op.overlay = o
		m.mark(op.input, func(s *shape) *bool { return &s.inInput })
		if op.output != nil {
			m.mark(op.output, func(s *shape) *bool { return &s.inAnswer })
		}
	}
	if len(overlays) != len(m.operations) {
		return fmt.Errorf("overlay: has %d operations, the model %d", len(overlays), len(m.operations))
	}
	for _, s := range m.shapes {
		for _, v := range s.values {
			if !slices.Contains(s.printed, v.value) {
				s.printed = append(s.printed, v.value)
			}
		}
		bit := 0
		for _, mem := range s.members {
			mem.bit = -1
			if s.kind == kindStructure && s.inInput && (mem.target.kind == kindEnum || mem.target.kind == kindString && !mem.target.sensitive) {
				mem.bit = bit
				bit++
			}
		}
		if bit > 15 { // the last is nullItem's
			return fmt.Errorf("%s has more strings than presence has bits", s.name)
		}
		if s.inInput && !s.limited && (s.kind == kindString || s.kind == kindBlob || s.kind == kindInteger) {
			return fmt.Errorf("overlay: constraints of %s are not known", s.name)
		}
	}
	return nil
}

func (m *model) mark(s *shape, flag func(*shape) *bool) {
	if *flag(s) {
		return
	}
	*flag(s) = true
	for _, mem := range s.members {
		if mem.target != nil {
			m.mark(mem.target, flag)
		}
	}
}

// structures returns the structures that are neither inputs nor outputs nor
// exceptions, by name.
func (m *model) structures() []*shape {
	return m.sorted(func(s *shape) bool {
		return s.kind == kindStructure && !s.exception && !m.isInput(s) && !m.isOutput(s)
	})
}

func (m *model) enums() []*shape {
	return m.sorted(func(s *shape) bool { return s.kind == kindEnum })
}

func (m *model) exceptions() []*shape {
	return m.sorted(func(s *shape) bool { return s.exception })
}

func (m *model) sorted(keep func(*shape) bool) []*shape {
	var list []*shape
	for _, s := range m.shapes {
		if keep(s) {
			list = append(list, s)
		}
	}
	slices.SortFunc(list, func(a, b *shape) int {
		if a.name < b.name {
			return -1
		}
		return 1
	})
	return list
}
