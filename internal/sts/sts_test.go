package sts_test

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/api/stsapi"
	"github.com/keyreeve/keyreeve/internal/authz"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/identity"
	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/internal/sts"
	"github.com/keyreeve/keyreeve/internal/wire"
	"github.com/keyreeve/keyreeve/policy"
)

const (
	ours    = "111122223333"
	theirs  = "444455556666"
	roleARN = "arn:aws:iam::111122223333:role/team/reader"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func parse(t *testing.T, kind policy.Type, text string) *policy.Policy {
	t.Helper()
	p, err := policy.Parse(text, policy.Options{Type: kind})
	if err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return p
}

// user is a user with an identity-based policy; none if the text is empty.
func user(t *testing.T, account, name, text string) *call.Principal {
	t.Helper()
	p := &call.Principal{
		Kind: call.User, Account: account, ARN: "arn:aws:iam::" + account + ":user/" + name, ID: "AIDA" + strings.ToUpper(name), Name: name,
		AccessKeyID: "AKIAIOSFODNN7EXAMPLE",
	}
	p.EntityARN, p.EntityID = p.ARN, p.ID
	p.Names = policy.Principal{Account: account, ARN: p.ARN, ID: p.ID}
	if text != "" {
		p.Policies.Identity = []call.Attached{{Name: "inline", Policy: parse(t, policy.Identity, text)}}
	}
	return p
}

// session is a session of the role other, of the account.
func session(t *testing.T, account, text string, s call.Session) *call.Principal {
	t.Helper()
	s.Name = "first"
	p := &call.Principal{
		Kind: call.RoleSession, Account: account, ARN: "arn:aws:sts::" + account + ":assumed-role/other/first", ID: "AROAOTHER:first",
		AccessKeyID: "ASIAIOSFODNN7EXAMPLE", EntityARN: "arn:aws:iam::" + account + ":role/other", EntityID: "AROAOTHER", Session: &s,
	}
	p.Names = policy.Principal{Account: account, ARN: p.ARN, Role: p.EntityARN, ID: p.EntityID}
	if text != "" {
		p.Policies.Identity = []call.Attached{{Name: "inline", Policy: parse(t, policy.Identity, text)}}
	}
	return p
}

func root(account string) *call.Principal {
	arn := "arn:aws:iam::" + account + ":root"
	return &call.Principal{
		Kind: call.Root, Account: account, ARN: arn, ID: account, EntityARN: arn, AccessKeyID: "AKIAIOSFODNN7EXAMPLE",
		Names: policy.Principal{Account: account, Root: true, ARN: arn},
	}
}

// directory has one role, and notes the sessions that were asked for.
type directory struct {
	role  identity.Role
	trust *policy.Policy
	err   error // of NewSession
	asked []identity.SessionParams
	made  secret.Bytes // the secret of the last session
}

func (d *directory) RoleByARN(_ context.Context, arn string) (identity.Role, *policy.Policy, error) {
	switch arn {
	case d.role.ARN:
		return d.role, d.trust, nil
	case "arn:aws:iam::111122223333:role/broken":
		return identity.Role{}, nil, errors.New("the store is on fire")
	}
	return identity.Role{}, nil, fmt.Errorf("role %s: %w", arn, identity.ErrNotFound)
}

func (d *directory) OIDCProvider(_ context.Context, arn string) (identity.OIDCProvider, error) {
	return identity.OIDCProvider{}, fmt.Errorf("provider %s: %w", arn, identity.ErrNotFound)
}

func (d *directory) NewSession(_ context.Context, p identity.SessionParams) (identity.Session, error) {
	d.asked = append(d.asked, p)
	if d.err != nil {
		return identity.Session{}, d.err
	}
	d.made = secret.New([]byte("the secret"))
	s := identity.Session{
		AccessKeyID: "ASIANEWSESSION000001", SecretAccessKey: d.made, Token: "the token", Expires: start.Add(p.Duration),
		SourceIdentity: p.SourceIdentity,
	}
	switch p.Kind {
	case identity.RoleSession:
		s.ARN, s.ID = "arn:aws:sts::"+p.Role.Account+":assumed-role/"+p.Role.Name+"/"+p.Name, p.Role.ID+":"+p.Name
	case identity.FederationSession:
		s.ARN, s.ID = "arn:aws:sts::"+p.Caller.Account+":federated-user/"+p.Name, p.Caller.Account+":"+p.Name
	}
	if p.Policy != "" {
		s.Packed = 7
	}
	return s, nil
}

func (d *directory) VerifyMFA(_ context.Context, caller *call.Principal, serial, code string) error {
	switch {
	case serial == "arn:aws:iam::111122223333:mfa/broken":
		return errors.New("the store is on fire")
	case serial == "arn:aws:iam::111122223333:mfa/tried":
		return identity.ErrTries
	case caller.Kind != call.User || serial != "arn:aws:iam::111122223333:mfa/phone":
		return identity.ErrNotFound
	case code != "123456":
		return identity.ErrCode
	}
	return nil
}

func (d *directory) AccountOfAccessKey(_ context.Context, id string) (string, error) {
	if id == "AKIAIOSFODNN7EXAMPLE" {
		return theirs, nil
	}
	return "", identity.ErrNotFound
}

func newDirectory(t *testing.T, trust string) *directory {
	return &directory{
		role: identity.Role{
			Account: ours, Name: "reader", Path: "/team/", ID: "AROAREADER", ARN: roleARN, MaxSession: 2 * time.Hour,
			Tags: []identity.Tag{{Name: "Team", Value: "red"}},
		},
		trust: parse(t, policy.Trust, trust),
	}
}

// allow is a trust policy of one statement that allows assuming, tagging and
// setting the source identity. more is further JSON of the statement.
func allow(principal, more string) string {
	return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"` + principal +
		`"},"Action":["sts:AssumeRole","sts:TagSession","sts:SetSourceIdentity"]` + more + `}]}`
}

// identityAllow is an identity-based policy that allows actions on resources.
func identityAllow(action, resource string) string {
	return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"` + action + `","Resource":"` + resource + `"}]}`
}

// answer is an answer of STS.
type answer struct {
	XMLName     xml.Name
	Credentials struct{ AccessKeyId, SecretAccessKey, SessionToken, Expiration string }
	Role        struct{ AssumedRoleId, Arn string }   `xml:"AssumedRoleUser"`
	User        struct{ FederatedUserId, Arn string } `xml:"FederatedUser"`
	Packed      *int                                  `xml:"PackedPolicySize"`
	Source      string                                `xml:"SourceIdentity"`
	UserID      string                                `xml:"UserId"`
	Account     string
	ARN         string `xml:"Arn"`
}

// invoke calls an operation with a form of names and values.
func invoke(t *testing.T, d *directory, caller *call.Principal, operation string, form ...string) (answer, *call.Call, error) {
	t.Helper()
	op := stsapi.Operations(sts.New(d, authz.New(nil), sts.Options{}))[operation]
	values := url.Values{"Action": {operation}, "Version": {stsapi.Version}}
	for i := 0; i < len(form); i += 2 {
		values.Set(form[i], form[i+1])
	}
	c := &call.Call{ID: "request-id", Time: start, Region: "eu-central-1", Service: "sts", Caller: caller, Operation: op}
	body, err := op.Invoke(t.Context(), c, []byte(values.Encode()), nil)
	if err != nil {
		if len(body) > 0 {
			t.Errorf("%s failed and answers %s", operation, body)
		}
		return answer{}, c, err
	}
	var outer struct {
		XMLName xml.Name
		Result  answer `xml:",any"`
		ID      string `xml:"ResponseMetadata>RequestId"`
	}
	if err := xml.Unmarshal(body, &outer); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	if outer.XMLName.Local != operation+"Response" || outer.XMLName.Space != stsapi.Namespace || outer.ID != "request-id" ||
		outer.Result.XMLName.Local != operation+"Result" {
		t.Errorf("answer is %s", body)
	}
	return outer.Result, c, nil
}

// text returns what an error is answered, without its namespace.
func text(err error) string {
	var denied *authz.Denied
	if errors.As(err, &denied) {
		return "AccessDenied: " + denied.Text
	}
	if err == nil {
		return ""
	}
	e := wire.AsError(err)
	return e.Code + ": " + e.Message
}

func assume(t *testing.T, d *directory, caller *call.Principal, form ...string) (answer, *call.Call, error) {
	t.Helper()
	return invoke(t, d, caller, "AssumeRole", append([]string{"RoleArn", roleARN, "RoleSessionName", "s1"}, form...)...)
}

func TestGetCallerIdentity(t *testing.T) {
	deny := `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"*","Resource":"*"}]}`
	for _, p := range []*call.Principal{user(t, ours, "alice", deny), session(t, theirs, deny, call.Session{}), root(ours)} {
		a, c, err := invoke(t, newDirectory(t, allow("*", "")), p, "GetCallerIdentity")
		if err != nil || a.UserID != p.ID || a.Account != p.Account || a.ARN != p.ARN {
			t.Errorf("%s: %+v, %v", p.ARN, a, err)
		}
		if got := string(c.Parameters.AppendAudit(nil)); got != "null" || c.Elements != nil {
			t.Errorf("recorded %s, %v", got, c.Elements)
		}
	}
}

func TestAssumeRole(t *testing.T) {
	d := newDirectory(t, allow("arn:aws:iam::111122223333:user/alice", ""))
	alice := user(t, ours, "alice", "")
	const limits = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"kms:*","Resource":"*"}]}`
	a, c, err := assume(t, d, alice,
		"DurationSeconds", "7200", "Policy", limits, "PolicyArns.member.1.arn", "arn:aws:iam::aws:policy/ReadOnlyAccess",
		"Tags.member.1.Key", "Team", "Tags.member.1.Value", "blue", "Tags.member.2.Key", "Empty", "Tags.member.2.Value", "",
		"TransitiveTagKeys.member.1", "team", "TransitiveTagKeys.member.2", "Team",
		"ExternalId", "ext-1", "SourceIdentity", "alice")
	if err != nil {
		t.Fatal(text(err))
	}
	if a.Credentials.AccessKeyId != "ASIANEWSESSION000001" || a.Credentials.SecretAccessKey != "the secret" || a.Credentials.SessionToken != "the token" ||
		a.Credentials.Expiration != "2026-03-01T14:00:00Z" || a.Role.AssumedRoleId != "AROAREADER:s1" ||
		a.Role.Arn != "arn:aws:sts::111122223333:assumed-role/reader/s1" || a.Packed == nil || *a.Packed != 7 || a.Source != "alice" {
		t.Errorf("answer is %+v", a)
	}
	want := identity.SessionParams{
		Kind: identity.RoleSession, Caller: alice, Role: &d.role, Name: "s1", Duration: 2 * time.Hour, Policy: limits,
		PolicyARNs: []string{"arn:aws:iam::aws:policy/ReadOnlyAccess"},
		Tags:       []identity.Tag{{Name: "Team", Value: "blue"}, {Name: "Empty"}}, Transitive: []string{"team"}, SourceIdentity: "alice",
	}
	if len(d.asked) != 1 || !reflect.DeepEqual(d.asked[0], want) {
		t.Errorf("asked for %+v, want %+v", d.asked, want)
	}
	if string(d.made.Reveal()) != strings.Repeat("\x00", len("the secret")) {
		t.Error("the session's secret was not wiped")
	}

	// What is recorded, after all was wiped.
	parameters := string(c.Parameters.AppendAudit(nil))
	for _, member := range []string{
		`"roleArn":"` + roleARN + `"`, `"roleSessionName":"s1"`, `"durationSeconds":7200`, `"policy":"{\"Version`,
		`"policyArns":[{"arn":"arn:aws:iam::aws:policy/ReadOnlyAccess"}]`, `"tags":[{"key":"Team","value":"blue"},{"key":"Empty","value":""}]`,
		`"transitiveTagKeys":["team","Team"]`, `"externalId":"ext-1"`, `"sourceIdentity":"alice"`,
	} {
		if !strings.Contains(parameters, member) {
			t.Errorf("requestParameters %s lack %s", parameters, member)
		}
	}
	elements := string(c.Elements.AppendAudit(nil))
	if want := `{"credentials":{"accessKeyId":"ASIANEWSESSION000001","sessionToken":"HIDDEN_DUE_TO_SECURITY_REASONS","expiration":"Mar 1, 2026, 2:00:00 PM"},` +
		`"assumedRoleUser":{"assumedRoleId":"AROAREADER:s1","arn":"arn:aws:sts::111122223333:assumed-role/reader/s1"},` +
		`"packedPolicySize":7,"sourceIdentity":"alice"}`; elements != want {
		t.Errorf("responseElements = %s, want %s", elements, want)
	}
	if len(c.Resources) != 1 || c.Resources[0] != (call.Resource{ARN: roleARN, Account: ours, Type: "AWS::IAM::Role"}) {
		t.Errorf("resources are %v", c.Resources)
	}

	// The least that can be said.
	a, _, err = assume(t, d, alice)
	if err != nil || a.Packed != nil || a.Source != "" || a.Credentials.Expiration != "2026-03-01T13:00:00Z" {
		t.Errorf("answer is %+v, %v", a, err)
	}
}

