package cloudtrail

import (
	"context"
	"slices"
	"strconv"
	"strings"

	api "github.com/keyreeve/keyreeve/internal/api/cloudtrailapi"
	"github.com/keyreeve/keyreeve/internal/arn"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/tag"
	"github.com/keyreeve/keyreeve/internal/trail"
)

// maxResources is how many ARNs ListTags takes. Source: ListTags in the AWS
// CloudTrail API Reference.
const maxResources = 20

// pairs are the tags of a trail as condition keys have them.
func pairs(tags []trail.Tag) []call.Pair {
	list := make([]call.Pair, len(tags))
	for i, t := range tags {
		list[i] = call.Pair{Name: t.Key, Value: t.Value}
	}
	return list
}

// checkTags returns the tags of a request.
func checkTags(in []api.Tag) (tags []trail.Tag, q conditions, err error) {
	if len(in) > trail.MaxTags {
		return nil, q, errTags()
	}
	for _, t := range in {
		switch {
		case tag.Reserved(t.Key):
			return nil, q, api.InvalidTagParameterException("Tag keys that begin with aws: are reserved.")
		case slices.Contains(q.tagKeys, t.Key):
			return nil, q, api.InvalidTagParameterException("Tag keys must be unique.")
		}
		tags = append(tags, trail.Tag{Key: t.Key, Value: t.Value})
		q.tagKeys = append(q.tagKeys, t.Key)
	}
	q.tags = pairs(tags)
	return tags, q, nil
}

// tagTarget finds the trail of an ARN that is tagged, which is there, in its
// home Region.
func (s *Service) tagTarget(ctx context.Context, c *call.Call, text string, q conditions) (*trail.Trail, error) {
	if !arn.Is(text) {
		return nil, errARN()
	}
	if a, err := arn.Parse(text); err == nil && a.Service == "cloudtrail" && !strings.HasPrefix(a.Resource, "trail/") {
		return nil, api.ResourceTypeNotSupportedException("Trails alone have tags.")
	}
	r, err := parseARN(c, text)
	if err != nil {
		return nil, err
	}
	if r.Region != c.Region {
		return nil, errOtherRegion(c.Region)
	}
	t, err := s.find(ctx, c, r, q)
	if err != nil {
		return nil, err
	}
	switch {
	case t.found == nil:
		return nil, api.ResourceNotFoundException("Unknown trail: " + t.arn + " for the user: " + c.Caller.Account)
	case !c.Operation.ReadOnly && !atHome(c, r):
		return nil, errNotMaster()
	}
	return t.found, nil
}

// AddTags implements [api.Handler].
func (s *Service) AddTags(ctx context.Context, c *call.Call, in *api.AddTagsInput, _ *api.AddTagsOutput) error {
	tags, q, err := checkTags(in.TagsList)
	if err != nil {
		return err
	}
	return s.changeTags(ctx, c, in.ResourceID, q, func(t *trail.Trail) error {
		for _, add := range tags {
			i := slices.IndexFunc(t.Tags, func(have trail.Tag) bool { return have.Key == add.Key })
			if i >= 0 {
				t.Tags[i].Value = add.Value
				continue
			}
			t.Tags = append(t.Tags, add)
		}
		if len(t.Tags) > trail.MaxTags {
			return errTags()
		}
		return nil
	})
}

// RemoveTags implements [api.Handler]. The values of the tags do not matter.
func (s *Service) RemoveTags(ctx context.Context, c *call.Call, in *api.RemoveTagsInput, _ *api.RemoveTagsOutput) error {
	if len(in.TagsList) > maxTagsOnce {
		return errTags()
	}
	var q conditions
	for _, t := range in.TagsList {
		q.tagKeys = append(q.tagKeys, t.Key)
	}
	return s.changeTags(ctx, c, in.ResourceID, q, func(t *trail.Trail) error {
		t.Tags = slices.DeleteFunc(t.Tags, func(have trail.Tag) bool { return slices.Contains(q.tagKeys, have.Key) })
		return nil
	})
}

// maxTagsOnce is how many tags the API's model has in one request.
const maxTagsOnce = 200

func (s *Service) changeTags(ctx context.Context, c *call.Call, text string, q conditions, change func(*trail.Trail) error) error {
	t, err := s.tagTarget(ctx, c, text, q)
	if err != nil {
		return answer(err)
	}
	_, err = s.trails.Update(ctx, t.Ref, change)
	return (&refusal{trail: *t, account: c.Caller.Account}).answer(err)
}

// ListTags implements [api.Handler]. All tags are on one page.
func (s *Service) ListTags(ctx context.Context, c *call.Call, in *api.ListTagsInput, out *api.ListTagsOutput) error {
	if len(in.ResourceIDList) > maxResources {
		return api.InvalidParameterException("Specify at most " + strconv.Itoa(maxResources) + " ARNs.")
	}
	out.ResourceTagList = []api.ResourceTag{}
	for _, text := range in.ResourceIDList {
		t, err := s.tagTarget(ctx, c, text, conditions{})
		if err != nil {
			return answer(err)
		}
		one := api.ResourceTag{ResourceID: text, TagsList: []api.Tag{}}
		for _, have := range t.Tags {
			one.TagsList = append(one.TagsList, api.Tag{Key: have.Key, Value: have.Value})
		}
		out.ResourceTagList = append(out.ResourceTagList, one)
	}
	return refuseToken(in.NextToken)
}
