package iamapi_test

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

	"github.com/keyreeve/keyreeve/internal/api/iamapi"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/internal/wire"
)

var at = time.Date(2022, 8, 10, 22, 38, 27, 999, time.UTC)

// handler runs the operations that a test sets.
type handler struct {
	iamapi.Handler
	createUser      func(in *iamapi.CreateUserInput, out *iamapi.CreateUserOutput) error
	createAccessKey func(out *iamapi.CreateAccessKeyOutput) error
	createRole      func(out *iamapi.CreateRoleOutput)
	getRolePolicy   func(out *iamapi.GetRolePolicyOutput)
	listUsers       func(out *iamapi.ListUsersOutput)
	summary         func(out *iamapi.GetAccountSummaryOutput)
}

func (h handler) CreateUser(_ context.Context, _ *call.Call, in *iamapi.CreateUserInput, out *iamapi.CreateUserOutput) error {
	return h.createUser(in, out)
}

func (h handler) CreateAccessKey(_ context.Context, _ *call.Call, _ *iamapi.CreateAccessKeyInput, out *iamapi.CreateAccessKeyOutput) error {
	return h.createAccessKey(out)
}

func (h handler) CreateRole(_ context.Context, _ *call.Call, _ *iamapi.CreateRoleInput, out *iamapi.CreateRoleOutput) error {
	h.createRole(out)
	return nil
}

func (h handler) GetRolePolicy(_ context.Context, _ *call.Call, _ *iamapi.GetRolePolicyInput, out *iamapi.GetRolePolicyOutput) error {
	h.getRolePolicy(out)
	return nil
}

func (h handler) ListUsers(_ context.Context, _ *call.Call, _ *iamapi.ListUsersInput, out *iamapi.ListUsersOutput) error {
	h.listUsers(out)
	return nil
}

func (h handler) GetAccountSummary(_ context.Context, _ *call.Call, _ *iamapi.GetAccountSummaryInput, out *iamapi.GetAccountSummaryOutput) error {
	h.summary(out)
	return nil
}

func (h handler) DeleteUser(context.Context, *call.Call, *iamapi.DeleteUserInput, *iamapi.DeleteUserOutput) error {
	return nil
}

func (h handler) UpdateRole(context.Context, *call.Call, *iamapi.UpdateRoleInput, *iamapi.UpdateRoleOutput) error {
	return nil
}

func form(pairs ...string) []byte {
	values := url.Values{"Version": {iamapi.Version}}
	for i := 0; i < len(pairs); i += 2 {
		values.Set(pairs[i], pairs[i+1])
	}
	return []byte(values.Encode())
}

