package index

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"math/bits"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"sync/atomic"
	"time"

	"github.com/keyreeve/keyreeve/internal/durable"
)

// Sizes of what is in a run; see the package's documentation.
const (
	magic     = "KRINDEX\x02"
	rowSize   = 24
	termSize  = 12
	fileFixed = 8 + 8 + 8 + 8 + 4 + 32
	maxName   = math.MaxUint8
	maxPath   = 4096
	maxBits   = 24
	fenceRows = 512
)

// The kinds of lists.
const (
	oneRow  = 0
	sparse  = 1
	dense   = 2
	refBits = 30
	refMask = 1<<refBits - 1
)

// runMeta is what the footer of a run says.
type runMeta struct {
	first, last    uint64 // deliveries
	through        uint64 // segment of the journal
	firstFile      uint64
	oldest, newest int64
	key            hashKey
	level          int
	rows           int
	files          int
	terms          int
	bits           int
	textsLength    int64
	listsLength    int64
}

// Where the sections begin.
func (m *runMeta) lists() int64   { return int64(m.rows) * rowSize }
func (m *runMeta) texts() int64   { return m.lists() + m.listsLength }
func (m *runMeta) table() int64   { return m.texts() + m.textsLength }
func (m *runMeta) dict() int64    { return m.table() + 4*int64(m.files) }
func (m *runMeta) buckets() int64 { return m.dict() + termSize*int64(m.terms) }
func (m *runMeta) fence() int64   { return m.buckets() + 4<<m.bits }
func (m *runMeta) end() int64     { return m.fence() + 4*int64(m.fences()) }

// fences is how many entries the fence has.
func (m *runMeta) fences() int { return (m.rows + fenceRows - 1) / fenceRows }

// append appends the footer of a run, but for what stands before it.
func (m *runMeta) append(b []byte) []byte {
	le := binary.LittleEndian
	for _, v := range []uint64{m.first, m.last, m.through, m.firstFile, uint64(m.oldest), uint64(m.newest)} {
		b = le.AppendUint64(b, v)
	}
	b = append(b, m.key[:]...)
	for _, v := range []int{m.level, m.rows, m.files, m.terms} {
		b = le.AppendUint32(b, uint32(v))
	}
	b = append(b, byte(m.bits))
	b = le.AppendUint64(b, uint64(m.textsLength))
	return le.AppendUint64(b, uint64(m.listsLength))
}

// appendFooter appends what a footer begins with: the version, and the key.
func appendFooter(b, sealed []byte) []byte {
	b = append(b, magic...)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(sealed)))
	return append(b, sealed...)
}

// cutFooter undoes appendFooter.
func cutFooter(b []byte) (sealed, rest []byte, ok bool) {
	if string(b[:len(magic)]) != magic {
		return nil, nil, false
	}
	b = b[len(magic):]
	n := int(binary.LittleEndian.Uint16(b))
	if b = b[2:]; n > maxSealed {
		return nil, nil, false
	}
	return b[:n], b[n:], true
}

// parse reads a footer after what it begins with. It checks that the sections
// it tells of end where the file of that many pages does.
func (m *runMeta) parse(b []byte, pages int64) bool {
	le := binary.LittleEndian
	var longs [6]uint64
	for i := range longs {
		longs[i], b = le.Uint64(b), b[8:]
	}
	m.first, m.last, m.through, m.firstFile = longs[0], longs[1], longs[2], longs[3]
	m.oldest, m.newest = int64(longs[4]), int64(longs[5])
	b = b[copy(m.key[:], b):]
	var ints [4]uint32
	for i := range ints {
		ints[i], b = le.Uint32(b), b[4:]
	}
	m.level, m.rows, m.files, m.terms = int(ints[0]), int(ints[1]), int(ints[2]), int(ints[3])
	m.bits, b = int(b[0]), b[1:]
	m.textsLength, m.listsLength = int64(le.Uint64(b)), int64(le.Uint64(b[8:]))
	const limit = math.MaxUint32 * pagePayload
	if m.rows > maxRows || m.bits > maxBits || m.level > maxLevel || m.textsLength < 0 || m.textsLength > limit || m.listsLength < 0 ||
		m.listsLength > limit || m.oldest < 0 || m.newest < m.oldest || m.newest-m.oldest > math.MaxUint32 ||
		m.first == 0 || m.first > m.last || m.firstFile == 0 || m.firstFile+uint64(m.files) < m.firstFile {
		return false
	}
	return (m.end()+pagePayload-1)/pagePayload == pages-1
}

