package wire

import (
	"encoding/base64"
	"math"
	"strconv"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/keyreeve/keyreeve/internal/secret"
)

// What a message may hold. Anything beyond is a SerializationException.
const (
	MaxDepth  = 64      // objects and lists inside each other
	MaxItems  = 8192    // members of one list or map
	MaxString = 1 << 20 // bytes of one string as sent, escapes included
)

// A Reader reads one JSON value from front to back. It is strict: RFC 8259 to
// the letter, UTF-8 only, no unpaired surrogates, every value of the type that
// is asked for. null is absent, for every type.
//
// The first problem sticks: from then on every method returns its zero value at
// once, and [Reader.Close] reports it. So reading code needs no error checks:
//
//	if r.Object() {
//		for r.Member() {
//			switch string(r.Name()) {
//			case "KeyId":
//				in.KeyID, _ = r.String()
//			default:
//				r.Skip()
//			}
//		}
//	}
//	return r.Close()
//
// Nothing that a Reader returns shares memory with the message, except what
// [Reader.Name] returns.
type Reader struct {
	b       []byte
	i       int    // next byte to read
	depth   int    // open objects and lists
	first   bool   // the innermost object or list was just opened
	name    []byte // of the current member
	scratch []byte // holds name if that has escapes
	err     *Error
}

// NewReader returns a reader of the JSON value in b.
func NewReader(b []byte) Reader { return Reader{b: b} }

// Close checks that nothing but white space is left and returns the first
// problem, a SerializationException, or nil.
func (r *Reader) Close() error {
	if r.err == nil {
		r.space()
		if r.i < len(r.b) {
			r.fail(textNotJSON)
		}
	}
	if r.err != nil {
		return r.err
	}
	return nil
}

const (
	textNotJSON = "The request body is not valid JSON."
	textDeep    = "The request body is nested too deeply."
	textItems   = "A list or map in the request body is too long."
	textString  = "A string in the request body is too long."
	textUTF8    = "A string in the request body is not valid Unicode."
	textBase64  = "A blob in the request body is not valid base64."
	textInteger = "A number in the request body is not a 32-bit integer."
	textTime    = "A timestamp in the request body is out of range."
)

func (r *Reader) fail(text string) {
	if r.err == nil {
		r.err = Serialization(text)
	}
	r.i = len(r.b)
}

// wrongType fails because the next value is not what was asked for.
func (r *Reader) wrongType(want string) {
	var have string
	switch c := r.peek(); {
	case c == '"':
		have = "STRING_VALUE"
	case c == '{':
		have = "START_OBJECT"
	case c == '[':
		have = "START_ARRAY"
	case c == 't':
		have = "TRUE_VALUE"
	case c == 'f':
		have = "FALSE_VALUE"
	case c == '-' || '0' <= c && c <= '9':
		have = "NUMBER_VALUE"
	default:
		r.fail(textNotJSON)
		return
	}
	r.fail(have + " can not be converted to " + want)
}

func (r *Reader) space() {
	for r.i < len(r.b) {
		switch r.b[r.i] {
		case ' ', '\t', '\n', '\r':
			r.i++
		default:
			return
		}
	}
}

// peek skips white space and returns the next byte, or 0 at the end.
func (r *Reader) peek() byte {
	if r.i < len(r.b) && r.b[r.i] > ' ' {
		return r.b[r.i]
	}
	r.space()
	if r.i < len(r.b) {
		return r.b[r.i]
	}
	return 0
}

func (r *Reader) literal(word string) bool {
	if end := r.i + len(word); end <= len(r.b) && string(r.b[r.i:end]) == word {
		r.i = end
		return true
	}
	r.fail(textNotJSON)
	return false
}

// Null reads a null if one is next.
func (r *Reader) Null() bool { return r.peek() == 'n' && r.literal("null") }

func (r *Reader) open() bool {
	if r.depth == MaxDepth {
		r.fail(textDeep)
		return false
	}
	r.depth++
	r.i++
	r.first = true
	return true
}

// Object begins an object, whose members [Reader.Member] then walks. It is
// false for null, and on a problem.
func (r *Reader) Object() bool {
	switch {
	case r.peek() == '{':
		return r.open()
	case r.Null() || r.err != nil:
	default:
		r.wrongType("a structure or map")
	}
	return false
}

