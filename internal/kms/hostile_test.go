package kms_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"math/big"
	"slices"
	"testing"
)

// publicKey returns the public key of a key, parsed, and in DER.
func (e *env) publicKey(id string) (parsed any, der []byte) {
	e.t.Helper()
	der = unb64(e.t, e.must(alice, "GetPublicKey", object{"KeyId": id}).str("PublicKey"))
	parsed, _ = x509.ParsePKIXPublicKey(der) // which does not know all of them
	return parsed, der
}

// refuses sends a request that has to fail with this "Code: message".
func (e *env) refuses(name, operation string, request object, want string) {
	e.t.Helper()
	if a := e.call(alice, operation, encode(e.t, request)); a.text() != want || a.err.Status != 400 {
		e.t.Errorf("%s: %s = %s, want %s", name, operation, or(a.text(), "success"), want)
	}
}

// What is encrypted to a public key by whoever has it, in ways that KMS never
// does, is no ciphertext: to Decrypt, and to ReEncrypt.
func TestHostileCiphertexts(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	id, other := e.createKey("RSA_2048", "ENCRYPT_DECRYPT"), e.createKey("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT")
	parsed, _ := e.publicKey(id)
	public := parsed.(*rsa.PublicKey)
	oaep := func(plaintext, label string) []byte {
		b, err := rsa.EncryptOAEP(sha256.New(), rand.Reader, public, []byte(plaintext), []byte(label))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	raw := func(n *big.Int) []byte { return n.FillBytes(make([]byte, 256)) }
	minus1 := new(big.Int).Sub(public.N, big.NewInt(1))
	for name, ciphertext := range map[string][]byte{
		"of nothing": oaep("", ""), "with a label": oaep("plaintext", "label"), "one byte": {0}, "a byte less": oaep("x", "")[1:],
		"zero": raw(new(big.Int)), "one": raw(big.NewInt(1)), "n - 1": raw(minus1), "n": raw(public.N),
		"a zero before": append([]byte{0}, oaep("x", "")...), "the longest": make([]byte, 6144),
	} {
		e.refuses(name, "Decrypt", object{"KeyId": id, "CiphertextBlob": b64(ciphertext), "EncryptionAlgorithm": "RSAES_OAEP_SHA_256"}, "InvalidCiphertextException")
		e.refuses(name, "ReEncrypt", object{
			"SourceKeyId": id, "CiphertextBlob": b64(ciphertext), "SourceEncryptionAlgorithm": "RSAES_OAEP_SHA_256", "DestinationKeyId": other,
		}, "InvalidCiphertextException")
	}
}

// Signatures that a lax verifier takes.
func TestHostileSignatures(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	type rs struct{ R, S *big.Int }
	der := func(r, s *big.Int) []byte {
		b, err := asn1.Marshal(rs{r, s})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for _, test := range []struct {
		spec, algorithm string
		bad             func(id string, good []byte) map[string][]byte
	}{
		{"RSA_2048", "RSASSA_PKCS1_V1_5_SHA_256", func(id string, good []byte) map[string][]byte {
			parsed, _ := e.publicKey(id)
			n := parsed.(*rsa.PublicKey).N
			more := new(big.Int).Add(n, new(big.Int).SetBytes(good))
			return map[string][]byte{"s + n": more.Bytes(), "a zero before": append([]byte{0}, good...), "zero": make([]byte, 256), "one": append(make([]byte, 255), 1)}
		}},
		{"RSA_2048", "RSASSA_PSS_SHA_256", func(_ string, good []byte) map[string][]byte {
			return map[string][]byte{"a zero before": append([]byte{0}, good...), "cut short": good[1:]}
		}},
		{"ECC_SECG_P256K1", "ECDSA_SHA_256", func(_ string, good []byte) map[string][]byte {
			var s rs
			if _, err := asn1.Unmarshal(good, &s); err != nil {
				t.Fatal(err)
			}
			order, _ := new(big.Int).SetString("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141", 16)
			zero := new(big.Int)
			return map[string][]byte{
				"zeros": der(zero, zero), "s + n": der(s.R, order.Add(order, s.S)), "r ‖ s": append(s.R.FillBytes(make([]byte, 32)), s.S.FillBytes(make([]byte, 32))...),
				"a byte behind": append(slices.Clone(good), 0), "cut short": good[:len(good)-1], "a set": append([]byte{0x31}, good[1:]...),
			}
		}},
		{"ECC_NIST_P256", "ECDSA_SHA_256", func(_ string, good []byte) map[string][]byte {
			var s rs
			if _, err := asn1.Unmarshal(good, &s); err != nil {
				t.Fatal(err)
			}
			n := elliptic.P256().Params().N
			return map[string][]byte{"s + n": der(s.R, new(big.Int).Add(s.S, n)), "-s": der(s.R, new(big.Int).Neg(s.S)), "r = n": der(n, s.S), "only a sequence": {0x30, 0}}
		}},
		{"ECC_NIST_EDWARDS25519", "ED25519_SHA_512", func(_ string, good []byte) map[string][]byte {
			// R of small order, the neutral element, and S = 0.
			small := append([]byte{1}, make([]byte, 63)...)
			high := slices.Clone(good)
			high[63] |= 0xe0
			return map[string][]byte{"of small order": small, "S with its highest bits": high, "cut short": good[:63], "zeros": make([]byte, 64)}
		}},
		{"ML_DSA_44", "ML_DSA_SHAKE_256", func(_ string, good []byte) map[string][]byte {
			hints := slices.Clone(good)
			end := hints[len(hints)-84:] // 80 places and the ends of 4 polynomials
			end[83]++
			return map[string][]byte{"a hint more": hints, "cut short": good[:len(good)-1], "zeros": make([]byte, len(good))}
		}},
	} {
		id := e.createKey(test.spec, "SIGN_VERIFY")
		request := object{"KeyId": id, "Message": b64([]byte("m")), "SigningAlgorithm": test.algorithm}
		good := unb64(t, e.must(alice, "Sign", request).str("Signature"))
		e.must(alice, "Verify", request.with(object{"Signature": b64(good)}))
		for name, bad := range test.bad(id, good) {
			e.refuses(test.algorithm+", "+name, "Verify", request.with(object{"Signature": b64(bad)}), "KMSInvalidSignatureException")
		}
	}
}

// Peers to agree with that give away the private key, or are none.
func TestHostilePeers(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	id := e.createKey("ECC_NIST_P256", "KEY_AGREEMENT")
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	good, err := x509.MarshalPKIXPublicKey(&other.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	// SEQUENCE { SEQUENCE { OID, OID }, BIT STRING { 0, 4, x, y } }
	algorithm, point := good[2:23], good[26:]
	spki := func(algorithm, point []byte, more ...byte) []byte {
		bits := append([]byte{3, byte(1 + len(point)), 0}, point...)
		inner := append(append(slices.Clone(algorithm), bits...), more...)
		return append([]byte{0x30, byte(len(inner))}, inner...)
	}
	if !bytes.Equal(spki(algorithm, point), good) {
		t.Fatalf("%x is put together as %x", good, spki(algorithm, point))
	}
	off := slices.Clone(point)
	off[64] ^= 1
	request := object{"KeyId": id, "KeyAgreementAlgorithm": "ECDH"}
	e.must(alice, "DeriveSharedSecret", request.with(object{"PublicKey": b64(good)}))
	_, k1 := e.publicKey(e.createKey("ECC_SECG_P256K1", "SIGN_VERIFY"))
	_, ed := e.publicKey(e.createKey("ECC_NIST_EDWARDS25519", "SIGN_VERIFY"))
	_, kem := e.publicKey(e.createKey("ML_KEM_512", "ENCAPSULATE_DECAPSULATE"))
	for name, bad := range map[string][]byte{
		"infinity": spki(algorithm, []byte{0}), "(0, 0)": spki(algorithm, append([]byte{4}, make([]byte, 64)...)), "not on the curve": spki(algorithm, off),
		"compressed": spki(algorithm, append([]byte{2 + point[64]&1}, point[1:33]...)), "no point": spki(algorithm, nil),
		"something behind it": append(slices.Clone(good), 0), "something more in it": spki(algorithm, point, 5, 0), "cut short": good[:len(good)-1],
		"another curve": k1, "another family": ed, "one to encapsulate for": kem, "a private key": {0x30, 0x03, 0x02, 0x01, 0x00}, "one byte": {0x30},
	} {
		e.refuses(name, "DeriveSharedSecret", request.with(object{"PublicKey": b64(bad)}), "ValidationException")
	}
}

// FuzzHostile sends what is no ciphertext, signature, MAC, public key or document
// to each operation that takes one, with a key of each family: it is refused as
// such, and never an internal error.
func FuzzHostile(f *testing.F) {
	e := newEnv(f)
	type target struct {
		region, operation, member string
		request                   object
		refusals                  []string
	}
	var targets []target
	seed := func(t target, good string) {
		f.Add(uint8(len(targets)), unb64(f, good))
		targets = append(targets, t)
	}
	message := object{"Message": b64([]byte("m"))}
	keys := make(map[string]string) // by spec
	for _, s := range [][2]string{
		{"RSA_2048", "RSASSA_PKCS1_V1_5_SHA_256"},
		{"RSA_2048", "RSASSA_PSS_SHA_512"},
		{"ECC_NIST_P256", "ECDSA_SHA_256"},
		{"ECC_NIST_P521", "ECDSA_SHA_512"},
		{"ECC_SECG_P256K1", "ECDSA_SHA_256"},
		{"ECC_NIST_EDWARDS25519", "ED25519_SHA_512"},
		{"ML_DSA_44", "ML_DSA_SHAKE_256"},
	} {
		if keys[s[0]] == "" {
			keys[s[0]] = e.createKey(s[0], "SIGN_VERIFY")
		}
		request := message.with(object{"KeyId": keys[s[0]], "SigningAlgorithm": s[1]})
		seed(target{testRegion, "Verify", "Signature", request, []string{"KMSInvalidSignatureException"}}, e.must(alice, "Sign", request).str("Signature"))
	}
	mac := message.with(object{"KeyId": e.createKey("HMAC_256", "GENERATE_VERIFY_MAC"), "MacAlgorithm": "HMAC_SHA_256"})
	seed(target{testRegion, "VerifyMac", "Mac", mac, []string{"KMSInvalidMacException"}}, e.must(alice, "GenerateMac", mac).str("Mac"))
	plaintext := object{"Plaintext": b64([]byte("p"))}
	oaep := object{"KeyId": e.createKey("RSA_2048", "ENCRYPT_DECRYPT"), "EncryptionAlgorithm": "RSAES_OAEP_SHA_1"}
	seed(target{testRegion, "Decrypt", "CiphertextBlob", oaep, []string{"InvalidCiphertextException"}}, e.must(alice, "Encrypt", oaep.with(plaintext)).str("CiphertextBlob"))
	// A ciphertext may name a key of another account, or none that is there.
	symmetric := object{"KeyId": e.createKey("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT")}
	blob := e.must(alice, "Encrypt", symmetric.with(plaintext)).str("CiphertextBlob")
	seed(target{testRegion, "Decrypt", "CiphertextBlob", object{}, []string{"InvalidCiphertextException", "AccessDeniedException", "NotFoundException"}}, blob)
	seed(target{testRegion, "Decrypt", "CiphertextBlob", symmetric, []string{"InvalidCiphertextException", "IncorrectKeyException", "AccessDeniedException"}}, blob)
	kem := object{"KeyId": e.createKey("ML_KEM_768", "ENCAPSULATE_DECAPSULATE"), "EncapsulationAlgorithm": "ML_KEM"}
	seed(target{testRegion, "Decapsulate", "SharedSecretCiphertextBlob", kem, []string{"InvalidCiphertextException"}}, e.must(alice, "Encapsulate", kem).str("SharedSecretCiphertextBlob"))
	for _, spec := range []string{"ECC_NIST_P256", "ECC_NIST_P384", "ECC_NIST_P521"} {
		id := e.createKey(spec, "KEY_AGREEMENT")
		_, der := e.publicKey(id)
		seed(target{testRegion, "DeriveSharedSecret", "PublicKey", object{"KeyId": id, "KeyAgreementAlgorithm": "ECDH"}, nil}, b64(der))
	}
	// SM2, in a Region that has it.
	const china = "cn-north-1"
	there := func(operation string, request object) object {
		a := e.callIn(china, alice, operation, encode(f, request))
		if a.err != nil {
			f.Fatalf("%s: %v", operation, a.err)
		}
		return decode(f, a.body)
	}
	sm2 := func(usage string) string {
		return there("CreateKey", object{"KeySpec": "SM2", "KeyUsage": usage}).object("KeyMetadata").str("KeyId")
	}
	signed := message.with(object{"KeyId": sm2("SIGN_VERIFY"), "SigningAlgorithm": "SM2DSA"})
	seed(target{china, "Verify", "Signature", signed, []string{"KMSInvalidSignatureException"}}, there("Sign", signed).str("Signature"))
	encrypted := object{"KeyId": sm2("ENCRYPT_DECRYPT"), "EncryptionAlgorithm": "SM2PKE"}
	seed(target{china, "Decrypt", "CiphertextBlob", encrypted, []string{"InvalidCiphertextException"}}, there("Encrypt", encrypted.with(plaintext)).str("CiphertextBlob"))
	agrees := object{"KeyId": sm2("KEY_AGREEMENT"), "KeyAgreementAlgorithm": "ECDH"}
	seed(target{china, "DeriveSharedSecret", "PublicKey", agrees, nil}, there("GetPublicKey", object{"KeyId": agrees["KeyId"]}).str("PublicKey"))

	// What is imported, and what comes with it.
	external := e.must(alice, "CreateKey", object{"Origin": "EXTERNAL"}).object("KeyMetadata").str("KeyId")
	material := importOf(e, external).with(object{"KeyId": external})
	seed(target{testRegion, "ImportKeyMaterial", "EncryptedKeyMaterial", material, []string{"InvalidCiphertextException", "IncorrectKeyMaterialException"}}, material.str("EncryptedKeyMaterial"))
	seed(target{testRegion, "ImportKeyMaterial", "ImportToken", material, []string{"InvalidImportTokenException", "IncorrectKeyMaterialException"}}, material.str("ImportToken"))

	f.Fuzz(func(t *testing.T, which uint8, b []byte) {
		target := targets[int(which)%len(targets)]
		e.t = t // one runs at a time
		a := e.callIn(target.region, alice, target.operation, encode(t, target.request.with(object{target.member: b64(b)})))
		// What is too long, or empty, does not come so far.
		if code := a.code(); code != "" && code != "ValidationException" && !slices.Contains(target.refusals, code) {
			t.Errorf("%s of %x: %v", target.operation, b, a.err)
		}
	})
}
