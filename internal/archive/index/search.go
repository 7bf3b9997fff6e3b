package index

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Position is the place of an event in the order of events: of two of the same
// second, the one that stands later in the journal is newer. The zero Position
// is none.
type Position struct {
	Unix    int64  // its time, in seconds since 1970
	Segment uint64 // number of the segment of the journal that it is from
	Offset  int64  // in the segment
}

// Compare returns a negative number if p is older than q, and a positive one if
// it is newer.
func (p Position) Compare(q Position) int {
	return cmp.Or(cmp.Compare(p.Unix, q.Unix), cmp.Compare(p.Segment, q.Segment), cmp.Compare(p.Offset, q.Offset))
}

// String returns the position as text such as 1795553400-43876547919873-1024.
func (p Position) String() string { return fmt.Sprintf("%d-%d-%d", p.Unix, p.Segment, p.Offset) }

// ParsePosition undoes [Position.String].
func ParsePosition(s string) (Position, error) {
	var n [3]uint64
	parts := strings.Split(s, "-")
	if len(parts) != len(n) {
		return Position{}, fmt.Errorf("%q is no position of an event", s)
	}
	for i, part := range parts {
		v, err := strconv.ParseUint(part, 10, 64)
		if err != nil || i != 1 && v > math.MaxInt64 {
			return Position{}, fmt.Errorf("%q is no position of an event", s)
		}
		n[i] = v
	}
	p := Position{Unix: int64(n[0]), Segment: n[1], Offset: int64(n[2])}
	if p.String() != s {
		return Position{}, fmt.Errorf("%q is no position of an event", s)
	}
	return p, nil
}

// Journal is what events are in before they are delivered.
type Journal interface {
	// Segments returns the segments that are there, in any order. Some of
	// them may have been delivered.
	Segments() ([]Segment, error)
}

// Segment is a segment of the journal.
type Segment struct {
	Number uint64 // larger for a later one; it never changes

	// Volatile says that events are removed from it, so that it is read
	// through anew by each search: a log in memory.
	Volatile bool

	// Entries iterates over the records from an offset on: 0, or the Offset
	// or Next of an entry. An error, whose entry has its place, is something
	// that is not a record; one with [fs.ErrNotExist] means that the segment
	// has been removed.
	Entries func(from int64) iter.Seq2[Entry, error]
}

// Entry is a record in a segment.
type Entry struct {
	Record []byte // valid until the next one
	Offset int64  // where it begins in the segment
	Next   int64  // where to go on after it
}

// Term is an attribute with a value.
type Term struct {
	Attribute Attribute
	Value     string
}

// Query is what is searched for: events that have all the terms.
type Query struct {
	// Terms may hold [Account] and [Region], so that the events of one
	// account are seen and no others. No terms means all events of all
	// accounts. There are at most MaxTerms.
	Terms []Term

	// Start and End are the earliest and the latest time of events, to the
	// second; zero means no limit.
	Start, End time.Time

	// Before is the position after whose event the search goes on, towards
	// older ones: the Next of the page before. Zero begins with the newest.
	Before Position

	// Limit is how many events are returned at most, from 1 to MaxLimit; 0
	// means 50.
	Limit int

	// Filter, if there is one, says which of the events that have the terms
	// are meant. They are read, one by one, for it.
	Filter func(*Event) bool
}

// Limits of a search.
const (
	MaxTerms = 16
	MaxLimit = 1000

	// maxExamined is how many events are read for one page, and maxText how
	// much text there is in it, beside its last event.
	maxExamined = 5000
	maxText     = 8 << 20
)

// Event is an event that was found.
type Event struct {
	Position
	Attributes
	Record []byte // the JSON text
	Path   string // of the file that it is in, below the archive's directory; empty if it is in the journal
}

// Page is what a search has found, the newest first.
type Page struct {
	Events []Event

	// More says that there may be more, which are found with Next as
	// [Query.Before]. A page can have fewer events than the limit, or none,
	// and there be more all the same: a search does not go on for ever.
	More bool
	Next Position

	// Unreadable counts events that should have been looked at and can't be
	// read, or are not what they were when they were indexed: something has
	// damaged, changed or removed what they stand in.
	Unreadable int
}

// Searcher finds events in an archive and a journal. Its methods may be called
// by many goroutines at once.
type Searcher struct {
	index   *Index
	archive string
	journal Journal
	tails   tails
	read    func(runs, files int64) // told how many bytes a search has read; for tests
}

// NewSearcher returns a Searcher of what the index knows of the archive in a
// directory, and of the journal. The index may be nil: then only the journal is
// searched.
func NewSearcher(x *Index, archive string, journal Journal) (*Searcher, error) {
	s := &Searcher{index: x, archive: archive, journal: journal, tails: tails{limit: maxTail}}
	if _, err := rand.Read(s.tails.key[:]); err != nil {
		return nil, fmt.Errorf("making a key for audit searches: %w", err)
	}
	return s, nil
}

