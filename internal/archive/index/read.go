package index

import (
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// A fileReader reads records from files of the archive, for one search. It
// keeps the blocks that it was in last: neighbours in time are neighbours in a
// file.
type fileReader struct {
	dir    string
	blocks [4]block
	clock  uint64
	read   int64 // bytes read from files
}

// counted counts what is read through it.
type counted struct {
	io.Reader
	n *int64
}

func (c counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	*c.n += int64(n)
	return n, err
}

// block is what of the text of a deflate block has been read.
type block struct {
	path string
	at   int64
	file *os.File // nil for none
	text bytes.Buffer
	rest io.Reader
	used uint64
}

// maxBlock is how much of a block is read at most. The archive begins a new one
// before 128 KiB, but for a record that is longer by itself.
const maxBlock = 2 << 20

// record reads a record: length bytes from start on, in the text of the block
// at an offset of a file.
func (r *fileReader) record(path string, at, start, length int64) ([]byte, error) {
	if length > maxBlock || start > maxBlock || start+length > maxBlock {
		return nil, fmt.Errorf("%s: no record is that long", path)
	}
	b, err := r.block(path, at)
	if err != nil {
		return nil, err
	}
	if missing := start + length - int64(b.text.Len()); missing > 0 {
		if _, err := io.CopyN(&b.text, b.rest, missing); err != nil {
			return nil, fmt.Errorf("reading a record of %s: %w", path, err)
		}
	}
	record := bytes.Clone(b.text.Bytes()[start : start+length])
	if length < 2 || record[0] != '{' || record[length-1] != '}' {
		return nil, fmt.Errorf("%s: no record where it should be", path)
	}
	return record, nil
}

func (r *fileReader) block(path string, at int64) (*block, error) {
	r.clock++
	b := &r.blocks[0]
	for i := range r.blocks {
		c := &r.blocks[i]
		if c.file != nil && c.path == path && c.at == at {
			c.used = r.clock
			return c, nil
		}
		if c.used < b.used {
			b = c
		}
	}
	b.close()
	f, err := os.Open(filepath.Join(r.dir, filepath.FromSlash(path)))
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("not a file")
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("reading %s: %w", path, err), f.Close())
	}
	section := io.NewSectionReader(f, at, max(info.Size()-at, 0))
	b.path, b.at, b.file, b.used = path, at, f, r.clock
	b.rest = flate.NewReader(counted{section, &r.read})
	b.text.Reset()
	return b, nil
}

func (b *block) close() {
	if b.file != nil {
		_ = b.file.Close() // it was only read
		b.file = nil
	}
}

func (r *fileReader) close() {
	for i := range r.blocks {
		r.blocks[i].close()
	}
}
