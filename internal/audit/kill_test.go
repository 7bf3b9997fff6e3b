package audit_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/keyreeve/keyreeve/internal/audit"
	"github.com/keyreeve/keyreeve/internal/call"
)

// These make the test binary the child of TestKill, and of TestKillDuringChanges.
const (
	childDir     = "AUDIT_TEST_CHILD_DIR"
	childChanges = "AUDIT_TEST_CHILD_CHANGES"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		appendForEver(dir)
	}
	if dir := os.Getenv(childChanges); dir != "" {
		changeForEver(dir)
	}
	os.Exit(m.Run())
}

// appendForEver appends with 8 goroutines and prints the id of each record
// that was acknowledged.
func appendForEver(dir string) {
	l, err := audit.Open(dir, audit.Options{SegmentSize: 300_000})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("ready")
	var stdout sync.Mutex
	concurrently(8, func(worker int) {
		for i := 0; ; i++ {
			c := newCall()
			c.ID = fmt.Sprintf("%d-%d-%d", os.Getpid(), worker, i)
			if i%5 == 0 {
				c.Operation = createKey
			}
			if err := l.Append(c); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			stdout.Lock()
			fmt.Println(c.ID)
			stdout.Unlock()
		}
	})
}

// runUntilKilled runs the child that a variable with dir makes, kills it after a
// while, and gives the ids that it printed to acknowledged.
func runUntilKilled(t *testing.T, variable, dir string, round int, acknowledged func(id string)) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), variable+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	if !lines.Scan() || lines.Text() != "ready" {
		t.Fatalf("the child did not start: %q", lines.Text())
	}
	for n := 0; lines.Scan(); n++ {
		// The last line of a killed process may be cut off.
		if id := lines.Text(); strings.Count(id, "-") == 2 {
			acknowledged(id)
		}
		if n == 100+37*round {
			_ = cmd.Process.Kill()
		}
	}
	if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() == 1 {
		t.Fatalf("the child ended by itself: %v", err)
	}
}

// After SIGKILL every acknowledged record is there, and none is torn.
func TestKill(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	dir := t.TempDir()
	acknowledged := map[string]bool{}
	for round := range 5 {
		runUntilKilled(t, childDir, dir, round, func(id string) { acknowledged[id] = true })
	}
	l, err := audit.Open(dir, audit.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Append(&call.Call{ID: "last"}); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	there := map[string]int{}
	for _, id := range ids(t, dir) {
		there[id]++
	}
	for id := range acknowledged {
		// The child may have been killed while it printed an id, whose rest
		// is then missing; all others are whole.
		if there[id] != 1 {
			t.Errorf("record %s is there %d times", id, there[id])
		}
	}
	if len(acknowledged) < 100 || there["last"] != 1 {
		t.Errorf("%d acknowledged records: too few to show anything", len(acknowledged))
	}
	t.Logf("%d acknowledged, %d in %d segments", len(acknowledged), len(there), len(segments(t, dir)))
}
