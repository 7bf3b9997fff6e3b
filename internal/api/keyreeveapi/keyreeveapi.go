// Package keyreeveapi is the wire contract of the service keyreeve, by which an
// operator looks at a node and changes its keys.
//
// It is awsJson1_1 like KMS, on the same listener, signed for the name
// "keyreeve". Inputs are read as strictly as those of KMS; a member that is not
// known is refused, since here nobody's SDK is newer than the server.
package keyreeveapi

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/internal/wire"
)

// Constants of the service.
const (
	TargetPrefix = "Keyreeve"          // of X-Amz-Target
	SigningName  = "keyreeve"          // in a credential scope
	EventSource  = "keyreeve.internal" // in the audit records
)

// Values of RekeyRootInput.Provider.
const (
	ProviderFile       = "file"
	ProviderPassphrase = "passphrase"
)

// MaxPassphrase is the largest passphrase, in characters.
const MaxPassphrase = 1024

// DescribeNodeInput has no members.
type DescribeNodeInput struct{}

// DescribeNodeOutput is what a node is and how it is.
type DescribeNodeOutput struct {
	Version       string
	StartTime     Time
	AccountID     string `json:"AccountId"` // the management account
	Region        string // that clients are told to use
	Regions       []string
	Seal          Seal
	StoreEngine   string // such as "bbolt" or "memory"
	StoreRevision int64
	MemoryLocked  bool // all memory for key material is locked
}

// Seal describes the seal.
type Seal struct {
	Provider        string
	Generation      uint64 // of the seal state: one more with each change
	RootKeyTime     Time   // when the root key was put in place
	ActiveDomainKey uint32
	DomainKeys      []DomainKey
}

// DomainKey describes a domain key.
type DomainKey struct {
	ID           uint32 `json:"Id"`
	CreationTime Time
}

// RotateDomainKeyInput has no members.
type RotateDomainKeyInput struct{}

// RotateDomainKeyOutput names the domain key that seals from now on.
type RotateDomainKeyOutput struct{ ActiveDomainKey uint32 }

// RekeyRootInput says where the new root key comes from.
type RekeyRootInput struct {
	// Provider is ProviderFile, for a new key file in the place that the
	// node's configuration names, or ProviderPassphrase.
	Provider string
	// Passphrase is the new passphrase, for ProviderPassphrase alone.
	Passphrase secret.Bytes
}

// RekeyRootOutput describes the new root key.
type RekeyRootOutput struct {
	Provider    string
	RootKeyTime Time
}

// Handler runs the operations. The input was decoded and is valid; its secrets
// are wiped after the call.
type Handler interface {
	DescribeAudit(ctx context.Context, c *call.Call, in *DescribeAuditInput, out *DescribeAuditOutput) error
	DescribeNode(ctx context.Context, c *call.Call, in *DescribeNodeInput, out *DescribeNodeOutput) error
	Explain(ctx context.Context, c *call.Call, in *ExplainInput, out *ExplainOutput) error
	RekeyRoot(ctx context.Context, c *call.Call, in *RekeyRootInput, out *RekeyRootOutput) error
	RevokeSessions(ctx context.Context, c *call.Call, in *RevokeSessionsInput, out *RevokeSessionsOutput) error
	RotateDomainKey(ctx context.Context, c *call.Call, in *RotateDomainKeyInput, out *RotateDomainKeyOutput) error
	SearchEvents(ctx context.Context, c *call.Call, in *SearchEventsInput, out *SearchEventsOutput) error
	TailEvents(ctx context.Context, c *call.Call, in *TailEventsInput, out *TailEventsOutput) error
}

// Operations returns the operations by name, run by h.
func Operations(h Handler) map[string]*call.Operation {
	return map[string]*call.Operation{
		"DescribeAudit":   operation("DescribeAudit", true, h.DescribeAudit),
		"DescribeNode":    operation("DescribeNode", true, h.DescribeNode),
		"Explain":         operation("Explain", true, h.Explain),
		"RekeyRoot":       operation("RekeyRoot", false, h.RekeyRoot),
		"RevokeSessions":  operation("RevokeSessions", false, h.RevokeSessions),
		"RotateDomainKey": operation("RotateDomainKey", false, h.RotateDomainKey),
		"SearchEvents":    operation("SearchEvents", true, h.SearchEvents),
		"TailEvents":      operation("TailEvents", true, h.TailEvents),
	}
}

// input is what a pointer to an input can do.
type input[T any] interface {
	*T
	call.Auditable
	decode(r *wire.Reader) (known bool)
	validate(v *wire.Violations)
	wipe()
}

type output[T any] interface {
	*T
	call.Auditable
}

