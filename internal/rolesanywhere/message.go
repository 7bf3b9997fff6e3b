package rolesanywhere

import (
	"net/url"
	"strconv"
	"time"

	"github.com/keyreeve/keyreeve/internal/identity"
	"github.com/keyreeve/keyreeve/internal/wire"
)

var patternSessionName = wire.NewPattern(`[\w+=,.@-]*`)

// input is that of CreateSession. Every member may be in the query or in the
// body.
type input struct {
	TrustAnchorARN  string
	ProfileARN      string
	RoleARN         string
	RoleSessionName string // 2 to 64 characters; empty for none
	SessionName     string // not used any more, and only recorded
	DurationSeconds *int32 // 900 to 43,200; nil for none
}

// readInput reads and checks the input. Errors are *wire.Error.
func readInput(query string, body []byte) (*input, error) {
	in := new(input)
	if len(body) > 0 {
		r := wire.NewReader(body)
		if r.Root() {
			for r.Member() {
				if text := in.text(string(r.Name())); text != nil {
					*text, _ = r.String()
				} else if string(r.Name()) == "durationSeconds" {
					in.DurationSeconds = r.Int()
				} else {
					r.Skip() // instanceProperties among them
				}
			}
		}
		if err := r.Close(); err != nil {
			return nil, err
		}
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return nil, wire.Validation("The query string cannot be read.")
	}
	for name, list := range values {
		if len(list) != 1 {
			return nil, wire.Validation("A parameter of the query string is there more than once.")
		}
		if text := in.text(name); text != nil {
			if *text != "" && *text != list[0] {
				return nil, wire.Validation("A parameter of the query string is another in the body.")
			}
			*text = list[0]
		} else if name == "durationSeconds" {
			n, err := strconv.ParseInt(list[0], 10, 32)
			if err != nil || in.DurationSeconds != nil && int64(*in.DurationSeconds) != n {
				return nil, wire.Validation("The parameter durationSeconds of the query string is no number, or another in the body.")
			}
			seconds := int32(n)
			in.DurationSeconds = &seconds
		}
	}
	return in, in.check()
}

// text returns where a member that is a string goes; nil if there is none of the
// name.
func (in *input) text(name string) *string {
	switch name {
	case "trustAnchorArn":
		return &in.TrustAnchorARN
	case "profileArn":
		return &in.ProfileARN
	case "roleArn":
		return &in.RoleARN
	case "roleSessionName":
		return &in.RoleSessionName
	case "sessionName":
		return &in.SessionName
	}
	return nil
}

func (in *input) check() error {
	var v wire.Violations
	for _, a := range []struct{ name, text string }{
		{"trustAnchorArn", in.TrustAnchorARN}, {"profileArn", in.ProfileARN}, {"roleArn", in.RoleARN},
	} {
		if a.text == "" {
			v.Missing(a.name)
		} else {
			v.Length(a.name, a.text, 1, 1011)
		}
	}
	if in.RoleSessionName != "" {
		v.Length("roleSessionName", in.RoleSessionName, 2, 64)
		v.Pattern("roleSessionName", in.RoleSessionName, patternSessionName)
	}
	v.Length("sessionName", in.SessionName, 0, 64)
	if in.DurationSeconds != nil {
		v.Range("durationSeconds", *in.DurationSeconds, 900, 43200)
	}
	return v.Err()
}

// AppendAudit implements [call.Auditable].
func (in *input) AppendAudit(b []byte) []byte {
	b = append(b, '{')
	if in.DurationSeconds != nil {
		b = wire.AppendInt(wire.AppendName(b, "durationSeconds"), *in.DurationSeconds)
	}
	b = wire.AppendString(wire.AppendName(b, "profileArn"), in.ProfileARN)
	b = wire.AppendString(wire.AppendName(b, "roleArn"), in.RoleARN)
	if in.RoleSessionName != "" {
		b = wire.AppendString(wire.AppendName(b, "roleSessionName"), in.RoleSessionName)
	}
	if in.SessionName != "" {
		b = wire.AppendString(wire.AppendName(b, "sessionName"), in.SessionName)
	}
	b = wire.AppendString(wire.AppendName(b, "trustAnchorArn"), in.TrustAnchorARN)
	return append(b, '}')
}

// output is that of CreateSession. After it was encoded, its secrets are wiped.
type output struct {
	session    identity.Session
	roleARN    string
	subjectARN string
}

// AppendJSON appends the answer.
func (out *output) AppendJSON(b []byte) []byte { return out.append(b, true) }

// AppendAudit implements [call.Auditable].
func (out *output) AppendAudit(b []byte) []byte { return out.append(b, false) }

func (out *output) append(b []byte, secrets bool) []byte {
	s := &out.session
	b = append(b, `{"credentialSet":[{"assumedRoleUser":{"arn":`...)
	b = wire.AppendString(b, s.ARN)
	b = wire.AppendString(wire.AppendName(b, "assumedRoleId"), s.ID)
	b = append(b, `},"credentials":{"accessKeyId":`...)
	b = wire.AppendString(b, s.AccessKeyID)
	b = wire.AppendString(wire.AppendName(b, "expiration"), s.Expires.UTC().Format(time.RFC3339))
	if secrets {
		b = wire.AppendString(wire.AppendName(b, "secretAccessKey"), s.SecretAccessKey.Reveal())
		b = wire.AppendString(wire.AppendName(b, "sessionToken"), s.Token)
	} else {
		b = append(wire.AppendName(b, "secretAccessKey"), wire.Hidden...)
		b = append(wire.AppendName(b, "sessionToken"), wire.Hidden...)
	}
	b = append(b, '}')
	b = wire.AppendInt(wire.AppendName(b, "packedPolicySize"), int32(min(s.Packed, 100)))
	b = wire.AppendString(wire.AppendName(b, "roleArn"), out.roleARN)
	b = wire.AppendString(wire.AppendName(b, "sourceIdentity"), s.SourceIdentity)
	b = append(b, `}]`...)
	b = wire.AppendString(wire.AppendName(b, "subjectArn"), out.subjectARN)
	return append(b, '}')
}
