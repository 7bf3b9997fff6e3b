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
	if err := s.checkReplicaRegion(c.Region, in.ReplicaRegion); err != nil {
		return err
	}
	key, err := s.use(ctx, c, &toReplicateKey, in.KeyID, &asked{more: []attribute{{"kms:replicaregion", policy.String(in.ReplicaRegion)}}})
	if err != nil {
		return err
	}
	primary := key.Metadata()
	if !primary.IsPrimary() {
		return &keyring.NotPrimaryError{ARN: primary.ARN}
	}
	if in.ReplicaRegion == primary.Region {
		return wire.Validation(primary.Region + " cannot have a replica because it contains the primary.")
	}
	// What follows happens in the other Region.
	there := c.In(in.ReplicaRegion, createReplica)
	created := newReplica(primary, in)
	permitThere, err := s.decideCreation(ctx, there, askedKey(created, kmsapi.MultiRegionKeyTypeReplica))
	if err != nil {
		c.Denial, c.DecisionText = there.Denial, there.DecisionText
		return err
	}
	if err := checkEnabled(c, in.ReplicaRegion); err != nil {
		return err
	}
	switch {
	case !offered(in.ReplicaRegion, primary.Spec):
		return notOffered("KeySpec " + string(primary.Spec))
	case !slices.Contains(primary.MultiRegion.Regions, in.ReplicaRegion) && len(primary.MultiRegion.Regions) >= keyring.MaxRegions:
		return kmsapi.LimitExceededException("The limit of replicas of " + primary.ARN + " has been reached.")
	}
	params := keyring.ReplicaParams{Region: in.ReplicaRegion, Description: in.Description}
	if params.Tags, err = newTags(in.Tags); err != nil {
		return err
	}
	compiled, err := keyring.CompilePolicy(keyring.DefaultPolicy(in.ReplicaRegion, primary.Account), nil)
	if err != nil {
		return err
	}
	if in.Policy != "" {
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
	shown, err := s.print(ctx, in.ReplicaRegion, compiled, params.Bindings)
	if err != nil {
		return err
	}
	// Before the change, so that what is noted with it tells of both.
	replica := arn.Key(in.ReplicaRegion, primary.Account, primary.ID)
	there.Parameters = created
	there.AddKey(replica, primary.Account)
	c.Onward = append(c.Onward, there)
	m, err := key.Replicate(ctx, there, permitThere, params)
	switch {
	case errors.Is(err, keyring.ErrExists):
		return kmsapi.AlreadyExistsException("You can create only one replica of each primary key in each AWS Region.")
	case errors.Is(err, keyring.ErrLimit):
		return noRoom(primary.Account, in.ReplicaRegion)
	case err != nil:
		return err
	}
	out.ReplicaKeyMetadata, out.ReplicaPolicy, out.ReplicaTags = metadata(m), shown, in.Tags
	there.Elements = &kmsapi.CreateKeyOutput{KeyMetadata: out.ReplicaKeyMetadata}
	return nil
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

// checkReplicaRegion checks the Region of a replica of a key in the Region of the
// primary.
func (s *Service) checkReplicaRegion(primary, replica string) error {
	switch {
	case arn.Partition(replica) != arn.Partition(primary):
		return wire.Validation("The replica key Region must be in the same AWS partition as the primary key Region.")
	case s.regions != nil && !slices.Contains(s.regions, replica):
		return wire.Validation("Region " + replica + " is not a valid Region or multi-Region keys are not supported in Region " + replica + ".")
	}
	return nil
}

// checkEnabled refuses what happens in a Region that the caller's account has not
// enabled.
func checkEnabled(c *call.Call, region string) error {
	if slices.Contains(c.Caller.Closed, region) {
		return kmsapi.UnsupportedOperationException("Region " + region + " is not enabled for account " + c.Caller.Account + ".")
	}
	return nil
}

// notPrimary is the error of an operation on a key that is no multi-Region primary
// key, where it must be one, or is a replica, where it must not.
func notPrimary(operation, keyARN string) error {
	switch operation {
	case "ReplicateKey":
		return kmsapi.UnsupportedOperationException(keyARN + " is not a multi-region primary key.")
	case "UpdatePrimaryRegion":
		return kmsapi.KMSInvalidStateException(keyARN + " is not a multi-Region primary key.")
	}
	return kmsapi.UnsupportedOperationException(keyARN + " is a multi-region replica key which is not valid for " + operation + ".")
}

// UpdatePrimaryRegion implements [kmsapi.Handler].
func (s *Service) UpdatePrimaryRegion(ctx context.Context, c *call.Call, in *kmsapi.UpdatePrimaryRegionInput, out *kmsapi.UpdatePrimaryRegionOutput) error {
	return serve(ctx, s, c, in, out, (*Service).updatePrimaryRegion)
}

func (s *Service) updatePrimaryRegion(ctx context.Context, c *call.Call, in *kmsapi.UpdatePrimaryRegionInput, _ *kmsapi.UpdatePrimaryRegionOutput) error {
	q := &asked{more: []attribute{{"kms:primaryregion", policy.String(in.PrimaryRegion)}}}
	key, err := s.use(ctx, c, &toUpdatePrimaryRegion, in.KeyID, q)
	if err != nil {
		return err
	}
	m := key.Metadata()
	switch {
	case m.MultiRegion == nil:
		return kmsapi.UnsupportedOperationException(m.ARN + " is not a multi-region primary key.")
	case !m.IsPrimary():
		return &keyring.NotPrimaryError{ARN: m.ARN}
	case in.PrimaryRegion == m.Region:
		return nil // it is there already
	}
	replica := found{}
	there := c.In(in.PrimaryRegion, c.Operation)
	replica.subject, err = s.ring.Find(ctx, m.Account, in.PrimaryRegion, m.ID)
	if errors.Is(err, keyring.ErrNotFound) {
		return wire.Validation(m.ID + " does not have a replica key in the specified Region.")
	}
	if err != nil {
		return err
	}
	permitThere, err := s.decide(ctx, there, toUpdatePrimaryRegion.action, replica, q)
	if err != nil {
		c.Denial, c.DecisionText = there.Denial, there.DecisionText
		return err
	}
	if err := checkEnabled(c, in.PrimaryRegion); err != nil {
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
