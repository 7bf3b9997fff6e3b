package policy

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// Wildcard reports whether s matches a pattern in which '*' stands for any
// number of characters and '?' for one, as StringLike does. It takes time
// linear in the length of s, and for more than 64 characters with a '?' between
// two stars, that for each 64 of them.
func Wildcard(pattern, s string) bool {
	p := compilePattern(pattern, true, false)
	return p.match(s, new(evaluation))
}

// ARNLike reports whether an ARN matches a pattern as ArnLike does: each of the
// six parts between colons for itself, so that a wildcard does not go beyond
// its part. A pattern or ARN with fewer parts matches nothing.
func ARNLike(pattern, arn string) bool {
	p := compileARN(pattern, false, false)
	return p.matchText(arn, new(evaluation))
}

// A pattern is text with wildcards and policy variables, compiled: segments
// that stand between stars. Each segment is looked for once, from left to
// right, so there is nothing to go back to.
type pattern struct {
	kind       patternKind
	open, tail bool      // stars before the first and after the last segment
	text       string    // of an exact pattern, or of a prefix
	segments   []segment // of any other
}

type patternKind uint8

const (
	exact      patternKind = iota
	prefix                 // a literal and a star
	everything             // stars alone
	segmented
)

// A segment is literals, single wildcards and variables in a row.
type segment struct {
	parts  []part
	finder *finder // for a segment between stars with '?', without variables
}

type part struct {
	literal  string
	one      bool // '?'
	variable *variable
}

// A variable is a policy variable.
type variable struct {
	key        Key
	fallback   string
	hasDefault bool
}

// compilePattern compiles a text. Without wildcards, '*' and '?' are characters
// like others, and without variables '$' is.
func compilePattern(s string, wildcards, variables bool) pattern {
	var p pattern
	if (!wildcards || !strings.ContainsAny(s, "*?")) && (!variables || !strings.Contains(s, "${")) {
		p.text = s
		return p
	}
	var parts []part
	var literal []byte
	end := func() { // of a literal
		if len(literal) > 0 {
			parts = append(parts, part{literal: string(literal)})
			literal = literal[:0]
		}
	}
	star := false
	for len(s) > 0 {
		i := 0
		for i < len(s) && !(wildcards && (s[i] == '*' || s[i] == '?')) && !(variables && s[i] == '$') {
			i++
		}
		if i > 0 {
			literal = append(literal, s[:i]...)
			star = false
			s = s[i:]
			continue
		}
		switch s[0] {
		case '*':
			end()
			if len(parts) > 0 {
				p.segments = append(p.segments, segment{parts: slices.Clip(parts)})
				parts = nil
			} else if len(p.segments) == 0 {
				p.open = true
			}
			star = true
			s = s[1:]
			continue
		case '?':
			end()
			parts = append(parts, part{one: true})
			s = s[1:]
		case '$':
			v, n := readVariable(s)
			switch {
			case n > 0 && v != nil:
				end()
				parts = append(parts, part{variable: v})
			case n > 0: // ${*}, ${?}, ${$}
				literal = append(literal, s[2])
			default:
				literal = append(literal, '$')
				n = 1
				// What begins like a variable and does not end is text, and so
				// is all that follows.
				variables = !strings.HasPrefix(s, "${")
			}
			s = s[n:]
		}
		star = false
	}
	end()
	if len(parts) > 0 {
		p.segments = append(p.segments, segment{parts: slices.Clip(parts)})
	}
	p.tail = star
	p.simplify()
	return p
}

// simplify finds the kind of a pattern that was taken apart.
func (p *pattern) simplify() {
	p.kind = segmented
	switch {
	case len(p.segments) == 0: // stars alone
		p.kind = everything
		return
	case len(p.segments) == 1 && len(p.segments[0].parts) == 1 && p.segments[0].parts[0].literal != "" && !p.open:
		p.text, p.kind = p.segments[0].parts[0].literal, exact
		if p.tail {
			p.kind = prefix
		}
		p.segments = nil
		return
	}
	for i := range p.segments {
		if i == 0 && !p.open || i == len(p.segments)-1 && !p.tail {
			continue // stands at an end, and is not looked for
		}
		p.segments[i].finder = newFinder(p.segments[i].parts)
	}
}

// readVariable reads the policy variable at the start of a text, and returns it
// with its length; nil for one that stands for its own character, and no length
// if there is no variable.
func readVariable(s string) (*variable, int) {
	if !strings.HasPrefix(s, "${") {
		return nil, 0
	}
	i := strings.IndexByte(s, '}')
	if i < 0 {
		return nil, 0
	}
	name := strings.TrimSpace(s[2:i])
	if name == "*" || name == "?" || name == "$" {
		if i == 3 {
			return nil, 4
		}
	}
	v := new(variable)
	if j := strings.IndexByte(name, ','); j >= 0 {
		d := strings.TrimSpace(name[j+1:])
		if len(d) >= 2 && d[0] == '\'' && strings.IndexByte(d[1:], '\'') == len(d)-2 {
			name, v.fallback, v.hasDefault = strings.TrimSpace(name[:j]), d[1:len(d)-1], true
		}
	}
	v.key = ParseKey(name)
	return v, i + 1
}