// TestAssumeRoleDecisions: who may assume a role is decided by its trust policy
// and what the caller has.
func TestAssumeRoleDecisions(t *testing.T) {
	const (
		no     = " is not authorized to perform: sts:AssumeRole on resource: " + roleARN
		trust  = " because no role trust policy allows the sts:AssumeRole action"
		own    = " because no identity-based policy allows the sts:AssumeRole action"
		alice  = "AccessDenied: User: arn:aws:iam::111122223333:user/alice"
		mallet = "AccessDenied: User: arn:aws:iam::444455556666:user/mallet"
	)
	may := identityAllow("sts:*", "*")
	assumeOnly := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:user/alice"},"Action":"sts:AssumeRole"}]}`
	tags := []string{"Tags.member.1.Key", "k", "Tags.member.1.Value", "v"}
	for _, c := range []struct {
		name   string
		trust  string
		caller *call.Principal
		form   []string
		want   string
	}{
		{"named", allow("arn:aws:iam::111122223333:user/alice", ""), user(t, ours, "alice", ""), nil, ""},
		{"not named", allow("arn:aws:iam::111122223333:user/bob", ""), user(t, ours, "alice", may), nil, alice + no + trust},
		{"the account, without a policy", allow(ours, ""), user(t, ours, "alice", ""), nil, alice + no + own},
		{"the account, with a policy", allow(ours, ""), user(t, ours, "alice", may), nil, ""},
		{"the account, with a policy for another role", allow(ours, ""), user(t, ours, "alice", identityAllow("sts:*", roleARN+"2")), nil, alice + no + own},
		{"another account, both sides", allow(theirs, ""), user(t, theirs, "mallet", may), nil, ""},
		{"another account, without a policy", allow("arn:aws:iam::444455556666:user/mallet", ""), user(t, theirs, "mallet", ""), nil, mallet + no + own},
		{"another account, not trusted", allow(ours, ""), user(t, theirs, "mallet", may), nil, mallet + no},
		{
			"denied by the trust policy",
			`{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*","Action":"sts:AssumeRole"}]}`, user(t, ours, "alice", may), nil,
			alice + no + " with an explicit deny in the role trust policy",
		},
		{"root", allow(ours, ""), root(ours), nil, "AccessDenied: Roles may not be assumed by root accounts."},
		{
			"external id", allow(theirs, `,"Condition":{"StringEquals":{"sts:ExternalId":"x-17"}}`), user(t, theirs, "mallet", may),
			[]string{"ExternalId", "x-17"},
			"",
		},
		{"no external id", allow(theirs, `,"Condition":{"StringEquals":{"sts:ExternalId":"x-17"}}`), user(t, theirs, "mallet", may), nil, mallet + no},
		{
			"session name", allow("arn:aws:iam::111122223333:user/alice", `,"Condition":{"StringLike":{"sts:RoleSessionName":"${aws:username}"}}`),
			user(t, ours, "alice", ""),
			[]string{"RoleSessionName", "alice"},
			"",
		},
		{
			"another session name", allow("arn:aws:iam::111122223333:user/alice", `,"Condition":{"StringLike":{"sts:RoleSessionName":"${aws:username}"}}`),
			user(t, ours, "alice", ""), nil, alice + no + trust,
		},
		{
			"tags that are asked for", allow("arn:aws:iam::111122223333:user/alice", `,"Condition":{"StringEquals":{"aws:RequestTag/K":"v"},"ForAllValues:StringEquals":{"aws:TagKeys":["k"],"sts:TransitiveTagKeys":["k"]}}`),
			user(t, ours, "alice", ""), append([]string{"TransitiveTagKeys.member.1", "k"}, tags...), "",
		},
		{
			"the role's tags", allow(ours, ""),
			user(t, ours, "alice", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"sts:AssumeRole","Resource":"*","Condition":{"StringEquals":{"aws:ResourceTag/team":"red","iam:ResourceTag/Team":"red"}}}]}`), nil, "",
		},
		{
			"tags without TagSession", assumeOnly, user(t, ours, "alice", ""), tags,
			alice + strings.Replace(no, "AssumeRole", "TagSession", 1) + strings.Replace(trust, "AssumeRole", "TagSession", 1),
		},
		{
			"a source identity without SetSourceIdentity", assumeOnly, user(t, ours, "alice", ""),
			[]string{"SourceIdentity", "alice"},
			alice + strings.Replace(no, "AssumeRole", "SetSourceIdentity", 1) + strings.Replace(trust, "AssumeRole", "SetSourceIdentity", 1),
		},
		{
			"a federated user", allow("arn:aws:sts::111122223333:federated-user/f", ""), &call.Principal{
				Kind: call.FederatedUser, Account: ours, ARN: "arn:aws:sts::111122223333:federated-user/f", ID: "111122223333:f", Session: &call.Session{},
				Policies: user(t, ours, "alice", may).Policies, Names: policy.Principal{Account: ours, ARN: "arn:aws:sts::111122223333:federated-user/f"},
			}, nil,
			"AccessDenied: User: arn:aws:sts::111122223333:federated-user/f" + no,
		},
	} {
		d := newDirectory(t, c.trust)
		_, k, err := assume(t, d, c.caller, c.form...)
		if got := text(err); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
		if (len(d.asked) > 0) != (c.want == "") {
			t.Errorf("%s: %d sessions were made", c.name, len(d.asked))
		}
		if c.want != "" && (len(k.Resources) > 0 || k.Elements != nil) {
			t.Errorf("%s: recorded %v, %v", c.name, k.Resources, k.Elements)
		}
	}
}

func TestAssumeRoleRefuses(t *testing.T) {
	d := newDirectory(t, allow("*", ""))
	caller := user(t, ours, "alice", identityAllow("*", "*"))
	chained := session(t, ours, identityAllow("*", "*"), call.Session{Transitive: []string{"Cost"}, SourceIdentity: "alice"})
	const value = "ValidationError: 1 validation error detected: Value "
	many := []string{}
	for i := range 11 {
		many = append(many, fmt.Sprintf("PolicyArns.member.%d.arn", i+1), "arn:aws:iam::aws:policy/ReadOnlyAccess")
	}
	tag := func(key, value string) []string {
		return []string{"Tags.member.1.Key", key, "Tags.member.1.Value", value}
	}
	for _, c := range []struct {
		name   string
		caller *call.Principal
		form   []string
		want   string
	}{
		{
			"a session name", caller,
			[]string{"RoleSessionName", "Session1:2"},
			value + `'Session1:2' at 'roleSessionName' failed to satisfy constraint: Member must satisfy regular expression pattern: [\w+=,.@-]*`,
		},
		{
			"a short session", caller,
			[]string{"DurationSeconds", "899"},
			value + "'899' at 'durationSeconds' failed to satisfy constraint: Member must have value greater than or equal to 900",
		},
		{"no ARN", caller, []string{"RoleArn", "reader-in-the-team-of-readers"}, "ValidationError: reader-in-the-team-of-readers is invalid"},
		{"a user", caller, []string{"RoleArn", "arn:aws:iam::111122223333:user/alice"}, "ValidationError: arn:aws:iam::111122223333:user/alice is invalid"},
		{"no name", caller, []string{"RoleArn", "arn:aws:iam::111122223333:role/team/"}, "ValidationError: arn:aws:iam::111122223333:role/team/ is invalid"},
		{
			"no such role", caller,
			[]string{"RoleArn", "arn:aws:iam::111122223333:role/nobody"},
			"AccessDenied: User: arn:aws:iam::111122223333:user/alice is not authorized to perform: sts:AssumeRole on resource: arn:aws:iam::111122223333:role/nobody",
		},
		{"the store fails", caller, []string{"RoleArn", "arn:aws:iam::111122223333:role/broken"}, "KMSInternalException: "},
		{"longer than the role's", caller, []string{"DurationSeconds", "7201"}, "ValidationError: The requested DurationSeconds exceeds the MaxSessionDuration set for this role."},
		{
			"longer than chaining", chained,
			[]string{"DurationSeconds", "3601"},
			"ValidationError: The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining.",
		},
		{
			"tags twice", caller, append(tag("A", "1"), "Tags.member.2.Key", "a", "Tags.member.2.Value", "2"),
			"InvalidParameterValue: Duplicate tag keys found. Please note that Tag keys are case insensitive.",
		},
		{"a reserved tag", caller, tag("AWS:x", "1"), "InvalidParameterValue: Tag keys beginning with aws: are reserved."},
		{"a tag that reads as reserved", caller, tag("aw\u017f:x", "1"), "InvalidParameterValue: Tag keys beginning with aws: are reserved."},
		{
			"a transitive key that is no tag", caller, append(tag("A", "1"), "TransitiveTagKeys.member.1", "B"),
			"InvalidParameterValue: The specified transitive tag key must be included in the requested tags.",
		},
		{
			"a transitive key of the session", chained, append(tag("cost", "1"), "TransitiveTagKeys.member.1", "cost"),
			"InvalidParameterValue: One of the specified transitive tag keys can't be set because it conflicts with a transitive tag key from the calling session.",
		},
		{"another source identity", chained, []string{"SourceIdentity", "bob"}, "AccessDenied: The source identity of the calling session can't be changed."},
		{"too many policies", caller, many, "ValidationError: The number of policies exceeds the limit of 10."},
		{"half of MFA", caller, []string{"TokenCode", "123456"}, "AccessDenied: MultiFactorAuthentication failed, must provide both MFA serial number and one time pass code."},
		{
			"MFA", caller,
			[]string{"TokenCode", "123456", "SerialNumber", "arn:aws:iam::111122223333:mfa/alice"},
			"AccessDenied: MultiFactorAuthentication failed, unable to validate MFA code.  Please verify your MFA serial number is valid and associated with this user.",
		},
		{"a list with a gap", caller, []string{"TransitiveTagKeys.member.1000000000", "B"}, "MalformedInput: The items of TransitiveTagKeys must be numbered from 1, without gaps."},
	} {
		if _, _, err := assume(t, d, c.caller, c.form...); text(err) != c.want {
			t.Errorf("%s: %q, want %q", c.name, text(err), c.want)
		}
	}
	if len(d.asked) > 0 {
		t.Errorf("%d sessions were made", len(d.asked))
	}
	for err, want := range map[error]string{
		&identity.Error{Kind: identity.ErrMalformed, Message: "This policy contains invalid Json"}: "MalformedPolicyDocument: This policy contains invalid Json",
		&identity.Error{Kind: identity.ErrPacked, Message: "too large"}:                            "PackedPolicyTooLarge: too large",
		&identity.Error{Kind: identity.ErrInvalid, Message: "no"}:                                  "InvalidParameterValue: no",
		&identity.Error{Kind: identity.ErrNotFound, Message: "gone"}:                               "InvalidParameterValue: gone",
		errors.New("the store is on fire"):                                                         "KMSInternalException: ",
	} {
		d.err = err
		if _, _, got := assume(t, d, caller); text(got) != want {
			t.Errorf("%v: %q, want %q", err, text(got), want)
		}
	}
}

// TestChaining: what lives on in a chained session must be allowed by the next
// role, too.
func TestChaining(t *testing.T) {
	const other = "arn:aws:iam::111122223333:role/other"
	plain := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"` + other + `"},"Action":"sts:AssumeRole"}]}`
	if _, _, err := assume(t, newDirectory(t, plain), session(t, ours, "", call.Session{})); err != nil {
		t.Errorf("nothing lives on: %s", text(err))
	}
	for action, s := range map[string]call.Session{"sts:TagSession": {Transitive: []string{"Cost"}}, "sts:SetSourceIdentity": {SourceIdentity: "alice"}} {
		_, _, err := assume(t, newDirectory(t, plain), session(t, ours, "", s))
		if !strings.Contains(text(err), "is not authorized to perform: "+action+" on resource: "+roleARN) {
			t.Errorf("%s: %s", action, text(err))
		}
		d := newDirectory(t, allow(other, ""))
		if _, _, err := assume(t, d, session(t, ours, "", s)); err != nil || d.asked[0].Duration != time.Hour {
			t.Errorf("%s: %s", action, text(err))
		}
	}
	// The trust policy sees which source identity lives on.
	d := newDirectory(t, `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"`+other+`"},"Action":["sts:AssumeRole"]},
		{"Effect":"Allow","Principal":{"AWS":"`+other+`"},"Action":"sts:SetSourceIdentity","Condition":{"StringEquals":{"sts:SourceIdentity":"alice","aws:SourceIdentity":"alice"}}}]}`)
	if _, _, err := assume(t, d, session(t, ours, "", call.Session{SourceIdentity: "alice"})); err != nil {
		t.Error(text(err))
	}
	if _, _, err := assume(t, d, session(t, ours, "", call.Session{SourceIdentity: "bob"})); err == nil {
		t.Error("another source identity lives on")
	}
}

