package kmsapi_test

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/keyreeve/keyreeve/internal/wire"
)

func blob(n int) string { return base64.StdEncoding.EncodeToString(make([]byte, n)) }

// TestValidationTexts holds the messages to the letter; clients match on them.
func TestValidationTexts(t *testing.T) {
	const (
		one     = "1 validation error detected: "
		two     = "2 validation errors detected: "
		null    = " failed to satisfy constraint: Member must not be null"
		short1  = " failed to satisfy constraint: Member must have length greater than or equal to 1"
		keySpec = "[RSA_2048, ECC_NIST_P384, ECC_NIST_P256, ECC_NIST_P521, HMAC_384, RSA_3072, ECC_SECG_P256K1, RSA_4096, " +
			"SYMMETRIC_DEFAULT, HMAC_256, HMAC_224, HMAC_512, SM2, ML_DSA_44, ML_DSA_65, ML_DSA_87, ECC_NIST_EDWARDS25519, " +
			"ML_KEM_512, ML_KEM_768, ML_KEM_1024]"
	)
	long := strings.Repeat("k", 2049)
	for _, c := range []struct{ op, body, want string }{
		{"Encrypt", `{"KeyId":"k","Plaintext":"YQ=="}`, ""},
		{"Encrypt", `{"KeyId":"","Plaintext":"YQ=="}`, one + "Value '' at 'keyId'" + short1},
		{"Encrypt", `{"Plaintext":"YQ=="}`, one + "Value null at 'keyId'" + null},
		{"Encrypt", `{"KeyId":null,"Plaintext":"YQ=="}`, one + "Value null at 'keyId'" + null},
		{"Encrypt", `{"KeyId":"k","KeyId":null,"Plaintext":"YQ=="}`, one + "Value null at 'keyId'" + null},
		{"Encrypt", `{"KeyId":null,"KeyId":"k","Plaintext":"YQ=="}`, ""},
		{"Encrypt", `{}`, two + "Value null at 'keyId'" + null + "; Value null at 'plaintext'" + null},
		{"Encrypt", `{"KeyId":"k","Plaintext":""}`, one + "Value at 'plaintext'" + short1},
		{"Encrypt", `{"KeyId":"k","Plaintext":"` + blob(4096) + `"}`, ""},
		{
			"Encrypt", `{"KeyId":"k","Plaintext":"` + blob(4097) + `"}`,
			one + "Value at 'plaintext' failed to satisfy constraint: Member must have length less than or equal to 4096",
		},
		{
			"Encrypt", `{"Plaintext":"","KeyId":"` + long + `"}`,
			two + "Value '" + long[:wire.MaxEcho] + "…' at 'keyId' failed to satisfy constraint: Member must have length less than or equal to 2048; " +
				"Value at 'plaintext'" + short1,
		},
		{
			"Encrypt", `{"KeyId":"k","Plaintext":"YQ==","EncryptionAlgorithm":"ROT13"}`,
			one + "Value 'ROT13' at 'encryptionAlgorithm' failed to satisfy constraint: Member must satisfy enum value set: " +
				"[SYMMETRIC_DEFAULT, RSAES_OAEP_SHA_1, RSAES_OAEP_SHA_256, SM2PKE]",
		},
		{
			"Encrypt", `{"KeyId":"k","Plaintext":"YQ==","EncryptionAlgorithm":""}`,
			one + "Value '' at 'encryptionAlgorithm' failed to satisfy constraint: Member must satisfy enum value set: " +
				"[SYMMETRIC_DEFAULT, RSAES_OAEP_SHA_1, RSAES_OAEP_SHA_256, SM2PKE]",
		},
		{"Encrypt", `{"KeyId":"k","Plaintext":"YQ==","EncryptionAlgorithm":null}`, ""},
		{"Encrypt", `{"KeyId":"k","Plaintext":"YQ==","GrantTokens":[],"EncryptionContext":{"":""}}`, ""},
		{
			"Encrypt", `{"KeyId":"k","Plaintext":"YQ==","GrantTokens":["a",""]}`,
			one + "Value '[a, ]' at 'grantTokens' failed to satisfy constraint: Member must satisfy constraint: " +
				"[Member must have length less than or equal to 8192, Member must have length greater than or equal to 1]",
		},
		{
			"Encrypt", `{"KeyId":"k","Plaintext":"YQ==","GrantTokens":["a","b","c","d","e","f","g","h","i","j","k"]}`,
			one + "Value '[a, b, c, d, e, f, g, h, i, j, k]' at 'grantTokens' failed to satisfy constraint: " +
				"Member must have length less than or equal to 10",
		},
		{
			"Encrypt", `{"KeyId":"k","Plaintext":"YQ==","EncryptionContext":{"a":null}}`,
			one + "Value '{a=null}' at 'encryptionContext' failed to satisfy constraint: Map value must satisfy constraint: [Member must not be null]",
		},
		{"Encrypt", `{"KeyId":"k","Plaintext":"YQ==","EncryptionContext":{"a":null,"a":"b"}}`, ""},
		{"Encrypt", `{"KeyId":"k","Plaintext":"YQ==","EncryptionContext":null,"GrantTokens":null}`, ""},
		{
			"ReEncrypt", `{"CiphertextBlob":"YQ==","DestinationKeyId":"k","SourceEncryptionContext":{"a":null},"DestinationEncryptionContext":{"b":"","c":null}}`,
			two + "Value '{a=null}' at 'sourceEncryptionContext' failed to satisfy constraint: Map value must satisfy constraint: [Member must not be null]; " +
				"Value '{b=, c=null}' at 'destinationEncryptionContext' failed to satisfy constraint: Map value must satisfy constraint: [Member must not be null]",
		},
		{
			"Encrypt", `{"KeyId":"k","Plaintext":"YQ==","GrantTokens":["a",null]}`,
			one + "Value '[a, null]' at 'grantTokens' failed to satisfy constraint: Member must satisfy constraint: [Member must not be null]",
		},
		{
			"CreateGrant", `{"KeyId":"k","Operations":["Encrypt",null],"Constraints":{"EncryptionContextSubset":{"a":null}}}`,
			two + "Value '[Encrypt, null]' at 'operations' failed to satisfy constraint: Member must satisfy constraint: [Member must not be null]; " +
				"Value '{a=null}' at 'constraints.encryptionContextSubset' failed to satisfy constraint: Map value must satisfy constraint: [Member must not be null]",
		},
		{
			"TagResource", `{"KeyId":"k","Tags":[{"TagKey":"a","TagValue":""},null,null]}`,
			one + "Value at 'tags' failed to satisfy constraint: Member must satisfy constraint: [Member must not be null]",
		},
		{
			"UntagResource", `{"KeyId":"k","TagKeys":[null]}`,
			one + "Value '[null]' at 'tagKeys' failed to satisfy constraint: Member must satisfy constraint: [Member must not be null]",
		},
		{"Decrypt", `{}`, one + "Value null at 'ciphertextBlob'" + null},
		{"Decrypt", `{"DryRun":true,"DryRunModifiers":["IGNORE_CIPHERTEXT"]}`, ""},
		{"Decrypt", `{"DryRunModifiers":["IGNORE_CIPHERTEXT"]}`, one + "Value null at 'ciphertextBlob'" + null},
		{"Decrypt", `{"CiphertextBlob":""}`, one + "Value at 'ciphertextBlob'" + short1},
		{
			"Decrypt", `{"CiphertextBlob":"` + blob(6145) + `"}`,
			one + "Value at 'ciphertextBlob' failed to satisfy constraint: Member must have length less than or equal to 6144",
		},
		{
			"Decrypt", `{"CiphertextBlob":"YQ==","Recipient":{"KeyEncryptionAlgorithm":"X","AttestationDocument":""}}`,
			two + "Value 'X' at 'recipient.keyEncryptionAlgorithm' failed to satisfy constraint: Member must satisfy enum value set: [RSAES_OAEP_SHA_256]; " +
				"Value at 'recipient.attestationDocument'" + short1,
		},
		{"CreateKey", `{}`, ""},
		{"CreateKey", `{"Description":""}`, ""},
		{"CreateKey", `{"KeySpec":"FAKE"}`, one + "Value 'FAKE' at 'keySpec' failed to satisfy constraint: Member must satisfy enum value set: " + keySpec},
		{
			"CreateKey", `{"KeyUsage":"X","Policy":""}`,
			"3 validation errors detected: Value '' at 'policy'" + short1 + "; " +
				`Value '' at 'policy' failed to satisfy constraint: Member must satisfy regular expression pattern: [\u0009\u000A\u000D\u0020-\u00FF]+; ` +
				"Value 'X' at 'keyUsage' failed to satisfy constraint: Member must satisfy enum value set: " +
				"[ENCRYPT_DECRYPT, SIGN_VERIFY, GENERATE_VERIFY_MAC, KEY_AGREEMENT, ENCAPSULATE_DECAPSULATE]",
		},
		{"CreateKey", `{"Tags":[{"TagKey":"a","TagValue":""}]}`, ""},
		{
			"CreateKey", `{"Tags":[{"TagKey":"","TagValue":""},{"TagKey":"a"}]}`,
			two + "Value '' at 'tags.1.member.tagKey'" + short1 + "; Value null at 'tags.2.member.tagValue'" + null,
		},
		{"TagResource", `{"KeyId":"k"}`, one + "Value null at 'tags'" + null},
		{"TagResource", `{"KeyId":"k","Tags":[]}`, ""},
		{
			"TagResource", `{"KeyId":"k","Tags":[{"TagKey":"` + strings.Repeat("é", 129) + `","TagValue":"v"}]}`,
			one + "Value '" + strings.Repeat("é", 129) + "' at 'tags.1.member.tagKey' failed to satisfy constraint: Member must have length less than or equal to 128",
		},
		{"TagResource", `{"KeyId":"k","Tags":[{"TagKey":"` + strings.Repeat("é", 128) + `","TagValue":"v"}]}`, ""},
		{
			"UntagResource", `{"KeyId":"k","TagKeys":["a",""]}`,
			one + "Value '[a, ]' at 'tagKeys' failed to satisfy constraint: Member must satisfy constraint: " +
				"[Member must have length less than or equal to 128, Member must have length greater than or equal to 1]",
		},
		{"ListKeys", `{"Limit":1000,"Marker":"x"}`, ""},
		{"ListKeys", `{"Limit":0}`, one + "Value '0' at 'limit' failed to satisfy constraint: Member must have value greater than or equal to 1"},
		{"ListKeys", `{"Limit":1001}`, one + "Value '1001' at 'limit' failed to satisfy constraint: Member must have value less than or equal to 1000"},
		{
			"ListKeys", `{"Marker":"\u0100"}`,
			one + "Value '\u0100' at 'marker' failed to satisfy constraint: Member must satisfy regular expression pattern: " + `[\u0020-\u00FF]*`,
		},
		{"CreateAlias", `{"AliasName":"alias/a","TargetKeyId":"k"}`, ""},
		{
			"CreateAlias", `{"AliasName":"alias/a b","TargetKeyId":"k"}`,
			one + "Value 'alias/a b' at 'aliasName' failed to satisfy constraint: Member must satisfy regular expression pattern: ^[a-zA-Z0-9:/_-]+$",
		},
		{
			"CreateAlias", `{"AliasName":"alias/a\n","TargetKeyId":"k"}`,
			one + "Value 'alias/a\n' at 'aliasName' failed to satisfy constraint: Member must satisfy regular expression pattern: ^[a-zA-Z0-9:/_-]+$",
		},
		{"UpdateKeyDescription", `{"KeyId":"k"}`, one + "Value null at 'description'" + null},
		{"UpdateKeyDescription", `{"KeyId":"k","Description":""}`, ""},
		{
			"ScheduleKeyDeletion", `{"KeyId":"k","PendingWindowInDays":0}`,
			one + "Value '0' at 'pendingWindowInDays' failed to satisfy constraint: Member must have value greater than or equal to 1",
		},
		{"Verify", `{"KeyId":"k","Message":"YQ==","Signature":"","SigningAlgorithm":"ECDSA_SHA_256"}`, one + "Value at 'signature'" + short1},
		{
			"Sign", `{"KeyId":"k","Message":"YQ==","MessageType":"HASH","SigningAlgorithm":"ECDSA_SHA_256"}`,
			one + "Value 'HASH' at 'messageType' failed to satisfy constraint: Member must satisfy enum value set: [RAW, DIGEST, EXTERNAL_MU]",
		},
		{
			"GenerateDataKey", `{"KeyId":"k","KeySpec":"AES_512"}`,
			one + "Value 'AES_512' at 'keySpec' failed to satisfy constraint: Member must satisfy enum value set: [AES_256, AES_128]",
		},
		{"GenerateRandom", `{"NumberOfBytes":1025}`, one + "Value '1025' at 'numberOfBytes' failed to satisfy constraint: Member must have value less than or equal to 1024"},
		{
			"CreateGrant", `{"KeyId":"k","Operations":["Encrypt","Fly"]}`,
			one + "Value '[Encrypt, Fly]' at 'operations' failed to satisfy constraint: Member must satisfy constraint: [Member must satisfy enum value set: " +
				"[Decrypt, Encrypt, GenerateDataKey, GenerateDataKeyWithoutPlaintext, ReEncryptFrom, ReEncryptTo, Sign, Verify, GetPublicKey, CreateGrant, " +
				"RetireGrant, DescribeKey, GenerateDataKeyPair, GenerateDataKeyPairWithoutPlaintext, GenerateMac, VerifyMac, DeriveSharedSecret, Encapsulate, Decapsulate]]",
		},
		{
			"CreateCustomKeyStore", `{"CustomKeyStoreName":"s","KeyStorePassword":"short",
				"XksProxyAuthenticationCredential":{"AccessKeyId":"abcdefghijklmnopqrst"}}`,
			"3 validation errors detected: Value at 'keyStorePassword' failed to satisfy constraint: Member must have length greater than or equal to 7; " +
				"Value at 'xksProxyAuthenticationCredential.accessKeyId' failed to satisfy constraint: Member must satisfy regular expression pattern: ^[A-Z2-7]+$; " +
				"Value null at 'xksProxyAuthenticationCredential.rawSecretAccessKey'" + null,
		},
	} {
		in := newInput(t, c.op)
		if err := in.DecodeJSON([]byte(c.body)); err != nil {
			t.Errorf("%s %s: %v", c.op, c.body, err)
			continue
		}
		got := ""
		if e := wire.AsError(in.Validate()); e != nil {
			got = e.Message
			if e.Code != "ValidationException" || e.Status != 400 {
				t.Errorf("%s: error is %s with status %d", c.op, e.Code, e.Status)
			}
		}
		if got != c.want {
			t.Errorf("%s %.200s:\n got %s\nwant %s", c.op, c.body, got, c.want)
		}
	}
}

