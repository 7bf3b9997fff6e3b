package authz_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/authz"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/wire"
	"github.com/keyreeve/keyreeve/policy"
)

// grant returns a grant to a grantee, as the grants of a key name it.
func grant(grantee string, operations ...string) *authz.Grant {
	return &authz.Grant{ID: strings.Repeat("a", 64), Grantee: grantee, Issuer: owner, Operations: operations}
}

func granted(t testing.TB, statements string, all ...*authz.Grant) *authz.Resource {
	t.Helper()
	r := resource(t, statements)
	r.Grants = &grants{all: all}
	return r
}

func stringMap(kv ...string) wire.StringMap {
	var p []wire.Pair
	for i := 0; i < len(kv); i += 2 {
		p = append(p, wire.Pair{Name: kv[i], Value: kv[i+1]})
	}
	return wire.NewStringMap(p...)
}

// Who the grantee is decides what else must allow.
func TestGrantee(t *testing.T) {
	const id, res = "identity-based policy", "resource-based policy"
	for _, tt := range []struct {
		name    string
		c       caller
		grantee string
		want    string // end of the denial
	}{
		{"user", user(t, owner, "alice"), "AIDAalice", ""},
		{"user, boundary silent", user(t, owner, "alice").boundary(allowS3), "AIDAalice", ""},
		{"another user", user(t, owner, "bob"), "AIDAalice", noPolicy(id, decrypt)},
		{"a user of that name made anew", user(t, owner, "alice"), userARN(owner, "alice"), noPolicy(id, decrypt)},
		{"role", session(t, owner, "Reader"), "AROAReader", ""},
		{"role, boundary silent", session(t, owner, "Reader").boundary(allowS3), "AROAReader", noPolicy(id, decrypt)},
		{"role, session silent", session(t, owner, "Reader").limited(allowS3), "AROAReader", noPolicy(id, decrypt)},
		{"session", session(t, owner, "Reader").boundary(allowS3).limited(allowS3), "AROAReader:s", ""},
		{"federated user", federated(t, owner, "fed"), federatedARN(owner, "fed"), ""},
		{"who made the federated user, session silent", federated(t, owner, "fed"), "AIDAfed", noPolicy(id, decrypt)},
		{"who made the federated user", federated(t, owner, "fed").limited(allowKMS), "AIDAfed", ""},
		{"account", user(t, owner, "alice", allowKMS), ownerRoot, ""},
		{"account, he has no policy", user(t, owner, "alice"), ownerRoot, noPolicy(res, decrypt)},
		{"account, boundary silent", user(t, owner, "alice", allowKMS).boundary(allowS3), ownerRoot, noPolicy(res, decrypt)},
		{"account, root user", root(t, owner), ownerRoot, ""},
		{"other account's user", user(t, other, "bob"), "AIDAbob", ""},
		{"other account's role", session(t, other, "Reader").limited(allowKMS), "AROAReader", ""},
		{"other account's role, session silent", session(t, other, "Reader").limited(), "AROAReader", crossAccount},
		{"other account", user(t, other, "bob", allowKMS), otherRoot, ""},
		{"other account, he has no policy", user(t, other, "bob"), otherRoot, crossAccount},
		{"service", service(t, "s3.amazonaws.com", "s3.us-west-2.amazonaws.com"), "s3.us-west-2.amazonaws.com", ""},
		{"another service", service(t, "s3.amazonaws.com"), "ec2.amazonaws.com", crossAccount},
	} {
		t.Run(tt.name, func(t *testing.T) {
			// The key policy delegates to its account, except where that would
			// hide what the grant gives.
			statements := keyForOwner
			if tt.grantee == ownerRoot {
				statements = keyForOther
			}
			text := ""
			switch {
			case tt.want == "":
			case tt.c.Kind == call.Service:
				text = hidden(tt.c.Services[0], decrypt, tt.want)
			case tt.c.Account == owner:
				text = denial(tt.c.ARN, decrypt, tt.want)
			default:
				text = hidden(tt.c.ARN, decrypt, tt.want)
			}
			want(t, authz.New(nil), tt.c.call(), decrypt, granted(t, statements, grant(tt.grantee, "Encrypt", "Decrypt")), nil, text)
		})
	}
}

