package identity

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/keyreeve/keyreeve/internal/arn"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/record"
	"github.com/keyreeve/keyreeve/internal/seal"
	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/internal/sigv4"
	"github.com/keyreeve/keyreeve/policy"
)

// How long sessions last. Source: the API reference of AWS STS.
const (
	minSession     = 15 * time.Minute
	maxSession     = 36 * time.Hour
	defaultSession = 12 * time.Hour // of GetSessionToken and GetFederationToken
	rootSession    = time.Hour      // the longest of a root user, and its default
	chainedSession = time.Hour      // the longest of a role assumed by a role
	roleSession    = time.Hour      // the default of a role
)

const (
	ticketVersion = 2
	// tokenPrefix begins every session token: what follows is base64.
	tokenPrefix = "KRS1"
	// sealSlack is how long a node may go on sealing with a domain key that
	// another one has replaced, and how far their clocks may be apart.
	sealSlack = time.Hour
	// maxToken bounds the tokens that are looked at.
	maxToken = 16 << 10
	// maxPacked is the room in a token for policies and tags, in bytes.
	maxPacked = 8 << 10
	// maxSessionARNs is the largest number of managed session policies.
	maxSessionARNs = 10
	// maxClaims is how many claims a session has, and maxClaim how long one is
	// with its name, in bytes.
	maxClaims, maxClaim = 8, 1024
)

// ticket is what a session token holds, sealed. The access key id is part of
// what it is sealed with.
type ticket struct {
	kind    SessionKind
	root    bool   // made by the root user
	account string //
	issuer  string // name that the user or role had
	id      string // its unique id; the account's for root
	name    string // of the session or federated user
	issued  time.Time
	expires time.Time
	secret  secret.Bytes

	policy         string
	managed        []reference // ARN and unique id
	tags           []Tag
	transitive     []string
	sourceIdentity string
	mfa            time.Time
	chained        bool
	provider       string      // identity provider; empty for none
	claims         []reference // that it answers for: condition key and value
}

// encode returns version, kind, flags (1: root; likewise chained), account,
// issuer, id, name, issued, expires, secret, source identity, MFA time; of
// version 2, provider and claims (pairs); then what encodePacked does. The
// caller wipes it.
func (t *ticket) encode() []byte {
	b := make([]byte, 0, 1024+maxPacked)
	b = append(b, ticketVersion, byte(t.kind), flag(t.root), flag(t.chained))
	b = appendString(b, t.account)
	b = appendString(b, t.issuer)
	b = appendString(b, t.id)
	b = appendString(b, t.name)
	b = appendTime(b, t.issued)
	b = appendTime(b, t.expires)
	b = binary.AppendUvarint(b, uint64(t.secret.Len()))
	b = append(b, t.secret.Reveal()...)
	b = appendString(b, t.sourceIdentity)
	b = appendTime(b, t.mfa)
	b = appendString(b, t.provider)
	b = appendPairs(b, t.claims)
	return t.encodePacked(b)
}

// encodePacked appends what the caller chose the size of: session policy (see
// pack), managed session policies (pairs), tags (pairs), transitive keys.
func (t *ticket) encodePacked(b []byte) []byte {
	b = appendString(b, pack(t.policy))
	b = appendPairs(b, t.managed)
	b = appendPairs(b, t.tags)
	return appendStrings(b, t.transitive)
}

func decodeTicket(b []byte) (*ticket, error) {
	r := newReader(b, ticketVersion)
	t := new(ticket)
	if k := r.take(1); k != nil {
		t.kind = SessionKind(k[0])
	}
	if t.kind < RoleSession || t.kind > FederationSession {
		r.fail()
	}
	t.root = r.flag()
	t.chained = r.flag()
	t.account = r.string()
	t.issuer = r.string()
	t.id = r.string()
	t.name = r.string()
	t.issued = r.time()
	t.expires = r.time()
	t.secret = secret.New(slices.Clone(r.bytes()))
	t.sourceIdentity = r.string()
	t.mfa = r.time()
	if r.version >= 2 {
		t.provider = r.string()
		t.claims = r.pairs()
	}
	policy, err := unpack(r.string())
	t.policy = policy
	t.managed = r.pairs()
	t.tags = r.pairs()
	t.transitive = r.strings()
	return t, cmp.Or(r.end(), err)
}

