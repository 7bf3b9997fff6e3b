package iam_test

import (
	"context"
	"testing"

	"github.com/keyreeve/keyreeve/internal/identity"
)

// TestRolesOfAWS: roles with AWS's own paths are neither made nor changed by
// those whose account they are in.
func TestRolesOfAWS(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	alice := e.who("alice")
	for _, path := range []string{"/aws-service-role/example.amazonaws.com/", "/aws-reserved/"} {
		e.fails(alice, "CreateRole", `{"RoleName": "Mine", "Path": "`+path+`", "AssumeRolePolicyDocument": `+quote(trustOurs)+`}`,
			"InvalidInput 400: The path "+path+" is reserved for roles of AWS.")
	}
	_, err := e.dir.CreateRole(context.Background(), identity.Role{
		Account: ours, Name: "AWSServiceRoleForExample", Path: "/aws-service-role/example.amazonaws.com/", Trust: trustOurs,
	})
	if err != nil {
		t.Fatal(err)
	}
	const (
		name    = `{"RoleName": "AWSServiceRoleForExample"`
		refused = "UnmodifiableEntity 400: Cannot perform the operation on the protected role 'AWSServiceRoleForExample' - this role is only modifiable by AWS"
		read    = `"arn:aws:iam::aws:policy/ReadOnlyAccess"`
	)
	for _, tt := range []struct{ operation, request string }{
		{"UpdateRole", name + `, "MaxSessionDuration": 7200}`},
		{"UpdateAssumeRolePolicy", name + `, "PolicyDocument": ` + quote(trustOurs) + `}`},
		{"AttachRolePolicy", name + `, "PolicyArn": ` + read + `}`},
		{"DetachRolePolicy", name + `, "PolicyArn": ` + read + `}`},
		{"PutRolePolicy", name + `, "PolicyName": "p", "PolicyDocument": ` + quote(allowAll) + `}`},
		{"DeleteRolePolicy", name + `, "PolicyName": "p"}`},
		{"PutRolePermissionsBoundary", name + `, "PermissionsBoundary": ` + read + `}`},
		{"DeleteRolePermissionsBoundary", name + `}`},
		{"DeleteRole", name + `}`},
	} {
		before := e.dump()
		e.fails(alice, tt.operation, tt.request, refused)
		if e.dump() != before {
			t.Errorf("%s: refused, but something has changed", tt.operation)
		}
	}
	e.must(alice, "UpdateRole", name+`, "Description": "linked"}`)
	e.must(alice, "UpdateRoleDescription", name+`, "Description": "linked to a service"}`)
	if got := e.must(alice, "GetRole", name+`}`).object("Role").str("Description"); got != "linked to a service" {
		t.Errorf("the description is %q", got)
	}
}
