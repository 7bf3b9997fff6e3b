package kmsapi_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/api/kmsapi"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/internal/wire"
)

const keyARN = "arn:aws:kms:eu-central-1:111122223333:key/0d990263-018e-4e65-a703-eff731de951e"

// handler runs the operations that a test sets.
type handler struct {
	kmsapi.Handler
	decrypt   func(c *call.Call, in *kmsapi.DecryptInput, out *kmsapi.DecryptOutput) error
	encrypt   func(in *kmsapi.EncryptInput) error
	enableKey func(c *call.Call) error
	schedule  func(out *kmsapi.ScheduleKeyDeletionOutput)
	createKey func(out *kmsapi.CreateKeyOutput)
}

func (h handler) Decrypt(_ context.Context, c *call.Call, in *kmsapi.DecryptInput, out *kmsapi.DecryptOutput) error {
	return h.decrypt(c, in, out)
}

func (h handler) Encrypt(_ context.Context, _ *call.Call, in *kmsapi.EncryptInput, _ *kmsapi.EncryptOutput) error {
	return h.encrypt(in)
}

func (h handler) EnableKey(_ context.Context, c *call.Call, _ *kmsapi.EnableKeyInput, _ *kmsapi.EnableKeyOutput) error {
	return h.enableKey(c)
}

func (h handler) ScheduleKeyDeletion(_ context.Context, _ *call.Call, _ *kmsapi.ScheduleKeyDeletionInput, out *kmsapi.ScheduleKeyDeletionOutput) error {
	h.schedule(out)
	return nil
}

func (h handler) CreateKey(_ context.Context, _ *call.Call, _ *kmsapi.CreateKeyInput, out *kmsapi.CreateKeyOutput) error {
	h.createKey(out)
	return nil
}

// routed are the operations that work so far.
var routed = map[string]bool{
	"CancelKeyDeletion": false, "CreateAlias": false, "CreateKey": false, "Decrypt": true, "DeleteAlias": false, "DescribeKey": true,
	"DisableKey": false, "EnableKey": false, "Encrypt": true, "GenerateDataKey": true, "GenerateDataKeyPair": true,
	"GenerateDataKeyPairWithoutPlaintext": true, "GenerateDataKeyWithoutPlaintext": true, "GenerateMac": true, "GenerateRandom": true,
	"GetPublicKey": true, "ListAliases": true, "ListKeys": true, "ListResourceTags": true, "ReEncrypt": true,
	"ScheduleKeyDeletion": false, "Sign": true, "TagResource": false, "UntagResource": false, "UpdateAlias": false,
	"UpdateKeyDescription": false, "Verify": true, "VerifyMac": true,
	"CreateGrant": false, "GetKeyPolicy": true, "ListGrants": true, "ListKeyPolicies": true, "ListRetirableGrants": true,
	"PutKeyPolicy": false, "RetireGrant": false, "RevokeGrant": false, "DeriveSharedSecret": true, "Encapsulate": true, "Decapsulate": true,
	"ReplicateKey": false, "UpdatePrimaryRegion": false,
	"GetParametersForImport": true, "ImportKeyMaterial": false, "DeleteImportedKeyMaterial": false,
	"GetKeyLastUsage": true, "EnableKeyRotation": false, "DisableKeyRotation": false, "GetKeyRotationStatus": true,
	"RotateKeyOnDemand": false, "ListKeyRotations": true,
}

func TestOperations(t *testing.T) {
	ops := kmsapi.Operations(handler{})
	for name, readOnly := range routed {
		op := ops[name]
		if op == nil {
			t.Errorf("%s is not routed", name)
			continue
		}
		if op.Name != name || op.Service != "kms" || op.EventSource != "kms.amazonaws.com" || op.ReadOnly != readOnly {
			t.Errorf("%s: %s, %s, %s, read-only %t", name, op.Name, op.Service, op.EventSource, op.ReadOnly)
		}
	}
	if len(ops) != len(routed) {
		t.Errorf("%d operations are routed, want %d", len(ops), len(routed))
	}
}

