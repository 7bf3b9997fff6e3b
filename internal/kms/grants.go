package kms

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/keyreeve/keyreeve/internal/api/kmsapi"
	"github.com/keyreeve/keyreeve/internal/arn"
	"github.com/keyreeve/keyreeve/internal/authz"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/keyring"
	"github.com/keyreeve/keyreeve/internal/wire"
	"github.com/keyreeve/keyreeve/policy"
)

var (
	toCreateGrant = access{action: "kms:CreateGrant", foreign: true, arnErrors: true}
	toListGrants  = access{action: "kms:ListGrants", foreign: true, arnErrors: true}
	toRetireGrant = access{action: "kms:RetireGrant", foreign: true, arnErrors: true}
	toRevokeGrant = access{action: "kms:RevokeGrant", foreign: true, arnErrors: true}
)

// Limits of a grant's constraints. Source: CreateGrant in the AWS KMS API
// Reference.
const (
	maxGrantPairs = 8
	maxGrantValue = 384 // characters
)

// CreateGrant implements [kmsapi.Handler].
func (s *Service) CreateGrant(ctx context.Context, c *call.Call, in *kmsapi.CreateGrantInput, out *kmsapi.CreateGrantOutput) error {
	return serve(ctx, s, c, in, out, (*Service).createGrant)
}

func (s *Service) createGrant(ctx context.Context, c *call.Call, in *kmsapi.CreateGrantInput, out *kmsapi.CreateGrantOutput) error {
	g, err := newGrant(in)
	if err != nil {
		return err
	}
	q := askedGrant(&g)
	q.tokens, q.child = in.GrantTokens, &g
	key, err := s.use(ctx, c, &toCreateGrant, in.KeyID, q)
	if err != nil {
		return err
	}
	m := key.Metadata()
	if err := checkFits(&g, m); err != nil {
		return err
	}
	if g.Issuer = c.Caller.Account; g.Issuer == "" {
		g.Issuer = m.Account // a service makes it
	}
	if err := s.resolveGrant(ctx, m, &g); err != nil {
		return err
	}
	if in.DryRun {
		return errDryRun()
	}
	made, token, err := key.CreateGrant(ctx, g)
	if errors.Is(err, keyring.ErrLimit) {
		return kmsapi.LimitExceededException("The limit of " + strconv.Itoa(keyring.MaxGrants) + " grants has been reached for the key " + m.ARN + ".")
	}
	if err != nil {
		return err
	}
	out.GrantID, out.GrantToken = made.ID, token
	c.Elements = grantElements{grantID: made.ID, keyARN: m.ARN}
	return nil
}

// grantElements is what the record shows of CreateGrant's answer.
type grantElements struct{ grantID, keyARN string }

// AppendAudit implements [call.Auditable].
func (e grantElements) AppendAudit(b []byte) []byte {
	b = wire.AppendString(wire.AppendName(append(b, '{'), "grantId"), e.grantID)
	return append(wire.AppendString(wire.AppendName(b, "keyId"), e.keyARN), '}')
}

// newGrant returns the grant that a request asks for, without what has to be
// looked up.
func newGrant(in *kmsapi.CreateGrantInput) (authz.Grant, error) {
	g := authz.Grant{Name: in.Name}
	switch {
	case in.GranteePrincipal == "" && in.GranteeServicePrincipal == "":
		return g, wire.Validation("You must specify either GranteePrincipal or GranteeServicePrincipal.")
	case in.GranteePrincipal != "" && in.GranteeServicePrincipal != "":
		return g, wire.Validation("You cannot specify both GranteePrincipal and GranteeServicePrincipal.")
	case in.RetiringPrincipal != "" && in.RetiringServicePrincipal != "":
		return g, wire.Validation("You cannot specify both RetiringPrincipal and RetiringServicePrincipal.")
	case len(in.Operations) == 0:
		return g, wire.Validation("Operations must have at least one operation.")
	}
	if constraints := in.Constraints; constraints != nil {
		for _, pairs := range []wire.StringMap{constraints.EncryptionContextEquals, constraints.EncryptionContextSubset} {
			if err := checkConstraint(pairs); err != nil {
				return g, err
			}
		}
		g.Equals, g.Subset, g.SourceARN = constraints.EncryptionContextEquals, constraints.EncryptionContextSubset, constraints.SourceARN
	}
	if in.GranteeServicePrincipal != "" {
		switch {
		case g.SourceARN == "":
			return g, wire.Validation("A grant to a service principal must have the constraint SourceArn.")
		case in.RetiringPrincipal == "" && in.RetiringServicePrincipal == "":
			return g, wire.Validation("A grant to a service principal must have a RetiringPrincipal or a RetiringServicePrincipal.")
		}
	}
	var err error
	if g.GranteeARN, err = grantPrincipal(in.GranteePrincipal, in.GranteeServicePrincipal); err != nil {
		return g, err
	}
	if g.RetiringARN, err = grantPrincipal(in.RetiringPrincipal, in.RetiringServicePrincipal); err != nil {
		return g, err
	}
	for _, o := range in.Operations {
		g.Operations = append(g.Operations, string(o))
	}
	slices.Sort(g.Operations)
	g.Operations = slices.Compact(g.Operations)
	return g, nil
}

