package kms_test

import (
	"slices"
	"strings"
	"testing"
)

// modelled are the errors that the API's model gives each operation.
var modelled = map[string]string{
	"CancelKeyDeletion":                   "NotFoundException InvalidArnException DependencyTimeoutException KMSInternalException KMSInvalidStateException",
	"CreateAlias":                         "DependencyTimeoutException AlreadyExistsException NotFoundException InvalidAliasNameException KMSInternalException LimitExceededException KMSInvalidStateException",
	"CreateGrant":                         "NotFoundException DisabledException DependencyTimeoutException InvalidArnException KMSInternalException InvalidGrantTokenException LimitExceededException KMSInvalidStateException DryRunOperationException",
	"CreateKey":                           "MalformedPolicyDocumentException DependencyTimeoutException InvalidArnException UnsupportedOperationException KMSInternalException LimitExceededException TagException CustomKeyStoreNotFoundException CustomKeyStoreInvalidStateException CloudHsmClusterInvalidConfigurationException XksKeyInvalidConfigurationException XksKeyAlreadyInUseException XksKeyNotFoundException",
	"Decapsulate":                         "InvalidCiphertextException NotFoundException DisabledException KeyUnavailableException DependencyTimeoutException InvalidGrantTokenException InvalidKeyUsageException KMSInternalException KMSInvalidStateException DryRunOperationException",
	"Decrypt":                             "NotFoundException DisabledException InvalidCiphertextException KeyUnavailableException IncorrectKeyException InvalidKeyUsageException DependencyTimeoutException InvalidGrantTokenException KMSInternalException KMSInvalidStateException DryRunOperationException",
	"DeleteAlias":                         "DependencyTimeoutException NotFoundException KMSInternalException KMSInvalidStateException",
	"DeleteImportedKeyMaterial":           "InvalidArnException UnsupportedOperationException DependencyTimeoutException NotFoundException KMSInternalException KMSInvalidStateException",
	"DeriveSharedSecret":                  "NotFoundException DisabledException KeyUnavailableException DependencyTimeoutException InvalidGrantTokenException InvalidKeyUsageException KMSInternalException KMSInvalidStateException DryRunOperationException",
	"DescribeKey":                         "NotFoundException InvalidArnException DependencyTimeoutException KMSInternalException",
	"DisableKey":                          "NotFoundException InvalidArnException DependencyTimeoutException KMSInternalException KMSInvalidStateException",
	"DisableKeyRotation":                  "NotFoundException DisabledException InvalidArnException DependencyTimeoutException KMSInternalException KMSInvalidStateException UnsupportedOperationException",
	"EnableKey":                           "NotFoundException InvalidArnException DependencyTimeoutException KMSInternalException LimitExceededException KMSInvalidStateException",
	"EnableKeyRotation":                   "NotFoundException DisabledException InvalidArnException DependencyTimeoutException KMSInternalException KMSInvalidStateException UnsupportedOperationException",
	"Encapsulate":                         "NotFoundException DisabledException KeyUnavailableException DependencyTimeoutException InvalidGrantTokenException InvalidKeyUsageException KMSInternalException KMSInvalidStateException DryRunOperationException",
	"Encrypt":                             "NotFoundException DisabledException KeyUnavailableException DependencyTimeoutException InvalidKeyUsageException InvalidGrantTokenException KMSInternalException KMSInvalidStateException DryRunOperationException",
	"GenerateDataKey":                     "NotFoundException DisabledException KeyUnavailableException DependencyTimeoutException InvalidKeyUsageException InvalidGrantTokenException KMSInternalException KMSInvalidStateException DryRunOperationException",
	"GenerateDataKeyPair":                 "NotFoundException DisabledException KeyUnavailableException DependencyTimeoutException InvalidKeyUsageException InvalidGrantTokenException KMSInternalException KMSInvalidStateException UnsupportedOperationException DryRunOperationException",
	"GenerateDataKeyPairWithoutPlaintext": "NotFoundException DisabledException KeyUnavailableException DependencyTimeoutException InvalidKeyUsageException InvalidGrantTokenException KMSInternalException KMSInvalidStateException UnsupportedOperationException DryRunOperationException",
	"GenerateDataKeyWithoutPlaintext":     "NotFoundException DisabledException KeyUnavailableException DependencyTimeoutException InvalidKeyUsageException InvalidGrantTokenException KMSInternalException KMSInvalidStateException DryRunOperationException",
	"GenerateMac":                         "NotFoundException DisabledException KeyUnavailableException InvalidKeyUsageException InvalidGrantTokenException KMSInternalException KMSInvalidStateException DryRunOperationException",
	"GenerateRandom":                      "DependencyTimeoutException KMSInternalException UnsupportedOperationException CustomKeyStoreNotFoundException CustomKeyStoreInvalidStateException",
	"GetKeyLastUsage":                     "NotFoundException InvalidArnException DependencyTimeoutException KMSInternalException",
	"GetKeyPolicy":                        "NotFoundException InvalidArnException DependencyTimeoutException KMSInternalException KMSInvalidStateException",
	"GetKeyRotationStatus":                "NotFoundException InvalidArnException DependencyTimeoutException KMSInternalException KMSInvalidStateException UnsupportedOperationException",
	"GetParametersForImport":              "InvalidArnException UnsupportedOperationException DependencyTimeoutException NotFoundException KMSInternalException KMSInvalidStateException",
	"GetPublicKey":                        "NotFoundException DisabledException KeyUnavailableException DependencyTimeoutException UnsupportedOperationException InvalidArnException InvalidGrantTokenException InvalidKeyUsageException KMSInternalException KMSInvalidStateException",
	"ImportKeyMaterial":                   "InvalidArnException UnsupportedOperationException DependencyTimeoutException NotFoundException KMSInternalException KMSInvalidStateException InvalidCiphertextException IncorrectKeyMaterialException ExpiredImportTokenException InvalidImportTokenException",
	"ListAliases":                         "DependencyTimeoutException InvalidMarkerException KMSInternalException InvalidArnException NotFoundException",
	"ListGrants":                          "NotFoundException DependencyTimeoutException InvalidMarkerException InvalidGrantIdException InvalidArnException KMSInternalException KMSInvalidStateException",
	"ListKeyPolicies":                     "NotFoundException InvalidArnException DependencyTimeoutException KMSInternalException KMSInvalidStateException",
	"ListKeyRotations":                    "NotFoundException InvalidArnException InvalidMarkerException KMSInternalException KMSInvalidStateException UnsupportedOperationException",
	"ListKeys":                            "DependencyTimeoutException KMSInternalException InvalidMarkerException",
	"ListResourceTags":                    "KMSInternalException NotFoundException InvalidArnException InvalidMarkerException",
	"ListRetirableGrants":                 "DependencyTimeoutException InvalidMarkerException InvalidArnException NotFoundException KMSInternalException",
	"PutKeyPolicy":                        "NotFoundException InvalidArnException MalformedPolicyDocumentException DependencyTimeoutException UnsupportedOperationException KMSInternalException LimitExceededException KMSInvalidStateException",
	"ReEncrypt":                           "NotFoundException DisabledException InvalidCiphertextException KeyUnavailableException IncorrectKeyException DependencyTimeoutException InvalidKeyUsageException InvalidGrantTokenException KMSInternalException KMSInvalidStateException DryRunOperationException",
	"ReplicateKey":                        "AlreadyExistsException DisabledException InvalidArnException KMSInvalidStateException KMSInternalException LimitExceededException MalformedPolicyDocumentException NotFoundException TagException UnsupportedOperationException",
	"RetireGrant":                         "InvalidArnException InvalidGrantTokenException InvalidGrantIdException NotFoundException DependencyTimeoutException KMSInternalException KMSInvalidStateException DryRunOperationException",
	"RevokeGrant":                         "NotFoundException DependencyTimeoutException InvalidArnException InvalidGrantIdException KMSInternalException KMSInvalidStateException DryRunOperationException",
	"RotateKeyOnDemand":                   "NotFoundException DisabledException InvalidArnException DependencyTimeoutException KMSInternalException KMSInvalidStateException UnsupportedOperationException LimitExceededException ConflictException",
	"ScheduleKeyDeletion":                 "NotFoundException InvalidArnException DependencyTimeoutException KMSInternalException KMSInvalidStateException",
	"Sign":                                "NotFoundException DisabledException KeyUnavailableException DependencyTimeoutException InvalidKeyUsageException InvalidGrantTokenException KMSInternalException KMSInvalidStateException DryRunOperationException",
	"TagResource":                         "KMSInternalException NotFoundException InvalidArnException KMSInvalidStateException LimitExceededException TagException",
	"UntagResource":                       "KMSInternalException NotFoundException InvalidArnException KMSInvalidStateException TagException",
	"UpdateAlias":                         "DependencyTimeoutException NotFoundException KMSInternalException LimitExceededException KMSInvalidStateException",
	"UpdateKeyDescription":                "NotFoundException InvalidArnException DependencyTimeoutException KMSInternalException KMSInvalidStateException",
	"UpdatePrimaryRegion":                 "DisabledException InvalidArnException KMSInvalidStateException KMSInternalException NotFoundException UnsupportedOperationException",
	"Verify":                              "NotFoundException DisabledException KeyUnavailableException DependencyTimeoutException InvalidKeyUsageException InvalidGrantTokenException KMSInternalException KMSInvalidStateException KMSInvalidSignatureException DryRunOperationException",
	"VerifyMac":                           "NotFoundException DisabledException KeyUnavailableException InvalidKeyUsageException InvalidGrantTokenException KMSInternalException KMSInvalidMacException KMSInvalidStateException DryRunOperationException",
}

