package kms

import (
	"context"
	"errors"
	"slices"

	"github.com/keyreeve/keyreeve/internal/api/kmsapi"
	"github.com/keyreeve/keyreeve/internal/arn"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/keyring"
	"github.com/keyreeve/keyreeve/internal/wire"
	"github.com/keyreeve/keyreeve/policy"
)

var (
	toReplicateKey        = access{action: "kms:ReplicateKey", arnErrors: true}
	toUpdatePrimaryRegion = access{action: "kms:UpdatePrimaryRegion", arnErrors: true}
)

// createReplica is what a ReplicateKey does in the Region of the replica, where it
// is decided on and recorded as such.
var createReplica = &call.Operation{Name: "CreateKey", Service: kmsapi.SigningName, EventSource: kmsapi.EventSource}

// ReplicateKey implements [kmsapi.Handler].
func (s *Service) ReplicateKey(ctx context.Context, c *call.Call, in *kmsapi.ReplicateKeyInput, out *kmsapi.ReplicateKeyOutput) error {
	return serve(ctx, s, c, in, out, (*Service).replicateKey)
}

func (s *Service) replicateKey(ctx context.Context, c *call.Call, in *kmsapi.ReplicateKeyInput, out *kmsapi.ReplicateKeyOutput) error {
	if err := s.checkRegion(c, "ReplicaRegion", in.ReplicaRegion); err != nil {
		return err
	}
	f, err := s.find(ctx, c, &toReplicateKey, in.KeyID)
	if err != nil {
		return err
	}
	permit, err := s.decide(ctx, c, toReplicateKey.action, f, &asked{more: []attribute{{"kms:replicaregion", policy.String(in.ReplicaRegion)}}})
	if err != nil {
		return err
	}
	key, err := s.open(ctx, c, f, permit)
	if err != nil {
		return err
	}
	primary := key.Metadata()
	if !primary.IsPrimary() {
		return &keyring.NotPrimaryError{ARN: primary.ARN}
	}
	// What follows happens in the other Region.
	there := c.In(in.ReplicaRegion, createReplica)
	created := newReplica(primary, in)
	permitThere, err := s.decideCreation(ctx, there, askedKey(created, kmsapi.MultiRegionKeyTypeReplica))
	if err != nil {
		c.Denial, c.DecisionText = there.Denial, there.DecisionText
		return err
	}
	switch {
	case slices.Contains(c.Caller.Closed, in.ReplicaRegion):
		return kmsapi.UnsupportedOperationException("Region " + in.ReplicaRegion + " is not enabled for account " + c.Caller.Account + ".")
	case !offered(in.ReplicaRegion, primary.Spec):
		return notOffered("KeySpec " + string(primary.Spec))
	case !slices.Contains(primary.MultiRegion.Regions, in.ReplicaRegion) && len(primary.MultiRegion.Regions) >= keyring.MaxRegions:
		return kmsapi.LimitExceededException("The limit of replicas of " + primary.ARN + " has been reached.")
	}
	params := keyring.ReplicaParams{Region: in.ReplicaRegion, Description: in.Description}
	if params.Tags, err = newTags(in.Tags); err != nil {
		return err
	}
	if in.Policy != "" {
		var compiled *policy.Policy
		if compiled, params.Bindings, err = s.newPolicy(ctx, in.Policy); err != nil {
			return err
		}
		params.Policy = in.Policy
		if !in.BypassPolicyLockoutSafetyCheck {
			r := key.ReplicaResource(&params, compiled)
			if err := s.checkLockout(ctx, there, newQuestion(r, &asked{more: flag(bypassKey, created.BypassPolicyLockoutSafetyCheck)})); err != nil {
				return err
			}
		}
	}
	// Before the change, so that what is noted with it tells of both.
	replica := arn.Key(in.ReplicaRegion, primary.Account, primary.ID)
	there.Parameters = created
	there.AddKey(replica, primary.Account)
	c.Onward = append(c.Onward, there)
	m, err := key.Replicate(ctx, there, permitThere, params)
	switch {
	case errors.Is(err, keyring.ErrExists):
		return kmsapi.AlreadyExistsException("A related multi-Region key already exists: " + replica)
	case errors.Is(err, keyring.ErrLimit):
		return noRoom(primary.Account, in.ReplicaRegion)
	case err != nil:
		return err
	}
	out.ReplicaKeyMetadata = metadata(m)
	there.Elements = &kmsapi.CreateKeyOutput{KeyMetadata: out.ReplicaKeyMetadata}
	out.ReplicaTags = in.Tags
	compiled, err := keyring.CompilePolicy(m.Policy, m.Bindings)
	if err == nil {
		out.ReplicaPolicy, err = s.print(ctx, m, compiled)
	}
	return err
}

