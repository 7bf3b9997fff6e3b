package sts

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/keyreeve/keyreeve/internal/api/stsapi"
	"github.com/keyreeve/keyreeve/internal/arn"
	"github.com/keyreeve/keyreeve/internal/authz"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/identity"
	"github.com/keyreeve/keyreeve/internal/oidc"
	"github.com/keyreeve/keyreeve/internal/wire"
	"github.com/keyreeve/keyreeve/policy"
)

// Unsigned are the operations that take calls without a signature.
var Unsigned = []string{"AssumeRoleWithWebIdentity"}

// Tokens verifies the tokens of OpenID Connect issuers, as an oidc.Verifier
// does.
type Tokens interface {
	Verify(ctx context.Context, tenant string, t *oidc.Token, now time.Time) (*oidc.Identity, error)
}

// Claims of a token that are for STS. Source: "Pass session tags in AWS STS" and
// "Monitor and control actions taken with assumed roles" in the IAM User Guide.
const (
	claimTags           = "https://aws.amazon.com/tags"
	claimSourceIdentity = "https://aws.amazon.com/source_identity"
)

// AssumeRoleWithWebIdentity implements [stsapi.Handler]. Who calls is who the
// token says, once that is verified; before, nothing is told but what is wrong
// with the token, and whether the role's account knows its issuer.
func (s *Service) AssumeRoleWithWebIdentity(ctx context.Context, c *call.Call, in *stsapi.AssumeRoleWithWebIdentityInput, out *stsapi.AssumeRoleWithWebIdentityOutput) error {
	if !isRoleARN(in.RoleARN) {
		return wire.QueryValidation(in.RoleARN + " is invalid")
	}
	if in.ProviderID != "" {
		return stsapi.InvalidIdentityToken("ProviderId is for access tokens of OAuth 2.0, which are not accepted here.")
	}
	policies, err := policyARNs(in.PolicyARNs)
	if err != nil {
		return err
	}
	b, err := s.bearer(ctx, c, in)
	if err != nil {
		return err
	}
	c.Caller = b.principal
	q := &conditions{sessionName: in.RoleSessionName}
	if err := b.pass(q); err != nil {
		return err
	}
	role, err := s.assumeFor(ctx, c, in.RoleARN, q)
	if err != nil {
		return err
	}
	if err := inRegion(c, role); err != nil {
		return err
	}
	c.AddResource(call.Resource{ARN: role.ARN, Account: role.Account, Type: "AWS::IAM::Role"})
	duration := seconds(in.DurationSeconds, defaultRoleSession)
	if duration > max(role.MaxSession, defaultRoleSession) {
		return wire.QueryValidation("The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
	}
	session, err := s.dir.NewSession(ctx, identity.SessionParams{
		Kind: identity.RoleSession, Caller: c.Caller, Role: role, Name: in.RoleSessionName, Duration: duration,
		Policy: in.Policy, PolicyARNs: policies, Tags: q.tags, Transitive: q.transitive, SourceIdentity: q.sourceIdentity,
		Provider: b.provider.ARN, Claims: b.lasting(),
	})
	if err != nil {
		return answer(err)
	}
	*out = stsapi.AssumeRoleWithWebIdentityOutput{
		Credentials: credentials(&session), AssumedRoleUser: &stsapi.AssumedRoleUser{AssumedRoleID: session.ID, ARN: session.ARN},
		SubjectFromWebIdentityToken: b.id.Subject, Audience: b.audience, Provider: b.provider.ARN, SourceIdentity: session.SourceIdentity,
	}
	if session.Packed > 0 {
		out.PackedPolicySize = packed(&session)
	}
	return nil
}

// A bearer is who brings a token.
type bearer struct {
	id        *oidc.Identity
	provider  identity.OIDCProvider
	audience  string // the one of the token's that the provider is for
	principal *call.Principal
}

// bearer verifies the token of a request. Its issuer must be a provider of the
// role's account: none other is ever asked for anything.
func (s *Service) bearer(ctx context.Context, c *call.Call, in *stsapi.AssumeRoleWithWebIdentityInput) (*bearer, error) {
	token, err := oidc.Parse(string(in.WebIdentityToken.Reveal()))
	if err != nil || s.tokens == nil {
		return nil, tokenError(c, err)
	}
	u, err := identity.CheckIssuer(token.Issuer)
	if err != nil {
		return nil, stsapi.InvalidIdentityToken("The issuer of the token is not the URL of an OpenIDConnect provider.")
	}
	role, err := arn.Parse(in.RoleARN)
	if err != nil {
		return nil, wire.QueryValidation(in.RoleARN + " is invalid")
	}
	b := new(bearer)
	b.provider, err = s.dir.OIDCProvider(ctx, identity.OIDCProviderARN(role.Account, u))
	if errors.Is(err, identity.ErrNotFound) || err == nil && b.provider.Issuer() != token.Issuer {
		return nil, stsapi.InvalidIdentityToken("No OpenIDConnect provider found in your account for " + token.Issuer)
	}
	if err != nil {
		return nil, err
	}
	if b.id, err = s.tokens.Verify(ctx, role.Account, token, c.Time); err != nil {
		return nil, tokenError(c, err)
	}
	for _, audience := range b.id.Audience {
		if slices.Contains(b.provider.ClientIDs, audience) {
			b.audience = audience
			break
		}
	}
	// One of several audiences may have got the token from another: to whom it
	// was issued counts, too.
	several := len(b.id.Audience) > 1 && b.id.Party != "" && !slices.Contains(b.provider.ClientIDs, b.id.Party)
	if b.audience == "" || several {
		return nil, stsapi.InvalidIdentityToken("Incorrect token audience")
	}
	b.principal = &call.Principal{
		Kind: call.WebIdentity, ID: b.provider.ARN + ":" + b.audience + ":" + b.id.Subject, Name: b.id.Subject,
		Session: &call.Session{Issued: b.id.Issued, Expires: b.id.Expires, Provider: b.provider.ARN, Claims: b.claims()},
		Names:   policy.Principal{Federated: b.provider.ARN},
	}
	return b, nil
}

// tokenError puts what is wrong with a token into the API's terms; nil stands
// for no way to verify any.
func tokenError(c *call.Call, err error) error {
	var expired *oidc.ExpiredError
	switch {
	case errors.As(err, &expired):
		return stsapi.ExpiredTokenException(fmt.Sprintf("Token expired: current date/time %d must be before the expiration date/time %d",
			c.Time.Unix(), expired.At.Unix()))
	case errors.Is(err, oidc.ErrEarly):
		return stsapi.InvalidIdentityToken("The token is not valid yet.")
	case errors.Is(err, oidc.ErrMalformed):
		return stsapi.InvalidIdentityToken("The ID Token provided is not a valid JWT. (You may see this error if you sent an Access Token)")
	case errors.Is(err, oidc.ErrSignature):
		return stsapi.InvalidIdentityToken("The token's signature is not one of a key of its identity provider.")
	case err == nil, errors.Is(err, oidc.ErrUnavailable):
		return stsapi.IDPCommunicationError("Couldn't retrieve verification key from your identity provider, " +
			"please reference AssumeRoleWithWebIdentity documentation for requirements")
	}
	return err
}

// spelled are the claims with a meaning of their own; another case is another
// claim, and is not taken for one of them.
var spelled = []string{"amr", "aud", "azp", "iss", "oaud", "sub"}

// claims returns the condition keys that the token answers for, such as
// "idp.example.com/path:sub". Their names are the same in any case, so of claims
// whose names are, only the one in lower case counts: somebody may have a say in
// what else his issuer puts into tokens.
func (b *bearer) claims() []call.Pair {
	prefix := strings.ToLower(b.provider.URL) + ":"
	all := b.id.Claims()
	as := make(map[string]string, len(all)) // how a name in lower case is spelled
	for _, claim := range all {
		low := strings.ToLower(claim.Name)
		switch other, twice := as[low]; {
		case slices.Contains(spelled, low), claim.Name == low:
			as[low] = low
		case !twice:
			as[low] = claim.Name
		case other != claim.Name && other != low:
			as[low] = "" // two, neither of which is in lower case
		}
	}
	var list []call.Pair
	for _, claim := range all {
		low := strings.ToLower(claim.Name)
		if claim.Name == "aud" || as[low] != claim.Name || !isASCII(claim.Name) {
			continue
		}
		list = append(list, call.Pair{Name: prefix + low, Value: claim.Value})
	}
	return append(list, call.Pair{Name: prefix + "aud", Value: b.audience})
}

// lasting returns the claims that a session keeps.
func (b *bearer) lasting() []call.Pair {
	prefix := strings.ToLower(b.provider.URL) + ":"
	return []call.Pair{{Name: prefix + "aud", Value: b.audience}, {Name: prefix + "sub", Value: b.id.Subject}}
}

func isASCII(s string) bool {
	return s != "" && strings.IndexFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }) < 0
}

