package node_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"encoding/xml"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/node"
	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/internal/sigv4"
)

const issuerHost = "token.actions.githubusercontent.com"

// issuer is one like GitHub's, at another address.
type issuer struct {
	key     *rsa.PrivateKey
	kid     string
	address string
	ca      string // file
	asked   atomic.Int32
	mode    atomic.Value // how it answers: "", "redirect", "hang", "large"
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	is := &issuer{kid: "key-1"}
	is.mode.Store("")
	var err error
	if is.key, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
		t.Fatal(err)
	}
	signer, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: issuerHost}, DNSNames: []string{issuerHost},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &signer.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(is)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: signer}}}
	s.StartTLS()
	t.Cleanup(s.Close)
	is.address = s.Listener.Addr().String()
	is.ca = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(is.ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return is
}

func (is *issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	is.asked.Add(1)
	switch is.mode.Load() {
	case "redirect":
		http.Redirect(w, r, "https://127.0.0.1/", http.StatusFound)
		return
	case "hang":
		<-r.Context().Done()
		return
	case "large":
		_, _ = w.Write(make([]byte, 1<<20))
		return
	}
	w.Header().Set("Content-Type", "application/json")
	switch r.URL.Path {
	case "/.well-known/openid-configuration":
		_ = json.NewEncoder(w).Encode(object{"issuer": "https://" + issuerHost, "jwks_uri": "https://" + issuerHost + "/.well-known/jwks"})
	case "/.well-known/jwks":
		_ = json.NewEncoder(w).Encode(object{"keys": []object{{
			"kty": "RSA", "alg": "RS256", "use": "sig", "kid": is.kid,
			"n": base64.RawURLEncoding.EncodeToString(is.key.N.Bytes()), "e": "AQAB",
		}}})
	default:
		http.NotFound(w, r)
	}
}

