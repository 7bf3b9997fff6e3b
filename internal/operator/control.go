package operator

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/keyreeve/keyreeve/internal/hint"
	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/internal/wire"
)

// SocketName is the name of the control socket in the data directory.
const SocketName = "control.sock"

// The protocol: a client connects, sends one line with a JSON object, gets one
// line with a JSON object, and the connection is closed.
//
//	→ {"command":"status"}
//	← {"version":"1.0.0","started":1763758200,"sealed":false,"provider":"file","activeDomainKey":1}
//	→ {"command":"seal"}
//	← {}
//	→ {"command":"unseal","passphrase":"…"}      the passphrase only where one is needed
//	← {}
//	→ {"command":"env"}
//	← {"endpoint":"https://127.0.0.1:4599","ca":"/…/ca.pem","region":"us-east-1","accessKeyId":"AKIA…","secretAccessKey":"…"}
//	→ {"command":"accept-clock"}
//	← {}
//
// While the clock is ahead, status has "clockAhead", in seconds, as well.
//
// When it fails:
//
//	← {"error":"…","hint":"…"}
const (
	commandStatus = "status"
	commandSeal   = "seal"
	commandUnseal = "unseal"
	commandEnv    = "env"
	commandClock  = "accept-clock"
)

const (
	maxLine      = 16 << 10 // of a request and of an answer, in bytes
	maxAtOnce    = 4        // connections that are served; others wait
	lineTimeout  = 10 * time.Second
	serveTimeout = time.Minute // for what is asked for: unsealing takes its time
)

// Status is how a node is.
type Status struct {
	Version         string
	Started         time.Time
	Sealed          bool
	Provider        string // of the root key: "file", "passphrase" or "memory"
	ActiveDomainKey uint32 // 0 while sealed

	// ClockAhead is how far the clock has jumped ahead, to the second; until
	// that is accepted, keys are destroyed later by as much. 0 if it has not.
	ClockAhead time.Duration
}

// Environment is what a client needs to reach a node as its administrator.
type Environment struct {
	Endpoint        string // URL
	Authority       string // path of the certificate to trust; empty for none in particular
	Region          string
	AccessKeyID     string
	SecretAccessKey secret.Bytes
	SessionToken    string // of temporary credentials; the control socket tells none
}

// Peer is who is at the other end of the control socket, as the kernel says.
type Peer struct{ UID, PID int }

// Node is what the control socket steers. It puts on record what it does for
// whom. A hint of its errors is sent too.
type Node interface {
	Status() Status
	// Seal seals the node; one that is sealed stays so.
	Seal(ctx context.Context, by Peer) error
	// Unseal unseals the node, with a passphrase if one was sent. The
	// passphrase is wiped after the call.
	Unseal(ctx context.Context, by Peer, passphrase secret.Bytes) error
	// Environment returns how to reach the node. Its secret is the caller's,
	// who wipes it.
	Environment(ctx context.Context, by Peer) (Environment, error)
	// AcceptClock takes the clock as right, although it has jumped ahead.
	AcceptClock(ctx context.Context, by Peer) error
}

// Control serves the control socket.
type Control struct {
	node   Node
	log    *slog.Logger
	l      *net.UnixListener
	ctx    context.Context
	cancel context.CancelFunc
}

