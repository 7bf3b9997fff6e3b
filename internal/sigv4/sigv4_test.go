package sigv4_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/internal/sigv4"
)

// The date of all published examples, and the scope that most have.
var exampleTime = time.Date(2015, 8, 30, 12, 36, 0, 0, time.UTC)

const exampleScope = "AKIDEXAMPLE/20150830/us-east-1/service/aws4_request"

func scope(service string) sigv4.Scope {
	return sigv4.Scope{
		Service: service,
		Region:  func(r string) bool { return r == "us-east-1" || r == "eu-central-1" },
		Skew:    5 * time.Minute,
	}
}

// request parses a request as a server does. Lines end with a bare newline;
// what follows the empty line is the body, whose length need not be given.
func request(tb testing.TB, text string) (*http.Request, []byte) {
	tb.Helper()
	head, body, _ := strings.Cut(text, "\n\n")
	if !strings.Contains(strings.ToLower(head), "content-length:") && body != "" {
		head += fmt.Sprintf("\nContent-Length: %d", len(body))
	}
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(strings.ReplaceAll(head, "\n", "\r\n") + "\r\n\r\n" + body)))
	if err != nil {
		tb.Fatalf("%v in\n%s", err, text)
	}
	read, err := io.ReadAll(r.Body)
	if err != nil {
		tb.Fatal(err)
	}
	return r, read
}

// authenticate takes the three steps.
func authenticate(r *http.Request, body []byte, k *sigv4.Key, now time.Time, s sigv4.Scope) (sigv4.Authorization, error) {
	a, err := sigv4.Parse(r)
	if err != nil {
		return a, err
	}
	if err := a.Check(now, s); err != nil {
		return a, err
	}
	return a, k.Verify(&a, r, body)
}

// TestPublished holds the signatures that AWS has published: the worked example
// of the documentation and cases of its Signature Version 4 test suite.
func TestPublished(t *testing.T) {
	tests := []struct {
		name, service, signed, signature, request string
	}{
		{
			"ListUsers", "iam", "content-type;host;x-amz-date", "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7",
			"GET /?Action=ListUsers&Version=2010-05-08 HTTP/1.1\nHost: iam.amazonaws.com\nContent-Type: application/x-www-form-urlencoded; charset=utf-8",
		},
		{
			"get-vanilla", "service", "host;x-amz-date", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
			"GET / HTTP/1.1\nHost: example.amazonaws.com",
		},
		{
			"post-vanilla", "service", "host;x-amz-date", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
			"POST / HTTP/1.1\nHost: example.amazonaws.com",
		},
		{
			"get-vanilla-query-order-key-case", "service", "host;x-amz-date", "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
			"GET /?Param2=value2&Param1=value1 HTTP/1.1\nHost: example.amazonaws.com",
		},
		{
			"get-header-value-trim", "service", "host;my-header1;my-header2;x-amz-date", "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
			"GET / HTTP/1.1\nHost: example.amazonaws.com\nMy-Header1:  value1 \nMy-Header2:  \"a   b   c\" ",
		},
		{
			"get-header-key-duplicate", "service", "host;my-header1;x-amz-date", "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea",
			"GET / HTTP/1.1\nHost: example.amazonaws.com\nMy-Header1: value2\nMy-Header1: value2\nMy-Header1: value1",
		},
		{
			"get-header-value-order", "service", "host;my-header1;x-amz-date", "08c7e5a9acfcfeb3ab6b2185e75ce8b1deb5e634ec47601a50643f830c755c01",
			"GET / HTTP/1.1\nHost: example.amazonaws.com\nMy-Header1: value4\nMy-Header1: value1\nMy-Header1: value3\nMy-Header1: value2",
		},
		{
			"get-slashes", "service", "host;x-amz-date", "9a624bd73a37c9a373b5312afbebe7a714a789de108f0bdfe846570885f57e84",
			"GET //example// HTTP/1.1\nHost: example.amazonaws.com",
		},
		{
			"get-slash-pointless-dot", "service", "host;x-amz-date", "ef75d96142cf21edca26f06005da7988e4f8dc83a165a80865db7089db637ec5",
			"GET /./example HTTP/1.1\nHost: example.amazonaws.com",
		},
		{
			"get-relative-relative", "service", "host;x-amz-date", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
			"GET /example1/example2/../.. HTTP/1.1\nHost: example.amazonaws.com",
		},
		{
			"post-x-www-form-urlencoded", "service", "content-type;host;x-amz-date", "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
			"POST / HTTP/1.1\nHost: example.amazonaws.com\nContent-Type: application/x-www-form-urlencoded\n\nParam1=value1",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			head, body, _ := strings.Cut(tt.request, "\n\n")
			r, b := request(t, head+"\nX-Amz-Date: 20150830T123600Z\nAuthorization: AWS4-HMAC-SHA256 Credential="+
				strings.Replace(exampleScope, "service", tt.service, 1)+", SignedHeaders="+tt.signed+", Signature="+tt.signature+"\n\n"+body)
			a, err := authenticate(r, b, exampleKey(), exampleTime, scope(tt.service))
			if err != nil {
				t.Fatal(err)
			}
			if a.AccessKeyID != "AKIDEXAMPLE" || a.Region != "us-east-1" || a.Service != tt.service || a.Date != "20150830" ||
				!a.Time.Equal(exampleTime) || a.Token != "" {
				t.Errorf("read %+v", a)
			}
		})
	}
}

