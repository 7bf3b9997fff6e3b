package sigv4

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Parse reads what r says about its signature, and checks that it says all
// that it must. Nothing is known to be true after it.
func Parse(r *http.Request) (Authorization, error) {
	a, _, signature, err := parse(r, func(scheme string) bool { return scheme == algorithm })
	if err != nil {
		return Authorization{}, err
	}
	switch tokens := r.Header[headerToken]; {
	case len(tokens) == 1 && tokens[0] != "":
		a.Token = tokens[0]
	case len(tokens) > 0:
		return Authorization{}, ErrUnrecognizedClient
	}
	a.malformed = !decodeSignature(&a.signature, signature)
	return a, nil
}

// parse reads what all schemes have in common, if the request is of one that is
// accepted: all but the token, and the signature undecoded.
func parse(r *http.Request, accepts func(scheme string) bool) (a Authorization, scheme, signature string, err error) {
	fail := func(err error) (Authorization, string, string, error) { return Authorization{}, "", "", err }
	values := r.Header[headerAuthorization]
	switch {
	case len(values) == 0 || values[0] == "":
		return fail(ErrMissingToken)
	case len(values) > 1:
		return fail(incomplete("The request has more than one Authorization header."))
	case len(values[0]) > maxAuthorization:
		return fail(incomplete("The Authorization header is too long."))
	}
	header := values[0]
	scheme, rest, _ := strings.Cut(header, " ")
	if !accepts(scheme) {
		if strings.HasPrefix(scheme, "AWS4-") {
			return fail(incomplete("Unsupported AWS 'algorithm': '" + scheme + "'."))
		}
		return fail(ErrMissingToken)
	}

	credential, signature, err := a.parameters(header, rest)
	if err != nil {
		return fail(err)
	}
	date, dateHeader := requestDate(r)
	if credential == "" || signature == "" || a.signedHeaders == "" || dateHeader == "" {
		return fail(missing(header, credential, signature, a.signedHeaders, dateHeader))
	}
	if !a.credential(credential) {
		return fail(invalid("Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got '" + credential + "'"))
	}
	if !a.date(date, dateHeader) {
		return fail(incomplete("Date must be in ISO-8601 'basic format'. Got '" + date + "'. See http://en.wikipedia.org/wiki/ISO_8601"))
	}
	if err := a.checkSignedHeaders(r, dateHeader); err != nil {
		return fail(err)
	}
	return a, scheme, signature, nil
}

// parameters reads the list after the scheme. Parameters are separated by
// commas, spaces or both; each of the three may stand once, and no other.
func (a *Authorization) parameters(header, rest string) (credential, signature string, err error) {
	for {
		for rest != "" && (rest[0] == ',' || rest[0] == ' ' || rest[0] == '\t') {
			rest = rest[1:]
		}
		if rest == "" {
			return credential, signature, nil
		}
		piece := rest
		for _, separator := range [...]byte{',', ' ', '\t'} {
			if i := strings.IndexByte(piece, separator); i >= 0 {
				piece = piece[:i]
			}
		}
		rest = rest[len(piece):]
		name, value, ok := strings.Cut(piece, "=")
		if !ok {
			return "", "", incomplete("'" + piece + "' not a valid key=value pair (missing equal-sign) in Authorization header: '" + header + "'.")
		}
		var to *string
		switch name {
		case "Credential":
			to = &credential
		case "SignedHeaders":
			to = &a.signedHeaders
		case "Signature":
			to = &signature
		}
		if to == nil || *to != "" {
			return "", "", incomplete("Unknown or repeated parameter '" + name + "' in Authorization header: '" + header + "'.")
		}
		*to = value
	}
}

// missing says what a request lacks, all of it at once as AWS does.
func missing(header, credential, signature, signedHeaders, dateHeader string) error {
	var b strings.Builder
	for _, p := range []struct{ name, value string }{
		{"Credential", credential}, {"Signature", signature}, {"SignedHeaders", signedHeaders},
	} {
		if p.value == "" {
			b.WriteString("Authorization header requires '" + p.name + "' parameter. ")
		}
	}
	if dateHeader == "" {
		b.WriteString("Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. ")
	}
	b.WriteString("Authorization=" + header)
	return incomplete(b.String())
}

// credential takes keyid/date/region/service/term apart.
func (a *Authorization) credential(s string) bool {
	var ok [4]bool
	a.AccessKeyID, s, ok[0] = strings.Cut(s, "/")
	a.Date, s, ok[1] = strings.Cut(s, "/")
	a.Region, s, ok[2] = strings.Cut(s, "/")
	a.Service, a.terminator, ok[3] = strings.Cut(s, "/")
	return ok == [4]bool{true, true, true, true} && !strings.Contains(a.terminator, "/")
}

// requestDate returns the date that counts, and the key of the header it is
// in: X-Amz-Date, else Date, else neither.
func requestDate(r *http.Request) (date, header string) {
	for _, header := range [...]string{headerAmzDate, headerDate} {
		switch values := r.Header[header]; len(values) {
		case 0:
		case 1:
			return values[0], header
		default:
			return strings.Join(values, ","), header // no valid date
		}
	}
	return "", ""
}

// date takes the request's date: ISO 8601's basic format, and in a Date header
// also HTTP's own.
func (a *Authorization) date(date, header string) bool {
	if t, ok := parseStamp(date); ok {
		a.Time, a.stamp = t, date
		return true
	}
	if header != headerDate {
		return false
	}
	t, err := time.Parse(http.TimeFormat, date)
	if err != nil || t.Year() < 0 || t.Year() > 9999 {
		return false
	}
	a.Time = t.UTC()
	a.stamp = a.Time.Format(stampFormat)
	return true
}

