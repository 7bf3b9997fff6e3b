package index_test

import (
	"bytes"
	"cmp"
	"compress/flate"
	"context"
	"fmt"
	"io/fs"
	"iter"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/archive/index"
	"github.com/keyreeve/keyreeve/internal/seal"
	"github.com/keyreeve/keyreeve/internal/store"
)

// event is an event of a world.
type event struct {
	index.Position
	index.Attributes
	record string
}

// segment is a segment of a world's journal.
type segment struct {
	number  uint64
	entries []index.Entry
	size    int64
	removed bool
}

// world is a journal, an archive and its index, and a list of all events to
// compare searches with.
type world struct {
	t        testing.TB
	random   *rand.Rand
	dir      string
	options  index.Options
	index    *index.Index
	searcher *index.Searcher
	blocks   int // events in a block

	mu       sync.Mutex
	clock    int64
	start    int64 // where the clock began
	horizon  int64 // what is older is expired
	events   []*event
	segments []*segment // oldest first
	volatile bool
}

func newWorld(t testing.TB, seed uint64, o index.Options) *world {
	t.Helper()
	w := &world{t: t, random: rand.New(rand.NewPCG(seed, 1)), dir: t.TempDir(), options: o, blocks: 7, clock: 1795000000, start: 1795000000}
	w.options.Dir, w.options.Box = filepath.Join(w.dir, "index"), newBox(t)
	w.open()
	return w
}

// newBox returns a box of its own.
func newBox(t testing.TB) *seal.Box {
	t.Helper()
	box, err := seal.Open(t.Context(), store.NewMem(), seal.Options{Provider: seal.Memory()})
	if err != nil {
		t.Fatal(err)
	}
	return box
}

func (w *world) open() {
	w.t.Helper()
	x, err := index.Open(w.options)
	if err != nil {
		w.t.Fatal(err)
	}
	w.index = x
	s, err := index.NewSearcher(x, filepath.Join(w.dir, "archive"), w)
	if err != nil {
		w.t.Fatal(err)
	}
	w.searcher = s
}

func (w *world) close() {
	w.t.Helper()
	if err := w.index.Close(); err != nil {
		w.t.Error(err)
	}
}

func pick[T any](r *rand.Rand, from ...T) T { return from[r.IntN(len(from))] }

// add appends an event to the newest segment.
func (w *world) add() *event {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := w.random
	w.clock += int64(max(r.IntN(4)-2, 0))
	e := &event{}
	e.Time = time.Unix(w.clock-int64(max(r.IntN(20)-17, 0)), 0).UTC()
	e.EventID = fmt.Sprintf("%08x-%04x", r.Uint32(), len(w.events))
	e.EventName = pick(r, "Decrypt", "Decrypt", "Decrypt", "Encrypt", "CreateKey", "GenerateDataKey")
	e.EventSource = pick(r, "kms.amazonaws.com", "kms.amazonaws.com", "iam.amazonaws.com")
	e.ReadOnly = pick(r, "true", "true", "false")
	e.Username = pick(r, "alice", "bob", "carol", "root\"é", "")
	e.AccessKeyID = pick(r, "AKIA1", "AKIA2", "ASIA3", "")
	e.Account = pick(r, "111122223333", "111122223333", "444455556666", "")
	e.Region = pick(r, "eu-central-1", "eu-central-1", "us-east-1")
	e.ErrorCode = pick(r, "", "", "", "AccessDenied")
	for range r.IntN(3) {
		e.Resources = append(e.Resources, index.Resource{Type: "AWS::KMS::Key", Name: fmt.Sprintf("arn:key/%d", r.IntN(40))})
	}
	e.record = record(&e.Attributes)
	w.put(e)
	return e
}

func (w *world) put(e *event) {
	s := w.segments[len(w.segments)-1]
	e.Position = index.Position{Unix: e.Time.Unix(), Segment: s.number, Offset: s.size}
	next := s.size + int64(len(e.record)) + 1
	s.entries = append(s.entries, index.Entry{Record: []byte(e.record), Offset: s.size, Next: next})
	s.size = next + int64(w.random.IntN(2))*30 // a closing line
	w.events = append(w.events, e)
}