// TestDateHeader signs with the Date header alone, in HTTP's form and in
// ISO 8601's.
func TestDateHeader(t *testing.T) {
	for _, date := range []string{"Sun, 30 Aug 2015 12:36:00 GMT", "20150830T123600Z"} {
		r, _ := request(t, "POST / HTTP/1.1\nHost: example.amazonaws.com\nDate: "+date+
			"\nAuthorization: AWS4-HMAC-SHA256 Credential="+exampleScope+", SignedHeaders=date;host, Signature="+dateSignature(date))
		if _, err := authenticate(r, nil, exampleKey(), exampleTime, scope("service")); err != nil {
			t.Errorf("Date: %s: %v", date, err)
		}
	}
}

// good is a request that is accepted; the signature is put in by goodRequest.
const good = `POST / HTTP/1.1
Host: kms.eu-central-1.example.com
Content-Type: application/x-amz-json-1.1
X-Amz-Date: 20150830T123600Z
X-Amz-Target: TrentService.ListKeys
User-Agent: test
Authorization: `

const (
	goodScope  = "AKIDEXAMPLE/20150830/eu-central-1/kms/aws4_request"
	goodSigned = "content-type;host;x-amz-date;x-amz-target"
)

func goodAuthorization() string {
	r, _ := http.NewRequest("POST", "https://kms.eu-central-1.example.com/", nil)
	r.Header.Set("Content-Type", "application/x-amz-json-1.1")
	r.Header.Set("X-Amz-Target", "TrentService.ListKeys")
	sigv4.Credentials{AccessKeyID: "AKIDEXAMPLE", Key: exampleKey()}.Sign(r, []byte("{}"), "eu-central-1", "kms", exampleTime)
	return r.Header.Get("Authorization")
}

