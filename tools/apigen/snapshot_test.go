package main_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/keyreeve/keyreeve/internal/api/kmsapi"
	apigen "github.com/keyreeve/keyreeve/tools/apigen"
)

// TestSnapshots sends the requests and answers that the Go SDK keeps for its
// own tests, one full message for each operation, through our codec.
func TestSnapshots(t *testing.T) {
	dir, err := apigen.ModuleDir(apigen.ModelModule)
	if err != nil {
		t.Fatal(err)
	}
	if len(kmsapi.Messages()) != 56 {
		t.Fatalf("%d operations, want 56", len(kmsapi.Messages()))
	}
	for _, op := range kmsapi.Messages() {
		for path, m := range map[string]kmsapi.Message{
			"request_snapshot/" + op.Name + ".request.snap":   op.Input(),
			"response_snapshot/" + op.Name + ".response.snap": op.Output(),
		} {
			text, err := os.ReadFile(filepath.Join(dir, path))
			if err != nil {
				t.Error(err)
				continue
			}
			// A status or request line, headers, an empty line, and one JSON object.
			body := text[max(bytes.IndexByte(text, '{'), 0):]
			if err := m.DecodeJSON(body); err != nil {
				t.Errorf("%s: %v", path, err)
				continue
			}
			var want, got any
			ours := m.AppendJSON(nil)
			if len(ours) == 0 { // an operation without an output; SDKs read both alike
				ours = []byte("{}")
			}
			if err := json.Unmarshal(body, &want); err != nil {
				t.Errorf("%s: %v", path, err)
			}
			if err := json.Unmarshal(ours, &got); err != nil {
				t.Errorf("%s: %v", path, err)
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("%s:\n got %s\nwant %s", path, ours, body)
			}
		}
	}
}
