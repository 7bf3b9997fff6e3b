package iam

import (
	"context"
	"strings"

	"github.com/keyreeve/keyreeve/internal/api/iamapi"
	"github.com/keyreeve/keyreeve/internal/arn"
	"github.com/keyreeve/keyreeve/internal/authz"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/identity"
	"github.com/keyreeve/keyreeve/internal/wire"
)

// ownedByAWS stands for the account in the ARNs of AWS's own policies.
const ownedByAWS = "aws"

// parsePolicyARN returns the account in the ARN of a managed policy, which is
// ownedByAWS for AWS's own.
func parsePolicyARN(text string) (account string, err error) {
	parts := strings.SplitN(text, ":", 6)
	if len(parts) != 6 || parts[0] != "arn" || parts[1] == "" || parts[2] == "" || parts[5] == "" {
		return "", wire.QueryValidation("ARN " + text + " is not valid.")
	}
	account = parts[4]
	if parts[1] != partition || parts[2] != "iam" || parts[3] != "" ||
		!strings.HasPrefix(parts[5], "policy/") || strings.HasSuffix(parts[5], "/") ||
		account != ownedByAWS && !arn.IsAccount(account) {
		return "", iamapi.InvalidInput("ARN " + text + " is not valid.")
	}
	return account, nil
}

// policyPath returns the path of the managed policy with an ARN.
func policyPath(policyARN string) string {
	_, resource, _ := strings.Cut(policyARN, ":policy/")
	return "/" + resource[:strings.LastIndexByte(resource, '/')+1]
}

// usePolicy finds a managed policy, of the caller's account or of AWS, and
// decides the call's own action on it. If there is none, the error is missing.
func (s *Service) usePolicy(ctx context.Context, c *call.Call, policyARN string, q conditions, missing *wire.Error) (*identity.ManagedPolicy, error) {
	account, err := parsePolicyARN(policyARN)
	if err != nil {
		return nil, err
	}
	t := &target{arn: policyARN, account: c.Caller.Account, shown: "policy " + policyARN}
	if account != c.Caller.Account && account != ownedByAWS {
		return nil, s.denyForeign(ctx, c, t, &q)
	}
	p, err := s.dir.Policy(ctx, c.Caller.Account, policyARN)
	if err = instead(err, missing); err != nil && err != error(missing) {
		return nil, err
	}
	t.tags = p.Tags
	if err := s.decide(ctx, c, c.Operation.Name, t, &q); err != nil {
		return nil, err
	}
	return &p, err
}

// changePolicy is usePolicy for an operation that changes the policy, which
// nobody may do to one of AWS.
func (s *Service) changePolicy(ctx context.Context, c *call.Call, policyARN string, q conditions, missing *wire.Error) (*identity.ManagedPolicy, error) {
	if account, err := parsePolicyARN(policyARN); err == nil && account == ownedByAWS {
		return nil, s.denyForeign(ctx, c, &target{arn: policyARN, account: c.Caller.Account, shown: "policy " + policyARN}, &q)
	}
	return s.usePolicy(ctx, c, policyARN, q, missing)
}

// denyForeign denies the call's own action on a policy that is not of the
// caller's account. Whether it is there does not matter. What the caller's own
// policies say is told first.
func (s *Service) denyForeign(ctx context.Context, c *call.Call, t *target, q *conditions) error {
	action := "iam:" + c.Operation.Name
	if err := s.decide(ctx, c, c.Operation.Name, t, q); err != nil {
		return err
	}
	text := "User: " + c.Caller.ARN + " is not authorized to perform: " + action + " on resource: " + t.shown +
		" because no resource-based policy allows the " + action + " action"
	c.DecisionText = "denied: a policy of another account"
	return &authz.Denied{Action: action, Text: text}
}

// CreatePolicy implements [iamapi.Handler].
func (s *Service) CreatePolicy(ctx context.Context, c *call.Call, in *iamapi.CreatePolicyInput, out *iamapi.CreatePolicyOutput) error {
	return serve(ctx, s, c, in, out, (*Service).createPolicy)
}

func (s *Service) createPolicy(ctx context.Context, c *call.Call, in *iamapi.CreatePolicyInput, out *iamapi.CreatePolicyOutput) error {
	q, err := checkTags(in.Tags, textDuplicatePolicyTags)
	if err != nil {
		return err
	}
	path, err := checkPath("path", in.Path)
	if err != nil {
		return err
	}
	t := &target{
		arn: arnOf("policy", c.Caller.Account, path, in.PolicyName), account: c.Caller.Account, shown: "policy " + in.PolicyName,
	}
	if err := s.decideNew(ctx, c, "TagPolicy", t, &q); err != nil {
		return err
	}
	p, err := s.dir.CreatePolicy(ctx, identity.ManagedPolicy{
		Account:     c.Caller.Account,
		Name:        in.PolicyName,
		Path:        path,
		Description: in.Description,
		Tags:        q.tags,
	}, in.PolicyDocument)
	if err != nil {
		return err
	}
	out.Policy = apiPolicy(&p)
	out.Policy.Description = "" // as AWS answers
	return nil
}

