package kms_test

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/api/kmsapi"
	"github.com/keyreeve/keyreeve/internal/attestation"
	"github.com/keyreeve/keyreeve/internal/attestation/attestationtest"
	"github.com/keyreeve/keyreeve/internal/authz"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/kms"
)

// testStart is what the clocks of tests begin with.
var testStart = time.Date(2026, 11, 21, 9, 30, 0, 123e6, time.UTC)

// enclaves are who certifies enclaves in all tests, and the key of every enclave.
var enclaves = sync.OnceValue(func() (e struct {
	authority *attestationtest.Authority
	roots     *attestation.Roots
	key       *rsa.PrivateKey
	public    []byte
},
) {
	var err error
	if e.authority, err = attestationtest.New(testStart); err != nil {
		panic(err)
	}
	dir, err := os.MkdirTemp("", "roots")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "root.pem")
	if err = os.WriteFile(file, e.authority.RootPEM(), 0o600); err != nil {
		panic(err)
	}
	if e.roots, err = attestation.Open([]string{file}); err != nil {
		panic(err)
	}
	if e.key, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
		panic(err)
	}
	if e.public, err = x509.MarshalPKIXPublicKey(e.key.Public()); err != nil {
		panic(err)
	}
	return e
})

// recipient returns the parameter with a document that is made now.
func (e *env) recipient(d attestationtest.Document) object {
	e.t.Helper()
	if d.PublicKey == nil {
		d.PublicKey = enclaves().public
	}
	d.Time = e.clock()
	b, err := enclaves().authority.Document(d)
	if err != nil {
		e.t.Fatal(err)
	}
	return object{"KeyEncryptionAlgorithm": "RSAES_OAEP_SHA_256", "AttestationDocument": base64.StdEncoding.EncodeToString(b)}
}

