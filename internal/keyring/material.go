package keyring

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/keyreeve/keyreeve/internal/record"
	"github.com/keyreeve/keyreeve/internal/seal"
)

// A Subject has a cell for each material of its key, and opened material hangs
// there as a held. Whoever uses it has a lease, which counts; what is dropped is
// dead at once for those who come after, and wiped by the last who leaves. So a
// wipe waits for uses under way, and no use begins after it.
//
//	lease    cell.held ── hold() ──► refs+1
//	drop     cell.held = nil, out of the registry, refs |= dead
//	free     when refs is dead alone: slot wiped and given back
//
// A Subject itself ends when the record cache lets go of it, because its record
// changed or for want of room, or does not take it, because its record changed
// while it was read: it is gone then, and so is what hangs on it. Who still has
// it looks whether the record has changed, and if it has not, opens the
// material for one use.

// cell is where a material of a Subject's key is opened.
type cell struct {
	id      string                 // of the material
	token   atomic.Pointer[[]byte] // sealed; nil before it was read
	held    atomic.Pointer[held]   // opened; nil if it is not
	loading sync.Mutex             // held while it is opened
}

// end drops what is opened.
func (c *cell) end() {
	if h := c.held.Load(); h != nil {
		h.drop()
	}
}

// held is opened material: raw in a slot of locked memory, or a parsed private key.
type held struct {
	refs atomic.Int32 // users, and the bit dead
	used atomic.Bool  // since the last sweep
	of   *cell
	in   *registry

	age   int // sweeps that found it unused; guarded by in.mu
	index int // in in.all, -1 if it is not there; guarded by in.mu
	size  int // about the bytes that a parsed private key takes; not changed

	// Not changed from when it is shared until it is freed.
	slot    *seal.Slot
	raw     []byte
	private *privateKey
}

// dead is a bit of held.refs.
const dead = 1 << 30

// newHeld returns a held that is in use once.
func newHeld(of *cell) *held {
	h := &held{of: of, index: -1}
	h.refs.Store(1)
	h.used.Store(true)
	return h
}

// hold begins a use; false if h is dead.
func (h *held) hold() bool {
	for {
		n := h.refs.Load()
		if n&dead != 0 {
			return false
		}
		if h.refs.CompareAndSwap(n, n+1) {
			if !h.used.Load() {
				h.used.Store(true)
			}
			return true
		}
	}
}

// release ends a use.
func (h *held) release() {
	if h.refs.Add(-1) == dead {
		h.free()
	}
}

// kill makes h dead, and frees it unless it is in use.
func (h *held) kill() {
	for {
		n := h.refs.Load()
		if n&dead != 0 {
			return
		}
		if h.refs.CompareAndSwap(n, n|dead) {
			if n == 0 {
				h.free()
			}
			return
		}
	}
}

// free wipes h. It is called once, when nobody uses h any more.
func (h *held) free() {
	h.raw = nil
	if h.private != nil {
		h.private.wipe()
		h.private = nil
	}
	if h.slot != nil {
		h.slot.Free()
	}
	h.in.alive.Done()
}

// drop ends h for all who come after.
func (h *held) drop() {
	h.of.held.CompareAndSwap(h, nil)
	h.in.remove(h)
	h.kill()
}

// registry knows all held material of one sort, so that it can be wiped when it
// is idle or room is wanted.
type registry struct {
	alive sync.WaitGroup // counts what is not freed

	mu     sync.Mutex // guards what follows; nothing else is locked under it
	all    []*held
	limit  int // most that it holds; 0: as many as there are slots
	room   int // most bytes that those take together; only with a limit
	bytes  int // that they take now
	hand   int // where the next victim is looked for
	closed bool
}

// add takes in h, which must be new.
func (g *registry) add(h *held) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return ErrClosed
	}
	g.alive.Add(1)
	h.in, h.index = g, len(g.all)
	g.all = append(g.all, h)
	g.bytes += h.size
	return nil
}

func (g *registry) remove(h *held) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.removeLocked(h)
}

