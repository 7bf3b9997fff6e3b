package keyring_test

import (
	"bytes"
	"compress/gzip"
	"encoding/asn1"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cloudflare/circl/kem"
	"github.com/cloudflare/circl/kem/mlkem/mlkem1024"
	"github.com/cloudflare/circl/kem/mlkem/mlkem512"
	"github.com/cloudflare/circl/kem/mlkem/mlkem768"
	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/keyreeve/keyreeve/internal/authz"
	"github.com/keyreeve/keyreeve/internal/keyring"
)

var kemSpecs = []struct {
	spec       keyring.Spec
	name       string // in the vectors
	scheme     kem.Scheme
	oid        asn1.ObjectIdentifier
	ciphertext int // bytes
	public     int
}{
	{keyring.MLKEM512, "ML-KEM-512", mlkem512.Scheme(), asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 4, 1}, 768, 800},
	{keyring.MLKEM768, "ML-KEM-768", mlkem768.Scheme(), asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 4, 2}, 1088, 1184},
	{keyring.MLKEM1024, "ML-KEM-1024", mlkem1024.Scheme(), asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 4, 3}, 1568, 1568},
}

// ofSeed is the PKCS#8 encoding of a seed, by hand.
func ofSeed(oid asn1.ObjectIdentifier, tag byte, seed []byte) []byte {
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1Int64(0)
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) { b.AddASN1ObjectIdentifier(oid) })
		b.AddASN1OctetString(append([]byte{tag, byte(len(seed))}, seed...))
	})
	return b.BytesOrPanic()
}

// rawPublic returns the bytes of a public key of an algorithm without parameters.
func rawPublic(t *testing.T, oid asn1.ObjectIdentifier, spki []byte) []byte {
	t.Helper()
	var parsed struct {
		Algorithm struct{ OID asn1.ObjectIdentifier }
		Key       asn1.BitString
	}
	if rest, err := asn1.Unmarshal(spki, &parsed); err != nil || len(rest) > 0 || !parsed.Algorithm.OID.Equal(oid) {
		t.Fatalf("no SubjectPublicKeyInfo of %v: %x, %v", oid, spki, err)
	}
	return parsed.Key.Bytes
}

func TestEncapsulate(t *testing.T) {
	t.Parallel()
	g := newRig(t, nil, keyring.Options{})
	for i, tt := range kemSpecs {
		m := g.create(t, tt.spec, keyring.EncapsulateDecapsulate)
		raw := rawPublic(t, tt.oid, m.PublicKey)
		if len(raw) != tt.public {
			t.Errorf("%s: a public key of %d bytes", tt.spec, len(raw))
		}
		encapsulate, decapsulate := g.mustOpen(t, m.ID, "kms:Encapsulate"), g.mustOpen(t, m.ID, "kms:Decapsulate")
		shared, ciphertext, err := encapsulate.Encapsulate(t.Context(), keyring.MLKEM)
		if err != nil || shared.Len() != 32 || len(ciphertext) != tt.ciphertext {
			t.Fatalf("%s: Encapsulate: %d and %d bytes, %v", tt.spec, shared.Len(), len(ciphertext), err)
		}
		got, err := decapsulate.Decapsulate(t.Context(), keyring.MLKEM, ciphertext)
		if err != nil || !bytes.Equal(got.Reveal(), shared.Reveal()) {
			t.Errorf("%s: Decapsulate gives something else, %v", tt.spec, err)
		}
		again, _, err := encapsulate.Encapsulate(t.Context(), keyring.MLKEM)
		if err != nil || bytes.Equal(again.Reveal(), shared.Reveal()) {
			t.Errorf("%s: the same secret twice, %v", tt.spec, err)
		}

		// What was changed is not told of, and gives what nobody knows, each
		// time the same.
		for _, at := range []int{0, len(ciphertext) / 2, len(ciphertext) - 1} {
			changed := slices.Clone(ciphertext)
			changed[at] ^= 1
			one, err := decapsulate.Decapsulate(t.Context(), keyring.MLKEM, changed)
			if err != nil || one.Len() != 32 || bytes.Equal(one.Reveal(), shared.Reveal()) {
				t.Errorf("%s, byte %d changed: %d bytes, %v", tt.spec, at, one.Len(), err)
			}
			two, err := decapsulate.Decapsulate(t.Context(), keyring.MLKEM, changed)
			if err != nil || !bytes.Equal(one.Reveal(), two.Reveal()) {
				t.Errorf("%s, byte %d changed: not the same again, %v", tt.spec, at, err)
			}
		}
		for _, n := range []int{0, 1, tt.ciphertext - 1, tt.ciphertext + 1, 768, 1088, 1568, 6144} {
			_, err := decapsulate.Decapsulate(t.Context(), keyring.MLKEM, make([]byte, n))
			if want := n != tt.ciphertext; errors.Is(err, keyring.ErrInvalidCiphertext) != want {
				t.Errorf("%s, %d bytes: %v", tt.spec, n, err)
			}
		}

		// Another implementation, both ways.
		public, err := tt.scheme.UnmarshalBinaryPublicKey(raw)
		if err != nil {
			t.Fatal(err)
		}
		theirs, want, err := tt.scheme.Encapsulate(public)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := decapsulate.Decapsulate(t.Context(), keyring.MLKEM, theirs); err != nil || !bytes.Equal(got.Reveal(), want) {
			t.Errorf("%s: not what another implementation has encapsulated, %v", tt.spec, err)
		}
		seed := bytes.Repeat([]byte{byte(i + 1)}, 64)
		seeded := g.seed(t, fmt.Sprintf("%08d-1111-4111-8111-111111111111", i), tt.spec, keyring.EncapsulateDecapsulate, ofSeed(tt.oid, 0x80, seed))
		_, private := tt.scheme.DeriveKeyPair(seed)
		shared, ciphertext, err = g.mustOpen(t, seeded.ID, "kms:Encapsulate").Encapsulate(t.Context(), keyring.MLKEM)
		if err != nil {
			t.Fatal(err)
		}
		if want, err := tt.scheme.Decapsulate(private, ciphertext); err != nil || !bytes.Equal(shared.Reveal(), want) {
			t.Errorf("%s: another implementation gets something else, %v", tt.spec, err)
		}

		var algorithm *keyring.AlgorithmError
		if _, _, err := encapsulate.Encapsulate(t.Context(), keyring.ECDH); !errors.As(err, &algorithm) {
			t.Errorf("%s: %v, want an AlgorithmError", tt.spec, err)
		}
		if _, err := encapsulate.Decapsulate(t.Context(), keyring.MLKEM, ciphertext); !errors.Is(err, authz.ErrNoPermit) {
			t.Errorf("%s: Decapsulate with a permit to encapsulate: %v", tt.spec, err)
		}
		var usage *keyring.UsageError
		signs := g.create(t, keyring.ECCNISTP256, keyring.SignVerify)
		if _, _, err := g.mustOpen(t, signs.ID, "kms:Encapsulate").Encapsulate(t.Context(), keyring.MLKEM); !errors.As(err, &usage) {
			t.Errorf("a key that signs encapsulates: %v", err)
		}
	}
}

