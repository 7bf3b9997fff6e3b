package archive

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// expireEvery is how often old files are looked for.
const expireEvery = time.Hour

// expire removes digests that are older than the retention, and with each the
// log files that it lists: so no digest that is kept lists a file that was
// removed. What the sealed heads say is the oldest that is kept goes ahead, so
// that everything before it is known to be gone rightly, whatever crashes.
func (a *Archive) expire(ctx context.Context) error {
	now := a.now()
	if a.retention <= 0 || now.Sub(a.expired).Abs() < expireEvery {
		return nil
	}
	horizon := now.Add(-a.retention)
	if err := a.expireIndex(ctx, horizon); err != nil {
		return err
	}
	for _, p := range slices.SortedFunc(maps.Keys(a.chains), pair.compare) {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := a.expireChain(ctx, a.chains[p], horizon); err != nil {
			return fmt.Errorf("removing old audit files of account %s in %s: %w", p.account, p.region, err)
		}
	}
	a.expired = now
	return nil
}

// expireIndex has the index forget what is older than a time. What it begins with
// then is in the sealed head before, so that nothing else can be taken away from
// it unnoticed.
func (a *Archive) expireIndex(ctx context.Context, horizon time.Time) error {
	if a.pendingBefore(horizon) {
		return nil
	}
	if first := a.index.FirstFrom(horizon); first > max(a.head.First, 1) {
		next := a.head
		next.First = first
		if err := a.saveHead(ctx, next); err != nil {
			return err
		}
	}
	a.index.Expire(horizon)
	return nil
}

// pendingBefore reports whether a file with events from before a time is in no
// digest yet: the index must tell of it until it is.
func (a *Archive) pendingBefore(t time.Time) bool {
	for _, files := range a.pending {
		for _, f := range files {
			if f.Newest.Before(t) {
				return true
			}
		}
	}
	return false
}

// expireChain removes the digests of a chain that ended before horizon, but
// for the newest of all.
func (a *Archive) expireChain(ctx context.Context, c *chain, horizon time.Time) error {
	folder := Scope{Account: c.Account, Region: c.Region}.folder(folderDigests)
	// Only digests from before the horizon are looked for.
	old, err := a.digestsBefore(folder, horizon)
	if err != nil || len(old) == 0 {
		return err
	}
	if old = slices.DeleteFunc(old, func(n string) bool { return n == c.Newest.Object }); len(old) == 0 {
		return nil
	}
	if c.Oldest.Before(horizon) {
		// The next digest after the horizon is what remains; its time is known
		// when it is looked for. The newest one always remains.
		oldest, err := a.firstDigestFrom(folder, horizon)
		if err != nil {
			return err
		}
		next := *c
		next.First = false
		if next.Oldest = oldest; oldest.IsZero() || oldest.After(c.End) {
			next.Oldest = c.End
		}
		if err := a.saveChains(ctx, []*chain{&next}); err != nil {
			return err
		}
	}
	for _, object := range old {
		if err := a.removeDigest(object, horizon); err != nil {
			return err
		}
	}
	return nil
}

// removeDigest removes a digest and what it lists: as far as that lies where
// files of its account and Region lie, and is older than horizon. A file can be
// named after a time within the hour after the end of its digest.
func (a *Archive) removeDigest(object string, horizon time.Time) error {
	path := a.Path(object)
	name, _ := parseObject(object)
	body, err := readFile(path, maxDigest)
	if err != nil {
		return err
	}
	switch d, err := parseDigest(body); {
	case err != nil:
		// Nobody can tell what it listed.
		a.damaged("%s: %v", object, err)
	default:
		folders := make(map[string]bool)
		for _, f := range d.json.Files {
			n, ok := parseObject(f.Object)
			if !ok || n.digest || n.scope != name.scope || !n.time.Before(horizon.Add(digestEvery)) {
				a.damaged("%s: it lists %.200q, which is no old file of its account and Region", object, f.Object)
				continue
			}
			if err := removeIfThere(a.Path(f.Object)); err != nil {
				return err
			}
			folders[filepath.Dir(a.Path(f.Object))] = true
		}
		for folder := range folders {
			a.removeEmpty(folder)
		}
	}
	if err := removeIfThere(path + signatureSuffix); err != nil {
		return err
	}
	if err := removeIfThere(path); err != nil {
		return err
	}
	a.removeEmpty(filepath.Dir(path))
	return nil
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// removeEmpty removes a folder of a day, and those of its month and year, if
// nothing is left in them.
func (a *Archive) removeEmpty(folder string) {
	for range 3 {
		if os.Remove(folder) != nil {
			return // something is in it
		}
		delete(a.made, folder)
		folder = filepath.Dir(folder)
	}
}

// digestsBefore returns the digests below a folder whose end is before a time,
// oldest first.
func (a *Archive) digestsBefore(folder string, t time.Time) ([]string, error) {
	var found []string
	err := a.walkDays(folder, func(day string) (bool, error) {
		if day > t.UTC().Format(dayFolders) {
			return false, nil
		}
		names, err := digestNames(a.Path(folder + day))
		for _, name := range names {
			object := folder + day + "/" + name
			if n, ok := parseObject(object); ok && n.digest && n.time.Before(t) {
				found = append(found, object)
			}
		}
		return true, err
	})
	return found, err
}

// firstDigestFrom returns the end of the first digest below a folder that ends
// at a time or later; zero if there is none.
func (a *Archive) firstDigestFrom(folder string, t time.Time) (time.Time, error) {
	var first time.Time
	err := a.walkDays(folder, func(day string) (bool, error) {
		if day < t.UTC().Format(dayFolders) {
			return true, nil
		}
		names, err := digestNames(a.Path(folder + day))
		for _, name := range names {
			if n, ok := parseObject(folder + day + "/" + name); ok && n.digest && !n.time.Before(t) {
				first = n.time
				return false, err
			}
		}
		return true, err
	})
	return first, err
}

// walkDays calls visit with the days below a folder, such as 2026/11/22, in
// their order, until it returns false.
func (a *Archive) walkDays(folder string, visit func(day string) (bool, error)) error {
	var walk func(below string, depth int) (bool, error)
	walk = func(below string, depth int) (bool, error) {
		if depth == 3 {
			return visit(below)
		}
		entries, err := os.ReadDir(a.Path(folder + below))
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				err = nil
			}
			return true, err
		}
		for _, e := range entries { // sorted
			if !e.IsDir() {
				continue
			}
			more, err := walk(strings.TrimPrefix(below+"/"+e.Name(), "/"), depth+1)
			if err != nil || !more {
				return false, err
			}
		}
		return true, nil
	}
	_, err := walk("", 0)
	return err
}

// digestNames returns the names of the digests in a folder, sorted.
func digestNames(folder string) ([]string, error) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), fileSuffix) {
			names = append(names, e.Name())
		}
	}
	return names, nil
}
