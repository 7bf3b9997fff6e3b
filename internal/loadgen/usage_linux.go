package loadgen

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// clockTick is the kernel's USER_HZ, 100 on every Linux that Go runs on.
const clockTick = time.Second / 100

func readUsage(t *Target) (usage, error) {
	var u usage
	var ru syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &ru); err != nil {
		return u, err
	}
	u.self = time.Duration(ru.Utime.Nano() + ru.Stime.Nano())
	u.jiffies, u.steal = machineJiffies()
	pids := t.PIDs
	if t.Descendants {
		pids = descendants(pids)
	}
	for _, pid := range pids {
		ticks, err := cpuTicks(pid)
		if err != nil {
			return u, fmt.Errorf("server process %d: %w", pid, err)
		}
		u.server += time.Duration(ticks) * clockTick
		rss, peak := memory(pid)
		u.rssKiB += rss
		u.peakKiB += peak
	}
	return u, nil
}

var errStat = errors.New("unexpected form of /proc/PID/stat")

// statFields are the fields of /proc/PID/stat after the command's name in
// parentheses, so that index 0 is field 3 of proc(5).
func statFields(pid int) ([][]byte, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil, err
	}
	i := bytes.LastIndexByte(b, ')')
	if i < 0 {
		return nil, errStat
	}
	f := bytes.Fields(b[i+1:])
	if len(f) < 15 {
		return nil, errStat
	}
	return f, nil
}

// cpuTicks returns the CPU time that all threads of a process have had.
func cpuTicks(pid int) (int64, error) {
	f, err := statFields(pid)
	if err != nil {
		return 0, err
	}
	user, err1 := strconv.ParseInt(string(f[11]), 10, 64)
	system, err2 := strconv.ParseInt(string(f[12]), 10, 64)
	return user + system, errors.Join(err1, err2)
}

func memory(pid int) (rssKiB, peakKiB int64) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, 0
	}
	for line := range bytes.Lines(b) {
		f := bytes.Fields(line)
		if len(f) < 2 {
			continue
		}
		switch string(f[0]) {
		case "VmRSS:":
			rssKiB, _ = strconv.ParseInt(string(f[1]), 10, 64)
		case "VmHWM:":
			peakKiB, _ = strconv.ParseInt(string(f[1]), 10, 64)
		}
	}
	return rssKiB, peakKiB
}

// descendants returns pids and all their living descendants.
func descendants(pids []int) []int {
	children := map[int][]int{}
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, d := range dirs {
		pid, err := strconv.Atoi(filepath.Base(d))
		if err != nil {
			continue
		}
		f, err := statFields(pid)
		if err != nil {
			continue // it ended meanwhile
		}
		if parent, err := strconv.Atoi(string(f[1])); err == nil {
			children[parent] = append(children[parent], pid)
		}
	}
	seen := map[int]bool{}
	var out []int
	var visit func(int)
	visit = func(pid int) {
		if seen[pid] {
			return
		}
		seen[pid] = true
		out = append(out, pid)
		for _, child := range children[pid] {
			visit(child)
		}
	}
	for _, pid := range pids {
		visit(pid)
	}
	return out
}

// machineJiffies reads the first line of /proc/stat: all time, and the time
// that the host of a virtual machine gave to others, a sign of a noisy one.
func machineJiffies() (total, steal int64) {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, 0
	}
	line, _, _ := bytes.Cut(b, []byte("\n"))
	for i, f := range bytes.Fields(line) {
		if i == 0 || i > 8 { // "cpu", and guest time, which is in user time
			continue
		}
		n, _ := strconv.ParseInt(string(f), 10, 64)
		total += n
		if i == 8 {
			steal = n
		}
	}
	return total, steal
}
