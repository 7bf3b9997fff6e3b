package index

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"math/bits"
	"strings"
	"time"
	"unicode/utf8"
)

// Attribute is something that events are found by. The names of the first eight
// are those of CloudTrail's LookupEvents.
type Attribute byte

// The attributes. Their numbers stand in runs.
const (
	EventID      Attribute = 1
	EventName    Attribute = 2
	ReadOnly     Attribute = 3 // "true" or "false"
	Username     Attribute = 4
	ResourceType Attribute = 5
	ResourceName Attribute = 6
	EventSource  Attribute = 7
	AccessKeyID  Attribute = 8
	Account      Attribute = 9 // recipientAccountId
	Region       Attribute = 10
	ErrorCode    Attribute = 11
	ResourceEnd  Attribute = 12 // of a resource's name: what follows its last slash or colon

	lastAttribute = ResourceEnd
)

var attributeNames = [...]string{
	EventID: "EventId", EventName: "EventName", ReadOnly: "ReadOnly", Username: "Username", ResourceType: "ResourceType",
	ResourceName: "ResourceName", EventSource: "EventSource", AccessKeyID: "AccessKeyId",
	Account: "Account", Region: "Region", ErrorCode: "ErrorCode", ResourceEnd: "ResourceEnd",
}

// String returns the attribute's name, such as "EventId".
func (a Attribute) String() string {
	if int(a) < len(attributeNames) && attributeNames[a] != "" {
		return attributeNames[a]
	}
	return unknownAttribute
}

const unknownAttribute = "unknown attribute"

// ParseAttribute undoes [Attribute.String].
func ParseAttribute(name string) (a Attribute, ok bool) {
	for i, n := range attributeNames {
		if n == name && n != "" {
			return Attribute(i), true
		}
	}
	return 0, false
}

// Attributes is what an event is found by, and shown with.
type Attributes struct {
	Time time.Time // of a whole second, in UTC; zero if there is none that can be understood

	EventID     string
	EventName   string
	EventSource string
	ReadOnly    string // "true", "false", or empty if the record does not say

	// Username is the name of a user, the session name of a role or federated
	// user, "root" of an account itself; empty for services.
	Username    string
	AccessKeyID string

	Account   string // whose event it is; empty if it is nobody's
	Region    string
	ErrorCode string

	Resources []Resource
}

// Resource is what an event is about.
type Resource struct{ Type, Name string }

// each yields the terms of an event. A term can come twice.
func (a *Attributes) each(yield func(Attribute, string)) {
	for _, t := range [...]struct {
		attribute Attribute
		value     string
	}{
		{EventID, a.EventID},
		{EventName, a.EventName},
		{ReadOnly, a.ReadOnly},
		{Username, a.Username},
		{EventSource, a.EventSource},
		{AccessKeyID, a.AccessKeyID},
		{Account, a.Account},
		{Region, a.Region},
		{ErrorCode, a.ErrorCode},
	} {
		if t.value != "" {
			yield(t.attribute, t.value)
		}
	}
	for _, r := range a.Resources {
		if r.Type != "" {
			yield(ResourceType, r.Type)
		}
		if r.Name != "" {
			yield(ResourceName, r.Name)
			if end := r.Name[strings.LastIndexAny(r.Name, "/:")+1:]; end != "" {
				yield(ResourceEnd, end)
			}
		}
	}
}

// maxTerms bounds how many terms each yields.
func maxTerms(a *Attributes) int { return 9 + 3*len(a.Resources) }

// Has reports whether an event has an attribute with this value.
func (a *Attributes) Has(attribute Attribute, value string) bool {
	found := false
	a.each(func(x Attribute, v string) { found = found || x == attribute && v == value })
	return found
}

