package operator

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/keyreeve/keyreeve/internal/api/keyreeveapi"
	"github.com/keyreeve/keyreeve/internal/archive/index"
	"github.com/keyreeve/keyreeve/internal/audit"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/wire"
)

// Journal is the records that are in no file of the archive yet. Package audit's
// Log is one.
type Journal interface {
	// Dir is where the segments are; "" if the records are in memory alone.
	Dir() string
	// Segments returns the segments, oldest first; none of a journal in memory.
	Segments() ([]audit.Segment, error)
	// Damage returns what was found to be wrong with it.
	Damage() []audit.Problem
	// Unsettled returns how many changes stand, or may, whose records could not be
	// written when they were made, and are not written yet.
	Unsettled() int
	// Recent iterates over the records of a journal in memory, oldest first, from
	// the one with a number on.
	Recent(from int64) iter.Seq2[audit.Entry, error]
}

// Events finds events, those in the journal and those in the archive. Package
// index's Searcher does.
type Events interface {
	Search(ctx context.Context, q index.Query) (index.Page, error)
}

// A filter says which records are wanted.
type filter struct {
	keyreeveapi.EventFilter
	terms []index.Term
	own   bool // the records of TailEvents, too; otherwise only those of which it was denied, or failed
	// request is the member that a record of the request has.
	request []byte
	scanned index.Attributes
}

func newFilter(f keyreeveapi.EventFilter) *filter {
	out := &filter{EventFilter: f}
	for _, t := range []index.Term{
		{Attribute: index.EventID, Value: f.EventID},
		{Attribute: index.EventName, Value: f.EventName},
		{Attribute: index.EventSource, Value: f.EventSource},
		{Attribute: index.Username, Value: f.Username},
		{Attribute: index.AccessKeyID, Value: f.AccessKeyID},
		{Attribute: index.ResourceType, Value: f.ResourceType},
		{Attribute: index.Account, Value: f.Account},
		{Attribute: index.Region, Value: f.Region},
	} {
		if t.Value != "" {
			out.terms = append(out.terms, t)
		}
	}
	name := f.ResourceName
	switch end := name[strings.LastIndexByte(name, '/')+1:]; {
	case strings.Contains(name, ":"):
		out.terms = append(out.terms, index.Term{Attribute: index.ResourceName, Value: name})
	case end != "":
		out.terms = append(out.terms, index.Term{Attribute: index.ResourceEnd, Value: end})
	}
	if f.ErrorCode != "" && f.ErrorCode != keyreeveapi.AnyError {
		out.terms = append(out.terms, index.Term{Attribute: index.ErrorCode, Value: f.ErrorCode})
	}
	if f.ReadOnly != nil {
		out.terms = append(out.terms, index.Term{Attribute: index.ReadOnly, Value: strconv.FormatBool(*f.ReadOnly)})
	}
	if f.RequestID != "" {
		out.request = append(wire.AppendString([]byte(`"requestID":`), f.RequestID), ',')
	}
	return out
}

// wants scans a record and reports whether it is wanted. It is for one goroutine
// at a time.
func (f *filter) wants(record []byte) bool {
	if !index.Scan(record, &f.scanned) {
		return false
	}
	for _, t := range f.terms {
		if !f.scanned.Has(t.Attribute, t.Value) {
			return false
		}
	}
	return f.accepts(record, &f.scanned)
}

// accepts reports whether a record that has the terms is wanted: what it says
// beyond them.
func (f *filter) accepts(record []byte, a *index.Attributes) bool {
	switch {
	case f.ErrorCode == keyreeveapi.AnyError && a.ErrorCode == "":
		return false
	case !f.own && f.EventName != tailEvents && a.EventName == tailEvents && a.EventSource == keyreeveapi.EventSource && a.ErrorCode == "":
		return false
	case f.ResourceName != "" && !strings.Contains(f.ResourceName, ":") && !slices.ContainsFunc(a.Resources, f.names):
		return false
	case f.request == nil:
		return true
	}
	// The request's id could stand in a parameter, too.
	return bytes.Contains(record, f.request) && requestOf(record) == f.RequestID
}

