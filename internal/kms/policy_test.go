package kms_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/arn"
	"github.com/keyreeve/keyreeve/internal/attestation/attestationtest"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/store"
)

// statement returns a key policy: all to the account, and one statement more.
func statement(more string) string {
	return `{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"AWS": "` + arn.Root("aws", ours) + `"}, "Action": "kms:*", "Resource": "*"}, ` + more + `]}`
}

func (e *env) putPolicy(id, text string) {
	e.t.Helper()
	e.must(alice, "PutKeyPolicy", object{"KeyId": id, "Policy": text, "BypassPolicyLockoutSafetyCheck": true})
}

// Another account can be let do what is marked so, by the key's ARN, and
// nothing else, whatever the key policy says.
func TestSharedKeys(t *testing.T) {
	t.Parallel()
	share := statement(`{"Effect": "Allow", "Principal": {"AWS": "` + theirs + `"}, "Action": "kms:*", "Resource": "*"}`)
	// Aliases, and ciphertexts alone, name no key of another account.
	naming := those(t, withCancel(), 41, func(o *keyOperation) bool { return o.member != "" && o.member != "TargetKeyId" })
	run(t, naming, func(t *testing.T, e *env, o *keyOperation) {
		id := e.createKey(o.spec, o.usage)
		e.putPolicy(id, share)
		request := o.on(e, id, keyARN(id))
		switch o.variant {
		case "source":
			request["DestinationKeyId"] = e.createKeyAs(bob, "SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT")
		case "destination":
			own := e.createKeyAs(bob, "SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT")
			request["CiphertextBlob"] = e.must(bob, "Encrypt", object{"KeyId": own, "Plaintext": blob(1)}).str("CiphertextBlob")
		}
		action := o.actions[len(o.actions)-1]
		if !o.shared && !o.foreign {
			e.fails(bob, o.name, request, deniedAbroad(bob, action))
			return
		}
		e.fails(bob, o.name, request, "")
		// Both sides have to allow it.
		if o.variant == "source" || o.variant == "destination" {
			return // dave has no key for the other side
		}
		e.fails(dave, o.name, request, "AccessDeniedException: User: "+dave.ARN+" is not authorized to perform: "+action+
			" on this resource because no identity-based policy allows the "+action+" action")
	})
}

// A denial comes before anything about the key's state, usage or the request's
// combination with it is told.
func TestDenied(t *testing.T) {
	t.Parallel()
	run(t, withCancel(), func(t *testing.T, e *env, o *keyOperation) {
		action := o.actions[len(o.actions)-1]
		id := e.createKey(o.spec, o.usage)
		request := o.on(e, id, id)
		resource := keyARN(id)
		e.putPolicy(id, statement(`{"Effect": "Deny", "Principal": "*", "Action": "`+action+`", "Resource": "*"}`))
		want := "AccessDeniedException: User: " + alice.ARN + " is not authorized to perform: " + action + " on resource: " + resource +
			" with an explicit deny in a resource-based policy"
		before := e.dump()
		e.fails(alice, o.name, request, want)
		if o.dryRun {
			e.fails(alice, o.name, request.with(object{"DryRun": true}), want)
		}
		if e.dump() != before {
			t.Errorf("a denied %s changed something", o)
		}
		if o.name != "DisableKey" {
			e.must(alice, "DisableKey", object{"KeyId": id})
			e.fails(alice, o.name, request, want)
		}
		if o.name != "ScheduleKeyDeletion" {
			e.must(alice, "ScheduleKeyDeletion", object{"KeyId": id})
			e.fails(alice, o.name, request, want)
		}
	})
}

// populated is which operations have a condition key when all parameters are
// given that they have. Sources: "AWS KMS condition keys" in the AWS KMS
// Developer Guide; the actions table for AWS KMS in the Service Authorization
// Reference.
var populated = map[string]string{
	"kms:BypassPolicyLockoutSafetyCheck":         "PutKeyPolicy",
	"kms:CallerAccount":                          "*",
	"kms:CustomerMasterKeySpec":                  "*",
	"kms:CustomerMasterKeyUsage":                 "*",
	"kms:DataKeyPairSpec":                        "GenerateDataKeyPair GenerateDataKeyPairWithoutPlaintext",
	"kms:EncryptionAlgorithm":                    "Encrypt Decrypt ReEncrypt GenerateDataKey GenerateDataKeyWithoutPlaintext GenerateDataKeyPair GenerateDataKeyPairWithoutPlaintext",
	"kms:EncryptionContext:Purpose":              "Encrypt Decrypt ReEncrypt GenerateDataKey GenerateDataKeyWithoutPlaintext GenerateDataKeyPair GenerateDataKeyPairWithoutPlaintext CreateGrant",
	"kms:EncryptionContextKeys":                  "Encrypt Decrypt ReEncrypt GenerateDataKey GenerateDataKeyWithoutPlaintext GenerateDataKeyPair GenerateDataKeyPairWithoutPlaintext CreateGrant",
	"kms:ExpirationModel":                        "ImportKeyMaterial",
	"kms:GrantConstraintSourceArn":               "CreateGrant",
	"kms:GrantConstraintType":                    "CreateGrant",
	"kms:GrantIsForAWSResource":                  "CreateGrant ListGrants RevokeGrant",
	"kms:GrantOperations":                        "CreateGrant",
	"kms:GranteePrincipal":                       "CreateGrant",
	"kms:GranteeServicePrincipal":                "",
	"kms:KeyAgreementAlgorithm":                  "DeriveSharedSecret",
	"kms:KeyOrigin":                              "*",
	"kms:KeySpec":                                "*",
	"kms:KeyUsage":                               "*",
	"kms:MacAlgorithm":                           "GenerateMac VerifyMac",
	"kms:MessageType":                            "Sign Verify",
	"kms:MultiRegion":                            "*",
	"kms:MultiRegionKeyType":                     "",
	"kms:PrimaryRegion":                          "",
	"kms:ReEncryptOnSameKey":                     "ReEncrypt",
	"kms:RecipientAttestation:PCR0":              "Decrypt DeriveSharedSecret GenerateDataKey GenerateDataKeyPair",
	"kms:ReplicaRegion":                          "",
	"kms:RequestAlias":                           "",
	"kms:ResourceAliases":                        "*",
	"kms:RetiringPrincipal":                      "CreateGrant",
	"kms:RetiringServicePrincipal":               "",
	"kms:RotationPeriodInDays":                   "EnableKeyRotation",
	"kms:ScheduleKeyDeletionPendingWindowInDays": "ScheduleKeyDeletion",
	"kms:SigningAlgorithm":                       "Sign Verify",
	"kms:TrailingDaysWithoutKeyUsage":            "DisableKey ScheduleKeyDeletion",
	"kms:ValidTo":                                "ImportKeyMaterial",
	"kms:ViaService":                             "",
	"kms:WrappingAlgorithm":                      "GetParametersForImport",
	"kms:WrappingKeySpec":                        "GetParametersForImport",
	"aws:RequestTag/a":                           "TagResource",
	"aws:TagKeys":                                "TagResource UntagResource",
	"aws:ResourceTag/Project":                    "*",
}

