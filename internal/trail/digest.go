package trail

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/keyreeve/keyreeve/internal/archive"
	"github.com/keyreeve/keyreeve/internal/record"
)

// digestEvery is how long a digest covers.
const digestEvery = time.Hour

// quietAfter is after how long without files a chain has a digest only once in
// as long, as the archive's own.
const quietAfter = 24 * time.Hour

// digestBatch is how many digests are made before that is noted.
const digestBatch = 32

// addPending adds files to what the next digest of a chain is to list. The
// first ones begin the chain, with the hour that they were copied in.
func (s *Set) addPending(ctx context.Context, tx *record.Tx, id string, of pair, files []pending) error {
	rec, err := s.records.Get(ctx, record.KindTrailChain, chainKey(id, of))
	fresh := errors.Is(err, record.ErrNotFound)
	if err != nil && !fresh {
		return err
	}
	var c chain
	if fresh {
		c.Since = files[0].Delivered.Truncate(digestEvery)
	} else if c, err = decode[chain](rec.Value); err != nil {
		return err
	}
	if c.Pending = append(c.Pending, files...); len(c.Pending) > maxPending {
		return fmt.Errorf("trail: %d files that no digest lists yet", len(c.Pending))
	}
	text, err := encode(c)
	if err != nil {
		return err
	}
	if fresh {
		tx.Create(record.KindTrailChain, chainKey(id, of), text)
	} else {
		tx.Put(rec, text)
	}
	return nil
}

// due returns where the digest of a chain ends that is to be made now; false if
// none is. Ends are full hours. The time in which nothing could be delivered, and
// that in which the trail was not logging, stand in one digest: those of a chain
// leave no gap.
func (c *chain) due(now time.Time, logging bool) (time.Time, bool) {
	if !c.Closing.IsZero() {
		return c.Closing, true
	}
	end := now.UTC().Truncate(digestEvery)
	if len(c.Pending) >= dueAt {
		end = now.UTC().Truncate(time.Second)
	}
	if !end.After(c.Since) || !logging && len(c.until(end)) == 0 {
		return time.Time{}, false
	}
	if len(c.Pending) == 0 && c.Since.Sub(c.Active) >= quietAfter && end.Sub(c.Since) < quietAfter {
		return time.Time{}, false
	}
	return end, true
}

// until returns the files of a digest that ends then.
func (c *chain) until(end time.Time) []archive.LogFile {
	var files []archive.LogFile
	for _, p := range c.Pending {
		if p.Delivered.Before(end) {
			files = append(files, p.LogFile)
		}
	}
	return files
}

// chained is a chain that stands in a record.
type chained struct {
	chain
	pair
	key string
}

// dueChains looks at some chains of a trail after a storage key, and returns
// those that have a digest to be made; and the last key that it has looked at,
// empty if there are no more.
func (s *Set) dueChains(ctx context.Context, t *Trail, after string) (list []chained, last string, err error) {
	found, err := s.records.List(ctx, record.KindTrailChain, chainPrefix+t.ID+"/", after, digestBatch)
	if err != nil {
		return nil, "", err
	}
	for _, f := range found {
		if f.Err != nil {
			return nil, "", f.Err
		}
		c, err := decode[chain](f.Value)
		if err != nil {
			return nil, "", fmt.Errorf("%s: %w", f.Key, err)
		}
		last = f.Key
		end, ok := c.due(s.now(), t.Logging())
		if !ok {
			continue
		}
		c.Closing = end
		account, region, _ := strings.Cut(strings.TrimPrefix(f.Key, chainPrefix+t.ID+"/"), "/")
		list = append(list, chained{chain: c, pair: pair{account, region}, key: f.Key})
	}
	if len(found) < digestBatch {
		last = ""
	}
	return list, last, nil
}

// makeDigests makes the digests of a trail that are due.
func (s *Set) makeDigests(ctx context.Context, t *Trail) error {
	if !t.Validation {
		return s.dropChains(ctx, t.ID)
	}
	if err := s.CheckBucket(t.Account, t.Bucket); err != nil {
		return err
	}
	for after := ""; ; {
		list, last, err := s.dueChains(ctx, t, after)
		if err != nil {
			return err
		}
		if len(list) > 0 {
			if err := s.closeChains(ctx, t, list); err != nil {
				return err
			}
		}
		if last == "" {
			return nil
		}
		after = last
	}
}

