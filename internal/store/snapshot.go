package store

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// A snapshot is all pairs of a store at one revision, ordered by key, for any
// engine to restore. Integers are big-endian.
//
//	snapshot = header chunk* end
//
//	header   0             14        15         23          31           63
//	         +-------------+---------+----------+-----------+------------+
//	         | magic       | version | head     | pairs     | sum        |
//	         | keyreeve-kv |  1      | revision | in all    | SHA-256 of |
//	         | \n 00 00    |         |          |           | bytes 0-30 |
//	         +-------------+---------+----------+-----------+------------+
//
//	chunk    0         4                    4+length       36+length
//	         +---------+--------------------+----------------------------+
//	         | length  | whole pairs        | sum: SHA-256 of the sum    |
//	         | above 0 |                    | before, length and pairs   |
//	         +---------+--------------------+----------------------------+
//
//	pair     0            2       2+k            6+k      6+k+v
//	         +------------+-------+--------------+--------+
//	         | k, size of | key   | v, size of   | value  |
//	         | the key    |       | the value    |        |
//	         +------------+-------+--------------+--------+
//
//	end      a chunk of length 0, so that a cut file is told from a whole one
//
// Each sum covers the one before, so chunks cannot be left out, repeated or
// exchanged. The sums find damage, not forgery: against that, values are sealed
// by those who store them. Revisions are not kept: the store that a snapshot
// is restored into makes its own.
const (
	snapshotMagic   = "keyreeve-kv\n\x00\x00"
	snapshotVersion = 1
	snapshotHeader  = len(snapshotMagic) + 1 + 8 + 8
	chunkTarget     = 256 << 10
	chunkMax        = chunkTarget + 6 + MaxKey + MaxValue
)

// ErrSnapshot is wrapped by what a reader says of a file that is no snapshot,
// is damaged, or is incomplete.
var ErrSnapshot = errors.New("store: bad snapshot")

// ErrNotEmpty: a snapshot is restored into empty stores only.
var ErrNotEmpty = errors.New("store: not empty")

// SnapshotWriter writes a snapshot. It is for engines.
type SnapshotWriter struct {
	w     *bufio.Writer
	sum   [sha256.Size]byte
	chunk []byte // the chunk so far, with its length field
	last  string
	left  int
}

// NewSnapshotWriter writes the header of a snapshot of count pairs at revision head.
func NewSnapshotWriter(w io.Writer, head Rev, count int) (*SnapshotWriter, error) {
	h := make([]byte, 0, snapshotHeader+sha256.Size)
	h = append(h, snapshotMagic...)
	h = append(h, snapshotVersion)
	h = binary.BigEndian.AppendUint64(h, uint64(head))
	h = binary.BigEndian.AppendUint64(h, uint64(count))
	sw := &SnapshotWriter{w: bufio.NewWriterSize(w, 64<<10), sum: sha256.Sum256(h), left: count}
	sw.chunk = make([]byte, 4, chunkTarget+4096)
	if _, err := sw.w.Write(append(h, sw.sum[:]...)); err != nil {
		return nil, fmt.Errorf("writing snapshot: %w", err)
	}
	return sw, nil
}

// Add writes the next pair; keys come in order.
func (sw *SnapshotWriter) Add(key string, val []byte) error {
	if key <= sw.last || sw.left == 0 {
		return fmt.Errorf("writing snapshot: pairs are out of order or too many")
	}
	sw.last = key
	sw.left--
	sw.chunk = binary.BigEndian.AppendUint16(sw.chunk, uint16(len(key)))
	sw.chunk = append(sw.chunk, key...)
	sw.chunk = binary.BigEndian.AppendUint32(sw.chunk, uint32(len(val)))
	sw.chunk = append(sw.chunk, val...)
	if len(sw.chunk) < chunkTarget {
		return nil
	}
	return sw.flush()
}

