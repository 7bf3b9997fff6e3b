package interop

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
)

// testImport imports material, and what the key made by it is there again when
// the material is.
func testImport(t *testing.T, c *kms.Client) {
	ctx := t.Context()
	key := must[*kms.CreateKeyOutput](t)(c.CreateKey(ctx, &kms.CreateKeyInput{Origin: types.OriginTypeExternal})).KeyMetadata
	if key.KeyState != types.KeyStatePendingImport || key.Enabled || key.ExpirationModel != "" || key.CurrentKeyMaterialId != nil {
		t.Errorf("without material: %+v", key)
	}
	p := must[*kms.GetParametersForImportOutput](t)(c.GetParametersForImport(ctx, &kms.GetParametersForImportInput{
		KeyId: key.KeyId, WrappingAlgorithm: types.AlgorithmSpecRsaesOaepSha256, WrappingKeySpec: types.WrappingKeySpecRsa2048,
	}))
	parsed, err := x509.ParsePKIXPublicKey(p.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	material := make([]byte, 32)
	_, _ = rand.Read(material)
	wrapped, err := rsa.EncryptOAEP(sha256.New(), rand.Reader, parsed.(*rsa.PublicKey), material, nil)
	if err != nil {
		t.Fatal(err)
	}
	until := time.Now().Add(time.Hour).Truncate(time.Second)
	in := &kms.ImportKeyMaterialInput{
		KeyId: key.KeyId, ImportToken: p.ImportToken, EncryptedKeyMaterial: wrapped, ValidTo: &until, KeyMaterialDescription: aws.String("mine"),
	}
	made := must[*kms.ImportKeyMaterialOutput](t)(c.ImportKeyMaterial(ctx, in))
	now := must[*kms.DescribeKeyOutput](t)(c.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: key.KeyId})).KeyMetadata
	if now.KeyState != types.KeyStateEnabled || now.ExpirationModel != types.ExpirationModelTypeKeyMaterialExpires || !until.Equal(aws.ToTime(now.ValidTo)) ||
		aws.ToString(now.CurrentKeyMaterialId) != aws.ToString(made.KeyMaterialId) || *made.KeyId != *key.Arn {
		t.Errorf("with material: %+v", now)
	}
	blob := must[*kms.EncryptOutput](t)(c.Encrypt(ctx, &kms.EncryptInput{KeyId: key.KeyId, Plaintext: []byte("x")})).CiphertextBlob
	gone := must[*kms.DeleteImportedKeyMaterialOutput](t)(c.DeleteImportedKeyMaterial(ctx, &kms.DeleteImportedKeyMaterialInput{KeyId: key.KeyId, KeyMaterialId: made.KeyMaterialId}))
	if *gone.KeyId != *key.Arn || *gone.KeyMaterialId != *made.KeyMaterialId {
		t.Errorf("deleted %+v", gone)
	}
	_, err = c.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: blob})
	modelled[*types.KMSInvalidStateException](t, "a key without material", err, *key.Arn+" is pending import.")
	in.ValidTo, in.ExpirationModel = nil, types.ExpirationModelTypeKeyMaterialDoesNotExpire
	must[*kms.ImportKeyMaterialOutput](t)(c.ImportKeyMaterial(ctx, in))
	if out := must[*kms.DecryptOutput](t)(c.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: blob})); !bytes.Equal(out.Plaintext, []byte("x")) {
		t.Errorf("decrypted %q", out.Plaintext)
	}
}
