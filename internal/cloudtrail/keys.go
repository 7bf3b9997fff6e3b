package cloudtrail

import (
	"context"

	api "github.com/keyreeve/keyreeve/internal/api/cloudtrailapi"
	"github.com/keyreeve/keyreeve/internal/call"
)

// ListPublicKeys implements [api.Handler]: the keys of the call's Region. A time
// that is not given is the present. All keys are on one page.
func (s *Service) ListPublicKeys(ctx context.Context, c *call.Call, in *api.ListPublicKeysInput, out *api.ListPublicKeysOutput) error {
	start, end := in.StartTime, in.EndTime
	if end.IsZero() {
		end = c.Time
	}
	if start.IsZero() {
		start = end
		if end.After(c.Time) {
			start = c.Time
		}
	}
	if start.After(end) {
		return api.InvalidTimeRangeException("The start time is after the end time.")
	}
	if err := s.decide(ctx, c, "*", nil, conditions{}); err != nil {
		return answer(err)
	}
	if err := refuseToken(in.NextToken); err != nil {
		return err
	}
	keys := s.keys.PublicKeys(c.Region, start, end)
	out.PublicKeyList = []api.PublicKey{}
	for i := range keys {
		out.PublicKeyList = append(out.PublicKeyList, api.PublicKey{
			Value: keys[i].Value, ValidityStartTime: keys[i].Start, ValidityEndTime: keys[i].End, Fingerprint: keys[i].Fingerprint,
		})
	}
	return nil
}
