package kms

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"strconv"
	"strings"

	"github.com/keyreeve/keyreeve/internal/api/kmsapi"
	"github.com/keyreeve/keyreeve/internal/attestation"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/internal/wire"
	"github.com/keyreeve/keyreeve/policy"
)

// recipient is for whom an answer's plaintext is: for who makes the call, or for
// an enclave or instance alone that has proved what it runs. Operations that
// have one verify the document before anything else, since policies see what is
// in it, admit the recipient once the call is authorized, and hand it what they
// have made.
type recipient struct {
	info     *kmsapi.RecipientInfo // nil: who makes the call
	document *attestation.Document // nil if there is none, or no authority is trusted
}

// recipient verifies the document of a request, if it has one.
func (s *Service) recipient(c *call.Call, info *kmsapi.RecipientInfo) (recipient, error) {
	r := recipient{info: info}
	if info == nil || s.attestation == nil {
		return r, nil
	}
	if info.AttestationDocument == nil || info.KeyEncryptionAlgorithm == "" {
		return r, wire.Validation("Recipient requires both AttestationDocument and KeyEncryptionAlgorithm.")
	}
	var err error
	r.document, err = s.attestation.Verify(info.AttestationDocument, c.Time)
	return r, err
}

// admit refuses a recipient where no authority is trusted to certify any, and
// notes for the record who it is.
func (r *recipient) admit(c *call.Call) error {
	if r.info == nil {
		return nil
	}
	if r.document == nil {
		return unsupported("Recipient")
	}
	c.Recipient = r.recorded()
	return nil
}

// hand returns what an answer has of a plaintext: itself for who makes the call,
// and else an envelope for the recipient. The plaintext is then wiped.
func (r *recipient) hand(plaintext secret.Bytes) (secret.Bytes, []byte, error) {
	if r.info == nil {
		return plaintext, nil, nil
	}
	defer plaintext.Wipe()
	if r.document == nil {
		return secret.Bytes{}, nil, errors.New("kms: a recipient that was not admitted")
	}
	envelope, err := r.document.Envelope(plaintext.Reveal())
	return secret.Bytes{}, envelope, err
}

// recordedRegister is a register that records show, and how they call it.
type recordedRegister struct {
	register int
	name     string
}

// What records show of registers. Source: "Monitoring requests for Nitro
// enclaves" and "Monitoring requests for NitroTPM" in the AWS KMS Developer
// Guide.
var (
	recordedEnclave = []recordedRegister{
		{0, "attestationDocumentEnclaveImageDigest"},
		{1, "attestationDocumentEnclavePCR1"},
		{2, "attestationDocumentEnclavePCR2"},
		{3, "attestationDocumentEnclavePCR3"},
		{4, "attestationDocumentEnclavePCR4"},
		{8, "attestationDocumentEnclavePCR8"},
	}
	recordedTPM = []recordedRegister{
		{4, "attestationDocumentNitroTPMPCR4"},
		{7, "attestationDocumentNitroTPMPCR7"},
		{8, "attestationDocumentNitroTPMPCR8"},
		{9, "attestationDocumentNitroTPMPCR9"},
		{16, "attestationDocumentNitroTPMPCR16"},
		{23, "attestationDocumentNitroTPMPCR23"},
	}
)

// recorded returns what the record shows of the document. Registers are in
// base64 there, as those of AWS are, and unlike those of policies.
func (r *recipient) recorded() []call.Pair {
	registers := recordedEnclave
	if r.document.Kind == attestation.TPM {
		registers = recordedTPM
	}
	pairs := make([]call.Pair, 0, 1+len(registers))
	pairs = append(pairs, call.Pair{Name: "attestationDocumentModuleId", Value: r.document.ModuleID})
	for _, n := range registers {
		if value := r.document.PCR(n.register); value != nil {
			pairs = append(pairs, call.Pair{Name: n.name, Value: base64.StdEncoding.EncodeToString(value)})
		}
	}
	return pairs
}

// attested returns the value of kms:RecipientAttestation:… for what comes after
// the colon: of a register, in lower-case hexadecimal. Sources: "Condition keys
// for Nitro Enclaves" and "Condition keys for NitroTPM" in the AWS KMS Developer
// Guide.
func attested(d *attestation.Document, name string) policy.Value {
	if d == nil {
		return policy.Value{}
	}
	var value []byte
	switch name = strings.ToLower(name); d.Kind {
	case attestation.Enclave:
		if name == "imagesha384" {
			name = "pcr0"
		}
		value = register(d, name, "pcr")
	case attestation.TPM:
		value = register(d, name, "nitrotpmpcr")
	}
	if value == nil {
		return policy.Value{}
	}
	return policy.String(hex.EncodeToString(value))
}

// register returns the register with a name that begins so; nil if the name is
// none, or there is no such register.
func register(d *attestation.Document, name, prefix string) []byte {
	digits, ok := strings.CutPrefix(name, prefix)
	n, err := strconv.ParseUint(digits, 10, 8)
	if !ok || err != nil || strconv.FormatUint(n, 10) != digits {
		return nil
	}
	return d.PCR(int(n))
}
