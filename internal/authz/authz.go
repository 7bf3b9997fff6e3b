// Package authz decides a call from every policy that applies, and issues
// permits.
//
// Nothing opens a key without a [Permit], and only this package makes one.
// Policies other than an administrator's standing in its own account are not
// evaluated yet: whoever is not the administrator of the account that owns the
// resource is denied.
package authz

import (
	"errors"

	"github.com/keyreeve/keyreeve/internal/call"
)

// Resource is what an action would be done to.
type Resource struct {
	ARN      string // full ARN, or "*" for an action without a resource: good in the one account
	Account  string // owner, 12 digits
	Revision int64  // of the key's record, for a permit that opens it

	// FromCiphertext says that the key was named by a ciphertext rather than
	// by the caller, which changes the text of a denial.
	FromCiphertext bool
}

// Permit is the proof that an action on a resource was allowed in a call. The
// zero value is refused everywhere.
type Permit struct {
	call     *call.Call // nil for the system's own work
	job      string     // name of that work; empty in a call
	action   string
	resource string
	account  string // that owns the resource
	revision int64
}

// ErrNoPermit is returned where a permit is missing or was made for another
// call, action or resource. It is a bug in this program, never the caller's.
var ErrNoPermit = errors.New("authz: no permit for this")

// Action returns the action that p permits, such as "kms:Decrypt".
func (p Permit) Action() string { return p.action }

// Resource returns the ARN that p is good for.
func (p Permit) Resource() string { return p.resource }

// Account returns the account that owns what p is good for.
func (p Permit) Account() string { return p.account }

// Revision returns the revision of the key's record that p was decided on.
func (p Permit) Revision() int64 { return p.revision }

// Check returns nil if p was made for call c (nil for the system's own work)
// and the resource, else ErrNoPermit.
func (p Permit) Check(c *call.Call, resource string) error {
	if p.action == "" || p.resource != resource || p.call != c || (p.call == nil) != (p.job != "") {
		return ErrNoPermit
	}
	return nil
}

// CheckAll returns nil if p was made for call c (nil for the system's own work)
// and is for "*" in the account, else ErrNoPermit.
func (p Permit) CheckAll(c *call.Call, account string) error {
	if p.account != account {
		return ErrNoPermit
	}
	return p.Check(c, "*")
}

// Denied is a decision against a call. Its text is AWS's AccessDenied message.
type Denied struct {
	Action string
	Text   string
}

func (d *Denied) Error() string { return d.Text }

// Authorizer decides calls. The zero value is ready.
type Authorizer struct{}

// Decide returns a permit if the call's principal may do action on r, else a
// *Denied. The decision is noted in the call.
func (a *Authorizer) Decide(c *call.Call, action string, r Resource) (Permit, error) {
	p := c.Caller
	var why string
	switch {
	case p == nil || p.Kind == call.Nobody:
		why = crossAccount
	case r.Account != p.Account:
		why = crossAccount
	case p.Administrator():
		c.DecisionText = "allowed: administrator of the owning account"
		return Permit{call: c, action: action, resource: r.ARN, account: r.Account, revision: r.Revision}, nil
	default:
		why = "because no identity-based policy allows the " + action + " action"
	}
	c.DecisionText = "denied: " + why
	return Permit{}, &Denied{Action: action, Text: message(p, action, r, why)}
}

// crossAccount ends the text for a resource of another account, or for one
// that does not exist there, so that nobody learns which.
const crossAccount = "because the resource does not exist in this Region, no resource-based policies allow access, or a resource-based policy explicitly denies access"

// message prints a denial in AWS's words. Sources: "Troubleshooting access
// denied error messages" in the IAM User Guide; texts of recorded answers.
func message(p *call.Principal, action string, r Resource, why string) string {
	who := "anonymous"
	if p != nil && p.ARN != "" {
		who = p.ARN
	}
	where := "on resource: " + r.ARN
	if p == nil || r.Account != p.Account {
		where = "on this resource"
		if r.FromCiphertext {
			where = "on the resource associated with this ciphertext"
		}
	}
	return "User: " + who + " is not authorized to perform: " + action + " " + where + " " + why
}

// DenyUnknown returns the denial for a resource that could not be found in a
// place where saying so would tell about another account's keys, or for the
// key that a ciphertext names and that is not there.
func DenyUnknown(c *call.Call, action string, fromCiphertext bool) *Denied {
	c.DecisionText = "denied: resource not found"
	return &Denied{Action: action, Text: message(c.Caller, action, Resource{FromCiphertext: fromCiphertext}, crossAccount)}
}

// Job is background work of the system itself, which has no caller.
type Job struct{ name string }

// System is the one door for work that no caller asked for. A test lists the
// callers; a new one needs a reason.
func System(job string) Job { return Job{job} }

// Permit returns a permit for the job.
func (j Job) Permit(action string, r Resource) Permit {
	return Permit{job: j.name, action: action, resource: r.ARN, account: r.Account, revision: r.Revision}
}
