package keyring_test

import (
	"bytes"
	"encoding/hex"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/keyreeve/keyreeve/internal/keyring"
)

// openSSL is OpenSSL in a folder of its own, the independent implementation of
// what it knows: everything but the post-quantum algorithms.
type openSSL struct {
	t       *testing.T
	program string
	dir     string
}

// newOpenSSL returns nil if it is not there.
func newOpenSSL(t *testing.T) *openSSL {
	program, err := exec.LookPath("openssl")
	if err != nil {
		return nil
	}
	return &openSSL{t: t, program: program, dir: t.TempDir()}
}

// put writes a file.
func (o *openSSL) put(name string, b []byte) {
	o.t.Helper()
	if err := os.WriteFile(filepath.Join(o.dir, name), b, 0o600); err != nil {
		o.t.Fatal(err)
	}
}

// run returns what a command prints.
func (o *openSSL) run(args ...string) []byte {
	o.t.Helper()
	var told bytes.Buffer
	cmd := exec.CommandContext(o.t.Context(), o.program, args...)
	cmd.Dir, cmd.Stderr = o.dir, &told
	out, err := cmd.Output()
	if err != nil {
		o.t.Fatalf("openssl %v: %v: %s", args, err, told.Bytes())
	}
	return out
}

// privateKey makes a private key of a spec and returns its PKCS#8 encoding,
// which is also in the file private. RSA keys that take long are in testdata.
func (o *openSSL) privateKey(s keyring.Spec) []byte {
	o.t.Helper()
	args := []string{"genpkey", "-algorithm"}
	switch s {
	case keyring.RSA2048:
		args = append(args, "RSA", "-pkeyopt", "rsa_keygen_bits:2048")
	case keyring.RSA3072, keyring.RSA4096:
		text, err := os.ReadFile("testdata/rsa" + strings.TrimPrefix(string(s), "RSA_") + ".pem")
		if err != nil {
			o.t.Fatal(err)
		}
		return o.putPEM("private", text)
	case keyring.ECCEdwards25519:
		args = append(args, "ED25519")
	default:
		curve := map[keyring.Spec]string{
			keyring.ECCNISTP256: "P-256", keyring.ECCNISTP384: "P-384", keyring.ECCNISTP521: "P-521", keyring.ECCSECGP256K1: "secp256k1",
		}[s]
		args = append(args, "EC", "-pkeyopt", "ec_paramgen_curve:"+curve, "-pkeyopt", "ec_param_enc:named_curve")
	}
	return o.putPEM("private", o.run(args...))
}

// putPEM writes what is in a PEM block to a file, and returns it.
func (o *openSSL) putPEM(name string, text []byte) []byte {
	o.t.Helper()
	block, _ := pem.Decode(text)
	if block == nil {
		o.t.Fatalf("no PEM: %s", text)
	}
	o.put(name, block.Bytes)
	return block.Bytes
}

// digestOptions are how OpenSSL names what an algorithm signs, and how.
func digestOptions(a keyring.Algorithm) []string {
	name := string(a)
	hash := "sha" + name[strings.LastIndexByte(name, '_')+1:]
	if strings.Contains(name, "PSS") {
		return []string{"-" + hash, "-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:" + strconv.Itoa(hashOf(a).Size())}
	}
	return []string{"-" + hash}
}

