package kms_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/keyreeve/keyreeve/internal/call"
)

// keyOperation is an operation on a key, with all that the tables of the API
// say about it.
type keyOperation struct {
	name    string // of the operation
	variant string // what else tells it from another of the same name

	member  string   // of the request that names the key; "" if only the ciphertext does
	actions []string // that have to be allowed, in the order in which they are decided
	spec    string   // of the key that request wants
	usage   string

	shared    bool // takes aliases, and keys of other accounts
	foreign   bool // takes keys of other accounts, but no aliases
	arnErrors bool // has InvalidArnException
	dryRun    bool // has DryRun
	tokens    bool // has GrantTokens

	disabled, pending string // how it fails in these states; "" if it does not

	// request makes a request that succeeds on the enabled key id, without
	// the member that names the key.
	request func(e *env, id string) object
}

func (o *keyOperation) String() string {
	if o.variant != "" {
		return o.name + "/" + o.variant
	}
	return o.name
}

// on is the request of o for the key that is called text.
func (o *keyOperation) on(e *env, id, text string) object {
	r := o.request(e, id)
	if o.member != "" {
		r = r.with(object{o.member: text})
	}
	return r
}

const (
	isDisabled  = "DisabledException: KEY is disabled."
	isPending   = "KMSInvalidStateException: KEY is pending deletion."
	isntPending = "KMSInvalidStateException: KEY is not pending deletion."
)

func nothing(*env, string) object { return object{} }

func always(o object) func(*env, string) object {
	return func(*env, string) object { return o }
}

func ciphertext(e *env, id string) string {
	return e.must(alice, "Encrypt", object{"KeyId": id, "Plaintext": blob(5)}).str("CiphertextBlob")
}

// aliasOf makes an alias of a key and returns its name.
func aliasOf(e *env, id string) string {
	name := "alias/of-" + id
	if a := e.call(alice, "CreateAlias", encode(e.t, object{"AliasName": name, "TargetKeyId": id})); a.err != nil && a.code() != "AlreadyExistsException" {
		e.t.Fatalf("CreateAlias(%s) = %v", name, a.err)
	}
	return name
}

// grantOn makes a grant on a key and returns the answer.
func grantOn(e *env, id string) object {
	return e.must(alice, "CreateGrant", object{"KeyId": id, "GranteePrincipal": dave.ARN, "Operations": []string{"DescribeKey"}})
}

// delegation is a key policy that leaves all to the account, and is not the
// default one.
const delegation = `{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"AWS": "` + ours + `"}, "Action": "kms:*", "Resource": "*"}]}`

