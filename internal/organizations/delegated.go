package organizations

import (
	"context"

	api "github.com/keyreeve/keyreeve/internal/api/organizationsapi"
	"github.com/keyreeve/keyreeve/internal/call"
)

// An organization here lets neither AWS's services nor other accounts than its
// management account do anything for it. Clients that look whether it does,
// such as Terraform, are told so.

// ListAWSServiceAccessForOrganization implements [api.Handler]: there is no
// service.
func (s *Service) ListAWSServiceAccessForOrganization(ctx context.Context, c *call.Call, in *api.ListAWSServiceAccessForOrganizationInput, out *api.ListAWSServiceAccessForOrganizationOutput) error {
	return serve(ctx, s, c, in, out, (*visit).listServiceAccess)
}

func (v *visit) listServiceAccess(ctx context.Context, in *api.ListAWSServiceAccessForOrganizationInput, out *api.ListAWSServiceAccessForOrganizationOutput) error {
	out.EnabledServicePrincipals = []api.EnabledServicePrincipal{}
	return v.none(ctx, conditions{}, in.NextToken)
}

// ListDelegatedAdministrators implements [api.Handler]: there is no account.
func (s *Service) ListDelegatedAdministrators(ctx context.Context, c *call.Call, in *api.ListDelegatedAdministratorsInput, out *api.ListDelegatedAdministratorsOutput) error {
	return serve(ctx, s, c, in, out, (*visit).listDelegatedAdministrators)
}

func (v *visit) listDelegatedAdministrators(ctx context.Context, in *api.ListDelegatedAdministratorsInput, out *api.ListDelegatedAdministratorsOutput) error {
	out.DelegatedAdministrators = []api.DelegatedAdministrator{}
	return v.none(ctx, conditions{service: in.ServicePrincipal}, in.NextToken)
}

// none decides the call's action, which lists nothing: no token leads on.
func (v *visit) none(ctx context.Context, q conditions, token string) error {
	if err := v.allow(ctx, q); err != nil {
		return err
	}
	_, err := v.openToken("", token)
	return err
}
