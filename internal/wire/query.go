package wire

import (
	"cmp"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/keyreeve/keyreeve/internal/secret"
)

// What a request of the query protocol may hold. Anything beyond is refused.
const (
	MaxParameters = 1000 // names with a value; so no list is longer
	MaxName       = 256  // bytes of a name, unescaped
)

// A Query is a request of the query protocol: a form, whose names spell where
// in the input a value stands.
//
//	Action=CreateUser&Version=2010-05-08&UserName=alice&Tags.member.1.Key=team&Tags.member.1.Value=red
//
// A list is numbered from 1 without gaps; one that is there but empty is
// "Tags=". A name may stand once. Names that nobody asks for are ignored, as
// AWS does.
//
// The first problem sticks, and [Query.Err] reports it: MalformedQueryString
// for what is no form, MalformedInput for values of another type than is asked
// for. Nothing that a Query returns shares memory with the body.
type Query struct {
	parameters []parameter // by name
	path       []byte      // "Tags.member.1." inside of a structure
	name       []byte      // of what is asked for, with its path
	err        *Error
}

type parameter struct{ name, value string }

// NewQuery returns a reader of the form in body.
func NewQuery(body []byte) Query {
	var q Query
	q.parse(body)
	return q
}

func (q *Query) parse(body []byte) {
	for rest := string(body); rest != ""; {
		var piece string
		piece, rest, _ = strings.Cut(rest, "&")
		if piece == "" {
			continue
		}
		if len(q.parameters) == MaxParameters {
			q.fail(malformedQuery("The request has more than " + strconv.Itoa(MaxParameters) + " parameters."))
			return
		}
		name, value, _ := strings.Cut(piece, "=")
		name, ok1 := unescape(name)
		value, ok2 := unescape(value)
		switch {
		case !ok1 || !ok2:
			q.fail(malformedQuery("The request is not a form of UTF-8 text."))
			return
		case len(name) > MaxName:
			q.fail(malformedQuery("The name of a parameter is too long."))
			return
		}
		q.parameters = append(q.parameters, parameter{name, value})
	}
	slices.SortFunc(q.parameters, func(a, b parameter) int { return cmp.Compare(a.name, b.name) })
	for i := 1; i < len(q.parameters); i++ {
		if q.parameters[i-1].name == q.parameters[i].name {
			q.fail(malformedQuery("A parameter stands twice."))
			return
		}
	}
}

// unescape undoes the escapes of a form. What is not UTF-8 then is refused, and
// so is a NUL.
func unescape(s string) (string, bool) {
	if strings.ContainsAny(s, "%+") {
		b := make([]byte, 0, len(s))
		for i := 0; i < len(s); i++ {
			switch c := s[i]; c {
			case '+':
				b = append(b, ' ')
			case '%':
				if i+2 >= len(s) {
					return "", false
				}
				hi, ok1 := hexDigit(s[i+1])
				lo, ok2 := hexDigit(s[i+2])
				if !ok1 || !ok2 {
					return "", false
				}
				b = append(b, hi<<4|lo)
				i += 2
			default:
				b = append(b, c)
			}
		}
		s = string(b)
	}
	return s, utf8.ValidString(s) && strings.IndexByte(s, 0) < 0
}

func hexDigit(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}

// QueryAction returns what a form asks for, both empty if it does not say:
// enough to route a request that a [Query] will read.
func QueryAction(body []byte) (action, version string) {
	for rest := body; len(rest) > 0; {
		end := len(rest)
		for i, c := range rest {
			if c == '&' {
				end = i
				break
			}
		}
		piece := rest[:end]
		rest = rest[min(end+1, len(rest)):]
		to := &action
		value, ok := cutName(piece, "Action=")
		if !ok {
			to = &version
			if value, ok = cutName(piece, "Version="); !ok {
				continue
			}
		}
		if len(value) > MaxName {
			value = value[:MaxName] // is no operation's
		}
		if *to, ok = unescape(string(value)); !ok {
			*to = ""
		}
	}
	return action, version
}

func cutName(piece []byte, name string) (value []byte, ok bool) {
	if len(piece) < len(name) || string(piece[:len(name)]) != name {
		return nil, false
	}
	return piece[len(name):], true
}

// Err returns the first problem, or nil.
func (q *Query) Err() error {
	if q.err != nil {
		return q.err
	}
	return nil
}

func (q *Query) fail(err *Error) {
	if q.err == nil {
		q.err = err
	}
	q.parameters = nil
}

