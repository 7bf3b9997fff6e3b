package audit

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/keyreeve/keyreeve/internal/arn"
	"github.com/keyreeve/keyreeve/internal/call"
)

// Limits of what a record holds, in bytes before escaping. Those of
// requestParameters, responseElements, additionalEventData, the user agent and
// the error message are CloudTrail's.
const (
	maxRecord     = 256 << 10
	maxParameters = 100 << 10
	maxAdditional = 28 << 10
	maxText       = 1 << 10 // what a client or an error message says
	maxARN        = 2 << 10
	maxName       = 256 // identifiers that this program has made or checked
	maxResources  = 16
)

// appendRecords appends the records of c, one line of JSON each: first the one
// for the account that makes the call, then one for each other account that
// owns a resource which the call touched, all with the same sharedEventID. What
// was denied is on record with the caller's account only: nobody else is told of
// what he may not do. Then come the records of what the call has led to in other
// Regions, if it succeeded.
//
// The same call has the same event ids each time.
//
// Nothing of c that is secret is read.
func appendRecords(b []byte, c *call.Call) []byte { return appendCopies(b, c, false) }

// appendUnfinished appends the records of a call whose change stands, but of
// which nobody knows what its caller was answered, if anything. They differ from
// those of [appendRecords] in that they show no responseElements, and say why in
// an addendum.
func appendUnfinished(b []byte, c *call.Call) []byte { return appendCopies(b, c, true) }

// A view is one of the records that a call has.
type view struct {
	recipient  string // the account that gets it; empty for none
	number     byte   // 0 is the caller's own
	shared     bool   // there is more than one
	unfinished bool
	brief      bool // without what is long
}

func appendCopies(b []byte, c *call.Call, unfinished bool) []byte {
	if c.EventID == ([16]byte{}) {
		c.EventID = newEventID()
	}
	v := view{recipient: recipient(c), unfinished: unfinished}
	if !isDenial(c.Failure.Code) {
		for i := range c.Resources {
			v.shared = v.shared || isOther(c, v.recipient, i)
		}
	}
	b = appendRecord(b, c, v)
	if v.shared {
		for i, r := range c.Resources {
			if isOther(c, v.recipient, i) {
				v.number++
				b = appendRecord(b, c, view{recipient: r.Account, number: v.number, shared: true, unfinished: unfinished})
			}
		}
	}
	if c.Failure.Code == "" {
		for i, o := range c.Onward {
			b = appendRecord(b, onward(c, o, byte(i)), view{recipient: v.recipient, unfinished: unfinished})
		}
	}
	return b
}

// onward returns a call of c.Onward as its record shows it: the service makes it
// for the caller, from within.
func onward(c, o *call.Call, i byte) *call.Call {
	shown := *o
	shown.EventID = c.EventID
	shown.EventID[onwardByte] ^= i + 1
	shown.Delegation = &call.Delegation{Via: []string{c.Operation.EventSource}}
	shown.TLS, shown.Endpoint = call.TLS{}, nil
	return &shown
}

// onwardByte is the byte of an event id in which those of a call's parts in other
// Regions differ from its own; those for several accounts do in the last one.
const onwardByte = 14

// EventIDFor returns the event id of the record that an account has of a call: as a
// UUID, but for its text. It is of use once the call is on record. It reports
// false for an account that has none.
func EventIDFor(c *call.Call, account string) (id [16]byte, ok bool) {
	id = c.EventID
	if id == ([16]byte{}) {
		return id, false
	}
	to := recipient(c)
	if account == to {
		return id, true
	}
	if isDenial(c.Failure.Code) {
		return [16]byte{}, false
	}
	number := byte(0)
	for i, r := range c.Resources {
		if !isOther(c, to, i) {
			continue
		}
		if number++; r.Account == account {
			id[15] ^= number
			return id, true
		}
	}
	return [16]byte{}, false
}

// isOther reports whether resource i is the first one of its owner, and he is an
// account, not AWS, and not the recipient of the caller's record.
func isOther(c *call.Call, recipient string, i int) bool {
	owner := c.Resources[i].Account
	if i >= maxResources || owner == recipient || len(owner) != accountLength {
		return false
	}
	for _, r := range c.Resources[:i] {
		if r.Account == owner {
			return false
		}
	}
	return true
}