func (g *registry) removeLocked(h *held) {
	if h.index < 0 {
		return
	}
	last := len(g.all) - 1
	g.all[h.index] = g.all[last]
	g.all[h.index].index = h.index
	g.all[last] = nil
	g.all = g.all[:last]
	g.bytes -= h.size
	h.index = -1
}

// full reports whether one must go before one of size bytes can be added.
func (g *registry) full(size int) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.limit > 0 && (len(g.all) >= g.limit || g.bytes+size > g.room)
}

// evictTries bounds the search for a victim: where all is in use, the material
// that there is no room for is opened for one call.
const evictTries = 8

// evict drops one that was not used lately, and reports whether it found one.
func (g *registry) evict() bool {
	g.mu.Lock()
	var victim *held
	for range min(evictTries, len(g.all)) {
		g.hand = (g.hand + 1) % len(g.all)
		if h := g.all[g.hand]; !h.used.Swap(false) && h.refs.Load() == 0 {
			victim = h
			break
		}
	}
	g.mu.Unlock()
	if victim == nil {
		return false
	}
	victim.drop()
	return true
}

// idleSweeps is the number of sweeps in a row that must find material unused
// before it is wiped.
const idleSweeps = 4

// sweep drops what was unused for idleSweeps sweeps.
func (g *registry) sweep() {
	var idle []*held
	g.mu.Lock()
	for _, h := range g.all {
		if h.used.Swap(false) {
			h.age = 0
		} else if h.age++; h.age >= idleSweeps && h.refs.Load() == 0 {
			idle = append(idle, h)
		}
	}
	g.mu.Unlock()
	for _, h := range idle {
		h.drop()
	}
}

// dropAll drops everything.
func (g *registry) dropAll() {
	g.mu.Lock()
	all := append([]*held(nil), g.all...)
	g.mu.Unlock()
	for _, h := range all {
		h.drop()
	}
}

// close drops everything, takes in nothing more, and waits for uses under way.
func (g *registry) close() {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	g.dropAll()
	g.alive.Wait()
}

// len returns how many it holds.
func (g *registry) len() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.all)
}

// lease is material in use. The zero lease holds nothing.
type lease struct {
	h *held

	// Set if there was no room to keep the material.
	once    []byte
	private *privateKey
}

// raw returns the material of a symmetric or HMAC key.
func (l lease) raw() []byte {
	if l.h != nil {
		return l.h.raw
	}
	return l.once
}

// key returns the private key of an asymmetric key.
func (l lease) key() *privateKey {
	if l.h != nil {
		return l.h.private
	}
	return l.private
}

// end ends the use.
func (l lease) end() {
	if l.h != nil {
		l.h.release()
	}
	clear(l.once)
	if l.private != nil {
		l.private.wipe()
	}
}

// lease opens the current material of a key, or takes it as it is held.
func (r *Ring) lease(ctx context.Context, s *Subject) (lease, error) {
	return r.leaseOf(ctx, s, &s.current)
}

// leaseOld is lease for another material than the current one, by its id in
// binary, and also returns the id. Error: ErrInvalidCiphertext, if the key has no
// such material.
func (r *Ring) leaseOld(ctx context.Context, s *Subject, material []byte) (lease, string, error) {
	var buf [64]byte
	name := hex.AppendEncode(buf[:0], material)
	for i := range s.old {
		if c := &s.old[i]; c.id == string(name) {
			l, err := r.leaseOf(ctx, s, c)
			if s.m.Origin == External {
				err = unknown(err) // it was deleted
			}
			return l, c.id, err
		}
	}
	// The key may have been rotated by another node, since it was read.
	c := &cell{id: string(name)}
	if r.closed.Load() {
		return lease{}, "", ErrClosed
	}
	if s.gone.Load() {
		if err := r.still(ctx, s); err != nil {
			return lease{}, "", err
		}
	}
	token, err := r.token(ctx, s, c)
	if err != nil {
		return lease{}, "", unknown(err)
	}
	l, err := r.once(s, c, token)
	return l, c.id, err
}

// unknown makes a material that is not there what it is to those who have its
// ciphertext.
func unknown(err error) error {
	if errors.Is(err, record.ErrNotFound) {
		return ErrInvalidCiphertext
	}
	return err
}

