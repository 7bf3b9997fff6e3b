package keyring_test

import (
	"bytes"
	"crypto"
	"crypto/ecdh"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/cryptobyte"

	"github.com/keyreeve/keyreeve/internal/keyring"
)

// Project Wycheproof's test vectors are a Go module of 100 MB that nothing is
// built of, so no go.mod requires it: `go mod download` puts it into the module
// cache, once, and what it puts there is compared with this checksum.
const (
	wycheproofModule = "github.com/c2sp/wycheproof@v0.0.0-20260902155932-3fa63dd0344a"
	wycheproofSum    = "h1:pNbL2nztRsWfW/ispAwsvcDFxs9Id38uIsR2/Up5G2c="
)

// wycheproofFolder is where the module is.
var wycheproofFolder = sync.OnceValues(func() (string, error) {
	out, err := exec.Command("go", "mod", "download", "-json", wycheproofModule).Output()
	var module struct{ Dir, Sum, Error string }
	if e := json.Unmarshal(out, &module); e != nil || module.Error != "" {
		return "", fmt.Errorf("go mod download %s: %s %w", wycheproofModule, module.Error, errors.Join(err, e))
	}
	if module.Sum != wycheproofSum {
		return "", fmt.Errorf("%s has the checksum %s, want %s", wycheproofModule, module.Sum, wycheproofSum)
	}
	return module.Dir, nil
})

// trialGroup is the tests of a file with what they have in common.
type trialGroup struct {
	KeySize, TagSize, SLen        int
	Sha, MgfSha                   string
	PublicKey                     json.RawMessage // of ML-DSA in hex
	PublicKeyDer, PrivateKeyPkcs8 hexBytes
	PrivateSeed                   hexBytes
	Tests                         []trial
}

// trial is one test. Which members it has depends on the file.
type trial struct {
	ID                      int `json:"tcId"`
	Comment, Result         string
	Flags                   []string
	Msg, Sig, Ctx, Mu       hexBytes
	Ct, Label               hexBytes
	Public, Private, Shared hexBytes
	Key, Tag                hexBytes
	Seed, EK, C, K          hexBytes
}

// valid is what Wycheproof says. What it calls acceptable is
// decided by each test.
func (v *trial) valid() bool { return v.Result == "valid" }

func (v *trial) has(flag string) bool { return slices.Contains(v.Flags, flag) }

// classes counts trials that are alike.
type classes map[string]int

// enough reports whether so many trials of v's class were done that v need not.
func (c classes) enough(s keyring.Spec, v *trial) bool {
	most := perClass
	switch s {
	case keyring.ECCNISTP384, keyring.ECCNISTP521, keyring.ECCSECGP256K1:
		most = perSlowClass
	}
	class := v.Result + " " + strings.Join(v.Flags, " ")
	c[class]++
	return c[class] > most
}

func wycheproof(t *testing.T, file string) []trialGroup {
	t.Helper()
	folder, err := wycheproofFolder()
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(folder, "testvectors_v1", file+"_test.json"))
	if err != nil {
		t.Fatal(err)
	}
	var all struct {
		NumberOfTests int
		TestGroups    []trialGroup
	}
	if err := json.Unmarshal(b, &all); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	n := 0
	for i := range all.TestGroups {
		n += len(all.TestGroups[i].Tests)
	}
	if n == 0 || n != all.NumberOfTests {
		t.Fatalf("%s: %d of %d tests", file, n, all.NumberOfTests)
	}
	return all.TestGroups
}

