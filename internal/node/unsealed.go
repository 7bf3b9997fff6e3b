package node

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/keyreeve/keyreeve/internal/account"
	"github.com/keyreeve/keyreeve/internal/api/accountapi"
	"github.com/keyreeve/keyreeve/internal/api/iamapi"
	"github.com/keyreeve/keyreeve/internal/api/kmsapi"
	"github.com/keyreeve/keyreeve/internal/api/organizationsapi"
	"github.com/keyreeve/keyreeve/internal/api/stsapi"
	"github.com/keyreeve/keyreeve/internal/audit"
	"github.com/keyreeve/keyreeve/internal/authz"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/cloudtrail"
	"github.com/keyreeve/keyreeve/internal/explain"
	"github.com/keyreeve/keyreeve/internal/iam"
	"github.com/keyreeve/keyreeve/internal/identity"
	"github.com/keyreeve/keyreeve/internal/keyring"
	"github.com/keyreeve/keyreeve/internal/kms"
	"github.com/keyreeve/keyreeve/internal/oidc"
	"github.com/keyreeve/keyreeve/internal/organizations"
	"github.com/keyreeve/keyreeve/internal/record"
	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/internal/seed"
	"github.com/keyreeve/keyreeve/internal/server"
	"github.com/keyreeve/keyreeve/internal/sts"
)

// unsealed is the part of a node that has secrets: made when it is unsealed,
// gone when it is sealed.
type unsealed struct {
	records   *record.Store
	directory *identity.Directory
	ring      *keyring.Ring
	uses      *keyring.Uses
	denials   *explain.Denials
	recorded

	journal *audit.Log // once it has keys

	stop context.CancelFunc // ends the jobs
	jobs sync.WaitGroup

	hurry  context.Context // ends when calls that wait for something are to end
	hasten context.CancelFunc
}

