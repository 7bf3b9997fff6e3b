package identity

import (
	"errors"
	"fmt"
	"time"

	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/secret"
)

// Errors, wrapped with what they are about. An [*Error] has a text for clients.
var (
	// ErrNotFound: there is no such thing (IAM's NoSuchEntity).
	ErrNotFound = errors.New("identity: not found")
	// ErrExists: the name is taken (EntityAlreadyExists).
	ErrExists = errors.New("identity: exists already")
	// ErrLimit: there would be too many, or it would be too large (LimitExceeded).
	ErrLimit = errors.New("identity: limit reached")
	// ErrInvalid: a value is not what it must be (InvalidInput, ValidationError;
	// of STS InvalidParameterValue).
	ErrInvalid = errors.New("identity: not valid")
	// ErrConflict: something still refers to what would be deleted (DeleteConflict).
	ErrConflict = errors.New("identity: still in use")
	// ErrMalformed: a document is not a policy of its type (MalformedPolicyDocument).
	ErrMalformed = errors.New("identity: malformed policy document")
	// ErrUnmodifiable: it is one of AWS's managed policies (AccessDenied in IAM).
	ErrUnmodifiable = errors.New("identity: cannot be changed")
	// ErrConcurrent: others kept changing the same thing (ConcurrentModification).
	ErrConcurrent = errors.New("identity: changed by others meanwhile")
	// ErrDepth is an ErrLimit: units would be too deep in each other.
	ErrDepth = fmt.Errorf("%w: depth", ErrLimit)
	// ErrPacked: what goes into a session token is too large (PackedPolicyTooLarge).
	ErrPacked = errors.New("identity: packed policy too large")
)

// Error is one of the errors above with the text that a client is answered, in
// AWS's words where they are known.
type Error struct {
	Kind    error // such as ErrNotFound
	Message string
}

func (e *Error) Error() string { return e.Message }

// Unwrap returns the kind.
func (e *Error) Unwrap() error { return e.Kind }

// EntityKind is what policies can be attached to.
type EntityKind uint8

// The kinds of entity.
const (
	UserEntity EntityKind = iota + 1
	GroupEntity
	RoleEntity
)

// Entity names a user, group or role. Names that differ only in case are one.
type Entity struct {
	Kind    EntityKind
	Account string // 12 digits
	Name    string
}

// Tag is a tag of a user, role or policy.
type Tag = call.Pair

// Account is an account.
type Account struct {
	ID         string // 12 digits
	Name       string // for people; up to 50 printable characters
	Management bool   // of the operator
	Created    time.Time

	// AccessKeys are the ids of the root user's access keys.
	AccessKeys []string
	// NotBefore is when the oldest sessions of the account that still work
	// were made; the zero time if there is no bound.
	NotBefore time.Time
	// Organization is the id of its organization (o-…), and Parent that of the
	// root or unit that it is in (r-…, ou-…); empty if it is in none.
	Organization, Parent string
	// Joined is when it came into its organization, which has made it if Made.
	Joined time.Time
	Made   bool

	Email string // no other account has it; empty if it is not known
	// Closed is when it was closed: nobody in it can do anything from then on.
	// The zero time if it is not.
	Closed time.Time
	Tags   []Tag
	// Regions are those that it has enabled of the ones that need it, in order.
	Regions []string
}

// User is a user of an account.
type User struct {
	Account  string
	Name     string // 1 to 64 letters, digits and _+=,.@-
	Path     string // "/" or "/…/", up to 512 characters
	ID       string // unique id, AIDA…
	ARN      string
	Created  time.Time
	Tags     []Tag
	Boundary string // ARN of the permissions boundary; empty for none

	Policies   []string // ARNs of the managed policies attached to it
	AccessKeys []string // their ids
	Groups     []string // unique ids of its groups
	NotBefore  time.Time
}

// Group is a group of an account.
type Group struct {
	Account string
	Name    string // 1 to 128 letters, digits and _+=,.@-
	Path    string
	ID      string // AGPA…
	ARN     string
	Created time.Time
}

// Role is a role of an account.
type Role struct {
	Account     string
	Name        string // 1 to 64 letters, digits and _+=,.@-
	Path        string
	ID          string // AROA…
	ARN         string
	Created     time.Time
	Description string        // up to 1,000 characters
	MaxSession  time.Duration // 1 to 12 hours; 1 hour if 0
	Trust       string        // the trust policy; when read, with the principals as they are called now
	Tags        []Tag
	Boundary    string // ARN of the permissions boundary; empty for none

	Policies  []string // ARNs of the managed policies attached to it
	NotBefore time.Time
	// Closed are the Regions that its account has not enabled: as
	// [Directory.RoleByARN] returns it; nil otherwise.
	Closed []string
}

