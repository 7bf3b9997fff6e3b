package attestation_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/attestation"
	"github.com/keyreeve/keyreeve/internal/attestation/attestationtest"
)

// start is when what these tests verify is made.
var start = time.Date(2026, 11, 21, 9, 30, 0, 123e6, time.UTC)

// enclaveKey is of who has documents made.
var enclaveKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

func spki(t testing.TB, public any) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// authority returns an authority, and roots of it alone.
func authority(t testing.TB, change ...func(*attestationtest.Templates)) (*attestationtest.Authority, *attestation.Roots) {
	t.Helper()
	a, err := attestationtest.New(start, change...)
	if err != nil {
		t.Fatal(err)
	}
	roots, err := attestation.Open([]string{file(t, a.RootPEM())})
	if err != nil {
		t.Fatal(err)
	}
	return a, roots
}

// file writes a file of its own.
func file(t testing.TB, content []byte) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "root.pem")
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func document(t testing.TB, a *attestationtest.Authority, d attestationtest.Document) []byte {
	t.Helper()
	if d.Time.IsZero() {
		d.Time = start
	}
	b, err := a.Document(d)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestVerify(t *testing.T) {
	t.Parallel()
	a, roots := authority(t)
	own := spki(t, enclaveKey().Public())

	d, err := roots.Verify(document(t, a, attestationtest.Document{PublicKey: own}), start)
	if err != nil {
		t.Fatal(err)
	}
	if d.Kind != attestation.Enclave || d.ModuleID != "i-0123456789abcdef0-enc0123456789abcdef" || !d.Time.Equal(start) {
		t.Errorf("of an enclave: %v %s %v", d.Kind, d.ModuleID, d.Time)
	}
	for n := -1; n <= 32; n++ {
		var want []byte
		if n >= 0 && n <= 4 {
			want = attestationtest.Register(n)
		}
		if !bytes.Equal(d.PCR(n), want) {
			t.Errorf("PCR(%d) = %x, want %x", n, d.PCR(n), want)
		}
	}

	registers := map[int][]byte{}
	for n := range 24 {
		registers[n] = attestationtest.Register(n)
	}
	d, err = roots.Verify(document(t, a, attestationtest.Document{TPM: true, ModuleID: "i-0123456789abcdef0-tpm0000000000000000", PCRs: registers, PublicKey: own}), start)
	if err != nil {
		t.Fatal(err)
	}
	if d.Kind != attestation.TPM || d.ModuleID != "i-0123456789abcdef0-tpm0000000000000000" || !bytes.Equal(d.PCR(23), registers[23]) || d.PCR(24) != nil {
		t.Errorf("of NitroTPM: %v %s %x", d.Kind, d.ModuleID, d.PCR(23))
	}
}

// A document may also be tagged, and its map of definite length.
func TestVerifyOtherEncodings(t *testing.T) {
	t.Parallel()
	a, roots := authority(t)
	members := a.Members(attestationtest.Document{Time: start, PublicKey: spki(t, enclaveKey().Public())})
	for name, members := range map[string][]attestationtest.Member{"nulls": members, "left out": members[:7]} {
		payload, err := attestationtest.Payload(members)
		if err != nil {
			t.Fatal(err)
		}
		definite := append([]byte{0xa0 | byte(len(members))}, payload[1:len(payload)-1]...)
		for _, p := range [][]byte{payload, definite} {
			signed, err := a.Sign(p)
			if err != nil {
				t.Fatal(err)
			}
			for _, b := range [][]byte{signed, append([]byte{0xd2}, signed...)} {
				if _, err := roots.Verify(b, start); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
		}
	}
}

// refused verifies what must be refused, for a reason.
func refused(t *testing.T, name string, roots *attestation.Roots, document []byte, now time.Time, want string) {
	t.Helper()
	_, err := roots.Verify(document, now)
	var e *attestation.Error
	switch {
	case err == nil:
		t.Errorf("%s: accepted", name)
	case !errors.As(err, &e):
		t.Errorf("%s: %v is no *Error", name, err)
	case e.Reason != want:
		t.Errorf("%s: the document %s, want %s (%v)", name, e.Reason, want, err)
	}
}

func TestFreshness(t *testing.T) {
	t.Parallel()
	a, roots := authority(t)
	b := document(t, a, attestationtest.Document{PublicKey: spki(t, enclaveKey().Public())})
	for age, want := range map[time.Duration]string{
		-attestation.MaxAge - time.Millisecond: "is of the future",
		-attestation.MaxAge:                    "",
		0:                                      "",
		attestation.MaxAge:                     "",
		attestation.MaxAge + time.Millisecond:  "has expired",
		24 * time.Hour:                         "has expired",
	} {
		if want == "" {
			if _, err := roots.Verify(b, start.Add(age)); err != nil {
				t.Errorf("%v old: %v", age, err)
			}
			continue
		}
		refused(t, age.String()+" old", roots, b, start.Add(age), want)
	}
}

// What is not signed, or by nobody that is trusted, is refused whatever it says.
func TestSignatures(t *testing.T) {
	t.Parallel()
	a, roots := authority(t)
	other, otherRoots := authority(t)
	good := document(t, a, attestationtest.Document{PublicKey: spki(t, enclaveKey().Public())})
	refused(t, "another authority's", otherRoots, good, start, "is of no trusted authority")

	// Some bytes of the signature, and some of all else.
	for i := range good {
		if i < len(good)-96 && i%37 != 0 || i%7 != 0 && i < len(good)-1 {
			continue
		}
		bad := bytes.Clone(good)
		bad[i] ^= 1
		if _, err := roots.Verify(bad, start); err == nil {
			t.Errorf("accepted with byte %d of %d changed", i, len(good))
		}
	}
	for n := range len(good) {
		if _, err := roots.Verify(good[:n], start); err == nil {
			t.Errorf("accepted the first %d bytes of %d", n, len(good))
		}
	}
	refused(t, "with something behind it", roots, append(bytes.Clone(good), 0), start, "is not a COSE_Sign1")
	refused(t, "nothing", roots, nil, start, "is not a COSE_Sign1")
	zero := append(bytes.Clone(good[:len(good)-96]), make([]byte, 96)...)
	refused(t, "a signature of zeros", roots, zero, start, "is not signed by its certificate")

	// Signed by a key that is another than the certificate's.
	members := a.Members(attestationtest.Document{Time: start, PublicKey: spki(t, enclaveKey().Public())})
	payload, err := attestationtest.Payload(members)
	if err != nil {
		t.Fatal(err)
	}
	forged, err := other.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	refused(t, "signed by another key", roots, forged, start, "is not signed by its certificate")

	// The header that is signed says which algorithm; the one that is not, nothing.
	for _, change := range []struct{ name, from, to, want string }{
		{"ES256", "\x44\xa1\x01\x38\x22\xa0", "\x43\xa1\x01\x26\xa0", "is not signed with ES384"},
		{"no algorithm", "\x44\xa1\x01\x38\x22\xa0", "\x41\xa0\xa0", "is not signed with ES384"},
		{"unprotected", "\x44\xa1\x01\x38\x22\xa0", "\x44\xa1\x01\x38\x22\xa1\x04\x41\x00", "has unprotected headers"},
		{"null for unprotected", "\x44\xa1\x01\x38\x22\xa0", "\x44\xa1\x01\x38\x22\xf6", "has unprotected headers"},
		{"another tag", "\x84\x44\xa1", "\xd1\x84\x44\xa1", "is not a COSE_Sign1"},
		{"two tags", "\x84\x44\xa1", "\xd2\xd2\x84\x44\xa1", "is not a COSE_Sign1"},
		{"five elements", "\x84\x44\xa1\x01\x38\x22\xa0", "\x85\x44\xa1\x01\x38\x22\xa0\xa0", "is not a COSE_Sign1"},
	} {
		refused(t, change.name, roots, bytes.Replace(good, []byte(change.from), []byte(change.to), 1), start, change.want)
	}
}

func TestChains(t *testing.T) {
	t.Parallel()
	own := spki(t, enclaveKey().Public())
	for name, tt := range map[string]struct {
		change func(*attestationtest.Templates)
		want   string
	}{
		"the root has expired":      {func(c *attestationtest.Templates) { c.Root.NotAfter = start.Add(-time.Second) }, "has a certificate that is not good"},
		"one between has expired":   {func(c *attestationtest.Templates) { c.Between.NotAfter = start.Add(-time.Second) }, "has a certificate that is not good"},
		"the leaf has expired":      {func(c *attestationtest.Templates) { c.Leaf.NotAfter = start.Add(-time.Second) }, "has a certificate that is not good"},
		"the leaf is of the future": {func(c *attestationtest.Templates) { c.Leaf.NotBefore = start.Add(time.Second) }, "has a certificate that is not good"},
		"no more authorities":       {func(c *attestationtest.Templates) { c.Root.MaxPathLenZero = true }, "has a certificate that is not good"},
		"one between is no authority": {
			func(c *attestationtest.Templates) { c.Between.IsCA, c.Between.MaxPathLenZero = false, false },
			"has a cabundle with what is no certificate of an authority",
		},
		"one between may not certify": {
			func(c *attestationtest.Templates) { c.Between.KeyUsage = x509.KeyUsageDigitalSignature },
			"has a cabundle with what is no certificate of an authority",
		},
		"the leaf is an authority":        {func(c *attestationtest.Templates) { c.Leaf.IsCA = true }, "has a certificate that is not for signatures"},
		"the leaf may not sign":           {func(c *attestationtest.Templates) { c.Leaf.KeyUsage = x509.KeyUsageKeyAgreement }, "has a certificate that is not for signatures"},
		"the leaf is on another curve":    {func(c *attestationtest.Templates) { c.Curve = elliptic.P256() }, "has a certificate of a key that is not on the curve P-384"},
		"one between has the root's name": {func(c *attestationtest.Templates) { c.Between.Subject = c.Root.Subject }, "has a cabundle that is no chain"},
		"one between is for other names": {
			func(c *attestationtest.Templates) {
				c.Between.PermittedDNSDomains, c.Leaf.DNSNames = []string{"one.test"}, []string{"another.test"}
			},
			"has a certificate that is not good",
		},
		"the leaf has what nobody understands": {
			func(c *attestationtest.Templates) {
				c.Leaf.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3}, Critical: true, Value: []byte{5, 0}}}
			},
			"has a certificate that is not good",
		},
		"the leaf has the name of an authority": {func(c *attestationtest.Templates) { c.Leaf.Subject = c.Between.Subject }, "has a certificate that its cabundle does not lead to"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, roots := authority(t, tt.change)
			refused(t, name, roots, document(t, a, attestationtest.Document{PublicKey: own}), start, tt.want)
		})
	}
}