// limited reports whether the session has policies of its own. A federated
// user's always has, if only none.
func (t *ticket) limited() bool {
	return t.kind == FederationSession || t.policy != "" || len(t.managed) > 0
}

func sessionAAD(accessKeyID string) []byte { return []byte("keyreeve/session/" + accessKeyID) }

// NewSession makes temporary credentials. What the caller may do is decided
// before; what is checked here is what AWS STS answers with other errors:
// ErrInvalid, ErrMalformed (the session policy), ErrPacked, ErrNotFound (a
// managed session policy, or the user or role has gone). Nothing is stored.
//
// Tags that the caller's own session passes on, and its source identity, are
// taken over.
func (d *Directory) NewSession(ctx context.Context, p SessionParams) (Session, error) {
	if len(p.Claims) > maxClaims || len(p.Provider) > maxClaim {
		return Session{}, fmt.Errorf("%w: more than an identity provider can answer for", ErrInvalid)
	}
	for _, c := range p.Claims {
		if len(c.Name)+len(c.Value) > maxClaim {
			return Session{}, fmt.Errorf("%w: a claim of more than %d bytes", ErrInvalid, maxClaim)
		}
	}
	if p.Caller == nil || p.Kind < RoleSession || p.Kind > FederationSession {
		return Session{}, fmt.Errorf("%w: a session of nobody", ErrInvalid)
	}
	now := d.now().UTC()
	t := &ticket{
		kind: p.Kind, account: p.Caller.Account, issuer: p.Caller.Name, id: p.Caller.EntityID, name: p.Name,
		issued: now.Truncate(time.Millisecond), policy: p.Policy, sourceIdentity: p.SourceIdentity, mfa: p.MFATime,
		provider: p.Provider, claims: p.Claims,
	}
	if err := d.issue(ctx, t, &p); err != nil {
		return Session{}, err
	}
	length, err := t.length(&p)
	if err != nil {
		return Session{}, err
	}
	t.expires = now.Truncate(time.Second).Add(length)
	if err := t.tag(&p); err != nil {
		return Session{}, err
	}
	if err := d.limit(ctx, t, &p); err != nil {
		return Session{}, err
	}
	packed := 0
	if t.policy != "" || len(t.managed)+len(t.tags) > 0 {
		size := len(t.encodePacked(nil))
		if packed = (100*size + maxPacked - 1) / maxPacked; packed > 100 {
			return Session{}, &Error{ErrPacked, fmt.Sprintf("Packed policy consumes %d%% of allotted space, please use smaller policy.", packed)}
		}
	}
	s := Session{
		AccessKeyID: newAccessKeyID("ASIA", t.account), SecretAccessKey: newSecretAccessKey(), Expires: t.expires,
		SourceIdentity: t.sourceIdentity, Packed: packed,
	}
	t.secret = s.SecretAccessKey
	plain := t.encode()
	defer clear(plain)
	sealed, err := d.rs.Box().Seal(seal.Tokens, sessionAAD(s.AccessKeyID), plain)
	if err != nil {
		s.SecretAccessKey.Wipe()
		return Session{}, fmt.Errorf("sealing a session token: %w", err)
	}
	s.Token = tokenPrefix + base64.RawURLEncoding.EncodeToString(sealed)
	switch p.Kind {
	case RoleSession:
		s.ARN, s.ID = sessionARN(t.account, t.issuer, t.name), t.id+":"+t.name
	case FederationSession:
		s.ARN, s.ID = federatedARN(t.account, t.name), t.account+":"+t.name
	default:
		s.ARN, s.ID = p.Caller.ARN, p.Caller.ID
	}
	return s, nil
}

