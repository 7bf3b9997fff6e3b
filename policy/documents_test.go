package policy_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/keyreeve/keyreeve/policy"
)

// TestPublished evaluates policies of the shapes that AWS publishes for KMS: a
// policy that is valid there must be here, and mean the same.
func TestPublished(t *testing.T) {
	const (
		accountStatement = `{"Sid":"Enable IAM policies","Effect":"Allow","Principal":{"AWS":["111122223333"]},"Action":["kms:*"],"Resource":"*"}`
		crypto           = `["kms:Encrypt","kms:Decrypt","kms:ReEncrypt*","kms:GenerateDataKey*","kms:DescribeKey"]`
		user             = "arn:aws:iam::111122223333:user/ExampleUser"
	)
	exampleUser := &policy.Principal{Account: accountA, ARN: user, ID: "AIDAEXAMPLE"}
	other := &policy.Principal{Account: accountB, ARN: "arn:aws:iam::444455556666:user/Other", ID: "AIDAOTHER"}
	type asked struct {
		principal *policy.Principal
		action    string
		resource  string
		context   policy.Values
		want      string // "allow", "deny" or nothing
	}
	tests := map[string]struct {
		t    policy.Type
		text string
		asks []asked
	}{
		"endpoint, default": {
			policy.Endpoint, `{ "Statement": [ { "Action": "*", "Effect": "Allow", "Principal": "*", "Resource": "*" } ] }`,
			[]asked{{exampleUser, "kms:Decrypt", keyA, nil, "allow"}, {other, "kms:ListKeys", "*", nil, "allow"}},
		},
		"endpoint, one user and key": {
			policy.Endpoint, `{ "Statement":[ { "Sid": "AllowDecryptAndView", "Principal": {"AWS": "` + user + `"}, "Effect":"Allow",
				"Action": [ "kms:Decrypt", "kms:DescribeKey", "kms:ListAliases", "kms:ListKeys" ], "Resource": "` + keyA + `" } ] }`,
			[]asked{
				{exampleUser, "kms:Decrypt", keyA, nil, "allow"},
				{exampleUser, "kms:ListKeys", "*", nil, ""},
				{exampleUser, "kms:Encrypt", keyA, nil, ""},
				{other, "kms:Decrypt", keyA, nil, ""},
			},
		},
		"endpoint, one account": {
			policy.Endpoint, `{ "Statement": [ { "Sid": "AccessForASpecificAccount", "Principal": {"AWS": "*"}, "Action": "kms:*", "Effect": "Deny",
				"Resource": "arn:aws:kms:*:111122223333:key/*", "Condition": { "StringNotEquals": { "aws:PrincipalAccount": "111122223333" } } } ] }`,
			[]asked{
				{exampleUser, "kms:Decrypt", keyA, policy.Values{"aws:principalaccount": policy.String(accountA)}, ""},
				{other, "kms:Decrypt", keyA, policy.Values{"aws:principalaccount": policy.String(accountB)}, "deny"},
				{other, "kms:Decrypt", strings.Replace(keyA, accountA, accountB, 1), policy.Values{"aws:principalaccount": policy.String(accountB)}, ""},
			},
		},
		"key, through one endpoint": {
			policy.KeyPolicy, `{ "Id": "example-key-1", "Version": "2012-10-17", "Statement": [ ` + accountStatement + `, { "Sid": "Restrict usage to my VPC endpoint",
				"Effect": "Deny", "Principal": "*", "Action": [ "kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*" ], "Resource": "*",
				"Condition": { "StringNotEquals": { "aws:sourceVpce": "vpce-1234abcdf5678c90a" } } } ] }`,
			[]asked{
				{exampleUser, "kms:Encrypt", keyA, policy.Values{"aws:sourcevpce": policy.String("vpce-1234abcdf5678c90a")}, "allow"},
				{exampleUser, "kms:Encrypt", keyA, policy.Values{"aws:sourcevpce": policy.String("vpce-other")}, "deny"},
				{exampleUser, "kms:Encrypt", keyA, nil, "deny"},
				{exampleUser, "kms:DisableKey", keyA, nil, "allow"},
				{exampleUser, "kms:GenerateMac", keyA, nil, "allow"},
			},
		},
		"key, by VPC": {
			policy.KeyPolicy, `{ "Id": "example-key-2", "Version": "2012-10-17", "Statement": [
				{ "Sid": "Allow administrative actions from vpc-12345678", "Effect": "Allow", "Principal": {"AWS": "111122223333"},
				"Action": [ "kms:Create*","kms:Enable*","kms:Put*","kms:Update*", "kms:Revoke*","kms:Disable*","kms:Delete*", "kms:TagResource", "kms:UntagResource" ],
				"Resource": "*", "Condition": { "StringEquals": { "aws:sourceVpc": "vpc-12345678" } } },
				{ "Sid": "Allow key usage from vpc-2b2b2b2b", "Effect": "Allow", "Principal": {"AWS": "111122223333"},
				"Action": [ "kms:Encrypt","kms:Decrypt","kms:GenerateDataKey*" ], "Resource": "*", "Condition": { "StringEquals": { "aws:sourceVpc": "vpc-2b2b2b2b" } } },
				{ "Sid": "Allow read actions from everywhere", "Effect": "Allow", "Principal": {"AWS": "111122223333"},
				"Action": [ "kms:Describe*","kms:List*","kms:Get*" ], "Resource": "*" } ] }`,
			[]asked{
				{exampleUser, "kms:DisableKey", keyA, policy.Values{"aws:sourcevpc": policy.String("vpc-12345678")}, "allow"},
				{exampleUser, "kms:Encrypt", keyA, policy.Values{"aws:sourcevpc": policy.String("vpc-12345678")}, ""},
				{exampleUser, "kms:Encrypt", keyA, policy.Values{"aws:sourcevpc": policy.String("vpc-2b2b2b2b")}, "allow"},
				{exampleUser, "kms:ReEncryptFrom", keyA, policy.Values{"aws:sourcevpc": policy.String("vpc-2b2b2b2b")}, ""},
				{exampleUser, "kms:Sign", keyA, policy.Values{"aws:sourcevpc": policy.String("vpc-2b2b2b2b")}, ""},
				{exampleUser, "kms:DescribeKey", keyA, nil, "allow"},
				{other, "kms:DescribeKey", keyA, nil, ""},
			},
		},
		"key, grants for a service": {
			policy.KeyPolicy, document(`{ "Sid": "Allow Amazon Location to create grants", "Effect": "Allow",
				"Principal": { "AWS": "arn:aws:iam::111122223333:role/LocationTeam" }, "Action": "kms:CreateGrant", "Resource": "*",
				"Condition": { "StringEquals": { "kms:ViaService": "geo.us-west-2.amazonaws.com", "kms:CallerAccount": "111122223333",
				"kms:EncryptionContext:aws:geo:arn": "arn:aws:geo:us-west-2:111122223333:tracker/SAMPLE-Tracker" } } }`),
			[]asked{
				{locationTeam, "kms:CreateGrant", keyA, policy.Values{
					"kms:viaservice": policy.String("geo.us-west-2.amazonaws.com"), "kms:calleraccount": policy.String(accountA),
					"kms:encryptioncontext:aws:geo:arn": policy.String("arn:aws:geo:us-west-2:111122223333:tracker/SAMPLE-Tracker"),
				}, "allow"},
				{locationTeam, "kms:CreateGrant", keyA, policy.Values{"kms:calleraccount": policy.String(accountA)}, ""},
			},
		},
		"key, a trail": {
			policy.KeyPolicy, document(`[ { "Sid": "Allow CloudTrail to encrypt logs", "Effect": "Allow", "Principal": { "Service": "cloudtrail.amazonaws.com" },
				"Action": "kms:GenerateDataKey", "Resource": "*", "Condition": {
				"ArnEquals": { "aws:SourceArn": [ "arn:aws:cloudtrail:us-west-2:111122223333:trail/finance" ] },
				"StringLike": { "kms:EncryptionContext:aws:cloudtrail:arn": [ "arn:aws:cloudtrail:*:111122223333:trail/*" ] } } } ]`),
			[]asked{
				{&theService, "kms:GenerateDataKey", keyA, trail("111122223333:trail/finance", "111122223333:trail/finance"), "allow"},
				{&theService, "kms:GenerateDataKey", keyA, trail("111122223333:trail/other", "111122223333:trail/other"), ""},
				{&theService, "kms:GenerateDataKey", keyA, trail("111122223333:trail/finance", "444455556666:trail/finance"), ""},
				{exampleUser, "kms:GenerateDataKey", keyA, trail("111122223333:trail/finance", "111122223333:trail/finance"), ""},
			},
		},
		"IAM, keys outside": {
			policy.Identity, document(`{ "Sid": "AllowKeysInExternalKeyStores", "Effect": "Allow", "Action": ` + crypto + `,
				"Resource": "arn:aws:kms:us-west-2:111122223333:key/*", "Condition": { "StringEquals": { "kms:KeyOrigin": "EXTERNAL_KEY_STORE" } } }`),
			[]asked{
				{exampleUser, "kms:Encrypt", keyA, policy.Values{"kms:keyorigin": policy.String("EXTERNAL_KEY_STORE")}, "allow"},
				{exampleUser, "kms:Encrypt", keyA, policy.Values{"kms:keyorigin": policy.String("AWS_KMS")}, ""},
			},
		},
		"key, another account": {
			policy.KeyPolicy, document(`{ "Sid": "Allow an external account to use this KMS key", "Effect": "Allow",
				"Principal": { "AWS": [ "arn:aws:iam::444455556666:root" ] }, "Action": ` + crypto + `, "Resource": "*" }`),
			[]asked{{other, "kms:ReEncryptTo", keyA, nil, "allow"}, {other, "kms:CreateGrant", keyA, nil, ""}, {exampleUser, "kms:Encrypt", keyA, nil, ""}},
		},
		"key, for attached resources": {
			policy.KeyPolicy, document(`{ "Sid": "Allow attachment of persistent resources", "Effect": "Allow",
				"Principal": { "AWS": "arn:aws:iam::444455556666:root" }, "Action": [ "kms:CreateGrant", "kms:ListGrants", "kms:RevokeGrant" ], "Resource": "*",
				"Condition": { "Bool": { "kms:GrantIsForAWSResource": "true" } } }`),
			[]asked{
				{other, "kms:CreateGrant", keyA, policy.Values{"kms:grantisforawsresource": policy.Bool(true)}, "allow"},
				{other, "kms:CreateGrant", keyA, policy.Values{"kms:grantisforawsresource": policy.Bool(false)}, ""},
				{other, "kms:CreateGrant", keyA, nil, ""},
			},
		},
		"key, not from some addresses": {
			policy.KeyPolicy, document(`{ "Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::111122223333:role/LocationTeam"}, "Action": ` + crypto + `, "Resource": "*",
				"Condition": { "NotIpAddress": { "aws:SourceIp": [ "192.0.2.0/24", "203.0.113.0/24" ] } } }`),
			[]asked{
				{locationTeam, "kms:Encrypt", keyA, policy.Values{"aws:sourceip": policy.String("198.51.100.7")}, "allow"},
				{locationTeam, "kms:Encrypt", keyA, policy.Values{"aws:sourceip": policy.String("192.0.2.10")}, ""},
				{locationTeam, "kms:Encrypt", keyA, nil, "allow"},
				{locationTeam, "kms:DisableKey", keyA, policy.Values{"aws:sourceip": policy.String("198.51.100.7")}, ""},
			},
		},
		"RCP, own organization": {
			policy.ResourceControl, document(`{ "Sid": "EnforceOrgIdentities", "Effect": "Deny", "Principal": "*", "Action": ["kms:*"], "Resource": "*",
				"Condition": { "StringNotEqualsIfExists": { "aws:PrincipalOrgID": "o-x" }, "BoolIfExists": { "aws:PrincipalIsAWSService": "false" } } }`),
			[]asked{
				{other, "kms:Decrypt", keyA, policy.Values{"aws:principalorgid": policy.String("o-y"), "aws:principalisawsservice": policy.Bool(false)}, "deny"},
				{exampleUser, "kms:Decrypt", keyA, policy.Values{"aws:principalorgid": policy.String("o-x"), "aws:principalisawsservice": policy.Bool(false)}, ""},
				{&theService, "kms:Decrypt", keyA, policy.Values{"aws:principalisawsservice": policy.Bool(true)}, ""},
			},
		},
		"SCP, all": {
			policy.ServiceControl, document(`[ { "Effect": "Allow", "Action": "*", "Resource": "*" }, { "Effect": "Deny", "Action": "kms:ScheduleKeyDeletion", "Resource": "*" } ]`),
			[]asked{{exampleUser, "kms:Decrypt", keyA, nil, "allow"}, {exampleUser, "kms:ScheduleKeyDeletion", keyA, nil, "deny"}},
		},
		"trust, by user": {
			policy.Trust, document(`{ "Effect": "Allow", "Principal": { "AWS": "` + user + `" }, "Action": "sts:AssumeRole", "Condition": { "StringEquals": { "sts:ExternalId": "12345" } } }`),
			[]asked{
				{exampleUser, "sts:AssumeRole", "arn:aws:iam::111122223333:role/R", policy.Values{"sts:externalid": policy.String("12345")}, "allow"},
				{exampleUser, "sts:TagSession", "arn:aws:iam::111122223333:role/R", policy.Values{"sts:externalid": policy.String("12345")}, ""},
				{exampleUser, "sts:AssumeRole", "arn:aws:iam::111122223333:role/R", nil, ""},
			},
		},
	}
	for name, tt := range tests {
		p := parse(t, tt.text, tt.t)
		for i, a := range tt.asks {
			v := p.Verdict(&policy.Request{Principal: a.principal, Action: a.action, Resource: a.resource, Context: a.context})
			got := ""
			switch {
			case v.Deny:
				got = "deny"
			case v.Allow:
				got = "allow"
			}
			if got != a.want {
				t.Errorf("%s, request %d (%s): %q, want %q", name, i, a.action, got, a.want)
			}
		}
	}
}

var locationTeam = &policy.Principal{
	Account: accountA, Role: "arn:aws:iam::111122223333:role/LocationTeam", ARN: "arn:aws:sts::111122223333:assumed-role/LocationTeam/s", ID: "AROAEXAMPLE",
}

func trail(source, context string) policy.Values {
	const head = "arn:aws:cloudtrail:us-west-2:%s"
	return policy.Values{
		"aws:sourcearn": policy.String(fmt.Sprintf(head, source)),
		"kms:encryptioncontext:aws:cloudtrail:arn": policy.String(fmt.Sprintf(head, context)),
	}
}
