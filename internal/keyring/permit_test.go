package keyring_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/authz"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/keyring"
	"github.com/keyreeve/keyreeve/internal/secret"
)

func TestOpenWantsThePermit(t *testing.T) {
	g := newRig(t, nil, keyring.Options{})
	m := g.create(t, keyring.SymmetricDefault, keyring.EncryptDecrypt)
	other := g.create(t, keyring.SymmetricDefault, keyring.EncryptDecrypt)
	s, err := g.ring.Find(t.Context(), account, region, m.ID)
	if err != nil {
		t.Fatal(err)
	}
	o, err := g.ring.Find(t.Context(), account, region, other.ID)
	if err != nil {
		t.Fatal(err)
	}
	c := newCall()
	good := permit(t, c, "kms:Encrypt", s.Resource())
	if _, err := g.ring.Open(t.Context(), c, good); err != nil {
		t.Fatalf("Open: %v", err)
	}
	stale := s.Resource()
	stale.Revision--
	elsewhere := s.Resource()
	elsewhere.ARN = "arn:aws-cn:kms:" + region + ":" + account + ":key/" + m.ID
	missing := s.Resource()
	missing.ARN = "arn:aws:kms:" + region + ":" + account + ":key/33333333-3333-4333-8333-333333333333"
	system := authz.System("test").Permit("kms:Encrypt", s.Resource())
	for _, tt := range []struct {
		name string
		got  error
		want error
	}{
		{"zero permit", second(g.ring.Open(t.Context(), c, authz.Permit{})), authz.ErrNoPermit},
		{"zero permit, no call", second(g.ring.Open(t.Context(), nil, authz.Permit{})), authz.ErrNoPermit},
		{"another call", second(g.ring.Open(t.Context(), newCall(), good)), authz.ErrNoPermit},
		{"no call", second(g.ring.Open(t.Context(), nil, good)), authz.ErrNoPermit},
		{"the system's in a call", second(g.ring.Open(t.Context(), c, system)), authz.ErrNoPermit},
		{"an action on no key", second(g.ring.Open(t.Context(), c, permit(t, c, "kms:ListKeys", s.Resource()))), authz.ErrNoPermit},
		{"an unknown action", second(g.ring.Open(t.Context(), c, permit(t, c, "kms:Everything", s.Resource()))), authz.ErrNoPermit},
		{"another partition", second(g.ring.Open(t.Context(), c, permit(t, c, "kms:Encrypt", elsewhere))), authz.ErrNoPermit},
		{"any resource", second(g.ring.Open(t.Context(), c, permit(t, c, "kms:Encrypt", anyResource()))), authz.ErrNoPermit},
		{"an alias", second(g.ring.Open(t.Context(), c, g.aliasPermit(t, c, "kms:Encrypt", "alias/a"))), authz.ErrNoPermit},
		{"a key that is not there", second(g.ring.Open(t.Context(), c, permit(t, c, "kms:Encrypt", missing))), keyring.ErrNotFound},
		{"another revision", second(g.ring.Open(t.Context(), c, permit(t, c, "kms:Encrypt", stale))), keyring.ErrStale},
		{"the system's", second(g.ring.Open(t.Context(), nil, system)), nil},
	} {
		if !errors.Is(tt.got, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, tt.got, tt.want)
		}
	}
	// A permit opens its own key, whatever other there is.
	k, err := g.ring.Open(t.Context(), c, permit(t, c, "kms:Encrypt", o.Resource()))
	if err != nil || k.Metadata().ID != other.ID {
		t.Errorf("the other key: %v", err)
	}
	// A change makes permits, and keys opened before, stale.
	before := g.mustOpen(t, m.ID, "kms:Encrypt")
	if err := g.mustOpen(t, m.ID, "kms:UpdateKeyDescription").SetDescription(t.Context(), "new"); err != nil {
		t.Fatal(err)
	}
	if _, err := g.ring.Open(t.Context(), c, good); !errors.Is(err, keyring.ErrStale) {
		t.Errorf("Open after a change: %v, want ErrStale", err)
	}
	if _, err := before.Encrypt(t.Context(), keyring.AlgorithmSymmetricDefault, []byte("x"), nil); !errors.Is(err, keyring.ErrStale) {
		t.Errorf("Encrypt after a change: %v, want ErrStale", err)
	}
}

