package policy

import (
	"encoding/binary"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// A Context has the condition keys of a request.
type Context interface {
	// Value returns the value of a condition key; the zero Value if the
	// request does not have it. It must not change or keep k. It may be
	// called several times for one key.
	Value(k *Key) Value
}

// Key is a condition key as a policy names it. Names of keys do not depend on
// case, and neither do variable parts.
type Key struct {
	// Name is in lower case, and ends with its separator if the key has a
	// variable part: "aws:sourceip", "aws:principaltag/",
	// "kms:encryptioncontext:".
	Name string
	// Sub is the variable part, as written: "team" of "aws:PrincipalTag/team",
	// "aws:geo:arn" of "kms:EncryptionContext:aws:geo:arn".
	Sub string

	folded string // Name, and Sub in lower case
}

// ParseKey takes the name of a condition key apart. After the service's prefix
// ("aws:") everything up to the first ':' or '/', with it, is the Name, and the
// rest is the Sub. There are no invalid names.
func ParseKey(name string) Key {
	end := strings.IndexByte(name, ':') + 1
	if i := strings.IndexAny(name[end:], ":/"); end > 0 && i >= 0 {
		end += i + 1
	} else {
		end = len(name)
	}
	k := Key{Name: lowerASCII(name[:end]), Sub: name[end:]}
	k.folded = k.Name + strings.ToLower(k.Sub)
	return k
}

// String returns the key's name in lower case, such as "aws:principaltag/team".
func (k *Key) String() string {
	if k.folded == "" { // made by hand
		return k.Name + strings.ToLower(k.Sub)
	}
	return k.folded
}

// Values is a Context of known values, by the keys' names in lower case (see
// [Key.String]), such as "aws:principaltag/team".
type Values map[string]Value

// Value returns the value of a key.
func (m Values) Value(k *Key) Value { return m[k.String()] }

// Value is the value of a condition key in a request. The zero Value is that of
// a key that is not there.
type Value struct {
	text string
	list []string
	a, b uint64 // number: bits; time: seconds and nanoseconds; addr: its 16 bytes
	kind kind
}

type kind uint8

const (
	absent kind = iota
	textual
	listed
	numeric
	timed
	address4
	address6
)

// String returns the value of a key with one string (or ARN, or base64 of bytes).
func String(s string) Value { return Value{kind: textual, text: s} }

// Strings returns the value of a multivalued key. One without values is a key
// that is not there. The list is not copied.
func Strings(list []string) Value {
	if len(list) == 0 {
		return Value{}
	}
	return Value{kind: listed, list: list}
}

// Time returns the value of a date key. String operators see it in RFC 3339
// with seconds, and numeric ones as seconds since 1970.
func Time(t time.Time) Value {
	return Value{kind: timed, a: uint64(t.Unix()), b: uint64(t.Nanosecond())}
}

// Addr returns the value of an IP address key; an invalid address is a key that
// is not there. Zones are dropped, and IPv4 in IPv6 becomes IPv4.
func Addr(a netip.Addr) Value {
	if !a.IsValid() {
		return Value{}
	}
	k := address6
	if a.Is4() || a.Is4In6() {
		k = address4
	}
	b := a.As16()
	return Value{kind: k, a: binary.BigEndian.Uint64(b[:8]), b: binary.BigEndian.Uint64(b[8:])}
}

// Bool returns the value of a boolean key.
func Bool(b bool) Value {
	if b {
		return String("true")
	}
	return String("false")
}

// appendText appends the value as string operators and policy variables see it;
// of a list, nothing.
func (v *Value) appendText(b []byte) []byte {
	switch v.kind {
	case textual:
		b = append(b, v.text...)
	case numeric:
		b = strconv.AppendFloat(b, math.Float64frombits(v.a), 'f', -1, 64)
	case timed:
		b = time.Unix(int64(v.a), 0).UTC().AppendFormat(b, "2006-01-02T15:04:05Z")
	case address4, address6:
		b = v.addr().AppendTo(b)
	}
	return b
}

// render returns the value as appendText does.
func (v *Value) render() string {
	if v.kind == textual {
		return v.text
	}
	return string(v.appendText(nil))
}

func (v *Value) addr() netip.Addr {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], v.a)
	binary.BigEndian.PutUint64(b[8:], v.b)
	a := netip.AddrFrom16(b)
	if v.kind == address4 {
		a = a.Unmap()
	}
	return a
}

// String prints the value for people; of a list, all its values, quoted.
func (v Value) String() string {
	if v.kind != listed {
		return v.render()
	}
	var b []byte
	for i, s := range v.list {
		if i > 0 {
			b = append(b, ", "...)
		}
		b = strconv.AppendQuote(b, s)
	}
	return string(b)
}

// Exists reports whether the key is there.
func (v Value) Exists() bool { return v.kind != absent }

// Number returns the value of a numeric key. NaN is a key that is not there.
func Number(n float64) Value {
	if n != n {
		return Value{}
	}
	return Value{kind: numeric, a: math.Float64bits(n)}
}