func TestGood(t *testing.T) {
	authorization := goodAuthorization()
	variants := map[string]string{
		"as signed":          good + authorization + "\n\n{}",
		"no spaces":          good + strings.ReplaceAll(authorization, ", ", ",") + "\n\n{}",
		"spaces only":        good + strings.ReplaceAll(authorization, ", ", " ") + "\n\n{}",
		"many spaces":        good + strings.ReplaceAll(authorization, ", ", " ,\t ") + "\n\n{}",
		"another order":      good + reorder(authorization) + "\n\n{}",
		"another user agent": strings.Replace(good+authorization+"\n\n{}", "User-Agent: test", "User-Agent: another", 1),
		"HTTP/1.0":           strings.Replace(good+authorization+"\n\n{}", "HTTP/1.1", "HTTP/1.0", 1),
		"lower-case headers": strings.Replace(good+authorization+"\n\n{}", "X-Amz-", "x-amz-", 2),
	}
	for name, text := range variants {
		r, body := request(t, text)
		if _, err := authenticate(r, body, exampleKey(), exampleTime, scope("kms")); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func reorder(authorization string) string {
	scheme, rest, _ := strings.Cut(authorization, " ")
	parts := strings.Split(rest, ", ")
	slices.Reverse(parts)
	return scheme + " " + strings.Join(parts, ", ")
}

func TestRefused(t *testing.T) {
	authorization := goodAuthorization()
	replaced := func(old, new string) string {
		text := good + authorization + "\n\n{}"
		if !strings.Contains(text, old) {
			t.Fatalf("no %q to replace", old)
		}
		return strings.Replace(text, old, new, 1)
	}
	const (
		incomplete = "IncompleteSignatureException"
		invalid    = "InvalidSignatureException"
		mismatch   = "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details."
	)
	tests := []struct{ name, request, code, message string }{
		{"no Authorization", replaced("Authorization: "+authorization+"\n", "\n"), "MissingAuthenticationTokenException", "Missing Authentication Token"},
		{"an empty one", replaced(authorization, ""), "MissingAuthenticationTokenException", "Missing Authentication Token"},
		{"Bearer", replaced(authorization, "Bearer abc"), "MissingAuthenticationTokenException", "Missing Authentication Token"},
		{"version 2", replaced(authorization, "AWS AKIDEXAMPLE:abc="), "MissingAuthenticationTokenException", "Missing Authentication Token"},
		{
			"presigned", strings.Replace(replaced("Authorization: "+authorization+"\n", "\n"), "POST /",
				"POST /?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential="+url.QueryEscape(goodScope)+"&X-Amz-Signature="+strings.Repeat("0", 64), 1),
			"MissingAuthenticationTokenException", "Missing Authentication Token",
		},
		{"asymmetric", replaced("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256"), incomplete, "Unsupported AWS 'algorithm': 'AWS4-ECDSA-P256-SHA256'."},
		{"lower-case algorithm", replaced("AWS4-HMAC-SHA256", "AWS4-HMAC-sha256"), incomplete, "Unsupported AWS 'algorithm': 'AWS4-HMAC-sha256'."},
		{"two", replaced("Authorization: ", "Authorization: a\nAuthorization: "), incomplete, "The request has more than one Authorization header."},
		{"too long", replaced("Signature=", "Signature="+strings.Repeat("0", 5000)), incomplete, "The Authorization header is too long."},
		{
			"no parameters", replaced(authorization, "AWS4-HMAC-SHA256"), incomplete,
			"Authorization header requires 'Credential' parameter. Authorization header requires 'Signature' parameter. Authorization header requires 'SignedHeaders' parameter. Authorization=AWS4-HMAC-SHA256",
		},
		{
			"nothing at all", strings.Replace(replaced(authorization, "AWS4-HMAC-SHA256"), "X-Amz-Date: 20150830T123600Z\n", "", 1), incomplete,
			"Authorization header requires 'Credential' parameter. Authorization header requires 'Signature' parameter. Authorization header requires 'SignedHeaders' parameter. Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. Authorization=AWS4-HMAC-SHA256",
		},
		{
			"no date", replaced("X-Amz-Date: 20150830T123600Z\n", ""), incomplete,
			"Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. Authorization=" + authorization,
		},
		{
			"no Signature", replaced(", Signature=", ", Signature= "), incomplete, "'" + authorization[len(authorization)-64:] +
				"' not a valid key=value pair (missing equal-sign) in Authorization header: '" +
				strings.Replace(authorization, ", Signature=", ", Signature= ", 1) + "'.",
		},
		{
			"a parameter twice", replaced(", Signature=", ", SignedHeaders=host, Signature="), incomplete,
			"Unknown or repeated parameter 'SignedHeaders' in Authorization header: '" + strings.Replace(authorization, ", Signature=", ", SignedHeaders=host, Signature=", 1) + "'.",
		},
		{
			"an unknown parameter", replaced(", Signature=", ", Extra=, Signature="), incomplete,
			"Unknown or repeated parameter 'Extra' in Authorization header: '" + strings.Replace(authorization, ", Signature=", ", Extra=, Signature=", 1) + "'.",
		},
		{
			"four elements", replaced("/aws4_request", ""), invalid,
			"Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got '" + strings.TrimSuffix(goodScope, "/aws4_request") + "'",
		},
		{
			"six elements", replaced("/aws4_request", "/aws4_request/"), invalid,
			"Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got '" + goodScope + "/'",
		},
		{
			"a bad date", replaced("X-Amz-Date: 20150830T123600Z", "X-Amz-Date: 2015-08-30T12:36:00Z"), incomplete,
			"Date must be in ISO-8601 'basic format'. Got '2015-08-30T12:36:00Z'. See http://en.wikipedia.org/wiki/ISO_8601",
		},
		{
			"two dates", replaced("X-Amz-Date: 20150830T123600Z", "X-Amz-Date: 20150830T123600Z\nX-Amz-Date: 20150830T123600Z"), incomplete,
			"Date must be in ISO-8601 'basic format'. Got '20150830T123600Z,20150830T123600Z'. See http://en.wikipedia.org/wiki/ISO_8601",
		},
		{"host unsigned", replaced("host;", ""), incomplete, "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization."},
		{"date unsigned", replaced("x-amz-date;", ""), incomplete, "'X-Amz-Date' must be a 'SignedHeader' in the AWS Authorization."},
		{"target unsigned", replaced(";x-amz-target", ""), incomplete, "'X-Amz-Target' must be a 'SignedHeader' in the AWS Authorization."},
		{"token unsigned", replaced("User-Agent:", "X-Amz-Security-Token: abc\nUser-Agent:"), incomplete, "'X-Amz-Security-Token' must be a 'SignedHeader' in the AWS Authorization."},
		{"another unsigned", replaced("User-Agent:", "X-Amz-Meta-A: abc\nX-Amz-B: abc\nUser-Agent:"), incomplete, "'X-Amz-B' must be a 'SignedHeader' in the AWS Authorization."},
		{"signed, not there", replaced("Content-Type: application/x-amz-json-1.1\n", ""), incomplete, "'content-type' is named as a SignedHeader, but it does not exist in the HTTP request."},
		{"signed, not in order", replaced("content-type;host", "host;content-type"), incomplete, "SignedHeaders must be lower case, sorted and without repetition, got 'host;content-type;x-amz-date;x-amz-target'"},
		{"signed twice", replaced("content-type;host", "content-type;host;host"), incomplete, "SignedHeaders must be lower case, sorted and without repetition, got 'content-type;host;host;x-amz-date;x-amz-target'"},
		{"signed in upper case", replaced("content-type;host", "Content-Type;host"), incomplete, "SignedHeaders must be lower case, sorted and without repetition, got 'Content-Type;host;x-amz-date;x-amz-target'"},
		{"another terminator", replaced("aws4_request", "aws5_request"), invalid, "Credential should be scoped with a valid terminator: 'aws4_request', not 'aws5_request'."},
		{"another Region", replaced("/eu-central-1/", "/nowhere-1/"), invalid, "Credential should be scoped to a valid region."},
		{"no Region", replaced("/eu-central-1/", "//"), invalid, "Credential should be scoped to a valid region."},
		{"another service", replaced("/kms/", "/s3/"), invalid, "Credential should be scoped to correct service: 'kms'."},
		{
			"another day", replaced("/20150830/", "/20150831/"), invalid,
			"Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '20150831' != '20150830', from '20150830T123600Z'.",
		},
		{
			"too old", replaced("20150830T123600Z", "20150830T123059Z"), invalid,
			"Signature expired: 20150830T123059Z is now earlier than 20150830T123100Z (20150830T123600Z - 5 min.)",
		},
		{
			"too new", replaced("20150830T123600Z", "20150830T124101Z"), invalid,
			"Signature not yet current: 20150830T124101Z is still later than 20150830T124100Z (20150830T123600Z + 5 min.)",
		},
		{"an empty token", replaced("User-Agent:", "X-Amz-Security-Token: \nUser-Agent:"), incomplete, "'X-Amz-Security-Token' must be a 'SignedHeader' in the AWS Authorization."},
		{"a short signature", replaced("Signature=", "Signature=0"), invalid, mismatch},
		{"a wrong signature", replaced("Signature=", "Signature="+strings.Repeat("0", 64)+"\nX-Rest: "), invalid, mismatch},
		{"an upper-case signature", replaced(authorization, authorization[:len(authorization)-64]+strings.ToUpper(authorization[len(authorization)-64:])), invalid, mismatch},
		{"another body", replaced("\n\n{}", "\n\n{ }"), invalid, mismatch},
		{"another target", replaced("ListKeys", "ListAliases"), invalid, mismatch},
		{"another method", replaced("POST", "PUT"), invalid, mismatch},
		{"another path", replaced("POST /", "POST /a"), invalid, mismatch},
		{"a query", replaced("POST /", "POST /?a"), invalid, mismatch},
		{"another host", replaced("eu-central-1.example", "eu-central-2.example"), invalid, mismatch},
		{"another second", replaced("20150830T123600Z", "20150830T123601Z"), invalid, mismatch},
		{"a value more", replaced("Content-Type: ", "Content-Type: a\nContent-Type: "), invalid, mismatch},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, body := request(t, tt.request)
			_, err := authenticate(r, body, exampleKey(), exampleTime, scope("kms"))
			var e *sigv4.Error
			if !errors.As(err, &e) {
				t.Fatalf("got %v, want %s", err, tt.code)
			}
			if e.Code != tt.code || e.Message != tt.message {
				t.Errorf("got  %s: %s\nwant %s: %s", e.Code, e.Message, tt.code, tt.message)
			}
		})
	}
}

