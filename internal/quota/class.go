package quota

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
)

// A Class is calls that are counted together: the calls of one operation, of
// several that share a quota, or those that use keys of one kind. The zero Class
// is no quota.
type Class uint8

// The classes of calls that use a key, by its kind. Which one a call is of is
// known once its key is.
const (
	None Class = iota
	Symmetric
	RSA
	ECC
	MLDSA
	MLKEM

	keyKinds // how many there are, with None
)

// A rate is calls in a second, in most Regions and where it differs.
type rate struct {
	name   string
	normal float64
	in     map[string]float64 // by Region; "cn" stands for those of China
}

// rates are the quotas, with AWS's defaults. The first are those of the
// constants above. Sources: "Request quotas" in the AWS KMS Developer Guide, and
// LookupEvents in the AWS CloudTrail API Reference. AWS has published none for
// ML-KEM: they are those of ML-DSA and of pairs of elliptic curves.
var rates = slices.Concat(
	[]rate{
		None: {},
		Symmetric: {"symmetric", 10_000, map[string]float64{
			"us-east-1": 100_000, "us-west-2": 100_000, "eu-west-1": 100_000,
			"us-east-2": 20_000, "ap-southeast-1": 20_000, "ap-southeast-2": 20_000, "ap-northeast-1": 20_000, "eu-central-1": 20_000, "eu-west-2": 20_000,
		}},
		RSA:   {name: "rsa", normal: 1000},
		ECC:   {name: "ecc", normal: 1000},
		MLDSA: {name: "ml-dsa", normal: 1000},
		MLKEM: {name: "ml-kem", normal: 1000},
	},
	pairs(100, "ECC_NIST_P256", "ECC_NIST_P384", "ECC_NIST_P521", "ECC_SECG_P256K1", "ECC_NIST_EDWARDS25519"),
	[]rate{
		{pairPrefix + "RSA_2048", 20, map[string]float64{china: 1}},
		{pairPrefix + "RSA_3072", 4, map[string]float64{china: 0.5}},
		{pairPrefix + "RSA_4096", 1, map[string]float64{china: 0.1}},
	},
	pairs(25, "SM2"),
	pairs(100, "ML_KEM_512", "ML_KEM_768", "ML_KEM_1024"),
	each(1, "GetParametersForImport"),
	each(5, "CancelKeyDeletion", "ConnectCustomKeyStore", "CreateAlias", "CreateCustomKeyStore", "CreateKey", "DeleteCustomKeyStore",
		"DescribeCustomKeyStores", "DisableKey", "DisableKeyRotation", "DisconnectCustomKeyStore", "EnableKey", "GetKeyLastUsage", "ReplicateKey",
		"RotateKeyOnDemand", "UntagResource", "UpdateAlias", "UpdateCustomKeyStore", "UpdateKeyDescription", "UpdatePrimaryRegion"),
	each(10, "TagResource"),
	each(15, "DeleteAlias", "DeleteImportedKeyMaterial", "EnableKeyRotation", "ImportKeyMaterial", "PutKeyPolicy", "ScheduleKeyDeletion"),
	each(50, "CreateGrant", "RetireGrant", "RevokeGrant"),
	each(100, "ListGrants", "ListKeyPolicies", "ListKeyRotations", "ListRetirableGrants"),
	each(500, "ListAliases", "ListKeys"),
	each(1000, "GetKeyPolicy", "GetKeyRotationStatus"),
	each(2000, "DescribeKey", "GetPublicKey", "ListResourceTags"),
	each(2, lookupEvents),
)

const (
	china        = "cn"
	pairPrefix   = "GenerateDataKeyPair/"
	lookupEvents = "LookupEvents"
)

func each(normal float64, names ...string) []rate {
	list := make([]rate, len(names))
	for i, name := range names {
		list[i] = rate{name: name, normal: normal}
	}
	return list
}

func pairs(normal float64, specs ...string) []rate {
	list := each(normal, specs...)
	for i := range list {
		list[i].name = pairPrefix + list[i].name
	}
	return list
}

// classes are the quotas by name.
var classes = func() map[string]Class {
	m := make(map[string]Class, len(rates))
	for i := int(Symmetric); i < len(rates); i++ {
		m[rates[i].name] = Class(i)
	}
	return m
}()

// Operation returns the class of all calls of an operation of KMS, or of
// CloudTrail's LookupEvents; None if there is no such class.
func Operation(name string) Class {
	if c := classes[name]; c >= keyKinds {
		return c
	}
	return None
}

// KeyPair returns the class of calls for a data key pair of a spec, such as
// "RSA_2048", with the private key's plaintext or without. It is None if there is
// no such spec.
func KeyPair(spec string) Class { return classes[pairPrefix+spec] }

// Kind returns the class of calls that use a key of a spec, such as "RSA_2048",
// or that ask for an algorithm, such as "RSAES_OAEP_SHA_256": one that keys of
// the same kind have.
func Kind(name string) Class {
	// The names of both begin alike.
	for _, k := range kinds {
		if strings.HasPrefix(name, k.prefix) {
			return k.class
		}
	}
	return Symmetric
}

var kinds = []struct {
	prefix string
	class  Class
}{
	{"RSA", RSA}, // RSA_2048, RSAES_…, RSASSA_…
	{"EC", ECC},  // ECC_…, ECDSA_…, ECDH
	{"ED25519", ECC},
	{"SM2", ECC},
	{"ML_DSA", MLDSA},
	{"ML_KEM", MLKEM},
}

// ByKey reports whether the class is of calls that use keys of one kind.
func (c Class) ByKey() bool { return c != None && c < keyKinds }

// String returns the quota's name, as in the configuration.
func (c Class) String() string {
	if int(c) >= len(rates) {
		return ""
	}
	return rates[c].name
}

// The rates that can be set, in calls per second.
const (
	minRate = 0.001
	maxRate = 1e6
)

// Check returns what is wrong with rates by the names of quotas, as in
// [Options].
func Check(byName map[string]float64) error {
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		if classes[name] == None {
			return fmt.Errorf("%q is not the name of a quota", name)
		}
		if r := byName[name]; math.IsNaN(r) || r < minRate || r > maxRate {
			return fmt.Errorf("%s: must be from %v to %v calls per second", name, minRate, maxRate)
		}
	}
	return nil
}

// of returns the rate of a class in a Region, if nobody has set another.
func (r *rate) of(region string) float64 {
	if v, ok := r.in[region]; ok {
		return v
	}
	if v, ok := r.in[china]; ok && strings.HasPrefix(region, china+"-") {
		return v
	}
	return r.normal
}
