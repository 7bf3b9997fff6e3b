// Package index finds audit events without reading them all.
//
// Delivered events stand in gzip files by account, Region and day. What is
// asked for (the calls of a user, the uses of a key, one event by its id) is
// spread over thousands of them. For each delivery a [Builder] writes a run: an
// immutable file with a row for each event and, for each value of each
// attribute, the list of the rows that have it. Small adjacent runs are merged
// into larger ones, so that three months are tens of runs. A [Searcher] answers
// from the runs and from the part of the journal that no run covers yet.
//
// A run is what commits a delivery: its name appears in the directory in one
// instant, with the number of the newest segment of the journal that is
// delivered ([Index.Through]) and the list of all files ([Index.Files]).
//
// # The order of events
//
// Events are ordered by their time (whole seconds), and those of one second by
// where they stood in the journal: the number of the segment, then the offset
// in it. An event keeps this [Position] for ever, whether it is read from the
// journal or from a file, so that the pages of a search fit together whatever
// is delivered or merged between them.
//
// # Runs, byte by byte
//
// A run has the name FIRST-LAST.run: the numbers of the first and the last
// delivery in it, of ten decimal digits or more. It consists of pages of 4096
// bytes:
//
//	4080  payload
//	  16  tag of the payload, by the key of the run: AES-256-GCM (NIST SP 800-38D)
//	      with the payload as associated data and no plaintext. The nonce is 12
//	      bytes: 1 for the last page and 0 for the others, three of zero, and the
//	      page's number as 8 bytes, big-endian
//
// All other integers are little-endian. The payload of the last page is the
// footer:
//
//	 8  "KRINDEX", version 2
//	 2  length of what follows
//	    key of the tags, 32 bytes, as the node seals it; associated data is the
//	    run's name
//	 8  number of the first delivery
//	 8  number of the last delivery
//	 8  number of the newest segment of the journal that is delivered
//	 8  number of the first file
//	 8  oldest time, in seconds since 1970; 0 if there is no row
//	 8  newest time
//	16  key of the hashes
//	 4  level: how often its rows were merged
//	 4  rows
//	 4  files
//	 4  terms
//	 1  bits: logarithm to base 2 of the number of buckets
//	 8  length of the file texts
//	 8  length of the lists
//	    zeros
//
// The payloads of all pages before it, without what fills up the last of them
// with zeros, are one text of seven sections, in this order:
//
//	rows      24 bytes for each event, the newest first:
//	           4  time, as seconds after the oldest time of the run
//	           4  file: its index in this run
//	           4  offset of the record in its segment of the journal
//	           4  offset of the deflate block in the file
//	           4  where the record begins in the text of that block
//	           4  length of the record
//	lists     see below
//	texts     of the files, each with its own length:
//	           8  number of the segment of the journal that its events are from
//	           8  oldest time
//	           8  newest time
//	           8  size in bytes
//	           4  events
//	          32  SHA-256 of the text in it
//	           1  length of the account, and the account
//	           1  length of the Region, and the Region
//	           2  length of the path below the archive's directory, and the path
//	files     4 bytes for each file, in the order of their numbers: where in the
//	          texts its text begins
//	terms     12 bytes for each term, in the order of their hashes:
//	           8  hash
//	           4  kind (2 high bits), and
//	              kind 0: the row, of the only event that has the term
//	              kind 1: where its list begins in the lists, in units of 4
//	                      bytes: 4 bytes that tell how many rows there are, and
//	                      4 bytes for each row, ascending
//	              kind 2: likewise; its list has one bit for each row of the
//	                      run, in words of 4 bytes, the lowest bit first
//	buckets   4 bytes for each value of the top bits of a hash: the first term
//	          with these or higher top bits
//	fence     4 bytes for each 512 rows begun: the time of the first of them, as
//	          in the row
//
// The key of the tags is random, and no other run has it: whoever can write the
// files, and has not the node's root key, can neither change a page nor put one
// of another run or place there. Nor a run: the key is sealed for its name, all
// runs of a directory have the same key of hashes, deliveries and files go on
// from run to run without a gap, and how far they go, and where they begin, the
// archive knows ([Index.Through], [Index.NewestFile], [Index.First]).
//
// A term is an attribute and a value: SipHash-2-4 over the attribute's byte and
// the value. The key is random, and the same in all runs of a directory; nobody who chooses values (names, ids) can make them
// collide. The accounts and Regions of events are attributes like the others.
package index

