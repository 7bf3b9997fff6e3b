// Package cases_test decides the worked cases of AWS KMS authorization through
// the front door: a whole node, real requests, the exact answers.
package cases_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/internal/sigv4"
	"github.com/keyreeve/keyreeve/kmstest"
)

// The accounts: the cases' A, which owns the keys unless said otherwise, and B;
// and the management account of both.
const (
	accountA = "111122223333"
	accountB = "444455556666"
	manager  = "999988887777"

	region = "us-west-2"
)

type object = map[string]any

// A world is a running node with accounts A and B, in which one scenario's users,
// roles and keys are made.
type world struct {
	t      *testing.T
	server *kmstest.Server

	// principals are who can call, by the name that the scenario uses: "Alice"
	// of account A, "B:Bob" of account B, "root", "B:root".
	principals map[string]*principal
	// names are what stands for {name} in requests, policies and messages.
	names map[string]string
}

// A principal is somebody who calls.
type principal struct {
	arn         string // as GetCallerIdentity prints it
	credentials sigv4.Credentials
}

func newPrincipal(arn, id, secretAccessKey, token string) *principal {
	return &principal{arn: arn, credentials: sigv4.Credentials{
		AccessKeyID: id, Key: sigv4.NewKey(secret.New([]byte(secretAccessKey))), Token: token,
	}}
}

// accountsSeed makes the accounts, with an administrator each and an access key
// of the root user. The rest of the seed follows it.
const accountsSeed = `version: 1
accounts:
  - {id: "999988887777", name: M, management: true, root_access_keys: [{id: AKIAROOTMMMMMMMMMMMM, secret: the-secret-of-the-root-user-of-account-M}]}
  - {id: "111122223333", name: A, root_access_keys: [{id: AKIAROOTAAAAAAAAAAAA, secret: the-secret-of-the-root-user-of-account-A}]}
  - {id: "444455556666", name: B, root_access_keys: [{id: AKIAROOTBBBBBBBBBBBB, secret: the-secret-of-the-root-user-of-account-B}]}
users:
  - {account: "111122223333", name: admin, policies: [AdministratorAccess], access_keys: [{id: AKIAADMINAAAAAAAAAAA, secret: the-secret-of-administrator-of-account-A}]}
  - {account: "444455556666", name: admin, policies: [AdministratorAccess], access_keys: [{id: AKIAADMINBBBBBBBBBBB, secret: the-secret-of-administrator-of-account-B}]}
`

// newWorld starts a node. The seed, which may be empty, goes on where
// accountsSeed ends.
func newWorld(t *testing.T, seed string, options ...kmstest.Option) *world {
	t.Helper()
	file := filepath.Join(t.TempDir(), "seed.yaml")
	if err := os.WriteFile(file, []byte(accountsSeed+seed), 0o600); err != nil {
		t.Fatal(err)
	}
	w := &world{
		t: t, server: kmstest.NewServer(t, append([]kmstest.Option{kmstest.Account(manager), kmstest.Region(region), kmstest.Seed(file)}, options...)...),
		principals: make(map[string]*principal), names: map[string]string{"A": accountA, "B": accountB},
	}
	w.principals["manager:root"] = newPrincipal("arn:aws:iam::"+manager+":root", "AKIAROOTMMMMMMMMMMMM", "the-secret-of-the-root-user-of-account-M", "")
	w.principals["manager"] = newPrincipal("arn:aws:iam::"+manager+":user/administrator", w.server.AccessKeyID, w.server.SecretAccessKey, "")
	for prefix, account := range map[string]string{"": "A", "B:": "B"} {
		w.principals[prefix+"root"] = newPrincipal("arn:aws:iam::"+w.names[account]+":root", "AKIAROOT"+strings.Repeat(account, 12), "the-secret-of-the-root-user-of-account-"+account, "")
		w.principals[prefix+"admin"] = newPrincipal("arn:aws:iam::"+w.names[account]+":user/admin", "AKIAADMIN"+strings.Repeat(account, 11), "the-secret-of-administrator-of-account-"+account, "")
	}
	return w
}

