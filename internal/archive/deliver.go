package archive

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/keyreeve/keyreeve/internal/archive/index"
	"github.com/keyreeve/keyreeve/internal/audit"
	"github.com/keyreeve/keyreeve/internal/durable"
)

// Folders beside AWSLogs.
const (
	temporaryFolder = "tmp"     // files that are being written
	asideFolder     = "damaged" // segments with lines that are no records
)

// deliverSegments delivers the closed segments of the journal, the oldest
// first, and removes each from the journal once everything in it is safe
// elsewhere.
func (a *Archive) deliverSegments(ctx context.Context) error {
	segments, err := a.journal.Segments()
	if err != nil {
		return err
	}
	defer func() { a.lookAtWaiting(segments) }()
	var there []string // identities of the segments that are in the journal
	removable := true
	for i, s := range segments {
		if s.Open {
			break
		}
		identity, err := identify(filepath.Join(a.journal.Dir(), s.Name))
		if err != nil {
			return err
		}
		if !slices.Contains(a.head.Kept, identity) {
			number := s.Number
			if through := a.index.Through(); number <= through {
				a.damaged("%s is the name of a segment of the journal that was delivered before, and is not this one", s.Name)
				number = through + 1
			}
			if err := a.deliverSegment(ctx, s, number, identity, len(segments)-i > 2); err != nil {
				return fmt.Errorf("delivering %s: %w", s.Name, err)
			}
		}
		if removable {
			err := a.journal.Remove(s.Name)
			if err != nil && !errors.Is(err, audit.ErrNeeded) {
				return err
			}
			removable = err == nil // if it has to stay, so do those after it
		}
		if !removable {
			there = append(there, identity)
		}
	}
	a.head.Kept = there // stored with the next delivery
	return nil
}

// identify returns what tells a segment from any other: a hash of its
// beginning, which has a header with a random key, or at least a record.
func identify(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }() // it was only read
	h := sha256.New()
	if _, err := io.CopyN(h, f, 4<<10); err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)[:16]), nil
}

// lookAtWaiting notes what of the segments is not delivered.
func (a *Archive) lookAtWaiting(segments []audit.Segment) {
	var size int64
	var since time.Time
	through := a.index.Through()
	for _, s := range segments {
		if s.Number <= through {
			continue
		}
		size += s.Size
		if since.IsZero() {
			since = s.First
		}
	}
	a.count(func(st *Stats) { st.Waiting, st.WaitingSince = size, since })
}

// entry is where a record of a segment is, and its event in the index.
type entry struct {
	offset int64
	length uint32
	event  uint32
}

// contents is what a segment holds.
type contents struct {
	builder *index.Builder
	entries []entry // by group, and in each in the order of the segment
	groups  []group
	newest  time.Time // event time
	broken  int       // lines that are no records
}

// group is the records of one account and Region.
type group struct {
	pair
	from, to int // its entries
}

