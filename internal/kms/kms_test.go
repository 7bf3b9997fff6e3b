package kms_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"hash"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/call"
)

// A parameter whose feature does not exist yet is refused, and leaves no trace.
func TestRefusedParameters(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	before := e.dump()
	for _, test := range []struct {
		operation string
		request   object
		what      string
	}{
		{"CreateKey", object{"Origin": "AWS_CLOUDHSM"}, "Origin AWS_CLOUDHSM"},
		{"CreateKey", object{"Origin": "EXTERNAL_KEY_STORE"}, "Origin EXTERNAL_KEY_STORE"},
		{"CreateKey", object{"CustomKeyStoreId": "cks-1"}, "CustomKeyStoreId"},
		{"CreateKey", object{"XksKeyId": "x"}, "XksKeyId"},
		{"GenerateRandom", object{"NumberOfBytes": 1, "CustomKeyStoreId": "cks-1"}, "CustomKeyStoreId"},
	} {
		e.fails(alice, test.operation, test.request, "UnsupportedOperationException: "+test.what+" is not supported.")
		if a := e.call(carol, test.operation, encode(t, test.request)); a.code() != "AccessDeniedException" {
			t.Errorf("as carol: %s(%v) = %s, want AccessDeniedException", test.operation, test.request, or(a.text(), "success"))
		}
	}
	if e.dump() != before {
		t.Error("a refused request changed the store")
	}
}

// What is wrong with a request is found before anything is created.
func TestCreateKeyAtomic(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	before := e.dump()
	many := make([]object, 51)
	for i := range many {
		many[i] = object{"TagKey": fmt.Sprint(i), "TagValue": ""}
	}
	e.fails(alice, "CreateKey", object{"Tags": many}, "TagException: Too many tags")
	e.fails(alice, "CreateKey", object{"Tags": []object{{"TagKey": "aws:x", "TagValue": ""}}}, "TagException: Tags beginning with aws: are reserved")
	e.fails(alice, "CreateKey", object{"Tags": []object{{"TagKey": "x", "TagValue": ""}, {"TagKey": "x", "TagValue": ""}}}, "TagException: Duplicate tag keys")
	e.fails(alice, "CreateKey", object{"KeySpec": "RSA_2048"}, "ValidationException: You must specify a KeyUsage value for all KMS keys except for symmetric encryption keys.")
	if e.dump() != before {
		t.Error("a refused request changed the store")
	}
	e.must(alice, "CreateKey", object{"Tags": many[:50]})
}

// There is no ML-KEM in China.
func TestSpecsOfChina(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	id := strings.TrimPrefix(decode(t, e.callIn("cn-north-1", alice, "CreateKey", "{}").body).object("KeyMetadata").str("Arn"), "arn:aws-cn:kms:cn-north-1:"+ours+":key/")
	for operation, request := range map[string]object{
		"CreateKey":                           {"KeySpec": "ML_KEM_768", "KeyUsage": "ENCAPSULATE_DECAPSULATE"},
		"GenerateDataKeyPair":                 {"KeyId": id, "KeyPairSpec": "ML_KEM_768"},
		"GenerateDataKeyPairWithoutPlaintext": {"KeyId": id, "KeyPairSpec": "ML_KEM_768"},
	} {
		a := e.callIn("cn-north-1", alice, operation, encode(t, request))
		if want := " ML_KEM_768 is not supported in this Region"; a.code() != "UnsupportedOperationException" || !strings.HasSuffix(a.text(), want) {
			t.Errorf("%s: %s, want %s", operation, or(a.text(), "success"), want)
		}
	}
	if a := e.callIn("cn-north-1", alice, "GenerateDataKeyPair", encode(t, object{"KeyId": id, "KeyPairSpec": "ECC_NIST_EDWARDS25519"})); a.err != nil {
		t.Error(a.err)
	}
}