// errAgain means that a segment was delivered during a search.
var errAgain = errors.New("the journal was delivered meanwhile")

// Search finds the newest events that the query is about. Going on with each
// page's Next finds every event that was there when the search for the first
// page began, and is not expired, once.
//
// Errors are those of the context, of a query beyond the limits ([ErrQuery]),
// and of runs and directories that can't be read.
func (s *Searcher) Search(ctx context.Context, q Query) (Page, error) {
	if err := q.check(); err != nil {
		return Page{}, err
	}
	for {
		// A segment can be delivered, and removed, at any moment, but each
		// only once: the next attempt finds its events in the archive.
		page, err := s.search(ctx, q)
		switch {
		case errors.Is(err, errAgain):
			continue
		case err != nil:
			if s.index != nil {
				err = s.index.noticed(err)
			}
			return Page{}, fmt.Errorf("searching the audit trail: %w", err)
		}
		return page, nil
	}
}

// ErrQuery means that a query is not within the limits.
var ErrQuery = errors.New("invalid audit query")

func (q *Query) check() error {
	if q.Limit == 0 {
		q.Limit = 50
	}
	switch {
	case q.Limit < 0 || q.Limit > MaxLimit:
		return fmt.Errorf("%w: a limit of %d", ErrQuery, q.Limit)
	case len(q.Terms) > MaxTerms:
		return fmt.Errorf("%w: %d terms", ErrQuery, len(q.Terms))
	}
	for _, t := range q.Terms {
		if t.Value == "" || t.Attribute.String() == unknownAttribute {
			return fmt.Errorf("%w: %s %q", ErrQuery, t.Attribute, t.Value)
		}
	}
	return nil
}

// bounds are the limits in the order of events, of which first is excluded if
// it is a position.
type bounds struct {
	before Position // what is sought is older; it is never the zero position
	start  int64
}

func (q *Query) bounds(horizon int64) bounds {
	b := bounds{before: Position{Unix: math.MaxInt64}, start: max(horizon, 0)}
	if !q.Start.IsZero() {
		b.start = max(b.start, q.Start.Unix())
	}
	if !q.End.IsZero() {
		b.before.Unix = q.End.Unix() + 1
	}
	if q.Before != (Position{}) && q.Before.Compare(b.before) < 0 {
		b.before = q.Before
	}
	return b
}

// A source yields positions of events that may have the terms of a query, the
// newest first.
type source interface {
	// top is not older than the next position. It is exact if that is it.
	top() (p Position, exact bool)
	// advance makes top exact the first time, and then goes on. It reports
	// false at the end.
	advance() (bool, error)
	// event reads the event at top, into its Record and Path.
	event(*Event) error
}

func (s *Searcher) search(ctx context.Context, q Query) (page Page, err error) {
	// In this order: what is delivered between the two is in both, and left
	// out of the first.
	segments, err := s.journal.Segments()
	if err != nil {
		return Page{}, err
	}
	var (
		runs    []*run
		horizon int64
		through uint64
	)
	if s.index != nil {
		var release func()
		if runs, horizon, release, err = s.index.acquire(); err != nil {
			return Page{}, err
		}
		defer release()
		if len(runs) > 0 {
			through = runs[len(runs)-1].through
		}
	}
	b := q.bounds(horizon)
	var sources []source
	files := fileReader{dir: s.archive}
	defer files.close()
	for _, r := range runs {
		if r.rows > 0 && r.newest >= b.start && r.oldest <= b.before.Unix {
			sources = append(sources, newRunSource(r, &q, b, &files))
		}
	}
	s.tails.forget(through)
	for _, segment := range segments {
		if segment.Number <= through {
			continue
		}
		t, unreadable, err := s.tails.source(ctx, segment, &q, b)
		if err != nil {
			return Page{}, s.again(segment.Number, err)
		}
		page.Unreadable += unreadable
		sources = append(sources, t)
	}
	if s.read != nil {
		all := slices.Clone(sources)
		defer func() {
			var n int64
			for _, source := range all {
				if r, ok := source.(*runSource); ok {
					n += r.pages.read
				}
			}
			s.read(n, files.read)
		}()
	}
	return page, s.merge(ctx, q, sources, &page)
}

// again turns an error of reading a segment into errAgain if it has been
// delivered.
func (s *Searcher) again(segment uint64, err error) error {
	if errors.Is(err, fs.ErrNotExist) && s.index != nil && s.index.Through() >= segment {
		return errAgain
	}
	return err
}

