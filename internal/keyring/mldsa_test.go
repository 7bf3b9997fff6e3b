package keyring_test

import (
	"bytes"
	"crypto/sha3"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/cloudflare/circl/sign"
	"github.com/cloudflare/circl/sign/mldsa/mldsa44"
	"github.com/cloudflare/circl/sign/mldsa/mldsa65"
	"github.com/cloudflare/circl/sign/mldsa/mldsa87"
	"golang.org/x/crypto/cryptobyte"

	"github.com/keyreeve/keyreeve/internal/keyring"
)

var dsaSpecs = []struct {
	spec      keyring.Spec
	name      string // in the vectors
	scheme    sign.Scheme
	oid       asn1.ObjectIdentifier
	signature int // bytes
	public    int // in DER
	hints     int // bytes at the end of a signature
}{
	{keyring.MLDSA44, "ML-DSA-44", mldsa44.Scheme(), asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 3, 17}, 2420, 1334, 84},
	{keyring.MLDSA65, "ML-DSA-65", mldsa65.Scheme(), asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 3, 18}, 3309, 1974, 61},
	{keyring.MLDSA87, "ML-DSA-87", mldsa87.Scheme(), asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 3, 19}, 4627, 2614, 83},
}

// muOf is what ML-DSA signs of a formatted message: FIPS 204, 6.2.
func muOf(public, formatted []byte) []byte {
	tr := sha3.SumSHAKE256(public, 64)
	return sha3.SumSHAKE256(append(tr, formatted...), 64)
}

// pure formats a message with an empty context: FIPS 204, algorithm 2.
func pure(message []byte) []byte { return append([]byte{0, 0}, message...) }

func TestMLDSA(t *testing.T) {
	t.Parallel()
	g := newRig(t, nil, keyring.Options{})
	message := []byte("a message")
	for i, tt := range dsaSpecs {
		m := g.create(t, tt.spec, keyring.SignVerify)
		if len(m.PublicKey) != tt.public {
			t.Errorf("%s: a public key of %d bytes", tt.spec, len(m.PublicKey))
		}
		raw := rawPublic(t, tt.oid, m.PublicKey)
		theirs, err := tt.scheme.UnmarshalBinaryPublicKey(raw)
		if err != nil {
			t.Fatal(err)
		}
		mu := muOf(raw, pure(message))
		signs, verify := g.mustOpen(t, m.ID, "kms:Sign"), g.mustOpen(t, m.ID, "kms:Verify")
		check := func(name string, s []byte, want bool) {
			t.Helper()
			if ok, err := verify.Verify(t.Context(), keyring.MLDSASHAKE256, message, false, s); ok != want || err != nil {
				t.Errorf("%s, %s: Verify = %t, %v", tt.spec, name, ok, err)
			}
			if ok, err := verify.Verify(t.Context(), keyring.MLDSASHAKE256, mu, true, s); ok != want || err != nil {
				t.Errorf("%s, %s: Verify of μ = %t, %v", tt.spec, name, ok, err)
			}
		}
		signature, err := signs.Sign(t.Context(), keyring.MLDSASHAKE256, message, false)
		if err != nil || len(signature) != tt.signature {
			t.Fatalf("%s: a signature of %d bytes, %v", tt.spec, len(signature), err)
		}
		ofMu, err := signs.Sign(t.Context(), keyring.MLDSASHAKE256, mu, true)
		if err != nil || bytes.Equal(ofMu, signature) {
			t.Fatalf("%s: of μ: the same, or %v", tt.spec, err)
		}
		for name, s := range map[string][]byte{"message": signature, "μ": ofMu} {
			check(name, s, true)
			if !tt.scheme.Verify(theirs, message, s, nil) {
				t.Errorf("%s, %s: another implementation does not verify it", tt.spec, name)
			}
		}
		for name, bad := range map[string][]byte{
			"none": nil, "cut short": signature[:len(signature)-1], "longer": append(slices.Clone(signature), 0),
			"zeros": make([]byte, tt.signature), "ones": bytes.Repeat([]byte{0xff}, tt.signature), "of 6144 bytes": make([]byte, 6144),
		} {
			check(name, bad, false)
		}
		// Every byte of the hints, which have one encoding only, and some of the
		// rest.
		for at := range signature {
			if at%97 == 0 || at >= len(signature)-tt.hints {
				changed := slices.Clone(signature)
				changed[at] ^= 1 << (at % 8)
				check(fmt.Sprintf("byte %d changed", at), changed, false)
			}
		}
		// The same hints in another order.
		swapped := slices.Clone(signature)
		first := swapped[len(swapped)-tt.hints:]
		first[0], first[1] = first[1], first[0]
		check("hints swapped", swapped, false)

		if ok, err := verify.Verify(t.Context(), keyring.MLDSASHAKE256, []byte("another"), false, signature); ok || err != nil {
			t.Errorf("%s, another message: Verify = %t, %v", tt.spec, ok, err)
		}
		for _, n := range []int{0, 32, 63, 65} {
			if _, err := signs.Sign(t.Context(), keyring.MLDSASHAKE256, make([]byte, n), true); !errors.Is(err, keyring.ErrDigestLength) {
				t.Errorf("%s, μ of %d bytes: %v, want ErrDigestLength", tt.spec, n, err)
			}
			if _, err := verify.Verify(t.Context(), keyring.MLDSASHAKE256, make([]byte, n), true, signature); !errors.Is(err, keyring.ErrDigestLength) {
				t.Errorf("%s, Verify of μ of %d bytes: %v, want ErrDigestLength", tt.spec, n, err)
			}
		}

		// What another implementation signs.
		seed := bytes.Repeat([]byte{byte(i + 1)}, 32)
		_, private := tt.scheme.DeriveKey(seed)
		their := g.seed(t, fmt.Sprintf("%08d-3333-4333-8333-333333333333", i), tt.spec, keyring.SignVerify, ofSeed(tt.oid, 0x80, seed))
		verify = g.mustOpen(t, their.ID, "kms:Verify")
		mu = muOf(rawPublic(t, tt.oid, their.PublicKey), pure(message))
		check("of another implementation", tt.scheme.Sign(private, message, nil), true)
		check("with a context", tt.scheme.Sign(private, message, &sign.SignatureOpts{Context: "context"}), false)
	}
}

