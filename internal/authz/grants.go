package authz

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/keyreeve/keyreeve/internal/arn"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/wire"
	"github.com/keyreeve/keyreeve/policy"
)

// A row is how being the grantee of a grant is limited by policies that do not
// deny, as being named in a key policy is.
type row uint8

const (
	unlimited    row = iota // user, session, federated user, service
	bySession               // role, or the user behind a federated user: boundary and session must allow
	delegated               // the account: identity-based policies must allow, too
	numberOfRows = iota
)

// grantee returns what the caller is to a grant, in the row: as [Grants.Of] and
// [Grant] name it. Empty for nothing.
func (d *decider) grantee(r row) string {
	p := d.p
	switch r {
	case unlimited:
		switch p.Kind {
		case call.User:
			return p.EntityID
		case call.RoleSession:
			return p.ID
		case call.FederatedUser:
			return p.ARN
		}
	case bySession:
		if p.Kind == call.RoleSession || p.Kind == call.FederatedUser {
			return p.EntityID
		}
	case delegated:
		if p.Account != "" {
			return arn.Root(partition(d.r.ARN), p.Account)
		}
	}
	return ""
}

// is reports whether the caller is the principal of a grant, and in which row.
func (d *decider) is(principal string) (row, bool) {
	if principal == "" {
		return 0, false
	}
	if d.p.Kind == call.Service {
		return unlimited, slices.Contains(d.p.Services, principal)
	}
	for r := range row(numberOfRows) {
		if d.grantee(r) == principal {
			return r, true
		}
	}
	return 0, false
}

// within reports what a row leaves to be allowed by.
func (d *decider) within(r row, how why) outcome {
	switch r {
	case bySession:
		return d.limited(false, how)
	case delegated:
		return d.limited(true, how)
	}
	return outcome{why: how}
}

// partition returns the partition of an ARN.
func partition(s string) string {
	name, _, _ := strings.Cut(strings.TrimPrefix(s, "arn:"), ":")
	return name
}

// findGrant returns a grant that allows the call; nil if there is none.
// Source: "Grants in AWS KMS" in the Developer Guide.
func (d *decider) findGrant(ctx context.Context) (*Grant, error) {
	if d.r.Grants == nil || d.kind != key || d.retire || !d.act.granted && d.record == nil {
		return nil, nil
	}
	if err := d.readTokens(ctx); err != nil {
		return nil, err
	}
	for _, g := range d.byToken {
		var is bool
		if d.row, is = d.is(g.Grantee); is && !d.try(g) {
			return d.usable, nil
		}
	}
	// Who explains wants to see those for other operations, too.
	operation := ""
	if d.record == nil {
		_, operation, _ = strings.Cut(d.action, ":")
	}
	if d.p.Kind == call.Service {
		d.row = unlimited
		for _, name := range d.p.Services {
			if err := d.r.Grants.Of(ctx, name, operation, d.visit); err != nil || d.usable != nil {
				return d.usable, err
			}
		}
		return nil, nil
	}
	for d.row = range row(numberOfRows) {
		if d.record == nil && !d.within(d.row, byGrant).allowed() {
			continue
		}
		name := d.grantee(d.row)
		if name == "" {
			continue
		}
		if err := d.r.Grants.Of(ctx, name, operation, d.visit); err != nil || d.usable != nil {
			return d.usable, err
		}
	}
	return nil, nil
}

// isGrantee reports whether the key has a grant to the caller, whatever it
// allows.
func (d *decider) isGrantee(ctx context.Context) (bool, error) {
	if d.r.Grants == nil || d.kind != key || !d.act.granted {
		return false, nil
	}
	if err := d.readTokens(ctx); err != nil {
		return false, err
	}
	for _, g := range d.byToken {
		if _, is := d.is(g.Grantee); is {
			return true, nil
		}
	}
	for _, name := range d.p.Services {
		if err := d.r.Grants.Of(ctx, name, "", d.anyGrant); err != nil || d.hasGrant {
			return d.hasGrant, err
		}
	}
	for r := range row(numberOfRows) {
		name := d.grantee(r)
		if name == "" {
			continue
		}
		if err := d.r.Grants.Of(ctx, name, "", d.anyGrant); err != nil || d.hasGrant {
			return d.hasGrant, err
		}
	}
	return false, nil
}

// readTokens reads the grants that the request's grant tokens stand for, once.
// What is not a token is left to checkTokens.
func (d *decider) readTokens(ctx context.Context) error {
	if d.q == nil || d.r.Grants == nil || d.tokensRead {
		return nil
	}
	for _, t := range d.q.GrantTokens {
		g, err := d.r.Grants.ByToken(ctx, t)
		switch {
		case errors.Is(err, ErrGrantToken):
			d.badToken = true
		case err != nil:
			return fmt.Errorf("reading the grant of a token: %w", err)
		case g != nil:
			d.byToken = append(d.byToken, g)
		}
	}
	d.tokensRead = true
	return nil
}

