package identity_test

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/identity"
	"github.com/keyreeve/keyreeve/internal/record"
	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/internal/sigv4"
)

// TestPoliciesApply changes everything that alice's permissions come from, and
// looks at them after each change.
func TestPoliciesApply(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	h.says("nothing yet", "kms:Decrypt", "nothing")

	h.ok(h.PutInlinePolicy(ctx, aUser("alice"), "inline", allow("kms:Decrypt")))
	h.says("inline", "kms:Decrypt", "allowed")
	h.says("inline", "kms:Encrypt", "nothing")
	h.ok(h.PutInlinePolicy(ctx, aUser("alice"), "INLINE", allow("kms:Encrypt")))
	h.says("another text of the same name", "kms:Decrypt", "nothing")
	h.says("another text of the same name", "kms:Encrypt", "allowed")
	h.ok(h.DeleteInlinePolicy(ctx, aUser("alice"), "Inline"))
	h.says("deleted", "kms:Encrypt", "nothing")

	p := h.policy("managed", allow("kms:Decrypt"))
	h.ok(h.AttachPolicy(ctx, aUser("alice"), p))
	h.says("attached", "kms:Decrypt", "allowed")
	v2, err := h.CreatePolicyVersion(ctx, ours, p, allow("kms:Encrypt"), false)
	h.ok(err)
	h.says("a version that is not the default", "kms:Encrypt", "nothing")
	h.ok(h.SetDefaultPolicyVersion(ctx, ours, p, v2.ID))
	h.says("the default version", "kms:Encrypt", "allowed")
	h.says("the default version", "kms:Decrypt", "nothing")

	_, err = h.CreateGroup(ctx, identity.Group{Account: ours, Name: "staff"})
	h.ok(err)
	h.ok(h.AttachPolicy(ctx, aGroup("staff"), call.AdministratorAccess))
	h.says("not a member", "iam:GetUser", "nothing")
	h.ok(h.AddUserToGroup(ctx, ours, "staff", "alice"))
	h.says("a member", "iam:GetUser", "allowed")
	h.ok(h.UpdateGroup(ctx, ours, "staff", "crew", "/teams/"))
	h.says("a member of a group with another name", "iam:GetUser", "allowed")
	h.ok(h.PutInlinePolicy(ctx, aGroup("crew"), "no", deny("iam:GetUser")))
	h.says("the group's deny", "iam:GetUser", "denied")
	h.ok(h.DeleteInlinePolicy(ctx, aGroup("crew"), "no"))

	bound := h.policy("bound", allow("kms:*"))
	h.ok(h.SetBoundary(ctx, aUser("alice"), bound))
	h.says("within the boundary", "kms:Decrypt", "allowed")
	h.says("beyond the boundary", "iam:GetUser", "nothing")
	h.ok(h.DeleteBoundary(ctx, aUser("alice")))
	h.ok(h.DeleteBoundary(ctx, aUser("alice")))
	h.says("without a boundary", "iam:GetUser", "allowed")

	h.ok(h.RemoveUserFromGroup(ctx, ours, "crew", "alice"))
	h.says("not a member any more", "iam:GetUser", "nothing")
	h.ok(h.DetachPolicy(ctx, aUser("alice"), p))
	h.says("detached", "kms:Encrypt", "nothing")

	h.ok(h.TagEntity(ctx, aUser("alice"), []identity.Tag{{Name: "Team", Value: "a"}}))
	h.elsewhere("tags", h.key, "", func(p *call.Principal) string { return fmt.Sprint(p.Tags) }, "[{Team a}]")
	if got := fmt.Sprint(h.alice().Tags); got != "[{Team a}]" {
		t.Errorf("tags %s", got)
	}
	h.ok(h.UpdateUser(ctx, ours, "alice", "alina", "/x/"))
	if p := h.alice(); p.ARN != "arn:aws:iam::111122223333:user/x/alina" || p.Names.ARN != p.ARN || p.Name != "alina" {
		t.Errorf("after renaming: %+v", p)
	}
	h.elsewhere("renamed", h.key, "", func(p *call.Principal) string { return p.ARN }, "arn:aws:iam::111122223333:user/x/alina")
}

