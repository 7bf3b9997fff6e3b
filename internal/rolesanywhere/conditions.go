package rolesanywhere

import (
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/tag"
	"github.com/keyreeve/keyreeve/policy"
)

// conditions are the condition keys of the session that is asked for.
type conditions struct{ who *subject }

// Value implements [policy.Context].
func (q *conditions) Value(k *policy.Key) policy.Value {
	switch k.Name {
	case "sts:rolesessionname":
		return policy.String(q.who.name)
	case "sts:sourceidentity":
		return policy.String(q.who.sourceIdentity)
	case "aws:tagkeys":
		if len(q.who.tags) == 0 {
			break
		}
		keys := make([]string, len(q.who.tags))
		for i, t := range q.who.tags {
			keys[i] = t.Name
		}
		return policy.Strings(keys)
	case "aws:requesttag/":
		return tag.Value(q.who.tags, k.Sub)
	}
	return policy.Value{}
}

// tagValues are the condition keys of a role: its tags.
type tagValues []call.Pair

// Value implements [policy.Context].
func (t tagValues) Value(k *policy.Key) policy.Value {
	if k.Name == "aws:resourcetag/" {
		return tag.Value(t, k.Sub)
	}
	return policy.Value{}
}
