package seal

import (
	"bytes"
	"context"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	"github.com/keyreeve/keyreeve/internal/hint"
	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/internal/store"
)

// Purpose is what a value is sealed for. Each has keys of its own, so that a
// value of one can never pass for a value of another.
type Purpose uint8

// The purposes. They are part of what is at rest: never renumbered.
const (
	Records   Purpose = iota + 1 // records in the store
	Materials                    // key material, inside records
	Marks                        // files beside the data directory
	Tokens                       // what clients are handed and bring back
	Journals                     // keys of the audit journal's segments, in those
	purposes
)

var purposeNames = [purposes]string{Records: "records", Materials: "materials", Marks: "marks", Tokens: "tokens", Journals: "journals"}

func (p Purpose) String() string {
	if p == 0 || p >= purposes {
		return fmt.Sprintf("Purpose(%d)", uint8(p))
	}
	return purposeNames[p]
}

const (
	boxVersion = 1
	boxHeader  = 1 + 4
)

// Overhead is by how many bytes a sealed value is longer than its plaintext.
const Overhead = boxHeader + gcmOverhead

// reloadPause is how often, at most, an unknown domain key makes the Box look
// at the store.
const reloadPause = time.Second

// reloadTimeout is how long that look may take.
const reloadTimeout = 5 * time.Second

// settleTimeout is how long it may take to find out whether a change of the
// seal state happened, once its own context has ended.
const settleTimeout = 10 * time.Second

// Options are how to open a Box.
type Options struct {
	// Provider has the root key. Required.
	Provider Provider
	// Arena holds the root key while the Box is unlocked. Without one it is on
	// Go's heap.
	Arena *Arena
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Log is told about changes; nil means no log.
	Log *slog.Logger
}

// Box seals and opens values. All methods may be called concurrently; Seal and
// Open take no lock.
type Box struct {
	st    store.Store
	arena *Arena
	now   func() time.Time
	log   *slog.Logger

	keys atomic.Pointer[keyset] // nil while sealed

	reloaded atomic.Int64 // Unix nanoseconds of the last look for an unknown domain key

	// changing holds a token while the seal changes: over calls of the store
	// and the provider, which may take their time. Lock does not take it.
	changing chan struct{}

	mu       sync.Mutex // guards what follows; held for moments, never over I/O
	locks    uint64     // how often the Box was locked
	provider Provider
	root     secret.Bytes // absent while sealed
	next     secret.Bytes // the root key that Rekey is putting in place
	slot     *Slot        // holds root, if there was room in the arena
	state    *state       // as last read; verified unless the Box is sealed
	onLock   map[int]func()
	hooks    int // that were ever registered
}

// keyset is the domain keys in use. It is never changed.
type keyset struct {
	active *domain
	all    []*domain // in order of ids
}

type domain struct {
	id    uint32
	aeads [purposes]cipher.AEAD
}

func (k *keyset) find(id uint32) *domain {
	if k.active.id == id {
		return k.active
	}
	i := sort.Search(len(k.all), func(i int) bool { return k.all[i].id >= id })
	if i < len(k.all) && k.all[i].id == id {
		return k.all[i]
	}
	return nil
}

// Open returns the Box of a store. A store without a seal state is given one,
// with a new root key and a first domain key. Where the provider needs a
// passphrase that it was not given, the Box is returned sealed, to be unlocked
// by [Box.Unlock]. Errors: ErrWrongProvider, ErrWrongRoot, ErrTampered, those
// of the provider and of the store.
func Open(ctx context.Context, st store.Store, o Options) (*Box, error) {
	b := &Box{st: st, arena: o.Arena, provider: o.Provider, now: o.Now, log: o.Log, changing: make(chan struct{}, 1)}
	if b.now == nil {
		b.now = time.Now
	}
	if b.log == nil {
		b.log = slog.New(slog.DiscardHandler)
	}
	if b.provider == nil {
		return nil, errors.New("seal: no provider")
	}
	kv, _, err := st.Get(ctx, StateKey)
	if err != nil {
		return nil, fmt.Errorf("reading the seal state: %w", err)
	}
	if kv.Rev == 0 {
		if err := b.create(ctx); err != nil {
			return nil, err
		}
	}
	err = b.unlock(ctx, b.provider)
	if errors.Is(err, ErrNoPassphrase) {
		return b, nil
	}
	if err != nil {
		return nil, err
	}
	return b, nil
}

