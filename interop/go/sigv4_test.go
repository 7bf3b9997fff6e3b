package interop

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

const rounds = 300

// randomRequest makes a request that says nothing unusual to the service and
// much to a canonicalizer: headers of any case, repeated, with spaces around
// and inside.
func randomRequest(t *testing.T, c *caller, r *rand.Rand) (*http.Request, []byte) {
	t.Helper()
	body := []byte(`{"Limit":` + strconv.Itoa(1+r.IntN(1000)) + `,"Ignored":"` + strings.Repeat("é ", r.IntN(50)) + `"}`)
	req := c.request(t, "ListKeys", body)
	values := []string{"", "a", "a b", "  a   b\t c  ", "a,b", "a, b", "ä€", `"quoted  twice"`, "a=b; c=d", strings.Repeat("long ", 100), "%20+%2F"}
	names := []string{"X-Random", "x-lower", "X-UPPER-CASE", "X-Amz-Meta-Random", "Zz-Last", "A-First", "X_Under_Score", "Cache-Control", "X-1"}
	for range r.IntN(8) {
		name := names[r.IntN(len(names))]
		for range 1 + r.IntN(3) {
			req.Header.Add(name, values[r.IntN(len(values))])
		}
	}
	if r.IntN(2) == 0 {
		req.Header.Set("User-Agent", "interop/1  two   spaces")
	}
	return req, body
}

// TestSignatures signs random requests with the SDK's signer and checks that
// each is accepted, and that it is refused, with the code that AWS gives, when
// anything that was signed is changed afterwards.
func TestSignatures(t *testing.T) {
	c := newCaller(t)
	const seed = 20260101
	r := rand.New(rand.NewPCG(seed, seed))

	mutations := map[string]struct {
		code   string
		mutate func(req *http.Request, body []byte) bool // false: does not apply
	}{
		"another body": {"InvalidSignatureException", func(req *http.Request, body []byte) bool {
			changed := bytes.Replace(body, []byte("Ignored"), []byte("ignored"), 1)
			req.Body = io.NopCloser(bytes.NewReader(changed))
			req.GetBody = nil
			return true
		}},
		"another operation": {"InvalidSignatureException", func(req *http.Request, _ []byte) bool {
			req.Header.Set("X-Amz-Target", "TrentService.ListAliases")
			return true
		}},
		"a header changed": {"InvalidSignatureException", func(req *http.Request, _ []byte) bool {
			name := signedHeader(req)
			if name == "" {
				return false
			}
			req.Header.Set(name, "changed")
			return true
		}},
		"a header removed": {"IncompleteSignatureException", func(req *http.Request, _ []byte) bool {
			name := signedHeader(req)
			if name == "" {
				return false
			}
			req.Header.Del(name)
			return true
		}},
		"a value added": {"InvalidSignatureException", func(req *http.Request, _ []byte) bool {
			name := signedHeader(req)
			if name == "" {
				return false
			}
			req.Header.Add(name, "more")
			return true
		}},
		"another host": {"InvalidSignatureException", func(req *http.Request, _ []byte) bool {
			req.Host = "kms." + c.region + ".example.com"
			return true
		}},
		"a query string": {"InvalidSignatureException", func(req *http.Request, _ []byte) bool {
			req.URL.RawQuery = "a=b"
			return true
		}},
		"another date": {"InvalidSignatureException", func(req *http.Request, _ []byte) bool {
			at, err := time.Parse("20060102T150405Z", req.Header.Get("X-Amz-Date"))
			if err != nil {
				return false
			}
			req.Header.Set("X-Amz-Date", at.Add(time.Second).Format("20060102T150405Z"))
			return true
		}},
		"another signature": {"InvalidSignatureException", replace("Signature=", func(s string) string {
			last := "0"
			if strings.HasSuffix(s, "0") {
				last = "1"
			}
			return s[:len(s)-1] + last
		})},
		"a short signature": {"InvalidSignatureException", replace("Signature=", func(s string) string { return s[:len(s)-2] })},
		"another Region": {"InvalidSignatureException", replace("Credential=", func(s string) string {
			return strings.Replace(s, "/"+c.region+"/", "/nowhere-1/", 1)
		})},
		"another service": {"InvalidSignatureException", replace("Credential=", func(s string) string {
			return strings.Replace(s, "/kms/", "/s3/", 1)
		})},
		"another day": {"InvalidSignatureException", replace("Credential=", func(s string) string {
			parts := strings.Split(s, "/")
			parts[1] = "20200101"
			return strings.Join(parts, "/")
		})},
		"four parts of a scope": {"InvalidSignatureException", replace("Credential=", func(s string) string {
			return strings.TrimSuffix(s, "/aws4_request")
		})},
		"an unknown access key": {"UnrecognizedClientException", replace("Credential=", func(s string) string {
			return "AKIAI44QH8DHBEXAMPLE" + s[strings.IndexByte(s, '/'):]
		})},
		"the host unsigned": {"IncompleteSignatureException", replace("SignedHeaders=", func(s string) string {
			return strings.Replace(";"+s+";", ";host;", ";", 1)[1:]
		})},
		"no signature": {"IncompleteSignatureException", func(req *http.Request, _ []byte) bool {
			auth := req.Header.Get("Authorization")
			req.Header.Set("Authorization", auth[:strings.Index(auth, ", Signature=")])
			return true
		}},
		"no authorization": {"MissingAuthenticationTokenException", func(req *http.Request, _ []byte) bool {
			req.Header.Del("Authorization")
			return true
		}},
	}

	for i := range rounds {
		req, body := randomRequest(t, c, r)
		c.sign(t, req, body, time.Now())
		if a := c.send(t, req); a.Status != http.StatusOK {
			t.Fatalf("round %d: a good request is refused: %s %q\n%v", i, a.Type, a.Message, req.Header)
		}
	}
	for name, m := range mutations {
		applied := 0
		for range 20 {
			req, body := randomRequest(t, c, r)
			c.sign(t, req, body, time.Now())
			if !m.mutate(req, body) {
				continue
			}
			applied++
			if a := c.send(t, req); a.Type != m.code || a.Status != http.StatusBadRequest {
				t.Errorf("%s: answer %d %s %q, want 400 %s\n%v", name, a.Status, a.Type, a.Message, m.code, req.Header)
				break
			}
		}
		if applied == 0 {
			t.Errorf("%s: never applied", name)
		}
	}
}

