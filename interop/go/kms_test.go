package interop

import (
	"bytes"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/mlkem"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/smithy-go"
)

// must returns what a call returned, or ends the test.
func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func createKey(t testing.TB, c *kms.Client, spec types.KeySpec, usage types.KeyUsageType) *types.KeyMetadata {
	t.Helper()
	return must[*kms.CreateKeyOutput](t)(c.CreateKey(t.Context(), &kms.CreateKeyInput{KeySpec: spec, KeyUsage: usage})).KeyMetadata
}

// TestOperations calls every routed operation with success.
func TestOperations(t *testing.T) {
	c := client(t)
	t.Run("metadata", func(t *testing.T) { testMetadata(t, c) })
	t.Run("states", func(t *testing.T) { testStates(t, c) })
	t.Run("aliases", func(t *testing.T) { testAliases(t, c) })
	t.Run("tags", func(t *testing.T) { testTags(t, c) })
	t.Run("symmetric", func(t *testing.T) { testSymmetric(t, c) })
	t.Run("data keys", func(t *testing.T) { testDataKeys(t, c) })
	t.Run("RSA encryption", func(t *testing.T) { testRSAEncryption(t, c) })
	t.Run("signatures", func(t *testing.T) { testSignatures(t, c) })
	t.Run("message types", func(t *testing.T) { testMessageTypes(t, c) })
	t.Run("MACs", func(t *testing.T) { testMACs(t, c) })
	t.Run("key agreement", func(t *testing.T) { testKeyAgreement(t, c) })
	t.Run("encapsulation", func(t *testing.T) { testEncapsulation(t, c) })
	t.Run("random", func(t *testing.T) { testRandom(t, c) })
	t.Run("key policies", func(t *testing.T) { testKeyPolicies(t, c) })
	t.Run("grants", func(t *testing.T) { testGrants(t, c) })
	t.Run("import", func(t *testing.T) { testImport(t, c) })
	t.Run("rotation", func(t *testing.T) { testRotation(t, c) })
	t.Run("multi-Region keys", func(t *testing.T) { testMultiRegion(t, c) })
	t.Run("last usage", func(t *testing.T) { testLastUsage(t, c) })

	for _, operation := range routed {
		if !succeeded[operation] {
			t.Errorf("no test called %s with success", operation)
		}
	}
}

func testMetadata(t *testing.T, c *kms.Client) {
	ctx := t.Context()
	made := must[*kms.CreateKeyOutput](t)(c.CreateKey(ctx, &kms.CreateKeyInput{
		Description: aws.String("first"), Tags: []types.Tag{{TagKey: aws.String("a"), TagValue: aws.String("b")}},
	})).KeyMetadata
	if age := time.Since(*made.CreationDate); age < -time.Minute || age > time.Minute {
		t.Errorf("a new key is %v old", age)
	}
	if made.KeySpec != types.KeySpecSymmetricDefault || made.KeyUsage != types.KeyUsageTypeEncryptDecrypt || made.Origin != types.OriginTypeAwsKms ||
		made.KeyState != types.KeyStateEnabled || !made.Enabled || made.KeyManager != types.KeyManagerTypeCustomer ||
		!slices.Equal(made.EncryptionAlgorithms, []types.EncryptionAlgorithmSpec{types.EncryptionAlgorithmSpecSymmetricDefault}) ||
		made.MultiRegion == nil || *made.MultiRegion {
		t.Errorf("CreateKey = %+v", made)
	}
	if !strings.HasSuffix(*made.Arn, ":"+*made.AWSAccountId+":key/"+*made.KeyId) {
		t.Errorf("ARN %s of key %s in account %s", *made.Arn, *made.KeyId, *made.AWSAccountId)
	}

	must[*kms.UpdateKeyDescriptionOutput](t)(c.UpdateKeyDescription(ctx, &kms.UpdateKeyDescriptionInput{KeyId: made.Arn, Description: aws.String("second")}))
	for _, name := range []*string{made.KeyId, made.Arn} {
		got := must[*kms.DescribeKeyOutput](t)(c.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: name})).KeyMetadata
		if *got.Description != "second" || *got.KeyId != *made.KeyId || !got.CreationDate.Equal(*made.CreationDate) {
			t.Errorf("DescribeKey(%s) = %+v", *name, got)
		}
	}

	for range 4 {
		createKey(t, c, "", "")
	}
	var ids []string
	pages := kms.NewListKeysPaginator(c, &kms.ListKeysInput{Limit: aws.Int32(2)})
	for pages.HasMorePages() {
		page := must[*kms.ListKeysOutput](t)(pages.NextPage(ctx))
		if len(page.Keys) > 2 || page.Truncated != (page.NextMarker != nil) {
			t.Errorf("page of %d keys, truncated %v, marker %v", len(page.Keys), page.Truncated, page.NextMarker)
		}
		for _, k := range page.Keys {
			ids = append(ids, *k.KeyId)
		}
	}
	slices.Sort(ids)
	if !slices.Contains(ids, *made.KeyId) || len(slices.Compact(slices.Clone(ids))) != len(ids) {
		t.Errorf("ListKeys = %v, want each key once, %s among them", ids, *made.KeyId)
	}
}

