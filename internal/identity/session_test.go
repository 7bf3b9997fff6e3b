package identity_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/identity"
	"github.com/keyreeve/keyreeve/internal/record"
	"github.com/keyreeve/keyreeve/internal/seal"
	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/internal/sigv4"
	"github.com/keyreeve/keyreeve/internal/store"
)

// assume makes a session of a role for alice.
func (h *house) assume(role identity.Role, change func(*identity.SessionParams)) (identity.Session, error) {
	p := identity.SessionParams{Kind: identity.RoleSession, Caller: h.alice(), Role: &role, Name: "session"}
	if change != nil {
		change(&p)
	}
	return h.NewSession(h.t.Context(), p)
}

func (h *house) session(s identity.Session, err error) identity.Session {
	h.t.Helper()
	h.ok(err)
	return s
}

func (h *house) use(s identity.Session) error {
	_, _, err := h.Credential(h.t.Context(), s.AccessKeyID, s.Token)
	return err
}

func TestRoleSession(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	r, err := h.CreateRole(ctx, identity.Role{
		Account: ours, Name: "Worker", Path: "/jobs/", Trust: trusting(ours), MaxSession: 2 * time.Hour,
		Tags: []identity.Tag{{Name: "Team", Value: "role"}, {Name: "Site", Value: "role"}},
	})
	h.ok(err)
	h.ok(h.PutInlinePolicy(ctx, aRole("worker"), "i", allow("kms:*")))

	s := h.session(h.assume(r, func(p *identity.SessionParams) {
		p.Tags = []identity.Tag{{Name: "team", Value: "session"}, {Name: "Cost", Value: "1"}}
		p.Transitive = []string{"cost"}
		p.SourceIdentity = "alice@example.com"
	}))
	if !strings.HasPrefix(s.AccessKeyID, "ASIA") || len(s.AccessKeyID) != 20 || s.SecretAccessKey.Len() != 40 ||
		s.ARN != "arn:aws:sts::111122223333:assumed-role/Worker/session" || s.ID != r.ID+":session" ||
		!s.Expires.Equal(h.clock.now().Add(time.Hour)) || s.Packed != 1 || s.SourceIdentity != "alice@example.com" {
		t.Errorf("session %+v", s)
	}
	p, key, err := h.Credential(ctx, s.AccessKeyID, s.Token)
	h.ok(err)
	if key == nil {
		t.Error("no key to sign with")
	}
	if p.Kind != call.RoleSession || p.Account != ours || p.ARN != s.ARN || p.ID != s.ID || p.Name != "" || p.AccessKeyID != s.AccessKeyID ||
		p.EntityARN != r.ARN || p.EntityID != r.ID || p.Names.ARN != s.ARN || p.Names.Role != r.ARN || p.Names.ID != r.ID || p.Names.Account != ours || p.Names.Root {
		t.Errorf("principal %+v", p)
	}
	if got := fmt.Sprint(p.Tags); got != "[{team session} {Site role} {Cost 1}]" {
		t.Errorf("tags %s", got)
	}
	q := p.Session
	if q == nil || q.Name != "session" || q.Chained || q.MFA || q.SourceIdentity != "alice@example.com" || !q.Issued.Equal(h.clock.now()) || !q.Expires.Equal(s.Expires) ||
		fmt.Sprint(q.Transitive) != "[cost]" || len(q.Tags) != 2 || p.Policies.Limited {
		t.Errorf("session %+v, limited %t", q, p.Policies.Limited)
	}
	if got := may(p, "kms:Decrypt"); got != "allowed" {
		t.Errorf("kms:Decrypt: %s", got)
	}
	h.elsewhere("a session", s.AccessKeyID, s.Token, func(p *call.Principal) string { return may(p, "kms:Decrypt") }, "allowed")
	h.ok(h.PutInlinePolicy(ctx, aRole("worker"), "no", deny("kms:Decrypt")))
	if got := may(h.caller(s.AccessKeyID, s.Token), "kms:Decrypt"); got != "denied" {
		t.Errorf("after a deny: %s", got)
	}
	h.elsewhere("a session", s.AccessKeyID, s.Token, func(p *call.Principal) string { return may(p, "kms:Decrypt") }, "denied")

	// Chained: what is transitive goes along, and an hour is the most.
	next := identity.SessionParams{Kind: identity.RoleSession, Caller: p, Role: &r, Name: "next"}
	c := h.caller2(h.session(h.NewSession(ctx, next)))
	if !c.Session.Chained || fmt.Sprint(c.Tags) != "[{Team role} {Site role} {Cost 1}]" || fmt.Sprint(c.Session.Transitive) != "[cost]" || c.Session.SourceIdentity != "alice@example.com" {
		t.Errorf("chained: %+v, tags %v", c.Session, c.Tags)
	}
	for what, change := range map[string]func(*identity.SessionParams){
		"1 hour session limit": func(p *identity.SessionParams) { p.Duration = 61 * time.Minute },
		"conflicts with a transitive": func(p *identity.SessionParams) {
			p.Tags = []identity.Tag{{Name: "COST", Value: "2"}}
		},
		"cannot be changed": func(p *identity.SessionParams) { p.SourceIdentity = "somebody-else" },
	} {
		bad := next
		change(&bad)
		if _, err := h.NewSession(ctx, bad); !errors.Is(err, identity.ErrInvalid) || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func (h *house) caller2(s identity.Session) *call.Principal {
	h.t.Helper()
	return h.caller(s.AccessKeyID, s.Token)
}

func TestSessionPolicies(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	r := h.role("worker", trusting(ours))
	h.ok(h.AttachPolicy(ctx, aRole("worker"), call.AdministratorAccess))
	encrypt := h.policy("encrypt", allow("kms:Encrypt"))

	says := func(what string, s identity.Session, action, want string) {
		t.Helper()
		if got := may(h.caller2(s), action); got != want {
			t.Errorf("%s: %s to %s, want %s", what, got, action, want)
		}
	}
	inline := h.session(h.assume(r, func(p *identity.SessionParams) { p.Policy = allow("kms:Decrypt") }))
	says("inline", inline, "kms:Decrypt", "allowed")
	says("inline", inline, "kms:Encrypt", "nothing")
	both := h.session(h.assume(r, func(p *identity.SessionParams) { p.Policy, p.PolicyARNs = allow("kms:Decrypt"), []string{encrypt} }))
	says("both", both, "kms:Decrypt", "allowed")
	says("both", both, "kms:Encrypt", "allowed")
	says("both", both, "kms:Sign", "nothing")
	aws := h.session(h.assume(r, func(p *identity.SessionParams) {
		p.PolicyARNs = []string{"arn:aws:iam::aws:policy/ReadOnlyAccess"}
	}))
	says("AWS's", aws, "kms:ListKeys", "allowed")
	says("AWS's", aws, "kms:Encrypt", "nothing")

	v, err := h.CreatePolicyVersion(ctx, ours, encrypt, allow("kms:Sign"), true)
	h.ok(err)
	says("another version", both, "kms:Sign", "allowed")
	h.ok(h.SetDefaultPolicyVersion(ctx, ours, encrypt, "v1"))
	h.ok(h.DeletePolicyVersion(ctx, ours, encrypt, v.ID))
	h.ok(h.DeletePolicy(ctx, ours, encrypt))
	says("without its policy", both, "kms:Decrypt", "broken")
	h.policy("encrypt", allow("*"))
	says("with a namesake of its policy", both, "kms:Decrypt", "broken")

	for what, test := range map[string]struct {
		change func(*identity.SessionParams)
		want   error
	}{
		"malformed":        {func(p *identity.SessionParams) { p.Policy = "{}" }, identity.ErrMalformed},
		"with a principal": {func(p *identity.SessionParams) { p.Policy = trusting("*") }, identity.ErrMalformed},
		"long":             {func(p *identity.SessionParams) { p.Policy = allow("kms:*") + strings.Repeat(" ", 2048) }, identity.ErrPacked},
		"unknown ARN":      {func(p *identity.SessionParams) { p.PolicyARNs = []string{"arn:aws:iam::" + ours + ":policy/unknown"} }, identity.ErrNotFound},
		"foreign ARN":      {func(p *identity.SessionParams) { p.PolicyARNs = []string{"arn:aws:iam::" + theirs + ":policy/p"} }, identity.ErrNotFound},
		"no ARN":           {func(p *identity.SessionParams) { p.PolicyARNs = []string{"x"} }, identity.ErrInvalid},
		"eleven ARNs":      {func(p *identity.SessionParams) { p.PolicyARNs = make([]string, 11) }, identity.ErrInvalid},
		"a session's name": {func(p *identity.SessionParams) { p.Name = "a/b" }, identity.ErrInvalid},
		"a short name":     {func(p *identity.SessionParams) { p.Name = "a" }, identity.ErrInvalid},
		"no role":          {func(p *identity.SessionParams) { p.Role = nil }, identity.ErrInvalid},
		"nobody":           {func(p *identity.SessionParams) { p.Caller = nil }, identity.ErrInvalid},
		"no kind":          {func(p *identity.SessionParams) { p.Kind = 9 }, identity.ErrInvalid},
		"too short":        {func(p *identity.SessionParams) { p.Duration = 899 * time.Second }, identity.ErrInvalid},
		"too long":         {func(p *identity.SessionParams) { p.Duration = 3601 * time.Second }, identity.ErrInvalid},
		"root":             {func(p *identity.SessionParams) { p.Caller = &call.Principal{Kind: call.Root, Account: ours} }, identity.ErrInvalid},
		"a tag twice":      {func(p *identity.SessionParams) { p.Tags = []identity.Tag{{Name: "a"}, {Name: "A"}} }, identity.ErrInvalid},
		"transitive":       {func(p *identity.SessionParams) { p.Transitive = []string{"a"} }, identity.ErrInvalid},
		"many large tags": {func(p *identity.SessionParams) {
			for i := range 50 {
				p.Tags = append(p.Tags, identity.Tag{Name: fmt.Sprint(i), Value: strings.Repeat("v", 256)})
			}
		}, identity.ErrPacked},
		"a namesake": {func(p *identity.SessionParams) { other := *p.Role; other.ID = "AROAAAAAAAAAAAAAAAAAA"; p.Role = &other }, identity.ErrNotFound},
	} {
		_, err := h.assume(r, test.change)
		h.wants(what, err, test.want)
	}
}

func TestUserSession(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	h.ok(h.PutInlinePolicy(ctx, aUser("alice"), "i", allow("kms:*")))
	alice := h.alice()
	s := h.session(h.NewSession(ctx, identity.SessionParams{Kind: identity.UserSession, Caller: alice, MFATime: h.clock.now()}))
	p := h.caller2(s)
	if p.Kind != call.User || p.ARN != alice.ARN || p.ID != alice.ID || p.Name != "alice" || p.EntityID != alice.EntityID || p.AccessKeyID != s.AccessKeyID ||
		p.Session == nil || !p.Session.MFA || p.Policies.Limited || !s.Expires.Equal(h.clock.now().Add(12*time.Hour)) || s.ARN != alice.ARN || s.ID != alice.ID {
		t.Errorf("principal %+v, session %+v", p, s)
	}
	if got := may(p, "kms:Decrypt"); got != "allowed" {
		t.Errorf("kms:Decrypt: %s", got)
	}
	_, err := h.NewSession(ctx, identity.SessionParams{Kind: identity.UserSession, Caller: p})
	h.wants("a session from a session", err, identity.ErrInvalid)
	_, err = h.NewSession(ctx, identity.SessionParams{Kind: identity.UserSession, Caller: alice, Policy: allow("*")})
	h.wants("with a policy", err, identity.ErrInvalid)

	// It is alice's, whatever she is called, and whether the access key that
	// made it is still there.
	h.ok(h.UpdateUser(ctx, ours, "alice", "alina", ""))
	if p := h.caller2(s); p.Name != "alina" {
		t.Errorf("after renaming: %+v", p)
	}
	h.ok(h.DeleteAccessKey(ctx, h.key))
	h.ok(h.use(s))

	root, err := h.CreateAccessKey(ctx, ours, "", "", secret.Bytes{})
	h.ok(err)
	s = h.session(h.NewSession(ctx, identity.SessionParams{Kind: identity.UserSession, Caller: h.caller(root.ID, ""), Duration: 12 * time.Hour}))
	if p := h.caller2(s); p.Kind != call.Root || p.Session == nil || !s.Expires.Equal(h.clock.now().Add(time.Hour)) {
		t.Errorf("root's session %+v until %v", p, s.Expires)
	}
}

func TestFederatedUser(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	h.ok(h.PutInlinePolicy(ctx, aUser("alice"), "i", allow("kms:*")))
	h.ok(h.TagEntity(ctx, aUser("alice"), []identity.Tag{{Name: "Team", Value: "alice"}}))
	alice := h.alice()
	params := identity.SessionParams{Kind: identity.FederationSession, Caller: alice, Name: "Guest"}
	s := h.session(h.NewSession(ctx, params))
	p := h.caller2(s)
	arn := "arn:aws:sts::111122223333:federated-user/Guest"
	if p.Kind != call.FederatedUser || p.ARN != arn || p.EntityARN != arn || p.ID != ours+":Guest" || p.Name != "" || p.EntityID != alice.ID || p.Issuer != alice.ARN ||
		p.Names.ARN != arn || p.Names.Issuer != alice.ARN || p.Names.ID != alice.ID || s.ARN != arn || s.ID != p.ID || s.Packed != 0 || fmt.Sprint(p.Tags) != "[{Team alice}]" {
		t.Errorf("principal %+v, session %+v", p, s)
	}
	if got := may(p, "kms:Decrypt"); got != "nothing" || !p.Policies.Limited {
		t.Errorf("without a policy: %s", got)
	}
	params.Policy = allow("*")
	params.Tags = []identity.Tag{{Name: "team", Value: "guest"}}
	p = h.caller2(h.session(h.NewSession(ctx, params)))
	if got := may(p, "kms:Decrypt") + " " + may(p, "iam:GetUser") + fmt.Sprint(p.Tags); got != "allowed nothing[{team guest}]" {
		t.Errorf("with a policy: %s", got)
	}
	for _, name := range []string{"", "x", strings.Repeat("x", 33), "a b"} {
		params.Name = name
		_, err := h.NewSession(ctx, params)
		h.wants("name "+name, err, identity.ErrInvalid)
	}
	root, err := h.CreateAccessKey(ctx, ours, "", "", secret.Bytes{})
	h.ok(err)
	p = h.caller2(h.session(h.NewSession(ctx, identity.SessionParams{
		Kind: identity.FederationSession, Caller: h.caller(root.ID, ""), Name: "Guest", Policy: allow("kms:*"),
	})))
	if got := may(p, "kms:Decrypt") + " " + may(p, "iam:GetUser"); got != "allowed nothing" || p.Issuer != "arn:aws:iam::111122223333:root" {
		t.Errorf("made by root: %s, %+v", got, p)
	}
}

// TestSessionsRefused: forged, exchanged, expired and revoked ones, and those of
// who is gone.
func TestSessionsRefused(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	r := h.role("worker", trusting(ours))
	h.ok(h.AttachPolicy(ctx, aRole("worker"), call.AdministratorAccess))
	s := h.session(h.assume(r, nil))
	other := h.session(h.assume(r, nil))
	if s.AccessKeyID == other.AccessKeyID || s.Token == other.Token || s.SecretAccessKey.Equal(other.SecretAccessKey) {
		t.Error("two sessions share something")
	}
	refused := func(what, id, token string, want error) {
		t.Helper()
		for _, d := range []*identity.Directory{h.Directory, h.other} {
			if p, k, err := d.Credential(ctx, id, token); !errors.Is(err, want) || p != nil || k != nil {
				t.Errorf("%s: %v, %v, want %v", what, p, err, want)
			}
		}
	}
	unknown := sigv4.ErrUnrecognizedClient
	text := strings.TrimPrefix(s.Token, "KRS1")
	raw, err := base64.RawURLEncoding.DecodeString(text)
	h.ok(err)
	refused("no token", s.AccessKeyID, "", unknown)
	refused("another's token", s.AccessKeyID, other.Token, unknown)
	h.ok(h.use(s)) // now it is cached
	h.ok(h.use(other))
	refused("another's token", s.AccessKeyID, other.Token, unknown)
	refused("a user's key", h.key, s.Token, unknown)
	refused("an id that is none", "ASIA", s.Token, unknown)
	refused("without its prefix", s.AccessKeyID, text, unknown)
	refused("no base64", s.AccessKeyID, s.Token+"!", unknown)
	refused("longer", s.AccessKeyID, s.Token+"AAAA", unknown)
	refused("cut", s.AccessKeyID, s.Token[:len(s.Token)-4], unknown)
	refused("empty", s.AccessKeyID, "KRS1", unknown)
	refused("huge", s.AccessKeyID, "KRS1"+strings.Repeat("A", 1<<20), unknown)
	for i := range raw {
		raw[i] ^= 0x40
		refused(fmt.Sprintf("byte %d changed", i), s.AccessKeyID, "KRS1"+base64.RawURLEncoding.EncodeToString(raw), unknown)
		raw[i] ^= 0x40
	}
	// Something else that was sealed as a token: a grant token, say.
	sealed, err := h.box.Seal(seal.Tokens, []byte("keyreeve/grant"), []byte("arn"))
	h.ok(err)
	refused("another kind of token", s.AccessKeyID, "KRS1"+base64.RawURLEncoding.EncodeToString(sealed), unknown)

	h.ok(h.use(s))
	h.clock.advance(time.Hour - time.Second)
	h.ok(h.use(s))
	h.clock.advance(time.Second)
	refused("expired", s.AccessKeyID, s.Token, sigv4.ErrExpiredToken)

	s = h.session(h.assume(r, nil))
	h.ok(h.use(s))
	h.clock.advance(time.Second)
	h.ok(h.RevokeSessions(ctx, aRole("worker"), h.clock.now()))
	eventually(t, "revoked elsewhere", func() bool {
		_, _, err := h.other.Credential(ctx, s.AccessKeyID, s.Token)
		return errors.Is(err, sigv4.ErrExpiredToken)
	})
	refused("revoked", s.AccessKeyID, s.Token, sigv4.ErrExpiredToken)
	s = h.session(h.assume(r, nil))
	h.ok(h.use(s))
	h.ok(h.RevokeSessions(ctx, aRole("worker"), h.clock.now().Add(-time.Hour))) // brings nothing back
	h.clock.advance(time.Second)
	h.ok(h.RevokeAccountSessions(ctx, ours, h.clock.now()))
	h.ok(h.RevokeAccountSessions(ctx, ours, h.clock.now().Add(-time.Hour)))
	h.wants("the account's revoked", h.use(s), sigv4.ErrExpiredToken)
	h.wants("a group's", h.RevokeSessions(ctx, aGroup("g"), h.clock.now()), identity.ErrNotFound)

	s = h.session(h.assume(r, nil))
	h.ok(h.use(s))
	h.ok(h.DetachPolicy(ctx, aRole("worker"), call.AdministratorAccess))
	h.ok(h.DeleteRole(ctx, ours, "worker"))
	h.wants("a deleted role", h.use(s), unknown)
	again := h.role("worker", trusting(ours))
	h.ok(h.AttachPolicy(ctx, aRole("worker"), call.AdministratorAccess))
	h.wants("a role of the same name", h.use(s), unknown)
	_, err = h.assume(r, nil)
	h.wants("the role that was", err, identity.ErrNotFound)
	s = h.session(h.assume(again, nil))
	h.ok(h.use(s))
	h.remove(t, "v1/role/"+ours+"/worker")
	eventually(t, "refused", func() bool { return errors.Is(h.use(s), unknown) })

	s = h.session(h.NewSession(ctx, identity.SessionParams{Kind: identity.FederationSession, Caller: h.alice(), Name: "Guest"}))
	h.ok(h.use(s))
	h.ok(h.DeleteAccessKey(ctx, h.key))
	h.ok(h.DeleteUser(ctx, ours, "alice"))
	h.user("alice")
	h.wants("a deleted user's guest", h.use(s), unknown)
}

// TestSessionsForgotten: more sessions in use than are kept, by many at once.
func TestSessionsForgotten(t *testing.T) {
	h := newHouse(t)
	d := identity.Open(h.rs, identity.Options{Cache: 64, Now: h.clock.now})
	r := h.role("worker", trusting(ours))
	var all []identity.Session
	for range 200 {
		all = append(all, h.session(h.assume(r, nil)))
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for _, s := range all {
				if p, _, err := d.Credential(t.Context(), s.AccessKeyID, s.Token); err != nil || p.AccessKeyID != s.AccessKeyID {
					t.Errorf("Credential = %+v, %v", p, err)
				}
			}
		})
	}
	wg.Wait()
	if n := d.Sessions(); n == 0 || n > 64 {
		t.Errorf("%d sessions are kept, want up to 64", n)
	}
	// Large ones take the room of several.
	d = identity.Open(h.rs, identity.Options{Cache: 64 * 4, Now: h.clock.now})
	for range 200 {
		s := h.session(h.assume(r, func(p *identity.SessionParams) {
			for i := range 20 {
				p.Tags = append(p.Tags, identity.Tag{Name: fmt.Sprint("t", i), Value: strings.Repeat("v", 100)})
			}
		}))
		if _, _, err := d.Credential(t.Context(), s.AccessKeyID, s.Token); err != nil {
			t.Fatal(err)
		}
	}
	if n := d.Sessions(); n == 0 || n > 64 {
		t.Errorf("%d large sessions are kept, want up to 64", n)
	}
}

