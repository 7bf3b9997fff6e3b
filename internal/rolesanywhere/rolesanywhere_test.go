package rolesanywhere_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/authz"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/config"
	"github.com/keyreeve/keyreeve/internal/identity"
	"github.com/keyreeve/keyreeve/internal/record"
	"github.com/keyreeve/keyreeve/internal/rolesanywhere"
	"github.com/keyreeve/keyreeve/internal/seal"
	"github.com/keyreeve/keyreeve/internal/server"
	"github.com/keyreeve/keyreeve/internal/store"
)

const (
	ours      = "111122223333"
	theirs    = "444455556666"
	anchorARN = "arn:aws:rolesanywhere:eu-central-1:111122223333:trust-anchor/fleet"
	otherARN  = "arn:aws:rolesanywhere:eu-central-1:444455556666:trust-anchor/fleet"
	profile   = "arn:aws:rolesanywhere:eu-central-1:111122223333:profile/apps"
	named     = "arn:aws:rolesanywhere:eu-central-1:111122223333:profile/named"
	foreign   = "arn:aws:rolesanywhere:eu-central-1:444455556666:profile/apps"
	roleARN   = "arn:aws:iam::111122223333:role/app"
)

// world is CreateSession over HTTP, on a real directory.
type world struct {
	t                *testing.T
	dir              *identity.Directory
	url              string
	dirPath, ca, crl string

	root, other *holder // authorities: of our trust anchor, and of theirs

	mu    sync.Mutex
	now   time.Time
	calls []*call.Call
	log   logged
}

// logged is the log of a node, as text.
type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) advance(by time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(by)
}

// Err implements [server.Recorder].
func (w *world) Err() error { return nil }

// Append implements [server.Recorder].
func (w *world) Append(c *call.Call) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls = append(w.calls, c)
	return nil
}

// recorded returns the calls that were recorded since it was asked last.
func (w *world) recorded() []*call.Call {
	w.mu.Lock()
	defer w.mu.Unlock()
	calls := w.calls
	w.calls = nil
	return calls
}

const trusting = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"rolesanywhere.amazonaws.com"},
	"Action":["sts:AssumeRole","sts:TagSession","sts:SetSourceIdentity"],"Condition":%s}]}`

func newWorld(t *testing.T) *world {
	t.Helper()
	ctx := context.Background()
	w := &world{t: t, now: time.Now().UTC().Truncate(time.Second), dirPath: t.TempDir()}
	w.root = issue(nil, newP256(), authority("Fleet", w.now))
	w.other = issue(nil, newP256(), authority("Other", w.now))
	w.ca, w.crl = filepath.Join(w.dirPath, "ca.pem"), filepath.Join(w.dirPath, "crl.pem")
	otherCA := filepath.Join(w.dirPath, "other.pem")
	replace(t, w.ca, bundle(w.root))
	replace(t, otherCA, bundle(w.other))
	replace(t, w.crl, crl(w.root, w.now, w.now.Add(50*time.Hour), 666))

	st := store.NewMem()
	box := must(seal.Open(ctx, st, seal.Options{Provider: seal.Memory(), Now: w.clock}))
	records := must(record.Open(ctx, st, box, record.Options{Now: w.clock}))
	w.dir = identity.Open(records, identity.Options{Now: w.clock, OptIn: []string{"eu-central-1"}})
	for _, id := range []string{ours, theirs} {
		must(w.dir.CreateAccount(ctx, identity.Account{ID: id, Name: "of " + id}))
		if err := w.dir.EnableRegion(ctx, id, "eu-central-1"); err != nil {
			t.Fatal(err)
		}
	}
	w.role("app", `{"Version":"2012-10-17","Statement":[
		{"Effect":"Allow","Principal":{"Service":"rolesanywhere.amazonaws.com"},"Action":["sts:AssumeRole","sts:TagSession"],"Condition":{
			"ArnEquals":{"aws:SourceArn":"`+anchorARN+`"},
			"StringEquals":{"aws:SourceAccount":"`+ours+`","aws:PrincipalTag/x509Subject/CN":"billing.example","aws:RequestTag/x509Subject/OU":"Payments"},
			"ForAnyValue:StringEquals":{"aws:TagKeys":"x509Issuer/CN"}}},
		{"Effect":"Allow","Principal":{"Service":"rolesanywhere.amazonaws.com"},"Action":"sts:SetSourceIdentity","Condition":{
			"ArnEquals":{"aws:SourceArn":"`+anchorARN+`"},"StringEquals":{"sts:SourceIdentity":"billing.example"}}}]}`)
	w.role("unlisted", fmt.Sprintf(trusting, `{}`))
	w.role("elsewhere", fmt.Sprintf(trusting, `{"ArnEquals":{"aws:SourceArn":"`+otherARN+`"}}`))
	w.role("another", fmt.Sprintf(trusting, `{"StringEquals":{"aws:PrincipalTag/x509Subject/CN":"shipping.example"}}`))
	w.role("untagged", strings.Replace(fmt.Sprintf(trusting, `{}`), `"sts:TagSession",`, "", 1))
	w.role("anonymous", strings.Replace(fmt.Sprintf(trusting, `{}`), `,"sts:SetSourceIdentity"`, "", 1))
	w.role("root", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"`+ours+`"},"Action":"sts:*"}]}`)
	w.role("any", fmt.Sprintf(trusting, `{}`))

	var roles []string
	for _, name := range []string{"app", "elsewhere", "another", "untagged", "anonymous", "root", "any", "missing"} {
		roles = append(roles, "arn:aws:iam::"+ours+":role/"+name)
	}
	c := &config.Config{Certificates: config.Certificates{
		TrustAnchors: []config.TrustAnchor{{ARN: anchorARN, CA: w.ca, CRL: w.crl}, {ARN: otherARN, CA: otherCA}},
		Profiles: []config.Profile{
			{ARN: profile, Roles: roles, SessionPolicy: `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"kms:Decrypt","Resource":"*"}}`},
			{ARN: named, Roles: roles, AcceptSessionName: true, Duration: 2 * time.Hour},
			{ARN: foreign, Roles: []string{"arn:aws:iam::" + theirs + ":role/app"}},
		},
	}}
	c.SetDefaults()
	if err := c.Check(); err != nil {
		t.Fatal(err)
	}
	trust := must(rolesanywhere.Open(&c.Certificates, rolesanywhere.Options{Now: w.clock, Log: slog.New(slog.NewTextHandler(&w.log, nil))}))
	service := rolesanywhere.New(trust, w.dir, authz.New(w.dir))
	s := must(server.New(server.Config{Regions: []string{"eu-central-1", "us-east-1"}, Now: w.clock}))
	if err := s.Unseal(server.Backend{
		Services: []server.Service{{
			Name: rolesanywhere.SigningName, Protocol: server.REST, Paths: rolesanywhere.Paths(), Operations: service.Operations(),
			Certificates: service, MaxBody: rolesanywhere.MaxBody, ReadOnly: rolesanywhere.ReadOnly,
		}},
		Credentials: w.dir, Audit: w,
	}); err != nil {
		t.Fatal(err)
	}
	listener := httptest.NewServer(s)
	w.url = listener.URL
	t.Cleanup(func() {
		listener.Close()
		_ = records.Close()
		_ = st.Close()
	})
	return w
}

