package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/keyreeve/keyreeve/internal/explain"
	"github.com/keyreeve/keyreeve/internal/hint"
)

type explainCommand struct {
	RequestID string `arg:"" optional:"" name:"request-id" help:"Id of a request that was denied, as the answer has it."`

	dataDirectory
	Env       bool     `help:"Sign with the credentials of the environment (AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL, …) instead of the administrator's."`
	Principal string   `help:"Who would call: user/NAME, role/NAME, assumed-role/NAME/SESSION, root, or an ARN." placeholder:"NAME"`
	Action    string   `help:"What they would do, such as kms:Decrypt." placeholder:"ACTION"`
	Resource  string   `help:"What to: the id or ARN of a key, an alias, another ARN, or *." placeholder:"NAME"`
	Context   []string `help:"A condition key of the call; again for another, or for another value." placeholder:"KEY=VALUE" sep:"none"`
	Case      string   `help:"File with such a call in JSON; - for standard input." placeholder:"FILE"`

	Cases  string `help:"Decide the cases of this file, one a line, without a server; - for standard input." placeholder:"FILE"`
	Format string `default:"text" enum:"text,json" help:"text: for people; json: one object; of --cases a line for each, and one for the sum." placeholder:"FORMAT"`
	All    bool   `help:"Of --cases, print those that are decided as expected, too."`
}

// Help is printed below the command's own help.
func (explainCommand) Help() string {
	return `Why was a call denied? Ask the running node, by the id of the request:

  keyreeve explain 1234abcd-12ab-34cd-56ef-1234567890ab

How would one be decided?

  keyreeve explain --principal user/alice --action kms:Decrypt --resource alias/cards

The answer tells what every policy says, statement by statement, and the smallest
change that would allow the call. It is of the account whose credentials ask, and
shows the policies that these may read. Denials are kept in memory: the last ones
of each account, while the node runs.

With --cases no server is asked: each case of the file has the policies that
apply, a caller, an action, a resource and the expected verdict, and is decided by
the same code. Those that are decided otherwise than expected are printed with
the reasons; docs/explain-cases.md describes the format.

Exit status: of --cases 0 if all are decided as expected, 1 if some are not; 2 if
the command or a file cannot be used.`
}

func (c *explainCommand) Run(e *env) error {
	switch {
	case c.Cases != "" && c.live():
		return &failure{hint.Add(errors.New("--cases asks no server, and goes with none of what asks one"), e.program+" explain --help"), 2}
	case c.live():
		return c.ask(e)
	case c.Cases == "":
		return &failure{hint.Add(errors.New("what is to be explained? Give the id of a request, a call, or --cases"), e.program+" explain --help"), 2}
	}
	cases, name, err := c.load(e.stdin)
	if err != nil {
		return &failure{err, 2}
	}
	out := bufio.NewWriter(e.stdout)
	differ := 0
	var b []byte
	for _, one := range cases {
		result, err := one.Decide(e.ctx)
		if err != nil {
			return &failure{fmt.Errorf("%s:%d: %w", name, one.Line, err), 2}
		}
		if len(result.Differences) > 0 {
			differ++
		} else if !c.All {
			continue
		}
		if c.Format == "json" {
			if b, err = result.AppendJSON(b[:0], name); err != nil {
				return err
			}
		} else {
			b = append(result.AppendText(b[:0], name), '\n')
		}
		if _, err := out.Write(b); err != nil {
			return fmt.Errorf("writing: %w", err)
		}
	}
	if c.Format == "json" {
		fmt.Fprintf(out, "{\"cases\":%d,\"differ\":%d}\n", len(cases), differ)
	} else {
		fmt.Fprintf(out, "%s: %s\n", name, sum(len(cases), differ))
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("writing: %w", err)
	}
	if differ > 0 {
		return &failure{nil, 1}
	}
	return nil
}

// load reads the cases, and says what their file is called.
func (c *explainCommand) load(stdin io.Reader) (cases []*explain.Case, name string, err error) {
	in, name, dir := stdin, "stdin", "."
	if c.Cases != "-" {
		f, err := os.Open(c.Cases)
		if err != nil {
			return nil, "", fmt.Errorf("reading cases: %w", err)
		}
		defer f.Close()
		in, name, dir = f, c.Cases, filepath.Dir(c.Cases)
	}
	cases, err = explain.Load(in, explain.Beside(dir), time.Now())
	if err != nil {
		return nil, "", hint.Add(fmt.Errorf("%s:\n%w", name, err), "docs/explain-cases.md describes the format")
	}
	return cases, name, nil
}

// sum says how many of the cases are decided as expected.
func sum(cases, differ int) string {
	noun := "cases"
	if cases == 1 {
		noun = "case"
	}
	if differ == 0 {
		return fmt.Sprintf("%d %s, decided as expected", cases, noun)
	}
	return fmt.Sprintf("%d %s, %d decided otherwise than expected", cases, noun, differ)
}
