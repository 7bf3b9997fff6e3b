//go:build !race

package audit_test

import (
	"testing"

	"github.com/keyreeve/keyreeve/internal/audit"
)

// Appending a record allocates nothing, whether or not its segment has a key.
func TestAllocations(t *testing.T) {
	keyless := openLog(t, t.TempDir(), audit.Options{}, nil)
	keyed := attach(t, t.TempDir(), newBox(t), newSafe(), nil)
	for name, l := range map[string]*audit.Log{"keyless": keyless, "keyed": keyed} {
		c := newCall()
		for range 8 {
			must(t, l.Append(c)) // a segment is begun, and buffers grow
		}
		if n := testing.AllocsPerRun(200, func() {
			if err := l.Append(c); err != nil {
				t.Fatal(err)
			}
		}); n > 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
	must(t, keyless.Close())
	leave(t, keyed)
}
