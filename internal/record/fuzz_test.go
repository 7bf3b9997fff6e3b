package record_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/record"
	"github.com/keyreeve/keyreeve/internal/seal"
	"github.com/keyreeve/keyreeve/internal/store"
)

// plainBox seals nothing: it puts purpose and associated data before the
// plaintext. With a true box, nothing that a fuzzer makes would ever open.
type plainBox struct{}

func (plainBox) head(p seal.Purpose, aad []byte) []byte {
	return append(binary.BigEndian.AppendUint16([]byte{byte(p)}, uint16(len(aad))), aad...)
}

func (b plainBox) Seal(p seal.Purpose, aad, plaintext []byte) ([]byte, error) {
	return append(b.head(p, aad), plaintext...), nil
}

func (plainBox) SealedUntil(uint32) (time.Time, bool) { return time.Time{}, true }

func (b plainBox) Open(p seal.Purpose, aad, sealed []byte) ([]byte, error) {
	plaintext, ok := bytes.CutPrefix(sealed, b.head(p, aad))
	if !ok {
		return nil, seal.ErrNotOpened
	}
	return bytes.Clone(plaintext), nil
}

// FuzzRecord opens whatever may stand in the store: it is tampered with, or it
// is what sealing makes.
func FuzzRecord(f *testing.F) {
	st := store.NewMem()
	f.Cleanup(func() { st.Close() })
	plain := openStore(f, st, plainBox{}, record.Options{})
	boxed := openStore(f, st, newBox(f, st), record.Options{})
	for _, s := range []*record.Store{plain, boxed} {
		val, err := s.SealValue(record.Record{Kind: record.KindKey, Key: keyA, Generation: 7, Value: []byte("value")})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(byte(record.KindKey), keyA, val)
		f.Add(byte(record.KindKey), keyB, val)
		f.Add(byte(record.KindAlias), keyA, val)
		f.Add(byte(record.KindKey), keyA, val[:9])
	}
	f.Add(byte(0), "", []byte{})
	f.Fuzz(func(t *testing.T, kind byte, key string, val []byte) {
		if len(key) > store.MaxKey {
			return
		}
		if _, err := boxed.OpenValue(record.Kind(kind), key, val); err != nil && !errors.Is(err, record.ErrTampered) {
			t.Errorf("OpenValue: %v, want ErrTampered", err)
		}
		rec, err := plain.OpenValue(record.Kind(kind), key, val)
		if err != nil {
			if !errors.Is(err, record.ErrTampered) || rec.Value != nil {
				t.Errorf("OpenValue = %v, %v, want ErrTampered", rec, err)
			}
			return
		}
		if again, err := plain.SealValue(rec); err != nil || !bytes.Equal(again, val) || rec.Kind != record.Kind(kind) || rec.Key != key {
			t.Errorf("%x opened as %+v, which seals to %x, %v", val, rec, again, err)
		}
	})
}

// FuzzMark reads whatever may stand in the file of a mark.
func FuzzMark(f *testing.F) {
	st := store.NewMem()
	f.Cleanup(func() { st.Close() })
	plain := openStore(f, st, plainBox{}, record.Options{})
	boxed := openStore(f, st, newBox(f, st), record.Options{})
	for _, s := range []*record.Store{plain, boxed} {
		b, err := s.SealMark([16]byte{1, 2, 3}, 42, time.UnixMicro(1_795_000_000_000_000))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
		f.Add(b[:len(b)-1])
		f.Add(b[:1])
	}
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, _, _, err := boxed.ParseMark(b); err == nil && !bytes.HasPrefix(b, []byte{1}) {
			t.Errorf("%x is a mark", b)
		}
		id, head, newest, err := plain.ParseMark(b)
		if err != nil {
			return
		}
		again, err := plain.SealMark(id, head, newest)
		if err != nil {
			t.Fatal(err)
		}
		// A time before 1970 is none that a mark is written with.
		if newest.UnixMicro() >= 0 && !bytes.Equal(again, b) {
			t.Errorf("%x is a mark of %x, %d, %v, and is written as %x", b, id, head, newest, again)
		}
	})
}