// TestSignaturesWithOpenSSL: for every spec that OpenSSL knows and every
// algorithm, OpenSSL verifies what is signed here by a key that OpenSSL has
// made, and the reverse.
func TestSignaturesWithOpenSSL(t *testing.T) {
	t.Parallel()
	if newOpenSSL(t) == nil {
		return
	}
	g := newRig(t, nil, keyring.Options{})
	message := []byte("a message")
	for i, spec := range []keyring.Spec{
		keyring.RSA2048, keyring.RSA3072, keyring.RSA4096,
		keyring.ECCNISTP256, keyring.ECCNISTP384, keyring.ECCNISTP521, keyring.ECCSECGP256K1, keyring.ECCEdwards25519,
	} {
		o := newOpenSSL(t)
		id := "55555555-5555-4555-8555-55555555555" + strconv.Itoa(i)
		m := g.seed(t, id, spec, keyring.SignVerify, o.privateKey(spec))
		if public := o.run("pkey", "-inform", "DER", "-in", "private", "-pubout", "-outform", "DER"); !bytes.Equal(public, m.PublicKey) {
			t.Errorf("%s: public key %x, and OpenSSL's is %x", spec, m.PublicKey, public)
		}
		sign, verify := g.mustOpen(t, id, "kms:Sign"), g.mustOpen(t, id, "kms:Verify")
		o.put("public", m.PublicKey)
		o.put("message", message)
		for _, a := range keyring.Algorithms(spec, keyring.SignVerify) {
			if a == keyring.ED25519PHSHA512 {
				continue // which OpenSSL 3.0 does not know
			}
			ours, err := sign.Sign(t.Context(), a, message, false)
			if err != nil {
				t.Fatalf("%s %s: %v", spec, a, err)
			}
			o.put("ours", ours)
			var theirs []byte
			if a == keyring.ED25519SHA512 {
				o.run("pkeyutl", "-verify", "-pubin", "-keyform", "DER", "-inkey", "public", "-rawin", "-in", "message", "-sigfile", "ours")
				theirs = o.run("pkeyutl", "-sign", "-keyform", "DER", "-inkey", "private", "-rawin", "-in", "message")
			} else {
				o.run(append(append([]string{"dgst"}, digestOptions(a)...), "-verify", "public", "-keyform", "DER", "-signature", "ours", "message")...)
				theirs = o.run(append(append([]string{"dgst"}, digestOptions(a)...), "-sign", "private", "-keyform", "DER", "message")...)
			}
			if ok, err := verify.Verify(t.Context(), a, message, false, theirs); !ok || err != nil {
				t.Errorf("%s %s: OpenSSL's signature: %t, %v", spec, a, ok, err)
			}
			if a == keyring.ED25519SHA512 {
				continue
			}
			if ok, err := verify.Verify(t.Context(), a, sum(hashOf(a), message), true, theirs); !ok || err != nil {
				t.Errorf("%s %s: OpenSSL's signature, of the digest: %t, %v", spec, a, ok, err)
			}
		}
	}
}

// TestOAEPWithOpenSSL: OpenSSL decrypts what is encrypted here, and the reverse.
func TestOAEPWithOpenSSL(t *testing.T) {
	t.Parallel()
	if newOpenSSL(t) == nil {
		return
	}
	g := newRig(t, nil, keyring.Options{})
	for i, spec := range []keyring.Spec{keyring.RSA2048, keyring.RSA3072, keyring.RSA4096} {
		o := newOpenSSL(t)
		id := "66666666-6666-4666-8666-66666666666" + strconv.Itoa(i)
		m := g.seed(t, id, spec, keyring.EncryptDecrypt, o.privateKey(spec))
		encrypt, decrypt := g.mustOpen(t, id, "kms:Encrypt"), g.mustOpen(t, id, "kms:Decrypt")
		o.put("public", m.PublicKey)
		plaintext := []byte("a plaintext")
		o.put("plaintext", plaintext)
		for a, hash := range map[keyring.Algorithm]string{keyring.RSAESOAEPSHA1: "sha1", keyring.RSAESOAEPSHA256: "sha256"} {
			options := []string{"-keyform", "DER", "-pkeyopt", "rsa_padding_mode:oaep", "-pkeyopt", "rsa_oaep_md:" + hash, "-pkeyopt", "rsa_mgf1_md:" + hash}
			ours, err := encrypt.Encrypt(t.Context(), a, plaintext, nil)
			if err != nil {
				t.Fatal(err)
			}
			o.put("ours", ours)
			if got := o.run(append([]string{"pkeyutl", "-decrypt", "-inkey", "private", "-in", "ours"}, options...)...); !bytes.Equal(got, plaintext) {
				t.Errorf("%s %s: OpenSSL decrypts it to %q", spec, a, got)
			}
			theirs := o.run(append([]string{"pkeyutl", "-encrypt", "-pubin", "-inkey", "public", "-in", "plaintext"}, options...)...)
			if got, _, err := decrypt.Decrypt(t.Context(), a, theirs, nil); err != nil || !bytes.Equal(got.Reveal(), plaintext) {
				t.Errorf("%s %s: OpenSSL's ciphertext: %q, %v", spec, a, got.Reveal(), err)
			}
		}
	}
}

