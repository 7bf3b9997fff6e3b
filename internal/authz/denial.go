package authz

import (
	"hash/maphash"
	"slices"
	"strconv"
	"strings"

	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/policy"
)

// requestKeys are the condition keys of requests whose names have no variable
// part.
var requestKeys = []string{
	"kms:bypasspolicylockoutsafetycheck", "kms:datakeypairspec", "kms:encryptionalgorithm", "kms:encryptioncontextkeys", "kms:expirationmodel",
	"kms:grantconstraintsourcearn", "kms:grantconstrainttype", "kms:grantoperations", "kms:granteeprincipal", "kms:granteeserviceprincipal",
	"kms:keyagreementalgorithm", "kms:keyorigin", "kms:keyspec", "kms:keyusage", "kms:macalgorithm", "kms:messagetype", "kms:multiregion",
	"kms:multiregionkeytype", "kms:primaryregion", "kms:reencryptonsamekey", "kms:replicaregion", "kms:requestalias", "kms:retiringprincipal",
	"kms:retiringserviceprincipal", "kms:rotationperiodindays", "kms:schedulekeydeletionpendingwindowindays", "kms:signingalgorithm",
	"kms:trailingdayswithoutkeyusage", "kms:validto", "kms:wrappingalgorithm", "kms:wrappingkeyspec",
	"aws:tagkeys",
	"iam:permissionsboundary", "iam:policyarn",
	"sts:externalid", "sts:rolesessionname", "sts:sourceidentity", "sts:transitivetagkeys",
}

// attestationKeys are all kms:RecipientAttestation:….
// Sources: "Condition keys for Nitro Enclaves" and "Condition keys for NitroTPM"
// in the AWS KMS Developer Guide.
var attestationKeys = func() (keys []policy.Key) {
	add := func(sub string) { keys = append(keys, policy.ParseKey("kms:RecipientAttestation:"+sub)) }
	add("ImageSha384")
	for n := range 32 {
		add("PCR" + strconv.Itoa(n))
	}
	for n := range 24 {
		add("NitroTPMPCR" + strconv.Itoa(n))
	}
	return keys
}()

// denial is what was asked, for the call that was denied it. Nothing of it is
// shared with the request.
func (d *decider) denial(o outcome) *call.Denial {
	if d.p == nil || o.why == hidden && d.stranger() {
		return &call.Denial{Action: d.action, Region: d.c.Region, Hidden: true}
	}
	n := &call.Denial{
		Action: d.action, Region: d.c.Region, Resource: d.r.ARN, Account: d.r.Account, FromCiphertext: d.r.FromCiphertext, Values: make(policy.Values), Marks: d.marks(),
	}
	if d.retired != nil {
		n.Retired = d.retired.ID
	}
	for _, g := range d.byToken {
		n.Grants = append(n.Grants, g.ID)
	}
	if d.q == nil {
		return n
	}
	for _, p := range d.q.Context {
		n.Context = append(n.Context, call.Pair{Name: p.Name, Value: p.Value})
	}
	if g := d.q.Child; g != nil {
		child := &call.DeniedGrant{Operations: slices.Clone(g.Operations), SourceARN: g.SourceARN}
		for _, p := range g.Equals {
			child.Equals = append(child.Equals, call.Pair{Name: p.Name, Value: p.Value})
		}
		for _, p := range g.Subset {
			child.Subset = append(child.Subset, call.Pair{Name: p.Name, Value: p.Value})
		}
		n.Child = child
	}
	if d.q.Values == nil {
		return n
	}
	own := d.act.keys &^ d.resourceKeys
	for _, name := range requestKeys {
		bit, _ := keyOf(name)
		if own&bit == 0 {
			continue
		}
		if v := d.q.Values.Value(&policy.Key{Name: name}); v.Exists() {
			n.Values[name] = v
		}
	}
	if own&keyRecipientAttestation != 0 {
		for i := range attestationKeys {
			k := &attestationKeys[i]
			if v := d.q.Values.Value(k); v.Exists() {
				n.Values[k.String()] = v
			}
		}
	}
	if own&keyRequestTag != 0 {
		keys := n.Values["aws:tagkeys"]
		for _, tag := range keys.Texts() {
			if v := d.q.Values.Value(&policy.Key{Name: "aws:requesttag/", Sub: tag}); v.Exists() {
				n.Tags = append(n.Tags, call.Pair{Name: tag, Value: v.String()})
			}
		}
	}
	return n
}

// markSeed is of this process.
var markSeed = maphash.MakeSeed()

// marks returns a mark of what the policies of each layer are.
func (d *decider) marks() (marks [layers]uint64) {
	var h maphash.Hash
	h.SetSeed(markSeed)
	mark := func(t LayerType) {
		marks[t] = h.Sum64()
		h.Reset()
	}
	add := func(list ...call.Attached) {
		for i := range list {
			h.WriteString(list[i].Name)
			h.WriteString(list[i].ARN)
			if p := list[i].Policy; p != nil {
				h.WriteByte(0)
				h.WriteString(p.Text())
			}
			h.WriteByte(1)
		}
	}
	levels := func(o *call.Organization, t LayerType) {
		if o != nil && !o.Management {
			set := o.ServiceControl
			if t == ResourceControl {
				set = o.ResourceControl
			}
			for _, list := range set {
				add(list...)
				h.WriteByte(2)
			}
			h.WriteString(o.Broken)
		}
		mark(t)
	}
	levels(d.p.Organization, ServiceControl)
	levels(d.owner, ResourceControl)
	if d.c.Endpoint != nil {
		add(d.c.Endpoint.Policy)
	}
	mark(Endpoint)
	if d.r.Policy != nil {
		h.WriteString(d.r.Policy.Text())
	}
	mark(ResourceBased)
	own := &d.p.Policies
	if own.Boundary != nil {
		add(*own.Boundary)
	}
	mark(Boundary)
	add(own.Session...)
	mark(Session)
	add(own.Identity...)
	h.WriteString(own.Broken)
	mark(Identity)
	return marks
}

// Shared reports whether an action on something can be let be done by other
// accounts than the one that owns it.
func Shared(action string) bool { return actions[action].shared }

// Actions returns the known actions of a service ("kms"), sorted.
func Actions(service string) []string {
	var list []string
	for name := range actions {
		if strings.HasPrefix(name, service+":") {
			list = append(list, name)
		}
	}
	slices.Sort(list)
	return list
}
