package boltstore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/keyreeve/keyreeve/internal/durable"
	"github.com/keyreeve/keyreeve/internal/store"
)

// file is an open store file, which is closed when another has taken its place
// and nobody reads it any more.
type file struct {
	db *bolt.DB
	// users are those who read it, and one more as long as it is the store's.
	users atomic.Int64
}

func newFile(db *bolt.DB) *file {
	f := &file{db: db}
	f.users.Store(1)
	return f
}

// use returns the store's file, which stays open until done is called.
func (s *Store) use() *file {
	for {
		f := s.file.Load()
		if n := f.users.Load(); n > 0 && f.users.CompareAndSwap(n, n+1) {
			return f
		}
	}
}

func (f *file) done() {
	if f.users.Add(-1) == 0 {
		f.db.Close() // nothing is written to it any more: it cannot fail in a way that matters
	}
}

const (
	compactSuffix = ".compact"
	// maxChanged is how many keys may change during a compaction.
	maxChanged = 1 << 20
	// compactBytes is how much of the copy is made in one transaction.
	compactBytes = 8 << 20
)

// spareRoom is how many bytes of the disk a compaction leaves to others, such as the
// audit log, which needs room so that calls can be answered.
const spareRoom = 256 << 20

// ErrNoRoom: the disk has not enough room for a compaction.
var ErrNoRoom = errors.New("boltstore: not enough room on the disk")

// ErrBusy: more has changed during a compaction than can be remembered.
var ErrBusy = errors.New("boltstore: too much changed during the compaction")

// Compact makes the file anew, of what is in the store alone: after it, what was
// deleted or replaced before it is not in the file, and takes no room. Meanwhile the store goes on; only at the end commits wait, while what
// changed meanwhile is written and synced. It takes as much room on the disk as
// the store, and does not begin unless 256 MiB are left besides: ErrNoRoom. If it
// fails, nothing has changed, but for [Store.Err], which then may be ErrFailed. Now
// is what CompactedAt returns afterwards.
func (s *Store) Compact(ctx context.Context, now time.Time) (err error) {
	s.compacting.Lock()
	defer s.compacting.Unlock()
	if s.failed.Load() {
		return ErrFailed
	}
	defer func() {
		if err != nil && !errors.Is(err, store.ErrClosed) {
			err = fmt.Errorf("boltstore: compacting: %w", err)
		}
	}()
	if err := s.checkRoom(); err != nil {
		return err
	}
	path := s.path + compactSuffix
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	db, _, err := openFile(path, s.options)
	if err != nil {
		return err
	}
	swapped := false
	defer func() {
		if !swapped {
			db.Close()
			os.Remove(path)
		}
	}()
	db.NoSync = true // until all of it is there

	// From the moment of this transaction on, the writer notes what changes.
	var tx *bolt.Tx
	if err := s.meanwhile(ctx, func() error {
		tx, err = s.file.Load().db.Begin(false)
		s.changed = make(map[string]struct{})
		return err
	}); err != nil {
		return err
	}
	defer func() {
		// If there is no writer any more, nobody notes anything.
		_ = s.meanwhile(context.WithoutCancel(ctx), func() error {
			s.changed = nil
			return nil
		})
	}()
	err = s.copyTo(ctx, db, tx, now)
	_ = tx.Rollback()
	if err != nil {
		return err
	}
	if err := db.Sync(); err != nil {
		return err
	}
	return s.meanwhile(ctx, func() error {
		switch {
		case s.failed.Load():
			return ErrFailed // what the file has is not known
		case len(s.changed) > maxChanged:
			return ErrBusy
		}
		if err := s.catchUp(db); err != nil {
			return err
		}
		db.NoSync = false
		if err := db.Sync(); err != nil {
			return err
		}
		if err := os.Rename(path, s.path); err != nil {
			return err
		}
		swapped = true
		if err := durable.SyncDir(filepath.Dir(s.path)); err != nil {
			// Which of the two files a crash would leave is not known.
			s.failed.Store(true)
			return err
		}
		old := s.file.Swap(newFile(db))
		old.done()
		return nil
	})
}

// checkRoom returns ErrNoRoom if a file as large as the store's would leave too
// little of the disk.
func (s *Store) checkRoom() error {
	info, err := os.Stat(s.path)
	if err != nil {
		return err
	}
	free := durable.Free
	if s.options.free != nil {
		free = s.options.free
	}
	if n, ok := free(filepath.Dir(s.path)); ok && n < info.Size()+spareRoom {
		return fmt.Errorf("%w: %d bytes are free, the store has %d", ErrNoRoom, n, info.Size())
	}
	return nil
}

// meanwhile has the writer do something between two batches.
func (s *Store) meanwhile(ctx context.Context, do func() error) error {
	done := make(chan error, 1)
	select {
	case s.between <- func() { done <- do() }:
		return <-done
	case <-ctx.Done():
		return ctx.Err()
	case <-s.stopped:
		return store.ErrClosed
	}
}

// copyTo copies what a transaction sees into an empty file.
func (s *Store) copyTo(ctx context.Context, db *bolt.DB, from *bolt.Tx, now time.Time) error {
	err := db.Update(func(tx *bolt.Tx) error {
		meta, _, err := createBuckets(tx)
		if err != nil {
			return err
		}
		return putCompacted(meta, now)
	})
	if err != nil {
		return err
	}
	c := from.Bucket(dataBucket).Cursor()
	k, v := c.First()
	for k != nil {
		if err := ctx.Err(); err != nil {
			return err
		}
		if s.closed() {
			return store.ErrClosed
		}
		err := db.Update(func(tx *bolt.Tx) error {
			data := tx.Bucket(dataBucket)
			data.FillPercent = 0.9 // the keys come in order, and few will come between
			for size := 0; k != nil && size < compactBytes; k, v = c.Next() {
				if err := data.Put(k, v); err != nil {
					return err
				}
				size += len(k) + len(v)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// catchUp brings a copy to where the store is. Only the writer may call it.
func (s *Store) catchUp(db *bolt.DB) error {
	from, err := s.file.Load().db.Begin(false)
	if err != nil {
		return err
	}
	defer func() { _ = from.Rollback() }()
	now := from.Bucket(dataBucket)
	return db.Update(func(tx *bolt.Tx) error {
		meta, data := tx.Bucket(metaBucket), tx.Bucket(dataBucket)
		for key := range s.changed {
			k := []byte(key)
			var err error
			if v := now.Get(k); v != nil {
				err = data.Put(k, v)
			} else {
				err = data.Delete(k)
			}
			if err != nil {
				return err
			}
		}
		return putState(meta, data, s.head, s.count)
	})
}

// closed reports whether Close was called.
func (s *Store) closed() bool {
	select {
	case <-s.closing:
		return true
	default:
		return false
	}
}

func putCompacted(meta *bolt.Bucket, at time.Time) error {
	return meta.Put(compactedKey, binary.BigEndian.AppendUint64(nil, uint64(at.UnixMilli())))
}

// CompactedAt returns when the file was last compacted, or made if it never was,
// to the millisecond; zero for a file that was made before this was known.
func (s *Store) CompactedAt(ctx context.Context) (at time.Time, err error) {
	err = s.view(ctx, func(data *bolt.Bucket, _ store.Rev) error {
		if b := data.Tx().Bucket(metaBucket).Get(compactedKey); len(b) == 8 {
			at = time.UnixMilli(int64(binary.BigEndian.Uint64(b))).UTC()
		}
		return nil
	})
	return at, err
}
