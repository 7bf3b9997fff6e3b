// Package rolesanywhere is temporary credentials for an X.509 certificate, in
// the protocol of IAM Roles Anywhere.
//
// Which certificate authorities are trusted, and for which roles, is a matter of
// the configuration: a [Trust]. A [Service] is the one operation, CreateSession.
// A request to it is signed with the certificate's private key (see package
// sigv4), and is a call only if the certificate leads to the trust anchor that
// the request names; see [Service.Principal]. Then, in this order:
//
//  1. the profile is one of the trust anchor's account, and has the role;
//  2. what the certificate says can be session tags;
//  3. the role's trust policy allows rolesanywhere.amazonaws.com
//     sts:AssumeRole, sts:TagSession and sts:SetSourceIdentity, with the trust
//     anchor as aws:SourceArn and the tags as aws:PrincipalTag;
//  4. the session is made, with the profile's session policies.
//
// Source: the IAM Roles Anywhere User Guide.
package rolesanywhere

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/keyreeve/keyreeve/internal/authz"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/identity"
	"github.com/keyreeve/keyreeve/internal/sigv4"
	"github.com/keyreeve/keyreeve/internal/wire"
	"github.com/keyreeve/keyreeve/policy"
)

// Constants of the service.
const (
	SigningName = "rolesanywhere"               // in a credential scope
	EventSource = "rolesanywhere.amazonaws.com" // in CloudTrail
	Principal   = "rolesanywhere.amazonaws.com" // in trust policies
	// MaxBody is the largest body of a request, in bytes.
	MaxBody = 16 << 10

	operation = "CreateSession"
)

// Directory is what a [Service] needs of an identity.Directory.
type Directory interface {
	// RoleByARN returns a role and its trust policy; identity.ErrNotFound.
	RoleByARN(ctx context.Context, arn string) (identity.Role, *policy.Policy, error)
	// NewSession makes temporary credentials.
	NewSession(ctx context.Context, p identity.SessionParams) (identity.Session, error)
	// Organization returns the place of an account; nil if it is in none.
	Organization(ctx context.Context, account string) (*call.Organization, error)
}

// Service is the operation CreateSession. Its methods may be called
// concurrently.
type Service struct {
	trust *Trust
	dir   Directory
	az    *authz.Authorizer
}

// New returns the operation for those whom t trusts, as az decides it.
func New(t *Trust, dir Directory, az *authz.Authorizer) *Service {
	return &Service{trust: t, dir: dir, az: az}
}

// Operations returns the operations by name.
func (s *Service) Operations() map[string]*call.Operation {
	return map[string]*call.Operation{operation: {
		Name: operation, Service: SigningName, EventSource: EventSource, Status: http.StatusCreated, Invoke: s.invoke,
	}}
}

// Paths returns the operations by the path of a request.
func Paths() map[string]string { return map[string]string{"/sessions": operation} }

// ReadOnly reports whether an operation changes nothing: none of those that are
// reached by a path.
func ReadOnly(string) bool { return false }

var services = []string{Principal}

// Principal returns for whom a call is that is signed with a certificate: the
// service itself, on behalf of the trust anchor that the request names, with the
// session tags that the certificate gives. It implements server.Certificates:
// whoever cannot show a certificate that leads to the trust anchor makes no
// call. An anchor that is not there is the same refusal.
func (s *Service) Principal(ctx context.Context, c *call.Call, x *sigv4.X509, body []byte) (*call.Principal, error) {
	in, err := readInput(c.Query, body)
	if err != nil {
		e := wire.AsError(err)
		return nil, &sigv4.Error{Code: e.Code, Message: e.Message}
	}
	if !fit(x.Certificate) {
		return nil, sigv4.ErrCertificate
	}
	a := s.trust.anchors[in.TrustAnchorARN]
	if a == nil || a.arn.Region != c.Region {
		return nil, sigv4.ErrUntrusted
	}
	if err := s.trust.authority(a).verify(x.Certificate, x.Chain, c.Time); err != nil {
		level := slog.LevelDebug
		if errors.Is(err, errList) {
			level = slog.LevelError // the operator's to mend
		}
		s.trust.log.Log(ctx, level, "a certificate is not trusted", "request_id", c.ID, "trust_anchor", a.config.ARN,
			"serial_number", serialNumber(x.Certificate), "error", err)
		return nil, sigv4.ErrUntrusted
	}
	organization, err := s.dir.Organization(ctx, a.arn.Account)
	if err != nil && !errors.Is(err, identity.ErrNotFound) {
		return nil, fmt.Errorf("looking up the account of a trust anchor: %w", err)
	}
	c.Delegation = &call.Delegation{SourceARN: a.config.ARN, SourceAccount: a.arn.Account, SourceOrganization: organization}
	c.AddAdditional("x509SerialNumber", serialNumber(x.Certificate))
	c.AddAdditional("x509Subject", x.Certificate.Subject.String())
	return &call.Principal{
		Kind: call.Service, Name: Principal, Services: services, Names: policy.Principal{Services: services},
		Tags: describe(x.Certificate).tags,
	}, nil
}

