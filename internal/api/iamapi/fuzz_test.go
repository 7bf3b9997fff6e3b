package iamapi_test

import (
	"encoding/json"
	"testing"

	"github.com/keyreeve/keyreeve/internal/api/iamapi"
	"github.com/keyreeve/keyreeve/internal/wire"
)

// FuzzDecodeQuery decodes a form as the input of every operation. Whatever it
// holds, it is refused in the API's terms, or can be recorded.
func FuzzDecodeQuery(f *testing.F) {
	f.Add([]byte("UserName=a&Path=/&Tags.member.1.Key=k&Tags.member.1.Value=&PermissionsBoundary=arn"))
	f.Add([]byte("RoleName=%c3%a9&AssumeRolePolicyDocument={}&MaxSessionDuration=3600&Description="))
	f.Add([]byte("PolicyArn=arn&TagKeys.member.2=b&TagKeys.member.1=&MaxItems=-1&Scope=x&OnlyAttached=true&SetAsDefault=yes"))
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, op := range iamapi.Messages() {
			in := op.Input()
			q := wire.NewQuery(body)
			if err := in.DecodeQuery(&q); err != nil {
				if code := wire.AsError(err).Code; code != "MalformedInput" && code != "MalformedQueryString" {
					t.Fatalf("%s: %v", op.Name, err)
				}
				continue
			}
			if err := in.Validate(); err != nil && wire.AsError(err).Code != "ValidationError" {
				t.Fatalf("%s: %v", op.Name, err)
			}
			if b := in.AppendAudit(nil); !json.Valid(b) {
				t.Fatalf("%s: recorded as %q", op.Name, b)
			}
		}
	})
}
