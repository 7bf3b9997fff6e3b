//go:build linux || darwin

package audit

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
)

// lockDir locks directory dir against other processes, until the process ends
// at the latest.
func lockDir(dir string) (unlock, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = ErrInUse
		}
		return nil, errors.Join(err, f.Close())
	}
	return f.Close, nil
}
