// Package boltstore keeps a store in one local file.
//
// The engine is bbolt: a B+tree in a memory-mapped file, copied on write, with
// one writer. Commits are grouped: while one batch is written and synced, the
// next gathers, up to 256 commits for a sync, each with its own verdict and
// revision. What is acknowledged is on disk, as far as the disk tells the
// truth; [Warning] knows a file system that may not.
//
// # In the file
//
//	bucket "meta"
//	    "state"   byte  0      version of this layout, 1
//	              bytes 1-8    head revision, big-endian
//	              bytes 9-16   number of pairs, big-endian
//	    "compacted"  bytes 0-7  when the file was made or last compacted, in
//	              milliseconds since 1970, big-endian; absent from a file of before
//	bucket "data"              its sequence is the head revision, too
//	    key       bytes 0-7    revision of the last change, big-endian
//	              then         the value
//
// # When writing fails
//
// A batch that could not be written (a full disk, say) is rolled back: all its
// commits give an error, and the store goes on as before. If it cannot be told
// whether the disk has it, because the last sync of a batch failed, commits
// give [ErrFailed] from then on: to go on writing over a state of which it is
// not known whether it is on disk could lose both. Reads go on; opening the
// store again finds one state or the other.
//
// # What was deleted
//
// A page whose pairs were deleted or replaced stays in the file as it was until
// it is used again, and the file never shrinks. [Store.Compact] makes the file
// anew, of what is in the store alone, and takes its place.
package boltstore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/keyreeve/keyreeve/internal/durable"
	"github.com/keyreeve/keyreeve/internal/store"
)

// Errors of opening and using a file, besides those of package store.
var (
	// ErrLocked: another process has the file open.
	ErrLocked = errors.New("boltstore: the file is in use by another process")
	// ErrFormat: the file is no store, or of a layout this program does not know.
	ErrFormat = errors.New("boltstore: not a store file that this program knows")
	// ErrFailed: syncing the file has failed. The store takes no more commits
	// until it is opened again.
	ErrFailed = errors.New("boltstore: a sync has failed; restart to go on writing")
)

// Options are the options of a store file. The zero value is usable.
type Options struct {
	// LockTimeout is how long to wait for another process to let go of the
	// file; 2 s if 0.
	LockTimeout time.Duration

	// Now is the clock by which a new file says when it was made; time.Now if nil.
	Now func() time.Time

	commit func(*bolt.Tx) error           // (*bolt.Tx).Commit if nil; tests make it fail
	free   func(dir string) (int64, bool) // durable.Free if nil; tests fill the disk
}

// maxBatch is the number of commits in a batch at most.
const maxBatch = 256

// mapped is how much address space is set aside for the file. As long as the
// file fits, a reader that takes its time (a snapshot over a slow line) does
// not keep the writer from growing it.
const mapped = 16 << 30

const (
	layoutVersion = 1
	stateSize     = 1 + 8 + 8
	revSize       = 8
)

var (
	metaBucket   = []byte("meta")
	dataBucket   = []byte("data")
	stateKey     = []byte("state")
	compactedKey = []byte("compacted")
)

// Store is a store in a file. It implements [store.Store].
type Store struct {
	path     string
	options  Options
	file     atomic.Pointer[file]
	hub      *store.Hub
	commitTx func(*bolt.Tx) error

	compacting sync.Mutex  // held by Compact
	between    chan func() // done by the writer between two batches
	queue      chan *request
	closing    chan struct{} // closed by Close: no more commits
	stopped    chan struct{} // closed when the writer has ended
	once       sync.Once     // guards Close

	// Owned by the writer.
	head    store.Rev
	count   uint64
	changed map[string]struct{} // keys that changed during a compaction; nil without one

	failed atomic.Bool // set by the writer
}

var _ store.Store = (*Store)(nil)

// request is a commit on its way through the writer.
type request struct {
	conds []store.Cond
	ops   []op
	state atomic.Int32  // queued, then taken or abandoned
	done  chan struct{} // closed when the rest is there

	rev store.Rev
	ok  bool
	err error
}

