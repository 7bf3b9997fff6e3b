package kms_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/api/kmsapi"
	"github.com/keyreeve/keyreeve/internal/authz"
	"github.com/keyreeve/keyreeve/internal/kms"
	"github.com/keyreeve/keyreeve/internal/quota"
	"github.com/keyreeve/keyreeve/internal/store"
)

const isThrottled = "ThrottlingException: You have exceeded the rate at which you may call KMS. Reduce the frequency of your calls."

// limit counts calls from now on: one in 1,000 seconds of each class for which
// rates says nothing else.
func (e *env) limit(rates map[string]float64) *quota.Limits {
	e.t.Helper()
	o := quota.Options{Regions: []string{testRegion, otherRegion}, Rates: map[string]float64{}, Now: e.clock}
	all, err := quota.New(quota.Options{})
	if err != nil {
		e.t.Fatal(err)
	}
	for _, q := range all.Refused() {
		o.Rates[q.Quota] = 0.001
	}
	for name, perSecond := range rates {
		o.Rates[name] = perSecond
	}
	limits, err := quota.New(o)
	if err != nil {
		e.t.Fatal(err)
	}
	e.ops = kmsapi.Operations(kms.New(e.ring, authz.New(nil), kms.Options{Box: e.box, Principals: e.people, Quotas: limits}))
	return limits
}

const otherRegion = "eu-west-1"

// refused returns the names of the quotas for which calls were refused.
func refused(l *quota.Limits) (names []string) {
	for _, q := range l.Refused() {
		if q.Calls > 0 {
			names = append(names, q.Quota)
		}
	}
	return names
}

// quotaOf is the quota that an operation on a key counts against. Source:
// "Request quotas" in the AWS KMS Developer Guide.
func quotaOf(o *keyOperation) string {
	switch o.name {
	case "Encrypt", "Decrypt", "ReEncrypt", "Sign", "Verify", "DeriveSharedSecret", "Encapsulate", "Decapsulate",
		"GenerateDataKey", "GenerateDataKeyWithoutPlaintext", "GenerateMac", "VerifyMac":
		for prefix, kind := range map[string]string{"RSA": "rsa", "ECC": "ecc", "SM2": "ecc", "ML_DSA": "ml-dsa", "ML_KEM": "ml-kem"} {
			if strings.HasPrefix(o.spec, prefix) {
				return kind
			}
		}
		return "symmetric"
	case "GenerateDataKeyPair", "GenerateDataKeyPairWithoutPlaintext":
		return "GenerateDataKeyPair/"
	}
	return o.name
}

// Every operation on a key is counted once, against its quota, whether it
// succeeds or fails; and over the quota it changes nothing.
func TestQuotaOfEachOperation(t *testing.T) {
	t.Parallel()
	run(t, keyOperations, func(t *testing.T, e *env, o *keyOperation) {
		id := e.createKey(o.spec, o.usage)
		request := o.on(e, id, keyARN(id))
		want := quotaOf(o)
		if want == "GenerateDataKeyPair/" {
			want += request["KeyPairSpec"].(string)
		}
		l := e.limit(nil)
		e.fails(alice, o.name, request, "")
		before := e.dump()
		e.fails(alice, o.name, request, isThrottled)
		if e.dump() != before {
			t.Error("a call over the quota changed something")
		}
		if got := refused(l); !slices.Equal(got, []string{want}) {
			t.Errorf("was refused by %v, want %s", got, want)
		}
		l = e.limit(nil)
		if a := e.call(carol, o.name, encode(t, request)); a.code() != "AccessDeniedException" && a.code() != "NotFoundException" {
			t.Errorf("carol's first call: %s", a.text())
		}
		e.fails(carol, o.name, request, isThrottled)
		if got := refused(l); !slices.Equal(got, []string{want}) {
			t.Errorf("when it fails, was refused by %v, want %s", got, want)
		}
	})
}

