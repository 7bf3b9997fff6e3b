// Package call is one API call in flight: who, what, from where, and how it
// ended.
//
// A [Call] is born at the door and filled on the way. Authorization reads it,
// audit writes it. The caller is in it, never in a context.Context.
package call

import (
	"context"
	"crypto/x509"
	"net/netip"
	"time"

	"github.com/keyreeve/keyreeve/internal/store"
	"github.com/keyreeve/keyreeve/policy"
)

// An Operation is one routed operation of a service.
type Operation struct {
	Name        string // as in the API, such as "Decrypt"
	Service     string // signing name, such as "kms"
	EventSource string // as in CloudTrail, such as "kms.amazonaws.com"
	ReadOnly    bool   // CloudTrail's readOnly: nothing is changed

	// Status is the HTTP status of success; 0 means 200.
	Status int

	// Invoke decodes and validates body, runs the operation and appends the
	// encoded answer to out. It stores the decoded input in Call.Parameters as
	// soon as it has one, and wipes what is secret in input and output before
	// it returns. The returned slice is out or its successor; on an error it
	// holds nothing of the answer. Errors are *wire.Error or are internal.
	Invoke func(ctx context.Context, c *Call, body, out []byte) ([]byte, error)
}

// Call is one API call. It is used by one goroutine at a time.
type Call struct {
	ID        string    // UUID; the answer's x-amzn-RequestId
	Time      time.Time // UTC; the one instant that everything in the call uses
	Region    string    // from the credential scope, such as "eu-central-1"
	Service   string    // from the credential scope, such as "kms"
	Source    netip.AddrPort
	UserAgent string
	Host      string // the Host header, as the client sent it
	Query     string // of the request's URL, as the client sent it; only where certificates sign
	TLS       TLS

	// Certificate is whose private key signed the request: one that leads to an
	// authority that is trusted. nil if an access key's secret signed it.
	Certificate *x509.Certificate

	// Target is the operation's name as the client sent it, unchecked: for the
	// record of a call that is not routed.
	Target string
	// TargetReadOnly is whether the API has an operation of that name which
	// changes nothing: for the record, too.
	TargetReadOnly bool

	Operation *Operation // nil until routed
	Caller    *Principal // nil until authenticated

	Parameters Auditable // the decoded input; nil if it could not be decoded
	Elements   Auditable // what the record shows of the answer; nil for nothing

	// Resources are the resources that the call touched, in the order of the
	// record. Appending up to two does not allocate.
	Resources []Resource
	resources [2]Resource

	// Additional becomes the record's additionalEventData, in this order.
	// AddAdditional appends up to two without allocating.
	Additional []Pair
	additional [2]Pair

	// Recipient becomes additionalEventData.recipient: what an attestation
	// document says of the enclave or instance that the answer is encrypted for.
	Recipient []Pair

	// MFA is when the caller presented a code of an MFA device in this very
	// call; the zero time if not. Session.MFATime is of the session.
	MFA time.Time

	// DecisionText says in one line why authorization ended as it did.
	DecisionText string
	// Denial is what authorization was asked last, if it denied that.
	Denial *Denial

	// Counted says against which request quotas the call was counted, for the
	// service whose call it is: a call that is run anew is not counted anew.
	Counted uint8

	Failure Failure // zero if the call succeeded

	// EventID is what the ids of the call's records are made from: a UUID that
	// audit makes when it first needs it.
	EventID [16]byte

	// Intent is what audit has to say of a change before its outcome is known;
	// nil for a call that changes nothing. It is for audit, which made it.
	Intent Intent

	// Onward are calls that the service has made for the caller in other Regions,
	// as a part of this one: each has a record of its own. See In.
	Onward []*Call

	Endpoint   *Endpoint   // nil if the call did not come through one
	Delegation *Delegation // nil if no service makes the call
}

// In returns the call as one of an operation in another Region, by the same
// caller at the same time, which is to be decided on there.
func (c *Call) In(region string, o *Operation) *Call {
	return &Call{
		ID: c.ID, Time: c.Time, Region: region, Service: c.Service, Source: c.Source, UserAgent: c.UserAgent, Host: c.Host, TLS: c.TLS,
		Certificate: c.Certificate, Operation: o, Caller: c.Caller, MFA: c.MFA, Endpoint: c.Endpoint, Delegation: c.Delegation,
	}
}

// Restart forgets what an attempt to run the operation has noted: the operation
// is run anew, since something changed under it.
func (c *Call) Restart() {
	c.Resources, c.Additional, c.Recipient, c.Elements, c.DecisionText, c.Denial = nil, nil, nil, nil, "", nil
	c.Onward = nil
}

// An Intent is what is to be known of a change even if nothing comes after it.
// Package record stores it together with the change.
type Intent interface {
	// Note returns what is to be stored, and in which slot.
	Note() (slot string, note []byte)
	// Stood is told when that, and the change, is stored.
	Stood(rev store.Rev)
	// Leave ends the intent if nothing has ended it: the call has no record.
	Leave()
}

// TLS describes the connection; the zero value is a plain one. The numbers are
// those of crypto/tls.
type TLS struct {
	Version     uint16
	CipherSuite uint16
	Group       uint16 // key exchange group (tls.CurveID)
}

// Resource is an AWS resource that a call touched.
type Resource struct {
	ARN     string
	Account string
	Type    string // CloudTrail's, such as "AWS::KMS::Key"
}

// Pair is a name and a value.
type Pair struct{ Name, Value string }