// GetPolicy implements [iamapi.Handler].
func (s *Service) GetPolicy(ctx context.Context, c *call.Call, in *iamapi.GetPolicyInput, out *iamapi.GetPolicyOutput) error {
	return serve(ctx, s, c, in, out, (*Service).getPolicy)
}

func (s *Service) getPolicy(ctx context.Context, c *call.Call, in *iamapi.GetPolicyInput, out *iamapi.GetPolicyOutput) error {
	p, err := s.usePolicy(ctx, c, in.PolicyARN, conditions{}, errNoSuchPolicy(in.PolicyARN))
	if err != nil {
		return err
	}
	out.Policy = apiPolicy(p)
	if out.Policy.Tags == nil {
		out.Policy.Tags = []iamapi.Tag{} // there, but empty, as AWS answers
	}
	return nil
}

// ListPolicies implements [iamapi.Handler].
func (s *Service) ListPolicies(ctx context.Context, c *call.Call, in *iamapi.ListPoliciesInput, out *iamapi.ListPoliciesOutput) error {
	return serve(ctx, s, c, in, out, (*Service).listPolicies)
}

func (s *Service) listPolicies(ctx context.Context, c *call.Call, in *iamapi.ListPoliciesInput, out *iamapi.ListPoliciesOutput) error {
	prefix := pathOr(in.PathPrefix)
	if err := s.decideAll(ctx, c, "policy path "+prefix); err != nil {
		return err
	}
	scope := identity.PolicyScope{
		AWS:          in.Scope != iamapi.PolicyScopeTypeLocal,
		Local:        in.Scope != iamapi.PolicyScopeTypeAws,
		OnlyAttached: in.OnlyAttached,
	}
	filter := string(in.Scope) + "\x00" + string(in.PolicyUsageFilter)
	if in.OnlyAttached {
		filter += "\x00attached"
	}
	policies, truncated, marker, err := stored(s, c, filter, prefix, in.Marker, in.MaxItems, func(p identity.Page) ([]identity.ManagedPolicy, string, error) {
		return s.dir.ManagedPolicies(ctx, c.Caller.Account, scope, p)
	})
	if err != nil {
		return err
	}
	// A page may have fewer items than were asked for, as on AWS.
	out.Policies = make([]iamapi.Policy, 0, len(policies))
	for i := range policies {
		p := &policies[i]
		if in.PolicyUsageFilter == iamapi.PolicyUsageTypePermissionsBoundary && p.Boundaries == 0 ||
			in.PolicyUsageFilter == iamapi.PolicyUsageTypePermissionsPolicy && p.Boundaries > 0 && p.Attachments == 0 {
			continue
		}
		listed := apiPolicy(p)
		listed.Description, listed.Tags = "", nil
		out.Policies = append(out.Policies, *listed)
	}
	out.IsTruncated, out.Marker = truncated, marker
	return nil
}

// DeletePolicy implements [iamapi.Handler].
func (s *Service) DeletePolicy(ctx context.Context, c *call.Call, in *iamapi.DeletePolicyInput, out *iamapi.DeletePolicyOutput) error {
	return serve(ctx, s, c, in, out, (*Service).deletePolicy)
}

func (s *Service) deletePolicy(ctx context.Context, c *call.Call, in *iamapi.DeletePolicyInput, _ *iamapi.DeletePolicyOutput) error {
	missing := errNoSuchPolicy(in.PolicyARN)
	if _, err := s.changePolicy(ctx, c, in.PolicyARN, conditions{}, missing); err != nil {
		return err
	}
	return instead(s.dir.DeletePolicy(ctx, c.Caller.Account, in.PolicyARN), missing)
}

// CreatePolicyVersion implements [iamapi.Handler].
func (s *Service) CreatePolicyVersion(ctx context.Context, c *call.Call, in *iamapi.CreatePolicyVersionInput, out *iamapi.CreatePolicyVersionOutput) error {
	return serve(ctx, s, c, in, out, (*Service).createPolicyVersion)
}

