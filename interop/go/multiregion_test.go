package interop

import (
	"bytes"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
)

// in has a call made in a Region.
func in(region string) func(*kms.Options) {
	return func(o *kms.Options) { o.Region = region }
}

// becomes waits until a key in a Region is enabled, and a primary key or a replica.
func becomes(t testing.TB, c *kms.Client, region string, id *string, want types.MultiRegionKeyType) *types.KeyMetadata {
	t.Helper()
	for range 3000 {
		m := must[*kms.DescribeKeyOutput](t)(c.DescribeKey(t.Context(), &kms.DescribeKeyInput{KeyId: id}, in(region))).KeyMetadata
		if m.KeyState == types.KeyStateEnabled && m.MultiRegionConfiguration.MultiRegionKeyType == want {
			return m
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("%s in %s is no enabled %s", *id, region, want)
	return nil
}

// testMultiRegion has a key in two Regions: what the one makes, the other takes,
// and either can be the primary.
func testMultiRegion(t *testing.T, c *kms.Client) {
	ctx := t.Context()
	const far = "eu-west-3"
	near := c.Options().Region
	for _, spec := range []types.KeySpec{types.KeySpecSymmetricDefault, types.KeySpecHmac256, types.KeySpecEccNistP256} {
		usage := map[types.KeySpec]types.KeyUsageType{types.KeySpecHmac256: types.KeyUsageTypeGenerateVerifyMac, types.KeySpecEccNistP256: types.KeyUsageTypeSignVerify}[spec]
		made := must[*kms.CreateKeyOutput](t)(c.CreateKey(ctx, &kms.CreateKeyInput{KeySpec: spec, KeyUsage: usage, MultiRegion: aws.Bool(true)})).KeyMetadata
		id := made.KeyId
		if set := made.MultiRegionConfiguration; !*made.MultiRegion || set.MultiRegionKeyType != types.MultiRegionKeyTypePrimary || *set.PrimaryKey.Arn != *made.Arn || len(set.ReplicaKeys) != 0 {
			t.Errorf("CreateKey = %+v %+v", made, set)
		}
		out := must[*kms.ReplicateKeyOutput](t)(c.ReplicateKey(ctx, &kms.ReplicateKeyInput{
			KeyId: id, ReplicaRegion: aws.String(far), Tags: []types.Tag{{TagKey: aws.String("a"), TagValue: aws.String("b")}},
		}))
		if r := out.ReplicaKeyMetadata; r.KeyState != types.KeyStateCreating || *r.KeyId != *id || *r.Arn == *made.Arn || len(out.ReplicaTags) != 1 || *out.ReplicaPolicy == "" {
			t.Errorf("ReplicateKey = %+v %+v", out, r)
		}
		becomes(t, c, far, id, types.MultiRegionKeyTypeReplica)
		for from, to := range map[string]string{near: far, far: near} {
			switch spec {
			case types.KeySpecHmac256:
				mac := must[*kms.GenerateMacOutput](t)(c.GenerateMac(ctx, &kms.GenerateMacInput{KeyId: id, Message: []byte(from), MacAlgorithm: types.MacAlgorithmSpecHmacSha256}, in(from)))
				must[*kms.VerifyMacOutput](t)(c.VerifyMac(ctx, &kms.VerifyMacInput{KeyId: id, Message: []byte(from), Mac: mac.Mac, MacAlgorithm: mac.MacAlgorithm}, in(to)))
			case types.KeySpecEccNistP256:
				signed := must[*kms.SignOutput](t)(c.Sign(ctx, &kms.SignInput{KeyId: id, Message: []byte(from), SigningAlgorithm: types.SigningAlgorithmSpecEcdsaSha256}, in(from)))
				must[*kms.VerifyOutput](t)(c.Verify(ctx, &kms.VerifyInput{KeyId: id, Message: []byte(from), Signature: signed.Signature, SigningAlgorithm: signed.SigningAlgorithm}, in(to)))
			default:
				sealed := must[*kms.EncryptOutput](t)(c.Encrypt(ctx, &kms.EncryptInput{KeyId: id, Plaintext: []byte(from)}, in(from)))
				opened := must[*kms.DecryptOutput](t)(c.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: sealed.CiphertextBlob}, in(to)))
				if !bytes.Equal(opened.Plaintext, []byte(from)) || *opened.KeyId == *sealed.KeyId {
					t.Errorf("%s opened %q of %s with %s", to, opened.Plaintext, *sealed.KeyId, *opened.KeyId)
				}
			}
		}
		must[*kms.UpdatePrimaryRegionOutput](t)(c.UpdatePrimaryRegion(ctx, &kms.UpdatePrimaryRegionInput{KeyId: id, PrimaryRegion: aws.String(far)}))
		becomes(t, c, near, id, types.MultiRegionKeyTypeReplica)
		primary := becomes(t, c, far, id, types.MultiRegionKeyTypePrimary)
		if set := primary.MultiRegionConfiguration; *set.PrimaryKey.Region != far || len(set.ReplicaKeys) != 1 || *set.ReplicaKeys[0].Arn != *made.Arn {
			t.Errorf("the new primary: %+v", set)
		}
		gone := must[*kms.ScheduleKeyDeletionOutput](t)(c.ScheduleKeyDeletion(ctx, &kms.ScheduleKeyDeletionInput{KeyId: id}, in(far)))
		if gone.KeyState != types.KeyStatePendingReplicaDeletion || gone.DeletionDate != nil || *gone.PendingWindowInDays != 30 {
			t.Errorf("ScheduleKeyDeletion = %+v", gone)
		}
	}
}