func TestInvoke(t *testing.T) {
	const trust = `{"Statement": "a/b*é"}`
	key := []byte("the secret key")
	count := int32(3)
	ops := iamapi.Operations(handler{
		createUser: func(in *iamapi.CreateUserInput, out *iamapi.CreateUserOutput) error {
			out.User = &iamapi.User{
				Path: in.Path, UserName: in.UserName, UserID: "AIDAEXAMPLEEXAMPLE00", ARN: "arn:aws:iam::111122223333:user/" + in.UserName,
				CreateDate: at, Tags: in.Tags, PermissionsBoundary: &iamapi.AttachedPermissionsBoundary{
					PermissionsBoundaryType: iamapi.PermissionsBoundaryAttachmentTypePermissionsBoundaryPolicy, PermissionsBoundaryARN: in.PermissionsBoundary,
				},
			}
			return nil
		},
		createAccessKey: func(out *iamapi.CreateAccessKeyOutput) error {
			out.AccessKey = &iamapi.AccessKey{
				UserName: "a<b", AccessKeyID: "AKIAEXAMPLEEXAMPLE00", Status: iamapi.StatusTypeActive, SecretAccessKey: secret.New(key), CreateDate: at,
			}
			return nil
		},
		createRole: func(out *iamapi.CreateRoleOutput) {
			out.Role = &iamapi.Role{Path: "/", RoleName: "r", RoleID: "AROAEXAMPLEEXAMPLE00", ARN: "arn", CreateDate: at, AssumeRolePolicyDocument: trust, MaxSessionDuration: &count}
		},
		getRolePolicy: func(out *iamapi.GetRolePolicyOutput) {
			*out = iamapi.GetRolePolicyOutput{RoleName: "r", PolicyName: "p", PolicyDocument: trust}
		},
		listUsers: func(out *iamapi.ListUsersOutput) { out.IsTruncated, out.Marker = true, "m" },
		summary:   func(out *iamapi.GetAccountSummaryOutput) { out.SummaryMap = []wire.Entry{{Name: "Users", Value: 2}} },
	})
	const escaped = "%7B%22Statement%22%3A%20%22a%2Fb%2A%C3%A9%22%7D"
	const shown = `"createDate":"Aug 10, 2022, 10:38:27 PM"`
	for _, c := range []struct {
		op                  string
		form                []byte
		result              string // between the answer's start and end
		parameters, element string
	}{
		{
			"CreateUser",
			form("UserName", "Bob", "Path", "/a/", "PermissionsBoundary", "arn:aws:iam::aws:policy/X", "Tags.member.1.Key", "k", "Tags.member.1.Value", ""),
			`<CreateUserResult><User><Path>/a/</Path><UserName>Bob</UserName><UserId>AIDAEXAMPLEEXAMPLE00</UserId><Arn>arn:aws:iam::111122223333:user/Bob</Arn>` +
				`<CreateDate>2022-08-10T22:38:27Z</CreateDate><PermissionsBoundary><PermissionsBoundaryType>PermissionsBoundaryPolicy</PermissionsBoundaryType>` +
				`<PermissionsBoundaryArn>arn:aws:iam::aws:policy/X</PermissionsBoundaryArn></PermissionsBoundary>` +
				`<Tags><member><Key>k</Key><Value></Value></member></Tags></User></CreateUserResult>`,
			`{"path":"/a/","userName":"Bob","permissionsBoundary":"arn:aws:iam::aws:policy/X","tags":[{"key":"k","value":""}]}`,
			`{"user":{"path":"/a/","userName":"Bob","userId":"AIDAEXAMPLEEXAMPLE00","arn":"arn:aws:iam::111122223333:user/Bob",` + shown +
				`,"permissionsBoundary":{"permissionsBoundaryType":"PermissionsBoundaryPolicy","permissionsBoundaryArn":"arn:aws:iam::aws:policy/X"},` +
				`"tags":[{"key":"k","value":""}]}}`,
		},
		{
			"CreateAccessKey", form(),
			`<CreateAccessKeyResult><AccessKey><UserName>a&lt;b</UserName><AccessKeyId>AKIAEXAMPLEEXAMPLE00</AccessKeyId><Status>Active</Status>` +
				`<SecretAccessKey>the secret key</SecretAccessKey><CreateDate>2022-08-10T22:38:27Z</CreateDate></AccessKey></CreateAccessKeyResult>`,
			`null`,
			`{"accessKey":{"userName":"a<b","accessKeyId":"AKIAEXAMPLEEXAMPLE00","status":"Active",` + shown + `}}`,
		},
		{
			"CreateRole", form("RoleName", "r", "AssumeRolePolicyDocument", trust),
			`<CreateRoleResult><Role><Path>/</Path><RoleName>r</RoleName><RoleId>AROAEXAMPLEEXAMPLE00</RoleId><Arn>arn</Arn><CreateDate>2022-08-10T22:38:27Z</CreateDate>` +
				`<AssumeRolePolicyDocument>` + escaped + `</AssumeRolePolicyDocument><MaxSessionDuration>3</MaxSessionDuration></Role></CreateRoleResult>`,
			`{"roleName":"r","assumeRolePolicyDocument":"{\"Statement\": \"a/b*é\"}"}`,
			`{"role":{"path":"/","roleName":"r","roleId":"AROAEXAMPLEEXAMPLE00","arn":"arn",` + shown + `,"assumeRolePolicyDocument":"` + escaped + `","maxSessionDuration":3}}`,
		},
		{
			"GetRolePolicy", form("RoleName", "r", "PolicyName", "p"),
			`<GetRolePolicyResult><RoleName>r</RoleName><PolicyName>p</PolicyName><PolicyDocument>` + escaped + `</PolicyDocument></GetRolePolicyResult>`,
			`{"roleName":"r","policyName":"p"}`, ``,
		},
		{
			"ListUsers", form(), `<ListUsersResult><Users></Users><IsTruncated>true</IsTruncated><Marker>m</Marker></ListUsersResult>`, `null`, ``,
		},
		{
			"GetAccountSummary", form(),
			`<GetAccountSummaryResult><SummaryMap><entry><key>Users</key><value>2</value></entry></SummaryMap></GetAccountSummaryResult>`, `null`, ``,
		},
		{"DeleteUser", form("UserName", "Bob"), ``, `{"userName":"Bob"}`, ``},
		{"UpdateRole", form("RoleName", "r"), `<UpdateRoleResult></UpdateRoleResult>`, `{"roleName":"r"}`, ``},
	} {
		k := call.Call{ID: "id"}
		b, err := ops[c.op].Invoke(t.Context(), &k, c.form, nil)
		if err != nil {
			t.Errorf("%s: %v", c.op, err)
			continue
		}
		want := `<` + c.op + `Response xmlns="https://iam.amazonaws.com/doc/2010-05-08/">` + c.result +
			`<ResponseMetadata><RequestId>id</RequestId></ResponseMetadata></` + c.op + `Response>`
		if string(b) != want {
			t.Errorf("%s answers\n%s, want\n%s", c.op, b, want)
		}
		if got := string(k.Parameters.AppendAudit(nil)); got != c.parameters {
			t.Errorf("%s: requestParameters = %s, want %s", c.op, got, c.parameters)
		}
		var elements string
		if k.Elements != nil {
			elements = string(k.Elements.AppendAudit(nil))
		}
		if elements != c.element {
			t.Errorf("%s: responseElements = %s, want %s", c.op, elements, c.element)
		}
	}
	if string(key) != string(make([]byte, len(key))) {
		t.Errorf("the secret was not wiped: %q", key)
	}
}