// find returns where name is or would be, inside of the open structure.
func (q *Query) find(name string) (i int, ok bool) {
	q.name = append(append(q.name[:0], q.path...), name...)
	return slices.BinarySearchFunc(q.parameters, q.name, func(p parameter, name []byte) int {
		return strings.Compare(p.name, string(name))
	})
}

// String returns the value under name, and whether there is one.
func (q *Query) String(name string) (string, bool) {
	i, ok := q.find(name)
	if !ok {
		return "", false
	}
	return strings.Clone(q.parameters[i].value), true // lest one value keeps all of the form
}

// Required returns a required string. p notes if it is absent.
func (q *Query) Required(p *Presence, bit uint, name string) string {
	s, ok := q.String(name)
	p.set(bit, !ok)
	return s
}

// Optional returns an optional string. p notes if it is there, but empty.
func (q *Query) Optional(p *Presence, bit uint, name string) string {
	s, ok := q.String(name)
	p.set(bit, ok && s == "")
	return s
}

// Secret returns a sensitive string, nil if it is absent. It is the caller's to
// wipe; the form that it was sent in is not touched.
func (q *Query) Secret(name string) secret.Bytes {
	s, ok := q.String(name)
	if !ok {
		return secret.Bytes{}
	}
	return secret.New([]byte(s))
}

// Bool returns a boolean, false if it is absent.
func (q *Query) Bool(name string) bool {
	s, ok := q.String(name)
	if ok && s != "true" && s != "false" {
		q.fail(malformedInput(name + " must be true or false."))
	}
	return s == "true"
}

// Int returns a whole number, nil if it is absent.
func (q *Query) Int(name string) *int32 {
	s, ok := q.String(name)
	if !ok {
		return nil
	}
	n, err := strconv.ParseInt(s, 10, 32)
	if err != nil || s[0] == '+' {
		q.fail(malformedInput(name + " must be a 32-bit integer."))
		return nil
	}
	i := int32(n)
	return &i
}

// List returns how many items the list under name has, and whether it is there.
func (q *Query) List(name string) (n int, ok bool) {
	value, ok := q.String(name)
	if value != "" {
		q.fail(malformedInput(name + " must be a list."))
		return 0, false
	}
	first, _ := q.find(name + listInfix)
	last := first
	for last < len(q.parameters) && strings.HasPrefix(q.parameters[last].name, string(q.name)) {
		last++
	}
	if first == last {
		return 0, ok
	}
	// Each item has at least one parameter, so if there is no gap there are no
	// more items than parameters.
	seen := make([]bool, last-first)
	for _, p := range q.parameters[first:last] {
		index, _, _ := strings.Cut(p.name[len(q.name):], ".")
		i, err := strconv.Atoi(index)
		if err != nil || i < 1 || i > len(seen) || strconv.Itoa(i) != index || ok {
			q.fail(malformedInput("The items of " + name + " must be numbered from 1, without gaps."))
			return 0, false
		}
		if !seen[i-1] {
			seen[i-1] = true
			n = max(n, i)
		}
	}
	for _, there := range seen[:n] {
		if !there {
			q.fail(malformedInput("The items of " + name + " must be numbered from 1, without gaps."))
			return 0, false
		}
	}
	return n, true
}

// listInfix stands between a list's name and the number of an item.
const listInfix = ".member."

// Strings returns a list of strings; nil if it is absent.
func Strings[S ~string](q *Query, name string) []S {
	n, ok := q.List(name)
	if !ok {
		return nil
	}
	list := make([]S, 0, n)
	for i := range n {
		s, ok := q.String(name + listInfix + strconv.Itoa(i+1))
		if !ok {
			q.fail(malformedInput("The items of " + name + " must be strings."))
			return nil
		}
		list = append(list, S(s))
	}
	return list
}

// EnterItem makes what is asked for next a member of the structure at index i
// of the list under name. It returns what [Query.Leave] is to be given at the
// structure's end.
func (q *Query) EnterItem(name string, i int) int {
	n := len(q.path)
	q.path = append(append(q.path, name...), listInfix...)
	q.path = append(strconv.AppendInt(q.path, int64(i)+1, 10), '.')
	return n
}

// Leave undoes an EnterItem.
func (q *Query) Leave(n int) { q.path = q.path[:n] }

// malformedQuery is a body that is no form.
func malformedQuery(message string) *Error {
	return &Error{Code: "MalformedQueryString", Message: message, Status: http.StatusNotFound}
}

// malformedInput is a form that does not hold what an operation takes.
func malformedInput(message string) *Error { return NewError("MalformedInput", message) }

// QueryValidation is a request of the query protocol that breaks a constraint
// of the API.
func QueryValidation(message string) *Error { return NewError("ValidationError", message) }