// Scan reads the attributes of a record, which is a JSON object, into a, whose
// slice it uses again. It reports false for what is no object; of what it
// passes over it checks no more than where it ends.
//
// The resources are those that the record names, by their ARNs. Records of some
// services name none: theirs are in the request parameters (userName, roleArn,
// ...), as in CloudTrail's event history.
func Scan(record []byte, a *Attributes) bool {
	// What a holds of the record before is often what comes again.
	was := *a
	*a = Attributes{Resources: a.Resources[:0]}
	s := scanner{rest: record}
	var who identity
	var at, parameters []byte
	ok := s.object(func(name []byte) (ok bool) {
		switch string(name) {
		case "eventID":
			return s.text(&a.EventID, "")
		case "eventName":
			return s.text(&a.EventName, was.EventName)
		case "eventSource":
			return s.text(&a.EventSource, was.EventSource)
		case "awsRegion":
			return s.text(&a.Region, was.Region)
		case "recipientAccountId":
			return s.text(&a.Account, was.Account)
		case "errorCode":
			return s.text(&a.ErrorCode, was.ErrorCode)
		case "eventTime":
			at, ok = s.value()
			return ok
		case "readOnly":
			var value []byte
			value, ok = s.value()
			switch string(value) {
			case "true":
				a.ReadOnly = "true"
			case "false":
				a.ReadOnly = "false"
			default:
				a.ReadOnly = ""
			}
			return ok
		case "userIdentity":
			who = identity{}
			return s.objectOr(func(name []byte) bool { return who.member(&s, name) })
		case "resources":
			a.Resources = a.Resources[:0]
			return s.arrayOr(func() bool { return s.resource(a) })
		case "requestParameters":
			parameters, ok = s.value()
			return ok
		}
		_, ok = s.value()
		return ok
	})
	if !ok || len(s.space()) > 0 {
		return false
	}
	a.Time = parseTime(at)
	a.Username, a.AccessKeyID = who.username(was.Username), textOf(who.accessKeyID, was.AccessKeyID)
	if types := parameterTypes[a.EventSource]; types != nil && len(a.Resources) == 0 && len(parameters) > 0 && parameters[0] == '{' {
		p := scanner{rest: parameters}
		return p.object(func(name []byte) bool {
			kind := types[string(name)]
			if kind == "" {
				_, ok := p.value()
				return ok
			}
			var value string
			ok := p.text(&value, "")
			if value != "" {
				a.Resources = append(a.Resources, Resource{kind, value})
			}
			return ok
		})
	}
	return true
}

// parameterTypes are the types of the resources that are named by request
// parameters, of services whose records name them nowhere else.
var parameterTypes = map[string]map[string]string{
	"iam.amazonaws.com": {
		"userName": "AWS::IAM::User", "roleName": "AWS::IAM::Role", "groupName": "AWS::IAM::Group",
		"policyName": "AWS::IAM::Policy", "policyArn": "AWS::IAM::Policy", "accessKeyId": "AWS::IAM::AccessKey",
		"instanceProfileName": "AWS::IAM::InstanceProfile", "openIDConnectProviderArn": "AWS::IAM::OIDCProvider",
		"sAMLProviderArn": "AWS::IAM::SAMLProvider", "serialNumber": "AWS::IAM::MFADevice",
	},
	"sts.amazonaws.com": {"roleArn": "AWS::IAM::Role"},
	"cloudtrail.amazonaws.com": {
		"name": "AWS::CloudTrail::Trail", "trailName": "AWS::CloudTrail::Trail", "s3BucketName": "AWS::S3::Bucket",
	},
}

// identity is what Scan needs of a userIdentity, as it stands there.
type identity struct{ kind, principalID, userName, accessKeyID []byte }

func (i *identity) member(s *scanner, name []byte) bool {
	value, ok := s.value()
	switch string(name) {
	case "type":
		i.kind = value
	case "principalId":
		i.principalID = value
	case "userName":
		i.userName = value
	case "accessKeyId":
		i.accessKeyID = value
	}
	return ok
}

func (i *identity) username(was string) string {
	switch textOf(i.kind, "AssumedRole") {
	case "Root":
		return "root"
	case "AssumedRole", "FederatedUser":
		_, session, _ := strings.Cut(textOf(i.principalID, ""), ":")
		return session
	}
	return textOf(i.userName, was)
}

// parseTime parses a value such as "2026-11-21T20:50:00Z"; zero if it is none, or
// not one that a run can hold.
func parseTime(value []byte) time.Time {
	if len(value) < 2 || value[0] != '"' {
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339, string(value[1:len(value)-1]))
	if err != nil && bytes.IndexByte(value, '\\') >= 0 {
		t, err = time.Parse(time.RFC3339, unquote(value))
	}
	if err != nil || t.Unix() < 0 {
		return time.Time{}
	}
	return t.Truncate(time.Second).UTC()
}

// scanner reads JSON from the beginning of rest, and leaves there what follows.
// Its methods report false for what can't be JSON.
type scanner struct{ rest []byte }

// space passes over white space, and returns what follows.
func (s *scanner) space() []byte {
	// What this program writes has none.
	if len(s.rest) > 0 && s.rest[0] <= ' ' {
		s.rest = bytes.TrimLeft(s.rest, " \t\r\n")
	}
	return s.rest
}

// take passes over white space and then c.
func (s *scanner) take(c byte) bool {
	if rest := s.space(); len(rest) == 0 || rest[0] != c {
		return false
	}
	s.rest = s.rest[1:]
	return true
}

// object has member pass over the value of each member of an object.
func (s *scanner) object(member func(name []byte) bool) bool {
	if !s.take('{') {
		return false
	}
	if s.take('}') {
		return true
	}
	for {
		quoted, escaped, ok := s.quoted()
		if !ok {
			return false
		}
		name := quoted[1 : len(quoted)-1]
		if escaped {
			name = []byte(unquote(quoted))
		}
		if !s.take(':') || !member(name) {
			return false
		}
		if s.take('}') {
			return true
		}
		if !s.take(',') {
			return false
		}
	}
}

