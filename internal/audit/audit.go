// Package audit appends CloudTrail records and never loses one silently.
//
// A [Log] is opened on a directory; [Log.Append] writes the record of one call
// and returns once the operating system has it. The caller of Append holds its
// answer back until then, and gives an error instead of the answer if Append
// fails, so no call is answered without its record. Records of calls that
// change something (and with [Options.Sync] all records) are on the disk, not
// only with the operating system, before Append returns. [Log.AppendEvent] is
// for what is no call. A call that touches what another account owns has a record
// for each account, in one write. What CloudTrail has no record of is for the
// [SecurityLog].
//
// The directory holds segments, one JSON record a line, in the order of their
// names:
//
//	2026-11-21-000001.jsonl   a header, then writes
//	2026-11-21-000002.jsonl   …
//	lock                      held while a Log is open
//
// What is written at once is some records and a line that closes them:
//
//	{"journal":1,"segment":"2026-11-21-000002.jsonl","previous":"2026-11-21-000001.jsonl",
//	 "previousSize":…,"previousTag":"…","key":"…"}\n     the header, on one line
//	{"tag":"…"}\n                                       closes it
//	{"eventVersion":"1.11",…}\n
//	{"eventVersion":"1.11",…}\n
//	{"tag":"…"}\n                                       closes these two
//
// A tag is the first 16 bytes, in base64url, of the HMAC-SHA-256 of the tag
// before it (in a header's, of previousTag, or zeros) and the lines that it
// closes. Each segment has a random key of its own, which stands in its header,
// sealed. While the log is given no [Box] ([Log.Protect]) there is no key, and
// the tags are of SHA-256 alone: whoever can write to the directory can make
// them too, until the header of the next segment with a key, which holds the
// last of them. So nothing between two tags can be changed, taken out, put in or
// moved without [Log.Verify] telling where; and the newest tag, which the
// [Vault] has, tells that the end is not missing.
//
// A segment is closed when it is [Options.SegmentAge] old or has reached
// [Options.SegmentSize], with the day, and with the process: one that was
// begun by another process is never written to. Bytes after a segment's last
// closing line are the rest of a write that failed or was cut off by a crash:
// never acknowledged, removed as soon as possible, and skipped by readers.
// [Read] iterates over the records of a directory, [Entries] over those of a
// segment.
//
// Closed segments are removed by [Log.Remove], once somebody has made something
// better of them.
package audit

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/seal"
)

// Errors that a [Log] returns, beside those of the file system, which it wraps.
var (
	// ErrClosed is returned by a Log that was closed.
	ErrClosed = errors.New("audit: log is closed")
	// ErrReserve is returned by [Log.Err] while the free space of the disk is
	// below [Options.Reserve]. Append still works.
	ErrReserve = errors.New("audit: little disk space is left")
	// ErrLast is returned instead while it is below a quarter of that: what is
	// left is for the operator, and for what must be written whoever calls, such
	// as the records of calls that run. Append still works.
	ErrLast = errors.New("audit: hardly any disk space is left")
	// ErrInUse is returned by [Open] if another Log has the directory open.
	ErrInUse = errors.New("audit: directory is in use by another process")
)

// Options are the settings of a [Log]. The zero value is good.
type Options struct {
	// Sync makes Append wait until every record is on the disk, not only
	// those of calls that change something.
	Sync bool

	// SegmentSize is the size in bytes at which a new segment is begun; 0
	// means 256 MiB.
	SegmentSize int64

	// SegmentAge is how old a segment with records becomes; 0 means five
	// minutes, negative means any age. It is looked at every FlushEvery.
	SegmentAge time.Duration

	// FlushEvery is how often records that nobody waits for are put on the
	// disk, and how often a failed log is tried again; 0 means one second.
	FlushEvery time.Duration

	// Reserve is the free disk space in bytes below which [Log.Err] reports
	// [ErrReserve], so that new calls can be refused while there is still
	// space for the records of those that run; 0 means 64 MiB, negative
	// means none. Below a quarter of it, it reports [ErrLast].
	Reserve int64

	// Now is the clock by which segments get old; time.Now if nil.
	Now func() time.Time

	// Memory is how many records a log in memory keeps; 0 means 1,024.
	Memory int

	// Security gets the calls that CloudTrail has no record of; nil means
	// nothing does.
	Security *SecurityLog

	// Logger gets what happens to the log itself; nil means nothing does.
	Logger *slog.Logger
}

