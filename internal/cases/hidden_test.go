package cases_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// unknown is a key id that no key has.
const unknown = "00000000-1111-2222-3333-444444444444"

// foreign are requests of every operation that takes a key, for {key}.
func foreign() map[string]object {
	tag := []object{{"TagKey": "a", "TagValue": "b"}}
	all := map[string]object{
		"Encrypt":                             encrypt("{key}"),
		"Decrypt":                             with(decrypt("{B:own.blob}"), "KeyId", "{key}"),
		"ReEncrypt":                           {"CiphertextBlob": "{B:own.blob}", "DestinationKeyId": "{key}"},
		"ReEncrypt from":                      {"CiphertextBlob": "{B:own.blob}", "SourceKeyId": "{key}", "DestinationKeyId": "{B:own}"},
		"GenerateDataKey":                     dataKey("{key}"),
		"GenerateDataKeyWithoutPlaintext":     dataKey("{key}"),
		"GenerateDataKeyPair":                 dataKeyPair("{key}"),
		"GenerateDataKeyPairWithoutPlaintext": dataKeyPair("{key}"),
		"GenerateMac":                         {"KeyId": "{key}", "Message": data, "MacAlgorithm": "HMAC_SHA_256"},
		"VerifyMac":                           {"KeyId": "{key}", "Message": data, "MacAlgorithm": "HMAC_SHA_256", "Mac": data},
		"Sign":                                {"KeyId": "{key}", "Message": data, "SigningAlgorithm": "ECDSA_SHA_256"},
		"Verify":                              {"KeyId": "{key}", "Message": data, "SigningAlgorithm": "ECDSA_SHA_256", "Signature": data},
		"GetPublicKey":                        onKey("{key}"),
		"DescribeKey":                         onKey("{key}"),
		"CreateGrant":                         grant("{key}", arnB("root"), "Encrypt"),
		"CreateGrant for nothing":             grant("{key}", arnB("root"), "Sign"),
		"CreateGrant to nobody":               grant("{key}", arnA("user/nobody"), "Encrypt"),
		"ListGrants":                          onKey("{key}"),
		"RevokeGrant":                         {"KeyId": "{key}", "GrantId": strings.Repeat("0", 64)},
		"RetireGrant":                         {"KeyId": "{key}", "GrantId": strings.Repeat("0", 64)},
		"RevokeGrant of a grant":              {"KeyId": "{key}", "GrantId": "{g}"},
		"RetireGrant of a grant":              {"KeyId": "{key}", "GrantId": "{g}"},
		"DisableKey":                          onKey("{key}"),
		"EnableKey":                           onKey("{key}"),
		"ScheduleKeyDeletion":                 onKey("{key}"),
		"CancelKeyDeletion":                   onKey("{key}"),
		"TagResource":                         {"KeyId": "{key}", "Tags": tag},
		"UntagResource":                       {"KeyId": "{key}", "TagKeys": []string{"a"}},
		"ListResourceTags":                    onKey("{key}"),
		"UpdateKeyDescription":                {"KeyId": "{key}", "Description": "mine"},
		"PutKeyPolicy":                        putPolicy("{key}", rootOf("{B}")),
		"PutKeyPolicy of none":                {"KeyId": "{key}", "Policy": "{}"},
		"EnableKeyRotation":                   onKey("{key}"),
		"DisableKeyRotation":                  onKey("{key}"),
		"GetKeyRotationStatus":                onKey("{key}"),
		"RotateKeyOnDemand":                   onKey("{key}"),
		"ListKeyRotations":                    onKey("{key}"),
		"GetKeyLastUsage":                     onKey("{key}"),
		"GetParametersForImport":              {"KeyId": "{key}", "WrappingAlgorithm": "RSAES_OAEP_SHA_256", "WrappingKeySpec": "RSA_2048"},
		"ImportKeyMaterial":                   {"KeyId": "{key}", "ImportToken": data, "EncryptedKeyMaterial": data, "ExpirationModel": "KEY_MATERIAL_DOES_NOT_EXPIRE"},
		"DeleteImportedKeyMaterial":           onKey("{key}"),
		"GetKeyPolicy":                        onKey("{key}"),
		"ListKeyPolicies":                     onKey("{key}"),
		"ListAliases":                         onKey("{key}"),
		"CreateAlias":                         {"AliasName": "alias/mine", "TargetKeyId": "{key}"},
		"UpdateAlias":                         {"AliasName": "alias/own", "TargetKeyId": "{key}"},
	}
	for name, in := range maps.Clone(all) {
		switch {
		case slices.Contains([]string{"Encrypt", "Decrypt", "ReEncrypt", "GenerateDataKey", "Sign", "GenerateMac", "CreateGrant"}, name):
			all[name+" dry"] = with(in, "DryRun", true)
			all[name+" with a token"] = with(in, "GrantTokens", []string{"junk"})
		}
	}
	return all
}

