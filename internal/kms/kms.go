// Package kms is the KMS operations, one family to a file.
//
// A [Service] implements the generated handler of package kmsapi. What reaches
// it is authenticated and well-formed. Every operation then does its checks in
// one order, so that nobody learns about a key more than they may:
//
//  1. what can be said of the request alone (a missing combination of members);
//  2. which key is meant: NotFoundException for what is not there in the
//     caller's own account, and for another account one denial for all that is
//     not there or not shared;
//  3. authorization, which gives the permit that [keyring.Ring.Open] wants;
//  4. the key's state, and parameters whose feature this version does not have;
//  5. the key's usage and the algorithm;
//  6. cryptography;
//  7. DryRun.
//
// Nothing is created or changed before all of them have passed. A key that
// changes between its decision and its use is found and decided on again.
package kms

import (
	"context"
	"errors"

	"github.com/keyreeve/keyreeve/internal/api/kmsapi"
	"github.com/keyreeve/keyreeve/internal/authz"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/keyring"
	"github.com/keyreeve/keyreeve/internal/seal"
)

// Options are what a [Service] needs besides keys and decisions.
type Options struct {
	// Box seals the markers of list operations. Required.
	Box *seal.Box
}

// Service is the KMS operations. Its methods may be called concurrently.
type Service struct {
	ring *keyring.Ring
	az   *authz.Authorizer
	box  *seal.Box
}

var _ kmsapi.Handler = (*Service)(nil)

// New returns the operations on a ring's keys, as az decides them.
func New(ring *keyring.Ring, az *authz.Authorizer, o Options) *Service {
	return &Service{ring: ring, az: az, box: o.Box}
}

// serve runs an operation and puts its error into the API's terms. A key that
// changed under it makes it start anew.
func serve[I, O any](ctx context.Context, s *Service, c *call.Call, in *I, out *O, operation func(*Service, context.Context, *call.Call, *I, *O) error) error {
	err := operation(s, ctx, c, in, out)
	if err == nil {
		return nil
	}
	if errors.Is(err, keyring.ErrStale) {
		err = keyring.Attempt(ctx, func() error {
			c.Restart()
			*out = *new(O)
			return operation(s, ctx, c, in, out)
		})
	}
	return answer(c, err)
}
