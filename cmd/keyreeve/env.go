package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/keyreeve/keyreeve/internal/hint"
	"github.com/keyreeve/keyreeve/internal/operator"
)

type envCommand struct {
	dataDirectory
	Format string `help:"shell, dotenv or json." enum:"shell,dotenv,json" default:"shell"`
}

func (c *envCommand) Run(e *env) error {
	ctx, cancel := withTimeout(e)
	defer cancel()
	n, err := operator.NewClient(c.Data).Environment(ctx)
	if err != nil {
		return adviseClient(err, c.Data)
	}
	defer n.SecretAccessKey.Wipe()
	vars := []variable{{"AWS_ENDPOINT_URL", n.Endpoint}}
	if n.Authority != "" {
		vars = append(vars, variable{"AWS_CA_BUNDLE", n.Authority}, variable{"NODE_EXTRA_CA_CERTS", n.Authority})
	}
	vars = append(vars,
		variable{"AWS_REGION", n.Region},
		variable{"AWS_DEFAULT_REGION", n.Region}, // which the AWS CLI reads before version 2
		variable{"AWS_ACCESS_KEY_ID", n.AccessKeyID},
		variable{"AWS_SECRET_ACCESS_KEY", string(n.SecretAccessKey.Reveal())},
	)
	return printVariables(e.stdout, vars, c.Format)
}

// variable is an environment variable.
type variable struct{ name, value string }

func printVariables(w io.Writer, vars []variable, format string) error {
	if format == "json" {
		m := make(map[string]string, len(vars))
		for _, v := range vars {
			m[v.name] = v.value
		}
		out := json.NewEncoder(w)
		out.SetIndent("", "  ")
		return out.Encode(m)
	}
	var b strings.Builder
	for _, v := range vars {
		if format == "shell" {
			fmt.Fprintf(&b, "export %s=%s\n", v.name, quoteShell(v.value))
		} else {
			fmt.Fprintf(&b, "%s=%s\n", v.name, quoteDotenv(v.value))
		}
	}
	if format == "shell" {
		// What the shell may have of other credentials and endpoints would win.
		b.WriteString("unset AWS_SESSION_TOKEN AWS_PROFILE AWS_ENDPOINT_URL_KMS AWS_IGNORE_CONFIGURED_ENDPOINT_URLS\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// quoteShell quotes s for a POSIX shell.
func quoteShell(s string) string {
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// plain reports whether s means itself to a shell and to readers of .env files.
func plain(s string) bool {
	for _, c := range s {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("-_./:=+,@%", c) {
			return false
		}
	}
	return s != ""
}

// quoteDotenv quotes s where it must be, for readers of .env files, of which
// shells are some. Single quotes mean the same to most of them.
func quoteDotenv(s string) string {
	switch {
	case plain(s):
		return s
	case !strings.ContainsAny(s, `'\`):
		return "'" + s + "'"
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, `$`, `\$`, "`", "\\`").Replace(s) + `"`
}

// adviseClient adds advice to the errors of talking to a node.
func adviseClient(err error, dir string) error {
	if errors.Is(err, operator.ErrNotRunning) {
		return hint.Add(err, "start it with `keyreeve serve"+dataFlag(dir)+"`, or say where it is with --data")
	}
	return err
}