const accountLength = 12 // digits

// recipient returns the account that makes the call. A call that none makes is
// of the account that it is made for, or else of the owner of what it touches.
func recipient(c *call.Call) string {
	switch {
	case c.Caller == nil:
	case c.Caller.Account != "":
		return c.Caller.Account
	case c.Caller.Kind == call.WebIdentity && c.Caller.Session != nil:
		// He is of no account: that of the identity provider who vouches for him.
		if provider, err := arn.Parse(c.Caller.Session.Provider); err == nil && len(provider.Account) == accountLength {
			return provider.Account
		}
	}
	if c.Delegation != nil && c.Delegation.SourceAccount != "" {
		return c.Delegation.SourceAccount
	}
	for _, r := range c.Resources {
		if len(r.Account) == accountLength {
			return r.Account
		}
	}
	return ""
}

// appendRecord appends one record of c as one line of JSON, in CloudTrail's
// form for KMS (eventVersion 1.11):
//
//	{"eventVersion":"1.11",
//	 "userIdentity":{"type":"IAMUser","principalId":"AIDA…","arn":"…","accountId":"…","accessKeyId":"AKIA…","userName":"…",
//	  "sessionContext":{…}},                                               only of temporary credentials
//	 "eventTime":"2026-11-21T20:50:00Z","eventSource":"kms.amazonaws.com","eventName":"Decrypt",
//	 "awsRegion":"eu-central-1","sourceIPAddress":"192.0.2.7","userAgent":"…",
//	 "errorCode":"…","errorMessage":"…",                                   only of a call that failed
//	 "requestParameters":{…},"responseElements":null,
//	 "additionalEventData":{…,"recipient":{…}},                            only if there is any
//	 "requestID":"…","eventID":"…","readOnly":true,
//	 "resources":[{"accountId":"…","type":"AWS::KMS::Key","ARN":"…"}],     absent if the caller was denied
//	 "eventType":"AwsApiCall","managementEvent":true,"recipientAccountId":"…",
//	 "sharedEventID":"…",                                                  only if there are several records
//	 "vpcEndpointId":"vpce-…","vpcEndpointAccountId":"…",                  only of a call through an endpoint
//	 "eventCategory":"Management",
//	 "addendum":{"reason":"SERVICE_OUTAGE"},                               only of an unfinished call
//	 "tlsDetails":{"tlsVersion":"TLSv1.3","cipherSuite":"…","clientProvidedHostHeader":"…","keyExchange":"…"}}
//
// The record for another account than the caller's says of him only this much,
// and has the resources of that account only:
//
//	"userIdentity":{"type":"AWSAccount","principalId":"AIDA…","accountId":"…"}
//
// A record that would be too long is made again without its parameters, which
// it says.
func appendRecord(b []byte, c *call.Call, v view) []byte {
	start := len(b)
	b = appendEvent(b, c, &v)
	if len(b)-start > maxRecord {
		v.brief = true
		b = appendEvent(b[:start], c, &v)
	}
	return append(b, '\n')
}