// newReplica is the CreateKey that makes a replica.
func newReplica(m *keyring.Metadata, in *kmsapi.ReplicateKeyInput) *kmsapi.CreateKeyInput {
	created := &kmsapi.CreateKeyInput{
		Policy: in.Policy, Description: in.Description, Tags: in.Tags, MultiRegion: true,
		KeySpec: kmsapi.KeySpec(m.Spec), KeyUsage: kmsapi.KeyUsageType(m.Usage), Origin: kmsapi.OriginType(m.Origin),
	}
	if in.BypassPolicyLockoutSafetyCheck {
		created.BypassPolicyLockoutSafetyCheck = &in.BypassPolicyLockoutSafetyCheck
	}
	return created
}

// checkRegion checks a Region that a request names, next to that of the call.
func (s *Service) checkRegion(c *call.Call, member, region string) error {
	known := s.regions == nil || slices.Contains(s.regions, region)
	if !known || arn.Partition(region) != arn.Partition(c.Region) {
		return wire.Validation(member + " " + region + " is not a Region of partition " + arn.Partition(c.Region) + ".")
	}
	return nil
}

// UpdatePrimaryRegion implements [kmsapi.Handler].
func (s *Service) UpdatePrimaryRegion(ctx context.Context, c *call.Call, in *kmsapi.UpdatePrimaryRegionInput, out *kmsapi.UpdatePrimaryRegionOutput) error {
	return serve(ctx, s, c, in, out, (*Service).updatePrimaryRegion)
}

func (s *Service) updatePrimaryRegion(ctx context.Context, c *call.Call, in *kmsapi.UpdatePrimaryRegionInput, _ *kmsapi.UpdatePrimaryRegionOutput) error {
	if err := s.checkRegion(c, "PrimaryRegion", in.PrimaryRegion); err != nil {
		return err
	}
	f, err := s.find(ctx, c, &toUpdatePrimaryRegion, in.KeyID)
	if err != nil {
		return err
	}
	q := &asked{more: []attribute{{"kms:primaryregion", policy.String(in.PrimaryRegion)}}}
	permit, err := s.decide(ctx, c, toUpdatePrimaryRegion.action, f, q)
	if err != nil {
		return err
	}
	key, err := s.open(ctx, c, f, permit)
	if err != nil {
		return err
	}
	m := key.Metadata()
	switch {
	case !m.IsPrimary():
		return &keyring.NotPrimaryError{ARN: m.ARN}
	case in.PrimaryRegion == m.Region:
		return kmsapi.UnsupportedOperationException(m.ARN + " is the multi-region primary key already.")
	}
	replica := found{}
	there := c.In(in.PrimaryRegion, c.Operation)
	replica.subject, err = s.ring.Find(ctx, m.Account, in.PrimaryRegion, m.ID)
	if errors.Is(err, keyring.ErrNotFound) {
		return noSuchKey(arn.Key(in.PrimaryRegion, m.Account, m.ID))
	}
	if err != nil {
		return err
	}
	permitThere, err := s.decide(ctx, there, toUpdatePrimaryRegion.action, replica, q)
	if err != nil {
		c.Denial, c.DecisionText = there.Denial, there.DecisionText
		return err
	}
	next, err := s.ring.Open(ctx, there, permitThere)
	if errors.Is(err, keyring.ErrNotFound) {
		return noSuchKey(replica.subject.ARN()) // destroyed a moment ago
	}
	if err != nil {
		return err
	}
	// Its record shows no resources, as AWS's; what it names is in the parameters.
	there.Parameters = &kmsapi.UpdatePrimaryRegionInput{KeyID: replica.subject.ARN(), PrimaryRegion: in.PrimaryRegion}
	there.Elements = kmsapi.KeyElement(replica.subject.ARN())
	c.Onward = append(c.Onward, there)
	return key.MakePrimary(ctx, next)
}

// related says in the API's terms which keys are related to a multi-Region key,
// the key itself among them.
func related(m *keyring.Metadata) *kmsapi.MultiRegionConfiguration {
	set := m.MultiRegion
	named := func(region string) kmsapi.MultiRegionKey {
		return kmsapi.MultiRegionKey{ARN: arn.Key(region, m.Account, m.ID), Region: region}
	}
	primary := named(set.Primary)
	all := &kmsapi.MultiRegionConfiguration{
		MultiRegionKeyType: kmsapi.MultiRegionKeyTypeReplica, PrimaryKey: &primary, ReplicaKeys: []kmsapi.MultiRegionKey{},
	}
	if m.IsPrimary() {
		all.MultiRegionKeyType = kmsapi.MultiRegionKeyTypePrimary
	}
	for _, region := range set.Regions {
		if region != set.Primary {
			all.ReplicaKeys = append(all.ReplicaKeys, named(region))
		}
	}
	return all
}
