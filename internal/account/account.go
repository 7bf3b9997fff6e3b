// Package account is the operations of AWS Account Management that are about
// Regions: which of those that need it an account has enabled.
//
// A [Service] implements the generated handler of package accountapi on
// [identity.Directory]. What reaches it is authenticated and well-formed. Each
// operation checks in this order:
//
//  1. whose account is meant: the caller's, or that of a member which the
//     organization's management account names;
//  2. authorization, on the ARN that either has here;
//  3. whether the account is a member;
//  4. whether there is such a Region, and it can be enabled at all.
//
// What is enabled or disabled is so at once, where AWS takes minutes to hours;
// so no Region is ever ENABLING or DISABLING. That an account has not enabled a
// Region is what package server tells its principals when they call there:
// their credentials are not known.
package account

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/keyreeve/keyreeve/internal/api/accountapi"
	"github.com/keyreeve/keyreeve/internal/arn"
	"github.com/keyreeve/keyreeve/internal/authz"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/identity"
	"github.com/keyreeve/keyreeve/internal/seal"
	"github.com/keyreeve/keyreeve/internal/wire"
	"github.com/keyreeve/keyreeve/policy"
)

// defaultPage is how many Regions a list has if the caller does not say.
const defaultPage = 50

// partition is that of every account of an installation.
const partition = "aws"

// Service is the operations. Its methods may be called concurrently.
type Service struct {
	dir     *identity.Directory
	az      *authz.Authorizer
	regions []string // in order
	box     *seal.Box
}

var _ accountapi.Handler = (*Service)(nil)

// New returns the operations on a directory, as az decides them, for an
// installation that has these Regions. The box seals the tokens of lists.
func New(dir *identity.Directory, az *authz.Authorizer, regions []string, box *seal.Box) *Service {
	return &Service{dir: dir, az: az, regions: slices.Compact(slices.Sorted(slices.Values(regions))), box: box}
}

// EnableRegion implements [accountapi.Handler].
func (s *Service) EnableRegion(ctx context.Context, c *call.Call, in *accountapi.EnableRegionInput, _ *accountapi.EnableRegionOutput) error {
	a, err := s.optional(ctx, c, "account:EnableRegion", in.AccountID, in.RegionName)
	if err != nil {
		return err
	}
	return answer(s.dir.EnableRegion(ctx, a.ID, in.RegionName))
}

// DisableRegion implements [accountapi.Handler]. What the account has in the
// Region stays, and is there again once the Region is.
func (s *Service) DisableRegion(ctx context.Context, c *call.Call, in *accountapi.DisableRegionInput, _ *accountapi.DisableRegionOutput) error {
	a, err := s.optional(ctx, c, "account:DisableRegion", in.AccountID, in.RegionName)
	if err != nil {
		return err
	}
	return answer(s.dir.DisableRegion(ctx, a.ID, in.RegionName))
}

// GetRegionOptStatus implements [accountapi.Handler].
func (s *Service) GetRegionOptStatus(ctx context.Context, c *call.Call, in *accountapi.GetRegionOptStatusInput, out *accountapi.GetRegionOptStatusOutput) error {
	a, err := s.target(ctx, c, "account:GetRegionOptStatus", in.AccountID, in.RegionName)
	if err != nil {
		return err
	}
	if err := s.known(in.RegionName); err != nil {
		return err
	}
	out.RegionName, out.RegionOptStatus = in.RegionName, s.status(a, in.RegionName)
	return nil
}

