package cases_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/api/keyreeveapi"
)

// A typical is a typical denial: what was denied, and which changes it takes.
type typical struct {
	name     string
	as       string
	service  string // empty: kms
	do       string
	in       object
	form     []string // of the query protocol
	layers   string   // of the changes, in order
	contains string   // what the changes have
}

// typicals are set up by setUpTypicals.
var typicals = []typical{
	{name: "no policies", as: "nothing", do: "Decrypt", in: decrypt("{K.blob}"), layers: "identity"},
	{name: "policies of other services", as: "storage", do: "Encrypt", in: encrypt("{K}"), layers: "identity"},
	{name: "another key", as: "elsewhere", do: "Encrypt", in: encrypt("{K}"), layers: "identity"},
	{name: "another action", as: "encrypts", do: "Decrypt", in: decrypt("{K.blob}"), layers: "identity"},
	{name: "another context", as: "context", do: "Encrypt", in: with(encrypt("{K}"), "EncryptionContext", object{"app": "y"}), layers: "identity", contains: `"kms:EncryptionContext:app":"y"`},
	{name: "no context", as: "context", do: "Encrypt", in: encrypt("{K}"), layers: "identity", contains: `"Null":{"kms:EncryptionContext:app":"true"}`},
	{name: "another address", as: "office", do: "Encrypt", in: encrypt("{K}"), layers: "identity", contains: `"IpAddress":{"aws:SourceIp":"127.0.0.1"}`},
	{name: "no MFA", as: "mfa", do: "Encrypt", in: encrypt("{K}"), layers: "identity", contains: `"Null":{"aws:MultiFactorAuthPresent":"true"}`},
	{name: "too late", as: "late", do: "Encrypt", in: encrypt("{K}"), layers: "identity", contains: `"DateLessThan":{"aws:CurrentTime":"20`},
	{name: "one of two conditions", as: "two", do: "Encrypt", in: with(encrypt("{K}"), "EncryptionContext", object{"app": "x"}), layers: "identity", contains: `"StringEquals":{"kms:EncryptionContext:app":"x"}`},
	{name: "denied action", as: "denied", do: "Decrypt", in: decrypt("{K.blob}"), layers: "identity"},
	{name: "denied service", as: "noKMS", do: "Decrypt", in: decrypt("{K.blob}"), layers: "identity", contains: `"kms:DescribeKey"`},
	{name: "denied all but", as: "allBut", do: "Decrypt", in: decrypt("{K.blob}"), layers: "identity", contains: `"NotAction":["kms:Encrypt","kms:Decrypt"]`},
	{name: "denied by a group", as: "member", do: "Decrypt", in: decrypt("{K.blob}"), layers: "identity", contains: `"ArnNotEquals":{"aws:PrincipalArn":"{member}"}`},
	{name: "denied by a managed policy", as: "managed", do: "Decrypt", in: decrypt("{K.blob}"), layers: "identity"},
	{name: "two denies", as: "twice", do: "Decrypt", in: decrypt("{K.blob}"), layers: "identity identity"},
	{name: "denied by the key", as: "free", do: "Decrypt", in: decrypt("{KDeny.blob}"), layers: "resource"},
	{name: "denied by the key for a context", as: "free", do: "Encrypt", in: encrypt("{KContext}"), layers: "resource"},
	{name: "a key that names others", as: "free", do: "Decrypt", in: decrypt("{KAdmin.blob}"), layers: "resource"},
	{name: "a key that names others than the role", as: "Free/s1", do: "Encrypt", in: encrypt("{KAdmin}"), layers: "resource", contains: `"AWS":"{Free}"`},
	{name: "a key with a condition", as: "nothing", do: "Encrypt", in: encrypt("{KVia}"), layers: "resource", contains: `"Null":{"kms:ViaService":"true"}`},
	{name: "a boundary without KMS", as: "bounded", do: "Encrypt", in: encrypt("{K}"), layers: "boundary"},
	{name: "a boundary that denies", as: "boundDenied", do: "Encrypt", in: encrypt("{K}"), layers: "boundary"},
	{name: "neither policy nor boundary", as: "boundNothing", do: "Encrypt", in: encrypt("{K}"), layers: "identity boundary"},
	{name: "denied, and a key that names others", as: "denied", do: "Decrypt", in: decrypt("{KAdmin.blob}"), layers: "identity resource"},
	{name: "a role without policies", as: "Idle/s1", do: "Encrypt", in: encrypt("{K}"), layers: "identity"},
	{name: "a role that is denied", as: "Denied/s1", do: "Encrypt", in: encrypt("{K}"), layers: "identity"},
	{name: "grants for services alone", as: "grants", do: "CreateGrant", in: grant("{K}", "{nothing}", "Encrypt"), layers: "identity", contains: `"Bool":{"kms:GrantIsForAWSResource":"false"}`},
	{name: "by another alias", as: "alias", do: "DescribeKey", in: onKey("alias/k"), layers: "identity", contains: `"StringEquals":{"kms:RequestAlias":"alias/k"}`},
	{name: "too short a wait", as: "waits", do: "ScheduleKeyDeletion", in: object{"KeyId": "{KGone}", "PendingWindowInDays": 7}, layers: "identity", contains: `"NumericEquals":{"kms:ScheduleKeyDeletionPendingWindowInDays":"7"}`},
	{name: "another team's key", as: "red", do: "Encrypt", in: encrypt("{KBlue}"), layers: "identity", contains: `"aws:ResourceTag/team":"blue"`},
	{name: "a user without a tag", as: "untagged", do: "Encrypt", in: encrypt("{K}"), layers: "identity", contains: `"Null":{"aws:PrincipalTag/dept":"true"}`},
	{name: "listing", as: "nothing", do: "ListKeys", in: object{}, layers: "identity", contains: `"Resource":"*"`},
	{name: "a key with tags", as: "makes", do: "CreateKey", in: object{"Tags": []object{{"TagKey": "a", "TagValue": "b"}}}, layers: "identity", contains: `"kms:TagResource"`},
	{name: "a replica in another Region", as: "replicates", do: "ReplicateKey", in: object{"KeyId": "{KSet}", "ReplicaRegion": "eu-west-1"}, layers: "identity", contains: `"aws:RequestedRegion":"eu-west-1"`},
	{name: "an alias", as: "aliases", do: "CreateAlias", in: object{"AliasName": "alias/new", "TargetKeyId": "{K.id}"}, layers: "identity"},
	{name: "IAM", as: "nothing", service: "iam", do: "GetUser", form: []string{"UserName", "free"}, layers: "identity", contains: `"iam:GetUser"`},
	{name: "a role that trusts others", as: "free", service: "sts", do: "AssumeRole", form: []string{"RoleArn", "{Closed}", "RoleSessionName", "s1"}, layers: "resource"},
	{name: "a role that is not allowed", as: "nothing", service: "sts", do: "AssumeRole", form: []string{"RoleArn", "{Idle}", "RoleSessionName", "s1"}, layers: "identity"},
	{name: "a role that wants an external id", as: "free", service: "sts", do: "AssumeRole", form: []string{"RoleArn", "{External}", "RoleSessionName", "s1"}, layers: "resource", contains: `"Null":{"sts:ExternalId":"true"}`},
}

