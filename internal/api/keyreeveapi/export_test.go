package keyreeveapi

import (
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/wire"
)

// Decoded is an input that was decoded, and is not valid yet.
type Decoded interface {
	call.Auditable
	Validate() error
}

type decoded[I any, PI input[I]] struct{ in PI }

func (d decoded[I, PI]) AppendAudit(b []byte) []byte { return d.in.AppendAudit(b) }

func (d decoded[I, PI]) Validate() error {
	var v wire.Violations
	d.in.validate(&v)
	return v.Err()
}

// AppendJSON appends the input as a client sends it; nil for one without
// members.
func (d decoded[I, PI]) AppendJSON(b []byte) []byte {
	if in, ok := any(d.in).(interface{ AppendJSON([]byte) []byte }); ok {
		return in.AppendJSON(b)
	}
	return nil
}

func decoder[I any, PI input[I]]() func(body []byte) (Decoded, bool, error) {
	return func(body []byte) (Decoded, bool, error) {
		in := PI(new(I))
		r := wire.NewReader(body)
		known := in.decode(&r)
		return decoded[I, PI]{in}, known, r.Close()
	}
}

// Decoders decode the inputs of the operations by name. They report whether all
// members are known.
var Decoders = map[string]func(body []byte) (in Decoded, known bool, err error){
	"DescribeAudit":   decoder[DescribeAuditInput](),
	"DescribeNode":    decoder[DescribeNodeInput](),
	"Explain":         decoder[ExplainInput](),
	"RekeyRoot":       decoder[RekeyRootInput](),
	"RevokeSessions":  decoder[RevokeSessionsInput](),
	"RotateDomainKey": decoder[RotateDomainKeyInput](),
	"SearchEvents":    decoder[SearchEventsInput](),
	"TailEvents":      decoder[TailEventsInput](),
}