// Log is an audit log that is open for appending. Its methods may be called by
// many goroutines at once.
type Log struct {
	dir         string
	always      bool // Options.Sync
	segmentSize int64
	segmentAge  time.Duration
	reserve     int64
	now         func() time.Time
	logger      *slog.Logger
	security    *SecurityLog // nil if there is none
	disk        disk
	memory      *ring  // instead of files; nil if there are files
	lock        unlock // of the directory

	stop chan struct{} // closed to end the flusher
	done sync.WaitGroup

	failure  atomic.Pointer[error] // nil while appending works
	lowSpace atomic.Pointer[error] // ErrReserve or ErrLast; nil while there is space
	cut      atomic.Bool           // the segment that is open is to be closed

	box   atomic.Pointer[Box] // seals the keys of segments; nil if they have none
	slots slots               // of intents

	// keeping is held while the vault is changed, and segments are removed.
	keeping  sync.Mutex
	vault    Vault  // nil if there is none
	attached bool   // there is one, or was
	removed  string // the newest segment that was removed
	awaited  int64  // maxAwaited, but for tests
	kept     Head   // what the vault has

	// mu is held for moments, never during a system call.
	mu        sync.Mutex
	idle      sync.Cond // writing became false
	closed    bool
	writing   bool             // one goroutine is the writer
	next      *batch           // records that wait for the writer; nil for none
	written   uint64           // bytes written, over all segments
	synced    uint64           // how many of them need no fsync any more
	syncing   chan struct{}    // closed at the end of the fsync that runs; nil if none does
	epoch     uint64           // counts the segments given up after a failed fsync
	lost      error            // why the last one was
	abandoned bool             // file is one of them
	owed      []byte           // records of calls that were refused because they could not be written
	owedLast  int64            // time of the latest of those, in Unix seconds
	dropped   int              // such records that found no more space in owed
	file      file             // changed by the writer alone, under mu; nil if no segment is open
	beginning string           // the segment that is being begun, and is not open yet; empty if none is
	at        Head             // the end of what is written
	durable   Head             // the end of what is known to be on the disk
	first     int64            // time of the first record of the segment that is open, in Unix seconds; 0 if it has none
	since     time.Time        // when its first record was written; the zero time if it has none
	firsts    map[string]int64 // likewise of the others, as far as somebody has asked
	problems  []Problem

	// The rest belongs to the writer.
	chain     *chain // of the segment that is open, or was open last
	name      string // of that segment
	size      int64  // of its acknowledged writes
	used      bool   // it has records
	day       int64  // days since 1970
	sequence  int    // within the day
	replace   bool   // no more records may be added to it
	putEpoch  uint64 // epoch of the newest record
	unchecked int64  // bytes written since the free space was looked at
}

// maxOwed is how many bytes of records are kept for when the disk works again.
const maxOwed = 1 << 20

// Open opens the log in directory dir, which it creates if need be, and
// removes the torn rest of a record that a crash may have left behind. An
// empty dir means a log that keeps the newest records in memory only.
// [ErrInUse] means that another process has the directory open.
func Open(dir string, o Options) (*Log, error) { return open(dir, o, osDisk{}) }