// A chain that was verified is so for a time, and vouches for nothing else.
func TestRememberedChains(t *testing.T) {
	t.Parallel()
	a, roots := authority(t, func(c *attestationtest.Templates) {
		c.Between.NotAfter, c.Leaf.NotBefore = start.Add(time.Hour), start.Add(-time.Minute)
	})
	other, _ := authority(t)
	own := spki(t, enclaveKey().Public())
	at := func(now time.Time) []byte {
		return document(t, a, attestationtest.Document{Time: now, PublicKey: own})
	}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if _, err := roots.Verify(at(start), start); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := roots.Chains(); n != 1 {
		t.Errorf("%d chains are remembered", n)
	}
	// NotBefore and NotAfter have whole seconds.
	last := start.Add(time.Hour).Truncate(time.Second)
	for name, tt := range map[string]struct {
		now  time.Time
		want string
	}{
		"later":          {last, ""},
		"too late":       {last.Add(time.Millisecond), "has a certificate that is not good"},
		"at the start":   {start.Add(-time.Minute).Truncate(time.Second), ""},
		"not yet":        {start.Add(-time.Minute).Truncate(time.Second).Add(-time.Millisecond), "has a certificate that is not good"},
		"a day too late": {start.Add(24 * time.Hour), "has a certificate that is not good"},
	} {
		if tt.want != "" {
			refused(t, name, roots, at(tt.now), tt.now, tt.want)
		} else if _, err := roots.Verify(at(tt.now), tt.now); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	forged, err := attestationtest.Payload(a.Members(attestationtest.Document{Time: start, PublicKey: own}))
	if err != nil {
		t.Fatal(err)
	}
	if forged, err = other.Sign(forged); err != nil {
		t.Fatal(err)
	}
	refused(t, "another's signature", roots, forged, start, "is not signed by its certificate")

	roots.Crowd(2 * attestation.MaxChains)
	if n := roots.Chains(); n != attestation.MaxChains {
		t.Errorf("%d chains are remembered, want %d", n, attestation.MaxChains)
	}
	if _, err := roots.Verify(at(start), start); err != nil {
		t.Errorf("in a crowd: %v", err)
	}
}

// with returns members of which one has another value, or is gone for nil.
func with(members []attestationtest.Member, name string, value any) []attestationtest.Member {
	changed := slices.Clone(members)
	for i := range changed {
		if changed[i].Name == name {
			changed[i].Value = value
			return changed
		}
	}
	return append(changed, attestationtest.Member{Name: name, Value: value})
}

func without(members []attestationtest.Member, name string) []attestationtest.Member {
	return slices.DeleteFunc(slices.Clone(members), func(m attestationtest.Member) bool { return m.Name == name })
}

func TestPayloads(t *testing.T) {
	t.Parallel()
	a, roots := authority(t)
	other, _ := authority(t)
	good := a.Members(attestationtest.Document{Time: start, PublicKey: spki(t, enclaveKey().Public())})
	small, err := rsa.GenerateKey(rand.Reader, 1024) //nolint:gosec // that it is too small is the point
	if err != nil {
		t.Fatal(err)
	}
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	even := &rsa.PublicKey{N: new(big.Int).SetBit(enclaveKey().N, 0, 0), E: 65537}
	exponent := func(e int) []byte { return spki(t, &rsa.PublicKey{N: enclaveKey().N, E: e}) }
	pcr := attestationtest.Register(0)
	many := map[int][]byte{}
	for i := range 33 {
		many[i] = pcr
	}
	bundle := func(list ...[]byte) []attestationtest.Member { return with(good, "cabundle", list) }
	const (
		noMap        = "has another payload than the map of an attestation"
		noModule     = "has no module_id of 1 to 256 bytes"
		noTime       = "has no timestamp"
		noRegisters  = "must have either pcrs or nitrotpm_pcrs"
		badRegisters = "has registers that cannot be"
		noSize       = "has a public_key, user_data or nonce of more than 1024 bytes"
		noBits       = "has a public_key that is not of RSA with 2048 to 4096 bits"
		noBundle     = "has no cabundle of 1 to 10 certificates"
	)
	for name, tt := range map[string]struct {
		members []attestationtest.Member
		want    string
	}{
		"a member that there is not":     {with(good, "debug", true), noMap},
		"a member twice":                 {append(slices.Clone(good), good[0]), noMap},
		"no module id":                   {without(good, "module_id"), noModule},
		"null for a module id":           {with(good, "module_id", nil), noModule},
		"an empty module id":             {with(good, "module_id", ""), noModule},
		"a long module id":               {with(good, "module_id", strings.Repeat("x", 257)), noModule},
		"bytes for a module id":          {with(good, "module_id", []byte("x")), noMap},
		"not UTF-8":                      {with(good, "module_id", raw("\x61\xff")), noMap},
		"no digest":                      {without(good, "digest"), "has another digest than SHA384"},
		"another digest":                 {with(good, "digest", "SHA256"), "has another digest than SHA384"},
		"no timestamp":                   {without(good, "timestamp"), noTime},
		"the timestamp 0":                {with(good, "timestamp", 0), noTime},
		"a timestamp too large":          {with(good, "timestamp", uint64(1)<<63), noTime},
		"a negative timestamp":           {with(good, "timestamp", -1), noMap},
		"a fraction for a timestamp":     {with(good, "timestamp", 1.5), noMap},
		"no registers":                   {without(good, "pcrs"), noRegisters},
		"registers of both":              {with(good, "nitrotpm_pcrs", map[int][]byte{0: pcr}), noRegisters},
		"an empty map of registers":      {with(good, "pcrs", map[int][]byte{}), badRegisters},
		"33 registers":                   {with(good, "pcrs", many), noMap},
		"the register 32":                {with(good, "pcrs", map[int][]byte{32: pcr}), badRegisters},
		"the register 24 of a TPM":       {with(without(good, "pcrs"), "nitrotpm_pcrs", map[int][]byte{24: pcr}), badRegisters},
		"a negative register":            {with(good, "pcrs", map[int][]byte{-1: pcr}), noMap},
		"a register with a name":         {with(good, "pcrs", map[string][]byte{"0": pcr}), noMap},
		"a register twice":               {with(good, "pcrs", raw("\xa2\x00\x58\x20"+strings.Repeat("a", 32)+"\x00\x58\x20"+strings.Repeat("b", 32))), noMap},
		"a register of 20 bytes":         {with(good, "pcrs", map[int][]byte{0: pcr[:20]}), badRegisters},
		"null for a register":            {with(good, "pcrs", map[int]any{0: nil}), badRegisters},
		"no certificate":                 {without(good, "certificate"), "has no certificate of 1 to 1024 bytes"},
		"a certificate too large":        {with(good, "certificate", make([]byte, 1025)), "has no certificate of 1 to 1024 bytes"},
		"no certificate at all":          {with(good, "certificate", []byte("certificate")), "has a certificate that cannot be read"},
		"another's certificate":          {with(good, "certificate", other.Leaf.Raw), "has a certificate that its cabundle does not lead to"},
		"the certificate of one between": {with(good, "certificate", a.Between.Raw), "has a certificate that is not for signatures"},
		"no cabundle":                    {without(good, "cabundle"), noBundle},
		"an empty cabundle":              {bundle(), noBundle},
		"eleven certificates":            {bundle(slices.Repeat([][]byte{a.Root.Raw}, 11)...), noBundle},
		"no root":                        {bundle(a.Between.Raw), "is of no trusted authority"},
		"another root":                   {bundle(other.Root.Raw, a.Between.Raw), "is of no trusted authority"},
		"the root alone":                 {bundle(a.Root.Raw), "has a certificate that its cabundle does not lead to"},
		"the root twice":                 {bundle(a.Root.Raw, a.Root.Raw, a.Between.Raw), "has a cabundle that is no chain"},
		"one between twice":              {bundle(a.Root.Raw, a.Between.Raw, a.Between.Raw), "has a cabundle that is no chain"},
		"another's between":              {bundle(a.Root.Raw, other.Between.Raw), "has a cabundle that is no chain"},
		"the wrong way round":            {bundle(a.Between.Raw, a.Root.Raw), "is of no trusted authority"},
		"the leaf between":               {bundle(a.Root.Raw, a.Between.Raw, a.Leaf.Raw), "has a cabundle with what is no certificate of an authority"},
		"an empty certificate":           {bundle(a.Root.Raw, []byte{}), "has a cabundle with a certificate that is not of 1 to 1024 bytes"},
		"a large certificate":            {bundle(a.Root.Raw, make([]byte, 1025)), "has a cabundle with a certificate that is not of 1 to 1024 bytes"},
		"bytes for a cabundle":           {with(good, "cabundle", a.Root.Raw), noMap},
		"no public key":                  {without(good, "public_key"), "has no public_key"},
		"null for a public key":          {with(good, "public_key", nil), "has no public_key"},
		"an empty public key":            {with(good, "public_key", []byte{}), "has no public_key"},
		"a public key too large":         {with(good, "public_key", make([]byte, 1025)), noSize},
		"no public key at all":           {with(good, "public_key", []byte("key")), "has a public_key that cannot be read"},
		"a key on a curve":               {with(good, "public_key", spki(t, curve.Public())), "has a public_key that is not of RSA"},
		"a key of 1024 bits":             {with(good, "public_key", spki(t, small.Public())), noBits},
		"an even modulus":                {with(good, "public_key", spki(t, even)), noBits},
		"the exponent 1":                 {with(good, "public_key", exponent(1)), noBits},
		"an even exponent":               {with(good, "public_key", exponent(65536)), noBits},
		"a large exponent":               {with(good, "public_key", exponent(1<<31+1)), noBits},
		"user data too large":            {with(good, "user_data", make([]byte, 1025)), noSize},
		"a nonce too large":              {with(good, "nonce", make([]byte, 1025)), noSize},
		"nested deeply":                  {with(good, "nonce", raw("\x81\x81\x81\x81\x81\x80")), noMap},
		"a tag":                          {with(good, "nonce", raw("\xc0\x60")), noMap},
	} {
		payload, err := attestationtest.Payload(tt.members)
		if err != nil {
			t.Fatal(err)
		}
		signed, err := a.Sign(payload)
		if err != nil {
			t.Fatal(err)
		}
		refused(t, name, roots, signed, start, tt.want)
	}
	for name, payload := range map[string][]byte{"an array": {0x80}, "nothing of a map": {0xa1}, "no end": {0xbf}} {
		signed, err := a.Sign(payload)
		if err != nil {
			t.Fatal(err)
		}
		refused(t, name, roots, signed, start, noMap)
	}
	for size, want := range map[int]string{0: "has no payload of 1 to 16384 bytes", 16384: noMap, 16385: "has no payload of 1 to 16384 bytes"} {
		signed, err := a.Sign(make([]byte, size))
		if err != nil {
			t.Fatal(err)
		}
		refused(t, strconv.Itoa(size)+" bytes", roots, signed, start, want)
	}
}

// raw is CBOR as it is.
type raw string

func (r raw) MarshalCBOR() ([]byte, error) { return []byte(r), nil }

func TestOpen(t *testing.T) {
	t.Parallel()
	a, _ := authority(t)
	b, _ := authority(t)
	key := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("key")})
	for name, tt := range map[string]struct {
		content []byte
		want    string
	}{
		"one root":               {a.RootPEM(), ""},
		"two roots":              {slices.Concat(a.RootPEM(), b.RootPEM()), ""},
		"a comment before":       {slices.Concat([]byte("Root G1\n"), a.RootPEM()), ""},
		"nothing":                {nil, "no certificate in PEM"},
		"DER":                    {a.Root.Raw, "no certificate in PEM"},
		"a key":                  {slices.Concat(a.RootPEM(), key), `has a "PRIVATE KEY"`},
		"no certificate":         {pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")}), "x509: malformed certificate"},
		"no authority":           {pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.Leaf.Raw}), "a certificate that is not of an authority"},
		"something else besides": {slices.Concat(a.RootPEM(), []byte("-----BEGIN CERTIFICATE-----")), "not only PEM"},
		"33 roots":               {bytes.Repeat(a.RootPEM(), 33), "more than 32 certificates"},
		"large":                  {bytes.Repeat([]byte{'\n'}, 1<<20+1), "larger than 1048576 bytes"},
	} {
		name, content := name, tt.content
		_, err := attestation.Open([]string{file(t, content)})
		switch {
		case err == nil && tt.want != "":
			t.Errorf("%s: read, want %s", name, tt.want)
		case err != nil && (tt.want == "" || !strings.HasSuffix(err.Error(), tt.want)):
			t.Errorf("%s: %v, want %s", name, err, tt.want)
		}
	}
	if _, err := attestation.Open([]string{filepath.Join(t.TempDir(), "none")}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	if _, err := attestation.Open(nil); err == nil {
		t.Error("no files: read")
	}
}

