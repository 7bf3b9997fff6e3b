package seal_test

import (
	"bytes"
	"encoding/base64"
	"os"
	"path/filepath"
	"testing"

	"github.com/keyreeve/keyreeve/internal/seal"
)

// A key file that is taken is one that we would write, but for its comment.
func FuzzKeyFile(f *testing.F) {
	path := filepath.Join(f.TempDir(), "root.key")
	if _, _, err := seal.KeyFile(path).Create(f.Context()); err != nil {
		f.Fatal(err)
	}
	good, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(bytes.ReplaceAll(good, []byte("\n"), []byte("\r\n")))
	f.Add(good[:len(good)/2])
	f.Add([]byte("keyreeve root key v1\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		root, ok := seal.ParseKeyFile(text)
		if !ok {
			if !root.IsNil() {
				t.Error("a root key out of a file that is none")
			}
			return
		}
		if root.Len() != 32 {
			t.Fatalf("a root key of %d bytes", root.Len())
		}
		again := []byte("keyreeve root key v1\n" + base64.StdEncoding.EncodeToString(root.Reveal()) + "\n")
		if !bytes.HasPrefix(text, again) {
			t.Errorf("two files have the same key: %q and %q", text, again)
		}
	})
}

// Parameters of a passphrase that are taken cost no more than is allowed, since
// they come from whoever has the store.
func FuzzPassphraseParams(f *testing.F) {
	f.Add(append([]byte{1, 0, 0, 0x20, 0, 0, 0, 0, 1, 1}, make([]byte, 16)...))
	f.Add(append([]byte{1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, make([]byte, 16)...))
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, params []byte) {
		cost, salt, err := seal.ParsePassphraseParams(params)
		if err != nil {
			return
		}
		if len(params) != 26 || !bytes.Equal(salt, params[10:]) {
			t.Errorf("parameters of %d bytes with the salt %x", len(params), salt)
		}
		if cost.Memory < 8<<10 || cost.Memory > 1<<20 || cost.Time < 1 || cost.Time > 16 || cost.Threads < 1 || cost.Threads > 16 {
			t.Errorf("a cost out of bounds: %+v", cost)
		}
	})
}