func TestMLKEMEncodings(t *testing.T) {
	for i, tt := range kemSpecs {
		seed := bytes.Repeat([]byte{7}, 64)
		good := ofSeed(tt.oid, 0x80, seed)
		if len(good) != 86 {
			t.Errorf("%s: a private key of %d bytes", tt.spec, len(good))
		}
		if out, err := keyring.ParsePrivate(tt.spec, good); err != nil || !bytes.Equal(out, good) {
			t.Errorf("%s: %x comes back as %x, %v", tt.spec, good, out, err)
		}
		pkcs8, spki, err := keyring.GeneratePair(tt.spec)
		if err != nil || len(pkcs8) != 86 {
			t.Fatalf("%s: a private key of %d bytes, %v", tt.spec, len(pkcs8), err)
		}
		other := kemSpecs[(i+1)%len(kemSpecs)]
		for name, bad := range map[string][]byte{
			"nothing":            {},
			"the seed alone":     seed,
			"a byte after":       append(slices.Clone(good), 0),
			"cut short":          good[:len(good)-1],
			"another spec":       ofSeed(other.oid, 0x80, seed),
			"as an OCTET STRING": ofSeed(tt.oid, 0x04, seed),
			"short seed":         ofSeed(tt.oid, 0x80, seed[:63]),
			"long seed":          ofSeed(tt.oid, 0x80, append(slices.Clone(seed), 0)),
			"a public key":       spki,
		} {
			if _, err := keyring.ParsePrivate(tt.spec, bad); err == nil {
				t.Errorf("%s, %s: it is a private key", tt.spec, name)
			}
		}
		raw := rawPublic(t, tt.oid, spki)
		wrap := func(oid asn1.ObjectIdentifier, public []byte) []byte {
			return spkiOf(oid, func(*cryptobyte.Builder) {}, public)
		}
		unreduced := slices.Clone(raw)
		unreduced[0], unreduced[1] = 0xff, unreduced[1]|0x0f // 4095, and q is 3329
		for name, bad := range map[string][]byte{
			"nothing":      {},
			"a byte after": append(slices.Clone(spki), 0),
			"another spec": wrap(other.oid, raw),
			"a short key":  wrap(tt.oid, raw[:len(raw)-1]),
			"a long key":   wrap(tt.oid, append(slices.Clone(raw), 0)),
			"not reduced":  wrap(tt.oid, unreduced),
			"parameters":   spkiOf(tt.oid, func(b *cryptobyte.Builder) { b.AddASN1NULL() }, raw),
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

type hexBytes []byte

func (h *hexBytes) UnmarshalText(b []byte) (err error) {
	*h, err = hex.AppendDecode(nil, b)
	return err
}

// acvpTest is a test of the files below, or what comes out of it.
type acvpTest struct {
	ID                    int      `json:"tcId"`
	D, Z, EK, DK, M, C, K hexBytes // of ML-KEM
	Seed, PK              hexBytes // of ML-DSA
	Message, Signature    hexBytes
	TestPassed            bool
}

type acvpGroup struct {
	ParameterSet, Function string
	DK, PK                 hexBytes
	Tests                  []acvpTest
}

// acvp reads NIST's test vectors, which come with the module that has the keys.
func acvp(t *testing.T, what string) (prompts []acvpGroup, results map[int]acvpTest) {
	t.Helper()
	dir, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "github.com/cloudflare/circl").Output()
	if err != nil {
		t.Fatal(err)
	}
	read := func(name string) []acvpGroup {
		file, err := os.Open(filepath.Join(strings.TrimSpace(string(dir)), filepath.FromSlash(what), name))
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		z, err := gzip.NewReader(file)
		if err != nil {
			t.Fatal(err)
		}
		var all struct{ TestGroups []acvpGroup }
		if err := json.NewDecoder(z).Decode(&all); err != nil {
			t.Fatal(err)
		}
		return all.TestGroups
	}
	results = make(map[int]acvpTest)
	for _, group := range read("expectedResults.json.gz") {
		for _, r := range group.Tests {
			results[r.ID] = r
		}
	}
	return read("prompt.json.gz"), results
}

// NIST's vectors for key generation, through the encodings that keys are kept in.
func TestKnownMLKEMKeys(t *testing.T) {
	t.Parallel()
	groups, results := acvp(t, "kem/mlkem/testdata/ML-KEM-keyGen-FIPS203")
	g := newRig(t, nil, keyring.Options{})
	n := 0
	for _, tt := range kemSpecs {
		for _, group := range groups {
			if group.ParameterSet != tt.name {
				continue
			}
			for _, test := range group.Tests {
				n++
				id := fmt.Sprintf("%08d-2222-4222-8222-222222222222", test.ID)
				m := g.seed(t, id, tt.spec, keyring.EncapsulateDecapsulate, ofSeed(tt.oid, 0x80, append(slices.Clone(test.D), test.Z...)))
				want := results[test.ID]
				if !bytes.Equal(rawPublic(t, tt.oid, m.PublicKey), want.EK) {
					t.Errorf("%s, test %d: another public key", tt.name, test.ID)
				}
				shared, ciphertext, err := g.mustOpen(t, id, "kms:Encapsulate").Encapsulate(t.Context(), keyring.MLKEM)
				if err != nil {
					t.Fatal(err)
				}
				private, err := tt.scheme.UnmarshalBinaryPrivateKey(want.DK)
				if err != nil {
					t.Fatal(err)
				}
				if got, err := tt.scheme.Decapsulate(private, ciphertext); err != nil || !bytes.Equal(got, shared.Reveal()) {
					t.Errorf("%s, test %d: NIST's private key gets another secret, %v", tt.name, test.ID, err)
				}
			}
		}
	}
	if n < 75 {
		t.Errorf("%d tests", n)
	}
}

// NIST's vectors of ML-KEM-512, whose implementation is no part of the standard
// library: encapsulation and decapsulation, with and without rejection.
func TestKnownMLKEM512(t *testing.T) {
	groups, results := acvp(t, "kem/mlkem/testdata/ML-KEM-encapDecap-FIPS203")
	n := 0
	for _, group := range groups {
		if group.ParameterSet != "ML-KEM-512" {
			continue
		}
		for _, test := range group.Tests {
			want := results[test.ID]
			var shared [mlkem512.SharedKeySize]byte
			switch group.Function {
			case "encapsulation":
				var public mlkem512.PublicKey
				var ciphertext [mlkem512.CiphertextSize]byte
				if err := public.Unpack(test.EK); err != nil {
					t.Fatal(err)
				}
				public.EncapsulateTo(ciphertext[:], shared[:], test.M)
				if !bytes.Equal(ciphertext[:], want.C) {
					t.Errorf("test %d: another ciphertext", test.ID)
				}
			case "decapsulation":
				var private mlkem512.PrivateKey
				if err := private.Unpack(append(slices.Clone(group.DK), test.DK...)); err != nil {
					t.Fatal(err)
				}
				private.DecapsulateTo(shared[:], test.C)
			default:
				continue
			}
			n++
			if !bytes.Equal(shared[:], want.K) {
				t.Errorf("test %d, %s: another secret", test.ID, group.Function)
			}
		}
	}
	if n < 30 {
		t.Errorf("%d tests", n)
	}
}

func FuzzMLKEM(f *testing.F) {
	for _, tt := range kemSpecs {
		private, public, err := keyring.GeneratePair(tt.spec)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(private)
		f.Add(public)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, tt := range kemSpecs {
			if out, err := keyring.ParsePrivate(tt.spec, b); err == nil {
				if again, err := keyring.ParsePrivate(tt.spec, out); err != nil || !bytes.Equal(again, out) {
					t.Fatalf("%s: %x: %x, %v", tt.spec, b, again, err)
				}
			}
			if out, err := keyring.ParsePublic(tt.spec, b); err == nil {
				if again, err := keyring.ParsePublic(tt.spec, out); err != nil || !bytes.Equal(again, out) {
					t.Fatalf("%s: %x: %x, %v", tt.spec, b, again, err)
				}
			}
		}
	})
}
