package kmsapi_test

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"

	"github.com/keyreeve/keyreeve/internal/wire"
)

// FuzzDecode decodes a body as the input and the output of an operation. What
// was decoded encodes to a body that means the same.
func FuzzDecode(f *testing.F) {
	for i, op := range operations {
		for _, m := range []message{op.Input(), op.Output()} {
			fill(reflect.ValueOf(m).Elem())
			f.Add(uint8(i), m.AppendJSON(nil))
		}
	}
	f.Add(uint8(7), []byte(`{"CiphertextBlob":"YQ==","KeyId":"","Recipient":{"KeyEncryptionAlgorithm":""},"Recipient":null}`))
	f.Add(uint8(5), []byte(`{"Tags":[{"TagKey":""},null,{}],"Description":"","Policy":"\u0000"}`))
	f.Add(uint8(4), []byte(`{"GranteePrincipal":"","Operations":["Decrypt",null,"x"],"Constraints":{"SourceArn":""}}`))
	f.Fuzz(func(t *testing.T, which uint8, body []byte) {
		op := operations[int(which)%len(operations)]
		for _, make := range []func() message{func() message { return op.Input() }, func() message { return op.Output() }} {
			m := make()
			if err := m.DecodeJSON(body); err != nil {
				if wire.AsError(err).Code != "SerializationException" {
					t.Fatalf("%s: %v", op.Name, err)
				}
				continue
			}
			once := m.AppendJSON(nil)
			if len(once) > 0 && !json.Valid(once) {
				t.Fatalf("%s: not JSON: %s", op.Name, once)
			}
			again := make()
			if err := again.DecodeJSON(once); err != nil {
				t.Fatalf("%s: %s: %v", op.Name, once, err)
			}
			if twice := again.AppendJSON(nil); !bytes.Equal(once, twice) {
				t.Fatalf("%s: %s became %s", op.Name, once, twice)
			}
			if !json.Valid(m.AppendAudit(nil)) {
				t.Fatalf("%s: audit form is not JSON: %s", op.Name, m.AppendAudit(nil))
			}
			if in, ok := m.(input); ok {
				first, second := in.Validate(), again.(input).Validate()
				if (first == nil) != (second == nil) || first != nil && first.Error() != second.Error() {
					t.Fatalf("%s: %s: %v, then %v", op.Name, once, first, second)
				}
				if first != nil && wire.AsError(first).Code != "ValidationException" {
					t.Fatalf("%s: %v", op.Name, first)
				}
			}
		}
	})
}
