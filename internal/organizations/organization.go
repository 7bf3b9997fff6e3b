package organizations

import (
	"context"
	"slices"

	api "github.com/keyreeve/keyreeve/internal/api/organizationsapi"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/identity"
)

// rootName is what AWS calls every root.
const rootName = "Root"

// CreateOrganization implements [api.Handler]. There are organizations with all
// features alone.
func (s *Service) CreateOrganization(ctx context.Context, c *call.Call, in *api.CreateOrganizationInput, out *api.CreateOrganizationOutput) error {
	return serve(ctx, s, c, in, out, (*visit).createOrganization)
}

func (v *visit) createOrganization(ctx context.Context, in *api.CreateOrganizationInput, out *api.CreateOrganizationOutput) error {
	if err := v.decide(ctx, conditions{}); err != nil {
		return err
	}
	if v.o != nil {
		return api.AlreadyInOrganizationException("The provided account is already a member of an organization.")
	}
	if in.FeatureSet == api.OrganizationFeatureSetConsolidatedBilling {
		return invalid("INVALID_ENUM", "You specified an invalid value.")
	}
	o, err := v.s.dir.CreateOrganization(ctx, identity.Organization{Master: v.c.Caller.Account})
	if err != nil {
		return instead(err, identity.ErrExists, api.AlreadyInOrganizationException("The provided account is already a member of an organization."))
	}
	v.o = &o
	out.Organization, err = v.organization(ctx)
	return err
}

// DescribeOrganization implements [api.Handler]: for every account of it.
func (s *Service) DescribeOrganization(ctx context.Context, c *call.Call, in *api.DescribeOrganizationInput, out *api.DescribeOrganizationOutput) error {
	return serve(ctx, s, c, in, out, (*visit).describeOrganization)
}

func (v *visit) describeOrganization(ctx context.Context, _ *api.DescribeOrganizationInput, out *api.DescribeOrganizationOutput) (err error) {
	if err := v.allowMember(ctx, conditions{}); err != nil {
		return err
	}
	out.Organization, err = v.organization(ctx)
	return err
}

func (v *visit) organization(ctx context.Context) (*api.Organization, error) {
	master, err := v.s.dir.Account(ctx, v.o.Master)
	if err != nil {
		return nil, err
	}
	return &api.Organization{
		ID: v.o.ID, ARN: v.arn("organization", ""), FeatureSet: api.OrganizationFeatureSetAll,
		MasterAccountARN: v.arn("account", v.o.Master), MasterAccountID: v.o.Master, MasterAccountEmail: master.Email,
		// AWS says this of every organization: what is enabled, its root tells.
		AvailablePolicyTypes: []api.PolicyTypeSummary{{Type: api.PolicyTypeServiceControlPolicy, Status: api.PolicyTypeStatusEnabled}},
	}, nil
}

// DeleteOrganization implements [api.Handler].
func (s *Service) DeleteOrganization(ctx context.Context, c *call.Call, in *api.DeleteOrganizationInput, out *api.DeleteOrganizationOutput) error {
	return serve(ctx, s, c, in, out, (*visit).deleteOrganization)
}

func (v *visit) deleteOrganization(ctx context.Context, _ *api.DeleteOrganizationInput, _ *api.DeleteOrganizationOutput) error {
	if err := v.allow(ctx, conditions{}); err != nil {
		return err
	}
	return instead(v.s.dir.DeleteOrganization(ctx, v.o.ID), identity.ErrConflict,
		api.OrganizationNotEmptyException("To delete an organization you must first remove all member accounts (except the master)."))
}

// ListRoots implements [api.Handler]. There is one.
func (s *Service) ListRoots(ctx context.Context, c *call.Call, in *api.ListRootsInput, out *api.ListRootsOutput) error {
	return serve(ctx, s, c, in, out, (*visit).listRoots)
}

func (v *visit) listRoots(ctx context.Context, in *api.ListRootsInput, out *api.ListRootsOutput) error {
	if err := v.allow(ctx, conditions{}); err != nil {
		return err
	}
	roots, next, err := page(v, "", in.NextToken, in.MaxResults, []api.Root{*v.root()}, func(r api.Root) string { return r.ID })
	out.Roots, out.NextToken = roots, next
	return err
}

func (v *visit) root() *api.Root {
	types := []api.PolicyTypeSummary{}
	for _, t := range v.o.Types {
		types = append(types, api.PolicyTypeSummary{Type: api.PolicyType(t), Status: api.PolicyTypeStatusEnabled})
	}
	return &api.Root{ID: v.o.Root, ARN: v.arn("root", v.o.Root), Name: rootName, PolicyTypes: types}
}

// EnablePolicyType implements [api.Handler].
func (s *Service) EnablePolicyType(ctx context.Context, c *call.Call, in *api.EnablePolicyTypeInput, out *api.EnablePolicyTypeOutput) error {
	return serve(ctx, s, c, in, out, (*visit).enablePolicyType)
}

func (v *visit) enablePolicyType(ctx context.Context, in *api.EnablePolicyTypeInput, out *api.EnablePolicyTypeOutput) error {
	t, err := v.policyType(ctx, in.RootID, in.PolicyType)
	if err != nil {
		return err
	}
	enabled := api.PolicyTypeAlreadyEnabledException("The specified policy type is already enabled.")
	switch _, ok := known(in.PolicyType); {
	case !ok:
		return errTypeNotAvailable()
	case slices.Contains(v.o.Types, t):
		return enabled
	}
	if err := instead(v.s.dir.EnablePolicyType(ctx, v.o.ID, t), identity.ErrExists, enabled); err != nil {
		return err
	}
	return v.rootAfter(ctx, &out.Root)
}

// DisablePolicyType implements [api.Handler].
func (s *Service) DisablePolicyType(ctx context.Context, c *call.Call, in *api.DisablePolicyTypeInput, out *api.DisablePolicyTypeOutput) error {
	return serve(ctx, s, c, in, out, (*visit).disablePolicyType)
}

func (v *visit) disablePolicyType(ctx context.Context, in *api.DisablePolicyTypeInput, out *api.DisablePolicyTypeOutput) error {
	t, err := v.policyType(ctx, in.RootID, in.PolicyType)
	if err != nil {
		return err
	}
	if !slices.Contains(v.o.Types, t) {
		return errTypeNotEnabled()
	}
	if err := instead(v.s.dir.DisablePolicyType(ctx, v.o.ID, t), identity.ErrConflict, errTypeNotEnabled()); err != nil {
		return err
	}
	return v.rootAfter(ctx, &out.Root)
}

// policyType decides an action on a type of policy in the root.
func (v *visit) policyType(ctx context.Context, root string, kind api.PolicyType) (identity.OrganizationPolicyType, error) {
	t, err := v.rootTarget(ctx, root)
	if err != nil {
		return "", err
	}
	if err := v.allow(ctx, conditions{kind: string(kind)}, t); err != nil {
		return "", err
	}
	if !t.found {
		return "", errNoRoot()
	}
	return identity.OrganizationPolicyType(kind), nil
}

// rootAfter reads the root again, once it has changed.
func (v *visit) rootAfter(ctx context.Context, root **api.Root) error {
	o, err := v.s.dir.OrganizationByID(ctx, v.o.ID)
	if err != nil {
		return err
	}
	v.o = &o
	*root = v.root()
	return nil
}
