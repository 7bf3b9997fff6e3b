package keyring_test

import (
	"errors"
	"sync"
	"testing"

	"github.com/keyreeve/keyreeve/internal/keyring"
)

// usePrivate uses a key's private half once.
func (g *rig) usePrivate(t *testing.T, id string, usage keyring.Usage, a keyring.Algorithm) keyring.Key {
	t.Helper()
	if usage == keyring.EncapsulateDecapsulate {
		_, ciphertext, err := g.mustOpen(t, id, "kms:Encapsulate").Encapsulate(t.Context(), a)
		if err != nil {
			t.Fatal(err)
		}
		k := g.mustOpen(t, id, "kms:Decapsulate")
		if _, err := k.Decapsulate(t.Context(), a, ciphertext); err != nil {
			t.Fatal(err)
		}
		return k
	}
	k := g.mustOpen(t, id, "kms:Sign")
	if _, err := k.Sign(t.Context(), a, []byte("m"), false); err != nil {
		t.Fatal(err)
	}
	return k
}

// TestParsedKeysAreWiped: what is held of a private key is overwritten, and not
// only let go of, once its key is disabled.
func TestParsedKeysAreWiped(t *testing.T) {
	t.Parallel()
	g := newRig(t, nil, keyring.Options{})
	for _, tt := range []struct {
		spec  keyring.Spec
		usage keyring.Usage
		a     keyring.Algorithm
	}{
		{keyring.RSA2048, keyring.SignVerify, keyring.RSASSAPSSSHA256},
		{keyring.ECCSECGP256K1, keyring.SignVerify, keyring.ECDSASHA256},
		{keyring.ECCEdwards25519, keyring.SignVerify, keyring.ED25519SHA512},
		{keyring.SM2, keyring.SignVerify, keyring.SM2DSA},
		{keyring.SM2, keyring.SignVerify, keyring.SM2DSA},
		{keyring.MLDSA44, keyring.SignVerify, keyring.MLDSASHAKE256},
		{keyring.MLKEM512, keyring.EncapsulateDecapsulate, keyring.MLKEM},
		{keyring.MLKEM768, keyring.EncapsulateDecapsulate, keyring.MLKEM},
	} {
		id := g.create(t, tt.spec, tt.usage).ID
		wiped := keyring.HeldPrivate(g.usePrivate(t, id, tt.usage, tt.a))
		if wiped == nil || wiped() {
			t.Fatalf("%s: no private key is held", tt.spec)
		}
		if err := g.mustOpen(t, id, "kms:DisableKey").Disable(t.Context()); err != nil {
			t.Fatal(err)
		}
		if !wiped() {
			t.Errorf("%s: the private key of a disabled key is in memory", tt.spec)
		}
	}
}

// TestUseAndWipeOfParsedKeys: nobody signs with a private key that is half
// wiped, neither where it is held nor where there is no room for it.
func TestUseAndWipeOfParsedKeys(t *testing.T) {
	t.Parallel()
	for name, room := range map[string]int{"held": 0, "one is held": 1} {
		g := newRig(t, nil, keyring.Options{PrivateKeys: room})
		algorithms := map[keyring.Spec]keyring.Algorithm{
			keyring.ECCEdwards25519: keyring.ED25519SHA512, keyring.ECCSECGP256K1: keyring.ECDSASHA256, keyring.ECCNISTP256: keyring.ECDSASHA256,
			keyring.SM2: keyring.SM2DSA,
		}
		var done sync.WaitGroup
		stop := make(chan struct{})
		for spec, a := range algorithms {
			id := g.create(t, spec, keyring.SignVerify).ID
			verify := g.mustOpen(t, id, "kms:Verify")
			for range 2 {
				done.Go(func() {
					for range 8 {
						k, _, err := g.open(t, id, "kms:Sign")
						if err != nil {
							t.Errorf("%s, %s: %v", name, spec, err)
							return
						}
						signature, err := k.Sign(t.Context(), a, []byte("m"), false)
						if errors.Is(err, keyring.ErrStale) {
							continue
						}
						if err != nil {
							t.Errorf("%s, %s: %v", name, spec, err)
							return
						}
						if ok, err := verify.Verify(t.Context(), a, []byte("m"), false, signature); !ok || err != nil {
							t.Errorf("%s, %s: a wrong signature: %t, %v", name, spec, ok, err)
							return
						}
					}
				})
			}
		}
		var sweeps sync.WaitGroup
		sweeps.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					g.ring.Sweep()
				}
			}
		})
		done.Wait()
		close(stop)
		sweeps.Wait()
	}
}
