package identity_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/identity"
)

func TestManagedPolicies(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	p, err := h.CreatePolicy(ctx, identity.ManagedPolicy{
		Account: ours, Name: "Mine", Path: "/a/b/", Description: "d", Tags: []identity.Tag{{Name: "k", Value: "v"}},
	}, allow("kms:*"))
	h.ok(err)
	if !regexp.MustCompile(`^ANPA[A-Z2-7]{17}$`).MatchString(p.ID) || p.ARN != "arn:aws:iam::111122223333:policy/a/b/Mine" || p.Default != "v1" || p.Description != "d" || len(p.Tags) != 1 {
		t.Errorf("policy %+v", p)
	}
	_, err = h.CreatePolicy(ctx, identity.ManagedPolicy{Account: ours, Name: "mine"}, allow("kms:*"))
	h.wants("a name taken", err, identity.ErrExists)
	if want := "A policy called mine already exists. Duplicate names are not allowed."; err.Error() != want {
		t.Errorf("%q, want %q", err, want)
	}

	for i := 2; i <= 5; i++ {
		v, err := h.CreatePolicyVersion(ctx, ours, p.ARN, allow(fmt.Sprintf("kms:Get%d*", i)), i == 3)
		h.ok(err)
		if v.ID != fmt.Sprint("v", i) || v.Default != (i == 3) {
			t.Errorf("version %+v", v)
		}
	}
	_, err = h.CreatePolicyVersion(ctx, ours, p.ARN, allow("kms:*"), true)
	h.wants("a sixth version", err, identity.ErrLimit)
	h.wants("the default version", h.DeletePolicyVersion(ctx, ours, p.ARN, "v3"), identity.ErrConflict)
	h.wants("no version", h.DeletePolicyVersion(ctx, ours, p.ARN, "v9"), identity.ErrNotFound)
	h.wants("with versions", h.DeletePolicy(ctx, ours, p.ARN), identity.ErrConflict)
	h.ok(h.DeletePolicyVersion(ctx, ours, p.ARN, "v5"))
	if v, err := h.CreatePolicyVersion(ctx, ours, p.ARN, allow("kms:*"), false); err != nil || v.ID != "v6" {
		t.Errorf("version %+v, %v: a number is not given again", v, err)
	}
	list, err := h.PolicyVersions(ctx, ours, p.ARN)
	h.ok(err)
	ids := ""
	for _, v := range list {
		ids += v.ID + " "
	}
	if ids != "v6 v4 v3 v2 v1 " {
		t.Errorf("versions %s", ids)
	}
	if v, err := h.PolicyVersion(ctx, ours, p.ARN, "v2"); err != nil || v.Document != allow("kms:Get2*") || v.Default {
		t.Errorf("version %+v, %v", v, err)
	}
	_, err = h.PolicyVersion(ctx, ours, p.ARN, "v5")
	h.wants("a deleted version", err, identity.ErrNotFound)

	h.ok(h.TagPolicy(ctx, ours, p.ARN, []identity.Tag{{Name: "K", Value: "w"}, {Name: "l"}}))
	h.ok(h.UntagPolicy(ctx, ours, p.ARN, []string{"L"}))
	if v, err := h.Policy(ctx, ours, p.ARN); err != nil || fmt.Sprint(v.Tags) != "[{K w}]" || v.Default != "v3" {
		t.Errorf("Policy = %+v, %v", v, err)
	}

	for _, arn := range []string{"arn:aws:iam::111122223333:policy/Mine", "arn:aws:iam::111122223333:policy/a/b/mine", "arn:aws:iam::444455556666:policy/a/b/Mine", "arn:aws:iam::aws:policy/Unknown"} {
		_, err := h.Policy(ctx, ours, arn)
		h.wants(arn, err, identity.ErrNotFound)
		h.wants(arn, h.AttachPolicy(ctx, aUser("alice"), arn), identity.ErrNotFound)
		h.wants(arn, h.SetBoundary(ctx, aUser("alice"), arn), identity.ErrNotFound)
		h.wants(arn, h.DetachPolicy(ctx, aUser("alice"), arn), identity.ErrNotFound)
	}
	for _, arn := range []string{"", "Mine", "arn:aws:iam::111122223333:user/alice", "arn:aws:iam::111122223333:policy/", "arn:aws:iam::x:policy/y", "arn:aws:iam::aws:policy/\xff", strings.Repeat("a", 3000)} {
		_, err := h.Policy(ctx, ours, arn)
		h.wants(arn, err, identity.ErrInvalid)
	}
}

