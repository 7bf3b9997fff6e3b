package kms

import (
	"cmp"
	"context"
	"errors"

	"github.com/keyreeve/keyreeve/internal/api/kmsapi"
	"github.com/keyreeve/keyreeve/internal/arn"
	"github.com/keyreeve/keyreeve/internal/authz"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/keyring"
	"github.com/keyreeve/keyreeve/internal/wire"
	"github.com/keyreeve/keyreeve/policy"
)

var (
	toDescribeKey          = access{action: "kms:DescribeKey", shared: true, arnErrors: true}
	toUpdateKeyDescription = access{action: "kms:UpdateKeyDescription", arnErrors: true}
	toGetPublicKey         = access{action: "kms:GetPublicKey", shared: true, arnErrors: true}
)

// CreateKey implements [kmsapi.Handler].
func (s *Service) CreateKey(ctx context.Context, c *call.Call, in *kmsapi.CreateKeyInput, out *kmsapi.CreateKeyOutput) error {
	return serve(ctx, s, c, in, out, (*Service).createKey)
}

func (s *Service) createKey(ctx context.Context, c *call.Call, in *kmsapi.CreateKeyInput, out *kmsapi.CreateKeyOutput) error {
	account := c.Caller.Account
	permit, err := s.decideCreation(ctx, c, askedKey(in, kmsapi.MultiRegionKeyTypePrimary))
	if err != nil {
		return err
	}
	if err := refuseLater(in); err != nil {
		return err
	}
	spec, usage, err := keyType(c.Region, in)
	if err != nil {
		return err
	}
	if in.Origin == kmsapi.OriginTypeExternal && !spec.Importable() {
		return wire.Validation("KeySpec " + string(spec) + " is not supported for Origin EXTERNAL")
	}
	tags, err := newTags(in.Tags)
	if err != nil {
		return err
	}
	params := keyring.CreateParams{
		Account:     account,
		Region:      c.Region,
		Spec:        spec,
		Usage:       usage,
		Origin:      keyring.Origin(in.Origin),
		Description: in.Description,
		Tags:        tags,
		MultiRegion: in.MultiRegion,
	}
	if in.Policy != "" {
		if err := s.policyOfNewKey(ctx, c, in, &params); err != nil {
			return err
		}
	}
	m, err := s.ring.Create(ctx, c, permit, params)
	if errors.Is(err, keyring.ErrLimit) {
		return noRoom(account, c.Region)
	}
	if err != nil {
		return err
	}
	out.KeyMetadata = metadata(m)
	return nil
}

// decideCreation returns the permit to make a key in the Region of a call, with
// the tags that are asked for.
func (s *Service) decideCreation(ctx context.Context, c *call.Call, q *asked) (authz.Permit, error) {
	permit, err := s.decideAll(ctx, c, "kms:CreateKey", q)
	if err == nil && len(q.tags) > 0 {
		// What the tags will be on has no id yet, and no tags.
		anyKey := authz.Resource{ARN: arn.Key(c.Region, c.Caller.Account, "*"), Account: c.Caller.Account}
		_, err = s.ask(ctx, c, toTagResource.action, anyKey, q)
	}
	if err != nil {
		return authz.Permit{}, err
	}
	return permit, nil
}

// noRoom says that an account may have no more keys in a Region.
func noRoom(account, region string) error {
	return kmsapi.LimitExceededException("The limit of KMS keys in account " + account + " and Region " + region + " has been reached.")
}

// askedKey is what CreateKey asks for, whether it can be had or not. A
// multi-Region key will be of the type.
func askedKey(in *kmsapi.CreateKeyInput, as kmsapi.MultiRegionKeyType) *asked {
	q := &asked{
		tags:    in.Tags,
		tagKeys: tagKeys(in.Tags),
		more: []attribute{
			{"kms:keyspec", text(cmp.Or(string(in.KeySpec), string(in.CustomerMasterKeySpec), string(keyring.SymmetricDefault)))},
			{"kms:keyusage", text(cmp.Or(string(in.KeyUsage), string(keyring.EncryptDecrypt)))},
			{"kms:keyorigin", text(string(cmp.Or(in.Origin, kmsapi.OriginTypeAwsKms)))},
			{"kms:multiregion", policy.Bool(in.MultiRegion)},
		},
	}
	if in.MultiRegion {
		q.more = append(q.more, attribute{"kms:multiregionkeytype", policy.String(string(as))})
	}
	q.more = append(q.more, flag(bypassKey, in.BypassPolicyLockoutSafetyCheck)...)
	return q
}