// ListRegions implements [accountapi.Handler]. The Regions are those of the
// installation.
func (s *Service) ListRegions(ctx context.Context, c *call.Call, in *accountapi.ListRegionsInput, out *accountapi.ListRegionsOutput) error {
	a, err := s.target(ctx, c, "account:ListRegions", in.AccountID, "")
	if err != nil {
		return err
	}
	// A list goes on for the account and the filter that it began with.
	scope := []string{"account:ListRegions", a.ID}
	for _, status := range slices.Compact(slices.Sorted(slices.Values(in.RegionOptStatusContains))) {
		scope = append(scope, string(status))
	}
	after, err := s.box.Resume(in.NextToken, scope...)
	if errors.Is(err, seal.ErrMarker) {
		return accountapi.ValidationException("fieldValidationFailed", "The NextToken is not valid.")
	}
	if err != nil {
		return fmt.Errorf("account: opening a token: %w", err)
	}
	most := defaultPage
	if in.MaxResults != nil {
		most = int(*in.MaxResults)
	}
	for _, region := range s.regions {
		status := s.status(a, region)
		if region <= after || len(in.RegionOptStatusContains) > 0 && !slices.Contains(in.RegionOptStatusContains, status) {
			continue
		}
		if len(out.Regions) == most {
			if out.NextToken, err = s.box.Marker(out.Regions[most-1].RegionName, scope...); err != nil {
				return fmt.Errorf("account: sealing a token: %w", err)
			}
			break
		}
		out.Regions = append(out.Regions, accountapi.Region{RegionName: region, RegionOptStatus: status})
	}
	return nil
}

// target returns the account that a call is for, if the caller may do the action
// to it. region is that which the call names; empty if it names none.
func (s *Service) target(ctx context.Context, c *call.Call, action, id, region string) (*identity.Account, error) {
	who := c.Caller
	org := who.Organization
	switch {
	case id == "":
	case org == nil || !org.Management:
		return nil, denied(c, action, "Only the management account of an organization can name another account.")
	case id == who.Account:
		return nil, denied(c, action, "The management account can only be managed using the standalone context from the management account.")
	}
	r := &authz.Resource{Account: who.Account}
	name := arn.ARN{Partition: partition, Service: "account", Account: who.Account, Resource: "account"}
	if id != "" {
		name.Resource += "/" + org.ID + "/" + id
	}
	r.ARN = name.String()
	if _, err := s.az.Decide(ctx, c, action, r, &authz.Request{Values: target(region)}); err != nil {
		return nil, err
	}
	if id == "" {
		a, err := s.dir.Account(ctx, who.Account)
		return &a, err
	}
	a, err := s.dir.Account(ctx, id)
	if errors.Is(err, identity.ErrNotFound) || err == nil && a.Organization != org.ID {
		return nil, denied(c, action, "The account is not a member of your organization.")
	}
	return &a, err
}

// optional is target for a Region that is to be enabled or disabled, which it
// must be possible to.
func (s *Service) optional(ctx context.Context, c *call.Call, action, id, region string) (*identity.Account, error) {
	a, err := s.target(ctx, c, action, id, region)
	if err != nil {
		return nil, err
	}
	if err := s.known(region); err != nil {
		return nil, err
	}
	if s.dir.RegionStatus(a, region) == identity.RegionAlways {
		return nil, accountapi.ValidationException("invalidRegionOptTarget", "Region "+region+" is enabled by default, and is neither enabled nor disabled.")
	}
	return a, nil
}

// known refuses a Region that the installation does not have.
func (s *Service) known(region string) error {
	if !slices.Contains(s.regions, region) {
		return accountapi.ValidationException("invalidRegionOptTarget", "There is no Region "+region+".")
	}
	return nil
}

func (s *Service) status(a *identity.Account, region string) accountapi.RegionOptStatus {
	switch s.dir.RegionStatus(a, region) {
	case identity.RegionEnabled:
		return accountapi.RegionOptStatusEnabled
	case identity.RegionDisabled:
		return accountapi.RegionOptStatusDisabled
	}
	return accountapi.RegionOptStatusEnabledByDefault
}

// target is the Region that a request names, and its condition key.
type target string

// Value implements [policy.Context].
func (t target) Value(k *policy.Key) policy.Value {
	if k.Name == "account:targetregion" && t != "" {
		return policy.String(string(t))
	}
	return policy.Value{}
}

// denied is a denial for what no policy says.
func denied(c *call.Call, action, why string) error {
	c.DecisionText = "denied: " + why
	return wire.AccessDenied("User: " + c.Caller.ARN + " is not authorized to perform: " + action + " (" + why + ")")
}

// answer puts an error of the directory into the API's terms.
func answer(err error) error {
	var e *identity.Error
	switch {
	case errors.Is(err, identity.ErrConcurrent):
		return accountapi.ConflictException("The account was changed by others meanwhile. Try again.")
	case errors.As(err, &e):
		return accountapi.ConflictException(e.Message)
	}
	return err
}
