package seed_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/keyreeve/keyreeve/internal/seal"
	"github.com/keyreeve/keyreeve/internal/seed"
	"github.com/keyreeve/keyreeve/internal/store"
)

// full has everything that a seed file can make of identities.
const full = `
accounts:
  - {id: "111122223333", root_access_keys: [{id: AKIAROOTROOTROOTROOT, secret: r}]}
  - {id: "444455556666"}
organizations:
  - id: o-exampleorgid
    management: "999988887777"
    root: r-abcd
    policies:
      - {id: p-11111111, name: no-deletion, type: SERVICE_CONTROL_POLICY, document: {Version: "2012-10-17", Statement: {Effect: Deny, Action: "kms:ScheduleKeyDeletion", Resource: "*"}}}
      - {id: p-22222222, name: kms, type: SERVICE_CONTROL_POLICY, document: {Version: "2012-10-17", Statement: {Effect: Allow, Action: "kms:*", Resource: "*"}}}
      - {id: p-33333333, name: perimeter, type: RESOURCE_CONTROL_POLICY, document: {Version: "2012-10-17", Statement: {Effect: Deny, Principal: "*", Action: "kms:*", Resource: "*", Condition: {StringNotEqualsIfExists: {"aws:PrincipalOrgID": o-exampleorgid}}}}}
    attached: [no-deletion]
    units:
      - {id: ou-abcd-11111111, name: workloads, attached: [kms, perimeter], full_access: false}
    accounts:
      - {id: "111122223333", parent: ou-abcd-11111111}
      - {id: "444455556666"}
policies:
  - {account: "111122223333", name: limits, path: /b/, tags: {team: x}, document: '{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"kms:*","Resource":"*"}}'}
groups:
  - {account: "111122223333", name: readers, policies: [ReadOnlyAccess], inline: {extra: {Version: "2012-10-17", Statement: [{Effect: Allow, Action: "kms:Decrypt", Resource: "*"}]}}}
users:
  - account: "111122223333"
    name: bob
    policies: [limits]
    boundary: limits
    groups: [readers]
    tags: {department: it}
    inline:
      own: {Version: "2012-10-17", Statement: [{Effect: Deny, Action: "kms:*", Resource: "*", Condition: {StringNotEquals: {"aws:username": "${aws:username}"}}}]}
    access_keys: [{id: AKIABOBBOBBOBBOBBOBB, secret: s}]
roles:
  - {account: "111122223333", name: first, path: /x/, max_session: 2h, trust: {Version: "2012-10-17", Statement: [{Effect: Allow, Action: "sts:AssumeRole", Principal: {AWS: ["arn:aws:iam::111122223333:role/second", "arn:aws:iam::111122223333:user/bob", "arn:aws:sts::111122223333:assumed-role/second/one"]}}]}}
  - {account: "111122223333", name: second, boundary: limits, trust: {Version: "2012-10-17", Statement: [{Effect: Allow, Action: "sts:AssumeRole", Principal: {AWS: ["arn:aws:iam::111122223333:role/x/first", "444455556666", "arn:aws:iam::111122223333:root"]}}]}}
keys:
  - {account: "111122223333", region: eu-central-1, id: ` + first + `, policy: {Version: "2012-10-17", Statement: [{Effect: Allow, Principal: {AWS: ["arn:aws:iam::111122223333:role/x/first", "arn:aws:iam::444455556666:root"]}, Action: "kms:*", Resource: "*"}]}}
`

var fullMade = seed.Made{Accounts: 2, Organizations: 1, Policies: 1, Groups: 1, Users: 1, Roles: 2, AccessKeys: 2, Keys: 1}

func TestIdentities(t *testing.T) {
	h := open(t)
	if made := h.apply(t, full); made != fullMade {
		t.Errorf("made %+v, want %+v", made, fullMade)
	}
	if made := h.apply(t, full); made != (seed.Made{}) {
		t.Errorf("the second time, made %+v, want nothing", made)
	}
	checkFull(t, h)
}

