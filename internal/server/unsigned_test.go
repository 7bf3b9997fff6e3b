package server_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/server"
	"github.com/keyreeve/keyreeve/internal/wire"
)

// newUnsigned is a server with an operation that finds out by itself who calls:
// whoever says "who=alice".
func newUnsigned(t *testing.T) *parts {
	p := newServer(t, nil)
	b := p.backend()
	echo := &call.Operation{
		Name: "Enter", Service: "sts", EventSource: "sts.amazonaws.com",
		Invoke: func(_ context.Context, c *call.Call, body, out []byte) ([]byte, error) {
			text := string(body)
			switch {
			case strings.Contains(text, "who=nobody"): // a mistake
				return wire.AppendXMLString(out, "Secret", "s"), nil
			case strings.Contains(text, "who=panic"):
				panic("x")
			case strings.Contains(text, "who=broken"):
				return out, errors.New("cause-for-the-log")
			case strings.Contains(text, "who=late"):
				return out, &wire.Error{Code: "ExpiredTokenException", Message: "m", Status: http.StatusBadRequest}
			case !strings.Contains(text, "who=alice"):
				return out, &wire.Error{Code: "InvalidIdentityToken", Message: "m", Status: http.StatusBadRequest}
			}
			c.Caller = alice
			if strings.Contains(text, "deny") {
				return out, &wire.Error{Code: "AccessDenied", Message: "m", Status: http.StatusForbidden}
			}
			return wire.AppendXMLString(out, "EchoResult", c.Region), nil
		},
	}
	b.Services = append(b.Services, server.Service{
		Name: "sts", Protocol: server.Query, Version: stsVersion, Namespace: stsSpace, Unsigned: []string{"Enter"},
		Operations: map[string]*call.Operation{"Enter": echo, "Other": echo},
	})
	if err := p.Unseal(b); err != nil {
		t.Fatal(err)
	}
	return p
}

// TestUnsigned: what needs no signature is on record as soon as it is known who
// calls, and not before.
func TestUnsigned(t *testing.T) {
	p := newUnsigned(t)
	s := p.listen(t)
	for _, tt := range []struct {
		name, body, code string
		status           int
		recorded         bool
	}{
		{"good", "Action=Enter&Version=2011-06-15&who=alice", "", 200, true},
		{"denied", "Action=Enter&Version=2011-06-15&who=alice&deny", "AccessDenied", 403, true},
		{"a bad token", "Action=Enter&Version=2011-06-15&who=eve", "InvalidIdentityToken", 400, false},
		{"an old token", "Action=Enter&Version=2011-06-15&who=late", "ExpiredTokenException", 400, false},
		{"for nobody", "Action=Enter&Version=2011-06-15&who=nobody", "InternalFailure", 500, false},
		{"a fault", "Action=Enter&Version=2011-06-15&who=broken", "InternalFailure", 500, false},
		{"a panic", "Action=Enter&Version=2011-06-15&who=panic", "InternalFailure", 500, false},
		{"another operation", "Action=Other&Version=2011-06-15&who=alice", "MissingAuthenticationToken", 403, false},
		{"an unknown operation", "Action=None&Version=2011-06-15", "MissingAuthenticationToken", 403, false},
		{"another version", "Action=Enter&Version=1&who=alice", "InvalidAction", 400, false},
		{"nothing", "", "MissingAuthenticationToken", 403, false},
		{"too long", "Action=Enter&Version=2011-06-15&who=alice&x=" + strings.Repeat("x", 128<<10), "RequestEntityTooLarge", 413, false},
	} {
		_, before := p.journal.last()
		r, err := http.NewRequest("POST", s.URL+"/", strings.NewReader(tt.body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		a := sendForm(t, s.Client(), r)
		if a.status != tt.status || a.Code != tt.code {
			t.Errorf("%s: %d %s %s", tt.name, a.status, a.Code, a.Message)
		}
		if _, after := p.journal.last(); after > before != tt.recorded {
			t.Errorf("%s: recorded: %t", tt.name, after > before)
		}
		if noted := len(p.watch.take()) > 0; noted != (!tt.recorded && tt.status < 413) {
			t.Errorf("%s: in the security log: %t", tt.name, noted)
		}
	}
	// The Region is that of the host, if it has one.
	for host, want := range map[string]string{"sts.eu-central-1.example.com:443": "eu-central-1", "sts.amazonaws.com": "us-east-1", "sts.nowhere-1.example.com": "us-east-1"} {
		r, err := http.NewRequest("POST", s.URL+"/", strings.NewReader("Action=Enter&Version=2011-06-15&who=alice"))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Host = host
		sendForm(t, s.Client(), r)
		if c, _ := p.journal.last(); c.Region != want {
			t.Errorf("%s: in %s", host, c.Region)
		}
	}
	// A signature that is there is verified.
	bad := newForm(t, s.URL, "Action=Enter&Version=2011-06-15&who=alice")
	bad.Header.Set("Authorization", bad.Header.Get("Authorization")[:100]+"0")
	if a := sendForm(t, s.Client(), bad); a.status == 200 {
		t.Error("a bad signature passes for none")
	}
	bad.Header.Set("Authorization", "Bearer x")
	if a := sendForm(t, s.Client(), bad); a.Code != "MissingAuthenticationToken" {
		t.Errorf("another scheme: %s", a.Code)
	}
}