func TestKeySpecs(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	for _, test := range []struct{ spec, usage, member, algorithms string }{
		{"SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT", "EncryptionAlgorithms", "SYMMETRIC_DEFAULT"},
		{"RSA_3072", "ENCRYPT_DECRYPT", "EncryptionAlgorithms", "RSAES_OAEP_SHA_1 RSAES_OAEP_SHA_256"},
		{"RSA_4096", "SIGN_VERIFY", "SigningAlgorithms", "RSASSA_PKCS1_V1_5_SHA_256 RSASSA_PKCS1_V1_5_SHA_384 RSASSA_PKCS1_V1_5_SHA_512 RSASSA_PSS_SHA_256 RSASSA_PSS_SHA_384 RSASSA_PSS_SHA_512"},
		{"ECC_NIST_P256", "SIGN_VERIFY", "SigningAlgorithms", "ECDSA_SHA_256"},
		{"ECC_NIST_P384", "SIGN_VERIFY", "SigningAlgorithms", "ECDSA_SHA_384"},
		{"ECC_NIST_P521", "SIGN_VERIFY", "SigningAlgorithms", "ECDSA_SHA_512"},
		{"ECC_SECG_P256K1", "SIGN_VERIFY", "SigningAlgorithms", "ECDSA_SHA_256"},
		{"ECC_NIST_P256", "KEY_AGREEMENT", "KeyAgreementAlgorithms", "ECDH"},
		{"ECC_NIST_P384", "KEY_AGREEMENT", "KeyAgreementAlgorithms", "ECDH"},
		{"ECC_NIST_P521", "KEY_AGREEMENT", "KeyAgreementAlgorithms", "ECDH"},
		{"ECC_NIST_EDWARDS25519", "SIGN_VERIFY", "SigningAlgorithms", "ED25519_PH_SHA_512 ED25519_SHA_512"},
		{"ML_DSA_44", "SIGN_VERIFY", "SigningAlgorithms", "ML_DSA_SHAKE_256"},
		{"ML_DSA_65", "SIGN_VERIFY", "SigningAlgorithms", "ML_DSA_SHAKE_256"},
		{"ML_DSA_87", "SIGN_VERIFY", "SigningAlgorithms", "ML_DSA_SHAKE_256"},
		{"ML_KEM_512", "ENCAPSULATE_DECAPSULATE", "EncapsulationAlgorithms", "ML_KEM"},
		{"ML_KEM_768", "ENCAPSULATE_DECAPSULATE", "EncapsulationAlgorithms", "ML_KEM"},
		{"ML_KEM_1024", "ENCAPSULATE_DECAPSULATE", "EncapsulationAlgorithms", "ML_KEM"},
		{"HMAC_224", "GENERATE_VERIFY_MAC", "MacAlgorithms", "HMAC_SHA_224"},
		{"HMAC_256", "GENERATE_VERIFY_MAC", "MacAlgorithms", "HMAC_SHA_256"},
		{"HMAC_384", "GENERATE_VERIFY_MAC", "MacAlgorithms", "HMAC_SHA_384"},
		{"HMAC_512", "GENERATE_VERIFY_MAC", "MacAlgorithms", "HMAC_SHA_512"},
	} {
		m := e.must(alice, "DescribeKey", object{"KeyId": e.createKey(test.spec, test.usage)}).object("KeyMetadata")
		for _, member := range []string{"EncryptionAlgorithms", "SigningAlgorithms", "MacAlgorithms", "KeyAgreementAlgorithms", "EncapsulationAlgorithms"} {
			want := ""
			if member == test.member {
				want = test.algorithms
			}
			if got := strings.Trim(fmt.Sprint(m.list(member)), "[]"); got != want {
				t.Errorf("%s %s: %s %q, want %q", test.spec, test.usage, member, got, want)
			}
			if _, there := m[member]; there != (want != "") {
				t.Errorf("%s: %s there: %t", test.spec, member, there)
			}
		}
		for _, member := range []string{"DeletionDate", "ValidTo", "MultiRegionConfiguration", "ExpirationModel", "CustomKeyStoreId"} {
			if _, there := m[member]; there {
				t.Errorf("%s: %s = %v", test.spec, member, m[member])
			}
		}
		if m.str("KeySpec") != test.spec || m.str("CustomerMasterKeySpec") != test.spec || m.str("KeyUsage") != test.usage || m["MultiRegion"] != false {
			t.Errorf("%s: %v", test.spec, m)
		}
		if got := m.str("CurrentKeyMaterialId"); (len(got) == 64) != (test.spec == "SYMMETRIC_DEFAULT") {
			t.Errorf("%s: CurrentKeyMaterialId %q", test.spec, got)
		}
	}
}

