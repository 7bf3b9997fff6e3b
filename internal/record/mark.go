package record

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/keyreeve/keyreeve/internal/durable"
	"github.com/keyreeve/keyreeve/internal/seal"
	"github.com/keyreeve/keyreeve/internal/store"
)

// A mark file says how far its store had come:
//
//	byte  0      version, 1
//	then         the box's output, as a mark, for the 32 bytes
//	             0-15   id of the store
//	             16-23  newest revision, big-endian
//	             24-31  newest time, Unix microseconds, big-endian
//
// The associated data is "keyreeve/mark" and the version. The id also stands
// in the store, in the record at markKey, which thus says that there must be a
// mark: deleting the file is no way around it. Nor is deleting that record,
// because a store with anything in it but v1/sys/… has one; nor deleting all
// but v1/sys/…, because a store with a mark from later than that record was not
// empty.
const (
	markKey     = "v1/sys/mark"
	sysPrefix   = "v1/sys/"
	markVersion = 1
	markIDSize  = 16
	markSize    = markIDSize + 8 + 8
)

// markTouch is how old the time in the mark may become while nothing changes.
const markTouch = time.Minute

// ErrRolledBack: the store is older than its mark, or it cannot be told. The
// error's text says which, and has a Hint.
var ErrRolledBack = errors.New("record: the store may have been rolled back")

// rolledBack is an ErrRolledBack with its reason.
type rolledBack struct{ reason error }

func (e *rolledBack) Error() string   { return ErrRolledBack.Error() + ": " + e.reason.Error() }
func (e *rolledBack) Unwrap() []error { return []error{ErrRolledBack, e.reason} }

// Hint returns what to do about it.
func (e *rolledBack) Hint() string {
	return "if you have restored a backup or lost the mark file, start once with --accept-rollback: what was changed since, as keys disabled or deleted, is then as it was before"
}

// mark is the mark of an open store.
type mark struct {
	path     string
	id       [markIDSize]byte
	accepted error // the reason why Open would have refused; nil if none

	mu     sync.Mutex
	head   store.Rev // as written
	newest time.Time // as written
	failed bool      // the last attempt to write did
}

// Accepted returns why the store would have been refused if it had not been for
// Options.AcceptRollback; nil if it would not. It is to be put on record.
func (s *Store) Accepted() error {
	if s.mark == nil {
		return nil
	}
	return s.mark.accepted
}

// Newest returns the newest time that the store is known to have seen, to the
// minute, so that a clock that was put back can be noticed; the zero time if
// there is no mark.
func (s *Store) Newest() time.Time {
	if s.mark == nil {
		return time.Time{}
	}
	s.mark.mu.Lock()
	defer s.mark.mu.Unlock()
	return s.mark.newest
}

// openMark checks the store against the mark at path, and makes the mark of a
// new store.
func (s *Store) openMark(ctx context.Context, path string, accept bool) (*mark, error) {
	head, err := s.st.Head(ctx)
	if err != nil {
		return nil, fmt.Errorf("checking the mark: %w", err)
	}
	kv, _, err := s.st.Get(ctx, markKey)
	if err != nil {
		return nil, fmt.Errorf("checking the mark: %w", err)
	}
	blank, err := s.Blank(ctx)
	if err != nil {
		return nil, fmt.Errorf("checking the mark: %w", err)
	}
	m, err := s.readMark(path)
	var reason error
	switch {
	case errors.Is(err, fs.ErrNotExist) && kv.Rev == 0 && blank:
		// A new store, and this is its first start.
		m = &mark{path: path}
		rand.Read(m.id[:])
	case errors.Is(err, fs.ErrNotExist) && kv.Rev == 0:
		reason = errors.New("it has never had a mark, or was deprived of it")
	case errors.Is(err, fs.ErrNotExist):
		reason = fmt.Errorf("its mark is missing: %w", err)
	case errors.Is(err, seal.ErrSealed):
		return nil, err
	case err != nil:
		reason = err
	case head < m.head:
		reason = fmt.Errorf("it is at revision %d, and was at %d before", head, m.head)
	case kv.Rev == 0 && blank && head == m.head:
		// The first start did not get further than writing the file.
	case kv.Rev == 0:
		reason = errors.New("it does not say that it has a mark")
	case blank && m.head > kv.Rev:
		// It went on from making its mark, and what came then is gone.
		reason = errors.New("it is empty, and was not before")
	default:
		rec, err := s.open(KindSystem, kv)
		if errors.Is(err, seal.ErrSealed) {
			return nil, err
		} else if err != nil {
			reason = err
		} else if !bytes.Equal(rec.Value, m.id[:]) {
			reason = errors.New("the mark is that of another store")
		}
	}
	if reason != nil {
		reason = &rolledBack{reason}
		if !accept {
			return nil, reason
		}
		newest := time.Time{}
		if m != nil {
			newest = m.newest
		}
		m = &mark{path: path, newest: newest, accepted: reason}
		rand.Read(m.id[:])
	}
	// The file comes first: a store that says it has a mark has one.
	if err := s.save(m, head); err != nil {
		return nil, err
	}
	if kv.Rev != 0 && reason == nil {
		return m, nil
	}
	sealed, err := s.seal(KindSystem, markKey, s.issue(s.clock.Load()), m.id[:])
	if err != nil {
		return nil, err
	}
	_, ok, err := s.st.Commit(ctx, []store.Cond{{Key: markKey, Rev: kv.Rev}}, []store.Op{{Key: markKey, Val: sealed}})
	if err != nil {
		return nil, fmt.Errorf("storing the mark's id: %w", err)
	}
	if !ok {
		return nil, fmt.Errorf("storing the mark's id: %w", ErrConflict)
	}
	return m, nil
}

