package kms_test

import (
	"context"
	"net/netip"
	"slices"
	"testing"

	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/record"
	"github.com/keyreeve/keyreeve/internal/store"
)

// intent notes what a call shows of itself when its change is committed.
type intent struct {
	call       *call.Call
	resources  []call.Resource
	additional []call.Pair
	noted      int
}

func (i *intent) Note() (string, []byte) {
	i.noted++
	i.resources, i.additional = slices.Clone(i.call.Resources), slices.Clone(i.call.Additional)
	return "", nil
}

func (i *intent) Stood(store.Rev) {}

// What is noted with a change names what is changed: it is all that there is if
// nothing comes after it.
func TestIntents(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	id, other := e.createKey("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT"), e.createKey("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT")
	external := e.must(alice, "CreateKey", object{"Origin": "EXTERNAL"}).object("KeyMetadata").str("KeyId")
	related := e.must(alice, "CreateKey", object{"MultiRegion": true}).object("KeyMetadata").str("KeyId")
	e.must(alice, "ReplicateKey", object{"KeyId": related, "ReplicaRegion": "ap-south-1"})
	e.becomes("ap-south-1", related, "Enabled")
	policy := e.must(alice, "GetKeyPolicy", object{"KeyId": id}).str("Policy")
	grant := func() string {
		return e.must(alice, "CreateGrant", object{"KeyId": id, "GranteePrincipal": alice.ARN, "RetiringPrincipal": alice.ARN, "Operations": []string{"Encrypt"}}).str("GrantId")
	}
	tested := map[string]bool{}
	for _, tt := range []struct {
		operation string
		request   object
	}{
		{"CreateKey", object{}},
		{"CreateAlias", object{"AliasName": "alias/i", "TargetKeyId": id}},
		{"UpdateAlias", object{"AliasName": "alias/i", "TargetKeyId": other}},
		{"DeleteAlias", object{"AliasName": "alias/i"}},
		{"UpdateKeyDescription", object{"KeyId": id, "Description": "x"}},
		{"TagResource", object{"KeyId": id, "Tags": []object{{"TagKey": "a", "TagValue": "b"}}}},
		{"UntagResource", object{"KeyId": id, "TagKeys": []string{"a"}}},
		{"PutKeyPolicy", object{"KeyId": id, "Policy": policy + " "}},
		{"CreateGrant", object{"KeyId": id, "GranteePrincipal": alice.ARN, "Operations": []string{"Decrypt"}}},
		{"RevokeGrant", object{"KeyId": id, "GrantId": grant()}},
		{"RetireGrant", object{"KeyId": keyARN(id), "GrantId": grant()}},
		{"EnableKeyRotation", object{"KeyId": id}},
		{"RotateKeyOnDemand", object{"KeyId": id}},
		{"DisableKeyRotation", object{"KeyId": id}},
		{"ImportKeyMaterial", importOf(e, external).with(object{"KeyId": external})},
		{"DeleteImportedKeyMaterial", object{"KeyId": external}},
		{"ReplicateKey", object{"KeyId": related, "ReplicaRegion": "us-west-2"}},
		{"UpdatePrimaryRegion", object{"KeyId": related, "PrimaryRegion": "ap-south-1"}},
		{"DisableKey", object{"KeyId": id}},
		{"EnableKey", object{"KeyId": id}},
		{"ScheduleKeyDeletion", object{"KeyId": id, "PendingWindowInDays": 7}},
		{"CancelKeyDeletion", object{"KeyId": id}},
	} {
		tested[tt.operation] = true
		op := e.ops[tt.operation]
		c := &call.Call{
			ID: "4d2b7e56-3c1f-4f4e-9a51-0e9a3f1c2b7d", Time: e.clock(), Region: testRegion, Service: "kms",
			Source: netip.MustParseAddrPort("192.0.2.7:50000"), Operation: op, Caller: alice,
		}
		i := &intent{call: c}
		if _, err := op.Invoke(record.WithIntent(context.Background(), i), c, []byte(encode(t, tt.request)), nil); err != nil {
			t.Fatalf("%s: %v", tt.operation, err)
		}
		if i.noted == 0 {
			t.Errorf("%s: nothing was noted", tt.operation)
		}
		if len(i.resources) == 0 || !slices.Equal(i.resources, c.Resources) {
			t.Errorf("%s: noted the resources %v, and ended with %v", tt.operation, i.resources, c.Resources)
		}
		if !slices.Equal(i.additional, c.Additional) {
			t.Errorf("%s: noted %v, and ended with %v", tt.operation, i.additional, c.Additional)
		}
	}
	for name, op := range e.ops {
		if !op.ReadOnly && !tested[name] {
			t.Errorf("%s changes something, and is not tested", name)
		}
	}
}