// operation makes the operation that run runs.
func operation[I, O any, PI input[I], PO output[O]](
	name string, readOnly bool, run func(ctx context.Context, c *call.Call, in PI, out PO) error,
) *call.Operation {
	invoke := func(ctx context.Context, c *call.Call, body, b []byte) ([]byte, error) {
		in, out := PI(new(I)), PO(new(O))
		defer in.wipe()
		r := wire.NewReader(body)
		known := in.decode(&r)
		if err := r.Close(); err != nil {
			return b, err
		}
		if !known {
			return b, wire.Serialization("A member of the request body is not known.")
		}
		c.Parameters = in
		var v wire.Violations
		in.validate(&v)
		if err := v.Err(); err != nil {
			return b, err
		}
		if err := run(ctx, c, in, out); err != nil {
			return b, err
		}
		text, err := json.Marshal(out)
		if err != nil {
			return b, fmt.Errorf("encoding the answer of %s: %w", name, err)
		}
		if !readOnly {
			c.Elements = out
		}
		return append(b, text...), nil
	}
	return &call.Operation{Name: name, Service: SigningName, EventSource: EventSource, ReadOnly: readOnly, Invoke: invoke}
}

// members walks an object. It reports whether read knew all of its members.
func members(r *wire.Reader, read func(name string) bool) bool {
	known := true
	if r.Root() {
		for r.Member() {
			if !read(string(r.Name())) {
				known = false
				r.Skip()
			}
		}
	}
	return known
}

func none(string) bool { return false }

func (in *DescribeNodeInput) decode(r *wire.Reader) bool { return members(r, none) }
func (in *DescribeNodeInput) validate(*wire.Violations)  {}
func (in *DescribeNodeInput) wipe()                      {}

// AppendAudit implements [call.Auditable].
func (in *DescribeNodeInput) AppendAudit(b []byte) []byte { return append(b, "null"...) }

// AppendAudit implements [call.Auditable].
func (out *DescribeNodeOutput) AppendAudit(b []byte) []byte { return append(b, "null"...) }

func (in *RotateDomainKeyInput) decode(r *wire.Reader) bool { return members(r, none) }
func (in *RotateDomainKeyInput) validate(*wire.Violations)  {}
func (in *RotateDomainKeyInput) wipe()                      {}

// AppendAudit implements [call.Auditable].
func (in *RotateDomainKeyInput) AppendAudit(b []byte) []byte { return append(b, "null"...) }

// AppendAudit implements [call.Auditable].
func (out *RotateDomainKeyOutput) AppendAudit(b []byte) []byte {
	b = wire.AppendName(append(b, '{'), "activeDomainKey")
	return append(strconv.AppendUint(b, uint64(out.ActiveDomainKey), 10), '}')
}

func (in *RekeyRootInput) decode(r *wire.Reader) bool {
	return members(r, func(name string) bool {
		switch name {
		case "Provider":
			in.Provider, _ = r.String()
		case "Passphrase":
			in.Passphrase.Wipe() // of a member that stands twice, the last one counts
			in.Passphrase = r.Secret()
		default:
			return false
		}
		return true
	})
}

func (in *RekeyRootInput) validate(v *wire.Violations) {
	switch in.Provider {
	case ProviderFile, ProviderPassphrase:
	case "":
		v.Missing("provider")
	default:
		v.Enum("provider", in.Provider, ProviderFile+", "+ProviderPassphrase)
	}
	if in.Provider == ProviderPassphrase && in.Passphrase.IsNil() {
		v.Missing("passphrase")
	}
	if !in.Passphrase.IsNil() {
		v.SecretString("passphrase", in.Passphrase, 1, MaxPassphrase, nil)
	}
}

func (in *RekeyRootInput) wipe() { in.Passphrase.Wipe() }

// AppendAudit implements [call.Auditable].
func (in *RekeyRootInput) AppendAudit(b []byte) []byte {
	b = wire.AppendName(append(b, '{'), "provider")
	return append(wire.AppendString(b, in.Provider), '}')
}

// AppendAudit implements [call.Auditable].
func (out *RekeyRootOutput) AppendAudit(b []byte) []byte {
	b = wire.AppendName(append(b, '{'), "provider")
	return append(wire.AppendString(b, out.Provider), '}')
}

// AppendJSON appends the input as a client sends it, which the caller wipes.
func (in *RekeyRootInput) AppendJSON(b []byte) []byte {
	b = wire.AppendName(append(b, '{'), "Provider")
	b = wire.AppendString(b, in.Provider)
	if !in.Passphrase.IsNil() {
		b = wire.AppendName(b, "Passphrase")
		b = wire.AppendString(b, in.Passphrase.Reveal())
	}
	return append(b, '}')
}

// Time is a time that is seconds since 1970 on the wire.
type Time struct{ time.Time }

// MarshalJSON implements [json.Marshaler].
func (t Time) MarshalJSON() ([]byte, error) { return wire.AppendTime(nil, t.Time), nil }

// UnmarshalJSON implements [json.Unmarshaler].
func (t *Time) UnmarshalJSON(b []byte) error {
	r := wire.NewReader(bytes.TrimSpace(b))
	t.Time = r.Time()
	return r.Close()
}