// text returns what a variable stands for.
func (v *variable) text(c Context) (string, bool) {
	if c != nil {
		if have := c.Value(&v.key); have.Exists() && have.kind != listed {
			return have.render(), true
		}
	}
	return v.fallback, v.hasDefault
}

// match reports whether the whole of s matches. The evaluation gives the values
// of variables, and counts the work.
func (p *pattern) match(s string, e *evaluation) bool {
	switch p.kind {
	case exact:
		return s == p.text
	case prefix:
		return strings.HasPrefix(s, p.text)
	case everything:
		return true
	}
	return p.matchSegments(s, e, false)
}

// equalFold reports whether s equals a pattern without wildcards, but for the
// case of ASCII letters.
func (p *pattern) equalFold(s string, e *evaluation) bool {
	if p.kind == exact {
		return equalFoldASCII(s, p.text)
	}
	return p.matchSegments(s, e, true)
}

func (p *pattern) matchSegments(s string, e *evaluation, fold bool) bool {
	// A variable without a value makes a pattern that matches nothing, so all
	// of them are looked at first.
	var few [4]string
	values := few[:0]
	for i := range p.segments {
		for _, q := range p.segments[i].parts {
			if q.variable == nil {
				continue
			}
			e.work += workVariable
			text, ok := q.variable.text(e.context)
			if !ok {
				return false
			}
			values = append(values, text)
		}
	}
	first, last := 0, len(p.segments)
	if !p.open {
		seg := &p.segments[0]
		n := seg.variables()
		rest, _, ok := seg.front(s, values[:n], fold)
		if !ok {
			return false
		}
		s, values = rest, values[n:]
		first++
		if first == last {
			return p.tail || s == ""
		}
	}
	if !p.tail {
		last--
		seg := &p.segments[last]
		n := len(values) - seg.variables()
		rest, ok := seg.back(s, values[n:])
		if !ok {
			return false
		}
		s, values = rest, values[:n]
	}
	for i := first; i < last; i++ {
		seg := &p.segments[i]
		n := seg.variables()
		end := seg.find(s, values[:n], e)
		if end < 0 {
			return false
		}
		s, values = s[end:], values[n:]
	}
	return true
}

// variables counts the variables of a segment.
func (s *segment) variables() int {
	n := 0
	for i := range s.parts {
		if s.parts[i].variable != nil {
			n++
		}
	}
	return n
}

// front takes the segment from the start of s, with the values of its variables.
// It also returns how many of its parts it looked at.
func (s *segment) front(t string, values []string, fold bool) (rest string, n int, ok bool) {
	for i := range s.parts {
		q := &s.parts[i]
		literal := q.literal
		switch {
		case q.one:
			if t == "" {
				return "", i + 1, false
			}
			_, n := utf8.DecodeRuneInString(t)
			t = t[n:]
			continue
		case q.variable != nil:
			literal, values = values[0], values[1:]
		}
		if len(t) < len(literal) || t[:len(literal)] != literal && !(fold && equalFoldASCII(t[:len(literal)], literal)) {
			return "", i + 1, false
		}
		t = t[len(literal):]
	}
	return t, len(s.parts), true
}

// back takes the segment from the end of s.
func (s *segment) back(t string, values []string) (rest string, ok bool) {
	for i := len(s.parts) - 1; i >= 0; i-- {
		q := &s.parts[i]
		literal := q.literal
		switch {
		case q.one:
			if t == "" {
				return "", false
			}
			_, n := utf8.DecodeLastRuneInString(t)
			t = t[:len(t)-n]
			continue
		case q.variable != nil:
			literal, values = values[len(values)-1], values[:len(values)-1]
		}
		if !strings.HasSuffix(t, literal) {
			return "", false
		}
		t = t[:len(t)-len(literal)]
	}
	return t, true
}

// find returns where the first place of the segment in s ends; -1 for none.
func (s *segment) find(t string, values []string, e *evaluation) int {
	if s.finder != nil {
		return s.finder.find(t, e)
	}
	if len(s.parts) == 1 && s.parts[0].literal != "" {
		i := strings.Index(t, s.parts[0].literal)
		if i < 0 {
			e.work += len(t) / bytesSearched
			return -1
		}
		e.work += i / bytesSearched
		return i + len(s.parts[0].literal)
	}
	if len(values) > 0 {
		return s.resolve(t, values, e)
	}
	for i := 0; ; {
		rest, looked, ok := s.front(t[i:], nil, false)
		e.work += looked
		if ok {
			return len(t) - len(rest)
		}
		if i == len(t) {
			return -1
		}
		_, n := utf8.DecodeRuneInString(t[i:])
		i += n
	}
}

