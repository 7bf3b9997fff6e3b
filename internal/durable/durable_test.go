package durable_test

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/keyreeve/keyreeve/internal/durable"
)

func want(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil || string(b) != text {
		t.Errorf("%s has %q, %v, want %q", path, b, err, text)
	}
	if info, err := os.Lstat(path); err != nil || info.Mode() != mode {
		t.Errorf("%s has mode %v, %v, want %v", path, info.Mode(), err, mode)
	}
}

// names returns what is in a directory.
func names(t *testing.T, dir string) (all []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

func TestReplace(t *testing.T) {
	dir, elsewhere := t.TempDir(), filepath.Join(t.TempDir(), "file")
	path := filepath.Join(dir, "file")
	for _, mode := range []os.FileMode{0o600, 0o644} {
		for _, text := range []string{"first", "", "third"} {
			if err := durable.Replace(path, []byte(text), mode); err != nil {
				t.Fatal(err)
			}
			want(t, path, text, mode)
		}
	}
	// A link is replaced, and what it leads to left alone.
	if err := errors.Join(os.WriteFile(elsewhere, []byte("mine"), 0o600), os.Remove(path), os.Symlink(elsewhere, path)); err != nil {
		t.Fatal(err)
	}
	if err := durable.Replace(path, []byte("new"), 0o600); err != nil {
		t.Fatal(err)
	}
	want(t, path, "new", 0o600)
	want(t, elsewhere, "mine", 0o600)
	if all := names(t, dir); len(all) != 1 {
		t.Errorf("left behind: %v", all)
	}
}

// A failure leaves what was there and nothing else.
func TestReplaceFails(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	if err := os.MkdirAll(filepath.Join(path, "in the way"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := durable.Replace(path, []byte("new"), 0o600); err == nil {
		t.Error("a directory was replaced")
	}
	if all := names(t, dir); len(all) != 1 {
		t.Errorf("left behind: %v", all)
	}
	if err := durable.Replace(filepath.Join(dir, "no", "file"), nil, 0o600); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("in no directory: %v", err)
	}
}

func TestCreate(t *testing.T) {
	dir := t.TempDir()
	path, link := filepath.Join(dir, "file"), filepath.Join(dir, "link")
	if err := durable.Create(path, []byte("first"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := durable.Create(path, []byte("second"), 0o600); !errors.Is(err, os.ErrExist) {
		t.Errorf("over a file: %v, want ErrExist", err)
	}
	want(t, path, "first", 0o600)
	if err := os.Symlink(filepath.Join(dir, "nowhere"), link); err != nil {
		t.Fatal(err)
	}
	if err := durable.Create(link, []byte("second"), 0o600); !errors.Is(err, os.ErrExist) {
		t.Errorf("through a link: %v, want ErrExist", err)
	}
	if all := names(t, dir); len(all) != 2 {
		t.Errorf("left behind: %v", all)
	}
}

func TestFree(t *testing.T) {
	dir := t.TempDir()
	if n, ok := durable.Free(dir); (runtime.GOOS == "linux" || runtime.GOOS == "darwin") != ok || ok && n <= 0 {
		t.Errorf("Free = %d, %v", n, ok)
	}
	if n, ok := durable.Free(filepath.Join(dir, "none")); ok {
		t.Errorf("Free of no directory = %d", n)
	}
}

func TestSyncDir(t *testing.T) {
	dir := t.TempDir()
	if err := durable.SyncDir(dir); err != nil {
		t.Error(err)
	}
	if err := durable.SyncDir(filepath.Join(dir, "no")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a directory that is not there: %v", err)
	}
}
