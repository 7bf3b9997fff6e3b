package record

import (
	"time"

	"github.com/keyreeve/keyreeve/internal/store"
)

// OpenValue opens what stands at a key, and SealValue is the reverse.
func (s *Store) OpenValue(kind Kind, key string, val []byte) (Record, error) {
	return s.open(kind, store.KV{Key: key, Val: val, Rev: 1})
}

func (s *Store) SealValue(rec Record) ([]byte, error) {
	return s.seal(rec.Kind, rec.Key, rec.Generation, rec.Value)
}

// ParseMark parses the file of a mark, and SealMark is the reverse.
func (s *Store) ParseMark(b []byte) (id [16]byte, head store.Rev, newest time.Time, err error) {
	m, err := s.parseMark(b)
	if err != nil {
		return id, 0, newest, err
	}
	return m.id, m.head, m.newest, nil
}

func (s *Store) SealMark(id [16]byte, head store.Rev, newest time.Time) ([]byte, error) {
	return s.markFile(id, head, newest)
}
