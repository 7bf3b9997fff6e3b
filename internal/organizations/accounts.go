package organizations

import (
	"context"
	"errors"
	"slices"
	"strings"

	api "github.com/keyreeve/keyreeve/internal/api/organizationsapi"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/identity"
)

// CreateAccount implements [api.Handler]. The account is made soon after. Who may
// see its bills is nothing here.
func (s *Service) CreateAccount(ctx context.Context, c *call.Call, in *api.CreateAccountInput, out *api.CreateAccountOutput) error {
	return serve(ctx, s, c, in, out, (*visit).createAccount)
}

func (v *visit) createAccount(ctx context.Context, in *api.CreateAccountInput, out *api.CreateAccountOutput) error {
	q, err := checkTags(in.Tags)
	if err != nil {
		return err
	}
	if err := v.allow(ctx, q); err != nil {
		return err
	}
	r, err := v.s.dir.RequestAccount(ctx, identity.AccountRequest{
		Organization: v.o.ID, Email: in.Email, Name: in.AccountName, Role: in.RoleName, Tags: q.tags,
	})
	if errors.Is(err, identity.ErrLimit) {
		return violates("ACCOUNT_NUMBER_LIMIT_EXCEEDED", "You have exceeded the allowed number of AWS accounts.")
	}
	if err != nil {
		return err
	}
	select {
	case v.s.wake <- struct{}{}:
	default: // it will be seen to anyway
	}
	out.CreateAccountStatus = status(&r)
	return nil
}

func status(r *identity.AccountRequest) *api.CreateAccountStatus {
	return &api.CreateAccountStatus{
		ID: r.ID, AccountName: r.Name, State: api.CreateAccountState(r.State), RequestedTimestamp: r.Requested,
		CompletedTimestamp: r.Settled, AccountID: r.Account, FailureReason: api.CreateAccountFailureReason(r.Failure),
	}
}

// DescribeCreateAccountStatus implements [api.Handler].
func (s *Service) DescribeCreateAccountStatus(ctx context.Context, c *call.Call, in *api.DescribeCreateAccountStatusInput, out *api.DescribeCreateAccountStatusOutput) error {
	return serve(ctx, s, c, in, out, (*visit).describeCreateAccountStatus)
}

func (v *visit) describeCreateAccountStatus(ctx context.Context, in *api.DescribeCreateAccountStatusInput, out *api.DescribeCreateAccountStatusOutput) error {
	if err := v.allow(ctx, conditions{}); err != nil {
		return err
	}
	r, err := v.s.dir.AccountRequest(ctx, v.o.ID, in.CreateAccountRequestID)
	if err != nil {
		return instead(err, identity.ErrNotFound, api.CreateAccountStatusNotFoundException("You specified a create account request that doesn't exist."))
	}
	out.CreateAccountStatus = status(&r)
	return nil
}

// ListCreateAccountStatus implements [api.Handler].
func (s *Service) ListCreateAccountStatus(ctx context.Context, c *call.Call, in *api.ListCreateAccountStatusInput, out *api.ListCreateAccountStatusOutput) error {
	return serve(ctx, s, c, in, out, (*visit).listCreateAccountStatus)
}

func (v *visit) listCreateAccountStatus(ctx context.Context, in *api.ListCreateAccountStatusInput, out *api.ListCreateAccountStatusOutput) error {
	if err := v.allow(ctx, conditions{}); err != nil {
		return err
	}
	var states []identity.AccountRequestState
	var filter []string
	for _, state := range in.States {
		states = append(states, identity.AccountRequestState(state))
		filter = append(filter, string(state))
	}
	slices.Sort(filter)
	list, next, err := stored(v, strings.Join(slices.Compact(filter), ","), in.NextToken, in.MaxResults, func(p identity.Page) ([]identity.AccountRequest, string, error) {
		return v.s.dir.AccountRequests(ctx, v.o.ID, states, p)
	})
	if err != nil {
		return err
	}
	out.CreateAccountStatuses, out.NextToken = []api.CreateAccountStatus{}, next
	for i := range list {
		out.CreateAccountStatuses = append(out.CreateAccountStatuses, *status(&list[i]))
	}
	return nil
}

// useAccount decides the call's action on an account of the organization, which
// is there if there is no error.
func (v *visit) useAccount(ctx context.Context, id string) (*identity.Account, error) {
	t, err := v.accountTarget(ctx, id)
	if err != nil {
		return nil, err
	}
	if err := v.allow(ctx, conditions{}, t); err != nil {
		return nil, err
	}
	if !t.found {
		return nil, errNoAccount()
	}
	return t.account, nil
}

// DescribeAccount implements [api.Handler].
func (s *Service) DescribeAccount(ctx context.Context, c *call.Call, in *api.DescribeAccountInput, out *api.DescribeAccountOutput) error {
	return serve(ctx, s, c, in, out, (*visit).describeAccount)
}

func (v *visit) describeAccount(ctx context.Context, in *api.DescribeAccountInput, out *api.DescribeAccountOutput) error {
	a, err := v.useAccount(ctx, in.AccountID)
	if err != nil {
		return err
	}
	out.Account = v.account(a)
	return nil
}

func (v *visit) account(a *identity.Account) *api.Account {
	joined := a.Joined
	if joined.Year() <= 1 {
		joined = v.o.Created // of one that came before that was noted
	}
	out := &api.Account{
		ID: a.ID, ARN: v.arn("account", a.ID), Email: a.Email, Name: a.Name, Status: api.AccountStatusActive, State: api.AccountStateActive,
		JoinedMethod: api.AccountJoinedMethodInvited, JoinedTimestamp: joined,
	}
	if a.Made {
		out.JoinedMethod = api.AccountJoinedMethodCreated
	}
	if !a.Closed.IsZero() {
		out.Status, out.State = api.AccountStatusSuspended, api.AccountStateSuspended
	}
	return out
}

