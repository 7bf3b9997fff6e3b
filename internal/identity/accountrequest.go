package identity

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/mail"
	"slices"
	"strings"
	"time"

	"github.com/keyreeve/keyreeve/internal/arn"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/record"
)

// AccountRequestState is how far a request for an account is.
type AccountRequestState string

// The states.
const (
	AccountInProgress AccountRequestState = "IN_PROGRESS"
	AccountSucceeded  AccountRequestState = "SUCCEEDED"
	AccountFailed     AccountRequestState = "FAILED"
)

// Why requests for an account fail. Source: CreateAccountStatus in the API
// reference of AWS Organizations.
const (
	EmailAlreadyExists   = "EMAIL_ALREADY_EXISTS"
	AccountLimitExceeded = "ACCOUNT_LIMIT_EXCEEDED"
	InternalFailure      = "INTERNAL_FAILURE"
)

// OrganizationAccessRole is the name of the role of a new account with which its
// organization's management account can do anything in it.
const OrganizationAccessRole = "OrganizationAccountAccessRole"

const (
	// maxAccountRequests is the most requests that an organization has, done
	// ones too.
	maxAccountRequests = 2 * MaxMembers
	// accountRequestAge is how long a request that is done is known.
	accountRequestAge = 90 * 24 * time.Hour
)

// AccountRequest is an account that an organization is to get.
type AccountRequest struct {
	Organization string
	ID           string // car- and 32 lower-case letters and digits
	Email        string // 6 to 64 characters; no other account may have it
	Name         string // of the account: 1 to 50 printable ASCII characters
	Role         string // OrganizationAccessRole if empty
	Tags         []Tag  // of the account

	State              AccountRequestState
	Account            string // its id, of one that has succeeded
	Failure            string // why, of one that has failed
	Requested, Settled time.Time
}

// AccountSettlement is what has become of a request for an account.
type AccountSettlement struct {
	AccountRequest
	Master string // the management account of the organization
}

func requestKey(organization, id string) string { return requestPrefix + organization + "/" + id }
func dueKey(organization, id string) string     { return duePrefix + organization + "/" + id }

// emailKey is where an e-mail address is listed. Addresses that differ only in
// case are one.
func emailKey(address string) string {
	sum := sha256.Sum256([]byte(strings.ToLower(address)))
	return emailPrefix + hex.EncodeToString(sum[:])
}

// encode returns the record's value: e-mail address, name, role, tags (pairs),
// state, account, failure, when it was requested and settled.
func (r *AccountRequest) encode() []byte {
	b := []byte{1}
	for _, s := range []string{r.Email, r.Name, r.Role} {
		b = appendString(b, s)
	}
	b = appendPairs(b, r.Tags)
	for _, s := range []string{string(r.State), r.Account, r.Failure} {
		b = appendString(b, s)
	}
	b = appendTime(b, r.Requested)
	return appendTime(b, r.Settled)
}

func decodeAccountRequest(rec record.Record) (*AccountRequest, error) {
	r := newReader(rec.Value, 1)
	q := new(AccountRequest)
	q.Organization, q.ID, _ = strings.Cut(strings.TrimPrefix(rec.Key, requestPrefix), "/")
	q.Email, q.Name, q.Role = r.string(), r.string(), r.string()
	q.Tags = r.pairs()
	q.State, q.Account, q.Failure = AccountRequestState(r.string()), r.string(), r.string()
	q.Requested, q.Settled = r.time(), r.time()
	return q, r.end()
}

// check returns what is wrong with a request, an ErrInvalid.
func (r *AccountRequest) check() error {
	at, err := mail.ParseAddress(r.Email)
	switch {
	case err != nil || at.Address != r.Email || len(r.Email) < 6 || len(r.Email) > 64:
		return fmt.Errorf("%w: an account's e-mail address", ErrInvalid)
	case len(r.Name) < 1 || len(r.Name) > 50 || strings.IndexFunc(r.Name, func(c rune) bool { return c < ' ' || c > '~' }) >= 0:
		return fmt.Errorf("%w: an account's name has 1 to 50 printable ASCII characters", ErrInvalid)
	case !isName(r.Role, kinds[RoleEntity].longest):
		return fmt.Errorf("%w: role name %q", ErrInvalid, r.Role)
	}
	return nil
}

