package wire

import (
	"slices"
	"strings"
)

// Null stands for a null in a list or map of strings, from decoding until
// validation, which refuses it: to drop it would be to answer another request
// than was made. No string of a message is this one, as it is not UTF-8.
const Null = "\xff"

// A Pair is a name and a value of a [StringMap].
type Pair struct{ Name, Value string }

// A StringMap is a JSON object of strings, such as an encryption context. Names
// are sorted by their bytes and unique. nil is absent; an empty map is not.
type StringMap []Pair

// NewStringMap returns the pairs as a StringMap: sorted, and of several pairs
// with one name only the last. It works in place.
func NewStringMap(pairs ...Pair) StringMap {
	m := StringMap(pairs)
	m.normalize()
	return m
}

// Get returns the value under name, and whether there is one.
func (m StringMap) Get(name string) (string, bool) {
	i, ok := slices.BinarySearchFunc(m, name, func(p Pair, name string) int {
		return strings.Compare(p.Name, name)
	})
	if !ok {
		return "", false
	}
	return m[i].Value, true
}

// Equal reports whether m and n hold the same pairs. A nil map equals an empty
// one.
func (m StringMap) Equal(n StringMap) bool { return slices.Equal(m, n) }

// AppendJSON appends m as a JSON object.
func (m StringMap) AppendJSON(b []byte) []byte {
	b = append(b, '{')
	for i, p := range m {
		if i > 0 {
			b = append(b, ',')
		}
		b = AppendString(b, p.Name)
		b = append(b, ':')
		b = appendElement(b, p.Value)
	}
	return append(b, '}')
}

// normalize sorts m by name and keeps the last of equal names. Most maps come
// sorted or have one pair, and then it only looks.
func (m *StringMap) normalize() {
	s := *m
	ascending := true
	for i := 1; i < len(s); i++ {
		if s[i-1].Name >= s[i].Name {
			ascending = false
			break
		}
	}
	if ascending {
		return
	}
	slices.SortStableFunc(s, func(a, b Pair) int { return strings.Compare(a.Name, b.Name) })
	kept := s[:0]
	for i, p := range s {
		if i+1 < len(s) && s[i+1].Name == p.Name {
			continue
		}
		kept = append(kept, p)
	}
	clear(s[len(kept):])
	*m = kept
}