const (
	queued = iota
	taken
	abandoned
)

// op is a [store.Op] made ready: val is the stored form, with room for the
// revision in front, nil for a delete.
type op struct {
	key string
	val []byte
}

// Open opens the store in the file at path, and makes it with mode 0600 if there
// is none; the directory must exist. One process can have it open.
func Open(path string, o Options) (_ *Store, err error) {
	if o.LockTimeout <= 0 {
		o.LockTimeout = 2 * time.Second
	}
	_, statErr := os.Stat(path)
	f, err := openCurrent(path, o)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			f.db.Close()
		}
	}()
	// Of a compaction that was cut off.
	if err := os.Remove(path + compactSuffix); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("opening store: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, fmt.Errorf("opening store: %w", err)
	}
	if errors.Is(statErr, os.ErrNotExist) {
		if err := durable.SyncDir(filepath.Dir(path)); err != nil {
			return nil, fmt.Errorf("opening store: %w", err)
		}
	}
	s := &Store{
		path:     path,
		options:  o,
		commitTx: o.commit,
		between:  make(chan func()),
		queue:    make(chan *request, maxBatch),
		closing:  make(chan struct{}),
		stopped:  make(chan struct{}),
	}
	if s.commitTx == nil {
		s.commitTx = (*bolt.Tx).Commit
	}
	s.file.Store(f)
	if err := s.init(f.db); err != nil {
		return nil, fmt.Errorf("opening store %s: %w", path, err)
	}
	s.hub = store.NewHub(s.head)
	go s.write()
	return s, nil
}

// openCurrent opens the file at path, and again if another process has put
// another file in its place while this one waited for the lock.
func openCurrent(path string, o Options) (*file, error) {
	for {
		db, opened, err := openFile(path, o)
		if err != nil {
			return nil, err
		}
		there, err := os.Stat(path)
		if err == nil {
			var mine os.FileInfo
			if mine, err = opened.Stat(); err == nil && os.SameFile(mine, there) {
				return newFile(db), nil
			}
		}
		db.Close()
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("opening store: %w", err)
		}
	}
}

func openFile(path string, o Options) (db *bolt.DB, file *os.File, err error) {
	size := 0
	if math.MaxInt > math.MaxInt32 {
		size = mapped
	}
	bo := bolt.Options{
		Timeout:         o.LockTimeout,
		NoFreelistSync:  true,
		FreelistType:    bolt.FreelistMapType,
		InitialMmapSize: size,
		NoStatistics:    true,
		OpenFile: func(name string, flag int, mode os.FileMode) (*os.File, error) {
			f, err := os.OpenFile(name, flag, mode)
			file = f
			return f, err
		},
	}
	defer func() {
		// The engine panics on a file whose tree is broken.
		if p := recover(); p != nil {
			if file != nil {
				file.Close()
			}
			db, file, err = nil, nil, fmt.Errorf("opening store %s: %w: it is damaged: %v", path, ErrFormat, p)
		}
	}()
	db, err = bolt.Open(path, 0o600, &bo)
	if errors.Is(err, syscall.ENOMEM) {
		bo.InitialMmapSize = 0 // address space is limited
		db, err = bolt.Open(path, 0o600, &bo)
	}
	switch {
	case err == nil:
		return db, file, nil
	case errors.Is(err, bolterrors.ErrTimeout):
		return nil, nil, fmt.Errorf("opening store %s: %w", path, ErrLocked)
	case errors.Is(err, bolterrors.ErrInvalid), errors.Is(err, bolterrors.ErrVersionMismatch), errors.Is(err, bolterrors.ErrChecksum):
		return nil, nil, fmt.Errorf("opening store %s: %w: %w", path, ErrFormat, err)
	default:
		return nil, nil, fmt.Errorf("opening store: %w", err)
	}
}