var keyOperations = []keyOperation{
	{
		name: "Encrypt", member: "KeyId", actions: []string{"kms:Encrypt"}, spec: "SYMMETRIC_DEFAULT", usage: "ENCRYPT_DECRYPT",
		shared: true, dryRun: true, tokens: true, disabled: isDisabled, pending: isPending,
		request: always(object{"Plaintext": blob(4096), "EncryptionContext": object{"a": "b"}}),
	},
	{
		name: "Encrypt", variant: "RSA", member: "KeyId", actions: []string{"kms:Encrypt"}, spec: "RSA_2048", usage: "ENCRYPT_DECRYPT",
		shared: true, dryRun: true, tokens: true, disabled: isDisabled, pending: isPending,
		request: always(object{"Plaintext": blob(190), "EncryptionAlgorithm": "RSAES_OAEP_SHA_256"}),
	},
	{
		name: "Decrypt", variant: "with KeyId", member: "KeyId", actions: []string{"kms:Decrypt"}, spec: "SYMMETRIC_DEFAULT", usage: "ENCRYPT_DECRYPT",
		shared: true, dryRun: true, tokens: true, disabled: isDisabled, pending: isPending,
		request: func(e *env, id string) object { return object{"CiphertextBlob": ciphertext(e, id)} },
	},
	{
		name: "Decrypt", variant: "without KeyId", actions: []string{"kms:Decrypt"}, spec: "SYMMETRIC_DEFAULT", usage: "ENCRYPT_DECRYPT",
		dryRun: true, tokens: true, disabled: isDisabled, pending: isPending,
		request: func(e *env, id string) object { return object{"CiphertextBlob": ciphertext(e, id)} },
	},
	{
		name: "ReEncrypt", variant: "source", member: "SourceKeyId", actions: []string{"kms:ReEncryptFrom"}, spec: "SYMMETRIC_DEFAULT", usage: "ENCRYPT_DECRYPT",
		shared: true, dryRun: true, tokens: true, disabled: isDisabled, pending: isPending,
		request: func(e *env, id string) object {
			return object{"CiphertextBlob": ciphertext(e, id), "DestinationKeyId": e.createKey("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT")}
		},
	},
	{
		name: "ReEncrypt", variant: "destination", member: "DestinationKeyId", actions: []string{"kms:ReEncryptTo"}, spec: "SYMMETRIC_DEFAULT", usage: "ENCRYPT_DECRYPT",
		shared: true, dryRun: true, tokens: true, disabled: isDisabled, pending: isPending,
		request: func(e *env, _ string) object {
			return object{"CiphertextBlob": ciphertext(e, e.createKey("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT"))}
		},
	},
	{
		name: "GenerateDataKey", member: "KeyId", actions: []string{"kms:GenerateDataKey"}, spec: "SYMMETRIC_DEFAULT", usage: "ENCRYPT_DECRYPT",
		shared: true, dryRun: true, tokens: true, disabled: isDisabled, pending: isPending,
		request: always(object{"KeySpec": "AES_256"}),
	},
	{
		name: "GenerateDataKeyWithoutPlaintext", member: "KeyId", actions: []string{"kms:GenerateDataKeyWithoutPlaintext"}, spec: "SYMMETRIC_DEFAULT", usage: "ENCRYPT_DECRYPT",
		shared: true, dryRun: true, tokens: true, disabled: isDisabled, pending: isPending,
		request: always(object{"NumberOfBytes": 1024}),
	},
	{
		name: "GenerateDataKeyPair", member: "KeyId", actions: []string{"kms:GenerateDataKeyPair"}, spec: "SYMMETRIC_DEFAULT", usage: "ENCRYPT_DECRYPT",
		shared: true, dryRun: true, tokens: true, disabled: isDisabled, pending: isPending,
		request: always(object{"KeyPairSpec": "ECC_NIST_P256"}),
	},
	{
		name: "GenerateDataKeyPairWithoutPlaintext", member: "KeyId", actions: []string{"kms:GenerateDataKeyPairWithoutPlaintext"}, spec: "SYMMETRIC_DEFAULT", usage: "ENCRYPT_DECRYPT",
		shared: true, dryRun: true, tokens: true, disabled: isDisabled, pending: isPending,
		request: always(object{"KeyPairSpec": "ECC_SECG_P256K1"}),
	},
	{
		name: "Sign", member: "KeyId", actions: []string{"kms:Sign"}, spec: "ECC_NIST_P256", usage: "SIGN_VERIFY",
		shared: true, dryRun: true, tokens: true, disabled: isDisabled, pending: isPending,
		request: always(object{"Message": blob(4096), "SigningAlgorithm": "ECDSA_SHA_256"}),
	},
	{
		name: "Verify", member: "KeyId", actions: []string{"kms:Verify"}, spec: "ECC_NIST_P256", usage: "SIGN_VERIFY",
		shared: true, dryRun: true, tokens: true, disabled: isDisabled, pending: isPending,
		request: func(e *env, id string) object {
			r := object{"Message": blob(3), "SigningAlgorithm": "ECDSA_SHA_256"}
			return r.with(object{"Signature": e.must(alice, "Sign", r.with(object{"KeyId": id})).str("Signature")})
		},
	},
	{
		name: "DeriveSharedSecret", member: "KeyId", actions: []string{"kms:DeriveSharedSecret"}, spec: "ECC_NIST_P256", usage: "KEY_AGREEMENT",
		shared: true, dryRun: true, tokens: true, disabled: isDisabled, pending: isPending,
		request: func(e *env, _ string) object {
			peer := e.createKey("ECC_NIST_P256", "KEY_AGREEMENT")
			return object{"KeyAgreementAlgorithm": "ECDH", "PublicKey": e.must(alice, "GetPublicKey", object{"KeyId": peer}).str("PublicKey")}
		},
	},
	{
		name: "Encapsulate", member: "KeyId", actions: []string{"kms:Encapsulate"}, spec: "ML_KEM_768", usage: "ENCAPSULATE_DECAPSULATE",
		shared: true, dryRun: true, tokens: true, disabled: isDisabled, pending: isPending,
		request: always(object{"EncapsulationAlgorithm": "ML_KEM"}),
	},
	{
		name: "Decapsulate", member: "KeyId", actions: []string{"kms:Decapsulate"}, spec: "ML_KEM_512", usage: "ENCAPSULATE_DECAPSULATE",
		shared: true, dryRun: true, tokens: true, disabled: isDisabled, pending: isPending,
		request: always(object{"EncapsulationAlgorithm": "ML_KEM", "SharedSecretCiphertextBlob": blob(768)}),
	},
	{
		name: "GetPublicKey", member: "KeyId", actions: []string{"kms:GetPublicKey"}, spec: "ECC_NIST_P384", usage: "SIGN_VERIFY",
		shared: true, arnErrors: true, tokens: true, disabled: isDisabled, pending: isPending,
		request: nothing,
	},
	{
		name: "GenerateMac", member: "KeyId", actions: []string{"kms:GenerateMac"}, spec: "HMAC_256", usage: "GENERATE_VERIFY_MAC",
		shared: true, dryRun: true, tokens: true, disabled: isDisabled, pending: isPending,
		request: always(object{"Message": blob(4096), "MacAlgorithm": "HMAC_SHA_256"}),
	},
	{
		name: "VerifyMac", member: "KeyId", actions: []string{"kms:VerifyMac"}, spec: "HMAC_512", usage: "GENERATE_VERIFY_MAC",
		shared: true, dryRun: true, tokens: true, disabled: isDisabled, pending: isPending,
		request: func(e *env, id string) object {
			r := object{"Message": blob(3), "MacAlgorithm": "HMAC_SHA_512"}
			return r.with(object{"Mac": e.must(alice, "GenerateMac", r.with(object{"KeyId": id})).str("Mac")})
		},
	},
	{
		name: "DescribeKey", member: "KeyId", actions: []string{"kms:DescribeKey"}, spec: "SYMMETRIC_DEFAULT", usage: "ENCRYPT_DECRYPT",
		shared: true, arnErrors: true, tokens: true,
		request: nothing,
	},
	{
		name: "EnableKey", member: "KeyId", actions: []string{"kms:EnableKey"}, spec: "SYMMETRIC_DEFAULT", usage: "ENCRYPT_DECRYPT",
		arnErrors: true, pending: isPending,
		request: nothing,
	},
	{
		name: "DisableKey", member: "KeyId", actions: []string{"kms:DisableKey"}, spec: "HMAC_224", usage: "GENERATE_VERIFY_MAC",
		arnErrors: true, pending: isPending,
		request: nothing,
	},
	{
		name: "UpdateKeyDescription", member: "KeyId", actions: []string{"kms:UpdateKeyDescription"}, spec: "SYMMETRIC_DEFAULT", usage: "ENCRYPT_DECRYPT",
		arnErrors: true, pending: isPending,
		request: always(object{"Description": "new"}),
	},
	{
		name: "ScheduleKeyDeletion", member: "KeyId", actions: []string{"kms:ScheduleKeyDeletion"}, spec: "SYMMETRIC_DEFAULT", usage: "ENCRYPT_DECRYPT",
		arnErrors: true, pending: isPending,
		request: always(object{"PendingWindowInDays": 7}),
	},
	{
		name: "TagResource", member: "KeyId", actions: []string{"kms:TagResource"}, spec: "ECC_NIST_P521", usage: "SIGN_VERIFY",
		arnErrors: true, pending: isPending,
		request: always(object{"Tags": []object{{"TagKey": "a", "TagValue": "b"}}}),
	},
	{
		name: "UntagResource", member: "KeyId", actions: []string{"kms:UntagResource"}, spec: "SYMMETRIC_DEFAULT", usage: "ENCRYPT_DECRYPT",
		arnErrors: true, pending: isPending,
		request: always(object{"TagKeys": []string{"a"}}),
	},
	{
		name: "ListResourceTags", member: "KeyId", actions: []string{"kms:ListResourceTags"}, spec: "SYMMETRIC_DEFAULT", usage: "ENCRYPT_DECRYPT",
		arnErrors: true,
		request:   nothing,
	},
	{
		name: "PutKeyPolicy", member: "KeyId", actions: []string{"kms:PutKeyPolicy"}, spec: "SYMMETRIC_DEFAULT", usage: "ENCRYPT_DECRYPT",
		arnErrors: true,
		request:   always(object{"Policy": delegation}),
	},
	{
		name: "GetKeyLastUsage", member: "KeyId", actions: []string{"kms:GetKeyLastUsage"}, spec: "HMAC_256", usage: "GENERATE_VERIFY_MAC",
		arnErrors: true,
		request:   nothing,
	},
	{
		name: "EnableKeyRotation", member: "KeyId", actions: []string{"kms:EnableKeyRotation"}, spec: "SYMMETRIC_DEFAULT", usage: "ENCRYPT_DECRYPT",
		arnErrors: true, disabled: isDisabled, pending: isPending,
		request: nothing,
	},
	{
		name: "DisableKeyRotation", member: "KeyId", actions: []string{"kms:DisableKeyRotation"}, spec: "SYMMETRIC_DEFAULT", usage: "ENCRYPT_DECRYPT",
		arnErrors: true, disabled: isDisabled, pending: isPending,
		request: nothing,
	},
	{
		name: "GetKeyRotationStatus", member: "KeyId", actions: []string{"kms:GetKeyRotationStatus"}, spec: "SYMMETRIC_DEFAULT", usage: "ENCRYPT_DECRYPT",
		foreign: true, arnErrors: true,
		request: nothing,
	},
	{
		name: "RotateKeyOnDemand", member: "KeyId", actions: []string{"kms:RotateKeyOnDemand"}, spec: "SYMMETRIC_DEFAULT", usage: "ENCRYPT_DECRYPT",
		arnErrors: true, disabled: isDisabled, pending: isPending,
		request: nothing,
	},
	{
		name: "ListKeyRotations", member: "KeyId", actions: []string{"kms:ListKeyRotations"}, spec: "SYMMETRIC_DEFAULT", usage: "ENCRYPT_DECRYPT",
		arnErrors: true,
		request:   nothing,
	},
	{
		name: "GetParametersForImport", member: "KeyId", actions: []string{"kms:GetParametersForImport"}, spec: imported, usage: "ENCRYPT_DECRYPT",
		arnErrors: true, pending: isPending,
		request: always(oaep),
	},
	{
		name: "ImportKeyMaterial", member: "KeyId", actions: []string{"kms:ImportKeyMaterial"}, spec: imported, usage: "ENCRYPT_DECRYPT",
		arnErrors: true, pending: isPending,
		request: importOf,
	},
	{
		name: "DeleteImportedKeyMaterial", member: "KeyId", actions: []string{"kms:DeleteImportedKeyMaterial"}, spec: imported, usage: "ENCRYPT_DECRYPT",
		arnErrors: true,
		request:   nothing,
	},
	{
		name: "GetKeyPolicy", member: "KeyId", actions: []string{"kms:GetKeyPolicy"}, spec: "SYMMETRIC_DEFAULT", usage: "ENCRYPT_DECRYPT",
		arnErrors: true,
		request:   nothing,
	},
	{
		name: "ListKeyPolicies", member: "KeyId", actions: []string{"kms:ListKeyPolicies"}, spec: "ECC_NIST_P256", usage: "SIGN_VERIFY",
		arnErrors: true,
		request:   nothing,
	},
	{
		name: "CreateGrant", member: "KeyId", actions: []string{"kms:CreateGrant"}, spec: "SYMMETRIC_DEFAULT", usage: "ENCRYPT_DECRYPT",
		foreign: true, arnErrors: true, dryRun: true, tokens: true, disabled: isDisabled, pending: isPending,
		request: always(object{"GranteePrincipal": dave.ARN, "Operations": []string{"Decrypt"}}),
	},
	{
		name: "ListGrants", member: "KeyId", actions: []string{"kms:ListGrants"}, spec: "SYMMETRIC_DEFAULT", usage: "ENCRYPT_DECRYPT",
		foreign: true, arnErrors: true,
		request: nothing,
	},
	{
		name: "RevokeGrant", member: "KeyId", actions: []string{"kms:RevokeGrant"}, spec: "SYMMETRIC_DEFAULT", usage: "ENCRYPT_DECRYPT",
		foreign: true, arnErrors: true, dryRun: true,
		request: func(e *env, id string) object { return object{"GrantId": grantOn(e, id).str("GrantId")} },
	},
	{
		name: "CreateAlias", member: "TargetKeyId", actions: []string{"ALIAS", "kms:CreateAlias"}, spec: "SYMMETRIC_DEFAULT", usage: "ENCRYPT_DECRYPT",
		pending: isPending,
		request: always(object{"AliasName": "alias/new"}),
	},
	{
		name: "UpdateAlias", variant: "target", member: "TargetKeyId", actions: []string{"ALIAS", "kms:UpdateAlias"}, spec: "SYMMETRIC_DEFAULT", usage: "ENCRYPT_DECRYPT",
		pending: isPending,
		request: func(e *env, _ string) object {
			return object{"AliasName": aliasOf(e, e.createKey("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT"))}
		},
	},
	{
		name: "UpdateAlias", variant: "current", actions: []string{"ALIAS", "kms:UpdateAlias"}, spec: "SYMMETRIC_DEFAULT", usage: "ENCRYPT_DECRYPT",
		request: func(e *env, id string) object {
			return object{"AliasName": aliasOf(e, id), "TargetKeyId": e.createKey("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT")}
		},
	},
	{
		name: "DeleteAlias", actions: []string{"ALIAS", "kms:DeleteAlias"}, spec: "SYMMETRIC_DEFAULT", usage: "ENCRYPT_DECRYPT",
		request: func(e *env, id string) object { return object{"AliasName": aliasOf(e, id)} },
	},
}

