package keyreeveapi

import (
	"encoding/json"
	"strconv"
	"time"

	"github.com/keyreeve/keyreeve/internal/wire"
)

// Bounds of what the audit trail is asked for.
const (
	MaxEvents   = 1000    // of one answer
	MaxWait     = 20      // seconds that TailEvents waits
	MaxAnswer   = 4 << 20 // bytes of records in one answer, but for a single larger one
	maxFilter   = 2048    // characters of a value of a filter
	maxPosition = 4096    // characters of a cursor or token
	AnyError    = "*"     // of EventFilter.ErrorCode: whatever it is
)

// An EventFilter says which events are wanted: those for which all that is
// given holds. Values are compared as they are.
type EventFilter struct {
	Account      string // that the record is for: 12 digits
	Region       string
	EventName    string // such as "Decrypt"
	EventSource  string // such as "kms.amazonaws.com"
	Username     string // as LookupEvents has it: of a user, or of a role's session
	ResourceType string // such as "AWS::KMS::Key"
	ResourceName string // of one of the resources: its ARN, or what that ends with after a slash or colon
	AccessKeyID  string `json:"AccessKeyId"`
	EventID      string `json:"EventId"`
	RequestID    string `json:"RequestId"`
	ErrorCode    string // such as "AccessDenied", or AnyError
	ReadOnly     *bool  // true: what changes nothing; false: what changes something
}

// text lists the members that are text, with their names.
func (f *EventFilter) text() []member {
	return []member{
		{"Account", "account", &f.Account, 12, 12},
		{"Region", "region", &f.Region, 1, 64},
		{"EventName", "eventName", &f.EventName, 1, 128},
		{"EventSource", "eventSource", &f.EventSource, 1, 128},
		{"Username", "username", &f.Username, 1, maxFilter},
		{"ResourceType", "resourceType", &f.ResourceType, 1, 256},
		{"ResourceName", "resourceName", &f.ResourceName, 1, maxFilter},
		{"AccessKeyId", "accessKeyId", &f.AccessKeyID, 1, 128},
		{"EventId", "eventId", &f.EventID, 36, 36},
		{"RequestId", "requestId", &f.RequestID, 1, 128},
		{"ErrorCode", "errorCode", &f.ErrorCode, 1, 128},
	}
}

// A member is one that is text: its name in requests, its name in messages and
// records, where it is, and its length in characters.
type member struct {
	name, audited string
	value         *string
	least, most   int
}

func (f *EventFilter) decode(r *wire.Reader, name string) bool {
	if name == "ReadOnly" {
		f.ReadOnly = r.OptionalBool()
		return true
	}
	for _, m := range f.text() {
		if m.name == name {
			*m.value, _ = r.String()
			return true
		}
	}
	return false
}

func (f *EventFilter) validate(v *wire.Violations) {
	for _, m := range f.text() {
		if *m.value != "" {
			v.Length(m.audited, *m.value, m.least, m.most)
		}
	}
}

// append appends the members that are given, with the names of requests or
// those of records.
func (f *EventFilter) append(b []byte, audited bool) []byte {
	pick := func(m member) string {
		if audited {
			return m.audited
		}
		return m.name
	}
	for _, m := range f.text() {
		if *m.value != "" {
			b = wire.AppendString(wire.AppendName(b, pick(m)), *m.value)
		}
	}
	if f.ReadOnly != nil {
		b = strconv.AppendBool(wire.AppendName(b, pick(member{name: "ReadOnly", audited: "readOnly"})), *f.ReadOnly)
	}
	return b
}

// SearchEventsInput asks for the events of all accounts that match a filter,
// the newest first.
type SearchEventsInput struct {
	EventFilter
	Start, End time.Time `json:"-"` // of their time; End is not within. Zero for no bound
	MaxResults *int32    // 1 to MaxEvents; nil for 100
	NextToken  string    // where the answer before ended
}

// SearchEventsOutput are events. If there may be more, it has a token, even if
// no event that was looked at matches.
type SearchEventsOutput struct {
	Events    []json.RawMessage // records, as CloudTrail writes them
	NextToken string            `json:",omitempty"`
	// Unreadable counts events that should have been looked at and cannot be
	// read: what they stand in was damaged or removed.
	Unreadable int `json:",omitempty"`
}

