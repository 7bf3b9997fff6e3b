package interop

import (
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
)

// testLastUsage uses a key, which then cannot be disabled or deleted by those
// whose policy guards keys that are in use.
func testLastUsage(t *testing.T, c *kms.Client) {
	ctx := t.Context()
	key := createKey(t, c, types.KeySpecHmac256, types.KeyUsageTypeGenerateVerifyMac)
	before := must[*kms.GetKeyLastUsageOutput](t)(c.GetKeyLastUsage(ctx, &kms.GetKeyLastUsageInput{KeyId: key.KeyId}))
	if last := before.KeyLastUsage; last == nil || last.Operation != "" || last.Timestamp != nil || *before.KeyId != *key.KeyId ||
		!before.KeyCreationDate.Equal(*key.CreationDate) || !before.TrackingStartDate.Equal(*key.CreationDate) {
		t.Errorf("before it was used: %+v", before)
	}
	mac := must[*kms.GenerateMacOutput](t)(c.GenerateMac(ctx, &kms.GenerateMacInput{
		KeyId: key.KeyId, Message: []byte("m"), MacAlgorithm: types.MacAlgorithmSpecHmacSha256,
	}))
	id, ok := awsmiddleware.GetRequestIDMetadata(mac.ResultMetadata)
	last := must[*kms.GetKeyLastUsageOutput](t)(c.GetKeyLastUsage(ctx, &kms.GetKeyLastUsageInput{KeyId: key.Arn})).KeyLastUsage
	if last == nil || last.Operation != types.KeyLastUsageTrackingOperationGenerateMac || !ok || *last.KmsRequestId != id || len(*last.CloudTrailEventId) != 36 {
		t.Errorf("after request %s: %+v", id, last)
	} else if age := time.Since(*last.Timestamp); age < -time.Minute || age > time.Minute {
		t.Errorf("a key was used %v ago", age)
	}
	_, err := c.GetKeyLastUsage(ctx, &kms.GetKeyLastUsageInput{KeyId: aws.String("alias/none")})
	wantCode(t, "GetKeyLastUsage of an alias", err, "InvalidArnException")

	guarded := must[*kms.CreateKeyOutput](t)(c.CreateKey(ctx, &kms.CreateKeyInput{
		Policy: aws.String(`{"Version": "2012-10-17", "Statement": [
			{"Effect": "Allow", "Principal": {"AWS": "` + *key.AWSAccountId + `"}, "Action": "kms:*", "Resource": "*"},
			{"Effect": "Deny", "Principal": "*", "Action": ["kms:DisableKey", "kms:ScheduleKeyDeletion"], "Resource": "*",
			 "Condition": {"NumericLessThanEquals": {"kms:TrailingDaysWithoutKeyUsage": "90"}}}]}`),
	})).KeyMetadata
	_, err = c.DisableKey(ctx, &kms.DisableKeyInput{KeyId: guarded.KeyId})
	wantCode(t, "DisableKey", err, "AccessDeniedException")
	_, err = c.ScheduleKeyDeletion(ctx, &kms.ScheduleKeyDeletionInput{KeyId: guarded.KeyId})
	wantCode(t, "ScheduleKeyDeletion", err, "AccessDeniedException")
}