func setUpTypicals(w *world) {
	everything := allow("kms:* sts:* iam:Get*", "*")
	w.key("K", keyOptions{aliases: []string{"alias/k"}})
	w.key("K2", keyOptions{})
	w.key("KGone", keyOptions{})
	w.key("KBlue", keyOptions{input: object{"Tags": []object{{"TagKey": "team", "TagValue": "blue"}}}})
	w.key("KDeny", keyOptions{}, rootOf(accountA), denyTo("*", "kms:Decrypt"))
	w.key("KContext", keyOptions{}, rootOf(accountA), denyTo("*", "kms:Encrypt", when("StringNotEquals", "kms:EncryptionContext:app", "x")))
	admin := "arn:aws:iam::" + accountA + ":user/admin"
	w.key("KAdmin", keyOptions{}, allowTo(admin, "kms:*"))
	w.user("nothing")
	w.key("KVia", keyOptions{}, allowTo(admin, "kms:*"), allowTo("{nothing}", "kms:*", when("StringEquals", "kms:ViaService", "s3.us-west-2.amazonaws.com")))
	w.user("storage", allow("s3:*", "*"))
	w.user("elsewhere", allow("kms:*", w.fill("{K2}")))
	w.user("encrypts", allow("kms:Encrypt", "*"))
	w.user("context", allow("kms:*", "*", when("StringEquals", "kms:EncryptionContext:app", "x")))
	w.user("office", allow("kms:*", "*", when("IpAddress", "aws:SourceIp", "203.0.113.0/24")))
	w.user("mfa", allow("kms:*", "*", when("Bool", "aws:MultiFactorAuthPresent", "true")))
	w.user("late", allow("kms:*", "*", when("DateLessThan", "aws:CurrentTime", "2024-01-01T00:00:00Z")))
	w.user("two", allow("kms:*", "*", when("StringEquals", "kms:EncryptionContext:app", "x"), when("Bool", "aws:MultiFactorAuthPresent", "true")))
	w.user("denied", everything, deny("kms:Decrypt kms:ReEncryptFrom", "*"))
	w.user("noKMS", everything, deny("kms:*", "*"))
	w.user("allBut", everything, `{"Sid":"Keep","Effect":"Deny","NotAction":"kms:Encrypt","Resource":"*"}`)
	w.user("free", everything)
	w.user("member", everything)
	w.mustQuery("admin", "iam", "CreateGroup", "GroupName", "readers")
	w.mustQuery("admin", "iam", "PutGroupPolicy", "GroupName", "readers", "PolicyName", "no-decrypt", "PolicyDocument", document(deny("kms:Decrypt", "*")))
	w.mustQuery("admin", "iam", "AddUserToGroup", "GroupName", "readers", "UserName", "member")
	w.user("managed", everything)
	arn := w.mustQuery("admin", "iam", "CreatePolicy", "PolicyName", "no-decrypt", "PolicyDocument", document(allow("s3:*", "*"), deny("kms:D*", "*"))).at("CreatePolicyResult", "Policy", "Arn")
	w.mustQuery("admin", "iam", "AttachUserPolicy", "UserName", "managed", "PolicyArn", arn)
	w.user("twice", everything, deny("kms:Decrypt", "*"), deny("kms:*crypt", "*"))
	w.user("bounded", everything)
	w.boundary("User", "bounded", allow("s3:*", "*"))
	w.user("boundDenied", everything)
	w.boundary("User", "boundDenied", allow("*", "*"), deny("kms:Encrypt", "*"))
	w.user("boundNothing")
	w.boundary("User", "boundNothing", allow("s3:*", "*"))
	w.role("Free", everything)
	w.session("Free/s1")
	w.role("Idle")
	w.session("Idle/s1")
	w.role("Denied", everything, deny("kms:Encrypt", "*"))
	w.session("Denied/s1")
	w.key("KSet", keyOptions{input: object{"MultiRegion": true}})
	w.user("replicates", allow("kms:ReplicateKey", "*"), allow("kms:CreateKey", "*", when("StringEquals", "aws:RequestedRegion", region)))
	w.user("grants", allow("kms:CreateGrant", "*", when("Bool", "kms:GrantIsForAWSResource", "true")))
	w.user("alias", allow("kms:DescribeKey", "*", when("StringEquals", "kms:RequestAlias", "alias/other")))
	w.user("waits", allow("kms:ScheduleKeyDeletion", "*", when("NumericGreaterThanEquals", "kms:ScheduleKeyDeletionPendingWindowInDays", "14")))
	w.user("red", allow("kms:*", "*", when("StringEquals", "aws:ResourceTag/team", "red")))
	w.user("untagged", allow("kms:*", "*", when("StringEquals", "aws:PrincipalTag/dept", "x")))
	w.user("aliases", allow("kms:CreateAlias", w.fill("{K}")))
	w.user("makes", allow("kms:CreateKey", "*"))
	for name, trust := range map[string]string{
		"Closed":   `{"Effect":"Allow","Principal":{"AWS":"` + admin + `"},"Action":"sts:AssumeRole"}`,
		"External": `{"Effect":"Allow","Principal":{"AWS":"{free}"},"Action":"sts:AssumeRole","Condition":{"StringEquals":{"sts:ExternalId":"42"}}}`,
	} {
		w.mustQuery("admin", "iam", "CreateRole", "RoleName", name, "AssumeRolePolicyDocument", w.fill(document(trust)))
		w.names[name] = "arn:aws:iam::" + accountA + ":role/" + name
	}
}

