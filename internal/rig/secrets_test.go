//go:build rig

package rig_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/internal/sigv4"
)

// forms returns what a secret looks like when it is printed or stored by
// accident: raw, in hexadecimal, in decimal, escaped, and in base64 wherever in
// a larger buffer it may stand.
func forms(b []byte) map[string][]byte {
	lower := hex.EncodeToString(b)
	all := map[string][]byte{
		"raw":                b,
		"hex":                []byte(lower),
		"upper-case hex":     []byte(strings.ToUpper(lower)),
		"decimal":            []byte(strings.Trim(fmt.Sprint(b), "[]")),
		"decimal, in commas": []byte(strings.ReplaceAll(strings.Trim(fmt.Sprint(b), "[]"), " ", ",")),
		"quoted":             []byte(strings.Trim(strconv.Quote(string(b)), `"`)),
		"escaped":            []byte(strings.Trim(strconv.QuoteToASCII(string(b)), `"`)),
	}
	for shift := range 3 {
		part := b[shift:]
		part = part[:len(part)/3*3]
		all[fmt.Sprintf("base64, shifted by %d", shift)] = []byte(base64.RawStdEncoding.EncodeToString(part))
		all[fmt.Sprintf("URL-safe base64, shifted by %d", shift)] = []byte(base64.RawURLEncoding.EncodeToString(part))
	}
	return all
}

// search returns where in the files any form of a secret stands.
func search(t testing.TB, files []string, secrets map[string][]byte) (found []string) {
	t.Helper()
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for name, b := range secrets {
			for form, pattern := range forms(b) {
				if at := bytes.Index(text, pattern); at >= 0 {
					found = append(found, fmt.Sprintf("%s, %s, stands in %s at byte %d", name, form, path, at))
				}
			}
		}
	}
	return found
}

// TestSearch makes sure that the search would find something.
func TestSearch(t *testing.T) {
	dir := t.TempDir()
	b := unique(32)
	for i, text := range []string{
		string(b),
		hex.EncodeToString(b),
		fmt.Sprintf("%X", b),
		fmt.Sprint(b),
		fmt.Sprintf("%q", b),
		base64.StdEncoding.EncodeToString(b),
		base64.URLEncoding.EncodeToString(append([]byte("x"), b...)),
		base64.StdEncoding.EncodeToString(append([]byte("xy"), b...)),
	} {
		path := filepath.Join(dir, strconv.Itoa(i))
		if err := os.WriteFile(path, []byte("before "+text+" after"), 0o600); err != nil {
			t.Fatal(err)
		}
		if len(search(t, []string{path}, map[string][]byte{"secret": b})) == 0 {
			t.Errorf("not found in %q", text)
		}
		if found := search(t, []string{path}, map[string][]byte{"other": bytes.Repeat([]byte("z"), 32)}); len(found) > 0 {
			t.Errorf("found what is not there: %v", found)
		}
	}
}

// unique returns n random bytes that are in no file yet.
func unique(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return b
}

// TestNothingSecretStays uses the service with secrets that are known here, and
// then searches everything that it leaves behind, its log at debug level
// included, for any of them.
func TestNothingSecretStays(t *testing.T) {
	secrets := map[string][]byte{}
	plant := func(name string, b []byte) []byte {
		if len(b) < 16 {
			t.Fatalf("%s: %d bytes are too few to be found", name, len(b))
		}
		name = fmt.Sprintf("%s (%d)", name, len(secrets)) // it is planted more than once
		if len(b) > 64 {                                  // a part of it would be bad enough
			secrets[name] = b[len(b)/2-16 : len(b)/2+16]
		} else {
			secrets[name] = b
		}
		return b
	}

	in := install(t)
	planted := newSeed(t, plant)
	in.args = append(in.args, "--seed", planted.file)

	s := in.start(t)
	plant("the administrator's secret access key", []byte(s.env["AWS_SECRET_ACCESS_KEY"]))
	planted.use(t, s)
	use(t, s, plant)
	s.stop(t)

	// Once more, so that what a start writes is there as well; then the plug.
	s = in.start(t)
	planted.use(t, s)
	use(t, s, plant)
	s.kill()
	s = in.start(t)
	s.stop(t)

	files := in.files(t, "")
	var size int64
	for _, path := range files {
		if info, err := os.Stat(path); err == nil {
			size += info.Size()
		}
		if info, err := os.Stat(path); err == nil && strings.HasPrefix(path, in.data) && info.Mode().Perm()&0o077 != 0 && filepath.Ext(path) != ".pem" {
			t.Errorf("%s has mode %v: others can read it", path, info.Mode())
		}
	}
	log, err := os.ReadFile(in.log)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(bytes.ToUpper(log), []byte("DEBUG")) {
		t.Error("the log is not at debug level, so searching it proves little")
	}
	for _, f := range search(t, files, secrets) {
		t.Error(f)
	}
	t.Logf("searched %d bytes in %d files for %d secrets", size, len(files), len(secrets))
}

