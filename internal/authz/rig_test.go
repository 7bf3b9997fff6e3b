package authz_test

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/authz"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/policy"
)

const (
	owner  = "111122223333"
	other  = "444455556666"
	region = "us-west-2"
	key    = "arn:aws:kms:us-west-2:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
	alias  = "arn:aws:kms:us-west-2:111122223333:alias/finance"

	ownerRoot = "arn:aws:iam::111122223333:root"
	otherRoot = "arn:aws:iam::444455556666:root"

	// ends of messages
	crossAccount = " because the resource does not exist in this Region, no resource-based policies allow access, or a resource-based policy explicitly denies access"
)

var now = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// parse compiles a document.
func parse(t testing.TB, typ policy.Type, text string) *policy.Policy {
	t.Helper()
	p, err := policy.Parse(text, policy.Options{Type: typ})
	if err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return p
}

// document is a policy with these statements.
func document(statements string) string {
	return `{"Version":"2012-10-17","Statement":[` + statements + `]}`
}

// identityPolicy is an identity-based policy, service control policy, boundary
// or session policy with these statements.
func identityPolicy(t testing.TB, statements string) call.Attached {
	t.Helper()
	return call.Attached{Name: "p", Policy: parse(t, policy.Identity, document(statements))}
}

func keyPolicy(t testing.TB, statements string) *policy.Policy {
	t.Helper()
	return parse(t, policy.KeyPolicy, document(statements))
}

// Statements.
const (
	allowAll    = `{"Effect":"Allow","Action":"*","Resource":"*"}`
	allowKMS    = `{"Effect":"Allow","Action":"kms:*","Resource":"*"}`
	allowS3     = `{"Effect":"Allow","Action":"s3:*","Resource":"*"}`
	denyDecrypt = `{"Effect":"Deny","Action":"kms:Decrypt","Resource":"*"}`

	keyForOwner  = `{"Effect":"Allow","Principal":{"AWS":"` + ownerRoot + `"},"Action":"kms:*","Resource":"*"}`
	keyForOther  = `{"Effect":"Allow","Principal":{"AWS":"` + otherRoot + `"},"Action":"kms:*","Resource":"*"}`
	keyForAll    = `{"Effect":"Allow","Principal":"*","Action":"kms:*","Resource":"*"}`
	keyDeniesAll = `{"Effect":"Deny","Principal":"*","Action":"kms:Decrypt","Resource":"*"}`
)

func keyFor(principal string) string {
	return `{"Effect":"Allow","Principal":{"AWS":"` + principal + `"},"Action":"kms:*","Resource":"*"}`
}

// A caller is a principal with policies, to be made into a call.
type caller struct {
	call.Principal
	t testing.TB
}

func userARN(account, name string) string { return "arn:aws:iam::" + account + ":user/" + name }
func roleARN(account, name string) string { return "arn:aws:iam::" + account + ":role/" + name }
func sessionARN(account, name string) string {
	return "arn:aws:sts::" + account + ":assumed-role/" + name + "/s"
}

func federatedARN(account, name string) string {
	return "arn:aws:sts::" + account + ":federated-user/" + name
}

// user returns a user with the unique id "AIDA" and its name.
func user(t testing.TB, account, name string, statements ...string) caller {
	t.Helper()
	arn := userARN(account, name)
	u := caller{t: t, Principal: call.Principal{
		Kind: call.User, Account: account, ARN: arn, ID: "AIDA" + name, Name: name, EntityARN: arn, EntityID: "AIDA" + name,
		Names: policy.Principal{Account: account, ARN: arn, ID: "AIDA" + name},
	}}
	return u.with(statements...)
}

// session returns a session of a role.
func session(t testing.TB, account, name string, statements ...string) caller {
	t.Helper()
	arn := sessionARN(account, name)
	s := caller{t: t, Principal: call.Principal{
		Kind: call.RoleSession, Account: account, ARN: arn, ID: "AROA" + name + ":s", EntityARN: roleARN(account, name), EntityID: "AROA" + name,
		Session: &call.Session{Name: "s", Issued: now.Add(-time.Minute)},
		Names:   policy.Principal{Account: account, ARN: arn, Role: roleARN(account, name), ID: "AROA" + name},
	}}
	return s.with(statements...)
}

// federated returns a federated user, made by a user of that name with the
// suffix "-issuer".
func federated(t testing.TB, account, name string, statements ...string) caller {
	t.Helper()
	arn, issuer := federatedARN(account, name), userARN(account, name+"-issuer")
	f := caller{t: t, Principal: call.Principal{
		Kind: call.FederatedUser, Account: account, ARN: arn, ID: account + ":" + name, EntityARN: arn, EntityID: "AIDA" + name, Issuer: issuer,
		Session: &call.Session{Name: name, Issued: now.Add(-time.Minute)},
		Names:   policy.Principal{Account: account, ARN: arn, Issuer: issuer, ID: "AIDA" + name},
	}}
	f.Policies.Limited = true
	return f.with(statements...)
}

func root(t testing.TB, account string) caller {
	t.Helper()
	arn := "arn:aws:iam::" + account + ":root"
	return caller{t: t, Principal: call.Principal{
		Kind: call.Root, Account: account, ARN: arn, ID: account, EntityARN: arn,
		Names: policy.Principal{Account: account, Root: true, ARN: arn},
	}}
}

func service(t testing.TB, names ...string) caller {
	t.Helper()
	return caller{t: t, Principal: call.Principal{Kind: call.Service, Services: names, Names: policy.Principal{Services: names}}}
}