func TestAWSManagedPolicies(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	own := []string{h.policy("b", allow("kms:*")), h.policy("A", allow("kms:*"))}
	h.ok(h.AttachPolicy(ctx, aUser("alice"), call.AdministratorAccess))
	h.ok(h.SetBoundary(ctx, aUser("alice"), "arn:aws:iam::aws:policy/PowerUserAccess"))
	h.ok(h.AttachPolicy(ctx, aUser("alice"), own[0]))

	p, err := h.Policy(ctx, ours, call.AdministratorAccess)
	if err != nil || p.Attachments != 1 || p.Account != "" || p.Default != "v1" || !strings.HasPrefix(p.ID, "ANPA") {
		t.Errorf("Policy = %+v, %v", p, err)
	}
	if p, err := h.Policy(ctx, theirs, call.AdministratorAccess); err != nil || p.Attachments != 0 {
		t.Errorf("in another account %+v, %v", p, err)
	}
	h.wants("deleting", h.DeletePolicy(ctx, ours, call.AdministratorAccess), identity.ErrUnmodifiable)
	h.wants("tagging", h.TagPolicy(ctx, ours, call.AdministratorAccess, []identity.Tag{{Name: "a"}}), identity.ErrUnmodifiable)
	_, err = h.CreatePolicyVersion(ctx, ours, call.AdministratorAccess, allow("*"), true)
	h.wants("a version", err, identity.ErrUnmodifiable)
	in, err := h.PolicyEntities(ctx, ours, "arn:aws:iam::aws:policy/PowerUserAccess")
	if err != nil || len(in.Attached) != 0 || len(in.Boundaries) != 1 || in.Boundaries[0].Name != "alice" || in.Boundaries[0].Kind != identity.UserEntity {
		t.Errorf("PolicyEntities = %+v, %v", in, err)
	}

	all := func(s identity.PolicyScope, limit int) string {
		var got []string
		page := identity.Page{Limit: limit}
		for {
			list, next, err := h.ManagedPolicies(ctx, ours, s, page)
			h.ok(err)
			for _, p := range list {
				got = append(got, p.Name)
			}
			if page.Marker = next; next == "" {
				return strings.Join(got, " ")
			}
		}
	}
	aws := "AWSKeyManagementServicePowerUser AdministratorAccess PowerUserAccess ReadOnlyAccess"
	for limit := 1; limit < 8; limit++ {
		for _, test := range []struct {
			scope identity.PolicyScope
			want  string
		}{
			{identity.PolicyScope{AWS: true, Local: true}, aws + " A b"},
			{identity.PolicyScope{AWS: true}, aws},
			{identity.PolicyScope{Local: true}, "A b"},
			{identity.PolicyScope{AWS: true, Local: true, OnlyAttached: true}, "AdministratorAccess b"},
		} {
			if got := all(test.scope, limit); got != test.want {
				t.Errorf("%+v by %d: %s, want %s", test.scope, limit, got, test.want)
			}
		}
	}
	_, _, err = h.ManagedPolicies(ctx, ours, identity.PolicyScope{AWS: true}, identity.Page{Marker: "x"})
	h.wants("a marker that is none", err, identity.ErrInvalid)

	for _, name := range strings.Fields(aws) {
		if a, ok := h.Managed("arn:aws:iam::aws:policy/" + name); !ok || a.Policy == nil || a.Name != name {
			t.Errorf("Managed(%s) = %+v, %t", name, a, ok)
		}
	}
	if _, ok := h.Managed(own[0]); ok {
		t.Error("a customer's policy is one of AWS's")
	}
	for action, want := range map[string]string{
		"kms:Decrypt": "allowed", "iam:CreateUser": "nothing", "iam:ListRoles": "allowed", "organizations:DescribeOrganization": "allowed", "account:ListRegions": "allowed",
	} {
		h.says("PowerUserAccess", action, want)
	}
}