// issue fills in who issues the session, and checks that it is there.
func (d *Directory) issue(ctx context.Context, t *ticket, p *SessionParams) error {
	if p.Kind == RoleSession {
		switch {
		case p.Role == nil:
			return fmt.Errorf("%w: a role session of no role", ErrInvalid)
		case p.Caller.Kind == call.Root:
			return &Error{ErrInvalid, "Roles may not be assumed by root accounts."}
		case !isSessionName(p.Name):
			return fmt.Errorf("%w: session name %q", ErrInvalid, p.Name)
		}
		t.account, t.issuer, t.id = p.Role.Account, p.Role.Name, p.Role.ID
		t.chained = p.Caller.Kind == call.RoleSession
		e, _, err := d.entity(ctx, Entity{RoleEntity, t.account, t.issuer})
		if err == nil && e.id != t.id {
			err = Entity{RoleEntity, t.account, t.issuer}.notFound()
		}
		return err
	}
	if p.Caller.Session != nil || p.Caller.Kind != call.User && p.Caller.Kind != call.Root {
		return &Error{ErrInvalid, "Cannot call " + map[SessionKind]string{UserSession: "GetSessionToken", FederationSession: "GetFederationToken"}[p.Kind] + " with session credentials"}
	}
	if p.Kind == FederationSession && (!isSessionName(p.Name) || len(p.Name) > 32) {
		return fmt.Errorf("%w: name of a federated user %q", ErrInvalid, p.Name)
	}
	if p.Kind == UserSession {
		t.name = ""
		if p.Policy != "" || len(p.PolicyARNs)+len(p.Tags)+len(p.Transitive) > 0 {
			return fmt.Errorf("%w: a user's session has no policies and tags", ErrInvalid)
		}
	}
	if p.Caller.Kind == call.Root {
		t.root, t.id = true, t.account
		_, _, err := d.loadAccount(ctx, t.account)
		return err
	}
	e, err := d.entityByID(ctx, t.id)
	if err == nil && e.kind != UserEntity {
		err = idNotFound(t.id)
	}
	return err
}

// length returns how long the session lasts.
func (t *ticket) length(p *SessionParams) (time.Duration, error) {
	least, most, usual := minSession, maxSession, defaultSession
	switch {
	case t.kind == RoleSession:
		most, usual = max(p.Role.MaxSession, minMaxSession), roleSession
		if t.chained && p.Duration > chainedSession {
			return 0, &Error{ErrInvalid, "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining"}
		}
		if p.Duration > most {
			return 0, &Error{ErrInvalid, "The requested DurationSeconds exceeds the MaxSessionDuration set for this role."}
		}
	case t.root:
		// More is cut down to it.
		usual = rootSession
		if p.Duration > rootSession && p.Duration <= maxSession {
			return rootSession, nil
		}
	}
	if p.Duration == 0 {
		return usual, nil
	}
	if p.Duration < least || p.Duration > most || p.Duration%time.Second != 0 {
		return 0, fmt.Errorf("%w: a session of %v", ErrInvalid, p.Duration)
	}
	return p.Duration, nil
}

