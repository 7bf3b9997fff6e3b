package index

import (
	"fmt"
	"iter"
)

// Files iterates over the files of the archive whose number is larger than
// after, in their order, at most the last of which was delivered when the
// iteration began. Files whose newest event is expired ([Index.Expire]) are left
// out. An error ends the iteration.
func (x *Index) Files(after uint64) iter.Seq2[File, error] {
	return func(yield func(File, error) bool) {
		runs, horizon, release, err := x.acquire()
		if err != nil {
			yield(File{}, err)
			return
		}
		defer release()
		for _, r := range runs {
			if r.files == 0 || r.firstFile+uint64(r.files)-1 <= after {
				continue
			}
			reader := r.reader()
			for i := max(after+1, r.firstFile) - r.firstFile; i < uint64(r.files); i++ {
				f, err := reader.fileAt(uint32(i))
				if err != nil {
					yield(File{}, fmt.Errorf("listing the files of the audit archive: %w", x.noticed(err)))
					return
				}
				if f.Events > 0 && f.Newest.Unix() < horizon {
					continue
				}
				if !yield(f, nil) {
					return
				}
			}
		}
	}
}

// NewestFile returns the number of the newest file; 0 if there was none yet.
func (x *Index) NewestFile() uint64 {
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.runs) == 0 {
		return 0
	}
	r := x.runs[len(x.runs)-1]
	return r.firstFile + uint64(r.files) - 1 // also where it has none: it says where the next begin
}