// tester returns a user of ours who is denied explicitly if a condition key is
// there, and by default if it is not; what is decided on an alias is allowed.
func tester(key string) *call.Principal {
	return principal(ours, "tester", `{"Version": "2012-10-17", "Statement": [
		{"Effect": "Allow", "Action": "*", "Resource": "arn:aws:kms:*:*:alias/*"},
		{"Effect": "Deny", "Action": "*", "Resource": ["arn:aws:kms:*:*:key/*"], "Condition": {"Null": {"`+key+`": "false"}}}]}`)
}

func TestConditionKeysOfOperations(t *testing.T) {
	t.Parallel()
	// What the others are decided on first is another key: see
	// TestReEncryptConditions for one, and the key that the alias points at now is
	// tested with the other variant.
	first := those(t, keyOperations, 43, func(o *keyOperation) bool {
		return (o.name != "ReEncrypt" || o.variant != "destination") && (o.name != "UpdateAlias" || o.variant != "target")
	})
	run(t, first, func(t *testing.T, e *env, o *keyOperation) {
		id := e.createKey(o.spec, o.usage)
		e.must(alice, "CreateAlias", object{"AliasName": "alias/its", "TargetKeyId": id})
		e.must(alice, "TagResource", object{"KeyId": id, "Tags": []object{{"TagKey": "Project", "TagValue": "x"}}})
		request := o.on(e, id, id)
		switch o.name {
		case "Encrypt", "GenerateDataKey", "GenerateDataKeyWithoutPlaintext", "GenerateDataKeyPair", "GenerateDataKeyPairWithoutPlaintext", "Decrypt":
			request["EncryptionContext"] = object{"purpose": "x"}
		case "ReEncrypt":
			request["SourceEncryptionContext"], request["DestinationEncryptionContext"] = object{"Purpose": "x"}, object{"Purpose": "x"}
		case "CreateGrant":
			request["Constraints"] = object{"EncryptionContextEquals": object{"Purpose": "x"}, "SourceArn": "arn:aws:s3:::some-bucket"}
			request["RetiringPrincipal"] = alice.ARN
		case "PutKeyPolicy":
			request["BypassPolicyLockoutSafetyCheck"] = false
		case "ImportKeyMaterial":
			request["ExpirationModel"], request["ValidTo"] = "KEY_MATERIAL_EXPIRES", e.clock().Add(time.Hour).Unix()
		}
		for key, operations := range populated {
			who := tester(key)
			asked := request
			if key == "kms:RecipientAttestation:PCR0" && slices.Contains(strings.Fields(operations), o.name) {
				asked = maps.Clone(request)
				asked["Recipient"] = e.recipient(attestationtest.Document{})
			}
			a := e.call(who, o.name, encode(t, asked))
			there := strings.HasSuffix(a.text(), "with an explicit deny in an identity-based policy")
			if !there && !strings.HasSuffix(a.text(), "action") {
				t.Fatalf("%s: %s", key, or(a.text(), "success"))
			}
			want := operations == "*" || slices.Contains(strings.Fields(operations), o.name)
			if there != want {
				t.Errorf("%s is there: %t, want %t: %s", key, there, want, a.text())
			}
		}
	})
}

// ReEncrypt is decided twice, each time on what is asked of one key.
func TestReEncryptConditions(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	from, to := e.createKey("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT"), e.createKey("RSA_2048", "ENCRYPT_DECRYPT")
	e.must(alice, "CreateAlias", object{"AliasName": "alias/from", "TargetKeyId": from})
	e.must(alice, "CreateAlias", object{"AliasName": "alias/to", "TargetKeyId": to})
	made := e.must(alice, "Encrypt", object{"KeyId": from, "Plaintext": blob(5), "EncryptionContext": object{"side": "from"}})
	request := object{
		"CiphertextBlob": made["CiphertextBlob"], "SourceKeyId": "alias/from", "SourceEncryptionContext": object{"side": "from"},
		"DestinationKeyId": aliasARN("alias/to"), "DestinationEncryptionAlgorithm": "RSAES_OAEP_SHA_256", "DryRun": true,
	}
	check := func(request object, from, to, want string) {
		t.Helper()
		who := principal(ours, "tester", `{"Version": "2012-10-17", "Statement": [
			{"Effect": "Allow", "Action": "kms:ReEncryptFrom", "Resource": "*", "Condition": {`+from+`}},
			{"Effect": "Allow", "Action": "kms:ReEncryptTo", "Resource": "*", "Condition": {`+to+`}}]}`)
		e.fails(who, "ReEncrypt", request, want)
	}
	noFrom := "AccessDeniedException: User: arn:aws:iam::" + ours + ":user/tester is not authorized to perform: kms:ReEncryptFrom on resource: " +
		keyARN(from) + " because no identity-based policy allows the kms:ReEncryptFrom action"
	noTo := "AccessDeniedException: User: arn:aws:iam::" + ours + ":user/tester is not authorized to perform: kms:ReEncryptTo on resource: " +
		keyARN(to) + " because no identity-based policy allows the kms:ReEncryptTo action"
	const anything = `"StringLike": {"kms:KeySpec": "*"}`
	check(request, `"StringEquals": {"kms:RequestAlias": "alias/from", "kms:EncryptionAlgorithm": "SYMMETRIC_DEFAULT", "kms:EncryptionContext:side": "from", "kms:KeySpec": "SYMMETRIC_DEFAULT"}, "Bool": {"kms:ReEncryptOnSameKey": "false"}`,
		`"StringEquals": {"kms:RequestAlias": "alias/to", "kms:EncryptionAlgorithm": "RSAES_OAEP_SHA_256", "kms:KeySpec": "RSA_2048"}, "Null": {"kms:EncryptionContextKeys": "true"}`, dryRun)
	check(request, `"StringEquals": {"kms:RequestAlias": "alias/to"}`, anything, noFrom)
	check(request, anything, `"StringEquals": {"kms:RequestAlias": "alias/from"}`, noTo)
	check(request, anything, `"StringEquals": {"kms:EncryptionContext:side": "from"}`, noTo)
	check(request.with(object{"SourceKeyId": nil}), `"StringEquals": {"kms:RequestAlias": "alias/from"}`, anything, noFrom)
	same := request.with(object{"DestinationKeyId": from, "DestinationEncryptionAlgorithm": nil})
	check(same, `"Bool": {"kms:ReEncryptOnSameKey": "true"}`, `"Bool": {"kms:ReEncryptOnSameKey": "true"}`, dryRun)
}