// token makes a token with changed claims.
func (is *issuer) token(t *testing.T, change object) string {
	t.Helper()
	now := time.Now().Unix()
	claims := object{
		"iss": "https://" + issuerHost, "aud": "sts.amazonaws.com", "sub": "repo:octo/app:ref:refs/heads/main",
		"iat": now, "nbf": now - 5, "exp": now + 300, "repository": "octo/app", "actor": "mona",
	}
	for name, v := range change {
		claims[name] = v
	}
	part := func(v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(b)
	}
	text := part(object{"alg": "RS256", "typ": "JWT", "kid": is.kid}) + "." + part(claims)
	sum := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(rand.Reader, is.key, crypto.SHA256, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(signature)
}

// trusts lets a node ask the issuer.
func (is *issuer) trusts(c *node.Config) {
	c.Outbound.Allow = []string{issuerHost}
	c.Outbound.Resolve = []string{issuerHost + ":443=" + is.address}
	c.Outbound.TrustedCA = is.ca
}

// webIdentity is what AssumeRoleWithWebIdentity answers.
type webIdentity struct {
	Credentials struct{ AccessKeyID, SecretAccessKey, SessionToken string }
	Role        struct{ Arn string } `xml:"AssumedRoleUser"`
	Subject     string               `xml:"SubjectFromWebIdentityToken"`
	Provider    string
	Audience    string
	Source      string `xml:"SourceIdentity"`
}

// assume calls AssumeRoleWithWebIdentity, without a signature.
func (r *running) assume(t *testing.T, role, token string, more ...string) (webIdentity, string) {
	t.Helper()
	form := url.Values{
		"Action": {"AssumeRoleWithWebIdentity"}, "Version": {"2011-06-15"},
		"RoleArn": {role}, "RoleSessionName": {"ci"}, "WebIdentityToken": {token},
	}
	for i := 0; i < len(more); i += 2 {
		form.Set(more[i], more[i+1])
	}
	res, err := r.client.Post(r.Endpoint()+"/", "application/x-www-form-urlencoded", strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	var answer struct {
		Result webIdentity `xml:"AssumeRoleWithWebIdentityResult"`
		Error  struct{ Code, Message string }
	}
	if err := xml.Unmarshal([]byte(strings.ReplaceAll(string(text), "AccessKeyId", "AccessKeyID")), &answer); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	if res.StatusCode != http.StatusOK {
		return webIdentity{}, answer.Error.Code + ": " + answer.Error.Message
	}
	return answer.Result, ""
}

// TestWebIdentity: a workflow elsewhere becomes a role, and decrypts.
func TestWebIdentity(t *testing.T) {
	is := newIssuer(t)
	r := run(t, configure(t.TempDir(), is.trusts))
	administrator := r.creds
	provider := element(t, r.iam(t, "CreateOpenIDConnectProvider", "Url", "https://"+issuerHost, "ClientIDList.member.1", "sts.amazonaws.com"), "OpenIDConnectProviderArn")
	trust := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Federated":"` + provider + `"},
		"Action":["sts:AssumeRoleWithWebIdentity","sts:TagSession","sts:SetSourceIdentity"],"Condition":{
		"StringEquals":{"` + issuerHost + `:aud":"sts.amazonaws.com"},"StringLike":{"` + issuerHost + `:sub":"repo:octo/*:ref:refs/heads/main"}}}]}`
	role := element(t, r.iam(t, "CreateRole", "RoleName", "deploy", "AssumeRolePolicyDocument", trust), "Arn")
	other := element(t, r.iam(t, "CreateRole", "RoleName", "other", "AssumeRolePolicyDocument",
		strings.ReplaceAll(trust, provider, provider+"x")), "Arn")
	anyone := element(t, r.iam(t, "CreateRole", "RoleName", "anyone", "AssumeRolePolicyDocument",
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"`+role[len("arn:aws:iam::"):][:12]+`"},"Action":"sts:AssumeRoleWithWebIdentity"}]}`), "Arn")
	r.iam(t, "PutRolePolicy", "RoleName", "deploy", "PolicyName", "decrypt", "PolicyDocument",
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"kms:Decrypt","Resource":"*","Condition":{
		"StringEquals":{"aws:FederatedProvider":"`+provider+`","`+issuerHost+`:sub":"repo:octo/app:ref:refs/heads/main"}}}]}`)
	key := r.create(t, nil)
	sealed := str(r.must(t, "Encrypt", object{"KeyId": key, "Plaintext": "aGVsbG8="}), "CiphertextBlob")

	got, problem := r.assume(t, role, is.token(t, object{
		"https://aws.amazon.com/tags":            object{"principal_tags": object{"Team": []string{"red"}}, "transitive_tag_keys": []string{"Team"}},
		"https://aws.amazon.com/source_identity": "mona",
	}))
	if problem != "" {
		t.Fatal(problem)
	}
	if got.Subject != "repo:octo/app:ref:refs/heads/main" || got.Provider != provider || got.Audience != "sts.amazonaws.com" ||
		!strings.HasSuffix(got.Role.Arn, ":assumed-role/deploy/ci") || got.Source != "mona" {
		t.Errorf("%+v", got)
	}
	r.creds = sigv4.Credentials{
		AccessKeyID: got.Credentials.AccessKeyID, Token: got.Credentials.SessionToken,
		Key: sigv4.NewKey(secret.New([]byte(got.Credentials.SecretAccessKey))),
	}
	if text := str(r.must(t, "Decrypt", object{"CiphertextBlob": sealed}), "Plaintext"); text != "aGVsbG8=" {
		t.Errorf("decrypted %q", text)
	}
	r.refused(t, "Encrypt", object{"KeyId": key, "Plaintext": "aGVsbG8="}, "AccessDeniedException")
	r.creds = administrator

	const no = "AccessDenied: Not authorized to perform sts:AssumeRoleWithWebIdentity"
	evil := newIssuer(t)
	evil.kid = is.kid
	for _, c := range []struct{ name, role, token, want string }{
		{"another repository", role, is.token(t, object{"sub": "repo:evil/app:ref:refs/heads/main"}), no},
		{"the subject in another case", role, is.token(t, object{"sub": "repo:evil/app:ref:refs/heads/main", "Sub": "repo:octo/app:ref:refs/heads/main"}), no},
		{"another provider is trusted", other, is.token(t, nil), no},
		{"the account is trusted", anyone, is.token(t, nil), no},
		{"no such role", role + "x", is.token(t, nil), no},
		{"another audience", role, is.token(t, object{"aud": "https://github.com/octo"}), "InvalidIdentityToken: Incorrect token audience"},
		{"of several, issued to another", role, is.token(t, object{"aud": []string{"sts.amazonaws.com", "x"}, "azp": "x"}), "InvalidIdentityToken: Incorrect token audience"},
		{"expired", role, is.token(t, object{"exp": time.Now().Unix() - 1}), "ExpiredTokenException: Token expired: current date/time "},
		{"of tomorrow", role, is.token(t, object{"nbf": time.Now().Unix() + 86400}), "InvalidIdentityToken: The token is not valid yet."},
		{"another's key", role, evil.token(t, nil), "InvalidIdentityToken: The token's signature"},
		{"another issuer", role, is.token(t, object{"iss": "https://evil.example.com"}), "InvalidIdentityToken: No OpenIDConnect provider found in your account for https://evil.example.com"},
		{"not https", role, is.token(t, object{"iss": "http://" + issuerHost}), "InvalidIdentityToken: The issuer"},
		{"no token", role, "an access token", "InvalidIdentityToken: The ID Token provided is not a valid JWT."},
		{"another account", strings.Replace(role, role[13:25], "999988887777", 1), is.token(t, nil), "InvalidIdentityToken: No OpenIDConnect provider found"},
		{"no role", "arn:aws:iam::111122223333:user/deploy", is.token(t, nil), "ValidationError: "},
		{"tags of two values", role, is.token(t, object{"https://aws.amazon.com/tags": object{"principal_tags": object{"k": []string{"a", "b"}}}}), "InvalidIdentityToken: A session tag"},
		{"a reserved tag", role, is.token(t, object{"https://aws.amazon.com/tags": object{"principal_tags": object{"aws:k": []string{"a"}}}}), "InvalidParameterValue: "},
	} {
		if got, problem := r.assume(t, c.role, c.token); !strings.HasPrefix(problem, c.want) || problem == "" {
			t.Errorf("%s: %q, want %q; %+v", c.name, problem, c.want, got.Role)
		}
	}
	if _, problem := r.assume(t, role, is.token(t, nil), "DurationSeconds", "3601"); !strings.HasPrefix(problem, "ValidationError: The requested DurationSeconds exceeds the MaxSessionDuration") {
		t.Errorf("a long session: %s", problem)
	}
	if n := is.asked.Load(); n != 2 {
		t.Errorf("the issuer was asked %d times", n)
	}

	// Without a signature there is nothing else.
	for action, want := range map[string]string{
		"GetCallerIdentity": "MissingAuthenticationToken: Request is missing Authentication Token",
		"ListUsers":         "MissingAuthenticationToken: Request is missing Authentication Token",
		"":                  "MissingAuthenticationToken: Request is missing Authentication Token",
	} {
		if _, problem := r.assume(t, role, "x.y.z", "Action", action); problem != want {
			t.Errorf("%q: %s", action, problem)
		}
	}

	record := strings.Join(recorded(t, r.c.Data), "\n")
	for _, want := range []string{
		`{"type":"WebIdentityUser","principalId":"` + provider + `:sts.amazonaws.com:repo:octo/app:ref:refs/heads/main","userName":"repo:octo/app:ref:refs/heads/main","identityProvider":"` + provider + `"}`,
		`"webIdFederationData":{"federatedProvider":"` + provider + `","attributes":{}}`,
		`"errorCode":"AccessDenied","errorMessage":"Not authorized to perform sts:AssumeRoleWithWebIdentity"`,
		`"recipientAccountId":"` + role[13:25] + `"`,
	} {
		if !strings.Contains(record, want) {
			t.Errorf("no record has %s", want)
		}
	}
	told := record + contents(t, filepath.Join(r.c.Data, "audit", "security"))
	for _, secret := range []string{got.Credentials.SecretAccessKey, got.Credentials.SessionToken, "eyJ"} {
		if strings.Contains(told, secret) {
			t.Error("a secret is on record")
		}
	}
	// Who could not show who he is, is on none.
	if n := strings.Count(record, `"eventName":"AssumeRoleWithWebIdentity"`); n != 9 {
		t.Errorf("%d records of the operation", n)
	}
}

// TestIssuerMisbehaves: what an issuer does costs its own callers little.
func TestIssuerMisbehaves(t *testing.T) {
	// An issuer that failed is left alone for this long.
	const pause = 10 * time.Second
	for _, mode := range []string{"redirect", "large", "hang", "private", "not allowed"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			is := newIssuer(t)
			is.mode.Store(mode)
			r := run(t, configure(t.TempDir(), is.trusts, func(c *node.Config) {
				switch mode {
				case "private": // a name of the machine itself
					c.Outbound.Resolve, c.Outbound.Allow = nil, []string{"localhost"}
				case "not allowed":
					c.Outbound.Allow = nil
				}
			}))
			host := issuerHost
			if mode == "private" {
				host = "localhost"
			}
			provider := element(t, r.iam(t, "CreateOpenIDConnectProvider", "Url", "https://"+host, "ClientIDList.member.1", "sts.amazonaws.com"), "OpenIDConnectProviderArn")
			role := element(t, r.iam(t, "CreateRole", "RoleName", "deploy", "AssumeRolePolicyDocument",
				`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Federated":"`+provider+`"},"Action":"sts:AssumeRoleWithWebIdentity"}]}`), "Arn")
			token := is.token(t, object{"iss": "https://" + host})
			begun := time.Now()
			for range 20 {
				if _, problem := r.assume(t, role, token); !strings.HasPrefix(problem, "IDPCommunicationError: Couldn't retrieve verification key from your identity provider") {
					t.Errorf("answered %q", problem)
				}
			}
			if n, took := is.asked.Load(), time.Since(begun); int64(n) > 1+int64(took/pause) {
				t.Errorf("the issuer was asked %d times in %v", n, took)
			}
		})
	}
}