// names reports whether a resource is meant by the end of its ARN.
func (f *filter) names(r index.Resource) bool {
	rest, ok := strings.CutSuffix(r.Name, f.ResourceName)
	return ok && (rest == "" || strings.HasSuffix(rest, "/") || strings.HasSuffix(rest, ":"))
}

const tailEvents = "TailEvents"

func requestOf(record []byte) string {
	var r struct {
		RequestID string `json:"requestID"`
	}
	if err := json.Unmarshal(record, &r); err != nil {
		return ""
	}
	return r.RequestID
}

// defaultEvents is how many events an answer has if the caller does not say.
const defaultEvents = 100

func countOf(maxResults *int32) int {
	if maxResults == nil {
		return defaultEvents
	}
	return int(*maxResults)
}

// SearchEvents finds events of all accounts, the newest first.
func (s *Service) SearchEvents(ctx context.Context, c *call.Call, in *keyreeveapi.SearchEventsInput, out *keyreeveapi.SearchEventsOutput) error {
	if err := s.allow(ctx, c); err != nil {
		return err
	}
	f := newFilter(in.EventFilter)
	f.own = true
	q := index.Query{Terms: f.terms, Start: in.Start, End: in.End, Limit: countOf(in.MaxResults)}
	if !q.End.IsZero() {
		q.End = in.End.Add(-time.Second) // which is within there
	}
	q.Filter = func(e *index.Event) bool { return f.accepts(e.Record, &e.Attributes) }
	if in.NextToken != "" {
		var err error
		if q.Before, err = index.ParsePosition(in.NextToken); err != nil {
			return wire.Validation("The token is not valid.")
		}
	}
	page, err := s.o.Events.Search(ctx, q)
	if err != nil {
		return answer(err)
	}
	out.Events, out.Unreadable = make([]json.RawMessage, 0, len(page.Events)), page.Unreadable
	size := 0
	for i, e := range page.Events {
		if size += len(e.Record); size > keyreeveapi.MaxAnswer && i > 0 {
			page.More, page.Next = true, page.Events[i-1].Position
			break
		}
		out.Events = append(out.Events, e.Record)
	}
	if page.More {
		out.NextToken = page.Next.String()
	}
	return nil
}

// tails is what whoever follows the journal shares.
type tails struct {
	waiting atomic.Int32
}

// Bounds of following.
const (
	maxWaiting = 64                     // calls that wait at once; more are answered with nothing
	lookEvery  = 200 * time.Millisecond // how often a call that waits looks
	maxScan    = 64 << 20               // bytes of the journal that a call reads, but for the newest segment
)

// TailEvents returns events as they come.
func (s *Service) TailEvents(ctx context.Context, c *call.Call, in *keyreeveapi.TailEventsInput, out *keyreeveapi.TailEventsOutput) error {
	if err := s.allow(ctx, c); err != nil {
		return err
	}
	t := &tail{journal: s.o.Journal, events: s.o.Events, filter: newFilter(in.EventFilter), most: countOf(in.MaxResults), out: out}
	out.Events = []json.RawMessage{} // an empty list, and not null
	var err error
	if in.Cursor == "" {
		err = t.begin(int(in.Last))
	} else {
		err = t.resume(in.Cursor)
	}
	if err == nil && in.Wait > 0 {
		d := time.Duration(in.Wait) * time.Second
		if s.tails.waiting.Add(1) > maxWaiting {
			d = 0
		}
		err = t.wait(ctx, s.o.Stopping, d)
		s.tails.waiting.Add(-1)
	}
	if err != nil {
		return answer(err)
	}
	out.Cursor = t.cursor()
	return nil
}

