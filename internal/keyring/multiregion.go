package keyring

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/keyreeve/keyreeve/internal/arn"
	"github.com/keyreeve/keyreeve/internal/authz"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/record"
	"github.com/keyreeve/keyreeve/internal/store"
	"github.com/keyreeve/keyreeve/policy"
)

// Related multi-Region keys have one id, material, spec, usage, origin and
// rotation, and a record each, in their Regions. What they know of each other
// (Metadata.MultiRegion) is in all of these records, and what they share is
// changed in all of them by one transaction: so no two of them ever say
// different things. Material is sealed for each of them, bound to its ARN.
//
// Two changes end some time after the call that asked for them, by a job, whose
// due record is part of the call's commit:
//
//	ReplicateKey         Creating → Enabled or PendingImport, with the material
//	UpdatePrimaryRegion  Updating → what both keys were before
//
// The job begins at once, beside the calls. Where that does not happen, because
// the process ends, it is done by the next [Ring.RunDue].

// MaxRegions is the most Regions that related multi-Region keys can be in. One
// transaction of the store has room for so many of their records, with a material
// and what is due for each.
const MaxRegions = (store.MaxOps - 4) / 3

// newMRK returns a random id of a multi-Region key: 16 bytes, as [newUUID]'s.
func newMRK() string {
	_, raw, _ := parseKeyID(newUUID())
	return string(appendKeyID(make([]byte, 0, 36), kindMRK, raw[:]))
}

// with returns a copy that another change can be made to.
func (m *MultiRegion) with(change func(*MultiRegion)) *MultiRegion {
	to := *m
	to.Regions = slices.Clone(m.Regions)
	change(&to)
	return &to
}

// join and leave change the Regions of a set.
func (m *MultiRegion) join(region string) {
	if i, there := slices.BinarySearch(m.Regions, region); !there {
		m.Regions = slices.Insert(m.Regions, i, region)
	}
}

func (m *MultiRegion) leave(region string) {
	m.Regions = slices.DeleteFunc(m.Regions, func(s string) bool { return s == region })
}

// HasReplicas reports whether the key is the primary of others.
func (m *Metadata) HasReplicas() bool { return m.IsPrimary() && len(m.MultiRegion.Regions) > 1 }

// ReplicaParams is a replica to be made of a multi-Region primary key.
type ReplicaParams struct {
	Region      string
	Description string
	Tags        []Tag     // names unique
	Policy      string    // empty for the default key policy
	Bindings    []Binding // who the policy names, in any order
}

// Replicate makes a replica of the key in another Region, durably, and returns
// what it is then: Creating. Soon it is Enabled, or PendingImport if its material
// is imported. Action: kms:ReplicateKey; the permit p is for kms:CreateKey on "*"
// of the account, by the call there, whose Region is the replica's. Errors:
// *NotPrimaryError, ErrExists, ErrLimit, ErrTooManyTags, ErrParameter, ErrStale;
// *policy.Error for a Policy that is none.
func (k Key) Replicate(ctx context.Context, there *call.Call, p authz.Permit, params ReplicaParams) (*Metadata, error) {
	if err := k.may(mayReplicate); err != nil {
		return nil, err
	}
	r, m := k.r, &k.s.m
	if p.Action() != "kms:CreateKey" || p.CheckAll(there, m.Account) != nil {
		return nil, authz.ErrNoPermit
	}
	// A call's key is not replicated as the system's own work, or the reverse.
	if (there == nil) != (k.c == nil) || there != nil && there.Region != params.Region {
		return nil, authz.ErrNoPermit
	}
	switch {
	case r.closed.Load():
		return nil, ErrClosed
	case !m.IsPrimary():
		return nil, &NotPrimaryError{ARN: m.ARN}
	case slices.Contains(m.MultiRegion.Regions, params.Region):
		return nil, ErrExists
	case len(m.MultiRegion.Regions) >= MaxRegions:
		return nil, ErrLimit
	case len(params.Tags) > MaxTags:
		return nil, ErrTooManyTags
	case len(params.Policy) > MaxPolicy || !validName(m.Account, params.Region, m.ID) || arn.Partition(params.Region) != arn.Partition(m.Region):
		return nil, fmt.Errorf("%w: policy or Region of a replica", ErrParameter)
	}
	if r.census == nil {
		return k.replicate(ctx, params)
	}
	keys := keyKey(m.Account, params.Region, "")
	if err := r.census.enter(ctx, keys, k.now()); err != nil {
		return nil, err
	}
	replica, err := k.replicate(ctx, params)
	r.census.made(keys, err == nil)
	return replica, err
}

