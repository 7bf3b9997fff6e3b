package kms

import (
	"context"

	"github.com/keyreeve/keyreeve/internal/api/kmsapi"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/keyring"
	"github.com/keyreeve/keyreeve/policy"
)

var (
	toReEncryptFrom = access{action: "kms:ReEncryptFrom", shared: true}
	toReEncryptTo   = access{action: "kms:ReEncryptTo", shared: true}
)

// ReEncrypt implements [kmsapi.Handler].
func (s *Service) ReEncrypt(ctx context.Context, c *call.Call, in *kmsapi.ReEncryptInput, out *kmsapi.ReEncryptOutput) error {
	return serve(ctx, s, c, in, out, (*Service).reEncrypt)
}

func (s *Service) reEncrypt(ctx context.Context, c *call.Call, in *kmsapi.ReEncryptInput, out *kmsapi.ReEncryptOutput) error {
	src := source{
		access:      &toReEncryptFrom,
		keyIDMember: "SourceKeyId",
		keyID:       in.SourceKeyID,
		blob:        in.CiphertextBlob,
		context:     in.SourceEncryptionContext,
		algorithm:   encryptionAlgorithm(in.SourceEncryptionAlgorithm),
	}
	if err := src.check(in.DryRun, in.DryRunModifiers); err != nil {
		return err
	}
	if err := checkContext(in.DestinationEncryptionContext); err != nil {
		return err
	}
	fromFound, err := s.findSource(ctx, c, &src)
	if err != nil {
		return err
	}
	toFound, err := s.find(ctx, c, &toReEncryptTo, in.DestinationKeyID)
	if err != nil {
		return err
	}
	algorithm := encryptionAlgorithm(in.DestinationEncryptionAlgorithm)
	same := []attribute{{"kms:reencryptonsamekey", policy.Bool(fromFound.is(toFound))}}
	permitFrom, err := s.decide(ctx, c, toReEncryptFrom.action, fromFound,
		&asked{algorithm: src.algorithm, context: src.context, more: same, tokens: in.GrantTokens})
	if err != nil {
		return err
	}
	permitTo, err := s.decide(ctx, c, toReEncryptTo.action, toFound,
		&asked{algorithm: algorithm, context: in.DestinationEncryptionContext, more: same, tokens: in.GrantTokens})
	if err != nil {
		return err
	}
	from, err := s.open(ctx, c, fromFound, permitFrom)
	if err != nil {
		return err
	}
	to, err := s.open(ctx, c, toFound, permitTo)
	if err != nil {
		return err
	}
	if err := checkAsymmetric(to, algorithm, in.DestinationEncryptionContext); err != nil {
		return err
	}
	plaintext, sourceMaterial, err := src.decrypt(ctx, from)
	if err != nil {
		return err
	}
	if src.ignoreBlob {
		return errDryRun()
	}
	blob, err := encrypt(ctx, to, algorithm, plaintext.Reveal(), in.DestinationEncryptionContext)
	plaintext.Wipe()
	if err != nil {
		return err
	}
	if in.DryRun {
		return errDryRun()
	}
	out.CiphertextBlob = blob
	out.SourceKeyID = from.Metadata().ARN
	out.KeyID = to.Metadata().ARN
	out.SourceEncryptionAlgorithm = kmsapi.EncryptionAlgorithmSpec(src.algorithm)
	out.DestinationEncryptionAlgorithm = kmsapi.EncryptionAlgorithmSpec(algorithm)
	out.SourceKeyMaterialID = sourceMaterial
	if algorithm == keyring.AlgorithmSymmetricDefault {
		out.DestinationKeyMaterialID = to.Metadata().MaterialID
	}
	addMaterial(c, "sourceKeyMaterialId", out.SourceKeyMaterialID)
	addMaterial(c, "destinationKeyMaterialId", out.DestinationKeyMaterialID)
	return nil
}
