package loadgen

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// The ways to sign.
const (
	signEach = "each"
	signOnce = "once"
	signNone = "none"
)

// An endpoint is a Target that connections can be made to.
type endpoint struct {
	target *Target
	scheme string
	host   string // as in the Host header
	addr   string // as for net.Dial
	path   string // without a slash at the end
	tls    *tls.Config
}

func newEndpoint(t *Target, newConnections bool) (*endpoint, error) {
	u, err := url.Parse(t.URL)
	if err != nil {
		return nil, fmt.Errorf("server's URL: %w", err)
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("%q is not an http or https URL", t.URL)
	}
	e := &endpoint{target: t, scheme: u.Scheme, host: u.Host, addr: u.Host, path: strings.TrimSuffix(u.EscapedPath(), "/")}
	if u.Port() == "" {
		e.addr = net.JoinHostPort(u.Hostname(), map[string]string{"http": "80", "https": "443"}[u.Scheme])
	}
	if u.Scheme == "http" {
		return e, nil
	}
	e.tls = &tls.Config{
		MinVersion:         tls.VersionTLS12,
		ServerName:         t.ServerName,
		InsecureSkipVerify: t.Insecure, // only if the operator says so, to measure a server of theirs
		NextProtos:         []string{"http/1.1"},
	}
	if e.tls.ServerName == "" {
		e.tls.ServerName = u.Hostname()
	}
	if !newConnections {
		// A server that closes connections gets resumptions, as from SDKs.
		e.tls.ClientSessionCache = tls.NewLRUClientSessionCache(64)
	}
	if len(t.CA) > 0 {
		e.tls.RootCAs = x509.NewCertPool()
		if !e.tls.RootCAs.AppendCertsFromPEM(t.CA) {
			return nil, errors.New("no certificate among those of the CA")
		}
	}
	if t.Certificate != nil {
		e.tls.Certificates = []tls.Certificate{*t.Certificate}
	}
	return e, nil
}

// A request is ready to be sent but for its signature.
type request struct {
	method, path string
	header       http.Header
	body         []byte
	sealed       atomic.Pointer[signedBytes] // what "once" and "none" send again
}

// signedBytes is a whole request with its signature.
type signedBytes struct {
	bytes []byte
	made  time.Time
}

// resign is the age at which a signature is not sent again: servers accept
// those of the last five minutes.
const resign = 4 * time.Minute

func newRequest(method, path string, headers []string, body []byte) (*request, error) {
	r := &request{method: method, path: path, header: http.Header{}, body: body}
	for _, h := range headers {
		name, value, ok := strings.Cut(h, ":")
		if name, value = strings.TrimSpace(name), strings.TrimSpace(value); !ok || name == "" || strings.ContainsAny(h, "\r\n") {
			return nil, fmt.Errorf("header %q is not 'Name: value'", h)
		}
		r.header.Add(name, value)
	}
	return r, nil
}

// A conn is one worker's connection. It writes each request with one write and
// reads the answer on the same goroutine, which costs the client much less
// than http.Transport. It is used by one goroutine at a time.
type conn struct {
	ep        *endpoint
	sign      string
	timeout   time.Duration
	closeEach bool

	nc     net.Conn // nil if there is none
	in     *bufio.Reader
	out    []byte
	answer bytes.Buffer
	dials  int64
	state  *tls.ConnectionState
}

func newConn(ep *endpoint, l *Load) *conn {
	return &conn{ep: ep, sign: l.Sign, timeout: l.Timeout, closeEach: l.NewConnections}
}

func (c *conn) close() {
	if c.nc != nil {
		_ = c.nc.Close() // nothing is owed to the server
		c.nc = nil
	}
}

func (c *conn) dial() error {
	nc, err := net.DialTimeout("tcp", c.ep.addr, c.timeout)
	if err != nil {
		return err
	}
	c.dials++
	if c.ep.tls != nil {
		tc := tls.Client(nc, c.ep.tls)
		err := errors.Join(tc.SetDeadline(time.Now().Add(c.timeout)), tc.Handshake())
		if err != nil {
			return errors.Join(err, nc.Close())
		}
		state := tc.ConnectionState()
		c.state, nc = &state, tc
	}
	c.nc = nc
	if c.in == nil {
		c.in = bufio.NewReaderSize(nc, 16<<10)
	} else {
		c.in.Reset(nc)
	}
	return nil
}

// describe says how the connection is protected.
func (c *conn) describe() string {
	if c.state == nil {
		return "no TLS"
	}
	return fmt.Sprintf("%s, %s, %s", tls.VersionName(c.state.Version), tls.CipherSuiteName(c.state.CipherSuite), c.state.CurveID)
}

// statusError is an answer that is not 2xx.
type statusError struct {
	status int
	body   string
}

func (e *statusError) Error() string { return fmt.Sprintf("HTTP %d: %.300s", e.status, e.body) }

