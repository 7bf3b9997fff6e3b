package node_test

import (
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/keyreeve/keyreeve/internal/node"
)

var metricName = regexp.MustCompile(`\bkeyreeve_[a-z0-9_]+`)

// What docs/operations.md tells of metrics is what there is.
func TestMetricsAreDocumented(t *testing.T) {
	r := run(t, configure(t.TempDir(), func(c *node.Config) { c.Quotas.Requests = true }))
	key := r.create(t, nil)
	r.must(t, "DescribeKey", object{"KeyId": key})
	r.refused(t, "DescribeKey", object{"KeyId": "alias/none"}, "NotFoundException")
	good := r.creds
	r.creds.AccessKeyID = "AKIA00000000000000NO"
	r.refused(t, "DescribeKey", object{"KeyId": key}, "UnrecognizedClientException")
	r.creds = good
	there := make(map[string]bool)
	for line := range strings.Lines(r.private(t, "/metrics", http.StatusOK)) {
		if name, ok := strings.CutPrefix(line, "# TYPE "); ok {
			if name, _, _ = strings.Cut(name, " "); strings.HasPrefix(name, "keyreeve_") {
				there[name] = true
			}
		}
	}
	// Of these there is nothing to tell yet.
	there["keyreeve_refused_requests_total"] = true
	text, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	told := make(map[string]bool)
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "| `keyreeve_") {
			for _, name := range metricName.FindAllString(strings.SplitN(line, "|", 3)[1], -1) {
				told[name] = true
			}
		}
	}
	if !maps.Equal(there, told) {
		t.Errorf("there are\n%v\ndocs/operations.md tells of\n%v", slices.Sorted(maps.Keys(there)), slices.Sorted(maps.Keys(told)))
	}
	// Whatever else names one names one that is there.
	for _, name := range metricName.FindAllString(string(text), -1) {
		if !there[name] {
			t.Errorf("docs/operations.md names %s, which there is not", name)
		}
	}
}

// A node tells what its trail does, also while it is sealed.
func TestAuditMetrics(t *testing.T) {
	r := run(t, configure(t.TempDir()))
	key := r.create(t, nil)
	r.must(t, "DescribeKey", object{"KeyId": key})
	for name, want := range map[string]string{
		`keyreeve_audit_refusing{reason="failing"}`:      "0",
		`keyreeve_audit_refusing{reason="reserve"}`:      "0",
		`keyreeve_audit_damage{part="journal"}`:          "0",
		`keyreeve_audit_damage{part="archive"}`:          "0",
		`keyreeve_audit_unsettled`:                       "0",
		`keyreeve_audit_delivered_total{what="records"}`: "0",
		`keyreeve_trails{sink="s3"}`:                     "0",
		`keyreeve_trail_lag_seconds{sink="syslog"}`:      "0",
	} {
		if got := r.metric(t, name); got != want {
			t.Errorf("%s is %q, want %s", name, got, want)
		}
	}
	if got := r.metric(t, "keyreeve_audit_journal_bytes"); got == "0" || got == "" {
		t.Errorf("the journal has %q bytes", got)
	}
	if got := r.metric(t, "keyreeve_audit_journal_oldest_timestamp_seconds"); got == "0" || got == "" {
		t.Errorf("the oldest record is of %q", got)
	}
	if err := r.Deliver(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "records are delivered", func() bool {
		return r.metric(t, `keyreeve_audit_delivered_total{what="records"}`) != "0" && r.metric(t, "keyreeve_audit_index_events") != "0"
	})
	// A node that has nothing to do must not look like one that doesn't deliver.
	for _, name := range []string{"keyreeve_audit_journal_bytes", "keyreeve_audit_journal_oldest_timestamp_seconds"} {
		if got := r.metric(t, name); got != "0" {
			t.Errorf("all is delivered, and %s is %q", name, got)
		}
	}
	if err := r.control().Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := r.metric(t, "keyreeve_audit_unsettled"); got != "0" {
		t.Errorf("sealed, keyreeve_audit_unsettled is %q", got)
	}
	if got := r.metric(t, `keyreeve_trails{sink="s3"}`); got != "" {
		t.Errorf("sealed, there are %q trails", got)
	}
}
