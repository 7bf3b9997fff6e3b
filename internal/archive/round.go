package archive

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"time"

	"github.com/keyreeve/keyreeve/internal/archive/index"
)

// When digests are made.
const (
	digestEvery = time.Hour
	// quietAfter is how long after its last file an account's Region gets a
	// digest only once in that time, which then covers all of it.
	quietAfter = 24 * time.Hour
	// maxListed is how many files a digest lists, at most.
	maxListed = 100_000
)

// signatureSuffix ends the name of the file with a digest's signature, in hex.
// On S3, signatures are metadata.
const signatureSuffix = ".sig"

// recover takes up what Open has found: it looks whether the index still tells
// of all files that no digest lists yet, and removes digests of a round that
// was interrupted.
func (a *Archive) recover(ctx context.Context) error {
	if at := a.head.Rebuilt; !at.IsZero() {
		a.damaged("the index was damaged or lost, and was made anew from the files at %s; log files that no digest listed then were taken as they were", stamp(at))
		next := a.head
		next.Rebuilt = time.Time{}
		if err := a.saveHead(ctx, next); err != nil {
			return err
		}
	}
	if a.index.Through() > a.head.Through {
		if err := a.adopt(ctx); err != nil {
			return err
		}
	}
	sum, newest := a.head.DigestedChain, a.head.Digested
	agrees := a.head.Files == newest && a.head.Chain == sum
	for f, err := range a.index.Files(a.head.Digested) {
		if err != nil {
			return err
		}
		if f.Number != newest+1 {
			a.damaged("the index does not tell of the files %d to %d, which no digest lists yet", newest+1, f.Number-1)
		}
		newest = f.Number
		sum = extend(sum, f)
		if newest == a.head.Files {
			agrees = sum == a.head.Chain
		}
		p := pair{f.Account, f.Region}
		if c := a.chains[p]; c == nil || f.Number > c.Files {
			a.arrived([]index.File{f})
		}
	}
	switch {
	case newest < a.head.Files:
		a.damaged("the index tells of %d files; there were %d", newest, a.head.Files)
	case !agrees:
		a.damaged("the index tells otherwise of files that no digest lists yet than when they were delivered")
	}
	if through := a.index.Through(); through < a.head.Through {
		a.damaged("the index does not tell of the newest delivery")
	}
	if err := a.undoRound(ctx); err != nil {
		return err
	}
	// What was committed by the index and not noted here before a crash.
	if newest > a.head.Files || a.index.Through() > a.head.Through {
		next := a.head
		kept, err := a.deliveredSince(a.head.Through)
		if err != nil {
			return err
		}
		next.Kept = append(slices.Clone(next.Kept), kept...)
		next.Files, next.Chain, next.Through = newest, sum, a.index.Through()
		return a.saveHead(ctx, next)
	}
	return nil
}

// deliveredSince returns the identities of the segments in the journal that
// were delivered after one with this number.
func (a *Archive) deliveredSince(number uint64) (identities []string, err error) {
	segments, err := a.journal.Segments()
	if err != nil {
		return nil, err
	}
	for _, s := range segments {
		if s.Open || s.Number <= number || s.Number > a.index.Through() {
			continue
		}
		identity, err := identify(filepath.Join(a.journal.Dir(), s.Name))
		if err != nil {
			return nil, err
		}
		identities = append(identities, identity)
	}
	return identities, nil
}

// undoRound removes the digests of an interrupted round that no chain has
// taken up: the next digest will have another name.
func (a *Archive) undoRound(ctx context.Context) error {
	if a.head.Rounding.IsZero() {
		return nil
	}
	pairs := make(map[pair]bool)
	for p := range a.chains {
		pairs[p] = true
	}
	for p := range a.pending {
		pairs[p] = true
	}
	for p := range pairs {
		end := a.head.Rounding
		if c := a.chains[p]; c != nil {
			if c.End.Equal(end) {
				continue
			}
			end = c.after(end)
		}
		object := Scope{Account: p.account, Region: p.region}.DigestObject(TrailName, a.region, end)
		for _, path := range []string{a.Path(object), a.Path(object) + signatureSuffix} {
			if err := removeIfThere(path); err != nil {
				return err
			}
		}
	}
	next := a.head
	next.Rounding = time.Time{}
	return a.saveHead(ctx, next)
}

