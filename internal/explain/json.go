package explain

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A reader reads the JSON of one line. The first mistake sticks, and every
// method after it returns its zero value.
//
// The text is walked, and not decoded into structs: so unknown members, members
// that stand twice and members in another case are mistakes, what is wrong is
// told in our own words, and a policy keeps the text that its author wrote.
type reader struct {
	files *files
	err   error
}

// mistake is what is wrong with a line, for a person.
func (r *reader) mistake(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf(format, args...)
	}
}

// fail is a mistake with an error inside.
func (r *reader) fail(what string, err error) { r.mistake("%s: %w", what, err) }

// field reads the value of one member of an object.
type field struct {
	name string
	read func(raw json.RawMessage)
}

// member is a member of an object, as it stands.
type member struct {
	name string
	raw  json.RawMessage
}

// members takes an object apart.
func (r *reader) members(raw json.RawMessage, what string) []member {
	if r.err != nil {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		r.mistake("%s is an object, and this is not: %s", what, excerpt(raw))
		return nil
	}
	var list []member
	for d.More() {
		t, err := d.Token()
		name, ok := t.(string)
		if err != nil || !ok {
			r.mistake("%s is not JSON", what)
			return nil
		}
		m := member{name: name}
		if err := d.Decode(&m.raw); err != nil {
			r.mistake("%s is not JSON", what)
			return nil
		}
		if slices.ContainsFunc(list, func(have member) bool { return have.name == name }) {
			r.mistake("%s has %s twice", what, quote(name))
			return nil
		}
		if len(list) == maxMembers {
			r.mistake("%s has more than %d members", what, maxMembers)
			return nil
		}
		list = append(list, m)
	}
	return list
}

// object reads an object with known members. A null is a member that is not
// there.
func (r *reader) object(raw json.RawMessage, what string, fields ...field) {
	for _, m := range r.members(raw, what) {
		i := slices.IndexFunc(fields, func(f field) bool { return f.name == m.name })
		if i < 0 {
			r.mistake("%s has no member %s; it has %s", what, quote(m.name), names(fields))
			return
		}
		if !isNull(m.raw) {
			fields[i].read(m.raw)
		}
	}
}

// items takes a list apart.
func (r *reader) items(raw json.RawMessage, what string, most int) []json.RawMessage {
	if r.err != nil {
		return nil
	}
	if kindOf(raw) != '[' {
		r.mistake("%s is a list, and this is not: %s", what, excerpt(raw))
		return nil
	}
	var list []json.RawMessage
	if err := json.Unmarshal(raw, &list); err != nil {
		r.mistake("%s is not JSON", what)
		return nil
	}
	if len(list) > most {
		r.mistake("%s has more than %d items", what, most)
		return nil
	}
	return list
}

// oneOrMore is items, for what may be written without a list if it is one.
func (r *reader) oneOrMore(raw json.RawMessage, what string, most int) []json.RawMessage {
	if kindOf(raw) != '[' {
		return []json.RawMessage{raw}
	}
	return r.items(raw, what, most)
}

// text reads a string of up to most bytes.
func (r *reader) text(raw json.RawMessage, what string, most int) string {
	if r.err != nil {
		return ""
	}
	var s string
	if kindOf(raw) != '"' || json.Unmarshal(raw, &s) != nil {
		r.mistake("%s is a string, and this is not: %s", what, excerpt(raw))
		return ""
	}
	if len(s) > most {
		r.mistake("%s is longer than %d bytes", what, most)
		return ""
	}
	return s
}

// set returns a field that is a string.
func (r *reader) set(name string, to *string) field {
	return field{name, func(raw json.RawMessage) { *to = r.text(raw, name, maxString) }}
}

// texts reads a string, or a list of strings.
func (r *reader) texts(raw json.RawMessage, what string) []string {
	var list []string
	for _, item := range r.oneOrMore(raw, what, maxMembers) {
		list = append(list, r.text(item, what, maxString))
	}
	return list
}

// flag reads true or false.
func (r *reader) flag(raw json.RawMessage, what string) bool {
	switch string(raw) {
	case "true":
		return true
	case "false":
		return false
	}
	r.mistake("%s is true or false, and this is not: %s", what, excerpt(raw))
	return false
}

// number reads a number.
func (r *reader) number(raw json.RawMessage, what string) float64 {
	n, err := strconv.ParseFloat(string(raw), 64)
	if err != nil {
		r.mistake("%s is a number, and this is not: %s", what, excerpt(raw))
	}
	return n
}

// pairs reads an object of strings, in its order.
func (r *reader) pairs(raw json.RawMessage, what string) []pair {
	var list []pair
	for _, m := range r.members(raw, what) {
		list = append(list, pair{m.name, r.text(m.raw, what+" "+quote(m.name), maxString)})
	}
	return list
}

type pair struct{ name, value string }

// syntax returns what is wrong with a line that should be one JSON object; nil
// if nothing is.
func syntax(line []byte) error {
	if !utf8.Valid(line) {
		return errors.New("not UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(line))
	var raw json.RawMessage
	if err := d.Decode(&raw); err != nil {
		var bad *json.SyntaxError
		switch {
		case errors.As(err, &bad):
			return fmt.Errorf("not JSON: %w (at byte %d)", err, bad.Offset)
		case strings.Contains(err.Error(), "EOF"):
			return errors.New("not JSON: it ends too soon; a case stands on one line")
		}
		return fmt.Errorf("not JSON: %w", err)
	}
	if d.More() {
		return errors.New("more than one value; each case has a line of its own")
	}
	if kindOf(raw) != '{' {
		return errors.New("a case is a JSON object, and this is not")
	}
	return nil
}

// kindOf returns the first byte of a value, which says what it is.
func kindOf(raw json.RawMessage) byte {
	raw = bytes.TrimLeft(raw, " \t\r\n")
	if len(raw) == 0 {
		return 0
	}
	return raw[0]
}

func isNull(raw json.RawMessage) bool { return string(raw) == "null" }

// excerpt is the beginning of a value, for a message.
func excerpt(raw json.RawMessage) string {
	const most = 40
	s := strings.Join(strings.Fields(string(raw)), " ")
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}

// quote prints a string of the file so that it cannot disturb a terminal.
func quote(s string) string {
	const most = 100
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return strconv.Quote(s)
}

// names lists the names of members.
func names(fields []field) string {
	list := make([]string, len(fields))
	for i, f := range fields {
		list[i] = f.name
	}
	return strings.Join(list, ", ")
}