func open(dir string, o Options, d disk) (*Log, error) {
	l := &Log{
		dir:         dir,
		always:      o.Sync,
		segmentSize: cmp.Or(o.SegmentSize, 256<<20),
		segmentAge:  cmp.Or(o.SegmentAge, 5*time.Minute),
		reserve:     cmp.Or(o.Reserve, 64<<20),
		now:         o.Now,
		logger:      o.Logger,
		security:    o.Security,
		disk:        d,
		awaited:     maxAwaited,
		stop:        make(chan struct{}),
		firsts:      map[string]int64{},
		chain:       newChain(nil, Tag{}),
	}
	if l.now == nil {
		l.now = time.Now
	}
	l.idle.L = &l.mu
	if l.logger == nil {
		l.logger = slog.New(slog.DiscardHandler)
	}
	if dir == "" {
		l.memory = newRing(cmp.Or(o.Memory, 1024))
		return l, nil
	}
	if err := d.makeDir(dir); err != nil {
		return nil, fmt.Errorf("creating audit directory: %w", err)
	}
	var err error
	if l.lock, err = lockDir(dir); err != nil {
		return nil, fmt.Errorf("locking audit directory: %w", err)
	}
	if err := l.recover(); err != nil {
		return nil, errors.Join(fmt.Errorf("opening audit log: %w", err), l.lock())
	}
	l.checkSpace()
	every := cmp.Or(o.FlushEvery, time.Second)
	l.done.Go(func() { l.flusher(every) })
	return l, nil
}

// recover goes on from the newest segment, after removing what follows its last
// complete write. It is not written to any more: nobody knows its key yet.
func (l *Log) recover() error {
	names, err := segments(l.dir)
	if err != nil {
		return err
	}
	for _, name := range slices.Backward(names) {
		if l.sequence == 0 {
			l.day, l.sequence, _ = parseSegment(name)
		}
		r, err := l.disk.recover(filepath.Join(l.dir, name))
		if err != nil {
			return err
		}
		if r.cut > 0 {
			l.logger.Warn("audit log ended in the middle of a write, which was never acknowledged; removed it",
				"segment", name, "bytes", r.cut)
		}
		switch {
		case r.foreign:
			l.logger.Error("a file in the audit directory is no segment of the journal; it is left as it is", "segment", name)
		case r.size == 0:
			continue // there was nothing in it
		}
		l.name, l.size, l.chain = name, r.size, newChain(nil, r.tag)
		l.at = Head{Segment: name, Size: r.size, Tag: r.tag}
		l.durable = l.at
		break
	}
	return nil
}

// Append appends the record of c. When it returns nil the record survives the
// end of this process, and for a call that changes something (or with
// [Options.Sync]) also that of the machine. On an error the record does not
// count, the caller must answer c with an error, and the record is written
// later if that becomes possible.
//
// The caller of c must be authenticated: what strangers send must not be able
// to fill the log.
func (l *Log) Append(c *call.Call) error {
	buf := buffers.Get().(*[]byte)
	defer func() {
		if cap(*buf) <= maxPooled {
			buffers.Put(buf)
		}
	}()
	i, _ := c.Intent.(*Intent)
	if i != nil {
		defer i.Leave() // if this panics
	}
	if unrecorded(c) {
		l.security.Note(c, c.Caller.AccessKeyID)
		return nil
	}
	*buf = appendRecords((*buf)[:0], c)
	if l.memory != nil {
		return l.memory.add(*buf)
	}
	*buf = slices.Grow(*buf, closingSize) // for put
	durable := l.always || c.Operation != nil && !c.Operation.ReadOnly
	err := l.add(*buf, c.Time.Unix(), durable)
	if i != nil {
		i.ended(err)
	}
	if err != nil {
		return fmt.Errorf("audit: recording a call: %w", err)
	}
	return nil
}

const secondsPerDay = 24 * 60 * 60

// maxPooled is the capacity above which a buffer is not kept for later.
const maxPooled = 128 << 10

var buffers = sync.Pool{New: func() any {
	b := make([]byte, 0, 2048)
	return &b
}}

// A batch is what one write system call writes for several callers of Append:
// those that came while another was writing. The one that began the batch
// writes it.
type batch struct {
	records []byte
	last    int64          // time of the latest of them, in Unix seconds
	ready   chan struct{}  // gets a value when its turn has come
	done    sync.WaitGroup // for those who did not begin it
	users   atomic.Int32   // goroutines that have not read the outcome yet

	// The outcome.
	pos, epoch uint64 // what settle needs
	err        error
}