// account returns the account of a principal's name, as in "B:Bob", and the name
// in it.
func (w *world) account(name string) (id, prefix, local string) {
	if local, ok := strings.CutPrefix(name, "B:"); ok {
		return accountB, "B:", local
	}
	return accountA, "", name
}

func (w *world) principal(name string) *principal {
	w.t.Helper()
	p, ok := w.principals[name]
	if !ok {
		w.t.Fatalf("nobody is called %q", name)
	}
	return p
}

// fill replaces {name} by what the scenario calls so.
func (w *world) fill(text string) string {
	for name, value := range w.names {
		text = strings.ReplaceAll(text, "{"+name+"}", value)
	}
	return text
}

// An answer is what came of a call.
type answer struct {
	status  int
	code    string // of an error
	message string
	json    object
	xml     *element
}

// ok reports whether the call succeeded.
func (a *answer) ok() bool { return a.status == http.StatusOK }

func (a *answer) String() string {
	if a.ok() {
		return "allowed"
	}
	return a.code + ": " + a.message
}

// send signs and sends a request.
func (w *world) send(p *principal, service, scope, contentType, target string, body []byte) (int, []byte) {
	w.t.Helper()
	return w.post(p, "", service, scope, contentType, target, body)
}

// post is send to a path.
func (w *world) post(p *principal, path, service, scope, contentType, target string, body []byte) (int, []byte) {
	w.t.Helper()
	req, err := http.NewRequest(http.MethodPost, w.server.Endpoint+path, bytes.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Content-Type", contentType)
	if target != "" {
		req.Header.Set("X-Amz-Target", target)
	}
	p.credentials.Sign(req, body, scope, service, time.Now())
	res, err := w.server.Client().Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return res.StatusCode, text
}

// kms calls KMS in a Region.
func (w *world) kms(as, in, operation string, input object) *answer {
	w.t.Helper()
	if input == nil {
		input = object{}
	}
	body, err := json.Marshal(input)
	if err != nil {
		w.t.Fatal(err)
	}
	status, text := w.send(w.principal(as), "kms", in, "application/x-amz-json-1.1", "TrentService."+operation, []byte(w.fill(string(body))))
	a := &answer{status: status}
	if len(text) > 0 {
		if err := json.Unmarshal(text, &a.json); err != nil {
			w.t.Fatalf("%s: %v: %s", operation, err, text)
		}
	}
	if !a.ok() {
		a.code, _ = a.json["__type"].(string)
		a.message, _ = a.json["message"].(string)
		if m, ok := a.json["Message"].(string); ok {
			a.message = m
		}
	}
	return a
}

// element is an element of XML.
type element struct {
	XMLName  xml.Name
	Text     string    `xml:",chardata"`
	Children []element `xml:",any"`
}

// at returns the text of the element on a path; empty if there is none.
func (e *element) at(path ...string) string {
	for _, name := range path {
		var next *element
		for i := range e.Children {
			if e.Children[i].XMLName.Local == name {
				next = &e.Children[i]
				break
			}
		}
		if next == nil {
			return ""
		}
		e = next
	}
	return strings.TrimSpace(e.Text)
}

// The query services: where they are signed for, and their versions.
var queryServices = map[string]struct{ scope, version string }{
	"iam": {"us-east-1", "2010-05-08"},
	"sts": {region, "2011-06-15"},
}

// query calls a service of the query protocol. The parameters are names and
// values in turn.
func (w *world) query(as, service, action string, parameters ...string) *answer {
	w.t.Helper()
	form := url.Values{"Action": {action}, "Version": {queryServices[service].version}}
	for i := 0; i+1 < len(parameters); i += 2 {
		form.Set(parameters[i], w.fill(parameters[i+1]))
	}
	status, text := w.send(w.principal(as), service, queryServices[service].scope, "application/x-www-form-urlencoded; charset=utf-8", "", []byte(form.Encode()))
	a := &answer{status: status, xml: &element{}}
	if err := xml.Unmarshal(text, a.xml); err != nil {
		w.t.Fatalf("%s: %d %v: %s", action, status, err, text)
	}
	if !a.ok() {
		a.code, a.message = a.xml.at("Error", "Code"), a.xml.at("Error", "Message")
	}
	return a
}

// must is kms for what a scenario begins with.
func (w *world) must(as, in, operation string, input object) object {
	w.t.Helper()
	a := w.kms(as, in, operation, input)
	if !a.ok() {
		w.t.Fatalf("%s of %s: %v", operation, as, a)
	}
	return a.json
}

func (w *world) mustQuery(as, service, action string, parameters ...string) *element {
	w.t.Helper()
	a := w.query(as, service, action, parameters...)
	if !a.ok() {
		w.t.Fatalf("%s of %s: %v", action, as, a)
	}
	return a.xml
}

// document makes a policy of statements, each a JSON object.
func document(statements ...string) string {
	return `{"Version":"2012-10-17","Statement":[` + strings.Join(statements, ",") + `]}`
}

// allow is a statement of an identity policy. Actions and resources are
// separated by spaces.
func allow(actions, resources string, condition ...string) string {
	return statement("Allow", "", actions, resources, condition...)
}

func deny(actions, resources string, condition ...string) string {
	return statement("Deny", "", actions, resources, condition...)
}

// allowTo is a statement of a key policy. The principal is "*", or ARNs
// separated by spaces, or "Service:…".
func allowTo(principal, actions string, condition ...string) string {
	return statement("Allow", principal, actions, "*", condition...)
}

func denyTo(principal, actions string, condition ...string) string {
	return statement("Deny", principal, actions, "*", condition...)
}

func statement(effect, principal, actions, resources string, condition ...string) string {
	list := func(s string) string {
		b, err := json.Marshal(strings.Fields(s))
		if err != nil {
			panic(err)
		}
		return string(b)
	}
	s := `{"Effect":"` + effect + `"`
	service, isService := strings.CutPrefix(principal, "Service:")
	switch {
	case isService:
		s += `,"Principal":{"Service":` + list(service) + `}`
	case principal == "*":
		s += `,"Principal":"*"`
	case principal != "":
		s += `,"Principal":{"AWS":` + list(principal) + `}`
	}
	s += `,"Action":` + list(actions) + `,"Resource":` + list(resources)
	if len(condition) > 0 {
		s += `,"Condition":{` + strings.Join(condition, ",") + `}`
	}
	return s + "}"
}

// when is a condition: of operator and key, with values separated by "|".
func when(operator, key, values string) string {
	b, err := json.Marshal(strings.Split(values, "|"))
	if err != nil {
		panic(err)
	}
	return fmt.Sprintf("%q:{%q:%s}", operator, key, b)
}

// whens is a condition of one operator with several keys, each with its value.
func whens(operator string, pairs ...string) string {
	var keys []string
	for i := 0; i+1 < len(pairs); i += 2 {
		keys = append(keys, fmt.Sprintf("%q:%q", pairs[i], pairs[i+1]))
	}
	return fmt.Sprintf("%q:{%s}", operator, strings.Join(keys, ","))
}

// rootOf is the statement of the default key policy.
func rootOf(account string) string {
	return allowTo("arn:aws:iam::"+account+":root", "kms:*")
}

// user makes a user with an access key and, if there are statements, an inline
// policy of them. It becomes {name} in texts: its ARN.
func (w *world) user(name string, statements ...string) {
	w.t.Helper()
	account, prefix, local := w.account(name)
	w.mustQuery(prefix+"admin", "iam", "CreateUser", "UserName", local)
	if len(statements) > 0 {
		w.mustQuery(prefix+"admin", "iam", "PutUserPolicy", "UserName", local, "PolicyName", "inline", "PolicyDocument", document(statements...))
	}
	key := w.mustQuery(prefix+"admin", "iam", "CreateAccessKey", "UserName", local)
	arn := "arn:aws:iam::" + account + ":user/" + local
	w.principals[name] = newPrincipal(arn, key.at("CreateAccessKeyResult", "AccessKey", "AccessKeyId"), key.at("CreateAccessKeyResult", "AccessKey", "SecretAccessKey"), "")
	w.names[name] = arn
}

// role makes a role that all of its account may assume whom IAM lets.
func (w *world) role(name string, statements ...string) {
	w.t.Helper()
	account, prefix, local := w.account(name)
	w.mustQuery(prefix+"admin", "iam", "CreateRole", "RoleName", local, "AssumeRolePolicyDocument",
		document(`{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::`+account+`:root"},"Action":["sts:AssumeRole","sts:TagSession","sts:SetSourceIdentity"]}`))
	if len(statements) > 0 {
		w.mustQuery(prefix+"admin", "iam", "PutRolePolicy", "RoleName", local, "PolicyName", "inline", "PolicyDocument", document(statements...))
	}
	w.names[name] = "arn:aws:iam::" + account + ":role/" + local
}

// session assumes a role, as a name of its own: "Engineering/s". What follows
// are further parameters of AssumeRole.
func (w *world) session(name string, parameters ...string) {
	w.t.Helper()
	role, session, _ := strings.Cut(name, "/")
	_, prefix, _ := w.account(role)
	out := w.mustQuery(prefix+"admin", "sts", "AssumeRole", append([]string{"RoleArn", "{" + role + "}", "RoleSessionName", session}, parameters...)...)
	w.temporary(name, out, "AssumeRoleResult", "AssumedRoleUser")
}

// federated has a user make a federated-user session.
func (w *world) federated(name, user string, parameters ...string) {
	w.t.Helper()
	_, _, local := w.account(name)
	out := w.mustQuery(user, "sts", "GetFederationToken", append([]string{"Name", local}, parameters...)...)
	w.temporary(name, out, "GetFederationTokenResult", "FederatedUser")
}

// temporary keeps temporary credentials.
func (w *world) temporary(name string, out *element, result, who string) {
	arn := out.at(result, who, "Arn")
	w.principals[name] = newPrincipal(arn, out.at(result, "Credentials", "AccessKeyId"), out.at(result, "Credentials", "SecretAccessKey"), out.at(result, "Credentials", "SessionToken"))
	w.names[name] = arn
}

// boundary gives a user or role a permissions boundary of these statements.
func (w *world) boundary(kind, name string, statements ...string) {
	w.t.Helper()
	_, prefix, local := w.account(name)
	arn := w.mustQuery(prefix+"admin", "iam", "CreatePolicy", "PolicyName", "boundary-of-"+local, "PolicyDocument", document(statements...)).at("CreatePolicyResult", "Policy", "Arn")
	w.mustQuery(prefix+"admin", "iam", "Put"+kind+"PermissionsBoundary", kind+"Name", local, "PermissionsBoundary", arn)
}

// keyOptions are of a key that is not an ordinary one.
type keyOptions struct {
	region   string // empty: us-west-2
	input    object // of CreateKey
	aliases  []string
	contexts map[string]object // encryption contexts of further ciphertexts, by name
	disabled bool
}

// key makes a key in the account of its name ("K", "B:K"), with a policy of these
// statements, or the default one. It becomes {K}, its ARN, {K.id}, and for
// symmetric keys {K.blob}: a ciphertext.
func (w *world) key(name string, o keyOptions, statements ...string) {
	w.t.Helper()
	account, prefix, _ := w.account(name)
	admin := prefix + "admin"
	in := o.region
	if in == "" {
		in = region
	}
	metadata, _ := w.must(admin, in, "CreateKey", o.input)["KeyMetadata"].(object)
	id, _ := metadata["KeyId"].(string)
	w.names[name], w.names[name+".id"] = "arn:aws:kms:"+in+":"+account+":key/"+id, id
	if metadata["KeySpec"] == "SYMMETRIC_DEFAULT" {
		w.names[name+".blob"], _ = w.must(admin, in, "Encrypt", object{"KeyId": id, "Plaintext": data})["CiphertextBlob"].(string)
		for blob, context := range o.contexts {
			w.names[blob], _ = w.must(admin, in, "Encrypt", object{"KeyId": id, "Plaintext": data, "EncryptionContext": context})["CiphertextBlob"].(string)
		}
	}
	for _, alias := range o.aliases {
		w.must(admin, in, "CreateAlias", object{"AliasName": alias, "TargetKeyId": id})
	}
	if o.disabled {
		w.must(admin, in, "DisableKey", object{"KeyId": id})
	}
	if len(statements) > 0 {
		w.must(admin, in, "PutKeyPolicy", object{"KeyId": id, "Policy": w.fill(document(statements...)), "BypassPolicyLockoutSafetyCheck": true})
	}
}

// grant makes a grant as the key's administrator. It becomes {name}, its id, and
// {name.token}.
func (w *world) grant(name string, input object) {
	w.t.Helper()
	out := w.must("admin", region, "CreateGrant", input)
	if name != "" {
		w.names[name], _ = out["GrantId"].(string)
		w.names[name+".token"], _ = out["GrantToken"].(string)
	}
}

// data is what is encrypted and signed.
var data = base64.StdEncoding.EncodeToString([]byte("a message"))

// A check is one call of a scenario, and how it must end.
type check struct {
	number  int    // of the case
	variant string // of several calls of one case
	as      string
	do      string // operation of KMS
	in      object
	region  string // empty: us-west-2
	want    want
}

func (c *check) String() string {
	return strings.TrimSpace(strconv.Itoa(c.number) + c.variant + ": " + c.as + " " + c.do)
}

// want is how a call must end; the zero value is that it succeeds.
type want struct {
	code    string
	message string // {P} is the caller's ARN, {action} the action
	action  string // if it is not that of the operation's name
}

// The ends of the messages of AccessDeniedException, by the names that the cases
// have for them.
var reasons = map[string]string{
	"ID":     "because no identity-based policy allows the {action} action",
	"RES":    "because no resource-based policy allows the {action} action",
	"NSESS":  "because no session policy allows the {action} action",
	"NPB":    "because no permissions boundary allows the {action} action",
	"NSCP":   "because no service control policy allows the {action} action",
	"NVPCE":  "because no VPC endpoint policy allows the {action} action",
	"XID":    "with an explicit deny in an identity-based policy",
	"XRES":   "with an explicit deny in a resource-based policy",
	"XSCP":   "with an explicit deny in a service control policy",
	"XRCP":   "with an explicit deny in a resource control policy",
	"XPB":    "with an explicit deny in a permissions boundary",
	"XSESS":  "with an explicit deny in a session policy",
	"XVPCE":  "with an explicit deny in a VPC endpoint policy",
	"hidden": "because the resource does not exist in this Region, no resource-based policies allow access, or a resource-based policy explicitly denies access",
}

// Where the message does not name the resource.
const (
	this       = " on this resource"
	ciphertext = " on the resource associated with this ciphertext"
	nowhere    = ""
)

// denied is an AccessDeniedException for a reason. Where is " on resource: …" of
// a resource's name in braces or "*", or one of the above.
func denied(reason, where string) want {
	if strings.HasPrefix(where, "{") || where == "*" {
		where = " on resource: " + where
	}
	text, ok := reasons[reason]
	if !ok {
		panic("no reason " + reason)
	}
	return want{code: "AccessDeniedException", message: "User: {P} is not authorized to perform: {action}" + where + " " + text}
}

// of changes the action that is denied.
func (w want) of(action string) want {
	w.action = action
	return w
}

// fails is any other error.
func fails(code, message string) want { return want{code: code, message: message} }

// run makes a check's call and compares how it ends.
func (w *world) run(t *testing.T, c *check) {
	t.Helper()
	in := c.region
	if in == "" {
		in = region
	}
	got := w.kms(c.as, in, c.do, c.in)
	if c.want == (want{}) {
		if !got.ok() {
			t.Errorf("%s\n%v\nwant it allowed", c, got)
		}
		return
	}
	action := c.want.action
	if action == "" {
		action = "kms:" + c.do
	}
	message := strings.NewReplacer("{P}", w.principal(c.as).arn, "{action}", action).Replace(c.want.message)
	if wanted := c.want.code + ": " + w.fill(message); got.status != http.StatusBadRequest || got.String() != wanted {
		t.Errorf("%s\n%d %v\nwant %s", c, got.status, got, wanted)
	}
}