// Root is [Reader.Object] for the outermost value, which may not be null.
func (r *Reader) Root() bool {
	switch c := r.peek(); {
	case c == '{':
		return r.open()
	case c == 'n' && r.literal("null"):
		r.fail(textNotJSON)
	case r.err == nil:
		r.wrongType("a structure or map")
	}
	return false
}

// List begins a list, whose items [Reader.Item] then walks. It is false for
// null, and on a problem.
func (r *Reader) List() bool {
	switch {
	case r.peek() == '[':
		return r.open()
	case r.Null() || r.err != nil:
	default:
		r.wrongType("a list")
	}
	return false
}

// next moves on to the next member or item, and ends the object or list at
// close.
func (r *Reader) next(closing byte) bool {
	if r.err != nil {
		return false
	}
	c := r.peek()
	first := r.first
	r.first = false
	switch {
	case c == closing:
		r.i++
		r.depth--
		return false
	case first:
		return true
	case c == ',':
		r.i++
		if r.peek() != closing {
			return true
		}
	}
	r.fail(textNotJSON)
	return false
}

// Member moves on to the object's next member, whose value must be read or
// skipped before the next call. It is false at the end of the object.
func (r *Reader) Member() bool {
	if !r.next('}') {
		return false
	}
	raw, escaped := r.quoted()
	if r.err != nil {
		return false
	}
	r.name = raw
	if escaped {
		r.scratch, _ = appendUnescaped(r.scratch[:0], raw) // quoted has checked it
		r.name = r.scratch
	}
	if r.peek() != ':' {
		r.fail(textNotJSON)
		return false
	}
	r.i++
	return true
}

// Name returns the name of the current member. It is valid until the next call
// of [Reader.Member].
func (r *Reader) Name() []byte { return r.name }

// Item moves on to the list's next item, which must be read or skipped before
// the next call. It is false at the end of the list.
func (r *Reader) Item() bool { return r.next(']') }

// Room fails if a list or map that has n members already may not have another.
func (r *Reader) Room(n int) bool {
	if n >= MaxItems {
		r.fail(textItems)
	}
	return r.err == nil
}

// String reads a string. It is false for null, and on a problem.
func (r *Reader) String() (string, bool) {
	raw, escaped, ok := r.stringToken()
	if !ok {
		return "", false
	}
	if !escaped {
		return string(raw), true
	}
	var stack [256]byte
	b, _ := appendUnescaped(stack[:0], raw)
	return string(b), true
}

// Element is [Reader.String] for what stands in a list or map, where a null is
// no absent value: it returns [Null] for one.
func (r *Reader) Element() string {
	s, ok := r.String()
	if !ok && r.err == nil {
		return Null
	}
	return s
}

// Text is [Reader.String] without a copy: what it returns is valid until the
// next call.
func (r *Reader) Text() ([]byte, bool) {
	raw, escaped, ok := r.stringToken()
	if escaped && ok {
		r.scratch, _ = appendUnescaped(r.scratch[:0], raw)
		raw = r.scratch
	}
	return raw, ok
}

// Secret reads a string that must not be shown. The result is nil for null, and
// on a problem; it holds the only copy outside of the message.
func (r *Reader) Secret() secret.Bytes {
	raw, _, ok := r.stringToken()
	if !ok {
		return secret.Bytes{}
	}
	b, _ := appendUnescaped(make([]byte, 0, len(raw)), raw)
	return secret.New(b)
}

// Blob reads a base64 string: standard alphabet, padded, canonical. The result
// is nil for null, and on a problem.
func (r *Reader) Blob() []byte {
	raw, escaped, ok := r.stringToken()
	if !ok {
		return nil
	}
	var unescaped []byte
	if escaped { // some encoders write "/" as "\/"
		unescaped, _ = appendUnescaped(make([]byte, 0, len(raw)), raw)
		raw = unescaped
	}
	n := base64.StdEncoding.DecodedLen(len(raw))
	if len(raw) >= 2 {
		for k := 1; k <= 2 && raw[len(raw)-k] == '='; k++ {
			n--
		}
	}
	blob := make([]byte, max(n, 0))
	ok = len(raw)%4 == 0
	if ok {
		// Decode skips line ends; then it writes fewer bytes than the length says.
		m, err := strictBase64.Decode(blob, raw)
		ok = err == nil && m == len(blob)
	}
	clear(unescaped)
	if !ok {
		clear(blob)
		r.fail(textBase64)
		return nil
	}
	return blob
}

var strictBase64 = base64.StdEncoding.Strict()