func second[T any](_ T, err error) error { return err }

func third2[T, U any](_ T, _ U, err error) error { return err }

// methods calls every method of a key that a permit is needed for.
func methods(t *testing.T, g *rig, k keyring.Key) map[string]error {
	var none authz.Permit
	ctx, here := t.Context(), newCall()
	third := func(_ secret.Bytes, _ string, err error) error { return err }
	return map[string]error{
		"Encrypt":             second(k.Encrypt(ctx, keyring.AlgorithmSymmetricDefault, []byte("x"), nil)),
		"Decrypt":             third(k.Decrypt(ctx, keyring.AlgorithmSymmetricDefault, []byte("x"), nil)),
		"GenerateDataKey":     second(k.GenerateDataKey(ctx, 32, nil)),
		"GenerateDataKeyPair": second(k.GenerateDataKeyPair(ctx, keyring.ECCNISTP256, nil)),
		"Sign":                second(k.Sign(ctx, keyring.ECDSASHA256, nil, false)),
		"Verify":              second(k.Verify(ctx, keyring.ECDSASHA256, nil, false, nil)),
		"GenerateMAC":         second(k.GenerateMAC(ctx, keyring.HMACSHA256, nil)),
		"VerifyMAC":           second(k.VerifyMAC(ctx, keyring.HMACSHA256, nil, nil)),
		"DeriveSharedSecret":  second(k.DeriveSharedSecret(ctx, keyring.ECDH, nil)),
		"Encapsulate":         third2(k.Encapsulate(ctx, keyring.MLKEM)),
		"Decapsulate":         second(k.Decapsulate(ctx, keyring.MLKEM, nil)),
		"PublicKey":           second(k.PublicKey()),
		"SetDescription":      k.SetDescription(ctx, k.Metadata().Description),
		"Tag":                 k.Tag(ctx, nil),
		"Untag":               k.Untag(ctx, nil),
		// Not allowed with a window of 0, so that nothing comes of it.
		"ScheduleDeletion": second(k.ScheduleDeletion(ctx, 0)),
		"CreateAlias":      k.CreateAlias(ctx, none, "bad"),
		"UpdateAlias":      k.UpdateAlias(ctx, none, "bad", k),
		"DeleteAlias":      k.DeleteAlias(ctx, none, "bad"),
		"SetPolicy":        k.SetPolicy(ctx, strings.Repeat(" ", keyring.MaxPolicy+1), nil),
		"CreateGrant":      third2(k.CreateGrant(ctx, authz.Grant{})),
		"ListGrants":       third2(k.ListGrants(ctx, keyring.GrantFilter{}, "", 0)),
		"RetireGrant":      k.RetireGrant(ctx, "bad"),
		"RevokeGrant":      k.RevokeGrant(ctx, "bad"),
		"ImportParameters": second(k.ImportParameters(ctx, keyring.WrapOAEPSHA256, keyring.RSA2048)),
		"Import":           second(k.Import(ctx, keyring.Import{})),
		"DeleteMaterial":   second(k.DeleteMaterial(ctx, "")),
		"Replicate":        second(k.Replicate(ctx, here, permit(t, here, "kms:CreateKey", anyResource()), keyring.ReplicaParams{Region: region})),
		"MakePrimary":      k.MakePrimary(ctx, k),
		// Not allowed for a day.
		"EnableRotation":  k.EnableRotation(ctx, 1),
		"DisableRotation": k.DisableRotation(ctx),
		"RotateOnDemand":  k.RotateOnDemand(ctx),
		"LastUse":         second(keyring.NewUses(g.ring, keyring.UsesOptions{}).Last(ctx, k)),
	}
}