func TestInvoke(t *testing.T) {
	plaintext := []byte("attack at dawn")
	ops := kmsapi.Operations(handler{decrypt: func(c *call.Call, in *kmsapi.DecryptInput, out *kmsapi.DecryptOutput) error {
		if string(in.CiphertextBlob) != "blob" || c.Parameters != call.Auditable(in) {
			t.Errorf("input is %+v, parameters %v", in, c.Parameters)
		}
		out.KeyID = keyARN
		out.Plaintext = secret.New(plaintext)
		out.EncryptionAlgorithm = kmsapi.EncryptionAlgorithmSpecSymmetricDefault
		return nil
	}})
	var c call.Call
	b, err := ops["Decrypt"].Invoke(t.Context(), &c, []byte(`{"CiphertextBlob":"YmxvYg==","EncryptionContext":{"b":"2","a":"1"}}`), []byte("before "))
	want := `before {"KeyId":"` + keyARN + `","Plaintext":"YXR0YWNrIGF0IGRhd24=","EncryptionAlgorithm":"SYMMETRIC_DEFAULT"}`
	if err != nil || string(b) != want {
		t.Errorf("Invoke = %s, %v, want %s", b, err, want)
	}
	if string(plaintext) != string(make([]byte, len(plaintext))) {
		t.Errorf("the plaintext was not wiped: %q", plaintext)
	}
	if got, want := string(c.Parameters.AppendAudit(nil)), `{"encryptionAlgorithm":"SYMMETRIC_DEFAULT","encryptionContext":{"a":"1","b":"2"}}`; got != want {
		t.Errorf("requestParameters = %s, want %s", got, want)
	}
	if c.Elements != nil {
		t.Errorf("responseElements = %s, want nothing", c.Elements.AppendAudit(nil))
	}
}

func TestInvokeFails(t *testing.T) {
	boom := errors.New("boom")
	var seen secret.Bytes
	ops := kmsapi.Operations(handler{
		encrypt: func(in *kmsapi.EncryptInput) error { seen = in.Plaintext; return boom },
		decrypt: func(_ *call.Call, _ *kmsapi.DecryptInput, out *kmsapi.DecryptOutput) error {
			out.Plaintext = secret.New([]byte("x"))
			seen = out.Plaintext
			panic("boom")
		},
	})
	var c call.Call
	b, err := ops["Encrypt"].Invoke(t.Context(), &c, []byte(`{"KeyId":"k","Plaintext":"YWJj"}`), []byte("before"))
	if !errors.Is(err, boom) || string(b) != "before" || c.Parameters == nil || c.Elements != nil {
		t.Errorf("Invoke = %q, %v", b, err)
	}
	if string(seen.Reveal()) != "\x00\x00\x00" {
		t.Errorf("the plaintext was not wiped: %q", seen.Reveal())
	}

	c = call.Call{}
	b, err = ops["Encrypt"].Invoke(t.Context(), &c, []byte(`{"KeyId":"k","Plaintext":"YWJj`), []byte("before"))
	if wire.AsError(err).Code != "SerializationException" || string(b) != "before" || c.Parameters != nil {
		t.Errorf("Invoke of half a body = %q, %v, with parameters %v", b, err, c.Parameters)
	}

	c = call.Call{}
	_, err = ops["Encrypt"].Invoke(t.Context(), &c, []byte(`{"KeyId":"","Plaintext":"YWJj"}`), nil)
	if wire.AsError(err).Code != "ValidationException" || c.Parameters == nil {
		t.Errorf("Invoke without a key = %v, with parameters %v", err, c.Parameters)
	}

	func() {
		defer func() { _ = recover() }()
		_, _ = ops["Decrypt"].Invoke(t.Context(), new(call.Call), []byte(`{"CiphertextBlob":"YWJj"}`), nil)
	}()
	if string(seen.Reveal()) != "\x00" {
		t.Errorf("the plaintext was not wiped after a panic: %q", seen.Reveal())
	}
}