// Grants give; every layer can forbid.
func TestGrantsNeverOverrule(t *testing.T) {
	alice := user(t, owner, "alice")
	r := granted(t, keyForOwner, grant("AIDAalice", "Decrypt"))
	denied := granted(t, keyDeniesAll, grant("AIDAalice", "Decrypt"), grant("AIDAbob", "Decrypt"))
	for _, tt := range []struct {
		name string
		c    caller
		r    *authz.Resource
		e    *call.Endpoint
		want string
	}{
		{"key policy", alice, denied, nil, denial(alice.ARN, decrypt, " with an explicit deny in a resource-based policy")},
		{"key policy of another account", user(t, other, "bob"), denied, nil, hidden(userARN(other, "bob"), decrypt, crossAccount)},
		{"identity", alice.with(denyDecrypt), r, nil, denial(alice.ARN, decrypt, " with an explicit deny in an identity-based policy")},
		{"boundary", alice.boundary(denyDecrypt), r, nil, denial(alice.ARN, decrypt, " with an explicit deny in a permissions boundary")},
		{"service control policy", alice.in(organization(t, denyDecrypt)), r, nil, denial(alice.ARN, decrypt, " with an explicit deny in a service control policy")},
		{"service control policy, silent", alice.in(organization(t, allowS3)), r, nil, denial(alice.ARN, decrypt, noPolicy("service control policy", decrypt))},
		{"endpoint, silent", alice, r, &call.Endpoint{Policy: call.Attached{Policy: parse(t, policy.Endpoint, document(`{"Effect":"Allow","Principal":"*","Action":"s3:*","Resource":"*"}`))}}, denial(alice.ARN, decrypt, noPolicy("VPC endpoint policy", decrypt))},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := tt.c.call()
			c.Endpoint = tt.e
			want(t, authz.New(nil), c, decrypt, tt.r, nil, tt.want)
		})
	}
}

func TestGrantOperationsAndConstraints(t *testing.T) {
	it, itTest := stringMap("Department", "IT"), stringMap("Department", "IT", "Purpose", "Test")
	equals := grant("AIDAalice", "Decrypt", "DescribeKey", "GetPublicKey", "ReEncryptFrom")
	equals.Equals = it
	subset := grant("AIDAalice", "Decrypt", "DescribeKey")
	subset.Subset = it
	both := grant("AIDAalice", "Decrypt")
	both.Equals, both.Subset = itTest, it
	contradictory := grant("AIDAalice", "Decrypt")
	contradictory.Equals, contradictory.Subset = it, stringMap("Purpose", "Test")
	for _, tt := range []struct {
		name   string
		g      *authz.Grant
		action string
		with   wire.StringMap
		ok     bool
	}{
		{"operation", grant("AIDAalice", "Decrypt"), decrypt, nil, true},
		{"another operation", grant("AIDAalice", "Encrypt"), decrypt, nil, false},
		{"operation's beginning", grant("AIDAalice", "GenerateDataKeyPair"), "kms:GenerateDataKey", nil, false},
		{"re-encrypt", grant("AIDAalice", "ReEncryptFrom"), "kms:ReEncryptFrom", nil, true},
		{"re-encrypt the other way", grant("AIDAalice", "ReEncryptFrom"), "kms:ReEncryptTo", nil, false},
		{"no operation of grants", grant("AIDAalice", "DisableKey"), "kms:DisableKey", nil, false},
		{"equals", equals, decrypt, it, true},
		{"equals, one more", equals, decrypt, itTest, false},
		{"equals, another case", equals, decrypt, stringMap("department", "IT"), false},
		{"equals, another value", equals, decrypt, stringMap("Department", "it"), false},
		{"equals, none", equals, decrypt, nil, false},
		{"equals, of the source", equals, "kms:ReEncryptFrom", it, true},
		{"equals, ignored", equals, "kms:DescribeKey", nil, true},
		{"equals, where there is no context", equals, "kms:GetPublicKey", nil, false},
		{"subset", subset, decrypt, it, true},
		{"subset, one more", subset, decrypt, itTest, true},
		{"subset, another", subset, decrypt, stringMap("Purpose", "Test"), false},
		{"subset, none", subset, decrypt, nil, false},
		{"subset, ignored", subset, "kms:DescribeKey", nil, true},
		{"both", both, decrypt, itTest, true},
		{"both, only the subset", both, decrypt, it, false},
		{"both, never", contradictory, decrypt, it, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := user(t, owner, "alice")
			text := ""
			if !tt.ok {
				text = denial(c.ARN, tt.action, noPolicy("identity-based policy", tt.action))
			}
			want(t, authz.New(nil), c.call(), tt.action, granted(t, keyForOwner, tt.g), &authz.Request{Context: tt.with}, text)
		})
	}
	t.Run("one of several", func(t *testing.T) {
		c := user(t, owner, "alice")
		r := granted(t, keyForOwner, grant("AIDAalice", "Encrypt"), equals, grant("AIDAalice", "Decrypt"))
		want(t, authz.New(nil), c.call(), decrypt, r, nil, "")
	})
	t.Run("for a resource of a service", func(t *testing.T) {
		g := grant("s3.amazonaws.com", "Decrypt", "DescribeKey")
		g.SourceARN = "arn:aws:s3:::bucket-*"
		for source, text := range map[string]string{
			"arn:aws:s3:::bucket-1": "",
			"arn:aws:s3:::other":    hidden("s3.amazonaws.com", decrypt, crossAccount),
			"":                      hidden("s3.amazonaws.com", decrypt, crossAccount),
		} {
			c := service(t, "s3.amazonaws.com").call()
			c.Delegation = &call.Delegation{SourceARN: source}
			want(t, authz.New(nil), c, decrypt, granted(t, keyForOwner, g), nil, text)
		}
	})
}