func TestGetSessionToken(t *testing.T) {
	d := newDirectory(t, allow("*", ""))
	deny := `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"*","Resource":"*"}]}`
	alice := user(t, ours, "alice", deny)
	for _, c := range []struct {
		caller *call.Principal
		form   []string
		want   time.Duration
	}{
		{alice, nil, 12 * time.Hour},
		{alice, []string{"DurationSeconds", "129600"}, 36 * time.Hour},
		{root(ours), []string{"DurationSeconds", "129600"}, time.Hour},
		{root(ours), nil, time.Hour},
		{root(ours), []string{"DurationSeconds", "900"}, 15 * time.Minute},
	} {
		d.asked = nil
		a, k, err := invoke(t, d, c.caller, "GetSessionToken", c.form...)
		if err != nil || len(d.asked) != 1 || a.Credentials.SessionToken != "the token" {
			t.Fatalf("%s: %+v, %v", c.caller.ARN, a, err)
		}
		if want := (identity.SessionParams{Kind: identity.UserSession, Caller: c.caller, Duration: c.want}); !reflect.DeepEqual(d.asked[0], want) {
			t.Errorf("asked for %+v, want %+v", d.asked[0], want)
		}
		if got := string(k.Elements.AppendAudit(nil)); !strings.HasPrefix(got, `{"credentials":{"accessKeyId":"ASIANEWSESSION000001","sessionToken":"HIDDEN_DUE_TO_SECURITY_REASONS","expiration":`) ||
			strings.Contains(got, "token") {
			t.Errorf("responseElements = %s", got)
		}
	}
	temporary := user(t, ours, "alice", identityAllow("*", "*"))
	temporary.Session = &call.Session{}
	for _, p := range []*call.Principal{temporary, session(t, ours, identityAllow("*", "*"), call.Session{})} {
		for _, operation := range []string{"GetSessionToken", "GetFederationToken"} {
			_, _, err := invoke(t, d, p, operation, "Name", "bob")
			if want := "AccessDenied: Cannot call " + operation + " with session credentials"; text(err) != want {
				t.Errorf("%s: %q, want %q", p.ARN, text(err), want)
			}
		}
	}
	if _, _, err := invoke(t, d, alice, "GetSessionToken", "TokenCode", "123456", "SerialNumber", "GAHT12345678"); !strings.HasPrefix(text(err), "AccessDenied: MultiFactor") {
		t.Errorf("MFA: %s", text(err))
	}
}