// TestNothingIsTold asks for keys of another account that are not shared, in
// every state and of every kind, and for some that are not there: whoever asks,
// and for whatever, the answers do not differ.
func TestNothingIsTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	w.key("K", keyOptions{aliases: []string{"alias/secret"}})
	w.grant("g", grant("{K}", arnA("user/admin"), "Encrypt"))
	w.key("disabled", keyOptions{disabled: true})
	w.key("pending", symmetric)
	w.must("admin", region, "ScheduleKeyDeletion", onKey("{pending}"))
	w.key("rsa", rsa)
	w.key("mac", mac)
	w.key("denied", symmetric, rootOf("{A}"), allowTo(arnB("root"), "kms:*"), denyTo(arnB("root"), "kms:*"))
	w.key("B:own", keyOptions{aliases: []string{"alias/own"}})
	w.user("B:Spy", allow("*", "*"))
	w.user("B:Nemo")
	w.user("B:Barred", allow("*", "*"), deny("kms:*", "arn:aws:kms:*:{A}:*"))
	missing := "arn:aws:kms:" + region + ":" + accountA + ":key/" + unknown

	for name, in := range foreign() {
		operation, _, _ := strings.Cut(name, " ")
		for _, as := range []string{"B:Spy", "B:Nemo", "B:Barred", "B:root"} {
			ask := func(key string) string {
				w.names["key"] = key
				a := w.kms(as, region, operation, in)
				if a.ok() {
					t.Errorf("%s of %s by %s is allowed", name, key, as)
				}
				return fmt.Sprint(a.status, " ", strings.ReplaceAll(a.String(), key, "<key>"))
			}
			want := ask(missing)
			for _, key := range []string{"K", "disabled", "pending", "rsa", "mac", "denied"} {
				if got := ask(w.names[key]); got != want {
					t.Errorf("%s by %s: of the key %s\n%s\nof none\n%s", name, as, key, got, want)
				}
			}
		}
	}
}