func testStates(t *testing.T, c *kms.Client) {
	ctx := t.Context()
	key := createKey(t, c, "", "")
	state := func() types.KeyState {
		return must[*kms.DescribeKeyOutput](t)(c.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: key.KeyId})).KeyMetadata.KeyState
	}
	for range 2 { // each is idempotent
		must[*kms.DisableKeyOutput](t)(c.DisableKey(ctx, &kms.DisableKeyInput{KeyId: key.KeyId}))
		if got := state(); got != types.KeyStateDisabled {
			t.Errorf("state %s, want Disabled", got)
		}
	}
	for range 2 {
		must[*kms.EnableKeyOutput](t)(c.EnableKey(ctx, &kms.EnableKeyInput{KeyId: key.KeyId}))
		if got := state(); got != types.KeyStateEnabled {
			t.Errorf("state %s, want Enabled", got)
		}
	}
	out := must[*kms.ScheduleKeyDeletionOutput](t)(c.ScheduleKeyDeletion(ctx, &kms.ScheduleKeyDeletionInput{KeyId: key.KeyId, PendingWindowInDays: aws.Int32(7)}))
	if left := time.Until(*out.DeletionDate); out.KeyState != types.KeyStatePendingDeletion || *out.KeyId != *key.Arn || *out.PendingWindowInDays != 7 ||
		left < 7*24*time.Hour-time.Minute || left > 7*24*time.Hour+time.Minute {
		t.Errorf("ScheduleKeyDeletion = %s %s in %v", *out.KeyId, out.KeyState, left)
	}
	cancelled := must[*kms.CancelKeyDeletionOutput](t)(c.CancelKeyDeletion(ctx, &kms.CancelKeyDeletionInput{KeyId: key.KeyId}))
	if got := state(); got != types.KeyStateDisabled || *cancelled.KeyId != *key.Arn {
		t.Errorf("after CancelKeyDeletion: %s of %s, want Disabled", got, *cancelled.KeyId)
	}
}

func testAliases(t *testing.T, c *kms.Client) {
	ctx := t.Context()
	first, second := createKey(t, c, "", ""), createKey(t, c, "", "")
	name := aws.String("alias/go/one")
	must[*kms.CreateAliasOutput](t)(c.CreateAlias(ctx, &kms.CreateAliasInput{AliasName: name, TargetKeyId: first.KeyId}))
	target := func() string {
		return *must[*kms.DescribeKeyOutput](t)(c.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: name})).KeyMetadata.KeyId
	}
	if got := target(); got != *first.KeyId {
		t.Errorf("the alias is of %s, want %s", got, *first.KeyId)
	}
	must[*kms.UpdateAliasOutput](t)(c.UpdateAlias(ctx, &kms.UpdateAliasInput{AliasName: name, TargetKeyId: second.Arn}))
	if got := target(); got != *second.KeyId {
		t.Errorf("the alias is of %s, want %s", got, *second.KeyId)
	}
	for key, want := range map[*types.KeyMetadata]int{first: 0, second: 1} {
		got := must[*kms.ListAliasesOutput](t)(c.ListAliases(ctx, &kms.ListAliasesInput{KeyId: key.KeyId})).Aliases
		if len(got) != want {
			t.Errorf("%d aliases, want %d", len(got), want)
		}
		for _, a := range got {
			if *a.AliasName != *name || *a.TargetKeyId != *key.KeyId || !strings.HasSuffix(*a.AliasArn, ":"+*name) || a.CreationDate == nil || a.LastUpdatedDate == nil {
				t.Errorf("ListAliases = %+v", a)
			}
		}
	}
	must[*kms.DeleteAliasOutput](t)(c.DeleteAlias(ctx, &kms.DeleteAliasInput{AliasName: name}))
	_, err := c.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: name})
	wantCode(t, "a deleted alias", err, "NotFoundException")
}

func testTags(t *testing.T, c *kms.Client) {
	ctx := t.Context()
	key := createKey(t, c, "", "").KeyId
	must[*kms.TagResourceOutput](t)(c.TagResource(ctx, &kms.TagResourceInput{KeyId: key, Tags: []types.Tag{
		{TagKey: aws.String("a"), TagValue: aws.String("1")}, {TagKey: aws.String("b"), TagValue: aws.String("")},
	}}))
	must[*kms.TagResourceOutput](t)(c.TagResource(ctx, &kms.TagResourceInput{KeyId: key, Tags: []types.Tag{{TagKey: aws.String("a"), TagValue: aws.String("2")}}}))
	must[*kms.UntagResourceOutput](t)(c.UntagResource(ctx, &kms.UntagResourceInput{KeyId: key, TagKeys: []string{"b", "never there"}}))
	got := must[*kms.ListResourceTagsOutput](t)(c.ListResourceTags(ctx, &kms.ListResourceTagsInput{KeyId: key})).Tags
	if len(got) != 1 || *got[0].TagKey != "a" || *got[0].TagValue != "2" {
		t.Errorf("ListResourceTags = %+v, want a=2", got)
	}
}

