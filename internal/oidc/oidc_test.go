package oidc_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/keyreeve/keyreeve/internal/oidc"
)

const url = "https://idp.example.com/tenant"

var now = time.Date(2026, 11, 22, 2, 0, 0, 0, time.UTC)

// Keys that are made once: RSA keys take long.
var (
	rsaKey   = must(rsa.GenerateKey(rand.Reader, 2048))
	otherRSA = must(rsa.GenerateKey(rand.Reader, 2048))
	ecKey    = must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	ec384Key = must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// issuers answer for some, without a network.
type issuers struct {
	mu    sync.Mutex
	docs  map[string]string
	asked map[string]int
	err   error
	wait  chan struct{} // nil: at once
}

func (is *issuers) GetJSON(ctx context.Context, from string, most int) ([]byte, error) {
	is.mu.Lock()
	is.asked[from]++
	text, ok := is.docs[from]
	err, wait := is.err, is.wait
	is.mu.Unlock()
	if wait != nil {
		select {
		case <-wait:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	switch {
	case err != nil:
		return nil, err
	case !ok:
		return nil, errors.New("not found")
	case len(text) > most:
		return nil, errors.New("too large")
	}
	return []byte(text), nil
}

func (is *issuers) set(from, text string) {
	is.mu.Lock()
	defer is.mu.Unlock()
	is.docs[from] = text
}

func (is *issuers) fail(err error) {
	is.mu.Lock()
	defer is.mu.Unlock()
	is.err = err
}

func (is *issuers) count() int {
	is.mu.Lock()
	defer is.mu.Unlock()
	return is.asked[url+"/keys"]
}

const discovery = url + "/.well-known/openid-configuration"

func newIssuers(keys ...jose.JSONWebKey) *issuers {
	is := &issuers{docs: map[string]string{}, asked: map[string]int{}}
	is.docs[discovery] = `{"issuer":"` + url + `","jwks_uri":"` + url + `/keys","more":[1]}`
	is.publish(keys...)
	return is
}

func (is *issuers) publish(keys ...jose.JSONWebKey) {
	is.set(url+"/keys", string(must(json.Marshal(jose.JSONWebKeySet{Keys: keys}))))
}

func public(id string, key any, more ...string) jose.JSONWebKey {
	k := jose.JSONWebKey{KeyID: id, Key: key}
	for _, m := range more {
		if m == "sig" || m == "enc" {
			k.Use = m
		} else {
			k.Algorithm = m
		}
	}
	return k
}

func encode(v any) string { return base64.RawURLEncoding.EncodeToString(must(json.Marshal(v))) }

type object = map[string]any

func claims(change ...object) object {
	c := object{
		"iss": url, "sub": "repo:octo/repo:ref:refs/heads/main", "aud": "sts.amazonaws.com",
		"iat": now.Unix() - 10, "nbf": now.Unix() - 10, "exp": now.Unix() + 300, "repository": "octo/repo", "run": 7, "private": true,
	}
	for _, more := range change {
		maps.Copy(c, more)
	}
	for name, v := range c {
		if v == nil {
			delete(c, name)
		}
	}
	return c
}

// sign makes a token; header and claims may be wrong.
func sign(key any, header, body object) string {
	text := encode(header) + "." + encode(body)
	var signature []byte
	switch k := key.(type) {
	case *rsa.PrivateKey:
		sum := crypto.SHA256.New()
		sum.Write([]byte(text))
		signature = must(rsa.SignPKCS1v15(rand.Reader, k, crypto.SHA256, sum.Sum(nil)))
	case *ecdsa.PrivateKey:
		hash := crypto.SHA256
		if k.Curve == elliptic.P384() {
			hash = crypto.SHA384
		}
		sum := hash.New()
		sum.Write([]byte(text))
		r, s, err := ecdsa.Sign(rand.Reader, k, sum.Sum(nil))
		if err != nil {
			panic(err)
		}
		size := (k.Curve.Params().BitSize + 7) / 8
		signature = append(r.FillBytes(make([]byte, size)), s.FillBytes(make([]byte, size))...)
	case []byte:
		mac := hmac.New(sha256.New, k)
		mac.Write([]byte(text))
		signature = mac.Sum(nil)
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(signature)
}

func verify(v *oidc.Verifier, text string, at time.Time) (*oidc.Identity, error) {
	return verifyFor(v, "111122223333", text, at)
}

// verifyFor verifies a token for a tenant.
func verifyFor(v *oidc.Verifier, tenant, text string, at time.Time) (*oidc.Identity, error) {
	token, err := oidc.Parse(text)
	if err != nil {
		return nil, err
	}
	return v.Verify(context.Background(), tenant, token, at)
}

func rs(kid string) object { return object{"alg": "RS256", "typ": "JWT", "kid": kid} }

func TestVerify(t *testing.T) {
	is := newIssuers(public("a", &rsaKey.PublicKey, "RS256", "sig"), public("b", &ecKey.PublicKey), public("c", &ec384Key.PublicKey, "ES384"))
	v := oidc.New(is, func() time.Time { return now }, nil)
	id, err := verify(v, sign(rsaKey, rs("a"), claims()), now)
	if err != nil {
		t.Fatal(err)
	}
	if id.Issuer != url || id.Subject != "repo:octo/repo:ref:refs/heads/main" || len(id.Audience) != 1 || id.Audience[0] != "sts.amazonaws.com" {
		t.Errorf("%+v", id)
	}
	if got := fmt.Sprint(id.Claims()); got != "[{aud sts.amazonaws.com} {private true} {repository octo/repo} {run 7} {sub repo:octo/repo:ref:refs/heads/main}]" {
		t.Errorf("claims: %s", got)
	}
	for _, c := range []struct{ name, text string }{
		{"ES256", sign(ecKey, object{"alg": "ES256", "kid": "b"}, claims())},
		{"ES384", sign(ec384Key, object{"alg": "ES384", "kid": "c"}, claims())},
		{"no key id", sign(rsaKey, object{"alg": "RS256"}, claims())},
		{"several audiences", sign(rsaKey, rs("a"), claims(object{"aud": []string{"x", "y"}}))},
		{"a clock that is a little ahead", sign(rsaKey, rs("a"), claims(object{"iat": now.Unix() + 200, "nbf": now.Unix() + 200}))},
		{"fractions", sign(rsaKey, rs("a"), claims(object{"exp": float64(now.Unix()) + 0.5}))},
	} {
		if _, err := verify(v, c.text, now); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if n := is.count(); n != 1 {
		t.Errorf("the keys were fetched %d times", n)
	}
}

func TestRefuses(t *testing.T) {
	is := newIssuers(
		public("a", &rsaKey.PublicKey, "RS256", "sig"), public("b", &ecKey.PublicKey), public("enc", &rsaKey.PublicKey, "enc"),
		public("secret", []byte("0123456789abcdef0123456789abcdef")), public("512", &otherRSA.PublicKey, "RS512"),
	)
	v := oidc.New(is, func() time.Time { return now }, nil)
	good := sign(rsaKey, rs("a"), claims())
	parts := strings.Split(good, ".")
	pub := must(x509.MarshalPKIXPublicKey(&rsaKey.PublicKey))
	asPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: pub})
	jwk := must(json.Marshal(public("mine", &otherRSA.PublicKey)))
	for _, c := range []struct {
		name, text string
		want       error
	}{
		{"nothing", "", oidc.ErrMalformed},
		{"no token", "an access token", oidc.ErrMalformed},
		{"two parts", parts[0] + "." + parts[1], oidc.ErrMalformed},
		{"five parts", "a.b.c.d.e", oidc.ErrMalformed},
		{"unsigned", parts[0] + "." + parts[1] + ".", oidc.ErrSignature},
		{"alg none", encode(object{"alg": "none"}) + "." + parts[1] + ".", oidc.ErrMalformed},
		{"alg None", encode(object{"alg": "None"}) + "." + parts[1] + "." + parts[2], oidc.ErrMalformed},
		{"no alg", encode(object{"kid": "a"}) + "." + parts[1] + "." + parts[2], oidc.ErrMalformed},
		{"HS256 with the public key in PEM", sign(asPEM, object{"alg": "HS256", "kid": "a"}, claims()), oidc.ErrMalformed},
		{"HS256 with the public key in DER", sign(pub, object{"alg": "HS256", "kid": "a"}, claims()), oidc.ErrMalformed},
		{"HS256 with a published secret", sign([]byte("0123456789abcdef0123456789abcdef"), object{"alg": "HS256", "kid": "secret"}, claims()), oidc.ErrMalformed},
		{"PS256", encode(object{"alg": "PS256", "kid": "a"}) + "." + parts[1] + "." + parts[2], oidc.ErrMalformed},
		{"the key id of an ECDSA key", sign(rsaKey, rs("b"), claims()), oidc.ErrSignature},
		{"the key id of an RSA key", sign(ecKey, object{"alg": "ES256", "kid": "a"}, claims()), oidc.ErrSignature},
		{"another algorithm than the key's", sign(otherRSA, rs("512"), claims()), oidc.ErrSignature},
		{"a key for encryption", sign(rsaKey, rs("enc"), claims()), oidc.ErrSignature},
		{"an unknown key", sign(otherRSA, rs("z"), claims()), oidc.ErrSignature},
		{"another key", sign(otherRSA, rs("a"), claims()), oidc.ErrSignature},
		{"a key that it brings", sign(otherRSA, object{"alg": "RS256", "kid": "mine", "jwk": json.RawMessage(jwk)}, claims()), oidc.ErrSignature},
		{"a key's address that it brings", sign(otherRSA, object{"alg": "RS256", "jku": "https://evil.example.com/keys"}, claims()), oidc.ErrSignature},
		{"other claims", parts[0] + "." + encode(claims(object{"sub": "root"})) + "." + parts[2], oidc.ErrSignature},
		{"extensions", sign(rsaKey, object{"alg": "RS256", "kid": "a", "crit": []string{"b64"}, "b64": false}, claims()), oidc.ErrMalformed},
		{"expired", sign(rsaKey, rs("a"), claims(object{"exp": now.Unix()})), oidc.ErrExpired},
		{"never ends", sign(rsaKey, rs("a"), claims(object{"exp": nil})), oidc.ErrMalformed},
		{"ends in text", sign(rsaKey, rs("a"), claims(object{"exp": "2030"})), oidc.ErrMalformed},
		{"ends beyond all times", sign(rsaKey, rs("a"), claims(object{"exp": 1e300})), oidc.ErrMalformed},
		{"never began", sign(rsaKey, rs("a"), claims(object{"iat": nil})), oidc.ErrMalformed},
		{"of tomorrow", sign(rsaKey, rs("a"), claims(object{"iat": now.Unix() + 86400, "exp": now.Unix() + 90000})), oidc.ErrEarly},
		{"not before tomorrow", sign(rsaKey, rs("a"), claims(object{"nbf": now.Unix() + 86400})), oidc.ErrEarly},
		{"no subject", sign(rsaKey, rs("a"), claims(object{"sub": nil})), oidc.ErrMalformed},
		{"an empty subject", sign(rsaKey, rs("a"), claims(object{"sub": ""})), oidc.ErrMalformed},
		{"a long subject", sign(rsaKey, rs("a"), claims(object{"sub": strings.Repeat("x", 256)})), oidc.ErrMalformed},
		{"no audience", sign(rsaKey, rs("a"), claims(object{"aud": nil})), oidc.ErrMalformed},
		{"audiences of another type", sign(rsaKey, rs("a"), claims(object{"aud": []int{1}})), oidc.ErrMalformed},
		{"a party of another type", sign(rsaKey, rs("a"), claims(object{"azp": 1})), oidc.ErrMalformed},
		{"no issuer", sign(rsaKey, rs("a"), claims(object{"iss": nil})), oidc.ErrMalformed},
		{"another issuer", sign(rsaKey, rs("a"), claims(object{"iss": "https://evil.example.com"})), oidc.ErrUnavailable},
		{"no claims", parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte("[]")) + "." + parts[2], oidc.ErrMalformed},
		{"claims that stand twice", parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(`{"iss":"`+url+`","sub":"a","sub":"b"}`)) + "." + parts[2], oidc.ErrMalformed},
		{"too long", good + strings.Repeat("A", 20_000), oidc.ErrMalformed},
	} {
		id, err := verify(v, c.text, now)
		if !errors.Is(err, c.want) || id != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if _, err := verify(v, good, now); err != nil {
		t.Errorf("the good one: %v", err)
	}
}

func TestRotation(t *testing.T) {
	clock := now
	is := newIssuers(public("old", &rsaKey.PublicKey))
	v := oidc.New(is, func() time.Time { return clock }, nil)
	check := func(what, kid string, key any, want error, fetched int) {
		t.Helper()
		_, err := verify(v, sign(key, rs(kid), claims(object{"exp": clock.Unix() + 60})), clock)
		if want == nil && err != nil || !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", what, err, want)
		}
		if n := is.count(); n != fetched {
			t.Errorf("%s: fetched %d times, want %d", what, n, fetched)
		}
	}
	check("the first", "old", rsaKey, nil, 1)
	check("again", "old", rsaKey, nil, 1)
	is.publish(public("new", &otherRSA.PublicKey))
	check("a new key, at once", "new", otherRSA, oidc.ErrSignature, 1) // they were fetched a moment ago
	clock = clock.Add(61 * time.Second)
	check("a new key", "new", otherRSA, nil, 2)
	check("the old key", "old", rsaKey, oidc.ErrSignature, 2)
	for range 20 {
		check("keys that are not there", "none", rsaKey, oidc.ErrSignature, 2)
	}
	clock = clock.Add(11 * time.Minute)
	check("after a while", "new", otherRSA, nil, 3)

	is.fail(errors.New("away"))
	clock = clock.Add(30 * time.Minute)
	check("the issuer is away", "new", otherRSA, nil, 3)
	check("it is not asked again at once", "new", otherRSA, nil, 3)
	clock = clock.Add(40 * time.Minute)
	check("for long", "new", otherRSA, oidc.ErrUnavailable, 3)
	before := is.asked[discovery]
	check("and again", "new", otherRSA, oidc.ErrUnavailable, 3)
	if is.asked[discovery] != before {
		t.Error("an issuer that failed is asked again at once")
	}
	is.fail(nil)
	clock = clock.Add(11 * time.Second)
	check("back again", "new", otherRSA, nil, 4)
}

func TestDocuments(t *testing.T) {
	weak := must(rsa.GenerateKey(rand.Reader, 2048))
	weak.N = weak.N.Rsh(weak.N, 1025)
	good := string(must(json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{public("a", &rsaKey.PublicKey)}})))
	one := good[len(`{"keys":[`) : len(good)-2]
	for name, c := range map[string]struct {
		discovery, keys string
		good            bool
	}{
		"good":             {keys: good, good: true},
		"unknown kinds":    {keys: `{"keys":[{"kty":"XYZ"},{"kty":"oct","k":"AAAA"},{"kty":"EC","crv":"P-1"},` + one + `]}`, good: true},
		"no JSON":          {keys: "<html>"},
		"no keys":          {keys: `{}`},
		"an array":         {keys: `[]`},
		"many keys":        {keys: `{"keys":[` + strings.Repeat(`{},`, 200) + one + `]}`},
		"large":            {keys: good + strings.Repeat(" ", 1<<18)},
		"a short key":      {keys: string(must(json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{public("a", &weak.PublicKey)}})))},
		"another's":        {keys: good, discovery: `{"issuer":"https://idp.example.com","jwks_uri":"` + url + `/keys"}`},
		"nowhere":          {keys: good, discovery: `{"issuer":"` + url + `"}`},
		"no JSON here":     {keys: good, discovery: `issuer`},
		"large discovery":  {keys: good, discovery: `{"issuer":"` + url + `","jwks_uri":"` + url + `/keys"}` + strings.Repeat(" ", 1<<18)},
		"deep":             {keys: strings.Repeat("[", 100_000)},
		"with private key": {keys: string(must(json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{public("a", rsaKey)}})))},
	} {
		is := newIssuers()
		is.set(url+"/keys", c.keys)
		if c.discovery != "" {
			is.set(discovery, c.discovery)
		}
		_, err := verify(oidc.New(is, func() time.Time { return now }, nil), sign(rsaKey, rs("a"), claims()), now)
		if c.good && err != nil || !c.good && !errors.Is(err, oidc.ErrUnavailable) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestWithoutKeyID: a token that does not name its key costs no more than some
// keys.
func TestWithoutKeyID(t *testing.T) {
	var keys []*ecdsa.PrivateKey
	var published []jose.JSONWebKey
	for i := range 9 {
		k := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
		keys, published = append(keys, k), append(published, public(fmt.Sprint(i), &k.PublicKey))
	}
	v := oidc.New(newIssuers(published...), func() time.Time { return now }, nil)
	for i, want := range map[int]error{0: nil, 7: nil, 8: oidc.ErrSignature} {
		if _, err := verify(v, sign(keys[i], object{"alg": "ES256"}, claims()), now); !errors.Is(err, want) {
			t.Errorf("key %d: %v", i, err)
		}
	}
	if _, err := verify(v, sign(keys[8], object{"alg": "ES256", "kid": "8"}, claims()), now); err != nil {
		t.Errorf("named: %v", err)
	}
}

// TestTogether: one of many callers asks the issuer, and not all of them wait.
func TestTogether(t *testing.T) {
	is := newIssuers(public("a", &rsaKey.PublicKey))
	is.wait = make(chan struct{})
	v := oidc.New(is, func() time.Time { return now }, nil)
	text := sign(rsaKey, rs("a"), claims())
	results := make(chan error, 200)
	for range 200 {
		go func() {
			_, err := verify(v, text, now)
			results <- err
		}()
	}
	refused := 0
	for range 200 - 64 {
		if err := <-results; !errors.Is(err, oidc.ErrUnavailable) {
			t.Errorf("one of too many: %v", err)
		}
		refused++
	}
	close(is.wait)
	for range 200 - refused {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	if n := is.count(); n != 1 {
		t.Errorf("fetched %d times", n)
	}
}

// TestTooManyWait: while keys are fetched anew, those that there are do for
// whoever cannot wait, unless he needs one that is not among them.
func TestTooManyWait(t *testing.T) {
	is := newIssuers(public("a", &rsaKey.PublicKey))
	var late atomic.Int64
	v := oidc.New(is, func() time.Time { return now.Add(time.Duration(late.Load())) }, nil)
	text, unknown := sign(rsaKey, rs("a"), claims()), sign(rsaKey, rs("b"), claims())
	if _, err := verify(v, text, now); err != nil {
		t.Fatal(err)
	}
	wait := make(chan struct{})
	is.mu.Lock()
	is.wait = wait
	is.mu.Unlock()
	late.Store(int64(11 * time.Minute))
	results := make(chan error, 200)
	for range 200 {
		go func() {
			_, err := verify(v, text, now)
			results <- err
		}()
	}
	for range 200 - 64 {
		if err := <-results; err != nil {
			t.Fatalf("one of too many: %v", err)
		}
	}
	if _, err := verify(v, unknown, now); !errors.Is(err, oidc.ErrUnavailable) {
		t.Errorf("a key that is not there: %v", err)
	}
	close(wait)
	for range 64 {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	if n := is.count(); n != 2 {
		t.Errorf("fetched %d times", n)
	}
}

// many is a verifier, and a way for a tenant to have a token of its n-th issuer
// verified; the issuers of tenants whose name begins with "broken" do not answer.
func many(t *testing.T) (v *oidc.Verifier, is *issuers, verifyNth func(tenant string, n int)) {
	t.Helper()
	is = newIssuers()
	is.publish(public("a", &ecKey.PublicKey))
	at := now
	v = oidc.New(is, func() time.Time { at = at.Add(time.Millisecond); return at }, nil)
	return v, is, func(tenant string, n int) {
		t.Helper()
		name := fmt.Sprintf("https://i%d.%s.example.com", n, tenant)
		broken := strings.HasPrefix(tenant, "broken")
		if !broken {
			is.docs[name+"/.well-known/openid-configuration"] = `{"issuer":"` + name + `","jwks_uri":"` + url + `/keys"}`
		}
		_, err := verifyFor(v, tenant, sign(ecKey, object{"alg": "ES256"}, claims(object{"iss": name})), now)
		if broken != errors.Is(err, oidc.ErrUnavailable) || !broken && err != nil {
			t.Fatal(err)
		}
	}
}

// TestMany: what is kept of issuers is bounded, in all and for each tenant, and
// who names issuers that do not answer displaces none that do.
func TestMany(t *testing.T) {
	v, is, verifyNth := many(t)
	for i := range 150 {
		verifyNth("greedy", i)
	}
	if n := v.Kept(); n != 100 {
		t.Errorf("of one tenant %d issuers are kept", n)
	}
	asked := is.count()
	verifyNth("greedy", 149)
	verifyNth("greedy", 50)
	if n := is.count() - asked; n != 0 {
		t.Errorf("the latest are fetched %d times more", n)
	}
	// A tenant's own are displaced, those without keys first.
	verifyNth("modest", 0)
	for i := range 300 {
		verifyNth("greedy", i)
	}
	for tenant := range 12 {
		for i := range 80 {
			verifyNth(fmt.Sprint("broken", tenant), i)
		}
	}
	if n := v.Kept(); n != 1000 {
		t.Errorf("%d issuers are kept", n)
	}
	asked = is.count()
	verifyNth("modest", 0)
	for i := range 100 {
		verifyNth("greedy", 200+i)
	}
	if n := is.count() - asked; n != 0 {
		t.Errorf("issuers that answer were displaced by those that don't: %d are fetched again", n)
	}
	for tenant := range 3 {
		for i := range 80 {
			verifyNth(fmt.Sprint("other", tenant), i)
		}
	}
	if n := v.Kept(); n != 1000 {
		t.Errorf("%d issuers are kept", n)
	}
}

// TestSharedIssuer: an issuer that two tenants trust is displaced by neither
// alone.
func TestSharedIssuer(t *testing.T) {
	v, is, verifyNth := many(t)
	verifyNth("one", 0)
	shared := sign(ecKey, object{"alg": "ES256"}, claims(object{"iss": "https://i0.one.example.com"}))
	if _, err := verifyFor(v, "two", shared, now); err != nil {
		t.Fatal(err)
	}
	for i := range 300 {
		verifyNth("one", 1+i)
		verifyNth("two", 1+i)
	}
	if n := v.Kept(); n != 201 {
		t.Errorf("%d issuers are kept, want 100 of each and the shared one", n)
	}
	asked := is.count()
	if _, err := verifyFor(v, "two", shared, now); err != nil || is.count() != asked {
		t.Errorf("%v; fetched %d times more", err, is.count()-asked)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(sign(ecKey, object{"alg": "ES256", "kid": "b"}, claims()))
	f.Add("a.b.c")
	v := oidc.New(newIssuers(public("b", &ecKey.PublicKey)), func() time.Time { return now }, nil)
	f.Fuzz(func(t *testing.T, text string) {
		id, err := verify(v, text, now)
		if (id == nil) == (err == nil) {
			t.Errorf("%v, %v", id, err)
		}
	})
}
