package keyring

import (
	"context"
	"log/slog"
	"runtime"
	"sync"
)

// sparePairs makes RSA key pairs in advance, because that takes long: tens to
// hundreds of milliseconds. One goroutine at a time fills up what was taken;
// none runs before the first use of an RSA spec, or when all is full. Nothing
// is kept while the box is sealed.
type sparePairs struct {
	size   int         // of each spec
	sealed func() bool // says of the box
	log    *slog.Logger

	// Callers who find no spare take turns, so that half of the processors are
	// left for calls that take microseconds.
	turns *turns

	mu      sync.Mutex // guards what follows
	pairs   map[Spec][]pair
	filling bool
	closed  bool
	work    sync.WaitGroup // one that fills
}

// pair is a key pair in DER.
type pair struct{ pkcs8, spki []byte }

func newSparePairs(size int, sealed func() bool, log *slog.Logger) *sparePairs {
	return &sparePairs{
		size: size, sealed: sealed, log: log, pairs: make(map[Spec][]pair),
		turns: newTurns(max(1, runtime.GOMAXPROCS(0)/2)),
	}
}

// take returns a key pair of an asymmetric spec: PKCS#8, which is the caller's
// to wipe, and SubjectPublicKeyInfo, for an account's call. ErrBusy means that too
// many of the account's wait already.
func (p *sparePairs) take(ctx context.Context, account string, s Spec) (pkcs8, spki []byte, err error) {
	switch {
	case s.rsaBits() == 0:
		return generatePair(s)
	case p.size == 0:
		return p.generate(ctx, account, s)
	}
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil, nil, ErrClosed
	}
	spares := p.pairs[s]
	if n := len(spares); n > 0 {
		pkcs8, spki = spares[n-1].pkcs8, spares[n-1].spki
		spares[n-1] = pair{}
		p.pairs[s] = spares[:n-1]
	} else if spares == nil {
		p.pairs[s] = make([]pair, 0, p.size) // used from now on
	}
	if !p.filling {
		p.filling = true
		p.work.Go(p.fill)
	}
	p.mu.Unlock()
	if pkcs8 != nil {
		return pkcs8, spki, nil
	}
	return p.generate(ctx, account, s)
}

// generate makes an RSA key pair when it is the caller's turn.
func (p *sparePairs) generate(ctx context.Context, account string, s Spec) (pkcs8, spki []byte, err error) {
	if err := p.turns.take(ctx, account); err != nil {
		return nil, nil, err
	}
	defer p.turns.give()
	return generatePair(s)
}

// fill makes pairs until there are enough of each spec in use.
func (p *sparePairs) fill() {
	for {
		p.mu.Lock()
		s := p.wanted()
		if s == "" {
			p.filling = false
			p.mu.Unlock()
			return
		}
		p.mu.Unlock()
		pkcs8, spki, err := generatePair(s)
		p.mu.Lock()
		switch {
		case err != nil:
			p.log.Error("making a key pair in advance failed", "spec", string(s), "error", err)
			p.filling = false
			p.mu.Unlock()
			return
		case p.closed || p.sealed():
			clear(pkcs8)
		default:
			p.pairs[s] = append(p.pairs[s], pair{pkcs8, spki})
		}
		p.mu.Unlock()
	}
}

// wanted returns the spec that there are fewest pairs of, empty if all is full.
func (p *sparePairs) wanted() Spec {
	var want Spec
	if p.closed || p.sealed() {
		return want
	}
	for _, s := range []Spec{RSA2048, RSA3072, RSA4096} {
		have, used := p.pairs[s]
		if used && len(have) < p.size && (want == "" || len(have) < len(p.pairs[want])) {
			want = s
		}
	}
	return want
}

// drop wipes all pairs. More are made when a spec is used again.
func (p *sparePairs) drop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dropLocked()
}

func (p *sparePairs) dropLocked() {
	for _, spares := range p.pairs {
		for i := range spares {
			clear(spares[i].pkcs8)
			spares[i] = pair{}
		}
	}
	clear(p.pairs)
}

// close wipes all pairs. One that is being made is wiped when it is done, which
// may take seconds and is not waited for: nothing but this package knows of it.
func (p *sparePairs) close() {
	p.mu.Lock()
	p.closed = true
	p.dropLocked()
	p.mu.Unlock()
}