func (w *world) role(name, trust string) {
	w.t.Helper()
	must(w.dir.CreateRole(context.Background(), identity.Role{Account: ours, Name: name, Trust: trust, Policies: []string{call.AdministratorAccess}}))
}

func query(more ...string) url.Values {
	q := url.Values{"trustAnchorArn": {anchorARN}, "profileArn": {profile}, "roleArn": {roleARN}}
	for i := 0; i < len(more); i += 2 {
		if q.Set(more[i], more[i+1]); more[i+1] == "" {
			q.Del(more[i])
		}
	}
	return q
}

// request is one that succeeds.
func (w *world) request() *request {
	return &request{who: issue(w.root, newP256(), workload(0xabc, w.now)), at: w.clock(), query: query(), body: `{"durationSeconds":900}`}
}

func TestCreateSession(t *testing.T) {
	w := newWorld(t)
	a := w.request().send(w.url)
	if a.Status != http.StatusCreated || len(a.CredentialSet) != 1 {
		t.Fatalf("answer %+v", a)
	}
	got := a.CredentialSet[0]
	if want := "arn:aws:sts::111122223333:assumed-role/app/0abc"; got.AssumedRoleUser.ARN != want {
		t.Errorf("session %s, want %s", got.AssumedRoleUser.ARN, want)
	}
	if got.RoleARN != roleARN || got.SourceIdentity != "billing.example" || got.PackedPolicySize == nil || *got.PackedPolicySize == 0 {
		t.Errorf("credential set %+v", got)
	}
	if want := w.now.Add(15 * time.Minute).Format(time.RFC3339); got.Credentials.Expiration != want {
		t.Errorf("expires %s, want %s", got.Credentials.Expiration, want)
	}
	if !strings.HasPrefix(a.SubjectARN, "arn:aws:rolesanywhere:eu-central-1:111122223333:subject/") {
		t.Errorf("subject %s", a.SubjectARN)
	}
	p, _, err := w.dir.Credential(t.Context(), got.Credentials.AccessKeyID, got.Credentials.SessionToken)
	if err != nil {
		t.Fatal(err)
	}
	tags := map[string]string{}
	for _, tag := range p.Tags {
		tags[tag.Name] = tag.Value
	}
	for name, want := range map[string]string{
		"x509Subject/CN": "billing.example", "x509Subject/O": "Example", "x509Subject/OU": "Payments", "x509Issuer/CN": "Fleet",
		"x509SAN/DNS": "billing.example", "x509SAN/URI": "spiffe://example/billing",
	} {
		if tags[name] != want {
			t.Errorf("tag %s = %q, want %q", name, tags[name], want)
		}
	}
	if p.Session.SourceIdentity != "billing.example" || p.Session.Chained || !p.Policies.Limited || p.EntityARN != roleARN {
		t.Errorf("principal %+v, session %+v", p, p.Session)
	}

	calls := w.recorded()
	if len(calls) != 1 {
		t.Fatalf("%d calls are on record", len(calls))
	}
	c := calls[0]
	shown := string(c.Elements.AppendAudit(c.Parameters.AppendAudit(nil)))
	for _, secret := range []string{got.Credentials.SecretAccessKey, got.Credentials.SessionToken} {
		if secret == "" || strings.Contains(shown, secret) {
			t.Errorf("the record shows %q", secret)
		}
	}
	for _, want := range []string{got.Credentials.AccessKeyID, anchorARN, profile, roleARN, `"durationSeconds":900`} {
		if !strings.Contains(shown, want) {
			t.Errorf("the record %s does not show %s", shown, want)
		}
	}
	if text := fmt.Sprint(c.Additional); text != "[{x509SerialNumber 0abc} {x509Subject CN=billing.example,OU=Payments,O=Example}]" {
		t.Errorf("additional %s", text)
	}
}