// TestBroken takes away and alters, underneath, what restricts alice.
func TestBroken(t *testing.T) {
	for _, test := range []struct {
		what string
		key  string // storage key that is deleted
		does func(h *house)
	}{
		{"an attached policy", "v1/policy/" + ours + "/no", func(h *house) {
			h.ok(h.AttachPolicy(h.t.Context(), aUser("alice"), h.policy("no", deny("kms:*"))))
		}},
		{"the boundary", "v1/policy/" + ours + "/no", func(h *house) {
			h.ok(h.SetBoundary(h.t.Context(), aUser("alice"), h.policy("no", allow("iam:*"))))
		}},
		{"a group", "v1/group/" + ours + "/staff", func(h *house) {
			_, err := h.CreateGroup(h.t.Context(), identity.Group{Account: ours, Name: "staff"})
			h.ok(err)
			h.ok(h.PutInlinePolicy(h.t.Context(), aGroup("staff"), "no", deny("kms:*")))
			h.ok(h.AddUserToGroup(h.t.Context(), ours, "staff", "alice"))
		}},
		{"a group's policy", "v1/policy/" + ours + "/no", func(h *house) {
			_, err := h.CreateGroup(h.t.Context(), identity.Group{Account: ours, Name: "staff"})
			h.ok(err)
			h.ok(h.AttachPolicy(h.t.Context(), aGroup("staff"), h.policy("no", deny("kms:*"))))
			h.ok(h.AddUserToGroup(h.t.Context(), ours, "staff", "alice"))
		}},
	} {
		t.Run(test.what, func(t *testing.T) {
			setup := func(t *testing.T) *house {
				h := newHouse(t)
				h.ok(h.AttachPolicy(t.Context(), aUser("alice"), call.AdministratorAccess))
				h.says("an administrator", "kms:Decrypt", "allowed")
				test.does(h)
				if got := may(h.alice(), "kms:Decrypt"); got == "allowed" {
					t.Fatal("nothing restricts alice")
				}
				return h
			}
			t.Run("missing", func(t *testing.T) {
				h := setup(t)
				h.remove(t, test.key)
				eventually(t, "broken", func() bool { return may(h.alice(), "kms:Decrypt") == "broken" })
				h.says("missing", "kms:Decrypt", "broken")
			})
			t.Run("altered", func(t *testing.T) {
				h := setup(t)
				h.damage(t, test.key)
				eventually(t, "broken", func() bool { return may(h.alice(), "kms:Decrypt") == "broken" })
				h.says("altered", "kms:Decrypt", "broken")
			})
			t.Run("another of the name", func(t *testing.T) {
				h := setup(t)
				h.remove(t, test.key)
				eventually(t, "gone", func() bool { return may(h.alice(), "kms:Decrypt") == "broken" })
				if strings.Contains(test.key, "/group/") {
					_, err := h.CreateGroup(t.Context(), identity.Group{Account: ours, Name: "staff"})
					h.ok(err)
				} else {
					h.policy("no", allow("*"))
				}
				h.says("another", "kms:Decrypt", "broken")
			})
		})
	}
}

// TestUnreadable: records of users themselves that are deleted or altered
// underneath leave nobody.
func TestUnreadable(t *testing.T) {
	h := newHouse(t)
	h.ok(h.AttachPolicy(t.Context(), aUser("alice"), call.AdministratorAccess))
	h.says("an administrator", "kms:Decrypt", "allowed")
	h.damage(t, "v1/user/"+ours+"/alice")
	eventually(t, "refused", func() bool {
		_, _, err := h.Credential(t.Context(), h.key, "")
		return errors.Is(err, record.ErrTampered)
	})
}

