package identity_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/arn"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/identity"
	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/policy"
)

// request asks for an account and has it made.
func (h *house) request(r identity.AccountRequest) identity.AccountRequest {
	h.t.Helper()
	r.Organization = org
	r, err := h.RequestAccount(h.t.Context(), r)
	h.ok(err)
	if r.State != identity.AccountInProgress || r.Account != "" || !strings.HasPrefix(r.ID, "car-") || len(r.ID) != 36 {
		h.t.Errorf("a new request: %+v", r)
	}
	h.ok(h.SettleAccountRequests(h.t.Context()))
	r, err = h.AccountRequest(h.t.Context(), org, r.ID)
	h.ok(err)
	return r
}

func TestAccountRequest(t *testing.T) {
	h := organized(t)
	ctx := t.Context()
	r := h.request(identity.AccountRequest{Email: "Dev@example.com", Name: "dev", Tags: []identity.Tag{{Name: "stage", Value: "dev"}}})
	if r.State != identity.AccountSucceeded || !arn.IsAccount(r.Account) || r.Failure != "" || r.Settled.IsZero() {
		t.Fatalf("the request: %+v", r)
	}
	a, err := h.Account(ctx, r.Account)
	if err != nil || a.Name != "dev" || a.Email != "Dev@example.com" || !a.Made || a.Parent != root || a.Organization != org || a.Joined.IsZero() || len(a.Tags) != 1 || !a.Closed.IsZero() {
		t.Errorf("the account: %+v, %v", a, err)
	}
	// The management account can do anything in it, by a role.
	role, trust, err := h.RoleByARN(ctx, "arn:aws:iam::"+a.ID+":role/OrganizationAccountAccessRole")
	h.ok(err)
	if trust == nil || !slices.Equal(role.Policies, []string{call.AdministratorAccess}) || !strings.Contains(role.Trust, theirs+":root") {
		t.Errorf("the role: %+v", role)
	}
	if !asked(trust, rootOf(theirs), "sts:AssumeRole").Allow || asked(trust, rootOf(ours), "sts:AssumeRole").Allow {
		t.Error("the role does not trust the management account alone")
	}
	h.ok(h.SettleAccountRequests(ctx)) // nothing is left to do

	again := h.request(identity.AccountRequest{Email: "dev@EXAMPLE.com", Name: "again"})
	if again.State != identity.AccountFailed || again.Failure != identity.EmailAlreadyExists || again.Account != "" {
		t.Errorf("the same address: %+v", again)
	}
	other := h.request(identity.AccountRequest{Email: "ops@example.com", Name: "ops", Role: "Root.Access"})
	if _, err := h.Role(ctx, other.Account, "root.access"); err != nil {
		t.Errorf("a role with a name of its own: %v", err)
	}
	for what, r := range map[string]identity.AccountRequest{
		"no address":  {Name: "n"},
		"two":         {Email: "a@example.com, b@example.com", Name: "n"},
		"long":        {Email: strings.Repeat("a", 60) + "@example.com", Name: "n"},
		"no name":     {Email: "a@example.com"},
		"a long name": {Email: "a@example.com", Name: strings.Repeat("n", 51)},
		"a role":      {Email: "a@example.com", Name: "n", Role: "a role"},
	} {
		r.Organization = org
		_, err := h.RequestAccount(ctx, r)
		h.wants(what, err, identity.ErrInvalid)
	}
	_, err = h.RequestAccount(ctx, identity.AccountRequest{Organization: "o-0123456789", Email: "a@example.com", Name: "n"})
	h.wants("no organization", err, identity.ErrNotFound)
	for states, want := range map[identity.AccountRequestState]int{identity.AccountSucceeded: 2, identity.AccountFailed: 1, identity.AccountInProgress: 0} {
		list, next, err := h.AccountRequests(ctx, org, []identity.AccountRequestState{states}, identity.Page{})
		if err != nil || next != "" || len(list) != want {
			t.Errorf("%s: %+v, %q, %v", states, list, next, err)
		}
	}

	// They are known for 90 days.
	h.clock.advance(89 * 24 * time.Hour)
	h.ok(h.ForgetAccountRequests(ctx))
	if _, err := h.AccountRequest(ctx, org, r.ID); err != nil {
		t.Errorf("after 89 days: %v", err)
	}
	h.clock.advance(24 * time.Hour)
	h.ok(h.ForgetAccountRequests(ctx))
	_, err = h.AccountRequest(ctx, org, r.ID)
	h.wants("after 90 days", err, identity.ErrNotFound)
}

