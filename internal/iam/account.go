package iam

import (
	"context"

	"github.com/keyreeve/keyreeve/internal/api/iamapi"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/wire"
)

// GetAccountSummary implements [iamapi.Handler].
func (s *Service) GetAccountSummary(ctx context.Context, c *call.Call, in *iamapi.GetAccountSummaryInput, out *iamapi.GetAccountSummaryOutput) error {
	return serve(ctx, s, c, in, out, (*Service).getAccountSummary)
}

func (s *Service) getAccountSummary(ctx context.Context, c *call.Call, _ *iamapi.GetAccountSummaryInput, out *iamapi.GetAccountSummaryOutput) error {
	if err := s.decideAll(ctx, c, ""); err != nil {
		return err
	}
	n, err := s.dir.Summary(ctx, c.Caller.Account)
	if err != nil {
		return err
	}
	devices, devicesInUse, err := s.dir.CountMFADevices(ctx, c.Caller.Account)
	if err != nil {
		return err
	}
	providers, err := s.dir.OIDCProviders(ctx, c.Caller.Account)
	if err != nil {
		return err
	}
	rootKeys := 0
	if n.RootAccessKeys > 0 {
		rootKeys = 1
	}
	// The quotas are those of a new AWS account. Source: recorded answers.
	for _, e := range []struct {
		name  string
		value int
	}{
		{"AccessKeysPerUserQuota", 2},
		{"AccountAccessKeysPresent", rootKeys},
		{"AccountMFAEnabled", 0},
		{"AccountPasswordPresent", 0},
		{"AccountSigningCertificatesPresent", 0},
		{"AssumeRolePolicySizeQuota", 2048},
		{"AttachedPoliciesPerGroupQuota", 10},
		{"AttachedPoliciesPerRoleQuota", 10},
		{"AttachedPoliciesPerUserQuota", 10},
		{"GlobalEndpointTokenVersion", 1},
		{"GroupPolicySizeQuota", 5120},
		{"Groups", n.Groups},
		{"GroupsPerUserQuota", 10},
		{"GroupsQuota", 300},
		{"InstanceProfiles", 0},
		{"InstanceProfilesQuota", 1000},
		{"MFADevices", devices},
		{"MFADevicesInUse", devicesInUse},
		{"Policies", n.Policies},
		{"PoliciesQuota", 1500},
		{"PolicySizeQuota", 6144},
		{"PolicyVersionsInUse", n.PolicyVersions},
		{"PolicyVersionsInUseQuota", 10000},
		{"Providers", len(providers)},
		{"RolePolicySizeQuota", 10240},
		{"Roles", n.Roles},
		{"RolesQuota", 1000},
		{"ServerCertificates", 0},
		{"ServerCertificatesQuota", 20},
		{"SigningCertificatesPerUserQuota", 2},
		{"UserPolicySizeQuota", 2048},
		{"Users", n.Users},
		{"UsersQuota", 5000},
		{"VersionsPerPolicyQuota", 5},
	} {
		out.SummaryMap = append(out.SummaryMap, wire.Entry{Name: e.name, Value: int32(e.value)})
	}
	return nil
}
