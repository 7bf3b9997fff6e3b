package keyring

import "slices"

// Spec is a key spec, spelled as in the API.
type Spec string

// The key specs that a key can be created with.
const (
	SymmetricDefault Spec = "SYMMETRIC_DEFAULT"
	RSA2048          Spec = "RSA_2048"
	RSA3072          Spec = "RSA_3072"
	RSA4096          Spec = "RSA_4096"
	ECCNISTP256      Spec = "ECC_NIST_P256"
	ECCNISTP384      Spec = "ECC_NIST_P384"
	ECCNISTP521      Spec = "ECC_NIST_P521"
	ECCSECGP256K1    Spec = "ECC_SECG_P256K1"
	ECCEdwards25519  Spec = "ECC_NIST_EDWARDS25519"
	MLDSA44          Spec = "ML_DSA_44"
	MLDSA65          Spec = "ML_DSA_65"
	MLDSA87          Spec = "ML_DSA_87"
	MLKEM512         Spec = "ML_KEM_512"
	MLKEM768         Spec = "ML_KEM_768"
	MLKEM1024        Spec = "ML_KEM_1024"
	SM2              Spec = "SM2"
	HMAC224          Spec = "HMAC_224"
	HMAC256          Spec = "HMAC_256"
	HMAC384          Spec = "HMAC_384"
	HMAC512          Spec = "HMAC_512"
)

// Usage is what a key is for, spelled as the API's KeyUsage.
type Usage string

// The usages of keys.
const (
	EncryptDecrypt         Usage = "ENCRYPT_DECRYPT"
	SignVerify             Usage = "SIGN_VERIFY"
	GenerateVerifyMAC      Usage = "GENERATE_VERIFY_MAC"
	KeyAgreement           Usage = "KEY_AGREEMENT"
	EncapsulateDecapsulate Usage = "ENCAPSULATE_DECAPSULATE"
)

// State is a key's state, spelled as the API's KeyState.
type State string

// The states that a key can be in.
const (
	Creating               State = "Creating" // a replica that has no material yet
	Enabled                State = "Enabled"
	Disabled               State = "Disabled"
	PendingImport          State = "PendingImport" // some material of the key is not there
	PendingDeletion        State = "PendingDeletion"
	PendingReplicaDeletion State = "PendingReplicaDeletion" // a primary key whose replicas are still there
	Updating               State = "Updating"               // its primary Region is being changed
)

// Origin is where a key's material comes from, spelled as the API's OriginType.
type Origin string

// The origins.
const (
	AWSKMS   Origin = "AWS_KMS"  // made here
	External Origin = "EXTERNAL" // imported
)

// Algorithm is an encryption, signing, MAC, key agreement or encapsulation
// algorithm, spelled as the API's EncryptionAlgorithmSpec, SigningAlgorithmSpec,
// MacAlgorithmSpec, KeyAgreementAlgorithmSpec and EncapsulationAlgorithmSpec. The
// symmetric encryption algorithm has the name of its key spec.
type Algorithm string

// The algorithms.
const (
	AlgorithmSymmetricDefault Algorithm = "SYMMETRIC_DEFAULT"
	RSAESOAEPSHA1             Algorithm = "RSAES_OAEP_SHA_1"
	RSAESOAEPSHA256           Algorithm = "RSAES_OAEP_SHA_256"
	RSASSAPKCS1V15SHA256      Algorithm = "RSASSA_PKCS1_V1_5_SHA_256"
	RSASSAPKCS1V15SHA384      Algorithm = "RSASSA_PKCS1_V1_5_SHA_384"
	RSASSAPKCS1V15SHA512      Algorithm = "RSASSA_PKCS1_V1_5_SHA_512"
	RSASSAPSSSHA256           Algorithm = "RSASSA_PSS_SHA_256"
	RSASSAPSSSHA384           Algorithm = "RSASSA_PSS_SHA_384"
	RSASSAPSSSHA512           Algorithm = "RSASSA_PSS_SHA_512"
	ECDSASHA256               Algorithm = "ECDSA_SHA_256"
	ECDSASHA384               Algorithm = "ECDSA_SHA_384"
	ECDSASHA512               Algorithm = "ECDSA_SHA_512"
	ED25519SHA512             Algorithm = "ED25519_SHA_512"
	ED25519PHSHA512           Algorithm = "ED25519_PH_SHA_512"
	MLDSASHAKE256             Algorithm = "ML_DSA_SHAKE_256"
	SM2PKE                    Algorithm = "SM2PKE"
	SM2DSA                    Algorithm = "SM2DSA"
	HMACSHA224                Algorithm = "HMAC_SHA_224"
	HMACSHA256                Algorithm = "HMAC_SHA_256"
	HMACSHA384                Algorithm = "HMAC_SHA_384"
	HMACSHA512                Algorithm = "HMAC_SHA_512"
	ECDH                      Algorithm = "ECDH"
	MLKEM                     Algorithm = "ML_KEM"
)

