package cases_test

import (
	"cmp"
	"crypto/rand"
	cryptorsa "crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/api/cloudtrailapi"
	"github.com/keyreeve/keyreeve/internal/api/kmsapi"
	"github.com/keyreeve/keyreeve/internal/audit"
	"github.com/keyreeve/keyreeve/internal/config"
	"github.com/keyreeve/keyreeve/internal/node"
)

// A recorded is a call and the fields of its record, as a line of
// testdata/records has them. The records are those that AWS's documentation
// shows for each operation: their members, and the values that do not depend on
// who calls when.
type recorded struct {
	Service string            // "kms" if empty
	Do      string            // the operation
	As      string            // "admin" if empty
	In      object            // its input; for services of the query protocol, its parameters
	Save    map[string]string // names for what stands in the answer on these paths
	Wrap    map[string]string // names for material that is wrapped, by RSAES_OAEP_SHA_256, under the public key that has the other name
	Error   string            // its code in the record; empty if the call succeeds
	Record  object            // nil: the call is only made
	Event   object            // of the service, recorded with the call, before it; nil if there is none
	Onward  object            // what the call leads to in another Region, where the service synchronizes a key then
}

// patterns are what may stand for a value in testdata/records.
var patterns = map[string]*regexp.Regexp{
	"<uuid>":                  regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`),
	"<time>":                  regexp.MustCompile(`^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ$`),
	"<date text>":             regexp.MustCompile(`^(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) \d{1,2}, 20\d\d, \d{1,2}:\d\d:\d\d [AP]M$`),
	"<policy>":                regexp.MustCompile(`(?s)^\{.*"Enable IAM User Permissions".*\}$`),
	"<text>":                  regexp.MustCompile(`^.*$`),
	"<key id>":                regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`),
	"<key ARN>":               regexp.MustCompile(`^arn:aws:kms:us-west-2:\d{12}:key/[0-9a-f-]{36}$`),
	"<material id>":           regexp.MustCompile(`^[0-9a-f]{64}$`),
	"<grant id>":              regexp.MustCompile(`^[0-9a-f]{64}$`),
	"<role id>":               regexp.MustCompile(`^AROA[A-Z2-7]{17}$`),
	"<role session id>":       regexp.MustCompile(`^AROA[A-Z2-7]{17}:[\w+=,.@-]+$`),
	"<group id>":              regexp.MustCompile(`^AGPA[A-Z2-7]{17}$`),
	"<policy id>":             regexp.MustCompile(`^ANPA[A-Z2-7]{17}$`),
	"<access key>":            regexp.MustCompile(`^A[KS]IA[A-Z0-9]{16}$`),
	"<escaped document>":      regexp.MustCompile(`^%7B%22Version%22[\w%.-]*%7D$`),
	"<request of an account>": regexp.MustCompile(`^car-[a-z0-9]{8,32}$`),
	"<user id>":               regexp.MustCompile(`^AIDA[A-Z2-7]{17}$`),
	"<host>":                  regexp.MustCompile(`^127\.0\.0\.1:\d+$`),
	"<suite>":                 regexp.MustCompile(`^TLS_[A-Z0-9_]+$`),
}

// kinds are what may stand for a value of which the kind matters only.
var kinds = map[string]reflect.Kind{"<number>": reflect.Float64, "<object>": reflect.Map}

// A reader reads the records of a node that is running.
type reader struct {
	dir  string
	seen map[string]bool // event ids
}

// next returns the records that were written since it was last asked.
func (r *reader) next(t *testing.T) (records []object) {
	t.Helper()
	for line, err := range audit.Read(r.dir) {
		if err != nil {
			t.Fatal(err)
		}
		var record object
		if err := json.Unmarshal(line, &record); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		if id, _ := record["eventID"].(string); !r.seen[id] {
			r.seen[id] = true
			records = append(records, record)
		}
	}
	return records
}

// newRecordedWorld starts a node whose records can be read.
func newRecordedWorld(t *testing.T, seed string) (*world, *reader) {
	t.Helper()
	data := filepath.Join(t.TempDir(), "data")
	w := newWorld(t, seed, func(c *node.Config) {
		c.Ephemeral, c.Data = false, data
		// Nobody answers there, and nothing is copied so soon.
		c.Audit.Buckets = []config.Bucket{{Name: "logs", Endpoint: "http://127.0.0.1:9", CredentialsFile: filepath.Join(data, "none"), Accounts: []string{"*"}}}
	})
	return w, &reader{dir: filepath.Join(data, "audit"), seen: map[string]bool{}}
}

