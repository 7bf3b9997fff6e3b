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
//
// It is kept small, since whoever writes a policy of nothing but patterns
// decides how many there are: what the text itself tells fast enough when it is
// asked is not taken apart.
type pattern struct {
	kind  patternKind
	text  string    // of an exact pattern, a prefix, or one that is scanned
	apart *segments // of any other
}

type patternKind uint8

const (
	exact      patternKind = iota
	prefix                 // a literal and a star
	everything             // stars alone
	scanned                // without variables and long segments between stars with '?'
	segmented
)

// segments are a pattern that was taken apart.
type segments struct {
	open, tail bool // stars before the first and after the last segment
	list       []segment
}

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
	variables = variables && strings.Contains(s, "${")
	if !variables {
		i := -1
		if wildcards {
			i = strings.IndexAny(s, "*?")
		}
		switch {
		case i < 0:
			return pattern{text: s}
		case strings.Trim(s[i:], "*") != "":
			if scannable(s) {
				return pattern{kind: scanned, text: s}
			}
		case i == 0:
			return pattern{kind: everything}
		default:
			return pattern{kind: prefix, text: s[:i]}
		}
	}
	var p segments
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
				p.list = append(p.list, segment{parts: exactly(parts)})
				parts = nil
			} else if len(p.list) == 0 {
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
		p.list = append(p.list, segment{parts: exactly(parts)})
	}
	p.list = exactly(p.list)
	p.tail = star
	return p.simplify()
}

// exactly returns a list without room for more.
func exactly[E any](list []E) []E {
	if len(list) == cap(list) {
		return list
	}
	if len(list) == 0 {
		return nil
	}
	return append(make([]E, 0, len(list)), list...)
}

// simplify finds the kind of a pattern that was taken apart.
func (p *segments) simplify() pattern {
	switch {
	case len(p.list) == 0: // stars alone
		return pattern{kind: everything}
	case len(p.list) == 1 && len(p.list[0].parts) == 1 && p.list[0].parts[0].literal != "" && !p.open:
		q := pattern{kind: exact, text: p.list[0].parts[0].literal}
		if p.tail {
			q.kind = prefix
		}
		return q
	}
	for i := range p.list {
		if i == 0 && !p.open || i == len(p.list)-1 && !p.tail {
			continue // stands at an end, and is not looked for
		}
		p.list[i].finder = newFinder(p.list[i].parts)
	}
	return pattern{kind: segmented, apart: p}
}

// scannable reports whether a pattern without variables is found fast enough by
// its text: none of its segments between two stars needs a finder.
func scannable(s string) bool {
	i := strings.IndexByte(s, '*')
	if i < 0 {
		return true
	}
	for s = s[i+1:]; ; s = s[i+1:] {
		if i = strings.IndexByte(s, '*'); i < 0 {
			return true
		}
		if i > shortSegment && strings.IndexByte(s[:i], '?') >= 0 && utf8.RuneCountInString(s[:i]) > shortSegment {
			return false
		}
	}
}

// scan reports whether s matches a pattern without variables, given by its text.
func scan(p, s string, e *evaluation) bool {
	i := strings.IndexByte(p, '*')
	if i < 0 {
		rest, _, ok := scanFront(p, s)
		return ok && rest == ""
	}
	s, _, ok := scanFront(p[:i], s)
	if !ok {
		return false
	}
	p = p[i+1:]
	last := strings.LastIndexByte(p, '*') + 1
	if s, ok = scanBack(p[last:], s); !ok {
		return false
	}
	for p = p[:last]; p != ""; {
		i := strings.IndexByte(p, '*')
		end := scanFor(p[:i], s, e)
		if end < 0 {
			return false
		}
		s, p = s[end:], p[i+1:]
	}
	return true
}

// scanFront takes a segment, given by its text, from the start of t. It also
// returns how many of its parts it looked at.
func scanFront(p, t string) (rest string, looked int, ok bool) {
	for ; p != ""; looked++ {
		if p[0] == '?' {
			if t == "" {
				return "", looked + 1, false
			}
			_, n := utf8.DecodeRuneInString(t)
			t, p = t[n:], p[1:]
			continue
		}
		n := strings.IndexByte(p, '?')
		if n < 0 {
			n = len(p)
		}
		if !strings.HasPrefix(t, p[:n]) {
			return "", looked + 1, false
		}
		t, p = t[n:], p[n:]
	}
	return t, looked, true
}

