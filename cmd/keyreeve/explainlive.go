package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"github.com/keyreeve/keyreeve/internal/api/keyreeveapi"
	"github.com/keyreeve/keyreeve/internal/explain"
	"github.com/keyreeve/keyreeve/internal/hint"
	"github.com/keyreeve/keyreeve/internal/operator"
	"github.com/keyreeve/keyreeve/internal/secret"
)

// live reports whether the running node is asked.
func (c *explainCommand) live() bool {
	return c.RequestID != "" || c.Case != "" || c.Principal != "" || c.Action != "" || c.Resource != "" || len(c.Context) > 0
}

// ask asks the running node, and prints what it says.
func (c *explainCommand) ask(e *env) error {
	in, err := c.question(e.stdin)
	if err != nil {
		return &failure{hint.Add(err, e.program+" explain --help"), 2}
	}
	with := func(ctx context.Context, r *operator.Remote) error {
		out, err := r.Explain(ctx, in)
		if err != nil {
			return err
		}
		return c.print(e.stdout, out)
	}
	if !c.Env {
		return withRemote(e, c.Data, with)
	}
	environment, err := clientEnvironment()
	if err != nil {
		return &failure{err, 2}
	}
	remote, err := operator.NewRemote(environment, nil)
	if err != nil {
		return err
	}
	ctx, cancel := withTimeout(e)
	defer cancel()
	return with(ctx, remote)
}

// clientEnvironment is what AWS clients read of the environment.
func clientEnvironment() (operator.Environment, error) {
	e := operator.Environment{
		Endpoint: os.Getenv("AWS_ENDPOINT_URL"), Authority: os.Getenv("AWS_CA_BUNDLE"), Region: os.Getenv("AWS_REGION"),
		AccessKeyID: os.Getenv("AWS_ACCESS_KEY_ID"), SecretAccessKey: secret.New([]byte(os.Getenv("AWS_SECRET_ACCESS_KEY"))), SessionToken: os.Getenv("AWS_SESSION_TOKEN"),
	}
	if e.Region == "" {
		e.Region = os.Getenv("AWS_DEFAULT_REGION")
	}
	if e.Endpoint == "" || e.Region == "" || e.AccessKeyID == "" {
		return e, hint.Add(errors.New("AWS_ENDPOINT_URL, AWS_REGION and AWS_ACCESS_KEY_ID are not all set"), "keyreeve env prints what the administrator sets")
	}
	return e, nil
}

// question is what the flags ask.
func (c *explainCommand) question(stdin io.Reader) (*keyreeveapi.ExplainInput, error) {
	flags := c.Principal != "" || c.Action != "" || c.Resource != "" || len(c.Context) > 0
	switch {
	case c.RequestID != "" && (c.Case != "" || flags), c.Case != "" && flags:
		return nil, errors.New("give either a request id, or --case, or --principal, --action and --resource")
	case c.RequestID != "":
		return &keyreeveapi.ExplainInput{RequestID: c.RequestID}, nil
	case c.Case != "":
		in := stdin
		if c.Case != "-" {
			f, err := os.Open(c.Case)
			if err != nil {
				return nil, fmt.Errorf("reading the case: %w", err)
			}
			defer f.Close()
			in = f
		}
		text, err := io.ReadAll(io.LimitReader(in, keyreeveapi.MaxCase+1))
		if err != nil {
			return nil, fmt.Errorf("reading the case: %w", err)
		}
		if len(text) > keyreeveapi.MaxCase {
			return nil, fmt.Errorf("the case is larger than %d bytes", keyreeveapi.MaxCase)
		}
		return &keyreeveapi.ExplainInput{Case: strings.TrimSpace(string(text))}, nil
	case c.Principal == "" || c.Action == "":
		return nil, errors.New("a call has a principal and an action")
	}
	call := map[string]any{"principal": c.Principal, "action": c.Action}
	if c.Resource != "" {
		call["resource"] = c.Resource
	}
	if len(c.Context) > 0 {
		values := make(map[string]any)
		for _, pair := range c.Context {
			name, value, ok := strings.Cut(pair, "=")
			if !ok || name == "" {
				return nil, fmt.Errorf("--context is KEY=VALUE, and %q is not", pair)
			}
			switch have := values[name].(type) {
			case nil:
				values[name] = value
			case string: // of several values
				values[name] = []string{have, value}
			case []string:
				values[name] = append(have, value)
			}
		}
		call["context"] = values
	}
	text, err := json.Marshal(call)
	if err != nil {
		return nil, err
	}
	return &keyreeveapi.ExplainInput{Case: string(text)}, nil
}

// print prints an explanation: in colour and broken into lines on a terminal.
func (c *explainCommand) print(w io.Writer, out *keyreeveapi.ExplainOutput) error {
	var b []byte
	if c.Format == "json" {
		text, err := json.Marshal(out)
		if err != nil {
			return err
		}
		b = append(text, '\n')
	} else {
		var style explain.Style
		if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
			style.Colour = os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
			if width, _, err := term.GetSize(int(f.Fd())); err == nil {
				style.Width = max(width, 40)
			}
		}
		b = explain.AppendReport(nil, out, style)
	}
	if _, err := w.Write(b); err != nil {
		return fmt.Errorf("writing: %w", err)
	}
	return nil
}
