package kms

import (
	"context"

	"github.com/keyreeve/keyreeve/internal/api/kmsapi"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/keyring"
	"github.com/keyreeve/keyreeve/internal/wire"
)

var (
	toGenerateDataKey                     = access{action: "kms:GenerateDataKey", shared: true}
	toGenerateDataKeyWithoutPlaintext     = access{action: "kms:GenerateDataKeyWithoutPlaintext", shared: true}
	toGenerateDataKeyPair                 = access{action: "kms:GenerateDataKeyPair", shared: true}
	toGenerateDataKeyPairWithoutPlaintext = access{action: "kms:GenerateDataKeyPairWithoutPlaintext", shared: true}
)

// GenerateDataKey implements [kmsapi.Handler].
func (s *Service) GenerateDataKey(ctx context.Context, c *call.Call, in *kmsapi.GenerateDataKeyInput, out *kmsapi.GenerateDataKeyOutput) error {
	return serve(ctx, s, c, in, out, (*Service).generateDataKey)
}

func (s *Service) generateDataKey(ctx context.Context, c *call.Call, in *kmsapi.GenerateDataKeyInput, out *kmsapi.GenerateDataKeyOutput) error {
	made, err := s.makeDataKey(ctx, c, &dataKeyRequest{
		access: &toGenerateDataKey, keyID: in.KeyID, spec: in.KeySpec, size: in.NumberOfBytes,
		context: in.EncryptionContext, tokens: in.GrantTokens, recipient: in.Recipient, dryRun: in.DryRun,
	})
	if err != nil {
		return err
	}
	out.Plaintext = made.Plaintext
	out.CiphertextForRecipient = made.forRecipient
	out.CiphertextBlob = made.Ciphertext
	out.KeyID, out.KeyMaterialID = made.arn, made.material
	return nil
}

// GenerateDataKeyWithoutPlaintext implements [kmsapi.Handler].
func (s *Service) GenerateDataKeyWithoutPlaintext(ctx context.Context, c *call.Call, in *kmsapi.GenerateDataKeyWithoutPlaintextInput, out *kmsapi.GenerateDataKeyWithoutPlaintextOutput) error {
	return serve(ctx, s, c, in, out, (*Service).generateDataKeyWithoutPlaintext)
}

func (s *Service) generateDataKeyWithoutPlaintext(ctx context.Context, c *call.Call, in *kmsapi.GenerateDataKeyWithoutPlaintextInput, out *kmsapi.GenerateDataKeyWithoutPlaintextOutput) error {
	made, err := s.makeDataKey(ctx, c, &dataKeyRequest{
		access: &toGenerateDataKeyWithoutPlaintext, keyID: in.KeyID, spec: in.KeySpec, size: in.NumberOfBytes,
		context: in.EncryptionContext, tokens: in.GrantTokens, dryRun: in.DryRun,
	})
	if err != nil {
		return err
	}
	out.CiphertextBlob = made.Ciphertext
	out.KeyID, out.KeyMaterialID = made.arn, made.material
	return nil
}

// dataKeyRequest is a request for a data key, with or without its plaintext.
type dataKeyRequest struct {
	access    *access
	keyID     string
	spec      kmsapi.DataKeySpec
	size      *int32
	context   wire.StringMap
	tokens    []string
	recipient *kmsapi.RecipientInfo
	dryRun    bool
}

// length returns how many bytes the data key shall have.
func (r *dataKeyRequest) length() (int, error) {
	if (r.spec == "") == (r.size == nil) {
		return 0, wire.Validation("Please specify either number of bytes or key spec.")
	}
	switch r.spec {
	case "":
		return int(*r.size), nil
	case kmsapi.DataKeySpecAes128:
		return 16, nil
	case kmsapi.DataKeySpecAes256:
		return 32, nil
	}
	return 0, unsupported("KeySpec " + string(r.spec))
}

type madeDataKey struct {
	keyring.DataKey
	forRecipient  []byte // in the place of its plaintext
	arn, material string // of the key that made it
}

func (s *Service) makeDataKey(ctx context.Context, c *call.Call, r *dataKeyRequest) (madeDataKey, error) {
	n, err := r.length()
	if err != nil {
		return madeDataKey{}, err
	}
	if err := checkContext(r.context); err != nil {
		return madeDataKey{}, err
	}
	to, err := s.recipient(c, r.recipient)
	if err != nil {
		return madeDataKey{}, err
	}
	key, err := s.use(ctx, c, r.access, r.keyID, &asked{algorithm: keyring.AlgorithmSymmetricDefault, context: r.context, tokens: r.tokens, attested: to.document})
	if err != nil {
		return madeDataKey{}, err
	}
	if err := to.admit(c); err != nil {
		return madeDataKey{}, err
	}
	if err := key.Check(keyring.AlgorithmSymmetricDefault); err != nil {
		return madeDataKey{}, err
	}
	if r.dryRun {
		return madeDataKey{}, errDryRun()
	}
	made, err := key.GenerateDataKey(ctx, n, r.context)
	if err != nil {
		return madeDataKey{}, err
	}
	var forRecipient []byte
	if made.Plaintext, forRecipient, err = to.hand(made.Plaintext); err != nil {
		return madeDataKey{}, err
	}
	m := key.Metadata()
	addMaterial(c, "keyMaterialId", m.MaterialID)
	return madeDataKey{DataKey: made, forRecipient: forRecipient, arn: m.ARN, material: m.MaterialID}, nil
}