func (k Key) replicate(ctx context.Context, params ReplicaParams) (*Metadata, error) {
	r, primary := k.r, &k.s.m
	set := primary.MultiRegion.with(func(set *MultiRegion) { set.join(params.Region) })
	m := &Metadata{
		Account:     primary.Account,
		Region:      params.Region,
		ID:          primary.ID,
		ARN:         arn.Key(params.Region, primary.Account, primary.ID),
		Spec:        primary.Spec,
		Usage:       primary.Usage,
		State:       Creating,
		Description: params.Description,
		Tags:        slices.Clone(params.Tags),
		Policy:      params.Policy,
		Bindings:    sortBindings(params.Bindings),
		Created:     k.now(),
		PublicKey:   primary.PublicKey,
		Origin:      primary.Origin,
		MaterialID:  primary.MaterialID,
		Materials:   slices.Clone(primary.Materials),
		Rotation:    primary.Rotation,
		MultiRegion: set,
	}
	if m.Policy == "" {
		m.Policy, m.Bindings = DefaultPolicy(m.Region, m.Account), nil
	} else if _, err := compilePolicy(m.Policy, m.Bindings, false); err != nil {
		return nil, err
	}
	if m.Origin == External {
		// The replica wants the same material, and has none of it.
		for i := range m.Materials {
			m.Materials[i].Imported, m.Materials[i].Expires = false, time.Time{}
		}
	}
	members, err := r.members(ctx, k.s)
	if err != nil {
		return nil, err
	}
	all := []*Metadata{m}
	changes := make([]keyChange, len(members))
	for i, s := range members {
		to := s.m
		to.MultiRegion = to.MultiRegion.with(func(set *MultiRegion) { set.join(params.Region) })
		to.Materials = slices.Clone(to.Materials)
		changes[i] = keyChange{s, &to}
		all = append(all, &to)
	}
	if m.Origin == External {
		awaitImports(all)
	}
	value, err := appendKey(nil, m)
	if err != nil {
		return nil, err
	}
	err = r.changeAll(ctx, changes, func(tx *record.Tx) {
		tx.Create(record.KindKey, keyKey(m.Account, m.Region, m.ID), value)
		for _, d := range dues(m) {
			tx.Create(record.KindDue, dueKey(d, m.Account, m.Region, m.ID), []byte{recordVersion})
		}
	})
	if err != nil {
		return nil, err
	}
	r.hurry(keyName{m.Account, m.Region, m.ID})
	return m, nil
}

// ReplicaResource returns what authorization is asked about a replica that is to
// be made with a policy that [CompilePolicy] has compiled: as if it were there.
func (k Key) ReplicaResource(params *ReplicaParams, p *policy.Policy) authz.Resource {
	m := k.s.m
	m.ARN, m.Region, m.Tags = arn.Key(params.Region, m.Account, m.ID), params.Region, params.Tags
	m.Revision, m.Aliases, m.aliasNames, m.grantees = 0, 0, nil, 0
	s := &Subject{m: m, policy: p}
	return s.Resource()
}