func (v *visit) members(ctx context.Context, parent, token string, maxResults *int32) ([]identity.Account, string, error) {
	return stored(v, parent, token, maxResults, func(p identity.Page) ([]identity.Account, string, error) {
		return v.s.dir.Members(ctx, v.o.ID, parent, p)
	})
}

func (v *visit) accounts(list []identity.Account) []api.Account {
	accounts := make([]api.Account, len(list))
	for i := range list {
		accounts[i] = *v.account(&list[i])
	}
	return accounts
}

// ListAccounts implements [api.Handler].
func (s *Service) ListAccounts(ctx context.Context, c *call.Call, in *api.ListAccountsInput, out *api.ListAccountsOutput) error {
	return serve(ctx, s, c, in, out, (*visit).listAccounts)
}

func (v *visit) listAccounts(ctx context.Context, in *api.ListAccountsInput, out *api.ListAccountsOutput) error {
	if err := v.allow(ctx, conditions{}); err != nil {
		return err
	}
	list, next, err := v.members(ctx, "", in.NextToken, in.MaxResults)
	out.Accounts, out.NextToken = v.accounts(list), next
	return err
}

// ListAccountsForParent implements [api.Handler].
func (s *Service) ListAccountsForParent(ctx context.Context, c *call.Call, in *api.ListAccountsForParentInput, out *api.ListAccountsForParentOutput) error {
	return serve(ctx, s, c, in, out, (*visit).listAccountsForParent)
}

func (v *visit) listAccountsForParent(ctx context.Context, in *api.ListAccountsForParentInput, out *api.ListAccountsForParentOutput) error {
	if err := v.useParent(ctx, in.ParentID); err != nil {
		return err
	}
	list, next, err := v.members(ctx, in.ParentID, in.NextToken, in.MaxResults)
	out.Accounts, out.NextToken = v.accounts(list), next
	return err
}

// MoveAccount implements [api.Handler].
func (s *Service) MoveAccount(ctx context.Context, c *call.Call, in *api.MoveAccountInput, out *api.MoveAccountOutput) error {
	return serve(ctx, s, c, in, out, (*visit).moveAccount)
}

func (v *visit) moveAccount(ctx context.Context, in *api.MoveAccountInput, _ *api.MoveAccountOutput) error {
	account, err := v.accountTarget(ctx, in.AccountID)
	if err != nil {
		return err
	}
	from, err := v.anyTarget(ctx, in.SourceParentID)
	if err != nil {
		return err
	}
	to, err := v.anyTarget(ctx, in.DestinationParentID)
	if err != nil {
		return err
	}
	if err := v.allow(ctx, conditions{}, account, from, to); err != nil {
		return err
	}
	switch {
	case !account.found:
		return errNoAccount()
	case !from.found || account.account.Parent != in.SourceParentID:
		return api.SourceParentNotFoundException("You specified a source parent that doesn't exist.")
	case !to.found:
		return api.DestinationParentNotFoundException("You specified a destination parent that doesn't exist.")
	case in.SourceParentID == in.DestinationParentID:
		return api.DuplicateAccountException("The account is already present in the specified destination.")
	}
	return v.s.dir.MoveAccount(ctx, v.o.ID, in.AccountID, in.SourceParentID, in.DestinationParentID)
}

// RemoveAccountFromOrganization implements [api.Handler]. An account can always
// go on alone here.
func (s *Service) RemoveAccountFromOrganization(ctx context.Context, c *call.Call, in *api.RemoveAccountFromOrganizationInput, out *api.RemoveAccountFromOrganizationOutput) error {
	return serve(ctx, s, c, in, out, (*visit).removeAccount)
}

func (v *visit) removeAccount(ctx context.Context, in *api.RemoveAccountFromOrganizationInput, _ *api.RemoveAccountFromOrganizationOutput) error {
	a, err := v.useAccount(ctx, in.AccountID)
	if err != nil {
		return err
	}
	if a.ID == v.o.Master {
		return api.MasterCannotLeaveOrganizationException("You can't remove the management account from an organization.")
	}
	return instead(v.s.dir.RemoveAccount(ctx, v.o.ID, a.ID), identity.ErrNotFound, errNoAccount())
}

// CloseAccount implements [api.Handler]. There is no time in which it is being
// closed.
func (s *Service) CloseAccount(ctx context.Context, c *call.Call, in *api.CloseAccountInput, out *api.CloseAccountOutput) error {
	return serve(ctx, s, c, in, out, (*visit).closeAccount)
}

func (v *visit) closeAccount(ctx context.Context, in *api.CloseAccountInput, _ *api.CloseAccountOutput) error {
	a, err := v.useAccount(ctx, in.AccountID)
	if err != nil {
		return err
	}
	if a.ID == v.o.Master {
		return violates("CANNOT_CLOSE_MANAGEMENT_ACCOUNT", "You can't close the management account of an organization.")
	}
	err = v.s.dir.CloseAccount(ctx, v.o.ID, a.ID)
	err = instead(err, identity.ErrNotFound, errNoAccount())
	err = instead(err, identity.ErrExists, api.AccountAlreadyClosedException("The provided account is already closed."))
	return instead(err, identity.ErrConflict, api.ConflictException("The operator's account can't be closed."))
}
