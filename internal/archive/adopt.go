package archive

import (
	"context"
	"crypto/rsa"
	"errors"
	"io/fs"
	"strings"
	"time"
)

// adopt takes up digests that the chains do not know, as when the store was put
// back to an older state: those that follow a chain's newest digest and are
// signed with a key of the archive. Otherwise the next digest would follow
// theirs, and there would be two chains.
func (a *Archive) adopt(ctx context.Context) error {
	numbers := make(map[nameHash]uint64)
	pairs := make(map[pair]bool)
	for f, err := range a.index.Files(a.head.Digested) {
		if err != nil {
			return err
		}
		numbers[hashName(f.Path)] = f.Number
		pairs[pair{f.Account, f.Region}] = true
	}
	for p := range a.chains {
		pairs[p] = true
	}
	var adopted []*chain
	for p := range pairs {
		c, err := a.follow(ctx, p, numbers)
		if err != nil {
			return err
		}
		if c != nil {
			a.logger.Warn("took up digests that the store did not tell of", "account", p.account, "region", p.region, "until", c.End)
			adopted = append(adopted, c)
		}
	}
	return a.saveChains(ctx, adopted)
}

// follow returns the chain of a pair with the digests that follow its newest;
// nil if none does.
func (a *Archive) follow(ctx context.Context, p pair, numbers map[nameHash]uint64) (*chain, error) {
	var end time.Time
	next := &chain{Version: 1, Account: p.account, Region: p.region, First: true}
	if c := a.chains[p]; c != nil {
		*next, end = *c, c.End
	}
	known := next.Count
	scope := Scope{Account: p.account, Region: p.region}
	folder := scope.folder(folderDigests)
	err := a.walkDays(folder, func(day string) (bool, error) {
		if !end.IsZero() && day < end.UTC().Format(dayFolders) {
			return true, nil
		}
		names, err := digestNames(a.Path(folder + day))
		if err != nil {
			return false, err
		}
		for _, name := range names {
			if err := ctx.Err(); err != nil {
				return false, err
			}
			n, ok := parseObject(folder + day + "/" + name)
			if !ok || !n.digest || n.trail != TrailName || n.home != a.region || !n.time.After(next.End) {
				continue
			}
			if ok, err := a.take(next, folder+day+"/"+name, numbers); err != nil || !ok {
				return false, err
			}
		}
		return true, nil
	})
	if err != nil || next.Count == known {
		return nil, err
	}
	return next, nil
}

// take takes a digest into a chain, if it follows.
func (a *Archive) take(c *chain, object string, numbers map[nameHash]uint64) (bool, error) {
	body, err := readFile(a.Path(object), maxDigest)
	if err != nil {
		return false, err
	}
	signature, err := readFile(a.Path(object+signatureSuffix), 8<<10)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	d, err := parseDigest(body)
	if err != nil {
		return false, nil // [Verify] says so
	}
	previous := d.previous()
	switch {
	case d.json.Object != object || d.json.Bucket != BucketName:
		return false, nil
	case c.Count == 0 && previous != nil:
		return false, nil
	case c.Count > 0 && (previous == nil || *previous != c.Newest || !d.start.Equal(c.End)):
		return false, nil
	}
	text := strings.TrimSpace(string(signature))
	key := a.publicKey(c.Region, d.json.Fingerprint)
	if key == nil || !d.verify(key, text) {
		return false, nil
	}
	if c.Count == 0 {
		c.Oldest = d.end
	}
	c.Newest, c.End = d.link(text), d.end
	c.Count++
	if len(d.json.Files) > 0 {
		c.Active = d.end
	}
	for _, f := range d.json.Files {
		c.Files = max(c.Files, numbers[hashName(f.Object)])
	}
	return true, nil
}

// publicKey returns a key of digests; nil if there is none of that fingerprint.
func (a *Archive) publicKey(region, fingerprint string) *rsa.PublicKey {
	for _, k := range a.PublicKeys(region, time.Time{}, time.Time{}) {
		if k.Fingerprint == fingerprint {
			if key, err := k.rsaKey(); err == nil {
				return key
			}
		}
	}
	return nil
}
