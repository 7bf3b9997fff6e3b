package explain

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/keyreeve/keyreeve/internal/call"
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

// readPolicy reads one policy, in any of the forms that docs/explain-cases.md
// lists.
func (r *reader) readPolicy(raw json.RawMessage, t policy.Type, what string) *call.Attached {
	if r.err != nil {
		return nil
	}
	a := &call.Attached{Name: what}
	text, stored, wrapped := string(raw), false, false
	wrap := func(statements json.RawMessage) string {
		wrapped = true
		return wrapping + string(statements) + `}`
	}
	switch kindOf(raw) {
	case '"':
		text = r.text(raw, what, maxFile)
		if trimmed := strings.TrimSpace(text); !strings.HasPrefix(trimmed, "{") {
			return r.managed(trimmed, t, what)
		}
	case '[':
		text = wrap(raw)
	case '{':
		list := r.members(raw, what)
		has := func(name string) bool {
			for _, m := range list {
				if m.name == name {
					return true
				}
			}
			return false
		}
		switch {
		case has("file") || has("document"):
			var file string
			text = ""
			r.object(raw, what,
				r.set("file", &file),
				field{"document", func(raw json.RawMessage) {
					text = string(raw)
					switch {
					case kindOf(raw) == '"':
						text = r.text(raw, what, maxFile)
					case kindOf(raw) == '[', kindOf(raw) == '{' && r.isStatement(raw):
						text = wrap(raw)
					}
				}},
				r.set("name", &a.Name),
				r.set("arn", &a.ARN),
				field{"stored", func(raw json.RawMessage) { stored = r.flag(raw, "stored") }},
			)
			switch {
			case file != "" && text != "":
				r.mistake("%s has file or document, not both", what)
			case file != "":
				var err error
				if text, err = r.files.read(file); err != nil {
					r.fail(what, err)
				}
				if a.Name == what {
					a.Name = file
				}
			}
		case has("Effect"):
			text = wrap(raw)
		}
	default:
		r.mistake("%s is a policy: an object, or the name of a managed policy, and this is neither: %s", what, excerpt(raw))
	}
	a.Policy = r.compile(text, t, stored, what)
	var at *policy.Error
	if wrapped && errors.As(r.err, &at) && at.Line == 1 && at.Column > len(wrapping) {
		// Where it is in what was written.
		r.err = fmt.Errorf("%s: %w", what, &policy.Error{Message: at.Message, Line: 1, Column: at.Column - len(wrapping)})
	}
	if r.err != nil {
		return nil
	}
	return a
}

// wrapping begins a policy of which only the statements were written.
const wrapping = `{"Version":"2012-10-17","Statement":`

// isStatement reports whether an object is a statement, and no policy.
func (r *reader) isStatement(raw json.RawMessage) bool {
	for _, m := range r.members(raw, "a policy") {
		if m.name == "Effect" {
			return true
		}
	}
	return false
}

// managed returns a managed policy by its ARN or name.
func (r *reader) managed(name string, t policy.Type, what string) *call.Attached {
	if t == policy.ServiceControl && (name == "FullAWSAccess" || name == fullAWSAccess) {
		return &call.Attached{ARN: fullAWSAccess, Name: "FullAWSAccess", Policy: r.allowAll(t)}
	}
	if t == policy.Identity {
		if short, ok := strings.CutPrefix(name, awsManaged); ok || !strings.Contains(name, ":") {
			if text, ok := managedPolicies[short]; ok {
				return &call.Attached{ARN: awsManaged + short, Name: short, Policy: r.compile(text, t, false, what)}
			}
		}
	}
	r.mistake("%s: there is no managed policy %s here", what, quote(name))
	return nil
}

// managedPolicies are the AWS managed policies, by name.
var managedPolicies = map[string]string{
	"AdministratorAccess": `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`,
	"AWSKeyManagementServicePowerUser": `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["kms:CreateAlias","kms:CreateKey","kms:DeleteAlias","kms:Describe*","kms:GenerateRandom",` +
		`"kms:Get*","kms:List*","kms:TagResource","kms:UntagResource","iam:ListGroups","iam:ListRoles","iam:ListUsers"],"Resource":"*"}]}`,
	"ReadOnlyAccess": `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["kms:Describe*","kms:Get*","kms:List*"],"Resource":"*"}]}`,
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