// TestNamesakes deletes and makes anew what others refer to.
func TestNamesakes(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	h.user("bob")
	bob := "arn:aws:iam::" + ours + ":user/bob"
	first, ok, err := h.Resolve(ctx, bob)
	if err != nil || !ok || !strings.HasPrefix(first, "AIDA") {
		t.Fatalf("Resolve = %q, %t, %v", first, ok, err)
	}
	r := h.role("worker", trusting(bob))
	if r.Trust != trusting(bob) {
		t.Errorf("trust policy %s", r.Trust)
	}
	h.ok(h.DeleteUser(ctx, ours, "bob"))
	if r, err := h.Role(ctx, ours, "worker"); err != nil || r.Trust != trusting(first) {
		t.Errorf("trust policy after the deletion: %s, %v", r.Trust, err)
	}
	second := h.user("bob")
	if second.ID == first {
		t.Error("a unique id was given again")
	}
	r, p, err := h.RoleByARN(ctx, r.ARN)
	h.ok(err)
	if r.Trust != trusting(first) {
		t.Errorf("trust policy with a namesake: %s", r.Trust)
	}
	k := h.accessKey("bob")
	caller := h.caller(k, "")
	if asked(p, caller, "sts:AssumeRole").Allow {
		t.Error("the namesake is trusted")
	}
	if _, err := h.ARNOf(ctx, first); !errors.Is(err, identity.ErrNotFound) {
		t.Errorf("ARNOf a deleted user: %v", err)
	}
	if _, ok, err := h.Resolve(ctx, first); ok || err != nil {
		t.Errorf("Resolve of a deleted user's id: %t, %v", ok, err)
	}
	// It cannot be saved like that again.
	h.wants("SetTrust with a dangling id", h.SetTrust(ctx, ours, "worker", r.Trust), identity.ErrMalformed)
	h.ok(h.SetTrust(ctx, ours, "worker", trusting(bob)))
	_, p, err = h.RoleByARN(ctx, r.ARN)
	h.ok(err)
	if !asked(p, caller, "sts:AssumeRole").Allow {
		t.Error("bob is not trusted")
	}
	// Bob under another name is bob.
	h.ok(h.UpdateUser(ctx, ours, "bob", "robert", ""))
	r, p, err = h.RoleByARN(ctx, r.ARN)
	h.ok(err)
	if want := trusting("arn:aws:iam::" + ours + ":user/robert"); r.Trust != want {
		t.Errorf("trust policy after renaming: %s", r.Trust)
	}
	if !asked(p, h.caller(k, ""), "sts:AssumeRole").Allow {
		t.Error("bob with another name is not trusted")
	}
}

func TestResolve(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	alice, err := h.User(ctx, ours, "alice")
	h.ok(err)
	_, err = h.CreateUser(ctx, identity.User{Account: ours, Name: "Carol", Path: "/a/b/"})
	h.ok(err)
	r := h.role("worker", trusting(ours))
	g, err := h.CreateGroup(ctx, identity.Group{Account: ours, Name: "staff"})
	h.ok(err)
	iam, sts := "arn:aws:iam::"+ours+":", "arn:aws:sts::"+ours+":"
	for _, test := range []struct {
		principal, id string
		ok            bool
	}{
		{iam + "user/alice", alice.ID, true},
		{alice.ID, alice.ID, true},
		{iam + "role/worker", r.ID, true},
		{r.ID, r.ID, true},
		{ours, "", true},
		{iam + "root", "", true},
		{sts + "assumed-role/worker/any-session", r.ID + ":any-session", true},
		{r.ID + ":any-session", r.ID + ":any-session", true},
		{sts + "federated-user/anybody", "", true},

		{iam + "user/Alice", "", false}, // matched in its case
		{iam + "user/Carol", "", false}, // without its path
		{iam + "user/a/carol", "", false},
		{iam + "user/nobody", "", false},
		{iam + "user/*", "", false},
		{iam + "group/staff", "", false},
		{g.ID, "", false},
		{"AIDAAAAAAAAAAAAAAAAAA", "", false},
		{"999999999999", "", false},
		{"arn:aws:iam::999999999999:root", "", false},
		{"arn:aws-cn:iam::" + ours + ":root", "", false},
		{"arn:aws:iam:us-east-1:" + ours + ":root", "", false},
		{"arn:aws:iam::" + theirs + ":user/alice", "", false},
		{sts + "assumed-role/nobody/session", "", false},
		{sts + "assumed-role/Worker/session", "", false},
		{sts + "assumed-role/worker", "", false},
		{sts + "assumed-role/worker/*", "", false},
		{r.ID + ":*", "", false},
		{alice.ID + ":any-session", "", false},
		{"AROAAAAAAAAAAAAAAAAA:any-session", "", false},
		{sts + "federated-user/x", "", false},
		{"*", "", false},
		{"", "", false},
		{"alice", "", false},
		{strings.Repeat("arn:", 1000), "", false},
	} {
		id, ok, err := h.Resolve(ctx, test.principal)
		if id != test.id || ok != test.ok || err != nil {
			t.Errorf("Resolve(%.80q) = %q, %t, %v, want %q, %t", test.principal, id, ok, err, test.id, test.ok)
		}
	}
	if arn, err := h.ARNOf(ctx, r.ID); err != nil || arn != r.ARN {
		t.Errorf("ARNOf = %s, %v", arn, err)
	}
	if arn, err := h.ARNOf(ctx, r.ID+":any-session"); err != nil || arn != sts+"assumed-role/worker/any-session" {
		t.Errorf("ARNOf of a session = %s, %v", arn, err)
	}
}

