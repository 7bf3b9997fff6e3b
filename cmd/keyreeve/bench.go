package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/keyreeve/keyreeve/internal/loadgen"
	"github.com/keyreeve/keyreeve/internal/operator"
	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/internal/sigv4"
)

type benchCommand struct {
	Run     benchRunCommand     `cmd:"" help:"Send one kind of request to a server: throughput, latency, CPU time."`
	Compare benchCompareCommand `cmd:"" help:"Compare keyreeve with a bare HTTPS server: what an operation costs, as a ratio."`
	Bare    benchBareCommand    `cmd:"" hidden:"" help:"Be the bare server."`
}

// target are the flags of commands that load a server.
type target struct {
	URL        string `help:"The server's URL; the node of --data otherwise." placeholder:"URL"`
	CA         string `help:"Certificate to trust." type:"existingfile" placeholder:"FILE"`
	Insecure   bool   `help:"Do not check the server's certificate."`
	ServerName string `help:"Name to check in the certificate." placeholder:"NAME"`
	Region     string `help:"Region to sign for." env:"AWS_REGION" placeholder:"NAME"`
	PID        []int  `help:"Processes whose CPU time counts; the node's own otherwise." placeholder:"PID"`
}

// resolve returns the server to load: the one at --url with the credentials of
// the environment, or the node of a data directory with its own.
func (t *target) resolve(ctx context.Context, dir string) (loadgen.Target, error) {
	if t.URL != "" {
		out := loadgen.Target{URL: t.URL, Insecure: t.Insecure, ServerName: t.ServerName, Region: t.Region, PIDs: t.PID}
		if t.CA != "" {
			pem, err := os.ReadFile(t.CA)
			if err != nil {
				return out, fmt.Errorf("reading the certificate to trust: %w", err)
			}
			out.CA = pem
		}
		out.Credentials = sigv4.Credentials{
			AccessKeyID: os.Getenv("AWS_ACCESS_KEY_ID"),
			Key:         sigv4.NewKey(secret.New([]byte(os.Getenv("AWS_SECRET_ACCESS_KEY")))),
			Token:       os.Getenv("AWS_SESSION_TOKEN"),
		}
		return out, nil
	}
	n, err := operator.NewClient(dir).Environment(ctx)
	if err != nil {
		return loadgen.Target{}, adviseClient(err, dir)
	}
	return nodeTarget(n, t.PID)
}

// nodeTarget is a node of this machine as a server to load.
func nodeTarget(n operator.Environment, pids []int) (loadgen.Target, error) {
	t := loadgen.Target{
		URL: n.Endpoint, Region: n.Region, PIDs: pids,
		Credentials: sigv4.Credentials{AccessKeyID: n.AccessKeyID, Key: sigv4.NewKey(n.SecretAccessKey)},
	}
	if n.Authority != "" {
		pem, err := os.ReadFile(n.Authority)
		if err != nil {
			return t, fmt.Errorf("reading the certificate to trust: %w", err)
		}
		t.CA = pem
	}
	return t, nil
}

type benchRunCommand struct {
	dataDirectory
	target
	loadgen.Load
	loadgen.Requests
	JSON  bool   `name:"json" help:"Print a line of JSON for each run."`
	Label string `help:"Printed with the results." placeholder:"TEXT"`
	Show  bool   `help:"Print the server's first answer to standard error."`
}

func (c *benchRunCommand) Run(e *env) error {
	t, err := c.resolve(e.ctx, c.Data)
	if err != nil {
		return err
	}
	config := loadgen.Config{Target: t, Load: c.Load, Requests: c.Requests, JSON: c.JSON, Label: c.Label}
	if c.Show {
		config.Show = e.stderr
	}
	return loadgen.Run(e.ctx, config, e.stdout)
}

