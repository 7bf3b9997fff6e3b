// Package authz decides a call from every policy that applies, and issues
// permits.
//
// Nothing opens a key without a [Permit], and only this package makes one:
// [Authorizer.Decide] does, of a call, an action, the [Resource] that it would
// be done to, and the [Request], which has what the operation's parameters say.
// The caller brings along its policies and its place in an organization, and
// the resource its own policy; so no handler can forget a layer. A decision is
// made in four steps:
//
//  1. Every layer is asked, whatever the others say: service and resource
//     control policies, the endpoint's policy, the resource's own, permissions
//     boundary, session policies, identity-based policies. Only if the resource
//     is another account's, its own goes first, and if that keeps it from the
//     caller, the rest is not asked: the time of a denial tells nothing.
//  2. A way is looked for in which the call is allowed: by the resource's
//     policy, with as much of the caller's own as the way in which it is named
//     there needs; for what has no policy, by the caller's own alone; else by
//     a grant.
//  3. What denies explicitly, or is missing or broken, forbids it all the same;
//     and so does what every call must be allowed by: organizations and the
//     endpoint.
//  4. It is put into AWS's words. Of a resource of another account nothing is
//     told unless its owner shares it.
//
// Which condition keys an action populates, and whether other accounts and
// grants can allow it, is one table, in actions.go. [Authorizer.Explain] runs
// the same code and keeps the reasons.
package authz

import (
	"context"
	"errors"
	"time"

	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/wire"
	"github.com/keyreeve/keyreeve/policy"
)

// Resource is what an action would be done to. Who owns a resource makes it:
// package keyring that of a key, with its policy, values and grants.
type Resource struct {
	ARN      string // full ARN, or "*" for an action without a resource: good in the one account
	Account  string // owner, 12 digits
	Revision int64  // of the key's record, for a permit that opens it

	// FromCiphertext says that the key was named by a ciphertext rather than
	// by the caller, which changes the text of a denial.
	FromCiphertext bool

	// Policy is the resource's own: a key policy, or the trust policy of a
	// role. Nil for what has none; of a key or role, nil denies.
	Policy *policy.Policy
	// Values has the condition keys that describe the resource, such as
	// kms:KeySpec and aws:ResourceTag/…; nil for none.
	Values policy.Context
	// Grants has the grants of a key; nil if it has none. Grant tokens are
	// looked at only where it is not nil.
	Grants Grants
}

// Grants finds the grants of one key.
type Grants interface {
	// Of calls use with each grant of a key to a grantee: the unique id of a
	// user or role, that of a role with a session's name (AROA…:name), the ARN
	// of a federated user or account's root, or
	// the name of a service. It ends when use returns false. With an operation
	// (such as "Decrypt"), grants that do not have it may be left out.
	Of(ctx context.Context, grantee, operation string, use func(*Grant) bool) error
	// ByToken returns the grant that a grant token stands for, read from the
	// store; nil if it is a grant of another key or has gone. A text that is
	// no token is ErrGrantToken.
	ByToken(ctx context.Context, token string) (*Grant, error)
}

// ErrGrantToken: a text that is no grant token.
var ErrGrantToken = errors.New("authz: not a grant token")

// Grant is a grant on a key. It is shared and never changed.
type Grant struct {
	ID          string // 64 hex digits
	Name        string
	Grantee     string // as Grants.Of wants it
	Retiring    string // likewise; empty for none
	GranteeARN  string // as the caller of CreateGrant wrote it; a service's name for a service
	RetiringARN string
	Issuer      string   // account that made it, 12 digits
	Operations  []string // as in the API, such as "Decrypt"
	Created     time.Time
	Effective   time.Time // from when it works without a grant token

	// Constraints; nil or empty for none.
	Equals, Subset wire.StringMap
	SourceARN      string
}