// What a condition key is worth: a user who is allowed everything on a
// condition.
func TestConditionValues(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	id := e.createKey("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT")
	rsa := e.createKey("RSA_2048", "SIGN_VERIFY")
	e.must(alice, "CreateAlias", object{"AliasName": "alias/finance", "TargetKeyId": id})
	e.must(alice, "CreateAlias", object{"AliasName": "alias/Test1", "TargetKeyId": id})
	e.must(alice, "TagResource", object{"KeyId": id, "Tags": []object{{"TagKey": "Team", "TagValue": "a"}, {"TagKey": "team", "TagValue": "b"}}})
	encrypt := object{"KeyId": id, "Plaintext": blob(1), "DryRun": true}
	source := ciphertext(e, id)
	sign := object{"KeyId": rsa, "Message": blob(1), "SigningAlgorithm": "RSASSA_PSS_SHA_256", "DryRun": true}
	agreement := e.createKey("ECC_NIST_P384", "KEY_AGREEMENT")
	derive := object{"KeyId": agreement, "KeyAgreementAlgorithm": "ECDH", "PublicKey": e.must(alice, "GetPublicKey", object{"KeyId": agreement}).str("PublicKey"), "DryRun": true}
	grant := object{"KeyId": id, "GranteePrincipal": carol.ARN, "Operations": []string{"Encrypt", "ReEncryptTo"}, "DryRun": true}
	for _, test := range []struct {
		operation string
		request   object
		condition string
		want      string // error code; empty for success or a dry run
	}{
		{"Encrypt", encrypt, `"StringEquals": {"kms:EncryptionAlgorithm": "SYMMETRIC_DEFAULT"}`, ""},
		{"Encrypt", encrypt, `"StringEquals": {"kms:EncryptionAlgorithm": "RSAES_OAEP_SHA_256"}`, "AccessDeniedException"},
		{"Encrypt", encrypt, `"StringEquals": {"kms:KeySpec": "SYMMETRIC_DEFAULT", "kms:KeyUsage": "ENCRYPT_DECRYPT", "kms:KeyOrigin": "AWS_KMS", "kms:CustomerMasterKeySpec": "SYMMETRIC_DEFAULT", "kms:CustomerMasterKeyUsage": "ENCRYPT_DECRYPT"}, "Bool": {"kms:MultiRegion": "false"}, "Null": {"kms:MultiRegionKeyType": "true"}`, ""},
		{"Encrypt", encrypt, `"StringEquals": {"kms:CallerAccount": "` + ours + `"}`, ""},
		{"Encrypt", encrypt.with(object{"EncryptionContext": object{"AppName": "ExampleApp", "FilePath": "/x"}}), `"StringEquals": {"kms:EncryptionContext:AppName": "ExampleApp"}`, ""},
		{"Encrypt", encrypt.with(object{"EncryptionContext": object{"appname": "ExampleApp"}}), `"StringEquals": {"kms:EncryptionContext:AppName": "ExampleApp"}`, ""},
		{"Encrypt", encrypt.with(object{"EncryptionContext": object{"appname": "other", "AppName": "ExampleApp"}}), `"StringEquals": {"kms:EncryptionContext:AppName": "ExampleApp"}`, ""},
		{"Encrypt", encrypt.with(object{"EncryptionContext": object{"AppName": "exampleapp"}}), `"StringEquals": {"kms:EncryptionContext:AppName": "ExampleApp"}`, "AccessDeniedException"},
		{"Encrypt", encrypt.with(object{"EncryptionContext": object{"aws:geo:arn": "x"}}), `"StringEquals": {"kms:EncryptionContext:aws:geo:arn": "x"}`, ""},
		{"Encrypt", encrypt, `"StringEquals": {"kms:EncryptionContext:AppName": "ExampleApp"}`, "AccessDeniedException"},
		{"Encrypt", encrypt.with(object{"EncryptionContext": object{"a": "1", "b": "2"}}), `"ForAllValues:StringEquals": {"kms:EncryptionContextKeys": ["a", "b"]}, "Null": {"kms:EncryptionContextKeys": "false"}`, ""},
		{"Encrypt", encrypt.with(object{"EncryptionContext": object{"a": "1", "B": "2"}}), `"ForAllValues:StringEquals": {"kms:EncryptionContextKeys": ["a", "b"]}`, "AccessDeniedException"},
		{"Encrypt", encrypt.with(object{"EncryptionContext": object{}}), `"Null": {"kms:EncryptionContextKeys": "true"}`, ""},
		{"Encrypt", encrypt.with(object{"KeyId": "alias/finance"}), `"StringEquals": {"kms:RequestAlias": "alias/finance"}`, ""},
		{"Encrypt", encrypt.with(object{"KeyId": aliasARN("alias/finance")}), `"StringEquals": {"kms:RequestAlias": "alias/finance"}`, ""},
		{"Encrypt", encrypt, `"StringLike": {"kms:RequestAlias": "alias/*"}`, "AccessDeniedException"},
		{"Decrypt", object{"CiphertextBlob": source, "DryRun": true}, `"StringLike": {"kms:RequestAlias": "*"}`, "AccessDeniedException"},
		{"Decrypt", object{"CiphertextBlob": source, "KeyId": "alias/finance", "DryRun": true}, `"StringLike": {"kms:RequestAlias": "alias/fin*"}`, ""},
		{"DescribeKey", object{"KeyId": "alias/finance"}, `"StringEquals": {"kms:RequestAlias": "alias/finance"}`, ""},
		{"Encrypt", encrypt, `"ForAnyValue:StringEquals": {"kms:ResourceAliases": "alias/finance"}`, ""},
		{"Encrypt", encrypt, `"ForAllValues:StringLike": {"kms:ResourceAliases": "alias/*Test*"}, "ForAnyValue:StringLike": {"kms:ResourceAliases": "alias/*Test*"}`, "AccessDeniedException"},
		{"Sign", sign, `"ForAnyValue:StringLike": {"kms:ResourceAliases": "*"}`, "AccessDeniedException"},
		{"Encrypt", encrypt, `"StringEquals": {"aws:ResourceTag/Team": "a"}`, ""},
		{"Encrypt", encrypt, `"StringEquals": {"aws:ResourceTag/team": "b"}`, ""},
		{"Encrypt", encrypt, `"StringEquals": {"aws:ResourceTag/TEAM": ["a", "b"]}`, ""},
		{"Encrypt", encrypt, `"StringEquals": {"aws:ResourceTag/Other": "a"}`, "AccessDeniedException"},
		{"Sign", sign, `"StringEquals": {"kms:MessageType": "RAW", "kms:SigningAlgorithm": "RSASSA_PSS_SHA_256"}`, ""},
		{"Sign", sign.with(object{"MessageType": "DIGEST", "Message": digest32}), `"StringEquals": {"kms:MessageType": "DIGEST"}`, ""},
		{"DeriveSharedSecret", derive, `"StringEquals": {"kms:KeyAgreementAlgorithm": "ECDH", "kms:KeyUsage": "KEY_AGREEMENT", "kms:KeySpec": "ECC_NIST_P384"}`, ""},
		{"DeriveSharedSecret", derive, `"StringEquals": {"kms:KeyAgreementAlgorithm": "ECDHE"}`, "AccessDeniedException"},
		{"GenerateDataKeyPair", object{"KeyId": id, "KeyPairSpec": "ECC_NIST_P256", "DryRun": true}, `"StringEquals": {"kms:DataKeyPairSpec": "ECC_NIST_P256", "kms:EncryptionAlgorithm": "SYMMETRIC_DEFAULT"}`, ""},
		{"CreateGrant", grant, `"ForAllValues:StringEquals": {"kms:GrantOperations": ["Encrypt", "ReEncryptTo"]}`, ""},
		{"CreateGrant", grant.with(object{"Operations": []string{"Encrypt", "Decrypt"}}), `"ForAllValues:StringEquals": {"kms:GrantOperations": ["Encrypt", "ReEncryptTo"]}`, "AccessDeniedException"},
		{"CreateGrant", grant, `"StringEquals": {"kms:GranteePrincipal": "` + carol.ARN + `"}, "Null": {"kms:RetiringPrincipal": "true", "kms:GranteeServicePrincipal": "true", "kms:GrantConstraintType": "true"}`, ""},
		{"CreateGrant", grant, `"StringEquals": {"kms:GranteePrincipal": "` + alice.ARN + `"}`, "AccessDeniedException"},
		{"CreateGrant", grant, `"Bool": {"kms:GrantIsForAWSResource": "true"}`, "AccessDeniedException"},
		{"CreateGrant", grant.with(object{"RetiringPrincipal": alice.ARN}), `"StringEquals": {"kms:RetiringPrincipal": "` + alice.ARN + `"}`, ""},
		{"CreateGrant", grant.with(object{"Constraints": object{"EncryptionContextEquals": object{"a": "b"}}}), `"StringEquals": {"kms:GrantConstraintType": "EncryptionContextEquals", "kms:EncryptionContext:A": "b"}`, ""},
		{"CreateGrant", grant.with(object{"Constraints": object{"EncryptionContextSubset": object{"a": "b"}}}), `"StringEquals": {"kms:GrantConstraintType": "EncryptionContextSubset", "kms:EncryptionContext:a": "b"}`, ""},
		{"CreateGrant", grant.with(object{"Constraints": object{"EncryptionContextSubset": object{"a": "b"}}}), `"StringEquals": {"kms:GrantConstraintType": "EncryptionContextEquals"}`, "AccessDeniedException"},
		{"CreateGrant", grant.with(object{"Constraints": object{"SourceArn": "arn:aws:s3:::some-bucket"}}), `"ArnLike": {"kms:GrantConstraintSourceArn": "arn:aws:s3:::*"}, "Null": {"kms:GrantConstraintType": "true"}`, ""},
		{
			"CreateGrant",
			object{"KeyId": id, "GranteeServicePrincipal": "s3.amazonaws.com", "RetiringServicePrincipal": "s3.amazonaws.com", "Operations": []string{"Decrypt"}, "Constraints": object{"SourceArn": "arn:aws:s3:::some-bucket"}, "DryRun": true},
			`"StringEquals": {"kms:GranteeServicePrincipal": "s3.amazonaws.com", "kms:RetiringServicePrincipal": "s3.amazonaws.com"}, "Null": {"kms:GranteePrincipal": "true", "kms:RetiringPrincipal": "true"}`, "",
		},
		{"TagResource", object{"KeyId": id, "Tags": []object{{"TagKey": "Project", "TagValue": "x"}}}, `"StringEquals": {"aws:RequestTag/project": "x"}, "ForAllValues:StringEquals": {"aws:TagKeys": ["Project"]}`, ""},
		{"TagResource", object{"KeyId": id, "Tags": []object{{"TagKey": "Project", "TagValue": "x"}, {"TagKey": "Owner", "TagValue": "x"}}}, `"ForAllValues:StringEquals": {"aws:TagKeys": ["Project"]}`, "AccessDeniedException"},
		{"UntagResource", object{"KeyId": id, "TagKeys": []string{"Other"}}, `"ForAnyValue:StringEquals": {"aws:TagKeys": ["Other"]}`, ""},
		{"PutKeyPolicy", object{"KeyId": id, "Policy": "{}"}, `"Null": {"kms:BypassPolicyLockoutSafetyCheck": "true"}`, "MalformedPolicyDocumentException"},
		{"PutKeyPolicy", object{"KeyId": id, "Policy": "{}", "BypassPolicyLockoutSafetyCheck": false}, `"Null": {"kms:BypassPolicyLockoutSafetyCheck": "true"}`, "AccessDeniedException"},
		{"PutKeyPolicy", object{"KeyId": id, "Policy": "{}", "BypassPolicyLockoutSafetyCheck": true}, `"Bool": {"kms:BypassPolicyLockoutSafetyCheck": "true"}`, "MalformedPolicyDocumentException"},
		{"CreateKey", object{"KeySpec": "SM2"}, `"StringEquals": {"kms:KeySpec": "SM2", "kms:KeyUsage": "ENCRYPT_DECRYPT", "kms:KeyOrigin": "AWS_KMS"}, "Bool": {"kms:MultiRegion": "false"}`, "ValidationException"},
		{"CreateKey", object{"CustomerMasterKeySpec": "RSA_2048"}, `"StringEquals": {"kms:KeySpec": "RSA_2048"}`, "ValidationException"},
		{"CreateKey", object{"MultiRegion": true}, `"StringEquals": {"kms:MultiRegionKeyType": "PRIMARY"}, "Bool": {"kms:MultiRegion": "true"}`, ""},
		{"CreateKey", object{"Origin": "EXTERNAL_KEY_STORE"}, `"StringEquals": {"kms:KeyOrigin": "EXTERNAL_KEY_STORE"}`, "UnsupportedOperationException"},
		{"CreateKey", object{"BypassPolicyLockoutSafetyCheck": true}, `"Null": {"kms:BypassPolicyLockoutSafetyCheck": "true"}`, "AccessDeniedException"},
		{"CreateKey", object{"Tags": []object{{"TagKey": "Project", "TagValue": "x"}}}, `"StringEquals": {"aws:RequestTag/Project": "x"}`, ""},
		{"CreateKey", object{"Tags": []object{{"TagKey": "Project", "TagValue": "x"}}}, `"StringEquals": {"aws:ResourceTag/Project": "x"}`, "AccessDeniedException"},
		{"DisableKey", object{"KeyId": rsa}, `"NumericLessThanEquals": {"kms:TrailingDaysWithoutKeyUsage": "90"}`, ""},
		{"EnableKeyRotation", object{"KeyId": id, "RotationPeriodInDays": 180}, `"NumericLessThanEquals": {"kms:RotationPeriodInDays": "180"}`, ""},
		{"EnableKeyRotation", object{"KeyId": id, "RotationPeriodInDays": 181}, `"NumericLessThanEquals": {"kms:RotationPeriodInDays": "180"}`, "AccessDeniedException"},
		{"EnableKeyRotation", object{"KeyId": id}, `"NumericEquals": {"kms:RotationPeriodInDays": "365"}`, ""},
		{"RotateKeyOnDemand", object{"KeyId": id}, `"Null": {"kms:RotationPeriodInDays": "false"}`, "AccessDeniedException"},
		{"ScheduleKeyDeletion", object{"KeyId": rsa, "PendingWindowInDays": 7}, `"NumericGreaterThan": {"kms:ScheduleKeyDeletionPendingWindowInDays": "21"}`, "AccessDeniedException"},
		{"ScheduleKeyDeletion", object{"KeyId": rsa}, `"NumericEquals": {"kms:ScheduleKeyDeletionPendingWindowInDays": "30"}`, ""},
	} {
		who := principal(ours, "tester", `{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "kms:*", "Resource": "*", "Condition": {`+test.condition+`}}}`)
		a := e.call(who, test.operation, encode(t, test.request))
		if got := strings.TrimPrefix(a.code(), "DryRunOperationException"); got != test.want {
			t.Errorf("%s(%s) on condition %s: %s, want %s", test.operation, encode(t, test.request), test.condition, or(a.text(), "success"), or(test.want, "success"))
		}
	}
}

