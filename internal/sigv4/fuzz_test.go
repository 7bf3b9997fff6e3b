package sigv4_test

import (
	"bytes"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/keyreeve/keyreeve/internal/sigv4"
)

// FuzzAuthorization gives the parser any headers. It answers what it read or
// one of its own errors, and what is not signed is not accepted.
func FuzzAuthorization(f *testing.F) {
	f.Add(goodAuthorization(), "20150830T123600Z", "", "")
	f.Add("AWS4-HMAC-SHA256 Credential=a/b/c/d/e,SignedHeaders=host;x-amz-date,Signature=00", "20150830T123600Z", "", "t")
	f.Add("AWS4-HMAC-SHA256 Credential=////,SignedHeaders=;;, Signature==", "", "Sun, 30 Aug 2015 12:36:00 GMT", "")
	f.Add("AWS4-ECDSA-P256-SHA256 a", "20150830T123600Z", "", "")
	k := exampleKey()
	f.Fuzz(func(t *testing.T, authorization, amzDate, date, token string) {
		r := &http.Request{Method: "POST", Host: "localhost", URL: &url.URL{Path: "/"}, Header: http.Header{}}
		r.Header.Set("Authorization", authorization)
		for key, value := range map[string]string{"X-Amz-Date": amzDate, "Date": date, "X-Amz-Security-Token": token} {
			if value != "" {
				r.Header.Set(key, value)
			}
		}
		a, err := authenticate(r, []byte("{}"), k, exampleTime, scope("kms"))
		if err == nil {
			t.Fatalf("accepted: %q", authorization)
		}
		var e *sigv4.Error
		if !errors.As(err, &e) || e.Code == "" || e.Message == "" {
			t.Fatalf("not an answer: %v", err)
		}
		if a.AccessKeyID != "" && !strings.Contains(authorization, a.AccessKeyID+"/"+a.Date+"/"+a.Region+"/"+a.Service) {
			t.Fatalf("read %+v from %q", a, authorization)
		}
	})
}

// FuzzCanonical signs any request: it is accepted as it is, and refused with
// another body.
func FuzzCanonical(f *testing.F) {
	f.Add("POST", "localhost", "/", "", "Content-Type", "application/x-amz-json-1.1", []byte("{}"))
	f.Add("GET", "a:1", "/a/../b//%2f/", "a=b&&c=%zz+", "X-A", "  a   b ", []byte(nil))
	f.Add("", "", "", "=&%", "", "\t", []byte{0})
	f.Fuzz(func(t *testing.T, method, host, path, query, name, value string, body []byte) {
		if host == "" || strings.EqualFold(name, "Authorization") {
			return
		}
		u := &url.URL{Path: path, RawQuery: query}
		if unescaped, err := url.PathUnescape(path); err == nil {
			u.Path, u.RawPath = unescaped, path
		}
		r := &http.Request{Method: method, Host: host, URL: u, Header: http.Header{}}
		// Only what net/http would let in.
		if strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") == "" && name != "" && len(name) <= 128 {
			r.Header.Add(name, value)
			r.Header.Add(name, method)
		}
		c := sigv4.Credentials{AccessKeyID: "AKIDEXAMPLE", Key: exampleKey()}
		c.Sign(r, body, "us-east-1", "kms", exampleTime)
		if len(r.Header.Get("Authorization")) > 4096 {
			return
		}
		if _, tokens := r.Header["X-Amz-Security-Token"]; tokens {
			return // two of them are refused
		}
		if _, err := authenticate(r, body, c.Key, exampleTime, scope("kms")); err != nil {
			t.Fatalf("refused: %v", err)
		}
		if _, err := authenticate(r, append(bytes.Clone(body), ' '), c.Key, exampleTime, scope("kms")); err == nil {
			t.Fatal("accepted with another body")
		}
	})
}

// FuzzX509 gives the parser any certificates, and any signature. It answers one
// of its own errors, and nothing is accepted.
func FuzzX509(f *testing.F) {
	f.Add("AWS4-X509-RSA-SHA256", "1", "MIIB", "")
	f.Add("AWS4-X509-ECDSA-SHA256", "", "", ",,,,,")
	f.Fuzz(func(t *testing.T, algorithm, serial, certificate, chain string) {
		r := &http.Request{Method: "POST", Host: "localhost", URL: &url.URL{Path: "/sessions"}, Header: http.Header{}}
		r.Header.Set("Authorization", algorithm+" Credential="+serial+"/20150830/eu-central-1/rolesanywhere/aws4_request, "+
			"SignedHeaders=host;x-amz-date;x-amz-x509;x-amz-x509-chain, Signature=00")
		r.Header.Set("X-Amz-Date", "20150830T123600Z")
		r.Header.Set("X-Amz-X509", certificate)
		r.Header.Set("X-Amz-X509-Chain", chain)
		x, err := sigv4.ParseX509(r)
		if err == nil {
			err = x.Verify(r, nil)
		}
		var e *sigv4.Error
		if !errors.As(err, &e) || e.Code == "" || e.Message == "" {
			t.Fatalf("not an answer: %v", err)
		}
	})
}
