//go:build linux || darwin

package archive_test

import (
	"syscall"
	"time"
)

// cpuTime returns the CPU time that this process has had, as user and in the
// system.
func cpuTime() (user, system time.Duration) {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0, 0
	}
	return time.Duration(u.Utime.Nano()), time.Duration(u.Stime.Nano())
}