func testSymmetric(t *testing.T, c *kms.Client) {
	ctx := t.Context()
	first, second := createKey(t, c, "", ""), createKey(t, c, "", "")
	for _, size := range []int{1, 32, 4096} {
		plaintext := make([]byte, size)
		_, _ = rand.Read(plaintext)
		sealed := must[*kms.EncryptOutput](t)(c.Encrypt(ctx, &kms.EncryptInput{KeyId: first.Arn, Plaintext: plaintext, EncryptionContext: map[string]string{"a": "bc"}}))
		if len(sealed.CiphertextBlob) > 6144 || *sealed.KeyId != *first.Arn {
			t.Errorf("Encrypt(%d bytes) = %d bytes by %s", size, len(sealed.CiphertextBlob), *sealed.KeyId)
		}
		opened := must[*kms.DecryptOutput](t)(c.Decrypt(ctx, &kms.DecryptInput{
			CiphertextBlob: sealed.CiphertextBlob, EncryptionContext: map[string]string{"a": "bc"}, KeyId: first.KeyId,
		}))
		if !bytes.Equal(opened.Plaintext, plaintext) || *opened.KeyId != *first.Arn || len(*opened.KeyMaterialId) != 64 {
			t.Errorf("Decrypt = %d bytes by %s", len(opened.Plaintext), *opened.KeyId)
		}
		moved := must[*kms.ReEncryptOutput](t)(c.ReEncrypt(ctx, &kms.ReEncryptInput{
			CiphertextBlob: sealed.CiphertextBlob, SourceEncryptionContext: map[string]string{"a": "bc"},
			DestinationKeyId: second.KeyId, DestinationEncryptionContext: map[string]string{"d": "e"},
		}))
		if *moved.SourceKeyId != *first.Arn || *moved.KeyId != *second.Arn {
			t.Errorf("ReEncrypt from %s to %s", *moved.SourceKeyId, *moved.KeyId)
		}
		opened = must[*kms.DecryptOutput](t)(c.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: moved.CiphertextBlob, EncryptionContext: map[string]string{"d": "e"}}))
		if !bytes.Equal(opened.Plaintext, plaintext) {
			t.Error("ReEncrypt changed the plaintext")
		}
	}
}

func testDataKeys(t *testing.T, c *kms.Client) {
	ctx := t.Context()
	key := createKey(t, c, "", "")
	opens := func(blob []byte) []byte {
		return must[*kms.DecryptOutput](t)(c.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: blob})).Plaintext
	}
	made := must[*kms.GenerateDataKeyOutput](t)(c.GenerateDataKey(ctx, &kms.GenerateDataKeyInput{KeyId: key.KeyId, KeySpec: types.DataKeySpecAes256}))
	if len(made.Plaintext) != 32 || !bytes.Equal(opens(made.CiphertextBlob), made.Plaintext) {
		t.Error("GenerateDataKey: the blob does not open as the plaintext")
	}
	blind := must[*kms.GenerateDataKeyWithoutPlaintextOutput](t)(c.GenerateDataKeyWithoutPlaintext(ctx, &kms.GenerateDataKeyWithoutPlaintextInput{
		KeyId: key.KeyId, NumberOfBytes: aws.Int32(1024),
	}))
	if len(opens(blind.CiphertextBlob)) != 1024 {
		t.Error("GenerateDataKeyWithoutPlaintext: not 1024 bytes")
	}

	for _, spec := range []types.DataKeyPairSpec{
		types.DataKeyPairSpecRsa2048, types.DataKeyPairSpecEccNistP256, types.DataKeyPairSpecEccNistP384,
		types.DataKeyPairSpecEccNistP521, types.DataKeyPairSpecEccSecgP256k1,
	} {
		pair := must[*kms.GenerateDataKeyPairOutput](t)(c.GenerateDataKeyPair(ctx, &kms.GenerateDataKeyPairInput{KeyId: key.KeyId, KeyPairSpec: spec}))
		if !bytes.Equal(opens(pair.PrivateKeyCiphertextBlob), pair.PrivateKeyPlaintext) || pair.KeyPairSpec != spec {
			t.Errorf("%s: the blob does not open as the private key", spec)
		}
		if spec != types.DataKeyPairSpecEccSecgP256k1 { // which crypto/x509 does not know
			wantPair(t, string(spec), pair.PrivateKeyPlaintext, pair.PublicKey)
		}
		blind := must[*kms.GenerateDataKeyPairWithoutPlaintextOutput](t)(c.GenerateDataKeyPairWithoutPlaintext(ctx, &kms.GenerateDataKeyPairWithoutPlaintextInput{
			KeyId: key.KeyId, KeyPairSpec: spec,
		}))
		if spec != types.DataKeyPairSpecEccSecgP256k1 {
			wantPair(t, string(spec), opens(blind.PrivateKeyCiphertextBlob), blind.PublicKey)
		}
	}
}