// What is asked for may be in the query or in the body, keys of several kinds
// sign, and others may stand between the certificate and the authority.
func TestAccepted(t *testing.T) {
	w := newWorld(t)
	middle := issue(w.root, newP256(), authority("Middle", w.now))
	plain := workload(0xabc, w.now)
	plain.ExtKeyUsage = nil
	in := `{"trustAnchorArn":"` + anchorARN + `","profileArn":"` + profile + `","roleArn":"` + roleARN + `","instanceProperties":{"a":"b"}}`
	for name, change := range map[string]func(q *request){
		"as it is":         func(*request) {},
		"in the body":      func(q *request) { q.query, q.body = nil, in },
		"without body":     func(q *request) { q.body = "" },
		"in both":          func(q *request) { q.body = in },
		"all in the query": func(q *request) { q.body = "{}"; q.query = query("durationSeconds", "1000") },
		"RSA": func(q *request) {
			q.who = issue(w.root, must(rsa.GenerateKey(rand.Reader, 2048)), workload(0xabc, w.now))
		},
		"P-384": func(q *request) {
			q.who = issue(w.root, must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader)), workload(0xabc, w.now))
		},
		"P-521": func(q *request) {
			q.who = issue(w.root, must(ecdsa.GenerateKey(elliptic.P521(), rand.Reader)), workload(0xabc, w.now))
		},
		"a chain": func(q *request) { q.who, q.chain = issue(middle, newP256(), workload(0xabc, w.now)), []*holder{middle} },
		"its root, too": func(q *request) {
			q.who, q.chain = issue(middle, newP256(), workload(0xabc, w.now)), []*holder{w.root, middle}
		},
		"any use":               func(q *request) { q.who = issue(w.root, newP256(), plain) },
		"five minutes":          func(q *request) { q.at = q.at.Add(-5 * time.Minute) },
		"a long session is cut": func(q *request) { q.body = `{"durationSeconds":43200}` },
		"a name":                func(q *request) { q.query = query("profileArn", named, "roleSessionName", "me@host") },
	} {
		q := w.request()
		change(q)
		if a := q.send(w.url); a.Status != http.StatusCreated {
			t.Errorf("%s: %d %s %s", name, a.Status, a.Type, a.Message)
		}
	}
}

