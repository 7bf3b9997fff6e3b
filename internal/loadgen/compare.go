package loadgen

import (
	"bufio"
	"cmp"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// CompareConfig is a comparison of a server with the bare one.
type CompareConfig struct {
	// Bare is the command line of a program that runs [ServeBare] on its
	// standard input and output, such as this very program's.
	Bare []string

	// Start starts the server to measure: it starts the process with start,
	// which pins it to its core, in the place of cmd.Start. It returns how to
	// reach it, with its process id, and how to stop it. If Start is nil, the
	// server is Target, and its threads are pinned.
	Start  func(ctx context.Context, start func(*exec.Cmd) error) (t *Target, stop func() error, err error)
	Target Target

	// Record prepares what puts the record of a Decrypt into a log, as the server
	// does, and nothing else: it is measured beside Decrypt. nil for not at all.
	Record func() (record func() error, stop func() error, err error)

	Operations  []string      // nil for all that have a figure to reach
	Concurrency int           // connections; 0 for 16, CreateKey has four times as many
	Duration    time.Duration // of a measured run; 0 for one second
	Rounds      int           // runs of each operation, in turn with the bare server's; 0 for 5
	Keys        int           // how many keys "many" are; 0 for 1,000
	Sign        string        // as Load.Sign; empty for once, so that the client keeps the server busy
	NoPin       bool          // let the system choose the cores
	JSON        bool          // print a line of JSON for each operation
}

// Comparison is how one operation compares. CPU times are medians in
// microseconds for one operation; ratios are medians of the rounds' ratios.
type Comparison struct {
	Operation    string  `json:"operation"`
	Keys         int     `json:"keys,omitempty"` // used in turn, at random
	Concurrency  int     `json:"concurrency"`
	Server       float64 `json:"server_cpu_us_per_op"`
	Bare         float64 `json:"bare_cpu_us_per_op"`
	Ratio        float64 `json:"ratio"`
	RatioMin     float64 `json:"ratio_min"`
	RatioMax     float64 `json:"ratio_max"`
	OpsPerSecond float64 `json:"ops_per_second"`
	P50          float64 `json:"p50_us"`
	P99          float64 `json:"p99_us"`

	// Of a signature: the CPU time of the signature alone, and what multiple
	// of it the server needs beyond what the bare server does.
	Signature float64 `json:"signature_us,omitempty"`
	Multiple  float64 `json:"multiple_of_signature,omitempty"`

	// Of a Decrypt: the CPU time of its record alone, and how much of the bare
	// server's that is.
	Record      float64 `json:"record_us,omitempty"`
	RecordShare float64 `json:"record_of_bare,omitempty"`

	// Of an operation that was measured before with one key or few: how much
	// the server needs now in relation to that.
	Growth float64 `json:"growth,omitempty"`

	Errors     int64  `json:"errors"`
	FirstError string `json:"first_error,omitempty"`
}

// figures are the operations that have a figure to reach.
var figures = []string{"GenerateDataKey", "Encrypt", "Decrypt", "Sign-P256", "Sign-RSA2048", "DescribeKey", "ListKeys", "CreateKey"}

func (c *CompareConfig) check() error {
	if len(c.Operations) == 0 {
		c.Operations = figures
	}
	c.Concurrency = cmp.Or(c.Concurrency, 16)
	c.Duration = cmp.Or(c.Duration, time.Second)
	c.Rounds = cmp.Or(c.Rounds, 5)
	c.Keys = cmp.Or(c.Keys, 1000)
	c.Sign = cmp.Or(c.Sign, signOnce)
	switch {
	case len(c.Bare) == 0:
		return errors.New("no command for the bare server")
	case c.Concurrency < 1 || c.Rounds < 1 || c.Keys < 1 || c.Duration < 0:
		return errors.New("concurrency, rounds and keys must be at least 1, the duration not negative")
	case c.Start == nil && len(c.Target.PIDs) == 0:
		return errors.New("the server's process id is needed to read its CPU time")
	}
	for _, o := range c.Operations {
		if _, ok := operations[o]; !ok {
			return fmt.Errorf("unknown operation %q", o)
		}
	}
	return nil
}

// Compare measures operations of a server beside the bare one and prints a
// table. Where there are two cores, both servers are pinned to one of them and
// this process to another until it returns. It needs Linux, for the CPU time
// of other processes. It returns [ErrFailed] if some request failed.
func Compare(ctx context.Context, c CompareConfig, out io.Writer) (err error) {
	if err := c.check(); err != nil {
		return err
	}
	start := (*exec.Cmd).Start
	serverCore, clientCore, pin := twoCores()
	if pin = pin && !c.NoPin; pin {
		start = func(cmd *exec.Cmd) error { return startPinned(cmd, serverCore) }
		undo, err := pinSelf(clientCore)
		if err != nil {
			return err
		}
		defer undo()
	}
	bare, stopBare, err := startBare(ctx, c.Bare, start)
	if err != nil {
		return fmt.Errorf("starting the bare server: %w", err)
	}
	defer func() { err = errors.Join(err, stopBare()) }()
	target := &c.Target
	if c.Start != nil {
		t, stop, err := c.Start(ctx, start)
		if err != nil {
			return fmt.Errorf("starting the server: %w", err)
		}
		defer func() { err = errors.Join(err, stop()) }()
		target = t
	} else if pin {
		for _, pid := range target.PIDs {
			if err := pinProcess(pid, serverCore); err != nil {
				return err
			}
		}
	}
	target.Region = cmp.Or(target.Region, defaultRegion)
	var record func() error
	if c.Record != nil {
		var stop func() error
		if record, stop, err = c.Record(); err != nil {
			return fmt.Errorf("preparing records: %w", err)
		}
		defer func() { err = errors.Join(err, stop()) }()
	}
	m := &match{record: record, config: &c, bare: bare, server: target, pinned: pin, serverCore: serverCore}
	if m.serverEnd, err = newEndpoint(m.server, false); err != nil {
		return err
	}
	if m.bareEnd, err = newEndpoint(m.bare, false); err != nil {
		return err
	}
	if !c.JSON {
		where := "on any core"
		if pin {
			where = fmt.Sprintf("servers on core %d, client on core %d", serverCore, clientCore)
		}
		_, err := fmt.Fprintf(out, "%s; %d connections, medians of %d rounds of %v; CPU time of the server for each operation\n\n%s\n",
			where, c.Concurrency, c.Rounds, c.Duration, heading)
		if err != nil {
			return err
		}
	}
	return m.play(ctx, out)
}

// A match is a comparison that runs.
type match struct {
	config             *CompareConfig
	server, bare       *Target
	serverEnd, bareEnd *endpoint
	pinned             bool
	serverCore         int
	record             func() error // may be nil
}

// A contest is one operation to be compared.
type contest struct {
	name         string
	config       Config
	reqs         []*request // to the server
	bareReqs     []*request // to the bare one: the same body, and no header that it does not need
	server, bare []*Result
	alone        []float64    // microseconds of what is measured alone
	sign         func() error // the signature alone; nil for none
	record       func() error // the record alone; nil for none
	before       *contest     // the same operation with fewer keys
}

// play measures the operations in three parts, so that keys that CreateKey
// makes do not disturb: with few keys, CreateKey, with many keys.
func (m *match) play(ctx context.Context, out io.Writer) error {
	var first, second, third []*contest
	for _, o := range m.config.Operations {
		ct, err := m.contest(ctx, o, 1)
		if err != nil {
			return fmt.Errorf("preparing %s: %w", o, err)
		}
		if o == "CreateKey" {
			second = append(second, ct)
			continue
		}
		first = append(first, ct)
	}
	if slices.Contains(m.config.Operations, "ListKeys") {
		// A page is full before and after.
		if _, err := createKeys(ctx, newConn(m.serverEnd, &Load{Timeout: time.Minute, Sign: signEach}), 100, operation{}); err != nil {
			return err
		}
	}
	failed := false
	for part, contests := range [][]*contest{first, second, nil} {
		if part == 2 {
			for _, ct := range first {
				var more *contest
				var err error
				switch ct.name {
				case "GenerateDataKey":
					more, err = m.contest(ctx, ct.name, m.config.Keys)
				case "ListKeys":
					more, err = m.contest(ctx, ct.name, 1)
				default:
					continue
				}
				if err != nil {
					return fmt.Errorf("preparing %s with many keys: %w", ct.name, err)
				}
				more.before = ct
				third = append(third, more)
			}
			contests = third
		}
		if err := m.rounds(ctx, contests); err != nil {
			return err
		}
		for _, ct := range contests {
			r := ct.outcome()
			failed = failed || r.Errors > 0
			if err := emit(out, m.config.JSON, r); err != nil {
				return err
			}
		}
	}
	if failed {
		return ErrFailed
	}
	return nil
}

// contest prepares the comparison of an operation and warms both servers up.
func (m *match) contest(ctx context.Context, name string, keys int) (*contest, error) {
	ct := &contest{name: name, config: Config{
		Target:   *m.server,
		Load:     Load{Concurrency: m.config.Concurrency, Duration: m.config.Duration, Sign: m.config.Sign, Timeout: time.Minute},
		Requests: Requests{Operation: name, Keys: keys, Size: 32},
	}}
	switch name {
	case "Decrypt":
		ct.record = m.record
	case "CreateKey":
		ct.config.Load.Concurrency *= 4 // for groups worth committing
	case "Sign-P256":
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, err
		}
		digest := sha256.Sum256(nil)
		ct.sign = func() error {
			_, err := ecdsa.SignASN1(rand.Reader, key, digest[:])
			return err
		}
	case "Sign-RSA2048":
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			return nil, err
		}
		digest := sha256.Sum256(nil)
		ct.sign = func() error {
			_, err := rsa.SignPSS(rand.Reader, key, crypto.SHA256, digest[:], &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
			return err
		}
	}
	if err := ct.config.check(); err != nil {
		return nil, err
	}
	var err error
	if ct.reqs, err = prepare(ctx, &ct.config, m.serverEnd); err != nil {
		return nil, err
	}
	r := ct.reqs[0]
	ct.bareReqs = []*request{{method: r.method, path: r.path, body: r.body}}
	warm := ct.config
	warm.Load.Duration /= 4
	if len(ct.reqs) > 1 {
		warm.Load.Order, warm.Load.Count = "sequence", int64(max(len(ct.reqs), warm.Load.Concurrency))
	}
	if _, err := drive(ctx, &warm, m.serverEnd, ct.reqs, nil); err != nil {
		return nil, err
	}
	_, err = m.runBare(ctx, ct, m.config.Duration/4)
	return ct, err
}