// unseal makes the unsealed part and begins to serve. The box must be open.
func (n *Node) unseal(ctx context.Context) (err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.shut {
		return errors.New("the node is closing")
	}
	if n.open.Load() != nil {
		return nil
	}
	c := &n.c
	u := new(unsealed)
	u.hurry, u.hasten = context.WithCancel(context.Background())
	defer func() {
		if err != nil {
			err = errors.Join(err, u.close())
		}
	}()
	u.journal = n.audit
	n.audit.Protect(n.box)
	if u.records, err = n.openRecords(ctx); err != nil {
		return fmt.Errorf("opening the records: %w", err)
	}
	blank, err := u.records.Blank(ctx)
	if err != nil {
		return fmt.Errorf("looking at the records: %w", err)
	}
	u.directory = identity.Open(u.records, identity.Options{
		Cache: c.Memory.Records, Memory: int64(c.Memory.Cache) / 5 * 2, Now: c.Now, Behind: n.watch.isBehind, OptIn: c.OptInRegions, Home: c.Region, Settled: n.settled, Log: n.log,
	})
	first := identity.Bootstrap{Account: c.Account}
	if c.Dev {
		first = identity.Bootstrap{Account: DevAccount, AccessKeyID: DevAccessKeyID, Secret: secret.New([]byte(DevSecretKey))}
	}
	installation, err := u.directory.Bootstrap(ctx, first)
	if err != nil {
		return fmt.Errorf("making the management account: %w", err)
	}
	n.management.Store(&installation.Account)
	// Not before: a store with nothing but such notes of the node is one that a
	// first start left half-made, and the mark tells it from one that was
	// emptied by there being no later ones.
	if err := n.watch.load(ctx, u.records); err != nil {
		return err
	}
	if err := n.audit.Attach(ctx, vault{u.records}, blank); err != nil {
		return fmt.Errorf("looking for changes that are not on record: %w", err)
	}
	n.reportDamage()
	u.ring, err = keyring.New(u.records, n.box, keyring.Options{
		Now: c.Now, Log: n.log, Arena: n.arena, Idle: c.Memory.Idle, Keys: c.Memory.Records, Aliases: c.Memory.Records,
		Grants: c.Memory.Records, Memory: int64(c.Memory.Cache) / 5 * 3, GrantDelay: c.Grants.Delay,
		KeysPerRegion: c.Quotas.Keys, Record: n.keyEvent,
	})
	if err != nil {
		return fmt.Errorf("opening the keyring: %w", err)
	}
	u.uses = keyring.NewUses(u.ring, keyring.UsesOptions{Certain: n.watch.certain})
	if err := u.uses.Begin(ctx); err != nil {
		return err
	}
	if n.seed != nil {
		made, err := n.applySeed(ctx, u)
		if err != nil {
			return fmt.Errorf("seeding: %w", err)
		}
		n.log.Info("applied the seed", "made", made)
		n.seed = nil // it has secrets
	}
	u.denials = explain.NewDenials(n.box)
	if err := n.openRecorded(ctx, u); err != nil {
		return err
	}
	az := authz.New(u.directory)
	keys := kms.New(u.ring, az, kms.Options{Box: n.box, Uses: u.uses, Principals: u.directory, Regions: c.Regions, Quotas: n.quotas, Attestation: n.roots})
	identities := iam.New(u.directory, az, iam.Options{Box: n.box})
	tokens := sts.New(u.directory, az, sts.Options{Tokens: oidc.New(n.outbound, c.Now, n.log)})
	organization := organizations.New(u.directory, az, organizations.Options{Box: n.box, Log: n.log})
	trails := cloudtrail.New(az, cloudtrail.Options{Trails: u.trails, Events: u.events, Keys: &u.recorded, Box: n.box, Quotas: n.quotas, Log: n.log})
	services := []server.Service{
		{Name: kmsapi.SigningName, TargetPrefix: kmsapi.TargetPrefix, Operations: kmsapi.Operations(keys), ReadOnly: kmsapi.ReadOnly},
		{
			Name: iamapi.SigningName, Protocol: server.Query, Version: iamapi.Version, Namespace: iamapi.Namespace, Global: true,
			Operations: iamapi.Operations(identities), Admit: sts.MayCallIAM, ReadOnly: iamapi.ReadOnly,
		},
		{
			Name: stsapi.SigningName, Protocol: server.Query, Version: stsapi.Version, Namespace: stsapi.Namespace,
			Operations: stsapi.Operations(tokens), Skew: sts.Skew, Unsigned: sts.Unsigned, ReadOnly: stsapi.ReadOnly,
		},
		{
			Name: organizationsapi.SigningName, TargetPrefix: organizationsapi.TargetPrefix, Global: true, CapitalErrors: true, Fault: "ServiceException",
			Operations: organizationsapi.Operations(organization), ReadOnly: organizationsapi.ReadOnly,
		},
		{
			Name: accountapi.SigningName, Protocol: server.REST, Paths: accountapi.Paths(), Global: true, Fault: "InternalServerException",
			Operations: accountapi.Operations(account.New(u.directory, az, c.Regions, n.box)), ReadOnly: accountapi.ReadOnly,
		},
		trailService(trails),
		n.operatorService(az, u, installation.Account, trails),
	}
	services = append(services, n.certificateService(az, u.directory)...)
	var recorder server.Recorder = keys.Recording(u.denials.Recording(n.audit))
	if c.wrapRecorder != nil {
		recorder = c.wrapRecorder(recorder)
	}
	if err := n.server.Unseal(server.Backend{
		Services: services, Credentials: u.directory, Audit: recorder, Intend: n.audit.Intend, Used: u.directory.NoteUse,
	}); err != nil {
		return fmt.Errorf("beginning to serve: %w", err)
	}
	var jobs context.Context
	jobs, u.stop = context.WithCancel(context.Background())
	u.jobs.Go(func() { n.audit.Keep(jobs) })
	u.jobs.Go(func() {
		if err := n.audit.Examine(jobs); err != nil {
			n.log.Error("the audit journal could not be verified", "error", err)
		}
	})
	u.jobs.Go(func() { n.work(jobs, u.ring, u.records) })
	u.jobs.Go(func() { n.compactions(jobs) })
	u.jobs.Go(func() { u.directory.KeepUses(jobs, identity.StoreUses, sealGrace) })
	u.jobs.Go(func() { u.uses.Keep(jobs, keyring.StoreUses, sealGrace) })
	u.jobs.Go(func() { organization.Run(jobs) })
	u.run(jobs, u)
	n.open.Store(u)
	return nil
}

