package keyring

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"weak"

	"github.com/keyreeve/keyreeve/internal/arn"
	"github.com/keyreeve/keyreeve/internal/authz"
	"github.com/keyreeve/keyreeve/internal/record"
	"github.com/keyreeve/keyreeve/policy"
)

// PolicyName is the name of every key policy.
const PolicyName = "default"

// MaxPolicy is the largest size of a key policy, in bytes. Source: "Quotas" in
// the AWS KMS Developer Guide.
const MaxPolicy = 32 << 10

// Binding says who a user or role is that a key policy names: the one with this
// unique id, whoever has the name later.
type Binding struct{ ARN, ID string }

// CompilePolicy parses and compiles a new key policy, and binds the users and
// roles that it names. Equal policies are compiled once and shared. Errors are
// *policy.Error.
func CompilePolicy(text string, bindings []Binding) (*policy.Policy, error) {
	return compilePolicy(text, sortBindings(bindings), false)
}

// SetPolicy replaces the key policy; nothing is written if it is the same. A
// text that is no policy is *policy.Error. Action: kms:PutKeyPolicy.
func (k Key) SetPolicy(ctx context.Context, text string, bindings []Binding) error {
	if err := k.may(mayPutPolicy); err != nil {
		return err
	}
	if len(text) > MaxPolicy {
		return ErrParameter
	}
	m := k.s.m
	m.Policy, m.Bindings = text, sortBindings(bindings)
	if _, err := compilePolicy(m.Policy, m.Bindings, false); err != nil {
		return err
	}
	if m.Policy == k.s.m.Policy && slices.Equal(m.Bindings, k.s.m.Bindings) {
		return nil
	}
	return k.change(ctx, &m, nil)
}

// Policy returns the compiled key policy; nil if it does not compile, which
// denies. Whoever may open the key for anything has been decided on by it.
func (k Key) Policy() *policy.Policy {
	if k.s == nil {
		return nil
	}
	return k.s.policy
}

// sortBindings returns bindings in the order in which they are kept, each ARN
// once.
func sortBindings(bindings []Binding) []Binding {
	if len(bindings) == 0 {
		return nil
	}
	sorted := slices.Clone(bindings)
	slices.SortStableFunc(sorted, func(a, b Binding) int { return strings.Compare(a.ARN, b.ARN) })
	return slices.CompactFunc(sorted, func(a, b Binding) bool { return a.ARN == b.ARN })
}

// compiled has each policy that is in use once, by what it was compiled from.
// It keeps none alive: a policy that no key has any more goes.
var compiled sync.Map // [sha256.Size]byte → weak.Pointer[policy.Policy]

// compilePolicy returns the compiled policy. One that is stored may be what was
// valid once, and is not for new ones.
func compilePolicy(text string, bindings []Binding, stored bool) (*policy.Policy, error) {
	content := policyContent(text, bindings, stored)
	if w, ok := compiled.Load(content); ok {
		if p := w.(weak.Pointer[policy.Policy]).Value(); p != nil {
			return p, nil
		}
	}
	p, err := policy.Parse(text, policy.Options{Type: policy.KeyPolicy, Stored: stored})
	if err != nil {
		return nil, err
	}
	if len(bindings) > 0 {
		ids := make(map[string]string, len(bindings))
		for _, b := range bindings {
			ids[b.ARN] = b.ID
		}
		p = p.Bind(ids)
	}
	return share(content, p), nil
}

// share puts a compiled policy among those that are shared, or returns the one
// that is there.
func share(content [sha256.Size]byte, p *policy.Policy) *policy.Policy {
	mine := weak.Make(p)
	for {
		was, loaded := compiled.LoadOrStore(content, mine)
		if !loaded {
			break
		}
		if there := was.(weak.Pointer[policy.Policy]).Value(); there != nil {
			return there
		}
		if compiled.CompareAndSwap(content, was, mine) {
			break
		}
	}
	runtime.AddCleanup(p, func(content [sha256.Size]byte) { compiled.CompareAndDelete(content, mine) }, content)
	return p
}

// policyContent is what a compiled policy depends on.
func policyContent(text string, bindings []Binding, stored bool) [sha256.Size]byte {
	size := len(text) + 16
	for _, b := range bindings {
		size += len(b.ARN) + len(b.ID) + 4
	}
	b := make([]byte, 0, size)
	b = append(b, 0)
	if stored {
		b[0] = 1
	}
	b = appendText(b, text)
	for _, binding := range bindings {
		b = appendText(appendText(b, binding.ARN), binding.ID)
	}
	return sha256.Sum256(b)
}

// defaultPolicies holds each account's default key policy once.
var defaultPolicies sync.Map // partition and account → *defaultPolicy

type defaultPolicy struct {
	text    string
	compile func() (*policy.Policy, error)
}

// DefaultPolicy returns the key policy that a key gets if none is given, as the
// API prints it: the account decides, by its IAM policies. The text is never
// changed, since records refer to it.
func DefaultPolicy(region, account string) string { return defaultPolicyOf(region, account).text }