func TestResponseElements(t *testing.T) {
	at := time.Date(2022, 8, 10, 22, 38, 27, 0, time.UTC)
	days := int32(30)
	ops := kmsapi.Operations(handler{
		enableKey: func(c *call.Call) error {
			c.AddKey("arn:aws:kms:eu-central-1:111122223333:alias/a", "111122223333")
			c.AddKey(keyARN, "111122223333")
			return nil
		},
		schedule: func(out *kmsapi.ScheduleKeyDeletionOutput) {
			*out = kmsapi.ScheduleKeyDeletionOutput{KeyID: keyARN, KeyState: kmsapi.KeyStatePendingDeletion, DeletionDate: at, PendingWindowInDays: &days}
		},
		createKey: func(out *kmsapi.CreateKeyOutput) {
			out.KeyMetadata = &kmsapi.KeyMetadata{
				AWSAccountID: "111122223333", KeyID: "k", ARN: keyARN, CreationDate: at, Enabled: true,
				EncryptionAlgorithms: []kmsapi.EncryptionAlgorithmSpec{kmsapi.EncryptionAlgorithmSpecSymmetricDefault},
			}
		},
	})
	for _, c := range []struct{ op, body, answer, parameters, elements string }{
		{
			"EnableKey", `{"KeyId":"k"}`, ``, `{"keyId":"k"}`, `{"keyId":"` + keyARN + `"}`,
		},
		{
			"ScheduleKeyDeletion", `{"KeyId":"k","PendingWindowInDays":30}`,
			`{"KeyId":"` + keyARN + `","DeletionDate":1660171107,"KeyState":"PendingDeletion","PendingWindowInDays":30}`,
			`{"keyId":"k","pendingWindowInDays":30}`,
			`{"keyId":"` + keyARN + `","keyState":"PendingDeletion","deletionDate":"Aug 10, 2022, 10:38:27 PM"}`,
		},
		{
			"CreateKey", `{"KeySpec":"RSA_2048","KeyUsage":"SIGN_VERIFY","Tags":[{"TagKey":"a","TagValue":""}]}`,
			`{"KeyMetadata":{"AWSAccountId":"111122223333","KeyId":"k","Arn":"` + keyARN + `","CreationDate":1660171107,"Enabled":true,"Description":"",` +
				`"EncryptionAlgorithms":["SYMMETRIC_DEFAULT"],"MultiRegion":false}}`,
			`{"description":"","keyUsage":"SIGN_VERIFY","origin":"AWS_KMS","bypassPolicyLockoutSafetyCheck":false,` +
				`"customerMasterKeySpec":"RSA_2048","keySpec":"RSA_2048","tags":[{"tagKey":"a","tagValue":""}]}`,
			`{"keyMetadata":{"aWSAccountId":"111122223333","keyId":"k","arn":"` + keyARN + `","creationDate":"Aug 10, 2022, 10:38:27 PM","enabled":true,` +
				`"description":"","encryptionAlgorithms":["SYMMETRIC_DEFAULT"],"multiRegion":false}}`,
		},
	} {
		var k call.Call
		b, err := ops[c.op].Invoke(t.Context(), &k, []byte(c.body), nil)
		if err != nil {
			t.Errorf("%s: %v", c.op, err)
			continue
		}
		if string(b) != c.answer {
			t.Errorf("%s answers %s, want %s", c.op, b, c.answer)
		}
		if got := string(k.Parameters.AppendAudit(nil)); got != c.parameters {
			t.Errorf("%s: requestParameters = %s, want %s", c.op, got, c.parameters)
		}
		if got := string(k.Elements.AppendAudit(nil)); got != c.elements {
			t.Errorf("%s: responseElements = %s, want %s", c.op, got, c.elements)
		}
	}
}

