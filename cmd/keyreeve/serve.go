package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"

	"github.com/keyreeve/keyreeve/internal/audit"
	"github.com/keyreeve/keyreeve/internal/config"
	"github.com/keyreeve/keyreeve/internal/hint"
	"github.com/keyreeve/keyreeve/internal/node"
	"github.com/keyreeve/keyreeve/internal/seal"
	"github.com/keyreeve/keyreeve/internal/store/boltstore"
)

type serveCommand struct {
	Data           string   `help:"Data directory (default: keyreeve-data)." placeholder:"DIR" env:"KEYREEVE_DATA"`
	Listen         string   `help:"Address to answer at (default: 127.0.0.1:4599)." placeholder:"ADDR" env:"KEYREEVE_LISTEN"`
	Private        string   `help:"Address for metrics and health checks (default: 127.0.0.1:4598), or off." placeholder:"ADDR"`
	Plain          string   `help:"Loopback address to answer at without TLS, for tests." placeholder:"ADDR"`
	Name           []string `help:"Further name or address for the made certificate." placeholder:"NAME"`
	Config         string   `help:"Configuration file." placeholder:"FILE" env:"KEYREEVE_CONFIG"`
	Seed           string   `help:"File with accounts, users and keys to make if they are not there." placeholder:"FILE"`
	Account        string   `help:"Id of the management account that the first start makes (default: random)." placeholder:"ID"`
	Region         string   `help:"Region for clients (default: us-east-1)." placeholder:"NAME"`
	ReadyFile      string   `help:"File to write when the service answers, with its addresses." placeholder:"FILE"`
	LogLevel       string   `help:"debug, info, warn or error (default: info)." placeholder:"LEVEL"`
	AcceptRollback bool     `help:"Start although the store is older than its mark; this is recorded."`
	Dev            bool     `help:"For development and CI: in memory, plain HTTP, fixed credentials. Protects nothing."`
}

func (s *serveCommand) Run(e *env) error {
	c, err := s.config()
	if err != nil {
		return err
	}
	c.Log = newLog(e.stderr, c.Config.Log)
	// Before there is anything that a core could show.
	if err := seal.DisableCoreDumps(); err != nil {
		return fmt.Errorf("keeping the process from leaving a core: %w", err)
	}
	if c.Dev {
		c.Log.Warn("DEVELOPMENT MODE: nothing is kept, traffic is not encrypted, and everybody knows the credentials")
	}
	if f := c.Seal.PassphraseFile; f != "" {
		if c.Passphrase, err = seal.ReadPassphraseFile(f); err != nil {
			return fmt.Errorf("reading the passphrase: %w", err)
		}
	}
	n, err := node.Open(e.ctx, *c)
	if err != nil {
		return advise(err)
	}
	if err := s.greet(e, n, c); err != nil {
		return errors.Join(err, n.Close())
	}
	go tuneGC(e.ctx)
	return errors.Join(n.Serve(e.ctx), n.Close())
}

// config puts the configuration file and the flags together.
func (s *serveCommand) config() (*node.Config, error) {
	c := &node.Config{
		Dev: s.Dev, Seed: s.Seed, ReadyFile: s.ReadyFile, AcceptRollback: s.AcceptRollback, Version: version(),
	}
	if s.Config != "" {
		file, err := config.Read(s.Config)
		if err != nil {
			return nil, err
		}
		c.Config = *file
	}
	for _, o := range []struct {
		setting *string
		flag    string
	}{
		{&c.Data, s.Data},
		{&c.Listen, s.Listen},
		{&c.Private, s.Private},
		{&c.Plain, s.Plain},
		{&c.Account, s.Account},
		{&c.Region, s.Region},
		{&c.Config.Log.Level, s.LogLevel},
	} {
		if o.flag != "" {
			*o.setting = o.flag
		}
	}
	c.TLS.Names = append(c.TLS.Names, s.Name...)
	if s.Dev {
		switch {
		case c.Data != "":
			return nil, hint.Add(errors.New("--dev keeps nothing, so it takes no data directory"), "leave out --dev, or the data directory: --data, KEYREEVE_DATA, data in the configuration file")
		case c.Account != "" && c.Account != node.DevAccount:
			return nil, hint.Add(errors.New("--dev has the account "+node.DevAccount), "leave out --account, or make accounts with --seed")
		case c.Plain != "":
			return nil, hint.Add(errors.New("--dev is without TLS already"), "leave out --plain")
		}
	}
	c.SetDefaults()
	if err := c.Check(); err != nil {
		return nil, err
	}
	return c, nil
}

// greet prints four lines on how to use the service.
func (s *serveCommand) greet(e *env, n *node.Node, c *node.Config) error {
	var lines []string
	switch {
	case c.Dev:
		lines = []string{
			"keyreeve serves KMS on " + n.Endpoint() + " (development mode: in memory, no TLS)",
			"export AWS_ENDPOINT_URL=" + n.Endpoint() + " AWS_REGION=" + c.Region,
			"export AWS_ACCESS_KEY_ID=" + node.DevAccessKeyID + " AWS_SECRET_ACCESS_KEY=" + node.DevSecretKey,
			"aws kms create-key",
		}
	case n.Sealed():
		lines = []string{
			"keyreeve is sealed, and answers on " + n.Endpoint() + " once it is unsealed:",
			e.program + " seal unseal" + dataFlag(c.Data),
		}
	default:
		lines = []string{
			"keyreeve serves KMS on " + n.Endpoint() + ", data in " + c.Data + ", root key in " + rootKey(c),
			"in another shell:",
			`  eval "$(` + e.program + ` env` + dataFlag(c.Data) + `)"`,
			"  aws kms create-key",
		}
	}
	_, err := fmt.Fprintln(e.stdout, strings.Join(lines, "\n"))
	return err
}

func rootKey(c *node.Config) string {
	if c.Seal.Provider == seal.KindPassphrase {
		return "your passphrase"
	}
	return c.Seal.File + " (keep a copy elsewhere)"
}

// dataFlag is the flag that other commands need to find the node.
func dataFlag(dir string) string {
	if dir == defaultData {
		return ""
	}
	if !plain(dir) {
		dir = quoteShell(dir)
	}
	return " --data " + dir
}

// advise adds advice to the errors that people meet when starting, where it
// does not come with them.
func advise(err error) error {
	var op *net.OpError
	switch {
	case hint.Of(err) != "":
		return err
	case errors.Is(err, boltstore.ErrLocked), errors.Is(err, audit.ErrInUse):
		return hint.Add(err, "another keyreeve is running with this data directory")
	case errors.Is(err, seal.ErrWrongRoot):
		return hint.Add(err, "the data was made with another root key; find the passphrase that belongs to it")
	case errors.As(err, &op) && op.Op == "listen":
		return hint.Add(err, "choose other addresses with --listen and --private")
	}
	return err
}

// newLog returns the node's log, for people or for machines.
func newLog(w io.Writer, c config.Log) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.Level)); err != nil {
		level = slog.LevelInfo
	}
	o := &slog.HandlerOptions{Level: level}
	if c.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}

// defaultData is the data directory of commands that are not told another.
const defaultData = "keyreeve-data"

// dataDirectory is the flag of commands that talk to a running node.
type dataDirectory struct {
	Data string `help:"Data directory of the running node." default:"keyreeve-data" placeholder:"DIR" env:"KEYREEVE_DATA"`
}

// withTimeout bounds what a command waits for.
func withTimeout(e *env) (context.Context, context.CancelFunc) {
	return context.WithTimeout(e.ctx, commandTimeout)
}
