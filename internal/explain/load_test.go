package explain_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"unicode"

	"github.com/keyreeve/keyreeve/internal/explain"
)

// noFiles opens nothing.
func noFiles(path string) (io.ReadCloser, error) { return nil, fmt.Errorf("no file %s", path) }

// with is a good case with further members.
func with(members string) string {
	return `{"id":"1","principal":"user/Alice","action":"kms:Decrypt","expect":"allow",` + members + `}`
}

func TestMistakes(t *testing.T) {
	const arnOfKey = "arn:aws:kms:us-west-2:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
	statement := `{"Effect":"Allow","Principal":"*","Action":"kms:*","Resource":"*"%s}`
	for _, tt := range []struct{ name, line, want string }{
		// JSON.
		{"not JSON", `{"id":1,}`, "not JSON: invalid character '}' looking for beginning of object key string (at byte 9)"},
		{"cut off", `{"id":"1"`, "not JSON: it ends too soon; a case stands on one line"},
		{"two values", `{"id":"1"} {"id":"2"}`, "more than one value; each case has a line of its own"},
		{"a list", `["id"]`, "a case is a JSON object, and this is not"},
		{"not UTF-8", "{\"id\":\"\xff\"}", "not UTF-8"},
		{"twice", with(`"id":"1"`), `a case has "id" twice`},
		{"unknown", with(`"foo":1`), `a case has no member "foo"; it has id, about`},
		{"another case", with(`"Key":{}`), `a case has no member "Key"`},
		{"terminal", with(`"a\u001b[2Jb":1`), `a case has no member "a\x1b[2Jb"`},
		{"wrong type", with(`"account":111122223333`), "account is a string, and this is not: 111122223333"},
		{"long string", with(`"about":"` + strings.Repeat("x", 8193) + `"`), "about is longer than 8192 bytes"},

		// The case.
		{"no id", `{"principal":"user/A","action":"kms:Decrypt","expect":"allow"}`, "a case has an id"},
		{"no principal", `{"id":"1","action":"kms:Decrypt","expect":"allow"}`, "a case has a principal"},
		{"no action", `{"id":"1","principal":"user/A","expect":"allow"}`, "a case has an action"},
		{"no verdict", `{"id":"1","principal":"user/A","action":"kms:Decrypt"}`, "expect is allow or deny"},
		{"layer of an allowed call", with(`"layer":"identity"`), "layer and message are for what is denied"},
		{"no such layer", `{"id":"1","principal":"user/A","action":"kms:Decrypt","expect":"deny","layer":"iam"}`, `layer is none of scp, rcp, endpoint, resource, boundary, session, identity: "iam"`},
		{"account", with(`"account":"1"`), "account is 12 digits"},
		{"Region", with(`"region":"no where"`), `region is none: "no where"`},

		// Who.
		{"a group", strings.Replace(with(`"via":[]`), "user/Alice", "group/G", 1), `principal "group/G" is neither`},
		{"ARN of something else", strings.Replace(with(`"via":[]`), "user/Alice", "arn:aws:s3:::b", 1), `principal "arn:aws:s3:::b" is neither`},
		{"a key", strings.Replace(with(`"via":[]`), "user/Alice", arnOfKey, 1), `is neither a root user, user, role session nor federated user`},
		{"session without a name", strings.Replace(with(`"via":[]`), "user/Alice", "assumed-role/R", 1), "assumed-role/NAME/SESSION"},
		{"session with a path", strings.Replace(with(`"via":[]`), "user/Alice", "assumed-role/p/R/s", 1), "assumed-role/NAME/SESSION"},
		{"another role", `{"id":"1","principal":{"arn":"assumed-role/R/s","role":"role/Q"},"action":"kms:Decrypt","expect":"allow"}`, `role "role/Q" is not the ARN of role "R"`},
		{"federated by nobody", strings.Replace(with(`"via":[]`), "user/Alice", "federated-user/F", 1), "a federated user has an issuer"},
		{"user with a role", `{"id":"1","principal":{"arn":"user/A","role":"role/Q"},"action":"kms:Decrypt","expect":"allow"}`, "role for sessions of roles"},
		{"session policies of a user", with(`"session":[]`), "session policies are for sessions"},
		{"policies of the root user", strings.Replace(with(`"identity":"AdministratorAccess"`), "user/Alice", "root", 1), "the root user has no policies of its own"},
		{"policies of a service", strings.Replace(with(`"identity":"AdministratorAccess"`), "user/Alice", "s3.amazonaws.com", 1), "a service principal has no policies of its own"},
		{"SCPs of a service", strings.Replace(with(`"scp":"FullAWSAccess"`), "user/Alice", "s3.amazonaws.com", 1), "SCPs do not apply to services"},
		{"a service through a service", strings.Replace(with(`"via":"ec2"`), "user/Alice", "s3.amazonaws.com", 1), "via goes with a user"},
		{"through nothing", with(`"via":"s3.eu-west-1.amazonaws.com"`), "via names services such as s3"},

		// Policies. The texts are AWS's.
		{"no policy", with(`"identity":1`), "identity is a policy"},
		{"unknown policy", with(`"identity":"Nope"`), `there is no managed policy "Nope" here`},
		{"without Resource", with(`"key":{"policy":{"Effect":"Allow","Principal":"*","Action":"kms:*"}}`), "the key's policy: "},
		{"with Principal", with(`"identity":{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"}`), "identity: Policy document should not specify a principal"},
		{"trailing comma", with(`"key":{"policy":"{\"Statement\":[` + strings.ReplaceAll(fmt.Sprintf(statement, ""), `"`, `\"`) + `,]}"}`), "the key's policy: This policy contains invalid Json"},
		{
			"ForAllValues", with(`"key":{"policy":` + fmt.Sprintf(statement, `,"Condition":{"ForAllValues:StringEquals":{"kms:EncryptionContext:AppName":"a"}}`) + `}`),
			"the key's policy: OverlyPermissiveCondition:",
		},
		{"unknown operator", with(`"boundary":{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringIs":{"aws:username":"a"}}}`), "boundary: "},
		{"RCP that allows", with(`"rcp":{"Effect":"Allow","Principal":"*","Action":"kms:*","Resource":"*"}`), "rcp 1: "},
		{"missing file", with(`"identity":{"file":"x.json"}`), "identity: reading a policy: no file x.json"},
		{"file and document", with(`"identity":{"file":"","document":{},"foo":1}`), `identity has no member "foo"; it has file, document, name, arn, stored`},
		{"file or document", with(`"identity":{"document":{},"file":"x.json"}`), "identity has file or document, not both"},
		{"levels", with(`"scp":[[],[],[],[],[],[],[],[]]`), "scp has more than 7 items"},
		{"large key policy", with(`"key":{"policy":` + fmt.Sprintf(statement, `,"Sid":"`+strings.Repeat("x", 33000)+`"`) + `}`), "the key's policy is larger than 32768 bytes"},

		// What.
		{"no service", strings.Replace(with(`"via":[]`), "kms:Decrypt", "Decrypt", 1), "an action is a service and a name"},
		{"no such action", strings.Replace(with(`"via":[]`), "kms:Decrypt", "kms:Decrpyt", 1), `there is no action "kms:Decrpyt"`},
		{"case of the action", strings.Replace(with(`"via":[]`), "kms:Decrypt", "kms:decrypt", 1), `there is no action "kms:decrypt"`},
		{"no resource", strings.Replace(with(`"via":[]`), "kms:Decrypt", "iam:GetUser", 1), `a case of "iam:GetUser" has a resource`},
		{"no ARN", with(`"resource":"foo"`), `resource "foo" is neither`},
		{"a key as resource", with(`"resource":"` + arnOfKey + `"`), "a key is described by the member key"},
		{"key of another Region", with(`"key":"arn:aws:kms:eu-west-1:111122223333:key/1"`), `the key is in Region "eu-west-1" and the call in "us-west-2"`},
		{"key that is none", with(`"key":"arn:aws:kms:us-west-2:111122223333:alias/a"`), "is neither the ARN nor the id of a key"},
		{"spec", with(`"key":{"spec":"AES"}`), `there is no key spec "AES"`},
		{"usage left open", with(`"key":{"spec":"RSA_2048"}`), `a key of spec "RSA_2048" has a usage: ENCRYPT_DECRYPT, SIGN_VERIFY`},
		{"usage", with(`"key":{"usage":"X"}`), `there is no key usage "X"`},
		{"origin", with(`"key":{"origin":"X"}`), `there is no key origin "X"`},
		{"multi-Region", with(`"key":{"multiRegion":"true"}`), "multiRegion is PRIMARY or REPLICA"},
		{"alias", with(`"key":{"aliases":["a"]}`), "the name of an alias begins with alias/"},
		{"role without a policy", strings.Replace(with(`"role":{"arn":"role/R"}`), "kms:Decrypt", "sts:AssumeRole", 1), "a role has a policy"},
		{"grant without operations", with(`"key":{"grants":{"grantee":"role/R"}}`), "a grant has a grantee and operations"},
		{"grant operation", with(`"key":{"grants":{"grantee":"role/R","operations":"decrypt"}}`), `there is no grant operation "decrypt"`},
		{"grant to a group", with(`"key":{"grants":{"grantee":"arn:aws:iam::111122223333:group/G","operations":"Decrypt"}}`), "is no principal that a grant can name"},
		{"grants with one id", with(`"key":{"grants":[{"id":"a","grantee":"role/R","operations":"Decrypt"},{"id":"a","grantee":"role/R","operations":"Decrypt"}]}`), `two grants have the id "a"`},

		// How.
		{"parameter", with(`"request":{"Plaintext":"x"}`), `request: of kms:Decrypt policies see no parameter "Plaintext"; they see KeyId, EncryptionContext, EncryptionAlgorithm, GrantTokens`},
		{"no parameters", strings.Replace(with(`"request":{"Limit":1}`), "kms:Decrypt", "kms:ListKeys", 1), "request: kms:ListKeys has no parameter that a policy could see"},
		{"another key", with(`"request":{"KeyId":"0987dcba-09fe-87dc-65ba-ab0987654321"}`), "and the case's key is " + arnOfKey},
		{"token", with(`"request":{"GrantTokens":["x"]}`), `no grant of the case's key has the token "x"`},
		{"grant to retire", strings.Replace(with(`"request":{"GrantId":"x"}`), "kms:Decrypt", "kms:RetireGrant", 1), "request names a grant that the case's key does not have"},
		{"time", strings.Replace(with(`"request":{"ValidTo":"tomorrow"}`), "kms:Decrypt", "kms:ImportKeyMaterial", 1), "ValidTo is a time such as"},
		{"time out of range", strings.Replace(with(`"request":{"ValidTo":1e300}`), "kms:Decrypt", "kms:ImportKeyMaterial", 1), "ValidTo is out of range"},
		{"derived", with(`"context":{"aws:PrincipalArn":"x"}`), `context: "aws:PrincipalArn" follows from the case's principal`},
		{"derived of KMS", with(`"context":{"kms:ViaService":"x"}`), `context: "kms:ViaService" follows from the case's via`},
		{"never there", with(`"context":{"aws:referer":"x"}`), `never has the condition key "aws:referer"`},
		{"of another action", strings.Replace(with(`"context":{"kms:EncryptionContext:a":"b"}`), "kms:Decrypt", "kms:DescribeKey", 1), `context: requests for kms:DescribeKey never have the condition key "kms:EncryptionContext:a"`},
		{"context twice", with(`"context":{"aws:SourceIp":"192.0.2.1","aws:sourceip":"192.0.2.1"}`), `context has "aws:sourceip" twice`},
		{"address", with(`"context":{"aws:SourceIp":"192.0.2.0/24"}`), `context: "aws:SourceIp" is an IP address`},
		{"truth", with(`"context":{"aws:SecureTransport":"yes"}`), `context: "aws:SecureTransport" is true or false`},
		{"no session", with(`"context":{"aws:MultiFactorAuthPresent":true}`), `"temporary": true`},
		{"source of a user", with(`"context":{"aws:SourceArn":"arn:aws:s3:::b"}`), `context: "aws:SourceArn" is there only if a service calls for itself`},
		{"no time", with(`"context":{"aws:CurrentTime":null}`), `context: "aws:CurrentTime" is always there`},
		{"no issue", strings.Replace(with(`"context":{"aws:TokenIssueTime":null}`), "user/Alice", "role/R", 1), `context: "aws:TokenIssueTime" is there with temporary credentials`},
		{"age", strings.Replace(with(`"context":{"aws:MultiFactorAuthAge":-1}`), "user/Alice", "role/R", 1), `context: "aws:MultiFactorAuthAge" is out of range`},
		{"not a number", strings.Replace(with(`"context":{"aws:MultiFactorAuthAge":"old"}`), "user/Alice", "role/R", 1), "aws:MultiFactorAuthAge is a number"},
		{"endpoint without its id", with(`"endpoint":{},"context":{"aws:SourceVpce":null}`), `context: "aws:SourceVpce" is there, as the call comes through an endpoint`},
		{"two values of one", with(`"context":{"aws:UserAgent":["a"]}`), `context: "aws:UserAgent" has one value`},
		{"flag", `{"id":"1","principal":{"arn":"user/A","mfa":"yes"},"action":"kms:Decrypt","expect":"allow"}`, `mfa is true or false, and this is not: "yes"`},
		{"levels of what", with(`"rcp":{}`), "rcp 1: "},
		{"list", with(`"key":{"grants":{"grantee":"role/R","operations":{}}}`), "operations is a string, and this is not: {}"},
		{"role that is none", strings.Replace(with(`"role":{"arn":"user/R","policy":{}}`), "kms:Decrypt", "sts:AssumeRole", 1), "the role's trust policy: "},
		{"many tokens", with(`"request":{"GrantTokens":["1","2","3","4","5","6","7","8","9","10","11"]}`), "a request has up to 10 grant tokens"},
		{"retiring group", with(`"key":{"grants":{"grantee":"role/R","retiring":"group/G","operations":"Decrypt"}}`), `"group/G" is neither the ARN of a principal nor a service`},
		{"object", with(`"context":{"kms:EncryptionContext:a":{}}`), "is a string, a number, true, false, or a list of strings"},
		{"organization of nobody", with(`"organizations":{"me":{"id":"o-1"}}`), `organizations are by account, 12 digits; "me" is none`},
		{"organization without id", with(`"organizations":{"111122223333":{}}`), "an organization has an id"},
		{"endpoint's account", with(`"endpoint":{"account":"1"}`), "the endpoint's account is 12 digits"},

		// Defaults.
		{"default id", `{"defaults":{"id":"1"}}`, "id is each case's own, and no default"},
		{"default member", `{"defaults":{"foo":"1"}}`, `defaults has no member "foo"`},
		{"default policy", `{"defaults":{"identity":"Nope"}}`, `there is no managed policy "Nope" here`},
		{"defaults and more", `{"defaults":{},"id":"1"}`, `a case has no member "defaults"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := explain.Load(strings.NewReader("\n"+tt.line), noFiles, now)
			if err == nil {
				t.Fatal("the line is good")
			}
			if got := err.Error(); !strings.HasPrefix(got, "line 2: ") || !strings.Contains(got, tt.want) {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
			for _, r := range err.Error() {
				if !unicode.IsPrint(r) && r != '\n' {
					t.Errorf("%q would disturb a terminal", err)
				}
			}
		})
	}
}

func TestMistakesOfTheFile(t *testing.T) {
	good := `{"id":"%d","principal":"user/Alice","action":"kms:Decrypt","expect":"deny"}` + "\n"
	var bad strings.Builder
	for range 30 {
		bad.WriteString("{}\n")
	}
	failing := errors.New("disk on fire")
	for _, tt := range []struct {
		name string
		in   io.Reader
		want string
	}{
		{"empty", strings.NewReader(""), "there is no case in the file"},
		{"blank", strings.NewReader("\n\r\n  \n"), "there is no case in the file"},
		{"only defaults", strings.NewReader(`{"defaults":{}}`), "there is no case in the file"},
		{"the same id", strings.NewReader(fmt.Sprintf(good, 1) + "\n" + fmt.Sprintf(good, 1)), `line 3: id "1" stands in line 1 already`},
		{"long line", strings.NewReader(fmt.Sprintf(good, 1) + strings.Repeat(" ", explain.MaxLine+2)), "line 2: longer than 1048576 bytes"},
		{"many mistakes", strings.NewReader(bad.String()), "line 20: a case has an id of up to 100 bytes\nand perhaps more"},
		{"many lines", io.MultiReader(strings.NewReader(strings.Repeat("\n", explain.MaxLines)), strings.NewReader(fmt.Sprintf(good, 1))), "the file has more than 100000 lines"},
		{"reading", io.MultiReader(strings.NewReader(fmt.Sprintf(good, 1)), iotest.ErrReader(failing)), "reading: disk on fire"},
	} {
		_, err := explain.Load(tt.in, noFiles, now)
		if err == nil || !strings.HasSuffix(err.Error(), tt.want) {
			t.Errorf("%s: %v, want …%s", tt.name, err, tt.want)
		}
	}
	if _, err := explain.Load(iotest.ErrReader(failing), noFiles, now); !errors.Is(err, failing) {
		t.Errorf("the cause is lost: %v", err)
	}
}

// Lines may end as on Windows, and the last one needs no end.
func TestLineEnds(t *testing.T) {
	line := `{"id":"%d","principal":"user/Alice","action":"kms:Decrypt","expect":"deny"}`
	cases, err := explain.Load(strings.NewReader(fmt.Sprintf(line+"\r\n\r\n"+line, 1, 2)), noFiles, now)
	if err != nil || len(cases) != 2 || cases[1].Line != 3 {
		t.Fatalf("%d cases, %v", len(cases), err)
	}
}

// What a file says stands in the report in a form that cannot disturb a
// terminal.
func TestReportIsClean(t *testing.T) {
	const line = `{"id":"\u001b[2J","principal":"user/A\u0007","identity":{"name":"\u001b[1m","document":{"Effect":"Deny","Action":"*","Resource":"*","Condition":{"StringLike":{"aws:UserAgent":"\u001b[0m"}}}},` +
		`"key":{"grants":{"id":"\u0008","grantee":"user/A\u0007","operations":"Encrypt"}},"context":{"aws:UserAgent":"\u001b[2J"},"action":"kms:Decrypt","expect":"allow"}`
	cases, err := explain.Load(strings.NewReader(line), noFiles, now)
	if err != nil {
		t.Fatal(err)
	}
	r, err := cases[0].Decide(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	text := string(r.AppendText(nil, "file"))
	for _, c := range text {
		if !unicode.IsPrint(c) && c != '\n' {
			t.Fatalf("%q is in the report", c)
		}
	}
	for _, want := range []string{`case \x1b[2J`, `user/A\a`, `grant \b`} {
		if !strings.Contains(text, want) {
			t.Errorf("%s is not in the report:\n%s", want, text)
		}
	}
}

// FuzzLoad feeds files to the loader, and has decided whatever it accepts.
func FuzzLoad(f *testing.F) {
	for _, path := range []string{"testdata/cases.jsonl", "testdata/forms.jsonl"} {
		text, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		defaults := ""
		for line := range strings.Lines(string(text)) {
			if strings.HasPrefix(line, `{"defaults"`) {
				defaults = line
				continue
			}
			f.Add([]byte(defaults + line))
		}
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		cases, err := explain.Load(strings.NewReader(string(text)), noFiles, now)
		if err != nil {
			if len(cases) > 0 {
				t.Fatal("cases came with the error")
			}
			return
		}
		for _, c := range cases {
			r, err := c.Decide(t.Context())
			if err != nil {
				t.Fatalf("line %d: %v", c.Line, err)
			}
			if (r.Layer == "") != r.Decision.Allowed {
				t.Fatalf("line %d: allowed %v by layer %q", c.Line, r.Decision.Allowed, r.Layer)
			}
			r.AppendText(nil, "file")
			if _, err := r.AppendJSON(nil, "file"); err != nil {
				t.Fatal(err)
			}
		}
	})
}