// leaseOf opens a material of a key, or takes it as it is held.
func (r *Ring) leaseOf(ctx context.Context, s *Subject, c *cell) (lease, error) {
	if h := c.held.Load(); h != nil && h.hold() {
		return lease{h: h}, nil
	}
	return r.load(ctx, s, c)
}

// load opens a material of a key, and holds it if there is room.
func (r *Ring) load(ctx context.Context, s *Subject, c *cell) (lease, error) {
	if r.closed.Load() {
		return lease{}, ErrClosed
	}
	gone := s.gone.Load()
	if gone {
		if err := r.still(ctx, s); err != nil {
			return lease{}, err
		}
	}
	token, err := r.token(ctx, s, c)
	if err != nil {
		return lease{}, err
	}
	if gone {
		return r.once(s, c, token)
	}
	// One at a time, so that a key wanted by many at once is opened once.
	c.loading.Lock()
	defer c.loading.Unlock()
	if h := c.held.Load(); h != nil && h.hold() {
		return lease{h: h}, nil
	}
	var l lease
	if s.m.Spec.asymmetric() {
		l, err = r.loadPrivate(s, c, token)
	} else {
		l, err = r.loadRaw(s, c, token)
	}
	if err != nil {
		return lease{}, err
	}
	if l.h != nil {
		c.held.Store(l.h)
		// The Subject may have ended meanwhile, without a held to drop; or the
		// box was sealed, and what was held then is forgotten already.
		if s.gone.Load() || r.box.Sealed() {
			l.h.drop()
		}
	}
	return l, nil
}

// still returns nil if the record that a Subject was made of is still the
// current one, although the cache has let go of the Subject, else ErrStale.
func (r *Ring) still(ctx context.Context, s *Subject) error {
	now, err := r.find(ctx, s.m.Account, s.m.Region, s.m.ID)
	if errors.Is(err, ErrNotFound) || err == nil && now.m.Revision != s.m.Revision {
		return ErrStale
	}
	return err
}

// once opens a material of a key for one use.
func (r *Ring) once(s *Subject, c *cell, token []byte) (lease, error) {
	raw, err := r.openToken(nil, s.m.ARN, c.id, token)
	if err != nil {
		return lease{}, err
	}
	if s.m.Spec.asymmetric() {
		defer clear(raw)
		k, err := parseMaterial(s, raw)
		return lease{private: k}, err
	}
	if !s.m.Spec.validRaw(len(raw)) {
		clear(raw)
		return lease{}, fmt.Errorf("%w: material of %s", errRecord, s.m.ARN)
	}
	return lease{once: raw}, nil
}

// loadRaw opens the material of a symmetric or HMAC key, and holds it if there
// is room.
func (r *Ring) loadRaw(s *Subject, c *cell, token []byte) (lease, error) {
	// The longest keys of an HMAC that can be imported have no room in a slot.
	if len(token)-seal.Overhead > seal.SlotSize {
		return r.once(s, c, token)
	}
	slot := r.slot()
	if slot == nil {
		return r.once(s, c, token)
	}
	raw, err := r.openToken(slot.Bytes()[:0], s.m.ARN, c.id, token)
	if err == nil && !s.m.Spec.validRaw(len(raw)) {
		err = fmt.Errorf("%w: material of %s", errRecord, s.m.ARN)
	}
	if err != nil {
		slot.Free()
		return lease{}, err
	}
	h := newHeld(c)
	h.slot, h.raw = slot, raw
	if err := r.slots.add(h); err != nil {
		slot.Free()
		return lease{}, err
	}
	return lease{h: h}, nil
}

// slot returns a slot of locked memory, nil if none can be had.
func (r *Ring) slot() *seal.Slot {
	if r.arena == nil {
		return nil
	}
	slot, err := r.arena.Get()
	if err != nil && r.slots.evict() {
		slot, err = r.arena.Get()
	}
	if err != nil {
		return nil
	}
	return slot
}

