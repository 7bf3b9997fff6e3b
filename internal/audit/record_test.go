package audit_test

import (
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/keyreeve/keyreeve/internal/audit"
	"github.com/keyreeve/keyreeve/internal/call"
)

var (
	decrypt   = &call.Operation{Name: "Decrypt", Service: "kms", EventSource: "kms.amazonaws.com", ReadOnly: true}
	createKey = &call.Operation{Name: "CreateKey", Service: "kms", EventSource: "kms.amazonaws.com"}

	alice = &call.Principal{
		Kind: call.User, Account: "111122223333", ARN: "arn:aws:iam::111122223333:user/alice",
		ID: "AIDACKCEVSQ6C2EXAMPLE", Name: "alice", AccessKeyID: "AKIAIOSFODNN7EXAMPLE",
	}
)

const keyARN = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"

// auditable is a JSON value that a call's input or output would append.
type auditable string

func (a auditable) AppendAudit(b []byte) []byte { return append(b, a...) }

// newCall returns a Decrypt of alice's that succeeded.
func newCall() *call.Call {
	c := &call.Call{
		ID:         "5ba8ba61-a85c-4dd4-8d1f-8b5e5a6a7f10",
		Time:       time.Date(2026, 11, 21, 20, 50, 7, 999, time.UTC),
		Region:     "eu-central-1",
		Service:    "kms",
		Source:     netip.MustParseAddrPort("192.0.2.7:40000"),
		UserAgent:  "aws-cli/2.9.19 Python/3.11.2",
		Host:       "127.0.0.1:4599",
		TLS:        call.TLS{Version: tls.VersionTLS13, CipherSuite: tls.TLS_AES_128_GCM_SHA256, Group: uint16(tls.X25519MLKEM768)},
		Operation:  decrypt,
		Caller:     alice,
		Parameters: auditable(`{"encryptionAlgorithm":"SYMMETRIC_DEFAULT","encryptionContext":{"a":"b"}}`),
	}
	c.AddKey(keyARN, "111122223333")
	return c
}

// record returns the caller's record of c without its newline.
func record(t testing.TB, c *call.Call) string {
	t.Helper()
	return records(t, c)[0]
}

// records returns the records of c without their newlines.
func records(t testing.TB, c *call.Call) (lines []string) {
	t.Helper()
	l, err := audit.Open("", audit.Options{Memory: 32})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Append(c); err != nil {
		t.Fatal(err)
	}
	for line, err := range l.Records() {
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, string(line))
	}
	if len(lines) == 0 {
		t.Fatal("no record")
	}
	return lines
}

var eventID = regexp.MustCompile(`"eventID":"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"`)

