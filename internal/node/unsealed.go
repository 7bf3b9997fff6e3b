package node

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/keyreeve/keyreeve/internal/api/kmsapi"
	"github.com/keyreeve/keyreeve/internal/authz"
	"github.com/keyreeve/keyreeve/internal/identity"
	"github.com/keyreeve/keyreeve/internal/keyring"
	"github.com/keyreeve/keyreeve/internal/kms"
	"github.com/keyreeve/keyreeve/internal/record"
	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/internal/server"
)

// unsealed is the part of a node that has secrets: made when it is unsealed,
// gone when it is sealed.
type unsealed struct {
	records   *record.Store
	directory *identity.Directory
	ring      *keyring.Ring

	stop context.CancelFunc // ends the jobs
	jobs sync.WaitGroup
}

// unseal makes the unsealed part and begins to serve. The box must be open.
func (n *Node) unseal(ctx context.Context) (err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.shut {
		return errors.New("the node is closing")
	}
	if n.open != nil {
		return nil
	}
	c := &n.c
	u := new(unsealed)
	defer func() {
		if err != nil {
			err = errors.Join(err, u.close())
		}
	}()
	ro := record.Options{AcceptRollback: c.AcceptRollback, Now: c.Now, Log: n.log}
	if !c.Ephemeral {
		ro.Mark = c.Seal.Mark
	}
	if u.records, err = record.Open(ctx, n.store, n.box, ro); err != nil {
		return fmt.Errorf("opening the records: %w", err)
	}
	u.directory = identity.Open(u.records, identity.Options{Cache: c.Memory.Records, Now: c.Now, Log: n.log})
	first := identity.Bootstrap{Account: c.Account}
	if c.Dev {
		first = identity.Bootstrap{Account: DevAccount, AccessKeyID: DevAccessKeyID, Secret: secret.New([]byte(DevSecretKey))}
	}
	installation, err := u.directory.Bootstrap(ctx, first)
	if err != nil {
		return fmt.Errorf("making the management account: %w", err)
	}
	if why := u.records.Accepted(); why != nil {
		if err := n.accepted(installation.Account, why); err != nil {
			return err
		}
	}
	u.ring, err = keyring.New(u.records, n.box, keyring.Options{
		Now: c.Now, Log: n.log, Arena: n.arena, Idle: c.Memory.Idle, Keys: c.Memory.Records, Aliases: c.Memory.Records,
		Deleted: n.deleted,
	})
	if err != nil {
		return fmt.Errorf("opening the keyring: %w", err)
	}
	if n.seed != nil {
		made, err := n.seed.Apply(ctx, u.directory, u.ring)
		if err != nil {
			return fmt.Errorf("seeding: %w", err)
		}
		n.log.Info("applied the seed", "made", made)
		n.seed = nil // it has secrets
	}
	az := new(authz.Authorizer)
	service := kms.New(u.ring, az, kms.Options{Box: n.box})
	services := []server.Service{
		{Name: kmsapi.SigningName, TargetPrefix: kmsapi.TargetPrefix, Operations: kmsapi.Operations(service)},
		n.operatorService(az, installation.Account),
	}
	if err := n.server.Unseal(server.Backend{Services: services, Credentials: u.directory, Audit: n.audit}); err != nil {
		return fmt.Errorf("beginning to serve: %w", err)
	}
	var jobs context.Context
	jobs, u.stop = context.WithCancel(context.Background())
	u.jobs.Go(func() { n.destroy(jobs, u.ring) })
	n.open = u
	return nil
}

// seal stops serving and wipes what was unsealed.
func (n *Node) seal() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.server != nil {
		n.server.Seal()
	}
	var err error
	if n.open != nil {
		err = n.open.close()
		n.open = nil
	}
	if n.box != nil {
		n.box.Lock()
	}
	return err
}

func (u *unsealed) close() error {
	var errs []error
	if u.stop != nil {
		u.stop()
		u.jobs.Wait()
	}
	if u.ring != nil {
		errs = append(errs, u.ring.Close())
	}
	if u.records != nil {
		errs = append(errs, u.records.Close())
	}
	return errors.Join(errs...)
}

func (n *Node) staleness() time.Duration {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.open == nil {
		return 0
	}
	return n.open.records.Staleness()
}

// destroyEvery is the default of Config.DestroyEvery.
const destroyEvery = 15 * time.Second

// destroy is the job that destroys keys when their waiting period has ended.
func (n *Node) destroy(ctx context.Context, ring *keyring.Ring) {
	tick := time.NewTicker(n.c.DestroyEvery)
	defer tick.Stop()
	for {
		if err := ring.RunDue(ctx, n.c.Now()); err != nil && ctx.Err() == nil {
			n.log.Error("destroying keys whose waiting period has ended", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