// RequestAccount notes that an organization is to get an account with what r
// says of it, and a role that its management account can assume. It is made by
// [Directory.SettleAccountRequests]. Errors: ErrNotFound (the organization),
// ErrInvalid, ErrLimit.
func (d *Directory) RequestAccount(ctx context.Context, r AccountRequest) (AccountRequest, error) {
	if r.Role == "" {
		r.Role = OrganizationAccessRole
	}
	if err := r.check(); err != nil {
		return AccountRequest{}, err
	}
	var err error
	if r.Tags, err = addTags(nil, r.Tags); err != nil {
		return AccountRequest{}, err
	}
	// 26 characters have 130 random bits; the rest makes it as long as AWS's.
	r.ID = "car-" + randomText(26) + randomText(6)
	r.State, r.Requested = AccountInProgress, d.stamp()
	r.Account, r.Failure, r.Settled = "", "", time.Time{}
	err = d.retry(ctx, func() error {
		o, rec, err := d.loadOrganization(ctx, r.Organization)
		if err != nil {
			return err
		}
		if err := d.roomForMember(ctx, o); err != nil {
			return err
		}
		n, err := d.count(ctx, requestPrefix+o.ID+"/", maxAccountRequests)
		if err != nil {
			return err
		}
		if n >= maxAccountRequests {
			return &Error{ErrLimit, "You have exceeded the allowed number of AWS accounts."}
		}
		tx := d.rs.Begin()
		tx.Check(rec)
		tx.Create(record.KindAccountRequest, requestKey(o.ID, r.ID), r.encode())
		tx.Create(record.KindAccountDue, dueKey(o.ID, r.ID), []byte{1})
		return d.commit(ctx, tx, "requesting an account")
	})
	if err != nil {
		return AccountRequest{}, err
	}
	return r, nil
}

// AccountRequest returns a request for an account, or ErrNotFound.
func (d *Directory) AccountRequest(ctx context.Context, organization, id string) (AccountRequest, error) {
	r, _, err := d.loadAccountRequest(ctx, organization, id)
	if err != nil {
		return AccountRequest{}, err
	}
	return *r, nil
}

func (d *Directory) loadAccountRequest(ctx context.Context, organization, id string) (*AccountRequest, record.Record, error) {
	if !organizationID.MatchString(organization) || len(id) > 36 {
		return nil, record.Record{}, fmt.Errorf("%w: account request %q", ErrNotFound, id)
	}
	return load(ctx, d.rs, record.KindAccountRequest, requestKey(organization, id), "account request "+id, decodeAccountRequest)
}

// AccountRequests returns a page of an organization's requests in one of the
// states given, or in any if there are none; ordered by id, with the marker of
// the next page, empty if there is none.
func (d *Directory) AccountRequests(ctx context.Context, organization string, states []AccountRequestState, p Page) ([]AccountRequest, string, error) {
	return page(ctx, d, record.KindAccountRequest, requestPrefix+organization+"/", p, func(rec record.Record) (AccountRequest, bool, error) {
		r, err := decodeAccountRequest(rec)
		if err != nil {
			return AccountRequest{}, false, err
		}
		return *r, len(states) == 0 || slices.Contains(states, r.State), nil
	})
}

// SettleAccountRequests makes the accounts that are requested, on whatever node,
// and notes what has become of the requests. A request that cannot be settled
// now stays, which is the error.
func (d *Directory) SettleAccountRequests(ctx context.Context) error {
	var wrong []error
	after := ""
	for {
		keys, err := d.rs.Keys(ctx, duePrefix, after, 100)
		if err != nil {
			return errors.Join(append(wrong, err)...)
		}
		for _, key := range keys {
			after = key
			organization, id, _ := strings.Cut(strings.TrimPrefix(key, duePrefix), "/")
			if err := d.settleAccount(ctx, organization, id); err != nil {
				wrong = append(wrong, fmt.Errorf("account request %s: %w", id, err))
			}
		}
		if len(keys) < 100 {
			return errors.Join(wrong...)
		}
	}
}

