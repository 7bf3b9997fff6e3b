package keyreeveapi

import (
	"encoding/json"

	"github.com/keyreeve/keyreeve/internal/wire"
)

// MaxCase is the largest case that is explained, in characters.
const MaxCase = 64 << 10

// ExplainInput says what is to be explained: a call that was denied, or one
// that could be made.
type ExplainInput struct {
	// RequestID is that of a call of the caller's account that was denied.
	RequestID string
	// Case is a call as docs/explain-cases.md describes it, as a text of JSON,
	// without policies: those are the node's.
	Case string
}

// Decisions that are explained.
const (
	Allowed   = "allow"
	Denied    = "deny"
	Undecided = "unknown" // it depends on what another account says
)

// ExplainOutput is a decision with its reasons.
type ExplainOutput struct {
	Denial *ExplainedDenial `json:",omitempty"` // that happened; nil for a case

	Principal string
	Action    string
	Resource  string `json:",omitempty"` // empty if it is not told
	Decision  string // now: Allowed, Denied or Undecided
	Layer     string `json:",omitempty"` // that denies
	Text      string // AWS's message; of what is allowed, one line that says by what

	Layers []ExplainedLayer
	Grants []ExplainedGrant
	// Changes are the smallest ones that would allow it, all of them together.
	// Complete says that they would.
	Changes  []ExplainedChange
	Complete bool
	Notes    []string // what else there is to say, a sentence each
}

// ExplainedDenial is a call as it was denied.
type ExplainedDenial struct {
	RequestID string `json:"RequestId"`
	Time      Time
	Text      string // the message that the caller was answered
	// Changed are the layers whose policies have changed since, of those that
	// are shown.
	Changed []string `json:",omitempty"`
}

// ExplainedLayer is what the policies of a layer say.
type ExplainedLayer struct {
	Layer string // "scp", "rcp", "endpoint", "resource", "boundary", "session" or "identity"
	Level int    `json:",omitempty"` // of the organization, from 1 for its root
	// Hidden says why the layer is not shown; all below is empty then.
	Hidden    string `json:",omitempty"`
	Allows    bool
	Denies    bool
	AllowedBy []string `json:",omitempty"` // how the caller is named
	Broken    string   `json:",omitempty"` // what denies since it is missing or was altered
	Policies  []ExplainedPolicy
}

// ExplainedPolicy is what a policy says.
type ExplainedPolicy struct {
	Name       string `json:",omitempty"`
	ARN        string `json:"Arn,omitempty"`
	Of         string `json:",omitempty"` // ARN of what an inline policy is of
	Allows     bool
	Denies     bool
	Statements []ExplainedStatement
}

// ExplainedStatement is what became of a statement.
type ExplainedStatement struct {
	Index     int    // from 1
	SID       string `json:"Sid,omitempty"`
	Effect    string
	Line      int // in the document as it was put, from 1
	Column    int
	Matches   bool
	Mismatch  string   `json:",omitempty"` // the element that does not match
	Condition string   `json:",omitempty"` // that does not hold
	Seen      []string `json:",omitempty"` // what the request has of its key; none if it does not have it
}

// ExplainedGrant is whether a grant allows the call.
type ExplainedGrant struct {
	ID     string `json:"Id"`
	Usable bool
	Why    string `json:",omitempty"`
}

// What a change does.
const (
	AddStatement     = "add"     // Statements to a policy of the layer
	ReplaceStatement = "replace" // the statement at Index by Statements, which may be none
)

// ExplainedChange is a change of one policy.
type ExplainedChange struct {
	Layer  string
	Level  int    `json:",omitempty"`
	Do     string // AddStatement or ReplaceStatement
	Target string // ARN of what the policy is of, or attached to; an account's id for an organization's
	Policy string `json:",omitempty"` // name or ARN; empty for the only one, or for a new one
	Index  int    `json:",omitempty"` // of the statement that is replaced, from 1
	SID    string `json:"Sid,omitempty"`
	Line   int    `json:",omitempty"`
	Column int    `json:",omitempty"`

	Statements []json.RawMessage
	// Wider says what the change allows beyond the call, where policies cannot
	// say it more narrowly; empty if nothing.
	Wider string `json:",omitempty"`
	// Or is how the call would be allowed as policies are.
	Or string `json:",omitempty"`
}

func (in *ExplainInput) decode(r *wire.Reader) bool {
	return members(r, func(name string) bool {
		switch name {
		case "RequestId":
			in.RequestID, _ = r.String()
		case "Case":
			in.Case, _ = r.String()
		default:
			return false
		}
		return true
	})
}

func (in *ExplainInput) validate(v *wire.Violations) {
	if in.RequestID == "" && in.Case == "" {
		v.Missing("requestId")
	}
	if in.RequestID != "" {
		v.Length("requestId", in.RequestID, 36, 36)
	}
	if in.Case != "" {
		v.Length("case", in.Case, 2, MaxCase)
	}
}

func (in *ExplainInput) wipe() {}

// AppendJSON appends the input as a client sends it.
func (in *ExplainInput) AppendJSON(b []byte) []byte {
	b = append(b, '{')
	if in.RequestID != "" {
		b = wire.AppendString(wire.AppendName(b, "RequestId"), in.RequestID)
	}
	if in.Case != "" {
		b = wire.AppendString(wire.AppendName(b, "Case"), in.Case)
	}
	return append(b, '}')
}

// AppendAudit implements [call.Auditable].
func (in *ExplainInput) AppendAudit(b []byte) []byte {
	b = append(b, '{')
	if in.RequestID != "" {
		b = wire.AppendString(wire.AppendName(b, "requestId"), in.RequestID)
	}
	if in.Case != "" {
		const most = 1024 // the record need not be larger than those of other calls
		text := in.Case
		if len(text) > most {
			text = text[:most] + "…"
		}
		b = wire.AppendString(wire.AppendName(b, "case"), text)
	}
	return append(b, '}')
}

// AppendAudit implements [call.Auditable].
func (out *ExplainOutput) AppendAudit(b []byte) []byte { return append(b, "null"...) }