// pass takes over what the token passes into the session: tags and source
// identity.
func (b *bearer) pass(q *conditions) error {
	var passed struct {
		Tags       map[string][]string `json:"principal_tags"`
		Transitive []string            `json:"transitive_tag_keys"`
	}
	if _, err := b.id.Decode(claimTags, &passed); err != nil || len(passed.Tags) > maxTags {
		return stsapi.InvalidIdentityToken("The session tags of the token are not valid.")
	}
	tags := make([]stsapi.Tag, 0, len(passed.Tags))
	for key, values := range passed.Tags {
		if len(values) != 1 {
			return stsapi.InvalidIdentityToken("A session tag of the token has not one value.")
		}
		tags = append(tags, stsapi.Tag{Key: key, Value: values[0]})
	}
	slices.SortFunc(tags, func(a, b stsapi.Tag) int { return strings.Compare(a.Key, b.Key) })
	if err := q.setTags(b.principal, tags, passed.Transitive); err != nil {
		return err
	}
	if err := identity.CheckTags(q.tags); err != nil {
		return answer(err)
	}
	if _, err := b.id.Decode(claimSourceIdentity, &q.sourceIdentity); err != nil {
		return stsapi.InvalidIdentityToken("The source identity of the token is no text.")
	}
	if q.sourceIdentity != "" && !sourceIdentity.MatchString(q.sourceIdentity) {
		return stsapi.InvalidIdentityToken("The source identity of the token is not one.")
	}
	return nil
}

