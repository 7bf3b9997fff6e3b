//go:build !unix

package seal

import (
	"fmt"
	"os"

	"github.com/keyreeve/keyreeve/internal/hint"
)

// openPrivate opens a regular file. This system has no modes and owners of the
// kind that are checked elsewhere.
func openPrivate(path string) (*os.File, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, hint.Add(fmt.Errorf("%s is not a regular file", path), "put a plain file there")
	}
	return os.Open(path)
}