// checkConstraint checks the size of an encryption context in a constraint.
func checkConstraint(pairs wire.StringMap) error {
	if len(pairs) > maxGrantPairs {
		return wire.Validation("An encryption context constraint can have at most " + strconv.Itoa(maxGrantPairs) + " pairs.")
	}
	for i := range pairs {
		if utf8.RuneCountInString(pairs[i].Value) > maxGrantValue {
			return wire.Validation("A value of an encryption context constraint can have at most " + strconv.Itoa(maxGrantValue) + " characters.")
		}
	}
	return checkContext(pairs)
}

// grantPrincipal checks the form of a principal of a grant, of which one name
// or none is given.
func grantPrincipal(principalARN, service string) (string, error) {
	switch {
	case service != "" && !isService(service):
		return "", wire.Validation("Invalid service principal " + service)
	case service != "":
		return service, nil
	case principalARN != "" && !isPrincipal(principalARN):
		return "", errInvalidARN(principalARN)
	}
	return principalARN, nil
}

func errInvalidARN(text string) error { return kmsapi.InvalidArnException("Invalid arn " + text) }

// askedGrant is what policies see of a grant that is to be made, or retired.
func askedGrant(g *authz.Grant) *asked {
	q := &asked{context: g.Equals}
	if len(g.Subset) > 0 {
		// Of a name in both, the stricter constraint's pair is seen.
		both := append(slices.Clone(g.Subset), g.Equals...)
		q.context = wire.NewStringMap(both...)
	}
	var kinds []string
	if len(g.Equals) > 0 {
		kinds = append(kinds, "EncryptionContextEquals")
	}
	if len(g.Subset) > 0 {
		kinds = append(kinds, "EncryptionContextSubset")
	}
	switch len(kinds) {
	case 1:
		q.more = append(q.more, attribute{"kms:grantconstrainttype", policy.String(kinds[0])})
	case 2:
		q.more = append(q.more, attribute{"kms:grantconstrainttype", policy.Strings(kinds)})
	}
	grantee, retiring := "kms:granteeprincipal", "kms:retiringprincipal"
	if !arn.Is(g.GranteeARN) {
		grantee = "kms:granteeserviceprincipal"
	}
	if !arn.Is(g.RetiringARN) {
		retiring = "kms:retiringserviceprincipal"
	}
	q.more = append(q.more,
		attribute{"kms:grantoperations", policy.Strings(g.Operations)},
		attribute{grantee, text(g.GranteeARN)},
		attribute{retiring, text(g.RetiringARN)},
		attribute{"kms:grantconstraintsourcearn", text(g.SourceARN)},
	)
	return q
}

// checkFits refuses a grant that the key cannot have.
func checkFits(g *authz.Grant, m *keyring.Metadata) error {
	var wrong []string
	for _, o := range g.Operations {
		if !keyring.GrantOperation(m.Spec, m.Usage, o) {
			wrong = append(wrong, o)
		}
	}
	if len(wrong) > 0 {
		sort := "an asymmetric"
		if m.Spec == keyring.SymmetricDefault || m.Usage == keyring.GenerateVerifyMAC {
			sort = "a symmetric"
		}
		return wire.Validation("Operations [" + strings.Join(wrong, ", ") + "] are not supported when creating a grant for " + sort +
			" KMS key with key usage " + string(m.Usage) + ". Valid operations are [" + strings.Join(keyring.GrantOperations(m.Spec, m.Usage), ", ") + "]")
	}
	if m.Spec != keyring.SymmetricDefault && (len(g.Equals) > 0 || len(g.Subset) > 0) {
		return wire.Validation("EncryptionContext is supported only when creating a grant for a symmetric encryption KMS key.")
	}
	return nil
}

