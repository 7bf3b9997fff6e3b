// Package attestation verifies the documents with which a Nitro enclave, or an
// instance with NitroTPM, proves what it runs, and encrypts for it alone.
//
// [Open] reads the certificates of the authorities that the operator trusts.
// [Roots.Verify] says whether a document leads to one of them and is fresh, and
// what it attests: a [Document], whose [Document.Envelope] only whoever had it
// made can open.
//
// A document is a COSE_Sign1 (RFC 9052) with ES384. Its payload is a map:
//
//	module_id     text    the enclave or TPM: "i-…-enc…", "i-…-tpm…"
//	digest        text    "SHA384"
//	timestamp     uint    when it was made, in milliseconds since 1970
//	pcrs          {uint: bytes}   of an enclave: its measurements
//	nitrotpm_pcrs {uint: bytes}   of an instance with NitroTPM, in its place
//	certificate   bytes   whose key signed the document, DER
//	cabundle      [bytes] those between the authority and it, the authority's first
//	public_key    bytes   for whom to encrypt: a SubjectPublicKeyInfo, DER
//	user_data     bytes   not looked at, as is nonce
//	nonce         bytes
//
// The last three may be left out, or be null. Sources: "Nitro Enclaves
// Attestation Process" in github.com/aws/aws-nitro-enclaves-nsm-api, and
// "Validate a NitroTPM Attestation Document" in the Amazon EC2 User Guide.
package attestation

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math"
	"math/big"
	"os"
	"time"

	"github.com/fxamacker/cbor/v2"
)

// MaxAge is how old a document may be, and by how much its clock may be ahead:
// as much as that of a signed request.
const MaxAge = 5 * time.Minute

// What a document may have. The sizes are those of the specification; it says
// nothing of how long names and bundles are.
const (
	maxPayload     = 16384
	maxCertificate = 1024
	maxUserData    = 1024
	maxModuleID    = 256
	maxBundle      = 10
	maxPCRs        = 32 // of an enclave
	maxTPMPCRs     = 24

	minKeyBits = 2048
	maxKeyBits = 4096

	maxExponent = math.MaxInt32 // of a public key that crypto/rsa encrypts with
)

// Limits of files with roots.
const (
	maxFile  = 1 << 20 // bytes
	maxRoots = 32      // in all files together
)

// Kind is what a document is of.
type Kind uint8

// The kinds of documents.
const (
	Enclave Kind = iota + 1 // a Nitro enclave
	TPM                     // an instance with NitroTPM
)

// Document is what a verified document says.
type Document struct {
	Kind     Kind
	ModuleID string    // of the enclave or TPM: 1 to 256 bytes of UTF-8
	Time     time.Time // when it was made; to the millisecond

	pcrs  [maxPCRs][]byte
	key   *rsa.PublicKey
	keyID [sha256.Size]byte
}

// PCR returns a platform configuration register, which is 32, 48 or 64 bytes;
// nil if the document has no such register.
func (d *Document) PCR(n int) []byte {
	if n < 0 || n >= len(d.pcrs) {
		return nil
	}
	return d.pcrs[n]
}

// Error is what is wrong with a document.
type Error struct {
	Reason string // in words that whoever sent it may be shown
	cause  error
}

func (e *Error) Error() string {
	text := "attestation: the document " + e.Reason
	if e.cause != nil {
		text += ": " + e.cause.Error()
	}
	return text
}

// Unwrap returns the cause, if there is one.
func (e *Error) Unwrap() error { return e.cause }

func invalid(reason string) error { return &Error{Reason: reason} }

// Roots is the authorities that are trusted to certify what signs documents. Its
// methods may be called concurrently.
type Roots struct {
	certificates []*x509.Certificate
	chains       chains // that were verified
}

// Open reads authorities' certificates from PEM files.
func Open(files []string) (*Roots, error) {
	r := new(Roots)
	for _, name := range files {
		if err := r.read(name); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	if len(r.certificates) == 0 {
		return nil, errors.New("attestation: no roots")
	}
	return r, nil
}

func (r *Roots) read(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // it is only read
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return err
	}
	if len(text) > maxFile {
		return fmt.Errorf("larger than %d bytes", maxFile)
	}
	return r.parse(text)
}

