package policy

import (
	"encoding/base64"
	"encoding/binary"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// A condition is one key under one operator, compiled. How it is written is read
// from the policy's text again when somebody wants to know; see
// [Policy.Statements].
type condition struct {
	test     test
	negated  bool
	ifExists bool
	set      set
	yes, no  bool // of Bool and Null: that "true", "false" are among the values
	key      Key

	texts []pattern // the values, compiled, but for those that others has
	other *comparands
}

// comparands are values that most conditions have none of; which of these
// depends on the test.
type comparands struct {
	exact   map[string]struct{} // texts without wildcards and variables, if they are many
	arns    []arnPattern
	numbers []float64
	instant []instant
	blocks  []block
}

// A test is what an operator does to one value, without Not.
type test uint8

const (
	stringEquals test = iota + 1
	stringEqualsIgnoreCase
	stringLike
	arnLike // ArnEquals is the same
	numericEquals
	numericLess
	numericLessEquals
	numericGreater
	numericGreaterEquals
	dateEquals
	dateLess
	dateLessEquals
	dateGreater
	dateGreaterEquals
	boolean
	binaryEquals
	ipAddress
	null
)

// A set is what a set operator asks of the values of a key.
type set uint8

const (
	plain        set = iota // any value, or if negated none
	forAllValues            // each value
	forAnyValue             // some value
)

// operators are the condition operators, in lower case and without prefix and
// suffix.
var operators = map[string]struct {
	test    test
	negated bool
}{
	"stringequals":              {stringEquals, false},
	"stringnotequals":           {stringEquals, true},
	"stringequalsignorecase":    {stringEqualsIgnoreCase, false},
	"stringnotequalsignorecase": {stringEqualsIgnoreCase, true},
	"stringlike":                {stringLike, false},
	"stringnotlike":             {stringLike, true},
	"arnequals":                 {arnLike, false},
	"arnnotequals":              {arnLike, true},
	"arnlike":                   {arnLike, false},
	"arnnotlike":                {arnLike, true},
	"numericequals":             {numericEquals, false},
	"numericnotequals":          {numericEquals, true},
	"numericlessthan":           {numericLess, false},
	"numericlessthanequals":     {numericLessEquals, false},
	"numericgreaterthan":        {numericGreater, false},
	"numericgreaterthanequals":  {numericGreaterEquals, false},
	"dateequals":                {dateEquals, false},
	"datenotequals":             {dateEquals, true},
	"datelessthan":              {dateLess, false},
	"datelessthanequals":        {dateLessEquals, false},
	"dategreaterthan":           {dateGreater, false},
	"dategreaterthanequals":     {dateGreaterEquals, false},
	"bool":                      {boolean, false},
	"binaryequals":              {binaryEquals, false},
	"ipaddress":                 {ipAddress, false},
	"notipaddress":              {ipAddress, true},
	"null":                      {null, false},
}

// parseOperator takes the name of an operator apart.
func parseOperator(name string) (c condition, ok bool) {
	s := lowerASCII(name)
	if t, found := strings.CutPrefix(s, "forallvalues:"); found {
		s, c.set = t, forAllValues
	} else if t, found := strings.CutPrefix(s, "foranyvalue:"); found {
		s, c.set = t, forAnyValue
	}
	s, c.ifExists = strings.CutSuffix(s, "ifexists")
	op, ok := operators[s]
	c.test, c.negated = op.test, op.negated
	if c.test == null && (c.ifExists || c.set != plain) {
		return c, false // Null asks whether the key is there at all
	}
	return c, ok
}

// manyValues is the number of exact texts above which they are looked up rather
// than compared one by one.
const manyValues = 8

// compile compiles the values. It returns the index of the first one that is
// not of the operator's type, or -1; that value then matches nothing.
func (c *condition) compile(values []string, variables bool) int {
	bad := -1
	var o comparands
	c.texts = make([]pattern, 0, len(values))
	if c.test == arnLike {
		o.arns = make([]arnPattern, 0, len(values))
	}
	for i, v := range values {
		ok := true
		switch {
		case c.test <= stringLike:
			p := compilePattern(v, c.test == stringLike, variables)
			if p.kind == exact && c.test != stringEqualsIgnoreCase && len(values) > manyValues {
				if o.exact == nil {
					o.exact = make(map[string]struct{}, len(values))
				}
				o.exact[p.text] = struct{}{}
				continue
			}
			c.texts = append(c.texts, p)
		case c.test == arnLike:
			o.arns = append(o.arns, compileARN(v, variables, false))
		case c.test <= numericGreaterEquals:
			var n float64
			if n, ok = parseNumber(v); ok {
				o.numbers = append(o.numbers, n)
			}
		case c.test <= dateGreaterEquals:
			var t instant
			if t, ok = parseInstant(v); ok {
				o.instant = append(o.instant, t)
			}
		case c.test == boolean, c.test == null:
			switch {
			case equalFoldASCII(v, "true"):
				c.yes = true
			case equalFoldASCII(v, "false"):
				c.no = true
			default:
				ok = false
			}
		case c.test == binaryEquals:
			b, err := base64.StdEncoding.DecodeString(v)
			if ok = err == nil; ok {
				c.texts = append(c.texts, pattern{text: string(b)})
			}
		case c.test == ipAddress:
			var b block
			if b, ok = parseBlock(v); ok {
				o.blocks = append(o.blocks, b)
			}
		}
		if !ok && bad < 0 {
			bad = i
		}
	}
	c.texts = exactly(c.texts)
	if o.exact != nil || o.arns != nil || o.numbers != nil || o.instant != nil || o.blocks != nil {
		o.numbers, o.instant, o.blocks = exactly(o.numbers), exactly(o.instant), exactly(o.blocks)
		held := o
		c.other = &held
	} else {
		c.other = &noComparands
	}
	return bad
}

// noComparands are those of a condition without.
var noComparands comparands

// patterns returns the number of values that a value of the request is held
// against one by one.
func (c *condition) patterns() int {
	o := c.other
	return len(c.texts) + len(o.arns) + len(o.numbers) + len(o.instant) + len(o.blocks)
}

// holds reports whether the condition holds for a request.
func (c *condition) holds(e *evaluation) bool {
	if e.excessive() {
		return false
	}
	var v Value
	if e.context != nil {
		v = e.context.Value(&c.key)
	}
	if v.kind == textual && c.test <= stringLike { // most conditions
		return c.matchesText(v.text, e) != c.negated
	}
	if c.test == null {
		there := v.kind > listed || v.kind == textual && v.text != ""
		for _, s := range v.list {
			there = there || s != ""
		}
		return c.yes && !there || c.no && there
	}
	if v.kind == absent {
		switch {
		case c.ifExists || c.set == forAllValues:
			return true
		case c.set == forAnyValue:
			return false
		}
		return c.negated
	}
	if v.kind != listed {
		// Of one value, all set operators say the same.
		return c.matches(&v, e) != c.negated
	}
	if e.work += workComparison * len(v.list) * c.patterns(); e.excessive() {
		return false
	}
	one := Value{kind: textual}
	for _, s := range v.list {
		one.text = s
		ok := c.matches(&one, e)
		switch c.set {
		case plain:
			if ok {
				return !c.negated
			}
		case forAllValues:
			if ok == c.negated {
				return false
			}
		case forAnyValue:
			if ok != c.negated {
				return true
			}
		}
	}
	switch c.set {
	case forAllValues:
		return true
	case forAnyValue:
		return false
	}
	return c.negated
}

// maxAddr is more than the length of any IP address with its zone, in bytes.
const maxAddr = 128

// matches reports whether one value of the request matches one of the
// condition's, whatever Not says.
func (c *condition) matches(v *Value, e *evaluation) bool {
	switch {
	case c.test <= stringLike:
		if v.kind == textual {
			return c.matchesText(v.text, e)
		}
		var buf [48]byte
		return c.matchesText(string(v.appendText(buf[:0])), e)
	case c.test == arnLike:
		if v.kind != textual || !strings.HasPrefix(v.text, "arn:") {
			return false
		}
		a := arn{text: v.text}
		arns := c.other.arns
		for i := range arns {
			if arns[i].match(&a, e) {
				return true
			}
			if e.excessive() {
				break
			}
		}
		return false
	case c.test <= numericGreaterEquals:
		n, ok := v.asNumber()
		if !ok {
			return false
		}
		for _, want := range c.other.numbers {
			if c.ordered(numericEquals, compareNumbers(n, want)) {
				return true
			}
		}
		return false
	case c.test <= dateGreaterEquals:
		t, ok := v.asInstant()
		if !ok {
			return false
		}
		for _, want := range c.other.instant {
			if c.ordered(dateEquals, t.compare(want)) {
				return true
			}
		}
		return false
	case c.test == boolean:
		return v.kind == textual && (c.yes && equalFoldASCII(v.text, "true") || c.no && equalFoldASCII(v.text, "false"))
	case c.test == binaryEquals:
		return v.kind == textual && c.matchesBytes(v.text, e)
	case c.test == ipAddress:
		have := *v
		if v.kind == textual {
			if len(v.text) > maxAddr {
				return false
			}
			a, err := netip.ParseAddr(v.text)
			if err != nil {
				return false
			}
			have = Addr(a)
		}
		if have.kind != address4 && have.kind != address6 {
			return false
		}
		for _, b := range c.other.blocks {
			if b.contains(&have) {
				return true
			}
		}
	}
	return false
}

func (c *condition) matchesText(s string, e *evaluation) bool {
	if exact := c.other.exact; exact != nil {
		if _, ok := exact[s]; ok {
			return true
		}
	}
	for i := range c.texts {
		p := &c.texts[i]
		switch {
		case c.test == stringEqualsIgnoreCase:
			if p.equalFold(s, e) {
				return true
			}
		case p.kind == exact:
			if s == p.text {
				return true
			}
		case p.match(s, e):
			return true
		}
		if e.excessive() {
			break
		}
	}
	return false
}

func (c *condition) matchesBytes(s string, e *evaluation) bool {
	e.work += len(s) / bytesSearched
	var buf [128]byte
	b, err := base64.StdEncoding.AppendDecode(buf[:0], []byte(s))
	if err != nil {
		return false
	}
	for i := range c.texts {
		if string(b) == c.texts[i].text {
			return true
		}
	}
	return false
}

// ordered reports whether the outcome of a comparison is what the test wants.
// The tests of a type stand in the same order, from first on.
func (c *condition) ordered(first test, compared int) bool {
	switch c.test - first + numericEquals {
	case numericEquals:
		return compared == 0
	case numericLess:
		return compared < 0
	case numericLessEquals:
		return compared <= 0
	case numericGreater:
		return compared > 0
	}
	return compared >= 0
}

// compareNumbers compares two numbers, neither of which is NaN.
func compareNumbers(a, b float64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// parseNumber reads a decimal number.
func parseNumber(s string) (float64, bool) {
	if s == "" || len(s) > 64 {
		return 0, false
	}
	for i := range len(s) { // no "Inf", "0x10" or "1_000"
		switch c := s[i]; {
		case '0' <= c && c <= '9', c == '+', c == '-', c == '.', c == 'e', c == 'E':
		default:
			return 0, false
		}
	}
	n, err := strconv.ParseFloat(s, 64)
	return n, err == nil
}

// asNumber returns the value as a number: a date in seconds since 1970.
func (v *Value) asNumber() (float64, bool) {
	switch v.kind {
	case numeric:
		return math.Float64frombits(v.a), true
	case timed:
		return float64(int64(v.a)) + float64(v.b)/1e9, true
	case textual:
		return parseNumber(v.text)
	}
	return 0, false
}

// An instant is a point in time.
type instant struct {
	seconds int64 // since 1970
	nanos   int64 // 0 to 999,999,999
}

func (t instant) compare(o instant) int {
	switch {
	case t.seconds < o.seconds:
		return -1
	case t.seconds > o.seconds:
		return 1
	case t.nanos < o.nanos:
		return -1
	case t.nanos > o.nanos:
		return 1
	}
	return 0
}

// instantOf returns the instant of a number of seconds since 1970.
func instantOf(n float64) (instant, bool) {
	whole := math.Floor(n)
	if math.Abs(whole) > 1e17 { // beyond any calendar
		return instant{}, false
	}
	return instant{int64(whole), int64((n - whole) * 1e9)}, true
}

// asInstant returns the value as a date: a number counts seconds since 1970.
func (v *Value) asInstant() (instant, bool) {
	switch v.kind {
	case numeric:
		return instantOf(math.Float64frombits(v.a))
	case timed:
		return instant{int64(v.a), int64(v.b)}, true
	case textual:
		return parseInstant(v.text)
	}
	return instant{}, false
}

// parseInstant reads a date in one of the forms of "Date and Time Formats" (W3C
// NOTE-datetime, after ISO 8601), where a time without a zone is in UTC, or as
// seconds since 1970.
func parseInstant(s string) (instant, bool) {
	var layout string
	switch {
	case len(s) > 40:
		return instant{}, false
	case len(s) == len("2006") && strings.Trim(s, "0123456789") == "":
		layout = "2006"
	case len(s) == len("2006-01") && s[4] == '-':
		layout = "2006-01"
	case len(s) == len("2006-01-02") && s[4] == '-':
		layout = "2006-01-02"
	case len(s) > len("2006-01-02T15:04") && s[10] == 'T' && s[16] == ':': // fractions of seconds are read, too
		layout = "2006-01-02T15:04:05"
	case len(s) >= len("2006-01-02T15:04") && s[10] == 'T':
		layout = "2006-01-02T15:04"
	default:
		whole, fraction, _ := strings.Cut(s, ".")
		if n, err := strconv.ParseInt(whole, 10, 64); err == nil && n >= 0 && strings.Trim(fraction, "0") == "" && !strings.HasSuffix(s, ".") {
			return instant{seconds: n}, true
		}
		n, ok := parseNumber(s)
		if !ok {
			return instant{}, false
		}
		return instantOf(n)
	}
	if len(s) > 10 && !strings.ContainsAny(s[11:], "Z+-") {
		layout += "Z07:00"
		s += "Z"
	} else if len(s) > 10 {
		layout += "Z07:00"
	}
	t, err := time.Parse(layout, s)
	if err != nil {
		return instant{}, false
	}
	return instant{t.Unix(), int64(t.Nanosecond())}, true
}

// A block is a block of IP addresses, in the form of Addr's values.
type block struct {
	kind         kind
	a, b         uint64
	maskA, maskB uint64
}

// parseBlock reads a block in CIDR notation, or a single address. Bits beyond
// the prefix do not count.
func parseBlock(s string) (block, bool) {
	p, err := netip.ParsePrefix(s)
	if err != nil {
		a, err := netip.ParseAddr(s)
		if err != nil || a.Zone() != "" {
			return block{}, false
		}
		p = netip.PrefixFrom(a, a.BitLen())
	}
	bits := p.Bits()
	if p.Addr().Is4() {
		bits += 96
	}
	v := Addr(p.Addr())
	if v.kind == address4 && bits < 96 {
		v.kind = address6 // a block of IPv6 that holds the mapped addresses and more
	}
	b := block{kind: v.kind, a: v.a, b: v.b}
	var mask [16]byte
	for i := range bits {
		mask[i/8] |= 0x80 >> (i % 8)
	}
	b.maskA, b.maskB = binary.BigEndian.Uint64(mask[:8]), binary.BigEndian.Uint64(mask[8:])
	b.a &= b.maskA
	b.b &= b.maskB
	return b, true
}

func (b *block) contains(v *Value) bool {
	return b.kind == v.kind && v.a&b.maskA == b.a && v.b&b.maskB == b.b
}
