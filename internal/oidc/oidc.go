// Package oidc verifies the tokens of OpenID Connect issuers: who they say that
// their bearer is.
//
// A token is a JWT in its compact form, signed with a key that the issuer
// publishes (RFC 7515, RFC 7519; OpenID Connect Core 1.0; OpenID Connect
// Discovery 1.0). Only RSA and ECDSA signatures are taken, and a key is used
// only with the algorithms of its own kind, so that no token can choose to be
// verified with another. Which issuers are trusted is for the caller to say,
// before anything is fetched from one.
package oidc

import (
	"context"
	"crypto/ecdsa"
	"crypto/rsa"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json"
)

// Limits of tokens.
const (
	// MaxToken is the length of the longest token. Source: the API reference of
	// AssumeRoleWithWebIdentity.
	MaxToken = 20_000

	maxClaims = 128  // that are looked at
	maxValue  = 1024 // length of a value that is told, in bytes
	// maxSubject is the length of the longest subject. Source: as above.
	maxSubject = 255
	maxList    = 32 // values of a claim
	maxTried   = 8  // keys that a token without a key id may be signed with
)

// skew is how far an issuer's clock may be ahead of ours.
const skew = 5 * time.Minute

// Errors of tokens. What is wrong with one is told in their text, without
// anything of the token.
var (
	// ErrMalformed is a text that is no token, or one that lacks a claim.
	ErrMalformed = errors.New("oidc: not a token")
	// ErrExpired is a token that was good; see [ExpiredError].
	ErrExpired = errors.New("oidc: the token has expired")
	// ErrEarly is a token that will be good.
	ErrEarly = errors.New("oidc: the token is not valid yet")
	// ErrSignature is a token that its issuer has not signed.
	ErrSignature = errors.New("oidc: the token is not signed by its issuer")
	// ErrUnavailable is an issuer whose keys could not be fetched.
	ErrUnavailable = errors.New("oidc: the issuer's keys could not be fetched")
)

// ExpiredError is an [ErrExpired] with the time at which the token ended.
type ExpiredError struct{ At time.Time }

func (e *ExpiredError) Error() string { return ErrExpired.Error() }

// Is makes it an [ErrExpired].
func (e *ExpiredError) Is(target error) bool { return target == ErrExpired }

// algorithms are those that a token may be signed with. Source: "Obtain the
// thumbprint" and "Create an OIDC identity provider" in the IAM User Guide.
var algorithms = []jose.SignatureAlgorithm{jose.RS256, jose.RS384, jose.RS512, jose.ES256, jose.ES384, jose.ES512}

// A Token is one that was parsed, and is not verified.
type Token struct {
	Issuer string // "iss", as it stands there

	jws    *jose.JSONWebSignature
	kid    string
	alg    jose.SignatureAlgorithm
	claims map[string]json.RawMessage
}

// Parse reads a token without believing it. Error: [ErrMalformed].
func Parse(text string) (*Token, error) {
	if len(text) > MaxToken {
		return nil, fmt.Errorf("%w: longer than %d", ErrMalformed, MaxToken)
	}
	jws, err := jose.ParseSignedCompact(text, algorithms)
	if err != nil || len(jws.Signatures) != 1 {
		return nil, fmt.Errorf("%w: no JWT with a signature of RSA or ECDSA", ErrMalformed)
	}
	h := &jws.Signatures[0].Protected
	if h.ExtraHeaders["crit"] != nil || h.ExtraHeaders["b64"] != nil {
		return nil, fmt.Errorf("%w: it has extensions that must be understood", ErrMalformed)
	}
	t := &Token{jws: jws, kid: h.KeyID, alg: jose.SignatureAlgorithm(h.Algorithm)}
	payload := jws.UnsafePayloadWithoutVerification()
	if !utf8.Valid(payload) {
		return nil, fmt.Errorf("%w: its claims are no text", ErrMalformed)
	}
	if err := json.Unmarshal(payload, &t.claims); err != nil || len(t.claims) > maxClaims {
		return nil, fmt.Errorf("%w: its claims are no JSON object", ErrMalformed)
	}
	if !t.read("iss", &t.Issuer) || t.Issuer == "" {
		return nil, fmt.Errorf("%w: it has no issuer", ErrMalformed)
	}
	return t, nil
}