// A run is an open run. It is closed when the last who uses it releases it.
type run struct {
	runMeta
	path  string
	size  int64
	file  *os.File
	mac   mac
	users atomic.Int32
}

// openRun opens a run, with one user. It reads no more than the footer.
func openRun(path string, box Box) (_ *run, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close())
		}
	}()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	r := &run{path: path, size: info.Size(), file: f}
	pages := r.size / pageSize
	if r.size%pageSize != 0 || pages == 0 {
		return nil, damaged(path, "%d bytes are not whole pages", r.size)
	}
	page := make([]byte, pageSize)
	if _, err := f.ReadAt(page, r.size-pageSize); err != nil {
		return nil, err
	}
	first, last, named := parseRunName(filepath.Base(path))
	sealed, rest, ok := cutFooter(page[:pagePayload])
	if !ok || !named {
		return nil, damaged(path, "the footer is wrong, or of another version")
	}
	if r.mac, err = openSealed(box, path, first, last, sealed); err != nil {
		return nil, err
	}
	tags := tagger{mac: r.mac}
	if !tags.right(page, pages-1, true) {
		return nil, damaged(path, "the tag of the footer is wrong")
	}
	if !r.parse(rest, pages) || first != r.first || last != r.last {
		return nil, damaged(path, "the footer is wrong")
	}
	r.users.Store(1)
	return r, nil
}

func (r *run) retain() { r.users.Add(1) }

func (r *run) release() {
	if r.users.Add(-1) == 0 {
		_ = r.file.Close() // it was only read
	}
}

// pager returns a new pager of the run's text.
func (r *run) pager() *pager {
	return &pager{file: r.file, tags: tagger{mac: r.mac}, name: r.path, length: r.end()}
}

// A runReader reads a run. It is used by one goroutine.
type runReader struct {
	*run
	pages *pager
	buf   [64]byte
	known map[uint32]File // read before
}

func (r *run) reader() *runReader {
	return &runReader{run: r, pages: r.pager(), known: map[uint32]File{}}
}

// uint32At reads an integer of the text.
func (r *runReader) uint32At(at int64) (uint32, error) {
	b := r.buf[:4]
	if _, err := r.pages.ReadAt(b, at); err != nil {
		return 0, r.failed(err)
	}
	return binary.LittleEndian.Uint32(b), nil
}

// failed turns the end of the text, where none should be, into damage.
func (r *run) failed(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return damaged(r.path, "something lies beyond its end")
	}
	return err
}

// row reads row i, without its segment.
func (r *runReader) row(i uint32) (row, error) {
	b := r.buf[:rowSize]
	if _, err := r.pages.ReadAt(b, int64(i)*rowSize); err != nil {
		return row{}, r.failed(err)
	}
	return r.parseRow(b)
}

func (r *run) parseRow(b []byte) (row, error) {
	le := binary.LittleEndian
	w := row{
		time: r.oldest + int64(le.Uint32(b)), file: le.Uint32(b[4:]), offset: le.Uint32(b[8:]),
		block: le.Uint32(b[12:]), start: le.Uint32(b[16:]), length: le.Uint32(b[20:]),
	}
	if int64(w.file) >= int64(r.files) || w.time > r.newest {
		return row{}, damaged(r.path, "a row is wrong")
	}
	return w, nil
}

