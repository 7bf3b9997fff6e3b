// Package example shows how a program that uses AWS KMS through the AWS SDK for
// Go is tested with package kmstest: [Vault] is the program, its tests are the
// example.
package example

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/service/kms"
)

// Vault keeps the notes of tenants, each encrypted for its tenant alone. It
// does not know what it is tested with.
type Vault struct {
	Client *kms.Client
	KeyID  string
}

// Lock encrypts a tenant's note.
func (v Vault) Lock(ctx context.Context, tenant, note string) ([]byte, error) {
	out, err := v.Client.Encrypt(ctx, &kms.EncryptInput{
		KeyId: &v.KeyID, Plaintext: []byte(note), EncryptionContext: map[string]string{"tenant": tenant},
	})
	if err != nil {
		return nil, fmt.Errorf("locking a note of %s: %w", tenant, err)
	}
	return out.CiphertextBlob, nil
}

// Unlock decrypts a tenant's note.
func (v Vault) Unlock(ctx context.Context, tenant string, locked []byte) (string, error) {
	out, err := v.Client.Decrypt(ctx, &kms.DecryptInput{
		KeyId: &v.KeyID, CiphertextBlob: locked, EncryptionContext: map[string]string{"tenant": tenant},
	})
	if err != nil {
		return "", fmt.Errorf("unlocking a note of %s: %w", tenant, err)
	}
	return string(out.Plaintext), nil
}