// create puts a first seal state into the store. If another node was faster,
// that one's stands.
func (b *Box) create(ctx context.Context) error {
	root, params, err := b.provider.Create(ctx)
	if err != nil {
		return fmt.Errorf("making a root key: %w", err)
	}
	defer root.Wipe()
	if err := checkRoot(root); err != nil {
		return err
	}
	now := b.now()
	s := &state{generation: 1, rekeyed: now, kind: b.provider.Kind(), params: params, active: 1}
	s.addDomain(root, 1, now)
	_, ok, err := b.st.Commit(ctx, []store.Cond{{Key: StateKey}}, []store.Op{{Key: StateKey, Val: s.marshal(root)}})
	if err != nil {
		return fmt.Errorf("writing the seal state: %w", err)
	}
	if ok {
		b.log.Info("seal: made a root key and the first domain key", "provider", b.provider.Kind())
	}
	return nil
}

// addDomain appends a new domain key, wrapped under root.
func (s *state) addDomain(root secret.Bytes, id uint32, now time.Time) {
	key := randomKey()
	defer key.Wipe()
	e := domainEntry{id: id, created: now.UTC().Truncate(time.Second)}
	e.wrap(root, key)
	s.domains = append(s.domains, e)
}

// load reads the seal state.
func (b *Box) load(ctx context.Context) (*state, store.Rev, error) {
	kv, _, err := b.st.Get(ctx, StateKey)
	if err != nil {
		return nil, 0, fmt.Errorf("reading the seal state: %w", err)
	}
	if kv.Rev == 0 {
		return nil, 0, fmt.Errorf("%w: it is gone from the store", ErrTampered)
	}
	s, err := parseState(kv.Val)
	if err != nil {
		return nil, 0, err
	}
	return s, kv.Rev, nil
}

// rootOf returns the root key of s from the provider, having verified s.
func rootOf(ctx context.Context, p Provider, s *state) (secret.Bytes, error) {
	if p.Kind() != s.kind {
		return secret.Bytes{}, hint.Add(fmt.Errorf("%w: by %q, and this node is configured for %q", ErrWrongProvider, printable(s.kind), p.Kind()),
			"set seal.provider to what the store is sealed with")
	}
	root, err := p.Open(ctx, s.params)
	if err != nil {
		return secret.Bytes{}, fmt.Errorf("opening the root key: %w", err)
	}
	if err := checkRoot(root); err != nil {
		root.Wipe()
		return secret.Bytes{}, err
	}
	if err := s.verify(root); err != nil {
		root.Wipe()
		return secret.Bytes{}, err
	}
	return root, nil
}

// printable returns a kind for a message; what is not a known one came from a
// damaged state.
func printable(kind string) string {
	switch kind {
	case KindFile, KindPassphrase, KindMemory:
		return kind
	}
	return "unknown"
}

// begin waits for its turn to change the seal. If there is no error, the caller
// calls end.
func (b *Box) begin(ctx context.Context) error {
	select {
	case b.changing <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("seal: waiting for another change to end: %w", ctx.Err())
	}
}

func (b *Box) end() { <-b.changing }

// with runs f with mu held, unless the Box was locked since its locks were
// counted as epoch: then it returns ErrSealed.
func (b *Box) with(epoch uint64, f func() error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.locks != epoch {
		return fmt.Errorf("%w meanwhile", ErrSealed)
	}
	return f()
}

