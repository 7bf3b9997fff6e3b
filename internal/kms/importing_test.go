package kms_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"strings"
	"testing"
)

// imported is the spec of a symmetric key in these tests whose material was
// imported.
const imported = "imported SYMMETRIC_DEFAULT"

// wrapOAEP wraps material for a public key, by RSAES_OAEP_SHA_256; both what it
// takes and what it returns is in base64.
func wrapOAEP(t testing.TB, public string, material []byte) string {
	t.Helper()
	spki, err := base64.StdEncoding.DecodeString(public)
	if err != nil {
		t.Fatal(err)
	}
	k, err := x509.ParsePKIXPublicKey(spki)
	if err != nil {
		t.Fatal(err)
	}
	wrapped, err := rsa.EncryptOAEP(sha256.New(), rand.Reader, k.(*rsa.PublicKey), material, nil)
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(wrapped)
}

var oaep = object{"WrappingAlgorithm": "RSAES_OAEP_SHA_256", "WrappingKeySpec": "RSA_2048"}

// importOf is a request that imports a key's material, which is the same each time,
// without the member that names the key.
func importOf(e *env, id string) object {
	e.t.Helper()
	p := e.must(alice, "GetParametersForImport", oaep.with(object{"KeyId": id}))
	return object{
		"ImportToken": p.str("ImportToken"), "EncryptedKeyMaterial": wrapOAEP(e.t, p.str("PublicKey"), make([]byte, 32)),
		"ExpirationModel": "KEY_MATERIAL_DOES_NOT_EXPIRE",
	}
}

// createImported makes a symmetric key, and imports its material.
func (e *env) createImported() string {
	e.t.Helper()
	id := e.must(alice, "CreateKey", object{"Origin": "EXTERNAL"}).object("KeyMetadata").str("KeyId")
	e.must(alice, "ImportKeyMaterial", importOf(e, id).with(object{"KeyId": id}))
	return id
}

// What policies see of an import.
func TestImportConditions(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	id := e.must(alice, "CreateKey", object{"Origin": "EXTERNAL"}).object("KeyMetadata").str("KeyId")
	material := importOf(e, id).with(object{"KeyId": id})
	expiring := material.with(object{"ExpirationModel": "KEY_MATERIAL_EXPIRES", "ValidTo": 1795257000})
	unsaid := expiring.with(nil)
	delete(unsaid, "ExpirationModel")
	parameters := oaep.with(object{"KeyId": id})
	for _, tt := range []struct {
		operation string
		request   object
		condition string
		allowed   bool
	}{
		{"ImportKeyMaterial", material, `"StringEquals": {"kms:ExpirationModel": "KEY_MATERIAL_DOES_NOT_EXPIRE", "kms:KeyOrigin": "EXTERNAL"}, "Null": {"kms:ValidTo": "true"}`, true},
		{"ImportKeyMaterial", expiring, `"StringEquals": {"kms:ExpirationModel": "KEY_MATERIAL_DOES_NOT_EXPIRE"}`, false},
		{"ImportKeyMaterial", expiring, `"NumericLessThanEquals": {"kms:ValidTo": "1795257000"}`, true},
		{"ImportKeyMaterial", expiring, `"NumericLessThan": {"kms:ValidTo": "1795257000"}`, false},
		{"ImportKeyMaterial", expiring, `"DateLessThan": {"kms:ValidTo": "2026-11-21T10:30:01Z"}`, true},
		{"ImportKeyMaterial", expiring.with(object{"ValidTo": 1795257000.9}), `"DateEquals": {"kms:ValidTo": "2026-11-21T10:30:00Z"}`, true},
		{"ImportKeyMaterial", unsaid, `"Null": {"kms:ExpirationModel": "true"}`, true},
		{"ImportKeyMaterial", expiring, `"Null": {"kms:ExpirationModel": "true"}`, false},
		{"GetParametersForImport", parameters, `"StringEquals": {"kms:WrappingAlgorithm": "RSAES_OAEP_SHA_256", "kms:WrappingKeySpec": "RSA_2048"}`, true},
		{"GetParametersForImport", parameters, `"StringEquals": {"kms:WrappingAlgorithm": "RSAES_OAEP_SHA_1"}`, false},
		{"GetParametersForImport", parameters, `"StringEquals": {"kms:WrappingKeySpec": "RSA_4096"}`, false},
		{"DeleteImportedKeyMaterial", object{"KeyId": id}, `"StringEquals": {"kms:KeyOrigin": "AWS_KMS"}`, false},
		{"DeleteImportedKeyMaterial", object{"KeyId": id}, `"StringEquals": {"kms:KeyOrigin": "EXTERNAL"}`, true},
	} {
		e.putPolicy(id, `{"Version": "2012-10-17", "Statement": [
			{"Effect": "Allow", "Principal": {"AWS": "`+ours+`"}, "Action": ["kms:PutKeyPolicy"], "Resource": "*"},
			{"Effect": "Allow", "Principal": {"AWS": "`+alice.ARN+`"}, "Action": "kms:`+tt.operation+`", "Resource": "*", "Condition": {`+tt.condition+`}}]}`)
		a := e.call(alice, tt.operation, encode(t, tt.request))
		if tt.allowed && a.err != nil || !tt.allowed && a.code() != "AccessDeniedException" {
			t.Errorf("%s if %s: %s", tt.operation, tt.condition, or(a.text(), "success"))
		}
	}
}