// makeDigests makes the digests that are due: once an hour, for each account
// and Region that has had files.
func (a *Archive) makeDigests(ctx context.Context) error {
	end := a.now().UTC().Truncate(digestEvery)
	if end.Equal(a.head.Round) && a.head.Rounding.IsZero() {
		return nil
	}
	if r := a.head.Rounding; !r.IsZero() && !r.Equal(end) {
		// The round failed, and these will have other names.
		if err := a.undoRound(ctx); err != nil {
			return err
		}
	}
	due := a.due(end)
	if len(due) == 0 {
		return a.endRound(ctx, end)
	}
	next := a.head
	next.Rounding = end
	if err := a.saveHead(ctx, next); err != nil {
		return err
	}
	for some := range slices.Chunk(due, batch) {
		chains := make([]*chain, len(some))
		for i, p := range some {
			if err := ctx.Err(); err != nil {
				return err
			}
			c, err := a.makeDigest(ctx, p, end)
			if err != nil {
				return fmt.Errorf("making the digest of account %s in %s: %w", p.account, p.region, err)
			}
			chains[i] = c
		}
		if err := a.saveChains(ctx, chains); err != nil {
			return err
		}
		for _, c := range chains {
			a.listed(c)
		}
		a.count(func(s *Stats) { s.Digests, s.LastDigest = s.Digests+uint64(len(chains)), a.now() })
	}
	return a.endRound(ctx, end)
}

// listed forgets the pending files that the digests of a chain list.
func (a *Archive) listed(c *chain) {
	a.mu.Lock()
	defer a.mu.Unlock()
	files := a.pending[c.pair()]
	n := 0
	for n < len(files) && files[n].Number <= c.Files {
		n++
	}
	if n == len(files) {
		delete(a.pending, c.pair())
	} else {
		a.pending[c.pair()] = files[n:]
	}
	a.stats.PendingDigest -= n
}

// endRound notes that all digests that were due are there.
func (a *Archive) endRound(ctx context.Context, end time.Time) error {
	next := a.head
	next.Round, next.Rounding = end, time.Time{}
	// What is still pending was left for a later round.
	next.Digested = next.Files
	for _, files := range a.pending {
		next.Digested = min(next.Digested, files[0].Number-1)
	}
	switch {
	case next.Digested == next.Files:
		next.DigestedChain = next.Chain
	case next.Digested != a.head.Digested:
		sum := next.DigestedChain
		for f, err := range a.index.Files(a.head.Digested) {
			if err != nil {
				return err
			}
			if f.Number > next.Digested {
				break
			}
			sum = extend(sum, f)
		}
		next.DigestedChain = sum
	}
	return a.saveHead(ctx, next)
}

// due returns the pairs that get a digest that ends at end.
func (a *Archive) due(end time.Time) []pair {
	pairs := slices.Collect(maps.Keys(a.pending))
	for p, c := range a.chains {
		if len(a.pending[p]) > 0 {
			continue
		}
		quiet := end.Sub(c.Active)
		switch {
		case !end.After(c.End),
			quiet > quietAfter && end.Sub(c.End) < quietAfter,
			a.retention > 0 && quiet > a.retention: // the chain rests until there are files again
		default:
			pairs = append(pairs, p)
		}
	}
	slices.SortFunc(pairs, pair.compare)
	return slices.DeleteFunc(pairs, func(p pair) bool {
		// A clock that was set back by a moment makes digests wait. If it was
		// ahead for long, they cannot wait until that time comes.
		c := a.chains[p]
		return c != nil && !end.After(c.End) && c.End.Sub(end) < 2*digestEvery
	})
}

// after returns when the next digest of a chain ends that should end at end.
func (c *chain) after(end time.Time) time.Time {
	if end.After(c.End) {
		return end
	}
	return c.End.Add(time.Second)
}

// makeDigest writes a digest and returns the head of its chain, which is still
// to be stored.
func (a *Archive) makeDigest(ctx context.Context, p pair, end time.Time) (*chain, error) {
	files := a.pending[p]
	files = files[:min(len(files), maxListed)]
	d := Digest{
		Scope: Scope{Account: p.account, Region: p.region}, Bucket: BucketName, Trail: TrailName, Home: a.region,
		Start: end.Add(-digestEvery), End: end, Files: make([]LogFile, len(files)),
	}
	for i, f := range files {
		d.Files[i] = logFile(f)
	}
	next := &chain{Version: 1, Account: p.account, Region: p.region, Oldest: end, First: true}
	if c := a.chains[p]; c != nil {
		*next = *c
		d.Start, d.End, d.Previous = c.End, c.after(end), &c.Newest
	}
	key, err := a.Key(ctx, p.region, d.End)
	if err != nil {
		return nil, err
	}
	signed, err := d.Sign(key)
	if err != nil {
		return nil, err
	}
	if err := a.place(signed.Object+signatureSuffix, []byte(signed.Signature+"\n")); err != nil {
		return nil, err
	}
	if err := a.place(signed.Object, signed.Body); err != nil {
		return nil, err
	}
	next.Newest, next.End = signed.Link, d.End
	next.Count++
	if n := len(files); n > 0 {
		next.Active, next.Files = d.End, files[n-1].Number
	}
	a.logger.Debug("made a digest", "object", signed.Object, "files", len(files))
	return next, nil
}