// Close writes the rest and the end; it does not close the underlying writer.
func (sw *SnapshotWriter) Close() error {
	if sw.left != 0 {
		return fmt.Errorf("writing snapshot: %d pairs are missing", sw.left)
	}
	if len(sw.chunk) > 4 {
		if err := sw.flush(); err != nil {
			return err
		}
	}
	if err := sw.flush(); err != nil {
		return err
	}
	if err := sw.w.Flush(); err != nil {
		return fmt.Errorf("writing snapshot: %w", err)
	}
	return nil
}

func (sw *SnapshotWriter) flush() error {
	binary.BigEndian.PutUint32(sw.chunk, uint32(len(sw.chunk)-4))
	sw.sum = chain(sw.sum, sw.chunk)
	if _, err := sw.w.Write(sw.chunk); err != nil {
		return fmt.Errorf("writing snapshot: %w", err)
	}
	if _, err := sw.w.Write(sw.sum[:]); err != nil {
		return fmt.Errorf("writing snapshot: %w", err)
	}
	sw.chunk = sw.chunk[:4]
	return nil
}

func chain(sum [sha256.Size]byte, chunk []byte) [sha256.Size]byte {
	h := sha256.New()
	h.Write(sum[:])
	h.Write(chunk)
	h.Sum(sum[:0])
	return sum
}

// SnapshotReader reads a snapshot and checks it on the way.
type SnapshotReader struct {
	r     *bufio.Reader
	head  Rev
	count int
	sum   [sha256.Size]byte
	buf   []byte
	chunk []byte // what is left of the chunk
	last  string
	seen  int
	err   error // why there is no more
}

// NewSnapshotReader reads the header of a snapshot.
func NewSnapshotReader(r io.Reader) (*SnapshotReader, error) {
	sr := &SnapshotReader{r: bufio.NewReaderSize(r, 64<<10)}
	h := make([]byte, snapshotHeader+sha256.Size)
	if _, err := io.ReadFull(sr.r, h); err != nil {
		return nil, cut("the header", err)
	}
	magic, version := h[:len(snapshotMagic)], h[len(snapshotMagic)]
	if string(magic) != snapshotMagic {
		return nil, fmt.Errorf("%w: it does not begin like one", ErrSnapshot)
	}
	if version != snapshotVersion {
		return nil, fmt.Errorf("%w: format version %d, this program knows %d", ErrSnapshot, version, snapshotVersion)
	}
	sr.sum = sha256.Sum256(h[:snapshotHeader])
	if !bytes.Equal(sr.sum[:], h[snapshotHeader:]) {
		return nil, fmt.Errorf("%w: the header is damaged", ErrSnapshot)
	}
	sr.head = Rev(binary.BigEndian.Uint64(h[len(snapshotMagic)+1:]))
	sr.count = int(binary.BigEndian.Uint64(h[len(snapshotMagic)+9:]))
	if sr.head < 0 || sr.count < 0 {
		return nil, fmt.Errorf("%w: revision %d, %d pairs", ErrSnapshot, sr.head, sr.count)
	}
	return sr, nil
}

// Head returns the revision of the store that the snapshot was taken from.
func (sr *SnapshotReader) Head() Rev { return sr.head }

// Count returns the number of pairs.
func (sr *SnapshotReader) Count() int { return sr.count }

// Next returns the next pair, without a revision; the caller owns it. After the
// last it returns io.EOF, and then the whole snapshot has been checked.
func (sr *SnapshotReader) Next() (KV, error) {
	if sr.err == nil && len(sr.chunk) == 0 {
		sr.err = sr.fill()
	}
	if sr.err != nil {
		return KV{}, sr.err
	}
	kv, err := sr.pair()
	if err != nil {
		sr.err = err
	}
	return kv, err
}