func (in *SearchEventsInput) decode(r *wire.Reader) bool {
	return members(r, func(name string) bool {
		switch name {
		case "StartTime":
			in.Start = r.Time()
		case "EndTime":
			in.End = r.Time()
		case "MaxResults":
			in.MaxResults = r.Int()
		case "NextToken":
			in.NextToken, _ = r.String()
		default:
			return in.EventFilter.decode(r, name)
		}
		return true
	})
}

func (in *SearchEventsInput) validate(v *wire.Violations) {
	in.EventFilter.validate(v)
	if in.MaxResults != nil {
		v.Range("maxResults", *in.MaxResults, 1, MaxEvents)
	}
	if in.NextToken != "" {
		v.Length("nextToken", in.NextToken, 1, maxPosition)
	}
}

func (in *SearchEventsInput) wipe() {}

// AppendJSON appends the input as a client sends it.
func (in *SearchEventsInput) AppendJSON(b []byte) []byte {
	b = in.append(append(b, '{'), false)
	if !in.Start.IsZero() {
		b = wire.AppendTime(wire.AppendName(b, "StartTime"), in.Start)
	}
	if !in.End.IsZero() {
		b = wire.AppendTime(wire.AppendName(b, "EndTime"), in.End)
	}
	if in.MaxResults != nil {
		b = strconv.AppendInt(wire.AppendName(b, "MaxResults"), int64(*in.MaxResults), 10)
	}
	if in.NextToken != "" {
		b = wire.AppendString(wire.AppendName(b, "NextToken"), in.NextToken)
	}
	return append(b, '}')
}

// AppendAudit implements [call.Auditable].
func (in *SearchEventsInput) AppendAudit(b []byte) []byte {
	b = in.append(append(b, '{'), true)
	if !in.Start.IsZero() {
		b = wire.AppendTime(wire.AppendName(b, "startTime"), in.Start)
	}
	if !in.End.IsZero() {
		b = wire.AppendTime(wire.AppendName(b, "endTime"), in.End)
	}
	if in.MaxResults != nil {
		b = strconv.AppendInt(wire.AppendName(b, "maxResults"), int64(*in.MaxResults), 10)
	}
	return append(b, '}')
}

// AppendAudit implements [call.Auditable].
func (out *SearchEventsOutput) AppendAudit(b []byte) []byte { return append(b, "null"...) }

// TailEventsInput asks for the events of all accounts that match a filter, as
// they come: the oldest first. Records of TailEvents itself are left out
// unless the filter names it, for each answer makes another one.
type TailEventsInput struct {
	EventFilter
	// Cursor is that of the answer before. Without one, the newest Last events
	// that match are answered, of those that are not archived yet.
	Cursor string
	Last   int32 // 0 to MaxEvents
	// Wait is for how many seconds the answer may wait for an event, at most
	// MaxWait.
	Wait       int32
	MaxResults *int32 // 1 to MaxEvents; nil for 100
}

// TailEventsOutput are events, and where to go on.
type TailEventsOutput struct {
	Events []json.RawMessage
	Cursor string
	// Skipped says that there were more events after the cursor than these;
	// SearchEvents finds them.
	Skipped bool `json:",omitempty"`
}

func (in *TailEventsInput) decode(r *wire.Reader) bool {
	number := func(n *int32) {
		if read := r.Int(); read != nil {
			*n = *read
		}
	}
	return members(r, func(name string) bool {
		switch name {
		case "Cursor":
			in.Cursor, _ = r.String()
		case "Last":
			number(&in.Last)
		case "Wait":
			number(&in.Wait)
		case "MaxResults":
			in.MaxResults = r.Int()
		default:
			return in.EventFilter.decode(r, name)
		}
		return true
	})
}

func (in *TailEventsInput) validate(v *wire.Violations) {
	in.EventFilter.validate(v)
	if in.Cursor != "" {
		v.Length("cursor", in.Cursor, 1, maxPosition)
	}
	v.Range("last", in.Last, 0, MaxEvents)
	v.Range("wait", in.Wait, 0, MaxWait)
	if in.MaxResults != nil {
		v.Range("maxResults", *in.MaxResults, 1, MaxEvents)
	}
}

func (in *TailEventsInput) wipe() {}