func TestTrustRefused(t *testing.T) {
	h := newHouse(t)
	for _, document := range []string{
		"", "{}", "no JSON",
		allow("sts:AssumeRole"), // names no principal
		trusting("arn:aws:iam::" + ours + ":user/nobody"),
		trusting("arn:aws:iam::" + ours + ":group/staff"),
		trusting("999999999999"),
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"no service"},"Action":"sts:AssumeRole"}]}`,
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"*"},"Action":"sts:AssumeRole","Resource":"*"}]}`,
	} {
		_, err := h.CreateRole(t.Context(), identity.Role{Account: ours, Name: "worker", Trust: document})
		var e *identity.Error
		if !errors.Is(err, identity.ErrMalformed) || !errors.As(err, &e) {
			t.Errorf("CreateRole with %s: %v, want ErrMalformed with a text", document, err)
		}
	}
	long := `{"Version":"2012-10-17","Statement":[{"Sid":"` + strings.Repeat("a", 2048) + `","Effect":"Allow","Principal":"*","Action":"sts:AssumeRole"}]}`
	_, err := h.CreateRole(t.Context(), identity.Role{Account: ours, Name: "worker", Trust: long})
	h.wants("a long trust policy", err, identity.ErrLimit)
	if _, err := h.Role(t.Context(), ours, "worker"); !errors.Is(err, identity.ErrNotFound) {
		t.Errorf("a refused role: %v", err)
	}
	for _, bad := range []identity.Role{
		{Name: "a b"},
		{Name: strings.Repeat("a", 65)},
		{Name: "a", Path: "x"},
		{Name: "a", MaxSession: time.Minute},
		{Name: "a", MaxSession: 13 * time.Hour},
		{Name: "a", Description: strings.Repeat("x", 1001)},
		{Name: "a", Policies: []string{"arn:aws:iam::aws:policy/Unknown"}},
		{Name: "a", Tags: []identity.Tag{{Name: "k", Value: "v"}, {Name: "K", Value: "v"}}},
	} {
		bad.Account, bad.Trust = ours, trusting(ours)
		_, err := h.CreateRole(t.Context(), bad)
		h.wants(fmt.Sprintf("CreateRole(%.60v)", bad), err, identity.ErrInvalid)
	}
}