func TestInvokeFails(t *testing.T) {
	boom := errors.New("boom")
	key := []byte("the secret key")
	ops := iamapi.Operations(handler{
		createUser: func(*iamapi.CreateUserInput, *iamapi.CreateUserOutput) error { return boom },
		createAccessKey: func(out *iamapi.CreateAccessKeyOutput) error {
			out.AccessKey = &iamapi.AccessKey{SecretAccessKey: secret.New(key)}
			return boom
		},
	})
	for _, c := range []struct {
		op, code string
		form     []byte
		decoded  bool
	}{
		{"CreateUser", "MalformedQueryString", []byte("UserName=%"), false},
		{"CreateUser", "MalformedInput", form("Tags", "x"), false},
		{"CreateUser", "ValidationError", form(), true},
		{"CreateUser", "", form("UserName", "Bob"), true},
		{"CreateAccessKey", "", form(), true},
	} {
		var k call.Call
		b, err := ops[c.op].Invoke(t.Context(), &k, c.form, []byte("before"))
		if string(b) != "before" || (k.Parameters != nil) != c.decoded || k.Elements != nil || err == nil {
			t.Errorf("%s %s: %q, %v", c.op, c.form, b, err)
		}
		if c.code == "" && !errors.Is(err, boom) || c.code != "" && wire.AsError(err).Code != c.code {
			t.Errorf("%s %s: %v, want %s", c.op, c.form, err, c.code)
		}
	}
	if string(key) != string(make([]byte, len(key))) {
		t.Errorf("the secret was not wiped: %q", key)
	}
}

