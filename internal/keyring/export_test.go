package keyring

import (
	"context"
	"crypto/sha512"
	"encoding/binary"
	"math/big"
	"slices"

	"filippo.io/mldsa"

	"github.com/keyreeve/keyreeve/internal/authz"
	"github.com/keyreeve/keyreeve/internal/record"
)

// Sweep does one sweep of idle material.
func (r *Ring) Sweep() {
	r.slots.sweep()
	r.privates.sweep()
}

// IdleSweeps is how many sweeps it takes to wipe what is idle.
const IdleSweeps = idleSweeps

// RemindKeys is how many keys one run looks at for lost due records.
const RemindKeys = remindKeys

// AppendMAC and AppendModuleMAC are the two ways to an HMAC.
var (
	AppendMAC       = appendMAC
	AppendModuleMAC = appendModuleMAC
)

// AppendKeyRecord and DecodeKeyRecord are the codec of key records.
func AppendKeyRecord(b []byte, m *Metadata) ([]byte, error) { return appendKey(b, m) }

func DecodeKeyRecord(storageKey string, b []byte) (*Metadata, error) {
	m := new(Metadata)
	return m, decodeKey(m, storageKey, b)
}

// WithFinders returns m with what of it is not exported.
func WithFinders(m *Metadata, kinds byte, aliases ...string) *Metadata {
	m.grantees, m.aliasNames = grantees(kinds), aliases
	return m
}

// AsBefore returns the record of a key as it was before it had aliases' names.
func AsBefore(b []byte, m *Metadata) ([]byte, error) {
	old := *m
	old.aliasNames = nil
	return appendKey(b, &old)
}

// DecodeGrantRecords decodes a grant and a page of grants, and encodes them
// again.
func DecodeGrantRecords(b []byte) (one, page []byte) {
	if g, n, err := decodeGrantRecord(b); err == nil {
		if body, err := appendGrant(nil, g); err == nil {
			one = append(binary.AppendUvarint([]byte{recordVersion}, uint64(n)), body...)
		}
	}
	if p, err := decodeGrantPage(b); err == nil {
		page = p.append(nil)
	}
	return one, page
}

// GrantRecords returns the record of a grant in a page, and that of a page with
// the grants. The page says of itself and another how full they are.
func GrantRecords(page int, grants ...*authz.Grant) (one, all []byte, err error) {
	p := &grantPage{fills: []byte{byte(len(grants)), 1 | pageFull}}
	for _, g := range grants {
		body, err := appendGrant(nil, g)
		if err != nil {
			return nil, nil, err
		}
		p.bodies = append(p.bodies, body)
		one = append(binary.AppendUvarint([]byte{recordVersion}, uint64(page)), body...)
	}
	return one, p.append(nil), nil
}

// DecidingGrants decodes a page of grants as decisions do, and encodes its
// grants again; nil if it is none. cost is what it says that it takes in memory.
func DecidingGrants(b []byte) (bodies [][]byte, cost int, err error) {
	p, err := newGrantPage(record.Record{Value: b})
	if err != nil {
		return nil, 0, err
	}
	for _, g := range p.grants {
		body, err := appendGrant(nil, g)
		if err != nil {
			return nil, 0, err
		}
		bodies = append(bodies, body)
	}
	return bodies, p.cost(), nil
}

// LimitGrants sets the number of grants that a key may have.
func (r *Ring) LimitGrants(n int) { r.granted.limit = n }

// GrantPage is how many grants a page has.
const GrantPage = pageGrants

// SharedPolicies is how many compiled policies are shared now.
func SharedPolicies() int {
	n := 0
	compiled.Range(func(_, _ any) bool { n++; return true })
	return n
}

// DecodeAliasRecords decodes both records of an alias, and encodes them again.
func DecodeAliasRecords(b []byte) (byName, ofKey []byte) {
	if id, created, updated, err := decodeAlias(b); err == nil {
		byName = appendAlias(nil, id, created, updated)
	}
	if created, updated, err := decodeAliasOf(b); err == nil {
		ofKey = appendAliasOf(nil, created, updated)
	}
	return byName, ofKey
}

// GeneratePair, ParsePrivate and ParsePublic are the encodings of key pairs;
// the last two encode again what they have parsed.
var GeneratePair = generatePair

func ParsePrivate(s Spec, der []byte) ([]byte, error) {
	k, err := parsePrivate(s, der)
	if err != nil {
		return nil, err
	}
	return k.marshal()
}

func ParsePublic(s Spec, der []byte) ([]byte, error) {
	p, err := parsePublic(s, der)
	if err != nil {
		return nil, err
	}
	return p.marshal()
}

// VerifyMu verifies ML-DSA signatures of μ.
var VerifyMu = verifyMu

