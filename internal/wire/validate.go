package wire

import (
	"regexp"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/keyreeve/keyreeve/internal/secret"
)

// Bounds of a ValidationException's message, so that an answer is never much
// longer than what asked for it.
const (
	// MaxEcho is how many bytes of a refused value a message repeats; the rest
	// is replaced by "…".
	MaxEcho = 1024
	// MaxViolations is how many violations a message tells; it counts those.
	MaxViolations = 10
	// maxText is after how many bytes of text no violation is added. Each adds
	// the echo and less than 1 KiB.
	maxText = 4096
)

// Violations collects which constraints of the API a request breaks, and makes
// one ValidationException of them: of the first [MaxViolations], or fewer if
// they are long. The zero value is ready to use. As long as nothing is violated
// it allocates nothing.
type Violations struct {
	n    int
	text []byte
	path []byte // "tags.1.member." inside of a structure
	name string // what QueryErr tells of a name if nothing else is violated
	mute bool   // no value is told
	// first is the constraint that the first violation breaks.
	first string
}

// HideValues has the messages repeat no value, nor tell that one is null: so
// those of IAM read. It is called before anything is checked.
func (v *Violations) HideValues() { v.mute = true }

// A Pattern is a regular expression that a whole value must match, compiled
// when it is first needed.
type Pattern struct {
	text    string
	compile func() *regexp.Regexp
}

// NewPattern returns the pattern written as text, in the syntax of the API's
// model (Java's).
func NewPattern(text string) *Pattern {
	return &Pattern{text: text, compile: sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`\A(?:` + javaUnit.ReplaceAllString(text, `\x{$1}`) + `)\z`)
	})}
}

// javaUnit is how Java writes a character by its number, which Go does not know.
var javaUnit = regexp.MustCompile(`\\u([0-9A-Fa-f]{4})`)

// String returns the pattern as the model writes it.
func (p *Pattern) String() string { return p.text }

// Match reports whether the whole of s matches.
func (p *Pattern) Match(s string) bool { return p.compile().MatchString(s) }

// Err returns the ValidationException, or nil if nothing is violated.
func (v *Violations) Err() error {
	if v.n == 0 {
		return nil
	}
	plural := "s"
	if v.n == 1 {
		plural = ""
	}
	return Validation(strconv.Itoa(v.n) + " validation error" + plural + " detected: " + string(v.text))
}

// QueryErr is [Violations.Err] in the query protocol: a ValidationError.
func (v *Violations) QueryErr() error {
	err := v.Err()
	switch {
	case err != nil:
		return QueryValidation(AsError(err).Message)
	case v.name != "":
		return QueryValidation(v.name)
	}
	return nil
}

// InvalidInput is [Violations.Err] as AWS Organizations has it: an
// InvalidInputException that tells the kind of the first violation, and neither
// the member nor its value.
func (v *Violations) InvalidInput() error {
	if v.n == 0 {
		return nil
	}
	e := NewError("InvalidInputException", "You specified an invalid value.")
	for _, k := range invalidInputs {
		if strings.HasPrefix(v.first, k.constraint) {
			e.Reason = k.reason
			if k.message != "" {
				e.Message = k.message
			}
			break
		}
	}
	return e
}

// InvalidField is [Violations.Err] as AWS Account Management has it, with a
// reason.
func (v *Violations) InvalidField() error {
	err := v.Err()
	if err == nil {
		return nil
	}
	e := AsError(err)
	e.Reason = "fieldValidationFailed"
	return e
}

// invalidInputs are the reasons of [Violations.InvalidInput] by how the
// constraint begins.
var invalidInputs = []struct{ constraint, reason, message string }{
	{textNull, "INPUT_REQUIRED", "You must specify a value for all required parameters."},
	{textPattern, "INVALID_PATTERN", "You provided a value that does not match the required pattern."},
	{textEnum, "INVALID_ENUM", ""},
	{textShort, "MIN_LENGTH_EXCEEDED", "You provided a value that is shorter than the minimum length."},
	{textLong, "MAX_LENGTH_EXCEEDED", "You provided a value that is longer than the maximum length."},
	{textSmall, "MIN_VALUE_EXCEEDED", "You provided a number that is lower than the minimum."},
	{textGreat, "MAX_VALUE_EXCEEDED", "You provided a number that is higher than the maximum."},
	{textItem, "INVALID_LIST_MEMBER", "You provided a list with an item that is not valid."},
}

