package authz_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/keyreeve/keyreeve/internal/authz"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/policy"
)

// A decision has every layer that applies, each policy of it with what became
// of its statements, and every grant that was looked at, whatever the others
// say.
func TestExplain(t *testing.T) {
	org := resourceControl(t, organization(t, allowAll, allowS3), `{"Effect":"Deny","Principal":"*","Action":"s3:*","Resource":"*"}`)
	c := session(t, owner, "Reader", allowS3, denyDecrypt).boundary(allowAll).limited(allowS3).in(org).call()
	c.Endpoint = &call.Endpoint{Policy: call.Attached{Name: "endpoint", Policy: parse(t, policy.Endpoint, document(rcpFullAccess))}}
	early := grant("AROAReader", "Decrypt")
	early.Effective = now.Add(1)
	r := granted(t, keyForOwner+","+keyDeniesAll, grant("AROAReader:s", "Encrypt"), early)
	d, err := authz.New(nil).Explain(t.Context(), c, decrypt, r, nil)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, l := range d.Layers {
		var policies []string
		for _, p := range l.Policies {
			var matched []int
			for i, s := range p.Result.Statements {
				if s.Matched {
					matched = append(matched, i)
				}
			}
			policies = append(policies, fmt.Sprint(p.Name, matched))
		}
		got = append(got, fmt.Sprintf("%v %d: %v %v %s", l.Type, l.Level, l.Allowed, l.Denied, strings.Join(policies, " ")))
	}
	want := []string{
		"service control policy 0: true false scp[0]",
		"service control policy 1: false false scp[]",
		"resource control policy 0: true false RCPFullAWSAccess[0]",
		"resource control policy 1: true false RCPFullAWSAccess[0] rcp[]",
		"VPC endpoint policy 0: true false endpoint[0]",
		"resource-based policy 0: true true [0 1]",
		"permissions boundary 0: true false p[0]",
		"session policy 0: false false p[]",
		"identity-based policy 0: false true p[] p[0]",
	}
	if !slices.Equal(got, want) {
		t.Errorf("layers:\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if d.Layers[5].AllowedBy != policy.ByAccount {
		t.Errorf("the key policy allows by %b, want by the account", d.Layers[5].AllowedBy)
	}
	got = nil
	for _, g := range d.Grants {
		got = append(got, fmt.Sprintf("%s %v %s", g.Grant.Grantee, g.Usable, g.Why))
	}
	want = []string{
		"AROAReader:s false it is not for this operation",
		"AROAReader false it does not work yet without its grant token",
	}
	if !slices.Equal(got, want) {
		t.Errorf("grants: %q, want %q", got, want)
	}
	if d.Allowed || d.Action != decrypt || d.Resource != key || d.Text != denial(c.Caller.ARN, decrypt, " with an explicit deny in a resource-based policy") {
		t.Errorf("%+v", d)
	}
	if c.DecisionText != "" || len(c.Resources) != 0 {
		t.Errorf("explaining left %q in the call", c.DecisionText)
	}
}

// What could not be read is told.
func TestExplainBroken(t *testing.T) {
	org := organization(t, allowAll)
	org.Broken = "policy p-1 is missing"
	c := user(t, owner, "alice", allowAll).in(org).call()
	c.Caller.Policies.Identity = append(c.Caller.Policies.Identity, call.Attached{Name: "gone", ARN: "arn:aws:iam::111122223333:policy/gone"})
	c.Caller.Policies.Broken = "inline policy x was altered"
	d, err := authz.New(nil).Explain(t.Context(), c, decrypt, &authz.Resource{ARN: key, Account: owner}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, l := range d.Layers {
		if l.Broken != "" {
			got = append(got, l.Type.String()+": "+l.Broken)
		}
	}
	want := []string{
		"service control policy: policy p-1 is missing",
		"resource control policy: policy p-1 is missing",
		"resource-based policy: a policy is missing",
		"identity-based policy: a policy is missing",
		"identity-based policy: inline policy x was altered",
	}
	if !slices.Equal(got, want) {
		t.Errorf("broken:\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// What allowed a call is told in one line, to the call and in the decision.
func TestAllowedText(t *testing.T) {
	g := grant("AIDAalice", "Decrypt", "RetireGrant")
	for _, tt := range []struct {
		c      caller
		action string
		r      *authz.Resource
		want   string
	}{
		{user(t, owner, "alice", allowAll), decrypt, resource(t, keyForOwner), "allowed by resource-based and identity-based policies"},
		{user(t, owner, "alice"), decrypt, resource(t, keyForAll), "allowed by the resource-based policy"},
		{user(t, owner, "alice"), decrypt, granted(t, keyForOwner, g), "allowed by grant " + g.ID},
		{user(t, owner, "alice", allowAll), "kms:ListKeys", &authz.Resource{ARN: "*", Account: owner}, "allowed by identity-based policies"},
		{root(t, owner), "kms:ListKeys", &authz.Resource{ARN: "*", Account: owner}, "allowed to the root user"},
	} {
		c := tt.c.call()
		if _, err := authz.New(nil).Decide(t.Context(), c, tt.action, tt.r, nil); err != nil || c.DecisionText != tt.want {
			t.Errorf("Decide: %q, %v, want %q", c.DecisionText, err, tt.want)
		}
		if d, err := authz.New(nil).Explain(t.Context(), c, tt.action, tt.r, nil); err != nil || d.Text != tt.want {
			t.Errorf("Explain: %+v, %v, want %q", d, err, tt.want)
		}
	}
	c := user(t, owner, "alice").call()
	if _, err := authz.New(nil).DecideRetire(t.Context(), c, g, resource(t, keyForOther), nil); err != nil || c.DecisionText != "allowed by the grant itself" {
		t.Errorf("DecideRetire: %q, %v", c.DecisionText, err)
	}
}

// Principals, resources and grants are shared by decisions at the same time.
func TestConcurrentDecisions(t *testing.T) {
	a := authz.New(organizations{owner: organization(t, allowAll)})
	alice, bob := user(t, owner, "alice", allowAll), user(t, other, "bob", allowAll)
	r := granted(t, keyForOwner, grant("AIDAcarol", "Decrypt"))
	mine, theirs := alice.call().Caller, bob.call().Caller
	r.Grants = shared{r.Grants.(*grants).all}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 200 {
				if _, err := a.Decide(t.Context(), &call.Call{Time: now, Caller: mine}, decrypt, r, nil); err != nil {
					t.Errorf("alice: %v", err)
				}
				if _, err := a.Decide(t.Context(), &call.Call{Time: now, Caller: theirs}, decrypt, r, nil); err == nil || !strings.HasPrefix(err.Error(), "User: "+theirs.ARN) {
					t.Errorf("bob: %v", err)
				}
			}
		})
	}
	wg.Wait()
}

// shared are grants that may be looked for at the same time.
type shared struct{ all []*authz.Grant }

func (s shared) Of(ctx context.Context, grantee, operation string, use func(*authz.Grant) bool) error {
	return (&grants{all: s.all}).Of(ctx, grantee, operation, use)
}

func (s shared) ByToken(context.Context, string) (*authz.Grant, error) {
	return nil, authz.ErrGrantToken
}
