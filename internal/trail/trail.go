// Package trail copies recorded events to where accounts want them.
//
// A [Trail] is an account's wish to have the records of its calls copied to a
// bucket and, or, to a log group, as of AWS CloudTrail. A [Set] keeps trails,
// and copies what they ask for: [Set.Run]. Which buckets and log groups there
// are is the operator's to say ([Bucket], [LogGroup]); a trail names one that is
// open to its account.
//
// # What is promised
//
// Each event of the time during which a trail is logging is copied at least
// once: where a copy has come is noted after the sink has taken what comes
// before, so that after a crash, or an error, it is copied again. Objects in
// buckets have names that say what they were copied from, so that what is copied
// again replaces itself. A message of syslog can come twice; its eventID tells.
//
// A sink that is away, slow, or hangs holds up the trails that go to it, and
// nothing else: no call waits for one. What the archive has removed by its age
// before the sink came back is lost to the trail, which is counted and logged.
package trail

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/keyreeve/keyreeve/internal/arn"
	"github.com/keyreeve/keyreeve/internal/record"
)

// Limits. Source: "Quotas in AWS CloudTrail" and CreateTrail in the AWS
// CloudTrail API Reference; that of tags is of AddTags.
const (
	MaxPerRegion = 5   // trails of an account, those of other Regions that are multi-Region too
	MaxName      = 128 // characters
	MinName      = 3   // characters
	MaxPrefix    = 200 // characters
	MaxSelectors = 5   // of a trail
	MaxExcluded  = 20  // event sources of a selector
	MaxTags      = 50  // of a trail
)

// Errors. Those of [record.Store] come through, wrapped.
var (
	// ErrNotFound: there is no such trail.
	ErrNotFound = errors.New("trail: not found")
	// ErrExists: the account has a trail of that name in the Region.
	ErrExists = errors.New("trail: there is one of that name")
	// ErrTooMany: a Region would have more than [MaxPerRegion] trails.
	ErrTooMany = errors.New("trail: too many in a Region")
	// ErrInvalid: what a trail says is not allowed.
	ErrInvalid = errors.New("trail: not valid")
	// ErrNoBucket: there is no such bucket.
	ErrNoBucket = errors.New("trail: no such bucket")
	// ErrBucketClosed: the bucket is not open to the account.
	ErrBucketClosed = errors.New("trail: the bucket is not open to the account")
	// ErrNoLogGroup: there is no such log group, or it is not open to the account.
	ErrNoLogGroup = errors.New("trail: no such log group")
)

// Ref names a trail: its account, home Region and name.
type Ref struct{ Account, Region, Name string }

// ARN returns arn:aws:cloudtrail:REGION:ACCOUNT:trail/NAME.
func (r Ref) ARN() string {
	return arn.ARN{Partition: arn.Partition(r.Region), Service: "cloudtrail", Region: r.Region, Account: r.Account, Resource: "trail/" + r.Name}.String()
}

func (r Ref) key() string { return trailPrefix + r.Account + "/" + r.Region + "/" + r.Name }

// Trail is one trail.
type Trail struct {
	// ID is unique to this trail: one that is made anew under its name has
	// another. Create makes it.
	ID  string `json:"id"`
	Ref `json:"ref"`

	Created time.Time `json:"created"`

	Bucket string `json:"bucket"`           // S3BucketName
	Prefix string `json:"prefix,omitempty"` // S3KeyPrefix, without a slash at its end

	GlobalServices bool `json:"globalServices,omitempty"` // IncludeGlobalServiceEvents
	MultiRegion    bool `json:"multiRegion,omitempty"`    // IsMultiRegionTrail
	Organization   bool `json:"organization,omitempty"`   // IsOrganizationTrail: the account is its management account
	Validation     bool `json:"validation,omitempty"`     // EnableLogFileValidation: there are digests

	LogGroup string `json:"logGroup,omitempty"` // CloudWatchLogsLogGroupArn; empty for none
	LogRole  string `json:"logRole,omitempty"`  // CloudWatchLogsRoleArn, which is kept and not used

	// Selectors are the event selectors: an event that one of them selects is
	// copied. None stands for [DefaultSelector].
	Selectors []Selector `json:"selectors,omitempty"`

	Tags []Tag `json:"tags,omitempty"` // in the order in which they were added

	// Periods are the times during which the trail was logging, the oldest
	// first; the last one has no end while it is.
	Periods []Period `json:"periods,omitempty"`
}

// Tag is a tag of a trail.
type Tag struct {
	Key   string `json:"k"`
	Value string `json:"v"`
}

// Period is a time during which a trail was logging, both ends included.
type Period struct {
	Start time.Time `json:"start"`
	End   time.Time `json:"end,omitzero"` // zero: it has not ended
}

