package identity_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/identity"
)

const (
	org      = "o-exampleorgid"
	root     = "r-examplerootid"
	unitOne  = "ou-examplerootid-unit00000001"
	unitTwo  = "ou-examplerootid-unit00000002"
	external = "777788889999"
)

// organized is a house with an organization of theirs, in which ours is in a
// unit of a unit.
func organized(t *testing.T) *house {
	h := newHouse(t)
	ctx := t.Context()
	_, err := h.CreateAccount(ctx, identity.Account{ID: external})
	h.ok(err)
	_, err = h.CreateOrganization(ctx, identity.Organization{
		ID: org, Root: root, Master: theirs,
		Types: []identity.OrganizationPolicyType{identity.ServiceControlPolicy, identity.ResourceControlPolicy, identity.ServiceControlPolicy},
	})
	h.ok(err)
	_, err = h.CreateUnit(ctx, identity.Unit{Organization: org, ID: unitOne, Name: "one", Parent: root})
	h.ok(err)
	_, err = h.CreateUnit(ctx, identity.Unit{Organization: org, ID: unitTwo, Name: "two", Parent: unitOne})
	h.ok(err)
	h.ok(h.PlaceAccount(ctx, ours, org, unitTwo))
	h.ok(h.AttachPolicy(ctx, aUser("alice"), call.AdministratorAccess))
	return h
}

// text is an update of a policy's text.
func text(content string) identity.OrganizationPolicyUpdate {
	return identity.OrganizationPolicyUpdate{Content: &content}
}

func (h *house) control(id string, t identity.OrganizationPolicyType, content string) {
	h.t.Helper()
	_, err := h.CreateOrganizationPolicy(h.t.Context(), identity.OrganizationPolicy{Organization: org, ID: id, Type: t, Name: id, Content: content})
	h.ok(err)
}