// TestSettled: who is told of what has become of a request commits it.
func TestSettled(t *testing.T) {
	h := organized(t)
	ctx := t.Context()
	r, err := h.RequestAccount(ctx, identity.AccountRequest{Organization: org, Email: "new@example.com", Name: "new"})
	h.ok(err)
	var told identity.AccountSettlement
	refused := errors.New("no")
	for _, answer := range []error{refused, nil} {
		d := identity.Open(h.rs, identity.Options{Now: h.clock.now, Settled: func(ctx context.Context, s identity.AccountSettlement, commit func(context.Context) error) error {
			told = s
			if answer != nil {
				return answer
			}
			return commit(ctx)
		}})
		if err := d.SettleAccountRequests(ctx); !errors.Is(err, answer) {
			t.Errorf("%v, want %v", err, answer)
		}
		now, err := h.AccountRequest(ctx, org, r.ID)
		h.ok(err)
		if (now.State == identity.AccountSucceeded) != (answer == nil) {
			t.Errorf("with %v: %+v", answer, now)
		}
		if answer == nil && (told.ID != r.ID || told.State != now.State || told.Account != now.Account || told.Account == "" || told.Master == "" || told.Settled.IsZero()) {
			t.Errorf("told %+v, it is %+v", told, now)
		}
	}
}

// TestSettleOnce settles the same requests on two nodes at the same time.
func TestSettleOnce(t *testing.T) {
	h := organized(t)
	ctx := t.Context()
	for i := range 6 {
		_, err := h.RequestAccount(ctx, identity.AccountRequest{Organization: org, Email: fmt.Sprintf("a%d@example.com", i/2), Name: "n"})
		h.ok(err)
	}
	var all sync.WaitGroup
	for _, d := range []*identity.Directory{h.Directory, h.other, h.Directory, h.other} {
		all.Go(func() {
			if err := d.SettleAccountRequests(ctx); err != nil && !errors.Is(err, identity.ErrConcurrent) {
				t.Error(err)
			}
		})
	}
	all.Wait()
	h.ok(h.SettleAccountRequests(ctx))
	list, _, err := h.Members(ctx, org, "", identity.Page{})
	h.ok(err)
	if len(list) != 2+3 {
		t.Errorf("%d accounts, want the two of before and three", len(list))
	}
	for i := range list {
		for _, b := range list[:i] {
			if list[i].Email != "" && list[i].Email == b.Email {
				t.Errorf("two accounts have %s", b.Email)
			}
		}
	}
}

func TestCloseAccount(t *testing.T) {
	h := organized(t)
	ctx := t.Context()
	r := h.role("worker", trusting(ours))
	s := h.session(h.assume(r, func(*identity.SessionParams) {}))
	h.ok(h.works(h.key))
	h.wants("the management account", h.CloseAccount(ctx, org, theirs), identity.ErrConflict)
	h.wants("an account outside", h.CloseAccount(ctx, org, external), identity.ErrNotFound)
	h.ok(h.CloseAccount(ctx, org, ours))
	h.wants("twice", h.CloseAccount(ctx, org, ours), identity.ErrExists)
	if err := h.works(h.key); err == nil {
		t.Error("an access key of a closed account works")
	}
	if _, _, err := h.Credential(ctx, s.AccessKeyID, s.Token); err == nil {
		t.Error("a session of a closed account works")
	}
	if _, _, err := h.RoleByARN(ctx, r.ARN); !errors.Is(err, identity.ErrNotFound) {
		t.Errorf("a role of a closed account can be assumed: %v", err)
	}
	k, err := h.CreateAccessKey(ctx, ours, "", "", secret.Bytes{})
	if err == nil && h.works(k.ID) == nil {
		t.Error("the root user of a closed account works")
	}
	if o, err := h.Organization(ctx, ours); err != nil || o == nil || o.Broken == "" || o.Management {
		t.Errorf("what others can do in it: %+v, %v", o, err)
	}
	eventually(t, "refused elsewhere", func() bool { _, _, err := h.other.Credential(ctx, h.key, ""); return err != nil })
	if a, err := h.Account(ctx, ours); err != nil || a.Closed.IsZero() || a.Organization != org {
		t.Errorf("the closed account: %+v, %v", a, err)
	}
}