func TestRecord(t *testing.T) {
	const (
		head = `{"eventVersion":"1.11","userIdentity":`
		user = `{"type":"IAMUser","principalId":"AIDACKCEVSQ6C2EXAMPLE","arn":"arn:aws:iam::111122223333:user/alice",` +
			`"accountId":"111122223333","accessKeyId":"AKIAIOSFODNN7EXAMPLE","userName":"alice"}`
		event = `,"eventTime":"2026-11-21T20:50:07Z","eventSource":"kms.amazonaws.com","eventName":"Decrypt",` +
			`"awsRegion":"eu-central-1","sourceIPAddress":"192.0.2.7","userAgent":"aws-cli/2.9.19 Python/3.11.2"`
		parameters = `,"requestParameters":{"encryptionAlgorithm":"SYMMETRIC_DEFAULT","encryptionContext":{"a":"b"}},"responseElements":null`
		ids        = `,"requestID":"5ba8ba61-a85c-4dd4-8d1f-8b5e5a6a7f10","eventID":"EVENT","readOnly":true`
		resources  = `,"resources":[{"accountId":"111122223333","type":"AWS::KMS::Key","ARN":"` + keyARN + `"}]`
		kind       = `,"eventType":"AwsApiCall","managementEvent":true`
		recipient  = `,"recipientAccountId":"111122223333"`
		category   = `,"eventCategory":"Management"`
		tlsDetails = `,"tlsDetails":{"tlsVersion":"TLSv1.3","cipherSuite":"TLS_AES_128_GCM_SHA256",` +
			`"clientProvidedHostHeader":"127.0.0.1:4599","keyExchange":"X25519MLKEM768"}}`
		tail = kind + recipient + category + tlsDetails
	)
	tests := []struct {
		name   string
		change func(c *call.Call)
		want   string
	}{
		{"user", func(*call.Call) {}, head + user + event + parameters + ids + resources + tail},
		{"root", func(c *call.Call) {
			c.Caller = &call.Principal{Kind: call.Root, Account: "111122223333", ARN: "arn:aws:iam::111122223333:root", ID: "111122223333", AccessKeyID: "AKIAROOT"}
		}, head + `{"type":"Root","principalId":"111122223333","arn":"arn:aws:iam::111122223333:root","accountId":"111122223333","accessKeyId":"AKIAROOT"}` +
			event + parameters + ids + resources + tail},
		{"role session", func(c *call.Call) {
			c.Caller = &call.Principal{Kind: call.RoleSession, Account: "111122223333", ARN: "arn:aws:sts::111122223333:assumed-role/ops/bob", ID: "AROA1:bob", AccessKeyID: "ASIA1"}
		}, head + `{"type":"AssumedRole","principalId":"AROA1:bob","arn":"arn:aws:sts::111122223333:assumed-role/ops/bob","accountId":"111122223333","accessKeyId":"ASIA1"}` +
			event + parameters + ids + resources + tail},
		{"federated user", func(c *call.Call) {
			c.Caller = &call.Principal{Kind: call.FederatedUser, Account: "111122223333", ARN: "arn:aws:sts::111122223333:federated-user/carol", ID: "111122223333:carol", AccessKeyID: "ASIA2"}
		}, head + `{"type":"FederatedUser","principalId":"111122223333:carol","arn":"arn:aws:sts::111122223333:federated-user/carol","accountId":"111122223333","accessKeyId":"ASIA2"}` +
			event + parameters + ids + resources + tail},
		{"role session with its context", func(c *call.Call) {
			c.Caller = &call.Principal{
				Kind: call.RoleSession, Account: "111122223333", ARN: "arn:aws:sts::111122223333:assumed-role/ops/bob", ID: "AROA1:bob", AccessKeyID: "ASIA1",
				EntityARN: "arn:aws:iam::111122223333:role/team/ops", EntityID: "AROA1",
				Session: &call.Session{Issued: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC), SourceIdentity: "bo\"b"},
			}
		}, head + `{"type":"AssumedRole","principalId":"AROA1:bob","arn":"arn:aws:sts::111122223333:assumed-role/ops/bob","accountId":"111122223333","accessKeyId":"ASIA1",` +
			`"sessionContext":{"sessionIssuer":{"type":"Role","principalId":"AROA1","arn":"arn:aws:iam::111122223333:role/team/ops","accountId":"111122223333","userName":"ops"},` +
			`"attributes":{"creationDate":"2026-01-02T03:04:05Z","mfaAuthenticated":"false"},"sourceIdentity":"bo\"b"}}` +
			event + parameters + ids + resources + tail},
		{"federated user of a user", func(c *call.Call) {
			c.Caller = &call.Principal{
				Kind: call.FederatedUser, Account: "111122223333", ARN: "arn:aws:sts::111122223333:federated-user/carol", ID: "111122223333:carol", AccessKeyID: "ASIA2",
				EntityID: "AIDA1", Issuer: "arn:aws:iam::111122223333:user/alice", Session: &call.Session{Issued: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)},
			}
		}, head + `{"type":"FederatedUser","principalId":"111122223333:carol","arn":"arn:aws:sts::111122223333:federated-user/carol","accountId":"111122223333","accessKeyId":"ASIA2",` +
			`"sessionContext":{"sessionIssuer":{"type":"IAMUser","principalId":"AIDA1","arn":"arn:aws:iam::111122223333:user/alice","accountId":"111122223333","userName":"alice"},` +
			`"attributes":{"creationDate":"2026-01-02T03:04:05Z","mfaAuthenticated":"false"}}}` +
			event + parameters + ids + resources + tail},
		{"federated user of root", func(c *call.Call) {
			c.Caller = &call.Principal{
				Kind: call.FederatedUser, Account: "111122223333", ARN: "arn:aws:sts::111122223333:federated-user/carol", ID: "111122223333:carol", AccessKeyID: "ASIA2",
				Issuer: "arn:aws:iam::111122223333:root", Session: &call.Session{Issued: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)},
			}
		}, head + `{"type":"FederatedUser","principalId":"111122223333:carol","arn":"arn:aws:sts::111122223333:federated-user/carol","accountId":"111122223333","accessKeyId":"ASIA2",` +
			`"sessionContext":{"sessionIssuer":{"type":"Root","principalId":"111122223333","arn":"arn:aws:iam::111122223333:root","accountId":"111122223333"},` +
			`"attributes":{"creationDate":"2026-01-02T03:04:05Z","mfaAuthenticated":"false"}}}` +
			event + parameters + ids + resources + tail},
		{"temporary user with MFA", func(c *call.Call) {
			caller := *alice
			caller.Session = &call.Session{Issued: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC), MFA: true}
			c.Caller = &caller
		}, head + strings.TrimSuffix(user, "}") + `,"sessionContext":{"attributes":{"creationDate":"2026-01-02T03:04:05Z","mfaAuthenticated":"true"}}}` +
			event + parameters + ids + resources + tail},
		{"service", func(c *call.Call) {
			c.Caller = &call.Principal{Kind: call.Service, Name: "geo.amazonaws.com"}
		}, head + `{"type":"AWSService","invokedBy":"geo.amazonaws.com"}` + event + parameters + ids + resources + tail},
		{"service for somebody, of nobody's", func(c *call.Call) {
			c.Caller = &call.Principal{Kind: call.Service, Name: "geo.amazonaws.com"}
			c.Delegation = &call.Delegation{SourceAccount: "444455556666"}
			c.Resources = nil
		}, head + `{"type":"AWSService","invokedBy":"geo.amazonaws.com"}` + event + parameters + ids + `,"resources":[]` + kind +
			`,"recipientAccountId":"444455556666"` + category + tlsDetails},
		{"by way of services", func(c *call.Call) {
			c.Delegation = &call.Delegation{Via: []string{"geo.amazonaws.com", "s3.amazonaws.com"}}
		}, head + strings.TrimSuffix(user, "}") + `,"invokedBy":"s3.amazonaws.com"}` +
			strings.NewReplacer("192.0.2.7", "s3.amazonaws.com", "aws-cli/2.9.19 Python/3.11.2", "s3.amazonaws.com").Replace(event) + parameters + ids + resources + tail},
		{"web identity", func(c *call.Call) {
			c.Caller = &call.Principal{
				Kind: call.WebIdentity, ID: "arn:aws:iam::111122223333:oidc-provider/ci.example.com:kms:build", Name: "build",
				Session: &call.Session{Provider: "arn:aws:iam::111122223333:oidc-provider/ci.example.com"},
			}
		}, head + `{"type":"WebIdentityUser","principalId":"arn:aws:iam::111122223333:oidc-provider/ci.example.com:kms:build","userName":"build",` +
			`"identityProvider":"arn:aws:iam::111122223333:oidc-provider/ci.example.com"}` + event + parameters + ids + resources + tail},
		{"session of a web identity", func(c *call.Call) {
			c.Caller = &call.Principal{
				Kind: call.RoleSession, Account: "111122223333", ARN: "arn:aws:sts::111122223333:assumed-role/ops/bob", ID: "AROA1:bob", AccessKeyID: "ASIA1",
				EntityARN: "arn:aws:iam::111122223333:role/ops", EntityID: "AROA1",
				Session: &call.Session{Issued: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC), Provider: "arn:aws:iam::111122223333:oidc-provider/ci.example.com"},
			}
		}, head + `{"type":"AssumedRole","principalId":"AROA1:bob","arn":"arn:aws:sts::111122223333:assumed-role/ops/bob","accountId":"111122223333","accessKeyId":"ASIA1",` +
			`"sessionContext":{"sessionIssuer":{"type":"Role","principalId":"AROA1","arn":"arn:aws:iam::111122223333:role/ops","accountId":"111122223333","userName":"ops"},` +
			`"attributes":{"creationDate":"2026-01-02T03:04:05Z","mfaAuthenticated":"false"},` +
			`"webIdFederationData":{"federatedProvider":"arn:aws:iam::111122223333:oidc-provider/ci.example.com","attributes":{}}}}` +
			event + parameters + ids + resources + tail},
		{"nobody", func(c *call.Call) { c.Caller = nil }, head + `{"type":"Unknown"}` + event + parameters + ids + resources + tail},
		{
			"nobody, and nothing", func(c *call.Call) { c.Caller, c.Resources = nil, nil },
			head + `{"type":"Unknown"}` + event + parameters + ids + `,"resources":[]` + kind + category + tlsDetails,
		},
		{"through an endpoint", func(c *call.Call) {
			c.Endpoint = &call.Endpoint{ID: "vpce-1", Account: "444455556666"}
		}, head + user + event + parameters + ids + resources + kind + recipient +
			`,"vpcEndpointId":"vpce-1","vpcEndpointAccountId":"444455556666"` + category + tlsDetails},

		{"denied", func(c *call.Call) {
			c.Failure = call.Failure{Code: "AccessDeniedException", Message: "User: x is not authorized"}
			c.Elements = auditable(`{"no":1}`)
		}, head + user + event + `,"errorCode":"AccessDenied","errorMessage":"User: x is not authorized","requestParameters":null,"responseElements":null` + ids + tail},
		{"denied in the query protocol", func(c *call.Call) {
			c.Failure = call.Failure{Code: "AccessDenied", Message: "User: x is not authorized"}
		}, head + user + event + `,"errorCode":"AccessDenied","errorMessage":"User: x is not authorized","requestParameters":null,"responseElements":null` + ids + tail},
		{"invalid in the query protocol", func(c *call.Call) {
			c.Failure = call.Failure{Code: "ValidationError", Message: `Value "x"`}
			c.Resources = nil
		}, head + user + event + `,"errorCode":"ValidationError","errorMessage":"Value \"x\"","requestParameters":null,"responseElements":null` + ids + tail},
		{"of a service that names its errors in two ways", func(c *call.Call) {
			c.Failure = call.Failure{Code: "NoSuchEntity", Message: "is not there"}
			c.Resources = nil
		}, head + user + event + `,"errorCode":"NoSuchEntityException","errorMessage":"is not there"` + parameters + ids + tail},
		{"of a service without resources", func(c *call.Call) { c.Service, c.Resources = "iam", nil }, head + user + event + parameters + ids + tail},
		{"invalid", func(c *call.Call) {
			c.Failure = call.Failure{Code: "ValidationException", Message: `Value "x"`}
			c.Resources = nil
		}, head + user + event + `,"errorCode":"ValidationException","errorMessage":"Value \"x\"","requestParameters":null,"responseElements":null` + ids + tail},
		{"wrong state", func(c *call.Call) {
			c.Failure = call.Failure{Code: "KMSInvalidStateException", Message: "is disabled"}
		}, head + user + event + `,"errorCode":"KMSInvalidStateException","errorMessage":"is disabled"` + parameters + ids + resources + tail},
		{"without a message", func(c *call.Call) {
			c.Failure = call.Failure{Code: "InvalidCiphertextException"}
		}, head + user + event + `,"errorCode":"InvalidCiphertextException"` + parameters + ids + resources + tail},

		{"elements", func(c *call.Call) {
			c.Operation, c.Elements = createKey, auditable(`{"keyId":"k"}`)
		}, head + user + strings.Replace(event, "Decrypt", "CreateKey", 1) + strings.Replace(parameters, `"responseElements":null`, `"responseElements":{"keyId":"k"}`, 1) +
			strings.Replace(ids, "true", "false", 1) + resources + tail},
		{"additional data", func(c *call.Call) {
			c.Additional = []call.Pair{{Name: "keyMaterialId", Value: "m"}, {Name: "b", Value: "\""}}
		}, head + user + event + parameters + `,"additionalEventData":{"keyMaterialId":"m","b":"\""}` + ids + resources + tail},
		{"a recipient", func(c *call.Call) {
			c.Recipient = []call.Pair{{Name: "attestationDocumentModuleId", Value: "i-\"1"}, {Name: "b", Value: "AA=="}}
		}, head + user + event + parameters + `,"additionalEventData":{"recipient":{"attestationDocumentModuleId":"i-\"1","b":"AA=="}}` + ids + resources + tail},
		{"additional data and a recipient", func(c *call.Call) {
			c.Additional, c.Recipient = []call.Pair{{Name: "keyMaterialId", Value: "m"}}, []call.Pair{{Name: "a", Value: "b"}}
		}, head + user + event + parameters + `,"additionalEventData":{"keyMaterialId":"m","recipient":{"a":"b"}}` + ids + resources + tail},
		{
			"no resources", func(c *call.Call) { c.Resources, c.Parameters = nil, auditable("") },
			head + user + event + `,"requestParameters":null,"responseElements":null` + ids + `,"resources":[]` + tail,
		},
		{"two resources", func(c *call.Call) {
			c.AddKey("arn:aws:kms:eu-central-1:111122223333:key/2", "111122223333")
		}, head + user + event + parameters + ids + strings.TrimSuffix(resources, "]") +
			`,{"accountId":"111122223333","type":"AWS::KMS::Key","ARN":"arn:aws:kms:eu-central-1:111122223333:key/2"}]` + tail},
		{"not routed", func(c *call.Call) {
			c.Operation, c.Target, c.Parameters, c.Resources = nil, "Fro\"b\nnicate", nil, nil
			c.Failure = call.Failure{Code: "UnknownOperationException"}
		}, head + user + strings.Replace(event, "Decrypt", "Frobnicate", 1) + `,"errorCode":"UnknownOperationException","requestParameters":null,"responseElements":null` +
			strings.Replace(ids, "true", "false", 1) + tail},
		{"not routed, of the operator's service", func(c *call.Call) {
			c.Operation, c.Service, c.Target, c.Parameters, c.Resources = nil, "keyreeve", "Frobnicate", nil, nil
			c.Failure = call.Failure{Code: "UnknownOperationException"}
		}, head + user + strings.NewReplacer("Decrypt", "Frobnicate", "kms.amazonaws.com", audit.Internal).Replace(event) +
			`,"errorCode":"UnknownOperationException","requestParameters":null,"responseElements":null` + strings.Replace(ids, "true", "false", 1) + tail},
		{"not routed, and changes nothing", func(c *call.Call) {
			c.Operation, c.Target, c.TargetReadOnly, c.Parameters, c.Resources = nil, "ListGrants", true, nil, nil
			c.Failure = call.Failure{Code: "UnknownOperationException"}
		}, head + user + strings.Replace(event, "Decrypt", "ListGrants", 1) + `,"errorCode":"UnknownOperationException","requestParameters":null,"responseElements":null` + ids + tail},

		{"no TLS", func(c *call.Call) { c.TLS = call.TLS{} }, head + user + event + parameters + ids + resources + kind + recipient + category + "}"},
		{"TLS 1.2", func(c *call.Call) {
			c.TLS = call.TLS{Version: tls.VersionTLS12, CipherSuite: tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, Group: uint16(tls.CurveP256)}
		}, head + user + event + parameters + ids + resources + kind + recipient + category + `,"tlsDetails":{"tlsVersion":"TLSv1.2",` +
			`"cipherSuite":"ECDHE-ECDSA-AES128-GCM-SHA256","clientProvidedHostHeader":"127.0.0.1:4599","keyExchange":"secp256r1"}}`},
		{"IPv6 and another time zone", func(c *call.Call) {
			c.Source = netip.MustParseAddrPort("[::ffff:198.51.100.1%eth0]:1")
			c.Time = c.Time.In(time.FixedZone("", 3600))
		}, head + user + strings.Replace(event, "192.0.2.7", "198.51.100.1", 1) + parameters + ids + resources + tail},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := newCall()
			tt.change(c)
			got := record(t, c)
			if !eventID.MatchString(got) {
				t.Errorf("no event id in %s", got)
			}
			got = eventID.ReplaceAllString(got, `"eventID":"EVENT"`)
			if got != tt.want {
				t.Errorf("record:\n%s\nwant:\n%s", got, tt.want)
			}
			if !json.Valid([]byte(got)) {
				t.Error("not JSON")
			}
		})
	}
}

