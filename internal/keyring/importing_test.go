package keyring_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/keyring"
	"github.com/keyreeve/keyreeve/internal/store"
)

// createExternal makes a key whose material is to be imported.
func (g *rig) createExternal(t testing.TB, s keyring.Spec, u keyring.Usage) *keyring.Metadata {
	t.Helper()
	c := newCall()
	m, err := g.ring.Create(t.Context(), c, permit(t, c, "kms:CreateKey", anyResource()),
		keyring.CreateParams{Account: account, Region: region, Spec: s, Usage: u, Origin: keyring.External})
	if err != nil {
		t.Fatalf("Create(%s, %s): %v", s, u, err)
	}
	if m.State != keyring.PendingImport || m.MaterialID != "" || m.PublicKey != nil || m.Origin != keyring.External {
		t.Fatalf("a key without material: %+v", m)
	}
	return m
}

// openIn is open in a call at an instant.
func (g *rig) openIn(t testing.TB, id, action string, at time.Time) (keyring.Key, error) {
	t.Helper()
	s, err := g.ring.Find(t.Context(), account, region, id)
	if err != nil {
		return keyring.Key{}, err
	}
	c := newCall()
	c.Time = at
	return g.ring.Open(t.Context(), c, permit(t, c, action, s.Resource()))
}

// state returns what DescribeKey shows of a key at an instant.
func (g *rig) stateAt(t testing.TB, id string, at time.Time) *keyring.Metadata {
	t.Helper()
	k, err := g.openIn(t, id, "kms:DescribeKey", at)
	if err != nil {
		t.Fatal(err)
	}
	return k.Metadata()
}

// wrappingKey is one for all tests, since RSA keys take their time.
var wrappingKey = sync.OnceValue(func() *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return k
})