// MakePrimary makes a replica of the key the primary, and the key a replica.
// Both are Updating then, and soon Enabled again. Action: kms:UpdatePrimaryRegion,
// of both. Errors: *NotPrimaryError, ErrParameter (the other is no replica of it),
// ErrStale.
func (k Key) MakePrimary(ctx context.Context, replica Key) error {
	if k.may(mayUpdatePrimary) != nil || replica.may(mayUpdatePrimary) != nil {
		return authz.ErrNoPermit
	}
	was, is := &k.s.m, &replica.s.m
	if !was.IsPrimary() {
		return &NotPrimaryError{ARN: was.ARN}
	}
	if was.Account != is.Account || was.ID != is.ID || was.Region == is.Region || !slices.Contains(was.MultiRegion.Regions, is.Region) {
		return fmt.Errorf("%w: no replica of %s: %s", ErrParameter, was.ARN, is.ARN)
	}
	members, err := k.r.members(ctx, k.s)
	if err != nil {
		return err
	}
	changes := make([]keyChange, len(members))
	for i, s := range members {
		to := s.m
		both := to.Region == was.Region || to.Region == is.Region
		if to.Region == is.Region && to.Revision != is.Revision {
			return ErrStale
		}
		to.MultiRegion = to.MultiRegion.with(func(set *MultiRegion) {
			set.Primary = is.Region
			if both && to.State != Updating {
				set.Resume = to.State
			}
		})
		if both {
			to.State = Updating
		}
		changes[i] = keyChange{s, &to}
	}
	if err := k.r.changeAll(ctx, changes, nil); err != nil {
		return err
	}
	k.r.hurry(keyName{is.Account, is.Region, is.ID})
	k.r.hurry(keyName{was.Account, was.Region, was.ID})
	return nil
}

// synchronizeDue is synchronize, for a due record, which goes with the change.
func (k Key) synchronizeDue(ctx context.Context, _ record.Record) error {
	err := k.synchronize(ctx)
	if errors.Is(err, ErrStale) {
		return nil // changed meanwhile, by [Ring.errands] as a rule; else it is due still
	}
	return err
}

// synchronize ends the Creating or Updating of a key.
func (k Key) synchronize(ctx context.Context) error {
	if err := k.may(maySynchronize); err != nil {
		return err
	}
	members, err := k.r.members(ctx, k.s)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(members, func(s *Subject) bool { return s.m.IsPrimary() })
	if i < 0 {
		return fmt.Errorf("%w: %s has no primary key", errRecord, k.s.m.ARN)
	}
	primary := members[i]
	m := k.s.m
	switch m.State {
	case Creating:
		m.State = PendingImport
		if m.Origin == AWSKMS {
			m.State = Enabled
			m.MaterialID, m.Materials, m.Rotation = primary.m.MaterialID, primary.m.Materials, primary.m.Rotation
			if err := k.copyMaterial(ctx, primary); err != nil {
				return err
			}
		}
	case Updating:
		m.State = cmp.Or(m.MultiRegion.Resume, Enabled)
		m.MultiRegion = m.MultiRegion.with(func(set *MultiRegion) { set.Resume = "" })
	default:
		return nil
	}
	if m.IsPrimary() {
		return k.change(ctx, &m, nil)
	}
	e := event(SynchronizeMultiRegionKey, &primary.m)
	e.RequestID = newUUID()
	return k.r.recorded(ctx, e, func(ctx context.Context) error {
		return k.change(ctx, &m, func(tx *record.Tx) { tx.Check(primary.record()) })
	})
}

// copyMaterial seals all material of the primary key for a replica that is being
// made, but for what it has already.
func (k Key) copyMaterial(ctx context.Context, primary *Subject) error {
	r, m := k.r, &k.s.m
	for part := range slices.Chunk(primary.m.AllMaterials(), batch) {
		tx, n := r.records.Begin(), 0
		tx.Check(k.s.record())
		for _, mat := range part {
			key := matKey(m.Account, m.Region, m.ID, mat.ID)
			_, err := r.records.Get(ctx, record.KindMaterial, key)
			if err == nil {
				continue
			}
			if !errors.Is(err, record.ErrNotFound) {
				return fmt.Errorf("reading the material of %s: %w", m.ARN, err)
			}
			token, err := r.reseal(ctx, &primary.m, m.ARN, mat.ID)
			if err != nil {
				return err
			}
			tx.Create(record.KindMaterial, key, token)
			n++
		}
		if n == 0 {
			continue
		}
		if _, err := tx.Commit(ctx); errors.Is(err, record.ErrConflict) {
			return ErrStale
		} else if err != nil {
			return fmt.Errorf("storing the material of %s: %w", m.ARN, err)
		}
	}
	return nil
}