// TestValidationIsBounded sends as many broken items as a message may hold: the
// answer must not be longer than the question.
func TestValidationIsBounded(t *testing.T) {
	for name, item := range map[string]string{"empty": "{}", "null": "null", "long": `{"TagKey":"` + strings.Repeat("k", 120) + `é` + strings.Repeat("k", 120) + `"}`} {
		t.Run(name, func(t *testing.T) {
			in := newInput(t, "TagResource")
			body := `{"KeyId":"k","Tags":[` + strings.TrimSuffix(strings.Repeat(item+",", wire.MaxItems), ",") + "]}"
			if err := in.DecodeJSON([]byte(body)); err != nil {
				t.Fatal(err)
			}
			e := wire.AsError(in.Validate())
			if e == nil || e.Code != "ValidationException" {
				t.Fatalf("got %v", e)
			}
			if len(e.Message) > 6<<10 {
				t.Errorf("the message has %d bytes", len(e.Message))
			}
			if name == "empty" && !strings.HasPrefix(e.Message, "10 validation errors detected: Value null at 'tags.1.member.tagKey' failed") {
				t.Errorf("message %.200s", e.Message)
			}
		})
	}
}

func newInput(t *testing.T, name string) input {
	t.Helper()
	for _, op := range operations {
		if op.Name == name {
			return op.Input()
		}
	}
	t.Fatalf("no operation %s", name)
	return nil
}