// openRecords opens the records. A store that may have been rolled back is
// accepted by the first that are opened: the operator has looked at the store
// as it was when the node was started, and at no other.
func (n *Node) openRecords(ctx context.Context) (*record.Store, error) {
	c := &n.c
	o := record.Options{AcceptRollback: c.AcceptRollback && !n.took, Now: c.Now, Log: n.log}
	if !c.Ephemeral {
		o.Mark = c.Seal.Mark
	}
	if o.AcceptRollback {
		// What could not be put on record is not to be done.
		if err := n.audit.Err(); err != nil {
			return nil, err
		}
	}
	rs, err := record.Open(ctx, n.store, n.box, o)
	if err != nil {
		return nil, err
	}
	n.took = true
	if why := rs.Accepted(); why != nil {
		n.log.Warn("the store was accepted although it may have been rolled back", "reason", why)
		if err := n.happened(eventRollback, call.Pair{Name: "reason", Value: why.Error()}); err != nil {
			return nil, errors.Join(err, rs.Close())
		}
	}
	return rs, nil
}

// applySeed makes what the seed has. What it has made is on record also if it
// fails half-way, or the process ends: then without how much it was.
func (n *Node) applySeed(ctx context.Context, u *unsealed) (seed.Made, error) {
	i := n.audit.IntendEvent(n.event(eventSeed))
	defer i.Leave()
	made, err := n.seed.Apply(record.WithIntent(ctx, i), u.directory, u.ring)
	if made != (seed.Made{}) {
		i.Tell(n.event(eventSeed, counts(made)...))
		err = errors.Join(err, i.Append())
	}
	return made, err
}

// counts is what a seed has made, for the record.
func counts(m seed.Made) []call.Pair {
	var pairs []call.Pair
	for _, c := range m.Counts() {
		pairs = append(pairs, call.Pair{Name: c.Of, Value: strconv.Itoa(c.N)})
	}
	return pairs
}

// sealGrace is how long keys may stay where the store hangs: after it, they are
// dropped, whoever still waits for what. sealTimeout is how long all else may
// take to be closed.
const (
	sealGrace   = time.Second
	sealTimeout = 10 * time.Second
)

// seal stops serving and wipes what was unsealed. Where the disk hangs, calls
// under way are given a second, then the keys are dropped, and only then
// closing the rest is waited for: that is what has to write.
func (n *Node) seal() error {
	n.hasten()
	if n.server != nil {
		n.server.Seal()
	}
	if n.box != nil {
		// In good order the mark is written first, for which it takes keys.
		defer time.AfterFunc(sealGrace, n.box.Lock).Stop()
	}
	closed := make(chan error, 1)
	go func() {
		n.mu.Lock() // an unseal may hang as well
		defer n.mu.Unlock()
		if n.server != nil {
			n.server.Seal()
		}
		var err error
		if u := n.open.Swap(nil); u != nil {
			err = u.close()
		}
		if n.box != nil {
			n.box.Lock()
		}
		closed <- err
	}()
	select {
	case err := <-closed:
		return err
	case <-time.After(sealTimeout):
		return fmt.Errorf("the node is sealed, but what was open could not be closed within %v", sealTimeout)
	}
}

// hasten ends calls that wait for something to happen, so that nobody waits for
// them.
func (n *Node) hasten() {
	if u := n.open.Load(); u != nil {
		u.hasten()
	}
}

func (u *unsealed) close() error {
	var errs []error
	u.hasten()
	if u.stop != nil {
		u.stop()
		u.jobs.Wait()
	}
	if u.ring != nil {
		errs = append(errs, u.ring.Close())
	}
	errs = append(errs, u.recorded.close())
	if u.journal != nil {
		u.journal.Detach()
	}
	if u.records != nil {
		errs = append(errs, u.records.Close())
	}
	if u.journal != nil {
		u.journal.Unprotect()
	}
	return errors.Join(errs...)
}

func (n *Node) staleness() time.Duration {
	u := n.open.Load()
	if u == nil {
		return 0
	}
	return u.records.Staleness()
}
