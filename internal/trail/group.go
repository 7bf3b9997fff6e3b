package trail

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/keyreeve/keyreeve/internal/config"
	"github.com/keyreeve/keyreeve/internal/seal"
)

// perGroup is how many connections to a syslog server there are at once.
const perGroup = 4

// maxDatagram is how long a message may be that goes with UDP, in bytes: what
// fits into a packet of IPv4. What is longer is cut, as RFC 5426 allows; with
// TCP and TLS nothing is.
const maxDatagram = 65507

// dispatchPause is how long to wait after so many datagrams, so that a server
// can keep up: nobody says when it can't.
const (
	dispatchBurst = 16
	dispatchPause = 2 * time.Millisecond
)

// group is a syslog server that can be written to: RFC 5424, over TLS (RFC
// 5425), TCP with octet counting (RFC 6587, 3.4.1) or UDP (RFC 5426).
type group struct {
	config.LogGroup
	network  string // "tls", "tcp" or "udp"
	address  string // host:port
	dialer   *dialer
	tls      *tls.Config
	patience time.Duration
	host     string
	slots    chan struct{} // of capacity perGroup
	rest     rest
}

func newGroup(g config.LogGroup, o *Options) (*group, error) {
	u, err := url.Parse(g.Address)
	if err != nil {
		return nil, fmt.Errorf("its address: %w", err)
	}
	made := &group{LogGroup: g, network: u.Scheme, address: u.Host, patience: o.Patience, rest: rest{length: min(o.Patience, o.Rest)}, host: o.Host, slots: make(chan struct{}, perGroup)}
	if made.host == "" {
		if made.host, err = os.Hostname(); err != nil {
			made.host = ""
		}
	}
	made.host = printable(made.host, 255)
	if made.dialer, err = dialTo(o, g.CA, u.Port(), u.Hostname()); err != nil {
		return nil, err
	}
	made.tls = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: made.dialer.roots, ServerName: u.Hostname(), Time: o.Now}
	if g.Certificate != "" {
		// Read at each connection, so that a renewed one counts.
		made.tls.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return clientCertificate(g.Certificate, g.Key)
		}
	}
	return made, nil
}

// maxKey bounds the file of a private key, in bytes.
const maxKey = 64 << 10

func clientCertificate(certificate, key string) (*tls.Certificate, error) {
	chain, err := os.ReadFile(certificate)
	if err != nil {
		return nil, fmt.Errorf("reading the certificate: %w", err)
	}
	private, err := seal.ReadPrivate(key, maxKey)
	if err != nil {
		return nil, fmt.Errorf("reading the certificate's key: %w", err)
	}
	defer private.Wipe()
	c, err := tls.X509KeyPair(chain, private.Reveal())
	if err != nil {
		return nil, fmt.Errorf("the certificate %s: %w", certificate, err)
	}
	return &c, nil
}

// printable returns s as a field of a syslog header: at most so many printable
// characters of ASCII, or "-" for none.
func printable(s string, most int) string {
	s = strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' {
			return -1
		}
		return r
	}, s)
	if s == "" {
		return "-"
	}
	return s[:min(len(s), most)]
}

// What messages are: of the facility "log audit" (13), events of the severity
// "informational" (6), digests "notice" (5).
const (
	priorityEvent  = 13*8 + 6
	priorityDigest = 13*8 + 5
)

const (
	messageEvent  = "event"
	messageDigest = "digest"
)

// appendMessage appends a message, without a frame. Its text is JSON.
//
//	<110>1 2026-11-22T03:15:00.000000Z host keyreeve - event - {"eventVersion":…}
func appendMessage(b []byte, priority int, at time.Time, host, kind string, text []byte) []byte {
	b = append(b, '<')
	b = strconv.AppendInt(b, int64(priority), 10)
	b = append(b, ">1 "...)
	b = at.UTC().AppendFormat(b, "2006-01-02T15:04:05.000000Z")
	b = append(b, ' ')
	b = append(b, host...)
	b = append(b, " keyreeve - "...)
	b = append(b, kind...)
	b = append(b, " - "...)
	return append(b, text...)
}

// batch is messages on their way to a server: what is sent counts only once
// close has returned without an error.
type batch struct {
	g       *group
	conn    net.Conn
	raw     *watched      // below TLS; nil without it
	out     *bufio.Writer // nil for UDP
	buf     []byte
	frame   []byte
	sent    int    // datagrams
	release func() // gives back the slot, and forgets ctx
}

// errAnswer is a server that does not end a connection as it should.
var errAnswer = errors.New("trail: the server did not confirm the end of the connection")

