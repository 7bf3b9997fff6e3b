package node

import (
	"time"

	"golang.org/x/sys/unix"
)

// uptime returns a clock that nobody can set, and that goes on while the
// machine is suspended, unlike Go's.
func uptime() func() time.Duration {
	return func() time.Duration {
		var t unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
			panic("node: CLOCK_BOOTTIME: " + err.Error()) // Linux has it since 2.6.39
		}
		return time.Duration(t.Nano())
	}
}