// signedHeader returns a header of the request that is signed and not needed
// by the protocol, or "".
func signedHeader(req *http.Request) string {
	for name := range req.Header {
		switch name {
		case "X-Random", "X-Lower", "X-Amz-Meta-Random", "Zz-Last", "A-First", "X-1":
			return name
		}
	}
	return ""
}

// replace returns a mutation of one part of the Authorization header.
func replace(part string, change func(string) string) func(*http.Request, []byte) bool {
	return func(req *http.Request, _ []byte) bool {
		auth := req.Header.Get("Authorization")
		_, rest, ok := strings.Cut(auth, part)
		if !ok {
			return false
		}
		old, _, _ := strings.Cut(rest, ",")
		req.Header.Set("Authorization", strings.Replace(auth, part+old, part+change(old), 1))
		return true
	}
}

func TestClock(t *testing.T) {
	c := newCaller(t)
	body := []byte("{}")
	for _, tt := range []struct {
		off  time.Duration
		code string
		text string
	}{
		{0, "", ""},
		{-4 * time.Minute, "", ""},
		{4 * time.Minute, "", ""},
		{-6 * time.Minute, "InvalidSignatureException", "Signature expired: "},
		{6 * time.Minute, "InvalidSignatureException", "Signature not yet current: "},
		{-48 * time.Hour, "InvalidSignatureException", "Signature expired: "},
	} {
		req := c.request(t, "ListKeys", body)
		c.sign(t, req, body, time.Now().Add(tt.off))
		if a := c.send(t, req); a.Type != tt.code || !strings.HasPrefix(a.Message, tt.text) {
			t.Errorf("a clock off by %v: %d %s %q, want %s %q", tt.off, a.Status, a.Type, a.Message, tt.code, tt.text)
		}
	}
}

// TestToken sends a session token along with a key that has none.
func TestToken(t *testing.T) {
	c := newCaller(t)
	c.credentials.SessionToken = "FwoGZXIvYXdzEXAMPLE"
	if a := c.call(t, "ListKeys", "{}"); a.Type != "UnrecognizedClientException" {
		t.Errorf("answer %d %s %q, want UnrecognizedClientException", a.Status, a.Type, a.Message)
	}
}

// TestPresigned sends signatures in the query string. The server may refuse
// them all, but accepts none that was tampered with.
func TestPresigned(t *testing.T) {
	c := newCaller(t)
	const empty = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a" // SHA-256 of "{}"
	for _, tamper := range []bool{false, true} {
		req := c.request(t, "ListKeys", []byte("{}"))
		signed, header, err := v4.NewSigner().PresignHTTP(t.Context(), c.credentials, req, empty, "kms", c.region, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if tamper {
			signed += "0"
		}
		presigned, err := http.NewRequestWithContext(t.Context(), http.MethodPost, signed, strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		presigned.Header = header
		presigned.Header.Set("Content-Type", "application/x-amz-json-1.1")
		presigned.Header.Set("X-Amz-Target", "TrentService.ListKeys")
		a := c.send(t, presigned)
		if a.Status >= 500 || tamper && a.Status == http.StatusOK {
			t.Errorf("presigned, tampered with = %v: answer %d %s", tamper, a.Status, a.Type)
		}
		t.Logf("presigned, tampered with = %v: answer %d %s %q", tamper, a.Status, a.Type, a.Message)
	}
}
