package archive

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/keyreeve/keyreeve/internal/archive/index"
	"github.com/keyreeve/keyreeve/internal/record"
)

// Where the heads stand.
const (
	headKey     = "v1/archive/head"
	chainPrefix = "v1/archive/chain/"
)

// head is what of the archive has been delivered: a sealed record. The files
// that no digest lists yet are covered by Chain, so that they cannot be
// exchanged before one does.
type head struct {
	Version int    `json:"v"`       // 1
	Through uint64 `json:"through"` // the newest segment that was delivered
	Files   uint64 `json:"files"`   // number of the newest file
	Chain   string `json:"chain"`   // over all files through that one; see extend
	// First is the first delivery that the index has to tell of: those before it
	// have expired. 0 means the first of all.
	First uint64 `json:"first,omitempty"`
	// Kept are the identities of segments that were delivered and may still be
	// in the journal; see identify.
	Kept []string `json:"kept,omitempty"`

	Digested      uint64 `json:"digested"` // digests list all files through this one
	DigestedChain string `json:"digestedChain"`

	// Rounding is the end of the digests that are being made; zero while none
	// are. A digest that ends then and stands in no chain is removed at Open.
	Rounding time.Time `json:"rounding,omitzero"`
	Round    time.Time `json:"round,omitzero"` // the end of those that were made last

	// Rebuilt is when the index was made anew; zero once that has been reported.
	Rebuilt time.Time `json:"rebuilt,omitzero"`
}

// chain is the head of the digests of one account and Region: a sealed record.
type chain struct {
	Version int       `json:"v"` // 1
	Account string    `json:"account"`
	Region  string    `json:"region"`
	Newest  Link      `json:"newest"`
	End     time.Time `json:"end"`    // of the newest digest
	Active  time.Time `json:"active"` // the end of the newest one that lists files
	Files   uint64    `json:"files"`  // no later file is listed
	Oldest  time.Time `json:"oldest"` // the end of the oldest one that is kept
	First   bool      `json:"first"`  // that one is the first of all
	Count   uint64    `json:"count"`  // how many there have been

	rec record.Record // without its value
}

func (c *chain) pair() pair { return pair{c.Account, c.Region} }

func chainKey(p pair) string { return chainPrefix + p.account + "/" + p.region }

// extend returns the hash that covers a file and all before it.
func extend(before string, f index.File) string {
	h := sha256.New()
	h.Write([]byte(before))
	var n [8]byte
	for _, u := range []uint64{f.Number, uint64(f.Size), uint64(len(f.Path))} {
		binary.BigEndian.PutUint64(n[:], u)
		h.Write(n[:])
	}
	h.Write([]byte(f.Path))
	h.Write(f.Hash[:])
	return hex.EncodeToString(h.Sum(nil))
}

func (a *Archive) loadHead(ctx context.Context) error {
	rec, err := a.records.Get(ctx, record.KindArchive, headKey)
	switch {
	case errors.Is(err, record.ErrNotFound):
		a.head = head{Version: 1}
		return nil
	case err != nil:
		return err
	}
	if err := json.Unmarshal(rec.Value, &a.head); err != nil {
		return fmt.Errorf("the head of the archive: %w", err)
	}
	if a.head.Version != 1 {
		return fmt.Errorf("the head of the archive: version %d is not known", a.head.Version)
	}
	a.headRec = rec
	return nil
}

// saveHead stores a head, and takes it.
func (a *Archive) saveHead(ctx context.Context, h head) error {
	text, err := json.Marshal(&h)
	if err != nil {
		return err
	}
	tx := a.records.Begin()
	if a.headRec.Rev == 0 {
		tx.Create(record.KindArchive, headKey, text)
	} else {
		tx.Put(a.headRec, text)
	}
	if _, err := tx.Commit(ctx); err != nil {
		a.unsure = true
		return fmt.Errorf("storing the head of the archive: %w", err)
	}
	a.head = h
	if a.headRec, err = a.records.Get(ctx, record.KindArchive, headKey); err != nil {
		a.unsure = true
		return fmt.Errorf("reading the head of the archive: %w", err)
	}
	return nil
}