// deliverSegment writes the files of a segment. What it does is repeated as it
// was after a crash: the names of files come from what is in them, and the index
// run makes all of them count in one instant.
func (a *Archive) deliverSegment(ctx context.Context, s audit.Segment, number uint64, identity string, hurry bool) error {
	path := filepath.Join(a.journal.Dir(), s.Name)
	found, report, err := a.survey(ctx, s.Name)
	if err != nil {
		return err
	}
	if found.broken > 0 || len(report.Problems) > 0 {
		if err := a.setAside(path); err != nil {
			return err
		}
		a.damaged("%s: %d lines are no records; what is wrong with it: %v; the segment is kept in the folder %s", s.Name, found.broken, report.Problems, asideFolder)
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // it was only read
	d := &delivery{
		archive: a, segment: f, name: s.Name, number: number, hurry: hurry, contents: found,
		// A file is named after a minute that is not before any of its events.
		minute: found.newest.Add(time.Minute - 1).Truncate(time.Minute),
	}
	for _, g := range found.groups {
		if err := d.group(ctx, g.pair, found.entries[g.from:g.to]); err != nil {
			return err
		}
	}
	files, err := d.builder.Commit(number)
	if err != nil {
		return err
	}
	// From here on the segment is delivered, whatever comes.
	next := a.head
	for _, f := range files {
		next.Files, next.Chain = f.Number, extend(next.Chain, f)
	}
	a.arrived(files)
	next.Through, next.Kept = number, append(slices.Clone(next.Kept), identity)
	a.count(func(st *Stats) {
		st.Segments++
		st.Files += uint64(len(files))
		st.Records += uint64(len(found.entries))
		st.Discarded += uint64(found.broken)
		st.LastDelivery = a.now()
	})
	if len(files) > 0 {
		a.announce()
	}
	if err := a.saveHead(ctx, next); err != nil {
		a.head = next // the next one that is stored says it
		return err
	}
	return nil
}

// placeArriving places a log file of the delivery that goes on.
func (a *Archive) placeArriving(f LogFile, body []byte) error {
	a.placing.Lock()
	defer a.placing.Unlock()
	if err := a.place(f.Object, body); err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.arriving == nil {
		a.arriving = make(map[string]LogFile)
	}
	a.arriving[f.Object] = f
	return nil
}

// arrived notes the files of a delivery for the next digests.
func (a *Archive) arrived(files []index.File) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, f := range files {
		p := pair{f.Account, f.Region}
		a.pending[p] = append(a.pending[p], f)
	}
	a.stats.PendingDigest += len(files)
	clear(a.arriving)
}

// survey verifies a segment, and scans and groups its records.
func (a *Archive) survey(ctx context.Context, name string) (*contents, audit.Report, error) {
	// Usually the tags say that all is as it was written, and nothing else needs
	// to be looked at: then the segment is read once.
	s := a.newSurvey(name)
	report, err := a.journal.ReadSegment(name, func(e audit.Entry) error { return s.add(ctx, e) })
	if err != nil {
		return nil, report, err
	}
	if report.Genuine() {
		return s.group(), report, nil
	}
	s = a.newSurvey(name)
	for e, err := range audit.Entries(filepath.Join(a.journal.Dir(), name), 0) {
		if err != nil {
			var failed *fs.PathError
			if errors.As(err, &failed) {
				return nil, report, err
			}
			a.logger.Error("a line of the audit journal is no record", "error", err)
			s.broken++
			continue
		}
		if err := s.add(ctx, e); err != nil {
			return nil, report, err
		}
	}
	return s.group(), report, nil
}

// surveying is a survey that goes on.
type surveying struct {
	*contents
	archive *Archive
	name    string // of the segment

	unordered []entry
	groupOf   []uint32 // of each of those
	counts    []int    // by group
	numbers   map[whose]uint32
	last      whose // and its number
	lastGroup uint32
}

// whose is the account and Region of records, as they say them.
type whose struct{ account, region string }

func (a *Archive) newSurvey(name string) *surveying {
	return &surveying{
		contents: &contents{builder: a.index.NewBuilder()},
		archive:  a, name: name, numbers: make(map[whose]uint32),
	}
}

// add adds a line. It fails if the context has ended, or there are too many.
func (s *surveying) add(ctx context.Context, e audit.Entry) error {
	if len(s.unordered)%1024 == 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		runtime.Gosched()
	}
	var scanned index.Scanned
	err := index.ErrNotRecord
	if len(e.Record) <= maxRecord {
		scanned, err = s.builder.Scan(e.Record)
	}
	switch {
	case errors.Is(err, index.ErrNotRecord):
		s.archive.logger.Error("a line of the audit journal is no record", "segment", s.name, "offset", e.Offset)
		s.broken++
		return nil
	case err != nil:
		return err
	}
	s.unordered = append(s.unordered, entry{offset: e.Offset, length: uint32(len(e.Record)), event: uint32(scanned.Event)})
	if scanned.Time.After(s.newest) {
		s.newest = scanned.Time
	}
	if w := (whose{scanned.Account, scanned.Region}); len(s.groupOf) == 0 || w != s.last {
		n, ok := s.numbers[w]
		if !ok {
			n = s.number(s.archive.pairOf(w.account, w.region))
			s.numbers[w] = n
			s.counts = append(s.counts, make([]int, len(s.groups)-len(s.counts))...)
		}
		s.last, s.lastGroup = w, n
	}
	s.counts[s.lastGroup]++
	s.groupOf = append(s.groupOf, s.lastGroup)
	return nil
}