func appendEvent(b []byte, c *call.Call, v *view) []byte {
	b = append(b, `{"eventVersion":"1.11","userIdentity":`...)
	if v.number > 0 {
		b = appendStranger(b, c)
	} else {
		b = appendIdentity(b, c)
	}
	b = append(b, `,"eventTime":"`...)
	b = c.Time.UTC().AppendFormat(b, time.RFC3339)
	b = append(b, '"')
	readOnly := c.TargetReadOnly
	if o := c.Operation; o != nil {
		readOnly = o.ReadOnly
		b = appendMember(b, `,"eventSource":`, o.EventSource, maxName)
		b = appendMember(b, `,"eventName":`, o.Name, maxName)
	} else {
		b = append(b, `,"eventSource":"`...)
		b = appendWord(b, c.Service)
		if c.Service == ownService {
			b = append(b, ".internal"...) // as in Internal
		} else {
			b = append(b, ".amazonaws.com"...)
		}
		b = append(b, `","eventName":"`...)
		b = appendWord(b, c.Target)
		b = append(b, '"')
	}
	b = appendMember(b, `,"awsRegion":`, c.Region, maxName)
	if by := invokedBy(c); by != "" {
		b = appendMember(b, `,"sourceIPAddress":`, by, maxName)
		b = appendMember(b, `,"userAgent":`, by, maxName)
	} else {
		b = append(b, `,"sourceIPAddress":"`...)
		if a := c.Source.Addr(); a.IsValid() {
			b = a.Unmap().WithZone("").AppendTo(b)
		}
		b = append(b, '"')
		b = appendMember(b, `,"userAgent":`, c.UserAgent, maxText)
	}

	failed := c.Failure.Code != ""
	if failed {
		b = appendMember(b, `,"errorCode":`, recordedCode(c.Failure.Code), maxName)
		if c.Failure.Message != "" {
			b = appendMember(b, `,"errorMessage":`, c.Failure.Message, maxText)
		}
	}
	var parameters, elements call.Auditable
	if !withoutParameters(c.Failure.Code) {
		parameters = c.Parameters
	}
	if !failed && !v.unfinished {
		elements = c.Elements
	}
	b = appendAuditable(b, "requestParameters", parameters, v.brief)
	b = appendAuditable(b, "responseElements", elements, v.brief)
	b = appendAdditional(b, c.Additional, c.Recipient, v.brief)
	b = appendMember(b, `,"requestID":`, c.ID, maxName)
	b = append(b, `,"eventID":"`...)
	b = appendEventID(b, c.EventID, v.number)
	b = append(b, `","readOnly":`...)
	b = strconv.AppendBool(b, readOnly)
	// KMS shows an empty list where other services show none.
	if !isDenial(c.Failure.Code) && (len(c.Resources) > 0 || !failed && c.Service == "kms") {
		only := ""
		if v.number > 0 {
			only = v.recipient
		}
		b = appendResources(b, c.Resources, only)
	}
	b = append(b, `,"eventType":"AwsApiCall","managementEvent":true`...)
	if v.recipient != "" {
		b = appendMember(b, `,"recipientAccountId":`, v.recipient, maxName)
	}
	if v.shared {
		b = append(b, `,"sharedEventID":"`...)
		b = appendEventID(b, c.EventID, sharedNumber)
		b = append(b, '"')
	}
	if e := c.Endpoint; e != nil {
		b = appendMember(b, `,"vpcEndpointId":`, e.ID, maxName)
		b = appendMember(b, `,"vpcEndpointAccountId":`, e.Account, maxName)
	}
	b = append(b, `,"eventCategory":"Management"`...)
	if v.unfinished {
		b = append(b, `,"addendum":{"reason":"SERVICE_OUTAGE"}`...)
	}
	b = appendTLS(b, c)
	return append(b, '}')
}

// appendStranger appends what the owner of a resource is told of a caller of
// another account.
func appendStranger(b []byte, c *call.Call) []byte {
	p := c.Caller
	if p == nil || p.Kind == call.Service || p.Kind == call.WebIdentity {
		return appendIdentity(b, c)
	}
	b = append(b, `{"type":"AWSAccount"`...)
	b = appendMember(b, `,"principalId":`, p.ID, maxName)
	b = appendMember(b, `,"accountId":`, p.Account, maxName)
	return append(appendInvoker(b, c), '}')
}

// invokedBy returns the service that makes the call for a user, which stands in
// the place of his address and program; empty if he makes it himself.
func invokedBy(c *call.Call) string {
	if c.Delegation == nil || len(c.Delegation.Via) == 0 {
		return ""
	}
	return c.Delegation.Via[len(c.Delegation.Via)-1]
}

// appendInvoker appends the member of userIdentity that says who makes the call
// for the caller.
func appendInvoker(b []byte, c *call.Call) []byte {
	if by := invokedBy(c); by != "" {
		b = appendMember(b, `,"invokedBy":`, by, maxName)
	}
	return b
}

// ownService is the signing name of the service that AWS has no like of.
const ownService = "keyreeve"