// fill reads the next chunk, and returns io.EOF at the end.
func (sr *SnapshotReader) fill() error {
	var size [4]byte
	if _, err := io.ReadFull(sr.r, size[:]); err != nil {
		return cut("a chunk", err)
	}
	n := int(binary.BigEndian.Uint32(size[:]))
	if n > chunkMax {
		return fmt.Errorf("%w: a chunk of %d bytes", ErrSnapshot, n)
	}
	if need := 4 + n + sha256.Size; cap(sr.buf) < need {
		sr.buf = make([]byte, need)
	}
	sr.buf = sr.buf[:4+n+sha256.Size]
	copy(sr.buf, size[:])
	if _, err := io.ReadFull(sr.r, sr.buf[4:]); err != nil {
		return cut("a chunk", err)
	}
	sr.sum = chain(sr.sum, sr.buf[:4+n])
	if !bytes.Equal(sr.sum[:], sr.buf[4+n:]) {
		return fmt.Errorf("%w: damaged after %d pairs", ErrSnapshot, sr.seen)
	}
	sr.chunk = sr.buf[4 : 4+n]
	if n > 0 {
		return nil
	}
	if sr.seen != sr.count {
		return fmt.Errorf("%w: %d pairs of %d", ErrSnapshot, sr.seen, sr.count)
	}
	return io.EOF
}

func (sr *SnapshotReader) pair() (KV, error) {
	bad := fmt.Errorf("%w: a pair that cannot be after %d pairs", ErrSnapshot, sr.seen)
	b := sr.chunk
	if len(b) < 2 {
		return KV{}, bad
	}
	k := int(binary.BigEndian.Uint16(b))
	if b = b[2:]; k == 0 || k > MaxKey || len(b) < k+4 {
		return KV{}, bad
	}
	key := string(b[:k])
	v := int(binary.BigEndian.Uint32(b[k:]))
	if b = b[k+4:]; v > MaxValue || len(b) < v || key <= sr.last {
		return KV{}, bad
	}
	sr.chunk = b[v:]
	sr.last = key
	sr.seen++
	return KV{Key: key, Val: append(make([]byte, 0, v), b[:v]...)}, nil
}

func cut(what string, err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return fmt.Errorf("%w: it ends within %s", ErrSnapshot, what)
	}
	return fmt.Errorf("reading snapshot: %w", err)
}

// CheckSnapshot reads a snapshot to its end and returns its revision and number
// of pairs, or what is wrong with it.
func CheckSnapshot(r io.Reader) (head Rev, count int, err error) {
	sr, err := NewSnapshotReader(r)
	if err != nil {
		return 0, 0, err
	}
	for {
		if _, err := sr.Next(); err == io.EOF {
			return sr.head, sr.count, nil
		} else if err != nil {
			return 0, 0, err
		}
	}
}

// Restore reads a snapshot into s, which must be empty (ErrNotEmpty) and
// written by nobody else meanwhile. After another error s may hold a part of
// the snapshot and is to be thrown away; CheckSnapshot tells beforehand
// whether the file is sound.
func Restore(ctx context.Context, s Store, r io.Reader) error {
	sr, err := NewSnapshotReader(r)
	if err != nil {
		return err
	}
	if kvs, _, err := s.Range(ctx, "", "", 1); err != nil {
		return fmt.Errorf("restoring snapshot: %w", err)
	} else if len(kvs) > 0 {
		return ErrNotEmpty
	}
	var conds []Cond
	var ops []Op
	size := 0
	commit := func() error {
		_, ok, err := s.Commit(ctx, conds, ops)
		if err != nil {
			return fmt.Errorf("restoring snapshot: %w", err)
		}
		if !ok {
			return ErrNotEmpty
		}
		conds, ops, size = conds[:0], ops[:0], 0
		return nil
	}
	for {
		kv, err := sr.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		n := len(kv.Key) + len(kv.Val)
		if len(ops) == MaxOps || size+n > MaxCommit {
			if err := commit(); err != nil {
				return err
			}
		}
		conds = append(conds, Cond{Key: kv.Key})
		ops = append(ops, Op{Key: kv.Key, Val: kv.Val})
		size += n
	}
	if len(ops) == 0 {
		return nil
	}
	return commit()
}
