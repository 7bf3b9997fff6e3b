package main

// What neither model says, typed by hand.

// A limit is the constraints of one shape; max 0 is no length constraint.
type limit struct {
	min, max int
	pattern  string
}

// constraints of the shapes that are newer than the model with constraints.
var constraints = map[string]limit{
	"AccountIdType":                {min: 12, max: 12, pattern: "[0-9]+"},
	"BackingKeyIdType":             {min: 64, max: 64, pattern: "[a-f0-9]+"},
	"BackingKeyIdResponseType":     {},
	"CloudTrailEventIdType":        {},
	"GrantConstraintSourceArnType": {min: 20, max: 512, pattern: `[\w+=,.@:/*?-]+`},
	"KeyMaterialDescriptionType":   {min: 0, max: 256, pattern: `[a-zA-Z0-9:/_\s.-]+`},
	"KmsRequestIdType":             {},
	"ServicePrincipalType":         {min: 1, max: 256, pattern: `[\w+=,.@:/-]+`},
}

// printedFirst is how KMS begins an enum's values in messages where that is not
// the model's order. The values not named here follow in the model's order.
var printedFirst = map[string][]string{
	"KeySpec":               oldKeySpecs,
	"CustomerMasterKeySpec": oldKeySpecs,
	"KeyUsageType":          {"ENCRYPT_DECRYPT", "SIGN_VERIFY", "GENERATE_VERIFY_MAC"},
}

var oldKeySpecs = []string{
	"RSA_2048", "ECC_NIST_P384", "ECC_NIST_P256", "ECC_NIST_P521", "HMAC_384", "RSA_3072",
	"ECC_SECG_P256K1", "RSA_4096", "SYMMETRIC_DEFAULT", "HMAC_256", "HMAC_224", "HMAC_512",
}

// requiredWhen are optional members that are required on a condition, in Go: a
// dry run may leave out the ciphertext if it says so.
var requiredWhen = map[string]map[string]string{
	"DecryptRequest":   {"CiphertextBlob": "!in.ignoresCiphertext()"},
	"ReEncryptRequest": {"CiphertextBlob": "!in.ignoresCiphertext()"},
}

// flags are the optional booleans whose absence is told from false: policies can
// ask whether they are there.
var flags = map[string][]string{
	"CreateKeyRequest":    {"BypassPolicyLockoutSafetyCheck"},
	"PutKeyPolicyRequest": {"BypassPolicyLockoutSafetyCheck"},
}

// alwaysEncoded are the members of answers that are there even when zero.
var alwaysEncoded = map[string][]string{
	"GrantListEntry":                  {"Name"},
	"KeyMetadata":                     {"Enabled", "Description", "MultiRegion"},
	"DescribeCustomKeyStoresResponse": {"CustomKeyStores", "Truncated"},
	"GetKeyRotationStatusResponse":    {"KeyRotationEnabled"},
	"ListAliasesResponse":             {"Aliases", "Truncated"},
	"ListGrantsResponse":              {"Grants", "Truncated"},
	"ListKeyPoliciesResponse":         {"PolicyNames", "Truncated"},
	"ListKeyRotationsResponse":        {"Rotations", "Truncated"},
	"ListKeysResponse":                {"Keys", "Truncated"},
	"ListResourceTagsResponse":        {"Tags", "Truncated"},
	"VerifyMacResponse":               {"MacValid"},
	"VerifyResponse":                  {"SignatureValid"},
}

// An overlay is what is known by hand of one operation.
//
// parameters and elements are the members that CloudTrail shows, in its order.
// An absent member is not shown, unless:
//
//	"A=x"     shows "x" for an absent string
//	"A|B=x"   shows B for an absent A, and "x" if B is absent too
//	"A!"      is shown even when zero
//	"A-B"     is shown only if B is absent
type overlay struct {
	routed   bool // false: UnknownOperationException
	readOnly bool // CloudTrail's

	parameters []string // of requestParameters
	elements   []string // of responseElements, from the output
	keyElement bool     // responseElements is {"keyId": the key's ARN}
}