// unlock opens the root key by p and takes it and the domain keys into use. It
// is called between begin and end, or before anybody else has the Box.
func (b *Box) unlock(ctx context.Context, p Provider) error {
	b.mu.Lock()
	epoch, seen := b.locks, b.state
	b.mu.Unlock()
	s, _, err := b.load(ctx)
	if err != nil {
		return err
	}
	if err := notOlder(s, seen); err != nil {
		return err
	}
	b.mu.Lock()
	if b.keys.Load() == nil {
		b.state = s // for Status: which provider is waited for
	}
	b.mu.Unlock()
	root, err := rootOf(ctx, p, s)
	if err != nil {
		return err
	}
	defer root.Wipe()
	k, err := b.keyset(s, root)
	if err != nil {
		return err
	}
	err = b.with(epoch, func() error {
		b.take(s, root, k)
		b.provider = withoutPhrase(p)
		return nil
	})
	if err != nil {
		return err
	}
	b.settle(p, s.params)
	return nil
}

// settle has a provider put the root key that the store names in its place, if
// it is not there yet.
func (b *Box) settle(p Provider, params []byte) {
	if t, ok := p.(settler); ok {
		if err := t.Settle(params); err != nil {
			b.log.Warn("seal: the new root key is not in its place yet; the next start tries again", "error", err)
		}
	}
}

// notOlder refuses a state that was put back while this node knows a newer one.
func notOlder(s, seen *state) error {
	if seen != nil && s.generation < seen.generation {
		return fmt.Errorf("%w: it is older than what this node has seen", ErrTampered)
	}
	return nil
}

// keyset returns the domain keys of a verified state. Those in use stay the
// same.
func (b *Box) keyset(s *state, root secret.Bytes) (*keyset, error) {
	aead := derivedGCM(root.Reveal(), "wrap")
	old := b.keys.Load()
	k := &keyset{all: make([]*domain, len(s.domains))}
	for i := range s.domains {
		e := &s.domains[i]
		if old != nil {
			if d := old.find(e.id); d != nil {
				k.all[i] = d
			}
		}
		if k.all[i] == nil {
			key, err := e.unwrap(aead)
			if err != nil {
				return nil, err
			}
			d := &domain{id: e.id}
			for p := Purpose(1); p < purposes; p++ {
				d.aeads[p] = derivedGCM(key.Reveal(), "purpose/"+purposeNames[p])
			}
			key.Wipe()
			k.all[i] = d
		}
		if e.id == s.active {
			k.active = k.all[i]
		}
	}
	return k, nil
}

// take takes a verified state, its root key and its domain keys into use. It
// keeps a copy of the root key, and cannot fail: by now the store may name no
// other. It is called with mu held.
func (b *Box) take(s *state, root secret.Bytes, k *keyset) {
	switch {
	case b.root.Equal(root):
	case b.slot != nil:
		copy(b.root.Reveal(), root.Reveal()) // in the place of the old one
	default:
		b.dropRoot()
		b.root = b.room()
		copy(b.root.Reveal(), root.Reveal())
	}
	b.state = s
	b.keys.Store(k)
}

// room returns room for a root key: in the arena, or if there is none left, on
// the heap, since without a root key nothing could be read. It is called with
// mu held.
func (b *Box) room() secret.Bytes {
	if b.arena != nil {
		slot, err := b.arena.Get()
		if err == nil {
			b.slot = slot
			return secret.New(slot.Bytes()[:rootSize])
		}
		b.log.Warn("seal: the root key is in memory that is not locked", "error", err)
	}
	return secret.New(make([]byte, rootSize))
}

// withoutPhrase returns p, or if it is a passphrase, one that still has to be
// told it: a Box keeps the root key, but never the phrase.
func withoutPhrase(p Provider) Provider {
	if p, ok := p.(*passphrase); ok {
		return &passphrase{cost: p.cost}
	}
	return p
}

// dropRoot wipes the root key. It is called with mu held.
func (b *Box) dropRoot() {
	b.root.Wipe()
	b.root = secret.Bytes{}
	if b.slot != nil {
		b.slot.Free()
		b.slot = nil
	}
}