func (r *Roots) parse(text []byte) error {
	before := len(r.certificates)
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return fmt.Errorf("has a %q", block.Type)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return err
		}
		if err := checkAuthority(c); err != nil {
			return err
		}
		if r.certificates = append(r.certificates, c); len(r.certificates) > maxRoots {
			return fmt.Errorf("more than %d certificates", maxRoots)
		}
	}
	if len(r.certificates) == before {
		return errors.New("no certificate in PEM")
	}
	if len(bytes.TrimSpace(text)) > 0 {
		return errors.New("not only PEM")
	}
	return nil
}

// Verify verifies a document, as it is at a time. Whatever is wrong with it is an
// *[Error].
func (r *Roots) Verify(document []byte, now time.Time) (*Document, error) {
	p, err := r.verify(document, now)
	if err != nil {
		return nil, err
	}
	d := &Document{Kind: Enclave, ModuleID: p.ModuleID, Time: p.time()}
	pcrs := p.PCRs
	if p.TPMPCRs != nil {
		d.Kind, pcrs = TPM, p.TPMPCRs
	}
	for n, value := range pcrs {
		d.pcrs[n] = value
	}
	if d.key, err = recipientKey(p.PublicKey); err != nil {
		return nil, err
	}
	d.keyID = sha256.Sum256(p.PublicKey)
	return d, nil
}

// verify verifies all of a document but for whom it asks to encrypt.
func (r *Roots) verify(document []byte, now time.Time) (*payload, error) {
	m, err := parseMessage(document)
	if err != nil {
		return nil, err
	}
	p, err := parsePayload(m.payload)
	if err != nil {
		return nil, err
	}
	switch age := now.Sub(p.time()); {
	case age > MaxAge:
		return nil, invalid("has expired")
	case age < -MaxAge:
		return nil, invalid("is of the future")
	}
	signer, err := r.signer(p, now)
	if err != nil {
		return nil, err
	}
	if !m.verify(signer) {
		return nil, invalid("is not signed by its certificate")
	}
	return p, nil
}

// message is a COSE_Sign1.
type message struct {
	payload, signature []byte
}

const (
	// es384 is the protected header of every document, as it is encoded: the map
	// {1: -35}, the algorithm ES384 (RFC 9053, 2.1).
	es384 = "\xa1\x01\x38\x22"

	// tagSign1 is the tag of a COSE_Sign1, as it is encoded. Documents have it or
	// not (RFC 9052, 2).
	tagSign1 = "\xd2"

	// signatureSize is that of ES384: r and s, 48 bytes each.
	signatureSize = 96
)

// How CBOR is read. Maps and arrays of indefinite length are AWS's own use.
var decoding = func() cbor.DecMode {
	mode, err := cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		MaxNestedLevels:   4,
		MaxArrayElements:  maxPCRs,
		MaxMapPairs:       maxPCRs,
		IndefLength:       cbor.IndefLengthAllowed,
		TagsMd:            cbor.TagsForbidden,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
		UTF8:              cbor.UTF8RejectInvalid,
		FieldNameMatching: cbor.FieldNameMatchingCaseSensitive,
	}.DecMode()
	if err != nil {
		panic(err) // the options above are constants
	}
	return mode
}()

func parseMessage(document []byte) (*message, error) {
	var m struct {
		_           struct{} `cbor:",toarray"`
		Protected   []byte
		Unprotected map[int]cbor.RawMessage
		Payload     []byte
		Signature   []byte
	}
	if err := decoding.Unmarshal(bytes.TrimPrefix(document, []byte(tagSign1)), &m); err != nil {
		return nil, &Error{"is not a COSE_Sign1", err}
	}
	switch {
	case string(m.Protected) != es384:
		return nil, invalid("is not signed with ES384")
	case m.Unprotected == nil || len(m.Unprotected) > 0:
		return nil, invalid("has unprotected headers")
	case len(m.Payload) == 0 || len(m.Payload) > maxPayload:
		return nil, invalid("has no payload of 1 to 16384 bytes")
	case len(m.Signature) != signatureSize:
		return nil, invalid("has no signature of 96 bytes")
	}
	return &message{m.Payload, m.Signature}, nil
}

