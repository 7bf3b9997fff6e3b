// Package tag says what the keys of tags mean, for every service alike: they are
// compared in any case, and some are AWS's own.
package tag

import (
	"strings"

	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/policy"
)

// Value returns the value of the tag with a key, as the condition keys
// aws:RequestTag/KEY and aws:ResourceTag/KEY have it; none if there is no such
// tag. Of keys that differ only in case, the first counts.
func Value(tags []call.Pair, key string) policy.Value {
	for _, t := range tags {
		if strings.EqualFold(t.Name, key) {
			return policy.String(t.Value)
		}
	}
	return policy.Value{}
}

// Reserved reports whether a tag key begins with "aws:", in any case, and so is
// AWS's own. Keys are compared by Unicode's folding, by which aw\u017f: is the
// same.
func Reserved(key string) bool {
	prefix, _, ok := strings.Cut(key, ":")
	return ok && strings.EqualFold(prefix, "aws")
}
