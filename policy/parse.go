package policy

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// Parse parses and compiles a document. Errors are *[Error]. Whatever the text
// is, it takes time linear in its length, but for conditions, see [Wildcard].
func Parse(text string, o Options) (*Policy, error) {
	p := parser{text: text, options: o}
	if o.Type < Identity || o.Type > Session {
		return nil, &Error{Message: "unknown type of policy", Detail: o.Type.String()}
	}
	if len(text) > MaxBytes {
		return nil, &Error{Message: p.message(general), Detail: "longer than " + strconv.Itoa(MaxBytes) + " bytes"}
	}
	root, f := readJSON(text)
	if f != nil {
		p.fail(invalidJSON, f.at, "", f.what)
		return nil, p.failure
	}
	policy := p.document(&root)
	if p.failure != nil {
		return nil, p.failure
	}
	return policy, nil
}

// A rank says in which order faults are told: the one with the lowest, and of
// those the first in the document. It is the order in which IAM goes over a
// document, as far as it can be seen from outside.
type rank uint8

const (
	invalidJSON rank = iota + 1
	general          // grammar
	badPrincipal
	badVersion
	badValue // of a condition
	duplicateSID
	noAction
	noResource
	badResource
	badAction
	overlyPermissive
)

type parser struct {
	text    string
	options Options
	policy  *Policy

	failure *Error
	rank    rank
}

// message returns the text for faults that have none of their own. Sources:
// answers of IAM, KMS and Organizations in public reports; Organizations'
// MalformedPolicyDocumentException has this one text.
func (p *parser) message(r rank) string {
	switch p.options.Type {
	case ServiceControl, ResourceControl:
		return "The provided policy document does not meet the requirements of the specified policy type."
	case Identity, Session:
		switch {
		case r == badValue:
			return "The policy failed legacy parsing"
		case r == invalidJSON && p.options.Type == Session:
			return "The policy is not in the valid JSON format."
		}
	default:
		if r == invalidJSON {
			return "This policy contains invalid Json"
		}
	}
	return "Syntax errors in policy."
}

// fail notes a fault. The message is AWS's, or empty for the general one; the
// detail is ours.
func (p *parser) fail(r rank, at int, message, detail string) {
	if p.failure != nil && p.rank <= r {
		return
	}
	if general := p.message(r); message == "" || p.options.Type == ServiceControl || p.options.Type == ResourceControl {
		if detail == "" {
			detail = message
		}
		message = general
	}
	line, column := place(p.text, at)
	p.failure, p.rank = &Error{Message: printable(message), Detail: printable(detail), Line: line, Column: column}, r
}

// maxMessage bounds texts that echo what stands in the document, in bytes.
const maxMessage = 1024

// printable returns a text that may go into a message: not too long, and
// without what XML cannot carry.
func printable(s string) string {
	if len(s) > maxMessage {
		n := maxMessage
		for !utf8.RuneStart(s[n]) {
			n--
		}
		s = s[:n] + "…"
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == 0xfffe || r == 0xffff {
			return utf8.RuneError
		}
		return r
	}, s)
}

// identity reports whether the document is one of those without a principal that
// IAM checks.
func (p *parser) identity() bool {
	return p.options.Type == Identity || p.options.Type == Session
}

// fault notes a fault of grammar, which has a text of its own in all but
// identity-based policies.
func (p *parser) fault(at int, message string) {
	if p.identity() {
		p.fail(general, at, "", message)
		return
	}
	p.fail(general, at, message, "")
}

func (p *parser) document(root *node) *Policy {
	p.policy = &Policy{typ: p.options.Type, text: p.text}
	if root.kind != jsonObject {
		p.fail(general, root.start, "", "the document is not an object")
		return nil
	}
	var version, statements *node
	for i := range root.members {
		m := &root.members[i]
		switch m.name {
		case "Version":
			version = &m.value
		case "Id":
			if m.value.kind != jsonString {
				p.fault(m.value.start, "Id is not a string")
			}
			p.policy.id = m.value.text
		case "Statement":
			statements = &m.value
		default:
			p.fault(m.start, "Unknown field "+m.name)
		}
	}
	p.version(version, root.start)
	switch {
	case statements == nil:
		p.fault(root.start, "Missing required field Statement")
	case statements.kind == jsonObject:
		p.statement(statements)
	case statements.kind == jsonArray && len(statements.items) > 0:
		p.policy.statements = make([]statement, 0, len(statements.items))
		for i := range statements.items {
			p.statement(&statements.items[i])
		}
	case statements.kind == jsonArray:
		p.fault(statements.start, "Could not parse the policy: Statement is empty!")
	default:
		p.fault(statements.start, "Statement is neither an object nor a list")
	}
	p.sids()
	p.policy.names = exactly(p.policy.names)
	p.policy.actions = new(actionCache)
	p.policy.cost = p.policy.weigh()
	return p.policy
}