// record returns the record of an event as JSON.
func record(a *index.Attributes) string {
	b := fmt.Appendf(nil, `{"eventVersion":"1.11","userIdentity":{"type":"IAMUser","userName":%s,"accessKeyId":%q},"eventTime":%q,"eventSource":%q,`+
		`"eventName":%q,"awsRegion":%q,"requestParameters":{"eventName":"no","a":["]",{}]},`, quote(a.Username), a.AccessKeyID,
		a.Time.Format(time.RFC3339), a.EventSource, a.EventName, a.Region)
	if a.ErrorCode != "" {
		b = fmt.Appendf(b, `"errorCode":%q,`, a.ErrorCode)
	}
	b = fmt.Appendf(b, `"eventID":%q,"readOnly":%s,"resources":[`, a.EventID, a.ReadOnly)
	for i, r := range a.Resources {
		if i > 0 {
			b = append(b, ',')
		}
		b = fmt.Appendf(b, `{"accountId":"1","type":%q,"ARN":%q}`, r.Type, r.Name)
	}
	b = append(b, ']')
	if a.Account != "" {
		b = fmt.Appendf(b, `,"recipientAccountId":%q`, a.Account)
	}
	return string(append(b, '}'))
}

// cut begins a new segment.
func (w *world) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	number := uint64(100)
	if n := len(w.segments); n > 0 {
		number = w.segments[n-1].number + 1 + uint64(w.random.IntN(2))
	}
	w.segments = append(w.segments, &segment{number: number})
}

// Segments is what a Searcher asks for.
func (w *world) Segments() ([]index.Segment, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var list []index.Segment
	for _, s := range w.segments {
		if !s.removed {
			list = append(list, index.Segment{Number: s.number, Volatile: w.volatile, Entries: func(from int64) iter.Seq2[index.Entry, error] { return w.read(s, from) }})
		}
	}
	return list, nil
}

func (w *world) read(s *segment, from int64) iter.Seq2[index.Entry, error] {
	return func(yield func(index.Entry, error) bool) {
		w.mu.Lock()
		entries, removed := s.entries, s.removed
		w.mu.Unlock()
		if removed {
			yield(index.Entry{}, fs.ErrNotExist)
			return
		}
		i, _ := slices.BinarySearchFunc(entries, from, func(e index.Entry, at int64) int { return cmp.Compare(e.Offset, at) })
		for _, e := range entries[i:] {
			// What is yielded is valid until the next one.
			text := slices.Clone(e.Record)
			if !yield(index.Entry{Record: text, Offset: e.Offset, Next: e.Next}, nil) {
				return
			}
			clear(text)
		}
	}
}

// deliver delivers segments that are closed and not delivered yet, at most n.
func (w *world) deliver(n int) {
	w.t.Helper()
	w.mu.Lock()
	var todo []*segment
	for _, s := range w.segments[:len(w.segments)-1] {
		if s.number > w.index.Through() && len(todo) < n {
			todo = append(todo, s)
		}
	}
	w.mu.Unlock()
	if len(todo) == 0 {
		return
	}
	b := w.index.NewBuilder()
	for _, s := range todo {
		w.write(b, s)
	}
	if _, err := b.Commit(todo[len(todo)-1].number); err != nil {
		w.t.Fatal(err)
	}
}

// write writes the files of a segment, by account and Region.
func (w *world) write(b *index.Builder, s *segment) {
	w.t.Helper()
	type pair struct{ account, region string }
	of := map[pair][]index.Entry{}
	for _, e := range s.entries {
		var a index.Attributes
		if !index.Scan(e.Record, &a) {
			w.t.Fatalf("%s is no record", e.Record)
		}
		p := pair{a.Account, a.Region}
		of[p] = append(of[p], e)
	}
	for p, entries := range of {
		f := b.File(s.number, p.account, p.region)
		text := bytes.NewBufferString("header")
		for block := range slices.Chunk(entries, w.blocks) {
			at, plain := int64(text.Len()), []byte("[")
			for _, e := range block {
				if err := f.Add(index.Place{Offset: e.Offset, Block: at, Start: len(plain)}, e.Record); err != nil {
					w.t.Fatal(err)
				}
				plain = append(append(plain, e.Record...), ',')
			}
			deflate, err := flate.NewWriter(text, 1)
			if err != nil {
				w.t.Fatal(err)
			}
			if _, err := deflate.Write(plain); err != nil {
				w.t.Fatal(err)
			}
			if err := deflate.Flush(); err != nil {
				w.t.Fatal(err)
			}
		}
		name := fmt.Sprintf("logs/%s/%s/%d.gz", cmp.Or(p.account, "nobody"), p.region, s.number)
		path := filepath.Join(w.dir, "archive", filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			w.t.Fatal(err)
		}
		if err := os.WriteFile(path, text.Bytes(), 0o600); err != nil {
			w.t.Fatal(err)
		}
		f.Close(name, int64(text.Len()), [32]byte{1, 2, 3})
	}
}