// To make a key with tags takes both permissions, and the second has no name
// of the key to tell.
func TestTagOnCreate(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	request := object{"Tags": []object{{"TagKey": "Project", "TagValue": "x"}}}
	for _, more := range []string{"", `, {"Effect": "Allow", "Action": "kms:TagResource", "Resource": "*", "Condition": {"StringEquals": {"aws:ResourceTag/Project": "x"}}}`} {
		who := principal(ours, "tester", `{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "kms:CreateKey", "Resource": "*"}`+more+`]}`)
		e.fails(who, "CreateKey", request, "AccessDeniedException: User: "+who.ARN+
			" is not authorized to perform: kms:TagResource because no identity-based policy allows the kms:TagResource action")
		e.fails(who, "CreateKey", object{}, "")
	}
	who := principal(ours, "tester", `{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "kms:CreateKey", "Resource": "*"},
		{"Effect": "Allow", "Action": "kms:TagResource", "Resource": "arn:aws:kms:*:`+ours+`:key/*", "Condition": {"StringEquals": {"aws:RequestTag/Project": "x"}}}]}`)
	e.fails(who, "CreateKey", request, "")
}

// Alias operations are decided on the alias, by identity-based policies alone,
// and on each key.
func TestAliasDecisions(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	one, two := e.createKey("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT"), e.createKey("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT")
	only := func(resources ...string) *call.Principal {
		return principal(ours, "tester", `{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": ["kms:CreateAlias", "kms:UpdateAlias", "kms:DeleteAlias"], "Resource": ["`+strings.Join(resources, `", "`)+`"]}}`)
	}
	its := aliasARN("alias/its")
	create := object{"AliasName": "alias/its", "TargetKeyId": one}
	update := object{"AliasName": "alias/its", "TargetKeyId": two}
	remove := object{"AliasName": "alias/its"}
	refuse := func(operation string, request object, resource string, resources ...string) {
		t.Helper()
		who := only(resources...)
		e.fails(who, operation, request, denied(who, "kms:"+operation, resource))
	}
	refuse("CreateAlias", create, its, keyARN(one))
	refuse("CreateAlias", create, its, keyARN(one), aliasARN("alias/other"))
	refuse("CreateAlias", create, keyARN(one), its)
	e.fails(only(its, keyARN(one)), "CreateAlias", create, "")
	refuse("UpdateAlias", update, its, keyARN(one), keyARN(two))
	refuse("UpdateAlias", update, keyARN(one), its, keyARN(two))
	refuse("UpdateAlias", update, keyARN(two), its, keyARN(one))
	e.fails(only(its, keyARN(one), keyARN(two)), "UpdateAlias", update, "")
	refuse("DeleteAlias", remove, its, keyARN(two))
	refuse("DeleteAlias", remove, keyARN(two), its, keyARN(one))
	// A key policy is good for the key and not for the alias.
	e.putPolicy(two, statement(`{"Effect": "Allow", "Principal": {"AWS": "`+carol.ARN+`"}, "Action": "kms:*Alias", "Resource": "*"}`))
	e.fails(carol, "DeleteAlias", remove, denied(carol, "kms:DeleteAlias", its))
	who := principal(ours, "carol", `{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "kms:DeleteAlias", "Resource": "`+its+`"}}`)
	e.fails(who, "DeleteAlias", remove, "")
}

