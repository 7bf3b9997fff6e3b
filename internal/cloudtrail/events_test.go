package cloudtrail_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/archive"
	"github.com/keyreeve/keyreeve/internal/quota"
)

// looked is an answer of LookupEvents.
type looked struct {
	Events []struct {
		EventID, EventName, ReadOnly, AccessKeyID, EventSource, Username, CloudTrailEvent string

		EventTime float64
		Resources []struct{ ResourceType, ResourceName string }
	}
	NextToken string
}

// lookup returns the ids of what is found, the newest first, and the answer.
func (e *env) lookup(who, request string) (string, looked) {
	e.t.Helper()
	var l looked
	if err := json.Unmarshal([]byte(e.must(who, "LookupEvents", request)), &l); err != nil {
		e.t.Fatal(err)
	}
	var ids []string
	for _, event := range l.Events {
		ids = append(ids, event.EventID)
	}
	return strings.Join(ids, " "), l
}

func (e *env) fill() {
	alice := `,"userIdentity":{"type":"IAMUser","accountId":"` + ours + `","accessKeyId":"AKIAALICE","userName":"alice"}`
	key := `,"resources":[{"accountId":"` + ours + `","type":"AWS::KMS::Key","ARN":"arn:aws:kms:eu-central-1:111122223333:key/k"}]`
	ago := func(d time.Duration) time.Time { return e.now.Add(-d) }
	e.events.add("old", "Decrypt", ago(91*24*time.Hour), ours, home, alice+key)
	e.events.add("a", "Decrypt", ago(72*time.Hour), ours, home, alice+key)
	e.events.add("b", "Encrypt", ago(48*time.Hour), ours, home, alice)
	e.events.add("theirs", "Decrypt", ago(40*time.Hour), theirs, home, alice+key)
	e.events.add("away", "Decrypt", ago(30*time.Hour), ours, away, alice+key)
	e.events.add("c", "Decrypt", ago(24*time.Hour), ours, home, "")
	e.events.add("d", "Decrypt", ago(time.Hour), ours, home, alice)
}

// TestLookupEvents: what is found is the caller's account's, in the Region, of
// the last 90 days, and within the time.
func TestLookupEvents(t *testing.T) {
	e := newEnv(t)
	e.fill()
	by := func(key, value string) string {
		return `{"LookupAttributes":[{"AttributeKey":"` + key + `","AttributeValue":"` + value + `"}]}`
	}
	at := func(d time.Duration) int64 { return e.now.Add(-d).Unix() }
	for _, test := range []struct {
		env          *env
		who, request string
		want         string
	}{
		{e, "alice", `{}`, "d c b a"},
		{e, "bob", `{}`, "theirs"},
		{e.in(away), "alice", `{}`, "away"},
		{e, "alice", by("EventName", "Decrypt"), "d c a"},
		{e, "alice", by("EventName", "decrypt"), ""},
		{e, "alice", by("Username", "alice"), "d b a"},
		{e, "alice", by("AccessKeyId", "AKIAALICE"), "d b a"},
		{e, "alice", by("ResourceName", "arn:aws:kms:eu-central-1:111122223333:key/k"), "a"},
		{e, "alice", by("ResourceType", "AWS::KMS::Key"), "a"},
		{e, "alice", by("EventId", "b"), "b"},
		{e, "alice", by("EventId", "theirs"), ""},
		{e, "alice", by("EventSource", "kms.amazonaws.com"), "d c b a"},
		{e, "alice", by("ReadOnly", "true"), "d c b a"},
		{e, "alice", by("ReadOnly", "false"), ""},
		{e, "alice", fmt.Sprintf(`{"StartTime":%d,"EndTime":%d}`, at(49*time.Hour), at(2*time.Hour)), "c b"},
		{e, "alice", fmt.Sprintf(`{"StartTime":%d}`, at(365*24*time.Hour)), "d c b a"},
		{e, "alice", fmt.Sprintf(`{"EndTime":%d}`, at(48*time.Hour)), "b a"},
		{e, "alice", `{"EventCategory":"insight"}`, ""},
	} {
		if got, _ := test.env.lookup(test.who, test.request); got != test.want {
			t.Errorf("%s in %s, %s: %q, want %q", test.who, test.env.region, test.request, got, test.want)
		}
	}
	_, l := e.lookup("alice", by("EventId", "a"))
	got := l.Events[0]
	if got.EventName != "Decrypt" || got.ReadOnly != "true" || got.AccessKeyID != "AKIAALICE" || got.EventSource != "kms.amazonaws.com" || got.Username != "alice" ||
		int64(got.EventTime) != at(72*time.Hour) || fmt.Sprint(got.Resources) != "[{AWS::KMS::Key arn:aws:kms:eu-central-1:111122223333:key/k}]" || got.CloudTrailEvent != e.events.records[1] {
		t.Errorf("the event is shown as %+v", got)
	}
	e.is(e.must("alice", "LookupEvents", by("EventId", "c")),
		`{"Events":[{"EventId":"c","EventName":"Decrypt","ReadOnly":"true","EventTime":`+fmt.Sprint(at(24*time.Hour))+`,"EventSource":"kms.amazonaws.com","Resources":[],"CloudTrailEvent":`+quoted(e.events.records[5])+`}]}`)
}