func TestActionsAllowTheirMethodsOnly(t *testing.T) {
	g := newRig(t, nil, keyring.Options{})
	ids := []string{
		g.create(t, keyring.SymmetricDefault, keyring.EncryptDecrypt).ID,
		g.create(t, keyring.ECCNISTP256, keyring.SignVerify).ID,
		g.create(t, keyring.HMAC256, keyring.GenerateVerifyMAC).ID,
		g.create(t, keyring.ECCNISTP256, keyring.KeyAgreement).ID,
		g.create(t, keyring.MLKEM512, keyring.EncapsulateDecapsulate).ID,
	}
	allowed := map[string]string{
		"kms:Encrypt": "Encrypt", "kms:ReEncryptTo": "Encrypt",
		"kms:Decrypt": "Decrypt", "kms:ReEncryptFrom": "Decrypt",
		"kms:GenerateDataKey": "GenerateDataKey", "kms:GenerateDataKeyWithoutPlaintext": "GenerateDataKey",
		"kms:GenerateDataKeyPair": "GenerateDataKeyPair", "kms:GenerateDataKeyPairWithoutPlaintext": "GenerateDataKeyPair",
		"kms:Sign": "Sign", "kms:Verify": "Verify", "kms:GenerateMac": "GenerateMAC", "kms:VerifyMac": "VerifyMAC",
		"kms:DeriveSharedSecret": "DeriveSharedSecret", "kms:Encapsulate": "Encapsulate", "kms:Decapsulate": "Decapsulate",
		"kms:GetPublicKey": "PublicKey", "kms:UpdateKeyDescription": "SetDescription",
		"kms:TagResource": "Tag", "kms:UntagResource": "Untag", "kms:ScheduleKeyDeletion": "ScheduleDeletion",
		"kms:CreateAlias": "CreateAlias", "kms:UpdateAlias": "UpdateAlias", "kms:DeleteAlias": "DeleteAlias",
		"kms:DescribeKey": "", "kms:ListResourceTags": "", "kms:EnableKey": "", "kms:DisableKey": "",
		"kms:GetKeyPolicy": "", "kms:ListKeyPolicies": "", "kms:PutKeyPolicy": "SetPolicy", "kms:CreateGrant": "CreateGrant",
		"kms:ListGrants": "ListGrants", "kms:RetireGrant": "RetireGrant", "kms:RevokeGrant": "RevokeGrant",
		"kms:EnableKeyRotation": "EnableRotation", "kms:DisableKeyRotation": "DisableRotation", "kms:RotateKeyOnDemand": "RotateOnDemand",
		"kms:GetKeyRotationStatus": "", "kms:ListKeyRotations": "",
		"kms:GetKeyLastUsage": "LastUse", "kms:GetParametersForImport": "ImportParameters", "kms:ImportKeyMaterial": "Import",
		"kms:DeleteImportedKeyMaterial": "DeleteMaterial", "kms:ReplicateKey": "Replicate", "kms:UpdatePrimaryRegion": "MakePrimary",
	}
	for action, method := range allowed {
		for _, id := range ids {
			for name, err := range methods(t, g, g.mustOpen(t, id, action)) {
				if denied := errors.Is(err, authz.ErrNoPermit); denied == (name == method) {
					t.Errorf("%s under %s: %v", name, action, err)
				}
			}
		}
	}
	var zero keyring.Key
	if err := zero.Enable(t.Context()); !errors.Is(err, authz.ErrNoPermit) {
		t.Errorf("the zero Key enabled something: %v", err)
	}
	if zero.Metadata() != nil {
		t.Error("the zero Key has metadata")
	}
	for _, action := range []string{"kms:Encrypt", "kms:EnableKey"} {
		if err := g.mustOpen(t, ids[0], action).Disable(t.Context()); !errors.Is(err, authz.ErrNoPermit) {
			t.Errorf("Disable under %s: %v", action, err)
		}
		if err := g.mustOpen(t, ids[0], action).CancelDeletion(t.Context()); !errors.Is(err, authz.ErrNoPermit) {
			t.Errorf("CancelDeletion under %s: %v", action, err)
		}
	}
	if err := g.mustOpen(t, ids[0], "kms:DisableKey").Enable(t.Context()); !errors.Is(err, authz.ErrNoPermit) {
		t.Errorf("Enable under kms:DisableKey: %v", err)
	}
}

