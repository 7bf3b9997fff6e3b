package node

import (
	"context"
	"strconv"
	"time"

	"github.com/keyreeve/keyreeve/internal/audit"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/identity"
	"github.com/keyreeve/keyreeve/internal/keyring"
	"github.com/keyreeve/keyreeve/internal/operator"
	"github.com/keyreeve/keyreeve/internal/record"
)

// Events of the source keyreeve.internal.
const (
	eventSeal     = "SealNode"
	eventUnseal   = "UnsealNode"
	eventEnv      = "ReadAdministratorAccessKey"
	eventClock    = "AcceptClock"
	eventRollback = "AcceptRollback"
	eventSeed     = "ApplySeed"
	eventRotate   = "RotateDomainKey"
	eventDamaged  = "AuditJournalDamaged"
	eventAltered  = "AuditArchiveDamaged"
)

// happened puts something on record that the node has done by itself.
func (n *Node) happened(name string, additional ...call.Pair) error {
	return n.audit.AppendEvent(n.event(name, additional...))
}

// event is something that the node does by itself.
func (n *Node) event(name string, additional ...call.Pair) *audit.Event {
	return &audit.Event{
		Time: n.c.Now(), Source: audit.Internal, Name: name, Region: n.c.Region, Account: n.account(),
		InvokedBy: audit.Node, Additional: additional,
	}
}

// asked puts something on record that an operator has asked for over the
// control socket, and how it ended.
func (n *Node) asked(name string, by operator.Peer, failure error, additional ...call.Pair) error {
	e := &audit.Event{
		Time: n.c.Now(), Source: audit.Internal, Name: name, Region: n.c.Region, Account: n.account(),
		InvokedBy:  "control socket",
		Additional: append([]call.Pair{{Name: "uid", Value: strconv.Itoa(by.UID)}, {Name: "pid", Value: strconv.Itoa(by.PID)}}, additional...),
	}
	if failure != nil {
		e.Failure = call.Failure{Code: "Failed", Message: failure.Error()}
	}
	return n.audit.AppendEvent(e)
}

// account returns the management account, or "" while it is not known.
func (n *Node) account() string {
	if a := n.management.Load(); a != nil {
		return *a
	}
	return n.c.Account
}

// keyEvent puts what the ring does to a key by itself on record, in the commit
// that does it: neither can be without the other.
func (n *Node) keyEvent(ctx context.Context, e keyring.Event, commit func(context.Context) error) error {
	event := &audit.Event{
		Time: n.c.Now(), Source: "kms.amazonaws.com", Name: e.Name, Region: e.Region, Account: e.Account, InvokedBy: audit.Node,
		Resources: []call.Resource{{ARN: e.ARN, Account: e.Account, Type: "AWS::KMS::Key"}},
		Details:   e.Details,
		RequestID: e.RequestID,
	}
	switch e.Name {
	case keyring.DeleteKey, keyring.SynchronizeMultiRegionKey:
		event.Elements = []call.Pair{{Name: "keyId", Value: e.ARN}}
	}
	return n.withEvent(ctx, event, commit)
}

// withEvent puts an event on record, in the commit that does what it tells of.
func (n *Node) withEvent(ctx context.Context, e *audit.Event, commit func(context.Context) error) error {
	i := n.audit.IntendEvent(e)
	defer i.Leave()
	if err := commit(record.WithIntent(ctx, i)); err != nil {
		return err
	}
	if err := i.Append(); err != nil {
		n.log.Error("an event could not be recorded yet", "event", e.Name, "error", err)
	}
	return nil
}

// settled puts on record, in the management account, what has become of a request
// for an account, in the commit by which it is made.
// Source: https://docs.aws.amazon.com/organizations/latest/userguide/orgs_cloudtrail-integration.html
func (n *Node) settled(ctx context.Context, s identity.AccountSettlement, commit func(context.Context) error) error {
	text := func(t time.Time) string { return t.UTC().Format("Jan 2, 2006, 3:04:05 PM") }
	details := []call.Pair{{Name: "id", Value: s.ID}, {Name: "state", Value: string(s.State)}, {Name: "accountName", Value: "****"}}
	if s.Account != "" {
		details = append(details, call.Pair{Name: "accountId", Value: s.Account})
	}
	if s.Failure != "" {
		details = append(details, call.Pair{Name: "failureReason", Value: s.Failure})
	}
	return n.withEvent(ctx, &audit.Event{
		Time: n.c.Now(), Source: "organizations.amazonaws.com", Name: "CreateAccountResult", Region: "us-east-1", Account: s.Master, InvokedBy: audit.Node,
		Within:  "createAccountStatus",
		Details: append(details, call.Pair{Name: "requestedTimestamp", Value: text(s.Requested)}, call.Pair{Name: "completedTimestamp", Value: text(s.Settled)}),
	}, commit)
}

// reportDamage puts on record what is wrong with the audit journal, once for
// each problem.
func (n *Node) reportDamage() {
	for _, p := range n.audit.Damage()[n.reported:] {
		err := n.happened(eventDamaged, call.Pair{Name: "segment", Value: p.Segment},
			call.Pair{Name: "offset", Value: strconv.FormatInt(p.Offset, 10)}, call.Pair{Name: "problem", Value: p.Text})
		if err != nil {
			return // the next time
		}
		n.reported++
	}
}

// reportAltered puts on record what the archive has found altered: else nothing
// would tell of it after the next start. It returns how much of it is on record.
func (n *Node) reportAltered(damages []string, reported int) int {
	for _, text := range damages[reported:] {
		if n.happened(eventAltered, call.Pair{Name: "problem", Value: text}) != nil {
			break // the next time
		}
		reported++
	}
	return reported
}
