package policy

// A Principal is who a Principal element is matched against. It is made once
// for each caller.
type Principal struct {
	Account  string   // 12 digits; empty for a service
	Root     bool     // the account's root user
	ARN      string   // of the user, role session, federated-user session or root user
	Role     string   // ARN of a role session's role, with its path
	Issuer   string   // ARN of the user who made a federated-user session
	ID       string   // unique id (AIDA…, AROA…) of the user, role or issuer
	Services []string // names of a service principal; nil for others
	// Federated is the identity provider that vouches for somebody who is
	// nothing else yet: its ARN. Empty for others.
	Federated string
}

// Match is a set of ways in which a Principal element can mean a principal.
type Match uint16

// The ways.
const (
	ByAnyone        Match = 1 << iota // "*", or by not being named in a NotPrincipal
	ByAccount                         // the account, by id or root ARN
	ByUser                            // the user
	ByRole                            // the role of the session
	BySession                         // the role session itself
	ByFederatedUser                   // the federated-user session itself
	ByIssuer                          // the user who made the federated-user session
	ByService                         // the service principal
	ByProvider                        // the identity provider that vouches for the caller
)

// Request is what a policy is asked. Evaluation does not change it.
type Request struct {
	// Principal is the caller. Policies without Principal elements ignore it;
	// in others, nil is an anonymous caller, whom "*" alone means.
	Principal *Principal
	Action    string  // such as "kms:Decrypt"; its case does not matter
	Resource  string  // ARN, or "*" for an action on none
	Context   Context // the condition keys; nil for none
}

// Outcome is what became of one statement.
type Outcome struct {
	Matched   bool     // every element matches, so its effect counts
	Mismatch  Mismatch // the first element that did not match; None if Matched
	Condition int      // index of the condition that did not hold, if it is that
}

// Mismatch is the element that kept a statement from matching.
type Mismatch uint8

// The elements, in the order in which they are looked at.
const (
	None        Mismatch = iota
	Inert                // the statement lacks an element and never matches
	OfPrincipal          // Principal or NotPrincipal
	OfAction             // Action or NotAction
	OfResource           // Resource or NotResource
	OfCondition          // Condition
)

// String names the element, such as "Action".
func (m Mismatch) String() string {
	switch m {
	case None:
		return "none"
	case Inert:
		return "inert"
	case OfPrincipal:
		return "Principal"
	case OfAction:
		return "Action"
	case OfResource:
		return "Resource"
	case OfCondition:
		return "Condition"
	}
	return "unknown"
}

// Result is the verdict of a policy on a request.
type Result struct {
	Allow      bool      // a statement allows it
	Deny       bool      // a statement denies it, which wins
	AllowedBy  Match     // the ways in which the allowing statements name the principal
	Statements []Outcome // one a statement, in the document's order, after what was in buf
	// Excessive says that the evaluation was cut short, and denies: it needs
	// more than 100,000 comparisons of values of multivalued keys with patterns,
	// or as much work to find what stands between wildcards in long values.
	Excessive bool
}
