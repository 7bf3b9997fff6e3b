package cloudtrail

import (
	"context"
	"slices"
	"strconv"
	"time"

	api "github.com/keyreeve/keyreeve/internal/api/cloudtrailapi"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/trail"
)

// StartLogging implements [api.Handler].
func (s *Service) StartLogging(ctx context.Context, c *call.Call, in *api.StartLoggingInput, _ *api.StartLoggingOutput) error {
	return s.atHome(ctx, c, in.Name, s.trails.Start)
}

// StopLogging implements [api.Handler].
func (s *Service) StopLogging(ctx context.Context, c *call.Call, in *api.StopLoggingInput, _ *api.StopLoggingOutput) error {
	return s.atHome(ctx, c, in.Name, s.trails.Stop)
}

// GetTrailStatus implements [api.Handler]. A trail has one status, whatever
// Region it is asked for in.
func (s *Service) GetTrailStatus(ctx context.Context, c *call.Call, in *api.GetTrailStatusInput, out *api.GetTrailStatusOutput) error {
	t, err := s.read(ctx, c, in.Name)
	if err != nil {
		return answer(err)
	}
	st, err := s.trails.Status(ctx, t.Ref)
	if err != nil {
		return (&refusal{trail: *t, account: c.Caller.Account}).answer(err)
	}
	*out = api.GetTrailStatusOutput{
		IsLogging:           st.Logging,
		LatestDeliveryError: st.Bucket.Failure, LatestDeliveryTime: st.Bucket.Delivered,
		StartLoggingTime: st.Started, StopLoggingTime: st.Stopped,
		LatestCloudWatchLogsDeliveryError: st.LogGroup.Failure, LatestCloudWatchLogsDeliveryTime: st.LogGroup.Delivered,
		LatestDigestDeliveryError: st.Digest.Failure, LatestDigestDeliveryTime: st.Digest.Delivered,
		LatestDeliveryAttemptTime: moment(st.Bucket.Attempted), LatestDeliveryAttemptSucceeded: moment(st.Bucket.Delivered),
		TimeLoggingStarted: moment(st.Started), TimeLoggingStopped: moment(st.Stopped),
	}
	return nil
}

// moment is a time as the members have it that are no longer in use.
func moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02T15:04:05Z")
}

// excludable are the event sources that can be excluded. Source: EventSelector
// in the AWS CloudTrail API Reference.
var excludable = []string{"kms.amazonaws.com", "rdsdata.amazonaws.com"}

// PutEventSelectors implements [api.Handler]. All events that are recorded are
// management events, so selectors of data events are refused: they would select
// nothing, which nobody would notice.
func (s *Service) PutEventSelectors(ctx context.Context, c *call.Call, in *api.PutEventSelectorsInput, out *api.PutEventSelectorsOutput) error {
	selectors, err := checkSelectors(in)
	if err != nil {
		return err
	}
	t, err := s.home(ctx, c, in.TrailName)
	if err != nil {
		return answer(err)
	}
	got, err := s.trails.Update(ctx, t.Ref, func(t *trail.Trail) error {
		t.Selectors = selectors
		return nil
	})
	if err != nil {
		return (&refusal{trail: *t, account: c.Caller.Account}).answer(err)
	}
	out.TrailARN, out.EventSelectors = got.ARN(), describeSelectors(got.Selectors)
	return nil
}

func checkSelectors(in *api.PutEventSelectorsInput) ([]trail.Selector, error) {
	switch n := len(in.EventSelectors); {
	case in.EventSelectors != nil && in.AdvancedEventSelectors != nil:
		return nil, errSelectors("Specify either event selectors or advanced event selectors, not both.")
	case in.AdvancedEventSelectors != nil:
		return nil, errSelectors("Advanced event selectors are not supported. Use event selectors.")
	case n < 1 || n > trail.MaxSelectors:
		return nil, errSelectors("Specify a valid number of selectors (1 to " + strconv.Itoa(trail.MaxSelectors) + ") for your trail.")
	}
	var selectors []trail.Selector
	for i := range in.EventSelectors {
		e := &in.EventSelectors[i]
		one := trail.Selector{
			ReadWrite: trail.ReadWrite(e.ReadWriteType), Management: e.IncludeManagementEvents == nil || *e.IncludeManagementEvents,
			Excluded: slices.Clone(e.ExcludeManagementEventSources),
		}
		if one.ReadWrite == "" {
			one.ReadWrite = trail.AllEvents
		}
		switch {
		case len(e.DataResources) > 0:
			return nil, errSelectors("There are no data events, and so no DataResources to select.")
		case !one.Management:
			return nil, errSelectors("An event selector must include management events, or specify DataResources.")
		case len(one.Excluded) > trail.MaxExcluded:
			return nil, errSelectors("Specify at most " + strconv.Itoa(trail.MaxExcluded) + " ExcludeManagementEventSources.")
		}
		for _, source := range one.Excluded {
			if !slices.Contains(excludable, source) {
				return nil, errSelectors("Value " + source + " for ExcludeManagementEventSources is invalid.")
			}
		}
		selectors = append(selectors, one)
	}
	return selectors, nil
}

// GetEventSelectors implements [api.Handler].
func (s *Service) GetEventSelectors(ctx context.Context, c *call.Call, in *api.GetEventSelectorsInput, out *api.GetEventSelectorsOutput) error {
	t, err := s.read(ctx, c, in.TrailName)
	if err != nil {
		return answer(err)
	}
	selectors := t.Selectors
	if len(selectors) == 0 {
		selectors = []trail.Selector{trail.DefaultSelector()}
	}
	out.TrailARN, out.EventSelectors = t.ARN(), describeSelectors(selectors)
	return nil
}

func describeSelectors(selectors []trail.Selector) []api.EventSelector {
	list := make([]api.EventSelector, len(selectors))
	for i := range selectors {
		list[i] = api.EventSelector{
			ReadWriteType: api.ReadWriteType(selectors[i].ReadWrite), IncludeManagementEvents: &selectors[i].Management,
			DataResources:                 []api.DataResource{},
			ExcludeManagementEventSources: append([]string{}, selectors[i].Excluded...),
		}
	}
	return list
}