func TestReadOnly(t *testing.T) {
	for name, op := range kmsapi.Operations(handler{}) {
		if kmsapi.ReadOnly(name) != op.ReadOnly {
			t.Errorf("ReadOnly(%s) = %v, and the operation says otherwise", name, !op.ReadOnly)
		}
	}
	for name, want := range map[string]bool{ // not routed
		"CreateGrant": false, "PutKeyPolicy": false, "ImportKeyMaterial": false, "RotateKeyOnDemand": false, "RetireGrant": false,
		"ListGrants": true, "GetKeyPolicy": true, "GetParametersForImport": true, "DeriveSharedSecret": true, "Frobnicate": false, "": false,
	} {
		if kmsapi.ReadOnly(name) != want {
			t.Errorf("ReadOnly(%q) = %v", name, !want)
		}
	}
}

func TestRequestParameters(t *testing.T) {
	for _, c := range []struct{ op, body, want string }{
		{"GenerateRandom", `{"NumberOfBytes":8}`, `null`},
		{"RetireGrant", `{"KeyId":"k","GrantId":"g"}`, `null`},
		{"ListKeys", `{}`, `null`},
		{"ListKeys", `{"Limit":3,"Marker":"m"}`, `{"limit":3,"marker":"m"}`},
		{"CreateKey", `{}`, `{"description":"","keyUsage":"ENCRYPT_DECRYPT","origin":"AWS_KMS","bypassPolicyLockoutSafetyCheck":false,` +
			`"customerMasterKeySpec":"SYMMETRIC_DEFAULT","keySpec":"SYMMETRIC_DEFAULT"}`},
		{
			"CreateKey", `{"CustomerMasterKeySpec":"HMAC_256","KeyUsage":"GENERATE_VERIFY_MAC"}`,
			`{"description":"","keyUsage":"GENERATE_VERIFY_MAC","origin":"AWS_KMS","bypassPolicyLockoutSafetyCheck":false,` +
				`"customerMasterKeySpec":"HMAC_256","keySpec":"HMAC_256"}`,
		},
		{"Encrypt", `{"KeyId":"alias/a","Plaintext":"YQ==","DryRun":true}`, `{"keyId":"alias/a","encryptionAlgorithm":"SYMMETRIC_DEFAULT","dryRun":true}`},
		{"Sign", `{"KeyId":"k","Message":"YQ==","SigningAlgorithm":"ECDSA_SHA_256"}`, `{"keyId":"k","messageType":"RAW","signingAlgorithm":"ECDSA_SHA_256"}`},
		{
			"ImportKeyMaterial", `{"KeyId":"k","ImportToken":"YQ==","EncryptedKeyMaterial":"YQ==","ExpirationModel":"KEY_MATERIAL_EXPIRES","ValidTo":1747806465}`,
			`{"keyId":"k","validTo":"May 21, 2025, 5:47:45 AM","expirationModel":"KEY_MATERIAL_EXPIRES"}`,
		},
		{"GenerateDataKey", `{"KeyId":"k","NumberOfBytes":128}`, `{"keyId":"k","numberOfBytes":128}`},
		{
			"ReEncrypt", `{"CiphertextBlob":"YQ==","DestinationKeyId":"k","SourceEncryptionContext":{}}`,
			`{"sourceEncryptionAlgorithm":"SYMMETRIC_DEFAULT","sourceEncryptionContext":{},"destinationKeyId":"k","destinationEncryptionAlgorithm":"SYMMETRIC_DEFAULT"}`,
		},
		{"UntagResource", `{"KeyId":"k","TagKeys":["a","b"]}`, `{"keyId":"k","tagKeys":["a","b"]}`},
		{"ImportKeyMaterial", `{"KeyId":"k","ValidTo":1660171107.5}`, `{"keyId":"k","validTo":"Aug 10, 2022, 10:38:27 PM"}`},
		{"Decrypt", `{"CiphertextBlob":"YQ==","KeyId":"<\"\n"}`, `{"keyId":"<\"\n","encryptionAlgorithm":"SYMMETRIC_DEFAULT"}`},
	} {
		in := newInput(t, c.op)
		if err := in.DecodeJSON([]byte(c.body)); err != nil {
			t.Fatalf("%s: %v", c.op, err)
		}
		if got := string(in.AppendAudit(nil)); got != c.want {
			t.Errorf("%s %s: requestParameters = %s, want %s", c.op, c.body, got, c.want)
		}
	}
}