// TestPayloadHash checks that the hash that a client states is of the body.
func TestPayloadHash(t *testing.T) {
	c := sigv4.Credentials{AccessKeyID: "AKIDEXAMPLE", Key: exampleKey()}
	sign := func() *http.Request {
		r, _ := http.NewRequest("POST", "https://localhost/", nil)
		r.Header.Set("X-Amz-Content-Sha256", "to be set by Sign")
		c.Sign(r, []byte("{}"), "us-east-1", "kms", exampleTime)
		return r
	}
	if _, err := authenticate(sign(), []byte("{}"), c.Key, exampleTime, scope("kms")); err != nil {
		t.Errorf("the right hash: %v", err)
	}
	if _, err := authenticate(sign(), []byte("[]"), c.Key, exampleTime, scope("kms")); err != sigv4.ErrSignature {
		t.Errorf("another body: %v, want ErrSignature", err)
	}
	for _, hash := range []string{
		"UNSIGNED-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "",
		"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
	} {
		r := sign()
		r.Header.Set("X-Amz-Content-Sha256", hash)
		if _, err := authenticate(r, []byte("{}"), c.Key, exampleTime, scope("kms")); err != sigv4.ErrSignature {
			t.Errorf("X-Amz-Content-Sha256 %q: %v, want ErrSignature", hash, err)
		}
	}
}