// Request is what an operation asks for, beyond action and resource.
type Request struct {
	// Values has the condition keys of the operation's parameters, such as
	// kms:EncryptionContext:… and aws:RequestTag/…; nil for none.
	Values policy.Context
	// Context is the encryption context that constraints of grants are held
	// against.
	Context     wire.StringMap
	GrantTokens []string
	// Child is the grant that kms:CreateGrant asks for: what a grant allows to
	// be granted is no wider than that grant itself. Nil for other actions; for
	// kms:CreateGrant, nil cannot be allowed by a grant.
	Child *Grant
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

// Organizations knows where accounts stand in their organizations.
type Organizations interface {
	// Organization returns the place of an account; nil if it is in none. The
	// warm answer costs no read of the store.
	Organization(ctx context.Context, account string) (*call.Organization, error)
}

// Authorizer decides calls.
type Authorizer struct{ organizations Organizations }

// New returns an authorizer. Organizations tells where accounts stand that own
// what others call for; nil says that there are no organizations.
func New(o Organizations) *Authorizer { return &Authorizer{organizations: o} }

// Decide returns a permit if the call's principal may do action on r, else a
// *Denied. Other errors are ErrGrantToken, and those of the store. The decision
// is noted in the call. The request may be nil.
func (a *Authorizer) Decide(ctx context.Context, c *call.Call, action string, r *Resource, q *Request) (Permit, error) {
	d := a.newDecider(c, action, r, q)
	defer d.release()
	return d.permit(ctx)
}

// DecideRetire is Decide for kms:RetireGrant of a grant on the key r: the
// retiring principal may, the grantee if the grant says so, and by
// identity-based policies whoever is of the account that made the grant or of
// the one that owns the key. The key policy has no say in it. A nil grant is
// one that does not exist.
func (a *Authorizer) DecideRetire(ctx context.Context, c *call.Call, g *Grant, r *Resource, q *Request) (Permit, error) {
	d := a.newDecider(c, actionRetire, r, q)
	defer d.release()
	d.retired = g
	return d.permit(ctx)
}

// Would reports what Decide would decide. It issues no permit and notes
// nothing. PutKeyPolicy asks it about itself, with the new policy in r, so that
// nobody locks himself out.
func (a *Authorizer) Would(ctx context.Context, c *call.Call, action string, r *Resource, q *Request) (bool, error) {
	d := a.newDecider(c, action, r, q)
	defer d.release()
	o, err := d.decide(ctx)
	return err == nil && o.allowed(), err
}

// Explain decides as Decide does, by the same code, and returns the decision
// with all its reasons. It issues no permit and notes nothing.
func (a *Authorizer) Explain(ctx context.Context, c *call.Call, action string, r *Resource, q *Request) (*Decision, error) {
	d := a.newDecider(c, action, r, q)
	defer d.release()
	return d.explain(ctx)
}

// ExplainRetire is to DecideRetire what Explain is to Decide.
func (a *Authorizer) ExplainRetire(ctx context.Context, c *call.Call, g *Grant, r *Resource, q *Request) (*Decision, error) {
	d := a.newDecider(c, actionRetire, r, q)
	defer d.release()
	d.retired = g
	return d.explain(ctx)
}

const actionRetire = "kms:RetireGrant"

// permit decides, notes the decision in the call, and issues a permit.
func (d *decider) permit(ctx context.Context) (Permit, error) {
	o, err := d.decide(ctx)
	if err != nil {
		d.c.DecisionText = "undecided: an error came first"
		return Permit{}, err
	}
	if !o.allowed() {
		text := d.message(o)
		d.c.DecisionText = "denied: " + o.words()
		d.c.Denial = d.denial(o)
		if d.c.Denial.OnlyEndpoint, err = d.onlyEndpoint(ctx, o); err != nil {
			return Permit{}, err
		}
		return Permit{}, &Denied{Action: d.action, Text: text}
	}
	d.c.DecisionText = o.words()
	return Permit{call: d.c, action: d.action, resource: d.r.ARN, account: d.r.Account, revision: d.r.Revision}, nil
}

// explain decides and returns the decision with its reasons.
func (d *decider) explain(ctx context.Context) (*Decision, error) {
	d.record = &Decision{Action: d.action, Resource: d.r.ARN}
	o, err := d.decide(ctx)
	if err != nil {
		return nil, err
	}
	d.record.Allowed = o.allowed()
	if d.p != nil {
		d.record.Marks = d.marks()
	}
	d.record.Text = o.words()
	if !o.allowed() {
		d.record.Text = d.message(o)
		d.record.Layer = ResourceBased
		if o.why == refused || o.why == denied {
			d.record.Layer = o.layer
		}
	}
	return d.record, nil
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