// Expired material is gone for every call from its instant on, by that call's
// clock, although the job has not run.
func TestMaterialExpiresForCalls(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	id := e.createImported()
	const at = 1795253401 // a second after the start, less some milliseconds
	e.must(alice, "ImportKeyMaterial", importOf(e, id).with(object{"KeyId": id, "ExpirationModel": "KEY_MATERIAL_EXPIRES", "ValidTo": at}))
	source := ciphertext(e, id)
	e.advance(876 * 1e6)
	e.fails(alice, "Decrypt", object{"CiphertextBlob": source}, "")
	e.advance(1e6)
	want := "KMSInvalidStateException: " + keyARN(id) + " is pending import."
	e.fails(alice, "Decrypt", object{"CiphertextBlob": source}, want)
	e.fails(alice, "Decrypt", object{"CiphertextBlob": source, "DryRun": true}, want)
	e.fails(alice, "CreateGrant", object{"KeyId": id, "GranteePrincipal": dave.ARN, "Operations": []string{"Decrypt"}}, want)
	m := e.must(alice, "DescribeKey", object{"KeyId": id}).object("KeyMetadata")
	if m.str("KeyState") != "PendingImport" || m["ValidTo"] != nil || m["ExpirationModel"] != nil || m["Enabled"] != false {
		t.Errorf("DescribeKey = %v", m)
	}
	e.must(alice, "ImportKeyMaterial", importOf(e, id).with(object{"KeyId": id}))
	e.fails(alice, "Decrypt", object{"CiphertextBlob": source}, "")
}

// Nothing of what is imported is in the store, in clear.
func TestImportedMaterialIsSealed(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	id := e.must(alice, "CreateKey", object{"Origin": "EXTERNAL"}).object("KeyMetadata").str("KeyId")
	p := e.must(alice, "GetParametersForImport", oaep.with(object{"KeyId": id}))
	material := []byte("0123456789abcdef0123456789ABCDEF")
	e.must(alice, "ImportKeyMaterial", object{
		"KeyId": id, "ImportToken": p.str("ImportToken"), "EncryptedKeyMaterial": wrapOAEP(t, p.str("PublicKey"), material), "ExpirationModel": "KEY_MATERIAL_DOES_NOT_EXPIRE",
	})
	if strings.Contains(e.dump(), string(material)) {
		t.Error("imported material is stored in clear")
	}
}

// Who imports one material for a symmetric key and for an HMAC key does not let
// those who may use the latter open what the former encrypts: the key of a
// message (docs/ciphertext-format.md) would be a MAC.
func TestMaterialOfTwoKeys(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	symmetric := e.createImported()
	mac := e.must(alice, "CreateKey", object{"Origin": "EXTERNAL", "KeySpec": "HMAC_256", "KeyUsage": "GENERATE_VERIFY_MAC"}).object("KeyMetadata").str("KeyId")
	e.must(alice, "ImportKeyMaterial", importOf(e, mac).with(object{"KeyId": mac}))
	blob, err := base64.StdEncoding.DecodeString(e.must(alice, "Encrypt", object{"KeyId": symmetric, "Plaintext": "c2VjcmV0"}).str("CiphertextBlob"))
	if err != nil {
		t.Fatal(err)
	}
	const label = "\x00\x00\x00\x01keyreeve ciphertext blob v1"
	asked := func(message string) object {
		return object{"KeyId": mac, "MacAlgorithm": "HMAC_SHA_256", "Message": base64.StdEncoding.EncodeToString([]byte(message))}
	}
	for _, message := range []string{label + "\x00" + string(blob[:77]) + "\x00\x00\x01\x00", label + "\x00"} {
		e.fails(alice, "GenerateMac", asked(message), "ValidationException: Message has a form that is reserved.")
	}
	for _, message := range []string{label, label + "\x01", label[1:] + "\x00"} {
		e.must(alice, "GenerateMac", asked(message))
	}
}
