package explain

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"

	"github.com/keyreeve/keyreeve/internal/authz"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/policy"
)

// texts is a string or a list of strings in a policy. Numbers and truths are
// read as strings, as policies read them.
type texts []string

// UnmarshalJSON implements [json.Unmarshaler].
func (t *texts) UnmarshalJSON(b []byte) error {
	if kindOf(b) != '[' {
		b = slices.Concat([]byte{'['}, b, []byte{']'})
	}
	var list []json.RawMessage
	if err := json.Unmarshal(b, &list); err != nil {
		return err
	}
	*t = texts{}
	for _, raw := range list {
		text := string(bytes.TrimSpace(raw))
		if kindOf(raw) == '"' {
			if err := json.Unmarshal(raw, &text); err != nil {
				return err
			}
		}
		*t = append(*t, text)
	}
	return nil
}

// MarshalJSON implements [json.Marshaler].
func (t texts) MarshalJSON() ([]byte, error) {
	if len(t) == 1 {
		return plainJSON(t[0])
	}
	return plainJSON([]string(t))
}

// conditions are values by key by operator.
type conditions map[string]map[string]texts

// A plainStatement is a statement as it is written.
type plainStatement struct {
	SID          string          `json:"Sid,omitempty"`
	Effect       string          `json:"Effect"`
	Principal    json.RawMessage `json:"Principal,omitempty"`
	NotPrincipal json.RawMessage `json:"NotPrincipal,omitempty"`
	Action       texts           `json:"Action,omitempty"`
	NotAction    texts           `json:"NotAction,omitempty"`
	Resource     texts           `json:"Resource,omitempty"`
	NotResource  texts           `json:"NotResource,omitempty"`
	Condition    conditions      `json:"Condition,omitempty"`
}

// text writes the statement.
func (s *plainStatement) text() string {
	b, err := plainJSON(s)
	if err != nil {
		return "{}" // of strings alone, it cannot fail
	}
	return string(b)
}

// plainJSON is JSON in which &, < and > are written as they are.
func plainJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSpace(b.Bytes()), nil
}

func readStatement(text string) (*plainStatement, error) {
	s := new(plainStatement)
	return s, json.Unmarshal([]byte(text), s)
}

// with returns the statement with one more condition. Values of an operator that
// says what is not meant are added to those that are there; others take their
// place, which they are some of.
func (s *plainStatement) with(operator, key, value string) *plainStatement {
	other := *s
	other.Condition = make(conditions, len(s.Condition)+1)
	for op, keys := range s.Condition {
		same := make(map[string]texts, len(keys)+1)
		for k, v := range keys {
			same[k] = v
		}
		other.Condition[op] = same
		if strings.EqualFold(op, operator) {
			operator = op
		}
	}
	keys := other.Condition[operator]
	if keys == nil {
		keys = make(map[string]texts)
		other.Condition[operator] = keys
	}
	for k, v := range keys {
		if strings.EqualFold(k, key) {
			key = k
			if strings.Contains(strings.ToLower(operator), "not") && !slices.Contains(v, value) {
				keys[k] = append(slices.Clone(v), value)
				return &other
			}
		}
	}
	keys[key] = texts{value}
	return &other
}

// without returns the conditions without one.
func (c conditions) without(operator, key string) {
	for op, keys := range c {
		if !strings.EqualFold(op, operator) {
			continue
		}
		for k := range keys {
			if strings.EqualFold(k, key) {
				delete(keys, k)
			}
		}
		if len(keys) == 0 {
			delete(c, op)
		}
	}
}

// set puts a condition in the place of another under the same operator and key.
func (c conditions) set(operator, key string, values ...string) {
	c.without(operator, key)
	if c[operator] == nil {
		c[operator] = make(map[string]texts)
	}
	c[operator][key] = values
}