// reseal returns the record of a material of a key, sealed for a related one
// with another ARN.
func (r *Ring) reseal(ctx context.Context, of *Metadata, to, materialID string) ([]byte, error) {
	token, err := r.readToken(ctx, of, materialID)
	if err != nil {
		return nil, err
	}
	raw, err := r.openToken(nil, of.ARN, materialID, token)
	if err != nil {
		return nil, err
	}
	defer clear(raw)
	return r.sealToken(to, materialID, raw)
}

// part adds to the transaction that removes a key what its related multi-Region
// keys become without it. If that leaves only a primary which waits for its
// replicas, the waiting period of that begins.
func (r *Ring) part(ctx context.Context, tx *record.Tx, s *Subject) error {
	members, err := r.members(ctx, s)
	if err != nil {
		return err
	}
	var changes []keyChange
	var all []*Metadata
	for _, other := range members[1:] {
		to := other.m
		to.Materials = slices.Clone(to.Materials)
		to.MultiRegion = to.MultiRegion.with(func(set *MultiRegion) { set.leave(s.m.Region) })
		if to.State == PendingReplicaDeletion && len(to.MultiRegion.Regions) == 1 {
			to.State = PendingDeletion
			to.Deletion = r.instant(nil).Add(time.Duration(to.MultiRegion.Window) * 24 * time.Hour)
			to.MultiRegion.Window = 0
		}
		changes = append(changes, keyChange{other, &to})
		all = append(all, &to)
	}
	if s.m.Origin == External {
		awaitImports(all) // what only the removed key lacked
	}
	for _, c := range changes {
		if err := r.put(ctx, tx, c); err != nil {
			return err
		}
	}
	return nil
}

// awaitImports says of material that was imported into the primary key, and is
// not the current one yet, whether all its related keys have it. all are the
// members of a set, as they are to become.
func awaitImports(all []*Metadata) {
	has := make(map[string]int)
	for _, m := range all {
		for _, mat := range m.Materials {
			if mat.Imported {
				has[mat.ID]++
			}
		}
	}
	for _, m := range all {
		for i := range m.Materials {
			mat := &m.Materials[i]
			if mat.State != PendingRotation && mat.State != PendingMultiRegionImportAndRotation {
				continue
			}
			mat.State = PendingMultiRegionImportAndRotation
			if has[mat.ID] == len(all) {
				mat.State = PendingRotation
			}
		}
	}
}

// keyName is which key.
type keyName struct{ account, region, id string }

// An errand is a key whose job is to be done at once.
type errand struct {
	key  keyName
	done chan<- error // nil if nobody waits
}

// hurry has the job of a key that is Creating or Updating done at once, by
// [Ring.errands]; or by the next RunDue, if there are too many already.
func (r *Ring) hurry(key keyName) {
	select {
	case r.hurried <- errand{key: key}:
	default:
	}
}

// await does what hurry does, and waits for it.
func (r *Ring) await(ctx context.Context, key keyName) error {
	done := make(chan error, 1)
	select {
	case r.hurried <- errand{key, done}:
	case <-ctx.Done():
		return ctx.Err()
	case <-r.done:
		return ErrClosed
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-r.done:
		return ErrClosed
	}
}

// errands does the jobs of keys that hurry, until the ring is closed.
func (r *Ring) errands() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		<-r.done
		cancel()
	}()
	for {
		select {
		case <-r.done:
			return
		case e := <-r.hurried:
			err := Attempt(ctx, func() error { return r.run(ctx, e.key) })
			if e.done != nil {
				e.done <- err
			}
			if err != nil && ctx.Err() == nil {
				r.log.Warn("a multi-Region key could not be synchronized at once; it will be tried again",
					"account", e.key.account, "region", e.key.region, "key", e.key.id, "error", err)
			}
		}
	}
}

// run ends the Creating or Updating of a key; if it is neither, there is nothing
// to do.
func (r *Ring) run(ctx context.Context, key keyName) error {
	s, err := r.find(ctx, key.account, key.region, key.id)
	if errors.Is(err, ErrNotFound) || err == nil && s.m.State != Creating && s.m.State != Updating {
		return nil
	}
	if err != nil {
		return err
	}
	job := jobs[jobSynchronize]
	k, err := r.Open(ctx, nil, authz.System(job.purpose).Permit(job.action, s.Resource()))
	if err != nil {
		return err
	}
	return k.synchronize(ctx)
}