// Unlock opens a sealed Box. A nil provider means the one it has. Unlocking a
// Box that is not sealed checks the provider's root key all the same, and reads
// the seal state anew. Errors: ErrWrongRoot, ErrWrongProvider, ErrTampered,
// ErrNoPassphrase, those of the provider and of the store.
func (b *Box) Unlock(ctx context.Context, p Provider) error {
	if err := b.begin(ctx); err != nil {
		return err
	}
	defer b.end()
	b.mu.Lock()
	if p == nil {
		p = b.provider
	}
	was := b.keys.Load() != nil
	b.mu.Unlock()
	if err := b.unlock(ctx, p); err != nil {
		return err
	}
	if !was {
		b.log.Info("seal: unlocked", "provider", p.Kind())
	}
	return nil
}

// Lock seals the Box: the root key is wiped, the domain keys are dropped, and
// what OnLock registered is run, before it returns. It waits for no store and
// no provider: a change that is under way goes on without keys. If that is an
// Unlock, it gives ErrSealed; a Rotate or Rekey that has come to its commit may
// still happen. The state of Go's ciphers cannot be wiped; it is left to the
// garbage collector.
func (b *Box) Lock() {
	b.mu.Lock()
	b.locks++
	was := b.keys.Swap(nil) != nil
	b.dropRoot()
	b.next.Wipe()
	hooks := slices.Collect(maps.Values(b.onLock))
	b.mu.Unlock()
	if !was {
		return
	}
	// Without the lock: what a hook waits for may be waiting for the Box.
	for _, f := range hooks {
		f()
	}
	b.log.Info("seal: locked")
}

// OnLock registers f to be run whenever the Box is locked, to forget what was
// opened with it. What OnLock returns undoes it, and does not wait for an f that
// is running.
func (b *Box) OnLock(f func()) (remove func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.hooks++
	id := b.hooks
	if b.onLock == nil {
		b.onLock = make(map[int]func())
	}
	b.onLock[id] = f
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.onLock, id)
	}
}

// Sealed reports whether the Box is sealed.
func (b *Box) Sealed() bool { return b.keys.Load() == nil }

// Reload reads the seal state anew, so that a domain key made by another node
// is used. If the root key was changed there, the provider is asked for the new
// one; if it has none, the Box goes on with the keys it has and Reload returns
// the error.
func (b *Box) Reload(ctx context.Context) error {
	if err := b.begin(ctx); err != nil {
		return err
	}
	defer b.end()
	_, _, _, err := b.current(ctx)
	return err
}

// current reads the seal state, verifies it and takes it into use. It also
// returns how often the Box has been locked. It is called between begin and end.
func (b *Box) current(ctx context.Context) (s *state, rev store.Rev, epoch uint64, err error) {
	b.mu.Lock()
	epoch, seen, p, open := b.locks, b.state, b.provider, b.keys.Load() != nil
	b.mu.Unlock()
	if !open {
		return nil, 0, 0, ErrSealed
	}
	if s, rev, err = b.load(ctx); err != nil {
		return nil, 0, 0, err
	}
	if err := notOlder(s, seen); err != nil {
		return nil, 0, 0, err
	}
	if bytes.Equal(s.text, seen.text) && bytes.Equal(s.tag, seen.tag) {
		return s, rev, epoch, nil
	}
	err = b.with(epoch, func() error {
		if err := s.verify(b.root); err != nil {
			return err
		}
		k, err := b.keyset(s, b.root)
		if err == nil {
			b.take(s, b.root, k)
		}
		return err
	})
	if errors.Is(err, ErrWrongRoot) {
		err = b.follow(ctx, epoch, p, s)
	}
	if err != nil {
		return nil, 0, 0, err
	}
	b.settle(p, s.params)
	return s, rev, epoch, nil
}

// follow takes into use a state that another node has sealed under a new root
// key.
func (b *Box) follow(ctx context.Context, epoch uint64, p Provider, s *state) error {
	root, err := rootOf(ctx, p, s)
	if err != nil {
		return hint.Add(fmt.Errorf("the root key was changed by another node: %w", err),
			"give this node the new key file, or unseal it with the new passphrase")
	}
	defer root.Wipe()
	k, err := b.keyset(s, root)
	if err != nil {
		return err
	}
	return b.with(epoch, func() error {
		b.take(s, root, k)
		return nil
	})
}