func TestOrganization(t *testing.T) {
	h := organized(t)
	ctx := t.Context()
	if o, err := h.Organization(ctx, external); o != nil || err != nil {
		t.Errorf("an account in none: %v, %v", o, err)
	}
	for _, id := range []string{"123456789012", "", "x"} {
		_, err := h.Organization(ctx, id)
		h.wants("unknown account", err, identity.ErrNotFound)
	}
	o, err := h.Organization(ctx, theirs)
	if err != nil || !o.Management || o.ID != org || o.Master != theirs || o.Path != org+"/"+root+"/" {
		t.Errorf("management account: %+v, %v", o, err)
	}
	o, err = h.Organization(ctx, ours)
	if err != nil || o.Management || o.Path != org+"/"+root+"/"+unitOne+"/"+unitTwo+"/" || len(o.ServiceControl) != 4 || len(o.ResourceControl) != 4 {
		t.Errorf("member account: %+v, %v", o, err)
	}
	for i := range o.ServiceControl {
		if len(o.ServiceControl[i]) != 1 || o.ServiceControl[i][0].Name != "FullAWSAccess" || len(o.ResourceControl[i]) != 1 || o.ResourceControl[i][0].Name != "RCPFullAWSAccess" {
			t.Errorf("level %d: %v, %v", i, o.ServiceControl[i], o.ResourceControl[i])
		}
	}
	h.says("FullAWSAccess", "kms:Decrypt", "allowed")

	h.control("p-denydecrypt", identity.ServiceControlPolicy, deny("kms:Decrypt"))
	h.control("p-kmsonly1", identity.ServiceControlPolicy, allow("kms:*"))
	for _, target := range []string{root, unitOne, unitTwo, ours} {
		h.ok(h.AttachOrganizationPolicy(ctx, org, "p-denydecrypt", target))
		h.says("denied at "+target, "kms:Decrypt", "denied")
		h.wants("twice", h.AttachOrganizationPolicy(ctx, org, "p-denydecrypt", target), identity.ErrExists)
		h.ok(h.DetachOrganizationPolicy(ctx, org, "p-denydecrypt", target))
		h.says("not denied any more", "kms:Decrypt", "allowed")

		h.wants("the last one", h.DetachOrganizationPolicy(ctx, org, identity.FullAWSAccess, target), identity.ErrConflict)
		h.ok(h.AttachOrganizationPolicy(ctx, org, "p-kmsonly1", target))
		h.ok(h.DetachOrganizationPolicy(ctx, org, identity.FullAWSAccess, target))
		h.says("kms alone at "+target, "kms:Decrypt", "allowed")
		h.says("kms alone at "+target, "iam:GetUser", "nothing")
		h.ok(h.UpdateOrganizationPolicy(ctx, org, "p-kmsonly1", text(allow("iam:*"))))
		h.says("iam alone at "+target, "kms:Decrypt", "nothing")
		h.ok(h.UpdateOrganizationPolicy(ctx, org, "p-kmsonly1", text(allow("kms:*"))))
		h.ok(h.AttachOrganizationPolicy(ctx, org, identity.FullAWSAccess, target))
		h.ok(h.DetachOrganizationPolicy(ctx, org, "p-kmsonly1", target))
	}
	h.wants("not attached", h.DetachOrganizationPolicy(ctx, org, "p-kmsonly1", root), identity.ErrNotFound)
	h.wants("RCPFullAWSAccess", h.DetachOrganizationPolicy(ctx, org, identity.RCPFullAWSAccess, root), identity.ErrConflict)
	h.wants("AWS's", h.UpdateOrganizationPolicy(ctx, org, identity.FullAWSAccess, text(allow("kms:*"))), identity.ErrUnmodifiable)
	h.wants("an account that is not in it", h.AttachOrganizationPolicy(ctx, org, "p-denydecrypt", external), identity.ErrNotFound)
	h.wants("no target", h.AttachOrganizationPolicy(ctx, org, "p-denydecrypt", "r-otherroot"), identity.ErrNotFound)
	h.wants("no policy", h.AttachOrganizationPolicy(ctx, org, "p-unknown1", root), identity.ErrNotFound)

	rcp := `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*","Action":"kms:*","Resource":"*"}]}`
	for i := range 5 {
		id := fmt.Sprint("p-resource", i)
		h.control(id, identity.ResourceControlPolicy, rcp)
		if err := h.AttachOrganizationPolicy(ctx, org, id, unitOne); i < 4 {
			h.ok(err)
		} else {
			h.wants("a sixth RCP", err, identity.ErrLimit)
		}
	}
	if o, err := h.Organization(ctx, ours); err != nil || len(o.ResourceControl[1]) != 5 || len(o.ResourceControl[2]) != 1 {
		t.Errorf("RCPs: %v, %v", o, err)
	}

	if u, err := h.Unit(ctx, org, unitOne); err != nil || u.Name != "one" || u.Parent != root || fmt.Sprint(u.Policies) != "[p-FullAWSAccess p-resource0 p-resource1 p-resource2 p-resource3]" {
		t.Errorf("Unit = %+v, %v", u, err)
	}
	// Elsewhere in the tree, and somewhere else.
	h.ok(h.PlaceAccount(ctx, ours, org, root))
	if o, err := h.Organization(ctx, ours); err != nil || o.Path != org+"/"+root+"/" || len(o.ServiceControl) != 2 {
		t.Errorf("moved: %+v, %v", o, err)
	}
	_, err = h.CreateOrganization(ctx, identity.Organization{Master: external})
	h.ok(err)
	h.wants("in two", h.PlaceAccount(ctx, external, org, root), identity.ErrExists)
	_, err = h.CreateOrganization(ctx, identity.Organization{Master: ours})
	h.wants("in two", err, identity.ErrExists)
}

