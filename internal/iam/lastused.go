package iam

import (
	"context"
	"errors"

	"github.com/keyreeve/keyreeve/internal/api/iamapi"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/identity"
)

// GetAccessKeyLastUsed implements [iamapi.Handler]. It is decided on the user
// whose access key it is. Of a key that is not one of the caller's account
// nobody learns more than that he may not ask.
func (s *Service) GetAccessKeyLastUsed(ctx context.Context, c *call.Call, in *iamapi.GetAccessKeyLastUsedInput, out *iamapi.GetAccessKeyLastUsedOutput) error {
	return serve(ctx, s, c, in, out, (*Service).getAccessKeyLastUsed)
}

func (s *Service) getAccessKeyLastUsed(ctx context.Context, c *call.Call, in *iamapi.GetAccessKeyLastUsedInput, out *iamapi.GetAccessKeyLastUsedOutput) error {
	k, err := s.dir.AccessKey(ctx, in.AccessKeyID)
	if err != nil && !errors.Is(err, identity.ErrNotFound) {
		return err
	}
	k.Secret.Wipe()
	there := err == nil && k.Account == c.Caller.Account
	on := &target{arn: arnOf("user", c.Caller.Account, "/", ""), account: c.Caller.Account} // nobody
	if there && k.User == "" {
		on = rootTarget(c)
	} else if there {
		f, err := s.find(ctx, c, aUser, k.User)
		if err != nil {
			return err
		}
		on, out.UserName = &f.target, f.name
	}
	on.shown = "access key " + in.AccessKeyID
	if err := s.decide(ctx, c, c.Operation.Name, on, &conditions{}); err != nil {
		return err
	}
	if !there {
		c.DecisionText = "denied: access key not found"
		return accessDenied("User: " + c.Caller.ARN + " is not authorized to perform: iam:GetAccessKeyLastUsed on resource: " + on.shown)
	}
	u, err := s.dir.LastUse(ctx, k.Account, k.ID)
	if err != nil {
		return err
	}
	out.AccessKeyLastUsed = &iamapi.AccessKeyLastUsed{LastUsedDate: u.Time, ServiceName: u.Service, Region: u.Region}
	if u.Time.IsZero() {
		out.AccessKeyLastUsed.ServiceName, out.AccessKeyLastUsed.Region = "N/A", "N/A"
	}
	return nil
}

// roleLastUsed returns when a role was last used in the API's terms.
func (s *Service) roleLastUsed(ctx context.Context, r *identity.Role) (*iamapi.RoleLastUsed, error) {
	u, err := s.dir.LastUse(ctx, r.Account, r.ID)
	if err != nil {
		return nil, err
	}
	return &iamapi.RoleLastUsed{LastUsedDate: u.Time, Region: u.Region}, nil
}