// resolveGrant finds the grant's principals, which must exist.
func (s *Service) resolveGrant(ctx context.Context, m *keyring.Metadata, g *authz.Grant) error {
	for _, p := range []struct{ name, id *string }{{&g.GranteeARN, &g.Grantee}, {&g.RetiringARN, &g.Retiring}} {
		if *p.name == "" {
			continue
		}
		id, ok, err := s.granted(ctx, m.Region, *p.name)
		if err != nil {
			return err
		}
		if !ok {
			return kmsapi.InvalidArnException("ARN does not refer to a valid principal: " + *p.name)
		}
		*p.id = id
	}
	return nil
}

// granted returns a principal as grants keep it: see [authz.Grant].
func (s *Service) granted(ctx context.Context, region, name string) (id string, ok bool, err error) {
	if !arn.Is(name) {
		return name, true, nil // a service
	}
	id, ok, err = s.principals.Resolve(ctx, name)
	if err != nil || !ok || id != "" {
		return id, ok, err
	}
	if a, err := arn.Parse(name); err == nil && a.Resource == "root" {
		return arn.Root(arn.Partition(region), a.Account), true, nil
	}
	return name, true, nil
}

// ListGrants implements [kmsapi.Handler].
func (s *Service) ListGrants(ctx context.Context, c *call.Call, in *kmsapi.ListGrantsInput, out *kmsapi.ListGrantsOutput) error {
	return serve(ctx, s, c, in, out, (*Service).listGrants)
}

func (s *Service) listGrants(ctx context.Context, c *call.Call, in *kmsapi.ListGrantsInput, out *kmsapi.ListGrantsOutput) error {
	limit, err := pageSize(in.Limit, 50, 100)
	if err != nil {
		return err
	}
	if in.GranteePrincipal != "" && in.GranteeServicePrincipal != "" {
		return wire.Validation("You cannot specify both GranteePrincipal and GranteeServicePrincipal.")
	}
	grantee, err := grantPrincipal(in.GranteePrincipal, in.GranteeServicePrincipal)
	if err != nil {
		return err
	}
	if in.GrantID != "" && !keyring.IsGrantID(in.GrantID) {
		return errInvalidGrantID()
	}
	key, err := s.use(ctx, c, &toListGrants, in.KeyID, nil)
	if err != nil {
		return err
	}
	m := key.Metadata()
	scope := m.ARN + "\x01" + in.GrantID + "\x01" + grantee
	after, err := s.resume(c, scope, in.Marker)
	if err != nil {
		return err
	}
	filter := keyring.GrantFilter{ID: in.GrantID}
	if grantee != "" {
		id, ok, err := s.granted(ctx, m.Region, grantee)
		if err != nil {
			return err
		}
		if !ok {
			out.Grants = []kmsapi.GrantListEntry{}
			return nil // grants of the gone are under their ids
		}
		filter.Grantee = id
	}
	list, more, err := key.ListGrants(ctx, filter, after, limit)
	if err != nil {
		return err
	}
	out.Grants = make([]kmsapi.GrantListEntry, len(list))
	for i, g := range list {
		if out.Grants[i], err = s.grantEntry(ctx, m.ARN, g); err != nil {
			return err
		}
	}
	if more {
		out.Truncated = true
		out.NextMarker, err = s.marker(c, scope, list[len(list)-1].ID)
	}
	return err
}

// ListRetirableGrants implements [kmsapi.Handler].
func (s *Service) ListRetirableGrants(ctx context.Context, c *call.Call, in *kmsapi.ListRetirableGrantsInput, out *kmsapi.ListRetirableGrantsOutput) error {
	return serve(ctx, s, c, in, out, (*Service).listRetirableGrants)
}