// do makes a typical call and returns its status and request id.
func (w *world) do(c *typical) (int, string) {
	w.t.Helper()
	service, scope, contentType, target := "kms", region, "application/x-amz-json-1.1", "TrentService."+c.do
	body, err := json.Marshal(c.in)
	if err != nil {
		w.t.Fatal(err)
	}
	if c.service != "" {
		service, scope, contentType, target = c.service, queryServices[c.service].scope, "application/x-www-form-urlencoded", ""
		form := url.Values{"Action": {c.do}, "Version": {queryServices[c.service].version}}
		for i := 0; i < len(c.form); i += 2 {
			form.Set(c.form[i], w.fill(c.form[i+1]))
		}
		body = []byte(form.Encode())
	}
	body = []byte(w.fill(string(body)))
	req, err := http.NewRequest(http.MethodPost, w.server.Endpoint, bytes.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Content-Type", contentType)
	if target != "" {
		req.Header.Set("X-Amz-Target", target)
	}
	w.principal(c.as).credentials.Sign(req, body, scope, service, time.Now())
	res, err := w.server.Client().Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		w.t.Fatal(err)
	}
	return res.StatusCode, res.Header.Get("X-Amzn-Requestid")
}

// explain asks for an explanation.
func (w *world) explain(as string, in keyreeveapi.ExplainInput) (*keyreeveapi.ExplainOutput, string) {
	w.t.Helper()
	status, text := w.send(w.principal(as), "keyreeve", region, "application/x-amz-json-1.1", "Keyreeve.Explain", in.AppendJSON(nil))
	if status != http.StatusOK {
		return nil, string(text)
	}
	out := new(keyreeveapi.ExplainOutput)
	if err := json.Unmarshal(text, out); err != nil {
		w.t.Fatalf("%v: %s", err, text)
	}
	return out, string(text)
}

