package policy

import (
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// A node is a JSON value with its place. Package encoding/json is more lenient
// than a document that decides over access may be: it takes invalid UTF-8, lone
// surrogates and members that stand twice.
type node struct {
	kind    nodeKind
	start   int // offset of the first byte
	text    string
	items   []node   // of an array
	members []member // of an object, in its order
}

type member struct {
	name  string
	start int // offset of the name's quote
	value node
}

type nodeKind uint8

const (
	jsonNull nodeKind = iota
	jsonBool          // text is "true" or "false"
	jsonNumber
	jsonString // text is decoded
	jsonArray
	jsonObject
)

func (k nodeKind) String() string {
	return [...]string{"null", "a boolean", "a number", "a string", "a list", "an object"}[k]
}

// reader reads one JSON text (RFC 8259).
type reader struct {
	text string
	at   int
}

// A fault is what is wrong with a JSON text, and where.
type fault struct {
	at   int
	what string
}

func readJSON(text string) (node, *fault) {
	r := reader{text: text}
	r.space()
	n, f := r.value(0)
	if f != nil {
		return node{}, f
	}
	r.space()
	if r.at < len(text) {
		return node{}, r.fault("text after the document")
	}
	return n, nil
}

func (r *reader) fault(what string) *fault { return &fault{r.at, what} }

func (r *reader) space() {
	for r.at < len(r.text) {
		switch r.text[r.at] {
		case ' ', '\t', '\n', '\r':
			r.at++
		default:
			return
		}
	}
}

// peek returns the next byte; 0 at the end.
func (r *reader) peek() byte {
	if r.at < len(r.text) {
		return r.text[r.at]
	}
	return 0
}

func (r *reader) value(depth int) (node, *fault) {
	n := node{start: r.at}
	switch c := r.peek(); {
	case c == '{' || c == '[':
		if depth == MaxNesting {
			return n, r.fault("more than " + strconv.Itoa(MaxNesting) + " levels")
		}
		r.at++
		if c == '[' {
			return r.array(n, depth+1)
		}
		return r.object(n, depth+1)
	case c == '"':
		var f *fault
		n.kind = jsonString
		n.text, f = r.string()
		return n, f
	case c == '-' || '0' <= c && c <= '9':
		return r.number(n)
	}
	for _, word := range [...]string{"true", "false", "null"} {
		if strings.HasPrefix(r.text[r.at:], word) {
			r.at += len(word)
			if word != "null" {
				n.kind, n.text = jsonBool, word
			}
			return n, nil
		}
	}
	if r.at == len(r.text) {
		return n, r.fault("the document ends too early")
	}
	return n, r.fault("a value is missing")
}

func (r *reader) array(n node, depth int) (node, *fault) {
	n.kind = jsonArray
	r.space()
	if r.peek() == ']' {
		r.at++
		return n, nil
	}
	for {
		r.space()
		item, f := r.value(depth)
		if f != nil {
			return n, f
		}
		n.items = append(n.items, item)
		r.space()
		switch r.peek() {
		case ',':
			r.at++
		case ']':
			r.at++
			return n, nil
		default:
			return n, r.fault("a comma or the end of the list is missing")
		}
	}
}

func (r *reader) object(n node, depth int) (node, *fault) {
	n.kind = jsonObject
	r.space()
	if r.peek() == '}' {
		r.at++
		return n, nil
	}
	var seen map[string]struct{} // once there are many
	for {
		r.space()
		m := member{start: r.at}
		if r.peek() != '"' {
			return n, r.fault("the name of a member is missing")
		}
		var f *fault
		if m.name, f = r.string(); f != nil {
			return n, f
		}
		if seen == nil && len(n.members) == 16 {
			seen = make(map[string]struct{})
			for _, have := range n.members {
				seen[have.name] = struct{}{}
			}
		}
		twice := false
		if seen != nil {
			_, twice = seen[m.name]
			seen[m.name] = struct{}{}
		} else {
			for _, have := range n.members {
				twice = twice || have.name == m.name
			}
		}
		if twice {
			return n, &fault{m.start, strconv.Quote(m.name) + " stands twice"}
		}
		r.space()
		if r.peek() != ':' {
			return n, r.fault("a colon is missing")
		}
		r.at++
		r.space()
		if m.value, f = r.value(depth); f != nil {
			return n, f
		}
		n.members = append(n.members, m)
		r.space()
		switch r.peek() {
		case ',':
			r.at++
		case '}':
			r.at++
			return n, nil
		default:
			return n, r.fault("a comma or the end of the object is missing")
		}
	}
}

func (r *reader) digits() bool {
	start := r.at
	for c := r.peek(); '0' <= c && c <= '9'; c = r.peek() {
		r.at++
	}
	return r.at > start
}

func (r *reader) number(n node) (node, *fault) {
	n.kind = jsonNumber
	if r.peek() == '-' {
		r.at++
	}
	if r.peek() == '0' {
		r.at++
	} else if !r.digits() {
		return n, r.fault("a number has no digits")
	}
	if r.peek() == '.' {
		r.at++
		if !r.digits() {
			return n, r.fault("a number has no digits after the point")
		}
	}
	if c := r.peek(); c == 'e' || c == 'E' {
		r.at++
		if c = r.peek(); c == '+' || c == '-' {
			r.at++
		}
		if !r.digits() {
			return n, r.fault("a number has no exponent")
		}
	}
	n.text = r.text[n.start:r.at]
	return n, nil
}

// string reads a string. Without escapes, the result is a part of the text and
// costs no memory.
func (r *reader) string() (string, *fault) {
	open := r.at
	r.at++
	start := r.at
	var b []byte // what is decoded, once there was an escape
	escaped := false
	for {
		if r.at == len(r.text) {
			return "", &fault{open, "a string does not end"}
		}
		switch c := r.text[r.at]; {
		case c == '"':
			s := r.text[start:r.at]
			r.at++
			if escaped {
				return string(append(b, s...)), nil
			}
			return s, nil
		case c == '\\':
			b = append(b, r.text[start:r.at]...)
			escaped = true
			var f *fault
			if b, f = r.escape(b); f != nil {
				return "", f
			}
			start = r.at
		case c < ' ':
			return "", r.fault("a control character in a string")
		case c < utf8.RuneSelf:
			r.at++
		default:
			_, n := utf8.DecodeRuneInString(r.text[r.at:])
			if n == 1 {
				return "", r.fault("not UTF-8")
			}
			r.at += n
		}
	}
}

func (r *reader) escape(b []byte) ([]byte, *fault) {
	if r.at+1 == len(r.text) {
		return nil, r.fault("a string does not end")
	}
	c := r.text[r.at+1]
	if i := strings.IndexByte(`"\/bfnrt`, c); i >= 0 {
		r.at += 2
		return append(b, "\"\\/\b\f\n\r\t"[i]), nil
	}
	if c != 'u' {
		return nil, r.fault("an unknown escape")
	}
	u, ok := hex4(r.text[r.at+2:])
	if !ok {
		return nil, r.fault("an escape without four hexadecimal digits")
	}
	at := r.at
	r.at += 6
	if utf16.IsSurrogate(u) {
		var low rune
		if strings.HasPrefix(r.text[r.at:], `\u`) {
			low, _ = hex4(r.text[r.at+2:])
		}
		if u = utf16.DecodeRune(u, low); u == utf8.RuneError {
			return nil, &fault{at, "half of a surrogate pair"}
		}
		r.at += 6
	}
	return utf8.AppendRune(b, u), nil
}

func hex4(s string) (rune, bool) {
	if len(s) < 4 {
		return 0, false
	}
	var u rune
	for i := range 4 {
		c := s[i]
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		u = u<<4 | rune(c)
	}
	return u, true
}

// appendJSONString appends a string with its quotes.
func appendJSONString(b []byte, s string) []byte {
	const digits = "0123456789abcdef"
	b = append(b, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < ' ':
			b = append(b, '\\', 'u', '0', '0', digits[c>>4], digits[c&15])
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}

// place returns the line and column of an offset, from 1.
func place(text string, at int) (line, column int) {
	before := text[:min(at, len(text))]
	return 1 + strings.Count(before, "\n"), len(before) - strings.LastIndexByte(before, '\n')
}
