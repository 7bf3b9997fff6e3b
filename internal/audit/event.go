package audit

import (
	"fmt"
	"time"

	"github.com/keyreeve/keyreeve/internal/call"
)

// Event is something to be recorded that is no API call: what the node does by
// itself, and what an operator does who needs no credentials for it.
type Event struct {
	Time    time.Time
	Source  string // such as "kms.amazonaws.com"; what AWS has no like of is [Internal]
	Name    string // such as "DeleteKey"
	Region  string
	Account string // whose event it is; empty while none is known

	// InvokedBy stands where a call has its caller, source address and user
	// agent: [Node] for what nobody asked for.
	InvokedBy string

	Resources  []call.Resource
	Elements   []call.Pair // responseElements
	Additional []call.Pair // additionalEventData
	Details    []call.Pair // serviceEventDetails
	Within     string      // the only member of serviceEventDetails, which Details are the members of; empty: they are its own
	Failure    call.Failure

	// RequestID is of what CloudTrail shows as a call of the service to itself,
	// such as SynchronizeMultiRegionKey; empty for other events.
	RequestID string
}

// Internal is the source of events that AWS has no like of.
const Internal = "keyreeve.internal"

// Node is who is behind what the node does by itself. CloudTrail calls it so.
const Node = "AWS Internal"

// AppendEvent appends the record of e. When it returns nil, the record is on
// the disk. On an error the record does not count, as with [Log.Append].
func (l *Log) AppendEvent(e *Event) error {
	record := appendServiceEvent(nil, e, newEventID())
	if l.memory != nil {
		return l.memory.add(record)
	}
	if err := l.add(record, e.Time.Unix(), true); err != nil {
		return fmt.Errorf("audit: recording %s: %w", e.Name, err)
	}
	return nil
}

// appendServiceEvent appends the record of e as one line of JSON, in
// CloudTrail's form for service events:
//
//	{"eventVersion":"1.11","userIdentity":{"accountId":"…","invokedBy":"AWS Internal"},
//	 "eventTime":"2026-11-21T20:50:00Z","eventSource":"kms.amazonaws.com","eventName":"DeleteKey",
//	 "awsRegion":"eu-central-1","sourceIPAddress":"AWS Internal","userAgent":"AWS Internal",
//	 "errorCode":"…","errorMessage":"…",                        only of what failed
//	 "requestParameters":null,"responseElements":{"keyId":"…"},
//	 "additionalEventData":{…},                                 only if there is any
//	 "requestID":"…",                                           only of what is shown as a call
//	 "eventID":"…","readOnly":false,
//	 "resources":[{"accountId":"…","type":"AWS::KMS::Key","ARN":"…"}],
//	 "eventType":"AwsServiceEvent","managementEvent":true,"recipientAccountId":"…",
//	 "serviceEventDetails":{…},                                 only if there are any
//	 "eventCategory":"Management"}
func appendServiceEvent(b []byte, e *Event, id [16]byte) []byte {
	b = append(b, `{"eventVersion":"1.11","userIdentity":{`...)
	if e.Account != "" {
		b = appendMember(b, `"accountId":`, e.Account, maxName)
		b = append(b, ',')
	}
	b = appendMember(b, `"invokedBy":`, e.InvokedBy, maxName)
	b = append(b, `},"eventTime":"`...)
	b = e.Time.UTC().AppendFormat(b, time.RFC3339)
	b = append(b, '"')
	b = appendMember(b, `,"eventSource":`, e.Source, maxName)
	b = appendMember(b, `,"eventName":`, e.Name, maxName)
	b = appendMember(b, `,"awsRegion":`, e.Region, maxName)
	b = appendMember(b, `,"sourceIPAddress":`, e.InvokedBy, maxName)
	b = appendMember(b, `,"userAgent":`, e.InvokedBy, maxName)
	if e.Failure.Code != "" {
		b = appendMember(b, `,"errorCode":`, e.Failure.Code, maxName)
		if e.Failure.Message != "" {
			b = appendMember(b, `,"errorMessage":`, e.Failure.Message, maxText)
		}
	}
	b = append(b, `,"requestParameters":null,"responseElements":`...)
	if len(e.Elements) == 0 {
		b = append(b, "null"...)
	} else {
		b = appendPairs(b, e.Elements)
	}
	b = appendAdditional(b, e.Additional, nil, false)
	kind := "AwsServiceEvent"
	if e.RequestID != "" {
		kind = "AwsApiCall"
		b = appendMember(b, `,"requestID":`, e.RequestID, maxName)
	}
	b = append(b, `,"eventID":"`...)
	b = appendEventID(b, id, 0)
	b = append(b, `","readOnly":false`...)
	b = appendResources(b, e.Resources, "")
	b = appendMember(b, `,"eventType":`, kind, maxName)
	b = append(b, `,"managementEvent":true`...)
	if e.Account != "" {
		b = appendMember(b, `,"recipientAccountId":`, e.Account, maxName)
	}
	if len(e.Details) > 0 {
		b = append(b, `,"serviceEventDetails":`...)
		if e.Within == "" {
			b = appendPairs(b, e.Details)
		} else {
			b = appendMember(append(b, '{'), "", e.Within, maxName)
			b = append(appendPairs(append(b, ':'), e.Details), '}')
		}
	}
	return append(b, `,"eventCategory":"Management"}`+"\n"...)
}