import (
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/keyreeve/keyreeve/internal/durable"
)

// Errors of this package. The text of those that wrap [ErrDamaged] says which
// file it is and what is wrong with it.
var (
	// ErrDamaged means that a run is not as it was written.
	ErrDamaged = errors.New("damaged index run")
	// ErrClosed is returned by an Index that was closed.
	ErrClosed = errors.New("index is closed")
	// ErrOrder means that a delivery is not newer than those that are there.
	ErrOrder = errors.New("delivery out of order")
	// ErrTooLarge means that an event lies beyond what a run can express:
	// 4 GiB in a segment or a file, 2^30 events in a run.
	ErrTooLarge = errors.New("too large for an index run")
)

// Options are the settings of an [Index].
type Options struct {
	// Dir is where the runs are. It is created if need be.
	Dir string

	// Box seals the keys of runs. Required. Both must be open while the index is.
	Box Box

	// FanOut is how many adjacent runs of a level are merged into one of the
	// next; 0 means 10.
	FanOut int

	// MaxRows is how many events a merged run has at most; 0 means 8 million.
	// Merging needs four bytes of memory for each.
	MaxRows int

	// FirstFile is the number that the first file of all gets, in an index that
	// is begun in place of one that was lost; 0 means 1.
	FirstFile uint64

	// Logger gets what happens to the index itself; nil means nothing does.
	Logger *slog.Logger
}

// maxLevel is the level whose runs are not merged any more: with the usual
// fan-out, a thousand deliveries, which are three and a half days.
const maxLevel = 3

// Index is the set of runs in a directory. Its methods may be called by many
// goroutines at once, but there is one who delivers and merges.
type Index struct {
	dir     string
	box     Box
	fanOut  int
	maxRows int
	logger  *slog.Logger
	key     hashKey
	first   uint64 // Options.FirstFile

	// work is held by who changes the directory.
	work sync.Mutex

	mu      sync.Mutex
	closed  bool
	damaged bool   // has been noticed
	runs    []*run // oldest first; replaced, never changed
	horizon int64  // events before it are expired
}

// Open opens the index in a directory, and removes what an interrupted
// delivery or merge has left there. A run that can't be opened, and one that was
// found damaged before, when it was searched, is an error that wraps
// [ErrDamaged]: nothing is searched by leaving some of it out silently. The
// archive's files have all that is needed to make the index anew.
func Open(o Options) (*Index, error) {
	x := &Index{
		dir:     o.Dir,
		box:     o.Box,
		fanOut:  max(cmp.Or(o.FanOut, 10), 2),
		maxRows: cmp.Or(o.MaxRows, 8_000_000),
		logger:  o.Logger,
		first:   max(o.FirstFile, 1),
	}
	if x.logger == nil {
		x.logger = slog.New(slog.DiscardHandler)
	}
	if x.box == nil {
		return nil, errors.New("opening audit index: there is nothing to seal keys with")
	}
	if err := x.open(); err != nil {
		return nil, fmt.Errorf("opening audit index: %w", err)
	}
	return x, nil
}

func (x *Index) open() (err error) {
	if err := os.MkdirAll(x.dir, 0o700); err != nil {
		return err
	}
	switch text, err := os.ReadFile(filepath.Join(x.dir, marker)); {
	case err == nil:
		return damaged(x.dir, "%.1000s", text)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	names, err := x.sweep()
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			for _, r := range x.runs {
				r.release()
			}
		}
	}()
	for _, name := range names {
		r, err := openRun(filepath.Join(x.dir, name), x.box)
		if err != nil {
			return err
		}
		x.runs = append(x.runs, r)
		if n := len(x.runs); n > 1 {
			if err := r.follows(x.runs[n-2]); err != nil {
				return err
			}
		}
	}
	if n := len(x.runs); n > 0 {
		x.key = x.runs[n-1].key
		return nil
	}
	_, err = rand.Read(x.key[:])
	return err
}

