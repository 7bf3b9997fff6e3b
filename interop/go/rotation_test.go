package interop

import (
	"bytes"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
)

// testRotation rotates a key until it cannot be any more: what was encrypted in
// between is decrypted, each with its own material.
func testRotation(t *testing.T, c *kms.Client) {
	ctx := t.Context()
	key := createKey(t, c, types.KeySpecSymmetricDefault, types.KeyUsageTypeEncryptDecrypt)
	status := func() *kms.GetKeyRotationStatusOutput {
		t.Helper()
		return must[*kms.GetKeyRotationStatusOutput](t)(c.GetKeyRotationStatus(ctx, &kms.GetKeyRotationStatusInput{KeyId: key.Arn}))
	}
	if s := status(); s.KeyRotationEnabled || s.RotationPeriodInDays != nil || s.NextRotationDate != nil || *s.KeyId != *key.Arn {
		t.Errorf("of a new key: %+v", s)
	}
	must[*kms.EnableKeyRotationOutput](t)(c.EnableKeyRotation(ctx, &kms.EnableKeyRotationInput{KeyId: key.KeyId, RotationPeriodInDays: aws.Int32(2560)}))
	s := status()
	if in := time.Until(aws.ToTime(s.NextRotationDate)); !s.KeyRotationEnabled || *s.RotationPeriodInDays != 2560 || (in-2560*24*time.Hour).Abs() > time.Minute {
		t.Errorf("enabled: %+v, in %v", s, in)
	}

	blobs := map[string][]byte{} // by material
	encrypt := func() {
		t.Helper()
		material := must[*kms.DescribeKeyOutput](t)(c.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: key.KeyId})).KeyMetadata.CurrentKeyMaterialId
		blobs[*material] = must[*kms.EncryptOutput](t)(c.Encrypt(ctx, &kms.EncryptInput{KeyId: key.KeyId, Plaintext: []byte(*material)})).CiphertextBlob
	}
	encrypt()
	for range 25 {
		if out := must[*kms.RotateKeyOnDemandOutput](t)(c.RotateKeyOnDemand(ctx, &kms.RotateKeyOnDemandInput{KeyId: key.KeyId})); *out.KeyId != *key.Arn {
			t.Errorf("rotated %s", *out.KeyId)
		}
		encrypt()
	}
	_, err := c.RotateKeyOnDemand(ctx, &kms.RotateKeyOnDemandInput{KeyId: key.KeyId})
	modelled[*types.LimitExceededException](t, "26 rotations", err,
		"The on-demand rotations limit has been reached for the given keyId. No more on-demand rotations can be performed for this key: "+*key.Arn)
	if len(blobs) != 26 {
		t.Errorf("%d materials", len(blobs))
	}
	for material, blob := range blobs {
		out := must[*kms.DecryptOutput](t)(c.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: blob}))
		if !bytes.Equal(out.Plaintext, []byte(material)) || *out.KeyMaterialId != material {
			t.Errorf("decrypted %q with %s, want %s", out.Plaintext, *out.KeyMaterialId, material)
		}
	}

	var listed []types.RotationsListEntry
	pages := kms.NewListKeyRotationsPaginator(c, &kms.ListKeyRotationsInput{
		KeyId: key.KeyId, IncludeKeyMaterial: types.IncludeKeyMaterialAllKeyMaterial, Limit: aws.Int32(7),
	})
	for pages.HasMorePages() {
		page := must[*kms.ListKeyRotationsOutput](t)(pages.NextPage(ctx))
		listed = append(listed, page.Rotations...)
	}
	for i, r := range listed {
		want := types.KeyMaterialStateNonCurrent
		if i == len(listed)-1 {
			want = types.KeyMaterialStateCurrent
		}
		if first := i == 0; r.KeyMaterialState != want || blobs[*r.KeyMaterialId] == nil || (r.RotationDate == nil) != first || (r.RotationType == "") != first ||
			!first && r.RotationType != types.RotationTypeOnDemand || r.ImportState != "" {
			t.Errorf("material %d: %+v", i, r)
		}
		delete(blobs, *r.KeyMaterialId)
	}
	if len(listed) != 26 || len(blobs) != 0 {
		t.Errorf("%d materials are listed, %d are not", len(listed), len(blobs))
	}

	must[*kms.DisableKeyRotationOutput](t)(c.DisableKeyRotation(ctx, &kms.DisableKeyRotationInput{KeyId: key.KeyId}))
	if s := status(); s.KeyRotationEnabled {
		t.Errorf("disabled: %+v", s)
	}
	mac := createKey(t, c, types.KeySpecHmac256, types.KeyUsageTypeGenerateVerifyMac)
	_, err = c.EnableKeyRotation(ctx, &kms.EnableKeyRotationInput{KeyId: mac.KeyId})
	modelled[*types.UnsupportedOperationException](t, "an HMAC key", err, "")
}
