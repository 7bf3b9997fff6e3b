package kmsapi

import "github.com/keyreeve/keyreeve/internal/wire"

// presence tells absent strings from empty ones, one bit to a member, which is
// set where "" does not mean what it usually does: for a required member that
// is absent, and for an optional one that is there but empty.
type presence uint16

// nullItem is the presence of a structure that stands for a null in a list.
// Its bit is no member's.
const nullItem presence = 1 << 15

func (p presence) has(bit uint) bool { return p&(1<<bit) != 0 }

func (p *presence) set(bit uint, on bool) {
	*p &^= 1 << bit
	if on {
		*p |= 1 << bit
	}
}

// required reads a required string.
func (p *presence) required(r *wire.Reader, bit uint) string {
	s, ok := r.String()
	p.set(bit, !ok)
	return s
}

// optional reads an optional string.
func (p *presence) optional(r *wire.Reader, bit uint) string {
	s, ok := r.String()
	p.set(bit, ok && s == "")
	return s
}

func requiredEnum[E ~string](r *wire.Reader, p *presence, bit uint, intern func([]byte) E) E {
	s, ok := r.Text()
	p.set(bit, !ok)
	return intern(s)
}

func optionalEnum[E ~string](r *wire.Reader, p *presence, bit uint, intern func([]byte) E) E {
	s, ok := r.Text()
	p.set(bit, ok && len(s) == 0)
	return intern(s)
}

// enumElement reads an enum value of a list.
func enumElement[E ~string](r *wire.Reader, intern func([]byte) E) E {
	s, ok := r.Text()
	if !ok {
		return wire.Null // or a problem, and then nobody looks
	}
	return intern(s)
}

func readEnum[E ~string](r *wire.Reader, intern func([]byte) E) E {
	s, _ := r.Text()
	return intern(s)
}

// readEnums reads a list of enum values. One that is null is [wire.Null].
func readEnums[E ~string](r *wire.Reader, intern func([]byte) E) []E {
	if !r.List() {
		return nil
	}
	list := []E{}
	for r.Item() && r.Room(len(list)) {
		list = append(list, enumElement(r, intern))
	}
	return list
}

// readStrings reads a list of strings. One that is null is [wire.Null].
func readStrings(r *wire.Reader) []string {
	if !r.List() {
		return nil
	}
	list := []string{}
	for r.Item() && r.Room(len(list)) {
		list = append(list, r.Element())
	}
	return list
}

// closeAudit ends the object that begins at start. CloudTrail writes null for
// an empty one.
func closeAudit(b []byte, start int) []byte {
	if len(b) == start+1 {
		return append(b[:start], "null"...)
	}
	return append(b, '}')
}
