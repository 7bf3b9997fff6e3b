package index

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"
)

// File is a delivered file of events.
type File struct {
	// Number is its place in the order of deliveries, without gaps; the index
	// assigns it at the commit. The first is 1, but for [Options.FirstFile].
	Number uint64

	Path    string // below the archive's directory, with slashes
	Account string
	Region  string

	// Segment is the number of the segment of the journal that its events are
	// from ([SegmentNumber]).
	Segment uint64

	Size int64    // in bytes, compressed
	Hash [32]byte // SHA-256 of the text in it

	// Set by the builder.
	Events         int
	Oldest, Newest time.Time // times of events; zero if there is none
}

// A Builder collects the index of one delivery: of one segment of the journal
// or several. It needs some 300 bytes of memory for each event. It is used by
// one goroutine.
type Builder struct {
	index    *Index
	rows     []row
	postings []posting
	files    []*FileBuilder
	scanned  Attributes
	done     bool
}

// row is the row of an event; see the package's documentation.
type row struct {
	time    int64 // seconds since 1970
	segment uint64
	file    uint32
	offset  uint32
	block   uint32
	start   uint32
	length  uint32
}

// compare is negative if a is newer than b.
func (a *row) compare(b *row) int {
	return cmp.Or(cmp.Compare(b.time, a.time), cmp.Compare(b.segment, a.segment), cmp.Compare(b.offset, a.offset))
}

// posting says that a row has a term.
type posting struct {
	hash uint64
	row  uint32
}

// NewBuilder begins the index of a delivery.
func (x *Index) NewBuilder() *Builder { return &Builder{index: x} }

// A FileBuilder collects the index of one file.
type FileBuilder struct {
	builder *Builder
	number  uint32 // in the builder
	file    File
	closed  bool
}

// File begins a file for events of an account and a Region, all from one
// segment of the journal. Several can be open.
func (b *Builder) File(segment uint64, account, region string) *FileBuilder {
	f := &FileBuilder{builder: b, number: uint32(len(b.files)), file: File{Segment: segment, Account: account, Region: region}}
	b.files = append(b.files, f)
	return f
}

// Place is where a record is.
type Place struct {
	Offset int64 // in the segment of the journal
	Block  int64 // in the file: where the deflate block begins, in bytes
	Start  int   // in the text of the block: where the record begins, in bytes
}

// ErrNotRecord means that what is to be indexed is no record of an event: not
// a JSON object with an eventTime.
var ErrNotRecord = errors.New("not the record of an event")

// Add adds a record, as it stands at its place, to the index.
func (f *FileBuilder) Add(at Place, record []byte) error {
	b := f.builder
	if !Scan(record, &b.scanned) || b.scanned.Time.IsZero() {
		return ErrNotRecord
	}
	if len(b.rows) >= maxRows || !fits(at.Offset) || !fits(at.Block) || !fits(int64(at.Start)) || !fits(int64(len(record))) {
		return ErrTooLarge
	}
	number := uint32(len(b.rows))
	b.rows = append(b.rows, row{
		time: b.scanned.Time.Unix(), segment: f.file.Segment, file: f.number,
		offset: uint32(at.Offset), block: uint32(at.Block), start: uint32(at.Start), length: uint32(len(record)),
	})
	b.scanned.each(func(a Attribute, value string) {
		b.postings = append(b.postings, posting{b.index.key.term(a, value), number})
	})
	f.file.Events++
	if t := b.scanned.Time; f.file.Oldest.IsZero() || t.Before(f.file.Oldest) {
		f.file.Oldest = t
	}
	if t := b.scanned.Time; t.After(f.file.Newest) {
		f.file.Newest = t
	}
	return nil
}

// maxRows is how many rows a run can have, which terms number with 30 bits.
const maxRows = 1 << 30

func fits(n int64) bool { return 0 <= n && n <= math.MaxUint32 }