// tag fills in tags, transitive keys and source identity, with what the
// caller's session passes on.
func (t *ticket) tag(p *SessionParams) error {
	if err := CheckTags(p.Tags); err != nil {
		return err
	}
	if p.SourceIdentity != "" && !isSessionName(p.SourceIdentity) {
		return fmt.Errorf("%w: source identity %q", ErrInvalid, p.SourceIdentity)
	}
	t.tags = slices.Clone(p.Tags)
	for _, key := range p.Transitive {
		if _, ok := find(t.tags, key); !ok {
			return &Error{ErrInvalid, "The specified transitive tag key must be included in the requested tags."}
		}
		if !slices.ContainsFunc(t.transitive, func(k string) bool { return strings.EqualFold(k, key) }) {
			t.transitive = append(t.transitive, key)
		}
	}
	from := p.Caller.Session
	if from == nil || t.kind != RoleSession {
		return nil
	}
	for _, key := range from.Transitive {
		if _, ok := find(t.tags, key); ok {
			return &Error{ErrInvalid, "One of the specified transitive tag keys can't be set because it conflicts with a transitive tag key from the calling session."}
		}
		if i, ok := find(from.Tags, key); ok {
			t.tags = append(t.tags, from.Tags[i])
			t.transitive = append(t.transitive, key)
		}
	}
	if from.SourceIdentity != "" {
		if t.sourceIdentity != "" && t.sourceIdentity != from.SourceIdentity {
			return &Error{ErrInvalid, "The source identity of the calling session cannot be changed."}
		}
		t.sourceIdentity = from.SourceIdentity
	}
	return nil
}

// limit checks and fills in the session's policies.
func (d *Directory) limit(ctx context.Context, t *ticket, p *SessionParams) error {
	if t.policy != "" {
		if utf8.RuneCountInString(t.policy) > MaxSessionPolicy {
			return &Error{ErrPacked, fmt.Sprintf("The session policy has more than %d characters.", MaxSessionPolicy)}
		}
		if _, err := d.parse(t.policy, policy.Identity); err != nil {
			return err
		}
	}
	if len(p.PolicyARNs) > maxSessionARNs {
		return fmt.Errorf("%w: more than %d managed session policies", ErrInvalid, maxSessionARNs)
	}
	for _, arn := range p.PolicyARNs {
		m, _, err := d.managedPolicy(ctx, t.account, arn)
		if errors.Is(err, ErrNotFound) {
			err = policyNotAttachable(arn)
		}
		if err != nil {
			return err
		}
		t.managed = append(t.managed, reference{Name: arn, Value: m.id})
	}
	return nil
}

func sessionARN(account, role, session string) string {
	return "arn:" + partition + ":sts::" + account + ":assumed-role/" + role + "/" + session
}

func federatedARN(account, name string) string {
	return "arn:" + partition + ":sts::" + account + ":federated-user/" + name
}

// session is a session in use, as it is cached.
type session struct {
	*ticket
	accessKeyID string
	token       string
	signs       *sigv4.Key
	policies    []call.Attached // the inline session policy, if there is one
	bound       atomic.Pointer[bound]
	bytes       int // its cost, as it was put; guarded by its shard
}

// sessionCredential is Credential with a session token.
func (d *Directory) sessionCredential(ctx context.Context, accessKeyID, token string) (*call.Principal, *sigv4.Key, error) {
	s := d.sessions.get(token)
	if s == nil {
		var err error
		if s, err = d.openToken(accessKeyID, token); err != nil {
			return nil, nil, err
		}
	}
	if s.accessKeyID != accessKeyID {
		return nil, nil, sigv4.ErrUnrecognizedClient
	}
	if !d.now().Before(s.expires) || d.behind() {
		return nil, nil, sigv4.ErrExpiredToken
	}
	if b := s.bound.Load(); b != nil && d.lasts(b.at) {
		return b.principal, s.signs, nil
	}
	at := d.moment(s.account)
	p, err := d.composeSession(ctx, s)
	if err != nil {
		return nil, nil, unrecognized(err)
	}
	s.bound.Store(&bound{at, p})
	d.sessions.put(s) // again, if it is known: it may have come to hold more
	return p, s.signs, nil
}

