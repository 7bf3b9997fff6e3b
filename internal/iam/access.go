package iam

import (
	"context"
	"errors"
	"strings"

	"github.com/keyreeve/keyreeve/internal/arn"
	"github.com/keyreeve/keyreeve/internal/authz"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/identity"
	"github.com/keyreeve/keyreeve/internal/tag"
	"github.com/keyreeve/keyreeve/internal/wire"
	"github.com/keyreeve/keyreeve/policy"
)

// A kind is a kind of entity that policies are attached to.
type kind identity.EntityKind

const (
	aUser  = kind(identity.UserEntity)
	aGroup = kind(identity.GroupEntity)
	aRole  = kind(identity.RoleEntity)
)

// String returns how IAM's messages and ARNs call the kind.
func (k kind) String() string {
	switch k {
	case aUser:
		return "user"
	case aGroup:
		return "group"
	}
	return "role"
}

// partition is that of every account of an installation.
const partition = "aws"

// arnOf returns the ARN of something with a path; what is "user", "group",
// "role" or "policy".
func arnOf(what, account, path, name string) string {
	return arn.ARN{Partition: partition, Service: "iam", Account: account, Resource: what + path + name}.String()
}

// A target is what an action would be done to.
type target struct {
	arn string // what is decided on; "*" for an action on no one resource
	// account owns it.
	account string
	// shown is how the text of a denial calls it; empty for its ARN.
	shown string
	tags  []identity.Tag
}

// Value implements [policy.Context]: the condition keys of the resource. Package
// authz knows which actions and kinds of resource have them.
func (t *target) Value(k *policy.Key) policy.Value {
	switch k.Name {
	case "aws:resourcetag/", "iam:resourcetag/":
		return tag.Value(t.tags, k.Sub)
	}
	return policy.Value{}
}

// conditions are the condition keys of a request. The zero value has none.
type conditions struct {
	// boundary is iam:PermissionsBoundary: the one that the request sets, else
	// the one that the user or role has.
	boundary string
	policy   string         // iam:PolicyARN: the managed policy to attach or detach
	tags     []identity.Tag // aws:RequestTag/…
	tagKeys  []string       // aws:TagKeys
}

// Value implements [policy.Context].
func (q *conditions) Value(k *policy.Key) policy.Value {
	switch k.Name {
	case "iam:permissionsboundary":
		if q.boundary != "" {
			return policy.String(q.boundary)
		}
	case "iam:policyarn":
		if q.policy != "" {
			return policy.String(q.policy)
		}
	case "aws:requesttag/":
		return tag.Value(q.tags, k.Sub)
	case "aws:tagkeys":
		if len(q.tagKeys) > 0 {
			return policy.Strings(q.tagKeys)
		}
	}
	return policy.Value{}
}

// decide returns an error if the caller may not do an action on a target.
func (s *Service) decide(ctx context.Context, c *call.Call, action string, t *target, q *conditions) error {
	_, err := s.az.Decide(ctx, c, "iam:"+action,
		&authz.Resource{ARN: t.arn, Account: t.account, Values: t}, &authz.Request{Values: q})
	var denied *authz.Denied
	if t.shown != "" && errors.As(err, &denied) {
		// The texts of IAM call most resources by kind and name, where those of
		// other services have the ARN.
		text := strings.Replace(denied.Text, " on resource: "+t.arn+" ", " on resource: "+t.shown+" ", 1)
		return &authz.Denied{Action: denied.Action, Text: text}
	}
	return err
}

// decideAll decides the call's own action where there is no one resource. The
// text of a denial shows what is given instead of "*".
func (s *Service) decideAll(ctx context.Context, c *call.Call, shown string) error {
	return s.decide(ctx, c, c.Operation.Name, &target{arn: "*", account: c.Caller.Account, shown: shown}, &conditions{})
}