const latest = "2012-10-17"

func (p *parser) version(n *node, start int) {
	organization := p.options.Type == ServiceControl || p.options.Type == ResourceControl
	switch {
	case n == nil:
		if organization {
			p.fail(badVersion, start, "", "Version is not "+latest)
		}
	case n.kind == jsonString && n.text == latest:
		p.policy.variables = true
	case n.kind == jsonString && n.text == "2008-10-17":
		if organization {
			p.fail(badVersion, n.start, "", "Version is not "+latest)
		}
	default:
		p.fault(n.start, "The policy must contain a valid version string")
	}
}

// sids holds the rules for statement ids.
func (p *parser) sids() {
	seen := make(map[string]struct{})
	for i := range p.policy.statements {
		s := &p.policy.statements[i]
		if s.sid == "" {
			continue
		}
		if p.identity() {
			for _, c := range []byte(s.sid) {
				if !isAlphanumeric(c) {
					p.fail(general, s.at, "Statement IDs (SID) must be alpha-numeric. Check that your input satisfies the regular expression [0-9A-Za-z]*", "")
					break
				}
			}
		}
		_, twice := seen[s.sid]
		seen[s.sid] = struct{}{}
		switch {
		case !twice:
		case p.identity():
			p.fail(duplicateSID, s.at, "Statement IDs (SID) in a single policy must be unique.", "")
		case p.options.Type == Trust:
			p.fail(duplicateSID, s.at, "The Statement Ids in the policy are not unique", "")
		}
	}
}

