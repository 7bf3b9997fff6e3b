package seal

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"

	"github.com/keyreeve/keyreeve/internal/hint"
	"github.com/keyreeve/keyreeve/internal/secret"
)

// MinPassphrase is the fewest characters of a new passphrase.
const MinPassphrase = 12

// MaxPassphrase is the largest passphrase, in bytes.
const MaxPassphrase = 1024

// Cost is what it costs to try a passphrase: the parameters of Argon2id
// (RFC 9106). The zero value means DefaultCost.
type Cost struct {
	Memory  uint32 // KiB
	Time    uint32 // passes
	Threads uint8
}

// DefaultCost takes some 100 ms and 64 MiB. RFC 9106, section 4, second choice,
// with fewer lanes.
var DefaultCost = Cost{Memory: 64 << 10, Time: 3, Threads: 2}

// The bounds of a cost. What the store says is not trusted with more than
// these: a hostile one could otherwise make the node run out of memory.
var (
	minCost = Cost{Memory: 8 << 10, Time: 1, Threads: 1}
	maxCost = Cost{Memory: 1 << 20, Time: 16, Threads: 16}
)

func (c Cost) check() error {
	if c.Memory < minCost.Memory || c.Memory > maxCost.Memory || c.Time < minCost.Time || c.Time > maxCost.Time ||
		c.Threads < minCost.Threads || c.Threads > maxCost.Threads {
		return fmt.Errorf("seal: argon2id with %d KiB, %d passes, %d threads is out of bounds", c.Memory, c.Time, c.Threads)
	}
	return nil
}

const saltSize = 16

// The parameters of a passphrase:
//
//	byte  0      1: argon2id, version 0x13
//	bytes 1-4    memory in KiB, big-endian
//	bytes 5-8    passes, big-endian
//	byte  9      threads
//	bytes 10-25  salt
const paramsSize = 10 + saltSize

// CheckPassphrase returns what keeps a passphrase from being a new one, an
// ErrWeakPassphrase.
func CheckPassphrase(phrase secret.Bytes) error {
	switch {
	case !utf8.Valid(phrase.Reveal()):
		return fmt.Errorf("%w: it is not valid UTF-8", ErrWeakPassphrase)
	case utf8.RuneCount(phrase.Reveal()) < MinPassphrase:
		return hint.Add(fmt.Errorf("%w: it has fewer than %d characters", ErrWeakPassphrase, MinPassphrase), "use several random words")
	case phrase.Len() > MaxPassphrase:
		return fmt.Errorf("%w: it has more than %d bytes", ErrWeakPassphrase, MaxPassphrase)
	}
	return nil
}

type passphrase struct {
	phrase secret.Bytes
	cost   Cost
}

// Passphrase returns a provider that derives the root key from a passphrase by
// Argon2id. The cost is that of new root keys; a store's own is kept in its
// seal state. An absent phrase is allowed: with it, a Box opens sealed, and
// waits for [Box.Unlock]. A Box does not keep the phrase: the caller
// wipes it once the Box is open.
func Passphrase(phrase secret.Bytes, cost Cost) Provider {
	if cost == (Cost{}) {
		cost = DefaultCost
	}
	return &passphrase{phrase, cost}
}

func (p *passphrase) Kind() string { return KindPassphrase }

func (p *passphrase) Create(ctx context.Context) (secret.Bytes, []byte, error) {
	if p.phrase.Len() == 0 {
		return secret.Bytes{}, nil, hint.Add(ErrNoPassphrase, "a new store needs its passphrase at the first start: give it in a file of mode 0600 (seal.passphrase_file)")
	}
	if err := CheckPassphrase(p.phrase); err != nil {
		return secret.Bytes{}, nil, err
	}
	if err := p.cost.check(); err != nil {
		return secret.Bytes{}, nil, err
	}
	params := make([]byte, 0, paramsSize)
	params = append(params, 1)
	params = binary.BigEndian.AppendUint32(params, p.cost.Memory)
	params = binary.BigEndian.AppendUint32(params, p.cost.Time)
	params = append(params, p.cost.Threads)
	params = params[:paramsSize]
	rand.Read(params[paramsSize-saltSize:])
	root, err := p.Open(ctx, params)
	return root, params, err
}

func (p *passphrase) Renew(ctx context.Context, _ []byte) (secret.Bytes, []byte, error) {
	return p.Create(ctx)
}

func (p *passphrase) Open(ctx context.Context, params []byte) (secret.Bytes, error) {
	cost, salt, err := parsePassphraseParams(params)
	if err != nil {
		return secret.Bytes{}, err
	}
	if p.phrase.Len() == 0 {
		return secret.Bytes{}, hint.Add(ErrNoPassphrase, "run: keyreeve seal unseal")
	}
	if p.phrase.Len() > MaxPassphrase {
		return secret.Bytes{}, ErrWrongRoot
	}
	if err := ctx.Err(); err != nil {
		return secret.Bytes{}, err
	}
	return secret.New(argon2.IDKey(p.phrase.Reveal(), salt, cost.Time, cost.Memory, cost.Threads, rootSize)), nil
}

func parsePassphraseParams(params []byte) (Cost, []byte, error) {
	if len(params) != paramsSize || params[0] != 1 {
		return Cost{}, nil, fmt.Errorf("%w: unknown parameters of a passphrase", ErrTampered)
	}
	c := Cost{
		Memory:  binary.BigEndian.Uint32(params[1:]),
		Time:    binary.BigEndian.Uint32(params[5:]),
		Threads: params[9],
	}
	if err := c.check(); err != nil {
		return Cost{}, nil, fmt.Errorf("%w: %w", ErrTampered, err)
	}
	return c, params[paramsSize-saltSize:], nil
}
