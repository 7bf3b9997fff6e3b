package index_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/archive/index"
)

// million is a world with 1e6 events on the disk: of 41 deliveries every five
// minutes, 81 events a second, in three accounts, with 1,000 users, 2,000
// access keys and 5,000 keys.
func million(b *testing.B) *world {
	b.Helper()
	w := newWorld(b, 1, index.Options{FanOut: 5})
	w.blocks = 128 << 10 / 600
	r := rand.New(rand.NewPCG(7, 7))
	const deliveries, events = 41, 1_000_000
	for i := range events {
		if i%(events/deliveries) == 0 && i/(events/deliveries) < deliveries {
			w.cut()
			w.deliver(1)
			w.remove()
			w.forget()
			w.merge()
		}
		name, readOnly, code := "Decrypt", "true", ""
		switch n := r.IntN(100_000); {
		case n < 1:
			name, readOnly = "ScheduleKeyDeletion", "false"
		case n < 2000:
			name, readOnly = "CreateGrant", "false"
		case n < 30_000:
			name = "GenerateDataKey"
		case n < 30_100:
			code = "AccessDenied"
		}
		user := r.IntN(1000)
		w.put(newEvent(&index.Attributes{
			Time: time.Unix(1795000000+int64(i)/81, 0).UTC(), EventID: eventID(i),
			EventName: name, EventSource: "kms.amazonaws.com", ReadOnly: readOnly, ErrorCode: code,
			Username: fmt.Sprintf("user-%d", user), AccessKeyID: fmt.Sprintf("AKIA%d", 2*user+r.IntN(2)),
			Account: fmt.Sprintf("%012d", 1+user%3), Region: "eu-central-1",
			Resources: []index.Resource{{Type: "AWS::KMS::Key", Name: keyName(r.IntN(5000))}},
		}))
	}
	w.cut()
	w.deliver(1)
	w.remove()
	w.forget()
	return w
}

func newEvent(a *index.Attributes) *event { return &event{Attributes: *a, record: record(a)} }

func eventID(i int) string {
	return fmt.Sprintf("%08x-0000-4000-8000-%012x", uint32(i)*2654435761, i)
}

func keyName(i int) string {
	return fmt.Sprintf("arn:aws:kms:eu-central-1:111122223333:key/%08x-12ab-34cd-56ef-1234567890ab", i)
}

// forget drops what is delivered from memory.
func (w *world) forget() {
	w.segments, w.events = w.segments[len(w.segments)-1:], nil
}

