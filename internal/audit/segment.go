package audit

import (
	"bytes"
	"errors"
	"fmt"
	"io"
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
	// recover removes what follows the last complete write of a file, and makes
	// sure that the rest is on the disk. Of a segment that no write was completed
	// in, it removes the file. What is no segment is left as it is.
	recover(path string) (recovered, error)
	// remove removes a file, durably.
	remove(path string) error
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

// recovered is what [disk.recover] has found.
type recovered struct {
	size    int64 // 0 if there was nothing to be kept
	cut     int64 // bytes that were removed
	tag     Tag   // of the last write
	foreign bool  // it is no segment of a journal
}

func (d osDisk) recover(path string) (_ recovered, err error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return recovered{}, err
	}
	defer func() {
		if f != nil {
			err = errors.Join(err, f.Close())
		}
	}()
	info, err := f.Stat()
	if err != nil {
		return recovered{}, err
	}
	r := recovered{size: info.Size()}
	end, tag, err := covered(f, r.size)
	if err != nil {
		return recovered{}, err
	}
	if end == 0 {
		first, err := firstLine(f)
		if err != nil {
			return recovered{}, err
		}
		if len(first) > 0 {
			if _, err := parseHeader(first); err != nil {
				r.foreign = true
				return r, nil
			}
		}
		// The process, or the machine, ended while the segment was begun.
		err, f = f.Close(), nil
		return recovered{cut: r.size}, errors.Join(err, d.remove(path))
	}
	r.cut, r.size, r.tag = r.size-end, end, tag
	if r.cut > 0 {
		if err := f.Truncate(r.size); err != nil {
			return recovered{}, fmt.Errorf("removing a torn write: %w", err)
		}
	}
	// What a process that was killed has acknowledged may not be on the disk.
	return r, f.Sync()
}

func (osDisk) free(dir string) (int64, bool) { return durable.Free(dir) }

func (osDisk) remove(path string) error {
	if err := os.Remove(path); err != nil {
		return err
	}
	return durable.SyncDir(filepath.Dir(path))
}

// firstLine returns the first line of a segment with its newline; nothing if it
// has none, or one that is too long for a header and begins as none.
func firstLine(r io.ReaderAt) ([]byte, error) {
	buf := make([]byte, maxHeader)
	n, err := r.ReadAt(buf, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if i := bytes.IndexByte(buf[:n], '\n'); i >= 0 {
		return buf[:i+1], nil
	}
	if n == len(buf) && bytes.HasPrefix(buf, []byte("{")) {
		return buf, nil
	}
	return nil, nil
}

// covered returns where the last closing line of the first size bytes ends, and
// its tag; 0 if there is none. Only writes that were cut off come after it.
func covered(r io.ReaderAt, size int64) (int64, Tag, error) {
	const chunk = 64 << 10
	buf := make([]byte, chunk+closingSize)
	for end := size; end > 0; end -= min(end, chunk) {
		// A line that begins in the chunk may end after it.
		start := max(0, end-chunk)
		part := buf[:min(size, end+int64(closingSize))-start]
		if _, err := r.ReadAt(part, start); err != nil {
			return 0, Tag{}, err
		}
		for search := part; ; {
			i := bytes.LastIndex(search, []byte("\n"+closingSet))
			if i < 0 {
				break
			}
			if line := part[i+1:]; len(line) >= closingSize {
				if tag, ok := parseClosing(line[:closingSize]); ok {
					return start + int64(i+1+closingSize), tag, nil
				}
			}
			search = part[:i]
		}
	}
	return 0, Tag{}, nil
}

// tagAt returns the tag of the write that ends at offset; false if none does.
func tagAt(path string, offset int64) (Tag, bool) {
	f, err := os.Open(path)
	if err != nil {
		return Tag{}, false
	}
	defer func() { _ = f.Close() }() // it was only read
	if offset <= int64(closingSize) {
		return Tag{}, false
	}
	line := make([]byte, 1+closingSize) // with the end of the line before: there is one, the header
	if _, err := f.ReadAt(line, offset-int64(len(line))); err != nil || line[0] != '\n' {
		return Tag{}, false
	}
	return parseClosing(line[1:])
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
	if err != nil || day < 0 || segmentName(day, int(n)) != name {
		return 0, 0, false
	}
	return day, int(n), true
}

// segmentNumber returns the [Segment.Number] of a segment.
func segmentNumber(name string) uint64 {
	day, sequence, _ := parseSegment(name)
	return uint64(day)<<31 | uint64(sequence)
}

// compareSegments orders the names of segments by day and sequence.
func compareSegments(a, b string) int {
	// A sequence of more than six digits is longer, and later.
	if len(a) > len(time.DateOnly) && len(b) > len(time.DateOnly) && a[:len(time.DateOnly)] == b[:len(time.DateOnly)] && len(a) != len(b) {
		return len(a) - len(b)
	}
	return strings.Compare(a, b)
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
	slices.SortFunc(names, compareSegments)
	return names, nil
}

// unlock gives up a lock.
type unlock func() error
