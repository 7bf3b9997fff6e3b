package index

import (
	"fmt"
	"io"
	"math"
)

const (
	pageSize    = 4096
	pagePayload = pageSize - tagSize
)

// A pageWriter writes a text as the payloads of pages.
type pageWriter struct {
	w       io.Writer
	tags    tagger
	number  int64
	page    [pageSize]byte
	used    int
	written int64 // of the text
}

func (w *pageWriter) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		c := copy(w.page[w.used:pagePayload], p)
		p = p[c:]
		w.used += c
		if w.used == pagePayload {
			if err := w.flush(false); err != nil {
				return 0, err
			}
		}
	}
	w.written += int64(n)
	return n, nil
}

// flush fills up the page with zeros and writes it, if there is something in it.
// Footer says that it is the last one.
func (w *pageWriter) flush(footer bool) error {
	if w.used == 0 {
		return nil
	}
	clear(w.page[w.used:pagePayload])
	copy(w.page[pagePayload:], w.tags.of(w.page[:pagePayload], w.number, footer))
	if w.number++; w.number > math.MaxUint32 {
		return ErrTooLarge
	}
	w.used = 0
	_, err := w.w.Write(w.page[:])
	return err
}

// A pager reads the text of pages, and checks each page that it reads. It keeps
// the newest ones, and is used by one goroutine.
type pager struct {
	file   io.ReaderAt
	tags   tagger
	name   string
	length int64 // of the text
	cached [cachedPages]cachedPage
	clock  uint64
	read   int64 // bytes read from the file
}

const cachedPages = 16

type cachedPage struct {
	number int64
	used   uint64 // when, by the pager's clock; 0 if there is nothing in it
	page   []byte
}

// readPage returns the payload of a page.
func (p *pager) readPage(number int64) ([]byte, error) {
	p.clock++
	oldest := &p.cached[0]
	for i := range p.cached {
		c := &p.cached[i]
		if c.used > 0 && c.number == number {
			c.used = p.clock
			return c.page[:pagePayload], nil
		}
		if c.used < oldest.used {
			oldest = c
		}
	}
	if oldest.page == nil {
		oldest.page = make([]byte, pageSize)
	}
	oldest.used = 0
	n, err := p.file.ReadAt(oldest.page, number*pageSize)
	p.read += int64(n)
	if n < pageSize {
		return nil, fmt.Errorf("reading page %d of %s: %w", number, p.name, err)
	}
	payload := oldest.page[:pagePayload]
	if !p.tags.right(oldest.page, number, false) {
		return nil, damaged(p.name, "the tag of page %d is wrong", number)
	}
	oldest.number, oldest.used = number, p.clock
	return payload, nil
}

// ReadAt reads from the text, as [io.ReaderAt].
func (p *pager) ReadAt(b []byte, at int64) (int, error) {
	n := 0
	for n < len(b) {
		if at < 0 || at >= p.length {
			return n, io.EOF
		}
		payload, err := p.readPage(at / pagePayload)
		if err != nil {
			return n, err
		}
		from := at % pagePayload
		to := min(pagePayload, from+p.length-at)
		c := copy(b[n:], payload[from:to])
		n += c
		at += int64(c)
	}
	return n, nil
}

// damaged returns an error that wraps [ErrDamaged].
func damaged(name, format string, args ...any) error {
	return fmt.Errorf("%w: %s: %s", ErrDamaged, name, fmt.Sprintf(format, args...))
}
