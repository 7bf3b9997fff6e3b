package cases_test

import (
	"encoding/json"
	"os"
	"strconv"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	lastCase = 146

	endpoint = "the call comes through a VPC endpoint"
	service  = "a service makes the call"
)

// elsewhere are the cases that cannot come through the door, with the reason.
// They are decided in internal/explain, by the same evaluator.
var elsewhere = map[int]string{
	28: service,
	34: endpoint, 35: endpoint, 36: endpoint, 37: endpoint, 38: endpoint, 39: endpoint,
	41: endpoint, 42: endpoint, 43: endpoint, 44: endpoint, 45: endpoint, 46: endpoint,
	49: service,
	51: endpoint, 52: endpoint, 53: endpoint, 55: endpoint, 56: endpoint,
	58: service, 60: service, 61: service, 62: service, 63: service, 64: service, 65: service,
	71: endpoint,
}

// TestEveryCase holds that each case is run here or listed with a reason, and
// not both.
func TestEveryCase(t *testing.T) {
	t.Parallel()
	run := make(map[int]bool)
	for _, s := range scenarios {
		for _, c := range s.checks {
			run[c.number] = true
		}
		for _, number := range s.cases {
			run[number] = true
		}
	}
	for number := 1; number <= lastCase; number++ {
		reason, listed := elsewhere[number]
		switch {
		case run[number] && listed:
			t.Errorf("case %d is run, and listed as one that cannot be: %s", number, reason)
		case !run[number] && !listed:
			t.Errorf("case %d is neither run nor listed", number)
		case listed && reason == "":
			t.Errorf("case %d is listed without a reason", number)
		}
		delete(run, number)
	}
	for number := range run {
		t.Errorf("there is no case %d", number)
	}
}

// TestElsewhere holds that what is not run here is decided by the evaluator
// itself.
func TestElsewhere(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../explain/testdata/cases.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	decided := make(map[int]bool)
	for line := range strings.Lines(string(text)) {
		var c struct {
			ID string `json:"id"`
		}
		if err := json.Unmarshal([]byte(line), &c); err != nil {
			continue // white space, or a comment
		}
		if number, err := strconv.Atoi(strings.TrimRight(c.ID, "abcdefghijklmnopqrstuvwxyz")); err == nil {
			decided[number] = true
		}
	}
	for number, reason := range elsewhere {
		if !decided[number] {
			t.Errorf("case %d (%s) is decided nowhere", number, reason)
		}
	}
}

// TestCases makes the calls of every scenario on a node of its own.
func TestCases(t *testing.T) {
	t.Parallel()
	for _, s := range scenarios {
		t.Run(s.about, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, s.seed, s.options...)
			s.make(w)
			for _, c := range s.checks {
				w.run(t, &c)
			}
			if s.more != nil {
				s.more(t, w)
			}
		})
	}
}