// TestWycheproofSignatures verifies with public keys alone, as Verify does: each
// message as it is, and as a digest.
func TestWycheproofSignatures(t *testing.T) {
	t.Parallel()
	asSaid := func(_ *trialGroup, v *trial) bool { return v.valid() }
	never := func(*trialGroup, *trial) bool { return false }
	for _, tt := range []struct {
		file string
		spec keyring.Spec
		a    keyring.Algorithm
		// want is what is right of a test. Nothing that is merely acceptable is:
		// MissingNull is a DigestInfo without the NULL that RFC 8017, A.2.4, has.
		want func(*trialGroup, *trial) bool
	}{
		{"ecdsa_secp256r1_sha256", keyring.ECCNISTP256, keyring.ECDSASHA256, asSaid},
		{"ecdsa_secp384r1_sha384", keyring.ECCNISTP384, keyring.ECDSASHA384, asSaid},
		{"ecdsa_secp521r1_sha512", keyring.ECCNISTP521, keyring.ECDSASHA512, asSaid},
		{"ecdsa_secp256k1_sha256", keyring.ECCSECGP256K1, keyring.ECDSASHA256, asSaid},
		// Bitcoin takes the lower s alone. What AWS KMS signs may have either, so
		// that both verify.
		{"ecdsa_secp256k1_sha256_bitcoin", keyring.ECCSECGP256K1, keyring.ECDSASHA256, func(_ *trialGroup, v *trial) bool {
			return v.valid() || v.has("SignatureMalleabilityBitcoin") || v.Comment == "edge case for signature malleability"
		}},
		// r and s side by side, as JOSE has them, are no signature.
		{"ecdsa_secp256r1_sha256_p1363", keyring.ECCNISTP256, keyring.ECDSASHA256, never},
		{"ecdsa_secp384r1_sha384_p1363", keyring.ECCNISTP384, keyring.ECDSASHA384, never},
		{"ecdsa_secp521r1_sha512_p1363", keyring.ECCNISTP521, keyring.ECDSASHA512, never},
		{"ecdsa_secp256k1_sha256_p1363", keyring.ECCSECGP256K1, keyring.ECDSASHA256, never},
		// Right, but for the hash.
		{"ecdsa_secp256r1_sha512", keyring.ECCNISTP256, keyring.ECDSASHA256, never},

		{"ed25519", keyring.ECCEdwards25519, keyring.ED25519SHA512, asSaid},

		{"rsa_signature_2048_sha256", keyring.RSA2048, keyring.RSASSAPKCS1V15SHA256, asSaid},
		{"rsa_signature_2048_sha384", keyring.RSA2048, keyring.RSASSAPKCS1V15SHA384, asSaid},
		{"rsa_signature_2048_sha512", keyring.RSA2048, keyring.RSASSAPKCS1V15SHA512, asSaid},
		{"rsa_signature_3072_sha256", keyring.RSA3072, keyring.RSASSAPKCS1V15SHA256, asSaid},
		{"rsa_signature_3072_sha384", keyring.RSA3072, keyring.RSASSAPKCS1V15SHA384, asSaid},
		{"rsa_signature_3072_sha512", keyring.RSA3072, keyring.RSASSAPKCS1V15SHA512, asSaid},
		{"rsa_signature_4096_sha256", keyring.RSA4096, keyring.RSASSAPKCS1V15SHA256, asSaid},
		{"rsa_signature_4096_sha384", keyring.RSA4096, keyring.RSASSAPKCS1V15SHA384, asSaid},
		{"rsa_signature_4096_sha512", keyring.RSA4096, keyring.RSASSAPKCS1V15SHA512, asSaid},

		{"rsa_pss_2048_sha256_mgf1_32", keyring.RSA2048, keyring.RSASSAPSSSHA256, asSaid},
		{"rsa_pss_2048_sha384_mgf1_48", keyring.RSA2048, keyring.RSASSAPSSSHA384, asSaid},
		{"rsa_pss_3072_sha256_mgf1_32", keyring.RSA3072, keyring.RSASSAPSSSHA256, asSaid},
		{"rsa_pss_4096_sha256_mgf1_32", keyring.RSA4096, keyring.RSASSAPSSSHA256, asSaid},
		{"rsa_pss_4096_sha384_mgf1_48", keyring.RSA4096, keyring.RSASSAPSSSHA384, asSaid},
		{"rsa_pss_4096_sha512_mgf1_64", keyring.RSA4096, keyring.RSASSAPSSSHA512, asSaid},
		// A salt of another length than the hash, and another hash of the mask.
		{"rsa_pss_2048_sha256_mgf1_0", keyring.RSA2048, keyring.RSASSAPSSSHA256, func(_ *trialGroup, v *trial) bool {
			return v.Comment == "s_len changed to 32"
		}},
		{"rsa_pss_2048_sha256_mgf1sha1_20", keyring.RSA2048, keyring.RSASSAPSSSHA256, never},
		{"rsa_pss_4096_sha512_mgf1_32", keyring.RSA4096, keyring.RSASSAPSSSHA512, never},
		// Every combination of hashes and lengths.
		{"rsa_pss_misc", keyring.RSA2048, keyring.RSASSAPSSSHA256, pssOf("SHA-256", 32)},
		{"rsa_pss_misc", keyring.RSA2048, keyring.RSASSAPSSSHA384, pssOf("SHA-384", 48)},
		{"rsa_pss_misc", keyring.RSA2048, keyring.RSASSAPSSSHA512, pssOf("SHA-512", 64)},
	} {
		t.Run(tt.file+" "+string(tt.a), func(t *testing.T) {
			t.Parallel()
			groups, done := wycheproof(t, tt.file), make(classes)
			for i := range groups {
				group := &groups[i]
				p, err := keyring.NewVerifier(tt.spec, group.PublicKeyDer)
				if err != nil {
					t.Errorf("the key of test %d: %v", group.Tests[0].ID, err)
					continue
				}
				for j := range group.Tests {
					v := &group.Tests[j]
					if done.enough(tt.spec, v) {
						continue
					}
					want := tt.want(group, v)
					if got, err := p.Verify(tt.a, v.Msg, false, v.Sig); got != want || err != nil {
						t.Errorf("test %d, %s %v: %t, %v; want %t", v.ID, v.Comment, v.Flags, got, err, want)
					}
					if tt.a == keyring.ED25519SHA512 {
						continue
					}
					if got, err := p.Verify(tt.a, sum(hashOf(tt.a), v.Msg), true, v.Sig); got != want || err != nil {
						t.Errorf("test %d, %s %v, as a digest: %t, %v; want %t", v.ID, v.Comment, v.Flags, got, err, want)
					}
				}
			}
		})
	}
}