// decideNew decides the call's own action, which makes a user, group, role or
// policy; and, if it is to have tags, the one that gives tags.
func (s *Service) decideNew(ctx context.Context, c *call.Call, tagging string, t *target, q *conditions) error {
	if err := s.decide(ctx, c, c.Operation.Name, t, q); err != nil {
		return err
	}
	if len(q.tags) == 0 {
		return nil
	}
	tagged := *t
	tagged.shown = "" // these texts have the ARN
	return s.decide(ctx, c, tagging, &tagged, q)
}

// A subject is a user, group or role that a request names.
type subject struct {
	identity.Entity
	target
	id         string // unique id
	path, name string // as they are
	boundary   string // ARN of its permissions boundary; empty for none
	missing    bool   // there is none of that name

	// As it was when it was decided on: one of them, as the kind is.
	user  identity.User
	group identity.Group
	role  identity.Role
}

// find returns the user, group or role of the caller's account with a name. If
// there is none, it is one without a path and tags, which is missing.
func (s *Service) find(ctx context.Context, c *call.Call, k kind, name string) (*subject, error) {
	account := c.Caller.Account
	f := &subject{Entity: identity.Entity{Kind: identity.EntityKind(k), Account: account, Name: name}, path: "/", name: name}
	f.target = target{account: account, shown: k.String() + " " + name}
	var err error
	switch k {
	case aUser:
		f.user, err = s.dir.User(ctx, account, name)
		if u := &f.user; err == nil {
			f.id, f.path, f.name, f.tags, f.boundary = u.ID, u.Path, u.Name, u.Tags, u.Boundary
		}
	case aGroup:
		f.group, err = s.dir.Group(ctx, account, name)
		if g := &f.group; err == nil {
			f.id, f.path, f.name = g.ID, g.Path, g.Name
		}
	default:
		f.role, err = s.dir.Role(ctx, account, name)
		if r := &f.role; err == nil {
			f.id, f.path, f.name, f.tags, f.boundary = r.ID, r.Path, r.Name, r.Tags, r.Boundary
		}
	}
	f.missing = errors.Is(err, identity.ErrNotFound)
	if err != nil && !f.missing {
		return nil, err
	}
	f.arn = arnOf(k.String(), account, f.path, f.name)
	return f, nil
}

// use finds a user, group or role and decides the call's own action on it. It is
// there if there is no error.
func (s *Service) use(ctx context.Context, c *call.Call, k kind, name string, q conditions) (*subject, error) {
	f, err := s.find(ctx, c, k, name)
	if err != nil {
		return nil, err
	}
	if q.boundary == "" {
		q.boundary = f.boundary
	}
	if err := s.decide(ctx, c, c.Operation.Name, &f.target, &q); err != nil {
		return nil, err
	}
	if f.missing {
		return nil, errNoSuch(k, name)
	}
	return f, nil
}

// useToChange is use for an operation that changes what only AWS changes of its
// own roles.
func (s *Service) useToChange(ctx context.Context, c *call.Call, k kind, name string, q conditions) (*subject, error) {
	f, err := s.use(ctx, c, k, name, q)
	if err == nil && k == aRole && ofAWS(f.path) {
		return nil, errUnmodifiable(f.name)
	}
	return f, err
}

// ofAWS reports whether a path is one of the roles that AWS makes itself, such
// as those that are linked to a service.
func ofAWS(path string) bool {
	return strings.HasPrefix(path, "/aws-service-role/") || strings.HasPrefix(path, "/aws-reserved/")
}

// ownName returns the name of the user that a request is about: the caller,
// where the request does not say. It is empty for the account's root user.
func ownName(c *call.Call, name string) (string, error) {
	switch {
	case name != "":
		return name, nil
	case c.Caller.Kind == call.User:
		return c.Caller.Name, nil
	case c.Caller.Kind == call.Root:
		return "", nil
	}
	return "", wire.QueryValidation("Must specify userName when calling with non-User credentials")
}

// rootTarget is the root user of the caller's account, which only that user
// himself gets to.
func rootTarget(c *call.Call) *target {
	return &target{arn: arn.Root(partition, c.Caller.Account), account: c.Caller.Account}
}
