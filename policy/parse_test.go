package policy_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/keyreeve/keyreeve/policy"
)

const (
	syntax       = "Syntax errors in policy."
	legacy       = "The policy failed legacy parsing"
	invalidJSON  = "This policy contains invalid Json"
	organization = "The provided policy document does not meet the requirements of the specified policy type."
)

// document puts statements into a document.
func document(statements string) string {
	return `{"Version":"2012-10-17","Statement":` + statements + `}`
}

// allTypes are all the types of documents, with what each needs beyond Effect,
// to allow (or deny) kms:Decrypt.
var allTypes = []struct {
	t    policy.Type
	rest string
}{
	{policy.Identity, `"Effect":"Allow","Action":"kms:Decrypt","Resource":"*"`},
	{policy.Resource, `"Effect":"Allow","Principal":"*","Action":"kms:Decrypt","Resource":"*"`},
	{policy.KeyPolicy, `"Effect":"Allow","Principal":"*","Action":"kms:Decrypt","Resource":"*"`},
	{policy.Trust, `"Effect":"Allow","Principal":"*","Action":"sts:AssumeRole"`},
	{policy.ServiceControl, `"Effect":"Allow","Action":"kms:Decrypt","Resource":"*"`},
	{policy.ResourceControl, `"Effect":"Deny","Principal":"*","Action":"kms:Decrypt","Resource":"*"`},
	{policy.Endpoint, `"Effect":"Allow","Principal":"*","Action":"kms:Decrypt","Resource":"*"`},
	{policy.Session, `"Effect":"Allow","Action":"kms:Decrypt","Resource":"*"`},
}

func TestParseAccepts(t *testing.T) {
	for _, tt := range allTypes {
		for _, text := range []string{
			document("{" + tt.rest + "}"),
			document("[{" + tt.rest + "}]"),
			document(`[{"Sid":"A1",` + tt.rest + `},{"Sid":"B2",` + tt.rest + `}]`),
			document(`{"Sid":"",` + tt.rest + `}`),
			document(`{` + tt.rest + `,"Condition":{}}`),
			document(`{` + tt.rest + `,"Condition":{"Null":{"aws:TokenIssueTime":true},"NumericLessThan":{"a:b":[1,-2.5e3,"3"]}}}`),
			"\n\t" + `{"Id":"x","Statement":[{` + tt.rest + `}],"Version":"2012-10-17"}` + "\r\n ",
		} {
			p, err := policy.Parse(text, policy.Options{Type: tt.t})
			if err != nil {
				t.Errorf("%v: %v\n%s", tt.t, err, text)
				continue
			}
			if p.Type() != tt.t || p.Text() != text || p.Version() != "2012-10-17" {
				t.Errorf("%v: %v, version %s, %s", tt.t, p.Type(), p.Version(), p.Text())
			}
		}
	}
}