// What a denial is called in the JSON protocols, and in the query protocol and
// in records.
const (
	accessDenied = "AccessDeniedException"
	queryDenied  = "AccessDenied"
)

func isDenial(code string) bool { return code == accessDenied || code == queryDenied }

// recordedCode returns what records call an error: in those of services of the
// query protocol it has the name that the API's model gives it, not the one that
// the caller was answered.
func recordedCode(code string) string {
	switch code {
	case accessDenied:
		return queryDenied
	case "NoSuchEntity":
		return "NoSuchEntityException"
	case "EntityAlreadyExists":
		return "EntityAlreadyExistsException"
	case "EntityTemporarilyUnmodifiable":
		return "EntityTemporarilyUnmodifiableException"
	case "UnmodifiableEntity":
		return "UnmodifiableEntityException"
	case "DeleteConflict":
		return "DeleteConflictException"
	case "LimitExceeded":
		return "LimitExceededException"
	case "ConcurrentModification":
		return "ConcurrentModificationException"
	case "InvalidInput":
		return "InvalidInputException"
	case "InvalidAuthenticationCode":
		return "InvalidAuthenticationCodeException"
	case "MalformedPolicyDocument":
		return "MalformedPolicyDocumentException"
	case "PackedPolicyTooLarge":
		return "PackedPolicyTooLargeException"
	case "PolicyNotAttachable":
		return "PolicyNotAttachableException"
	case "PolicyEvaluation":
		return "PolicyEvaluationException"
	case "OpenIdIdpCommunicationError":
		return "OpenIdIdpCommunicationErrorException"
	case "IDPCommunicationError":
		return "IDPCommunicationErrorException"
	case "IDPRejectedClaim":
		return "IDPRejectedClaimException"
	case "InvalidIdentityToken":
		return "InvalidIdentityTokenException"
	case "ReportExpired":
		return "CredentialReportExpiredException"
	case "ReportInProgress":
		return "CredentialReportNotReadyException"
	case "ReportNotPresent":
		return "CredentialReportNotPresentException"
	case "ServiceFailure":
		return "ServiceFailureException"
	}
	return code
}

// withoutParameters reports whether a call failed before its parameters mean
// anything, or in a way in which CloudTrail does not show them.
func withoutParameters(code string) bool {
	switch code {
	case accessDenied, "ValidationException", "SerializationException", "UnknownOperationException", "ThrottlingException",
		queryDenied, "ValidationError", "MalformedInput", "MalformedQueryString", "InvalidAction", "MissingAction", "Throttling":
		return true
	}
	return false
}

// appendIdentity appends who makes the call. Source: "CloudTrail userIdentity
// element" in the CloudTrail User Guide.
func appendIdentity(b []byte, c *call.Call) []byte {
	p := c.Caller
	if p == nil {
		return append(b, `{"type":"Unknown"}`...)
	}
	var kind string
	switch p.Kind {
	case call.Root:
		kind = "Root"
	case call.User:
		kind = "IAMUser"
	case call.RoleSession:
		kind = "AssumedRole"
	case call.FederatedUser:
		kind = "FederatedUser"
	case call.Service:
		b = append(b, `{"type":"AWSService"`...)
		b = appendMember(b, `,"invokedBy":`, p.Name, maxName)
		return append(b, '}')
	case call.WebIdentity:
		b = append(b, `{"type":"WebIdentityUser"`...)
		b = appendMember(b, `,"principalId":`, p.ID, maxARN)
		b = appendMember(b, `,"userName":`, p.Name, maxName)
		if p.Session != nil {
			b = appendMember(b, `,"identityProvider":`, p.Session.Provider, maxARN)
		}
		return append(b, '}')
	default:
		kind = "Unknown"
	}
	b = append(b, `{"type":"`...)
	b = append(b, kind...)
	b = append(b, '"')
	b = appendMember(b, `,"principalId":`, p.ID, maxName)
	b = appendMember(b, `,"arn":`, p.ARN, maxARN)
	b = appendMember(b, `,"accountId":`, p.Account, maxName)
	b = appendMember(b, `,"accessKeyId":`, p.AccessKeyID, maxName)
	if p.Kind == call.User {
		b = appendMember(b, `,"userName":`, p.Name, maxName)
	}
	if p.Session != nil {
		b = appendSession(b, p)
	}
	return append(appendInvoker(b, c), '}')
}

