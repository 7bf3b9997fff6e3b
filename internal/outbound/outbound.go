// Package outbound is the one way out: connections to places that somebody
// other than the operator may name, such as the issuers of tokens.
//
// A [Dialer] connects to hosts that the operator has allowed, and to none else.
// What a name resolves to is looked at before connecting, and the connection is
// made to that very address, so that a name cannot mean another one in between:
// loopback, link-local, private and other special addresses are refused, unless
// the operator says otherwise. Proxies of the environment are not used.
package outbound

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// How long a connection and a whole request may take, if [Options] do not say.
const (
	DefaultConnect = 3 * time.Second
	DefaultRequest = 5 * time.Second
)

// maxHeader bounds the header of an answer, in bytes; maxAddresses is how many
// addresses of a name are tried.
const (
	maxHeader    = 32 << 10
	maxAddresses = 4
)

// Errors.
var (
	// ErrForbidden is a host that is not allowed, or an address that is not.
	ErrForbidden = errors.New("outbound: not allowed")
	// ErrTooLarge is an answer that is longer than the caller takes.
	ErrTooLarge = errors.New("outbound: the answer is too large")
	// ErrAnswer is an answer that is none: a redirect, an error, another type.
	ErrAnswer = errors.New("outbound: not an answer")
)

// Options are what the operator allows. The zero value allows nothing.
type Options struct {
	// Allow are the hosts: "idp.example.com" (port 443), "idp.example.com:8443",
	// or "*.example.com" for whatever is below a domain.
	Allow []string
	// Networks are special addresses that may be connected to all the same.
	Networks []netip.Prefix
	// Resolve are the addresses of hosts that are not looked up, by host and
	// port: "idp.example.com:443" → "127.0.0.1:8443". Such an address may be
	// any, for the operator has named it.
	Resolve map[string]netip.AddrPort
	// Roots are the certificate authorities of servers; nil means the system's.
	Roots *x509.CertPool

	Connect time.Duration // 0 means DefaultConnect
	Request time.Duration // 0 means DefaultRequest

	// Lookup resolves a name; nil means as the system does.
	Lookup func(ctx context.Context, host string) ([]netip.Addr, error)
	// Now is the time by which certificates are checked; nil means time.Now.
	Now func() time.Time
}

// Dialer connects to what is allowed. Its methods may be called concurrently.
type Dialer struct {
	o      Options
	dial   net.Dialer
	client *http.Client
}

// New returns a dialer.
func New(o Options) *Dialer {
	if o.Connect <= 0 {
		o.Connect = DefaultConnect
	}
	if o.Request <= 0 {
		o.Request = DefaultRequest
	}
	if o.Lookup == nil {
		o.Lookup = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
	}
	d := &Dialer{o: o}
	d.client = &http.Client{ // whose time GetJSON bounds
		// A redirect is answered to the caller as what it is.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext:            d.DialContext,
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: o.Roots, Time: o.Now},
			TLSHandshakeTimeout:    o.Connect,
			MaxResponseHeaderBytes: maxHeader,
			DisableKeepAlives:      true, // what is fetched is fetched rarely
			DisableCompression:     true, // a short answer stays short
		},
	}
	return d
}

// DialContext connects to "host:port". The network is "tcp". Errors:
// [ErrForbidden], and those of net.
func (d *Dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := split(address)
	if err != nil {
		return nil, err
	}
	if !d.allows(host, port) {
		return nil, fmt.Errorf("%w: %s is not among the hosts that the operator allows", ErrForbidden, net.JoinHostPort(host, port))
	}
	ctx, cancel := context.WithTimeout(ctx, d.o.Connect)
	defer cancel()
	targets, err := d.targets(ctx, host, port)
	if err != nil {
		return nil, err
	}
	for _, target := range targets {
		var conn net.Conn
		if conn, err = d.dial.DialContext(ctx, network, target.String()); err == nil {
			return conn, nil
		}
	}
	return nil, err
}

// split takes "host:port" apart; the host is in lower case, without a dot at
// its end.
func split(address string) (host, port string, err error) {
	host, port, err = net.SplitHostPort(address)
	if err != nil {
		return "", "", fmt.Errorf("%w: %w", ErrForbidden, err)
	}
	return strings.TrimSuffix(strings.ToLower(host), "."), port, nil
}