// firstRow returns the first row for which older reports true, which it does for
// all rows after it; older(r) must be false if the time of r is after at, and
// true if it is before.
func (r *runReader) firstRow(at int64, older func(row) (bool, error)) (uint32, error) {
	var failed error
	// The first entry of the fence that is not after at: what is looked for
	// stands between the one before it and the first that is before at.
	fence := func(before int64) int {
		return sort.Search(r.fences(), func(i int) bool {
			if failed != nil {
				return true
			}
			var v uint32
			v, failed = r.uint32At(r.fence() + 4*int64(i))
			return r.oldest+int64(v) < before
		})
	}
	low := max(fence(at+1)-1, 0) * fenceRows
	high := min(fence(at)*fenceRows, r.rows)
	if failed != nil {
		return 0, failed
	}
	n := sort.Search(max(high-low, 0), func(i int) bool {
		if failed != nil {
			return true
		}
		w, err := r.row(uint32(low + i))
		if err != nil {
			failed = err
			return true
		}
		var is bool
		is, failed = older(w)
		return is
	})
	return uint32(low + n), failed
}

// fileAt reads file i of the run.
func (r *runReader) fileAt(i uint32) (File, error) {
	if int64(i) >= int64(r.files) {
		return File{}, damaged(r.path, "a row is wrong")
	}
	at, err := r.uint32At(r.table() + 4*int64(i))
	if err != nil {
		return File{}, err
	}
	f, _, err := r.parseFile(io.NewSectionReader(r.pages, r.texts()+int64(at), max(r.textsLength-int64(at), 0)))
	f.Number = r.firstFile + uint64(i)
	return f, err
}

// fileOf is fileAt, which remembers the files.
func (r *runReader) fileOf(i uint32) (File, error) {
	if f, ok := r.known[i]; ok {
		return f, nil
	}
	f, err := r.fileAt(i)
	if err != nil {
		return File{}, err
	}
	if len(r.known) >= 256 {
		clear(r.known)
	}
	r.known[i] = f
	return f, nil
}

// parseFile reads the text of a file, and returns its length.
func (r *run) parseFile(from io.Reader) (f File, length int, err error) {
	read := func(n int) []byte {
		b := make([]byte, n)
		if err == nil {
			_, err = io.ReadFull(from, b)
			length += n
		}
		return b
	}
	le := binary.LittleEndian
	b := read(fileFixed)
	f.Segment, f.Size, f.Events = le.Uint64(b), int64(le.Uint64(b[24:])), int(le.Uint32(b[32:]))
	if f.Events > 0 {
		f.Oldest, f.Newest = time.Unix(int64(le.Uint64(b[8:])), 0).UTC(), time.Unix(int64(le.Uint64(b[16:])), 0).UTC()
	}
	copy(f.Hash[:], b[36:])
	f.Account = string(read(int(read(1)[0])))
	f.Region = string(read(int(read(1)[0])))
	f.Path = string(read(int(le.Uint16(read(2)))))
	if err != nil {
		return File{}, 0, r.failed(err)
	}
	if err := f.valid(); err != nil {
		return File{}, 0, damaged(r.path, "%v", err)
	}
	return f, length, nil
}

// valid says what of a file can't stand in a run.
func (f *File) valid() error {
	switch {
	case len(f.Account) > maxName || len(f.Region) > maxName || len(f.Path) > maxPath:
		return fmt.Errorf("the names of a file are too long: %.100q", f.Path)
	case f.Path == "" || !filepath.IsLocal(filepath.FromSlash(f.Path)) || strings.ContainsRune(f.Path, '\\'):
		return fmt.Errorf("%.100q is no path below the archive's directory", f.Path)
	case f.Size < 0:
		return fmt.Errorf("the size of %.100q is negative", f.Path)
	}
	return nil
}

