package sigv4

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// A scratch holds what one request needs, to be used again by another.
type scratch struct {
	buf     []byte                // the canonical request, then the string to sign
	payload [2 * sha256.Size]byte // hash of the body, in hexadecimal
	mac     [sha256.Size]byte     // what the signature should be
}

var scratches = sync.Pool{New: func() any { return &scratch{buf: make([]byte, 0, 2048)} }}

// maxScratch is the largest buffer that is kept, in bytes.
const maxScratch = 16 << 10

func (s *scratch) release() {
	if cap(s.buf) <= maxScratch {
		scratches.Put(s)
	}
}

// hashPayload takes the hash of the body.
func (s *scratch) hashPayload(body []byte) {
	sum := sha256.Sum256(body)
	hex.Encode(s.payload[:], sum[:])
}

// canonical puts the canonical request into the buffer:
//
//	POST
//	/
//	<query>
//	host:<value>        one line for each signed header
//	x-amz-date:<value>
//	                    an empty line
//	host;x-amz-date
//	<hash of the body>
func (s *scratch) canonical(r *http.Request, signedHeaders string) {
	b := append(s.buf[:0], r.Method...)
	b = append(b, '\n')
	b = appendPath(b, r)
	b = append(b, '\n')
	b = appendQuery(b, r.URL.RawQuery)
	b = append(b, '\n')
	for name := range strings.SplitSeq(signedHeaders, ";") {
		b = appendHeader(b, r, name)
	}
	b = append(b, '\n')
	b = append(b, signedHeaders...)
	b = append(b, '\n')
	s.buf = append(b, s.payload[:]...)
}

// stringToSign replaces the canonical request in the buffer by
//
//	AWS4-HMAC-SHA256    or another algorithm
//	20150830T123600Z
//	20150830/eu-central-1/kms/aws4_request
//	<hash of the canonical request>
func (s *scratch) stringToSign(algorithm, stamp, date, region, service string) {
	sum := sha256.Sum256(s.buf)
	b := append(s.buf[:0], algorithm...)
	b = append(b, '\n')
	b = append(b, stamp...)
	b = append(b, '\n')
	b = append(b, date...)
	b = append(b, '/')
	b = append(b, region...)
	b = append(b, '/')
	b = append(b, service...)
	b = append(b, "/"+terminator+"\n"...)
	s.buf = hex.AppendEncode(b, sum[:])
}

// appendHeader appends a header's line: its values trimmed, runs of spaces
// folded into one, and several values joined by commas.
func appendHeader(b []byte, r *http.Request, name string) []byte {
	b = append(b, name...)
	b = append(b, ':')
	var key nameBuffer
	switch canonical := key.canonical(name); string(canonical) {
	case "Host", ":authority":
		b = appendFolded(b, r.Host)
	case "Content-Length":
		b = strconv.AppendInt(b, r.ContentLength, 10)
	case "Transfer-Encoding":
		b = appendValues(b, r.TransferEncoding)
	default:
		b = appendValues(b, r.Header[string(canonical)])
	}
	return append(b, '\n')
}

func appendValues(b []byte, values []string) []byte {
	for i, v := range values {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendFolded(b, v)
	}
	return b
}

func appendFolded(b []byte, v string) []byte {
	v = strings.Trim(v, " \t")
	for {
		i := strings.Index(v, "  ")
		if i < 0 {
			return append(b, v...)
		}
		b = append(b, v[:i+1]...)
		v = strings.TrimLeft(v[i:], " ")
	}
}

// appendPath appends the canonical URI: dot segments and empty segments are
// removed, and each byte of the path as it stands on the wire is encoded, so
// that a "%" of the wire becomes "%25".
func appendPath(b []byte, r *http.Request) []byte {
	path := r.URL.Path
	if path == "/" || path == "" {
		return append(b, '/')
	}
	path = r.URL.EscapedPath()
	var kept []string
	directory := false // the path ends in a slash
	for segment := range strings.SplitSeq(path, "/") {
		directory = segment == "" || segment == "." || segment == ".."
		switch segment {
		case "", ".":
		case "..":
			kept = kept[:max(0, len(kept)-1)]
		default:
			kept = append(kept, segment)
		}
	}
	for _, segment := range kept {
		b = append(b, '/')
		b = appendEncoded(b, segment)
	}
	if directory || len(kept) == 0 {
		b = append(b, '/')
	}
	return b
}

// appendQuery appends the canonical query: parameters decoded, encoded in the
// one way that is signed, and sorted by name and value. A "+" stands for a
// space, as in forms; a "%" without two digits for itself.
func appendQuery(b []byte, raw string) []byte {
	if raw == "" {
		return b
	}
	type parameter struct{ name, value string }
	var parameters []parameter
	for piece := range strings.SplitSeq(raw, "&") {
		if piece == "" {
			continue
		}
		name, value, _ := strings.Cut(piece, "=")
		parameters = append(parameters, parameter{reencode(name), reencode(value)})
	}
	slices.SortFunc(parameters, func(a, b parameter) int {
		if c := strings.Compare(a.name, b.name); c != 0 {
			return c
		}
		return strings.Compare(a.value, b.value)
	})
	for i, p := range parameters {
		if i > 0 {
			b = append(b, '&')
		}
		b = append(b, p.name...)
		b = append(b, '=')
		b = append(b, p.value...)
	}
	return b
}

// reencode decodes a part of a query and encodes it again.
func reencode(s string) string {
	decoded := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '+':
			decoded = append(decoded, ' ')
		case c == '%' && i+2 < len(s):
			n, err := strconv.ParseUint(s[i+1:i+3], 16, 8)
			if err != nil {
				decoded = append(decoded, c)
				continue
			}
			decoded = append(decoded, byte(n))
			i += 2
		default:
			decoded = append(decoded, c)
		}
	}
	return string(appendEncoded(nil, decoded))
}

// appendEncoded percent-encodes every byte but RFC 3986's unreserved ones.
func appendEncoded[S string | []byte](b []byte, s S) []byte {
	const digits = "0123456789ABCDEF"
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9',
			c == '-', c == '.', c == '_', c == '~':
			b = append(b, c)
		default:
			b = append(b, '%', digits[c>>4], digits[c&15])
		}
	}
	return b
}

// unsigned are the headers that Sign leaves out, because HTTP clients and
// proxies add or change them on the way.
var unsigned = []string{
	headerAuthorization, "Accept-Encoding", "Connection", "Content-Length", "Expect", "Keep-Alive",
	"Proxy-Authorization", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "User-Agent", "X-Amzn-Trace-Id",
}

// headersToSign returns the signed headers' list for r.
func headersToSign(r *http.Request) string {
	names := []string{"host"}
	for key := range r.Header {
		if name := strings.ToLower(key); !slices.Contains(unsigned, key) && name != "host" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return strings.Join(names, ";")
}