// checkFull checks that all of full is there.
func checkFull(t *testing.T, h house) {
	t.Helper()
	ctx := t.Context()
	p, _, err := h.dir.Credential(ctx, "AKIABOBBOBBOBBOBBOBB", "")
	if err != nil {
		t.Fatalf("Credential: %v", err)
	}
	var names []string
	for _, a := range p.Policies.Identity {
		names = append(names, a.Name)
	}
	for _, want := range []string{"limits", "own", "ReadOnlyAccess", "extra"} {
		if !strings.Contains(" "+strings.Join(names, " ")+" ", " "+want+" ") {
			t.Errorf("bob's policies are %v, without %s", names, want)
		}
	}
	if p.Policies.Boundary == nil || p.Policies.Boundary.ARN != "arn:aws:iam::111122223333:policy/b/limits" || p.Policies.Broken != "" {
		t.Errorf("bob's boundary is %+v, broken %q", p.Policies.Boundary, p.Policies.Broken)
	}
	if len(p.Tags) != 1 || p.Tags[0].Value != "it" {
		t.Errorf("bob's tags are %v", p.Tags)
	}
	o := p.Organization
	if o == nil || o.ID != "o-exampleorgid" || o.Path != "o-exampleorgid/r-abcd/ou-abcd-11111111/" || o.Management || o.Broken != "" {
		t.Fatalf("bob's organization is %+v", o)
	}
	levels := func(of string, want ...int) {
		t.Helper()
		have := o.ServiceControl
		if of == "resource" {
			have = o.ResourceControl
		}
		var n []int
		for _, level := range have {
			n = append(n, len(level))
		}
		if fmt.Sprint(n) != fmt.Sprint(want) {
			t.Errorf("%s control policies at each level: %v, want %v", of, n, want)
		}
	}
	levels("service", 2, 1, 1)
	levels("resource", 1, 2, 1)
	if root, _, err := h.dir.Credential(ctx, "AKIAROOTROOTROOTROOT", ""); err != nil || root.ARN != "arn:aws:iam::111122223333:root" {
		t.Errorf("root: %+v, %v", root, err)
	}
	_, trust, err := h.dir.RoleByARN(ctx, "arn:aws:iam::111122223333:role/x/first")
	if err != nil || len(trust.Principals()) != 3 {
		t.Errorf("the trust policy of first: %v, %v", trust, err)
	}
	k := h.key(t, first, "kms:GetKeyPolicy")
	if m := k.Metadata(); !strings.Contains(m.Policy, "role/x/first") || len(m.Bindings) != 1 || !strings.HasPrefix(m.Bindings[0].ID, "AROA") {
		t.Errorf("key policy %s, bindings %v", m.Policy, m.Bindings)
	}
}

// stopping lets some commits through, then none, as if the node had ended.
type stopping struct {
	store.Store
	left    int
	armed   bool
	stopped bool
}

func (s *stopping) Commit(ctx context.Context, conds []store.Cond, ops []store.Op) (store.Rev, bool, error) {
	if s.armed {
		if s.left == 0 {
			s.stopped = true
			return 0, false, store.ErrTooLarge
		}
		s.left--
	}
	return s.Store.Commit(ctx, conds, ops)
}

// A start that ends half-way is finished by the next one.
func TestUnfinished(t *testing.T) {
	for n := 0; ; n++ {
		st := &stopping{Store: store.NewMem(), left: n}
		h := reopen(t, house{st: st, provider: seal.Memory()})
		st.armed = true
		_, err := parse(t, full).Apply(t.Context(), h.dir, h.ring)
		st.armed = false
		if (err == nil) == st.stopped {
			t.Fatalf("after %d commits: Apply = %v", n, err)
		}
		again := reopen(t, h)
		again.apply(t, full)
		checkFull(t, again)
		if !st.stopped {
			if n < 20 {
				t.Errorf("the seed took %d commits; the test does not test much", n)
			}
			return
		}
	}
}

