package node_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/keyreeve/keyreeve/internal/hint"
	"github.com/keyreeve/keyreeve/internal/node"
)

// Whoever has a copy of the data directory has no private key of any kind.
func TestNoPrivateKeyInTheData(t *testing.T) {
	dir := t.TempDir()
	r := run(t, configure(dir))
	r.must(t, "ListKeys", nil)
	r.stop(t)
	err := filepath.WalkDir(r.c.Data, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		if err == nil && (strings.Contains(string(text), "PRIVATE KEY") || strings.Contains(string(text), "root key")) {
			t.Errorf("%s has a private key", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	if info, err := os.Stat(filepath.Join(dir, "data.tls")); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the directory of the keys: %v, %v, want mode 0700", info, err)
	}
}

// Directories of another user are refused: that one could look into them at any
// time, whatever their mode is now.
func TestForeignDirectories(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	for _, name := range []string{"data", "data.tls"} {
		dir := t.TempDir()
		run(t, configure(dir)).stop(t)
		if err := os.Chown(filepath.Join(dir, name), 12345, -1); err != nil {
			t.Fatal(err)
		}
		n, err := node.Open(t.Context(), configure(dir))
		if err == nil {
			n.Close()
		}
		if err == nil || !strings.Contains(err.Error(), "belongs to user 12345") || hint.Of(err) == "" {
			t.Errorf("%s of another user: %v, want a refusal", name, err)
		}
	}
}
