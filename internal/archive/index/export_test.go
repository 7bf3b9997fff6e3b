package index

import (
	"bytes"
	"context"
	"io"
	"os"
)

// Hash returns the hash of an attribute with a value.
func Hash(key [16]byte, a Attribute, value string) uint64 {
	k := hashKey(key)
	return k.term(a, value)
}

// RememberAtMost makes s remember fewer events of the journal.
func (s *Searcher) RememberAtMost(events int) { s.tails.limit = events }

// OnRead has f told how many bytes of runs and of files each search reads.
func (s *Searcher) OnRead(f func(runs, files int64)) { s.read = f }

// Runs returns the levels of the runs, oldest first.
func (x *Index) Runs() (levels []int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, r := range x.runs {
		levels = append(levels, r.level)
	}
	return levels
}

// WriteRun writes the file of the run of the first delivery with this text and
// this footer, which stands behind the key, with right tags.
func WriteRun(path string, box Box, text, footer []byte) error {
	m, sealed, err := sealNew(box, 1, 1)
	if err != nil {
		return err
	}
	footer = append(appendFooter(nil, sealed), footer...)
	var b bytes.Buffer
	w := pageWriter{w: &b, tags: tagger{mac: m}}
	for i, part := range [][]byte{text, footer[:min(len(footer), pagePayload-1)]} {
		if _, err := w.Write(part); err != nil {
			return err
		}
		if err := w.flush(i == 1); err != nil {
			return err
		}
	}
	return os.WriteFile(path, b.Bytes(), 0o600)
}

// MergeAll writes what all runs of x would be merged into, with a temporary file
// for itself.
func (x *Index) MergeAll(ctx context.Context, out io.Writer, spool *os.File) error {
	m := merger{ctx: ctx}
	return writeRun(out, spool, x.box, m.begin(x.runs), m.write)
}

// ReadRun returns the text and the footer of a run, without what that begins with.
func ReadRun(path string, box Box) (text, footer []byte, err error) {
	r, err := openRun(path, box)
	if err != nil {
		return nil, nil, err
	}
	defer r.release()
	text = make([]byte, r.end())
	if _, err := r.pager().ReadAt(text, 0); err != nil {
		return nil, nil, err
	}
	return text, r.append(nil), nil
}