// TestRecords makes every call of testdata/records, and compares its record.
func TestRecords(t *testing.T) {
	t.Parallel()
	w, r := newRecordedWorld(t, "")
	w.user("nobody")
	w.names["data"] = data
	w.names["admin"] = w.principal("admin").arn
	w.names["alias"] = "arn:aws:kms:" + region + ":" + accountA + ":alias/example"
	for name, statement := range map[string]string{
		"document": allow("kms:*", "*"), "trust": `{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::` + accountA + `:root"},"Action":["sts:AssumeRole","sts:SetSourceIdentity"]}`,
	} {
		w.names[name] = strings.ReplaceAll(document(statement), `"`, `\"`)
	}
	w.names["policy"] = `{\"Version\":\"2012-10-17\",\"Statement\":{\"Effect\":\"Allow\",\"Principal\":{\"AWS\":\"arn:aws:iam::` + accountA + `:root\"},\"Action\":\"kms:*\",\"Resource\":\"*\"}}`
	files, err := filepath.Glob("testdata/records/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	compared := map[string]bool{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var calls []json.RawMessage
		if err := json.Unmarshal(text, &calls); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		for i, raw := range calls {
			var c recorded
			if err := json.Unmarshal([]byte(w.fill(string(raw))), &c); err != nil {
				t.Fatalf("%s: call %d: %v", file, i+1, err)
			}
			if c.Service == "" {
				c.Service = "kms"
			}
			if c.As == "" {
				c.As = "admin"
			}
			r.next(t)
			w.make(t, &c)
			records := slices.DeleteFunc(r.next(t), func(record object) bool {
				return record["eventName"] == "CreateAccountResult" // comes some time after a CreateAccount
			})
			if c.Record == nil {
				continue
			}
			compared[c.Service+":"+c.Do] = true
			name := fmt.Sprintf("%s %d: %s of %s", filepath.Base(file), i+1, c.Do, c.As)
			if c.Onward != nil {
				records = w.onward(t, r, name, &c, records)
			}
			if c.Event != nil && len(records) == 2 {
				for _, difference := range differences("", records[0], w.wantedEvent(&c)) {
					t.Errorf("%s: its event: %s", name, difference)
				}
				records = records[1:]
			}
			if len(records) != 1 {
				t.Errorf("%s: %d records: %v", name, len(records), records)
				continue
			}
			for _, difference := range differences("", records[0], w.wanted(&c)) {
				t.Errorf("%s: %s", name, difference)
			}
		}
	}
	// A new operation is not forgotten.
	for service, handler := range map[string]reflect.Type{"kms": reflect.TypeFor[kmsapi.Handler](), "cloudtrail": reflect.TypeFor[cloudtrailapi.Handler]()} {
		for method := range handler.Methods() {
			if !compared[service+":"+method.Name] {
				t.Errorf("no record of %s is compared", method.Name)
			}
		}
	}
}

// services are those that are not KMS: how they are called, in which Region, and
// what records call them if that is not their name at AWS.
var services = map[string]struct{ prefix, region, source string }{
	"iam":           {"", "us-east-1", ""},
	"sts":           {"", region, ""},
	"organizations": {"AWSOrganizationsV20161128.", "us-east-1", ""},
	"cloudtrail":    {"com.amazonaws.cloudtrail.v20131101.CloudTrail_20131101.", region, ""},
	"keyreeve":      {"Keyreeve.", region, "keyreeve.internal"},
	"account":       {"/", "us-east-1", ""}, // by paths
}

