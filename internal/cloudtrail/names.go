package cloudtrail

import (
	"context"
	"errors"
	"strconv"
	"strings"

	api "github.com/keyreeve/keyreeve/internal/api/cloudtrailapi"
	"github.com/keyreeve/keyreeve/internal/arn"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/trail"
	"github.com/keyreeve/keyreeve/policy"
)

// checkName returns what is wrong with the name of a trail.
func checkName(name string) error {
	alphanumeric := func(c byte) bool { return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' }
	n, text := len(name), ""
	switch {
	case n < trail.MinName:
		text = "Trail name too short. Minimum allowed length: " + strconv.Itoa(trail.MinName) + " characters. Specified name length: " + strconv.Itoa(n) + " characters."
	case n > trail.MaxName:
		text = "Trail name too long. Maximum allowed length: " + strconv.Itoa(trail.MaxName) + " characters. Specified name length: " + strconv.Itoa(n) + " characters."
	case !alphanumeric(name[0]):
		text = "Trail name must starts with a letter or number."
	case !alphanumeric(name[n-1]):
		text = "Trail name must ends with a letter or number."
	case strings.ContainsFunc(name, func(r rune) bool { return r > 0x7f || !alphanumeric(byte(r)) && !strings.ContainsRune("._-", r) }):
		text = "Trail name or ARN can only contain uppercase letters, lowercase letters, numbers, periods (.), hyphens (-), and underscores (_)."
	case !trail.IsName(name):
		text = "Trail name must not have adjacent periods (.), hyphens (-) or underscores (_), and must not be in the format of an IP address."
	default:
		return nil
	}
	return api.InvalidTrailNameException(text)
}

// parseName returns the trail of a name, which is one of the caller's account
// and the call's Region, or of an ARN.
func parseName(c *call.Call, s string) (trail.Ref, error) {
	if !arn.Is(s) {
		return trail.Ref{Account: c.Caller.Account, Region: c.Region, Name: s}, checkName(s)
	}
	return parseARN(c, s)
}

// parseARN returns the trail of an ARN.
func parseARN(c *call.Call, s string) (trail.Ref, error) {
	a, err := arn.Parse(s)
	if err != nil || a.Service != "cloudtrail" || a.Partition != arn.Partition(c.Region) || a.Region == "" || !arn.IsAccount(a.Account) {
		return trail.Ref{}, errARN()
	}
	name, ok := strings.CutPrefix(a.Resource, "trail/")
	if !ok || !trail.IsName(name) {
		return trail.Ref{}, errARN()
	}
	return trail.Ref{Account: a.Account, Region: a.Region, Name: name}, nil
}

// sees reports whether a trail is seen by the caller of a call, at home or as a
// shadow.
func sees(c *call.Call, t *trail.Trail) bool {
	return t.Shadows(c.Region) && isOf(c, t)
}

// isOf reports whether a trail is one of the caller's account, or of the
// organization that the account is a member of.
func isOf(c *call.Call, t *trail.Trail) bool {
	o := c.Caller.Organization
	return t.Account == c.Caller.Account || t.Organization && o != nil && t.Account == o.Master
}

// atHome reports whether a call is made where a trail is changed.
func atHome(c *call.Call, r trail.Ref) bool {
	return r.Account == c.Caller.Account && r.Region == c.Region
}

// A target is the trail that a call names.
type target struct {
	trail.Ref
	arn   string
	found *trail.Trail // nil if the caller sees no such trail
}

// tags are those of what was found.
func (t *target) tags() tagged {
	if t.found == nil {
		return nil
	}
	return pairs(t.found.Tags)
}

// look finds a trail.
func (s *Service) look(ctx context.Context, c *call.Call, r trail.Ref) (*target, error) {
	t := &target{Ref: r, arn: r.ARN()}
	got, err := s.trails.Get(ctx, r)
	switch {
	case errors.Is(err, trail.ErrNotFound):
	case err != nil:
		return nil, err
	case isOf(c, &got): // at home, as a shadow, or in neither's Region
		t.found = &got
	}
	return t, nil
}

// Conditions returns the condition keys that the decision on a call to the trail
// with an ARN has from that trail; none if the caller has no such trail, or the
// ARN is of none.
func (s *Service) Conditions(ctx context.Context, c *call.Call, name string) (policy.Context, error) {
	r, err := parseName(c, name)
	if err != nil {
		return tagged(nil), nil
	}
	t, err := s.look(ctx, c, r)
	if err != nil {
		return nil, err
	}
	return t.tags(), nil
}

// find finds the trail that a call names, and decides the call's action on it.
// That there is none is no error.
func (s *Service) find(ctx context.Context, c *call.Call, r trail.Ref, q conditions) (*target, error) {
	t, err := s.look(ctx, c, r)
	if err != nil {
		return nil, err
	}
	if err := s.decide(ctx, c, t.arn, t.tags(), q); err != nil {
		return nil, err
	}
	if t.found != nil {
		c.AddResource(call.Resource{ARN: t.arn, Account: r.Account, Type: resourceType})
	}
	return t, nil
}

// resourceType is what a trail is in a record.
const resourceType = "AWS::CloudTrail::Trail"

// read finds the trail that an operation reads, at home or as a shadow.
func (s *Service) read(ctx context.Context, c *call.Call, name string) (*trail.Trail, error) {
	r, err := parseName(c, name)
	if err != nil {
		return nil, err
	}
	t, err := s.find(ctx, c, r, conditions{})
	if err != nil {
		return nil, err
	}
	if t.found == nil || !sees(c, t.found) {
		return nil, errUnknownTrail(r, c.Caller.Account)
	}
	return t.found, nil
}

// home finds the trail that an operation changes, which is there, and at home.
func (s *Service) home(ctx context.Context, c *call.Call, name string) (*trail.Trail, error) {
	r, err := parseName(c, name)
	if err != nil {
		return nil, err
	}
	t, err := s.find(ctx, c, r, conditions{})
	if err != nil {
		return nil, err
	}
	switch {
	case t.found != nil && atHome(c, r):
		return t.found, nil
	case t.found != nil && r.Account != c.Caller.Account:
		return nil, errNotMaster()
	case t.found != nil:
		return nil, errNotHome(r)
	case !arn.Is(name):
		// The name may be that of a shadow.
		all, err := s.trails.OfAccount(ctx, c.Caller.Account)
		if err != nil {
			return nil, err
		}
		for i := range all {
			if all[i].Name == name && all[i].MultiRegion {
				return nil, errNotHome(all[i].Ref)
			}
		}
	}
	return nil, errUnknownTrail(r, c.Caller.Account)
}

// seen returns the trails that the caller's account has, of all Regions, and
// those of the organization that it is a member of.
func (s *Service) seen(ctx context.Context, c *call.Call) ([]trail.Trail, error) {
	all, err := s.trails.OfAccount(ctx, c.Caller.Account)
	if err != nil {
		return nil, err
	}
	o := c.Caller.Organization
	if o == nil || o.Master == c.Caller.Account {
		return all, nil
	}
	theirs, err := s.trails.OfAccount(ctx, o.Master)
	if err != nil {
		return nil, err
	}
	for i := range theirs {
		if theirs[i].Organization {
			all = append(all, theirs[i])
		}
	}
	return all, nil
}