func quoted(s string) string {
	b, _ := json.Marshal(s)
	return string(b)
}

// TestLookupEventsPages: page by page comes the same as at once, whatever is
// added meanwhile, and a token is good for its own search alone.
func TestLookupEventsPages(t *testing.T) {
	e := newEnv(t)
	e.fill()
	for size := 1; size <= 3; size++ {
		var all []string
		request := fmt.Sprintf(`{"MaxResults":%d`, size)
		ids, l := e.lookup("alice", request+`}`)
		for {
			if n := len(l.Events); n > size {
				t.Fatalf("a page of %d events, want at most %d", n, size)
			}
			if ids != "" {
				all = append(all, ids)
			}
			if l.NextToken == "" {
				break
			}
			ids, l = e.lookup("alice", request+`,"NextToken":"`+l.NextToken+`"}`)
		}
		if got := strings.Join(all, " "); got != "d c b a" {
			t.Errorf("pages of %d: %s", size, got)
		}
	}

	_, l := e.lookup("alice", `{"MaxResults":1,"LookupAttributes":[{"AttributeKey":"EventName","AttributeValue":"Decrypt"}],"StartTime":1600000000}`)
	token := `"NextToken":"` + l.NextToken + `"`
	same := `{"LookupAttributes":[{"AttributeKey":"EventName","AttributeValue":"Decrypt"}],"StartTime":1600000000,` + token + `}`
	e.events.add("new", "Decrypt", e.now, ours, home, "")
	if got, _ := e.lookup("alice", same); got != "c a" {
		t.Errorf("the second page: %s", got)
	}
	const refused = "InvalidNextTokenException 400: The NextToken is not valid, or belongs to a request with other parameters."
	for _, request := range []string{
		`{` + token + `}`,
		`{"NextToken":"x"}`,
		`{"LookupAttributes":[{"AttributeKey":"EventName","AttributeValue":"Encrypt"}],"StartTime":1600000000,` + token + `}`,
		`{"LookupAttributes":[{"AttributeKey":"Username","AttributeValue":"Decrypt"}],"StartTime":1600000000,` + token + `}`,
		`{"LookupAttributes":[{"AttributeKey":"EventName","AttributeValue":"Decrypt"}],"StartTime":1600000001,` + token + `}`,
		`{"LookupAttributes":[{"AttributeKey":"EventName","AttributeValue":"Decrypt"}],"EndTime":1900000000,` + token + `}`,
	} {
		e.refused("alice", "LookupEvents", request, refused)
	}
	e.refused("bob", "LookupEvents", same, refused)
	e.in(away).refused("alice", "LookupEvents", same, refused)
}

func TestLookupEventsRefused(t *testing.T) {
	e := newEnv(t)
	e.user("carol", `{"Effect":"Allow","Action":"cloudtrail:GetTrail","Resource":"*"}`)
	at := func(d time.Duration) int64 { return e.now.Add(-d).Unix() }
	one := `{"AttributeKey":"EventName","AttributeValue":"Decrypt"}`
	for _, test := range []struct{ who, request, want string }{
		{"alice", `{"MaxResults":51}`, "InvalidMaxResultsException 400: MaxResults must be between 1 and 50."},
		{"alice", `{"MaxResults":0}`, "InvalidMaxResultsException 400: MaxResults must be between 1 and 50."},
		{"alice", `{"LookupAttributes":[` + one + `,` + one + `]}`, "InvalidLookupAttributesException 400: Specify one lookup attribute only."},
		{"alice", fmt.Sprintf(`{"StartTime":%d,"EndTime":%d}`, at(time.Hour), at(2*time.Hour)), "InvalidTimeRangeException 400: The start time is after the end time."},
		{"alice", fmt.Sprintf(`{"EndTime":%d}`, at(91*24*time.Hour)), "InvalidTimeRangeException 400: The end time is more than 90 days ago."},
		{
			"carol", `{}`, "AccessDeniedException 400: User: arn:aws:iam::111122223333:user/carol is not authorized to perform: cloudtrail:LookupEvents" +
				" because no identity-based policy allows the cloudtrail:LookupEvents action",
		},
	} {
		e.refused(test.who, "LookupEvents", test.request, test.want)
	}
}