// TestParseRefuses holds the messages, and the place: where "¦" stands in the
// text; without one, it is of the document as a whole.
func TestParseRefuses(t *testing.T) {
	const k = policy.KeyPolicy
	tests := map[string]struct {
		t       policy.Type
		text    string
		message string
		detail  string
	}{
		"nothing, identity":         {policy.Identity, "¦", syntax, "the document ends too early"},
		"nothing, key":              {k, "¦", invalidJSON, "the document ends too early"},
		"nothing, trust":            {policy.Trust, " \n ¦", invalidJSON, "the document ends too early"},
		"nothing, SCP":              {policy.ServiceControl, "¦", organization, "the document ends too early"},
		"nothing, session":          {policy.Session, "¦", "The policy is not in the valid JSON format.", "the document ends too early"},
		"no statement, session":     {policy.Session, `¦{}`, syntax, "Missing required field Statement"},
		"principal, session":        {policy.Session, document(`{"Effect":"Allow",¦"Principal":"*","Action":"*","Resource":"*"}`), "Policy document should not specify a principal.", ""},
		"null":                      {policy.Identity, "¦null", syntax, "the document is not an object"},
		"a comma too many":          {k, "{\"Statement\": [\n  {\"Effect\": \"Allow\", ¦} ] }", invalidJSON, "the name of a member is missing"},
		"trailing text":             {k, `{} ¦x`, invalidJSON, "text after the document"},
		"byte order mark":           {k, "¦\ufeff{}", invalidJSON, "a value is missing"},
		"nested too deeply":         {k, strings.Repeat(`{"a":`, 10) + `¦{"a":`, invalidJSON, "more than 10 levels"},
		"too long":                  {k, `{"Id":"` + strings.Repeat("x", policy.MaxBytes) + `"}`, syntax, "longer than 131072 bytes"},
		"member twice":              {k, `{"Id":"a",¦"Id":"b"}`, invalidJSON, `"Id" stands twice`},
		"effect twice":              {policy.Identity, document(`{"Effect":"Deny",¦"Effect":"Allow","Action":"*","Resource":"*"}`), syntax, `"Effect" stands twice`},
		"no statement, identity":    {policy.Identity, `¦{"Version":"2012-10-17"}`, syntax, "Missing required field Statement"},
		"no statement, key":         {k, `¦{"Version":"2012-10-17"}`, "Missing required field Statement", ""},
		"statement is text":         {k, `{"Statement":¦"x"}`, "Statement is neither an object nor a list", ""},
		"statement in lists":        {k, `{"Statement":[¦[]]}`, "a statement is not an object", ""},
		"empty statements":          {policy.Trust, `{"Statement":¦[]}`, "Could not parse the policy: Statement is empty!", ""},
		"empty statements, SCP":     {policy.ServiceControl, document("¦[]"), organization, "Could not parse the policy: Statement is empty!"},
		"version 2013":              {k, `{"Version":¦"2013-01-01","Statement":{}}`, "The policy must contain a valid version string", ""},
		"version is a number":       {policy.Identity, `{"Version":¦2012,"Statement":{}}`, syntax, "The policy must contain a valid version string"},
		"version of 2008, SCP":      {policy.ServiceControl, `{"Version":¦"2008-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`, organization, "Version is not 2012-10-17"},
		"no version, RCP":           {policy.ResourceControl, `¦{"Statement":{"Effect":"Deny","Principal":"*","Action":"kms:*","Resource":"*"}}`, organization, "Version is not 2012-10-17"},
		"unknown field":             {policy.Trust, `{¦"statement":{}}`, "Unknown field statement", ""},
		"unknown field, identity":   {policy.Identity, document(`{"Effect":"Allow","Action":"*","Resource":"*",¦"Comment":""}`), syntax, "Unknown field Comment"},
		"unknown field, long":       {policy.Trust, `{¦"` + long(1500) + `":1,"Statement":{}}`, "Unknown field " + long(1010) + "…", ""},
		"unknown field, control":    {policy.Trust, `{¦"a\u0001\ufffe\u007f\nb":1,"Statement":{}}`, "Unknown field a\ufffd\ufffd\ufffd\ufffdb", ""},
		"id is a number":            {k, `{"Id":¦1,"Statement":{}}`, "Id is not a string", ""},
		"sid is a number":           {k, document(`{"Sid":¦1,"Effect":"Allow","Principal":"*","Action":"kms:*","Resource":"*"}`), "Sid is not a string", ""},
		"sid with a space":          {policy.Identity, document(`¦{"Sid":"a b","Effect":"Allow","Action":"*","Resource":"*"}`), "Statement IDs (SID) must be alpha-numeric. Check that your input satisfies the regular expression [0-9A-Za-z]*", ""},
		"sid twice":                 {policy.Identity, document(`[{"Sid":"a","Effect":"Allow","Action":"*","Resource":"*"},¦{"Sid":"a","Effect":"Allow","Action":"*","Resource":"*"}]`), "Statement IDs (SID) in a single policy must be unique.", ""},
		"sid twice, trust":          {policy.Trust, document(`[{"Sid":"a","Effect":"Allow","Principal":"*","Action":"sts:*"},¦{"Sid":"a","Effect":"Allow","Principal":"*","Action":"sts:*"}]`), "The Statement Ids in the policy are not unique", ""},
		"no effect":                 {policy.Trust, document(`¦{"Principal":"*","Action":"sts:*"}`), "Missing required field Effect", ""},
		"no effect, identity":       {policy.Identity, document(`¦{"Action":"*","Resource":"*"}`), syntax, "Missing required field Effect"},
		"effect in lower case":      {k, document(`{"Effect":¦"allow","Principal":"*","Action":"kms:*","Resource":"*"}`), "Invalid effect: allow", ""},
		"effect is a list":          {k, document(`{"Effect":¦["Allow"],"Principal":"*","Action":"kms:*","Resource":"*"}`), "Effect is not a string", ""},
		"RCP that allows":           {policy.ResourceControl, document(`{"Effect":¦"Allow","Principal":"*","Action":"kms:*","Resource":"*"}`), organization, "Effect is not Deny"},
		"principal, identity":       {policy.Identity, document(`{"Effect":"Allow",¦"Principal":"*","Action":"*","Resource":"*"}`), "Policy document should not specify a principal.", ""},
		"not principal, identity":   {policy.Identity, document(`{"Effect":"Deny",¦"NotPrincipal":"*","Action":"*","Resource":"*"}`), "Policy document should not specify a principal.", ""},
		"principal, SCP":            {policy.ServiceControl, document(`{"Effect":"Allow",¦"Principal":"*","Action":"*","Resource":"*"}`), organization, "Has prohibited field Principal"},
		"no principal, key":         {k, document(`¦{"Effect":"Allow","Action":"kms:*","Resource":"*"}`), "Policy contains a statement with no principal.", ""},
		"empty principals, key":     {k, document(`{"Effect":"Allow",¦"Principal":{"AWS":[]},"Action":"kms:*","Resource":"*"}`), "Policy contains a statement with no principal.", ""},
		"no principal, trust":       {policy.Trust, document(`¦{"Effect":"Allow","Action":"sts:*"}`), "Missing required field Principal", ""},
		"empty principal, trust":    {policy.Trust, document(`{"Effect":"Allow",¦"Principal":{},"Action":"sts:*"}`), "Missing required field Principal cannot be empty!", ""},
		"RCP with a principal":      {policy.ResourceControl, document(`{"Effect":"Deny",¦"Principal":{"AWS":"111122223333"},"Action":"kms:*","Resource":"*"}`), organization, "Principal is not *"},
		"RCP with NotPrincipal":     {policy.ResourceControl, document(`{"Effect":"Deny",¦"NotPrincipal":"*","Action":"kms:*","Resource":"*"}`), organization, "Has prohibited field NotPrincipal"},
		"allow with NotPrincipal":   {k, document(`{"Effect":"Allow",¦"NotPrincipal":{"AWS":"111122223333"},"Action":"kms:*","Resource":"*"}`), "Allow with NotPrincipal is not allowed.", ""},
		"both principals":           {k, document(`{"Effect":"Deny","NotPrincipal":"*",¦"Principal":"*","Action":"kms:*","Resource":"*"}`), "NotPrincipal and Principal stand together", ""},
		"kind of principal":         {policy.Trust, document(`{"Effect":"Allow","Principal":{¦"User":"x"},"Action":"sts:*"}`), `Invalid principal in policy: "USER"`, ""},
		"principal is text":         {policy.Trust, document(`{"Effect":"Allow","Principal":¦"111122223333","Action":"sts:*"}`), `Invalid principal in policy: "111122223333"`, ""},
		"principal is a number":     {k, document(`{"Effect":"Allow","Principal":{"AWS":¦111122223333},"Action":"kms:*","Resource":"*"}`), "Principal is a number where a string or list should be", ""},
		"list with a number":        {k, document(`{"Effect":"Allow","Principal":{"AWS":[¦1]},"Action":"kms:*","Resource":"*"}`), "Principal has a number where a string should be", ""},
		"action and not action":     {policy.Identity, document(`{"Effect":"Allow","Action":"*",¦"NotAction":"*","Resource":"*"}`), syntax, "Action and NotAction stand together"},
		"no action":                 {policy.Identity, document(`¦{"Effect":"Allow","Resource":"*"}`), "Policy statement must contain actions.", ""},
		"empty actions":             {policy.Identity, document(`{"Effect":"Allow",¦"Action":[],"Resource":"*"}`), "Policy statement must contain actions.", ""},
		"no action, key":            {k, document(`¦{"Effect":"Allow","Principal":"*","Resource":"*"}`), "Missing required field Action", ""},
		"no vendor":                 {policy.Identity, document(`{"Effect":"Allow","Action":¦"Decrypt","Resource":"*"}`), "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.", ""},
		"empty action":              {policy.Identity, document(`{"Effect":"Allow","Action":¦"","Resource":"*"}`), "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.", ""},
		"wildcard without vendor":   {policy.Identity, document(`{"Effect":"Allow","Action":¦"k*","Resource":"*"}`), "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.", ""},
		"two colons":                {policy.Identity, document(`{"Effect":"Allow","Action":¦"kms:a:b","Resource":"*"}`), "Actions/Condition can contain only one colon.", ""},
		"vendor with a wildcard":    {policy.Identity, document(`{"Effect":"Allow","Action":¦"k*:Decrypt","Resource":"*"}`), "Vendor k* is not valid", ""},
		"action with a space":       {policy.Identity, document(`{"Effect":"Allow","Action":¦"kms:De crypt","Resource":"*"}`), syntax, ""},
		"action without a name":     {k, document(`{"Effect":"Allow","Principal":"*","Action":¦"kms:","Resource":"*"}`), syntax, ""},
		"action beyond all bounds":  {policy.Identity, document(`{"Effect":"Allow","Action":¦"kms:` + strings.Repeat("a", 300) + `","Resource":"*"}`), syntax, ""},
		"trust with other actions":  {policy.Trust, document(`{"Effect":"Allow","Principal":"*","Action":["sts:AssumeRole",¦"kms:*"]}`), "AssumeRole policy may only specify STS AssumeRole actions.", ""},
		"trust with all actions":    {policy.Trust, document(`{"Effect":"Allow","Principal":"*","Action":¦"*"}`), "AssumeRole policy may only specify STS AssumeRole actions.", ""},
		"RCP with all actions":      {policy.ResourceControl, document(`{"Effect":"Deny","Principal":"*","Action":¦"*","Resource":"*"}`), organization, "Action is *"},
		"RCP with NotAction":        {policy.ResourceControl, document(`{"Effect":"Deny","Principal":"*",¦"NotAction":"kms:*","Resource":"*"}`), organization, "Has prohibited field NotAction"},
		"no resource":               {policy.Identity, document(`¦{"Effect":"Allow","Action":"*"}`), "Policy statement must contain resources.", ""},
		"empty resources":           {policy.Identity, document(`{"Effect":"Allow","Action":"*",¦"Resource":[]}`), "Policy statement must contain resources.", ""},
		"no resource, key":          {k, document(`¦{"Effect":"Allow","Principal":"*","Action":"kms:*"}`), "Missing required field Resource", ""},
		"key policy with an ARN":    {k, document(`{"Effect":"Allow","Principal":"*","Action":"kms:*","Resource":¦"` + keyA + `"}`), `The Resource element of a key policy must be "*".`, ""},
		"key policy, NotResource":   {k, document(`{"Effect":"Allow","Principal":"*","Action":"kms:*",¦"NotResource":"*"}`), "Has prohibited field NotResource", ""},
		"trust with a resource":     {policy.Trust, document(`{"Effect":"Allow","Principal":"*","Action":"sts:*",¦"Resource":"*"}`), "Has prohibited field Resource", ""},
		"trust with NotResource":    {policy.Trust, document(`{"Effect":"Allow","Principal":"*","Action":"sts:*",¦"NotResource":"*"}`), "AssumeRole policy must not contain resources.", ""},
		"resource is a key id":      {policy.Identity, document(`{"Effect":"Allow","Action":"*","Resource":¦"1234abcd"}`), `Resource 1234abcd must be in ARN format or "*".`, ""},
		"resource is empty":         {policy.Identity, document(`{"Effect":"Allow","Action":"*","Resource":¦""}`), `Resource  must be in ARN format or "*".`, ""},
		"resource is short":         {policy.Identity, document(`{"Effect":"Allow","Action":"*","Resource":¦"arn:aws:s3::bucket"}`), `Resource arn:aws:s3::bucket must be in ARN format or "*".`, ""},
		"resource, partition":       {policy.Identity, document(`{"Effect":"Allow","Action":"*","Resource":¦"arn:oops:s3:::bucket"}`), `Partition "oops" is not valid for resource "arn:oops:s3:::bucket".`, ""},
		"resource, vendor":          {policy.Identity, document(`{"Effect":"Allow","Action":"*","Resource":¦"arn:aws:s*:::bucket"}`), "Resource vendor must be fully qualified and cannot contain regexes.", ""},
		"resource, variable":        {policy.Identity, document(`{"Effect":"Allow","Action":"*","Resource":¦"arn:aws:iam::${aws:PrincipalAccount}:user/x"}`), legacy, ""},
		"unknown operator":          {k, document(`{"Effect":"Allow","Principal":"*","Action":"kms:*","Resource":"*","Condition":{¦"StringMatches":{"a:b":"c"}}}`), "unknown condition operator StringMatches", ""},
		"unknown operator, alone":   {policy.Identity, document(`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{¦"StringIs":{}}}`), syntax, "unknown condition operator StringIs"},
		"negated bool":              {policy.Identity, document(`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{¦"BoolNotEquals":{"a:b":"true"}}}`), syntax, "unknown condition operator BoolNotEquals"},
		"NullIfExists":              {policy.Identity, document(`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{¦"NullIfExists":{"a:b":"true"}}}`), syntax, "unknown condition operator NullIfExists"},
		"set operator on Null":      {policy.Identity, document(`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{¦"ForAnyValue:Null":{"a:b":"true"}}}`), syntax, "unknown condition operator ForAnyValue:Null"},
		"two set operators":         {policy.Identity, document(`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{¦"ForAnyValue:ForAllValues:StringLike":{"a:b":"c"}}}`), syntax, "unknown condition operator ForAnyValue:ForAllValues:StringLike"},
		"operator in Unicode":       {policy.Identity, document(`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{¦"StringLi` + "\u212a" + `e":{"a:b":"c"}}}`), syntax, "unknown condition operator StringLi\u212ae"},
		"condition is a list":       {policy.Identity, document(`{"Effect":"Allow","Action":"*","Resource":"*","Condition":¦[]}`), syntax, "Condition is not an object"},
		"operator is a list":        {policy.Identity, document(`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"Bool":¦[]}}`), syntax, "Bool is not an object"},
		"condition key alone":       {policy.Identity, document(`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"Bool":{¦"SecureTransport":"true"}}}`), "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.", ""},
		"no values":                 {policy.Identity, document(`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringEquals":{"a:b":¦[]}}}`), syntax, "a:b has no values"},
		"null value":                {policy.Identity, document(`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringEquals":{"a:b":¦null}}}`), syntax, "a:b has null as a value"},
		"values in lists":           {policy.Identity, document(`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringEquals":{"a:b":["c",¦["d"]]}}}`), syntax, "a:b has a list as a value"},
		"not a date":                {policy.Identity, document(`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"DateLessThan":{"aws:CurrentTime":¦"soon"}}}`), legacy, `"soon" is not a value for DateLessThan`},
		"not a number":              {k, document(`{"Effect":"Allow","Principal":"*","Action":"kms:*","Resource":"*","Condition":{"NumericEquals":{"a:b":[1,¦"0x10"]}}}`), syntax, `"0x10" is not a value for NumericEquals`},
		"not a boolean":             {policy.Identity, document(`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"Bool":{"a:b":¦"yes"}}}`), legacy, `"yes" is not a value for Bool`},
		"not an address":            {policy.Identity, document(`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"IpAddress":{"a:b":¦"192.0.2.0/33"}}}`), legacy, `"192.0.2.0/33" is not a value for IpAddress`},
		"not base64":                {policy.Identity, document(`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"BinaryEquals":{"a:b":¦"?"}}}`), legacy, `"?" is not a value for BinaryEquals`},
		"overly permissive":         {k, document(`{"Effect":"Allow","Principal":"*","Action":"kms:*","Resource":"*","Condition":{"ForAllValues:StringEquals":{¦"kms:EncryptionContext:AppName":"x"}}}`), "OverlyPermissiveCondition:EncryptionContext: Using the ForAllValues set operator with a single-valued condition key matches requests without the specified encryption context or with an unspecified encryption context. To fix, remove ForAllValues.", ""},
		"overly permissive, tag":    {k, document(`{"Effect":"Allow","Principal":"*","Action":"kms:*","Resource":"*","Condition":{"forallvalues:stringlike":{¦"AWS:requesttag/x":"x"}}}`), "OverlyPermissiveCondition:RequestTag: Using the ForAllValues set operator with a single-valued condition key matches requests without the specified tag or with an unspecified tag. To fix, remove ForAllValues.", ""},
		"in IAM's order":            {policy.Identity, document(`[{"Effect":"Allow","Action":"Decrypt","Resource":"x"},¦{"Effect":"Allow","Action":"*"}]`), "Policy statement must contain resources.", ""},
		"syntax before all else":    {policy.Identity, document(`[{"Effect":"Allow","Action":"Decrypt","Resource":"x"},{"Effect":¦"Maybe","Action":"*"}]`), syntax, "Invalid effect: Maybe"},
		"first of equals":           {policy.Identity, document(`[{"Effect":"Allow","Action":¦"a","Resource":"*"},{"Effect":"Allow","Action":"b","Resource":"*"}]`), "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.", ""},
		"grammar before principals": {k, document(`{"Effect":"Allow","Principal":{"AWS":¦"nobody"},"Action":"kms:*"}`), "Policy contains a statement with one or more invalid principals.", `"AWS":"nobody"`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			before, after, placed := strings.Cut(tt.text, "¦")
			p, err := policy.Parse(before+after, policy.Options{Type: tt.t})
			if p != nil {
				t.Error("a policy was returned")
			}
			var e *policy.Error
			if !errors.As(err, &e) {
				t.Fatalf("error %v (%T)", err, err)
			}
			if e.Message != tt.message || e.Detail != tt.detail {
				t.Errorf("message %q, detail %q;\nwant    %q,        %q", e.Message, e.Detail, tt.message, tt.detail)
			}
			line, column := 0, 0
			if placed {
				line, column = 1+strings.Count(before, "\n"), len(before)-strings.LastIndex(before, "\n")
			}
			if e.Line != line || e.Column != column {
				t.Errorf("at %d:%d, want %d:%d", e.Line, e.Column, line, column)
			}
		})
	}
}

