package kms

import (
	"context"
	"errors"

	"github.com/keyreeve/keyreeve/internal/api/kmsapi"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/keyring"
	"github.com/keyreeve/keyreeve/internal/wire"
)

var toDeriveSharedSecret = access{action: "kms:DeriveSharedSecret", shared: true}

// DeriveSharedSecret implements [kmsapi.Handler].
func (s *Service) DeriveSharedSecret(ctx context.Context, c *call.Call, in *kmsapi.DeriveSharedSecretInput, out *kmsapi.DeriveSharedSecretOutput) error {
	return serve(ctx, s, c, in, out, (*Service).deriveSharedSecret)
}

func (s *Service) deriveSharedSecret(ctx context.Context, c *call.Call, in *kmsapi.DeriveSharedSecretInput, out *kmsapi.DeriveSharedSecretOutput) error {
	to, err := s.recipient(c, in.Recipient)
	if err != nil {
		return err
	}
	key, err := s.use(ctx, c, &toDeriveSharedSecret, in.KeyID, &asked{
		more:   []attribute{{"kms:keyagreementalgorithm", text(string(in.KeyAgreementAlgorithm))}},
		tokens: in.GrantTokens, attested: to.document,
	})
	if err != nil {
		return err
	}
	if err := to.admit(c); err != nil {
		return err
	}
	shared, err := key.DeriveSharedSecret(ctx, keyring.Algorithm(in.KeyAgreementAlgorithm), in.PublicKey)
	if errors.Is(err, keyring.ErrPeerKey) {
		return wire.Validation("") // as AWS KMS has it
	}
	if err != nil {
		return err
	}
	if in.DryRun {
		shared.Wipe()
		return errDryRun()
	}
	out.KeyID = key.Metadata().ARN
	out.SharedSecret, out.CiphertextForRecipient, err = to.hand(shared)
	if err != nil {
		return err
	}
	out.KeyAgreementAlgorithm = in.KeyAgreementAlgorithm
	out.KeyOrigin = kmsapi.OriginType(key.Metadata().Origin)
	return nil
}
