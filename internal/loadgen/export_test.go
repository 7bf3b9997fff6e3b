package loadgen

import "time"

// Histogram is the histogram of a run.
type Histogram struct{ histogram }

// Add counts a duration.
func (h *Histogram) Add(d time.Duration) { h.add(d) }

// Merge counts all that o has counted.
func (h *Histogram) Merge(o *Histogram) { h.merge(&o.histogram) }

// Quantile returns a quantile.
func (h *Histogram) Quantile(q float64) time.Duration { return h.quantile(q) }

// Bucket and Upper are the arithmetic of the histogram.
var (
	Bucket = bucket
	Upper  = upper
	Median = median
)
