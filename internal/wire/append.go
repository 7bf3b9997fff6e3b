package wire

import (
	"encoding/base64"
	"strconv"
	"time"
	"unicode/utf8"
)

// AppendName appends an object member's name and colon, after a comma if the
// object at the end of b has a member already. The name must need no escaping.
func AppendName(b []byte, name string) []byte {
	if n := len(b); n > 0 && b[n-1] != '{' {
		b = append(b, ',')
	}
	b = append(b, '"')
	b = append(b, name...)
	return append(b, '"', ':')
}

// AppendString appends s as a JSON string. Quotation marks, backslashes and
// control characters are escaped; bytes that are not UTF-8 become U+FFFD.
func AppendString[S ~string | ~[]byte](b []byte, s S) []byte {
	b = append(b, '"')
	start := 0
	for i := plain(s, 0); i < len(s); i = plain(s, i) {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			// A conversion of at most four bytes stays off the heap.
			r, size := utf8.DecodeRuneInString(string(s[i:min(i+utf8.UTFMax, len(s))]))
			if r != utf8.RuneError || size > 1 {
				i += size
				continue
			}
			b = append(append(b, s[start:i]...), "\ufffd"...)
		} else {
			b = appendEscape(append(b, s[start:i]...), c)
		}
		i++
		start = i
	}
	b = append(b, s[start:]...)
	return append(b, '"')
}

// plain returns an index from i on, before which every byte is ASCII and may
// stand in a JSON string as it is. It looks at eight bytes at a time, so the
// caller looks at what follows one by one.
func plain[S ~string | ~[]byte](s S, i int) int {
	const (
		ones  = 0x0101010101010101
		highs = 0x80 * ones
	)
	for ; len(s)-i >= 8; i += 8 {
		w := s[i : i+8]
		x := uint64(w[0]) | uint64(w[1])<<8 | uint64(w[2])<<16 | uint64(w[3])<<24 |
			uint64(w[4])<<32 | uint64(w[5])<<40 | uint64(w[6])<<48 | uint64(w[7])<<56
		// A byte's high bit is set in quote if it is '"', in slash if it is '\\',
		// in control if it is below ' ' (or, in each, if it is above 0x7f).
		quote := (x ^ '"'*ones) - ones
		slash := (x ^ '\\'*ones) - ones
		control := x - ' '*ones
		if (x|quote|slash|control)&highs != 0 {
			break
		}
	}
	return i
}

func appendEscape(b []byte, c byte) []byte {
	const hex = "0123456789abcdef"
	switch c {
	case '"', '\\':
		return append(b, '\\', c)
	case '\n':
		return append(b, '\\', 'n')
	case '\r':
		return append(b, '\\', 'r')
	case '\t':
		return append(b, '\\', 't')
	}
	return append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
}

// AppendBase64 appends a blob: standard base64 with padding, in quotes.
func AppendBase64(b, blob []byte) []byte {
	b = append(b, '"')
	b = base64.StdEncoding.AppendEncode(b, blob)
	return append(b, '"')
}

// AppendInt appends a whole number.
func AppendInt(b []byte, n int32) []byte { return strconv.AppendInt(b, int64(n), 10) }

// AppendBool appends true or false.
func AppendBool(b []byte, v bool) []byte { return strconv.AppendBool(b, v) }

// AppendTime appends t in seconds since 1970, with at most three decimals (what
// is finer is cut off) and never with an exponent.
func AppendTime(b []byte, t time.Time) []byte {
	ms := t.UnixMilli()
	if ms < 0 {
		b = append(b, '-')
		ms = -ms
	}
	b = strconv.AppendInt(b, ms/1000, 10)
	ms %= 1000
	if ms == 0 {
		return b
	}
	b = append(b, '.', byte('0'+ms/100), byte('0'+ms/10%10), byte('0'+ms%10))
	for b[len(b)-1] == '0' {
		b = b[:len(b)-1]
	}
	return b
}

// AppendTimeText appends t in UTC the way CloudTrail writes times inside
// requestParameters and responseElements: "Aug 10, 2022, 10:38:27 PM".
func AppendTimeText(b []byte, t time.Time) []byte {
	b = append(b, '"')
	b = t.UTC().AppendFormat(b, "Jan 2, 2006, 3:04:05 PM")
	return append(b, '"')
}

// AppendStrings appends a list of strings.
func AppendStrings[S ~string](b []byte, list []S) []byte {
	b = append(b, '[')
	for i, s := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendElement(b, s)
	}
	return append(b, ']')
}

// appendElement appends a string of a list or map, or null for [Null].
func appendElement[S ~string](b []byte, s S) []byte {
	if s == Null {
		return append(b, "null"...)
	}
	return AppendString(b, s)
}