// checkTokens returns ErrGrantToken if one of the request's grant tokens is
// none.
func (d *decider) checkTokens(ctx context.Context) error {
	if err := d.readTokens(ctx); err != nil {
		return err
	}
	if d.badToken {
		return ErrGrantToken
	}
	return nil
}

// try looks whether a grant to the caller allows the call. It returns false if
// so: then no other needs to be looked at.
func (d *decider) try(g *Grant) bool {
	why := d.unusable(g)
	if d.record != nil {
		d.record.Grants = append(d.record.Grants, GrantDecision{Grant: g, Usable: why == "", Why: why})
	}
	if why != "" {
		return true
	}
	d.usable = g
	return false
}

// unusable says why a grant to the caller does not allow the call; empty if it
// does.
func (d *decider) unusable(g *Grant) string {
	_, operation, _ := strings.Cut(d.action, ":")
	if !d.act.granted || !slices.Contains(g.Operations, operation) {
		return "it is not for this operation"
	}
	if d.c.Time.Before(g.Effective) && !slices.ContainsFunc(d.byToken, func(t *Grant) bool { return t.ID == g.ID }) {
		return "it does not work yet without its grant token"
	}
	if o := d.within(d.row, byGrant); !o.allowed() {
		return "no " + o.layer.words() + " allows it, which is needed by this grantee"
	}
	if g.SourceARN != "" {
		if source := d.sourceARN(); source == "" || !policy.ARNLike(g.SourceARN, source) {
			return "its constraint SourceArn does not hold"
		}
	}
	switch {
	case operation == "DescribeKey":
		// It has no encryption context, and constraints are ignored.
		return ""
	case operation == "CreateGrant":
		if d.q == nil || d.q.Child == nil {
			return "it is not known what would be granted"
		}
		return wider(d.q.Child, g)
	}
	var context wire.StringMap
	if d.q != nil {
		context = d.q.Context
	}
	if len(g.Equals) > 0 && !context.Equal(g.Equals) {
		return "its constraint EncryptionContextEquals does not hold"
	}
	if len(g.Subset) > 0 && !contains(context, g.Subset) {
		return "its constraint EncryptionContextSubset does not hold"
	}
	return ""
}

// wider says in what a grant would allow more than the one through which it is
// made; empty if in nothing.
func wider(child, parent *Grant) string {
	for _, o := range child.Operations {
		if !slices.Contains(parent.Operations, o) {
			return "it does not have the operation " + o
		}
	}
	if len(parent.Equals) > 0 && !child.Equals.Equal(parent.Equals) {
		return "its constraint EncryptionContextEquals would be loosened"
	}
	if len(parent.Subset) > 0 && !contains(child.Equals, parent.Subset) && !contains(child.Subset, parent.Subset) {
		return "its constraint EncryptionContextSubset would be loosened"
	}
	if parent.SourceARN != "" && child.SourceARN != parent.SourceARN {
		return "its constraint SourceArn would be loosened"
	}
	return ""
}

// contains reports whether all pairs of sub are in m.
func contains(m, sub wire.StringMap) bool {
	for _, p := range sub {
		if v, ok := m.Get(p.Name); !ok || v != p.Value {
			return false
		}
	}
	return true
}

// mayKnow reports whether the caller has anything to do with the grant that is
// to be retired.
func (d *decider) mayKnow() bool {
	g, account := d.retired, d.p.Account
	if g == nil {
		return false // the key is another account's
	}
	_, retires := d.is(g.Retiring)
	_, uses := d.is(g.Grantee)
	return retires || uses || account != "" && account == g.Issuer
}

// retireWays says who may retire a grant: its retiring principal; its grantee
// if the grant has that operation; and by identity-based policies whoever is of
// the account that made the grant or of the one that owns the key. Source:
// "Retiring and revoking grants" in the Developer Guide.
func (d *decider) retireWays() outcome {
	o := outcome{why: hidden}
	g := d.retired
	if g != nil {
		ways := [...]string{g.Retiring, ""}
		if slices.Contains(g.Operations, "RetireGrant") {
			ways[1] = g.Grantee
		}
		for _, principal := range ways {
			if r, is := d.is(principal); is {
				if o = d.within(r, byRetiring); o.allowed() {
					return o
				}
			}
		}
	}
	if account := d.p.Account; account != "" && (account == d.r.Account || g != nil && account == g.Issuer) {
		return d.limited(true, byAccountOf)
	}
	return o
}