type benchCompareCommand struct {
	target
	Operation   []string      `short:"o" help:"Operations; all that have a figure to reach otherwise." placeholder:"NAME"`
	Concurrency int           `short:"c" default:"16" help:"Connections."`
	Duration    time.Duration `short:"d" default:"1s" help:"Duration of a measured run."`
	Rounds      int           `default:"5" help:"Runs of each operation, in turn with the bare server's."`
	Keys        int           `default:"1000" help:"How many keys \"many\" are."`
	Sign        string        `default:"once" enum:"each,once" help:"Sign each request, or each body once, which keeps the client cheap."`
	Policies    string        `default:"default" enum:"default,layers" help:"What each call is decided by: the default key policy and an administrator's, or layers: ten statements in each of six layers."`
	Dir         string        `help:"Where the measured node's data directory is made, which should be on a disk; among the temporary files otherwise." type:"existingdir" placeholder:"DIR"`
	NoPin       bool          `help:"Let the system choose the cores."`
	JSON        bool          `name:"json" help:"Print a line of JSON for each operation."`
}

func (c *benchCompareCommand) Run(e *env) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding this program: %w", err)
	}
	config := loadgen.CompareConfig{
		Bare:       []string{self, "bench", "bare"},
		Operations: c.Operation, Concurrency: c.Concurrency, Duration: c.Duration, Rounds: c.Rounds, Keys: c.Keys,
		Sign: c.Sign, NoPin: c.NoPin, JSON: c.JSON,
		Record: func() (func() error, func() error, error) { return benchRecord(e.ctx, c.Dir) },
	}
	if c.URL == "" {
		config.Start = func(ctx context.Context, start func(*exec.Cmd) error) (*loadgen.Target, func() error, error) {
			return startNode(ctx, self, c.Dir, c.Policies == "layers", start)
		}
	} else if c.Policies != "default" {
		return errors.New("--policies needs a node of its own; leave --url out")
	} else if config.Target, err = c.resolve(e.ctx, ""); err != nil {
		return err
	}
	return loadgen.Compare(e.ctx, config, e.stdout)
}

// startNode starts `keyreeve serve` on a data directory of its own in parent,
// with many policies if layered.
func startNode(ctx context.Context, self, parent string, layered bool, start func(*exec.Cmd) error) (_ *loadgen.Target, stop func() error, err error) {
	dir, err := os.MkdirTemp(parent, "keyreeve-bench-")
	if err != nil {
		return nil, nil, err
	}
	data, ready := filepath.Join(dir, "data"), filepath.Join(dir, "ready")
	file := filepath.Join(dir, "keyreeve.yaml")
	if err := os.WriteFile(file, []byte("quotas: {keys: 10000000}\n"), 0o600); err != nil {
		return nil, nil, errors.Join(err, os.RemoveAll(dir))
	}
	args := []string{"serve", "--config", file, "--data", data, "--listen", "127.0.0.1:0", "--ready-file", ready}
	policies, key := newLayers(), ""
	if layered {
		var seed string
		if seed, key, err = policies.writeSeed(dir); err != nil {
			return nil, nil, errors.Join(err, os.RemoveAll(dir))
		}
		args = append(args, "--seed", seed)
	}
	cmd := exec.Command(self, args...)
	var log bytes.Buffer
	cmd.Stderr = &log
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "KEYREEVE_") { // the settings of another node
			cmd.Env = append(cmd.Env, v)
		}
	}
	if err := start(cmd); err != nil {
		return nil, nil, errors.Join(err, os.RemoveAll(dir))
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	stop = func() error {
		err := cmd.Process.Signal(syscall.SIGTERM)
		return errors.Join(err, <-ended, os.RemoveAll(dir))
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, stop())
		}
	}()
	for {
		text, err := os.ReadFile(ready)
		if err == nil && json.Valid(text) {
			break
		}
		select {
		case err := <-ended:
			ended <- err
			return nil, nil, fmt.Errorf("starting keyreeve: %w\n%s", err, log.String())
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		case <-time.After(5 * time.Millisecond):
		}
	}
	n, err := operator.NewClient(data).Environment(ctx)
	if err != nil {
		return nil, nil, err
	}
	t, err := nodeTarget(n, []int{cmd.Process.Pid})
	if err == nil && layered {
		err = policies.assume(ctx, &t, key)
	}
	return &t, stop, err
}

type benchBareCommand struct{}

func (benchBareCommand) Run(e *env) error { return loadgen.ServeBare(e.ctx, e.stdin, e.stdout) }