func TestEntities(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	for i := range 7 {
		_, err := h.CreateUser(ctx, identity.User{Account: ours, Name: fmt.Sprintf("User%d", i), Path: []string{"/a/", "/b/"}[i%2]})
		h.ok(err)
	}
	var got []string
	page := identity.Page{PathPrefix: "/a", Limit: 3}
	for {
		list, next, err := h.Users(ctx, ours, page)
		h.ok(err)
		for _, u := range list {
			got = append(got, u.Name)
		}
		got = append(got, "|")
		if page.Marker = next; next == "" {
			break
		}
	}
	if s := strings.Join(got, " "); s != "User0 User2 User4 | User6 |" {
		t.Errorf("pages %s", s)
	}
	if _, _, err := h.Users(ctx, ours, identity.Page{Marker: strings.Repeat("x", 300)}); !errors.Is(err, identity.ErrInvalid) {
		t.Errorf("a long marker: %v", err)
	}
	h.damage(t, "v1/user/"+ours+"/user3")
	if list, _, err := h.Users(ctx, ours, identity.Page{}); err != nil || len(list) != 7 { // alice and six
		t.Errorf("%d users, %v", len(list), err)
	}

	h.wants("a name taken", h.UpdateUser(ctx, ours, "user0", "USER2", ""), identity.ErrExists)
	h.ok(h.UpdateUser(ctx, ours, "user0", "USER0", "")) // in another case
	if u, err := h.User(ctx, ours, "user0"); err != nil || u.Name != "USER0" || u.Path != "/a/" {
		t.Errorf("User = %+v, %v", u, err)
	}
	h.wants("no such user", h.UpdateUser(ctx, ours, "nobody", "x", ""), identity.ErrNotFound)
	h.wants("a bad name", h.UpdateUser(ctx, ours, "user0", "a b", ""), identity.ErrInvalid)
	h.wants("a bad path", h.UpdateUser(ctx, ours, "user0", "", "a"), identity.ErrInvalid)

	r := h.role("worker", trusting(ours))
	if !regexp.MustCompile(`^AROA[A-Z2-7]{17}$`).MatchString(r.ID) || r.ARN != "arn:aws:iam::111122223333:role/worker" || r.MaxSession != time.Hour {
		t.Errorf("role %+v", r)
	}
	text, long := "does work", 2*time.Hour
	h.ok(h.UpdateRole(ctx, ours, "WORKER", identity.RoleUpdate{Description: &text, MaxSession: &long}))
	if r, err := h.Role(ctx, ours, "worker"); err != nil || r.Description != text || r.MaxSession != long {
		t.Errorf("Role = %+v, %v", r, err)
	}
	if _, _, err := h.RoleByARN(ctx, "arn:aws:iam::111122223333:role/Worker"); !errors.Is(err, identity.ErrNotFound) {
		t.Errorf("RoleByARN in another case: %v", err)
	}
	if list, _, err := h.Roles(ctx, ours, identity.Page{}); err != nil || len(list) != 1 || list[0].ID != r.ID {
		t.Errorf("Roles = %v, %v", list, err)
	}

	g, err := h.CreateGroup(ctx, identity.Group{Account: ours, Name: "staff"})
	h.ok(err)
	if !regexp.MustCompile(`^AGPA[A-Z2-7]{17}$`).MatchString(g.ID) || g.ARN != "arn:aws:iam::111122223333:group/staff" {
		t.Errorf("group %+v", g)
	}
	if list, _, err := h.Groups(ctx, ours, identity.Page{PathPrefix: "/"}); err != nil || len(list) != 1 || list[0] != g {
		t.Errorf("Groups = %v, %v", list, err)
	}
	if got, err := h.Group(ctx, ours, "STAFF"); err != nil || got != g {
		t.Errorf("Group = %v, %v", got, err)
	}
	if got, err := h.UserByID(ctx, g.ID); !errors.Is(err, identity.ErrNotFound) {
		t.Errorf("UserByID of a group = %v, %v", got, err)
	}
	for _, name := range []string{"alice", "user2", "alice"} {
		h.ok(h.AddUserToGroup(ctx, ours, "staff", name))
	}
	members, next, err := h.GroupMembers(ctx, ours, "staff", identity.Page{Limit: 1})
	if err != nil || len(members) != 1 || members[0].Name != "alice" || next == "" {
		t.Errorf("members %v, %q, %v", members, next, err)
	}
	members, next, err = h.GroupMembers(ctx, ours, "staff", identity.Page{Limit: 1, Marker: next})
	if err != nil || len(members) != 1 || members[0].Name != "User2" || next != "" {
		t.Errorf("members %v, %q, %v", members, next, err)
	}
	if groups, err := h.UserGroups(ctx, ours, "alice"); err != nil || len(groups) != 1 || groups[0].ID != g.ID {
		t.Errorf("groups %v, %v", groups, err)
	}
	h.wants("a group with members", h.DeleteGroup(ctx, ours, "staff"), identity.ErrConflict)
	h.wants("a user in a group", h.DeleteUser(ctx, ours, "user2"), identity.ErrConflict)
	h.wants("not a member", h.RemoveUserFromGroup(ctx, ours, "staff", "user4"), identity.ErrNotFound)
	h.ok(h.RemoveUserFromGroup(ctx, ours, "staff", "alice"))
	// The last member is taken away underneath; the group can still be deleted.
	h.remove(t, "v1/user/"+ours+"/user2")
	h.ok(h.DeleteGroup(ctx, ours, "staff"))

	s, err := h.Summary(ctx, ours)
	if want := (identity.Summary{Users: 7, Roles: 1}); err != nil || s != want {
		t.Errorf("Summary = %+v, %v, want %+v", s, err, want)
	}
}