func (m *match) runBare(ctx context.Context, ct *contest, d time.Duration) (*Result, error) {
	c := ct.config
	c.Target, c.Load.Duration, c.Load.Sign = *m.bare, d, signNone
	return drive(ctx, &c, m.bareEnd, ct.bareReqs, nil)
}

// rounds measures each contest once in each round, the bare server before and
// the server after it.
func (m *match) rounds(ctx context.Context, contests []*contest) error {
	for range m.config.Rounds {
		for _, ct := range contests {
			if err := ctx.Err(); err != nil {
				return err
			}
			bare, err := m.runBare(ctx, ct, m.config.Duration)
			if err != nil {
				return fmt.Errorf("bare server: %w", err)
			}
			server, err := drive(ctx, &ct.config, m.serverEnd, ct.reqs, nil)
			if err != nil {
				return fmt.Errorf("%s: %w", ct.name, err)
			}
			ct.bare, ct.server = append(ct.bare, bare), append(ct.server, server)
			alone := ct.sign
			if alone == nil {
				alone = ct.record
			}
			if alone == nil {
				continue
			}
			var us float64
			measure := func() (err error) {
				us, err = cpuPerCall(m.config.Duration/4, alone)
				return err
			}
			if m.pinned {
				// On the servers' core, where nothing else runs now.
				err = onCore(m.serverCore, measure)
			} else {
				err = measure()
			}
			if err != nil {
				return fmt.Errorf("measuring a part of %s alone: %w", ct.name, err)
			}
			ct.alone = append(ct.alone, us)
		}
	}
	return nil
}

