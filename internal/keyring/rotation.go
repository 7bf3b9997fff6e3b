package keyring

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/record"
)

// A rotation gives a key other material to encrypt with. All that it had before
// stays, for as long as the key does, and decrypts what it has encrypted. It is
// one transaction: the new material, sealed for the key and for every key that is
// related to it in another Region, and the records of them all. Source: "Rotate
// AWS KMS keys" in the AWS KMS Developer Guide.

// The period of automatic rotation, in days.
const (
	MinRotationPeriod    = 90
	MaxRotationPeriod    = 2560
	NormalRotationPeriod = 365
)

// MaxOnDemandRotations is how often a key can be rotated on demand, ever.
const MaxOnDemandRotations = 25

// rotationPause is how long before an automatic rotation a key is not rotated on
// demand any more.
const rotationPause = 20 * time.Minute

// rotatable returns nil if keys such as this have their material rotated, else
// [ErrNotRotatable] or *NotPrimaryError.
func (k Key) rotatable() error {
	switch m := &k.s.m; {
	case m.Spec != SymmetricDefault:
		return ErrNotRotatable
	case m.IsReplica():
		return &NotPrimaryError{ARN: m.ARN}
	}
	return nil
}

// schedulable is rotatable for automatic rotation, which imported material has
// none of: then *OriginError.
func (k Key) schedulable() error {
	if err := k.rotatable(); err != nil {
		return err
	}
	if m := &k.s.m; m.Origin != AWSKMS {
		return &OriginError{ARN: m.ARN, Origin: m.Origin}
	}
	return nil
}

// EnableRotation has the key's material rotated every so many days,
// MinRotationPeriod to MaxRotationPeriod, from now on. Nothing is written if it
// is already: the next rotation is not put off. Action: kms:EnableKeyRotation.
// Errors: ErrParameter, ErrNotRotatable, *NotPrimaryError, *OriginError.
func (k Key) EnableRotation(ctx context.Context, days int) error {
	if err := k.may(mayEnableRotation); err != nil {
		return err
	}
	if days < MinRotationPeriod || days > MaxRotationPeriod {
		return ErrParameter
	}
	if err := k.schedulable(); err != nil || k.s.m.Rotation.PeriodDays == days {
		return err
	}
	next := rotationAfter(k.now(), days)
	return k.changeMembers(ctx, func(m *Metadata) error {
		m.Rotation.PeriodDays, m.Rotation.Next = days, next
		return nil
	}, nil)
}

// DisableRotation ends automatic rotation; nothing is written if there is none.
// Action: kms:DisableKeyRotation. Errors: ErrNotRotatable, *NotPrimaryError,
// *OriginError.
func (k Key) DisableRotation(ctx context.Context) error {
	if err := k.may(mayDisableRotation); err != nil {
		return err
	}
	if err := k.schedulable(); err != nil || k.s.m.Rotation.PeriodDays == 0 {
		return err
	}
	return k.changeMembers(ctx, func(m *Metadata) error {
		m.Rotation.PeriodDays, m.Rotation.Next = 0, time.Time{}
		return nil
	}, nil)
}

// RotateOnDemand rotates the key's material now: to new material, or to the
// imported material that is pending rotation. Automatic rotation goes on as if
// nothing had happened. Action: kms:RotateKeyOnDemand. Errors: ErrNotRotatable,
// *NotPrimaryError, ErrLimit after MaxOnDemandRotations, ErrRotationDue within 20
// minutes of an automatic rotation, ErrNothingPending.
func (k Key) RotateOnDemand(ctx context.Context) error {
	if err := k.may(mayRotateOnDemand); err != nil {
		return err
	}
	if err := k.rotatable(); err != nil {
		return err
	}
	switch r := k.s.m.Rotation; {
	case r.OnDemand >= MaxOnDemandRotations:
		return ErrLimit
	case r.PeriodDays > 0 && r.Next.Sub(k.now()) <= rotationPause:
		return ErrRotationDue
	}
	return k.rotate(ctx, OnDemand)
}

// rotateDue is the automatic rotation. Its due record goes with the change.
func (k Key) rotateDue(ctx context.Context, _ record.Record) error {
	if err := k.may(mayRotate); err != nil {
		return err
	}
	err := k.rotate(ctx, Automatic)
	if errors.Is(err, ErrStale) {
		return nil // changed meanwhile; the next run looks whether it is due still
	}
	if err == nil {
		k.r.log.Info("rotated a key", "arn", k.s.m.ARN, "due", k.s.m.Rotation.Next)
	}
	return err
}

// rotate rotates the key's material, with an event.
func (k Key) rotate(ctx context.Context, by RotationType) error {
	m, at := &k.s.m, k.now()
	var material []byte // that is new
	var id string
	if m.Origin == External {
		next, ok := m.pending(at)
		if !ok {
			return ErrNothingPending
		}
		id = next.ID
	} else {
		material = make([]byte, m.Spec.rawLen())
		defer clear(material)
		if _, err := rand.Read(material); err != nil {
			return fmt.Errorf("reading randomness: %w", err)
		}
		var err error
		if id, err = materialID(m.Account, m.ID, material); err != nil {
			return err
		}
	}
	e := event(RotateKey, m,
		call.Pair{Name: "rotationType", Value: string(by)}, call.Pair{Name: "keyOrigin", Value: string(m.Origin)},
		call.Pair{Name: "previousKeyMaterialId", Value: m.MaterialID}, call.Pair{Name: "currentKeyMaterialId", Value: id})
	return k.r.recorded(ctx, e, func(ctx context.Context) error {
		return k.changeMembers(ctx, func(m *Metadata) error {
			if next, ok := m.pending(at); m.Origin == External && (!ok || next.ID != id) {
				return ErrNothingPending // in another Region
			}
			m.rotate(id, by, at)
			return nil
		}, material)
	})
}

// changeMembers does the same change to the key and to all keys that are related
// to it in other Regions, whatever state they are in, and gives each of them new
// material, if there is any: what they share changes in all of them at once.
func (k Key) changeMembers(ctx context.Context, change func(*Metadata) error, material []byte) error {
	members, err := k.r.members(ctx, k.s)
	if err != nil {
		return err
	}
	changes := make([]keyChange, 0, len(members))
	tokens := make([][]byte, 0, len(members))
	for _, s := range members {
		if s.m.State == destroying {
			continue // it shares nothing any more
		}
		m := s.m
		if err := change(&m); err != nil {
			return err
		}
		changes = append(changes, keyChange{s, &m})
		if material == nil {
			continue
		}
		token, err := k.r.sealToken(m.ARN, m.MaterialID, material)
		if err != nil {
			return err
		}
		tokens = append(tokens, token)
	}
	return k.r.changeAll(ctx, changes, func(tx *record.Tx) {
		for i, token := range tokens {
			m := changes[i].to
			tx.Create(record.KindMaterial, matKey(m.Account, m.Region, m.ID, m.MaterialID), token)
		}
	})
}