func (f *File) append(b []byte) []byte {
	le := binary.LittleEndian
	var oldest, newest int64
	if f.Events > 0 {
		oldest, newest = f.Oldest.Unix(), f.Newest.Unix()
	}
	for _, v := range []uint64{f.Segment, uint64(oldest), uint64(newest), uint64(f.Size)} {
		b = le.AppendUint64(b, v)
	}
	b = le.AppendUint32(b, uint32(f.Events))
	b = append(b, f.Hash[:]...)
	b = append(append(b, byte(len(f.Account))), f.Account...)
	b = append(append(b, byte(len(f.Region))), f.Region...)
	return append(le.AppendUint16(b, uint16(len(f.Path))), f.Path...)
}

// list is the rows that have a term, ascending.
type list struct {
	kind  uint32
	row   uint32 // of oneRow
	at    int64  // where in the text the rows or bits begin
	count uint32 // of sparse
}

// find returns the list of a term; false if there is none.
func (r *runReader) find(hash uint64) (list, bool, error) {
	bucket := hash >> (64 - r.bits) // a shift by 64 gives 0
	from, err := r.uint32At(r.buckets() + 4*int64(bucket))
	if err != nil {
		return list{}, false, err
	}
	to := uint32(r.terms)
	if bucket+1 < 1<<r.bits {
		if to, err = r.uint32At(r.buckets() + 4*int64(bucket+1)); err != nil {
			return list{}, false, err
		}
	}
	if from > to || int64(to) > int64(r.terms) {
		return list{}, false, damaged(r.path, "a bucket is wrong")
	}
	b := r.buf[:termSize]
	var failed error
	n := sort.Search(int(to-from), func(i int) bool {
		if failed == nil {
			_, failed = r.pages.ReadAt(b, r.dict()+termSize*(int64(from)+int64(i)))
		}
		return failed != nil || binary.LittleEndian.Uint64(b) >= hash
	})
	if failed != nil {
		return list{}, false, r.failed(failed)
	}
	if n == int(to-from) {
		return list{}, false, nil
	}
	if _, err := r.pages.ReadAt(b, r.dict()+termSize*(int64(from)+int64(n))); err != nil {
		return list{}, false, r.failed(err)
	}
	if binary.LittleEndian.Uint64(b) != hash {
		return list{}, false, nil
	}
	l, err := r.parseRef(binary.LittleEndian.Uint32(b[8:]))
	return l, err == nil, err
}

// parseRef reads the head of a list.
func (r *runReader) parseRef(ref uint32) (l list, err error) {
	l.kind = ref >> refBits
	at := int64(ref&refMask) * 4
	switch l.kind {
	case oneRow:
		l.row = ref & refMask
		if int64(l.row) >= int64(r.rows) {
			return l, damaged(r.path, "a list is wrong")
		}
		return l, nil
	case sparse:
		if at+4 <= r.listsLength {
			l.count, err = r.uint32At(r.lists() + at)
			l.at = r.lists() + at + 4
			if err != nil || at+4+4*int64(l.count) <= r.listsLength {
				return l, err
			}
		}
	case dense:
		l.at = r.lists() + at
		if at+denseSize(r.rows) <= r.listsLength {
			return l, nil
		}
	}
	return l, damaged(r.path, "a list is wrong")
}

// denseSize is the length of a dense list in a run of so many rows.
func denseSize(rows int) int64 { return (int64(rows) + 31) / 32 * 4 }

// seek returns the first row of a list that is not before from; false if there
// is none.
func (r *runReader) seek(l *list, from uint32) (uint32, bool, error) {
	if int64(from) >= int64(r.rows) {
		return 0, false, nil
	}
	switch l.kind {
	case oneRow:
		return l.row, l.row >= from, nil
	case sparse:
		return r.seekSparse(l, from)
	}
	for i := int64(from / 32); i < denseSize(r.rows)/4; i++ {
		word, err := r.uint32At(l.at + 4*i)
		if err != nil {
			return 0, false, err
		}
		if i == int64(from/32) {
			word &= math.MaxUint32 << (from % 32)
		}
		if word != 0 {
			row := uint32(i)*32 + uint32(bits.TrailingZeros32(word))
			if int64(row) >= int64(r.rows) {
				return 0, false, damaged(r.path, "a list is wrong")
			}
			return row, true, nil
		}
	}
	return 0, false, nil
}