func TestParseUnknownType(t *testing.T) {
	for _, typ := range []policy.Type{0, 9, 255} {
		if _, err := policy.Parse(document(`{"Effect":"Allow","Action":"*","Resource":"*"}`), policy.Options{Type: typ}); err == nil {
			t.Errorf("%v was parsed", typ)
		}
	}
}

func TestErrorForPeople(t *testing.T) {
	for want, e := range map[string]policy.Error{
		"Syntax errors in policy: a comma is missing (line 2, column 7)": {Message: syntax, Detail: "a comma is missing", Line: 2, Column: 7},
		"Has prohibited field Resource (line 1, column 3)":               {Message: "Has prohibited field Resource", Line: 1, Column: 3},
		"Syntax errors in policy: longer than 131072 bytes":              {Message: syntax, Detail: "longer than 131072 bytes"},
	} {
		if got := e.Error(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// TestPrincipalNames holds which names a document can have.
func TestPrincipalNames(t *testing.T) {
	tests := map[string]bool{
		`"*"`:                          true,
		`{"AWS":"*"}`:                  true,
		`{"AWS":["*","111122223333"]}`: true,
		`{"AWS":"arn:aws:iam::111122223333:root"}`:                         true,
		`{"AWS":"arn:aws-cn:iam::111122223333:root"}`:                      true,
		`{"AWS":"arn:aws:iam::111122223333:user/Bob"}`:                     true,
		`{"AWS":"arn:aws:iam::111122223333:user/division/team/Bob"}`:       true,
		`{"AWS":"arn:aws:iam::111122223333:role/aws-service-role/x/R"}`:    true,
		`{"AWS":"arn:aws:sts::111122223333:assumed-role/Role/session@x"}`:  true,
		`{"AWS":"arn:aws:sts::111122223333:federated-user/fed"}`:           true,
		`{"AWS":"AIDACKCEVSQ6C2EXAMPLE"}`:                                  true,
		`{"AWS":"AROACKCEVSQ6C2EXAMPLE"}`:                                  true,
		`{"Service":["cloudtrail.amazonaws.com","kms.us-x.amazonaws.cn"]}`: true,
		`{"Federated":"accounts.google.com"}`:                              true,
		`{"CanonicalUser":"79a59df900b949e55d96a1e698fbaced"}`:             true,
		`{"AWS":"111122223333","Service":"s3.amazonaws.com"}`:              true,

		`""`:           false,
		`"AWS"`:        false,
		`["*"]`:        false,
		`null`:         false,
		`{"AWS":""}`:   false,
		`{"AWS":"**"}`: false,
		`{"AWS":"arn:aws:iam::111122223333:user/*"}`:                  false,
		`{"AWS":"arn:aws:iam::111122223333:user/B?b"}`:                false,
		`{"AWS":"arn:aws:iam::*:root"}`:                               false,
		`{"AWS":"11112222333"}`:                                       false,
		`{"AWS":"1111222233334"}`:                                     false,
		`{"AWS":"arn:aws:iam::11112222333:root"}`:                     false,
		`{"AWS":"arn:aws:iam:us-east-1:111122223333:root"}`:           false,
		`{"AWS":"arn:aws:iam::111122223333:root/"}`:                   false,
		`{"AWS":"arn:aws:iam::111122223333:user"}`:                    false,
		`{"AWS":"arn:aws:iam::111122223333:user/"}`:                   false,
		`{"AWS":"arn:aws:iam::111122223333:group/Admins"}`:            false,
		`{"AWS":"arn:aws:iam::111122223333:assumed-role/R/s"}`:        false,
		`{"AWS":"arn:aws:sts::111122223333:assumed-role/R"}`:          false,
		`{"AWS":"arn:aws:sts::111122223333:assumed-role/R/s/t"}`:      false,
		`{"AWS":"arn:aws:sts::111122223333:federated-user/"}`:         false,
		`{"AWS":"arn:aws:kms:us-west-2:111122223333:key/x"}`:          false,
		`{"AWS":"arn:oops:iam::111122223333:root"}`:                   false,
		`{"AWS":"ARN:aws:iam::111122223333:root"}`:                    false,
		`{"AWS":" arn:aws:iam::111122223333:root"}`:                   false,
		`{"AWS":"arn:aws:iam::111122223333:user/\u00fcber"}`:          false,
		`{"AWS":"${aws:username}"}`:                                   false,
		`{"AWS":"AGPACKCEVSQ6C2EXAMPLE"}`:                             false,
		`{"AWS":"AIDA"}`:                                              false,
		`{"AWS":"AIDAckcevsq6c2example"}`:                             false,
		`{"AWS":"o-exampleorgid"}`:                                    false,
		`{"AWS":"arn:aws:iam::111122223333:user/` + long(2100) + `"}`: false,
		`{"Service":"*"}`:                                             false,
		`{"Service":"cloudtrail"}`:                                    false,
		`{"Service":"a b.amazonaws.com"}`:                             false,
		`{"Service":".amazonaws.com"}`:                                false,
		`{"Federated":""}`:                                            false,
		`{"aws":"*"}`:                                                 false,
		`{}`:                                                          false,
		`{"AWS":[]}`:                                                  false,
		`{"AWS":{}}`:                                                  false,
	}
	for text, want := range tests {
		for _, typ := range []policy.Type{policy.KeyPolicy, policy.Resource, policy.Endpoint} {
			_, err := policy.Parse(document(`{"Effect":"Allow","Principal":`+text+`,"Action":"kms:*","Resource":"*"}`), policy.Options{Type: typ})
			if (err == nil) != want {
				t.Errorf("Principal %s in a %v: %v", text, typ, err)
			}
		}
		_, err := policy.Parse(document(`{"Effect":"Allow","Principal":`+text+`,"Action":"sts:*"}`), policy.Options{Type: policy.Trust})
		if (err == nil) != want {
			t.Errorf("Principal %s in a trust policy: %v", text, err)
		}
	}
}

func long(n int) string { return strings.Repeat("x", n) }

// TestStored holds what was valid once, and what it does now: nothing.
func TestStored(t *testing.T) {
	tests := map[string]struct {
		t       policy.Type
		text    string
		outcome policy.Outcome
	}{
		"no resource":       {policy.KeyPolicy, `{"Effect":"Allow","Principal":"*","Action":"kms:*"}`, policy.Outcome{Mismatch: policy.Inert}},
		"empty resources":   {policy.KeyPolicy, `{"Effect":"Allow","Principal":"*","Action":"kms:*","Resource":[]}`, policy.Outcome{Mismatch: policy.Inert}},
		"no action":         {policy.KeyPolicy, `{"Effect":"Deny","Principal":"*","Resource":"*"}`, policy.Outcome{Mismatch: policy.Inert}},
		"empty NotAction":   {policy.KeyPolicy, `{"Effect":"Allow","Principal":"*","NotAction":[],"Resource":"*"}`, policy.Outcome{Mismatch: policy.Inert}},
		"no action, IAM":    {policy.Identity, `{"Effect":"Allow","Resource":"*"}`, policy.Outcome{Mismatch: policy.Inert}},
		"ARN of the key":    {policy.KeyPolicy, `{"Effect":"Allow","Principal":"*","Action":"kms:*","Resource":"` + keyA + `"}`, policy.Outcome{Mismatch: policy.OfResource}},
		"set operator":      {policy.KeyPolicy, `{"Effect":"Allow","Principal":"*","Action":"kms:*","Resource":"*","Condition":{"ForAllValues:StringEquals":{"kms:EncryptionContext:a":"b"}}}`, policy.Outcome{Matched: true}},
		"value of no type":  {policy.KeyPolicy, `{"Effect":"Allow","Principal":"*","Action":"kms:*","Resource":"*","Condition":{"DateLessThan":{"aws:CurrentTime":"soon"}}}`, policy.Outcome{Mismatch: policy.OfCondition}},
		"RCP of AWS":        {policy.ResourceControl, `{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"}`, policy.Outcome{Matched: true}},
		"allow by omission": {policy.KeyPolicy, `{"Effect":"Allow","NotPrincipal":{"AWS":"444455556666"},"Action":"kms:*","Resource":"*"}`, policy.Outcome{Matched: true}},
	}
	for name, tt := range tests {
		text := document(tt.text)
		if _, err := policy.Parse(text, policy.Options{Type: tt.t}); err == nil {
			t.Errorf("%s: is valid for new documents", name)
		}
		p, err := policy.Parse(text, policy.Options{Type: tt.t, Stored: true})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		r := app()
		r.Context = policy.Values{}
		result := p.Evaluate(r, nil)
		if len(result.Statements) != 1 || result.Statements[0] != tt.outcome {
			t.Errorf("%s: %+v, want %+v", name, result.Statements, tt.outcome)
		}
		if v := p.Verdict(r); v.Allow != result.Allow || v.Deny != result.Deny || v.AllowedBy != result.AllowedBy {
			t.Errorf("%s: verdict %+v, evaluation %+v", name, v, result)
		}
	}
}

// TestJSON holds what is a JSON text here, in a document's Id.
func TestJSON(t *testing.T) {
	tests := map[string]struct {
		id string
		ok bool
	}{
		`"plain"`:                       {"plain", true},
		`"\"\\\/\b\f\n\r\t"`:            {"\"\\/\b\f\n\r\t", true},
		`"\u0041\u00e9\u20ac"`:          {"Aé€", true},
		`"\uD83D\uDE00 \ud83d\ude00"`:   {"😀 😀", true},
		`"before\u0020after"`:           {"before after", true},
		`"é€😀"`:                         {"é€😀", true},
		`"\ufffd"`:                      {"\ufffd", true},
		`"` + "\u2028" + `"`:            {"\u2028", true},
		`"\uD83D"`:                      {},
		`"\uD83D\u0041"`:                {},
		`"\uDE00\uD83D"`:                {},
		`"\uD83Dx"`:                     {},
		`"\u00g0"`:                      {},
		`"\u00`:                         {},
		`"\x41"`:                        {},
		`"\`:                            {},
		`"`:                             {},
		"\"tab\tin it\"":                {},
		"\"line\nbreak\"":               {},
		"\"\x00\"":                      {},
		"\"\xff\"":                      {},
		"\"\xc0\x80\"":                  {},
		"\"\xed\xa0\x80\"":              {},
		`'single'`:                      {},
		`unquoted`:                      {},
		`"a" "b"`:                       {},
		`"a",`:                          {},
		`/* comment */ "a"`:             {},
		`01`:                            {},
		`tru`:                           {},
		`[1,]`:                          {},
		`[1 2]`:                         {},
		`{"a":1,}`:                      {},
		`{"a" 1}`:                       {},
		`{a:1}`:                         {},
		`-`:                             {},
		`1.`:                            {},
		`1e`:                            {},
		`.5`:                            {},
		`+1`:                            {},
		`NaN`:                           {},
		`{` + members(40) + `,"m17":1}`: {},
	}
	for text, want := range tests {
		whole := `{"Id":` + text + `,"Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`
		p, err := policy.Parse(whole, policy.Options{Type: policy.Identity})
		switch {
		case (err == nil) != want.ok:
			t.Errorf("Id %s: %v", text, err)
		case err == nil && p.ID() != want.id:
			t.Errorf("Id %s is %q, want %q", text, p.ID(), want.id)
		}
	}
}

func members(n int) string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf(`"m%d":1`, i))
	}
	return strings.Join(all, ",")
}

