package node

import (
	"context"
	"strconv"

	"github.com/keyreeve/keyreeve/internal/audit"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/keyring"
	"github.com/keyreeve/keyreeve/internal/operator"
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
)

// happened puts something on record that the node has done by itself.
func (n *Node) happened(name string, additional ...call.Pair) error {
	return n.audit.AppendEvent(&audit.Event{
		Time: n.c.Now(), Source: audit.Internal, Name: name, Region: n.c.Region, Account: n.account(),
		InvokedBy: audit.Node, Additional: additional,
	})
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

// deleted puts the destruction of a key on record. If it can't, it is asked
// again: the key's record stays until then.
func (n *Node) deleted(_ context.Context, d keyring.Deletion) error {
	return n.audit.AppendEvent(&audit.Event{
		Time: n.c.Now(), Source: "kms.amazonaws.com", Name: "DeleteKey", Region: d.Region, Account: d.Account, InvokedBy: audit.Node,
		Resources: []call.Resource{{ARN: d.ARN, Account: d.Account, Type: "AWS::KMS::Key"}},
		Elements:  []call.Pair{{Name: "keyId", Value: d.ARN}},
	})
}