func (s *Service) listRetirableGrants(ctx context.Context, c *call.Call, in *kmsapi.ListRetirableGrantsInput, out *kmsapi.ListRetirableGrantsOutput) error {
	const action = "kms:ListRetirableGrants"
	limit, err := pageSize(in.Limit, 50, 100)
	if err != nil {
		return err
	}
	switch {
	case in.RetiringPrincipal == "" && in.RetiringServicePrincipal == "":
		return wire.Validation("You must specify either RetiringPrincipal or RetiringServicePrincipal.")
	case in.RetiringPrincipal != "" && in.RetiringServicePrincipal != "":
		return wire.Validation("You cannot specify both RetiringPrincipal and RetiringServicePrincipal.")
	}
	retiring, err := grantPrincipal(in.RetiringPrincipal, in.RetiringServicePrincipal)
	if err != nil {
		return err
	}
	permit, err := s.decideAll(ctx, c, action, nil)
	if err != nil {
		return err
	}
	if !ownPrincipal(c.Caller, retiring) {
		return authz.DenyUnknown(c, action, false)
	}
	id, ok, err := s.granted(ctx, c.Region, retiring)
	if err != nil {
		return err
	}
	if !ok {
		return kmsapi.InvalidArnException("ARN does not refer to a valid principal: " + retiring)
	}
	after, err := s.resume(c, id, in.Marker)
	if err != nil {
		return err
	}
	list, more, err := s.ring.RetirableGrants(ctx, c, permit, c.Region, id, after, limit)
	if err != nil {
		return err
	}
	out.Grants = make([]kmsapi.GrantListEntry, len(list))
	for i, r := range list {
		if out.Grants[i], err = s.grantEntry(ctx, r.KeyARN, r.Grant); err != nil {
			return err
		}
	}
	if more {
		out.Truncated = true
		out.NextMarker, err = s.marker(c, id, list[len(list)-1].After)
	}
	return err
}

// ownPrincipal reports whether a principal is of the caller's account, or is
// the service that calls.
func ownPrincipal(caller *call.Principal, name string) bool {
	if a, err := arn.Parse(name); err == nil {
		return a.Account == caller.Account
	}
	return slices.Contains(caller.Services, name)
}

// grantEntry describes a grant in the API's terms.
func (s *Service) grantEntry(ctx context.Context, keyARN string, g *authz.Grant) (kmsapi.GrantListEntry, error) {
	e := kmsapi.GrantListEntry{
		KeyID: keyARN, GrantID: g.ID, Name: g.Name, CreationDate: g.Created,
		Operations: make([]kmsapi.GrantOperation, len(g.Operations)),
	}
	if a, err := arn.Parse(keyARN); err == nil {
		e.IssuingAccount = arn.Root(a.Partition, g.Issuer)
	}
	for i, o := range g.Operations {
		e.Operations[i] = kmsapi.GrantOperation(o)
	}
	if len(g.Equals) > 0 || len(g.Subset) > 0 || g.SourceARN != "" {
		e.Constraints = &kmsapi.GrantConstraints{SourceARN: g.SourceARN}
		if len(g.Equals) > 0 {
			e.Constraints.EncryptionContextEquals = g.Equals
		}
		if len(g.Subset) > 0 {
			e.Constraints.EncryptionContextSubset = g.Subset
		}
	}
	for _, p := range []struct {
		id, name      string
		user, service *string
	}{
		{g.Grantee, g.GranteeARN, &e.GranteePrincipal, &e.GranteeServicePrincipal},
		{g.Retiring, g.RetiringARN, &e.RetiringPrincipal, &e.RetiringServicePrincipal},
	} {
		switch {
		case p.name == "":
		case !arn.Is(p.name):
			// Clients from before there were service principals see them, too.
			*p.user, *p.service = p.name, p.name
		case arn.Is(p.id):
			*p.user = p.name
		default:
			now, err := s.nameNow(ctx, p.id)
			if err != nil {
				return e, err
			}
			*p.user = now
		}
	}
	return e, nil
}

// RevokeGrant implements [kmsapi.Handler].
func (s *Service) RevokeGrant(ctx context.Context, c *call.Call, in *kmsapi.RevokeGrantInput, out *kmsapi.RevokeGrantOutput) error {
	return serve(ctx, s, c, in, out, (*Service).revokeGrant)
}