func isAlphanumeric(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

func (p *parser) statement(n *node) {
	if n.kind != jsonObject {
		p.fault(n.start, "a statement is not an object")
		return
	}
	s := statement{at: n.start}
	var effect, principal, action, resource, conditions *member
	// one notes an element, of which there may be one or its opposite.
	one := func(have **member, not *bool, m *member) {
		if *have != nil {
			p.fault(m.start, (*have).name+" and "+m.name+" stand together")
			return
		}
		*have = m
		*not = strings.HasPrefix(m.name, "Not")
	}
	for i := range n.members {
		m := &n.members[i]
		switch m.name {
		case "Sid":
			if m.value.kind != jsonString {
				p.fault(m.value.start, "Sid is not a string")
			}
			s.sid = m.value.text
		case "Effect":
			effect = m
		case "Principal", "NotPrincipal":
			one(&principal, &s.notPrincipal, m)
		case "Action", "NotAction":
			one(&action, &s.notAction, m)
		case "Resource", "NotResource":
			one(&resource, &s.notResource, m)
		case "Condition":
			conditions = m
		default:
			p.fault(m.start, "Unknown field "+m.name)
		}
	}
	p.effect(&s, n, effect)
	p.principal(&s, n, principal)
	p.action(&s, n, action)
	p.resource(&s, n, resource)
	if conditions != nil {
		p.conditions(&s, &conditions.value)
	}
	s.principals, s.actions, s.resources, s.conditions = exactly(s.principals), exactly(s.actions), exactly(s.resources), exactly(s.conditions)
	p.policy.statements = append(p.policy.statements, s)
}

func (p *parser) effect(s *statement, n *node, m *member) {
	switch {
	case m == nil:
		p.fault(n.start, "Missing required field Effect")
	case m.value.kind != jsonString:
		p.fault(m.value.start, "Effect is not a string")
	case m.value.text == "Allow":
		// AWS's own policy of this type allows everything; others only deny.
		if p.options.Type == ResourceControl && !p.options.Stored {
			p.fail(general, m.value.start, "", "Effect is not Deny")
		}
	case m.value.text == "Deny":
		s.deny = true
	default:
		p.fault(m.value.start, "Invalid effect: "+m.value.text)
	}
}

// strings calls use with each string of a value: one, or a list. It returns
// their number, and -1 if it is neither.
func (p *parser) strings(name string, n *node, use func(*node)) int {
	switch n.kind {
	case jsonString:
		use(n)
		return 1
	case jsonArray:
		for i := range n.items {
			if n.items[i].kind != jsonString {
				p.fault(n.items[i].start, name+" has "+n.items[i].kind.String()+" where a string should be")
				return -1
			}
			use(&n.items[i])
		}
		return len(n.items)
	}
	p.fault(n.start, name+" is "+n.kind.String()+" where a string or list should be")
	return -1
}

func (p *parser) action(s *statement, n *node, m *member) {
	if m == nil {
		p.noElement(s, noAction, n.start, "Action", "Policy statement must contain actions.")
		return
	}
	if s.notAction && p.options.Type == ResourceControl && !p.options.Stored {
		p.fail(general, m.start, "", "Has prohibited field NotAction")
	}
	count := p.strings(m.name, &m.value, func(v *node) {
		if detail := p.badAction(v.text); detail != "" {
			p.fail(badAction, v.start, detail, "")
			return
		}
		s.actions = append(s.actions, compileAction(v.text))
	})
	if count == 0 {
		p.noElement(s, noAction, m.start, "Action", "Policy statement must contain actions.")
	}
}

// noElement notes that a statement lacks an element.
func (p *parser) noElement(s *statement, r rank, at int, name, identity string) {
	switch {
	case p.options.Stored:
		s.inert = true
	case p.identity():
		p.fail(r, at, identity, "")
	default:
		p.fail(r, at, "Missing required field "+name, "")
	}
}

// maxAction is the length of the longest action, in bytes. AWS's are shorter
// than 100.
const maxAction = 256

// badAction says what is wrong with an action; empty for nothing.
func (p *parser) badAction(s string) string {
	if s == "*" {
		if p.options.Type == ResourceControl && !p.options.Stored {
			return "Action is *"
		}
		if p.options.Type == Trust {
			return "AssumeRole policy may only specify STS AssumeRole actions."
		}
		return ""
	}
	vendor, name, found := strings.Cut(s, ":")
	if !found {
		return "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc."
	}
	if strings.Contains(name, ":") {
		return "Actions/Condition can contain only one colon."
	}
	for _, c := range []byte(vendor) {
		if !isAlphanumeric(c) && c != '-' && c != '.' && vendor != "*" {
			return "Vendor " + vendor + " is not valid"
		}
	}
	if vendor == "" {
		return "Vendor  is not valid"
	}
	if p.options.Type == Trust && !equalFoldASCII(vendor, "sts") {
		return "AssumeRole policy may only specify STS AssumeRole actions."
	}
	if name == "" || len(s) > maxAction {
		return p.message(badAction)
	}
	for _, c := range []byte(name) {
		if c <= ' ' || c >= 0x7f {
			return p.message(badAction)
		}
	}
	return ""
}

func (p *parser) resource(s *statement, n *node, m *member) {
	if p.options.Type == Trust {
		switch {
		case m == nil:
		case s.notResource:
			p.fault(m.start, "AssumeRole policy must not contain resources.")
		default:
			p.fault(m.start, "Has prohibited field Resource")
		}
		return
	}
	if m == nil {
		p.noElement(s, noResource, n.start, "Resource", "Policy statement must contain resources.")
		return
	}
	if s.notResource && p.options.Type == KeyPolicy {
		if !p.options.Stored {
			p.fault(m.start, "Has prohibited field NotResource")
		} else if !s.deny {
			s.inert = true // what it allows, nobody can have meant
		}
	}
	count := p.strings(m.name, &m.value, func(v *node) {
		if v.text == "*" {
			s.resources = append(s.resources, arnPattern{kind: arnAnything})
			return
		}
		if p.options.Type == KeyPolicy {
			// In a key policy "*" is the key, and nothing else means it.
			if !p.options.Stored {
				p.fail(badResource, v.start, `The Resource element of a key policy must be "*".`, "")
			}
			s.resources = append(s.resources, arnPattern{})
			return
		}
		if detail := p.badARN(v.text); detail != "" {
			p.fail(badResource, v.start, detail, "")
			return
		}
		s.resources = append(s.resources, compileARN(v.text, false, p.policy.variables))
	})
	if count == 0 {
		p.noElement(s, noResource, m.start, "Resource", "Policy statement must contain resources.")
	}
}

// badARN says what is wrong with the ARN of a resource; empty for nothing. The
// rules of single services are not known here.
func (p *parser) badARN(s string) string {
	notARN := `Resource ` + s + ` must be in ARN format or "*".`
	rest, ok := strings.CutPrefix(s, "arn:")
	if !ok {
		return notARN
	}
	partition, rest, ok := strings.Cut(rest, ":")
	if !ok {
		return notARN
	}
	if !strings.ContainsAny(partition, "*?") && partition != "aws" && !strings.HasPrefix(partition, "aws-") {
		return `Partition "` + partition + `" is not valid for resource "` + s + `".`
	}
	service, rest, ok := strings.Cut(rest, ":")
	if !ok || service == "" || strings.ContainsAny(service, "*?$") {
		return "Resource vendor must be fully qualified and cannot contain regexes."
	}
	region, rest, ok := strings.Cut(rest, ":")
	account, _, ok2 := strings.Cut(rest, ":")
	switch {
	case strings.Contains(partition+region+account, "${"):
		return "The policy failed legacy parsing" // variables stand in the last part alone
	case !ok || !ok2:
		return notARN
	}
	return ""
}

func (p *parser) conditions(s *statement, n *node) {
	if n.kind != jsonObject {
		p.fault(n.start, "Condition is not an object")
		return
	}
	for i := range n.members {
		op := &n.members[i]
		proto, ok := parseOperator(op.name)
		if !ok {
			p.fault(op.start, "unknown condition operator "+op.name)
			continue
		}
		if op.value.kind != jsonObject {
			p.fault(op.value.start, op.name+" is not an object")
			continue
		}
		for j := range op.value.members {
			key := &op.value.members[j]
			c := proto
			c.key = ParseKey(key.name)
			p.condition(s, &c, op.name, key)
		}
	}
}

func (p *parser) condition(s *statement, c *condition, operator string, key *member) {
	if !strings.Contains(key.name, ":") {
		p.fail(badAction, key.start, "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.", "")
	}
	items := key.value.items
	if key.value.kind != jsonArray {
		items = []node{key.value}
	}
	values := make([]string, 0, len(items))
	for i := range items {
		switch v := &items[i]; v.kind {
		case jsonString, jsonNumber, jsonBool:
			values = append(values, v.text)
		default:
			p.fault(v.start, key.name+" has "+v.kind.String()+" as a value")
			return
		}
	}
	if len(values) == 0 {
		p.fault(key.value.start, key.name+" has no values")
		return
	}
	if bad := c.compile(values, p.policy.variables); bad >= 0 && !p.options.Stored {
		p.fail(badValue, items[bad].start, "", strconv.Quote(values[bad])+" is not a value for "+operator)
	}
	if p.options.Type == KeyPolicy && c.set == forAllValues && !p.options.Stored {
		if what := singleValued[c.key.Name]; what.name != "" {
			p.fail(overlyPermissive, key.start, "OverlyPermissiveCondition:"+what.name+": Using the ForAllValues set operator with a single-valued condition key "+
				"matches requests without the specified "+what.words+" or with an unspecified "+what.words+". To fix, remove ForAllValues.", "")
		}
	}
	s.conditions = append(s.conditions, *c)
}

// singleValued are the keys that KMS refuses with ForAllValues, by their names.
// Source: "Policy conditions" in the AWS KMS Developer Guide.
var singleValued = map[string]struct{ name, words string }{
	"kms:encryptioncontext:": {"EncryptionContext", "encryption context"},
	"aws:requesttag/":        {"RequestTag", "tag"},
}

// Size returns the number of characters of a document without the white space
// between its elements, which IAM's quotas do not count. White space in strings
// counts.
func Size(text string) int {
	n := 0
	inString, escaped := false, false
	for _, c := range text {
		switch {
		case escaped:
			escaped = false
		case inString && c == '\\':
			escaped = true
		case c == '"':
			inString = !inString
		case !inString && (c == ' ' || c == '\t' || c == '\n' || c == '\r'):
			continue
		}
		n++
	}
	return n
}
