package oidc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4/json"
)

// How long keys are kept, and how often an issuer is asked.
const (
	fresh    = 10 * time.Minute // then they are fetched again,
	good     = time.Hour        // and until then the old ones do if that fails
	patience = time.Minute      // between two fetches for a key that is not there
	cooldown = 10 * time.Second // after a failure

	maxIssuers  = 1000
	maxOfTenant = 100     // issuers of one tenant
	maxWaiting  = 64      // callers that wait for one issuer
	maxDocument = 1 << 18 // bytes of a discovery document or key set
)

// A Getter fetches documents, as an outbound.Dialer does.
type Getter interface {
	GetJSON(ctx context.Context, url string, most int) ([]byte, error)
}

// Verifier verifies tokens, with keys that it fetches and keeps. Its methods
// may be called concurrently.
type Verifier struct {
	get Getter
	now func() time.Time
	log *slog.Logger

	mu      sync.Mutex
	issuers map[string]*issuer
	tenants map[string]int // how many issuers are those of one tenant alone
}

// An issuer is what is known of one.
type issuer struct {
	// Guarded by the Verifier's mutex: when it was asked for last, and whose it
	// is; it is nobody's after two tenants have asked for it.
	used   time.Time
	tenant string

	keyed atomic.Bool // keys are there, or were

	turn    chan struct{} // holds a token while nobody fetches
	mu      sync.Mutex    // guards what follows
	waiting int
	keys    []key
	fetched time.Time // when keys were
	asked   time.Time // when they were last asked for
	err     error     // of the last fetch
}

// New returns a verifier. A nil log means none, a nil now time.Now.
func New(get Getter, now func() time.Time, log *slog.Logger) *Verifier {
	if now == nil {
		now = time.Now
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Verifier{get: get, now: now, log: log, issuers: make(map[string]*issuer), tenants: make(map[string]int)}
}

// issuer returns what is known of an issuer, for a tenant. If there are too many,
// one is forgotten; if the tenant has too many of its own, one of those.
func (v *Verifier) issuer(tenant, url string) *issuer {
	now := v.now()
	v.mu.Lock()
	defer v.mu.Unlock()
	in := v.issuers[url]
	switch {
	case in == nil:
		if v.tenants[tenant] >= maxOfTenant {
			v.forget(func(in *issuer) bool { return in.tenant == tenant })
		}
		if len(v.issuers) >= maxIssuers {
			v.forget(func(*issuer) bool { return true })
		}
		in = &issuer{tenant: strings.Clone(tenant), turn: make(chan struct{}, 1)}
		in.turn <- struct{}{}
		v.issuers[strings.Clone(url)] = in
		v.tenants[in.tenant]++
	case in.tenant != tenant && in.tenant != "":
		v.leave(in)
	}
	in.used = now
	return in
}

// forget forgets one of the issuers for which of holds: one without keys if
// there is any, so that whoever names issuers that do not answer displaces only
// their like; of those the one that nobody has asked for in the longest time.
func (v *Verifier) forget(of func(*issuer) bool) {
	worst := ""
	var least *issuer
	for url, in := range v.issuers {
		if !of(in) {
			continue
		}
		keyed := in.keyed.Load()
		if least == nil || !keyed && least.keyed.Load() || keyed == least.keyed.Load() && in.used.Before(least.used) {
			worst, least = url, in
		}
	}
	if least != nil {
		v.leave(least)
		delete(v.issuers, worst)
	}
}

// leave makes an issuer nobody's.
func (v *Verifier) leave(in *issuer) {
	if in.tenant == "" {
		return
	}
	if v.tenants[in.tenant]--; v.tenants[in.tenant] == 0 {
		delete(v.tenants, in.tenant)
	}
	in.tenant = ""
}

// has reports whether there are keys that will do if no others can be fetched.
func (in *issuer) has(now time.Time) bool {
	age := now.Sub(in.fetched)
	return in.keys != nil && age >= 0 && age < good
}

// known returns the keys that are there and good enough. again asks for keys
// that were not there a moment ago. Without keys and error, they are to be
// fetched.
func (in *issuer) known(now time.Time, again bool) ([]key, error) {
	age := now.Sub(in.fetched)
	since := now.Sub(in.asked)
	has := in.has(now)
	failed := in.err != nil && since >= 0 && since < cooldown
	switch {
	case has && failed:
		return in.keys, nil
	case failed:
		return nil, in.err
	case has && again && since >= 0 && since < patience:
		return in.keys, nil
	case has && !again && age < fresh:
		return in.keys, nil
	}
	return nil, nil
}

// keys returns an issuer's keys; again is whether they are fetched although
// some are there, unless that was done a moment ago. One caller fetches them,
// and some others wait.
func (v *Verifier) keys(ctx context.Context, tenant, url string, again bool) ([]key, error) {
	in := v.issuer(tenant, url)
	in.mu.Lock()
	now := v.now()
	keys, err := in.known(now, again)
	if keys == nil && err == nil && in.waiting >= maxWaiting {
		if in.has(now) && !again {
			keys = in.keys // or else whoever sends enough tokens could keep others out
		} else {
			err = fmt.Errorf("%w: too many wait for them", ErrUnavailable)
		}
	}
	if keys != nil || err != nil {
		in.mu.Unlock()
		return keys, err
	}
	in.waiting++
	in.mu.Unlock()
	defer func() {
		in.mu.Lock()
		in.waiting--
		in.mu.Unlock()
	}()
	select {
	case <-in.turn:
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
	}
	defer func() { in.turn <- struct{}{} }()
	in.mu.Lock()
	keys, err = in.known(v.now(), again)
	in.mu.Unlock()
	if keys != nil || err != nil {
		return keys, err // somebody else has fetched them
	}
	keys, err = v.fetch(ctx, url)
	if err != nil {
		v.log.Warn("the keys of an OpenID Connect issuer could not be fetched", "issuer", url, "cause", err)
		err = fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	in.asked, in.err = v.now(), err
	if err == nil {
		in.keys, in.fetched = keys, in.asked
		in.keyed.Store(true)
		return keys, nil
	}
	if old, _ := in.known(in.asked, again); old != nil {
		return old, nil
	}
	return nil, err
}

// fetch fetches an issuer's keys, from where it says that they are.
func (v *Verifier) fetch(ctx context.Context, url string) ([]key, error) {
	text, err := v.get.GetJSON(ctx, strings.TrimSuffix(url, "/")+"/.well-known/openid-configuration", maxDocument)
	if err != nil {
		return nil, err
	}
	var discovery struct {
		Issuer string `json:"issuer"`
		Keys   string `json:"jwks_uri"`
	}
	if err := json.Unmarshal(text, &discovery); err != nil {
		return nil, errors.New("the discovery document is no JSON object")
	}
	if discovery.Issuer != url {
		return nil, errors.New("the discovery document is another issuer's")
	}
	if text, err = v.get.GetJSON(ctx, discovery.Keys, maxDocument); err != nil {
		return nil, err
	}
	return parseKeys(text)
}