func TestRefused(t *testing.T) {
	w := newWorld(t)
	alter := func(change func(c *x509.Certificate)) func(q *request) {
		return func(q *request) {
			c := workload(0xabc, w.now)
			change(c)
			q.who = issue(w.root, newP256(), c)
		}
	}
	with := func(key crypto.Signer) func(q *request) {
		return func(q *request) { q.who = issue(w.root, key, workload(0xabc, w.now)) }
	}
	role := func(name string) func(q *request) {
		return func(q *request) { q.query = query("roleArn", "arn:aws:iam::"+ours+":role/"+name) }
	}
	narrow := authority("Narrow", w.now)
	narrow.MaxPathLen, narrow.MaxPathLenZero = 0, true
	first := issue(w.root, newP256(), narrow)
	second := issue(first, newP256(), authority("Below narrow", w.now))
	late := authority("Late", w.now)
	late.NotAfter = w.now.Add(-time.Minute)
	expired := issue(w.root, newP256(), late)
	weak := issue(w.root, must(rsa.GenerateKey(rand.Reader, 2048)), authority("Weak", w.now))
	_, ed, _ := ed25519.GenerateKey(rand.Reader)
	revokedCA := authority("Revoked", w.now)
	revokedCA.SerialNumber = big.NewInt(666)
	revoked := issue(w.root, newP256(), revokedCA)
	impostor := issue(nil, newP256(), authority("Fleet", w.now)) // the same name, another key
	const (
		untrusted    = "AccessDeniedException: Untrusted signing certificate"
		insufficient = "AccessDeniedException: Untrusted certificate. Insufficient certificate"
		signature    = "AccessDeniedException: Invalid signature"
		unable       = "AccessDeniedException: Unable to assume role for "
	)
	for _, test := range []struct {
		name   string
		change func(q *request)
		status int
		want   string
		call   bool // it is on record
	}{
		// Who signs.
		{"another CA", func(q *request) { q.who = issue(w.other, newP256(), workload(1, w.now)) }, 403, untrusted, false},
		{"a CA of the same name", func(q *request) { q.who = issue(impostor, newP256(), workload(1, w.now)) }, 403, untrusted, false},
		{"a CA that comes along", func(q *request) { q.who, q.chain = issue(w.other, newP256(), workload(1, w.now)), []*holder{w.other} }, 403, untrusted, false},
		{"self-signed", func(q *request) { q.who = issue(nil, newP256(), workload(1, w.now)) }, 403, untrusted, false},
		{"expired", alter(func(c *x509.Certificate) { c.NotAfter = w.now.Add(-time.Second) }), 403, untrusted, false},
		{"not yet valid", alter(func(c *x509.Certificate) { c.NotBefore = w.now.Add(time.Second) }), 403, untrusted, false},
		{"revoked", alter(func(c *x509.Certificate) { c.SerialNumber = big.NewInt(666) }), 403, untrusted, false},
		{"by a revoked CA", func(q *request) { q.who, q.chain = issue(revoked, newP256(), workload(1, w.now)), []*holder{revoked} }, 403, untrusted, false},
		{"by an expired CA", func(q *request) { q.who, q.chain = issue(expired, newP256(), workload(1, w.now)), []*holder{expired} }, 403, untrusted, false},
		{"by a CA that may not certify CAs", func(q *request) {
			q.who, q.chain = issue(second, newP256(), workload(1, w.now)), []*holder{second, first}
		}, 403, untrusted, false},
		{"by no CA", func(q *request) {
			leaf := issue(w.root, newP256(), workload(1, w.now))
			q.who, q.chain = issue(leaf, newP256(), workload(2, w.now)), []*holder{leaf}
		}, 403, untrusted, false},
		{"the chain is missing", func(q *request) { q.who = issue(first, newP256(), workload(1, w.now)) }, 403, untrusted, false},
		{"a CA's own", func(q *request) { q.who = w.root }, 403, insufficient, false},
		{"a CA below", func(q *request) { q.who = first }, 403, insufficient, false},
		{"no basic constraints", alter(func(c *x509.Certificate) { c.BasicConstraintsValid = false }), 403, insufficient, false},
		{"no key usage", alter(func(c *x509.Certificate) { c.KeyUsage = 0 }), 403, insufficient, false},
		{"only key encipherment", alter(func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyEncipherment }), 403, insufficient, false},
		{"of a server", alter(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }), 403, untrusted, false},
		{"an unknown critical extension", alter(func(c *x509.Certificate) {
			c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3}, Critical: true, Value: []byte{5, 0}}}
		}), 403, untrusted, false},
		{"RSA of 1,024 bits", with(must(weakRSA())), 403, insufficient, false},
		{"P-224", with(must(ecdsa.GenerateKey(elliptic.P224(), rand.Reader))), 403, insufficient, false},
		{"Ed25519", func(q *request) { q.who = issue(w.root, ed, workload(1, w.now)); q.signer = newP256() }, 403, insufficient, false},
		{"SHA-1", func(q *request) { q.who = sha1Signed(issue(weak, newP256(), workload(1, w.now))) }, 403, insufficient, false},

		// What was signed.
		{"another key", func(q *request) { q.signer = newP256() }, 403, signature, false},
		{"another kind of key", func(q *request) { q.signer = must(rsa.GenerateKey(rand.Reader, 2048)) }, 403, signature, false},
		{"the other algorithm", func(q *request) { q.with = "AWS4-X509-RSA-SHA256" }, 403, signature, false},
		{"another body", func(q *request) { q.tamper = body(`{"durationSeconds":901}`) }, 403, signature, false},
		{"another query", func(q *request) {
			q.tamper = func(r *http.Request) { r.URL.RawQuery = query("roleArn", "arn:aws:iam::"+ours+":role/any").Encode() }
		}, 403, signature, false},
		{"another date", func(q *request) { q.tamper = header("X-Amz-Date", w.now.Add(time.Second).Format("20060102T150405Z")) }, 403, signature, false},
		{"another certificate of the same number", func(q *request) {
			q.tamper = header("X-Amz-X509", base64.StdEncoding.EncodeToString(issue(w.root, newP256(), workload(0xabc, w.now)).cert.Raw))
		}, 403, signature, false},
		{"a chain that is not signed", func(q *request) {
			q.tamper = header("X-Amz-X509-Chain", base64.StdEncoding.EncodeToString(first.cert.Raw))
		}, 403, "IncompleteSignatureException: 'X-Amz-X509-Chain'", false},
		{"no signature", func(q *request) { q.tamper = cut(", Signature=") }, 403, "IncompleteSignatureException", false},
		{"an odd signature", func(q *request) { q.tamper = more("f") }, 403, signature, false},
		{"a long signature", func(q *request) { q.tamper = more(strings.Repeat("00", 1000)) }, 403, signature, false},
		{"another serial number", func(q *request) { q.serial = "1" }, 403, "InvalidSignatureException: Credential should name", false},
		{"no certificate", func(q *request) { q.tamper = header("X-Amz-X509", "") }, 403, "IncompleteSignatureException", false},
		{"no Base64", func(q *request) { q.tamper = header("X-Amz-X509", "MII!") }, 403, insufficient, false},
		{"a huge certificate", func(q *request) { q.tamper = header("X-Amz-X509", strings.Repeat("MIIB", 4000)) }, 403, insufficient, false},
		{"a long chain", func(q *request) { q.chain = []*holder{first, first, first, first, first, first} }, 403, insufficient, false},
		{"an access key", func(q *request) { q.with = "AWS4-HMAC-SHA256" }, 403, "IncompleteSignatureException: Unsupported AWS 'algorithm'", false},
		{"nothing", func(q *request) { q.tamper = func(r *http.Request) { r.Header.Del("Authorization") } }, 403, "MissingAuthenticationTokenException", false},

		// When, and for where.
		{"replayed too late", func(q *request) { q.at = q.at.Add(-5*time.Minute - time.Second) }, 403, "InvalidSignatureException: Signature expired", false},
		{"signed too early", func(q *request) { q.at = q.at.Add(5*time.Minute + time.Second) }, 403, "InvalidSignatureException: Signature not yet current", false},
		{"another Region", func(q *request) { q.region = "us-east-1" }, 403, untrusted, false},
		{"an unknown Region", func(q *request) { q.region = "mars-north-1" }, 403, "InvalidSignatureException", false},
		{"another service", func(q *request) { q.service = "sts" }, 403, "InvalidSignatureException", false},

		// What is asked for.
		{"an unknown anchor", func(q *request) { q.query = query("trustAnchorArn", anchorARN+"x") }, 403, untrusted, false},
		{"another's anchor", func(q *request) { q.query = query("trustAnchorArn", otherARN) }, 403, untrusted, false},
		{"no anchor", func(q *request) { q.query = query("trustAnchorArn", "") }, 400, "ValidationException", false},
		{"two anchors", func(q *request) { q.query["trustAnchorArn"] = []string{anchorARN, otherARN} }, 400, "ValidationException", false},
		{"another anchor in the body", func(q *request) { q.body = `{"trustAnchorArn":"` + otherARN + `"}` }, 400, "ValidationException", false},
		{"no JSON", func(q *request) { q.body = `{"durationSeconds":` }, 400, "SerializationException", false},
		{"too short", func(q *request) { q.body = `{"durationSeconds":899}` }, 400, "ValidationException", false},
		{"too long", func(q *request) { q.body = `{"durationSeconds":43201}` }, 400, "ValidationException", false},
		{"a huge body", func(q *request) { q.body = `{"sessionName":"` + strings.Repeat("a", rolesanywhere.MaxBody) + `"}` }, 413, "RequestEntityTooLarge", false},
		{"an unknown profile", func(q *request) { q.query = query("profileArn", profile+"x") }, 404, "ResourceNotFoundException", true},
		{"another account's profile", func(q *request) { q.query = query("profileArn", foreign) }, 404, "ResourceNotFoundException", true},
		{"a name that is not accepted", func(q *request) { q.query = query("roleSessionName", "me@host") }, 400, "ValidationException", true},
		{"a long session of a role that has none", func(q *request) { q.query = query("profileArn", named); q.body = `{"durationSeconds":7200}` }, 400, "ValidationException: The requested DurationSeconds exceeds", true},

		// Whom the role trusts.
		{"a role that is not in the profile", role("unlisted"), 403, unable, true},
		{"a role that is not there", role("missing"), 403, unable, true},
		{"a role of another account", func(q *request) { q.query = query("roleArn", "arn:aws:iam::"+theirs+":role/app") }, 403, unable, true},
		{"a role that trusts another anchor", role("elsewhere"), 403, unable, true},
		{"a role that trusts another subject", role("another"), 403, unable, true},
		{"a role without sts:TagSession", role("untagged"), 403, unable, true},
		{"a role without sts:SetSourceIdentity", role("anonymous"), 403, unable, true},
		{"a role that trusts its account", role("root"), 403, unable, true},
		{
			"what cannot be a tag", alter(func(c *x509.Certificate) { c.Subject.CommonName = "billing (example)" }), 403,
			unable + roleARN + ". Some attributes failed to be mapped into session tags. Issuer: [  ]; Subject: [ CN ]; SAN: [  ]", true,
		},
	} {
		q := w.request()
		test.change(q)
		a := q.send(w.url)
		if got := a.Type + ": " + a.Message; a.Status != test.status || !strings.HasPrefix(got, test.want) {
			t.Errorf("%s: %d %s, want %d %s", test.name, a.Status, got, test.status, test.want)
		}
		if a.Header.Get("X-Amzn-Errortype") != a.Type {
			t.Errorf("%s: header %q, type %q", test.name, a.Header.Get("X-Amzn-Errortype"), a.Type)
		}
		calls := w.recorded()
		if on := len(calls) == 1; on != test.call {
			t.Errorf("%s: %d calls are on record", test.name, len(calls))
		} else if on && test.status == 403 && !strings.HasPrefix(calls[0].DecisionText, "denied: ") {
			t.Errorf("%s: decision %q", test.name, calls[0].DecisionText)
		}
	}
}

