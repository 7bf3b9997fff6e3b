// Package attestationtest makes attestation documents, for tests: with an
// authority of its own in the place of AWS's.
//
// An [Authority] certifies, and [Authority.Document] makes what an enclave or an
// instance with NitroTPM would get. Whoever wants to break something takes the
// same in steps: [Authority.Members], [Payload], [Authority.Sign].
package attestationtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"time"

	"github.com/fxamacker/cbor/v2"
)

// Authority certifies what signs documents: by a root, and one between.
type Authority struct {
	Root, Between, Leaf *x509.Certificate
	key                 *ecdsa.PrivateKey // of Leaf
}

// Document is what a document shall say.
type Document struct {
	ModuleID  string         // empty: that of some enclave
	Time      time.Time      // when it is made
	PCRs      map[int][]byte // nil: five registers of an enclave
	TPM       bool           // the registers are those of an instance with NitroTPM
	PublicKey []byte         // nil: none
}

// Templates are what an authority's certificates are made from.
type Templates struct {
	Root, Between, Leaf *x509.Certificate
	Curve               elliptic.Curve // of the leaf's key
}

// New returns an authority whose certificates are good from an hour before a
// time until three hours after it; but whoever wants may change what they are
// made from.
func New(now time.Time, change ...func(*Templates)) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		return nil, err
	}
	t := templates(now)
	for _, f := range change {
		f(t)
	}
	root, err := issue(t.Root, t.Root, key, key)
	if err != nil {
		return nil, err
	}
	return from(t, root, key)
}

// Load is New with a root that there is: its certificate and its private key on
// a NIST curve, both in PEM.
func Load(certificate, key []byte, now time.Time) (*Authority, error) {
	c, _ := pem.Decode(certificate)
	k, _ := pem.Decode(key)
	if c == nil || k == nil {
		return nil, errors.New("attestationtest: no PEM")
	}
	root, err := x509.ParseCertificate(c.Bytes)
	if err != nil {
		return nil, err
	}
	parsed, err := x509.ParsePKCS8PrivateKey(k.Bytes)
	if err != nil {
		return nil, err
	}
	private, ok := parsed.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("attestationtest: a key of type %T", parsed)
	}
	return from(templates(now), root, private)
}

func from(t *Templates, root *x509.Certificate, rootKey *ecdsa.PrivateKey) (*Authority, error) {
	a := &Authority{Root: root}
	betweenKey, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		return nil, err
	}
	if a.Between, err = issue(t.Between, root, betweenKey, rootKey); err != nil {
		return nil, err
	}
	if a.key, err = ecdsa.GenerateKey(t.Curve, rand.Reader); err != nil {
		return nil, err
	}
	a.Leaf, err = issue(t.Leaf, a.Between, a.key, betweenKey)
	return a, err
}

func templates(now time.Time) *Templates {
	authority := func(name string, usage x509.KeyUsage) *x509.Certificate {
		c := template(name, now)
		c.IsCA, c.BasicConstraintsValid, c.KeyUsage = true, true, usage
		return c
	}
	t := &Templates{
		Root:    authority("test.nitro-enclaves", x509.KeyUsageCertSign|x509.KeyUsageCRLSign|x509.KeyUsageDigitalSignature),
		Between: authority("i-0123456789abcdef0.us-east-1.test.nitro-enclaves", x509.KeyUsageCertSign),
		Leaf:    template("i-0123456789abcdef0-enc0123456789abcdef.us-east-1.test", now),
		Curve:   elliptic.P384(),
	}
	t.Between.MaxPathLenZero = true
	t.Leaf.BasicConstraintsValid, t.Leaf.KeyUsage = true, x509.KeyUsageDigitalSignature|x509.KeyUsageContentCommitment
	return t
}

func template(name string, now time.Time) *x509.Certificate {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		panic(err) // crypto/rand does not fail
	}
	return &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name, Organization: []string{"Test"}},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(3 * time.Hour),
	}
}

func issue(template, parent *x509.Certificate, key, by *ecdsa.PrivateKey) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), by)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// RootPEM returns the root's certificate, as the operator is given it.
func (a *Authority) RootPEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.Root.Raw})
}

// Document makes a document.
func (a *Authority) Document(d Document) ([]byte, error) {
	payload, err := Payload(a.Members(d))
	if err != nil {
		return nil, err
	}
	return a.Sign(payload)
}

// Member is a member of a payload, with a value that CBOR has.
type Member struct {
	Name  string
	Value any
}

// Members returns the members of a document, as AWS orders them.
func (a *Authority) Members(d Document) []Member {
	name, registers, module := "pcrs", d.PCRs, d.ModuleID
	if d.TPM {
		name = "nitrotpm_pcrs"
	}
	if registers == nil {
		registers = map[int][]byte{0: Register(0), 1: Register(1), 2: Register(2), 3: Register(3), 4: Register(4)}
	}
	if module == "" {
		module = "i-0123456789abcdef0-enc0123456789abcdef"
	}
	var key any // null, as AWS has what is left out
	if d.PublicKey != nil {
		key = d.PublicKey
	}
	return []Member{
		{"module_id", module},
		{"digest", "SHA384"},
		{"timestamp", uint64(d.Time.UnixMilli())},
		{name, registers},
		{"certificate", a.Leaf.Raw},
		{"cabundle", [][]byte{a.Root.Raw, a.Between.Raw}},
		{"public_key", key},
		{"user_data", nil},
		{"nonce", nil},
	}
}

// Register returns a register of 48 bytes, another for each number.
func Register(n int) []byte {
	sum := sha512.Sum384([]byte{byte(n)})
	return sum[:]
}

// Payload encodes members, as AWS does: as a map of indefinite length.
func Payload(members []Member) ([]byte, error) {
	b := []byte{0xbf}
	for _, m := range members {
		for _, v := range []any{m.Name, m.Value} {
			encoded, err := cbor.Marshal(v)
			if err != nil {
				return nil, err
			}
			b = append(b, encoded...)
		}
	}
	return append(b, 0xff), nil
}

// Sign signs a payload by the leaf.
func (a *Authority) Sign(payload []byte) ([]byte, error) {
	header := []byte{0xa1, 1, 0x38, 34}
	signed, err := cbor.Marshal([]any{"Signature1", header, []byte{}, payload})
	if err != nil {
		return nil, err
	}
	sum := sha512.Sum384(signed)
	r, s, err := ecdsa.Sign(rand.Reader, a.key, sum[:])
	if err != nil {
		return nil, err
	}
	signature := make([]byte, 96)
	r.FillBytes(signature[:48])
	s.FillBytes(signature[48:])
	return cbor.Marshal([]any{header, map[int]int{}, payload, signature})
}