// pages walks a list to its end and returns what the pages had.
func pages(t *testing.T, e *env, who *call.Principal, operation string, request object, list, member string, limit int) []string {
	t.Helper()
	var items []string
	request = request.with(object{"Limit": limit})
	for n := 0; ; n++ {
		if n > 1000 {
			t.Fatalf("%s does not end", operation)
		}
		out := e.must(who, operation, request)
		page := out.list(list)
		for _, item := range page {
			items = append(items, object(item.(map[string]any)).str(member))
		}
		truncated, ok := out["Truncated"].(bool)
		if !ok {
			t.Fatalf("%s: no Truncated in %v", operation, out)
		}
		marker := out.str("NextMarker")
		if truncated != (marker != "") {
			t.Fatalf("%s: Truncated %t with NextMarker %q", operation, truncated, marker)
		}
		if !truncated {
			return items
		}
		if len(page) != limit {
			t.Fatalf("%s: a page of %d that is not the last, want %d", operation, len(page), limit)
		}
		request = request.with(object{"Marker": marker})
	}
}

func TestPagination(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	var keys, aliases, ofFirst, tags []string
	for i := range 23 {
		id := e.createKey("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT")
		keys = append(keys, id)
		for j := range 3 {
			name := fmt.Sprintf("alias/%02d/%d", i, j)
			e.must(alice, "CreateAlias", object{"AliasName": name, "TargetKeyId": id})
			aliases = append(aliases, name)
			if i == 0 {
				ofFirst = append(ofFirst, name)
			}
		}
	}
	e.createKeyAs(bob, "SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT")
	for i := range 50 {
		tag := fmt.Sprintf("tag%02d", i)
		e.must(alice, "TagResource", object{"KeyId": keys[0], "Tags": []object{{"TagKey": tag, "TagValue": "v"}}})
		tags = append(tags, tag)
	}
	slices.Sort(keys)
	slices.Sort(aliases)
	for _, limit := range []int{1, 2, 7, 23, 50} {
		for _, test := range []struct {
			operation, list, member string
			request                 object
			want                    []string
		}{
			{"ListKeys", "Keys", "KeyId", object{}, keys},
			{"ListAliases", "Aliases", "AliasName", object{}, aliases},
			{"ListAliases", "Aliases", "AliasName", object{"KeyId": e.first(aliases[0])}, ofFirst},
			{"ListResourceTags", "Tags", "TagKey", object{"KeyId": e.first(aliases[0])}, tags},
		} {
			got := pages(t, e, alice, test.operation, test.request, test.list, test.member, limit)
			if !slices.Equal(got, test.want) {
				t.Errorf("%s(%v) by %d\n got %v\nwant %v", test.operation, test.request, limit, got, test.want)
			}
		}
	}
	// What is the last of a page may be gone when the list goes on.
	out := e.must(alice, "ListAliases", object{"Limit": 5})
	e.must(alice, "DeleteAlias", object{"AliasName": aliases[4]})
	next := e.must(alice, "ListAliases", object{"Limit": 1, "Marker": out.str("NextMarker")}).list("Aliases")
	if got := object(next[0].(map[string]any)).str("AliasName"); got != aliases[5] {
		t.Errorf("after the deletion of %s the list goes on with %s, want %s", aliases[4], got, aliases[5])
	}
	// Defaults.
	if n := len(e.must(alice, "ListAliases", object{}).list("Aliases")); n != 50 {
		t.Errorf("ListAliases without a Limit: %d, want 50", n)
	}
	for range 80 {
		e.createKey("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT")
	}
	if n := len(e.must(alice, "ListKeys", object{}).list("Keys")); n != 100 {
		t.Errorf("ListKeys without a Limit: %d, want 100", n)
	}
	if n := len(e.must(alice, "ListKeys", object{"Limit": 1000}).list("Keys")); n != 103 {
		t.Errorf("ListKeys with Limit 1000: %d, want 103", n)
	}
	for operation, most := range map[string]int{"ListKeys": 1000, "ListAliases": 100, "ListResourceTags": 50} {
		for limit, constraint := range map[int]string{0: "greater than or equal to 1", most + 1: fmt.Sprintf("less than or equal to %d", most)} {
			request := object{"Limit": limit}
			if operation == "ListResourceTags" {
				request["KeyId"] = keys[0]
			}
			e.fails(alice, operation, request, fmt.Sprintf(
				"ValidationException: 1 validation error detected: Value '%d' at 'limit' failed to satisfy constraint: Member must have value %s", limit, constraint))
		}
	}
}

// first returns the id of the key that an alias points to.
func (e *env) first(alias string) string {
	e.t.Helper()
	return e.must(alice, "DescribeKey", object{"KeyId": alias}).object("KeyMetadata").str("KeyId")
}

