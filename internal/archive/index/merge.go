package index

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/bits"
	"slices"
)

// Merge merges some adjacent runs into one, if there are enough of them, and
// reports whether it did: then there may be more to merge. Who delivers calls
// it after each delivery until there is not. Searches go on meanwhile, and see
// the runs as they were, or the new one.
func (x *Index) Merge(ctx context.Context) (bool, error) {
	x.work.Lock()
	defer x.work.Unlock()
	x.mu.Lock()
	runs, closed := x.runs, x.closed
	x.mu.Unlock()
	if closed {
		return false, ErrClosed
	}
	from, to := x.mergeable(runs)
	if from == to {
		return false, nil
	}
	m := merger{ctx: ctx}
	r, err := x.write(m.begin(runs[from:to]), m.write)
	if err != nil {
		return false, fmt.Errorf("merging runs of the audit index: %w", x.noticed(err))
	}
	x.replace(from, to, r)
	return true, nil
}

// mergeable returns which runs to merge: those from the first to the last of
// fanOut runs of one level, with those of lower levels between them. Whatever
// has more than half of the rows that a merged run may have stays as it is.
func (x *Index) mergeable(runs []*run) (from, to int) {
	level := func(r *run) int {
		if r.rows > x.maxRows/2 {
			return maxLevel
		}
		return r.level
	}
	for l := range maxLevel {
		from, count, rows := 0, 0, 0
		for i, r := range runs {
			at := level(r)
			switch {
			case at > l:
				from, count, rows = i+1, 0, 0
				continue
			case at < l && count == 0:
				from = i + 1
				continue
			case rows+r.rows > x.maxRows:
				return from, i
			}
			if at == l {
				count++
			}
			if rows += r.rows; count == x.fanOut {
				return from, i + 1
			}
		}
	}
	return 0, 0
}

// merger writes a run from others.
type merger struct {
	ctx   context.Context
	runs  []*mergedRun
	steps int
}

// mergedRun is one of the runs, as it is read from its beginning to its end.
type mergedRun struct {
	*runReader
	base  uint32   // number of its first file in the new run
	place []uint32 // of its rows in the new run

	rowText *bufio.Reader
	current row
	left    int // rows, with current

	termText *bufio.Reader
	hash     uint64
	ref      uint32
	terms    int // left, with hash
}

// begin returns what the footer of the new run will say.
func (m *merger) begin(runs []*run) runMeta {
	first, last := runs[0], runs[len(runs)-1]
	meta := runMeta{first: first.first, last: last.last, through: last.through, firstFile: first.firstFile, key: first.key}
	files := 0
	for _, r := range runs {
		meta.level = max(meta.level, r.level+1)
		if r.rows > 0 {
			if meta.newest = max(meta.newest, r.newest); meta.rows == 0 || r.oldest < meta.oldest {
				meta.oldest = r.oldest
			}
		}
		meta.rows += r.rows
		part := &mergedRun{runReader: r.reader(), base: uint32(files), place: make([]uint32, 0, r.rows), left: r.rows, terms: r.terms}
		part.rowText = part.section(0, r.lists())
		part.termText = part.section(r.dict(), termSize*int64(r.terms))
		m.runs = append(m.runs, part)
		files += r.files
	}
	meta.level = min(meta.level, maxLevel)
	return meta
}

// section returns a reader of a part of the text.
func (r *mergedRun) section(at, length int64) *bufio.Reader {
	return bufio.NewReaderSize(io.NewSectionReader(r.pager(), at, length), 16<<10)
}

func (m *merger) write(w *runWriter) error {
	for _, part := range []func(*runWriter) error{m.rows, m.terms, m.files} {
		if err := part(w); err != nil {
			return err
		}
	}
	return nil
}

// step gives up if the context has ended.
func (m *merger) step() error {
	if m.steps++; m.steps%4096 == 0 {
		return m.ctx.Err()
	}
	return nil
}