// settleAccount makes the account of a request. All of it is one transaction,
// so that of nodes that do so at the same time, one does.
func (d *Directory) settleAccount(ctx context.Context, organization, id string) error {
	return d.retry(ctx, func() error {
		due, err := d.rs.Get(ctx, record.KindAccountDue, dueKey(organization, id))
		if errors.Is(err, record.ErrNotFound) {
			return nil // another was faster
		}
		if err != nil {
			return err
		}
		r, rec, err := d.loadAccountRequest(ctx, organization, id)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
		tx := d.rs.Begin()
		tx.Delete(due)
		var done AccountSettlement
		if err == nil && r.State == AccountInProgress {
			next := *r
			next.Settled = d.stamp()
			if next.Failure, done.Master, err = d.makeMember(ctx, tx, &next); err != nil {
				return err
			}
			next.State = AccountSucceeded
			if next.Failure != "" {
				next.State, next.Account = AccountFailed, ""
			}
			tx.Put(rec, next.encode())
			done.AccountRequest = next
		}
		commit := func(ctx context.Context) error { return d.commit(ctx, tx, "making the account of request "+id) }
		if d.settled == nil || done.Master == "" { // of an organization that is gone nobody is told
			return commit(ctx)
		}
		return d.settled(ctx, done, commit)
	})
}

// makeMember adds the account of a request to a transaction, unless it returns
// why that cannot be. master is the organization's management account; empty if it
// is gone.
func (d *Directory) makeMember(ctx context.Context, tx *record.Tx, r *AccountRequest) (failure, master string, err error) {
	o, rec, err := d.loadOrganization(ctx, r.Organization)
	if errors.Is(err, ErrNotFound) {
		return InternalFailure, "", nil
	}
	if err != nil {
		return "", "", err
	}
	switch err := d.roomForMember(ctx, o); {
	case errors.Is(err, ErrLimit):
		return AccountLimitExceeded, o.Master, nil
	case err != nil:
		return "", "", err
	}
	if old, err := d.rs.Get(ctx, record.KindEmail, emailKey(r.Email)); err == nil {
		clear(old.Value)
		return EmailAlreadyExists, o.Master, nil
	} else if !errors.Is(err, record.ErrNotFound) {
		return "", "", err
	}
	now := d.stamp()
	a := &account{Account: Account{ID: NewAccountID(), Name: r.Name, Created: now, Email: r.Email, Tags: r.Tags}}
	a.join(o, o.Root, now)
	a.Made = true
	r.Account = a.ID
	role := &entity{
		kind: RoleEntity, account: a.ID, name: r.Role, path: "/", id: newUniqueID(kinds[RoleEntity].letters), created: now,
		attached:   []reference{{Name: call.AdministratorAccess, Value: awsPolicyID(call.AdministratorAccess)}},
		maxSession: minMaxSession, trust: trustOf(o.Master),
	}
	if role.trusted, err = d.bindTrust(ctx, role.trust); err != nil {
		return "", "", err
	}
	tx.Put(rec, o.encode()) // what is in it changes: see hold
	tx.Create(record.KindAccount, accountKey(a.ID), a.encode())
	tx.Create(record.KindRole, role.key(), role.encode())
	tx.Create(record.KindUnique, uniqueKey(role.id), unique{RoleEntity, a.ID, strings.ToLower(role.name)}.encode())
	tx.Create(record.KindEmail, emailKey(r.Email), appendString([]byte{1}, a.ID))
	return "", o.Master, nil
}

// trustOf is the trust policy of a role that everybody in an account can assume
// whom that account lets.
func trustOf(account string) string {
	return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"` + arn.Root(partition, account) + `"},"Action":"sts:AssumeRole"}]}`
}

// ForgetAccountRequests deletes the requests that were settled 90 days ago or
// earlier.
func (d *Directory) ForgetAccountRequests(ctx context.Context) error {
	limit := d.now().Add(-accountRequestAge)
	old, err := walk(ctx, d, record.KindAccountRequest, requestPrefix, func(rec record.Record) (record.Record, error) {
		r, err := decodeAccountRequest(rec)
		if err != nil || r.State == AccountInProgress || r.Settled.After(limit) {
			rec.Kind = 0
		}
		rec.Value = nil
		return rec, err
	}, func(rec record.Record) bool { return rec.Kind != 0 })
	if err != nil {
		return err
	}
	for _, rec := range old {
		tx := d.rs.Begin()
		tx.Delete(rec)
		if _, err := tx.Commit(ctx); err != nil && !errors.Is(err, record.ErrConflict) {
			return err
		}
	}
	return nil
}
