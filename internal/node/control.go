package node

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/keyreeve/keyreeve/internal/api/keyreeveapi"
	"github.com/keyreeve/keyreeve/internal/authz"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/explain"
	"github.com/keyreeve/keyreeve/internal/hint"
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
func (n *Node) operatorService(az *authz.Authorizer, u *unsealed, account string, trails explain.Trails) server.Service {
	c := &n.c
	o := operator.Options{
		Account: account, Box: n.box, Store: n.store, Engine: "bbolt", Arena: n.arena, KeyFile: c.Seal.File,
		Cost: c.PassphraseCost, Sessions: u.directory, Journal: n.audit, Events: u.events, Stopping: u.hurry.Done(), Version: c.Version, Started: n.started, Region: c.Region, Regions: c.Regions,
	}
	o.Explainer = explain.NewService(az, explain.Options{Directory: u.directory, Ring: u.ring, Uses: u.uses, Denials: u.denials, Trails: trails})
	if u.archive != nil {
		o.Archive, o.ArchiveDir = u.archive, filepath.Join(c.Data, auditDir, archiveDir)
	}
	if c.Ephemeral {
		o.Engine, o.KeyFile = "memory", ""
	}
	return server.Service{
		Name: keyreeveapi.SigningName, TargetPrefix: keyreeveapi.TargetPrefix,
		Operations: keyreeveapi.Operations(operator.NewService(az, o)), Owner: account,
	}
}

// errSealed is what is said to whom a sealed node can't serve.
var errSealed = hint.Add(errors.New("the node is sealed"), "run: keyreeve seal unseal")

// controlled is the node as the control socket sees it.
type controlled struct{ n *Node }

func (c controlled) Status() operator.Status {
	n := c.n
	s := n.box.Status()
	return operator.Status{
		Version: n.c.Version, Started: n.started, Sealed: n.Sealed(), Provider: s.Provider, ActiveDomainKey: s.Active,
		ClockAhead: n.watch.jumped(),
	}
}

func (c controlled) Seal(_ context.Context, by operator.Peer) error {
	err := c.n.seal()
	c.n.log.Info("sealed by the operator")
	// A node that could not be recorded being sealed is sealed all the same.
	return errors.Join(err, c.n.asked(eventSeal, by, err))
}

func (c controlled) Unseal(ctx context.Context, by operator.Peer, passphrase secret.Bytes) error {
	n := c.n
	// The root key may have been changed to the other kind since the
	// configuration was read.
	err := n.box.Unlock(ctx, n.provider(n.box.Status().Provider, passphrase))
	if err != nil {
		return errors.Join(err, n.asked(eventUnseal, by, err))
	}
	if err = n.unseal(ctx); err != nil {
		err = errors.Join(err, n.seal())
	}
	if e := n.asked(eventUnseal, by, err); e != nil {
		return errors.Join(err, e, n.seal())
	}
	if err == nil {
		n.log.Info("unsealed by the operator")
	}
	return err
}

func (c controlled) Environment(ctx context.Context, by operator.Peer) (operator.Environment, error) {
	n := c.n
	key, err := n.Administrator(ctx)
	if errors.Is(err, seal.ErrSealed) {
		err = errSealed
	}
	// On record before anybody has the secret.
	if err := errors.Join(err, n.asked(eventEnv, by, err, call.Pair{Name: "accessKeyId", Value: key.ID})); err != nil {
		key.Secret.Wipe()
		return operator.Environment{}, err
	}
	return operator.Environment{
		Endpoint: n.Endpoint(), Authority: n.AuthorityFile(), Region: n.c.Region,
		AccessKeyID: key.ID, SecretAccessKey: key.Secret,
	}, nil
}

func (c controlled) AcceptClock(ctx context.Context, by operator.Peer) error {
	n := c.n
	n.mu.Lock()
	defer n.mu.Unlock()
	u := n.open.Load()
	if u == nil {
		return errors.Join(errSealed, n.asked(eventClock, by, errSealed))
	}
	ahead := n.watch.jumped()
	if err := n.asked(eventClock, by, nil, call.Pair{Name: "ahead", Value: ahead.Round(time.Second).String()}); err != nil {
		return err
	}
	n.watch.accept()
	n.log.Info("the clock was accepted by the operator", "ahead", ahead.Round(time.Second))
	return n.watch.save(ctx, u.records)
}
