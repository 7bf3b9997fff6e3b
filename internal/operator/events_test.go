package operator_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/api/keyreeveapi"
	"github.com/keyreeve/keyreeve/internal/archive/index"
	"github.com/keyreeve/keyreeve/internal/audit"
	"github.com/keyreeve/keyreeve/internal/authz"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/operator"
)

// A scene is a journal, and the operations on it.
type scene struct {
	plane
	log      *audit.Log
	made     int
	archived archived
}

// archived is events that are in the journal no longer, oldest first.
type archived struct{ events []index.Event }

// Search returns two events at once, so that there is something to go on with.
func (a *archived) Search(_ context.Context, q index.Query) (page index.Page, err error) {
	for _, e := range slices.Backward(a.events) {
		if q.Before != (index.Position{}) && e.Position.Compare(q.Before) >= 0 || !q.Start.IsZero() && e.Attributes.Time.Before(q.Start) ||
			!q.End.IsZero() && e.Attributes.Time.After(q.End) {
			continue
		}
		if slices.ContainsFunc(q.Terms, func(t index.Term) bool { return !e.Has(t.Attribute, t.Value) }) || !q.Filter(&e) {
			continue
		}
		if len(page.Events) == min(2, q.Limit) {
			page.More = true
			break
		}
		page.Events, page.Next = append(page.Events, e), e.Position
	}
	return page, nil
}

// archive moves the segments that are closed into the archive.
func (s *scene) archive(t *testing.T) {
	t.Helper()
	if err := s.log.Cut(); err != nil {
		t.Fatal(err)
	}
	segments, err := s.log.Segments()
	if err != nil {
		t.Fatal(err)
	}
	for _, segment := range segments {
		if segment.Open {
			continue
		}
		for e, err := range audit.Entries(filepath.Join(s.log.Dir(), segment.Name), 0) {
			if err != nil {
				t.Fatal(err)
			}
			event := index.Event{Record: bytes.Clone(e.Record)}
			if !index.Scan(event.Record, &event.Attributes) {
				t.Fatalf("%s is no record", e.Record)
			}
			event.Position = index.Position{Unix: event.Attributes.Time.Unix(), Segment: segment.Number, Offset: e.Offset}
			s.archived.events = append(s.archived.events, event)
		}
		if err := os.Remove(filepath.Join(s.log.Dir(), segment.Name)); err != nil {
			t.Fatal(err)
		}
	}
}

func newScene(t testing.TB, dir string, stopping <-chan struct{}) *scene {
	t.Helper()
	log, err := audit.Open(dir, audit.Options{Memory: 50})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = log.Close() })
	s := &scene{log: log}
	s.ops = keyreeveapi.Operations(operator.NewService(authz.New(nil), operator.Options{
		Account: management, Journal: log, Events: &s.archived, Stopping: stopping,
	}))
	return s
}

// happen puts calls on record whose user agents number them.
func (s *scene) happen(t testing.TB, n int, change func(*call.Call)) {
	t.Helper()
	for range n {
		s.made++
		c := &call.Call{
			ID: fmt.Sprintf("00000000-0000-4000-8000-%012d", s.made), Time: time.Unix(1e9+int64(s.made), 0), Region: "us-east-1", Service: "kms",
			Caller:    &call.Principal{Kind: call.User, Account: "111122223333", ARN: "arn:aws:iam::111122223333:user/alice", Name: "alice", AccessKeyID: "AKIAALICE"},
			Operation: &call.Operation{Name: "Decrypt", EventSource: "kms.amazonaws.com", ReadOnly: true}, UserAgent: fmt.Sprint(s.made),
		}
		if change != nil {
			change(c)
		}
		if err := s.log.Append(c); err != nil {
			t.Fatal(err)
		}
	}
}