// Full reports whether no more violations are told, so that there is no use in
// looking for them.
func (v *Violations) Full() bool { return v.n >= MaxViolations || len(v.text) >= maxText }

// Enter prefixes the members that follow with the structure in member name. It
// returns what [Violations.Leave] is to be given at the structure's end.
func (v *Violations) Enter(name string) int {
	n := len(v.path)
	v.path = append(append(v.path, name...), '.')
	return n
}

// EnterItem is Enter for the structure at index i of the list in member name.
func (v *Violations) EnterItem(name string, i int) int {
	n := len(v.path)
	v.path = append(append(v.path, name...), '.')
	v.path = strconv.AppendInt(v.path, int64(i)+1, 10)
	v.path = append(v.path, ".member."...)
	return n
}

// Leave undoes an Enter.
func (v *Violations) Leave(n int) { v.path = v.path[:n] }

// Missing adds that the required member name is absent.
func (v *Violations) Missing(name string) {
	if v.mute {
		v.addHidden(name, textNull)
	} else {
		v.addText("Value null at '", name, textNull)
	}
}

// Length checks the length of s in characters.
func (v *Violations) Length(name, s string, least, most int) {
	// No more characters than bytes, and no fewer than a quarter of them.
	if len(s) <= most && len(s) >= least*utf8.UTFMax {
		return
	}
	if text := lengthText(utf8.RuneCountInString(s), least, most); text != "" {
		v.add(name, s, text)
	}
}

// Pattern checks s against p.
func (v *Violations) Pattern(name, s string, p *Pattern) {
	if !p.Match(s) {
		v.add(name, s, patternText(p))
	}
}

// Name checks the characters of a name as IAM does, which tells of a wrong one
// in words of its own, and only if nothing else is violated.
func (v *Violations) Name(name, s string, p *Pattern) {
	if v.name == "" && s != "" && !p.Match(s) {
		v.name = "The specified value for " + name + " is invalid. " +
			"It must contain only alphanumeric characters and/or the following: +=,.@_-"
	}
}

// Path is [Violations.Name] for a path.
func (v *Violations) Path(name, s string, p *Pattern) {
	if v.name == "" && s != "" && !p.Match(s) {
		v.name = "The specified value for " + name + " is invalid. " +
			"It must begin and end with / and contain only alphanumeric characters and/or / characters."
	}
}

// Items checks the number of a list's items, which are structures. The message
// does not repeat them.
func (v *Violations) Items(name string, n, least, most int) {
	if text := lengthText(n, least, most); text != "" {
		v.addHidden(name, text)
	}
}

// Enum adds that s is not in the set, which is written "A, B, C".
func (v *Violations) Enum(name, s, set string) { v.add(name, s, enumText(set)) }

// Range checks a number.
func (v *Violations) Range(name string, n int32, least, most int32) {
	switch {
	case n < least:
		v.add(name, strconv.Itoa(int(n)), textSmall+strconv.Itoa(int(least)))
	case n > most:
		v.add(name, strconv.Itoa(int(n)), textGreat+strconv.Itoa(int(most)))
	}
}

// BlobLength checks the length of a blob in bytes. The message does not repeat
// the blob.
func (v *Violations) BlobLength(name string, b []byte, least, most int) {
	if text := lengthText(len(b), least, most); text != "" {
		v.addHidden(name, text)
	}
}

// SecretLength checks the length of a sensitive blob in bytes.
func (v *Violations) SecretLength(name string, s secret.Bytes, least, most int) {
	v.BlobLength(name, s.Reveal(), least, most)
}

// SecretString checks a sensitive string: its length in characters and, if p is
// not nil, its form. The message does not repeat the string.
func (v *Violations) SecretString(name string, s secret.Bytes, least, most int, p *Pattern) {
	if text := lengthText(utf8.RuneCount(s.Reveal()), least, most); text != "" {
		v.addHidden(name, text)
	}
	if p != nil && !p.compile().Match(s.Reveal()) {
		v.addHidden(name, patternText(p))
	}
}

// NoNulls checks that no value in a map is null.
func (v *Violations) NoNulls(name string, m StringMap) {
	for _, p := range m {
		if p.Value == Null {
			v.add(name, echoMap(m), "Map value must satisfy constraint: ["+textNull+"]")
			return
		}
	}
}