// ManagedPolicy is a managed policy.
type ManagedPolicy struct {
	Account     string // that owns it; empty for one of AWS's
	Name        string // 1 to 128 letters, digits and _+=,.@-
	Path        string
	ID          string // ANPA…
	ARN         string
	Description string // up to 1,000 characters
	Created     time.Time
	Updated     time.Time // when a version was last made
	Tags        []Tag

	Default     string // id of the default version, such as "v1"
	Attachments int    // entities (of the account that asks) that it is attached to
	Boundaries  int    // entities whose permissions boundary it is
}

// PolicyVersion is a version of a managed policy.
type PolicyVersion struct {
	ID       string // "v1", "v2", …; not used again
	Document string
	Default  bool
	Created  time.Time
}

// AttachedPolicy is a managed policy that is attached to an entity.
type AttachedPolicy struct{ ARN, Name string }

// EntityRef is an entity with its unique id.
type EntityRef struct {
	Entity
	ID, Path string
}

// PolicyEntities is who a managed policy is attached to, or is the boundary of.
type PolicyEntities struct {
	Attached   []EntityRef // ordered by kind, then by name
	Boundaries []EntityRef
}

// Page is what part of a list is wanted.
type Page struct {
	PathPrefix string // "/" or empty for all
	Marker     string // where the page before ended; empty for the first
	Limit      int    // at most; 100 if 0
}

// Summary counts what an account has, for GetAccountSummary.
type Summary struct {
	Users, Groups, Roles, Policies int
	PolicyVersions                 int // of all customer managed policies
	RootAccessKeys                 int
}

// AccessKey is an access key of a user, or of an account's root user.
type AccessKey struct {
	ID      string // AKIA…
	Account string
	User    string // its name as it was when the key was made or the user renamed; empty for the root user
	UserID  string // its unique id; the account id for the root user
	Secret  secret.Bytes
	Active  bool
	Created time.Time
}

// SessionKind is which operation makes a session.
type SessionKind uint8

// The kinds of session.
const (
	RoleSession       SessionKind = iota + 1 // AssumeRole
	UserSession                              // GetSessionToken
	FederationSession                        // GetFederationToken
)

// SessionParams say what session is to be made.
type SessionParams struct {
	Kind   SessionKind
	Caller *call.Principal // who asks, and was allowed to
	Role   *Role           // of a RoleSession, as Directory.RoleByARN returned it
	Name   string          // of the session or federated user; none for a UserSession

	Duration   time.Duration
	Policy     string   // session policy; empty for none
	PolicyARNs []string // managed session policies, up to 10
	Tags       []Tag    // up to 50
	Transitive []string // keys of Tags that live on in chained sessions
	// SourceIdentity is that which was asked for; a caller's own lives on.
	SourceIdentity string
	MFATime        time.Time // when MFA was presented; the zero time for not
	// Provider is the identity provider for whose word a RoleSession is made,
	// and Claims are the condition keys that it answers for (see call.Session):
	// up to 8, of 1,024 bytes each. Empty for none.
	Provider string
	Claims   []Tag
}

// Session is temporary credentials that were just made.
type Session struct {
	AccessKeyID     string // ASIA…
	SecretAccessKey secret.Bytes
	Token           string
	Expires         time.Time // in whole seconds
	ARN             string    // of the session, federated user or user
	ID              string    // as aws:userid: AROA…:name, account:name
	SourceIdentity  string    // that the session has
	// Packed is how much of the room for policies and tags is used, in
	// percent, rounded up; 0 if there are none.
	Packed int
}

// OrganizationPolicyType is the type of an organization's policy.
type OrganizationPolicyType string

// The types.
const (
	ServiceControlPolicy  OrganizationPolicyType = "SERVICE_CONTROL_POLICY"
	ResourceControlPolicy OrganizationPolicyType = "RESOURCE_CONTROL_POLICY"
)

// Ids of the policies that every organization has.
const (
	FullAWSAccess    = "p-FullAWSAccess"    // SCP, attached where nothing else is said
	RCPFullAWSAccess = "p-RCPFullAWSAccess" // RCP, attached everywhere and never detached
)

// Organization is an organization.
type Organization struct {
	ID      string // o- and 10 to 32 lower-case letters and digits
	Root    string // id of its root: r- and 4 to 32 lower-case letters and digits
	Master  string // id of the management account
	Types   []OrganizationPolicyType
	Created time.Time
	// Policies are the ids of those attached to the root.
	Policies []string
	Tags     []Tag // of the root
}

// Unit is an organizational unit.
type Unit struct {
	Organization string
	ID           string // ou-, the root's id without r-, and - with 8 to 32 lower-case letters and digits
	Name         string // up to 128 characters
	Parent       string // id of the root or of a unit
	Policies     []string
	Created      time.Time
	Tags         []Tag
}

// OrganizationPolicy is a service or resource control policy.
type OrganizationPolicy struct {
	Organization string
	ID           string // p- and 8 to 128 lower-case letters, digits and _
	Type         OrganizationPolicyType
	Name         string // 1 to 128 characters
	Description  string // up to 512 characters
	Content      string // up to 5,120 characters
	AWSManaged   bool
	ARN          string
	Tags         []Tag
}
