package kms

import (
	"context"

	"github.com/keyreeve/keyreeve/internal/api/kmsapi"
	"github.com/keyreeve/keyreeve/internal/audit"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/keyring"
	"github.com/keyreeve/keyreeve/policy"
)

var toGetKeyLastUsage = access{action: "kms:GetKeyLastUsage", arnErrors: true}

// GetKeyLastUsage implements [kmsapi.Handler].
func (s *Service) GetKeyLastUsage(ctx context.Context, c *call.Call, in *kmsapi.GetKeyLastUsageInput, out *kmsapi.GetKeyLastUsageOutput) error {
	return serve(ctx, s, c, in, out, (*Service).getKeyLastUsage)
}

func (s *Service) getKeyLastUsage(ctx context.Context, c *call.Call, in *kmsapi.GetKeyLastUsageInput, out *kmsapi.GetKeyLastUsageOutput) error {
	key, err := s.use(ctx, c, &toGetKeyLastUsage, in.KeyID, nil)
	if err != nil {
		return err
	}
	last, err := s.uses.Last(ctx, key)
	if err != nil {
		return err
	}
	m := key.Metadata()
	out.KeyID = m.ID
	out.KeyCreationDate = m.Created
	out.TrackingStartDate = s.uses.Since(m)
	out.KeyLastUsage = new(kmsapi.KeyLastUsageData) // there, and empty, if there is none
	if !last.IsZero() {
		*out.KeyLastUsage = kmsapi.KeyLastUsageData{
			Operation:         kmsapi.KeyLastUsageTrackingOperation(last.Operation),
			Timestamp:         last.Time,
			CloudTrailEventID: last.Event(),
			KmsRequestID:      last.RequestID,
		}
	}
	return nil
}

// Recorder keeps the records of calls, as server.Recorder says.
type Recorder interface {
	Append(c *call.Call) error
	Err() error
}

// Recording returns a recorder that puts calls on record with to, and notes of
// those that have used keys that these were used. A call counts once it is on
// record as one that succeeded: so there is an event to every last use.
func (s *Service) Recording(to Recorder) Recorder { return &recorder{to, s.uses} }

type recorder struct {
	Recorder
	uses *keyring.Uses
}

func (r *recorder) Append(c *call.Call) error {
	err := r.Recorder.Append(c)
	if err == nil && c.Failure.Code == "" && c.Service == kmsapi.SigningName && c.Operation != nil && keyring.IsUse(c.Operation.Name) {
		// Of these operations, the keys are all that they touch.
		for i := range c.Resources {
			of := &c.Resources[i]
			id, _ := audit.EventIDFor(c, of.Account)
			r.uses.Note(of.ARN, keyring.Use{Operation: c.Operation.Name, Time: c.Time, EventID: id, RequestID: c.ID})
		}
	}
	return err
}

// useUnused is use of a key for an action that policies may make dependent on
// how long the key has not been used.
func (s *Service) useUnused(ctx context.Context, c *call.Call, a *access, text string, more ...attribute) (keyring.Key, error) {
	f, err := s.find(ctx, c, a, text)
	if err != nil {
		return keyring.Key{}, err
	}
	if f.subject != nil {
		days, err := s.uses.Unused(ctx, f.subject, c.Time)
		if err != nil {
			return keyring.Key{}, err
		}
		more = append(more, attribute{"kms:trailingdayswithoutkeyusage", policy.Number(float64(days))})
	}
	return s.useFound(ctx, c, a, f, &asked{more: more})
}