// Nor is there an operation without a key, or a call that fails before its key
// is known, that is not counted.
func TestQuotaWithoutKey(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, operation string
		request         object
		want            string // quota
		fails           string // how the first call fails, if it does
	}{
		{"", "CreateKey", object{}, "CreateKey", ""},
		{"", "ListKeys", object{}, "ListKeys", ""},
		{"", "ListAliases", object{}, "ListAliases", ""},
		{"", "ListRetirableGrants", object{"RetiringPrincipal": alice.ARN}, "ListRetirableGrants", ""},
		{"", "GenerateRandom", object{"NumberOfBytes": 8}, "symmetric", ""},
		{"of no grant", "RetireGrant", object{"KeyId": keyARN(noSuchID), "GrantId": strings.Repeat("a", 64)}, "RetireGrant", "NotFoundException"},
		{"with too little", "GenerateRandom", object{}, "symmetric", "ValidationException"},
		{"with no such key", "Encrypt", object{"KeyId": noSuchID, "Plaintext": blob(1)}, "symmetric", "NotFoundException"},
		{"with no such RSA key", "Encrypt", object{"KeyId": noSuchID, "Plaintext": blob(1), "EncryptionAlgorithm": "RSAES_OAEP_SHA_1"}, "rsa", "NotFoundException"},
		{"of no ciphertext", "Decrypt", object{"CiphertextBlob": blob(100)}, "symmetric", "InvalidCiphertextException"},
		{"of no ciphertext of RSA", "Decrypt", object{"KeyId": noSuchID, "CiphertextBlob": blob(100), "EncryptionAlgorithm": "RSAES_OAEP_SHA_1"}, "rsa", "NotFoundException"},
		{"of no ciphertext", "ReEncrypt", object{"CiphertextBlob": blob(100), "DestinationKeyId": noSuchID}, "symmetric", "InvalidCiphertextException"},
		{"with no such key", "Sign", object{"KeyId": noSuchID, "Message": blob(1), "SigningAlgorithm": "ML_DSA_SHAKE_256"}, "ml-dsa", "NotFoundException"},
		{"with no such key", "Verify", object{"KeyId": noSuchID, "Message": blob(1), "Signature": blob(64), "SigningAlgorithm": "ECDSA_SHA_256"}, "ecc", "NotFoundException"},
		{"with no such key", "DeriveSharedSecret", object{"KeyId": noSuchID, "PublicKey": blob(91), "KeyAgreementAlgorithm": "ECDH"}, "ecc", "NotFoundException"},
		{"with no such key", "Encapsulate", object{"KeyId": noSuchID, "EncapsulationAlgorithm": "ML_KEM"}, "ml-kem", "NotFoundException"},
		{"with no such key", "GenerateMac", object{"KeyId": noSuchID, "Message": blob(1), "MacAlgorithm": "HMAC_SHA_256"}, "symmetric", "NotFoundException"},
	} {
		t.Run(test.operation+" "+test.name, func(t *testing.T) {
			e := newEnv(t)
			l := e.limit(nil)
			if a := e.call(alice, test.operation, encode(t, test.request)); a.code() != test.fails {
				t.Errorf("the first call: %q, want %q", a.text(), test.fails)
			}
			e.fails(alice, test.operation, test.request, isThrottled)
			if got := refused(l); !slices.Equal(got, []string{test.want}) {
				t.Errorf("was refused by %v, want %s", got, test.want)
			}
		})
	}
}

// Calls are counted in the account that makes them, and in their Region; data
// key pairs by their spec, and all that uses keys of a kind together.
func TestQuotaOfWhom(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	symmetric, ec := e.createKey("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT"), e.createKey("ECC_NIST_P256", "SIGN_VERIFY")
	rsa := e.createKey("RSA_2048", "ENCRYPT_DECRYPT")
	e.putPolicy(symmetric, statement(`{"Effect": "Allow", "Principal": {"AWS": "`+theirs+`"}, "Action": "kms:*", "Resource": "*"}`))
	encrypt := object{"KeyId": keyARN(symmetric), "Plaintext": blob(1)}
	sign := object{"KeyId": ec, "Message": blob(1), "SigningAlgorithm": "ECDSA_SHA_256"}
	pair := func(spec string) object { return object{"KeyId": symmetric, "KeyPairSpec": spec} }

	ciphertext := e.must(alice, "Encrypt", encrypt).str("CiphertextBlob")

	e.limit(nil)
	e.fails(alice, "Encrypt", encrypt, "")
	e.fails(alice, "GenerateDataKey", object{"KeyId": symmetric, "KeySpec": "AES_256"}, isThrottled)
	e.fails(root, "Encrypt", encrypt, isThrottled) // of the same account
	e.fails(bob, "Encrypt", encrypt, "")           // of another, on the same key
	e.fails(bob, "Encrypt", encrypt, isThrottled)
	e.fails(alice, "Sign", sign, "")
	e.fails(alice, "Sign", sign, isThrottled)
	e.fails(alice, "GenerateDataKeyPair", pair("ECC_NIST_P256"), "")
	e.fails(alice, "GenerateDataKeyPair", pair("ECC_NIST_P384"), "")
	e.fails(alice, "GenerateDataKeyPairWithoutPlaintext", pair("ECC_NIST_P256"), isThrottled)
	if a := e.callIn(otherRegion, alice, "GenerateRandom", `{"NumberOfBytes": 8}`); a.err != nil {
		t.Errorf("in another Region: %s", a.text())
	}

	// Between keys of two kinds, ReEncrypt counts once for each.
	between := object{
		"CiphertextBlob":   ciphertext,
		"DestinationKeyId": rsa, "DestinationEncryptionAlgorithm": "RSAES_OAEP_SHA_256",
	}
	within := between.with(object{"DestinationKeyId": symmetric, "DestinationEncryptionAlgorithm": nil})
	for _, test := range []struct {
		request      object
		symmetric    float64
		rsa          float64
		first, again string
	}{
		{between, 1, 1, "", isThrottled},
		{between, 1, 0.001, "", isThrottled},
		{between, 0.001, 1, "", isThrottled},
		{between, 2, 2, "", ""},
		{within, 1, 0.001, "", isThrottled},
		{within, 2, 0.001, "", ""},
	} {
		e.limit(map[string]float64{"symmetric": test.symmetric, "rsa": test.rsa})
		e.fails(alice, "ReEncrypt", test.request, test.first)
		e.fails(alice, "ReEncrypt", test.request, test.again)
	}
}