// refuseLater refuses the parameters of CreateKey that this version cannot act on.
func refuseLater(in *kmsapi.CreateKeyInput) error {
	switch {
	case in.Origin != "" && in.Origin != kmsapi.OriginTypeAwsKms && in.Origin != kmsapi.OriginTypeExternal:
		return unsupported("Origin " + string(in.Origin))
	case in.CustomKeyStoreID != "":
		return unsupported("CustomKeyStoreId")
	case in.XksKeyID != "":
		return unsupported("XksKeyId")
	}
	return nil
}

// keyType returns the spec and usage of the key to create in a Region.
func keyType(region string, in *kmsapi.CreateKeyInput) (keyring.Spec, keyring.Usage, error) {
	spec := keyring.Spec(in.KeySpec)
	if in.CustomerMasterKeySpec != "" {
		if spec != "" {
			return "", "", wire.Validation("You cannot specify KeySpec and CustomerMasterKeySpec in the same request. CustomerMasterKeySpec is deprecated.")
		}
		spec = keyring.Spec(in.CustomerMasterKeySpec)
	}
	if spec == "" {
		spec = keyring.SymmetricDefault
	}
	usage := keyring.Usage(in.KeyUsage)
	if usage == "" {
		if spec != keyring.SymmetricDefault {
			return "", "", wire.Validation("You must specify a KeyUsage value for all KMS keys except for symmetric encryption keys.")
		}
		usage = keyring.EncryptDecrypt
	}
	switch {
	case !spec.Known():
		return "", "", unsupported("KeySpec " + string(spec))
	case !offered(region, spec):
		return "", "", notOffered("KeySpec " + string(spec))
	case keyring.Compatible(spec, usage):
		return spec, usage, nil
	}
	return "", "", wire.Validation("KeyUsage " + string(usage) + " is not compatible with KeySpec " + string(spec))
}

// offered reports whether a Region has keys and data key pairs of a spec: of
// AWS's Regions, those in China alone have SM2, and they have no ML-KEM.
func offered(region string, s keyring.Spec) bool {
	if arn.Partition(region) == "aws-cn" {
		return !keyring.Compatible(s, keyring.EncapsulateDecapsulate)
	}
	return s != keyring.SM2
}

// DescribeKey implements [kmsapi.Handler].
func (s *Service) DescribeKey(ctx context.Context, c *call.Call, in *kmsapi.DescribeKeyInput, out *kmsapi.DescribeKeyOutput) error {
	return serve(ctx, s, c, in, out, (*Service).describeKey)
}

func (s *Service) describeKey(ctx context.Context, c *call.Call, in *kmsapi.DescribeKeyInput, out *kmsapi.DescribeKeyOutput) error {
	key, err := s.use(ctx, c, &toDescribeKey, in.KeyID, &asked{tokens: in.GrantTokens})
	if err != nil {
		return err
	}
	out.KeyMetadata = metadata(key.Metadata())
	return nil
}

// ListKeys implements [kmsapi.Handler].
func (s *Service) ListKeys(ctx context.Context, c *call.Call, in *kmsapi.ListKeysInput, out *kmsapi.ListKeysOutput) error {
	return serve(ctx, s, c, in, out, (*Service).listKeys)
}

func (s *Service) listKeys(ctx context.Context, c *call.Call, in *kmsapi.ListKeysInput, out *kmsapi.ListKeysOutput) error {
	limit, err := pageSize(in.Limit, 100, 1000)
	if err != nil {
		return err
	}
	permit, err := s.decideAll(ctx, c, "kms:ListKeys", nil)
	if err != nil {
		return err
	}
	after, err := s.resume(c, "", in.Marker)
	if err != nil {
		return err
	}
	keys, more, err := s.ring.Keys(ctx, c, permit, c.Caller.Account, c.Region, after, limit)
	if err != nil {
		return err
	}
	out.Keys = make([]kmsapi.KeyListEntry, len(keys))
	for i, k := range keys {
		out.Keys[i] = kmsapi.KeyListEntry{KeyID: k.ID, KeyARN: k.ARN}
	}
	if more {
		out.Truncated = true
		out.NextMarker, err = s.marker(c, "", keys[len(keys)-1].ID)
	}
	return err
}

// UpdateKeyDescription implements [kmsapi.Handler].
func (s *Service) UpdateKeyDescription(ctx context.Context, c *call.Call, in *kmsapi.UpdateKeyDescriptionInput, out *kmsapi.UpdateKeyDescriptionOutput) error {
	return serve(ctx, s, c, in, out, (*Service).updateKeyDescription)
}

