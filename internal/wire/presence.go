package wire

// Presence tells absent strings from empty ones, one bit to a member, which is
// set where "" does not mean what it usually does: for a required member that
// is absent, and for an optional one that is there but empty.
type Presence uint16

// NullItem is the presence of a structure that stands for a null in a list. Its
// bit is no member's.
const NullItem Presence = 1 << 15

// Has reports whether the bit is set.
func (p Presence) Has(bit uint) bool { return p&(1<<bit) != 0 }

func (p *Presence) set(bit uint, on bool) {
	*p &^= 1 << bit
	if on {
		*p |= 1 << bit
	}
}

// Required reads a required string.
func (p *Presence) Required(r *Reader, bit uint) string {
	s, ok := r.String()
	p.set(bit, !ok)
	return s
}

// Optional reads an optional string.
func (p *Presence) Optional(r *Reader, bit uint) string {
	s, ok := r.String()
	p.set(bit, ok && s == "")
	return s
}

// RequiredEnum reads a required enum value. intern makes it one of the enum's.
func RequiredEnum[E ~string](r *Reader, p *Presence, bit uint, intern func([]byte) E) E {
	s, ok := r.Text()
	p.set(bit, !ok)
	return intern(s)
}

// OptionalEnum reads an optional enum value.
func OptionalEnum[E ~string](r *Reader, p *Presence, bit uint, intern func([]byte) E) E {
	s, ok := r.Text()
	p.set(bit, ok && len(s) == 0)
	return intern(s)
}

// ReadEnum reads an enum value of an answer, where an absent one is "".
func ReadEnum[E ~string](r *Reader, intern func([]byte) E) E {
	s, _ := r.Text()
	return intern(s)
}

// ReadEnums reads a list of enum values. One that is null is [Null].
func ReadEnums[E ~string](r *Reader, intern func([]byte) E) []E {
	if !r.List() {
		return nil
	}
	list := []E{}
	for r.Item() && r.Room(len(list)) {
		if s, ok := r.Text(); ok {
			list = append(list, intern(s))
		} else {
			list = append(list, Null) // or a problem, and then nobody looks
		}
	}
	return list
}

// ReadStrings reads a list of strings. One that is null is [Null].
func ReadStrings(r *Reader) []string {
	if !r.List() {
		return nil
	}
	list := []string{}
	for r.Item() && r.Room(len(list)) {
		list = append(list, r.Element())
	}
	return list
}

// Hidden is a JSON string that CloudTrail has in the place of some secrets.
const Hidden = `"HIDDEN_DUE_TO_SECURITY_REASONS"`

// CloseAudit ends the object that begins at start. CloudTrail writes null for
// an empty one.
func CloseAudit(b []byte, start int) []byte {
	if len(b) == start+1 {
		return append(b[:start], "null"...)
	}
	return append(b, '}')
}
