package iam_test

import (
	"strings"
	"testing"
)

// TestResources holds on which ARNs and condition keys operations are decided:
// each policy is carol's only one, and allows what is marked with + and nothing
// of what is marked with -.
func TestResources(t *testing.T) {
	t.Parallel()
	const (
		boundary = "arn:aws:iam::111122223333:policy/Edge"
		other    = "arn:aws:iam::111122223333:policy/Other"
		boundedU = `{"UserName": "bounded"`
		freeU    = `{"UserName": "free"`
	)
	allow := func(action, resource, condition string) string {
		if condition != "" {
			condition = `,"Condition":` + condition
		}
		return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":` + action + `,"Resource":"` + resource + `"` + condition + `}]}`
	}
	trust := quote(trustOurs)
	for _, tt := range []struct {
		name, policy string
		calls        []string
	}{
		{
			"the path counts", allow(`"iam:*"`, "arn:aws:iam::111122223333:user/p/*", ""),
			[]string{
				`+GetUser {"UserName": "bounded"}`, `-GetUser {"UserName": "free"}`, `-GetUser {"UserName": "missing"}`,
				`+CreateUser {"UserName": "new", "Path": "/p/"}`, `-CreateUser {"UserName": "newer"}`, `-CreateUser {"UserName": "newer", "Path": "/q/"}`,
				`+ListAccessKeys {"UserName": "bounded"}`, `-ListAccessKeys {"UserName": "free"}`, `-ListAccessKeys`,
				`-ListUsers`, `-ListUsers {"PathPrefix": "/p/"}`,
				`-CreateGroup {"GroupName": "new", "Path": "/p/"}`,
			},
		},
		{
			"both of two names", allow(`"iam:UpdateUser"`, "arn:aws:iam::111122223333:user/p/*", ""),
			[]string{
				`-UpdateUser {"UserName": "bounded", "NewPath": "/"}`, `-UpdateUser {"UserName": "free", "NewPath": "/p/"}`,
				`+UpdateUser {"UserName": "bounded", "NewUserName": "bound"}`, `+UpdateUser {"UserName": "bound", "NewUserName": "bounded"}`,
			},
		},
		{
			"the caller's own", allow(`"iam:*"`, "arn:aws:iam::111122223333:user/${aws:username}", ""),
			[]string{
				`+GetUser`, `+GetUser {"UserName": "carol"}`, `-GetUser {"UserName": "free"}`, `+ListAccessKeys`, `+CreateAccessKey`,
				`-CreateAccessKey {"UserName": "free"}`,
			},
		},
		{
			"no one resource", allow(`["iam:ListUsers","iam:ListPolicies","iam:GetAccountSummary"]`, "*", ""),
			[]string{`+ListUsers`, `+ListPolicies`, `+GetAccountSummary`, `-ListRoles`, `-GetUser`},
		},
		{
			"only with that boundary", allow(`"iam:*"`, "*", `{"StringEquals":{"iam:PermissionsBoundary":"`+boundary+`"}}`),
			[]string{
				`-CreateUser {"UserName": "new"}`, `-CreateUser {"UserName": "new", "PermissionsBoundary": "` + other + `"}`,
				`+CreateUser {"UserName": "new", "PermissionsBoundary": "` + boundary + `"}`,
				`+AttachUserPolicy ` + boundedU + `, "PolicyArn": "` + other + `"}`, `-AttachUserPolicy ` + freeU + `, "PolicyArn": "` + other + `"}`,
				`+DetachUserPolicy ` + boundedU + `, "PolicyArn": "` + other + `"}`,
				`+PutUserPolicy ` + boundedU + `, "PolicyName": "p", "PolicyDocument": ` + quote(allowAll) + `}`,
				`-PutUserPolicy ` + freeU + `, "PolicyName": "p", "PolicyDocument": ` + quote(allowAll) + `}`,
				`+DeleteUserPolicy ` + boundedU + `, "PolicyName": "p"}`,
				`-PutUserPermissionsBoundary ` + freeU + `, "PermissionsBoundary": "` + other + `"}`,
				`-PutUserPermissionsBoundary ` + boundedU + `, "PermissionsBoundary": "` + other + `"}`,
				`+PutUserPermissionsBoundary ` + freeU + `, "PermissionsBoundary": "` + boundary + `"}`,
				`+DeleteUserPermissionsBoundary ` + freeU + `}`, `-DeleteUserPermissionsBoundary ` + freeU + `}`,
				`+CreateRole {"RoleName": "New", "AssumeRolePolicyDocument": ` + trust + `, "PermissionsBoundary": "` + boundary + `"}`,
				`-CreateRole {"RoleName": "Newer", "AssumeRolePolicyDocument": ` + trust + `}`,
				`+UpdateAssumeRolePolicy {"RoleName": "New", "PolicyDocument": ` + trust + `}`,
				`+GetRole {"RoleName": "New"}`, `-GetRole {"RoleName": "Reader"}`,
				`-GetUser {"UserName": "bounded"}`, // this action has no such key
				`+DeleteRole {"RoleName": "New"}`, `-DeleteRole {"RoleName": "Reader"}`,
			},
		},
		{
			"only that policy", allow(`["iam:Attach*","iam:Detach*"]`, "*", `{"ArnEquals":{"iam:PolicyARN":"arn:aws:iam::aws:policy/Read*"}}`),
			[]string{
				`+AttachUserPolicy {"UserName": "free", "PolicyArn": "arn:aws:iam::aws:policy/ReadOnlyAccess"}`,
				`-AttachUserPolicy {"UserName": "free", "PolicyArn": "arn:aws:iam::aws:policy/AdministratorAccess"}`,
				`+AttachGroupPolicy {"GroupName": "staff", "PolicyArn": "arn:aws:iam::aws:policy/ReadOnlyAccess"}`,
				`-AttachGroupPolicy {"GroupName": "staff", "PolicyArn": "` + other + `"}`,
				`+AttachRolePolicy {"RoleName": "Reader", "PolicyArn": "arn:aws:iam::aws:policy/ReadOnlyAccess"}`,
				`-DetachRolePolicy {"RoleName": "Reader", "PolicyArn": "` + other + `"}`,
				`+DetachRolePolicy {"RoleName": "Reader", "PolicyArn": "arn:aws:iam::aws:policy/ReadOnlyAccess"}`,
			},
		},
		{
			"tags of the request", allow(`"iam:*"`, "*", `{"StringEquals":{"aws:RequestTag/Team":"red"},"ForAllValues:StringEquals":{"aws:TagKeys":["team","Cost"]}}`),
			[]string{
				`-CreateUser {"UserName": "new"}`,
				`+CreateUser {"UserName": "new", "Tags": [{"Key": "team", "Value": "red"}]}`,
				`-CreateUser {"UserName": "newer", "Tags": [{"Key": "team", "Value": "blue"}]}`,
				`-CreateUser {"UserName": "newer", "Tags": [{"Key": "team", "Value": "red"}, {"Key": "x", "Value": ""}]}`,
				`+TagRole {"RoleName": "Reader", "Tags": [{"Key": "team", "Value": "red"}, {"Key": "Cost", "Value": "1"}]}`,
				`-TagRole {"RoleName": "Reader", "Tags": [{"Key": "Cost", "Value": "1"}]}`,
				`+TagPolicy {"PolicyArn": "` + other + `", "Tags": [{"Key": "team", "Value": "red"}]}`,
				`-TagPolicy {"PolicyArn": "` + other + `", "Tags": [{"Key": "team", "Value": "green"}]}`,
			},
		},
		{
			"keys of tags to take away", allow(`"iam:Untag*"`, "*", `{"ForAllValues:StringEquals":{"aws:TagKeys":["team"]}}`),
			[]string{`+UntagUser {"UserName": "bounded", "TagKeys": ["team"]}`, `-UntagUser {"UserName": "bounded", "TagKeys": ["team", "cost"]}`},
		},
		{
			"tags of the resource", allow(`"iam:*"`, "*", `{"StringEquals":{"aws:ResourceTag/team":"red"}}`),
			[]string{
				`+GetUser {"UserName": "bounded"}`, `-GetUser {"UserName": "free"}`, `-GetUser {"UserName": "missing"}`,
				`+GetPolicy {"PolicyArn": "` + boundary + `"}`, `-GetPolicy {"PolicyArn": "` + other + `"}`,
				`-GetGroup {"GroupName": "staff"}`,
			},
		},
		{
			"tags of the principal that is the resource", allow(`"iam:*"`, "*", `{"StringEquals":{"iam:ResourceTag/TEAM":"red"}}`),
			[]string{
				`+TagUser {"UserName": "bounded", "Tags": [{"Key": "team", "Value": "blue"}]}`, `-GetUser {"UserName": "bounded"}`,
				`-GetPolicy {"PolicyArn": "` + boundary + `"}`,
			},
		},
		{
			"who makes something with tags must be allowed to tag", allow(`["iam:CreateUser","iam:CreateRole","iam:CreatePolicy"]`, "*", ""),
			[]string{
				`+CreateUser {"UserName": "new"}`, `-CreateUser {"UserName": "newer", "Tags": [{"Key": "a", "Value": ""}]}`,
				`-CreateRole {"RoleName": "New", "AssumeRolePolicyDocument": ` + trust + `, "Tags": [{"Key": "a", "Value": ""}]}`,
				`-CreatePolicy {"PolicyName": "New", "PolicyDocument": ` + quote(allowAll) + `, "Tags": [{"Key": "a", "Value": ""}]}`,
				`-GetUser {"UserName": "newer"}`,
			},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e := newEnv(t)
			alice := e.who("alice")
			e.must(alice, "CreatePolicy", `{"PolicyName": "Edge", "PolicyDocument": `+quote(allowAll)+`, "Tags": [{"Key": "team", "Value": "red"}]}`)
			e.must(alice, "CreatePolicy", `{"PolicyName": "Other", "PolicyDocument": `+quote(allowAll)+`}`)
			e.must(alice, "CreateUser", `{"UserName": "bounded", "Path": "/p/", "PermissionsBoundary": "`+boundary+`", "Tags": [{"Key": "team", "Value": "red"}]}`)
			e.must(alice, "CreateUser", `{"UserName": "free"}`)
			e.must(alice, "CreateGroup", `{"GroupName": "staff"}`)
			e.must(alice, "CreateRole", `{"RoleName": "Reader", "AssumeRolePolicyDocument": `+trust+`}`)
			e.must(alice, "CreateUser", `{"UserName": "carol"}`)
			e.must(alice, "PutUserPolicy", `{"UserName": "carol", "PolicyName": "only", "PolicyDocument": `+quote(tt.policy)+`}`)
			for _, line := range tt.calls {
				operation, request, _ := strings.Cut(line[1:], " ")
				a := e.call(e.who("carol"), operation, request)
				allowed := a.err == nil || a.err.Code != "AccessDenied"
				if wanted := line[0] == '+'; allowed != wanted || wanted && a.err != nil {
					t.Errorf("%s: %s", line, or(a.text(), "success"))
				}
			}
		})
	}
}