// A seed is a seed file full of known secrets. It lies outside of the
// installation that it is for.
type seed struct {
	file, accessKeyID, secretAccessKey string
	symmetric, hmac, signer            string // ids of keys
}

func newSeed(t *testing.T, plant func(string, []byte) []byte) *seed {
	t.Helper()
	b64 := base64.StdEncoding.EncodeToString
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	scalar, err := private.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	plant("private key of the seed", scalar)
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	p := &seed{
		file: filepath.Join(t.TempDir(), "seed.yaml"), accessKeyID: "AKIARIGRIGRIGRIG0001",
		secretAccessKey: string(plant("secret access key of the seed", []byte(base64.RawURLEncoding.EncodeToString(unique(30))))),
		symmetric:       "11111111-1111-4111-8111-111111111111",
		hmac:            "22222222-2222-4222-8222-222222222222",
		signer:          "33333333-3333-4333-8333-333333333333",
	}
	const account = "111122223333"
	text := fmt.Sprintf(`
accounts:
  - {id: %[1]q, name: rig}
users:
  - account: %[1]q
    name: alice
    policies: [AdministratorAccess]
    access_keys: [{id: %[2]q, secret: %[3]q}]
keys:
  - {account: %[1]q, region: us-east-1, id: %[4]q, material: %[5]q}
  - {account: %[1]q, region: us-east-1, id: %[6]q, material: %[7]q, spec: HMAC_384, usage: GENERATE_VERIFY_MAC}
  - {account: %[1]q, region: us-east-1, id: %[8]q, material: %[9]q, spec: ECC_NIST_P256, usage: SIGN_VERIFY}
`, account, p.accessKeyID, p.secretAccessKey, p.symmetric, b64(plant("key material of the seed", unique(32))),
		p.hmac, b64(plant("HMAC material of the seed", unique(48))), p.signer, b64(der))
	if err := os.WriteFile(p.file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

// use makes the server open each of the planted materials.
func (p *seed) use(t *testing.T, s *server) {
	t.Helper()
	alice := &server{endpoint: s.endpoint, env: s.env, http: s.http, creds: sigv4.Credentials{
		AccessKeyID: p.accessKeyID, Key: sigv4.NewKey(secret.New([]byte(p.secretAccessKey))),
	}}
	alice.must(t, "GenerateDataKey", object{"KeyId": p.symmetric, "KeySpec": "AES_128"})
	alice.must(t, "GenerateMac", object{"KeyId": p.hmac, "Message": "bWVzc2FnZQ==", "MacAlgorithm": "HMAC_SHA_384"})
	alice.must(t, "Sign", object{"KeyId": p.signer, "Message": "bWVzc2FnZQ==", "SigningAlgorithm": "ECDSA_SHA_256"})
}

// use puts secrets through every kind of operation, also through ones that fail.
func use(t *testing.T, s *server, plant func(string, []byte) []byte) {
	t.Helper()
	b64 := base64.StdEncoding.EncodeToString
	out := func(o object, member string) []byte {
		text, err := base64.StdEncoding.DecodeString(o.str(member))
		if err != nil || len(text) == 0 {
			t.Fatalf("%s is %q", member, o.str(member))
		}
		return text
	}
	id := s.must(t, "CreateKey", object{}).obj("KeyMetadata").str("KeyId")
	plaintext := plant("plaintext of Encrypt", unique(48))
	blob := s.must(t, "Encrypt", object{"KeyId": id, "Plaintext": b64(plaintext)}).str("CiphertextBlob")
	if got := out(s.must(t, "Decrypt", object{"CiphertextBlob": blob}), "Plaintext"); !bytes.Equal(got, plaintext) {
		t.Fatal("Decrypt returns something else")
	}
	s.must(t, "ReEncrypt", object{"CiphertextBlob": blob, "DestinationKeyId": id})
	plant("data key", out(s.must(t, "GenerateDataKey", object{"KeyId": id, "KeySpec": "AES_256"}), "Plaintext"))
	plant("private key of a data key pair", out(s.must(t, "GenerateDataKeyPair", object{"KeyId": id, "KeyPairSpec": "ECC_NIST_P256"}), "PrivateKeyPlaintext"))
	plant("RSA private key of a data key pair", out(s.must(t, "GenerateDataKeyPair", object{"KeyId": id, "KeyPairSpec": "RSA_2048"}), "PrivateKeyPlaintext"))
	plant("random bytes", out(s.must(t, "GenerateRandom", object{"NumberOfBytes": 32}), "Plaintext"))

	signer := s.must(t, "CreateKey", object{"KeySpec": "ECC_NIST_P256", "KeyUsage": "SIGN_VERIFY"}).obj("KeyMetadata").str("KeyId")
	s.must(t, "Sign", object{"KeyId": signer, "Message": b64(plant("signed message", unique(64))), "SigningAlgorithm": "ECDSA_SHA_256"})
	maker := s.must(t, "CreateKey", object{"KeySpec": "HMAC_256", "KeyUsage": "GENERATE_VERIFY_MAC"}).obj("KeyMetadata").str("KeyId")
	s.must(t, "GenerateMac", object{"KeyId": maker, "Message": b64(plant("MACed message", unique(64))), "MacAlgorithm": "HMAC_SHA_256"})

	for what, in := range map[string]object{
		"unknown key":    {"KeyId": "00000000-0000-4000-8000-000000000000", "Plaintext": b64(plant("plaintext for an unknown key", unique(48)))},
		"wrong usage":    {"KeyId": signer, "Plaintext": b64(plant("plaintext for a signing key", unique(48)))},
		"too long":       {"KeyId": id, "Plaintext": b64(plant("plaintext that is too long", unique(4097)))},
		"wrong type":     {"KeyId": id, "Plaintext": []string{b64(plant("plaintext of the wrong type", unique(48)))}},
		"unknown member": {"KeyId": id, "Plaintext": b64(plant("plaintext with an invalid algorithm", unique(48))), "EncryptionAlgorithm": "ROT13"},
	} {
		_, err := s.call(t.Context(), "Encrypt", in)
		var f *fault
		if !errors.As(err, &f) || f.Status != 400 {
			t.Errorf("%s: %v, want an error of the caller's", what, err)
		}
	}
}

// TestNoCore makes a server die in the way that dumps core, where processes
// here can dump core at all.
func TestNoCore(t *testing.T) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_CORE, &limit); err != nil {
		t.Fatal(err)
	}
	old := limit
	limit.Cur = limit.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_CORE, &limit); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Setrlimit(syscall.RLIMIT_CORE, &old) }()

	control := exec.Command("sleep", "60")
	control.Dir = t.TempDir()
	if err := control.Start(); err != nil {
		t.Fatal(err)
	}
	_ = control.Process.Signal(syscall.SIGABRT)
	_ = control.Wait()
	if status, ok := control.ProcessState.Sys().(syscall.WaitStatus); !ok || !status.CoreDump() {
		t.Log("no process here dumps core, so that this one does not proves little")
	}

	in := install(t)
	in.env = []string{"GOTRACEBACK=crash"}
	s := in.start(t)
	limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", s.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(limits)) {
		if rest, ok := strings.CutPrefix(line, "Max core file size"); ok && strings.Join(strings.Fields(rest), " ") != "0 0 bytes" {
			t.Errorf("the server's limit of core files is %q, want 0", strings.TrimSpace(rest))
		}
	}
	if err := s.cmd.Process.Signal(syscall.SIGABRT); err != nil {
		t.Fatal(err)
	}
	<-s.exited
	status, ok := s.cmd.ProcessState.Sys().(syscall.WaitStatus)
	if !ok || !status.Signaled() {
		t.Errorf("the server ended with %v, want a signal", s.cmd.ProcessState)
	}
	if status.CoreDump() {
		t.Error("the server dumped core")
	}
	for _, path := range in.files(t, "") {
		if strings.HasPrefix(filepath.Base(path), "core") {
			t.Errorf("there is %s", path)
		}
	}
}