// appendSession appends what the record shows of temporary credentials:
//
//	,"sessionContext":{"sessionIssuer":{"type":"Role","principalId":"AROA…","arn":"…","accountId":"…","userName":"…"},
//	 "attributes":{"creationDate":"2026-11-21T20:50:00Z","mfaAuthenticated":"false"},
//	 "webIdFederationData":{"federatedProvider":"arn:…","attributes":{}},   of who came with an OIDC token
//	 "sourceIdentity":"…"}
func appendSession(b []byte, p *call.Principal) []byte {
	b = append(b, `,"sessionContext":{`...)
	kind, issuer := "", ""
	switch p.Kind {
	case call.RoleSession:
		kind, issuer = "Role", p.EntityARN
	case call.FederatedUser:
		if kind, issuer = "IAMUser", p.Issuer; p.EntityID == "" {
			kind = "Root"
		}
	}
	if issuer != "" {
		b = appendMember(b, `"sessionIssuer":{"type":`, kind, maxName)
		id := p.EntityID
		if id == "" {
			id = p.Account
		}
		b = appendMember(b, `,"principalId":`, id, maxName)
		b = appendMember(b, `,"arn":`, issuer, maxARN)
		b = appendMember(b, `,"accountId":`, p.Account, maxName)
		if kind != "Root" {
			b = appendMember(b, `,"userName":`, issuer[strings.LastIndexByte(issuer, '/')+1:], maxName)
		}
		b = append(b, '}', ',')
	}
	b = append(b, `"attributes":{"creationDate":"`...)
	b = p.Session.Issued.UTC().AppendFormat(b, time.RFC3339)
	b = append(b, `","mfaAuthenticated":"`...)
	b = strconv.AppendBool(b, p.Session.MFA)
	b = append(b, '"', '}')
	if strings.Contains(p.Session.Provider, ":oidc-provider/") {
		b = appendMember(b, `,"webIdFederationData":{"federatedProvider":`, p.Session.Provider, maxARN)
		b = append(b, `,"attributes":{}}`...)
	}
	if p.Session.SourceIdentity != "" {
		b = appendMember(b, `,"sourceIdentity":`, p.Session.SourceIdentity, maxName)
	}
	return append(b, '}')
}

// appendAuditable appends a member whose value a makes; null if a is nil.
func appendAuditable(b []byte, name string, a call.Auditable, brief bool) []byte {
	b = append(b, ',', '"')
	b = append(b, name...)
	b = append(b, '"', ':')
	if a == nil {
		return append(b, "null"...)
	}
	start := len(b)
	b = a.AppendAudit(b)
	value := b[start:]
	reason := ""
	switch {
	case len(value) == 0:
		return append(b, "null"...)
	case brief || len(value) > maxParameters:
		reason = name + " too large"
	case bytes.IndexByte(value, '\n') >= 0:
		// It would tear the record apart.
		reason = name + " not in one line"
	default:
		return b
	}
	size := len(value)
	b = append(b[:start], `{"omitted":true,"originalSize":`...)
	b = strconv.AppendInt(b, int64(size), 10)
	b = appendMember(b, `,"reason":`, reason, maxText)
	return append(b, '}')
}

// appendAdditional appends additionalEventData, with a recipient if there is one.
func appendAdditional(b []byte, pairs, recipient []call.Pair, brief bool) []byte {
	if len(pairs) == 0 && len(recipient) == 0 {
		return b
	}
	if brief || size(pairs)+size(recipient) > maxAdditional {
		return append(b, `,"additionalEventData":{"omitted":true}`...)
	}
	b = append(b, `,"additionalEventData":`...)
	if len(recipient) == 0 {
		return appendPairs(b, pairs)
	}
	if len(pairs) == 0 {
		b = append(b, '{')
	} else {
		b = appendPairs(b, pairs)
		b[len(b)-1] = ','
	}
	b = append(b, `"recipient":`...)
	return append(appendPairs(b, recipient), '}')
}