// The record of a call over its quota says nothing of a key that it may not use.
func TestQuotaHidesKeys(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	id := e.createKey("ECC_NIST_P256", "SIGN_VERIFY")
	sign := object{"Message": blob(1), "SigningAlgorithm": "RSASSA_PSS_SHA_256"}
	l := e.limit(nil)
	for _, key := range []string{keyARN(id), keyARN(noSuchID)} {
		a := e.call(bob, "Sign", encode(t, sign.with(object{"KeyId": key})))
		if key == keyARN(id) {
			if a.text() != deniedAbroad(bob, "kms:Sign") {
				t.Errorf("the first call: %s", a.text())
			}
			continue
		}
		if a.text() != isThrottled || len(a.call.Resources) > 0 || a.call.Denial != nil || a.call.DecisionText != "" {
			t.Errorf("the second call: %s, %v, %v, %q", a.text(), a.call.Resources, a.call.Denial, a.call.DecisionText)
		}
	}
	if got := refused(l); !slices.Equal(got, []string{"rsa"}) {
		t.Errorf("was refused by %v, want rsa, which was asked for", got)
	}
}

// What is done in two Regions is counted in both: a replica as two keys, whether
// it is made or not.
func TestQuotaOfOtherRegions(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	id := e.must(alice, "CreateKey", object{"MultiRegion": true}).object("KeyMetadata").str("KeyId")
	replicate := object{"KeyId": id, "ReplicaRegion": otherRegion}
	createThere := func() string { return e.callIn(otherRegion, alice, "CreateKey", "{}").text() }

	e.limit(map[string]float64{"CreateKey": 3, "ReplicateKey": 2})
	e.fails(alice, "ReplicateKey", replicate, "")
	if got := createThere(); got != "" {
		t.Errorf("a third key: %s", got)
	}
	if got := createThere(); got != isThrottled {
		t.Errorf("a fourth key: %s", got)
	}
	e.fails(alice, "ReplicateKey", replicate, isThrottled) // for the keys
	e.fails(alice, "CreateKey", object{}, "")              // here, none were made
	e.limit(map[string]float64{"ReplicateKey": 5, "CreateKey": 2})
	if a := e.call(carol, "ReplicateKey", encode(t, replicate)); a.code() != "AccessDeniedException" {
		t.Errorf("carol: %s", a.text())
	}
	if got := createThere(); got != isThrottled {
		t.Errorf("after one who may not: %s", got)
	}
	// A Region that is not there has no quotas.
	e.fails(alice, "ReplicateKey", replicate.with(object{"ReplicaRegion": "cn-north-1"}), "ValidationException: The replica key Region must be in the same AWS partition as the primary key Region.")

	e.limit(nil)
	update := object{"KeyId": id, "PrimaryRegion": otherRegion}
	if a := e.call(carol, "UpdatePrimaryRegion", encode(t, update)); a.code() != "AccessDeniedException" {
		t.Errorf("carol, of the same account: %s", a.text())
	}
	e.fails(alice, "UpdatePrimaryRegion", update, isThrottled)
	back := encode(t, update.with(object{"PrimaryRegion": testRegion}))
	if a := e.callIn(otherRegion, alice, "UpdatePrimaryRegion", back); a.text() != isThrottled {
		t.Errorf("in the other Region: %s", a.text())
	}
}

// What is counted comes back with time.
func TestQuotaRefills(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.limit(map[string]float64{"ListKeys": 2})
	for range 2 {
		for range 2 {
			e.fails(alice, "ListKeys", object{}, "")
		}
		e.fails(alice, "ListKeys", object{}, isThrottled)
		e.advance(time.Second)
	}
}

// A call that is run anew, since its key changed under it, is counted once.
func TestQuotaOfACallRunAnew(t *testing.T) {
	t.Parallel()
	st := &faultyStore{Store: store.NewMem()}
	e := newEnvOn(t, st)
	id := e.createKey("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT")
	e.limit(nil)
	change := func() { e.must(alice, "UpdateKeyDescription", object{"KeyId": id, "Description": "changed"}) }
	st.between.Store(&change)
	tag := object{"KeyId": id, "Tags": []object{{"TagKey": "a", "TagValue": "b"}}}
	e.fails(alice, "TagResource", tag, "")
	e.fails(alice, "TagResource", tag, isThrottled)
	if got := e.must(alice, "DescribeKey", object{"KeyId": id}).object("KeyMetadata").str("Description"); got != "changed" {
		t.Errorf("the key did not change under the call: %q", got)
	}
}