// pssOf is true for valid signatures with one hash all through, and a salt of
// its length.
func pssOf(hash string, size int) func(*trialGroup, *trial) bool {
	return func(g *trialGroup, v *trial) bool {
		return v.valid() && g.Sha == hash && g.MgfSha == hash && g.SLen == size
	}
}

// TestWycheproofMLDSA verifies messages, and μ, by two implementations.
func TestWycheproofMLDSA(t *testing.T) {
	t.Parallel()
	for _, tt := range dsaSpecs {
		size := strings.TrimPrefix(tt.name, "ML-DSA-")
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			done := make(classes)
			for _, group := range wycheproof(t, "mldsa_"+size+"_verify") {
				var text hexBytes
				if err := json.Unmarshal(group.PublicKey, &text); err != nil {
					t.Fatal(err)
				}
				raw := []byte(text)
				p, err := keyring.NewVerifier(tt.spec, spkiOf(tt.oid, func(*cryptobyte.Builder) {}, raw))
				for _, v := range group.Tests {
					if done.enough(tt.spec, &v) {
						continue
					}
					if err != nil {
						if v.valid() {
							t.Errorf("test %d, %s: the key: %v", v.ID, v.Comment, err)
						}
						continue
					}
					// KMS knows no context but the empty one, and who has μ made puts
					// into it what he likes.
					want := v.valid() && len(v.Ctx) == 0
					if got, err := p.Verify(keyring.MLDSASHAKE256, v.Msg, false, v.Sig); got != want || err != nil {
						t.Errorf("test %d, %s: %t, %v; want %t", v.ID, v.Comment, got, err, want)
					}
					if len(v.Ctx) > 255 {
						continue // there is no μ
					}
					formatted := append(append([]byte{0, byte(len(v.Ctx))}, v.Ctx...), v.Msg...)
					if got, err := p.Verify(keyring.MLDSASHAKE256, muOf(raw, formatted), true, v.Sig); got != v.valid() || err != nil {
						t.Errorf("test %d, %s, μ: %t, %v; want %t", v.ID, v.Comment, got, err, v.valid())
					}
				}
			}
			// Keys of seeds, and signatures of a μ that is given.
			for _, group := range wycheproof(t, "mldsa_"+size+"_sign_seed") {
				private := ofSeed(tt.oid, 0x80, group.PrivateSeed)
				if len(group.PrivateKeyPkcs8) > 0 && !bytes.Equal(private, group.PrivateKeyPkcs8) {
					t.Errorf("test %d: another encoding than %x", group.Tests[0].ID, group.PrivateKeyPkcs8)
				}
				spki, err := keyring.PublicOf(tt.spec, private)
				if len(group.PrivateSeed) != 32 {
					if err == nil {
						t.Errorf("test %d: a seed of %d bytes is a key", group.Tests[0].ID, len(group.PrivateSeed))
					}
					continue
				}
				if err != nil {
					t.Fatal(err)
				}
				var want hexBytes
				if err := json.Unmarshal(group.PublicKey, &want); err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(rawPublic(t, tt.oid, spki), want) {
					t.Errorf("test %d: another public key", group.Tests[0].ID)
				}
				p, err := keyring.NewVerifier(tt.spec, spki)
				if err != nil {
					t.Fatal(err)
				}
				for _, v := range group.Tests {
					if !v.valid() {
						continue
					}
					if got, err := p.Verify(keyring.MLDSASHAKE256, v.Mu, true, v.Sig); !got || err != nil {
						t.Errorf("test %d, %s: %t, %v", v.ID, v.Comment, got, err)
					}
				}
			}
		})
	}
}