func TestSize(t *testing.T) {
	for text, want := range map[string]int{
		"":                               0,
		"{ \"a b\" :\n\t[ 1 , 2 ] }\r\n": len(`{"a b":[1,2]}`),
		`{"a\" b": "c" }`:                len(`{"a\" b":"c"}`),
		`"é "`:                           4,
	} {
		if got := policy.Size(text); got != want {
			t.Errorf("Size(%q) = %d, want %d", text, got, want)
		}
	}
}

// TestParseHuge holds that documents as large as they may be are read soon.
func TestParseHuge(t *testing.T) {
	fill := func(head, unit, tail string) string {
		return head + strings.Repeat(unit, (policy.MaxBytes-len(head)-len(tail))/len(unit)) + tail
	}
	statement := `{"Effect":"Allow","Principal":"*","Action":"kms:*","Resource":"*"}`
	for name, text := range map[string]string{
		"open lists":     fill("", "[", ""),
		"open objects":   fill("", `{"a":`, ""),
		"statements":     fill(`{"Statement":[`+statement, ","+statement, "]}"),
		"actions":        fill(`{"Statement":{"Effect":"Allow","Principal":"*","Resource":"*","Action":["a:b"`, `,"a:*b?"`, `]}}`),
		"principals":     fill(`{"Statement":{"Effect":"Allow","Resource":"*","Action":"a:b","Principal":{"AWS":["*"`, `,"111122223333"`, `]}}}`),
		"values":         fill(`{"Statement":{"Effect":"Allow","Principal":"*","Resource":"*","Action":"a:b","Condition":{"StringLike":{"a:b":["*"`, `,"*a*?"`, `]}}}}`),
		"one pattern":    fill(`{"Statement":{"Effect":"Allow","Principal":"*","Resource":"*","Action":"a:b","Condition":{"StringLike":{"a:b":"`, `*?a`, `"}}}}`),
		"a long segment": fill(`{"Statement":{"Effect":"Allow","Principal":"*","Resource":"*","Action":"a:b","Condition":{"StringLike":{"a:b":"*`, `?a`, `*"}}}}`),
		"variables":      fill(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":"*","Resource":"*","Action":"a:b","Condition":{"StringLike":{"a:b":"*`, `${a`, `*"}}}}`),
		"escapes":        fill(`{"Id":"`, `\u0041`, `","Statement":`+statement+`}`),
	} {
		p, err := policy.Parse(text, policy.Options{Type: policy.KeyPolicy})
		if strings.HasPrefix(name, "open") {
			if err == nil {
				t.Errorf("%s: was accepted", name)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		r := app()
		r.Action, r.Context = "a:b", policy.Values{"a:b": policy.String(strings.Repeat("a", 8192))}
		p.Evaluate(r, nil)
	}
}