// Who is deleted leaves an id in policies and grants, and a namesake gets
// nothing.
func TestDeletedPrincipals(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	id := e.createKey("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT")
	text := statement(`{"Effect": "Allow", "Principal": {"AWS": "` + carol.ARN + `"}, "Action": "kms:DescribeKey", "Resource": "*"}`)
	e.putPolicy(id, text)
	e.must(alice, "CreateGrant", object{"KeyId": id, "GranteePrincipal": carol.ARN, "Operations": []string{"Encrypt"}, "RetiringPrincipal": carol.ARN})
	encrypt := object{"KeyId": id, "Plaintext": blob(1), "DryRun": true}
	e.fails(carol, "DescribeKey", object{"KeyId": id}, "")
	e.fails(carol, "Encrypt", encrypt, dryRun)

	// It may be called otherwise meanwhile.
	renamed := *carol
	renamed.ARN = arn.User("aws", ours, "/", "caroline")
	renamed.EntityARN, renamed.Names.ARN = renamed.ARN, renamed.ARN
	e.people.remove(carol.ARN)
	e.people.put(renamed.ARN, carol.EntityID)
	e.fails(&renamed, "DescribeKey", object{"KeyId": id}, "")
	e.fails(&renamed, "Encrypt", encrypt, dryRun)
	show := func(want string) {
		t.Helper()
		if got := e.must(alice, "GetKeyPolicy", object{"KeyId": id}).str("Policy"); !strings.Contains(got, `"AWS" : "`+want+`"`) {
			t.Errorf("the policy does not name %s: %s", want, got)
		}
		grants := e.must(alice, "ListGrants", object{"KeyId": id}).list("Grants")
		entry := object(grants[0].(map[string]any))
		if entry.str("GranteePrincipal") != want || entry.str("RetiringPrincipal") != want {
			t.Errorf("the grant is %v, want %s in it", entry, want)
		}
	}
	show(renamed.ARN)

	e.people.remove(renamed.ARN)
	namesake := *carol
	namesake.EntityID = "AIDANEWCAROL00000001"
	namesake.ID, namesake.Names.ID = namesake.EntityID, namesake.EntityID
	e.people.put(namesake.ARN, namesake.EntityID)
	e.fails(&namesake, "DescribeKey", object{"KeyId": id}, denied(&namesake, "kms:DescribeKey", keyARN(id)))
	e.fails(&namesake, "Encrypt", encrypt, denied(&namesake, "kms:Encrypt", keyARN(id)))
	show(carol.EntityID)
	// What is printed cannot be put any more.
	printed := e.must(alice, "GetKeyPolicy", object{"KeyId": id}).str("Policy")
	e.fails(alice, "PutKeyPolicy", object{"KeyId": id, "Policy": printed}, "MalformedPolicyDocumentException: Policy contains a statement with one or more invalid principals.")
}