// TestNothingIsToldOfCiphertexts has ciphertexts of another account's keys
// opened: of keys that are there, of one that is not in the Region, and of ones
// whose header was changed to name another key.
func TestNothingIsToldOfCiphertexts(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	w.key("K", symmetric)
	w.key("disabled", symmetric)
	w.must("admin", region, "DisableKey", onKey("{disabled}"))
	w.key("far", keyOptions{region: "us-east-1"})
	w.key("B:own", symmetric)
	w.user("B:Spy", allow("*", "*"))

	raw := func(id string) []byte {
		b, err := hex.DecodeString(strings.ReplaceAll(id, "-", ""))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	blob, err := base64.StdEncoding.DecodeString(w.names["K.blob"])
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(blob, raw(w.names["K.id"])) {
		t.Fatal("a ciphertext does not name its key in the documented way")
	}
	forge := func(id string) string {
		return base64.StdEncoding.EncodeToString(bytes.ReplaceAll(blob, raw(w.names["K.id"]), raw(id)))
	}
	w.names["forged.blob"], w.names["unknown.blob"] = forge(w.names["disabled.id"]), forge(unknown)

	for name, in := range map[string]object{
		"Decrypt":          {"CiphertextBlob": "{blob}"},
		"Decrypt dry":      {"CiphertextBlob": "{blob}", "DryRun": true},
		"ReEncrypt":        {"CiphertextBlob": "{blob}", "DestinationKeyId": "{B:own}"},
		"Decrypt by token": {"CiphertextBlob": "{blob}", "GrantTokens": []string{"junk"}},
	} {
		operation, _, _ := strings.Cut(name, " ")
		ask := func(blob string) string {
			w.names["blob"] = w.names[blob]
			return w.kms("B:Spy", region, operation, in).String()
		}
		want := ask("far.blob")
		if !strings.Contains(want, "AccessDeniedException") || !strings.Contains(want, ciphertext+" "+reasons["hidden"]) {
			t.Errorf("%s of a ciphertext of no key: %s", name, want)
		}
		for _, blob := range []string{"K.blob", "disabled.blob"} {
			if got := ask(blob); got != want {
				t.Errorf("%s of %s: %s, want %s", name, blob, got, want)
			}
		}
		if one, other := ask("forged.blob"), ask("unknown.blob"); one != other {
			t.Errorf("%s of a ciphertext whose header was changed: %s, %s", name, one, other)
		}
	}
}

// TestNamesake deletes a user and a role that a key policy and a grant name, and
// makes new ones of the same names: they get nothing, and the policy shows whom
// it means.
func TestNamesake(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	w.role("R")
	w.session("R/first")
	w.user("Alice")
	w.key("K", symmetric, rootOf("{A}"), allowTo("{R} {Alice}", "kms:Encrypt"))
	w.grant("g", grant("{K}", "{R}", "Decrypt"))
	for _, as := range []string{"R/first", "Alice"} {
		w.run(t, &check{as: as, do: "Encrypt", in: encrypt("{K}")})
	}
	w.run(t, &check{as: "R/first", do: "Decrypt", in: decrypt("{K.blob}")})

	roleID := w.mustQuery("admin", "iam", "GetRole", "RoleName", "R").at("GetRoleResult", "Role", "RoleId")
	userID := w.mustQuery("admin", "iam", "GetUser", "UserName", "Alice").at("GetUserResult", "User", "UserId")
	key := w.principals["Alice"].credentials.AccessKeyID
	w.mustQuery("admin", "iam", "DeleteAccessKey", "UserName", "Alice", "AccessKeyId", key)
	w.mustQuery("admin", "iam", "DeleteUser", "UserName", "Alice")
	w.mustQuery("admin", "iam", "DeleteRole", "RoleName", "R")
	for _, as := range []string{"R/first", "Alice"} {
		if a := w.kms(as, region, "Encrypt", encrypt("{K}")); a.code != "UnrecognizedClientException" {
			t.Errorf("%s, who is gone: %v", as, a)
		}
	}

	w.role("R")
	w.session("R/second")
	w.user("Alice")
	for _, as := range []string{"R/second", "Alice"} {
		w.run(t, &check{as: as, do: "Encrypt", in: encrypt("{K}"), want: denied("ID", "{K}")})
	}
	w.run(t, &check{as: "R/second", do: "Decrypt", in: decrypt("{K.blob}"), want: denied("ID", "{K}")})
	if a := w.kms("R/first", region, "Encrypt", encrypt("{K}")); a.code != "UnrecognizedClientException" {
		t.Errorf("a session of the role that is gone: %v", a)
	}

	text, _ := w.must("admin", region, "GetKeyPolicy", onKey("{K}"))["Policy"].(string)
	if !strings.Contains(text, roleID) || !strings.Contains(text, userID) || strings.Contains(text, w.names["R"]) || strings.Contains(text, w.names["Alice"]) {
		t.Errorf("the policy of the key should name %s and %s: %s", roleID, userID, text)
	}
	w.run(t, &check{as: "admin", do: "PutKeyPolicy", in: object{"KeyId": "{K}", "Policy": text}, want: fails("MalformedPolicyDocumentException", "Policy contains a statement with one or more invalid principals.")})
}

// TestNamesakeOfASession: a policy and a grant that name a session of a role give
// nothing to the session of that name of a role made anew.
func TestNamesakeOfASession(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	w.role("R")
	w.session("R/one")
	w.key("K", symmetric, rootOf("{A}"), allowTo("{R/one}", "kms:Encrypt"))
	w.grant("g", grant("{K}", "{R/one}", "Decrypt"))
	use := func(ends want) {
		w.run(t, &check{as: "R/one", do: "Encrypt", in: encrypt("{K}"), want: ends})
		w.run(t, &check{as: "R/one", do: "Decrypt", in: decrypt("{K.blob}"), want: ends})
	}
	use(want{})
	text, _ := w.must("admin", region, "GetKeyPolicy", onKey("{K}"))["Policy"].(string)
	if !strings.Contains(text, w.names["R/one"]) {
		t.Errorf("the policy of the key should name %s: %s", w.names["R/one"], text)
	}
	roleID := w.mustQuery("admin", "iam", "GetRole", "RoleName", "R").at("GetRoleResult", "Role", "RoleId")
	w.mustQuery("admin", "iam", "DeleteRole", "RoleName", "R")
	w.role("R")
	w.session("R/one")
	use(denied("ID", "{K}"))
	text, _ = w.must("admin", region, "GetKeyPolicy", onKey("{K}"))["Policy"].(string)
	if !strings.Contains(text, roleID+":") || strings.Contains(text, w.names["R/one"]) {
		t.Errorf("the policy of the key should name %s: %s", roleID, text)
	}
}