// read decodes a claim into v, and reports whether it is there and of that type.
func (t *Token) read(name string, v any) bool {
	raw, ok := t.claims[name]
	return ok && string(raw) != "null" && json.Unmarshal(raw, v) == nil
}

// time returns a claim that is a NumericDate; the zero time if it is not there.
func (t *Token) time(name string) (time.Time, error) {
	raw, ok := t.claims[name]
	if !ok {
		return time.Time{}, nil
	}
	n, err := strconv.ParseFloat(string(raw), 64)
	if err != nil || math.IsNaN(n) || n < 0 || n > 1<<40 {
		return time.Time{}, fmt.Errorf("%w: %s is no time", ErrMalformed, name)
	}
	return time.UnixMilli(int64(n * 1000)).UTC(), nil
}

// An Identity is what an issuer says of the bearer of a token.
type Identity struct {
	Issuer   string
	Subject  string
	Audience []string // for whom the token is meant
	Party    string   // "azp", to whom it was issued; empty if it does not say
	Issued   time.Time
	Expires  time.Time

	claims map[string]json.RawMessage
}

// Verify verifies a token with its issuer's keys, and returns what it says. The
// caller has made sure that the issuer is one to be trusted by a tenant, such as
// an account: of each, only so many issuers are kept. Errors: those of this
// package.
func (v *Verifier) Verify(ctx context.Context, tenant string, t *Token, now time.Time) (*Identity, error) {
	id := &Identity{Issuer: t.Issuer, claims: t.claims}
	if !t.read("sub", &id.Subject) || id.Subject == "" || len(id.Subject) > maxSubject {
		return nil, fmt.Errorf("%w: it has no subject", ErrMalformed)
	}
	if id.Audience = t.texts("aud"); len(id.Audience) == 0 {
		return nil, fmt.Errorf("%w: it has no audience", ErrMalformed)
	}
	if _, ok := t.claims["azp"]; ok && !t.read("azp", &id.Party) {
		return nil, fmt.Errorf("%w: azp is no text", ErrMalformed)
	}
	if err := t.checkTimes(id, now); err != nil {
		return nil, err
	}
	if err := v.checkSignature(ctx, tenant, t); err != nil {
		return nil, err
	}
	return id, nil
}

// checkTimes checks when the token is good. An expired one costs nothing but
// that.
func (t *Token) checkTimes(id *Identity, now time.Time) (err error) {
	if id.Expires, err = t.time("exp"); err != nil {
		return err
	}
	if id.Issued, err = t.time("iat"); err != nil {
		return err
	}
	from, err := t.time("nbf")
	if err != nil {
		return err
	}
	switch {
	case id.Expires.IsZero():
		return fmt.Errorf("%w: it does not say when it ends", ErrMalformed)
	case id.Issued.IsZero():
		return fmt.Errorf("%w: it does not say when it was issued", ErrMalformed)
	case !now.Before(id.Expires):
		return &ExpiredError{id.Expires}
	case id.Issued.After(now.Add(skew)), from.After(now.Add(skew)):
		return ErrEarly
	}
	return nil
}

// checkSignature checks the token's signature with the key that it names. If
// the issuer has none of that name, its keys are fetched anew: they change.
func (v *Verifier) checkSignature(ctx context.Context, tenant string, t *Token) error {
	for _, fresh := range []bool{false, true} {
		set, err := v.keys(ctx, tenant, t.Issuer, fresh)
		if err != nil {
			return err
		}
		tried := 0
		for i := range set {
			k := &set[i]
			if t.kid != "" && k.id != t.kid || !k.signs(t.alg) || tried == maxTried {
				continue
			}
			tried++
			if t.jws.DetachedVerify(t.jws.UnsafePayloadWithoutVerification(), k.key) == nil {
				return nil
			}
		}
		if tried > 0 {
			break // the issuer's keys are known, and none has signed this
		}
	}
	return ErrSignature
}