// TestWycheproofMLKEM decapsulates with keys of a ring, and parses public keys.
func TestWycheproofMLKEM(t *testing.T) {
	t.Parallel()
	for _, tt := range kemSpecs {
		size := strings.TrimPrefix(tt.name, "ML-KEM-")
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			g := newRig(t, nil, keyring.Options{})
			ids, done := make(map[string]string), make(classes) // by seed
			for _, group := range wycheproof(t, "mlkem_"+size) {
				for _, v := range group.Tests {
					if done.enough(tt.spec, &v) {
						continue
					}
					private := ofSeed(tt.oid, 0x80, v.Seed)
					if len(v.Seed) != 64 {
						if _, err := keyring.ParsePrivate(tt.spec, private); err == nil || v.valid() {
							t.Errorf("test %d: a seed of %d bytes: %v", v.ID, len(v.Seed), err)
						}
						continue
					}
					id := ids[string(v.Seed)]
					if id == "" {
						id = fmt.Sprintf("%08d-5555-4555-8555-555555555555", v.ID)
						ids[string(v.Seed)] = id
						m := g.seed(t, id, tt.spec, keyring.EncapsulateDecapsulate, private)
						if len(v.EK) > 0 && !bytes.Equal(rawPublic(t, tt.oid, m.PublicKey), v.EK) {
							t.Errorf("test %d: another public key", v.ID)
						}
					}
					got, err := g.mustOpen(t, id, "kms:Decapsulate").Decapsulate(t.Context(), keyring.MLKEM, v.C)
					switch {
					case v.valid():
						if err != nil || !bytes.Equal(got.Reveal(), v.K) {
							t.Errorf("test %d, %s: %x, %v; want %x", v.ID, v.Comment, got.Reveal(), err, v.K)
						}
					case !errors.Is(err, keyring.ErrInvalidCiphertext):
						t.Errorf("test %d, %s: %v, want ErrInvalidCiphertext", v.ID, v.Comment, err)
					}
				}
			}
			done = make(classes)
			for _, group := range wycheproof(t, "mlkem_"+size+"_encaps") {
				for _, v := range group.Tests {
					if v.valid() && done.enough(tt.spec, &v) {
						continue
					}
					spki := spkiOf(tt.oid, func(*cryptobyte.Builder) {}, v.EK)
					out, err := keyring.ParsePublic(tt.spec, spki)
					if (err == nil) != v.valid() || err == nil && !bytes.Equal(out, spki) {
						t.Errorf("test %d, %s: %v, want valid: %t", v.ID, v.Comment, err, v.valid())
					}
				}
			}
			for _, group := range wycheproof(t, "mlkem_"+size+"_keygen_seed") {
				for _, v := range group.Tests {
					if done.enough(tt.spec, &v) {
						continue
					}
					spki, err := keyring.PublicOf(tt.spec, ofSeed(tt.oid, 0x80, v.Seed))
					if err != nil || !bytes.Equal(rawPublic(t, tt.oid, spki), v.EK) {
						t.Errorf("test %d, %s: another public key, %v", v.ID, v.Comment, err)
					}
				}
			}
		})
	}
}