// weakRSA makes a key that is too short.
func weakRSA() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 1024) }

// sha1Signed makes a certificate say that it is signed with SHA-1, which nobody
// does any more: it was signed with SHA-256 and RSA, whose identifier is as long.
func sha1Signed(h *holder) *holder {
	prefix := []byte{0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1}
	der := bytes.ReplaceAll(h.cert.Raw, append(prefix[:8:8], 11), append(prefix[:8:8], 5))
	return &holder{must(x509.ParseCertificate(der)), h.key}
}

func header(name, value string) func(*http.Request) {
	return func(r *http.Request) {
		if r.Header.Set(name, value); value == "" {
			r.Header.Del(name)
		}
	}
}

func body(text string) func(*http.Request) {
	return func(r *http.Request) {
		other := must(http.NewRequest(http.MethodPost, r.URL.String(), strings.NewReader(text)))
		r.Body, r.ContentLength, r.GetBody = other.Body, other.ContentLength, other.GetBody
	}
}

func cut(at string) func(*http.Request) {
	return func(r *http.Request) {
		before, _, _ := strings.Cut(r.Header.Get("Authorization"), at)
		r.Header.Set("Authorization", before)
	}
}

func more(text string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set("Authorization", r.Header.Get("Authorization")+text) }
}

// The files of a trust anchor are read again when they change. What is broken
// changes nothing.
func TestFilesChange(t *testing.T) {
	w := newWorld(t)
	q := w.request()
	send := func(what string, want int) {
		t.Helper()
		w.advance(2 * time.Second)
		q.at = w.clock()
		if a := q.send(w.url); a.Status != want {
			t.Errorf("%s: %d %s %s, want %d", what, a.Status, a.Type, a.Message, want)
		}
	}
	send("at first", 201)
	replace(t, w.crl, crl(w.root, w.now, w.now.Add(50*time.Hour), 666, 0xabc))
	send("revoked", 403)
	replace(t, w.crl, []byte("broken"))
	send("a broken list", 403)
	replace(t, w.crl, crl(w.other, w.now, w.now.Add(50*time.Hour)))
	send("a list of another issuer", 201)
	replace(t, w.crl, crl(w.root, w.now, w.now.Add(time.Minute)))
	send("not revoked", 201)
	w.advance(time.Minute)
	send("the list is out of date", 403)
	replace(t, w.crl, crl(w.root, w.now, w.now.Add(50*time.Hour)))
	send("a new list", 201)
	replace(t, w.ca, bundle(w.other))
	send("another CA", 403)
	replace(t, w.ca, bundle(w.other, w.root))
	send("both", 201)
	if err := os.Remove(w.ca); err != nil {
		t.Fatal(err)
	}
	send("no file", 201)
}

