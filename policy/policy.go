// Package policy parses and evaluates IAM policy documents, and says why.
package policy

import (
	"errors"
	"net/netip"
	"time"
)

// Type is what a document is for, which decides its grammar.
type Type uint8

// The types of policy document.
const (
	Identity        Type = iota + 1 // of a user, group or role; a permissions boundary; a session policy
	Resource                        // of a resource, such as a key policy
	Trust                           // of a role: who may assume it
	ServiceControl                  // of an organization: SCP
	ResourceControl                 // of an organization: RCP
	Endpoint                        // of a VPC endpoint
)

// Policy is a parsed and compiled document. It is never changed, and may be
// used by many at once.
type Policy struct{}

// Error is why a document is not a policy.
type Error struct {
	Message      string // in AWS's words where they are known
	Line, Column int    // where, from 1; 0 if it is of the document as a whole
}

func (e *Error) Error() string { return e.Message }

// Options are the options of Parse.
type Options struct {
	Type Type
	// Stored accepts what was valid once and is not any more for new
	// documents: a statement without Resource or Action, which then never
	// matches.
	Stored bool
}

// Parse parses and compiles a document. Errors are *Error.
func Parse(text string, o Options) (*Policy, error) { return nil, errors.New("not written yet") }

// Named is a principal that a document names.
type Named struct {
	Kind   string // "AWS", "Service", "Federated" or "CanonicalUser"; empty for a bare "*"
	Name   string // as written
	Offset int    // of the JSON string in the document, in bytes
	Not    bool   // named in a NotPrincipal
}

// Principals returns the principals that the document names, in its order.
func (p *Policy) Principals() []Named { return nil }

// Bind returns the policy in which each of these names (ARNs of users and roles)
// stands for whoever has the unique id, whatever its ARN is by now.
func (p *Policy) Bind(ids map[string]string) *Policy { return p }

// Text returns the document.
func (p *Policy) Text() string { return "" }

// A Principal is who a Principal element is matched against.
type Principal struct {
	Account  string   // 12 digits; empty for a service
	Root     bool     // the account's root user
	ARN      string   // of the user, role session, federated-user session or root user
	Role     string   // ARN of a role session's role, with its path
	Issuer   string   // ARN of the user who made a federated-user session
	ID       string   // unique id (AIDA…, AROA…) of the user, role or issuer
	Services []string // names of a service principal; nil for others
}

// Match is a set of ways in which a Principal element can mean a principal.
type Match uint16

// The ways.
const (
	ByAnyone        Match = 1 << iota // "*"
	ByAccount                         // the account, by id or root ARN
	ByUser                            // the user
	ByRole                            // the role of the session
	BySession                         // the role session itself
	ByFederatedUser                   // the federated-user session itself
	ByIssuer                          // the user who made the federated-user session
	ByService                         // the service principal
)

// Request is what a policy is asked.
type Request struct {
	Principal *Principal // nil where policies have no Principal element
	Action    string     // such as "kms:Decrypt"
	Resource  string     // ARN, or "*" for an action on none
	Context   Context    // nil for none
}

// A Context has the condition keys of a request.
type Context interface {
	// Value returns the value of a condition key; the zero Value if the
	// request does not have it. It must not keep k.
	Value(k *Key) Value
}

// Key is a condition key as a policy names it.
type Key struct {
	// Name is in lower case, and ends with its separator if the key has a
	// variable part: "aws:sourceip", "aws:principaltag/",
	// "kms:encryptioncontext:".
	Name string
	// Sub is the variable part, as written: "team" of "aws:PrincipalTag/team",
	// "aws:geo:arn" of "kms:EncryptionContext:aws:geo:arn".
	Sub string
}

// Value is the value of a condition key in a request. The zero Value is that of
// a key that is not there.
type Value struct {
	kind   uint8
	text   string
	list   []string
	number float64
	time   time.Time
	addr   netip.Addr
}

// String returns the value of a key with one string (or ARN, or base64 of bytes).
func String(s string) Value { return Value{kind: 1, text: s} }

// Strings returns the value of a multivalued key.
func Strings(list []string) Value { return Value{kind: 2, list: list} }

// Number returns the value of a numeric key.
func Number(n float64) Value { return Value{kind: 3, number: n} }

// Time returns the value of a date key.
func Time(t time.Time) Value { return Value{kind: 4, time: t} }

// Addr returns the value of an IP address key.
func Addr(a netip.Addr) Value { return Value{kind: 5, addr: a} }

// Bool returns the value of a boolean key.
func Bool(b bool) Value {
	if b {
		return String("true")
	}
	return String("false")
}

// Outcome is what became of one statement.
type Outcome struct {
	Matched   bool
	Mismatch  Mismatch // the first element that did not match
	Condition int      // index of the condition that did not hold, if it is that
}

// Mismatch is the element that kept a statement from matching.
type Mismatch uint8

// The elements, in the order in which they are looked at.
const (
	None Mismatch = iota
	Inert
	OfPrincipal
	OfAction
	OfResource
	OfCondition
)

// Result is the verdict of a policy on a request.
type Result struct {
	Allow      bool      // a statement allows it
	Deny       bool      // a statement denies it, which wins
	AllowedBy  Match     // the ways in which the allowing statements name the principal
	Statements []Outcome // one a statement, in the document's order
}

// Evaluate evaluates the whole policy; what became of each statement is appended
// to buf, which may be nil.
func (p *Policy) Evaluate(r *Request, buf []Outcome) Result { return Result{} }
