package explain

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/keyreeve/keyreeve/internal/arn"
	"github.com/keyreeve/keyreeve/internal/authz"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/wire"
	"github.com/keyreeve/keyreeve/policy"
)

// Key usages, as in the API.
const (
	encryptDecrypt  = "ENCRYPT_DECRYPT"
	signVerify      = "SIGN_VERIFY"
	generateMAC     = "GENERATE_VERIFY_MAC"
	keyAgreement    = "KEY_AGREEMENT"
	encapsulate     = "ENCAPSULATE_DECAPSULATE"
	symmetric       = "SYMMETRIC_DEFAULT"
	maxAliasesOfKey = 50 // quota: beyond it, kms:ResourceAliases matches nothing
)

// usages are the key usages that there are.
var usages = []string{encryptDecrypt, signVerify, generateMAC, keyAgreement, encapsulate}

// origins are the key origins that there are.
var origins = []string{"AWS_KMS", "EXTERNAL", "AWS_CLOUDHSM", "EXTERNAL_KEY_STORE"}

// usageOf returns the usage of a key spec; empty if it has to be said, or if
// there is no such spec. Policies can be written for specs that this server
// cannot make keys of. Source: the API reference of AWS KMS, CreateKey.
func usageOf(spec string) (usage string, known bool) {
	switch spec {
	case symmetric:
		return encryptDecrypt, true
	case "RSA_2048", "RSA_3072", "RSA_4096", "SM2":
		return "", true
	case "ECC_NIST_P256", "ECC_NIST_P384", "ECC_NIST_P521", "ECC_SECG_P256K1", "ECC_NIST_EDWARDS25519", "ML_DSA_44", "ML_DSA_65", "ML_DSA_87":
		return signVerify, true
	case "HMAC_224", "HMAC_256", "HMAC_384", "HMAC_512":
		return generateMAC, true
	case "ML_KEM_512", "ML_KEM_768", "ML_KEM_1024":
		return encapsulate, true
	}
	return "", false
}

// describe fills the condition keys that say what a key is: of one that there
// is, or of the one that CreateKey asks for.
func (b *builder) describe(into policy.Values, spec, usage, origin, multiRegion string) {
	spec, origin = cmp.Or(spec, symmetric), cmp.Or(origin, "AWS_KMS")
	_, known := usageOf(spec)
	switch {
	case !known:
		b.mistake("there is no key spec %s", quote(spec))
	case !slices.Contains(usages, usage):
		b.mistake("there is no key usage %s", quote(usage))
	case !slices.Contains(origins, origin):
		b.mistake("there is no key origin %s", quote(origin))
	case multiRegion != "" && multiRegion != "PRIMARY" && multiRegion != "REPLICA":
		b.mistake("multiRegion is PRIMARY or REPLICA, and not %s", quote(multiRegion))
	}
	into["kms:keyspec"] = policy.String(spec)
	into["kms:keyusage"] = policy.String(usage)
	into["kms:keyorigin"] = policy.String(origin)
	into["kms:multiregion"] = policy.Bool(multiRegion != "")
	if multiRegion != "" {
		into["kms:multiregionkeytype"] = policy.String(multiRegion)
	}
}

// keyFacts fills the condition keys that a key has as a resource.
func (b *builder) keyFacts(k *key, id string) {
	multiRegion := k.multiRegion
	if multiRegion == "" && strings.HasPrefix(id, "mrk-") {
		multiRegion = "PRIMARY"
	}
	usage := k.usage
	if usage == "" {
		var known bool
		if usage, known = usageOf(cmp.Or(k.spec, symmetric)); known && usage == "" {
			b.mistake("a key of spec %s has a usage: %s", quote(k.spec), strings.Join(usages, ", "))
		}
	}
	b.describe(b.facts.set, k.spec, usage, k.origin, multiRegion)
	for i, name := range k.aliases {
		if !strings.HasPrefix(name, "alias/") {
			b.mistake("the name of an alias begins with alias/; that of %s does not", quote(name))
		}
		if slices.Contains(k.aliases[:i], name) {
			b.mistake("alias %s stands twice", quote(name))
		}
	}
	if len(k.aliases) <= maxAliasesOfKey {
		b.facts.set["kms:resourcealiases"] = policy.Strings(k.aliases)
	}
	b.facts.tags = k.tags
}

// grants are the grants of the key of a case.
type grants struct {
	all     []*authz.Grant
	byToken map[string]*authz.Grant
}

