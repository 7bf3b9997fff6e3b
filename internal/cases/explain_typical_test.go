//go:build !race

package cases_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/keyreeve/keyreeve/internal/api/keyreeveapi"
	"github.com/keyreeve/keyreeve/kmstest"
)

// Of typical denials, the changes that are proposed allow the call when they are
// made, each of them is needed, and they change nothing else.
func TestExplainTypicalDenials(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "", kmstest.Region(region))
	setUpTypicals(w)
	if len(typicals) < 30 {
		t.Errorf("%d denials", len(typicals))
	}
	for i := range typicals {
		c := &typicals[i]
		status, id := w.do(c)
		if status == http.StatusOK {
			t.Errorf("%s: allowed", c.name)
			continue
		}
		out, text := w.explain("admin", keyreeveapi.ExplainInput{RequestID: id})
		if out == nil {
			t.Errorf("%s: %s", c.name, text)
			continue
		}
		var layers []string
		wider := ""
		for _, change := range out.Changes {
			layers = append(layers, change.Layer)
			wider += change.Wider
		}
		if got := strings.Join(layers, " "); out.Decision != keyreeveapi.Denied || got != c.layers || !out.Complete || wider != "" || !strings.Contains(text, w.fill(c.contains)) || len(out.Denial.Changed) > 0 {
			t.Errorf("%s: %s, changes of %q, complete %v, wider %q, changed %v, want %q with %s\n%s", c.name, out.Decision, got, out.Complete, wider, out.Denial.Changed, c.layers, w.fill(c.contains), text)
			continue
		}
		before := w.probes(t, c, out)
		for j := range out.Changes {
			if j > 0 {
				if status, _ := w.do(c); status == http.StatusOK {
					t.Errorf("%s: change %d is not needed", c.name, j+1)
				}
			}
			w.apply(t, 10*i+j, &out.Changes[j])
		}
		for j, verdict := range w.probes(t, c, out) {
			if verdict != before[j] {
				t.Errorf("%s: before %s, then %s\n%s", c.name, before[j], verdict, text)
			}
		}
		if status, again := w.do(c); status != http.StatusOK {
			told, text := w.explain("admin", keyreeveapi.ExplainInput{RequestID: again})
			t.Errorf("%s: still denied: %+v %s", c.name, told, text)
			continue
		}
		// What was denied is told again, with what has changed since.
		if told, text := w.explain("admin", keyreeveapi.ExplainInput{RequestID: id}); told == nil || told.Decision != keyreeveapi.Allowed || len(told.Denial.Changed) == 0 || told.Denial.Text != out.Denial.Text {
			t.Errorf("%s: afterwards %s", c.name, text)
		}
	}
}
