package node_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/node"
	"github.com/keyreeve/keyreeve/internal/store"
)

// imports imports material into a key, until a time.
func (r *running) imports(t testing.TB, key string, material []byte, validTo time.Time) object {
	t.Helper()
	p := r.must(t, "GetParametersForImport", object{"KeyId": key, "WrappingAlgorithm": "RSAES_OAEP_SHA_256", "WrappingKeySpec": "RSA_2048"})
	der, err := base64.StdEncoding.DecodeString(str(p, "PublicKey"))
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		t.Fatal(err)
	}
	wrapped, err := rsa.EncryptOAEP(sha256.New(), rand.Reader, public.(*rsa.PublicKey), material, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r.must(t, "ImportKeyMaterial", object{
		"KeyId": key, "ImportToken": p["ImportToken"], "EncryptedKeyMaterial": base64.StdEncoding.EncodeToString(wrapped), "ValidTo": validTo.Unix(),
	})
}

// TestImportedMaterialExpires lets imported material expire: as time goes by, and
// in a jump of the clock, which nobody believes at once.
func TestImportedMaterialExpires(t *testing.T) {
	now := newClocks()
	var data counting
	r := run(t, configure(t.TempDir(), func(c *node.Config) {
		now.use(c)
		c.WrapStore(func(s store.Store) store.Store { data.Store = s; return &data })
	}))
	defer r.stop(t)
	account := r.learn(t).Account
	key := r.create(t, object{"Origin": "EXTERNAL"})
	id := str(r.imports(t, key, make([]byte, 32), now.Now().Add(30*time.Minute)), "KeyMaterialId")
	blob := r.must(t, "Encrypt", object{"KeyId": key, "Plaintext": "eA=="})["CiphertextBlob"]
	now.pass(29 * time.Minute)
	r.must(t, "Decrypt", object{"CiphertextBlob": blob})
	now.pass(time.Minute)
	r.refused(t, "Decrypt", object{"CiphertextBlob": blob}, "KMSInvalidStateException")
	eventually(t, "the material is gone", func() bool { return data.materials(t) == 0 })
	event := `"eventName":"DeleteExpiredKeyMaterial","awsRegion":"us-east-1","sourceIPAddress":"AWS Internal","userAgent":"AWS Internal",` +
		`"requestParameters":null,"responseElements":null`
	details := `"serviceEventDetails":{"keyId":"` + key + `","keyMaterialId":"` + id + `"}`
	found := func() (n int) {
		for _, line := range recorded(t, r.c.Data) {
			if strings.Contains(line, event) && strings.Contains(line, details) && strings.Contains(line, `:`+account+`:key/`+key) {
				n++
			}
		}
		return n
	}
	eventually(t, "it is recorded", func() bool { return found() == 1 })

	// The same again, and a jump of the clock over its end: no call gets it, but
	// it is there still, until somebody says that the clock is right.
	r.imports(t, key, make([]byte, 32), now.Now().Add(24*time.Hour))
	r.must(t, "Decrypt", object{"CiphertextBlob": blob})
	now.advance(25 * time.Hour)
	r.refused(t, "Decrypt", object{"CiphertextBlob": blob}, "KMSInvalidStateException")
	status, answer, _, err := r.ask("DescribeKey", object{"KeyId": key})
	if err != nil || status != http.StatusOK || str(answer["KeyMetadata"].(object), "KeyState") != "PendingImport" {
		t.Errorf("after the jump: %d, %v, %v", status, answer, err)
	}
	time.Sleep(20 * r.c.DestroyEvery) // in which the job runs a few times
	if n := data.materials(t); n != 1 {
		t.Errorf("after the jump: %d materials, want 1", n)
	}
	now.advance(-24 * time.Hour)
	r.must(t, "Decrypt", object{"CiphertextBlob": blob})
	now.advance(24 * time.Hour)
	if err := r.control().AcceptClock(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the material is gone", func() bool { return data.materials(t) == 0 })
	eventually(t, "it is recorded twice", func() bool { return found() == 2 })
}
