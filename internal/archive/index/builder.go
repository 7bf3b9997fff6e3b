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
	// from.
	Segment uint64

	Size int64    // in bytes, compressed
	Hash [32]byte // SHA-256 of the text in it

	// Set by the builder.
	Events         int
	Oldest, Newest time.Time // times of events; zero if there is none
}

// A Builder collects the index of one delivery: of one segment of the journal
// or several. It needs some 250 bytes of memory for each event. It is used by
// one goroutine.
type Builder struct {
	index   *Index
	rows    []row
	ends    []uint32 // of each row, where its terms in numbers end
	numbers []uint32 // of terms
	terms   terms
	recent  [lastAttribute + 1]struct {
		value  string
		number uint32
	} // terms of the event before: they often come again
	placed  int // rows
	files   []*FileBuilder
	scanned Attributes
	done    bool
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

// Scanned is what a record says that was read by [Builder.Scan].
type Scanned struct {
	Event           int // its number in the builder, from 0 on
	Time            time.Time
	Account, Region string // empty if it says none
}

// Scan reads a record, whose event has to be placed then in a file, with
// [FileBuilder.Place]. The error is [ErrNotRecord], and then the builder is as
// it was before; or [ErrTooLarge].
func (b *Builder) Scan(record []byte) (Scanned, error) {
	if !Scan(record, &b.scanned) || b.scanned.Time.IsZero() {
		return Scanned{}, ErrNotRecord
	}
	if len(b.rows) >= maxRows || !fits(int64(len(record))) || !fits(int64(len(b.numbers)+maxTerms(&b.scanned))) {
		return Scanned{}, ErrTooLarge
	}
	from := len(b.numbers)
	b.scanned.each(func(a Attribute, value string) {
		recent := &b.recent[a]
		if recent.value != value {
			recent.value, recent.number = value, b.terms.number(b.index.key.term(a, value))
		}
		b.numbers = append(b.numbers, recent.number)
	})
	// Of two resources, both may have the same type.
	own := b.numbers[from:]
	if len(b.scanned.Resources) > 1 {
		slices.Sort(own)
		own = slices.Compact(own)
		b.numbers = b.numbers[:from+len(own)]
	}
	for _, n := range own {
		b.terms.counts[n]++
	}
	b.rows = append(b.rows, row{time: b.scanned.Time.Unix(), length: uint32(len(record)), file: unplaced})
	b.ends = append(b.ends, uint32(len(b.numbers)))
	return Scanned{Event: len(b.rows) - 1, Time: b.scanned.Time, Account: b.scanned.Account, Region: b.scanned.Region}, nil
}

// unplaced is the file of a row before it is placed.
const unplaced = math.MaxUint32

// Add adds a record, as it stands at its place, to the index: it scans it, and
// places its event.
func (f *FileBuilder) Add(at Place, record []byte) error {
	if !at.fits() {
		return ErrTooLarge
	}
	scanned, err := f.builder.Scan(record)
	if err != nil {
		return err
	}
	return f.Place(at, scanned.Event)
}

// Place says where the record of an event stands that the builder has scanned.
func (f *FileBuilder) Place(at Place, event int) error {
	if !at.fits() {
		return ErrTooLarge
	}
	r := &f.builder.rows[event]
	if r.file != unplaced {
		return errors.New("placing an event of the audit index: it has a place already")
	}
	r.segment, r.file, r.offset, r.block, r.start = f.file.Segment, f.number, uint32(at.Offset), uint32(at.Block), uint32(at.Start)
	f.builder.placed++
	t := time.Unix(r.time, 0).UTC()
	if f.file.Events == 0 || t.Before(f.file.Oldest) {
		f.file.Oldest = t
	}
	if f.file.Events == 0 || t.After(f.file.Newest) {
		f.file.Newest = t
	}
	f.file.Events++
	return nil
}

func (p *Place) fits() bool { return fits(p.Offset) && fits(p.Block) && fits(int64(p.Start)) }

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
	if b.placed < len(b.rows) {
		return nil, fmt.Errorf("committing an audit index run: %d events have no place", len(b.rows)-b.placed)
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
	// The events came the oldest first, or nearly so.
	order := make([]uint32, len(b.rows))
	for i := range order {
		order[i] = uint32(len(order) - 1 - i)
	}
	slices.SortFunc(order, func(i, j uint32) int { return b.rows[i].compare(&b.rows[j]) })
	// The rows of each term, one term after the other.
	rows := make([]uint32, len(b.numbers))
	next := make([]uint32, len(b.terms.counts)) // of each term, where in rows
	sum := uint32(0)
	for i, n := range b.terms.counts {
		next[i] = sum
		sum += n
	}
	for to, from := range order {
		if err := w.row(&b.rows[from]); err != nil {
			return err
		}
		begin := uint32(0)
		if from > 0 {
			begin = b.ends[from-1]
		}
		for _, n := range b.numbers[begin:b.ends[from]] {
			rows[next[n]] = uint32(to)
			next[n]++
		}
	}
	for _, hash := range b.terms.sorted() {
		n := b.terms.number(hash)
		if err := w.term(hash, rows[next[n]-b.terms.counts[n]:next[n]]); err != nil {
			return err
		}
	}
	for _, f := range b.files {
		w.file(&f.file)
	}
	return nil
}