// loadPrivate opens and parses the private key of an asymmetric key, and holds
// it if there is room.
func (r *Ring) loadPrivate(s *Subject, c *cell, token []byte) (lease, error) {
	size := privateSize(s.m.Spec)
	for r.privates.full(size) {
		if !r.privates.evict() {
			return r.once(s, c, token)
		}
	}
	pkcs8, err := r.openToken(nil, s.m.ARN, c.id, token)
	if err != nil {
		return lease{}, err
	}
	defer clear(pkcs8)
	h := newHeld(c)
	h.size = size
	if h.private, err = parseMaterial(s, pkcs8); err != nil {
		return lease{}, err
	}
	if err := r.privates.add(h); err != nil {
		h.private.wipe()
		return lease{}, err
	}
	return lease{h: h}, nil
}

// privateSize is about how many bytes of Go's heap a parsed private key of a
// spec takes, as measured. One of ML-DSA has its matrix and vectors expanded, in
// arrays that are as large as ML-DSA-87 needs them, whatever the spec.
func privateSize(spec Spec) int {
	switch spec {
	case RSA2048, RSA3072, RSA4096:
		return 7 << 10
	case MLKEM512, MLKEM768, MLKEM1024:
		return 14 << 10
	case MLDSA44, MLDSA65, MLDSA87:
		return 98 << 10
	case SM2:
		return 3 << 9
	}
	return 1 << 10 // other elliptic curves
}

// parseMaterial parses the material of an asymmetric key.
func parseMaterial(s *Subject, pkcs8 []byte) (*privateKey, error) {
	k, err := parsePrivate(s.m.Spec, pkcs8)
	if err != nil {
		return nil, fmt.Errorf("%w: material of %s", errRecord, s.m.ARN)
	}
	return k, nil
}

// token returns the sealed token of a material, from the store the first time.
func (r *Ring) token(ctx context.Context, s *Subject, c *cell) ([]byte, error) {
	if t := c.token.Load(); t != nil {
		return *t, nil
	}
	t, err := r.readToken(ctx, &s.m, c.id)
	if err != nil {
		if errors.Is(err, record.ErrNotFound) && s.gone.Load() {
			return nil, ErrStale
		}
		return nil, err
	}
	c.token.Store(&t)
	return t, nil
}

// readToken reads the sealed token of a material.
func (r *Ring) readToken(ctx context.Context, m *Metadata, materialID string) ([]byte, error) {
	rec, err := r.records.Get(ctx, record.KindMaterial, matKey(m.Account, m.Region, m.ID, materialID))
	if err != nil {
		return nil, fmt.Errorf("reading the material of %s: %w", m.ARN, err)
	}
	if len(rec.Value) < 1 || rec.Value[0] != recordVersion {
		return nil, fmt.Errorf("%w: material of %s", errRecord, m.ARN)
	}
	return rec.Value[1:], nil
}

// openToken appends the material in a token to dst.
func (r *Ring) openToken(dst []byte, arn, materialID string, token []byte) ([]byte, error) {
	var buf [256]byte
	raw, err := r.box.AppendOpen(dst, seal.Materials, appendTokenAAD(buf[:0], arn, materialID), token)
	if err != nil {
		return nil, fmt.Errorf("opening the material of %s: %w", arn, err)
	}
	return raw, nil
}

// sealToken returns the record of a material.
func (r *Ring) sealToken(arn, materialID string, raw []byte) ([]byte, error) {
	token, err := r.box.AppendSeal([]byte{recordVersion}, seal.Materials, appendTokenAAD(nil, arn, materialID), raw)
	if err != nil {
		return nil, fmt.Errorf("sealing the material of %s: %w", arn, err)
	}
	return token, nil
}

// appendTokenAAD appends what binds a token to its key and material.
func appendTokenAAD(b []byte, arn, materialID string) []byte {
	b = append(append(b, tokenLabel...), 0)
	b = append(append(b, arn...), 0)
	return append(b, materialID...)
}

// end is called when the record cache lets go of a Subject.
func (s *Subject) end() {
	s.gone.Store(true)
	s.current.end()
	for i := range s.old {
		s.old[i].end()
	}
}

// sweeps drops idle material until the ring is closed.
func (r *Ring) sweeps(every time.Duration) {
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			r.slots.sweep()
			r.privates.sweep()
		case <-r.done:
			return
		}
	}
}