// Listen makes the control socket in dir, readable and writable by its owner
// alone, in the place of one that a node left behind when it was killed. It
// fails if another node listens there, and with [errors.ErrUnsupported] on
// systems that do not tell who is at the other end of a socket.
func Listen(dir string, node Node, log *slog.Logger) (*Control, error) {
	if !knowsPeers {
		return nil, fmt.Errorf("opening the control socket: %w on %s", errors.ErrUnsupported, runtime.GOOS)
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	path, err := socketPath(dir)
	if err != nil {
		return nil, err
	}
	if err := removeStale(path); err != nil {
		return nil, fmt.Errorf("opening the control socket: %w", err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("opening the control socket: %w", err)
	}
	// Whoever connects before this is told by the kernel, and not answered.
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, fmt.Errorf("opening the control socket: %w", err)
	}
	c := &Control{node: node, log: log, l: l}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c, nil
}

// maxSocketPath is the longest path of a socket: the smallest sun_path is of
// 104 bytes, with a zero byte at its end.
const maxSocketPath = 103

// socketPath returns the path of the socket, in the shorter way to write it.
func socketPath(dir string) (string, error) {
	path := filepath.Join(dir, SocketName)
	if abs, err := filepath.Abs(path); err == nil {
		path = shorter(path, abs)
		if wd, err := os.Getwd(); err == nil {
			if rel, err := filepath.Rel(wd, abs); err == nil {
				path = shorter(path, rel)
			}
		}
	}
	if len(path) > maxSocketPath {
		return "", hint.Add(fmt.Errorf("the path of the control socket is longer than %d bytes: %s", maxSocketPath, path),
			"use a data directory with a shorter path, or start in a directory near it")
	}
	return path, nil
}

func shorter(a, b string) string {
	if len(b) < len(a) {
		return b
	}
	return a
}

// removeStale removes a socket that nobody listens to.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return hint.Add(fmt.Errorf("%s is there and is no socket", path), "move it away")
	}
	if conn, err := net.DialTimeout("unix", path, time.Second); err == nil {
		conn.Close()
		return hint.Add(fmt.Errorf("another node listens at %s", path), "stop it first")
	}
	return os.Remove(path)
}

// Serve answers until Close, and returns nil then.
func (c *Control) Serve() error {
	var serving sync.WaitGroup
	defer serving.Wait()
	slots := make(chan struct{}, maxAtOnce)
	for {
		conn, err := c.l.AcceptUnix()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			// Such as too many open files: it may pass.
			c.log.Error("control socket", "error", err)
			select {
			case <-c.ctx.Done():
				return nil
			case <-time.After(100 * time.Millisecond):
			}
			continue
		}
		select {
		case slots <- struct{}{}:
		case <-c.ctx.Done():
			conn.Close()
			return nil
		}
		serving.Go(func() {
			defer func() { <-slots }()
			defer conn.Close()
			c.serve(conn)
		})
	}
}

