package sts

import (
	"context"
	"errors"

	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/identity"
)

// presentMFA uses up the code of the caller's MFA device that a request
// presents, if it does, and notes in the call that it did: from then on,
// policies see aws:MultiFactorAuthPresent.
func (s *Service) presentMFA(ctx context.Context, c *call.Call, serialNumber, tokenCode string) error {
	switch {
	case serialNumber == "" && tokenCode == "":
		return nil
	case serialNumber == "" || tokenCode == "":
		return denied(c, "MultiFactorAuthentication failed, must provide both MFA serial number and one time pass code.")
	case !c.MFA.IsZero():
		return nil // the operation is run anew, and the code is used up
	}
	err := s.dir.VerifyMFA(ctx, c.Caller, serialNumber, tokenCode)
	switch {
	case err == nil:
		c.MFA = c.Time
	case errors.Is(err, identity.ErrNotFound):
		return denied(c, "MultiFactorAuthentication failed, unable to validate MFA code.  "+
			"Please verify your MFA serial number is valid and associated with this user.")
	case errors.Is(err, identity.ErrTries):
		// Words of our own: somebody who is told that the code is wrong tries on.
		return denied(c, "MultiFactorAuthentication failed, too many codes were wrong lately. Please wait and try again.")
	case errors.Is(err, identity.ErrCode):
		return denied(c, "MultiFactorAuthentication failed with invalid MFA one time pass code. ")
	}
	return err
}
