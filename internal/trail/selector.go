package trail

import (
	"slices"
	"time"
)

// ReadWrite is which events a selector selects.
type ReadWrite string

// The values of ReadWriteType.
const (
	AllEvents ReadWrite = "All"
	ReadOnly  ReadWrite = "ReadOnly"
	WriteOnly ReadWrite = "WriteOnly"
)

// Selector selects events. Source: EventSelector in the AWS CloudTrail API
// Reference. All events that are recorded are management events.
type Selector struct {
	ReadWrite  ReadWrite `json:"readWrite"`
	Management bool      `json:"management,omitempty"` // IncludeManagementEvents; without it nothing is selected
	// Excluded are the event sources that are not selected
	// (ExcludeManagementEventSources), such as kms.amazonaws.com.
	Excluded []string `json:"excluded,omitempty"`
}

// DefaultSelector selects everything, as of a trail that was given none.
func DefaultSelector() Selector { return Selector{ReadWrite: AllEvents, Management: true} }

func (s *Selector) valid() bool {
	switch s.ReadWrite {
	case AllEvents, ReadOnly, WriteOnly:
		return len(s.Excluded) <= MaxExcluded
	}
	return false
}

// everything reports whether a selector selects all there is.
func (s *Selector) everything() bool {
	return s.ReadWrite == AllEvents && s.Management && len(s.Excluded) == 0
}

func (s *Selector) selects(e *event) bool {
	switch {
	case !s.Management:
		return false
	case s.ReadWrite == ReadOnly && !e.ReadOnly, s.ReadWrite == WriteOnly && e.ReadOnly:
		return false
	}
	return !slices.Contains(s.Excluded, e.Source)
}

// event is what of a record says whether it is copied.
type event struct {
	Time     time.Time `json:"eventTime"`
	Source   string    `json:"eventSource"`
	Region   string    `json:"awsRegion"`
	ReadOnly bool      `json:"readOnly"`
}

// globalSources are the services of which IncludeGlobalServiceEvents speaks.
// Source: "Understanding global service events" in the AWS CloudTrail User
// Guide; STS is one where its global endpoint is.
var globalSources = []string{"account.amazonaws.com", "iam.amazonaws.com", "organizations.amazonaws.com", "sts.amazonaws.com"}

// globalRegion is the Region in which the events of global services stand.
const globalRegion = "us-east-1"

// covers reports whether the trail takes events of a Region.
func (t *Trail) covers(region string) bool { return t.MultiRegion || t.Region == region }

// wants reports whether a trail takes an event of a Region that it covers, but
// for the time.
func (t *Trail) wants(e *event) bool {
	if !t.GlobalServices && !t.MultiRegion && e.Region == globalRegion && slices.Contains(globalSources, e.Source) {
		return false
	}
	if len(t.Selectors) == 0 {
		return true
	}
	return slices.ContainsFunc(t.Selectors, func(s Selector) bool { return s.selects(e) })
}

// wantsAll reports whether a trail takes whatever there is of a Region.
func (t *Trail) wantsAll(region string) bool {
	if !t.GlobalServices && !t.MultiRegion && region == globalRegion {
		return false
	}
	return len(t.Selectors) == 0 || slices.ContainsFunc(t.Selectors, func(s Selector) bool { return s.everything() })
}

// wantsNone reports whether a trail takes nothing, whatever there is.
func (t *Trail) wantsNone() bool {
	return len(t.Selectors) > 0 && !slices.ContainsFunc(t.Selectors, func(s Selector) bool { return s.Management })
}

// Events have times of whole seconds, and a record is written after the call
// has ended: a period takes the seconds in which it begins and ends whole.

// during reports whether a trail was logging at a time.
func (t *Trail) during(at time.Time) bool {
	return slices.ContainsFunc(t.Periods, func(p Period) bool { return p.contains(at, at) })
}

// throughout reports whether a trail was logging all the time from one to the
// other; not at all, if it was not for a moment of it.
func (t *Trail) throughout(from, to time.Time) (all, any bool) {
	for _, p := range t.Periods {
		if p.contains(from, to) {
			return true, true
		}
		if !to.Before(p.Start.Truncate(time.Second)) && (p.End.IsZero() || !from.After(p.End)) {
			any = true
		}
	}
	return false, any
}

func (p *Period) contains(from, to time.Time) bool {
	return !from.Before(p.Start.Truncate(time.Second)) && (p.End.IsZero() || !to.After(p.End))
}