func (m *merger) rows(w *runWriter) error {
	for _, r := range m.runs {
		if err := r.nextRow(); err != nil {
			return err
		}
	}
	for number := range w.meta.rows {
		if err := m.step(); err != nil {
			return err
		}
		var newest *mergedRun
		for _, r := range m.runs {
			if r.left > 0 && (newest == nil || r.current.compare(&newest.current) < 0) {
				newest = r
			}
		}
		newest.place = append(newest.place, uint32(number))
		newest.current.file += newest.base
		if err := w.row(&newest.current); err != nil {
			return err
		}
		newest.left--
		if err := newest.nextRow(); err != nil {
			return err
		}
	}
	return nil
}

// nextRow reads the next row, if one is left.
func (r *mergedRun) nextRow() error {
	if r.left == 0 {
		return nil
	}
	var b [rowSize]byte
	if _, err := io.ReadFull(r.rowText, b[:]); err != nil {
		return r.failed(err)
	}
	w, err := r.parseRow(b[:])
	if err != nil {
		return err
	}
	f, err := r.fileOf(w.file)
	w.segment = f.Segment
	r.current = w
	return err
}

func (m *merger) terms(w *runWriter) error {
	for _, r := range m.runs {
		if err := r.nextTerm(); err != nil {
			return err
		}
	}
	var rows []uint32
	for {
		if err := m.step(); err != nil {
			return err
		}
		var least *mergedRun
		for _, r := range m.runs {
			if r.terms > 0 && (least == nil || r.hash < least.hash) {
				least = r
			}
		}
		if least == nil {
			return nil
		}
		hash, parts := least.hash, 0
		rows = rows[:0]
		for _, r := range m.runs {
			if r.terms == 0 || r.hash != hash {
				continue
			}
			var err error
			if rows, err = r.appendRows(rows); err != nil {
				return err
			}
			parts++
			r.terms--
			if err := r.nextTerm(); err != nil {
				return err
			}
		}
		if parts > 1 {
			slices.Sort(rows)
		}
		if err := w.term(hash, rows); err != nil {
			return err
		}
	}
}

// nextTerm reads the next term, if one is left.
func (r *mergedRun) nextTerm() error {
	if r.terms == 0 {
		return nil
	}
	var b [termSize]byte
	if _, err := io.ReadFull(r.termText, b[:]); err != nil {
		return r.failed(err)
	}
	hash := binary.LittleEndian.Uint64(b[:])
	if hash < r.hash {
		return damaged(r.path, "its terms are not in order")
	}
	r.hash, r.ref = hash, binary.LittleEndian.Uint32(b[8:])
	return nil
}

// appendRows appends the rows of the term, as they are numbered in the new run.
func (r *mergedRun) appendRows(rows []uint32) ([]uint32, error) {
	l, err := r.parseRef(r.ref)
	if err != nil {
		return nil, err
	}
	words := int64(l.count)
	switch l.kind {
	case oneRow:
		return append(rows, r.place[l.row]), nil
	case dense:
		words = denseSize(r.rows) / 4
	}
	var b [1024]byte
	for done := int64(0); done < words; {
		part := b[:4*min(words-done, int64(len(b)/4))]
		if _, err := r.pages.ReadAt(part, l.at+4*done); err != nil {
			return nil, r.failed(err)
		}
		for ; len(part) > 0; part = part[4:] {
			word := binary.LittleEndian.Uint32(part)
			if l.kind == sparse {
				if int64(word) >= int64(r.rows) {
					return nil, damaged(r.path, "a list is wrong")
				}
				rows = append(rows, r.place[word])
			}
			for ; l.kind == dense && word != 0; word &= word - 1 {
				i := 32*done + int64(bits.TrailingZeros32(word))
				if i >= int64(r.rows) {
					return nil, damaged(r.path, "a list is wrong")
				}
				rows = append(rows, r.place[i])
			}
			done++
		}
	}
	return rows, nil
}

func (m *merger) files(w *runWriter) error {
	for _, r := range m.runs {
		for i := range r.files {
			if err := m.step(); err != nil {
				return err
			}
			f, err := r.fileAt(uint32(i))
			if err != nil {
				return err
			}
			w.file(&f)
		}
	}
	return nil
}