// make makes the call, which must end as it says.
func (w *world) make(t *testing.T, c *recorded) {
	t.Helper()
	a := new(answer)
	switch service := services[c.Service]; {
	case c.Service == "kms":
		a = w.kms(c.As, region, c.Do, c.In)
	case service.prefix == "":
		var parameters []string
		for name, value := range c.In {
			parameters = append(parameters, name, value.(string))
		}
		a = w.query(c.As, c.Service, c.Do, parameters...)
	default:
		body, err := json.Marshal(c.In)
		if err != nil {
			t.Fatal(err)
		}
		var text []byte
		if service.prefix == "/" {
			a.status, text = w.post(w.principal(c.As), "/"+strings.ToLower(c.Do[:1])+c.Do[1:], c.Service, service.region, "application/json", "", body)
		} else {
			a.status, text = w.send(w.principal(c.As), c.Service, service.region, "application/x-amz-json-1.1", service.prefix+c.Do, body)
		}
		if err := json.Unmarshal(text, &a.json); len(text) > 0 && err != nil {
			t.Fatalf("%s: %v: %s", c.Do, err, text)
		}
		if !a.ok() {
			a.code, _ = a.json["__type"].(string)
		}
	}
	// The record's own name of the error is compared later.
	if a.ok() != (c.Error == "") {
		t.Fatalf("%s: %v, want %q", c.Do, a, c.Error)
	}
	for name, path := range c.Save {
		text, ok := "", false
		if a.xml != nil {
			text = a.xml.at(strings.Split(path, ".")...)
			ok = text != ""
		} else {
			text, ok = at(a.json, path).(string)
		}
		if !ok {
			t.Fatalf("%s: no %s in %v", c.Do, path, a)
		}
		w.names[name] = text
	}
	for name, public := range c.Wrap {
		w.names[name] = wrap(t, w.names[public])
	}
}

// wrap wraps 32 bytes for an import.
func wrap(t *testing.T, public string) string {
	t.Helper()
	der, err := base64.StdEncoding.DecodeString(public)
	if err != nil {
		t.Fatal(err)
	}
	k, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		t.Fatal(err)
	}
	wrapped, err := cryptorsa.EncryptOAEP(sha256.New(), rand.Reader, k.(*cryptorsa.PublicKey), make([]byte, 32), nil)
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(wrapped)
}

// at returns what stands on a path of names and numbers.
func at(v any, path string) any {
	for part := range strings.SplitSeq(path, ".") {
		switch o := v.(type) {
		case object:
			v = o[part]
		case []any:
			if i, err := strconv.Atoi(part); err == nil && i < len(o) {
				v = o[i]
			}
		}
	}
	return v
}

// wanted returns all of a call's record.
func (w *world) wanted(c *recorded) object {
	in, source := region, c.Service+".amazonaws.com"
	if s, ok := services[c.Service]; ok {
		in, source = s.region, cmp.Or(s.source, source)
	}
	identity := w.identity(c.As)
	record := object{
		"eventVersion": "1.11", "userIdentity": identity, "eventTime": "<time>", "eventSource": source, "eventName": c.Do,
		"awsRegion": in, "sourceIPAddress": "127.0.0.1", "userAgent": "Go-http-client/2.0",
		"requestParameters": nil, "responseElements": nil, "requestID": "<uuid>", "eventID": "<uuid>", "readOnly": false,
		"eventType": "AwsApiCall", "managementEvent": true, "recipientAccountId": identity["accountId"], "eventCategory": "Management",
		"tlsDetails": object{"tlsVersion": "TLSv1.3", "cipherSuite": "<suite>", "clientProvidedHostHeader": "<host>", "keyExchange": "X25519MLKEM768"},
	}
	if c.Error != "" {
		record["errorCode"] = c.Error
	}
	return withMembers(record, c.Record)
}

// wantedEvent returns all of the record of what the service does by itself.
func (w *world) wantedEvent(c *recorded) object {
	return withMembers(object{
		"eventVersion": "1.11", "userIdentity": object{"accountId": accountA, "invokedBy": audit.Node}, "eventTime": "<time>",
		"eventSource": c.Service + ".amazonaws.com", "awsRegion": region, "sourceIPAddress": audit.Node, "userAgent": audit.Node,
		"requestParameters": nil, "responseElements": nil, "eventID": "<uuid>", "readOnly": false,
		"eventType": "AwsServiceEvent", "managementEvent": true, "recipientAccountId": accountA, "eventCategory": "Management",
	}, c.Event)
}