func (g *grants) Of(_ context.Context, grantee, _ string, use func(*authz.Grant) bool) error {
	for _, one := range g.all {
		if one.Grantee == grantee && !use(one) {
			break
		}
	}
	return nil
}

func (g *grants) ByToken(_ context.Context, token string) (*authz.Grant, error) {
	one, ok := g.byToken[token]
	if !ok {
		return nil, authz.ErrGrantToken
	}
	return one, nil
}

// grantOperations are what grants can be for. Source: the API reference of AWS
// KMS, CreateGrant.
var grantOperations = []string{
	"CreateGrant", "Decapsulate", "Decrypt", "DeriveSharedSecret", "DescribeKey", "Encapsulate", "Encrypt", "GenerateDataKey", "GenerateDataKeyPair",
	"GenerateDataKeyPairWithoutPlaintext", "GenerateDataKeyWithoutPlaintext", "GenerateMac", "GetPublicKey", "ReEncryptFrom",
	"ReEncryptTo", "RetireGrant", "Sign", "Verify", "VerifyMac",
}

func (b *builder) checkOperations(list []string) {
	for _, o := range list {
		if !slices.Contains(grantOperations, o) {
			b.mistake("there is no grant operation %s", quote(o))
		}
	}
}

// buildGrants makes the grants of the case's key.
func (b *builder) buildGrants(owner string) {
	b.grants.byToken = make(map[string]*authz.Grant)
	for i, g := range b.key.grants {
		b.checkOperations(g.operations)
		one := &authz.Grant{
			ID: g.id, Name: g.name, Issuer: g.issuer, Operations: g.operations, Created: b.call.Time.Add(-time.Hour),
			Grantee: b.party(g.grantee), GranteeARN: b.full(g.grantee),
			Equals: stringMap(g.equals), Subset: stringMap(g.subset), SourceARN: g.sourceARN,
		}
		one.Effective = one.Created
		if g.fresh {
			one.Effective = b.call.Time.Add(time.Hour)
		}
		if g.retiring != "" {
			one.Retiring, one.RetiringARN = b.party(g.retiring), b.full(g.retiring)
		}
		if one.ID == "" {
			sum := sha256.Sum256([]byte(b.id + "/" + strconv.Itoa(i)))
			one.ID = hex.EncodeToString(sum[:])
		}
		if one.Issuer == "" {
			one.Issuer = owner
		}
		if slices.ContainsFunc(b.grants.all, func(have *authz.Grant) bool { return have.ID == one.ID }) {
			b.mistake("two grants have the id %s", quote(one.ID))
		}
		b.grants.all = append(b.grants.all, one)
		if g.token != "" {
			b.grants.byToken[g.token] = one
		}
	}
}

// party returns a principal as grants name it: users and roles by unique id.
func (b *builder) party(name string) string {
	full := b.full(name)
	if isService(full) {
		return full
	}
	a, err := arn.Parse(full)
	if err != nil || a.Account == "" {
		b.mistake("%s is neither the ARN of a principal nor a service", quote(name))
		return ""
	}
	kind, _, _ := strings.Cut(a.Resource, "/")
	switch a.Service + " " + kind {
	case "iam user", "iam role":
		return b.uniqueID(full)
	case "sts assumed-role":
		// By the role's unique id; who else's session it is makes no difference.
		if b.caller.Kind == call.RoleSession && full == b.caller.ARN {
			return b.caller.ID
		}
		return full
	case "iam root", "sts federated-user":
		return full
	}
	b.mistake("%s is no principal that a grant can name", quote(name))
	return ""
}

// uniqueID returns the unique id of a user or role: the one that the case gives
// its principal, or one that follows from the ARN.
func (b *builder) uniqueID(full string) string {
	if id := b.principal.id; id != "" {
		own := b.caller.EntityARN
		if b.caller.Kind == call.FederatedUser {
			own = b.caller.Issuer
		}
		if full == own {
			return id
		}
	}
	prefix := "AIDA"
	if strings.Contains(full, ":role/") {
		prefix = "AROA"
	}
	sum := sha256.Sum256([]byte(full))
	return prefix + base32.StdEncoding.EncodeToString(sum[:])[:17]
}

func stringMap(list []pair) wire.StringMap {
	if list == nil {
		return nil
	}
	m := make([]wire.Pair, len(list))
	for i, p := range list {
		m[i] = wire.Pair{Name: p.name, Value: p.value}
	}
	return wire.NewStringMap(m...)
}
