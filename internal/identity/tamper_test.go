package identity_test

import (
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/identity"
	"github.com/keyreeve/keyreeve/internal/record"
	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/internal/store"
)

// TestTampering deletes, alters, moves and exchanges records of the store, one
// and two at a time, and looks from a node that knows nothing of before: access
// can be taken away like this, never given.
func TestTampering(t *testing.T) {
	h := organized(t)
	ctx := t.Context()
	// Each of these keeps somebody from something in another way.
	h.ok(h.PutInlinePolicy(ctx, aUser("alice"), "inline", deny("kms:Sign")))
	h.ok(h.AttachPolicy(ctx, aUser("alice"), h.policy("managed", deny("kms:Verify"))))
	h.ok(h.SetBoundary(ctx, aUser("alice"), h.policy("boundary", allow("kms:*"))))
	_, err := h.CreateGroup(ctx, identity.Group{Account: ours, Name: "staff"})
	h.ok(err)
	h.ok(h.PutInlinePolicy(ctx, aGroup("staff"), "inline", deny("kms:GetKeyPolicy")))
	h.ok(h.AttachPolicy(ctx, aGroup("staff"), h.policy("of-the-group", deny("kms:ListKeys"))))
	h.ok(h.AddUserToGroup(ctx, ours, "staff", "alice"))
	h.ok(h.UpdateGroup(ctx, ours, "staff", "crew", ""))
	h.control("p-ofthe_root", identity.ServiceControlPolicy, deny("kms:CreateKey"))
	h.ok(h.AttachOrganizationPolicy(ctx, org, "p-ofthe_root", root))
	h.control("p-ofthe_unit", identity.ServiceControlPolicy, deny("kms:DisableKey"))
	h.ok(h.AttachOrganizationPolicy(ctx, org, "p-ofthe_unit", unitTwo))
	h.control("p-ofaccount", identity.ServiceControlPolicy, deny("kms:EnableKey"))
	h.ok(h.AttachOrganizationPolicy(ctx, org, "p-ofaccount", ours))
	h.user("bob") // who may nothing
	inactive, err := h.CreateAccessKey(ctx, ours, "alice", "", secret.Bytes{})
	h.ok(err)
	h.ok(h.SetAccessKeyActive(ctx, inactive.ID, false))
	r := h.role("worker", trusting("arn:aws:iam::"+ours+":user/alice"))
	h.ok(h.AttachPolicy(ctx, aRole("worker"), call.AdministratorAccess))
	limited := h.session(h.assume(r, func(p *identity.SessionParams) {
		p.PolicyARNs = []string{h.policy("of-the-session", allow("kms:Decrypt"))}
	}))
	revoked := h.session(h.assume(r, nil))
	h.clock.advance(1)
	h.clock.advance(1e9)
	h.ok(h.RevokeSessions(ctx, aRole("worker"), h.clock.now()))
	limitedLater := h.session(h.assume(r, func(p *identity.SessionParams) { p.Policy = allow("kms:Decrypt") }))
	rootKey, err := h.CreateAccessKey(ctx, ours, "", "", secret.Bytes{})
	h.ok(err)

	credentials := [][2]string{
		{h.key, ""},
		{h.accessKey("bob"), ""},
		{inactive.ID, ""},
		{rootKey.ID, ""},
		{limited.AccessKeyID, limited.Token},
		{revoked.AccessKeyID, revoked.Token},
		{limitedLater.AccessKeyID, limitedLater.Token},
	}
	actions := []string{
		"kms:Decrypt", "kms:Sign", "kms:Verify", "kms:GetKeyPolicy", "kms:ListKeys", "kms:CreateKey", "kms:DisableKey", "kms:EnableKey", "iam:CreateUser",
	}
	// access returns what can be done from a node on these records, as
	// "credential/action".
	access := func(kvs map[string][]byte) map[string]bool {
		st := store.NewMem()
		defer st.Close()
		for key, val := range kvs {
			if _, ok, err := st.Commit(ctx, nil, []store.Op{{Key: key, Val: val}}); err != nil || !ok {
				t.Fatal(ok, err)
			}
		}
		quiet := slog.New(slog.DiscardHandler)
		rs, err := record.Open(ctx, st, h.box, record.Options{Log: quiet})
		h.ok(err)
		defer rs.Close()
		d := identity.Open(rs, identity.Options{Now: h.clock.now, Log: quiet})
		can := make(map[string]bool)
		for i, c := range credentials {
			p, _, err := d.Credential(ctx, c[0], c[1])
			if err != nil {
				continue
			}
			for _, action := range actions {
				got := may(p, action)
				if p.Kind == call.Root {
					got = may(everything(d, p), action)
				}
				if got == "allowed" {
					can[fmt.Sprint(i, "/", action)] = true
				}
			}
		}
		if _, trust, err := d.RoleByARN(ctx, r.ARN); err == nil && trust != nil {
			for i, c := range credentials[:2] {
				if p, _, err := d.Credential(ctx, c[0], c[1]); err == nil && asked(trust, p, "sts:AssumeRole").Allow {
					can[fmt.Sprint(i, "/trusted")] = true
				}
			}
		}
		return can
	}

	all := make(map[string][]byte)
	var keys []string
	kvs, _, err := h.st.Range(ctx, "v1/", "", 1000)
	h.ok(err)
	for _, kv := range kvs {
		if !strings.HasPrefix(kv.Key, "v1/sys/") {
			keys = append(keys, kv.Key)
		}
		all[kv.Key] = kv.Val
	}
	before := access(all)
	var count int
	check := func(what string, kvs map[string][]byte) {
		count++
		for can := range access(kvs) {
			if !before[can] {
				t.Errorf("%s gives %s", what, can)
			}
		}
	}
	if !before["0/kms:Decrypt"] || !before["0/trusted"] || !before["6/kms:Decrypt"] || !before["3/iam:CreateUser"] {
		t.Fatalf("access before: %v", slices.Sorted(maps.Keys(before)))
	}
	if before["0/kms:Sign"] || before["0/kms:Verify"] || before["0/iam:CreateUser"] || before["0/kms:GetKeyPolicy"] || before["0/kms:ListKeys"] ||
		before["0/kms:CreateKey"] || before["0/kms:DisableKey"] || before["0/kms:EnableKey"] || before["3/kms:EnableKey"] || before["1/trusted"] || before["6/kms:Sign"] || before["5/kms:Decrypt"] {
		t.Fatalf("too much access before: %v", slices.Sorted(maps.Keys(before)))
	}
	for i, one := range keys {
		without := maps.Clone(all)
		delete(without, one)
		check("deleting "+one, without)

		altered := maps.Clone(all)
		altered[one] = slices.Clone(all[one])
		altered[one][len(altered[one])-1] ^= 1
		check("altering "+one, altered)

		for _, other := range keys[:i] {
			both := maps.Clone(without)
			delete(both, other)
			check("deleting "+one+" and "+other, both)
			exchanged := maps.Clone(all)
			exchanged[one], exchanged[other] = all[other], all[one]
			check("exchanging "+one+" and "+other, exchanged)
		}
	}
	if len(keys) < 20 || count < 400 {
		t.Errorf("%d records, %d ways", len(keys), count)
	}
}

// everything returns the principal of a root user with a policy that allows
// everything, which it does not need.
func everything(d *identity.Directory, p *call.Principal) *call.Principal {
	q := *p
	administrator, _ := d.Managed(call.AdministratorAccess)
	q.Policies.Identity = []call.Attached{administrator}
	return &q
}