// invoke implements [call.Operation].
func (s *Service) invoke(ctx context.Context, c *call.Call, body, b []byte) ([]byte, error) {
	in, err := readInput(c.Query, body)
	if err != nil {
		return b, err
	}
	c.Parameters = in
	out, err := s.createSession(ctx, c, in)
	if err != nil {
		return b, err
	}
	b = out.AppendJSON(b)
	out.session.SecretAccessKey.Wipe()
	c.Elements = out
	return b, nil
}

func (s *Service) createSession(ctx context.Context, c *call.Call, in *input) (*output, error) {
	if c.Certificate == nil || c.Delegation == nil || c.Delegation.SourceARN != in.TrustAnchorARN {
		return nil, errors.New("rolesanywhere: the call was not made by way of a trust anchor")
	}
	a, p := s.trust.anchors[in.TrustAnchorARN], s.trust.profiles[in.ProfileARN]
	if p == nil || p.arn.Account != a.arn.Account || p.arn.Region != a.arn.Region {
		return nil, &wire.Error{Code: "ResourceNotFoundException", Status: http.StatusNotFound, Message: "Profile with ARN " + in.ProfileARN + " cannot be found."}
	}
	who := describe(c.Certificate)
	if in.RoleSessionName != "" {
		if !p.AcceptSessionName {
			return nil, wire.Validation("The profile does not accept a role session name.")
		}
		who.name = in.RoleSessionName
	}
	role, err := s.assume(ctx, c, in.RoleARN, p, who)
	if err != nil {
		return nil, err
	}
	c.AddResource(call.Resource{ARN: role.ARN, Account: role.Account, Type: "AWS::IAM::Role"})
	duration := p.Duration
	if in.DurationSeconds != nil {
		duration = min(duration, time.Duration(*in.DurationSeconds)*time.Second)
	}
	session, err := s.dir.NewSession(ctx, identity.SessionParams{
		Kind: identity.RoleSession, Caller: c.Caller, Role: role, Name: who.name, Duration: duration,
		Policy: p.SessionPolicy, PolicyARNs: p.ManagedPolicies, Tags: who.tags, SourceIdentity: who.sourceIdentity,
	})
	if err != nil {
		return nil, answer(err)
	}
	return &output{session: session, roleARN: role.ARN, subjectARN: subjectARN(a, c.Certificate.RawSubject)}, nil
}

// assume finds the role and decides whether the certificate may assume it by way
// of the profile. Every denial is in the same words: what is missing is for those
// who look at the record.
func (s *Service) assume(ctx context.Context, c *call.Call, roleARN string, p *profile, who *subject) (*identity.Role, error) {
	denied := func(why, more string) error {
		if why != "" {
			c.DecisionText = "denied: " + why
		}
		s.trust.log.Debug("a certificate does not get a role", "request_id", c.ID, "role", roleARN, "decision", c.DecisionText)
		text := "Unable to assume role for " + roleARN
		if more != "" {
			text += ". " + more
		}
		return wire.AccessDenied(text)
	}
	if !p.roles[roleARN] {
		return nil, denied("the profile does not have the role", "")
	}
	if problem := who.problem(); problem != "" {
		return nil, denied("the certificate cannot be mapped into session tags", problem)
	}
	role, trust, err := s.dir.RoleByARN(ctx, roleARN)
	if errors.Is(err, identity.ErrNotFound) {
		return nil, denied("role not found", "")
	}
	if err != nil {
		return nil, err
	}
	r := &authz.Resource{ARN: role.ARN, Account: role.Account, Policy: trust, Values: tagValues(role.Tags)}
	q := &authz.Request{Values: &conditions{who}}
	for _, action := range []string{"sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"} {
		_, err := s.az.Decide(ctx, c, action, r, q)
		if refused := (*authz.Denied)(nil); errors.As(err, &refused) {
			return nil, denied("", "") // Decide has said why
		}
		if err != nil {
			return nil, err
		}
	}
	if slices.Contains(role.Closed, c.Region) {
		return nil, denied("the role's account has not enabled the Region", "")
	}
	return &role, nil
}

// answer puts an error of the directory into the API's terms.
func answer(err error) error {
	var text string
	if e := (*identity.Error)(nil); errors.As(err, &e) {
		text = e.Message
	}
	switch {
	case errors.Is(err, identity.ErrMalformed), errors.Is(err, identity.ErrPacked), errors.Is(err, identity.ErrInvalid),
		errors.Is(err, identity.ErrNotFound), errors.Is(err, identity.ErrLimit):
		return wire.Validation(text)
	}
	return err
}

// subjectARN names a certificate's subject in an account, always in the same
// way.
func subjectARN(a *anchor, subject []byte) string {
	sum := sha256.Sum256(append([]byte(a.arn.Account+"/"), subject...))
	sum[6], sum[8] = sum[6]&0x0f|0x80, sum[8]&0x3f|0x80 // RFC 9562, version 8
	h := hex.EncodeToString(sum[:16])
	name := a.arn
	name.Resource = "subject/" + h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
	return name.String()
}