// open connects to the server. The end of ctx ends the connection.
func (g *group) open(whole context.Context) (_ *batch, err error) {
	select {
	case g.slots <- struct{}{}:
	case <-whole.Done():
		return nil, fmt.Errorf("waiting for others that are sent to log group %s: %w", g.Name, whole.Err())
	}
	ctx, cancel := context.WithTimeout(whole, g.patience)
	defer cancel()
	release := func() { <-g.slots }
	if err := g.rest.refuses(); err != nil {
		release()
		return nil, err
	}
	defer func() {
		if err != nil {
			release()
			g.rest.note(whole, err)
			err = fmt.Errorf("connecting to log group %s: %w", g.Name, err)
		}
	}()
	network := "tcp"
	if g.network == "udp" {
		network = "udp"
	}
	conn, err := g.dialer.connect(ctx, network, g.address)
	if err != nil {
		return nil, err
	}
	b := &batch{g: g, conn: conn}
	if g.network == "tls" {
		b.raw = &watched{Conn: conn}
		secure := tls.Client(b.raw, g.tls)
		if err := secure.HandshakeContext(ctx); err != nil {
			conn.Close()
			return nil, err
		}
		b.conn = secure
	}
	if g.network != "udp" {
		b.out = bufio.NewWriterSize(b.conn, 32<<10)
	}
	forget := context.AfterFunc(whole, func() { conn.Close() })
	b.release = func() { forget(); release() }
	return b, nil
}

// send sends a message. A server that does not read for the whole patience is an
// error, and so is the end of ctx.
func (b *batch) send(ctx context.Context, priority int, at time.Time, kind string, text []byte) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("sending to log group %s: %w", b.g.Name, err)
	}
	b.buf = appendMessage(b.buf[:0], priority, at, b.g.host, kind, text)
	if err := b.write(ctx); err != nil {
		b.g.rest.note(ctx, err)
		return fmt.Errorf("sending to log group %s: %w", b.g.Name, err)
	}
	return nil
}

func (b *batch) write(ctx context.Context) error {
	if b.out == nil {
		if b.sent++; b.sent%dispatchBurst == 0 {
			select {
			case <-time.After(dispatchPause):
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		_, err := b.conn.Write(cut(b.buf, maxDatagram))
		return err
	}
	// Not at each message of many: it is a call of the system.
	if b.out.Available() < len(b.buf)+20 {
		if err := b.conn.SetWriteDeadline(time.Now().Add(b.g.patience)); err != nil {
			return err
		}
	}
	b.frame = strconv.AppendInt(b.frame[:0], int64(len(b.buf)), 10)
	b.frame = append(b.frame, ' ')
	if _, err := b.out.Write(b.frame); err != nil {
		return err
	}
	_, err := b.out.Write(b.buf)
	return err
}

// cut returns the first bytes of a text, no character of which is cut.
func cut(text []byte, most int) []byte {
	if len(text) <= most {
		return text
	}
	for most > 0 && !utf8.RuneStart(text[most]) {
		most--
	}
	return text[:most]
}

// close ends the connection, and returns whether the server has taken all that
// was sent.
//
// Syslog knows no answer to a message. But a server that has read up to the end
// of the connection closes it on its side, too (with TLS it must say so: RFC
// 5425, 4.4); one that died, hangs or was cut off before does not. So our side
// is closed first, and then theirs is waited for. Of UDP nothing is known.
func (b *batch) close(ctx context.Context) error {
	defer b.abandon()
	if b.out == nil {
		return nil
	}
	err := b.end()
	b.g.rest.note(ctx, err)
	if err != nil {
		return fmt.Errorf("ending the connection to log group %s: %w", b.g.Name, err)
	}
	return nil
}

func (b *batch) end() error {
	if err := b.conn.SetDeadline(time.Now().Add(b.g.patience)); err != nil {
		return err
	}
	if err := b.out.Flush(); err != nil {
		return err
	}
	half, ok := b.conn.(interface{ CloseWrite() error }) // *net.TCPConn or *tls.Conn
	if !ok {
		return errAnswer
	}
	if err := half.CloseWrite(); err != nil {
		return err
	}
	switch n, err := io.CopyN(io.Discard, b.conn, maxAnswer); {
	case n == maxAnswer:
		return fmt.Errorf("%w: it keeps talking", errAnswer)
	case !errors.Is(err, io.EOF):
		return fmt.Errorf("%w: %w", errAnswer, err)
	case b.raw != nil && b.raw.ended:
		return fmt.Errorf("%w: it did not say so", errAnswer)
	}
	return nil
}

// watched is a connection that remembers whether it has ended. TLS ends before:
// by an alert, which comes from the server. Package tls takes the end of the
// connection for as good, and that anybody on the way can make.
type watched struct {
	net.Conn
	ended bool
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	if err != nil {
		w.ended = true
	}
	return n, err
}

// maxAnswer bounds what a server may say in an answer, in bytes: that of syslog
// says nothing, that of S3 little.
const maxAnswer = 64 << 10

// abandon ends the connection at once: what was sent does not count.
func (b *batch) abandon() {
	b.conn.Close()
	b.release()
}
