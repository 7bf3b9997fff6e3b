// Package durable writes files that are there after a crash.
//
// A file is durable when its bytes are on the disk and its name in the
// directory is, too; as far as the disk tells the truth.
package durable

import (
	"errors"
	"os"
	"path/filepath"
)

// Replace puts text at path with that mode: after a crash at any moment the
// old file is there or the new one, never a part. What is at path is replaced
// by its name, a symbolic link as well, not written through. An error leaves
// the old file, unless it comes of making the new name durable.
func Replace(path string, text []byte, mode os.FileMode) (err error) {
	dir := filepath.Dir(path)
	// Nobody can have put a file or a link in its place: the name is random
	// and must be new. Its mode is 0600 until it is whole.
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err == nil && mode != 0o600 {
		err = f.Chmod(mode)
	}
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return SyncDir(dir)
}

// Create makes a new file at path with that mode. If there is something
// already, a dangling link as well, it fails with [os.ErrExist]. After an
// error or a crash, a part of the file may be there.
func Create(path string, text []byte, mode os.FileMode) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	err = f.Chmod(mode) // the umask may have taken more
	if err == nil {
		_, err = f.Write(text)
	}
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return SyncDir(filepath.Dir(path))
}