var batches = sync.Pool{New: func() any { return &batch{ready: make(chan struct{}, 1)} }}

// outcome returns how writing b ended. Its caller forgets b.
func (b *batch) outcome() (pos, epoch uint64, err error) {
	pos, epoch, err = b.pos, b.epoch, b.err
	if b.users.Add(-1) == 0 && cap(b.records) <= maxPooled {
		b.records, b.last, b.err = b.records[:0], 0, nil
		batches.Put(b)
	}
	return pos, epoch, err
}

// join adds records to b, and keeps room for the line that closes them.
func (b *batch) join(records []byte, last int64) {
	b.records = slices.Grow(b.records, len(records)+closingSize)
	b.records = append(b.records, records...)
	b.last = max(b.last, last)
}

// add writes a record of a time in Unix seconds (or, as part of a batch, lets
// another goroutine write it) and waits for the fsync if durable.
//
// A goroutine that finds nobody writing writes at once, without a handoff.
// Those that come meanwhile gather in a batch, whose first becomes the next
// writer. So under load many records share a system call, and at rest one
// record costs one system call and a lock.
func (l *Log) add(record []byte, at int64, durable bool) error {
	l.mu.Lock()
	switch err := l.failure.Load(); {
	case l.closed:
		l.mu.Unlock()
		return ErrClosed
	case err != nil:
		// Nobody queues up now, so the flusher can become the writer.
		l.owe(record, at)
		l.mu.Unlock()
		return *err
	}
	var (
		pos, epoch uint64
		err        error
	)
	switch b := l.next; {
	case !l.writing:
		l.writing = true
		l.mu.Unlock()
		err = l.write(record, at)
		l.mu.Lock()
		pos, epoch = l.passOn(record, at, err)
		l.mu.Unlock()

	case b == nil:
		b = batches.Get().(*batch)
		b.join(record, at)
		b.users.Store(1)
		b.done.Add(1)
		l.next = b
		l.mu.Unlock()
		<-b.ready
		l.mu.Lock()
		l.next = nil // from here on nobody joins
		l.mu.Unlock()
		b.err = l.write(b.records, b.last)
		l.mu.Lock()
		b.pos, b.epoch = l.passOn(b.records, b.last, b.err)
		l.mu.Unlock()
		b.done.Done()
		pos, epoch, err = b.outcome()

	default:
		b.join(record, at)
		b.users.Add(1)
		l.mu.Unlock()
		b.done.Wait()
		pos, epoch, err = b.outcome()
	}
	if err != nil || !durable {
		return err
	}
	if err := l.settle(pos, epoch); err != nil {
		l.mu.Lock()
		l.owe(record, at)
		l.mu.Unlock()
		return err
	}
	return nil
}

// passOn ends the turn of the writer, who has tried to write records, and
// begins the next one's. It returns what settle needs. The caller holds mu.
func (l *Log) passOn(records []byte, last int64, err error) (pos, epoch uint64) {
	if err != nil {
		l.owe(records, last)
	} else {
		l.wrote(records)
	}
	if l.next != nil {
		l.next.ready <- struct{}{}
	} else {
		l.writing = false
		l.idle.Broadcast()
	}
	return l.written, l.putEpoch
}

// wrote notes that records were written. The caller is the writer, and holds mu.
func (l *Log) wrote(records []byte) {
	l.written += uint64(len(records))
	l.at.Segment, l.at.Size, l.at.Tag = l.name, l.size, l.chain.tag
	if l.since.IsZero() && len(records) > 0 {
		l.since = l.now()
		if at, ok := eventTime(records); ok {
			l.first = at.Unix()
		}
	}
}

// old reports whether the segment that is open has become as old as one may.
func (l *Log) old() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.segmentAge > 0 && !l.since.IsZero() && l.now().Sub(l.since) >= l.segmentAge
}

// write writes whole records at the end of the newest segment. The caller is
// the writer.
func (l *Log) write(records []byte, last int64) error {
	if err := l.failure.Load(); err != nil {
		return *err // the flusher tries again
	}
	return l.put(records, last/secondsPerDay)
}

