package policy

import (
	"encoding/json"
	"errors"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Texts returns the value as string operators see it: each value of a list, else
// the one. It is nil for a key that is not there, and the caller's.
func (v Value) Texts() []string {
	switch v.kind {
	case absent:
		return nil
	case listed:
		return slices.Clone(v.list)
	}
	return []string{v.render()}
}

// The letters that begin an encoded value, by what it is. A value that is not
// there is empty.
const (
	letterText   = "s"
	letterList   = "l" // a JSON list of strings follows
	letterNumber = "n"
	letterTime   = "t" // seconds since 1970, '.', nanoseconds
	letterAddr   = "a"
)

// MarshalText implements [encoding.TextMarshaler]: UnmarshalText makes the same
// value of it.
func (v Value) MarshalText() ([]byte, error) {
	switch v.kind {
	case absent:
		return []byte{}, nil
	case listed:
		list, err := json.Marshal(v.list)
		return append([]byte(letterList), list...), err
	case numeric:
		return strconv.AppendFloat([]byte(letterNumber), math.Float64frombits(v.a), 'g', -1, 64), nil
	case timed:
		b := strconv.AppendInt([]byte(letterTime), int64(v.a), 10)
		return strconv.AppendUint(append(b, '.'), v.b, 10), nil
	case address4, address6:
		return v.addr().AppendTo([]byte(letterAddr)), nil
	}
	return append([]byte(letterText), v.text...), nil
}

var errValue = errors.New("policy: not an encoded value")

// UnmarshalText implements [encoding.TextUnmarshaler].
func (v *Value) UnmarshalText(b []byte) error {
	*v = Value{}
	if len(b) == 0 {
		return nil
	}
	text := string(b[1:])
	switch string(b[:1]) {
	case letterText:
		*v = String(text)
		return nil
	case letterList:
		var list []string
		if json.Unmarshal(b[1:], &list) != nil {
			return errValue
		}
		*v = Strings(list)
		return nil
	case letterNumber:
		if n, err := strconv.ParseFloat(text, 64); err == nil {
			*v = Number(n)
			return nil
		}
	case letterTime:
		whole, rest, _ := strings.Cut(text, ".")
		seconds, err1 := strconv.ParseInt(whole, 10, 64)
		nanos, err2 := strconv.ParseUint(rest, 10, 32)
		if err1 == nil && err2 == nil && nanos < 1e9 {
			*v = Value{kind: timed, a: uint64(seconds), b: nanos}
			return nil
		}
	case letterAddr:
		if a, err := netip.ParseAddr(text); err == nil {
			*v = Addr(a)
			return nil
		}
	}
	return errValue
}
