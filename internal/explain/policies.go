package explain

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/identity"
	"github.com/keyreeve/keyreeve/internal/keyring"
	"github.com/keyreeve/keyreeve/policy"
)

// readPolicies reads the policies of one layer: one policy, or a list of them.
func (r *reader) readPolicies(raw json.RawMessage, t policy.Type, what string) []call.Attached {
	list := []call.Attached{}
	for i, item := range r.oneOrMore(raw, what, maxMembers) {
		name := what
		if i > 0 || kindOf(raw) == '[' {
			name = what + " " + strconv.Itoa(i+1)
		}
		if a := r.readPolicy(item, t, name); a != nil {
			list = append(list, *a)
		}
	}
	return list
}

// readLevels reads the policies of an organization, by level: a list of levels,
// from the root down to the account, each of which is a policy or a list of
// them. One policy is one level.
func (r *reader) readLevels(raw json.RawMessage, t policy.Type, what string) [][]call.Attached {
	levels := [][]call.Attached{}
	for i, item := range r.oneOrMore(raw, what, maxLevels) {
		level := r.readPolicies(item, t, what+" "+strconv.Itoa(i+1))
		if t == policy.ResourceControl {
			// It cannot be detached from any level.
			level = append(level, call.Attached{
				ARN: "arn:aws:organizations::aws:policy/resource_control_policy/p-RCPFullAWSAccess", Name: "RCPFullAWSAccess", Policy: r.allowAll(t),
			})
		}
		levels = append(levels, level)
	}
	return levels
}

// A document is a policy as it is written.
type document struct {
	text      string
	wrapped   bool   // only the statements were written
	name, arn string // where it is attached
	stored    bool   // what was valid once is accepted
}

// wrapping begins a policy of which only the statements were written.
const wrapping = `{"Version":"2012-10-17","Statement":`

// write sets the text: a document, a statement, a list of statements, or a
// string that is a document.
func (d *document) write(r *reader, raw json.RawMessage, what string) {
	d.text = string(raw)
	switch {
	case kindOf(raw) == '"':
		d.text = r.text(raw, what, maxFile)
	case kindOf(raw) == '[', r.isStatement(raw):
		d.text, d.wrapped = wrapping+string(raw)+`}`, true
	}
}

// readPolicy reads one policy, in any of the forms that docs/explain-cases.md
// lists.
func (r *reader) readPolicy(raw json.RawMessage, t policy.Type, what string) *call.Attached {
	if r.err != nil {
		return nil
	}
	d := document{name: what}
	switch kindOf(raw) {
	case '"':
		if d.write(r, raw, what); !strings.HasPrefix(strings.TrimSpace(d.text), "{") {
			return r.managed(d.text, t, what)
		}
	case '[':
		d.write(r, raw, what)
	case '{':
		if r.has(raw, "file") || r.has(raw, "document") {
			r.readReference(raw, what, &d)
		} else {
			d.write(r, raw, what)
		}
	default:
		r.mistake("%s is a policy: an object, or the name of a managed policy, and this is neither: %s", what, excerpt(raw))
	}
	p := r.compile(d.text, t, d.stored, what)
	var at *policy.Error
	if d.wrapped && errors.As(r.err, &at) && at.Line == 1 && at.Column > len(wrapping) {
		// Where it is in what was written.
		r.err = fmt.Errorf("%s: %w", what, &policy.Error{Message: at.Message, Line: 1, Column: at.Column - len(wrapping)})
	}
	if r.err != nil {
		return nil
	}
	return &call.Attached{ARN: d.arn, Name: d.name, Policy: p}
}

// readReference reads an object that has a policy, or names the file of one.
func (r *reader) readReference(raw json.RawMessage, what string, d *document) {
	var file string
	r.object(raw, what,
		r.set("file", &file),
		field{"document", func(raw json.RawMessage) { d.write(r, raw, what) }},
		r.set("name", &d.name),
		r.set("arn", &d.arn),
		field{"stored", func(raw json.RawMessage) { d.stored = r.flag(raw, "stored") }},
	)
	switch {
	case r.err != nil || file == "":
	case d.text != "":
		r.mistake("%s has file or document, not both", what)
	default:
		var err error
		if d.text, err = r.files.read(file); err != nil {
			r.fail(what, err)
		}
		if d.name == what {
			d.name = file
		}
	}
}

// has reports whether an object has a member.
func (r *reader) has(raw json.RawMessage, name string) bool {
	return slices.ContainsFunc(r.members(raw, "a policy"), func(m member) bool { return m.name == name })
}

// isStatement reports whether a value is a statement, and no policy.
func (r *reader) isStatement(raw json.RawMessage) bool {
	return kindOf(raw) == '{' && r.has(raw, "Effect")
}

// managed returns a managed policy by its ARN or name.
func (r *reader) managed(name string, t policy.Type, what string) *call.Attached {
	if t == policy.ServiceControl && (name == "FullAWSAccess" || name == fullAWSAccess) {
		return &call.Attached{ARN: fullAWSAccess, Name: "FullAWSAccess", Policy: r.allowAll(t)}
	}
	if t == policy.Identity {
		short := strings.TrimPrefix(name, awsManaged)
		if text, ok := identity.ManagedDocument(awsManaged + short); ok {
			return &call.Attached{ARN: awsManaged + short, Name: short, Policy: r.compile(text, t, false, what)}
		}
	}
	r.mistake("%s: there is no managed policy %s here", what, quote(name))
	return nil
}

const (
	awsManaged    = "arn:aws:iam::aws:policy/"
	fullAWSAccess = "arn:aws:organizations::aws:policy/service_control_policy/p-FullAWSAccess"
)

// allowAll returns a policy of a type that allows everything.
func (r *reader) allowAll(t policy.Type) *policy.Policy {
	text := `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`
	if t == policy.Endpoint || t == policy.ResourceControl {
		text = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"}}`
	}
	if t == policy.ResourceControl {
		t = policy.Resource // AWS's own; those of customers deny alone
	}
	return r.compile(text, t, false, "a policy that allows everything")
}

// content is what a policy was compiled from.
type content struct {
	text   string
	t      policy.Type
	stored bool
}

// compile parses a policy. Equal ones are parsed once.
func (r *reader) compile(text string, t policy.Type, stored bool, what string) *policy.Policy {
	if r.err != nil {
		return nil
	}
	c := content{text, t, stored}
	if p, ok := r.files.compiled[c]; ok {
		return p
	}
	if t == policy.KeyPolicy && len(text) > keyring.MaxPolicy {
		r.mistake("%s is larger than %d bytes", what, keyring.MaxPolicy)
		return nil
	}
	p, err := policy.Parse(text, policy.Options{Type: t, Stored: stored})
	if err != nil {
		r.fail(what, err)
		return nil
	}
	r.files.compiled[c] = p
	return p
}