// A call that touches what other accounts own is on record with each of them,
// but for what failed.
func TestCopies(t *testing.T) {
	const other, third = "444455556666", "777788889999"
	type resource struct{ ARN, AccountID string }
	type record struct {
		UserIdentity                                  json.RawMessage
		EventID, SharedEventID, RequestID, EventName  string
		RecipientAccountID, VpcEndpointID, ErrorCode  string
		RequestParameters, ResponseElements, Addendum json.RawMessage
		AdditionalEventData                           map[string]string
		Resources                                     []resource
	}
	mine := resource{keyARN, "111122223333"}
	others := resource{"arn:aws:kms:eu-central-1:444455556666:key/2", other}
	others2 := resource{"arn:aws:kms:eu-central-1:444455556666:key/3", other}
	thirds := resource{"arn:aws:kms:eu-central-1:777788889999:key/4", third}
	aws := resource{"arn:aws:iam::aws:policy/AdministratorAccess", "aws"}
	stranger := `{"type":"AWSAccount","principalId":"AIDACKCEVSQ6C2EXAMPLE","accountId":"111122223333"}`
	for _, tt := range []struct {
		name      string
		resources []resource
		change    func(c *call.Call)
		want      map[string][]resource // by recipient
		owner     string                // userIdentity in the others' records
	}{
		{"own", []resource{mine}, nil, map[string][]resource{"111122223333": {mine}}, ""},
		{"AWS's", []resource{aws}, nil, map[string][]resource{"111122223333": {aws}}, ""},
		{"of another", []resource{others}, nil, map[string][]resource{"111122223333": {others}, other: {others}}, stranger},
		{"own and of another", []resource{mine, others}, nil, map[string][]resource{"111122223333": {mine, others}, other: {others}}, stranger},
		{"two of another", []resource{others, others2}, nil, map[string][]resource{"111122223333": {others, others2}, other: {others, others2}}, stranger},
		{
			"of two others",
			[]resource{others, thirds},
			nil,
			map[string][]resource{"111122223333": {others, thirds}, other: {others}, third: {thirds}},
			stranger,
		},
		{"denied", []resource{others}, func(c *call.Call) {
			c.Failure = call.Failure{Code: "AccessDeniedException"}
		}, map[string][]resource{"111122223333": nil}, ""},
		{"failed", []resource{others}, func(c *call.Call) {
			c.Failure = call.Failure{Code: "KMSInvalidStateException"}
		}, map[string][]resource{"111122223333": {others}, other: {others}}, stranger},
		{"by a service", []resource{others}, func(c *call.Call) {
			c.Caller = &call.Principal{Kind: call.Service, Name: "geo.amazonaws.com"}
			c.Delegation = &call.Delegation{SourceAccount: third}
		}, map[string][]resource{third: {others}, other: {others}}, `{"type":"AWSService","invokedBy":"geo.amazonaws.com"}`},
		{"by a service for nobody", []resource{others}, func(c *call.Call) {
			c.Caller = &call.Principal{Kind: call.Service, Name: "geo.amazonaws.com"}
		}, map[string][]resource{other: {others}}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newCall()
			c.Resources, c.Endpoint = nil, &call.Endpoint{ID: "vpce-1", Account: third}
			c.AddAdditional("keyMaterialId", "m")
			for _, r := range tt.resources {
				c.AddKey(r.ARN, r.AccountID)
			}
			if tt.change != nil {
				tt.change(c)
			}
			lines := records(t, c)
			if len(lines) != len(tt.want) {
				t.Errorf("%d records, want %d", len(lines), len(tt.want))
			}
			shared, ids := "", map[string]bool{}
			for i, line := range lines {
				var r record
				if err := json.Unmarshal([]byte(line), &r); err != nil {
					t.Fatal(err)
				}
				want, ok := tt.want[r.RecipientAccountID]
				if !ok || !slices.Equal(r.Resources, want) {
					t.Errorf("the record for %s has the resources %v, want %v", r.RecipientAccountID, r.Resources, want)
				}
				if ids[r.EventID] || r.EventID == "" {
					t.Errorf("event id %s twice", r.EventID)
				}
				ids[r.EventID] = true
				if id, ok := audit.EventIDFor(c, r.RecipientAccountID); !ok || uuid(id) != r.EventID {
					t.Errorf("EventIDFor for %s is %s, %v; its record has %s", r.RecipientAccountID, uuid(id), ok, r.EventID)
				}
				if i == 0 {
					shared = r.SharedEventID
				}
				if r.SharedEventID != shared || (shared != "") != (len(tt.want) > 1) || ids[shared] {
					t.Errorf("sharedEventID %q, first %q", r.SharedEventID, shared)
				}
				if i > 0 && string(r.UserIdentity) != tt.owner {
					t.Errorf("userIdentity %s, want %s", r.UserIdentity, tt.owner)
				}
				if r.RequestID != c.ID || r.EventName != "Decrypt" || r.VpcEndpointID != "vpce-1" || r.AdditionalEventData["keyMaterialId"] != "m" {
					t.Errorf("another call's: %s", line)
				}
			}
			for _, account := range []string{"111122223333", other, third, "000000000000", ""} {
				if _, ok := audit.EventIDFor(c, account); ok != (tt.want[account] != nil || account == "111122223333" && tt.name == "denied") {
					t.Errorf("EventIDFor for %q is there: %v", account, ok)
				}
			}
		})
	}
}

