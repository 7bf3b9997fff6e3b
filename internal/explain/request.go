package explain

import (
	"cmp"
	"encoding/json"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/keyreeve/keyreeve/internal/arn"
	"github.com/keyreeve/keyreeve/internal/authz"
	"github.com/keyreeve/keyreeve/internal/wire"
	"github.com/keyreeve/keyreeve/policy"
)

// trailingDays is how long a key was not used. The key of a case that is asked of
// no node was used today, unless its context says otherwise.
const trailingDays = "kms:trailingdayswithoutkeyusage"

// maxTokens is how many grant tokens a request has at most.
const maxTokens = 10

// buildRequest fills the condition keys that the parameters of the operation
// populate, and what grants are held against. The parameters are called as in
// the API; those that no policy sees are not known here.
//
// A parameter that is left out has the default that the API gives it, where the
// service populates the condition key with that.
func (b *builder) buildRequest() {
	if b.err != nil {
		return
	}
	fields := b.parameters()
	for _, m := range b.request {
		i := slices.IndexFunc(fields, func(f field) bool { return f.name == m.name })
		switch {
		case i < 0 && len(fields) == 0:
			b.mistake("request: %s has no parameter that a policy could see; use context for its condition keys", b.action)
			return
		case i < 0:
			b.mistake("request: of %s policies see no parameter %s; they see %s", b.action, quote(m.name), names(fields))
			return
		case !isNull(m.raw):
			fields[i].read(m.raw)
		}
	}
	b.finishRequest()
}

// parameters returns the parameters of the action that policies can see, and
// fills the defaults of those that populate condition keys when they are left
// out.
func (b *builder) parameters() []field {
	_, name, _ := strings.Cut(b.action, ":")
	if strings.HasPrefix(b.action, "sts:") {
		return b.sessionParameters(name)
	}
	if !strings.HasPrefix(b.action, "kms:") || b.target != nil && strings.Contains(b.target.ARN, ":alias/") {
		return nil
	}
	keyID := func(member string) field {
		return field{member, func(raw json.RawMessage) { b.named = b.text(raw, member, maxString) }}
	}
	var fields []field
	switch name {
	case "Encrypt", "Decrypt", "ReEncryptFrom", "ReEncryptTo", "GenerateDataKey", "GenerateDataKeyWithoutPlaintext",
		"GenerateDataKeyPair", "GenerateDataKeyPairWithoutPlaintext":
		b.asked.set["kms:encryptionalgorithm"] = policy.String(symmetric)
	}
	switch name {
	case "Encrypt", "Decrypt":
		fields = append(fields, keyID("KeyId"), b.encryptionContext("EncryptionContext"), b.value("EncryptionAlgorithm", "kms:encryptionalgorithm"), b.grantTokens())
	case "GenerateDataKey", "GenerateDataKeyWithoutPlaintext":
		fields = append(fields, keyID("KeyId"), b.encryptionContext("EncryptionContext"), b.grantTokens())
	case "GenerateDataKeyPair", "GenerateDataKeyPairWithoutPlaintext":
		fields = append(fields, keyID("KeyId"), b.encryptionContext("EncryptionContext"), b.value("KeyPairSpec", "kms:datakeypairspec"), b.grantTokens())
	case "ReEncryptFrom", "ReEncryptTo":
		own, other := "Source", "Destination"
		if name == "ReEncryptTo" {
			own, other = other, own
		}
		fields = append(fields,
			keyID(own+"KeyId"),
			b.encryptionContext(own+"EncryptionContext"),
			b.value(own+"EncryptionAlgorithm", "kms:encryptionalgorithm"),
			field{other + "KeyId", func(raw json.RawMessage) { b.otherKey = b.text(raw, other+"KeyId", maxString) }},
			b.grantTokens(),
		)
	case "GenerateMac", "VerifyMac":
		fields = append(fields, keyID("KeyId"), b.value("MacAlgorithm", "kms:macalgorithm"), b.grantTokens())
	case "Sign", "Verify":
		b.asked.set["kms:messagetype"] = policy.String("RAW")
		fields = append(fields, keyID("KeyId"), b.value("MessageType", "kms:messagetype"), b.value("SigningAlgorithm", "kms:signingalgorithm"), b.grantTokens())
	case "DeriveSharedSecret":
		b.asked.set["kms:keyagreementalgorithm"] = policy.String("ECDH")
		fields = append(fields, keyID("KeyId"), b.value("KeyAgreementAlgorithm", "kms:keyagreementalgorithm"), b.grantTokens())
	case "DescribeKey", "GetPublicKey", "Encapsulate", "Decapsulate":
		fields = append(fields, keyID("KeyId"), b.grantTokens())
	case "CreateGrant":
		fields = b.grantParameters()
	case "RetireGrant":
		fields = append(fields,
			field{"GrantId", func(raw json.RawMessage) { b.grantID = b.text(raw, "GrantId", maxString) }},
			field{"GrantToken", func(raw json.RawMessage) { b.grantToken = b.text(raw, "GrantToken", maxString) }},
		)
	case "CreateKey":
		fields = b.newKeyParameters()
	case "PutKeyPolicy":
		fields = append(fields, b.boolean("BypassPolicyLockoutSafetyCheck", "kms:bypasspolicylockoutsafetycheck"))
	case "ImportKeyMaterial":
		fields = append(fields, b.value("ExpirationModel", "kms:expirationmodel"), b.instant("ValidTo", "kms:validto"))
	case "GetParametersForImport":
		fields = append(fields, b.value("WrappingAlgorithm", "kms:wrappingalgorithm"), b.value("WrappingKeySpec", "kms:wrappingkeyspec"))
	case "ScheduleKeyDeletion":
		b.asked.set["kms:schedulekeydeletionpendingwindowindays"] = policy.Number(30)
		b.unused()
		fields = append(fields, b.numeric("PendingWindowInDays", "kms:schedulekeydeletionpendingwindowindays"))
	case "DisableKey":
		b.unused()
	case "EnableKeyRotation":
		b.asked.set["kms:rotationperiodindays"] = policy.Number(365)
		fields = append(fields, b.numeric("RotationPeriodInDays", "kms:rotationperiodindays"))
	case "UpdatePrimaryRegion":
		fields = append(fields, b.value("PrimaryRegion", "kms:primaryregion"))
	case "ReplicateKey":
		fields = append(fields, b.value("ReplicaRegion", "kms:replicaregion"))
	case "TagResource":
		fields = append(fields, b.tagList("TagKey", "TagValue"))
	case "UntagResource":
		fields = append(fields, field{"TagKeys", func(raw json.RawMessage) {
			b.asked.set["aws:tagkeys"] = policy.Strings(b.texts(raw, "TagKeys"))
		}})
	}
	return fields
}