func TestDeleteConflicts(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	p := h.policy("p", allow("kms:*"))
	for _, e := range []identity.Entity{aUser("bob"), aGroup("staff"), aRole("worker")} {
		remove := func() error {
			switch e.Kind {
			case identity.UserEntity:
				return h.DeleteUser(ctx, ours, e.Name)
			case identity.GroupEntity:
				return h.DeleteGroup(ctx, ours, e.Name)
			default:
				return h.DeleteRole(ctx, ours, e.Name)
			}
		}
		h.wants("none", remove(), identity.ErrNotFound)
		switch e.Kind {
		case identity.UserEntity:
			h.user(e.Name)
		case identity.GroupEntity:
			_, err := h.CreateGroup(ctx, identity.Group{Account: ours, Name: e.Name})
			h.ok(err)
		default:
			h.role(e.Name, trusting(ours))
		}
		h.ok(h.PutInlinePolicy(ctx, e, "i", allow("kms:*")))
		h.wants("with an inline policy", remove(), identity.ErrConflict)
		h.ok(h.DeleteInlinePolicy(ctx, e, "i"))
		h.ok(h.AttachPolicy(ctx, e, p))
		h.wants("with a policy attached", remove(), identity.ErrConflict)
		h.wants("a policy that is attached", h.DeletePolicy(ctx, ours, p), identity.ErrConflict)
		h.ok(h.DetachPolicy(ctx, e, p))
		if e.Kind != identity.GroupEntity {
			h.ok(h.SetBoundary(ctx, e, p))
			h.wants("a policy that is a boundary", h.DeletePolicy(ctx, ours, p), identity.ErrConflict)
		} else if err := h.SetBoundary(ctx, e, p); !errors.Is(err, identity.ErrInvalid) {
			t.Errorf("a group's boundary: %v", err)
		}
		if e.Kind == identity.UserEntity {
			k := h.accessKey(e.Name)
			h.wants("with an access key", remove(), identity.ErrConflict)
			h.ok(h.DeleteAccessKey(ctx, k))
		}
		h.ok(remove()) // the boundary goes along
		h.wants("gone", remove(), identity.ErrNotFound)
	}
	if v, err := h.Policy(ctx, ours, p); err != nil || v.Attachments != 0 || v.Boundaries != 0 {
		t.Errorf("Policy = %+v, %v", v, err)
	}
	h.ok(h.DeletePolicy(ctx, ours, p))
}

func TestLimits(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	var arns []string
	for i := range 11 {
		arns = append(arns, h.policy(fmt.Sprintf("p%d", i), allow("kms:*")))
	}
	for i, arn := range arns {
		err := h.AttachPolicy(ctx, aUser("alice"), arn)
		if i < 10 {
			h.ok(err)
		} else {
			h.wants("an eleventh policy", err, identity.ErrLimit)
		}
	}
	h.ok(h.AttachPolicy(ctx, aUser("alice"), arns[0])) // it is
	for i := range 11 {
		name := fmt.Sprintf("g%d", i)
		_, err := h.CreateGroup(ctx, identity.Group{Account: ours, Name: name})
		h.ok(err)
		if err := h.AddUserToGroup(ctx, ours, name, "alice"); i < 10 {
			h.ok(err)
		} else {
			h.wants("an eleventh group", err, identity.ErrLimit)
		}
	}
	var tags []identity.Tag
	for i := range 50 {
		tags = append(tags, identity.Tag{Name: fmt.Sprintf("key%d", i)})
	}
	h.ok(h.TagEntity(ctx, aUser("alice"), tags))
	h.wants("51 tags", h.TagEntity(ctx, aUser("alice"), []identity.Tag{{Name: "one more"}}), identity.ErrLimit)
	h.ok(h.TagEntity(ctx, aUser("alice"), []identity.Tag{{Name: "KEY0", Value: "new"}}))
	if u, err := h.User(ctx, ours, "alice"); err != nil || len(u.Tags) != 50 || u.Tags[0] != (identity.Tag{Name: "KEY0", Value: "new"}) {
		t.Errorf("tags %v, %v", u.Tags, err)
	}
	h.ok(h.UntagEntity(ctx, aUser("alice"), []string{"kEy0", "unknown"}))
	for _, bad := range []identity.Tag{{}, {Name: "aws:x"}, {Name: "AWS:x"}, {Name: strings.Repeat("k", 129)}, {Name: "k", Value: strings.Repeat("v", 257)}, {Name: "k\n"}, {Name: "k", Value: "a*b"}} {
		h.wants(fmt.Sprintf("tag %.20q", bad), h.TagEntity(ctx, aUser("alice"), []identity.Tag{bad}), identity.ErrInvalid)
	}

	// Sizes are counted without white space, and together.
	sized := func(n int) string {
		text := strings.Replace(allow("kms:*"), `{"Effect"`, `{"Sid":"`+strings.Repeat("x", n)+`","Effect"`, 1)
		return strings.Replace(text, ",", ",\n   \t", 1)
	}
	base := len(allow("kms:*")) + len(`"Sid":"",`)
	h.ok(h.PutInlinePolicy(ctx, aUser("alice"), "a", sized(1024-base)))
	h.ok(h.PutInlinePolicy(ctx, aUser("alice"), "b", sized(1024-base)))
	h.wants("more than 2,048 characters", h.PutInlinePolicy(ctx, aUser("alice"), "b", sized(1025-base)), identity.ErrLimit)
	if text, err := h.InlinePolicy(ctx, aUser("alice"), "B"); err != nil || text != sized(1024-base) {
		t.Errorf("InlinePolicy = %q, %v", text, err)
	}
	_, err := h.InlinePolicy(ctx, aUser("alice"), "c")
	h.wants("no inline policy", err, identity.ErrNotFound)
	h.wants("no inline policy", h.DeleteInlinePolicy(ctx, aUser("alice"), "c"), identity.ErrNotFound)
	if list, err := h.InlinePolicies(ctx, aUser("alice")); err != nil || fmt.Sprint(list) != "[a b]" {
		t.Errorf("InlinePolicies = %v, %v", list, err)
	}
	_, err = h.CreatePolicy(ctx, identity.ManagedPolicy{Account: ours, Name: "long"}, sized(6144-base))
	h.ok(err)
	_, err = h.CreatePolicy(ctx, identity.ManagedPolicy{Account: ours, Name: "longer"}, sized(6145-base))
	h.wants("more than 6,144 characters", err, identity.ErrLimit)
	h.wants("no policy", h.PutInlinePolicy(ctx, aUser("alice"), "c", `{"Statement":`), identity.ErrMalformed)
	h.wants("a name", h.PutInlinePolicy(ctx, aUser("alice"), "a b", allow("*")), identity.ErrInvalid)
	h.wants("nobody's", h.PutInlinePolicy(ctx, aUser("nobody"), "a", allow("*")), identity.ErrNotFound)
	h.wants("of no kind", h.PutInlinePolicy(ctx, identity.Entity{Kind: 9, Account: ours, Name: "a"}, "a", allow("*")), identity.ErrInvalid)

	for i := range 300 - 11 {
		_, err := h.CreateGroup(ctx, identity.Group{Account: ours, Name: fmt.Sprintf("more%d", i)})
		h.ok(err)
	}
	_, err = h.CreateGroup(ctx, identity.Group{Account: ours, Name: "one-more"})
	h.wants("301 groups", err, identity.ErrLimit)
}

