package archive

import (
	"cmp"
	"context"
	"crypto/rsa"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/keyreeve/keyreeve/internal/archive/index"
	"github.com/keyreeve/keyreeve/internal/audit"
	"github.com/keyreeve/keyreeve/internal/record"
)

// Names in the archive's own digests, where CloudTrail has a bucket and a
// trail.
const (
	BucketName = "keyreeve"
	TrailName  = "keyreeve"
)

// NobodysAccount is the account in whose folder records stand that are of no
// account: what the node does for itself.
const NobodysAccount = "000000000000"

// Journal is where records come from. An [audit.Log] is one.
type Journal interface {
	Dir() string
	Segments() ([]audit.Segment, error)
	ReadSegment(name string, each func(audit.Entry) error) (audit.Report, error)
	Remove(name string) error
}

// Options are the settings of an [Archive].
type Options struct {
	// Dir is where the files are, in the folder AWSLogs; it is created if need
	// be. Required.
	Dir string
	// Journal is where records come from, Records where the sealed heads and
	// keys stand, Index what files are found by. Required; they stay the
	// caller's.
	Journal Journal
	Records *record.Store
	Index   *index.Index

	// Region is the home Region of the archive's digests, and the Region of
	// records that name none. Required.
	Region string

	// Every is how often is looked for closed segments; 0 means 10 seconds.
	Every time.Duration
	// Retention is how old digests and the files that they list become, by the
	// end of the digest; 0 means for ever.
	Retention time.Duration
	// KeyAge is how long a key signs digests; 0 means 365 days.
	KeyAge time.Duration

	// Pause is told how many bytes of records were just compressed, while there
	// is no great hurry; it returns when the rest may follow, so that delivery
	// takes its time in small pieces. Nil means that half of the time is left to
	// others.
	Pause func(ctx context.Context, bytes int)

	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Logger gets what happens; nil means nothing does.
	Logger *slog.Logger

	// Of tests: where new keys come from; nil means that they are random.
	newKey func() (*rsa.PrivateKey, error)
}

// Archive is the files of a node. Its methods may be called by many goroutines
// at once.
type Archive struct {
	dir       string
	journal   Journal
	records   *record.Store
	index     *index.Index
	region    string
	every     time.Duration
	retention time.Duration
	keyAge    time.Duration
	pause     func(ctx context.Context, bytes int)
	now       func() time.Time
	newKey    func() (*rsa.PrivateKey, error)
	logger    *slog.Logger

	keyMu sync.Mutex
	keys  map[string][]*digestKey // by Region, the oldest first

	// work is held by whoever delivers; what follows belongs to him.
	work    sync.Mutex
	head    head
	headRec record.Record
	unsure  bool                  // what the store has of head and chains may not be what is known here: a commit has failed
	pending map[pair][]index.File // files that no digest lists yet, in their order; changed under mu
	chains  map[pair]*chain       // changed under mu; each is replaced, and never changed
	// placing is held while a log file is put in its place and into arriving: the
	// log files of the delivery that goes on, by name; changed under mu, too.
	placing  sync.Mutex
	arriving map[string]LogFile
	expired  time.Time // when old files were last looked for
	writer   *LogWriter
	made     map[string]bool // folders that are known to be there

	mu      sync.Mutex
	stats   Stats
	changed chan struct{} // closed when there are more files
	damage  []string
}

// A pair is an account and a Region: whose files they are.
type pair struct{ account, region string }

func (p pair) compare(q pair) int {
	return cmp.Or(strings.Compare(p.account, q.account), strings.Compare(p.region, q.region))
}

// Stats tells how delivery goes.
type Stats struct {
	Segments  uint64 // delivered since Open
	Files     uint64
	Records   uint64
	Digests   uint64
	Failures  uint64 // attempts that failed, of delivery, digests and removal
	Discarded uint64 // lines of the journal that are no records; they are kept aside

	// What is in the journal and not delivered yet, as of the last look.
	Waiting       int64     // bytes
	WaitingSince  time.Time // of the oldest record; zero if there is none
	LastDelivery  time.Time // zero: none since Open
	LastDigest    time.Time
	Damage        int // what was found altered; see [Archive.Damage]
	PendingDigest int // files that no digest lists yet
}

// Open opens the archive and finishes what was interrupted. What was altered
// while it was closed is logged and reported by [Archive.Damage]; it keeps
// nobody from going on.
func Open(ctx context.Context, o Options) (*Archive, error) {
	a := build(o)
	if err := a.open(ctx); err != nil {
		return nil, fmt.Errorf("opening the audit archive: %w", err)
	}
	return a, nil
}

