package cases_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/node"
	"github.com/keyreeve/keyreeve/kmstest"
)

// A scenario is a setup of policies, and calls that are made in it.
type scenario struct {
	about   string
	seed    string // what follows accountsSeed
	options []kmstest.Option
	make    func(w *world)
	checks  []check
	// more makes what a table cannot say.
	more func(t *testing.T, w *world)
	// cases are the numbers that more is about.
	cases []int
}

// Actions of the service's own example policies.
const (
	use        = "kms:Encrypt kms:Decrypt kms:ReEncrypt* kms:GenerateDataKey* kms:DescribeKey"
	engineered = "kms:Encrypt kms:Decrypt kms:ReEncryptFrom kms:ReEncryptTo kms:GenerateDataKey kms:GenerateDataKeyWithoutPlaintext kms:DescribeKey"
)

var (
	symmetric = keyOptions{}
	rsa       = keyOptions{input: object{"KeySpec": "RSA_2048", "KeyUsage": "ENCRYPT_DECRYPT"}}
	mac       = keyOptions{input: object{"KeySpec": "HMAC_256", "KeyUsage": "GENERATE_VERIFY_MAC"}}
)

func encrypt(key string) object  { return object{"KeyId": key, "Plaintext": data} }
func decrypt(blob string) object { return object{"CiphertextBlob": blob} }
func onKey(key string) object    { return object{"KeyId": key} }

// tomorrow is when material that is imported expires.
var tomorrow = time.Now().Add(24 * time.Hour).Unix()

func material(key string) object {
	return object{"KeyId": key, "ImportToken": data, "EncryptedKeyMaterial": data}
}

func wrapping(key, spec string) object {
	return object{"KeyId": key, "WrappingAlgorithm": "RSAES_OAEP_SHA_256", "WrappingKeySpec": spec}
}

func notImported(key string) want {
	return fails("UnsupportedOperationException", key+" origin is AWS_KMS which is not valid for this operation.")
}

// with adds members to a request; a context is {"EncryptionContext": …}.
func with(o object, name string, value any) object {
	all := object{name: value}
	for k, v := range o {
		all[k] = v
	}
	return all
}

func context(o object, pairs ...string) object {
	context := object{}
	for i := 0; i+1 < len(pairs); i += 2 {
		context[pairs[i]] = pairs[i+1]
	}
	return with(o, "EncryptionContext", context)
}

func dataKey(key string) object {
	return object{"KeyId": key, "KeySpec": "AES_256"}
}

func dataKeyPair(key string) object {
	return object{"KeyId": key, "KeyPairSpec": "ECC_NIST_P256"}
}

func grant(key, grantee string, operations ...string) object {
	return object{"KeyId": key, "GranteePrincipal": grantee, "Operations": operations}
}

func constrained(o object, kind string, pairs ...string) object {
	context := object{}
	for i := 0; i+1 < len(pairs); i += 2 {
		context[pairs[i]] = pairs[i+1]
	}
	return with(o, "Constraints", object{kind: context})
}

func putPolicy(key string, statements ...string) object {
	return object{"KeyId": key, "Policy": document(statements...)}
}

func tags(o object, pairs ...string) object {
	list := []object{}
	for i := 0; i+1 < len(pairs); i += 2 {
		list = append(list, object{"TagKey": pairs[i], "TagValue": pairs[i+1]})
	}
	return with(o, "Tags", list)
}

// arnA and arnB name principals of the accounts in policies.
func arnA(of string) string { return "arn:aws:iam::" + accountA + ":" + of }
func arnB(of string) string { return "arn:aws:iam::" + accountB + ":" + of }

func aliasOf(account, name string) string {
	return "arn:aws:kms:" + region + ":" + account + ":alias/" + name
}

// hidden is the denial that says nothing of another account's key.
var hidden = denied("hidden", this)