// token makes an import token for wrappingKey.
func (g *rig) token(t testing.TB, arn string, a keyring.WrappingAlgorithm, until time.Time) []byte {
	t.Helper()
	pkcs8, err := x509.MarshalPKCS8PrivateKey(wrappingKey())
	if err != nil {
		t.Fatal(err)
	}
	token, err := g.box.Seal(keyring.ImportTokens, keyring.ImportAAD(arn), keyring.EncodeImportToken(a, keyring.RSA2048, until, pkcs8))
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// wrapped returns an import of material into a key.
func (g *rig) wrapped(t testing.TB, arn string, material []byte) keyring.Import {
	t.Helper()
	a := keyring.WrapOAEPSHA256
	if len(material) > 190 {
		a = keyring.WrapRSAAESKWP256
	}
	return keyring.Import{Token: g.token(t, arn, a, start.Add(10000*time.Hour)), Wrapped: wrap(t, a, &wrappingKey().PublicKey, material)}
}

// imports imports material into a key at an instant, as edit has it.
func (g *rig) imports(t testing.TB, id string, material []byte, at time.Time, edit func(*keyring.Import)) (string, error) {
	t.Helper()
	k, err := g.openIn(t, id, "kms:ImportKeyMaterial", at)
	if err != nil {
		t.Fatal(err)
	}
	in := g.wrapped(t, k.Metadata().ARN, material)
	if edit != nil {
		edit(&in)
	}
	return k.Import(t.Context(), in)
}

func (g *rig) mustImport(t testing.TB, id string, material []byte, at time.Time, edit func(*keyring.Import)) string {
	t.Helper()
	materialID, err := g.imports(t, id, material, at, edit)
	if err != nil {
		t.Fatal(err)
	}
	return materialID
}

func asNew(in *keyring.Import) { in.Type = keyring.NewMaterial }

func until(at time.Time) func(*keyring.Import) {
	return func(in *keyring.Import) { in.Expires = at }
}

func random(t testing.TB, n int) []byte {
	t.Helper()
	b := make([]byte, n)
	if _, err := rand.Read(b); err != nil {
		t.Fatal(err)
	}
	return b
}

// A client that has nothing but what ImportParameters gives.
func TestImportAsAClientDoes(t *testing.T) {
	g := newRig(t, nil, keyring.Options{})
	m := g.createExternal(t, keyring.SymmetricDefault, keyring.EncryptDecrypt)
	p, err := g.mustOpen(t, m.ID, "kms:GetParametersForImport").ImportParameters(t.Context(), keyring.WrapOAEPSHA1, keyring.RSA2048)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParsePKIXPublicKey(p.PublicKey)
	public, ok := parsed.(*rsa.PublicKey)
	if err != nil || !ok || public.N.BitLen() != 2048 || len(p.Token) > 6144 || !p.ValidTo.Equal(start.Add(24*time.Hour)) {
		t.Fatalf("%T, %d bytes of token, until %v, %v", parsed, len(p.Token), p.ValidTo, err)
	}
	if bytes.Contains(p.Token, []byte(m.ID)) {
		t.Error("the token is not sealed")
	}
	if kvs := raw(t, g.store, "v1/mat/"); len(kvs) != 0 {
		t.Errorf("%d materials are stored before any was imported", len(kvs))
	}
	if _, _, err := g.open(t, m.ID, "kms:Encrypt"); !isPendingImport(err) {
		t.Errorf("Encrypt without material: %v", err)
	}
	material := random(t, 32)
	id, err := g.mustOpen(t, m.ID, "kms:ImportKeyMaterial").Import(t.Context(), keyring.Import{Token: p.Token, Wrapped: wrap(t, keyring.WrapOAEPSHA1, public, material)})
	if err != nil {
		t.Fatal(err)
	}
	now := g.stateAt(t, m.ID, start)
	if at, ok := now.ValidTo(); now.State != keyring.Enabled || now.MaterialID != id || len(id) != 64 || !ok || !at.IsZero() {
		t.Errorf("after the import: %+v", now)
	}
	blob, err := g.mustOpen(t, m.ID, "kms:Encrypt").Encrypt(t.Context(), keyring.AlgorithmSymmetricDefault, []byte("x"), nil)
	if err != nil {
		t.Fatal(err)
	}
	// The same parameters are good for as often as one likes, on their day.
	again := keyring.Import{Token: p.Token, Wrapped: wrap(t, keyring.WrapOAEPSHA1, public, material)}
	k, err := g.openIn(t, m.ID, "kms:ImportKeyMaterial", p.ValidTo.Add(-time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	if same, err := k.Import(t.Context(), again); err != nil || same != id {
		t.Errorf("a second import: %s, %v", same, err)
	}
	if k, err = g.openIn(t, m.ID, "kms:ImportKeyMaterial", p.ValidTo); err != nil {
		t.Fatal(err)
	}
	if _, err := k.Import(t.Context(), again); !errors.Is(err, keyring.ErrImportTokenExpired) {
		t.Errorf("a day later: %v, want ErrImportTokenExpired", err)
	}
	plaintext, _, err := g.mustOpen(t, m.ID, "kms:Decrypt").Decrypt(t.Context(), keyring.AlgorithmSymmetricDefault, blob, nil)
	if err != nil || string(plaintext.Reveal()) != "x" {
		t.Errorf("Decrypt: %v", err)
	}
	// The same material makes another key of another key.
	other := g.createExternal(t, keyring.SymmetricDefault, keyring.EncryptDecrypt)
	if otherID := g.mustImport(t, other.ID, material, start, nil); otherID == id {
		t.Error("one material has one id in two keys")
	}
	if _, _, err := g.mustOpen(t, other.ID, "kms:Decrypt").Decrypt(t.Context(), keyring.AlgorithmSymmetricDefault, blob, nil); !errors.Is(err, keyring.ErrIncorrectKey) {
		t.Errorf("another key with the same material: %v", err)
	}
}

func isPendingImport(err error) bool {
	var state *keyring.StateError
	return errors.As(err, &state) && state.State == keyring.PendingImport
}

// What was imported is what the key works with: somebody else's code agrees.
func TestImportedKeysWork(t *testing.T) {
	g := newRig(t, nil, keyring.Options{})
	ctx := t.Context()
	digest := sha256.Sum256([]byte("message"))

	for spec, n := range map[keyring.Spec]int{keyring.HMAC224: 28, keyring.HMAC256: 128, keyring.HMAC384: 128, keyring.HMAC512: 65} {
		m := g.createExternal(t, spec, keyring.GenerateVerifyMAC)
		material := random(t, n)
		g.mustImport(t, m.ID, material, start, nil)
		a := keyring.Algorithms(spec, keyring.GenerateVerifyMAC)[0]
		newHash := map[keyring.Spec]crypto.Hash{keyring.HMAC224: crypto.SHA224, keyring.HMAC256: crypto.SHA256, keyring.HMAC384: crypto.SHA384, keyring.HMAC512: crypto.SHA512}[spec]
		want := hmac.New(newHash.New, material)
		want.Write([]byte("message"))
		for range 2 {
			got, err := g.mustOpen(t, m.ID, "kms:GenerateMac").GenerateMAC(ctx, a, []byte("message"))
			if err != nil || !bytes.Equal(got, want.Sum(nil)) {
				t.Errorf("%s, %d bytes: %x, %v", spec, n, got, err)
			}
		}
		// Once more, for the same key, and not for another.
		if _, err := g.imports(t, m.ID, material, start, nil); err != nil {
			t.Errorf("%s: the same again: %v", spec, err)
		}
		if _, err := g.imports(t, m.ID, random(t, n), start, nil); !errors.Is(err, keyring.ErrKeyMaterial) {
			t.Errorf("%s: another: %v, want ErrKeyMaterial", spec, err)
		}
	}

	m := g.createExternal(t, keyring.RSA2048, keyring.SignVerify)
	k := wrappingKey() // as good as any
	der, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	g.mustImport(t, m.ID, der, start, nil)
	signature, err := g.mustOpen(t, m.ID, "kms:Sign").Sign(ctx, keyring.RSASSAPSSSHA256, digest[:], true)
	if err != nil || rsa.VerifyPSS(&k.PublicKey, crypto.SHA256, digest[:], signature, nil) != nil {
		t.Errorf("RSA: %x, %v", signature, err)
	}
	public, err := g.mustOpen(t, m.ID, "kms:GetPublicKey").PublicKey()
	if want, _ := x509.MarshalPKIXPublicKey(&k.PublicKey); err != nil || !bytes.Equal(public, want) {
		t.Errorf("the public key is not the imported one's: %v", err)
	}

	for _, spec := range []keyring.Spec{keyring.ECCNISTP256, keyring.ECCNISTP521, keyring.ECCSECGP256K1, keyring.ECCEdwards25519} {
		m := g.createExternal(t, spec, keyring.SignVerify)
		der, spki, err := keyring.GenerateMaterial(spec)
		if err != nil {
			t.Fatal(err)
		}
		g.mustImport(t, m.ID, der, start, func(in *keyring.Import) {
			a := keyring.WrapRSAAESKWPSHA1
			in.Token, in.Wrapped = g.token(t, m.ARN, a, start.Add(time.Hour)), wrap(t, a, &wrappingKey().PublicKey, der)
		})
		public, err := g.mustOpen(t, m.ID, "kms:GetPublicKey").PublicKey()
		if err != nil || !bytes.Equal(public, spki) {
			t.Errorf("%s: the public key is not the imported one's: %v", spec, err)
		}
		algorithms := keyring.Algorithms(spec, keyring.SignVerify)
		a := algorithms[len(algorithms)-1] // that signs messages
		signature, err := g.mustOpen(t, m.ID, "kms:Sign").Sign(ctx, a, []byte("message"), false)
		if err != nil {
			t.Fatal(err)
		}
		if ok, err := g.mustOpen(t, m.ID, "kms:Verify").Verify(ctx, a, []byte("message"), false, signature); err != nil || !ok {
			t.Errorf("%s: %v, %v", spec, ok, err)
		}
		if parsed, err := x509.ParsePKIXPublicKey(spki); err == nil && spec == keyring.ECCNISTP521 {
			d := sha512.Sum512([]byte("message"))
			if !ecdsa.VerifyASN1(parsed.(*ecdsa.PublicKey), d[:], signature) {
				t.Errorf("%s: the standard library does not verify it", spec)
			}
		}
		if _, err := g.mustOpen(t, m.ID, "kms:DeleteImportedKeyMaterial").DeleteMaterial(ctx, ""); err != nil {
			t.Fatal(err)
		}
		if _, _, err := g.open(t, m.ID, "kms:GetPublicKey"); !isPendingImport(err) {
			t.Errorf("%s: GetPublicKey without material: %v", spec, err)
		}
		other, _, err := keyring.GenerateMaterial(spec)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := g.imports(t, m.ID, other, start, nil); !errors.Is(err, keyring.ErrKeyMaterial) {
			t.Errorf("%s: another key: %v, want ErrKeyMaterial", spec, err)
		}
		g.mustImport(t, m.ID, der, start, nil)
	}
}

func TestImportRefuses(t *testing.T) {
	g := newRig(t, nil, keyring.Options{})
	m := g.createExternal(t, keyring.SymmetricDefault, keyring.EncryptDecrypt)
	other := g.createExternal(t, keyring.SymmetricDefault, keyring.EncryptDecrypt)
	mac := g.createExternal(t, keyring.HMAC256, keyring.GenerateVerifyMAC)
	ours := g.create(t, keyring.SymmetricDefault, keyring.EncryptDecrypt)
	text := "described"
	session, err := g.box.Seal(keyring.ImportTokens, []byte("something else"), []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	isOrigin := func(err error) bool {
		var origin *keyring.OriginError
		return errors.As(err, &origin) && *origin == keyring.OriginError{ARN: ours.ARN, Origin: keyring.AWSKMS}
	}
	isSingle := func(err error) bool {
		var single *keyring.SingleMaterialError
		return errors.As(err, &single) && single.Spec == keyring.HMAC256
	}
	is := func(want error) func(error) bool { return func(err error) bool { return errors.Is(err, want) } }
	for _, tt := range []struct {
		name string
		id   string
		edit func(*keyring.Import)
		is   func(error) bool
	}{
		{"no token", m.ID, func(in *keyring.Import) { in.Token = nil }, is(keyring.ErrImportToken)},
		{"a token of another key", m.ID, func(in *keyring.Import) {
			in.Token = g.token(t, other.ARN, keyring.WrapOAEPSHA256, start.Add(time.Hour))
		}, is(keyring.ErrImportToken)},
		{"another sort of token", m.ID, func(in *keyring.Import) { in.Token = session }, is(keyring.ErrImportToken)},
		{"a token cut short", m.ID, func(in *keyring.Import) { in.Token = in.Token[:len(in.Token)-1] }, is(keyring.ErrImportToken)},
		{"a token changed", m.ID, func(in *keyring.Import) { in.Token[len(in.Token)/2] ^= 1 }, is(keyring.ErrImportToken)},
		{"an expired token", m.ID, func(in *keyring.Import) { in.Token = g.token(t, m.ARN, keyring.WrapOAEPSHA256, start) }, is(keyring.ErrImportTokenExpired)},
		{"a token of another algorithm", m.ID, func(in *keyring.Import) { in.Token = g.token(t, m.ARN, keyring.WrapOAEPSHA1, start.Add(time.Hour)) }, is(keyring.ErrInvalidCiphertext)},
		{"material changed", m.ID, func(in *keyring.Import) { in.Wrapped[9] ^= 1 }, is(keyring.ErrInvalidCiphertext)},
		{"material of another length", m.ID, func(in *keyring.Import) {
			in.Wrapped = wrap(t, keyring.WrapOAEPSHA256, &wrappingKey().PublicKey, make([]byte, 31))
		}, is(keyring.ErrKeyMaterial)},
		{"nothing imported before", m.ID, func(in *keyring.Import) { in.Type = keyring.ExistingMaterial }, is(keyring.ErrKeyMaterial)},
		{"another id", m.ID, func(in *keyring.Import) { in.MaterialID = strings.Repeat("0", 64) }, is(keyring.ErrKeyMaterial)},
		{"an id of new material", m.ID, func(in *keyring.Import) { in.Type, in.MaterialID = keyring.NewMaterial, strings.Repeat("0", 64) }, is(keyring.ErrParameter)},
		{"expires now", m.ID, until(start), is(keyring.ErrParameter)},
		{"material made here", ours.ID, nil, isOrigin},
		{"new, of a key with one material", mac.ID, asNew, isSingle},
		{"existing, of a key with one material", mac.ID, func(in *keyring.Import) { in.Type = keyring.ExistingMaterial }, isSingle},
		{"described, of a key with one material", mac.ID, func(in *keyring.Import) { in.Description = &text }, isSingle},
		{"named, of a key with one material", mac.ID, func(in *keyring.Import) { in.MaterialID = strings.Repeat("0", 64) }, isSingle},
	} {
		if _, err := g.imports(t, tt.id, make([]byte, 32), start, tt.edit); !tt.is(err) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	if s := g.stateAt(t, m.ID, start).State; s != keyring.PendingImport || len(raw(t, g.store, "v1/mat/")) != 1 {
		t.Errorf("after imports that failed the key is %s, and %d materials are stored", s, len(raw(t, g.store, "v1/mat/")))
	}
	k := g.mustOpen(t, ours.ID, "kms:GetParametersForImport")
	if _, err := k.ImportParameters(t.Context(), keyring.WrapOAEPSHA256, keyring.RSA2048); !isOrigin(err) {
		t.Errorf("ImportParameters of a key whose material is made here: %v", err)
	}
	if _, err := g.mustOpen(t, ours.ID, "kms:DeleteImportedKeyMaterial").DeleteMaterial(t.Context(), ""); !isOrigin(err) {
		t.Errorf("DeleteMaterial of a key whose material is made here: %v", err)
	}
	var wrapping *keyring.WrappingError
	if _, err := g.mustOpen(t, m.ID, "kms:GetParametersForImport").ImportParameters(t.Context(), keyring.WrapRSAAESKWP256, keyring.RSA2048); !errors.As(err, &wrapping) {
		t.Errorf("ImportParameters: %v, want a WrappingError", err)
	}
	for _, params := range []keyring.CreateParams{
		{Spec: keyring.MLDSA44, Usage: keyring.SignVerify, Origin: keyring.External},
		{Spec: keyring.SymmetricDefault, Usage: keyring.EncryptDecrypt, Origin: "AWS_CLOUDHSM"},
	} {
		params.Account, params.Region = account, region
		c := newCall()
		if _, err := g.ring.Create(t.Context(), c, permit(t, c, "kms:CreateKey", anyResource()), params); !errors.Is(err, keyring.ErrParameter) {
			t.Errorf("Create(%s of %s): %v, want ErrParameter", params.Spec, params.Origin, err)
		}
	}
}

// Material expires at its instant, whether the job has run or not.
func TestMaterialExpires(t *testing.T) {
	var told []keyring.Event
	var failing bool
	st := store.NewMem()
	g := newRig(t, st, keyring.Options{Record: func(ctx context.Context, e keyring.Event, commit func(context.Context) error) error {
		if failing {
			return errFault
		}
		told = append(told, e)
		return commit(ctx)
	}})
	m := g.createExternal(t, keyring.SymmetricDefault, keyring.EncryptDecrypt)
	material := random(t, 32)
	at := start.Add(30 * 24 * time.Hour)
	id := g.mustImport(t, m.ID, material, start, until(at))
	if got, ok := g.stateAt(t, m.ID, start).ValidTo(); !ok || !got.Equal(at) {
		t.Errorf("ValidTo = %v, %v; want %v", got, ok, at)
	}
	if next, err := g.ring.NextDue(t.Context()); err != nil || !next.Equal(at) {
		t.Errorf("NextDue = %v, %v; want %v", next, err, at)
	}
	k, err := g.openIn(t, m.ID, "kms:Encrypt", at.Add(-time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	blob, err := k.Encrypt(t.Context(), keyring.AlgorithmSymmetricDefault, []byte("x"), nil)
	if err != nil {
		t.Fatal(err)
	}
	gone := func(when string) {
		t.Helper()
		for _, action := range []string{"kms:Decrypt", "kms:Encrypt", "kms:CreateGrant", "kms:EnableKey", "kms:DisableKey"} {
			if _, err := g.openIn(t, m.ID, action, at); !isPendingImport(err) {
				t.Errorf("%s: %s: %v", when, action, err)
			}
		}
		now := g.stateAt(t, m.ID, at)
		if _, ok := now.ValidTo(); ok || now.State != keyring.PendingImport || now.MaterialID != id || len(now.Materials) != 1 || now.Materials[0].Imported {
			t.Errorf("%s: %+v", when, now)
		}
	}
	gone("before the job")
	// What is changed meanwhile makes no difference.
	if k, err = g.openIn(t, m.ID, "kms:UpdateKeyDescription", at); err != nil {
		t.Fatal(err)
	}
	if err := k.SetDescription(t.Context(), "expired"); err != nil {
		t.Fatal(err)
	}
	gone("changed before the job")
	if err := g.ring.RunDue(t.Context(), at.Add(-time.Millisecond)); err != nil || len(told) != 0 || len(raw(t, st, "v1/mat/")) != 1 {
		t.Fatalf("a millisecond early: %v, %v", told, err)
	}
	failing = true
	if err := g.ring.RunDue(t.Context(), at); !errors.Is(err, errFault) || len(raw(t, st, "v1/mat/")) != 1 {
		t.Fatalf("without a record: %v", err)
	}
	failing = false
	if err := g.ring.RunDue(t.Context(), at); err != nil {
		t.Fatal(err)
	}
	if kvs := append(raw(t, st, "v1/mat/"), raw(t, st, "v1/due/")...); len(kvs) != 0 {
		t.Errorf("still there: %v", kvs)
	}
	if len(told) != 1 || told[0].Name != keyring.DeleteExpiredKeyMaterial || told[0].ARN != m.ARN || len(told[0].Details) != 2 ||
		told[0].Details[0].Value != m.ID || told[0].Details[1].Value != id {
		t.Errorf("told %+v", told)
	}
	gone("after the job")

	// The same material makes it good again.
	later := at.Add(time.Hour)
	if _, err := g.imports(t, m.ID, random(t, 32), later, nil); !errors.Is(err, keyring.ErrKeyMaterial) {
		t.Errorf("other material: %v, want ErrKeyMaterial", err)
	}
	g.mustImport(t, m.ID, material, later, nil)
	if s := g.stateAt(t, m.ID, later).State; s != keyring.Enabled {
		t.Errorf("after the same was imported again it is %s", s)
	}
	if k, err = g.openIn(t, m.ID, "kms:Decrypt", later); err != nil {
		t.Fatal(err)
	}
	if plaintext, _, err := k.Decrypt(t.Context(), keyring.AlgorithmSymmetricDefault, blob, nil); err != nil || string(plaintext.Reveal()) != "x" {
		t.Errorf("what was encrypted before: %v", err)
	}
}

// An import puts off the end of a material, also when it has come already.
func TestImportPutsOffExpiry(t *testing.T) {
	st := store.NewMem()
	g := newRig(t, st, keyring.Options{})
	m := g.createExternal(t, keyring.SymmetricDefault, keyring.EncryptDecrypt)
	material := random(t, 32)
	at := start.Add(time.Hour)
	g.mustImport(t, m.ID, material, start, until(at))
	if err := g.mustOpen(t, m.ID, "kms:DisableKey").Disable(t.Context()); err != nil {
		t.Fatal(err)
	}
	g.mustImport(t, m.ID, material, start, until(at.Add(time.Hour)))
	if now := g.stateAt(t, m.ID, at); now.State != keyring.Enabled {
		t.Errorf("the key is %s, want Enabled, as AWS's after an import of what it has", now.State)
	}
	g.mustImport(t, m.ID, material, at.Add(time.Hour), until(at.Add(2*time.Hour)))
	if now := g.stateAt(t, m.ID, at.Add(time.Hour)); now.State != keyring.Enabled {
		t.Errorf("the key is %s, want Enabled", now.State)
	}
	g.mustImport(t, m.ID, material, at, nil)
	if kvs := raw(t, st, "v1/due/"); len(kvs) != 0 {
		t.Errorf("material that does not expire is due: %v", kvs)
	}
	if err := g.ring.RunDue(t.Context(), at.Add(1000*time.Hour)); err != nil || len(raw(t, st, "v1/mat/")) != 1 {
		t.Errorf("material that does not expire is gone: %v", err)
	}
}

func TestSeveralMaterials(t *testing.T) {
	st := store.NewMem()
	g := newRig(t, st, keyring.Options{})
	ctx := t.Context()
	m := g.createExternal(t, keyring.SymmetricDefault, keyring.EncryptDecrypt)
	first, second, third := random(t, 32), random(t, 32), random(t, 32)
	describe := func(text string) func(*keyring.Import) {
		return func(in *keyring.Import) { in.Type, in.Description = keyring.NewMaterial, &text }
	}
	one := g.mustImport(t, m.ID, first, start, describe("the first"))
	oldBlob, err := g.mustOpen(t, m.ID, "kms:Encrypt").Encrypt(ctx, keyring.AlgorithmSymmetricDefault, []byte("old"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g.imports(t, m.ID, second, start, nil); !errors.Is(err, keyring.ErrKeyMaterial) {
		t.Errorf("other material that is not said to be new: %v", err)
	}
	if _, err := g.imports(t, m.ID, first, start, asNew); !errors.Is(err, keyring.ErrKeyMaterial) {
		t.Errorf("the same material, said to be new: %v", err)
	}
	two := g.mustImport(t, m.ID, second, start, describe("the second"))
	want := func(materials ...keyring.Material) {
		t.Helper()
		if got := g.stateAt(t, m.ID, start).Materials; !slices.Equal(got, materials) {
			t.Errorf("materials %+v, want %+v", got, materials)
		}
	}
	mat1 := keyring.Material{ID: one, State: keyring.Current, Imported: true, Description: "the first"}
	mat2 := keyring.Material{ID: two, State: keyring.PendingRotation, Imported: true, Description: "the second"}
	want(mat1, mat2)
	var pending *keyring.PendingMaterialError
	if _, err := g.imports(t, m.ID, third, start, asNew); !errors.As(err, &pending) || pending.Pending != two || pending.New == two || pending.ARN != m.ARN {
		t.Errorf("a third: %v", err)
	}

	// One that is only pending can go without harm, and another come.
	if id, err := g.mustOpen(t, m.ID, "kms:DeleteImportedKeyMaterial").DeleteMaterial(ctx, two); err != nil || id != two {
		t.Fatal(id, err)
	}
	want(mat1)
	if n := len(raw(t, st, "v1/mat/")); n != 1 {
		t.Errorf("%d materials are stored, want 1", n)
	}
	if s := g.stateAt(t, m.ID, start).State; s != keyring.Enabled {
		t.Errorf("the key is %s, want Enabled", s)
	}
	if _, err := g.imports(t, m.ID, second, start, func(in *keyring.Import) { in.Type = keyring.ExistingMaterial }); !errors.Is(err, keyring.ErrKeyMaterial) {
		t.Errorf("what was deleted before it was used, as existing: %v", err)
	}
	g.mustImport(t, m.ID, second, start, describe("the second"))
	want(mat1, mat2)

	if err := g.mustOpen(t, m.ID, "kms:RotateKeyOnDemand").RotateOnDemand(ctx); err != nil {
		t.Fatal(err)
	}
	mat1.State = keyring.NonCurrent
	mat2.State, mat2.RotatedBy, mat2.Rotated = keyring.Current, keyring.OnDemand, start
	want(mat1, mat2)
	newBlob, err := g.mustOpen(t, m.ID, "kms:Encrypt").Encrypt(ctx, keyring.AlgorithmSymmetricDefault, []byte("new"), nil)
	if err != nil {
		t.Fatal(err)
	}
	decrypts := func(blob []byte, text, id string) {
		t.Helper()
		plaintext, got, err := g.mustOpen(t, m.ID, "kms:Decrypt").Decrypt(ctx, keyring.AlgorithmSymmetricDefault, blob, nil)
		if err != nil || string(plaintext.Reveal()) != text || got != id {
			t.Errorf("Decrypt: %v, with %s", err, got)
		}
	}
	decrypts(oldBlob, "old", one)
	decrypts(newBlob, "new", two)

	// Without any one that was ever used, nothing works.
	if _, err := g.mustOpen(t, m.ID, "kms:DeleteImportedKeyMaterial").DeleteMaterial(ctx, one); err != nil {
		t.Fatal(err)
	}
	mat1.Imported = false
	want(mat1, mat2)
	if _, _, err := g.open(t, m.ID, "kms:Decrypt"); !isPendingImport(err) {
		t.Errorf("Decrypt without the first material: %v", err)
	}
	// The last use of it in memory is over, too.
	g.mustImport(t, m.ID, third, start, asNew)
	if s := g.stateAt(t, m.ID, start).State; s != keyring.PendingImport {
		t.Errorf("with a new material instead of the old one the key is %s", s)
	}
	if _, err := g.mustOpen(t, m.ID, "kms:DeleteImportedKeyMaterial").DeleteMaterial(ctx, ""); err != nil {
		t.Fatal(err)
	}
	g.mustImport(t, m.ID, first, start, func(in *keyring.Import) { in.MaterialID = one })
	if s := g.stateAt(t, m.ID, start).State; s != keyring.PendingImport {
		t.Errorf("with one of two the key is %s", s)
	}
	if _, err := g.imports(t, m.ID, second, start, func(in *keyring.Import) { in.MaterialID = one }); !errors.Is(err, keyring.ErrKeyMaterial) {
		t.Errorf("another material than said: %v", err)
	}
	g.mustImport(t, m.ID, second, start, nil)
	if now := g.stateAt(t, m.ID, start); now.State != keyring.Enabled || now.Materials[0].Description != "the first" || now.Materials[1].Description != "the second" {
		t.Errorf("with all: %+v", now)
	}
	decrypts(oldBlob, "old", one)
	decrypts(newBlob, "new", two)
}

// Material that is imported again while it expires stays, and that is no failure.
func TestImportDuringExpiry(t *testing.T) {
	st := store.NewMem()
	var g *rig
	var during func()
	g = newRig(t, st, keyring.Options{Record: func(ctx context.Context, _ keyring.Event, commit func(context.Context) error) error {
		if during != nil {
			during()
		}
		return commit(ctx)
	}})
	m := g.createExternal(t, keyring.SymmetricDefault, keyring.EncryptDecrypt)
	material := random(t, 32)
	at := start.Add(time.Hour)
	g.mustImport(t, m.ID, material, start, until(at))
	during = func() { g.mustImport(t, m.ID, material, at, until(at.Add(time.Hour))) }
	if err := g.ring.RunDue(t.Context(), at); err != nil {
		t.Errorf("an import came first: %v", err)
	}
	during = nil
	if err := g.ring.RunDue(t.Context(), at); err != nil {
		t.Fatal(err)
	}
	if now := g.stateAt(t, m.ID, at); now.State != keyring.Enabled || !now.Materials[0].Imported || len(raw(t, st, "v1/mat/")) != 1 {
		t.Errorf("imported again while it expired: %+v", now)
	}
	if next, err := g.ring.NextDue(t.Context()); err != nil || !next.Equal(at.Add(time.Hour)) {
		t.Errorf("NextDue = %v, %v", next, err)
	}
}

// A material that is pending and has expired is as good as not there, and its
// bytes do not stay behind.
func TestPendingMaterialExpires(t *testing.T) {
	for _, ran := range []bool{false, true} {
		st := store.NewMem()
		g := newRig(t, st, keyring.Options{})
		m := g.createExternal(t, keyring.SymmetricDefault, keyring.EncryptDecrypt)
		first, second, third := random(t, 32), random(t, 32), random(t, 32)
		at := start.Add(time.Hour)
		g.mustImport(t, m.ID, first, start, nil)
		g.mustImport(t, m.ID, second, start, func(in *keyring.Import) { in.Type, in.Expires = keyring.NewMaterial, at })
		if ran {
			if err := g.ring.RunDue(t.Context(), at); err != nil {
				t.Fatal(err)
			}
			if n := len(raw(t, st, "v1/mat/")); n != 1 {
				t.Errorf("%d materials are stored, want 1", n)
			}
		}
		if now := g.stateAt(t, m.ID, at); now.State != keyring.Enabled || len(now.Materials) != 1 {
			t.Errorf("job ran: %t: %+v", ran, now)
		}
		if _, err := g.imports(t, m.ID, second, at, nil); !errors.Is(err, keyring.ErrKeyMaterial) {
			t.Errorf("job ran: %t: the same as existing: %v", ran, err)
		}
		g.mustImport(t, m.ID, third, at, asNew)
		if n := len(raw(t, st, "v1/mat/")); n != 2 {
			t.Errorf("job ran: %t: %d materials are stored, want 2", ran, n)
		}
		if err := g.ring.RunDue(t.Context(), at); err != nil {
			t.Fatal(err)
		}
		if n, d := len(raw(t, st, "v1/mat/")), len(raw(t, st, "v1/due/")); n != 2 || d != 0 {
			t.Errorf("job ran: %t: %d materials and %d due records are stored at the end", ran, n, d)
		}
	}
}

func TestDeleteMaterial(t *testing.T) {
	st := store.NewMem()
	g := newRig(t, st, keyring.Options{})
	ctx := t.Context()
	remove := func(id, material string) (string, error) {
		return g.mustOpen(t, id, "kms:DeleteImportedKeyMaterial").DeleteMaterial(ctx, material)
	}
	m := g.createExternal(t, keyring.SymmetricDefault, keyring.EncryptDecrypt)
	if id, err := remove(m.ID, ""); id != "" || err != nil {
		t.Errorf("of a key that never had any: %q, %v", id, err)
	}
	material := random(t, 32)
	id := g.mustImport(t, m.ID, material, start, until(start.Add(time.Hour)))
	if _, err := remove(m.ID, strings.Repeat("0", 64)); !errors.Is(err, keyring.ErrNotFound) {
		t.Errorf("an unknown id: %v, want ErrNotFound", err)
	}
	for range 2 { // the second time, nothing is left to do
		if got, err := remove(m.ID, ""); got != id || err != nil {
			t.Fatalf("%q, %v; want %q", got, err, id)
		}
		if kvs := append(raw(t, st, "v1/mat/"), raw(t, st, "v1/due/")...); len(kvs) != 0 {
			t.Errorf("still there: %v", kvs)
		}
	}
	mac := g.createExternal(t, keyring.HMAC256, keyring.GenerateVerifyMAC)
	macID := g.mustImport(t, mac.ID, material, start, nil)
	var single *keyring.SingleMaterialError
	if _, err := remove(mac.ID, macID); !errors.As(err, &single) {
		t.Errorf("by the id of a key with one material: %v", err)
	}

	// A key that waits for its end goes on doing so, but comes back without.
	g.mustImport(t, m.ID, material, start, nil)
	g.schedule(t, m.ID, 7*24*time.Hour)
	if _, err := remove(m.ID, ""); err != nil {
		t.Fatal(err)
	}
	if s := g.stateAt(t, m.ID, start).State; s != keyring.PendingDeletion {
		t.Errorf("the key is %s, want PendingDeletion", s)
	}
	if err := g.mustOpen(t, m.ID, "kms:CancelKeyDeletion").CancelDeletion(ctx); err != nil {
		t.Fatal(err)
	}
	if s := g.stateAt(t, m.ID, start).State; s != keyring.PendingImport {
		t.Errorf("the key is %s, want PendingImport", s)
	}
	g.mustImport(t, m.ID, material, start, nil)
	g.schedule(t, m.ID, 7*24*time.Hour)
	if err := g.mustOpen(t, m.ID, "kms:CancelKeyDeletion").CancelDeletion(ctx); err != nil {
		t.Fatal(err)
	}
	if s := g.stateAt(t, m.ID, start).State; s != keyring.Disabled {
		t.Errorf("the key is %s, want Disabled", s)
	}
}

// Material in memory ends with the material.
func TestDeletedMaterialLeavesMemory(t *testing.T) {
	g := newRig(t, nil, keyring.Options{})
	m := g.createExternal(t, keyring.HMAC256, keyring.GenerateVerifyMAC)
	g.mustImport(t, m.ID, random(t, 32), start, nil)
	k := g.mustOpen(t, m.ID, "kms:GenerateMac")
	if _, err := k.GenerateMAC(t.Context(), keyring.HMACSHA256, []byte("x")); err != nil || g.ring.Stats().Materials != 1 {
		t.Fatal(g.ring.Stats(), err)
	}
	if _, err := g.mustOpen(t, m.ID, "kms:DeleteImportedKeyMaterial").DeleteMaterial(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	if n := g.ring.Stats().Materials; n != 0 {
		t.Errorf("%d materials are held", n)
	}
	if _, err := k.GenerateMAC(t.Context(), keyring.HMACSHA256, []byte("x")); !errors.Is(err, keyring.ErrStale) {
		t.Errorf("a key opened before: %v, want ErrStale", err)
	}
}

// Damaged material can be deleted, and imported again.
func TestDamagedMaterialIsImportedAgain(t *testing.T) {
	for _, deleted := range []bool{false, true} {
		st := store.NewMem()
		g := newRig(t, st, keyring.Options{})
		m := g.createExternal(t, keyring.SymmetricDefault, keyring.EncryptDecrypt)
		material := random(t, 32)
		g.mustImport(t, m.ID, material, start, nil)
		blob, err := g.mustOpen(t, m.ID, "kms:Encrypt").Encrypt(t.Context(), keyring.AlgorithmSymmetricDefault, []byte("x"), nil)
		if err != nil {
			t.Fatal(err)
		}
		kv := raw(t, st, "v1/mat/")[0]
		kv.Val[len(kv.Val)-1] ^= 1
		if _, ok, err := st.Commit(t.Context(), nil, []store.Op{{Key: kv.Key, Val: kv.Val}}); err != nil || !ok {
			t.Fatal(ok, err)
		}
		fresh := newRig(t, st, keyring.Options{})
		if _, _, err := fresh.mustOpen(t, m.ID, "kms:Decrypt").Decrypt(t.Context(), keyring.AlgorithmSymmetricDefault, blob, nil); err == nil {
			t.Fatal("damaged material decrypts")
		}
		if deleted {
			if _, err := fresh.mustOpen(t, m.ID, "kms:DeleteImportedKeyMaterial").DeleteMaterial(t.Context(), ""); err != nil {
				t.Fatal(err)
			}
		}
		fresh.mustImport(t, m.ID, material, start, nil)
		plaintext, _, err := fresh.mustOpen(t, m.ID, "kms:Decrypt").Decrypt(t.Context(), keyring.AlgorithmSymmetricDefault, blob, nil)
		if err != nil || string(plaintext.Reveal()) != "x" {
			t.Errorf("deleted first: %t: %v", deleted, err)
		}
	}
}

// Of a commit that fails, nothing is there, and the next does it.
func TestImportFaults(t *testing.T) {
	f := &faulty{Store: store.NewMem()}
	g := newRig(t, f, keyring.Options{})
	m := g.createExternal(t, keyring.SymmetricDefault, keyring.EncryptDecrypt)
	material := random(t, 32)
	f.fail.Store(f.commits.Load() + 1)
	if _, err := g.imports(t, m.ID, material, start, nil); !errors.Is(err, errFault) {
		t.Fatalf("%v, want the fault", err)
	}
	if s := g.stateAt(t, m.ID, start).State; s != keyring.PendingImport || len(raw(t, f, "v1/mat/")) != 0 {
		t.Errorf("after the fault the key is %s", s)
	}
	g.mustImport(t, m.ID, material, start, until(start.Add(time.Hour)))
	f.fail.Store(f.commits.Load() + 1)
	if err := g.ring.RunDue(t.Context(), start.Add(time.Hour)); !errors.Is(err, errFault) {
		t.Fatalf("%v, want the fault", err)
	}
	if s := g.stateAt(t, m.ID, start).State; s != keyring.Enabled || len(raw(t, f, "v1/mat/")) != 1 {
		t.Errorf("after the fault the key is %s, at a time when it has not expired", s)
	}
	if err := g.ring.RunDue(t.Context(), start.Add(time.Hour)); err != nil || len(raw(t, f, "v1/mat/")) != 0 {
		t.Errorf("the next run: %v", err)
	}
}
