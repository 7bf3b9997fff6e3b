package kms

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/keyreeve/keyreeve/internal/api/kmsapi"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/keyring"
	"github.com/keyreeve/keyreeve/internal/tag"
)

var (
	toTagResource      = access{action: "kms:TagResource", arnErrors: true}
	toUntagResource    = access{action: "kms:UntagResource", arnErrors: true}
	toListResourceTags = access{action: "kms:ListResourceTags", arnErrors: true}
)

// TagResource implements [kmsapi.Handler].
func (s *Service) TagResource(ctx context.Context, c *call.Call, in *kmsapi.TagResourceInput, out *kmsapi.TagResourceOutput) error {
	return serve(ctx, s, c, in, out, (*Service).tagResource)
}

func (s *Service) tagResource(ctx context.Context, c *call.Call, in *kmsapi.TagResourceInput, _ *kmsapi.TagResourceOutput) error {
	key, err := s.use(ctx, c, &toTagResource, in.KeyID, &asked{tags: in.Tags, tagKeys: tagKeys(in.Tags)})
	if err != nil {
		return err
	}
	tags, err := checkTags(in.Tags)
	if err != nil {
		return err
	}
	err = key.Tag(ctx, tags)
	if errors.Is(err, keyring.ErrTooManyTags) {
		return kmsapi.LimitExceededException(textTooManyTags)
	}
	return err
}

// UntagResource implements [kmsapi.Handler].
func (s *Service) UntagResource(ctx context.Context, c *call.Call, in *kmsapi.UntagResourceInput, out *kmsapi.UntagResourceOutput) error {
	return serve(ctx, s, c, in, out, (*Service).untagResource)
}

func (s *Service) untagResource(ctx context.Context, c *call.Call, in *kmsapi.UntagResourceInput, _ *kmsapi.UntagResourceOutput) error {
	key, err := s.use(ctx, c, &toUntagResource, in.KeyID, &asked{tagKeys: in.TagKeys})
	if err != nil {
		return err
	}
	if slices.ContainsFunc(in.TagKeys, tag.Reserved) {
		return kmsapi.TagException(textReservedTag)
	}
	return key.Untag(ctx, in.TagKeys)
}

// ListResourceTags implements [kmsapi.Handler].
func (s *Service) ListResourceTags(ctx context.Context, c *call.Call, in *kmsapi.ListResourceTagsInput, out *kmsapi.ListResourceTagsOutput) error {
	return serve(ctx, s, c, in, out, (*Service).listResourceTags)
}

func (s *Service) listResourceTags(ctx context.Context, c *call.Call, in *kmsapi.ListResourceTagsInput, out *kmsapi.ListResourceTagsOutput) error {
	limit, err := pageSize(in.Limit, 50, 50)
	if err != nil {
		return err
	}
	key, err := s.use(ctx, c, &toListResourceTags, in.KeyID, nil)
	if err != nil {
		return err
	}
	m := key.Metadata()
	after, err := s.resume(c, m.ID, in.Marker)
	if err != nil {
		return err
	}
	// By tag key, so that a page goes on in the right place even if tags came
	// or went since the page before.
	tags := slices.Clone(m.Tags)
	slices.SortFunc(tags, func(a, b keyring.Tag) int { return strings.Compare(a.Key, b.Key) })
	if in.Marker != "" {
		tags = slices.DeleteFunc(tags, func(t keyring.Tag) bool { return t.Key <= after })
	}
	if len(tags) > limit {
		tags = tags[:limit]
		out.Truncated = true
		if out.NextMarker, err = s.marker(c, m.ID, tags[limit-1].Key); err != nil {
			return err
		}
	}
	out.Tags = make([]kmsapi.Tag, len(tags))
	for i, t := range tags {
		out.Tags[i] = kmsapi.Tag{TagKey: t.Key, TagValue: t.Value}
	}
	return nil
}

const (
	textDuplicateTags = "Duplicate tag keys"
	textReservedTag   = "Tags beginning with aws: are reserved"
	textTooManyTags   = "Too many tags"
)

// newTags is checkTags for a key that is to be made.
func newTags(in []kmsapi.Tag) ([]keyring.Tag, error) {
	tags, err := checkTags(in)
	if err == nil && len(tags) > keyring.MaxTags {
		err = kmsapi.TagException(textTooManyTags)
	}
	return tags, err
}

// checkTags returns tags that a key can be given. How many there are is checked
// where they are put.
func checkTags(in []kmsapi.Tag) ([]keyring.Tag, error) {
	tags := make([]keyring.Tag, len(in))
	seen := make(map[string]bool, len(in))
	reserved := false
	for i, t := range in {
		if seen[t.TagKey] {
			return nil, kmsapi.TagException(textDuplicateTags)
		}
		seen[t.TagKey] = true
		reserved = reserved || tag.Reserved(t.TagKey)
		tags[i] = keyring.Tag{Key: t.TagKey, Value: t.TagValue}
	}
	if reserved {
		return nil, kmsapi.TagException(textReservedTag)
	}
	return tags, nil
}
