package organizations

import (
	"context"
	"strings"

	api "github.com/keyreeve/keyreeve/internal/api/organizationsapi"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/identity"
	"github.com/keyreeve/keyreeve/internal/tag"
	"github.com/keyreeve/keyreeve/internal/wire"
)

// checkTags returns the tags of a request. How many something may have in all is
// checked where they are put.
func checkTags(in []api.Tag) (conditions, error) {
	var q conditions
	seen := make(map[string]bool, len(in))
	for _, t := range in {
		key := strings.ToLower(t.Key)
		switch {
		case seen[key]:
			return q, invalid("DUPLICATE_TAG_KEY", "Tag keys must be unique among all tags on a resource, and are not case-sensitive.")
		case tag.Reserved(t.Key):
			return q, errReserved()
		}
		seen[key] = true
		q.tags = append(q.tags, identity.Tag{Name: t.Key, Value: t.Value})
		q.tagKeys = append(q.tagKeys, t.Key)
	}
	if len(q.tags) > identity.MaxTags {
		return q, errManyTags()
	}
	return q, nil
}

func errReserved() *wire.Error {
	return invalid("INVALID_SYSTEM_TAGS_PARAMETER", "Tag keys that begin with aws: are reserved.")
}

func errManyTags() *wire.Error {
	return violates("MAX_TAG_LIMIT_EXCEEDED", "You have exceeded the number of tags allowed on this resource.")
}

// useTagged decides the call's action on a root, unit, account or policy, which
// is there if there is no error.
func (v *visit) useTagged(ctx context.Context, id string, q conditions) (*target, error) {
	find := v.anyTarget
	if strings.HasPrefix(id, "p-") || strings.HasPrefix(id, "rp-") {
		find = v.policyTarget
	}
	t, err := find(ctx, id)
	if err != nil {
		return nil, err
	}
	q.kind = ofPolicy(t).kind
	if err := v.allow(ctx, q, t); err != nil {
		return nil, err
	}
	if !t.found {
		return nil, errNoTarget()
	}
	return t, nil
}

// TagResource implements [api.Handler].
func (s *Service) TagResource(ctx context.Context, c *call.Call, in *api.TagResourceInput, out *api.TagResourceOutput) error {
	return serve(ctx, s, c, in, out, (*visit).tagResource)
}

func (v *visit) tagResource(ctx context.Context, in *api.TagResourceInput, _ *api.TagResourceOutput) error {
	q, err := checkTags(in.Tags)
	if err != nil {
		return err
	}
	t, err := v.useTagged(ctx, in.ResourceID, q)
	if err != nil {
		return err
	}
	err = v.s.dir.TagOrganization(ctx, v.o.ID, t.id(v), q.tags)
	err = instead(err, identity.ErrNotFound, errNoTarget())
	return instead(err, identity.ErrLimit, errManyTags())
}

// UntagResource implements [api.Handler].
func (s *Service) UntagResource(ctx context.Context, c *call.Call, in *api.UntagResourceInput, out *api.UntagResourceOutput) error {
	return serve(ctx, s, c, in, out, (*visit).untagResource)
}

func (v *visit) untagResource(ctx context.Context, in *api.UntagResourceInput, _ *api.UntagResourceOutput) error {
	t, err := v.useTagged(ctx, in.ResourceID, conditions{tagKeys: in.TagKeys})
	if err != nil {
		return err
	}
	return instead(v.s.dir.UntagOrganization(ctx, v.o.ID, t.id(v), in.TagKeys), identity.ErrNotFound, errNoTarget())
}

// ListTagsForResource implements [api.Handler]. All tags are on one page.
func (s *Service) ListTagsForResource(ctx context.Context, c *call.Call, in *api.ListTagsForResourceInput, out *api.ListTagsForResourceOutput) error {
	return serve(ctx, s, c, in, out, (*visit).listTags)
}

func (v *visit) listTags(ctx context.Context, in *api.ListTagsForResourceInput, out *api.ListTagsForResourceOutput) error {
	t, err := v.useTagged(ctx, in.ResourceID, conditions{})
	if err != nil {
		return err
	}
	if in.NextToken != "" {
		if _, err := v.openToken("", in.NextToken); err != nil {
			return err
		}
	}
	out.Tags = []api.Tag{}
	for _, tag := range t.tags {
		out.Tags = append(out.Tags, api.Tag{Key: tag.Name, Value: tag.Value})
	}
	return nil
}
