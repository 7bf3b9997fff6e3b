package iam

import (
	"context"
	"strings"

	"github.com/keyreeve/keyreeve/internal/api/iamapi"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/identity"
	"github.com/keyreeve/keyreeve/internal/tag"
)

const (
	textDuplicateTags       = "Duplicate tag keys found. Please note that Tag keys are case insensitive."
	textDuplicatePolicyTags = "Duplicate tag keys found." // of a managed policy
	textReservedTag         = "aws: prefixed tag key names are not allowed for external use."
)

// checkTags returns the tags of a request; duplicates is the text for keys that
// stand twice, in any case. How many something may have in all is checked where
// they are put.
func checkTags(in []iamapi.Tag, duplicates string) (conditions, error) {
	var q conditions
	seen := make(map[string]bool, len(in))
	for _, t := range in {
		key := strings.ToLower(t.Key)
		switch {
		case seen[key]:
			return q, iamapi.InvalidInput(duplicates)
		case tag.Reserved(t.Key):
			return q, iamapi.InvalidInput(textReservedTag)
		}
		seen[key] = true
		q.tags = append(q.tags, identity.Tag{Name: t.Key, Value: t.Value})
		q.tagKeys = append(q.tagKeys, t.Key)
	}
	return q, nil
}

// apiTags returns tags in the API's terms; nil for none.
func apiTags(tags []identity.Tag) []iamapi.Tag {
	if len(tags) == 0 {
		return nil
	}
	list := make([]iamapi.Tag, len(tags))
	for i, t := range tags {
		list[i] = iamapi.Tag{Key: t.Name, Value: t.Value}
	}
	return list
}

// TagUser implements [iamapi.Handler].
func (s *Service) TagUser(ctx context.Context, c *call.Call, in *iamapi.TagUserInput, out *iamapi.TagUserOutput) error {
	return serve(ctx, s, c, in, out, (*Service).tagUser)
}

func (s *Service) tagUser(ctx context.Context, c *call.Call, in *iamapi.TagUserInput, _ *iamapi.TagUserOutput) error {
	return s.tag(ctx, c, aUser, in.UserName, in.Tags)
}

// TagRole implements [iamapi.Handler].
func (s *Service) TagRole(ctx context.Context, c *call.Call, in *iamapi.TagRoleInput, out *iamapi.TagRoleOutput) error {
	return serve(ctx, s, c, in, out, (*Service).tagRole)
}

func (s *Service) tagRole(ctx context.Context, c *call.Call, in *iamapi.TagRoleInput, _ *iamapi.TagRoleOutput) error {
	return s.tag(ctx, c, aRole, in.RoleName, in.Tags)
}

func (s *Service) tag(ctx context.Context, c *call.Call, k kind, name string, tags []iamapi.Tag) error {
	q, err := checkTags(tags, textDuplicateTags)
	if err != nil {
		return err
	}
	f, err := s.use(ctx, c, k, name, q)
	if err != nil {
		return err
	}
	return s.dir.TagEntity(ctx, f.Entity, q.tags)
}

// UntagUser implements [iamapi.Handler].
func (s *Service) UntagUser(ctx context.Context, c *call.Call, in *iamapi.UntagUserInput, out *iamapi.UntagUserOutput) error {
	return serve(ctx, s, c, in, out, (*Service).untagUser)
}

func (s *Service) untagUser(ctx context.Context, c *call.Call, in *iamapi.UntagUserInput, _ *iamapi.UntagUserOutput) error {
	return s.untag(ctx, c, aUser, in.UserName, in.TagKeys)
}

// UntagRole implements [iamapi.Handler].
func (s *Service) UntagRole(ctx context.Context, c *call.Call, in *iamapi.UntagRoleInput, out *iamapi.UntagRoleOutput) error {
	return serve(ctx, s, c, in, out, (*Service).untagRole)
}

func (s *Service) untagRole(ctx context.Context, c *call.Call, in *iamapi.UntagRoleInput, _ *iamapi.UntagRoleOutput) error {
	return s.untag(ctx, c, aRole, in.RoleName, in.TagKeys)
}

func (s *Service) untag(ctx context.Context, c *call.Call, k kind, name string, keys []string) error {
	f, err := s.use(ctx, c, k, name, conditions{tagKeys: keys})
	if err != nil {
		return err
	}
	return s.dir.UntagEntity(ctx, f.Entity, keys)
}

// ListUserTags implements [iamapi.Handler].
func (s *Service) ListUserTags(ctx context.Context, c *call.Call, in *iamapi.ListUserTagsInput, out *iamapi.ListUserTagsOutput) error {
	return serve(ctx, s, c, in, out, (*Service).listUserTags)
}