// Source: column key_states_and_errors of the operations, and "Key states of
// AWS KMS keys" in the AWS KMS Developer Guide.
func TestStates(t *testing.T) {
	const (
		enabled = 1 << iota
		disabled
		pending
	)
	always := []string{
		"kms:DescribeKey", "kms:ListResourceTags", "kms:DeleteAlias", "kms:UpdateAlias", "kms:PutKeyPolicy", "kms:GetKeyPolicy",
		"kms:ListKeyPolicies", "kms:ListGrants", "kms:RetireGrant", "kms:RevokeGrant", "kms:GetKeyLastUsage", "kms:DeleteImportedKeyMaterial",
		"kms:GetKeyRotationStatus", "kms:ListKeyRotations",
	}
	notPending := []string{"kms:EnableKey", "kms:DisableKey", "kms:UpdateKeyDescription", "kms:TagResource", "kms:UntagResource", "kms:ScheduleKeyDeletion", "kms:CreateAlias", "kms:GetParametersForImport", "kms:ImportKeyMaterial"}
	onlyEnabled := []string{
		"kms:Encrypt", "kms:Decrypt", "kms:ReEncryptFrom", "kms:ReEncryptTo", "kms:GenerateDataKey", "kms:GenerateDataKeyWithoutPlaintext",
		"kms:GenerateDataKeyPair", "kms:GenerateDataKeyPairWithoutPlaintext", "kms:Sign", "kms:Verify", "kms:GenerateMac", "kms:VerifyMac", "kms:GetPublicKey",
		"kms:CreateGrant", "kms:DeriveSharedSecret", "kms:Encapsulate", "kms:Decapsulate",
		"kms:EnableKeyRotation", "kms:DisableKeyRotation", "kms:RotateKeyOnDemand", "kms:ReplicateKey", "kms:UpdatePrimaryRegion",
	}
	want := map[string]int{"kms:CancelKeyDeletion": pending}
	for _, a := range always {
		want[a] = enabled | disabled | pending
	}
	for _, a := range notPending {
		want[a] = enabled | disabled
	}
	for _, a := range onlyEnabled {
		want[a] = enabled
	}
	for _, a := range keyring.Actions() {
		if _, ok := want[a]; !ok && !strings.HasPrefix(a, "keyreeve:") {
			t.Errorf("%s is not in this test", a)
		}
	}
	g := newRig(t, nil, keyring.Options{})
	m := g.create(t, keyring.SymmetricDefault, keyring.EncryptDecrypt)
	try := func(state keyring.State, bit int) {
		t.Helper()
		for action, in := range want {
			_, _, err := g.open(t, m.ID, action)
			var bad *keyring.StateError
			switch {
			case in&bit != 0 && err != nil:
				t.Errorf("%s of a key that is %s: %v", action, state, err)
			case in&bit == 0 && !errors.As(err, &bad):
				t.Errorf("%s of a key that is %s: %v, want a StateError", action, state, err)
			case in&bit == 0:
				e := keyring.StateError{ARN: m.ARN, State: state}
				if action == "kms:CancelKeyDeletion" {
					e.Want = keyring.PendingDeletion
				}
				if *bad != e {
					t.Errorf("%s of a key that is %s: %+v, want %+v", action, state, *bad, e)
				}
			}
		}
		subject, err := g.ring.Find(t.Context(), account, region, m.ID)
		if err != nil {
			t.Fatal(err)
		}
		p := authz.System("test").Permit("keyreeve:DestroyKey", subject.Resource())
		if _, err := g.ring.Open(t.Context(), nil, p); state != keyring.PendingDeletion && err == nil {
			t.Errorf("a key that is %s can be destroyed", state)
		}
	}
	try(keyring.Enabled, enabled)
	if err := g.mustOpen(t, m.ID, "kms:DisableKey").Disable(t.Context()); err != nil {
		t.Fatal(err)
	}
	try(keyring.Disabled, disabled)
	if err := g.mustOpen(t, m.ID, "kms:EnableKey").Enable(t.Context()); err != nil {
		t.Fatal(err)
	}
	try(keyring.Enabled, enabled)
	due, err := g.mustOpen(t, m.ID, "kms:ScheduleKeyDeletion").ScheduleDeletion(t.Context(), 7*24*time.Hour)
	if want := start.Add(7 * 24 * time.Hour); err != nil || !due.Equal(want) {
		t.Fatalf("ScheduleDeletion = %v, %v; want %v", due, err, want)
	}
	try(keyring.PendingDeletion, pending)
	if err := g.mustOpen(t, m.ID, "kms:CancelKeyDeletion").CancelDeletion(t.Context()); err != nil {
		t.Fatal(err)
	}
	try(keyring.Disabled, disabled)
	if d := g.mustOpen(t, m.ID, "kms:DescribeKey").Metadata().Deletion; !d.IsZero() {
		t.Errorf("deletion date after CancelDeletion: %v", d)
	}
	if next, err := g.ring.NextDue(t.Context()); err != nil || !next.IsZero() {
		t.Errorf("NextDue after CancelDeletion = %v, %v", next, err)
	}
}