func TestDeleteOrganization(t *testing.T) {
	h := organized(t)
	ctx := t.Context()
	h.control("p-denykms1", identity.ServiceControlPolicy, deny("kms:*"))
	h.ok(h.AttachOrganizationPolicy(ctx, org, "p-denykms1", unitTwo))
	h.says("denied in the organization", "kms:Decrypt", "denied")
	h.wants("with a member", h.DeleteOrganization(ctx, org), identity.ErrConflict)
	h.wants("a unit with a unit", h.DeleteUnit(ctx, org, unitOne), identity.ErrConflict)
	h.wants("a unit with an account", h.DeleteUnit(ctx, org, unitTwo), identity.ErrConflict)
	h.wants("a policy in use", h.DeleteOrganizationPolicy(ctx, org, "p-denykms1"), identity.ErrConflict)
	h.wants("the management account", h.RemoveAccount(ctx, org, theirs), identity.ErrConflict)
	h.wants("moved from elsewhere", h.MoveAccount(ctx, org, ours, root, unitOne), identity.ErrConflict)
	h.wants("moved to nowhere", h.MoveAccount(ctx, org, ours, unitTwo, "ou-examplerootid-unit99999999"), identity.ErrNotFound)
	h.ok(h.MoveAccount(ctx, org, ours, unitTwo, unitOne))
	h.says("moved", "kms:Decrypt", "allowed")
	h.ok(h.RemoveAccount(ctx, org, ours))
	if o, err := h.Organization(ctx, ours); o != nil || err != nil {
		t.Errorf("removed: %+v, %v", o, err)
	}
	h.says("alone", "kms:Decrypt", "allowed")
	h.ok(h.DetachOrganizationPolicy(ctx, org, "p-denykms1", unitTwo))
	h.ok(h.DeleteOrganizationPolicy(ctx, org, "p-denykms1"))
	h.wants("AWS's", h.DeleteOrganizationPolicy(ctx, org, identity.FullAWSAccess), identity.ErrUnmodifiable)
	h.ok(h.DeleteUnit(ctx, org, unitTwo))
	h.wants("twice", h.DeleteUnit(ctx, org, unitTwo), identity.ErrNotFound)
	h.ok(h.DeleteOrganization(ctx, org))
	_, err := h.OrganizationByID(ctx, org)
	h.wants("the organization", err, identity.ErrNotFound)
	_, err = h.Unit(ctx, org, unitOne)
	h.wants("its units", err, identity.ErrNotFound)
	if o, err := h.Organization(ctx, theirs); o != nil || err != nil {
		t.Errorf("the management account: %+v, %v", o, err)
	}
	_, err = h.CreateOrganization(ctx, identity.Organization{Master: ours})
	h.ok(err)
}