// TestMACWithOpenSSL: OpenSSL makes the same MACs.
func TestMACWithOpenSSL(t *testing.T) {
	t.Parallel()
	o := newOpenSSL(t)
	if o == nil {
		return
	}
	g := newRig(t, nil, keyring.Options{})
	o.put("message", []byte("a message"))
	for i, spec := range []keyring.Spec{keyring.HMAC224, keyring.HMAC256, keyring.HMAC384, keyring.HMAC512} {
		a := keyring.Algorithms(spec, keyring.GenerateVerifyMAC)[0]
		material := bytes.Repeat([]byte{0x5a}, hashOf(a).Size())
		id := "77777777-7777-4777-8777-77777777777" + strconv.Itoa(i)
		g.seed(t, id, spec, keyring.GenerateVerifyMAC, material)
		theirs := o.run("dgst", "-sha"+strconv.Itoa(8*hashOf(a).Size()), "-mac", "HMAC", "-macopt", "hexkey:"+hex.EncodeToString(material), "-binary", "message")
		ours, err := g.mustOpen(t, id, "kms:GenerateMac").GenerateMAC(t.Context(), a, []byte("a message"))
		if err != nil || !bytes.Equal(ours, theirs) {
			t.Errorf("%s: %x, %v, and OpenSSL's is %x", spec, ours, err, theirs)
		}
		if ok, err := g.mustOpen(t, id, "kms:VerifyMac").VerifyMAC(t.Context(), a, []byte("a message"), theirs); !ok || err != nil {
			t.Errorf("%s: OpenSSL's MAC: %t, %v", spec, ok, err)
		}
	}
}

// TestDataKeyPairsWithOpenSSL: OpenSSL reads data key pairs, finds nothing wrong
// with the private key, and makes the same public key of it.
func TestDataKeyPairsWithOpenSSL(t *testing.T) {
	t.Parallel()
	o := newOpenSSL(t)
	if o == nil {
		return
	}
	g := newRig(t, nil, keyring.Options{})
	generate := g.mustOpen(t, g.create(t, keyring.SymmetricDefault, keyring.EncryptDecrypt).ID, "kms:GenerateDataKeyPair")
	for _, spec := range []keyring.Spec{
		keyring.RSA2048, keyring.ECCNISTP256, keyring.ECCNISTP384, keyring.ECCNISTP521, keyring.ECCSECGP256K1, keyring.ECCEdwards25519,
	} {
		pair, err := generate.GenerateDataKeyPair(t.Context(), spec, nil)
		if err != nil {
			t.Fatal(err)
		}
		o.put("pair", pair.PrivateKey.Reveal())
		if public := o.run("pkey", "-inform", "DER", "-in", "pair", "-pubout", "-outform", "DER"); !bytes.Equal(public, pair.PublicKey) {
			t.Errorf("%s: public key %x, and OpenSSL's is %x", spec, pair.PublicKey, public)
		}
		if spec != keyring.ECCEdwards25519 { // of which there is nothing to check
			o.run("pkey", "-inform", "DER", "-in", "pair", "-check", "-noout")
		}
	}
}