// NullItem adds that a list of structures has an item that is null. The message
// does not repeat the list.
func (v *Violations) NullItem(name string) {
	v.addHidden(name, textItem+textNull+"]")
}

// ListLength checks the number of a list's items.
func ListLength[S ~string](v *Violations, name string, list []S, least, most int) {
	if text := lengthText(len(list), least, most); text != "" {
		v.add(name, echoList(list), text)
	}
}

// NullItems checks that no item of a list is null. It is true if one is; then
// there is no use in checking the items further.
func NullItems[S ~string](v *Violations, name string, list []S) bool {
	for _, s := range list {
		if s == Null {
			v.add(name, echoList(list), textItem+textNull+"]")
			return true
		}
	}
	return false
}

// ItemLengths checks the length of each string in a list; p may be nil. One
// message stands for all items, as AWS has it.
func ItemLengths[S ~string](v *Violations, name string, list []S, least, most int, p *Pattern) {
	for _, s := range list {
		if lengthText(utf8.RuneCountInString(string(s)), least, most) == "" && (p == nil || p.Match(string(s))) {
			continue
		}
		text := textItem + textLong + strconv.Itoa(most) + ", " + textShort + strconv.Itoa(least)
		if p != nil {
			text += ", " + patternText(p)
		}
		v.add(name, echoList(list), text+"]")
		return
	}
}

// ItemEnums adds that a list holds a string that is not in the set, which is
// written "A, B, C".
func ItemEnums[S ~string](v *Violations, name string, list []S, set string) {
	v.add(name, echoList(list), textItem+enumText(set)+"]")
}

// How the constraints begin.
const (
	textNull    = "Member must not be null"
	textShort   = "Member must have length greater than or equal to "
	textLong    = "Member must have length less than or equal to "
	textSmall   = "Member must have value greater than or equal to "
	textGreat   = "Member must have value less than or equal to "
	textEnum    = "Member must satisfy enum value set: ["
	textPattern = "Member must satisfy regular expression pattern: "
	textItem    = "Member must satisfy constraint: ["
)

func lengthText(n, least, most int) string {
	switch {
	case n < least:
		return textShort + strconv.Itoa(least)
	case n > most:
		return textLong + strconv.Itoa(most)
	}
	return ""
}

func enumText(set string) string { return textEnum + set + "]" }

func patternText(p *Pattern) string {
	return textPattern + p.text
}

// begin begins the text of one more violation, unless it is one too many.
func (v *Violations) begin(value, name string) bool {
	if v.Full() {
		return false
	}
	if v.n > 0 {
		v.text = append(v.text, "; "...)
	}
	v.n++
	v.text = append(v.text, value...)
	v.text = append(v.text, v.path...)
	v.text = append(v.text, name...)
	v.text = append(v.text, "' failed to satisfy constraint: "...)
	return true
}

func (v *Violations) add(name, value, constraint string) {
	if v.mute {
		v.addHidden(name, constraint)
	} else {
		v.addText("Value '"+echo(value)+"' at '", name, constraint)
	}
}

func (v *Violations) addHidden(name, constraint string) { v.addText("Value at '", name, constraint) }

func (v *Violations) addText(value, name, constraint string) {
	if v.n == 0 {
		v.first = constraint
	}
	if v.begin(value, name) {
		v.text = append(v.text, constraint...)
	}
}

func echo(s string) string {
	if len(s) <= MaxEcho {
		return s
	}
	n := MaxEcho
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}

func echoList[S ~string](list []S) string {
	var b strings.Builder
	b.WriteByte('[')
	for i, s := range list {
		if i > 0 {
			b.WriteString(", ")
		}
		if b.Len() > MaxEcho {
			break
		}
		b.WriteString(shown(string(s)))
	}
	b.WriteByte(']')
	return b.String()
}

// echoMap is the map as AWS prints one: "{a=b, c=null}".
func echoMap(m StringMap) string {
	var b strings.Builder
	b.WriteByte('{')
	for i, p := range m {
		if i > 0 {
			b.WriteString(", ")
		}
		if b.Len() > MaxEcho {
			break
		}
		b.WriteString(p.Name)
		b.WriteByte('=')
		b.WriteString(shown(p.Value))
	}
	b.WriteByte('}')
	return b.String()
}

// shown is a string of a list or map as messages show it.
func shown(s string) string {
	if s == Null {
		return "null"
	}
	return s
}
