package sts

import (
	"strings"

	"github.com/keyreeve/keyreeve/internal/api/stsapi"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/tag"
	"github.com/keyreeve/keyreeve/policy"
)

// conditions are the condition keys of a request. The zero value has none.
type conditions struct {
	externalID, sessionName, sourceIdentity string

	tags       []call.Pair
	tagKeys    []string
	transitive []string
}

// Value implements [policy.Context].
func (q *conditions) Value(k *policy.Key) policy.Value {
	switch k.Name {
	case "sts:externalid":
		return text(q.externalID)
	case "sts:rolesessionname":
		return text(q.sessionName)
	case "sts:sourceidentity":
		return text(q.sourceIdentity)
	case "sts:transitivetagkeys":
		return texts(q.transitive)
	case "aws:tagkeys":
		return texts(q.tagKeys)
	case "aws:requesttag/":
		return tag.Value(q.tags, k.Sub)
	}
	return policy.Value{}
}

func text(s string) policy.Value {
	if s == "" {
		return policy.Value{}
	}
	return policy.String(s)
}

func texts(list []string) policy.Value {
	if len(list) == 0 {
		return policy.Value{}
	}
	return policy.Strings(list)
}

// roleValues are the condition keys of a role: its tags.
type roleValues struct{ tags []call.Pair }

// Value implements [policy.Context].
func (r *roleValues) Value(k *policy.Key) policy.Value {
	if k.Name == "aws:resourcetag/" {
		return tag.Value(r.tags, k.Sub)
	}
	return policy.Value{}
}

// setTags takes the tags that a session is to have, and which of them are to
// live on in the sessions that it makes. Keys that differ only in case are one.
func (q *conditions) setTags(caller *call.Principal, tags []stsapi.Tag, transitive []string) error {
	var inherited []string
	if caller.Session != nil {
		inherited = caller.Session.Transitive
	}
	keys := map[string]bool{}
	for _, t := range tags {
		folded := strings.ToLower(t.Key)
		switch {
		case keys[folded]:
			return invalid("Duplicate tag keys found. Please note that Tag keys are case insensitive.")
		case tag.Reserved(t.Key):
			return invalid("Tag keys beginning with aws: are reserved.")
		}
		keys[folded] = true
		q.tags = append(q.tags, call.Pair{Name: t.Key, Value: t.Value})
		q.tagKeys = append(q.tagKeys, t.Key)
	}
	seen := map[string]bool{}
	for _, key := range transitive {
		folded := strings.ToLower(key)
		if !keys[folded] {
			return invalid("The specified transitive tag key must be included in the requested tags.")
		}
		if !seen[folded] {
			seen[folded] = true
			q.transitive = append(q.transitive, key)
		}
	}
	for _, key := range inherited {
		if keys[strings.ToLower(key)] {
			return invalid("One of the specified transitive tag keys can't be set because it conflicts with a transitive tag key from the calling session.")
		}
	}
	return nil
}
