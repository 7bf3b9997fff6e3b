package sts

import (
	"context"
	"time"

	"github.com/keyreeve/keyreeve/internal/api/stsapi"
	"github.com/keyreeve/keyreeve/internal/arn"
	"github.com/keyreeve/keyreeve/internal/authz"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/identity"
	"github.com/keyreeve/keyreeve/internal/wire"
)

// How long the sessions of users last.
const (
	defaultUserSession = 12 * time.Hour
	maxRootSession     = time.Hour // of an account's root user, whatever is asked for
)

// GetSessionToken implements [stsapi.Handler]. It needs no permission: who has
// long-term credentials may have temporary ones.
func (s *Service) GetSessionToken(ctx context.Context, c *call.Call, in *stsapi.GetSessionTokenInput, out *stsapi.GetSessionTokenOutput) error {
	if c.Caller.Session != nil {
		return denied(c, "Cannot call GetSessionToken with session credentials")
	}
	if err := s.presentMFA(ctx, c, in.SerialNumber, in.TokenCode); err != nil {
		return err
	}
	c.DecisionText = "allowed to everybody with long-term credentials"
	session, err := s.dir.NewSession(ctx, identity.SessionParams{
		Kind: identity.UserSession, Caller: c.Caller, Duration: userSession(c.Caller, in.DurationSeconds), MFATime: c.MFA,
	})
	if err != nil {
		return answer(err)
	}
	out.Credentials = credentials(&session)
	return nil
}

// GetFederationToken implements [stsapi.Handler].
func (s *Service) GetFederationToken(ctx context.Context, c *call.Call, in *stsapi.GetFederationTokenInput, out *stsapi.GetFederationTokenOutput) error {
	if c.Caller.Session != nil {
		return denied(c, "Cannot call GetFederationToken with session credentials")
	}
	q := &conditions{}
	if err := q.setTags(c.Caller, in.Tags, nil); err != nil {
		return err
	}
	policies, err := policyARNs(in.PolicyARNs)
	if err != nil {
		return err
	}
	caller, err := arn.Parse(c.Caller.ARN)
	if err != nil {
		return wire.Internal(err)
	}
	user := arn.ARN{Partition: caller.Partition, Service: "sts", Account: c.Caller.Account, Resource: "federated-user/" + in.Name}
	r := &authz.Resource{ARN: user.String(), Account: c.Caller.Account}
	if _, err := s.az.Decide(ctx, c, "sts:GetFederationToken", r, &authz.Request{Values: q}); err != nil {
		return err
	}
	if len(q.tags) > 0 {
		if _, err := s.az.Decide(ctx, c, "sts:TagSession", r, &authz.Request{Values: q}); err != nil {
			return err
		}
	}
	session, err := s.dir.NewSession(ctx, identity.SessionParams{
		Kind: identity.FederationSession, Caller: c.Caller, Name: in.Name, Duration: userSession(c.Caller, in.DurationSeconds),
		Policy: in.Policy, PolicyARNs: policies, Tags: q.tags,
	})
	if err != nil {
		return answer(err)
	}
	out.Credentials = credentials(&session)
	out.FederatedUser = &stsapi.FederatedUser{FederatedUserID: session.ID, ARN: session.ARN}
	out.PackedPolicySize = packed(&session)
	return nil
}

// userSession returns how long a session of the caller lasts. That of a root
// user is cut rather than refused.
func userSession(caller *call.Principal, asked *int32) time.Duration {
	d := seconds(asked, defaultUserSession)
	if caller.Kind == call.Root {
		d = min(d, maxRootSession)
	}
	return d
}
