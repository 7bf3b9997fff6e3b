package kms

import (
	"context"
	"strconv"
	"time"

	"github.com/keyreeve/keyreeve/internal/api/kmsapi"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/keyring"
	"github.com/keyreeve/keyreeve/internal/wire"
	"github.com/keyreeve/keyreeve/policy"
)

var (
	toEnableKey           = access{action: "kms:EnableKey", arnErrors: true}
	toDisableKey          = access{action: "kms:DisableKey", arnErrors: true}
	toScheduleKeyDeletion = access{action: "kms:ScheduleKeyDeletion", arnErrors: true}
	toCancelKeyDeletion   = access{action: "kms:CancelKeyDeletion", arnErrors: true}
)

// The waiting period before a key is destroyed, in days.
const (
	minWindow    = 7
	maxWindow    = 30
	normalWindow = 30
)

// EnableKey implements [kmsapi.Handler].
func (s *Service) EnableKey(ctx context.Context, c *call.Call, in *kmsapi.EnableKeyInput, out *kmsapi.EnableKeyOutput) error {
	return serve(ctx, s, c, in, out, (*Service).enableKey)
}

func (s *Service) enableKey(ctx context.Context, c *call.Call, in *kmsapi.EnableKeyInput, _ *kmsapi.EnableKeyOutput) error {
	key, err := s.use(ctx, c, &toEnableKey, in.KeyID, nil)
	if err != nil {
		return err
	}
	return key.Enable(ctx)
}

// DisableKey implements [kmsapi.Handler].
func (s *Service) DisableKey(ctx context.Context, c *call.Call, in *kmsapi.DisableKeyInput, out *kmsapi.DisableKeyOutput) error {
	return serve(ctx, s, c, in, out, (*Service).disableKey)
}

func (s *Service) disableKey(ctx context.Context, c *call.Call, in *kmsapi.DisableKeyInput, _ *kmsapi.DisableKeyOutput) error {
	key, err := s.useUnused(ctx, c, &toDisableKey, in.KeyID)
	if err != nil {
		return err
	}
	return key.Disable(ctx)
}

// ScheduleKeyDeletion implements [kmsapi.Handler].
func (s *Service) ScheduleKeyDeletion(ctx context.Context, c *call.Call, in *kmsapi.ScheduleKeyDeletionInput, out *kmsapi.ScheduleKeyDeletionOutput) error {
	return serve(ctx, s, c, in, out, (*Service).scheduleKeyDeletion)
}

func (s *Service) scheduleKeyDeletion(ctx context.Context, c *call.Call, in *kmsapi.ScheduleKeyDeletionInput, out *kmsapi.ScheduleKeyDeletionOutput) error {
	days := int32(normalWindow)
	if in.PendingWindowInDays != nil {
		days = *in.PendingWindowInDays
	}
	if days < minWindow || days > maxWindow {
		return wire.Validation("PendingWindowInDays should be between " + strconv.Itoa(minWindow) + " and " +
			strconv.Itoa(maxWindow) + ", but it is " + strconv.Itoa(int(days)))
	}
	key, err := s.useUnused(ctx, c, &toScheduleKeyDeletion, in.KeyID,
		attribute{"kms:schedulekeydeletionpendingwindowindays", policy.Number(float64(days))})
	if err != nil {
		return err
	}
	date, err := key.ScheduleDeletion(ctx, time.Duration(days)*24*time.Hour)
	if err != nil {
		return err
	}
	out.KeyID = key.Metadata().ARN
	out.DeletionDate = date
	out.KeyState = kmsapi.KeyState(keyring.PendingDeletion)
	if date.IsZero() {
		out.KeyState = kmsapi.KeyState(keyring.PendingReplicaDeletion)
	}
	out.PendingWindowInDays = &days
	return nil
}

// CancelKeyDeletion implements [kmsapi.Handler].
func (s *Service) CancelKeyDeletion(ctx context.Context, c *call.Call, in *kmsapi.CancelKeyDeletionInput, out *kmsapi.CancelKeyDeletionOutput) error {
	return serve(ctx, s, c, in, out, (*Service).cancelKeyDeletion)
}

func (s *Service) cancelKeyDeletion(ctx context.Context, c *call.Call, in *kmsapi.CancelKeyDeletionInput, out *kmsapi.CancelKeyDeletionOutput) error {
	key, err := s.use(ctx, c, &toCancelKeyDeletion, in.KeyID, nil)
	if err != nil {
		return err
	}
	if err := key.CancelDeletion(ctx); err != nil {
		return err
	}
	out.KeyID = key.Metadata().ARN
	return nil
}
