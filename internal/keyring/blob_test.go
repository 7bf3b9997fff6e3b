package keyring_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"hash/crc32"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/keyreeve/keyreeve/internal/keyring"
	"github.com/keyreeve/keyreeve/internal/wire"
)

// vector is a published test vector of the ciphertext format.
type vector struct {
	Name       string            `json:"name"`
	Account    string            `json:"account"`
	KeyID      string            `json:"keyId"`
	Material   string            `json:"material"`
	MaterialID string            `json:"materialId"`
	Salt       string            `json:"salt"`
	Nonce      string            `json:"nonce"`
	Context    map[string]string `json:"context,omitempty"`
	Plaintext  string            `json:"plaintext"`
	MessageKey string            `json:"messageKey"`
	AAD        string            `json:"aad"`
	Blob       string            `json:"blob"`
}

const vectorsFile = "testdata/ciphertext-v1.json"

var update = flag.Bool("update", false, "make the ciphertext test vectors anew")

// fill computes the derived members of v, straight from the document and with
// nothing of the package under test.
func (v *vector) fill() {
	unhex := func(s string) []byte {
		b, err := hex.DecodeString(s)
		if err != nil {
			panic(err)
		}
		return b
	}
	mac := func(key []byte, parts ...[]byte) []byte {
		h := hmac.New(sha256.New, key)
		for _, p := range parts {
			h.Write(p)
		}
		return h.Sum(nil)
	}
	u32 := func(n int) []byte { return binary.BigEndian.AppendUint32(nil, uint32(n)) }
	material := unhex(v.Material)

	var account uint64
	fmt.Sscan(strings.TrimLeft(v.Account, "0")+" ", &account)
	kind := byte(0)
	digits := strings.ReplaceAll(v.KeyID, "-", "")
	if strings.HasPrefix(v.KeyID, "mrk-") {
		kind = 1
		digits = v.KeyID[4:]
	}
	who := slices.Concat([]byte{kind}, binary.BigEndian.AppendUint64(nil, account)[2:], unhex(digits))
	id := mac([]byte("keyreeve material id v1"),
		u32(len(v.Account)), []byte(v.Account), u32(len(v.KeyID)), []byte(v.KeyID), u32(len(material)), material)
	v.MaterialID = hex.EncodeToString(id)

	header := slices.Concat([]byte{1, 1}, who, id, unhex(v.Salt))
	header = append(header, u32(int(crc32.Checksum(header, crc32.MakeTable(crc32.Castagnoli))))...)

	messageKey := mac(material, u32(1), []byte("keyreeve ciphertext blob v1\x00"), header, u32(256))
	v.MessageKey = hex.EncodeToString(messageKey)

	var names []string
	for name := range v.Context {
		names = append(names, name)
	}
	slices.Sort(names)
	aad := slices.Concat(header, u32(len(names)))
	for _, name := range names {
		value := v.Context[name]
		aad = slices.Concat(aad, u32(len(name)), []byte(name), u32(len(value)), []byte(value))
	}
	v.AAD = hex.EncodeToString(aad)

	block, err := aes.NewCipher(messageKey)
	if err != nil {
		panic(err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	nonce := unhex(v.Nonce)
	v.Blob = hex.EncodeToString(slices.Concat(header, nonce, gcm.Seal(nil, nonce, unhex(v.Plaintext), aad)))
}

func (v *vector) context() wire.StringMap {
	var pairs []wire.Pair
	for name, value := range v.Context {
		pairs = append(pairs, wire.Pair{Name: name, Value: value})
	}
	return wire.NewStringMap(pairs...)
}

func readVectors(t testing.TB) []vector {
	t.Helper()
	b, err := os.ReadFile(vectorsFile)
	if err != nil {
		t.Fatal(err)
	}
	var vs []vector
	if err := json.Unmarshal(b, &vs); err != nil {
		t.Fatal(err)
	}
	return vs
}

func TestCiphertextVectors(t *testing.T) {
	vs := readVectors(t)
	doc, err := os.ReadFile("../../docs/ciphertext-format.md")
	if err != nil {
		t.Fatal(err)
	}
	// The document breaks long lines.
	text := strings.Join(strings.Fields(string(doc)), "")
	for i := range vs {
		v := vs[i]
		v.fill()
		if *update {
			vs[i] = v
			continue
		}
		t.Run(v.Name, func(t *testing.T) {
			if want := vs[i]; v.Blob != want.Blob || v.AAD != want.AAD || v.MessageKey != want.MessageKey || v.MaterialID != want.MaterialID {
				t.Errorf("by the document it is\n%+v\nbut the file has\n%+v", v, want)
			}
			for _, part := range []string{v.Material, v.MaterialID, v.Salt, v.Nonce, v.MessageKey, v.AAD, v.Blob} {
				if !strings.Contains(text, part) {
					t.Errorf("docs/ciphertext-format.md does not have %s", part)
				}
			}
			g := newRig(t, nil, keyring.Options{})
			material, _ := hex.DecodeString(v.Material)
			blob, _ := hex.DecodeString(v.Blob)
			m := g.seed(t, v.KeyID, keyring.SymmetricDefault, keyring.EncryptDecrypt, material)
			if m.MaterialID != v.MaterialID {
				t.Errorf("material id %s, want %s", m.MaterialID, v.MaterialID)
			}
			h, err := keyring.Inspect(blob)
			if want := (keyring.Header{Account: v.Account, KeyID: v.KeyID, MaterialID: v.MaterialID}); err != nil || h != want {
				t.Errorf("Inspect = %+v, %v; want %+v", h, err, want)
			}
			got, _, err := g.mustOpen(t, m.ID, "kms:Decrypt").Decrypt(t.Context(), keyring.AlgorithmSymmetricDefault, blob, v.context())
			if err != nil || hex.EncodeToString(got.Reveal()) != v.Plaintext {
				t.Errorf("Decrypt = %x, %v; want %s", got.Reveal(), err, v.Plaintext)
			}
		})
	}
	if *update {
		b, err := json.MarshalIndent(vs, "", "\t")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(vectorsFile, append(b, '\n'), 0o666); err != nil {
			t.Fatal(err)
		}
	}
}

// The material id of every sort of key is the document's; so that of an HMAC
// key, which is public, is no MAC made with it.
func TestMaterialIDs(t *testing.T) {
	g := newRig(t, nil, keyring.Options{})
	for i, tt := range []struct {
		spec     keyring.Spec
		usage    keyring.Usage
		material []byte
	}{
		{keyring.HMAC224, keyring.GenerateVerifyMAC, bytes.Repeat([]byte{1}, 28)},
		{keyring.HMAC256, keyring.GenerateVerifyMAC, bytes.Repeat([]byte{2}, 32)},
		{keyring.HMAC384, keyring.GenerateVerifyMAC, bytes.Repeat([]byte{3}, 48)},
		{keyring.HMAC512, keyring.GenerateVerifyMAC, bytes.Repeat([]byte{4}, 64)},
		{keyring.SymmetricDefault, keyring.EncryptDecrypt, bytes.Repeat([]byte{5}, 32)},
		{keyring.ECCSECGP256K1, keyring.SignVerify, secp256k1One},
	} {
		id := fmt.Sprintf("%08d-1111-4111-8111-111111111111", i)
		v := vector{Account: account, KeyID: id, Material: hex.EncodeToString(tt.material), Nonce: strings.Repeat("00", 12)}
		v.fill()
		if m := g.seed(t, id, tt.spec, tt.usage, tt.material); m.MaterialID != v.MaterialID {
			t.Errorf("%s: %s, want %s", tt.spec, m.MaterialID, v.MaterialID)
		}
	}
}

// sealed returns a rig with a key, and a blob of it.
func sealed(t testing.TB, ec wire.StringMap) (*rig, *keyring.Metadata, []byte) {
	t.Helper()
	g := newRig(t, nil, keyring.Options{})
	m := g.create(t, keyring.SymmetricDefault, keyring.EncryptDecrypt)
	blob, err := g.mustOpen(t, m.ID, "kms:Encrypt").Encrypt(t.Context(), keyring.AlgorithmSymmetricDefault, []byte("sixteen byte key"), ec)
	if err != nil {
		t.Fatal(err)
	}
	return g, m, blob
}

// decrypt goes the way of a Decrypt that names no key.
func (g *rig) decrypt(t testing.TB, blob []byte, ec wire.StringMap) ([]byte, error) {
	t.Helper()
	h, err := keyring.Inspect(blob)
	if err != nil {
		return nil, err
	}
	k, _, err := g.open(t, h.KeyID, "kms:Decrypt")
	if err != nil {
		return nil, err
	}
	plaintext, _, err := k.Decrypt(t.Context(), keyring.AlgorithmSymmetricDefault, blob, ec)
	return plaintext.Reveal(), err
}

func TestEveryBitOfABlobCounts(t *testing.T) {
	ec := wire.NewStringMap(wire.Pair{Name: "a", Value: "b"})
	g, m, blob := sealed(t, ec)
	k := g.mustOpen(t, m.ID, "kms:Decrypt")
	for i := range 8 * len(blob) {
		b := bytes.Clone(blob)
		b[i/8] ^= 1 << (i % 8)
		if _, err := g.decrypt(t, b, ec); !errors.Is(err, keyring.ErrInvalidCiphertext) {
			t.Errorf("bit %d of byte %d flipped: %v, want ErrInvalidCiphertext", i%8, i/8, err)
		}
		if _, _, err := k.Decrypt(t.Context(), keyring.AlgorithmSymmetricDefault, b, ec); !errors.Is(err, keyring.ErrInvalidCiphertext) {
			t.Errorf("bit %d of byte %d flipped, key given: %v, want ErrInvalidCiphertext", i%8, i/8, err)
		}
	}
	for n := range len(blob) {
		if _, err := g.decrypt(t, blob[:n], ec); !errors.Is(err, keyring.ErrInvalidCiphertext) {
			t.Errorf("first %d bytes: %v, want ErrInvalidCiphertext", n, err)
		}
	}
	for _, n := range []int{1, 16, 4096, 8192} {
		if _, err := g.decrypt(t, append(bytes.Clone(blob), make([]byte, n)...), ec); !errors.Is(err, keyring.ErrInvalidCiphertext) {
			t.Errorf("%d bytes more: %v, want ErrInvalidCiphertext", n, err)
		}
	}
	if got, err := g.decrypt(t, blob, ec); err != nil || string(got) != "sixteen byte key" {
		t.Errorf("the blob itself: %q, %v", got, err)
	}
}

func TestEncryptionContext(t *testing.T) {
	pair := func(name, value string) wire.Pair { return wire.Pair{Name: name, Value: value} }
	contexts := []wire.StringMap{
		nil,
		{pair("a", "bc")},
		{pair("ab", "c")},
		{pair("abc", "")},
		{pair("", "abc")},
		{pair("a", "b"), pair("c", "")},
		{pair("a", "b")},
		{pair("A", "b")},
		{pair("a", "b\x00")},
		{pair("a", "b"), pair("c", "d")},
		{pair("a", "d"), pair("c", "b")},
		{pair("é", "x")},
		{pair("e\u0301", "x")},
	}
	for i, with := range contexts {
		g, _, blob := sealed(t, with)
		for j, by := range contexts {
			_, err := g.decrypt(t, blob, by)
			if i == j && err != nil {
				t.Errorf("%q under %q: %v", with, by, err)
			}
			if i != j && !errors.Is(err, keyring.ErrInvalidCiphertext) {
				t.Errorf("%q under %q: %v, want ErrInvalidCiphertext", with, by, err)
			}
		}
	}
	t.Run("empty is absent", func(t *testing.T) {
		g, _, blob := sealed(t, nil)
		if _, err := g.decrypt(t, blob, wire.StringMap{}); err != nil {
			t.Error(err)
		}
	})
	t.Run("order", func(t *testing.T) {
		g, _, blob := sealed(t, wire.StringMap{pair("b", "2"), pair("a", "1")})
		if _, err := g.decrypt(t, blob, wire.StringMap{pair("a", "1"), pair("b", "2")}); err != nil {
			t.Error(err)
		}
	})
}

// withCRC returns a forged header's blob with the right checksum.
func withCRC(blob []byte) []byte {
	b := bytes.Clone(blob)
	binary.BigEndian.PutUint32(b[73:], crc32.Checksum(b[:73], crc32.MakeTable(crc32.Castagnoli)))
	return b
}

func TestBlobOfAnotherKey(t *testing.T) {
	g := newRig(t, nil, keyring.Options{})
	material := bytes.Repeat([]byte{9}, 32)
	const one, two = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"
	g.seed(t, one, keyring.SymmetricDefault, keyring.EncryptDecrypt, material)
	other := g.seed(t, two, keyring.SymmetricDefault, keyring.EncryptDecrypt, material)
	blob, err := g.mustOpen(t, one, "kms:Encrypt").Encrypt(t.Context(), keyring.AlgorithmSymmetricDefault, []byte("x"), nil)
	if err != nil {
		t.Fatal(err)
	}
	k := g.mustOpen(t, two, "kms:Decrypt")
	if _, _, err := k.Decrypt(t.Context(), keyring.AlgorithmSymmetricDefault, blob, nil); !errors.Is(err, keyring.ErrIncorrectKey) {
		t.Errorf("another key's blob: %v, want ErrIncorrectKey", err)
	}
	// Both keys have the same material, and still the header binds.
	forged := bytes.Clone(blob)
	for i := range 16 {
		forged[9+i] = 0x22
	}
	forged[9+6], forged[9+8] = 0x42, 0x82
	id, _ := hex.DecodeString(other.MaterialID)
	copy(forged[25:], id)
	forged = withCRC(forged)
	if h, err := keyring.Inspect(forged); err != nil || h.KeyID != two {
		t.Fatalf("Inspect(forged) = %+v, %v", h, err)
	}
	forgeries := map[string][]byte{"key id": forged}
	for name, at := range map[string]int{"material id": 25, "salt": 57, "nonce": 77} {
		b := bytes.Clone(blob)
		b[at] ^= 1
		forgeries[name] = withCRC(b)
	}
	for name, b := range forgeries {
		if _, err := g.decrypt(t, b, nil); !errors.Is(err, keyring.ErrInvalidCiphertext) {
			t.Errorf("forged %s: %v, want ErrInvalidCiphertext", name, err)
		}
	}
}

func TestInspectRejects(t *testing.T) {
	_, _, blob := sealed(t, nil)
	for name, edit := range map[string]func([]byte){
		"format version": func(b []byte) { b[0] = 2 },
		"suite":          func(b []byte) { b[1] = 0 },
		"kind of key id": func(b []byte) { b[2] = 2 },
		"account":        func(b []byte) { copy(b[3:], "\xff\xff\xff\xff\xff\xff") },
	} {
		b := bytes.Clone(blob)
		edit(b)
		if _, err := keyring.Inspect(withCRC(b)); !errors.Is(err, keyring.ErrInvalidCiphertext) {
			t.Errorf("%s: %v, want ErrInvalidCiphertext", name, err)
		}
	}
	for _, b := range [][]byte{nil, {}, {0xfa}, {1}, make([]byte, 105), make([]byte, 6144), bytes.Repeat([]byte{0xff}, 5000)} {
		if _, err := keyring.Inspect(b); !errors.Is(err, keyring.ErrInvalidCiphertext) {
			t.Errorf("%d bytes: %v, want ErrInvalidCiphertext", len(b), err)
		}
	}
}

func FuzzBlob(f *testing.F) {
	g, m, blob := sealed(f, nil)
	k := g.mustOpen(f, m.ID, "kms:Decrypt")
	f.Add(blob)
	f.Add([]byte{0xfa})
	for _, v := range readVectors(f) {
		b, _ := hex.DecodeString(v.Blob)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := keyring.Inspect(b)
		if err != nil && !errors.Is(err, keyring.ErrInvalidCiphertext) {
			t.Fatalf("Inspect: %v", err)
		}
		plaintext, _, decryptErr := k.Decrypt(t.Context(), keyring.AlgorithmSymmetricDefault, b, nil)
		switch {
		case decryptErr == nil:
			if !bytes.Equal(b, blob) {
				t.Fatalf("decrypted %x to %q", b, plaintext.Reveal())
			}
		case err != nil && !errors.Is(decryptErr, keyring.ErrInvalidCiphertext):
			t.Fatalf("Inspect: %v, but Decrypt: %v", err, decryptErr)
		case err == nil && !errors.Is(decryptErr, keyring.ErrInvalidCiphertext) && !errors.Is(decryptErr, keyring.ErrIncorrectKey):
			t.Fatalf("Decrypt of a blob of %+v: %v", h, decryptErr)
		}
	})
}