func TestListsAndCreateWantThePermit(t *testing.T) {
	g := newRig(t, nil, keyring.Options{})
	c := newCall()
	params := keyring.CreateParams{Account: account, Region: region, Spec: keyring.SymmetricDefault, Usage: keyring.EncryptDecrypt}
	fixed := params
	fixed.ID = "11111111-1111-4111-8111-111111111111"
	material := params
	material.Material = secret.New(make([]byte, 32))
	create := permit(t, c, "kms:CreateKey", anyResource())
	// A permit for all of an account's is for that account's alone.
	const stranger = "444455556666"
	theirs := &call.Call{Caller: admin(stranger), Time: start, Region: region}
	theirPermit := func(action string) authz.Permit {
		return permit(t, theirs, action, authz.Resource{ARN: "*", Account: stranger})
	}
	for _, tt := range []struct {
		name string
		err  error
	}{
		{"Create, zero permit", second(g.ring.Create(t.Context(), c, authz.Permit{}, params))},
		{"Create, zero permit, no call", second(g.ring.Create(t.Context(), nil, authz.Permit{}, params))},
		{"Create, another call", second(g.ring.Create(t.Context(), newCall(), create, params))},
		{"Create, another action", second(g.ring.Create(t.Context(), c, permit(t, c, "kms:ListKeys", anyResource()), params))},
		{"Create in a call with an id", second(g.ring.Create(t.Context(), c, create, fixed))},
		{"Create in a call with material", second(g.ring.Create(t.Context(), c, create, material))},
		{"Keys", func() error {
			_, _, err := g.ring.Keys(t.Context(), c, create, account, region, "", 10)
			return err
		}()},
		{"Aliases", func() error {
			_, _, err := g.ring.Aliases(t.Context(), c, create, account, region, "", "", 10)
			return err
		}()},
		{"Create, another account's", second(g.ring.Create(t.Context(), theirs, theirPermit("kms:CreateKey"), params))},
		{"Keys, another account's", func() error {
			_, _, err := g.ring.Keys(t.Context(), theirs, theirPermit("kms:ListKeys"), account, region, "", 10)
			return err
		}()},
		{"RetirableGrants", func() error {
			_, _, err := g.ring.RetirableGrants(t.Context(), c, create, region, "AIDA", "", 10)
			return err
		}()},
		{"RetirableGrants, another call", func() error {
			_, _, err := g.ring.RetirableGrants(t.Context(), newCall(), permit(t, c, "kms:ListRetirableGrants", anyResource()), region, "AIDA", "", 10)
			return err
		}()},
		{"Aliases, another account's", func() error {
			_, _, err := g.ring.Aliases(t.Context(), theirs, theirPermit("kms:ListAliases"), account, region, "", "", 10)
			return err
		}()},
	} {
		if !errors.Is(tt.err, authz.ErrNoPermit) {
			t.Errorf("%s: %v, want ErrNoPermit", tt.name, tt.err)
		}
	}
}