// finishRequest fills what follows from several parameters.
func (b *builder) finishRequest() {
	if b.err != nil || b.target == nil {
		return
	}
	switch b.action {
	case "kms:Decrypt", "kms:ReEncryptFrom":
		// Without it, the ciphertext names the key.
		b.target.FromCiphertext = b.named == ""
	}
	if name, ok := aliasName(b.named); ok {
		b.asked.set["kms:requestalias"] = policy.String(name)
	} else if b.named != "" && !b.names(b.named) {
		b.mistake("request names the key %s, and the case's key is %s", quote(b.named), b.target.ARN)
	}
	switch b.action {
	case "kms:ReEncryptFrom", "kms:ReEncryptTo":
		b.asked.set["kms:reencryptonsamekey"] = policy.Bool(b.otherKey != "" && b.names(b.otherKey))
	case "kms:CreateGrant":
		b.finishGrant()
	case "kms:RetireGrant":
		b.finishRetire()
	case "kms:CreateKey":
		multiRegion := ""
		if b.newMultiRegion {
			multiRegion = "PRIMARY"
		}
		b.describe(b.asked.set, b.newSpec, cmp.Or(b.newUsage, encryptDecrypt), b.newOrigin, multiRegion)
	}
}

// unused fills for how long the key was not used. A node knows better.
func (b *builder) unused() {
	if !b.live {
		b.asked.set[trailingDays] = policy.Number(0)
	}
}

// aliasName returns the name of the alias that a KeyId is.
func aliasName(keyID string) (string, bool) {
	if a, err := arn.Parse(keyID); err == nil {
		keyID = a.Resource
	}
	return keyID, strings.HasPrefix(keyID, "alias/")
}