// put writes whole records at the end of the newest segment, or of a new one
// if it is time for that, and closes them. After an error the segment ends where
// it did before, or is not used any more. The caller is the writer.
func (l *Log) put(records []byte, day int64) error {
	if l.file == nil || l.replace || l.cut.Load() || day > l.day || l.used && l.size+int64(len(records)) > l.segmentSize {
		if err := l.rotate(max(day, l.day)); err != nil {
			return l.fail(fmt.Errorf("beginning a new segment: %w", err))
		}
	}
	l.mu.Lock()
	l.putEpoch = l.epoch
	l.mu.Unlock()
	tag := l.chain.next(records)
	n, err := writeAll(l.file, appendClosing(records, tag))
	if err != nil {
		if cut := l.file.Truncate(l.size); cut != nil {
			l.replace = true
			err = errors.Join(err, fmt.Errorf("removing the torn rest: %w", cut))
		}
		l.checkSpace()
		return l.fail(err)
	}
	l.chain.tag = tag
	l.size += int64(n)
	l.used = l.used || len(records) > 0
	if l.unchecked += int64(n); l.unchecked > l.reserve/16 {
		l.unchecked = 0
		l.checkSpace()
	}
	return nil
}

func writeAll(f file, b []byte) (int, error) {
	n, err := f.Write(b)
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	return n, err
}

// rotate begins a new segment and finishes the one before. The caller is the
// writer.
func (l *Log) rotate(day int64) error {
	sequence := 1
	if day == l.day {
		sequence = l.sequence + 1
	}
	name := segmentName(day, sequence)
	path := filepath.Join(l.dir, name)
	l.begins(name)
	defer l.begins("")
	f, err := l.disk.create(path)
	if err != nil {
		return err
	}
	next, size, err := l.begin(f, name)
	if err != nil {
		// If it cannot be removed, the next has another name.
		l.day, l.sequence = day, sequence
		return errors.Join(err, f.Close(), l.disk.remove(path))
	}
	_ = l.finish(f, Head{Segment: name, Size: size, Tag: next.tag}) // what it fails with is said by Err
	l.name, l.size, l.day, l.sequence, l.chain, l.replace, l.used = name, size, day, sequence, next, false, false
	return nil
}

// begins says which segment is being begun.
func (l *Log) begins(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.beginning = name
}

// begin writes the header of a segment.
func (l *Log) begin(f file, name string) (*chain, int64, error) {
	h := header{Journal: journalVersion, Segment: name}
	if l.name != "" {
		h.Previous, h.PreviousSize, h.PreviousTag = l.name, l.size, l.chain.tag[:]
	}
	var key []byte
	if box := l.box.Load(); box != nil {
		key = make([]byte, keySize)
		defer clear(key)
		rand.Read(key)
		var err error
		switch h.Key, err = (*box).Seal(seal.Journals, keyAAD(name), key); {
		case errors.Is(err, seal.ErrSealed):
			key = nil // since a moment ago
		case err != nil:
			return nil, 0, fmt.Errorf("sealing a segment's key: %w", err)
		}
	}
	line := appendHeader(nil, &h)
	c := newChain(key, h.previousTag())
	tag := c.next(line)
	n, err := writeAll(f, appendClosing(line, tag))
	c.tag = tag
	return c, int64(n), err
}

// finish puts the segment that is open on the disk and closes it; next, which
// ends at end so far, is the open one then, or none is. The caller is the writer.
func (l *Log) finish(next file, end Head) error {
	l.mu.Lock()
	old, target, at := l.file, l.written, l.at
	l.mu.Unlock()
	var err error
	if old != nil {
		// From here on settle looks at the new segment only.
		err = old.Sync()
	}
	l.mu.Lock()
	switch {
	case l.abandoned || old == nil:
	case err != nil:
		l.giveUp(err)
	default:
		l.onDisk(target, at)
	}
	if old != nil {
		l.firsts[l.at.Segment] = l.first
	}
	l.file, l.abandoned, l.first, l.since = next, false, 0, time.Time{}
	if next != nil {
		l.at = end
	}
	l.cut.Store(false)
	l.idle.Broadcast()
	l.mu.Unlock()
	if old != nil {
		if err := old.Close(); err != nil {
			l.logger.Warn("closing a segment of the audit log", "error", err)
		}
	}
	return err
}