// cpuPerCall returns the microseconds of CPU time that f needs.
func cpuPerCall(d time.Duration, f func() error) (float64, error) {
	before, err := readUsage(&Target{})
	if err != nil {
		return 0, err
	}
	n := 0
	for start := time.Now(); n == 0 || time.Since(start) < d; n++ {
		if err := f(); err != nil {
			return 0, err
		}
	}
	after, err := readUsage(&Target{})
	return float64((after.self - before.self).Nanoseconds()) / 1e3 / float64(n), err
}

func (ct *contest) outcome() *Comparison {
	r := &Comparison{
		Operation: ct.name, Concurrency: ct.config.Load.Concurrency,
		Server:       medianOf(ct.server, func(r *Result) float64 { return r.ServerCPUPerOp }),
		Bare:         medianOf(ct.bare, func(r *Result) float64 { return r.ServerCPUPerOp }),
		OpsPerSecond: medianOf(ct.server, func(r *Result) float64 { return r.OpsPerSecond }),
		P50:          medianOf(ct.server, func(r *Result) float64 { return r.P50 }),
		P99:          medianOf(ct.server, func(r *Result) float64 { return r.P99 }),
	}
	if ct.sign != nil {
		r.Signature = median(ct.alone)
	}
	if ct.record != nil {
		r.Record = median(ct.alone)
	}
	if len(ct.reqs) > 1 {
		r.Keys = len(ct.reqs)
	}
	var ratios []float64
	for i := range ct.server {
		if b := ct.bare[i].ServerCPUPerOp; b > 0 {
			ratios = append(ratios, ct.server[i].ServerCPUPerOp/b)
		}
	}
	if len(ratios) > 0 {
		r.Ratio, r.RatioMin, r.RatioMax = median(ratios), slices.Min(ratios), slices.Max(ratios)
	}
	if r.Signature > 0 {
		r.Multiple = (r.Server - r.Bare) / r.Signature
	}
	if r.Record > 0 && r.Bare > 0 {
		r.RecordShare = r.Record / r.Bare
	}
	if ct.before != nil {
		// Both in relation to the bare server of their time.
		if few := ct.before.outcome(); few.Ratio > 0 {
			r.Growth = r.Ratio / few.Ratio
		}
	}
	for _, run := range slices.Concat(ct.server, ct.bare) {
		if r.Errors += run.Errors; r.FirstError == "" {
			r.FirstError = run.FirstError
		}
	}
	return r
}

