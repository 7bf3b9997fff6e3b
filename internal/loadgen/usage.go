package loadgen

import "time"

// usage is a reading of the counters that a run is charged with.
type usage struct {
	self, server    time.Duration // CPU time, user and system
	rssKiB, peakKiB int64         // the server's
	jiffies, steal  int64         // the whole machine's
}
