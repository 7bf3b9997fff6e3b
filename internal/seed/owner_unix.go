//go:build unix

package seed

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"github.com/keyreeve/keyreeve/internal/hint"
)

// checkOwner refuses a file that others can read or change, since it has
// secrets and says who may do what.
func checkOwner(path string, info fs.FileInfo) error {
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return hint.Add(fmt.Errorf("%s has mode %04o: others can get at the secrets in it", path, mode), "run: chmod 600 "+path)
	}
	if uid := int(info.Sys().(*syscall.Stat_t).Uid); uid != os.Geteuid() && uid != 0 {
		return hint.Add(fmt.Errorf("%s belongs to user %d, and this is user %d", path, uid, os.Geteuid()),
			fmt.Sprintf("run: chown %d %s", os.Geteuid(), path))
	}
	return nil
}