// verify reports whether a key made the signature: over the Sig_structure of RFC
// 9052, 4.4, an array of a text, the protected header, nothing, and the payload.
func (m *message) verify(key *ecdsa.PublicKey) bool {
	h := sha512.New384()
	h.Write([]byte("\x84\x6aSignature1\x44" + es384 + "\x40"))
	n := len(m.payload)
	switch {
	case n < 24:
		h.Write([]byte{0x40 | byte(n)})
	case n < 1<<8:
		h.Write([]byte{0x58, byte(n)})
	default:
		h.Write([]byte{0x59, byte(n >> 8), byte(n)}) // maxPayload is less than 1<<16
	}
	h.Write(m.payload)
	r, s := new(big.Int).SetBytes(m.signature[:signatureSize/2]), new(big.Int).SetBytes(m.signature[signatureSize/2:])
	return ecdsa.Verify(key, h.Sum(nil), r, s)
}

// payload is what is signed.
type payload struct {
	ModuleID    string            `cbor:"module_id"`
	Digest      string            `cbor:"digest"`
	Timestamp   uint64            `cbor:"timestamp"`
	PCRs        map[uint64][]byte `cbor:"pcrs"`
	TPMPCRs     map[uint64][]byte `cbor:"nitrotpm_pcrs"`
	Certificate []byte            `cbor:"certificate"`
	CABundle    [][]byte          `cbor:"cabundle"`
	PublicKey   []byte            `cbor:"public_key"`
	UserData    []byte            `cbor:"user_data"`
	Nonce       []byte            `cbor:"nonce"`
}

// maxTimestamp is in the year 9999.
const maxTimestamp = 253402300799999

func (p *payload) time() time.Time { return time.UnixMilli(int64(p.Timestamp)).UTC() }

func parsePayload(b []byte) (*payload, error) {
	p := new(payload)
	if err := decoding.Unmarshal(b, p); err != nil {
		return nil, &Error{"has another payload than the map of an attestation", err}
	}
	size := func(b []byte, least, most int) bool { return len(b) >= least && len(b) <= most }
	switch {
	case p.ModuleID == "" || len(p.ModuleID) > maxModuleID:
		return nil, invalid("has no module_id of 1 to 256 bytes")
	case p.Digest != "SHA384":
		return nil, invalid("has another digest than SHA384")
	case p.Timestamp == 0 || p.Timestamp > maxTimestamp:
		return nil, invalid("has no timestamp")
	case (p.PCRs == nil) == (p.TPMPCRs == nil):
		return nil, invalid("must have either pcrs or nitrotpm_pcrs")
	case !checkPCRs(p.PCRs, maxPCRs) || !checkPCRs(p.TPMPCRs, maxTPMPCRs):
		return nil, invalid("has registers that cannot be")
	case !size(p.Certificate, 1, maxCertificate):
		return nil, invalid("has no certificate of 1 to 1024 bytes")
	case len(p.CABundle) == 0 || len(p.CABundle) > maxBundle:
		return nil, invalid("has no cabundle of 1 to 10 certificates")
	case !size(p.PublicKey, 0, maxUserData) || !size(p.UserData, 0, maxUserData) || !size(p.Nonce, 0, maxUserData):
		return nil, invalid("has a public_key, user_data or nonce of more than 1024 bytes")
	}
	for _, c := range p.CABundle {
		if !size(c, 1, maxCertificate) {
			return nil, invalid("has a cabundle with a certificate that is not of 1 to 1024 bytes")
		}
	}
	return p, nil
}

// checkPCRs checks registers, if there are any at all: at least one, and each of
// the size of a digest.
func checkPCRs(pcrs map[uint64][]byte, most uint64) bool {
	if pcrs == nil {
		return true
	}
	for n, value := range pcrs {
		if n >= most {
			return false
		}
		switch len(value) {
		case 32, 48, 64:
		default:
			return false
		}
	}
	return len(pcrs) > 0
}

// recipientKey reads the key that a document asks to encrypt for.
func recipientKey(spki []byte) (*rsa.PublicKey, error) {
	if len(spki) == 0 {
		return nil, invalid("has no public_key")
	}
	parsed, err := x509.ParsePKIXPublicKey(spki)
	if err != nil {
		return nil, &Error{"has a public_key that cannot be read", err}
	}
	key, ok := parsed.(*rsa.PublicKey)
	if !ok {
		return nil, invalid("has a public_key that is not of RSA")
	}
	// What is refused later would be after something was decrypted for it.
	if n := key.N.BitLen(); n < minKeyBits || n > maxKeyBits || key.N.Bit(0) == 0 || key.E&1 == 0 || key.E < 3 || key.E > maxExponent {
		return nil, invalid("has a public_key that is not of RSA with 2048 to 4096 bits")
	}
	return key, nil
}
