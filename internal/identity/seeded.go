package identity

import (
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"

	"github.com/keyreeve/keyreeve/internal/record"
)

// What seed files have made stands in one record, so that it is made once and
// never again: else whoever deletes the record of a key or access key that was
// disabled would get it back as the file has it. The record is made, empty, in
// the transaction that makes the installation; so it is missing only if it was
// taken away, and then nothing is seeded at all.
//
// Its value is the version and, in order, the first 16 bytes of the SHA-256 of
// each name.
const seededKey = "v1/sys/seeded"

// MaxSeeded is the most that seed files can make in an installation, over all
// its life. A record holds no more.
const MaxSeeded = 65_000

const nameHashSize = 16

type nameHash [nameHashSize]byte

func hashName(name string) nameHash {
	sum := sha256.Sum256([]byte(name))
	return nameHash(sum[:nameHashSize])
}

// Seeded is what seed files have made so far, by names that are package seed's.
type Seeded struct {
	d     *Directory
	names map[nameHash]struct{}
}

// Seeded returns what seed files have made so far. It is a
// [record.ErrTampered] if that is not known any more.
func (d *Directory) Seeded(ctx context.Context) (*Seeded, error) {
	names, _, err := d.loadSeeded(ctx)
	if err != nil {
		return nil, err
	}
	return &Seeded{d: d, names: names}, nil
}

// Has reports whether a seed file has made it.
func (s *Seeded) Has(name string) bool {
	_, ok := s.names[hashName(name)]
	return ok
}

// Len returns how much there is.
func (s *Seeded) Len() int { return len(s.names) }

// Gone is Has for what is not there any more, and is not made again: that is
// logged.
func (s *Seeded) Gone(name string) bool {
	if !s.Has(name) {
		return false
	}
	s.d.log.Info("a seed file made it before, and it is gone: it is not made again", "what", name)
	return true
}

// AddSeeded notes that a seed file has made these. Error: ErrLimit for more
// than MaxSeeded.
func (d *Directory) AddSeeded(ctx context.Context, names []string) error {
	err := d.retry(ctx, func() error {
		have, rec, err := d.loadSeeded(ctx)
		if err != nil {
			return err
		}
		before := len(have)
		for _, name := range names {
			have[hashName(name)] = struct{}{}
		}
		if len(have) == before {
			return nil
		}
		if len(have) > MaxSeeded {
			return fmt.Errorf("%w: seed files can make %d things", ErrLimit, MaxSeeded)
		}
		tx := d.rs.Begin()
		tx.Put(rec, encodeSeeded(have))
		_, err = tx.Commit(ctx)
		return err
	})
	if err != nil {
		return fmt.Errorf("noting what was seeded: %w", err)
	}
	return nil
}

func (d *Directory) loadSeeded(ctx context.Context) (map[nameHash]struct{}, record.Record, error) {
	names, rec, err := load(ctx, d.rs, record.KindSystem, seededKey, "what seed files have made", decodeSeeded)
	return names, rec, takenAway(err)
}

func encodeSeeded(names map[nameHash]struct{}) []byte {
	b := make([]byte, 0, 1+nameHashSize*len(names))
	b = append(b, 1)
	for _, h := range slices.SortedFunc(maps.Keys(names), func(x, y nameHash) int { return slices.Compare(x[:], y[:]) }) {
		b = append(b, h[:]...)
	}
	return b
}

func decodeSeeded(rec record.Record) (map[nameHash]struct{}, error) {
	r := newReader(rec.Value, 1)
	n := len(r.b) / nameHashSize
	names := make(map[nameHash]struct{}, n)
	var last []byte
	for range n {
		h := r.take(nameHashSize)
		if h == nil || last != nil && slices.Compare(last, h) >= 0 {
			r.fail()
			break
		}
		names[nameHash(h)] = struct{}{}
		last = h
	}
	return names, r.end()
}