// texts returns the values of a claim that is text, or a list of texts.
func (t *Token) texts(name string) []string { return texts(t.claims[name]) }

func texts(raw json.RawMessage) []string {
	var one string
	if json.Unmarshal(raw, &one) == nil && one != "" {
		return []string{one}
	}
	var many []string
	if json.Unmarshal(raw, &many) != nil || len(many) > maxList || slices.Contains(many, "") {
		return nil
	}
	return many
}

// A Claim is a claim of a token, and one of its values.
type Claim struct{ Name, Value string }

// Claims returns the claims of a token that are text, numbers or truth values,
// or lists of texts, a value each, ordered by name. Those that say when the
// token is good are not among them.
func (id *Identity) Claims() []Claim {
	var list []Claim
	for name, raw := range id.claims {
		switch name {
		case "iss", "exp", "nbf", "iat", "jti":
			continue
		}
		values := texts(raw)
		if s := string(raw); values == nil && (s == "true" || s == "false" || isNumber(s)) {
			values = []string{s}
		}
		for _, value := range values {
			if len(name) <= maxValue && len(value) <= maxValue {
				list = append(list, Claim{name, value})
			}
		}
	}
	slices.SortStableFunc(list, func(a, b Claim) int { return strings.Compare(a.Name, b.Name) })
	return list
}

func isNumber(s string) bool {
	_, err := strconv.ParseFloat(s, 64)
	return err == nil && s[0] != '"'
}

// Decode decodes a claim that is none of those that Claims returns, such as an
// object, into v; it reports whether there is such a claim, and whether v takes
// it.
func (id *Identity) Decode(name string, v any) (found bool, err error) {
	raw, ok := id.claims[name]
	if !ok {
		return false, nil
	}
	if err := json.Unmarshal(raw, v); err != nil {
		return true, fmt.Errorf("%w: %s", ErrMalformed, name)
	}
	return true, nil
}

// A key is one with which an issuer signs.
type key struct {
	id  string
	alg jose.SignatureAlgorithm // the only one; empty for all of its kind
	key any                     // *rsa.PublicKey or *ecdsa.PublicKey
}

// minRSA is the length of the shortest RSA key that is used, in bits; the
// longest is that of package jose.
const minRSA = 2048

// signs reports whether the key makes signatures of an algorithm.
func (k *key) signs(alg jose.SignatureAlgorithm) bool {
	if k.alg != "" && k.alg != alg {
		return false
	}
	switch public := k.key.(type) {
	case *rsa.PublicKey:
		return alg == jose.RS256 || alg == jose.RS384 || alg == jose.RS512
	case *ecdsa.PublicKey:
		switch public.Curve.Params().Name {
		case "P-256":
			return alg == jose.ES256
		case "P-384":
			return alg == jose.ES384
		case "P-521":
			return alg == jose.ES512
		}
	}
	return false
}

// maxKeys is how many keys of an issuer are looked at: 100 of RSA and 100 of
// ECDSA, as AWS does.
const maxKeys = 200

// parseKeys reads a JSON Web Key Set (RFC 7517). Keys that are not for
// signatures, or of a kind that is not known here, are left out.
func parseKeys(text []byte) ([]key, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(text, &set); err != nil {
		return nil, errors.New("the keys are no JSON Web Key Set")
	}
	if len(set.Keys) > maxKeys {
		return nil, fmt.Errorf("there are more than %d keys", maxKeys)
	}
	var keys []key
	for _, raw := range set.Keys {
		var k jose.JSONWebKey
		if k.UnmarshalJSON(raw) != nil || !k.Valid() || k.Use != "" && k.Use != "sig" {
			continue
		}
		switch public := k.Key.(type) {
		case *rsa.PublicKey:
			if public.N.BitLen() < minRSA {
				continue
			}
		case *ecdsa.PublicKey:
		default: // among others, a secret one: everybody knows it by now
			continue
		}
		keys = append(keys, key{id: k.KeyID, alg: jose.SignatureAlgorithm(k.Algorithm), key: k.Key})
	}
	if len(keys) == 0 {
		return nil, errors.New("there is no key of RSA (2048 bits) or ECDSA among the keys")
	}
	return keys, nil
}
