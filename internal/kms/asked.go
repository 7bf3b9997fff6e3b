package kms

import (
	"context"
	"strings"
	"sync"
	"unicode"

	"github.com/keyreeve/keyreeve/internal/api/kmsapi"
	"github.com/keyreeve/keyreeve/internal/arn"
	"github.com/keyreeve/keyreeve/internal/attestation"
	"github.com/keyreeve/keyreeve/internal/authz"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/keyring"
	"github.com/keyreeve/keyreeve/internal/wire"
	"github.com/keyreeve/keyreeve/policy"
)

// asked is what a request asks of one key, as policies and grants see it. Every
// operation says what it populates; a parameter that was left out and has a
// default is there with its default. Keys that do not depend on the operation's
// parameters are package authz's. Source: "AWS KMS condition keys" in the AWS
// KMS Developer Guide.
type asked struct {
	algorithm keyring.Algorithm // kms:EncryptionAlgorithm; empty for none
	context   wire.StringMap    // the encryption context
	names     []string          // of context, once they were asked for
	folded    map[string]int    // its pairs by their names without regard to case, once many were asked for
	alias     string            // by which the request names the key; empty if by none
	tags      []kmsapi.Tag      // that the request sets
	tagKeys   []string          // of the tags that it sets or removes
	more      []attribute

	attested *attestation.Document // of the recipient; nil for none

	tokens []string     // grant tokens
	child  *authz.Grant // that is asked for
}

// attribute is a condition key, in lower case, and its value.
type attribute struct {
	key   string
	value policy.Value
}

// Value implements [policy.Context].
func (a *asked) Value(k *policy.Key) policy.Value {
	switch k.Name {
	case "kms:encryptionalgorithm":
		return text(string(a.algorithm))
	case "kms:encryptioncontext:":
		return a.pair(k.Sub)
	case "kms:encryptioncontextkeys":
		if a.names == nil {
			a.names = names(a.context)
		}
		if len(a.names) > 0 {
			return policy.Strings(a.names)
		}
	case "kms:requestalias":
		return text(a.alias)
	case "kms:recipientattestation:":
		return attested(a.attested, k.Sub)
	case "aws:requesttag/":
		return tagValue(a.tags, k.Sub)
	case "aws:tagkeys":
		if len(a.tagKeys) > 0 {
			return policy.Strings(a.tagKeys)
		}
	}
	for i := range a.more {
		if a.more[i].key == k.Name {
			return a.more[i].value
		}
	}
	return policy.Value{}
}

// text returns the value of a key that is not there if it is empty.
func text(s string) policy.Value {
	if s == "" {
		return policy.Value{}
	}
	return policy.String(s)
}

// pair returns the value of an encryption context under a name, which policies
// do not tell apart by case: if there are several, the one that is written the
// same goes first, and else the first of them.
func (a *asked) pair(name string) policy.Value {
	ec := a.context
	if v, ok := ec.Get(name); ok {
		return policy.String(v)
	}
	if len(ec) > fewPairs {
		// Whoever writes the policy and the request could have all names held
		// against all others.
		if a.folded == nil {
			a.folded = make(map[string]int, len(ec))
			for i := len(ec) - 1; i >= 0; i-- {
				a.folded[fold(ec[i].Name)] = i
			}
		}
		if i, ok := a.folded[fold(name)]; ok {
			return policy.String(ec[i].Value)
		}
		return policy.Value{}
	}
	for i := range ec {
		if strings.EqualFold(ec[i].Name, name) {
			return policy.String(ec[i].Value)
		}
	}
	return policy.Value{}
}

// fewPairs is how many pairs of an encryption context are looked through.
const fewPairs = 32

// fold returns what two texts have in common just if strings.EqualFold says
// that they are the same.
func fold(s string) string {
	return strings.Map(func(r rune) rune {
		least := r
		for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
			least = min(least, f)
		}
		return least
	}, s)
}

// names returns the names of an encryption context.
func names(ec wire.StringMap) []string {
	list := make([]string, len(ec))
	for i := range ec {
		list[i] = ec[i].Name
	}
	return list
}

// tagValue is pair for tags.
func tagValue(tags []kmsapi.Tag, key string) policy.Value {
	var like policy.Value
	found := false
	for i := range tags {
		if tags[i].TagKey == key {
			return policy.String(tags[i].TagValue)
		}
		if !found && strings.EqualFold(tags[i].TagKey, key) {
			like, found = policy.String(tags[i].TagValue), true
		}
	}
	return like
}

// tagKeys returns the keys of tags.
func tagKeys(tags []kmsapi.Tag) []string {
	if len(tags) == 0 {
		return nil
	}
	keys := make([]string, len(tags))
	for i := range tags {
		keys[i] = tags[i].TagKey
	}
	return keys
}

// flag returns a parameter that may be absent, under a condition key.
func flag(key string, set *bool) []attribute {
	if set == nil {
		return nil
	}
	return []attribute{{key, policy.Bool(*set)}}
}

const bypassKey = "kms:bypasspolicylockoutsafetycheck"

// A question is what authorization is asked. Questions are used again.
type question struct {
	resource authz.Resource
	request  authz.Request
	asked    asked
}

var questions = sync.Pool{New: func() any { return new(question) }}

// newQuestion returns a question about a resource, to be given back.
func newQuestion(r authz.Resource, a *asked) *question {
	q := questions.Get().(*question)
	q.resource = r
	if a != nil {
		q.asked = *a
		q.request = authz.Request{Values: &q.asked, Context: a.context, GrantTokens: a.tokens, Child: a.child}
	}
	return q
}

// done gives a question back: nothing of it is kept by whoever was asked.
func (q *question) done() {
	*q = question{}
	questions.Put(q)
}

// ask returns the permit for an action on a resource.
func (s *Service) ask(ctx context.Context, c *call.Call, action string, r authz.Resource, a *asked) (authz.Permit, error) {
	q := newQuestion(r, a)
	defer q.done()
	return s.az.Decide(ctx, c, action, &q.resource, &q.request)
}

// decide returns the permit for an action on a found key.
func (s *Service) decide(ctx context.Context, c *call.Call, action string, f found, a *asked) (authz.Permit, error) {
	if f.subject == nil {
		return authz.Permit{}, authz.DenyUnknown(c, action, f.fromCiphertext)
	}
	r := f.subject.Resource()
	r.FromCiphertext = f.fromCiphertext
	if a == nil {
		return s.ask(ctx, c, action, r, nil)
	}
	if len(a.tokens) > 0 {
		// Another node may just have made the key's first grant.
		r.Grants = f.subject.Grants()
	}
	with := *a
	with.alias = f.alias
	return s.ask(ctx, c, action, r, &with)
}

// decideAll returns the permit for an action that is done to no one key.
func (s *Service) decideAll(ctx context.Context, c *call.Call, action string, a *asked) (authz.Permit, error) {
	return s.ask(ctx, c, action, authz.Resource{ARN: "*", Account: c.Caller.Account}, a)
}

// decideAlias returns the permit for an action on an alias of the caller's
// account, whether it exists or not.
func (s *Service) decideAlias(ctx context.Context, c *call.Call, action, name string) (authz.Permit, error) {
	account := c.Caller.Account
	return s.ask(ctx, c, action, authz.Resource{ARN: arn.Alias(c.Region, account, name), Account: account}, nil)
}