// merge fills the page from sources.
func (s *Searcher) merge(ctx context.Context, q Query, sources []source, page *Page) error {
	text := 0
	for examined := 0; ; {
		if err := ctx.Err(); err != nil {
			return err
		}
		newest, top := -1, Position{}
		exact := false
		for i, source := range sources {
			if p, e := source.top(); newest < 0 || p.Compare(top) > 0 {
				newest, top, exact = i, p, e
			}
		}
		if newest < 0 {
			return nil
		}
		from := sources[newest]
		if exact {
			if examined >= maxExamined {
				page.More = true
				return nil
			}
			examined++
			e := Event{Position: top}
			err := from.event(&e)
			has := err == nil && e.hasAll(&q)
			if _, indexed := from.(*runSource); err == nil && !has && indexed {
				err = errAltered // the index says that it has
			}
			switch {
			case has && (q.Filter == nil || q.Filter(&e)):
				if len(page.Events) == q.Limit || text > maxText {
					page.More = true
					return nil
				}
				text += len(e.Record)
				page.Events = append(page.Events, e)
			case err != nil && s.isGone(from):
				return errAgain
			case err != nil:
				page.Unreadable++
			}
			page.Next = top
		}
		more, err := from.advance()
		if err != nil {
			return err
		}
		if !more {
			sources = slices.Delete(sources, newest, newest+1)
		}
	}
}

// isGone reports whether a source is of a segment that has been delivered, and
// so may have been removed.
func (s *Searcher) isGone(from source) bool {
	t, ok := from.(*tailSource)
	return ok && s.index != nil && s.index.Through() >= t.segment.Number
}

// errAltered means that a record is not the one that was indexed.
var errAltered = errors.New("the record is not what the index knows it as")

// hasAll scans the record and reports whether it is of its position's time and
// has all terms of the query.
func (e *Event) hasAll(q *Query) bool {
	if !Scan(e.Record, &e.Attributes) || e.Time.Unix() != e.Position.Unix {
		return false
	}
	for _, t := range q.Terms {
		if !e.Has(t.Attribute, t.Value) {
			return false
		}
	}
	return true
}

// runSource is a run as a source.
type runSource struct {
	*runReader
	query  *Query
	bounds bounds
	events *fileReader
	lists  []list

	started bool
	number  uint32
	row     row
	at      Position
}

func newRunSource(r *run, q *Query, b bounds, events *fileReader) *runSource {
	at := Position{Unix: r.newest, Segment: math.MaxUint64, Offset: math.MaxInt64}
	if b.before.Compare(at) < 0 {
		at = b.before
	}
	return &runSource{runReader: r.reader(), query: q, bounds: b, events: events, at: at}
}

func (s *runSource) top() (Position, bool) { return s.at, s.started }

func (s *runSource) advance() (bool, error) {
	if s.started {
		s.number++
	} else {
		s.started = true
		if more, err := s.start(); !more || err != nil {
			return false, err
		}
	}
	more, err := s.settle()
	if !more || err != nil {
		return false, err
	}
	if s.row, err = s.runReader.row(s.number); err != nil {
		return false, err
	}
	if s.row.time < s.bounds.start {
		return false, nil
	}
	at, err := s.position(s.row)
	if err != nil {
		return false, err
	}
	if at.Compare(s.at) > 0 {
		return false, damaged(s.path, "its rows are not in order")
	}
	s.at = at
	return true, nil
}

// start looks for the lists and the first row.
func (s *runSource) start() (bool, error) {
	for _, t := range s.query.Terms {
		l, ok, err := s.find(s.key.term(t.Attribute, t.Value))
		if !ok || err != nil {
			return false, err
		}
		s.lists = append(s.lists, l)
	}
	// The shortest first: it skips most.
	slices.SortStableFunc(s.lists, func(a, b list) int {
		return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.count, b.count))
	})
	if s.bounds.before.Unix > s.newest {
		return true, nil
	}
	var err error
	s.number, err = s.firstRow(s.bounds.before.Unix, func(w row) (bool, error) {
		at, err := s.position(w)
		return at.Compare(s.bounds.before) < 0, err
	})
	return err == nil, err
}

// settle goes on to the first row that is in all lists.
func (s *runSource) settle() (bool, error) {
	for agreed := 0; agreed < len(s.lists); {
		agreed = 0
		for i := range s.lists {
			n, ok, err := s.seek(&s.lists[i], s.number)
			if !ok || err != nil {
				return false, err
			}
			if n == s.number {
				agreed++
				continue
			}
			s.number = n
			break
		}
	}
	return int64(s.number) < int64(s.rows), nil
}

// position returns the position of a row's event.
func (s *runSource) position(w row) (Position, error) {
	f, err := s.fileOf(w.file)
	return Position{Unix: w.time, Segment: f.Segment, Offset: int64(w.offset)}, err
}

func (s *runSource) event(e *Event) error {
	f, err := s.fileOf(s.row.file)
	if err != nil {
		return err
	}
	e.Path = f.Path
	e.Record, err = s.events.record(f.Path, int64(s.row.block), int64(s.row.start), int64(s.row.length))
	return err
}
