package stsapi_test

import (
	"encoding/json"
	"testing"

	"github.com/keyreeve/keyreeve/internal/api/stsapi"
	"github.com/keyreeve/keyreeve/internal/wire"
)

// FuzzDecodeQuery decodes a form as the input of every operation. Whatever it
// holds, it is refused in the API's terms, or can be recorded.
func FuzzDecodeQuery(f *testing.F) {
	f.Add([]byte("RoleArn=arn&RoleSessionName=s&PolicyArns.member.1.arn=a&Tags.member.1.Key=k&Tags.member.1.Value=v&TransitiveTagKeys.member.1=k"))
	f.Add([]byte("Name=bob&DurationSeconds=900&Policy={}&ProvidedContexts.member.1.ProviderArn=x&TokenCode=123456"))
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, op := range stsapi.Messages() {
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