// onDisk notes that what was written up to target, where the log ended at, is on
// the disk. The caller holds mu.
func (l *Log) onDisk(target uint64, at Head) {
	if target >= l.synced {
		l.synced, l.durable = target, at
	}
}

// settle returns when what was written up to pos is on the disk. One goroutine
// runs the fsync for all that wait. It is not the writer, so that calls that
// need no fsync do not wait for one.
func (l *Log) settle(pos, epoch uint64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		switch {
		case l.epoch != epoch:
			return l.lost
		case l.synced >= pos:
			return nil
		case l.syncing != nil:
			running := l.syncing
			l.mu.Unlock()
			<-running
			l.mu.Lock()
			continue
		}
		running := make(chan struct{})
		l.syncing = running
		l.mu.Unlock()
		// Whoever can run now writes its record before the fsync and shares
		// it. Without this nobody would on a single core, whose thread is
		// not given away during a short fsync.
		runtime.Gosched()
		l.mu.Lock()
		f, target, at := l.file, l.written, l.at
		l.mu.Unlock()
		var err error
		if f != nil { // else all is on the disk
			err = f.Sync()
		}
		l.mu.Lock()
		l.syncing = nil
		close(running)
		switch {
		case l.epoch != epoch:
		case err == nil:
			l.onDisk(target, at)
		case l.synced < target: // else a rotation has synced and closed the file meanwhile
			l.giveUp(err)
		}
	}
}

// giveUp stops using a segment whose fsync has failed: the kernel may have
// dropped what it could not write, and a second fsync would not tell. The
// caller holds mu.
func (l *Log) giveUp(err error) {
	l.logger.Error("audit records may be missing after a failure of the machine: fsync failed",
		"bytes", l.written-l.synced, "error", err)
	l.epoch++
	l.abandoned = true
	l.synced = l.written
	err = fmt.Errorf("putting the audit log on the disk: %w", err)
	l.lost = err
	l.failure.Store(&err)
}

// fail makes the log refuse records until retry succeeds.
func (l *Log) fail(err error) error {
	if l.failure.Swap(&err) == nil {
		l.logger.Error("audit log fails; calls are refused", "error", err)
	}
	return err
}

// owe keeps records that could not be written for retry. The caller holds mu.
func (l *Log) owe(records []byte, last int64) {
	l.owedLast = max(l.owedLast, last)
	for line := range bytes.Lines(records) {
		if len(l.owed)+len(line) > maxOwed {
			l.dropped++
			continue
		}
		l.owed = append(l.owed, line...)
	}
}

// retry makes a failed log work again, if it can: it writes what is owed and
// waits for the disk to have it.
func (l *Log) retry() {
	l.mu.Lock()
	for l.writing {
		l.idle.Wait()
	}
	if l.failure.Load() == nil {
		l.mu.Unlock()
		return
	}
	l.writing = true
	l.replace = l.replace || l.abandoned
	owed, last, dropped := l.owed, l.owedLast, l.dropped
	l.owed, l.owedLast, l.dropped = nil, 0, 0
	l.mu.Unlock()

	err := l.put(owed, last/secondsPerDay)
	if err == nil {
		l.mu.Lock()
		l.wrote(owed)
		target, at := l.written, l.at
		l.mu.Unlock()
		owed, last = nil, 0
		if err = l.file.Sync(); err != nil {
			err = l.fail(err)
			l.replace = true
		} else {
			l.mu.Lock()
			l.onDisk(target, at)
			l.mu.Unlock()
			l.failure.Store(nil)
			l.logger.Info("audit log works again")
		}
	}
	if err == nil && dropped > 0 {
		l.logger.Error("records of calls that were refused while the audit log failed could not be kept", "records", dropped)
		dropped = 0
	}
	l.mu.Lock()
	l.owed, l.owedLast, l.dropped = append(owed, l.owed...), max(last, l.owedLast), dropped+l.dropped
	l.passOn(nil, 0, nil)
	l.mu.Unlock()
}