// newStatement is what allows a principal one action on one resource.
func newStatement(t authz.LayerType, p *call.Principal, action, resource string, trust bool) *plainStatement {
	s := &plainStatement{Effect: "Allow", Action: texts{action}, Resource: texts{resource}}
	switch {
	case t == authz.ResourceBased && trust:
		s.Resource = nil
	case t == authz.ResourceBased:
		s.Resource = texts{"*"}
	}
	if t == authz.ResourceBased || t == authz.Endpoint {
		who := p.ARN
		if p.Kind == call.RoleSession {
			who = p.EntityARN
		}
		name, err := plainJSON(map[string]string{"AWS": who})
		if err == nil {
			s.Principal = name
		}
	}
	return s
}

// documentOf is a policy of these statements.
func documentOf(list ...*plainStatement) string {
	all := make([]string, len(list))
	for i, s := range list {
		all[i] = s.text()
	}
	return `{"Version":"2012-10-17","Statement":[` + strings.Join(all, ",") + `]}`
}

func raw(list ...*plainStatement) []json.RawMessage {
	all := make([]json.RawMessage, len(list))
	for i, s := range list {
		all[i] = json.RawMessage(s.text())
	}
	return all
}

// statementTexts returns the statements of a document as they are written, and
// the document with a place for others.
func statementTexts(text string) (list []string, around func([]string) string, ok bool) {
	r := new(reader)
	members := r.members(json.RawMessage(text), "a policy")
	at := slices.IndexFunc(members, func(m member) bool { return m.name == "Statement" })
	if r.err != nil || at < 0 {
		return nil, nil, false
	}
	if kindOf(members[at].raw) == '[' {
		for _, item := range r.items(members[at].raw, "Statement", maxMembers) {
			list = append(list, string(item))
		}
	} else {
		list = []string{string(members[at].raw)}
	}
	if r.err != nil {
		return nil, nil, false
	}
	return list, func(statements []string) string {
		b := []byte{'{'}
		for i, m := range members {
			if i > 0 {
				b = append(b, ',')
			}
			name, _ := json.Marshal(m.name)
			b = append(append(b, name...), ':')
			if i == at {
				b = append(b, '[')
				b = append(b, strings.Join(statements, ",")...)
				b = append(b, ']')
				continue
			}
			b = append(b, m.raw...)
		}
		return string(append(b, '}'))
	}, true
}

// like reports whether a pattern with * and ? matches a text, whatever the case.
func like(pattern, s string) bool {
	pattern, s = strings.ToLower(pattern), strings.ToLower(s)
	star, from := -1, 0
	i, j := 0, 0
	for j < len(s) {
		switch {
		case i < len(pattern) && pattern[i] == '*':
			star, from = i, j
			i++
		case i < len(pattern) && (pattern[i] == '?' || pattern[i] == s[j]):
			i, j = i+1, j+1
		case star >= 0:
			from++
			i, j = star+1, from
		default:
			return false
		}
	}
	return strings.Trim(pattern[i:], "*") == ""
}

// lessAction returns the statement for all its actions but one; nil if no other
// is left. It is not ok if policies cannot say so.
func (s *plainStatement) lessAction(action string) (_ *plainStatement, ok bool) {
	other := *s
	if s.NotAction != nil {
		other.NotAction = append(slices.Clone(s.NotAction), action)
		return &other, true
	}
	service, _, _ := strings.Cut(action, ":")
	other.Action = nil
	for _, pattern := range s.Action {
		switch {
		case !like(pattern, action):
			other.Action = append(other.Action, pattern)
		case strings.EqualFold(pattern, action):
		case strings.Trim(pattern, "*") == "":
			other.Action, other.NotAction = nil, texts{action}
			return &other, true
		case service == "kms" && strings.HasPrefix(strings.ToLower(pattern), "kms:"):
			for _, known := range authz.Actions(service) {
				if like(pattern, known) && known != action {
					other.Action = append(other.Action, known)
				}
			}
		default:
			return nil, false
		}
	}
	if len(other.Action) == 0 {
		return nil, true
	}
	return &other, true
}

