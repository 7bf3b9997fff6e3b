//go:build !linux

package seal

import "errors"

// region is plain memory where this system's way to lock it is not known here.
type region struct {
	n    int
	made [][]byte
}

func (r *region) reserve(chunks int) error { r.n = chunks; return nil }

func (r *region) chunks() int { return r.n }

func (r *region) chunk(int) ([]byte, error) {
	mem := make([]byte, chunkSize)
	r.made = append(r.made, mem)
	return mem, errors.New("not supported on this system")
}

func (r *region) wipe(int) {
	for _, mem := range r.made {
		clear(mem)
	}
}

// DisableCoreDumps does nothing on this system, and says so.
func DisableCoreDumps() error {
	return errors.New("seal: core dumps cannot be disabled on this system")
}