// openToken opens a session token. What is none, or another access key's, is
// sigv4.ErrUnrecognizedClient.
func (d *Directory) openToken(accessKeyID, token string) (*session, error) {
	text, ok := strings.CutPrefix(token, tokenPrefix)
	if !ok || len(token) > maxToken || !isAccessKeyID(accessKeyID) {
		return nil, sigv4.ErrUnrecognizedClient
	}
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil {
		return nil, sigv4.ErrUnrecognizedClient
	}
	plain, err := d.rs.Box().Open(seal.Tokens, sessionAAD(accessKeyID), sealed)
	if errors.Is(err, seal.ErrNotOpened) || errors.Is(err, seal.ErrUnknownDomainKey) {
		return nil, sigv4.ErrUnrecognizedClient
	}
	if err != nil {
		return nil, fmt.Errorf("opening a session token: %w", err)
	}
	defer clear(plain)
	t, err := decodeTicket(plain)
	if err != nil {
		return nil, fmt.Errorf("opening a session token: %w", err)
	}
	if !d.sealedInTime(t, sealed) {
		t.secret.Wipe()
		return nil, sigv4.ErrUnrecognizedClient
	}
	s := &session{ticket: t, accessKeyID: strings.Clone(accessKeyID), token: strings.Clone(token), signs: sigv4.NewKey(t.secret)}
	if t.policy != "" {
		s.policies = []call.Attached{d.attached("", "session policy", t.policy, policy.Identity)}
	}
	return s, nil
}

// sealedInTime reports whether a token was sealed while its domain key was the
// one that seals. Whoever has an old domain key (of a backup, say) could make
// tokens with it otherwise, for as long as the installation lives; so what they
// can make is over some time after the key was replaced.
func (d *Directory) sealedInTime(t *ticket, sealed []byte) bool {
	id, ok := seal.DomainKey(sealed)
	if !ok || t.expires.Sub(t.issued) > maxSession {
		return false
	}
	until, ok := d.rs.Box().SealedUntil(id)
	return ok && (until.IsZero() || t.issued.Before(until.Add(sealSlack)))
}

// composeSession composes the principal of a session from what its user or role
// is now. Errors: record.ErrNotFound if it has gone; sigv4.ErrExpiredToken if
// its sessions were revoked.
func (d *Directory) composeSession(ctx context.Context, s *session) (*call.Principal, error) {
	a, err := d.cachedAccount(ctx, s.account)
	if err != nil {
		return nil, err
	}
	if s.issued.Before(a.NotBefore) {
		return nil, sigv4.ErrExpiredToken
	}
	var e *cachedEntity
	if !s.root {
		kind := UserEntity
		if s.kind == RoleSession {
			kind = RoleEntity
		}
		if e, err = d.cachedByID(ctx, kind, s.account, s.issuer, s.id); err != nil {
			return nil, err
		}
		if s.issued.Before(e.notBefore) {
			return nil, sigv4.ErrExpiredToken
		}
	}
	p, err := d.composeIssuer(ctx, s, a, e)
	if err != nil {
		return nil, err
	}
	p.AccessKeyID = s.accessKeyID
	p.Session = &call.Session{
		Issued: s.issued.Truncate(time.Second), Expires: s.expires, Name: s.name, SourceIdentity: s.sourceIdentity,
		MFA: !s.mfa.IsZero(), MFATime: s.mfa, Chained: s.chained, Tags: s.tags, Transitive: s.transitive,
		Provider: s.provider, Claims: s.claims,
	}
	in := &p.Policies
	in.Limited = s.limited()
	in.Session = s.policies
	for _, ref := range s.managed {
		m, err := d.managed(ctx, ref)
		if err == nil && m.Policy == nil {
			err = record.ErrTampered
		}
		if errors.Is(err, record.ErrNotFound) || errors.Is(err, record.ErrTampered) {
			if in.Broken == "" {
				in.Broken = "session policy " + ref.Name + " is missing or was altered"
				d.log.Warn("everything is denied to a session: a policy that limits it is missing or was altered", "principal", p.ARN, "policy", ref.Name)
			}
			continue
		}
		if err != nil {
			return nil, err
		}
		in.Session = append(slices.Clip(in.Session), m)
	}
	for _, q := range s.policies {
		if q.Policy == nil && in.Broken == "" {
			in.Broken = "the session policy cannot be read"
		}
	}
	return p, nil
}