func TestGetFederationToken(t *testing.T) {
	d := newDirectory(t, allow("*", ""))
	alice := user(t, ours, "alice", identityAllow("sts:GetFederationToken", "arn:aws:sts::111122223333:federated-user/bob"))
	a, k, err := invoke(t, d, alice, "GetFederationToken", "Name", "bob")
	if err != nil || a.User.Arn != "arn:aws:sts::111122223333:federated-user/bob" || a.User.FederatedUserId != ours+":bob" || a.Packed == nil || *a.Packed != 0 {
		t.Fatalf("%+v, %s", a, text(err))
	}
	if want := (identity.SessionParams{Kind: identity.FederationSession, Caller: alice, Name: "bob", Duration: 12 * time.Hour, PolicyARNs: []string{}}); !reflect.DeepEqual(d.asked[0], want) {
		t.Errorf("asked for %+v, want %+v", d.asked[0], want)
	}
	if got := string(k.Parameters.AppendAudit(nil)); got != `{"name":"bob"}` {
		t.Errorf("requestParameters = %s", got)
	}
	const no = "AccessDenied: User: arn:aws:iam::111122223333:user/alice is not authorized to perform: sts:"
	for _, c := range []struct {
		name string
		form []string
		want string
	}{
		{
			"another name",
			[]string{"Name", "carol"},
			no + "GetFederationToken on resource: arn:aws:sts::111122223333:federated-user/carol because no identity-based policy allows the sts:GetFederationToken action",
		},
		{
			"tags",
			[]string{"Name", "bob", "Tags.member.1.Key", "k", "Tags.member.1.Value", "v"},
			no + "TagSession on resource: arn:aws:sts::111122223333:federated-user/bob because no identity-based policy allows the sts:TagSession action",
		},
		{
			"a short name",
			[]string{"Name", "b"},
			"ValidationError: 1 validation error detected: Value 'b' at 'name' failed to satisfy constraint: Member must have length greater than or equal to 2",
		},
		{"a policy without an ARN", []string{"Name", "bob", "PolicyArns.member.1", ""}, "InvalidParameterValue: A session policy has no ARN."},
	} {
		if _, _, err := invoke(t, d, alice, "GetFederationToken", c.form...); text(err) != c.want {
			t.Errorf("%s: %q, want %q", c.name, text(err), c.want)
		}
	}
	if _, _, err := invoke(t, d, user(t, ours, "alice", identityAllow("sts:*", "*")), "GetFederationToken", "Name", "bob",
		"Tags.member.1.Key", "k", "Tags.member.1.Value", "v", "Policy", "{}"); err != nil {
		t.Errorf("with all that it takes: %s", text(err))
	}
}

