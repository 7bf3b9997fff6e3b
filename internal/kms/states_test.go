package kms_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/csv"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// sibling is another Region than testRegion.
const sibling = "eu-west-1"

// kinds are the sorts of keys that testdata/states.csv needs.
var kinds = map[string]object{
	"external": {"Origin": "EXTERNAL"},
	"sym":      {},
	"set":      {"MultiRegion": true},
	"mac":      {"KeySpec": "HMAC_256", "KeyUsage": "GENERATE_VERIFY_MAC"},
	"sign":     {"KeySpec": "ECC_NIST_P256", "KeyUsage": "SIGN_VERIFY"},
	"agree":    {"KeySpec": "ECC_NIST_P256", "KeyUsage": "KEY_AGREEMENT"},
	"kem":      {"KeySpec": "ML_KEM_512", "KeyUsage": "ENCAPSULATE_DECAPSULATE"},
}

// subject is a key in a state, and what operations on it need.
type subject struct {
	id, arn            string
	blob, signature    string // of the key, as long as it could be used
	mac, secret, point string
	grant              string
	token, wrapped     string // for an import
	alias              string
}

const message = "aGVsbG8="

// requests make an input of each operation that names a key.
var requests = map[string]func(s *subject) object{
	"CancelKeyDeletion": func(s *subject) object { return object{"KeyId": s.id} },
	"CreateAlias":       func(s *subject) object { return object{"AliasName": "alias/new-" + s.id, "TargetKeyId": s.id} },
	"CreateGrant": func(s *subject) object {
		return object{"KeyId": s.id, "GranteePrincipal": alice.ARN, "Operations": []string{"DescribeKey"}}
	},
	"Decapsulate": func(s *subject) object {
		return object{"KeyId": s.id, "SharedSecretCiphertextBlob": s.secret, "EncapsulationAlgorithm": "ML_KEM"}
	},
	"Decrypt":                   func(s *subject) object { return object{"CiphertextBlob": s.blob} },
	"DeleteAlias":               func(s *subject) object { return object{"AliasName": s.alias} },
	"DeleteImportedKeyMaterial": func(s *subject) object { return object{"KeyId": s.id} },
	"DeriveSharedSecret": func(s *subject) object {
		return object{"KeyId": s.id, "PublicKey": s.point, "KeyAgreementAlgorithm": "ECDH"}
	},
	"DescribeKey":                         func(s *subject) object { return object{"KeyId": s.id} },
	"DisableKey":                          func(s *subject) object { return object{"KeyId": s.id} },
	"DisableKeyRotation":                  func(s *subject) object { return object{"KeyId": s.id} },
	"EnableKey":                           func(s *subject) object { return object{"KeyId": s.id} },
	"EnableKeyRotation":                   func(s *subject) object { return object{"KeyId": s.id} },
	"Encapsulate":                         func(s *subject) object { return object{"KeyId": s.id, "EncapsulationAlgorithm": "ML_KEM"} },
	"Encrypt":                             func(s *subject) object { return object{"KeyId": s.id, "Plaintext": message} },
	"GenerateDataKey":                     func(s *subject) object { return object{"KeyId": s.id, "NumberOfBytes": 16} },
	"GenerateDataKeyPair":                 func(s *subject) object { return object{"KeyId": s.id, "KeyPairSpec": "ECC_NIST_P256"} },
	"GenerateDataKeyPairWithoutPlaintext": func(s *subject) object { return object{"KeyId": s.id, "KeyPairSpec": "ECC_NIST_P256"} },
	"GenerateDataKeyWithoutPlaintext":     func(s *subject) object { return object{"KeyId": s.id, "NumberOfBytes": 16} },
	"GenerateMac": func(s *subject) object {
		return object{"KeyId": s.id, "Message": message, "MacAlgorithm": "HMAC_SHA_256"}
	},
	"GetKeyLastUsage":      func(s *subject) object { return object{"KeyId": s.id} },
	"GetKeyPolicy":         func(s *subject) object { return object{"KeyId": s.id} },
	"GetKeyRotationStatus": func(s *subject) object { return object{"KeyId": s.id} },
	"GetParametersForImport": func(s *subject) object {
		return object{"KeyId": s.id, "WrappingAlgorithm": "RSAES_OAEP_SHA_256", "WrappingKeySpec": "RSA_2048"}
	},
	"GetPublicKey": func(s *subject) object { return object{"KeyId": s.id} },
	"ImportKeyMaterial": func(s *subject) object {
		return object{"KeyId": s.id, "ImportToken": s.token, "EncryptedKeyMaterial": s.wrapped, "ExpirationModel": "KEY_MATERIAL_DOES_NOT_EXPIRE"}
	},
	"ListAliases":         func(s *subject) object { return object{"KeyId": s.id} },
	"ListGrants":          func(s *subject) object { return object{"KeyId": s.id} },
	"ListKeyPolicies":     func(s *subject) object { return object{"KeyId": s.id} },
	"ListKeyRotations":    func(s *subject) object { return object{"KeyId": s.id} },
	"ListResourceTags":    func(s *subject) object { return object{"KeyId": s.id} },
	"PutKeyPolicy":        func(s *subject) object { return object{"KeyId": s.id, "Policy": everybody} },
	"ReEncrypt":           func(s *subject) object { return object{"CiphertextBlob": s.blob, "DestinationKeyId": s.id} },
	"ReplicateKey":        func(s *subject) object { return object{"KeyId": s.id, "ReplicaRegion": "eu-north-1"} },
	"RetireGrant":         func(s *subject) object { return object{"KeyId": s.arn, "GrantId": s.grant} },
	"RevokeGrant":         func(s *subject) object { return object{"KeyId": s.id, "GrantId": s.grant} },
	"RotateKeyOnDemand":   func(s *subject) object { return object{"KeyId": s.id} },
	"ScheduleKeyDeletion": func(s *subject) object { return object{"KeyId": s.id} },
	"Sign": func(s *subject) object {
		return object{"KeyId": s.id, "Message": message, "SigningAlgorithm": "ECDSA_SHA_256"}
	},
	"TagResource": func(s *subject) object {
		return object{"KeyId": s.id, "Tags": []object{{"TagKey": "a", "TagValue": "b"}}}
	},
	"UntagResource":        func(s *subject) object { return object{"KeyId": s.id, "TagKeys": []string{"a"}} },
	"UpdateAlias":          func(s *subject) object { return object{"AliasName": "alias/others", "TargetKeyId": s.id} },
	"UpdateKeyDescription": func(s *subject) object { return object{"KeyId": s.id, "Description": "x"} },
	"UpdatePrimaryRegion":  func(s *subject) object { return object{"KeyId": s.id, "PrimaryRegion": sibling} },
	"Verify": func(s *subject) object {
		return object{"KeyId": s.id, "Message": message, "SigningAlgorithm": "ECDSA_SHA_256", "Signature": s.signature}
	},
	"VerifyMac": func(s *subject) object {
		return object{"KeyId": s.id, "Message": message, "MacAlgorithm": "HMAC_SHA_256", "Mac": s.mac}
	},
}