// TestWycheproofECDH agrees with peers of all sorts by keys of a ring. What is
// acceptable is refused, all of it: compressed points, curves by their
// parameters, and DER that is none.
func TestWycheproofECDH(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		file  string
		spec  keyring.Spec
		curve ecdh.Curve
	}{
		{"ecdh_secp256r1", keyring.ECCNISTP256, ecdh.P256()},
		{"ecdh_secp384r1", keyring.ECCNISTP384, ecdh.P384()},
		{"ecdh_secp521r1", keyring.ECCNISTP521, ecdh.P521()},
	} {
		t.Run(tt.file, func(t *testing.T) {
			t.Parallel()
			g := newRig(t, nil, keyring.Options{})
			keys, done := make(map[string]keyring.Key), make(classes) // by scalar
			for _, group := range wycheproof(t, tt.file) {
				for _, v := range group.Tests {
					if v.valid() && done.enough(tt.spec, &v) {
						continue // a shared secret takes long, and to refuse does not
					}
					key, ok := keys[string(v.Private)]
					if !ok {
						id := fmt.Sprintf("%08d-6666-4666-8666-666666666666", v.ID)
						g.seed(t, id, tt.spec, keyring.KeyAgreement, ecPrivate(t, tt.curve, v.Private))
						key = g.mustOpen(t, id, "kms:DeriveSharedSecret")
						keys[string(v.Private)] = key
					}
					got, err := key.DeriveSharedSecret(t.Context(), keyring.ECDH, v.Public)
					switch {
					case v.valid():
						if err != nil || !bytes.Equal(got.Reveal(), v.Shared) {
							t.Errorf("test %d, %s: %x, %v; want %x", v.ID, v.Comment, got.Reveal(), err, v.Shared)
						}
					case !errors.Is(err, keyring.ErrPeerKey):
						t.Errorf("test %d, %s %v: %v, want ErrPeerKey", v.ID, v.Comment, v.Flags, err)
					}
				}
			}
		})
	}
}

