package kms

import (
	"context"
	"slices"
	"strings"

	"github.com/keyreeve/keyreeve/internal/api/kmsapi"
	"github.com/keyreeve/keyreeve/internal/arn"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/keyring"
	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/internal/wire"
)

var (
	toEncrypt = access{action: "kms:Encrypt", shared: true}
	toDecrypt = access{action: "kms:Decrypt", shared: true}
)

// Encrypt implements [kmsapi.Handler].
func (s *Service) Encrypt(ctx context.Context, c *call.Call, in *kmsapi.EncryptInput, out *kmsapi.EncryptOutput) error {
	return serve(ctx, s, c, in, out, (*Service).encrypt)
}

func (s *Service) encrypt(ctx context.Context, c *call.Call, in *kmsapi.EncryptInput, out *kmsapi.EncryptOutput) error {
	if err := checkContext(in.EncryptionContext); err != nil {
		return err
	}
	algorithm := encryptionAlgorithm(in.EncryptionAlgorithm)
	key, err := s.use(ctx, c, &toEncrypt, in.KeyID, &asked{algorithm: algorithm, context: in.EncryptionContext, tokens: in.GrantTokens})
	if err != nil {
		return err
	}
	blob, err := encrypt(ctx, key, algorithm, in.Plaintext.Reveal(), in.EncryptionContext)
	if err != nil {
		return err
	}
	if in.DryRun {
		return errDryRun()
	}
	m := key.Metadata()
	out.CiphertextBlob = blob
	out.KeyID = m.ARN
	out.EncryptionAlgorithm = kmsapi.EncryptionAlgorithmSpec(algorithm)
	if algorithm == keyring.AlgorithmSymmetricDefault {
		addMaterial(c, "keyMaterialId", m.MaterialID)
	}
	return nil
}

// Decrypt implements [kmsapi.Handler].
func (s *Service) Decrypt(ctx context.Context, c *call.Call, in *kmsapi.DecryptInput, out *kmsapi.DecryptOutput) error {
	return serve(ctx, s, c, in, out, (*Service).decrypt)
}

func (s *Service) decrypt(ctx context.Context, c *call.Call, in *kmsapi.DecryptInput, out *kmsapi.DecryptOutput) error {
	src := source{
		access:      &toDecrypt,
		keyIDMember: "KeyId",
		keyID:       in.KeyID,
		blob:        in.CiphertextBlob,
		context:     in.EncryptionContext,
		algorithm:   encryptionAlgorithm(in.EncryptionAlgorithm),
	}
	if err := src.check(in.DryRun, in.DryRunModifiers); err != nil {
		return err
	}
	to, err := s.recipient(c, in.Recipient)
	if err != nil {
		return err
	}
	f, err := s.findSource(ctx, c, &src)
	if err != nil {
		return err
	}
	key, err := s.useFound(ctx, c, &toDecrypt, f, &asked{algorithm: src.algorithm, context: src.context, tokens: in.GrantTokens, attested: to.document})
	if err != nil {
		return err
	}
	if err := to.admit(c); err != nil {
		return err
	}
	plaintext, material, err := src.decrypt(ctx, key)
	if err != nil {
		return err
	}
	if in.DryRun {
		plaintext.Wipe()
		return errDryRun()
	}
	if out.Plaintext, out.CiphertextForRecipient, err = to.hand(plaintext); err != nil {
		return err
	}
	out.KeyID = key.Metadata().ARN
	out.EncryptionAlgorithm = kmsapi.EncryptionAlgorithmSpec(src.algorithm)
	out.KeyMaterialID = material
	addMaterial(c, "keyMaterialId", material)
	return nil
}

// A source is a ciphertext and what the caller says about it.
type source struct {
	access      *access
	keyIDMember string // the API's name of keyID
	keyID       string // the key as the caller names it; may be empty
	blob        []byte
	context     wire.StringMap
	algorithm   keyring.Algorithm
	ignoreBlob  bool // only ask whether the caller may
}