// An envelope has the very form of those of AWS KMS, and opens.
func TestEnvelope(t *testing.T) {
	t.Parallel()
	a, roots := authority(t)
	key := spki(t, enclaveKey().Public())
	d, err := roots.Verify(document(t, a, attestationtest.Document{PublicKey: key}), start)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{0, 1, 15, 16, 17, 32, 1024, 2400, 4096} {
		plaintext := make([]byte, n)
		_, _ = rand.Read(plaintext)
		want := bytes.Clone(plaintext)
		envelope, err := d.Envelope(plaintext)
		if err != nil {
			t.Fatal(err)
		}
		opened, err := attestationtest.Open(envelope, enclaveKey())
		if err != nil || !bytes.Equal(opened, want) {
			t.Errorf("%d bytes: %x, %v", n, opened, err)
		}
		again, err := d.Envelope(plaintext)
		if err != nil || bytes.Equal(again, envelope) {
			t.Errorf("%d bytes: twice the same, %v", n, err)
		}
		if n >= 16 && bytes.Contains(envelope, want) {
			t.Errorf("%d bytes: the envelope has the plaintext", n)
		}
		if n != 32 {
			continue
		}
		// As AWS KMS answers; the id of the key, the encrypted key, the IV and the
		// ciphertext are whatever they are.
		id := sha256.Sum256(key)
		for at, part := range map[int]string{
			0: "308006092a864886f70d010703a080308002010231 82016b30820167020102" + "8020" + hex.EncodeToString(id[:]) +
				"303c06092a864886f70d010107302fa00f300d06096086480165030402010500a11c301a06092a864886f70d010108300d06096086480165030402010500" + "04820100",
			387: "308006092a864886f70d010701301d060960864801650304012a0410",
			431: "a0800430",
			483: "00000000000000000000",
		} {
			want, err := hex.DecodeString(strings.ReplaceAll(part, " ", ""))
			if err != nil {
				t.Fatal(err)
			}
			if got := envelope[min(at, len(envelope)):min(at+len(want), len(envelope))]; !bytes.Equal(got, want) {
				t.Errorf("at %d: %x, want %x", at, got, want)
			}
		}
		if len(envelope) != 493 {
			t.Errorf("%d bytes, want 493", len(envelope))
		}
	}
}

