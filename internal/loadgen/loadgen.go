// Package loadgen measures a server that speaks AWS KMS.
//
// [Run] sends one kind of request over keep-alive connections and prints
// throughput, latency percentiles and, where the server's process id is known,
// the server's CPU time for each operation. [Compare] does so for several
// operations, each beside a bare net/http server ([ServeBare]) that is sent
// the same bodies, unsigned, in the same seconds on the same core: where it is
// not quiet, only such a ratio means something.
//
// The load is a closed loop unless [Load.Rate] is set: each worker has one
// connection and sends its next request when the last one was answered. With a
// rate it is an open loop: requests have intended start times and latency is
// counted from those, so that a server that stalls is not hidden.
package loadgen

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/keyreeve/keyreeve/internal/sigv4"
)

// ErrFailed is returned by [Run] if a request of a measured run failed.
var ErrFailed = errors.New("requests failed")

// Target is a server to measure.
type Target struct {
	URL         string            // http or https, with an optional path
	CA          []byte            // PEM certificates that the server's must lead to; nil for the system's
	Insecure    bool              // do not check the server's certificate
	ServerName  string            // to send and check; empty for the URL's host
	Certificate *tls.Certificate  // the client's; nil for none
	Credentials sigv4.Credentials // to sign with
	Region      string            // to sign for; empty for us-east-1
	PIDs        []int             // processes whose CPU time and memory count; none is fine
	Descendants bool              // count those of PIDs too
	KeyPolicy   string            // of the keys that are made for a run; empty for the default one
}

// Load says how requests are sent. The tags are those of package kong, so that
// a command can embed it.
type Load struct {
	Concurrency    int           `short:"c" default:"8" help:"Workers, with one connection each."`
	Duration       time.Duration `short:"d" default:"5s" help:"Duration of a measured run."`
	Count          int64         `short:"n" help:"Stop after this many operations instead of after the duration."`
	Warmup         time.Duration `default:"1s" help:"Unmeasured time before the first run; none with a count."`
	Runs           int           `default:"1" help:"Measured runs; the median by throughput is printed last."`
	Rate           float64       `help:"Operations per second of all workers together, whether answers come or not (default: as fast as answers come)."`
	Timeout        time.Duration `default:"30s" help:"Time limit of a request."`
	Sign           string        `default:"each" enum:"each,once,none" help:"Sign each request, each body once (which costs the client less), or none."`
	Order          string        `default:"random" enum:"random,sequence" help:"How requests are spread over the keys: random or sequence."`
	NewConnections bool          `help:"Open a new connection, with a full TLS handshake, for every request."`
}

// Requests says what is sent. The tags are those of package kong.
type Requests struct {
	Operation string            `short:"o" default:"GenerateDataKey" help:"What is sent, such as Decrypt or Raw; an unknown name gets the list."`
	KeyID     string            `name:"key-id" placeholder:"ID" help:"Use this key instead of creating one."`
	Keys      int               `default:"1" help:"Create this many keys and spread requests over them."`
	KeysFile  string            `placeholder:"FILE" help:"Spread requests over the keys in this file, one id a line."`
	KeysOut   string            `placeholder:"FILE" help:"CreateKey: append the ids of created keys to this file."`
	KeySpec   string            `help:"CreateKey: the KeySpec (default: SYMMETRIC_DEFAULT)."`
	Size      int               `default:"32" help:"Bytes of plaintext, message or randomness in a request."`
	Context   map[string]string `mapsep:"," placeholder:"K=V,..." help:"Encryption context."`
	Raw       Raw               `embed:"" prefix:"raw-"`
}

// Raw is the request that the operation Raw sends. In path and body {i}
// becomes the number of the key, from 0, and {payload} bytes of the given size
// in base64. The tags are those of package kong.
type Raw struct {
	Method  string   `default:"POST" help:"Raw: method."`
	Path    string   `default:"/" help:"Raw: path; {i} becomes the key's number."`
	Body    string   `help:"Raw: body; {i} likewise, and {payload} becomes bytes in base64."`
	Headers []string `name:"header" sep:"none" placeholder:"'NAME: VALUE'" help:"Raw: header; repeatable."`
}

// Config is a measurement of one operation.
type Config struct {
	Target   Target
	Load     Load
	Requests Requests
	Label    string    // printed with the results
	JSON     bool      // print one JSON object for each run, not text
	Show     io.Writer // gets the server's first answer; nil for nobody
}

const defaultRegion = "us-east-1"