func (s *Service) revokeGrant(ctx context.Context, c *call.Call, in *kmsapi.RevokeGrantInput, _ *kmsapi.RevokeGrantOutput) error {
	if !keyring.IsGrantID(in.GrantID) {
		return errInvalidGrantID()
	}
	f, err := s.find(ctx, c, &toRevokeGrant, in.KeyID)
	if err != nil {
		return err
	}
	key, err := s.useFound(ctx, c, &toRevokeGrant, f, nil)
	if err != nil {
		return err
	}
	if in.DryRun {
		if _, err = f.subject.Grant(ctx, in.GrantID); err == nil {
			return errDryRun()
		}
	} else {
		err = key.RevokeGrant(ctx, in.GrantID)
	}
	if errors.Is(err, keyring.ErrNotFound) {
		return noSuchGrant(in.GrantID)
	}
	return err
}

// RetireGrant implements [kmsapi.Handler].
func (s *Service) RetireGrant(ctx context.Context, c *call.Call, in *kmsapi.RetireGrantInput, out *kmsapi.RetireGrantOutput) error {
	return serve(ctx, s, c, in, out, (*Service).retireGrant)
}

func (s *Service) retireGrant(ctx context.Context, c *call.Call, in *kmsapi.RetireGrantInput, _ *kmsapi.RetireGrantOutput) error {
	f, id, err := s.findGrant(ctx, c, in)
	if err != nil {
		return err
	}
	if f.subject == nil {
		return authz.DenyUnknown(c, toRetireGrant.action, false)
	}
	g, err := f.subject.Grant(ctx, id)
	switch {
	case errors.Is(err, keyring.ErrNotFound) && f.subject.Account() != c.Caller.Account && in.GrantToken == "":
		return authz.DenyUnknown(c, toRetireGrant.action, false)
	case errors.Is(err, keyring.ErrNotFound):
		return noSuchGrant(id)
	case err != nil:
		return err
	}
	q := newQuestion(f.subject.Resource(), askedGrant(g))
	permit, err := s.az.DecideRetire(ctx, c, g, &q.resource, &q.request)
	q.done()
	if err != nil {
		return err
	}
	key, err := s.open(ctx, c, f, permit)
	if err != nil {
		return err
	}
	c.AddAdditional("grantId", id)
	if in.DryRun {
		return errDryRun()
	}
	err = key.RetireGrant(ctx, id)
	if errors.Is(err, keyring.ErrNotFound) {
		return noSuchGrant(id)
	}
	return err
}

// findGrant finds the key of the grant that a request names, in one of two
// ways.
func (s *Service) findGrant(ctx context.Context, c *call.Call, in *kmsapi.RetireGrantInput) (found, string, error) {
	if in.GrantToken != "" {
		if in.KeyID != "" || in.GrantID != "" {
			return found{}, "", wire.Validation("Specify either a grant token, or a key ARN and a grant ID.")
		}
		t, err := s.ring.ParseGrantToken(in.GrantToken)
		if err == nil && t.Region != c.Region {
			err = authz.ErrGrantToken
		}
		if err != nil {
			return found{}, "", err
		}
		subject, err := s.ring.Find(ctx, t.Account, t.Region, t.KeyID)
		if err != nil && !errors.Is(err, keyring.ErrNotFound) {
			return found{}, "", err
		}
		return found{subject: subject}, t.GrantID, nil
	}
	switch {
	case in.KeyID == "" || in.GrantID == "":
		return found{}, "", wire.Validation("Specify either a grant token, or a key ARN and a grant ID.")
	case !keyring.IsGrantID(in.GrantID):
		return found{}, "", errInvalidGrantID()
	case !arn.Is(in.KeyID):
		return found{}, "", errInvalidARN(in.KeyID)
	}
	f, err := s.find(ctx, c, &toRetireGrant, in.KeyID)
	return f, in.GrantID, err
}

func errInvalidGrantID() error { return kmsapi.InvalidGrantIdException("The grant ID is not valid.") }

func noSuchGrant(id string) error {
	return kmsapi.NotFoundException("Grant ID " + id + " not found")
}