// offer is one usage that a spec can be created for.
type offer struct {
	spec       Spec
	usage      Usage
	algorithms []Algorithm // in the order in which AWS lists them
}

var rsaSigning = []Algorithm{
	RSASSAPKCS1V15SHA256, RSASSAPKCS1V15SHA384, RSASSAPKCS1V15SHA512,
	RSASSAPSSSHA256, RSASSAPSSSHA384, RSASSAPSSSHA512,
}

var rsaEncryption = []Algorithm{RSAESOAEPSHA1, RSAESOAEPSHA256}

// offers is every combination of spec and usage.
var offers = []offer{
	{SymmetricDefault, EncryptDecrypt, []Algorithm{AlgorithmSymmetricDefault}},
	{RSA2048, EncryptDecrypt, rsaEncryption},
	{RSA2048, SignVerify, rsaSigning},
	{RSA3072, EncryptDecrypt, rsaEncryption},
	{RSA3072, SignVerify, rsaSigning},
	{RSA4096, EncryptDecrypt, rsaEncryption},
	{RSA4096, SignVerify, rsaSigning},
	{ECCNISTP256, SignVerify, []Algorithm{ECDSASHA256}},
	{ECCNISTP256, KeyAgreement, []Algorithm{ECDH}},
	{ECCNISTP384, SignVerify, []Algorithm{ECDSASHA384}},
	{ECCNISTP384, KeyAgreement, []Algorithm{ECDH}},
	{ECCNISTP521, SignVerify, []Algorithm{ECDSASHA512}},
	{ECCNISTP521, KeyAgreement, []Algorithm{ECDH}},
	{ECCSECGP256K1, SignVerify, []Algorithm{ECDSASHA256}},
	{ECCEdwards25519, SignVerify, []Algorithm{ED25519PHSHA512, ED25519SHA512}},
	{MLDSA44, SignVerify, []Algorithm{MLDSASHAKE256}},
	{MLDSA65, SignVerify, []Algorithm{MLDSASHAKE256}},
	{MLDSA87, SignVerify, []Algorithm{MLDSASHAKE256}},
	{MLKEM512, EncapsulateDecapsulate, []Algorithm{MLKEM}},
	{MLKEM768, EncapsulateDecapsulate, []Algorithm{MLKEM}},
	{MLKEM1024, EncapsulateDecapsulate, []Algorithm{MLKEM}},
	{SM2, EncryptDecrypt, []Algorithm{SM2PKE}},
	{SM2, SignVerify, []Algorithm{SM2DSA}},
	{SM2, KeyAgreement, []Algorithm{ECDH}},
	{HMAC224, GenerateVerifyMAC, []Algorithm{HMACSHA224}},
	{HMAC256, GenerateVerifyMAC, []Algorithm{HMACSHA256}},
	{HMAC384, GenerateVerifyMAC, []Algorithm{HMACSHA384}},
	{HMAC512, GenerateVerifyMAC, []Algorithm{HMACSHA512}},
}

// Algorithms returns the algorithms of a key, in the order in which AWS lists
// them: those of its usage. The caller must not
// change the slice. It is nil if no key has that spec and usage.
func Algorithms(s Spec, u Usage) []Algorithm {
	for i := range offers {
		if offers[i].spec == s && offers[i].usage == u {
			return offers[i].algorithms
		}
	}
	return nil
}

// Pair reports whether keys of the spec are key pairs.
func (s Spec) Pair() bool { return s.asymmetric() }

// Known reports whether keys of the spec can be made at all.
func (s Spec) Known() bool {
	return slices.ContainsFunc(offers, func(o offer) bool { return o.spec == s })
}

// Compatible reports whether a key of spec s can have the usage u.
func Compatible(s Spec, u Usage) bool { return Algorithms(s, u) != nil }