// composeIssuer composes what a session has of its issuer, and its names. The
// entity is nil for the root user.
func (d *Directory) composeIssuer(ctx context.Context, s *session, a *cachedAccount, e *cachedEntity) (*call.Principal, error) {
	switch {
	case s.kind == RoleSession:
		role, this := e.arn(), sessionARN(s.account, e.name, s.name)
		p := &call.Principal{
			Kind: call.RoleSession, Account: s.account, ARN: this, ID: e.id + ":" + s.name, EntityARN: role, EntityID: e.id,
			Tags: mergeTags(e.tags, s.tags), Closed: a.closed,
			Names: policy.Principal{Account: s.account, ARN: this, Role: role, ID: e.id},
		}
		return p, d.inherit(ctx, p, a, e)
	case s.kind == UserSession && s.root:
		return d.composeRoot(ctx, a)
	case s.kind == UserSession:
		return d.composeUser(ctx, a, e)
	}
	this := federatedARN(s.account, s.name)
	p := &call.Principal{
		Kind: call.FederatedUser, Account: s.account, ARN: this, ID: s.account + ":" + s.name, EntityARN: this, Closed: a.closed,
		Names: policy.Principal{Account: s.account, ARN: this},
	}
	if s.root {
		// It may what its policies say, for the root user may everything.
		p.Issuer = arn.Root(partition, s.account)
		p.Names.Issuer = p.Issuer
		p.Tags = s.tags
		p.Policies.Identity = []call.Attached{d.aws[call.AdministratorAccess]}
		var err error
		p.Organization, err = d.place(ctx, a)
		return p, err
	}
	p.Issuer, p.EntityID = e.arn(), e.id
	p.Names.Issuer, p.Names.ID = p.Issuer, e.id
	p.Tags = mergeTags(e.tags, s.tags)
	return p, d.inherit(ctx, p, a, e)
}

// sessionShards is a power of two.
const sessionShards = 64

// sessions are the sessions in use.
type sessions struct {
	seed   maphash.Seed
	room   int // weight in each shard
	bytes  int // cost in each shard
	shards [sessionShards]sessionShard
}

type sessionShard struct {
	mu     sync.RWMutex
	known  map[string]*session // by token
	weight int                 // of all of them
	bytes  int                 // the cost of all of them
	_      [64]byte            // keeps shards off each other's cache lines
}

// weight is 1 for a session without policies and tags, and grows with them.
func (s *session) weight() int { return 1 + len(s.token)/1024 }

func (s *sessions) shard(token string) *sessionShard {
	return &s.shards[maphash.String(s.seed, token)%sessionShards]
}

func (s *sessions) get(token string) *session {
	if len(token) > maxToken {
		return nil
	}
	sh := s.shard(token)
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	return sh.known[token]
}

// put keeps a session, or weighs it anew. While there is no room, one of those
// that end first goes; what is larger than a shard is not kept.
func (s *sessions) put(in *session) {
	cost := in.cost()
	sh := s.shard(in.token)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.known == nil {
		sh.known = make(map[string]*session)
	}
	if there := sh.known[in.token]; there == in {
		sh.remove(in)
	} else if there != nil {
		return // the same, from another call
	}
	if cost > s.bytes {
		return
	}
	for len(sh.known) > 0 && (sh.weight+in.weight() > s.room || sh.bytes+cost > s.bytes) {
		var victim *session
		looked := 0
		for _, other := range sh.known {
			if victim == nil || other.expires.Before(victim.expires) {
				victim = other
			}
			if looked++; looked == 8 {
				break
			}
		}
		sh.remove(victim)
	}
	in.bytes = cost
	sh.known[in.token] = in
	sh.weight += in.weight()
	sh.bytes += cost
}

func (sh *sessionShard) remove(s *session) {
	delete(sh.known, s.token)
	sh.weight -= s.weight()
	sh.bytes -= s.bytes
}

func (s *sessions) clear() {
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.Lock()
		clear(sh.known)
		sh.weight, sh.bytes = 0, 0
		sh.mu.Unlock()
	}
}
