package trail_test

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/keyreeve/keyreeve/internal/trail"
)

func TestCredentials(t *testing.T) {
	tests := []struct{ name, text, id, secret, token string }{
		{"plain", "aws_access_key_id=A\naws_secret_access_key=B\n", "A", "B", ""},
		{"profile", "; comment\n[default]\n# another\naws_access_key_id = A\r\naws_secret_access_key\t=  B=\naws_session_token = C", "A", "B=", "C"},
		{"another first", "[other]\naws_access_key_id=X\n[default]\naws_access_key_id=A\naws_secret_access_key=B\n[third]\naws_secret_access_key=Y\n", "A", "B", ""},
		{"another only", "[other]\naws_access_key_id=X\naws_secret_access_key=Y\n", "", "", ""},
		{"nonsense", "hello\n=\n[", "", "", ""},
	}
	for _, tt := range tests {
		c := trail.ParseCredentials([]byte(tt.text))
		if c.AccessKeyID != tt.id || c.SecretAccessKey != tt.secret || c.SessionToken != tt.token {
			t.Errorf("%s: %q, %q, %q", tt.name, c.AccessKeyID, c.SecretAccessKey, c.SessionToken)
		}
	}
}

func FuzzCredentials(f *testing.F) {
	f.Add([]byte("[default]\naws_access_key_id=A\naws_secret_access_key=B\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		c := trail.ParseCredentials(text)
		if strings.ContainsAny(c.AccessKeyID+c.SecretAccessKey+c.SessionToken, "\n") {
			t.Errorf("%q has a line break", c.AccessKeyID)
		}
	})
}

func FuzzRecords(f *testing.F) {
	f.Add([]byte(`{"v":1,"value":{"id":"x","ref":{"Account":"1"},"created":"2026-11-22T10:00:00Z"}}`))
	f.Add([]byte(`{"v":1,"value":[{"region":"r","name":"n"}]}`))
	f.Add([]byte(`{"v":1,"value":{"since":"2026-11-22T10:00:00Z","pending":[{}],"closing":"2026-11-22T11:00:00Z"}}`))
	f.Add([]byte(`{"v":2}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		if good := trail.DecodeAll(text); good > 0 && !strings.Contains(strings.ToLower(string(text)), `"v"`) && !strings.Contains(string(text), `\u`) {
			t.Errorf("%q has no version, and is taken", text)
		}
	})
}

func TestMessage(t *testing.T) {
	got := string(trail.AppendMessage(nil, 110, time.Date(2026, 11, 22, 3, 4, 5, 6000, time.UTC), "host", "event", []byte("{}")))
	if want := "<110>1 2026-11-22T03:04:05.000006Z host keyreeve - event - {}"; got != want {
		t.Errorf("a message is %q, want %q", got, want)
	}
}

func TestCut(t *testing.T) {
	for n := range 8 {
		got := trail.Cut([]byte("aäöü"), n)
		if len(got) > n || !utf8.Valid(got) || len(got) < n-1 {
			t.Errorf("cut at %d: %q", n, got)
		}
	}
}
