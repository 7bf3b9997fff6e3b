//go:build unix

package seal

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/keyreeve/keyreeve/internal/hint"
)

// openPrivate opens a file for reading, and refuses all but a regular file of
// mode 0600 that belongs to this process's user and has one name: a hard link
// may lie where it is copied from, and is left when the file is removed. What is
// checked is the open file, so that nothing can be put in its place in between.
func openPrivate(path string) (*os.File, error) {
	// O_NONBLOCK: opening a FIFO must not wait for a writer.
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, unix.ELOOP) {
		return nil, hint.Add(fmt.Errorf("%s is a symbolic link", path), "put the file itself there")
	}
	if err != nil {
		return nil, err
	}
	if err := checkPrivate(path, f); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func checkPrivate(path string, f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return hint.Add(fmt.Errorf("%s is not a regular file", path), "put a plain file there")
	}
	stat := info.Sys().(*syscall.Stat_t)
	if stat.Nlink != 1 {
		return hint.Add(fmt.Errorf("%s has %d names: it stands in another place, too", path, stat.Nlink),
			fmt.Sprintf("find it (find / -xdev -inum %d) and remove it there", stat.Ino))
	}
	if uid := int(stat.Uid); uid != os.Geteuid() {
		return hint.Add(fmt.Errorf("%s belongs to user %d, and this is user %d", path, uid, os.Geteuid()),
			fmt.Sprintf("run: chown %d %s", os.Geteuid(), path))
	}
	if mode := info.Mode() & (os.ModePerm | os.ModeSetuid | os.ModeSetgid | os.ModeSticky); mode != 0o600 {
		return hint.Add(fmt.Errorf("%s has mode %04o, not 0600", path, mode.Perm()), "run: chmod 600 "+path)
	}
	return nil
}