func TestClock(t *testing.T) {
	r, body := request(t, good+goodAuthorization()+"\n\n{}")
	for _, tt := range []struct {
		now  time.Time
		want bool
	}{
		{exampleTime.Add(5 * time.Minute), true},
		{exampleTime.Add(5*time.Minute + 999*time.Millisecond), true},
		{exampleTime.Add(5*time.Minute + time.Second), false},
		{exampleTime.Add(-5 * time.Minute), true},
		{exampleTime.Add(-5*time.Minute - time.Millisecond), false},
		{exampleTime.In(time.FixedZone("", 3600)), true},
		{exampleTime.AddDate(1, 0, 0), false},
		{exampleTime.AddDate(-1, 0, 0), false},
	} {
		_, err := authenticate(r, body, exampleKey(), tt.now, scope("kms"))
		if (err == nil) != tt.want {
			t.Errorf("at %v: %v", tt.now, err)
		}
	}
	s := scope("kms")
	s.Skew = 15 * time.Minute
	_, err := authenticate(r, body, exampleKey(), exampleTime.Add(time.Hour), s)
	if err == nil || !strings.Contains(err.Error(), "20150830T132100Z (20150830T133600Z - 15 min.)") {
		t.Errorf("with 15 minutes: %v", err)
	}
}