// What is granted through a grant is no wider than that.
func TestCreateGrantThroughGrant(t *testing.T) {
	const action = "kms:CreateGrant"
	it, itTest := stringMap("Department", "IT"), stringMap("Department", "IT", "Purpose", "Test")
	child := func(alter func(*authz.Grant), operations ...string) *authz.Grant {
		g := grant("AIDAbob", operations...)
		if alter != nil {
			alter(g)
		}
		return g
	}
	equalTo := func(m wire.StringMap) func(*authz.Grant) { return func(g *authz.Grant) { g.Equals = m } }
	subsetOf := func(m wire.StringMap) func(*authz.Grant) { return func(g *authz.Grant) { g.Subset = m } }
	free := grant("AIDAalice", "GenerateDataKey", "Decrypt", "CreateGrant")
	subset := grant("AIDAalice", "GenerateDataKey", "Decrypt", "CreateGrant")
	subset.Subset = it
	equals := grant("AIDAalice", "GenerateDataKey", "Decrypt", "CreateGrant")
	equals.Equals = it
	sourced := grant("AIDAalice", "Decrypt", "CreateGrant")
	sourced.SourceARN = "arn:aws:s3:::b"
	for _, tt := range []struct {
		name          string
		parent, child *authz.Grant
		ok            bool
	}{
		{"fewer operations", free, child(nil, "Decrypt"), true},
		{"the same", free, child(nil, "Decrypt", "CreateGrant", "GenerateDataKey"), true},
		{"more operations", free, child(nil, "Decrypt", "Encrypt"), false},
		{"a constraint", free, child(equalTo(it), "Decrypt"), true},
		{"unknown", free, nil, false},
		{"without CreateGrant", grant("AIDAalice", "Decrypt"), child(nil, "Decrypt"), false},
		{"subset, equal", subset, child(equalTo(it), "Decrypt"), true},
		{"subset, equal to more", subset, child(equalTo(itTest), "Decrypt"), true},
		{"subset, the same", subset, child(subsetOf(it), "Decrypt"), true},
		{"subset, a larger one", subset, child(subsetOf(itTest), "Decrypt"), true},
		{"subset, another", subset, child(subsetOf(stringMap("Purpose", "Test")), "Decrypt"), false},
		{"subset, none", subset, child(nil, "Decrypt"), false},
		{"equals, the same", equals, child(equalTo(it), "Decrypt"), true},
		{"equals, more", equals, child(equalTo(itTest), "Decrypt"), false},
		{"equals, loosened", equals, child(subsetOf(it), "Decrypt"), false},
		{"equals, none", equals, child(nil, "Decrypt"), false},
		{"for another resource", sourced, child(func(g *authz.Grant) { g.SourceARN = "arn:aws:s3:::c" }, "Decrypt"), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := user(t, owner, "alice")
			text := ""
			if !tt.ok {
				text = denial(c.ARN, action, noPolicy("identity-based policy", action))
			}
			want(t, authz.New(nil), c.call(), action, granted(t, keyForOwner, tt.parent), &authz.Request{Child: tt.child}, text)
		})
	}
	t.Run("by policy there is no limit", func(t *testing.T) {
		c := user(t, owner, "alice", allowKMS)
		want(t, authz.New(nil), c.call(), action, granted(t, keyForOwner, subset), &authz.Request{Child: child(nil, "Encrypt")}, "")
	})
}