var overlays = map[string]overlay{
	"CancelKeyDeletion": {
		routed:     true,
		parameters: []string{"KeyId"},
		elements:   []string{"KeyId"},
	},
	"ConnectCustomKeyStore": {
		parameters: []string{"CustomKeyStoreId"},
	},
	"CreateAlias": {
		routed:     true,
		parameters: []string{"AliasName", "TargetKeyId"},
		keyElement: true,
	},
	"CreateCustomKeyStore": {
		parameters: []string{
			"CustomKeyStoreName", "CloudHsmClusterId", "TrustAnchorCertificate", "CustomKeyStoreType",
			"XksProxyUriEndpoint", "XksProxyUriPath", "XksProxyVpcEndpointServiceName",
			"XksProxyVpcEndpointServiceOwner", "XksProxyConnectivity",
		},
		elements: []string{"CustomKeyStoreId"},
	},
	"CreateGrant": {
		routed: true,
		parameters: []string{
			"KeyId", "Constraints", "Operations", "GranteePrincipal", "RetiringPrincipal",
			"GranteeServicePrincipal", "RetiringServicePrincipal", "Name", "DryRun",
		},
		elements: []string{"GrantId"},
	},
	"CreateKey": {
		routed: true,
		parameters: []string{
			"Policy", "Description!", "KeyUsage=ENCRYPT_DECRYPT", "Origin=AWS_KMS",
			"BypassPolicyLockoutSafetyCheck!",
			"CustomerMasterKeySpec|KeySpec=SYMMETRIC_DEFAULT", "KeySpec|CustomerMasterKeySpec=SYMMETRIC_DEFAULT",
			"CustomKeyStoreId", "Tags", "MultiRegion", "XksKeyId",
		},
		elements: []string{"KeyMetadata"},
	},
	"Decapsulate": {
		routed:     true,
		readOnly:   true,
		parameters: []string{"KeyId", "EncapsulationAlgorithm", "DryRun"},
	},
	"Decrypt": {
		routed:     true,
		readOnly:   true,
		parameters: []string{"KeyId", "EncryptionAlgorithm=SYMMETRIC_DEFAULT", "EncryptionContext", "DryRun", "DryRunModifiers"},
	},
	"DeleteAlias": {
		routed:     true,
		parameters: []string{"AliasName"},
		keyElement: true,
	},
	"DeleteCustomKeyStore": {
		parameters: []string{"CustomKeyStoreId"},
	},
	"DeleteImportedKeyMaterial": {
		routed:     true,
		parameters: []string{"KeyId", "KeyMaterialId"},
		elements:   []string{"KeyId", "KeyMaterialId"},
	},
	"DeriveSharedSecret": {
		routed:     true,
		readOnly:   true,
		parameters: []string{"KeyId", "KeyAgreementAlgorithm", "DryRun"},
	},
	"DescribeCustomKeyStores": {
		readOnly:   true,
		parameters: []string{"CustomKeyStoreId", "CustomKeyStoreName", "Limit", "Marker"},
	},
	"DescribeKey": {
		routed:     true,
		readOnly:   true,
		parameters: []string{"KeyId"},
	},
	"DisableKey": {
		routed:     true,
		parameters: []string{"KeyId"},
		keyElement: true,
	},
	"DisableKeyRotation": {
		routed:     true,
		parameters: []string{"KeyId"},
	},
	"DisconnectCustomKeyStore": {
		parameters: []string{"CustomKeyStoreId"},
	},
	"EnableKey": {
		routed:     true,
		parameters: []string{"KeyId"},
		keyElement: true,
	},
	"EnableKeyRotation": {
		routed:     true,
		parameters: []string{"KeyId", "RotationPeriodInDays"},
		keyElement: true,
	},
	"Encapsulate": {
		routed:     true,
		readOnly:   true,
		parameters: []string{"KeyId", "EncapsulationAlgorithm", "DryRun"},
	},
	"Encrypt": {
		routed:     true,
		readOnly:   true,
		parameters: []string{"KeyId", "EncryptionAlgorithm=SYMMETRIC_DEFAULT", "EncryptionContext", "DryRun"},
	},
	"GenerateDataKey": {
		routed:     true,
		readOnly:   true,
		parameters: []string{"KeyId", "NumberOfBytes", "KeySpec", "EncryptionContext", "DryRun"},
	},
	"GenerateDataKeyPair": {
		routed:     true,
		readOnly:   true,
		parameters: []string{"KeyId", "KeyPairSpec", "EncryptionContext", "DryRun"},
	},
	"GenerateDataKeyPairWithoutPlaintext": {
		routed:     true,
		readOnly:   true,
		parameters: []string{"KeyId", "KeyPairSpec", "EncryptionContext", "DryRun"},
	},
	"GenerateDataKeyWithoutPlaintext": {
		routed:     true,
		readOnly:   true,
		parameters: []string{"KeyId", "NumberOfBytes", "KeySpec", "EncryptionContext", "DryRun"},
	},
	"GenerateMac": {
		routed:     true,
		readOnly:   true,
		parameters: []string{"KeyId", "MacAlgorithm", "DryRun"},
	},
	"GenerateRandom": {
		routed:   true,
		readOnly: true,
	},
	"GetKeyLastUsage": {
		routed:     true,
		readOnly:   true,
		parameters: []string{"KeyId"},
	},
	"GetKeyPolicy": {
		routed:     true,
		readOnly:   true,
		parameters: []string{"KeyId", "PolicyName=default"},
	},
	"GetKeyRotationStatus": {
		routed:     true,
		readOnly:   true,
		parameters: []string{"KeyId"},
	},
	"GetParametersForImport": {
		routed:     true,
		readOnly:   true,
		parameters: []string{"KeyId", "WrappingAlgorithm", "WrappingKeySpec"},
	},
	"GetPublicKey": {
		routed:     true,
		readOnly:   true,
		parameters: []string{"KeyId"},
	},
	"ImportKeyMaterial": {
		routed:     true,
		parameters: []string{"KeyId", "ValidTo", "ExpirationModel", "ImportType", "KeyMaterialDescription", "KeyMaterialId"},
		elements:   []string{"KeyId", "KeyMaterialId"},
	},
	"ListAliases": {
		routed:     true,
		readOnly:   true,
		parameters: []string{"Limit", "Marker", "KeyId"},
	},
	"ListGrants": {
		routed:     true,
		readOnly:   true,
		parameters: []string{"KeyId", "Limit", "Marker", "GrantId", "GranteePrincipal", "GranteeServicePrincipal"},
	},
	"ListKeyPolicies": {
		routed:     true,
		readOnly:   true,
		parameters: []string{"KeyId", "Limit", "Marker"},
	},
	"ListKeyRotations": {
		routed:     true,
		readOnly:   true,
		parameters: []string{"KeyId", "IncludeKeyMaterial", "Limit", "Marker"},
	},
	"ListKeys": {
		routed:     true,
		readOnly:   true,
		parameters: []string{"Limit", "Marker"},
	},
	"ListResourceTags": {
		routed:     true,
		readOnly:   true,
		parameters: []string{"KeyId", "Limit", "Marker"},
	},
	"ListRetirableGrants": {
		routed:     true,
		readOnly:   true,
		parameters: []string{"Limit", "Marker", "RetiringPrincipal", "RetiringServicePrincipal"},
	},
	"PutKeyPolicy": {
		routed:     true,
		parameters: []string{"KeyId", "PolicyName=default", "Policy", "BypassPolicyLockoutSafetyCheck!"},
	},
	"ReEncrypt": {
		routed:   true,
		readOnly: true,
		parameters: []string{
			"SourceEncryptionAlgorithm=SYMMETRIC_DEFAULT", "SourceEncryptionContext", "SourceKeyId",
			"DestinationKeyId", "DestinationEncryptionAlgorithm=SYMMETRIC_DEFAULT", "DestinationEncryptionContext",
			"DryRun", "DryRunModifiers",
		},
	},
	"ReplicateKey": {
		routed:     true,
		parameters: []string{"KeyId", "ReplicaRegion", "Policy", "BypassPolicyLockoutSafetyCheck!", "Description!", "Tags"},
		elements:   []string{"ReplicaKeyMetadata", "ReplicaPolicy", "ReplicaTags"},
	},
	"RetireGrant": {
		routed: true,
	},
	"RevokeGrant": {
		routed:     true,
		parameters: []string{"KeyId", "GrantId", "DryRun"},
	},
	"RotateKeyOnDemand": {
		routed:     true,
		parameters: []string{"KeyId"},
		elements:   []string{"KeyId"},
	},
	"ScheduleKeyDeletion": {
		routed:     true,
		parameters: []string{"KeyId", "PendingWindowInDays"},
		elements:   []string{"KeyId", "KeyState", "DeletionDate", "PendingWindowInDays-DeletionDate"},
	},
	"Sign": {
		routed:     true,
		readOnly:   true,
		parameters: []string{"KeyId", "MessageType=RAW", "SigningAlgorithm", "DryRun"},
	},
	"TagResource": {
		routed:     true,
		parameters: []string{"KeyId", "Tags"},
		keyElement: true,
	},
	"UntagResource": {
		routed:     true,
		parameters: []string{"KeyId", "TagKeys"},
		keyElement: true,
	},
	"UpdateAlias": {
		routed:     true,
		parameters: []string{"AliasName", "TargetKeyId"},
		keyElement: true,
	},
	"UpdateCustomKeyStore": {
		parameters: []string{
			"CustomKeyStoreId", "NewCustomKeyStoreName", "CloudHsmClusterId", "XksProxyUriEndpoint", "XksProxyUriPath",
			"XksProxyVpcEndpointServiceName", "XksProxyVpcEndpointServiceOwner", "XksProxyConnectivity",
		},
	},
	"UpdateKeyDescription": {
		routed:     true,
		parameters: []string{"KeyId", "Description!"},
	},
	"UpdatePrimaryRegion": {
		routed:     true,
		parameters: []string{"KeyId", "PrimaryRegion"},
		keyElement: true,
	},
	"Verify": {
		routed:     true,
		readOnly:   true,
		parameters: []string{"KeyId", "MessageType=RAW", "SigningAlgorithm", "DryRun"},
	},
	"VerifyMac": {
		routed:     true,
		readOnly:   true,
		parameters: []string{"KeyId", "MacAlgorithm", "DryRun"},
	},
}
