package identity

import (
	"context"
	"errors"
	"fmt"

	"github.com/keyreeve/keyreeve/internal/arn"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/record"
	"github.com/keyreeve/keyreeve/policy"
)

// A Bearer says who somebody is who makes no call now: a principal of which it
// is to be explained what it may do.
type Bearer struct {
	Kind    call.PrincipalKind // Root, User, RoleSession or FederatedUser
	Account string             // 12 digits
	// Name is that of the user or role (of the user behind a federated user);
	// empty for root. ID is its unique id; empty for whoever has the name.
	Name, ID string
	// Session is what temporary credentials have of their own; nil for
	// long-term credentials.
	Session *call.Session
	// Policies are the texts of the session's policies, and Managed the ARNs of
	// its managed ones.
	Policies, Managed []string
	// Limited says that there are session policies, if only none.
	Limited bool
}

// Principal composes the principal that [Directory.Credential] would return for
// a bearer's credentials now. Errors: ErrNotFound (the account, user or role, or
// it is not the one with the id), ErrMalformed (a session policy), ErrInvalid.
func (d *Directory) Principal(ctx context.Context, b *Bearer) (*call.Principal, error) {
	p, err := d.bearer(ctx, b)
	if errors.Is(err, record.ErrNotFound) {
		err = fmt.Errorf("%w: the principal", ErrNotFound)
	}
	return p, err
}

func (d *Directory) bearer(ctx context.Context, b *Bearer) (*call.Principal, error) {
	if !arn.IsAccount(b.Account) {
		return nil, fmt.Errorf("%w: account %q", ErrNotFound, b.Account)
	}
	a, err := d.accounts.Get(ctx, []byte(accountKey(b.Account)))
	if err != nil {
		return nil, err
	}
	kind, made := UserEntity, UserSession
	root := b.Name == "" && b.Kind != call.RoleSession
	switch b.Kind {
	case call.Root, call.User:
	case call.RoleSession:
		kind, made = RoleEntity, RoleSession
	case call.FederatedUser:
		made = FederationSession
	default:
		return nil, fmt.Errorf("%w: no principal with policies", ErrInvalid)
	}
	var e *cachedEntity
	if !root {
		if e, err = d.cached(ctx, kind, b.Account, b.Name); b.ID != "" {
			e, err = d.cachedByID(ctx, kind, b.Account, b.Name, b.ID)
		}
		if err != nil {
			return nil, err
		}
	}
	if b.Session == nil {
		switch {
		case b.Kind == call.Root:
			return d.composeRoot(ctx, a)
		case b.Kind == call.User && e != nil:
			return d.composeUser(ctx, a, e)
		}
		return nil, fmt.Errorf("%w: a session of its own is missing", ErrInvalid)
	}
	s := &session{ticket: &ticket{kind: made, root: root, account: b.Account, name: b.Session.Name, tags: b.Session.Tags}}
	p, err := d.composeIssuer(ctx, s, a, e)
	if err != nil {
		return nil, err
	}
	own := *b.Session
	p.Session = &own
	in := &p.Policies
	in.Limited = b.Limited || b.Kind == call.FederatedUser || len(b.Policies)+len(b.Managed) > 0
	for _, text := range b.Policies {
		compiled, err := d.parse(text, policy.Identity)
		if err != nil {
			return nil, err
		}
		in.Session = append(in.Session, call.Attached{Name: "session policy", Policy: compiled})
	}
	for _, name := range b.Managed {
		m, _, err := d.managedPolicy(ctx, b.Account, name)
		if err != nil {
			return nil, err
		}
		attached, err := d.managed(ctx, reference{Name: name, Value: m.id})
		if err != nil {
			return nil, err
		}
		in.Session = append(in.Session, attached)
	}
	return p, nil
}