func (s *Service) updateKeyDescription(ctx context.Context, c *call.Call, in *kmsapi.UpdateKeyDescriptionInput, _ *kmsapi.UpdateKeyDescriptionOutput) error {
	key, err := s.use(ctx, c, &toUpdateKeyDescription, in.KeyID, nil)
	if err != nil {
		return err
	}
	return key.SetDescription(ctx, in.Description)
}

// GetPublicKey implements [kmsapi.Handler].
func (s *Service) GetPublicKey(ctx context.Context, c *call.Call, in *kmsapi.GetPublicKeyInput, out *kmsapi.GetPublicKeyOutput) error {
	return serve(ctx, s, c, in, out, (*Service).getPublicKey)
}

func (s *Service) getPublicKey(ctx context.Context, c *call.Call, in *kmsapi.GetPublicKeyInput, out *kmsapi.GetPublicKeyOutput) error {
	key, err := s.use(ctx, c, &toGetPublicKey, in.KeyID, &asked{tokens: in.GrantTokens})
	if err != nil {
		return err
	}
	m := key.Metadata()
	out.PublicKey, err = key.PublicKey()
	if errors.Is(err, keyring.ErrNoPublicKey) {
		return kmsapi.UnsupportedOperationException(m.ARN + " key spec is " + string(m.Spec) + " which is not valid for GetPublicKey.")
	}
	if err != nil {
		return err
	}
	out.KeyID = m.ARN
	out.KeySpec = kmsapi.KeySpec(m.Spec)
	out.CustomerMasterKeySpec = kmsapi.CustomerMasterKeySpec(m.Spec)
	out.KeyUsage = kmsapi.KeyUsageType(m.Usage)
	switch m.Usage {
	case keyring.EncryptDecrypt:
		out.EncryptionAlgorithms = algorithms[kmsapi.EncryptionAlgorithmSpec](m)
	case keyring.SignVerify:
		out.SigningAlgorithms = algorithms[kmsapi.SigningAlgorithmSpec](m)
	case keyring.KeyAgreement:
		out.KeyAgreementAlgorithms = algorithms[kmsapi.KeyAgreementAlgorithmSpec](m)
	case keyring.EncapsulateDecapsulate:
		out.EncapsulationAlgorithms = algorithms[kmsapi.EncapsulationAlgorithmSpec](m)
	}
	return nil
}

// metadata describes a key in the API's terms.
func metadata(m *keyring.Metadata) *kmsapi.KeyMetadata {
	k := &kmsapi.KeyMetadata{
		AWSAccountID:          m.Account,
		KeyID:                 m.ID,
		ARN:                   m.ARN,
		CreationDate:          m.Created,
		Enabled:               m.State == keyring.Enabled,
		Description:           m.Description,
		KeyUsage:              kmsapi.KeyUsageType(m.Usage),
		KeyState:              kmsapi.KeyState(m.State),
		DeletionDate:          m.Deletion,
		Origin:                kmsapi.OriginType(m.Origin),
		KeyManager:            kmsapi.KeyManagerTypeCustomer,
		KeySpec:               kmsapi.KeySpec(m.Spec),
		CustomerMasterKeySpec: kmsapi.CustomerMasterKeySpec(m.Spec),
	}
	if m.MultiRegion != nil {
		k.MultiRegion, k.MultiRegionConfiguration = true, related(m)
		if m.State == keyring.PendingReplicaDeletion {
			days := int32(m.MultiRegion.Window)
			k.PendingDeletionWindowInDays = &days
		}
	}
	switch m.Usage {
	case keyring.EncryptDecrypt:
		k.EncryptionAlgorithms = algorithms[kmsapi.EncryptionAlgorithmSpec](m)
	case keyring.SignVerify:
		k.SigningAlgorithms = algorithms[kmsapi.SigningAlgorithmSpec](m)
	case keyring.GenerateVerifyMAC:
		k.MacAlgorithms = algorithms[kmsapi.MacAlgorithmSpec](m)
	case keyring.KeyAgreement:
		k.KeyAgreementAlgorithms = algorithms[kmsapi.KeyAgreementAlgorithmSpec](m)
	case keyring.EncapsulateDecapsulate:
		k.EncapsulationAlgorithms = algorithms[kmsapi.EncapsulationAlgorithmSpec](m)
	}
	if m.Spec == keyring.SymmetricDefault && m.State != keyring.Creating {
		k.CurrentKeyMaterialID = m.MaterialID
	}
	expiry(k, m)
	return k
}

// algorithms lists a key's algorithms as values of an enumeration of the API.
func algorithms[T ~string](m *keyring.Metadata) []T {
	have := keyring.Algorithms(m.Spec, m.Usage)
	list := make([]T, len(have))
	for i, a := range have {
		list[i] = T(a)
	}
	return list
}