// tail calls TailEvents and returns the numbers of the events.
func (s *scene) tail(t *testing.T, in string) (numbers []string, cursor string, skipped bool) {
	t.Helper()
	got, c := s.invoke(t, admin, "TailEvents", in)
	var out keyreeveapi.TailEventsOutput
	if err := json.Unmarshal([]byte(got), &out); err != nil {
		t.Fatalf("TailEvents %s = %s", in, got)
	}
	for _, e := range out.Events {
		var r struct{ UserAgent string }
		if err := json.Unmarshal(e, &r); err != nil {
			t.Fatal(err)
		}
		numbers = append(numbers, r.UserAgent)
	}
	// As the door does.
	if err := s.log.Append(c); err != nil {
		t.Fatal(err)
	}
	return numbers, out.Cursor, out.Skipped
}

// search calls SearchEvents and returns the numbers of the events.
func (s *scene) search(t *testing.T, in string) (numbers []string, token string) {
	t.Helper()
	got, _ := s.invoke(t, admin, "SearchEvents", in)
	var out keyreeveapi.SearchEventsOutput
	if err := json.Unmarshal([]byte(got), &out); err != nil {
		t.Fatalf("SearchEvents %s = %s", in, got)
	}
	for _, e := range out.Events {
		var r struct{ UserAgent string }
		if err := json.Unmarshal(e, &r); err != nil {
			t.Fatal(err)
		}
		numbers = append(numbers, r.UserAgent)
	}
	return numbers, out.NextToken
}

func numbers(from, to int) (list []string) {
	for n := from; n <= to; n++ {
		list = append(list, fmt.Sprint(n))
	}
	return list
}

func TestTail(t *testing.T) {
	for name, dir := range map[string]string{"in files": t.TempDir(), "in memory": ""} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, dir, nil)
			if got, _, _ := s.tail(t, `{"Last":10}`); got != nil {
				t.Errorf("of nothing: %v", got)
			}
			s.happen(t, 20, nil)
			got, cursor, _ := s.tail(t, `{"Last":3}`)
			if !slices.Equal(got, numbers(18, 20)) {
				t.Errorf("the last three: %v", got)
			}
			follow := func(extra string, want []string) {
				t.Helper()
				var skipped bool
				got, cursor, skipped = s.tail(t, fmt.Sprintf(`{"Cursor":%q,"Wait":0%s}`, cursor, extra))
				if got != nil || skipped {
					t.Errorf("without waiting: %v, skipped %v", got, skipped)
				}
				got, cursor, skipped = s.tail(t, fmt.Sprintf(`{"Cursor":%q,"Wait":1%s}`, cursor, extra))
				if !slices.Equal(got, want) || skipped {
					t.Errorf("goes on with %v, want %v; skipped %v", got, want, skipped)
				}
			}
			s.happen(t, 5, nil)
			follow("", numbers(21, 25))
			s.happen(t, 12, nil)
			follow(`,"MaxResults":10`, numbers(26, 35))
			follow("", numbers(36, 37))
			s.happen(t, 1, func(c *call.Call) { c.Caller = &call.Principal{Kind: call.User, Account: "111122223333", Name: "bob"} })
			s.happen(t, 2, nil)
			follow(`,"Username":"bob"`, numbers(38, 38))
		})
	}
}

// Whoever follows misses nothing that was archived meanwhile.
func TestTailArchived(t *testing.T) {
	s := newScene(t, t.TempDir(), nil)
	s.happen(t, 3, nil)
	_, cursor, _ := s.tail(t, `{}`)
	s.happen(t, 4, nil) // in the same segment
	s.archive(t)
	s.happen(t, 4, nil)
	s.archive(t)
	s.happen(t, 2, nil)
	at := 4
	for _, want := range []int{3, 3, 3, 1} {
		got, next, skipped := s.tail(t, fmt.Sprintf(`{"Cursor":%q,"Wait":1,"MaxResults":3}`, cursor))
		if skipped || !slices.Equal(got, numbers(at, at+want-1)) {
			t.Errorf("from %d on: %v, skipped %v", at, got, skipped)
		}
		cursor, at = next, at+want
	}
	if got, _, _ := s.tail(t, fmt.Sprintf(`{"Cursor":%q,"Wait":1}`, cursor)); got != nil {
		t.Errorf("at the end: %v", got)
	}
}