// put commits the change from the state at rev to s, sealed under the root key,
// or under the next one, and takes it into use. It is called between begin and
// end. Once it has returned without an error, the change has happened, even if
// the Box was locked meanwhile.
func (b *Box) put(ctx context.Context, epoch uint64, rev store.Rev, s *state, rekey bool) (*state, store.Rev, error) {
	root := func() secret.Bytes { // with mu held: Lock wipes it
		if rekey {
			return b.next
		}
		return b.root
	}
	var text []byte
	var k *keyset
	err := b.with(epoch, func() (err error) {
		text = s.marshal(root())
		if s, err = parseState(text); err != nil {
			return fmt.Errorf("encoding the seal state: %w", err)
		}
		// All that could fail comes before the commit.
		k, err = b.keyset(s, root())
		return err
	})
	if err != nil {
		return nil, 0, err
	}
	if rev, err = b.commit(ctx, rev, text); err != nil {
		return nil, 0, err
	}
	err = b.with(epoch, func() error {
		b.take(s, root(), k)
		return nil
	})
	if err != nil {
		b.log.Warn("seal: the seal was changed, and locked meanwhile", "generation", s.generation)
	}
	return s, rev, nil
}

// commit replaces the seal state at rev. Errors: ErrConflict, and those of the
// store, if the change did not happen; ErrUnsettled if that is not known.
func (b *Box) commit(ctx context.Context, rev store.Rev, text []byte) (store.Rev, error) {
	newRev, ok, err := b.st.Commit(ctx, []store.Cond{{Key: StateKey, Rev: rev}}, []store.Op{{Key: StateKey, Val: text}})
	switch {
	case err == nil && ok:
		return newRev, nil
	case err == nil:
		return 0, ErrConflict
	case errors.Is(err, store.ErrTooLarge), errors.Is(err, store.ErrClosed):
		return 0, fmt.Errorf("writing the seal state: %w", err)
	}
	// It may have happened, and may still be under way; also, and above all,
	// when it is our context that has ended.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
	defer cancel()
	_, _, barrier := b.st.Commit(ctx, nil, nil)
	if barrier != nil {
		return 0, fmt.Errorf("%w: writing the seal state: %w", ErrUnsettled, err)
	}
	kv, _, getErr := b.st.Get(ctx, StateKey)
	switch {
	case getErr != nil:
		return 0, fmt.Errorf("%w: writing the seal state: %w", ErrUnsettled, err)
	case kv.Rev == rev:
		return 0, fmt.Errorf("writing the seal state: %w", err)
	case bytes.Equal(kv.Val, text): // no two changes have the same text
		return kv.Rev, nil
	}
	// Another node's change is there: on top of ours, or instead of it.
	return 0, fmt.Errorf("%w: writing the seal state: %w", ErrUnsettled, err)
}

// Rotate makes a new domain key, which seals from now on. Older ones still
// open. Errors: ErrSealed, ErrConflict, ErrTampered, ErrUnsettled, those of the
// store.
func (b *Box) Rotate(ctx context.Context) error {
	if err := b.begin(ctx); err != nil {
		return err
	}
	defer b.end()
	s, rev, epoch, err := b.current(ctx)
	if err != nil {
		return err
	}
	if len(s.domains) >= maxDomainKeys {
		return fmt.Errorf("seal: there are %d domain keys, and no more are allowed", maxDomainKeys)
	}
	next := s.clone()
	next.generation++
	next.active = s.domains[len(s.domains)-1].id + 1
	if next.active == 0 {
		return errors.New("seal: domain key ids are used up")
	}
	err = b.with(epoch, func() error {
		next.addDomain(b.root, next.active, b.now())
		return nil
	})
	if err != nil {
		return err
	}
	if next, _, err = b.put(ctx, epoch, rev, next, false); err != nil {
		return err
	}
	b.log.Info("seal: rotated the domain key", "id", next.active)
	return nil
}