// names reports whether a KeyId means the case's key: by its ARN, its id or one
// of its aliases.
func (b *builder) names(keyID string) bool {
	if name, ok := aliasName(keyID); ok {
		return slices.Contains(b.key.aliases, name)
	}
	return keyID == b.target.ARN || keyID != "" && strings.HasSuffix(b.target.ARN, ":key/"+keyID)
}

// value returns a parameter whose string is the value of a condition key.
func (b *builder) value(parameter, key string) field {
	return field{parameter, func(raw json.RawMessage) { b.asked.set[key] = policy.String(b.text(raw, parameter, maxString)) }}
}

func (b *builder) boolean(parameter, key string) field {
	return field{parameter, func(raw json.RawMessage) { b.asked.set[key] = policy.Bool(b.flag(raw, parameter)) }}
}

func (b *builder) numeric(parameter, key string) field {
	return field{parameter, func(raw json.RawMessage) { b.asked.set[key] = policy.Number(b.number(raw, parameter)) }}
}

func (b *builder) instant(parameter, key string) field {
	return field{parameter, func(raw json.RawMessage) { b.asked.set[key] = policy.Time(b.time(raw, parameter)) }}
}

// time reads an instant: seconds since 1970, or RFC 3339.
func (r *reader) time(raw json.RawMessage, what string) time.Time {
	if kindOf(raw) == '"' {
		t, err := time.Parse(time.RFC3339, r.text(raw, what, maxString))
		if err != nil {
			r.mistake("%s is a time such as 2026-11-22T10:00:00Z, or seconds since 1970; this is neither: %s", what, excerpt(raw))
		}
		return t.UTC()
	}
	n := r.number(raw, what)
	const most = 253402300800 // the year 10000
	if !(math.Abs(n) < most) {
		r.mistake("%s is out of range", what)
		return time.Time{}
	}
	whole, fraction := math.Modf(n)
	return time.Unix(int64(whole), int64(fraction*1e9)).UTC()
}

// encryptionContext returns the parameter that is the encryption context.
func (b *builder) encryptionContext(parameter string) field {
	return field{parameter, func(raw json.RawMessage) {
		b.ask.Context = stringMap(b.pairs(raw, parameter))
		b.setContext(b.ask.Context)
	}}
}

// setContext fills the condition keys of an encryption context.
func (b *builder) setContext(m wire.StringMap) {
	b.asked.context = m
	names := make([]string, len(m))
	for i := range m {
		names[i] = m[i].Name
	}
	b.asked.set["kms:encryptioncontextkeys"] = policy.Strings(names)
}

func (b *builder) grantTokens() field {
	return field{"GrantTokens", func(raw json.RawMessage) {
		b.ask.GrantTokens = b.texts(raw, "GrantTokens")
		if len(b.ask.GrantTokens) > maxTokens {
			b.mistake("a request has up to %d grant tokens", maxTokens)
		}
		for _, t := range b.ask.GrantTokens {
			if b.grants.byToken[t] == nil && !b.live {
				b.mistake("no grant of the case's key has the token %s", quote(t))
			}
		}
	}}
}

// grantParameters are those of CreateGrant.
func (b *builder) grantParameters() []field {
	b.ask.Child = new(authz.Grant)
	child := b.ask.Child
	arnOf := func(parameter, key string, to *string) field {
		return field{parameter, func(raw json.RawMessage) {
			*to = b.full(b.text(raw, parameter, maxString))
			b.asked.set[key] = policy.String(*to)
		}}
	}
	return []field{
		arnOf("GranteePrincipal", "kms:granteeprincipal", &child.GranteeARN),
		arnOf("GranteeServicePrincipal", "kms:granteeserviceprincipal", &child.GranteeARN),
		arnOf("RetiringPrincipal", "kms:retiringprincipal", &child.RetiringARN),
		arnOf("RetiringServicePrincipal", "kms:retiringserviceprincipal", &child.RetiringARN),
		{"Operations", func(raw json.RawMessage) {
			child.Operations = b.texts(raw, "Operations")
			b.checkOperations(child.Operations)
			b.asked.set["kms:grantoperations"] = policy.Strings(child.Operations)
		}},
		{"Constraints", func(raw json.RawMessage) {
			equals, subset, source := b.readConstraints(raw)
			child.Equals, child.Subset, child.SourceARN = stringMap(equals), stringMap(subset), source
		}},
		b.grantTokens(),
	}
}