// objectOr is object, or passes over what is none.
func (s *scanner) objectOr(member func(name []byte) bool) bool {
	if rest := s.space(); len(rest) > 0 && rest[0] == '{' {
		return s.object(member)
	}
	_, ok := s.value()
	return ok
}

// arrayOr has element pass over each element of an array, or passes over what
// is none.
func (s *scanner) arrayOr(element func() bool) bool {
	if rest := s.space(); len(rest) == 0 || rest[0] != '[' {
		_, ok := s.value()
		return ok
	}
	s.take('[')
	if s.take(']') {
		return true
	}
	for {
		if !element() {
			return false
		}
		if s.take(']') {
			return true
		}
		if !s.take(',') {
			return false
		}
	}
}

// resource appends an element of a record's resources, if it has a name.
func (s *scanner) resource(a *Attributes) bool {
	var r, was Resource
	if n := len(a.Resources); n < cap(a.Resources) {
		was = a.Resources[:n+1][n] // of the record before
	}
	ok := s.objectOr(func(name []byte) bool {
		switch string(name) {
		case "type":
			return s.text(&r.Type, was.Type)
		case "ARN":
			return s.text(&r.Name, was.Name)
		}
		_, ok := s.value()
		return ok
	})
	if r.Name != "" {
		a.Resources = append(a.Resources, r)
	}
	return ok
}

// text passes over a value, which it puts into v if it is a string. It may be
// the one that is likely.
func (s *scanner) text(v *string, likely string) bool {
	if rest := s.space(); len(rest) == 0 || rest[0] != '"' {
		*v = ""
		_, ok := s.value()
		return ok
	}
	quoted, escaped, ok := s.quoted()
	if ok {
		*v = valueOf(quoted, escaped, likely)
	}
	return ok
}

// textOf returns what a value is as a string; empty if it is none. If that is
// likely, nothing is allocated.
func textOf(value []byte, likely string) string {
	if len(value) < 2 || value[0] != '"' {
		return ""
	}
	return valueOf(value, bytes.IndexByte(value, '\\') >= 0, likely)
}

// valueOf returns the value of a string, which has a backslash or not.
func valueOf(quoted []byte, escaped bool, likely string) string {
	switch inner := quoted[1 : len(quoted)-1]; {
	case escaped:
	case string(inner) == likely:
		return likely
	case utf8.Valid(inner):
		return string(inner)
	}
	return unquote(quoted)
}

// inWord reports whether a byte does not end a number or a word.
func inWord(c byte) bool {
	switch c {
	case ',', ']', '}', ':', ' ', '\t', '\r', '\n', '"', '{', '[':
		return false
	}
	return true
}

// unquote returns the value of a string; empty if it is not valid.
func unquote(quoted []byte) (v string) {
	if json.Unmarshal(quoted, &v) != nil {
		return ""
	}
	return v
}

// quoted passes over a string and returns it with its quotes, and whether there
// is a backslash in it.
func (s *scanner) quoted() (quoted []byte, escaped, ok bool) {
	rest := s.space()
	if len(rest) == 0 || rest[0] != '"' {
		return nil, false, false
	}
	end, escaped := stringEnd(rest)
	if end < 0 {
		return nil, false, false
	}
	s.rest = rest[end:]
	return rest[:end], escaped, true
}

// stringEnd returns the length of the string at the beginning of b, negative if
// it does not end; and whether there is a backslash in it. Most strings are
// short: so it is faster than with calls of [bytes.IndexByte].
func stringEnd(b []byte) (end int, escaped bool) {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	for i := 1; i < len(b); {
		if len(b)-i >= 8 {
			word := binary.LittleEndian.Uint64(b[i:])
			quote, slash := word^'"'*ones, word^'\\'*ones
			// The lowest bit that is set is that of the first byte that is 0 now.
			found := ((quote-ones)&^quote | (slash-ones)&^slash) & highs
			if found == 0 {
				i += 8
				continue
			}
			i += bits.TrailingZeros64(found) / 8
		}
		switch b[i] {
		case '"':
			return i + 1, escaped
		case '\\':
			escaped = true
			i += 2
		default:
			i++
		}
	}
	return -1, escaped
}

// value passes over a value and returns it.
func (s *scanner) value() ([]byte, bool) {
	rest := s.space()
	if len(rest) == 0 {
		return nil, false
	}
	switch rest[0] {
	case '"':
		quoted, _, ok := s.quoted()
		return quoted, ok
	case '{', '[':
	default: // a number or a word
		n := 0
		for n < len(rest) && inWord(rest[n]) {
			n++
		}
		s.rest = rest[n:]
		return rest[:n], n > 0
	}
	depth := 0
	for i := 0; i < len(rest); i++ {
		switch rest[i] {
		case '"':
			n, _ := stringEnd(rest[i:])
			if n < 0 {
				return nil, false
			}
			i += n - 1
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				s.rest = rest[i+1:]
				return rest[:i+1], true
			}
		}
	}
	return nil, false
}