// Rekey puts another root key in place: a new one of the provider p, which the
// Box uses from then on. Nothing sealed is touched. At every moment, whatever
// crashes, the store opens with the old root key or the new one, and both are
// where their providers find them.
//
// Copies of the store from before still need the old root key, which is not
// kept: keep a copy of it as long as those.
//
// An error means that the old root key is still the store's; only after
// ErrUnsettled it may be either, and both must be kept. Other errors:
// ErrSealed, ErrConflict, ErrTampered, those of the provider and of the store.
func (b *Box) Rekey(ctx context.Context, p Provider) error {
	if err := b.begin(ctx); err != nil {
		return err
	}
	defer b.end()
	s, rev, epoch, err := b.current(ctx)
	if err != nil {
		return err
	}
	// An earlier Rekey may have ended without knowing whether its commit would
	// still happen. Its condition cannot hold any more once this one is done,
	// so what it left behind can be forgotten.
	fence := s.clone()
	fence.generation++
	if s, rev, err = b.put(ctx, epoch, rev, fence, false); err != nil {
		return fmt.Errorf("the root key stays as it is: %w", settled(err))
	}

	var have []byte
	if s.kind == p.Kind() {
		have = s.params
	}
	root, params, err := p.Renew(ctx, have)
	if err != nil {
		return fmt.Errorf("making a root key: %w", err)
	}
	defer b.dropNext()
	next := s.clone()
	next.generation++
	next.rekeyed = b.now()
	next.kind, next.params = p.Kind(), params
	if err := b.with(epoch, func() error { return b.rewrap(next, root) }); err != nil {
		root.Wipe()
		return err
	}
	if _, _, err = b.put(ctx, epoch, rev, next, true); errors.Is(err, ErrUnsettled) {
		return hint.Add(err, "keep both root keys, the old one and the new one, until the node has been started again and opens with one of them")
	} else if err != nil {
		return err
	}
	b.mu.Lock()
	old := b.provider
	b.provider = withoutPhrase(p)
	b.mu.Unlock()
	b.settle(p, params)
	if t, ok := old.(settler); ok {
		if err := t.Retire(s.params); err != nil {
			b.log.Warn("seal: the old root key could not be removed; remove it by hand", "error", err)
		}
	}
	b.log.Info("seal: changed the root key", "provider", p.Kind())
	return nil
}

// rewrap wraps the domain keys of s, which are wrapped under the root key,
// under another one, and makes that the next. It is called with mu held.
func (b *Box) rewrap(s *state, root secret.Bytes) error {
	if err := checkRoot(root); err != nil {
		return err
	}
	aead := derivedGCM(b.root.Reveal(), "wrap")
	for i := range s.domains {
		e := &s.domains[i]
		key, err := e.unwrap(aead)
		if err != nil {
			return err
		}
		e.wrap(root, key)
		key.Wipe()
	}
	b.next = root
	return nil
}

// dropNext wipes what rewrap left.
func (b *Box) dropNext() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.next.Wipe()
	b.next = secret.Bytes{}
}

// settled returns err, but not as ErrUnsettled: whether the fence is there makes
// no difference to anybody.
func settled(err error) error {
	if errors.Is(err, ErrUnsettled) {
		return errors.New(err.Error())
	}
	return err
}

// Seal returns plaintext sealed for a purpose, with associated data that Open
// must be given too. Its only error is ErrSealed.
func (b *Box) Seal(p Purpose, aad, plaintext []byte) ([]byte, error) {
	return b.AppendSeal(make([]byte, 0, len(plaintext)+Overhead), p, aad, plaintext)
}

// AppendSeal is Seal, appending to dst. Plaintext and dst must not overlap.
func (b *Box) AppendSeal(dst []byte, p Purpose, aad, plaintext []byte) ([]byte, error) {
	k := b.keys.Load()
	if k == nil {
		return nil, ErrSealed
	}
	dst = append(dst, boxVersion)
	dst = binary.BigEndian.AppendUint32(dst, k.active.id)
	return k.active.aead(p).Seal(dst, nil, plaintext, aad), nil
}

// Open returns the plaintext of a sealed value. Errors: ErrNotOpened,
// ErrUnknownDomainKey, ErrSealed. A domain key that it does not know makes the
// Box look at the store, at most once a second.
func (b *Box) Open(p Purpose, aad, sealed []byte) ([]byte, error) {
	return b.AppendOpen(make([]byte, 0, max(0, len(sealed)-Overhead)), p, aad, sealed)
}