func (s *Service) listUserTags(ctx context.Context, c *call.Call, in *iamapi.ListUserTagsInput, out *iamapi.ListUserTagsOutput) error {
	f, err := s.use(ctx, c, aUser, in.UserName, conditions{})
	if err != nil {
		return err
	}
	out.Tags, out.IsTruncated, out.Marker, err = s.tagPage(c, f.id, in.Marker, in.MaxItems, f.tags, byKey)
	return err
}

// ListRoleTags implements [iamapi.Handler].
func (s *Service) ListRoleTags(ctx context.Context, c *call.Call, in *iamapi.ListRoleTagsInput, out *iamapi.ListRoleTagsOutput) error {
	return serve(ctx, s, c, in, out, (*Service).listRoleTags)
}

func (s *Service) listRoleTags(ctx context.Context, c *call.Call, in *iamapi.ListRoleTagsInput, out *iamapi.ListRoleTagsOutput) error {
	f, err := s.use(ctx, c, aRole, in.RoleName, conditions{})
	if err != nil {
		return err
	}
	out.Tags, out.IsTruncated, out.Marker, err = s.tagPage(c, f.id, in.Marker, in.MaxItems, f.tags, byKey)
	return err
}

// TagPolicy implements [iamapi.Handler].
func (s *Service) TagPolicy(ctx context.Context, c *call.Call, in *iamapi.TagPolicyInput, out *iamapi.TagPolicyOutput) error {
	return serve(ctx, s, c, in, out, (*Service).tagPolicy)
}

func (s *Service) tagPolicy(ctx context.Context, c *call.Call, in *iamapi.TagPolicyInput, _ *iamapi.TagPolicyOutput) error {
	q, err := checkTags(in.Tags, textDuplicatePolicyTags)
	if err != nil {
		return err
	}
	if _, err := s.changePolicy(ctx, c, in.PolicyARN, q, errNoSuchPolicy(in.PolicyARN)); err != nil {
		return err
	}
	return s.dir.TagPolicy(ctx, c.Caller.Account, in.PolicyARN, q.tags)
}

// UntagPolicy implements [iamapi.Handler].
func (s *Service) UntagPolicy(ctx context.Context, c *call.Call, in *iamapi.UntagPolicyInput, out *iamapi.UntagPolicyOutput) error {
	return serve(ctx, s, c, in, out, (*Service).untagPolicy)
}

func (s *Service) untagPolicy(ctx context.Context, c *call.Call, in *iamapi.UntagPolicyInput, _ *iamapi.UntagPolicyOutput) error {
	if _, err := s.changePolicy(ctx, c, in.PolicyARN, conditions{tagKeys: in.TagKeys}, errNoSuchPolicy(in.PolicyARN)); err != nil {
		return err
	}
	return s.dir.UntagPolicy(ctx, c.Caller.Account, in.PolicyARN, in.TagKeys)
}

// ListPolicyTags implements [iamapi.Handler].
func (s *Service) ListPolicyTags(ctx context.Context, c *call.Call, in *iamapi.ListPolicyTagsInput, out *iamapi.ListPolicyTagsOutput) error {
	return serve(ctx, s, c, in, out, (*Service).listPolicyTags)
}

func (s *Service) listPolicyTags(ctx context.Context, c *call.Call, in *iamapi.ListPolicyTagsInput, out *iamapi.ListPolicyTagsOutput) error {
	p, err := s.usePolicy(ctx, c, in.PolicyARN, conditions{}, errNoSuchPolicy(in.PolicyARN))
	if err != nil {
		return err
	}
	out.Tags, out.IsTruncated, out.Marker, err = s.tagPage(c, p.ID, in.Marker, in.MaxItems, p.Tags, byLength)
	return err
}

// byKey is the order of the tags of users and roles.
func byKey(a, b string) int { return strings.Compare(a, b) }

// byLength is the order of the tags of policies: the short keys come first.
func byLength(a, b string) int {
	if len(a) != len(b) {
		return len(a) - len(b)
	}
	return strings.Compare(a, b)
}

// tagPage returns a page of the tags of what has a unique id.
func (s *Service) tagPage(c *call.Call, id, marker string, maxItems *int32, tags []identity.Tag, order func(a, b string) int) ([]iamapi.Tag, bool, string, error) {
	list, truncated, next, err := page(s, c, id, marker, maxItems, tags, func(t identity.Tag) string { return t.Name }, order)
	return append([]iamapi.Tag{}, apiTags(list)...), truncated, next, err
}