func (s *Service) createPolicyVersion(ctx context.Context, c *call.Call, in *iamapi.CreatePolicyVersionInput, out *iamapi.CreatePolicyVersionOutput) error {
	missing := errNotAttachable(in.PolicyARN)
	if _, err := s.changePolicy(ctx, c, in.PolicyARN, conditions{}, missing); err != nil {
		return err
	}
	v, err := s.dir.CreatePolicyVersion(ctx, c.Caller.Account, in.PolicyARN, in.PolicyDocument, in.SetAsDefault)
	if err != nil {
		return instead(err, missing)
	}
	out.PolicyVersion = apiVersion(&v)
	out.PolicyVersion.Document = "" // as AWS answers
	return nil
}

// GetPolicyVersion implements [iamapi.Handler].
func (s *Service) GetPolicyVersion(ctx context.Context, c *call.Call, in *iamapi.GetPolicyVersionInput, out *iamapi.GetPolicyVersionOutput) error {
	return serve(ctx, s, c, in, out, (*Service).getPolicyVersion)
}

func (s *Service) getPolicyVersion(ctx context.Context, c *call.Call, in *iamapi.GetPolicyVersionInput, out *iamapi.GetPolicyVersionOutput) error {
	missing := errNoSuchVersion(in.PolicyARN, in.VersionID)
	if _, err := s.usePolicy(ctx, c, in.PolicyARN, conditions{}, missing); err != nil {
		return err
	}
	v, err := s.dir.PolicyVersion(ctx, c.Caller.Account, in.PolicyARN, in.VersionID)
	if err != nil {
		return instead(err, missing)
	}
	out.PolicyVersion = apiVersion(&v)
	return nil
}

// ListPolicyVersions implements [iamapi.Handler].
func (s *Service) ListPolicyVersions(ctx context.Context, c *call.Call, in *iamapi.ListPolicyVersionsInput, out *iamapi.ListPolicyVersionsOutput) error {
	return serve(ctx, s, c, in, out, (*Service).listPolicyVersions)
}

func (s *Service) listPolicyVersions(ctx context.Context, c *call.Call, in *iamapi.ListPolicyVersionsInput, out *iamapi.ListPolicyVersionsOutput) error {
	missing := errNotAttachable(in.PolicyARN)
	p, err := s.usePolicy(ctx, c, in.PolicyARN, conditions{}, missing)
	if err != nil {
		return err
	}
	versions, err := s.dir.PolicyVersions(ctx, c.Caller.Account, in.PolicyARN)
	if err != nil {
		return instead(err, missing)
	}
	id := func(v identity.PolicyVersion) string { return v.ID }
	newest := func(a, b string) int { return byLength(b, a) } // v10 before v9
	versions, out.IsTruncated, out.Marker, err = page(s, c, p.ID, in.Marker, in.MaxItems, versions, id, newest)
	if err != nil {
		return err
	}
	out.Versions = make([]iamapi.PolicyVersion, len(versions))
	for i := range versions {
		out.Versions[i] = *apiVersion(&versions[i])
		out.Versions[i].Document = ""
	}
	return nil
}

// SetDefaultPolicyVersion implements [iamapi.Handler].
func (s *Service) SetDefaultPolicyVersion(ctx context.Context, c *call.Call, in *iamapi.SetDefaultPolicyVersionInput, out *iamapi.SetDefaultPolicyVersionOutput) error {
	return serve(ctx, s, c, in, out, (*Service).setDefaultPolicyVersion)
}

func (s *Service) setDefaultPolicyVersion(ctx context.Context, c *call.Call, in *iamapi.SetDefaultPolicyVersionInput, _ *iamapi.SetDefaultPolicyVersionOutput) error {
	missing := errNoSuchVersion(in.PolicyARN, in.VersionID)
	if _, err := s.changePolicy(ctx, c, in.PolicyARN, conditions{}, missing); err != nil {
		return err
	}
	return instead(s.dir.SetDefaultPolicyVersion(ctx, c.Caller.Account, in.PolicyARN, in.VersionID), missing)
}

// DeletePolicyVersion implements [iamapi.Handler].
func (s *Service) DeletePolicyVersion(ctx context.Context, c *call.Call, in *iamapi.DeletePolicyVersionInput, out *iamapi.DeletePolicyVersionOutput) error {
	return serve(ctx, s, c, in, out, (*Service).deletePolicyVersion)
}

func (s *Service) deletePolicyVersion(ctx context.Context, c *call.Call, in *iamapi.DeletePolicyVersionInput, _ *iamapi.DeletePolicyVersionOutput) error {
	missing := errNoSuchVersion(in.PolicyARN, in.VersionID)
	if _, err := s.changePolicy(ctx, c, in.PolicyARN, conditions{}, missing); err != nil {
		return err
	}
	return instead(s.dir.DeletePolicyVersion(ctx, c.Caller.Account, in.PolicyARN, in.VersionID), missing)
}