func TestGrantTokens(t *testing.T) {
	early := grant("AIDAalice", "Decrypt")
	early.Effective = now.Add(time.Minute)
	fresh := grant("AIDAalice", "Decrypt") // not to be seen in the index yet
	fresh.ID = strings.Repeat("b", 64)
	fresh.Effective = now.Add(time.Minute)
	bobs := grant("AIDAbob", "Decrypt")
	bobs.ID = strings.Repeat("c", 64)
	tokens := map[string]*authz.Grant{"early": early, "fresh": fresh, "bob's": bobs, "gone": nil}
	denied := denial(userARN(owner, "alice"), decrypt, noPolicy("identity-based policy", decrypt))
	for _, tt := range []struct {
		name   string
		c      caller
		at     time.Time
		tokens []string
		want   string
	}{
		{"none", user(t, owner, "alice"), now, nil, denied},
		{"later", user(t, owner, "alice"), now.Add(time.Minute), nil, ""},
		{"its own", user(t, owner, "alice"), now, []string{"early"}, ""},
		{"not in the index yet", user(t, owner, "alice"), now, []string{"gone", "fresh"}, ""},
		{"another grantee's", user(t, owner, "alice"), now, []string{"bob's"}, denied},
		{"of a grant that is gone", user(t, owner, "alice"), now, []string{"gone"}, denied},
		{"by policy", user(t, owner, "alice", allowAll), now, []string{"gone"}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := tt.c.call()
			c.Time = tt.at
			r := resource(t, keyForOwner)
			r.Grants = &grants{all: []*authz.Grant{early}, tokens: tokens}
			want(t, authz.New(nil), c, decrypt, r, &authz.Request{GrantTokens: tt.tokens}, tt.want)
		})
	}
	t.Run("junk", func(t *testing.T) {
		for _, c := range []caller{user(t, owner, "alice"), user(t, owner, "alice", allowAll), user(t, owner, "alice", denyDecrypt)} {
			r := resource(t, keyForOwner)
			r.Grants = &grants{all: []*authz.Grant{early}, tokens: tokens}
			q := &authz.Request{GrantTokens: []string{"early", "junk"}}
			if p, err := authz.New(nil).Decide(t.Context(), c.call(), decrypt, r, q); !errors.Is(err, authz.ErrGrantToken) || p != (authz.Permit{}) {
				t.Errorf("Decide = %+v, %v, want ErrGrantToken", p, err)
			}
		}
	})
	t.Run("the store is away", func(t *testing.T) {
		for _, q := range []*authz.Request{nil, {GrantTokens: []string{"early"}}} {
			r := resource(t, keyForOwner)
			r.Grants = &grants{tokens: tokens, err: errStore}
			if p, err := authz.New(nil).Decide(t.Context(), user(t, owner, "alice").call(), decrypt, r, q); !errors.Is(err, errStore) || p != (authz.Permit{}) {
				t.Errorf("Decide = %+v, %v, want the store's error", p, err)
			}
		}
	})
}

// Grants are looked for when no policy allows, and where they could.
func TestGrantsAreLookedForLast(t *testing.T) {
	for _, tt := range []struct {
		name   string
		c      caller
		action string
		want   []string
	}{
		{"a policy allows", user(t, owner, "alice", allowAll), decrypt, nil},
		{"no policy allows", user(t, owner, "alice"), decrypt, []string{"AIDAalice"}},
		{"a policy denies", user(t, owner, "alice", denyDecrypt), decrypt, nil},
		{"no operation of grants", user(t, owner, "alice"), "kms:DisableKey", nil},
		{"session", session(t, owner, "Reader"), decrypt, []string{"AROAReader:s", "AROAReader"}},
		{"limited session", session(t, owner, "Reader").limited(), decrypt, []string{"AROAReader:s"}},
		{"another account", user(t, other, "bob", allowAll), decrypt, []string{"AIDAbob", otherRoot}},
	} {
		g := &grants{}
		r := resource(t, keyForOwner)
		r.Grants = g
		authz.New(nil).Decide(t.Context(), tt.c.call(), tt.action, r, nil) //nolint:errcheck // what was looked for counts
		if !slices.Equal(g.looked, tt.want) {
			t.Errorf("%s: looked for grants of %q, want %q", tt.name, g.looked, tt.want)
		}
	}
}