// Lists of other issuers than the trust anchor count for what those have
// certified.
func TestListOfAnotherIssuer(t *testing.T) {
	w := newWorld(t)
	middle := issue(w.root, newP256(), authority("Middle", w.now))
	impostor := issue(nil, newP256(), authority("Middle", w.now))
	// The same name and key, in a certificate that may not sign lists; and a list
	// that has lost its signature.
	template := authority("Middle", w.now)
	template.KeyUsage = x509.KeyUsageCertSign
	unfit := issue(w.root, middle.key, template)
	broken, _ := pem.Decode(crl(middle, w.now, w.now.Add(time.Hour)))
	broken.Bytes[len(broken.Bytes)-1] ^= 1
	q := w.request()
	q.who, q.chain = issue(middle, newP256(), workload(7, w.now)), []*holder{middle}
	for i, test := range []struct {
		lists [][]byte
		want  int
	}{
		{[][]byte{crl(w.root, w.now, w.now.Add(time.Hour), 7)}, 201},
		{[][]byte{crl(impostor, w.now, w.now.Add(time.Hour), 7)}, 201},
		{[][]byte{crl(w.root, w.now, w.now.Add(time.Hour)), crl(middle, w.now, w.now.Add(time.Hour), 7)}, 403},
		{[][]byte{crl(middle, w.now.Add(-2*time.Hour), w.now.Add(-time.Hour)), crl(middle, w.now, w.now.Add(time.Hour))}, 201},
		{[][]byte{crl(middle, w.now.Add(-2*time.Hour), w.now.Add(-time.Hour))}, 403},
		{[][]byte{crl(w.root, w.now, w.now.Add(time.Hour)), pem.EncodeToMemory(broken)}, 403},
		{[][]byte{crl(middle, w.now, w.now.Add(time.Hour), 8)}, 201},
	} {
		replace(t, w.crl, bytes.Join(test.lists, nil))
		w.advance(2 * time.Second)
		q.at = w.clock()
		if a := q.send(w.url); a.Status != test.want {
			t.Errorf("%d: %d %s, want %d", i, a.Status, a.Message, test.want)
		}
	}
	if log := w.log.String(); !strings.Contains(log, "the list of CN=Middle is not signed by it") || strings.Contains(log, "CRL signing") {
		t.Errorf("log: %s", log)
	}
	q.chain = []*holder{unfit}
	if a := q.send(w.url); a.Status != 403 {
		t.Errorf("with a list that its issuer may not sign: %d %s", a.Status, a.Message)
	}
	if log := w.log.String(); !strings.Contains(log, "the certificate of CN=Middle lacks the key usage CRL signing") {
		t.Errorf("log: %s", log)
	}
	q.chain = []*holder{unfit, middle} // there is a way without it
	if a := q.send(w.url); a.Status != 201 {
		t.Errorf("with both certificates of the issuer: %d %s", a.Status, a.Message)
	}
}

