package trail

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/keyreeve/keyreeve/internal/archive"
	"github.com/keyreeve/keyreeve/internal/archive/index"
	"github.com/keyreeve/keyreeve/internal/arn"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/config"
	"github.com/keyreeve/keyreeve/internal/outbound"
	"github.com/keyreeve/keyreeve/internal/record"
)

// Source is the archive: files of events, each of one account and Region. An
// [archive.Archive] is one.
type Source interface {
	// Newest returns the number of the newest file; 0 if there is none.
	Newest() uint64
	// Files returns up to limit files whose number is larger than after, in
	// their order. Numbers have no gaps but where files were removed by age.
	Files(after uint64, limit int) ([]index.File, error)
	// Path returns where on the disk a file is.
	Path(object string) string
	// Key returns the key that signs digests of a Region that end at a time.
	Key(ctx context.Context, region string, end time.Time) (archive.Key, error)
	// Changed returns a channel that is closed when there are more files.
	Changed() <-chan struct{}
}

// Options are what a [Set] works with.
type Options struct {
	// Source is the archive. It must be given.
	Source Source

	// Buckets and LogGroups are the operator's.
	Buckets   []config.Bucket
	LogGroups []config.LogGroup
	// Outbound is how sinks are connected to. What it allows by name is not
	// looked at, since the operator names each sink; what it says of addresses
	// holds.
	Outbound outbound.Options

	// Organization returns where an account stands; nil if it is in no
	// organization. It must be given.
	Organization func(ctx context.Context, account string) (*call.Organization, error)

	Now func() time.Time // nil means time.Now
	Log *slog.Logger     // nil means none

	// Every is how often is looked for what there is to copy, beside when the
	// archive says so; 0 means a minute.
	Every time.Duration
	// Patience bounds how long a sink may take for one object or message; 0
	// means a minute.
	Patience time.Duration
	// Pause is how long to wait before a sink that failed is tried again, twice
	// as long each time it fails; 0 means a second.
	Pause time.Duration
	// Rest is how long a sink that does not answer is left in peace by all that
	// copy to it, but not longer than Patience; 0 means five seconds.
	Rest time.Duration
	// Host is what messages of syslog say of where they come from; empty means
	// the name of the machine.
	Host string
}

// Set is the trails of a node. Its methods may be called concurrently.
type Set struct {
	records *record.Store
	source  Source
	o       Options
	now     func() time.Time
	log     *slog.Logger

	buckets map[string]*bucket
	groups  map[string]*group

	changed chan struct{} // of capacity 1: something was changed by a call
	memory  chan struct{} // of capacity 2: who reads a file of the archive, and makes an object of it

	mu      sync.Mutex
	meter   map[string]*Sink   // by sink; guarded by mu
	workers map[string]*worker // by storage key of the sink; guarded by mu
}

// New returns the trails that stand in records. Errors are about the settings of
// buckets and log groups.
func New(records *record.Store, o Options) (*Set, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Every <= 0 {
		o.Every = time.Minute
	}
	if o.Patience <= 0 {
		o.Patience = time.Minute
	}
	if o.Pause <= 0 {
		o.Pause = time.Second
	}
	if o.Rest <= 0 {
		o.Rest = 5 * time.Second
	}
	s := &Set{
		records: records, source: o.Source, o: o, now: o.Now, log: o.Log,
		buckets: make(map[string]*bucket, len(o.Buckets)), groups: make(map[string]*group, len(o.LogGroups)),
		changed: make(chan struct{}, 1),
		memory:  make(chan struct{}, 2),
		meter:   map[string]*Sink{bucketSink: {Kind: "s3"}, groupSink: {Kind: "syslog"}},
		workers: make(map[string]*worker),
	}
	for _, b := range o.Buckets {
		made, err := newBucket(b, &s.o)
		if err != nil {
			return nil, fmt.Errorf("bucket %s: %w", b.Name, err)
		}
		s.buckets[b.Name] = made
	}
	for _, g := range o.LogGroups {
		made, err := newGroup(g, &s.o)
		if err != nil {
			return nil, fmt.Errorf("log group %s: %w", g.Name, err)
		}
		s.groups[g.Name] = made
	}
	return s, nil
}