// cancelKeyDeletion is apart, since what succeeds elsewhere fails for it.
var cancelKeyDeletion = keyOperation{
	name: "CancelKeyDeletion", member: "KeyId", actions: []string{"kms:CancelKeyDeletion"}, spec: "SYMMETRIC_DEFAULT", usage: "ENCRYPT_DECRYPT",
	arnErrors: true, disabled: isntPending,
	request: nothing,
}

// withCancel are all operations on a key: CancelKeyDeletion is beside the others
// because it wants a key that is pending deletion.
func withCancel() []keyOperation {
	return append(slices.Clone(keyOperations), cancelKeyDeletion)
}

// those returns the operations for which is holds, which must be want: a test
// that passes them over without a word would pass over all some day.
func those(t *testing.T, operations []keyOperation, want int, is func(*keyOperation) bool) []keyOperation {
	t.Helper()
	var list []keyOperation
	for i := range operations {
		if is(&operations[i]) {
			list = append(list, operations[i])
		}
	}
	if len(list) != want {
		t.Fatalf("%d of %d operations are tested, want %d", len(list), len(operations), want)
	}
	return list
}

// run runs f for every operation on a key, in an environment of its own.
func run(t *testing.T, operations []keyOperation, f func(t *testing.T, e *env, o *keyOperation)) {
	for i := range operations {
		o := &operations[i]
		t.Run(o.String(), func(t *testing.T) {
			t.Parallel()
			f(t, newEnv(t), o)
		})
	}
}

