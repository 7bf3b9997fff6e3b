package identity

import (
	"context"
	"errors"
	"time"

	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/policy"
)

var errPending = errors.New("identity: being written")

// Users returns a page of an account's users, ordered by lower-cased name, and
// the marker of the next page, empty if there is none. Errors: ErrInvalid for a
// marker that is none.
func (d *Directory) Users(ctx context.Context, account string, p Page) ([]User, string, error) {
	return nil, "", errPending
}

// UserByID returns the user with a unique id (AIDA…), or ErrNotFound.
func (d *Directory) UserByID(ctx context.Context, id string) (User, error) { return User{}, errPending }

// UpdateUser gives a user another name or path; an empty one stays. Errors:
// ErrNotFound, ErrExists, ErrInvalid.
func (d *Directory) UpdateUser(ctx context.Context, account, name, newName, newPath string) error {
	return errPending
}

// AccessKeys returns the access keys of a user (of the root user if the name is
// empty), without their secrets, in the order in which they were made.
func (d *Directory) AccessKeys(ctx context.Context, account, user string) ([]AccessKey, error) {
	return nil, errPending
}

// AccountOfAccessKey returns the account to which an access key id (AKIA… or
// ASIA…) belongs; ErrNotFound if that is not known.
func (d *Directory) AccountOfAccessKey(ctx context.Context, id string) (string, error) {
	return "", errPending
}

// CreateGroup makes a group of g's account, name and path.
func (d *Directory) CreateGroup(ctx context.Context, g Group) (Group, error) {
	return Group{}, errPending
}

// Group returns a group, or ErrNotFound.
func (d *Directory) Group(ctx context.Context, account, name string) (Group, error) {
	return Group{}, errPending
}

// Groups returns a page of an account's groups, and the next marker.
func (d *Directory) Groups(ctx context.Context, account string, p Page) ([]Group, string, error) {
	return nil, "", errPending
}

// UpdateGroup gives a group another name or path; an empty one stays.
func (d *Directory) UpdateGroup(ctx context.Context, account, name, newName, newPath string) error {
	return errPending
}

// DeleteGroup deletes a group without members and policies.
func (d *Directory) DeleteGroup(ctx context.Context, account, name string) error { return errPending }

// AddUserToGroup makes a user a member, if it is none yet.
func (d *Directory) AddUserToGroup(ctx context.Context, account, group, user string) error {
	return errPending
}

// RemoveUserFromGroup ends a membership; ErrNotFound if there is none.
func (d *Directory) RemoveUserFromGroup(ctx context.Context, account, group, user string) error {
	return errPending
}

// GroupMembers returns a page of a group's users, and the next marker.
func (d *Directory) GroupMembers(ctx context.Context, account, group string, p Page) ([]User, string, error) {
	return nil, "", errPending
}

// UserGroups returns the groups of a user, by name.
func (d *Directory) UserGroups(ctx context.Context, account, user string) ([]Group, error) {
	return nil, errPending
}

// CreateRole makes a role of r's account, name, path, description, maximum
// session, trust policy, tags, boundary and policies. Errors: ErrExists, ErrInvalid,
// ErrMalformed, ErrLimit, ErrNotFound (account, boundary or policy).
func (d *Directory) CreateRole(ctx context.Context, r Role) (Role, error) { return Role{}, errPending }

// Role returns a role, or ErrNotFound.
func (d *Directory) Role(ctx context.Context, account, name string) (Role, error) {
	return Role{}, errPending
}

// RoleByARN returns a role and its trust policy, in which principals are bound
// to their unique ids; ErrNotFound.
func (d *Directory) RoleByARN(ctx context.Context, arn string) (Role, *policy.Policy, error) {
	return Role{}, nil, errPending
}

// Roles returns a page of an account's roles, and the next marker.
func (d *Directory) Roles(ctx context.Context, account string, p Page) ([]Role, string, error) {
	return nil, "", errPending
}

// RoleUpdate is what of a role is changed: what is nil stays.
type RoleUpdate struct {
	Description *string
	MaxSession  *time.Duration
}

// UpdateRole changes a role. Errors: ErrNotFound, ErrInvalid.
func (d *Directory) UpdateRole(ctx context.Context, account, name string, u RoleUpdate) error {
	return errPending
}

// SetTrust gives a role another trust policy. Errors: ErrNotFound,
// ErrMalformed (also for principals that do not exist), ErrLimit.
func (d *Directory) SetTrust(ctx context.Context, account, name, document string) error {
	return errPending
}

// DeleteRole deletes a role without policies. Errors: ErrNotFound, ErrConflict.
func (d *Directory) DeleteRole(ctx context.Context, account, name string) error { return errPending }

