package stsapi_test

import (
	"strings"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/api/stsapi"
	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/internal/wire"
)

func TestOperations(t *testing.T) {
	ops := stsapi.Operations(struct{ stsapi.Handler }{})
	if len(ops) != 6 {
		t.Errorf("%d operations, want 6", len(ops))
	}
	for name, op := range ops {
		if op.Name != name || op.Service != "sts" || op.EventSource != "sts.amazonaws.com" || !op.ReadOnly || !stsapi.ReadOnly(name) {
			t.Errorf("%s: %+v", name, op)
		}
	}
	if !stsapi.ReadOnly("AssumeRoleWithSAML") || stsapi.ReadOnly("SetContext") {
		t.Error("ReadOnly of operations that are not routed")
	}
}

// TestRecord: neither the code of an MFA device nor what a session is used with
// is recorded, nor what a provider has asserted of its user.
func TestRecord(t *testing.T) {
	var in stsapi.GetSessionTokenInput
	q := wire.NewQuery([]byte("SerialNumber=GAHT12345678&TokenCode=123456&DurationSeconds=900"))
	if err := in.DecodeQuery(&q); err != nil || in.TokenCode != "123456" {
		t.Fatal(err)
	}
	if got := string(in.AppendAudit(nil)); got != `{"durationSeconds":900,"serialNumber":"GAHT12345678"}` {
		t.Errorf("requestParameters = %s", got)
	}
	var assume stsapi.AssumeRoleInput
	q = wire.NewQuery([]byte("RoleArn=arn:aws:iam::111122223333:role/r&RoleSessionName=s&ProvidedContexts.member.1.ProviderArn=arn:aws:iam::aws:contextProvider/p&ProvidedContexts.member.1.ContextAssertion=hush"))
	if err := assume.DecodeQuery(&q); err != nil {
		t.Fatal(err)
	}
	if got := string(assume.AppendAudit(nil)); strings.Contains(got, "hush") || !strings.Contains(got, `{"providerArn":"arn:aws:iam::aws:contextProvider/p","contextAssertion":"HIDDEN_DUE_TO_SECURITY_REASONS"}`) {
		t.Errorf("requestParameters of a session with a context = %s", got)
	}
	out := stsapi.GetSessionTokenOutput{Credentials: &stsapi.Credentials{
		AccessKeyID: "ASIA", SecretAccessKey: secret.New([]byte("hush")), SessionToken: secret.New([]byte("hush")),
		Expiration: time.Date(2022, 8, 10, 22, 38, 27, 0, time.UTC),
	}}
	if got := string(out.AppendAudit(nil)); got != `{"credentials":{"accessKeyId":"ASIA","sessionToken":"HIDDEN_DUE_TO_SECURITY_REASONS","expiration":"Aug 10, 2022, 10:38:27 PM"}}` {
		t.Errorf("responseElements = %s", got)
	}
	if got := string(out.AppendXML(nil)); strings.Count(got, "hush") != 2 {
		t.Errorf("the answer is %s", got)
	}
}

func TestValidationTexts(t *testing.T) {
	const one = "1 validation error detected: "
	for _, c := range []struct {
		in   stsapi.Input
		body string
		want string
	}{
		{new(stsapi.GetCallerIdentityInput), "x=1", ""},
		{
			new(stsapi.AssumeRoleInput), "RoleArn=arn:aws:iam::111122223333:role/r&RoleSessionName=Session1:2",
			one + `Value 'Session1:2' at 'roleSessionName' failed to satisfy constraint: Member must satisfy regular expression pattern: [\w+=,.@-]*`,
		},
		{
			new(stsapi.AssumeRoleInput), "RoleSessionName=s1&RoleArn=arn:aws:iam::111122223333:role/r&TransitiveTagKeys.member.1=",
			one + `Value '[]' at 'transitiveTagKeys' failed to satisfy constraint: Member must satisfy constraint: [Member must have length less than or equal to 128, ` +
				`Member must have length greater than or equal to 1, Member must satisfy regular expression pattern: [\p{L}\p{Z}\p{N}_.:/=+\-@]+]`,
		},
		{
			new(stsapi.GetFederationTokenInput), "Name=bob&Policy=" + strings.Repeat("p", 2049),
			one + "Value '" + strings.Repeat("p", 1024) + "…' at 'policy' failed to satisfy constraint: Member must have length less than or equal to 2048",
		},
		{
			new(stsapi.GetAccessKeyInfoInput), "",
			one + "Value null at 'accessKeyId' failed to satisfy constraint: Member must not be null",
		},
	} {
		q := wire.NewQuery([]byte(c.body))
		if err := c.in.DecodeQuery(&q); err != nil {
			t.Errorf("%s: %v", c.body, err)
			continue
		}
		got := ""
		if err := c.in.Validate(); err != nil {
			got = wire.AsError(err).Message
		}
		if got != c.want {
			t.Errorf("%.60s: %q, want %q", c.body, got, c.want)
		}
	}
}