// A tail reads what was recorded from a place on.
//
// The cursor of one with files is the number of the segment of the journal, the
// offset in it, and the time of the newest event before it, as seconds since
// 1970; it stays good when the segment is in the archive. That of one in memory
// is the number of the next record.
type tail struct {
	journal Journal
	events  Events
	filter  *filter
	most    int
	size    int // of the events in out, in bytes
	read    int // of the journal, in bytes
	out     *keyreeveapi.TailEventsOutput

	segment uint64 // 0 if there was none yet, and in memory
	offset  int64
	time    int64
}

const memoryCursor = "memory:"

func (t *tail) cursor() string {
	if t.journal.Dir() == "" {
		return memoryCursor + strconv.FormatInt(t.offset, 10)
	}
	return fmt.Sprintf("%d:%d:%d", t.segment, t.offset, t.time)
}

// add adds a record if it is wanted, and reports whether there is room for more.
func (t *tail) add(record []byte) bool {
	wanted := t.filter.wants(record)
	if at := t.filter.scanned.Time; !at.IsZero() {
		t.time = max(t.time, at.Unix())
	}
	if wanted {
		t.out.Events = append(t.out.Events, bytes.Clone(record))
		t.size += len(record)
	}
	return len(t.out.Events) < t.most && t.size < keyreeveapi.MaxAnswer
}

// begin finds the newest events, at most last.
func (t *tail) begin(last int) error {
	last = min(last, t.most)
	trim := func() {
		for len(t.out.Events) > last || t.size > keyreeveapi.MaxAnswer && len(t.out.Events) > 1 {
			t.size -= len(t.out.Events[0])
			t.out.Events = t.out.Events[1:]
		}
	}
	if t.journal.Dir() == "" {
		for e, err := range t.journal.Recent(0) {
			if err != nil {
				return err
			}
			t.offset = e.Next
			t.add(e.Record)
			trim()
		}
		return nil
	}
	segments, err := t.journal.Segments()
	if err != nil || len(segments) == 0 {
		return err
	}
	from := len(segments) - 1
	for size := segments[from].Size; from > 0 && size+segments[from-1].Size <= maxScan; from-- {
		size += segments[from-1].Size
	}
	for _, s := range segments[from:] {
		t.segment, t.offset = s.Number, 0
		for e, err := range audit.Entries(filepath.Join(t.journal.Dir(), s.Name), 0) {
			if err != nil {
				continue // the archive's to report; what follows it is as good
			}
			t.offset = e.Next
			t.add(e.Record)
			trim()
		}
	}
	return nil
}

// resume goes on at a cursor.
func (t *tail) resume(cursor string) error {
	number, inMemory := strings.CutPrefix(cursor, memoryCursor)
	switch {
	case inMemory != (t.journal.Dir() == ""):
		// Of a node that was started otherwise since.
		t.out.Skipped = true
		return t.begin(0)
	case inMemory:
		var err error
		if t.offset, err = strconv.ParseInt(number, 10, 64); err != nil || t.offset < 0 {
			return errCursor()
		}
		var end int64
		for e := range t.journal.Recent(0) {
			end = e.Next
		}
		if t.offset > end {
			t.out.Skipped, t.offset = true, 0 // the node was started anew
		}
		return nil
	}
	parts := strings.Split(cursor, ":")
	if len(parts) != 3 {
		return errCursor()
	}
	var errs [3]error
	t.segment, errs[0] = strconv.ParseUint(parts[0], 10, 64)
	t.offset, errs[1] = strconv.ParseInt(parts[1], 10, 64)
	t.time, errs[2] = strconv.ParseInt(parts[2], 10, 64)
	if errors.Join(errs[:]...) != nil || t.offset < 0 || t.time < 0 {
		return errCursor()
	}
	return nil
}

func errCursor() error { return wire.Validation("The cursor is not valid.") }

// wait returns when there are events, or time is over.
func (t *tail) wait(ctx context.Context, stopping <-chan struct{}, d time.Duration) error {
	end := time.NewTimer(d)
	defer end.Stop()
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for {
		if err := t.more(ctx); err != nil || len(t.out.Events) > 0 || t.out.Skipped || t.read >= maxScan {
			return err
		}
		select {
		case <-ctx.Done():
			return nil // what there is, is answered
		case <-stopping:
			return nil
		case <-end.C:
			return nil
		case <-look.C:
		}
	}
}

