package accountapi_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/keyreeve/keyreeve/internal/api/accountapi"
	"github.com/keyreeve/keyreeve/internal/wire"
)

// FuzzDecode decodes a body as the input and the output of every operation. What
// was decoded encodes to a body that means the same, and can be recorded.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"AccountId":"123456789012","RegionName":"eu-central-1"}`))
	f.Add([]byte(`{"MaxResults":50,"NextToken":"","RegionOptStatusContains":["ENABLED",null,"x"]}`))
	f.Add([]byte(`{"Regions":[{"RegionName":"a","RegionOptStatus":"ENABLED_BY_DEFAULT"},null,{}],"NextToken":"t"}`))
	f.Add([]byte(`{"RegionName":"eu-west-1","RegionOptStatus":"ENABLING","More":[{"a":[1e400]}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, op := range accountapi.Messages() {
			for _, make := range []func() accountapi.Message{
				func() accountapi.Message { return op.Input() },
				func() accountapi.Message { return op.Output() },
			} {
				m := make()
				if err := m.DecodeJSON(body); err != nil {
					if wire.AsError(err).Code != "SerializationException" {
						t.Fatalf("%s: %v", op.Name, err)
					}
					continue
				}
				once := m.AppendJSON(nil)
				again := make()
				if err := again.DecodeJSON(once); err != nil {
					t.Fatalf("%s: %s: %v", op.Name, once, err)
				}
				if twice := again.AppendJSON(nil); !bytes.Equal(once, twice) {
					t.Fatalf("%s: %s became %s", op.Name, once, twice)
				}
				if b := m.AppendAudit(nil); !json.Valid(b) {
					t.Fatalf("%s: recorded as %q", op.Name, b)
				}
				if in, ok := m.(accountapi.Input); ok {
					if err := in.Validate(); err != nil && wire.AsError(err).Code != "ValidationException" {
						t.Fatalf("%s: %v", op.Name, err)
					}
				}
			}
		}
	})
}