// uuid returns the text of a UUID.
func uuid(id [16]byte) string {
	s := hex.EncodeToString(id[:])
	return s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
}

// The event ids of a call that is not on record are not known.
func TestEventIDForNoRecord(t *testing.T) {
	if id, ok := audit.EventIDFor(newCall(), "111122223333"); ok {
		t.Errorf("EventIDFor returned %x of a call that is not on record", id)
	}
}

// The same call has the same event ids, however often its records are made.
func TestEventIDsStay(t *testing.T) {
	c := newCall()
	c.AddKey("arn:aws:kms:eu-central-1:444455556666:key/2", "444455556666")
	first := records(t, c)
	c.Restart()
	c.AddKey(keyARN, "111122223333")
	c.AddKey("arn:aws:kms:eu-central-1:444455556666:key/2", "444455556666")
	if again := records(t, c); !slices.Equal(first, again) {
		t.Errorf("%s\nand then\n%s", first, again)
	}
}

// What a crash left unanswered is on record without an answer.
func TestUnfinished(t *testing.T) {
	c := newCall()
	c.AddKey("arn:aws:kms:eu-central-1:444455556666:key/2", "444455556666")
	c.Elements = auditable(`{"keyId":"k"}`)
	lines := strings.Split(strings.TrimSuffix(string(audit.AppendUnfinished(nil, c)), "\n"), "\n")
	finished := records(t, c)
	if len(lines) != 2 || len(finished) != 2 {
		t.Fatalf("%d and %d records, want 2", len(lines), len(finished))
	}
	for i := range lines {
		want := strings.Replace(finished[i], `"responseElements":{"keyId":"k"}`, `"responseElements":null`, 1)
		want = strings.Replace(want, `"eventCategory":"Management"`, `"eventCategory":"Management","addendum":{"reason":"SERVICE_OUTAGE"}`, 1)
		if lines[i] != want {
			t.Errorf("got\n%s\nwant\n%s", lines[i], want)
		}
	}
}