// Keys have 2048 to 4096 bits. That they are no products of primes cannot be seen.
func TestKeySizes(t *testing.T) {
	t.Parallel()
	a, roots := authority(t)
	for bits, size := range map[int]int{2047: 0, 2048: 256, 3072: 384, 4096: 512, 4097: 0} {
		n := new(big.Int).Lsh(big.NewInt(1), uint(bits-1))
		key := spki(t, &rsa.PublicKey{N: n.Add(n, big.NewInt(1234567891)), E: 65537})
		d, err := roots.Verify(document(t, a, attestationtest.Document{PublicKey: key}), start)
		if size == 0 {
			if err == nil {
				t.Errorf("%d bits: accepted", bits)
			}
			continue
		}
		if err != nil {
			t.Errorf("%d bits: %v", bits, err)
			continue
		}
		if envelope, err := d.Envelope([]byte("secret")); err != nil || len(envelope) < size+16 {
			t.Errorf("%d bits: %d bytes, %v", bits, len(envelope), err)
		}
	}
}

// Whatever is sent, nothing but what was signed is accepted, and nothing panics.
func FuzzVerify(f *testing.F) {
	a, roots := authority(f)
	good := document(f, a, attestationtest.Document{PublicKey: spki(f, enclaveKey().Public())})
	f.Add(good)
	f.Add(document(f, a, attestationtest.Document{TPM: true}))
	f.Add([]byte("\x84\x44\xa1\x01\x38\x22\xa0\x41\xa0\x58\x60" + strings.Repeat("s", 96)))
	f.Add([]byte("\xd2\x9f\x40\xbf\xff\x5f\x41\xa0\xff\x40\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := roots.Verify(b, start)
		if err == nil && d.ModuleID != "i-0123456789abcdef0-enc0123456789abcdef" {
			t.Errorf("accepted %x", b)
		}
		var e *attestation.Error
		if err != nil && !errors.As(err, &e) {
			t.Errorf("%v is no *Error", err)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	a, roots := authority(b)
	d := document(b, a, attestationtest.Document{PublicKey: spki(b, enclaveKey().Public())})
	for b.Loop() {
		if _, err := roots.Verify(d, start); err != nil {
			b.Fatal(err)
		}
	}
}