// reread finds out what the store has after a commit that failed: it may have
// happened all the same. Of the head nothing is lost, since what is known here is
// stored with the next one; a chain goes on from what is stored.
func (a *Archive) reread(ctx context.Context) error {
	rec, err := a.records.Get(ctx, record.KindArchive, headKey)
	if err != nil && !errors.Is(err, record.ErrNotFound) {
		return fmt.Errorf("reading the head of the archive: %w", err)
	}
	a.headRec = rec
	if err := a.loadChains(ctx); err != nil {
		return err
	}
	for _, c := range a.chains {
		a.listed(c)
	}
	a.unsure = false
	return nil
}

func (a *Archive) loadChains(ctx context.Context) error {
	for after := ""; ; {
		found, err := a.records.List(ctx, record.KindChain, chainPrefix, after, 0)
		if err != nil {
			return fmt.Errorf("reading the heads of digests: %w", err)
		}
		for _, f := range found {
			if f.Err != nil {
				return fmt.Errorf("reading a head of digests: %w", f.Err)
			}
			c, err := decodeChain(f.Record)
			if err != nil {
				return fmt.Errorf("reading a head of digests: %s: %w", f.Key, err)
			}
			a.mu.Lock()
			a.chains[c.pair()] = c
			a.mu.Unlock()
		}
		if len(found) == 0 {
			return nil
		}
		after = found[len(found)-1].Key
	}
}

func decodeChain(rec record.Record) (*chain, error) {
	c := new(chain)
	if err := json.Unmarshal(rec.Value, c); err != nil {
		return nil, err
	}
	if c.Version != 1 {
		return nil, fmt.Errorf("version %d is not known", c.Version)
	}
	rec.Value = nil
	c.rec = rec
	return c, nil
}

// batch is how many chains are stored in one commit.
const batch = 40

// saveChains stores chains, each of which replaces the one of its pair, and
// takes those that are stored.
func (a *Archive) saveChains(ctx context.Context, chains []*chain) error {
	for some := range slices.Chunk(chains, batch) {
		tx := a.records.Begin()
		for _, c := range some {
			text, err := json.Marshal(c)
			if err != nil {
				return err
			}
			if c.rec.Rev == 0 {
				tx.Create(record.KindChain, chainKey(c.pair()), text)
			} else {
				tx.Put(c.rec, text)
			}
		}
		if _, err := tx.Commit(ctx); err != nil {
			a.unsure = true
			return fmt.Errorf("storing the heads of digests: %w", err)
		}
		for _, c := range some {
			rec, err := a.records.Get(ctx, record.KindChain, chainKey(c.pair()))
			if err != nil {
				a.unsure = true
				return fmt.Errorf("reading the heads of digests: %w", err)
			}
			rec.Value = nil
			c.rec = rec
			a.mu.Lock()
			a.chains[c.pair()] = c
			a.mu.Unlock()
		}
	}
	return nil
}

// Head is the newest digest of an account and Region, as the node knows it:
// what [Verify] holds a directory to, so that the newest digests can't be left
// out.
type Head struct {
	Account string    `json:"account"`
	Region  string    `json:"region"`
	Newest  Link      `json:"newest"`
	End     time.Time `json:"end"`    // of the newest digest
	Oldest  time.Time `json:"oldest"` // the end of the oldest digest that is kept
	Count   uint64    `json:"count"`  // of all digests that there have been
}

// Heads returns the heads of all chains, by account and Region.
func (a *Archive) Heads() []Head {
	a.mu.Lock()
	defer a.mu.Unlock()
	heads := make([]Head, 0, len(a.chains))
	for _, c := range a.chains {
		heads = append(heads, Head{Account: c.Account, Region: c.Region, Newest: c.Newest, End: c.End, Oldest: c.Oldest, Count: c.Count})
	}
	slices.SortFunc(heads, func(x, y Head) int {
		return pair{x.Account, x.Region}.compare(pair{y.Account, y.Region})
	})
	return heads
}
