package archive

import (
	"iter"
	"path/filepath"

	"github.com/keyreeve/keyreeve/internal/archive/index"
	"github.com/keyreeve/keyreeve/internal/audit"
)

// NewSearcher returns a searcher of everything that is recorded: of the archive
// in a directory by its index, and of what the log has that is not delivered
// yet. For a log in memory, the index is nil and the directory empty.
func NewSearcher(x *index.Index, dir string, log *audit.Log) (*index.Searcher, error) {
	return index.NewSearcher(x, dir, searched{log})
}

// searched is a log as what is searched.
type searched struct{ *audit.Log }

// Segments returns the segments of the log. A log in memory is one.
func (s searched) Segments() ([]index.Segment, error) {
	if s.Dir() == "" {
		return []index.Segment{{Number: 1, Volatile: true, Entries: s.entries(s.Recent)}}, nil
	}
	list, err := s.Log.Segments()
	if err != nil {
		return nil, err
	}
	segments := make([]index.Segment, 0, len(list))
	for _, segment := range list {
		path := filepath.Join(s.Dir(), segment.Name)
		segments = append(segments, index.Segment{
			Number:  segment.Number,
			Entries: s.entries(func(from int64) iter.Seq2[audit.Entry, error] { return audit.Entries(path, from) }),
		})
	}
	return segments, nil
}

// entries has the entries of a log as those of a segment that is searched.
func (searched) entries(of func(int64) iter.Seq2[audit.Entry, error]) func(int64) iter.Seq2[index.Entry, error] {
	return func(from int64) iter.Seq2[index.Entry, error] {
		return func(yield func(index.Entry, error) bool) {
			for e, err := range of(from) {
				if !yield(index.Entry{Record: e.Record, Offset: e.Offset, Next: e.Next}, err) {
					return
				}
			}
		}
	}
}
