package authz

import "github.com/keyreeve/keyreeve/policy"

// A Decision is a decided call with its reasons. Nothing in it was cut short:
// every policy that applies was evaluated, whatever the others said.
type Decision struct {
	Allowed  bool
	Action   string // such as "kms:Decrypt"
	Resource string // ARN or "*"
	// Text is AWS's AccessDenied message; of an allowed call, one line that
	// says by what it is allowed.
	Text string
	// Layer is the one that does not allow, or denies, what is not allowed. A
	// resource of another account that is kept from the caller is kept by
	// ResourceBased.
	Layer  LayerType
	Layers []Layer         // those that apply, in the order of LayerType
	Grants []GrantDecision // those that were looked at; none if a policy allowed
	// Marks are of the policies of each layer: equal, in one process, while
	// nothing of them has changed.
	Marks [layers]uint64
}

// LayerType is a kind of policies that has its own say in a decision.
type LayerType uint8

// The layers, in the order in which an explicit deny is told.
const (
	ServiceControl  LayerType = iota // SCPs of the caller's account
	ResourceControl                  // RCPs of the resource's account
	Endpoint                         // policy of the VPC endpoint
	ResourceBased                    // key policy, role trust policy
	Boundary                         // permissions boundary
	Session                          // session policies
	Identity                         // identity-based policies
	layers                           // how many there are
)

// A Layer is what the policies of one layer say. Each level of an organization
// is a Layer of its own, from the root down.
type Layer struct {
	Type            LayerType
	Level           int // of the organization: 0 is its root; 0 for other layers
	Allowed, Denied bool
	// AllowedBy is how allowing statements of a resource-based policy name
	// the caller.
	AllowedBy policy.Match
	// Broken says what could not be read or was altered: it denies. Empty if
	// all is well.
	Broken   string
	Policies []Evaluated
}

// Evaluated is a policy and what it says.
type Evaluated struct {
	Name   string         // empty for a resource's own policy
	ARN    string         // of a managed or organization's policy
	Of     string         // ARN of the user, group or role whose inline policy it is
	Policy *policy.Policy // nil if it could not be read
	Result policy.Result
	// Seen is, for each statement that a condition keeps from matching, the
	// value that the request has of the condition's key: empty for none.
	Seen []string
	// Values are the same, each value of a list by itself; nil for none.
	Values [][]string
}

// GrantDecision is whether a grant allows the call.
type GrantDecision struct {
	Grant  *Grant
	Usable bool
	Why    string // it is not usable: in a few words
}
