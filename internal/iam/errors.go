package iam

import (
	"errors"
	"net/http"

	"github.com/keyreeve/keyreeve/internal/api/iamapi"
	"github.com/keyreeve/keyreeve/internal/authz"
	"github.com/keyreeve/keyreeve/internal/identity"
	"github.com/keyreeve/keyreeve/internal/wire"
)

// The texts are those of recorded answers of AWS.

func errInvalidMarker() *wire.Error { return wire.QueryValidation("Invalid Marker.") }

func errNoSuch(k kind, name string) *wire.Error {
	return iamapi.NoSuchEntity("The " + k.String() + " with name " + name + " cannot be found.")
}

func errNoSuchInline(k kind, name string) *wire.Error {
	return iamapi.NoSuchEntity("The " + k.String() + " policy with name " + name + " cannot be found.")
}

func errNoSuchPolicy(policyARN string) *wire.Error {
	return iamapi.NoSuchEntity("Policy " + policyARN + " was not found.")
}

func errNotAttachable(policyARN string) *wire.Error {
	return iamapi.NoSuchEntity("Policy " + policyARN + " does not exist or is not attachable.")
}

func errNoSuchVersion(policyARN, version string) *wire.Error {
	return iamapi.NoSuchEntity("Policy " + policyARN + " version " + version + " does not exist or is not attachable.")
}

func errNoSuchBoundary(policyARN string) *wire.Error {
	return iamapi.NoSuchEntity("Scope ARN: " + policyARN + " does not exist or is not attachable.")
}

func errUnmodifiable(role string) *wire.Error {
	return iamapi.UnmodifiableEntity("Cannot perform the operation on the protected role '" + role + "' - this role is only modifiable by AWS")
}

func errNoSuchAccessKey(id string) *wire.Error {
	return iamapi.NoSuchEntity("The Access Key with id " + id + " cannot be found.")
}

func errInvalidPath(name string) *wire.Error {
	return wire.QueryValidation("The specified value for " + name + " is invalid. " +
		"It must begin and end with / and contain only alphanumeric characters and/or / characters.")
}

func accessDenied(text string) *wire.Error {
	return &wire.Error{Code: "AccessDenied", Message: text, Status: http.StatusForbidden}
}

// translations are the API's errors for those of the directory.
var translations = []struct {
	kind error
	as   func(message string) *wire.Error
}{
	{identity.ErrNotFound, iamapi.NoSuchEntity},
	{identity.ErrExists, iamapi.EntityAlreadyExists},
	{identity.ErrLimit, iamapi.LimitExceeded},
	{identity.ErrConflict, iamapi.DeleteConflict},
	{identity.ErrMalformed, iamapi.MalformedPolicyDocument},
	{identity.ErrInvalid, wire.QueryValidation},
	{identity.ErrUnmodifiable, accessDenied},
	{identity.ErrCode, iamapi.InvalidAuthenticationCode},
}

// answer puts an error of the packages below into the API's terms. What has no
// such terms is a fault of ours, which the server hides from the caller.
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
		return accessDenied(denied.Text)
	case errors.As(err, &told):
		for _, t := range translations {
			if errors.Is(told.Kind, t.kind) {
				return t.as(told.Message)
			}
		}
	case errors.Is(err, identity.ErrInvalid):
		return wire.QueryValidation("The request holds a value that is not valid.").WithCause(err)
	case errors.Is(err, identity.ErrConcurrent):
		return iamapi.ConcurrentModification("Others are changing the same at the same time. Try again.").WithCause(err)
	}
	return err
}

// instead replaces what the directory says of something that is not there by
// the operation's own words.
func instead(err error, of *wire.Error) error {
	if errors.Is(err, identity.ErrNotFound) {
		return of
	}
	return err
}