var scenarios = []scenario{
	{
		about: "one account and the default key policy",
		make: func(w *world) {
			w.key("K", symmetric)
			w.key("far", keyOptions{region: "us-east-1"})
			w.user("Alice")
			w.user("X", allow("kms:Decrypt", "{K}"))
			w.user("Regional", allow("kms:Encrypt kms:Decrypt", "arn:aws:kms:us-west-2:{A}:key/*"))
			w.user("Guarded", allow("*", "*"), deny("kms:DisableKey kms:ScheduleKeyDeletion", "*"))
			w.user("Lister", allow("kms:ListKeys", "arn:aws:kms:*:{A}:key/*"))
			w.user("Generator", allow("kms:Generate*", "*"))
			w.user("KeyGenerator", allow("kms:Generate*", "{K}"))
			w.user("Shouting", allow("KMS:decrypt", "{K}"))
			w.user("ExampleUser", allow("kms:*", "*"))
		},
		checks: []check{
			{number: 1, as: "Alice", do: "Decrypt", in: decrypt("{K.blob}"), want: denied("ID", "{K}")},
			{number: 7, as: "X", do: "Decrypt", in: decrypt("{K.blob}")},
			{number: 7, variant: " not more", as: "X", do: "Encrypt", in: encrypt("{K}"), want: denied("ID", "{K}")},
			{number: 8, as: "root", do: "Encrypt", in: encrypt("{K}")},
			{number: 8, variant: " describing", as: "root", do: "DescribeKey", in: onKey("{K}")},
			{number: 8, variant: " tagging", as: "root", do: "TagResource", in: tags(onKey("{K}"), "a", "b")},
			{number: 8, variant: " listing", as: "root", do: "ListKeys"},
			{number: 17, as: "Regional", do: "Encrypt", in: encrypt("{far}"), region: "us-east-1", want: denied("ID", "{far}")},
			{number: 17, variant: " here", as: "Regional", do: "Encrypt", in: encrypt("{K}")},
			{number: 18, as: "Guarded", do: "DisableKey", in: onKey("{K}"), want: denied("XID", "{K}")},
			{number: 19, as: "Lister", do: "ListKeys", want: denied("ID", "*")},
			{number: 40, as: "ExampleUser", do: "Encrypt", in: encrypt("{K}")},
			{number: 142, as: "Generator", do: "GenerateDataKeyPair", in: dataKeyPair("{K}")},
			{number: 142, variant: " random", as: "Generator", do: "GenerateRandom", in: object{"NumberOfBytes": 8}},
			{number: 142, variant: " random of a key", as: "KeyGenerator", do: "GenerateRandom", in: object{"NumberOfBytes": 8}, want: denied("ID", "*")},
			{number: 142, variant: " of the key", as: "KeyGenerator", do: "GenerateDataKeyPair", in: dataKeyPair("{K}")},
			{number: 143, as: "Shouting", do: "Decrypt", in: decrypt("{K.blob}")},
		},
	},
	{
		about: "a key of another account",
		make: func(w *world) {
			w.key("B:K2", keyOptions{aliases: []string{"alias/shared"}}, rootOf("{B}"), allowTo(arnA("root"), engineered))
			w.key("B:K3", symmetric, rootOf("{B}"), allowTo(arnA("root"), "kms:*"))
			w.user("Bob", allow("sts:AssumeRole", "*"))
			w.role("Engineering", allow(engineered, "{B:K2}"))
			w.session("Engineering/bob")
			w.role("Wide", allow("kms:*", "*"))
			w.session("Wide/s1")
		},
		checks: []check{
			{number: 2, as: "Engineering/bob", do: "Encrypt", in: encrypt("{B:K2}")},
			{number: 3, as: "Engineering/bob", do: "DescribeKey", in: onKey(aliasOf("{B}", "shared"))},
			{number: 4, as: "Bob", do: "Encrypt", in: encrypt("{B:K2}"), want: denied("ID", this)},
			{number: 4, variant: " by blob", as: "Bob", do: "Decrypt", in: decrypt("{B:K2.blob}"), want: denied("ID", ciphertext)},
			{number: 5, as: "Wide/s1", do: "GenerateDataKeyPair", in: dataKeyPair("{B:K2}"), want: hidden},
			{number: 6, as: "Wide/s1", do: "ScheduleKeyDeletion", in: onKey("{B:K3}"), want: hidden},
			{number: 6, variant: " what may be shared", as: "Wide/s1", do: "GenerateDataKeyPair", in: dataKeyPair("{B:K3}")},
		},
	},
	{
		about: "a key policy without the account",
		make: func(w *world) {
			w.user("Alice")
			w.user("Anna", deny("kms:Encrypt", "*"))
			w.user("Bob", allow("*", "*"))
			w.user("Barred", deny("kms:*", "*"))
			w.role("R1")
			w.user("Eve", allow("kms:*", "*"))
			w.key("K", symmetric, allowTo("{Alice}", "kms:*"))
			w.key("Annas", symmetric, allowTo("{Anna}", "kms:*"))
			w.key("K14", symmetric, allowTo("{R1}", "kms:Decrypt"), denyTo("{Eve}", "kms:*"), rootOf("{A}"))
			w.key("K16", rsa, allowTo("{Alice}", "kms:DescribeKey", when("StringEquals", "kms:KeySpec", "SYMMETRIC_DEFAULT")))
			w.key("K20", symmetric, allowTo("{Alice}", "kms:List* kms:Create*"))
			w.key("K21", symmetric, allowTo("{Alice}", "kms:Delete*"))
			w.key("K21b", symmetric, rootOf("{A}"), allowTo("{Alice}", "kms:Delete*"))
			w.key("K67", symmetric, allowTo("{Alice}", "kms:Decrypt kms:DescribeKey", when("StringEquals", "kms:EncryptionContext:Dept", "IT")))
			w.key("K141", symmetric, strings.Replace(allowTo("{Alice}", "kms:Decrypt"), `"Action"`, `"NotAction"`, 1))
		},
		checks: []check{
			{number: 9, as: "Bob", do: "Decrypt", in: decrypt("{K.blob}"), want: denied("RES", "{K}")},
			{number: 10, as: "root", do: "DescribeKey", in: onKey("{K}"), want: denied("RES", "{K}")},
			{number: 11, as: "Alice", do: "Encrypt", in: encrypt("{K}")},
			{number: 12, as: "Anna", do: "Encrypt", in: encrypt("{Annas}"), want: denied("XID", "{Annas}")},
			{number: 12, variant: " another action", as: "Anna", do: "Decrypt", in: decrypt("{Annas.blob}")},
			{number: 13, as: "Barred", do: "Decrypt", in: decrypt("{K.blob}"), want: denied("XID", "{K}")},
			{number: 14, as: "Eve", do: "Decrypt", in: decrypt("{K14.blob}"), want: denied("XRES", "{K14}")},
			{number: 16, as: "Alice", do: "DescribeKey", in: onKey("{K16}"), want: denied("RES", "{K16}")},
			{number: 20, as: "Alice", do: "ListKeys", want: denied("ID", "*")},
			{number: 20, variant: " aliases", as: "Alice", do: "ListAliases", want: denied("ID", "*")},
			{number: 20, variant: " making", as: "Alice", do: "CreateKey", want: denied("ID", "*")},
			{number: 20, variant: " grants", as: "Alice", do: "ListGrants", in: onKey("{K20}")},
			{number: 20, variant: " policies", as: "Alice", do: "ListKeyPolicies", in: onKey("{K20}")},
			{number: 20, variant: " tags", as: "Alice", do: "ListResourceTags", in: onKey("{K20}")},
			{number: 20, variant: " granting", as: "Alice", do: "CreateGrant", in: grant("{K20}", "{Anna}", "Encrypt")},
			{number: 21, as: "Alice", do: "ScheduleKeyDeletion", in: onKey("{K21}"), want: denied("RES", "{K21}")},
			{number: 21, variant: " with the account", as: "Alice", do: "ScheduleKeyDeletion", in: onKey("{K21b}"), want: denied("ID", "{K21b}")},
			{number: 67, as: "Alice", do: "DescribeKey", in: onKey("{K67}"), want: denied("RES", "{K67}")},
			{number: 141, as: "Alice", do: "Encrypt", in: encrypt("{K141}")},
			{number: 141, variant: " that one", as: "Alice", do: "Decrypt", in: decrypt("{K141.blob}"), want: denied("RES", "{K141}")},
		},
	},
	{
		about: "a key that other accounts use",
		make: func(w *world) {
			w.key("K", keyOptions{aliases: []string{"alias/finance"}}, rootOf("{A}"), allowTo(arnB("root"), use))
			w.user("B:Ursula", allow(use, "{K}"))
			w.user("B:Nemo")
			w.role("B:ExampleRole", allow("kms:Decrypt", "*"))
			w.role("B:OtherRole", allow("kms:*", "*"))
			w.session("B:ExampleRole/s1")
			w.session("B:OtherRole/s1")
			w.key("KE", symmetric, rootOf("{A}"), allowTo("{B:ExampleRole}", use))
			w.user("B:Granter", allow("kms:CreateGrant kms:ListGrants kms:RevokeGrant", "*"))
			w.key("K27", symmetric, rootOf("{A}"), allowTo(arnB("root"), "kms:CreateGrant kms:ListGrants kms:RevokeGrant", when("Bool", "kms:GrantIsForAWSResource", "true")))
			w.key("K30", symmetric, rootOf("{A}"), allowTo(arnB("root"), "kms:ScheduleKeyDeletion"))
			w.user("B:Lister", allow("kms:ListKeys", "*"))
			w.key("B:own", symmetric)
			w.user("Alice")
			w.key("K33", symmetric, rootOf("{A}"), allowTo("*", "kms:*"))
			w.key("K75", symmetric, rootOf("{A}"), allowTo("*", "kms:*", when("StringEquals", "kms:CallerAccount", "{A}")))
			w.user("B:Wide", allow("kms:*", "*"))
		},
		checks: []check{
			{number: 22, as: "B:Ursula", do: "Encrypt", in: encrypt("{K}")},
			{number: 23, as: "B:Nemo", do: "Encrypt", in: encrypt("{K}"), want: denied("ID", this)},
			{number: 24, as: "B:OtherRole/s1", do: "Encrypt", in: encrypt("{KE}"), want: hidden},
			{number: 25, as: "B:ExampleRole/s1", do: "Decrypt", in: decrypt("{KE.blob}")},
			{number: 26, as: "B:ExampleRole/s1", do: "Encrypt", in: encrypt("{KE}"), want: denied("ID", this)},
			{number: 27, as: "B:Granter", do: "CreateGrant", in: grant("{K27}", "{B:Nemo}", "Encrypt"), want: hidden},
			{number: 30, as: "B:admin", do: "ScheduleKeyDeletion", in: onKey("{K30}"), want: hidden},
			{number: 31, as: "B:Ursula", do: "Encrypt", in: encrypt("{K.id}"), want: fails("NotFoundException", "Key 'arn:aws:kms:us-west-2:{B}:key/{K.id}' does not exist")},
			{number: 32, as: "B:Ursula", do: "Encrypt", in: encrypt("alias/finance"), want: fails("NotFoundException", "Alias arn:aws:kms:us-west-2:{B}:alias/finance is not found.")},
			{number: 33, as: "B:Wide", do: "Encrypt", in: encrypt("{K33}")},
			{number: 33, variant: " without IAM", as: "B:Nemo", do: "Encrypt", in: encrypt("{K33}"), want: denied("ID", this)},
			{number: 33, variant: " in the account", as: "Alice", do: "Encrypt", in: encrypt("{K33}")},
			{number: 75, as: "B:Wide", do: "Encrypt", in: encrypt("{K75}"), want: hidden},
			{number: 75, variant: " in the account", as: "Alice", do: "Encrypt", in: encrypt("{K75}")},
		},
		cases: []int{29},
		more: func(t *testing.T, w *world) {
			a := w.kms("B:Lister", region, "ListKeys", nil)
			if text := fmt.Sprint(a.json); !a.ok() || !strings.Contains(text, w.names["B:own.id"]) || strings.Contains(text, w.names["K.id"]) {
				t.Errorf("29: ListKeys of B: %v %s", a, text)
			}
		},
	},
	{
		about: "conditions on where a call comes from",
		make: func(w *world) {
			w.user("Alice", allow("kms:*", "*"))
			onlyEndpoint := denyTo("*", "kms:Encrypt kms:Decrypt kms:ReEncrypt* kms:GenerateDataKey*", when("StringNotEquals", "aws:sourceVpce", "vpce-1234abcdf5678c90a"))
			w.key("K45", symmetric, rootOf("{A}"), onlyEndpoint)
			w.key("M50", mac, rootOf("{A}"), onlyEndpoint)
			w.key("K51", symmetric,
				allowTo(arnA("root"), "kms:Create* kms:Enable* kms:Put* kms:Update* kms:Revoke* kms:Disable* kms:Delete* kms:TagResource kms:UntagResource", when("StringEquals", "aws:sourceVpc", "vpc-12345678")),
				allowTo(arnA("root"), "kms:Encrypt kms:Decrypt kms:GenerateDataKey*", when("StringEquals", "aws:sourceVpc", "vpc-2b2b2b2b")),
				allowTo(arnA("root"), "kms:Describe* kms:List* kms:Get*"))
			w.role("LocationTeam")
			w.session("LocationTeam/s1")
			w.key("K58", symmetric, rootOf("{A}"), allowTo("{LocationTeam}", "kms:CreateGrant",
				whens("StringEquals", "kms:ViaService", "geo.us-west-2.amazonaws.com", "kms:CallerAccount", "{A}", "kms:EncryptionContext:aws:geo:arn", "arn:aws:geo:us-west-2:{A}:tracker/SampleTracker")))
			w.key("K58b", symmetric, allowTo("{LocationTeam}", "kms:CreateGrant",
				whens("StringEquals", "kms:ViaService", "geo.us-west-2.amazonaws.com", "kms:CallerAccount", "{A}", "kms:EncryptionContext:aws:geo:arn", "arn:aws:geo:us-west-2:{A}:tracker/SampleTracker")))
			w.key("K63", symmetric, allowTo("Service:cloudtrail.amazonaws.com", "kms:GenerateDataKey",
				when("ArnEquals", "aws:SourceArn", "arn:aws:cloudtrail:us-west-2:{A}:trail/finance"),
				when("StringLike", "kms:EncryptionContext:aws:cloudtrail:arn", "arn:aws:cloudtrail:*:{A}:trail/*")))
			w.role("KMSTestRole")
			w.session("KMSTestRole/s1")
			w.key("K69", symmetric, allowTo("{KMSTestRole}", use, when("NotIpAddress", "aws:SourceIp", "192.0.2.0/24|203.0.113.0/24")))
			w.key("K70", symmetric, allowTo("{KMSTestRole}", use, when("NotIpAddress", "aws:SourceIp", "127.0.0.0/24|203.0.113.0/24")))
			w.user("ExampleUser")
			w.key("K103", symmetric, allowTo("{ExampleUser}", "kms:Encrypt kms:Decrypt", when("StringEquals", "kms:ViaService", "ec2.us-west-2.amazonaws.com|rds.us-west-2.amazonaws.com")))
			w.key("K104", symmetric, allowTo("{ExampleUser}", "kms:*"), denyTo("{ExampleUser}", "kms:Encrypt", when("StringEquals", "kms:ViaService", "lambda.us-west-2.amazonaws.com")))
		},
		checks: []check{
			{number: 47, as: "Alice", do: "Encrypt", in: encrypt("{K45}"), want: denied("XRES", "{K45}")},
			{number: 48, as: "Alice", do: "DescribeKey", in: onKey("{K45}")},
			{number: 48, variant: " disabling", as: "Alice", do: "DisableKey", in: onKey("{K45}")},
			{number: 50, as: "Alice", do: "GenerateMac", in: object{"KeyId": "{M50}", "Message": data, "MacAlgorithm": "HMAC_SHA_256"}},
			{number: 54, as: "Alice", do: "DescribeKey", in: onKey("{K51}")},
			{number: 59, as: "LocationTeam/s1", do: "CreateGrant", in: constrained(grant("{K58b}", "{LocationTeam}", "Decrypt"), "EncryptionContextEquals", "aws:geo:arn", "arn:aws:geo:us-west-2:{A}:tracker/SampleTracker"), want: denied("RES", "{K58b}")},
			{number: 59, variant: " with the account", as: "LocationTeam/s1", do: "CreateGrant", in: constrained(grant("{K58}", "{LocationTeam}", "Decrypt"), "EncryptionContextEquals", "aws:geo:arn", "arn:aws:geo:us-west-2:{A}:tracker/SampleTracker"), want: denied("ID", "{K58}")},
			{number: 66, as: "Alice", do: "GenerateDataKey", in: context(dataKey("{K63}"), "aws:cloudtrail:arn", "arn:aws:cloudtrail:us-west-2:{A}:trail/finance"), want: denied("RES", "{K63}")},
			{number: 69, as: "KMSTestRole/s1", do: "Encrypt", in: encrypt("{K69}")},
			{number: 70, as: "KMSTestRole/s1", do: "Encrypt", in: encrypt("{K70}"), want: denied("RES", "{K70}")},
			{number: 72, as: "KMSTestRole/s1", do: "DisableKey", in: onKey("{K69}"), want: denied("RES", "{K69}")},
			{number: 103, as: "ExampleUser", do: "Encrypt", in: encrypt("{K103}"), want: denied("RES", "{K103}")},
			{number: 104, as: "ExampleUser", do: "Encrypt", in: encrypt("{K104}")},
		},
	},
	{
		about: "making keys",
		make: func(w *world) {
			w.user("Store", allow("kms:CreateKey", "*", when("StringEquals", "kms:KeyOrigin", "EXTERNAL_KEY_STORE")))
			w.user("Careful", allow("kms:CreateKey", "*"), deny("kms:CreateKey", "*", when("Bool", "kms:BypassPolicyLockoutSafetyCheck", "true")))
			w.user("Absent", allow("kms:CreateKey kms:PutKeyPolicy", "*", when("Null", "kms:BypassPolicyLockoutSafetyCheck", "true")))
			w.user("Origin", allow("kms:CreateKey", "*", when("StringEquals", "kms:KeyOrigin", "AWS_KMS")))
			// The case has RSA_4096, which takes long to make.
			w.user("Spec", allow("kms:CreateKey", "*", when("StringEquals", "kms:KeySpec", "ECC_NIST_P521")))
			w.user("OneRegion", allow("kms:CreateKey", "*"), deny("kms:CreateKey", "*", when("Bool", "kms:MultiRegion", "true")))
			w.user("Plain", allow("kms:CreateKey", "*"))
			w.user("Tagged", allow("kms:CreateKey", "*"), allow("kms:TagResource", "*", when("StringEquals", "aws:ResourceTag/Project", "X")))
			w.user("Requested", allow("kms:CreateKey", "*"), allow("kms:TagResource", "arn:aws:kms:us-west-2:{A}:key/*", when("StringEquals", "aws:RequestTag/Project", "X")))
		},
		checks: []check{
			{number: 68, as: "Store", do: "CreateKey", in: object{"Origin": "AWS_KMS"}, want: denied("ID", "*")},
			{number: 73, as: "Careful", do: "CreateKey", in: object{"BypassPolicyLockoutSafetyCheck": true}, want: denied("XID", "*")},
			{number: 73, variant: " without", as: "Careful", do: "CreateKey"},
			{number: 74, as: "Absent", do: "CreateKey"},
			{number: 74, variant: " false", as: "Absent", do: "CreateKey", in: object{"BypassPolicyLockoutSafetyCheck": false}, want: denied("ID", "*")},
			{number: 90, as: "Origin", do: "CreateKey"},
			{number: 91, as: "Spec", do: "CreateKey", in: object{"KeySpec": "RSA_2048", "KeyUsage": "SIGN_VERIFY"}, want: denied("ID", "*")},
			{number: 91, variant: " that one", as: "Spec", do: "CreateKey", in: object{"KeySpec": "ECC_NIST_P521", "KeyUsage": "SIGN_VERIFY"}},
			{number: 92, as: "OneRegion", do: "CreateKey", in: object{"MultiRegion": true}, want: denied("XID", "*")},
			{number: 92, variant: " one", as: "OneRegion", do: "CreateKey", in: object{"MultiRegion": false}},
			{number: 101, as: "Plain", do: "CreateKey", in: tags(object{}, "Project", "X"), want: denied("ID", nowhere).of("kms:TagResource")},
			{number: 101, variant: " without tags", as: "Plain", do: "CreateKey"},
			{number: 102, as: "Tagged", do: "CreateKey", in: tags(object{}, "Project", "X"), want: denied("ID", nowhere).of("kms:TagResource")},
			{number: 102, variant: " of the request", as: "Requested", do: "CreateKey", in: tags(object{}, "Project", "X")},
		},
	},
	{
		about: "conditions on the encryption context",
		make: func(w *world) {
			w.role("RoleForExampleApp")
			w.session("RoleForExampleApp/s1")
			role := "{RoleForExampleApp}"
			app := whens("StringEquals", "kms:EncryptionContext:AppName", "ExampleApp")
			w.key("K76", symmetric, allowTo(role, "kms:Encrypt kms:Decrypt", when("StringEquals", "kms:EncryptionAlgorithm", "RSAES_OAEP_SHA_256")))
			w.key("R76", rsa, allowTo(role, "kms:Encrypt kms:Decrypt", when("StringEquals", "kms:EncryptionAlgorithm", "RSAES_OAEP_SHA_256")))
			w.key("K77", symmetric, allowTo(role, "kms:GenerateDataKey", app))
			w.key("K81", symmetric, allowTo(role, "kms:GenerateDataKey", app, when("ForAllValues:StringEquals", "kms:EncryptionContextKeys", "AppName")))
			w.key("K82", symmetric, allowTo(role, "kms:GenerateDataKey", whens("StringEquals", "kms:EncryptionContext:Department", "IT", "kms:EncryptionContext:Project", "Alpha"),
				when("ForAllValues:StringEquals", "kms:EncryptionContextKeys", "Department|Project")))
			w.key("K83", symmetric, allowTo(role, "kms:GenerateDataKey"), denyTo(role, "kms:GenerateDataKey", when("StringEquals", "kms:EncryptionContext:Stage", "Restricted|Production")))
			w.role("TestTeam")
			w.session("TestTeam/bob")
			w.user("bob")
			w.key("K84", symmetric, allowTo("{TestTeam} {bob}", "kms:Encrypt", when("StringEquals", "kms:EncryptionContext:user", "${aws:username}")))
			w.key("K85", symmetric, rootOf("{A}"), denyTo("*", "kms:Encrypt", when("Null", "kms:EncryptionContextKeys", "true")))
			w.user("Wide", allow("kms:*", "*"))
		},
		checks: []check{
			{number: 76, as: "RoleForExampleApp/s1", do: "Encrypt", in: encrypt("{K76}"), want: denied("RES", "{K76}")},
			{number: 76, variant: " that one", as: "RoleForExampleApp/s1", do: "Encrypt", in: with(encrypt("{R76}"), "EncryptionAlgorithm", "RSAES_OAEP_SHA_256")},
			{number: 77, as: "RoleForExampleApp/s1", do: "GenerateDataKey", in: context(dataKey("{K77}"), "AppName", "ExampleApp", "FilePath", "/x")},
			{number: 78, as: "RoleForExampleApp/s1", do: "GenerateDataKey", in: context(dataKey("{K77}"), "appname", "ExampleApp")},
			{number: 79, as: "RoleForExampleApp/s1", do: "GenerateDataKey", in: context(dataKey("{K77}"), "AppName", "exampleapp"), want: denied("RES", "{K77}")},
			{number: 80, as: "RoleForExampleApp/s1", do: "GenerateDataKey", in: dataKey("{K77}"), want: denied("RES", "{K77}")},
			{number: 81, as: "RoleForExampleApp/s1", do: "GenerateDataKey", in: context(dataKey("{K81}"), "AppName", "ExampleApp", "X", "1"), want: denied("RES", "{K81}")},
			{number: 81, variant: " alone", as: "RoleForExampleApp/s1", do: "GenerateDataKey", in: context(dataKey("{K81}"), "AppName", "ExampleApp")},
			{number: 82, as: "RoleForExampleApp/s1", do: "GenerateDataKey", in: context(dataKey("{K82}"), "Department", "IT", "Project", "Alpha")},
			{number: 83, as: "RoleForExampleApp/s1", do: "GenerateDataKey", in: context(dataKey("{K83}"), "Stage", "Production"), want: denied("XRES", "{K83}")},
			{number: 83, variant: " Dev", as: "RoleForExampleApp/s1", do: "GenerateDataKey", in: context(dataKey("{K83}"), "Stage", "Dev")},
			{number: 83, variant: " none", as: "RoleForExampleApp/s1", do: "GenerateDataKey", in: dataKey("{K83}")},
			{number: 84, as: "TestTeam/bob", do: "Encrypt", in: context(encrypt("{K84}"), "user", "bob"), want: denied("RES", "{K84}")},
			{number: 84, variant: " user", as: "bob", do: "Encrypt", in: context(encrypt("{K84}"), "user", "bob")},
			{number: 85, as: "Wide", do: "Encrypt", in: encrypt("{K85}"), want: denied("XRES", "{K85}")},
			{number: 85, variant: " with one", as: "Wide", do: "Encrypt", in: context(encrypt("{K85}"), "a", "b")},
		},
	},
	{
		about: "conditions on aliases, tags and parameters",
		make: func(w *world) {
			w.role("developer")
			w.session("developer/s1")
			w.key("K94", keyOptions{aliases: []string{"alias/finance-key"}}, allowTo("{developer}", "kms:GenerateDataKey", when("StringEquals", "kms:RequestAlias", "alias/finance-key")))
			w.role("alpha-developer")
			w.session("alpha-developer/s1")
			w.key("K95", keyOptions{aliases: []string{"alias/project-alpha"}}, allowTo("{alpha-developer}", "kms:Decrypt kms:GenerateDataKey* kms:DescribeKey", when("StringLike", "kms:RequestAlias", "alias/*alpha*")))

			w.user("Aliased", allow("kms:GenerateDataKey", "arn:aws:kms:*:{A}:key/*", when("ForAnyValue:StringEquals", "kms:ResourceAliases", "alias/bookkeeping")))
			w.key("K96", keyOptions{aliases: []string{"alias/bookkeeping", "alias/other"}})
			w.key("K", symmetric)
			w.user("Tester", allow("kms:EnableKey kms:DisableKey", "arn:aws:kms:*:{A}:key/*",
				when("ForAllValues:StringLike", "kms:ResourceAliases", "alias/*Test*"), when("ForAnyValue:StringLike", "kms:ResourceAliases", "alias/*Test*")))
			w.key("K97", keyOptions{aliases: []string{"alias/Test1"}})
			w.key("K97b", keyOptions{aliases: []string{"alias/Test2", "alias/Prod"}})

			w.user("Purposeful", allow("kms:Encrypt kms:Decrypt kms:GenerateDataKey*", "arn:aws:kms:*:{A}:key/*", when("StringEquals", "aws:ResourceTag/Purpose", "Test")))
			w.key("K98", keyOptions{input: tags(object{}, "Purpose", "Test")})
			w.key("K98b", keyOptions{input: tags(object{}, "Purpose", "Live")})
			w.user("Unreserved", allow("kms:Encrypt", "*"), deny("kms:Encrypt", "*", when("StringEquals", "aws:ResourceTag/Type", "Reserved")), deny("kms:Encrypt", "*", when("Null", "aws:ResourceTag/Type", "true")))
			w.key("K99", keyOptions{input: tags(object{}, "Type", "General")})
			w.key("K99b", keyOptions{input: tags(object{}, "Type", "Reserved")})
			w.user("Tagger", allow("kms:TagResource", "*", when("ForAllValues:StringEquals", "aws:TagKeys", "Project")))

			w.user("Slow", allow("kms:ScheduleKeyDeletion", "*"), deny("kms:ScheduleKeyDeletion", "*", when("NumericLessThanEquals", "kms:ScheduleKeyDeletionPendingWindowInDays", "21")))
			w.key("K108", symmetric)
			w.user("Rotator", allow("kms:EnableKeyRotation", "*"), deny("kms:EnableKeyRotation", "*", when("NumericLessThanEquals", "kms:RotationPeriodInDays", "180")))
			// Nothing comes of what is allowed: the material of these keys is no
			// imported one.
			w.user("Importer")
			w.key("K105", symmetric, allowTo("{Importer}", "kms:GetParametersForImport", when("StringEquals", "kms:WrappingKeySpec", "RSA_4096")))
			w.key("K106", symmetric, allowTo("{Importer}", "kms:ImportKeyMaterial", when("Null", "kms:ExpirationModel", "true")))
			w.key("K107", symmetric, allowTo("{Importer}", "kms:ImportKeyMaterial", when("NumericLessThanEquals", "kms:ValidTo", strconv.FormatInt(tomorrow, 10)+".0")))
			w.user("Same")
			w.key("K93", symmetric, allowTo("{Same}", "kms:ReEncrypt*", when("Bool", "kms:ReEncryptOnSameKey", "true")))
			w.key("K93b", symmetric, allowTo("{Same}", "kms:ReEncrypt*", when("Bool", "kms:ReEncryptOnSameKey", "true")))
		},
		checks: []check{
			{number: 93, as: "Same", do: "ReEncrypt", in: object{"CiphertextBlob": "{K93.blob}", "DestinationKeyId": "{K93}"}},
			{number: 93, variant: " another", as: "Same", do: "ReEncrypt", in: object{"CiphertextBlob": "{K93.blob}", "DestinationKeyId": "{K93b}"}, want: denied("RES", "{K93}").of("kms:ReEncryptFrom")},
			{number: 94, as: "developer/s1", do: "GenerateDataKey", in: dataKey("alias/finance-key")},
			{number: 94, variant: " ARN", as: "developer/s1", do: "GenerateDataKey", in: dataKey(aliasOf("{A}", "finance-key"))},
			{number: 94, variant: " id", as: "developer/s1", do: "GenerateDataKey", in: dataKey("{K94.id}"), want: denied("RES", "{K94}")},
			{number: 94, variant: " ARN of the key", as: "developer/s1", do: "GenerateDataKey", in: dataKey("{K94}"), want: denied("RES", "{K94}")},
			{number: 95, as: "alpha-developer/s1", do: "DescribeKey", in: onKey(aliasOf("{A}", "project-alpha"))},
			{number: 95, variant: " by blob", as: "alpha-developer/s1", do: "Decrypt", in: decrypt("{K95.blob}"), want: denied("RES", "{K95}")},
			{number: 95, variant: " by blob and alias", as: "alpha-developer/s1", do: "Decrypt", in: with(decrypt("{K95.blob}"), "KeyId", "alias/project-alpha")},
			{number: 96, as: "Aliased", do: "GenerateDataKey", in: dataKey("{K96}")},
			{number: 96, variant: " none", as: "Aliased", do: "GenerateDataKey", in: dataKey("{K}"), want: denied("ID", "{K}")},
			{number: 97, as: "Tester", do: "EnableKey", in: onKey("{K97}")},
			{number: 97, variant: " none", as: "Tester", do: "EnableKey", in: onKey("{K}"), want: denied("ID", "{K}")},
			{number: 97, variant: " another", as: "Tester", do: "EnableKey", in: onKey("{K97b}"), want: denied("ID", "{K97b}")},
			{number: 98, as: "Purposeful", do: "Encrypt", in: encrypt("{K98}")},
			{number: 98, variant: " another value", as: "Purposeful", do: "Encrypt", in: encrypt("{K98b}"), want: denied("ID", "{K98b}")},
			{number: 98, variant: " no tag", as: "Purposeful", do: "Encrypt", in: encrypt("{K}"), want: denied("ID", "{K}")},
			{number: 98, variant: " tagged anew", as: "admin", do: "TagResource", in: tags(onKey("{K98b}"), "Purpose", "Test")},
			{number: 98, variant: " then", as: "Purposeful", do: "Encrypt", in: encrypt("{K98b}")},
			{number: 99, as: "Unreserved", do: "Encrypt", in: encrypt("{K99}")},
			{number: 99, variant: " reserved", as: "Unreserved", do: "Encrypt", in: encrypt("{K99b}"), want: denied("XID", "{K99b}")},
			{number: 99, variant: " no tag", as: "Unreserved", do: "Encrypt", in: encrypt("{K}"), want: denied("XID", "{K}")},
			{number: 100, as: "Tagger", do: "TagResource", in: tags(onKey("{K}"), "Project", "a", "Owner", "b"), want: denied("ID", "{K}")},
			{number: 100, variant: " that one", as: "Tagger", do: "TagResource", in: tags(onKey("{K}"), "Project", "a")},
			{number: 105, as: "Importer", do: "GetParametersForImport", in: wrapping("{K105}", "RSA_2048"), want: denied("RES", "{K105}")},
			{number: 105, variant: " that one", as: "Importer", do: "GetParametersForImport", in: wrapping("{K105}", "RSA_4096"), want: notImported("{K105}")},
			{number: 106, as: "Importer", do: "ImportKeyMaterial", in: with(material("{K106}"), "ValidTo", tomorrow), want: notImported("{K106}")},
			{number: 106, variant: " with it", as: "Importer", do: "ImportKeyMaterial", in: with(with(material("{K106}"), "ValidTo", tomorrow), "ExpirationModel", "KEY_MATERIAL_EXPIRES"), want: denied("RES", "{K106}")},
			{number: 107, as: "Importer", do: "ImportKeyMaterial", in: with(material("{K107}"), "ValidTo", tomorrow+1), want: denied("RES", "{K107}")},
			{number: 107, variant: " in time", as: "Importer", do: "ImportKeyMaterial", in: with(material("{K107}"), "ValidTo", tomorrow), want: notImported("{K107}")},
			{number: 109, as: "Rotator", do: "EnableKeyRotation", in: with(onKey("{K108}"), "RotationPeriodInDays", 90), want: denied("XID", "{K108}")},
			{number: 109, variant: " 365", as: "Rotator", do: "EnableKeyRotation", in: with(onKey("{K108}"), "RotationPeriodInDays", 365)},
			{number: 108, as: "Slow", do: "ScheduleKeyDeletion", in: with(onKey("{K108}"), "PendingWindowInDays", 7), want: denied("XID", "{K108}")},
			{number: 108, variant: " 30", as: "Slow", do: "ScheduleKeyDeletion", in: with(onKey("{K108}"), "PendingWindowInDays", 30)},
			{number: 108, variant: " none", as: "Slow", do: "ScheduleKeyDeletion", in: onKey("{K}")},
		},
	},
	{
		about: "conditions on grants",
		make: func(w *world) {
			w.user("ExampleUser")
			w.role("LimitedAdminRole")
			w.role("AnotherRole")
			w.key("K87", symmetric, allowTo("{ExampleUser}", "kms:CreateGrant", when("ForAllValues:StringEquals", "kms:GrantOperations", "Encrypt|ReEncryptTo")))
			w.key("K88", symmetric, allowTo("{ExampleUser}", "kms:CreateGrant", when("StringEquals", "kms:GrantConstraintType", "EncryptionContextEquals")))
			w.key("K89", symmetric, allowTo("{ExampleUser}", "kms:CreateGrant", when("StringEquals", "kms:GranteePrincipal", "{LimitedAdminRole}")))
		},
		checks: []check{
			{number: 87, as: "ExampleUser", do: "CreateGrant", in: grant("{K87}", "{AnotherRole}", "Encrypt", "Decrypt"), want: denied("RES", "{K87}")},
			{number: 87, variant: " fewer", as: "ExampleUser", do: "CreateGrant", in: grant("{K87}", "{AnotherRole}", "Encrypt")},
			{number: 88, as: "ExampleUser", do: "CreateGrant", in: constrained(grant("{K88}", "{AnotherRole}", "Decrypt"), "EncryptionContextSubset", "a", "b"), want: denied("RES", "{K88}")},
			{number: 88, variant: " none", as: "ExampleUser", do: "CreateGrant", in: grant("{K88}", "{AnotherRole}", "Decrypt"), want: denied("RES", "{K88}")},
			{number: 88, variant: " that one", as: "ExampleUser", do: "CreateGrant", in: constrained(grant("{K88}", "{AnotherRole}", "Decrypt"), "EncryptionContextEquals", "a", "b")},
			{number: 89, as: "ExampleUser", do: "CreateGrant", in: grant("{K89}", "{AnotherRole}", "Decrypt"), want: denied("RES", "{K89}")},
			{number: 89, variant: " that one", as: "ExampleUser", do: "CreateGrant", in: grant("{K89}", "{LimitedAdminRole}", "Decrypt")},
		},
	},
	{
		about: "aliases",
		make: func(w *world) {
			admins := "kms:CreateAlias kms:UpdateAlias kms:DeleteAlias"
			w.user("KMSAdminUser", allow(admins, aliasOf("{A}", "test-key")))
			w.user("Nemo")
			w.key("K", symmetric, rootOf("{A}"), allowTo("{KMSAdminUser} {Nemo}", admins))
			w.key("K2", symmetric)
			w.key("KU", keyOptions{aliases: []string{"alias/moving"}}, rootOf("{A}"), allowTo("{KMSAdminUser}", admins))
			w.user("Mover", allow(admins, aliasOf("{A}", "moving")+" {KU}"))
			w.user("Restricted", allow(admins, aliasOf("{A}", "*")+" arn:aws:kms:us-west-2:{A}:key/*"), deny(admins, aliasOf("{A}", "Restricted*")))
			w.key("K125", keyOptions{aliases: []string{"alias/Restricted-1", "alias/free"}})
			w.user("External", allow(admins, aliasOf("{A}", "*")), allow(admins, "arn:aws:kms:us-west-2:{A}:key/*", when("StringEquals", "kms:KeyOrigin", "EXTERNAL")))
			w.user("Internal", allow(admins, aliasOf("{A}", "*")), allow(admins, "arn:aws:kms:us-west-2:{A}:key/*", when("StringEquals", "kms:KeyOrigin", "AWS_KMS")))
		},
		checks: []check{
			{number: 122, as: "KMSAdminUser", do: "CreateAlias", in: object{"AliasName": "alias/test-key", "TargetKeyId": "{K}"}},
			{number: 122, variant: " other alias", as: "KMSAdminUser", do: "CreateAlias", in: object{"AliasName": "alias/other", "TargetKeyId": "{K}"}, want: denied("ID", " on resource: "+aliasOf("{A}", "other"))},
			{number: 124, as: "KMSAdminUser", do: "UpdateAlias", in: object{"AliasName": "alias/test-key", "TargetKeyId": "{K2}"}, want: denied("ID", "{K2}")},
			{number: 122, variant: " deleted", as: "KMSAdminUser", do: "DeleteAlias", in: object{"AliasName": "alias/test-key"}},
			{number: 122, variant: " other key", as: "KMSAdminUser", do: "CreateAlias", in: object{"AliasName": "alias/test-key", "TargetKeyId": "{K2}"}, want: denied("ID", "{K2}")},
			{number: 123, as: "Nemo", do: "CreateAlias", in: object{"AliasName": "alias/test-key", "TargetKeyId": "{K}"}, want: denied("ID", " on resource: "+aliasOf("{A}", "test-key"))},
			{number: 124, variant: " through IAM", as: "Mover", do: "UpdateAlias", in: object{"AliasName": "alias/moving", "TargetKeyId": "{K2}"}, want: denied("ID", "{K2}")},
			{number: 125, as: "Restricted", do: "DeleteAlias", in: object{"AliasName": "alias/Restricted-1"}, want: denied("XID", " on resource: "+aliasOf("{A}", "Restricted-1"))},
			{number: 125, variant: " another", as: "Restricted", do: "DeleteAlias", in: object{"AliasName": "alias/free"}},
			{number: 126, as: "External", do: "CreateAlias", in: object{"AliasName": "alias/e", "TargetKeyId": "{K2}"}, want: denied("ID", "{K2}")},
			{number: 126, variant: " that one", as: "Internal", do: "CreateAlias", in: object{"AliasName": "alias/i", "TargetKeyId": "{K2}"}},
		},
	},
	{
		about: "boundaries and sessions",
		make: func(w *world) {
			w.role("R")
			w.boundary("Role", "R", allow("s3:*", "*"))
			w.session("R/s1")
			w.key("K127", symmetric, allowTo("{R}", "kms:*"))
			w.key("K128", symmetric, allowTo("{R/s1}", "kms:*"))
			w.user("U")
			w.boundary("User", "U", allow("s3:*", "*"))
			w.key("K129", symmetric, allowTo("{U}", "kms:*"))
			w.role("Able", allow("kms:*", "*"))
			w.session("Able/limited", "Policy", document(allow("s3:*", "*")))
			w.session("Able/barred", "Policy", document(allow("*", "*"), deny("kms:*", "*")))
			w.session("Able/whole")
			w.key("K", symmetric)
			w.key("K131", symmetric, allowTo("{Able}", "kms:*"))
			w.user("Fed", allow("kms:* sts:GetFederationToken", "*"))
			w.federated("fed", "Fed")
			w.key("K134", symmetric, allowTo("{fed}", "kms:*"))
		},
		checks: []check{
			{number: 127, as: "R/s1", do: "Decrypt", in: decrypt("{K127.blob}"), want: denied("NPB", "{K127}")},
			{number: 128, as: "R/s1", do: "Decrypt", in: decrypt("{K128.blob}")},
			{number: 129, as: "U", do: "Decrypt", in: decrypt("{K129.blob}")},
			{number: 130, as: "Able/limited", do: "Decrypt", in: decrypt("{K.blob}"), want: denied("NSESS", "{K}")},
			{number: 130, variant: " whole", as: "Able/whole", do: "Decrypt", in: decrypt("{K.blob}")},
			{number: 131, as: "Able/limited", do: "Decrypt", in: decrypt("{K131.blob}"), want: denied("NSESS", "{K131}")},
			{number: 132, as: "Able/barred", do: "Decrypt", in: decrypt("{K131.blob}"), want: denied("XSESS", "{K131}")},
			{number: 133, as: "fed", do: "Decrypt", in: decrypt("{K.blob}"), want: denied("NSESS", "{K}")},
			{number: 134, as: "fed", do: "Decrypt", in: decrypt("{K134.blob}")},
		},
	},
	{
		about: "NotPrincipal, lockout, invalid principals, state",
		make: func(w *world) {
			w.user("Bob", allow("kms:*", "*"))
			w.user("Other")
			not := func(names string) string {
				return strings.Replace(denyTo(names, "kms:Decrypt"), `"Principal"`, `"NotPrincipal"`, 1)
			}
			w.key("K140", symmetric, not("{Bob}"), rootOf("{A}"))
			w.key("K140b", symmetric, not("{Bob} "+arnA("root")), rootOf("{A}"))
			w.key("K", symmetric)
			w.key("K144", symmetric)
			w.key("K146", keyOptions{disabled: true})
			w.user("Nemo")
			w.key("K86", symmetric)
		},
		checks: []check{
			{number: 140, as: "Bob", do: "Decrypt", in: decrypt("{K140.blob}"), want: denied("XRES", "{K140}")},
			{number: 140, variant: " with the account", as: "Bob", do: "Decrypt", in: decrypt("{K140b.blob}")},
			{number: 140, variant: " another", as: "admin", do: "Decrypt", in: decrypt("{K140b.blob}"), want: denied("XRES", "{K140b}")},
			{number: 144, as: "admin", do: "PutKeyPolicy", in: putPolicy("{K144}", allowTo("{Other}", "kms:*")), want: fails("MalformedPolicyDocumentException", "The new key policy will not allow you to update the key policy in the future.")},
			{number: 144, variant: " delegated, without IAM", as: "Nemo", do: "PutKeyPolicy", in: putPolicy("{K144}", rootOf("{A}")), want: denied("ID", "{K144}")},
			{number: 144, variant: " with the bypass", as: "admin", do: "PutKeyPolicy", in: with(putPolicy("{K144}", allowTo("{Other}", "kms:*")), "BypassPolicyLockoutSafetyCheck", true)},
			{number: 145, as: "admin", do: "PutKeyPolicy", in: putPolicy("{K}", rootOf("{A}"), allowTo(arnA("role/Gone"), "kms:*")), want: fails("MalformedPolicyDocumentException", "Policy contains a statement with one or more invalid principals.")},
			{number: 146, as: "Bob", do: "Encrypt", in: encrypt("{K146}"), want: fails("DisabledException", "{K146} is disabled.")},
			{number: 146, variant: " unauthorized", as: "Nemo", do: "Encrypt", in: encrypt("{K146}"), want: denied("ID", "{K146}")},
			{number: 86, as: "admin", do: "PutKeyPolicy", in: putPolicy("{K86}", rootOf("{A}"), allowTo("{Bob}", "kms:Encrypt", when("ForAllValues:StringEquals", "kms:EncryptionContext:AppName", "ExampleApp"))), want: fails("MalformedPolicyDocumentException", overlyPermissive)},
		},
		cases: []int{15, 57},
		more: func(t *testing.T, w *world) {
			// What is printed with a trailing comma is no JSON; a statement about
			// nothing is no longer taken.
			before := w.must("admin", region, "GetKeyPolicy", onKey("{K}"))["Policy"]
			for number, tt := range map[int]struct{ policy, message string }{
				57: {`{"Version":"2012-10-17","Statement":[` + rootOf("{A}") + `,]}`, "This policy contains invalid Json"},
				15: {document(rootOf("{A}"), `{"Effect":"Allow","Principal":{"AWS":"{Bob}"},"Action":"kms:DescribeKey"}`), "Missing required field Resource"},
			} {
				w.run(t, &check{number: number, as: "admin", do: "PutKeyPolicy", in: object{"KeyId": "{K}", "Policy": tt.policy}, want: fails("MalformedPolicyDocumentException", tt.message)})
			}
			if after := w.must("admin", region, "GetKeyPolicy", onKey("{K}"))["Policy"]; after != before {
				t.Errorf("the policy is %v, and was %v", after, before)
			}
		},
	},
	{
		about: "grants",
		make: func(w *world) {
			w.user("exampleUser")
			w.user("B:Grantee")
			w.user("Other")
			w.key("K110", symmetric)
			w.grant("", grant("{K110}", "{B:Grantee}", "Decrypt"))
			w.key("K111", symmetric, rootOf("{A}"), denyTo("{B:Grantee}", "kms:Decrypt"))
			w.grant("", grant("{K111}", "{B:Grantee}", "Decrypt"))

			contexts := func(of string) map[string]object {
				return map[string]object{
					of + ".IT": {"Department": "IT"}, of + ".ITTest": {"Department": "IT", "Purpose": "Test"}, of + ".it": {"department": "IT"}, of + ".Test": {"Purpose": "Test"},
				}
			}
			w.key("K112", keyOptions{contexts: contexts("K112")})
			w.grant("", constrained(grant("{K112}", "{exampleUser}", "Decrypt"), "EncryptionContextEquals", "Department", "IT"))
			w.key("K113", keyOptions{contexts: contexts("K113")})
			w.grant("", constrained(grant("{K113}", "{exampleUser}", "Decrypt"), "EncryptionContextSubset", "Department", "IT"))
			w.key("K114", symmetric)
			w.grant("", grant("{K114}", "{exampleUser}", "Encrypt"))
			w.key("K114b", symmetric, allowTo("{Other}", "kms:*"))
			w.key("K115", symmetric)
			w.grant("", constrained(grant("{K115}", "{exampleUser}", "DescribeKey", "Decrypt"), "EncryptionContextSubset", "Department", "IT"))
			w.key("K116", symmetric)
			w.grant("", constrained(grant("{K116}", "{exampleUser}", "GenerateDataKey", "Decrypt", "CreateGrant"), "EncryptionContextSubset", "Department", "IT"))

			w.role("R")
			w.session("R/s1")
			w.key("K117", symmetric)
			w.grant("g117", with(grant("{K117}", "{exampleUser}", "Decrypt"), "RetiringPrincipal", "{R}"))
			w.grant("g117b", grant("{K117}", "{exampleUser}", "Decrypt", "RetireGrant"))
			w.user("Revoker")
			w.user("Retirer")
			w.key("K118", symmetric, rootOf("{A}"), allowTo("{Revoker}", "kms:RevokeGrant"), allowTo("{Retirer}", "kms:RetireGrant"))
			w.grant("g118", grant("{K118}", "{exampleUser}", "Decrypt"))
			w.key("K119", symmetric)
			w.grant("g119", grant("{K119}", "{exampleUser}", "Decrypt"))
		},
		checks: []check{
			{number: 110, as: "B:Grantee", do: "Decrypt", in: decrypt("{K110.blob}")},
			{number: 110, variant: " by ARN", as: "B:Grantee", do: "Decrypt", in: with(decrypt("{K110.blob}"), "KeyId", "{K110}")},
			{number: 111, as: "B:Grantee", do: "Decrypt", in: decrypt("{K111.blob}"), want: denied("hidden", ciphertext)},
			{number: 111, variant: " by ARN", as: "B:Grantee", do: "Decrypt", in: with(decrypt("{K111.blob}"), "KeyId", "{K111}"), want: hidden},
			{number: 112, as: "exampleUser", do: "Decrypt", in: context(decrypt("{K112.IT}"), "Department", "IT")},
			{number: 112, variant: " more", as: "exampleUser", do: "Decrypt", in: context(decrypt("{K112.ITTest}"), "Department", "IT", "Purpose", "Test"), want: denied("ID", "{K112}")},
			{number: 112, variant: " other case", as: "exampleUser", do: "Decrypt", in: context(decrypt("{K112.it}"), "department", "IT"), want: denied("ID", "{K112}")},
			{number: 112, variant: " none", as: "exampleUser", do: "Decrypt", in: decrypt("{K112.blob}"), want: denied("ID", "{K112}")},
			{number: 113, as: "exampleUser", do: "Decrypt", in: context(decrypt("{K113.ITTest}"), "Department", "IT", "Purpose", "Test")},
			{number: 113, variant: " another", as: "exampleUser", do: "Decrypt", in: context(decrypt("{K113.Test}"), "Purpose", "Test"), want: denied("ID", "{K113}")},
			{number: 114, as: "exampleUser", do: "Decrypt", in: decrypt("{K114.blob}"), want: denied("ID", "{K114}")},
			{number: 114, variant: " without the account", as: "exampleUser", do: "Decrypt", in: decrypt("{K114b.blob}"), want: denied("RES", "{K114b}")},
			{number: 114, variant: " that one", as: "exampleUser", do: "Encrypt", in: encrypt("{K114}")},
			{number: 115, as: "exampleUser", do: "DescribeKey", in: onKey("{K115}")},
			{number: 116, as: "exampleUser", do: "CreateGrant", in: constrained(grant("{K116}", "{Other}", "Decrypt"), "EncryptionContextEquals", "Department", "IT")},
			{number: 116, variant: " larger subset", as: "exampleUser", do: "CreateGrant", in: constrained(grant("{K116}", "{Other}", "Decrypt"), "EncryptionContextSubset", "Department", "IT", "X", "1")},
			{number: 116, variant: " more operations", as: "exampleUser", do: "CreateGrant", in: constrained(grant("{K116}", "{Other}", "Encrypt"), "EncryptionContextEquals", "Department", "IT"), want: denied("ID", "{K116}")},
			{number: 116, variant: " no constraint", as: "exampleUser", do: "CreateGrant", in: grant("{K116}", "{Other}", "Decrypt"), want: denied("ID", "{K116}")},
			{number: 117, variant: " grantee", as: "exampleUser", do: "RetireGrant", in: object{"KeyId": "{K117}", "GrantId": "{g117}"}, want: denied("ID", "{K117}")},
			{number: 117, as: "R/s1", do: "RetireGrant", in: object{"KeyId": "{K117}", "GrantId": "{g117}"}},
			{number: 117, variant: " grantee who may", as: "exampleUser", do: "RetireGrant", in: object{"GrantToken": "{g117b.token}"}},
			{number: 118, variant: " retiring", as: "Retirer", do: "RetireGrant", in: object{"KeyId": "{K118}", "GrantId": "{g118}"}, want: denied("ID", "{K118}")},
			{number: 118, as: "Revoker", do: "RevokeGrant", in: object{"KeyId": "{K118}", "GrantId": "{g118}"}},
			{number: 119, as: "exampleUser", do: "Decrypt", in: with(decrypt("{K119.blob}"), "GrantTokens", []string{"{g119.token}"})},
			{number: 119, variant: " without a delay", as: "exampleUser", do: "Decrypt", in: decrypt("{K119.blob}")},
			{number: 120, as: "exampleUser", do: "Decrypt", in: with(decrypt("{K119.blob}"), "GrantTokens", []string{"junk"}), want: fails("InvalidGrantTokenException", "The grant token is not valid.")},
			{number: 121, as: "admin", do: "CreateGrant", in: grant("{K119}", "{exampleUser}", "Sign"), want: fails("ValidationException", "Operations [Sign] are not supported when creating a grant for a symmetric KMS key with key usage ENCRYPT_DECRYPT. Valid operations are [CreateGrant, RetireGrant, DescribeKey, Encrypt, Decrypt, GenerateDataKey, GenerateDataKeyWithoutPlaintext, GenerateDataKeyPair, GenerateDataKeyPairWithoutPlaintext, ReEncryptFrom, ReEncryptTo]")},
		},
	},
	{
		about:   "a grant that is not known everywhere yet",
		options: []kmstest.Option{func(c *node.Config) { c.Grants.Delay = 5 * time.Minute }},
		make: func(w *world) {
			w.user("exampleUser")
			w.key("K", symmetric)
			w.grant("g", grant("{K}", "{exampleUser}", "Decrypt"))
		},
		checks: []check{
			{number: 119, variant: " with a delay", as: "exampleUser", do: "Decrypt", in: decrypt("{K.blob}"), want: denied("ID", "{K}")},
			{number: 119, variant: " with a delay, and its token", as: "exampleUser", do: "Decrypt", in: with(decrypt("{K.blob}"), "GrantTokens", []string{"{g.token}"})},
		},
	},
	{
		about: "service control policies",
		seed: `keys:
  - {account: "111122223333", region: us-west-2, id: 1234abcd-12ab-34cd-56ef-1234567890ab}
organizations:
  - id: o-exampleorg1
    management: "999988887777"
    root: r-root
    policies:
      - id: p-storageonly1
        name: storage-only
        type: SERVICE_CONTROL_POLICY
        document: {Version: "2012-10-17", Statement: {Effect: Allow, Action: ["s3:*", "iam:*"], Resource: "*"}}
      - id: p-nodeletion1
        name: no-deletion
        type: SERVICE_CONTROL_POLICY
        document: {Version: "2012-10-17", Statement: {Effect: Deny, Action: "kms:ScheduleKeyDeletion", Resource: "*"}}
    attached: [no-deletion]
    accounts:
      - {id: "111122223333", attached: [storage-only], full_access: false}
      - {id: "444455556666"}
`,
		make: func(w *world) {
			w.names["K"] = "arn:aws:kms:us-west-2:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
			w.user("Alice", allow("*", "*"))
			w.key("B:K", symmetric)
			w.names["manager.K"], _ = w.must("manager", region, "CreateKey", nil)["KeyMetadata"].(object)["Arn"].(string)
		},
		checks: []check{
			{number: 135, as: "Alice", do: "Encrypt", in: encrypt("{K}"), want: denied("NSCP", "{K}")},
			{number: 136, as: "B:root", do: "ScheduleKeyDeletion", in: onKey("{B:K}"), want: denied("XSCP", "{B:K}")},
			{number: 136, variant: " another action", as: "B:root", do: "DescribeKey", in: onKey("{B:K}")},
			{number: 136, variant: " management account", as: "manager:root", do: "ScheduleKeyDeletion", in: onKey("{manager.K}")},
		},
	},
	{
		about: "resource control policies",
		seed: `organizations:
  - id: o-exampleorg1
    management: "999988887777"
    root: r-root
    policies:
      - id: p-ownidentities1
        name: own-identities
        type: RESOURCE_CONTROL_POLICY
        document:
          Version: "2012-10-17"
          Statement:
            Effect: Deny
            Principal: "*"
            Action: "kms:*"
            Resource: "*"
            Condition:
              StringNotEqualsIfExists: {"aws:PrincipalOrgID": o-exampleorg1}
              BoolIfExists: {"aws:PrincipalIsAWSService": "false"}
    attached: [own-identities]
    accounts:
      - {id: "111122223333"}
`,
		make: func(w *world) {
			shared := allowTo("*", "kms:*")
			w.key("K", symmetric, shared)
			w.user("B:Bob", allow("kms:*", "*"))
			w.user("Alice")
			in := w.must("manager", region, "CreateKey", object{"Policy": document(shared)})["KeyMetadata"].(object)
			w.names["manager.K"], _ = in["Arn"].(string)
		},
		checks: []check{
			{number: 137, as: "B:Bob", do: "Encrypt", in: encrypt("{K}"), want: denied("XRCP", this)},
			{number: 138, as: "Alice", do: "Encrypt", in: encrypt("{K}")},
			{number: 138, variant: " another account", as: "manager", do: "Encrypt", in: encrypt("{K}")},
			{number: 139, as: "B:Bob", do: "Encrypt", in: encrypt("{manager.K}")},
		},
	},
}

const overlyPermissive = "OverlyPermissiveCondition:EncryptionContext: Using the ForAllValues set operator with a single-valued condition key matches requests without the specified encryption context or with an unspecified encryption context. To fix, remove ForAllValues."