// size returns how long names and values are together.
func size(pairs []call.Pair) int {
	n := 0
	for _, p := range pairs {
		n += len(p.Name) + len(p.Value)
	}
	return n
}

// appendPairs appends an object of strings.
func appendPairs(b []byte, pairs []call.Pair) []byte {
	for i, p := range pairs {
		separator := byte(',')
		if i == 0 {
			separator = '{'
		}
		b = append(b, separator)
		b = appendString(b, p.Name, maxAdditional)
		b = append(b, ':')
		b = appendString(b, p.Value, maxAdditional)
	}
	return append(b, '}')
}

// appendResources appends the resources, or those of one account only.
func appendResources(b []byte, resources []call.Resource, only string) []byte {
	b = append(b, `,"resources":[`...)
	first := true
	for _, r := range resources[:min(len(resources), maxResources)] {
		if only != "" && r.Account != only {
			continue
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		b = append(b, `{"accountId":`...)
		b = appendString(b, r.Account, maxName)
		b = appendMember(b, `,"type":`, r.Type, maxName)
		b = appendMember(b, `,"ARN":`, r.ARN, maxARN)
		b = append(b, '}')
	}
	return append(b, ']')
}

func appendTLS(b []byte, c *call.Call) []byte {
	if c.TLS.Version == 0 {
		return b
	}
	b = append(b, `,"tlsDetails":{"tlsVersion":"`...)
	b = append(b, tlsVersion(c.TLS.Version)...)
	b = append(b, `","cipherSuite":"`...)
	b = append(b, cipherSuite(c.TLS.CipherSuite)...)
	b = append(b, '"')
	b = appendMember(b, `,"clientProvidedHostHeader":`, c.Host, maxName)
	if g := keyExchange(c.TLS.Group); g != "" {
		b = append(b, `,"keyExchange":"`...)
		b = append(b, g...)
		b = append(b, '"')
	}
	return append(b, '}')
}

func tlsVersion(v uint16) string {
	switch v {
	case tls.VersionTLS13:
		return "TLSv1.3"
	case tls.VersionTLS12:
		return "TLSv1.2"
	}
	return tls.VersionName(v)
}

// cipherSuite returns the name that CloudTrail uses: IANA's in TLS 1.3,
// OpenSSL's before.
func cipherSuite(s uint16) string {
	switch s {
	case tls.TLS_AES_128_GCM_SHA256:
		return "TLS_AES_128_GCM_SHA256"
	case tls.TLS_AES_256_GCM_SHA384:
		return "TLS_AES_256_GCM_SHA384"
	case tls.TLS_CHACHA20_POLY1305_SHA256:
		return "TLS_CHACHA20_POLY1305_SHA256"
	case tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256:
		return "ECDHE-ECDSA-AES128-GCM-SHA256"
	case tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384:
		return "ECDHE-ECDSA-AES256-GCM-SHA384"
	case tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256:
		return "ECDHE-RSA-AES128-GCM-SHA256"
	case tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384:
		return "ECDHE-RSA-AES256-GCM-SHA384"
	case tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256:
		return "ECDHE-ECDSA-CHACHA20-POLY1305"
	case tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256:
		return "ECDHE-RSA-CHACHA20-POLY1305"
	}
	return tls.CipherSuiteName(s)
}

// keyExchange returns the IANA name of a TLS group; empty if there was none.
func keyExchange(group uint16) string {
	switch g := tls.CurveID(group); g {
	case 0:
		return ""
	case tls.X25519:
		return "x25519"
	case tls.CurveP256:
		return "secp256r1"
	case tls.CurveP384:
		return "secp384r1"
	case tls.CurveP521:
		return "secp521r1"
	default:
		return g.String() // X25519MLKEM768 and its like have the same name there
	}
}

// appendMember appends name, such as `,"userAgent":`, and at most limit bytes
// of value.
func appendMember(b []byte, name, value string, limit int) []byte {
	b = append(b, name...)
	return appendString(b, value, limit)
}

// appendWord appends at most maxName letters, digits, dots, hyphens and underscores of
// s, which a client has sent unchecked, and no other character.
func appendWord(b []byte, s string) []byte {
	for i := range min(len(s), maxName) {
		if c := s[i]; 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '.' || c == '-' || c == '_' {
			b = append(b, c)
		}
	}
	return b
}

// plain tells which bytes stand for themselves in a JSON string.
var plain = func() (t [256]bool) {
	for c := ' '; c < 0x7f; c++ {
		t[c] = c != '"' && c != '\\'
	}
	return t
}()

// isPlain reports whether all of s stands for itself. It may be wrong in
// saying no.
func isPlain(s string) bool {
	if len(s) < 8 {
		for i := range len(s) {
			if !plain[s[i]] {
				return false
			}
		}
		return true
	}
	for t := s; len(t) > 8; t = t[8:] {
		if !isPlain8(t) {
			return false
		}
	}
	return isPlain8(s[len(s)-8:])
}

// isPlain8 is isPlain for the first eight bytes of s, all at once: the top bit
// of each byte of x-n*ones is set where that byte was less than n. Where it is
// set because of a borrow from the byte below, that one was less than n.
func isPlain8(s string) bool {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	_ = s[7]
	x := uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
	quote, backslash, del := x^'"'*ones, x^'\\'*ones, x^0x7f*ones
	return (x|(x-' '*ones)|(quote-ones)|(backslash-ones)|(del-ones))&tops == 0
}

// appendString appends a JSON string with at most limit bytes of s. What is
// not UTF-8 becomes U+FFFD. Whatever some program takes for the end of a line
// is escaped.
func appendString(b []byte, s string, limit int) []byte {
	if len(s) > limit {
		for limit > 0 && !utf8.RuneStart(s[limit]) {
			limit--
		}
		s = s[:limit]
	}
	b = append(b, '"')
	if isPlain(s) {
		b = append(b, s...)
		return append(b, '"')
	}
	done := 0
	for i := 0; i < len(s); {
		c := s[i]
		if plain[c] {
			i++
			continue
		}
		r, size := rune(c), 1
		if c >= utf8.RuneSelf {
			r, size = utf8.DecodeRuneInString(s[i:])
			invalid := r == utf8.RuneError && size == 1
			if !invalid && r > 0x9f && r != '\u2028' && r != '\u2029' {
				i += size
				continue
			}
		}
		b = append(b, s[done:i]...)
		b = append(b, '\\')
		switch r {
		case '"', '\\':
			b = append(b, c)
		case '\n':
			b = append(b, 'n')
		case '\r':
			b = append(b, 'r')
		case '\t':
			b = append(b, 't')
		default:
			const digits = "0123456789abcdef"
			b = append(b, 'u', digits[r>>12&15], digits[r>>8&15], digits[r>>4&15], digits[r&15])
		}
		i += size
		done = i
	}
	b = append(b, s[done:]...)
	return append(b, '"')
}

// newEventID returns a random UUID of version 4. The generator is the one that
// the runtime keeps for each thread, seeded by the operating system: ids must
// be unique, not secret.
func newEventID() (id [16]byte) {
	binary.LittleEndian.PutUint64(id[:8], rand.Uint64())
	binary.LittleEndian.PutUint64(id[8:], rand.Uint64())
	id[6] = id[6]&0x0f | 0x40
	id[8] = id[8]&0x3f | 0x80
	return id
}

// sharedNumber makes the sharedEventID of a call from its event id; the records
// have lower numbers.
const sharedNumber = 0xff

// appendEventID appends the UUID of one of the records of a call.
func appendEventID(b []byte, id [16]byte, number byte) []byte {
	id[15] ^= number
	b = hex.AppendEncode(b, id[:4])
	b = append(b, '-')
	b = hex.AppendEncode(b, id[4:6])
	b = append(b, '-')
	b = hex.AppendEncode(b, id[6:8])
	b = append(b, '-')
	b = hex.AppendEncode(b, id[8:10])
	b = append(b, '-')
	return hex.AppendEncode(b, id[10:])
}
