package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// addConstraints adds what only aws-sdk-go v1 knows: lengths, ranges and
// patterns, and which members of an answer are required.
func (m *model) addConstraints(dir string) error {
	text, err := os.ReadFile(filepath.Join(dir, "models/apis/kms/2014-11-01/api-2.json"))
	if err != nil {
		return err
	}
	var api struct {
		Shapes map[string]struct {
			Type      string
			Min, Max  *int
			Pattern   string
			Sensitive bool
			Required  []string
		}
	}
	if err := json.Unmarshal(text, &api); err != nil {
		return fmt.Errorf("api-2.json: %w", err)
	}
	for name, old := range api.Shapes {
		s := m.shapes[name]
		if s == nil {
			return fmt.Errorf("shape %s is not in the current model", name)
		}
		s.limited = true
		s.min, s.max, s.pattern = old.Min, old.Max, old.Pattern
		s.sensitive = s.sensitive || old.Sensitive
		if m.isInput(s) {
			continue // the newer model knows better
		}
		for _, r := range old.Required {
			if mem := s.member(r); mem != nil {
				mem.required = true
			}
		}
	}
	return nil
}
