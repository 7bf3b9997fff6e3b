package kmsapi

import (
	"context"
	"strings"

	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/wire"
)

// Constants of the service.
const (
	TargetPrefix = "TrentService"      // of X-Amz-Target
	SigningName  = "kms"               // in a credential scope
	EventSource  = "kms.amazonaws.com" // in CloudTrail
)

// What an operation does, as CloudTrail has it.
const (
	changes  = false
	readOnly = true
)

// elements says what CloudTrail's responseElements shows of an operation.
type elements uint8

const (
	showNothing elements = iota // null
	showOutput                  // members of the output
	showKey                     // the key's ARN, which the output does not name
)

// input and output are what a pointer to a generated type can do.
type input[T any] interface {
	*T
	call.Auditable
	DecodeJSON(b []byte) error
	Validate() error
	wipe()
}

type output[T any] interface {
	*T
	call.Auditable
	AppendJSON(b []byte) []byte
	wipe()
}

// operation makes the operation that run runs: it decodes, validates, runs and
// encodes, keeps what audit will want, and wipes the secrets however it ends.
func operation[I, O any, PI input[I], PO output[O]](
	name string, readOnly bool, show elements, run func(ctx context.Context, c *call.Call, in PI, out PO) error,
) *call.Operation {
	invoke := func(ctx context.Context, c *call.Call, body, b []byte) ([]byte, error) {
		var message struct {
			in  I
			out O
		}
		in, out := PI(&message.in), PO(&message.out)
		defer in.wipe()
		defer out.wipe()
		if err := in.DecodeJSON(body); err != nil {
			return b, err
		}
		c.Parameters = in
		if err := in.Validate(); err != nil {
			return b, err
		}
		if err := run(ctx, c, in, out); err != nil {
			return b, err
		}
		if c.Elements == nil {
			switch show {
			case showOutput:
				c.Elements = out
			case showKey:
				c.Elements = touchedKey(c)
			}
		}
		return out.AppendJSON(b), nil
	}
	return &call.Operation{Name: name, Service: SigningName, EventSource: EventSource, ReadOnly: readOnly, Invoke: invoke}
}

// touchedKey shows the first key among the call's resources, or nothing.
func touchedKey(c *call.Call) call.Auditable {
	for _, r := range c.Resources {
		if strings.Contains(r.ARN, ":key/") {
			return KeyElement(r.ARN)
		}
	}
	return nil
}

// KeyElement is the responseElements {"keyId": ARN}, by which CloudTrail names
// the key that an operation with an empty answer has changed.
type KeyElement string

// AppendAudit implements [call.Auditable].
func (e KeyElement) AppendAudit(b []byte) []byte {
	b = wire.AppendString(wire.AppendName(append(b, '{'), "keyId"), string(e))
	return append(b, '}')
}