func TestGetAccessKeyInfo(t *testing.T) {
	d := newDirectory(t, allow("*", ""))
	alice := user(t, ours, "alice", identityAllow("sts:GetAccessKeyInfo", "*"))
	if a, _, err := invoke(t, d, alice, "GetAccessKeyInfo", "AccessKeyId", "AKIAIOSFODNN7EXAMPLE"); err != nil || a.Account != theirs {
		t.Errorf("%+v, %s", a, text(err))
	}
	for _, c := range []struct {
		caller *call.Principal
		id     string
		want   string
	}{
		{alice, "AKIAIOSFODNN7EXAMPLF", "ValidationError: The specified access key ID is not valid."},
		{
			user(t, ours, "bob", identityAllow("kms:*", "*")), "AKIAIOSFODNN7EXAMPLE",
			"AccessDenied: User: arn:aws:iam::111122223333:user/bob is not authorized to perform: sts:GetAccessKeyInfo on resource: * " +
				"because no identity-based policy allows the sts:GetAccessKeyInfo action",
		},
	} {
		if _, _, err := invoke(t, d, c.caller, "GetAccessKeyInfo", "AccessKeyId", c.id); text(err) != c.want {
			t.Errorf("%s: %q, want %q", c.id, text(err), c.want)
		}
	}
}

func TestMayCallIAM(t *testing.T) {
	session := func(kind call.PrincipalKind, s *call.Session) *call.Principal {
		return &call.Principal{Kind: kind, Session: s}
	}
	for _, c := range []struct {
		caller *call.Principal
		may    bool
	}{
		{session(call.User, nil), true},
		{session(call.Root, nil), true},
		{session(call.User, &call.Session{}), false},
		{session(call.Root, &call.Session{}), false},
		{session(call.User, &call.Session{MFA: true}), true},
		{session(call.RoleSession, &call.Session{}), true},
		{session(call.FederatedUser, &call.Session{MFA: true}), false},
	} {
		err := sts.MayCallIAM(c.caller)
		if (err == nil) != c.may {
			t.Errorf("%+v: %v", c.caller, err)
		}
		if err != nil && text(err) != "InvalidClientTokenId: The security token included in the request is invalid." {
			t.Errorf("%+v: %v", c.caller, err)
		}
	}
}