// Close ends a file: its path below the archive's directory (with slashes), its
// size in bytes, and the SHA-256 hash of the text in it.
func (f *FileBuilder) Close(path string, size int64, hash [32]byte) {
	f.file.Path, f.file.Size, f.file.Hash, f.closed = path, size, hash, true
}

// Commit writes the run, durably, and with it commits the delivery of all
// segments of the journal through the one with this number. The files must be
// durable before. It returns them, numbered. [ErrOrder] means that the segment
// has been delivered already.
//
// After an error nothing is committed as long as the index is open. Opened
// again, it may have the run; [Index.Through] tells.
func (b *Builder) Commit(through uint64) ([]File, error) {
	if b.done {
		return nil, errors.New("committing an audit index run: it is committed already")
	}
	for _, f := range b.files {
		if err := f.check(through); err != nil {
			return nil, fmt.Errorf("committing an audit index run: %w", err)
		}
	}
	x := b.index
	x.work.Lock()
	defer x.work.Unlock()
	x.mu.Lock()
	meta := runMeta{first: 1, last: 1, through: through, firstFile: x.first, key: x.key}
	if n := len(x.runs); n > 0 {
		newest := x.runs[n-1]
		meta.first, meta.last = newest.last+1, newest.last+1
		meta.firstFile = newest.firstFile + uint64(newest.files)
	}
	closed, before := x.closed, x.throughLocked()
	x.mu.Unlock()
	meta.rows = len(b.rows)
	for i := range b.rows {
		t := b.rows[i].time
		if meta.newest = max(meta.newest, t); i == 0 || t < meta.oldest {
			meta.oldest = t
		}
	}
	if meta.newest-meta.oldest > math.MaxUint32 {
		return nil, fmt.Errorf("committing an audit index run: %w: more than a century", ErrTooLarge)
	}
	switch {
	case closed:
		return nil, ErrClosed
	case through <= before:
		return nil, fmt.Errorf("committing an audit index run: %w: through segment %d after %d", ErrOrder, through, before)
	}
	r, err := x.write(meta, b.write)
	if err != nil {
		return nil, fmt.Errorf("committing an audit index run: %w", err)
	}
	b.done = true
	x.replace(len(x.runs), len(x.runs), r)
	files := make([]File, len(b.files))
	for i, f := range b.files {
		files[i] = f.file
		files[i].Number = meta.firstFile + uint64(i)
	}
	return files, nil
}

func (f *FileBuilder) check(through uint64) error {
	switch file := &f.file; {
	case !f.closed:
		return fmt.Errorf("a file of account %q in %q is not closed", file.Account, file.Region)
	case file.Segment > through:
		return fmt.Errorf("%w: %s is of segment %d", ErrOrder, file.Path, file.Segment)
	default:
		return file.valid()
	}
}

// write writes the rows and terms.
func (b *Builder) write(w *runWriter) error {
	// Postings go by the rows' places in the run.
	order := make([]uint32, len(b.rows))
	for i := range order {
		order[i] = uint32(i)
	}
	slices.SortFunc(order, func(i, j uint32) int { return b.rows[i].compare(&b.rows[j]) })
	place := make([]uint32, len(b.rows))
	for to, from := range order {
		place[from] = uint32(to)
		if err := w.row(&b.rows[from]); err != nil {
			return err
		}
	}
	for i := range b.postings {
		b.postings[i].row = place[b.postings[i].row]
	}
	slices.SortFunc(b.postings, func(p, q posting) int {
		return cmp.Or(cmp.Compare(p.hash, q.hash), cmp.Compare(p.row, q.row))
	})
	postings := slices.Compact(b.postings)
	var rows []uint32
	for i := 0; i < len(postings); {
		rows = rows[:0]
		hash := postings[i].hash
		for ; i < len(postings) && postings[i].hash == hash; i++ {
			rows = append(rows, postings[i].row)
		}
		if err := w.term(hash, rows); err != nil {
			return err
		}
	}
	for _, f := range b.files {
		w.file(&f.file)
	}
	return nil
}
