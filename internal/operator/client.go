package operator

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/keyreeve/keyreeve/internal/hint"
	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/internal/wire"
)

// ErrNotRunning is returned where no node listens to the control socket.
var ErrNotRunning = errors.New("no node is running here")

// Client talks to the control socket of a node on this machine. The zero value
// is of no use.
type Client struct{ dir string }

// NewClient returns a client of the node whose data directory is dir.
func NewClient(dir string) Client { return Client{dir} }

// Status returns how the node is.
func (c Client) Status(ctx context.Context) (Status, error) {
	var s Status
	err := c.do(ctx, commandStatus, secret.Bytes{}, func(r *wire.Reader, name string) {
		switch name {
		case "version":
			s.Version, _ = r.String()
		case "started":
			s.Started = r.Time()
		case "sealed":
			s.Sealed = r.Bool()
		case "provider":
			s.Provider, _ = r.String()
		case "activeDomainKey":
			if n := r.Int(); n != nil {
				s.ActiveDomainKey = uint32(*n)
			}
		case "clockAhead":
			if n := r.Int(); n != nil {
				s.ClockAhead = time.Duration(*n) * time.Second
			}
		default:
			r.Skip()
		}
	})
	return s, err
}

// Seal seals the node.
func (c Client) Seal(ctx context.Context) error {
	return c.do(ctx, commandSeal, secret.Bytes{}, func(r *wire.Reader, _ string) { r.Skip() })
}

// Unseal unseals the node. The passphrase may be absent where the root key is
// in a file.
func (c Client) Unseal(ctx context.Context, passphrase secret.Bytes) error {
	return c.do(ctx, commandUnseal, passphrase, func(r *wire.Reader, _ string) { r.Skip() })
}

// Environment returns how to reach the node as its administrator. The caller
// wipes the secret.
func (c Client) Environment(ctx context.Context) (Environment, error) {
	var e Environment
	err := c.do(ctx, commandEnv, secret.Bytes{}, func(r *wire.Reader, name string) {
		switch name {
		case "endpoint":
			e.Endpoint, _ = r.String()
		case "ca":
			e.Authority, _ = r.String()
		case "region":
			e.Region, _ = r.String()
		case "accessKeyId":
			e.AccessKeyID, _ = r.String()
		case "secretAccessKey":
			e.SecretAccessKey = r.Secret()
		default:
			r.Skip()
		}
	})
	return e, err
}

// AcceptClock has the node take its clock as right, although it has jumped
// ahead.
func (c Client) AcceptClock(ctx context.Context) error {
	return c.do(ctx, commandClock, secret.Bytes{}, func(r *wire.Reader, _ string) { r.Skip() })
}

// refusal is a node's answer that something failed.
type refusal struct{ text, hint string }

func (e *refusal) Error() string { return e.text }

// Hint returns what to do about it, or "".
func (e *refusal) Hint() string { return e.hint }

// do sends a command and has the members of the answer read.
func (c Client) do(ctx context.Context, command string, passphrase secret.Bytes, read func(r *wire.Reader, name string)) error {
	path, err := socketPath(c.dir)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, serveTimeout+2*lineTimeout)
	defer cancel()
	var d net.Dialer
	dialed, err := d.DialContext(ctx, "unix", path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return hint.Add(fmt.Errorf("%w: %s", ErrNotRunning, path), "start one with: keyreeve serve --data "+c.dir)
	}
	if err != nil {
		return fmt.Errorf("connecting to the node: %w", err)
	}
	conn := dialed.(*net.UnixConn)
	defer conn.Close()
	// A passphrase is not told to just anybody who could put a socket there.
	if p, err := peerOf(conn); err != nil {
		return fmt.Errorf("finding out who listens at %s: %w", path, err)
	} else if me := os.Geteuid(); p.UID != me && p.UID != 0 && me != 0 {
		return fmt.Errorf("another user, %d, listens at %s", p.UID, path)
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()

	line := make([]byte, 0, maxLine)
	line = wire.AppendName(append(line, '{'), "command")
	line = wire.AppendString(line, command)
	if !passphrase.IsNil() {
		line = wire.AppendString(wire.AppendName(line, "passphrase"), passphrase.Reveal())
	}
	line = append(line, "}\n"...)
	defer clear(line)
	if len(line) > maxLine {
		return errors.New("the passphrase is too long")
	}
	if _, err := conn.Write(line); err != nil {
		return c.failed(ctx, "talking to the node", err)
	}
	answer := make([]byte, maxLine)
	defer clear(answer)
	n, err := readLine(conn, answer)
	if err != nil {
		return c.failed(ctx, "waiting for the node", err)
	}
	var no refusal
	r := wire.NewReader(answer[:n])
	if r.Root() {
		for r.Member() {
			switch name := string(r.Name()); name {
			case "error":
				no.text, _ = r.String()
			case "hint":
				no.hint, _ = r.String()
			default:
				read(&r, name)
			}
		}
	}
	if err := r.Close(); err != nil {
		return fmt.Errorf("reading the node's answer: %w", err)
	}
	if no.text != "" {
		return &no
	}
	return nil
}

// failed tells an ended context from a broken connection.
func (c Client) failed(ctx context.Context, doing string, err error) error {
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return fmt.Errorf("%s: %w", doing, err)
}
