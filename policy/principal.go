package policy

import "strings"

// A principal is a name in a Principal element, compiled.
type principal struct {
	kind principalKind
	name string // ARN, account id, unique id or service
}

type principalKind uint8

const (
	nobody       principalKind = iota // valid, and none of the callers that are known here
	anyone                            // "*"
	ofAccount                         // the account's id
	ofUser                            // ARN
	ofRole                            // ARN
	ofSession                         // ARN of an assumed role's session
	ofFederation                      // ARN of a federated user's session
	ofUniqueID                        // of a user or role
	ofSessionID                       // unique id of a role, and the session's name: "AROA…:session"
	ofService                         // its name
	ofProvider                        // ARN or name of an identity provider
)

// maxPrincipal is the length of the longest name of a principal, in bytes: an
// ARN with a path of 512.
const maxPrincipal = 2048

// compileAWS compiles the name of a principal of the kind "AWS".
func compileAWS(name string) (principal, bool) {
	switch {
	case name == "*":
		return principal{kind: anyone}, true
	case isAccount(name):
		return principal{ofAccount, name}, true
	case isUniqueID(name):
		return principal{ofUniqueID, name}, true
	case isSessionID(name):
		return principal{ofSessionID, name}, true
	case len(name) > maxPrincipal:
		return principal{}, false
	}
	for _, c := range []byte(name) {
		if c <= ' ' || c >= 0x7f || c == '*' || c == '?' {
			return principal{}, false
		}
	}
	f := strings.SplitN(name, ":", 6)
	if len(f) != 6 || f[0] != "arn" || f[1] != "aws" && !strings.HasPrefix(f[1], "aws-") || f[3] != "" || !isAccount(f[4]) {
		return principal{}, false
	}
	kind, rest, _ := strings.Cut(f[5], "/")
	named := rest != "" && !strings.HasSuffix(rest, "/")
	switch f[2] + ":" + kind {
	case "iam:root":
		if f[5] == "root" {
			return principal{ofAccount, f[4]}, true
		}
	case "iam:user":
		return principal{ofUser, name}, named
	case "iam:role":
		return principal{ofRole, name}, named
	case "sts:assumed-role":
		role, session, _ := strings.Cut(rest, "/")
		return principal{ofSession, name}, role != "" && session != "" && !strings.Contains(session, "/")
	case "sts:federated-user":
		return principal{ofFederation, name}, named
	}
	return principal{}, false
}

// isAccount reports whether s is an account's id: 12 digits.
func isAccount(s string) bool {
	return len(s) == 12 && strings.Trim(s, "0123456789") == ""
}

// isUniqueID reports whether s is the unique id of a user or role.
func isUniqueID(s string) bool {
	if len(s) < 5 || len(s) > 128 || !strings.HasPrefix(s, "AIDA") && !strings.HasPrefix(s, "AROA") {
		return false
	}
	for _, c := range []byte(s) {
		if !('A' <= c && c <= 'Z' || '0' <= c && c <= '9') {
			return false
		}
	}
	return true
}

// isSessionID reports whether s is the unique id of a role with a session's
// name, as aws:userid has it.
func isSessionID(s string) bool {
	role, session, ok := strings.Cut(s, ":")
	if !ok || !strings.HasPrefix(role, "AROA") || !isUniqueID(role) || session == "" || len(session) > 64 {
		return false
	}
	for _, c := range []byte(session) {
		if !isAlphanumeric(c) && strings.IndexByte("_+=,.@-", c) < 0 {
			return false
		}
	}
	return true
}

// isService reports whether s can be the name of a service, such as
// "cloudtrail.amazonaws.com".
func isService(s string) bool {
	if len(s) > 255 || !strings.Contains(s, ".") || s[0] == '.' || s[len(s)-1] == '.' {
		return false
	}
	for _, c := range []byte(s) {
		if !isAlphanumeric(c) && c != '-' && c != '.' && c != '_' {
			return false
		}
	}
	return true
}

// principal compiles a statement's Principal or NotPrincipal element.
func (p *parser) principal(s *statement, n *node, m *member) {
	switch p.options.Type {
	case Identity, Session:
		if m != nil {
			p.fail(badPrincipal, m.start, "Policy document should not specify a principal.", "")
		}
		return
	case ServiceControl:
		if m != nil {
			p.fail(general, m.start, "", "Has prohibited field "+m.name)
		}
		return
	}
	s.named = true
	noPrincipal := "Missing required field Principal"
	if p.options.Type == KeyPolicy {
		noPrincipal = "Policy contains a statement with no principal."
	}
	if m == nil {
		p.fail(general, n.start, noPrincipal, "")
		return
	}
	if s.notPrincipal {
		if p.options.Type == ResourceControl {
			p.fail(general, m.start, "", "Has prohibited field NotPrincipal")
		} else if !s.deny && !p.options.Stored {
			p.fail(badPrincipal, m.start, "Allow with NotPrincipal is not allowed.", "")
		}
	}
	if m.value.kind == jsonString && m.value.text == "*" {
		p.name(s, "", &m.value)
		return
	}
	if m.value.kind != jsonObject {
		p.invalidPrincipal(m.value.start, "", m.value.text)
		return
	}
	for i := range m.value.members {
		kind := &m.value.members[i]
		switch kind.name {
		case "AWS", "Service", "Federated", "CanonicalUser":
		default:
			p.invalidPrincipal(kind.start, kind.name, "")
			return
		}
		p.strings(m.name, &kind.value, func(v *node) { p.name(s, kind.name, v) })
	}
	if len(s.principals) == 0 {
		if p.options.Type != KeyPolicy {
			noPrincipal += " cannot be empty!"
		}
		p.fail(general, m.start, noPrincipal, "")
	}
	if p.options.Type == ResourceControl {
		for _, q := range s.principals {
			if q.kind != anyone {
				p.fail(general, m.start, "", "Principal is not *")
				return
			}
		}
	}
}

