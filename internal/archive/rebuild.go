package archive

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/keyreeve/keyreeve/internal/archive/index"
	"github.com/keyreeve/keyreeve/internal/durable"
)

// maxRebuilt is how many events go into one run of an index that is made anew:
// it bounds the memory that takes.
const maxRebuilt = 100_000

// OpenIndex opens the index of an archive. If it is damaged, or does not tell
// of all that was delivered, it is made anew from the archive's files, which
// can take a while, and the old one is kept beside it: the files are what
// counts, and nobody is kept from the keys by a damaged index. [Archive.Damage]
// tells of it.
//
// Of the options, Index and Journal are not needed.
func OpenIndex(ctx context.Context, o Options, of index.Options) (*index.Index, error) {
	a := build(o)
	if err := a.loadHead(ctx); err != nil {
		return nil, fmt.Errorf("opening the audit index: %w", err)
	}
	x, err := index.Open(of)
	switch {
	case err == nil && x.Through() >= a.head.Through && x.NewestFile() >= a.head.Files && x.First() <= max(a.head.First, 1):
		return x, nil
	case err == nil:
		err = errors.Join(errors.New("it does not tell of all that was delivered"), x.Close())
	case !errors.Is(err, index.ErrDamaged):
		return nil, err
	}
	a.logger.Error("the audit index is damaged; it is made anew from the archive's files", "error", err)
	if err := a.rebuild(ctx, of); err != nil {
		return nil, fmt.Errorf("making the audit index anew: %w", err)
	}
	return index.Open(of)
}

// rebuild puts an index of the archive's files in the place of one that is
// damaged.
func (a *Archive) rebuild(ctx context.Context, of index.Options) error {
	if err := a.emptyTemporary(); err != nil {
		return err
	}
	if err := a.loadChains(ctx); err != nil {
		return err
	}
	objects, unlisted, err := a.inventory(ctx)
	if err != nil {
		return err
	}
	made := of
	made.Dir = filepath.Clean(of.Dir) + ".new"
	// As far as possible, files keep the numbers by which trails have come.
	made.FirstFile = max(1, a.head.Files-min(a.head.Files, uint64(len(objects)))+1)
	if err := os.RemoveAll(made.Dir); err != nil {
		return err
	}
	x, err := index.Open(made)
	if err != nil {
		return err
	}
	err = a.reindex(ctx, x, objects)
	next := a.head
	if err == nil {
		next, err = a.renumbered(x, unlisted)
	}
	if err = errors.Join(err, x.Close()); err != nil {
		return err
	}
	var chains []*chain
	for _, c := range a.chains {
		if c.Files > next.Digested {
			changed := *c
			changed.Files = next.Digested
			chains = append(chains, &changed)
		}
	}
	if err := a.saveChains(ctx, chains); err != nil {
		return err
	}
	if err := a.saveHead(ctx, next); err != nil {
		return err
	}
	aside := filepath.Clean(of.Dir) + a.now().UTC().Format(".damaged-20060102T150405Z")
	if err := os.Rename(of.Dir, aside); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Rename(made.Dir, of.Dir); err != nil {
		return err
	}
	a.logger.Warn("the audit index was made anew; the damaged one is kept", "files", len(objects), "kept", aside)
	return durable.SyncDir(filepath.Dir(filepath.Clean(of.Dir)))
}

// inventory returns the log files that are there: first those that a digest
// lists, then the unlisted others; both as they were delivered, as far as their
// names tell.
func (a *Archive) inventory(ctx context.Context) (objects []string, unlisted int, err error) {
	listed := make(map[nameHash]bool)
	var logs []objectName
	err = filepath.WalkDir(a.Path(folderRoot), func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		rel, err := filepath.Rel(a.dir, path)
		if err != nil {
			return err
		}
		n, ok := parseObject(filepath.ToSlash(rel))
		switch {
		case !ok || e.IsDir() || n.scope.Prefix != "" || n.scope.Organization != "" || !isAccount(n.scope.Account) || !isRegion(n.scope.Region):
			return nil
		case !n.digest:
			logs = append(logs, n)
			return nil
		}
		body, err := readFile(path, maxDigest)
		if err != nil {
			return err
		}
		d, err := parseDigest(body)
		if err != nil {
			a.logger.Error("a digest is damaged", "file", path, "error", err)
			return nil
		}
		for _, f := range d.json.Files {
			listed[hashName(f.Object)] = true
		}
		return nil
	})
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	type item struct {
		object string
		time   time.Time
		listed bool
	}
	items := make([]item, len(logs))
	for i, n := range logs {
		object := n.scope.LogObject(n.time, n.id)
		items[i] = item{object, n.time, listed[hashName(object)]}
		if !items[i].listed {
			unlisted++
		}
	}
	slices.SortFunc(items, func(x, y item) int {
		if x.listed != y.listed {
			if x.listed {
				return -1
			}
			return 1
		}
		return cmp.Or(x.time.Compare(y.time), strings.Compare(x.object, y.object))
	})
	for _, i := range items {
		objects = append(objects, i.object)
	}
	return objects, unlisted, err
}