// build returns an archive that has read nothing yet.
func build(o Options) *Archive {
	a := &Archive{
		dir: o.Dir, journal: o.Journal, records: o.Records, index: o.Index, region: o.Region,
		every: cmp.Or(o.Every, 10*time.Second), retention: o.Retention, keyAge: cmp.Or(o.KeyAge, defaultKeyAge),
		pause: o.Pause, now: o.Now, newKey: o.newKey, logger: o.Logger,
		keys: make(map[string][]*digestKey), pending: make(map[pair][]index.File), chains: make(map[pair]*chain),
		writer: NewLogWriter(io.Discard), made: make(map[string]bool), changed: make(chan struct{}),
	}
	if a.now == nil {
		a.now = time.Now
	}
	if a.logger == nil {
		a.logger = slog.New(slog.DiscardHandler)
	}
	if a.pause == nil {
		a.pause = halfTime
	}
	if a.newKey == nil {
		a.newKey = randomKey
	}
	return a
}

func (a *Archive) open(ctx context.Context) error {
	if err := a.emptyTemporary(); err != nil {
		return err
	}
	if err := a.loadKeys(ctx); err != nil {
		return err
	}
	if err := a.loadHead(ctx); err != nil {
		return err
	}
	if err := a.loadChains(ctx); err != nil {
		return err
	}
	if err := a.recover(ctx); err != nil {
		return err
	}
	if a.retention > 0 {
		return a.expireIndex(ctx, a.now().Add(-a.retention))
	}
	return nil
}

// Run delivers until ctx ends.
func (a *Archive) Run(ctx context.Context) {
	tick := time.NewTicker(a.every)
	defer tick.Stop()
	failing := ""
	for {
		switch err := a.Deliver(ctx); {
		case ctx.Err() != nil:
			return
		case err == nil && failing != "":
			a.logger.Info("audit records are delivered to the archive again")
			failing = ""
		case err != nil && err.Error() != failing:
			a.logger.Error("delivering audit records to the archive; it will be tried again, and until then they stay in the journal", "error", err)
			failing = err.Error()
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Deliver does what is to be done now: makes digests that are due, delivers
// the closed segments of the journal, merges the index, and removes what is too
// old. One of these that fails keeps none of the others from being done.
func (a *Archive) Deliver(ctx context.Context) error {
	a.work.Lock()
	defer a.work.Unlock()
	if a.unsure {
		if err := a.reread(ctx); err != nil {
			a.count(func(s *Stats) { s.Failures++ })
			return err
		}
	}
	var errs []error
	for _, do := range []func(context.Context) error{a.makeDigests, a.deliverSegments, a.mergeIndex, a.expire} {
		if err := do(ctx); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			errs = append(errs, err)
			a.count(func(s *Stats) { s.Failures++ })
		}
	}
	return errors.Join(errs...)
}

// count changes the statistics.
func (a *Archive) count(change func(*Stats)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	change(&a.stats)
}

// Stats returns how delivery goes.
func (a *Archive) Stats() Stats {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.stats
	s.Damage = len(a.damage)
	return s
}

// maxDamage bounds how much is remembered.
const maxDamage = 100

// damaged reports that something was altered.
func (a *Archive) damaged(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	a.logger.Error("the audit archive was altered", "what", text)
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.damage) < maxDamage {
		a.damage = append(a.damage, text)
	}
}

// Damage returns what the archive has found altered since Open, one line each.
// It looks only at what it needs to go on with; [Verify] looks at everything.
func (a *Archive) Damage() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]string(nil), a.damage...)
}

// Changed returns a channel that is closed when there are more files.
func (a *Archive) Changed() <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.changed
}

// announce says that there are more files.
func (a *Archive) announce() {
	a.mu.Lock()
	defer a.mu.Unlock()
	close(a.changed)
	a.changed = make(chan struct{})
}

// Path returns where an object of the archive is on the disk.
func (a *Archive) Path(object string) string { return filepath.Join(a.dir, filepath.FromSlash(object)) }

// Pending returns the files that no digest lists yet, in the order of their
// delivery; with those of a delivery that goes on. A log file that has been seen
// in the archive before the call is among them, or a digest lists it.
func (a *Archive) Pending() []LogFile {
	var pending []index.File
	a.placing.Lock()
	defer a.placing.Unlock()
	a.mu.Lock()
	for _, files := range a.pending {
		pending = append(pending, files...)
	}
	arriving := slices.SortedFunc(maps.Values(a.arriving), func(x, y LogFile) int { return strings.Compare(x.Object, y.Object) })
	a.mu.Unlock()
	slices.SortFunc(pending, func(x, y index.File) int { return cmp.Compare(x.Number, y.Number) })
	files := make([]LogFile, len(pending))
	for i, f := range pending {
		files[i] = logFile(f)
	}
	return append(files, arriving...)
}

// logFile returns what digests say of a file of the index.
func logFile(f index.File) LogFile {
	return LogFile{Bucket: BucketName, Object: f.Path, Hash: hex.EncodeToString(f.Hash[:]), Oldest: f.Oldest, Newest: f.Newest}
}
