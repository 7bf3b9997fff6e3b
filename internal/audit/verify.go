package audit

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"

	"github.com/keyreeve/keyreeve/internal/seal"
)

// A Report is what [Verify] finds in one segment.
type Report struct {
	Segment string
	Records int
	Size    int64 // up to the end of the last write
	Torn    int64 // bytes after that: of a write that failed, and was never acknowledged
	Keyed   bool  // the tags have a key
	// Checked says that the tags were recomputed; it takes an opener if they
	// have a key.
	Checked  bool
	Problems []Problem // at most a hundred
}

// Verify reads the segments in directory dir, oldest first, and reports of each
// whether it is what was written, and goes on from the one before it. Without
// an opener (nil), of segments with a key only the order is looked at.
// It may be used while a [Log] appends. The error is one of reading.
func Verify(dir string, o Opener) iter.Seq2[Report, error] {
	return func(yield func(Report, error) bool) {
		names, err := segments(dir)
		if err != nil {
			yield(Report{}, fmt.Errorf("verifying the audit journal: %w", err))
			return
		}
		l := &Log{dir: dir}
		wrong := l.links(names, l.firstLink(names))
		for _, name := range names {
			r, err := l.verify(name, o, func(Entry) error { return nil })
			if errors.Is(err, fs.ErrNotExist) {
				continue // removed since it was listed
			}
			for _, p := range wrong {
				if p.Segment == name {
					r.problem(p.Offset, p.Text)
				}
			}
			if !yield(r, err) {
				return
			}
		}
	}
}

// firstLink returns what the first segment says that it goes on from: nobody here
// knows better. If that can't be read, links says so.
func (l *Log) firstLink(names []string) string {
	for _, name := range names {
		h, err := readHeader(l.path(name))
		switch {
		case err == nil:
			return h.Previous
		case !errors.Is(err, errEmpty):
			return ""
		}
	}
	return ""
}

// Genuine reports whether each record of the segment is what the log wrote, to
// whom nobody else has the key: then it is JSON, too.
func (r *Report) Genuine() bool { return r.Keyed && r.Checked && len(r.Problems) == 0 }

// VerifySegment is [Verify] of one segment of the log, with the box it was given,
// and without a look at its neighbours. What is wrong is in [Log.Damage], too.
func (l *Log) VerifySegment(name string) (Report, error) {
	return l.ReadSegment(name, func(Entry) error { return nil })
}

// ReadSegment is [Log.VerifySegment] that passes each record to each on the way.
// Those are lines of which nothing is known before the report is there: only if
// it is [Report.Genuine] are they to be taken for records. If not, [Entries]
// tells records from what is none. An error of each ends the reading, and is
// returned.
func (l *Log) ReadSegment(name string, each func(Entry) error) (Report, error) {
	var o Opener
	if box := l.box.Load(); box != nil {
		o = *box
	}
	r, err := l.verify(name, o, each)
	if err != nil {
		return r, fmt.Errorf("verifying the audit journal: %w", err)
	}
	for _, p := range r.Problems {
		l.damaged(p)
	}
	return r, nil
}

func (r *Report) problem(at int64, text string) {
	p := Problem{Segment: r.Segment, Offset: at, Text: text}
	for _, have := range r.Problems {
		if have == p {
			return
		}
	}
	if len(r.Problems) < maxProblems {
		r.Problems = append(r.Problems, p)
	}
}

var errEmpty = errors.New("it has no writes")

// readHeader reads the header of a segment: errEmpty if nothing was completed in it.
func readHeader(path string) (*header, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it was only read
	line, err := firstLine(f)
	if err != nil {
		return nil, err
	}
	if len(line) == 0 {
		return nil, errEmpty
	}
	return parseHeader(line)
}

// verify reads a segment, and passes its records to each.
func (l *Log) verify(name string, o Opener, each func(Entry) error) (Report, error) {
	r := Report{Segment: name}
	f, err := os.Open(l.path(name))
	if err != nil {
		return r, err
	}
	defer func() { _ = f.Close() }() // it was only read
	info, err := f.Stat()
	if err != nil {
		return r, err
	}
	if r.Size, _, err = covered(f, info.Size()); err != nil {
		return r, err
	}
	r.Torn = info.Size() - r.Size
	lines := newLines(f, 0, r.Size)
	line, _, err := lines.next()
	if errors.Is(err, io.EOF) {
		if first, err := firstLine(f); err != nil || len(first) > 0 {
			r.problem(0, errHeader.Error())
		}
		return r, nil
	}
	h, problem := (*header)(nil), error(errHeader)
	if err == nil {
		h, problem = parseHeader(line)
	}
	if problem != nil {
		r.problem(0, problem.Error())
		return r, nil
	}
	chain := r.keyed(h, o)
	if chain != nil {
		r.Checked = true
		chain.begin()
		_, _ = chain.mac.Write(line)
	}
	begun := int64(0) // of the write
	for {
		line, at, err := lines.next()
		switch {
		case errors.Is(err, io.EOF):
			return r, nil
		case errors.Is(err, errLine):
			r.problem(at, "there is a line that is too long to be a record")
			continue
		case err != nil:
			return r, err
		}
		tag, closes := parseClosing(line)
		if !closes {
			if r.Records++; line[0] != '{' || !bytes.HasSuffix(line, []byte("}\n")) {
				r.problem(at, "there is a line that is no record")
			}
			if chain != nil {
				_, _ = chain.mac.Write(line)
			}
			if err := each(Entry{Record: line[:len(line)-1], Offset: at, Next: lines.offset}); err != nil {
				return r, err
			}
			continue
		}
		if chain != nil {
			if chain.end() != tag {
				r.problem(begun, "the records from here on to the next tag are not those that were written")
			}
			chain.tag = tag // one break is told once
			chain.begin()
		}
		begun = at + int64(len(line))
	}
}

// keyed returns the chain of a segment; nil if its key cannot be had.
func (r *Report) keyed(h *header, o Opener) *chain {
	if len(h.Key) == 0 {
		return newChain(nil, h.previousTag())
	}
	r.Keyed = true
	if o == nil {
		return nil
	}
	key, err := o.Open(seal.Journals, keyAAD(r.Segment), h.Key)
	switch {
	case errors.Is(err, seal.ErrSealed):
		return nil
	case err != nil || len(key) != keySize:
		r.problem(0, "its key cannot be opened")
		return nil
	}
	defer clear(key)
	return newChain(key, h.previousTag())
}