// AppendJSON appends the input as a client sends it.
func (in *TailEventsInput) AppendJSON(b []byte) []byte {
	b = in.append(append(b, '{'), false)
	if in.Cursor != "" {
		b = wire.AppendString(wire.AppendName(b, "Cursor"), in.Cursor)
	}
	if in.Last != 0 {
		b = strconv.AppendInt(wire.AppendName(b, "Last"), int64(in.Last), 10)
	}
	if in.Wait != 0 {
		b = strconv.AppendInt(wire.AppendName(b, "Wait"), int64(in.Wait), 10)
	}
	if in.MaxResults != nil {
		b = strconv.AppendInt(wire.AppendName(b, "MaxResults"), int64(*in.MaxResults), 10)
	}
	return append(b, '}')
}

// AppendAudit implements [call.Auditable]. The record is as short as can be:
// whoever follows the trail makes many.
func (in *TailEventsInput) AppendAudit(b []byte) []byte {
	return append(in.append(append(b, '{'), true), '}')
}

// AppendAudit implements [call.Auditable].
func (out *TailEventsOutput) AppendAudit(b []byte) []byte { return append(b, "null"...) }

// DescribeAuditInput asks what the node knows of its audit trail: what its files
// are held to.
type DescribeAuditInput struct {
	// VerifyJournal has the journal read, and what is wrong with it told, which
	// takes as long as that. It is for the first page.
	VerifyJournal bool
	NextToken     string // where the answer before ended
}

// DescribeAuditOutput is what a node knows of its audit trail. The heads and
// the files that are pending are told in pages; all else is on the first.
type DescribeAuditOutput struct {
	Directory string         `json:",omitempty"` // of the archive, on the node; empty if it keeps none
	Journal   []AuditSegment `json:",omitempty"` // oldest first
	Unsettled int            // changes under way, whose records are not written yet
	Damage    []string       `json:",omitempty"` // what the node has found damaged since it was unsealed, a line each
	Keys      []AuditKey     `json:",omitempty"` // that signed digests, or do
	Heads     []AuditHead    `json:",omitempty"`
	Pending   []AuditFile    `json:",omitempty"`
	NextToken string         `json:",omitempty"`
}

// AuditSegment is a segment of the journal.
type AuditSegment struct {
	Name     string
	Size     int64
	Records  int      `json:",omitempty"` // of a segment that was read
	Verified bool     `json:",omitempty"` // it was read, with the key of its chain
	Problems []string `json:",omitempty"` // a line each
}

// AuditKey is a public key that digests are verified with.
type AuditKey struct {
	Region      string
	Fingerprint string
	Value       []byte // PKCS #1, DER
	Start, End  Time   // of the digests that it signs
}

// AuditHead is the newest digest of an account and a Region.
type AuditHead struct {
	Account, Region string
	Bucket, Object  string
	Hash, Signature string // in hex
	End             Time   // of the digest
	Oldest          Time   // the end of the oldest digest that is kept
	Count           uint64 // of all digests that there have been
}

// AuditFile is a log file that no digest lists yet.
type AuditFile struct{ Bucket, Object, Hash string }

func (in *DescribeAuditInput) decode(r *wire.Reader) bool {
	return members(r, func(name string) bool {
		switch name {
		case "VerifyJournal":
			in.VerifyJournal = r.Bool()
		case "NextToken":
			in.NextToken, _ = r.String()
		default:
			return false
		}
		return true
	})
}

func (in *DescribeAuditInput) validate(v *wire.Violations) {
	if in.NextToken != "" {
		v.Length("nextToken", in.NextToken, 1, maxPosition)
	}
}

func (in *DescribeAuditInput) wipe() {}

// AppendJSON appends the input as a client sends it.
func (in *DescribeAuditInput) AppendJSON(b []byte) []byte {
	b = strconv.AppendBool(wire.AppendName(append(b, '{'), "VerifyJournal"), in.VerifyJournal)
	if in.NextToken != "" {
		b = wire.AppendString(wire.AppendName(b, "NextToken"), in.NextToken)
	}
	return append(b, '}')
}

// AppendAudit implements [call.Auditable].
func (in *DescribeAuditInput) AppendAudit(b []byte) []byte {
	return append(strconv.AppendBool(wire.AppendName(append(b, '{'), "verifyJournal"), in.VerifyJournal), '}')
}

// AppendAudit implements [call.Auditable].
func (out *DescribeAuditOutput) AppendAudit(b []byte) []byte { return append(b, "null"...) }
