package cloudtrail

import (
	"context"
	"errors"
	"strconv"
	"time"

	api "github.com/keyreeve/keyreeve/internal/api/cloudtrailapi"
	"github.com/keyreeve/keyreeve/internal/archive/index"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/quota"
	"github.com/keyreeve/keyreeve/internal/seal"
	"github.com/keyreeve/keyreeve/internal/wire"
)

// Limits of LookupEvents. Source: LookupEvents in the AWS CloudTrail API
// Reference.
const (
	maxEvents = 50                  // on a page
	history   = 90 * 24 * time.Hour // how far back events are found
)

// LookupEvents implements [api.Handler]: events of the caller's account in the
// call's Region.
func (s *Service) LookupEvents(ctx context.Context, c *call.Call, in *api.LookupEventsInput, out *api.LookupEventsOutput) error {
	if s.quotas != nil && !s.quotas.Take(c.Caller.Account, c.Region, quota.Operation(c.Operation.Name), 1) {
		return wire.Throttling("Rate exceeded")
	}
	return answer(s.lookupEvents(ctx, c, in, out))
}

func (s *Service) lookupEvents(ctx context.Context, c *call.Call, in *api.LookupEventsInput, out *api.LookupEventsOutput) error {
	q := index.Query{
		Terms: []index.Term{{Attribute: index.Account, Value: c.Caller.Account}, {Attribute: index.Region, Value: c.Region}},
		Start: in.StartTime, End: in.EndTime, Limit: maxEvents,
	}
	switch n := in.MaxResults; {
	case n != nil && (*n < 1 || *n > maxEvents):
		return api.InvalidMaxResultsException("MaxResults must be between 1 and " + strconv.Itoa(maxEvents) + ".")
	case n != nil:
		q.Limit = int(*n)
	}
	switch len(in.LookupAttributes) {
	case 0:
	case 1:
		a := in.LookupAttributes[0]
		attribute, ok := index.ParseAttribute(string(a.AttributeKey))
		if !ok {
			return api.InvalidLookupAttributesException("The lookup attribute is not valid.")
		}
		q.Terms = append(q.Terms, index.Term{Attribute: attribute, Value: a.AttributeValue})
	default:
		return api.InvalidLookupAttributesException("Specify one lookup attribute only.")
	}
	oldest := c.Time.Add(-history)
	if !q.Start.IsZero() && !q.End.IsZero() && q.Start.After(q.End) {
		return api.InvalidTimeRangeException("The start time is after the end time.")
	}
	if !q.End.IsZero() && q.End.Before(oldest) {
		return api.InvalidTimeRangeException("The end time is more than 90 days ago.")
	}
	if err := s.decide(ctx, c, "*", nil, conditions{}); err != nil {
		return err
	}
	scope := tokenScope(c, in)
	var err error
	if q.Before, err = s.openToken(scope, in.NextToken); err != nil {
		return err
	}
	out.Events = []api.Event{}
	if in.EventCategory == api.EventCategoryInsight {
		return nil // nobody looks for what is unusual here
	}
	if q.Start.Before(oldest) {
		q.Start = oldest
	}
	page, err := s.events.Search(ctx, q)
	if err != nil {
		return err
	}
	if page.Unreadable > 0 {
		s.log.Error("events of the audit trail can't be read", "events", page.Unreadable, "request_id", c.ID)
	}
	for i := range page.Events {
		out.Events = append(out.Events, event(&page.Events[i]))
	}
	if page.More {
		out.NextToken, err = s.box.Marker(page.Next.String(), scope...)
	}
	return err
}

// event returns an event as LookupEvents shows it.
func event(found *index.Event) api.Event {
	e := api.Event{
		EventID: found.EventID, EventName: found.EventName, ReadOnly: found.ReadOnly, AccessKeyID: found.AccessKeyID,
		EventTime: found.Attributes.Time, EventSource: found.EventSource, Username: found.Username,
		Resources: []api.Resource{}, CloudTrailEvent: string(found.Record),
	}
	for _, r := range found.Resources {
		e.Resources = append(e.Resources, api.Resource{ResourceType: r.Type, ResourceName: r.Name})
	}
	return e
}

// tokenScope is what a token is good for: the account and Region of the call,
// and what the first request of the search has asked for, but for the number of
// events on a page.
func tokenScope(c *call.Call, in *api.LookupEventsInput) []string {
	scope := []string{"cloudtrail", c.Operation.Name, c.Caller.Account, c.Region, string(in.EventCategory)}
	for _, t := range [...]time.Time{in.StartTime, in.EndTime} {
		text := ""
		if !t.IsZero() {
			text = strconv.FormatInt(t.UnixNano(), 10)
		}
		scope = append(scope, text)
	}
	for _, a := range in.LookupAttributes {
		// Quoted, it has no zero byte.
		scope = append(scope, string(a.AttributeKey), strconv.Quote(a.AttributeValue))
	}
	return scope
}

// openToken returns the place that a token stands for; the zero one without a
// token.
func (s *Service) openToken(scope []string, token string) (index.Position, error) {
	if token == "" {
		return index.Position{}, nil
	}
	text, err := s.box.Resume(token, scope...)
	if err != nil && !errors.Is(err, seal.ErrMarker) {
		return index.Position{}, err
	}
	place, malformed := index.ParsePosition(text)
	if err != nil || malformed != nil {
		return index.Position{}, api.InvalidNextTokenException("The NextToken is not valid, or belongs to a request with other parameters.")
	}
	return place, nil
}
