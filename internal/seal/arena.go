package seal

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"

	"github.com/keyreeve/keyreeve/internal/hint"
	"github.com/keyreeve/keyreeve/internal/secret"
)

// SlotSize is the size of an arena's slots, in bytes: enough for every symmetric
// key, and every HMAC key but the longest that are imported.
const SlotSize = 64

// chunkSize is by how much an arena grows, in bytes.
const chunkSize = 64 << 10

const slotsPerChunk = chunkSize / SlotSize

// arenaShards is the number of free lists; a power of two.
const arenaShards = 8

// ErrArenaFull is returned when an arena has no slot left and may not grow, or
// could not lock more memory.
var ErrArenaFull = errors.New("seal: no locked memory left")

// ErrNotLocked is returned where memory must be locked and cannot be.
var ErrNotLocked = errors.New("seal: memory cannot be locked")

// ArenaOptions are how an arena gets its memory.
type ArenaOptions struct {
	// Size is the most memory it may use, in bytes, rounded up to 64 KiB.
	Size int
	// Required makes an arena fail rather than use memory that is not locked.
	Required bool
	// Log is told once if memory could not be locked; nil means no log.
	Log *slog.Logger
}

// Arena is memory for secrets, outside Go's heap, in slots of SlotSize bytes.
// On Linux it is locked into RAM, left out of core dumps and forks, and each
// piece of it lies between guard pages. Elsewhere it is plain memory, and
// Locked says so. All methods may be called concurrently.
type Arena struct {
	o      ArenaOptions
	shards [arenaShards]shard
	used   atomic.Int64
	closed atomic.Bool

	mu       sync.Mutex // held while it grows and closes; guards what follows
	region   region
	chunks   int
	unlocked int // chunks that could not be locked
	refused  bool
}

// shard is one list of free slots. They lie a cache line apart.
type shard struct {
	mu   sync.Mutex
	free [][]byte
	_    [64]byte
}

// Slot is a piece of an arena. It does not print. It must not be used after it
// was freed; freeing it twice is harmless.
type Slot struct {
	arena *Arena
	mem   secret.Bytes
	freed atomic.Bool
}

// NewArena returns an arena that has its first chunk of memory. With Required
// set, it fails with ErrNotLocked if that cannot be locked.
func NewArena(o ArenaOptions) (*Arena, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	most := max(1, (o.Size+chunkSize-1)/chunkSize)
	a := &Arena{o: o}
	if err := a.region.reserve(most); err != nil {
		return nil, fmt.Errorf("reserving memory for key material: %w", err)
	}
	if err := a.grow(); err != nil {
		a.Close()
		return nil, err
	}
	return a, nil
}

// grow adds a chunk.
func (a *Arena) grow() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed.Load() || a.refused || a.chunks >= a.region.chunks() {
		return ErrArenaFull
	}
	mem, lockErr := a.region.chunk(a.chunks)
	if mem == nil {
		a.refused = true
		return fmt.Errorf("getting memory for key material: %w", lockErr)
	}
	if lockErr != nil {
		if a.o.Required {
			// One that could not be locked is not tried again: what is freed
			// is used first, and the caller goes without.
			a.refused = true
			a.o.Log.Warn("memory for key material cannot be locked; no more of it is used", "error", lockErr, "chunks", a.chunks)
			err := fmt.Errorf("%w: %w", ErrNotLocked, lockErr)
			if a.chunks > 0 {
				err = ErrArenaFull
			}
			return hint.Add(err, "raise the limit of locked memory (LimitMEMLOCK= in systemd, ulimit -l), or set memory.lock to try")
		}
		if a.unlocked == 0 {
			a.o.Log.Warn("memory for key material is not locked: it may be written to swap", "error", lockErr)
		}
		a.unlocked++
	}
	a.chunks++
	for i := range slotsPerChunk {
		s := &a.shards[i%arenaShards]
		s.mu.Lock()
		s.free = append(s.free, mem[i*SlotSize:(i+1)*SlotSize:(i+1)*SlotSize])
		s.mu.Unlock()
	}
	return nil
}

// Get returns a free slot, all zeros, or ErrArenaFull.
func (a *Arena) Get() (*Slot, error) {
	for {
		if mem := a.pop(); mem != nil {
			a.used.Add(1)
			return &Slot{arena: a, mem: secret.New(mem)}, nil
		}
		if err := a.grow(); err != nil {
			// Another may have freed or grown meanwhile.
			if mem := a.pop(); mem != nil {
				a.used.Add(1)
				return &Slot{arena: a, mem: secret.New(mem)}, nil
			}
			return nil, err
		}
	}
}

func (a *Arena) pop() []byte {
	if a.closed.Load() {
		return nil
	}
	first := rand.Uint32()
	for i := range uint32(arenaShards) {
		s := &a.shards[(first+i)%arenaShards]
		s.mu.Lock()
		if n := len(s.free); n > 0 {
			mem := s.free[n-1]
			s.free = s.free[:n-1]
			s.mu.Unlock()
			return mem
		}
		s.mu.Unlock()
	}
	return nil
}

// Bytes returns the slot's memory, SlotSize bytes.
func (s *Slot) Bytes() []byte { return s.mem.Reveal() }

// Free wipes the slot and gives it back.
func (s *Slot) Free() {
	if s == nil || s.freed.Swap(true) {
		return
	}
	a := s.arena
	s.mem.Wipe()
	sh := &a.shards[rand.Uint32()%arenaShards]
	sh.mu.Lock()
	sh.free = append(sh.free, s.mem.Reveal())
	sh.mu.Unlock()
	a.used.Add(-1)
}

// Format prints a slot as its name alone.
func (s *Slot) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "seal.Slot") }

// ArenaStats is how much of an arena is used.
type ArenaStats struct {
	Used     int   // slots in use
	Capacity int   // slots that it may grow to
	Bytes    int64 // memory taken so far
	Locked   bool  // all of it is locked
}

// Stats returns how much is used now.
func (a *Arena) Stats() ArenaStats {
	a.mu.Lock()
	defer a.mu.Unlock()
	return ArenaStats{
		Used:     int(a.used.Load()),
		Capacity: a.region.chunks() * slotsPerChunk,
		Bytes:    int64(a.chunks) * chunkSize,
		Locked:   a.unlocked == 0,
	}
}

// Locked reports whether all memory taken so far is locked into RAM.
func (a *Arena) Locked() bool { return a.Stats().Locked }

// Close wipes all of the arena's memory, slots in use too. The memory stays
// readable, as zeros, so that a late reader does not crash; it is given back
// with the process. No slot can be had from then on.
func (a *Arena) Close() {
	a.closed.Store(true)
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := range a.shards {
		a.shards[i].mu.Lock()
		a.shards[i].free = nil
		a.shards[i].mu.Unlock()
	}
	a.region.wipe(a.chunks)
}

// Format prints an arena as its name alone.
func (a *Arena) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "seal.Arena") }
