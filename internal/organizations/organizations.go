// Package organizations is the operations of AWS Organizations, one family to a
// file.
//
// A [Service] implements the generated handler of package organizationsapi on
// [identity.Directory]. What reaches it is authenticated and well-formed. Every
// operation then does its checks in one order:
//
//  1. authorization, on the ARNs of all that the request names, whether it is
//     there or not;
//  2. whether the caller's account is in an organization, and whether it may do
//     this: most operations are the management account's alone;
//  3. whether what the request names is there;
//  4. what else must hold.
//
// Organizations is global: what it answers does not depend on the Region that a
// request is signed for.
//
// An account is not made by the call that asks for it, but by [Service.Run] on
// whatever node: a node that fails half-way leaves none half-made.
package organizations

import (
	"context"
	"log/slog"
	"time"

	"github.com/keyreeve/keyreeve/internal/api/organizationsapi"
	"github.com/keyreeve/keyreeve/internal/authz"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/identity"
	"github.com/keyreeve/keyreeve/internal/seal"
)

// Options are what a [Service] needs besides identities and decisions.
type Options struct {
	// Box seals the tokens of list operations. Required.
	Box *seal.Box
	// Log gets what goes wrong in the background; slog.Default() if nil.
	Log *slog.Logger
}

// Service is the operations of Organizations. Its methods may be called
// concurrently.
type Service struct {
	dir  *identity.Directory
	az   *authz.Authorizer
	box  *seal.Box
	log  *slog.Logger
	wake chan struct{} // has something in it if accounts were asked for
}

var _ organizationsapi.Handler = (*Service)(nil)

// New returns the operations on a directory, as az decides them.
func New(dir *identity.Directory, az *authz.Authorizer, o Options) *Service {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	return &Service{dir: dir, az: az, box: o.Box, log: o.Log, wake: make(chan struct{}, 1)}
}

// How often Run looks for accounts that other nodes were asked for and did not
// make, and for requests that are so old that they are forgotten.
const (
	settleEvery = 15 * time.Second
	forgetEvery = time.Hour
)

// Run makes the accounts that are asked for until ctx ends.
func (s *Service) Run(ctx context.Context) {
	settle, forget := time.NewTicker(settleEvery), time.NewTicker(forgetEvery)
	defer settle.Stop()
	defer forget.Stop()
	for {
		if err := s.dir.SettleAccountRequests(ctx); err != nil && ctx.Err() == nil {
			s.log.Error("an account that an organization asked for is not made yet", "cause", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-s.wake:
		case <-settle.C:
		case <-forget.C:
			if err := s.dir.ForgetAccountRequests(ctx); err != nil && ctx.Err() == nil {
				s.log.Error("old requests for accounts are not forgotten yet", "cause", err)
			}
		}
	}
}

// serve runs an operation and puts its error into the API's terms.
func serve[I, O any](ctx context.Context, s *Service, c *call.Call, in *I, out *O, operation func(*visit, context.Context, *I, *O) error) error {
	v, err := s.enter(ctx, c)
	if err == nil {
		err = operation(v, ctx, in, out)
	}
	return answer(err)
}