// onward compares the records of what a call leads to, after which its own are
// left. That a key was synchronized comes some time after the call.
func (w *world) onward(t *testing.T, r *reader, name string, c *recorded, records []object) (own []object) {
	t.Helper()
	const synchronized = "SynchronizeMultiRegionKey"
	for range 30_000 {
		if len(records) >= 3 {
			break
		}
		time.Sleep(time.Millisecond)
		records = append(records, r.next(t)...)
	}
	for _, record := range records {
		var want object
		switch {
		case record["eventName"] == synchronized:
			want = w.wantedEvent(&recorded{Service: c.Service, Event: object{
				"eventName": synchronized, "eventType": "AwsApiCall", "requestID": "<uuid>", "awsRegion": c.Onward["primary"],
				"responseElements": object{"keyId": c.Onward["primaryKey"]}, "resources": []any{c.Onward["primaryKey"]},
			}})
		case record["awsRegion"] == region:
			own = append(own, record)
			continue
		default:
			want = w.wanted(c)
			identity := maps.Clone(want["userIdentity"].(object))
			identity["invokedBy"] = c.Service + ".amazonaws.com"
			want["userIdentity"], want["sourceIPAddress"], want["userAgent"] = identity, identity["invokedBy"], identity["invokedBy"]
			delete(want, "tlsDetails")
			want = withMembers(want, c.Onward["record"].(object))
		}
		for _, difference := range differences("", record, want) {
			t.Errorf("%s: what it leads to: %v: %s", name, record["eventName"], difference)
		}
	}
	if len(records) != 3 {
		t.Errorf("%s: %d records", name, len(records))
	}
	return own
}

// withMembers adds members to a record; resources are written as ARNs, after the
// kind if they are no keys.
func withMembers(record, more object) object {
	maps.Copy(record, more)
	if names, ok := record["resources"].([]any); ok {
		resources := []any{}
		for _, name := range names {
			kind, arn, ok := strings.Cut(name.(string), " arn:")
			if !ok || !strings.HasPrefix(kind, "AWS::") {
				kind, arn = "AWS::KMS::Key", name.(string)
			} else {
				arn = "arn:" + arn
			}
			resources = append(resources, object{"accountId": accountA, "type": kind, "ARN": arn})
		}
		record["resources"] = resources
	}
	return record
}

// identity returns the userIdentity of somebody's calls, as far as his name and
// his ARN tell.
func (w *world) identity(name string) object {
	p := w.principal(name)
	part := strings.Split(p.arn, ":") // arn:aws:iam::account:what
	account := part[4]
	kind, local, _ := strings.Cut(part[5], "/")
	who := object{"arn": p.arn, "accountId": account, "accessKeyId": p.credentials.AccessKeyID}
	issued := object{"creationDate": "<time>", "mfaAuthenticated": "false"}
	switch kind {
	case "root":
		who["type"], who["principalId"] = "Root", account
	case "user":
		who["type"], who["principalId"], who["userName"] = "IAMUser", "<user id>", local
		if p.credentials.Token != "" {
			who["sessionContext"] = object{"attributes": issued}
		}
	case "assumed-role":
		role, _, _ := strings.Cut(local, "/")
		who["type"], who["principalId"] = "AssumedRole", "<role session id>"
		who["sessionContext"] = object{
			"sessionIssuer": object{"type": "Role", "principalId": "<role id>", "arn": "arn:aws:iam::" + account + ":role/" + role, "accountId": account, "userName": role},
			"attributes":    issued,
		}
	case "federated-user":
		who["type"], who["principalId"] = "FederatedUser", account+":"+local
		who["sessionContext"] = object{
			"sessionIssuer": object{"type": "IAMUser", "principalId": "<user id>", "arn": "arn:aws:iam::" + account + ":user/issuer", "accountId": account, "userName": "issuer"},
			"attributes":    issued,
		}
	}
	return who
}

