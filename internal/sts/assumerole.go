package sts

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/keyreeve/keyreeve/internal/api/stsapi"
	"github.com/keyreeve/keyreeve/internal/arn"
	"github.com/keyreeve/keyreeve/internal/authz"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/identity"
	"github.com/keyreeve/keyreeve/internal/wire"
)

// How long a session for a role lasts.
const (
	defaultRoleSession = time.Hour
	maxChainedSession  = time.Hour // of a role that a role assumes
)

// AssumeRole implements [stsapi.Handler].
func (s *Service) AssumeRole(ctx context.Context, c *call.Call, in *stsapi.AssumeRoleInput, out *stsapi.AssumeRoleOutput) error {
	if !isRoleARN(in.RoleARN) {
		return wire.QueryValidation(in.RoleARN + " is invalid")
	}
	if len(in.ProvidedContexts) > 0 {
		return wire.QueryValidation("ProvidedContexts is not supported.")
	}
	q := &conditions{externalID: in.ExternalID, sessionName: in.RoleSessionName, sourceIdentity: in.SourceIdentity}
	if err := q.setTags(c.Caller, in.Tags, in.TransitiveTagKeys); err != nil {
		return err
	}
	policies, err := policyARNs(in.PolicyARNs)
	if err != nil {
		return err
	}
	if err := s.presentMFA(ctx, c, in.SerialNumber, in.TokenCode); err != nil {
		return err
	}
	role, err := s.assume(ctx, c, in.RoleARN, q)
	if err != nil {
		return err
	}
	if err := inRegion(c, role); err != nil {
		return err
	}
	c.AddResource(call.Resource{ARN: role.ARN, Account: role.Account, Type: "AWS::IAM::Role"})

	duration := seconds(in.DurationSeconds, defaultRoleSession)
	switch {
	case c.Caller.Kind == call.RoleSession && duration > maxChainedSession:
		return wire.QueryValidation("The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining.")
	case duration > max(role.MaxSession, defaultRoleSession):
		return wire.QueryValidation("The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
	}
	// Without the MFA: the session of a role does not have it. Source: "Secure API
	// access with MFA" in the IAM User Guide.
	session, err := s.dir.NewSession(ctx, identity.SessionParams{
		Kind: identity.RoleSession, Caller: c.Caller, Role: role, Name: in.RoleSessionName, Duration: duration,
		Policy: in.Policy, PolicyARNs: policies, Tags: q.tags, Transitive: q.transitive, SourceIdentity: in.SourceIdentity,
	})
	if err != nil {
		return answer(err)
	}
	out.Credentials = credentials(&session)
	out.AssumedRoleUser = &stsapi.AssumedRoleUser{AssumedRoleID: session.ID, ARN: session.ARN}
	if session.Packed > 0 {
		out.PackedPolicySize = packed(&session)
	}
	out.SourceIdentity = session.SourceIdentity
	return nil
}

// assume finds the role and decides whether the caller may assume it as q asks.
func (s *Service) assume(ctx context.Context, c *call.Call, roleARN string, q *conditions) (*identity.Role, error) {
	const action = "sts:AssumeRole"
	if c.Caller.Kind == call.FederatedUser {
		// Not even if the trust policy names it: a session of GetFederationToken
		// may call nothing of STS but GetCallerIdentity.
		err := authz.DenyUnknownRole(c, action, roleARN)
		c.DecisionText = "denied: federated users assume no roles"
		return nil, err
	}
	role, trust, err := s.dir.RoleByARN(ctx, roleARN)
	if errors.Is(err, identity.ErrNotFound) {
		return nil, authz.DenyUnknownRole(c, action, roleARN)
	}
	if err != nil {
		return nil, err
	}
	r := &authz.Resource{ARN: role.ARN, Account: role.Account, Policy: trust, Values: &roleValues{role.Tags}}
	if _, err := s.az.Decide(ctx, c, action, r, &authz.Request{Values: q}); err != nil {
		return nil, err
	}
	var own call.Session
	if c.Caller.Session != nil {
		own = *c.Caller.Session
	}
	// What lives on from the caller's session is passed on by the caller.
	if len(q.tags) > 0 || len(own.Transitive) > 0 {
		if _, err := s.az.Decide(ctx, c, "sts:TagSession", r, &authz.Request{Values: q}); err != nil {
			return nil, err
		}
	}
	passed := *q
	switch {
	case own.SourceIdentity == "":
	case q.sourceIdentity == "":
		passed.sourceIdentity = own.SourceIdentity
	case q.sourceIdentity != own.SourceIdentity:
		return nil, denied(c, "The source identity of the calling session can't be changed.")
	}
	if passed.sourceIdentity != "" {
		if _, err := s.az.Decide(ctx, c, "sts:SetSourceIdentity", r, &authz.Request{Values: &passed}); err != nil {
			return nil, err
		}
	}
	return &role, nil
}

// inRegion refuses a session in a Region that the role's account has not enabled.
func inRegion(c *call.Call, role *identity.Role) error {
	if !slices.Contains(role.Closed, c.Region) {
		return nil
	}
	c.DecisionText = "denied: the role's account has not enabled the Region"
	return stsapi.RegionDisabledException("STS is not activated in this region for account:" + role.Account +
		". Your account administrator can activate STS in this region using the IAM Console.")
}

// isRoleARN reports whether s has the form of a role's ARN.
func isRoleARN(s string) bool {
	a, err := arn.Parse(s)
	if err != nil || a.Service != "iam" || a.Region != "" || a.Account == "" {
		return false
	}
	name, ok := strings.CutPrefix(a.Resource, "role/")
	return ok && name != "" && !strings.HasSuffix(name, "/")
}
