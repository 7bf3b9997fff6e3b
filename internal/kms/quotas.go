package kms

import (
	"errors"
	"net/http"

	"github.com/keyreeve/keyreeve/internal/api/kmsapi"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/keyring"
	"github.com/keyreeve/keyreeve/internal/quota"
	"github.com/keyreeve/keyreeve/internal/wire"
)

// Request quotas count every call that reaches an operation, however it ends. A
// call is counted in the caller's account and Region:
//
//   - by its operation before anything else is done, if operations of its kind
//     have a quota of their own;
//   - by the kind of key once the key is opened for it, if it is a cryptographic
//     operation. Before that nobody may learn what kind of key it is, or whether
//     it is there: a call that comes to nothing earlier is counted by what it
//     asked for, whatever key that named.
//
// Sources: "Request quotas" and "Throttling AWS KMS requests" in the AWS KMS
// Developer Guide.

// byOperation, in Call.Counted, is a call that was counted by its operation. The
// other bits are those of the kinds of key that it was counted by.
const byOperation = 1 << quota.None

// count counts a call by its operation, if calls of it are counted so.
func (s *Service) count(c *call.Call, in any) error {
	class := quota.Operation(c.Operation.Name)
	replica, copies := "", 1
	also := class
	switch in := in.(type) {
	case *kmsapi.GenerateRandomInput:
		class = quota.Symmetric
	case *kmsapi.GenerateDataKeyPairInput:
		class = quota.KeyPair(string(in.KeyPairSpec))
	case *kmsapi.GenerateDataKeyPairWithoutPlaintextInput:
		class = quota.KeyPair(string(in.KeyPairSpec))
	case *kmsapi.ReplicateKeyInput:
		replica, also, copies = in.ReplicaRegion, quota.Operation("CreateKey"), 2
	case *kmsapi.UpdatePrimaryRegionInput:
		replica = in.PrimaryRegion
	}
	if class == quota.None {
		return nil
	}
	c.Counted |= byOperation
	account := countedAccount(c)
	if !s.quotas.Take(account, c.Region, class, 1) || replica != "" && !s.quotas.Take(account, replica, also, copies) {
		return throttled()
	}
	return nil
}

// countKey counts a call by the kind of a key that was opened for it, unless it
// was counted by that, or by its operation.
func (s *Service) countKey(c *call.Call, spec keyring.Spec) error {
	class := quota.Kind(string(spec))
	if c.Counted&(byOperation|1<<class) != 0 {
		return nil
	}
	c.Counted |= 1 << class
	if !s.quotas.Take(countedAccount(c), c.Region, class, 1) {
		return throttled()
	}
	return nil
}

// countFailed counts a call that failed before it was counted, and returns the
// error that it is answered.
func (s *Service) countFailed(c *call.Call, in any, err error) error {
	if c.Counted != 0 || s.quotas.Take(countedAccount(c), c.Region, requested(in), 1) {
		return err
	}
	if e := (*wire.Error)(nil); errors.As(err, &e) && e.Status >= http.StatusInternalServerError {
		return err // it is to be looked into
	}
	c.Restart() // as if nothing had been looked at
	return throttled()
}

// requested returns the kind of key that a request of a cryptographic operation
// wants.
func requested(in any) quota.Class {
	switch in := in.(type) {
	case *kmsapi.EncryptInput:
		return quota.Kind(string(in.EncryptionAlgorithm))
	case *kmsapi.DecryptInput:
		return quota.Kind(string(in.EncryptionAlgorithm))
	case *kmsapi.ReEncryptInput:
		return quota.Kind(string(in.SourceEncryptionAlgorithm))
	case *kmsapi.SignInput:
		return quota.Kind(string(in.SigningAlgorithm))
	case *kmsapi.VerifyInput:
		return quota.Kind(string(in.SigningAlgorithm))
	case *kmsapi.DeriveSharedSecretInput:
		return quota.ECC
	case *kmsapi.EncapsulateInput, *kmsapi.DecapsulateInput:
		return quota.MLKEM
	}
	return quota.Symmetric
}

// countedAccount is who answers for a call: the caller's account, also if a
// service makes the call for it, or the service, if it calls by itself.
func countedAccount(c *call.Call) string {
	if c.Caller.Account == "" && len(c.Caller.Services) > 0 {
		return c.Caller.Services[0]
	}
	return c.Caller.Account
}

func throttled() error {
	return wire.Throttling("You have exceeded the rate at which you may call KMS. Reduce the frequency of your calls.")
}
