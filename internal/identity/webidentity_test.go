package identity_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/identity"
)

// TestWebIdentitySession: a session keeps who vouched for its bearer, and what
// for; a chained one does not.
func TestWebIdentitySession(t *testing.T) {
	h := newHouse(t)
	r, err := h.CreateRole(t.Context(), identity.Role{Account: ours, Name: "Deploy", Trust: trusting(ours)})
	h.ok(err)
	stranger := &call.Principal{Kind: call.WebIdentity, Name: "mona", Session: &call.Session{}}
	params := identity.SessionParams{
		Kind: identity.RoleSession, Caller: stranger, Role: &r, Name: "ci", Provider: "arn:aws:iam::" + ours + ":oidc-provider/idp.example.com",
		Claims: []identity.Tag{{Name: "idp.example.com:sub", Value: "mona"}, {Name: "idp.example.com:aud", Value: "app"}},
	}
	s := h.session(h.NewSession(t.Context(), params))
	p := h.caller2(s)
	if p.Session.Provider != params.Provider || fmt.Sprint(p.Session.Claims) != "[{idp.example.com:sub mona} {idp.example.com:aud app}]" || p.Session.Chained {
		t.Errorf("session %+v", p.Session)
	}
	h.elsewhere("a session", s.AccessKeyID, s.Token, func(p *call.Principal) string { return p.Session.Provider }, params.Provider)
	next := h.caller2(h.session(h.NewSession(t.Context(), identity.SessionParams{Kind: identity.RoleSession, Caller: p, Role: &r, Name: "next"})))
	if next.Session.Provider != "" || next.Session.Claims != nil || !next.Session.Chained {
		t.Errorf("chained %+v", next.Session)
	}
	for what, change := range map[string]func(*identity.SessionParams){
		"many claims": func(p *identity.SessionParams) { p.Claims = make([]identity.Tag, 9) },
		"a long claim": func(p *identity.SessionParams) {
			p.Claims = []identity.Tag{{Name: "n", Value: strings.Repeat("x", 1024)}}
		},
		"a long provider": func(p *identity.SessionParams) { p.Provider = strings.Repeat("x", 1025) },
	} {
		bad := params
		change(&bad)
		if _, err := h.NewSession(t.Context(), bad); !errors.Is(err, identity.ErrInvalid) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
