package node

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/keyreeve/keyreeve/internal/audit"
	"github.com/keyreeve/keyreeve/internal/record"
)

// A vault keeps what the audit log must not lose in the records. It implements
// [audit.Vault].
type vault struct{ records *record.Store }

// How far the log has come stands in a record of kind Journal:
//
//	byte  0      version, 1
//	bytes 1-8    size of the segment's writes, big-endian
//	bytes 9-24   tag of the newest write
//	1+n          name of the segment, with its length before it
//	1+n          name of the newest segment that was removed, likewise
const (
	journalKey     = "v1/sys/journal"
	journalVersion = 1
	journalFixed   = 1 + 8 + len(audit.Tag{})
)

var errJournal = errors.New("the record of the audit journal's head is of an unknown version")

func encodeHead(h audit.Head) []byte {
	b := binary.BigEndian.AppendUint64([]byte{journalVersion}, uint64(h.Size))
	b = append(b, h.Tag[:]...)
	for _, name := range []string{h.Segment, h.Removed} {
		b = append(b, byte(len(name)))
		b = append(b, name...)
	}
	return b
}

func decodeHead(b []byte) (h audit.Head, err error) {
	if len(b) < journalFixed || b[0] != journalVersion {
		return audit.Head{}, errJournal
	}
	h.Size = int64(binary.BigEndian.Uint64(b[1:]))
	copy(h.Tag[:], b[9:])
	b = b[journalFixed:]
	for _, name := range []*string{&h.Segment, &h.Removed} {
		if len(b) == 0 || len(b) < 1+int(b[0]) {
			return audit.Head{}, errJournal
		}
		*name, b = string(b[1:1+b[0]]), b[1+b[0]:]
	}
	if len(b) > 0 || h.Size < 0 {
		return audit.Head{}, errJournal
	}
	return h, nil
}

// Head implements [audit.Vault].
func (v vault) Head(ctx context.Context) (audit.Head, bool, error) {
	rec, err := v.records.Get(ctx, record.KindJournal, journalKey)
	if errors.Is(err, record.ErrNotFound) || errors.Is(err, record.ErrTampered) {
		return audit.Head{}, false, nil // what is damaged says nothing
	}
	if err != nil {
		return audit.Head{}, false, fmt.Errorf("reading the head of the audit journal: %w", err)
	}
	h, err := decodeHead(rec.Value)
	return h, err == nil, err
}

// KeepHead implements [audit.Vault].
func (v vault) KeepHead(ctx context.Context, h audit.Head) error {
	tx := v.records.Begin()
	rec, err := v.records.Get(ctx, record.KindJournal, journalKey)
	switch {
	case err == nil:
		tx.Put(rec, encodeHead(h))
	case errors.Is(err, record.ErrNotFound):
		tx.Create(record.KindJournal, journalKey, encodeHead(h))
	case errors.Is(err, record.ErrTampered):
		return v.replaceHead(ctx, h)
	default:
		return fmt.Errorf("keeping the head of the audit journal: %w", err)
	}
	if _, err := tx.Commit(ctx); err != nil {
		return fmt.Errorf("keeping the head of the audit journal: %w", err)
	}
	return nil
}

// replaceHead keeps h instead of a record that is damaged.
func (v vault) replaceHead(ctx context.Context, h audit.Head) error {
	found, err := v.records.List(ctx, record.KindJournal, journalKey, "", 1)
	if err != nil {
		return fmt.Errorf("replacing the head of the audit journal: %w", err)
	}
	for _, f := range found {
		tx := v.records.Begin()
		tx.Delete(f.Record)
		if _, err := tx.Commit(ctx); err != nil {
			return fmt.Errorf("replacing the head of the audit journal: %w", err)
		}
	}
	tx := v.records.Begin()
	tx.Create(record.KindJournal, journalKey, encodeHead(h))
	if _, err := tx.Commit(ctx); err != nil {
		return fmt.Errorf("replacing the head of the audit journal: %w", err)
	}
	return nil
}

// Notes implements [audit.Vault].
func (v vault) Notes(ctx context.Context) ([]audit.Note, error) {
	// An empty commit is a barrier: what was given up on while it was under way
	// is decided after it, and cannot leave a note behind any more.
	if _, err := v.records.Begin().Commit(ctx); err != nil {
		return nil, fmt.Errorf("listing the notes of changes: %w", err)
	}
	var notes []audit.Note
	err := v.each(ctx, func(f record.Found) error {
		notes = append(notes, audit.Note{Slot: strings.TrimPrefix(f.Key, record.IntentPrefix), Text: f.Value, Err: f.Err})
		return nil
	})
	return notes, err
}

// Empty implements [audit.Vault].
func (v vault) Empty(ctx context.Context, slots []string) error {
	tx, n := v.records.Begin(), 0
	err := v.each(ctx, func(f record.Found) error {
		if slices.Contains(slots, strings.TrimPrefix(f.Key, record.IntentPrefix)) {
			tx.Delete(f.Record)
			n++
		}
		return nil
	})
	if err != nil || n == 0 {
		return err
	}
	if _, err := tx.Commit(ctx); err != nil {
		return fmt.Errorf("removing notes of changes: %w", err)
	}
	return nil
}

// each calls f for the notes, in the order of their slots.
func (v vault) each(ctx context.Context, f func(record.Found) error) error {
	const page = 100
	for after := ""; ; {
		found, err := v.records.List(ctx, record.KindIntent, record.IntentPrefix, after, page)
		if err != nil {
			return fmt.Errorf("listing the notes of changes: %w", err)
		}
		for _, one := range found {
			after = one.Key
			if err := f(one); err != nil {
				return err
			}
		}
		if len(found) < page {
			return nil
		}
	}
}