// GenerateDataKeyPair implements [kmsapi.Handler].
func (s *Service) GenerateDataKeyPair(ctx context.Context, c *call.Call, in *kmsapi.GenerateDataKeyPairInput, out *kmsapi.GenerateDataKeyPairOutput) error {
	return serve(ctx, s, c, in, out, (*Service).generateDataKeyPair)
}

func (s *Service) generateDataKeyPair(ctx context.Context, c *call.Call, in *kmsapi.GenerateDataKeyPairInput, out *kmsapi.GenerateDataKeyPairOutput) error {
	made, err := s.makeDataKeyPair(ctx, c, &dataKeyPairRequest{
		access: &toGenerateDataKeyPair, keyID: in.KeyID, spec: in.KeyPairSpec,
		context: in.EncryptionContext, tokens: in.GrantTokens, recipient: in.Recipient, dryRun: in.DryRun,
	})
	if err != nil {
		return err
	}
	out.PrivateKeyPlaintext = made.PrivateKey
	out.CiphertextForRecipient = made.forRecipient
	out.PrivateKeyCiphertextBlob = made.PrivateCiphertext
	out.PublicKey = made.PublicKey
	out.KeyPairSpec = in.KeyPairSpec
	out.KeyID, out.KeyMaterialID = made.arn, made.material
	return nil
}

// GenerateDataKeyPairWithoutPlaintext implements [kmsapi.Handler].
func (s *Service) GenerateDataKeyPairWithoutPlaintext(ctx context.Context, c *call.Call, in *kmsapi.GenerateDataKeyPairWithoutPlaintextInput, out *kmsapi.GenerateDataKeyPairWithoutPlaintextOutput) error {
	return serve(ctx, s, c, in, out, (*Service).generateDataKeyPairWithoutPlaintext)
}

func (s *Service) generateDataKeyPairWithoutPlaintext(ctx context.Context, c *call.Call, in *kmsapi.GenerateDataKeyPairWithoutPlaintextInput, out *kmsapi.GenerateDataKeyPairWithoutPlaintextOutput) error {
	made, err := s.makeDataKeyPair(ctx, c, &dataKeyPairRequest{
		access: &toGenerateDataKeyPairWithoutPlaintext, keyID: in.KeyID, spec: in.KeyPairSpec,
		context: in.EncryptionContext, tokens: in.GrantTokens, dryRun: in.DryRun,
	})
	if err != nil {
		return err
	}
	out.PrivateKeyCiphertextBlob = made.PrivateCiphertext
	out.PublicKey = made.PublicKey
	out.KeyPairSpec = in.KeyPairSpec
	out.KeyID, out.KeyMaterialID = made.arn, made.material
	return nil
}

// dataKeyPairRequest is a request for a data key pair, with or without the
// plaintext of its private key.
type dataKeyPairRequest struct {
	access    *access
	keyID     string
	spec      kmsapi.DataKeyPairSpec
	context   wire.StringMap
	tokens    []string
	recipient *kmsapi.RecipientInfo
	dryRun    bool
}

type madeDataKeyPair struct {
	keyring.DataKeyPair
	forRecipient  []byte // in the place of its private key
	arn, material string // of the key that made it
}

func (s *Service) makeDataKeyPair(ctx context.Context, c *call.Call, r *dataKeyPairRequest) (madeDataKeyPair, error) {
	if err := checkContext(r.context); err != nil {
		return madeDataKeyPair{}, err
	}
	to, err := s.recipient(c, r.recipient)
	if err != nil {
		return madeDataKeyPair{}, err
	}
	key, err := s.use(ctx, c, r.access, r.keyID, &asked{
		algorithm: keyring.AlgorithmSymmetricDefault, context: r.context, tokens: r.tokens, attested: to.document,
		more: []attribute{{"kms:datakeypairspec", text(string(r.spec))}},
	})
	if err != nil {
		return madeDataKeyPair{}, err
	}
	if err := to.admit(c); err != nil {
		return madeDataKeyPair{}, err
	}
	spec := keyring.Spec(r.spec)
	switch {
	case !spec.Pair():
		return madeDataKeyPair{}, unsupported("KeyPairSpec " + string(r.spec))
	case !offered(c.Region, spec):
		return madeDataKeyPair{}, notOffered("KeyPairSpec " + string(r.spec))
	}
	if err := key.Check(keyring.AlgorithmSymmetricDefault); err != nil {
		return madeDataKeyPair{}, err
	}
	if r.dryRun {
		return madeDataKeyPair{}, errDryRun()
	}
	made, err := key.GenerateDataKeyPair(ctx, spec, r.context)
	if err != nil {
		return madeDataKeyPair{}, err
	}
	var forRecipient []byte
	if made.PrivateKey, forRecipient, err = to.hand(made.PrivateKey); err != nil {
		return madeDataKeyPair{}, err
	}
	m := key.Metadata()
	addMaterial(c, "keyMaterialId", m.MaterialID)
	return madeDataKeyPair{DataKeyPair: made, forRecipient: forRecipient, arn: m.ARN, material: m.MaterialID}, nil
}