const maxTags = 50 // of a session

// sourceIdentity is the form of those. Source: the API reference of AssumeRole.
var sourceIdentity = regexp.MustCompile(`^[\w+=,.@-]{2,64}$`)

// assumeFor finds the role and decides whether the bearer of a token may assume
// it. A role that is not there is the same denial as one that does not trust
// him.
func (s *Service) assumeFor(ctx context.Context, c *call.Call, roleARN string, q *conditions) (*identity.Role, error) {
	const action = "sts:AssumeRoleWithWebIdentity"
	role, trust, err := s.dir.RoleByARN(ctx, roleARN)
	if errors.Is(err, identity.ErrNotFound) {
		_ = authz.DenyUnknownRole(c, action, roleARN) // notes why
		return nil, unauthorized(action)
	}
	if err != nil {
		return nil, err
	}
	r := &authz.Resource{ARN: role.ARN, Account: role.Account, Policy: trust, Values: &roleValues{role.Tags}}
	asked := []string{action}
	if len(q.tags) > 0 {
		asked = append(asked, "sts:TagSession")
	}
	if q.sourceIdentity != "" {
		asked = append(asked, "sts:SetSourceIdentity")
	}
	for _, one := range asked {
		_, err := s.az.Decide(ctx, c, one, r, &authz.Request{Values: q})
		if denied := (*authz.Denied)(nil); errors.As(err, &denied) {
			return nil, unauthorized(one)
		}
		if err != nil {
			return nil, err
		}
	}
	return &role, nil
}

// unauthorized is a denial as STS tells it to somebody who has no name.
func unauthorized(action string) error {
	return &wire.Error{Code: "AccessDenied", Message: "Not authorized to perform " + action, Status: http.StatusForbidden}
}