// PutInlinePolicy gives an entity an inline policy, or another text for one.
// Errors: ErrNotFound, ErrMalformed, ErrLimit, ErrInvalid (the name).
func (d *Directory) PutInlinePolicy(ctx context.Context, e Entity, name, document string) error {
	return errPending
}

// InlinePolicy returns the text of an inline policy, or ErrNotFound.
func (d *Directory) InlinePolicy(ctx context.Context, e Entity, name string) (string, error) {
	return "", errPending
}

// InlinePolicies returns the names of an entity's inline policies, in order.
func (d *Directory) InlinePolicies(ctx context.Context, e Entity) ([]string, error) {
	return nil, errPending
}

// DeleteInlinePolicy deletes an inline policy. Errors: ErrNotFound.
func (d *Directory) DeleteInlinePolicy(ctx context.Context, e Entity, name string) error {
	return errPending
}

// AttachPolicy attaches a managed policy to an entity of its account, if it is
// not yet. Errors: ErrNotFound, ErrLimit, ErrInvalid (no ARN of a policy).
func (d *Directory) AttachPolicy(ctx context.Context, e Entity, arn string) error { return errPending }

// DetachPolicy detaches a managed policy; ErrNotFound if it is not attached.
func (d *Directory) DetachPolicy(ctx context.Context, e Entity, arn string) error { return errPending }

// AttachedPolicies returns the managed policies of an entity, in order of their
// attachment.
func (d *Directory) AttachedPolicies(ctx context.Context, e Entity) ([]AttachedPolicy, error) {
	return nil, errPending
}

// SetBoundary makes a managed policy the permissions boundary of a user or role.
func (d *Directory) SetBoundary(ctx context.Context, e Entity, arn string) error { return errPending }

// DeleteBoundary takes the permissions boundary away; no error if there is none.
func (d *Directory) DeleteBoundary(ctx context.Context, e Entity) error { return errPending }

// TagEntity gives a user or role tags; keys that differ only in case are one.
func (d *Directory) TagEntity(ctx context.Context, e Entity, tags []Tag) error { return errPending }

// UntagEntity takes tags from a user or role; unknown keys are no error.
func (d *Directory) UntagEntity(ctx context.Context, e Entity, keys []string) error {
	return errPending
}

// CreatePolicy makes a customer managed policy with its version v1. Of p it
// takes account, name, path, description and tags.
func (d *Directory) CreatePolicy(ctx context.Context, p ManagedPolicy, document string) (ManagedPolicy, error) {
	return ManagedPolicy{}, errPending
}

// Policy returns a managed policy, of the account or of AWS, as the account
// sees it (attachments are its own). Errors: ErrNotFound, ErrInvalid (no ARN).
func (d *Directory) Policy(ctx context.Context, account, arn string) (ManagedPolicy, error) {
	return ManagedPolicy{}, errPending
}

// PolicyScope is which managed policies are wanted.
type PolicyScope struct {
	AWS, Local   bool // of AWS, of the account
	OnlyAttached bool
}

// ManagedPolicies returns a page of the managed policies that an account can
// attach, and the next marker.
func (d *Directory) ManagedPolicies(ctx context.Context, account string, s PolicyScope, p Page) ([]ManagedPolicy, string, error) {
	return nil, "", errPending
}

// DeletePolicy deletes a managed policy that is not attached and has no other
// version than the default one. Errors: ErrNotFound, ErrConflict, ErrUnmodifiable.
func (d *Directory) DeletePolicy(ctx context.Context, account, arn string) error { return errPending }

// CreatePolicyVersion adds a version. Errors: ErrNotFound, ErrLimit (five),
// ErrMalformed, ErrUnmodifiable.
func (d *Directory) CreatePolicyVersion(ctx context.Context, account, arn, document string, asDefault bool) (PolicyVersion, error) {
	return PolicyVersion{}, errPending
}

// PolicyVersion returns a version, or ErrNotFound.
func (d *Directory) PolicyVersion(ctx context.Context, account, arn, id string) (PolicyVersion, error) {
	return PolicyVersion{}, errPending
}

// PolicyVersions returns the versions, the newest first.
func (d *Directory) PolicyVersions(ctx context.Context, account, arn string) ([]PolicyVersion, error) {
	return nil, errPending
}

// SetDefaultPolicyVersion makes another version the default.
func (d *Directory) SetDefaultPolicyVersion(ctx context.Context, account, arn, id string) error {
	return errPending
}

// DeletePolicyVersion deletes a version that is not the default (ErrConflict).
func (d *Directory) DeletePolicyVersion(ctx context.Context, account, arn, id string) error {
	return errPending
}

// PolicyEntities returns who of an account a managed policy is attached to.
func (d *Directory) PolicyEntities(ctx context.Context, account, arn string) (PolicyEntities, error) {
	return PolicyEntities{}, errPending
}