// resolve finds the segment with the values of its variables put in.
func (s *segment) resolve(t string, values []string, e *evaluation) int {
	length := 0
	for _, q := range s.parts {
		length += len(q.literal)
	}
	for _, v := range values {
		length += len(v)
	}
	if length > len(t) {
		return -1
	}
	e.work += length
	var r segment
	literal := make([]byte, 0, length)
	end := func() {
		if len(literal) > 0 {
			r.parts = append(r.parts, part{literal: string(literal)})
			literal = literal[:0]
		}
	}
	for _, q := range s.parts {
		switch {
		case q.one:
			end()
			r.parts = append(r.parts, q)
		case q.variable != nil:
			literal = append(literal, values[0]...)
			values = values[1:]
		default:
			literal = append(literal, q.literal...)
		}
	}
	end()
	if r.finder = newFinder(r.parts); r.finder != nil {
		e.work += 4 * length // its characters are sorted
	}
	return r.find(t, nil, e)
}

// A finder finds a long segment with single wildcards in time linear in the text
// for each 64 characters of the segment: the shift-and algorithm. Bit i of the
// state says that the first i+1 characters of the segment match the text read
// so far. It takes memory linear in the segment.
type finder struct {
	length int
	any    []uint64 // where wildcards stand
	runes  []rune   // the characters of the segment, each once, in order
	first  []int    // for each of them, its first place; one more for the end
	places []place64
}

// place64 says where in 64 characters of a segment one stands.
type place64 struct {
	word int
	bits uint64
}

// shortSegment is the length of a segment, in characters, up to which it is
// tried everywhere. Since each place in a text is tried for one segment alone,
// that takes linear time, too, and no memory.
const shortSegment = 16

// newFinder returns a finder for a long segment without variables, else nil.
func newFinder(parts []part) *finder {
	type standing struct {
		r  rune
		at int
	}
	length, ones := 0, false
	for _, q := range parts {
		switch {
		case q.variable != nil:
			return nil
		case q.one:
			ones = true
			length++
		default:
			length += utf8.RuneCountInString(q.literal)
		}
	}
	if !ones || length <= shortSegment {
		return nil
	}
	f := finder{length: length, any: make([]uint64, (length+63)/64)}
	var all []standing
	at := 0
	for _, q := range parts {
		if q.one {
			f.any[at/64] |= 1 << (at % 64)
			at++
			continue
		}
		for _, r := range q.literal {
			all = append(all, standing{r, at})
			at++
		}
	}
	slices.SortStableFunc(all, func(a, b standing) int { return int(a.r) - int(b.r) })
	for i, s := range all {
		if i == 0 || all[i-1].r != s.r {
			f.runes = append(f.runes, s.r)
			f.first = append(f.first, len(f.places))
		}
		if n := len(f.places); n > f.first[len(f.first)-1] && f.places[n-1].word == s.at/64 {
			f.places[n-1].bits |= 1 << (s.at % 64)
		} else {
			f.places = append(f.places, place64{s.at / 64, 1 << (s.at % 64)})
		}
	}
	f.first = append(f.first, len(f.places))
	return &f
}

func (f *finder) find(s string, e *evaluation) int {
	if f.length > len(s) {
		return -1
	}
	var few [2][16]uint64
	state, shifted := few[0][:], few[1][:]
	if len(f.any) > len(state) {
		state, shifted = make([]uint64, len(f.any)), make([]uint64, len(f.any))
	}
	last := f.length - 1
	each := 4 + len(f.any)/2 // work
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		i += n
		e.work += each
		carry := uint64(1)
		for w, any := range f.any {
			shifted[w] = state[w]<<1 | carry
			carry = state[w] >> 63
			state[w] = shifted[w] & any
		}
		// A byte that is not UTF-8 is a character that is in no pattern.
		if r != utf8.RuneError || n > 1 {
			if j, ok := slices.BinarySearch(f.runes, r); ok {
				for _, p := range f.places[f.first[j]:f.first[j+1]] {
					state[p.word] |= shifted[p.word] & p.bits
				}
			}
		}
		if state[last/64]>>(last%64)&1 != 0 {
			return i
		}
	}
	return -1
}

