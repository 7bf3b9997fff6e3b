package keyreeveapi

import (
	"time"

	"github.com/keyreeve/keyreeve/internal/wire"
)

// RevokeSessionsInput says whose temporary credentials are to be refused: those
// of one user or role, or of a whole account.
type RevokeSessionsInput struct {
	Principal string `json:",omitempty"` // ARN of a user or role, or its unique id
	Account   string `json:",omitempty"` // 12 digits
	// Before is when the oldest that go on working were made; now if it is not
	// given. It is not in the future.
	Before time.Time `json:"-"`
}

// RevokeSessionsOutput says what is refused from now on.
type RevokeSessionsOutput struct {
	Principal string `json:",omitempty"` // ARN
	Account   string
	Before    Time
}

func (in *RevokeSessionsInput) decode(r *wire.Reader) bool {
	return members(r, func(name string) bool {
		switch name {
		case "Principal":
			in.Principal, _ = r.String()
		case "Account":
			in.Account, _ = r.String()
		case "Before":
			in.Before = r.Time()
		default:
			return false
		}
		return true
	})
}

func (in *RevokeSessionsInput) validate(v *wire.Violations) {
	switch {
	case in.Principal == "" && in.Account == "":
		v.Missing("principal")
	case in.Principal != "":
		v.Length("principal", in.Principal, 16, 2048)
	}
	if in.Account != "" {
		v.Length("account", in.Account, 12, 12)
	}
}

func (in *RevokeSessionsInput) wipe() {}

// AppendJSON appends the input as a client sends it.
func (in *RevokeSessionsInput) AppendJSON(b []byte) []byte {
	b = append(b, '{')
	if in.Principal != "" {
		b = wire.AppendString(wire.AppendName(b, "Principal"), in.Principal)
	}
	if in.Account != "" {
		b = wire.AppendString(wire.AppendName(b, "Account"), in.Account)
	}
	if !in.Before.IsZero() {
		b = wire.AppendTime(wire.AppendName(b, "Before"), in.Before)
	}
	return append(b, '}')
}

// AppendAudit implements [call.Auditable].
func (in *RevokeSessionsInput) AppendAudit(b []byte) []byte {
	b = append(b, '{')
	if in.Principal != "" {
		b = wire.AppendString(wire.AppendName(b, "principal"), in.Principal)
	}
	if in.Account != "" {
		b = wire.AppendString(wire.AppendName(b, "account"), in.Account)
	}
	if !in.Before.IsZero() {
		b = wire.AppendTime(wire.AppendName(b, "before"), in.Before)
	}
	return append(b, '}')
}

// AppendAudit implements [call.Auditable].
func (out *RevokeSessionsOutput) AppendAudit(b []byte) []byte {
	b = wire.AppendString(wire.AppendName(append(b, '{'), "account"), out.Account)
	if out.Principal != "" {
		b = wire.AppendString(wire.AppendName(b, "principal"), out.Principal)
	}
	return append(wire.AppendTime(wire.AppendName(b, "before"), out.Before.Time), '}')
}
