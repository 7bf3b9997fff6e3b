package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/keyreeve/keyreeve/internal/explain"
	"github.com/keyreeve/keyreeve/internal/hint"
)

type explainCommand struct {
	Cases  string `required:"" help:"File of cases, one a line; - for standard input." placeholder:"FILE"`
	Format string `default:"text" enum:"text,json" help:"text: for people; json: a line for each case, and one for the sum." placeholder:"FORMAT"`
	All    bool   `help:"Print the cases that are decided as expected, too."`
}

// Help is printed below the command's own help.
func (explainCommand) Help() string {
	return `Each case has the policies that apply, a caller, an action, a resource and the
expected verdict; docs/explain-cases.md describes the format. It is decided by
the same code that decides calls, without a server. Those that are decided
otherwise than expected are printed with the reasons, statement by statement.

Exit status: 0 if all are decided as expected, 1 if some are not, 2 if the file
cannot be used.`
}

func (c *explainCommand) Run(e *env) error {
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
