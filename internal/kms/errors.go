package kms

import (
	"errors"
	"strconv"

	"github.com/keyreeve/keyreeve/internal/api/kmsapi"
	"github.com/keyreeve/keyreeve/internal/attestation"
	"github.com/keyreeve/keyreeve/internal/authz"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/keyring"
	"github.com/keyreeve/keyreeve/internal/seal"
	"github.com/keyreeve/keyreeve/internal/wire"
	"github.com/keyreeve/keyreeve/policy"
)

// answer puts an error of the packages below into the API's terms: the code and
// text that AWS KMS gives. What has no such terms is a KMSInternalException,
// whose cause stays here.
func answer(c *call.Call, err error) error {
	if err == nil {
		return nil
	}
	var (
		ready     *wire.Error
		denied    *authz.Denied
		state     *keyring.StateError
		usage     *keyring.UsageError
		algorithm *keyring.AlgorithmError
		length    *keyring.LengthError
		malformed *policy.Error
		origin    *keyring.OriginError
		primary   *keyring.NotPrimaryError
		document  *attestation.Error
	)
	switch {
	case errors.As(err, &ready):
		return ready
	case errors.As(err, &denied):
		return wire.AccessDenied(denied.Text)
	case errors.As(err, &state):
		return stateError(state)
	case errors.As(err, &usage):
		return kmsapi.InvalidKeyUsageException(usage.ARN + " key usage is " + string(usage.Usage) +
			" which is not valid for " + c.Operation.Name + ".")
	case errors.As(err, &algorithm):
		return kmsapi.InvalidKeyUsageException("Algorithm " + string(algorithm.Algorithm) +
			" is incompatible with key spec " + string(algorithm.Spec) + ".")
	case errors.As(err, &length):
		return wire.Validation("Algorithm " + string(length.Algorithm) + " and key spec " + string(length.Spec) +
			" cannot encrypt data larger than " + strconv.Itoa(length.Max) + " bytes.")
	case errors.As(err, &document):
		return wire.Validation("The attestation document " + document.Reason + ".")
	case errors.As(err, &origin):
		return kmsapi.UnsupportedOperationException(origin.ARN + " origin is " + string(origin.Origin) + " which is not valid for this operation.")
	case errors.As(err, &primary):
		return notPrimary(c.Operation.Name, primary.ARN)
	case errors.As(err, &malformed):
		return kmsapi.MalformedPolicyDocumentException(malformed.Message)
	case errors.Is(err, authz.ErrGrantToken):
		return kmsapi.InvalidGrantTokenException("The grant token is not valid.")
	case errors.Is(err, keyring.ErrInvalidCiphertext):
		return kmsapi.InvalidCiphertextException("")
	case errors.Is(err, keyring.ErrIncorrectKey):
		return kmsapi.IncorrectKeyException(textIncorrectKey)
	case errors.Is(err, keyring.ErrBusy):
		return throttled()
	case errors.Is(err, keyring.ErrClosed), errors.Is(err, seal.ErrSealed):
		// The node is being sealed under the call.
		return wire.Sealed().WithCause(err)
	}
	if err := importError(err); err != nil {
		return err
	}
	return wire.Internal(err)
}

const textIncorrectKey = "The key ID in the request does not identify a CMK that can perform this operation."

// stateTexts are the states that are told in the same words.
var stateTexts = map[keyring.State]string{
	keyring.PendingDeletion:        "pending deletion",
	keyring.PendingReplicaDeletion: "pending replica deletion",
	keyring.PendingImport:          "pending import",
	keyring.Creating:               "creating",
	keyring.Updating:               "updating",
}

// stateError is the API's error for a key that is in a state in which the
// operation cannot be done.
func stateError(e *keyring.StateError) *wire.Error {
	switch {
	case e.Want == keyring.PendingDeletion:
		return kmsapi.KMSInvalidStateException(e.ARN + " is not pending deletion.")
	case e.State == keyring.Disabled:
		return kmsapi.DisabledException(e.ARN + " is disabled.")
	}
	if text, ok := stateTexts[e.State]; ok {
		return kmsapi.KMSInvalidStateException(e.ARN + " is " + text + ".")
	}
	return wire.Internal(e)
}

// errDryRun ends a call with DryRun that has passed every check.
func errDryRun() error {
	return kmsapi.DryRunOperationException("The request would have succeeded, but the DryRun option is set.")
}

// notOffered refuses a key spec that other Regions have; what is the parameter and
// the value.
func notOffered(what string) error {
	return kmsapi.UnsupportedOperationException(what + " is not supported in this Region")
}

// unsupported refuses a parameter whose feature this version does not have;
// what is the parameter or the value.
func unsupported(what string) error {
	return kmsapi.UnsupportedOperationException(what + " is not supported.")
}