// more reads what has come since.
func (t *tail) more(ctx context.Context) error {
	if t.journal.Dir() == "" {
		return t.moreInMemory()
	}
	for {
		// Before the segment is read: if it is not the newest one then, nothing is
		// added to it after it was read to its end.
		segments, err := t.journal.Segments()
		if err != nil || len(segments) == 0 {
			return err
		}
		at := slices.IndexFunc(segments, func(s audit.Segment) bool { return s.Number == t.segment })
		switch {
		case at >= 0:
		case t.segment == 0:
			t.segment, t.offset, at = segments[0].Number, 0, 0
		default:
			if full, err := t.archived(ctx, segments[0].Number); full || err != nil {
				return err
			}
			continue
		}
		gone := false
		for e, err := range audit.Entries(filepath.Join(t.journal.Dir(), segments[at].Name), t.offset) {
			if err != nil {
				gone = gone || errors.Is(err, fs.ErrNotExist)
				continue // the archive's to report; what follows it is as good
			}
			t.offset, t.read = e.Next, t.read+len(e.Record)
			if !t.add(e.Record) || t.read >= maxScan {
				return nil
			}
		}
		switch {
		case gone: // it has been archived since it was listed
		case at == len(segments)-1:
			return nil
		default:
			t.segment, t.offset = segments[at+1].Number, 0
		}
	}
}

// Bounds of looking into the archive for what is missed: so many events, with so
// much text, which began no longer before the newest that has been seen. A record
// is written when its call ends, and has the time when it began.
const (
	maxMissed     = 5000
	maxMissedText = 32 << 20 // bytes
	longest       = 10 * time.Minute
)

// archived reads from the archive what comes after the cursor there, and before
// a segment of the journal. It reports whether no more fits into the answer;
// else it goes on at that segment.
func (t *tail) archived(ctx context.Context, next uint64) (full bool, err error) {
	if t.segment > next {
		t.out.Skipped = true // the cursor is of another journal
		t.segment, t.offset = next, 0
		return false, nil
	}
	q := index.Query{Terms: t.filter.terms, Limit: index.MaxLimit, Filter: func(e *index.Event) bool {
		return e.Segment < next && (e.Segment > t.segment || e.Segment == t.segment && e.Offset >= t.offset) && t.filter.accepts(e.Record, &e.Attributes)
	}}
	if t.time > 0 {
		q.Start = time.Unix(t.time, 0).Add(-longest)
	}
	var missed []index.Event
	text := 0
	for more := true; more; {
		page, err := t.events.Search(ctx, q)
		if err != nil {
			return false, err
		}
		missed = append(missed, page.Events...)
		for i := range page.Events {
			text += len(page.Events[i].Record)
		}
		q.Before, more = page.Next, page.More
		if page.Unreadable > 0 || more && (len(missed) >= maxMissed || text >= maxMissedText) {
			t.out.Skipped = true
			break
		}
	}
	slices.SortFunc(missed, func(a, b index.Event) int {
		return cmp.Or(cmp.Compare(a.Segment, b.Segment), cmp.Compare(a.Offset, b.Offset))
	})
	for i, e := range missed {
		if !t.add(e.Record) && i < len(missed)-1 {
			t.segment, t.offset = e.Segment, e.Offset+1
			return true, nil
		}
	}
	t.segment, t.offset = next, 0
	return len(t.out.Events) >= t.most || t.size >= keyreeveapi.MaxAnswer, nil
}

func (t *tail) moreInMemory() error {
	for e, err := range t.journal.Recent(t.offset) {
		if err != nil {
			return err
		}
		if e.Offset > t.offset {
			t.out.Skipped = true // more have come than are kept
		}
		if t.offset = e.Next; !t.add(e.Record) {
			return nil
		}
	}
	return nil
}