func TestKeyStates(t *testing.T) {
	t.Parallel()
	for _, state := range []string{"Enabled", "Disabled", "PendingDeletion"} {
		t.Run(state, func(t *testing.T) { t.Parallel(); testKeyState(t, state) })
	}
}

func testKeyState(t *testing.T, state string) {
	run(t, withCancel(), func(t *testing.T, e *env, o *keyOperation) {
		id := e.createKey(o.spec, o.usage)
		request := o.on(e, id, id)
		want := ""
		switch state {
		case "Enabled":
			if o.name == "CancelKeyDeletion" {
				want = isntPending
			}
		case "Disabled":
			e.must(alice, "DisableKey", object{"KeyId": id})
			want = o.disabled
		case "PendingDeletion":
			e.must(alice, "ScheduleKeyDeletion", object{"KeyId": id})
			want = o.pending
		}
		want = strings.ReplaceAll(want, "KEY", keyARN(id))
		before := e.must(alice, "DescribeKey", object{"KeyId": id})
		if want != "" && o.dryRun {
			e.fails(alice, o.name, request.with(object{"DryRun": true}), want)
		}
		e.fails(alice, o.name, request, want)
		if want != "" {
			after := e.must(alice, "DescribeKey", object{"KeyId": id})
			if encode(t, before) != encode(t, after) {
				t.Errorf("a failed %s changed the key\nfrom %v\n  to %v", o, before, after)
			}
		}
		// Whoever may not use the key learns nothing about its state.
		resource, action := keyARN(id), o.actions[0]
		if action == "ALIAS" {
			name := request.str("AliasName")
			if o.name == "DeleteAlias" { // it is gone; any other will do
				other := e.createKey(o.spec, o.usage)
				e.must(alice, "CreateAlias", object{"AliasName": name, "TargetKeyId": other})
			}
			resource, action = aliasARN(name), o.actions[1]
		}
		if o.variant == "destination" {
			resource, action = keyARN(sourceOf(e, request)), "kms:ReEncryptFrom"
		}
		e.fails(carol, o.name, request, denied(carol, action, resource))
	})
}