// What a call has led to in another Region is on record there, as the caller's by
// the service, and whether the call was answered or not; but not if it failed.
func TestOnward(t *testing.T) {
	c := newCall()
	c.AddKey("arn:aws:kms:eu-central-1:444455556666:key/2", "444455556666")
	there := c.In("us-east-1", createKey)
	there.Parameters, there.Elements = auditable(`{"multiRegion":true}`), auditable(`{"keyMetadata":{}}`)
	there.AddKey("arn:aws:kms:us-east-1:111122223333:key/3", "111122223333")
	c.Onward = append(c.Onward, there, c.In("us-west-2", createKey))
	lines := records(t, c)
	if len(lines) != 4 {
		t.Fatalf("%d records", len(lines))
	}
	want := `{"eventVersion":"1.11","userIdentity":{"type":"IAMUser","principalId":"AIDACKCEVSQ6C2EXAMPLE","arn":"arn:aws:iam::111122223333:user/alice",` +
		`"accountId":"111122223333","accessKeyId":"AKIAIOSFODNN7EXAMPLE","userName":"alice","invokedBy":"kms.amazonaws.com"},` +
		`"eventTime":"2026-11-21T20:50:07Z","eventSource":"kms.amazonaws.com","eventName":"CreateKey","awsRegion":"us-east-1",` +
		`"sourceIPAddress":"kms.amazonaws.com","userAgent":"kms.amazonaws.com","requestParameters":{"multiRegion":true},"responseElements":{"keyMetadata":{}},` +
		`"requestID":"5ba8ba61-a85c-4dd4-8d1f-8b5e5a6a7f10",ID,"readOnly":false,` +
		`"resources":[{"accountId":"111122223333","type":"AWS::KMS::Key","ARN":"arn:aws:kms:us-east-1:111122223333:key/3"}],` +
		`"eventType":"AwsApiCall","managementEvent":true,"recipientAccountId":"111122223333","eventCategory":"Management"}`
	if got := eventID.ReplaceAllString(lines[2], "ID"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	ids := map[string]bool{}
	for _, line := range lines {
		ids[eventID.FindString(line)] = true
	}
	if len(ids) != 4 || ids[""] {
		t.Errorf("event ids: %v", ids)
	}
	unfinished := strings.Split(strings.TrimSuffix(string(audit.AppendUnfinished(nil, c)), "\n"), "\n")
	if len(unfinished) != 4 || eventID.FindString(unfinished[2]) != eventID.FindString(lines[2]) || !strings.Contains(unfinished[2], `"responseElements":null`) {
		t.Errorf("unfinished: %s", unfinished)
	}
	c.Failure.Code = "KMSInternalException"
	if lines := records(t, c); len(lines) != 2 {
		t.Errorf("of a call that failed: %s", lines)
	}
	c.Failure.Code = ""
	c.Restart()
	if lines := records(t, c); len(lines) != 1 {
		t.Errorf("of a call that began anew: %s", lines)
	}
}

func TestEventIDsDiffer(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		id := eventID.FindString(record(t, newCall()))
		if seen[id] {
			t.Fatalf("%s twice", id)
		}
		seen[id] = true
	}
}