// TestDenialOfTags: the text of a denial to tag what is being made names its ARN.
func TestDenialOfTags(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	alice := e.who("alice")
	e.must(alice, "CreateUser", `{"UserName": "carol"}`)
	e.must(alice, "PutUserPolicy", `{"UserName": "carol", "PolicyName": "p", "PolicyDocument": `+
		quote(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"iam:Create*","Resource":"*"}]}`)+`}`)
	for _, tt := range []struct{ operation, request, action, resource string }{
		{"CreateUser", `{"UserName": "x", "Tags": [{"Key": "a", "Value": "b"}]}`, "iam:TagUser", "arn:aws:iam::111122223333:user/x"},
		{"CreateRole", `{"RoleName": "x", "AssumeRolePolicyDocument": "{}", "Tags": [{"Key": "a", "Value": "b"}]}`, "iam:TagRole", "arn:aws:iam::111122223333:role/x"},
		{"CreatePolicy", `{"PolicyName": "x", "PolicyDocument": "{}", "Tags": [{"Key": "a", "Value": "b"}]}`, "iam:TagPolicy", "arn:aws:iam::111122223333:policy/x"},
	} {
		e.fails(e.who("carol"), tt.operation, tt.request, "AccessDenied 403: User: arn:aws:iam::111122223333:user/carol is not authorized to perform: "+tt.action+
			" on resource: "+tt.resource+" because no identity-based policy allows the "+tt.action+" action")
	}
}

// TestDenialsSayWhy: the words for a resource are IAM's whatever denies.
func TestDenialsSayWhy(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	alice := e.who("alice")
	const edge = "arn:aws:iam::111122223333:policy/Edge"
	e.must(alice, "CreatePolicy", `{"PolicyName": "Edge", "PolicyDocument": `+
		quote(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"iam:Get*","Resource":"*"},{"Effect":"Deny","Action":"iam:GetRole","Resource":"*"}]}`)+`}`)
	e.must(alice, "CreateUser", `{"UserName": "carol", "PermissionsBoundary": "`+edge+`"}`)
	e.must(alice, "PutUserPolicy", `{"UserName": "carol", "PolicyName": "p", "PolicyDocument": `+
		quote(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"},{"Effect":"Deny","Action":"iam:*","Resource":"arn:aws:iam::111122223333:policy/*"}]}`)+`}`)
	const user = "AccessDenied 403: User: arn:aws:iam::111122223333:user/carol is not authorized to perform: "
	carol := e.who("carol")
	e.fails(carol, "GetPolicy", `{"PolicyArn": "`+edge+`"}`, user+"iam:GetPolicy on resource: policy "+edge+" with an explicit deny in an identity-based policy")
	e.fails(carol, "GetRole", `{"RoleName": "R"}`, user+"iam:GetRole on resource: role R with an explicit deny in a permissions boundary")
	e.fails(carol, "ListRoles", `{}`, user+"iam:ListRoles on resource: arn:aws:iam::111122223333:role/ because no permissions boundary allows the iam:ListRoles action")
	e.fails(carol, "GetPolicy", `{"PolicyArn": "arn:aws:iam::444455556666:policy/Theirs"}`,
		user+"iam:GetPolicy on resource: policy arn:aws:iam::444455556666:policy/Theirs because no resource-based policy allows the iam:GetPolicy action")
	e.must(carol, "GetUser", ``)
}