// TestPolicyTypes: what was attached is not any more once its type has been
// disabled, and nobody is without an SCP.
func TestPolicyTypes(t *testing.T) {
	h := organized(t)
	ctx := t.Context()
	h.control("p-denykms1", identity.ServiceControlPolicy, deny("kms:*"))
	for _, target := range []string{root, unitOne, ours} {
		h.ok(h.AttachOrganizationPolicy(ctx, org, "p-denykms1", target))
		h.ok(h.DetachOrganizationPolicy(ctx, org, identity.FullAWSAccess, target))
	}
	h.says("attached", "kms:Decrypt", "denied")
	h.ok(h.DisablePolicyType(ctx, org, identity.ServiceControlPolicy))
	h.wants("twice", h.DisablePolicyType(ctx, org, identity.ServiceControlPolicy), identity.ErrConflict)
	h.says("disabled", "kms:Decrypt", "allowed")
	h.ok(h.DeleteOrganizationPolicy(ctx, org, "p-denykms1"))
	h.ok(h.EnablePolicyType(ctx, org, identity.ServiceControlPolicy))
	h.says("enabled again", "kms:Decrypt", "allowed")
	for _, target := range []string{root, unitOne, unitTwo, ours} {
		list, err := h.AttachedOrganizationPolicies(ctx, org, target, identity.ServiceControlPolicy)
		if err != nil || len(list) != 1 || list[0].ID != identity.FullAWSAccess {
			t.Errorf("%s: %+v, %v", target, list, err)
		}
	}
	targets, err := h.OrganizationTargets(ctx, org, identity.FullAWSAccess)
	if err != nil || len(targets) != 5 {
		t.Errorf("FullAWSAccess is attached to %+v, %v", targets, err)
	}
}

func TestOrganizationNames(t *testing.T) {
	h := organized(t)
	ctx := t.Context()
	unit := func(name, parent string) error {
		_, err := h.CreateUnit(ctx, identity.Unit{Organization: org, Name: name, Parent: parent})
		return err
	}
	h.wants("a name under the same parent", unit("one", root), identity.ErrExists)
	h.ok(unit("one", unitOne))
	h.ok(unit("three", root))
	h.wants("renamed to another's", h.RenameUnit(ctx, org, unitOne, "three"), identity.ErrExists)
	h.ok(h.RenameUnit(ctx, org, unitOne, "four"))
	h.ok(h.RenameUnit(ctx, org, unitOne, "four"))
	h.ok(unit("one", root))
	h.wants("no name", h.RenameUnit(ctx, org, unitOne, ""), identity.ErrInvalid)

	control := func(name string, kind identity.OrganizationPolicyType, content string) error {
		_, err := h.CreateOrganizationPolicy(ctx, identity.OrganizationPolicy{Organization: org, Name: name, Type: kind, Content: content})
		return err
	}
	h.ok(control("p", identity.ServiceControlPolicy, deny("kms:*")))
	h.wants("a policy's name", control("p", identity.ServiceControlPolicy, deny("kms:*")), identity.ErrExists)
	h.wants("AWS's", control("FullAWSAccess", identity.ServiceControlPolicy, deny("kms:*")), identity.ErrExists)
	h.ok(control("p", identity.ResourceControlPolicy, `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*","Action":"kms:*","Resource":"*"}]}`))
	list, err := h.OrganizationPolicies(ctx, org, identity.ServiceControlPolicy)
	if err != nil || len(list) != 2 || list[0].ID != identity.FullAWSAccess || list[1].Name != "p" {
		t.Fatalf("policies: %+v, %v", list, err)
	}
	name, description := "q", "what it is"
	h.ok(h.UpdateOrganizationPolicy(ctx, org, list[1].ID, identity.OrganizationPolicyUpdate{Name: &name, Description: &description}))
	p, err := h.OrganizationPolicy(ctx, org, list[1].ID)
	if err != nil || p.Name != "q" || p.Description != description || p.Content != deny("kms:*") {
		t.Errorf("updated: %+v, %v", p, err)
	}
	full := "FullAWSAccess"
	h.wants("renamed to AWS's", h.UpdateOrganizationPolicy(ctx, org, p.ID, identity.OrganizationPolicyUpdate{Name: &full}), identity.ErrExists)

	for _, id := range []string{root, unitOne, ours, p.ID} {
		h.ok(h.TagOrganization(ctx, org, id, []identity.Tag{{Name: "a", Value: "1"}, {Name: "b", Value: "2"}}))
		h.ok(h.UntagOrganization(ctx, org, id, []string{"a", "c"}))
		tags, err := h.OrganizationTags(ctx, org, id)
		if err != nil || len(tags) != 1 || tags[0].Value != "2" {
			t.Errorf("%s: tags %v, %v", id, tags, err)
		}
		h.wants("a reserved key", h.TagOrganization(ctx, org, id, []identity.Tag{{Name: "aws:a"}}), identity.ErrInvalid)
	}
	h.wants("tags of AWS's", h.TagOrganization(ctx, org, identity.FullAWSAccess, []identity.Tag{{Name: "a"}}), identity.ErrUnmodifiable)
	h.wants("tags of nothing", h.TagOrganization(ctx, org, external, []identity.Tag{{Name: "a"}}), identity.ErrNotFound)
}