// check fills in defaults and refuses what cannot be run.
func (c *Config) check() error {
	l, r := &c.Load, &c.Requests
	c.Target.Region = cmp.Or(c.Target.Region, defaultRegion)
	l.Concurrency = cmp.Or(l.Concurrency, 8)
	l.Duration = cmp.Or(l.Duration, 5*time.Second)
	l.Runs = cmp.Or(l.Runs, 1)
	l.Timeout = cmp.Or(l.Timeout, 30*time.Second)
	l.Sign = cmp.Or(l.Sign, signEach)
	l.Order = cmp.Or(l.Order, "random")
	r.Operation = cmp.Or(r.Operation, "GenerateDataKey")
	r.Keys = cmp.Or(r.Keys, 1)
	r.Raw.Method = cmp.Or(r.Raw.Method, "POST")
	r.Raw.Path = cmp.Or(r.Raw.Path, "/")
	switch {
	case !slices.Contains(Operations(), r.Operation):
		return fmt.Errorf("unknown operation %q; known are %s", r.Operation, strings.Join(Operations(), ", "))
	case l.Concurrency < 1, l.Runs < 1, r.Keys < 1:
		return errors.New("concurrency, runs and keys must be at least 1")
	case l.Duration < 0, l.Warmup < 0, l.Timeout < 0, l.Count < 0, l.Rate < 0, r.Size < 0:
		return errors.New("durations, timeout, count, rate and size must not be negative")
	case l.Count > 0 && l.Count < int64(l.Concurrency):
		return errors.New("the count must be at least the concurrency")
	case !slices.Contains([]string{signEach, signOnce, signNone}, l.Sign):
		return fmt.Errorf("unknown way to sign %q; known are each, once, none", l.Sign)
	case l.Order != "random" && l.Order != "sequence":
		return fmt.Errorf("unknown order %q; known are random, sequence", l.Order)
	case l.Sign != signNone && c.Target.Credentials.Key == nil && r.Operation != opRaw:
		return errors.New("no credentials to sign with")
	case r.KeyID != "" && (r.KeysFile != "" || r.Keys > 1):
		return errors.New("one key id cannot be spread over several keys")
	case r.KeysOut != "" && r.Operation != "CreateKey":
		return errors.New("only CreateKey makes keys whose ids can be written to a file")
	}
	if r.Operation == opRaw && (l.Sign == signEach || c.Target.Credentials.Key == nil) {
		l.Sign = signNone // Raw is signed only when that is asked for with "once"
	}
	return nil
}

// Run does the measured runs and prints a line for each and, if there are
// several, the median by throughput last. It returns [ErrFailed] if some
// request of them failed, and other errors if nothing could be measured.
func Run(ctx context.Context, c Config, out io.Writer) (err error) {
	if err := c.check(); err != nil {
		return err
	}
	ep, err := newEndpoint(&c.Target, c.Load.NewConnections)
	if err != nil {
		return err
	}
	reqs, err := prepare(ctx, &c, ep)
	if err != nil {
		return fmt.Errorf("preparing %s: %w", c.Requests.Operation, err)
	}
	sink, err := newKeySink(c.Requests.KeysOut)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, sink.close()) }()
	if c.Load.Count == 0 && c.Load.Warmup > 0 {
		warm := c
		warm.Load.Duration = c.Load.Warmup
		if _, err := drive(ctx, &warm, ep, reqs, sink); err != nil {
			return err
		}
	}
	var results []*Result
	failed := false
	for i := 0; i < c.Load.Runs && ctx.Err() == nil; i++ {
		r, err := drive(ctx, &c, ep, reqs, sink)
		if err != nil {
			return err
		}
		r.Run = i + 1
		failed = failed || r.Errors > 0
		results = append(results, r)
		if c.Load.Runs > 1 {
			if err := emit(out, c.JSON, r); err != nil {
				return err
			}
		}
	}
	if len(results) == 0 {
		return ctx.Err()
	}
	slices.SortFunc(results, func(a, b *Result) int { return cmp.Compare(a.OpsPerSecond, b.OpsPerSecond) })
	r := results[len(results)/2]
	r.Median = c.Load.Runs > 1
	if err := emit(out, c.JSON, r); err != nil {
		return err
	}
	if failed {
		return ErrFailed
	}
	return nil
}

// emit prints v as a line of JSON or of text.
func emit(out io.Writer, asJSON bool, v fmt.Stringer) error {
	if !asJSON {
		_, err := fmt.Fprintln(out, v)
		return err
	}
	return json.NewEncoder(out).Encode(v)
}
