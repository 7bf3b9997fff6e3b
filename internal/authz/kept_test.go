package authz_test

import (
	"context"
	"testing"

	"github.com/keyreeve/keyreeve/internal/authz"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/policy"
)

// counted counts how often a policy looks at the request.
type counted struct{ n int }

func (c *counted) Value(*policy.Key) policy.Value {
	c.n++
	return policy.String("x")
}

// Of what another account keeps to itself, nothing is found out by the time
// that the caller's own policies take, which he can make long: they are not
// asked. A key or role that does not exist asks none either.
func TestKeptAsksNoPolicyOfTheCaller(t *testing.T) {
	const looks = `{"Effect":"Deny","Action":"*","Resource":"*","Condition":{"StringEquals":{"kms:EncryptionContext:a":"y"}}},` +
		`{"Effect":"Deny","Action":"*","Resource":"*","Condition":{"StringEquals":{"aws:RequestTag/a":"y"}}}`
	const retire = "kms:RetireGrant"
	bob := user(t, other, "bob", allowAll, looks)
	asks := func(c caller) caller {
		// Every layer that is the caller's.
		at := identityPolicy(t, allowAll+","+looks)
		c.Policies.Boundary = &at
		c.Policies.Limited, c.Policies.Session = true, []call.Attached{at}
		return c.in(organization(t, allowAll+","+looks))
	}
	everybody := asks(bob)
	role := func(statements string) *authz.Resource {
		return &authz.Resource{ARN: roleARN(owner, "Reader"), Account: owner, Policy: parse(t, policy.Trust, document(statements))}
	}
	trusts := func(principal string) string {
		return `{"Effect":"Allow","Principal":{"AWS":"` + principal + `"},"Action":"sts:*"}`
	}
	theirs := grant("AIDAbob", "Encrypt", "RetireGrant")
	for _, tt := range []struct {
		name   string
		action string
		r      *authz.Resource
		g      *authz.Grant
		asked  bool
	}{
		{"not shared", decrypt, resource(t, keyForOwner), nil, false},
		{"shared with somebody else", decrypt, resource(t, keyFor(userARN(other, "alice"))), nil, false},
		{"denied", decrypt, resource(t, keyForAll+","+keyDeniesAll), nil, false},
		{"policy unreadable", decrypt, &authz.Resource{ARN: key, Account: owner}, nil, false},
		{"an operation for the account alone", "kms:PutKeyPolicy", resource(t, keyForAll), nil, false},
		{"granted to others", decrypt, granted(t, keyForOwner, grant("AIDAalice", "Decrypt")), nil, false},
		{"shared", decrypt, resource(t, keyForOther), nil, true},
		{"granted", decrypt, granted(t, keyForOwner, theirs), nil, true},
		{"granted to the account", decrypt, granted(t, keyForOwner, grant(otherRoot, "Decrypt")), nil, true},
		{"nobody's grant to retire", retire, resource(t, keyForAll), nil, false},
		{"others' grant to retire", retire, resource(t, keyForAll), grant("AIDAalice", "Decrypt"), false},
		{"his grant to retire", retire, resource(t, keyForOwner), theirs, true},
		{"role of others", "sts:AssumeRole", role(trusts(ownerRoot)), nil, false},
		{"role for him", "sts:AssumeRole", role(trusts(otherRoot)), nil, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			seen := new(counted)
			decide := func() {
				az, c, q := authz.New(nil), everybody.call(), &authz.Request{Values: seen}
				var err error
				if tt.action == retire {
					_, err = az.DecideRetire(t.Context(), c, tt.g, tt.r, q)
				} else {
					_, err = az.Decide(t.Context(), c, tt.action, tt.r, q)
				}
				if !tt.asked && err == nil {
					t.Error("it is allowed")
				}
			}
			decide()
			if (seen.n > 0) != tt.asked {
				t.Errorf("the caller's policies looked at the request %d times", seen.n)
			}
		})
	}
}

// What is kept is told in the same words as before, and Explain still asks
// every layer.
func TestKeptIsExplained(t *testing.T) {
	c := user(t, other, "bob", allowAll).call()
	d, err := authz.New(nil).Explain(t.Context(), c, decrypt, resource(t, keyForOwner), nil)
	if err != nil || d.Allowed || d.Text != hidden(userARN(other, "bob"), decrypt, crossAccount) {
		t.Fatalf("%+v, %v", d, err)
	}
	layers := make(map[authz.LayerType]bool)
	for _, l := range d.Layers {
		layers[l.Type] = true
	}
	if !layers[authz.ResourceBased] || !layers[authz.Identity] {
		t.Errorf("layers %v", layers)
	}
}

// relying notes which grants a search ended at: those must be there by
// themselves, so a decision may end one only at what it relies on.
type relying struct {
	grants
	at []string
}

func (r *relying) Of(ctx context.Context, grantee, operation string, use func(*authz.Grant) bool) error {
	return r.grants.Of(ctx, grantee, operation, func(g *authz.Grant) bool {
		on := use(g)
		if !on {
			r.at = append(r.at, g.ID)
		}
		return on
	})
}

func TestKeptReliesOnNoOtherGrant(t *testing.T) {
	unfit, fit := grant("AIDAbob", "Encrypt"), grant("AIDAbob", "Decrypt")
	unfit.ID = "unfit"
	for name, tt := range map[string]struct {
		all []*authz.Grant
		at  int
	}{
		"unusable":              {[]*authz.Grant{unfit}, 0},
		"unusable, then usable": {[]*authz.Grant{unfit, fit}, 1},
	} {
		r := resource(t, keyForOwner)
		of := &relying{grants: grants{all: tt.all}}
		r.Grants = of
		_, err := authz.New(nil).Decide(t.Context(), user(t, other, "bob").call(), decrypt, r, nil)
		if len(of.at) != tt.at || (err == nil) != (tt.at > 0) || tt.at > 0 && of.at[0] != fit.ID {
			t.Errorf("%s: ended at %v, %v", name, of.at, err)
		}
	}
}
