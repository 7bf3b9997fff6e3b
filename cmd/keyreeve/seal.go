package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/term"

	"github.com/keyreeve/keyreeve/internal/api/keyreeveapi"
	"github.com/keyreeve/keyreeve/internal/operator"
	"github.com/keyreeve/keyreeve/internal/seal"
	"github.com/keyreeve/keyreeve/internal/secret"
)

// commandTimeout is how long a command waits for a node: deriving a key from a
// passphrase takes its time, on purpose.
const commandTimeout = time.Minute

type sealCommand struct {
	Status sealStatusCommand `cmd:"" help:"Say how the seal is."`
	Lock   sealLockCommand   `cmd:"" help:"Seal the node: it forgets all keys and answers nobody."`
	Unseal sealUnsealCommand `cmd:"" help:"Unseal the node."`
	Rotate sealRotateCommand `cmd:"" help:"Make a new domain key, which seals from then on."`
	Rekey  sealRekeyCommand  `cmd:"" help:"Put a new root key in place."`
}

type sealStatusCommand struct{ dataDirectory }

func (c *sealStatusCommand) Run(e *env) error {
	ctx, cancel := withTimeout(e)
	defer cancel()
	s, err := operator.NewClient(c.Data).Status(ctx)
	if err != nil {
		return adviseClient(err, c.Data)
	}
	state := "unsealed"
	if s.Sealed {
		state = "sealed"
	}
	fmt.Fprintf(e.stdout, "state       %s\nroot key    %s\nversion     %s\nstarted     %s\n",
		state, s.Provider, s.Version, s.Started.UTC().Format(time.RFC3339))
	if !s.Sealed {
		fmt.Fprintf(e.stdout, "domain key  %d\n", s.ActiveDomainKey)
	}
	return nil
}

type sealLockCommand struct{ dataDirectory }

func (c *sealLockCommand) Run(e *env) error {
	ctx, cancel := withTimeout(e)
	defer cancel()
	if err := operator.NewClient(c.Data).Seal(ctx); err != nil {
		return adviseClient(err, c.Data)
	}
	fmt.Fprintln(e.stdout, "sealed")
	return nil
}

// passphraseFile is the flag of commands that may need a passphrase.
type passphraseFile struct {
	PassphraseFile string `help:"File with the passphrase, mode 0600; asked for otherwise." placeholder:"FILE"`
}

// read returns the passphrase from the file or from a person.
func (p passphraseFile) read(e *env, prompt string) (secret.Bytes, error) {
	if p.PassphraseFile != "" {
		return seal.ReadPassphraseFile(p.PassphraseFile)
	}
	return ask(e, prompt)
}

// ask asks a person for a passphrase, without showing it; input that is no
// terminal gives its first line.
func ask(e *env, prompt string) (secret.Bytes, error) {
	if f, ok := e.stdin.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		fmt.Fprint(e.stderr, prompt)
		b, err := term.ReadPassword(int(f.Fd()))
		fmt.Fprintln(e.stderr)
		return secret.New(b), err
	}
	buf := make([]byte, 0, keyreeveapi.MaxPassphrase*4+2)
	for len(buf) < cap(buf) {
		n, err := e.stdin.Read(buf[len(buf) : len(buf)+1])
		buf = buf[:len(buf)+n]
		if n > 0 && buf[len(buf)-1] == '\n' {
			buf = buf[:len(buf)-1]
			break
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return secret.Bytes{}, err
		}
	}
	if len(buf) == 0 {
		return secret.Bytes{}, hinted{errors.New("no passphrase was given"), "type it, or use --passphrase-file"}
	}
	return secret.New(buf), nil
}

type sealUnsealCommand struct {
	dataDirectory
	passphraseFile
}

func (c *sealUnsealCommand) Run(e *env) error {
	ctx, cancel := withTimeout(e)
	defer cancel()
	client := operator.NewClient(c.Data)
	s, err := client.Status(ctx)
	if err != nil {
		return adviseClient(err, c.Data)
	}
	var phrase secret.Bytes
	if s.Provider == seal.KindPassphrase {
		if phrase, err = c.read(e, "Passphrase: "); err != nil {
			return err
		}
		defer phrase.Wipe()
	}
	if err := client.Unseal(ctx, phrase); err != nil {
		return adviseClient(err, c.Data)
	}
	fmt.Fprintln(e.stdout, "unsealed")
	return nil
}

type sealRotateCommand struct{ dataDirectory }

func (c *sealRotateCommand) Run(e *env) error {
	return withRemote(e, c.Data, func(ctx context.Context, r *operator.Remote) error {
		out, err := r.RotateDomainKey(ctx)
		if err != nil {
			return err
		}
		fmt.Fprintf(e.stdout, "domain key %d seals from now on\n", out.ActiveDomainKey)
		return nil
	})
}

type sealRekeyCommand struct {
	dataDirectory
	passphraseFile
	Provider string `help:"file: a new key file in the place of the old one; passphrase: a new passphrase." enum:"file,passphrase" required:""`
}

func (c *sealRekeyCommand) Run(e *env) error {
	in := &keyreeveapi.RekeyRootInput{Provider: c.Provider}
	if c.Provider == keyreeveapi.ProviderPassphrase {
		phrase, err := c.read(e, "New passphrase: ")
		if err != nil {
			return err
		}
		in.Passphrase = phrase
		defer phrase.Wipe()
	}
	return withRemote(e, c.Data, func(ctx context.Context, r *operator.Remote) error {
		out, err := r.RekeyRoot(ctx, in)
		if err != nil {
			return err
		}
		fmt.Fprintf(e.stdout, "a new root key is in place (%s); keep the old one for as long as copies of the data from before\n", out.Provider)
		fmt.Fprintf(e.stdout, "set seal.provider to %s in the node's configuration, if it is not\n", out.Provider)
		return nil
	})
}

// withRemote runs f with a client of the service keyreeve, signed as the
// administrator.
func withRemote(e *env, dir string, f func(context.Context, *operator.Remote) error) error {
	ctx, cancel := withTimeout(e)
	defer cancel()
	environment, err := operator.NewClient(dir).Environment(ctx)
	if err != nil {
		return adviseClient(err, dir)
	}
	remote, err := operator.NewRemote(environment, time.Now)
	if err != nil {
		return err
	}
	return f(ctx, remote)
}
