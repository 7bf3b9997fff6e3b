package index

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"slices"
	"sort"
	"sync"
	"sync/atomic"
)

// maxTail is how many events of undelivered segments are remembered, at some
// 150 bytes each. Usually they are those of a few minutes.
const maxTail = 500_000

// tails remembers where the events of undelivered segments are, and their
// hashes: what has been read once is not read through again by each search.
type tails struct {
	key   hashKey
	limit int // maxTail, but for tests

	mu sync.Mutex
	of map[uint64]*tail // by the number of the segment
}

// tail is what is remembered of a segment: the events from its beginning to
// next.
type tail struct {
	events atomic.Int64 // len(rows)

	mu         sync.Mutex // held while the segment is read
	next       int64
	rows       []tailRow // the oldest first; what a search has got is not changed
	hashes     []uint64  // only appended to
	unreadable int
}

// tailRow is an event, with where its hashes are.
type tailRow struct {
	time, offset int64
	from, to     uint32
}

func (a tailRow) compare(b tailRow) int {
	return cmp.Or(cmp.Compare(a.time, b.time), cmp.Compare(a.offset, b.offset))
}

// forget drops what has been delivered.
func (t *tails) forget(through uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for number := range t.of {
		if number <= through {
			delete(t.of, number)
		}
	}
}

// tail returns what is remembered of a segment, and how many events more can be
// remembered.
func (t *tails) tail(number uint64) (*tail, int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.of == nil {
		t.of = make(map[uint64]*tail)
	}
	if t.of[number] == nil {
		t.of[number] = &tail{}
	}
	space := int64(t.limit)
	for _, tail := range t.of {
		space -= tail.events.Load()
	}
	return t.of[number], int(max(space, 0))
}

// source returns the events of a segment as a source, and how many of its lines
// are no records. It reads what has been appended to the segment since the last
// time, and remembers it as long as there is space; the rest is read through
// for this query alone.
func (t *tails) source(ctx context.Context, segment Segment, q *Query, b bounds) (*tailSource, int, error) {
	kept, space := &tail{}, 0
	if !segment.Volatile {
		kept, space = t.tail(segment.Number)
	}
	kept.mu.Lock()
	whole, err := kept.extend(ctx, &t.key, segment, space)
	s := &tailSource{segment: segment, bounds: b, rows: kept.rows, hashes: kept.hashes}
	next, unreadable := kept.next, kept.unreadable
	kept.mu.Unlock()
	if err != nil {
		return nil, 0, err
	}
	for _, term := range q.Terms {
		s.terms = append(s.terms, t.key.term(term.Attribute, term.Value))
	}
	s.left = sort.Search(len(s.rows), func(i int) bool { return s.position(s.rows[i]).Compare(b.before) >= 0 })
	if !whole {
		var more int
		s.others, more, err = through(ctx, segment, next, q, b)
		unreadable += more
	}
	if s.at = b.before; b.before.Unix == math.MaxInt64 {
		s.at = Position{Unix: math.MaxInt64, Segment: segment.Number}
	}
	return s, unreadable, err
}

// entries is Segment.Entries, which fails only if the segment can't be read any
// further; it counts what is no record.
func entries(ctx context.Context, segment Segment, from int64, unreadable *int, yield func(Entry) bool) error {
	n := 0
	for e, err := range segment.Entries(from) {
		if n++; n%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			if e.Next <= from || errors.Is(err, fs.ErrNotExist) {
				return err
			}
			*unreadable++
			e.Record = nil
		}
		from = e.Next
		if !yield(e) {
			break
		}
	}
	return nil
}

// extend reads the segment on from next, and remembers at most space events. It
// reports whether that was all.
func (t *tail) extend(ctx context.Context, key *hashKey, segment Segment, space int) (whole bool, err error) {
	var added []tailRow
	var a Attributes
	whole = true
	err = entries(ctx, segment, t.next, &t.unreadable, func(e Entry) bool {
		if whole = len(added) < space && len(t.hashes) < math.MaxUint32/2; !whole {
			return false
		}
		t.next = e.Next
		if e.Record == nil {
			return true
		}
		if !Scan(e.Record, &a) || a.Time.IsZero() {
			t.unreadable++
			return true
		}
		r := tailRow{time: a.Time.Unix(), offset: e.Offset, from: uint32(len(t.hashes))}
		a.each(func(a Attribute, value string) { t.hashes = append(t.hashes, key.term(a, value)) })
		r.to = uint32(len(t.hashes))
		added = append(added, r)
		return true
	})
	t.insert(added)
	return whole, err
}