// wantPair fails the test unless two DER keys belong together.
func wantPair(t *testing.T, what string, private, public []byte) {
	t.Helper()
	priv, err := x509.ParsePKCS8PrivateKey(private)
	if err != nil {
		t.Errorf("%s: %v", what, err)
		return
	}
	pub, err := x509.ParsePKIXPublicKey(public)
	if err != nil {
		t.Errorf("%s: %v", what, err)
		return
	}
	var same bool
	switch priv := priv.(type) {
	case *rsa.PrivateKey:
		same = priv.PublicKey.Equal(pub)
	case *ecdsa.PrivateKey:
		same = priv.PublicKey.Equal(pub)
	case *ecdh.PrivateKey:
		same = priv.PublicKey().Equal(pub)
	}
	if !same {
		t.Errorf("%s: the private and the public key do not belong together", what)
	}
}

func testRSAEncryption(t *testing.T, c *kms.Client) {
	ctx := t.Context()
	key := createKey(t, c, types.KeySpecRsa2048, types.KeyUsageTypeEncryptDecrypt)
	der := must[*kms.GetPublicKeyOutput](t)(c.GetPublicKey(ctx, &kms.GetPublicKeyInput{KeyId: key.KeyId})).PublicKey
	public := must[any](t)(x509.ParsePKIXPublicKey(der)).(*rsa.PublicKey)

	// What is encrypted outside, with the public key alone, opens inside.
	outside := must[[]byte](t)(rsa.EncryptOAEP(sha256.New(), rand.Reader, public, []byte("from outside"), nil))
	opened := must[*kms.DecryptOutput](t)(c.Decrypt(ctx, &kms.DecryptInput{
		KeyId: key.KeyId, CiphertextBlob: outside, EncryptionAlgorithm: types.EncryptionAlgorithmSpecRsaesOaepSha256,
	}))
	if string(opened.Plaintext) != "from outside" || opened.EncryptionAlgorithm != types.EncryptionAlgorithmSpecRsaesOaepSha256 {
		t.Errorf("Decrypt = %q by %s", opened.Plaintext, opened.EncryptionAlgorithm)
	}
	for alg, limit := range map[types.EncryptionAlgorithmSpec]int{types.EncryptionAlgorithmSpecRsaesOaepSha1: 214, types.EncryptionAlgorithmSpecRsaesOaepSha256: 190} {
		sealed := must[*kms.EncryptOutput](t)(c.Encrypt(ctx, &kms.EncryptInput{KeyId: key.KeyId, Plaintext: make([]byte, limit), EncryptionAlgorithm: alg}))
		opened := must[*kms.DecryptOutput](t)(c.Decrypt(ctx, &kms.DecryptInput{KeyId: key.KeyId, CiphertextBlob: sealed.CiphertextBlob, EncryptionAlgorithm: alg}))
		if len(opened.Plaintext) != limit {
			t.Errorf("%s: %d bytes, want %d", alg, len(opened.Plaintext), limit)
		}
		_, err := c.Encrypt(ctx, &kms.EncryptInput{KeyId: key.KeyId, Plaintext: make([]byte, limit+1), EncryptionAlgorithm: alg})
		if answer := wantCode(t, string(alg), err, "ValidationException"); answer != nil {
			if want := fmt.Sprintf("Algorithm %s and key spec RSA_2048 cannot encrypt data larger than %d bytes.", alg, limit); answer.ErrorMessage() != want {
				t.Errorf("%s: message %q, want %q", alg, answer.ErrorMessage(), want)
			}
		}
	}
}

func testSignatures(t *testing.T, c *kms.Client) {
	ctx := t.Context()
	for spec, algorithms := range map[types.KeySpec][]types.SigningAlgorithmSpec{
		types.KeySpecRsa2048: {
			types.SigningAlgorithmSpecRsassaPkcs1V15Sha256, types.SigningAlgorithmSpecRsassaPkcs1V15Sha384, types.SigningAlgorithmSpecRsassaPkcs1V15Sha512,
			types.SigningAlgorithmSpecRsassaPssSha256, types.SigningAlgorithmSpecRsassaPssSha384, types.SigningAlgorithmSpecRsassaPssSha512,
		},
		types.KeySpecRsa3072:       {types.SigningAlgorithmSpecRsassaPssSha256},
		types.KeySpecRsa4096:       {types.SigningAlgorithmSpecRsassaPssSha512},
		types.KeySpecEccNistP256:   {types.SigningAlgorithmSpecEcdsaSha256},
		types.KeySpecEccNistP384:   {types.SigningAlgorithmSpecEcdsaSha384},
		types.KeySpecEccNistP521:   {types.SigningAlgorithmSpecEcdsaSha512},
		types.KeySpecEccSecgP256k1: {types.SigningAlgorithmSpecEcdsaSha256},

		types.KeySpecEccNistEdwards25519: {types.SigningAlgorithmSpecEd25519Sha512},

		types.KeySpecMlDsa44: {types.SigningAlgorithmSpecMlDsaShake256},
		types.KeySpecMlDsa65: {types.SigningAlgorithmSpecMlDsaShake256},
		types.KeySpecMlDsa87: {types.SigningAlgorithmSpecMlDsaShake256},
	} {
		key := createKey(t, c, spec, types.KeyUsageTypeSignVerify)
		if len(key.SigningAlgorithms) == 0 || !containsAll(key.SigningAlgorithms, algorithms) {
			t.Errorf("%s signs by %v, want %v", spec, key.SigningAlgorithms, algorithms)
		}
		public := must[*kms.GetPublicKeyOutput](t)(c.GetPublicKey(ctx, &kms.GetPublicKeyInput{KeyId: key.Arn}))
		if public.KeySpec != spec || public.KeyUsage != types.KeyUsageTypeSignVerify || len(public.PublicKey) == 0 {
			t.Errorf("GetPublicKey = %s %s", public.KeySpec, public.KeyUsage)
		}
		for _, alg := range algorithms {
			signed := must[*kms.SignOutput](t)(c.Sign(ctx, &kms.SignInput{KeyId: key.KeyId, Message: []byte("message"), SigningAlgorithm: alg}))
			verified := must[*kms.VerifyOutput](t)(c.Verify(ctx, &kms.VerifyInput{
				KeyId: key.KeyId, Message: []byte("message"), Signature: signed.Signature, SigningAlgorithm: alg,
			}))
			if !verified.SignatureValid || *verified.KeyId != *key.Arn || verified.SigningAlgorithm != alg {
				t.Errorf("%s %s: Verify = %+v", spec, alg, verified)
			}
			_, err := c.Verify(ctx, &kms.VerifyInput{KeyId: key.KeyId, Message: []byte("massage"), Signature: signed.Signature, SigningAlgorithm: alg})
			wantCode(t, string(spec)+" "+string(alg)+" of another message", err, "KMSInvalidSignatureException")
		}
	}
}

