package seal_test

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/keyreeve/keyreeve/internal/seal"
)

// TestMain also is the child processes of the tests below.
func TestMain(m *testing.M) {
	switch os.Getenv("SEAL_TEST_CHILD") {
	case "core":
		coreChild()
	case "limit":
		limitChild()
	case "":
		os.Exit(m.Run())
	}
	os.Exit(0)
}

func child(t *testing.T, name string) string {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "SEAL_TEST_CHILD="+name)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s", err, out.Bytes())
	}
	return strings.TrimSpace(out.String())
}

func coreChild() {
	// A limit above zero first, where that may be had.
	_ = unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{Cur: 1 << 20, Max: 1 << 20})
	err := seal.DisableCoreDumps()
	var limit unix.Rlimit
	limitErr := unix.Getrlimit(unix.RLIMIT_CORE, &limit)
	dumpable, prctlErr := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	fmt.Println(err, limitErr, prctlErr, limit.Cur, limit.Max, dumpable)
}

func TestDisableCoreDumps(t *testing.T) {
	if got, want := child(t, "core"), "<nil> <nil> <nil> 0 0 0"; got != want {
		t.Errorf("errors, core limits, dumpable = %s, want %s", got, want)
	}
}

// limitChild has no right to lock memory.
func limitChild() {
	runtime.LockOSThread()
	if err := unix.Setrlimit(unix.RLIMIT_MEMLOCK, &unix.Rlimit{}); err != nil {
		fmt.Println("skip", err)
		return
	}
	// Root may lock regardless of the limit; take that right away.
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capset(&header, &data[0]); err != nil {
		fmt.Println("skip", err)
		return
	}
	_, err := seal.NewArena(seal.ArenaOptions{Size: 1, Required: true})
	fmt.Println(err != nil && strings.HasPrefix(err.Error(), seal.ErrNotLocked.Error()))
	a, err := seal.NewArena(seal.ArenaOptions{Size: 1})
	if err != nil {
		fmt.Println(err)
		return
	}
	s, err := a.Get()
	fmt.Println(err, a.Locked(), len(s.Bytes()))
}

func TestArenaLimit(t *testing.T) {
	got := child(t, "limit")
	if strings.HasPrefix(got, "skip") {
		t.Skip(got)
	}
	if want := "true\n<nil> false 64"; got != want {
		t.Errorf("required refused; try = %q, want %q", got, want)
	}
}

// TestArenaMapping reads back how the kernel holds a slot's memory.
func TestArenaMapping(t *testing.T) {
	a, err := seal.NewArena(seal.ArenaOptions{Size: 128 << 10})
	if err != nil {
		t.Fatal(err)
	}
	if !a.Locked() {
		t.Skip("this machine locks no memory")
	}
	s, err := a.Get()
	if err != nil {
		t.Fatal(err)
	}
	at := uint64(uintptr(unsafe.Pointer(&s.Bytes()[0])))
	f, err := os.Open("/proc/self/smaps")
	if err != nil {
		t.Skip(err)
	}
	defer f.Close()
	var in bool
	var before, perms, flags string
	var from, to uint64
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var lo, hi uint64
		var p string
		if n, _ := fmt.Sscanf(lines.Text(), "%x-%x %s", &lo, &hi, &p); n == 3 {
			if in = lo <= at && at < hi; in {
				from, to, perms = lo, hi, p
			} else if from == 0 {
				before = p
			}
		}
		if rest, ok := strings.CutPrefix(lines.Text(), "VmFlags:"); ok && in {
			flags = rest + " "
		}
	}
	if perms != "rw-p" || to-from != 64<<10 || before != "---p" {
		t.Errorf("mapping of %d bytes is %s, the one before it %s, want 65536, rw-p, ---p", to-from, perms, before)
	}
	for _, flag := range []string{"lo", "dd", "dc"} { // locked, not dumped, not copied on fork
		if !strings.Contains(flags, " "+flag+" ") {
			t.Errorf("VmFlags are %q, without %q", flags, flag)
		}
	}
}
