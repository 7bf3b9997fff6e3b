package loadgen

import (
	"fmt"
	"strings"
	"time"
)

// Result is the figures of one run. Latencies and rates count operations that
// succeeded; CPU time is divided by all that were tried.
type Result struct {
	Label        string  `json:"label,omitempty"`
	Operation    string  `json:"operation"`
	Run          int     `json:"run"`
	Median       bool    `json:"median,omitempty"`
	Concurrency  int     `json:"concurrency"`
	Keys         int     `json:"keys,omitempty"`
	Seconds      float64 `json:"seconds"`
	Operations   uint64  `json:"operations"`
	Errors       int64   `json:"errors"`
	FirstError   string  `json:"first_error,omitempty"`
	Reconnects   int64   `json:"reconnects"`
	OpsPerSecond float64 `json:"ops_per_second"`

	// Latencies in microseconds, at most 1/64 too high.
	P50 float64 `json:"p50_us"`
	P95 float64 `json:"p95_us"`
	P99 float64 `json:"p99_us"`
	Max float64 `json:"max_us"`

	ClientCPU      float64 `json:"client_cpu_s"`
	ClientCPUPerOp float64 `json:"client_cpu_us_per_op"`
	ServerCPU      float64 `json:"server_cpu_s,omitempty"`
	ServerCPUPerOp float64 `json:"server_cpu_us_per_op,omitempty"`
	ServerCores    float64 `json:"server_cores,omitempty"` // busy on average
	ServerRSS      float64 `json:"server_rss_mib,omitempty"`
	ServerPeakRSS  float64 `json:"server_peak_rss_mib,omitempty"`
	Steal          float64 `json:"steal_percent"` // of the machine's time, taken by its host

	hasServer bool
}

func (r *Result) fill(h *histogram, before, after usage) {
	us := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }
	r.Operations = h.n
	r.OpsPerSecond = float64(h.n) / r.Seconds
	r.P50, r.P95, r.P99, r.Max = us(h.quantile(0.5)), us(h.quantile(0.95)), us(h.quantile(0.99)), us(h.max)

	tried := float64(max(1, int64(h.n)+r.Errors))
	r.ClientCPU = (after.self - before.self).Seconds()
	r.ClientCPUPerOp = r.ClientCPU * 1e6 / tried
	if r.hasServer {
		r.ServerCPU = (after.server - before.server).Seconds()
		r.ServerCPUPerOp = r.ServerCPU * 1e6 / tried
		r.ServerCores = r.ServerCPU / r.Seconds
		r.ServerRSS = float64(after.rssKiB) / 1024
		r.ServerPeakRSS = float64(after.peakKiB) / 1024
	}
	if total := after.jiffies - before.jiffies; total > 0 {
		r.Steal = 100 * float64(after.steal-before.steal) / float64(total)
	}
}

// String returns the figures as a line for people.
func (r *Result) String() string {
	var b strings.Builder
	run := fmt.Sprintf("run %d", r.Run)
	if r.Median {
		run = "MEDIAN"
	}
	fmt.Fprintf(&b, "%-32s %-6s c=%-3d %9.0f ops/s  p50 %s  p95 %s  p99 %s  max %s  errors %d",
		strings.TrimSpace(r.Label+" "+r.Operation), run, r.Concurrency, r.OpsPerSecond,
		milliseconds(r.P50), milliseconds(r.P95), milliseconds(r.P99), milliseconds(r.Max), r.Errors)
	if r.Reconnects > 0 {
		fmt.Fprintf(&b, "  reconnects %d", r.Reconnects)
	}
	fmt.Fprintf(&b, "  client %.2f s (%.1f µs/op)", r.ClientCPU, r.ClientCPUPerOp)
	if r.hasServer {
		fmt.Fprintf(&b, "  server %.2f s (%.1f µs/op, %.2f cores) rss %.0f MiB", r.ServerCPU, r.ServerCPUPerOp, r.ServerCores, r.ServerRSS)
	}
	if r.Steal >= 0.5 {
		fmt.Fprintf(&b, "  STEAL %.1f%%", r.Steal)
	}
	if r.FirstError != "" {
		fmt.Fprintf(&b, "\n  first error: %s", r.FirstError)
	}
	return b.String()
}

func milliseconds(us float64) string { return fmt.Sprintf("%.3f ms", us/1e3) }