func defaultPolicyOf(region, account string) *defaultPolicy {
	type name struct{ partition, account string }
	n := name{arn.Partition(region), account}
	if p, ok := defaultPolicies.Load(n); ok {
		return p.(*defaultPolicy)
	}
	n.account = strings.Clone(account)
	made := &defaultPolicy{text: `{
  "Version" : "2012-10-17",
  "Id" : "key-default-1",
  "Statement" : [ {
    "Sid" : "Enable IAM User Permissions",
    "Effect" : "Allow",
    "Principal" : {
      "AWS" : "` + arn.Root(n.partition, account) + `"
    },
    "Action" : "kms:*",
    "Resource" : "*"
  } ]
}`}
	made.compile = sync.OnceValues(func() (*policy.Policy, error) {
		return policy.Parse(made.text, policy.Options{Type: policy.KeyPolicy})
	})
	p, _ := defaultPolicies.LoadOrStore(n, made)
	return p.(*defaultPolicy)
}

// policyOf returns the compiled policy of a key, as it is stored.
func policyOf(m *Metadata) (*policy.Policy, error) {
	if len(m.Bindings) == 0 {
		if d := defaultPolicyOf(m.Region, m.Account); m.Policy == d.text {
			return d.compile()
		}
	}
	return compilePolicy(m.Policy, m.Bindings, true)
}

// NewResource returns what authorization is asked about a key that is to be made
// with a policy that [CompilePolicy] has compiled: as if it were there, under
// some id.
func NewResource(params *CreateParams, p *policy.Policy) authz.Resource {
	m := Metadata{
		ARN: arn.Key(params.Region, params.Account, newUUID()), Account: params.Account, Region: params.Region,
		Spec: params.Spec, Usage: params.Usage, Origin: cmp.Or(params.Origin, AWSKMS), Tags: params.Tags,
	}
	if params.MultiRegion {
		m.MultiRegion = &MultiRegion{Primary: m.Region, Regions: []string{m.Region}}
	}
	key := &Subject{m: m, policy: p}
	return key.Resource()
}

// values is a Subject as the condition keys that describe the key.
type values Subject

// Value implements [policy.Context]. Sources: "AWS KMS condition keys" in the
// AWS KMS Developer Guide; "Actions, resources, and condition keys for AWS Key
// Management Service" in the Service Authorization Reference.
func (v *values) Value(k *policy.Key) policy.Value {
	switch k.Name {
	case "kms:keyspec", "kms:customermasterkeyspec":
		return policy.String(string(v.m.Spec))
	case "kms:keyusage", "kms:customermasterkeyusage":
		return policy.String(string(v.m.Usage))
	case "kms:keyorigin":
		return policy.String(string(v.m.Origin))
	case "kms:multiregion":
		return policy.Bool(v.m.MultiRegion != nil)
	case "kms:multiregionkeytype":
		switch {
		case v.m.IsPrimary():
			return policy.String("PRIMARY")
		case v.m.IsReplica():
			return policy.String("REPLICA")
		}
	case "kms:resourcealiases":
		if names := v.names.Load(); names != nil && len(*names) > 0 {
			return policy.Strings(*names)
		}
	case "aws:resourcetag/":
		return v.tag(k.Sub)
	}
	return policy.Value{}
}

// tag returns the value of a tag. Tag keys are told apart by case, and found
// without it: of several, the one that is written the same goes first.
func (v *values) tag(key string) policy.Value {
	var like policy.Value
	found := false
	for _, t := range v.m.Tags {
		if t.Key == key {
			return policy.String(t.Value)
		}
		if !found && strings.EqualFold(t.Key, key) {
			like, found = policy.String(t.Value), true
		}
	}
	return like
}

// nameAliases has a Subject know the names of its aliases, if its record is from
// before it had them. They cannot change without the record.
func (r *Ring) nameAliases(ctx context.Context, s *Subject) error {
	m := &s.m
	prefix := aliasOfKey(m.Account, m.Region, m.ID, "")
	names := make([]string, 0, m.Aliases)
	_, err := r.page(ctx, record.KindAliasOf, prefix, "", MaxAliases, func(rec record.Record) (bool, error) {
		names = append(names, rec.Key[len(prefix):])
		return true, nil
	})
	if err != nil {
		return fmt.Errorf("listing aliases of %s: %w", m.ARN, err)
	}
	s.names.Store(&names)
	return nil
}

// aliasesOf returns the names of the key's aliases, sorted, which the caller
// must not change.
func (r *Ring) aliasesOf(ctx context.Context, s *Subject) ([]string, error) {
	if s.m.Aliases == 0 {
		return nil, nil
	}
	if s.names.Load() == nil {
		if err := r.nameAliases(ctx, s); err != nil {
			return nil, err
		}
	}
	return *s.names.Load(), nil
}

// withAlias and withoutAlias return the names with one more, and with one less.
func withAlias(names []string, name string) []string {
	i, there := slices.BinarySearch(names, name)
	if there {
		return names
	}
	return slices.Insert(slices.Clone(names), i, name)
}

func withoutAlias(names []string, name string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(s string) bool { return s == name })
}
