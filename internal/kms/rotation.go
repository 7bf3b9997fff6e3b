package kms

import (
	"context"
	"errors"
	"slices"
	"strconv"

	"github.com/keyreeve/keyreeve/internal/api/kmsapi"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/keyring"
	"github.com/keyreeve/keyreeve/internal/wire"
	"github.com/keyreeve/keyreeve/policy"
)

var (
	toEnableKeyRotation    = access{action: "kms:EnableKeyRotation", arnErrors: true}
	toDisableKeyRotation   = access{action: "kms:DisableKeyRotation", arnErrors: true}
	toGetKeyRotationStatus = access{action: "kms:GetKeyRotationStatus", foreign: true, arnErrors: true}
	toRotateKeyOnDemand    = access{action: "kms:RotateKeyOnDemand", arnErrors: true}
	toListKeyRotations     = access{action: "kms:ListKeyRotations", arnErrors: true}
)

// EnableKeyRotation implements [kmsapi.Handler].
func (s *Service) EnableKeyRotation(ctx context.Context, c *call.Call, in *kmsapi.EnableKeyRotationInput, out *kmsapi.EnableKeyRotationOutput) error {
	return serve(ctx, s, c, in, out, (*Service).enableKeyRotation)
}

func (s *Service) enableKeyRotation(ctx context.Context, c *call.Call, in *kmsapi.EnableKeyRotationInput, _ *kmsapi.EnableKeyRotationOutput) error {
	days := keyring.NormalRotationPeriod
	if in.RotationPeriodInDays != nil {
		days = int(*in.RotationPeriodInDays)
	}
	key, err := s.use(ctx, c, &toEnableKeyRotation, in.KeyID, &asked{more: []attribute{
		{"kms:rotationperiodindays", policy.Number(float64(days))},
	}})
	if err != nil {
		return err
	}
	m := key.Metadata()
	if in.RotationPeriodInDays == nil && m.Rotation.PeriodDays > 0 {
		days = m.Rotation.PeriodDays // it goes on as it does
	}
	return rotationError(m, key.EnableRotation(ctx, days))
}

// DisableKeyRotation implements [kmsapi.Handler].
func (s *Service) DisableKeyRotation(ctx context.Context, c *call.Call, in *kmsapi.DisableKeyRotationInput, out *kmsapi.DisableKeyRotationOutput) error {
	return serve(ctx, s, c, in, out, (*Service).disableKeyRotation)
}

func (s *Service) disableKeyRotation(ctx context.Context, c *call.Call, in *kmsapi.DisableKeyRotationInput, _ *kmsapi.DisableKeyRotationOutput) error {
	key, err := s.use(ctx, c, &toDisableKeyRotation, in.KeyID, nil)
	if err != nil {
		return err
	}
	err = key.DisableRotation(ctx)
	if errors.Is(err, keyring.ErrNotRotatable) {
		return nil // there is nothing to disable
	}
	return err
}

// GetKeyRotationStatus implements [kmsapi.Handler].
func (s *Service) GetKeyRotationStatus(ctx context.Context, c *call.Call, in *kmsapi.GetKeyRotationStatusInput, out *kmsapi.GetKeyRotationStatusOutput) error {
	return serve(ctx, s, c, in, out, (*Service).getKeyRotationStatus)
}

// getKeyRotationStatus has a status for every key: that of one whose material
// cannot be rotated automatically is false. OnDemandRotationStartDate is never
// there, because a rotation has ended when its call has.
func (s *Service) getKeyRotationStatus(ctx context.Context, c *call.Call, in *kmsapi.GetKeyRotationStatusInput, out *kmsapi.GetKeyRotationStatusOutput) error {
	key, err := s.use(ctx, c, &toGetKeyRotationStatus, in.KeyID, nil)
	if err != nil {
		return err
	}
	m := key.Metadata()
	out.KeyID = m.ARN
	if m.State == keyring.PendingDeletion || m.Rotation.PeriodDays == 0 {
		return nil
	}
	days := int32(m.Rotation.PeriodDays)
	out.KeyRotationEnabled = true
	out.RotationPeriodInDays = &days
	out.NextRotationDate = m.Rotation.Next
	return nil
}

// RotateKeyOnDemand implements [kmsapi.Handler].
func (s *Service) RotateKeyOnDemand(ctx context.Context, c *call.Call, in *kmsapi.RotateKeyOnDemandInput, out *kmsapi.RotateKeyOnDemandOutput) error {
	return serve(ctx, s, c, in, out, (*Service).rotateKeyOnDemand)
}

