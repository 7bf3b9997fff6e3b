package audit

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/keyreeve/keyreeve/internal/durable"
)

// A disk is where segments are kept; tests put one that fails in its place.
type disk interface {
	// makeDir creates a directory for the owner alone, durably.
	makeDir(dir string) error
	// create creates a file for appending, durably.
	create(path string) (file, error)
	// reopen opens a file for appending, after removing what follows its last
	// newline: cut bytes.
	reopen(path string) (f file, size, cut int64, err error)
	// free returns how many bytes can still be written; false if unknown.
	free(dir string) (int64, bool)
}

// A file is a segment that is open for appending.
type file interface {
	Write(p []byte) (int, error)
	Truncate(size int64) error
	Sync() error
	Close() error
}

// osDisk is the operating system's file system.
type osDisk struct{}

func (osDisk) makeDir(dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil // it may be a mount point in a parent that is not ours
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return durable.SyncDir(filepath.Dir(dir))
}

func (osDisk) create(path string) (file, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	if err := durable.SyncDir(filepath.Dir(path)); err != nil {
		return nil, errors.Join(err, f.Close(), os.Remove(path))
	}
	return f, nil
}

func (osDisk) reopen(path string) (_ file, size, cut int64, err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND, 0)
	if err != nil {
		return nil, 0, 0, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close())
		}
	}()
	info, err := f.Stat()
	if err != nil {
		return nil, 0, 0, err
	}
	if size, err = lastLine(f, info.Size()); err != nil {
		return nil, 0, 0, err
	}
	if cut = info.Size() - size; cut > 0 {
		if err := f.Truncate(size); err != nil {
			return nil, 0, 0, fmt.Errorf("removing a torn record: %w", err)
		}
	}
	// What a process that was killed has acknowledged may not be on the disk.
	if err := f.Sync(); err != nil {
		return nil, 0, 0, err
	}
	return f, size, cut, nil
}

// lastLine returns where the last complete line of the first size bytes ends.
func lastLine(r io.ReaderAt, size int64) (int64, error) {
	buf := make([]byte, 64<<10)
	for size > 0 {
		chunk := buf[:min(size, int64(len(buf)))]
		if _, err := r.ReadAt(chunk, size-int64(len(chunk))); err != nil {
			return 0, err
		}
		if i := bytes.LastIndexByte(chunk, '\n'); i >= 0 {
			return size - int64(len(chunk)) + int64(i) + 1, nil
		}
		size -= int64(len(chunk))
	}
	return 0, nil
}

// segmentName returns a name such as 2026-11-21-000001.jsonl, so that segments
// sort by day and sequence.
func segmentName(day int64, sequence int) string {
	return fmt.Sprintf("%s-%06d.jsonl", time.Unix(day*secondsPerDay, 0).UTC().Format(time.DateOnly), sequence)
}

// parseSegment undoes segmentName.
func parseSegment(name string) (day int64, sequence int, ok bool) {
	stem, isSegment := strings.CutSuffix(name, ".jsonl")
	if !isSegment || len(stem) < len("2006-01-02-000001") || stem[len(time.DateOnly)] != '-' {
		return 0, 0, false
	}
	date, err := time.Parse(time.DateOnly, stem[:len(time.DateOnly)])
	if err != nil {
		return 0, 0, false
	}
	n, err := strconv.ParseUint(stem[len(time.DateOnly)+1:], 10, 31)
	day = date.Unix() / secondsPerDay
	if err != nil || segmentName(day, int(n)) != name {
		return 0, 0, false
	}
	return day, int(n), true
}

// segments returns the names of the segments in dir, oldest first.
func segments(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if _, _, ok := parseSegment(e.Name()); ok {
			names = append(names, e.Name())
		}
	}
	slices.SortFunc(names, func(a, b string) int {
		// A sequence of more than six digits is longer, and later.
		if a[:len(time.DateOnly)] == b[:len(time.DateOnly)] && len(a) != len(b) {
			return len(a) - len(b)
		}
		return strings.Compare(a, b)
	})
	return names, nil
}

// Read iterates over the records in directory dir in the order in which they
// were appended, as JSON without the newline. What is yielded is valid until
// the next one. A line that is not JSON is yielded as an error, and the
// iteration goes on; the torn rest of a failed write is skipped. It may be used
// while a [Log] appends.
func Read(dir string) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		names, err := segments(dir)
		if err != nil {
			yield(nil, fmt.Errorf("reading audit log: %w", err))
			return
		}
		for _, name := range names {
			if !readSegment(filepath.Join(dir, name), yield) {
				return
			}
		}
	}
}

func readSegment(path string, yield func([]byte, error) bool) (more bool) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return true // removed since it was listed
	}
	if err != nil {
		return yield(nil, fmt.Errorf("reading audit log: %w", err))
	}
	defer func() { _ = f.Close() }() // it was only read
	r := bufio.NewReaderSize(f, 64<<10)
	var long []byte // a line that the reader's buffer does not hold
	for number := 1; ; {
		part, err := r.ReadSlice('\n')
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			long = append(long, part...)
			continue
		case errors.Is(err, io.EOF):
			return true
		case err != nil:
			return yield(nil, fmt.Errorf("reading audit log: %w", err))
		}
		line := part
		if len(long) > 0 {
			line = append(long, part...)
			long = long[:0]
		}
		line = line[:len(line)-1]
		if len(line) > 0 && line[0] == '{' && json.Valid(line) {
			more = yield(line, nil)
		} else {
			more = yield(nil, fmt.Errorf("audit log: %s:%d is not a record", path, number))
		}
		if !more {
			return false
		}
		number++
	}
}

// unlock gives up a lock.
type unlock func() error
