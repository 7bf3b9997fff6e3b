package archive

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"iter"

	"github.com/klauspost/compress/flate"
)

// Sizes of log files, in bytes before compression.
const (
	// blockSize is how much is decompressed, at most, to read one record, but
	// for a record that is longer by itself.
	blockSize = 128 << 10
	// FileSize is what a log file of the archive grows to.
	FileSize = 8 << 20
	// maxRecord bounds what a reader takes for a record. What this program
	// writes is shorter.
	maxRecord = 1 << 20
)

// Place is where a record stands in a log file: what it takes to read it
// without what is before it.
type Place struct {
	Block int64 // where in the file the deflate block begins that it is in
	Start int   // where in what that block holds it begins
}

// LogWriter writes a log file as CloudTrail's: {"Records":[…]}, compressed.
//
// It is one gzip member (RFC 1952), as readers expect that stop after the
// first: the AWS CLI is one. Every 128 KiB, between two records, the
// compressor begins anew, at a whole byte and with an empty window, as after a
// full flush of zlib's. So one record is read without the file before it, and
// any reader of gzip reads the whole.
type LogWriter struct {
	w       io.Writer
	deflate *flate.Writer
	out     counter
	hash    hash.Hash
	crc     uint32
	size    int64 // before compression
	block   []byte
	records int
	err     error
}

// counter counts what is written through it.
type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// gzipHeader says deflate, without a name and a time, so that the same records
// make the same bytes; compressed fast, on an unknown system.
var gzipHeader = []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 4, 255}

const (
	recordsBegin = `{"Records":[`
	recordsEnd   = `]}`
)

// NewLogWriter returns a LogWriter that writes to w.
func NewLogWriter(w io.Writer) *LogWriter {
	// The level is one that exists.
	deflate, _ := flate.NewWriter(io.Discard, flate.BestSpeed)
	lw := &LogWriter{deflate: deflate, hash: sha256.New(), block: make([]byte, 0, blockSize)}
	lw.Reset(w)
	return lw
}

// Reset makes the LogWriter write another file, to w.
func (l *LogWriter) Reset(w io.Writer) {
	l.w = w
	l.out = counter{w: w}
	l.hash.Reset()
	l.crc, l.size, l.records = 0, 0, 0
	l.block = append(l.block[:0], recordsBegin...)
	_, l.err = l.out.Write(gzipHeader)
}

// Add adds a record, which is one JSON object, and returns where it will
// stand.
func (l *LogWriter) Add(record []byte) (Place, error) {
	if l.records > 0 && len(l.block)+1+len(record) > blockSize {
		l.flush()
	}
	if l.err != nil {
		return Place{}, l.err
	}
	if l.records > 0 {
		l.block = append(l.block, ',')
	}
	p := Place{Block: l.out.n, Start: len(l.block)}
	l.block = append(l.block, record...)
	l.records++
	return p, nil
}

// Size returns how much has been added, in bytes before compression.
func (l *LogWriter) Size() int64 { return l.size + int64(len(l.block)) }

// Records returns how many records have been added.
func (l *LogWriter) Records() int { return l.records }

// flush ends a block.
func (l *LogWriter) flush() {
	if l.err != nil {
		return
	}
	l.size += int64(len(l.block))
	l.crc = crc32.Update(l.crc, crc32.IEEETable, l.block)
	l.hash.Write(l.block)
	l.deflate.Reset(&l.out)
	if _, l.err = l.deflate.Write(l.block); l.err == nil {
		l.err = l.deflate.Flush()
	}
	l.block = l.block[:0]
}

// Close ends the file. It returns its size in bytes and the SHA-256 of what it
// holds, uncompressed: the hash that stands in digests. What it writes to stays
// the caller's to close.
func (l *LogWriter) Close() (size int64, hash [sha256.Size]byte, err error) {
	l.block = append(l.block, recordsEnd...)
	l.flush()
	if l.err == nil {
		end := make([]byte, 0, 10)
		end = append(end, 3, 0) // the last block, with nothing in it
		end = binary.LittleEndian.AppendUint32(end, l.crc)
		end = binary.LittleEndian.AppendUint32(end, uint32(l.size))
		_, l.err = l.out.Write(end)
	}
	if l.err != nil {
		return 0, hash, fmt.Errorf("writing a log file: %w", l.err)
	}
	l.err = errors.New("archive: the log file has been closed")
	l.hash.Sum(hash[:0])
	return l.out.n, hash, nil
}

// ErrFormat: a file is not what it should be.
var ErrFormat = errors.New("archive: malformed file")

// Records iterates over the records of a log file that is read from r: ours or
// CloudTrail's own. What is yielded is valid until the next one. An error,
// [ErrFormat] if the file is not what it should be, ends the iteration. No more
// than a record is held in memory.
func Records(r io.Reader) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		z, err := newInflater(r)
		if err != nil {
			yield(nil, err)
			return
		}
		if err := splitRecords(bufio.NewReaderSize(z, 64<<10), yield); err != nil {
			yield(nil, err)
		}
	}
}