// lessResource is lessAction for resources.
func (s *plainStatement) lessResource(resource string) (_ *plainStatement, ok bool) {
	other := *s
	switch {
	case s.NotResource != nil:
		other.NotResource = append(slices.Clone(s.NotResource), resource)
		return &other, true
	case resource == "*" || s.Resource == nil:
		return nil, true
	}
	other.Resource = nil
	for _, pattern := range s.Resource {
		switch {
		case pattern == resource:
		case strings.Trim(pattern, "*") == "":
			other.Resource, other.NotResource = nil, texts{resource}
			return &other, true
		case strings.Contains(pattern, "${"), like(pattern, resource):
			return nil, false
		default:
			other.Resource = append(other.Resource, pattern)
		}
	}
	if len(other.Resource) == 0 {
		return nil, true
	}
	return &other, true
}

// exempt returns what takes the place of a Deny statement, so that it does not
// mean one action of one principal on one resource any more, and all else as
// before: the statement for all other principals; for this one, for all other
// actions; and for this action, on all other resources. Wider says what is not
// denied either, where policies cannot say it more narrowly.
func (s *plainStatement) exempt(who, action, resource string, alone, whole bool) (list []*plainStatement, wider string) {
	const key = "aws:PrincipalArn"
	others := s.with("ArnNotEquals", key, who)
	own := *s
	if !alone {
		list = append(list, others)
		own = *s.with("ArnEquals", key, who)
		own.SID = ""
	}
	actions, ok := own.lessAction(action)
	if !ok {
		return []*plainStatement{others}, "It exempts " + who + " from the whole statement."
	}
	if actions != nil {
		list = append(list, actions)
	}
	if whole {
		return list, ""
	}
	this := own
	this.NotAction, this.Action = nil, texts{action}
	if actions != nil {
		this.SID = ""
	}
	resources, ok := this.lessResource(resource)
	if !ok {
		return list, "It exempts " + who + " from it for " + action + " on other resources, too."
	}
	if resources != nil {
		list = append(list, resources)
	}
	return list, ""
}

// pin replaces a condition that does not hold by one that holds for what the
// request has, and for nothing else if that can be said.
func (c conditions) pin(failed policy.Condition, have []string, until string) {
	c.without(failed.Operator, failed.Key)
	operator := strings.ToLower(failed.Operator)
	_, bare, isSet := strings.Cut(operator, ":")
	if !isSet {
		bare = operator
	}
	bare = strings.TrimSuffix(bare, "ifexists")
	switch key := strings.ToLower(failed.Key); {
	case key == "aws:currenttime" || key == "aws:epochtime":
		c.set("DateLessThan", "aws:CurrentTime", until)
	case len(have) == 0:
		c.set("Null", failed.Key, "true")
	case bare == "null":
		c.set("Null", failed.Key, "false")
	case strings.HasPrefix(bare, "numeric") && key == "aws:multifactorauthage":
		c.set("NumericLessThanEquals", failed.Key, have...)
	case strings.HasPrefix(bare, "numeric"):
		c.set("NumericEquals", failed.Key, have...)
	case strings.HasPrefix(bare, "date"):
		c.set("DateEquals", failed.Key, have...)
	case bare == "bool":
		c.set("Bool", failed.Key, have...)
	case strings.Contains(bare, "ipaddress"):
		c.set("IpAddress", failed.Key, have...)
	case strings.HasPrefix(bare, "arn") && len(have) == 1:
		c.set("ArnEquals", failed.Key, have...)
	case bare == "binaryequals":
		c.set("BinaryEquals", failed.Key, have...)
	default:
		literal := make([]string, len(have))
		for i, s := range have {
			literal[i] = strings.ReplaceAll(s, "${", "${$}{")
		}
		if len(have) == 1 && !isSet {
			c.set("StringEquals", failed.Key, literal...)
			return
		}
		c.set("ForAllValues:StringEquals", failed.Key, literal...)
	}
}