// With a delay, a new grant works for those who bring its token.
func TestGrantDelay(t *testing.T) {
	t.Parallel()
	e := newEnvWith(t, store.NewMem(), time.Minute)
	id := e.createKey("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT")
	made := e.must(alice, "CreateGrant", object{"KeyId": id, "GranteePrincipal": dave.ARN, "Operations": []string{"Encrypt"}})
	other := grantOn(e, id)
	encrypt := object{"KeyId": keyARN(id), "Plaintext": blob(1), "DryRun": true}
	e.fails(dave, "Encrypt", encrypt, deniedAbroad(dave, "kms:Encrypt"))
	e.fails(dave, "Encrypt", encrypt.with(object{"GrantTokens": []any{other["GrantToken"]}}), deniedAbroad(dave, "kms:Encrypt"))
	e.fails(dave, "Encrypt", encrypt.with(object{"GrantTokens": []any{made["GrantToken"]}}), dryRun)
	e.fails(bob, "Encrypt", encrypt.with(object{"GrantTokens": []any{made["GrantToken"]}}), deniedAbroad(bob, "kms:Encrypt"))
	e.advance(time.Minute)
	e.fails(dave, "Encrypt", encrypt, dryRun)
}

// Pages of grants, in both lists.
func TestGrantLists(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	want := make(map[string]bool)
	var first string
	for range 2 {
		id := e.createKey("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT")
		first = or(first, id)
		for range 7 {
			made := e.must(alice, "CreateGrant", object{"KeyId": id, "GranteePrincipal": dave.ARN, "Operations": []string{"Encrypt"}, "RetiringPrincipal": carol.EntityARN})
			want[made.str("GrantId")] = id == first
		}
	}
	pages := func(operation string, request object) map[string]bool {
		got := make(map[string]bool)
		for {
			page := e.must(alice, operation, request.with(object{"Limit": 3}))
			for _, g := range page.list("Grants") {
				got[object(g.(map[string]any)).str("GrantId")] = true
			}
			if page["Truncated"] != true {
				return got
			}
			request = request.with(object{"Marker": page["NextMarker"]})
		}
	}
	if got := pages("ListRetirableGrants", object{"RetiringPrincipal": carol.ARN}); len(got) != len(want) {
		t.Errorf("%d retirable grants, want %d", len(got), len(want))
	}
	for _, request := range []object{{"KeyId": first}, {"KeyId": first, "GranteePrincipal": dave.ARN}} {
		got := pages("ListGrants", request)
		for id, on := range want {
			if got[id] != on {
				t.Errorf("ListGrants(%v) has %s: %t, want %t", request, id, got[id], on)
			}
		}
	}
	// A marker is good for the list that it came from.
	marker := e.must(alice, "ListGrants", object{"KeyId": first, "Limit": 1})["NextMarker"]
	e.fails(alice, "ListGrants", object{"KeyId": first, "GranteePrincipal": dave.ARN, "Marker": marker}, "InvalidMarkerException")
}

