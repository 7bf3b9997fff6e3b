package keyreeveapi_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/keyreeve/keyreeve/internal/api/keyreeveapi"
	"github.com/keyreeve/keyreeve/internal/wire"
)

// nobody runs no operation: only their names are wanted.
type nobody struct{ keyreeveapi.Handler }

func TestDecoders(t *testing.T) {
	for name := range keyreeveapi.Operations(nobody{}) {
		if keyreeveapi.Decoders[name] == nil {
			t.Errorf("the input of %s is not fuzzed", name)
		}
	}
}

// FuzzDecode decodes a body as the input of every operation. What was decoded
// encodes to a body that means the same, and can be recorded.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"Provider":"passphrase","Passphrase":"planted"}`))
	f.Add([]byte(`{"Provider":"file","Provider":null,"Passphrase":"planted","Passphrase":1}`))
	f.Add([]byte(`{"Principal":"arn:aws:iam::111122223333:user/a","Account":"111122223333","Before":1.5e9}`))
	f.Add([]byte(`{"Before":-1e308,"Account":""}`))
	f.Add([]byte(`{"RequestId":"1234abcd-12ab-34cd-56ef-1234567890ab","Message":"","Cases":{"a":[{}]}}`))
	f.Add([]byte(`{"Account":"111122223333","EventName":"Decrypt","ReadOnly":true,"StartTime":1.5e9,"EndTime":0,"MaxResults":50,"NextToken":"x"}`))
	f.Add([]byte(`{"VerifyJournal":true,"NextToken":"x"}`))
	f.Add([]byte(`{"Cursor":"x","Wait":20,"MaxResults":-1,"ReadOnly":null}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		for name, decode := range keyreeveapi.Decoders {
			in, known, err := decode(body)
			if err != nil {
				if wire.AsError(err).Code != "SerializationException" {
					t.Fatalf("%s: %v", name, err)
				}
				continue
			}
			record := in.AppendAudit(nil)
			if !json.Valid(record) {
				t.Fatalf("%s: recorded as %q", name, record)
			}
			if err := in.Validate(); err != nil {
				if wire.AsError(err).Code != "ValidationException" {
					t.Fatalf("%s: %v", name, err)
				}
				continue
			}
			once := in.(interface{ AppendJSON([]byte) []byte }).AppendJSON(nil)
			if once == nil || !known {
				continue
			}
			again, known, err := decode(once)
			if err != nil || !known {
				t.Fatalf("%s: %s became %s: all known %t, %v", name, body, once, known, err)
			}
			if twice := again.(interface{ AppendJSON([]byte) []byte }).AppendJSON(nil); !bytes.Equal(once, twice) {
				t.Fatalf("%s: %s became %s", name, once, twice)
			}
			if b := again.AppendAudit(nil); !bytes.Equal(b, record) {
				t.Fatalf("%s: %s is recorded as %s, and before as %s", name, once, b, record)
			}
			if err := again.Validate(); err != nil {
				t.Fatalf("%s: %s: %v", name, once, err)
			}
		}
	})
}
