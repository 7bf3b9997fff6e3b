package kms

import (
	"context"

	"github.com/keyreeve/keyreeve/internal/api/kmsapi"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/keyring"
)

var (
	toEncapsulate = access{action: "kms:Encapsulate", shared: true}
	toDecapsulate = access{action: "kms:Decapsulate", shared: true}
)

// Encapsulate implements [kmsapi.Handler].
func (s *Service) Encapsulate(ctx context.Context, c *call.Call, in *kmsapi.EncapsulateInput, out *kmsapi.EncapsulateOutput) error {
	return serve(ctx, s, c, in, out, (*Service).encapsulate)
}

func (s *Service) encapsulate(ctx context.Context, c *call.Call, in *kmsapi.EncapsulateInput, out *kmsapi.EncapsulateOutput) error {
	key, err := s.use(ctx, c, &toEncapsulate, in.KeyID, &asked{tokens: in.GrantTokens})
	if err != nil {
		return err
	}
	shared, ciphertext, err := key.Encapsulate(ctx, keyring.Algorithm(in.EncapsulationAlgorithm))
	if err != nil {
		return err
	}
	if in.DryRun {
		shared.Wipe()
		return errDryRun()
	}
	out.KeyID = key.Metadata().ARN
	out.SharedSecret = shared
	out.SharedSecretCiphertextBlob = ciphertext
	out.EncapsulationAlgorithm = in.EncapsulationAlgorithm
	return nil
}

// Decapsulate implements [kmsapi.Handler].
func (s *Service) Decapsulate(ctx context.Context, c *call.Call, in *kmsapi.DecapsulateInput, out *kmsapi.DecapsulateOutput) error {
	return serve(ctx, s, c, in, out, (*Service).decapsulate)
}

func (s *Service) decapsulate(ctx context.Context, c *call.Call, in *kmsapi.DecapsulateInput, out *kmsapi.DecapsulateOutput) error {
	key, err := s.use(ctx, c, &toDecapsulate, in.KeyID, &asked{tokens: in.GrantTokens})
	if err != nil {
		return err
	}
	shared, err := key.Decapsulate(ctx, keyring.Algorithm(in.EncapsulationAlgorithm), in.SharedSecretCiphertextBlob)
	if err != nil {
		return err
	}
	if in.DryRun {
		shared.Wipe()
		return errDryRun()
	}
	out.KeyID = key.Metadata().ARN
	out.SharedSecret = shared
	out.EncapsulationAlgorithm = in.EncapsulationAlgorithm
	return nil
}