// testMessageTypes signs what is no message, and checks it without the server.
func testMessageTypes(t *testing.T, c *kms.Client) {
	ctx := t.Context()
	key := createKey(t, c, types.KeySpecEccNistEdwards25519, types.KeyUsageTypeSignVerify)
	public := must[*kms.GetPublicKeyOutput](t)(c.GetPublicKey(ctx, &kms.GetPublicKeyInput{KeyId: key.KeyId}))
	parsed := must[any](t)(x509.ParsePKIXPublicKey(public.PublicKey))
	signed := must[*kms.SignOutput](t)(c.Sign(ctx, &kms.SignInput{KeyId: key.KeyId, Message: []byte("message"), SigningAlgorithm: types.SigningAlgorithmSpecEd25519Sha512}))
	if p, ok := parsed.(ed25519.PublicKey); !ok || !ed25519.Verify(p, []byte("message"), signed.Signature) {
		t.Errorf("a signature that only the server takes, by a %T", parsed)
	}
	digest := make([]byte, 64)
	signed = must[*kms.SignOutput](t)(c.Sign(ctx, &kms.SignInput{
		KeyId: key.KeyId, Message: digest, MessageType: types.MessageTypeDigest, SigningAlgorithm: types.SigningAlgorithmSpecEd25519PhSha512,
	}))
	prehash := sha512.Sum512(digest)
	if p, _ := parsed.(ed25519.PublicKey); ed25519.VerifyWithOptions(p, prehash[:], signed.Signature, &ed25519.Options{Hash: crypto.SHA512}) != nil {
		t.Error("an Ed25519ph signature that only the server takes")
	}
	_, err := c.Sign(ctx, &kms.SignInput{KeyId: key.KeyId, Message: digest, SigningAlgorithm: types.SigningAlgorithmSpecEd25519PhSha512})
	if answer := wantCode(t, "Ed25519ph of a message", err, "ValidationException"); answer != nil {
		if want := "Message type RAW is incompatible with algorithm ED25519_PH_SHA_512."; answer.ErrorMessage() != want {
			t.Errorf("message %q, want %q", answer.ErrorMessage(), want)
		}
	}

	key = createKey(t, c, types.KeySpecMlDsa44, types.KeyUsageTypeSignVerify)
	signed = must[*kms.SignOutput](t)(c.Sign(ctx, &kms.SignInput{
		KeyId: key.KeyId, Message: digest, MessageType: types.MessageTypeExternalMu, SigningAlgorithm: types.SigningAlgorithmSpecMlDsaShake256,
	}))
	verified := must[*kms.VerifyOutput](t)(c.Verify(ctx, &kms.VerifyInput{
		KeyId: key.KeyId, Message: digest, MessageType: types.MessageTypeExternalMu, Signature: signed.Signature, SigningAlgorithm: types.SigningAlgorithmSpecMlDsaShake256,
	}))
	if !verified.SignatureValid || len(signed.Signature) != 2420 {
		t.Errorf("of μ: %+v, a signature of %d bytes", verified, len(signed.Signature))
	}
	_, err = c.Sign(ctx, &kms.SignInput{KeyId: key.KeyId, Message: digest, MessageType: types.MessageTypeDigest, SigningAlgorithm: types.SigningAlgorithmSpecMlDsaShake256})
	wantCode(t, "ML-DSA of a digest", err, "ValidationException")
}

