package organizations

import (
	"errors"

	api "github.com/keyreeve/keyreeve/internal/api/organizationsapi"
	"github.com/keyreeve/keyreeve/internal/authz"
	"github.com/keyreeve/keyreeve/internal/identity"
	"github.com/keyreeve/keyreeve/internal/seal"
	"github.com/keyreeve/keyreeve/internal/wire"
)

// The texts are those of recorded answers of AWS where there are any.

func errNotInUse() *wire.Error {
	return api.AWSOrganizationsNotInUseException("Your account is not a member of an organization.")
}

func errNotYours() *wire.Error {
	return api.AccessDeniedException("You don't have permissions to access this resource.")
}

func errNoAccount() *wire.Error {
	return api.AccountNotFoundException("You specified an account that doesn't exist.")
}

func errNoRoot() *wire.Error {
	return api.RootNotFoundException("You specified a root that doesn't exist.")
}

func errNoUnit() *wire.Error {
	return api.OrganizationalUnitNotFoundException("You specified an organizational unit that doesn't exist.")
}

func errNoParent() *wire.Error {
	return api.ParentNotFoundException("You specified parent that doesn't exist.")
}

func errNoPolicy() *wire.Error {
	return api.PolicyNotFoundException("You specified a policy that doesn't exist.")
}

func errNoTarget() *wire.Error {
	return api.TargetNotFoundException("You specified a target that doesn't exist.")
}

func errImmutable() *wire.Error {
	return invalid("IMMUTABLE_POLICY", "You can't modify an AWS managed policy.")
}

func errTypeNotAvailable() *wire.Error {
	return api.PolicyTypeNotAvailableForOrganizationException("This organization cannot use policies of the specified type.")
}

func errTypeNotEnabled() *wire.Error {
	return api.PolicyTypeNotEnabledException("This operation can be performed only for enabled policy types.")
}

func invalid(reason, text string) *wire.Error {
	return api.InvalidInputException(reason, text)
}

func violates(reason, text string) *wire.Error {
	return api.ConstraintViolationException(reason, text)
}

// answer puts an error of the packages below into the API's terms. Operations
// have looked whether what they need is there, and give errors of their own for
// what they expect: if the directory says otherwise of the rest, it has changed
// meanwhile.
func answer(err error) error {
	if err == nil {
		return nil
	}
	var (
		ready  *wire.Error
		denied *authz.Denied
		told   *identity.Error
	)
	switch {
	case errors.As(err, &ready):
		return ready
	case errors.As(err, &denied):
		return api.AccessDeniedException(denied.Text)
	case errors.Is(err, identity.ErrMalformed) && errors.As(err, &told):
		return api.MalformedPolicyDocumentException(told.Message)
	case errors.Is(err, identity.ErrUnmodifiable):
		return errImmutable()
	case errors.Is(err, identity.ErrInvalid):
		return invalid("INVALID_PATTERN", "You provided a value that does not match the required pattern.").WithCause(err)
	case errors.Is(err, identity.ErrConcurrent), errors.Is(err, identity.ErrNotFound), errors.Is(err, identity.ErrConflict), errors.Is(err, identity.ErrExists):
		return api.ConcurrentModificationException("AWS Organizations can't complete your request because it conflicts with another attempt to modify the same entity. Try again later.").WithCause(err)
	case errors.Is(err, seal.ErrSealed):
		// The node is being sealed under the call.
		return wire.Sealed().WithCause(err)
	}
	return wire.NewFault("ServiceException", "AWS Organizations can't complete your request because of an internal service error. Try again later.").WithCause(err)
}

// instead replaces an error of the directory's of a kind by the operation's own.
func instead(err, kind error, of *wire.Error) error {
	if errors.Is(err, kind) {
		return of.WithCause(err)
	}
	return err
}