// seekSparse looks at 1, 2, 4, … entries further on than where it was last, and
// then between: a walk through a list reads each of its pages once.
func (r *runReader) seekSparse(l *list, from uint32) (uint32, bool, error) {
	at := func(i uint32) (uint32, error) { return r.uint32At(l.at + 4*int64(i)) }
	// What is before row was less than an earlier from, if this one is not
	// less than that.
	low, step := uint32(0), uint32(1)
	if l.row > 0 && l.row < l.count {
		v, err := at(l.row - 1)
		if err != nil {
			return 0, false, err
		}
		if v < from {
			low = l.row
		}
	}
	high := low
	for high < l.count {
		v, err := at(high)
		if err != nil {
			return 0, false, err
		}
		if v >= from {
			break
		}
		low, high = high+1, high+min(step, l.count-high)
		step *= 2
	}
	var failed error
	n := low + uint32(sort.Search(int(high-low), func(i int) bool {
		if failed != nil {
			return true
		}
		var v uint32
		v, failed = at(low + uint32(i))
		return v >= from
	}))
	if failed != nil || n >= l.count {
		return 0, false, failed
	}
	l.row = n
	v, err := at(n)
	if err == nil && (int64(v) >= int64(r.rows) || v < from) {
		err = damaged(r.path, "a list is wrong")
	}
	return v, err == nil, err
}

// A runWriter writes a run: first all rows, the newest first, as many as meta
// says; then all terms, in the order of their hashes; the files at any time, in
// the order of their numbers.
type runWriter struct {
	meta   runMeta
	sealed []byte // the key
	out    *pageWriter
	terms  *bufio.Writer // of a temporary file: they stand behind the lists
	texts  []byte        // of the files
	table  []byte
	words  []uint32 // of a dense list
	fence  []byte
	rows   int // written
	buf    []byte
}

func (w *runWriter) row(r *row) error {
	le := binary.LittleEndian
	b := le.AppendUint32(w.buf[:0], uint32(r.time-w.meta.oldest))
	if w.rows%fenceRows == 0 {
		w.fence = append(w.fence, b...)
	}
	w.rows++
	for _, v := range [...]uint32{r.file, r.offset, r.block, r.start, r.length} {
		b = le.AppendUint32(b, v)
	}
	w.buf = b
	_, err := w.out.Write(b)
	return err
}

// term writes the ascending rows that have a term.
func (w *runWriter) term(hash uint64, rows []uint32) error {
	le := binary.LittleEndian
	at := w.out.written - w.meta.lists()
	if at/4 > refMask {
		return ErrTooLarge
	}
	b := w.buf[:0]
	ref := uint32(at / 4)
	switch {
	case len(rows) == 1:
		ref = oneRow<<refBits | rows[0]
	case 4+4*int64(len(rows)) < denseSize(w.meta.rows):
		ref |= sparse << refBits
		b = le.AppendUint32(b, uint32(len(rows)))
		for _, r := range rows {
			b = le.AppendUint32(b, r)
		}
	default:
		ref |= dense << refBits
		w.words = slices.Grow(w.words[:0], int(denseSize(w.meta.rows)/4))[:denseSize(w.meta.rows)/4]
		clear(w.words)
		for _, r := range rows {
			w.words[r/32] |= 1 << (r % 32)
		}
		for _, word := range w.words {
			b = le.AppendUint32(b, word)
		}
	}
	w.buf = b
	if _, err := w.out.Write(b); err != nil {
		return err
	}
	w.meta.listsLength = w.out.written - w.meta.lists()
	w.meta.terms++
	var entry [termSize]byte
	le.PutUint64(entry[:], hash)
	le.PutUint32(entry[8:], ref)
	_, err := w.terms.Write(entry[:])
	return err
}

