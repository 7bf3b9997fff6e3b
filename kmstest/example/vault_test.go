package example_test

import (
	"context"
	"errors"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/keyreeve/keyreeve/kmstest"
	"github.com/keyreeve/keyreeve/kmstest/example"
)

// newVault makes a vault on a server of its own, which ends with the test.
func newVault(t *testing.T) example.Vault {
	t.Helper()
	client := newClient(kmstest.NewServer(t))
	key, err := client.CreateKey(t.Context(), &kms.CreateKeyInput{})
	if err != nil {
		t.Fatal(err)
	}
	return example.Vault{Client: client, KeyID: *key.KeyMetadata.KeyId}
}

func TestVault(t *testing.T) {
	v := newVault(t)
	locked, err := v.Lock(t.Context(), "alice", "the key is under the mat")
	if err != nil {
		t.Fatal(err)
	}
	note, err := v.Unlock(t.Context(), "alice", locked)
	if err != nil || note != "the key is under the mat" {
		t.Errorf("alice reads %q, %v", note, err)
	}
	var invalid *types.InvalidCiphertextException
	if note, err := v.Unlock(t.Context(), "bob", locked); !errors.As(err, &invalid) {
		t.Errorf("bob reads %q, %v", note, err)
	}
}

// A key that is switched off, which is hard to come by otherwise.
func TestVaultWithDisabledKey(t *testing.T) {
	v := newVault(t)
	if _, err := v.Client.DisableKey(context.Background(), &kms.DisableKeyInput{KeyId: &v.KeyID}); err != nil {
		t.Fatal(err)
	}
	var disabled *types.DisabledException
	if _, err := v.Lock(t.Context(), "alice", "never mind"); !errors.As(err, &disabled) {
		t.Errorf("it locks with a disabled key: %v", err)
	}
}

// Calls that come too often are answered so that AWS's clients wait and try
// again; this one does not, to see it.
func TestVaultTooOften(t *testing.T) {
	client := newClient(kmstest.NewServer(t, kmstest.RequestQuotas(map[string]float64{"symmetric": 0.001})))
	key, err := client.CreateKey(t.Context(), &kms.CreateKeyInput{})
	if err != nil {
		t.Fatal(err)
	}
	once := kms.New(client.Options(), func(o *kms.Options) { o.Retryer = aws.NopRetryer{} })
	v := example.Vault{Client: once, KeyID: *key.KeyMetadata.KeyId}
	if _, err := v.Lock(t.Context(), "alice", "the first note"); err != nil {
		t.Fatal(err)
	}
	_, err = v.Lock(t.Context(), "alice", "the second note")
	var throttled interface{ ErrorCode() string }
	if !errors.As(err, &throttled) || throttled.ErrorCode() != "ThrottlingException" {
		t.Errorf("the second note: %v", err)
	}
	if retry.IsErrorThrottles(retry.DefaultThrottles).IsErrorThrottle(err) != aws.TrueTernary {
		t.Error("the SDK does not take it for throttling")
	}
}