func TestMarkers(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	var ids []string
	for _, who := range []*call.Principal{alice, alice, bob, bob} {
		id := e.createKeyAs(who, "SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT")
		ids = append(ids, id)
		for _, name := range []string{"alias/a-" + id, "alias/b-" + id} {
			e.must(who, "CreateAlias", object{"AliasName": name, "TargetKeyId": id})
		}
		e.must(who, "TagResource", object{"KeyId": id, "Tags": []object{{"TagKey": "a", "TagValue": ""}, {"TagKey": "b", "TagValue": ""}}})
	}
	const invalid = "InvalidMarkerException"
	type list struct {
		operation string
		request   object
	}
	lists := []list{
		{"ListKeys", object{"Limit": 1}},
		{"ListAliases", object{"Limit": 1}},
		{"ListAliases", object{"Limit": 1, "KeyId": ids[0]}},
		{"ListAliases", object{"Limit": 1, "KeyId": ids[1]}},
		{"ListResourceTags", object{"Limit": 1, "KeyId": ids[0]}},
		{"ListResourceTags", object{"Limit": 1, "KeyId": ids[1]}},
	}
	for i, from := range lists {
		marker := e.must(alice, from.operation, from.request).str("NextMarker")
		if strings.Contains(marker, ids[0]) || strings.Contains(marker, "alias") {
			t.Errorf("%s: the marker %q is not opaque", from.operation, marker)
		}
		for j, to := range lists {
			want := invalid
			if i == j {
				want = ""
			}
			e.fails(alice, to.operation, to.request.with(object{"Marker": marker}), want)
		}
		if from.request["KeyId"] == nil {
			e.fails(bob, from.operation, from.request.with(object{"Marker": marker}), invalid)
			a := e.callIn("us-west-2", alice, from.operation, encode(t, from.request.with(object{"Marker": marker})))
			if a.text() != invalid {
				t.Errorf("%s in another Region: %s, want %s", from.operation, or(a.text(), "success"), invalid)
			}
		}
		for k := range marker {
			flipped := []byte(marker)
			if flipped[k] == 'A' {
				flipped[k] = 'B'
			} else {
				flipped[k] = 'A'
			}
			e.fails(alice, from.operation, from.request.with(object{"Marker": string(flipped)}), invalid)
		}
		for _, bad := range []string{"x", "none", marker[:len(marker)-1], marker + "A", marker + "=", ids[0], "é"} {
			e.fails(alice, from.operation, from.request.with(object{"Marker": bad}), invalid)
		}
		if a := e.call(alice, from.operation, encode(t, from.request.with(object{"Marker": ""}))); a.code() != "ValidationException" {
			t.Errorf("%s with an empty marker: %s, want ValidationException", from.operation, or(a.text(), "success"))
		}
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	id := e.createKey("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT")
	other := e.createKey("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT")
	for i := range 50 {
		e.must(alice, "CreateAlias", object{"AliasName": fmt.Sprintf("alias/%d", i), "TargetKeyId": id})
		e.must(alice, "TagResource", object{"KeyId": id, "Tags": []object{{"TagKey": fmt.Sprint(i), "TagValue": "v"}}})
	}
	tooMany := "LimitExceededException: The limit of 50 aliases has been reached for the key " + keyARN(id) + "."
	e.fails(alice, "CreateAlias", object{"AliasName": "alias/50", "TargetKeyId": id}, tooMany)
	e.must(alice, "CreateAlias", object{"AliasName": "alias/50", "TargetKeyId": other})
	e.fails(alice, "UpdateAlias", object{"AliasName": "alias/50", "TargetKeyId": id}, tooMany)
	e.must(alice, "UpdateAlias", object{"AliasName": "alias/49", "TargetKeyId": id})
	e.must(alice, "UpdateAlias", object{"AliasName": "alias/49", "TargetKeyId": other})
	e.must(alice, "UpdateAlias", object{"AliasName": "alias/50", "TargetKeyId": id})
	e.must(alice, "DeleteAlias", object{"AliasName": "alias/0"})
	e.must(alice, "CreateAlias", object{"AliasName": "alias/0", "TargetKeyId": id})

	e.fails(alice, "TagResource", object{"KeyId": id, "Tags": []object{{"TagKey": "x", "TagValue": ""}, {"TagKey": "0", "TagValue": "w"}}}, "LimitExceededException: Too many tags")
	e.must(alice, "TagResource", object{"KeyId": id, "Tags": []object{{"TagKey": "0", "TagValue": "w"}}})
	e.must(alice, "UntagResource", object{"KeyId": id, "TagKeys": []string{"1"}})
	e.must(alice, "TagResource", object{"KeyId": id, "Tags": []object{{"TagKey": "x", "TagValue": ""}}})
	first := e.must(alice, "ListResourceTags", object{"KeyId": id, "Limit": 1}).list("Tags")[0].(map[string]any)
	if first["TagKey"] != "0" || first["TagValue"] != "w" {
		t.Errorf("the first tag is %v, want 0 = w", first)
	}
}

// The list of bad input that has to be answered in AWS's way, on top of what
// the transcripts have. What is wrong with signatures, targets and sizes of
// bodies is the door's.
func TestBadInput(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	id := e.createKey("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT")
	const serialization = "SerializationException"
	for _, test := range []struct{ operation, body, code string }{
		{"Encrypt", "", serialization},
		{"Encrypt", "hello", serialization},
		{"Encrypt", "[]", serialization},
		{"Encrypt", "null", serialization},
		{"Encrypt", `{"KeyId": 1}`, serialization},
		{"Encrypt", `{"KeyId": "x", "Plaintext": "not base64"}`, serialization},
		{"Encrypt", `{"KeyId": "x", "Plaintext": ["YQ=="]}`, serialization},
		{"Encrypt", `{"KeyId": "x", "Plaintext": "YQ==", "EncryptionContext": {"a": 1}}`, serialization},
		{"Encrypt", `{"KeyId": "x", "Plaintext": "YQ==", "EncryptionContext": "a"}`, serialization},
		{"Encrypt", `{"KeyId": "x", "Plaintext": "YQ==", "DryRun": "true"}`, serialization},
		{"Encrypt", `{"KeyId": "x", "Plaintext": "YQ=="`, serialization},
		{"Encrypt", `{"KeyId": "x", "Plaintext": "YQ=="} x`, serialization},
		{"ListKeys", `{"Limit": "1"}`, serialization},
		{"ListKeys", `{"Limit": 99999999999}`, serialization},
		{"ListKeys", strings.Repeat(`{"a":`, 10_000), serialization},
		{"ListKeys", `{"Marker": ` + strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000) + "}", serialization},
		{"ListKeys", "{\"Marker\": \"\xff\"}", serialization},
		{"Encrypt", `{}`, "ValidationException"},
		{"Encrypt", `{"KeyId": null, "Plaintext": null}`, "ValidationException"},
		{"ScheduleKeyDeletion", `{"KeyId": "` + id + `", "PendingWindowInDays": -1}`, "ValidationException"},
		{"DescribeKey", `{"KeyId": "` + strings.Repeat("x", 2049) + `"}`, "ValidationException"},
		{"DescribeKey", `{"KeyId": "\u0000"}`, "NotFoundException"},
		{"DescribeKey", `{"KeyId": "alias/\u0000"}`, "NotFoundException"},
		{"DescribeKey", `{"KeyId": "alias/../../x"}`, "NotFoundException"},
		{"DescribeKey", `{"Unknown": [{}], "KeyId": "` + id + `"}`, ""},
	} {
		a := e.call(alice, test.operation, test.body)
		if a.code() != test.code || a.err != nil && a.err.Status != 400 {
			t.Errorf("%s(%.80s) = %s, want %s", test.operation, test.body, or(a.text(), "success"), or(test.code, "success"))
		}
	}
}