// unkeyed are the operations that name no key.
var unkeyed = []string{"CreateKey", "GenerateRandom", "ListKeys", "ListRetirableGrants"}

const everybody = `{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::` + ours + `:root"}, "Action": "kms:*", "Resource": "*"}}`

// TestStates runs every operation on a key in every state, and compares how it
// ends with testdata/states.csv: the table "Key states and their effects" of AWS's
// documentation.
func TestStates(t *testing.T) {
	text, err := os.ReadFile("testdata/states.csv")
	if err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(strings.NewReader(string(text))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var listed []string
	for _, row := range rows[1:] {
		operation, kind := row[0], row[1]
		listed = append(listed, operation)
		t.Run(operation, func(t *testing.T) {
			t.Parallel()
			e := newEnv(t)
			e.must(alice, "CreateAlias", object{"AliasName": "alias/others", "TargetKeyId": e.createKey("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT")})
			for i, state := range rows[0][2:] {
				e.held.Store(false)
				s := e.keyIn(kind, state)
				if operation == "ScheduleKeyDeletion" {
					e.held.Store(false) // it waits for a replica to be made
				}
				a := e.call(alice, operation, encode(t, requests[operation](s)))
				if got, want := outcome(s, a), row[2+i]; got != want {
					t.Errorf("%s: %s %s, want %s", state, got, a.text(), want)
				}
			}
		})
	}
	for operation := range newEnv(t).ops {
		if !slices.Contains(listed, operation) && !slices.Contains(unkeyed, operation) {
			t.Errorf("testdata/states.csv has no %s", operation)
		}
	}
}

// outcomes are the words of the table for errors, which have a code, and after the
// key's ARN a text.
var outcomes = map[[2]string]string{
	{"DisabledException", "is disabled."}:                              "disabled",
	{"KMSInvalidStateException", "is pending deletion."}:               "deletion",
	{"KMSInvalidStateException", "is pending replica deletion."}:       "replica deletion",
	{"KMSInvalidStateException", "is not a multi-Region primary key."}: "not primary",
	{"KMSInvalidStateException", "is pending import."}:                 "import",
	{"KMSInvalidStateException", "is creating."}:                       "creating",
	{"KMSInvalidStateException", "is updating."}:                       "updating",
	{"KMSInvalidStateException", "is not pending deletion."}:           "not pending",
}

// outcome is how a call ended, in the words of the table.
func outcome(s *subject, a answer) string {
	text := a.text()
	if text == "" {
		return "ok"
	}
	if code, rest, ok := strings.Cut(text, ": "+s.arn+" "); ok {
		if word, ok := outcomes[[2]string{code, rest}]; ok {
			return word
		}
	}
	if a.code() == "UnsupportedOperationException" {
		return "unsupported"
	}
	return a.code()
}

// keyIn makes a key of a kind, and puts it into a state.
func (e *env) keyIn(kind, state string) *subject {
	e.t.Helper()
	input := maps.Clone(kinds[kind])
	home := testRegion
	switch state {
	case "Creating":
		home = sibling
		input["MultiRegion"] = true
	case "PendingReplicaDeletion", "Updating":
		input["MultiRegion"] = true
	case "PendingImport":
		input["Origin"] = "EXTERNAL"
		if kind == "kem" { // cannot be imported
			delete(input, "KeySpec")
			delete(input, "KeyUsage")
		}
	}
	in := func(region, operation string, request object) object {
		e.t.Helper()
		a := e.callIn(region, alice, operation, encode(e.t, request))
		if a.err != nil {
			e.t.Fatalf("%s, %s: %s(%v) = %v", kind, state, operation, request, a.err)
		}
		if len(a.body) == 0 {
			return nil
		}
		return decode(e.t, a.body)
	}
	s := &subject{grant: strings.Repeat("0", 64)}
	s.id = in(home, "CreateKey", input).object("KeyMetadata").str("KeyId")
	s.arn = keyARN(s.id)
	s.alias = "alias/of-" + s.id
	if kind == "external" {
		e.importInto(home, s)
	}
	usable := state != "PendingImport" || kind == "external"
	if usable {
		switch kind {
		case "mac":
			s.mac = in(home, "GenerateMac", requests["GenerateMac"](s)).str("Mac")
		case "sign":
			s.signature = in(home, "Sign", requests["Sign"](s)).str("Signature")
		case "kem":
			s.secret = in(home, "Encapsulate", requests["Encapsulate"](s)).str("SharedSecretCiphertextBlob")
		case "agree":
		default:
			s.blob = in(home, "Encrypt", requests["Encrypt"](s)).str("CiphertextBlob")
		}
	}
	other := in(testRegion, "CreateKey", object{}).object("KeyMetadata").str("KeyId")
	s.point = in(testRegion, "GenerateDataKeyPair", object{"KeyId": other, "KeyPairSpec": "ECC_NIST_P256"}).str("PublicKey")
	for _, of := range []*string{&s.signature, &s.mac, &s.secret} {
		if *of == "" { // which the state makes nobody look at
			*of = base64.StdEncoding.EncodeToString(make([]byte, 32))
		}
	}
	if home == testRegion {
		in(home, "CreateAlias", object{"AliasName": s.alias, "TargetKeyId": s.id})
		if usable {
			s.grant = in(home, "CreateGrant", object{"KeyId": s.id, "GranteePrincipal": alice.ARN, "RetiringPrincipal": alice.ARN, "Operations": []string{"DescribeKey"}}).str("GrantId")
		}
	}
	switch state {
	case "Disabled":
		in(home, "DisableKey", object{"KeyId": s.id})
	case "PendingImport":
		if usable {
			in(home, "DeleteImportedKeyMaterial", object{"KeyId": s.id})
		}
	case "PendingDeletion":
		in(home, "ScheduleKeyDeletion", object{"KeyId": s.id})
	case "PendingReplicaDeletion":
		in(home, "ReplicateKey", object{"KeyId": s.id, "ReplicaRegion": sibling})
		in(home, "ScheduleKeyDeletion", object{"KeyId": s.id})
	case "Creating":
		e.held.Store(true)
		in(home, "ReplicateKey", object{"KeyId": s.id, "ReplicaRegion": testRegion})
		in(testRegion, "CreateAlias", object{"AliasName": s.alias, "TargetKeyId": s.id})
	case "Updating":
		in(home, "ReplicateKey", object{"KeyId": s.id, "ReplicaRegion": sibling})
		e.await(sibling, s.id, func(state string) bool { return state != "Creating" })
		if kind == "external" {
			e.importInto(sibling, &subject{id: s.id})
		}
		e.held.Store(true)
		in(home, "UpdatePrimaryRegion", object{"KeyId": s.id, "PrimaryRegion": sibling})
	case "Enabled":
		if kind == "set" {
			in(home, "ReplicateKey", object{"KeyId": s.id, "ReplicaRegion": sibling})
			e.await(sibling, s.id, func(state string) bool { return state != "Creating" })
		}
	}
	e.await(testRegion, s.id, func(now string) bool { return now == state })
	return s
}

// await waits for the state of a key.
func (e *env) await(region, id string, good func(state string) bool) {
	e.t.Helper()
	for range 2000 {
		a := e.callIn(region, alice, "DescribeKey", encode(e.t, object{"KeyId": id}))
		if a.err != nil {
			e.t.Fatal(a.err)
		}
		if good(decode(e.t, a.body).object("KeyMetadata").str("KeyState")) {
			return
		}
		time.Sleep(time.Millisecond)
	}
	e.t.Fatalf("%s stays in its state", id)
}

// importInto imports material into a key, and keeps what it takes to do so again.
func (e *env) importInto(region string, s *subject) {
	e.t.Helper()
	a := e.callIn(region, alice, "GetParametersForImport", encode(e.t, requests["GetParametersForImport"](s)))
	if a.err != nil {
		e.t.Fatal(a.err)
	}
	parameters := decode(e.t, a.body)
	spki, err := base64.StdEncoding.DecodeString(parameters.str("PublicKey"))
	if err != nil {
		e.t.Fatal(err)
	}
	public, err := x509.ParsePKIXPublicKey(spki)
	if err != nil {
		e.t.Fatal(err)
	}
	wrapped, err := rsa.EncryptOAEP(sha256.New(), rand.Reader, public.(*rsa.PublicKey), make([]byte, 32), nil)
	if err != nil {
		e.t.Fatal(err)
	}
	s.token, s.wrapped = parameters.str("ImportToken"), base64.StdEncoding.EncodeToString(wrapped)
	if a := e.callIn(region, alice, "ImportKeyMaterial", encode(e.t, requests["ImportKeyMaterial"](s))); a.err != nil {
		e.t.Fatal(a.err)
	}
}
