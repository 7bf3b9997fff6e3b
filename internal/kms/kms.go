// Package kms is the KMS operations, one family to a file.
//
// A [Service] implements the generated handler of package kmsapi. What reaches
// it is authenticated and well-formed. Every operation then does its checks in
// one order, so that nobody learns about a key more than they may:
//
//  1. what can be said of the request alone (a missing combination of members,
//     an attestation document that is not valid);
//     before it, or with the permit, the request quotas (quotas.go), if there are any;
//  2. which key is meant: NotFoundException for what is not there in the
//     caller's own account, and for another account one denial for all that is
//     not there or not shared;
//  3. authorization, which gives the permit that [keyring.Ring.Open] wants, by
//     what the request asks for (asked.go);
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
	"github.com/keyreeve/keyreeve/internal/attestation"
	"github.com/keyreeve/keyreeve/internal/authz"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/keyring"
	"github.com/keyreeve/keyreeve/internal/quota"
	"github.com/keyreeve/keyreeve/internal/seal"
)

// Options are what a [Service] needs besides keys and decisions.
type Options struct {
	// Box seals the markers of list operations. Required.
	Box *seal.Box
	// Uses are the uses of the ring's keys. Nil: they are kept in memory only.
	Uses *keyring.Uses
	// Principals knows whom key policies and grants may name. Nil: whatever
	// has the form of a principal exists, and has no unique id.
	Principals Principals
	// Regions are those that keys can be replicated to. Nil: all.
	Regions []string
	// Quotas limit how often accounts call. Nil: nothing is counted.
	Quotas *quota.Limits
	// Attestation is the authorities that are trusted to certify enclaves and
	// instances, for which answers may be encrypted. Nil: none, and who asks for
	// that is refused.
	Attestation *attestation.Roots
}

// Principals knows users, roles and accounts.
type Principals interface {
	// Resolve finds whom a principal means. For the ARN of a user or role it
	// returns its unique id. What is valid and has no unique id (an account's
	// id or root, a session, a federated user) is ok with an empty id. A unique
	// id is ok if its bearer exists. Everything else is not ok.
	Resolve(ctx context.Context, principal string) (id string, ok bool, err error)
	// ARNOf returns the ARN that the user or role with a unique id has now.
	ARNOf(ctx context.Context, id string) (arn string, err error)
}

// Service is the KMS operations. Its methods may be called concurrently.
type Service struct {
	ring *keyring.Ring
	az   *authz.Authorizer
	box  *seal.Box
	uses *keyring.Uses

	principals  Principals
	regions     []string           // nil: any
	quotas      *quota.Limits      // nil: none
	attestation *attestation.Roots // nil: none
}

var _ kmsapi.Handler = (*Service)(nil)

// New returns the operations on a ring's keys, as az decides them.
func New(ring *keyring.Ring, az *authz.Authorizer, o Options) *Service {
	s := &Service{ring: ring, az: az, box: o.Box, uses: o.Uses, principals: o.Principals, regions: o.Regions, quotas: o.Quotas, attestation: o.Attestation}
	if s.principals == nil {
		s.principals = anybody{}
	}
	if s.uses == nil {
		s.uses = keyring.NewUses(ring, keyring.UsesOptions{})
	}
	return s
}

// serve runs an operation and puts its error into the API's terms. A key that
// changed under it makes it start anew. What is over a request quota is not run.
func serve[I, O any](ctx context.Context, s *Service, c *call.Call, in *I, out *O, operation func(*Service, context.Context, *call.Call, *I, *O) error) error {
	if s.quotas != nil {
		if err := s.count(c, in); err != nil {
			return err
		}
	}
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
	err = answer(c, err)
	if s.quotas != nil && err != nil {
		err = s.countFailed(c, in, err)
	}
	return err
}
