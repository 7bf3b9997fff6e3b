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
			if name == "DeleteUser" {
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