// follows says why a run does not go on from another.
func (r *run) follows(before *run) error {
	switch {
	case r.key != before.key:
		return damaged(r.path, "it is of another index than the run before it")
	case r.first != before.last+1:
		return damaged(r.path, "the deliveries from %d to %d are missing before it", before.last+1, r.first-1)
	case r.firstFile != before.firstFile+uint64(before.files), r.through <= before.through:
		return damaged(r.path, "it does not go on from the run before it")
	}
	return nil
}

// sweep returns the names of the runs that count, oldest first. It removes
// temporary files, and runs that were merged into another.
func (x *Index) sweep() ([]string, error) {
	entries, err := os.ReadDir(x.dir)
	if err != nil {
		return nil, err
	}
	type span struct {
		name        string
		first, last uint64
	}
	var spans []span
	removed := false
	remove := func(name string) error {
		removed = true
		x.logger.Info("removing what an interrupted delivery or merge has left in the audit index", "file", name)
		return os.Remove(filepath.Join(x.dir, name))
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), temporary) {
			if err := remove(e.Name()); err != nil {
				return nil, err
			}
		} else if first, last, ok := parseRunName(e.Name()); ok {
			spans = append(spans, span{e.Name(), first, last})
		}
	}
	// Of two that begin together, the longer first; the others in it follow.
	slices.SortFunc(spans, func(a, b span) int {
		return cmp.Or(cmp.Compare(a.first, b.first), cmp.Compare(b.last, a.last))
	})
	var names []string
	var end uint64
	for _, s := range spans {
		switch {
		case len(names) > 0 && s.last <= end:
			if err := remove(s.name); err != nil {
				return nil, err
			}
			continue
		case len(names) > 0 && s.first <= end:
			return nil, fmt.Errorf("%w: %s overlaps with %s", ErrDamaged, s.name, names[len(names)-1])
		}
		names, end = append(names, s.name), s.last
	}
	if removed {
		err = durable.SyncDir(x.dir)
	}
	return names, err
}

// marker is the name of a file that says what is damaged.
const marker = "damaged"

// noticed passes an error on. If it tells of damage, the index will not be
// opened again as it is.
func (x *Index) noticed(err error) error {
	if err == nil || !errors.Is(err, ErrDamaged) {
		return err
	}
	x.mu.Lock()
	first := !x.damaged
	x.damaged = true
	x.mu.Unlock()
	if first {
		x.logger.Error("the audit index is damaged; searches fail until it is made anew, at the next start", "error", err)
		if err := durable.Replace(filepath.Join(x.dir, marker), []byte(err.Error()), 0o600); err != nil {
			x.logger.Error("the damage of the audit index can't be noted", "error", err)
		}
	}
	return err
}

// temporary begins the names of files that are being written.
const temporary = ".new-"

func runName(first, last uint64) string { return fmt.Sprintf("%010d-%010d.run", first, last) }

// parseRunName undoes runName.
func parseRunName(name string) (first, last uint64, ok bool) {
	stem, ok := strings.CutSuffix(name, ".run")
	a, b, found := strings.Cut(stem, "-")
	if !ok || !found {
		return 0, 0, false
	}
	first, err := strconv.ParseUint(a, 10, 64)
	if err != nil {
		return 0, 0, false
	}
	last, err = strconv.ParseUint(b, 10, 64)
	if err != nil || first == 0 || first > last || runName(first, last) != name {
		return 0, 0, false
	}
	return first, last, true
}

// Close closes the index. Searches that run are finished.
func (x *Index) Close() error {
	x.work.Lock()
	defer x.work.Unlock()
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.closed {
		return ErrClosed
	}
	x.closed = true
	for _, r := range x.runs {
		r.release()
	}
	return nil
}

