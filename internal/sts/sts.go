// Package sts is the operations of AWS STS: who the caller is, and temporary
// credentials for a role, for a user, or for somebody whom a user vouches for.
//
// A [Service] implements the generated handler of package stsapi. What reaches
// it is authenticated and well-formed. Each operation checks in this order:
//
//  1. what can be said of the request alone (tags, MFA, the form of an ARN);
//  2. which role is meant: one that is not there is the same denial as one that
//     does not trust the caller;
//  3. authorization: of the operation, then of the tags (sts:TagSession), then
//     of the source identity (sts:SetSourceIdentity);
//  4. how long the session may last;
//  5. the session policies.
//
// Who has which session may call what is decided in package authz, except where
// STS and IAM have an answer of their own: see [MayCallIAM].
package sts

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/keyreeve/keyreeve/internal/api/stsapi"
	"github.com/keyreeve/keyreeve/internal/authz"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/identity"
	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/internal/wire"
	"github.com/keyreeve/keyreeve/policy"
)

// Skew is how far a client's clock may be off, which for STS is more than for
// other services: it is where clients learn that theirs is.
const Skew = 15 * time.Minute

// Directory is what a [Service] needs of an identity.Directory.
type Directory interface {
	// RoleByARN returns a role and its trust policy, in which principals are
	// bound to their unique ids; identity.ErrNotFound.
	RoleByARN(ctx context.Context, arn string) (identity.Role, *policy.Policy, error)
	// NewSession makes temporary credentials.
	NewSession(ctx context.Context, p identity.SessionParams) (identity.Session, error)
	// VerifyMFA uses up a code of an MFA device of the caller; identity.ErrNotFound,
	// identity.ErrCode, identity.ErrTries.
	VerifyMFA(ctx context.Context, caller *call.Principal, serialNumber, code string) error
	// OIDCProvider returns an identity provider by its ARN; identity.ErrNotFound.
	OIDCProvider(ctx context.Context, arn string) (identity.OIDCProvider, error)
	// AccountOfAccessKey returns the account to which an access key id belongs;
	// identity.ErrNotFound.
	AccountOfAccessKey(ctx context.Context, id string) (string, error)
}

// Options are what a [Service] may have besides.
type Options struct {
	// Tokens verifies web identity tokens; nil: none are accepted.
	Tokens Tokens
}

// Service is the operations of STS. Its methods may be called concurrently.
type Service struct {
	dir    Directory
	az     *authz.Authorizer
	tokens Tokens // nil: none are accepted
}

var _ stsapi.Handler = (*Service)(nil)

// New returns the operations on a directory, as az decides them.
func New(dir Directory, az *authz.Authorizer, o Options) *Service {
	return &Service{dir: dir, az: az, tokens: o.Tokens}
}

// GetCallerIdentity implements [stsapi.Handler]. It needs no permission, and
// nothing can deny it.
func (s *Service) GetCallerIdentity(_ context.Context, c *call.Call, _ *stsapi.GetCallerIdentityInput, out *stsapi.GetCallerIdentityOutput) error {
	c.DecisionText = "allowed to everybody"
	*out = stsapi.GetCallerIdentityOutput{UserID: c.Caller.ID, Account: c.Caller.Account, ARN: c.Caller.ARN}
	return nil
}

// GetAccessKeyInfo implements [stsapi.Handler]. It tells the account of any
// access key, as AWS does.
func (s *Service) GetAccessKeyInfo(ctx context.Context, c *call.Call, in *stsapi.GetAccessKeyInfoInput, out *stsapi.GetAccessKeyInfoOutput) error {
	r := &authz.Resource{ARN: "*", Account: c.Caller.Account}
	if _, err := s.az.Decide(ctx, c, "sts:GetAccessKeyInfo", r, nil); err != nil {
		return err
	}
	account, err := s.dir.AccountOfAccessKey(ctx, in.AccessKeyID)
	if errors.Is(err, identity.ErrNotFound) {
		return wire.QueryValidation("The specified access key ID is not valid.")
	}
	out.Account = account
	return err
}

// MayCallIAM returns nil if the caller may call IAM at all, which sessions of
// GetFederationToken may not, nor those of GetSessionToken without MFA. IAM
// does not know their credentials.
func MayCallIAM(p *call.Principal) error {
	if p.Session == nil || p.Kind == call.RoleSession || p.Kind != call.FederatedUser && p.Session.MFA {
		return nil
	}
	return &wire.Error{
		Code: "InvalidClientTokenId", Status: http.StatusForbidden,
		Message: "The security token included in the request is invalid.",
	}
}

// denied is a denial in words that authz has none for.
func denied(c *call.Call, text string) error {
	c.DecisionText = "denied: " + text
	return &wire.Error{Code: "AccessDenied", Message: text, Status: http.StatusForbidden}
}

// invalid is a parameter that makes no sense with others.
func invalid(text string) error { return wire.NewError("InvalidParameterValue", text) }

// answer puts an error of the directory into the API's terms.
func answer(err error) error {
	var text string
	if e := (*identity.Error)(nil); errors.As(err, &e) {
		text = e.Message
	}
	switch {
	case errors.Is(err, identity.ErrMalformed):
		return stsapi.MalformedPolicyDocument(text)
	case errors.Is(err, identity.ErrPacked):
		return stsapi.PackedPolicyTooLarge(text)
	case errors.Is(err, identity.ErrInvalid), errors.Is(err, identity.ErrNotFound):
		return invalid(text)
	}
	return err
}

// credentials returns those of a new session, and wipes what the session has.
func credentials(s *identity.Session) *stsapi.Credentials {
	key := secret.New(bytes.Clone(s.SecretAccessKey.Reveal()))
	s.SecretAccessKey.Wipe()
	return &stsapi.Credentials{
		AccessKeyID: s.AccessKeyID, SecretAccessKey: key,
		SessionToken: secret.New([]byte(s.Token)), Expiration: s.Expires,
	}
}

// seconds returns a duration that is given in seconds, or else another.
func seconds(n *int32, otherwise time.Duration) time.Duration {
	if n == nil {
		return otherwise
	}
	return time.Duration(*n) * time.Second
}

// packed is how much of the room for policies and tags a session uses.
func packed(s *identity.Session) *int32 {
	n := int32(min(s.Packed, 100))
	return &n
}

// policyARNs returns the ARNs of managed session policies.
func policyARNs(list []stsapi.PolicyDescriptorType) ([]string, error) {
	if len(list) > maxPolicyARNs {
		return nil, wire.QueryValidation("The number of policies exceeds the limit of 10.")
	}
	arns := make([]string, 0, len(list))
	for _, p := range list {
		if p.ARN == "" {
			return nil, invalid("A session policy has no ARN.")
		}
		arns = append(arns, p.ARN)
	}
	return arns, nil
}

const maxPolicyARNs = 10