func TestLongRecord(t *testing.T) {
	long := strings.Repeat("é\x01", 150<<10)
	tests := []struct {
		name   string
		change func(c *call.Call)
		want   []string
	}{
		{
			"parameters", func(c *call.Call) { c.Parameters = auditable(`{"policy":"` + strings.Repeat("x", 100<<10) + `"}`) },
			[]string{`"requestParameters":{"omitted":true,"originalSize":102413,"reason":"requestParameters too large"},"responseElements":null`},
		},
		{
			"elements", func(c *call.Call) { c.Elements = auditable(`{"policy":"` + strings.Repeat("x", 100<<10) + `"}`) },
			[]string{`"responseElements":{"omitted":true,"originalSize":102413,"reason":"responseElements too large"}`, `"a":"b"`},
		},
		{"all but too long together", func(c *call.Call) {
			c.Parameters = auditable(`"` + strings.Repeat("x", 99<<10) + `"`)
			c.Elements = auditable(`"` + strings.Repeat("x", 99<<10) + `"`)
			c.Additional = []call.Pair{{Name: "a", Value: strings.Repeat("\x01", 20<<10)}}
		}, []string{`"requestParameters":{"omitted":true`, `"responseElements":{"omitted":true`, `"additionalEventData":{"omitted":true}`}},
		{"additional data", func(c *call.Call) { c.Additional = []call.Pair{{Name: "a", Value: long}} }, []string{`"additionalEventData":{"omitted":true}`, `"a":"b"`}},
		{"a recipient", func(c *call.Call) { c.Recipient = []call.Pair{{Name: "a", Value: long}} }, []string{`"additionalEventData":{"omitted":true}`, `"a":"b"`}},
		{
			"user agent", func(c *call.Call) { c.UserAgent = "x" + long },
			[]string{`"userAgent":"x` + strings.Repeat(`é\u0001`, 341) + `"`},
		}, // 1 + 3×341 bytes: the next é does not fit
		{"two lines", func(c *call.Call) { c.Parameters = auditable("{\n}") }, []string{`"reason":"requestParameters not in one line"`}},
		{"everything", func(c *call.Call) {
			c.ID, c.Region, c.Service, c.UserAgent, c.Host, c.Target = long, long, long, long, long, strings.Repeat("a", 1<<20)
			c.Operation = nil
			c.Caller = &call.Principal{Kind: call.User, Account: long, ARN: long, ID: long, Name: long, AccessKeyID: long}
			c.Failure = call.Failure{Code: long, Message: long}
			c.Resources = nil
			for i := range 100 {
				c.AddResource(call.Resource{ARN: long + string(rune(i)), Account: long, Type: long})
			}
		}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := newCall()
			tt.change(c)
			got := record(t, c)
			if len(got) > 256<<10 || !json.Valid([]byte(got)) {
				t.Errorf("%d bytes, or not JSON", len(got))
			}
			for _, want := range tt.want {
				if !strings.Contains(got, want) {
					t.Errorf("no %.100s in a record of %d bytes", want, len(got))
				}
			}
		})
	}
}