// TestValidationTexts holds the messages to the letter; clients match on them.
func TestValidationTexts(t *testing.T) {
	const (
		one   = "1 validation error detected: "
		fails = " failed to satisfy constraint: "
		word  = " is invalid. It must contain only alphanumeric characters and/or the following: +=,.@_-"
	)
	var tags []string
	for i := range 51 {
		tags = append(tags, fmt.Sprintf("Tags.member.%d.Key", i+1), fmt.Sprint(i), fmt.Sprintf("Tags.member.%d.Value", i+1), "")
	}
	for _, c := range []struct {
		op   string
		form []byte
		want string
	}{
		{"CreateUser", form("UserName", "Bob"), ""},
		{"CreateUser", form(), one + "Value at 'userName'" + fails + "Member must not be null"},
		{"CreateUser", form("UserName", ""), one + "Value at 'userName'" + fails + "Member must have length greater than or equal to 1"},
		{
			"CreateUser", form("UserName", strings.Repeat("u", 65)),
			one + "Value at 'userName'" + fails + "Member must have length less than or equal to 64",
		},
		{"CreateUser", form("UserName", "a b"), "The specified value for userName" + word},
		{"GetUser", form("UserName", "a/b"), "The specified value for userName" + word},
		{"CreateGroup", form("GroupName", "é"), "The specified value for groupName" + word},
		{"CreateRole", form("RoleName", "a:b", "AssumeRolePolicyDocument", "{}"), "The specified value for roleName" + word},
		{
			"CreateUser", form("UserName", "a b", "Path", strings.Repeat("/", 513)),
			one + "Value at 'path'" + fails + "Member must have length less than or equal to 512",
		},
		{
			"CreateUser", form("UserName", "Bob", "Path", "a"),
			"The specified value for path is invalid. It must begin and end with / and contain only alphanumeric characters and/or / characters.",
		},
		{"CreateUser", form("UserName", "Bob", "Path", "/"), ""},
		{"CreateUser", form("UserName", "Bob", "Path", "/a~/b/"), ""},
		{
			"CreateUser", form(append(tags, "UserName", "Bob")...),
			one + "Value at 'tags'" + fails + "Member must have length less than or equal to 50",
		},
		{
			"TagUser", form("UserName", "Bob", "Tags.member.1.Key", "k", "Tags.member.2.Key", "", "Tags.member.2.Value", "v"),
			"3 validation errors detected: Value at 'tags.1.member.value'" + fails + "Member must not be null; " +
				"Value at 'tags.2.member.key'" + fails + "Member must have length greater than or equal to 1; " +
				"Value at 'tags.2.member.key'" + fails + `Member must satisfy regular expression pattern: [\p{L}\p{Z}\p{N}_.:/=+\-@]+`,
		},
		{
			"TagUser", form("UserName", "Bob", "Tags.member.1.Key", "k!", "Tags.member.1.Value", ""),
			one + `Value at 'tags.1.member.key'` + fails + `Member must satisfy regular expression pattern: [\p{L}\p{Z}\p{N}_.:/=+\-@]+`,
		},
		{"TagUser", form("UserName", "Bob"), one + "Value at 'tags'" + fails + "Member must not be null"},
		{"TagUser", form("UserName", "Bob", "Tags", ""), ""},
		{
			"UpdateAccessKey", form("AccessKeyId", "AKIAEXAMPLEEXAMPLE00", "Status", "Gone"),
			one + "Value at 'status'" + fails + "Member must satisfy enum value set: [Active, Inactive]",
		},
		{"ListUsers", form("MaxItems", "0"), one + "Value at 'maxItems'" + fails + "Member must have value greater than or equal to 1"},
		{
			"AttachUserPolicy", form("UserName", "Bob", "PolicyArn", "short"),
			one + "Value at 'policyArn'" + fails + "Member must have length greater than or equal to 20",
		},
		{
			"UntagUser", form("UserName", "Bob", "TagKeys.member.1", "a", "TagKeys.member.2", strings.Repeat("k", 129)),
			one + "Value at 'tagKeys'" + fails +
				"Member must satisfy constraint: [Member must have length less than or equal to 128, Member must have length greater than or equal to 1, " +
				`Member must satisfy regular expression pattern: [\p{L}\p{Z}\p{N}_.:/=+\-@]+]`,
		},
		{"UpdateRole", form("RoleName", "r", "Description", "", "MaxSessionDuration", "3599"), one + "Value at 'maxSessionDuration'" + fails + "Member must have value greater than or equal to 3600"},
		{"CreatePolicyVersion", form("PolicyArn", "arn:aws:iam::111122223333:policy/p", "PolicyDocument", "{\"a\":\"\u2028\"}"), one + "Value at 'policyDocument'" + fails + `Member must satisfy regular expression pattern: [\u0009\u000A\u000D\u0020-\u00FF]+`},
	} {
		in := input(t, c.op)
		q := wire.NewQuery(c.form)
		if err := in.DecodeQuery(&q); err != nil {
			t.Errorf("%s %.80s: %v", c.op, c.form, err)
			continue
		}
		var got string
		if err := in.Validate(); err != nil {
			e := wire.AsError(err)
			if got = e.Message; e.Code != "ValidationError" || e.Status != 400 {
				t.Errorf("%s: %+v", c.op, e)
			}
		}
		if got != c.want {
			t.Errorf("%s %.80s: %q, want %q", c.op, c.form, got, c.want)
		}
	}
}