func TestOrganizationRefused(t *testing.T) {
	h := organized(t)
	ctx := t.Context()
	scp := func(content string) identity.OrganizationPolicy {
		return identity.OrganizationPolicy{Organization: org, ID: "p-something", Type: identity.ServiceControlPolicy, Name: "p", Content: content}
	}
	for what, test := range map[string]struct {
		p    identity.OrganizationPolicy
		want error
	}{
		"malformed":          {scp("{}"), identity.ErrMalformed},
		"with a principal":   {scp(trusting("*")), identity.ErrMalformed},
		"long":               {scp(allow("kms:*") + strings.Repeat(" ", 5120)), identity.ErrLimit},
		"no name":            {identity.OrganizationPolicy{Organization: org, Type: identity.ServiceControlPolicy, Content: allow("*")}, identity.ErrInvalid},
		"no type":            {identity.OrganizationPolicy{Organization: org, Name: "p", Content: allow("*")}, identity.ErrInvalid},
		"no organization":    {identity.OrganizationPolicy{Organization: "o-0123456789", Type: identity.ServiceControlPolicy, Name: "p", Content: allow("*")}, identity.ErrNotFound},
		"an RCP that allows": {identity.OrganizationPolicy{Organization: org, Type: identity.ResourceControlPolicy, Name: "p", Content: allow("*")}, identity.ErrMalformed},
	} {
		_, err := h.CreateOrganizationPolicy(ctx, test.p)
		h.wants(what, err, test.want)
	}
	parent := unitTwo
	for i := range 4 {
		u, err := h.CreateUnit(ctx, identity.Unit{Organization: org, Name: "deep", Parent: parent, Tags: []identity.Tag{{Name: "depth", Value: fmt.Sprint(i)}}})
		if i < 3 {
			h.ok(err)
			parent = u.ID
		} else {
			h.wants("a sixth level", err, identity.ErrLimit)
		}
	}
	for what, u := range map[string]identity.Unit{
		"no name":      {Organization: org, Parent: root},
		"another's":    {Organization: org, Parent: root, Name: "u", ID: "ou-otherroot-12345678"},
		"no id at all": {Organization: org, Parent: root, Name: "u", ID: "unit"},
	} {
		_, err := h.CreateUnit(ctx, u)
		h.wants(what, err, identity.ErrInvalid)
	}
	_, err := h.CreateUnit(ctx, identity.Unit{Organization: org, ID: unitOne, Name: "again", Parent: root})
	h.wants("a unit twice", err, identity.ErrExists)

	_, err = h.CreateOrganization(ctx, identity.Organization{ID: "o-0123456789", Master: external})
	h.ok(err)
	h.wants("a type that is not enabled", h.AttachOrganizationPolicy(ctx, "o-0123456789", identity.FullAWSAccess, external), identity.ErrExists)
	p, err := h.CreateOrganizationPolicy(ctx, identity.OrganizationPolicy{Organization: "o-0123456789", Type: identity.ServiceControlPolicy, Name: "p", Content: allow("*")})
	h.ok(err)
	if want := "arn:aws:organizations::" + external + ":policy/o-0123456789/service_control_policy/" + p.ID; p.ARN != want {
		t.Errorf("ARN %s, want %s", p.ARN, want)
	}
	h.wants("a type that is not enabled", h.AttachOrganizationPolicy(ctx, "o-0123456789", p.ID, external), identity.ErrInvalid)
	h.ok(h.EnablePolicyType(ctx, "o-0123456789", identity.ServiceControlPolicy))
	h.wants("enabled twice", h.EnablePolicyType(ctx, "o-0123456789", identity.ServiceControlPolicy), identity.ErrExists)
	h.ok(h.AttachOrganizationPolicy(ctx, "o-0123456789", p.ID, external))
	if o, err := h.OrganizationByID(ctx, "o-0123456789"); err != nil || len(o.Types) != 1 {
		t.Errorf("organization %+v, %v", o, err)
	}
}

// TestOrganizationBroken takes away what restricts an account.
func TestOrganizationBroken(t *testing.T) {
	for _, key := range []string{
		"v1/org/" + org, "v1/ou/" + org + "/" + unitOne, "v1/ou/" + org + "/" + unitTwo, "v1/orgpolicy/" + org + "/p-denykms1",
	} {
		for how, tamper := range map[string]func(*house, *testing.T, string){
			"missing": func(h *house, t *testing.T, key string) { h.remove(t, key) },
			"altered": (*house).damage,
		} {
			t.Run(key+" "+how, func(t *testing.T) {
				h := organized(t)
				h.control("p-denykms1", identity.ServiceControlPolicy, deny("kms:*"))
				h.ok(h.AttachOrganizationPolicy(t.Context(), org, "p-denykms1", unitOne))
				h.says("denied", "kms:Decrypt", "denied")
				tamper(h, t, key)
				eventually(t, "broken", func() bool { return may(h.alice(), "kms:Decrypt") == "broken" })
				if o, err := h.Organization(t.Context(), ours); err != nil || o.Broken == "" {
					t.Errorf("Organization = %+v, %v", o, err)
				}
			})
		}
	}
	h := organized(t)
	h.damage(t, "v1/acct/"+ours)
	eventually(t, "refused", func() bool {
		_, err := h.Organization(t.Context(), ours)
		return err != nil && !errors.Is(err, identity.ErrNotFound) && h.works(h.key) != nil
	})
}
