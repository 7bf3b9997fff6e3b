package audit

import (
	"context"
	"sync"
)

// Faults makes the file system below a Log fail; the zero value does not.
type Faults struct {
	Write    func(p []byte) (n int, err error) // n bytes are really written
	Truncate func() error
	Sync     func() error
	Create   func() error
	Free     func() int64

	mu sync.Mutex
}

// Set changes the faults while a Log uses them.
func (d *Faults) Set(change func(*Faults)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change(d)
}

func get[F any](d *Faults, field *F) F {
	d.mu.Lock()
	defer d.mu.Unlock()
	return *field
}

// OpenOn is Open on a file system that fails.
func OpenOn(dir string, o Options, d *Faults) (*Log, error) { return open(dir, o, faultyDisk{d: d}) }

// Flush is a turn of the flusher.
func (l *Log) Flush() { l.flush() }

type faultyDisk struct {
	osDisk
	d *Faults
}

func (f faultyDisk) create(path string) (file, error) {
	if fail := get(f.d, &f.d.Create); fail != nil {
		if err := fail(); err != nil {
			return nil, err
		}
	}
	real, err := f.osDisk.create(path)
	if err != nil {
		return nil, err
	}
	return faultyFile{real, f.d}, nil
}

func (f faultyDisk) free(dir string) (int64, bool) {
	if free := get(f.d, &f.d.Free); free != nil {
		return free(), true
	}
	return f.osDisk.free(dir)
}

type faultyFile struct {
	file
	d *Faults
}

func (f faultyFile) Write(p []byte) (int, error) {
	if fail := get(f.d, &f.d.Write); fail != nil {
		n, err := fail(p)
		if _, e := f.file.Write(p[:n]); e != nil {
			return 0, e
		}
		return n, err
	}
	return f.file.Write(p)
}

func (f faultyFile) Truncate(size int64) error {
	if fail := get(f.d, &f.d.Truncate); fail != nil {
		if err := fail(); err != nil {
			return err
		}
	}
	return f.file.Truncate(size)
}

func (f faultyFile) Sync() error {
	if fail := get(f.d, &f.d.Sync); fail != nil {
		if err := fail(); err != nil {
			return err
		}
	}
	return f.file.Sync()
}

// AppendUnfinished is appendUnfinished.
var AppendUnfinished = appendUnfinished

// Header is the header of the first segment of a log, closed.
func Header(segment string) []byte {
	b := appendHeader(nil, &header{Journal: journalVersion, Segment: segment})
	return appendClosing(b, newChain(nil, Tag{}).next(b))
}

// Closing is a line that closes a write, with a tag that is not right.
func Closing() string { return string(appendClosing(nil, Tag{1})) }

// IsClosing is parseClosing.
func IsClosing(line []byte) bool {
	_, ok := parseClosing(line)
	return ok
}

// TagOf returns a function that makes the tags of a segment, with a key or
// without.
func TagOf(key []byte) func(lines []byte) Tag {
	c := newChain(key, Tag{})
	return func(lines []byte) Tag {
		c.tag = c.next(lines)
		return c.tag
	}
}

// KeepHead is a turn of Keep.
func (l *Log) KeepHead(ctx context.Context) error { return l.keepHead(ctx) }

// ParseHeader parses a header, and returns what makes the same one.
func ParseHeader(line []byte) ([]byte, error) {
	h, err := parseHeader(line)
	if err != nil {
		return nil, err
	}
	return appendHeader(nil, h), nil
}

// EventID and EventTime are what settlement and [Log.Segments] look at.
var (
	EventID   = eventID
	EventTime = eventTime
)

// SetAwaited sets how much of a log Attach looks through.
func (l *Log) SetAwaited(size int64) { l.awaited = size }

// AppendSince and SinceOf make, and read, the first line of a note.
var (
	AppendSince = appendSince
	SinceOf     = sinceOf
)
