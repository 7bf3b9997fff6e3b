package kms_test

import (
	"context"
	"testing"

	"github.com/keyreeve/keyreeve/internal/api/kmsapi"
	"github.com/keyreeve/keyreeve/internal/authz"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/keyring"
	"github.com/keyreeve/keyreeve/internal/wire"
)

// warmDecrypt returns a Decrypt through this package, and the same steps taken
// by hand below it.
func warmDecrypt(tb testing.TB) (through, below func()) {
	e := newEnv(tb)
	id := e.createKey("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT")
	ec := wire.NewStringMap(wire.Pair{Name: "purpose", Value: "test"})
	made := e.must(alice, "Encrypt", object{"KeyId": id, "Plaintext": blob(32), "EncryptionContext": object{"purpose": "test"}})
	source := unb64(tb, made.str("CiphertextBlob"))
	ctx := context.Background()
	in, out := &kmsapi.DecryptInput{CiphertextBlob: source, EncryptionContext: ec}, new(kmsapi.DecryptOutput)
	operation := e.ops["Decrypt"]

	through = func() {
		c := call.Call{Time: e.now, Region: testRegion, Caller: alice, Operation: operation}
		if err := e.service.Decrypt(ctx, &c, in, out); err != nil {
			tb.Fatalf("Decrypt: %v", err)
		}
	}
	az := authz.New(nil)
	below = func() {
		c := call.Call{Time: e.now, Region: testRegion, Caller: alice, Operation: operation}
		h, err := keyring.Inspect(source)
		if err != nil {
			tb.Fatal(err)
		}
		subject, err := e.ring.Find(ctx, h.Account, testRegion, h.KeyID)
		if err != nil {
			tb.Fatal(err)
		}
		resource := subject.Resource()
		permit, err := az.Decide(ctx, &c, "kms:Decrypt", &resource, nil)
		if err != nil {
			tb.Fatal(err)
		}
		c.AddKey(subject.ARN(), subject.Account())
		key, err := e.ring.Open(ctx, &c, permit)
		if err != nil {
			tb.Fatal(err)
		}
		if _, _, err := key.Decrypt(ctx, keyring.AlgorithmSymmetricDefault, source, ec); err != nil {
			tb.Fatal(err)
		}
	}
	return through, below
}

// warmGrant returns a Decrypt that a grant allows, with its constraint, beside
// others of the same grantee.
func warmGrant(tb testing.TB) func() {
	e := newEnv(tb)
	id := e.createKey("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT")
	ec := wire.NewStringMap(wire.Pair{Name: "purpose", Value: "test"})
	made := e.must(alice, "Encrypt", object{"KeyId": id, "Plaintext": blob(32), "EncryptionContext": object{"purpose": "test"}})
	for _, purpose := range []string{"a", "b", "test"} {
		e.must(alice, "CreateGrant", object{
			"KeyId": id, "GranteePrincipal": frank.EntityARN, "Operations": []string{"Decrypt"},
			"Constraints": object{"EncryptionContextSubset": object{"purpose": purpose}},
		})
	}
	in, out := &kmsapi.DecryptInput{CiphertextBlob: unb64(tb, made.str("CiphertextBlob")), EncryptionContext: ec}, new(kmsapi.DecryptOutput)
	return func() {
		c := call.Call{Time: e.now, Region: testRegion, Caller: frank, Operation: e.ops["Decrypt"]}
		if err := e.service.Decrypt(context.Background(), &c, in, out); err != nil {
			tb.Fatalf("Decrypt: %v", err)
		}
	}
}

func BenchmarkDecrypt(b *testing.B) {
	through, below := warmDecrypt(b)
	b.Run("through", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			through()
		}
	})
	granted := warmGrant(b)
	b.Run("granted", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			granted()
		}
	})
	b.Run("below", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			below()
		}
	})
}