// TestListPublicKeys: of the Region and the time that are asked for.
func TestListPublicKeys(t *testing.T) {
	e := newEnv(t)
	day := 24 * time.Hour
	key := func(region, fingerprint string, from, to time.Duration) archive.PublicKey {
		return archive.PublicKey{Region: region, Fingerprint: fingerprint, Value: []byte{1, 2, 3}, Start: e.now.Add(from), End: e.now.Add(to)}
	}
	e.keys.list = []archive.PublicKey{key(home, "aa", -400*day, -35*day), key(home, "bb", -35*day, 330*day), key(away, "cc", -400*day, 330*day)}
	listed := func(e *env, request string) string {
		e.t.Helper()
		var out struct {
			PublicKeyList []struct{ Fingerprint string }
		}
		if err := json.Unmarshal([]byte(e.must("alice", "ListPublicKeys", request)), &out); err != nil {
			e.t.Fatal(err)
		}
		var list []string
		for _, k := range out.PublicKeyList {
			list = append(list, k.Fingerprint)
		}
		return strings.Join(list, " ")
	}
	at := func(d time.Duration) int64 { return e.now.Add(d).Unix() }
	for _, test := range []struct {
		env           *env
		request, want string
	}{
		{e, `{}`, "bb"},
		{e.in(away), `{}`, "cc"},
		{e, fmt.Sprintf(`{"StartTime":%d}`, at(-100*day)), "aa bb"},
		{e, fmt.Sprintf(`{"EndTime":%d}`, at(-100*day)), "aa"},
		{e, fmt.Sprintf(`{"StartTime":%d,"EndTime":%d}`, at(-1000*day), at(-500*day)), ""},
		{e, fmt.Sprintf(`{"StartTime":%d,"EndTime":%d}`, at(-1000*day), at(500*day)), "aa bb"},
	} {
		if got := listed(test.env, test.request); got != test.want {
			t.Errorf("ListPublicKeys in %s of %s: %q, want %q", test.env.region, test.request, got, test.want)
		}
	}
	e.is(e.must("alice", "ListPublicKeys", `{}`), fmt.Sprintf(`{"PublicKeyList":[{"Value":"AQID","ValidityStartTime":%d.123,"ValidityEndTime":%d.123,"Fingerprint":"bb"}]}`, at(-35*day), at(330*day)))
	e.refused("alice", "ListPublicKeys", fmt.Sprintf(`{"StartTime":%d,"EndTime":%d}`, at(0), at(-day)), "InvalidTimeRangeException 400: The start time is after the end time.")
	e.refused("alice", "ListPublicKeys", `{"NextToken":"x"}`, "InvalidTokenException 400: The NextToken is not valid.")
}

// TestLookupEventsTooOften: an account may look events up twice a second in each
// Region, where calls are counted.
func TestLookupEventsTooOften(t *testing.T) {
	e := newEnv(t)
	limits, err := quota.New(quota.Options{Regions: []string{home, away}, Now: func() time.Time { return e.now }})
	if err != nil {
		t.Fatal(err)
	}
	o := e.options
	o.Quotas = limits
	e.serve(o)
	const refused = "ThrottlingException 400: Rate exceeded"
	for range 2 {
		e.must("alice", "LookupEvents", `{}`)
		e.refused("alice", "LookupEvents", `{"MaxResults": 51}`, "InvalidMaxResultsException 400: MaxResults must be between 1 and 50.")
		e.refused("alice", "LookupEvents", `{}`, refused)
		e.must("alice", "ListTrails", `{}`)
		e.must("bob", "LookupEvents", `{}`)
		e.now = e.now.Add(time.Second)
	}
	e.must("alice", "LookupEvents", `{}`)
	e.in(away).must("alice", "LookupEvents", `{}`)
}
