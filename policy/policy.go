package policy

import (
	"strconv"
	"strings"
)

// Type is what a document is for, which decides its grammar.
type Type uint8

// The types of policy document.
const (
	// Identity is a policy of a user, group or role, or a permissions
	// boundary: without Principal.
	Identity Type = iota + 1
	// Resource is a policy of a resource in general: with Principal, and with
	// any ARN as Resource.
	Resource
	// KeyPolicy is the policy of a KMS key: with Principal, with Resource "*"
	// alone, and with the further rules of KMS.
	KeyPolicy
	// Trust is the policy of a role that says who may assume it: with
	// Principal, without Resource.
	Trust
	// ServiceControl is an organization's policy for the principals of its
	// accounts (SCP): without Principal.
	ServiceControl
	// ResourceControl is an organization's policy for the resources of its
	// accounts (RCP): Deny alone, with Principal "*" alone.
	ResourceControl
	// Endpoint is the policy of a VPC endpoint: with Principal.
	Endpoint
	// Session is a policy that is passed for a session: as Identity, but for
	// what STS answers if it is no JSON.
	Session
)

// String returns the name of the type in words, such as "key policy".
func (t Type) String() string {
	switch t {
	case Identity:
		return "identity-based policy"
	case Resource:
		return "resource-based policy"
	case KeyPolicy:
		return "key policy"
	case Trust:
		return "trust policy"
	case ServiceControl:
		return "service control policy"
	case ResourceControl:
		return "resource control policy"
	case Endpoint:
		return "VPC endpoint policy"
	case Session:
		return "session policy"
	}
	return "policy type " + strconv.Itoa(int(t))
}

// Limits of a document, whatever its type. The limits of each type (2,048
// characters for a session policy, 32,768 bytes for a key policy, …) are the
// caller's to hold, before or after Parse; see [Size].
const (
	MaxBytes   = 131072 // of the text, in UTF-8
	MaxNesting = 10     // of objects and arrays in each other
)

// Error is why a document is not a policy.
type Error struct {
	Message      string // in AWS's words where they are known, ready for a client
	Detail       string // what exactly is wrong, in ours, for people; may be empty
	Line, Column int    // where, from 1; 0 if it is of the document as a whole. Columns count bytes
}

// Error returns the message with its detail and place, for people. What a
// client of AWS's API is told is the Message alone.
func (e *Error) Error() string {
	s := strings.TrimSuffix(e.Message, ".")
	if e.Detail != "" {
		s += ": " + e.Detail
	}
	if e.Line > 0 {
		s += " (line " + strconv.Itoa(e.Line) + ", column " + strconv.Itoa(e.Column) + ")"
	}
	return s
}

// Options are the options of [Parse].
type Options struct {
	Type Type
	// Stored accepts what was valid once and is not any more for new
	// documents: a statement without Resource or Action, which then never
	// matches, and in a key policy a Resource other than "*", which matches
	// no key.
	Stored bool
}

// Named is a principal that a document names.
type Named struct {
	Kind   string // "AWS", "Service", "Federated" or "CanonicalUser"; empty for a bare "*"
	Name   string // as written
	Offset int    // of the JSON string in the document, in bytes, at its opening quote
	Not    bool   // named in a NotPrincipal
}

// Statement describes one statement of a policy, for explanations.
type Statement struct {
	SID          string // empty for none
	Deny         bool   // the effect; else it is Allow
	Line, Column int    // where it begins, from 1
	Conditions   []Condition
}

// Condition is one key under one operator: what [Outcome.Condition] counts.
type Condition struct {
	Operator string   // as written, such as "ForAnyValue:StringLikeIfExists"
	Key      string   // as written, such as "aws:PrincipalTag/team"
	Values   []string // as written
}

// String prints a condition on one line, such as
//
//	StringEquals kms:ViaService "s3.eu-central-1.amazonaws.com"
func (c Condition) String() string {
	b := append([]byte(c.Operator), ' ')
	b = append(b, c.Key...)
	for i, v := range c.Values {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, ' ')
		b = strconv.AppendQuote(b, v)
	}
	return string(b)
}