// SecretBlob is [Reader.Blob] for bytes that must not be shown.
func (r *Reader) SecretBlob() secret.Bytes {
	b := r.Blob()
	if b == nil {
		return secret.Bytes{}
	}
	return secret.New(b)
}

// Bool reads true or false. It is false for null, and on a problem.
func (r *Reader) Bool() bool {
	switch c := r.peek(); {
	case c == 't':
		return r.literal("true")
	case c == 'f':
		r.literal("false")
	case c == 'n':
		r.literal("null")
	case r.err == nil:
		r.wrongType("a Boolean")
	}
	return false
}

// OptionalBool reads true or false. It is nil for null, and on a problem.
func (r *Reader) OptionalBool() *bool {
	null := r.peek() == 'n'
	b := r.Bool()
	if null || r.err != nil {
		return nil
	}
	return &b
}

// Int reads a whole number written without a fraction or exponent. It is nil
// for null, and on a problem.
func (r *Reader) Int() *int32 {
	tok, ok := r.number("an Integer")
	if !ok {
		return nil
	}
	var n int64
	for _, c := range tok {
		if c == '-' {
			continue
		}
		if c < '0' || c > '9' || n > math.MaxInt32 {
			r.fail(textInteger)
			return nil
		}
		n = n*10 + int64(c-'0')
	}
	if tok[0] == '-' {
		n = -n
	}
	if n < math.MinInt32 || n > math.MaxInt32 {
		r.fail(textInteger)
		return nil
	}
	v := int32(n)
	return &v
}

// The years 1 to 9999, which every AWS date format can write.
const (
	minSeconds = -62135596800
	maxSeconds = 253402300799
)

// Time reads a time in seconds since 1970, rounded to milliseconds. It is the
// zero time for null, and on a problem.
func (r *Reader) Time() time.Time {
	tok, ok := r.number("a Timestamp")
	if !ok {
		return time.Time{}
	}
	f, err := strconv.ParseFloat(string(tok), 64)
	if err != nil || f <= minSeconds || f >= maxSeconds {
		r.fail(textTime)
		return time.Time{}
	}
	return time.UnixMilli(int64(math.Round(f * 1000))).UTC()
}

// StringMap reads an object of strings. It is nil for null, and on a problem.
// The value of a member that is null is [Null].
func (r *Reader) StringMap() StringMap {
	if !r.Object() {
		return nil
	}
	m := make(StringMap, 0, 1)
	for r.Member() && r.Room(len(m)) {
		name := string(r.name)
		m = append(m, Pair{name, r.Element()})
	}
	if r.err != nil {
		return nil
	}
	m.normalize()
	return m
}

// Skip reads any value and forgets it.
func (r *Reader) Skip() {
	// One bit for each open object (1) or list (0); MaxDepth is its width.
	var objects uint64
	start := r.depth
	for {
		switch c := r.peek(); {
		case c == '{' || c == '[':
			if !r.open() {
				return
			}
			objects <<= 1
			if c == '{' {
				objects |= 1
			}
		case c == '"':
			r.quoted()
		case c == 't':
			r.literal("true")
		case c == 'f':
			r.literal("false")
		case c == 'n':
			r.literal("null")
		default:
			r.number("")
		}
		for {
			if r.err != nil || r.depth == start {
				return
			}
			if objects&1 == 1 && r.member() || objects&1 == 0 && r.next(']') {
				break // to its value
			}
			objects >>= 1
		}
	}
}

// member is Member for a name that nobody asks for.
func (r *Reader) member() bool {
	if !r.next('}') {
		return false
	}
	r.quoted()
	if r.err == nil && r.peek() != ':' {
		r.fail(textNotJSON)
	}
	r.i++
	return r.err == nil
}

// number reads a number or null; it is false for null, and on a problem.
func (r *Reader) number(want string) ([]byte, bool) {
	c := r.peek()
	if c == 'n' {
		r.literal("null")
		return nil, false
	}
	if c != '-' && (c < '0' || c > '9') {
		if r.err == nil {
			r.wrongType(want)
		}
		return nil, false
	}
	start := r.i
	if c == '-' {
		r.i++
	}
	if r.at() == '0' {
		r.i++
	} else if !r.digits() {
		return nil, false
	}
	if r.at() == '.' {
		r.i++
		if !r.digits() {
			return nil, false
		}
	}
	if c := r.at(); c == 'e' || c == 'E' {
		r.i++
		if c := r.at(); c == '+' || c == '-' {
			r.i++
		}
		if !r.digits() {
			return nil, false
		}
	}
	return r.b[start:r.i], true
}

