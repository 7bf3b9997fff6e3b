package wire_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/wire"
)

func TestAppendString(t *testing.T) {
	for in, want := range map[string]string{
		"":                         `""`,
		"abc":                      `"abc"`,
		`a"b\c`:                    `"a\"b\\c"`,
		"\n\r\t\b\x00\x1f":         `"\n\r\t\u0008\u0000\u001f"`,
		"é€😀\u2028<>&/\x7f":        "\"é€😀\u2028<>&/\x7f\"",
		"a\xffb":                   "\"a\ufffdb\"",
		"\xed\xa0\x80":             "\"\ufffd\ufffd\ufffd\"",
		"\xf0\x9f\x98":             "\"\ufffd\ufffd\ufffd\"",
		"x\ufffdy":                 "\"x\ufffdy\"",
		strings.Repeat("a\"", 300): `"` + strings.Repeat(`a\"`, 300) + `"`,
	} {
		if got := string(wire.AppendString(nil, in)); got != want {
			t.Errorf("AppendString(%q) = %s, want %s", in, got, want)
		}
		if got := string(wire.AppendString([]byte("x"), []byte(in))); got != "x"+want {
			t.Errorf("AppendString of bytes %q = %s, want x%s", in, got, want)
		}
	}
}

func TestAppendTime(t *testing.T) {
	for _, c := range []struct {
		t    time.Time
		want string
	}{
		{time.Unix(0, 0), "0"},
		{time.Unix(1449187262, 0), "1449187262"},
		{time.Unix(1449187262, 123_999_999), "1449187262.123"},
		{time.Unix(1449187262, 120_000_000), "1449187262.12"},
		{time.Unix(1449187262, 100_000_000), "1449187262.1"},
		{time.Unix(1449187262, 7_000_000), "1449187262.007"},
		{time.Unix(1449187260, 0), "1449187260"},
		{time.UnixMilli(-1500), "-1.5"},
		{time.Unix(253402300799, 0), "253402300799"},
	} {
		if got := string(wire.AppendTime(nil, c.t)); got != c.want {
			t.Errorf("AppendTime(%v) = %s, want %s", c.t, got, c.want)
		}
	}
}

func TestAppendTimeText(t *testing.T) {
	at := time.Date(2022, 8, 11, 0, 38, 27, 5, time.FixedZone("", 2*3600))
	if got, want := string(wire.AppendTimeText(nil, at)), `"Aug 10, 2022, 10:38:27 PM"`; got != want {
		t.Errorf("AppendTimeText = %s, want %s", got, want)
	}
}

func TestAppendError(t *testing.T) {
	cause := errors.New("the disk is on fire")
	for _, c := range []struct {
		err    *wire.Error
		status int
		want   string
	}{
		{wire.Validation("a \"b\""), 400, `{"__type":"ValidationException","message":"a \"b\""}`},
		{wire.AccessDenied("no"), 400, `{"__type":"AccessDeniedException","Message":"no"}`},
		{wire.UnknownOperation(), 400, `{"__type":"UnknownOperationException"}`},
		{wire.NewError("InvalidCiphertextException", ""), 400, `{"__type":"InvalidCiphertextException"}`},
		{wire.Internal(cause), 500, `{"__type":"KMSInternalException"}`},
		{wire.AsError(cause), 500, `{"__type":"KMSInternalException"}`},
		{wire.Throttling("slow"), 400, `{"__type":"ThrottlingException","message":"slow"}`},
	} {
		if got := string(wire.AppendError(nil, c.err)); got != c.want || c.err.Status != c.status {
			t.Errorf("AppendError(%v) = %s with status %d, want %s with %d", c.err, got, c.err.Status, c.want, c.status)
		}
		if !json.Valid(wire.AppendError(nil, c.err)) {
			t.Errorf("AppendError(%v) is not JSON", c.err)
		}
	}
	if err := wire.Internal(cause); !errors.Is(err, cause) || !strings.Contains(err.Error(), "fire") {
		t.Errorf("Internal hides its cause from the log: %v", err)
	}
	if wire.AsError(nil) != nil {
		t.Error("AsError(nil) is not nil")
	}
}

func TestStringMap(t *testing.T) {
	m := wire.NewStringMap(wire.Pair{Name: "b", Value: "1"}, wire.Pair{Name: "a", Value: "\n"}, wire.Pair{Name: "b", Value: "2"})
	if got, want := string(m.AppendJSON(nil)), `{"a":"\n","b":"2"}`; got != want {
		t.Errorf("AppendJSON = %s, want %s", got, want)
	}
	if v, ok := m.Get("b"); v != "2" || !ok {
		t.Errorf(`Get("b") = %q, %t`, v, ok)
	}
	if _, ok := m.Get("c"); ok {
		t.Error(`Get("c") found something`)
	}
	if !wire.StringMap(nil).Equal(wire.StringMap{}) || m.Equal(m[:1]) {
		t.Error("Equal is wrong")
	}
}
