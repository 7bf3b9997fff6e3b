package identity_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/identity"
	"github.com/keyreeve/keyreeve/internal/record"
	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/internal/store"
)

// TestFaults lets the commit of each change fail, or its answer get lost: a
// change happens wholly or not at all, and what is answered is what happened.
func TestFaults(t *testing.T) {
	ctx := t.Context()
	policyARN := "arn:aws:iam::" + ours + ":policy/p"
	changes := map[string]func(*house) error{
		"CreateUser": func(h *house) error {
			_, err := h.CreateUser(ctx, identity.User{Account: ours, Name: "new", Policies: []string{policyARN}, Boundary: policyARN})
			return err
		},
		"UpdateUser":      func(h *house) error { return h.UpdateUser(ctx, ours, "alice", "alina", "/x/") },
		"DeleteUser":      func(h *house) error { return h.DeleteUser(ctx, ours, "bob") },
		"CreateAccessKey": func(h *house) error { _, err := h.CreateAccessKey(ctx, ours, "bob", "", secret.Bytes{}); return err },
		"DeleteAccessKey": func(h *house) error { return h.DeleteAccessKey(ctx, h.key) },
		"AttachPolicy":    func(h *house) error { return h.AttachPolicy(ctx, aUser("bob"), policyARN) },
		"SetBoundary":     func(h *house) error { return h.SetBoundary(ctx, aUser("alice"), call.AdministratorAccess) },
		"AddUserToGroup":  func(h *house) error { return h.AddUserToGroup(ctx, ours, "staff", "bob") },
		"UpdateGroup":     func(h *house) error { return h.UpdateGroup(ctx, ours, "staff", "crew", "") },
		"SetTrust":        func(h *house) error { return h.SetTrust(ctx, ours, "worker", trusting(theirs)) },
		"PlaceAccount":    func(h *house) error { return h.PlaceAccount(ctx, ours, org, root) },
		"CreateUnit": func(h *house) error {
			_, err := h.CreateUnit(ctx, identity.Unit{Organization: org, Name: "new", Parent: root})
			return err
		},
		"RenameUnit":  func(h *house) error { return h.RenameUnit(ctx, org, unitTwo, "new") },
		"MoveAccount": func(h *house) error { return h.MoveAccount(ctx, org, ours, unitTwo, unitOne) },
		"RequestAccount": func(h *house) error {
			_, err := h.RequestAccount(ctx, identity.AccountRequest{Organization: org, Email: "new@example.com", Name: "new"})
			return err
		},
		"SettleAccountRequests":    func(h *house) error { return h.SettleAccountRequests(ctx) },
		"CloseAccount":             func(h *house) error { return h.CloseAccount(ctx, org, ours) },
		"RemoveAccount":            func(h *house) error { return h.RemoveAccount(ctx, org, ours) },
		"AttachOrganizationPolicy": func(h *house) error { return h.AttachOrganizationPolicy(ctx, org, "p-denykms1", ours) },
		"DeleteOrganizationPolicy": func(h *house) error { return h.DeleteOrganizationPolicy(ctx, org, "p-denykms1") },
		"EnablePolicyType":         func(h *house) error { return h.EnablePolicyType(ctx, org, identity.ResourceControlPolicy) },
	}
	setup := func(t *testing.T) *house {
		h := organized(t)
		h.user("bob")
		h.policy("p", allow("kms:*"))
		h.ok(h.SetBoundary(ctx, aUser("alice"), policyARN))
		_, err := h.CreateGroup(ctx, identity.Group{Account: ours, Name: "staff"})
		h.ok(err)
		h.ok(h.AddUserToGroup(ctx, ours, "staff", "alice"))
		h.role("worker", trusting(ours))
		h.control("p-denykms1", identity.ServiceControlPolicy, deny("kms:*"))
		h.ok(h.DisablePolicyType(ctx, org, identity.ResourceControlPolicy))
		_, err = h.RequestAccount(ctx, identity.AccountRequest{Organization: org, Email: "a@example.com", Name: "a"})
		h.ok(err)
		return h
	}
	records := func(h *house) string {
		kvs, _, err := h.st.Range(ctx, "v1/", "", 1000)
		h.ok(err)
		all := ""
		for _, kv := range kvs {
			all += fmt.Sprintf("%s %d\n", kv.Key, kv.Rev)
		}
		return all
	}
	broken := errors.New("the disk is broken")
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			h := setup(t)
			before := records(h)
			h.st.spoil = func(func() (store.Rev, bool, error)) (store.Rev, bool, error) { return 0, false, broken }
			h.wants("a failing disk", change(h), broken)
			h.st.spoil = nil
			if after := records(h); after != before {
				t.Errorf("a change that failed has changed something:\n%s\n%s", before, after)
			}
			h.st.spoil = func(commit func() (store.Rev, bool, error)) (store.Rev, bool, error) {
				if _, ok, err := commit(); !ok || err != nil {
					return 0, ok, err
				}
				return 0, false, broken
			}
			err := change(h)
			if name == "DeleteUser" || name == "DeleteOrganizationPolicy" {
				// Nothing that stands there shows who has deleted it.
				h.wants("a lost answer to mere deletions", err, record.ErrUnsettled)
			} else {
				h.ok(err)
			}
			h.st.spoil = nil
			if records(h) == before {
				t.Error("nothing has changed")
			}
		})
	}
}
