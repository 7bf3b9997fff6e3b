package seal_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/keyreeve/keyreeve/internal/seal"
	"github.com/keyreeve/keyreeve/internal/store"
)

func TestMarker(t *testing.T) {
	b := open(t, store.NewMem(), seal.Memory())
	const last = "the last item"
	marker, err := b.Marker(last, "ListThings", "111122223333", "")
	if err != nil || marker == "" || strings.ContainsAny(marker, "+/=") || strings.Contains(marker, last) {
		t.Fatalf("Marker = %q, %v", marker, err)
	}
	if got, err := b.Resume(marker, "ListThings", "111122223333", ""); got != last || err != nil {
		t.Errorf("Resume = %q, %v", got, err)
	}
	if again, err := b.Marker(last, "ListThings", "111122223333", ""); err != nil || again == marker {
		t.Errorf("two markers of one place are the same: %q, %v", again, err)
	}
	token, err := b.Seal(seal.Tokens, []byte("marker of something else"), []byte(last))
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		marker string
		scope  []string
	}{
		"another operation":   {marker, []string{"ListOthers", "111122223333", ""}},
		"another account":     {marker, []string{"ListThings", "444455556666", ""}},
		"another filter":      {marker, []string{"ListThings", "111122223333", "a"}},
		"another division":    {marker, []string{"ListThings111122223333", "", ""}},
		"fewer parts":         {marker, []string{"ListThings", "111122223333"}},
		"no scope":            {marker, nil},
		"cut":                 {marker[:len(marker)-4], []string{"ListThings", "111122223333", ""}},
		"changed":             {marker[:len(marker)-4] + "AAAA", []string{"ListThings", "111122223333", ""}},
		"padded":              {marker + "=", []string{"ListThings", "111122223333", ""}},
		"with a line's end":   {marker + "\n", []string{"ListThings", "111122223333", ""}},
		"of another alphabet": {"+/+/", []string{"ListThings", "111122223333", ""}},
		"one letter":          {"A", []string{"ListThings", "111122223333", ""}},
		"another token":       {string(token), []string{"ListThings", "111122223333", ""}},
	} {
		if got, err := b.Resume(tt.marker, tt.scope...); got != "" || !errors.Is(err, seal.ErrMarker) {
			t.Errorf("%s: Resume = %q, %v, want ErrMarker", name, got, err)
		}
	}
	if got, err := b.Marker("", "ListThings"); got != "" || err != nil {
		t.Errorf("after nothing: %q, %v", got, err)
	}
	if got, err := b.Resume("", "ListThings"); got != "" || err != nil {
		t.Errorf("without a marker: %q, %v", got, err)
	}
	b.Lock()
	if _, err := b.Marker(last, "ListThings"); !errors.Is(err, seal.ErrSealed) {
		t.Errorf("Marker of a sealed Box: %v", err)
	}
	if _, err := b.Resume(marker, "ListThings", "111122223333", ""); !errors.Is(err, seal.ErrSealed) {
		t.Errorf("Resume of a sealed Box: %v", err)
	}
}
