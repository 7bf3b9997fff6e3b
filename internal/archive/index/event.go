package index

import (
	"bytes"
	"encoding/json"
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
	a.Time = parseTime(textOf(at, ""))
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

// parseTime parses a time such as 2026-11-21T20:50:00Z; zero if it is none, or
// not one that a run can hold.
func parseTime(s string) time.Time {
	t, err := time.Parse(time.RFC3339, s)
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
	i := 0
	for i < len(s.rest) {
		switch s.rest[i] {
		case ' ', '\t', '\r', '\n':
			i++
			continue
		}
		break
	}
	s.rest = s.rest[i:]
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
		quoted, ok := s.quoted()
		if !ok {
			return false
		}
		name := quoted[1 : len(quoted)-1]
		if !simple(name) {
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
	value, ok := s.value()
	*v = textOf(value, likely)
	return ok
}

// textOf returns what a value is as a string; empty if it is none. If that is
// likely, nothing is allocated.
func textOf(value []byte, likely string) string {
	if len(value) < 2 || value[0] != '"' {
		return ""
	}
	switch inner := value[1 : len(value)-1]; {
	case string(inner) == likely && strings.IndexByte(likely, '\\') < 0:
		return likely
	case simple(inner):
		return string(inner)
	}
	return unquote(value)
}

// simple reports whether what stands between the quotes of a string is its
// value.
func simple(b []byte) bool { return bytes.IndexByte(b, '\\') < 0 && utf8.Valid(b) }

// unquote returns the value of a string; empty if it is not valid.
func unquote(quoted []byte) (v string) {
	if json.Unmarshal(quoted, &v) != nil {
		return ""
	}
	return v
}

// quoted passes over a string and returns it with its quotes.
func (s *scanner) quoted() ([]byte, bool) {
	rest := s.space()
	if len(rest) == 0 || rest[0] != '"' {
		return nil, false
	}
	end := stringEnd(rest)
	if end < 0 {
		return nil, false
	}
	s.rest = rest[end:]
	return rest[:end], true
}

// stringEnd returns the length of the string at the beginning of b; negative if
// it does not end.
func stringEnd(b []byte) int {
	for i := 1; ; {
		n := bytes.IndexByte(b[i:], '"')
		if n < 0 {
			return -1
		}
		end := i + n
		backslashes := 0
		for b[end-1-backslashes] == '\\' {
			backslashes++
		}
		if i = end + 1; backslashes%2 == 0 {
			return i
		}
	}
}

// value passes over a value and returns it.
func (s *scanner) value() ([]byte, bool) {
	rest := s.space()
	if len(rest) == 0 {
		return nil, false
	}
	switch rest[0] {
	case '"':
		return s.quoted()
	case '{', '[':
	default: // a number or a word
		n := 0
		for n < len(rest) && !strings.ContainsRune(",]}: \t\r\n\"{[", rune(rest[n])) {
			n++
		}
		s.rest = rest[n:]
		return rest[:n], n > 0
	}
	depth := 0
	for i := 0; i < len(rest); i++ {
		switch rest[i] {
		case '"':
			n := stringEnd(rest[i:])
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
