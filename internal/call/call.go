// Package call is one API call in flight: who, what, from where, and how it
// ended.
//
// A [Call] is born at the door and filled on the way. Authorization reads it,
// audit writes it. The caller is in it, never in a context.Context.
package call

import (
	"context"
	"net/netip"
	"time"
)

// An Operation is one routed operation of a service.
type Operation struct {
	Name        string // as in the API, such as "Decrypt"
	Service     string // signing name, such as "kms"
	EventSource string // as in CloudTrail, such as "kms.amazonaws.com"
	ReadOnly    bool   // CloudTrail's readOnly: nothing is changed

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
	TLS       TLS

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

	// DecisionText says in one line why authorization ended as it did.
	DecisionText string

	Failure Failure // zero if the call succeeded
}

// Restart forgets what an attempt to run the operation has noted: the operation
// is run anew, since something changed under it.
func (c *Call) Restart() {
	c.Resources, c.Additional, c.Elements, c.DecisionText = nil, nil, nil, ""
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
)

// AdministratorAccess is the ARN of the AWS managed policy that allows
// everything.
const AdministratorAccess = "arn:aws:iam::aws:policy/AdministratorAccess"

// Principal is who makes a call. It is shared between calls and never changed.
type Principal struct {
	Kind        PrincipalKind
	Account     string // 12 digits
	ARN         string // as sts:GetCallerIdentity prints it
	ID          string // unique id: AIDA…, or the account id for root
	Name        string // user name; empty for root
	AccessKeyID string
	Policies    []string // ARNs of the managed policies attached to it
}

// Administrator reports whether p may do everything in its own account as far
// as its identity goes: the account's root user, or AdministratorAccess.
func (p *Principal) Administrator() bool {
	if p == nil {
		return false
	}
	if p.Kind == Root {
		return true
	}
	for _, arn := range p.Policies {
		if arn == AdministratorAccess {
			return true
		}
	}
	return false
}
