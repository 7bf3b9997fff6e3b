//go:build !linux && !darwin

package durable

// Free returns how many bytes there is room for in the file system of a
// directory; ok is false where that cannot be told.
func Free(string) (n int64, ok bool) { return 0, false }
