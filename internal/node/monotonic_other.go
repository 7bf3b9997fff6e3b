//go:build !linux

package node

import "time"

// uptime returns a clock that nobody can set.
func uptime() func() time.Duration {
	begun := time.Now()
	return func() time.Duration { return time.Since(begun) }
}