// call sends r and returns the answer's body, valid until the next call. An
// answer that is not 2xx is a *statusError; after any other error the
// connection is closed and the next call opens a new one.
func (c *conn) call(r *request) ([]byte, error) {
	text, err := c.text(r)
	if err != nil {
		return nil, err
	}
	if c.nc == nil {
		if err := c.dial(); err != nil {
			return nil, err
		}
	}
	status, keep, err := c.exchange(text)
	if err != nil || !keep || c.closeEach {
		c.close()
	}
	if err != nil {
		return nil, err
	}
	if status < 200 || status > 299 {
		return nil, &statusError{status, strings.ToValidUTF8(c.answer.String(), "?")}
	}
	return c.answer.Bytes(), nil
}

func (c *conn) exchange(text []byte) (status int, keep bool, err error) {
	if err := c.nc.SetDeadline(time.Now().Add(c.timeout)); err != nil {
		return 0, false, err
	}
	if _, err := c.nc.Write(text); err != nil {
		return 0, false, err
	}
	return readAnswer(c.in, &c.answer)
}

// readAnswer reads one HTTP/1.1 answer, its body into body.
func readAnswer(in *bufio.Reader, body *bytes.Buffer) (status int, keep bool, err error) {
	body.Reset()
	line, err := readLine(in)
	if err != nil {
		return 0, false, err
	}
	if len(line) < 12 || !bytes.HasPrefix(line, []byte("HTTP/1.")) {
		return 0, false, fmt.Errorf("not an HTTP/1 answer: %.40q", line)
	}
	if status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return 0, false, fmt.Errorf("not an HTTP/1 answer: %.40q", line)
	}
	keep = line[7] == '1'
	length, chunked := int64(-1), false
	for {
		line, err := readLine(in)
		if err != nil {
			return 0, false, err
		}
		if len(line) == 0 {
			break
		}
		name, value, _ := bytes.Cut(line, []byte{':'})
		value = bytes.TrimSpace(value)
		switch {
		case bytes.EqualFold(name, []byte("Content-Length")):
			if length, err = strconv.ParseInt(string(value), 10, 64); err != nil || length < 0 {
				return 0, false, fmt.Errorf("content length %.40q", value)
			}
		case bytes.EqualFold(name, []byte("Transfer-Encoding")):
			chunked = true
		case bytes.EqualFold(name, []byte("Connection")):
			keep = keep && !bytes.EqualFold(value, []byte("close"))
		}
	}
	switch {
	case status == http.StatusNoContent || status == http.StatusNotModified:
	case chunked:
		// The trailer is an empty line: nobody here sends more.
		if _, err = io.Copy(body, httputil.NewChunkedReader(in)); err == nil {
			_, err = readLine(in)
		}
	case length >= 0:
		_, err = io.CopyN(body, in, length)
	default:
		keep = false
		_, err = io.Copy(body, in)
	}
	return status, keep, err
}

// readLine returns a line without its end, valid until the next read.
func readLine(in *bufio.Reader) ([]byte, error) {
	line, err := in.ReadSlice('\n')
	if err != nil {
		return nil, err
	}
	return bytes.TrimRight(line, "\r\n"), nil
}

// text returns the bytes to send for r, valid until the next call.
func (c *conn) text(r *request) ([]byte, error) {
	if c.sign == signEach {
		var err error
		c.out, err = c.ep.appendText(c.out[:0], r, true, time.Now())
		return c.out, err
	}
	now := time.Now()
	if s := r.sealed.Load(); s != nil && now.Sub(s.made) < resign {
		return s.bytes, nil
	}
	b, err := c.ep.appendText(nil, r, c.sign == signOnce, now)
	if err != nil {
		return nil, err
	}
	r.sealed.Store(&signedBytes{b, now})
	return b, nil
}

// appendText appends r as it goes over the wire.
func (e *endpoint) appendText(b []byte, r *request, sign bool, now time.Time) ([]byte, error) {
	path, header := e.path+r.path, r.header
	if sign {
		u, err := url.ParseRequestURI(path)
		if err != nil {
			return nil, err
		}
		hr := &http.Request{Method: r.method, URL: u, Host: e.host, Header: header.Clone(), ContentLength: int64(len(r.body))}
		e.target.Credentials.Sign(hr, r.body, e.target.Region, "kms", now)
		header = hr.Header
	}
	b = append(b, r.method...)
	b = append(b, ' ')
	b = append(b, path...)
	b = append(b, " HTTP/1.1\r\nHost: "...)
	b = append(b, e.host...)
	b = append(b, "\r\nContent-Length: "...)
	b = strconv.AppendInt(b, int64(len(r.body)), 10)
	b = append(b, "\r\n"...)
	for name, values := range header {
		for _, v := range values {
			b = append(b, name...)
			b = append(b, ": "...)
			b = append(b, v...)
			b = append(b, "\r\n"...)
		}
	}
	b = append(b, "\r\n"...)
	return append(b, r.body...), nil
}