// parseStamp parses stampFormat, and only that.
func parseStamp(s string) (time.Time, bool) {
	if len(s) != len(stampFormat) || s[8] != 'T' || s[15] != 'Z' {
		return time.Time{}, false
	}
	var n [14]int
	digits := n[:0]
	for i := range len(s) - 1 {
		if i == 8 {
			continue
		}
		if s[i] < '0' || s[i] > '9' {
			return time.Time{}, false
		}
		digits = append(digits, int(s[i]-'0'))
	}
	two := func(i int) int { return 10*n[i] + n[i+1] }
	year, month, day := 100*two(0)+two(2), two(4), two(6)
	hour, minute, second := two(8), two(10), two(12)
	if hour > 23 || minute > 59 || second > 59 {
		return time.Time{}, false
	}
	t := time.Date(year, time.Month(month), day, hour, minute, second, 0, time.UTC)
	// time.Date carries February 30th over into March.
	if t.Year() != year || int(t.Month()) != month || t.Day() != day {
		return time.Time{}, false
	}
	return t, true
}

// checkSignedHeaders checks that the list is in order, that each header in it
// is there, and that each that must be is in it.
func (a *Authorization) checkSignedHeaders(r *http.Request, dateHeader string) error {
	var host, date bool
	amz := 0
	previous := ""
	for name := range strings.SplitSeq(a.signedHeaders, ";") {
		if name <= previous || !signable(name) {
			return incomplete("SignedHeaders must be lower case, sorted and without repetition, got '" + a.signedHeaders + "'")
		}
		previous = name
		var key nameBuffer
		switch canonical := key.canonical(name); string(canonical) {
		case "Host", ":authority":
			if r.Host == "" {
				return notThere(name)
			}
			host = true
			continue
		case "Content-Length":
			if r.ContentLength < 0 {
				return notThere(name)
			}
			continue
		case "Transfer-Encoding":
			if len(r.TransferEncoding) == 0 {
				return notThere(name)
			}
			continue
		default:
			if _, ok := r.Header[string(canonical)]; !ok {
				return notThere(name)
			}
			if string(canonical) == dateHeader {
				date = true
			}
			if strings.HasPrefix(name, "x-amz-") {
				amz++
			}
		}
	}
	if !host {
		return notSigned("Host' or ':authority")
	}
	if !date {
		return notSigned(dateHeader)
	}
	for key := range r.Header {
		if strings.HasPrefix(key, headerAmzPrefix) {
			amz--
		}
	}
	if amz < 0 {
		return notSigned(unsignedAmz(r, a.signedHeaders))
	}
	return nil
}

func notThere(name string) error {
	return incomplete("'" + name + "' is named as a SignedHeader, but it does not exist in the HTTP request.")
}

func notSigned(name string) error {
	return incomplete("'" + name + "' must be a 'SignedHeader' in the AWS Authorization.")
}

// unsignedAmz returns the first of the headers that must be signed and are not.
func unsignedAmz(r *http.Request, signedHeaders string) string {
	signed := strings.Split(signedHeaders, ";")
	var keys []string
	for key := range r.Header {
		if strings.HasPrefix(key, headerAmzPrefix) && !slices.Contains(signed, strings.ToLower(key)) {
			keys = append(keys, key)
		}
	}
	if len(keys) == 0 {
		return headerAmzPrefix + "*"
	}
	return slices.Min(keys)
}

// signable reports whether name is a header name in the form that is signed.
func signable(name string) bool {
	if name == ":authority" {
		return true
	}
	if name == "" || len(name) > maxName {
		return false
	}
	for i := range len(name) {
		if !nameByte[name[i]] {
			return false
		}
	}
	return true
}

// nameByte has the bytes that may stand in a signed header's name: the token
// characters (RFC 9110, 5.6.2) without the upper-case letters.
var nameByte = func() (ok [256]bool) {
	for _, c := range []byte("abcdefghijklmnopqrstuvwxyz0123456789!#$%&'*+-.^_`|~") {
		ok[c] = true
	}
	return ok
}()

// maxName bounds a signed header's name, in bytes.
const maxName = 128

// A nameBuffer holds a header name on the stack.
type nameBuffer [maxName]byte

// canonical turns a lower-case name into the form that keys of http.Header
// have: "x-amz-date" into "X-Amz-Date". The name is at most maxName long.
func (b *nameBuffer) canonical(name string) []byte {
	upper := true
	for i := range len(name) {
		c := name[i]
		if upper && 'a' <= c && c <= 'z' {
			c -= 'a' - 'A'
		}
		b[i] = c
		upper = c == '-'
	}
	return b[:len(name)]
}

// decodeSignature reads 64 lower-case hexadecimal digits.
func decodeSignature(to *[sha256.Size]byte, s string) bool {
	if len(s) != hex.EncodedLen(len(to)) {
		return false
	}
	digit := func(c byte) (byte, bool) {
		switch {
		case '0' <= c && c <= '9':
			return c - '0', true
		case 'a' <= c && c <= 'f':
			return c - 'a' + 10, true
		}
		return 0, false
	}
	for i := range to {
		hi, ok1 := digit(s[2*i])
		lo, ok2 := digit(s[2*i+1])
		if !ok1 || !ok2 {
			return false
		}
		to[i] = hi<<4 | lo
	}
	return true
}