// init reads the state, or writes that of a new file.
func (s *Store) init(db *bolt.DB) error {
	fresh := false
	err := db.View(func(tx *bolt.Tx) error {
		meta, data := tx.Bucket(metaBucket), tx.Bucket(dataBucket)
		if meta == nil && data == nil {
			if k, _ := tx.Cursor().First(); k != nil {
				return fmt.Errorf("%w: it holds other things", ErrFormat)
			}
			fresh = true
			return nil
		}
		if meta == nil || data == nil {
			return fmt.Errorf("%w: a bucket is missing", ErrFormat)
		}
		state := meta.Get(stateKey)
		if len(state) == 0 {
			return fmt.Errorf("%w: its state is missing", ErrFormat)
		}
		if state[0] != layoutVersion {
			return fmt.Errorf("%w: layout version %d, this program knows %d", ErrFormat, state[0], layoutVersion)
		}
		if len(state) != stateSize {
			return fmt.Errorf("%w: its state is damaged", ErrFormat)
		}
		s.head = store.Rev(binary.BigEndian.Uint64(state[1:]))
		s.count = binary.BigEndian.Uint64(state[9:])
		if data.Sequence() != uint64(s.head) {
			return fmt.Errorf("%w: its revisions disagree: %d and %d", ErrFormat, s.head, data.Sequence())
		}
		return nil
	})
	if err != nil || !fresh {
		return err
	}
	return db.Update(func(tx *bolt.Tx) error {
		meta, data, err := createBuckets(tx)
		if err != nil {
			return err
		}
		now := time.Now
		if s.options.Now != nil {
			now = s.options.Now
		}
		if err := putCompacted(meta, now()); err != nil {
			return err
		}
		return putState(meta, data, 0, 0)
	})
}

func createBuckets(tx *bolt.Tx) (meta, data *bolt.Bucket, err error) {
	if meta, err = tx.CreateBucket(metaBucket); err != nil {
		return nil, nil, err
	}
	data, err = tx.CreateBucket(dataBucket)
	return meta, data, err
}

func putState(meta, data *bolt.Bucket, head store.Rev, count uint64) error {
	state := make([]byte, 0, stateSize)
	state = append(state, layoutVersion)
	state = binary.BigEndian.AppendUint64(state, uint64(head))
	state = binary.BigEndian.AppendUint64(state, count)
	if err := meta.Put(stateKey, state); err != nil {
		return err
	}
	return data.SetSequence(uint64(head))
}

// view calls f with the pairs and the head revision of one moment.
func (s *Store) view(ctx context.Context, f func(data *bolt.Bucket, head store.Rev) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case <-s.closing:
		return store.ErrClosed
	default:
	}
	file := s.use()
	defer file.done()
	tx, err := file.db.Begin(false)
	if errors.Is(err, bolterrors.ErrDatabaseNotOpen) {
		return store.ErrClosed
	}
	if err != nil {
		return fmt.Errorf("boltstore: reading: %w", err)
	}
	defer tx.Rollback()
	data := tx.Bucket(dataBucket)
	return f(data, store.Rev(data.Sequence()))
}

// Get is [store.Store.Get].
func (s *Store) Get(ctx context.Context, key string) (kv store.KV, head store.Rev, err error) {
	if err := store.CheckKey(key); err != nil {
		return store.KV{}, 0, err
	}
	kv.Key = key
	err = s.view(ctx, func(data *bolt.Bucket, at store.Rev) error {
		head = at
		if b := data.Get([]byte(key)); b != nil {
			kv.Rev, kv.Val = unpack(b)
		}
		return nil
	})
	if err != nil {
		return store.KV{}, 0, err
	}
	return kv, head, nil
}

// unpack returns what a stored value says; val is a copy, since stored values
// are good only within their transaction.
func unpack(b []byte) (rev store.Rev, val []byte) {
	return store.Rev(binary.BigEndian.Uint64(b)), append(make([]byte, 0, len(b)-revSize), b[revSize:]...)
}

