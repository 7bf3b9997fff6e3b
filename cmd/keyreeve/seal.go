package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/term"

	"github.com/keyreeve/keyreeve/internal/api/keyreeveapi"
	"github.com/keyreeve/keyreeve/internal/hint"
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
	Rekey  sealRekeyCommand  `cmd:"" help:"Put a new root key in the place of the old one, which is removed."`
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
	if s.ClockAhead > 0 {
		fmt.Fprintf(e.stdout, "clock       has jumped %v ahead; if it is right: %s clock accept%s\n", s.ClockAhead, e.program, dataFlag(c.Data))
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

// read returns the passphrase from the file or from a person, who is asked for
// a new one twice.
func (p passphraseFile) read(e *env, prompt string, isNew bool) (secret.Bytes, error) {
	if p.PassphraseFile != "" {
		return seal.ReadPassphraseFile(p.PassphraseFile)
	}
	f, ok := e.stdin.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return firstLine(e.stdin)
	}
	phrase, err := ask(f, e.stderr, prompt)
	if err != nil || !isNew {
		return phrase, err
	}
	again, err := ask(f, e.stderr, "The same once more: ")
	defer again.Wipe()
	if err == nil && !again.Equal(phrase) {
		err = hint.Add(errors.New("the two passphrases differ"), "nothing has been changed; try again")
	}
	if err != nil {
		phrase.Wipe()
		return secret.Bytes{}, err
	}
	return phrase, nil
}

// ask asks a person for a passphrase, without showing it.
func ask(terminal *os.File, w io.Writer, prompt string) (secret.Bytes, error) {
	fmt.Fprint(w, prompt)
	b, err := term.ReadPassword(int(terminal.Fd()))
	fmt.Fprintln(w)
	if err == nil && len(b) == 0 {
		return secret.Bytes{}, errNoPassphrase
	}
	return secret.New(b), err
}

var errNoPassphrase = hint.Add(errors.New("no passphrase was given"), "type it, or use --passphrase-file")

// firstLine returns the first line of input that no person types. It reads no
// byte beyond that.
func firstLine(r io.Reader) (secret.Bytes, error) {
	buf := make([]byte, 0, keyreeveapi.MaxPassphrase*4+2)
	for len(buf) < cap(buf) {
		n, err := r.Read(buf[len(buf) : len(buf)+1])
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
	buf = bytes.TrimSuffix(buf, []byte("\r"))
	if len(buf) == 0 {
		return secret.Bytes{}, errNoPassphrase
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
		if phrase, err = c.read(e, "Passphrase: ", false); err != nil {
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
		phrase, err := c.read(e, "New passphrase: ", true)
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
		fmt.Fprintf(e.stdout, "a new root key is in place (%s)\n", out.Provider)
		fmt.Fprintf(e.stdout, "the next start needs seal.provider: %s in the configuration\n", out.Provider)
		fmt.Fprintln(e.stdout, "copies of the data from before open with the old one alone, which is kept here no longer")
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