func TestClockBehind(t *testing.T) {
	h := newHouse(t)
	s := h.session(h.assume(h.role("worker", trusting(ours)), nil))
	behind := false
	d := identity.Open(h.rs, identity.Options{Now: h.clock.now, Behind: func() bool { return behind }})
	if _, _, err := d.Credential(t.Context(), s.AccessKeyID, s.Token); err != nil {
		t.Fatal(err)
	}
	behind = true
	if _, _, err := d.Credential(t.Context(), s.AccessKeyID, s.Token); !errors.Is(err, sigv4.ErrExpiredToken) {
		t.Errorf("with a clock that is behind: %v", err)
	}
	if _, _, err := d.Credential(t.Context(), h.key, ""); err != nil {
		t.Errorf("a long-term key: %v", err)
	}
}

// TestSealed: what was in use before the box was locked is refused after.
func TestSealed(t *testing.T) {
	h := newHouse(t)
	s := h.session(h.assume(h.role("worker", trusting(ours)), nil))
	h.ok(h.use(s))
	caller := h.alice()
	h.box.Lock()
	h.rs.Flush()
	for _, c := range [][2]string{{s.AccessKeyID, s.Token}, {h.key, ""}} {
		if _, _, err := h.Credential(t.Context(), c[0], c[1]); !errors.Is(err, seal.ErrSealed) {
			t.Errorf("Credential while sealed: %v", err)
		}
	}
	if _, err := h.NewSession(t.Context(), identity.SessionParams{Kind: identity.UserSession, Caller: caller}); !errors.Is(err, seal.ErrSealed) {
		t.Errorf("NewSession while sealed: %v", err)
	}
}