// wake has the copying look at what has changed.
func (s *Set) wake() { signal(s.changed) }

// AnyAccount in a list of accounts stands for all.
const AnyAccount = "*"

func open(accounts []string, account string) bool {
	return slices.Contains(accounts, account) || slices.Contains(accounts, AnyAccount)
}

// CheckBucket returns whether an account's trails may copy to a bucket. Errors:
// [ErrNoBucket], [ErrBucketClosed].
func (s *Set) CheckBucket(account, name string) error {
	b := s.buckets[name]
	switch {
	case b == nil:
		return fmt.Errorf("%w: %s", ErrNoBucket, name)
	case !open(b.Accounts, account):
		return fmt.Errorf("%w: %s", ErrBucketClosed, name)
	}
	return nil
}

// LogGroupName returns the name in the ARN of a log group, which is
// arn:aws:logs:REGION:ACCOUNT:log-group:NAME:*, where the last two characters
// may be missing.
func LogGroupName(text string) (account, name string, ok bool) {
	a, err := arn.Parse(text)
	if err != nil || a.Service != "logs" || a.Region == "" || a.Account == "" {
		return "", "", false
	}
	name, ok = strings.CutPrefix(a.Resource, "log-group:")
	name = strings.TrimSuffix(name, ":*")
	return a.Account, name, ok && name != "" && !strings.Contains(name, ":")
}

// CheckLogGroup returns whether an account's trails may copy to the log group of
// an ARN, which must be of that account. Errors: [ErrNoLogGroup].
func (s *Set) CheckLogGroup(account, text string) error {
	of, name, ok := LogGroupName(text)
	if g := s.groups[name]; !ok || of != account || g == nil || !open(g.Accounts, account) {
		return fmt.Errorf("%w: %s", ErrNoLogGroup, text)
	}
	return nil
}

// Status is how the copying of a trail stands. Times are zero for what never
// happened.
type Status struct {
	Logging          bool
	Started, Stopped time.Time

	Bucket, LogGroup, Digest Delivery
}

// Delivery is how copying to one place went.
type Delivery struct {
	Attempted time.Time // the newest attempt
	Delivered time.Time // the newest one that succeeded
	// Failure is the error of the newest attempt, as CloudTrail prints it: the
	// code of S3's error, such as NoSuchBucket, or of ours. Empty if it
	// succeeded.
	Failure string
	// Lost is how many files of the archive were removed by their age, or found
	// altered, before they could be copied.
	Lost int64
	// Through is the number of the newest file of the archive that need not be
	// looked at any more; 0 for digests.
	Through uint64 `json:"-"`
}

// Status returns how the copying of a trail stands. Errors: [ErrNotFound].
func (s *Set) Status(ctx context.Context, r Ref) (Status, error) {
	t, err := s.Get(ctx, r)
	if err != nil {
		return Status{}, err
	}
	st := Status{Logging: t.Logging(), Started: t.Started(), Stopped: t.Stopped()}
	files, _, err := s.progress(ctx, t.ID, bucketSink)
	if err != nil {
		return Status{}, err
	}
	events, _, err := s.progress(ctx, t.ID, groupSink)
	if err != nil {
		return Status{}, err
	}
	st.Bucket, st.Digest, st.LogGroup = files.Files, files.Digests, events.Files
	st.Bucket.Through, st.LogGroup.Through = files.Cursor, events.Cursor
	return st, nil
}

// Sink is what there is to measure of the sinks of a kind.
type Sink struct {
	Kind string // "s3" or "syslog"
	// Delivered counts events, Objects what was put into buckets, and Failures
	// attempts that failed, since the node was started. Lost counts files of the
	// archive that were removed before they were copied.
	Delivered, Objects, Failures, Lost uint64
	// Trails is how many trails copy to a sink of the kind; Failing how many of
	// them failed when they tried last.
	Trails, Failing int
	// Lag is the age of the oldest file of the archive that a trail still has
	// to copy; 0 if there is none.
	Lag time.Duration
}
