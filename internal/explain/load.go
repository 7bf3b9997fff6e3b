package explain

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/keyreeve/keyreeve/policy"
)

// What a file may hold.
const (
	MaxLine  = 1 << 20 // bytes of a line
	MaxLines = 100_000 // lines

	maxFile    = 256 << 10 // bytes of a file that a case names
	maxFiles   = 1000      // files that cases name
	maxErrors  = 20        // mistakes that are told at once
	maxMembers = 1000      // of an object, and items of a list
	maxString  = 8192      // bytes of a string
	maxGrants  = 1000      // of a key
	maxLevels  = 7         // of an organization: its root, five of units, and the account
	maxID      = 100       // bytes of a case's id
)

// Load reads a file of cases: one a line, in JSON. The files that cases name are
// opened by open, which gets the path as it is written. The calls are made at
// now. The error lists the mistakes, each with the number of its line.
func Load(r io.Reader, open func(path string) (io.ReadCloser, error), now time.Time) ([]*Case, error) {
	l := loader{
		files: &files{open: open, now: now.UTC(), texts: make(map[string]string), compiled: make(map[content]*policy.Policy)},
		lines: make(map[string]int),
	}
	in := bufio.NewReaderSize(r, 64<<10)
	for n := 1; ; n++ {
		line, err := readLine(in)
		if err != nil && !errors.Is(err, io.EOF) {
			if errors.Is(err, errLong) {
				err = &lineError{n, err}
			}
			return nil, errors.Join(append(l.errs, err)...)
		}
		if n > MaxLines && (err == nil || len(line) > 0) {
			return nil, errors.Join(append(l.errs, fmt.Errorf("the file has more than %d lines", MaxLines))...)
		}
		if len(bytes.TrimSpace(line)) > 0 {
			if mistake := l.line(n, line); mistake != nil {
				l.errs = append(l.errs, &lineError{n, mistake})
			}
			if len(l.errs) == maxErrors {
				return nil, errors.Join(append(l.errs, errors.New("and perhaps more"))...)
			}
		}
		if err != nil {
			break
		}
	}
	if len(l.errs) > 0 {
		return nil, errors.Join(l.errs...)
	}
	if len(l.cases) == 0 {
		return nil, errors.New("there is no case in the file")
	}
	return l.cases, nil
}

// lineError is a mistake in a line.
type lineError struct {
	line int
	err  error
}

func (e *lineError) Error() string { return fmt.Sprintf("line %d: %v", e.line, e.err) }
func (e *lineError) Unwrap() error { return e.err }

var errLong = fmt.Errorf("longer than %d bytes", MaxLine)

// readLine returns the next line without its end. With the last one comes
// io.EOF.
func readLine(in *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := in.ReadSlice('\n')
		if len(line)+len(part) > MaxLine+1 {
			return nil, errLong
		}
		line = append(line, part...)
		if err == nil || !errors.Is(err, bufio.ErrBufferFull) {
			if err != nil && !errors.Is(err, io.EOF) {
				err = fmt.Errorf("reading: %w", err)
			}
			return bytes.TrimSuffix(line, []byte("\n")), err
		}
	}
}

// A loader reads the lines of one file.
type loader struct {
	files    *files
	defaults []member       // of the last line with defaults
	lines    map[string]int // of the cases, by id
	cases    []*Case
	errs     []error
}

// line reads one line: a case, or defaults for those that follow.
func (l *loader) line(n int, line []byte) error {
	if err := syntax(line); err != nil {
		return err
	}
	r := &reader{files: l.files}
	list := r.members(bytes.TrimSpace(line), "a case")
	if r.err != nil {
		return r.err
	}
	if len(list) == 1 && list[0].name == "defaults" {
		return l.setDefaults(list[0].raw)
	}
	given := make(map[string]bool, len(list))
	for _, m := range list {
		given[m.name] = true
	}
	for _, m := range l.defaults {
		if !given[m.name] {
			list = append(list, m)
		}
	}
	c := r.readCase(list)
	if r.err != nil {
		return r.err
	}
	if before := l.lines[c.ID]; before != 0 {
		return fmt.Errorf("id %s stands in line %d already", quote(c.ID), before)
	}
	l.lines[c.ID] = n
	c.Line = n
	l.cases = append(l.cases, c)
	return nil
}

// setDefaults sets what cases have that do not say otherwise. It replaces the
// defaults of before.
func (l *loader) setDefaults(raw json.RawMessage) error {
	r := &reader{files: l.files}
	list := r.members(raw, "defaults")
	if r.err != nil {
		return r.err
	}
	for _, m := range list {
		if m.name == "id" || m.name == "about" || m.name == "message" {
			return fmt.Errorf("%s is each case's own, and no default", m.name)
		}
	}
	if new(draft).read(r, "defaults", list); r.err != nil {
		return r.err
	}
	l.defaults = list
	return nil
}

// files is what the cases of a file share: the files that they name, each read
// once, and the policies, each compiled once.
type files struct {
	open     func(path string) (io.ReadCloser, error)
	now      time.Time
	texts    map[string]string
	compiled map[content]*policy.Policy
}

func (f *files) read(name string) (string, error) {
	if text, ok := f.texts[name]; ok {
		return text, nil
	}
	if len(f.texts) == maxFiles {
		return "", fmt.Errorf("the cases name more than %d files", maxFiles)
	}
	file, err := f.open(name)
	if err != nil {
		return "", fmt.Errorf("reading a policy: %w", err)
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err != nil {
		return "", fmt.Errorf("reading a policy: %w", err)
	}
	if len(text) > maxFile {
		return "", fmt.Errorf("%s is larger than %d KiB", quote(name), maxFile>>10)
	}
	f.texts[name] = string(text)
	return string(text), nil
}

// Beside opens files whose paths are relative to dir, for [Load].
func Beside(dir string) func(path string) (io.ReadCloser, error) {
	return func(path string) (io.ReadCloser, error) {
		path = filepath.FromSlash(path)
		if !filepath.IsAbs(path) {
			path = filepath.Join(dir, path)
		}
		return os.Open(path)
	}
}