// sourceOf returns the id of the key that made a request's ciphertext.
func sourceOf(e *env, request object) string {
	out := e.must(alice, "Decrypt", object{"CiphertextBlob": request["CiphertextBlob"]})
	return strings.TrimPrefix(out.str("KeyId"), keyARN(""))
}

func TestDryRun(t *testing.T) {
	t.Parallel()
	have := those(t, keyOperations, 19, func(o *keyOperation) bool { return o.dryRun })
	run(t, have, func(t *testing.T, e *env, o *keyOperation) {
		id := e.createKey(o.spec, o.usage)
		request := o.on(e, id, id).with(object{"DryRun": true})
		e.fails(alice, o.name, request, dryRun)
		e.fails(alice, o.name, request.with(object{"DryRun": false}), "")
	})
}

func TestGrantTokens(t *testing.T) {
	t.Parallel()
	have := those(t, keyOperations, 20, func(o *keyOperation) bool { return o.tokens })
	run(t, have, func(t *testing.T, e *env, o *keyOperation) {
		id := e.createKey(o.spec, o.usage)
		request := o.on(e, id, id)
		token := grantOn(e, id).str("GrantToken")
		e.fails(alice, o.name, request.with(object{"GrantTokens": []string{token}}), "")
		e.fails(alice, o.name, request.with(object{"GrantTokens": []string{token, anyToken}}), invalidToken)
		a := e.call(alice, o.name, encode(t, request.with(object{"GrantTokens": strings.Split(strings.Repeat("x", 11), "")})))
		if a.code() != "ValidationException" {
			t.Errorf("with 11 grant tokens: %s, want ValidationException", or(a.text(), "success"))
		}
		// A token gives nothing to those who are not allowed otherwise.
		a = e.call(carol, o.name, encode(t, request.with(object{"GrantTokens": []string{token}})))
		if a.code() != "AccessDeniedException" {
			t.Errorf("as carol with a grant token: %s, want AccessDeniedException", or(a.text(), "success"))
		}
	})
}