// ecPrivate is the PKCS#8 encoding of a scalar, which may have too many zeros
// before it, or too few.
func ecPrivate(t *testing.T, curve ecdh.Curve, scalar []byte) []byte {
	t.Helper()
	size := map[ecdh.Curve]int{ecdh.P256(): 32, ecdh.P384(): 48, ecdh.P521(): 66}[curve]
	k, err := curve.NewPrivateKey(new(big.Int).SetBytes(scalar).FillBytes(make([]byte, size)))
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// TestWycheproofOAEP decrypts with keys of a ring. KMS knows no label, the mask's
// hash is the other one's, and there is a plaintext; what has others, or none, is
// no ciphertext.
func TestWycheproofOAEP(t *testing.T) {
	t.Parallel()
	algorithms := map[string]keyring.Algorithm{"SHA-1": keyring.RSAESOAEPSHA1, "SHA-256": keyring.RSAESOAEPSHA256}
	specs := map[int]keyring.Spec{2048: keyring.RSA2048, 3072: keyring.RSA3072, 4096: keyring.RSA4096}
	for _, file := range []string{
		"rsa_oaep_2048_sha1_mgf1sha1", "rsa_oaep_2048_sha256_mgf1sha256", "rsa_oaep_2048_sha256_mgf1sha1",
		"rsa_oaep_3072_sha256_mgf1sha256", "rsa_oaep_4096_sha256_mgf1sha256", "rsa_oaep_misc",
	} {
		t.Run(file, func(t *testing.T) {
			t.Parallel()
			g := newRig(t, nil, keyring.Options{})
			n, done := 0, make(classes)
			for _, group := range wycheproof(t, file) {
				spec, a := specs[group.KeySize], algorithms[group.Sha]
				if spec == "" {
					for _, s := range specs {
						if _, err := keyring.ParsePrivate(s, group.PrivateKeyPkcs8); err == nil {
							t.Errorf("a key of %d bits is one of %s", group.KeySize, s)
						}
					}
					continue
				}
				if a == "" || done.enough(spec, &group.Tests[0]) {
					continue
				}
				n++
				id := fmt.Sprintf("%08d-7777-4777-8777-777777777777", group.Tests[0].ID)
				g.seed(t, id, spec, keyring.EncryptDecrypt, group.PrivateKeyPkcs8)
				decrypt := g.mustOpen(t, id, "kms:Decrypt")
				for _, v := range group.Tests {
					got, _, err := decrypt.Decrypt(t.Context(), a, v.Ct, nil)
					if v.valid() && len(v.Label) == 0 && len(v.Msg) > 0 && group.Sha == group.MgfSha {
						if err != nil || !bytes.Equal(got.Reveal(), v.Msg) {
							t.Errorf("test %d, %s: %x, %v; want %x", v.ID, v.Comment, got.Reveal(), err, v.Msg)
						}
					} else if !errors.Is(err, keyring.ErrInvalidCiphertext) {
						t.Errorf("test %d, %s %v: %x, %v; want ErrInvalidCiphertext", v.ID, v.Comment, v.Flags, got.Reveal(), err)
					}
				}
			}
			if n == 0 {
				t.Error("no test was done")
			}
		})
	}
	// Keys of three primes are no keys of ours.
	for _, group := range wycheproof(t, "rsa_three_primes_oaep_2048_sha1_mgf1sha1") {
		if _, err := keyring.ParsePrivate(keyring.RSA2048, group.PrivateKeyPkcs8); err == nil {
			t.Error("a key of three primes is a private key")
		}
	}
}

// TestWycheproofPKCS1 makes signatures that have one value only.
func TestWycheproofPKCS1(t *testing.T) {
	t.Parallel()
	algorithms := map[string]keyring.Algorithm{"SHA-256": keyring.RSASSAPKCS1V15SHA256, "SHA-384": keyring.RSASSAPKCS1V15SHA384, "SHA-512": keyring.RSASSAPKCS1V15SHA512}
	for _, spec := range []keyring.Spec{keyring.RSA2048, keyring.RSA3072, keyring.RSA4096} {
		t.Run(string(spec), func(t *testing.T) {
			t.Parallel()
			g := newRig(t, nil, keyring.Options{})
			n := 0
			for _, group := range wycheproof(t, "rsa_pkcs1_"+strings.TrimPrefix(string(spec), "RSA_")+"_sig_gen") {
				a := algorithms[group.Sha]
				if a == "" {
					continue
				}
				id := fmt.Sprintf("%08d-8888-4888-8888-888888888888", group.Tests[0].ID)
				g.seed(t, id, spec, keyring.SignVerify, group.PrivateKeyPkcs8)
				sign := g.mustOpen(t, id, "kms:Sign")
				for _, v := range group.Tests {
					n++
					if got, err := sign.Sign(t.Context(), a, v.Msg, false); err != nil || !bytes.Equal(got, v.Sig) {
						t.Errorf("test %d, %s %v: %x, %v; want %x", v.ID, v.Comment, v.Flags, got, err, v.Sig)
					}
				}
			}
			if n == 0 {
				t.Error("no test was done")
			}
		})
	}
}

// TestWycheproofHMAC verifies with keys of a ring those of a key as long as the
// spec's; others are made only, those of longer keys by what becomes of such a
// key when it is imported. A MAC that is cut short is no MAC.
func TestWycheproofHMAC(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		file string
		spec keyring.Spec
		a    keyring.Algorithm
		bits int
	}{
		{"hmac_sha224", keyring.HMAC224, keyring.HMACSHA224, 224},
		{"hmac_sha256", keyring.HMAC256, keyring.HMACSHA256, 256},
		{"hmac_sha384", keyring.HMAC384, keyring.HMACSHA384, 384},
		{"hmac_sha512", keyring.HMAC512, keyring.HMACSHA512, 512},
	} {
		g := newRig(t, nil, keyring.Options{})
		ids := make(map[string]string) // by key
		for _, group := range wycheproof(t, tt.file) {
			for _, v := range group.Tests {
				key := []byte(v.Key)
				if group.KeySize > tt.bits {
					var err error
					if key, _, err = keyring.ImportedMaterial(tt.spec, v.Key); err != nil {
						t.Fatal(err)
					}
				}
				for name, mac := range map[string]func([]byte, keyring.Algorithm, []byte, []byte) []byte{"ours": keyring.AppendMAC, "the module's": keyring.AppendModuleMAC} {
					if got := mac(nil, tt.a, key, v.Msg)[:group.TagSize/8]; bytes.Equal(got, v.Tag) != v.valid() {
						t.Errorf("%s, test %d, %s, %s: %x", tt.file, v.ID, v.Comment, name, got)
					}
				}
				if group.KeySize != tt.bits {
					continue
				}
				id := ids[string(v.Key)]
				if id == "" {
					id = fmt.Sprintf("%08d-9999-4999-8999-999999999999", v.ID)
					ids[string(v.Key)] = id
					g.seed(t, id, tt.spec, keyring.GenerateVerifyMAC, v.Key)
				}
				want := v.valid() && group.TagSize == tt.bits
				if got, err := g.mustOpen(t, id, "kms:VerifyMac").VerifyMAC(t.Context(), tt.a, v.Msg, v.Tag); got != want || err != nil {
					t.Errorf("%s, test %d, %s: VerifyMAC = %t, %v; want %t", tt.file, v.ID, v.Comment, got, err, want)
				}
			}
		}
	}
}