// NIST's vectors for key generation, and for signatures of μ.
func TestKnownMLDSA(t *testing.T) {
	t.Parallel()
	g := newRig(t, nil, keyring.Options{})
	keys, results := acvp(t, "sign/mldsa/testdata/ML-DSA-keyGen-FIPS204")
	signatures, verdicts := acvp(t, "sign/mldsa/testdata/ML-DSA-sigVer-FIPS204")
	made, right, wrong := 0, 0, 0
	for _, tt := range dsaSpecs {
		for _, group := range keys {
			for _, test := range group.Tests {
				if group.ParameterSet != tt.name {
					continue
				}
				made++
				m := g.seed(t, fmt.Sprintf("%08d-4444-4444-8444-444444444444", test.ID), tt.spec, keyring.SignVerify, ofSeed(tt.oid, 0x80, test.Seed))
				if !bytes.Equal(rawPublic(t, tt.oid, m.PublicKey), results[test.ID].PK) {
					t.Errorf("%s, test %d: another public key", tt.name, test.ID)
				}
			}
		}
		for _, group := range signatures {
			for _, test := range group.Tests {
				if group.ParameterSet != tt.name {
					continue
				}
				want := verdicts[test.ID].TestPassed
				if want {
					right++
				} else {
					wrong++
				}
				if got := keyring.VerifyMu(tt.spec, group.PK, muOf(group.PK, test.Message), test.Signature); got != want {
					t.Errorf("%s, test %d: %t, want %t", tt.name, test.ID, got, want)
				}
			}
		}
	}
	if made < 75 || right == 0 || wrong == 0 || right+wrong < 45 {
		t.Errorf("%d keys, %d right and %d wrong signatures", made, right, wrong)
	}
}

func TestMLDSAEncodings(t *testing.T) {
	for i, tt := range dsaSpecs {
		seed := bytes.Repeat([]byte{7}, 32)
		good := ofSeed(tt.oid, 0x80, seed)
		if out, err := keyring.ParsePrivate(tt.spec, good); err != nil || !bytes.Equal(out, good) {
			t.Errorf("%s: %x comes back as %x, %v", tt.spec, good, out, err)
		}
		_, spki, err := keyring.GeneratePair(tt.spec)
		if err != nil {
			t.Fatal(err)
		}
		other := dsaSpecs[(i+1)%len(dsaSpecs)]
		for name, bad := range map[string][]byte{
			"another spec": ofSeed(other.oid, 0x80, seed), "as an OCTET STRING": ofSeed(tt.oid, 0x04, seed),
			"short seed": ofSeed(tt.oid, 0x80, seed[:31]), "long seed": ofSeed(tt.oid, 0x80, append(slices.Clone(seed), 0)), "a byte after": append(slices.Clone(good), 0),
		} {
			if _, err := keyring.ParsePrivate(tt.spec, bad); err == nil {
				t.Errorf("%s, %s: it is a private key", tt.spec, name)
			}
		}
		raw := rawPublic(t, tt.oid, spki)
		for name, bad := range map[string][]byte{
			"another spec": spkiOf(other.oid, func(*cryptobyte.Builder) {}, raw), "a short key": spkiOf(tt.oid, func(*cryptobyte.Builder) {}, raw[1:]),
			"parameters": spkiOf(tt.oid, func(b *cryptobyte.Builder) { b.AddASN1NULL() }, raw), "a byte after": append(slices.Clone(spki), 0),
		} {
			if _, err := keyring.ParsePublic(tt.spec, bad); err == nil {
				t.Errorf("%s, %s: it is a public key", tt.spec, name)
			}
		}
		if out, err := keyring.ParsePublic(tt.spec, spki); err != nil || !bytes.Equal(out, spki) {
			t.Errorf("%s: a public key comes back as another, %v", tt.spec, err)
		}
	}
}

func FuzzVerifyMu(f *testing.F) {
	for i, tt := range dsaSpecs {
		public, private := tt.scheme.DeriveKey(bytes.Repeat([]byte{1}, 32))
		raw, err := public.MarshalBinary()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(i, raw, tt.scheme.Sign(private, []byte("m"), nil))
	}
	f.Fuzz(func(t *testing.T, which int, public, signature []byte) {
		tt := dsaSpecs[uint(which)%uint(len(dsaSpecs))]
		want := false
		if p, err := tt.scheme.UnmarshalBinaryPublicKey(public); err == nil {
			want = tt.scheme.Verify(p, []byte("m"), signature, nil)
		}
		if got := keyring.VerifyMu(tt.spec, public, muOf(public, pure([]byte("m"))), signature); got != want {
			t.Fatalf("%t, and another implementation says %t", got, want)
		}
	})
}
