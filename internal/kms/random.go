package kms

import (
	"context"
	"crypto/rand"

	"github.com/keyreeve/keyreeve/internal/api/kmsapi"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/internal/wire"
)

// GenerateRandom implements [kmsapi.Handler].
func (s *Service) GenerateRandom(ctx context.Context, c *call.Call, in *kmsapi.GenerateRandomInput, out *kmsapi.GenerateRandomOutput) error {
	return serve(ctx, s, c, in, out, (*Service).generateRandom)
}

func (s *Service) generateRandom(ctx context.Context, c *call.Call, in *kmsapi.GenerateRandomInput, out *kmsapi.GenerateRandomOutput) error {
	if in.NumberOfBytes == nil {
		return wire.Validation("NumberOfBytes is required.")
	}
	to, err := s.recipient(c, in.Recipient)
	if err != nil {
		return err
	}
	if _, err := s.decideAll(ctx, c, "kms:GenerateRandom", &asked{attested: to.document}); err != nil {
		return err
	}
	if in.CustomKeyStoreID != "" {
		return unsupported("CustomKeyStoreId")
	}
	if err := to.admit(c); err != nil {
		return err
	}
	b := make([]byte, *in.NumberOfBytes)
	if _, err := rand.Read(b); err != nil {
		return err
	}
	out.Plaintext, out.CiphertextForRecipient, err = to.hand(secret.New(b))
	return err
}
