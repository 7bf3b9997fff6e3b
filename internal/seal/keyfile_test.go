package seal_test

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/keyreeve/keyreeve/internal/seal"
	"github.com/keyreeve/keyreeve/internal/store"
)

func TestKeyFileRefused(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no modes there")
	}
	tests := []struct {
		name  string
		spoil func(t *testing.T, path string)
		want  string // in the error
	}{
		{"symbolic link", func(t *testing.T, path string) {
			must(t, os.Rename(path, path+".real"))
			must(t, os.Symlink(path+".real", path))
		}, "symbolic link"},
		{"group may read", func(t *testing.T, path string) { must(t, os.Chmod(path, 0o640)) }, "mode 0640"},
		{"others may read", func(t *testing.T, path string) { must(t, os.Chmod(path, 0o604)) }, "mode 0604"},
		{"executable", func(t *testing.T, path string) { must(t, os.Chmod(path, 0o700)) }, "mode 0700"},
		{"setuid", func(t *testing.T, path string) { must(t, os.Chmod(path, 0o600|os.ModeSetuid)) }, "not 0600"},
		{"directory", func(t *testing.T, path string) {
			must(t, os.Remove(path))
			must(t, os.Mkdir(path, 0o700))
		}, "not a regular file"},
		{"other owner", func(t *testing.T, path string) {
			if os.Geteuid() != 0 {
				t.Skip("needs root")
			}
			must(t, os.Chown(path, 12345, -1))
		}, "belongs to user 12345"},
		{"hard link", func(t *testing.T, path string) { must(t, os.Link(path, path+".other")) }, "has 2 names"},
		{"gone", func(t *testing.T, path string) { must(t, os.Remove(path)) }, "does not exist"},
		{"empty", func(t *testing.T, path string) { must(t, os.WriteFile(path, nil, 0o600)) }, "not a key file"},
		{"cut", func(t *testing.T, path string) { must(t, os.Truncate(path, 40)) }, "not a key file"},
		{"large", func(t *testing.T, path string) { must(t, os.WriteFile(path, make([]byte, 1<<20), 0o600)) }, "larger than"},
		{"another version", func(t *testing.T, path string) {
			text, _ := os.ReadFile(path)
			must(t, os.WriteFile(path, []byte(strings.Replace(string(text), "v1", "v2", 1)), 0o600))
		}, "not a key file"},
		{"another key", func(t *testing.T, path string) {
			must(t, os.Remove(path))
			open(t, store.NewMem(), seal.KeyFile(path))
		}, "has another one"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			st, path := store.NewMem(), filepath.Join(t.TempDir(), "root.key")
			open(t, st, seal.KeyFile(path))
			test.spoil(t, path)
			_, err := seal.Open(t.Context(), st, seal.Options{Provider: seal.KeyFile(path)})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("Open = %v, want an error with %q", err, test.want)
			}
			var h interface{ Hint() string }
			if test.name != "large" && (!errors.As(err, &h) || h.Hint() == "") {
				t.Errorf("%v comes without a hint", err)
			}
		})
	}
}

func TestKeyFileMode(t *testing.T) {
	path := filepath.Join(t.TempDir(), "root.key")
	open(t, store.NewMem(), seal.KeyFile(path))
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS != "windows" && info.Mode() != 0o600 {
		t.Errorf("mode is %v, want 0600", info.Mode())
	}
	text, _ := os.ReadFile(path)
	if lines := strings.Split(string(text), "\n"); len(lines) != 4 || lines[0] != "keyreeve root key v1" || len(lines[1]) != 44 {
		t.Errorf("the key file has another form: %d lines", len(lines))
	}
}

func TestReadPassphraseFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "phrase")
	for text, want := range map[string]string{"a b c": "a b c", "a b c\n": "a b c", "a b c\r\n": "a b c", " a \n\n": " a \n"} {
		must(t, os.WriteFile(path, []byte(text), 0o600))
		got, err := seal.ReadPassphraseFile(path)
		if err != nil || string(got.Reveal()) != want {
			t.Errorf("%q: %q, %v, want %q", text, got.Reveal(), err, want)
		}
	}
	for _, text := range []string{"", "\n", strings.Repeat("x", 2000)} {
		must(t, os.WriteFile(path, []byte(text), 0o600))
		if _, err := seal.ReadPassphraseFile(path); err == nil {
			t.Errorf("%d bytes: no error", len(text))
		}
	}
	must(t, os.WriteFile(path, []byte("a b c"), 0o600))
	must(t, os.Chmod(path, 0o644))
	if _, err := seal.ReadPassphraseFile(path); runtime.GOOS != "windows" && err == nil {
		t.Error("mode 0644: no error")
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