// structural are the errors that every operation can end with.
var structural = []string{"AccessDeniedException", "KMSInternalException", "SerializationException", "ServiceUnavailableException", "ThrottlingException", "ValidationException"}

// beyondModel are the errors by which a parameter is refused that the model
// has, and its list of errors or this version has not.
var beyondModel = map[string]string{
	"Decrypt":            "UnsupportedOperationException",
	"DeriveSharedSecret": "UnsupportedOperationException",
	"GenerateDataKey":    "UnsupportedOperationException",
	"DescribeKey":        "InvalidGrantTokenException", // it takes grant tokens, all the same
}

// checkModelled fails if an operation ended with an error that clients cannot
// expect of it. Every call in these tests goes through it.
func checkModelled(t testing.TB, operation, code string) {
	t.Helper()
	if code == "" || slices.Contains(structural, code) || beyondModel[operation] == code {
		return
	}
	if !slices.Contains(strings.Fields(modelled[operation]), code) {
		t.Errorf("%s ended with %s, which is not among its errors", operation, code)
	}
}

// FuzzKeyID names keys in every way: it is found, or is the caller's mistake.
func FuzzKeyID(f *testing.F) {
	e := newEnv(f)
	id := e.createKey("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT")
	e.must(alice, "CreateAlias", object{"AliasName": "alias/x", "TargetKeyId": id})
	for _, text := range []string{
		id, keyARN(id), "alias/x", aliasARN("alias/x"), malformed, "mrk-" + strings.Repeat("0", 32), "alias/", "",
		"arn:aws:kms:us-west-2:" + ours + ":key/" + id, "arn:aws:kms:" + testRegion + ":" + theirs + ":key/" + id,
	} {
		f.Add(text)
	}
	ops, now := e.ops, e.now
	f.Fuzz(func(t *testing.T, text string) {
		e := &env{t: t, ops: ops, records: recorder{}, now: now}
		for _, operation := range []string{"DescribeKey", "ListResourceTags"} {
			a := e.call(alice, operation, encode(t, object{"KeyId": text}))
			checkModelled(t, operation, a.code())
			if a.err != nil && a.err.Status != 400 {
				t.Errorf("%s(%q) = %v", operation, text, a.err)
			}
		}
	})
}