// at returns the next byte, white space or not, or 0 at the end.
func (r *Reader) at() byte {
	if r.i < len(r.b) {
		return r.b[r.i]
	}
	return 0
}

// digits reads one digit or more.
func (r *Reader) digits() bool {
	start := r.i
	for r.i < len(r.b) && '0' <= r.b[r.i] && r.b[r.i] <= '9' {
		r.i++
	}
	if r.i == start {
		r.fail(textNotJSON)
		return false
	}
	return true
}

// stringToken reads a string or null; it is false for null, and on a problem.
func (r *Reader) stringToken() (raw []byte, escaped, ok bool) {
	switch c := r.peek(); {
	case c == '"':
		raw, escaped = r.quoted()
		return raw, escaped, r.err == nil
	case c == 'n':
		r.literal("null")
	case r.err == nil:
		r.wrongType("a String")
	}
	return nil, false, false
}

// quoted reads a string, checks it, and returns what stands between the quotes.
func (r *Reader) quoted() (raw []byte, escaped bool) {
	if r.peek() != '"' {
		r.fail(textNotJSON)
		return nil, false
	}
	b := r.b[r.i+1:]
	if len(b) > MaxString+1 {
		b = b[:MaxString+1]
	}
	wide := false // beyond ASCII
	for i := plain(b, 0); i < len(b); i++ {
		switch c := b[i]; {
		case c == '"':
			raw = b[:i]
			if wide && !utf8.Valid(raw) {
				r.fail(textUTF8)
				return nil, false
			}
			if escaped {
				if text := checkEscapes(raw); text != "" {
					r.fail(text)
					return nil, false
				}
			}
			r.i += len(raw) + 2
			return raw, escaped
		case c == '\\':
			escaped = true
			i++ // the next byte does not end the string
		case c < ' ':
			r.fail(textNotJSON)
			return nil, false
		case c >= utf8.RuneSelf:
			wide = true
		}
	}
	if len(b) > MaxString {
		r.fail(textString)
	} else {
		r.fail(textNotJSON)
	}
	return nil, false
}

// checkEscapes returns what is wrong with the escapes in raw, or "".
func checkEscapes(raw []byte) string {
	for i := 0; i < len(raw); i++ {
		if raw[i] != '\\' {
			continue
		}
		i++
		switch raw[i] { // quoted made sure that there is one
		case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		case 'u':
			unit, ok := hexUnit(raw[i+1:])
			if !ok {
				return textNotJSON
			}
			i += 4
			if !utf16.IsSurrogate(unit) {
				continue
			}
			low, ok := escapedUnit(raw[i+1:])
			if !ok || utf16.DecodeRune(unit, low) == utf8.RuneError {
				return textUTF8
			}
			i += 6
		default:
			return textNotJSON
		}
	}
	return ""
}

// hexUnit reads the four digits of a \u escape.
func hexUnit(b []byte) (rune, bool) {
	if len(b) < 4 {
		return 0, false
	}
	var u rune
	for _, c := range b[:4] {
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

func escapedUnit(b []byte) (rune, bool) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0, false
	}
	return hexUnit(b[2:])
}

// appendUnescaped appends the text that raw stands for, which is never longer
// than raw. The escapes must have passed checkEscapes; if not, it is false.
func appendUnescaped(b, raw []byte) ([]byte, bool) {
	for i := 0; i < len(raw); {
		c := raw[i]
		if c != '\\' {
			b = append(b, c)
			i++
			continue
		}
		if i+1 == len(raw) {
			return b, false
		}
		i += 2
		switch c := raw[i-1]; c {
		case 'b':
			b = append(b, '\b')
		case 'f':
			b = append(b, '\f')
		case 'n':
			b = append(b, '\n')
		case 'r':
			b = append(b, '\r')
		case 't':
			b = append(b, '\t')
		case 'u':
			u, ok := hexUnit(raw[i:])
			if !ok {
				return b, false
			}
			i += 4
			if utf16.IsSurrogate(u) {
				low, ok := escapedUnit(raw[i:])
				if !ok {
					return b, false
				}
				u = utf16.DecodeRune(u, low)
				i += 6
			}
			b = utf8.AppendRune(b, u)
		default:
			b = append(b, c)
		}
	}
	return b, true
}