func TestIdentifiers(t *testing.T) {
	t.Parallel()
	naming := those(t, withCancel(), 43, func(o *keyOperation) bool { return o.member != "" })
	run(t, naming, func(t *testing.T, e *env, o *keyOperation) {
		id := e.createKey(o.spec, o.usage)
		alias := aliasOf(e, id)
		cancel := o.name == "CancelKeyDeletion"
		succeeds := func(text string) {
			t.Helper()
			if cancel {
				e.must(alice, "ScheduleKeyDeletion", object{"KeyId": id})
			}
			a := e.call(alice, o.name, encode(t, o.on(e, id, text)))
			if a.err != nil {
				t.Fatalf("%s of %s = %v", o, text, a.err)
			}
			checkResources(t, o, a.call, id)
			switch o.name { // undo
			case "CreateAlias":
				e.must(alice, "DeleteAlias", object{"AliasName": "alias/new"})
			case "ScheduleKeyDeletion":
				e.must(alice, "CancelKeyDeletion", object{"KeyId": id})
			}
		}
		succeeds(id)
		succeeds(keyARN(id))

		request := o.request(e, id)
		fails := func(text, want string) {
			t.Helper()
			e.fails(alice, o.name, request.with(object{o.member: text}), want)
		}
		switch {
		case o.shared:
			succeeds(alias)
			succeeds(aliasARN(alias))
			fails("alias/unknown", "NotFoundException: Alias "+aliasARN("alias/unknown")+" is not found.")
			fails(aliasARN("alias/unknown"), "NotFoundException: Alias "+aliasARN("alias/unknown")+" is not found.")
			fails("alias/", "NotFoundException: Alias "+aliasARN("alias/")+" is not found.")
			fails("alias/aws/s3", "NotFoundException: Alias "+aliasARN("alias/aws/s3")+" is not found.")
			long := "alias/" + strings.Repeat("x", 2000)
			fails(long, "NotFoundException: Alias "+aliasARN(long)+" is not found.")
		case o.member == "TargetKeyId":
			fails(alias, "ValidationException: Aliases must refer to keys. Not aliases")
			fails(aliasARN(alias), "ValidationException: Aliases must refer to keys. Not aliases")
		default:
			fails(alias, "InvalidArnException: Key Aliases are not supported for this operation.")
			fails(aliasARN(alias), "InvalidArnException: Key Aliases are not supported for this operation.")
		}

		fails(noSuchID, "NotFoundException: Key '"+keyARN(noSuchID)+"' does not exist")
		fails(keyARN(noSuchID), "NotFoundException: Key '"+keyARN(noSuchID)+"' does not exist")
		unknownMRK := "mrk-" + strings.Repeat("0", 32)
		fails(unknownMRK, "NotFoundException: Key '"+keyARN(unknownMRK)+"' does not exist")
		for _, text := range []string{"x", "mrk-x", strings.ToUpper(id), id + "0", "mrk-" + strings.Repeat("z", 32), "é", "a/b", keyARN("x")} {
			fails(text, "NotFoundException: Invalid keyId '"+text+"'")
		}
		fails("arn:aws:kms:us-west-2:"+ours+":key/"+id, "NotFoundException: Invalid arn us-west-2")
		for _, text := range []string{
			"arn:", malformed, "arn:aws:iam::" + ours + ":key/" + id, "arn:aws:s3:::bucket", "arn:aws:kms:" + testRegion + "::key/" + id,
			"arn:aws-cn:kms:" + testRegion + ":" + ours + ":key/" + id, "arn:aws:kms:" + testRegion + ":" + ours + ":" + id,
		} {
			if o.arnErrors {
				fails(text, "InvalidArnException: Invalid arn "+text)
			} else {
				fails(text, "NotFoundException: Invalid keyId '"+text+"'")
			}
		}
		if a := e.call(alice, o.name, encode(t, request.with(object{o.member: ""}))); a.code() != "ValidationException" {
			t.Errorf("%s of an empty key id: %s, want ValidationException", o, or(a.text(), "success"))
		}
	})
}

// checkResources checks what the record will say about a call that touched a key.
func checkResources(t *testing.T, o *keyOperation, c *call.Call, id string) {
	t.Helper()
	have := false
	for _, r := range c.Resources {
		if r.Type != "AWS::KMS::Key" || r.Account != ours {
			t.Errorf("%s: resource %+v", o, r)
		}
		have = have || r.ARN == keyARN(id)
	}
	if !have {
		t.Errorf("%s: resources %+v, want %s among them", o, c.Resources, keyARN(id))
	}
}