// acquire returns the runs, oldest first, which stay open until release is
// called, and the time before which events are expired.
func (x *Index) acquire() (runs []*run, horizon int64, release func(), err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.closed {
		return nil, 0, nil, ErrClosed
	}
	runs = x.runs
	for _, r := range runs {
		r.retain()
	}
	return runs, x.horizon, func() {
		for _, r := range runs {
			r.release()
		}
	}, nil
}

// replace puts by in the place of the runs [from:to], whose files it removes.
// The caller has work. Removing them is no part of the change: at worst, Open
// does it.
func (x *Index) replace(from, to int, by ...*run) {
	x.mu.Lock()
	old := x.runs[from:to]
	x.runs = slices.Concat(x.runs[:from], by, x.runs[to:])
	x.mu.Unlock()
	for _, r := range old {
		if err := os.Remove(r.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			x.logger.Warn("a run of the audit index can't be removed", "file", r.path, "error", err)
		}
		r.release()
	}
	if len(old) > 0 {
		if err := durable.SyncDir(x.dir); err != nil {
			x.logger.Warn("the directory of the audit index can't be synced", "error", err)
		}
	}
}

// Through returns the number of the newest segment of the journal that is
// delivered; 0 if none is. All segments before it are
// delivered, too.
func (x *Index) Through() uint64 {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.throughLocked()
}

func (x *Index) throughLocked() uint64 {
	if len(x.runs) == 0 {
		return 0
	}
	return x.runs[len(x.runs)-1].through
}

// First returns the number of the first delivery that the index tells of; 0 if
// there is none.
func (x *Index) First() uint64 {
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.runs) == 0 {
		return 0
	}
	return x.runs[0].first
}

// FirstFrom returns what [Index.First] will return once [Index.Expire] has
// forgotten what is older than a time. Whoever keeps it before can tell runs that
// were taken away from those that expired.
func (x *Index) FirstFrom(before time.Time) uint64 {
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.runs) == 0 {
		return 0
	}
	return x.runs[x.expiredLocked(max(x.horizon, before.Unix()))].first
}

// expiredLocked returns how many runs have nothing that is not older than the
// horizon. The newest is none of them.
func (x *Index) expiredLocked(horizon int64) (n int) {
	for n < len(x.runs)-1 && (x.runs[n].rows == 0 || x.runs[n].newest < horizon) {
		n++
	}
	return n
}

// Stats tells how large the index is.
type Stats struct {
	Runs   int
	Events int
	Files  int
	Bytes  int64

	// Damaged says that a run was found damaged since the index was opened.
	Damaged bool

	Oldest time.Time // of the oldest event that is not expired; zero if there is none
}

// Stats returns how large the index is.
func (x *Index) Stats() Stats {
	x.mu.Lock()
	defer x.mu.Unlock()
	s := Stats{Runs: len(x.runs), Damaged: x.damaged}
	for _, r := range x.runs {
		s.Events += r.rows
		s.Files += r.files
		s.Bytes += r.size
		if oldest := max(r.oldest, x.horizon); r.rows > 0 && r.newest >= x.horizon && (s.Oldest.IsZero() || oldest < s.Oldest.Unix()) {
			s.Oldest = time.Unix(oldest, 0).UTC()
		}
	}
	return s
}

// Expire forgets what is older than before: no search finds it any more, and
// runs of which nothing is left are removed, except the newest, which holds
// what has been delivered. Whoever removes files calls it first, at each start
// as well; a file whose newest event is older than before can then go.
func (x *Index) Expire(before time.Time) {
	x.work.Lock()
	defer x.work.Unlock()
	x.mu.Lock()
	x.horizon = max(x.horizon, before.Unix())
	n := x.expiredLocked(x.horizon)
	closed := x.closed
	x.mu.Unlock()
	if n > 0 && !closed {
		x.replace(0, n)
	}
}
