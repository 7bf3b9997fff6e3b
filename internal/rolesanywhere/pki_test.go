package rolesanywhere_test

import (
	"bytes"
	"cmp"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// holder is who has a certificate and its private key.
type holder struct {
	cert *x509.Certificate
	key  crypto.Signer
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func newP256() crypto.Signer { return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) }

// issue issues a certificate for a key; with a nil issuer it is self-signed.
func issue(issuer *holder, key crypto.Signer, template *x509.Certificate) *holder {
	from := &holder{template, key}
	if issuer != nil {
		from = issuer
	}
	der := must(x509.CreateCertificate(rand.Reader, template, from.cert, key.Public(), from.key))
	return &holder{must(x509.ParseCertificate(der)), key}
}

// authority is the template of a certificate authority that is valid around now.
func authority(name string, now time.Time) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(100 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, MaxPathLen: -1,
	}
}

// workload is the template of a certificate that can sign requests.
func workload(serial int64, now time.Time) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(serial), NotBefore: now.Add(-time.Hour), NotAfter: now.Add(10 * time.Hour),
		Subject:               pkix.Name{CommonName: "billing.example", Organization: []string{"Example"}, OrganizationalUnit: []string{"Payments"}},
		DNSNames:              []string{"billing.example", "other.example"},
		URIs:                  []*url.URL{{Scheme: "spiffe", Host: "example", Path: "/billing"}},
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
}

// crl is a revocation list of an issuer.
func crl(issuer *holder, now, next time.Time, serials ...int64) []byte {
	l := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: now, NextUpdate: next}
	for _, n := range serials {
		l.RevokedCertificateEntries = append(l.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: big.NewInt(n), RevocationTime: now})
	}
	return pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: must(x509.CreateRevocationList(rand.Reader, l, issuer.cert, issuer.key))})
}

func bundle(list ...*holder) []byte {
	var b bytes.Buffer
	for _, h := range list {
		must(0, pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: h.cert.Raw}))
	}
	return b.Bytes()
}

// replace puts another file in the place of one, in one step.
func replace(t *testing.T, path string, text []byte) {
	t.Helper()
	if err := os.WriteFile(path+".new", text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// A request is one to CreateSession. It is signed without any code of the
// server's, from the description of the signing process.
type request struct {
	who     *holder
	chain   []*holder
	at      time.Time
	query   url.Values
	body    string
	region  string // default: eu-central-1
	service string // default: rolesanywhere
	serial  string // default: the certificate's, in decimal
	with    string // algorithm; default: the key's
	signer  crypto.Signer
	tamper  func(r *http.Request)
}

func (q *request) sign(endpoint string) *http.Request {
	r := must(http.NewRequest(http.MethodPost, endpoint+"/sessions", strings.NewReader(q.body)))
	r.URL.RawQuery = q.query.Encode()
	stamp := q.at.UTC().Format("20060102T150405Z")
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-Amz-Date", stamp)
	r.Header.Set("X-Amz-X509", base64.StdEncoding.EncodeToString(q.who.cert.Raw))
	var chain []string
	for _, c := range q.chain {
		chain = append(chain, base64.StdEncoding.EncodeToString(c.cert.Raw))
	}
	if chain != nil {
		r.Header.Set("X-Amz-X509-Chain", strings.Join(chain, ","))
	}
	names := []string{"host"}
	for name := range r.Header {
		names = append(names, strings.ToLower(name))
	}
	slices.Sort(names)
	canonical := "POST\n/sessions\n" + strings.ReplaceAll(q.query.Encode(), "+", "%20") + "\n"
	for _, name := range names {
		value := r.Header.Get(name)
		if name == "host" {
			value = r.URL.Host
		}
		canonical += name + ":" + value + "\n"
	}
	hash := func(s string) string {
		sum := sha256.Sum256([]byte(s))
		return hex.EncodeToString(sum[:])
	}
	canonical += "\n" + strings.Join(names, ";") + "\n" + hash(q.body)
	key := q.signer
	if key == nil {
		key = q.who.key
	}
	algorithm := "AWS4-X509-ECDSA-SHA256"
	if _, ok := key.(*rsa.PrivateKey); ok {
		algorithm = "AWS4-X509-RSA-SHA256"
	}
	algorithm = cmp.Or(q.with, algorithm)
	scope := stamp[:8] + "/" + cmp.Or(q.region, "eu-central-1") + "/" + cmp.Or(q.service, "rolesanywhere") + "/aws4_request"
	digest := sha256.Sum256([]byte(algorithm + "\n" + stamp + "\n" + scope + "\n" + hash(canonical)))
	signature := must(key.Sign(rand.Reader, digest[:], crypto.SHA256))
	r.Header.Set("Authorization", algorithm+" Credential="+cmp.Or(q.serial, q.who.cert.SerialNumber.String())+"/"+scope+
		", SignedHeaders="+strings.Join(names, ";")+", Signature="+hex.EncodeToString(signature))
	if q.tamper != nil {
		q.tamper(r)
	}
	return r
}

// An answer is that of CreateSession, or an error.
type answer struct {
	Status        int `json:"-"`
	CredentialSet []struct {
		AssumedRoleUser  struct{ ARN, AssumedRoleID string }
		Credentials      struct{ AccessKeyID, SecretAccessKey, SessionToken, Expiration string }
		PackedPolicySize *int
		RoleARN          string
		SourceIdentity   string
	}
	SubjectARN string
	Type       string `json:"__type"`
	Message    string
	Header     http.Header `json:"-"`
}

func (q *request) send(endpoint string) answer {
	res := must(http.DefaultClient.Do(q.sign(endpoint)))
	defer res.Body.Close()
	text := must(io.ReadAll(res.Body))
	var a answer
	must(0, json.Unmarshal(text, &a))
	a.Status, a.Header = res.StatusCode, res.Header
	return a
}