// scanBack takes a segment from the end of t.
func scanBack(p, t string) (rest string, ok bool) {
	for p != "" {
		if p[len(p)-1] == '?' {
			if t == "" {
				return "", false
			}
			_, n := utf8.DecodeLastRuneInString(t)
			t, p = t[:len(t)-n], p[:len(p)-1]
			continue
		}
		n := strings.LastIndexByte(p, '?') + 1
		if !strings.HasSuffix(t, p[n:]) {
			return "", false
		}
		t, p = t[:len(t)-len(p)+n], p[:n]
	}
	return t, true
}

// scanFor returns where the first place of a segment in t ends; -1 for none.
func scanFor(p, t string, e *evaluation) int {
	if strings.IndexByte(p, '?') < 0 {
		return findLiteral(p, t, e)
	}
	for i := 0; ; {
		rest, looked, ok := scanFront(p, t[i:])
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

// findLiteral returns where the first place of a text in t ends; -1 for none.
func findLiteral(literal, t string, e *evaluation) int {
	i := strings.Index(t, literal)
	if i < 0 {
		e.work += len(t) / bytesSearched
		return -1
	}
	e.work += i / bytesSearched
	return i + len(literal)
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
	case scanned:
		return scan(p.text, s, e)
	}
	return p.apart.match(s, e, false)
}

// equalFold reports whether s equals a pattern without wildcards, but for the
// case of ASCII letters.
func (p *pattern) equalFold(s string, e *evaluation) bool {
	if p.kind == exact {
		return equalFoldASCII(s, p.text)
	}
	return p.apart.match(s, e, true)
}

func (p *segments) match(s string, e *evaluation, fold bool) bool {
	// A variable without a value makes a pattern that matches nothing, so all
	// of them are looked at first.
	var few [4]string
	values := few[:0]
	for i := range p.list {
		for _, q := range p.list[i].parts {
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
	first, last := 0, len(p.list)
	if !p.open {
		seg := &p.list[0]
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
		seg := &p.list[last]
		n := len(values) - seg.variables()
		rest, ok := seg.back(s, values[n:])
		if !ok {
			return false
		}
		s, values = rest, values[:n]
	}
	for i := first; i < last; i++ {
		seg := &p.list[i]
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
		return findLiteral(s.parts[0].literal, t, e)
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
	any    []uint64  // where wildcards stand
	places []place64 // of all other characters, ordered by character and word
}

// place64 says where in 64 characters of a segment one stands.
type place64 struct {
	bits uint64
	r    rune
	word int32
}

// shortSegment is the length of a segment, in characters, up to which it is
// tried everywhere. Since each place in a text is tried for one segment alone,
// that takes linear time, too, and no memory.
const shortSegment = 16

// newFinder returns a finder for a long segment without variables, else nil.
func newFinder(parts []part) *finder {
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
	all := make([]place64, 0, length)
	at := 0
	for _, q := range parts {
		if q.one {
			f.any[at/64] |= 1 << (at % 64)
			at++
			continue
		}
		for _, r := range q.literal {
			all = append(all, place64{1 << (at % 64), r, int32(at / 64)})
			at++
		}
	}
	slices.SortStableFunc(all, func(a, b place64) int { return int(a.r) - int(b.r) })
	for _, p := range all {
		if n := len(f.places); n > 0 && f.places[n-1].r == p.r && f.places[n-1].word == p.word {
			f.places[n-1].bits |= p.bits
		} else {
			f.places = append(f.places, p)
		}
	}
	f.places = exactly(f.places)
	return &f
}

// from returns the index of the first place of a character, or where it would
// be.
func (f *finder) from(r rune) int {
	low, high := 0, len(f.places)
	for low < high {
		if i := int(uint(low+high) >> 1); f.places[i].r < r {
			low = i + 1
		} else {
			high = i
		}
	}
	return low
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
			for j := f.from(r); j < len(f.places) && f.places[j].r == r; j++ {
				p := &f.places[j]
				state[p.word] |= shifted[p.word] & p.bits
			}
		}
		if state[last/64]>>(last%64)&1 != 0 {
			return i
		}
	}
	return -1
}

// An arnPattern is the pattern of an ARN. Most have few wildcards among their
// first five parts, and are joined: a text, then for each gap anything up to the
// next colon and the literal that follows, then the end.
type arnPattern struct {
	kind  arnKind
	end   patternKind // of joined ones. exact: nothing; prefix: anything; else: rest
	count uint8       // of gaps
	text  string      // before the first gap; of scanned ones, the whole pattern
	gaps  [2]string   // each begins with the colon
	apart *arnParts   // of joined ones with a rest, and of those that are apart
}

// arnParts are the parts of an ARN's pattern.
type arnParts struct {
	first []pattern // the first five; none of a joined pattern
	rest  pattern   // the sixth
}

type arnKind uint8

const (
	arnNothing  arnKind = iota // matches nothing
	arnAnything                // matches everything
	arnJoined                  // the first five parts are literals, but for up to two that are "*"
	arnScanned                 // without variables and long segments between stars with '?'
	arnApart                   // any other
)

// compileARN compiles the pattern of an ARN. Variables are looked for in all of
// its parts, or in the last alone. A pattern with fewer than six parts matches
// nothing.
func compileARN(s string, variables, lastOnly bool) arnPattern {
	dollars := (variables || lastOnly) && strings.Contains(s, "${")
	ends, ok := arnEnds(s, dollars)
	if !ok {
		return arnPattern{}
	}
	variables = variables && dollars
	var parts [5]pattern
	start, gaps, literals := 0, 0, true
	for i, end := range ends {
		parts[i] = compilePattern(s[start:end], true, variables)
		switch parts[i].kind {
		case exact:
			// One with an escape in it is not what it says.
			literals = literals && len(parts[i].text) == end-start
		case everything:
			gaps++
		default:
			literals = false
		}
		start = end + 1
	}
	rest := compilePattern(s[start:], true, dollars)
	if literals && gaps <= len(arnPattern{}.gaps) {
		return joinARN(s, ends, &parts, rest)
	}
	plain := rest.kind != segmented
	for i := range parts {
		plain = plain && parts[i].kind != segmented
	}
	if plain && !dollars {
		return arnPattern{kind: arnScanned, text: s}
	}
	return arnPattern{kind: arnApart, apart: &arnParts{append(make([]pattern, 0, len(parts)), parts[:]...), rest}}
}

// arnEnds returns the places of the five colons that end the first five parts
// of an ARN's pattern.
func arnEnds(s string, dollars bool) (ends [5]int, ok bool) {
	n := 0
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
	return ends, n == len(ends)
}

// joinARN joins the parts of a pattern. All its texts are parts of the
// pattern's, unless there are escapes in the last part.
func joinARN(s string, ends [5]int, parts *[5]pattern, rest pattern) arnPattern {
	p := arnPattern{kind: arnJoined, end: rest.kind}
	cut, start := 0, 0
	literal := func(text string) {
		if cut == 0 {
			p.text = text
		} else {
			p.gaps[p.count] = text
			p.count++
		}
	}
	for i, end := range ends {
		if parts[i].kind == everything {
			literal(s[cut:start])
			cut = end
		}
		start = end + 1
	}
	switch p.end {
	case exact, prefix:
		if text := s[start:]; strings.HasPrefix(text, rest.text) {
			literal(s[cut : start+len(rest.text)])
		} else {
			literal(s[cut:start] + rest.text)
		}
	case everything:
		p.end = prefix
		literal(s[cut:start])
	default:
		p.apart = &arnParts{rest: rest}
		literal(s[cut:start])
	}
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
		for _, literal := range p.gaps[:p.count] {
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
		return p.apart.rest.match(s, e)
	case arnScanned:
		if !a.split() {
			return false
		}
		start, text := 0, p.text
		for _, end := range a.ends {
			i := strings.IndexByte(text, ':')
			if !scan(text[:i], a.text[start:end], e) {
				return false
			}
			start, text = end+1, text[i+1:]
		}
		return scan(text, a.text[start:], e)
	case arnApart:
		if !a.split() {
			return false
		}
		start := 0
		for i := range p.apart.first {
			if !p.apart.first[i].match(a.text[start:a.ends[i]], e) {
				return false
			}
			start = a.ends[i] + 1
		}
		return p.apart.rest.match(a.text[start:], e)
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
