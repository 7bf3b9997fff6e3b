package wire

import (
	"encoding/base64"
	"net/http"
	"strconv"
	"time"
	"unicode/utf8"
)

// An Entry is an entry of a map from names to whole numbers.
type Entry struct {
	Name  string
	Value int32
}

// AppendXMLOpen appends the start tag of an element.
func AppendXMLOpen(b []byte, name string) []byte {
	return append(append(append(b, '<'), name...), '>')
}

// AppendXMLClose appends the end tag of an element.
func AppendXMLClose(b []byte, name string) []byte {
	return append(append(append(b, '<', '/'), name...), '>')
}

// AppendXMLString appends an element that holds s.
func AppendXMLString[S ~string | ~[]byte](b []byte, name string, s S) []byte {
	return AppendXMLClose(appendXMLText(AppendXMLOpen(b, name), s), name)
}

// AppendXMLBool appends an element that holds true or false.
func AppendXMLBool(b []byte, name string, v bool) []byte {
	return AppendXMLClose(strconv.AppendBool(AppendXMLOpen(b, name), v), name)
}

// AppendXMLInt appends an element that holds a whole number.
func AppendXMLInt(b []byte, name string, n int32) []byte {
	return AppendXMLClose(strconv.AppendInt(AppendXMLOpen(b, name), int64(n), 10), name)
}

// AppendXMLTime appends an element that holds t, in UTC and whole seconds:
// 2025-04-10T08:53:12Z.
func AppendXMLTime(b []byte, name string, t time.Time) []byte {
	return AppendXMLClose(t.UTC().AppendFormat(AppendXMLOpen(b, name), "2006-01-02T15:04:05Z"), name)
}

// AppendXMLStrings appends a list of strings, each in an element named member.
func AppendXMLStrings[S ~string](b []byte, name string, list []S) []byte {
	b = AppendXMLOpen(b, name)
	for _, s := range list {
		b = AppendXMLString(b, "member", s)
	}
	return AppendXMLClose(b, name)
}

// AppendXMLEntries appends a map from names to whole numbers.
func AppendXMLEntries(b []byte, name string, entries []Entry) []byte {
	b = AppendXMLOpen(b, name)
	for _, e := range entries {
		b = AppendXMLOpen(b, "entry")
		b = AppendXMLInt(AppendXMLString(b, "key", e.Name), "value", e.Value)
		b = AppendXMLClose(b, "entry")
	}
	return AppendXMLClose(b, name)
}

// AppendXMLMap appends a map of strings.
func AppendXMLMap(b []byte, name string, m StringMap) []byte {
	b = AppendXMLOpen(b, name)
	for _, p := range m {
		b = AppendXMLOpen(b, "entry")
		b = AppendXMLString(AppendXMLString(b, "key", p.Name), "value", p.Value)
		b = AppendXMLClose(b, "entry")
	}
	return AppendXMLClose(b, name)
}

// AppendXMLBase64 appends an element that holds a blob.
func AppendXMLBase64(b []byte, name string, blob []byte) []byte {
	return AppendXMLClose(base64.StdEncoding.AppendEncode(AppendXMLOpen(b, name), blob), name)
}

// AppendXMLDocument appends an element that holds a policy document, which IAM
// sends escaped as in a URI (see [AppendEscaped]).
func AppendXMLDocument(b []byte, name, document string) []byte {
	return AppendXMLClose(AppendEscaped(AppendXMLOpen(b, name), document), name)
}

// AppendEscaped appends s with every byte escaped that RFC 3986 (section 2.3)
// does not leave unreserved.
func AppendEscaped(b []byte, s string) []byte {
	const hex = "0123456789ABCDEF"
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '.', c == '_', c == '~':
			b = append(b, c)
		default:
			b = append(b, '%', hex[c>>4], hex[c&15])
		}
	}
	return b
}

// AppendEscapedString appends s as a JSON string that holds what
// [AppendEscaped] makes of it.
func AppendEscapedString(b []byte, s string) []byte {
	return append(AppendEscaped(append(b, '"'), s), '"')
}

// appendXMLText appends s as character data. What XML 1.0 cannot hold becomes
// U+FFFD.
func appendXMLText[S ~string | ~[]byte](b []byte, s S) []byte {
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		size := 1
		escape := ""
		switch {
		case c == '<':
			escape = "&lt;"
		case c == '>':
			escape = "&gt;"
		case c == '&':
			escape = "&amp;"
		case c == '\r':
			escape = "&#xD;" // a reader would take it for a line's end
		case c == '\t', c == '\n', c >= ' ' && c < utf8.RuneSelf:
		case c < ' ':
			escape = "\ufffd"
		default:
			var r rune
			r, size = utf8.DecodeRuneInString(string(s[i:min(i+utf8.UTFMax, len(s))]))
			if r == utf8.RuneError && size <= 1 || r == 0xfffe || r == 0xffff {
				escape = "\ufffd"
			}
		}
		if escape != "" {
			b = append(append(b, s[start:i]...), escape...)
			start = i + size
		}
		i += size
	}
	return append(b, s[start:]...)
}

// AppendXMLStart appends the beginning of an operation's answer in the query
// protocol. What follows are the members of its result, if it has one, and then
// [AppendXMLEnd].
func AppendXMLStart(b []byte, operation, namespace string, result bool) []byte {
	b = append(append(append(b, '<'), operation...), `Response xmlns="`...)
	b = append(append(b, namespace...), `">`...)
	if result {
		b = append(append(append(b, '<'), operation...), "Result>"...)
	}
	return b
}

// AppendXMLEnd appends the end of an answer that [AppendXMLStart] began.
func AppendXMLEnd(b []byte, operation, requestID string, result bool) []byte {
	if result {
		b = append(append(append(b, "</"...), operation...), "Result>"...)
	}
	b = append(append(append(b, "<ResponseMetadata><RequestId>"...), requestID...), "</RequestId></ResponseMetadata></"...)
	return append(append(b, operation...), "Response>"...)
}

// AppendXMLError appends the body of an answer of the query protocol that
// carries e. The namespace is the API's, or empty if it is not known.
//
//	<ErrorResponse xmlns="…"><Error><Type>Sender</Type><Code>NoSuchEntity</Code><Message>…</Message></Error>
//	<RequestId>…</RequestId></ErrorResponse>
func AppendXMLError(b []byte, e *Error, namespace, requestID string) []byte {
	b = append(b, "<ErrorResponse"...)
	if namespace != "" {
		b = append(append(append(b, ` xmlns="`...), namespace...), '"')
	}
	kind := "Sender"
	if e.Status >= http.StatusInternalServerError {
		kind = "Receiver"
	}
	b = AppendXMLString(append(b, "><Error>"...), "Type", kind)
	b = AppendXMLString(b, "Code", e.Code)
	if e.Message != "" {
		b = AppendXMLString(b, "Message", e.Message)
	}
	b = AppendXMLString(append(b, "</Error>"...), "RequestId", requestID)
	return append(b, "</ErrorResponse>"...)
}
