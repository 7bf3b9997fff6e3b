// Package sigv4 verifies and makes AWS Signature Version 4.
//
// A server verifies in three steps, so that it looks up a credential only for
// a request that could be right, and reads the body only then:
//
//	a, err := sigv4.Parse(r)                                  // is it signed, and completely?
//	err = a.Check(now, sigv4.Scope{Service: "kms", …})        // for here, and for now?
//	key := …                                                  // of a.AccessKeyID and a.Token
//	err = key.Verify(&a, r, body)                             // by that key?
//
// The steps check in this order, and the first check that fails is answered:
//
//  1. there is an Authorization header (MissingAuthenticationTokenException)
//  2. it is one, of AWS4-HMAC-SHA256, with Credential, SignedHeaders and
//     Signature, and the request has a date (IncompleteSignatureException)
//  3. Credential has five elements (InvalidSignatureException), and the date
//     is one (IncompleteSignatureException)
//  4. every signed header is there, and every header that must be signed is:
//     the host, the date, and whatever begins with "x-amz-"
//     (IncompleteSignatureException)
//  5. the scope: terminator, Region, service, date (InvalidSignatureException)
//  6. the clock (InvalidSignatureException)
//  7. the caller's lookup: [ErrUnrecognizedClient], [ErrExpiredToken]
//  8. the hash of the body, then the signature ([ErrSignature])
//
// Errors are *[Error]. Presigned queries, unsigned payloads, chunk-signed
// payloads and the asymmetric AWS4-ECDSA-P256-SHA256 are refused.
//
// A request that is signed with the private key of a certificate is read by
// [ParseX509] instead, and names no key that would have to be looked up.
//
// Source: "AWS Signature Version 4 for API requests" in the IAM User Guide;
// texts of errors as AWS's JSON services answer them.
package sigv4

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strconv"
	"time"
)

const (
	algorithm  = "AWS4-HMAC-SHA256"
	terminator = "aws4_request"

	// stampFormat is ISO 8601's basic format, the only one that is signed.
	stampFormat = "20060102T150405Z"

	// maxAuthorization bounds the header that is parsed, in bytes. That of an
	// SDK has some 250.
	maxAuthorization = 4096

	// Header names in the form that http.Header keys have.
	headerAuthorization = "Authorization"
	headerAmzDate       = "X-Amz-Date"
	headerDate          = "Date"
	headerToken         = "X-Amz-Security-Token"
	headerContentHash   = "X-Amz-Content-Sha256"
	headerAmzPrefix     = "X-Amz-"
)

// Authorization is what a request says about its signature. Its strings are
// parts of the request's headers.
type Authorization struct {
	AccessKeyID string
	Date        string // YYYYMMDD, of the scope
	Region      string
	Service     string
	Token       string    // X-Amz-Security-Token; empty for long-term credentials
	Time        time.Time // UTC; when the client says that it signed

	terminator    string
	signedHeaders string
	stamp         string // Time, in stampFormat
	signature     [sha256.Size]byte
	malformed     bool // the signature is not 64 lower-case hexadecimal digits
}

// Scope is what a credential scope must name, and how far the client's clock
// may be off.
type Scope struct {
	Service string                   // signing name, such as "kms"
	Region  func(region string) bool // whether the Region is enabled
	Skew    time.Duration            // in whole minutes; to either side, inclusive
}

// Check reports whether the credential scope fits and the request was signed
// just now. The request's and now's fractions of a second do not count.
func (a *Authorization) Check(now time.Time, s Scope) error {
	switch {
	case a.terminator != terminator:
		return invalid("Credential should be scoped with a valid terminator: '" + terminator + "', not '" + a.terminator + "'.")
	case !s.Region(a.Region):
		return invalid("Credential should be scoped to a valid region.")
	case a.Service != s.Service:
		return invalid("Credential should be scoped to correct service: '" + s.Service + "'.")
	case a.Date != a.stamp[:8]:
		return invalid("Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '" +
			a.Date + "' != '" + a.stamp[:8] + "', from '" + a.stamp + "'.")
	}
	now = now.UTC().Truncate(time.Second)
	if oldest := now.Add(-s.Skew); a.Time.Before(oldest) {
		return invalid("Signature expired: " + a.stamp + " is now earlier than " +
			oldest.Format(stampFormat) + " (" + now.Format(stampFormat) + " - " + minutes(s.Skew) + ")")
	}
	if newest := now.Add(s.Skew); a.Time.After(newest) {
		return invalid("Signature not yet current: " + a.stamp + " is still later than " +
			newest.Format(stampFormat) + " (" + now.Format(stampFormat) + " + " + minutes(s.Skew) + ")")
	}
	return nil
}

// Verify reports whether r with body was signed by k as a says; a is what
// [Parse] returned for r. It returns nil or [ErrSignature]. The time it takes
// does not depend on where a wrong signature differs.
func (k *Key) Verify(a *Authorization, r *http.Request, body []byte) error {
	if a.malformed {
		return ErrSignature
	}
	s := scratches.Get().(*scratch)
	defer s.release()
	s.hashPayload(body)
	if claimed, ok := r.Header[headerContentHash]; ok && (len(claimed) != 1 || claimed[0] != string(s.payload[:])) {
		return ErrSignature
	}
	s.canonical(r, a.signedHeaders)
	s.stringToSign(algorithm, a.stamp, a.Date, a.Region, a.Service)
	if !k.check(a, s) {
		return ErrSignature
	}
	return nil
}

// Credentials are what our own clients sign with.
type Credentials struct {
	AccessKeyID string
	Key         *Key
	Token       string // for temporary credentials
}

// Sign signs r, whose body is body, for a service in a Region at time t. It
// sets X-Amz-Date, Authorization and, if there is a token,
// X-Amz-Security-Token. It signs the host and all of r's headers, except those
// that proxies and HTTP clients change.
func (c Credentials) Sign(r *http.Request, body []byte, region, service string, t time.Time) {
	stamp := t.UTC().Format(stampFormat)
	date := stamp[:8]
	r.Header.Del(headerAuthorization)
	r.Header.Set(headerAmzDate, stamp)
	if c.Token != "" {
		r.Header.Set(headerToken, c.Token)
	}
	s := scratches.Get().(*scratch)
	defer s.release()
	s.hashPayload(body)
	if _, ok := r.Header[headerContentHash]; ok {
		r.Header.Set(headerContentHash, string(s.payload[:]))
	}
	signedHeaders := headersToSign(r)
	s.canonical(r, signedHeaders)
	s.stringToSign(algorithm, stamp, date, region, service)
	d, kept := c.Key.signingKey(date, region, service)
	d.sum(s)
	if !kept {
		c.Key.keep(d)
	}

	r.Header.Set(headerAuthorization, algorithm+" Credential="+c.AccessKeyID+"/"+date+"/"+region+"/"+service+"/"+terminator+
		", SignedHeaders="+signedHeaders+", Signature="+hex.EncodeToString(s.mac[:]))
}

// minutes prints a skew as AWS does in its texts.
func minutes(d time.Duration) string { return strconv.Itoa(int(d/time.Minute)) + " min." }