// allows reports whether the operator has allowed a host.
func (d *Dialer) allows(host, port string) bool {
	for _, pattern := range d.o.Allow {
		name, at := pattern, "443"
		if h, p, err := net.SplitHostPort(pattern); err == nil {
			name, at = h, p
		}
		name = strings.ToLower(strings.Trim(name, "[]"))
		if at != port {
			continue
		}
		if below, ok := strings.CutPrefix(name, "*."); ok {
			if _, err := netip.ParseAddr(host); err != nil && strings.HasSuffix(host, "."+below) {
				return true
			}
		} else if name == host {
			return true
		}
	}
	return false
}

// targets returns the addresses that a host may be reached at.
func (d *Dialer) targets(ctx context.Context, host, port string) ([]netip.AddrPort, error) {
	if named, ok := d.o.Resolve[net.JoinHostPort(host, port)]; ok {
		return []netip.AddrPort{named}, nil
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("%w: port %q", ErrForbidden, port)
	}
	var found []netip.Addr
	if literal, err := netip.ParseAddr(host); err == nil {
		found = []netip.Addr{literal}
	} else if found, err = d.o.Lookup(ctx, host); err != nil {
		return nil, fmt.Errorf("outbound: resolving %s: %w", host, err)
	}
	var targets []netip.AddrPort
	for _, a := range found {
		if a = a.Unmap().WithZone(""); d.reaches(a) && len(targets) < maxAddresses {
			targets = append(targets, netip.AddrPortFrom(a, uint16(number)))
		}
	}
	if len(targets) == 0 {
		return nil, fmt.Errorf("%w: %s has no public address", ErrForbidden, host)
	}
	return targets, nil
}

// reaches reports whether an address may be connected to.
func (d *Dialer) reaches(a netip.Addr) bool {
	return slices.ContainsFunc(d.o.Networks, func(p netip.Prefix) bool { return p.Contains(a) }) || Public(a)
}

// special are the networks that are no public hosts' although they look like
// addresses of some. Source: the IANA registries of special-purpose addresses
// of IPv4 and IPv6 (RFC 6890). Those that hold an address of IPv4 are among
// them: what that means is for a gateway to say, which none needs here.
var special = prefixes(
	"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24",
	"192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3",
	"2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20",
)

// global is what is in use of IPv6.
var global = netip.MustParsePrefix("2000::/3")

func prefixes(texts ...string) []netip.Prefix {
	list := make([]netip.Prefix, 0, len(texts))
	for _, s := range texts {
		list = append(list, netip.MustParsePrefix(s))
	}
	return list
}

// Public reports whether an address is that of a host on the public internet.
func Public(a netip.Addr) bool {
	a = a.Unmap()
	if !a.IsValid() || a.Zone() != "" || a.Is6() && !global.Contains(a) {
		return false
	}
	return !slices.ContainsFunc(special, func(p netip.Prefix) bool { return p.Contains(a) })
}

// GetJSON fetches a document of at most so many bytes from an https URL. There
// are no redirects, an answer other than 200 is [ErrAnswer], and what comes when
// the time for the request is over is no answer. Errors besides: [ErrForbidden],
// [ErrTooLarge], and those of context, net and crypto/tls.
func (d *Dialer) GetJSON(ctx context.Context, from string, most int) ([]byte, error) {
	u, err := url.Parse(from)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil {
		return nil, fmt.Errorf("%w: %q is no https URL of a host", ErrForbidden, from)
	}
	ctx, cancel := context.WithTimeout(ctx, d.o.Request)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, fmt.Errorf("outbound: %w", err)
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "keyreeve")
	res, err := d.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("outbound: %w", err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%w: %s answered %d", ErrAnswer, u.Host, res.StatusCode)
	}
	if t := res.Header.Get("Content-Type"); t != "" && !isJSON(t) {
		return nil, fmt.Errorf("%w: %s answered with another type than JSON", ErrAnswer, u.Host)
	}
	text, err := io.ReadAll(io.LimitReader(res.Body, int64(most)+1))
	if err != nil {
		return nil, fmt.Errorf("outbound: reading the answer of %s: %w", u.Host, err)
	}
	// Giving a request up closes its connection with a farewell, upon which the
	// server may still end its answer; net/http passes that on as a whole one.
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("outbound: reading the answer of %s: %w", u.Host, err)
	}
	if len(text) > most {
		return nil, fmt.Errorf("%w: %s answered with more than %d bytes", ErrTooLarge, u.Host, most)
	}
	return text, nil
}

// isJSON reports whether a content type is one that issuers use for JSON. Some
// serve their documents as plain text, or as bytes.
func isJSON(contentType string) bool {
	media, _, err := mime.ParseMediaType(contentType)
	return err == nil && (strings.HasSuffix(media, "json") || media == "text/plain" || media == "application/octet-stream")
}