// TestRaces lets many change the same things at once.
func TestRaces(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	p := h.policy("p", allow("kms:*"))
	dirs := []*identity.Directory{h.Directory, h.other}
	each := func(n int, f func(i int, d *identity.Directory) error) (done int64) {
		var wg sync.WaitGroup
		var count atomic.Int64
		for i := range n {
			wg.Go(func() {
				for {
					err := f(i, dirs[i%len(dirs)])
					if errors.Is(err, identity.ErrConcurrent) {
						continue
					}
					if err == nil {
						count.Add(1)
					}
					return
				}
			})
		}
		wg.Wait()
		return count.Load()
	}
	for i := range 8 {
		h.user(fmt.Sprintf("u%d", i))
	}
	each(8, func(i int, d *identity.Directory) error { return d.AttachPolicy(ctx, aUser(fmt.Sprintf("u%d", i)), p) })
	if v, err := h.Policy(ctx, ours, p); err != nil || v.Attachments != 8 {
		t.Errorf("%d attachments, %v, want 8", v.Attachments, err)
	}
	in, err := h.PolicyEntities(ctx, ours, p)
	if err != nil || len(in.Attached) != 8 || len(in.Boundaries) != 0 {
		t.Errorf("PolicyEntities = %+v, %v", in, err)
	}

	// Detaching against attaching again against deleting the policy: whatever
	// comes out, nobody refers to what is not there.
	for round := range 5 {
		each(9, func(i int, d *identity.Directory) error {
			if i == 8 {
				return d.DeletePolicy(ctx, ours, p)
			}
			e := aUser(fmt.Sprintf("u%d", i))
			if err := d.DetachPolicy(ctx, e, p); errors.Is(err, identity.ErrConcurrent) {
				return err
			}
			if i >= round {
				return nil
			}
			if err := d.AttachPolicy(ctx, e, p); errors.Is(err, identity.ErrConcurrent) {
				return err
			}
			return nil
		})
		_, err := h.Policy(ctx, ours, p)
		gone := errors.Is(err, identity.ErrNotFound)
		attached := 0
		for i := range 8 {
			list, err := h.AttachedPolicies(ctx, aUser(fmt.Sprintf("u%d", i)))
			h.ok(err)
			attached += len(list)
		}
		if gone && attached > 0 {
			t.Fatalf("round %d: the policy is gone, and %d refer to it", round, attached)
		}
		if gone {
			h.policy("p", allow("kms:*"))
		}
	}

	// One name, once.
	if n := each(8, func(i int, d *identity.Directory) error {
		_, err := d.CreateUser(ctx, identity.User{Account: ours, Name: []string{"Same", "same"}[i%2]})
		return err
	}); n != 1 {
		t.Errorf("%d users of one name", n)
	}
	// Tags by many, none lost.
	each(10, func(i int, d *identity.Directory) error {
		return d.TagEntity(ctx, aUser("same"), []identity.Tag{{Name: fmt.Sprint("t", i)}})
	})
	if u, err := h.User(ctx, ours, "same"); err != nil || len(u.Tags) != 10 {
		t.Errorf("tags %v, %v", u.Tags, err)
	}
	// Joining against deleting the group.
	for round := range 5 {
		name := fmt.Sprint("g", round)
		_, err := h.CreateGroup(ctx, identity.Group{Account: ours, Name: name})
		h.ok(err)
		each(4, func(i int, d *identity.Directory) error {
			if i == 0 {
				return d.DeleteGroup(ctx, ours, name)
			}
			return d.AddUserToGroup(ctx, ours, name, fmt.Sprint("u", i))
		})
		g, err := h.Group(ctx, ours, name)
		if err == nil {
			for i := range 8 {
				_ = h.RemoveUserFromGroup(ctx, ours, g.Name, fmt.Sprint("u", i))
			}
			h.ok(h.DeleteGroup(ctx, ours, g.Name))
		}
		for i := range 8 {
			u, err := h.User(ctx, ours, fmt.Sprint("u", i))
			h.ok(err)
			if len(u.Groups) > 0 {
				t.Fatalf("%s is in a group that is gone", u.Name)
			}
		}
	}
	// Versions.
	if n := each(8, func(_ int, d *identity.Directory) error {
		_, err := d.CreatePolicyVersion(ctx, ours, p, allow("kms:*"), false)
		return err
	}); n != 4 {
		t.Errorf("%d versions beside the first, want 4", n)
	}
	// Renaming to one name.
	if n := each(6, func(i int, d *identity.Directory) error {
		return d.UpdateUser(ctx, ours, fmt.Sprint("u", i), "chosen", "")
	}); n != 1 {
		t.Errorf("%d users were renamed to one name", n)
	}
}

