// Package explain decides cases of a file, without a server.
//
// A case says who calls (with every policy that applies to them), what they do
// to which resource, and what should be decided; docs/explain-cases.md
// describes the format. [Load] reads a file, [Case.Decide] has a case decided
// by the very code that decides calls, and [Result.AppendText] and
// [Result.AppendJSON] print what was decided, with the reasons of each layer
// and each statement.
package explain

import (
	"context"
	"errors"
	"fmt"

	"github.com/keyreeve/keyreeve/internal/authz"
	"github.com/keyreeve/keyreeve/internal/call"
)

// A Case is a call that could be made, and what should be decided. It is never
// changed once it was loaded.
type Case struct {
	Line  int    // of the file, from 1
	ID    string // unique in the file
	About string // for people

	Allow   bool   // what is expected
	Layer   string // that denies: a name of [LayerNames]; empty: any
	Message string // of the denial; empty: any

	Caller   string // ARN, or the name of a service
	Action   string // such as "kms:Decrypt"
	Resource string // ARN, or "*"

	call          *call.Call
	resource      *authz.Resource
	request       *authz.Request
	retired       *authz.Grant // that kms:RetireGrant names
	organizations organizations
}

// A Result is what was decided in a case.
type Result struct {
	Case     *Case
	Decision *authz.Decision
	Layer    string // that denies, a name of LayerNames; empty if it is allowed
	// Differences says what is otherwise than expected, a sentence each; none
	// if nothing is.
	Differences []string
}

// LayerNames are what cases call the layers that can deny, in the order of
// authz.LayerType.
var LayerNames = []string{"scp", "rcp", "endpoint", "resource", "boundary", "session", "identity"}

// layerName returns what cases call a layer.
func layerName(t authz.LayerType) string {
	if int(t) < len(LayerNames) {
		return LayerNames[t]
	}
	return t.String()
}

// organizations are the places of accounts in their organizations, by account.
type organizations map[string]*call.Organization

func (o organizations) Organization(_ context.Context, account string) (*call.Organization, error) {
	return o[account], nil
}

// Decide has the case decided, and compares the decision with what is expected.
func (c *Case) Decide(ctx context.Context) (*Result, error) {
	a := authz.New(c.organizations)
	var d *authz.Decision
	var err error
	if c.Action == "kms:RetireGrant" {
		d, err = a.ExplainRetire(ctx, c.call, c.retired, c.resource, c.request)
	} else {
		d, err = a.Explain(ctx, c.call, c.Action, c.resource, c.request)
	}
	if err != nil {
		return nil, fmt.Errorf("case %s: %w", quote(c.ID), err)
	}
	if d == nil {
		return nil, errors.New("no decision")
	}
	r := &Result{Case: c, Decision: d}
	if !d.Allowed {
		r.Layer = layerName(d.Layer)
	}
	differ := func(format string, args ...any) {
		r.Differences = append(r.Differences, fmt.Sprintf(format, args...))
	}
	switch {
	case d.Allowed && !c.Allow:
		differ("it is allowed, and was expected to be denied")
	case !d.Allowed && c.Allow:
		differ("it is denied, and was expected to be allowed")
	default:
		if c.Layer != "" && c.Layer != r.Layer {
			differ("the layer that denies it is %s, and was expected to be %s", r.Layer, c.Layer)
		}
		if c.Message != "" && c.Message != d.Text {
			differ("the message was expected to be: %s", c.Message)
		}
	}
	return r, nil
}