// A policy that changes between a decision and what was decided on is asked
// anew.
func TestPolicyChangesUnderway(t *testing.T) {
	t.Parallel()
	deny := statement(`{"Effect": "Deny", "Principal": "*", "Action": ["kms:CreateGrant", "kms:RevokeGrant", "kms:TagResource", "kms:PutKeyPolicy"], "Resource": "*"}`)
	for _, operation := range []string{"CreateGrant", "RevokeGrant", "TagResource", "PutKeyPolicy"} {
		t.Run(operation, func(t *testing.T) {
			t.Parallel()
			st := &faultyStore{Store: store.NewMem()}
			e := newEnvOn(t, st)
			id := e.createKey("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT")
			made := grantOn(e, id)
			request := map[string]object{
				"CreateGrant":  {"KeyId": id, "GranteePrincipal": dave.ARN, "Operations": []string{"Encrypt"}},
				"RevokeGrant":  {"KeyId": id, "GrantId": made["GrantId"]},
				"TagResource":  {"KeyId": id, "Tags": []object{{"TagKey": "a", "TagValue": "b"}}},
				"PutKeyPolicy": {"KeyId": id, "Policy": delegation},
			}[operation]
			change := func() { e.putPolicy(id, deny) }
			st.between.Store(&change)
			e.fails(alice, operation, request, "AccessDeniedException: User: "+alice.ARN+" is not authorized to perform: kms:"+operation+
				" on resource: "+keyARN(id)+" with an explicit deny in a resource-based policy")
			if grants := e.must(alice, "ListGrants", object{"KeyId": id}).list("Grants"); len(grants) != 1 {
				t.Errorf("%d grants, want the one that was there", len(grants))
			}
		})
	}
}

// A grant that has been revoked is used no more, however busy it is.
func TestGrantRevokedWhileUsed(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	id := e.createKey("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT")
	made := e.must(alice, "CreateGrant", object{"KeyId": id, "GranteePrincipal": dave.ARN, "Operations": []string{"Encrypt"}})
	encrypt := encode(t, object{"KeyId": keyARN(id), "Plaintext": blob(1), "GrantTokens": []any{made["GrantToken"]}})
	var (
		work    sync.WaitGroup
		revoked = make(chan struct{})
		used    atomic.Int32 // how often it was, successfully
	)
	for range 4 {
		work.Go(func() {
			for late := 0; late < 10; {
				gone := false
				select {
				case <-revoked:
					gone = true
					late++
				default:
				}
				a := e.call(dave, "Encrypt", encrypt)
				switch {
				case gone && a.code() != "AccessDeniedException":
					t.Errorf("after it was revoked: %s", or(a.text(), "success"))
				case !gone && a.err == nil:
					used.Add(1)
				case !gone && a.code() != "AccessDeniedException":
					t.Errorf("while it was revoked: %s", a.text())
				}
			}
		})
	}
	for used.Load() < 20 && !t.Failed() {
		time.Sleep(time.Millisecond)
	}
	e.must(alice, "RevokeGrant", object{"KeyId": id, "GrantId": made["GrantId"]})
	close(revoked)
	work.Wait()
}

// What fails in the store is no denial, and no permission.
func TestGrantsOfABrokenStore(t *testing.T) {
	t.Parallel()
	st := &brokenReads{Store: store.NewMem()}
	e := newEnvOn(t, st)
	id := e.createKey("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT")
	e.must(alice, "CreateGrant", object{"KeyId": id, "GranteePrincipal": dave.ARN, "Operations": []string{"Encrypt"}})
	e.must(alice, "DescribeKey", object{"KeyId": id})
	st.mu.Lock()
	st.prefix = "v1/grantee/"
	st.mu.Unlock()
	if a := e.call(dave, "Encrypt", encode(t, object{"KeyId": keyARN(id), "Plaintext": blob(1)})); a.code() != "KMSInternalException" {
		t.Errorf("with grants that cannot be read: %s", or(a.text(), "success"))
	}
}

// brokenReads is a store in which some keys cannot be read.
type brokenReads struct {
	store.Store
	mu     sync.Mutex
	prefix string
	reads  int
}