// A session is no longer than the certificate's profile allows, and is that of a
// role which may go, or change its mind about later ones.
func TestSessionEnds(t *testing.T) {
	w := newWorld(t)
	q := w.request()
	a := q.send(w.url)
	if a.Status != 201 {
		t.Fatal(a)
	}
	got := a.CredentialSet[0].Credentials
	w.advance(15*time.Minute - time.Second)
	if _, _, err := w.dir.Credential(t.Context(), got.AccessKeyID, got.SessionToken); err != nil {
		t.Error(err)
	}
	w.advance(time.Second)
	if _, _, err := w.dir.Credential(t.Context(), got.AccessKeyID, got.SessionToken); err == nil {
		t.Error("the session goes on")
	}
}

// Without a common name that can be a source identity, it is the serial number.
// In a Region that the account has not enabled, or not any more, nobody gets
// credentials, which would be good in all the others.
func TestDisabledRegion(t *testing.T) {
	w := newWorld(t)
	if a := w.request().send(w.url); a.Status != http.StatusCreated {
		t.Fatalf("enabled: %d %s %s", a.Status, a.Type, a.Message)
	}
	if err := w.dir.DisableRegion(t.Context(), ours, "eu-central-1"); err != nil {
		t.Fatal(err)
	}
	w.recorded()
	a := w.request().send(w.url)
	if a.Status != http.StatusForbidden || a.Message != "Unable to assume role for "+roleARN || len(a.CredentialSet) > 0 {
		t.Errorf("disabled: %d %s %q", a.Status, a.Type, a.Message)
	}
	calls := w.recorded()
	if len(calls) != 1 || calls[0].DecisionText != "denied: the role's account has not enabled the Region" {
		t.Errorf("on record are %d calls", len(calls))
	}
}