// It is told where it misses something after all.
func TestTailSkips(t *testing.T) {
	s := newScene(t, t.TempDir(), nil)
	s.happen(t, 1, nil)
	got, _, skipped := s.tail(t, `{"Cursor":"99999999999999999:0:0","Wait":1}`) // of a journal of a later time
	if !skipped || !slices.Equal(got, numbers(1, 1)) {
		t.Errorf("with a cursor of another journal: %v, skipped %v", got, skipped)
	}
	inMemory := newScene(t, "", nil)
	inMemory.happen(t, 1, nil)
	_, cursor, _ := inMemory.tail(t, `{}`)
	inMemory.happen(t, 60, nil)
	if got, _ := inMemory.invoke(t, admin, "TailEvents", `{"Cursor":"memory:x"}`); !strings.HasPrefix(got, "ValidationException: ") {
		t.Errorf("with a malformed cursor: %s", got)
	}
	got, _, skipped = inMemory.tail(t, fmt.Sprintf(`{"Cursor":%q,"Wait":1}`, cursor))
	if !skipped || len(got) != 50 {
		t.Errorf("after 60 events of which 50 are kept: %v, skipped %v", got, skipped)
	}
}

// A cursor stays good over segments, and over a node that is started anew.
func TestTailSegments(t *testing.T) {
	dir := t.TempDir()
	s := newScene(t, dir, nil)
	s.happen(t, 1, nil)
	_, cursor, _ := s.tail(t, `{}`)
	for range 3 {
		s.happen(t, 2, nil)
		if err := s.log.Cut(); err != nil {
			t.Fatal(err)
		}
	}
	s.happen(t, 1, nil)
	if err := s.log.Close(); err != nil {
		t.Fatal(err)
	}
	again := newScene(t, dir, nil)
	got, _, skipped := again.tail(t, fmt.Sprintf(`{"Cursor":%q,"Wait":1}`, cursor))
	if !slices.Equal(got, numbers(2, 8)) || skipped {
		t.Errorf("TailEvents = %v, skipped %v", got, skipped)
	}
}

func TestTailStops(t *testing.T) {
	stopping := make(chan struct{})
	close(stopping)
	s := newScene(t, t.TempDir(), stopping)
	// This would be as long as a test may take.
	for range 100 {
		_, cursor, _ := s.tail(t, `{}`)
		s.tail(t, fmt.Sprintf(`{"Cursor":%q,"Wait":20}`, cursor))
	}
}

func TestTailRefuses(t *testing.T) {
	s := newScene(t, t.TempDir(), nil)
	s.happen(t, 1, nil)
	for _, in := range []string{
		`{"Cursor":"x"}`, `{"Cursor":"1:-1:1"}`, `{"Cursor":"1:1:-1"}`, `{"Cursor":"-1:1:1"}`, `{"Cursor":"a:b:c"}`, `{"Cursor":"1:2"}`, `{"Cursor":"1:2:3:4"}`, `{"Last":1001}`, `{"Last":-1}`, `{"Wait":21}`,
		`{"MaxResults":0}`, `{"MaxResults":1001}`, `{"Account":"1"}`, `{"EventId":"1"}`, `{"EventName":"` + strings.Repeat("x", 129) + `"}`,
	} {
		if got, _ := s.invoke(t, admin, "TailEvents", in); !strings.HasPrefix(got, "ValidationException: ") {
			t.Errorf("%s: %s", in, got)
		}
	}
	if got, _ := s.invoke(t, admin, "TailEvents", `{"Nothing":1}`); !strings.HasPrefix(got, "SerializationException: ") {
		t.Errorf("an unknown member: %s", got)
	}
	if _, _, skipped := s.tail(t, `{"Cursor":"memory:0"}`); !skipped {
		t.Error("with the cursor of a node in memory: nothing is said of what is skipped")
	}
}