// Range is [store.Store.Range].
func (s *Store) Range(ctx context.Context, from, to string, limit int) (kvs []store.KV, head store.Rev, err error) {
	if limit <= 0 {
		limit = store.DefaultLimit
	}
	err = s.view(ctx, func(data *bolt.Bucket, at store.Rev) error {
		head = at
		c := data.Cursor()
		for k, b := c.Seek([]byte(from)); k != nil && len(kvs) < limit; k, b = c.Next() {
			if to != "" && string(k) >= to {
				break
			}
			rev, val := unpack(b)
			kvs = append(kvs, store.KV{Key: string(k), Val: val, Rev: rev})
		}
		return nil
	})
	if err != nil {
		return nil, 0, err
	}
	return kvs, head, nil
}

// Head is [store.Store.Head].
func (s *Store) Head(ctx context.Context) (head store.Rev, err error) {
	// Not the writer's number: a Get that has seen a commit must not be
	// followed by a Head from before it.
	err = s.view(ctx, func(_ *bolt.Bucket, at store.Rev) error {
		head = at
		return nil
	})
	return head, err
}

// Snapshot is [store.Store.Snapshot].
func (s *Store) Snapshot(ctx context.Context, w io.Writer) error {
	return s.view(ctx, func(data *bolt.Bucket, head store.Rev) error {
		state := data.Tx().Bucket(metaBucket).Get(stateKey)
		sw, err := store.NewSnapshotWriter(w, head, int(binary.BigEndian.Uint64(state[9:])))
		if err != nil {
			return err
		}
		c := data.Cursor()
		for k, b := c.First(); k != nil; k, b = c.Next() {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := sw.Add(string(k), b[revSize:]); err != nil {
				return err
			}
		}
		return sw.Close()
	})
}

// Watch is [store.Store.Watch].
func (s *Store) Watch(ctx context.Context, prefix string, from store.Rev) (<-chan store.Batch, error) {
	return s.hub.Watch(ctx, prefix, from)
}

// Commit is [store.Store.Commit]. If ctx ends while the commit waits for its
// turn, it does not happen; if it ends while the commit is being written, it
// may.
func (s *Store) Commit(ctx context.Context, conds []store.Cond, ops []store.Op) (store.Rev, bool, error) {
	if err := store.CheckCommit(conds, ops); err != nil {
		return 0, false, err
	}
	if err := ctx.Err(); err != nil {
		return 0, false, err
	}
	select {
	case <-s.closing:
		return 0, false, store.ErrClosed
	default:
	}
	// The writer may outlive this call, so nothing of the caller's is kept.
	r := &request{
		conds: append(make([]store.Cond, 0, len(conds)), conds...),
		ops:   make([]op, len(ops)),
		done:  make(chan struct{}),
	}
	for i, o := range ops {
		r.ops[i].key = o.Key
		if o.Val != nil {
			val := make([]byte, revSize, revSize+len(o.Val))
			r.ops[i].val = append(val, o.Val...)
		}
	}
	select {
	case s.queue <- r:
	case <-ctx.Done():
		return 0, false, ctx.Err()
	case <-s.closing:
		return 0, false, store.ErrClosed
	}
	select {
	case <-r.done:
	case <-ctx.Done():
		r.state.CompareAndSwap(queued, abandoned)
		return 0, false, fmt.Errorf("boltstore: waiting for a commit: %w", ctx.Err())
	case <-s.stopped:
		select {
		case <-r.done:
		default:
			return 0, false, store.ErrClosed // it came too late for the writer
		}
	}
	return r.rev, r.ok, r.err
}

// write is the writer: it commits what is queued, batch by batch.
func (s *Store) write() {
	defer close(s.stopped)
	batch := make([]*request, 0, maxBatch)
	take := func(r *request) {
		if r.state.CompareAndSwap(queued, taken) {
			batch = append(batch, r)
		}
	}
	for {
		select {
		case r := <-s.queue:
			take(r)
		case do := <-s.between:
			do()
			continue
		case <-s.closing:
			for {
				select {
				case r := <-s.queue:
					r.err = store.ErrClosed
					close(r.done)
				default:
					return
				}
			}
		}
		// On one core a short sync does not give the processor away, and
		// those who wait for a turn to commit would come one by one.
		runtime.Gosched()
	gather:
		for len(batch) < maxBatch {
			select {
			case r := <-s.queue:
				take(r)
			default:
				break gather
			}
		}
		if len(batch) > 0 {
			s.commit(batch)
		}
		for _, r := range batch {
			close(r.done)
		}
		clear(batch)
		batch = batch[:0]
	}
}

