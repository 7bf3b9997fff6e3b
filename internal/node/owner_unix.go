//go:build unix

package node

import (
	"io/fs"
	"syscall"
)

// ownerOf returns whose a file is.
func ownerOf(info fs.FileInfo) (uid int, ok bool) {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return int(stat.Uid), true
}