// FuzzRecord: whatever a client sends, the record is one line of valid JSON
// that says the same, and other strings of the call do not move.
func FuzzRecord(f *testing.F) {
	f.Add("aws-cli/2", "host", "Decrypt", "message", "context", uint8(0))
	f.Add("\x00\x1f\x7f\"\\</script>\u2028\u2029\u0085", "\xff\xfe", "../x", "\xed\xa0\x80", "\n", uint8(1))
	f.Add("é\xc3", "\x80", "a", "\U0001F600", "", uint8(2))
	f.Add("a", "b", "c", "d\n", "e", uint8(4))
	f.Add("a", "b\"", "c", "d", "e", uint8(6|3<<2))
	f.Fuzz(func(t *testing.T, userAgent, host, target, message, additional string, kind uint8) {
		c := newCall()
		c.UserAgent, c.Host, c.Target = userAgent, host, target
		c.Failure = call.Failure{Code: "NotFoundException", Message: message}
		c.Additional = []call.Pair{{Name: "a", Value: additional}}
		if kind&1 != 0 {
			c.Operation = nil
		}
		if kind&2 != 0 {
			c.Caller = &call.Principal{Kind: call.PrincipalKind(kind >> 2), ARN: message, ID: host, Name: userAgent}
		}
		if kind&4 != 0 {
			c.AddResource(call.Resource{ARN: message, Account: "444455556666", Type: host})
			c.Endpoint = &call.Endpoint{ID: userAgent, Account: host}
		}
		check := func(name, got, sent string) {
			var b strings.Builder
			for _, r := range sent { // U+FFFD for each byte that is not UTF-8
				b.WriteRune(r)
			}
			want := b.String()
			if len(sent) <= 256 && got != want {
				t.Errorf("%s = %q, want %q", name, got, want)
			}
		}
		lines := records(t, c)
		if want := 1 + int(kind>>2&1); c.Caller == alice && len(lines) != want {
			t.Errorf("%d records, want %d", len(lines), want)
		}
		for _, line := range lines {
			var got struct {
				UserAgent, ErrorMessage, EventName, RequestID string
				AdditionalEventData                           struct{ A string }
			}
			if err := json.Unmarshal([]byte(line), &got); err != nil {
				t.Fatalf("%v in %s", err, line)
			}
			for _, r := range line {
				if r < ' ' || 0x7f <= r && r <= 0x9f || r == '\u2028' || r == '\u2029' || r == utf8.RuneError && !strings.Contains(userAgent+host+message+additional, "\ufffd") {
					t.Fatalf("%q in the record", r)
				}
			}
			check("userAgent", got.UserAgent, userAgent)
			check("errorMessage", got.ErrorMessage, message)
			check("additionalEventData", got.AdditionalEventData.A, additional)
			if got.RequestID != c.ID {
				t.Errorf("requestID = %q", got.RequestID)
			}
		}
	})
}

