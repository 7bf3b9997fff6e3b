// Package cloudtrail is the operations of AWS CloudTrail, one family to a file:
// event history, trails, and the keys that digest files are verified with.
//
// A [Service] implements the generated handler of package cloudtrailapi on the
// trails of package trail and on the recorded events. What reaches it is
// authenticated and well-formed. Every operation then does its checks in one
// order:
//
//  1. what the parameters say by themselves;
//  2. authorization, on the ARN of the trail, whether it is there or not;
//  3. whether it is there, and whether this is its account and home Region;
//  4. what else must hold.
//
// # Homes and shadows
//
// A trail has a home: the account and Region that it was made in. Two kinds are
// seen elsewhere too, as shadows: a multi-Region trail in the account's other
// Regions, and an organization's trail in its member accounts. A shadow is read
// by the trail's ARN, and changed nowhere but at home.
package cloudtrail

import (
	"context"
	"log/slog"
	"time"

	api "github.com/keyreeve/keyreeve/internal/api/cloudtrailapi"
	"github.com/keyreeve/keyreeve/internal/archive"
	"github.com/keyreeve/keyreeve/internal/archive/index"
	"github.com/keyreeve/keyreeve/internal/authz"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/quota"
	"github.com/keyreeve/keyreeve/internal/seal"
	"github.com/keyreeve/keyreeve/internal/tag"
	"github.com/keyreeve/keyreeve/internal/trail"
	"github.com/keyreeve/keyreeve/policy"
)

// Trails keeps trails. A [trail.Set] does.
type Trails interface {
	Create(ctx context.Context, t trail.Trail) (trail.Trail, error)
	Get(ctx context.Context, r trail.Ref) (trail.Trail, error)
	// OfAccount returns the trails of an account, of all home Regions, in the
	// order of Region and name.
	OfAccount(ctx context.Context, account string) ([]trail.Trail, error)
	Update(ctx context.Context, r trail.Ref, change func(*trail.Trail) error) (trail.Trail, error)
	Delete(ctx context.Context, r trail.Ref) error
	Start(ctx context.Context, r trail.Ref) error
	Stop(ctx context.Context, r trail.Ref) error
	Status(ctx context.Context, r trail.Ref) (trail.Status, error)
}

// Events finds recorded events. An [index.Searcher] does.
type Events interface {
	Search(ctx context.Context, q index.Query) (index.Page, error)
}

// Keys has the public keys that digest files of a Region are verified with. An
// [archive.Archive] does.
type Keys interface {
	// PublicKeys returns the keys of a Region that were in use at some moment
	// from start to end, the oldest first.
	PublicKeys(region string, start, end time.Time) []archive.PublicKey
}

// Options are what a [Service] works with. All but Quotas and Log are required.
type Options struct {
	Trails Trails
	Events Events
	Keys   Keys
	// Box seals the tokens of list operations.
	Box *seal.Box
	// Quotas limit how often accounts look events up. Nil: nothing is counted.
	Quotas *quota.Limits
	// Log gets what callers are not told; slog.Default() if nil.
	Log *slog.Logger
}

// Service is the operations of CloudTrail. Its methods may be called
// concurrently.
type Service struct {
	az     *authz.Authorizer
	trails Trails
	events Events
	keys   Keys
	box    *seal.Box
	quotas *quota.Limits // nil: none
	log    *slog.Logger
}

var _ api.Handler = (*Service)(nil)

// New returns the operations, as az decides them.
func New(az *authz.Authorizer, o Options) *Service {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	return &Service{az: az, trails: o.Trails, events: o.Events, keys: o.Keys, box: o.Box, quotas: o.Quotas, log: o.Log}
}

// decide returns an error if the caller may not do the call's action on a
// resource, which is an ARN or "*". Whatever account an ARN names, what is
// decided is what the caller's own account lets it do: nothing here can be
// shared, and of what is another account's nobody learns more than that he has
// none of that name.
func (s *Service) decide(ctx context.Context, c *call.Call, resource string, values policy.Context, q conditions) error {
	_, err := s.az.Decide(ctx, c, "cloudtrail:"+c.Operation.Name,
		&authz.Resource{ARN: resource, Account: c.Caller.Account, Values: values}, &authz.Request{Values: &q})
	return err
}

// conditions are the condition keys of a request.
type conditions struct {
	tags    []call.Pair // aws:RequestTag/…
	tagKeys []string    // aws:TagKeys
}

// Value implements [policy.Context].
func (q *conditions) Value(k *policy.Key) policy.Value {
	switch k.Name {
	case "aws:requesttag/":
		return tag.Value(q.tags, k.Sub)
	case "aws:tagkeys":
		if len(q.tagKeys) > 0 {
			return policy.Strings(q.tagKeys)
		}
	}
	return policy.Value{}
}

// tagged are the condition keys of a trail.
type tagged []call.Pair

// Value implements [policy.Context].
func (t tagged) Value(k *policy.Key) policy.Value {
	if k.Name == "aws:resourcetag/" {
		return tag.Value(t, k.Sub)
	}
	return policy.Value{}
}