func TestFilters(t *testing.T) {
	s := newScene(t, t.TempDir(), nil)
	const key = "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
	s.happen(t, 1, nil)
	s.happen(t, 1, func(c *call.Call) { c.Region = "eu-central-1" })
	s.happen(t, 1, func(c *call.Call) {
		c.Operation = &call.Operation{Name: "CreateKey", EventSource: "kms.amazonaws.com"}
		c.AddKey(key, "111122223333")
	})
	s.happen(t, 1, func(c *call.Call) { c.Failure = call.Failure{Code: "NotFoundException", Message: "no"} })
	s.happen(t, 1, func(c *call.Call) {
		c.Operation = &call.Operation{Name: "GetUser", EventSource: "iam.amazonaws.com", ReadOnly: true}
		c.Caller = &call.Principal{Kind: call.Root, Account: "444455556666", ARN: "arn:aws:iam::444455556666:root", AccessKeyID: "AKIAROOT"}
	})
	cases := map[string]string{
		`"Account":"444455556666"`:                                  "5",
		`"Region":"eu-central-1"`:                                   "2",
		`"EventName":"Decrypt"`:                                     "1 2 4",
		`"EventSource":"iam.amazonaws.com"`:                         "5",
		`"Username":"alice"`:                                        "1 2 3 4",
		`"AccessKeyId":"AKIAROOT"`:                                  "5",
		`"ResourceName":"` + key + `"`:                              "3",
		`"ResourceType":"AWS::KMS::Key"`:                            "3",
		`"ErrorCode":"NotFoundException"`:                           "4",
		`"ErrorCode":"*"`:                                           "4",
		`"ReadOnly":false`:                                          "3",
		`"ReadOnly":true,"Region":"us-east-1"`:                      "1 4 5",
		`"RequestId":"00000000-0000-4000-8000-000000000002"`:        "2",
		`"RequestId":"1","EventName":"Decrypt"`:                     "",
		`"ResourceName":"1234abcd-12ab-34cd-56ef-1234567890ab"`:     "3",
		`"ResourceName":"key/1234abcd-12ab-34cd-56ef-1234567890ab"`: "3",
		`"ResourceName":"1234567890ab"`:                             "",
	}
	for in, want := range cases {
		if got, _, _ := s.tail(t, `{"Last":100,`+in+`}`); strings.Join(got, " ") != want {
			t.Errorf("TailEvents %s: %v, want %s", in, got, want)
		}
	}
	s.archive(t)
	for in, want := range cases {
		var got []string
		for token := ""; ; {
			more, next := s.search(t, `{"MaxResults":1,`+in+token+`}`)
			if got = append(more, got...); next == "" {
				break
			}
			token = `,"NextToken":"` + next + `"`
		}
		// Those of TailEvents, by another user, are found as well.
		got = slices.DeleteFunc(got, func(number string) bool { return number == "" })
		if strings.Join(got, " ") != want {
			t.Errorf("SearchEvents %s: %v, want %s", in, got, want)
		}
	}
	s.tail(t, `{}`)
	if got, _, _ := s.tail(t, `{"Last":100,"EventName":"TailEvents"}`); len(got) == 0 {
		t.Error("records of TailEvents are not to be had")
	}
	// Whoever follows is not to see himself; but others who try to.
	s.happen(t, 1, func(c *call.Call) {
		c.Operation = &call.Operation{Name: "TailEvents", EventSource: keyreeveapi.EventSource, ReadOnly: true}
		c.Failure = call.Failure{Code: "AccessDeniedException", Message: "no"}
	})
	if got, _, _ := s.tail(t, `{"Last":1}`); len(got) != 1 || got[0] != "6" {
		t.Errorf("the newest event is %v, want the one who was denied to follow", got)
	}
}