// Logging reports whether the trail is logging.
func (t *Trail) Logging() bool {
	n := len(t.Periods)
	return n > 0 && t.Periods[n-1].End.IsZero()
}

// Started returns when logging was last started; the zero time if never.
func (t *Trail) Started() time.Time {
	if n := len(t.Periods); n > 0 {
		return t.Periods[n-1].Start
	}
	return time.Time{}
}

// Stopped returns when logging was last stopped; the zero time if never.
func (t *Trail) Stopped() time.Time {
	for _, p := range slices.Backward(t.Periods) {
		if !p.End.IsZero() {
			return p.End
		}
	}
	return time.Time{}
}

// maxPeriods is how many periods are kept. Whoever starts and stops more often
// than that before they are copied gets the events between two of them as well.
const maxPeriods = 32

// start begins a period, and reports whether there was none.
func (t *Trail) start(now time.Time) bool {
	if t.Logging() {
		return false
	}
	if n := len(t.Periods); n >= maxPeriods {
		t.Periods[0].End = t.Periods[1].End
		t.Periods = slices.Delete(t.Periods, 1, 2)
	}
	t.Periods = append(t.Periods, Period{Start: now})
	return true
}

func (t *Trail) stop(now time.Time) bool {
	if !t.Logging() {
		return false
	}
	t.Periods[len(t.Periods)-1].End = now
	return true
}

// Shadows reports whether the trail is seen in a Region: at home, or everywhere.
func (t *Trail) Shadows(region string) bool { return t.MultiRegion || t.Region == region }