func (s *brokenReads) Get(ctx context.Context, key string) (store.KV, store.Rev, error) {
	s.mu.Lock()
	s.reads++
	broken := s.prefix != "" && strings.HasPrefix(key, s.prefix)
	s.mu.Unlock()
	if broken {
		return store.KV{}, 0, errors.New("unreadable")
	}
	return s.Store.Get(ctx, key)
}

func (s *brokenReads) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reads
}

// A warm call reads no store: neither when a policy decides nor when a grant
// does, whoever the grant is to.
func TestWarmCallsReadNoStore(t *testing.T) {
	t.Parallel()
	st := &brokenReads{Store: store.NewMem()}
	e := newEnvOn(t, st)
	id := e.createKey("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT")
	e.must(alice, "CreateAlias", object{"AliasName": "alias/its", "TargetKeyId": id})
	grant := func(grantee string, n int) {
		for range n {
			e.must(alice, "CreateGrant", object{"KeyId": id, "GranteePrincipal": grantee, "Operations": []string{"Encrypt"}})
		}
	}
	grant(dave.ARN, 40) // more than a page
	grant(frank.EntityARN, 1)
	for _, who := range []*call.Principal{alice, dave, frank} {
		encrypt := encode(t, object{"KeyId": aliasARN("alias/its"), "Plaintext": blob(1)})
		for range 2 {
			if a := e.call(who, "Encrypt", encrypt); a.err != nil {
				t.Fatal(a.err)
			}
		}
		before := st.count()
		if a := e.call(who, "Encrypt", encrypt); a.err != nil {
			t.Fatal(a.err)
		}
		if n := st.count() - before; n != 0 {
			t.Errorf("a warm call of %s reads the store %d times", who.ARN, n)
		}
	}
}

func TestLayoutOfPolicies(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	for _, test := range []struct{ statement, want string }{
		{
			`{"Effect": "Deny", "NotPrincipal": {"AWS": ["` + ours + `"]}, "NotAction": ["kms:Decrypt"], "Resource": "*", "Condition": {"Bool": {"aws:SecureTransport": false}, "NumericEquals": {"kms:RotationPeriodInDays": [90, "180"]}}, "Sid": "1"}`,
			`{
    "Sid" : "1",
    "Effect" : "Deny",
    "NotPrincipal" : {
      "AWS" : [ "arn:aws:iam::` + ours + `:root" ]
    },
    "NotAction" : [ "kms:Decrypt" ],
    "Resource" : "*",
    "Condition" : {
      "Bool" : {
        "aws:SecureTransport" : false
      },
      "NumericEquals" : {
        "kms:RotationPeriodInDays" : [ 90, "180" ]
      }
    }
  }`,
		},
		{
			`{"Sid": "é\u00e8\"\\", "Effect": "Allow", "Principal": "*", "Action": "kms:Get*", "Resource": ["*"]}`,
			`{
    "Sid" : "éè\"\\",
    "Effect" : "Allow",
    "Principal" : "*",
    "Action" : "kms:Get*",
    "Resource" : [ "*" ]
  }`,
		},
	} {
		id := e.createKey("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT")
		e.putPolicy(id, statement(test.statement))
		got := e.must(alice, "GetKeyPolicy", object{"KeyId": id}).str("Policy")
		if !strings.Contains(got, "}, "+test.want+" ]\n}") {
			t.Errorf("printed as\n%s\nwant\n%s", got, test.want)
		}
		// What is printed can be put, and is printed the same.
		e.must(alice, "PutKeyPolicy", object{"KeyId": id, "Policy": got, "BypassPolicyLockoutSafetyCheck": true})
		if again := e.must(alice, "GetKeyPolicy", object{"KeyId": id}).str("Policy"); again != got {
			t.Errorf("printed again as\n%s\nwant\n%s", again, got)
		}
	}
}

// The lockout check asks what the caller may under the new policy, by all of
// the caller's policies.
func TestLockout(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	id := e.createKey("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT")
	const locked = "MalformedPolicyDocumentException: The new key policy will not allow you to update the key policy in the future."
	allow := func(principal, action, more string) string {
		return fmt.Sprintf(`{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Principal": %s, "Action": "%s", "Resource": "*"%s}}`, principal, action, more)
	}
	for _, test := range []struct{ policy, want string }{
		{allow(`{"AWS": "`+ours+`"}`, "kms:*", ""), ""},
		{allow(`{"AWS": "`+ours+`"}`, "kms:Put*", ""), ""},
		{allow(`"*"`, "kms:PutKeyPolicy", ""), ""},
		{allow(`{"AWS": "`+alice.ARN+`"}`, "kms:PutKeyPolicy", ""), ""},
		{allow(`{"AWS": "`+alice.ARN+`"}`, "kms:GetKeyPolicy", ""), locked},
		{allow(`{"AWS": "`+theirs+`"}`, "kms:*", ""), locked},
		{allow(`{"AWS": "`+ours+`"}`, "kms:*", `, "Condition": {"StringEquals": {"kms:KeySpec": "RSA_2048"}}`), locked},
		{allow(`{"AWS": "`+ours+`"}`, "kms:*", `, "Condition": {"StringEquals": {"kms:KeySpec": "SYMMETRIC_DEFAULT"}}`), ""},
	} {
		e.fails(alice, "PutKeyPolicy", object{"KeyId": id, "Policy": test.policy}, test.want)
		e.putPolicy(id, delegation)
		if a := e.call(alice, "CreateKey", encode(t, object{"Policy": test.policy})); a.text() != test.want {
			t.Errorf("CreateKey with %s: %s, want %s", test.policy, or(a.text(), "success"), or(test.want, "success"))
		}
	}
	// Delegation is nothing to those whom no identity-based policy allows.
	mayCreate := principal(ours, "tester", `{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "kms:CreateKey", "Resource": "*"}}`)
	e.fails(mayCreate, "CreateKey", object{"Policy": delegation}, locked)
	e.fails(mayCreate, "CreateKey", object{"Policy": delegation, "BypassPolicyLockoutSafetyCheck": true}, "")
	e.fails(mayCreate, "CreateKey", object{}, "")
}