// Failure is the error that the caller was answered.
type Failure struct {
	Code    string // such as "NotFoundException"
	Message string
}

// Auditable is a value that knows what of it may stand in an audit record.
type Auditable interface {
	// AppendAudit appends a JSON value (an object or null) with CloudTrail's
	// member names, without anything secret.
	AppendAudit(b []byte) []byte
}

// AddResource records that the call touched a resource.
func (c *Call) AddResource(r Resource) {
	if c.Resources == nil {
		c.Resources = c.resources[:0]
	}
	for _, have := range c.Resources {
		if have.ARN == r.ARN {
			return
		}
	}
	c.Resources = append(c.Resources, r)
}

// AddAdditional appends to the record's additionalEventData.
func (c *Call) AddAdditional(name, value string) {
	if c.Additional == nil {
		c.Additional = c.additional[:0]
	}
	c.Additional = append(c.Additional, Pair{name, value})
}

// AddKey records that the call touched the KMS key (or alias) with this ARN.
func (c *Call) AddKey(arn, account string) {
	c.AddResource(Resource{ARN: arn, Account: account, Type: "AWS::KMS::Key"})
}

// PrincipalKind says what a principal is.
type PrincipalKind uint8

// The kinds of principal; the zero kind is nobody.
const (
	Nobody PrincipalKind = iota
	Root
	User
	RoleSession
	FederatedUser
	Service
	// WebIdentity is somebody for whom an identity provider vouches, and who
	// asks for the session of a role. He is of no account.
	WebIdentity
)

// Principal is who makes a call. It is shared between calls and never changed.
type Principal struct {
	Kind        PrincipalKind
	Account     string // 12 digits; empty for a service
	ARN         string // as sts:GetCallerIdentity prints it: of the session, if it is one
	ID          string // aws:userid: AIDA…, AROA…:session, account:name, or the account id for root
	Name        string // aws:username: of a user; empty for all others
	AccessKeyID string

	// EntityARN is aws:PrincipalArn: of the role, with its path, for a role
	// session; as ARN for all others.
	EntityARN string
	// EntityID is the unique id of the user or role behind: AIDA…, AROA…; for
	// a federated user, that of the user who made the session. Empty for root.
	EntityID string
	// Issuer is the ARN of the user who made a federated-user session.
	Issuer string
	// Services are the names of a service principal.
	Services []string

	Tags         []Pair        // aws:PrincipalTag: session tags have replaced the entity's
	Session      *Session      // nil for long-term credentials
	Policies     Policies      //
	Organization *Organization // of Account; nil if it is in none
	// Closed are the Regions that Account has not enabled.
	Closed []string

	// Names is what Principal elements are matched against, made once.
	Names policy.Principal
}

// Session is what temporary credentials have of their own.
type Session struct {
	Issued         time.Time // aws:TokenIssueTime
	Expires        time.Time
	Name           string // of a role session or federated user
	SourceIdentity string
	MFA            bool      // aws:MultiFactorAuthPresent
	MFATime        time.Time // when it was presented
	Chained        bool      // by a role that was assumed by a role
	Tags           []Pair    // that were passed in the session
	Transitive     []string  // keys of those that live on in chained sessions
	Provider       string    // aws:FederatedProvider
	// Claims are condition keys that an identity provider answers for: full
	// names in lower case, such as "token.actions.githubusercontent.com:sub".
	// One that stands several times has several values.
	Claims []Pair
}

// Attached is a policy where it is attached.
type Attached struct {
	ARN    string         // of a managed or organization's policy; empty for an inline one
	Name   string         // its name
	Of     string         // ARN of the user, group or role that an inline policy is of
	Policy *policy.Policy // nil if it could not be read: then nothing is allowed
}

// Policies are the policies that go with a principal. The zero value allows
// nothing.
type Policies struct {
	Identity []Attached // inline, managed, and of groups
	Boundary *Attached  // nil: none
	Session  []Attached // of the session, any of which may allow
	// Limited says that the session has policies of its own, which limit it.
	// A federated-user session always has, if only none.
	Limited bool
	// Broken says what policy that restricts the principal is missing or was
	// altered. If it is not empty, everything is denied.
	Broken string
}

// Organization is the place of an account in its organization.
type Organization struct {
	ID         string // o-…
	Path       string // "o-…/r-…/ou-…/"
	Master     string // id of the management account
	Management bool   // this account is it: neither SCPs nor RCPs apply
	// The policies at each level, from the root down to the account. At each
	// level one must allow, and none may deny. Nil if policies of that type
	// are not enabled.
	ServiceControl, ResourceControl [][]Attached
	Broken                          string // as in Policies
}

// Endpoint is the VPC endpoint through which a call came.
type Endpoint struct {
	ID           string // vpce-…
	VPC          string // vpc-…
	VPCARN       string
	Account      string        // of the endpoint
	Organization *Organization // of that account
	Source       netip.Addr    // aws:VpcSourceIp
	Policy       Attached
}

// Delegation is on whose behalf a service makes a call.
type Delegation struct {
	// Via is the services through which a user's call came (forward access
	// session), the first one first: "geo.amazonaws.com". The caller is the
	// user. Empty if a service calls by itself.
	Via []string
	// The resource for which a service principal calls.
	SourceARN, SourceAccount string
	SourceOrganization       *Organization
}

// AdministratorAccess is the ARN of the AWS managed policy that allows
// everything.
const AdministratorAccess = "arn:aws:iam::aws:policy/AdministratorAccess"