func medianOf(results []*Result, figure func(*Result) float64) float64 {
	values := make([]float64, 0, len(results))
	for _, r := range results {
		values = append(values, figure(r))
	}
	return median(values)
}

// median returns the middle value, 0 of none.
func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	if len(sorted)%2 == 0 {
		return (sorted[middle-1] + sorted[middle]) / 2
	}
	return sorted[middle]
}

const heading = "operation                     server      bare  ratio  (from-to)       ops/s       p50       p99"

// String returns the comparison as a line below the heading.
func (r *Comparison) String() string {
	var b strings.Builder
	name := r.Operation
	switch {
	case r.Keys > 0:
		name = fmt.Sprintf("%s, %d keys", name, r.Keys)
	case r.Growth > 0:
		name += ", more keys"
	}
	fmt.Fprintf(&b, "%-26s %6.1f µs %6.1f µs %6.2f  (%.2f-%.2f) %9.0f %6.2f ms %6.2f ms",
		name, r.Server, r.Bare, r.Ratio, r.RatioMin, r.RatioMax, r.OpsPerSecond, r.P50/1e3, r.P99/1e3)
	if r.Signature > 0 {
		fmt.Fprintf(&b, "  bare + %.2f × signature of %.1f µs", r.Multiple, r.Signature)
	}
	if r.Record > 0 {
		fmt.Fprintf(&b, "  record alone %.1f µs, %.2f of bare", r.Record, r.RecordShare)
	}
	if r.Growth > 0 {
		fmt.Fprintf(&b, "  %.2f × before", r.Growth)
	}
	if r.Errors > 0 {
		fmt.Fprintf(&b, "\n  %d ERRORS, first: %s", r.Errors, r.FirstError)
	}
	return b.String()
}

// startBare starts the bare server and reads its announcement.
func startBare(ctx context.Context, command []string, start func(*exec.Cmd) error) (t *Target, stop func() error, err error) {
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	var complaints strings.Builder
	cmd.Stderr = &complaints
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, nil, err
	}
	if err := start(cmd); err != nil {
		return nil, nil, err
	}
	stop = func() error {
		// The end of its input ends it, if ctx has not already.
		err := errors.Join(in.Close(), cmd.Wait())
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	line, err := bufio.NewReader(out).ReadBytes('\n')
	var a Announcement
	if err == nil {
		err = json.Unmarshal(line, &a)
	}
	if err != nil {
		err = errors.Join(err, stop())
		return nil, nil, fmt.Errorf("%w: %s", err, strings.TrimSpace(complaints.String()))
	}
	return &Target{URL: a.URL, CA: []byte(a.CA), PIDs: []int{cmd.Process.Pid}}, stop, nil
}
