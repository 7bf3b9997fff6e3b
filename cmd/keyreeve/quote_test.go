package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/keyreeve/keyreeve/internal/api/keyreeveapi"
)

// awkward are values that a shell would like to do something with.
var awkward = []string{
	"", "plain", "https://127.0.0.1:4599", "a b", " ", "'", "''", "it's", `"`, `\`, `\'`, `\"`, "$HOME", "${HOME}", "$(echo no)", "`echo no`",
	"a;b", "a&b", "a|b", "~", "~root", "*", "a#b", "#", "!", "-n", "a=b", "ä ö", "tab\there", `'"$\` + "`",
}

// TestQuoting has a shell read what is printed for it, and for .env files,
// which shells read too.
func TestQuoting(t *testing.T) {
	for name, quote := range map[string]func(string) string{"shell": quoteShell, "dotenv": quoteDotenv} {
		var script strings.Builder
		for _, s := range awkward {
			script.WriteString("V=" + quote(s) + "\nprintf '%s\\n' \"$V\"\n")
		}
		out, err := exec.Command("sh", "-c", script.String()).Output()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
		if len(got) != len(awkward) {
			t.Fatalf("%s: %d lines, want %d", name, len(got), len(awkward))
		}
		for i, s := range awkward {
			if got[i] != s {
				t.Errorf("%s: %s means %q, want %q", name, quote(s), got[i], s)
			}
		}
	}
}

// TestDotenv keeps values as they are where that can be, since not all readers
// of .env files know quotes.
func TestDotenv(t *testing.T) {
	for s, want := range map[string]string{
		"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
		"a+b/c=":           "a+b/c=",
		"/home/me/ca.pem":  "/home/me/ca.pem",
		"/home/m e/ca.pem": "'/home/m e/ca.pem'",
		"it's":             `"it's"`,
		"":                 "''",
	} {
		if got := quoteDotenv(s); got != want {
			t.Errorf("%q: %s, want %s", s, got, want)
		}
	}
}

// TestFirstLine reads one line and nothing behind it.
func TestFirstLine(t *testing.T) {
	long := strings.Repeat("x", 8*keyreeveapi.MaxPassphrase)
	for in, want := range map[string]string{
		"phrase": "phrase", "phrase\n": "phrase", "phrase\r\n": "phrase", "two words\nand more\n": "two words", " kept \n": " kept ",
		"": "", "\n": "", "\r\n": "", long: "too long",
	} {
		r := strings.NewReader(in)
		got, err := firstLine(r)
		switch want {
		case "":
			if !errors.Is(err, errNoPassphrase) {
				t.Errorf("%q: %q, %v", in, got.Reveal(), err)
			}
		case "too long": // for the server to refuse, not to be cut to one that fits
			if err != nil || got.Len() <= 4*keyreeveapi.MaxPassphrase {
				t.Errorf("%d bytes: %d, %v", len(in), got.Len(), err)
			}
		default:
			if err != nil || string(got.Reveal()) != want {
				t.Errorf("%q: %q, %v, want %q", in, got.Reveal(), err, want)
			}
		}
		if _, rest, ok := strings.Cut(in, "\n"); ok && r.Len() != len(rest) {
			t.Errorf("%q: %d bytes are left, want %d", in, r.Len(), len(rest))
		}
	}
	closed, err := os.Create(filepath.Join(t.TempDir(), "closed"))
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	if _, err := firstLine(closed); !errors.Is(err, os.ErrClosed) {
		t.Errorf("a file that can't be read: %v", err)
	}
}