// BenchmarkSearch looks for a page of 50 events among 1e6 on the disk, as
// LookupEvents does, for one account and one Region. It reports how many bytes
// it reads, of the index and of the files that the events are in.
func BenchmarkSearch(b *testing.B) {
	w := million(b)
	defer w.close()
	var runs, files int64
	w.searcher.OnRead(func(r, f int64) { runs, files = runs+r, files+f })
	s := w.index.Stats()
	b.Logf("%d events in %d files; the index has %d runs, %.1f bytes for each event", s.Events, s.Files, s.Runs, float64(s.Bytes)/float64(s.Events))

	middle := index.Position{Unix: 1795000000 + 6000, Segment: 1 << 40}
	for _, bench := range []struct {
		name   string
		term   index.Term
		before index.Position
		all    bool // of all accounts
	}{
		{name: "newest"},
		{name: "EventId", term: index.Term{Attribute: index.EventID, Value: eventID(456789)}, all: true},
		{name: "EventName", term: index.Term{Attribute: index.EventName, Value: "Decrypt"}},
		{name: "rare EventName", term: index.Term{Attribute: index.EventName, Value: "ScheduleKeyDeletion"}},
		{name: "missing EventName", term: index.Term{Attribute: index.EventName, Value: "DeleteAlias"}},
		{name: "ReadOnly", term: index.Term{Attribute: index.ReadOnly, Value: "false"}},
		{name: "Username", term: index.Term{Attribute: index.Username, Value: "user-300"}},
		{name: "ResourceType", term: index.Term{Attribute: index.ResourceType, Value: "AWS::KMS::Key"}},
		{name: "ResourceName", term: index.Term{Attribute: index.ResourceName, Value: keyName(1234)}},
		{name: "EventSource", term: index.Term{Attribute: index.EventSource, Value: "kms.amazonaws.com"}},
		{name: "AccessKeyId", term: index.Term{Attribute: index.AccessKeyID, Value: "AKIA600"}},
		{name: "ErrorCode", term: index.Term{Attribute: index.ErrorCode, Value: "AccessDenied"}, all: true},
		{name: "EventName, in the middle", term: index.Term{Attribute: index.EventName, Value: "Decrypt"}, before: middle},
		{name: "Username, in the middle", term: index.Term{Attribute: index.Username, Value: "user-300"}, before: middle},
	} {
		b.Run(bench.name, func(b *testing.B) {
			q := index.Query{Before: bench.before}
			if bench.term.Value != "" {
				q.Terms = append(q.Terms, bench.term)
			}
			if !bench.all {
				q.Terms = append(q.Terms, index.Term{Attribute: index.Account, Value: "000000000001"}, index.Term{Attribute: index.Region, Value: "eu-central-1"})
			}
			runs, files = 0, 0
			found := 0
			for b.Loop() {
				page, err := w.searcher.Search(context.Background(), q)
				if err != nil || page.Unreadable > 0 {
					b.Fatal(page.Unreadable, err)
				}
				found = len(page.Events)
			}
			b.ReportMetric(float64(runs)/float64(b.N), "index-bytes/op")
			b.ReportMetric(float64(files)/float64(b.N), "file-bytes/op")
			b.ReportMetric(float64(found), "events")
		})
	}
}

func BenchmarkScan(b *testing.B) {
	e := []byte(newEvent(&index.Attributes{
		Time: time.Unix(1795000000, 0).UTC(), EventID: eventID(1), EventName: "Decrypt", EventSource: "kms.amazonaws.com", ReadOnly: "true",
		Username: "alice", AccessKeyID: "AKIAIOSFODNN7EXAMPLE", Account: "111122223333", Region: "eu-central-1",
		Resources: []index.Resource{{Type: "AWS::KMS::Key", Name: keyName(1)}},
	}).record)
	b.SetBytes(int64(len(e)))
	b.ReportAllocs()
	var a index.Attributes
	for b.Loop() {
		if !index.Scan(e, &a) {
			b.Fatal("no record")
		}
	}
}

// BenchmarkBuild indexes and commits a delivery of 20,000 events; an operation
// is the whole of it.
func BenchmarkBuild(b *testing.B) {
	w := newWorld(b, 1, index.Options{})
	defer w.close()
	w.cut()
	var records [][]byte
	for range 20_000 {
		records = append(records, []byte(w.add().record))
	}
	through := uint64(0)
	b.ReportAllocs()
	for b.Loop() {
		through++
		build := w.index.NewBuilder()
		f := build.File(through, "111122223333", "eu-central-1")
		for i, r := range records {
			if err := f.Add(index.Place{Offset: int64(i)}, r); err != nil {
				b.Fatal(err)
			}
		}
		f.Close("a", 1, [32]byte{})
		if _, err := build.Commit(through); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(records)), "ns/event")
}

// BenchmarkMerge merges ten runs of 20,000 events each.
func BenchmarkMerge(b *testing.B) {
	w := newWorld(b, 1, index.Options{})
	defer w.close()
	const events = 20_000
	for range 10 {
		w.cut()
		for range events {
			w.add()
		}
		w.cut()
		w.deliver(2)
	}
	spool, err := os.Create(filepath.Join(b.TempDir(), "spool"))
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = spool.Close() }()
	b.ReportAllocs()
	for b.Loop() {
		if err := spool.Truncate(0); err != nil {
			b.Fatal(err)
		}
		if _, err := spool.Seek(0, io.SeekStart); err != nil {
			b.Fatal(err)
		}
		if err := w.index.MergeAll(context.Background(), io.Discard, spool); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/(10*events), "ns/event")
}