// opened opens what an answer has for its recipient.
func opened(t *testing.T, o object) []byte {
	t.Helper()
	envelope, err := base64.StdEncoding.DecodeString(o.str("CiphertextForRecipient"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := attestationtest.Open(envelope, enclaves().key)
	if err != nil {
		t.Fatalf("opening an envelope: %v", err)
	}
	return b
}

// An attested is a request whose answer a recipient can have.
type attestedRequest struct {
	operation, plaintext string // and the member that the answer has otherwise
	request              object
}

// attestedRequests makes keys, and a request of each operation.
func attestedRequests(e *env) []attestedRequest {
	id := e.createKey("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT")
	agreement, peer := e.createKey("ECC_NIST_P256", "KEY_AGREEMENT"), e.createKey("ECC_NIST_P256", "KEY_AGREEMENT")
	source := e.must(alice, "Encrypt", object{"KeyId": id, "Plaintext": "aGVsbG8="})["CiphertextBlob"]
	public := e.must(alice, "GetPublicKey", object{"KeyId": peer})["PublicKey"]
	return []attestedRequest{
		{"Decrypt", "Plaintext", object{"CiphertextBlob": source}},
		{"DeriveSharedSecret", "SharedSecret", object{"KeyId": agreement, "KeyAgreementAlgorithm": "ECDH", "PublicKey": public}},
		{"GenerateDataKey", "Plaintext", object{"KeyId": id, "KeySpec": "AES_256"}},
		{"GenerateDataKeyPair", "PrivateKeyPlaintext", object{"KeyId": id, "KeyPairSpec": "ECC_NIST_P256"}},
		{"GenerateRandom", "Plaintext", object{"NumberOfBytes": 33}},
	}
}

// to returns the request with a recipient.
func (r *attestedRequest) to(recipient any) object {
	with := maps.Clone(r.request)
	with["Recipient"] = recipient
	return with
}

// The answer is in the envelope, and nowhere else.
func TestRecipient(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	for _, r := range attestedRequests(e) {
		plain := e.must(alice, r.operation, r.request)
		if _, there := plain["CiphertextForRecipient"]; there || plain.str(r.plaintext) == "" {
			t.Errorf("%s without a recipient: %v", r.operation, plain)
		}
		a := e.call(alice, r.operation, encode(t, r.to(e.recipient(attestationtest.Document{}))))
		if a.err != nil {
			t.Errorf("%s: %v", r.operation, a.err)
			continue
		}
		got := decode(t, a.body)
		if _, there := got[r.plaintext]; there {
			t.Errorf("%s: the answer has %s", r.operation, r.plaintext)
		}
		members := slices.Collect(maps.Keys(plain))
		for i := range members {
			if members[i] == r.plaintext {
				members[i] = "CiphertextForRecipient"
			}
		}
		if have := slices.Sorted(maps.Keys(got)); !slices.Equal(have, slices.Sorted(slices.Values(members))) {
			t.Errorf("%s: the answer has %v, want %v", r.operation, have, members)
		}
		secret := opened(t, got)
		if text := base64.StdEncoding.EncodeToString(secret); bytes.Contains(a.body, []byte(text)) {
			t.Errorf("%s: the plaintext is in the answer", r.operation)
		}
		switch r.operation {
		case "Decrypt", "DeriveSharedSecret":
			if text := base64.StdEncoding.EncodeToString(secret); text != plain.str(r.plaintext) {
				t.Errorf("%s: %s for the recipient, and otherwise %s", r.operation, text, plain.str(r.plaintext))
			}
		case "GenerateDataKey", "GenerateDataKeyPair":
			blob := got.str("CiphertextBlob") + got.str("PrivateKeyCiphertextBlob")
			if text := e.must(alice, "Decrypt", object{"CiphertextBlob": blob}).str("Plaintext"); text != base64.StdEncoding.EncodeToString(secret) {
				t.Errorf("%s: the ciphertext is of another key than the recipient's", r.operation)
			}
		case "GenerateRandom":
			if len(secret) != 33 {
				t.Errorf("%s: %d bytes", r.operation, len(secret))
			}
		}
		want := []call.Pair{
			{Name: "attestationDocumentModuleId", Value: "i-0123456789abcdef0-enc0123456789abcdef"},
			{Name: "attestationDocumentEnclaveImageDigest", Value: base64.StdEncoding.EncodeToString(attestationtest.Register(0))},
		}
		for n, name := range []string{"1", "2", "3", "4"} {
			want = append(want, call.Pair{Name: "attestationDocumentEnclavePCR" + name, Value: base64.StdEncoding.EncodeToString(attestationtest.Register(n + 1))})
		}
		if !slices.Equal(a.call.Recipient, want) {
			t.Errorf("%s: the record will show %v, want %v", r.operation, a.call.Recipient, want)
		}
		if text := string(a.call.Parameters.AppendAudit(nil)); strings.Contains(strings.ToLower(text), "recipient") {
			t.Errorf("%s: the record will show %s", r.operation, text)
		}
		if r.request["KeyId"] != nil {
			dry := r.to(e.recipient(attestationtest.Document{}))
			dry["DryRun"] = true
			e.fails(alice, r.operation, dry, "DryRunOperationException: The request would have succeeded, but the DryRun option is set.")
		}
	}
}

// A key of RSA decrypts for recipients, too, and other accounts' keys do.
func TestRecipientOfOtherKeys(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	id := e.createKey("RSA_2048", "ENCRYPT_DECRYPT")
	e.must(alice, "CreateGrant", object{"KeyId": id, "GranteePrincipal": bob.ARN, "Operations": []string{"Decrypt"}})
	blob := e.must(alice, "Encrypt", object{"KeyId": id, "EncryptionAlgorithm": "RSAES_OAEP_SHA_256", "Plaintext": "aGVsbG8="})["CiphertextBlob"]
	for _, who := range []*call.Principal{alice, bob} {
		got := e.must(who, "Decrypt", object{
			"KeyId": keyARN(id), "EncryptionAlgorithm": "RSAES_OAEP_SHA_256", "CiphertextBlob": blob, "Recipient": e.recipient(attestationtest.Document{}),
		})
		if text := string(opened(t, got)); text != "hello" || got["Plaintext"] != nil {
			t.Errorf("as %s: %q, %v", who.Name, text, got["Plaintext"])
		}
	}
}

// A document that is not valid is refused before anything is told of a key.
func TestInvalidRecipient(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	other, err := attestationtest.New(testStart)
	if err != nil {
		t.Fatal(err)
	}
	strange, err := other.Document(attestationtest.Document{Time: testStart, PublicKey: enclaves().public})
	if err != nil {
		t.Fatal(err)
	}
	good := e.recipient(attestationtest.Document{})
	document := good["AttestationDocument"]
	requests := attestedRequests(e)
	before := e.dump()
	for what, tt := range map[string]struct {
		recipient object
		want      string
	}{
		"nothing":         {object{}, "ValidationException: Recipient requires both AttestationDocument and KeyEncryptionAlgorithm."},
		"no document":     {object{"KeyEncryptionAlgorithm": "RSAES_OAEP_SHA_256"}, "ValidationException: Recipient requires both AttestationDocument and KeyEncryptionAlgorithm."},
		"no algorithm":    {object{"AttestationDocument": document}, "ValidationException: Recipient requires both AttestationDocument and KeyEncryptionAlgorithm."},
		"bytes":           {object{"KeyEncryptionAlgorithm": "RSAES_OAEP_SHA_256", "AttestationDocument": blob(100)}, "ValidationException: The attestation document is not a COSE_Sign1."},
		"another's":       {object{"KeyEncryptionAlgorithm": "RSAES_OAEP_SHA_256", "AttestationDocument": base64.StdEncoding.EncodeToString(strange)}, "ValidationException: The attestation document is of no trusted authority."},
		"a key that none": {e.recipient(attestationtest.Document{PublicKey: []byte("key")}), "ValidationException: The attestation document has a public_key that cannot be read."},
		"another algorithm": {
			object{"KeyEncryptionAlgorithm": "RSAES_OAEP_SHA_1", "AttestationDocument": document},
			"ValidationException: 1 validation error detected: Value 'RSAES_OAEP_SHA_1' at 'recipient.keyEncryptionAlgorithm' failed to satisfy constraint: " +
				"Member must satisfy enum value set: [RSAES_OAEP_SHA_256]",
		},
	} {
		for _, r := range requests {
			request := r.to(tt.recipient)
			e.fails(alice, r.operation, request, tt.want)
			if request["KeyId"] != nil {
				request["KeyId"] = "12345678-1234-1234-1234-123456789012"
			}
			if a := e.call(carol, r.operation, encode(t, request)); a.text() != tt.want || len(a.call.Resources) != 0 || a.call.Recipient != nil {
				t.Errorf("%s as carol: %s: %s, want %s; %v", r.operation, what, a.text(), tt.want, a.call.Resources)
			}
		}
	}
	e.advance(5 * time.Minute)
	e.must(alice, "GenerateRandom", object{"NumberOfBytes": 1, "Recipient": good})
	e.advance(time.Millisecond)
	e.fails(alice, "GenerateRandom", object{"NumberOfBytes": 1, "Recipient": good}, "ValidationException: The attestation document has expired.")
	if e.dump() != before {
		t.Error("a refused request changed the store")
	}
}

// Where no authority is trusted there are no recipients, and nobody gets in the
// clear what he asked to have encrypted.
func TestRecipientWithoutRoots(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	requests := attestedRequests(e)
	recipient := e.recipient(attestationtest.Document{})
	e.ops = kmsapi.Operations(kms.New(e.ring, authz.New(nil), kms.Options{Box: e.box, Principals: e.people}))
	attests := principal(ours, "attests", `{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*",
		"Condition": {"Null": {"kms:RecipientAttestation:PCR0": "false"}}}}`)
	for _, r := range requests {
		for _, to := range []object{recipient, {}, {"AttestationDocument": blob(1)}} {
			e.fails(alice, r.operation, r.to(to), "UnsupportedOperationException: Recipient is not supported.")
			for _, who := range []*call.Principal{carol, attests} {
				if a := e.call(who, r.operation, encode(t, r.to(to))); a.code() != "AccessDeniedException" {
					t.Errorf("%s as %s: %s", r.operation, who.Name, or(a.text(), "success"))
				}
			}
		}
	}
}

// Policies see the registers of a document that is valid, and none without.
func TestRecipientConditions(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	requests := attestedRequests(e)
	text := func(n int) string { return hex.EncodeToString(attestationtest.Register(n)) }
	registers := map[int][]byte{0: attestationtest.Register(0), 7: attestationtest.Register(7), 23: attestationtest.Register(23)}
	enclave := attestationtest.Document{PCRs: map[int][]byte{0: registers[0], 7: registers[7], 31: attestationtest.Register(31)}}
	tpm := attestationtest.Document{PCRs: registers, TPM: true}
	for _, tt := range []struct {
		name     string
		operator string
		key      string
		value    string
		document *attestationtest.Document // nil: none
		allowed  bool
	}{
		{"the image", "StringEquals", "ImageSha384", text(0), &enclave, true},
		{"the image, in capitals", "StringEqualsIgnoreCase", "ImageSha384", strings.ToUpper(text(0)), &enclave, true},
		{"the image, in capitals where case matters", "StringEquals", "ImageSha384", strings.ToUpper(text(0)), &enclave, false},
		{"the name in another case", "StringEquals", "imagesha384", text(0), &enclave, true},
		{"another image", "StringEqualsIgnoreCase", "ImageSha384", text(1), &enclave, false},
		{"a register", "StringEqualsIgnoreCase", "PCR7", text(7), &enclave, true},
		{"the last register", "StringEqualsIgnoreCase", "PCR31", text(31), &enclave, true},
		{"a register that is not there", "StringEqualsIgnoreCase", "PCR8", text(8), &enclave, false},
		{"a register that cannot be", "Null", "PCR32", "false", &enclave, false},
		{"a register with a zero", "Null", "PCR07", "false", &enclave, false},
		{"a register of a TPM, of an enclave", "Null", "NitroTPMPCR7", "false", &enclave, false},
		{"a register of a TPM", "StringEqualsIgnoreCase", "NitroTPMPCR7", text(7), &tpm, true},
		{"another register of a TPM", "StringEqualsIgnoreCase", "NitroTPMPCR7", text(23), &tpm, false},
		{"the last register of a TPM", "StringEqualsIgnoreCase", "NitroTPMPCR23", text(23), &tpm, true},
		{"a register of an enclave, of a TPM", "Null", "PCR7", "false", &tpm, false},
		{"the image, of a TPM", "Null", "ImageSha384", "false", &tpm, false},
		{"no document", "Null", "PCR0", "false", nil, false},
		{"no document, and none wanted", "Null", "PCR0", "true", nil, true},
		{"a document, and none wanted", "Null", "PCR0", "true", &enclave, false},
	} {
		who := principal(ours, "attests", `{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*",
			"Condition": {"`+tt.operator+`": {"kms:RecipientAttestation:`+tt.key+`": "`+tt.value+`"}}}}`)
		for _, r := range requests {
			request := r.request
			if tt.document != nil {
				request = r.to(e.recipient(*tt.document))
			}
			a := e.call(who, r.operation, encode(t, request))
			switch {
			case tt.allowed && a.err != nil, !tt.allowed && a.code() != "AccessDeniedException":
				t.Errorf("%s: %s: %s", tt.name, r.operation, or(a.text(), "success"))
			case !tt.allowed && a.call.Recipient != nil:
				t.Errorf("%s: %s: the record of a denial will show %v", tt.name, r.operation, a.call.Recipient)
			}
			if tt.name != "the image" {
				break // one operation is as another
			}
		}
	}

	// A denied call can be asked about again as it was asked.
	a := e.call(carol, "GenerateRandom", encode(t, object{"NumberOfBytes": 1, "Recipient": e.recipient(tpm)}))
	if a.call.Denial == nil || a.call.Denial.Values["kms:recipientattestation:nitrotpmpcr7"].String() != text(7) || len(a.call.Denial.Values) != 3 {
		t.Errorf("of the denial is kept: %+v", a.call.Denial)
	}
	a = e.call(alice, "GenerateRandom", encode(t, object{"NumberOfBytes": 1, "Recipient": e.recipient(tpm)}))
	want := []call.Pair{
		{Name: "attestationDocumentModuleId", Value: "i-0123456789abcdef0-enc0123456789abcdef"},
		{Name: "attestationDocumentNitroTPMPCR7", Value: base64.StdEncoding.EncodeToString(registers[7])},
		{Name: "attestationDocumentNitroTPMPCR23", Value: base64.StdEncoding.EncodeToString(registers[23])},
	}
	if !slices.Equal(a.call.Recipient, want) {
		t.Errorf("the record will show %v, want %v", a.call.Recipient, want)
	}
}