// TestOrganizationRaces makes and deletes at the same time: nothing is ever in
// what is gone, and no policy attached that is not there.
func TestOrganizationRaces(t *testing.T) {
	h := organized(t)
	ctx := t.Context()
	nodes := []*identity.Directory{h.Directory, h.other}
	expected := []error{identity.ErrConflict, identity.ErrNotFound, identity.ErrExists, identity.ErrConcurrent}
	for round := range 8 {
		u, err := h.CreateUnit(ctx, identity.Unit{Organization: org, Name: fmt.Sprint("u", round), Parent: root})
		h.ok(err)
		p, err := h.CreateOrganizationPolicy(ctx, identity.OrganizationPolicy{Organization: org, Name: fmt.Sprint("p", round), Type: identity.ServiceControlPolicy, Content: deny("s3:*")})
		h.ok(err)
		a, err := h.Account(ctx, ours)
		h.ok(err)
		var all sync.WaitGroup
		for i, change := range []func(*identity.Directory) error{
			func(d *identity.Directory) error { return d.DeleteUnit(ctx, org, u.ID) },
			func(d *identity.Directory) error { return d.MoveAccount(ctx, org, ours, a.Parent, u.ID) },
			func(d *identity.Directory) error {
				_, err := d.CreateUnit(ctx, identity.Unit{Organization: org, Name: "in", Parent: u.ID})
				return err
			},
			func(d *identity.Directory) error {
				_, err := d.CreateUnit(ctx, identity.Unit{Organization: org, Name: "in", Parent: u.ID})
				return err
			},
			func(d *identity.Directory) error { return d.DeleteOrganizationPolicy(ctx, org, p.ID) },
			func(d *identity.Directory) error { return d.AttachOrganizationPolicy(ctx, org, p.ID, ours) },
			func(d *identity.Directory) error { return d.AttachOrganizationPolicy(ctx, org, p.ID, u.ID) },
		} {
			all.Go(func() {
				err := change(nodes[(i+round)%2])
				if err != nil && !slices.ContainsFunc(expected, func(e error) bool { return errors.Is(err, e) }) {
					t.Errorf("change %d: %v", i, err)
				}
			})
		}
		all.Wait()
		if o, err := h.Organization(ctx, ours); err != nil || o.Broken != "" {
			t.Fatalf("round %d: %+v, %v", round, o, err)
		}
		_, gone := h.Unit(ctx, org, u.ID)
		units, _, err := h.Units(ctx, org, u.ID, identity.Page{})
		if err != nil || len(units) > 1 || errors.Is(gone, identity.ErrNotFound) && len(units) > 0 {
			t.Errorf("round %d: units in %s: %v, %v (%v)", round, u.ID, units, err, gone)
		}
		list, err := h.AttachedOrganizationPolicies(ctx, org, ours, identity.ServiceControlPolicy)
		h.ok(err)
		for _, p := range list[1:] {
			h.ok(h.DetachOrganizationPolicy(ctx, org, p.ID, ours))
		}
	}
}

// rootOf is the root user of an account.
func rootOf(account string) *call.Principal {
	return &call.Principal{Account: account, Names: policy.Principal{Account: account, Root: true, ARN: arn.Root("aws", account)}}
}
