// Package iam is the IAM operations, one family to a file.
//
// A [Service] implements the generated handler of package iamapi on
// [identity.Directory]. What reaches it is authenticated and well-formed. Every
// operation then does its checks in one order:
//
//  1. what can be said of the request alone: tags, and the form of ARNs;
//  2. authorization, on the ARN of what the request names, with its path as it
//     is, or with none if there is no such thing;
//  3. whether what it names is there;
//  4. what else must hold: documents, quotas, nothing left that refers to what
//     is deleted.
//
// IAM is global: what it answers does not depend on the Region that a request
// is signed for.
package iam

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	"github.com/keyreeve/keyreeve/internal/api/iamapi"
	"github.com/keyreeve/keyreeve/internal/authz"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/identity"
	"github.com/keyreeve/keyreeve/internal/seal"
)

// Options are what a [Service] needs besides identities and decisions.
type Options struct {
	// Box seals the markers of list operations. Required.
	Box *seal.Box
}

// Service is the IAM operations. Its methods may be called concurrently.
type Service struct {
	dir *identity.Directory
	az  *authz.Authorizer
	box *seal.Box

	reports *reports
}

var _ iamapi.Handler = (*Service)(nil)

// New returns the operations on a directory, as az decides them.
func New(dir *identity.Directory, az *authz.Authorizer, o Options) *Service {
	return &Service{dir: dir, az: az, box: o.Box, reports: new(reports)}
}

// attempts is how often an operation is tried while others change what it is
// about.
const attempts = 12

// serve runs an operation and puts its error into the API's terms. What was
// decided on and what is changed are one revision of it: if others change it in
// between, all is done again.
func serve[I, O any](ctx context.Context, s *Service, c *call.Call, in *I, out *O, operation func(*Service, context.Context, *call.Call, *I, *O) error) error {
	for try := 1; ; try++ {
		view := *s
		view.dir = s.dir.View()
		err := operation(&view, ctx, c, in, out)
		if !errors.Is(err, identity.ErrStale) || try == attempts {
			return answer(err)
		}
		*out = *new(O)
		var b [1]byte // for a random time, so that they do not meet again
		rand.Read(b[:])
		select {
		case <-time.After(time.Duration(b[0]) * (time.Millisecond << min(try, 6)) >> 8):
		case <-ctx.Done():
			return answer(err)
		}
	}
}