// TestOldDomainKey: whoever has a domain key of the past makes no tokens with it,
// whatever they write into them.
func TestOldDomainKey(t *testing.T) {
	h := newHouse(t)
	clock := &clock{t: time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)}
	st, provider := store.NewMem(), seal.Memory()
	node := func() (*seal.Box, *identity.Directory) {
		box, err := seal.Open(t.Context(), st, seal.Options{Provider: provider, Now: clock.now})
		h.ok(err)
		rs, err := record.Open(t.Context(), st, box, record.Options{Heartbeat: time.Hour})
		h.ok(err)
		t.Cleanup(func() { rs.Close() })
		return box, identity.Open(rs, identity.Options{Now: clock.now})
	}
	_, thief := node()
	in, err := thief.Bootstrap(t.Context(), identity.Bootstrap{Account: ours})
	h.ok(err)
	caller, _, err := thief.Credential(t.Context(), in.AccessKeyID, "")
	h.ok(err)
	session := func(d *identity.Directory) identity.Session {
		return h.session(d.NewSession(t.Context(), identity.SessionParams{Kind: identity.UserSession, Caller: caller, Duration: 36 * time.Hour}))
	}
	before := session(thief)

	box, d := node()
	clock.advance(time.Minute)
	h.ok(box.Rotate(t.Context()))
	use := func(s identity.Session) error {
		_, _, err := d.Credential(t.Context(), s.AccessKeyID, s.Token)
		return err
	}
	if err := use(before); err != nil {
		t.Errorf("a session from before the rotation: %v", err)
	}
	clock.advance(59 * time.Minute)
	if err := use(session(thief)); err != nil { // a node that has not noticed
		t.Errorf("a session sealed with the old key within the hour: %v", err)
	}
	clock.advance(time.Minute)
	if err := use(session(thief)); !errors.Is(err, sigv4.ErrUnrecognizedClient) {
		t.Errorf("a session sealed with the old key after an hour: %v", err)
	}
	if err := use(session(d)); err != nil {
		t.Errorf("a session sealed with the new key: %v", err)
	}
	clock.advance(35 * time.Hour)
	if err := use(before); !errors.Is(err, sigv4.ErrExpiredToken) {
		t.Errorf("the session from before the rotation, 36 hours later: %v", err)
	}
}

// A long session policy makes no long token, and comes back as it was.
func TestSessionPolicyIsPacked(t *testing.T) {
	h := newHouse(t)
	role := h.role("worker", trusting(ours))
	var statements []string
	for i := range 10 {
		statements = append(statements, fmt.Sprintf(`{"Effect":"Allow","Action":["kms:Encrypt","kms:Decrypt"],"Resource":"*","Condition":{"StringEquals":{"aws:PrincipalTag/team":"%d"}}}`, i))
	}
	text := `{"Version":"2012-10-17","Statement":[` + strings.Join(statements, ",") + `]}`
	plain := h.session(h.assume(role, nil))
	s := h.session(h.assume(role, func(p *identity.SessionParams) { p.Policy = text }))
	if more := len(s.Token) - len(plain.Token); more > len(text)/4 {
		t.Errorf("a policy of %d bytes makes the token %d bytes longer", len(text), more)
	}
	p, _, err := h.Credential(t.Context(), s.AccessKeyID, s.Token)
	h.ok(err)
	if len(p.Policies.Session) != 1 || p.Policies.Session[0].Policy.Text() != text {
		t.Errorf("the session's policies are %v", p.Policies.Session)
	}
}
