package node_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/keyreeve/keyreeve/internal/api/keyreeveapi"
	"github.com/keyreeve/keyreeve/internal/attestation/attestationtest"
	"github.com/keyreeve/keyreeve/internal/node"
	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/internal/sigv4"
)

// TestAttestation: an enclave has what nobody else has, and what it has proved is
// on record and in explanations.
func TestAttestation(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "root.pem")
	c := configure(dir, func(c *node.Config) { c.Attestation.Roots = []string{name} })
	if n, err := node.Open(t.Context(), c); err == nil {
		n.Close() //nolint:errcheck // the test has failed
		t.Fatal("a node without the file that it shall trust is open")
	} else if !strings.Contains(err.Error(), name) {
		t.Errorf("without the file: %v", err)
	}
	r := running{c: c}
	authority, err := attestationtest.New(r.now())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, authority.RootPEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	enclave, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(enclave.Public())
	if err != nil {
		t.Fatal(err)
	}
	r = *run(t, c)
	account := r.learn(t).Account

	r.iam(t, "CreateUser", "UserName", "app")
	image := hex.EncodeToString(attestationtest.Register(0))
	r.iam(t, "PutUserPolicy", "UserName", "app", "PolicyName", "p", "PolicyDocument",
		`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"kms:Decrypt","Resource":"*","Condition":{"StringEqualsIgnoreCase":{"kms:RecipientAttestation:ImageSha384":"`+image+`"}}}}`)
	key := r.create(t, nil)
	sealed := str(r.must(t, "Encrypt", object{"KeyId": key, "Plaintext": "aGVsbG8="}), "CiphertextBlob")
	administrator := r.creds
	made := r.iam(t, "CreateAccessKey", "UserName", "app")
	r.creds = sigv4.Credentials{AccessKeyID: element(t, made, "AccessKeyId"), Key: sigv4.NewKey(secret.New([]byte(element(t, made, "SecretAccessKey"))))}

	request := func(pcrs map[int][]byte) object {
		document, err := authority.Document(attestationtest.Document{Time: r.now(), PCRs: pcrs, PublicKey: public})
		if err != nil {
			t.Fatal(err)
		}
		return object{"CiphertextBlob": sealed, "Recipient": object{
			"KeyEncryptionAlgorithm": "RSAES_OAEP_SHA_256", "AttestationDocument": base64.StdEncoding.EncodeToString(document),
		}}
	}
	answer := r.must(t, "Decrypt", request(nil))
	envelope, err := base64.StdEncoding.DecodeString(str(answer, "CiphertextForRecipient"))
	if err != nil {
		t.Fatal(err)
	}
	if opened, err := attestationtest.Open(envelope, enclave); err != nil || string(opened) != "hello" || answer["Plaintext"] != nil {
		t.Errorf("for the recipient: %q, %v; %v", opened, err, answer["Plaintext"])
	}
	r.refused(t, "Decrypt", object{"CiphertextBlob": sealed}, "AccessDeniedException")
	status, refusal, id, err := r.ask("Decrypt", request(map[int][]byte{0: attestationtest.Register(1)}))
	if err != nil || status != http.StatusBadRequest || str(refusal, "__type") != "AccessDeniedException" {
		t.Fatalf("of another image: %d %v %v", status, refusal, err)
	}
	r.creds = administrator

	// Why was that denied; and would it be, of the right image?
	status, answer = r.explain(t, object{"RequestId": id})
	layers, err := json.Marshal(answer["Layers"])
	if err != nil || status != http.StatusOK || str(answer, "Decision") != keyreeveapi.Denied ||
		!strings.Contains(string(layers), `"Seen":["`+hex.EncodeToString(attestationtest.Register(1))+`"]`) {
		t.Errorf("explained: %d %v", status, answer)
	}
	for value, want := range map[string]string{image: keyreeveapi.Allowed, "00": keyreeveapi.Denied} {
		question, err := json.Marshal(object{
			"principal": "arn:aws:iam::" + account + ":user/app", "action": "kms:Decrypt", "region": r.c.Region, "resource": key,
			"context": object{"kms:RecipientAttestation:ImageSha384": value},
		})
		if err != nil {
			t.Fatal(err)
		}
		if status, answer := r.explain(t, object{"Case": string(question)}); status != http.StatusOK || str(answer, "Decision") != want {
			t.Errorf("of the image %.8s: %d %v, want %s", value, status, answer, want)
		}
	}

	found := 0
	for _, line := range recorded(t, r.c.Data) {
		if strings.Contains(line, `"recipient":{`) {
			found++
			want := `"recipient":{"attestationDocumentModuleId":"i-0123456789abcdef0-enc0123456789abcdef","attestationDocumentEnclaveImageDigest":"` +
				base64.StdEncoding.EncodeToString(attestationtest.Register(0)) + `"`
			if !strings.Contains(line, want) || !strings.Contains(line, `"eventName":"Decrypt"`) || strings.Contains(line, "errorCode") {
				t.Errorf("on record: %s", line)
			}
		}
	}
	if found != 1 {
		t.Errorf("%d records of recipients", found)
	}
}