// TagPolicy gives a managed policy tags.
func (d *Directory) TagPolicy(ctx context.Context, account, arn string, tags []Tag) error {
	return errPending
}

// UntagPolicy takes tags from a managed policy.
func (d *Directory) UntagPolicy(ctx context.Context, account, arn string, keys []string) error {
	return errPending
}

// Summary counts what an account has.
func (d *Directory) Summary(ctx context.Context, account string) (Summary, error) {
	return Summary{}, errPending
}

// Resolve finds whom a principal of a policy means. For the ARN of a user or
// role it returns its unique id. What is valid and has no unique id (accounts,
// their roots, sessions, federated users) is ok with an empty id. A unique id
// (AIDA…, AROA…) is ok if its bearer exists. Everything else is not ok.
func (d *Directory) Resolve(ctx context.Context, principal string) (id string, ok bool, err error) {
	return "", false, errPending
}

// ARNOf returns the ARN that the user or role with a unique id has now;
// ErrNotFound if it is gone.
func (d *Directory) ARNOf(ctx context.Context, id string) (string, error) { return "", errPending }

// NewSession makes temporary credentials. Errors: ErrInvalid, ErrMalformed,
// ErrPacked, ErrNotFound (a managed session policy, or the issuer is gone).
// What the caller may do is decided before.
func (d *Directory) NewSession(ctx context.Context, p SessionParams) (Session, error) {
	return Session{}, errPending
}

// RevokeSessions refuses the sessions of a user or role that were made before t.
func (d *Directory) RevokeSessions(ctx context.Context, e Entity, t time.Time) error {
	return errPending
}

// RevokeAccountSessions refuses the sessions of an account made before t.
func (d *Directory) RevokeAccountSessions(ctx context.Context, account string, t time.Time) error {
	return errPending
}

// Organization returns the place of an account in its organization, nil if it
// is in none. It is shared and not changed. The warm answer costs no read of
// the store. Errors: ErrNotFound for an unknown account.
func (d *Directory) Organization(ctx context.Context, account string) (*call.Organization, error) {
	return nil, errPending
}

// CreateOrganization makes an organization whose management account is
// o.Master, in its root. Ids are random if they are not given. FullAWSAccess and
// RCPFullAWSAccess are attached where their types are enabled.
func (d *Directory) CreateOrganization(ctx context.Context, o Organization) (Organization, error) {
	return Organization{}, errPending
}

// OrganizationByID returns an organization, or ErrNotFound.
func (d *Directory) OrganizationByID(ctx context.Context, id string) (Organization, error) {
	return Organization{}, errPending
}

// EnablePolicyType enables a type of policy; FullAWSAccess is attached everywhere.
func (d *Directory) EnablePolicyType(ctx context.Context, organization string, t OrganizationPolicyType) error {
	return errPending
}

// CreateUnit makes an organizational unit.
func (d *Directory) CreateUnit(ctx context.Context, u Unit) (Unit, error) { return Unit{}, errPending }

// Unit returns an organizational unit, or ErrNotFound.
func (d *Directory) Unit(ctx context.Context, organization, id string) (Unit, error) {
	return Unit{}, errPending
}

// CreateOrganizationPolicy makes an SCP or RCP; its id is random if not given.
func (d *Directory) CreateOrganizationPolicy(ctx context.Context, p OrganizationPolicy) (OrganizationPolicy, error) {
	return OrganizationPolicy{}, errPending
}

// OrganizationPolicy returns an SCP or RCP, or ErrNotFound.
func (d *Directory) OrganizationPolicy(ctx context.Context, organization, id string) (OrganizationPolicy, error) {
	return OrganizationPolicy{}, errPending
}

// UpdateOrganizationPolicy gives a policy another text.
func (d *Directory) UpdateOrganizationPolicy(ctx context.Context, organization, id, content string) error {
	return errPending
}

// AttachOrganizationPolicy attaches a policy to a root, unit or account of the
// organization; ErrExists if it is.
func (d *Directory) AttachOrganizationPolicy(ctx context.Context, organization, id, target string) error {
	return errPending
}

// DetachOrganizationPolicy detaches a policy. Errors: ErrNotFound if it is not
// attached, ErrConflict for the last SCP of a target and for RCPFullAWSAccess.
func (d *Directory) DetachOrganizationPolicy(ctx context.Context, organization, id, target string) error {
	return errPending
}

// PlaceAccount puts an account under a root or unit of an organization, whether
// it was in it before or in none. Errors: ErrNotFound, ErrExists (in another).
func (d *Directory) PlaceAccount(ctx context.Context, account, organization, parent string) error {
	return errPending
}