func TestDates(t *testing.T) {
	authorization := goodAuthorization()
	for _, date := range []string{
		"", "20150830", "20150830T123600", "20150830T123600z", "20150830t123600Z", "20151330T123600Z", "20150230T123600Z",
		"20150800T123600Z", "20150830T243600Z", "20150830T126000Z", "20150830T123660Z", "2015083 T123600Z", "+0150830T123600Z",
		"Sun, 30 Aug 2015 12:36:00 GMT", "20150830T123600Z ,",
	} {
		r, _ := request(t, good+authorization+"\n\n{}")
		r.Header.Set("X-Amz-Date", date)
		_, err := sigv4.Parse(r)
		var e *sigv4.Error
		if !errors.As(err, &e) || !strings.HasPrefix(e.Message, "Date must be") {
			t.Errorf("X-Amz-Date %q: %v", date, err)
		}
	}
	r, _ := request(t, strings.Replace(good+authorization+"\n\n{}", "20150830T123600Z", "20160229T235959Z", 1))
	a, err := sigv4.Parse(r)
	if want := time.Date(2016, 2, 29, 23, 59, 59, 0, time.UTC); err != nil || !a.Time.Equal(want) {
		t.Errorf("20160229T235959Z is %v, %v", a.Time, err)
	}
}

// TestSign signs what clients send and verifies what a server reads of it.
func TestSign(t *testing.T) {
	tests := map[string]struct {
		url    string
		header http.Header
		body   string
		token  string
	}{
		"plain":        {"https://localhost:4599/", nil, "{}", ""},
		"no body":      {"https://localhost:4599/", nil, "", ""},
		"no path":      {"https://localhost:4599", nil, "{}", ""},
		"token":        {"https://localhost/", nil, "{}", "a/token+with=signs"},
		"query":        {"https://localhost/?b=2&a=1&a=0&c&d=%20+%2f%zz&=&&e=%C3%A9", nil, "{}", ""},
		"path":         {"https://localhost/a%20b/%2F/../c/./d//é~-._/", nil, "{}", ""},
		"header":       {"https://localhost/", http.Header{"X-Many": {" a  b ", "c", ""}, "Empty": {""}, "Etag": {`"a   b"`}}, "{}", ""},
		"own headers":  {"https://localhost/", http.Header{"User-Agent": {"x"}, "X-Amzn-Trace-Id": {"Root=1"}}, "{}", ""},
		"another host": {"https://127.0.0.1:1/", http.Header{"Host": {"ignored"}}, "{}", ""},
		"signed again": {"https://localhost/", http.Header{"Authorization": {"old"}, "X-Amz-Date": {"old"}}, "{}", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			out, err := http.NewRequest("POST", tt.url, strings.NewReader(tt.body))
			if err != nil {
				t.Fatal(err)
			}
			maps.Copy(out.Header, tt.header)
			c := sigv4.Credentials{AccessKeyID: "AKIDEXAMPLE", Key: exampleKey(), Token: tt.token}
			c.Sign(out, []byte(tt.body), "us-east-1", "kms", exampleTime)
			var sent bytes.Buffer
			if err := out.Write(&sent); err != nil {
				t.Fatal(err)
			}
			in, err := http.ReadRequest(bufio.NewReader(&sent))
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(in.Body)
			if err != nil {
				t.Fatal(err)
			}
			a, err := authenticate(in, body, exampleKey(), exampleTime, scope("kms"))
			if err != nil {
				t.Fatalf("%v\n%s", err, sent.String())
			}
			if a.Token != tt.token {
				t.Errorf("token %q, want %q", a.Token, tt.token)
			}
		})
	}
}