// Nobody of another account gets at a key, nor learns whether it is there.
func TestForeignAccount(t *testing.T) {
	t.Parallel()
	run(t, withCancel(), func(t *testing.T, e *env, o *keyOperation) {
		id := e.createKey(o.spec, o.usage)
		alias := aliasOf(e, id)
		request := o.request(e, id)
		action := o.actions[len(o.actions)-1]
		switch o.variant {
		case "without KeyId":
			e.fails(bob, o.name, request, deniedByCiphertext(bob, action))
			return
		case "with KeyId":
			// The key id alone is enough if the ciphertext has the account.
			e.fails(bob, o.name, request.with(object{"KeyId": id}), deniedByCiphertext(bob, action))
		case "source":
			request["DestinationKeyId"] = e.createKeyAs(bob, "SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT")
		case "destination":
			own := e.createKeyAs(bob, "SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT")
			request["CiphertextBlob"] = e.must(bob, "Encrypt", object{"KeyId": own, "Plaintext": blob(1)}).str("CiphertextBlob")
		case "target":
			own := e.createKeyAs(bob, "SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT")
			request["AliasName"] = "alias/bobs"
			e.must(bob, "CreateAlias", object{"AliasName": "alias/bobs", "TargetKeyId": own})
		}
		if o.member == "" {
			name := request.str("AliasName")
			e.fails(bob, o.name, request, "NotFoundException: Alias arn:aws:kms:"+testRegion+":"+theirs+":"+name+" is not found.")
			return
		}
		for _, text := range []string{keyARN(id), keyARN(noSuchID), keyARN("x")} {
			e.fails(bob, o.name, request.with(object{o.member: text}), deniedAbroad(bob, action))
		}
		if o.shared {
			e.fails(bob, o.name, request.with(object{o.member: aliasARN(alias)}), deniedAbroad(bob, action))
			e.fails(bob, o.name, request.with(object{o.member: aliasARN("alias/unknown")}), deniedAbroad(bob, action))
			e.fails(bob, o.name, request.with(object{o.member: alias}), "NotFoundException: Alias arn:aws:kms:"+testRegion+":"+theirs+":"+alias+" is not found.")
		}
		if o.variant != "with KeyId" && o.variant != "source" {
			e.fails(bob, o.name, request.with(object{o.member: id}), "NotFoundException: Key 'arn:aws:kms:"+testRegion+":"+theirs+":key/"+id+"' does not exist")
		}
		a := e.call(bob, o.name, encode(t, request.with(object{o.member: keyARN(id)})))
		for _, r := range a.call.Resources {
			if r.Account != theirs {
				t.Errorf("a denied call names the resource %+v in the caller's record", r)
			}
		}
	})
}