// RFC 8032, 7.3: Ed25519ph of "abc". KMS hashes what it is given, which is a
// digest already, so that this goes below it.
func TestKnownEd25519ph(t *testing.T) {
	spki := append(unhex("302a300506032b6570032100"), unhex("ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf")...)
	signature := unhex("98a70222f0b8121aa9d30f813d683f809e462b469c7ff87639499bb94e6dae4131f85042463c2a355a2003d062adf5aaa10b8c61e636062aaad11c2a26083406")
	p, err := keyring.NewVerifier(keyring.ECCEdwards25519, spki)
	if err != nil {
		t.Fatal(err)
	}
	if !p.VerifyDigested(keyring.ED25519PHSHA512, sum(crypto.SHA512, []byte("abc")), signature) {
		t.Error("it is wrong")
	}
	if p.VerifyDigested(keyring.ED25519PHSHA512, sum(crypto.SHA512, []byte("abd")), signature) {
		t.Error("of another message it is right")
	}
}

// TestWycheproofKWP unwraps what AES-KWP has wrapped. No key but one of 256 bits
// is used; and since no material is shorter than 16 bytes, it is no matter
// whether such is refused here, or is found to be too short.
func TestWycheproofKWP(t *testing.T) {
	t.Parallel()
	opened := 0
	for _, group := range wycheproof(t, "aes_kwp") {
		for _, v := range group.Tests {
			got, err := keyring.UnwrapKWP(v.Key, v.Ct)
			if v.valid() && group.KeySize == 256 && (len(v.Msg) >= 16 || err == nil) {
				opened++
				if err != nil || !bytes.Equal(got, v.Msg) {
					t.Errorf("test %d, %s: %x, %v; want %x", v.ID, v.Comment, got, err, v.Msg)
				}
			} else if !errors.Is(err, keyring.ErrInvalidCiphertext) {
				t.Errorf("test %d, %s: %x, %v; want ErrInvalidCiphertext", v.ID, v.Comment, got, err)
			}
		}
	}
	if opened < 10 {
		t.Errorf("%d were opened", opened)
	}
}