// testKeyAgreement agrees on secrets with keys of its own.
func testKeyAgreement(t *testing.T, c *kms.Client) {
	ctx := t.Context()
	for spec, curve := range map[types.KeySpec]ecdh.Curve{
		types.KeySpecEccNistP256: ecdh.P256(), types.KeySpecEccNistP384: ecdh.P384(), types.KeySpecEccNistP521: ecdh.P521(),
	} {
		key := createKey(t, c, spec, types.KeyUsageTypeKeyAgreement)
		if !slices.Equal(key.KeyAgreementAlgorithms, []types.KeyAgreementAlgorithmSpec{types.KeyAgreementAlgorithmSpecEcdh}) {
			t.Errorf("%s agrees by %v", spec, key.KeyAgreementAlgorithms)
		}
		public := must[*kms.GetPublicKeyOutput](t)(c.GetPublicKey(ctx, &kms.GetPublicKeyInput{KeyId: key.KeyId}))
		theirs, ok := must[any](t)(x509.ParsePKIXPublicKey(public.PublicKey)).(*ecdsa.PublicKey)
		if !ok {
			t.Fatalf("%s: no public key", spec)
		}
		ours := must[*ecdh.PrivateKey](t)(curve.GenerateKey(rand.Reader))
		want := must[[]byte](t)(ours.ECDH(must[*ecdh.PublicKey](t)(theirs.ECDH())))
		peer := must[[]byte](t)(x509.MarshalPKIXPublicKey(ours.PublicKey()))
		got := must[*kms.DeriveSharedSecretOutput](t)(c.DeriveSharedSecret(ctx, &kms.DeriveSharedSecretInput{
			KeyId: key.KeyId, KeyAgreementAlgorithm: types.KeyAgreementAlgorithmSpecEcdh, PublicKey: peer,
		}))
		if !bytes.Equal(got.SharedSecret, want) || *got.KeyId != *key.Arn || got.KeyOrigin != types.OriginTypeAwsKms {
			t.Errorf("%s: DeriveSharedSecret = %s %s, and not what it is here", spec, *got.KeyId, got.KeyOrigin)
		}
		_, err := c.DeriveSharedSecret(ctx, &kms.DeriveSharedSecretInput{
			KeyId: key.KeyId, KeyAgreementAlgorithm: types.KeyAgreementAlgorithmSpecEcdh, PublicKey: peer[:len(peer)-1],
		})
		wantCode(t, string(spec), err, "ValidationException")
	}
}

// testEncapsulation shares secrets by ML-KEM.
func testEncapsulation(t *testing.T, c *kms.Client) {
	ctx := t.Context()
	for spec, size := range map[types.KeySpec]int{types.KeySpecMlKem512: 768, types.KeySpecMlKem768: 1088, types.KeySpecMlKem1024: 1568} {
		key := createKey(t, c, spec, types.KeyUsageTypeEncapsulateDecapsulate)
		made := must[*kms.EncapsulateOutput](t)(c.Encapsulate(ctx, &kms.EncapsulateInput{KeyId: key.KeyId, EncapsulationAlgorithm: types.EncapsulationAlgorithmSpecMlKem}))
		ciphertext := made.SharedSecretCiphertextBlob
		decapsulate := func(b []byte) (*kms.DecapsulateOutput, error) {
			return c.Decapsulate(ctx, &kms.DecapsulateInput{KeyId: key.KeyId, EncapsulationAlgorithm: types.EncapsulationAlgorithmSpecMlKem, SharedSecretCiphertextBlob: b})
		}
		got := must[*kms.DecapsulateOutput](t)(decapsulate(ciphertext))
		if !bytes.Equal(got.SharedSecret, made.SharedSecret) || len(got.SharedSecret) != 32 || len(ciphertext) != size || *got.KeyId != *key.Arn {
			t.Errorf("%s: %d bytes of ciphertext, secrets of %d and %d bytes", spec, len(ciphertext), len(made.SharedSecret), len(got.SharedSecret))
		}
		ciphertext[0] ^= 1
		if other := must[*kms.DecapsulateOutput](t)(decapsulate(ciphertext)); bytes.Equal(other.SharedSecret, made.SharedSecret) {
			t.Errorf("%s: a changed ciphertext has the same secret", spec)
		}
		_, err := decapsulate(ciphertext[1:])
		wantCode(t, string(spec), err, "InvalidCiphertextException")
	}
	// One that was made here, of the public key alone.
	key := createKey(t, c, types.KeySpecMlKem768, types.KeyUsageTypeEncapsulateDecapsulate)
	public := must[*kms.GetPublicKeyOutput](t)(c.GetPublicKey(ctx, &kms.GetPublicKeyInput{KeyId: key.KeyId}))
	ours := must[*mlkem.EncapsulationKey768](t)(mlkem.NewEncapsulationKey768(public.PublicKey[len(public.PublicKey)-mlkem.EncapsulationKeySize768:]))
	want, ciphertext := ours.Encapsulate()
	got := must[*kms.DecapsulateOutput](t)(c.Decapsulate(ctx, &kms.DecapsulateInput{
		KeyId: key.KeyId, EncapsulationAlgorithm: types.EncapsulationAlgorithmSpecMlKem, SharedSecretCiphertextBlob: ciphertext,
	}))
	if !bytes.Equal(got.SharedSecret, want) {
		t.Error("not the secret that was encapsulated here")
	}
}

func containsAll[T comparable](have, want []T) bool {
	for _, w := range want {
		if !slices.Contains(have, w) {
			return false
		}
	}
	return true
}