// Which usage and algorithm goes with which key.
func TestUsage(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	keys := []struct{ id, spec, usage string }{
		{spec: "SYMMETRIC_DEFAULT", usage: "ENCRYPT_DECRYPT"},
		{spec: "RSA_2048", usage: "ENCRYPT_DECRYPT"},
		{spec: "RSA_2048", usage: "SIGN_VERIFY"},
		{spec: "ECC_NIST_P256", usage: "SIGN_VERIFY"},
		{spec: "ECC_NIST_EDWARDS25519", usage: "SIGN_VERIFY"},
		{spec: "ECC_NIST_P384", usage: "KEY_AGREEMENT"},
		{spec: "ML_DSA_65", usage: "SIGN_VERIFY"},
		{spec: "ML_KEM_1024", usage: "ENCAPSULATE_DECAPSULATE"},
		{spec: "HMAC_384", usage: "GENERATE_VERIFY_MAC"},
	}
	for i := range keys {
		keys[i].id = e.createKey(keys[i].spec, keys[i].usage)
	}
	source := ciphertext(e, keys[0].id)
	public := e.must(alice, "GetPublicKey", object{"KeyId": keys[5].id}).str("PublicKey")
	for _, o := range []struct {
		name, member, usage string
		request             object
		algorithm           string
		specs               string // that go with the algorithm
	}{
		{"Encrypt", "KeyId", "ENCRYPT_DECRYPT", object{"Plaintext": blob(1)}, "SYMMETRIC_DEFAULT", "SYMMETRIC_DEFAULT"},
		{"Encrypt", "KeyId", "ENCRYPT_DECRYPT", object{"Plaintext": blob(1), "EncryptionAlgorithm": "RSAES_OAEP_SHA_1"}, "RSAES_OAEP_SHA_1", "RSA_2048"},
		{"Encrypt", "KeyId", "ENCRYPT_DECRYPT", object{"Plaintext": blob(1), "EncryptionAlgorithm": "SM2PKE"}, "SM2PKE", ""},
		{"Sign", "KeyId", "SIGN_VERIFY", object{"Message": blob(1), "SigningAlgorithm": "SM2DSA"}, "SM2DSA", ""},
		{"Decrypt", "KeyId", "ENCRYPT_DECRYPT", object{"CiphertextBlob": source}, "SYMMETRIC_DEFAULT", "SYMMETRIC_DEFAULT"},
		{"ReEncrypt", "DestinationKeyId", "ENCRYPT_DECRYPT", object{"CiphertextBlob": source}, "SYMMETRIC_DEFAULT", "SYMMETRIC_DEFAULT"},
		{"ReEncrypt", "SourceKeyId", "ENCRYPT_DECRYPT", object{"CiphertextBlob": source, "DestinationKeyId": keys[0].id}, "SYMMETRIC_DEFAULT", "SYMMETRIC_DEFAULT"},
		{"GenerateDataKey", "KeyId", "ENCRYPT_DECRYPT", object{"KeySpec": "AES_128"}, "SYMMETRIC_DEFAULT", "SYMMETRIC_DEFAULT"},
		{"GenerateDataKeyWithoutPlaintext", "KeyId", "ENCRYPT_DECRYPT", object{"KeySpec": "AES_128"}, "SYMMETRIC_DEFAULT", "SYMMETRIC_DEFAULT"},
		{"GenerateDataKeyPair", "KeyId", "ENCRYPT_DECRYPT", object{"KeyPairSpec": "ECC_NIST_P256"}, "SYMMETRIC_DEFAULT", "SYMMETRIC_DEFAULT"},
		{"GenerateDataKeyPairWithoutPlaintext", "KeyId", "ENCRYPT_DECRYPT", object{"KeyPairSpec": "ECC_NIST_P256"}, "SYMMETRIC_DEFAULT", "SYMMETRIC_DEFAULT"},
		{"Sign", "KeyId", "SIGN_VERIFY", object{"Message": blob(1), "SigningAlgorithm": "RSASSA_PSS_SHA_512"}, "RSASSA_PSS_SHA_512", "RSA_2048"},
		{"Sign", "KeyId", "SIGN_VERIFY", object{"Message": blob(1), "SigningAlgorithm": "ECDSA_SHA_384"}, "ECDSA_SHA_384", ""},
		{"Sign", "KeyId", "SIGN_VERIFY", object{"Message": blob(1), "SigningAlgorithm": "ED25519_SHA_512"}, "ED25519_SHA_512", "ECC_NIST_EDWARDS25519"},
		{"Verify", "KeyId", "SIGN_VERIFY", object{"Message": blob(64), "MessageType": "RAW", "Signature": blob(64), "SigningAlgorithm": "ECDSA_SHA_512"}, "ECDSA_SHA_512", ""},
		{"Sign", "KeyId", "SIGN_VERIFY", object{"Message": blob(1), "SigningAlgorithm": "ML_DSA_SHAKE_256"}, "ML_DSA_SHAKE_256", "ML_DSA_65"},
		{"GenerateMac", "KeyId", "GENERATE_VERIFY_MAC", object{"Message": blob(1), "MacAlgorithm": "HMAC_SHA_256"}, "HMAC_SHA_256", ""},
		{"VerifyMac", "KeyId", "GENERATE_VERIFY_MAC", object{"Message": blob(1), "Mac": blob(32), "MacAlgorithm": "HMAC_SHA_256"}, "HMAC_SHA_256", ""},
		{"DeriveSharedSecret", "KeyId", "KEY_AGREEMENT", object{"KeyAgreementAlgorithm": "ECDH", "PublicKey": public}, "ECDH", "ECC_NIST_P384"},
		{"Encapsulate", "KeyId", "ENCAPSULATE_DECAPSULATE", object{"EncapsulationAlgorithm": "ML_KEM"}, "ML_KEM", "ML_KEM_1024"},
		{"Decapsulate", "KeyId", "ENCAPSULATE_DECAPSULATE", object{"EncapsulationAlgorithm": "ML_KEM", "SharedSecretCiphertextBlob": blob(1568)}, "ML_KEM", "ML_KEM_1024"},
	} {
		for _, k := range keys {
			var want string
			switch {
			case k.usage != o.usage:
				want = "InvalidKeyUsageException: " + keyARN(k.id) + " key usage is " + k.usage + " which is not valid for " + o.name + "."
			case k.spec == o.specs:
			default:
				want = "InvalidKeyUsageException: Algorithm " + o.algorithm + " is incompatible with key spec " + k.spec + "."
			}
			request := o.request.with(object{o.member: k.id})
			e.fails(alice, o.name, request, want)
			if want != "" {
				e.fails(alice, o.name, request.with(object{"DryRun": true}), want)
			}
		}
	}
}