// closeChains makes the digests of some chains. Where they end is noted first,
// and that they stand in the bucket afterwards: what is in between is done again,
// and comes out the same.
func (s *Set) closeChains(ctx context.Context, t *Trail, list []chained) error {
	err := s.changeChains(ctx, list, func(c *chain, of *chained) { c.Closing = of.Closing }, nil)
	if err != nil {
		return err
	}
	b := s.buckets[t.Bucket]
	made := make(map[string]*archive.SignedDigest, len(list))
	var anchors []anchor
	var done []chained
	var failed error
	for _, c := range list {
		signed, err := s.putDigest(ctx, b, t, &c)
		if err != nil {
			failed = err
			break
		}
		s.count(bucketSink, func(k *Sink) { k.Objects++ })
		made[c.key] = signed
		done = append(done, c)
		anchors = append(anchors, anchor{
			Trail: t.ARN(), Account: c.account, Region: c.region, Start: c.Since, End: c.Closing, Bucket: t.Bucket,
			Object: signed.Object, Hash: signed.Link.Hash, Algorithm: "SHA-256", Signature: signed.Signature,
		})
	}
	if len(done) == 0 {
		return failed
	}
	err = s.changeChains(ctx, done, func(c *chain, of *chained) {
		var left []pending
		for _, p := range c.Pending {
			if !p.Delivered.Before(of.Closing) {
				left = append(left, p)
			}
		}
		if len(left) < len(c.Pending) {
			c.Active = of.Closing
		}
		link := made[of.key].Link
		c.Pending, c.Previous, c.Since, c.Closing = left, &link, of.Closing, time.Time{}
	}, func(tx *record.Tx) error {
		if err := s.noteDigests(ctx, tx, t); err != nil {
			return err
		}
		if t.LogGroup == "" {
			return nil
		}
		return s.addAnchors(ctx, tx, t, anchors)
	})
	return errors.Join(failed, err)
}

// putDigest puts the digest of a chain into the bucket.
func (s *Set) putDigest(ctx context.Context, b *bucket, t *Trail, c *chained) (*archive.SignedDigest, error) {
	scope := archive.Scope{Prefix: t.Prefix, Account: c.account, Region: c.region}
	if t.Organization {
		o, err := s.o.Organization(ctx, t.Account)
		if err != nil {
			return nil, fmt.Errorf("asking for the organization of %s: %w", t.Account, err)
		}
		if o != nil {
			scope.Organization = o.ID
		}
	}
	key, err := s.source.Key(ctx, c.region, c.Closing)
	if err != nil {
		return nil, err
	}
	d := archive.Digest{
		Scope: scope, Bucket: t.Bucket, Trail: t.Name, Home: t.Region, Start: c.Since, End: c.Closing, Previous: c.Previous, Files: c.until(c.Closing),
	}
	signed, err := d.Sign(key)
	if err != nil {
		return nil, err
	}
	free, err := b.slot(ctx)
	if err != nil {
		return nil, err
	}
	defer free()
	err = b.put(ctx, object{name: signed.Object, body: signed.Body, metadata: map[string]string{
		"signature": signed.Signature, "signature-algorithm": archive.SignatureAlgorithm,
	}})
	return signed, err
}

// changeChains changes chains in one transaction, and what else there is.
func (s *Set) changeChains(ctx context.Context, list []chained, change func(c *chain, of *chained), also func(*record.Tx) error) error {
	return s.change(ctx, func(tx *record.Tx) error {
		for i := range list {
			rec, err := s.records.Get(ctx, record.KindTrailChain, list[i].key)
			if errors.Is(err, record.ErrNotFound) {
				return errGone
			}
			if err != nil {
				return err
			}
			c, err := decode[chain](rec.Value)
			if err != nil {
				return err
			}
			change(&c, &list[i])
			text, err := encode(c)
			if err != nil {
				return err
			}
			tx.Put(rec, text)
		}
		if also == nil {
			return nil
		}
		return also(tx)
	})
}

// noteDigests notes that digests were put into the bucket.
func (s *Set) noteDigests(ctx context.Context, tx *record.Tx, t *Trail) error {
	return s.changeProgress(ctx, tx, t.ID, bucketSink, func(p *progress) {
		now := s.now().UTC()
		p.Digests.Attempted, p.Digests.Delivered, p.Digests.Failure = now, now, ""
	})
}

// addAnchors leaves digests for the log group.
func (s *Set) addAnchors(ctx context.Context, tx *record.Tx, t *Trail, anchors []anchor) error {
	return s.changeProgress(ctx, tx, t.ID, groupSink, func(p *progress) {
		p.Anchors = append(p.Anchors, anchors...)
		if n := len(p.Anchors); n > maxAnchors {
			p.Anchors = p.Anchors[n-maxAnchors:]
		}
	})
}

// dropChains removes the chains of a trail, if it has any.
func (s *Set) dropChains(ctx context.Context, id string) error {
	return s.sweep(ctx, chainPrefix+id+"/", func(string) bool { return true })
}

// sweep removes chains below a prefix whose trail's id is one to be forgotten.
func (s *Set) sweep(ctx context.Context, prefix string, forget func(id string) bool) error {
	for after := ""; ; {
		found, err := s.records.List(ctx, record.KindTrailChain, prefix, after, pageSize)
		if err != nil {
			return err
		}
		tx := s.records.Begin()
		any := false
		for _, f := range found {
			id, _, _ := strings.Cut(strings.TrimPrefix(f.Key, chainPrefix), "/")
			if after = f.Key; forget(id) {
				tx.Delete(f.Record)
				any = true
			}
		}
		if any {
			if _, err := tx.Commit(ctx); err != nil {
				return fmt.Errorf("forgetting the digests of trails: %w", err)
			}
		}
		if len(found) < pageSize {
			return nil
		}
	}
}