// differences returns how got, which is at path, differs from want, in which
// patterns may stand for values.
func differences(path string, got, want any) (all []string) {
	switch want := want.(type) {
	case object:
		o, ok := got.(object)
		if !ok {
			return []string{fmt.Sprintf("%s is %v, want %v", path, got, want)}
		}
		names := slices.Concat(slices.Collect(maps.Keys(o)), slices.Collect(maps.Keys(want)))
		slices.Sort(names)
		for _, name := range slices.Compact(names) {
			at := strings.TrimPrefix(path+"."+name, ".")
			g, there := o[name]
			w, wanted := want[name]
			switch {
			case !there:
				all = append(all, fmt.Sprintf("%s is missing, want %v", at, w))
			case !wanted:
				all = append(all, fmt.Sprintf("%s is there: %v", at, g))
			default:
				all = append(all, differences(at, g, w)...)
			}
		}
		return all
	case []any:
		list, ok := got.([]any)
		if !ok || len(list) != len(want) {
			return []string{fmt.Sprintf("%s is %v, want %v", path, got, want)}
		}
		for i := range list {
			all = append(all, differences(fmt.Sprintf("%s[%d]", path, i), list[i], want[i])...)
		}
		return all
	case string:
		if kind, ok := kinds[want]; ok && got != nil && reflect.TypeOf(got).Kind() == kind {
			return nil
		}
		text, ok := got.(string)
		if pattern := patterns[want]; ok && (pattern != nil && pattern.MatchString(text) || text == want) {
			return nil
		}
	default:
		if reflect.DeepEqual(got, want) {
			return nil
		}
	}
	return []string{fmt.Sprintf("%s is %v, want %v", path, got, want)}
}

// TestIdentities: who calls, for each kind of caller that can come through the
// door. Those who bring tokens and certificates are tested where those are.
func TestIdentities(t *testing.T) {
	t.Parallel()
	w, r := newRecordedWorld(t, "")
	w.role("ops", allow("kms:*", "*"))
	w.session("ops/session")
	w.session("ops/other", "SourceIdentity", "zoe")
	w.user("issuer", allow("kms:* sts:*", "*"))
	w.federated("fed", "issuer", "Policy", document(allow("kms:*", "*")))
	out := w.mustQuery("issuer", "sts", "GetSessionToken")
	w.principals["temporary"] = newPrincipal(w.principal("issuer").arn, out.at("GetSessionTokenResult", "Credentials", "AccessKeyId"),
		out.at("GetSessionTokenResult", "Credentials", "SecretAccessKey"), out.at("GetSessionTokenResult", "Credentials", "SessionToken"))
	r.next(t)
	for _, name := range []string{"root", "admin", "issuer", "temporary", "ops/session", "ops/other", "fed", "B:root", "manager"} {
		w.must(name, region, "ListKeys", nil)
		records := r.next(t)
		if len(records) != 1 {
			t.Fatalf("%s: %d records", name, len(records))
		}
		want := w.identity(name)
		if name == "ops/other" {
			want["sessionContext"].(object)["sourceIdentity"] = "zoe"
		}
		for _, difference := range differences("userIdentity", records[0]["userIdentity"], want) {
			t.Errorf("%s: %s", name, difference)
		}
		if records[0]["recipientAccountId"] != want["accountId"] {
			t.Errorf("%s: for %v", name, records[0]["recipientAccountId"])
		}
	}
}

