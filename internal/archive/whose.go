package archive

import (
	"bytes"
	"time"
)

// whose reads from a record whose it is and when it happened, and nothing else:
// the account and the Region, empty if it says none, and the time. It reports
// false if the record has no time after 1970, or is no object. The record is JSON; what is
// not looked at is not checked.
func whose(record []byte) (account, region []byte, at time.Time, ok bool) {
	rest := record
	if len(rest) == 0 || rest[0] != '{' {
		return nil, nil, at, false
	}
	rest = rest[1:]
	for {
		rest = bytes.TrimLeft(rest, " \t\r\n,")
		if len(rest) == 0 {
			return nil, nil, at, false
		}
		if rest[0] == '}' {
			return account, region, at, at.Unix() > 0
		}
		name, after, found := quoted(rest)
		if !found {
			return nil, nil, at, false
		}
		after = bytes.TrimLeft(after, " \t\r\n")
		if len(after) == 0 || after[0] != ':' {
			return nil, nil, at, false
		}
		after = bytes.TrimLeft(after[1:], " \t\r\n")
		var value []byte
		if value, rest, found = skip(after); !found {
			return nil, nil, at, false
		}
		switch string(name) {
		case "recipientAccountId":
			account = text(value)
		case "awsRegion":
			region = text(value)
		case "eventTime":
			at, _ = time.Parse(time.RFC3339, string(text(value)))
			at = at.UTC()
		}
	}
}

// text returns what a string holds that needs no escapes; nothing for any other
// value.
func text(value []byte) []byte {
	if len(value) < 2 || value[0] != '"' || bytes.IndexByte(value, '\\') >= 0 {
		return nil
	}
	return value[1 : len(value)-1]
}

// quoted splits off a string, without its quotes.
func quoted(b []byte) (inner, rest []byte, ok bool) {
	if len(b) == 0 || b[0] != '"' {
		return nil, nil, false
	}
	for i := 1; ; {
		n := bytes.IndexByte(b[i:], '"')
		if n < 0 {
			return nil, nil, false
		}
		i += n
		escapes := 0
		for b[i-1-escapes] == '\\' {
			escapes++
		}
		if escapes%2 == 0 {
			return b[1:i], b[i+1:], true
		}
		i++
	}
}

// skip splits off a value.
func skip(b []byte) (value, rest []byte, ok bool) {
	if len(b) == 0 {
		return nil, nil, false
	}
	switch b[0] {
	case '"':
		if _, rest, ok = quoted(b); !ok {
			return nil, nil, false
		}
		return b[:len(b)-len(rest)], rest, true
	case '{', '[':
	default:
		n := bytes.IndexAny(b, ",}")
		if n <= 0 {
			return nil, nil, false
		}
		return b[:n], b[n:], true
	}
	depth := 0
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '"':
			_, after, ok := quoted(b[i:])
			if !ok {
				return nil, nil, false
			}
			i = len(b) - len(after) - 1
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return b[:i+1], b[i+1:], true
			}
		}
	}
	return nil, nil, false
}