func TestSourceIdentity(t *testing.T) {
	w := newWorld(t)
	for cn, want := range map[string]string{"": "0abc", "x": "0abc", "two words": "0abc", "a/b": "0abc", "ok@example": "ok@example", strings.Repeat("n", 65): "0abc"} {
		c := workload(0xabc, w.now)
		c.Subject.CommonName = cn
		q := w.request()
		q.who, q.query = issue(w.root, newP256(), c), query("roleArn", "arn:aws:iam::"+ours+":role/any")
		if a := q.send(w.url); a.Status != 201 || a.CredentialSet[0].SourceIdentity != want {
			t.Errorf("%q: %+v, want %s", cn, a, want)
		}
	}
}

// The first directory name among the alternative names becomes tags.
func TestDirectoryName(t *testing.T) {
	w := newWorld(t)
	name := must(asn1.Marshal(pkix.Name{CommonName: "Alternative", Country: []string{"DE"}}.ToRDNSequence()))
	san := must(asn1.Marshal([]asn1.RawValue{
		{Class: asn1.ClassContextSpecific, Tag: 2, Bytes: []byte("first.example")},
		{Class: asn1.ClassContextSpecific, Tag: 4, IsCompound: true, Bytes: name},
	}))
	c := workload(0xabc, w.now)
	c.DNSNames, c.URIs = nil, nil
	c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: san}}
	q := w.request()
	q.who = issue(w.root, newP256(), c)
	a := q.send(w.url)
	if a.Status != 201 {
		t.Fatal(a)
	}
	got := a.CredentialSet[0].Credentials
	p, _, err := w.dir.Credential(t.Context(), got.AccessKeyID, got.SessionToken)
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprint(p.Tags)
	for _, want := range []string{"{x509SAN/DNS first.example}", "{x509SAN/Name/CN Alternative}", "{x509SAN/Name/C DE}"} {
		if !strings.Contains(text, want) {
			t.Errorf("tags %s lack %s", text, want)
		}
	}
}

// A mistake in the files keeps a node from starting.
func TestOpenRefuses(t *testing.T) {
	now := time.Now()
	root := issue(nil, newP256(), authority("Fleet", now))
	other := issue(nil, newP256(), authority("Fleet", now))
	leaf := issue(root, newP256(), workload(1, now))
	unfit := authority("No signing", now)
	unfit.KeyUsage = x509.KeyUsageCRLSign
	listless := authority("Fleet", now)
	listless.KeyUsage = x509.KeyUsageCertSign
	delta := &x509.RevocationList{
		Number: big.NewInt(1), ThisUpdate: now, NextUpdate: now.Add(time.Hour),
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 27}, Critical: true, Value: []byte{2, 1, 1}}},
	}
	key := must(x509.MarshalPKCS8PrivateKey(root.key))
	good, list := bundle(root), crl(root, now, now.Add(time.Hour))
	for _, test := range []struct {
		name, want string
		ca, crl    []byte
	}{
		{"good", "", good, list},
		{"text around", "", append([]byte("Subject: CN=Fleet\n"), good...), list},
		{"empty", "is not PEM", nil, list},
		{"no CA", "basic constraints", bundle(leaf), list},
		{"no certificate signing", "key usage", bundle(issue(nil, newP256(), unfit)), list},
		{"a weak key", "too weak", bundle(issue(nil, must(weakRSA()), authority("Weak", now))), list},
		{"a private key", "only \"CERTIFICATE\"", append(good[:len(good):len(good)], pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})...), list},
		{"cut", "broken", append(good[:len(good):len(good)], good[:len(good)/2]...), list},
		{"no list", "is not PEM", good, []byte("x")},
		{"a list of an impostor", "not signed by it", good, crl(other, now, now.Add(time.Hour))},
		{"a list whose issuer may sign none", "lacks the key usage CRL signing", bundle(issue(nil, root.key, listless)), list},
		{"a delta list", "not a complete list", good, pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: must(x509.CreateRevocationList(rand.Reader, delta, root.cert, root.key))})},
	} {
		dir := t.TempDir()
		ca, crl := filepath.Join(dir, "ca"), filepath.Join(dir, "crl")
		replace(t, ca, test.ca)
		replace(t, crl, test.crl)
		_, err := rolesanywhere.Open(&config.Certificates{TrustAnchors: []config.TrustAnchor{{ARN: anchorARN, CA: ca, CRL: crl}}}, rolesanywhere.Options{})
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.name, err, test.want)
		}
	}
	_, err := rolesanywhere.Open(&config.Certificates{Profiles: []config.Profile{{ARN: profile, SessionPolicy: "{"}}}, rolesanywhere.Options{})
	if err == nil {
		t.Error("a broken session policy is accepted")
	}
}
