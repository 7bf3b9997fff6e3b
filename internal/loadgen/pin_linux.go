package loadgen

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// twoCores returns the cores for the server and the client; false if this
// process may not use two.
func twoCores() (server, client int, ok bool) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil || set.Count() < 2 {
		return 0, 0, false
	}
	var cores []int
	for cpu := 0; len(cores) < set.Count() && cpu < 8*len(set)*8; cpu++ {
		if set.IsSet(cpu) {
			cores = append(cores, cpu)
		}
	}
	// The first core is where most interrupts go; those are the client's.
	return cores[1], cores[0], true
}

func coreSet(cpus ...int) *unix.CPUSet {
	var set unix.CPUSet
	for _, cpu := range cpus {
		set.Set(cpu)
	}
	return &set
}

// pinSelf keeps all threads of this process on one core until undo is called.
func pinSelf(cpu int) (undo func(), err error) {
	var before unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		return nil, fmt.Errorf("reading CPU affinity: %w", err)
	}
	if err := pinThreads(os.Getpid(), coreSet(cpu)); err != nil {
		return nil, err
	}
	procs := runtime.GOMAXPROCS(1)
	return func() {
		runtime.GOMAXPROCS(procs)
		_ = pinThreads(os.Getpid(), &before) // they were allowed that before
	}, nil
}

// pinThreads moves all threads of a process to some cores.
func pinThreads(pid int, set *unix.CPUSet) error {
	// New threads inherit from the one that makes them, so that after a pass
	// that finds none anew all are pinned.
	pinned := map[string]bool{}
	for again := true; again; {
		again = false
		tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/[0-9]*", pid))
		if err != nil || len(tasks) == 0 {
			return fmt.Errorf("no process %d", pid)
		}
		for _, task := range tasks {
			if pinned[task] {
				continue
			}
			tid, err := strconv.Atoi(filepath.Base(task))
			if err != nil {
				return err
			}
			if err := unix.SchedSetaffinity(tid, set); err != nil && !errors.Is(err, unix.ESRCH) {
				return fmt.Errorf("pinning process %d: %w", pid, err)
			}
			pinned[task], again = true, true
		}
	}
	return nil
}

// startPinned starts cmd on one core, so that its Go runtime knows of no more.
func startPinned(cmd *exec.Cmd, cpu int) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		return fmt.Errorf("reading CPU affinity: %w", err)
	}
	if err := unix.SchedSetaffinity(0, coreSet(cpu)); err != nil {
		return fmt.Errorf("pinning to core %d: %w", cpu, err)
	}
	err := cmd.Start()
	return errors.Join(err, unix.SchedSetaffinity(0, &before))
}

// pinProcess keeps a running process on one core.
func pinProcess(pid, cpu int) error { return pinThreads(pid, coreSet(cpu)) }

// onCore runs f on a core, and nothing else of this process with it.
func onCore(cpu int, f func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		return fmt.Errorf("reading CPU affinity: %w", err)
	}
	if err := unix.SchedSetaffinity(0, coreSet(cpu)); err != nil {
		return fmt.Errorf("moving to core %d: %w", cpu, err)
	}
	return errors.Join(f(), unix.SchedSetaffinity(0, &before))
}