// Every bit of a ciphertext counts, and every byte.
func TestDamagedCiphertext(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	id := e.createKey("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT")
	good := unb64(t, ciphertext(e, id))
	refused := func(blob []byte, what string) {
		t.Helper()
		for _, request := range []object{{"CiphertextBlob": b64(blob)}, {"CiphertextBlob": b64(blob), "KeyId": id}} {
			a := e.call(alice, "Decrypt", encode(t, request))
			if a.text() != "InvalidCiphertextException" {
				t.Errorf("%s: %s, want InvalidCiphertextException", what, or(a.text(), "success"))
			}
		}
	}
	for i := range len(good) * 8 {
		bad := bytes.Clone(good)
		bad[i/8] ^= 1 << (i % 8)
		refused(bad, fmt.Sprintf("bit %d flipped", i))
	}
	for n := 1; n < len(good); n++ {
		refused(good[:n], fmt.Sprintf("cut to %d bytes", n))
	}
	refused(append(bytes.Clone(good), 0), "a byte more")
	e.fails(alice, "Decrypt", object{"CiphertextBlob": b64(good)}, "")
}

// What the service signs and encrypts, others can verify and make.
func TestInteroperation(t *testing.T) {
	t.Parallel()
	e := newEnv(t)

	public := func(id string) any {
		t.Helper()
		key, err := x509.ParsePKIXPublicKey(unb64(t, e.must(alice, "GetPublicKey", object{"KeyId": id}).str("PublicKey")))
		if err != nil {
			t.Fatalf("ParsePKIXPublicKey: %v", err)
		}
		return key
	}
	message := []byte("message")
	digest := sha256.Sum256(message)

	id := e.createKey("RSA_2048", "ENCRYPT_DECRYPT")
	for algorithm, h := range map[string]hash.Hash{"RSAES_OAEP_SHA_1": sha1.New(), "RSAES_OAEP_SHA_256": sha256.New()} {
		made, err := rsa.EncryptOAEP(h, rand.Reader, public(id).(*rsa.PublicKey), message, nil)
		if err != nil {
			t.Fatal(err)
		}
		out := e.must(alice, "Decrypt", object{"KeyId": id, "CiphertextBlob": b64(made), "EncryptionAlgorithm": algorithm})
		if got := unb64(t, out.str("Plaintext")); !bytes.Equal(got, message) {
			t.Errorf("%s: decrypted %q, want %q", algorithm, got, message)
		}
	}

	id = e.createKey("RSA_2048", "SIGN_VERIFY")
	sig := unb64(t, e.must(alice, "Sign", object{"KeyId": id, "Message": b64(message), "SigningAlgorithm": "RSASSA_PSS_SHA_256"}).str("Signature"))
	pss := &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}
	if err := rsa.VerifyPSS(public(id).(*rsa.PublicKey), crypto.SHA256, digest[:], sig, pss); err != nil {
		t.Errorf("RSASSA_PSS_SHA_256: %v", err)
	}
	sig = unb64(t, e.must(alice, "Sign", object{"KeyId": id, "Message": b64(digest[:]), "MessageType": "DIGEST", "SigningAlgorithm": "RSASSA_PKCS1_V1_5_SHA_256"}).str("Signature"))
	if err := rsa.VerifyPKCS1v15(public(id).(*rsa.PublicKey), crypto.SHA256, digest[:], sig); err != nil {
		t.Errorf("RSASSA_PKCS1_V1_5_SHA_256: %v", err)
	}

	id = e.createKey("ECC_NIST_P256", "SIGN_VERIFY")
	sig = unb64(t, e.must(alice, "Sign", object{"KeyId": id, "Message": b64(message), "SigningAlgorithm": "ECDSA_SHA_256"}).str("Signature"))
	if !ecdsa.VerifyASN1(public(id).(*ecdsa.PublicKey), digest[:], sig) {
		t.Error("ECDSA_SHA_256: the signature does not verify")
	}

	id = e.createKey("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT")
	for spec, want := range map[string]int{"AES_128": 16, "AES_256": 32} {
		out := e.must(alice, "GenerateDataKey", object{"KeyId": id, "KeySpec": spec})
		if n := len(unb64(t, out.str("Plaintext"))); n != want {
			t.Errorf("a data key of %s has %d bytes, want %d", spec, n, want)
		}
	}
	for _, n := range []int{1, 17, 1024} {
		out := e.must(alice, "GenerateDataKey", object{"KeyId": id, "NumberOfBytes": n})
		if got := len(unb64(t, out.str("Plaintext"))); got != n {
			t.Errorf("a data key of %d bytes has %d", n, got)
		}
		if got := len(unb64(t, e.must(alice, "GenerateRandom", object{"NumberOfBytes": n}).str("Plaintext"))); got != n {
			t.Errorf("%d random bytes are %d", n, got)
		}
	}
	for _, spec := range []string{"RSA_2048", "ECC_NIST_P256", "ECC_NIST_P384", "ECC_NIST_P521"} {
		out := e.must(alice, "GenerateDataKeyPair", object{"KeyId": id, "KeyPairSpec": spec})
		private, err := x509.ParsePKCS8PrivateKey(unb64(t, out.str("PrivateKeyPlaintext")))
		if err != nil {
			t.Fatalf("%s: ParsePKCS8PrivateKey: %v", spec, err)
		}
		der, err := x509.MarshalPKIXPublicKey(private.(crypto.Signer).Public())
		if err != nil || b64(der) != out.str("PublicKey") {
			t.Errorf("%s: the public key is not that of the private key (%v)", spec, err)
		}
	}
}