// AppendOpen is Open, appending to dst. Where dst has the room, the plaintext
// is nowhere else. Sealed and dst must not overlap.
func (b *Box) AppendOpen(dst []byte, p Purpose, aad, sealed []byte) ([]byte, error) {
	k := b.keys.Load()
	if k == nil {
		return nil, ErrSealed
	}
	if len(sealed) < Overhead || sealed[0] != boxVersion {
		return nil, ErrNotOpened
	}
	id := binary.BigEndian.Uint32(sealed[1:])
	d := k.find(id)
	if d == nil {
		var err error
		if d, err = b.lookFor(id); err != nil {
			return nil, err
		}
	}
	out, err := d.aead(p).Open(dst, nil, sealed[boxHeader:], aad)
	if err != nil {
		return nil, ErrNotOpened
	}
	return out, nil
}

// DomainKey returns the id of the domain key that a value is sealed with, and
// false if it is no sealed value.
func DomainKey(sealed []byte) (uint32, bool) {
	if len(sealed) < Overhead || sealed[0] != boxVersion {
		return 0, false
	}
	return binary.BigEndian.Uint32(sealed[1:]), true
}

// SealedUntil returns when the domain key with this id ceased to seal, which is
// when the next one was made; the zero time while it seals. It is false for a
// key that the box does not have.
func (b *Box) SealedUntil(id uint32) (time.Time, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.state == nil {
		return time.Time{}, false
	}
	var until time.Time
	found := false
	for _, e := range b.state.domains {
		switch {
		case e.id == id:
			found = true
		case e.id > id && (until.IsZero() || e.created.Before(until)):
			until = e.created
		}
	}
	return until, found
}

// lookFor reads the seal state for a domain key that another node may have made.
func (b *Box) lookFor(id uint32) (*domain, error) {
	now, last := b.now().UnixNano(), b.reloaded.Load()
	if last == 0 || now < last || now-last >= int64(reloadPause) {
		if err := b.look(now, last); err != nil {
			b.log.Error("seal: looking for an unknown domain key", "id", id, "error", err)
		}
	}
	k := b.keys.Load()
	if k == nil {
		return nil, ErrSealed
	}
	if d := k.find(id); d != nil {
		return d, nil
	}
	return nil, ErrUnknownDomainKey
}

// look reads the seal state anew, unless another has done so since the look
// at last.
func (b *Box) look(now, last int64) error {
	ctx, cancel := context.WithTimeout(context.Background(), reloadTimeout)
	defer cancel()
	if err := b.begin(ctx); err != nil {
		return err
	}
	defer b.end()
	if b.reloaded.Load() != last {
		return nil
	}
	b.reloaded.Store(now)
	_, _, _, err := b.current(ctx)
	return err
}

func (d *domain) aead(p Purpose) cipher.AEAD {
	if p == 0 || p >= purposes {
		panic("seal: no such purpose") // a constant is wrong
	}
	return d.aeads[p]
}

// Status is what a Box is like.
type Status struct {
	Sealed     bool
	Provider   string // its kind, such as KindFile
	Generation uint64 // of the seal state
	Rekeyed    time.Time
	Active     uint32 // id of the domain key that seals
	DomainKeys []DomainKeyInfo
}

// DomainKeyInfo describes a domain key.
type DomainKeyInfo struct {
	ID      uint32
	Created time.Time
}

// Status returns the status as this node last saw it. While the Box is sealed,
// nobody has verified it.
func (b *Box) Status() Status {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := Status{Sealed: b.keys.Load() == nil, Provider: b.provider.Kind()}
	if b.state == nil {
		return s
	}
	s.Provider = printable(b.state.kind)
	s.Generation, s.Rekeyed, s.Active = b.state.generation, b.state.rekeyed, b.state.active
	for _, e := range b.state.domains {
		s.DomainKeys = append(s.DomainKeys, DomainKeyInfo{e.id, e.created})
	}
	return s
}

// Format prints a Box as its name alone: what it points to is not for print.
func (b *Box) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "seal.Box") }
