package keyring

import (
	"context"
	"errors"
	"fmt"

	"github.com/keyreeve/keyreeve/internal/secret"
)

// DeriveSharedSecret returns what the key and a peer have in common by ECDH (SP
// 800-56A, 5.7.1.2): the x-coordinate alone, in 32, 48 or 66 bytes. The peer's
// public key is a SubjectPublicKeyInfo in DER, on the key's curve, its point
// uncompressed. Action: kms:DeriveSharedSecret. Errors: as Check, ErrPeerKey.
func (k Key) DeriveSharedSecret(ctx context.Context, a Algorithm, peer []byte) (secret.Bytes, error) {
	if err := k.check(mayDerive, a); err != nil {
		return secret.Bytes{}, err
	}
	p, err := parsePublic(k.s.m.Spec, peer)
	if err != nil {
		return secret.Bytes{}, ErrPeerKey
	}
	l, err := k.r.lease(ctx, k.s)
	if err != nil {
		return secret.Bytes{}, err
	}
	defer l.end()
	shared, err := l.key().agree(p)
	switch {
	case errors.Is(err, ErrPeerKey):
		return secret.Bytes{}, err
	case err != nil:
		return secret.Bytes{}, fmt.Errorf("agreeing with %s: %w", k.s.m.ARN, err)
	}
	return secret.New(shared), nil
}