// insert adds rows. They are almost in order: a record is written when a call
// ends, and has the time when it began.
func (t *tail) insert(added []tailRow) {
	if len(added) == 0 {
		return
	}
	slices.SortFunc(added, tailRow.compare)
	keep := sort.Search(len(t.rows), func(i int) bool { return t.rows[i].compare(added[0]) > 0 })
	if after := t.rows[keep:]; len(after) > 0 {
		added = append(slices.Clone(after), added...)
		slices.SortFunc(added, tailRow.compare)
		t.rows = slices.Clip(t.rows[:keep]) // so that a copy is made
	}
	t.rows = append(t.rows, added...)
	t.events.Store(int64(len(t.rows)))
}

// through reads a segment from an offset to its end for the newest events that
// the query is about, as many as can stand on a page and one more.
func through(ctx context.Context, segment Segment, from int64, q *Query, b bounds) (rows []tailRow, unreadable int, err error) {
	wanted := q.Limit + 1
	err = entries(ctx, segment, from, &unreadable, func(entry Entry) bool {
		if entry.Record == nil {
			return true
		}
		e := Event{Record: entry.Record}
		if !Scan(e.Record, &e.Attributes) || e.Time.IsZero() {
			unreadable++
			return true
		}
		e.Position = Position{Unix: e.Time.Unix(), Segment: segment.Number, Offset: entry.Offset}
		if e.Position.Unix < b.start || e.Position.Compare(b.before) >= 0 {
			return true
		}
		if !e.hasAll(q) {
			return true
		}
		if q.Filter != nil {
			e.Record = bytes.Clone(e.Record) // for who keeps it
			if !q.Filter(&e) {
				return true
			}
		}
		rows = append(rows, tailRow{time: e.Position.Unix, offset: e.Offset})
		if len(rows) >= 2*wanted+1024 {
			rows = newest(rows, wanted)
		}
		return true
	})
	return newest(rows, wanted), unreadable, err
}

// newest returns the newest n rows, the oldest of them first.
func newest(rows []tailRow, n int) []tailRow {
	slices.SortFunc(rows, tailRow.compare)
	return rows[:copy(rows, rows[max(len(rows)-n, 0):])]
}

// tailSource is a segment of the journal as a source.
type tailSource struct {
	segment Segment
	bounds  bounds
	terms   []uint64

	rows   []tailRow // that are remembered
	hashes []uint64
	left   int       // of rows: those after it have been looked at, or are too new
	others []tailRow // that are found by reading; all of them are meant

	at    Position
	exact bool
}

func (s *tailSource) position(r tailRow) Position {
	return Position{Unix: r.time, Segment: s.segment.Number, Offset: r.offset}
}

func (s *tailSource) top() (Position, bool) { return s.at, s.exact }

func (s *tailSource) advance() (bool, error) {
	s.exact = true
	for s.left > 0 && !s.has(s.rows[s.left-1]) {
		s.left--
	}
	var r tailRow
	switch l := len(s.others); {
	case s.left == 0 && l == 0:
		return false, nil
	case l == 0 || s.left > 0 && s.rows[s.left-1].compare(s.others[l-1]) > 0:
		s.left--
		r = s.rows[s.left]
	default:
		s.others = s.others[:l-1]
		r = s.others[:l][l-1]
	}
	s.at = s.position(r)
	return r.time >= s.bounds.start, nil
}

// has reports whether a row has the hashes of all terms.
func (s *tailSource) has(r tailRow) bool {
	hashes := s.hashes[r.from:r.to]
	for _, term := range s.terms {
		if !slices.Contains(hashes, term) {
			return false
		}
	}
	return true
}

func (s *tailSource) event(e *Event) error {
	for entry, err := range s.segment.Entries(s.at.Offset) {
		switch {
		case err != nil:
			return err
		case entry.Offset != s.at.Offset:
			return fmt.Errorf("segment %d of the journal has no record at %d", s.segment.Number, s.at.Offset)
		}
		e.Record = bytes.Clone(entry.Record)
		return nil
	}
	return fmt.Errorf("segment %d of the journal has no record at %d", s.segment.Number, s.at.Offset)
}