// with returns the caller with identity-based policies, one a statement.
func (c caller) with(statements ...string) caller {
	c.t.Helper()
	c.Policies.Identity = slices.Clone(c.Policies.Identity)
	for _, s := range statements {
		c.Policies.Identity = append(c.Policies.Identity, identityPolicy(c.t, s))
	}
	return c
}

func (c caller) boundary(statements string) caller {
	c.t.Helper()
	at := identityPolicy(c.t, statements)
	c.Policies.Boundary = &at
	return c
}

func (c caller) limited(statements ...string) caller {
	c.t.Helper()
	c.Policies.Limited, c.Policies.Session = true, nil
	for _, s := range statements {
		c.Policies.Session = append(c.Policies.Session, identityPolicy(c.t, s))
	}
	return c
}

func (c caller) in(o *call.Organization) caller {
	c.Organization = o
	return c
}

// call returns a call of the caller.
func (c caller) call() *call.Call {
	p := c.Principal
	return &call.Call{Time: now, Region: region, Service: "kms", Caller: &p, Source: netip.MustParseAddrPort("198.51.100.7:4711"), TLS: call.TLS{Version: 0x304}}
}

// organization returns an organization whose levels have these service control
// policies, each one statement or more.
func organization(t testing.TB, levels ...string) *call.Organization {
	t.Helper()
	o := &call.Organization{ID: "o-x", Path: "o-x/r-1/ou-1/", Master: "999988887777"}
	for _, s := range levels {
		o.ServiceControl = append(o.ServiceControl, []call.Attached{{
			ARN: "arn:aws:organizations::999988887777:policy/o-x/service_control_policy/p-1", Name: "scp",
			Policy: parse(t, policy.ServiceControl, document(s)),
		}})
	}
	return o
}

// rcpFullAccess is what is attached everywhere.
const rcpFullAccess = `{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"}`

// resourceControl returns the organization with one level of resource control
// policies besides the full one. Organizations make them of a type of their
// own, which cannot say Allow; hence the stored full one is a resource policy.
func resourceControl(t testing.TB, o *call.Organization, statements string) *call.Organization {
	t.Helper()
	c := *o
	full := call.Attached{Name: "RCPFullAWSAccess", Policy: parse(t, policy.Resource, document(rcpFullAccess))}
	c.ResourceControl = [][]call.Attached{{full}, {full, {Name: "rcp", Policy: parse(t, policy.ResourceControl, document(statements))}}}
	return &c
}

// organizations is where accounts stand.
type organizations map[string]*call.Organization

func (o organizations) Organization(_ context.Context, account string) (*call.Organization, error) {
	return o[account], nil
}

// resource returns the key with a key policy.
func resource(t testing.TB, statements string) *authz.Resource {
	t.Helper()
	return &authz.Resource{ARN: key, Account: owner, Revision: 7, Policy: keyPolicy(t, statements)}
}

// grants are the grants of a key, and their tokens.
type grants struct {
	all    []*authz.Grant
	tokens map[string]*authz.Grant // nil for a token of a grant that is not there
	err    error
	looked []string
}

func (g *grants) Of(_ context.Context, grantee, operation string, use func(*authz.Grant) bool) error {
	g.looked = append(g.looked, grantee)
	for _, x := range g.all {
		if operation != "" && !slices.Contains(x.Operations, operation) {
			continue
		}
		if x.Grantee == grantee && !use(x) {
			break
		}
	}
	return g.err
}

func (g *grants) ByToken(_ context.Context, token string) (*authz.Grant, error) {
	x, ok := g.tokens[token]
	if !ok {
		return nil, authz.ErrGrantToken
	}
	return x, g.err
}

// want checks that a decision is what it should be: allowed, if text is empty,
// else denied with that text. Explain and Would must agree with Decide.
func want(t *testing.T, a *authz.Authorizer, c *call.Call, action string, r *authz.Resource, q *authz.Request, text string) {
	t.Helper()
	p, err := a.Decide(t.Context(), c, action, r, q)
	var d *authz.Denied
	switch {
	case text == "":
		if err != nil {
			t.Errorf("%s: %v, want it allowed", action, err)
		} else if p.Check(c, r.ARN) != nil || p.Action() != action || p.Revision() != r.Revision || p.Account() != r.Account {
			t.Errorf("%s: permit %+v", action, p)
		}
	case !errors.As(err, &d):
		t.Errorf("%s: %v, want %q", action, err, text)
	case d.Text != text:
		t.Errorf("%s:\n  got %q\n want %q", action, d.Text, text)
	case p != authz.Permit{}:
		t.Errorf("%s: a permit came with the denial", action)
	}
	if c.DecisionText == "" {
		t.Errorf("%s: the call does not say why", action)
	}
	e, err := a.Explain(t.Context(), c, action, r, q)
	if err != nil || e.Allowed != (text == "") || e.Text == "" || text != "" && e.Text != text {
		t.Errorf("%s: Explain = %+v, %v", action, e, err)
	}
	if ok, err := a.Would(t.Context(), c, action, r, q); err != nil || ok != (text == "") {
		t.Errorf("%s: Would = %v, %v", action, ok, err)
	}
}

// denial is a message about the key in its own account.
func denial(who, action, end string) string { return denialOn(who, action, key, end) }

func denialOn(who, action, resource, end string) string {
	return "User: " + who + " is not authorized to perform: " + action + " on resource: " + resource + end
}

// hidden is a message about a key of another account.
func hidden(who, action, end string) string {
	return "User: " + who + " is not authorized to perform: " + action + " on this resource" + end
}

func noPolicy(layer, action string) string {
	return " because no " + layer + " allows the " + action + " action"
}

var errStore = errors.New("store: away")

// failing cannot tell any organization.
type failing struct{}

func (failing) Organization(context.Context, string) (*call.Organization, error) {
	return nil, errStore
}