// apply makes a change as the account's administrator.
func (w *world) apply(t *testing.T, n int, c *keyreeveapi.ExplainedChange) {
	t.Helper()
	var statements []string
	for _, s := range c.Statements {
		statements = append(statements, string(s))
	}
	edited := func(text string) string {
		var doc struct {
			Version   string
			Statement []json.RawMessage
		}
		if err := json.Unmarshal([]byte(text), &doc); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		var list []string
		for i, s := range doc.Statement {
			if c.Do == keyreeveapi.ReplaceStatement && i == c.Index-1 {
				list = append(list, statements...)
				continue
			}
			list = append(list, string(s))
		}
		if c.Do == keyreeveapi.AddStatement {
			list = append(list, statements...)
		}
		return document(list...)
	}
	kind, name := "User", c.Target[strings.LastIndexByte(c.Target, '/')+1:]
	switch {
	case strings.Contains(c.Target, ":role/"):
		kind = "Role"
	case strings.Contains(c.Target, ":group/"):
		kind = "Group"
	}
	unquote := func(s string) string {
		text, err := url.QueryUnescape(strings.ReplaceAll(s, "+", "%2B"))
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	switch {
	case c.Layer == "resource" && kind == "Role":
		text := unquote(w.mustQuery("admin", "iam", "GetRole", "RoleName", name).at("GetRoleResult", "Role", "AssumeRolePolicyDocument"))
		w.mustQuery("admin", "iam", "UpdateAssumeRolePolicy", "RoleName", name, "PolicyDocument", edited(text))
	case c.Layer == "resource":
		text, _ := w.must("admin", region, "GetKeyPolicy", object{"KeyId": c.Target})["Policy"].(string)
		w.must("admin", region, "PutKeyPolicy", object{"KeyId": c.Target, "Policy": edited(text)})
	case strings.HasPrefix(c.Policy, "arn:"):
		version := w.mustQuery("admin", "iam", "GetPolicy", "PolicyArn", c.Policy).at("GetPolicyResult", "Policy", "DefaultVersionId")
		text := unquote(w.mustQuery("admin", "iam", "GetPolicyVersion", "PolicyArn", c.Policy, "VersionId", version).at("GetPolicyVersionResult", "PolicyVersion", "Document"))
		w.mustQuery("admin", "iam", "CreatePolicyVersion", "PolicyArn", c.Policy, "PolicyDocument", edited(text), "SetAsDefault", "true")
	case c.Do == keyreeveapi.AddStatement:
		w.mustQuery("admin", "iam", "Put"+kind+"Policy", kind+"Name", name, "PolicyName", fmt.Sprintf("fix%d", n), "PolicyDocument", document(statements...))
	default:
		text := unquote(w.mustQuery("admin", "iam", "Get"+kind+"Policy", kind+"Name", name, "PolicyName", c.Policy).at("Get"+kind+"PolicyResult", "PolicyDocument"))
		w.mustQuery("admin", "iam", "Put"+kind+"Policy", kind+"Name", name, "PolicyName", c.Policy, "PolicyDocument", edited(text))
	}
}

// probes are verdicts that no change may touch: what else the caller may do, and
// what others may.
func (w *world) probes(t *testing.T, c *typical, out *keyreeveapi.ExplainOutput) []string {
	t.Helper()
	var got []string
	for _, who := range []string{out.Principal, w.fill("{storage}"), w.fill("{Idle/s1}")} {
		for _, action := range []string{"kms:Encrypt", "kms:Decrypt", "kms:DescribeKey", "kms:ScheduleKeyDeletion", "kms:CreateGrant", "kms:Verify"} {
			for _, resource := range []string{"{K}", "{K2}", "{KAdmin}", "{KDeny}", "{KVia}", "{KBlue}"} {
				if who == out.Principal && action == out.Action && w.fill(resource) == out.Resource {
					continue
				}
				text, err := json.Marshal(object{"principal": who, "action": action, "resource": w.fill(resource), "context": object{"aws:SourceIp": "127.0.0.1"}})
				if err != nil {
					t.Fatal(err)
				}
				told, problem := w.explain("admin", keyreeveapi.ExplainInput{Case: string(text)})
				if told == nil {
					t.Fatalf("%s: %s", text, problem)
				}
				got = append(got, fmt.Sprintf("%s: %s %s %s", told.Decision, who, action, resource))
			}
		}
	}
	return got
}
