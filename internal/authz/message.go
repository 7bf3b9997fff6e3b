package authz

import (
	"strings"

	"github.com/keyreeve/keyreeve/internal/call"
)

// words returns what AWS's messages call policies of a layer.
func (t LayerType) words() string {
	switch t {
	case ServiceControl:
		return "service control policy"
	case ResourceControl:
		return "resource control policy"
	case Endpoint:
		return "VPC endpoint policy"
	case ResourceBased:
		return "resource-based policy"
	case Boundary:
		return "permissions boundary"
	case Session:
		return "session policy"
	case Identity:
		return "identity-based policy"
	}
	return "policy"
}

// String names the layer, such as "service control policy".
func (t LayerType) String() string { return t.words() }

// words says in one line how a decision ended, for the record.
func (o outcome) words() string {
	switch o.why {
	case hidden:
		return "the owner of the resource does not share it"
	case refused:
		return "no " + o.layer.words() + " allows it"
	case denied:
		return "explicit deny, " + o.layer.words()
	case rootAssumes:
		return "root users assume no roles"
	case byIdentity:
		return "allowed by identity-based policies"
	case byRoot:
		return "allowed to the root user"
	case byResource:
		return "allowed by the resource-based policy"
	case byBoth:
		return "allowed by resource-based and identity-based policies"
	case byGrant:
		return "allowed by grant " + o.grant.ID
	case byRetiring:
		return "allowed by the grant itself"
	case byAccountOf:
		return "allowed by identity-based policies of an account of the grant"
	}
	return "undecided"
}

// Ends of AWS's messages.
const (
	// crossAccount is for a resource of another account, or for one that does
	// not exist there, so that nobody learns which.
	crossAccount = " because the resource does not exist in this Region, no resource-based policies allow access, or a resource-based policy explicitly denies access"

	// rootMayNot is STS's answer to a root user.
	rootMayNot = "Roles may not be assumed by root accounts."
)

// message prints a denial in AWS's words. Sources: "Troubleshoot access denied
// error messages" in the IAM User Guide; texts of recorded answers.
func (d *decider) message(o outcome) string {
	assuming := d.kind == role && d.hasPolicy()
	if o.why == rootAssumes {
		return rootMayNot
	}
	var where string
	switch {
	case d.kind == newKey && !d.stranger():
		// It has no name yet.
	case d.kind == anything && strings.HasPrefix(d.action, "cloudtrail:"):
		// CloudTrail, other than KMS, does not say "*".
	case assuming || !d.stranger():
		where = " on resource: " + d.r.ARN
	default:
		where = place(d.r.FromCiphertext)
	}
	var end string
	layer := o.layer.words()
	switch {
	case o.why == hidden && assuming:
		// Of roles, AWS says no more.
	case o.why == hidden:
		end = crossAccount
	case o.layer == ResourceBased && assuming && o.why == denied:
		end = " with an explicit deny in the role trust policy"
	case o.layer == ResourceBased && assuming:
		end = " because no role trust policy allows the " + d.action + " action"
	case o.why == denied:
		article := " with an explicit deny in a "
		if o.layer == Identity {
			article = " with an explicit deny in an "
		}
		end = article + layer
	default:
		end = " because no " + layer + " allows the " + d.action + " action"
	}
	return beginning(d.p, d.action) + where + end
}

// stranger reports whether the resource's name is kept from the caller.
func (d *decider) stranger() bool { return d.p == nil || d.foreign() }

func beginning(p *call.Principal, action string) string {
	who := "anonymous"
	switch {
	case p == nil:
	case p.ARN != "":
		who = p.ARN
	case p.Kind == call.Service && len(p.Services) > 0:
		who = p.Services[0]
	}
	return "User: " + who + " is not authorized to perform: " + action
}

// place is how a resource is called whose name is kept from the caller.
func place(fromCiphertext bool) string {
	if fromCiphertext {
		return " on the resource associated with this ciphertext"
	}
	return " on this resource"
}

// DenyUnknown returns the denial for a resource that could not be found in a
// place where saying so would tell about another account's keys, or for the
// key that a ciphertext names and that is not there.
func DenyUnknown(c *call.Call, action string, fromCiphertext bool) *Denied {
	c.DecisionText = "denied: resource not found"
	c.Denial = &call.Denial{Action: action, Hidden: true}
	return &Denied{Action: action, Text: beginning(c.Caller, action) + place(fromCiphertext) + crossAccount}
}

// DenyUnknownRole returns the denial for a role that sts:AssumeRole names and
// that is not there. It reads as one for a role of another account that does
// not trust the caller.
func DenyUnknownRole(c *call.Call, action, roleARN string) *Denied {
	c.DecisionText = "denied: role not found"
	c.Denial = &call.Denial{Action: action, Hidden: true}
	return &Denied{Action: action, Text: beginning(c.Caller, action) + " on resource: " + roleARN}
}
