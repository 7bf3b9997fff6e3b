// Command keyreeve is a key management service that speaks AWS KMS, and the
// tools to run it.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/keyreeve/keyreeve/internal/hint"
	"github.com/keyreeve/keyreeve/internal/loadgen"
)

// commands are the commands of the binary; kong reads the tags.
type commands struct {
	Serve    serveCommand    `cmd:"" help:"Run the service."`
	Env      envCommand      `cmd:"" help:"Print what AWS clients need to reach the running service."`
	Seal     sealCommand     `cmd:"" help:"Look at the seal of the running service, close it, open it, and change its keys."`
	Clock    clockCommand    `cmd:"" help:"Accept a clock that has jumped ahead."`
	Config   configCommand   `cmd:"" help:"Check a configuration file."`
	Audit    auditCommand    `cmd:"" help:"Look at the audit trail, and verify it."`
	Explain  explainCommand  `cmd:"" help:"Say why a call was or would be denied, and what would allow it."`
	Sessions sessionsCommand `cmd:"" help:"Revoke temporary credentials."`
	Bench    benchCommand    `cmd:"" help:"Measure a service under load."`
	Version  versionCommand  `cmd:"" help:"Print the version."`
}

// env is what a command may use of the process around it.
type env struct {
	ctx            context.Context
	program        string // as it was called
	stdin          io.Reader
	stdout, stderr io.Writer
}

func main() { os.Exit(run(os.Args[0], os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

// run runs one command and returns the exit status: 0, 1 for a failure, 2 for
// a mistake in the command line or what it names; see [failure].
func run(program string, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	var cmd commands
	exit := -1
	parser, err := kong.New(&cmd,
		kong.Name("keyreeve"),
		kong.Description("A key management service that you run yourself and that speaks AWS KMS."),
		kong.Writers(stdout, stderr),
		kong.Vars{"operations": strings.Join(loadgen.Operations(), ", ")},
		kong.Exit(func(code int) { exit = code }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
	)
	if err != nil {
		return report(stderr, err, 2)
	}
	k, err := parser.Parse(args)
	if exit >= 0 { // --help
		return exit
	}
	if err != nil {
		return report(stderr, hint.Add(err, "keyreeve --help"), 2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// Whoever asks a second time does not want to wait any longer.
	context.AfterFunc(ctx, stop)
	if err := k.Run(&env{ctx, program, stdin, stdout, stderr}); err != nil {
		var f *failure
		switch {
		case !errors.As(err, &f):
			return report(stderr, err, 1)
		case f.error == nil:
			return f.status
		}
		return report(stderr, err, f.status)
	}
	return 0
}

// failure is an error with an exit status. Without an error, the command has
// said what there is to say.
type failure struct {
	error
	status int
}

func (f *failure) Unwrap() error { return f.error }

// report prints an error for a person: what happened, and what to do.
func report(w io.Writer, err error, status int) int {
	fmt.Fprintf(w, "error: %v\n", err)
	if advice := hint.Of(err); advice != "" {
		fmt.Fprintf(w, "hint: %s\n", advice)
	}
	return status
}