// An arnPattern is the pattern of an ARN.
type arnPattern struct {
	kind arnKind
	// Joined: the text, then for each gap anything up to the next colon and the
	// literal that follows, then the end.
	text string
	gaps []string    // each begins with the colon
	end  patternKind // exact: nothing; prefix: anything; segmented: rest
	rest pattern     // of what is left of the sixth part
	// Apart: the first five parts, and the sixth as rest.
	parts []pattern
}

type arnKind uint8

const (
	arnNothing  arnKind = iota // matches nothing
	arnAnything                // matches everything
	arnJoined                  // the first five parts are literals or "*"
	arnApart                   // any other
)

// compileARN compiles the pattern of an ARN. Variables are looked for in all of
// its parts, or in the last alone. A pattern with fewer than six parts matches
// nothing.
func compileARN(s string, variables, lastOnly bool) arnPattern {
	var ends [5]int
	n := 0
	dollars := variables || lastOnly
	for i := 0; i < len(s) && n < len(ends); i++ {
		switch {
		case s[i] == ':':
			ends[n] = i
			n++
		case s[i] == '$' && dollars:
			// Colons in the name of a variable are none of the ARN's.
			if _, length := readVariable(s[i:]); length > 0 {
				i += length - 1
			} else {
				dollars = !strings.HasPrefix(s[i:], "${") // see compilePattern
			}
		}
	}
	if n < len(ends) {
		return arnPattern{}
	}
	p := arnPattern{kind: arnJoined, rest: compilePattern(s[ends[4]+1:], true, variables || lastOnly)}
	start := 0
	for _, end := range ends {
		q := compilePattern(s[start:end], true, variables)
		p.parts = append(p.parts, q)
		if q.kind != exact && q.kind != everything {
			p.kind = arnApart
		}
		start = end + 1
	}
	if p.kind == arnApart {
		return p
	}
	var literal []byte
	first := true
	end := func() {
		if first {
			p.text, first = string(literal), false
		} else {
			p.gaps = append(p.gaps, string(literal))
		}
		literal = literal[:0]
	}
	for _, q := range p.parts {
		if q.kind == everything {
			end()
		}
		literal = append(append(literal, q.text...), ':')
	}
	p.parts = nil
	switch p.end = p.rest.kind; p.end {
	case exact, prefix:
		literal = append(literal, p.rest.text...)
		p.rest = pattern{}
	case everything:
		p.end, p.rest = prefix, pattern{}
	}
	end()
	return p
}

// An arn is a text that is taken apart when somebody wants to know.
type arn struct {
	text  string
	state uint8  // 0: not yet; 1: it has six parts; 2: it has not
	ends  [5]int // places of its first five colons
}

// split reports whether the text has six parts.
func (a *arn) split() bool {
	if a.state == 0 {
		a.state = 2
		start := 0
		for i := range a.ends {
			j := strings.IndexByte(a.text[start:], ':')
			if j < 0 {
				return false
			}
			a.ends[i] = start + j
			start += j + 1
		}
		a.state = 1
	}
	return a.state == 1
}

// matchText reports whether a text matches.
func (p *arnPattern) matchText(s string, e *evaluation) bool {
	a := arn{text: s}
	return p.match(&a, e)
}

// match reports whether the ARN matches.
func (p *arnPattern) match(a *arn, e *evaluation) bool {
	switch p.kind {
	case arnAnything:
		return true
	case arnJoined:
		s := a.text
		if !strings.HasPrefix(s, p.text) {
			return false
		}
		s = s[len(p.text):]
		for _, literal := range p.gaps {
			i := strings.IndexByte(s, ':')
			if i < 0 || !strings.HasPrefix(s[i:], literal) {
				return false
			}
			s = s[i+len(literal):]
		}
		switch p.end {
		case exact:
			return s == ""
		case prefix:
			return true
		}
		return p.rest.match(s, e)
	case arnApart:
		if !a.split() {
			return false
		}
		start := 0
		for i := range p.parts {
			if !p.parts[i].match(a.text[start:a.ends[i]], e) {
				return false
			}
			start = a.ends[i] + 1
		}
		return p.rest.match(a.text[start:], e)
	}
	return false
}

// equalFoldASCII reports whether two texts are the same but for the case of
// ASCII letters.
func equalFoldASCII(s, t string) bool {
	if len(s) != len(t) {
		return false
	}
	for i := range len(s) {
		if s[i] != t[i] && lower(s[i]) != lower(t[i]) {
			return false
		}
	}
	return true
}

// lowerASCII returns s with its ASCII letters in lower case. Names in policies
// are ASCII; Unicode's rules would make a "k" of the Kelvin sign.
func lowerASCII(s string) string {
	for i := range len(s) {
		if lower(s[i]) != s[i] {
			b := []byte(s)
			for ; i < len(b); i++ {
				b[i] = lower(b[i])
			}
			return string(b)
		}
	}
	return s
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}