// group ends the survey.
func (s *surveying) group() *contents {
	c := s.contents
	next := 0
	for i := range c.groups {
		c.groups[i].from, c.groups[i].to = next, next
		next += s.counts[i]
	}
	c.entries = make([]entry, len(s.unordered))
	for i, e := range s.unordered {
		g := &c.groups[s.groupOf[i]]
		c.entries[g.to] = e
		g.to++
	}
	return c
}

// number returns the number of a group, which it makes if need be.
func (c *contents) number(p pair) uint32 {
	n := slices.IndexFunc(c.groups, func(g group) bool { return g.pair == p })
	if n < 0 {
		n = len(c.groups)
		c.groups = append(c.groups, group{pair: p})
	}
	return uint32(n)
}

// pairOf returns the account and Region that a record is filed under. What is
// in a record came from this program; what would not do as a folder's name all
// the same is filed under nobody.
func (a *Archive) pairOf(account, region string) pair {
	p := pair{account, region}
	if !isAccount(p.account) {
		p.account = NobodysAccount
	}
	if !isRegion(p.region) {
		p.region = a.region
	}
	return p
}

func isAccount(s string) bool {
	return len(s) == 12 && strings.Trim(s, "0123456789") == ""
}

func isRegion(s string) bool {
	return s != "" && len(s) <= 64 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

// delivery is the delivery of one segment.
type delivery struct {
	archive *Archive
	segment io.ReaderAt
	name    string
	number  uint64
	minute  time.Time
	hurry   bool
	*contents

	window []byte // bytes of the segment
	at     int64  // where they begin in it
	out    bytes.Buffer
}

// group writes the files of one account and Region.
func (d *delivery) group(ctx context.Context, p pair, entries []entry) error {
	a := d.archive
	scope := Scope{Account: p.account, Region: p.region}
	for part := 0; len(entries) > 0; part++ {
		d.out.Reset()
		a.writer.Reset(&d.out)
		file := d.builder.File(d.number, p.account, p.region)
		var id string
		unpaused := 0
		for len(entries) > 0 && (a.writer.Records() == 0 || a.writer.Size() < FileSize) {
			record, err := d.read(entries)
			if err != nil {
				return err
			}
			if id == "" {
				id = d.fileID(p, part, record)
			}
			place, err := a.writer.Add(record)
			if err != nil {
				return err
			}
			if err := file.Place(index.Place{Offset: entries[0].offset, Block: place.Block, Start: place.Start}, int(entries[0].event)); err != nil {
				return err
			}
			entries = entries[1:]
			if unpaused += len(record); unpaused >= blockSize {
				if err := d.rest(ctx, unpaused); err != nil {
					return err
				}
				unpaused = 0
			}
		}
		size, hash, err := a.writer.Close()
		if err != nil {
			return err
		}
		object := scope.LogObject(d.minute, id)
		if err := a.placeArriving(LogFile{Bucket: BucketName, Object: object, Hash: hex.EncodeToString(hash[:])}, d.out.Bytes()); err != nil {
			return err
		}
		file.Close(object, size, hash)
		if err := d.rest(ctx, unpaused); err != nil {
			return err
		}
	}
	return nil
}

// rest lets others work.
func (d *delivery) rest(ctx context.Context, bytes int) error {
	if d.hurry {
		runtime.Gosched()
	} else {
		d.archive.pause(ctx, bytes)
	}
	return ctx.Err()
}

// halfTime waits for about as long as it takes to compress that many bytes.
func halfTime(ctx context.Context, bytes int) {
	const perSecond = 100 << 20
	wait := time.NewTimer(time.Duration(bytes) * time.Second / perSecond)
	defer wait.Stop()
	select {
	case <-ctx.Done():
	case <-wait.C:
	}
}

// Reading a segment group by group jumps. Records that lie close to each other
// are read together.
const (
	maxWindow = 256 << 10
	maxGap    = 4 << 10
)

// read returns the first record of the entries, which are of one group.
func (d *delivery) read(entries []entry) ([]byte, error) {
	first := entries[0]
	end := first.offset + int64(first.length)
	if first.offset < d.at || end > d.at+int64(len(d.window)) {
		for _, e := range entries[1:] {
			if e.offset-end > maxGap || e.offset+int64(e.length)-first.offset > maxWindow {
				break
			}
			end = e.offset + int64(e.length)
		}
		if n := int(end - first.offset); cap(d.window) < n {
			d.window = make([]byte, n, max(n, maxWindow))
		} else {
			d.window = d.window[:n]
		}
		d.at = first.offset
		if _, err := d.segment.ReadAt(d.window, d.at); err != nil {
			d.window = d.window[:0]
			return nil, err
		}
	}
	return d.window[first.offset-d.at:][:first.length], nil
}

// fileID returns the 16 letters and digits that end the name of a file. They
// are the same when it is written again, and those of no other file: a record
// has an id that no other has.
func (d *delivery) fileID(p pair, part int, first []byte) string {
	h := sha256.New()
	for _, s := range []string{d.name, p.account, p.region} {
		h.Write([]byte(s))
		h.Write([]byte{0})
	}
	var n [8]byte
	binary.BigEndian.PutUint64(n[:], uint64(part))
	h.Write(n[:])
	h.Write(first)
	var u big.Int
	text := u.SetBytes(h.Sum(nil)).Text(62)
	return strings.Repeat("0", max(0, 16-len(text))) + text[:min(16, len(text))]
}

// place writes a file of the archive: after a crash it is there whole or not at
// all. One that is there already is replaced.
func (a *Archive) place(object string, body []byte) (err error) {
	path := a.Path(object)
	defer func() {
		if err != nil {
			clear(a.made) // somebody may have removed a folder
		}
	}()
	if err := a.makeFolders(filepath.Dir(path)); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Join(a.dir, temporaryFolder), "file-*")
	if err != nil {
		return err
	}
	_, err = f.Write(body)
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return durable.SyncDir(filepath.Dir(path))
}

