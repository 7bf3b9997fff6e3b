package operator

import (
	"context"
	"errors"
	"time"

	"github.com/keyreeve/keyreeve/internal/api/keyreeveapi"
	"github.com/keyreeve/keyreeve/internal/authz"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/seal"
	"github.com/keyreeve/keyreeve/internal/store"
	"github.com/keyreeve/keyreeve/internal/wire"
)

// Options are what a Service needs besides decisions.
type Options struct {
	Account string // the management account
	Box     *seal.Box
	Store   store.Store
	Engine  string      // of the store, such as "bbolt" or "memory"
	Arena   *seal.Arena // nil if there is none
	KeyFile string      // where a new key file goes; "" allows none
	Cost    seal.Cost   // of new passphrases; the zero value means seal.DefaultCost
	// Sessions ends temporary credentials.
	Sessions Sessions
	// Explainer says why calls are decided as they are.
	Explainer Explainer
	// Journal is what TailEvents follows, Events what SearchEvents asks.
	Journal Journal
	Events  Events
	// Archive has the files of the audit trail; nil if there are none. It is in
	// ArchiveDir.
	Archive    Archive
	ArchiveDir string
	// Stopping is closed when calls that wait are to end: the node stops, or is
	// sealed. nil means never.
	Stopping <-chan struct{}

	// What DescribeNode tells.
	Version string
	Started time.Time
	Region  string
	Regions []string
}

// Service is the operations of the service keyreeve. Its methods may be called
// concurrently.
type Service struct {
	az    *authz.Authorizer
	o     Options
	tails tails
}

var _ keyreeveapi.Handler = (*Service)(nil)

// NewService returns the operations, which az allows to whom it will.
func NewService(az *authz.Authorizer, o Options) *Service { return &Service{az: az, o: o} }

// allow asks whether the caller may do the call's operation, whose action
// bears its name. What the operations touch is the installation, and it
// belongs to the management account.
func (s *Service) allow(ctx context.Context, c *call.Call) error {
	_, err := s.az.Decide(ctx, c, keyreeveapi.SigningName+":"+c.Operation.Name, &authz.Resource{ARN: "*", Account: s.o.Account}, nil)
	return answer(err)
}

// answer puts an error into the API's terms.
func answer(err error) error {
	var denied *authz.Denied
	var known *wire.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &known):
		return known
	case errors.As(err, &denied):
		return wire.AccessDenied(denied.Text)
	case errors.Is(err, seal.ErrSealed):
		return wire.Sealed().WithCause(err)
	case errors.Is(err, seal.ErrUnsettled):
		return wire.NewFault("OutcomeUnknownException",
			"Whether the seal was changed is not known. If it is the root key that was to be changed, keep both, the old one and the new one, until the node has been started again.").WithCause(err)
	case errors.Is(err, seal.ErrConflict):
		return wire.NewError("ConflictException", "Another change of the seal came first. Try again.").WithCause(err)
	case errors.Is(err, seal.ErrWeakPassphrase):
		return wire.Validation(err.Error())
	case errors.Is(err, seal.ErrKeyFileTaken):
		return wire.NewError("ConflictException", "In the place of the key file is the root key of another store.").WithCause(err)
	}
	return wire.NewFault("InternalException", "").WithCause(err)
}

// Explainer answers Explain, and decides for whom.
type Explainer interface {
	Explain(ctx context.Context, c *call.Call, in *keyreeveapi.ExplainInput, out *keyreeveapi.ExplainOutput) error
}

// Explain says why a call was denied, or how one would be decided. It is of the
// caller's own account, whichever that is.
func (s *Service) Explain(ctx context.Context, c *call.Call, in *keyreeveapi.ExplainInput, out *keyreeveapi.ExplainOutput) error {
	return s.o.Explainer.Explain(ctx, c, in, out)
}

// DescribeNode tells what the node is and how it is.
func (s *Service) DescribeNode(ctx context.Context, c *call.Call, _ *keyreeveapi.DescribeNodeInput, out *keyreeveapi.DescribeNodeOutput) error {
	if err := s.allow(ctx, c); err != nil {
		return err
	}
	head, err := s.o.Store.Head(ctx)
	if err != nil {
		return answer(err)
	}
	st := s.o.Box.Status()
	*out = keyreeveapi.DescribeNodeOutput{
		Version:       s.o.Version,
		StartTime:     keyreeveapi.Time{Time: s.o.Started},
		AccountID:     s.o.Account,
		Region:        s.o.Region,
		Regions:       s.o.Regions,
		StoreEngine:   s.o.Engine,
		StoreRevision: int64(head),
		MemoryLocked:  s.o.Arena != nil && s.o.Arena.Locked(),
		Seal: keyreeveapi.Seal{
			Provider:        st.Provider,
			Generation:      st.Generation,
			RootKeyTime:     keyreeveapi.Time{Time: st.Rekeyed},
			ActiveDomainKey: st.Active,
			DomainKeys:      make([]keyreeveapi.DomainKey, len(st.DomainKeys)),
		},
	}
	for i, k := range st.DomainKeys {
		out.Seal.DomainKeys[i] = keyreeveapi.DomainKey{ID: k.ID, CreationTime: keyreeveapi.Time{Time: k.Created}}
	}
	return nil
}

// RotateDomainKey makes a new domain key.
func (s *Service) RotateDomainKey(ctx context.Context, c *call.Call, _ *keyreeveapi.RotateDomainKeyInput, out *keyreeveapi.RotateDomainKeyOutput) error {
	if err := s.allow(ctx, c); err != nil {
		return err
	}
	if err := s.o.Box.Rotate(ctx); err != nil {
		return answer(err)
	}
	out.ActiveDomainKey = s.o.Box.Status().Active
	return nil
}

// RekeyRoot puts another root key in place.
func (s *Service) RekeyRoot(ctx context.Context, c *call.Call, in *keyreeveapi.RekeyRootInput, out *keyreeveapi.RekeyRootOutput) error {
	if err := s.allow(ctx, c); err != nil {
		return err
	}
	var p seal.Provider
	switch in.Provider {
	case keyreeveapi.ProviderPassphrase:
		if err := seal.CheckPassphrase(in.Passphrase); err != nil {
			return answer(err)
		}
		p = seal.Passphrase(in.Passphrase, s.o.Cost)
	default:
		if !in.Passphrase.IsNil() {
			return wire.Validation("A passphrase is for the provider " + keyreeveapi.ProviderPassphrase + " alone.")
		}
		if s.o.KeyFile == "" {
			return wire.NewError("UnsupportedOperationException", "This node has no place for a key file.")
		}
		p = seal.KeyFile(s.o.KeyFile)
	}
	if err := s.o.Box.Rekey(ctx, p); err != nil {
		return answer(err)
	}
	st := s.o.Box.Status()
	out.Provider, out.RootKeyTime = st.Provider, keyreeveapi.Time{Time: st.Rekeyed}
	return nil
}