// remove removes the segments that are delivered.
func (w *world) remove() {
	through := w.index.Through()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.segments {
		if s.number <= through {
			s.removed = true
		}
	}
}

func (w *world) merge() {
	w.t.Helper()
	if _, err := w.index.Merge(context.Background()); err != nil {
		w.t.Fatal(err)
	}
}

// want returns the events that a query is about, the newest first.
func (w *world) want(q index.Query) []*event {
	w.mu.Lock()
	defer w.mu.Unlock()
	var found []*event
	for _, e := range w.events {
		if !q.Start.IsZero() && e.Time.Before(q.Start) || !q.End.IsZero() && e.Time.After(q.End) || e.Time.Unix() < w.horizon ||
			q.Before != (index.Position{}) && e.Compare(q.Before) >= 0 || q.Filter != nil && !q.Filter(&index.Event{Attributes: e.Attributes, Record: []byte(e.record)}) {
			continue
		}
		if !slices.ContainsFunc(q.Terms, func(t index.Term) bool { return !has(&e.Attributes, t) }) {
			found = append(found, e)
		}
	}
	slices.SortFunc(found, func(a, b *event) int { return b.Compare(a.Position) })
	return found
}

func has(a *index.Attributes, t index.Term) bool {
	var is string
	switch t.Attribute {
	case index.EventID:
		is = a.EventID
	case index.EventName:
		is = a.EventName
	case index.ReadOnly:
		is = a.ReadOnly
	case index.Username:
		is = a.Username
	case index.EventSource:
		is = a.EventSource
	case index.AccessKeyID:
		is = a.AccessKeyID
	case index.Account:
		is = a.Account
	case index.Region:
		is = a.Region
	case index.ErrorCode:
		is = a.ErrorCode
	case index.ResourceType:
		return slices.ContainsFunc(a.Resources, func(r index.Resource) bool { return r.Type == t.Value })
	case index.ResourceEnd:
		return slices.ContainsFunc(a.Resources, func(r index.Resource) bool { return strings.HasSuffix(r.Name, "/"+t.Value) })
	case index.ResourceName:
		return slices.ContainsFunc(a.Resources, func(r index.Resource) bool { return r.Name == t.Value })
	}
	return is == t.Value
}

// query returns a query at random, often one that finds something.
func (w *world) query() index.Query {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := w.random
	q := index.Query{Limit: 1 + r.IntN(20)}
	like := w.events[r.IntN(len(w.events))]
	for range r.IntN(4) {
		a := index.Attribute(1 + r.IntN(int(index.ResourceEnd)))
		t := index.Term{Attribute: a}
		switch a {
		case index.ResourceType, index.ResourceName, index.ResourceEnd:
			if len(like.Resources) == 0 {
				continue
			}
			switch t.Value = like.Resources[0].Name; a {
			case index.ResourceType:
				t.Value = like.Resources[0].Type
			case index.ResourceEnd:
				t.Value = strings.TrimPrefix(t.Value, "arn:key/")
			}
		case index.EventID:
			if r.IntN(4) > 0 {
				continue
			}
			t.Value = like.EventID
		default:
			for _, v := range []string{
				like.EventName, like.ReadOnly, like.Username, like.EventSource, like.AccessKeyID, like.Account, like.Region, like.ErrorCode, "nothing",
			} {
				if t.Value = v; v != "" && has(&like.Attributes, t) {
					break
				}
			}
		}
		q.Terms = append(q.Terms, t)
	}
	if r.IntN(3) == 0 {
		q.Start = like.Time.Add(-time.Duration(r.IntN(30)) * time.Second)
	}
	if r.IntN(3) == 0 {
		q.End = w.events[r.IntN(len(w.events))].Attributes.Time
	}
	if r.IntN(6) == 0 {
		q.Filter = func(e *index.Event) bool { return e.Time.Unix()%3 > 0 }
	}
	return q
}
