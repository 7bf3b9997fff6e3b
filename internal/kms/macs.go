package kms

import (
	"context"
	"errors"

	"github.com/keyreeve/keyreeve/internal/api/kmsapi"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/keyring"
	"github.com/keyreeve/keyreeve/internal/wire"
)

var (
	toGenerateMAC = access{action: "kms:GenerateMac", shared: true}
	toVerifyMAC   = access{action: "kms:VerifyMac", shared: true}
)

// GenerateMac implements [kmsapi.Handler].
func (s *Service) GenerateMac(ctx context.Context, c *call.Call, in *kmsapi.GenerateMacInput, out *kmsapi.GenerateMacOutput) error {
	return serve(ctx, s, c, in, out, (*Service).generateMAC)
}

func (s *Service) generateMAC(ctx context.Context, c *call.Call, in *kmsapi.GenerateMacInput, out *kmsapi.GenerateMacOutput) error {
	key, err := s.use(ctx, c, &toGenerateMAC, in.KeyID, askedMAC(in.MacAlgorithm, in.GrantTokens))
	if err != nil {
		return err
	}
	mac, err := key.GenerateMAC(ctx, keyring.Algorithm(in.MacAlgorithm), in.Message.Reveal())
	if errors.Is(err, keyring.ErrReservedMessage) {
		return wire.Validation("Message has a form that is reserved.")
	}
	if err != nil {
		return err
	}
	if in.DryRun {
		return errDryRun()
	}
	out.KeyID = key.Metadata().ARN
	out.Mac = mac
	out.MacAlgorithm = in.MacAlgorithm
	return nil
}

// VerifyMac implements [kmsapi.Handler].
func (s *Service) VerifyMac(ctx context.Context, c *call.Call, in *kmsapi.VerifyMacInput, out *kmsapi.VerifyMacOutput) error {
	return serve(ctx, s, c, in, out, (*Service).verifyMAC)
}

func (s *Service) verifyMAC(ctx context.Context, c *call.Call, in *kmsapi.VerifyMacInput, out *kmsapi.VerifyMacOutput) error {
	key, err := s.use(ctx, c, &toVerifyMAC, in.KeyID, askedMAC(in.MacAlgorithm, in.GrantTokens))
	if err != nil {
		return err
	}
	valid, err := key.VerifyMAC(ctx, keyring.Algorithm(in.MacAlgorithm), in.Message.Reveal(), in.Mac)
	if err != nil {
		return err
	}
	if !valid {
		return kmsapi.KMSInvalidMacException("")
	}
	if in.DryRun {
		return errDryRun()
	}
	out.KeyID = key.Metadata().ARN
	out.MacValid = true
	out.MacAlgorithm = in.MacAlgorithm
	return nil
}

func askedMAC(algorithm kmsapi.MacAlgorithmSpec, tokens []string) *asked {
	return &asked{more: []attribute{{"kms:macalgorithm", text(string(algorithm))}}, tokens: tokens}
}