func testMACs(t *testing.T, c *kms.Client) {
	ctx := t.Context()
	for spec, alg := range map[types.KeySpec]types.MacAlgorithmSpec{
		types.KeySpecHmac224: types.MacAlgorithmSpecHmacSha224, types.KeySpecHmac256: types.MacAlgorithmSpecHmacSha256,
		types.KeySpecHmac384: types.MacAlgorithmSpecHmacSha384, types.KeySpecHmac512: types.MacAlgorithmSpecHmacSha512,
	} {
		key := createKey(t, c, spec, types.KeyUsageTypeGenerateVerifyMac)
		made := must[*kms.GenerateMacOutput](t)(c.GenerateMac(ctx, &kms.GenerateMacInput{KeyId: key.KeyId, Message: []byte("message"), MacAlgorithm: alg}))
		verified := must[*kms.VerifyMacOutput](t)(c.VerifyMac(ctx, &kms.VerifyMacInput{KeyId: key.KeyId, Message: []byte("message"), Mac: made.Mac, MacAlgorithm: alg}))
		if !verified.MacValid || *verified.KeyId != *key.Arn {
			t.Errorf("%s: VerifyMac = %+v", spec, verified)
		}
		made.Mac[0] ^= 1
		_, err := c.VerifyMac(ctx, &kms.VerifyMacInput{KeyId: key.KeyId, Message: []byte("message"), Mac: made.Mac, MacAlgorithm: alg})
		wantCode(t, string(spec), err, "KMSInvalidMacException")
	}
}

func testRandom(t *testing.T, c *kms.Client) {
	for _, n := range []int32{1, 1024} {
		got := must[*kms.GenerateRandomOutput](t)(c.GenerateRandom(t.Context(), &kms.GenerateRandomInput{NumberOfBytes: aws.Int32(n)}))
		if len(got.Plaintext) != int(n) {
			t.Errorf("GenerateRandom(%d) = %d bytes", n, len(got.Plaintext))
		}
	}
}

// modelled fails the test unless err is the SDK's type for one exception.
func modelled[E interface {
	error
	smithy.APIError
}](t *testing.T, what string, err error, text string) {
	t.Helper()
	var want E
	if !errors.As(err, &want) {
		t.Errorf("%s: error = %v, want a %T", what, err, want)
		return
	}
	if text != "" && want.ErrorMessage() != text {
		t.Errorf("%s: message %q, want %q", what, want.ErrorMessage(), text)
	}
}