func TestIdentitiesRefused(t *testing.T) {
	for name, tt := range map[string]struct{ text, want string }{
		"trust":          {`roles: [{account: "999988887777", name: r, trust: {Statement: [{Effect: Allow, Action: "sts:AssumeRole", Principal: {AWS: "arn:aws:iam::999988887777:user/nobody"}}]}}]`, "there is no principal"},
		"policy":         {`users: [{account: "999988887777", name: u, policies: [Nonsense]}]`, "there is no policy"},
		"boundary":       {`users: [{account: "999988887777", name: u, boundary: Nonsense}]`, "there is no policy"},
		"group":          {`users: [{account: "999988887777", name: u, groups: [nobody]}]`, "has no group"},
		"key policy":     {`keys: [{account: "999988887777", region: eu-central-1, id: ` + first + `, policy: {Statement: [{Effect: Allow, Principal: {AWS: "arn:aws:iam::999988887777:user/nobody"}, Action: "kms:*", Resource: "*"}]}}]`, "there is no principal"},
		"member account": {`organizations: [{id: o-exampleorgid, management: "999988887777", root: r-abcd, accounts: [{id: "123412341234"}]}]`, "there is no account 123412341234"},
		"operator":       {`organizations: [{id: o-exampleorgid, management: "123412341234", root: r-abcd, accounts: [{id: "999988887777"}]}]`, "account 999988887777 is the operator's"},
	} {
		h := open(t)
		made, err := parse(t, tt.text).Apply(t.Context(), h.dir, h.ring)
		if err == nil || !strings.Contains(err.Error(), tt.want) || made != (seed.Made{}) {
			t.Errorf("%s: made %+v, %v; want %q", name, made, err, tt.want)
		}
	}
	for name, tt := range map[string]struct{ text, want string }{
		"no trust":         {`roles: [{account: "999988887777", name: r}]`, "a role needs its document, a valid trust policy"},
		"bad trust":        {`roles: [{account: "999988887777", name: r, trust: "{}"}]`, "not a valid trust policy"},
		"principal":        {`policies: [{account: "999988887777", name: p, document: {Statement: {Effect: Allow, Principal: "*", Action: "*", Resource: "*"}}}]`, "not a valid identity-based policy"},
		"no document":      {`policies: [{account: "999988887777", name: p}]`, "a policy needs its document"},
		"null in document": {`policies: [{account: "999988887777", name: p, document: {Statement: null}}]`, "and this is none"},
		"deep document":    {`policies: [{account: "999988887777", name: p, document: {a: {a: {a: {a: {a: {a: {a: {a: {a: {a: {a: {a: {a: b}}}}}}}}}}}}}}]`, "too deeply"},
		"name":             {`groups: [{account: "999988887777", name: "a b"}]`, "the name of a group"},
		"two of a name":    {`groups: [{account: "999988887777", name: a}, {account: "999988887777", name: A}]`, "already"},
		"duration":         {`roles: [{account: "999988887777", name: r, trust: "{}", max_session: long}]`, "a duration"},
		"unknown scp":      {`organizations: [{id: o-exampleorgid, management: "999988887777", root: r-abcd, attached: [x]}]`, "has no policy"},
		"nothing allowed":  {`organizations: [{id: o-exampleorgid, management: "999988887777", root: r-abcd, full_access: false}]`, "must be attached"},
		"unknown parent":   {`organizations: [{id: o-exampleorgid, management: "999988887777", root: r-abcd, units: [{id: ou-abcd-11111111, name: a, parent: ou-abcd-22222222}]}]`, "stands before"},
		"same unit":        {`organizations: [{id: o-exampleorgid, management: "999988887777", root: r-abcd, units: [{id: ou-abcd-11111111, name: a}, {id: ou-abcd-22222222, name: a}]}]`, "stands in line"},
		"AWS's scp":        {`organizations: [{id: o-exampleorgid, management: "999988887777", root: r-abcd, policies: [{id: p-11111111, name: FullAWSAccess, type: SERVICE_CONTROL_POLICY, document: "{}"}]}]`, "already"},
		"organization id":  {`organizations: [{id: x, management: "999988887777", root: r-abcd}]`, "the id of an organization"},
	} {
		if _, err := seed.Parse([]byte(tt.text), lookup); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: Parse = %v, want %q", name, err, tt.want)
		}
	}
}