// commit decides the requests of a batch in order, and makes their changes
// durable. No verdict is known to anybody before all of it is on disk: later
// ones rest on earlier ones.
func (s *Store) commit(batch []*request) {
	fail := func(err error) {
		for _, r := range batch {
			r.rev, r.ok, r.err = 0, false, err
		}
	}
	if s.failed.Load() {
		fail(ErrFailed)
		return
	}
	db := s.file.Load().db // nobody else exchanges it
	tx, err := db.Begin(true)
	if err != nil {
		fail(fmt.Errorf("boltstore: committing: %w", err))
		return
	}
	meta, data := tx.Bucket(metaBucket), tx.Bucket(dataBucket)
	head, count := s.head, s.count
	var published [][]string
	for _, r := range batch {
		var changed []string
		if changed, err = r.apply(data, head, &count); err != nil {
			break
		}
		if len(changed) > 0 {
			head++
			published = append(published, changed)
		}
	}
	if err == nil && head != s.head {
		err = putState(meta, data, head, count)
	}
	switch {
	case err != nil:
		tx.Rollback()
		fail(fmt.Errorf("boltstore: committing: %w", err))
		return
	case head == s.head:
		tx.Rollback() // nothing to write
		return
	}
	if err := s.commitTx(tx); err != nil {
		fail(fmt.Errorf("boltstore: committing: %w", err))
		// Was it the very last step that failed? Then it is there to be read,
		// and watchers must hear of it.
		var seen store.Rev
		readErr := db.View(func(tx *bolt.Tx) error {
			seen = store.Rev(tx.Bucket(dataBucket).Sequence())
			return nil
		})
		s.failed.Store(readErr != nil || seen != s.head)
		if readErr != nil || seen != head {
			return
		}
	}
	s.head, s.count = head, count
	for _, keys := range published {
		s.hub.Publish(keys)
		if s.changed != nil && len(s.changed) <= maxChanged {
			for _, key := range keys {
				s.changed[key] = struct{}{}
			}
		}
	}
}

// apply gives a request its verdict and makes its changes in data, at the
// revision after head, and returns the keys that changed.
func (r *request) apply(data *bolt.Bucket, head store.Rev, count *uint64) (changed []string, err error) {
	for _, c := range r.conds {
		var rev store.Rev
		if b := data.Get([]byte(c.Key)); b != nil {
			rev = store.Rev(binary.BigEndian.Uint64(b))
		}
		if rev != c.Rev {
			r.rev, r.ok = head, false
			return nil, nil
		}
	}
	for _, o := range r.ops {
		key := []byte(o.key)
		exists := data.Get(key) != nil
		switch {
		case o.val == nil && !exists:
			continue
		case o.val == nil:
			*count--
			err = data.Delete(key)
		default:
			if !exists {
				*count++
			}
			binary.BigEndian.PutUint64(o.val, uint64(head+1))
			err = data.Put(key, o.val)
		}
		if err != nil {
			return nil, err
		}
		changed = append(changed, o.key)
	}
	r.rev, r.ok = head, true
	if len(changed) > 0 {
		r.rev++
	}
	return changed, nil
}

// Err returns ErrFailed if the store takes no more commits until it is opened
// again, and nil otherwise. It is cheap.
func (s *Store) Err() error {
	if s.failed.Load() {
		return ErrFailed
	}
	return nil
}

// Close is [store.Store.Close].
func (s *Store) Close() error {
	var err error
	s.once.Do(func() {
		close(s.closing)
		<-s.stopped
		s.hub.Close()
		// A compaction under way gives up, now that there is no writer.
		s.compacting.Lock()
		defer s.compacting.Unlock()
		if err = s.file.Load().db.Close(); err != nil {
			err = fmt.Errorf("closing store: %w", err)
		}
	})
	return err
}
