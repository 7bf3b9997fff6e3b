//go:build linux || darwin

package durable

import (
	"math"
	"syscall"
)

// Free returns how many bytes there is room for in the file system of a
// directory; ok is false where that cannot be told.
func Free(dir string) (n int64, ok bool) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return 0, false
	}
	blocks, size := s.Bavail, uint64(s.Bsize)
	if size > 0 && blocks > math.MaxInt64/size {
		return math.MaxInt64, true
	}
	return int64(blocks * size), true
}