// TestErrors provokes each exception of the model that a caller can provoke.
func TestErrors(t *testing.T) {
	c := client(t)
	ctx := t.Context()
	key, other := createKey(t, c, "", ""), createKey(t, c, "", "")
	signer := createKey(t, c, types.KeySpecEccNistP256, types.KeyUsageTypeSignVerify)
	blob := must[*kms.EncryptOutput](t)(c.Encrypt(ctx, &kms.EncryptInput{KeyId: key.KeyId, Plaintext: []byte("x")})).CiphertextBlob
	missing := "00000000-0000-4000-8000-000000000000"

	_, err := c.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: &missing})
	modelled[*types.NotFoundException](t, "an unknown id", err, "Key '"+strings.Replace(*key.Arn, *key.KeyId, missing, 1)+"' does not exist")
	_, err = c.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: aws.String("nothing")})
	modelled[*types.NotFoundException](t, "no id", err, "Invalid keyId 'nothing'")
	_, err = c.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: aws.String("alias/nothing")})
	modelled[*types.NotFoundException](t, "an unknown alias", err, "Alias "+strings.Replace(*key.Arn, "key/"+*key.KeyId, "alias/nothing", 1)+" is not found.")
	_, err = c.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: aws.String("arn:aws:kms:bad")})
	modelled[*types.InvalidArnException](t, "half an ARN", err, "")

	_, err = c.Encrypt(ctx, &kms.EncryptInput{KeyId: key.KeyId, Plaintext: []byte("x"), DryRun: aws.Bool(true)})
	modelled[*types.DryRunOperationException](t, "a dry run", err, "The request would have succeeded, but the DryRun option is set.")
	_, err = c.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: blob, KeyId: other.KeyId})
	modelled[*types.IncorrectKeyException](t, "another key", err, "The key ID in the request does not identify a CMK that can perform this operation.")
	_, err = c.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: blob[:len(blob)-1]})
	modelled[*types.InvalidCiphertextException](t, "a short blob", err, "")
	_, err = c.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: blob, EncryptionContext: map[string]string{"a": "b"}})
	modelled[*types.InvalidCiphertextException](t, "another context", err, "")
	_, err = c.Encrypt(ctx, &kms.EncryptInput{KeyId: signer.KeyId, Plaintext: []byte("x")})
	modelled[*types.InvalidKeyUsageException](t, "another usage", err, *signer.Arn+" key usage is SIGN_VERIFY which is not valid for Encrypt.")
	_, err = c.Sign(ctx, &kms.SignInput{KeyId: signer.KeyId, Message: []byte("x"), SigningAlgorithm: types.SigningAlgorithmSpecEcdsaSha384})
	modelled[*types.InvalidKeyUsageException](t, "another algorithm", err, "Algorithm ECDSA_SHA_384 is incompatible with key spec ECC_NIST_P256.")
	_, err = c.Verify(ctx, &kms.VerifyInput{KeyId: signer.KeyId, Message: []byte("x"), Signature: []byte("x"), SigningAlgorithm: types.SigningAlgorithmSpecEcdsaSha256})
	modelled[*types.KMSInvalidSignatureException](t, "no signature", err, "")
	_, err = c.GetPublicKey(ctx, &kms.GetPublicKeyInput{KeyId: key.KeyId})
	modelled[*types.UnsupportedOperationException](t, "the public key of a symmetric key", err, "")

	alias := "alias/errors/" + *key.KeyId
	must[*kms.CreateAliasOutput](t)(c.CreateAlias(ctx, &kms.CreateAliasInput{AliasName: &alias, TargetKeyId: key.KeyId}))
	_, err = c.CreateAlias(ctx, &kms.CreateAliasInput{AliasName: &alias, TargetKeyId: key.KeyId})
	modelled[*types.AlreadyExistsException](t, "an alias twice", err, "An alias with the name "+strings.Replace(*key.Arn, "key/"+*key.KeyId, alias, 1)+" already exists")
	_, err = c.CreateAlias(ctx, &kms.CreateAliasInput{AliasName: aws.String("alias/aws/mine"), TargetKeyId: key.KeyId})
	modelled[*types.InvalidAliasNameException](t, "a reserved alias", err, "")
	_, err = c.UpdateAlias(ctx, &kms.UpdateAliasInput{AliasName: aws.String("alias/nothing"), TargetKeyId: key.KeyId})
	modelled[*types.NotFoundException](t, "an unknown alias", err, "")
	for i := range 49 {
		must[*kms.CreateAliasOutput](t)(c.CreateAlias(ctx, &kms.CreateAliasInput{AliasName: aws.String(fmt.Sprintf("%s/%d", alias, i)), TargetKeyId: key.KeyId}))
	}
	_, err = c.CreateAlias(ctx, &kms.CreateAliasInput{AliasName: aws.String(alias + "/50"), TargetKeyId: key.KeyId})
	modelled[*types.LimitExceededException](t, "the 51st alias of a key", err, "")
	_, err = c.ListKeys(ctx, &kms.ListKeysInput{Marker: aws.String("no marker of ours")})
	modelled[*types.InvalidMarkerException](t, "a marker", err, "")

	tag := func(name string) types.Tag { return types.Tag{TagKey: &name, TagValue: aws.String("")} }
	_, err = c.TagResource(ctx, &kms.TagResourceInput{KeyId: key.KeyId, Tags: []types.Tag{tag("aws:mine")}})
	modelled[*types.TagException](t, "a reserved tag", err, "Tags beginning with aws: are reserved")
	_, err = c.TagResource(ctx, &kms.TagResourceInput{KeyId: key.KeyId, Tags: []types.Tag{tag("a"), tag("a")}})
	modelled[*types.TagException](t, "a tag twice", err, "Duplicate tag keys")

	for what, in := range map[string]*kms.CreateKeyInput{
		"a custom key store": {CustomKeyStoreId: aws.String("cks-1234567890abcdef0"), Origin: types.OriginTypeAwsCloudhsm},
	} {
		before := countKeys(t, c)
		_, err = c.CreateKey(ctx, in)
		modelled[*types.UnsupportedOperationException](t, what, err, "")
		if after := countKeys(t, c); after != before {
			t.Errorf("%s: refused, and %d keys made", what, after-before)
		}
	}

	must[*kms.DisableKeyOutput](t)(c.DisableKey(ctx, &kms.DisableKeyInput{KeyId: key.KeyId}))
	_, err = c.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: blob})
	modelled[*types.DisabledException](t, "a disabled key", err, *key.Arn+" is disabled.")
	_, err = c.CancelKeyDeletion(ctx, &kms.CancelKeyDeletionInput{KeyId: key.KeyId})
	modelled[*types.KMSInvalidStateException](t, "nothing to cancel", err, *key.Arn+" is not pending deletion.")
	must[*kms.ScheduleKeyDeletionOutput](t)(c.ScheduleKeyDeletion(ctx, &kms.ScheduleKeyDeletionInput{KeyId: key.KeyId}))
	_, err = c.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: blob})
	modelled[*types.KMSInvalidStateException](t, "a key pending deletion", err, *key.Arn+" is pending deletion.")
	_, err = c.TagResource(ctx, &kms.TagResourceInput{KeyId: key.KeyId, Tags: []types.Tag{tag("a")}})
	modelled[*types.KMSInvalidStateException](t, "a tag on a key pending deletion", err, *key.Arn+" is pending deletion.")
}

func countKeys(t *testing.T, c *kms.Client) (n int) {
	t.Helper()
	for pages := kms.NewListKeysPaginator(c, &kms.ListKeysInput{Limit: aws.Int32(1000)}); pages.HasMorePages(); {
		n += len(must[*kms.ListKeysOutput](t)(pages.NextPage(t.Context())).Keys)
	}
	return n
}