// finishGrant fills the rest of what a grant that is asked for populates.
func (b *builder) finishGrant() {
	child := b.ask.Child
	child.Issuer = b.caller.Account
	if child.GranteeARN != "" {
		child.Grantee = b.party(child.GranteeARN)
	}
	if child.RetiringARN != "" {
		child.Retiring = b.party(child.RetiringARN)
	}
	b.setGrant(child)
}

// finishRetire finds the grant that is to be retired.
func (b *builder) finishRetire() {
	if b.live {
		return // it is still to be found
	}
	for _, g := range b.grants.all {
		if g.ID == b.grantID {
			b.retired = g
		}
	}
	if b.grantToken != "" {
		b.retired = b.grants.byToken[b.grantToken]
	}
	switch {
	case b.retired != nil:
		b.setGrant(b.retired)
	case b.grantID != "" || b.grantToken != "":
		b.mistake("request names a grant that the case's key does not have")
	}
}

// setGrant fills the condition keys of a grant that is asked for, or that is to
// be retired.
func (b *builder) setGrant(g *authz.Grant) {
	// Of a name in both, the stricter constraint's pair is seen.
	b.setContext(wire.NewStringMap(append(slices.Clone(g.Subset), g.Equals...)...))
	var kinds []string
	if len(g.Equals) > 0 {
		kinds = append(kinds, "EncryptionContextEquals")
	}
	if len(g.Subset) > 0 {
		kinds = append(kinds, "EncryptionContextSubset")
	}
	b.asked.set["kms:grantconstrainttype"] = policy.Strings(kinds)
	if len(kinds) == 1 {
		b.asked.set["kms:grantconstrainttype"] = policy.String(kinds[0])
	}
	if g.SourceARN != "" {
		b.asked.set["kms:grantconstraintsourcearn"] = policy.String(g.SourceARN)
	}
}

// newKeyParameters are those of CreateKey.
func (b *builder) newKeyParameters() []field {
	return []field{
		b.set("KeySpec", &b.newSpec),
		b.set("CustomerMasterKeySpec", &b.newSpec),
		b.set("KeyUsage", &b.newUsage),
		b.set("Origin", &b.newOrigin),
		{"MultiRegion", func(raw json.RawMessage) { b.newMultiRegion = b.flag(raw, "MultiRegion") }},
		b.boolean("BypassPolicyLockoutSafetyCheck", "kms:bypasspolicylockoutsafetycheck"),
		b.tagList("TagKey", "TagValue"),
	}
}

// tagList returns the parameter Tags, as KMS and STS spell it, or as an object.
func (b *builder) tagList(nameOf, valueOf string) field {
	return field{"Tags", func(raw json.RawMessage) {
		var list []pair
		if kindOf(raw) == '{' {
			list = b.pairs(raw, "Tags")
		} else {
			for _, item := range b.items(raw, "Tags", maxMembers) {
				var p pair
				b.object(item, "a tag", b.set(nameOf, &p.name), b.set(valueOf, &p.value))
				list = append(list, p)
			}
		}
		var keys []string
		for _, p := range list {
			keys = append(keys, p.name)
		}
		b.asked.tags = list
		b.asked.set["aws:tagkeys"] = policy.Strings(keys)
	}}
}

// sessionParameters are those of the actions of STS.
func (b *builder) sessionParameters(name string) []field {
	switch name {
	case "AssumeRole", "TagSession", "SetSourceIdentity":
		return []field{
			b.value("RoleSessionName", "sts:rolesessionname"),
			b.value("ExternalId", "sts:externalid"),
			b.value("SourceIdentity", "sts:sourceidentity"),
			b.tagList("Key", "Value"),
			{"TransitiveTagKeys", func(raw json.RawMessage) {
				b.asked.set["sts:transitivetagkeys"] = policy.Strings(b.texts(raw, "TransitiveTagKeys"))
			}},
		}
	case "GetFederationToken":
		return []field{b.tagList("Key", "Value")}
	}
	return nil
}
