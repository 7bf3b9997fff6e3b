package identity

import (
	"strings"

	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/record"
)

// What is cached is bounded in bytes, too, for whoever may write policies or tags
// decides how large a record is. A policy that several hold counts for each of
// them; AWS's managed ones, which are always there, count for none.

func limit[V any](count int, bytes int64, cost func(V) int) record.Limit[V] {
	return record.Limit[V]{Count: count, Bytes: bytes, Cost: cost}
}

// costText is what a text takes beside its bytes: its place, and rounding up.
const costText = 16 + 8

func textsCost(list []string) int {
	n := 0
	for _, s := range list {
		n += costText + len(s)
	}
	return n
}

func pairsCost(list []call.Pair) int {
	n := 0
	for _, p := range list {
		n += 2*costText + len(p.Name) + len(p.Value)
	}
	return n
}

// attachedCost is the size of a call.Attached.
const attachedCost = 56

// policiesCost returns what policies cost that something holds.
func policiesCost(list []call.Attached) int {
	n := 0
	for i := range list {
		n += policyCost(&list[i])
	}
	return n
}

func policyCost(a *call.Attached) int {
	if a.Policy == nil || awsManaged[a.ARN] != nil || strings.HasPrefix(a.ARN, "arn:"+partition+":organizations::aws:") {
		return attachedCost
	}
	return attachedCost + len(a.ARN) + len(a.Name) + a.Policy.Cost()
}

func (u unique) cost() int { return 64 + len(u.account) + len(u.name) }

func (o *Organization) cost() int {
	return 192 + len(o.ID) + len(o.Root) + len(o.Master) + 24*len(o.Types) + textsCost(o.Policies) + pairsCost(o.Tags)
}

func (u *Unit) cost() int {
	return 192 + len(u.Organization) + len(u.ID) + len(u.Name) + len(u.Parent) + textsCost(u.Policies) + pairsCost(u.Tags)
}

// cost includes the account's place in its organization, with the policies on
// the way to it: a cache is to be told when that is composed.
func (a *cachedAccount) cost() int {
	n := 512 + len(a.Name) + len(a.Email) + textsCost(a.AccessKeys) + textsCost(a.policies) + textsCost(a.Regions) + 16*len(a.closed) + pairsCost(a.Tags)
	if p := a.place.Load(); p != nil && p.organization != nil {
		n += 256 + len(p.organization.Path)
		for _, levels := range [...][][]call.Attached{p.organization.ServiceControl, p.organization.ResourceControl} {
			for _, level := range levels {
				n += 24 + policiesCost(level)
			}
		}
	}
	return n
}

func (e *cachedEntity) cost() int {
	return 640 + len(e.name) + len(e.path) + len(e.description) + len(e.trust) +
		pairsCost(e.tags) + pairsCost(e.entity.inline) + pairsCost(e.attached) + pairsCost(e.trusted) + len(e.boundary.Name) + len(e.boundary.Value) +
		textsCost(e.accessKeys) + textsCost(e.groups) + policiesCost(e.inline)
}

// cost includes the principal that was composed: the cache is to be told when it
// is.
func (k *accessKey) cost() int {
	n := 1024
	if b := k.bound.Load(); b != nil {
		n += principalCost(b.principal)
	}
	return n
}

// cost includes the principal that was composed.
func (s *session) cost() int {
	n := 1536 + len(s.token) + len(s.policy) + pairsCost(s.tags) + textsCost(s.transitive) + pairsCost(s.managed) + pairsCost(s.claims) + policiesCost(s.policies)
	if b := s.bound.Load(); b != nil {
		n += principalCost(b.principal)
	}
	return n
}

// principalCost returns what a principal costs: but for the place in its
// organization, which is the account's.
func principalCost(p *call.Principal) int {
	n := 1024 + pairsCost(p.Tags) + policiesCost(p.Policies.Identity) + policiesCost(p.Policies.Session)
	if p.Policies.Boundary != nil {
		n += policyCost(p.Policies.Boundary)
	}
	return n
}

func (p *cachedPolicy) cost() int {
	n := 384 + len(p.name) + len(p.path) + len(p.description) + pairsCost(p.tags) + policyCost(&p.Attached)
	for i := range p.versions {
		n += 48 + costText + len(p.versions[i].document)
	}
	return n
}

func (p *cachedControl) cost() int {
	return 256 + len(p.OrganizationPolicy.Name) + len(p.Description) + len(p.Content) + len(p.OrganizationPolicy.ARN) + pairsCost(p.Tags) + policyCost(&p.Attached)
}