// name compiles one name.
func (p *parser) name(s *statement, kind string, v *node) {
	p.policy.names = append(p.policy.names, Named{Kind: kind, Name: v.text, Offset: v.start, Not: s.notPrincipal})
	var q principal
	ok := true
	switch kind {
	case "":
		q.kind = anyone
	case "AWS":
		q, ok = compileAWS(v.text)
	case "Service":
		q, ok = principal{ofService, v.text}, isService(v.text)
	case "Federated":
		q, ok = principal{ofProvider, v.text}, v.text != "" && len(v.text) <= maxPrincipal
	default:
		ok = v.text != "" && len(v.text) <= maxPrincipal
	}
	if !ok {
		p.invalidPrincipal(v.start, kind, v.text)
	}
	s.principals = append(s.principals, q)
}

func (p *parser) invalidPrincipal(at int, kind, name string) {
	if p.options.Type == KeyPolicy {
		p.fail(badPrincipal, at, "Policy contains a statement with one or more invalid principals.", quoteName(kind, name))
		return
	}
	// IAM prints the kinds of principal in upper case.
	p.fail(badPrincipal, at, "Invalid principal in policy: "+quoteName(strings.ToUpper(kind), name), "")
}

// quoteName prints a principal as IAM does.
func quoteName(kind, name string) string {
	switch {
	case kind == "":
		return `"` + name + `"`
	case name == "":
		return `"` + kind + `"`
	}
	return `"` + kind + `":"` + name + `"`
}

// match returns the ways in which one name means a caller.
func (q *principal) match(p *Principal) Match {
	switch q.kind {
	case anyone:
		return ByAnyone
	case ofAccount:
		if p.Account == q.name {
			return ByAccount
		}
	case ofUser:
		switch q.name { // never empty
		case p.Issuer:
			return ByIssuer
		case p.ARN:
			return ByUser
		}
	case ofRole:
		if p.Role == q.name {
			return ByRole
		}
	case ofSession:
		if p.ARN == q.name {
			return BySession
		}
	case ofFederation:
		if p.ARN == q.name {
			return ByFederatedUser
		}
	case ofUniqueID:
		switch {
		case p.ID != q.name || q.name == "":
		case p.Role != "":
			return ByRole
		case p.Issuer != "":
			return ByIssuer
		default:
			return ByUser
		}
	case ofSessionID:
		// The session's name ends both.
		id, session, _ := strings.Cut(q.name, ":")
		if p.Role != "" && p.ID == id && len(p.ARN) > len(session) && strings.HasSuffix(p.ARN, session) && p.ARN[len(p.ARN)-len(session)-1] == '/' {
			return BySession
		}
	case ofService:
		for _, name := range p.Services {
			if name == q.name {
				return ByService
			}
		}
	case ofProvider:
		if p.Federated == q.name { // never empty
			return ByProvider
		}
	}
	return 0
}

// anonymous is a caller without a name.
var anonymous Principal

// names returns all the ways in which a caller can be named, other than "*".
func (p *Principal) names() Match {
	switch {
	case p.Services != nil:
		return ByService
	case p.Federated != "":
		return ByProvider
	case p.Account == "":
		return ByAnyone
	case p.Root:
		return ByAccount
	case p.Role != "":
		return ByAccount | ByRole | BySession
	case p.Issuer != "" && !strings.HasSuffix(p.Issuer, ":root"):
		return ByAccount | ByIssuer | ByFederatedUser
	case p.Issuer != "": // the root user, whose name is the account's
		return ByAccount | ByFederatedUser
	}
	return ByAccount | ByUser
}

// matchPrincipal returns the ways in which a statement names the caller; 0 if
// it does not. A NotPrincipal keeps its statement from a caller all of whose
// names it lists: each is matched for itself, and one that is missing is
// enough.
func (s *statement) matchPrincipal(p *Principal) Match {
	if !s.named {
		return ByAnyone
	}
	if p == nil {
		p = &anonymous
	}
	var by Match
	for i := range s.principals {
		by |= s.principals[i].match(p)
	}
	if !s.notPrincipal {
		return by
	}
	if names := p.names(); by&ByAnyone != 0 || by&names == names {
		return 0
	}
	return ByAnyone
}