// A MAC is a function of the message, as long as the hash, and never cut short.
func TestMACs(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	for spec, n := range map[string]int{"HMAC_224": 28, "HMAC_256": 32, "HMAC_384": 48, "HMAC_512": 64} {
		id := e.createKey(spec, "GENERATE_VERIFY_MAC")
		request := object{"KeyId": id, "Message": blob(9), "MacAlgorithm": strings.Replace(spec, "_", "_SHA_", 1)}
		one, two := e.must(alice, "GenerateMac", request), e.must(alice, "GenerateMac", request)
		if one.str("Mac") != two.str("Mac") {
			t.Errorf("%s: two MACs of a message differ", spec)
		}
		if got := len(unb64(t, one.str("Mac"))); got != n {
			t.Errorf("%s: a MAC of %d bytes, want %d", spec, got, n)
		}
		request["Mac"] = b64(unb64(t, one.str("Mac"))[:n-1])
		e.fails(alice, "VerifyMac", request, "KMSInvalidMacException")
	}
}

// What the record of a call will show.
func TestAudit(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	id := e.createKey("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT")
	other := e.createKey("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT")
	material := e.must(alice, "DescribeKey", object{"KeyId": id}).object("KeyMetadata").str("CurrentKeyMaterialId")
	otherMaterial := e.must(alice, "DescribeKey", object{"KeyId": other}).object("KeyMetadata").str("CurrentKeyMaterialId")
	source := ciphertext(e, id)
	key, otherKey, alias := keyARN(id), keyARN(other), aliasARN("alias/a")
	for _, test := range []struct {
		operation  string
		request    object
		resources  []string
		additional string
		elements   string
	}{
		{"CreateAlias", object{"AliasName": "alias/a", "TargetKeyId": id}, []string{key, alias}, "", `{"keyId":"` + key + `"}`},
		{"UpdateAlias", object{"AliasName": "alias/a", "TargetKeyId": other}, []string{alias, otherKey}, "", `{"keyId":"` + otherKey + `"}`},
		{"Encrypt", object{"KeyId": "alias/a", "Plaintext": blob(1)}, []string{otherKey}, "keyMaterialId=" + otherMaterial, ""},
		{"DeleteAlias", object{"AliasName": "alias/a"}, []string{alias, otherKey}, "", `{"keyId":"` + otherKey + `"}`},
		{"Decrypt", object{"CiphertextBlob": source}, []string{key}, "keyMaterialId=" + material, ""},
		{"ReEncrypt", object{"CiphertextBlob": source, "DestinationKeyId": other}, []string{key, otherKey}, "sourceKeyMaterialId=" + material + " destinationKeyMaterialId=" + otherMaterial, ""},
		{"ReEncrypt", object{"CiphertextBlob": source, "DestinationKeyId": id}, []string{key}, "sourceKeyMaterialId=" + material + " destinationKeyMaterialId=" + material, ""},
		{"GenerateDataKey", object{"KeyId": id, "KeySpec": "AES_256"}, []string{key}, "keyMaterialId=" + material, ""},
		{"GenerateDataKeyPairWithoutPlaintext", object{"KeyId": id, "KeyPairSpec": "ECC_NIST_P256"}, []string{key}, "keyMaterialId=" + material, ""},
		{"TagResource", object{"KeyId": id, "Tags": []object{}}, []string{key}, "", `{"keyId":"` + key + `"}`},
		{"UntagResource", object{"KeyId": id, "TagKeys": []string{"x"}}, []string{key}, "", `{"keyId":"` + key + `"}`},
		{"UpdateKeyDescription", object{"KeyId": id, "Description": "x"}, []string{key}, "", ""},
		{"DisableKey", object{"KeyId": id}, []string{key}, "", `{"keyId":"` + key + `"}`},
		{"EnableKey", object{"KeyId": id}, []string{key}, "", `{"keyId":"` + key + `"}`},
		{"ListKeys", object{}, nil, "", ""},
		{"ListAliases", object{"KeyId": id}, nil, "", ""},
		{"GenerateRandom", object{"NumberOfBytes": 1}, nil, "", ""},
		{"ScheduleKeyDeletion", object{"KeyId": id, "PendingWindowInDays": 7}, []string{key}, "", `{"keyId":"` + key + `","keyState":"PendingDeletion","deletionDate":"Nov 28, 2026, 9:30:00 AM"}`},
		{"CancelKeyDeletion", object{"KeyId": id}, []string{key}, "", `{"keyId":"` + key + `"}`},
	} {
		a := e.call(alice, test.operation, encode(t, test.request))
		if a.err != nil {
			t.Errorf("%s: %v", test.operation, a.err)
			continue
		}
		var resources []string
		for _, r := range a.call.Resources {
			resources = append(resources, r.ARN)
		}
		if !slices.Equal(resources, test.resources) {
			t.Errorf("%s: resources %v, want %v", test.operation, resources, test.resources)
		}
		var additional []string
		for _, p := range a.call.Additional {
			additional = append(additional, p.Name+"="+p.Value)
		}
		if got := strings.Join(additional, " "); got != test.additional {
			t.Errorf("%s: additional event data %q, want %q", test.operation, got, test.additional)
		}
		var elements string
		if a.call.Elements != nil {
			elements = string(a.call.Elements.AppendAudit(nil))
		}
		if elements != test.elements {
			t.Errorf("%s: response elements %s, want %s", test.operation, or(elements, "none"), or(test.elements, "none"))
		}
		if a.call.Parameters == nil {
			t.Errorf("%s: no request parameters", test.operation)
		}
	}
	created := e.call(alice, "CreateKey", "{}")
	if len(created.call.Resources) != 1 || created.call.Elements == nil {
		t.Errorf("CreateKey: resources %v, response elements %v", created.call.Resources, created.call.Elements)
	}
}