// Who cannot show who he is is in no account's records, but in the security log.
func TestUnauthenticated(t *testing.T) {
	t.Parallel()
	w, r := newRecordedWorld(t, "")
	r.next(t)
	w.principals["impostor"] = newPrincipal("", w.principal("admin").credentials.AccessKeyID, "a-secret-that-is-not-the-one-of-the-key", "")
	if a := w.kms("impostor", region, "ListKeys", nil); a.code != "InvalidSignatureException" {
		t.Fatalf("%v", a)
	}
	if records := r.next(t); len(records) != 0 {
		t.Errorf("on record: %v", records)
	}
	file := filepath.Join(r.dir, "security", "security-000001.jsonl")
	var text []byte
	for !strings.HasSuffix(string(text), "\n") {
		var err error
		if text, err = os.ReadFile(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
	}
	var line object
	if err := json.Unmarshal(text, &line); err != nil {
		t.Fatal(err)
	}
	for _, difference := range differences("", line, object{
		"time": "<time>", "event": "AuthenticationFailed", "code": "InvalidSignatureException", "sourceIPAddress": "127.0.0.1",
		"userAgent": "Go-http-client/2.0", "service": "kms", "awsRegion": region, "operation": "ListKeys",
		"accessKeyId": w.principal("admin").credentials.AccessKeyID, "requestID": "<uuid>",
	}) {
		t.Error(difference)
	}
}

// A call to a key of another account is on record with both accounts, and not
// alike; what was denied is on record with the caller's account only.
func TestRecordsOfBothAccounts(t *testing.T) {
	t.Parallel()
	w, r := newRecordedWorld(t, "")
	w.user("B:bob", allow("kms:*", "*"))
	w.user("B:eve", allow("kms:*", "*"))
	w.key("K", keyOptions{}, rootOf(accountA), allowTo("{B:bob}", "kms:*"))
	w.key("B:L", keyOptions{})
	r.next(t)
	type wanted struct {
		owner     bool // the reduced identity
		resources []string
	}
	for _, tt := range []struct {
		as, do string
		in     object
		code   string
		want   map[string]wanted
	}{
		{"B:bob", "Decrypt", object{"CiphertextBlob": "{K.blob}"}, "", map[string]wanted{accountB: {false, []string{"{K}"}}, accountA: {true, []string{"{K}"}}}},
		{"B:bob", "Decrypt", object{"CiphertextBlob": "{K.blob}", "DryRun": true}, "DryRunOperationException", map[string]wanted{accountB: {false, []string{"{K}"}}, accountA: {true, []string{"{K}"}}}},
		{"B:bob", "ReEncrypt", object{"CiphertextBlob": "{K.blob}", "DestinationKeyId": "{B:L}"}, "", map[string]wanted{accountB: {false, []string{"{K}", "{B:L}"}}, accountA: {true, []string{"{K}"}}}},
		{"B:bob", "CreateGrant", object{"KeyId": "{K}", "GranteePrincipal": "{B:eve}", "Operations": []string{"Encrypt"}}, "", map[string]wanted{accountB: {false, []string{"{K}"}}, accountA: {true, []string{"{K}"}}}},
		{"B:bob", "Encrypt", object{"KeyId": "{B:L}", "Plaintext": data}, "", map[string]wanted{accountB: {false, []string{"{B:L}"}}}},
		{"B:eve", "Decrypt", object{"CiphertextBlob": "{K.blob}"}, "AccessDenied", map[string]wanted{accountB: {}}},
		{"admin", "DescribeKey", object{"KeyId": "{K}"}, "", map[string]wanted{accountA: {false, []string{"{K}"}}}},
	} {
		w.kms(tt.as, region, tt.do, tt.in)
		records := r.next(t)
		if len(records) != len(tt.want) {
			t.Errorf("%s of %s: %d records, want %d", tt.do, tt.as, len(records), len(tt.want))
		}
		shared, _ := records[0]["sharedEventID"].(string)
		for _, record := range records {
			account, _ := record["recipientAccountId"].(string)
			want, ok := tt.want[account]
			if !ok {
				t.Errorf("%s of %s: a record for %s", tt.do, tt.as, account)
				continue
			}
			identity := w.identity(tt.as)
			if want.owner {
				identity = object{"type": "AWSAccount", "principalId": "<user id>", "accountId": identity["accountId"]}
			}
			for _, difference := range differences("userIdentity", record["userIdentity"], identity) {
				t.Errorf("%s of %s for %s: %s", tt.do, tt.as, account, difference)
			}
			var resources []string
			list, _ := record["resources"].([]any)
			for _, of := range list {
				resources = append(resources, fmt.Sprint(of.(object)["ARN"]))
			}
			if filled := strings.Fields(w.fill(strings.Join(want.resources, " "))); !slices.Equal(resources, filled) {
				t.Errorf("%s of %s for %s: resources %v, want %v", tt.do, tt.as, account, resources, filled)
			}
			if code, _ := record["errorCode"].(string); code != tt.code {
				t.Errorf("%s of %s for %s: %s, want %s", tt.do, tt.as, account, code, tt.code)
			}
			if id, _ := record["sharedEventID"].(string); id != shared || (id != "") != (len(tt.want) > 1) || record["eventID"] == id {
				t.Errorf("%s of %s for %s: sharedEventID %q, the other's %q", tt.do, tt.as, account, id, shared)
			}
			if record["requestID"] != records[0]["requestID"] || record["eventName"] != tt.do {
				t.Errorf("%s of %s for %s: another call's: %v", tt.do, tt.as, account, record)
			}
			if len(differences("", record["requestParameters"], records[0]["requestParameters"])) > 0 {
				t.Errorf("%s of %s for %s: other parameters: %v", tt.do, tt.as, account, record)
			}
		}
	}
}
