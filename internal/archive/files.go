package archive

import "github.com/keyreeve/keyreeve/internal/archive/index"

// Newest returns the number of the newest log file; 0 if there was none yet.
func (a *Archive) Newest() uint64 { return a.index.NewestFile() }

// Files returns up to limit log files whose number is larger than after, in the
// order of their delivery. Numbers have no gaps but where files were removed by
// their age. See [Archive.Changed] for when there are more.
func (a *Archive) Files(after uint64, limit int) ([]index.File, error) {
	files := make([]index.File, 0, min(limit, 1024))
	for f, err := range a.index.Files(after) {
		if err != nil {
			return nil, err
		}
		if len(files) == limit {
			break
		}
		files = append(files, f)
	}
	return files, nil
}