// A key whose material is destroyed leaves nothing that could decrypt.
func TestDestruction(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	id := e.createKey("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT")
	kept := e.createKey("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT")
	e.must(alice, "CreateAlias", object{"AliasName": "alias/x", "TargetKeyId": id})
	source := ciphertext(e, id)
	e.must(alice, "ScheduleKeyDeletion", object{"KeyId": id, "PendingWindowInDays": 7})
	e.advance(7*24*time.Hour + time.Hour)
	if err := e.ring.RunDue(context.Background(), e.clock()); err != nil {
		t.Fatalf("RunDue: %v", err)
	}
	if dump := e.dump(); strings.Contains(dump, id) || strings.Contains(dump, "alias/x") {
		t.Error("the store still names the key or its alias")
	}
	e.fails(alice, "Decrypt", object{"CiphertextBlob": source}, deniedByCiphertext(alice, "kms:Decrypt"))
	e.fails(alice, "Decrypt", object{"CiphertextBlob": source, "KeyId": kept},
		"IncorrectKeyException: The key ID in the request does not identify a CMK that can perform this operation.")
	e.must(alice, "CreateAlias", object{"AliasName": "alias/x", "TargetKeyId": kept})
}

// A node that is sealed under a call answers as one that is sealed, whichever
// part notices first.
func TestSealedUnderACall(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(e *env){
		"box sealed":  func(e *env) { e.box.Lock() },
		"ring closed": func(e *env) { _ = e.ring.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t)
			id := e.createKey("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT")
			e.createKey("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT")
			signing := e.createKey("ECC_NIST_P256", "SIGN_VERIFY")
			source := ciphertext(e, id)
			end(e)
			for _, tt := range []struct {
				operation string
				request   object
			}{
				{"Encrypt", object{"KeyId": id, "Plaintext": blob(5)}},
				{"Decrypt", object{"CiphertextBlob": source}},
				{"GenerateDataKey", object{"KeyId": id, "KeySpec": "AES_256"}},
				{"Sign", object{"KeyId": signing, "Message": blob(5), "SigningAlgorithm": "ECDSA_SHA_256"}},
				{"CreateKey", object{}},
			} {
				a := e.call(alice, tt.operation, encode(t, tt.request))
				if a.text() != "ServiceUnavailableException: This node is sealed. It serves requests once an operator has unsealed it." || a.err.Status != 503 {
					t.Errorf("%s: %v", tt.operation, a.err)
				}
			}
			// A page of a list has a marker to seal, and records to open.
			if a := e.call(alice, "ListKeys", encode(t, object{"Limit": 1})); name == "box sealed" && a.code() != "ServiceUnavailableException" {
				t.Errorf("ListKeys: %v", a.err)
			}
		})
	}
}