// check checks what can be said without looking at any key.
func (src *source) check(dryRun bool, modifiers []kmsapi.DryRunModifierType) error {
	if len(modifiers) > 0 && !dryRun {
		return wire.Validation("DryRunModifiers can be specified only if DryRun is true.")
	}
	src.ignoreBlob = slices.Contains(modifiers, kmsapi.DryRunModifierTypeIgnoreCiphertext)
	switch {
	case src.ignoreBlob && src.keyID == "":
		return wire.Validation(src.keyIDMember + " is required with the DryRun modifier IGNORE_CIPHERTEXT.")
	case !src.ignoreBlob && src.blob == nil:
		var v wire.Violations
		v.Missing("ciphertextBlob")
		return v.Err()
	case src.keyID == "" && src.algorithm != keyring.AlgorithmSymmetricDefault:
		return wire.Validation(src.keyIDMember + " is required with the algorithm " + string(src.algorithm) + ".")
	}
	return checkContext(src.context)
}

// findSource finds the key that a ciphertext is to be decrypted with: the one
// that the caller names, else the one that the ciphertext names.
func (s *Service) findSource(ctx context.Context, c *call.Call, src *source) (found, error) {
	if src.keyID == "" {
		h, err := keyring.Inspect(src.blob)
		if err != nil {
			return found{}, err
		}
		return s.findCiphertext(ctx, c, h)
	}
	// A bare key id means a key of the caller's account, but also another
	// account's if that is the one in the ciphertext.
	if !src.ignoreBlob && src.algorithm == keyring.AlgorithmSymmetricDefault && keyring.IsKeyID(src.keyID) {
		if h, err := keyring.Inspect(src.blob); err == nil && h.KeyID == src.keyID && h.Account != c.Caller.Account {
			return s.findCiphertext(ctx, c, h)
		}
	}
	f, err := s.find(ctx, c, src.access, src.keyID)
	if err != nil && !src.ignoreBlob && src.algorithm == keyring.AlgorithmSymmetricDefault && arn.Is(src.keyID) {
		// A related key of another Region is not the one that opens this here.
		name, _ := arn.Parse(src.keyID)
		if h, failed := keyring.Inspect(src.blob); failed == nil && strings.HasPrefix(h.KeyID, "mrk-") &&
			name.Service == "kms" && name.Resource == "key/"+h.KeyID && name.Region != c.Region {
			return found{}, keyring.ErrIncorrectKey
		}
	}
	return f, err
}

// decrypt decrypts the ciphertext, unless it is to be ignored.
func (src *source) decrypt(ctx context.Context, key keyring.Key) (secret.Bytes, string, error) {
	if err := checkAsymmetric(key, src.algorithm, src.context); err != nil {
		return secret.Bytes{}, "", err
	}
	if src.ignoreBlob {
		return secret.Bytes{}, "", nil
	}
	return key.Decrypt(ctx, src.algorithm, src.blob, src.context)
}

// encrypt encrypts plaintext with an opened key.
func encrypt(ctx context.Context, key keyring.Key, a keyring.Algorithm, plaintext []byte, ec wire.StringMap) ([]byte, error) {
	if err := checkAsymmetric(key, a, ec); err != nil {
		return nil, err
	}
	return key.Encrypt(ctx, a, plaintext, ec)
}

// encryptionAlgorithm returns the algorithm that a request asks for.
func encryptionAlgorithm(a kmsapi.EncryptionAlgorithmSpec) keyring.Algorithm {
	if a == "" {
		return keyring.AlgorithmSymmetricDefault
	}
	return keyring.Algorithm(a)
}

// checkAsymmetric checks usage and algorithm, and that an encryption context
// comes with the symmetric algorithm only: with another it would protect
// nothing.
func checkAsymmetric(key keyring.Key, a keyring.Algorithm, ec wire.StringMap) error {
	if err := key.Check(a); err != nil {
		return err
	}
	if len(ec) > 0 && a != keyring.AlgorithmSymmetricDefault {
		return wire.Validation("EncryptionContext is not supported with the algorithm " + string(a) + ".")
	}
	return nil
}

// maxContext is the largest size of an encryption context, in bytes, written
// as JSON without spaces and escapes.
const maxContext = 8192

// checkContext refuses an encryption context that is too large.
func checkContext(ec wire.StringMap) error {
	n := len("{}")
	for i := range ec {
		n += len(`"":"",`) + len(ec[i].Name) + len(ec[i].Value)
	}
	if len(ec) > 0 {
		n-- // the last pair has no comma after it
	}
	if n > maxContext {
		return wire.Validation("EncryptionContext is larger than 8192 bytes.")
	}
	return nil
}

// addMaterial records which key material a call has used.
func addMaterial(c *call.Call, name, id string) {
	if id != "" {
		c.AddAdditional(name, id)
	}
}
