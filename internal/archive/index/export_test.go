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

// WriteRun writes the file of a run with this text and this footer, with right
// checksums.
func WriteRun(path string, text, footer []byte) error {
	var b bytes.Buffer
	w := pageWriter{w: &b}
	for _, part := range [][]byte{text, footer[:min(len(footer), pagePayload)]} {
		if _, err := w.Write(part); err != nil {
			return err
		}
		if err := w.flush(); err != nil {
			return err
		}
	}
	return os.WriteFile(path, b.Bytes(), 0o600)
}

// MergeAll writes what all runs of x would be merged into, with a temporary file
// for itself.
func (x *Index) MergeAll(ctx context.Context, out io.Writer, spool *os.File) error {
	m := merger{ctx: ctx}
	return writeRun(out, spool, m.begin(x.runs), m.write)
}

// ReadRun returns the text and the footer of a run.
func ReadRun(path string) (text, footer []byte, err error) {
	r, err := openRun(path)
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