// Blank reports whether there is nothing in the store but v1/sys/….
func (s *Store) Blank(ctx context.Context) (bool, error) {
	before, _, err := s.st.Range(ctx, "", sysPrefix, 1)
	if err != nil {
		return false, err
	}
	after, _, err := s.st.Range(ctx, store.PrefixEnd(sysPrefix), "", 1)
	if err != nil {
		return false, err
	}
	return len(before) == 0 && len(after) == 0, nil
}

func markAAD() []byte { return append([]byte("keyreeve/mark"), markVersion) }

// readMark reads the file at path.
func (s *Store) readMark(path string) (*mark, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the mark: %w", err)
	}
	m, err := s.parseMark(b)
	if err != nil {
		return nil, err
	}
	m.path = path
	return m, nil
}

// parseMark takes the file of a mark apart.
func (s *Store) parseMark(b []byte) (*mark, error) {
	if len(b) == 0 || b[0] != markVersion {
		return nil, errors.New("the file of the mark is damaged, or of an unknown version")
	}
	text, err := s.box.Open(seal.Marks, markAAD(), b[1:])
	if err != nil {
		return nil, fmt.Errorf("opening the mark: %w", err)
	}
	if len(text) != markSize {
		return nil, errors.New("the mark has the wrong size")
	}
	m := new(mark)
	copy(m.id[:], text)
	m.head = store.Rev(binary.BigEndian.Uint64(text[markIDSize:]))
	m.newest = time.UnixMicro(int64(binary.BigEndian.Uint64(text[markIDSize+8:]))).UTC()
	return m, nil
}

// marks writes the mark at most once a second, when there is something new.
func (s *Store) marks(ctx context.Context) {
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
		err := s.writeMark(ctx)
		if err != nil && ctx.Err() == nil && !s.mark.failed {
			s.log.Error("the mark cannot be written; a rollback to now may go unnoticed", "cause", err)
		}
		s.mark.failed = err != nil
	}
}

// writeMark writes the mark if the store has gone on, or the time has by a minute.
func (s *Store) writeMark(ctx context.Context) error {
	// Of the store, and not of the watch: only what is durable may stand in it.
	head, err := s.st.Head(ctx)
	if err != nil {
		return fmt.Errorf("writing the mark: %w", err)
	}
	m := s.mark
	if head <= m.head && s.now().Sub(m.newest) < markTouch {
		return nil
	}
	return s.save(m, head)
}

// save puts the file of the mark in place. It has one caller at a time.
func (s *Store) save(m *mark, head store.Rev) error {
	m.mu.Lock()
	newest := m.newest
	m.mu.Unlock()
	if now := s.now().UTC().Truncate(time.Microsecond); now.After(newest) {
		newest = now
	}
	file, err := s.markFile(m.id, head, newest)
	if err != nil {
		return err
	}
	if err := durable.Replace(m.path, file, 0o600); err != nil {
		return fmt.Errorf("writing the mark: %w", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.head, m.newest = head, newest
	return nil
}

// markFile is the reverse of parseMark.
func (s *Store) markFile(id [markIDSize]byte, head store.Rev, newest time.Time) ([]byte, error) {
	text := make([]byte, 0, markSize)
	text = append(text, id[:]...)
	text = binary.BigEndian.AppendUint64(text, uint64(head))
	text = binary.BigEndian.AppendUint64(text, uint64(max(0, newest.UnixMicro())))
	sealed, err := s.box.Seal(seal.Marks, markAAD(), text)
	if err != nil {
		return nil, fmt.Errorf("sealing the mark: %w", err)
	}
	return append([]byte{markVersion}, sealed...), nil
}
