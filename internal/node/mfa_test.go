package node_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base32"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/node"
	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/internal/sigv4"
)

// query calls an operation of IAM or STS with names and values.
func (r *running) query(t testing.TB, creds sigv4.Credentials, service, operation string, parameters ...string) (status int, answer string) {
	t.Helper()
	version := map[string]string{"iam": "2010-05-08", "sts": "2011-06-15"}[service]
	values := url.Values{"Action": {operation}, "Version": {version}}
	for i := 0; i < len(parameters); i += 2 {
		values.Set(parameters[i], parameters[i+1])
	}
	body := values.Encode()
	req, err := http.NewRequest(http.MethodPost, r.Endpoint()+"/", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	creds.Sign(req, []byte(body), r.c.Region, service, r.now())
	res, err := r.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(text)
}

// TestMFAOutlivesRestarts: a device is one after a restart, its seed is nowhere
// to be read, a code that was used is used, and a clock that was put back makes
// no old code good.
func TestMFAOutlivesRestarts(t *testing.T) {
	c, dir := newClocks(), t.TempDir()
	var log lines
	r := run(t, configure(dir, c.use, func(c *node.Config) { c.Log = log.logger() }))
	must := func(answerOf func() (int, string)) string {
		t.Helper()
		status, answer := answerOf()
		if status != http.StatusOK {
			t.Fatalf("%d %s", status, answer)
		}
		return answer
	}
	r.iam(t, "CreateUser", "UserName", "alice")
	r.iam(t, "AttachUserPolicy", "UserName", "alice", "PolicyArn", "arn:aws:iam::aws:policy/AdministratorAccess")
	key := r.iam(t, "CreateAccessKey", "UserName", "alice")
	alice := sigv4.Credentials{
		AccessKeyID: element(t, key, "AccessKeyId"), Key: sigv4.NewKey(secret.New([]byte(element(t, key, "SecretAccessKey")))),
	}
	made := r.iam(t, "CreateVirtualMFADevice", "VirtualMFADeviceName", "alice")
	serial := element(t, made, "SerialNumber")
	text, err := base64.StdEncoding.DecodeString(element(t, made, "Base32StringSeed"))
	if err != nil {
		t.Fatal(err)
	}
	seed, err := base32.StdEncoding.DecodeString(string(text))
	if err != nil {
		t.Fatal(err)
	}
	code := func(steps int64) string {
		mac := hmac.New(sha1.New, seed)
		_ = binary.Write(mac, binary.BigEndian, r.now().Unix()/30+steps)
		sum := mac.Sum(nil)
		return fmt.Sprintf("%06d", binary.BigEndian.Uint32(sum[sum[19]&15:])&0x7fffffff%1000000)
	}
	r.iam(t, "EnableMFADevice", "UserName", "alice", "SerialNumber", serial, "AuthenticationCode1", code(-1), "AuthenticationCode2", code(0))
	session := func(code string) (int, string) {
		return r.query(t, alice, "sts", "GetSessionToken", "SerialNumber", serial, "TokenCode", code)
	}
	used := code(1)
	strong := must(func() (int, string) { return session(used) })
	r.stop(t)
	r = run(t, configure(dir, c.use, func(c *node.Config) { c.Log = log.logger() }))
	if status, answer := session(used); status != http.StatusForbidden || !strings.Contains(answer, "invalid MFA one time pass code") {
		t.Errorf("a used code, after a restart: %d %s", status, answer)
	}
	// The session has its MFA still, and may call IAM.
	status, answer := r.query(t, sigv4.Credentials{
		AccessKeyID: element(t, strong, "AccessKeyId"), Key: sigv4.NewKey(secret.New([]byte(element(t, strong, "SecretAccessKey")))),
		Token: element(t, strong, "SessionToken"),
	}, "iam", "ListMFADevices")
	if status != http.StatusOK || element(t, answer, "SerialNumber") != serial {
		t.Errorf("IAM, with MFA: %d %s", status, answer)
	}
	c.pass(time.Minute)
	old := code(0)
	must(func() (int, string) { return session(code(1)) })
	c.pass(2 * time.Hour)
	must(func() (int, string) { return session(code(0)) })
	plain := r.session(t)
	c.advance(-2 * time.Hour)
	eventually(t, "the node notices that the clock was put back", func() bool { return r.behind(plain) })
	for _, code := range []string{old, code(0), code(1)} {
		if status, answer := session(code); status != http.StatusForbidden {
			t.Errorf("a code with the clock put back: %d %s", status, answer)
		}
	}
	r.stop(t)

	files := map[string][]byte{"the log": []byte(log.String())}
	if err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		files[path], err = os.ReadFile(path)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	for _, s := range [][]byte{seed[8:24], text[8:40]} {
		for shape, pattern := range shapes(s) {
			for path, content := range files {
				if bytes.Contains(content, pattern) {
					t.Errorf("the seed (%s) stands in %s", shape, path)
				}
			}
		}
	}
}