// Close stops serving and removes the socket. What is being answered is told to
// end; Serve returns when it has.
func (c *Control) Close() error {
	c.cancel()
	if err := c.l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// serve answers one connection.
func (c *Control) serve(conn *net.UnixConn) {
	p, err := peerOf(conn)
	if err != nil {
		c.log.Error("control socket: who is there is not known", "error", err)
		return
	}
	if p.UID != os.Geteuid() && p.UID != 0 {
		c.log.Warn("control socket: refused another user", "uid", p.UID, "pid", p.PID)
		return
	}
	_ = conn.SetDeadline(time.Now().Add(lineTimeout))
	line := make([]byte, maxLine)
	defer clear(line)
	n, err := readLine(conn, line)
	var answer []byte
	if err == nil {
		ctx, cancel := context.WithTimeout(c.ctx, serveTimeout)
		answer, err = c.run(ctx, line[:n], p)
		cancel()
	}
	if err != nil {
		answer = appendError(nil, err)
	}
	defer clear(answer)
	_ = conn.SetDeadline(time.Now().Add(lineTimeout))
	if _, err := conn.Write(append(answer, '\n')); err != nil {
		c.log.Warn("control socket: answering", "error", err)
	}
}

// run runs the command in a line.
func (c *Control) run(ctx context.Context, line []byte, p Peer) ([]byte, error) {
	command, passphrase, err := readCommand(line)
	defer passphrase.Wipe()
	if err != nil {
		return nil, err
	}
	if !passphrase.IsNil() && command != commandUnseal {
		return nil, fmt.Errorf("the command %s takes no passphrase", command)
	}
	var answer []byte
	switch command {
	case commandStatus:
		return appendStatus(nil, c.node.Status()), nil
	case commandSeal:
		answer, err = []byte("{}"), c.node.Seal(ctx, p)
	case commandUnseal:
		answer, err = []byte("{}"), c.node.Unseal(ctx, p, passphrase)
	case commandEnv:
		var e Environment
		e, err = c.node.Environment(ctx, p)
		defer e.SecretAccessKey.Wipe()
		answer = appendEnvironment(make([]byte, 0, 1024), e)
	case commandClock:
		answer, err = []byte("{}"), c.node.AcceptClock(ctx, p)
	default:
		return nil, errors.New("no such command")
	}
	if err != nil {
		c.log.Warn("control socket", "command", command, "uid", p.UID, "pid", p.PID, "error", err)
		return nil, err
	}
	c.log.Info("control socket", "command", command, "uid", p.UID, "pid", p.PID)
	return answer, nil
}

// readLine reads up to the line end that the other side's message ends with,
// into buf, and returns its length without that.
func readLine(r io.Reader, buf []byte) (int, error) {
	n := 0
	for n < len(buf) {
		m, err := r.Read(buf[n:])
		n += m
		if i := bytes.IndexByte(buf[n-m:n], '\n'); i >= 0 {
			if i != m-1 {
				return 0, errors.New("more than one line was sent")
			}
			return n - 1, nil
		}
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return 0, fmt.Errorf("reading from the control socket: %w", err)
		}
	}
	return 0, fmt.Errorf("a line of more than %d bytes", len(buf)-1)
}

func readCommand(line []byte) (command string, passphrase secret.Bytes, err error) {
	r := wire.NewReader(line)
	known := true
	if r.Root() {
		for r.Member() {
			switch string(r.Name()) {
			case "command":
				command, _ = r.String()
			case "passphrase":
				passphrase.Wipe()
				passphrase = r.Secret()
			default:
				known = false
				r.Skip()
			}
		}
	}
	if err := r.Close(); err != nil || !known {
		return "", passphrase, errors.New("what was sent is not a command")
	}
	return command, passphrase, nil
}

func appendStatus(b []byte, s Status) []byte {
	b = wire.AppendName(append(b, '{'), "version")
	b = wire.AppendString(b, s.Version)
	b = wire.AppendTime(wire.AppendName(b, "started"), s.Started)
	b = wire.AppendBool(wire.AppendName(b, "sealed"), s.Sealed)
	b = wire.AppendString(wire.AppendName(b, "provider"), s.Provider)
	b = wire.AppendInt(wire.AppendName(b, "activeDomainKey"), int32(s.ActiveDomainKey))
	if s.ClockAhead > 0 {
		b = wire.AppendInt(wire.AppendName(b, "clockAhead"), int32(min(s.ClockAhead/time.Second, math.MaxInt32)))
	}
	return append(b, '}')
}

func appendEnvironment(b []byte, e Environment) []byte {
	b = wire.AppendName(append(b, '{'), "endpoint")
	b = wire.AppendString(b, e.Endpoint)
	b = wire.AppendString(wire.AppendName(b, "ca"), e.Authority)
	b = wire.AppendString(wire.AppendName(b, "region"), e.Region)
	b = wire.AppendString(wire.AppendName(b, "accessKeyId"), e.AccessKeyID)
	b = wire.AppendString(wire.AppendName(b, "secretAccessKey"), e.SecretAccessKey.Reveal())
	return append(b, '}')
}

func appendError(b []byte, err error) []byte {
	b = wire.AppendName(append(b, '{'), "error")
	b = wire.AppendString(b, err.Error())
	if advice := hint.Of(err); advice != "" {
		b = wire.AppendString(wire.AppendName(b, "hint"), advice)
	}
	return append(b, '}')
}