// ListEntitiesForPolicy implements [iamapi.Handler].
func (s *Service) ListEntitiesForPolicy(ctx context.Context, c *call.Call, in *iamapi.ListEntitiesForPolicyInput, out *iamapi.ListEntitiesForPolicyOutput) error {
	return serve(ctx, s, c, in, out, (*Service).listEntitiesForPolicy)
}

func (s *Service) listEntitiesForPolicy(ctx context.Context, c *call.Call, in *iamapi.ListEntitiesForPolicyInput, out *iamapi.ListEntitiesForPolicyOutput) error {
	missing := errNotAttachable(in.PolicyARN)
	p, err := s.usePolicy(ctx, c, in.PolicyARN, conditions{}, missing)
	if err != nil {
		return err
	}
	all, err := s.dir.PolicyEntities(ctx, c.Caller.Account, in.PolicyARN)
	if err != nil {
		return instead(err, missing)
	}
	wanted := wantedEntities(&all, in)
	filter := strings.Join([]string{p.ID, string(in.EntityFilter), in.PathPrefix, string(in.PolicyUsageFilter)}, "\x00")
	wanted, out.IsTruncated, out.Marker, err = page(s, c, filter, in.Marker, in.MaxItems, wanted, entityKey, byName)
	for _, e := range wanted {
		switch e.Kind {
		case identity.UserEntity:
			out.PolicyUsers = append(out.PolicyUsers, iamapi.PolicyUser{UserName: e.Name, UserID: e.ID})
		case identity.GroupEntity:
			out.PolicyGroups = append(out.PolicyGroups, iamapi.PolicyGroup{GroupName: e.Name, GroupID: e.ID})
		case identity.RoleEntity:
			out.PolicyRoles = append(out.PolicyRoles, iamapi.PolicyRole{RoleName: e.Name, RoleID: e.ID})
		}
	}
	return err
}

// entityKey orders entities by kind and name.
func entityKey(e identity.EntityRef) string { return kind(e.Kind).String() + "/" + e.Name }

// wantedEntities returns those of a policy's entities that a request asks for,
// each once, although it may both have the policy and be bounded by it.
func wantedEntities(all *identity.PolicyEntities, in *iamapi.ListEntitiesForPolicyInput) []identity.EntityRef {
	filters := map[iamapi.EntityType]identity.EntityKind{
		iamapi.EntityTypeUser:  identity.UserEntity,
		iamapi.EntityTypeGroup: identity.GroupEntity,
		iamapi.EntityTypeRole:  identity.RoleEntity,
	}
	var list []identity.EntityRef
	seen := make(map[string]bool)
	add := func(entities []identity.EntityRef, usage iamapi.PolicyUsageType) {
		if in.PolicyUsageFilter != "" && in.PolicyUsageFilter != usage {
			return
		}
		for _, e := range entities {
			if seen[e.ID] || in.EntityFilter != "" && filters[in.EntityFilter] != e.Kind || !strings.HasPrefix(e.Path, pathOr(in.PathPrefix)) {
				continue
			}
			seen[e.ID] = true
			list = append(list, e)
		}
	}
	add(all.Attached, iamapi.PolicyUsageTypePermissionsPolicy)
	add(all.Boundaries, iamapi.PolicyUsageTypePermissionsBoundary)
	return list
}

// apiPolicy returns a managed policy in the API's terms.
func apiPolicy(p *identity.ManagedPolicy) *iamapi.Policy {
	attachments, boundaries := int32(p.Attachments), int32(p.Boundaries)
	return &iamapi.Policy{
		PolicyName:                    p.Name,
		PolicyID:                      p.ID,
		ARN:                           p.ARN,
		Path:                          p.Path,
		DefaultVersionID:              p.Default,
		AttachmentCount:               &attachments,
		PermissionsBoundaryUsageCount: &boundaries,
		IsAttachable:                  true,
		Description:                   p.Description,
		CreateDate:                    p.Created,
		UpdateDate:                    p.Updated,
		Tags:                          apiTags(p.Tags),
	}
}

// apiVersion returns a version in the API's terms.
func apiVersion(v *identity.PolicyVersion) *iamapi.PolicyVersion {
	return &iamapi.PolicyVersion{Document: v.Document, VersionID: v.ID, IsDefaultVersion: v.Default, CreateDate: v.Created}
}