func (s *Service) rotateKeyOnDemand(ctx context.Context, c *call.Call, in *kmsapi.RotateKeyOnDemandInput, out *kmsapi.RotateKeyOnDemandOutput) error {
	key, err := s.use(ctx, c, &toRotateKeyOnDemand, in.KeyID, nil)
	if err != nil {
		return err
	}
	m := key.Metadata()
	if err := rotationError(m, key.RotateOnDemand(ctx)); err != nil {
		return err
	}
	out.KeyID = m.ARN
	return nil
}

// ListKeyRotations implements [kmsapi.Handler].
func (s *Service) ListKeyRotations(ctx context.Context, c *call.Call, in *kmsapi.ListKeyRotationsInput, out *kmsapi.ListKeyRotationsOutput) error {
	return serve(ctx, s, c, in, out, (*Service).listKeyRotations)
}

func (s *Service) listKeyRotations(ctx context.Context, c *call.Call, in *kmsapi.ListKeyRotationsInput, out *kmsapi.ListKeyRotationsOutput) error {
	limit, err := pageSize(in.Limit, 100, 1000)
	if err != nil {
		return err
	}
	key, err := s.use(ctx, c, &toListKeyRotations, in.KeyID, nil)
	if err != nil {
		return err
	}
	m := key.Metadata()
	all := in.IncludeKeyMaterial == kmsapi.IncludeKeyMaterialAllKeyMaterial
	filter := m.ID
	if all {
		filter += " " + string(in.IncludeKeyMaterial)
	}
	after, err := s.resume(c, filter, in.Marker)
	if err != nil {
		return err
	}
	materials := m.AllMaterials()
	if m.Spec != keyring.SymmetricDefault {
		if in.IncludeKeyMaterial != "" {
			return wire.Validation("Input parameter includeKeyMaterial can only be used with symmetric keys.")
		}
		materials = nil
	}
	if !all {
		materials = slices.DeleteFunc(slices.Clone(materials), func(mat keyring.Material) bool { return mat.Rotated.IsZero() })
	}
	// A marker is how many came before: what is in the list stays where it is,
	// but for what is pending rotation, which comes last.
	first := 0
	if after != "" {
		if first, err = strconv.Atoi(after); err != nil || first < 0 {
			return errInvalidMarker()
		}
	}
	materials = materials[min(first, len(materials)):]
	if len(materials) > limit {
		materials = materials[:limit]
		out.Truncated = true
		if out.NextMarker, err = s.marker(c, filter, strconv.Itoa(first+limit)); err != nil {
			return err
		}
	}
	out.Rotations = make([]kmsapi.RotationsListEntry, len(materials))
	for i := range materials {
		out.Rotations[i] = rotationEntry(m, &materials[i])
	}
	return nil
}

// rotationEntry describes a material of a key in the API's terms.
func rotationEntry(m *keyring.Metadata, mat *keyring.Material) kmsapi.RotationsListEntry {
	e := kmsapi.RotationsListEntry{
		KeyID:            m.ARN,
		KeyMaterialID:    mat.ID,
		KeyMaterialState: kmsapi.KeyMaterialState(mat.State),
		RotationDate:     mat.Rotated,
		RotationType:     kmsapi.RotationType(mat.RotatedBy),
	}
	if m.Origin != keyring.External {
		return e
	}
	e.KeyMaterialDescription = mat.Description
	e.ImportState = kmsapi.ImportStatePendingImport
	if mat.Imported {
		e.ImportState = kmsapi.ImportStateImported
		e.ExpirationModel, e.ValidTo = expirationModel(mat.Expires), mat.Expires
	}
	return e
}

// awaitsRegions reports whether a material is pending rotation, and not yet
// imported in every Region.
func awaitsRegions(mat keyring.Material) bool {
	return mat.State == keyring.PendingMultiRegionImportAndRotation
}

// rotationError is the API's error for a key that is not rotated.
func rotationError(m *keyring.Metadata, err error) error {
	switch {
	case errors.Is(err, keyring.ErrNotRotatable):
		return kmsapi.UnsupportedOperationException("")
	case errors.Is(err, keyring.ErrLimit):
		return kmsapi.LimitExceededException("The on-demand rotations limit has been reached for the given keyId. " +
			"No more on-demand rotations can be performed for this key: " + m.ARN)
	case errors.Is(err, keyring.ErrRotationDue):
		return kmsapi.ConflictException("The automatic rotation of " + m.ARN + " is in progress or due within 20 minutes.")
	case errors.Is(err, keyring.ErrNothingPending) && slices.ContainsFunc(m.Materials, awaitsRegions):
		return kmsapi.KMSInvalidStateException("Cannot perform key material rotation: Key material has not been imported for replicas of the Multi-Region key.")
	case errors.Is(err, keyring.ErrNothingPending):
		return kmsapi.KMSInvalidStateException("No available key material pending rotation for the key: " + m.ARN + ".")
	}
	return err
}