// Actions returns every action that opens a key.
func Actions() []string {
	var all []string
	for name := range actions {
		all = append(all, name)
	}
	return all
}

// WaitSpares waits until no key pair is being made in advance.
func (r *Ring) WaitSpares() { r.spare.work.Wait() }

// Spares returns how many key pairs of a spec are ready.
func (r *Ring) Spares(s Spec) int {
	r.spare.mu.Lock()
	defer r.spare.mu.Unlock()
	return len(r.spare.pairs[s])
}

// MaxWaiting is how many callers of an account may wait for an RSA key pair.
const MaxWaiting = maxWaiting

// HoldTurns keeps all turns to make an RSA key pair until release is called.
func (r *Ring) HoldTurns() (release func()) {
	t := r.spare.turns
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.free
	t.free = 0
	return func() {
		for range n {
			t.give()
		}
	}
}

// Waiting is how many callers wait for an RSA key pair.
func (r *Ring) Waiting() int {
	r.spare.turns.mu.Lock()
	defer r.spare.turns.mu.Unlock()
	return r.spare.turns.waiting
}

// Turns are those of callers who want what takes long to make.
type Turns struct{ t *turns }

// NewTurns returns n turns.
func NewTurns(n int) Turns { return Turns{newTurns(n)} }

// Take waits for a turn.
func (t Turns) Take(ctx context.Context, account string) error { return t.t.take(ctx, account) }

// Give gives one back.
func (t Turns) Give() { t.t.give() }

// Waiting is how many wait.
func (t Turns) Waiting() int {
	t.t.mu.Lock()
	defer t.t.mu.Unlock()
	return t.t.waiting
}

// Verifier verifies signatures with a public key that need not be of a key.
type Verifier struct{ p *publicKey }

// NewVerifier parses a public key.
func NewVerifier(s Spec, spki []byte) (Verifier, error) {
	p, err := parsePublic(s, spki)
	return Verifier{p}, err
}

// Verify is Key.Verify but for the key.
func (v Verifier) Verify(a Algorithm, message []byte, digest bool, signature []byte) (bool, error) {
	var buf [sha512.Size]byte
	d, err := digestOf(a, message, digest, &buf)
	if err != nil {
		return false, err
	}
	return v.p.verify(a, d, digest, signature), nil
}

// VerifyDigested verifies a signature of what the algorithm signs in the end.
func (v Verifier) VerifyDigested(a Algorithm, digest, signature []byte) bool {
	return v.p.verify(a, digest, false, signature)
}

// PublicOf returns the public half of a private key.
func PublicOf(s Spec, pkcs8 []byte) ([]byte, error) {
	k, err := parsePrivate(s, pkcs8)
	if err != nil {
		return nil, err
	}
	p := k.public()
	return p.marshal()
}

// HeldPrivate returns whether the private key that is held of a key, and was
// not wiped then, is wiped now, as far as it can be reached; nil if none is held.
func HeldPrivate(k Key) (wiped func() bool) {
	h := k.s.current.held.Load()
	if h == nil || h.private == nil {
		return nil
	}
	p := h.private
	var words [][]big.Word
	var pieces [][]byte
	switch {
	case p.rsa != nil:
		words = append(words, p.rsa.D.Bits(), p.rsa.Primes[0].Bits(), p.rsa.Primes[1].Bits(),
			p.rsa.Precomputed.Dp.Bits(), p.rsa.Precomputed.Dq.Bits(), p.rsa.Precomputed.Qinv.Bits())
	case p.k1 != nil:
		return p.k1.Key.IsZero
	case p.ed != nil:
		pieces = append(pieces, p.ed)
	case p.kem != nil:
		pieces = append(pieces, p.kem.seed)
	case p.sm2 != nil:
		pieces = append(pieces, p.sm2.scalar)
		words = append(words, p.sm2.signer.D.Bits())
	case p.dsa != nil:
		return func() bool { return *p.dsa.key == mldsa.PrivateKey{} && allZero(p.dsa.seed) }
	}
	return func() bool {
		return !slices.ContainsFunc(words, func(w []big.Word) bool { return !allZero(w) }) &&
			!slices.ContainsFunc(pieces, func(b []byte) bool { return !allZero(b) })
	}
}

func allZero[T byte | big.Word](s []T) bool {
	return !slices.ContainsFunc(s, func(x T) bool { return x != 0 })
}

// DecryptSM2 decrypts a ciphertext of SM2PKE with a PKCS#8 private key.
func DecryptSM2(pkcs8, ciphertext []byte) ([]byte, error) {
	k, err := parsePrivate(SM2, pkcs8)
	if err != nil {
		return nil, err
	}
	return k.decrypt(SM2PKE, ciphertext)
}

// LimitKeys sets the number of keys that a Region may have.
func (r *Ring) LimitKeys(n int) { r.census.limit = n }