// reindex puts files into an empty index.
func (a *Archive) reindex(ctx context.Context, x *index.Index, objects []string) error {
	builder, events := x.NewBuilder(), 0
	// The numbers of segments stand in for those that the events were in, which
	// are long gone. All are lower.
	segment := uint64(1)
	for _, object := range objects {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := a.reindexFile(builder, segment, int64(events), object)
		switch {
		case errors.Is(err, ErrFormat):
			a.logger.Error("a log file is damaged; its events are not in the index", "file", object, "error", err)
		case err != nil:
			return err
		}
		if events += n; events >= maxRebuilt {
			if _, err := builder.Commit(segment); err != nil {
				return err
			}
			builder, events = x.NewBuilder(), 0
			segment++
		}
	}
	_, err := builder.Commit(max(segment, a.head.Through))
	return err
}

// reindexFile puts a file into a run. It returns how many events there are in
// it; [ErrFormat] if it can't be read, and then the run tells of a file without
// events.
func (a *Archive) reindexFile(builder *index.Builder, segment uint64, at int64, object string) (events int, err error) {
	name, _ := parseObject(object)
	file := builder.File(segment, name.scope.Account, name.scope.Region)
	body, records, err := a.recordsOf(object)
	if err != nil {
		file.Close(object, int64(len(body)), [32]byte{})
		return 0, err
	}
	// The same records make the same file, so this tells where in it they are.
	var again bytes.Buffer
	a.writer.Reset(&again)
	for i, r := range records {
		place, err := a.writer.Add(r)
		if err != nil {
			return 0, err
		}
		switch err := file.Add(index.Place{Offset: at + int64(i), Block: place.Block, Start: place.Start}, r); {
		case errors.Is(err, index.ErrNotRecord):
			a.logger.Error("a record is no event; it is not in the index", "file", object)
		case err != nil:
			return 0, err
		}
	}
	size, hash, err := a.writer.Close()
	if err != nil {
		return 0, err
	}
	if !bytes.Equal(again.Bytes(), body) {
		// Compressed by another release: what it holds stays the same.
		if err := a.place(object, again.Bytes()); err != nil {
			return 0, err
		}
	}
	file.Close(object, size, hash)
	return len(records), nil
}

// maxOwnFile bounds a log file of the archive, which is written up to
// [FileSize] and the last record.
const maxOwnFile = 4 * FileSize

// recordsOf reads a log file of the archive: its bytes, and its records.
func (a *Archive) recordsOf(object string) (body []byte, records [][]byte, err error) {
	if body, err = readFile(a.Path(object), maxOwnFile); err != nil {
		return nil, nil, err
	}
	size := 0
	for r, err := range Records(bytes.NewReader(body)) {
		if err != nil {
			return body, nil, err
		}
		if size += len(r); size > maxOwnFile {
			return body, nil, fmt.Errorf("%w: more than %d bytes of records", ErrFormat, maxOwnFile)
		}
		records = append(records, slices.Clone(r))
	}
	return body, records, nil
}

// renumbered returns the head for an index that was made anew.
func (a *Archive) renumbered(x *index.Index, unlisted int) (head, error) {
	next := a.head
	next.Rebuilt, next.First = a.now().UTC(), 0 // its deliveries are numbered anew
	next.Files, next.Through = max(x.NewestFile(), next.Files), max(x.Through(), next.Through)
	next.Digested = x.NewestFile() - uint64(unlisted)
	next.DigestedChain, next.Chain = "", ""
	for f, err := range x.Files(next.Digested) {
		if err != nil {
			return head{}, err
		}
		next.Chain = extend(next.Chain, f)
	}
	return next, nil
}
