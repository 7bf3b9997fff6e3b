package node_test

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/keyreeve/keyreeve/internal/node"
	"github.com/keyreeve/keyreeve/internal/secret"
)

func (l *lines) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// shapes returns what a secret looks like in a file: raw, in hexadecimal, in
// decimal, and in base64 wherever in a larger buffer it stands.
func shapes(s []byte) map[string][]byte {
	lower := hex.EncodeToString(s)
	all := map[string][]byte{
		"raw": s, "hexadecimal": []byte(lower), "HEXADECIMAL": []byte(strings.ToUpper(lower)),
		"decimal": []byte(strings.Trim(fmt.Sprint(s), "[]")),
	}
	for shift := range 3 {
		whole := s[shift : shift+(len(s)-shift)/3*3]
		all[fmt.Sprintf("base64, %d", shift)] = []byte(base64.RawStdEncoding.EncodeToString(whole))
		all[fmt.Sprintf("URL base64, %d", shift)] = []byte(base64.RawURLEncoding.EncodeToString(whole))
	}
	return all
}

// TestNothingSecretStays searches all that a node leaves, its log at debug
// level included, for secrets that went through it.
func TestNothingSecretStays(t *testing.T) {
	dir := t.TempDir()
	var log lines
	secrets := map[string][]byte{}
	plant := func(what string, s []byte) []byte {
		if len(s) < 16 {
			t.Fatalf("%s has %d bytes, too few to be searched for", what, len(s))
		}
		secrets[what] = s[len(s)/2-8:] // half of it would be bad enough
		return s
	}
	unique := func(what string, n int) []byte {
		b := make([]byte, n)
		rand.Read(b)
		return plant(what, b)
	}
	b64 := base64.StdEncoding.EncodeToString
	unb64 := func(s string) []byte {
		b, err := base64.StdEncoding.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}

	passphrase := hex.EncodeToString(unique("passphrase, in raw", 16))
	plant("passphrase", []byte(passphrase))
	material := unique("seeded material", 32)
	seeded := plant("seeded secret access key", []byte(b64(unique("of it", 30))))
	seed := filepath.Join(dir, "seed.yaml")
	text := "users:\n  - {account: \"111122223333\", name: alice, policies: [AdministratorAccess], access_keys: [{id: AKIAIOSFODNN7ALICE00, secret: \"" + string(seeded) + "\"}]}\n" +
		"keys:\n  - {account: \"111122223333\", region: us-east-1, id: 1234abcd-12ab-34cd-56ef-1234567890ab, material: " + b64(material) + "}\n"
	if err := os.WriteFile(seed, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	set := func(c *node.Config) {
		c.Log, c.Account, c.Seed = log.logger(), "111122223333", seed
	}
	r := run(t, configure(dir, set, withPassphrase, func(c *node.Config) { c.Passphrase = secret.New([]byte(passphrase)) }))
	plant("administrator's secret access key", bytes.Clone(r.learn(t).Secret.Reveal()))

	key := r.create(t, nil)
	plaintext := b64(unique("plaintext", 48))
	blob := str(r.must(t, "Encrypt", object{"KeyId": key, "Plaintext": plaintext}), "CiphertextBlob")
	if got := r.must(t, "Decrypt", object{"CiphertextBlob": blob})["Plaintext"]; got != plaintext {
		t.Fatal("Decrypt gives something else")
	}
	r.must(t, "Encrypt", object{"KeyId": "1234abcd-12ab-34cd-56ef-1234567890ab", "Plaintext": plaintext})
	plant("data key", unb64(str(r.must(t, "GenerateDataKey", object{"KeyId": key, "KeySpec": "AES_256"}), "Plaintext")))
	pair := r.must(t, "GenerateDataKeyPair", object{"KeyId": key, "KeyPairSpec": "ECC_NIST_P256"})
	private := unb64(str(pair, "PrivateKeyPlaintext"))
	plant("private key of a data key pair", private[36:68]) // the scalar; the public key that follows is no secret
	plant("random bytes", unb64(str(r.must(t, "GenerateRandom", object{"NumberOfBytes": 32}), "Plaintext")))
	mac := r.create(t, object{"KeySpec": "HMAC_256", "KeyUsage": "GENERATE_VERIFY_MAC"})
	r.must(t, "GenerateMac", object{"KeyId": mac, "Message": b64(unique("message", 48)), "MacAlgorithm": "HMAC_SHA_256"})
	r.refused(t, "Encrypt", object{"KeyId": mac, "Plaintext": b64(unique("plaintext for a wrong key", 48))}, "InvalidKeyUsageException")
	r.refused(t, "Encrypt", object{"KeyId": key, "Plaintext": []string{b64(unique("plaintext of a wrong type", 48))}}, "SerializationException")
	r.refused(t, "Decrypt", object{"CiphertextBlob": blob, "EncryptionContext": object{"a": "b"}}, "InvalidCiphertextException")
	// Something for the log at debug level.
	if conn, err := net.Dial("tcp", strings.TrimPrefix(r.Endpoint(), "https://")); err == nil {
		fmt.Fprint(conn, "this is not TLS")
		conn.Close()
	}
	eventually(t, "a line at debug level", func() bool { return strings.Contains(log.String(), "level=DEBUG") })
	if err := r.control().Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := r.control().Unseal(t.Context(), secret.New([]byte(passphrase))); err != nil {
		t.Fatal(err)
	}
	if err := r.control().Unseal(t.Context(), secret.New(unique("wrong passphrase", 32))); err == nil {
		t.Error("a wrong passphrase is right")
	}
	r.must(t, "Decrypt", object{"CiphertextBlob": blob})
	r.stop(t)
	if err := os.Remove(seed); err != nil {
		t.Fatal(err)
	}

	files := map[string][]byte{"the log": []byte(log.String())}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		files[path], err = os.ReadFile(path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if text := files[filepath.Join(dir, "data", "store.db")]; !bytes.Contains(text, []byte(key)) {
		t.Error("the store does not name the key: searching it proves nothing")
	}
	for what, s := range secrets {
		for shape, pattern := range shapes(s) {
			for path, text := range files {
				if bytes.Contains(text, pattern) {
					t.Errorf("%s (%s) stands in %s", what, shape, path)
				}
			}
		}
	}
}