func input(t *testing.T, op string) iamapi.Input {
	t.Helper()
	for _, m := range iamapi.Messages() {
		if m.Name == op {
			return m.Input()
		}
	}
	t.Fatalf("no operation %s", op)
	return nil
}

// TestHasDescription: an empty description is one.
func TestHasDescription(t *testing.T) {
	for body, want := range map[string]bool{"RoleName=r": false, "RoleName=r&Description=": true, "RoleName=r&Description=d": true} {
		var in iamapi.UpdateRoleInput
		q := wire.NewQuery([]byte(body))
		if err := in.DecodeQuery(&q); err != nil || in.HasDescription() != want {
			t.Errorf("%s: %t, %v", body, in.HasDescription(), err)
		}
	}
}

func TestOperations(t *testing.T) {
	ops := iamapi.Operations(handler{})
	if len(ops) < 78 || len(iamapi.Messages()) != len(ops) {
		t.Errorf("%d operations and %d messages, want 99 or more", len(ops), len(iamapi.Messages()))
	}
	for name, op := range ops {
		readOnly := false
		for _, prefix := range []string{"Generate", "Get", "List", "Simulate"} {
			readOnly = readOnly || strings.HasPrefix(name, prefix)
		}
		if op.Name != name || op.Service != "iam" || op.EventSource != "iam.amazonaws.com" || op.ReadOnly != readOnly || iamapi.ReadOnly(name) != readOnly {
			t.Errorf("%s: %+v", name, op)
		}
	}
	for name, want := range map[string]bool{"SimulatePrincipalPolicy": true, "ListMFADevices": true, "DeactivateMFADevice": false, "GetNothing": false, "": false} {
		if iamapi.ReadOnly(name) != want {
			t.Errorf("ReadOnly(%q) = %t", name, !want)
		}
	}
}

// TestOutputsAreXML fills every output with text that needs care, and reads it.
func TestOutputsAreXML(t *testing.T) {
	for _, op := range iamapi.Messages() {
		out := op.Output()
		fill(reflect.ValueOf(out).Elem(), 0)
		b := wire.AppendXMLEnd(out.AppendXML(wire.AppendXMLStart(nil, op.Name, iamapi.Namespace, true)), op.Name, "id", true)
		if err := xml.Unmarshal(b, new(struct{ XMLName xml.Name })); err != nil {
			t.Errorf("%s: %v in %s", op.Name, err, b)
		}
		if audit := out.AppendAudit(nil); strings.Contains(string(audit), "hush") {
			t.Errorf("%s: the record shows a secret: %s", op.Name, audit)
		}
	}
}

// fill sets every member to something.
func fill(v reflect.Value, depth int) {
	if !v.CanSet() || depth > 8 {
		return
	}
	if v.Type() == reflect.TypeFor[secret.Bytes]() {
		v.Set(reflect.ValueOf(secret.New([]byte("hush"))))
		return
	}
	if v.Type() == reflect.TypeFor[time.Time]() {
		v.Set(reflect.ValueOf(at))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString("<&>\"'")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int32:
		v.SetInt(7)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), depth+1)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fill(v.Index(0), depth+1)
		fill(v.Index(1), depth+1)
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i), depth+1)
		}
	}
}
