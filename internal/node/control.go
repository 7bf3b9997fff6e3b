package node

import (
	"context"
	"errors"
	"fmt"

	"github.com/keyreeve/keyreeve/internal/api/keyreeveapi"
	"github.com/keyreeve/keyreeve/internal/authz"
	"github.com/keyreeve/keyreeve/internal/operator"
	"github.com/keyreeve/keyreeve/internal/seal"
	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/internal/server"
)

// openControl makes the control socket; an ephemeral node has none.
func (n *Node) openControl() (*operator.Control, error) {
	if n.c.Ephemeral {
		return nil, nil
	}
	c, err := operator.Listen(n.c.Data, controlled{n}, n.log)
	if errors.Is(err, errors.ErrUnsupported) {
		n.log.Warn("no control socket on this system: the node can't be steered while it is sealed", "error", err)
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("opening the control socket: %w", err)
	}
	return c, nil
}

// operatorService is the service by which the operator steers the node over
// the main listener.
func (n *Node) operatorService(az *authz.Authorizer, account string) server.Service {
	c := &n.c
	o := operator.Options{
		Account: account, Box: n.box, Store: n.store, Engine: "bbolt", Arena: n.arena, KeyFile: c.Seal.File,
		Cost: c.PassphraseCost, Version: c.Version, Started: n.started, Region: c.Region, Regions: c.Regions,
	}
	if c.Ephemeral {
		o.Engine, o.KeyFile = "memory", ""
	}
	return server.Service{
		Name: keyreeveapi.SigningName, TargetPrefix: keyreeveapi.TargetPrefix,
		Operations: keyreeveapi.Operations(operator.NewService(az, o)),
	}
}

// sealedError is what is said to whom a sealed node can't serve.
type sealedError struct{}

var errSealed = sealedError{}

func (sealedError) Error() string { return "the node is sealed" }
func (sealedError) Unwrap() error { return seal.ErrSealed }

// Hint returns what to do about it.
func (sealedError) Hint() string { return "run: keyreeve seal unseal" }

// controlled is the node as the control socket sees it.
type controlled struct{ n *Node }

func (c controlled) Status() operator.Status {
	n := c.n
	s := n.box.Status()
	return operator.Status{
		Version: n.c.Version, Started: n.started, Sealed: n.Sealed(), Provider: s.Provider, ActiveDomainKey: s.Active,
	}
}

func (c controlled) Seal(context.Context) error {
	err := c.n.seal()
	c.n.log.Info("sealed by the operator")
	return err
}

func (c controlled) Unseal(ctx context.Context, passphrase secret.Bytes) error {
	n := c.n
	// The root key may have been changed to the other kind since the
	// configuration was read.
	if err := n.box.Unlock(ctx, n.provider(n.box.Status().Provider, passphrase)); err != nil {
		return err
	}
	if err := n.unseal(ctx); err != nil {
		return errors.Join(err, n.seal())
	}
	n.log.Info("unsealed by the operator")
	return nil
}

func (c controlled) Environment(ctx context.Context) (operator.Environment, error) {
	key, err := c.n.Administrator(ctx)
	if errors.Is(err, seal.ErrSealed) {
		return operator.Environment{}, errSealed
	}
	if err != nil {
		return operator.Environment{}, err
	}
	return operator.Environment{
		Endpoint: c.n.Endpoint(), Authority: c.n.AuthorityFile(), Region: c.n.c.Region,
		AccessKeyID: key.ID, SecretAccessKey: key.Secret,
	}, nil
}
