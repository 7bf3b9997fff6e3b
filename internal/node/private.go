package node

import (
	"fmt"
	"os"

	"github.com/keyreeve/keyreeve/internal/hint"
)

// makePrivate makes a directory for this process's user alone. One that is
// there must already be so: another owner could change its mode at any time.
func makePrivate(what, dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("making the %s: %w", what, err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("looking at the %s: %w", what, err)
	}
	if !info.IsDir() {
		return fmt.Errorf("the %s %s is not a directory", what, dir)
	}
	if uid, ok := ownerOf(info); ok && uid != os.Geteuid() {
		return hint.Add(fmt.Errorf("the %s %s belongs to user %d, and this is user %d", what, dir, uid, os.Geteuid()),
			"run as that user, or, if all of it is to belong to this one: chown it")
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return fmt.Errorf("others can look into the %s %s (mode %#o): chmod 700 it", what, dir, mode)
	}
	return nil
}
