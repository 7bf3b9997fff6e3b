package main_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	apigen "github.com/keyreeve/keyreeve/tools/apigen"
)

type message interface {
	DecodeJSON(b []byte) error
	AppendJSON(b []byte) []byte
}

type (
	input  = message
	output = message
)

type operation struct {
	name   string
	input  func() input
	output func() output
}

// TestSnapshots sends the requests and answers that the Go SDK keeps for its
// own tests, one full message for each operation, through our codec.
func TestSnapshots(t *testing.T) {
	dir, err := apigen.ModuleDir(apigen.ModelModule)
	if err != nil {
		t.Fatal(err)
	}
	if len(operations) != 56 {
		t.Fatalf("%d operations, want 56", len(operations))
	}
	for _, op := range operations {
		for path, m := range map[string]message{
			"request_snapshot/" + op.name + ".request.snap":   op.input(),
			"response_snapshot/" + op.name + ".response.snap": op.output(),
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