// maxMade bounds how many folders are remembered to be there.
const maxMade = 10_000

// makeFolders makes a folder of the archive and those above it, durably.
func (a *Archive) makeFolders(folder string) error {
	if a.made[folder] {
		return nil
	}
	if len(a.made) >= maxMade {
		clear(a.made)
	}
	if folder != a.dir {
		if err := a.makeFolders(filepath.Dir(folder)); err != nil {
			return err
		}
	}
	switch err := os.Mkdir(folder, 0o700); {
	case err == nil:
		if err := durable.SyncDir(filepath.Dir(folder)); err != nil {
			return err
		}
	case !errors.Is(err, fs.ErrExist):
		return err
	}
	a.made[folder] = true
	return nil
}

// emptyTemporary removes what was being written when the process ended.
func (a *Archive) emptyTemporary() error {
	dir := filepath.Join(a.dir, temporaryFolder)
	if err := os.MkdirAll(a.dir, 0o700); err != nil {
		return err
	}
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	return a.makeFolders(dir)
}

// setAside keeps a copy of a segment that will be removed from the journal.
func (a *Archive) setAside(path string) error {
	dir := filepath.Join(a.dir, asideFolder)
	if err := a.makeFolders(dir); err != nil {
		return err
	}
	kept := filepath.Join(dir, filepath.Base(path))
	switch err := os.Link(path, kept); {
	case err == nil, errors.Is(err, fs.ErrExist):
		return durable.SyncDir(dir)
	}
	// It may be on another file system.
	from, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = from.Close() }() // it was only read
	to, err := os.OpenFile(kept, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(to, from)
	if err == nil {
		err = to.Sync()
	}
	if err = errors.Join(err, to.Close()); err != nil {
		return err
	}
	return durable.SyncDir(dir)
}

// mergeIndex keeps the runs of the index few.
func (a *Archive) mergeIndex(ctx context.Context) error {
	for {
		if merged, err := a.index.Merge(ctx); err != nil || !merged {
			return err
		}
	}
}