// nameSyntax and nameAdjacent are the rules of names. Source: Name of
// CreateTrail in the AWS CloudTrail API Reference.
var (
	nameSyntax   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{1,126}[A-Za-z0-9]$`)
	nameAdjacent = regexp.MustCompile(`[._-]{2}`)
	nameAddress  = regexp.MustCompile(`^[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+$`)
)

// IsName reports whether s may be the name of a trail.
func IsName(s string) bool {
	return nameSyntax.MatchString(s) && !nameAdjacent.MatchString(s) && !nameAddress.MatchString(s)
}

// check returns what is wrong with a trail: [ErrInvalid].
func (t *Trail) check() error {
	wrong := func(what string) error { return fmt.Errorf("%w: %s", ErrInvalid, what) }
	switch {
	case !IsName(t.Name):
		return wrong("the name")
	case !arn.IsAccount(t.Account) || t.Region == "" || strings.Contains(t.Region, "/"):
		return wrong("the account or the Region")
	case t.Bucket == "":
		return wrong("no bucket")
	case !isPrefix(t.Prefix):
		return wrong("the prefix")
	case len(t.Selectors) > MaxSelectors:
		return wrong("too many event selectors")
	case len(t.Tags) > MaxTags:
		return wrong("too many tags")
	}
	for _, s := range t.Selectors {
		if !s.valid() {
			return wrong("an event selector")
		}
	}
	return nil
}

func isPrefix(s string) bool {
	return utf8.ValidString(s) && utf8.RuneCountInString(s) <= MaxPrefix && !strings.HasPrefix(s, "/") && !strings.HasSuffix(s, "/") &&
		!strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f })
}

// Where the records are.
const (
	trailPrefix = "v1/trail/"      // <account>/<home Region>/<name>
	indexPrefix = "v1/trails/"     // <account>
	sinkPrefix  = "v1/trailsink/"  // <trail's id>/<sink>
	chainPrefix = "v1/trailchain/" // <trail's id>/<account>/<Region>
)

// The values of records are JSON, which begins with the version:
// {"v":1,"trail":{…}}.
const recordVersion = 1

// envelope is what stands in a record.
type envelope[V any] struct {
	Version int `json:"v"`
	Value   V   `json:"value"`
}

func encode[V any](v V) ([]byte, error) {
	b, err := json.Marshal(envelope[V]{recordVersion, v})
	if err != nil {
		return nil, fmt.Errorf("encoding a record of trails: %w", err)
	}
	return b, nil
}

func decode[V any](b []byte) (V, error) {
	var e envelope[V]
	if err := json.Unmarshal(b, &e); err != nil {
		return e.Value, fmt.Errorf("decoding a record of trails: %w", err)
	}
	if e.Version != recordVersion {
		return e.Value, fmt.Errorf("decoding a record of trails: it is of version %d, this program knows %d", e.Version, recordVersion)
	}
	return e.Value, nil
}

// indexed is a trail in its account's index, by which names and numbers are
// kept in bounds: who makes a trail, or makes it one of all Regions, writes the
// index, and of two who do so at the same time one begins anew.
type indexed struct {
	Region      string `json:"region"`
	Name        string `json:"name"`
	MultiRegion bool   `json:"multiRegion,omitempty"`
}

// admits returns whether an account that has these trails may have another one.
func admits(have []indexed, t indexed) error {
	count := map[string]int{t.Region: 1} // by home Region
	everywhere := 0
	if t.MultiRegion {
		count[t.Region], everywhere = 0, 1
	}
	for _, h := range have {
		if h.Name == t.Name && (h.Region == t.Region || h.MultiRegion || t.MultiRegion) {
			return ErrExists
		}
		if h.MultiRegion {
			everywhere++
		} else {
			count[h.Region]++
		}
	}
	for region, n := range count {
		if (t.MultiRegion || region == t.Region) && n+everywhere > MaxPerRegion {
			return fmt.Errorf("%w: %s", ErrTooMany, region)
		}
	}
	return nil
}

// attempts is how often a change is begun anew because of another one at the
// same time.
const attempts = 10

// change runs f in a transaction, anew if another was faster.
func (s *Set) change(ctx context.Context, f func(tx *record.Tx) error) error {
	for try := 1; ; try++ {
		tx := s.records.Begin()
		if err := f(tx); err != nil {
			return err
		}
		_, err := tx.Commit(ctx)
		if err == nil {
			return nil
		}
		if !errors.Is(err, record.ErrConflict) || try == attempts {
			return fmt.Errorf("changing trails: %w", err)
		}
	}
}

// Create makes a trail that is not logging yet. ID, Created and Periods are
// made. Errors: [ErrInvalid], [ErrExists], [ErrTooMany], and those of
// [Set.CheckBucket] and [Set.CheckLogGroup].
func (s *Set) Create(ctx context.Context, t Trail) (Trail, error) {
	if err := s.checkWhole(&t); err != nil {
		return Trail{}, err
	}
	t.ID, t.Created, t.Periods = rand.Text(), s.now().UTC(), nil
	// What is in the archive now is from before the trail.
	at := s.source.Newest()
	err := s.change(ctx, func(tx *record.Tx) error {
		have, rec, err := s.index(ctx, t.Account)
		if err != nil {
			return err
		}
		entry := indexed{t.Region, t.Name, t.MultiRegion}
		if err := admits(have, entry); err != nil {
			return err
		}
		if err := putIndex(tx, rec, t.Account, append(have, entry)); err != nil {
			return err
		}
		text, err := encode(t)
		if err != nil {
			return err
		}
		tx.Create(record.KindTrail, t.key(), text)
		text, err = encode(progress{Cursor: at})
		if err != nil {
			return err
		}
		tx.Create(record.KindTrailSink, sinkKey(t.ID, bucketSink), text)
		tx.Create(record.KindTrailSink, sinkKey(t.ID, groupSink), text)
		return nil
	})
	if err != nil {
		return Trail{}, err
	}
	s.wake()
	return t, nil
}

// checkWhole checks what a trail says by itself and with what there is.
func (s *Set) checkWhole(t *Trail) error {
	if err := t.check(); err != nil {
		return err
	}
	if err := s.CheckBucket(t.Account, t.Bucket); err != nil {
		return err
	}
	if t.LogGroup == "" {
		return nil
	}
	return s.CheckLogGroup(t.Account, t.LogGroup)
}

// index reads an account's index; a Record without a revision if there is none.
func (s *Set) index(ctx context.Context, account string) ([]indexed, record.Record, error) {
	rec, err := s.records.Get(ctx, record.KindTrailIndex, indexPrefix+account)
	if errors.Is(err, record.ErrNotFound) {
		return nil, record.Record{}, nil
	}
	if err != nil {
		return nil, record.Record{}, err
	}
	have, err := decode[[]indexed](rec.Value)
	return have, rec, err
}

func putIndex(tx *record.Tx, rec record.Record, account string, list []indexed) error {
	text, err := encode(list)
	if err != nil {
		return err
	}
	if rec.Rev == 0 {
		tx.Create(record.KindTrailIndex, indexPrefix+account, text)
	} else {
		tx.Put(rec, text)
	}
	return nil
}

// Get returns a trail by its home. Errors: [ErrNotFound].
func (s *Set) Get(ctx context.Context, r Ref) (Trail, error) {
	t, _, err := s.load(ctx, r)
	return t, err
}

func (s *Set) load(ctx context.Context, r Ref) (Trail, record.Record, error) {
	rec, err := s.records.Get(ctx, record.KindTrail, r.key())
	if errors.Is(err, record.ErrNotFound) {
		return Trail{}, rec, fmt.Errorf("%w: %s", ErrNotFound, r.ARN())
	}
	if err != nil {
		return Trail{}, rec, err
	}
	t, err := decode[Trail](rec.Value)
	return t, rec, err
}

// OfAccount returns the trails of an account, of all home Regions, in the order
// of Region and name.
func (s *Set) OfAccount(ctx context.Context, account string) ([]Trail, error) {
	return s.list(ctx, trailPrefix+account+"/")
}

func (s *Set) list(ctx context.Context, prefix string) ([]Trail, error) {
	var list []Trail
	for after := ""; ; {
		found, err := s.records.List(ctx, record.KindTrail, prefix, after, pageSize)
		if err != nil {
			return nil, err
		}
		for _, f := range found {
			if f.Err != nil {
				return nil, f.Err
			}
			t, err := decode[Trail](f.Value)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", f.Key, err)
			}
			list = append(list, t)
			after = f.Key
		}
		if len(found) < pageSize {
			return list, nil
		}
	}
}

// pageSize is how many records are read at once.
const pageSize = 100

// Update changes a trail: everything but what [Ref] says, ID, Created and
// Periods. Errors: [ErrNotFound], those of change and of [Set.Create].
func (s *Set) Update(ctx context.Context, r Ref, change func(*Trail) error) (Trail, error) {
	var t Trail
	err := s.change(ctx, func(tx *record.Tx) error {
		var rec record.Record
		var err error
		if t, rec, err = s.load(ctx, r); err != nil {
			return err
		}
		was := t
		if err := change(&t); err != nil {
			return err
		}
		t.ID, t.Ref, t.Created, t.Periods = was.ID, was.Ref, was.Created, was.Periods
		if err := s.checkWhole(&t); err != nil {
			return err
		}
		if t.MultiRegion != was.MultiRegion {
			have, index, err := s.index(ctx, r.Account)
			if err != nil {
				return err
			}
			others := slices.DeleteFunc(have, func(h indexed) bool { return h.Region == r.Region && h.Name == r.Name })
			entry := indexed{r.Region, r.Name, t.MultiRegion}
			if err := admits(others, entry); err != nil {
				return err
			}
			if err := putIndex(tx, index, r.Account, append(others, entry)); err != nil {
				return err
			}
		}
		if was.LogGroup == "" && t.LogGroup != "" {
			// It gets what comes, and not what has been.
			_, sink, err := s.progress(ctx, t.ID, groupSink)
			if err != nil {
				return err
			}
			text, err := encode(progress{Cursor: s.source.Newest()})
			if err != nil {
				return err
			}
			tx.Put(sink, text)
		}
		text, err := encode(t)
		if err != nil {
			return err
		}
		tx.Put(rec, text)
		return nil
	})
	if err != nil {
		return Trail{}, err
	}
	s.wake()
	return t, nil
}

// Delete deletes a trail. What was not copied yet is not copied any more; what
// is in the bucket stays there. Errors: [ErrNotFound].
func (s *Set) Delete(ctx context.Context, r Ref) error {
	err := s.change(ctx, func(tx *record.Tx) error {
		t, rec, err := s.load(ctx, r)
		if err != nil {
			return err
		}
		have, index, err := s.index(ctx, r.Account)
		if err != nil {
			return err
		}
		others := slices.DeleteFunc(have, func(h indexed) bool { return h.Region == r.Region && h.Name == r.Name })
		if err := putIndex(tx, index, r.Account, others); err != nil {
			return err
		}
		// What is kept of its chains is swept later: there can be many. Nothing
		// reads it any more, since no trail will have this id.
		for _, sink := range []string{bucketSink, groupSink} {
			at, err := s.records.Get(ctx, record.KindTrailSink, sinkKey(t.ID, sink))
			if err == nil {
				tx.Delete(at)
			} else if !errors.Is(err, record.ErrNotFound) {
				return err
			}
		}
		tx.Delete(rec)
		return nil
	})
	if err == nil {
		s.wake()
	}
	return err
}

// Start begins logging; a trail that is logging goes on. Errors: [ErrNotFound].
func (s *Set) Start(ctx context.Context, r Ref) error {
	return s.setLogging(ctx, r, (*Trail).start)
}

// Stop ends logging: events from before are still copied. Errors: [ErrNotFound].
func (s *Set) Stop(ctx context.Context, r Ref) error {
	return s.setLogging(ctx, r, (*Trail).stop)
}

// setLogging changes whether a trail is logging. Also where nothing changes something
// is written, so that the call has done something of which its record tells.
func (s *Set) setLogging(ctx context.Context, r Ref, change func(*Trail, time.Time) bool) error {
	err := s.change(ctx, func(tx *record.Tx) error {
		t, rec, err := s.load(ctx, r)
		if err != nil {
			return err
		}
		change(&t, s.now().UTC())
		text, err := encode(t)
		if err != nil {
			return err
		}
		tx.Put(rec, text)
		return nil
	})
	if err == nil {
		s.wake()
	}
	return err
}