func TestEmptyLists(t *testing.T) {
	for want, m := range map[string]message{
		`{"Keys":[],"Truncated":false}`:       &kmsapi.ListKeysOutput{},
		`{"Aliases":[],"Truncated":false}`:    &kmsapi.ListAliasesOutput{},
		`{"Tags":[],"Truncated":false}`:       &kmsapi.ListResourceTagsOutput{},
		`{"Grants":[],"Truncated":false}`:     &kmsapi.ListRetirableGrantsOutput{},
		`{"SignatureValid":false}`:            &kmsapi.VerifyOutput{},
		`{"MacValid":false}`:                  &kmsapi.VerifyMacOutput{},
		`{"KeyRotationEnabled":false}`:        &kmsapi.GetKeyRotationStatusOutput{},
		`{}`:                                  &kmsapi.ConnectCustomKeyStoreOutput{},
		``:                                    &kmsapi.CreateAliasOutput{},
		`{"TagKey":"","TagValue":""}`:         tagMessage{},
		`{"KeyId":"k","Description":""}`:      &kmsapi.UpdateKeyDescriptionInput{KeyID: "k"},
		`{"CiphertextBlob":"","DryRun":true}`: &kmsapi.DecryptInput{CiphertextBlob: []byte{}, DryRun: true},
		`{"KeyMetadata":{"KeyId":"","Enabled":false,"Description":"","MultiRegion":false}}`: &kmsapi.DescribeKeyOutput{KeyMetadata: &kmsapi.KeyMetadata{}},
	} {
		if got := string(m.AppendJSON(nil)); got != want {
			t.Errorf("%T encodes as %s, want %s", m, got, want)
		}
	}
}

type tagMessage struct{ output }

func (tagMessage) AppendJSON(b []byte) []byte { return new(kmsapi.Tag).AppendJSON(b) }

func TestTagsCompare(t *testing.T) {
	var in kmsapi.TagResourceInput
	if err := in.DecodeJSON([]byte(`{"KeyId":"k","Tags":[{"TagKey":"a","TagValue":""}]}`)); err != nil {
		t.Fatal(err)
	}
	if want := (kmsapi.Tag{TagKey: "a"}); in.Tags[0] != want {
		t.Errorf("decoded %+v, want %+v", in.Tags[0], want)
	}
}

func TestErrors(t *testing.T) {
	if e := kmsapi.NotFoundException("gone"); e.Code != "NotFoundException" || e.Message != "gone" || e.Status != 400 {
		t.Errorf("NotFoundException: %d %v", e.Status, e)
	}
	for _, e := range []*wire.Error{kmsapi.KMSInternalException(""), kmsapi.DependencyTimeoutException(""), kmsapi.KeyUnavailableException("")} {
		if e.Status != 500 {
			t.Errorf("%s: status %d, want 500", e.Code, e.Status)
		}
	}
}

func ExampleDecryptInput() {
	in := kmsapi.DecryptInput{CiphertextBlob: []byte("blob"), EncryptionContext: wire.NewStringMap(wire.Pair{Name: "tenant", Value: "7"})}
	fmt.Println(string(in.AppendJSON(nil)))
	// Output: {"CiphertextBlob":"YmxvYg==","EncryptionContext":{"tenant":"7"}}
}