// TestMutations changes every byte of a signed request, in two ways. What a
// server then reads is refused, unless it is the same request.
func TestMutations(t *testing.T) {
	out, err := http.NewRequest("POST", "https://localhost:4599/", strings.NewReader(`{"KeyId":"alias/a"}`))
	if err != nil {
		t.Fatal(err)
	}
	out.Header.Set("Content-Type", "application/x-amz-json-1.1")
	out.Header.Set("X-Amz-Target", "TrentService.DescribeKey")
	out.Header.Set("Accept", "a, b")
	out.Header["User-Agent"] = []string{""} // not sent: it is not signed, and could be renamed
	k := exampleKey()
	sigv4.Credentials{AccessKeyID: "AKIDEXAMPLE", Key: k, Token: "token"}.Sign(out, []byte(`{"KeyId":"alias/a"}`), "us-east-1", "kms", exampleTime)
	var sent bytes.Buffer
	if err := out.Write(&sent); err != nil {
		t.Fatal(err)
	}
	read := func(text []byte) (r *http.Request, body []byte, ok bool) {
		r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(text)))
		if err != nil {
			return nil, nil, false
		}
		body, err = io.ReadAll(r.Body)
		return r, body, err == nil
	}
	// What a request says, without the length of its body.
	says := func(r *http.Request, body []byte) string {
		var b strings.Builder
		fmt.Fprintf(&b, "%s %s %s\n%s\n", r.Method, r.RequestURI, r.Host, body)
		for _, key := range slices.Sorted(maps.Keys(r.Header)) {
			if key != "Content-Length" {
				fmt.Fprintf(&b, "%s: %q\n", key, r.Header[key])
			}
		}
		return b.String()
	}
	r, body, ok := read(sent.Bytes())
	if !ok {
		t.Fatal("the request can't be read")
	}
	original := says(r, body)
	if _, err := authenticate(r, body, k, exampleTime, scope("kms")); err != nil {
		t.Fatalf("the request as sent: %v", err)
	}
	refused := 0
	for i := range sent.Len() {
		for _, bit := range []byte{1, 0x20} {
			text := slices.Clone(sent.Bytes())
			text[i] ^= bit
			r, body, ok := read(text)
			if !ok || says(r, body) == original {
				continue
			}
			a, err := authenticate(r, body, k, exampleTime, scope("kms"))
			if err == nil && a.AccessKeyID == "AKIDEXAMPLE" { // with another, another key is looked up
				t.Errorf("byte %d changed, and accepted:\n%s", i, text)
			}
			refused++
		}
	}
	if refused < sent.Len()/2 {
		t.Errorf("only %d of %d changes were refused", refused, 2*sent.Len())
	}
}

// TestKeyShared uses one key for many scopes from many goroutines.
func TestKeyShared(t *testing.T) {
	c := sigv4.Credentials{AccessKeyID: "AKIDEXAMPLE", Key: exampleKey()}
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 50 {
				now := exampleTime.AddDate(0, 0, (g*i)%40) // more days than a key remembers
				r, body := sdkRequest(t, c, now)
				if _, err := authenticate(r, body, c.Key, now, scope("kms")); err != nil {
					t.Error(err)
					return
				}
				body[0] = '['
				if _, err := authenticate(r, body, c.Key, now, scope("kms")); err == nil {
					t.Error("another body was accepted")
					return
				}
			}
		})
	}
	wg.Wait()
	if text := fmt.Sprintf("%v %+v %#v %v", c, c, c.Key, c.Key); strings.Contains(text, "wJalrXUt") || strings.Contains(text, "119, 74, 97") {
		t.Errorf("a key prints its secret: %s", text)
	}
}

func TestOtherKey(t *testing.T) {
	r, body := request(t, good+goodAuthorization()+"\n\n{}")
	for _, other := range []string{"too-short-a-key", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEz", strings.Repeat("x", 200)} {
		k := sigv4.NewKey(secret.New([]byte(other)))
		if _, err := authenticate(r, body, k, exampleTime, scope("kms")); err != sigv4.ErrSignature {
			t.Errorf("with another key: %v, want ErrSignature", err)
		}
	}
}