func TestRetireGrant(t *testing.T) {
	const action = "kms:RetireGrant"
	g := grant("AIDAalice", "Decrypt", "RetireGrant")
	noRetire := grant("AIDAalice", "Decrypt")
	retiring := grant("AIDAalice", "Decrypt")
	retiring.Retiring = "AROAReader"
	byAccount := grant("AIDAalice", "Decrypt")
	byAccount.Retiring = otherRoot
	bobs := grant("AIDAbob", "Decrypt")
	bobs.Issuer = other
	byService := grant("s3.amazonaws.com", "Decrypt")
	byService.Retiring = "s3.amazonaws.com"
	deny := `{"Effect":"Deny","Action":"kms:RetireGrant","Resource":"*"}`
	onlyRetire := `{"Effect":"Allow","Action":"kms:RetireGrant","Resource":"*"}`
	id := noPolicy("identity-based policy", action)
	bob := userARN(other, "bob")
	rcp := resourceControl(t, organization(t, allowAll), `{"Effect":"Deny","Principal":"*","Action":"kms:*","Resource":"*"}`)
	for _, tt := range []struct {
		name string
		c    caller
		g    *authz.Grant
		want string
	}{
		{"grantee", user(t, owner, "alice"), g, ""},
		{"grantee without the operation", user(t, owner, "alice"), noRetire, denial(userARN(owner, "alice"), action, id)},
		{"grantee, denied", user(t, owner, "alice", deny), g, denial(userARN(owner, "alice"), action, " with an explicit deny in an identity-based policy")},
		{"grantee, an organization forbids it", user(t, owner, "alice").in(organization(t, allowS3)), g, denial(userARN(owner, "alice"), action, noPolicy("service control policy", action))},
		{"retiring principal", session(t, owner, "Reader"), retiring, ""},
		{"retiring principal of another account", session(t, other, "Reader"), retiring, ""},
		{"retiring principal, session silent", session(t, other, "Reader").limited(allowS3), retiring, hidden(sessionARN(other, "Reader"), action, noPolicy("session policy", action))},
		{"another role", session(t, owner, "Writer"), retiring, denial(sessionARN(owner, "Writer"), action, id)},
		{"retiring account's root user", root(t, other), byAccount, ""},
		{"retiring account, allowed", user(t, other, "bob", onlyRetire), byAccount, ""},
		{"retiring account, not allowed", user(t, other, "bob"), byAccount, hidden(bob, action, id)},
		{"issuing account, allowed", user(t, other, "bob2", onlyRetire), bobs, ""},
		{"issuing account, not allowed", user(t, other, "bob2", allowS3), bobs, hidden(userARN(other, "bob2"), action, id)},
		{"issuing account's root user", root(t, other), bobs, ""},
		{"key's account, allowed", user(t, owner, "carol", onlyRetire), bobs, ""},
		{"key's account's root user", root(t, owner), bobs, ""},
		{"key's account, not allowed", user(t, owner, "carol"), bobs, denial(userARN(owner, "carol"), action, id)},
		{"a stranger", user(t, other, "bob", allowAll), g, hidden(bob, action, crossAccount)},
		{"a stranger who is denied", user(t, other, "bob", allowAll, deny), g, hidden(bob, action, crossAccount)},
		{"service", service(t, "s3.amazonaws.com"), byService, ""},
		{"another service", service(t, "ec2.amazonaws.com"), byService, hidden("ec2.amazonaws.com", action, crossAccount)},
		{"no grant", user(t, owner, "carol", onlyRetire), nil, ""},
		{"no grant, a stranger", user(t, other, "bob", allowAll), nil, hidden(bob, action, crossAccount)},
		{"a resource control policy has no say", user(t, owner, "alice").in(rcp), g, ""},
	} {
		for name, statements := range map[string]string{
			"":                                  keyForOther,
			", by a key policy without effect":  keyForAll,
			", a key policy denies in vain":     `{"Effect":"Deny","Principal":"*","Action":"kms:RetireGrant","Resource":"*"}`,
			", or by a grant that is not asked": keyForOwner,
		} {
			t.Run(tt.name+name, func(t *testing.T) {
				a := authz.New(organizations{owner: rcp})
				c := tt.c.call()
				r := granted(t, statements, grant("AIDAbob", "RetireGrant"), grant("AIDAcarol", "RetireGrant"))
				p, err := a.DecideRetire(t.Context(), c, tt.g, r, nil)
				var d *authz.Denied
				switch {
				case tt.want == "" && (err != nil || p.Check(c, key) != nil || p.Action() != action):
					t.Errorf("%+v, %v, want it allowed", p, err)
				case tt.want != "" && (!errors.As(err, &d) || d.Text != tt.want || p != authz.Permit{}):
					t.Errorf("\n  got %v\n want %q", err, tt.want)
				}
				if e, err := a.ExplainRetire(t.Context(), c, tt.g, r, nil); err != nil || e.Allowed != (tt.want == "") || tt.want != "" && e.Text != tt.want {
					t.Errorf("ExplainRetire = %+v, %v", e, err)
				}
			})
		}
	}
}
