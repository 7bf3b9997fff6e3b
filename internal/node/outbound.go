package node

import (
	"crypto/x509"
	"fmt"
	"net/netip"
	"os"

	"github.com/keyreeve/keyreeve/internal/outbound"
)

// openOutbound makes the dialer for what tenants may name, as the configuration
// allows it.
func (n *Node) openOutbound() error {
	o, err := outboundOptions(&n.c)
	if err == nil {
		n.outbound = outbound.New(o)
	}
	return err
}

// outboundOptions returns what the configuration allows.
func outboundOptions(config *Config) (o outbound.Options, err error) {
	c := &config.Outbound
	o = outbound.Options{Allow: c.Allow, Resolve: make(map[string]netip.AddrPort, len(c.Resolve)), Now: config.Now}
	if o.Networks, err = c.Prefixes(); err != nil {
		return o, fmt.Errorf("outbound.networks: %w", err)
	}
	resolved, err := c.Resolved()
	if err != nil {
		return o, fmt.Errorf("outbound.resolve: %w", err)
	}
	for _, r := range resolved {
		o.Resolve[r.Host] = r.At
	}
	if c.TrustedCA != "" {
		pem, err := os.ReadFile(c.TrustedCA)
		if err != nil {
			return o, fmt.Errorf("reading outbound.trusted_ca: %w", err)
		}
		o.Roots = x509.NewCertPool()
		if !o.Roots.AppendCertsFromPEM(pem) {
			return o, fmt.Errorf("outbound.trusted_ca: no certificate in %s", c.TrustedCA)
		}
	}
	return o, nil
}
