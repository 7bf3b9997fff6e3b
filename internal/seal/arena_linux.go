package seal

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// region is reserved address space: chunks with a page before, between and
// after them that cannot be touched.
//
//	guard | chunk 0 | guard | chunk 1 | guard | …
type region struct {
	mem    []byte
	stride int // of a chunk and the guard after it
	n      int
}

func (r *region) reserve(chunks int) error {
	page := os.Getpagesize()
	if chunkSize%page != 0 {
		return fmt.Errorf("page size %d does not divide %d", page, chunkSize)
	}
	r.stride = chunkSize + page
	mem, err := unix.Mmap(-1, 0, page+chunks*r.stride, unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_NORESERVE)
	if err != nil {
		return os.NewSyscallError("mmap", err)
	}
	r.mem, r.n = mem, chunks
	return nil
}

func (r *region) chunks() int { return r.n }

// at returns chunk i, touchable or not.
func (r *region) at(i int) []byte {
	start := r.stride - chunkSize + i*r.stride
	return r.mem[start : start+chunkSize : start+chunkSize]
}

// chunk makes chunk i usable. Memory and an error together mean that it is
// usable, but not locked or not left out of dumps and forks.
func (r *region) chunk(i int) ([]byte, error) {
	mem := r.at(i)
	if err := unix.Mprotect(mem, unix.PROT_READ|unix.PROT_WRITE); err != nil {
		return nil, os.NewSyscallError("mprotect", err)
	}
	err := errors.Join(
		os.NewSyscallError("mlock", unix.Mlock(mem)),
		os.NewSyscallError("madvise", unix.Madvise(mem, unix.MADV_DONTDUMP)),
		os.NewSyscallError("madvise", unix.Madvise(mem, unix.MADV_DONTFORK)),
	)
	return mem, err
}

func (r *region) wipe(chunks int) {
	for i := range chunks {
		clear(r.at(i))
	}
}

// DisableCoreDumps keeps the process from leaving a core, by its limit and by
// making it undumpable, which also keeps other processes of the same user from
// tracing it and from reading its memory.
func DisableCoreDumps() error {
	return errors.Join(
		os.NewSyscallError("setrlimit", unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})),
		os.NewSyscallError("prctl", unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)),
	)
}
