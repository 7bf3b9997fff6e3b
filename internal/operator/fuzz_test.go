package operator_test

import (
	"encoding/json"
	"testing"

	"github.com/keyreeve/keyreeve/internal/operator"
)

// A command that is taken is JSON, and means what every reader of JSON takes it
// for.
func FuzzCommand(f *testing.F) {
	for _, line := range []string{
		`{"command":"status"}`, `{"command":"unseal","passphrase":"a \"b\" \u00fc\ud83d\ude00"}`, `{"command":"seal","command":"env"}`,
		`{"passphrase":"a","passphrase":"b","command":"unseal"}`, `{"command":null}`, `{"command":"x","y":[[{}]]}`, `{"command":"a"}{}`, "[]", "",
	} {
		f.Add([]byte(line))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		command, phrase, err := operator.ReadCommand(line)
		if err != nil {
			return
		}
		var want map[string]*string
		if err := json.Unmarshal(line, &want); err != nil {
			t.Fatalf("%q is taken: %v", line, err)
		}
		for name, value := range want {
			var got string
			switch name {
			case "command":
				got = command
			case "passphrase":
				got = string(phrase.Reveal())
			default:
				t.Fatalf("%q is taken, with a member %q", line, name)
			}
			if value != nil && got != *value || value == nil && got != "" {
				t.Errorf("%q: %s is %q", line, name, got)
			}
		}
	})
}
