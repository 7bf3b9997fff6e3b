package kms

import (
	"cmp"
	"context"
	"errors"

	"github.com/keyreeve/keyreeve/internal/api/kmsapi"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/keyring"
	"github.com/keyreeve/keyreeve/internal/wire"
)

var (
	toSign   = access{action: "kms:Sign", shared: true}
	toVerify = access{action: "kms:Verify", shared: true}
)

// Sign implements [kmsapi.Handler].
func (s *Service) Sign(ctx context.Context, c *call.Call, in *kmsapi.SignInput, out *kmsapi.SignOutput) error {
	return serve(ctx, s, c, in, out, (*Service).sign)
}

func (s *Service) sign(ctx context.Context, c *call.Call, in *kmsapi.SignInput, out *kmsapi.SignOutput) error {
	key, err := s.use(ctx, c, &toSign, in.KeyID, askedSignature(in.SigningAlgorithm, in.MessageType, in.GrantTokens))
	if err != nil {
		return err
	}
	algorithm := keyring.Algorithm(in.SigningAlgorithm)
	digest, err := messageIsDigest(key, algorithm, in.MessageType)
	if err != nil {
		return err
	}
	signature, err := key.Sign(ctx, algorithm, in.Message.Reveal(), digest)
	if err != nil {
		return digestLength(err, algorithm)
	}
	if in.DryRun {
		return errDryRun()
	}
	out.KeyID = key.Metadata().ARN
	out.Signature = signature
	out.SigningAlgorithm = in.SigningAlgorithm
	return nil
}

// Verify implements [kmsapi.Handler].
func (s *Service) Verify(ctx context.Context, c *call.Call, in *kmsapi.VerifyInput, out *kmsapi.VerifyOutput) error {
	return serve(ctx, s, c, in, out, (*Service).verify)
}

func (s *Service) verify(ctx context.Context, c *call.Call, in *kmsapi.VerifyInput, out *kmsapi.VerifyOutput) error {
	key, err := s.use(ctx, c, &toVerify, in.KeyID, askedSignature(in.SigningAlgorithm, in.MessageType, in.GrantTokens))
	if err != nil {
		return err
	}
	algorithm := keyring.Algorithm(in.SigningAlgorithm)
	digest, err := messageIsDigest(key, algorithm, in.MessageType)
	if err != nil {
		return err
	}
	valid, err := key.Verify(ctx, algorithm, in.Message.Reveal(), digest, in.Signature)
	if err != nil {
		return digestLength(err, algorithm)
	}
	if !valid {
		return kmsapi.KMSInvalidSignatureException("")
	}
	if in.DryRun {
		return errDryRun()
	}
	out.KeyID = key.Metadata().ARN
	out.SignatureValid = true
	out.SigningAlgorithm = in.SigningAlgorithm
	return nil
}

func askedSignature(algorithm kmsapi.SigningAlgorithmSpec, t kmsapi.MessageType, tokens []string) *asked {
	return &asked{
		more: []attribute{
			{"kms:signingalgorithm", text(string(algorithm))},
			{"kms:messagetype", text(string(cmp.Or(t, kmsapi.MessageTypeRaw)))},
		},
		tokens: tokens,
	}
}

// messageIsDigest reports whether the message of a request is a digest, once
// the algorithm is known to go with the key.
func messageIsDigest(key keyring.Key, a keyring.Algorithm, t kmsapi.MessageType) (bool, error) {
	if err := key.Check(a); err != nil {
		return false, err
	}
	t = cmp.Or(t, kmsapi.MessageTypeRaw)
	digest := t == kmsapi.MessageTypeDigest
	if a == keyring.MLDSASHAKE256 {
		digest = t == kmsapi.MessageTypeExternalMu // it takes μ in place of a digest
	}
	switch {
	case t != kmsapi.MessageTypeRaw && !digest:
		return false, wire.Validation("Message type " + string(t) + " is incompatible with key spec " + string(key.Metadata().Spec) + ".")
	case a == keyring.ED25519SHA512 && digest, a == keyring.ED25519PHSHA512 && !digest:
		return false, wire.Validation("Message type " + string(t) + " is incompatible with algorithm " + string(a) + ".")
	}
	return digest, nil
}

// digestLength names the algorithm if err is about the length of a digest.
func digestLength(err error, a keyring.Algorithm) error {
	if errors.Is(err, keyring.ErrDigestLength) {
		return wire.Validation("Digest is invalid length for algorithm " + string(a) + ".")
	}
	return err
}