// flusher bounds what a failure of the machine can take to what was written
// since its last turn, and mends a log that fails.
func (l *Log) flusher(every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-l.stop:
			return
		case <-tick.C:
		}
		l.flush()
	}
}

func (l *Log) flush() {
	if l.failure.Load() != nil {
		l.retry()
		return
	}
	l.mu.Lock()
	pos, epoch, dirty := l.written, l.epoch, l.synced < l.written
	l.mu.Unlock()
	if dirty {
		_ = l.settle(pos, epoch) // giveUp has logged it and Err says it
	}
	if l.old() {
		_ = l.Cut() // likewise
	}
	l.checkSpace()
}

// lastPart is which part of the reserve is for the operator: who may call at all
// can have his calls denied, and recorded, for as long as he likes, those too that
// run on the reserve. The last of it he must not get at.
const lastPart = 4

// What lowSpace points to.
var errReserve, errLast = ErrReserve, ErrLast

// checkSpace updates lowSpace.
func (l *Log) checkSpace() {
	if l.reserve <= 0 {
		return
	}
	var low *error
	free, ok := l.disk.free(l.dir)
	switch {
	case ok && free < l.reserve/lastPart:
		low = &errLast
	case ok && free < l.reserve:
		low = &errReserve
	}
	switch was := l.lowSpace.Swap(low); {
	case low == was:
	case low == nil:
		l.logger.Info("the audit log has disk space again", "free", free)
	case low == &errLast:
		l.logger.Error("hardly any disk space is left for the audit log; all calls are refused but the operator's", "free", free, "reserve", l.reserve)
	case was == nil:
		l.logger.Error("little disk space is left for the audit log; calls are refused", "free", free, "reserve", l.reserve)
	}
}

// Err returns nil if a call may be run, as far as the log can know before it:
// else the error that makes Append fail, [ErrReserve] or [ErrLast]. It is cheap.
// A call that makes things safer may be run in spite of ErrReserve, and one of
// the operator's in spite of ErrLast, too.
func (l *Log) Err() error {
	if err := l.failure.Load(); err != nil {
		return fmt.Errorf("audit: %w", *err)
	}
	if low := l.lowSpace.Load(); low != nil {
		return *low
	}
	return nil
}

// Close waits for the records that are being appended, puts all on the disk and
// closes the log. It returns an error if that is not certain.
func (l *Log) Close() error {
	if l.memory != nil {
		return l.memory.close()
	}
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return ErrClosed
	}
	l.closed = true
	for l.writing {
		l.idle.Wait()
	}
	l.mu.Unlock()
	close(l.stop)
	l.done.Wait()
	l.retry()

	l.mu.Lock()
	f, target, at, missing := l.file, l.written, l.at, bytes.Count(l.owed, []byte{'\n'})+l.dropped
	l.mu.Unlock()
	var err error
	if failed := l.failure.Load(); failed != nil {
		err = fmt.Errorf("%d refused calls are not recorded: %w", missing, *failed)
	}
	if f != nil {
		failed := f.Sync()
		l.mu.Lock()
		if failed == nil {
			l.onDisk(target, at) // for goroutines in settle
		}
		l.mu.Unlock()
		err = errors.Join(err, failed, f.Close())
	}
	if err = errors.Join(err, l.lock()); err != nil {
		return fmt.Errorf("closing audit log: %w", err)
	}
	return nil
}

// Records iterates over the records of the log, oldest first, as JSON without
// the newline. A log in memory has the newest ones only. What is yielded is
// valid until the next record.
func (l *Log) Records() iter.Seq2[[]byte, error] {
	if l.memory != nil {
		return l.memory.records()
	}
	return Read(l.dir)
}