// Every byte at every place of a string, between others that stand for
// themselves, is what json.Unmarshal makes of it.
func TestEveryByte(t *testing.T) {
	l, err := audit.Open("", audit.Options{Memory: 1})
	if err != nil {
		t.Fatal(err)
	}
	for value := range 256 {
		for place := range 17 {
			sent := []byte(strings.Repeat("~ ", 9))
			sent[place] = byte(value)
			c := newCall()
			c.UserAgent = string(sent)
			if err := l.Append(c); err != nil {
				t.Fatal(err)
			}
			want := string([]rune(c.UserAgent)) // with U+FFFD for what is not UTF-8
			for line := range l.Records() {
				var got struct{ UserAgent string }
				if err := json.Unmarshal(line, &got); err != nil || got.UserAgent != want {
					t.Fatalf("byte %#x at %d: %q, %v", value, place, got.UserAgent, err)
				}
			}
		}
	}
}

// BenchmarkCopies is the making of the two records of a call across accounts.
func BenchmarkCopies(b *testing.B) {
	l, err := audit.Open("", audit.Options{Memory: 2})
	if err != nil {
		b.Fatal(err)
	}
	c := newCall()
	c.AddKey("arn:aws:kms:eu-central-1:444455556666:key/2", "444455556666")
	b.ReportAllocs()
	for b.Loop() {
		if err := l.Append(c); err != nil {
			b.Fatal(err)
		}
	}
}
