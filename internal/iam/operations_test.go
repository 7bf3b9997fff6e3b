package iam_test

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

// everything that can be done, in an order in which it can be; shown is what the
// text of a denial calls the resource, with $key for the access key that was
// made.
var steps = []struct{ operation, request, shown string }{
	{"CreateUser", `{"UserName": "u", "Path": "/p/"}`, "arn:aws:iam::111122223333:user/p/u"},
	{"GetUser", `{"UserName": "u"}`, "user u"},
	{"GetUser", ``, "user carol"},
	{"ListUsers", ``, "arn:aws:iam::111122223333:user/"},
	{"ListUsers", `{"PathPrefix": "/p/"}`, "arn:aws:iam::111122223333:user/p/"},
	{"UpdateUser", `{"UserName": "u", "NewPath": "/q/"}`, "user u"},
	{"TagUser", `{"UserName": "u", "Tags": [{"Key": "a", "Value": "b"}]}`, "user u"},
	{"ListUserTags", `{"UserName": "u"}`, "user u"},
	{"UntagUser", `{"UserName": "u", "TagKeys": ["a"]}`, "user u"},

	{"CreateAccessKey", `{"UserName": "u"}`, "user u"},
	{"UpdateAccessKey", `{"UserName": "u", "AccessKeyId": "$key", "Status": "Inactive"}`, "user u"},
	{"ListAccessKeys", `{"UserName": "u"}`, "user u"},
	{"ListAccessKeys", ``, "user carol"},
	{"GetAccessKeyLastUsed", `{"AccessKeyId": "$key"}`, "access key $key"},
	{"DeleteAccessKey", `{"UserName": "u", "AccessKeyId": "$key"}`, "user u"},

	{"CreateGroup", `{"GroupName": "g", "Path": "/p/"}`, "arn:aws:iam::111122223333:group/p/g"},
	{"ListGroups", ``, "arn:aws:iam::111122223333:group/"},
	{"UpdateGroup", `{"GroupName": "g", "NewPath": "/"}`, "group g"},
	{"AddUserToGroup", `{"GroupName": "g", "UserName": "u"}`, "group g"},
	{"GetGroup", `{"GroupName": "g"}`, "group g"},
	{"ListGroupsForUser", `{"UserName": "u"}`, "user u"},
	{"RemoveUserFromGroup", `{"GroupName": "g", "UserName": "u"}`, "group g"},

	{"CreateRole", `{"RoleName": "R", "Path": "/p/", "AssumeRolePolicyDocument": ` + quote(trustOurs) + `}`, "arn:aws:iam::111122223333:role/p/R"},
	{"GetRole", `{"RoleName": "R"}`, "role R"},
	{"ListRoles", ``, "arn:aws:iam::111122223333:role/"},
	{"UpdateRole", `{"RoleName": "R", "Description": "d"}`, "role R"},
	{"UpdateRoleDescription", `{"RoleName": "R", "Description": "e"}`, "role R"},
	{"UpdateAssumeRolePolicy", `{"RoleName": "R", "PolicyDocument": ` + quote(trustOurs) + `}`, "role R"},
	{"TagRole", `{"RoleName": "R", "Tags": [{"Key": "a", "Value": "b"}]}`, "role R"},
	{"ListRoleTags", `{"RoleName": "R"}`, "role R"},
	{"UntagRole", `{"RoleName": "R", "TagKeys": ["a"]}`, "role R"},
	{"ListInstanceProfilesForRole", `{"RoleName": "R"}`, "role R"},

	{"PutUserPolicy", `{"UserName": "u", "PolicyName": "p", "PolicyDocument": ` + quote(allowAll) + `}`, "user u"},
	{"GetUserPolicy", `{"UserName": "u", "PolicyName": "p"}`, "user u"},
	{"ListUserPolicies", `{"UserName": "u"}`, "user u"},
	{"DeleteUserPolicy", `{"UserName": "u", "PolicyName": "p"}`, "user u"},
	{"PutGroupPolicy", `{"GroupName": "g", "PolicyName": "p", "PolicyDocument": ` + quote(allowAll) + `}`, "group g"},
	{"GetGroupPolicy", `{"GroupName": "g", "PolicyName": "p"}`, "group g"},
	{"ListGroupPolicies", `{"GroupName": "g"}`, "group g"},
	{"DeleteGroupPolicy", `{"GroupName": "g", "PolicyName": "p"}`, "group g"},
	{"PutRolePolicy", `{"RoleName": "R", "PolicyName": "p", "PolicyDocument": ` + quote(allowAll) + `}`, "role R"},
	{"GetRolePolicy", `{"RoleName": "R", "PolicyName": "p"}`, "role R"},
	{"ListRolePolicies", `{"RoleName": "R"}`, "role R"},
	{"DeleteRolePolicy", `{"RoleName": "R", "PolicyName": "p"}`, "role R"},

	{"CreatePolicy", `{"PolicyName": "P", "Path": "/p/", "PolicyDocument": ` + quote(allowAll) + `}`, "policy P"},
	{"GetPolicy", `{"PolicyArn": "` + policyP + `"}`, "policy " + policyP},
	{"ListPolicies", `{"Scope": "Local"}`, "policy path /"},
	{"ListPolicies", `{"PathPrefix": "/p/"}`, "policy path /p/"},
	{"CreatePolicyVersion", `{"PolicyArn": "` + policyP + `", "PolicyDocument": ` + quote(allowAll) + `}`, "policy " + policyP},
	{"GetPolicyVersion", `{"PolicyArn": "` + policyP + `", "VersionId": "v1"}`, "policy " + policyP},
	{"ListPolicyVersions", `{"PolicyArn": "` + policyP + `"}`, "policy " + policyP},
	{"SetDefaultPolicyVersion", `{"PolicyArn": "` + policyP + `", "VersionId": "v2"}`, "policy " + policyP},
	{"DeletePolicyVersion", `{"PolicyArn": "` + policyP + `", "VersionId": "v1"}`, "policy " + policyP},
	{"TagPolicy", `{"PolicyArn": "` + policyP + `", "Tags": [{"Key": "a", "Value": "b"}]}`, "policy " + policyP},
	{"ListPolicyTags", `{"PolicyArn": "` + policyP + `"}`, "policy " + policyP},
	{"UntagPolicy", `{"PolicyArn": "` + policyP + `", "TagKeys": ["a"]}`, "policy " + policyP},

	{"AttachUserPolicy", `{"UserName": "u", "PolicyArn": "` + policyP + `"}`, "user u"},
	{"ListAttachedUserPolicies", `{"UserName": "u"}`, "user u"},
	{"ListEntitiesForPolicy", `{"PolicyArn": "` + policyP + `"}`, "policy " + policyP},
	{"DetachUserPolicy", `{"UserName": "u", "PolicyArn": "` + policyP + `"}`, "user u"},
	{"AttachGroupPolicy", `{"GroupName": "g", "PolicyArn": "` + policyP + `"}`, "group g"},
	{"ListAttachedGroupPolicies", `{"GroupName": "g"}`, "group g"},
	{"DetachGroupPolicy", `{"GroupName": "g", "PolicyArn": "` + policyP + `"}`, "group g"},
	{"AttachRolePolicy", `{"RoleName": "R", "PolicyArn": "` + policyP + `"}`, "role R"},
	{"ListAttachedRolePolicies", `{"RoleName": "R"}`, "role R"},
	{"DetachRolePolicy", `{"RoleName": "R", "PolicyArn": "` + policyP + `"}`, "role R"},

	{"PutUserPermissionsBoundary", `{"UserName": "u", "PermissionsBoundary": "` + policyP + `"}`, "user u"},
	{"DeleteUserPermissionsBoundary", `{"UserName": "u"}`, "user u"},
	{"PutRolePermissionsBoundary", `{"RoleName": "R", "PermissionsBoundary": "` + policyP + `"}`, "role R"},
	{"DeleteRolePermissionsBoundary", `{"RoleName": "R"}`, "role R"},

	{"CreateVirtualMFADevice", `{"VirtualMFADeviceName": "d", "Path": "/p/"}`, deviceD},
	{"ListVirtualMFADevices", ``, "arn:aws:iam::111122223333:mfa/"},
	{"TagMFADevice", `{"SerialNumber": "` + deviceD + `", "Tags": [{"Key": "a", "Value": "b"}]}`, deviceD},
	{"ListMFADeviceTags", `{"SerialNumber": "` + deviceD + `"}`, deviceD},
	{"UntagMFADevice", `{"SerialNumber": "` + deviceD + `", "TagKeys": ["a"]}`, deviceD},
	{"EnableMFADevice", `{"UserName": "u", "SerialNumber": "` + deviceD + `", "AuthenticationCode1": "$first", "AuthenticationCode2": "$second"}`, "user u"},
	{"GetMFADevice", `{"UserName": "u", "SerialNumber": "` + deviceD + `"}`, "user u"},
	{"ListMFADevices", `{"UserName": "u"}`, "user u"},
	{"ListMFADevices", ``, "user carol"},
	{"ResyncMFADevice", `{"UserName": "u", "SerialNumber": "` + deviceD + `", "AuthenticationCode1": "$first", "AuthenticationCode2": "$second"}`, "user u"},
	{"DeactivateMFADevice", `{"UserName": "u", "SerialNumber": "` + deviceD + `"}`, "user u"},
	{"DeleteVirtualMFADevice", `{"SerialNumber": "` + deviceD + `"}`, deviceD},

	{"CreateOpenIDConnectProvider", `{"Url": "https://issuer.example/x"}`, issuerX},
	{"GetOpenIDConnectProvider", `{"OpenIDConnectProviderArn": "` + issuerX + `"}`, issuerX},
	{"ListOpenIDConnectProviders", ``, "arn:aws:iam::111122223333:oidc-provider/*"},
	{"AddClientIDToOpenIDConnectProvider", `{"OpenIDConnectProviderArn": "` + issuerX + `", "ClientID": "a"}`, issuerX},
	{"RemoveClientIDFromOpenIDConnectProvider", `{"OpenIDConnectProviderArn": "` + issuerX + `", "ClientID": "a"}`, issuerX},
	{"UpdateOpenIDConnectProviderThumbprint", `{"OpenIDConnectProviderArn": "` + issuerX + `", "ThumbprintList": ["6938fd4d98bab03faadb97b34396831e3780aea1"]}`, issuerX},
	{"TagOpenIDConnectProvider", `{"OpenIDConnectProviderArn": "` + issuerX + `", "Tags": [{"Key": "a", "Value": "b"}]}`, issuerX},
	{"ListOpenIDConnectProviderTags", `{"OpenIDConnectProviderArn": "` + issuerX + `"}`, issuerX},
	{"UntagOpenIDConnectProvider", `{"OpenIDConnectProviderArn": "` + issuerX + `", "TagKeys": ["a"]}`, issuerX},
	{"DeleteOpenIDConnectProvider", `{"OpenIDConnectProviderArn": "` + issuerX + `"}`, issuerX},

	{"GetAccountSummary", ``, "*"},
	{"GetAccountAuthorizationDetails", ``, "*"},
	{"GenerateCredentialReport", ``, "*"},
	{"GetCredentialReport", ``, "*"},
	{"SimulatePrincipalPolicy", `{"PolicySourceArn": "arn:aws:iam::111122223333:role/p/R", "ActionNames": ["kms:Decrypt"]}`, "role R"},
	{"SimulateCustomPolicy", `{"PolicyInputList": [` + quote(allowAll) + `], "ActionNames": ["kms:Decrypt"]}`, "*"},
	{"GetContextKeysForPrincipalPolicy", `{"PolicySourceArn": "arn:aws:iam::111122223333:group/g"}`, "group g"},
	{"GetContextKeysForCustomPolicy", `{"PolicyInputList": [` + quote(allowAll) + `]}`, "*"},
	{"DeletePolicy", `{"PolicyArn": "` + policyP + `"}`, "policy " + policyP},
	{"DeleteRole", `{"RoleName": "R"}`, "role R"},
	{"DeleteGroup", `{"GroupName": "g"}`, "group g"},
	{"DeleteUser", `{"UserName": "u"}`, "user u"},
}