func (w *runWriter) file(f *File) {
	w.table = binary.LittleEndian.AppendUint32(w.table, uint32(len(w.texts)))
	w.texts = f.append(w.texts)
	w.meta.files++
}

// finish writes what stands behind the lists. The terms are in the spool.
func (w *runWriter) finish(spool *os.File) error {
	if err := w.terms.Flush(); err != nil {
		return err
	}
	if _, err := spool.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if len(w.texts) > math.MaxUint32 || w.meta.terms > math.MaxUint32 {
		return ErrTooLarge
	}
	w.meta.textsLength = int64(len(w.texts))
	for _, b := range [][]byte{w.texts, w.table} {
		if _, err := w.out.Write(b); err != nil {
			return err
		}
	}
	// Some hundred terms a bucket: they fit into a page.
	w.meta.bits = min(bits.Len(uint(w.meta.terms/128)), maxBits)
	var buckets []byte
	next := uint64(0) // bucket
	in := bufio.NewReaderSize(spool, 64<<10)
	var entry [termSize]byte
	for i := range w.meta.terms {
		if _, err := io.ReadFull(in, entry[:]); err != nil {
			return err
		}
		for bucket := binary.LittleEndian.Uint64(entry[:]) >> (64 - w.meta.bits); next <= bucket; next++ {
			buckets = binary.LittleEndian.AppendUint32(buckets, uint32(i))
		}
		if _, err := w.out.Write(entry[:]); err != nil {
			return err
		}
	}
	for ; next < 1<<w.meta.bits; next++ {
		buckets = binary.LittleEndian.AppendUint32(buckets, uint32(w.meta.terms))
	}
	for _, b := range [][]byte{buckets, w.fence} {
		if _, err := w.out.Write(b); err != nil {
			return err
		}
	}
	if err := w.out.flush(false); err != nil {
		return err
	}
	if _, err := w.out.Write(w.meta.append(appendFooter(nil, w.sealed))); err != nil {
		return err
	}
	return w.out.flush(true)
}

// writeRun writes a run with the rows, terms and files that fill adds, and with a
// new key.
func writeRun(out io.Writer, spool *os.File, box Box, meta runMeta, fill func(*runWriter) error) error {
	m, sealed, err := sealNew(box, meta.first, meta.last)
	if err != nil {
		return err
	}
	w := &runWriter{
		meta: meta, sealed: sealed, out: &pageWriter{w: out, tags: tagger{mac: m}}, terms: bufio.NewWriterSize(spool, 64<<10),
	}
	if err := fill(w); err != nil {
		return err
	}
	return w.finish(spool)
}

// write writes a run durably, and opens it.
func (x *Index) write(meta runMeta, fill func(*runWriter) error) (_ *run, err error) {
	f, err := os.CreateTemp(x.dir, temporary)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, remove(f))
		}
	}()
	spool, err := os.CreateTemp(x.dir, temporary)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, remove(spool)) }()

	buffered := bufio.NewWriterSize(f, 64<<10)
	if err := writeRun(buffered, spool, x.box, meta, fill); err != nil {
		return nil, err
	}
	if err := errors.Join(buffered.Flush(), f.Sync(), f.Close()); err != nil {
		return nil, err
	}
	path := filepath.Join(x.dir, runName(meta.first, meta.last))
	if err := os.Rename(f.Name(), path); err != nil {
		return nil, err
	}
	if err := durable.SyncDir(x.dir); err != nil {
		return nil, err
	}
	return openRun(path, x.box)
}

// remove closes and removes a temporary file, which may have another name now.
func remove(f *os.File) error {
	_ = f.Close() // nobody will read it
	if err := os.Remove(f.Name()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