func TestRootKeys(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	k, err := h.CreateAccessKey(ctx, ours, "", "", secret.Bytes{})
	h.ok(err)
	p := h.caller(k.ID, "")
	root := "arn:aws:iam::" + ours + ":root"
	if p.Kind != call.Root || p.ARN != root || p.ID != ours || p.Name != "" || p.EntityARN != root || p.EntityID != "" || !p.Names.Root || p.Names.ARN != root || p.Names.Account != ours {
		t.Errorf("root = %+v", p)
	}
	if _, err := h.CreateAccessKey(ctx, ours, "", "", secret.Bytes{}); err != nil {
		t.Error(err)
	}
	_, err = h.CreateAccessKey(ctx, ours, "", "", secret.Bytes{})
	h.wants("a third key", err, identity.ErrLimit)
	if keys, err := h.AccessKeys(ctx, ours, ""); err != nil || len(keys) != 2 || keys[0].ID != k.ID || keys[0].Secret.Len() != 0 {
		t.Errorf("AccessKeys = %v, %v", keys, err)
	}
	h.ok(h.SetAccessKeyActive(ctx, k.ID, false))
	h.wants("inactive", h.works(k.ID), sigv4.ErrUnrecognizedClient)
	h.ok(h.DeleteAccessKey(ctx, k.ID))
	if a, err := h.Account(ctx, ours); err != nil || slices.Contains(a.AccessKeys, k.ID) || len(a.AccessKeys) != 1 {
		t.Errorf("Account = %+v, %v", a, err)
	}
	for id, want := range map[string]string{h.key: ours, "AKIAIOSFODNN7EXAMPLE": "", "short": "", "ASIAAAAAAAAAAAAAAAAA": ""} {
		if got, err := h.AccountOfAccessKey(ctx, id); got != want || (err == nil) != (want != "") {
			t.Errorf("AccountOfAccessKey(%s) = %q, %v", id, got, err)
		}
	}
}