const (
	policyP = "arn:aws:iam::111122223333:policy/p/P"
	deviceD = "arn:aws:iam::111122223333:mfa/p/d"
	issuerX = "arn:aws:iam::111122223333:oidc-provider/issuer.example/x"
)

// TestEveryOperation does everything that can be done. Before, somebody without
// policies tries it, in vain and without effect. Nothing but the answer of
// CreateAccessKey holds the secret access key, the records of the calls least of
// all.
func TestEveryOperation(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	alice := e.who("alice")
	e.must(alice, "CreateUser", `{"UserName": "carol"}`)
	carol := e.who("carol")
	done := make(map[string]bool)
	var key, secretKey string
	var seed []byte // of the MFA device
	for _, step := range steps {
		done[step.operation] = true
		if step.operation == "ResyncMFADevice" {
			e.advance(time.Minute) // those of before are used
		}
		request := strings.NewReplacer("$key", key, "$first", e.totp(seed, -1), "$second", e.totp(seed, 0)).Replace(step.request)

		before := e.dump()
		action := "iam:" + step.operation
		e.fails(carol, step.operation, request, "AccessDenied 403: User: arn:aws:iam::111122223333:user/carol is not authorized to perform: "+action+
			" on resource: "+strings.ReplaceAll(step.shown, "$key", key)+" because no identity-based policy allows the "+action+" action")
		if e.dump() != before {
			t.Errorf("%s: denied, but something has changed", step.operation)
		}

		a := e.call(alice, step.operation, request)
		if a.err != nil {
			t.Fatalf("%s(%s) = %v", step.operation, request, a.err)
		}
		if readOnly := e.ops[step.operation].ReadOnly; (e.dump() == before) != readOnly {
			t.Errorf("%s: read only %v, but something has changed: %v", step.operation, readOnly, !readOnly)
		}
		if step.operation == "CreateAccessKey" {
			result, _ := e.result(a.body).(map[string]any)
			made := object(result).object("AccessKey")
			key, secretKey = made.str("AccessKeyId"), made.str("SecretAccessKey")
			if len(secretKey) != 40 {
				t.Fatalf("a secret access key of %d characters", len(secretKey))
			}
		} else if secretKey != "" && strings.Contains(string(a.body), secretKey) {
			t.Errorf("%s tells the secret access key", step.operation)
		}
		if step.operation == "CreateVirtualMFADevice" {
			result, _ := e.result(a.body).(map[string]any)
			seed = seedOf(t, object(result).object("VirtualMFADevice"))
		}
		record := a.call.Parameters.AppendAudit(nil)
		record = append(record, '\n')
		if a.call.Elements != nil {
			record = a.call.Elements.AppendAudit(record)
		} else {
			record = append(record, "null"...)
		}
		if secretKey != "" && strings.Contains(string(record), secretKey) || strings.Contains(strings.ToLower(string(record)), "secret") {
			t.Errorf("the record of %s: %s", step.operation, record)
		}
		for part := range strings.SplitSeq(string(record), "\n") {
			if !json.Valid([]byte(part)) {
				t.Errorf("the record of %s is no JSON: %s", step.operation, part)
			}
		}
		if a.call.DecisionText == "" {
			t.Errorf("%s: the call does not say why it was allowed", step.operation)
		}
	}
	for _, operation := range slices.Sorted(maps.Keys(e.ops)) {
		if !done[operation] {
			t.Errorf("%s is routed and was not tried", operation)
		}
	}
	if secretKey == "" || strings.Contains(e.log.String(), secretKey) {
		t.Errorf("the log holds the secret access key")
	}
	if log := e.log.String(); log != "" {
		t.Errorf("something was logged: %s", log)
	}
}

// TestMissingIsDenied: whether something is there is nothing that somebody
// without policies learns.
func TestMissingIsDenied(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.must(e.who("alice"), "CreateUser", `{"UserName": "carol"}`)
	carol := e.who("carol")
	for _, step := range steps { // nothing of what they name is there
		request := strings.NewReplacer("$key", "AKIAIOSFODNN7EXAMPLE", "$first", "123456", "$second", "123456").Replace(step.request)
		action := "iam:" + step.operation
		e.fails(carol, step.operation, request, "AccessDenied 403: User: arn:aws:iam::111122223333:user/carol is not authorized to perform: "+action+
			" on resource: "+strings.ReplaceAll(step.shown, "$key", "AKIAIOSFODNN7EXAMPLE")+" because no identity-based policy allows the "+action+" action")
	}
}
